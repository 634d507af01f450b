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
	for _, chain := range c.chains {
		c.sorted = append(c.sorted, chain)
	}
	s := &servicev1.ReferralStats{
		Edges: proto.Int64(int64(len(g.GetEdges()))), PrimaryEdges: proto.Int64(primary), EdgesByState: byState, EdgesByMode: byMode, SelfReferrals: proto.Int64(self),
		SeveralRecruiters: proto.Int64(int64(len(several))), WithIntroducerPresent: proto.Int64(introduced),
		GroupInterviews: proto.Int64(group),
	}
	c.fill(s)
	return s
}

// stats counts the graph from its numbers; the same as Stats of the whole graph.
func (b *builder) stats(introduced, group int64) *servicev1.ReferralStats {
	c := &counting{}
	chains := slices.Repeat([]int32{none}, len(b.desc)) // by root
	for i := range b.desc {
		root := b.root[i]
		if chains[root] == none {
			chains[root] = int32(len(c.sorted))
			c.sorted = append(c.sorted, b.chainFrom(root))
			if b.flags[root]&nodeSeed == 0 {
				c.otherRoots++
			}
		}
		chain := c.sorted[chains[root]]
		*chain.MaxWave = max(*chain.MaxWave, b.wave[i])
		c.maxWave = max(c.maxWave, int64(b.wave[i]))
		if !b.isPerson(int32(i)) {
			continue
		}
		*chain.Size++
		c.countPerson(b.desc[i].interviewed, b.flags[i]&nodeSeed != 0, b.wave[i], b.recruits[i])
	}
	s := &servicev1.ReferralStats{EdgesByState: map[string]int64{}, EdgesByMode: map[string]int64{}}
	var states [16]int64
	modes := make(map[int16]int64)
	recruiter := slices.Repeat([]int32{none}, len(b.desc))
	several := make([]bool, len(b.desc))
	var all, primary, count int64
	for i := range b.edges {
		e := &b.edges[i]
		if e.again {
			continue
		}
		all++
		states[int(e.state)&15]++
		if e.primary {
			primary++
			modes[b.tellings[e.told].mode]++
		}
		if servicev1.EdgeState(e.state) == servicev1.EdgeState_EDGE_STATE_SELF || e.from == none || e.to == none {
			continue
		}
		if r := recruiter[e.to]; r != none && r != e.from && !several[e.to] {
			several[e.to] = true
			count++
		}
		recruiter[e.to] = e.from
	}
	for i, n := range states {
		if n > 0 {
			s.EdgesByState[StateName(servicev1.EdgeState(i))] = n
		}
	}
	for m, n := range modes {
		s.EdgesByMode[cmp.Or(lowerName(surveyv1.ReferralMode(m).String(), "REFERRAL_MODE_"), Unspecified)] += n
	}
	s.Edges, s.PrimaryEdges, s.SelfReferrals = proto.Int64(all), proto.Int64(primary), proto.Int64(states[servicev1.EdgeState_EDGE_STATE_SELF])
	s.SeveralRecruiters, s.WithIntroducerPresent, s.GroupInterviews = proto.Int64(count), proto.Int64(introduced), proto.Int64(group)
	c.fill(s)
	return s
}

// chainFrom begins the chain of a root.
func (b *builder) chainFrom(root int32) *servicev1.SeedStats {
	s := &servicev1.SeedStats{Size: proto.Int32(0), MaxWave: proto.Int32(0), Seed: proto.Bool(b.flags[root]&nodeSeed != 0)}
	if !b.isPerson(root) {
		s.PersonId = proto.String(b.siteID(b.desc[root].site))
		return s
	}
	s.PersonId = proto.String(b.people.text(b.rawOf[root]))
	if d := &b.desc[root]; d.interviewed {
		s.InterviewKey = proto.String(b.keys.text(b.interviews[d.meeting].key))
	}
	return s
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
	sorted                               []*servicev1.SeedStats
}

// fill puts the counts of nodes into the whole.
func (c *counting) fill(s *servicev1.ReferralStats) {
	s.Persons, s.Interviewed, s.Seeds = proto.Int64(c.persons), proto.Int64(c.interviewed), proto.Int64(c.seeds)
	s.SterileSeeds, s.OtherRoots, s.MaxWave = proto.Int64(c.sterile), proto.Int64(c.otherRoots), proto.Int64(c.maxWave)
	s.RecruitsPerWave, s.PersonsByRecruits, s.Chains = c.perWave, c.byRecruits, c.sortedChains()
}

func (c *counting) countPerson(interviewed, seed bool, wave, recruits int32) {
	c.persons++
	if interviewed {
		c.interviewed++
	}
	if seed {
		c.seeds++
		if recruits == 0 {
			c.sterile++
		}
	}
	c.perWave = increment(c.perWave, int(wave))
	c.byRecruits = increment(c.byRecruits, int(recruits))
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
	c.countPerson(n.GetInterviewed(), n.GetSeed(), n.GetWave(), n.GetRecruits())
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
	slices.SortFunc(c.sorted, func(a, b *servicev1.SeedStats) int {
		return cmp.Or(cmp.Compare(b.GetSize(), a.GetSize()), cmp.Compare(b.GetMaxWave(), a.GetMaxWave()),
			compareNatural(a.GetPersonId(), b.GetPersonId()))
	})
	if c.sorted == nil {
		return []*servicev1.SeedStats{}
	}
	return c.sorted
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
