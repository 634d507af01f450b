package server

import (
	"testing"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// The projector may stop after a batch, so that tablets which sync meet no long computation, and goes on where it was. Who
// asks meanwhile gets all.
func TestProjectorInSteps(t *testing.T) {
	set, err := builtin()
	if err != nil {
		t.Fatal(err)
	}
	st := newMemory()
	srv, err := New(Config{Store: st, Key: newTablet("headquarters").key, Questionnaires: set}) // nobody runs its projector
	if err != nil {
		t.Fatal(err)
	}
	service, tb := &syncService{Server: srv}, newTablet("steps")
	if _, err := service.Hello(t.Context(), tb.hello()); err != nil {
		t.Fatal(err)
	}
	n := 0
	push := func(batches int) {
		t.Helper()
		for range batches {
			var raws [][]byte
			for range 100 {
				raws = append(raws, tb.record(t, household(n), nil))
				n++
			}
			if _, err := service.PushBatch(t.Context(), &servicev1.PushBatchRequest{Batch: tb.batch(raws...)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	counted := func() int64 {
		t.Helper()
		cells, err := st.CountCells(t.Context(), "")
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
	srv.projector.whole.Store(false) // as after a start
	if more, err := srv.projector.advance(t.Context(), 1); err != nil || !more || counted() != projectorBatch {
		t.Fatalf("after a step: more %v, %v, %d interviews are counted, want %d", more, err, counted(), projectorBatch)
	}
	if srv.projector.whole.Load() {
		t.Error("the projections are said to be whole after a step")
	}
	if more, err := srv.projector.advance(t.Context(), 1); err != nil || !more || counted() != 2*projectorBatch {
		t.Fatalf("after two steps: more %v, %v, %d interviews are counted", more, err, counted())
	}
	resp, err := servicev1.NewMonitorServiceClient(srv.Local()).CountInterviews(t.Context(), &servicev1.CountInterviewsRequest{})
	if err != nil || resp.GetTotal().GetInterviews() != int64(n) {
		t.Errorf("who asks is told %d of %d, %v", resp.GetTotal().GetInterviews(), n, err)
	}
	push(1)
	if more, err := srv.projector.advance(t.Context(), 1); err != nil || more || counted() != int64(n) {
		t.Errorf("the last step: more %v, %v, %d of %d interviews are counted", more, err, counted(), n)
	}
}
