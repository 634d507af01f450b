package storetest

import (
	"sync"
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
)

var rightsTests = map[string]func(*testing.T, Factory){
	"a code is used once":      testCodeOnce,
	"codes that do not hold":   testCodesThatDoNotHold,
	"tries are counted":        testTries,
	"one code, many at once":   testCodeRace,
	"sessions":                 testSessions,
	"revocation":               testRevocation,
	"rights survive a restart": testRightsReopen,
}

const aMinute = 60_000

// code adds a code that holds from 1,000,000 ms for ten minutes.
func code(t *testing.T, s store.Store, n uint64, name string) [32]byte {
	t.Helper()
	e := store.Enrolment{Code: [32]byte(hash("code", n)), Study: "贵阳-2016", Name: name, Enumerator: "007", CreatedMS: 1_000_000, ExpiresMS: 1_000_000 + 10*aMinute}
	if err := s.AddEnrolment(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	return e.Code
}

func testCodeOnce(t *testing.T, f Factory) {
	s := f.Open(t)
	b, other := NewTablet(1), NewTablet(2)
	c := code(t, s, 1, "0123456789")
	for range 3 { // again, as after a lost answer
		got, err := s.Enrol(t.Context(), c, b.Lane.Device, b.Public(), 1_000_500)
		if err != nil || got.Study != "贵阳-2016" || got.Name != "0123456789" || got.Enumerator != "007" {
			t.Fatalf("Enrol = %+v, %v", got, err)
		}
	}
	if _, err := s.Enrol(t.Context(), c, other.Lane.Device, other.Public(), 1_000_600); fault.ReasonOf(err) != fault.CodeUsed {
		t.Errorf("the second tablet: %v, want %s", err, fault.CodeUsed)
	}
	if key, err := s.Key(t.Context(), b.Lane.Device); err != nil || !key.Equal(b.Public()) {
		t.Errorf("Key = %x, %v", key, err)
	}
	if _, err := s.Key(t.Context(), other.Lane.Device); fault.ReasonOf(err) != fault.DeviceUnknown {
		t.Errorf("the tablet that was refused is known: %v", err)
	}
	list, err := s.ListDevices(t.Context())
	if err != nil || len(list) != 1 || list[0].GetName() != "0123456789" || list[0].GetEnumerator() != "007" || list[0].GetLastSeenMs() != 0 {
		t.Errorf("ListDevices = %v, %v; want it there, never seen", list, err)
	}
}

func testCodesThatDoNotHold(t *testing.T, f Factory) {
	s := f.Open(t)
	b := NewTablet(1)
	c := code(t, s, 1, "tablet-01")
	for _, tt := range []struct {
		name   string
		code   [32]byte
		now    int64
		reason fault.Reason
	}{
		{"wrong", [32]byte{1}, 1_000_500, fault.CodeWrong},
		{"at its end", c, 1_000_000 + 10*aMinute, fault.CodeExpired},
		{"in 2100", c, 4_102_444_800_000, fault.CodeExpired},
		{"the clock was set back", c, 1_000_000 - store.ClockSlackMS - 1, fault.CodeExpired},
	} {
		if _, err := s.Enrol(t.Context(), tt.code, b.Lane.Device, b.Public(), tt.now); fault.ReasonOf(err) != tt.reason {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.reason)
		}
	}
	if _, err := s.Enrol(t.Context(), c, b.Lane.Device, b.Public()[:31], 1_000_500); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a short key: %v", err)
	}
	if _, err := s.Enrol(t.Context(), c, b.Lane.Device, b.Public(), 1_000_500); err != nil {
		t.Errorf("after three tries in vain: %v", err)
	}
}

func testTries(t *testing.T, f Factory) {
	s := f.Open(t)
	b := NewTablet(1)
	greet(t, s, b, "tablet-01")
	c := code(t, s, 1, "tablet-01")
	for i := range store.MaxTries {
		if _, err := s.Enrol(t.Context(), c, b.Lane.Device, NewTablet(2).Public(), 1_000_500); fault.ReasonOf(err) != fault.DeviceKeyChanged {
			t.Fatalf("try %d: %v, want %s", i, err, fault.DeviceKeyChanged)
		}
	}
	if _, err := s.Enrol(t.Context(), c, b.Lane.Device, b.Public(), 1_000_500); fault.ReasonOf(err) != fault.CodeUsed {
		t.Errorf("after %d tries: %v, want %s", store.MaxTries, err, fault.CodeUsed)
	}
}

func testCodeRace(t *testing.T, f Factory) {
	s := f.Open(t)
	c := code(t, s, 1, "tablet-01")
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		b := NewTablet(uint64(i))
		wg.Go(func() { _, errs[i] = s.Enrol(t.Context(), c, b.Lane.Device, b.Public(), 1_000_500) })
	}
	wg.Wait()
	in := 0
	for _, err := range errs {
		if err == nil {
			in++
		} else if fault.ReasonOf(err) != fault.CodeUsed {
			t.Errorf("Enrol = %v, want %s", err, fault.CodeUsed)
		}
	}
	if in != 1 {
		t.Errorf("%d tablets enrolled with one code", in)
	}
}

func session(n uint64, device syncer.ID, at int64) store.Session {
	return store.Session{Token: [32]byte(hash("token", n)), Device: device, OpenedMS: at, ExpiresMS: at + 30*aMinute}
}

func testSessions(t *testing.T, f Factory) {
	s := f.Open(t)
	b, other := NewTablet(1), NewTablet(2)
	add := func(n store.Session) {
		t.Helper()
		if err := s.AddSession(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	held := func(n uint64) bool {
		t.Helper()
		got, err := s.Session(t.Context(), [32]byte(hash("token", n)))
		if err != nil && fault.ReasonOf(err) != fault.SessionEnded {
			t.Fatal(err)
		}
		return err == nil && got.Token == [32]byte(hash("token", n))
	}
	first := session(1, b.Lane.Device, 1_000_000)
	add(first)
	if got, err := s.Session(t.Context(), first.Token); err != nil || got != first {
		t.Errorf("Session = %+v, %v; want %+v", got, err, first)
	}
	if held(99) {
		t.Error("a token that was never given is held")
	}
	for n := uint64(2); n < 40; n++ {
		add(session(n, b.Lane.Device, 1_000_000))
	}
	if held(1) || !held(39) {
		t.Error("a device has as many sessions as it opens, or lost its newest")
	}
	add(session(100, other.Lane.Device, 1_000_000+31*aMinute))
	if held(39) || !held(100) {
		t.Error("sessions that ended are kept, or one that has not is lost")
	}
	for _, tt := range []struct {
		now  int64
		want bool
	}{{1_000_000, true}, {first.ExpiresMS - 1, true}, {first.ExpiresMS, false}, {4_102_444_800_000, false},
		{first.OpenedMS - store.ClockSlackMS, true}, {first.OpenedMS - store.ClockSlackMS - 1, false}, {0, false}} {
		if got := first.Holds(tt.now); got != tt.want {
			t.Errorf("Holds(%d) = %v, want %v", tt.now, got, tt.want)
		}
	}
}

func testRevocation(t *testing.T, f Factory) {
	s := f.Open(t)
	b, other := NewTablet(1), NewTablet(2)
	r := store.Revocation{Device: b.Lane.Device, RevokedMS: 5, Reason: "丢失", By: "supervisor"}
	if err := s.Revoke(t.Context(), r); fault.ReasonOf(err) != fault.NoSuchDevice {
		t.Errorf("revoke a device that is not: %v, want %s", err, fault.NoSuchDevice)
	}
	greet(t, s, b, "tablet-01")
	greet(t, s, other, "tablet-02")
	if _, is, err := s.Revoked(t.Context(), b.Lane.Device); is || err != nil {
		t.Errorf("Revoked = %v, %v", is, err)
	}
	for n, device := range []syncer.ID{b.Lane.Device, other.Lane.Device} {
		if err := s.AddSession(t.Context(), session(uint64(n), device, 1)); err != nil {
			t.Fatal(err)
		}
	}
	again := r
	again.RevokedMS, again.Reason = 9, "again"
	for _, r := range []store.Revocation{r, again} {
		if err := s.Revoke(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if got, is, err := s.Revoked(t.Context(), b.Lane.Device); !is || err != nil || got != r {
		t.Errorf("Revoked = %+v, %v, %v; want the first %+v", got, is, err, r)
	}
	if _, err := s.Session(t.Context(), [32]byte(hash("token", 0))); fault.ReasonOf(err) != fault.SessionEnded {
		t.Errorf("its session: %v, want %s", err, fault.SessionEnded)
	}
	if _, err := s.Session(t.Context(), [32]byte(hash("token", 1))); err != nil {
		t.Errorf("the session of another device: %v", err)
	}
	greet(t, s, b, "tablet-01") // it may go on saying Hello
	list, err := s.ListDevices(t.Context())
	if err != nil || len(list) != 2 || list[0].GetRevokedMs() != 5 || list[0].GetRevokedReason() != "丢失" || list[1].RevokedMs != nil {
		t.Errorf("ListDevices = %v, %v", list, err)
	}
	c := code(t, s, 1, "tablet-01b")
	if _, err := s.Enrol(t.Context(), c, b.Lane.Device, b.Public(), 1_000_500); err != nil {
		t.Fatal(err)
	}
	if _, is, err := s.Revoked(t.Context(), b.Lane.Device); is || err != nil {
		t.Errorf("enrolled again it is still revoked: %v, %v", is, err)
	}
	list, err = s.ListDevices(t.Context())
	if err != nil || list[0].GetName() != "tablet-01b" || list[0].GetFirstSeenMs() != 1 || list[0].RevokedMs != nil {
		t.Errorf("ListDevices = %v, %v; want what was known of it kept", list, err)
	}
}

func testRightsReopen(t *testing.T, f Factory) {
	if f.Reopen == nil {
		t.Skip("this store keeps nothing")
	}
	s := f.Open(t)
	b := NewTablet(1)
	c := code(t, s, 1, "tablet-01")
	if _, err := s.Enrol(t.Context(), c, b.Lane.Device, b.Public(), 1_000_500); err != nil {
		t.Fatal(err)
	}
	if err := s.Revoke(t.Context(), store.Revocation{Device: b.Lane.Device, RevokedMS: 7, Reason: "lost"}); err != nil {
		t.Fatal(err)
	}
	n := session(3, b.Lane.Device, 8)
	if err := s.AddSession(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	s = f.Reopen(t, s)
	if got, err := s.Session(t.Context(), n.Token); err != nil || got != n {
		t.Errorf("Session = %+v, %v", got, err)
	}
	if r, is, err := s.Revoked(t.Context(), b.Lane.Device); !is || err != nil || r.RevokedMS != 7 {
		t.Errorf("Revoked = %+v, %v, %v", r, is, err)
	}
	if _, err := s.Enrol(t.Context(), c, NewTablet(2).Lane.Device, NewTablet(2).Public(), 1_000_500); fault.ReasonOf(err) != fault.CodeUsed {
		t.Errorf("the code after a restart: %v, want %s", err, fault.CodeUsed)
	}
}
