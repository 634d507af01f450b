package linkage

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

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
	large    *large
	people   map[string]*known
	affected []string // sorted
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

func newWork(ix store.Index, study *Study, m *dedup.Model, l *large) *work {
	return &work{
		ix: ix, g: study.Generation, m: m, large: l, people: map[string]*known{}, postings: map[uint64]*members{},
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

// load reads people who are not known yet; the ids are sorted.
func (w *work) load(ctx context.Context, ids []string) error {
	var missing, keys []string
	for _, id := range slices.Compact(ids) {
		if _, ok := w.people[id]; !ok {
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
	read := make([]*known, len(values))
	errs := make([]error, len(values))
	atOnce(len(values), func(i int) { read[i], errs[i] = readKnown(values[i]) })
	for i, k := range read {
		w.people[missing[i]] = k
	}
	return errors.Join(errs...)
}

// readKnown reads a person as the index has it; nil is nobody.
func readKnown(v []byte) (*known, error) {
	k := &known{was: v != nil}
	if v == nil {
		return k, nil
	}
	kept := &servicev1.KnownPerson{}
	if err := proto.Unmarshal(v, kept); err != nil {
		return k, unreadable("a person", err)
	}
	k.records, k.keys, k.person = kept.GetRecords(), kept.GetKeys(), dedup.NewPerson(kept.GetRecords())
	k.homes = k.person.Homes()
	k.were, k.left = k.keys, k.homes
	return k, nil
}

// atOnce calls do with 0 to n-1, on as many cores as there are if there is enough to do.
func atOnce(n int, do func(i int)) {
	const piece = 64
	if n <= piece {
		for i := range n {
			do(i)
		}
		return
	}
	var wg sync.WaitGroup
	var next atomic.Int64
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for start := int(next.Add(piece)) - piece; start < n; start = int(next.Add(piece)) - piece {
				for i := start; i < min(n, start+piece); i++ {
					do(i)
				}
			}
		})
	}
	wg.Wait()
}

// meet works out who is affected, and what they are like afterwards.
func (w *work) meet(ctx context.Context, changes []change) error {
	for _, c := range changes {
		w.affected = append(w.affected, c.before...)
		for _, p := range c.people {
			if usableID(p.GetPersonId()) {
				w.affected = append(w.affected, p.GetPersonId())
			}
		}
	}
	slices.Sort(w.affected)
	w.affected = slices.Compact(w.affected)
	if err := w.load(ctx, slices.Clone(w.affected)); err != nil {
		return err
	}
	for _, c := range changes {
		for _, id := range c.before { // these have records of it
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
	atOnce(len(w.affected), func(i int) {
		k := w.people[w.affected[i]]
		k.person, k.keys, k.homes = nil, nil, nil
		if len(k.records) > 0 {
			k.person = dedup.NewPerson(k.records)
			k.keys, k.homes = w.m.Keys(k.person), k.person.Homes()
		}
	})
	for _, id := range w.affected {
		if err := w.remake(id); err != nil {
			return err
		}
	}
	return nil
}

// remake writes what is kept of an affected person, and notes where the person comes and goes.
func (w *work) remake(id string) error {
	k := w.people[id]
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
	differences(k.were, k.keys, func(key uint64, comes bool) {
		under(w.postings, key).note(id, comes)
		w.out = append(w.out, marked(postingPrefix(w.g, key)+id, comes))
	})
	differences(k.left, k.homes, func(home string, comes bool) {
		under(w.homes, home).note(id, comes)
		w.out = append(w.out, marked(homePrefix(w.g, home)+id, comes))
	})
	return nil
}

// marked is an entry without a value that comes, or goes.
func marked(key string, comes bool) store.IndexEntry {
	if comes {
		return store.IndexEntry{Key: key, Value: []byte{}}
	}
	return store.IndexEntry{Key: key}
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

// differences tells what has gone, and what has come.
func differences[T comparable](before, after []T, tell func(x T, comes bool)) {
	for _, x := range before {
		if !slices.Contains(after, x) {
			tell(x, false)
		}
	}
	for _, x := range after {
		if !slices.Contains(before, x) {
			tell(x, true)
		}
	}
}

// members are the people under a key or in a household: who comes, who goes, and once it is asked for who was there before.
type members struct {
	come, leave []string // sorted
	read        bool
	before      []string // sorted
	many        bool     // more than can be used, before and after; not all of them are read
	remembered  []string // what after gave
}

// under is who stands under a key, or in a household.
func under[K comparable](all map[K]*members, key K) *members {
	m := all[key]
	if m == nil {
		m = &members{}
		all[key] = m
	}
	return m
}

func (m *members) note(id string, comes bool) {
	if comes {
		m.come = append(m.come, id)
	} else {
		m.leave = append(m.leave, id)
	}
}

// size is how many there will be.
func (m *members) size() int { return len(m.before) - len(m.leave) + len(m.come) }

// after is who will be there, in any order.
func (m *members) after() []string {
	if m.remembered != nil || m.size() == 0 {
		return m.remembered
	}
	m.remembered = make([]string, 0, m.size())
	for _, id := range m.before {
		if _, gone := slices.BinarySearch(m.leave, id); !gone {
			m.remembered = append(m.remembered, id)
		}
	}
	m.remembered = append(m.remembered, m.come...)
	return m.remembered
}

// has says whether somebody will be there.
func (m *members) has(id string) bool { return slices.Contains(m.after(), id) }

// fill reads who was under a prefix; at most so many are of use, 0: all.
func (w *work) fill(ctx context.Context, m *members, prefix string, most int) error {
	limit := 0
	if most > 0 {
		limit = most + len(m.leave) + 1
	}
	entries, err := w.ix.IndexScan(ctx, prefix, "", limit)
	if err != nil {
		return err
	}
	m.read, m.many = true, limit > 0 && len(entries) == limit
	m.before = make([]string, len(entries))
	for i, e := range entries {
		m.before[i] = e.Key[len(prefix):]
	}
	return nil
}

// posting is who has a key.
func (w *work) posting(ctx context.Context, key uint64) (*members, error) {
	m := under(w.postings, key)
	if m.read {
		return m, nil
	}
	if len(m.leave) == 0 && w.large.has(w.g, key) {
		m.read, m.many = true, true
		return m, nil
	}
	err := w.fill(ctx, m, postingPrefix(w.g, key), w.m.MaxBlock())
	if m.many || len(m.leave) > 0 {
		w.large.set(w.g, key, len(m.leave) == 0)
	}
	return m, err
}

// home is who was listed in a household.
func (w *work) home(ctx context.Context, home string) (*members, error) {
	m := under(w.homes, home)
	if m.read {
		return m, nil
	}
	return m, w.fill(ctx, m, homePrefix(w.g, home), 0)
}

// used says whether a key finds anybody: before, and after.
func (w *work) used(m *members) (before, after bool) {
	return !m.many && len(m.before) <= w.m.MaxBlock(), !m.many && m.size() <= w.m.MaxBlock()
}

// links are those that a person had before.
func (w *work) links(ctx context.Context, id string) (map[string]float64, error) {
	if rows := w.rows[id]; rows != nil {
		return rows, nil
	}
	if k := w.people[id]; k != nil && !k.was {
		w.rows[id] = map[string]float64{}
		return w.rows[id], nil
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
