package referral

import (
	"cmp"
	"slices"

	"google.golang.org/protobuf/proto"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// Unspecified is the key in counts by mode for referrals of which no mode was told.
const Unspecified = "unspecified"

// Stats counts the graph that Build made of the facts. Persons are counted, institutions are not: they are roots of
// chains and ends of edges only. Chains come largest first. Presence of an introducer and group interviews are counted
// from the interviews; neither makes an edge.
func Stats(f Facts, g *servicev1.ReferralGraph) *servicev1.ReferralStats {
	c := &counting{chains: map[string]*servicev1.SeedStats{}}
	for _, n := range g.GetNodes() {
		if n != nil {
			c.countNode(n)
		}
	}
	recruiters := make(map[string]string, len(g.GetNodes()))
	several := map[string]bool{}
	byState, byMode := map[string]int64{}, map[string]int64{}
	var primary, self int64
	for _, e := range g.GetEdges() {
		byState[StateName(e.GetState())]++
		if e.GetPrimary() {
			primary++
			byMode[cmp.Or(e.GetMode(), Unspecified)]++
		}
		if e.GetState() == servicev1.EdgeState_EDGE_STATE_SELF {
			self++
			continue
		}
		from, to := e.GetFromId(), e.GetToId()
		if from == "" || to == "" {
			continue
		}
		if r, ok := recruiters[to]; ok && r != from {
			several[to] = true
		}
		recruiters[to] = from
	}
	introduced, group := countInterviews(f.Interviews)
	return &servicev1.ReferralStats{
		Persons: proto.Int64(c.persons), Interviewed: proto.Int64(c.interviewed), Seeds: proto.Int64(c.seeds),
		SterileSeeds: proto.Int64(c.sterile), OtherRoots: proto.Int64(c.otherRoots),
		Edges: proto.Int64(int64(len(g.GetEdges()))), PrimaryEdges: proto.Int64(primary),
		MaxWave: proto.Int64(c.maxWave), RecruitsPerWave: c.perWave, Chains: c.sortedChains(), PersonsByRecruits: c.byRecruits,
		EdgesByState: byState, EdgesByMode: byMode, SelfReferrals: proto.Int64(self),
		SeveralRecruiters: proto.Int64(int64(len(several))), WithIntroducerPresent: proto.Int64(introduced),
		GroupInterviews: proto.Int64(group),
	}
}

// StateName is the key of an edge's state in counts: "resolved", "cycle_broken".
func StateName(s servicev1.EdgeState) string {
	return cmp.Or(lowerName(s.String(), "EDGE_STATE_"), Unspecified)
}

// counting adds up nodes.
type counting struct {
	persons, interviewed, seeds, sterile int64
	otherRoots, maxWave                  int64
	perWave, byRecruits                  []int64
	chains                               map[string]*servicev1.SeedStats
}

func (c *counting) countNode(n *servicev1.ReferralNode) {
	root := n.GetRootId() == n.GetPersonId()
	chain := c.chains[n.GetRootId()]
	if chain == nil {
		chain = &servicev1.SeedStats{PersonId: proto.String(n.GetRootId()), Size: proto.Int32(0), MaxWave: proto.Int32(0)}
		c.chains[n.GetRootId()] = chain
	}
	*chain.MaxWave = max(*chain.MaxWave, n.GetWave())
	c.maxWave = max(c.maxWave, int64(n.GetWave()))
	if root {
		chain.Seed = proto.Bool(n.GetSeed())
		if n.InterviewKey != nil {
			chain.InterviewKey = proto.String(n.GetInterviewKey())
		}
		if !n.GetSeed() {
			c.otherRoots++
		}
	}
	if n.GetKind() == KindSite {
		return
	}
	*chain.Size++
	c.persons++
	if n.GetInterviewed() {
		c.interviewed++
	}
	if n.GetSeed() {
		c.seeds++
		if n.GetRecruits() == 0 {
			c.sterile++
		}
	}
	c.perWave = increment(c.perWave, int(n.GetWave()))
	c.byRecruits = increment(c.byRecruits, int(n.GetRecruits()))
}

// increment adds one at i, where i is no less than zero.
func increment(s []int64, i int) []int64 {
	if i < 0 {
		return s
	}
	if i >= len(s) {
		s = append(s, make([]int64, i+1-len(s))...)
	}
	s[i]++
	return s
}

func (c *counting) sortedChains() []*servicev1.SeedStats {
	out := make([]*servicev1.SeedStats, 0, len(c.chains))
	for _, s := range c.chains {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *servicev1.SeedStats) int {
		return cmp.Or(cmp.Compare(b.GetSize(), a.GetSize()), cmp.Compare(b.GetMaxWave(), a.GetMaxWave()),
			compareNatural(a.GetPersonId(), b.GetPersonId()))
	})
	return out
}

func countInterviews(all []*servicev1.InterviewSummary) (introduced, group int64) {
	introducer, groups := map[string]bool{}, map[string]bool{}
	for _, s := range all {
		if s.GetIntroducerPresent() == surveyv1.YesNo_YES_NO_YES {
			introducer[s.GetInterviewId()] = true
		}
		if s.GetKind() == surveyv1.InterviewKind_INTERVIEW_KIND_GROUP {
			groups[s.GetInterviewId()] = true
		}
	}
	return int64(len(introducer)), int64(len(groups))
}

// compareNatural orders ids as people count: GY-2 before GY-10. Different texts never compare equal.
func compareNatural(a, b string) int {
	i, j := 0, 0
	for i < len(a) && j < len(b) {
		if isDigit(a[i]) && isDigit(b[j]) {
			x, y := digits(a[i:]), digits(b[j:])
			if c := cmp.Or(cmp.Compare(len(trimZeros(x)), len(trimZeros(y))), cmp.Compare(trimZeros(x), trimZeros(y))); c != 0 {
				return c
			}
			i += len(x)
			j += len(y)
			continue
		}
		if a[i] != b[j] {
			return cmp.Compare(a[i], b[j])
		}
		i++
		j++
	}
	return cmp.Or(cmp.Compare(len(a)-i, len(b)-j), cmp.Compare(a, b))
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// digits is the run of digits at the start of s.
func digits(s string) string {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return s[:n]
}

func trimZeros(s string) string {
	for len(s) > 1 && s[0] == '0' {
		s = s[1:]
	}
	return s
}
