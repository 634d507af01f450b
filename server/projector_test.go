package server

import (
	"testing"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// The projector may stop after a batch, so that tablets which sync meet no long computation, and goes on where it was. Who
// asks meanwhile gets all.
func TestProjectorInSteps(t *testing.T) {
	d := newDesk(t, newMemory())
	tb := newTablet("steps")
	tb.greet(t, d)
	n := 0
	push := func(batches int) {
		t.Helper()
		for range batches {
			var raws [][]byte
			for range 100 {
				raws = append(raws, tb.record(t, household(n), nil))
				n++
			}
			tb.push(t, d, raws...)
		}
	}
	counted := func() int64 {
		t.Helper()
		cells, err := d.store.CountCells(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		sum := int64(0)
		for _, c := range cells {
			sum += c.GetInterviews()
		}
		return sum
	}
	push(23)
	d.projector.whole.Store(false) // as after a start
	if more, err := d.projector.advance(t.Context(), 1); err != nil || !more || counted() != projectorBatch {
		t.Fatalf("after a step: more %v, %v, %d interviews are counted, want %d", more, err, counted(), projectorBatch)
	}
	if d.projector.whole.Load() {
		t.Error("the projections are said to be whole after a step")
	}
	if more, err := d.projector.advance(t.Context(), 1); err != nil || !more || counted() != 2*projectorBatch {
		t.Fatalf("after two steps: more %v, %v, %d interviews are counted", more, err, counted())
	}
	resp, err := servicev1.NewMonitorServiceClient(d.conn).CountInterviews(with(t.Context()), &servicev1.CountInterviewsRequest{})
	if err != nil || resp.GetTotal().GetInterviews() != int64(n) {
		t.Errorf("who asks is told %d of %d, %v", resp.GetTotal().GetInterviews(), n, err)
	}
	push(1)
	if more, err := d.projector.advance(t.Context(), 1); err != nil || more || counted() != int64(n) {
		t.Errorf("the last step: more %v, %v, %d of %d interviews are counted", more, err, counted(), n)
	}
}
