package sqlite

import (
	"fmt"
	"sync"
	"testing"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"google.golang.org/protobuf/proto"
)

// The counts in memory are those of the table, whoever asks when.
func TestCountsWhileProjecting(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	const rounds, each = 30, 10
	sum := func() (n int64) {
		cells, err := s.CountCells(t.Context(), "")
		if err != nil {
			t.Error(err)
		}
		for _, c := range cells {
			n += c.GetInterviews()
		}
		return n
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for last := int64(0); last < rounds*each; {
				n := sum()
				if n < last || n%each != 0 {
					t.Errorf("%d interviews after %d, which is not a whole number of changes", n, last)
					return
				}
				last = n
			}
		})
	}
	for i := range rounds {
		changes := &store.Changes{}
		for k := range each {
			changes.Interviews = append(changes.Interviews, &servicev1.InterviewProjection{Summary: &servicev1.InterviewSummary{
				InterviewId: proto.String(fmt.Sprint(i, k)), Day: proto.String(fmt.Sprint(k % 3))}})
		}
		if err := s.Apply(t.Context(), changes); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	before := fmt.Sprint(s.CountCells(t.Context(), ""))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{})
	if after := fmt.Sprint(s.CountCells(t.Context(), "")); after != before {
		t.Errorf("counts = %s, before the store was opened again %s", after, before)
	}
}
