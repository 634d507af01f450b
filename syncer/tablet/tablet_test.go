package tablet_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hearth-survey/hearth/proto/fault"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/syncertest"
	"github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

// clock is a tablet's clock that moves a second at every look.
func clock() func() time.Time {
	at := time.Date(2016, 7, 1, 8, 0, 0, 0, time.UTC)
	return func() time.Time {
		at = at.Add(time.Second)
		return at
	}
}

func create(t *testing.T, name string) *tablet.Store {
	t.Helper()
	s, err := tablet.Create(context.Background(), filepath.Join(t.TempDir(), name+".sqlite"), tablet.CreateOptions{
		Name: name, Enumerator: "E1", Study: "guiyang-2016", Now: clock(), Rand: syncertest.Random(name),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func reopen(t *testing.T, path, name string) *tablet.Store {
	t.Helper()
	s, err := tablet.Open(context.Background(), path, tablet.Options{Now: clock(), Rand: syncertest.Random(name + " again")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func connect(t *testing.T, srv *syncertest.Server) *syncertest.Link {
	t.Helper()
	link, err := syncertest.Connect(srv)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { link.Close() })
	return link
}

// fast are the options of tests: no waiting.
func fast() tablet.SyncOptions {
	return tablet.SyncOptions{MinBackoff: time.Microsecond, MaxBackoff: time.Microsecond, Attempts: 4}
}

func add(t *testing.T, s *tablet.Store, ivs ...*surveyv1.Interview) []syncer.Digest {
	t.Helper()
	var all []syncer.Digest
	for _, iv := range ivs {
		d, added, err := s.AddInterview(context.Background(), iv)
		if err != nil || !added {
			t.Fatalf("AddInterview: added %v, error %v", added, err)
		}
		all = append(all, d)
	}
	return all
}

func mustSync(t *testing.T, s *tablet.Store, link *syncertest.Link, opts tablet.SyncOptions) tablet.SyncReport {
	t.Helper()
	r, err := s.Sync(context.Background(), link, opts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func mustStatus(t *testing.T, s *tablet.Store) tablet.Status {
	t.Helper()
	st, err := s.Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestDraftBecomesRecordBecomesReceipt(t *testing.T) {
	ctx := context.Background()
	s := create(t, "tablet-01")
	iv := syncertest.Interview("tablet-01", 1, "初稿")
	iv.Status = nil
	for _, answer := range []string{"一", "一二", "一二三"} {
		iv.Remarks = proto.String(answer)
		if err := s.SaveDraft(ctx, iv); err != nil {
			t.Fatal(err)
		}
	}
	drafts, err := s.Drafts(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]*surveyv1.Interview{iv}, drafts, protocmp.Transform()); diff != "" {
		t.Fatalf("drafts (-want +got):\n%s", diff)
	}
	first, err := s.Complete(ctx, iv.GetInterviewId())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Complete(ctx, iv.GetInterviewId()); fault.KindOf(err) != fault.NotFound {
		t.Errorf("Complete without a draft: %v, want not found", err)
	}
	iv.Remarks = proto.String("corrected")
	if err := s.SaveDraft(ctx, iv); err != nil {
		t.Fatal(err)
	}
	second, err := s.Complete(ctx, iv.GetInterviewId())
	if err != nil {
		t.Fatal(err)
	}
	srv := syncertest.NewServer("hq")
	link := connect(t, srv)
	r := mustSync(t, s, link, fast())
	if r.Sent != 2 || r.Pending != 0 || r.NewEpoch {
		t.Errorf("report = %+v, want 2 sent, none pending", r)
	}
	rec, err := syncer.Open(srv.Records()[second])
	if err != nil {
		t.Fatal(err)
	}
	got := &surveyv1.Interview{}
	if err := proto.Unmarshal(rec.GetPayload(), got); err != nil {
		t.Fatal(err)
	}
	want := proto.CloneOf(iv)
	want.Study, want.Enumerator = proto.String("guiyang-2016"), proto.String("E1")
	want.Status = surveyv1.InterviewStatus_INTERVIEW_STATUS_COMPLETED.Enum()
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("interview at headquarters (-want +got):\n%s", diff)
	}
	if len(rec.GetParents()) != 1 || string(rec.GetParents()[0]) != string(first[:]) {
		t.Errorf("parents of the second revision = %x, want %v", rec.GetParents(), first)
	}
	if got, want := rec.GetQuestionnaire(), "hearth.survey.v1.Household"; got != want {
		t.Errorf("questionnaire = %q, want %q", got, want)
	}
	if got, want := rec.GetPart(), syncer.Part("guiyang-2016", "school-a"); got != want {
		t.Errorf("part = %x, want %x", got, want)
	}
	st := mustStatus(t, s)
	if st.Records != 2 || st.Interviews != 1 || st.Drafts != 0 || st.Pending != 0 || st.LastReceipt.IsZero() || st.LastSync.IsZero() {
		t.Errorf("status = %+v", st)
	}
	pushes := srv.Calls("PushBatch")
	if r := mustSync(t, s, link, fast()); r.Sent != 0 || r.Duplicates != 0 || srv.Calls("PushBatch") != pushes {
		t.Errorf("the second sync sent: %+v", r)
	}
}

func TestManyRecordsTravelInGrowingBatches(t *testing.T) {
	s := create(t, "tablet-01")
	for i := range 300 {
		add(t, s, syncertest.Interview("tablet-01", i, fmt.Sprintf("%0600d", i)))
	}
	for _, compress := range []bool{false, true} {
		srv := syncertest.NewServer(fmt.Sprint("hq ", compress))
		c := reopenCopy(t, s)
		opts := fast()
		opts.Compress = compress
		last, calls := 0, 0
		opts.Progress = func(sent, total int) {
			if sent < last || total != 300 {
				t.Errorf("progress %d of %d after %d", sent, total, last)
			}
			last, calls = sent, calls+1
		}
		r := mustSync(t, c, connect(t, srv), opts)
		if r.Sent != 300 || len(srv.Records()) != 300 || last != 300 {
			t.Errorf("compress %v: sent %d, headquarters has %d, progress ended at %d, want 300", compress, r.Sent, len(srv.Records()), last)
		}
		if r.Batches > 12 || r.Batches != calls {
			t.Errorf("compress %v: %d batches, %d reports of progress", compress, r.Batches, calls)
		}
		t.Logf("compress %v: %d batches, %d bytes up", compress, r.Batches, r.BytesUp)
	}
}

// reopenCopy opens a backup of a store, as on another tablet.
func reopenCopy(t *testing.T, s *tablet.Store) *tablet.Store {
	t.Helper()
	path := filepath.Join(t.TempDir(), "备份 copy?#%.sqlite")
	if err := s.Backup(context.Background(), path); err != nil {
		t.Fatal(err)
	}
	return reopen(t, path, "copy")
}

func TestCutAtEveryCall(t *testing.T) {
	for _, kind := range []syncertest.Fault{syncertest.RequestLost, syncertest.AnswerLost} {
		for cut := 1; cut <= 8; cut++ {
			t.Run(fmt.Sprintf("fault %d call %d", kind, cut), func(t *testing.T) {
				s := create(t, "tablet-01")
				for i := range 12 {
					add(t, s, syncertest.Interview("tablet-01", i, fmt.Sprintf("%02000d", i)))
				}
				srv := syncertest.NewServer("hq")
				link := connect(t, srv)
				link.Plan(func(call int, _ string) syncertest.Fault {
					if call >= cut {
						return kind
					}
					return syncertest.None
				})
				if _, err := s.Sync(context.Background(), link, fast()); err == nil && cut <= 4 {
					t.Error("no error although the link is down")
				}
				link.Plan(nil)
				r := mustSync(t, s, link, fast())
				if len(srv.Records()) != 12 || r.Pending != 0 || r.NewEpoch {
					t.Errorf("headquarters has %d of 12, report %+v", len(srv.Records()), r)
				}
				pushes := srv.Calls("PushBatch")
				if mustSync(t, s, link, fast()); srv.Calls("PushBatch") != pushes {
					t.Error("the sync after the last still sends")
				}
			})
		}
	}
}
