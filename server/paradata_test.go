package server

import (
	"path/filepath"
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/proto/paradata"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/syncertest"
	"google.golang.org/protobuf/proto"
)

// Paradata come beside the answers, change nothing in them, and go with them when the interview is erased.
func TestParadata(t *testing.T) {
	d := newDesk(t, openSQLite(t, filepath.Join(t.TempDir(), "hq")))
	patient(d)
	st := enrolledStore(t, d, "0007")
	iv := syncertest.Interview("0007", 1, "a")
	if _, _, err := st.AddInterview(t.Context(), iv); err != nil {
		t.Fatal(err)
	}
	trail := paradata.Trail{InterviewID: iv.GetInterviewId(), Visits: []paradata.Visit{{Question: "site_id", StartMS: 1467338400000, Duration: 4000, Changes: 1}}}
	for _, want := range []bool{true, false} {
		if added, err := st.AddParadata(t.Context(), trail); err != nil || added != want {
			t.Fatalf("AddParadata = %v, %v, want %v", added, err, want)
		}
	}
	r, err := st.Sync(t.Context(), d.conn, fieldOptions())
	if err != nil || r.Sent != 2 || len(r.Quarantined) != 0 {
		t.Fatalf("Sync = %+v, %v", r, err)
	}
	monitor := servicev1.NewMonitorServiceClient(d.conn)
	get := func() (*servicev1.GetParadataResponse, error) {
		return monitor.GetParadata(with(t.Context()), &servicev1.GetParadataRequest{InterviewId: iv.InterviewId})
	}
	resp, err := get()
	if err != nil || len(resp.GetParadata()) != 1 {
		t.Fatalf("GetParadata = %v, %v", resp, err)
	}
	if got, err := paradata.Decode(resp.GetParadata()[0]); err != nil || len(got.Visits) != 1 || got.Visits[0].Question != "site_id" || got.Visits[0].StartMS != 1467338400000 {
		t.Errorf("it says %+v, %v", got, err)
	}
	counts, err := monitor.CountInterviews(with(t.Context()), &servicev1.CountInterviewsRequest{})
	if err != nil || counts.GetTotal().GetInterviews() != 1 {
		t.Errorf("counts = %v, %v, want one interview", counts.GetTotal(), err)
	}
	shown, err := d.store.Interview(t.Context(), iv.GetInterviewId())
	if err != nil {
		t.Fatal(err)
	}
	part := shown.GetSummary().GetPart()
	review := servicev1.NewReviewServiceClient(d.conn)
	if _, err := review.WithdrawInterview(with(t.Context()), &servicev1.WithdrawInterviewRequest{InterviewId: iv.InterviewId, Reason: proto.String("asked for it"), DecidedBy: proto.String("S")}); err != nil {
		t.Fatal(err)
	}
	if _, err := review.EraseInterview(with(t.Context()), &servicev1.EraseInterviewRequest{InterviewId: iv.InterviewId, DecidedBy: proto.String("S")}); err != nil {
		t.Fatal(err)
	}
	if resp, err := get(); fault.Reason(reasonOf(err)) == "" && len(resp.GetParadata()) > 0 {
		t.Errorf("after erasure GetParadata = %v, %v", resp, err)
	}
	all, err := d.store.Revisions(t.Context(), part, servicev1.RecordKind_RECORD_KIND_PARADATA, iv.GetInterviewId())
	if err != nil || len(all) != 1 {
		t.Fatalf("%d records of paradata, %v", len(all), err)
	}
	if rec, err := syncer.Open(all[0].Raw); err != nil || len(rec.GetPayload()) > 0 {
		t.Errorf("the record of paradata still says something: %v", err)
	}
	// What comes later of a withdrawn interview waits in quarantine.
	trail.Visits[0].Changes = 9
	if _, err := st.AddParadata(t.Context(), trail); err != nil {
		t.Fatal(err)
	}
	r, err = st.Sync(t.Context(), d.conn, fieldOptions())
	if err != nil || len(r.Quarantined) != 1 || r.Quarantined[0].Reason != fault.InterviewWithdrawn {
		t.Errorf("Sync = %+v, %v, want it quarantined as withdrawn", r, err)
	}
}
