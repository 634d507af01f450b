package server

import (
	"context"
	"sync"
	"testing"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store/sqlite"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/faultdisk"
	"github.com/hearth-survey/hearth/syncer/syncertest"
	"google.golang.org/grpc"
)

// fieldDesk is this server over SQLite, as the field team of syncertest wants a headquarters.
type fieldDesk struct {
	*syncService
	t     *testing.T
	store *sqlite.Store
	mu    sync.Mutex
	calls map[string]int
}

func newFieldDesk(t *testing.T, _ string) syncertest.Headquarters {
	t.Helper()
	disk := faultdisk.New(1) // headquarters' is in memory: its syncs would be what the test mostly waits for
	t.Cleanup(disk.Close)
	st, err := sqlite.Open(t.Context(), disk.Path("hq"), sqlite.Options{Disk: disk})
	if err != nil {
		t.Fatal(err)
	}
	set, err := builtin()
	if err != nil {
		t.Fatal(err)
	}
	srv, err := New(Config{Store: st, Key: newTablet("headquarters").key, Questionnaires: set})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return &fieldDesk{syncService: &syncService{Server: srv}, t: t, store: st, calls: map[string]int{}}
}

func (d *fieldDesk) called(method string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls[method]++
}

// told is an error as tablets are told it; the interceptors do so elsewhere.
func (d *fieldDesk) told(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	return answer(ctx, d.log, &call{}, err)
}

func (d *fieldDesk) Push(stream grpc.BidiStreamingServer[servicev1.PushRequest, servicev1.PushResponse]) error {
	return d.told(stream.Context(), d.syncService.Push(stream))
}

// Calls returns how often a method was called.
func (d *fieldDesk) Calls(method string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls[method]
}

func (d *fieldDesk) Hello(ctx context.Context, req *servicev1.HelloRequest) (*servicev1.HelloResponse, error) {
	d.called("Hello")
	resp, err := d.syncService.Hello(ctx, req)
	return resp, d.told(ctx, err)
}

func (d *fieldDesk) PushBatch(ctx context.Context, req *servicev1.PushBatchRequest) (*servicev1.PushBatchResponse, error) {
	d.called("PushBatch")
	resp, err := d.syncService.PushBatch(ctx, req)
	return resp, d.told(ctx, err)
}

func (d *fieldDesk) Offer(ctx context.Context, req *servicev1.OfferRequest) (*servicev1.OfferResponse, error) {
	d.called("Offer")
	resp, err := d.syncService.Offer(ctx, req)
	return resp, d.told(ctx, err)
}

func (d *fieldDesk) Pull(ctx context.Context, req *servicev1.PullRequest) (*servicev1.PullResponse, error) {
	d.called("Pull")
	resp, err := d.syncService.Pull(ctx, req)
	return resp, d.told(ctx, err)
}

// Records returns the bytes of every record that tablets wrote, by digest.
func (d *fieldDesk) Records() map[syncer.Digest][]byte {
	all := map[syncer.Digest][]byte{}
	cursor := syncer.Cursor{}
	for {
		page, next, more, err := d.store.After(context.Background(), cursor, 1000)
		if err != nil {
			d.t.Error(err)
			return all
		}
		for _, s := range page {
			all[s.Digest] = s.Raw
		}
		if cursor = next; !more {
			return all
		}
	}
}

// The stories and the state machine of syncertest, told to the real server over the real store: nothing is lost,
// nothing is doubled, whatever is cut, restored, cloned or taken in by hand.
func TestFieldTeam(t *testing.T) {
	t.Run("scenarios", func(t *testing.T) { syncertest.Scenarios(t, newFieldDesk) })
	t.Run("cuts", func(t *testing.T) { syncertest.Cuts(t, newFieldDesk) })
	t.Run("state machine", func(t *testing.T) {
		if testing.Short() {
			checks(t, 20) // of which short runs make a fifth; syncertest makes more, with a server that costs less
		}
		syncertest.FieldTeam(t, newFieldDesk)
	})
}
