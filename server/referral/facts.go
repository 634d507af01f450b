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
	start      int64
	key, site  int32 // in keys and sites
	respondent int32 // raw person
	marks      marks
}

// marks are what is said of an interview.
type marks uint8

const (
	isHeld        marks = 1 << iota
	isSummarised        // there is a summary of it
	isSummedTwice       // there are several
	isToldByRole        // its respondent is told by the people met, and by no summary
	isIntroduced        // an introducer was there
	isGroup
	isApart // no interview, but an appearance that names none
)

// What is known of a raw person, which is one person id as told, before merging.
const (
	isKnown  uint8 = 1 << iota // some record describes the person
	isListed                   // belongs to the graph
)

// appearance is one person in one interview.
type appearance struct {
	raw, interview int32
	site           int32 // or siteOfInterview
	role           int16
	told           int8 // 2 told to be interviewed, 1 told not to be, 0 not told
	marks          uint8
}

// What an appearance is.
const (
	isRespondent uint8 = 1 << iota
	isSummed           // the summary of the interview says the same
)

// siteOfInterview stands for the site of the interview, whatever it will turn out to be.
const siteOfInterview int32 = -2

// entry is what one interview says about how its respondent was reached.
type entry struct {
	raw, interview, site int32
	size                 int32
	mode                 int16
	seed, sized          bool
}

// gathering holds the facts in numbers. People, sites, coupons and interviews are numbered by their texts; an interview
// without an id has the number of the empty text, and each appearance outside of any interview one of its own.
type gathering struct {
	people, sites, meetings, keys, codes, referrals *texts
	raw                                             []uint8 // by person
	siteKind                                        []string
	siteKnown                                       []bool
	interviews                                      []interview
	appearances                                     []appearance
	entries                                         []entry
	tellings                                        []telling
	given                                           []issue // coupons by raw person
	open                                            []issue // coupons given to the respondents of interviews that do not name them yet
	unnamed                                         []int32 // interviews whose summary does not name the respondent
	scratch                                         []byte
}

// newGathering makes room for so many interviews.
func newGathering(n int) *gathering {
	return &gathering{
		people: newTexts(n), sites: newTexts(0), meetings: newTexts(n), codes: newTexts(0),
		keys: &texts{words: make([]slot, 0, n)}, referrals: &texts{words: make([]slot, 0, n+n/8)},
		raw: make([]uint8, 0, n), interviews: make([]interview, 0, n), appearances: make([]appearance, 0, n), entries: make([]entry, 0, n),
		tellings: make([]telling, 0, n+n/8),
	}
}

// summary, met, told and reached are what messages say, with texts as bytes that need not last.
type summary struct {
	id, key, site, respondent []byte
	start                     int64
	result                    surveyv1.ResultCode
	introduced, group         bool
}

type met struct {
	person, interview, key, site []byte
	time                         int64
	role                         surveyv1.PersonRole
	presence                     surveyv1.PresenceRole
	interviewed                  *bool
}

type toldReferral struct {
	id, interview, from, site, to, coupon []byte
	made                                  int64
	mode                                  surveyv1.ReferralMode
	relation                              surveyv1.ReferralRelation
	main                                  bool
	byRecruit                             *bool
}

type reached struct {
	person, interview, site []byte
	coupons                 [][]byte
	mode                    surveyv1.RecruitmentMode
	seed                    *bool
	size                    *int32
}

// addSummary takes in a summary.
func (g *gathering) addSummary(s *summary) {
	i := g.interview(s.id)
	g.nameKey(i, s.key)
	iv := &g.interviews[i]
	if site := g.addSite(s.site, ""); site != none {
		iv.site = g.firstSite(iv.site, site)
	}
	if iv.marks&isSummarised != 0 {
		iv.marks |= isSummedTwice
	}
	iv.marks |= isSummarised
	iv.start = min(iv.start, s.start)
	if held(s.result) {
		iv.marks |= isHeld
	}
	if s.introduced {
		iv.marks |= isIntroduced
	}
	if s.group {
		iv.marks |= isGroup
	}
	if len(s.respondent) == 0 {
		g.unnamed = append(g.unnamed, i)
		return
	}
	raw := g.person(s.respondent)
	if iv.respondent == none || iv.marks&isToldByRole != 0 {
		iv.respondent, iv.marks = raw, iv.marks&^isToldByRole
	} else if g.people.compare(raw, iv.respondent) < 0 {
		iv.respondent = raw
	}
	g.appear(appearance{raw: raw, interview: i, site: siteOfInterview, marks: isRespondent})
}

// addPerson takes in a person in an interview, and returns who it is.
func (g *gathering) addPerson(p *met) int32 {
	i := g.interview(p.interview)
	g.nameKey(i, p.key)
	iv := &g.interviews[i]
	iv.start = min(iv.start, p.time)
	site := g.addSite(p.site, "")
	if len(p.person) == 0 {
		return none
	}
	raw := g.person(p.person)
	a := appearance{raw: raw, interview: i, site: site, role: small(int32(p.role))}
	switch p.presence {
	case surveyv1.PresenceRole_PRESENCE_ROLE_RESPONDENT:
		a.marks = isRespondent
		if iv.respondent == none {
			iv.respondent, iv.marks = raw, iv.marks|isToldByRole
		} else if iv.marks&isToldByRole != 0 && g.people.compare(raw, iv.respondent) < 0 {
			iv.respondent = raw
		}
	case surveyv1.PresenceRole_PRESENCE_ROLE_CO_RESPONDENT:
		a.marks = isRespondent
	}
	if p.interviewed != nil {
		a.told = 1
		if *p.interviewed {
			a.told = 2
		}
	}
	if len(p.interview) == 0 {
		a.interview = g.apart(p.time, p.key)
	} else if n := len(g.appearances) - 1; a.marks != 0 && n >= 0 && g.appearances[n].saysLess(&a) && site == iv.site {
		a.marks |= isSummed
		g.appearances = g.appearances[:n]
	}
	g.appear(a)
	return raw
}

// saysLess says that an appearance is that of a summary, to which the other, of the same person, adds.
func (a *appearance) saysLess(other *appearance) bool {
	return a.raw == other.raw && a.interview == other.interview && a.site == siteOfInterview
}

// apart is the number of an interview of its own for an appearance that names none.
func (g *gathering) apart(start int64, key []byte) int32 {
	i := g.meetings.append(nil)
	g.interviews = append(g.interviews, interview{start: start, key: none, site: none, respondent: none, marks: isApart})
	g.nameKey(i, key)
	return i
}

func (g *gathering) appear(a appearance) {
	g.raw[a.raw] |= isKnown
	if a.marks&isRespondent != 0 || a.told == 2 {
		g.raw[a.raw] |= isListed
	}
	g.appearances = append(g.appearances, a)
}

// addRecruitment takes in how a respondent was reached.
func (g *gathering) addRecruitment(r *reached) {
	i := g.interview(r.interview)
	e := entry{raw: none, interview: i, site: none, mode: small(int32(r.mode))}
	if len(r.site) > 0 {
		e.site = g.site(r.site)
	}
	if len(r.person) > 0 {
		e.raw = g.person(r.person)
	}
	if r.size != nil {
		e.size, e.sized = *r.size, true
	}
	e.seed = r.seed != nil && *r.seed || r.seed == nil && r.mode == surveyv1.RecruitmentMode_RECRUITMENT_MODE_SEED
	g.entries = append(g.entries, e)
	for _, c := range r.coupons {
		if code := g.code(c); code != none {
			if e.raw != none {
				g.given = append(g.given, issue{code, e.raw})
			} else {
				g.open = append(g.open, issue{code, i})
			}
		}
	}
}

// addReferral takes in a told referral, whose ends are found when all interviews are known.
func (g *gathering) addReferral(r *toldReferral) {
	t := telling{
		made: r.made, ends: [2]int32{none, none}, site: none, code: g.code(r.coupon), interview: none, mode: small(int32(r.mode)),
		relation: int8(min(max(r.relation, math.MinInt8), math.MaxInt8)),
	}
	g.referrals.append(r.id)
	if len(r.interview) > 0 {
		t.interview = g.interview(r.interview)
	}
	if len(r.from) > 0 {
		t.ends[0] = g.person(r.from)
	} else if len(r.site) > 0 {
		t.site = g.site(r.site)
	}
	if len(r.to) > 0 {
		t.ends[1] = g.person(r.to)
	}
	if r.main {
		t.marks |= isMain
	}
	if r.byRecruit != nil {
		t.marks |= isSided
		if *r.byRecruit {
			t.marks |= isOwn
		}
	}
	g.tellings = append(g.tellings, t)
}

// interview is the number of an interview.
func (g *gathering) interview(id []byte) int32 {
	i := g.meetings.number(id)
	if int(i) == len(g.interviews) {
		g.interviews = append(g.interviews, interview{start: never, key: none, site: none, respondent: none})
	}
	return i
}

// nameKey keeps the smaller of the keys of an interview, so that no order of records can matter.
func (g *gathering) nameKey(i int32, key []byte) {
	iv := &g.interviews[i]
	if len(key) == 0 {
		return
	}
	if iv.key != none {
		var b [64]byte
		if strings.Compare(string(key), string(g.keys.put(b[:0], iv.key))) >= 0 {
			return
		}
	}
	iv.key = g.keys.append(key)
}

func (g *gathering) person(id []byte) int32 {
	i := g.people.number(id)
	if int(i) == len(g.raw) {
		g.raw = append(g.raw, 0)
	}
	return i
}

// addSite notes that a site is known.
func (g *gathering) addSite(id []byte, kind string) int32 {
	if len(id) == 0 {
		return none
	}
	i := g.site(id)
	g.siteKnown[i], g.siteKind[i] = true, firstWord(g.siteKind[i], kind)
	return i
}

func (g *gathering) site(id []byte) int32 {
	i := g.sites.number(id)
	if int(i) == len(g.siteKnown) {
		g.siteKnown, g.siteKind = append(g.siteKnown, false), append(g.siteKind, "")
	}
	return i
}

// firstSite is the smaller of two sites by their texts.
func (g *gathering) firstSite(x, y int32) int32 {
	if x == none || y != none && g.sites.compare(y, x) < 0 {
		return y
	}
	return x
}

// code is the number of a coupon code, none for no code.
func (g *gathering) code(s []byte) int32 {
	if len(s) == 0 {
		return none
	}
	if i, ok := g.codes.find(s); ok { // written as all codes are kept
		return i
	}
	c := couponCode(string(s))
	if c == "" {
		return none
	}
	g.scratch = append(g.scratch[:0], c...)
	return g.codes.number(g.scratch)
}

// small keeps the number of an enum value in two bytes; there are no larger ones.
func small(n int32) int16 { return int16(min(max(n, math.MinInt16), math.MaxInt16)) }

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
func (g *gathering) byTime(a, b appearance) int {
	x, y := &g.interviews[a.interview], &g.interviews[b.interview]
	if c := cmp.Or(cmp.Compare(x.start, y.start), g.meetings.compare(a.interview, b.interview), cmp.Compare(b.told, a.told)); c != 0 {
		return c
	}
	return cmp.Or(g.keys.compare(x.key, y.key), cmp.Compare(a.role, b.role), g.sites.compare(g.siteOf(&a), g.siteOf(&b)))
}

// siteOf is the site of an appearance.
func (g *gathering) siteOf(a *appearance) int32 {
	if a.site == siteOfInterview {
		return g.interviews[a.interview].site
	}
	return a.site
}

// sameMeeting says that two appearances are in one interview at one time.
func (g *gathering) sameMeeting(a, b *appearance) bool {
	return a.interview == b.interview || g.interviews[a.interview].start == g.interviews[b.interview].start &&
		g.meetings.compare(a.interview, b.interview) == 0
}

// byEntry orders the entries of one person, the earliest first.
func (g *gathering) byEntry(a, b entry) int {
	if c := cmp.Or(cmp.Compare(g.interviews[a.interview].start, g.interviews[b.interview].start), g.meetings.compare(a.interview, b.interview),
		compareBool(b.seed, a.seed), cmp.Compare(b.mode, a.mode), compareBool(b.sized, a.sized), cmp.Compare(a.size, b.size)); c != 0 {
		return c
	}
	return g.sites.compare(a.site, b.site)
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
