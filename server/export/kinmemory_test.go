package export

import (
	"fmt"
	"strings"
	"testing"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/protobuf/proto"
)

// rosters is n households of two, each person in one roster, but the last, who stands in the first too; where bare, one of them
// without a line number.
func rosters(n int, bare bool) Source {
	src := Source{}
	var all []*Answered
	for i := range n {
		iv := &surveyv1.Interview{InterviewId: proto.String(fmt.Sprintf("i-%04d", i))}
		h := &surveyv1.Household{HouseholdId: proto.String(fmt.Sprintf("h-%04d", i))}
		for k := range 2 {
			id := fmt.Sprintf("p-%04d-%d", i, k)
			if i == 0 && k == 1 {
				id = fmt.Sprintf("p-%04d-1", n-1)
			}
			m := &surveyv1.HouseholdMember{PersonId: proto.String(id), LineNumber: proto.Int32(int32(k + 1))}
			if bare && i == n-1 && k == 1 {
				m.LineNumber = nil
			}
			h.Members = append(h.Members, m)
			src.People = append(src.People, &servicev1.PersonRecord{PersonId: m.PersonId, InterviewId: iv.InterviewId, LineNumber: m.LineNumber})
		}
		iv.Answers = &surveyv1.Interview_Household{Household: h}
		all = append(all, &Answered{Interview: iv, Summary: &servicev1.InterviewSummary{}})
	}
	src.Interviews = func(yield func(*Answered, error) bool) {
		for _, a := range all {
			if !yield(a, nil) {
				return
			}
		}
	}
	return src
}

// Each person has one node, and of those who stand in one roster nothing is kept in memory: the graph of a million interviews
// takes no more than that of a thousand.
func TestKinRemembersFew(t *testing.T) {
	for _, bare := range []bool{false, true} {
		const n = 200
		sink := &memory{}
		j, err := newJob(rosters(n, bare), Options{Formats: []servicev1.ExportFormat{servicev1.ExportFormat_EXPORT_FORMAT_GRAPHML}, Profile: identified}, sink, nil)
		if err != nil {
			t.Fatal(err)
		}
		rows := newSpool(j.plan)
		defer rows.close()
		layouts, err := j.lay(t.Context(), rows)
		if err != nil {
			t.Fatal(err)
		}
		f, err := newGraphWriter(j, layouts)
		if err != nil {
			t.Fatal(err)
		}
		if err := rows.each(func(r *row) error { return f.write(layouts[r.table], r) }, func() error { return nil }); err != nil {
			t.Fatal(err)
		}
		if err := f.close(); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(string(sink.files["graph/kin.graphml"]), "<node "); got != 2*n-1 {
			t.Errorf("bare %v: %d nodes, want %d", bare, got, 2*n-1)
		}
		if got := len(f.(*graphWriter).known); !bare && got != 1 {
			t.Errorf("%d people are remembered, 1 stands in two rosters", got)
		}
	}
}
