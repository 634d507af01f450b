package referral

import (
	"cmp"
	"math"
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
	// Coupons tell what happened to coupons beside what interviews say of them.
	Coupons []*servicev1.CouponEvent
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
	told                  string // who is said to have been its respondent by the people met
	start                 int64
	held, summarised      bool
}

// rawPerson is one person id as told, before merging.
type rawPerson struct {
	id     string
	first  int64 // earliest record of this id
	known  bool  // some record describes the person
	listed bool  // belongs to the graph
}

// appearance is one person in one interview.
type appearance struct {
	raw        int32
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
	raw       int32
	time      int64
	interview string
	seed      bool
	mode      surveyv1.RecruitmentMode
	size      *int32
	site      string
}

// gathering indexes the facts by person and interview.
type gathering struct {
	interviewAt map[string]int32
	interviews  []interview
	ids         map[string]int32
	raw         []rawPerson
	appearances []appearance
	sites       map[string]string // known site ids and the kind of each
}

// gather reads the facts in a way that no order of theirs can change.
func gather(f Facts) *gathering {
	g := &gathering{
		interviewAt: make(map[string]int32, len(f.Interviews)),
		interviews:  make([]interview, 0, len(f.Interviews)),
		ids:         make(map[string]int32, len(f.People)),
		raw:         make([]rawPerson, 0, len(f.People)),
		sites:       map[string]string{},
	}
	for _, s := range f.Sites {
		kind := lowerName(s.GetKind().String(), "SITE_KIND_")
		g.addSite(s.GetSiteId(), kind)
	}
	of := make([]int32, len(f.Interviews))
	for i, s := range f.Interviews {
		if s == nil {
			continue
		}
		of[i] = g.interview(s.GetInterviewId())
		iv := &g.interviews[of[i]]
		iv.key = firstWord(iv.key, s.GetInterviewKey())
		iv.site = firstWord(iv.site, s.GetSiteId())
		iv.respondent = firstWord(iv.respondent, s.GetRespondentId())
		iv.start = min(iv.start, instant(s.StartTimeMs))
		iv.held = iv.held || held(s.GetResult())
		iv.summarised = true
		g.addSite(s.GetSiteId(), "")
	}
	at := make([]int32, len(f.People))
	for i, p := range f.People {
		if p == nil {
			continue
		}
		at[i] = g.interview(p.GetInterviewId())
		iv := &g.interviews[at[i]]
		iv.key = firstWord(iv.key, p.GetInterviewKey())
		iv.start = min(iv.start, instant(p.InterviewTimeMs))
		if p.GetPresence() == surveyv1.PresenceRole_PRESENCE_ROLE_RESPONDENT {
			iv.told = firstWord(iv.told, p.GetPersonId())
		}
		g.addSite(p.GetSiteId(), "")
	}
	for i := range g.interviews {
		iv := &g.interviews[i]
		iv.respondent = cmp.Or(iv.respondent, iv.told)
	}
	g.meet(f, of, at)
	return g
}

// meet notes each appearance of each person, and who belongs to the graph. Of and at are the interviews of the summaries
// and of the people.
func (g *gathering) meet(f Facts, of, at []int32) {
	g.appearances = make([]appearance, 0, len(f.People)+len(f.Interviews))
	for i, p := range f.People {
		if p.GetPersonId() == "" {
			continue
		}
		iv := &g.interviews[at[i]]
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
			a.seems = iv.held || !iv.summarised
		}
		if p.Interviewed != nil {
			a.told = 1
			if p.GetInterviewed() {
				a.told = 2
			}
		}
		g.appear(a)
	}
	for i, s := range f.Interviews {
		if s == nil {
			continue
		}
		iv := &g.interviews[of[i]]
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

// interview is the number of an interview.
func (g *gathering) interview(id string) int32 {
	if i, ok := g.interviewAt[id]; ok {
		return i
	}
	i := int32(len(g.interviews))
	g.interviewAt[id] = i
	g.interviews = append(g.interviews, interview{start: never})
	return i
}

// known is an interview that some record tells of, or nil.
func (g *gathering) known(id string) *interview {
	if i, ok := g.interviewAt[id]; ok {
		return &g.interviews[i]
	}
	return nil
}

func (g *gathering) person(id string) int32 {
	if i, ok := g.ids[id]; ok {
		return i
	}
	i := int32(len(g.raw))
	g.ids[id] = i
	g.raw = append(g.raw, rawPerson{id: id, first: never})
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

// byTime orders the appearances of one person, the earliest first.
func byTime(a, b appearance) int {
	return cmp.Or(cmp.Compare(a.time, b.time), strings.Compare(a.interview, b.interview), cmp.Compare(b.told, a.told),
		strings.Compare(a.key, b.key), strings.Compare(a.role, b.role), strings.Compare(a.site, b.site))
}

// entries reads how respondents were reached.
func entries(f Facts, g *gathering) []entry {
	out := make([]entry, 0, len(f.Recruitments))
	for _, r := range f.Recruitments {
		id := recruited(r, g)
		if id == "" {
			continue
		}
		e := entry{
			raw: g.person(id), interview: r.GetInterviewId(), mode: r.GetMode(), size: r.NetworkSize,
			site: r.GetSiteId(), time: never, seed: r.GetSeed(),
		}
		if r.Seed == nil && e.mode == surveyv1.RecruitmentMode_RECRUITMENT_MODE_SEED {
			e.seed = true
		}
		if iv := g.known(e.interview); iv != nil {
			e.time = iv.start
		}
		out = append(out, e)
	}
	return out
}

// byEntry orders the entries of one person, the earliest first.
func byEntry(a, b entry) int {
	return cmp.Or(cmp.Compare(a.time, b.time), strings.Compare(a.interview, b.interview), compareBool(b.seed, a.seed),
		cmp.Compare(b.mode, a.mode), comparePointer(a.size, b.size), strings.Compare(a.site, b.site))
}

// recruited is the person a recruitment is about: the one it names, else the respondent of its interview.
func recruited(r *servicev1.RecruitmentRecord, g *gathering) string {
	if id := r.GetPersonId(); id != "" {
		return id
	}
	if iv := g.known(r.GetInterviewId()); iv != nil {
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
