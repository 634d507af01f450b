package referral

import (
	"cmp"
	"slices"
	"strings"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// comparePreference orders the referrals of one recruit, the most telling first: what he told himself in his earliest
// interview, there the main one, else one with a coupon, else the one made first, else the smallest id.
func comparePreference(a, b *telling) int {
	if a.own != b.own {
		return compareBool(b.own, a.own)
	}
	if a.own {
		if c := cmp.Or(cmp.Compare(a.time, b.time), strings.Compare(a.interview, b.interview)); c != 0 {
			return c
		}
	}
	return cmp.Or(compareBool(b.rec.GetMain(), a.rec.GetMain()), compareBool(b.code != none, a.code != none),
		cmp.Compare(a.made, b.made), strings.Compare(a.rec.GetReferralId(), b.rec.GetReferralId()))
}

// incoming lists the edges to each node, the most telling first, and where each node's begin.
func (b *builder) incoming() (edges, at []int32) {
	prefer := func(x, y int32) int {
		return cmp.Or(comparePreference(b.edges[x].telling, b.edges[y].telling), cmp.Compare(x, y))
	}
	to := func(i *int32) int32 { return b.edges[*i].to }
	known := make([]int32, 0, len(b.edges))
	if len(b.sameID) > 0 { // edges are not in the order of what was told
		for i := range b.edges {
			if b.edges[i].to != none {
				known = append(known, int32(i))
			}
		}
		return grouped(known, len(b.nodes), to, prefer)
	}
	for _, i := range b.preferred {
		if b.edges[i].to != none {
			known = append(known, i)
		}
	}
	edges, at = grouped(known, len(b.nodes), to, nil)
	for n := range len(b.groupAt) - 1 {
		if own := edges[at[n]:at[n+1]]; len(own) > 1 && b.groupAt[n+1]-b.groupAt[n] > 1 {
			slices.SortFunc(own, prefer)
		}
	}
	return edges, at
}

// plant chooses the primary edges, so that they form a forest, and marks the seeds.
func (b *builder) plant() {
	incoming, at := b.incoming()
	b.parent = make([]int32, len(b.nodes))
	b.parentEdge = make([]int32, len(b.nodes))
	candidates := make([][]int32, len(b.nodes))
	for n := range candidates {
		candidates[n] = incoming[at[n]:at[n+1]]
	}
	for n := range b.nodes {
		b.parent[n], b.parentEdge[n] = none, none
		candidates[n] = b.eligible(int32(n), candidates[n])
		if len(candidates[n]) > 0 {
			b.attach(int32(n), candidates[n][0])
		}
	}
	b.breakCycles(candidates)
	for _, e := range b.parentEdge {
		if e != none {
			b.edges[e].primary = true
		}
	}
}

// eligible keeps those referrals of a person that may be primary, in order; it marks the seed.
func (b *builder) eligible(n int32, sorted []int32) []int32 {
	var own *edge
	if len(sorted) > 0 && b.edges[sorted[0]].own {
		own = &b.edges[sorted[0]]
	}
	seed, closed, at := b.cameBy(n, own)
	b.nodes[n].isSeed = seed && !b.nodes[n].isSite
	if seed {
		return nil
	}
	kept := sorted[:0]
	for i, x := range sorted {
		e := &b.edges[x]
		if closed && (!e.own || e.interview != at.interview) {
			continue
		}
		if i == 0 && e.own && e.state == servicev1.EdgeState_EDGE_STATE_SELF {
			return nil
		}
		if b.mayBePrimary(e) {
			kept = append(kept, x)
		}
	}
	return kept
}

func (b *builder) attach(n, e int32) {
	b.parent[n], b.parentEdge[n] = b.edges[e].from, e
}

// breakCycles drops the latest edge of each circle of primary edges. Who loses his recruiter so gets the next one in
// order that closes no circle.
func (b *builder) breakCycles(candidates [][]int32) {
	var bereft []int32
	seen := make([]int32, len(b.nodes)) // number of the walk that came by; 0 for none
	for n := range b.nodes {
		walk := int32(n) + 1
		x := int32(n)
		for x != none && seen[x] == 0 {
			seen[x] = walk
			x = b.parent[x]
		}
		if x == none || seen[x] != walk {
			continue
		}
		last := x
		for y := b.parent[x]; y != x; y = b.parent[y] {
			if b.compareAge(y, last) > 0 {
				last = y
			}
		}
		b.edges[b.parentEdge[last]].state = servicev1.EdgeState_EDGE_STATE_CYCLE_BROKEN
		b.parent[last], b.parentEdge[last] = none, none
		bereft = append(bereft, last)
	}
	if len(bereft) == 0 {
		return
	}
	trees := make([]int32, len(b.nodes))
	for i := range trees {
		trees[i] = int32(i)
	}
	for n, p := range b.parent {
		if p != none {
			join(trees, int32(n), p)
		}
	}
	slices.Sort(bereft)
	for _, n := range bereft {
		for _, e := range candidates[n] {
			from := b.edges[e].from
			if b.edges[e].state == servicev1.EdgeState_EDGE_STATE_CYCLE_BROKEN {
				continue
			}
			if treeOf(trees, from) == treeOf(trees, n) {
				b.edges[e].state = servicev1.EdgeState_EDGE_STATE_CYCLE_BROKEN
				continue
			}
			b.attach(n, e)
			join(trees, n, from)
			break
		}
	}
}

// compareAge orders the primary edges of two recruits: the later made is greater, then the later interviewed recruit.
func (b *builder) compareAge(x, y int32) int {
	p, q := &b.edges[b.parentEdge[x]], &b.edges[b.parentEdge[y]]
	return cmp.Or(cmp.Compare(p.made, q.made), cmp.Compare(b.nodes[x].held, b.nodes[y].held),
		strings.Compare(p.rec.GetReferralId(), q.rec.GetReferralId()), cmp.Compare(x, y))
}

func treeOf(trees []int32, x int32) int32 {
	for trees[x] != x {
		trees[x] = trees[trees[x]]
		x = trees[x]
	}
	return x
}

func join(trees []int32, a, b int32) {
	if a, b = treeOf(trees, a), treeOf(trees, b); a != b {
		trees[max(a, b)] = min(a, b)
	}
}

// measure follows the forest: waves and roots from above, recruits and descendants from below.
func (b *builder) measure() {
	order := topDown(b.parent)
	n := len(b.nodes)
	b.wave, b.root, b.recruits, b.below = make([]int32, n), make([]int32, n), make([]int32, n), make([]int32, n)
	for _, x := range order {
		b.root[x] = x
		if p := b.parent[x]; p != none {
			b.wave[x], b.root[x] = b.wave[p]+1, b.root[p]
			b.recruits[p]++
		}
	}
	for i := len(order) - 1; i >= 0; i-- {
		if p := b.parent[order[i]]; p != none {
			b.below[p] += b.below[order[i]] + 1
		}
	}
}

// topDown orders the nodes of a forest so that each comes after its parent.
func topDown(parent []int32) []int32 {
	start := make([]int32, len(parent)+1)
	for _, p := range parent {
		if p != none {
			start[p+1]++
		}
	}
	for i := range parent {
		start[i+1] += start[i]
	}
	child := make([]int32, start[len(parent)])
	next := slices.Clone(start[:len(parent)])
	order := make([]int32, 0, len(parent))
	for n, p := range parent {
		if p == none {
			order = append(order, int32(n))
			continue
		}
		child[next[p]] = int32(n)
		next[p]++
	}
	for i := 0; i < len(order); i++ {
		order = append(order, child[start[order[i]]:start[order[i]+1]]...)
	}
	return order
}
