package linkage

import (
	"context"
	"maps"
	"slices"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/dedup"
	"github.com/hearth-survey/hearth/server/store"
	"google.golang.org/protobuf/proto"
)

// change is an interview that lists others than before.
type change struct {
	interview string
	before    []string // ids
	people    []*servicev1.PersonRecord
}

// known is a person before and after the changes.
type known struct {
	records     []*servicev1.PersonRecord
	person      *dedup.Person // nil: there is none
	keys, were  []uint64
	homes, left []string
	was         bool
}

// pair is two ids, the smaller first.
type pair [2]string

func pairOf(a, b string) pair {
	if b < a {
		a, b = b, a
	}
	return pair{a, b}
}

// outcome is what came of comparing two people anew: their weight, if there is to be a link.
type outcome struct {
	bare  float64
	there bool
}

// work is one round of changes in one study. It reads the index as it was, and knows what will be.
type work struct {
	ix       store.Index
	g        int64
	m        *dedup.Model
	people   map[string]*known
	affected map[string]bool
	postings map[uint64]*members
	homes    map[string]*members
	rows     map[string]map[string]float64 // links as they were: person, other, weight
	touched  map[pair]bool                 // who is to be compared anew, or not any more
	now      map[string]map[string]outcome // what came of it, both ways
	later    map[string]map[string]float64 // links as they will be
	again    map[pair]bool                 // pairs to be scored
	out      []store.IndexEntry
	more     int64 // people, less those who went
}

func newWork(ix store.Index, study *Study, m *dedup.Model) *work {
	return &work{
		ix: ix, g: study.Generation, m: m, people: map[string]*known{}, affected: map[string]bool{}, postings: map[uint64]*members{},
		homes: map[string]*members{}, rows: map[string]map[string]float64{}, touched: map[pair]bool{}, now: map[string]map[string]outcome{},
		later: map[string]map[string]float64{}, again: map[pair]bool{},
	}
}

func (w *work) run(ctx context.Context, changes []change) error {
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return w.meet(ctx, changes) },
		w.touch, w.weigh, w.disturb, w.score,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// load reads people who are not known yet.
func (w *work) load(ctx context.Context, ids []string) error {
	var missing, keys []string
	for _, id := range ids {
		if _, ok := w.people[id]; !ok && !slices.Contains(missing, id) {
			missing, keys = append(missing, id), append(keys, personKey(w.g, id))
		}
	}
	if len(keys) == 0 {
		return nil
	}
	values, err := w.ix.IndexGet(ctx, keys...)
	if err != nil {
		return err
	}
	for i, v := range values {
		k := &known{was: v != nil}
		if v != nil {
			kept := &servicev1.KnownPerson{}
			if err := proto.Unmarshal(v, kept); err != nil {
				return unreadable("a person", err)
			}
			k.records, k.keys, k.person = kept.GetRecords(), kept.GetKeys(), dedup.NewPerson(kept.GetRecords())
			k.homes = k.person.Homes()
			k.were, k.left = k.keys, k.homes
		}
		w.people[missing[i]] = k
	}
	return nil
}

// meet works out who is affected, and what they are like afterwards.
func (w *work) meet(ctx context.Context, changes []change) error {
	for _, c := range changes {
		for _, id := range c.before {
			w.affected[id] = true
		}
		for _, p := range c.people {
			if usableID(p.GetPersonId()) {
				w.affected[p.GetPersonId()] = true
			}
		}
	}
	ids := slices.Sorted(maps.Keys(w.affected))
	if err := w.load(ctx, ids); err != nil {
		return err
	}
	for _, c := range changes {
		for _, id := range ids {
			k := w.people[id]
			k.records = slices.DeleteFunc(slices.Clone(k.records), func(r *servicev1.PersonRecord) bool { return r.GetInterviewId() == c.interview })
		}
		for _, p := range c.people {
			if k := w.people[p.GetPersonId()]; k != nil {
				k.records = append(k.records, p)
			}
		}
		e, err := interviewEntry(w.g, c.interview, c.people)
		if err != nil {
			return err
		}
		w.out = append(w.out, e)
	}
	for _, id := range ids {
		if err := w.remake(id); err != nil {
			return err
		}
	}
	return nil
}

// remake reads an affected person anew, and writes what is kept of it.
func (w *work) remake(id string) error {
	k := w.people[id]
	k.person, k.keys, k.homes = nil, nil, nil
	if len(k.records) > 0 {
		k.person = dedup.NewPerson(k.records)
		k.keys, k.homes = w.m.Keys(k.person), k.person.Homes()
	}
	e, err := personEntry(w.g, id, k.records, k.keys)
	if err != nil {
		return err
	}
	w.out = append(w.out, e)
	switch {
	case k.was && k.person == nil:
		w.more--
	case !k.was && k.person != nil:
		w.more++
	}
	differences(k.were, k.keys, func(key uint64, value []byte) {
		w.out = append(w.out, store.IndexEntry{Key: postingPrefix(w.g, key) + id, Value: value})
	})
	differences(k.left, k.homes, func(home string, value []byte) {
		w.out = append(w.out, store.IndexEntry{Key: homePrefix(w.g, home) + id, Value: value})
	})
	return nil
}

// personEntry is what is kept of a person; of one without records nothing.
func personEntry(g int64, id string, records []*servicev1.PersonRecord, keys []uint64) (store.IndexEntry, error) {
	e := store.IndexEntry{Key: personKey(g, id)}
	if len(records) == 0 {
		return e, nil
	}
	var err error
	if e.Value, err = proto.Marshal(&servicev1.KnownPerson{Records: records, Keys: keys}); err != nil {
		return e, unreadable("a person", err)
	}
	return e, nil
}

// differences tells what has gone, with nil, and what has come.
func differences[T comparable](before, after []T, tell func(T, []byte)) {
	for _, x := range before {
		if !slices.Contains(after, x) {
			tell(x, nil)
		}
	}
	for _, x := range after {
		if !slices.Contains(before, x) {
			tell(x, []byte{})
		}
	}
}

// members are the people under a key or in a household, before and after. Of very many only some are read.
type members struct {
	before, after map[string]bool
	many          bool // more than can be used, before and after
}

// members reads who stands under a prefix; at most so many are of use, 0: all.
func (w *work) members(ctx context.Context, prefix string, most int, is, was func(*known) bool) (*members, error) {
	limit := 0
	if most > 0 {
		limit = most + len(w.affected) + 1
	}
	entries, err := w.ix.IndexScan(ctx, prefix, "", limit)
	if err != nil {
		return nil, err
	}
	m := &members{before: map[string]bool{}, after: map[string]bool{}, many: limit > 0 && len(entries) == limit}
	for _, e := range entries {
		m.before[e.Key[len(prefix):]] = true
	}
	maps.Copy(m.after, m.before)
	for id := range w.affected {
		k := w.people[id]
		if was(k) {
			m.before[id] = true
		}
		if is(k) {
			m.after[id] = true
		} else {
			delete(m.after, id)
		}
	}
	return m, nil
}

// posting is who has a key.
func (w *work) posting(ctx context.Context, key uint64) (*members, error) {
	if m := w.postings[key]; m != nil {
		return m, nil
	}
	m, err := w.members(ctx, postingPrefix(w.g, key), w.m.MaxBlock(),
		func(k *known) bool { return has(k.keys, key) }, func(k *known) bool { return has(k.were, key) })
	w.postings[key] = m
	return m, err
}

// home is who was listed in a household.
func (w *work) home(ctx context.Context, home string) (*members, error) {
	if m := w.homes[home]; m != nil {
		return m, nil
	}
	m, err := w.members(ctx, homePrefix(w.g, home), 0,
		func(k *known) bool { return slices.Contains(k.homes, home) }, func(k *known) bool { return slices.Contains(k.left, home) })
	w.homes[home] = m
	return m, err
}

// has looks a key up in a sorted list.
func has(keys []uint64, key uint64) bool {
	_, ok := slices.BinarySearch(keys, key)
	return ok
}

// used says whether a key finds anybody: before, and after.
func (w *work) used(m *members) (before, after bool) {
	return !m.many && len(m.before) <= w.m.MaxBlock(), !m.many && len(m.after) <= w.m.MaxBlock()
}

// links are those that a person had before.
func (w *work) links(ctx context.Context, id string) (map[string]float64, error) {
	if rows := w.rows[id]; rows != nil {
		return rows, nil
	}
	prefix := linksPrefix(w.g, id)
	entries, err := w.ix.IndexScan(ctx, prefix, "", 0)
	if err != nil {
		return nil, err
	}
	rows := make(map[string]float64, len(entries))
	for _, e := range entries {
		bare, err := readWeight(e.Value)
		if err != nil {
			return nil, err
		}
		rows[e.Key[len(prefix):]] = bare
	}
	w.rows[id] = rows
	return rows, nil
}
