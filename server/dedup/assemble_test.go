package dedup

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// TestAssemble puts a result together from the pairs of a search without decisions, and expects what a search with them gives.
func TestAssemble(t *testing.T) {
	known := town(400)
	m := Find(known, nil, nil, Options{}).Model
	rapid.Check(t, func(t *rapid.T) {
		people := rapid.Permutation(known).Draw(t, "people")[:120]
		var ids []string
		for _, p := range people[:12] {
			ids = append(ids, p.GetPersonId())
		}
		decisions := drawDecisions(t, ids)
		want := FindWith(m, people, nil, decisions)
		var pairs []*servicev1.MatchPair
		for _, p := range FindWith(m, people, nil, nil).Pairs {
			if p.GetSubject() == servicev1.LinkSubject_LINK_SUBJECT_PERSON {
				pairs = append(pairs, p)
			}
		}
		of := map[string]*servicev1.MatchPair{}
		for _, p := range want.Pairs {
			of[p.GetAId()+p.GetBId()] = p
		}
		got := m.Assemble(people, nil, pairs, decisions, func(a, b string) *servicev1.MatchPair {
			p := proto.CloneOf(of[a+b])
			p.Decision, p.DecisionId = nil, nil
			return p
		})
		if d := cmp.Diff(want.Pairs, got.Pairs, protocmp.Transform()); d != "" {
			t.Fatalf("pairs (-search +assembled):\n%s", d)
		}
		if d := cmp.Diff(want.Clusters, got.Clusters); d != "" {
			t.Fatalf("clusters:\n%s", d)
		}
	})
}

// told makes the record of one interview.
func told(interview string, ms int64, own bool, change func(*servicev1.PersonRecord)) *servicev1.PersonRecord {
	r := &servicev1.PersonRecord{PersonId: proto.String("p"), InterviewId: &interview, InterviewKey: proto.String("K" + interview), InterviewTimeMs: &ms, Identity: &surveyv1.Identity{}}
	if own {
		r.Presence = surveyv1.PresenceRole_PRESENCE_ROLE_RESPONDENT.Enum()
	}
	change(r)
	return r
}

func TestSurvive(t *testing.T) {
	name := func(s string) func(*servicev1.PersonRecord) {
		return func(r *servicev1.PersonRecord) { r.Identity.FullName = &s }
	}
	phone := func(s string) func(*servicev1.PersonRecord) {
		return func(r *servicev1.PersonRecord) { r.Identity.Phone = &s }
	}
	born := func(year, month, day int32) func(*servicev1.PersonRecord) {
		return func(r *servicev1.PersonRecord) {
			r.BirthDate = &surveyv1.PartialDate{Year: &year}
			if month > 0 {
				r.BirthDate.Month = &month
			}
			if day > 0 {
				r.BirthDate.Day = &day
			}
		}
	}
	choice := func(id, field, interview string, ms int64) *servicev1.LinkDecision {
		return &servicev1.LinkDecision{
			DecisionId: &id, Kind: servicev1.DecisionKind_DECISION_KIND_CHOOSE.Enum(), AId: proto.String("p"), Field: &field, InterviewId: &interview, TimeMs: &ms,
			DecidedBy: proto.String("S01"),
		}
	}
	rule := func(field string, order ...surveyv1.SurvivorCriterion) []*surveyv1.SurvivorRule {
		return []*surveyv1.SurvivorRule{{Field: &field, Criteria: order}}
	}
	undo := &servicev1.LinkDecision{DecisionId: proto.String("u"), Kind: servicev1.DecisionKind_DECISION_KIND_UNDO.Enum(), Undoes: proto.String("c2"), TimeMs: proto.Int64(9)}
	names := []*servicev1.PersonRecord{told("1", 1, true, name("王伟")), told("2", 2, false, name("王威")), told("3", 3, false, name("王威"))}
	tests := []struct {
		name      string
		records   []*servicev1.PersonRecord
		decisions []*servicev1.LinkDecision
		study     []*surveyv1.SurvivorRule
		want      string // field value rule interview others
	}{
		{"nothing", nil, nil, nil, ""},
		{"one", names[:1], nil, nil, "full_name 王伟 only value 1 "},
		{"more often goes before one's own", names, nil, nil, "full_name 王威 told most often 2 王伟"},
		{"one's own", names[:2], nil, nil, "full_name 王伟 own telling 1 王威"},
		{"a telephone changes", []*servicev1.PersonRecord{told("1", 5, true, phone("13800000001")), told("2", 7, false, phone("13800000002"))}, nil, nil,
			"phone 13800000002 told last 2 13800000001"},
		{"a whole date", []*servicev1.PersonRecord{told("1", 1, true, born(1980, 0, 0)), told("2", 2, true, born(1980, 0, 0)), told("3", 3, false, born(1981, 2, 3))}, nil, nil,
			"birth_date 1981-02-03 most complete 3 1980"},
		{"nothing tells them apart", []*servicev1.PersonRecord{told("1", 1, true, name("王伟")), told("2", 1, true, name("王威"))}, nil, nil, "full_name 王伟 smallest 1 王威"},
		{"chosen", names, []*servicev1.LinkDecision{choice("c1", "full_name", "1", 1)}, nil, "full_name 王伟 decided 1 王威"},
		{"chosen again", names, []*servicev1.LinkDecision{choice("c1", "full_name", "2", 1), choice("c2", "full_name", "1", 2)}, nil, "full_name 王伟 decided 1 王威"},
		{"taken back", names, []*servicev1.LinkDecision{choice("c1", "full_name", "2", 1), choice("c2", "full_name", "1", 2), undo}, nil, "full_name 王威 decided 2 王伟"},
		{"an interview that tells it no more", names, []*servicev1.LinkDecision{choice("c1", "full_name", "9", 1)}, nil, "full_name 王威 told most often 2 王伟"},
		{"the study says the first", names, nil, rule("full_name", toldFirst), "full_name 王伟 told first 1 王威"},
		{"the study says the last, and how often if there are two", names, nil, rule("full_name", toldLast, mostOften), "full_name 王威 told last 2 王伟"},
		{"a rule for another field", names, nil, rule("phone", toldFirst), "full_name 王威 told most often 2 王伟"},
		{"a choice goes before the study", names, []*servicev1.LinkDecision{choice("c1", "full_name", "2", 1)}, rule("full_name", toldFirst), "full_name 王威 decided 2 王伟"},
	}
	for _, test := range tests {
		for range 2 {
			var got []string
			for _, s := range Survive(test.records, test.decisions, test.study) {
				got = append(got, strings.Join([]string{s.GetField(), s.GetValue(), s.GetRule(), s.GetInterviewId(), strings.Join(s.GetOthers(), ",")}, " "))
			}
			if s := strings.Join(got, "; "); s != test.want {
				t.Errorf("%s: %q, want %q", test.name, s, test.want)
			}
			slices.Reverse(test.records)
			slices.Reverse(test.decisions)
		}
	}
	for _, bad := range [][]*surveyv1.SurvivorRule{rule("shoe_size", toldLast), rule("phone"), rule("phone", 0), rule("phone", 99), append(rule("phone", toldLast), rule("phone", toldFirst)...)} {
		if CheckSurvivors(bad) == nil {
			t.Errorf("taken: %v", bad)
		}
	}
	if err := CheckSurvivors(append(rule("phone", toldFirst), rule("sex", mostOften, toldLast)...)); err != nil {
		t.Error(err)
	}
	for _, f := range SurvivorFields() {
		if !SurvivorField(f) {
			t.Errorf("%s has no rule", f)
		}
	}
}
