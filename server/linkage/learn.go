package linkage

import (
	"context"
	"maps"
	"slices"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/dedup"
	"github.com/hearth-survey/hearth/server/store"
)

// chunk is how many entries are written at a time while a model is learnt.
const chunk = 20_000

// Learn learns the model of a study anew from all its interviews, compares everybody with it, and puts the outcome in the place
// of what was there. Until it is done the old one stands. It holds all people of the study in memory.
func (b *Book) Learn(ctx context.Context, s *State, code string, interviews []Interview) error {
	if err := b.sweep(ctx, s); err != nil { // of what was begun and not done
		return err
	}
	s.Generations++
	l := &learner{b: b, ctx: ctx, s: s, g: s.Generations, guard: store.IndexEntry{Key: stateKey, Value: s.raw}}
	people, err := l.interviews(interviews)
	if err != nil {
		return err
	}
	m := dedup.Find(people, nil, nil, b.opts).Model
	data, err := m.MarshalBinary()
	if err != nil {
		return err
	}
	// What is written and read again is what later comparisons go by.
	if m, err = dedup.UnmarshalModel(data); err != nil {
		return err
	}
	if err := l.put(store.IndexEntry{Key: modelKey(l.g), Value: data}); err != nil {
		return err
	}
	if err := l.compare(m, people); err != nil {
		return err
	}
	n := int64(len(l.people))
	s.Studies[code] = &Study{Generation: l.g, Fitted: n, People: n, Compared: l.compared}
	if err := b.save(ctx, s, l.pending); err != nil {
		return err
	}
	return b.sweep(ctx, s)
}

// learner writes one generation.
type learner struct {
	b       *Book
	ctx     context.Context
	s       *State
	g       int64
	guard   store.IndexEntry
	pending []store.IndexEntry

	people []*dedup.Person // by id
	homes  map[string][]int
	strong map[pair][]dedup.Link

	compared int64
}

// put writes entries when there are enough.
func (l *learner) put(entries ...store.IndexEntry) error {
	l.pending = append(l.pending, entries...)
	if len(l.pending) < chunk {
		return nil
	}
	err := l.b.ix.IndexApply(l.ctx, l.guard, l.pending)
	l.pending = l.pending[:0]
	return err
}

// interviews notes who is listed where, and lists everybody.
func (l *learner) interviews(all []Interview) ([]*servicev1.PersonRecord, error) {
	var people []*servicev1.PersonRecord
	for _, iv := range all {
		e, err := interviewEntry(l.g, iv.ID, iv.People)
		if err != nil {
			return nil, err
		}
		if e.Value == nil {
			continue
		}
		for _, p := range iv.People {
			if usableID(p.GetPersonId()) {
				people = append(people, p)
			}
		}
		if err := l.put(e); err != nil {
			return nil, err
		}
	}
	return people, nil
}

// compare compares all who share a key.
func (l *learner) compare(m *dedup.Model, people []*servicev1.PersonRecord) error {
	by := map[string][]*servicev1.PersonRecord{}
	for _, p := range people {
		by[p.GetPersonId()] = append(by[p.GetPersonId()], p)
	}
	ids := slices.Sorted(maps.Keys(by))
	keys := make([][]uint64, len(ids))
	postings := map[uint64][]int32{}
	l.homes = map[string][]int{}
	for i, id := range ids {
		p := dedup.NewPerson(by[id])
		l.people = append(l.people, p)
		keys[i] = m.Keys(p)
		e, err := personEntry(l.g, id, by[id], keys[i])
		if err != nil {
			return err
		}
		entries := []store.IndexEntry{e}
		for _, k := range keys[i] {
			postings[k] = append(postings[k], int32(i))
			entries = append(entries, store.IndexEntry{Key: postingPrefix(l.g, k) + id, Value: []byte{}})
		}
		for _, h := range p.Homes() {
			l.homes[h] = append(l.homes[h], i)
			entries = append(entries, store.IndexEntry{Key: homePrefix(l.g, h) + id, Value: []byte{}})
		}
		if err := l.put(entries...); err != nil {
			return err
		}
	}
	links, err := l.links(m, keys, postings)
	if err != nil {
		return err
	}
	for _, k := range links {
		entries, err := linkEntries(l.g, m, k.bare, l.people[k.a], l.people[k.b], l)
		if err != nil {
			return err
		}
		if err := l.put(entries...); err != nil {
			return err
		}
	}
	return l.ctx.Err()
}

// near is two people who weigh enough to be kept.
type near struct {
	a, b int32
	bare float64
}

// links weighs everybody with those who share a key, and notes the strong links between households.
func (l *learner) links(m *dedup.Model, keys [][]uint64, postings map[uint64][]int32) ([]near, error) {
	var out []near
	met := make([]int32, len(l.people)) // the last, counted from one, who was compared with each
	l.strong = map[pair][]dedup.Link{}
	least := m.LeastWeight()
	for i, p := range l.people {
		if i%1000 == 0 && l.ctx.Err() != nil {
			return nil, l.ctx.Err()
		}
		for _, k := range keys[i] {
			if len(postings[k]) > m.MaxBlock() {
				continue
			}
			for _, j := range postings[k] {
				if int(j) <= i || met[j] == int32(i)+1 {
					continue
				}
				met[j] = int32(i) + 1
				q := l.people[j]
				if p.ListedWith(q) {
					continue
				}
				l.compared++
				bare := m.Weigh(p, q)
				if bare < least {
					continue
				}
				out = append(out, near{int32(i), j, bare})
				if bare >= dedup.StrongLink {
					l.note(p, q, bare)
				}
			}
		}
	}
	return out, nil
}

// note notes a strong link under each two households of the two.
func (l *learner) note(p, q *dedup.Person, bare float64) {
	seen := map[pair]bool{}
	for _, x := range p.Homes() {
		for _, y := range q.Homes() {
			if at := pairOf(x, y); x != y && !seen[at] {
				seen[at] = true
				l.strong[at] = append(l.strong[at], dedup.Link{A: p.ID(), B: q.ID(), Weight: bare})
			}
		}
	}
}

// Size is how many people were ever listed in a household.
func (l *learner) Size(home string) int { return len(l.homes[home]) }

// Strong lists the strong links between two households.
func (l *learner) Strong(x, y string) []dedup.Link { return l.strong[pairOf(x, y)] }

// sweep throws away generations that no study has any more.
func (b *Book) sweep(ctx context.Context, s *State) error {
	b.forget(s)
	current := map[string]bool{}
	for _, study := range s.Studies {
		current[generation(study.Generation)] = true
	}
	guard := store.IndexEntry{Key: stateKey, Value: s.raw}
	for after := ""; ; {
		first, err := b.ix.IndexScan(ctx, "\x01", after, 1)
		if err != nil || len(first) == 0 {
			return err
		}
		g := first[0].Key[:1+8]
		if current[g] {
			after = g + "\xff"
			continue
		}
		page, err := b.ix.IndexScan(ctx, g, "", chunk)
		if err != nil {
			return err
		}
		for i := range page {
			page[i].Value = nil
		}
		if err := b.ix.IndexApply(ctx, guard, page); err != nil {
			return err
		}
	}
}
