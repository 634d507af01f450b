package dedup

import (
	"cmp"
	"slices"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// verdict is the decision in force about one pair.
type verdict struct {
	kind    servicev1.DecisionKind
	id      string
	subject servicev1.LinkSubject
}

// verdicts holds the decisions in force: by pair, and the links in the order in which they were taken.
type verdicts struct {
	by    map[[2]string]verdict
	links [][2]string
}

// missing lists the pairs under decision that are not among those written, in order.
func (v verdicts) missing(written map[[2]string]bool) [][2]string {
	var out [][2]string
	for pair := range v.by {
		if !written[pair] {
			out = append(out, pair)
		}
	}
	slices.SortFunc(out, func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	return out
}

// ordered gives two ids smallest first.
func ordered(a, b string) [2]string {
	if b < a {
		a, b = b, a
	}
	return [2]string{a, b}
}

// Decided applies all decisions, undone ones taken out, and returns the decision id in force for each pair that is linked
// and for each that must not be. The pair's ids are sorted. Of several decisions about one pair the latest counts, by time
// and then by decision id; an undo takes back the decision it names, wherever the clocks put it, and may itself be undone.
func Decided(decisions []*servicev1.LinkDecision) (links, cannot map[[2]string]string) {
	links, cannot = map[[2]string]string{}, map[[2]string]string{}
	for pair, v := range decide(decisions).by {
		if v.kind == servicev1.DecisionKind_DECISION_KIND_LINK {
			links[pair] = v.id
		} else {
			cannot[pair] = v.id
		}
	}
	return links, cannot
}

// decide is Decided with the subject of each verdict and the order of the links.
func decide(decisions []*servicev1.LinkDecision) verdicts {
	all := slices.Clone(decisions)
	slices.SortStableFunc(all, compareDecisions)
	all = slices.CompactFunc(all, func(a, b *servicev1.LinkDecision) bool {
		return a.GetDecisionId() != "" && compareDecisions(a, b) == 0
	})
	stands := standing(all)
	v := verdicts{by: map[[2]string]verdict{}}
	last := map[[2]string]int{}
	for i, d := range all {
		a, b := d.GetAId(), d.GetBId()
		if !stands[i] || a == "" || b == "" || a == b {
			continue
		}
		if k := d.GetKind(); k == servicev1.DecisionKind_DECISION_KIND_LINK || k == servicev1.DecisionKind_DECISION_KIND_CANNOT_LINK {
			v.by[ordered(a, b)] = verdict{k, d.GetDecisionId(), d.GetSubject()}
			last[ordered(a, b)] = i
		}
	}
	for i, d := range all {
		pair := ordered(d.GetAId(), d.GetBId())
		if at, ok := last[pair]; ok && at == i && d.GetKind() == servicev1.DecisionKind_DECISION_KIND_LINK {
			v.links = append(v.links, pair)
		}
	}
	return v
}

// InForce lists the decisions about any of some ids that no standing undo takes back, oldest first.
func InForce(decisions []*servicev1.LinkDecision, ids []string) []*servicev1.LinkDecision {
	all := slices.Clone(decisions)
	slices.SortStableFunc(all, compareDecisions)
	var out []*servicev1.LinkDecision
	for i, ok := range standing(all) {
		d := all[i]
		if ok && d.GetKind() != servicev1.DecisionKind_DECISION_KIND_UNDO && (slices.Contains(ids, d.GetAId()) || slices.Contains(ids, d.GetBId())) {
			out = append(out, d)
		}
	}
	return out
}

// compareDecisions orders by time, then id, then content, so that the order of arrival never shows.
func compareDecisions(a, b *servicev1.LinkDecision) int {
	return cmp.Or(
		cmp.Compare(a.GetTimeMs(), b.GetTimeMs()),
		cmp.Compare(a.GetDecisionId(), b.GetDecisionId()),
		cmp.Compare(a.GetKind(), b.GetKind()),
		cmp.Compare(a.GetUndoes(), b.GetUndoes()),
		cmp.Compare(a.GetAId(), b.GetAId()),
		cmp.Compare(a.GetBId(), b.GetBId()),
	)
}

// standing says of each decision whether no standing undo takes it back. In a ring of undos that name each other, which no
// honest store can write, the one met last counts; the outcome depends on nothing but the decisions.
func standing(all []*servicev1.LinkDecision) []bool {
	undos := map[string][]int{}
	for i, d := range all {
		if d.GetKind() == servicev1.DecisionKind_DECISION_KIND_UNDO && d.GetUndoes() != "" {
			undos[d.GetUndoes()] = append(undos[d.GetUndoes()], i)
		}
	}
	const (
		unknown = iota
		open
		stands
		fallen
	)
	state := make([]int, len(all))
	for start := range all {
		stack := []int{start}
		for len(stack) > 0 {
			i := stack[len(stack)-1]
			if state[i] == stands || state[i] == fallen {
				stack = stack[:len(stack)-1]
				continue
			}
			state[i] = open
			next, taken := -1, false
			for _, u := range undos[all[i].GetDecisionId()] {
				switch state[u] {
				case unknown:
					next = u
				case stands:
					taken = true
				}
			}
			switch {
			case next >= 0:
				stack = append(stack, next)
			case taken:
				state[i] = fallen
			default:
				state[i] = stands
			}
		}
	}
	out := make([]bool, len(all))
	for i, s := range state {
		out[i] = s == stands
	}
	return out
}

// forest is a union-find over ids that keeps pairs apart which must not be linked.
type forest struct {
	parent  map[string]string
	members map[string][]string
	apart   map[string][]string
}

// newForest makes a forest that knows the cannot-link verdicts.
func newForest(v verdicts) *forest {
	f := &forest{parent: map[string]string{}, members: map[string][]string{}, apart: map[string][]string{}}
	for pair, d := range v.by {
		if d.kind == servicev1.DecisionKind_DECISION_KIND_CANNOT_LINK {
			f.apart[pair[0]] = append(f.apart[pair[0]], pair[1])
			f.apart[pair[1]] = append(f.apart[pair[1]], pair[0])
		}
	}
	for _, pair := range v.links {
		f.join(pair[0], pair[1])
	}
	return f
}

// root finds the group of an id.
func (f *forest) root(id string) string {
	for {
		p, ok := f.parent[id]
		if !ok {
			return id
		}
		if q, ok := f.parent[p]; ok {
			f.parent[id] = q
		}
		id = p
	}
}

// group lists the ids of the group with this root.
func (f *forest) group(root string) []string {
	if m, ok := f.members[root]; ok {
		return m
	}
	return []string{root}
}

// join puts two groups together unless a cannot-link verdict stands between any two of their members.
func (f *forest) join(a, b string) {
	ra, rb := f.root(a), f.root(b)
	if ra == rb {
		return
	}
	ma, mb := f.group(ra), f.group(rb)
	if len(ma) > len(mb) {
		ra, rb, ma, mb = rb, ra, mb, ma
	}
	for _, id := range ma {
		for _, other := range f.apart[id] {
			if f.root(other) == rb {
				return
			}
		}
	}
	f.parent[ra] = rb
	f.members[rb] = append(slices.Clone(mb), ma...)
	delete(f.members, ra)
}

// Canonical maps every person_id to the one that stands for the person: the id with the earliest interview among all that
// LINK decisions put together, the smallest id if several are equally early. Where links in a row would put two people
// together about whom a CANNOT_LINK is in force, the latest link of the row is left out.
func Canonical(people []*servicev1.PersonRecord, decisions []*servicev1.LinkDecision) map[string]string {
	return canonical(earliestPeople(people), decide(decisions))
}

// earliestPeople gives the time of the earliest record of each person; a record without a time counts as latest.
func earliestPeople(people []*servicev1.PersonRecord) map[string]int64 {
	first := map[string]int64{}
	for _, p := range people {
		if p.GetPersonId() != "" {
			earliest(first, p.GetPersonId(), p.InterviewTimeMs != nil, p.GetInterviewTimeMs())
		}
	}
	return first
}

// earliest notes a time of an id if it is the earliest seen.
func earliest(first map[string]int64, id string, told bool, ms int64) {
	if !told {
		ms = 1<<63 - 1
	}
	if t, ok := first[id]; !ok || ms < t {
		first[id] = ms
	}
}

// canonical maps each id of first to the earliest of its group.
func canonical(first map[string]int64, v verdicts) map[string]string {
	f := newForest(v)
	best := map[string]string{}
	for id, t := range first {
		root := f.root(id)
		b, ok := best[root]
		if !ok || t < first[b] || t == first[b] && id < b {
			best[root] = id
		}
	}
	out := make(map[string]string, len(first))
	for id := range first {
		out[id] = best[f.root(id)]
	}
	return out
}
