package server

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/grpc/peer"
)

// Guessing from one address ends soon, and what others do at their addresses is not touched by it.
func TestTriesAreBounded(t *testing.T) {
	d := newDesk(t, newMemory())
	tb := newTablet("guesser")
	for i := range 8 {
		_, err := devices(d).Enrol(t.Context(), tb.enrolment("2222222222"))
		if want := map[bool]fault.Reason{true: fault.CodeWrong, false: fault.TooManyTries}[i < 5]; reasonOf(err) != string(want) {
			t.Errorf("guess %d: %v, want %s", i, err, want)
		}
	}
	now := time.Unix(1000, 0)
	b := &tries{burst: 3, every: time.Minute, clock: func() time.Time { return now }}
	for i, want := range []bool{true, true, true, false} {
		if got := b.take("a"); got != want {
			t.Errorf("take %d = %v", i, got)
		}
	}
	if !b.take("b") {
		t.Error("another address is bounded by the first")
	}
	now = now.Add(time.Minute)
	if !b.take("a") || b.take("a") {
		t.Error("after a minute there is one more try")
	}
	b.succeeded("a")
	if !b.take("a") {
		t.Error("a try that went well was not given back")
	}
	for range 3 * maxAddresses {
		b.take(strings.Repeat("x", len(b.failed)%7) + now.String())
		now = now.Add(time.Millisecond)
	}
	if len(b.failed) > maxAddresses {
		t.Errorf("%d addresses are watched", len(b.failed))
	}
}

// Rights are remembered for seconds only, and nothing read before a purge is believed after it.
func TestRightsCache(t *testing.T) {
	now := time.Unix(1000, 0)
	r := &rightsCache{clock: func() time.Time { return now }}
	m := newMemory()
	tb := newTablet("t")
	m.devices[tb.lane.Device] = store.Greeting{}
	is := func() bool {
		t.Helper()
		rev, err := r.revocation(t.Context(), m, tb.lane.Device)
		if err != nil {
			t.Fatal(err)
		}
		return rev != nil
	}
	if is() {
		t.Error("revoked before it was")
	}
	if err := m.Revoke(t.Context(), store.Revocation{Device: tb.lane.Device}); err != nil {
		t.Fatal(err)
	}
	if is() {
		t.Error("the cache was not used")
	}
	if now = now.Add(rightsAge); !is() {
		t.Errorf("after %v it is not asked again", rightsAge)
	}
	r = &rightsCache{clock: func() time.Time { return now }}
	var once sync.Once
	slow := &slowRevoked{memory: newMemory(), between: func() { once.Do(r.purge) }}
	if _, err := r.revocation(t.Context(), slow, tb.lane.Device); err != nil {
		t.Fatal(err)
	}
	if len(r.revoked) != 0 {
		t.Error("what was read before the purge is remembered")
	}
}

type slowRevoked struct {
	*memory
	between func()
}

func (s *slowRevoked) Revoked(ctx context.Context, device syncer.ID) (store.Revocation, bool, error) {
	defer s.between()
	return s.memory.Revoked(ctx, device)
}

// Whoever has a network of addresses is one caller.
func TestAddressOf(t *testing.T) {
	for _, tt := range []struct{ addr, want string }{
		{"10.0.0.7:51234", "10.0.0.7"}, {"[::ffff:10.0.0.7]:51234", "10.0.0.7"},
		{"[2001:db8:1:2:3:4:5:6]:51234", "2001:db8:1:2::/64"}, {"[fe80::1%eth0]:51234", "fe80::/64"}, {"pipe", "pipe"},
	} {
		ctx := peer.NewContext(t.Context(), &peer.Peer{Addr: textAddr(tt.addr)})
		if got := addressOf(ctx); got != tt.want {
			t.Errorf("addressOf(%s) = %s, want %s", tt.addr, got, tt.want)
		}
	}
	if got := addressOf(t.Context()); got != "" {
		t.Errorf("addressOf nobody = %q", got)
	}
}

type textAddr string

func (a textAddr) Network() string { return "tcp" }
func (a textAddr) String() string  { return string(a) }
