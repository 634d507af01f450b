package referral

import (
	"cmp"
	"math"
	"slices"
	"strings"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// Facts are all that the graph is made of. The order within the slices carries no meaning.
type Facts struct {
	// People are the appearances of people in interviews. Those who were only listed in a household, and neither
	// interviewed nor part of a referral, are no part of the graph.
	People []*servicev1.PersonRecord
	// Interviews tell when each was held, with whom, and with what result.
	Interviews []*servicev1.InterviewSummary
	// Referrals are the told ones, by either side.
	Referrals []*servicev1.ReferralRecord
	// Recruitments tell how respondents were reached, who is a seed and which coupons were given to whom.
	Recruitments []*servicev1.RecruitmentRecord
	// Sites are the places; one that referred people is a node.
	Sites []*surveyv1.Site
	// Merged leads from a person id to the id of the same person that linkage chose. Only who belongs together is read
	// from it: the node takes the id of the earliest record.
	Merged map[string]string
}

// never is the time of what has no known time; it sorts after all others.
const never = math.MaxInt64

// instant reads a time in milliseconds; unset and not positive both mean that it is not known.
func instant(ms *int64) int64 {
	if ms == nil || *ms <= 0 {
		return never
	}
	return *ms
}

// interview is what several records together say of one interview.
type interview struct {
	key, site, respondent string
	start                 int64
	held                  bool
}

// rawPerson is one person id as told, before merging.
type rawPerson struct {
	id     string
	first  int64 // earliest record of this id
	known  bool  // some record describes the person
	listed bool  // belongs to the graph
	parent int32 // of the union of merged ids
}

// appearance is one person in one interview.
type appearance struct {
	raw, node  int32
	time       int64
	interview  string
	told       int8 // 2 told to be interviewed, 1 told not to be, 0 not told
	seems      bool
	key, role  string
	site       string
	respondent bool
}

// entry is what one interview says about how its respondent was reached.
type entry struct {
	node      int32
	time      int64
	interview string
	seed      bool
	mode      surveyv1.RecruitmentMode
	size      *int32
	site      string
}

// gathering indexes the facts by person and interview.
type gathering struct {
	interviews  map[string]*interview
	ids         map[string]int32
	raw         []rawPerson
	appearances []appearance
	sites       map[string]string // known site ids and the kind of each
}

// gather reads the facts in a way that no order of theirs can change.
func gather(f Facts) *gathering {
	g := &gathering{
		interviews: make(map[string]*interview, len(f.Interviews)),
		ids:        make(map[string]int32, len(f.People)),
		raw:        make([]rawPerson, 0, len(f.People)),
		sites:      map[string]string{},
	}
	for _, s := range f.Sites {
		kind := lowerName(s.GetKind().String(), "SITE_KIND_")
		g.addSite(s.GetSiteId(), kind)
	}
	for _, s := range f.Interviews {
		if s == nil {
			continue
		}
		iv := g.interview(s.GetInterviewId())
		iv.key = firstWord(iv.key, s.GetInterviewKey())
		iv.site = firstWord(iv.site, s.GetSiteId())
		iv.respondent = firstWord(iv.respondent, s.GetRespondentId())
		iv.start = min(iv.start, instant(s.StartTimeMs))
		iv.held = iv.held || held(s.GetResult())
		g.addSite(s.GetSiteId(), "")
	}
	respondents := map[string]string{}
	for _, p := range f.People {
		if p == nil {
			continue
		}
		iv := g.interview(p.GetInterviewId())
		iv.key = firstWord(iv.key, p.GetInterviewKey())
		iv.start = min(iv.start, instant(p.InterviewTimeMs))
		if p.GetPresence() == surveyv1.PresenceRole_PRESENCE_ROLE_RESPONDENT {
			respondents[p.GetInterviewId()] = firstWord(respondents[p.GetInterviewId()], p.GetPersonId())
		}
		g.addSite(p.GetSiteId(), "")
	}
	for id, person := range respondents {
		if iv := g.interviews[id]; iv.respondent == "" {
			iv.respondent = person
		}
	}
	g.meet(f)
	for a, b := range f.Merged {
		if a != "" && b != "" {
			g.union(g.person(a), g.person(b))
		}
	}
	return g
}

// meet notes each appearance of each person, and who belongs to the graph.
func (g *gathering) meet(f Facts) {
	g.appearances = make([]appearance, 0, len(f.People)+len(f.Interviews))
	summarised := make(map[string]bool, len(f.Interviews))
	for _, s := range f.Interviews {
		summarised[s.GetInterviewId()] = true
	}
	for _, p := range f.People {
		if p.GetPersonId() == "" {
			continue
		}
		iv := g.interviews[p.GetInterviewId()]
		a := appearance{
			raw: g.person(p.GetPersonId()), interview: p.GetInterviewId(), key: firstWord(iv.key, p.GetInterviewKey()),
			role: lowerName(p.GetRole().String(), "PERSON_ROLE_"), site: p.GetSiteId(), time: iv.start,
		}
		if p.GetInterviewId() == "" {
			a.time, a.key = instant(p.InterviewTimeMs), p.GetInterviewKey()
		}
		switch p.GetPresence() {
		case surveyv1.PresenceRole_PRESENCE_ROLE_RESPONDENT, surveyv1.PresenceRole_PRESENCE_ROLE_CO_RESPONDENT:
			a.respondent = true
			a.seems = iv.held || !summarised[p.GetInterviewId()]
		}
		if p.Interviewed != nil {
			a.told = 1
			if p.GetInterviewed() {
				a.told = 2
			}
		}
		g.appear(a)
	}
	for _, s := range f.Interviews {
		if s == nil {
			continue
		}
		iv := g.interviews[s.GetInterviewId()]
		if who := cmp.Or(s.GetRespondentId(), iv.respondent); who != "" {
			g.appear(appearance{
				raw: g.person(who), interview: s.GetInterviewId(), time: iv.start, key: iv.key, site: iv.site,
				respondent: true, seems: iv.held,
			})
		}
	}
}

func (g *gathering) appear(a appearance) {
	r := &g.raw[a.raw]
	r.known = true
	r.first = min(r.first, a.time)
	r.listed = r.listed || a.respondent || a.told == 2
	g.appearances = append(g.appearances, a)
}

func (g *gathering) interview(id string) *interview {
	iv := g.interviews[id]
	if iv == nil {
		iv = &interview{start: never}
		g.interviews[id] = iv
	}
	return iv
}

func (g *gathering) person(id string) int32 {
	if i, ok := g.ids[id]; ok {
		return i
	}
	i := int32(len(g.raw))
	g.ids[id] = i
	g.raw = append(g.raw, rawPerson{id: id, first: never, parent: i})
	return i
}

// list makes the person part of the graph.
func (g *gathering) list(id string) int32 {
	i := g.person(id)
	g.raw[i].listed = true
	return i
}

func (g *gathering) addSite(id, kind string) {
	if id != "" {
		g.sites[id] = firstWord(g.sites[id], kind)
	}
}

func (g *gathering) find(x int32) int32 {
	for g.raw[x].parent != x {
		g.raw[x].parent = g.raw[g.raw[x].parent].parent
		x = g.raw[x].parent
	}
	return x
}

func (g *gathering) union(a, b int32) {
	if a, b = g.find(a), g.find(b); a != b {
		g.raw[max(a, b)].parent = min(a, b)
	}
}

// held says whether a visit with this result was an interview; one without a result yet is under way.
func held(r surveyv1.ResultCode) bool {
	switch r {
	case surveyv1.ResultCode_RESULT_CODE_UNSPECIFIED, surveyv1.ResultCode_RESULT_CODE_COMPLETE,
		surveyv1.ResultCode_RESULT_CODE_PARTIAL:
		return true
	}
	return false
}

// firstWord returns the smaller of two texts that is not empty, so that no order of records can matter.
func firstWord(a, b string) string {
	if a == "" || b != "" && b < a {
		return b
	}
	return a
}

// lowerName turns the name of an enum value into a word: "REFERRAL_MODE_COUPON" into "coupon", unspecified into "".
func lowerName(name, prefix string) string {
	name = strings.ToLower(strings.TrimPrefix(name, prefix))
	if name == "unspecified" {
		return ""
	}
	return name
}

// byPersonAndTime orders appearances so that each person's are together, the earliest first.
func byPersonAndTime(a, b appearance) int {
	if a.node != b.node {
		return cmp.Compare(a.node, b.node)
	}
	return cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(a.interview, b.interview), cmp.Compare(b.told, a.told),
		cmp.Compare(a.key, b.key), cmp.Compare(a.role, b.role), cmp.Compare(a.site, b.site))
}

// entries reads how respondents were reached, each person's earliest first.
func entries(f Facts, g *gathering, node func(raw int32) int32) []entry {
	out := make([]entry, 0, len(f.Recruitments))
	for _, r := range f.Recruitments {
		id := recruited(r, g)
		if id == "" {
			continue
		}
		e := entry{
			node: node(g.person(id)), interview: r.GetInterviewId(), mode: r.GetMode(), size: r.NetworkSize,
			site: r.GetSiteId(), time: never, seed: r.GetSeed(),
		}
		if r.Seed == nil && e.mode == surveyv1.RecruitmentMode_RECRUITMENT_MODE_SEED {
			e.seed = true
		}
		if iv := g.interviews[e.interview]; iv != nil {
			e.time = iv.start
		}
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b entry) int {
		if a.node != b.node {
			return cmp.Compare(a.node, b.node)
		}
		return cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(a.interview, b.interview),
			compareBool(b.seed, a.seed), cmp.Compare(b.mode, a.mode), comparePointer(a.size, b.size), cmp.Compare(a.site, b.site))
	})
	return out
}

// recruited is the person a recruitment is about: the one it names, else the respondent of its interview.
func recruited(r *servicev1.RecruitmentRecord, g *gathering) string {
	if id := r.GetPersonId(); id != "" {
		return id
	}
	if iv := g.interviews[r.GetInterviewId()]; iv != nil {
		return iv.respondent
	}
	return ""
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// comparePointer sorts what is unset last.
func comparePointer(a, b *int32) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	return cmp.Compare(*a, *b)
}
