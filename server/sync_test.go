package server

import (
	"testing"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
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
