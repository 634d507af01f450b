package server

import (
	"errors"
	"testing"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

func TestTabletSyncs(t *testing.T) {
	d := newDesk(t, newMemory())
	tb := newTablet("tablet-03")
	hello := tb.greet(t, d)
	if got := hello.GetLimits().GetMaxBatchRecords(); got != uint32(syncer.DefaultLimits.Records) {
		t.Errorf("limit of records = %d", got)
	}
	a, b := household(1), household(2)
	raws := [][]byte{tb.record(t, a, nil), tb.record(t, b, nil)}
	first := tb.head
	ack := tb.push(t, d, raws...)
	if len(ack.GetResults()) != 0 || ack.GetFork() {
		t.Fatalf("ack of a good batch = %v", ack)
	}
	lane, head, err := syncer.VerifyReceipt(ack.GetReceipt(), hello.GetServerKey())
	if err != nil || lane != tb.lane || head != tb.head {
		t.Errorf("receipt covers %v %v, %v; want %v %v", lane, head, err, tb.lane, tb.head)
	}
	tb.head = first
	again := tb.push(t, d, raws...)
	if len(again.GetResults()) != 2 || again.GetResults()[0].GetOutcome() != servicev1.EntryOutcome_ENTRY_OUTCOME_DUPLICATE {
		t.Errorf("the same batch again = %v, want two duplicates", again.GetResults())
	}
	counts, err := servicev1.NewMonitorServiceClient(d.conn).CountInterviews(with(t.Context()), &servicev1.CountInterviewsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if got := counts.GetTotal().GetCompleted(); got != 2 {
		t.Errorf("completed = %d, want 2: %v", got, counts)
	}
}

// Nothing that was parsed for the projector stays behind, whether it was stored, held before, unusable or failed.
func TestNothingWaitsForTheProjector(t *testing.T) {
	m := newMemory()
	d := newDesk(t, m)
	tb := newTablet("waiting")
	tb.greet(t, d)
	raws := [][]byte{tb.record(t, household(1), nil), tb.record(t, household(2), func(r *servicev1.Record) { r.QuestionnaireVersion = proto.Uint32(99) })}
	start := tb.head
	for range 2 {
		tb.head = start
		tb.push(t, d, raws...)
	}
	m.failAppend = errors.New("no")
	if _, err := servicev1.NewSyncServiceClient(d.conn).PushBatch(with(t.Context()), &servicev1.PushBatchRequest{Batch: tb.batch(tb.record(t, household(3), nil))}); err == nil {
		t.Error("a batch that was not stored is acknowledged")
	}
	if err := d.Project(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.projector.mu.Lock()
	defer d.projector.mu.Unlock()
	if len(d.projector.parsed) != 0 || d.projector.waiting != 0 {
		t.Errorf("%d records with %d bytes wait", len(d.projector.parsed), d.projector.waiting)
	}
}
