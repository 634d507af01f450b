package sqlite

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/server/store/storetest"
	"github.com/hearth-survey/hearth/syncer"
)

// A panic of the writer answers whoever waits with an error, and the next batch is stored.
func TestWriterPanics(t *testing.T) {
	var bad atomic.Bool
	s := open(t, t.TempDir(), Options{Now: func() time.Time {
		if bad.Load() {
			panic("罗 13800000001")
		}
		return time.Now()
	}})
	b := storetest.NewTablet(1)
	b.Push(t, s, b.Record(t, 7, "x", nil))
	batch := b.Check(t, b.Batch(b.Record(t, 7, "y", nil)))
	bad.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var waiting sync.WaitGroup
	for range 8 {
		waiting.Go(func() {
			_, err := s.Append(ctx, batch)
			if fault.KindOf(err) != fault.Internal || !strings.Contains(err.Error(), "panic of type string") || strings.Contains(err.Error(), "13800000001") {
				t.Errorf("Append = %v, want an internal error that names the type of the panic alone", err)
			}
		})
	}
	waiting.Wait()
	bad.Store(false)
	if got, err := s.Append(ctx, batch); err != nil || got.New != 1 {
		t.Fatalf("Append afterwards = %+v, %v", got, err)
	}
	if n := len(storetest.ReadAll(t, s, 10)); n != 2 {
		t.Errorf("%d records, want 2", n)
	}
	err := s.writer.do(ctx, &job{apply: func(*tx) error { panic("13800000001") }})
	if fault.KindOf(err) != fault.Internal || strings.Contains(err.Error(), "13800000001") {
		t.Errorf("a job that panics = %v", err)
	}
	soundExceptWarnings(t, s)
}

// A commit that is on the disk although nobody was told is read once the log is opened again.
func TestHeadsAfterRevival(t *testing.T) {
	var bad atomic.Bool
	s := open(t, t.TempDir(), Options{Now: func() time.Time {
		if bad.Load() {
			panic("the clock")
		}
		return time.Now()
	}})
	b := storetest.NewTablet(1)
	b.Push(t, s, b.Record(t, 7, "x", nil), b.Record(t, 7, "y", nil))
	setHead(s, 7, 1) // as if the second had not been told
	bad.Store(true)
	if err := s.writer.do(t.Context(), &job{apply: func(*tx) error { return nil }}); err == nil {
		t.Fatal("no panic, so this test tests nothing")
	}
	bad.Store(false)
	b.Push(t, s, b.Record(t, 8, "z", nil))
	if n := len(storetest.ReadAll(t, s, 10)); n != 3 {
		t.Errorf("%d records, want 3", n)
	}
}

func setHead(s *Store, part, counter uint64) {
	s.partsMu.Lock()
	defer s.partsMu.Unlock()
	s.parts[part] = counter
}

// What is committed and not yet told is not read, so that no cursor is ahead of the head; and one that is stays refused.
func TestAfterStopsAtTheHead(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	b := storetest.NewTablet(1)
	b.Push(t, s, b.Record(t, 7, "x", nil), b.Record(t, 7, "y", nil), b.Record(t, 7, "z", nil))
	setHead(s, 7, 2)
	got, cursor, more, err := s.After(t.Context(), syncer.Cursor{}, 10)
	if err != nil || len(got) != 2 || cursor.Parts[7] != 2 || more {
		t.Fatalf("After = %d records, %v, %v, %v; want 2", len(got), cursor, more, err)
	}
	if err := s.Apply(t.Context(), &store.Changes{Cursor: cursor}); err != nil {
		t.Errorf("Apply = %v", err)
	}
	cursor.Parts[7] = 3
	if err := s.Apply(t.Context(), &store.Changes{Cursor: cursor}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("Apply ahead of the log = %v, want it refused", err)
	}
}

// Tablets append while the projections follow and others read: no cursor is ever ahead of the log.
func TestProjectionsFollowAppends(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	const tablets, batches = 20, 25
	var appending, following sync.WaitGroup
	var ended atomic.Bool
	for i := range tablets {
		appending.Go(func() {
			b := storetest.NewTablet(uint64(i + 1))
			for range batches {
				if _, err := s.Append(t.Context(), b.Check(t, b.Batch(b.Record(t, uint64(i%3), "x", nil)))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	follow := func(apply bool) {
		cursor := syncer.Cursor{}
		for last := false; !last; {
			last = ended.Load()
			_, next, _, err := s.After(t.Context(), cursor, 1000)
			if err == nil && apply {
				err = s.Apply(t.Context(), &store.Changes{Cursor: next})
			}
			if err != nil {
				t.Error(err)
				return
			}
			head, err := s.Head(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			for part, counter := range next.Parts {
				if counter > head.Parts[part] {
					t.Errorf("part %d: the cursor is at %d, the log at %d", part, counter, head.Parts[part])
				}
			}
			cursor = next
		}
	}
	for i := range 4 {
		following.Go(func() { follow(i == 0) })
	}
	appending.Wait()
	ended.Store(true)
	following.Wait()
	done, err := s.Projected(t.Context())
	if err != nil || done.Parts[0]+done.Parts[1]+done.Parts[2] != tablets*batches {
		t.Errorf("projected = %v, %v; want all %d records", done, err, tablets*batches)
	}
}

// A panic while projections are written leaves neither a lock nor a transaction behind.
func TestApplyPanics(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	b := storetest.NewTablet(1)
	b.Push(t, s, b.Record(t, 7, "x", nil))
	cursor := syncer.Cursor{Epoch: s.Epoch(), Parts: map[uint64]uint64{7: 1}}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic, so this test tests nothing")
			}
		}()
		save := s.projection.saveCursor
		s.projection.saveCursor = nil
		defer func() { s.projection.saveCursor = save }()
		_ = s.Apply(t.Context(), &store.Changes{Cursor: cursor})
	}()
	if err := s.Apply(t.Context(), &store.Changes{Cursor: cursor}); err != nil {
		t.Errorf("Apply after a panic = %v", err)
	}
}
