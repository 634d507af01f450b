package dedup

import "math"

// scorer is a model worked out for weighing many patterns: its logarithms in tables, by the levels of all columns in a row.
type scorer struct {
	m                         *Model
	starts                    []int     // of the levels of each column in a row of all levels
	bits                      []float64 // by level
	same                      []float64 // by level, for each sort of matches
	different                 []float64 // by level, for each kind of non-match
	sameShare, differentShare []float64
	logMatch, logOther        float64
}

// scorer is the tables of a model that does not change any more.
func (m *Model) scorer() *scorer {
	if m.fast != nil {
		return m.fast
	}
	return newScorer(m)
}

// newScorer makes the tables of a model as it is.
func newScorer(m *Model) *scorer {
	s := &scorer{m: m}
	sorts := m.qualities
	if sorts == nil {
		sorts = []quality{{1, m.m}}
	}
	for _, q := range sorts {
		s.sameShare = append(s.sameShare, math.Log(q.share))
	}
	for _, c := range m.others {
		s.differentShare = append(s.differentShare, math.Log(c.share/(1-m.share)))
	}
	s.logMatch, s.logOther = math.Log(m.share), math.Log(1-m.share)
	for k := range m.columns {
		s.starts = append(s.starts, len(s.bits))
		for l := range m.m[k] {
			s.bits = append(s.bits, m.bits(k, l))
			for _, q := range sorts {
				s.same = append(s.same, math.Log(max(q.m[k][l], 1e-12)))
			}
			for _, c := range m.others {
				s.different = append(s.different, math.Log(max(c.p[k][l], 1e-12)))
			}
		}
	}
	return s
}

// weight is the weight of a pattern: the prior, the evidence added up, and the correction for what goes together.
func (s *scorer) weight(p *pattern) float64 {
	w := s.plain(p)
	return w + s.together(p, w)
}

// bit is the weight of one level of one column.
func (s *scorer) bit(k, l int) float64 { return s.bits[s.starts[k]+l] }

// correction is what weight adds to the evidence.
func (s *scorer) correction(p *pattern) float64 { return s.together(p, s.plain(p)) }

// plain is the prior and the evidence of a pattern, added up.
func (s *scorer) plain(p *pattern) float64 {
	w := s.m.prior
	for k, start := range s.starts {
		if p[k] >= 0 {
			w += s.bits[start+int(p[k])]
		}
	}
	return w
}

// together is the correction for agreements that go together among different people: what the mixture says less the
// plain sum.
func (s *scorer) together(p *pattern, plain float64) float64 {
	if len(s.m.others) == 0 {
		return 0
	}
	return (s.logMatch+s.logSame(p)-s.logDifferent(p)-s.logOther)/math.Ln2 + s.m.shift - plain
}

// logDifferent is the logarithm of how likely a pattern is for different people, by the mixture.
func (s *scorer) logDifferent(p *pattern) float64 { return s.logOf(p, s.differentShare, s.different) }

// logSame is the logarithm of how likely a pattern is for one person.
func (s *scorer) logSame(p *pattern) float64 { return s.logOf(p, s.sameShare, s.same) }

// mostKinds bounds how many kinds a mixture has.
const mostKinds = 64

// logOf is the logarithm of how likely a pattern is by a mixture of kinds: their shares, and the tables of their levels.
func (s *scorer) logOf(p *pattern, shares, table []float64) float64 {
	n := len(shares)
	var buf [mostKinds]float64
	post := buf[:n]
	copy(post, shares)
	for k, start := range s.starts {
		if p[k] < 0 {
			continue
		}
		at := (start + int(p[k])) * n
		for i, x := range table[at : at+n] {
			post[i] += x
		}
	}
	return logSum(post)
}

// negligible is by how much less than the greatest a logarithm adds nothing to a sum.
const negligible = 40

// logSum is the logarithm of a sum of which the logarithms are given.
func logSum(logs []float64) float64 {
	if len(logs) == 1 {
		return logs[0]
	}
	top := math.Inf(-1)
	for _, x := range logs {
		top = max(top, x)
	}
	sum := 0.0
	for _, x := range logs {
		if x > top-negligible {
			sum += math.Exp(x - top)
		}
	}
	return top + math.Log(sum)
}

// parts cuts n things into parts of a size that is always the same, so that sums over parts come to the same to the last bit on
// however many cores, and has them done at once. Each part has its own place among results.
func parts[T any](n int, start func() T, do func(result T, from, to int)) []T {
	const size = 4096
	out := make([]T, (n+size-1)/size)
	each(len(out), func(i int) {
		out[i] = start()
		do(out[i], i*size, min(n, (i+1)*size))
	})
	return out
}
