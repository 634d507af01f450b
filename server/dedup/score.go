package dedup

import (
	"cmp"
	"iter"
	"maps"
	"slices"
)

// tally is how many records of the first table and how many others there are.
type tally struct{ first, others int64 }

func (t tally) records() float64 { return float64(t.first + t.others) }

// pairsOf is how many pairs there are in groups: of one record of each table, or of any two where there is one table.
func pairsOf(groups iter.Seq[tally], first int32) int64 {
	sum := int64(0)
	for t := range groups {
		if first >= 0 {
			sum += t.first * t.others
		} else {
			sum += t.others * (t.others - 1) / 2
		}
	}
	return sum
}

// over makes means of sums over n records.
func (m Measures) over(n float64) Measures {
	if n == 0 {
		return Measures{Precision: 1, Recall: 1, F1: 1}
	}
	m.Precision, m.Recall = m.Precision/n, m.Recall/n
	m.F1 = 2 * m.Precision * m.Recall / (m.Precision + m.Recall)
	return m
}

// score compares clusters with the truth, over pairs and over records. Records without truth are left out on both sides. Of
// two tables first is how many records the first one has, and no two records of one table make a pair; of one table it is -1.
func score(roots []int32, truth []int32, edges []edge, compared int64, first int32) *Score {
	people := int32(0)
	for _, t := range truth {
		people = max(people, t+1)
	}
	several := make([]bool, len(roots)) // of a record by itself there is no pair, and most are
	for i, r := range roots {
		several[r] = several[r] || r != int32(i)
	}
	type cell struct{ root, who int32 }
	byTruth, byRoot, both := make([]tally, people), make([]tally, len(roots)), map[cell]tally{}
	for i, t := range truth {
		if t < 0 {
			continue
		}
		one := tally{others: 1}
		if int32(i) < first {
			one = tally{first: 1}
		}
		add := func(t tally) tally { return tally{t.first + one.first, t.others + one.others} }
		byTruth[t], byRoot[roots[i]] = add(byTruth[t]), add(byRoot[roots[i]])
		if c := (cell{roots[i], t}); several[roots[i]] {
			both[c] = add(both[c])
		}
	}
	s := &Score{TruePairs: pairsOf(slices.Values(byTruth), first), FoundPairs: pairsOf(slices.Values(byRoot), first), RightPairs: pairsOf(maps.Values(both), first)}
	n := 0.0
	for i, t := range truth { // in order, so that the sum is always the same
		if t >= 0 {
			right := 1.0
			if several[roots[i]] {
				right = both[cell{roots[i], t}].records()
			}
			s.BCubed.Precision += right / byRoot[roots[i]].records()
			s.BCubed.Recall += right / byTruth[t].records()
			n++
		}
	}
	s.BCubed = s.BCubed.over(n)
	s.best(edges, truth)
	if s.TruePairs > 0 {
		s.Blocked = float64(compared) / float64(s.TruePairs)
	}
	return s
}

// measures gives precision, recall and their harmonic mean. Nothing found where nothing is true is perfect.
func measures(truth, found, right int64) (precision, recall, f1 float64) {
	precision, recall = 1, 1
	if found > 0 {
		precision = float64(right) / float64(found)
	}
	if truth > 0 {
		recall = float64(right) / float64(truth)
	}
	if precision+recall > 0 {
		f1 = 2 * precision * recall / (precision + recall)
	}
	return precision, recall, f1
}

// best fills in the measures, once the pairs are counted.
func (s *Score) best(edges []edge, who []int32) {
	s.Precision, s.Recall, s.F1 = measures(s.TruePairs, s.FoundPairs, s.RightPairs)
	sorted := slices.DeleteFunc(slices.Clone(edges), func(e edge) bool { return who[e.a] < 0 || who[e.b] < 0 })
	slices.SortFunc(sorted, func(a, b edge) int { return -cmp.Compare(a.weight, b.weight) })
	var right int64
	for i, e := range sorted {
		if who[e.a] == who[e.b] {
			right++
		}
		if i+1 == len(sorted) || sorted[i+1].weight < e.weight {
			_, _, f1 := measures(s.TruePairs, int64(i+1), right)
			s.BestF1 = max(s.BestF1, f1)
		}
	}
}
