package dedup

import (
	"cmp"
	"slices"
)

// edge is a compared pair with its weight.
type edge struct {
	a, b   int32
	weight float64
}

const (
	unscored   = -1 // weight of a pair that was not compared
	leastEdge  = -8 // weights are clipped to this ...
	mostEdge   = 10 // ... and this when clusters are averaged
	worthTrack = -12
)

// group joins n records into clusters, heaviest edges first, as long as the average weight between two clusters stays
// above zero, so that one wrong edge does not chain two people's records together. apart forbids two records in one
// cluster. Each record's cluster is named by the smallest record in it.
func group(n int, edges []edge, apart func(i, j int32) bool) []int32 {
	near := make([][]edge, n)
	var good []edge
	for _, e := range edges {
		if e.weight > worthTrack {
			near[e.a] = append(near[e.a], e)
			near[e.b] = append(near[e.b], edge{e.b, e.a, e.weight})
		}
		if e.weight > 0 {
			good = append(good, e)
		}
	}
	slices.SortFunc(good, func(x, y edge) int {
		return cmp.Or(-cmp.Compare(x.weight, y.weight), cmp.Compare(x.a, y.a), cmp.Compare(x.b, y.b))
	})
	root, members := make([]int32, n), make([][]int32, n)
	for i := range root {
		root[i] = int32(i)
		members[i] = []int32{int32(i)}
	}
	for _, e := range good {
		a, b := root[e.a], root[e.b]
		if a == b || !fits(members[a], members[b], b, root, near, apart) {
			continue
		}
		if len(members[a]) > len(members[b]) {
			a, b = b, a
		}
		for _, i := range members[a] {
			root[i] = b
		}
		members[b] = append(members[b], members[a]...)
		members[a] = nil
	}
	for _, m := range members {
		if len(m) > 0 {
			least := slices.Min(m)
			for _, i := range m {
				root[i] = least
			}
		}
	}
	return root
}

// fits says whether two clusters may be joined.
func fits(ma, mb []int32, rootB int32, root []int32, near [][]edge, apart func(i, j int32) bool) bool {
	for _, i := range ma {
		for _, j := range mb {
			if apart(i, j) {
				return false
			}
		}
	}
	if len(ma) == 1 && len(mb) == 1 {
		return true
	}
	sum, met := 0.0, 0
	for _, i := range ma {
		for _, e := range near[i] {
			if root[e.b] == rootB {
				sum += max(leastEdge, min(mostEdge, e.weight))
				met++
			}
		}
	}
	all := len(ma) * len(mb)
	return sum+float64(all-met)*unscored >= 0
}
