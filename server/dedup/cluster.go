package dedup

import (
	"cmp"
	"maps"
	"slices"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
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
// cluster. Each record's cluster is named by the smallest record in it. together are pairs that are in one cluster
// whatever they weigh; joined, if it is not nil, is told of each join and the average weight that spoke for it.
func group(n int, edges []edge, apart func(i, j int32) bool, together [][2]int32, joined func(a, b int32, average float64)) []int32 {
	var good []edge
	joins := make([]bool, n) // records that may be joined to another
	for _, e := range edges {
		if e.weight > 0 {
			good = append(good, e)
			joins[e.a], joins[e.b] = true, true
		}
	}
	for _, p := range together {
		joins[p[0]], joins[p[1]] = true, true
	}
	near := make([][]edge, n)
	for _, e := range edges {
		if e.weight > worthTrack && joins[e.a] && joins[e.b] {
			near[e.a] = append(near[e.a], e)
			near[e.b] = append(near[e.b], edge{e.b, e.a, e.weight})
		}
	}
	slices.SortFunc(good, func(x, y edge) int {
		return cmp.Or(-cmp.Compare(x.weight, y.weight), cmp.Compare(x.a, y.a), cmp.Compare(x.b, y.b))
	})
	root, members := make([]int32, n), make([][]int32, n)
	for i := range root {
		if root[i] = int32(i); joins[i] {
			members[i] = []int32{int32(i)}
		}
	}
	join := func(a, b int32) {
		if len(members[a]) > len(members[b]) {
			a, b = b, a
		}
		for _, i := range members[a] {
			root[i] = b
		}
		members[b] = append(members[b], members[a]...)
		members[a] = nil
	}
	for _, p := range together {
		if a, b := root[p[0]], root[p[1]]; a != b {
			join(a, b)
		}
	}
	for _, e := range good {
		a, b := root[e.a], root[e.b]
		if a == b {
			continue
		}
		average, ok := fits(members[a], members[b], b, root, near, apart)
		if !ok {
			continue
		}
		if len(members[a]) == 1 && len(members[b]) == 1 {
			average = e.weight
		}
		if joined != nil {
			joined(e.a, e.b, average)
		}
		join(a, b)
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

// fits says whether two clusters may be joined, and what their records weigh on average.
func fits(ma, mb []int32, rootB int32, root []int32, near [][]edge, apart func(i, j int32) bool) (average float64, ok bool) {
	for _, i := range ma {
		for _, j := range mb {
			if apart(i, j) {
				return 0, false
			}
		}
	}
	if len(ma) == 1 && len(mb) == 1 {
		return 0, true
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
	average = (sum + float64(all-met)*unscored) / float64(all)
	return average, average >= 0
}

// joinings are the joins that made clusters, with the average weight that spoke for each over least.
type joinings struct {
	least float64
	at    []int32 // a record of each
	bits  []float64
}

// add notes a join.
func (j *joinings) add(a, _ int32, average float64) {
	j.at, j.bits = append(j.at, a), append(j.bits, average+j.least)
}

// sure is how probable the least sure join of each cluster is, by its root. Clusters that were made by decisions alone are not in it.
func (j *joinings) sure(roots []int32) map[int32]float64 {
	out := map[int32]float64{}
	for i, at := range j.at {
		if p, ok := out[roots[at]]; !ok || probability(j.bits[i]) < p {
			out[roots[at]] = probability(j.bits[i])
		}
	}
	return out
}

// Group is the ids that are taken for one person, sorted.
type Group struct {
	IDs []string
	// Confidence is how probable the least sure of the joins is that made the group, by the average of the pairs that it
	// brought together; what a person decided is sure.
	Confidence float64
}

// Groups puts ids together that are one, by decisions and by the weights of the links, in this order: a link decided joins
// whatever it weighs, a cannot-link keeps apart whatever else speaks for it, also in a row of links; the rest are joined
// heaviest first as long as the pairs between two groups weigh least and more on average, pairs without a link
// counting a bit against it. Of several links of one pair the last counts. Only groups of two and more are returned, in order of their first id. The outcome depends
// on nothing but what is handed in, in whatever order, and what touches no common id has no influence on each other: a group can be made
// again from the links and decisions among the ids that its links reach.
func Groups(links []Link, decisions []*servicev1.LinkDecision, least float64) []Group {
	v := decide(decisions)
	weights := map[[2]string]float64{}
	for _, l := range links {
		if l.A != l.B {
			weights[ordered(l.A, l.B)] = l.Weight
		}
	}
	pairs := slices.SortedFunc(maps.Keys(weights), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	var ids []string
	for _, p := range append(slices.Clone(pairs), slices.Collect(maps.Keys(v.by))...) {
		ids = append(ids, p[0], p[1])
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	at := make(map[string]int32, len(ids))
	for i, id := range ids {
		at[id] = int32(i)
	}
	var edges []edge
	for _, p := range pairs {
		edges = append(edges, edge{at[p[0]], at[p[1]], weights[p] - least})
	}
	apart := func(i, j int32) bool {
		d, ok := v.by[ordered(ids[i], ids[j])]
		return ok && d.kind == servicev1.DecisionKind_DECISION_KIND_CANNOT_LINK
	}
	var together [][2]int32
	decided := newForest(v)
	for i, id := range ids {
		if root := decided.root(id); root != id {
			together = append(together, [2]int32{at[root], int32(i)})
		}
	}
	joins := &joinings{least: least}
	roots := group(len(ids), edges, apart, together, joins.add)
	sure := joins.sure(roots)
	var out []Group
	for root, members := range namedRoots(roots, ids) {
		if p, ok := sure[root]; ok {
			out = append(out, Group{members, p})
		} else {
			out = append(out, Group{members, 1})
		}
	}
	slices.SortFunc(out, func(a, b Group) int { return cmp.Compare(a.IDs[0], b.IDs[0]) })
	return out
}

// namedRoots lists the clusters of two and more by root.
func namedRoots(roots []int32, ids []string) map[int32][]string {
	by := map[int32][]string{}
	for i, r := range roots {
		by[r] = append(by[r], ids[i])
	}
	maps.DeleteFunc(by, func(_ int32, m []string) bool { return len(m) < 2 })
	return by
}
