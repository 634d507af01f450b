package server

import (
	"context"
	"fmt"
	"sync"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// withdrawals are the interviews that are withdrawn. They are few; every record that arrives is looked up.
type withdrawals struct {
	mu     sync.RWMutex
	stones map[place]*servicev1.Tombstone
	parts  map[string][]uint64 // of each interview
	loaded bool
}

// add notes a tombstone; the first of an interview stands.
func (w *withdrawals) add(at place, stone *servicev1.Tombstone) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stones == nil {
		w.stones, w.parts = map[place]*servicev1.Tombstone{}, map[string][]uint64{}
	}
	if _, ok := w.stones[at]; !ok {
		w.stones[at] = stone
		w.parts[at.id] = append(w.parts[at.id], at.part)
	}
}

// read notes the tombstones among records.
func (w *withdrawals) read(rec *servicev1.Record) {
	stone := &servicev1.Tombstone{}
	if rec.GetKind() == servicev1.RecordKind_RECORD_KIND_TOMBSTONE && proto.Unmarshal(rec.GetPayload(), stone) == nil && stone.GetInterviewId() == rec.GetSubject() {
		w.add(place{rec.GetPart(), rec.GetSubject()}, stone)
	}
}

// of returns the tombstone of an interview, nil if it has none.
func (w *withdrawals) of(at place) *servicev1.Tombstone {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.stones[at]
}

// in returns the parts in which an interview is withdrawn, none if it is not.
func (w *withdrawals) in(id string) []uint64 {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.parts[id]
}

// load asks the projections, once.
func (w *withdrawals) load(ctx context.Context, p store.Projections) error {
	if w.isLoaded() {
		return nil
	}
	all, err := p.Withdrawn(ctx)
	if err != nil {
		return fmt.Errorf("find what is withdrawn: %w", err)
	}
	for _, one := range all {
		w.add(place{one.Part, one.InterviewID}, one.Tombstone)
	}
	w.setLoaded()
	return nil
}

func (w *withdrawals) isLoaded() bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.loaded
}

func (w *withdrawals) setLoaded() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.loaded = true
}

// withdraw adds to changes that an interview is withdrawn, with the counters of all its records.
func (r *reader) withdraw(ctx context.Context, c *store.Changes, at place, stone *servicev1.Tombstone) error {
	all, err := r.log.Revisions(ctx, at.part, servicev1.RecordKind_RECORD_KIND_INTERVIEW, at.id)
	if err != nil {
		return fmt.Errorf("read the revisions of interview %s: %w", at.id, err)
	}
	w := store.Withdrawal{Part: at.part, InterviewID: at.id, Tombstone: stone}
	for _, st := range all {
		w.Records = append(w.Records, st.Counter)
	}
	c.Withdrawn = append(c.Withdrawn, w)
	return r.removeRows(ctx, c, at)
}

// stone is the first tombstone of an interview in the log, by its digest.
func (s *Server) stone(ctx context.Context, at place) (syncer.Digest, error) {
	all, err := s.store.Revisions(ctx, at.part, servicev1.RecordKind_RECORD_KIND_TOMBSTONE, at.id)
	if err != nil || len(all) == 0 {
		return syncer.Digest{}, err
	}
	first := all[0]
	for _, st := range all {
		if st.Counter < first.Counter {
			first = st
		}
	}
	return first.Digest, nil
}
