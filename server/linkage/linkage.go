// Package linkage keeps the pairs of people who may be the same up with the interviews that come, for the server. What it has
// worked out stands in a store.Index: who has which blocking key, who was compared with whom and what came of it. An
// interview that comes, changes or goes costs the comparison of its people with the few who share a key with them. The pairs
// are those that a search through everybody with the same model would find, in whatever order interviews came.
//
// The engine, the weights and the explanations are those of package dedup. This package decides nothing, knows no decisions,
// and keeps nothing that cannot be made again from the interviews.
package linkage

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/dedup"
	"github.com/hearth-survey/hearth/server/store"
	"google.golang.org/protobuf/proto"
)

// State is how far the index has come. It is the guard of every change.
type State struct {
	// Cursor is how far the log is followed, as its bytes.
	Cursor []byte `json:"cursor"`
	// Version counts the changes.
	Version int64 `json:"version"`
	// Studies are those that have a model.
	Studies map[string]*Study `json:"studies"`
	// Generations is how many were begun; each learning begins one.
	Generations int64 `json:"generations"`

	raw []byte // as it is in the index; nil: it is not there
}

// Study is what is known of one study.
type Study struct {
	// Generation is the beginning of all its keys.
	Generation int64 `json:"generation"`
	// Fitted is of how many people the model was learnt, People how many there are now.
	Fitted int64 `json:"fitted"`
	People int64 `json:"people"`
	// Compared is how many pairs were compared, Changed how many interviews have come or changed since the model was learnt.
	Compared int64 `json:"compared"`
	Changed  int64 `json:"changed"`
}

// Drifted says whether so many people have come since the model was learnt that it should be learnt again.
func (s *Study) Drifted() bool { return s.People > s.Fitted+s.Fitted/2 || s.People < s.Fitted/2 }

// Interview is what the linkage needs of one.
type Interview struct {
	ID string
	// Study is that of an interview that is there, People all whom it lists; none: it is gone.
	Study  string
	People []*servicev1.PersonRecord
}

const stateKey = "\x00state"

// Book is an open index.
type Book struct {
	ix     store.Index
	opts   dedup.Options
	mu     sync.Mutex
	models map[int64]*dedup.Model // by generation; guarded by mu
	large  large
}

// Open makes a book of an index. Models are learnt with the options.
func Open(ix store.Index, opts dedup.Options) *Book {
	return &Book{ix: ix, opts: opts, models: map[int64]*dedup.Model{}}
}

// State reads how far the index has come; that of an empty one is new.
func (b *Book) State(ctx context.Context) (*State, error) {
	values, err := b.ix.IndexGet(ctx, stateKey)
	if err != nil {
		return nil, err
	}
	s := &State{raw: values[0]}
	if s.raw != nil {
		if err := json.Unmarshal(s.raw, s); err != nil {
			return nil, fault.New(fault.Internal, "", "the state of the linkage cannot be read: %w", err)
		}
	}
	if s.Studies == nil {
		s.Studies = map[string]*Study{}
	}
	return s, nil
}

// Unchanged fails with fault.Conflict where somebody else has changed the index since the state was read or saved.
func (b *Book) Unchanged(ctx context.Context, s *State) error {
	values, err := b.ix.IndexGet(ctx, stateKey)
	if err == nil && !bytes.Equal(values[0], s.raw) {
		err = fault.New(fault.Conflict, "", "somebody else has changed what the linkage keeps")
	}
	return err
}

// save makes changes together with the next state.
func (b *Book) save(ctx context.Context, s *State, changes []store.IndexEntry) error {
	s.Version++
	raw, err := json.Marshal(s)
	if err != nil {
		return fault.New(fault.Internal, "", "write the state of the linkage: %w", err)
	}
	guard := store.IndexEntry{Key: stateKey, Value: s.raw}
	if err := b.ix.IndexApply(ctx, guard, append(changes, store.IndexEntry{Key: stateKey, Value: raw})); err != nil {
		return err
	}
	s.raw = raw
	return nil
}

// Reached notes how far the log is followed where nothing else is to be noted.
func (b *Book) Reached(ctx context.Context, s *State, cursor []byte) error {
	s.Cursor = cursor
	return b.save(ctx, s, nil)
}

// Model is the model of a study.
func (b *Book) Model(ctx context.Context, study *Study) (*dedup.Model, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m := b.models[study.Generation]; m != nil {
		return m, nil
	}
	pieces, err := b.ix.IndexScan(ctx, modelPrefix(study.Generation), "", 0)
	if err != nil {
		return nil, err
	}
	var data []byte
	for _, p := range pieces {
		data = append(data, p.Value...)
	}
	m, err := dedup.UnmarshalModel(data)
	if err != nil {
		return nil, err
	}
	b.models[study.Generation] = m
	return m, nil
}

// Drop throws everything away.
func (b *Book) Drop(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.models) // generations are counted anew
	return b.ix.IndexDrop(ctx)
}

// forget drops the models of generations that are no more.
func (b *Book) forget(s *State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.models, func(g int64, _ *dedup.Model) bool {
		for _, study := range s.Studies {
			if study.Generation == g {
				return false
			}
		}
		return true
	})
}

// Pairs lists the pairs of a study that may be the same, heaviest first.
func (b *Book) Pairs(ctx context.Context, study *Study) ([]*servicev1.MatchPair, error) {
	var out []*servicev1.MatchPair
	const page = 5000
	for after := ""; ; {
		entries, err := b.ix.IndexScan(ctx, linkPrefix(study.Generation), after, page)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if l, err := readLink(e.Value); err != nil {
				return nil, err
			} else if l.pair != nil {
				out = append(out, l.pair)
			}
			after = e.Key
		}
		if len(entries) < page {
			break
		}
	}
	slices.SortFunc(out, func(x, y *servicev1.MatchPair) int {
		return cmp.Or(-cmp.Compare(x.GetWeight(), y.GetWeight()), cmp.Compare(x.GetAId(), y.GetAId()), cmp.Compare(x.GetBId(), y.GetBId()))
	})
	return out, nil
}

// Score compares two people of a study now, found or not; nil where one of them is not known.
func (b *Book) Score(ctx context.Context, study *Study, x, y string) (*servicev1.MatchPair, error) {
	m, err := b.Model(ctx, study)
	if err != nil {
		return nil, err
	}
	w := newWork(b.ix, study, m, &b.large)
	if err := w.load(ctx, []string{min(x, y), max(x, y)}); err != nil {
		return nil, err
	}
	p, q := w.people[x], w.people[y]
	if p.person == nil || q.person == nil {
		return nil, nil
	}
	homes := &homes{w: w, ctx: ctx}
	pair := m.Score(p.person, q.person, homes)
	return pair, homes.err
}

// Update takes in interviews that have come, have changed or are gone, up to a cursor of the log, in one transaction. Studies
// without a model, and those whose model no longer suits them, are returned: Learn makes theirs anew.
func (b *Book) Update(ctx context.Context, s *State, changed []Interview, cursor []byte) (stale []string, err error) {
	b.large.at(s.Version)
	byStudy := map[string][]change{}
	for code, study := range s.Studies {
		before, err := b.known(ctx, study, changed)
		if err != nil {
			return nil, err
		}
		for i, iv := range changed {
			if iv.Study != code && before[i] != nil {
				byStudy[code] = append(byStudy[code], change{interview: iv.ID, before: before[i].GetPersonIds()})
			} else if iv.Study == code {
				byStudy[code] = append(byStudy[code], change{iv.ID, before[i].GetPersonIds(), iv.People})
			}
		}
	}
	for _, iv := range changed {
		if len(iv.People) > 0 && s.Studies[iv.Study] == nil && !slices.Contains(stale, iv.Study) {
			stale = append(stale, iv.Study)
		}
	}
	var entries []store.IndexEntry
	for code, changes := range byStudy {
		study := s.Studies[code]
		m, err := b.Model(ctx, study)
		if err != nil {
			stale = append(stale, code) // a model of another version of the engine
			continue
		}
		w := newWork(b.ix, study, m, &b.large)
		if err := w.run(ctx, changes); err != nil {
			return nil, err
		}
		entries = append(entries, w.out...)
		study.People += w.more
		study.Compared += int64(len(w.touched))
		study.Changed += int64(len(changes))
		if study.Drifted() {
			stale = append(stale, code)
		}
	}
	slices.Sort(stale)
	s.Cursor = cursor
	if err := b.save(ctx, s, entries); err != nil {
		return nil, err
	}
	b.large.left(s.Version)
	return stale, nil
}

// known reads what is kept of interviews in a study; nil where there is nothing.
func (b *Book) known(ctx context.Context, study *Study, changed []Interview) ([]*servicev1.KnownInterview, error) {
	keys := make([]string, len(changed))
	for i, iv := range changed {
		keys[i] = interviewKey(study.Generation, iv.ID)
	}
	values, err := b.ix.IndexGet(ctx, keys...)
	if err != nil {
		return nil, err
	}
	out := make([]*servicev1.KnownInterview, len(changed))
	for i, v := range values {
		if v == nil {
			continue
		}
		out[i] = &servicev1.KnownInterview{}
		if err := proto.Unmarshal(v, out[i]); err != nil {
			return nil, unreadable("an interview", err)
		}
	}
	return out, nil
}

// interviewEntry is what is kept of an interview; of one that lists nobody nothing.
func interviewEntry(g int64, id string, people []*servicev1.PersonRecord) (store.IndexEntry, error) {
	e, k := store.IndexEntry{Key: interviewKey(g, id)}, &servicev1.KnownInterview{}
	for _, p := range people {
		if usableID(p.GetPersonId()) && !slices.Contains(k.PersonIds, p.GetPersonId()) {
			k.PersonIds = append(k.PersonIds, p.GetPersonId())
		}
	}
	if len(k.PersonIds) == 0 {
		return e, nil
	}
	var err error
	if e.Value, err = proto.Marshal(k); err != nil {
		return e, unreadable("an interview", err)
	}
	return e, nil
}

// usableID says whether an id can be part of a key.
func usableID(id string) bool { return id != "" && !strings.Contains(id, "\x00") }

func unreadable(what string, err error) error {
	return fault.New(fault.Internal, "", "what the linkage keeps of %s cannot be read or written: %w", what, err)
}
