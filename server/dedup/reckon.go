package dedup

import "math/rand/v2"

// reckoned is how many pairs are imagined to reckon how many the keys bring together.
const reckoned = 1 << 14

// reckon estimates which share of the pairs of one person the keys bring together, on imagined pairs as the choice of keys does,
// with what the matches have shown since: how often both records have a value, and that errors go together, for there are good
// pairs and bad ones. What a key loses in blocks that are too large is lost.
func (m *Model) reckon(f *frame, b *blocking, weights []float64) float64 {
	told := f.bothTold(b, weights)
	sorts := m.qualities
	if sorts == nil {
		sorts = []quality{{1, m.m}}
	}
	factors := make([][]float64, len(sorts))
	for q, s := range sorts {
		for k := range m.columns {
			factors[q] = append(factors[q], m.disagreement(s.m, k)/max(m.disagreement(m.m, k), 1e-9))
		}
	}
	rng := rand.New(rand.NewPCG(3, 4))
	luck, there := make([]float64, len(f.columns)), make([]float64, len(f.columns))
	met := 0
	for range reckoned {
		q := 0
		if len(sorts) > 1 && rng.Float64() > sorts[0].share {
			q = 1
		}
		for i := range luck {
			luck[i], there[i] = rng.Float64(), rng.Float64()
		}
		reached := false
		for _, k := range b.keys {
			ok := rng.Float64() >= k.lost
			for _, s := range k.parts {
				ok = ok && luck[s.col] < 1-factors[q][s.col]*(1-s.agree) && there[s.col] < told[s.col]
			}
			reached = reached || ok
		}
		if reached {
			met++
		}
	}
	return float64(met) / reckoned
}

// disagreement is how often records of one person disagree on a column, whatever is told.
func (m *Model) disagreement(p [][]float64, k int) float64 {
	differ, all := 0.0, 0.0
	for l, level := range m.columns[k].scale {
		if all += p[k][l]; !level.agrees {
			differ += p[k][l]
		}
	}
	return differ / all
}

// bothTold is by column how often both records of a match have a value, among those that keys on other columns brought together.
func (f *frame) bothTold(b *blocking, weights []float64) []float64 {
	using := b.using(len(f.columns))
	out := make([]float64, len(f.columns))
	for k, c := range f.columns {
		filled := float64(c.total) / float64(max(f.n, 1))
		both, all := 20*filled*filled, 20.0
		for x, p := range b.pairs {
			if weights[x] < strongLink || p.keys&^using[k] == 0 {
				continue
			}
			if all++; len(c.rows.of(int(p.a))) > 0 && len(c.rows.of(int(p.b))) > 0 {
				both++
			}
		}
		out[k] = both / all
	}
	return out
}

// using is by column which keys use it.
func (b *blocking) using(columns int) []uint64 {
	out := make([]uint64, columns)
	for i, k := range b.keys {
		for _, c := range k.columnsOf() {
			out[c] |= 1 << i
		}
	}
	return out
}

// recaptured estimates the same from the matches alone: from how many of them keys caught once only, and how many twice, those
// that were never caught are reckoned (Chao 1987). Only keys without a common column count as catching twice, and of so few
// occasions as there are the share without the last is taken. It is 1 where there are too few matches. Conjunctions that have a
// column in common make it too low; it is for people who were met many times, of whom the imagined pairs tell too little.
func (b *blocking) recaptured(weights []float64) float64 {
	columns := make([]uint64, len(b.keys))
	for i, k := range b.keys {
		for _, c := range k.columnsOf() {
			columns[i] |= 1 << c
		}
	}
	var caught [maxColumns + 1]float64 // by how many keys without a common column
	all, most := 0.0, 0
	for x, p := range b.pairs {
		if weights[x] < 0 {
			continue
		}
		n, used := 0, uint64(0)
		for i, c := range columns {
			if p.keys>>i&1 == 1 && used&c == 0 {
				n, used = n+1, used|c
			}
		}
		r := probability(weights[x])
		caught[n] += r
		all, most = all+r, max(most, n)
	}
	if all < leastMatches || most < 2 {
		return 1
	}
	missed := float64(most-1) / float64(most) * caught[1] * caught[1] / (2 * max(caught[2], 1))
	return all / (all + missed)
}
