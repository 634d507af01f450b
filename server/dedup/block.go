package dedup

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// frame is the records of one search as columns. Rows are sorted by id before it is made.
type frame struct {
	n       int
	columns []*column
	house   [][]int32 // households each record was listed in, for household evidence
	roster  [][]int32 // rosters: two records on one can not be the same
	two     bool      // the records are of two tables, and no two of one table are compared
	first   int32     // how many are of the first of two
}

// apart says whether two records are never compared.
func (f *frame) apart(i, j int32) bool {
	return f.two && (i < f.first) == (j < f.first) || f.apartByRoster(i, j)
}

// possible is the number of pairs that might be compared.
func (f *frame) possible() int64 {
	if f.two {
		return int64(f.first) * (int64(f.n) - int64(f.first))
	}
	return possible(f.n)
}

// apartByRoster says whether two records stand on the same roster.
func (f *frame) apartByRoster(i, j int32) bool {
	if f.roster == nil {
		return false
	}
	for _, a := range f.roster[i] {
		if slices.Contains(f.roster[j], a) {
			return true
		}
	}
	return false
}

// pair is two records to be compared, a before b.
type pair struct {
	a, b    int32
	keys    uint64 // bit k: blocking key k brought them together
	pattern int32  // index of the levels found
}

// transform makes one blocking value of an atom; empty means none. agree is the assumed chance that two records of one
// person agree on it, given both are there.
type transform struct {
	name  string
	agree float64
	of    func(a *atom) string
}

// transformsOf lists the blocking values of a kind, narrowest first.
func transformsOf(k kind) []transform {
	canon := func(a *atom) string { return a.canon }
	cut := func(n int) func(a *atom) string {
		return func(a *atom) string {
			if len(a.canon) < n {
				return ""
			}
			return a.canon[:n]
		}
	}
	switch k {
	case kindPerson:
		return []transform{
			{"", .75, canon},
			{" pinyin", .85, func(a *atom) string { return a.sound }},
			{" dialect", .9, func(a *atom) string { return a.name.near }},
			{" family", .95, func(a *atom) string { return a.name.soundFamily }},
		}
	case kindDate:
		return []transform{
			{"", .65, func(a *atom) string {
				if a.date.day == 0 {
					return ""
				}
				return a.canon
			}},
			{" month", .75, func(a *atom) string {
				if a.date.month == 0 {
					return ""
				}
				return a.canon[:7]
			}},
			{" year", .88, func(a *atom) string {
				if a.date.reckoned {
					return ""
				}
				return a.canon[:4]
			}},
			{" day of the year", .75, func(a *atom) string { return strings.TrimPrefix(a.canon, strconv.Itoa(int(a.date.year))) }},
		}
	case kindPhone:
		return []transform{{"", .65, canon}, {" last four", .7, last(4)}}
	case kindResident:
		return []transform{{"", .8, func(a *atom) string {
			if len(a.canon) < 15 {
				return ""
			}
			return a.canon
		}}, {" last four", .9, func(a *atom) string {
			if len(a.canon) == 15 {
				return ""
			}
			return last(4)(a)
		}}}
	case kindPlace:
		return []transform{{"", .7, canon}, {" township", .75, cut(9)}, {" county", .85, cut(6)}}
	case kindCategory, kindOrdered:
		return []transform{{"", .8, canon}}
	case kindDigits:
		return []transform{{"", .75, canon}, {" last four", .78, last(4)}}
	}
	return []transform{{"", .72, canon}, {" first three", .82, func(a *atom) string {
		if len(a.runes) < 4 {
			return ""
		}
		return string(a.runes[:3])
	}}, {" first word", .77, func(a *atom) string {
		w, _, more := strings.Cut(a.shown, " ")
		if !more {
			return ""
		}
		return strings.ToLower(w)
	}}}
}

// last keeps the last n characters of longer texts.
func last(n int) func(a *atom) string {
	return func(a *atom) string {
		if len(a.canon) < n {
			return ""
		}
		return a.canon[len(a.canon)-n:]
	}
}

// single is one transform of one column: the simplest blocking key.
type single struct {
	col    int
	at     int // among the transforms of the column's kind
	name   string
	agree  float64
	hashes lists[uint64] // per record
	filled float64       // share of records that have it
	values int           // how many there are
}

// key is a conjunction of singles.
type key struct {
	parts  []*single
	cost   int64
	lost   float64 // share of its records that stand in blocks too large to use
	covers [scenarios / 64]uint64
}

// scenarios is how many imagined pairs of one person's records are drawn to judge a set of keys.
const scenarios = 1024

// blocking is the pairs to compare and how they were found.
type blocking struct {
	budget     int64
	singles    []*single
	candidates []*key

	pairs  []pair
	keys   []*key
	names  []string
	recall float64
}

// block finds blocking keys by itself and collects the pairs they bring together.
func (f *frame) block(opts Options) *blocking {
	b := &blocking{}
	if f.n < 2 {
		return b
	}
	b.budget = int64(opts.PairsPerRecord) * int64(max(f.n, 500))
	b.singles = f.singles()
	b.candidates = f.candidates(b.singles, opts, b.budget)
	f.gather(b, opts)
	return b
}

// gather chooses keys among the candidates and collects their pairs.
func (f *frame) gather(b *blocking, opts Options) {
	draws := f.imagine(b.singles)
	for _, k := range b.candidates {
		k.cover(draws)
	}
	b.keys, b.recall = choose(b.candidates, f.n, b.budget)
	f.pairs(b, opts)
}

// pairs collects the pairs that the keys bring together.
func (f *frame) pairs(b *blocking, opts Options) {
	b.names, b.pairs = nil, nil
	for i, k := range b.keys {
		b.names = append(b.names, k.name(f))
		f.collect(k, opts.MaxBlock, func(rows []entry) {
			for x := range rows {
				for y := x + 1; y < len(rows); y++ {
					i1, j1 := rows[x].row, rows[y].row
					if i1 != j1 && !f.apart(i1, j1) {
						b.pairs = append(b.pairs, pair{a: min(i1, j1), b: max(i1, j1), keys: 1 << i})
					}
				}
			}
		})
		b.compact(i == len(b.keys)-1)
	}
}

// leastMatches is how many good matches are needed to judge blocking values by them.
const leastMatches = 30

// refine chooses the keys again, now that the first choice has found matches: how often those agree on a blocking value is
// counted, among the matches that some key on other columns brought together. It says whether there were enough matches.
func (f *frame) refine(b *blocking, weights []float64, opts Options) bool {
	columns := make([]uint64, len(f.columns)) // keys that use a column
	for i, k := range b.keys {
		for _, c := range k.columnsOf() {
			columns[c] |= 1 << i
		}
	}
	agreed, met := make([]float64, len(b.singles)), make([]float64, len(b.singles))
	good := 0
	for x, p := range b.pairs {
		if weights[x] < strongLink {
			continue
		}
		good++
		for i, s := range b.singles {
			ha, hb := s.hashes.of(int(p.a)), s.hashes.of(int(p.b))
			if p.keys&^columns[s.col] == 0 || len(ha) == 0 || len(hb) == 0 {
				continue
			}
			met[i]++
			if slices.ContainsFunc(ha, func(h uint64) bool { return slices.Contains(hb, h) }) {
				agreed[i]++
			}
		}
	}
	if good < leastMatches {
		return false
	}
	const priorMatches = 20
	for i, s := range b.singles {
		s.agree = (agreed[i] + priorMatches*s.agree) / (met[i] + priorMatches)
	}
	f.gather(b, opts)
	return true
}

// cover notes which imagined pairs a key reaches.
func (k *key) cover(draws map[*single][scenarios / 64]uint64) {
	for i := range k.covers {
		k.covers[i] = ^uint64(0)
		for _, p := range k.parts {
			k.covers[i] &= draws[p][i]
		}
	}
}

// compact sorts the pairs and joins those found by several keys; in between it waits until there are many.
func (b *blocking) compact(final bool) {
	if !final && len(b.pairs) < 1<<22 {
		return
	}
	slices.SortFunc(b.pairs, func(x, y pair) int {
		return cmp.Compare(uint64(x.a)<<32|uint64(x.b), uint64(y.a)<<32|uint64(y.b))
	})
	out := b.pairs[:0]
	for _, p := range b.pairs {
		if n := len(out); n > 0 && out[n-1].a == p.a && out[n-1].b == p.b {
			out[n-1].keys |= p.keys
			continue
		}
		out = append(out, p)
	}
	b.pairs = out
}

// name is what a key is called in a report.
func (k *key) name(f *frame) string {
	var s []string
	for _, p := range k.parts {
		s = append(s, f.columns[p.col].field+p.name)
	}
	return strings.Join(s, " + ")
}

// entry is one record in one block.
type entry struct {
	hash uint64
	row  int32
}

// collect calls use with each block of a key that is small enough.
func (f *frame) collect(k *key, maxBlock int, use func([]entry)) {
	var all []entry
	for i := range f.n {
		all = k.entries(all, int32(i))
	}
	slices.SortFunc(all, func(a, b entry) int {
		if a.hash != b.hash {
			return cmp.Compare(a.hash, b.hash)
		}
		return cmp.Compare(a.row, b.row)
	})
	for s := 0; s < len(all); {
		t := s + 1
		for t < len(all) && all[t].hash == all[s].hash {
			t++
		}
		if t-s > 1 && t-s <= maxBlock {
			use(all[s:t])
		}
		s = t
	}
}

// entries appends what a record emits under a key: every combination of its values, up to a bound.
func (k *key) entries(out []entry, row int32) []entry {
	if len(k.parts) == 1 {
		for _, h := range k.parts[0].hashes.of(int(row)) {
			out = append(out, entry{h, row})
		}
		return out
	}
	var lists [3][]uint64
	single := true
	for i, p := range k.parts {
		lists[i] = p.hashes.of(int(row))
		if len(lists[i]) == 0 {
			return out
		}
		single = single && len(lists[i]) == 1
	}
	if single {
		h := lists[0][0]
		for _, l := range lists[1:len(k.parts)] {
			h = mix(h, l[0])
		}
		return append(out, entry{h, row})
	}
	var space [64]uint64
	for _, h := range combine(space[:0], lists[:len(k.parts)]) {
		out = append(out, entry{h, row})
	}
	return out
}

// mostCombinations bounds under how many values of a conjunction one record stands.
const mostCombinations = 64

// combine mixes every combination of one hash of each list, up to a bound; none if a list is empty.
func combine(out []uint64, lists [][]uint64) []uint64 {
	for i, list := range lists {
		if len(list) == 0 {
			return nil
		}
		if i == 0 {
			out = append(out, list[:min(len(list), mostCombinations)]...)
			continue
		}
		end := len(out)
		for _, h := range list[1:] {
			for x := 0; x < end && len(out) < mostCombinations; x++ {
				out = append(out, mix(out[x], h))
			}
		}
		for x := range end {
			out[x] = mix(out[x], list[0])
		}
	}
	return out
}

// hash of a text (FNV-1a).
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return mix(h, 1)
}

// mix joins two hashes.
func mix(a, b uint64) uint64 {
	x := a*0x9E3779B97F4A7C15 ^ (b + 0x7F4A7C159E3779B9 + (a << 6) + (a >> 2))
	x ^= x >> 29
	x *= 0xBF58476D1CE4E5B9
	return x ^ x>>32
}

// singles makes the simple keys that tell records apart.
func (f *frame) singles() []*single {
	return slices.DeleteFunc(f.allSingles(), func(s *single) bool { return s.values < 2 || s.filled*float64(f.n) < 2 })
}

// allSingles makes all simple keys.
func (f *frame) allSingles() []*single {
	var out []*single
	for ci, c := range f.columns {
		for at, t := range transformsOf(c.kind) {
			s := &single{col: ci, at: at, name: t.name, agree: t.agree, hashes: newLists[uint64](f.n)}
			byAtom := make([]uint64, len(c.atoms))
			distinct := map[uint64]bool{}
			for i := range c.atoms {
				if v := t.of(&c.atoms[i]); v != "" {
					byAtom[i] = hash(v)
					distinct[byAtom[i]] = true
				}
			}
			filled := 0
			var row []uint64
			for i := range f.n {
				row = row[:0]
				for _, a := range c.rows.of(i) {
					if h := byAtom[a]; h != 0 && !slices.Contains(row, h) {
						row = append(row, h)
					}
				}
				s.hashes.add(row)
				if len(row) > 0 {
					filled++
				}
			}
			s.filled, s.values = float64(filled)/float64(max(f.n, 1)), len(distinct)
			out = append(out, s)
		}
	}
	return out
}

// candidates lists the keys that are cheap enough: simple ones, and conjunctions of two and three where those are not.
func (f *frame) candidates(singles []*single, opts Options, budget int64) []*key {
	each := budget / 4
	counts := newCounter(f.n)
	var out []*key
	var all []entry
	measure := func(parts ...*single) (broad bool) {
		k := &key{parts: parts}
		all = all[:0]
		for i := range f.n {
			all = k.entries(all, int32(i))
		}
		k.cost, k.lost = counts.cost(all, opts.MaxBlock)
		if k.cost <= each && k.lost < .5 {
			out = append(out, k)
		}
		return k.cost > each || k.lost > .02
	}
	var broad []*single
	for _, s := range singles {
		if measure(s) {
			broad = append(broad, s)
		}
	}
	const mostConjunctions = 300
	var pairs [][2]*single
	tried := 0
	for i, s := range broad {
		for _, t := range broad[i+1:] {
			if s.col == t.col || tried >= mostConjunctions {
				continue
			}
			tried++
			if measure(s, t) {
				pairs = append(pairs, [2]*single{s, t})
			}
		}
	}
	for _, p := range pairs {
		for _, s := range broad {
			if s.col > p[1].col && tried < 2*mostConjunctions {
				tried++
				measure(p[0], p[1], s)
			}
		}
	}
	return out
}

// imagine draws pairs of records of one person and notes on which simple keys each agrees. Within a column the draws are
// nested: who agrees on the full date agrees on its year.
func (f *frame) imagine(singles []*single) map[*single][scenarios / 64]uint64 {
	rng := rand.New(rand.NewPCG(20, 26))
	out := map[*single][scenarios / 64]uint64{}
	for x := range scenarios {
		luck, there := make([]float64, len(f.columns)), make([]float64, len(f.columns))
		for i := range luck {
			luck[i], there[i] = rng.Float64(), rng.Float64()
		}
		for _, s := range singles {
			if luck[s.col] < s.agree && there[s.col] < s.filled*s.filled {
				bits := out[s]
				bits[x/64] |= 1 << (x % 64)
				out[s] = bits
			}
		}
	}
	return out
}

// choose takes keys one by one, each time the one that brings most imagined pairs together that few keys reach yet, per
// pair that it costs, until the budget is spent or nothing is gained. It returns the share of imagined pairs reached.
func choose(candidates []*key, n int, budget int64) ([]*key, float64) {
	worth := [4]float64{1, .25, .08, 0}
	var reached [scenarios]uint8
	var chosen []*key
	left := budget
	used := make([]bool, len(candidates))
	for len(chosen) < 24 {
		best, bestScore := -1, 0.0
		for i, k := range candidates {
			if used[i] || k.cost > left {
				continue
			}
			gain := 0.0
			for x, r := range reached {
				if k.covers[x/64]>>(x%64)&1 == 1 {
					gain += worth[r]
				}
			}
			gain *= 1 - k.lost
			if score := gain / (float64(k.cost) + float64(n)/2); gain > scenarios/1000.0 && score > bestScore {
				best, bestScore = i, score
			}
		}
		if best < 0 {
			break
		}
		used[best] = true
		left -= candidates[best].cost
		chosen = append(chosen, candidates[best])
		for x := range reached {
			if candidates[best].covers[x/64]>>(x%64)&1 == 1 {
				reached[x] = min(reached[x]+1, 3)
			}
		}
	}
	met := 0
	for _, r := range reached {
		if r > 0 {
			met++
		}
	}
	return chosen, float64(met) / scenarios
}
