package dedup

import "math"

// Errors of one record go together: whoever mistypes a name mistypes the date as well, and what was read off a bad sheet is
// bad throughout. Taken one by one, the disagreements of such a record would count too much. So matches are of two sorts,
// pairs of good records and pairs with a bad one, in which every disagreement is rarer or commoner by one factor; how
// much, and how many there are, is what makes the compared pairs likeliest.

// quality is one sort of match: its share among matches and how often it reaches each level.
type quality struct {
	share float64
	m     [][]float64
}

// factors are the pairs of factors on disagreement that are tried, for good and for bad pairs.
var factors = [...][2]float64{{.7, 1.5}, {.5, 2}, {.35, 2.5}, {.25, 3.5}}

// leastLikelier is by how much the logarithm of the likelihood must rise for sorts of matches to be told apart.
const leastLikelier = 8

// learnQualities tells good matches from bad ones, if the pairs are much likelier that way.
func (m *Model) learnQualities(t *table) {
	if len(m.others) == 0 {
		return
	}
	different := make([]float64, len(t.patterns))
	s := newScorer(m)
	parts(len(different), func() struct{} { return struct{}{} }, func(_ struct{}, from, to int) {
		for id := from; id < to; id++ {
			different[id] = s.logDifferent(&t.patterns[id])
		}
	})
	best, _ := m.likelihood(t, different, []quality{{1, m.m}})
	share := 0.0
	for _, f := range factors {
		sorts := []quality{{.7, m.scaled(f[0])}, {.3, m.scaled(f[1])}}
		if l, s := m.likelihood(t, different, sorts); l > best+leastLikelier {
			best, m.qualities, share = l, sorts, s
		}
	}
	if m.qualities == nil {
		return
	}
	for i := range m.others {
		m.others[i].share *= (1 - share) / (1 - m.share)
	}
	m.share = share
}

// scaled is m with the disagreement in every group scaled by a factor.
func (m *Model) scaled(factor float64) [][]float64 {
	out := clone(m.m)
	for k, c := range m.columns {
		var agrees, differs [8]float64
		for l, level := range c.scale {
			if level.agrees {
				agrees[level.group] += m.m[k][l]
			} else {
				differs[level.group] += m.m[k][l]
			}
		}
		for l, level := range c.scale {
			g := level.group
			if agrees[g] == 0 || differs[g] == 0 {
				continue
			}
			bad := min(factor*differs[g], max(.8, differs[g]))
			if level.agrees {
				out[k][l] *= (1 - bad) / agrees[g]
			} else {
				out[k][l] *= bad / differs[g]
			}
		}
	}
	return out
}

// likelihood settles the shares of sorts of matches, and of matches, by expectation-maximisation, and returns the logarithm of
// how likely that makes the pairs. The shares of the sorts are changed in place.
func (m *Model) likelihood(t *table, different []float64, sorts []quality) (likelihood, share float64) {
	likely := make([][]float64, len(sorts))
	each(len(sorts), func(q int) {
		l := logs(sorts[q].m)
		likely[q] = make([]float64, len(t.patterns))
		for id := range t.patterns {
			for k := range m.columns {
				if v := t.patterns[id][k]; v >= 0 {
					likely[q][id] += l[k][v]
				}
			}
		}
	})
	total := 0.0
	for _, n := range t.counts {
		total += n
	}
	share, sum := m.share, 0.0
	type outcome struct {
		sum, matches float64
		got          [2]float64
	}
	for range 40 {
		before, matches := sum, 0.0
		got := make([]float64, len(sorts))
		sum = 0
		other, one := math.Log(1-share), make([]float64, len(sorts))
		for q, s := range sorts {
			one[q] = math.Log(share) + math.Log(s.share)
		}
		for _, p := range parts(len(t.counts), func() *outcome { return &outcome{} }, func(o *outcome, from, to int) {
			for id := from; id < to; id++ {
				n, u := t.counts[id], other+different[id]
				top := u
				var each [2]float64
				for q := range sorts {
					each[q] = one[q] + likely[q][id]
					top = max(top, each[q])
				}
				all := math.Exp(u - top)
				for q := range sorts {
					each[q] = math.Exp(each[q] - top)
					all += each[q]
				}
				o.sum += n * (top + math.Log(all))
				for q := range sorts {
					o.got[q] += n * each[q] / all
					o.matches += n * each[q] / all
				}
			}
		}) {
			sum += p.sum
			matches += p.matches
			for q := range got {
				got[q] += p.got[q]
			}
		}
		share = min(max(matches/total, 1e-9), 1-1e-9)
		for q := range sorts {
			sorts[q].share = max(got[q]/max(matches, 1e-9), 1e-6)
		}
		if math.Abs(sum-before) < 1e-3 {
			break
		}
	}
	return sum, share
}

// mostSame is the greatest of the chances that a match of any sort reaches a level.
func (m *Model) mostSame(k, l int) float64 {
	out := m.m[k][l]
	for _, q := range m.qualities {
		out = max(out, q.m[k][l])
	}
	return out
}
