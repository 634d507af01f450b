package referral

import (
	"cmp"
	"slices"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// comparePreference orders the referrals of one recruit, the most telling first: what he told himself in his earliest
// interview, there the main one, else one with a coupon, else the one made first, else the smallest id.
func (g *gathering) comparePreference(x, y int32) int {
	a, b := &g.tellings[x], &g.tellings[y]
	if a.own() != b.own() {
		return compareBool(b.own(), a.own())
	}
	if a.own() {
		if c := cmp.Or(cmp.Compare(g.toldAt(a), g.toldAt(b)), g.meetings.compare(a.interview, b.interview)); c != 0 {
			return c
		}
	}
	return cmp.Or(cmp.Compare(b.marks&isMain, a.marks&isMain), compareBool(b.code != none, a.code != none), cmp.Compare(a.made, b.made),
		g.referrals.compare(x, y))
}

// incoming writes the edges to a node into a list, the most telling first.
func (b *builder) incoming(list []int32, n int32) []int32 {
	list = list[:0]
	if !b.isPerson(n) {
		return list
	}
	sorted := true
	add := func(raw int32) {
		for _, told := range b.preferred[b.preferAt[raw]:b.preferAt[raw+1]] {
			x := b.edgeOf(told)
			sorted = sorted && x == told
			if !b.edges[x].again {
				list = append(list, x)
			}
		}
	}
	if b.flags[n]&nodeJoined == 0 {
		add(b.rawOf[n])
	} else {
		sorted = false
		for _, raw := range b.joined[n].raws {
			add(raw)
		}
	}
	if !sorted && len(list) > 1 {
		slices.SortFunc(list, func(x, y int32) int {
			return cmp.Or(b.comparePreference(b.edges[x].told, b.edges[y].told), cmp.Compare(x, y))
		})
	}
	return list
}

// plant chooses the primary edges, so that they form a forest, and marks the seeds.
func (b *builder) plant() {
	b.parent = make([]int32, len(b.desc))
	b.parentEdge = make([]int32, len(b.desc))
	var list []int32
	for n := range b.parent {
		b.parent[n], b.parentEdge[n] = none, none
		list = b.eligible(int32(n), list)
		if len(list) > 0 {
			b.attach(int32(n), list[0])
		}
	}
	b.breakCycles()
	for _, e := range b.parentEdge {
		if e != none {
			b.edges[e].primary = true
		}
	}
}

// eligible writes those referrals of a node that may be primary into a list, in order; it marks the seed.
func (b *builder) eligible(n int32, list []int32) []int32 {
	list = b.incoming(list, n)
	var own *telling
	if len(list) > 0 {
		if t := &b.tellings[b.edges[list[0]].told]; t.own() {
			own = t
		}
	}
	seed, closed, at := b.cameBy(n, own)
	if seed {
		b.flags[n] |= nodeSeed
		return list[:0]
	}
	kept := list[:0]
	for i, x := range list {
		e := &b.edges[x]
		t := &b.tellings[e.told]
		if closed && (!t.own() || b.meetings.compare(t.interview, at) != 0) {
			continue
		}
		if i == 0 && t.own() && servicev1.EdgeState(e.state) == servicev1.EdgeState_EDGE_STATE_SELF {
			return list[:0]
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
func (b *builder) breakCycles() {
	const broken = int8(servicev1.EdgeState_EDGE_STATE_CYCLE_BROKEN)
	var bereft []int32
	seen := make([]int32, len(b.parent)) // number of the walk that came by; 0 for none
	for n := range b.parent {
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
		bereft = append(bereft, last)
	}
	if len(bereft) == 0 {
		return
	}
	candidates := make([][]int32, len(bereft))
	slices.Sort(bereft)
	for i, n := range bereft {
		candidates[i] = b.eligible(n, nil)
	}
	for _, n := range bereft {
		b.edges[b.parentEdge[n]].state = broken
		b.parent[n], b.parentEdge[n] = none, none
	}
	trees := make([]int32, len(b.parent))
	for i := range trees {
		trees[i] = int32(i)
	}
	for n, p := range b.parent {
		if p != none {
			join(trees, int32(n), p)
		}
	}
	for i, n := range bereft {
		for _, e := range candidates[i] {
			from := b.edges[e].from
			if b.edges[e].state == broken {
				continue
			}
			if treeOf(trees, from) == treeOf(trees, n) {
				b.edges[e].state = broken
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
	s, t := b.edges[b.parentEdge[x]].told, b.edges[b.parentEdge[y]].told
	p, q := &b.tellings[s], &b.tellings[t]
	return cmp.Or(cmp.Compare(p.made, q.made), cmp.Compare(b.held[x], b.held[y]), b.referrals.compare(s, t), cmp.Compare(x, y))
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
	n := len(b.parent)
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
