package dedup

import (
	"cmp"
	"slices"
)

// score compares clusters with the truth over pairs of records. Records without truth are left out on both sides.
func score(roots []int32, truth []string, edges []edge) *Score {
	type cell struct {
		root  int32
		truth string
	}
	byTruth, byRoot, both := map[string]int64{}, map[int32]int64{}, map[cell]int64{}
	for i, t := range truth {
		if t != "" {
			byTruth[t]++
			byRoot[roots[i]]++
			both[cell{roots[i], t}]++
		}
	}
	s := &Score{}
	for _, n := range byTruth {
		s.TruePairs += n * (n - 1) / 2
	}
	for _, n := range byRoot {
		s.FoundPairs += n * (n - 1) / 2
	}
	for _, n := range both {
		s.RightPairs += n * (n - 1) / 2
	}
	s.Precision, s.Recall, s.F1 = measures(s.TruePairs, s.FoundPairs, s.RightPairs)
	sorted := slices.DeleteFunc(slices.Clone(edges), func(e edge) bool { return truth[e.a] == "" || truth[e.b] == "" })
	slices.SortFunc(sorted, func(a, b edge) int { return -cmp.Compare(a.weight, b.weight) })
	var right int64
	for i, e := range sorted {
		if truth[e.a] == truth[e.b] {
			right++
		}
		if i+1 == len(sorted) || sorted[i+1].weight < e.weight {
			_, _, f1 := measures(s.TruePairs, int64(i+1), right)
			s.BestF1 = max(s.BestF1, f1)
		}
	}
	if s.TruePairs > 0 {
		s.Blocked = float64(right) / float64(s.TruePairs)
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
