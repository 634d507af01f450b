package dedup

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// Weights of household pairs, in bits. The prior says that of a thousand pairs of households which share a matched member
// one is the same household; a matched member counts with the weight of the match, up to the most here.
const (
	householdPrior = -10
	mostOfMember   = 10
	certainMember  = 12 // one id in both, or linked by decision
	sameSite       = 2
	otherSite      = -2
	sameAddress    = 4
	unmatched      = -1
	mostUnmatched  = -4
)

// home is everything told of one household_id.
type home struct {
	id         string
	members    []string
	heads      []string
	sites      []string
	places     []string
	addresses  []string
	keys       []string
	interviews []string
}

// gatherHomes groups households by id. Members come from the household records and from the people who carry the id.
func gatherHomes(people []*servicev1.PersonRecord, households []*servicev1.HouseholdRecord) []*home {
	by := map[string]*home{}
	get := func(id string) *home {
		h, ok := by[id]
		if !ok {
			h = &home{id: id}
			by[id] = h
		}
		return h
	}
	s := newSpeller()
	for _, r := range households {
		if r.GetHouseholdId() == "" {
			continue
		}
		h := get(r.GetHouseholdId())
		h.members = append(append(h.members, r.GetMemberIds()...), r.GetHeadPersonId())
		h.heads = append(h.heads, r.GetHeadPersonId())
		h.sites = append(h.sites, r.GetSiteId())
		if c := placeOf(r.GetPlace().GetDivisionCode()); len(c) >= 9 {
			h.places = append(h.places, c)
		}
		h.keys = append(h.keys, cmp.Or(r.GetInterviewKey(), r.GetInterviewId()))
		h.interviews = append(h.interviews, r.GetInterviewId())
	}
	for _, r := range people {
		if r.GetHouseholdId() == "" || r.GetPersonId() == "" {
			continue
		}
		h := get(r.GetHouseholdId())
		h.members = append(h.members, r.GetPersonId())
		if r.GetRelationToHead() == int32(surveyv1.RelationToHead_RELATION_TO_HEAD_HEAD) {
			h.heads = append(h.heads, r.GetPersonId())
		}
		h.sites = append(h.sites, r.GetSiteId())
		h.addresses = append(h.addresses, letters(s.plain(r.GetIdentity().GetAddress())))
		h.keys = append(h.keys, cmp.Or(r.GetInterviewKey(), r.GetInterviewId()))
		h.interviews = append(h.interviews, r.GetInterviewId())
	}
	out := make([]*home, 0, len(by))
	for _, h := range by {
		for _, list := range []*[]string{&h.members, &h.heads, &h.sites, &h.places, &h.addresses, &h.keys, &h.interviews} {
			slices.Sort(*list)
			*list = slices.DeleteFunc(slices.Compact(*list), func(s string) bool { return s == "" })
		}
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b *home) int { return cmp.Compare(a.id, b.id) })
	return out
}

// countHouseholds counts distinct household ids.
func countHouseholds(people []*servicev1.PersonRecord, households []*servicev1.HouseholdRecord) int {
	ids := map[string]bool{}
	for _, r := range households {
		ids[r.GetHouseholdId()] = true
	}
	for _, r := range people {
		ids[r.GetHouseholdId()] = true
	}
	delete(ids, "")
	return len(ids)
}

// bond is one member of a household matched with one of another.
type bond struct {
	a, b   string
	weight float64
	level  string
}

// householdPairs proposes households that share two members, or the head and the place.
func householdPairs(people []*servicev1.PersonRecord, households []*servicev1.HouseholdRecord, matches []*servicev1.MatchPair, v verdicts, opts Options) []*servicev1.MatchPair {
	homes := gatherHomes(people, households)
	called := calledBy(people)
	var out []*servicev1.MatchPair
	for _, p := range shared(homes, matches) {
		a, b := homes[p.at[0]], homes[p.at[1]]
		pair, enough := joinHomes(a, b, assign(p.bonds), called, opts)
		v.decided(pair)
		decided := pair.GetDecision() != servicev1.DecisionKind_DECISION_KIND_UNSPECIFIED
		if decided || enough && pair.GetProbability() >= opts.PossibleProbability {
			out = append(out, pair)
		}
	}
	return append(out, v.decidedHomes(homes, out, called, opts)...)
}

// decidedHomes writes out the pairs of households under decision that were not found.
func (v verdicts) decidedHomes(homes []*home, found []*servicev1.MatchPair, called map[string]string, opts Options) []*servicev1.MatchPair {
	at := map[string]*home{}
	for _, h := range homes {
		at[h.id] = h
	}
	written := map[[2]string]bool{}
	for _, p := range found {
		written[ordered(p.GetAId(), p.GetBId())] = true
	}
	var out []*servicev1.MatchPair
	for pair := range v.by {
		a, b := at[pair[0]], at[pair[1]]
		if a == nil || b == nil || written[pair] {
			continue
		}
		p, _ := joinHomes(a, b, nil, called, opts)
		v.decided(p)
		out = append(out, p)
	}
	return out
}

// calledBy gives each person id a name for the reader: the smallest that was told, so that it is always the same.
func calledBy(people []*servicev1.PersonRecord) map[string]string {
	out := map[string]string{}
	for _, r := range people {
		name := r.GetIdentity().GetFullName()
		if name == "" {
			name = r.GetIdentity().GetFamilyName() + r.GetIdentity().GetGivenName()
		}
		if old, ok := out[r.GetPersonId()]; name != "" && (!ok || name < old) {
			out[r.GetPersonId()] = name
		}
	}
	return out
}

// sharedPair is two households, by their positions, with all bonds between them.
type sharedPair struct {
	at    [2]int
	bonds []bond
}

// shared lists the pairs of households between which there is any bond. A person listed in very many households bonds
// only those near each other in order.
func shared(homes []*home, matches []*servicev1.MatchPair) []sharedPair {
	const mostHomes = 50
	of := map[string][]int{}
	for i, h := range homes {
		for _, m := range h.members {
			if len(of[m]) < mostHomes {
				of[m] = append(of[m], i)
			}
		}
	}
	bonds := map[[2]int][]bond{}
	add := func(i, j int, b bond) {
		if i > j {
			i, j, b.a, b.b = j, i, b.b, b.a
		}
		if i != j {
			bonds[[2]int{i, j}] = append(bonds[[2]int{i, j}], b)
		}
	}
	for id, in := range of {
		for x, i := range in {
			for _, j := range in[x+1:] {
				add(i, j, bond{id, id, certainMember, "same person id"})
			}
		}
	}
	for _, p := range matches {
		b := bond{p.GetAId(), p.GetBId(), min(p.GetWeight(), mostOfMember), className(p.GetMatchClass())}
		switch p.GetDecision() {
		case servicev1.DecisionKind_DECISION_KIND_CANNOT_LINK:
			continue
		case servicev1.DecisionKind_DECISION_KIND_LINK:
			b.weight, b.level = certainMember, "linked by decision"
		default:
			if p.GetProbability() < .5 {
				continue
			}
		}
		for _, i := range of[b.a] {
			for _, j := range of[b.b] {
				add(i, j, b)
			}
		}
	}
	out := make([]sharedPair, 0, len(bonds))
	for at, list := range bonds {
		out = append(out, sharedPair{at, list})
	}
	slices.SortFunc(out, func(a, b sharedPair) int { return slices.Compare(a.at[:], b.at[:]) })
	return out
}

// assign keeps the heaviest bonds so that every member has one at most.
func assign(bonds []bond) []bond {
	slices.SortFunc(bonds, func(x, y bond) int {
		return cmp.Or(-cmp.Compare(x.weight, y.weight), cmp.Compare(x.a, y.a), cmp.Compare(x.b, y.b), cmp.Compare(x.level, y.level))
	})
	var out []bond
	taken := map[[2]string]bool{}
	for _, b := range bonds {
		if taken[[2]string{"a", b.a}] || taken[[2]string{"b", b.b}] {
			continue
		}
		taken[[2]string{"a", b.a}], taken[[2]string{"b", b.b}] = true, true
		out = append(out, b)
	}
	return out
}

// joinHomes writes out one pair of households and says whether it is enough to propose: two members, or the head and the
// site, place or address.
func joinHomes(a, b *home, bonds []bond, called map[string]string, opts Options) (pair *servicev1.MatchPair, enough bool) {
	var rows []*servicev1.Evidence
	row := func(field, x, y, level string, w float64) {
		rows = append(rows, &servicev1.Evidence{
			Field: proto.String(field), ValueA: proto.String(x), ValueB: proto.String(y), Level: proto.String(level), Weight: proto.Float64(w),
		})
	}
	head := false
	for _, x := range bonds {
		row(fieldMember, cmp.Or(called[x.a], x.a), cmp.Or(called[x.b], x.b), x.level, x.weight)
		head = head || slices.Contains(a.heads, x.a) && slices.Contains(b.heads, x.b)
	}
	where := false
	if len(a.sites) > 0 && len(b.sites) > 0 {
		level, w := "differs", float64(otherSite)
		if meet(a.sites, b.sites) {
			level, w, where = "exact", sameSite, true
		}
		row(fieldSite, strings.Join(a.sites, ", "), strings.Join(b.sites, ", "), level, w)
	}
	switch {
	case meet(a.addresses, b.addresses):
		where = true
		row(fieldAddress, "", "", "exact", sameAddress)
	case meet(a.places, b.places):
		where = true
		row(fieldPlace, strings.Join(a.places, ", "), strings.Join(b.places, ", "), "exact", 1)
	}
	if left := min(len(a.members), len(b.members)) - len(bonds); left > 0 && len(bonds) > 0 {
		row(fieldUnmatched, fmt.Sprint(len(a.members)-len(bonds)), fmt.Sprint(len(b.members)-len(bonds)), "not met again", max(float64(left*unmatched), mostUnmatched))
	}
	certain := len(bonds) > 0 && len(bonds) == len(a.members) && len(bonds) == len(b.members)
	pair = newPair(servicev1.LinkSubject_LINK_SUBJECT_HOUSEHOLD, a.id, b.id, householdPrior, rows, certain, opts)
	pair.AKey, pair.BKey = proto.String(strings.Join(a.keys, ", ")), proto.String(strings.Join(b.keys, ", "))
	return pair, len(bonds) >= 2 || head && where
}

// meet says whether two lists share an element.
func meet(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

// personClusters lists the people who count as one by decision, and those met in several interviews under one id.
func personClusters(people []*servicev1.PersonRecord, v verdicts) []Cluster {
	met := map[string]map[string]bool{}
	for _, r := range people {
		if r.GetPersonId() != "" {
			note(met, r.GetPersonId(), r.GetInterviewId())
		}
	}
	return clusters(servicev1.LinkSubject_LINK_SUBJECT_PERSON, earliestPeople(people), met, v)
}

// householdClusters is personClusters for households.
func householdClusters(people []*servicev1.PersonRecord, households []*servicev1.HouseholdRecord, v verdicts) []Cluster {
	met, first := map[string]map[string]bool{}, map[string]int64{}
	for _, r := range people {
		if r.GetHouseholdId() != "" {
			note(met, r.GetHouseholdId(), r.GetInterviewId())
			earliest(first, r.GetHouseholdId(), r.InterviewTimeMs != nil, r.GetInterviewTimeMs())
		}
	}
	for _, r := range households {
		if r.GetHouseholdId() != "" {
			note(met, r.GetHouseholdId(), r.GetInterviewId())
			earliest(first, r.GetHouseholdId(), r.InterviewTimeMs != nil, r.GetInterviewTimeMs())
		}
	}
	return clusters(servicev1.LinkSubject_LINK_SUBJECT_HOUSEHOLD, first, met, v)
}

// note adds an interview to what is known of an id.
func note(met map[string]map[string]bool, id, interview string) {
	if met[id] == nil {
		met[id] = map[string]bool{}
	}
	met[id][interview] = true
}

// clusters groups ids by their canonical one and keeps the groups that were met in two interviews or carry two ids.
func clusters(subject servicev1.LinkSubject, first map[string]int64, met map[string]map[string]bool, v verdicts) []Cluster {
	by := map[string][]string{}
	for id, c := range canonical(first, v) {
		by[c] = append(by[c], id)
	}
	var out []Cluster
	for c, ids := range by {
		if len(ids) > 1 || len(met[c]) > 1 {
			slices.Sort(ids)
			out = append(out, Cluster{IDs: ids, Canonical: c, Subject: subject})
		}
	}
	slices.SortFunc(out, func(a, b Cluster) int { return cmp.Compare(a.Canonical, b.Canonical) })
	return out
}
