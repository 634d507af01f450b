package dedup

import (
	"cmp"
	"fmt"
	"slices"
)

// Where people were met more than twice, records of one person are joined through third ones whatever the two say
// directly. That shows, without labels, how often pairs of a given weight are one person's: more often than the
// weight says, as a rule, for what different people have in common by family or neighbourhood is easily taken for what a person has
// in common with a bad record of his own. One shift of all weights corrects it.

const (
	leastClosed  = 200 // pairs joined through others that are needed
	mostShift    = 3
	shiftFrom    = -6 // weights on which the shift is measured
	shiftTo      = 4
	mostLowering = 1.5 // of the threshold
)

// closure measures by how many bits the weights of pairs understate what third records show; 0 where there are too few of them.
// Looked at are pairs of which both records have two others in their cluster, so that not the pair itself put them there.
func (f *frame) closure(edges []edge) (shift float64) {
	if f.two {
		return f.leftOver(edges)
	}
	if !f.several(edges) {
		return 0
	}
	for range 2 {
		roots := group(f.n, raised(edges, -shift), f.apartByRoster, nil, nil)
		size := make([]int32, f.n)
		for _, r := range roots {
			size[r]++
		}
		var weights []float64
		same := 0
		for _, e := range edges {
			if e.weight < shiftFrom || e.weight > shiftTo || size[roots[e.a]] < 3 || size[roots[e.b]] < 3 {
				continue
			}
			weights = append(weights, e.weight)
			if roots[e.a] == roots[e.b] {
				same++
			}
		}
		if same < leastClosed {
			return shift
		}
		shift = shiftFor(weights, float64(same))
	}
	return shift
}

// leftOver is closure for two tables, where nobody has two partners: a record that has a sure one shows how often strangers
// weigh how much. What the records left over on both sides have in common beyond that is theirs.
func (f *frame) leftOver(edges []edge) float64 {
	matched := make([]bool, f.n)
	for _, e := range edges {
		if e.weight >= strongLink {
			matched[e.a], matched[e.b] = true, true
		}
	}
	sure, left := 0, 0
	for i := range f.first {
		if matched[i] {
			sure++
		} else {
			left++
		}
	}
	var weights []float64
	strangers := 0
	for _, e := range edges {
		switch {
		case matched[e.b] || e.weight < shiftFrom || e.weight > shiftTo:
		case matched[e.a]:
			strangers++
		default:
			weights = append(weights, e.weight)
		}
	}
	if sure < leastClosed {
		return 0
	}
	return shiftFor(weights, float64(len(weights))-float64(strangers)*float64(left)/float64(sure))
}

// reached estimates from the clusters which share of the pairs of one person were compared; at most what was expected. Of clusters
// of two there are only pairs that were.
func (f *frame) reached(edges []edge, roots []int32, expected float64) float64 {
	size := make([]int64, f.n)
	for _, r := range roots {
		size[r]++
	}
	met, all := 0, int64(0)
	for _, n := range size {
		if n > 2 {
			all += possible(int(n))
		}
	}
	for _, e := range edges {
		if roots[e.a] == roots[e.b] && size[roots[e.a]] > 2 {
			met++
		}
	}
	if all < leastClosed {
		return expected
	}
	return min(expected, float64(met)/float64(all))
}

// several says whether records were met more than twice as a rule: half of those that are joined to any are joined to more than
// one. Where that is the exception, clusters of three are often families taken for one person, and show nothing.
func (f *frame) several(edges []edge) bool {
	joined := make([]int8, f.n)
	any, several := 0, 0
	for _, e := range edges {
		if e.weight < 0 {
			continue
		}
		for _, i := range [2]int32{e.a, e.b} {
			switch joined[i]++; joined[i] {
			case 1:
				any++
			case 2:
				several++
			default:
				joined[i] = 2
			}
		}
	}
	return several >= leastClosed && 2*several >= any
}

// shiftFor is the shift with which the weights expect as many pairs to be one person's as are.
func shiftFor(weights []float64, same float64) float64 {
	lo, hi := 0.0, float64(mostShift)
	for range 30 {
		mid := (lo + hi) / 2
		expected := 0.0
		for _, w := range weights {
			expected += probability(w + mid)
		}
		if expected < same {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// shiftBy adds to all weights of the model.
func (m *Model) shiftBy(bits float64, edges []edge) {
	m.prior += bits
	m.shift += bits
	for i := range edges {
		edges[i].weight += bits
	}
}

// threshold is the weight from which links are expected to come to the best F1: a little below even chances, the more so
// the less can be told. It is 0 at most. f1 is that F1, over the total of matches that are expected.
func threshold(edges []edge) (least, f1, total float64) {
	sorted := make([]float64, 0, len(edges))
	for _, e := range edges {
		p := probability(e.weight)
		total += p
		if e.weight > -mostLowering {
			sorted = append(sorted, e.weight)
		}
	}
	slices.SortFunc(sorted, func(a, b float64) int { return -cmp.Compare(a, b) })
	right, best, at := 0.0, 0.0, 0.0
	for i, w := range sorted {
		right += probability(w)
		if f := 2 * right / (float64(i+1) + total); f > best {
			best, at = f, w
		}
	}
	return min(at, 0), best, total
}

// raised is edges as they are weighed against a threshold.
func raised(edges []edge, threshold float64) []edge {
	if threshold == 0 {
		return edges
	}
	out := slices.Clone(edges)
	for i := range out {
		out[i].weight -= threshold
	}
	return out
}

// doubt is a word of warning where what a table holds does not tell its people apart; "" where it does.
func doubt(f1, matches float64) string {
	if matches < 10 || f1 >= .5 {
		return ""
	}
	return fmt.Sprintf("these columns hardly tell people apart: about %.0f pairs are one person's, and not half of them can be found and be right; add columns such as names, dates of birth or telephone numbers, and look at what each column was taken for", matches)
}
