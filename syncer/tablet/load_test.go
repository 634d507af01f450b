package tablet_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/syncer/syncertest"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

func jsonOf(t *testing.T, n int, remarks string) string {
	t.Helper()
	text, err := protojson.Marshal(syncertest.Interview("load", n, remarks))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestLoadReportsBadLinesAndKeepsTheRest(t *testing.T) {
	ctx := context.Background()
	s := create(t, "tablet-01")
	good := jsonOf(t, 1, "好")
	upper := syncertest.Interview("load", 5, "")
	upper.InterviewId = proto.String(strings.ToUpper(upper.GetInterviewId()))
	upperText, err := protojson.Marshal(upper)
	if err != nil {
		t.Fatal(err)
	}
	lines := []string{
		"\xef\xbb\xbf" + good + "\r",
		"",
		good[:len(good)/2],
		`{"interviewId":"8f14e45f-ceea-467f-a8f5-2d1f2a1f0001","nosuchfield":1}`,
		`{"interviewKey":"GY-19"}`,
		`{"interviewId":"not-a-uuid"}`,
		`{"interviewId":"6ba7b810-9dad-11d1-80b4-00c04fd430c8"}`,
		string(upperText),
		jsonOf(t, 2, strings.Repeat("长", 400_000)),
		"  \t ",
		`[1,2,3]`,
		`{"interviewId":"8f14e45f-ceea-467f-a8f5-2d1f2a1f0001","remarks":"` + "\xff" + `"}`,
		jsonOf(t, 3, strings.Repeat("x", 300_000)) + "\r",
		jsonOf(t, 4, "the last line has no end"),
	}
	var told []int
	report, err := s.Load(ctx, strings.NewReader(strings.Join(lines, "\n")), func(n int) { told = append(told, n) })
	if err != nil {
		t.Fatal(err)
	}
	type problem struct {
		Line   int
		Reason fault.Reason
	}
	var got []problem
	for _, p := range report.Problems {
		got = append(got, problem{p.Line, p.Reason})
		if p.Message == "" || strings.Contains(p.Message, "\u00a0") {
			t.Errorf("message of line %d = %q", p.Line, p.Message)
		}
	}
	want := []problem{
		{3, fault.BadJSON}, {4, fault.BadJSON}, {5, fault.BadInterview}, {6, fault.BadInterview}, {7, fault.BadInterview},
		{8, fault.BadInterview}, {9, fault.RecordTooLarge}, {11, fault.BadJSON}, {12, fault.BadJSON},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if report.Lines != 12 || report.Added != 3 || report.Unchanged != 0 {
		t.Errorf("report = %d lines, %d added, %d unchanged, want 12, 3, 0", report.Lines, report.Added, report.Unchanged)
	}
	if diff := cmp.Diff([]int{12}, told); diff != "" {
		t.Errorf("progress (-want +got):\n%s", diff)
	}
}

func TestLoadAgain(t *testing.T) {
	ctx := context.Background()
	s := create(t, "tablet-01")
	file := jsonOf(t, 1, "a") + "\n" + jsonOf(t, 2, "b") + "\n" + jsonOf(t, 1, "a, changed") + "\n"
	load := func(text string) (added, unchanged int) {
		t.Helper()
		r, err := s.Load(ctx, strings.NewReader(text), nil)
		if err != nil || len(r.Problems) > 0 {
			t.Fatalf("load: %v, %v", err, r.Problems)
		}
		return r.Added, r.Unchanged
	}
	if added, unchanged := load(file); added != 3 || unchanged != 0 {
		t.Errorf("first time: %d added, %d unchanged, want 3, 0", added, unchanged)
	}
	// A file that says two things of one interview says them again: the last line stands, as before.
	if added, unchanged := load(file); added != 2 || unchanged != 1 {
		t.Errorf("second time: %d added, %d unchanged, want 2, 1", added, unchanged)
	}
	var export bytes.Buffer
	if err := s.Export(ctx, &export); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(export.String(), "\n"); got != 2 || !strings.Contains(export.String(), "a, changed") {
		t.Errorf("export has %d lines, want the 2 current interviews:\n%s", got, export.String())
	}
	if added, _ := load(export.String()); added != 0 {
		t.Errorf("loading the export added %d records, want 0", added)
	}
	if st := mustStatus(t, s); st.Records != 5 || st.Interviews != 2 || st.Conflicts != 0 {
		t.Errorf("status = %+v, want 5 records of 2 interviews", st)
	}
}

// A correction back to an earlier answer is a correction like any other.
func TestLoadEarlierAnswersAgain(t *testing.T) {
	ctx := context.Background()
	s := create(t, "tablet-01")
	for i, step := range []struct {
		remarks string
		added   int
	}{{"A", 1}, {"A", 0}, {"B", 1}, {"B", 0}, {"A", 1}, {"A", 0}, {"B", 1}} {
		r, err := s.Load(ctx, strings.NewReader(jsonOf(t, 1, step.remarks)), nil)
		if err != nil || r.Added != step.added || r.Unchanged != 1-step.added {
			t.Fatalf("step %d, %s: %+v, %v; want %d added", i, step.remarks, r, err, step.added)
		}
		if st := mustStatus(t, s); st.Interviews != 1 || st.Conflicts != 0 {
			t.Errorf("step %d: status = %+v, want 1 interview without conflict", i, st)
		}
		var export bytes.Buffer
		if err := s.Export(ctx, &export); err != nil || !strings.Contains(export.String(), `"`+step.remarks+`"`) {
			t.Errorf("step %d: %s is not current, %v: %s", i, step.remarks, err, &export)
		}
	}
	d, added, err := s.AddInterview(ctx, syncertest.Interview("load", 1, "A"))
	if err != nil || !added {
		t.Errorf("AddInterview back to A = %v, %v", added, err)
	}
	if again, added, err := s.AddInterview(ctx, syncertest.Interview("load", 1, "A")); err != nil || added || again != d {
		t.Errorf("AddInterview again = %v, %v, %v; want %v", again, added, err, d)
	}
}

// Interviews of another study are named with their line; those without a study get the tablet's.
func TestLoadOtherStudy(t *testing.T) {
	ctx := context.Background()
	s := create(t, "tablet-01")
	text := func(n int, study *string) string {
		iv := syncertest.Interview("load", n, "")
		iv.Study = study
		raw, err := protojson.Marshal(iv)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw) + "\n"
	}
	r, err := s.Load(ctx, strings.NewReader(text(1, nil)+text(2, proto.String("lhasa-2020"))+text(3, proto.String("guiyang-2016"))+text(4, proto.String(""))), nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Added != 3 || len(r.Problems) != 1 || r.Problems[0].Line != 2 || r.Problems[0].Reason != fault.BadInterview || r.Problems[0].InterviewID == "" {
		t.Fatalf("report = %+v, want 3 added and line 2 of another study", r)
	}
	for _, want := range []string{"lhasa-2020", "guiyang-2016", "load it into"} {
		if !strings.Contains(r.Problems[0].Message, want) {
			t.Errorf("message %q does not say %s", r.Problems[0].Message, want)
		}
	}
	var export bytes.Buffer
	if err := s.Export(ctx, &export); err != nil || strings.Count(export.String(), "guiyang-2016") != 3 {
		t.Errorf("export, %v: %s", err, &export)
	}
}

func TestLoadLongFile(t *testing.T) {
	s := create(t, "tablet-01")
	var file bytes.Buffer
	for i := range 1000 {
		file.WriteString(jsonOf(t, i, fmt.Sprint("n", i)))
		file.WriteByte('\n')
	}
	// A line beyond all limits is passed over without being kept.
	file.WriteString(`{"remarks":"` + strings.Repeat("y", 17<<20) + "\"}\n" + jsonOf(t, 1000, "after it"))
	r, err := s.Load(context.Background(), &file, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Added != 1001 || len(r.Problems) != 1 || r.Problems[0].Line != 1001 || r.Problems[0].Reason != fault.RecordTooLarge {
		t.Errorf("added %d, problems %v, want 1001 and line 1001 too large", r.Added, r.Problems)
	}
}
