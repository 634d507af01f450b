package referral

import (
	"slices"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// Intake takes in facts piece by piece, and keeps what the graph needs of them in numbers: a million people take some
// two hundred and fifty megabytes. It is used by one goroutine.
type Intake struct {
	g       *gathering
	coupons []*servicev1.CouponEvent
	text    [6][]byte // of messages, for a moment
	given   [][]byte
	asked   []*asked
	person  person
}

// NewIntake makes room for about so many interviews. The variables named are asked of everybody, as Answers does.
func NewIntake(interviews int, names ...string) (*Intake, error) {
	in := &Intake{g: newGathering(interviews)}
	for _, name := range names {
		read, err := variable(name)
		if err != nil {
			return nil, err
		}
		in.asked = append(in.asked, &asked{name: name, read: read, levels: map[string]int32{}, said: make([]saying, 0, interviews)})
	}
	return in, nil
}

// Add takes in facts, but not Merged. Coupon events are kept and must not change.
func (in *Intake) Add(f Facts) {
	for _, s := range f.Sites {
		in.g.addSite([]byte(s.GetSiteId()), lowerName(s.GetKind().String(), "SITE_KIND_"))
	}
	for _, s := range f.Interviews {
		if s != nil {
			in.addSummary(s)
		}
	}
	for _, p := range f.People {
		if p != nil {
			in.addPerson(p)
		}
	}
	for _, r := range f.Recruitments {
		if r != nil {
			in.addRecruitment(r)
		}
	}
	for _, r := range f.Referrals {
		if r != nil {
			in.addReferral(r)
		}
	}
	in.coupons = append(in.coupons, f.Coupons...)
}

// bytes keeps a text for the moment in which it is taken in.
func (in *Intake) bytes(i int, s string) []byte {
	in.text[i] = append(in.text[i][:0], s...)
	return in.text[i]
}

func (in *Intake) addSummary(s *servicev1.InterviewSummary) {
	in.g.addSummary(&summary{
		id: in.bytes(0, s.GetInterviewId()), key: in.bytes(1, s.GetInterviewKey()), site: in.bytes(2, s.GetSiteId()),
		respondent: in.bytes(3, s.GetRespondentId()), start: instant(s.StartTimeMs), result: s.GetResult(),
		introduced: s.GetIntroducerPresent() == surveyv1.YesNo_YES_NO_YES, group: s.GetKind() == surveyv1.InterviewKind_INTERVIEW_KIND_GROUP,
	})
}

func (in *Intake) addPerson(p *servicev1.PersonRecord) {
	raw := in.g.addPerson(&met{
		person: in.bytes(0, p.GetPersonId()), interview: in.bytes(1, p.GetInterviewId()), key: in.bytes(2, p.GetInterviewKey()),
		site: in.bytes(3, p.GetSiteId()), time: instant(p.InterviewTimeMs), role: p.GetRole(), presence: p.GetPresence(), interviewed: p.Interviewed,
	})
	for _, a := range in.asked {
		a.hear(raw, p)
	}
}

func (in *Intake) addRecruitment(r *servicev1.RecruitmentRecord) {
	m := &reached{
		person: in.bytes(0, r.GetPersonId()), interview: in.bytes(1, r.GetInterviewId()), site: in.bytes(2, r.GetSiteId()),
		mode: r.GetMode(), seed: r.Seed, size: r.NetworkSize,
	}
	for _, c := range r.GetCouponsGiven() {
		m.coupons = append(m.coupons, []byte(c))
	}
	in.g.addRecruitment(m)
}

func (in *Intake) addReferral(r *servicev1.ReferralRecord) {
	in.g.addReferral(&toldReferral{
		id: in.bytes(0, r.GetReferralId()), interview: in.bytes(1, r.GetInterviewId()), from: in.bytes(2, r.GetFromPersonId()),
		site: in.bytes(3, r.GetFromSiteId()), to: in.bytes(4, r.GetToPersonId()), coupon: in.bytes(5, r.GetCouponCode()),
		made: instant(r.MadeTimeMs), mode: r.GetMode(), relation: r.GetRelation(), main: r.GetMain(), byRecruit: r.ToldByRecruit,
	})
}

// Prepare puts what was taken in in order. The intake is used up.
func (in *Intake) Prepare() *Prepared {
	g := in.g
	g.settle()
	p := &Prepared{gathering: g, asked: in.asked}
	fresh := p.sortPeople()
	for _, a := range p.asked {
		a.settle(fresh)
	}
	p.sortTellings()
	p.readCoupons(in.coupons)
	p.introduced, p.groups = g.countInterviews()
	p.codes.index, p.meetings.index = nil, nil // nobody looks them up any more
	in.g, in.coupons, in.asked = nil, nil, nil
	return p
}

// settle finds what hangs on interviews that were not all known before: who their respondents are.
func (g *gathering) settle() {
	nameless, some := g.meetings.find(nil)
	for i := range g.interviews {
		if iv := &g.interviews[i]; some && iv.marks&isApart != 0 {
			iv.marks |= g.interviews[nameless].marks & (isHeld | isSummarised)
		}
	}
	for _, a := range g.appearances {
		if a.marks&isSummed != 0 && g.interviews[a.interview].marks&isSummedTwice != 0 {
			g.appear(appearance{raw: a.raw, interview: a.interview, site: siteOfInterview, marks: isRespondent})
		}
	}
	for _, i := range g.unnamed {
		if who := g.interviews[i].respondent; who != none {
			g.appear(appearance{raw: who, interview: i, site: siteOfInterview, marks: isRespondent})
		}
	}
	for i := range g.entries {
		e := &g.entries[i]
		if e.raw == none {
			e.raw = g.interviews[e.interview].respondent
		}
		if e.raw != none {
			g.raw[e.raw] |= isKnown | isListed
		}
	}
	g.entries = slices.DeleteFunc(g.entries, func(e entry) bool { return e.raw == none })
	for _, x := range g.open {
		if who := g.interviews[x.raw].respondent; who != none {
			g.given = append(g.given, issue{x.code, who})
		}
	}
	for i := range g.tellings {
		g.findEnds(&g.tellings[i])
	}
	g.unnamed, g.open = nil, nil
}

// findEnds finds who is meant: where a side is left out, it is the respondent of the interview that tells it.
func (g *gathering) findEnds(t *telling) {
	respondent := none
	if t.interview != none {
		respondent = g.interviews[t.interview].respondent
	}
	from, to := t.ends[0], t.ends[1]
	own := t.marks&isOwn != 0
	if t.marks&isSided == 0 {
		own = from == none || from != respondent
	}
	if respondent != none { // the interview knows better whose it is than a mark that contradicts it
		own = own && from != respondent || to == respondent
	}
	if to == none && own {
		to = respondent
	}
	if from == none && t.site == none && !own {
		from = respondent
	}
	t.ends, t.marks = [2]int32{from, to}, t.marks&isMain
	if own {
		t.marks |= isOwn
	}
	for _, raw := range t.ends {
		if raw != none {
			g.raw[raw] |= isListed
		}
	}
}

// countInterviews counts those with an introducer present, and group interviews.
func (g *gathering) countInterviews() (introduced, groups int64) {
	for i := range g.interviews {
		if g.interviews[i].marks&isIntroduced != 0 {
			introduced++
		}
		if g.interviews[i].marks&isGroup != 0 {
			groups++
		}
	}
	return introduced, groups
}
