package dedup

import (
	"math"
	"math/rand/v2"
	"slices"
)

// maxColumns bounds how many columns are compared.
const maxColumns = 16

// pattern is the level of each column for one pair; -1 is no evidence.
type pattern [maxColumns]int8

// Model is what a search learnt of its data: how often records of one person and of two people agree on each field, how
// common each value is, and which households have members in common. It is read-only and may be used at the same time by
// several callers.
type Model struct {
	opts    Options
	columns []*terms
	m, u    [][]float64 // by column and level
	prior   float64     // bits
	shift   float64     // bits that were added to it by calibration
	others  []component // non-matches among compared pairs; empty where there were too few pairs to tell
	share   float64     // of matches among compared pairs
	// qualities are the sorts of matches, good and bad; none if they cannot be told apart.
	qualities []quality
	house     houseModel
	keys      []keySpec        // blocking keys
	doubles   doubles          // tables only
	recall    float64          // share of true pairs that the keys are expected to bring together
	rows      map[string]int32 // by person id, people only
	fast      *scorer          // its tables, once it does not change any more
}

// component is one kind of non-match among the compared pairs: those that a set of blocking columns brought together.
type component struct {
	share   float64
	p       [][]float64
	blocked []int
}

// log2 is the logarithm that turns a ratio into bits.
func log2(x float64) float64 { return math.Log2(x) }

// learn estimates the model on the pairs drawn by a blocking, chooses the keys anew by what it found, and weighs all pairs. truth,
// if it is known, says whose each record is, -1 for unknown.
func (f *frame) learn(b *blocking, opts Options, truth []int32) (*Model, *found) {
	u := f.chances()
	kept := make([]*terms, len(f.columns))
	each(len(kept), func(k int) { kept[k] = f.columns[k].learnTerms() })
	m, weights := f.fit(b, u, kept, opts)
	u = m.withoutMatches()
	f.refine(b, weights, opts)
	m, weights = f.fit(b, u, kept, opts)
	for _, k := range b.keys {
		m.keys = append(m.keys, k.spec())
	}
	r := m.weighAll(f, b, truth)
	if b.recall = m.reckon(f, b, weights); !f.two && f.several(r.edges) {
		b.recall = min(b.recall, b.recaptured(weights))
	}
	m.recall = b.recall
	m.shiftBy(f.closure(r.edges), r.edges)
	m.fast = newScorer(m)
	if !opts.NoHousehold && !f.house.none() {
		m.learnHouses(f, b, weights, r.edges)
		m.houseWeights(r.edges)
	}
	return m, r
}

// withoutMatches is u less what matches among the pairs drawn at random have put into it, which is felt where many of few
// records are of one person. Nine tenths at most are taken away: what was never seen is not impossible.
func (m *Model) withoutMatches() [][]float64 {
	share := min(math.Exp2(m.prior), .5)
	out := clone(m.u)
	for k, c := range m.columns {
		for l := range out[k] {
			out[k][l] = max(out[k][l]-share*m.m[k][l], out[k][l]/10)
		}
		c.scale.normalise(out[k])
	}
	return out
}

// fit estimates a model on the pairs of a blocking and weighs them.
func (f *frame) fit(b *blocking, u [][]float64, kept []*terms, opts Options) (*Model, []float64) {
	m := &Model{columns: kept, opts: opts, m: make([][]float64, len(f.columns)), u: u}
	for k, c := range f.columns {
		m.m[k], _ = c.scale.priors()
	}
	t := f.tabulate(b)
	m.sessions(t, b)
	m.calibrate(t, f, b.share)
	m.mixture(t, b)
	m.learnQualities(t)
	m.calibrate(t, f, b.share)
	return m, m.weights(b, t)
}

// chances estimates u from pairs drawn at random, with the priors as a little evidence of their own.
func (f *frame) chances() [][]float64 {
	counts := make([][]float64, len(f.columns))
	const priorPairs = 50
	for k, c := range f.columns {
		_, counts[k] = c.scale.priors()
		for l := range counts[k] {
			counts[k][l] *= priorPairs
		}
	}
	var drawn [][2]int32
	const draws = 100_000
	if f.possible() <= draws {
		for i := range int32(f.n) {
			for j := i + 1; j < int32(f.n); j++ {
				if !f.two || i < f.first && j >= f.first {
					drawn = append(drawn, [2]int32{i, j})
				}
			}
		}
	} else {
		rng := rand.New(rand.NewPCG(1, 2))
		drawn = make([][2]int32, 0, draws)
		for range draws {
			i, j := rng.IntN(f.n), rng.IntN(f.n)
			if f.two {
				i, j = rng.IntN(int(f.first)), int(f.first)+rng.IntN(f.n-int(f.first))
			}
			if i != j {
				drawn = append(drawn, [2]int32{int32(i), int32(j)})
			}
		}
	}
	each(len(f.columns), func(k int) {
		for _, p := range drawn {
			if l, _, _ := f.columns[k].compare(int(p[0]), int(p[1])); l >= 0 {
				counts[k][l]++
			}
		}
	})
	for k, c := range f.columns {
		c.scale.normalise(counts[k])
	}
	return counts
}

// table counts patterns, all together and by blocking key.
type table struct {
	patterns []pattern
	counts   []float64
	byKey    [][]float64 // for each key by pattern
	rare     []float64   // what the rarity of the agreeing values says, by pair
}

// tabulate compares all pairs of a blocking.
func (f *frame) tabulate(b *blocking) *table {
	t := &table{byKey: make([][]float64, len(b.keys)), rare: make([]float64, len(b.pairs))}
	found := make([]pattern, len(b.pairs))
	parts(len(found), func() struct{} { return struct{}{} }, func(_ struct{}, from, to int) {
		for x := from; x < to; x++ {
			found[x], t.rare[x] = f.pattern(int(b.pairs[x].a), int(b.pairs[x].b))
		}
	})
	index := map[pattern]int32{}
	for x, p := range found {
		id, ok := index[p]
		if !ok {
			id = int32(len(t.patterns))
			index[p] = id
			t.patterns, t.counts = append(t.patterns, p), append(t.counts, 0)
		}
		t.counts[id]++
		b.pairs[x].pattern = id
	}
	each(len(b.keys), func(k int) {
		t.byKey[k] = make([]float64, len(t.patterns))
		for _, p := range b.pairs {
			if p.keys>>k&1 == 1 {
				t.byKey[k][p.pattern]++
			}
		}
	})
	return t
}

// pattern compares two records; rare is what the rarity of the agreeing values says.
func (f *frame) pattern(i, j int) (p pattern, rare float64) {
	p = emptyPattern()
	for k, c := range f.columns {
		l, x, _ := c.compare(i, j)
		if p[k] = int8(l); l >= 0 {
			rare += c.rarity(l, x)
		}
	}
	return p, rare
}

// emptyPattern says nothing about anything.
func emptyPattern() pattern {
	var p pattern
	for k := range p {
		p[k] = -1
	}
	return p
}

// columnsOf lists the columns a key blocks on, sorted.
func (k *key) columnsOf() []int {
	var out []int
	for _, p := range k.parts {
		out = append(out, p.col)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// sessions estimates m: one expectation-maximisation per blocking key, on the pairs that the key brought together, with
// the columns of the key left out of the score. Sessions that could not tell matches from others are thrown away; the
// rest are averaged together with the priors.
func (m *Model) sessions(t *table, b *blocking) {
	sum, weight := make([][]float64, len(m.columns)), make([]float64, len(m.columns))
	const priorWeight = 4
	for k := range m.columns {
		sum[k] = make([]float64, len(m.m[k]))
		for l, v := range m.m[k] {
			sum[k][l] = priorWeight * v
		}
		weight[k] = priorWeight
	}
	type session struct {
		est     [][]float64
		matches float64
		ok      bool
	}
	held := make([]session, len(b.keys))
	each(len(held), func(i int) {
		held[i].est, held[i].matches, held[i].ok = m.session(t, t.byKey[i], b.keys[i].columnsOf())
	})
	for i, key := range b.keys {
		if !held[i].ok {
			continue
		}
		w, blocked := math.Sqrt(held[i].matches), key.columnsOf()
		for k := range m.columns {
			if slices.Contains(blocked, k) {
				continue
			}
			for l, v := range held[i].est[k] {
				sum[k][l] += w * v
			}
			weight[k] += w
		}
	}
	for k, c := range m.columns {
		c.scale.normalise(sum[k])
		m.m[k] = sum[k]
	}
}

// session runs one such estimation. It returns m, the number of matches it saw, and whether it is to be believed.
func (m *Model) session(t *table, counts []float64, blocked []int) (est [][]float64, matches float64, ok bool) {
	var ids []int32
	total := 0.0
	for id, n := range counts {
		if n > 0 {
			ids = append(ids, int32(id))
			total += n
		}
	}
	free := make([]bool, len(m.columns))
	for k := range free {
		free[k] = !slices.Contains(blocked, k)
	}
	est, u := clone(m.m), clone(m.u)
	share := .2
	for range 60 {
		next, nextU := m.accumulators(10, m.m), m.accumulators(total, m.u)
		logM, logU := logs(est), logs(u)
		matches = 0
		for _, id := range ids {
			p, n := &t.patterns[id], counts[id]
			odds := math.Log(share) - math.Log(1-share)
			for k := range m.columns {
				if free[k] && p[k] >= 0 {
					odds += logM[k][p[k]] - logU[k][p[k]]
				}
			}
			r := 1 / (1 + math.Exp(-odds))
			matches += r * n
			for k := range m.columns {
				if p[k] >= 0 {
					next[k][p[k]] += r * n
					nextU[k][p[k]] += (1 - r) * n
				}
			}
		}
		if total == 0 {
			return nil, 0, false
		}
		for k, c := range m.columns {
			c.scale.normalise(next[k])
			c.scale.normalise(nextU[k])
		}
		est, u = next, nextU
		before := share
		share = min(.999, max(1e-6, matches/total))
		if math.Abs(before-share) < 1e-6*share {
			break
		}
	}
	return est, matches, matches >= 10 && !(share > .995 && total > 100)
}

// accumulators starts counts at a strength times a distribution, and half a pair for every level.
func (m *Model) accumulators(strength float64, p [][]float64) [][]float64 {
	out := make([][]float64, len(p))
	for k := range p {
		out[k] = make([]float64, len(p[k]))
		for l := range p[k] {
			out[k][l] = .05 + strength*p[k][l]
		}
	}
	return out
}

// clone copies a table of probabilities.
func clone(p [][]float64) [][]float64 {
	out := make([][]float64, len(p))
	for k := range p {
		out[k] = slices.Clone(p[k])
	}
	return out
}

// logs takes logarithms.
func logs(p [][]float64) [][]float64 {
	out := make([][]float64, len(p))
	for k := range p {
		out[k] = make([]float64, len(p[k]))
		for l, v := range p[k] {
			out[k][l] = math.Log(max(v, 1e-12))
		}
	}
	return out
}
