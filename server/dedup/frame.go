package dedup

import "slices"

// frame is the records of one search as columns. Rows are sorted by id before it is made.
type frame struct {
	n       int
	columns []*column
	house   rows  // households each record was listed in, for household evidence; none if nothing says so
	roster  rows  // rosters: two records on one can not be the same
	two     bool  // the records are of two tables, and no two of one table are compared
	first   int32 // how many are of the first of two
}

// apart says whether two records are never compared.
func (f *frame) apart(i, j int32) bool {
	return f.two && (i < f.first) == (j < f.first) || f.apartByRoster(i, j)
}

// possible is the number of pairs that might be compared.
func (f *frame) possible() int64 {
	if f.two {
		return int64(f.first) * (int64(f.n) - int64(f.first))
	}
	return possible(f.n)
}

// apartByRoster says whether two records stand on the same roster.
func (f *frame) apartByRoster(i, j int32) bool {
	if f.roster.none() {
		return false
	}
	if r := &f.roster; r.one != nil {
		x, y := r.one[int(i)*r.stride+r.offset], r.one[int(j)*r.stride+r.offset]
		return x >= 0 && x == y
	}
	other := f.roster.of(int(j))
	for _, a := range f.roster.of(int(i)) {
		if slices.Contains(other, a) {
			return true
		}
	}
	return false
}
