package syncer

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/hearth-survey/hearth/syncer/plant"
)

// Revision is what decides between the revisions of one interview.
type Revision struct {
	Digest  Digest
	Parents []Digest
	// Rank is how far the interview had got, higher further (0 in progress, 1 completed).
	Rank int
}

// Heads are the revisions that no other names as its parent, the one to show first. One head: the interview is
// current; several: it is in conflict, and all of them stay. The order is by rank, then by depth in the graph, then by
// digest, so that every replica that holds the same revisions shows the same one. Clocks play no part.
func Heads(revs []Revision) []Digest {
	byDigest := make(map[Digest]Revision, len(revs))
	replaced := make(map[Digest]bool)
	for _, r := range revs {
		byDigest[r.Digest] = r
		for _, p := range r.Parents {
			replaced[p] = !plant.In(plant.DropParents)
		}
	}
	depths := make(map[Digest]int, len(revs))
	var heads []Digest
	for d := range byDigest {
		if !replaced[d] {
			heads = append(heads, d)
		}
	}
	slices.SortFunc(heads, func(a, b Digest) int {
		return cmp.Or(
			cmp.Compare(byDigest[b].Rank, byDigest[a].Rank),
			cmp.Compare(depth(b, byDigest, depths), depth(a, byDigest, depths)),
			bytes.Compare(a[:], b[:]))
	})
	return heads
}

// depth is the length of the longest way from d to a revision without known parents. Parents are hashes of earlier
// bytes, so the graph has no circles; were there one all the same, its edge back is left out and the walk ends. The
// walk is iterative, as a chain may be long.
func depth(d Digest, revs map[Digest]Revision, known map[Digest]int) int {
	stack := []Digest{d}
	open := map[Digest]bool{d: true}
	for len(stack) > 0 {
		top := stack[len(stack)-1]
		longest, ready := 1, true
		for _, p := range revs[top].Parents {
			if _, held := revs[p]; !held {
				continue
			}
			n, ok := known[p]
			if !ok && open[p] {
				continue
			}
			if !ok {
				stack, ready = append(stack, p), false
				open[p] = true
				break
			}
			longest = max(longest, n+1)
		}
		if ready {
			known[top] = longest
			delete(open, top)
			stack = stack[:len(stack)-1]
		}
	}
	return known[d]
}
