package study

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// bundled reads all interviews by their key.
func bundled(t *testing.T) (all []*surveyv1.Interview, byKey map[string]*surveyv1.Interview) {
	t.Helper()
	tablets, err := Tablets()
	if err != nil {
		t.Fatal(err)
	}
	byKey = map[string]*surveyv1.Interview{}
	for _, tablet := range tablets {
		before := time.Time{}
		for iv, err := range tablet.Interviews() {
			if err != nil {
				t.Fatal(err)
			}
			if iv.GetEnumerator() != tablet.Enumerator {
				t.Errorf("%s is on %s but by %s", iv.GetInterviewKey(), tablet.Name, iv.GetEnumerator())
			}
			if start := iv.GetStartTime().AsTime(); start.Before(before) {
				t.Errorf("%s starts before the one above it on %s has ended", iv.GetInterviewKey(), tablet.Name)
			}
			before = iv.GetEndTime().AsTime()
			all, byKey[iv.GetInterviewKey()] = append(all, iv), iv
		}
	}
	if len(all) == 0 {
		t.Fatal("found no interviews")
	}
	return all, byKey
}

func TestNumbersOfTheFieldwork(t *testing.T) {
	all, byKey := bundled(t)
	ids, atSchools, households, kinds := map[string]bool{}, 0, map[string]bool{}, map[string]int{}
	places, contractors, leaders, officials := map[string]int{}, 0, 0, 0
	experts := map[string][]uint32{}
	for _, iv := range all {
		ids[iv.GetInterviewId()] = true
		if strings.HasPrefix(iv.GetSiteId(), "school-") {
			atSchools++
		}
		if h := iv.GetHousehold(); h != nil {
			households[h.GetHouseholdId()] = true
		}
		kinds[questionnaire.NameOf(iv)]++
		places[iv.GetInterviewKey()[:2]]++
		if iv.GetRespondent().GetRole() == surveyv1.PersonRole_PERSON_ROLE_EXPERT {
			id := iv.GetRespondent().GetPersonId()
			experts[id] = append(experts[id], iv.GetRound())
		}
		switch iv.GetSchool().GetExpert().GetCapacity() {
		case surveyv1.ExpertCapacity_EXPERT_CAPACITY_LABOUR_CONTRACTOR:
			contractors++
		case surveyv1.ExpertCapacity_EXPERT_CAPACITY_VILLAGE_LEADER:
			leaders++
		case surveyv1.ExpertCapacity_EXPERT_CAPACITY_EDUCATION_OFFICIAL, surveyv1.ExpertCapacity_EXPERT_CAPACITY_OTHER_OFFICIAL:
			officials++
		}
	}
	if len(ids) != 74 || len(byKey) != 74 {
		t.Errorf("%d interviews with %d keys, want 74", len(ids), len(byKey))
	}
	if atSchools != 40 {
		t.Errorf("%d interviews at or near the seven schools, want 40", atSchools)
	}
	pairs, err := Pairs()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pairs {
		if p.Household && households[p.A] && households[p.B] {
			delete(households, p.B)
		}
	}
	if len(households) != 23 {
		t.Errorf("%d different households, want 23", len(households))
	}
	if len(experts) != 5 {
		t.Errorf("%d experts, want 5", len(experts))
	}
	for id, rounds := range experts {
		slices.Sort(rounds)
		if !slices.Equal(rounds, []uint32{1, 2}) {
			t.Errorf("expert %s was interviewed in rounds %v, want 1 and 2", id, rounds)
		}
	}
	if contractors != 5 || leaders == 0 || officials == 0 {
		t.Errorf("%d contractors, %d leaders, %d officials", contractors, leaders, officials)
	}
	want := map[string]int{"hearth.survey.v1.Household": 24, "hearth.survey.v1.School": 42, "hearth.survey.v1.Migration": 8}
	if d := cmp.Diff(want, kinds); d != "" {
		t.Errorf("interviews by questionnaire (-want +got):\n%s", d)
	}
	if len(places) != 3 || places["GY"] == 0 || places["AS"] == 0 || places["PB"] == 0 {
		t.Errorf("keys by place %v, want GY, AS and PB", places)
	}
}

// Table 5.1, row by row, from the interviews with the principals.
func TestSevenSchools(t *testing.T) {
	all, _ := bundled(t)
	type row struct {
		ownership, location, grades, migrant string
		pupils                               int32
		licence                              string
	}
	want := map[string]row{
		"school-a": {"private", "urban_village_peripheral", "0-9", "100 exact", 450, "licensed"},
		"school-b": {"private", "urban_village_central", "0-6", "100 exact", 320, "lost"},
		"school-c": {"private", "urban_village_central", "0-6", "100 exact", 150, "licensed"},
		"school-d": {"private", "urban_village_peripheral", "0-6", "100 exact", 120, "licensed"},
		"school-e": {"public", "cbd", "7-12", "30 about", 3000, "licensed"},
		"school-f": {"public", "cbd", "1-6", "5 under", 1600, "licensed"},
		"school-g": {"public", "residential", "1-6", "60 about", 1000, "licensed"},
	}
	word := func(s, prefix string) string { return strings.ToLower(strings.TrimPrefix(s, prefix)) }
	got := map[string]row{}
	teachers := map[string]int{}
	for _, iv := range all {
		s := iv.GetSchool()
		if s.GetTeacher() != nil {
			teachers[s.GetSchoolId()]++
		}
		if s.GetPrincipal() == nil {
			continue
		}
		p := s.GetProfile()
		if s.GetSchoolId() != iv.GetSiteId() || got[s.GetSchoolId()] != (row{}) {
			t.Errorf("%s: not the one interview of a principal at %s", iv.GetInterviewKey(), iv.GetSiteId())
		}
		got[s.GetSchoolId()] = row{
			word(p.GetOwnership().String(), "SCHOOL_OWNERSHIP_"), word(p.GetLocation().String(), "SCHOOL_LOCATION_"),
			fmt.Sprintf("%d-%d", p.GetLowestGrade(), p.GetHighestGrade()),
			fmt.Sprintf("%g %s", p.GetPercentMigrant(), word(p.GetPercentMigrantTold().String(), "SCHOOL_ESTIMATE_")),
			p.GetPupils(), word(p.GetLicence().String(), "LICENCE_STATE_"),
		}
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(row{})); d != "" {
		t.Errorf("Table 5.1 (-want +got):\n%s", d)
	}
	for id := range want {
		if teachers[id] == 0 {
			t.Errorf("no teacher of %s was interviewed", id)
		}
	}
}

func TestWhatThePrincipalsTold(t *testing.T) {
	_, key := bundled(t)
	b := key["GY-01"].GetSchool().GetProfile()
	if b.GetLicenceYearsHeld() != 11 || b.GetLicenceLostReason() != surveyv1.LicenceLossReason_LICENCE_LOSS_REASON_REZONED || b.GetLicenceYearsApplying() != 4 || len(b.GetLicenceApplications()) != 4 {
		t.Errorf("licence of School B: %v", b)
	}
	for _, a := range b.GetLicenceApplications() {
		if a.GetAnswer() != surveyv1.LicenceAnswer_LICENCE_ANSWER_NO_ANSWER {
			t.Errorf("an application of School B was answered: %v", a)
		}
	}
	d := key["PB-10"].GetSchool().GetProfile()
	lost, before := int32(0), d.GetMoves()[0].GetPupilsBefore()
	for _, m := range d.GetMoves() {
		lost += m.GetPupilsLost()
	}
	span := d.GetMoves()[1].GetMoved().GetYear() - d.GetMoves()[0].GetMoved().GetYear()
	if d.GetForcedMoves() != 2 || span > 10 || 3*lost != 2*before || before-lost != d.GetPupils() {
		t.Errorf("School D moved %d times in %d years and lost %d of %d pupils", d.GetForcedMoves(), span, lost, before)
	}
	if d.GetPupilsOwingMin() != 30 || d.GetPupilsOwingMax() != 40 || d.GetPercentWaived() != 33.3 || d.GetBoarders() != 8 || d.GetYearsWithoutSubsidy() != 2 {
		t.Errorf("School D: %d to %d owe, %g %% waived, %d board, %d years without subsidy", d.GetPupilsOwingMin(), d.GetPupilsOwingMax(), d.GetPercentWaived(), d.GetBoarders(), d.GetYearsWithoutSubsidy())
	}
	if len(d.GetSubsidies()) != 2 {
		t.Errorf("School D: %d years of subsidies, want 2", len(d.GetSubsidies()))
	}
	for _, s := range d.GetSubsidies() {
		if s.GetEntitledPerPupil().GetYuan() != 300 || s.GetReceivedPerPupil().Yuan == nil || s.GetReceivedPerPupil().GetYuan() != 0 {
			t.Errorf("School D: subsidy of %d: %v", s.GetYear(), s)
		}
	}
	for _, k := range []string{"GY-01", "GY-05", "PB-01", "PB-10"} {
		if p := key[k].GetSchool().GetProfile(); p.GetTuitionMin().GetYuan() != 600 || p.GetTuitionMax().GetYuan() != 800 {
			t.Errorf("%s: tuition %v to %v, want 600 to 800", k, p.GetTuitionMin(), p.GetTuitionMax())
		}
	}
	poll := key["GY-08"].GetSchool().GetGrades()
	if key["GY-08"].GetSiteId() != "school-c" || len(poll) != 1 {
		t.Fatalf("the poll is at %s with %d rows", key["GY-08"].GetSiteId(), len(poll))
	}
	g := poll[0]
	if g.GetGrade() != 3 || g.GetToGrade() != 6 || g.GetPupils() != 109 || g.GetMoreThanThreeYears() != 89 || g.GetMoreThanSevenYears() != 47 || g.GetBornInCity() != 23 {
		t.Errorf("poll at School C: %v", g)
	}
}

func TestPortraits(t *testing.T) {
	_, key := bundled(t)
	check := func(name string, ok bool) {
		t.Helper()
		if !ok {
			t.Error(name)
		}
	}
	h := key["GY-19"].GetHousehold()
	m := h.GetMembers()
	check("GY-19 is a woman in her 30s, divorced, who never went to school", m[0].GetSex() == surveyv1.Sex_SEX_FEMALE && m[0].GetAge() >= 30 && m[0].GetAge() < 40 &&
		m[0].GetMaritalStatus() == surveyv1.MaritalStatus_MARITAL_STATUS_DIVORCED && m[0].GetEducation() == surveyv1.EducationLevel_EDUCATION_LEVEL_NONE)
	check("GY-19 is a night-shift janitor", m[0].GetWork().GetOccupation() == surveyv1.Occupation_OCCUPATION_CLEANER && m[0].GetWork().GetNightWork() == yes)
	check("GY-19 is over ten years in Guiyang", h.GetCover().GetInterviewDate().GetYear()-m[0].GetArrivalInCity().GetYear() > 10)
	check("GY-19 has two daughters", len(m) == 3)
	for _, d := range m[1:] {
		check("her daughters were born in Guiyang, registered in Anshun", d.GetSex() == surveyv1.Sex_SEX_FEMALE && d.GetBornHere() == yes &&
			d.GetHukouType() == surveyv1.HukouType_HUKOU_TYPE_AGRICULTURAL && d.GetHukouPlace().GetDivisionCode()[:4] == "5204")
	}
	check("her flat in an urban village has bathroom, water and gas", h.GetHousing().GetKind() == surveyv1.DwellingKind_DWELLING_KIND_URBAN_VILLAGE_FLAT &&
		h.GetHousing().GetPrivateBathroom() == yes && h.GetHousing().GetRunningWater() == yes && h.GetHousing().GetGasStove() == yes)

	h = key["GY-27"].GetHousehold()
	m = h.GetMembers()
	check("GY-27 picks waste under an overpass, without insurance", m[0].GetWork().GetOccupation() == surveyv1.Occupation_OCCUPATION_WASTE_PICKER &&
		h.GetHousing().GetKind() == surveyv1.DwellingKind_DWELLING_KIND_UNDER_BRIDGE && m[0].GetInsurance().GetHealthScheme() == surveyv1.HealthScheme_HEALTH_SCHEME_NONE &&
		m[0].GetEducation() == surveyv1.EducationLevel_EDUCATION_LEVEL_NONE && m[0].GetHukouPlace().GetDivisionCode()[:4] == "5204")
	check("his son of 15 is gone for over a year", m[1].GetAge() == 15 && m[1].GetAbsenceReason() == surveyv1.AbsenceReason_ABSENCE_REASON_CONTACT_LOST && m[1].GetSchooling().GetMonthsSinceSeen() > 12)
	check("his daughter of 8 lives at her school", m[2].GetAge() == 8 && m[2].GetSchooling().GetBoards() == yes)

	years := map[int32]int{}
	zhejiang, college := 0, 0
	for _, k := range []string{"AS-01", "AS-02", "AS-03", "AS-04", "AS-05"} {
		x := key[k].GetSchool().GetExpert()
		check(k+" is a contractor who owns a home and took crews to other provinces", x.GetCapacity() == surveyv1.ExpertCapacity_EXPERT_CAPACITY_LABOUR_CONTRACTOR &&
			x.GetCrew().GetOwnsHome() == yes && x.GetCrew().GetAcrossProvinces() == yes)
		years[x.GetYearsOfSchooling()]++
		if strings.HasPrefix(key[k].GetRespondent().GetHomePlace().GetDivisionCode(), "33") && x.GetYearsOfSchooling() == 9 {
			zhejiang++
		}
		if key[k].GetRespondent().GetEducation() >= surveyv1.EducationLevel_EDUCATION_LEVEL_JUNIOR_COLLEGE {
			college++
		}
	}
	check("one contractor from Zhejiang with nine years of school, one of college, three with five years", years[5] == 3 && zhejiang == 1 && college == 1)
	for _, k := range []string{"AS-01", "AS-03"} {
		age := key[k].GetRespondent().GetAge()
		check(k+" is in his 30s or 40s", age >= 30 && age < 50)
	}
	check("PB-06 is a group outside a school", key["PB-06"].GetKind() == surveyv1.InterviewKind_INTERVIEW_KIND_GROUP && len(key["PB-06"].GetPresent()) >= 3)
	check("PB-07 is an official", key["PB-07"].GetRespondent().GetRole() == surveyv1.PersonRole_PERSON_ROLE_OFFICIAL)
	check("PB-09 is a village leader", key["PB-09"].GetRespondent().GetRole() == surveyv1.PersonRole_PERSON_ROLE_VILLAGE_LEADER)
	refusedStrings := 0
	for _, k := range []string{"PB-16", "PB-17"} {
		h := key[k].GetHousehold()
		lived := map[string]bool{}
		for _, m := range h.GetMembers() {
			lived[m.GetLivesAt().GetProvince()] = true
		}
		check(k+" is an extended family with members in Zhejiang and Fujian", len(h.GetMembers()) >= 6 && lived["浙江省"] && lived["福建省"])
		check(k+" was resettled and lost land to reforestation", h.GetSafetyNet().GetRelocatedByGovernment() == yes && len(h.GetLand().GetLosses()) == 1 &&
			h.GetLand().GetLosses()[0].GetCause() == surveyv1.LandLossCause_LAND_LOSS_CAUSE_REFORESTATION)
		for _, a := range h.GetSafetyNet().GetAssistances() {
			if a.GetOffered().GetYuan() == 50000 && a.GetTaken() == surveyv1.YesNo_YES_NO_NO && slices.Contains(a.GetRefusalReasons(), surveyv1.AssistanceRefusalReason_ASSISTANCE_REFUSAL_REASON_STRINGS) {
				refusedStrings++
			}
		}
	}
	check("one of the families refused 50,000 yuan for its strings", refusedStrings == 1)
}

// What is wrong in the files is wrong on purpose.
func TestFlagsOnPurpose(t *testing.T) {
	all, _ := bundled(t)
	set, err := questionnaire.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, iv := range all {
		for _, f := range set.Evaluate(iv) {
			got = append(got, iv.GetInterviewKey()+" "+f.GetPath()+" "+f.GetRule()[strings.LastIndexByte(f.GetRule(), '/')+1:])
		}
	}
	slices.Sort(got)
	want := []string{
		"AS-07 household.members[0].work.hours_per_week hours_plausible",
		"GY-17 household.members[0].age age_agrees_with_birth",
		"PB-14 household.housing.monthly_rent rent_plausible",
		"PB-15 household.members[2].arrival_in_city arrived_after_birth",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("flags (-want +got):\n%s", d)
	}
}

func TestInterviewsFitTheStudy(t *testing.T) {
	all, _ := bundled(t)
	study, err := Definition()
	if err != nil {
		t.Fatal(err)
	}
	sites, enumerators := map[string]bool{}, map[string]bool{}
	for _, s := range study.GetSites() {
		sites[s.GetSiteId()] = true
	}
	for _, e := range study.GetEnumerators() {
		enumerators[e.GetEnumerator()] = true
	}
	if study.GetStudy() != "guiyang-2016" || study.GetSurveyCity().GetDivisionCode() != "520100" || len(study.GetRounds()) != 2 || study.GetNote() == "" || len(study.GetTargets()) == 0 {
		t.Errorf("the study: %v", study)
	}
	for _, e := range study.GetEnumerators() {
		if e.GetSupervisor() != "" && !enumerators[e.GetSupervisor()] {
			t.Errorf("%s has a supervisor nobody knows", e.GetEnumerator())
		}
	}
	reasons, old, groups, made := map[int32]int{}, 0, 0, 0
	for _, iv := range all {
		k := iv.GetInterviewKey()
		if iv.GetStudy() != study.GetStudy() || !sites[iv.GetSiteId()] || !enumerators[iv.GetEnumerator()] {
			t.Errorf("%s: study %s, site %s, enumerator %s", k, iv.GetStudy(), iv.GetSiteId(), iv.GetEnumerator())
		}
		round := study.GetRounds()[iv.GetRound()-1]
		start, end := iv.GetStartTime().AsTime(), iv.GetEndTime().AsTime()
		if start.Before(round.GetStartTime().AsTime()) || end.After(round.GetEndTime().AsTime()) {
			t.Errorf("%s is held outside its round", k)
		}
		if d := end.Sub(start); d < 20*time.Minute || d > 150*time.Minute {
			t.Errorf("%s took %v, want 20 minutes to 2.5 hours", k, d)
		}
		if h := start.In(chinaTime).Hour(); h < 8 || h > 21 {
			t.Errorf("%s begins at %v", k, start.In(chinaTime))
		}
		if iv.Illustrative == nil {
			t.Errorf("%s does not say whether it is illustrative", k)
		} else if !iv.GetIllustrative() {
			made++
		}
		if iv.GetHousehold() != nil && iv.GetQuestionnaireVersion() == 1 {
			old++
			if iv.GetHousehold().GetSafetyNet().RelocatedByGovernment != nil || iv.GetHousehold().GetMembers()[0].TemporaryResidencePermit == nil {
				t.Errorf("%s is in version 1 but not by its questions", k)
			}
		}
		if iv.GetKind() == surveyv1.InterviewKind_INTERVIEW_KIND_GROUP {
			groups++
		}
		missing(iv.ProtoReflect(), reasons)
	}
	if old != 1 || groups < 3 || made == 0 || made > 40 {
		t.Errorf("%d interviews in the older version, %d groups, %d by the source", old, groups, made)
	}
	for _, want := range []int32{1, 2, 3} {
		if reasons[want] == 0 {
			t.Errorf("no answer is missing for reason %d", want)
		}
	}
}

// missing counts the reasons for missing answers below a message.
func missing(m protoreflect.Message, into map[int32]int) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap() && f.Name() == "missing":
			v.Map().Range(func(_ protoreflect.MapKey, r protoreflect.Value) bool {
				into[int32(r.Enum())]++
				return true
			})
		case f.IsList() && f.Message() != nil:
			for i := range v.List().Len() {
				missing(v.List().Get(i).Message(), into)
			}
		case !f.IsMap() && f.Message() != nil:
			missing(v.Message(), into)
		}
		return true
	})
}

func TestIdsAreGood(t *testing.T) {
	all, _ := bundled(t)
	once, names := map[string]string{}, map[string]string{}
	for _, iv := range all {
		good := func(id, what string) {
			if u, err := uuid.Parse(id); err != nil || u.Version() != 4 || u.Variant() != uuid.RFC4122 {
				t.Errorf("%s: %s id %q is not a version 4 UUID", iv.GetInterviewKey(), what, id)
			}
		}
		unique := func(id, what string) {
			good(id, what)
			if once[id] != "" {
				t.Errorf("%s: %s id %s stands in %s too", iv.GetInterviewKey(), what, id, once[id])
			}
			once[id] = iv.GetInterviewKey()
		}
		unique(iv.GetInterviewId(), "interview")
		unique(iv.GetAssignmentId(), "assignment")
		if h := iv.GetHousehold(); h != nil {
			unique(h.GetHouseholdId(), "household")
		}
		for _, r := range append(iv.GetRecruitment().GetReferrals(), iv.GetRecruitment().GetReferralsMade()...) {
			unique(r.GetReferralId(), "referral")
		}
		in := map[string]bool{}
		for _, m := range iv.GetHousehold().GetMembers() {
			if in[m.GetPersonId()] {
				t.Errorf("%s: person %s is in the roster twice", iv.GetInterviewKey(), m.GetPersonId())
			}
			in[m.GetPersonId()] = true
			good(m.GetPersonId(), "person")
			if id := m.GetIdentity().GetResidentId(); len(id) == 18 && residentCheck([]byte(id)) != id[17] {
				t.Errorf("%s: resident id %s has a wrong check character", iv.GetInterviewKey(), id)
			}
			samePerson(t, names, m.GetPersonId(), m.GetIdentity())
		}
		if iv.GetHousehold() != nil && !in[iv.GetRespondent().GetPersonId()] {
			t.Errorf("%s: the respondent is not in the roster", iv.GetInterviewKey())
		}
		for _, p := range iv.GetPresent() {
			samePerson(t, names, p.GetPerson().GetPersonId(), p.GetPerson().GetIdentity())
		}
	}
	pairs, err := Pairs()
	if err != nil {
		t.Fatal(err)
	}
	people := 0
	for _, p := range pairs {
		if p.Household {
			continue
		}
		people++
		if names[p.A] == "" || names[p.B] == "" || p.A == p.B {
			t.Errorf("pair %q: %q and %q", p.Note, names[p.A], names[p.B])
		}
	}
	if people < 3 {
		t.Errorf("%d people were met twice under different ids, want at least 3", people)
	}
}

// samePerson wants one id always to carry the same name.
func samePerson(t *testing.T, names map[string]string, id string, identity *surveyv1.Identity) {
	t.Helper()
	if was := names[id]; was != "" && identity.GetFullName() != "" && was != identity.GetFullName() {
		t.Errorf("person %s is %s and %s", id, was, identity.GetFullName())
	}
	if identity.GetFullName() != "" {
		names[id] = identity.GetFullName()
	}
}

// Waves are counted along the main referrals, from seeds; a recruiter is interviewed before he refers.
func TestReferralChains(t *testing.T) {
	all, _ := bundled(t)
	slices.SortFunc(all, func(a, b *surveyv1.Interview) int {
		return a.GetStartTime().AsTime().Compare(b.GetStartTime().AsTime())
	})
	wave, end, given, deepest := map[string]int{}, map[string]time.Time{}, map[string]string{}, 0
	seeds, present, institutions, drawn, strangers := 0, 0, 0, 0, 0
	for _, iv := range all {
		who, rec := iv.GetRespondent().GetPersonId(), iv.GetRecruitment()
		if rec.GetSeed() {
			seeds++
			wave[who] = 0
		}
		if rec.GetDraw().GetFrameSize() > 0 {
			drawn++
		}
		introducers := 0
		for _, p := range iv.GetPresent() {
			if p.GetRole() == surveyv1.PresenceRole_PRESENCE_ROLE_INTRODUCER {
				introducers++
			}
		}
		if (introducers > 0) != (iv.GetIntroducerPresent() == yes) {
			t.Errorf("%s: introducer present is %v, %d introducers are listed", iv.GetInterviewKey(), iv.GetIntroducerPresent(), introducers)
		}
		present += introducers
		mains := 0
		for _, r := range rec.GetReferrals() {
			if r.GetMain() {
				mains++
			}
			from := r.GetFromPerson().GetPersonId()
			if r.GetFromSiteId() != "" {
				institutions++
				continue
			}
			made := r.GetMadeTime().AsTime()
			if e, ok := end[from]; ok && made.After(e.Add(500*24*time.Hour)) || !made.Before(iv.GetStartTime().AsTime()) {
				t.Errorf("%s: referred at %v", iv.GetInterviewKey(), made)
			}
			if c := r.GetCouponCode(); c != "" && given[c] != from {
				t.Errorf("%s: coupon %s was not given to its recruiter", iv.GetInterviewKey(), c)
			}
			if _, ok := end[from]; !ok {
				strangers++
				continue
			}
			if w, ok := wave[from]; ok && r.GetMain() {
				if _, again := wave[who]; !again {
					wave[who] = w + 1
					deepest = max(deepest, w+1)
				}
			}
		}
		if len(rec.GetReferrals()) > 0 && mains != 1 {
			t.Errorf("%s has %d main referrals", iv.GetInterviewKey(), mains)
		}
		if _, ok := end[who]; !ok {
			end[who] = iv.GetEndTime().AsTime()
		}
		for _, c := range rec.GetCouponsGiven() {
			given[c] = who
		}
	}
	t.Logf("%d seeds, deepest wave %d, %d in trees, %d introducers present, %d referrals by institutions, %d drawn at sites, %d recruiters never interviewed", seeds, deepest, len(wave), present, institutions, drawn, strangers)
	if seeds < 3 || deepest < 4 || present < 10 || institutions < 2 || drawn < 8 || strangers < 3 {
		t.Error("the chains are thinner than those of the fieldwork")
	}
}

func TestTablets(t *testing.T) {
	tablets, err := Tablets()
	if err != nil {
		t.Fatal(err)
	}
	restored, byFile := 0, 0
	for i, tablet := range tablets {
		if i > 0 && tablets[i-1].Name >= tablet.Name {
			t.Errorf("%s does not come after %s", tablet.Name, tablets[i-1].Name)
		}
		if tablet.RestoredFromBackup {
			restored++
		}
		if tablet.ByFile {
			byFile++
		}
		for n, line := range bytes.Split(bytes.TrimSuffix(tablet.Data, []byte("\n")), []byte("\n")) {
			if len(line) == 0 || line[0] != '{' || bytes.Contains(line, []byte(`"interviewId"`)) {
				t.Errorf("%s, line %d, is not one interview in proto names", tablet.Name, n+1)
			}
		}
	}
	if len(tablets) != 6 || restored != 1 || byFile != 1 {
		t.Errorf("%d tablets, %d restored, %d by file", len(tablets), restored, byFile)
	}
	cut := Tablet{Name: "cut", Data: tablets[0].Data[:len(tablets[0].Data)-40]}
	good, bad := 0, 0
	for _, err := range cut.Interviews() {
		if err != nil {
			bad++
		} else {
			good++
		}
	}
	if good == 0 || bad != 1 {
		t.Errorf("a line cut in half: %d read, %d errors", good, bad)
	}
}

// Both calls give messages of the caller's own.
func TestDefinitionIsACopy(t *testing.T) {
	a, err := Definition()
	if err != nil {
		t.Fatal(err)
	}
	a.Study = proto.String("other")
	if b, err := Definition(); err != nil || b.GetStudy() != "guiyang-2016" {
		t.Errorf("%v, %v", b.GetStudy(), err)
	}
}
