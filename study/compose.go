package study

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// enum is any enum of the schema.
type enum interface{ ~int32 }

func of[T enum](v T) *T { return &v }

func answer(yes bool) *surveyv1.YesNo {
	if yes {
		return of(surveyv1.YesNo_YES_NO_YES)
	}
	return of(surveyv1.YesNo_YES_NO_NO)
}

func number(n int) *int32 { return proto.Int32(int32(n)) }

func money(n int) *surveyv1.Money { return &surveyv1.Money{Yuan: proto.Int64(int64(n))} }

// reason says why the question of that number has no answer.
func reason(question uint32, why formv1.Missing) map[uint32]formv1.Missing {
	return map[uint32]formv1.Missing{question: why}
}

const (
	dontKnow = formv1.Missing_MISSING_DONT_KNOW
	refused  = formv1.Missing_MISSING_REFUSED
)

// What an id is of.
const (
	idPerson = 1 + iota
	idHousehold
	idInterview
	idReferral
	idIncome
)

// newID makes a version 4 UUID from the seed and what it is of; meeting is 0 for the first interview of a household.
func newID(seed uint64, kind, meeting, i, slot int) string {
	a := mix(seed ^ mix(uint64(kind)<<56^uint64(meeting)<<48^uint64(i)<<8^uint64(slot)))
	b := mix(a ^ 0x2545f4914f6cdd1d)
	var u [16]byte
	binary.BigEndian.PutUint64(u[:8], a)
	binary.BigEndian.PutUint64(u[8:], b)
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	const digits = "0123456789abcdef"
	var out [36]byte
	for i, at := range [16]int{0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34} {
		out[at], out[at+1] = digits[u[i]>>4], digits[u[i]&15]
	}
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return string(out[:])
}

// mix is the finisher of SplitMix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// encounter is where and when a draft is asked, and under which ids.
type encounter struct {
	meeting, id int // the two numbers that make the ids
	tablet      int
	start       time.Time
	minutes     int
	slots       [maxMembers]int
	recruitment *surveyv1.Recruitment
	key         string
	r           *rand.Rand
}

// compose makes the interview of a draft.
func (s *simulation) compose(h *draft, e *encounter) *surveyv1.Interview {
	household := s.composeHousehold(h, e)
	m := household.Members[h.respondent]
	mode := surveyv1.SampleKind_SAMPLE_KIND_SNOWBALL
	switch e.recruitment.GetMode() {
	case surveyv1.RecruitmentMode_RECRUITMENT_MODE_RANDOM_AT_SITE:
		mode = surveyv1.SampleKind_SAMPLE_KIND_SITE_DRAW
	case surveyv1.RecruitmentMode_RECRUITMENT_MODE_CONVENIENCE:
		mode = surveyv1.SampleKind_SAMPLE_KIND_CONVENIENCE
	}
	household.Cover.Sample = &surveyv1.SampleOrigin{Kind: of(mode)}
	if mode == surveyv1.SampleKind_SAMPLE_KIND_SNOWBALL {
		household.Cover.IsSeed = answer(e.recruitment.GetSeed())
	}
	iv := &surveyv1.Interview{
		InterviewId: proto.String(newID(s.Seed, idInterview, e.meeting, e.id, 0)), InterviewKey: proto.String(e.key),
		Study: proto.String(s.Study), Round: proto.Uint32(1), QuestionnaireVersion: proto.Uint32(2),
		Enumerator: proto.String(enumeratorCode(e.tablet)), Status: of(surveyv1.InterviewStatus_INTERVIEW_STATUS_COMPLETED),
		Kind: of(surveyv1.InterviewKind_INTERVIEW_KIND_INDIVIDUAL), Mode: of(surveyv1.InterviewMode_INTERVIEW_MODE_IN_PERSON),
		Language: of(surveyv1.InterviewLanguage_INTERVIEW_LANGUAGE_SOUTHWESTERN),
		// A member's answers stand in the roster once; here only who it was.
		Respondent:  &surveyv1.Person{PersonId: m.PersonId, Role: of(surveyv1.PersonRole_PERSON_ROLE_HOUSEHOLD_MEMBER)},
		Proxy:       answer(false),
		Consent:     &surveyv1.Consent{TextVersion: proto.String("1"), Method: of(surveyv1.ConsentMethod_CONSENT_METHOD_ORAL)},
		Recruitment: e.recruitment, SiteId: proto.String(siteID(h.site)),
		Place: &surveyv1.Place{DivisionCode: proto.String(h.district), Settlement: of(surveyv1.Settlement_SETTLEMENT_CITY)},
		Visits: []*surveyv1.Visit{{
			VisitTime: timestamppb.New(e.start), Result: of(surveyv1.ResultCode_RESULT_CODE_COMPLETE),
		}},
		StartTime: timestamppb.New(e.start), EndTime: timestamppb.New(e.start.Add(time.Duration(e.minutes) * time.Minute)),
		Result: of(surveyv1.ResultCode_RESULT_CODE_COMPLETE), Illustrative: proto.Bool(true),
		Answers: &surveyv1.Interview_Household{Household: household},
	}
	if len(e.recruitment.GetReferrals()) > 0 {
		iv.IntroducerPresent = answer(e.recruitment.Referrals[0].GetMode() == surveyv1.ReferralMode_REFERRAL_MODE_ACCOMPANIED)
	}
	return iv
}

func (s *simulation) composeHousehold(h *draft, e *encounter) *surveyv1.Household {
	out := &surveyv1.Household{HouseholdId: proto.String(newID(s.Seed, idHousehold, e.meeting, e.id, 0))}
	here, student := 0, false
	for k := range h.n {
		out.Members = append(out.Members, s.composeMember(h, k, e))
		if h.people[k].away == "" {
			here++
		}
		student = student || h.people[k].age >= 3 && h.people[k].age <= 18
	}
	out.Cover = &surveyv1.HouseholdCover{
		SurveyPlace:   coded(h.district, surveyv1.Settlement_SETTLEMENT_CITY),
		InterviewDate: &surveyv1.PartialDate{Year: number(e.start.Year()), Month: number(int(e.start.Month())), Day: number(e.start.Day())},
		Access:        of(surveyv1.DwellingAccess_DWELLING_ACCESS_ALONE), UsualResidents: number(here), HouseholdSize: number(h.n),
		MembersElsewhere: number(h.n - here), RespondentLine: number(h.respondent + 1),
	}
	out.Housing = composeHousing(h, here)
	out.Income = s.composeIncome(h, e)
	out.Land = &surveyv1.LandHolding{HoldsLand: answer(h.farming || e.r.IntN(3) > 0), LostLand: answer(false)}
	out.Finances = &surveyv1.Finances{SentRemittances: answer(false), ReceivedRemittances: answer(false), HasDebts: answer(false)}
	if x := e.r.IntN(20); x < 3 {
		out.Finances.Missing = reason(6, refused)
	} else {
		out.Finances.HasSavings = answer(x < 12)
	}
	if h.split {
		out.Finances.SentRemittances, out.Finances.RemittancesOut = answer(true), money(1000*(1+e.r.IntN(9)))
	}
	out.SafetyNet = &surveyv1.SafetyNet{MinimumLivingAllowance: answer(false), AssistanceOffered: answer(false), WentWithoutCare: answer(e.r.IntN(20) == 0)}
	first := surveyv1.DecisionFactor_DECISION_FACTOR_WORK
	if student {
		first = surveyv1.DecisionFactor_DECISION_FACTOR_CHILDRENS_SCHOOLING
	}
	out.Settlement = &surveyv1.SettlementIntentions{Intention: of(h.stay), MostImportant: of(first)}
	for _, m := range out.Members {
		if l := m.GetHukouLocation(); l != 1 && l != 2 {
			out.Settlement.WantsLocalHukou = answer(h.stay == surveyv1.StayIntention_STAY_INTENTION_FOR_GOOD)
		}
	}
	return out
}

func composeHousing(h *draft, here int) *surveyv1.Housing {
	x := &surveyv1.Housing{
		Tenure: of(surveyv1.HousingTenure_HOUSING_TENURE_RENTS), Kind: of(surveyv1.DwellingKind_DWELLING_KIND_URBAN_VILLAGE_ROOM),
		AreaM2: proto.Float64(float64(h.area)), Rooms: number(1 + h.area/25), Persons: number(here), OwnsOtherHomeInSurveyCity: answer(h.ownsOther),
		OwnsHomeElsewhere: answer(h.area%3 > 0), PrivateBathroom: answer(h.area > 25),
	}
	if h.owns && !h.ownsOther {
		x.Tenure, x.Kind = of(surveyv1.HousingTenure_HOUSING_TENURE_OWNS_IN_SURVEY_CITY), of(surveyv1.DwellingKind_DWELLING_KIND_COMMERCIAL_FLAT)
		return x
	}
	x.MonthlyRent = money(h.rent)
	return x
}

func (s *simulation) composeIncome(h *draft, e *encounter) *surveyv1.Income {
	x := &surveyv1.Income{Year: number(e.start.Year() - 1), Total: money(h.income), AgriculturalProduction: answer(h.farming)}
	kind := surveyv1.IncomeKind_INCOME_KIND_WAGES
	for k := range h.n {
		if h.people[k].job.kind == selfMade {
			kind = surveyv1.IncomeKind_INCOME_KIND_BUSINESS
		}
	}
	x.Sources = []*surveyv1.IncomeItem{{IncomeId: proto.String(newID(s.Seed, idIncome, e.meeting, e.id, 0)), Kind: of(kind), Amount: money(h.income)}}
	return x
}

func (s *simulation) composeMember(h *draft, k int, e *encounter) *surveyv1.HouseholdMember {
	p := &h.people[k]
	x := &surveyv1.HouseholdMember{
		PersonId: proto.String(newID(s.Seed, idPerson, e.meeting, e.id, e.slots[k])), LineNumber: number(k + 1),
		Identity: p.identity(), Sex: of(surveyv1.Sex_SEX_MALE), Age: number(p.age), RelationToHead: of(p.relation), HukouType: of(surveyv1.HukouType_HUKOU_TYPE_NON_AGRICULTURAL),
		HukouPlace: coded(p.hukou, surveyv1.Settlement_SETTLEMENT_CITY), HukouLocation: of(location(p.hukou, h.district)),
		LivesInSurveyCitySixMonths: answer(p.away == ""), LivesWithRespondent: answer(p.away == ""), BornHere: answer(p.bornHere),
	}
	if p.female {
		x.Sex = of(surveyv1.Sex_SEX_FEMALE)
	}
	if p.agricultural {
		x.HukouType, x.HukouPlace.Settlement = of(surveyv1.HukouType_HUKOU_TYPE_AGRICULTURAL), of(surveyv1.Settlement_SETTLEMENT_VILLAGE)
	}
	x.BirthDate = p.birthDate()
	if x.BirthDate == nil {
		x.Missing = reason(5, dontKnow)
	}
	if p.away != "" {
		x.LivesAt, x.AbsenceReason = coded(p.away, surveyv1.Settlement_SETTLEMENT_TOWN), of(p.absence)
	} else if !p.bornHere {
		x.ArrivalInCity = &surveyv1.PartialDate{Year: number(p.arrived)}
	}
	if p.mother > 0 {
		x.MotherLine = number(int(p.mother))
	}
	if p.father > 0 {
		x.FatherLine = number(int(p.father))
	}
	if p.age >= 15 {
		x.MaritalStatus = of(p.married)
		if p.spouse > 0 && p.married == surveyv1.MaritalStatus_MARITAL_STATUS_MARRIED {
			x.SpouseLine = number(int(p.spouse))
		}
	}
	if p.age >= 6 {
		x.Education = of(surveyv1.EducationLevel(max(1, p.education)))
	}
	if p.age >= 3 && p.age <= 30 {
		x.AttendsSchool = answer(p.student || p.age < 16)
	}
	if p.age >= 16 {
		x.Work = p.work()
	}
	x.Insurance = p.insurance()
	if p.age >= 3 && p.age <= 18 {
		x.Schooling = p.schooling(e.r)
	}
	return x
}

// location is how far from the place of the interview a hukou is registered.
func location(hukou, here string) surveyv1.HukouLocation {
	switch {
	case hukou == here:
		return surveyv1.HukouLocation_HUKOU_LOCATION_SAME_DISTRICT
	case hukou[:4] == here[:4]:
		return surveyv1.HukouLocation_HUKOU_LOCATION_SAME_CITY
	case hukou[:2] == here[:2]:
		return surveyv1.HukouLocation_HUKOU_LOCATION_SAME_PROVINCE
	}
	return surveyv1.HukouLocation_HUKOU_LOCATION_OTHER_PROVINCE
}

func (p *human) identity() *surveyv1.Identity {
	x := &surveyv1.Identity{FullName: proto.String(p.family + p.given)}
	if p.phone != "" {
		x.Phone = proto.String(p.phone)
	}
	switch p.idForm {
	case 1:
		x.ResidentId = proto.String(p.id[14:])
	case 2:
		x.ResidentId = proto.String(p.id)
	}
	return x
}

func (p *human) birthDate() *surveyv1.PartialDate {
	if p.dated == 3 {
		return nil
	}
	d := &surveyv1.PartialDate{Year: number(p.year)}
	if p.dated < 2 {
		d.Month = number(p.month)
	}
	if p.dated == 0 {
		d.Day = number(p.day)
		if p.lunar {
			d.Calendar = of(surveyv1.Calendar_CALENDAR_LUNAR)
		}
	}
	return d
}

func (p *human) work() *surveyv1.Work {
	if p.job.kind == doesNot {
		why := surveyv1.NotWorkingReason_NOT_WORKING_REASON_HOME
		switch {
		case p.student:
			why = surveyv1.NotWorkingReason_NOT_WORKING_REASON_STUDENT
		case p.age > workingAge:
			why = surveyv1.NotWorkingReason_NOT_WORKING_REASON_RETIRED
		}
		return &surveyv1.Work{Works: answer(false), NotWorkingReason: of(why)}
	}
	w := &surveyv1.Work{
		Works: answer(true), EmployerKind: of(p.job.kind), Occupation: of(p.job.occupation), Industry: of(p.job.industry), HoursPerWeek: number(p.job.hours),
	}
	if employs(p.job.kind) {
		w.WrittenContract, w.TemporaryJob = answer(p.job.contract), answer(p.job.temporary)
	}
	return w
}

func (p *human) insurance() *surveyv1.SocialInsurance {
	x := &surveyv1.SocialInsurance{PensionScheme: of(p.pension), HealthScheme: of(p.health)}
	if p.pension != surveyv1.PensionScheme_PENSION_SCHEME_NONE {
		x.PensionPlace = enrolled(p.pensionHere)
	}
	if p.health != surveyv1.HealthScheme_HEALTH_SCHEME_NONE {
		x.HealthPlace = enrolled(p.healthHere)
	}
	if p.age >= 16 {
		x.UnemploymentInsurance, x.WorkInjuryInsurance = answer(p.insured[0]), answer(p.insured[1])
		x.MaternityInsurance, x.HousingProvidentFund = answer(p.insured[2]), answer(p.insured[3])
	}
	return x
}

func enrolled(here bool) *surveyv1.EnrolmentPlace {
	if here {
		return of(surveyv1.EnrolmentPlace_ENROLMENT_PLACE_SURVEY_CITY)
	}
	return of(surveyv1.EnrolmentPlace_ENROLMENT_PLACE_HUKOU_PLACE)
}

func (p *human) schooling(r *rand.Rand) *surveyv1.ChildSchooling {
	attends := p.student || p.age < 16
	x := &surveyv1.ChildSchooling{
		Attends: answer(attends), Caregiver: of(surveyv1.Caregiver_CAREGIVER_BOTH_PARENTS), BirthCertificate: answer(r.IntN(12) > 0),
		TriedPublicSchool: answer(r.IntN(3) > 0),
	}
	if p.away != "" {
		x.Caregiver = of(surveyv1.Caregiver_CAREGIVER_PATERNAL_GRANDPARENTS)
	}
	if !attends {
		x.NotAttendingReason = of(surveyv1.NotAttendingReason_NOT_ATTENDING_REASON_FINISHED)
		return x
	}
	x.SchoolKind = of(surveyv1.ChildSchoolKind_CHILD_SCHOOL_KIND_PUBLIC)
	if r.IntN(3) == 0 {
		x.SchoolKind = of(surveyv1.ChildSchoolKind_CHILD_SCHOOL_KIND_PRIVATE_LICENSED)
	}
	x.Grade = of(surveyv1.ChildGrade(min(max(p.age-6, 1), 12)))
	if p.age < 7 {
		x.Grade, x.SchoolKind = of(surveyv1.ChildGrade_CHILD_GRADE_KINDERGARTEN), of(surveyv1.ChildSchoolKind_CHILD_SCHOOL_KIND_KINDERGARTEN_PRIVATE)
	}
	return x
}
