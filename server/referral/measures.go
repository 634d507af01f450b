package referral

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// Measures are what supervisors and reports ask of a referral sample beyond the counts of Stats.
type Measures struct {
	Seeds   SeedMeasures
	Chains  []ChainMeasure
	ByMode  []Yield
	BySite  []SiteYield
	ByRound []RoundMeasure
	Coupons CouponMeasures
	// ReferralLag is from the day a referral was made to the recruit's first interview, in days, over primary referrals;
	// RecruitmentLag from the recruiter's first interview to the recruit's.
	ReferralLag, RecruitmentLag Spread
	Crossing                    Crossings
	// SeveralRecruiters counts people whom two or more referred; MostNamed are those most people referred or were referred
	// by, the first twenty.
	SeveralRecruiters int
	MostNamed         []Named
	// Interviews held, those with an introducer present, and the number of respondents of each group interview, ascending.
	Interviews, WithIntroducer int
	GroupSizes                 []int
	// MergedRecords counts the records that were found to be somebody already there; MergedPeople those people.
	MergedRecords, MergedPeople int
}

// SeedMeasures count seeds. A seed is planned if it was interviewed before the first recruit was, or by the time the
// options name, and added if later; where the time of its interview is not known it is neither.
type SeedMeasures struct {
	Seeds, Planned, Added, Productive, Sterile, OtherRoots int
}

// ChainMeasure is one chain.
type ChainMeasure struct {
	RootID, InterviewKey string
	// Seed is false for a root that nobody marked; Added is true for a seed that was added later.
	Seed, Added bool
	// People in the chain, of whom so many were interviewed.
	People, Interviewed int
	MaxWave             int32
	// First and Last are when the chain's first and last interviews began, in milliseconds since 1970; 0 if not known.
	First, Last int64
}

// Yield is what became of the referrals of one mode.
type Yield struct {
	Mode                                                                    string
	Referrals, Interviewed, Refused, NotReached, Ineligible, Pending, Other int
}

// Rate is the part of the referrals that led to an interview; 0 if there are none.
func (y Yield) Rate() float64 { return part(y.Interviewed, y.Referrals) }

func part(n, of int) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}

// SiteYield is what a site brought. Empty is where the site is not known.
type SiteYield struct {
	SiteID string
	// Interviewed people, the seeds among them, recruits that these people made, and referrals by the site itself.
	Interviewed, Seeds, Recruits, ReferredBySite int
}

// RoundMeasure is one round of a panel. A repeat makes neither a new person nor a new wave.
type RoundMeasure struct {
	Round uint32
	// Interviews held, people they reached, and those reached for the first time.
	Interviews, People, New int
	// NewByWave counts the new ones by wave.
	NewByWave []int64
}

// Spread describes a distribution of days.
type Spread struct {
	Count                          int
	Least, Median, Mean, P90, Most float64
}

// Crossings count referrals between two interviewed people that crossed a border. Of those both of whose ends are known
// in the regard named: Of.
type Crossings struct {
	Tablet, OfTablets         int
	Enumerator, OfEnumerators int
	Site, OfSites             int
	// Seed counts referrals between people of different chains.
	Seed, OfSeeds int
}

// Named is a person and how many others referred him or were referred by him.
type Named struct {
	PersonID, InterviewKey string
	By, Referred           int
}

// MeasureOptions say what the facts do not.
type MeasureOptions struct {
	// SeedsPlannedUntil is the last moment, in milliseconds since 1970, at which an interviewed seed counts as planned; 0
	// means until the first recruit was interviewed.
	SeedsPlannedUntil int64
}

// measuring holds what several measures need.
type measuring struct {
	f     Facts
	g     *servicev1.ReferralGraph
	node  map[string]int32 // by person id, merged ones too
	first []*servicev1.InterviewSummary
	time  []int64 // of the first interview, never if not known
	m     *Measures
}

// Measure computes the measures of the graph that Build made of the facts.
func Measure(f Facts, g *servicev1.ReferralGraph, o MeasureOptions) *Measures {
	nodes := g.GetNodes()
	w := &measuring{
		f: f, g: g, node: recordRows(nodes), first: make([]*servicev1.InterviewSummary, len(nodes)),
		time: slices.Repeat([]int64{never}, len(nodes)), m: &Measures{},
	}
	for _, n := range nodes {
		if k := len(n.GetMergedIds()); k > 0 {
			w.m.MergedPeople++
			w.m.MergedRecords += k
		}
	}
	w.findFirst()
	w.chains(o)
	w.edges()
	w.sites()
	w.rounds()
	w.coupons()
	return w.m
}

// findFirst finds everybody's first interview, and counts interviews.
func (w *measuring) findFirst() {
	groups := map[string]map[string]bool{}
	for _, iv := range w.f.Interviews {
		if iv == nil || !held(iv.GetResult()) {
			continue
		}
		w.m.Interviews++
		if iv.GetIntroducerPresent() == surveyv1.YesNo_YES_NO_YES {
			w.m.WithIntroducer++
		}
		if iv.GetKind() == surveyv1.InterviewKind_INTERVIEW_KIND_GROUP {
			if groups[iv.GetInterviewId()] == nil {
				groups[iv.GetInterviewId()] = map[string]bool{}
			}
			if id := iv.GetRespondentId(); id != "" {
				groups[iv.GetInterviewId()][id] = true
			}
		}
		n, ok := w.node[iv.GetRespondentId()]
		if !ok {
			continue
		}
		at := instant(iv.StartTimeMs)
		if b := w.first[n]; b == nil || cmp.Or(cmp.Compare(at, w.time[n]), cmp.Compare(iv.GetInterviewId(), b.GetInterviewId()),
			bytes.Compare(iv.GetDevice(), b.GetDevice()), cmp.Compare(iv.GetEnumerator(), b.GetEnumerator())) < 0 {
			w.first[n], w.time[n] = iv, at
		}
	}
	for _, p := range w.f.People {
		if n, ok := w.node[p.GetPersonId()]; ok && w.first[n] == nil && p.GetInterviewed() {
			w.time[n] = min(w.time[n], instant(p.InterviewTimeMs))
		}
		switch p.GetPresence() {
		case surveyv1.PresenceRole_PRESENCE_ROLE_RESPONDENT, surveyv1.PresenceRole_PRESENCE_ROLE_CO_RESPONDENT:
			if all := groups[p.GetInterviewId()]; all != nil {
				all[p.GetPersonId()] = true
			}
		}
	}
	for _, all := range groups {
		w.m.GroupSizes = append(w.m.GroupSizes, len(all))
	}
	slices.Sort(w.m.GroupSizes)
}

func (w *measuring) chains(o MeasureOptions) {
	nodes := w.g.GetNodes()
	until := o.SeedsPlannedUntil
	if until == 0 {
		until = never
		for i, n := range nodes {
			if n.GetWave() > 0 {
				until = min(until, w.time[i])
			}
		}
	}
	at := map[string]int{}
	for i, n := range nodes {
		k, ok := at[n.GetRootId()]
		if !ok {
			k = len(w.m.Chains)
			at[n.GetRootId()] = k
			w.m.Chains = append(w.m.Chains, ChainMeasure{RootID: n.GetRootId()})
		}
		c := &w.m.Chains[k]
		if n.GetKind() != KindSite {
			c.People++
		}
		if n.GetInterviewed() {
			c.Interviewed++
		}
		c.MaxWave = max(c.MaxWave, n.GetWave())
		if t := w.time[i]; t != never {
			if c.First == 0 || t < c.First {
				c.First = t
			}
			c.Last = max(c.Last, t)
		}
		if n.GetRootId() != n.GetPersonId() {
			continue
		}
		c.InterviewKey, c.Seed = n.GetInterviewKey(), n.GetSeed()
		s := &w.m.Seeds
		if !n.GetSeed() {
			s.OtherRoots++
			continue
		}
		s.Seeds++
		if n.GetRecruits() > 0 {
			s.Productive++
		} else {
			s.Sterile++
		}
		switch {
		case w.time[i] == never:
		case w.time[i] <= until:
			s.Planned++
		default:
			s.Added++
			c.Added = true
		}
	}
	slices.SortFunc(w.m.Chains, func(a, b ChainMeasure) int {
		return cmp.Or(cmp.Compare(b.People, a.People), cmp.Compare(b.MaxWave, a.MaxWave), compareNatural(a.RootID, b.RootID))
	})
}

// edges measures yields, lags, crossings and who is named most.
func (w *measuring) edges() {
	outcomes := make(map[string]surveyv1.ReferralOutcome, len(w.f.Referrals))
	for _, r := range w.f.Referrals {
		if id := r.GetReferralId(); id != "" {
			outcomes[id] = max(outcomes[id], r.GetOutcome())
		}
	}
	nodes := w.g.GetNodes()
	yields := map[string]*Yield{}
	var made, recruited []float64
	by := make([]map[int32]bool, len(nodes))
	of := make([]map[int32]bool, len(nodes))
	link := func(sets []map[int32]bool, at, to int32) {
		if sets[at] == nil {
			sets[at] = map[int32]bool{}
		}
		sets[at][to] = true
	}
	for _, e := range w.g.GetEdges() {
		if e.GetState() == servicev1.EdgeState_EDGE_STATE_SELF {
			continue
		}
		from, okFrom := w.node[e.GetFromId()]
		to, okTo := w.node[e.GetToId()]
		w.yield(yields, e, okTo && nodes[to].GetInterviewed(), outcomes[e.GetReferralId()])
		if !okFrom || !okTo {
			continue
		}
		link(by, to, from)
		link(of, from, to)
		if nodes[from].GetKind() == KindSite {
			continue
		}
		w.cross(e, from, to)
		const day = 86_400_000
		if t := w.time[to]; e.GetPrimary() && t != never {
			if m := instant(e.MadeTimeMs); m != never {
				made = append(made, float64(t-m)/day)
			}
			if r := w.time[from]; r != never {
				recruited = append(recruited, float64(t-r)/day)
			}
		}
	}
	w.m.ReferralLag, w.m.RecruitmentLag = spreadOf(made), spreadOf(recruited)
	for _, mode := range slices.Sorted(maps.Keys(yields)) {
		w.m.ByMode = append(w.m.ByMode, *yields[mode])
	}
	for i, n := range nodes {
		if len(by[i]) > 1 {
			w.m.SeveralRecruiters++
		}
		if len(by[i])+len(of[i]) > 1 && n.GetKind() != KindSite {
			w.m.MostNamed = append(w.m.MostNamed, Named{n.GetPersonId(), n.GetInterviewKey(), len(by[i]), len(of[i])})
		}
	}
	slices.SortFunc(w.m.MostNamed, func(a, b Named) int {
		return cmp.Or(cmp.Compare(b.By+b.Referred, a.By+a.Referred), cmp.Compare(b.By, a.By), compareNatural(a.PersonID, b.PersonID))
	})
	w.m.MostNamed = w.m.MostNamed[:min(len(w.m.MostNamed), 20)]
}

func (w *measuring) yield(yields map[string]*Yield, e *servicev1.ReferralEdge, interviewed bool, outcome surveyv1.ReferralOutcome) {
	mode := cmp.Or(e.GetMode(), Unspecified)
	y := yields[mode]
	if y == nil {
		y = &Yield{Mode: mode}
		yields[mode] = y
	}
	y.Referrals++
	switch {
	case interviewed:
		y.Interviewed++
	case outcome == surveyv1.ReferralOutcome_REFERRAL_OUTCOME_REFUSED:
		y.Refused++
	case outcome == surveyv1.ReferralOutcome_REFERRAL_OUTCOME_NOT_REACHED:
		y.NotReached++
	case outcome == surveyv1.ReferralOutcome_REFERRAL_OUTCOME_INELIGIBLE:
		y.Ineligible++
	case outcome == surveyv1.ReferralOutcome_REFERRAL_OUTCOME_PENDING:
		y.Pending++
	default:
		y.Other++
	}
}

// cross notes the borders that a referral crossed.
func (w *measuring) cross(e *servicev1.ReferralEdge, from, to int32) {
	c := &w.m.Crossing
	count := func(known, crossed bool, of, n *int) {
		if known {
			*of++
			if crossed {
				*n++
			}
		}
	}
	nodes := w.g.GetNodes()
	a, b := w.first[from], w.first[to]
	count(len(a.GetDevice()) > 0 && len(b.GetDevice()) > 0, string(a.GetDevice()) != string(b.GetDevice()), &c.OfTablets, &c.Tablet)
	count(a.GetEnumerator() != "" && b.GetEnumerator() != "", a.GetEnumerator() != b.GetEnumerator(), &c.OfEnumerators, &c.Enumerator)
	x, y := nodes[from], nodes[to]
	count(x.GetSiteId() != "" && y.GetSiteId() != "", x.GetSiteId() != y.GetSiteId(), &c.OfSites, &c.Site)
	count(true, x.GetRootId() != y.GetRootId(), &c.OfSeeds, &c.Seed)
}

func spreadOf(days []float64) Spread {
	n := len(days)
	if n == 0 {
		return Spread{}
	}
	slices.Sort(days)
	return Spread{
		Count: n, Least: days[0], Median: (days[(n-1)/2] + days[n/2]) / 2, Mean: sum(days) / float64(n), P90: days[(n*9+9)/10-1], Most: days[n-1],
	}
}

func (w *measuring) sites() {
	sites := map[string]*SiteYield{}
	at := func(id string) *SiteYield {
		if sites[id] == nil {
			sites[id] = &SiteYield{SiteID: id}
		}
		return sites[id]
	}
	for _, n := range w.g.GetNodes() {
		if n.GetKind() == KindSite {
			at(n.GetSiteId()).ReferredBySite += int(n.GetRecruits())
			continue
		}
		if !n.GetInterviewed() {
			continue
		}
		s := at(n.GetSiteId())
		s.Interviewed++
		s.Recruits += int(n.GetRecruits())
		if n.GetSeed() {
			s.Seeds++
		}
	}
	for _, id := range slices.Sorted(maps.Keys(sites)) {
		w.m.BySite = append(w.m.BySite, *sites[id])
	}
}

func (w *measuring) rounds() {
	type met struct {
		interviews int
		people     map[int32]bool
	}
	rounds := map[uint32]*met{}
	for _, iv := range w.f.Interviews {
		if iv == nil || !held(iv.GetResult()) {
			continue
		}
		r := rounds[iv.GetRound()]
		if r == nil {
			r = &met{people: map[int32]bool{}}
			rounds[iv.GetRound()] = r
		}
		r.interviews++
		if n, ok := w.node[iv.GetRespondentId()]; ok {
			r.people[n] = true
		}
	}
	before := map[int32]bool{}
	for _, round := range slices.Sorted(maps.Keys(rounds)) {
		r := rounds[round]
		out := RoundMeasure{Round: round, Interviews: r.interviews, People: len(r.people)}
		for n := range r.people {
			if !before[n] {
				before[n] = true
				out.New++
				out.NewByWave = increment(out.NewByWave, int(w.g.GetNodes()[n].GetWave()))
			}
		}
		w.m.ByRound = append(w.m.ByRound, out)
	}
}
