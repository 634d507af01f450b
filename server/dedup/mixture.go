package dedup

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// leastPairs is how many compared pairs a mixture needs; with fewer, the plain sum of evidence is all there is.
const leastPairs = 400

// leastColumns is how many columns it needs: of two, one is what brought a pair together, and the other alone does not
// tell matches from non-matches.
const leastColumns = 3

// mixture describes the compared pairs as matches, whose m is fixed by now, and several kinds of non-matches: one for each
// set of blocking columns, in which those columns are free and the others stay near u, and one for families, in which many
// things go together. It corrects the plain sum where agreements of different people go together.
func (m *Model) mixture(t *table, b *blocking) {
	if len(b.pairs) < leastPairs || m.telling() < leastColumns {
		return
	}
	m.share = m.firstShare(t)
	m.others = m.components(t, b)
	n := len(m.others)
	starts, levels := m.starts()
	base := make([]float64, levels*n) // what each kind is held near, with its strength
	for i, c := range m.others {
		strength := float64(len(b.pairs)) / float64(n+1)
		for k := range m.columns {
			s := strength
			if slices.Contains(c.blocked, k) {
				s *= .02
			} else if len(c.blocked) == 0 {
				s *= .05
			}
			for l := range m.u[k] {
				base[(starts[k]+l)*n+i] = .05 + s*c.p[k][l]
			}
		}
	}
	logM := logs(m.m)
	matches := make([]float64, len(t.patterns)) // by pattern, without the share
	for id := range t.patterns {
		for k := range m.columns {
			if l := t.patterns[id][k]; l >= 0 {
				matches[id] += logM[k][l]
			}
		}
	}
	for range 60 {
		got := m.expect(t, starts, levels, matches)
		total := got.matches
		for _, s := range got.shares {
			total += s
		}
		before := m.share
		m.share = min(max(got.matches/total, 1e-9), 1-1e-9)
		for i := range m.others {
			m.others[i].share = max(got.shares[i]/total, 1e-12)
			for k, c := range m.columns {
				p := make([]float64, len(m.u[k]))
				for l := range p {
					at := (starts[k]+l)*n + i
					p[l] = base[at] + got.levels[at]
				}
				c.scale.normalise(p)
				m.others[i].p[k] = p
			}
		}
		if math.Abs(m.share-before) < 1e-5*m.share {
			break
		}
	}
}

// starts says where the levels of each column begin in a row of all levels, and how many there are.
func (m *Model) starts() (starts []int, levels int) {
	for k := range m.columns {
		starts = append(starts, levels)
		levels += len(m.u[k])
	}
	return starts, levels
}

// telling counts the columns that say anything: not those in which nearly all records have one value.
func (m *Model) telling() int {
	n := 0
	for _, c := range m.columns {
		if c.chance < .9 {
			n++
		}
	}
	return n
}

// firstShare is the share of matches to begin with: what the plain sum of evidence makes of the pairs, if that is much.
// Where much that was compared is of one person, a mixture that began with few matches would take them for a kind of
// non-match.
func (m *Model) firstShare(t *table) float64 {
	s := newScorer(m)
	sum, all := 0.0, 0.0
	for id := range t.patterns {
		sum += t.counts[id] * probability(s.plain(&t.patterns[id]))
		all += t.counts[id]
	}
	if share := sum / max(all, 1); share > .05 {
		return min(share, .9)
	}
	return .01
}

// sharing is how many pairs are matches, are of each kind of non-match, and those at each level.
type sharing struct {
	matches        float64
	shares, levels []float64
}

// expect is the first half of a step: it shares each pattern out among the kinds and adds it up. same is how likely each pattern
// is for a match.
func (m *Model) expect(t *table, starts []int, levels int, same []float64) *sharing {
	n := len(m.others)
	shares, table := make([]float64, n), make([]float64, levels*n)
	for i, c := range m.others {
		shares[i] = math.Log(c.share)
		for k, start := range starts {
			for l, p := range c.p[k] {
				table[(start+l)*n+i] = math.Log(max(p, 1e-12))
			}
		}
	}
	share := math.Log(m.share)
	start := func() *sharing { return &sharing{shares: make([]float64, n), levels: make([]float64, levels*n)} }
	sums := parts(len(t.patterns), start, func(e *sharing, from, to int) {
		post := make([]float64, n)
		for id := from; id < to; id++ {
			p, count := &t.patterns[id], t.counts[id]
			match := share + same[id]
			copy(post, shares)
			for k, start := range starts {
				if p[k] >= 0 {
					at := (start + int(p[k])) * n
					for i, x := range table[at : at+n] {
						post[i] += x
					}
				}
			}
			e.matches += shareOut(match, post, count)
			for i, w := range post {
				e.shares[i] += w
			}
			for k, start := range starts {
				if p[k] >= 0 {
					at := (start + int(p[k])) * n
					for i, w := range post {
						e.levels[at+i] += w
					}
				}
			}
		}
	})
	all := start()
	for _, e := range sums {
		all.matches += e.matches
		for i, x := range e.shares {
			all.shares[i] += x
		}
		for i, x := range e.levels {
			all.levels[i] += x
		}
	}
	return all
}

// shareOut shares count pairs out among matches and other kinds by the logarithms of how likely they are, which are replaced by the
// shares; it returns that of the matches.
func shareOut(match float64, kinds []float64, count float64) float64 {
	top := match
	for _, x := range kinds {
		top = max(top, x)
	}
	match = math.Exp(match - top)
	sum := match
	for i, x := range kinds {
		if kinds[i] = 0; x > top-negligible {
			kinds[i] = math.Exp(x - top)
			sum += kinds[i]
		}
	}
	for i, x := range kinds {
		if kinds[i] = x / sum * count; x < 1e-9*sum {
			kinds[i] = 0
		}
	}
	return match / sum * count
}

// components starts the kinds of non-matches: at most a dozen sets of blocking columns, those with most pairs.
func (m *Model) components(t *table, b *blocking) []component {
	pairs := map[string]float64{}
	sets := map[string][]int{}
	for i, k := range b.keys {
		cols := k.columnsOf()
		name := fmt.Sprint(cols)
		sets[name] = cols
		for _, n := range t.byKey[i] {
			pairs[name] += n
		}
	}
	names := make([]string, 0, len(sets))
	for n := range sets {
		names = append(names, n)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(-cmp.Compare(pairs[a], pairs[b]), cmp.Compare(a, b)) })
	names = names[:min(len(names), 12)]
	var out []component
	for _, n := range names {
		c := component{p: clone(m.u), blocked: sets[n]}
		for _, k := range c.blocked {
			for l := range c.p[k] {
				c.p[k][l] *= .3
				if m.columns[k].scale[l].agrees {
					c.p[k][l] += .7
				}
			}
			m.columns[k].scale.normalise(c.p[k])
		}
		out = append(out, c)
	}
	family := component{p: clone(m.u)}
	for k, s := range m.columns {
		for l := range family.p[k] {
			family.p[k][l] = .6*family.p[k][l] + .4/float64(len(family.p[k]))
		}
		s.scale.normalise(family.p[k])
	}
	out = append(out, family)
	for i := range out {
		out[i].share = (1 - m.share) / float64(len(out))
	}
	return out
}

// calibrate sets the prior: how many of all possible pairs are expected to be matches. share is that of the compared pairs
// which are in the table.
func (m *Model) calibrate(t *table, f *frame, share float64) {
	n, all := f.n, float64(max(f.possible(), 1))
	expected := max(.02*float64(n), .5)
	m.prior = log2(expected / all)
	if expected >= all {
		m.prior = 0
	}
	for range 20 {
		sum := .01 * float64(n)
		s := newScorer(m)
		type total struct{ sum float64 }
		for _, p := range parts(len(t.patterns), func() *total { return &total{} }, func(to *total, from, end int) {
			for id := from; id < end; id++ {
				to.sum += t.counts[id] / share * probability(s.weight(&t.patterns[id]))
			}
		}) {
			sum += p.sum
		}
		sum = min(max(sum, .2), all/2)
		next := log2(sum / (all - sum + 1e-9))
		done := math.Abs(next-m.prior) < 1e-9
		m.prior = next
		if done || len(m.others) > 0 {
			break
		}
	}
}

// bits is the weight of one level of one column.
func (m *Model) bits(k, l int) float64 {
	return log2(max(m.m[k][l], 1e-9) / max(m.u[k][l], 1e-9))
}
