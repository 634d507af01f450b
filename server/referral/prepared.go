package referral

import (
	"cmp"
	"slices"
	"strings"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// Prepared is facts put in numbers and in order, so that the graph can be made again at once after each merge and each
// merge taken back. It keeps the facts it was made of, which must not change, and is safe for use by several at once.
type Prepared struct {
	*gathering
	facts     Facts
	byID      []int32 // raw persons in the order of their ids
	appearAt  []int32 // by raw person: where its appearances begin; one more at the end
	entries   []entry // in the order of their raw persons
	entryAt   []int32
	ends      []end
	tellings  []telling   // in the order of their referral ids
	preferred []int32     // tellings by raw recruit, the most telling first
	described []described // by raw person
	sameID    [][2]int32
	codes     int // different coupon codes
	issued    []issue
	fates     []fate   // by code
	siteIDs   []string // sites that referred
	introduce int64    // interviews with an introducer present, and group interviews
	groups    int64
}

// issue is a coupon given to a raw person, or to a node.
type issue struct{ code, raw int32 }

// Prepare puts facts in order. It looks at all but Merged.
func Prepare(f Facts) *Prepared {
	p := &Prepared{gathering: gather(f), facts: f}
	p.facts.Merged = nil
	for _, r := range f.Recruitments {
		if id := recruited(r, p.gathering); id != "" {
			p.raw[p.list(id)].known = true
		}
	}
	p.ends = p.findEnds(f.Referrals)
	p.entries = entries(f, p.gathering)
	p.sortPeople()
	p.prepareEdges()
	p.introduce, p.groups = countInterviews(f.Interviews)
	return p
}

// Build makes the graph, as the function Build does, with other merges than last time.
func (p *Prepared) Build(merged map[string]string) *servicev1.ReferralGraph {
	return p.grow(merged).graph()
}

// Stats counts the graph, as the function Stats does, without making it.
func (p *Prepared) Stats(merged map[string]string) *servicev1.ReferralStats {
	return p.grow(merged).stats(p.introduce, p.groups)
}

// sortPeople puts appearances and entries in the order of their persons, and of time.
func (p *Prepared) sortPeople() {
	n := len(p.raw)
	p.byID = make([]int32, n)
	for i := range p.byID {
		p.byID[i] = int32(i)
	}
	slices.SortFunc(p.byID, func(x, y int32) int { return strings.Compare(p.raw[x].id, p.raw[y].id) })
	p.appearances, p.appearAt = grouped(p.appearances, n, func(a *appearance) int32 { return a.raw }, byTime)
	p.entries, p.entryAt = grouped(p.entries, n, func(e *entry) int32 { return e.raw }, byEntry)
	p.described = make([]described, n)
	for i := range p.described {
		d := &p.described[i]
		d.describe(p.appearances[p.appearAt[i]:p.appearAt[i+1]])
		d.read(p.entries[p.entryAt[i]:p.entryAt[i+1]])
	}
}

// grouped puts items in the order of their keys from 0 to n-1, and those of one key in their own order. It returns where
// each key's items begin. Without an order they stay as they came.
func grouped[T any](items []T, n int, key func(*T) int32, order func(a, b T) int) ([]T, []int32) {
	start := make([]int32, n+1)
	for i := range items {
		start[key(&items[i])+1]++
	}
	for i := range n {
		start[i+1] += start[i]
	}
	out := make([]T, len(items))
	next := slices.Clone(start[:n])
	for i := range items {
		k := key(&items[i])
		out[next[k]] = items[i]
		next[k]++
	}
	for i := range n {
		if own := out[start[i]:start[i+1]]; order != nil && len(own) > 1 {
			slices.SortFunc(own, order)
		}
	}
	return out, start
}

// prepareEdges reads referrals and coupons.
func (p *Prepared) prepareEdges() {
	codes := map[string]int32{"": none}
	code := func(s string) int32 {
		s = couponCode(s)
		c, ok := codes[s]
		if !ok {
			c = int32(p.codes)
			codes[s] = c
			p.codes++
		}
		return c
	}
	p.tellings = make([]telling, 0, len(p.ends))
	sites := map[string]int32{}
	for _, t := range p.ends {
		e := telling{
			rec: t.rec, ends: [2]int32{t.from, t.to}, site: none, own: t.own, interview: t.rec.GetInterviewId(), time: never,
			code: code(t.rec.GetCouponCode()), made: instant(t.rec.MadeTimeMs),
		}
		if t.site != "" {
			at, ok := sites[t.site]
			if !ok {
				at = int32(len(p.siteIDs))
				sites[t.site] = at
				p.siteIDs = append(p.siteIDs, t.site)
			}
			e.site = at
		}
		if iv := p.known(e.interview); iv != nil && e.interview != "" {
			e.time = iv.start
		}
		p.tellings = append(p.tellings, e)
	}
	p.ends = nil
	slices.SortFunc(p.tellings, func(a, b telling) int { return strings.Compare(a.rec.GetReferralId(), b.rec.GetReferralId()) })
	for i := 0; i < len(p.tellings); {
		j := i + 1
		for j < len(p.tellings) && p.tellings[j].rec.GetReferralId() == p.tellings[i].rec.GetReferralId() {
			j++
		}
		if j-i > 1 {
			p.sameID = append(p.sameID, [2]int32{int32(i), int32(j)})
			for k := i; k < j; k++ {
				p.tellings[k].shared = true
			}
		}
		i = j
	}
	for i := range p.tellings {
		if p.tellings[i].ends[1] != none {
			p.preferred = append(p.preferred, int32(i))
		}
	}
	p.preferred, _ = grouped(p.preferred, len(p.raw), func(i *int32) int32 { return p.tellings[*i].ends[1] }, func(x, y int32) int {
		return cmp.Or(comparePreference(&p.tellings[x], &p.tellings[y]), cmp.Compare(x, y))
	})
	for _, r := range p.facts.Recruitments {
		if id := recruited(r, p.gathering); id != "" && len(r.GetCouponsGiven()) > 0 {
			raw := p.person(id)
			for _, s := range r.GetCouponsGiven() {
				if c := code(s); c != none {
					p.issued = append(p.issued, issue{c, raw})
				}
			}
		}
	}
	for i := range p.tellings {
		if e := &p.tellings[i]; !e.shared && !e.own && e.ends[0] != none && e.code != none {
			p.issued = append(p.issued, issue{e.code, e.ends[0]})
		}
	}
	p.readCoupons(code)
	p.fates = fatesOf(p.facts.Coupons, codes)
	p.issued, _ = grouped(p.issued, p.codes, func(i *issue) int32 { return i.code }, func(a, b issue) int { return cmp.Compare(a.raw, b.raw) })
}

// readCoupons notes who was given a coupon by what the tablets say of it.
func (p *Prepared) readCoupons(code func(string) int32) {
	for _, ev := range p.facts.Coupons {
		c := code(ev.GetCode())
		iv := p.known(ev.GetInterviewId())
		if c == none || iv == nil || ev.GetKind() != servicev1.CouponEventKind_COUPON_EVENT_KIND_ISSUED {
			continue
		}
		if raw, ok := p.ids[iv.respondent]; ok {
			p.issued = append(p.issued, issue{c, raw})
		}
	}
}

// grow makes the graph in numbers.
func (p *Prepared) grow(merged map[string]string) *builder {
	b := &builder{Prepared: p}
	b.merge(merged)
	b.makeNodes()
	b.describe()
	b.makeEdges()
	b.redeem(b.issuers())
	b.judge()
	b.plant()
	b.measure()
	return b
}
