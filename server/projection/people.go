package projection

import (
	"crypto/sha256"
	"slices"
	"strconv"

	"github.com/google/uuid"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/protobuf/proto"
)

// listPeople lists everybody of whom the interview tells: the respondent, the household, those present, and those whose
// own interview a part of the questionnaire is. A person_id stands once, with all that is told of it.
func (w *writer) listPeople() {
	iv := w.iv
	w.byID = make(map[string]int, len(iv.GetHousehold().GetMembers())+4)
	w.respondentID = w.respondent()
	if p := iv.GetRespondent(); p != nil {
		w.add(w.respondentID, w.fromPerson(p, surveyv1.PersonRole_PERSON_ROLE_UNSPECIFIED, surveyv1.PresenceRole_PRESENCE_ROLE_RESPONDENT))
	}
	switch a := iv.GetAnswers().(type) {
	case *surveyv1.Interview_Household:
		w.household(a.Household)
	case *surveyv1.Interview_School:
		w.school(a.School)
	case *surveyv1.Interview_Migration:
		w.migration(a.Migration)
	}
	for i, p := range iv.GetPresent() {
		if p.GetPerson() != nil {
			w.add(w.personID(p.GetPerson(), "present/", i), w.fromPerson(p.GetPerson(), surveyv1.PersonRole_PERSON_ROLE_UNSPECIFIED, p.GetRole()))
		}
	}
}

// respondent finds the id of the respondent: told, else by line of the roster, else of whom the questionnaire is, else
// derived. It is empty where nobody is known.
func (w *writer) respondent() string {
	iv := w.iv
	if id := iv.GetRespondent().GetPersonId(); id != "" {
		return id
	}
	if cover := iv.GetHousehold().GetCover(); cover != nil && cover.RespondentLine != nil {
		for i, m := range iv.GetHousehold().GetMembers() {
			if m.LineNumber != nil && m.GetLineNumber() == cover.GetRespondentLine() {
				return w.memberID(m, i)
			}
		}
	}
	if id := iv.GetMigration().GetPersonId(); id != "" && iv.GetMigration().GetSubject() <= surveyv1.MigrationSubject_MIGRATION_SUBJECT_SELF {
		return id
	}
	for _, b := range schoolPeople(iv.GetSchool()) {
		if id := b.person.GetPersonId(); id != "" {
			return id
		}
	}
	if iv.GetRespondent() != nil || len(schoolPeople(iv.GetSchool())) > 0 {
		return w.derived("respondent")
	}
	return ""
}

// base is what all people of the interview share.
func (w *writer) base() *servicev1.PersonRecord {
	s := w.sum
	return &servicev1.PersonRecord{
		InterviewId: s.InterviewId, InterviewKey: s.InterviewKey, Study: s.Study, Round: s.Round, Part: s.Part, SiteId: s.SiteId,
		Enumerator: s.Enumerator, InterviewTimeMs: s.StartTimeMs, Questionnaire: s.Questionnaire,
	}
}

func (w *writer) fromPerson(p *surveyv1.Person, role surveyv1.PersonRole, presence surveyv1.PresenceRole) *servicev1.PersonRecord {
	r := w.base()
	r.Identity, r.Sex, r.BirthDate, r.Age, r.Education = p.GetIdentity(), p.Sex, p.BirthDate, p.Age, p.Education
	r.HukouType, r.HukouPlace, r.Role = p.HukouType, p.HomePlace, p.Role
	if r.GetRole() == surveyv1.PersonRole_PERSON_ROLE_UNSPECIFIED && role != surveyv1.PersonRole_PERSON_ROLE_UNSPECIFIED {
		r.Role = role.Enum()
	}
	if presence != surveyv1.PresenceRole_PRESENCE_ROLE_UNSPECIFIED {
		r.Presence = presence.Enum()
	}
	return r
}

// add lists a person, or fills in what was not known of a person listed before.
func (w *writer) add(id string, r *servicev1.PersonRecord) {
	r.PersonId = proto.String(id)
	at, ok := w.byID[id]
	if !ok {
		w.byID[id] = len(w.people)
		w.people = append(w.people, r)
		w.interviewed(r)
		return
	}
	merge(w.people[at], r)
	w.interviewed(w.people[at])
}

// interviewed marks who answered in an interview that was held.
func (w *writer) interviewed(r *servicev1.PersonRecord) {
	switch r.GetPresence() {
	case surveyv1.PresenceRole_PRESENCE_ROLE_RESPONDENT, surveyv1.PresenceRole_PRESENCE_ROLE_CO_RESPONDENT:
	default:
		return
	}
	switch w.sum.GetResult() {
	case surveyv1.ResultCode_RESULT_CODE_COMPLETE, surveyv1.ResultCode_RESULT_CODE_PARTIAL:
		r.Interviewed = proto.Bool(true)
	case surveyv1.ResultCode_RESULT_CODE_UNSPECIFIED:
		if w.sum.GetReviewState() == servicev1.ReviewState_REVIEW_STATE_COMPLETED {
			r.Interviewed = proto.Bool(true)
		}
	}
}

func orElse[T any](to **T, from *T) {
	if *to == nil {
		*to = from
	}
}

// merge fills into a what only b tells. A second spelling of the name is kept as another name.
func merge(a, b *servicev1.PersonRecord) {
	orElse(&a.HouseholdId, b.HouseholdId)
	orElse(&a.LineNumber, b.LineNumber)
	orElse(&a.Role, b.Role)
	orElse(&a.Presence, b.Presence)
	orElse(&a.Sex, b.Sex)
	orElse(&a.BirthDate, b.BirthDate)
	orElse(&a.Age, b.Age)
	orElse(&a.Education, b.Education)
	orElse(&a.HukouType, b.HukouType)
	orElse(&a.HukouPlace, b.HukouPlace)
	orElse(&a.RelationToHead, b.RelationToHead)
	switch {
	case a.Identity == nil:
		a.Identity = b.Identity
	case b.Identity != nil && a.Identity != b.Identity && !proto.Equal(a.Identity, b.Identity):
		a.Identity = mergeIdentity(a.Identity, b.Identity)
	}
}

func mergeIdentity(a, b *surveyv1.Identity) *surveyv1.Identity {
	out, _ := proto.Clone(a).(*surveyv1.Identity)
	orElse(&out.FullName, b.FullName)
	orElse(&out.FamilyName, b.FamilyName)
	orElse(&out.GivenName, b.GivenName)
	orElse(&out.Pinyin, b.Pinyin)
	orElse(&out.Phone, b.Phone)
	orElse(&out.ResidentId, b.ResidentId)
	orElse(&out.Address, b.Address)
	for _, n := range append([]string{b.GetFullName()}, b.GetOtherNames()...) {
		if n != "" && n != out.GetFullName() && !slices.Contains(out.OtherNames, n) {
			out.OtherNames = append(out.OtherNames, n)
		}
	}
	return out
}

// household lists the roster and the household itself.
func (w *writer) household(h *surveyv1.Household) {
	id := h.GetHouseholdId()
	if id == "" {
		id = w.derived("household")
	}
	s := w.sum
	rec := &servicev1.HouseholdRecord{
		HouseholdId: proto.String(id), InterviewId: s.InterviewId, InterviewKey: s.InterviewKey, Study: s.Study, Part: s.Part,
		SiteId: s.SiteId, Enumerator: s.Enumerator, InterviewTimeMs: s.StartTimeMs, Place: h.GetCover().GetSurveyPlace(),
	}
	if rec.Place == nil {
		rec.Place = w.iv.GetPlace()
	}
	if at, ok := w.byID[w.respondentID]; ok {
		w.people[at].HouseholdId = rec.HouseholdId
	}
	onRoster := false
	for i, m := range h.GetMembers() {
		person := w.memberID(m, i)
		onRoster = onRoster || person == w.respondentID
		if at, ok := w.byID[person]; ok && slices.Contains(rec.MemberIds, w.people[at].GetPersonId()) {
			w.flag(memberPath(i)+".person_id", "hearth/person_twice_in_roster", formv1.Severity_SEVERITY_HARD,
				"Two lines of the roster have the same person id.", "成员名单中有两行使用了同一人员编号。")
			person = w.derived("member/" + strconv.Itoa(i))
		}
		w.add(person, w.fromMember(m, rec.HouseholdId, person))
		rec.MemberIds = append(rec.MemberIds, person)
		if rec.HeadPersonId == nil && m.GetRelationToHead() == surveyv1.RelationToHead_RELATION_TO_HEAD_HEAD {
			rec.HeadPersonId = proto.String(person)
		}
	}
	if w.iv.GetRespondent() != nil && len(rec.MemberIds) > 0 && !onRoster {
		w.flag("respondent.person_id", "hearth/respondent_not_in_roster", formv1.Severity_SEVERITY_SOFT,
			"The respondent is not a line of the household roster.", "受访者不在家庭成员名单中。")
	}
	w.households = append(w.households, rec)
}

func memberPath(i int) string { return "household.members[" + strconv.Itoa(i) + "]" }

func (w *writer) fromMember(m *surveyv1.HouseholdMember, household *string, id string) *servicev1.PersonRecord {
	r := w.base()
	r.HouseholdId, r.LineNumber, r.Role = household, m.LineNumber, surveyv1.PersonRole_PERSON_ROLE_HOUSEHOLD_MEMBER.Enum()
	r.Identity, r.Sex, r.BirthDate, r.Age, r.Education = m.Identity, m.Sex, m.BirthDate, m.Age, m.Education
	r.HukouType, r.HukouPlace = m.HukouType, m.HukouPlace
	if m.RelationToHead != nil {
		r.RelationToHead = proto.Int32(int32(m.GetRelationToHead()))
	}
	if id == w.respondentID {
		r.Presence = surveyv1.PresenceRole_PRESENCE_ROLE_RESPONDENT.Enum()
	}
	return r
}

// memberID is the id of a roster line; where it has none, it is derived from the interview and the line.
func (w *writer) memberID(m *surveyv1.HouseholdMember, i int) string {
	switch {
	case m.GetPersonId() != "":
		return m.GetPersonId()
	case m.LineNumber != nil:
		return w.derived("line/" + strconv.Itoa(int(m.GetLineNumber())))
	}
	return w.derived("member/" + strconv.Itoa(i))
}

// block is a part of a school questionnaire that one person answers.
type block struct {
	person *surveyv1.Person
	role   surveyv1.PersonRole
}

func schoolPeople(s *surveyv1.School) []block {
	if s == nil {
		return nil
	}
	var out []block
	if p := s.GetPrincipal().GetPerson(); p != nil {
		out = append(out, block{p, surveyv1.PersonRole_PERSON_ROLE_PRINCIPAL})
	}
	if p := s.GetTeacher().GetPerson(); p != nil {
		out = append(out, block{p, surveyv1.PersonRole_PERSON_ROLE_TEACHER})
	}
	if p := s.GetExpert().GetPerson(); p != nil {
		out = append(out, block{p, expertRole(s.GetExpert().GetCapacity())})
	}
	return out
}

func expertRole(c surveyv1.ExpertCapacity) surveyv1.PersonRole {
	switch c {
	case surveyv1.ExpertCapacity_EXPERT_CAPACITY_EDUCATION_OFFICIAL, surveyv1.ExpertCapacity_EXPERT_CAPACITY_OTHER_OFFICIAL,
		surveyv1.ExpertCapacity_EXPERT_CAPACITY_FORMER_OFFICIAL:
		return surveyv1.PersonRole_PERSON_ROLE_OFFICIAL
	case surveyv1.ExpertCapacity_EXPERT_CAPACITY_VILLAGE_LEADER:
		return surveyv1.PersonRole_PERSON_ROLE_VILLAGE_LEADER
	case surveyv1.ExpertCapacity_EXPERT_CAPACITY_LABOUR_CONTRACTOR:
		return surveyv1.PersonRole_PERSON_ROLE_LABOUR_CONTRACTOR
	}
	return surveyv1.PersonRole_PERSON_ROLE_EXPERT
}

// school lists the principal, teacher or expert. Each of them answered; where only one did and has no id, it is the
// respondent.
func (w *writer) school(s *surveyv1.School) {
	blocks := schoolPeople(s)
	for i, b := range blocks {
		id := b.person.GetPersonId()
		if id == "" && len(blocks) == 1 {
			id = w.respondentID
		}
		if id == "" {
			id = w.derived("school/" + strconv.Itoa(i))
		}
		w.add(id, w.fromPerson(b.person, b.role, surveyv1.PresenceRole_PRESENCE_ROLE_RESPONDENT))
	}
}

// migration lists the person whose life is told, who need not be the respondent.
func (w *writer) migration(m *surveyv1.Migration) {
	id := m.GetPersonId()
	if id == "" {
		id = w.respondentID
	}
	if id == "" {
		return
	}
	r := w.base()
	r.BirthDate = m.BirthDate
	if id == w.respondentID {
		r.Presence = surveyv1.PresenceRole_PRESENCE_ROLE_RESPONDENT.Enum()
	}
	w.add(id, r)
}

// personID is the id told, or one derived from the interview and the position where the person is named.
func (w *writer) personID(p *surveyv1.Person, where string, i int) string {
	if id := p.GetPersonId(); id != "" {
		return id
	}
	return w.derived(where + strconv.Itoa(i))
}

// derived makes an id for something that has none, the same one each time for the same place of the same interview.
func (w *writer) derived(where string) string {
	sum := sha256.Sum256([]byte("hearth/derived/v1\x00" + w.id + "\x00" + where))
	id := uuid.UUID(sum[:16])
	id[6] = id[6]&0x0f | 0x80 // version 8: made by a rule of the program's own
	id[8] = id[8]&0x3f | 0x80
	return id.String()
}
