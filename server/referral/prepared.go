package referral

import (
	"cmp"
	"slices"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// Prepared is facts put in numbers and in order, so that the graph can be made again at once after each merge and each
// merge taken back. It is safe for use by several at once.
type Prepared struct {
	*gathering             // people are in the order of their ids, tellings in that of the referrals' ids
	appearAt   []int32     // by raw person: where its appearances begin; one more at the end
	entryAt    []int32     // the same of its entries
	described  []described // by raw person
	preferred  []int32     // tellings by raw recruit, the most telling first
	preferAt   []int32
	sameID     [][2]int32 // tellings of one id, from and to
	issued     []issue    // by code
	issuedAt   []int32
	fates      []fate  // by code
	usedBy     []int32 // tellings with a coupon, by code
	siteOrder  []int32 // the sites that referred, in the order of their ids
	introduced int64   // interviews with an introducer present, and group interviews
	groups     int64
	asked      []*asked
}

// issue is a coupon given to a raw person, or to a node.
type issue struct{ code, raw int32 }

// Prepare puts facts in order. It looks at all but Merged.
func Prepare(f Facts) *Prepared {
	in := &Intake{g: newGathering(len(f.Interviews))}
	in.Add(f)
	return in.Prepare()
}

// Build makes the graph, as the function Build does, with other merges than last time.
func (p *Prepared) Build(merged map[string]string) *servicev1.ReferralGraph {
	return p.grow(merged).graph()
}

// Stats counts the graph, as the function Stats does, without making it.
func (p *Prepared) Stats(merged map[string]string) *servicev1.ReferralStats {
	return p.grow(merged).stats(p.introduced, p.groups)
}

// sortPeople puts people in the order of their ids, and appearances and entries in that of their persons, and of time.
// It returns the new numbers of people by the old ones.
func (p *Prepared) sortPeople() []int32 {
	n := len(p.raw)
	order := p.people.order()
	fresh := p.people.arrange(order)
	raw := make([]uint8, n)
	for i, x := range order {
		raw[i] = p.raw[x]
	}
	p.raw = raw
	for i := range p.appearances {
		p.appearances[i].raw = fresh[p.appearances[i].raw]
	}
	for i := range p.entries {
		p.entries[i].raw = fresh[p.entries[i].raw]
	}
	for i := range p.tellings {
		for k, end := range p.tellings[i].ends {
			if end != none {
				p.tellings[i].ends[k] = fresh[end]
			}
		}
	}
	for i := range p.given {
		p.given[i].raw = fresh[p.given[i].raw]
	}
	for i := range p.interviews {
		if r := p.interviews[i].respondent; r != none {
			p.interviews[i].respondent = fresh[r]
		}
	}
	p.appearances, p.appearAt = grouped(p.appearances, n, func(a *appearance) int32 { return a.raw }, p.byTime)
	p.entries, p.entryAt = grouped(p.entries, n, func(e *entry) int32 { return e.raw }, p.byEntry)
	p.described = make([]described, n)
	for i := range p.described {
		p.described[i] = p.describe(p.appearances[p.appearAt[i]:p.appearAt[i+1]], p.entriesOf(int32(i)))
	}
	return fresh
}

func (p *Prepared) entriesOf(raw int32) []entry { return p.entries[p.entryAt[raw]:p.entryAt[raw+1]] }

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

// sortTellings puts referrals in the order of their ids, and finds those that came more than once.
func (p *Prepared) sortTellings() {
	order := p.referrals.order()
	p.referrals.arrange(order)
	sorted := make([]telling, len(p.tellings))
	for i, x := range order {
		sorted[i] = p.tellings[x]
	}
	p.tellings = sorted
	referring := make([]bool, len(p.siteKnown))
	for i := 0; i < len(sorted); {
		j := i + 1
		for j < len(sorted) && p.referrals.compare(int32(i), int32(j)) == 0 {
			j++
		}
		if j-i > 1 {
			p.sameID = append(p.sameID, [2]int32{int32(i), int32(j)})
			for k := i; k < j; k++ {
				sorted[k].marks |= isShared
			}
		}
		i = j
	}
	known, coupons := 0, 0
	for i := range sorted {
		if sorted[i].ends[1] != none {
			known++
		}
		if sorted[i].code != none {
			coupons++
		}
		if s := sorted[i].site; s != none {
			referring[s] = true
		}
	}
	p.preferred, p.usedBy = make([]int32, 0, known), make([]int32, 0, coupons)
	for i := range sorted {
		if sorted[i].ends[1] != none {
			p.preferred = append(p.preferred, int32(i))
		}
		if sorted[i].code != none {
			p.usedBy = append(p.usedBy, int32(i))
		}
	}
	p.preferred, p.preferAt = grouped(p.preferred, len(p.raw), func(i *int32) int32 { return p.tellings[*i].ends[1] }, func(x, y int32) int {
		return cmp.Or(p.comparePreference(x, y), cmp.Compare(x, y))
	})
	for _, s := range p.sites.order() {
		if referring[s] {
			p.siteOrder = append(p.siteOrder, s)
		}
	}
}

// readCoupons notes who was given a coupon: by the interviews, by referrals that name one, and by what the tablets say.
func (p *Prepared) readCoupons(events []*servicev1.CouponEvent) {
	p.issued = p.given
	p.given = nil
	for i := range p.tellings {
		if t := &p.tellings[i]; t.marks&(isShared|isOwn) == 0 && t.ends[0] != none && t.code != none {
			p.issued = append(p.issued, issue{t.code, t.ends[0]})
		}
	}
	for _, ev := range events {
		c := p.code([]byte(ev.GetCode()))
		i, known := p.meetings.find([]byte(ev.GetInterviewId()))
		if c == none || !known || ev.GetKind() != servicev1.CouponEventKind_COUPON_EVENT_KIND_ISSUED {
			continue
		}
		if raw := p.interviews[i].respondent; raw != none {
			p.issued = append(p.issued, issue{c, raw})
		}
	}
	n := len(p.codes.words)
	p.fates = p.fatesOf(events)
	p.issued, p.issuedAt = grouped(p.issued, n, func(i *issue) int32 { return i.code }, func(a, b issue) int { return cmp.Compare(a.raw, b.raw) })
	p.usedBy, _ = grouped(p.usedBy, n, func(i *int32) int32 { return p.tellings[*i].code }, nil)
}

// grow makes the graph in numbers.
func (p *Prepared) grow(merged map[string]string) *builder {
	b := &builder{Prepared: p}
	b.makeNodes(b.merge(merged))
	b.makeEdges()
	b.redeem()
	b.judge()
	b.plant()
	b.measure()
	return b
}
