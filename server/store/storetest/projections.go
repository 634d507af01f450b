package storetest

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

var projectionTests = map[string]func(*testing.T, Factory){
	"cursor":        testProjectedCursor,
	"two":           testTwoProjectors,
	"replaced":      testReplaced,
	"counts":        testCounts,
	"flag cells":    testFlagCells,
	"filters":       testFilters,
	"order":         testListingOrder,
	"bodies":        testBodies,
	"pages":         testPages,
	"stopped early": testStoppedEarly,
	"decisions":     testDecisions,
	"studies":       testStudies,
	"unset fields":  testUnset,
	"met":           testMet,
}

// interview is a projection; change may alter its summary.
func interview(id string, start int64, change func(*servicev1.InterviewSummary)) *servicev1.InterviewProjection {
	s := &servicev1.InterviewSummary{
		InterviewId: proto.String(id), Study: proto.String("guiyang-2016"), Round: proto.Uint32(1), Part: proto.Uint64(7),
		Questionnaire: proto.String("hearth.survey.v1.Household"), Enumerator: proto.String("e1"), SiteId: proto.String("花果园"),
		Day: proto.String("2016-07-01"), Result: surveyv1.ResultCode_RESULT_CODE_COMPLETE.Enum(),
		ReviewState: servicev1.ReviewState_REVIEW_STATE_COMPLETED.Enum(), StartTimeMs: proto.Int64(start), Heads: [][]byte{{1}},
	}
	if change != nil {
		change(s)
	}
	return &servicev1.InterviewProjection{Summary: s}
}

func apply(t *testing.T, s store.Store, interviews ...*servicev1.InterviewProjection) {
	t.Helper()
	if err := s.Apply(t.Context(), &store.Changes{Interviews: interviews}); err != nil {
		t.Fatal(err)
	}
}

func list(t *testing.T, s store.Store, f store.Filter) []string {
	t.Helper()
	out := []string{}
	for _, iv := range page(t, s, f) {
		out = append(out, iv.GetInterviewId())
	}
	return out
}

func page(t *testing.T, s store.Store, f store.Filter) []*servicev1.InterviewSummary {
	t.Helper()
	var out []*servicev1.InterviewSummary
	for iv, err := range s.Interviews(t.Context(), f) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, iv.GetSummary())
	}
	return out
}

func testProjectedCursor(t *testing.T, f Factory) {
	s := f.Open(t)
	b := NewTablet(1)
	b.Push(t, s, append(b.Records(t, 7, 3), b.Records(t, 8, 2)...)...)
	if c, err := s.Projected(t.Context()); err != nil || len(c.Parts) > 0 || c.Epoch != s.Epoch() {
		t.Errorf("Projected at first = %v, %v; want nothing", c, err)
	}
	move := func(parts map[uint64]uint64) error {
		return s.Apply(t.Context(), &store.Changes{Cursor: syncer.Cursor{Epoch: s.Epoch(), Parts: parts}})
	}
	if err := move(map[uint64]uint64{7: 2}); err != nil {
		t.Fatal(err)
	}
	if err := move(map[uint64]uint64{7: 3, 8: 1}); err != nil {
		t.Fatal(err)
	}
	if err := move(map[uint64]uint64{7: 4, 8: 1}); err == nil {
		t.Error("projections ahead of the log were taken")
	}
	if f.Reopen != nil {
		s = f.Reopen(t, s)
	}
	c, err := s.Projected(t.Context())
	if diff := cmp.Diff(map[uint64]uint64{7: 3, 8: 1}, c.Parts); diff != "" || err != nil {
		t.Errorf("Projected (-want +got), %v:\n%s", err, diff)
	}
}

func testReplaced(t *testing.T, f Factory) {
	s := f.Open(t)
	apply(t, s, interview("a", 1, nil), interview("b", 2, nil))
	want := interview("a", 5, func(s *servicev1.InterviewSummary) { s.Enumerator = proto.String("e2") })
	want.People = []*servicev1.PersonRecord{{PersonId: proto.String("p"), Age: proto.Int32(0)}}
	apply(t, s, want)
	got, err := s.Interview(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("Interview (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"b", "a"}, list(t, s, store.Filter{})); diff != "" {
		t.Errorf("Interviews (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a"}, list(t, s, store.Filter{Enumerator: "e2"})); diff != "" {
		t.Errorf("Interviews of e2 (-want +got):\n%s", diff)
	}
	if _, err := s.Interview(t.Context(), "A"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("Interview(A) = %v, want not found", err)
	}
}

// cells are the counts as text, without what is the same in all.
func cells(t *testing.T, s store.Store, study string) map[string]int64 {
	t.Helper()
	list, err := s.CountCells(t.Context(), study)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int64{}
	for _, c := range list {
		name := fmt.Sprintf("%s %d %s %s %d", c.GetStudy(), c.GetRound(), c.GetEnumerator(), c.GetDay(), c.GetResult())
		if _, twice := out[name]; twice {
			t.Errorf("cell %s comes twice", name)
		}
		out[name] = c.GetInterviews()
	}
	return out
}

func testCounts(t *testing.T, f Factory) {
	s := f.Open(t)
	refusal := func(s *servicev1.InterviewSummary) { s.Result = surveyv1.ResultCode_RESULT_CODE_REFUSAL.Enum() }
	other := func(s *servicev1.InterviewSummary) { s.Study = proto.String("Guiyang-2016") }
	apply(t, s, interview("a", 1, nil), interview("b", 2, nil), interview("c", 3, refusal), interview("d", 4, other))
	want := map[string]int64{"guiyang-2016 1 e1 2016-07-01 1": 2, "guiyang-2016 1 e1 2016-07-01 3": 1, "Guiyang-2016 1 e1 2016-07-01 1": 1}
	if diff := cmp.Diff(want, cells(t, s, "")); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	// The same again, twice in one go, and moved to another cell.
	apply(t, s, interview("a", 1, nil), interview("b", 2, refusal), interview("b", 2, refusal), interview("d", 4, nil))
	want = map[string]int64{"guiyang-2016 1 e1 2016-07-01 1": 2, "guiyang-2016 1 e1 2016-07-01 3": 2}
	if diff := cmp.Diff(want, cells(t, s, "guiyang-2016")); diff != "" {
		t.Errorf("counts after (-want +got):\n%s", diff)
	}
	if got := cells(t, s, "Guiyang-2016"); len(got) != 0 {
		t.Errorf("counts of the study that has none left = %v", got)
	}
}

func testFilters(t *testing.T, f Factory) {
	s := f.Open(t)
	apply(t, s,
		interview("a", 1, nil),
		interview("b", 2, func(s *servicev1.InterviewSummary) { s.Enumerator = proto.String("E1") }),
		interview("c", 3, func(s *servicev1.InterviewSummary) {
			s.SiteId, s.Part = proto.String("老城区"), proto.Uint64(1<<63+1)
		}),
		interview("d", 4, func(s *servicev1.InterviewSummary) { s.Questionnaire = proto.String("hearth.survey.v1.School") }),
		interview("e", 5, func(s *servicev1.InterviewSummary) { s.Heads = [][]byte{{1}, {2}} }),
		interview("f", 6, func(s *servicev1.InterviewSummary) { s.Study = proto.String("other") }))
	for _, tc := range []struct {
		name string
		f    store.Filter
		want []string
	}{
		{"all", store.Filter{}, []string{"a", "b", "c", "d", "e", "f"}},
		{"study", store.Filter{Study: "guiyang-2016"}, []string{"a", "b", "c", "d", "e"}},
		{"enumerator", store.Filter{Enumerator: "E1"}, []string{"b"}},
		{"site", store.Filter{SiteID: "老城区"}, []string{"c"}},
		{"questionnaire", store.Filter{Questionnaire: "hearth.survey.v1.School"}, []string{"d"}},
		{"conflicts", store.Filter{ConflictsOnly: true}, []string{"e"}},
		{"all of them", store.Filter{Study: "guiyang-2016", Enumerator: "e1", SiteID: "花果园", Questionnaire: "hearth.survey.v1.Household"}, []string{"a", "e"}},
		{"none", store.Filter{Study: "' OR 1=1 --"}, []string{}},
		{"newest", store.Filter{Newest: true, Limit: 2}, []string{"f", "e"}},
		{"limit", store.Filter{Limit: 3, Enumerator: "e1"}, []string{"a", "c", "d"}},
	} {
		if diff := cmp.Diff(tc.want, list(t, s, tc.f)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}

// testBodies wants the bytes of every projection of a study once; filled up from the summary where they are lean, they are
// those of the projection.
func testBodies(t *testing.T, f Factory) {
	s := f.Open(t)
	sent := map[string]*servicev1.InterviewProjection{}
	for i := range 40 {
		iv := interview(fmt.Sprintf("iv-%02d", i), int64(i), func(s *servicev1.InterviewSummary) {
			if i%4 == 0 {
				s.Study = proto.String("other")
			}
		})
		sum := iv.GetSummary()
		p := &servicev1.PersonRecord{PersonId: proto.String(fmt.Sprint("p", i)), InterviewId: sum.InterviewId, InterviewKey: sum.InterviewKey,
			Study: sum.Study, Round: sum.Round, Part: sum.Part, SiteId: sum.SiteId, Enumerator: sum.Enumerator,
			InterviewTimeMs: sum.StartTimeMs, Questionnaire: sum.Questionnaire}
		if i%3 == 0 {
			p.SiteId = proto.String("elsewhere") // so that it cannot be left out
		}
		iv.People = []*servicev1.PersonRecord{p}
		sent[sum.GetInterviewId()] = proto.CloneOf(iv)
		apply(t, s, iv)
	}
	for study, want := range map[string]int{"": 40, "other": 10, "guiyang-2016": 30, "none": 0} {
		got := 0
		for body, err := range s.Bodies(t.Context(), study) {
			if err != nil {
				t.Fatal(err)
			}
			got++
			iv := &servicev1.InterviewProjection{}
			if err := proto.Unmarshal(body.Bytes, iv); err != nil {
				t.Fatal(err)
			}
			sum := iv.GetSummary()
			for _, p := range iv.GetPeople() {
				if body.Lean {
					p.InterviewId, p.InterviewKey, p.Study, p.Round, p.Part = sum.InterviewId, sum.InterviewKey, sum.Study, sum.Round, sum.Part
					p.SiteId, p.Enumerator, p.InterviewTimeMs, p.Questionnaire = sum.SiteId, sum.Enumerator, sum.StartTimeMs, sum.Questionnaire
				}
			}
			if !proto.Equal(iv, sent[sum.GetInterviewId()]) {
				t.Errorf("the bytes of %s are not those of its projection", sum.GetInterviewId())
			}
			if study != "" && sum.GetStudy() != study {
				t.Errorf("an interview of %q among those of %q", sum.GetStudy(), study)
			}
		}
		if got != want {
			t.Errorf("%d interviews of study %q, want %d", got, study, want)
		}
	}
	for range s.Bodies(t.Context(), "") {
		break // and the store can be closed
	}
}

func testListingOrder(t *testing.T, f Factory) {
	s := f.Open(t)
	apply(t, s, interview("b", 5, nil), interview("B", 5, nil), interview("张", 5, nil), interview("a", 5, nil), interview("z", -3, nil),
		interview("none", 0, func(s *servicev1.InterviewSummary) { s.StartTimeMs = nil }))
	want := []string{"z", "none", "B", "a", "b", "张"}
	if diff := cmp.Diff(want, list(t, s, store.Filter{})); diff != "" {
		t.Errorf("oldest first, then by the bytes of the id (-want +got):\n%s", diff)
	}
}

func testPages(t *testing.T, f Factory) {
	s := f.Open(t)
	var all []*servicev1.InterviewProjection
	for i := range 57 {
		all = append(all, interview(fmt.Sprintf("iv-%02d", i), int64(i/10), nil)) // many at the same time
	}
	apply(t, s, all...)
	for _, newest := range []bool{false, true} {
		whole := list(t, s, store.Filter{Newest: newest})
		var paged []string
		for after := (*store.Position)(nil); ; {
			page := page(t, s, store.Filter{Newest: newest, After: after, Limit: 4})
			if len(page) == 0 {
				break
			}
			for _, iv := range page {
				paged, after = append(paged, iv.GetInterviewId()), store.PositionOf(iv)
			}
		}
		if diff := cmp.Diff(whole, paged); diff != "" || len(whole) != 57 {
			t.Errorf("pages, newest %v (-want +got):\n%s", newest, diff)
		}
	}
}

func testMet(t *testing.T, f Factory) {
	s := f.Open(t)
	met := func(part uint64, id string) bool {
		t.Helper()
		ok, err := s.Met(t.Context(), part, id)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	apply(t, s, interview("a", 1, nil), interview("b", 1, nil))
	err := s.Apply(t.Context(), &store.Changes{Reviews: []store.Reviewed{{
		Part: 7, Review: &servicev1.Review{ReviewId: proto.String("r"), InterviewId: proto.String("said"), Study: proto.String("guiyang-2016")},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		part uint64
		id   string
		want bool
	}{{7, "a", true}, {8, "a", false}, {7, "A", false}, {7, "said", true}, {8, "said", false}, {7, "", false}, {7, "r", false}} {
		if got := met(tc.part, tc.id); got != tc.want {
			t.Errorf("Met(%d, %q) = %v, want %v", tc.part, tc.id, got, tc.want)
		}
	}
	gone := store.Withdrawal{Part: 7, InterviewID: "b", Tombstone: &servicev1.Tombstone{}}
	if err := s.Apply(t.Context(), &store.Changes{Withdrawn: []store.Withdrawal{gone}}); err != nil {
		t.Fatal(err)
	}
	if met(7, "b") {
		t.Error("a withdrawn interview still has a projection")
	}
}

func testStoppedEarly(t *testing.T, f Factory) {
	s := f.Open(t)
	apply(t, s, interview("a", 1, nil), interview("b", 2, nil))
	for range 20 { // whatever it holds open it must give back
		for range s.Interviews(t.Context(), store.Filter{}) {
			break
		}
	}
	apply(t, s, interview("c", 3, nil))
	if n := len(list(t, s, store.Filter{})); n != 3 {
		t.Errorf("%d interviews, want 3", n)
	}
}

func testDecisions(t *testing.T, f Factory) {
	s := f.Open(t)
	d := func(id, study string, at int64) *servicev1.LinkDecision {
		return &servicev1.LinkDecision{DecisionId: proto.String(id), Study: proto.String(study), TimeMs: proto.Int64(at), Reason: proto.String("同一人")}
	}
	want := []*servicev1.LinkDecision{d("z", "s", 1), d("a", "s", 2), d("b", "s", 2)}
	if err := s.Apply(t.Context(), &store.Changes{Decisions: []*servicev1.LinkDecision{want[2], d("x", "other", 0), want[1], d("z", "s", 9)}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(t.Context(), &store.Changes{Decisions: want[:1]}); err != nil {
		t.Fatal(err)
	}
	got, err := s.Decisions(t.Context(), "s")
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" || err != nil {
		t.Errorf("Decisions (-want +got), %v:\n%s", err, diff)
	}
}

func testStudies(t *testing.T, f Factory) {
	s := f.Open(t)
	st := func(code, title string) *surveyv1.Study {
		return &surveyv1.Study{Study: proto.String(code), TitleZh: proto.String(title)}
	}
	for _, list := range [][]*surveyv1.Study{{st("b", "旧"), st("a", "甲")}, {st("b", "新")}} {
		if err := s.Apply(t.Context(), &store.Changes{Studies: list}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Studies(t.Context())
	if diff := cmp.Diff([]*surveyv1.Study{st("a", "甲"), st("b", "新")}, got, protocmp.Transform()); diff != "" || err != nil {
		t.Errorf("Studies (-want +got), %v:\n%s", err, diff)
	}
}

// Unset is not zero: what was not known comes back as not known.
func testUnset(t *testing.T, f Factory) {
	s := f.Open(t)
	want := &servicev1.InterviewProjection{Summary: &servicev1.InterviewSummary{InterviewId: proto.String("x"), DurationSeconds: proto.Int64(0)}}
	apply(t, s, want)
	got, err := s.Interview(t.Context(), "x")
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" || err != nil {
		t.Errorf("Interview (-want +got), %v:\n%s", err, diff)
	}
	list, err := s.CountCells(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	cell := []*servicev1.CountCell{{Study: proto.String(""), Round: proto.Uint32(0), Questionnaire: proto.String(""), Enumerator: proto.String(""),
		SiteId: proto.String(""), Day: proto.String(""), Result: proto.Int32(0), ReviewState: proto.Int32(0), Interviews: proto.Int64(1)}}
	if diff := cmp.Diff(cell, list, protocmp.Transform(), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}

// Of two that make projections from the same place one is applied; the other must read again.
func testTwoProjectors(t *testing.T, f Factory) {
	s := f.Open(t)
	b := NewTablet(1)
	b.Push(t, s, b.Records(t, 7, 3)...)
	at := func(n uint64) syncer.Cursor { return syncer.Cursor{Epoch: s.Epoch(), Parts: map[uint64]uint64{7: n}} }
	start := syncer.Cursor{Epoch: s.Epoch()}
	first := at(3)
	if err := s.Apply(t.Context(), &store.Changes{From: &start, Cursor: first, Interviews: []*servicev1.InterviewProjection{interview("a", 2, nil)}}); err != nil {
		t.Fatal(err)
	}
	late := &store.Changes{From: &start, Cursor: at(2), Interviews: []*servicev1.InterviewProjection{interview("a", 1, nil)}}
	if err := s.Apply(t.Context(), late); fault.KindOf(err) != fault.Conflict {
		t.Errorf("Apply from where the projections are not = %v, want %v", err, fault.Conflict)
	}
	got, err := s.Projected(t.Context())
	if err != nil || !got.SameParts(first.Parts) {
		t.Errorf("Projected = %v, %v; want %v", got, err, first)
	}
	if iv, err := s.Interview(t.Context(), "a"); err != nil || iv.GetSummary().GetStartTimeMs() != 2 {
		t.Errorf("Interview = %v, %v; want that of the first", iv, err)
	}
	if err := s.Apply(t.Context(), &store.Changes{From: &first, Cursor: first}); err != nil {
		t.Errorf("Apply from where they are: %v", err)
	}
}
