package referral

import (
	"bytes"
	"cmp"
	"slices"

	"google.golang.org/protobuf/proto"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// end is the two ends of a told referral before merging.
type end struct {
	rec      *servicev1.ReferralRecord
	from, to int32 // raw persons, none if not told
	site     string
	own      bool // told by the recruit
}

// edge is a told referral between nodes.
type edge struct {
	rec       *servicev1.ReferralRecord
	from, to  int32
	own       bool
	time      int64 // of the interview that told it
	interview string
	code      string
	made      int64
	state     servicev1.EdgeState
	redeemed  bool // the recruit handed the coupon in
	disputed  bool // the coupon was given to others than the one named
	primary   bool
}

// ends finds who is meant: where a side is left out, it is the respondent of the interview that tells it.
func (g *gathering) ends(referrals []*servicev1.ReferralRecord) []end {
	out := make([]end, 0, len(referrals))
	for _, r := range referrals {
		if r == nil {
			continue
		}
		respondent := ""
		if iv := g.interviews[r.GetInterviewId()]; iv != nil && r.GetInterviewId() != "" {
			respondent = iv.respondent
		}
		from, to, site := r.GetFromPersonId(), r.GetToPersonId(), r.GetFromSiteId()
		own := r.GetToldByRecruit()
		if r.ToldByRecruit == nil {
			own = from == "" || from != respondent
		}
		if respondent != "" { // the interview knows better whose it is than a mark that contradicts it
			own = own && from != respondent || to == respondent
		}
		if to == "" && own {
			to = respondent
		}
		if from == "" && site == "" && !own {
			from = respondent
		}
		e := end{rec: r, from: none, to: none, own: own}
		if from != "" {
			e.from = g.list(from)
		} else {
			e.site = site
		}
		if to != "" {
			e.to = g.list(to)
		}
		out = append(out, e)
	}
	return out
}

// makeEdges turns told referrals into edges between nodes, in an order that depends on their content only. A referral
// that came twice is one edge.
func (b *builder) makeEdges(ends []end) {
	b.edges = make([]edge, 0, len(ends))
	for _, t := range ends {
		e := edge{
			rec: t.rec, from: b.node(t.from), to: b.node(t.to), own: t.own, interview: t.rec.GetInterviewId(), time: never,
			code: couponCode(t.rec.GetCouponCode()), made: instant(t.rec.MadeTimeMs),
		}
		if t.site != "" {
			e.from = b.siteNode[t.site]
		}
		if iv := b.interviews[e.interview]; iv != nil && e.interview != "" {
			e.time = iv.start
		}
		b.edges = append(b.edges, e)
	}
	slices.SortFunc(b.edges, compareEdges)
	kept := b.edges[:0]
	for _, e := range b.edges {
		if n := len(kept); n > 0 && e.rec.GetReferralId() != "" {
			last := &kept[n-1]
			if last.rec.GetReferralId() == e.rec.GetReferralId() && last.from == e.from && last.to == e.to && last.code == e.code {
				continue
			}
		}
		kept = append(kept, e)
	}
	b.edges = kept
}

func compareEdges(a, b edge) int {
	if c := cmp.Compare(a.rec.GetReferralId(), b.rec.GetReferralId()); c != 0 {
		return c
	}
	if c := cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to), cmp.Compare(a.code, b.code), compareBool(b.own, a.own),
		compareBool(b.rec.GetMain(), a.rec.GetMain()), cmp.Compare(a.time, b.time), cmp.Compare(a.interview, b.interview),
		cmp.Compare(a.made, b.made)); c != 0 {
		return c
	}
	deterministic := proto.MarshalOptions{Deterministic: true}
	x, _ := deterministic.Marshal(a.rec) // text that is not UTF-8 leaves what was written so far, which will do
	y, _ := deterministic.Marshal(b.rec)
	return bytes.Compare(x, y)
}

// issuers finds the nodes that each coupon code was given to, sorted.
func (b *builder) issuers(f Facts) map[string][]int32 {
	issued := map[string][]int32{}
	add := func(code string, n int32) {
		if code != "" && n != none {
			issued[code] = append(issued[code], n)
		}
	}
	for _, r := range f.Recruitments {
		if id := recruited(r, b.gathering); id != "" {
			n := b.node(b.person(id))
			for _, c := range r.GetCouponsGiven() {
				add(couponCode(c), n)
			}
		}
	}
	for i := range b.edges {
		if e := &b.edges[i]; !e.own && e.from != none && b.nodes[e.from].GetKind() == KindPerson {
			add(e.code, e.from)
		}
	}
	for code, who := range issued {
		slices.Sort(who)
		issued[code] = slices.Compact(who)
	}
	return issued
}

// redeem follows coupons from who hands them in to who was given them.
func (b *builder) redeem(issued map[string][]int32) {
	byCode := map[string][]int32{}
	for i := range b.edges {
		e := &b.edges[i]
		if e.code == "" {
			continue
		}
		who := issued[e.code]
		_, hasIt := slices.BinarySearch(who, e.from)
		switch {
		case e.from == none && len(who) == 1:
			e.from = who[0]
		case e.from == none:
			e.disputed = len(who) > 1
		case b.nodes[e.from].GetKind() == KindSite && len(who) == 0:
		case len(who) == 0:
			e.state = servicev1.EdgeState_EDGE_STATE_UNRESOLVED
		case !hasIt:
			e.disputed = true
		}
		if e.own && e.to != none {
			e.redeemed = true
			byCode[e.code] = append(byCode[e.code], int32(i))
		}
	}
	for _, uses := range byCode {
		first := slices.MinFunc(uses, func(x, y int32) int {
			p, q := &b.edges[x], &b.edges[y]
			return cmp.Or(cmp.Compare(p.time, q.time), cmp.Compare(p.interview, q.interview), cmp.Compare(x, y))
		})
		for _, u := range uses {
			if b.edges[u].to != b.edges[first].to {
				b.edges[u].state = servicev1.EdgeState_EDGE_STATE_REUSED
			}
		}
	}
}

// judge gives every edge its state as far as the two ends and the times decide it.
func (b *builder) judge() {
	for i := range b.edges {
		e := &b.edges[i]
		switch {
		case e.from != none && e.from == e.to:
			e.state = servicev1.EdgeState_EDGE_STATE_SELF
		case e.state == servicev1.EdgeState_EDGE_STATE_REUSED:
		case e.from == none || e.to == none || e.disputed:
			e.state = servicev1.EdgeState_EDGE_STATE_UNRESOLVED
		case b.outOfTime(e):
			e.state = servicev1.EdgeState_EDGE_STATE_TIME_CONFLICT
		case e.state == servicev1.EdgeState_EDGE_STATE_UNRESOLVED || !b.known[e.from] || !b.known[e.to]:
			e.state = servicev1.EdgeState_EDGE_STATE_UNRESOLVED
		default:
			e.state = servicev1.EdgeState_EDGE_STATE_RESOLVED
		}
	}
}

// outOfTime says that the recruit was interviewed before the referral was made, or that it was made before the recruiter,
// who was interviewed, first was.
func (b *builder) outOfTime(e *edge) bool {
	if e.made == never {
		return false
	}
	recruit, recruiter := b.firstHeld[e.to], b.firstHeld[e.from]
	return recruit != never && e.made > recruit || recruiter != never && recruiter > e.made
}

// mayBePrimary says that both ends of the edge are known by id and nothing contradicts it.
func (b *builder) mayBePrimary(e *edge) bool {
	switch e.state {
	case servicev1.EdgeState_EDGE_STATE_RESOLVED:
		return true
	case servicev1.EdgeState_EDGE_STATE_UNRESOLVED:
		return e.from != none && e.to != none && !e.disputed
	}
	return false
}
