package referral

import (
	"math"
	"slices"
)

// tally is what the estimators need of a sample or of one drawn from it: how many of each level have each network size,
// and how many of each level recruited how many of each. One row of counts more than there are levels holds those whose
// level is not known; they matter to Gile's estimator alone, which has to know who else was sampled.
type tally struct {
	sizes []float64   // distinct network sizes, ascending
	count [][]float64 // level by size
	moves [][]float64 // level of the recruiter by level of the recruit
}

func newTally(levels int, sizes []float64) *tally {
	return &tally{sizes: sizes, count: matrix(levels+1, len(sizes)), moves: matrix(levels, levels)}
}

func matrix(rows, columns int) [][]float64 {
	cells := make([]float64, rows*columns)
	m := make([][]float64, rows)
	for i := range m {
		m[i] = cells[i*columns : (i+1)*columns : (i+1)*columns]
	}
	return m
}

func (t *tally) clear() {
	for _, m := range [][][]float64{t.count, t.moves} {
		for _, row := range m {
			clear(row)
		}
	}
}

func (t *tally) levels() int { return len(t.moves) }

// shares makes parts of a whole of weights; all NaN where there is no whole.
func shares(w []float64) []float64 {
	total := sum(w)
	out := make([]float64, len(w))
	for i := range w {
		out[i] = w[i] / total
		if total == 0 || math.IsInf(total, 0) {
			out[i] = math.NaN()
		}
	}
	return out
}

func sum(s []float64) float64 {
	total := 0.0
	for _, v := range s {
		total += v
	}
	return total
}

// weighted adds up each level, a respondent of the i-th size weighing weight[i].
func (t *tally) weighted(weight []float64) []float64 {
	out := make([]float64, t.levels())
	for k := range out {
		for i, c := range t.count[k] {
			out[k] += c * weight[i]
		}
	}
	return shares(out)
}

// naive is the share of each level among the respondents.
func (t *tally) naive() []float64 {
	return t.weighted(slices.Repeat([]float64{1}, len(t.sizes)))
}

// inverse weighs everybody by one over the network size.
func (t *tally) inverse() []float64 {
	w := make([]float64, len(t.sizes))
	for i, d := range t.sizes {
		w[i] = 1 / d
	}
	return w
}

// rds2 is the estimator of Volz and Heckathorn (2008).
func (t *tally) rds2() []float64 { return t.weighted(t.inverse()) }

// harmonicMeans are the harmonic mean network sizes by level; NaN for a level nobody has.
func (t *tally) harmonicMeans() []float64 {
	w := t.inverse()
	out := make([]float64, t.levels())
	for k := range out {
		n, inverse := 0.0, 0.0
		for i, c := range t.count[k] {
			n += c
			inverse += c * w[i]
		}
		out[k] = n / inverse
	}
	return out
}

// rds1 is the estimator of Salganik and Heckathorn (2004). It is NaN where recruitment never mixes the levels.
func (t *tally) rds1() []float64 {
	q := stationary(transitions(t.moves))
	h := t.harmonicMeans()
	out := make([]float64, len(q))
	for k := range q {
		switch {
		case q[k] == 0:
		case math.IsNaN(h[k]): // a level that occurs only through recruiters whose size is not counted
			out[k] = math.NaN()
		default:
			out[k] = q[k] / h[k]
		}
	}
	return shares(out)
}

// transitions are the shares of each recruiter level's recruits. Of a level whose people recruited nobody nothing is
// known; it is taken to recruit all levels alike, as the R package RDS does.
func transitions(moves [][]float64) [][]float64 {
	out := matrix(len(moves), len(moves))
	for i, row := range moves {
		total := sum(row)
		for j, v := range row {
			if out[i][j] = v / total; total == 0 {
				out[i][j] = 1 / float64(len(row))
			}
		}
	}
	return out
}

// stationary is the distribution that a chain of these transitions tends to, by the elimination of Grassmann, Taksar and
// Heyman (1985), which subtracts nothing. It is all NaN where more than one set of levels is never left, for then it
// depends on where the chain begins.
func stationary(p [][]float64) []float64 {
	n := len(p)
	out := make([]float64, n)
	class := closedClass(p)
	if class == nil {
		for i := range out {
			out[i] = math.NaN()
		}
		return out
	}
	a := matrix(len(class), len(class))
	for i, x := range class {
		for j, y := range class {
			a[i][j] = p[x][y]
		}
	}
	for k := len(class) - 1; k > 0; k-- {
		leave := sum(a[k][:k])
		for i := range k {
			a[i][k] /= leave
			for j := range k {
				a[i][j] += a[i][k] * a[k][j]
			}
		}
	}
	q := make([]float64, len(class))
	q[0] = 1
	for k := 1; k < len(class); k++ {
		for i := range k {
			q[k] += q[i] * a[i][k]
		}
	}
	q = shares(q)
	for i, x := range class {
		out[x] = q[i]
	}
	return out
}

// closedClass is the one set of levels that, once entered, is never left; nil if there are several.
func closedClass(p [][]float64) []int {
	n := len(p)
	reach := make([][]bool, n)
	for i := range reach {
		reach[i] = make([]bool, n)
		for j := range n {
			reach[i][j] = i == j || p[i][j] > 0
		}
	}
	for k := range n {
		for i := range n {
			for j := range n {
				reach[i][j] = reach[i][j] || reach[i][k] && reach[k][j]
			}
		}
	}
	var class []int
	for j := range n { // a level that all reach belongs to the only closed set, if there is but one
		all := true
		for i := range n {
			all = all && reach[i][j]
		}
		if all {
			class = append(class, j)
		}
	}
	return class
}

// successive is Gile's (2011) estimator of a sample drawn one after the other without replacement out of population
// people. Her simulation is replaced by the fixed point that it approaches: with N_k people of each size d_k, a person is
// drawn with probability 1-exp(-d_k t), where t makes the expected sample as large as the real one.
func (t *tally) successive(population float64) []float64 {
	return t.weighted(t.successiveWeights(population))
}

func (t *tally) successiveWeights(population float64) []float64 {
	const rounds, enough = 500, 1e-13
	n := len(t.sizes)
	have := make([]float64, n)
	pi := make([]float64, n)
	total := 0.0
	for i, d := range t.sizes {
		for _, row := range t.count {
			have[i] += row[i]
		}
		total += have[i]
		pi[i] = d
	}
	weight := slices.Repeat([]float64{1}, n)
	if total >= population || n == 0 {
		return weight // everybody was drawn
	}
	there := make([]float64, n)
	for range rounds {
		all := 0.0
		for i := range there {
			there[i] = have[i] / pi[i]
			all += there[i]
		}
		for i := range there {
			there[i] *= population / all
		}
		tau := drawTime(t.sizes, there, total)
		change := 0.0
		for i, d := range t.sizes {
			p := -math.Expm1(-d * tau)
			change = max(change, math.Abs(p-pi[i]))
			pi[i] = p
		}
		if change < enough {
			break
		}
	}
	for i := range weight {
		weight[i] = 1 / pi[i]
	}
	return weight
}

// drawTime is the t at which total people are expected to be drawn. The expectation rises ever more slowly, so Newton's
// steps from 0 come to it from below.
func drawTime(sizes, there []float64, total float64) float64 {
	tau := 0.0
	for range 100 {
		f, slope := -total, 0.0
		for i, d := range sizes {
			left := math.Exp(-d * tau)
			f += there[i] * (1 - left)
			slope += there[i] * d * left
		}
		step := -f / slope
		if !(step > 0) || math.IsInf(step, 0) {
			break
		}
		tau += step
		if step < 1e-15*tau {
			break
		}
	}
	return tau
}
