package storetest

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

var deviceTests = map[string]func(*testing.T, Factory){
	"unknown":     testUnknownDevice,
	"listed":      testListed,
	"key changed": testKeyChanged,
	"fork told":   testForkTold,
	"names kept":  testNamesKept,
}

func testUnknownDevice(t *testing.T, f Factory) {
	s := f.Open(t)
	if _, err := s.Key(t.Context(), NewTablet(1).Lane.Device); fault.ReasonOf(err) != fault.DeviceUnknown {
		t.Errorf("Key = %v, want %s", err, fault.DeviceUnknown)
	}
	if list, err := s.ListDevices(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("ListDevices = %v, %v; want none", list, err)
	}
}

func testListed(t *testing.T, f Factory) {
	s := f.Open(t)
	a, b := NewTablet(1), NewTablet(2)
	greet(t, s, b, "平板-02")
	greet(t, s, a, "tablet-01")
	again := a.Greeting("tablet-01", 99)
	again.Pending, again.ClockSkewMS, again.Enumerator = 12, -3600_000, "王"
	if err := s.Greet(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	a.Push(t, s, a.Records(t, 7, 2)...)
	a.Batch(a.Records(t, 7, 3)...)
	beyond := a.Records(t, 7, 1)
	head := a.Push(t, s, beyond...).Head
	got, err := s.ListDevices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []*servicev1.DeviceStatus{{
		Device: a.Lane.Device[:], Name: proto.String("tablet-01"), Enumerator: proto.String("王"), FirstSeenMs: proto.Int64(1),
		LastSeenMs: proto.Int64(99), Lanes: []*servicev1.LaneHead{head.Proto(a.Lane)}, Pending: proto.Uint64(12),
		ClockSkewMs: proto.Int64(-3600_000), Forks: proto.Uint32(0),
		Gaps: []*servicev1.SeqRange{{First: proto.Uint64(3), Last: proto.Uint64(5)}},
	}, {
		Device: b.Lane.Device[:], Name: proto.String("平板-02"), Enumerator: proto.String("enum-平板-02"), FirstSeenMs: proto.Int64(1),
		LastSeenMs: proto.Int64(1), Pending: proto.Uint64(0), ClockSkewMs: proto.Int64(0), Forks: proto.Uint32(0),
	}}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("ListDevices (-want +got):\n%s", diff)
	}
}

func testKeyChanged(t *testing.T, f Factory) {
	s := f.Open(t)
	b := NewTablet(1)
	greet(t, s, b, "tablet-01")
	other := b.Greeting("thief", 5)
	other.Key = NewTablet(2).Public()
	if err := s.Greet(t.Context(), other); fault.ReasonOf(err) != fault.DeviceKeyChanged {
		t.Errorf("Greet = %v, want %s", err, fault.DeviceKeyChanged)
	}
	if key, err := s.Key(t.Context(), b.Lane.Device); err != nil || !key.Equal(b.Public()) {
		t.Errorf("Key = %x, %v; want the first", key, err)
	}
	greet(t, s, b, "tablet-01")
}

// A Hello tells of a fork again and again until the tablet opens a new epoch: that is one fork.
func testForkTold(t *testing.T, f Factory) {
	s := f.Open(t)
	b := NewTablet(1)
	for i, fork := range []bool{false, true, true, false, true} {
		g := b.Greeting("tablet-01", int64(i))
		g.Fork = fork
		if err := s.Greet(t.Context(), g); err != nil {
			t.Fatal(err)
		}
		if got, want := forks(t, s, b), []uint32{0, 1, 1, 1, 2}[i]; got != want {
			t.Errorf("after Hello %d: %d forks, want %d", i+1, got, want)
		}
	}
}

// A tablet that speaks for itself cannot give itself another name.
func testNamesKept(t *testing.T, f Factory) {
	s := f.Open(t)
	b := NewTablet(1)
	for i, tt := range []struct {
		name string
		keep bool
		want string
	}{{"0042", true, "0042"}, {"tablet-03", true, "0042"}, {"tablet-03", false, "tablet-03"}} {
		g := b.Greeting(tt.name, int64(i))
		g.KeepNames = tt.keep
		if err := s.Greet(t.Context(), g); err != nil {
			t.Fatal(err)
		}
		list, err := s.ListDevices(t.Context())
		if err != nil || len(list) != 1 || list[0].GetName() != tt.want || list[0].GetEnumerator() != "enum-"+tt.want {
			t.Errorf("Hello %d: %v, %v; want %s", i, list, err, tt.want)
		}
	}
}
