package server

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// outcomes are what an answer says of entries that were not plainly stored.
func outcomes(ack *servicev1.BatchAck) []string {
	var all []string
	for _, r := range ack.GetResults() {
		all = append(all, r.GetOutcome().String()[len("ENTRY_OUTCOME_"):]+" "+r.GetReason())
	}
	return all
}

// What comes after its round was closed is kept and not counted, until somebody opens the round and replays it.
func TestClosedRounds(t *testing.T) {
	eachStore(t, func(t *testing.T, d *desk) {
		ctx, studies := with(t.Context()), servicev1.NewStudyServiceClient(d.conn)
		st := guiyang()
		st.Rounds = append(st.Rounds, &surveyv1.Round{Round: proto.Uint32(2)})
		if _, err := studies.PutStudy(ctx, &servicev1.PutStudyRequest{Study: st}); err != nil {
			t.Fatal(err)
		}
		tb := newTablet("late")
		tb.greet(t, d)
		inTime := household(1)
		early := tb.record(t, inTime, nil)
		tb.push(t, d, early)
		closed, err := studies.CloseStudy(ctx, &servicev1.CloseStudyRequest{Round: proto.Uint32(1), DecidedBy: proto.String("Chen")})
		if err != nil || len(closed.GetStudy().GetClosedRounds()) != 1 {
			t.Fatalf("CloseStudy = %v, %v", closed, err)
		}
		late, next := household(2), household(3)
		next.Round = proto.Uint32(2)
		edit := proto.CloneOf(inTime)
		edit.GetHousehold().Members[1].Age = proto.Int32(9)
		first := syncer.DigestOf(early)
		lateRaw := tb.record(t, late, nil)
		ack := tb.push(t, d, early, lateRaw, tb.record(t, next, nil), tb.record(t, edit, func(r *servicev1.Record) { r.Parents = [][]byte{first[:]} }))
		want := []string{"DUPLICATE ", "QUARANTINED ROUND_CLOSED", "QUARANTINED ROUND_CLOSED"}
		if diff := cmp.Diff(want, outcomes(ack)); diff != "" || ack.GetReceipt().GetSeq() != 5 {
			t.Errorf("after closing (-want +got):\n%s\nreceipt %d, want 5", diff, ack.GetReceipt().GetSeq())
		}
		// A definition that is put again closes and opens nothing.
		st.Closed = proto.Bool(true)
		if _, err := studies.PutStudy(ctx, &servicev1.PutStudyRequest{Study: st}); err != nil {
			t.Fatal(err)
		}
		got, err := studies.GetStudy(ctx, &servicev1.GetStudyRequest{})
		if err != nil || got.GetStudy().GetClosed() || len(got.GetStudy().GetClosedRounds()) != 1 {
			t.Errorf("the study after it was put again: %v, %v", got, err)
		}
		counted := func(want int64) {
			t.Helper()
			resp, err := servicev1.NewMonitorServiceClient(d.conn).CountInterviews(ctx, &servicev1.CountInterviewsRequest{})
			if err != nil || resp.GetTotal().GetInterviews() != want {
				t.Errorf("counted %v, %v; want %d interviews", resp.GetTotal(), err, want)
			}
		}
		counted(2)
		if _, err := studies.ReopenStudy(ctx, &servicev1.ReopenStudyRequest{Round: proto.Uint32(1)}); err != nil {
			t.Fatal(err)
		}
		replayed, err := servicev1.NewMonitorServiceClient(d.conn).ReplayQuarantine(ctx, &servicev1.ReplayQuarantineRequest{Reason: proto.String("ROUND_CLOSED")})
		if err != nil || replayed.GetReleased() != 2 {
			t.Errorf("replay = %v, %v; want 2 released", replayed, err)
		}
		counted(3)
		// The whole study: nothing gets in, whatever its round.
		if _, err := studies.CloseStudy(ctx, &servicev1.CloseStudyRequest{}); err != nil {
			t.Fatal(err)
		}
		none := household(4)
		none.Round = nil
		ack = tb.push(t, d, lateRaw, tb.record(t, none, nil))
		if diff := cmp.Diff([]string{"DUPLICATE ", "QUARANTINED ROUND_CLOSED"}, outcomes(ack)); diff != "" {
			t.Errorf("after closing the study (-want +got):\n%s", diff)
		}
	})
}

func TestCloseRefuses(t *testing.T) {
	d := newDesk(t, newMemory())
	ctx, studies := with(t.Context()), servicev1.NewStudyServiceClient(d.conn)
	_, err := studies.CloseStudy(ctx, &servicev1.CloseStudyRequest{})
	wants(t, err, codes.NotFound, fault.UnknownStudy)
	if _, err := studies.PutStudy(ctx, &servicev1.PutStudyRequest{Study: guiyang()}); err != nil {
		t.Fatal(err)
	}
	_, err = studies.CloseStudy(ctx, &servicev1.CloseStudyRequest{Round: proto.Uint32(9)})
	wants(t, err, codes.NotFound, fault.NoSuchRound)
	_, err = studies.ReopenStudy(ctx, &servicev1.ReopenStudyRequest{Study: proto.String("other")})
	wants(t, err, codes.NotFound, fault.UnknownStudy)
	_, err = studies.CloseStudy(ctx, &servicev1.CloseStudyRequest{DecidedBy: proto.String(string(make([]byte, 200)))})
	wants(t, err, codes.InvalidArgument, fault.BadRequest)
	for range 2 { // the second time changes nothing
		if _, err := studies.CloseStudy(ctx, &servicev1.CloseStudyRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	_, err = studies.ReopenStudy(ctx, &servicev1.ReopenStudyRequest{Round: proto.Uint32(1)})
	wants(t, err, codes.FailedPrecondition, fault.RoundClosed)
	head, err := d.store.Lane(t.Context(), d.author.lane)
	if err != nil || head.Seq != 2 {
		t.Errorf("headquarters has written %d records, %v; want 2: the study, and that it is closed", head.Seq, err)
	}
}

// A server that starts again knows what is closed, though the projections are not made yet.
func TestClosedAfterARestart(t *testing.T) {
	dir := t.TempDir()
	tb := newTablet("restart")
	d := newDesk(t, openSQLite(t, dir))
	ctx := with(t.Context())
	if _, err := servicev1.NewStudyServiceClient(d.conn).PutStudy(ctx, &servicev1.PutStudyRequest{Study: guiyang()}); err != nil {
		t.Fatal(err)
	}
	tb.greet(t, d)
	if _, err := servicev1.NewStudyServiceClient(d.conn).CloseStudy(ctx, &servicev1.CloseStudyRequest{}); err != nil {
		t.Fatal(err)
	}
	again := newDesk(t, d.store) // a second one over the same store
	ack := tb.push(t, again, tb.record(t, household(1), nil))
	if diff := cmp.Diff([]string{"QUARANTINED ROUND_CLOSED"}, outcomes(ack)); diff != "" {
		t.Errorf("after a restart (-want +got):\n%s", diff)
	}
}

// behind is a store whose projections know the definitions of another day.
type behind struct {
	store.Store
	studies []*surveyv1.Study
}

func (b behind) Studies(context.Context) ([]*surveyv1.Study, error) { return b.studies, nil }

// What is closed is read from the log, for the projections may be behind it when the first tablet comes.
func TestClosedThoughProjectionsAreBehind(t *testing.T) {
	d := newDesk(t, newMemory())
	ctx := with(t.Context())
	if _, err := servicev1.NewStudyServiceClient(d.conn).PutStudy(ctx, &servicev1.PutStudyRequest{Study: guiyang()}); err != nil {
		t.Fatal(err)
	}
	if _, err := servicev1.NewStudyServiceClient(d.conn).CloseStudy(ctx, &servicev1.CloseStudyRequest{Round: proto.Uint32(1)}); err != nil {
		t.Fatal(err)
	}
	var c closures
	if err := c.load(t.Context(), behind{d.store, []*surveyv1.Study{guiyang()}}); err != nil {
		t.Fatal(err)
	}
	if err := c.refuses("guiyang", 1); err == nil || err.Reason != fault.RoundClosed {
		t.Errorf("round 1 is refused with %v", err)
	}
	if err := c.refuses("guiyang", 2); err != nil {
		t.Errorf("round 2 is refused with %v", err)
	}
}
