package tablet_test

import (
	"context"
	"strings"
	"testing"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer/syncertest"
	"google.golang.org/grpc"
)

// listener is a connection that remembers what every Hello said is still to send.
type listener struct {
	grpc.ClientConnInterface
	pending []uint64
}

func (l *listener) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if req, ok := args.(*servicev1.HelloRequest); ok && strings.HasSuffix(method, "/Hello") {
		l.pending = append(l.pending, req.GetPending())
	}
	return l.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
}

// Headquarters lists what a tablet has not sent: after a sync that is nothing, not what the sync began with.
func TestSyncLeavesNothingPendingAtHeadquarters(t *testing.T) {
	s := create(t, "t1")
	add(t, s, syncertest.Interview("t1", 1, "a"), syncertest.Interview("t1", 2, "b"), syncertest.Interview("t1", 3, "c"))
	l := &listener{ClientConnInterface: connect(t, syncertest.NewServer("hq"))}
	if _, err := s.Sync(context.Background(), l, fast()); err != nil {
		t.Fatal(err)
	}
	if n := len(l.pending); n != 2 || l.pending[0] != 3 || l.pending[n-1] != 0 {
		t.Errorf("the Hellos told of %v still to send, want 3 and then 0", l.pending)
	}
	if _, err := s.Sync(context.Background(), l, fast()); err != nil {
		t.Fatal(err)
	}
	if n := len(l.pending); n != 3 {
		t.Errorf("a sync that sent nothing said Hello %d times, want once", n-2)
	}
}
