package export

import (
	"math"
	"strconv"
	"strings"
	"testing"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/protobuf/proto"
)

// visited is an interview of a household with a result, a review state and a place in the sample.
func visited(id, household string, start int64, state servicev1.ReviewState, result surveyv1.ResultCode, stratum string, stages ...float64) *Answered {
	sample := &surveyv1.SampleOrigin{Stratum: proto.String(stratum), Psu: proto.String("psu-" + id)}
	for _, p := range stages {
		sample.Stages = append(sample.Stages, &surveyv1.SampleStage{Probability: proto.Float64(p)})
	}
	return &Answered{
		Summary: &servicev1.InterviewSummary{
			InterviewId: proto.String(id), Questionnaire: proto.String("hearth.survey.v1.Household"), ReviewState: state.Enum(), StartTimeMs: proto.Int64(start),
			Heads: [][]byte{{1}},
		},
		Interview: &surveyv1.Interview{
			InterviewId: proto.String(id), Result: result.Enum(),
			Answers: &surveyv1.Interview_Household{Household: &surveyv1.Household{HouseholdId: proto.String(household), Cover: &surveyv1.HouseholdCover{Sample: sample}}},
		},
	}
}

func fieldOfEight() Source {
	const (
		done, approved, rejected = servicev1.ReviewState_REVIEW_STATE_COMPLETED, servicev1.ReviewState_REVIEW_STATE_APPROVED_BY_SUPERVISOR, servicev1.ReviewState_REVIEW_STATE_REJECTED_BY_SUPERVISOR
		complete, refusal        = surveyv1.ResultCode_RESULT_CODE_COMPLETE, surveyv1.ResultCode_RESULT_CODE_REFUSAL
	)
	conflict := visited("i-7", "h-7", 7, done, complete, "b", .5)
	conflict.Summary.Heads = append(conflict.Summary.Heads, []byte{2})
	list := []*Answered{
		visited("i-1", "h-1", 1, done, complete, "a", .1, .5),                                // 20
		visited("i-2", "h-2", 2, approved, complete, "a", .1, .5),                            // 20, the same household as 1, and approved
		visited("i-3", "h-3", 3, done, refusal, "a", .1, .5),                                 // 20: did not answer
		visited("i-4", "h-4", 4, rejected, complete, "b", .5),                                // 2: rejected, so it counts as one who did not
		visited("i-5", "h-5", 5, done, complete, "b", .5),                                    // 2
		visited("i-6", "h-6", 6, servicev1.ReviewState_REVIEW_STATE_IN_PROGRESS, 0, "b", .5), // no result
		conflict,
		visited("i-8", "h-8", 8, done, complete, "c"), // no probabilities
	}
	list[4].Flags = []*servicev1.Flag{{InterviewId: proto.String("i-5"), Rule: proto.String("hearth.survey.v1.HouseholdMember.age/x")}}
	list[4].Summary.SoftFlags = proto.Uint32(1)
	return Source{
		Study: &surveyv1.Study{Study: proto.String("s")}, Graph: &servicev1.ReferralGraph{}, Canonical: map[string]string{"h-2": "h-1"},
		Decisions: []*servicev1.LinkDecision{{Subject: servicev1.LinkSubject_LINK_SUBJECT_HOUSEHOLD.Enum(), AId: proto.String("h-1"), BId: proto.String("h-2")}},
		Interviews: func(yield func(*Answered, error) bool) {
			for _, a := range list {
				if !yield(a, nil) {
					return
				}
			}
		},
	}
}

func marks(t *testing.T, clean Clean) (marked, weights string, files *memory, m *Manifest) {
	t.Helper()
	files, m = export(t, fieldOfEight(), Options{Formats: []servicev1.ExportFormat{asCSV}, Clean: clean, Levels: []string{"interview", "household", "flag"}})
	var a, b []string
	for _, r := range records(t, files.files["csv/interview.csv"]) {
		a = append(a, r["analysis_set"])
		w, _ := strconv.ParseFloat(r["weight_response"], 64)
		b = append(b, strconv.FormatFloat(math.Round(w*1000)/1000, 'g', -1, 64))
	}
	return strings.Join(a, ""), strings.Join(b, " "), files, m
}

// Each step leaves out what its option says: 1 in the set, 2 not finished, 3 rejected, 4 not approved, 5 in conflict, 6 duplicate, 8 not held.
func TestAnalysisSet(t *testing.T) {
	for _, c := range []struct {
		clean Clean
		want  string
	}{
		{Clean{}, "61831251"},
		{Clean{Duplicates: "mark"}, "11831251"},
		{Clean{Duplicates: "keep", Conflicts: "all"}, "11831211"},
		{Clean{Include: "approved"}, "41834244"},
		{Clean{Include: "all"}, "61111151"},
		{Clean{LeftOut: "drop"}, "111"},
	} {
		if got, _, _, _ := marks(t, c.clean); got != c.want {
			t.Errorf("%+v: %s, want %s", c.clean, got, c.want)
		}
	}
	_, _, files, m := marks(t, Clean{})
	if a := m.Analysis; a.Include != "completed" || a.Duplicates != "merge" || a.Interviews["hearth.survey.v1.Household"] != 3 || a.Received["hearth.survey.v1.Household"] != 8 {
		t.Errorf("manifest says %+v", a)
	}
	flow := map[string]string{}
	for _, r := range records(t, files.files["cleaning.csv"]) {
		flow[r["step"]+r["rule"]] = r["count"]
	}
	for step, want := range map[string]string{
		"interviews received": "8", "left out: not finished": "1", "left out: rejected": "1", "left out: revisions contradict each other": "1",
		"left out: duplicate of another interview": "1", "left out: no interview was held": "1", "analysis set": "3", "of these with checks that fail": "1",
		"check fails in the analysis set, and was let standhearth.survey.v1.HouseholdMember.age/x": "1",
	} {
		if flow[step] != want {
			t.Errorf("cleaning.csv: %s: %q, want %s", step, flow[step], want)
		}
	}
	if _, err := newJob(fieldOfEight(), Options{Clean: Clean{Duplicates: "burn"}}, &memory{}, nil); err == nil || !strings.Contains(err.Error(), "merge, mark, keep") {
		t.Errorf("a choice that there is not gives %v", err)
	}
}

// A household that is visited again counts once, by the last visit that was held, or the one that was approved; and its result
// counts once, whether it was ever met or not. Other rounds and other questionnaires are other interviews.
func TestRevisits(t *testing.T) {
	const (
		done, approved   = servicev1.ReviewState_REVIEW_STATE_COMPLETED, servicev1.ReviewState_REVIEW_STATE_APPROVED_BY_SUPERVISOR
		complete, nobody = surveyv1.ResultCode_RESULT_CODE_COMPLETE, surveyv1.ResultCode_RESULT_CODE_NO_ONE_HOME
	)
	list := []*Answered{
		visited("i-1", "h-1", 1, done, nobody, "a", .1),                                                          // not met at first,
		visited("i-2", "h-1", 2, done, complete, "a", .1),                                                        // met,
		visited("i-3", "h-1", 3, done, complete, "a", .1),                                                        // corrected: this counts
		visited("i-4", "h-2", 4, approved, complete, "a", .1), visited("i-5", "h-2", 5, done, complete, "a", .1), // the approved one counts
		visited("i-6", "h-3", 6, done, nobody, "a", .1), visited("i-7", "h-3", 7, done, surveyv1.ResultCode_RESULT_CODE_REFUSAL, "a", .1), // never
		visited("i-8", "h-1", 8, done, complete, "a", .1),                                                                                                           // round 2
		visited("i-9", "h-4", 9, done, complete, "a", .1), visited("i-10", "h-5", 10, done, complete, "a", .1), visited("i-11", "h-5", 11, done, complete, "a", .1), // 4 and 5 are one: the first id, its last
	}
	list[7].Interview.Round = proto.Uint32(2)
	src := Source{
		Study: &surveyv1.Study{Study: proto.String("s")}, Graph: &servicev1.ReferralGraph{}, Canonical: map[string]string{"h-5": "h-4"},
		Decisions: []*servicev1.LinkDecision{{Subject: servicev1.LinkSubject_LINK_SUBJECT_HOUSEHOLD.Enum(), AId: proto.String("h-4"), BId: proto.String("h-5")}},
		Interviews: func(yield func(*Answered, error) bool) {
			for _, a := range list {
				if !yield(a, nil) {
					return
				}
			}
		},
	}
	src.Revisited = func(household, questionnaire string, round uint32) bool {
		return questionnaire == "hearth.survey.v1.Household" && round == 0 && household != "h-4"
	}
	for _, c := range []struct {
		clean           Clean
		set, second, of string
	}{
		{Clean{Weights: true}, "87117881166", "01001000011", "1 2 3 1 2 1 2 1 1 2 3"},
		{Clean{Duplicates: "mark"}, "81111881111", "01001000011", "1 2 3 1 2 1 2 1 1 2 3"},
	} {
		files, m := export(t, src, Options{Formats: []servicev1.ExportFormat{asCSV}, Clean: c.clean, Levels: []string{"interview"}})
		var set, second, of []string
		for _, r := range records(t, files.files["csv/interview.csv"]) {
			set, second, of = append(set, r["analysis_set"]), append(second, r["duplicate_of_another"]), append(of, r["household_visit"])
		}
		if got := strings.Join(set, ""); got != c.set {
			t.Errorf("%+v: analysis set %s, want %s", c.clean, got, c.set)
		}
		if got := strings.Join(second, ""); got != c.second {
			t.Errorf("%+v: duplicates %s, want %s", c.clean, got, c.second)
		}
		if got := strings.Join(of, " "); got != c.of {
			t.Errorf("%+v: visits %s, want %s", c.clean, got, c.of)
		}
		// Households 1, 2 and 4 answered, and 1 again in round 2; 3 refused at last.
		if c.clean.Weights && m.Analysis.Weights.Responses["RR1"] != .8 {
			t.Errorf("response rates %v, want 4 of 5", m.Analysis.Weights.Responses)
		}
	}
}

// The weights by hand: stratum a has 20 of one who answered and 20 of one who refused, the duplicate left out: 20 * 40/20.
// Stratum b has 2 who answered, 2 rejected, 2 in conflict: 2 * 6/2.
func TestWeights(t *testing.T) {
	_, weights, files, m := marks(t, Clean{Weights: true})
	if weights != "0 40 0 0 6 0 0 0" {
		t.Errorf("weights are %s", weights)
	}
	sum := 0.0
	for _, r := range records(t, files.files["csv/household.csv"]) {
		w, _ := strconv.ParseFloat(r["weight"], 64)
		sum += w
		if r["household_id"] == "h-5" && (r["design_stratum"] != "b" || r["design_psu"] != "psu-i-5" || r["weight_design"] != "2") {
			t.Errorf("the design of h-5 is %s %s %s", r["design_stratum"], r["design_psu"], r["weight_design"])
		}
	}
	if math.Abs(sum-2) > 1e-9 {
		t.Errorf("the normalised weights of two sum to %v", sum)
	}
	// Complete 3 (i-2, i-5, i-8), refusal 1, not used 2; i-6 has no result.
	if rr := m.Analysis.Weights.Responses; rr["RR1"] != .5 || rr["RR2"] != .5 || rr["RR5"] != .5 {
		t.Errorf("response rates are %v", rr)
	}
}

// AAPOR's rates by hand: 50 complete, 10 partial, 20 refusals, 5 non-contacts, 5 others, 20 unknown, 10 not eligible; e is 90/100.
func TestResponseRates(t *testing.T) {
	r := rates{complete: 50, partial: 10, refused: 20, noContact: 5, otherReason: 5, unknownEligibility: 20, notEligible: 10}
	want := [6]float64{50. / 110, 60. / 110, 50. / 108, 60. / 108, 50. / 90, 60. / 90}
	for i, got := range r.responses() {
		if math.Abs(got-want[i]) > 1e-12 {
			t.Errorf("RR%d is %v, want %v", i+1, got, want[i])
		}
	}
}
