package referral

import (
	"cmp"
	"slices"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// What is told of a referral.
const (
	isOwn    uint8 = 1 << iota // told by the recruit
	isMain                     // the main one of several
	isShared                   // another has the same referral id
	isSided                    // whether it is the recruit who tells it was told; nobody asks once the ends are found
)

// telling is a told referral, whatever the merges.
type telling struct {
	made      int64
	ends      [2]int32 // raw persons, none if not told
	site      int32    // that referred, none if a person did
	code      int32    // of the coupon, none if there was none
	interview int32    // that told it, or none
	mode      int16
	relation  int8
	marks     uint8
}

func (t *telling) own() bool { return t.marks&isOwn != 0 }

// toldAt is when the interview that told a referral began.
func (g *gathering) toldAt(t *telling) int64 {
	if t.interview == none {
		return never
	}
	return g.interviews[t.interview].start
}

// edge is a told referral between nodes.
type edge struct {
	from, to int32
	told     int32 // the telling
	state    int8
	again    bool // the same as the one before: no edge
	disputed bool // the coupon was given to others than the one named
	primary  bool
}

// makeEdges turns told referrals into edges between nodes, in an order that depends on their content only. A referral
// that came twice is one edge.
func (b *builder) makeEdges() {
	b.edges = make([]edge, len(b.tellings))
	for i := range b.edges {
		t := &b.tellings[i]
		e := edge{from: b.node(t.ends[0]), to: b.node(t.ends[1]), told: int32(i)}
		if t.site != none {
			e.from = b.siteNode[t.site]
		}
		b.edges[i] = e
	}
	b.moved = map[int32]int32{}
	for _, span := range b.sameID {
		same := b.edges[span[0]:span[1]]
		slices.SortFunc(same, b.compareEdges)
		for i := range same {
			b.moved[same[i].told] = span[0] + int32(i)
			if i == 0 || b.referrals.empty(span[0]) {
				continue
			}
			last := &same[i-1]
			same[i].again = last.from == same[i].from && last.to == same[i].to && b.tellings[last.told].code == b.tellings[same[i].told].code
		}
	}
}

// edgeOf is the edge of a telling.
func (b *builder) edgeOf(told int32) int32 {
	if len(b.sameID) > 0 && b.tellings[told].marks&isShared != 0 {
		return b.moved[told]
	}
	return told
}

// compareEdges orders edges of one referral id. Those that it finds equal are alike in all that the graph shows.
func (b *builder) compareEdges(x, y edge) int {
	p, q := &b.tellings[x.told], &b.tellings[y.told]
	if c := cmp.Or(cmp.Compare(x.from, y.from), cmp.Compare(x.to, y.to), b.codes.compare(p.code, q.code), compareBool(q.own(), p.own()),
		cmp.Compare(q.marks&isMain, p.marks&isMain), cmp.Compare(b.toldAt(p), b.toldAt(q)), b.meetings.compare(p.interview, q.interview)); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(p.made, q.made), cmp.Compare(p.mode, q.mode), cmp.Compare(p.relation, q.relation))
}

// holders writes the nodes that a coupon was given to into a list, sorted.
func (b *builder) holders(list []int32, code int32, extra []issue) []int32 {
	list = list[:0]
	for _, x := range b.issued[b.issuedAt[code]:b.issuedAt[code+1]] {
		if n := b.node(x.raw); n != none {
			list = append(list, n)
		}
	}
	for _, x := range extra {
		list = append(list, x.raw)
	}
	if len(list) > 1 {
		slices.Sort(list)
		list = slices.Compact(list)
	}
	return list
}

// redeem follows coupons from who hands them in to who was given them.
func (b *builder) redeem() {
	extra, extraAt := b.extraIssues()
	var who, uses []int32
	for k := 0; k < len(b.usedBy); {
		code := b.tellings[b.usedBy[k]].code
		var more []issue
		if extra != nil {
			more = extra[extraAt[code]:extraAt[code+1]]
		}
		who, uses = b.holders(who, code, more), uses[:0]
		for ; k < len(b.usedBy) && b.tellings[b.usedBy[k]].code == code; k++ {
			x := b.edgeOf(b.usedBy[k])
			if b.edges[x].again {
				continue
			}
			b.trace(&b.edges[x], code, who)
			if b.tellings[b.usedBy[k]].own() && b.edges[x].to != none {
				uses = append(uses, x)
			}
		}
		if len(uses) > 1 {
			b.findReuse(uses)
		}
	}
}

// extraIssues are coupons given to nodes, by referrals that came in several forms.
func (b *builder) extraIssues() ([]issue, []int32) {
	var extra []issue
	for _, span := range b.sameID {
		for i := span[0]; i < span[1]; i++ {
			e := &b.edges[i]
			if t := &b.tellings[e.told]; !e.again && !t.own() && t.code != none && e.from != none && b.isPerson(e.from) {
				extra = append(extra, issue{t.code, e.from})
			}
		}
	}
	if extra == nil {
		return nil, nil
	}
	return grouped(extra, len(b.codes.words), func(i *issue) int32 { return i.code }, func(x, y issue) int { return cmp.Compare(x.raw, y.raw) })
}

// trace finds who gave the coupon of an edge.
func (b *builder) trace(e *edge, code int32, who []int32) {
	_, hasIt := slices.BinarySearch(who, e.from)
	switch {
	case e.from == none && len(who) == 1:
		e.from = who[0]
	case e.from == none:
		e.disputed = len(who) > 1
	case !b.isPerson(e.from) && len(who) == 0:
	case len(who) == 0:
		e.state = int8(servicev1.EdgeState_EDGE_STATE_UNRESOLVED)
	case !hasIt:
		e.disputed = true
	}
	t := &b.tellings[e.told]
	if f := b.fate(code); len(who) == 0 && (f.never || t.own() && b.toldAt(t) < f.gave) {
		e.state = int8(servicev1.EdgeState_EDGE_STATE_NEVER_ISSUED)
	}
}

// findReuse marks the later uses of a coupon by others than its first user.
func (b *builder) findReuse(uses []int32) {
	slices.SortFunc(uses, func(x, y int32) int {
		p, q := &b.tellings[b.edges[x].told], &b.tellings[b.edges[y].told]
		return cmp.Or(cmp.Compare(b.toldAt(p), b.toldAt(q)), b.meetings.compare(p.interview, q.interview), cmp.Compare(x, y))
	})
	for _, x := range uses[1:] {
		if b.edges[x].to != b.edges[uses[0]].to {
			b.edges[x].state = int8(servicev1.EdgeState_EDGE_STATE_REUSED)
		}
	}
}

// judge gives every edge its state as far as the two ends and the times decide it.
func (b *builder) judge() {
	for i := range b.edges {
		e := &b.edges[i]
		e.state = int8(b.stateOf(e, &b.tellings[e.told]))
	}
}

func (b *builder) stateOf(e *edge, t *telling) servicev1.EdgeState {
	state := servicev1.EdgeState(e.state)
	f := fate{voided: never, expires: never}
	if t.own() && t.code != none && b.fates != nil {
		f = b.fates[t.code]
	}
	switch {
	case e.from != none && e.from == e.to:
		return servicev1.EdgeState_EDGE_STATE_SELF
	case state == servicev1.EdgeState_EDGE_STATE_REUSED, state == servicev1.EdgeState_EDGE_STATE_NEVER_ISSUED:
		return state
	case f.voided != never && b.toldAt(t) >= f.voided:
		return servicev1.EdgeState_EDGE_STATE_VOIDED
	case e.from == none || e.to == none || e.disputed:
		return servicev1.EdgeState_EDGE_STATE_UNRESOLVED
	case b.outOfTime(e, t):
		return servicev1.EdgeState_EDGE_STATE_TIME_CONFLICT
	case state == servicev1.EdgeState_EDGE_STATE_UNRESOLVED || b.flags[e.from]&nodeKnown == 0 || b.flags[e.to]&nodeKnown == 0:
		return servicev1.EdgeState_EDGE_STATE_UNRESOLVED
	case f.expires != never && b.toldAt(t) != never && b.toldAt(t) > f.expires:
		return servicev1.EdgeState_EDGE_STATE_EXPIRED
	}
	return servicev1.EdgeState_EDGE_STATE_RESOLVED
}

// outOfTime says that the recruit was interviewed before the referral was made, or that it was made before the recruiter,
// who was interviewed, first was.
func (b *builder) outOfTime(e *edge, t *telling) bool {
	if t.made == never {
		return false
	}
	recruit, recruiter := b.held[e.to], b.held[e.from]
	return recruit != never && t.made > recruit || recruiter != never && recruiter > t.made
}

// mayBePrimary says that both ends of the edge are known by id and nothing contradicts it.
func (b *builder) mayBePrimary(e *edge) bool {
	switch servicev1.EdgeState(e.state) {
	case servicev1.EdgeState_EDGE_STATE_RESOLVED, servicev1.EdgeState_EDGE_STATE_EXPIRED:
		return true // who came late came from him all the same
	case servicev1.EdgeState_EDGE_STATE_UNRESOLVED:
		return e.from != none && e.to != none && !e.disputed
	}
	return false
}
