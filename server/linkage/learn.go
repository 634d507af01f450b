package linkage

import (
	"cmp"
	"context"
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
	l := &learner{b: b, ctx: ctx, g: s.Generations, guard: store.IndexEntry{Key: stateKey, Value: s.raw}}
	for _, iv := range interviews {
		for _, p := range iv.People {
			if usableID(p.GetPersonId()) {
				l.records = append(l.records, p)
			}
		}
	}
	l.all = dedup.NewEverybody(l.records)
	data, err := l.all.Learn(b.opts).MarshalBinary()
	if err != nil {
		return err
	}
	// What is written and read again is what later comparisons go by.
	if l.m, err = dedup.UnmarshalModel(data); err != nil {
		return err
	}
	if err := l.write(interviews, data); err != nil {
		return err
	}
	n := int64(l.all.Len())
	s.Studies[code] = &Study{Generation: l.g, Fitted: n, People: n, Compared: l.compared}
	if err := b.save(ctx, s, l.pending); err != nil {
		return err
	}
	return b.sweep(ctx, s)
}

// learner writes one generation. It writes in order of the keys, for then the index grows at its end only.
type learner struct {
	b       *Book
	ctx     context.Context
	m       *dedup.Model
	g       int64
	guard   store.IndexEntry
	pending []store.IndexEntry

	records []*servicev1.PersonRecord
	all     *dedup.Everybody
	sizes   map[string]int // of households
	strong  map[pair][]dedup.Link

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

// write writes all there is, by the letters of the keys.
func (l *learner) write(interviews []Interview, model []byte) error {
	postings := l.all.Postings(l.m)
	for _, step := range []func() error{
		l.homes,
		func() error { return l.interviews(interviews) },
		func() error {
			for _, p := range postings {
				if err := l.put(marked(postingPrefix(l.g, p.Key)+l.all.ID(int(p.Person)), true)); err != nil {
					return err
				}
			}
			return nil
		},
		l.links,
		func() error { return l.people(postings) },
		func() error { return l.put(modelEntries(l.g, model)...) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// homes notes who was ever listed in a household.
func (l *learner) homes() error {
	l.sizes = map[string]int{}
	var keys []string
	for i := range l.all.Len() {
		for _, h := range homesOf(l.all.Records(i)) {
			l.sizes[h]++
			keys = append(keys, homePrefix(l.g, h)+l.all.ID(i))
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		if err := l.put(marked(k, true)); err != nil {
			return err
		}
	}
	return nil
}

// homesOf are the households of a person.
func homesOf(records []*servicev1.PersonRecord) []string {
	var out []string
	for _, r := range records {
		if h := r.GetHouseholdId(); h != "" && !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return out
}

// interviews notes who is listed where.
func (l *learner) interviews(all []Interview) error {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b Interview) int { return cmp.Compare(a.ID, b.ID) })
	for _, iv := range all {
		e, err := interviewEntry(l.g, iv.ID, iv.People)
		if err != nil {
			return err
		}
		if e.Value == nil {
			continue
		}
		if err := l.put(e); err != nil {
			return err
		}
	}
	return nil
}

// people notes what was told of everybody.
func (l *learner) people(postings []dedup.Posting) error {
	starts := make([]int, l.all.Len()+1)
	for _, p := range postings {
		starts[p.Person+1]++
	}
	for i := range l.all.Len() {
		starts[i+1] += starts[i]
	}
	keys, at := make([]uint64, len(postings)), slices.Clone(starts)
	for _, p := range postings { // in order of the keys, so that those of each person are
		keys[at[p.Person]] = p.Key
		at[p.Person]++
	}
	return l.several(l.all.Len(), func(i int) ([]store.IndexEntry, error) {
		e, err := personEntry(l.g, l.all.ID(i), l.all.Records(i), keys[starts[i]:starts[i+1]])
		return []store.IndexEntry{e}, err
	})
}

// several puts what is made of 0 to n-1, in this order, and makes several at once.
func (l *learner) several(n int, entries func(i int) ([]store.IndexEntry, error)) error {
	const batch = 8192
	made, errs := make([][]store.IndexEntry, batch), make([]error, batch)
	for start := 0; start < n; start += batch {
		m := min(batch, n-start)
		atOnce(m, func(i int) { made[i], errs[i] = entries(start + i) })
		for i := range m {
			if errs[i] != nil {
				return errs[i]
			}
			if err := l.put(made[i]...); err != nil {
				return err
			}
		}
	}
	return l.ctx.Err()
}

// links compares all who share a key, and writes who weigh enough to be kept, each pair both ways.
func (l *learner) links() error {
	near, compared := l.all.Compare(l.m)
	l.compared, l.strong = compared, map[pair][]dedup.Link{}
	starts := make([]int, l.all.Len()+1)
	for _, n := range near {
		starts[n.A+1]++
		starts[n.B+1]++
		if n.Weight >= dedup.StrongLink {
			l.note(int(n.A), int(n.B), n.Weight)
		}
	}
	for i := range l.all.Len() {
		starts[i+1] += starts[i]
	}
	ways, at := make([]dedup.Near, 2*len(near)), slices.Clone(starts)
	for _, way := range [2]bool{true, false} { // those with smaller ids come first
		for _, n := range near {
			if way {
				n.A, n.B = n.B, n.A
			}
			ways[at[n.A]] = n
			at[n.A]++
		}
	}
	return l.several(len(ways), func(i int) ([]store.IndexEntry, error) {
		n := ways[i]
		e := store.IndexEntry{Key: linkKey(l.g, l.all.ID(int(n.A)), l.all.ID(int(n.B)))}
		var found *servicev1.MatchPair
		if n.A < n.B {
			found = l.m.Score(l.all.Person(int(n.A)), l.all.Person(int(n.B)), l)
		}
		var err error
		e.Value, err = writeLink(n.Weight, shown(l.m, found))
		return []store.IndexEntry{e}, err
	})
}

// note notes a strong link under each two households of the two.
func (l *learner) note(a, b int, weight float64) {
	seen := map[pair]bool{}
	for _, x := range homesOf(l.all.Records(a)) {
		for _, y := range homesOf(l.all.Records(b)) {
			if at := pairOf(x, y); x != y && !seen[at] {
				seen[at] = true
				l.strong[at] = append(l.strong[at], dedup.Link{A: l.all.ID(a), B: l.all.ID(b), Weight: weight})
			}
		}
	}
}

// Size is how many people were ever listed in a household.
func (l *learner) Size(home string) int { return l.sizes[home] }

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
