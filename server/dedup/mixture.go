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
	strength := make([]float64, len(m.others))
	base := make([][][]float64, len(m.others))
	for i, c := range m.others {
		base[i] = clone(c.p)
		strength[i] = float64(len(b.pairs)) / float64(len(m.others)+1)
	}
	logM := logs(m.m)
	for range 60 {
		shares := make([]float64, len(m.others))
		acc := make([][][]float64, len(m.others))
		logP := make([][][]float64, len(m.others))
		for i, c := range m.others {
			acc[i] = make([][]float64, len(m.columns))
			for k := range m.columns {
				s := strength[i]
				if slices.Contains(c.blocked, k) {
					s *= .02
				} else if len(c.blocked) == 0 {
					s *= .05
				}
				acc[i][k] = make([]float64, len(m.u[k]))
				for l := range acc[i][k] {
					acc[i][k][l] = .05 + s*base[i][k][l]
				}
			}
			logP[i] = logs(c.p)
		}
		matches := m.expect(t, logM, logP, shares, acc)
		total := matches
		for _, s := range shares {
			total += s
		}
		before := m.share
		m.share = min(max(matches/total, 1e-9), 1-1e-9)
		for i := range m.others {
			m.others[i].share = max(shares[i]/total, 1e-12)
			for k, c := range m.columns {
				c.scale.normalise(acc[i][k])
			}
			m.others[i].p = acc[i]
		}
		if math.Abs(m.share-before) < 1e-5*m.share {
			break
		}
	}
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
	sum, all := 0.0, 0.0
	for id := range t.patterns {
		sum += t.counts[id] * probability(m.plain(&t.patterns[id]))
		all += t.counts[id]
	}
	if share := sum / max(all, 1); share > .05 {
		return min(share, .9)
	}
	return .01
}

// expect is the first half of a step: it shares each pattern out among the kinds and adds it up.
func (m *Model) expect(t *table, logM [][]float64, logP [][][]float64, shares []float64, acc [][][]float64) (matches float64) {
	logShare := make([]float64, len(m.others))
	for i, c := range m.others {
		logShare[i] = math.Log(c.share)
	}
	post := make([]float64, len(m.others))
	for id := range t.patterns {
		p, n := &t.patterns[id], t.counts[id]
		match := math.Log(m.share)
		copy(post, logShare)
		for k := range m.columns {
			l := p[k]
			if l < 0 {
				continue
			}
			match += logM[k][l]
			for i := range post {
				post[i] += logP[i][k][l]
			}
		}
		top := match
		for _, x := range post {
			top = max(top, x)
		}
		sum := math.Exp(match - top)
		r := sum
		for i, x := range post {
			post[i] = math.Exp(x - top)
			sum += post[i]
		}
		matches += r / sum * n
		for i := range post {
			w := post[i] / sum * n
			if w < 1e-9*n {
				continue
			}
			shares[i] += w
			for k := range m.columns {
				if p[k] >= 0 {
					acc[i][k][p[k]] += w
				}
			}
		}
	}
	return matches
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
		for id, p := range t.patterns {
			sum += t.counts[id] / share * probability(m.plain(&p)+m.together(&p))
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

// plain is the prior and the evidence of a pattern, added up.
func (m *Model) plain(p *pattern) float64 {
	w := m.prior
	for k := range m.columns {
		if p[k] >= 0 {
			w += m.bits(k, int(p[k]))
		}
	}
	return w
}

// bits is the weight of one level of one column.
func (m *Model) bits(k, l int) float64 {
	return log2(max(m.m[k][l], 1e-9) / max(m.u[k][l], 1e-9))
}

// together is the correction for agreements that go together among different people: what the mixture says less the
// plain sum.
func (m *Model) together(p *pattern) float64 {
	if len(m.others) == 0 {
		return 0
	}
	return (math.Log(m.share)+m.logSame(p)-m.logDifferent(p)-math.Log(1-m.share))/math.Ln2 + m.shift - m.plain(p)
}
