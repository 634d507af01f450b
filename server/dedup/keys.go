package dedup

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

// single is one transform of one column: the simplest blocking key.
type single struct {
	col    int
	at     int // among the transforms of the column's kind
	name   string
	agree  float64
	byAtom []uint64 // hash of each atom of the column; 0 for none
	rows   *rows
	filled float64 // share of records that have it
	values int     // how many there are: none, one, or more
}

// hashes appends the distinct values of a record.
func (s *single) hashes(out []uint64, row int32) []uint64 {
	start := len(out)
	for _, a := range s.rows.of(int(row)) {
		if h := s.byAtom[a]; h != 0 && !slices.Contains(out[start:], h) {
			out = append(out, h)
		}
	}
	return out
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

// blocking is the keys that were chosen and the pairs that they bring together.
type blocking struct {
	budget     int64
	singles    []*single
	candidates []*key

	keys     []*key
	names    []string
	recall   float64
	blocks   *blocks
	compared int64
	pairs    []pair  // all, or a share of them drawn by chance, to learn from
	share    float64 // that share
}

// block finds blocking keys by itself and draws pairs that they bring together.
func (f *frame) block(opts Options) *blocking {
	b := &blocking{share: 1}
	if f.n < 2 {
		b.blocks = f.blocksOf(nil, opts.MaxBlock, nil)
		return b
	}
	b.budget = budget(opts, f.n)
	b.singles = f.singles()
	b.candidates = f.candidates(b.singles, opts, b.budget)
	f.gather(b, opts)
	return b
}

// manyRecords is from how many records on the pairs compared for each get fewer.
const manyRecords = 20_000

// budget is how many pairs may be compared: so many per record, fewer where there are very many records, for then most of
// what broad keys bring together is chance.
func budget(opts Options, n int) int64 {
	each := float64(opts.PairsPerRecord)
	if n > manyRecords {
		each *= math.Sqrt(manyRecords / float64(n))
	}
	return int64(each * float64(max(n, 500)))
}

// gather chooses keys among the candidates and draws pairs.
func (f *frame) gather(b *blocking, opts Options) {
	draws := f.imagine(b.singles)
	for _, k := range b.candidates {
		k.cover(draws)
	}
	b.keys, b.recall = choose(b.candidates, f.n, b.budget)
	b.names = nil
	for _, k := range b.keys {
		b.names = append(b.names, k.name(f))
	}
	b.blocks = f.blocksOf(b.keys, opts.MaxBlock, b.blocks)
	f.draw(b)
}

// leastMatches is how many good matches are needed to judge blocking values by them.
const leastMatches = 30

// refine chooses the keys again, now that the first choice has found matches: how often those agree on a blocking value is
// counted, among the matches that some key on other columns brought together. It says whether there were enough matches.
func (f *frame) refine(b *blocking, weights []float64, opts Options) bool {
	columns := b.using(len(f.columns))
	agreed, met := make([]float64, len(b.singles)), make([]float64, len(b.singles))
	good := 0
	var ha, hb []uint64
	for x, p := range b.pairs {
		if weights[x] < strongLink {
			continue
		}
		good++
		for i, s := range b.singles {
			ha, hb = s.hashes(ha[:0], p.a), s.hashes(hb[:0], p.b)
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

// name is what a key is called in a report.
func (k *key) name(f *frame) string {
	var s []string
	for _, p := range k.parts {
		s = append(s, f.columns[p.col].field+p.name)
	}
	return strings.Join(s, " + ")
}

// singles makes the simple keys that tell records apart.
func (f *frame) singles() []*single {
	return slices.DeleteFunc(f.allSingles(), func(s *single) bool { return s.values < 2 || s.filled*float64(f.n) < 2 })
}

// allSingles makes all simple keys, several at once.
func (f *frame) allSingles() []*single {
	var out []*single
	var all []transform
	for ci, c := range f.columns {
		for at, t := range transformsOf(c.kind) {
			out = append(out, &single{col: ci, at: at, name: t.name, agree: t.agree, rows: &c.rows})
			all = append(all, t)
		}
	}
	each(len(out), func(i int) { f.fill(out[i], all[i]) })
	return out
}

// fill works out the values of a simple key.
func (f *frame) fill(s *single, t transform) {
	c := f.columns[s.col]
	s.byAtom = make([]uint64, c.atoms)
	first := uint64(0)
	a := &atom{name: &nameForm{}, date: &dateForm{}}
	for x := range s.byAtom {
		c.see(int32(x), a, a.name, a.date)
		if text := t.of(a); text != "" {
			h := hash(text)
			if s.byAtom[x] = h; s.values == 0 {
				s.values, first = 1, h
			} else if h != first {
				s.values = 2
			}
		}
	}
	filled := 0
	for i := range f.n {
		if slices.ContainsFunc(c.rows.of(i), func(x int32) bool { return s.byAtom[x] != 0 }) {
			filled++
		}
	}
	s.filled = float64(filled) / float64(max(f.n, 1))
}

// candidates lists the keys that are cheap enough: simple ones, and conjunctions of two and three where those are not.
func (f *frame) candidates(singles []*single, opts Options, budget int64) []*key {
	each := budget / 4
	sample := f.someRows()
	var out []*key
	// measure keeps of the keys those that are cheap enough, and says which are too broad.
	measure := func(keys []*key) (broad []bool) {
		f.measure(keys, sample, opts.MaxBlock)
		broad = make([]bool, len(keys))
		for i, k := range keys {
			if k.cost <= each && k.lost < .5 {
				out = append(out, k)
			}
			broad[i] = k.cost > each || k.lost > .02
		}
		return broad
	}
	var keys []*key
	for _, s := range singles {
		keys = append(keys, &key{parts: []*single{s}})
	}
	var broad []*single
	for i, b := range measure(keys) {
		if b {
			broad = append(broad, singles[i])
		}
	}
	const mostConjunctions = 300
	keys = nil
	for i, s := range broad {
		for _, t := range broad[i+1:] {
			if s.col != t.col && len(keys) < mostConjunctions {
				keys = append(keys, &key{parts: []*single{s, t}})
			}
		}
	}
	var threes []*key
	most := 2*mostConjunctions - len(keys)
	for i, b := range measure(keys) {
		for _, s := range broad {
			if p := keys[i].parts; b && s.col > p[1].col && len(threes) < most {
				threes = append(threes, &key{parts: []*single{p[0], p[1], s}})
			}
		}
	}
	measure(threes)
	return out
}

// measure works out on a sample of the rows what keys cost, several keys at once.
func (f *frame) measure(keys []*key, sample []int32, maxBlock int) {
	type state struct {
		counts *counter
		all    []entry
	}
	scale := float64(f.n) / float64(max(len(sample), 1))
	eachWith(len(keys), func() *state { return &state{counts: newCounter(len(sample))} }, func(s *state, i int) {
		s.all = s.all[:0]
		for _, row := range sample {
			s.all = keys[i].entries(s.all, row)
		}
		keys[i].cost, keys[i].lost = s.counts.cost(s.all, maxBlock, scale)
	})
}

// mostMeasured is on how many records at most the cost of a key is measured.
const mostMeasured = 1 << 15

// someRows is all rows, or so many drawn by chance as keys are measured on.
func (f *frame) someRows() []int32 {
	rows := make([]int32, f.n)
	for i := range rows {
		rows[i] = int32(i)
	}
	if f.n <= mostMeasured {
		return rows
	}
	rng := rand.New(rand.NewPCG(7, 8))
	for i := range mostMeasured {
		j := i + rng.IntN(f.n-i)
		rows[i], rows[j] = rows[j], rows[i]
	}
	rows = rows[:mostMeasured]
	slices.Sort(rows)
	return rows
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
