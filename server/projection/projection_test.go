package projection

import (
	"bytes"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"
)

const interviewID = "11111111-1111-4111-8111-111111111111"

// revise makes a revision of an interview, as the log holds it.
func revise(iv *surveyv1.Interview, parents ...Revision) Revision {
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(iv)
	if err != nil {
		panic(err)
	}
	r := &servicev1.Record{
		Id: bytes.Repeat([]byte{1}, 16), Kind: servicev1.RecordKind_RECORD_KIND_INTERVIEW.Enum(), Subject: proto.String(interviewID),
		Study: proto.String("guiyang"), Part: proto.Uint64(7), Author: proto.String("E9"), Device: bytes.Repeat([]byte{2}, 16),
		Questionnaire: proto.String("hearth.survey.v1.Household"), QuestionnaireVersion: proto.Uint32(1), Payload: payload,
	}
	for _, p := range parents {
		r.Parents = append(r.Parents, p.Digest[:])
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
	if err != nil {
		panic(err)
	}
	return Revision{Digest: syncer.DigestOf(raw), Record: r}
}

func project(t *testing.T, iv *surveyv1.Interview) *servicev1.InterviewProjection {
	t.Helper()
	p, err := Interview([]Revision{revise(iv)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func id(s string) *string { return proto.String(s) }

func named(name string) *surveyv1.Identity { return &surveyv1.Identity{FullName: proto.String(name)} }

func at(hour, minute int) *timestamppb.Timestamp {
	return timestamppb.New(time.Date(2016, 7, 3, hour, minute, 0, 0, time.UTC))
}

func TestDayAndDuration(t *testing.T) {
	five := int64(5 * 60)
	tests := []struct {
		name    string
		iv      *surveyv1.Interview
		day     string
		seconds *int64
	}{
		{"nothing told", &surveyv1.Interview{}, "", nil},
		{"late in UTC is the next day in China", &surveyv1.Interview{StartTime: at(17, 0), EndTime: at(17, 5)}, "2016-07-04", &five},
		{"pauses are taken out once", &surveyv1.Interview{StartTime: at(1, 0), EndTime: at(1, 20), Pauses: []*surveyv1.Pause{
			{StartTime: at(1, 10), EndTime: at(1, 15)}, {StartTime: at(1, 0), EndTime: at(1, 12)}, {StartTime: at(1, 14), EndTime: at(1, 15)},
		}}, "2016-07-03", &five},
		{"a pause beyond the end", &surveyv1.Interview{StartTime: at(1, 0), EndTime: at(1, 20), Pauses: []*surveyv1.Pause{{StartTime: at(1, 5), EndTime: at(9, 0)}}}, "2016-07-03", &five},
		{"a pause without end or backwards", &surveyv1.Interview{StartTime: at(1, 0), EndTime: at(1, 5), Pauses: []*surveyv1.Pause{{StartTime: at(1, 2)}, {StartTime: at(1, 4), EndTime: at(1, 1)}}}, "2016-07-03", &five},
		{"ends before it starts", &surveyv1.Interview{StartTime: at(2, 0), EndTime: at(1, 0)}, "2016-07-03", nil},
		{"impossible time", &surveyv1.Interview{StartTime: &timestamppb.Timestamp{Seconds: math.MaxInt64}}, "", nil},
		{"last visit", &surveyv1.Interview{Visits: []*surveyv1.Visit{{VisitTime: at(1, 0)}, {VisitTime: at(20, 0)}}}, "2016-07-04", nil},
		{"cover", &surveyv1.Interview{Answers: &surveyv1.Interview_Household{Household: &surveyv1.Household{Cover: &surveyv1.HouseholdCover{
			InterviewDate: &surveyv1.PartialDate{Year: proto.Int32(2016), Month: proto.Int32(7), Day: proto.Int32(9)}}}}}, "2016-07-09", nil},
		{"cover with a year only", &surveyv1.Interview{Answers: &surveyv1.Interview_Household{Household: &surveyv1.Household{Cover: &surveyv1.HouseholdCover{
			InterviewDate: &surveyv1.PartialDate{Year: proto.Int32(2016)}}}}}, "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := project(t, tt.iv).GetSummary()
			if s.GetDay() != tt.day {
				t.Errorf("day = %q, want %q", s.GetDay(), tt.day)
			}
			if diff := cmp.Diff(tt.seconds, s.DurationSeconds); diff != "" {
				t.Errorf("duration (-want +got):\n%s", diff)
			}
		})
	}
	utc, err := Builder{Zone: time.UTC}.Interview([]Revision{revise(&surveyv1.Interview{StartTime: at(17, 0)})})
	if err != nil || utc.GetSummary().GetDay() != "2016-07-03" {
		t.Errorf("day in UTC = %v, %v", utc.GetSummary().GetDay(), err)
	}
}

func TestSummary(t *testing.T) {
	got := project(t, &surveyv1.Interview{
		InterviewKey: proto.String("GY-19"), Round: proto.Uint32(2), SiteId: proto.String("school-c"), Illustrative: proto.Bool(true),
		Status: surveyv1.InterviewStatus_INTERVIEW_STATUS_COMPLETED.Enum(), IntroducerPresent: surveyv1.YesNo_YES_NO_YES.Enum(),
		Visits: []*surveyv1.Visit{{Result: surveyv1.ResultCode_RESULT_CODE_NO_ONE_HOME.Enum()}, {Result: surveyv1.ResultCode_RESULT_CODE_REFUSAL.Enum()}},
	})
	want := &servicev1.InterviewSummary{
		InterviewId: id(interviewID), InterviewKey: id("GY-19"), Study: id("guiyang"), Round: proto.Uint32(2), Part: proto.Uint64(7),
		Questionnaire: id("hearth.survey.v1.Household"), QuestionnaireVersion: proto.Uint32(1), Enumerator: id("E9"), SiteId: id("school-c"),
		Result: surveyv1.ResultCode_RESULT_CODE_REFUSAL.Enum(), ReviewState: servicev1.ReviewState_REVIEW_STATE_COMPLETED.Enum(),
		Device: bytes.Repeat([]byte{2}, 16), Revisions: proto.Uint32(1), IntroducerPresent: surveyv1.YesNo_YES_NO_YES.Enum(),
		SoftFlags: proto.Uint32(0), HardFlags: proto.Uint32(0), Illustrative: proto.Bool(true),
		Head: got.GetSummary().GetHead(), Heads: [][]byte{got.GetSummary().GetHead()},
	}
	if diff := cmp.Diff(want, got.GetSummary(), protocmp.Transform()); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
}

// A respondent and the line of the roster with the same person_id are one person, with what either tells.
func TestRespondentAndRosterLineAreOne(t *testing.T) {
	p := project(t, &surveyv1.Interview{
		Result:      surveyv1.ResultCode_RESULT_CODE_COMPLETE.Enum(),
		Respondent:  &surveyv1.Person{PersonId: id("p1"), Identity: named("罗秀英"), Role: surveyv1.PersonRole_PERSON_ROLE_PARENT.Enum()},
		Present:     []*surveyv1.Presence{{Person: &surveyv1.Person{PersonId: id("p2"), Identity: named("王老师")}, Role: surveyv1.PresenceRole_PRESENCE_ROLE_INTRODUCER.Enum()}},
		Recruitment: &surveyv1.Recruitment{Referrals: []*surveyv1.Referral{{ReferralId: id("r1"), FromPerson: &surveyv1.Person{PersonId: id("p2"), Sex: surveyv1.Sex_SEX_MALE.Enum()}}}},
		Answers: &surveyv1.Interview_Household{Household: &surveyv1.Household{HouseholdId: id("h1"), Members: []*surveyv1.HouseholdMember{
			{PersonId: id("p1"), LineNumber: proto.Int32(1), Identity: &surveyv1.Identity{FullName: id("罗秀瑛"), Phone: id("139")}, Age: proto.Int32(34), RelationToHead: surveyv1.RelationToHead_RELATION_TO_HEAD_HEAD.Enum()},
			{PersonId: id("p3"), LineNumber: proto.Int32(2), Identity: named("小宝")},
		}}},
	})
	base := func(r *servicev1.PersonRecord) *servicev1.PersonRecord {
		r.InterviewId, r.Study, r.Part, r.Enumerator, r.Questionnaire = id(interviewID), id("guiyang"), proto.Uint64(7), id("E9"), id("hearth.survey.v1.Household")
		return r
	}
	want := &servicev1.InterviewProjection{
		People: []*servicev1.PersonRecord{
			base(&servicev1.PersonRecord{PersonId: id("p1"), HouseholdId: id("h1"), LineNumber: proto.Int32(1), Role: surveyv1.PersonRole_PERSON_ROLE_PARENT.Enum(),
				Presence: surveyv1.PresenceRole_PRESENCE_ROLE_RESPONDENT.Enum(), Interviewed: proto.Bool(true), Age: proto.Int32(34), RelationToHead: proto.Int32(1),
				Identity: &surveyv1.Identity{FullName: id("罗秀英"), Phone: id("139"), OtherNames: []string{"罗秀瑛"}}}),
			base(&servicev1.PersonRecord{PersonId: id("p3"), HouseholdId: id("h1"), LineNumber: proto.Int32(2), Role: surveyv1.PersonRole_PERSON_ROLE_HOUSEHOLD_MEMBER.Enum(), Identity: named("小宝")}),
			base(&servicev1.PersonRecord{PersonId: id("p2"), Presence: surveyv1.PresenceRole_PRESENCE_ROLE_INTRODUCER.Enum(), Identity: named("王老师"), Sex: surveyv1.Sex_SEX_MALE.Enum()}),
		},
		Households: []*servicev1.HouseholdRecord{{HouseholdId: id("h1"), InterviewId: id(interviewID), Study: id("guiyang"), Part: proto.Uint64(7), Enumerator: id("E9"),
			HeadPersonId: id("p1"), MemberIds: []string{"p1", "p3"}}},
		Referrals: []*servicev1.ReferralRecord{{ReferralId: id("r1"), InterviewId: id(interviewID), Study: id("guiyang"), Part: proto.Uint64(7),
			FromPersonId: id("p2"), ToPersonId: id("p1"), ToldByRecruit: proto.Bool(true)}},
		Recruitment: &servicev1.RecruitmentRecord{InterviewId: id(interviewID), Study: id("guiyang"), Part: proto.Uint64(7), PersonId: id("p1")},
		Summary:     p.GetSummary(),
	}
	if diff := cmp.Diff(want, p, protocmp.Transform()); diff != "" {
		t.Errorf("projection (-want +got):\n%s", diff)
	}
	if p.GetSummary().GetRespondentId() != "p1" || p.GetSummary().GetHouseholdId() != "h1" {
		t.Errorf("summary = %v", p.GetSummary())
	}
}

func TestWhoIsTheRespondent(t *testing.T) {
	household := func(line int32) *surveyv1.Interview_Household {
		return &surveyv1.Interview_Household{Household: &surveyv1.Household{Cover: &surveyv1.HouseholdCover{RespondentLine: proto.Int32(line)},
			Members: []*surveyv1.HouseholdMember{{PersonId: id("m1"), LineNumber: proto.Int32(1)}, {PersonId: id("m2"), LineNumber: proto.Int32(2)}}}}
	}
	tests := []struct {
		name   string
		iv     *surveyv1.Interview
		want   string
		people int
		role   surveyv1.PersonRole
	}{
		{"told", &surveyv1.Interview{Respondent: &surveyv1.Person{PersonId: id("p")}}, "p", 1, 0},
		{"by line", &surveyv1.Interview{Answers: household(2)}, "m2", 2, 1},
		{"by line, with a name", &surveyv1.Interview{Respondent: &surveyv1.Person{Identity: named("甲")}, Answers: household(1)}, "m1", 2, 1},
		{"principal", &surveyv1.Interview{Answers: &surveyv1.Interview_School{School: &surveyv1.School{Principal: &surveyv1.PrincipalInterview{Person: &surveyv1.Person{PersonId: id("s1")}}}}},
			"s1", 1, surveyv1.PersonRole_PERSON_ROLE_PRINCIPAL},
		{"teacher without id", &surveyv1.Interview{Respondent: &surveyv1.Person{PersonId: id("p")}, Answers: &surveyv1.Interview_School{School: &surveyv1.School{Teacher: &surveyv1.TeacherInterview{Person: &surveyv1.Person{}}}}},
			"p", 1, surveyv1.PersonRole_PERSON_ROLE_TEACHER},
		{"contractor as expert", &surveyv1.Interview{Answers: &surveyv1.Interview_School{School: &surveyv1.School{Expert: &surveyv1.ExpertInterview{
			Capacity: surveyv1.ExpertCapacity_EXPERT_CAPACITY_LABOUR_CONTRACTOR.Enum(), Person: &surveyv1.Person{PersonId: id("x")}}}}},
			"x", 1, surveyv1.PersonRole_PERSON_ROLE_LABOUR_CONTRACTOR},
		{"own migration history", &surveyv1.Interview{Answers: &surveyv1.Interview_Migration{Migration: &surveyv1.Migration{PersonId: id("g")}}}, "g", 1, 0},
		{"history of a child", &surveyv1.Interview{Respondent: &surveyv1.Person{PersonId: id("p")}, Answers: &surveyv1.Interview_Migration{Migration: &surveyv1.Migration{
			PersonId: id("child"), Subject: surveyv1.MigrationSubject_MIGRATION_SUBJECT_CHILD.Enum()}}}, "p", 2, 0},
		{"nobody", &surveyv1.Interview{}, "", 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := project(t, tt.iv)
			if got := p.GetSummary().GetRespondentId(); got != tt.want || len(p.GetPeople()) != tt.people {
				t.Fatalf("respondent %q of %d people, want %q of %d", got, len(p.GetPeople()), tt.want, tt.people)
			}
			for _, r := range p.GetPeople() {
				if isRespondent := r.GetPersonId() == tt.want; isRespondent != (r.GetPresence() == surveyv1.PresenceRole_PRESENCE_ROLE_RESPONDENT) {
					t.Errorf("presence of %s = %v", r.GetPersonId(), r.GetPresence())
				} else if isRespondent && tt.role != 0 && r.GetRole() != tt.role {
					t.Errorf("role = %v, want %v", r.GetRole(), tt.role)
				}
			}
		})
	}
}

// What has no id gets the same one every time, and two lines with one id stay two people.
func TestDerivedIDs(t *testing.T) {
	iv := &surveyv1.Interview{
		Respondent: &surveyv1.Person{Identity: named("甲")},
		Recruitment: &surveyv1.Recruitment{
			Referrals:     []*surveyv1.Referral{{FromPerson: &surveyv1.Person{Identity: named("乙")}}, {FromSiteId: id("school-c")}, {CouponCode: id("A-17")}},
			ReferralsMade: []*surveyv1.Referral{{ToPerson: &surveyv1.Person{Identity: named("丙")}}},
		},
		Answers: &surveyv1.Interview_Household{Household: &surveyv1.Household{
			Cover:   &surveyv1.HouseholdCover{CouponCode: id("A-18"), IsSeed: surveyv1.YesNo_YES_NO_NO.Enum()},
			Members: []*surveyv1.HouseholdMember{{PersonId: id("m"), LineNumber: proto.Int32(1)}, {PersonId: id("m"), LineNumber: proto.Int32(2)}, {LineNumber: proto.Int32(3)}, {}},
		}},
	}
	a, b := project(t, iv), project(t, iv)
	if diff := cmp.Diff(a, b, protocmp.Transform()); diff != "" {
		t.Errorf("the second time differs:\n%s", diff)
	}
	seen := map[string]bool{}
	for _, p := range a.GetPeople() {
		if p.GetPersonId() == "" || seen[p.GetPersonId()] {
			t.Errorf("person id %q is empty or stands twice", p.GetPersonId())
		}
		seen[p.GetPersonId()] = true
	}
	if len(seen) != 7 {
		t.Errorf("%d people, want respondent, four lines, recruiter, recruit", len(seen))
	}
	if len(a.GetHouseholds()[0].GetMemberIds()) != 4 || a.GetHouseholds()[0].GetHouseholdId() == "" {
		t.Errorf("household = %v", a.GetHouseholds())
	}
	refs := a.GetReferrals()
	if len(refs) != 5 {
		t.Fatalf("%d referrals, want 5: %v", len(refs), refs)
	}
	for i, r := range refs {
		if r.GetReferralId() == "" || r.GetToldByRecruit() != (i < 4) {
			t.Errorf("referral %d = %v", i, r)
		}
	}
	if r := refs[4]; r.GetFromPersonId() != a.GetSummary().GetRespondentId() || r.GetToPersonId() == "" {
		t.Errorf("referral made = %v", r)
	}
	if refs[3].GetCouponCode() != "A-18" || a.GetRecruitment().Seed == nil || a.GetRecruitment().GetSeed() {
		t.Errorf("coupon of the cover = %v, seed = %v", refs[3], a.GetRecruitment())
	}
	var rules []string
	for _, f := range a.GetFlags() {
		rules = append(rules, f.GetRule())
		if f.GetMessage().GetEn() == "" || f.GetMessage().GetZh() == "" || f.GetInterviewId() != interviewID {
			t.Errorf("flag %v is not complete", f)
		}
	}
	if want := []string{"hearth/person_twice_in_roster", "hearth/respondent_not_in_roster"}; !slices.Equal(rules, want) {
		t.Errorf("flags = %v, want %v", rules, want)
	}
}

// Completed shows before in progress, a conflict is flagged, and what cannot be read is shown last.
func TestHeads(t *testing.T) {
	progress := revise(&surveyv1.Interview{InterviewKey: id("in progress")})
	done := revise(&surveyv1.Interview{InterviewKey: id("done"), Status: surveyv1.InterviewStatus_INTERVIEW_STATUS_COMPLETED.Enum()}, progress)
	branch := revise(&surveyv1.Interview{InterviewKey: id("branch")}, progress)
	deeper := revise(&surveyv1.Interview{InterviewKey: id("deeper")}, branch)
	broken := revise(&surveyv1.Interview{}, deeper)
	broken.Record = proto.CloneOf(broken.Record)
	broken.Record.Payload = []byte{0xff, 0xff}
	tests := []struct {
		name  string
		revs  []Revision
		key   string
		heads int
		rules []string
	}{
		{"one", []Revision{progress}, "in progress", 1, nil},
		{"replaced", []Revision{done, progress}, "done", 1, nil},
		{"twice the same", []Revision{done, done, progress}, "done", 1, nil},
		{"conflict", []Revision{deeper, branch, done, progress}, "done", 2, []string{"hearth/conflict"}},
		{"parent has not arrived", []Revision{deeper, done}, "done", 2, []string{"hearth/conflict"}},
		{"unreadable beside readable", []Revision{broken, deeper, branch, done, progress}, "done", 2, []string{"hearth/conflict"}},
		{"unreadable alone", []Revision{broken}, "", 1, []string{"hearth/unreadable"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := Interview(tt.revs, nil)
			if err != nil {
				t.Fatal(err)
			}
			var rules []string
			for _, f := range p.GetFlags() {
				rules = append(rules, f.GetRule())
			}
			s := p.GetSummary()
			if s.GetInterviewKey() != tt.key || len(s.GetHeads()) != tt.heads || !slices.Equal(rules, tt.rules) || s.GetHardFlags() != uint32(len(rules)) {
				t.Errorf("shows %q with %d heads and flags %v, want %q, %d, %v", s.GetInterviewKey(), len(s.GetHeads()), rules, tt.key, tt.heads, tt.rules)
			}
		})
	}
	if _, err := Interview(nil, nil); err == nil {
		t.Error("no revisions make a projection")
	}
	if _, err := Interview([]Revision{{}}, nil); err == nil {
		t.Error("a revision without record makes a projection")
	}
}

func TestEvaluate(t *testing.T) {
	flag := func(*surveyv1.Interview) []*servicev1.Flag {
		return []*servicev1.Flag{{Rule: id("a"), Severity: formv1.Severity_SEVERITY_SOFT.Enum()}, {Rule: id("b"), Severity: formv1.Severity_SEVERITY_HARD.Enum()}}
	}
	p, err := Interview([]Revision{revise(&surveyv1.Interview{InterviewKey: id("GY-1")})}, flag)
	if err != nil {
		t.Fatal(err)
	}
	if s := p.GetSummary(); s.GetSoftFlags() != 1 || s.GetHardFlags() != 1 || p.GetFlags()[0].GetPart() != 7 || p.GetFlags()[1].GetInterviewId() != interviewID {
		t.Errorf("flags = %v, summary %v", p.GetFlags(), s)
	}
}

// The same revisions in any order, some of them twice, give the same bytes.
func TestAnyOrderSameBytes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var revs []Revision
		for i := range rapid.IntRange(1, 8).Draw(rt, "revisions") {
			iv := drawInterview(rt)
			iv.Remarks = proto.String(string(rune('a' + i)))
			var parents []Revision
			for _, p := range revs {
				if rapid.Bool().Draw(rt, "parent") {
					parents = append(parents, p)
				}
			}
			r := revise(iv, parents...)
			if rapid.IntRange(0, 9).Draw(rt, "broken") == 0 {
				r.Record.Payload = []byte{0xff}
			}
			revs = append(revs, r)
		}
		write := func(revs []Revision) []byte {
			p, err := Interview(revs, nil)
			if err != nil {
				rt.Fatal(err)
			}
			raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(p)
			if err != nil {
				rt.Fatal(err)
			}
			return raw
		}
		want := write(revs)
		mixed := rapid.Permutation(revs).Draw(rt, "order")
		mixed = append(slices.Clone(mixed), mixed[0])
		if !bytes.Equal(write(mixed), want) {
			rt.Error("another order gives other bytes")
		}
		parsed := slices.Clone(revs)
		for i := range parsed {
			iv := &surveyv1.Interview{}
			if proto.Unmarshal(parsed[i].Record.GetPayload(), iv) == nil {
				parsed[i].Interview = iv
			}
		}
		if !bytes.Equal(write(parsed), want) {
			rt.Error("revisions parsed before give other bytes")
		}
	})
}

func drawInterview(rt *rapid.T) *surveyv1.Interview {
	person := func(label string) *surveyv1.Person {
		if rapid.Bool().Draw(rt, "no "+label) {
			return nil
		}
		p := &surveyv1.Person{Identity: named(rapid.SampledFrom([]string{"罗秀英", "罗秀瑛", "王"}).Draw(rt, "name"))}
		if rapid.Bool().Draw(rt, "id") {
			p.PersonId = id(rapid.SampledFrom([]string{"p1", "p2", "p3"}).Draw(rt, label))
		}
		return p
	}
	iv := &surveyv1.Interview{
		Respondent: person("respondent"),
		Status:     surveyv1.InterviewStatus(rapid.Int32Range(0, 3).Draw(rt, "status")).Enum(),
		Result:     surveyv1.ResultCode(rapid.Int32Range(0, 14).Draw(rt, "result")).Enum(),
		StartTime:  &timestamppb.Timestamp{Seconds: rapid.Int64().Draw(rt, "start")},
		EndTime:    &timestamppb.Timestamp{Seconds: rapid.Int64().Draw(rt, "end")},
		Present:    []*surveyv1.Presence{{Person: person("present"), Role: surveyv1.PresenceRole(rapid.Int32Range(0, 6).Draw(rt, "role")).Enum()}},
		Recruitment: &surveyv1.Recruitment{
			Referrals:     []*surveyv1.Referral{{FromPerson: person("recruiter")}},
			ReferralsMade: []*surveyv1.Referral{{ToPerson: person("recruit")}, {}},
		},
	}
	if rapid.Bool().Draw(rt, "household") {
		h := &surveyv1.Household{Cover: &surveyv1.HouseholdCover{RespondentLine: proto.Int32(1)}}
		for range rapid.IntRange(0, 4).Draw(rt, "members") {
			m := &surveyv1.HouseholdMember{LineNumber: proto.Int32(rapid.Int32Range(1, 3).Draw(rt, "line"))}
			if p := person("member"); p != nil {
				m.PersonId, m.Identity = p.PersonId, p.Identity
			}
			h.Members = append(h.Members, m)
		}
		iv.Answers = &surveyv1.Interview_Household{Household: h}
	}
	return iv
}

// Whatever bytes a payload holds, there is a projection and it can be written.
func FuzzPayload(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0xff})
	f.Add(revise(&surveyv1.Interview{Respondent: &surveyv1.Person{PersonId: id("p")}, StartTime: at(1, 2)}).Record.GetPayload())
	f.Fuzz(func(t *testing.T, payload []byte) {
		r := revise(&surveyv1.Interview{})
		r.Record.Payload = payload
		p, err := Interview([]Revision{r}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := proto.Marshal(p); err != nil {
			t.Fatal(err)
		}
	})
}
