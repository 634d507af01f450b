package dedup

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
	s := &Score{BCubed: bCubed(roots, truth)}
	for _, n := range byTruth {
		s.TruePairs += n * (n - 1) / 2
	}
	for _, n := range byRoot {
		s.FoundPairs += n * (n - 1) / 2
	}
	for _, n := range both {
		s.RightPairs += n * (n - 1) / 2
	}
	s.best(edges, truth)
	return s
}

// bCubed measures over records: what share of a record's cluster is right, and what share of its person is in it.
func bCubed(roots []int32, truth []string) Measures {
	type cell struct {
		root  int32
		truth string
	}
	byTruth, byRoot, both := map[string]float64{}, map[int32]float64{}, map[cell]float64{}
	for i, t := range truth {
		if t != "" {
			byTruth[t]++
			byRoot[roots[i]]++
			both[cell{roots[i], t}]++
		}
	}
	var m Measures
	n := 0.0
	for i, t := range truth { // in order, so that the sum is always the same
		if t != "" {
			right := both[cell{roots[i], t}]
			m.Precision += right / byRoot[roots[i]]
			m.Recall += right / byTruth[t]
			n++
		}
	}
	if n == 0 {
		return Measures{Precision: 1, Recall: 1, F1: 1}
	}
	m.Precision, m.Recall = m.Precision/n, m.Recall/n
	m.F1 = 2 * m.Precision * m.Recall / (m.Precision + m.Recall)
	return m
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
