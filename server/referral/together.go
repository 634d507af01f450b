package referral

import (
	"cmp"
	"io"
	"maps"
	"slices"
	"strconv"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// WriteCopresence writes who was present at an interview together: respondents, introducers, interpreters and others, one row per
// pair of people and interview. Presence is no referral: nobody is a recruiter for having been there. People of the graph stand
// under their node's id, others under their own.
func WriteCopresence(w io.Writer, f Facts, g *servicev1.ReferralGraph) error {
	at := map[string]string{}
	for _, n := range g.GetNodes() {
		at[n.GetPersonId()] = n.GetPersonId()
		for _, id := range n.GetMergedIds() {
			at[id] = n.GetPersonId()
		}
	}
	type present struct{ id, role string }
	of, keys := map[string][]present{}, map[string]string{}
	for _, p := range f.People {
		if p.GetPersonId() == "" || p.GetPresence() == surveyv1.PresenceRole_PRESENCE_ROLE_UNSPECIFIED {
			continue
		}
		of[p.GetInterviewId()] = append(of[p.GetInterviewId()], present{cmp.Or(at[p.GetPersonId()], p.GetPersonId()), lowerName(p.GetPresence().String(), "PRESENCE_ROLE_")})
		keys[p.GetInterviewId()] = cmp.Or(p.GetInterviewKey(), p.GetInterviewId())
	}
	rows := [][]string{{"interview_key", "person_a", "role_a", "person_b", "role_b"}}
	for _, id := range slices.SortedFunc(maps.Keys(of), func(a, b string) int { return cmp.Or(cmp.Compare(keys[a], keys[b]), cmp.Compare(a, b)) }) {
		list := of[id]
		slices.SortFunc(list, func(a, b present) int { return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.role, b.role)) })
		for i, a := range list {
			for _, b := range list[i+1:] {
				if a.id != b.id {
					rows = append(rows, []string{printable(keys[id]), a.id, a.role, b.id, b.role})
				}
			}
		}
	}
	return writeRows(w, "who was present together", rows)
}

// WriteSiteGraph writes which site led to which: one row per pair of sites and mode of referral, counted over resolved
// referrals. A site that referred people itself stands under its id; where the site of an end is not known it is empty.
func WriteSiteGraph(w io.Writer, g *servicev1.ReferralGraph) error {
	site := map[string]string{}
	for _, n := range g.GetNodes() {
		site[n.GetPersonId()] = n.GetSiteId()
		if n.GetKind() == KindSite {
			site[n.GetPersonId()] = cmp.Or(n.GetSiteId(), n.GetPersonId())
		}
	}
	type way struct{ from, to, mode string }
	type count struct{ all, primary int }
	ways := map[way]count{}
	for _, e := range g.GetEdges() {
		if e.GetState() != servicev1.EdgeState_EDGE_STATE_RESOLVED {
			continue
		}
		k := way{site[e.GetFromId()], site[e.GetToId()], e.GetMode()}
		c := ways[k]
		c.all++
		if e.GetPrimary() {
			c.primary++
		}
		ways[k] = c
	}
	rows := [][]string{{"from_site", "to_site", "mode", "referrals", "primary"}}
	for _, k := range slices.SortedFunc(maps.Keys(ways), func(a, b way) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to), cmp.Compare(a.mode, b.mode))
	}) {
		rows = append(rows, []string{printable(k.from), printable(k.to), k.mode, strconv.Itoa(ways[k].all), strconv.Itoa(ways[k].primary)})
	}
	return writeRows(w, "the sites", rows)
}
