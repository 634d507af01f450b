package questionnaire

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// Each row breaks one thing in a household that has nothing wrong with it, and says which flags must follow.
func TestEvaluateCatches(t *testing.T) {
	const member = "hearth.survey.v1.HouseholdMember."
	type damage func(iv *surveyv1.Interview, h *surveyv1.Household)
	of := func(h *surveyv1.Household, line int) *surveyv1.HouseholdMember { return h.Members[line-1] }
	tests := []struct {
		name   string
		damage damage
		want   []string // "path rule"
	}{
		{"an age that is not the year of birth's", func(_ *surveyv1.Interview, h *surveyv1.Household) {
			of(h, 3).Age = proto.Int32(14)
		}, []string{"household.members[2].age " + member + "age/age_agrees_with_birth"}},
		{"two heads", func(_ *surveyv1.Interview, h *surveyv1.Household) {
			of(h, 2).RelationToHead = surveyv1.RelationToHead(1).Enum()
		}, []string{"household.members hearth.survey.v1.Household.members/one_head"}},
		{"a mother who is not on the list", func(_ *surveyv1.Interview, h *surveyv1.Household) {
			of(h, 3).MotherLine = proto.Int32(9)
		}, []string{"household.members[2].mother_line " + member + "mother_line/mother_in_roster"}},
		{"a mother who is a man", func(_ *surveyv1.Interview, h *surveyv1.Household) {
			of(h, 3).MotherLine = proto.Int32(1)
		}, []string{"household.members[2].mother_line " + member + "mother_line/mother_is_female"}},
		{"an age over 120", func(_ *surveyv1.Interview, h *surveyv1.Household) {
			of(h, 4).Age, of(h, 4).BirthDate = proto.Int32(163), nil
		}, []string{"household.members[3].age " + member + "age/int32.gte_lte"}},
		{"a sex that nobody has", func(_ *surveyv1.Interview, h *surveyv1.Household) {
			of(h, 1).Sex = surveyv1.Sex(7).Enum()
		}, []string{"household.members[0].sex " + member + "sex/unknown_value"}},
		{"a reason for moving that nobody knows, in a list", func(_ *surveyv1.Interview, h *surveyv1.Household) {
			h.Settlement.Reasons = append(h.Settlement.Reasons, 99)
		}, []string{"household.settlement.reasons[2] hearth.survey.v1.SettlementIntentions.reasons/unknown_value"}},
		{"the same reason twice", func(_ *surveyv1.Interview, h *surveyv1.Household) {
			h.Settlement.Reasons = append(h.Settlement.Reasons, h.Settlement.Reasons[0])
		}, []string{"household.settlement.reasons hearth.survey.v1.SettlementIntentions.reasons/repeated.unique"}},
		{"a child's marriage", func(_ *surveyv1.Interview, h *surveyv1.Household) {
			of(h, 3).MaritalStatus = surveyv1.MaritalStatus(1).Enum()
		}, []string{"household.members[2].marital_status " + member + "marital_status/answered_but_not_relevant"}},
		{"a question not answered", func(_ *surveyv1.Interview, h *surveyv1.Household) {
			of(h, 4).Education = nil
		}, []string{"household.members[3].education " + member + "education/required"}},
		{"an enum's zero for an answer", func(_ *surveyv1.Interview, h *surveyv1.Household) {
			of(h, 4).Education = surveyv1.EducationLevel(0).Enum()
		}, []string{"household.members[3].education " + member + "education/required"}},
		{"a question not answered in an interview that goes on", func(iv *surveyv1.Interview, h *surveyv1.Household) {
			of(h, 4).Education = nil
			iv.Status = surveyv1.InterviewStatus_INTERVIEW_STATUS_IN_PROGRESS.Enum()
		}, nil},
		{"a question not answered, with a reason", func(_ *surveyv1.Interview, h *surveyv1.Household) {
			of(h, 4).Education = nil
			of(h, 4).Missing = map[uint32]formv1.Missing{10: formv1.Missing_MISSING_DONT_KNOW}
		}, nil},
		{"a reason that the question does not accept", func(_ *surveyv1.Interview, h *surveyv1.Household) {
			of(h, 4).Education = nil
			of(h, 4).Missing = map[uint32]formv1.Missing{10: formv1.Missing_MISSING_NOT_ASKED}
		}, []string{"household.members[3].education " + member + "education/missing_reason_not_accepted"}},
		{"not applicable, of a question that was not to be asked", func(_ *surveyv1.Interview, h *surveyv1.Household) {
			of(h, 3).Missing = map[uint32]formv1.Missing{8: formv1.Missing_MISSING_NOT_APPLICABLE}
		}, nil},
		{"not applicable, of a question that was to be asked", func(_ *surveyv1.Interview, h *surveyv1.Household) {
			of(h, 1).MaritalStatus, of(h, 1).SpouseLine = nil, nil
			of(h, 1).Missing = map[uint32]formv1.Missing{8: formv1.Missing_MISSING_NOT_APPLICABLE}
		}, []string{"household.members[0].marital_status " + member + "marital_status/missing_reason_not_accepted"}},
		{"an answer and a reason for having none", func(_ *surveyv1.Interview, h *surveyv1.Household) {
			of(h, 4).Missing = map[uint32]formv1.Missing{10: formv1.Missing_MISSING_REFUSED}
		}, []string{"household.members[3].education " + member + "education/answered_and_missing"}},
		{"reasons for questions that are none, and one that is no reason", func(_ *surveyv1.Interview, h *surveyv1.Household) {
			of(h, 4).Missing = map[uint32]formv1.Missing{77: formv1.Missing_MISSING_REFUSED, 1<<32 - 1: formv1.Missing_MISSING_REFUSED, 25: 88}
			of(h, 4).BornHere = nil
		}, []string{
			"household.members[3].missing[25] " + member + "missing/unknown_value",
			"household.members[3].missing[77] " + member + "missing/missing_reason_for_unknown_question",
			"household.members[3].missing[4294967295] " + member + "missing/missing_reason_for_unknown_question",
		}},
		{"a division code with a letter", func(_ *surveyv1.Interview, h *surveyv1.Household) {
			h.Cover.SurveyPlace.DivisionCode = proto.String("52O103")
		}, []string{"household.cover.survey_place.division_code hearth.survey.v1.Place.division_code/string.pattern"}},
		{"an end before the start", func(iv *surveyv1.Interview, _ *surveyv1.Household) {
			iv.EndTime.Seconds = 0
		}, []string{"end_time hearth.survey.v1.Interview.end_time/ends_after_start"}},
	}
	s := builtin(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			iv := household(t)
			test.damage(iv, iv.GetHousehold())
			var got []string
			for _, f := range s.Evaluate(iv) {
				got = append(got, f.GetPath()+" "+f.GetRule())
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("flags differ (-want +got):\n%s", diff)
			}
		})
	}
}
