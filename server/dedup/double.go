package dedup

import "math"

// doubles is what is known of people entered twice on one roster of a table. There much is shared by everybody - surname,
// village, telephone - so that agreement is weighed against the other people of the same roster, not against strangers.
// In a study the interview tells one line of the roster from another, and nobody is linked within it.
type doubles struct {
	u     [][]float64
	prior float64
}

// findDoubles weighs all pairs on one roster and returns them as edges. Rosters larger than a block are left alone.
func (m *Model) findDoubles(f *frame, opts Options) []edge {
	if f.roster.none() {
		return nil
	}
	b := &blocking{blocks: f.blocksOfRosters(opts.MaxBlock)}
	f.draw(b)
	if len(b.pairs) == 0 {
		return nil
	}
	m.learnDoubles(f.tabulate(b))
	w := &weigher{f: f, m: m, floor: worthTrack, byKey: []int{0}, base: func(p *pattern) float64 {
		sum := m.doubles.prior
		for k := range m.columns {
			if p[k] >= 0 {
				sum += m.doubleBits(k, int(p[k]))
			}
		}
		return sum
	}}
	w.arrange()
	w.chains = []chain{w.chain(m.doubles.prior, m.doubles.u, 1e-9)}
	return w.all(b, nil).edges
}

// doubleBits is bits for a pair on one roster.
func (m *Model) doubleBits(k, l int) float64 {
	return log2(max(m.m[k][l], 1e-9) / max(m.doubles.u[k][l], 1e-9))
}

// blocksOfRosters makes a block of each roster.
func (f *frame) blocksOfRosters(largest int) *blocks {
	s := &sorter{entries: make([]entry, 0, f.n)}
	for i := range f.n {
		for _, r := range f.roster.of(i) {
			s.entries = append(s.entries, entry{mix(uint64(r), 0), int32(i)})
		}
	}
	return f.newBlocks([]keyBlocks{s.cut(largest)}, true)
}

// learnDoubles estimates how often the different people of one roster agree, and how many pairs are double entries, with
// m as it is.
func (m *Model) learnDoubles(t *table) {
	total := 0.0
	for _, n := range t.counts {
		total += n
	}
	u, share := clone(m.u), .005
	for range 25 {
		next := m.accumulators(5, m.u)
		logM, logU := logs(m.m), logs(u)
		matches := 0.0
		for id := range t.patterns {
			p, n := &t.patterns[id], t.counts[id]
			odds := math.Log(share / (1 - share))
			for k := range m.columns {
				if p[k] >= 0 {
					odds += logM[k][p[k]] - logU[k][p[k]]
				}
			}
			r := 1 / (1 + math.Exp(-odds))
			matches += r * n
			for k := range m.columns {
				if p[k] >= 0 {
					next[k][p[k]] += (1 - r) * n
				}
			}
		}
		for k, c := range m.columns {
			c.scale.normalise(next[k])
		}
		u = next
		share = min(max(matches, .1)/total, .2)
	}
	m.doubles = doubles{u: u, prior: log2(share / (1 - share))}
}
