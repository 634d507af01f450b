package referral

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

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

// telling is a told referral, whatever the merges.
type telling struct {
	rec       *servicev1.ReferralRecord
	ends      [2]int32 // raw persons
	site      int32    // that referred, none if a person did
	code      int32    // of the coupon, none if there was none
	own       bool
	shared    bool  // another has the same referral id
	time      int64 // of the interview that told it
	interview string
	made      int64
}

// edge is a told referral between nodes.
type edge struct {
	*telling
	from, to int32
	state    servicev1.EdgeState
	again    bool // the same as the one before
	disputed bool // the coupon was given to others than the one named
	unissued bool // nobody was or will be given the coupon
	primary  bool
}

// findEnds finds who is meant: where a side is left out, it is the respondent of the interview that tells it.
func (g *gathering) findEnds(referrals []*servicev1.ReferralRecord) []end {
	out := make([]end, 0, len(referrals))
	for _, r := range referrals {
		if r == nil {
			continue
		}
		respondent := ""
		if iv := g.known(r.GetInterviewId()); iv != nil && r.GetInterviewId() != "" {
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
func (b *builder) makeEdges() {
	b.edges = make([]edge, len(b.tellings))
	for i := range b.edges {
		e := &b.edges[i]
		e.telling = &b.tellings[i]
		e.from, e.to = b.node(e.ends[0]), b.node(e.ends[1])
		if e.site != none {
			e.from = b.siteNode[e.site]
		}
	}
	twice := false
	for _, span := range b.sameID {
		same := b.edges[span[0]:span[1]]
		slices.SortFunc(same, compareEdges)
		for i := 1; i < len(same) && same[0].rec.GetReferralId() != ""; i++ {
			last := &same[i-1]
			same[i].again = last.from == same[i].from && last.to == same[i].to && last.code == same[i].code
			twice = twice || same[i].again
		}
	}
	if twice {
		b.edges = slices.DeleteFunc(b.edges, func(e edge) bool { return e.again })
	}
}

// compareEdges orders edges of one referral id.
func compareEdges(a, b edge) int {
	if c := cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to),
		strings.Compare(couponCode(a.rec.GetCouponCode()), couponCode(b.rec.GetCouponCode())), compareBool(b.own, a.own),
		compareBool(b.rec.GetMain(), a.rec.GetMain()), cmp.Compare(a.time, b.time), strings.Compare(a.interview, b.interview),
		cmp.Compare(a.made, b.made)); c != 0 {
		return c
	}
	deterministic := proto.MarshalOptions{Deterministic: true}
	x, _ := deterministic.Marshal(a.rec) // text that is not UTF-8 leaves what was written so far, which will do
	y, _ := deterministic.Marshal(b.rec)
	return bytes.Compare(x, y)
}

// holders are the nodes that each coupon was given to, sorted, one after the other.
type holders struct {
	nodes []int32
	at    []int32 // by code: where its nodes begin; one more at the end
}

func (h *holders) of(code int32) []int32 { return h.nodes[h.at[code]:h.at[code+1]] }

// issuers finds the nodes that each coupon was given to.
func (b *builder) issuers() *holders {
	var extra []issue // of nodes, by referrals that came in several forms
	for i := range b.edges {
		if e := &b.edges[i]; e.shared && !e.own && e.code != none && e.from != none && !b.nodes[e.from].isSite {
			extra = append(extra, issue{e.code, e.from})
		}
	}
	extra, extraAt := grouped(extra, b.codes, func(i *issue) int32 { return i.code }, func(x, y issue) int { return cmp.Compare(x.raw, y.raw) })
	h := &holders{nodes: make([]int32, 0, len(b.issued)+len(extra)), at: make([]int32, b.codes+1)}
	next := 0
	for code := range int32(b.codes) {
		from := len(h.nodes)
		for ; next < len(b.issued) && b.issued[next].code == code; next++ {
			if n := b.node(b.issued[next].raw); n != none {
				h.nodes = append(h.nodes, n)
			}
		}
		for _, x := range extra[extraAt[code]:extraAt[code+1]] {
			h.nodes = append(h.nodes, x.raw)
		}
		if own := h.nodes[from:]; len(own) > 1 {
			slices.Sort(own)
			h.nodes = h.nodes[:from+len(slices.Compact(own))]
		}
		h.at[code+1] = int32(len(h.nodes))
	}
	return h
}

// redeem follows coupons from who hands them in to who was given them.
func (b *builder) redeem(issued *holders) {
	var uses []int32
	for i := range b.edges {
		e := &b.edges[i]
		if e.code == none {
			continue
		}
		who := issued.of(e.code)
		e.unissued = len(who) == 0 && b.fates[e.code].never
		_, hasIt := slices.BinarySearch(who, e.from)
		switch {
		case e.from == none && len(who) == 1:
			e.from = who[0]
		case e.from == none:
			e.disputed = len(who) > 1
		case b.nodes[e.from].isSite && len(who) == 0:
		case len(who) == 0:
			e.state = servicev1.EdgeState_EDGE_STATE_UNRESOLVED
		case !hasIt:
			e.disputed = true
		}
		if e.own && e.to != none {
			uses = append(uses, int32(i))
		}
	}
	uses, at := grouped(uses, b.codes, func(i *int32) int32 { return b.edges[*i].code }, func(x, y int32) int {
		p, q := &b.edges[x], &b.edges[y]
		return cmp.Or(cmp.Compare(p.time, q.time), strings.Compare(p.interview, q.interview), cmp.Compare(x, y))
	})
	for c := range b.codes {
		same := uses[at[c]:at[c+1]]
		for i := 1; i < len(same); i++ {
			if b.edges[same[i]].to != b.edges[same[0]].to {
				b.edges[same[i]].state = servicev1.EdgeState_EDGE_STATE_REUSED
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
		case e.unissued:
			e.state = servicev1.EdgeState_EDGE_STATE_NEVER_ISSUED
		case e.own && e.code != none && b.fates[e.code].voided != never && e.time >= b.fates[e.code].voided:
			e.state = servicev1.EdgeState_EDGE_STATE_VOIDED
		case e.from == none || e.to == none || e.disputed:
			e.state = servicev1.EdgeState_EDGE_STATE_UNRESOLVED
		case b.outOfTime(e):
			e.state = servicev1.EdgeState_EDGE_STATE_TIME_CONFLICT
		case e.state == servicev1.EdgeState_EDGE_STATE_UNRESOLVED || !b.known[e.from] || !b.known[e.to]:
			e.state = servicev1.EdgeState_EDGE_STATE_UNRESOLVED
		case e.own && e.code != none && e.time != never && e.time > b.fates[e.code].expires:
			e.state = servicev1.EdgeState_EDGE_STATE_EXPIRED
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
	recruit, recruiter := b.nodes[e.to].held, b.nodes[e.from].held
	return recruit != never && e.made > recruit || recruiter != never && recruiter > e.made
}

// mayBePrimary says that both ends of the edge are known by id and nothing contradicts it.
func (b *builder) mayBePrimary(e *edge) bool {
	switch e.state {
	case servicev1.EdgeState_EDGE_STATE_RESOLVED, servicev1.EdgeState_EDGE_STATE_EXPIRED:
		return true // who came late came from him all the same
	case servicev1.EdgeState_EDGE_STATE_UNRESOLVED:
		return e.from != none && e.to != none && !e.disputed
	}
	return false
}
