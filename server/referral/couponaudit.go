package referral

import (
	"cmp"
	"maps"
	"slices"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// CouponMeasures are the audit of coupons that STROBE-RDS asks for. Every code that was given out stands in one of Redeemed,
// Voided, Expired and Outstanding; of several the first named counts.
type CouponMeasures struct {
	// CouponCounts are of all codes.
	CouponCounts
	// Holders were given coupons, at most so many one of them.
	Holders, MostPerHolder int
	// RedeemedTwice are codes that two or more people handed in; IssuerUnknown are codes handed in that nobody is known to
	// have been given, yet, NeverIssued those of them that never were: see EDGE_STATE_NEVER_ISSUED. IssuedTwice were given
	// to two or more.
	RedeemedTwice, IssuerUnknown, NeverIssued, IssuedTwice int
	// Clashes are the codes of IssuedTwice and of RedeemedTwice, by code.
	Clashes []CouponClash
	// NotOfTheScheme counts codes that no device can have made by MakeCoupon.
	NotOfTheScheme int
	// Tablets and Sites divide the codes issued by the number of the tablet whose number they have, and by the site of the
	// interview in which they were given out; empty where there are no coupons.
	Tablets []CouponsOfTablet
	Sites   []CouponsOfSite
}

// ReturnRate is the part of the issued coupons that came back.
func (c CouponCounts) ReturnRate() float64 { return part(c.Redeemed, c.Issued) }

// CouponCounts are codes issued, and what became of them.
type CouponCounts struct {
	// Redeemed codes of those issued; Voided and Expired were not handed in; the rest is Outstanding. A coupon has expired if
	// its last day was over when the last thing that is known happened: no clock is read.
	Issued, Redeemed, Voided, Expired, Outstanding int
	// Paid codes, whatever else became of them.
	Paid int
}

// CouponClash is a code that was given to several people, or handed in by several.
type CouponClash struct {
	Code string
	// Issued says that it was given to them, else they handed it in. People are called by their interviews.
	Issued bool
	People []string
}

// CouponsOfTablet are the coupons of one tablet.
type CouponsOfTablet struct {
	// Number is the tablet's number for coupons.
	Number int
	CouponCounts
}

// CouponsOfSite are the coupons given out at one site; its id is empty where the site is not known.
type CouponsOfSite struct {
	SiteID string
	CouponCounts
}

// couponLife is what is known of one code.
type couponLife struct {
	holders, redeemers map[string]bool
	site               string // of an interview in which it was given out, the first in order
	// redeemed is told by an event, which may not say by whom.
	redeemed, voided, paid bool
	never                  bool  // a referral by it has EDGE_STATE_NEVER_ISSUED
	expires                int64 // 0: it does not
}

// audit follows coupons by code.
type audit struct {
	*measuring
	lives map[string]*couponLife
	// ids and sites are the respondents and the sites of interviews.
	ids, sites map[string]string
	// last is when the last thing that is known happened.
	last int64
}

func (w *measuring) coupons() {
	a := &audit{measuring: w, lives: map[string]*couponLife{}, ids: map[string]string{}, sites: map[string]string{}}
	a.read()
	c := &w.m.Coupons
	given := map[string]int{} // by holder
	tablets, places := map[int]*CouponCounts{}, map[string]*CouponCounts{}
	for code, l := range a.lives {
		parts, err := ParseCoupon(code)
		if err != nil && len(l.holders)+len(l.redeemers) > 0 {
			c.NotOfTheScheme++
		}
		if len(l.redeemers) > 1 {
			c.RedeemedTwice++
			c.Clashes = append(c.Clashes, CouponClash{code, false, a.keys(l.redeemers)})
		}
		switch {
		case len(l.holders) > 1:
			c.IssuedTwice++
			c.Clashes = append(c.Clashes, CouponClash{code, true, a.keys(l.holders)})
		case len(l.holders) == 0 && len(l.redeemers) > 0:
			c.IssuerUnknown++
			if l.never {
				c.NeverIssued++
			}
		}
		for holder := range l.holders {
			given[holder]++
		}
		if len(l.holders) == 0 {
			continue
		}
		a.count(&c.CouponCounts, l)
		if err == nil {
			a.count(countsAt(tablets, parts.Device), l)
		}
		a.count(countsAt(places, l.site), l)
	}
	slices.SortFunc(c.Clashes, func(x, y CouponClash) int {
		return cmp.Or(cmp.Compare(x.Code, y.Code), compareBool(x.Issued, y.Issued))
	})
	c.Holders = len(given)
	for _, n := range given {
		c.MostPerHolder = max(c.MostPerHolder, n)
	}
	for _, n := range slices.Sorted(maps.Keys(tablets)) {
		c.Tablets = append(c.Tablets, CouponsOfTablet{n, *tablets[n]})
	}
	for _, id := range slices.Sorted(maps.Keys(places)) {
		c.Sites = append(c.Sites, CouponsOfSite{id, *places[id]})
	}
}

func countsAt[K comparable](m map[K]*CouponCounts, k K) *CouponCounts {
	if m[k] == nil {
		m[k] = &CouponCounts{}
	}
	return m[k]
}

// count adds a code that was given out.
func (a *audit) count(n *CouponCounts, l *couponLife) {
	n.Issued++
	if l.paid {
		n.Paid++
	}
	switch {
	case l.redeemed || len(l.redeemers) > 0:
		n.Redeemed++
	case l.voided:
		n.Voided++
	case l.expires > 0 && l.expires < a.last:
		n.Expired++
	default:
		n.Outstanding++
	}
}

// read goes through all that speaks of coupons.
func (a *audit) read() {
	for _, iv := range a.f.Interviews {
		id := iv.GetInterviewId()
		a.ids[id] = firstWord(a.ids[id], iv.GetRespondentId())
		a.sites[id] = firstWord(a.sites[id], iv.GetSiteId())
		a.happened(iv.StartTimeMs)
	}
	for _, r := range a.f.Recruitments {
		for _, s := range r.GetCouponsGiven() {
			a.give(s, r.GetPersonId(), r.GetInterviewId())
		}
	}
	for _, ev := range a.f.Coupons {
		a.happened(ev.TimeMs)
		l := a.life(ev.GetCode())
		if l == nil {
			continue
		}
		switch ev.GetKind() {
		case servicev1.CouponEventKind_COUPON_EVENT_KIND_ISSUED:
			a.give(ev.GetCode(), "", ev.GetInterviewId())
			l.expires = max(l.expires, ev.GetExpiresTimeMs())
		case servicev1.CouponEventKind_COUPON_EVENT_KIND_REDEEMED:
			l.redeemed = true
			if ev.GetInterviewId() != "" {
				l.redeemers[a.who("", ev.GetInterviewId())] = true
			}
		case servicev1.CouponEventKind_COUPON_EVENT_KIND_VOIDED:
			l.voided = true
		case servicev1.CouponEventKind_COUPON_EVENT_KIND_PAID:
			l.paid = true
		}
	}
	never := map[string]bool{}
	for _, e := range a.g.GetEdges() {
		if e.GetState() == servicev1.EdgeState_EDGE_STATE_NEVER_ISSUED {
			never[e.GetReferralId()] = true
		}
	}
	for _, r := range a.f.Referrals {
		if r.ToldByRecruit != nil && !r.GetToldByRecruit() {
			continue
		}
		if l := a.life(r.GetCouponCode()); l != nil {
			l.redeemers[a.who(r.GetToPersonId(), r.GetInterviewId())] = true
			l.never = l.never || never[r.GetReferralId()]
		}
	}
}

func (a *audit) happened(ms *int64) {
	if t := instant(ms); t != never {
		a.last = max(a.last, t)
	}
}

// who is the node of a person, or of who was interviewed.
func (a *audit) who(person, interview string) string {
	id := cmp.Or(person, a.ids[interview])
	if n, ok := a.node[id]; ok {
		return a.g.GetNodes()[n].GetPersonId()
	}
	return id
}

func (a *audit) life(s string) *couponLife {
	code := couponCode(s)
	if code == "" {
		return nil
	}
	l := a.lives[code]
	if l == nil {
		l = &couponLife{holders: map[string]bool{}, redeemers: map[string]bool{}}
		a.lives[code] = l
	}
	return l
}

func (a *audit) give(s, person, interview string) {
	if l := a.life(s); l != nil {
		l.holders[a.who(person, interview)] = true
		l.site = firstWord(l.site, a.sites[interview])
	}
}

// keys are how people are called: by the interview, or who was never interviewed by the id, in order.
func (a *audit) keys(people map[string]bool) []string {
	var out []string
	for id := range people {
		if n, ok := a.node[id]; ok {
			id = cmp.Or(a.g.GetNodes()[n].GetInterviewKey(), id)
		}
		out = append(out, cmp.Or(id, Unspecified))
	}
	slices.Sort(out)
	return out
}
