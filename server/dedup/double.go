package dedup

import (
	"cmp"
	"math"
	"slices"
)

// doubles is what is known of people entered twice on one roster of a table. There much is shared by everybody - surname,
// village, telephone - so that agreement is weighed against the other people of the same roster, not against strangers.
// In a study the interview tells one line of the roster from another, and nobody is linked within it.
type doubles struct {
	u     [][]float64
	prior float64
}

// findDoubles weighs all pairs on one roster and returns them as edges. Rosters larger than a block are left alone.
func (m *Model) findDoubles(f *frame, opts Options) []edge {
	pairs := f.rosterPairs(opts.MaxBlock)
	if len(pairs) == 0 {
		return nil
	}
	t := f.tabulate(&blocking{pairs: pairs})
	m.learnDoubles(t)
	out := make([]edge, 0, len(pairs))
	for _, p := range pairs {
		lv := &t.patterns[p.pattern]
		w := m.doubles.prior + f.rarities(p.a, p.b, lv)
		for k := range m.columns {
			if lv[k] >= 0 {
				w += m.doubleBits(k, int(lv[k]))
			}
		}
		if w > worthTrack {
			out = append(out, edge{p.a, p.b, w})
		}
	}
	return out
}

// doubleBits is bits for a pair on one roster.
func (m *Model) doubleBits(k, l int) float64 {
	return log2(max(m.m[k][l], 1e-9) / max(m.doubles.u[k][l], 1e-9))
}

// rosterPairs lists the pairs on one roster.
func (f *frame) rosterPairs(largest int) []pair {
	on := map[int32][]int32{}
	if f.roster.none() {
		return nil
	}
	for i := range f.n {
		for _, r := range f.roster.of(i) {
			on[r] = append(on[r], int32(i))
		}
	}
	var out []pair
	for _, rows := range on {
		if len(rows) > largest {
			continue
		}
		for x, i := range rows {
			for _, j := range rows[x+1:] {
				out = append(out, pair{a: i, b: j})
			}
		}
	}
	slices.SortFunc(out, func(a, b pair) int { return cmp.Or(cmp.Compare(a.a, b.a), cmp.Compare(a.b, b.b)) })
	return slices.Compact(out)
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
