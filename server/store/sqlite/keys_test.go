package sqlite

import (
	"fmt"
	"strings"
	"testing"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"google.golang.org/protobuf/proto"
)

func placed(id string, part uint64, enumerator string) *servicev1.InterviewProjection {
	return &servicev1.InterviewProjection{Summary: &servicev1.InterviewSummary{
		InterviewId: &id, Part: &part, Study: proto.String("s"), Enumerator: &enumerator, StartTimeMs: proto.Int64(int64(part % 7)),
	}}
}

// An interview is found by its id alone, whatever part it is in, also in the greatest and the least.
func TestInterviewInAnyPart(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	changes := &store.Changes{}
	parts := []uint64{0, 1, 2, 1 << 62, 1 << 63, 1<<63 + 1, 1<<64 - 1}
	n := 300
	if testing.Short() {
		n = 70
	}
	for i := range n {
		changes.Interviews = append(changes.Interviews, placed(fmt.Sprint("iv-", i), parts[i%len(parts)]+uint64(i/7*1000), "e"))
	}
	if err := s.Apply(t.Context(), changes); err != nil {
		t.Fatal(err)
	}
	for _, want := range changes.Interviews {
		got, err := s.Interview(t.Context(), want.GetSummary().GetInterviewId())
		if err != nil || !proto.Equal(want, got) {
			t.Fatalf("Interview(%s) = %v, %v", want.GetSummary().GetInterviewId(), got, err)
		}
	}
	rows, err := s.projection.db.Query("EXPLAIN QUERY PLAN "+oneInterview, "x")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var a, b, c int
		var what string
		if err := rows.Scan(&a, &b, &c, &what); err != nil {
			t.Fatal(err)
		}
		if what == "SCAN i" || strings.HasPrefix(what, "SCAN c") {
			t.Errorf("one interview is looked for in all of them: %s", what)
		}
	}
}

// Projections whose key was led by the id, as folders of before have them, are used as they are.
func TestOlderKeyOfInterviews(t *testing.T) {
	now := projectionSQL
	projectionSQL = strings.ReplaceAll(now, "PRIMARY KEY (part, interview_id)", "PRIMARY KEY (interview_id, part)")
	defer func() { projectionSQL = now }()
	if projectionSQL == now {
		t.Fatal("the key is written in another way: this test makes no older file")
	}
	dir := t.TempDir()
	s := open(t, dir, Options{})
	if err := s.Apply(t.Context(), &store.Changes{Interviews: []*servicev1.InterviewProjection{placed("a", 1, "e1"), placed("b", 2, "e1")}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	projectionSQL = now
	s = open(t, dir, Options{})
	if err := s.Apply(t.Context(), &store.Changes{Interviews: []*servicev1.InterviewProjection{placed("a", 1, "e2")}}); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{"a": "e2", "b": "e1"} {
		got, err := s.Interview(t.Context(), id)
		if err != nil || got.GetSummary().GetEnumerator() != want {
			t.Errorf("Interview(%s) = %v, %v; want that of %s: the older file was thrown away, or changed wrongly", id, got, err, want)
		}
	}
	stone := store.Withdrawal{Part: 2, InterviewID: "b", Tombstone: &servicev1.Tombstone{}}
	if err := s.Apply(t.Context(), &store.Changes{Withdrawn: []store.Withdrawal{stone, stone}}); err != nil {
		t.Fatal(err)
	}
}
