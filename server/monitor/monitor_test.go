package monitor_test

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"strings"
	"testing"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/monitor"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

const (
	byQuestionnaire = servicev1.Dimension_DIMENSION_QUESTIONNAIRE
	byEnumerator    = servicev1.Dimension_DIMENSION_ENUMERATOR
	bySite          = servicev1.Dimension_DIMENSION_SITE
	byDay           = servicev1.Dimension_DIMENSION_DAY
	byResult        = servicev1.Dimension_DIMENSION_RESULT
	byRound         = servicev1.Dimension_DIMENSION_ROUND
	byReview        = servicev1.Dimension_DIMENSION_REVIEW_STATE
)

var dimensions = []servicev1.Dimension{byQuestionnaire, byEnumerator, bySite, byDay, byResult, byRound, byReview}

func cell(questionnaire, enumerator, site, day string, result surveyv1.ResultCode, n int64) *servicev1.CountCell {
	return &servicev1.CountCell{
		Study: proto.String("guiyang-2016"), Questionnaire: proto.String(questionnaire), Enumerator: proto.String(enumerator),
		SiteId: proto.String(site), Day: proto.String(day), Result: proto.Int32(int32(result)), Interviews: proto.Int64(n),
	}
}

func target(questionnaire, site string, n int64) *surveyv1.Target {
	t := &surveyv1.Target{Interviews: proto.Int64(n)}
	if questionnaire != "" {
		t.Questionnaire = proto.String(questionnaire)
	}
	if site != "" {
		t.SiteId = proto.String(site)
	}
	return t
}

func study(targets ...*surveyv1.Target) *surveyv1.Study {
	return &surveyv1.Study{
		Study: proto.String("guiyang-2016"),
		Sites: []*surveyv1.Site{
			{SiteId: proto.String("yunyan-03"), Name: proto.String("云岩区三桥社区")},
			{SiteId: proto.String("school-c"), Name: proto.String("School C")},
		},
		Enumerators: []*surveyv1.Enumerator{{Enumerator: proto.String("e1"), Name: proto.String("王芳")}},
		Rounds:      []*surveyv1.Round{{Round: proto.Uint32(2), Name: proto.String("Second round")}},
		Targets:     targets,
	}
}

// show prints a row as "keys interviews/completed/in progress/not interviewed of target".
func show(r *servicev1.CountRow) string {
	s := fmt.Sprintf("%s %d/%d/%d/%d", strings.Join(r.GetKeys(), ","), r.GetInterviews(), r.GetCompleted(), r.GetInProgress(), r.GetNotInterviewed())
	if r.Target != nil {
		s += fmt.Sprintf(" of %d", r.GetTarget())
	}
	return s
}

func showAll(resp *servicev1.CountInterviewsResponse) string {
	var lines []string
	for _, r := range resp.GetRows() {
		lines = append(lines, show(r))
	}
	return strings.Join(append(lines, "total"+show(resp.GetTotal())), "\n")
}

var fieldwork = []*servicev1.CountCell{
	cell("q.House", "e1", "yunyan-03", "2016-07-10", surveyv1.ResultCode_RESULT_CODE_COMPLETE, 10),
	cell("q.House", "e2", "yunyan-03", "2016-07-09", surveyv1.ResultCode_RESULT_CODE_PARTIAL, 2),
	cell("q.House", "e2", "school-c", "2016-07-09", surveyv1.ResultCode_RESULT_CODE_REFUSAL, 3),
	cell("q.School", "e1", "school-c", "", surveyv1.ResultCode_RESULT_CODE_UNSPECIFIED, 4),
	cell("q.School", "", "", "2016-07-09", surveyv1.ResultCode_RESULT_CODE_POSTPONED, 1),
}

func TestTally(t *testing.T) {
	for _, tt := range []struct {
		name  string
		by    []servicev1.Dimension
		study *surveyv1.Study
		want  string
	}{
		{"no dimension", nil, nil, " 20/12/5/3\ntotal 20/12/5/3"},
		{"days ascend and no day comes last", []servicev1.Dimension{byDay}, nil,
			"2016-07-09 6/2/1/3\n2016-07-10 10/10/0/0\n 4/0/4/0\ntotal 20/12/5/3"},
		{"results go by number", []servicev1.Dimension{byResult}, nil,
			"RESULT_CODE_UNSPECIFIED 4/0/4/0\nRESULT_CODE_COMPLETE 10/10/0/0\nRESULT_CODE_PARTIAL 2/2/0/0\n" +
				"RESULT_CODE_REFUSAL 3/0/0/3\nRESULT_CODE_POSTPONED 1/0/1/0\ntotal 20/12/5/3"},
		{"targets by questionnaire", []servicev1.Dimension{byQuestionnaire}, study(target("q.House", "", 20), target("q.Expert", "", 4)),
			"q.Expert 0/0/0/0 of 4\nq.House 15/12/0/3 of 20\nq.School 5/0/5/0\ntotal 20/12/5/3 of 24"},
		{"a finer target sums up", []servicev1.Dimension{byQuestionnaire},
			study(target("q.House", "yunyan-03", 12), target("q.House", "school-c", 3), target("q.School", "", 5)),
			"q.House 15/12/0/3 of 15\nq.School 5/0/5/0 of 5\ntotal 20/12/5/3 of 20"},
		{"a coarser target belongs to no row", []servicev1.Dimension{byQuestionnaire, bySite}, study(target("q.House", "", 20)),
			"q.House,school-c 3/0/0/3\nq.House,yunyan-03 12/12/0/0\nq.School,school-c 4/0/4/0\nq.School, 1/0/1/0\ntotal 20/12/5/3 of 20"},
		{"the same interviews stated twice count once", []servicev1.Dimension{bySite},
			study(target("q.House", "", 60), target("q.School", "", 5), target("", "yunyan-03", 60)),
			"school-c 7/0/4/3\nyunyan-03 12/12/0/0 of 60\n 1/0/1/0\ntotal 20/12/5/3 of 65"},
		{"a day has no target", []servicev1.Dimension{byDay}, study(target("q.House", "", 20)),
			"2016-07-09 6/2/1/3\n2016-07-10 10/10/0/0\n 4/0/4/0\ntotal 20/12/5/3 of 20"},
		{"a target for all", []servicev1.Dimension{byEnumerator}, study(target("", "", 50), target("q.House", "", 20)),
			"e1 14/10/4/0\ne2 5/2/0/3\n 1/0/1/0\ntotal 20/12/5/3 of 50"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := showAll(monitor.Tally(fieldwork, tt.by, tt.study)); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestTallyOfNothing(t *testing.T) {
	resp := monitor.Tally(nil, []servicev1.Dimension{bySite}, study(target("", "school-c", 7)))
	if got, want := showAll(resp), "school-c 0/0/0/0 of 7\ntotal 0/0/0/0 of 7"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	other := cell("q.House", "", "", "", 1, 9)
	other.Study = proto.String("another")
	if got := monitor.Tally([]*servicev1.CountCell{other}, nil, study()).GetTotal().GetInterviews(); got != 0 {
		t.Errorf("interviews of another study: got %d, want 0", got)
	}
}

func TestLabels(t *testing.T) {
	cells := []*servicev1.CountCell{{
		Questionnaire: proto.String("hearth.survey.v1.Referral"), SiteId: proto.String("school-c"), Enumerator: proto.String("e1"),
		Round: proto.Uint32(2), Result: proto.Int32(3), ReviewState: proto.Int32(4), Interviews: proto.Int64(1),
	}, {Questionnaire: proto.String("other.v1.Water"), Result: proto.Int32(99), ReviewState: proto.Int32(77), Interviews: proto.Int64(1)}}
	for _, tt := range []struct {
		by             servicev1.Dimension
		en, zh, unread string
	}{
		{byQuestionnaire, "Referral", "介绍关系", "Water"},
		{bySite, "School C", "School C", "(none)"},
		{byEnumerator, "e1 王芳", "e1 王芳", "(none)"},
		{byRound, "Second round", "Second round", "(none)"},
		{byResult, "refusal", "拒访", "99"},
		{byReview, "approved by supervisor", "督导员通过", "77"},
	} {
		rows := monitor.Tally(cells, []servicev1.Dimension{tt.by}, study()).GetRows()
		if len(rows) != 0 {
			t.Fatalf("%v: cells without study counted in a study", tt.by)
		}
		st := study()
		st.Study = nil
		rows = monitor.Tally(cells, []servicev1.Dimension{tt.by}, st).GetRows()
		if got := rows[0].GetLabelsEn()[0]; got != tt.en {
			t.Errorf("%v: got %q, want %q", tt.by, got, tt.en)
		}
		if got := rows[0].GetLabelsZh()[0]; got != tt.zh {
			t.Errorf("%v: got %q, want %q", tt.by, got, tt.zh)
		}
		if got := rows[1].GetLabelsEn()[0]; got != tt.unread {
			t.Errorf("%v: got %q, want %q", tt.by, got, tt.unread)
		}
	}
}

func TestWriteTable(t *testing.T) {
	resp := monitor.Tally(fieldwork, []servicev1.Dimension{bySite}, study(target("", "yunyan-03", 20), target("", "school-c", 8)))
	for lang, want := range map[string]string{
		"en": `Site            Interviews  Completed  In progress  Not interviewed     Progress
--------------------------------------------------------------------------------
School C                 7          0            4                3    0/8   0 %
云岩区三桥社区          12         12            0                0  12/20  60 %
(none)                   1          0            1                0
--------------------------------------------------------------------------------
Total                   20         12            5                3  12/28  42 %
`,
		"zh": `调查点          访问  完成  进行中  未访问         进度
-------------------------------------------------------
School C           7     0       4       3    0/8   0 %
云岩区三桥社区    12    12       0       0  12/20  60 %
（无）             1     0       1       0
-------------------------------------------------------
合计              20    12       5       3  12/28  42 %
`,
	} {
		var b bytes.Buffer
		if err := monitor.WriteTable(&b, resp, lang); err != nil {
			t.Fatal(err)
		}
		if b.String() != want {
			t.Errorf("%s: got\n%s\nwant\n%s", lang, b.String(), want)
		}
	}
}

func TestWriteTableObeysNoLabel(t *testing.T) {
	resp := monitor.Tally([]*servicev1.CountCell{cell("q", "a\x1b[2J\nb\u202e", "", "", 1, 1)}, []servicev1.Dimension{byEnumerator}, nil)
	var b bytes.Buffer
	if err := monitor.WriteTable(&b, resp, "en"); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); strings.ContainsAny(got, "\x1b\u202e") || strings.Count(got, "\n") != 5 {
		t.Errorf("control characters of a label reach the terminal: %q", got)
	}
}

func TestWriteCSV(t *testing.T) {
	resp := monitor.Tally(fieldwork, []servicev1.Dimension{bySite, byDay}, study())
	var b bytes.Buffer
	if err := monitor.WriteCSV(&b, resp, "zh"); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(b.String(), "\ufeffsite,site_label,day,day_label,interviews,completed,in_progress,not_interviewed,target\r\n") {
		t.Errorf("header: got %q", b.String())
	}
	records, err := csv.NewReader(&b).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(records[3], "|"), "yunyan-03|云岩区三桥社区|2016-07-09|2016-07-09|2|2|0|0|"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestTallyAgreesWithCounting counts random interviews by hand.
func TestTallyAgreesWithCounting(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cells := map[string]*servicev1.CountCell{}
		want := map[string]int64{}
		by := rapid.SliceOfNDistinct(rapid.SampledFrom(dimensions), 0, 3, rapid.ID).Draw(t, "by")
		interviews := rapid.IntRange(0, 60).Draw(t, "interviews")
		for range interviews {
			s := &servicev1.InterviewSummary{
				Study:         proto.String("guiyang-2016"),
				Questionnaire: proto.String(rapid.SampledFrom([]string{"", "q.A", "q.B"}).Draw(t, "questionnaire")),
				Enumerator:    proto.String(rapid.SampledFrom([]string{"", "e1", "e2"}).Draw(t, "enumerator")),
				SiteId:        proto.String(rapid.SampledFrom([]string{"", "school-c"}).Draw(t, "site")),
				Day:           proto.String(rapid.SampledFrom([]string{"", "2016-07-01", "2016-07-02"}).Draw(t, "day")),
				Round:         proto.Uint32(rapid.Uint32Range(0, 2).Draw(t, "round")),
				Result:        surveyv1.ResultCode(rapid.Int32Range(0, 14).Draw(t, "result")).Enum(),
				ReviewState:   servicev1.ReviewState(rapid.Int32Range(0, 7).Draw(t, "review")).Enum(),
			}
			c := monitor.Cell(s)
			k := monitor.CellKey(c)
			if have, ok := cells[k]; ok {
				have.Interviews = proto.Int64(have.GetInterviews() + 1)
			} else {
				cells[k] = c
			}
			want[rowKey(s, by)]++
		}
		var list []*servicev1.CountCell
		for _, c := range cells {
			list = append(list, c)
		}
		resp := monitor.Tally(list, by, study())
		if got := resp.GetTotal().GetInterviews(); got != int64(interviews) {
			t.Fatalf("total: got %d, want %d", got, interviews)
		}
		if len(resp.GetRows()) != len(want) {
			t.Fatalf("rows: got %d, want %d", len(resp.GetRows()), len(want))
		}
		for _, r := range resp.GetRows() {
			if r.GetInterviews() != want[strings.Join(r.GetKeys(), "|")] {
				t.Fatalf("row %v: got %d, want %d", r.GetKeys(), r.GetInterviews(), want[strings.Join(r.GetKeys(), "|")])
			}
			if r.GetCompleted()+r.GetInProgress()+r.GetNotInterviewed() != r.GetInterviews() {
				t.Fatalf("row %v: the parts do not add up", r.GetKeys())
			}
		}
		if err := monitor.WriteTable(&bytes.Buffer{}, resp, "zh"); err != nil {
			t.Fatal(err)
		}
	})
}

func rowKey(s *servicev1.InterviewSummary, by []servicev1.Dimension) string {
	round := ""
	if s.GetRound() > 0 {
		round = fmt.Sprint(s.GetRound())
	}
	values := map[servicev1.Dimension]string{
		byQuestionnaire: s.GetQuestionnaire(), byEnumerator: s.GetEnumerator(), bySite: s.GetSiteId(), byDay: s.GetDay(),
		byResult: s.GetResult().String(), byRound: round, byReview: s.GetReviewState().String(),
	}
	var keys []string
	for _, d := range by {
		keys = append(keys, values[d])
	}
	return strings.Join(keys, "|")
}

func TestCellKeyTellsPartsApart(t *testing.T) {
	a, b := cell("ab", "c", "", "", 1, 1), cell("a", "bc", "", "", 1, 5)
	if monitor.CellKey(a) == monitor.CellKey(b) {
		t.Error("two different cells have the same key")
	}
	c := cell("ab", "c", "", "", 1, 7)
	if monitor.CellKey(a) != monitor.CellKey(c) {
		t.Error("the count is part of the key")
	}
}

func BenchmarkTally(b *testing.B) {
	var cells []*servicev1.CountCell
	for i := range 20_000 {
		cells = append(cells, cell(fmt.Sprintf("hearth.survey.v1.Q%d", i%3), fmt.Sprintf("enumerator-%d", i%80),
			fmt.Sprintf("site-%d", i%50), fmt.Sprintf("2016-07-%02d", i%29+1), surveyv1.ResultCode(i%14), 5))
	}
	for _, bb := range []struct {
		name string
		by   []servicev1.Dimension
	}{
		{"questionnaire", []servicev1.Dimension{byQuestionnaire}},
		{"day and enumerator", []servicev1.Dimension{byDay, byEnumerator}},
		{"site, day and enumerator", []servicev1.Dimension{bySite, byDay, byEnumerator}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			for b.Loop() {
				monitor.Tally(cells, bb.by, study(target("hearth.survey.v1.Q1", "site-3", 40)))
			}
		})
	}
}
