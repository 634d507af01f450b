package tablet_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/syncertest"
	"github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// tamper changes a store's file behind the program's back, as a failing flash chip does.
func tamper(t *testing.T, path string, statement string, args ...any) error {
	t.Helper()
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path}).String())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	schema, err := os.ReadFile("schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	triggers := string(schema[strings.Index(string(schema), "CREATE TRIGGER record_fixed"):strings.Index(string(schema), "CREATE TRIGGER lane_entry_kept")])
	if _, err := db.Exec("DROP TRIGGER record_fixed; DROP TRIGGER record_pruned"); err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec(statement, args...)
	if _, rerr := db.Exec(triggers); rerr != nil {
		t.Fatal(rerr)
	}
	return err
}

func reasons(rs []tablet.EntryReport) []fault.Reason {
	var all []fault.Reason
	for _, r := range rs {
		all = append(all, r.Reason)
	}
	return all
}

func TestWhatWasWrittenStays(t *testing.T) {
	s := create(t, "tablet-01")
	add(t, s, syncertest.Interview("tablet-01", 1, "a"), syncertest.Interview("tablet-01", 2, "b"))
	srv := syncertest.NewServer("hq")
	mustSync(t, s, connect(t, srv), fast())
	add(t, s, syncertest.Interview("tablet-01", 3, "c"))
	db, err := sql.Open("sqlite", s.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, st := range []string{
		"DELETE FROM record", "UPDATE record SET body = x'00' WHERE n = 1", "UPDATE record SET subject = 'x', body = NULL WHERE n = 1",
		"UPDATE record SET digest = zeroblob(32)", "UPDATE record SET body = NULL WHERE n = 3",
		"DELETE FROM lane_entry", "UPDATE lane_entry SET seq = seq + 10", "DELETE FROM receipt", "UPDATE receipt SET seq = 100",
		"INSERT INTO lane_entry (epoch, seq, digest, chain) VALUES (x'00', 1, x'00', x'00')",
	} {
		if _, err := db.Exec(st); err == nil {
			t.Errorf("%s was allowed", st)
		}
	}
	if n, err := s.Prune(context.Background(), 3650); err != nil || n != 0 {
		t.Errorf("pruned %d, %v of records younger than that", n, err)
	}
	if n, err := s.Prune(context.Background(), 0); err != nil || n != 2 {
		t.Errorf("pruned %d, %v, want the 2 under the receipt", n, err)
	}
	// What was pruned is still known: the same answers are not written again, a change is a revision of it.
	if _, added, err := s.AddInterview(context.Background(), syncertest.Interview("tablet-01", 1, "a")); added || err != nil {
		t.Errorf("a pruned interview was added again: %v, %v", added, err)
	}
	add(t, s, syncertest.Interview("tablet-01", 1, "a, changed"))
	if st := mustStatus(t, s); st.Conflicts != 0 || st.Interviews != 3 || st.Pruned != 2 {
		t.Errorf("status = %+v, want 3 interviews without conflict, 2 pruned", st)
	}
	var export strings.Builder
	if err := s.Export(context.Background(), &export); fault.KindOf(err) != fault.NotFound || strings.Count(export.String(), "\n") != 2 {
		t.Errorf("export: %v, want the pruned interview named and the other 2 written:\n%s", err, export.String())
	}
}

func TestAForgedReceiptPrunesNothing(t *testing.T) {
	s := create(t, "tablet-01")
	add(t, s, syncertest.Interview("tablet-01", 1, "a"))
	srv := syncertest.NewServer("hq")
	mustSync(t, s, connect(t, srv), fast())
	add(t, s, syncertest.Interview("tablet-01", 2, "b"))
	db, err := sql.Open("sqlite", s.Path())
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec("INSERT INTO receipt (epoch, seq, chain, time_ms, keeper, signature) SELECT e.epoch, e.seq, e.chain, 99, r.keeper, r.signature FROM lane_entry e, receipt r WHERE e.seq = 2")
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Prune(context.Background(), 0); n != 0 || fault.ReasonOf(err) != fault.StoreDamaged {
		t.Errorf("pruned %d, %v, want nothing and %s", n, err, fault.StoreDamaged)
	}
}

func TestDamagedRecordIsDeclaredAndTheLaneGoesOn(t *testing.T) {
	s := create(t, "tablet-01")
	for i := range 5 {
		add(t, s, syncertest.Interview("tablet-01", i, "whole"))
	}
	if err := tamper(t, s.Path(), "UPDATE record SET body = x'00010203' WHERE n = 2"); err != nil {
		t.Fatal(err)
	}
	srv := syncertest.NewServer("hq")
	link := connect(t, srv)
	r := mustSync(t, s, link, fast())
	if r.Sent != 4 || r.Pending != 0 || !cmp.Equal(reasons(r.Damaged), []fault.Reason{fault.RecordDamaged}) || len(srv.Records()) != 4 {
		t.Errorf("report = %+v, want 4 sent and 1 damaged", r)
	}
	st := mustStatus(t, s)
	if st.Undelivered != 1 {
		t.Errorf("undelivered = %d, want 1", st.Undelivered)
	}
	if n, err := s.Prune(context.Background(), 0); err != nil || n != 4 {
		t.Errorf("pruned %d, %v, want the 4 that headquarters has", n, err)
	}
	pushes := srv.Calls("PushBatch")
	if mustSync(t, s, link, fast()); srv.Calls("PushBatch") != pushes {
		t.Error("the damaged record is sent again and again")
	}
}

// Two copies of a store: the damaged one syncs first and declares a record damaged. The whole one must still bring it,
// although headquarters holds the lane to its end.
func TestACopyThatDeclaresDamageDoesNotSpeakForTheOther(t *testing.T) {
	s := create(t, "tablet-01")
	var ids []syncer.Digest
	for i := range 4 {
		ids = append(ids, add(t, s, syncertest.Interview("tablet-01", i, "whole"))...)
	}
	clone := reopenCopy(t, s)
	if err := tamper(t, clone.Path(), "UPDATE record SET body = x'00010203' WHERE n = 2"); err != nil {
		t.Fatal(err)
	}
	srv := syncertest.NewServer("hq")
	link := connect(t, srv)
	mustSync(t, clone, link, fast())
	for cut := 1; cut <= 4; cut++ { // and the way there is rough
		link.Plan(func(call int, _ string) syncertest.Fault {
			if call >= cut {
				return syncertest.AnswerLost
			}
			return syncertest.None
		})
		_, _ = s.Sync(context.Background(), link, fast())
		if _, err := s.Prune(context.Background(), 0); err != nil {
			t.Fatal(err)
		}
	}
	link.Plan(nil)
	r := mustSync(t, s, link, fast())
	if _, held := srv.Records()[ids[1]]; !held || r.Pending != 0 {
		t.Errorf("LOST: the whole copy's record never came; report %+v", r)
	}
	if n, err := s.Prune(context.Background(), 0); err != nil || mustStatus(t, s).Pruned != 4 {
		t.Errorf("pruned %d more, %v, want all 4 in the end", n, err)
	}
}

func TestRecordTooLargeForTheServerBlocksNothing(t *testing.T) {
	s := create(t, "tablet-01")
	add(t, s, syncertest.Interview("tablet-01", 1, "small"), syncertest.Interview("tablet-01", 2, strings.Repeat("x", 5000)), syncertest.Interview("tablet-01", 3, "small"))
	srv := syncertest.NewServer("hq")
	srv.SetLimits(syncer.Limits{Records: 2, Bytes: 3000, RecordBytes: 2000})
	link := connect(t, srv)
	r := mustSync(t, s, link, fast())
	if r.Sent != 2 || r.Pending != 0 || !cmp.Equal(reasons(r.Refused), []fault.Reason{fault.RecordTooLarge}) {
		t.Errorf("report = %+v, want 2 sent, 1 too large", r)
	}
	if n, err := s.Prune(context.Background(), 0); err != nil || n != 2 {
		t.Errorf("pruned %d, %v, want 2", n, err)
	}
	srv.SetLimits(syncer.DefaultLimits) // somebody raises the limit
	if r = mustSync(t, s, link, fast()); r.Sent != 1 || len(srv.Records()) != 3 || mustStatus(t, s).Undelivered != 0 {
		t.Errorf("after the limit was raised: %+v, headquarters has %d of 3", r, len(srv.Records()))
	}
}

func TestQuarantineIsReportedAndDurable(t *testing.T) {
	s := create(t, "tablet-01")
	add(t, s, syncertest.Interview("tablet-01", 1, "a"), syncertest.Interview("tablet-01", 2, "b"))
	srv := syncertest.NewServer("hq")
	bad := syncertest.Interview("tablet-01", 2, "").GetInterviewId()
	srv.Quarantine(func(r *servicev1.Record) fault.Reason {
		if r.GetSubject() == bad {
			return fault.UnknownVersion
		}
		return ""
	})
	r := mustSync(t, s, connect(t, srv), fast())
	want := []tablet.EntryReport{{Seq: 2, Subject: bad, Reason: fault.UnknownVersion}}
	if diff := cmp.Diff(want, r.Quarantined); diff != "" || r.Pending != 0 || r.Sent != 2 {
		t.Errorf("report = %+v (-want +got):\n%s", r, diff)
	}
	if st := mustStatus(t, s); st.Quarantined != 1 || st.Undelivered != 0 {
		t.Errorf("status = %+v, want 1 quarantined", st)
	}
}

func TestAnotherServerGetsNothing(t *testing.T) {
	s := create(t, "tablet-01")
	add(t, s, syncertest.Interview("tablet-01", 1, "a"))
	mustSync(t, s, connect(t, syncertest.NewServer("hq")), fast())
	add(t, s, syncertest.Interview("tablet-01", 2, "b"))
	other := syncertest.NewServer("another")
	r, err := s.Sync(context.Background(), connect(t, other), fast())
	if fault.ReasonOf(err) != fault.ServerChanged || r.Pending != 1 || other.Calls("PushBatch") != 0 {
		t.Errorf("sync with another server: %v, report %+v, %d batches", err, r, other.Calls("PushBatch"))
	}
}

func TestServerRestoredFromABackup(t *testing.T) {
	s := create(t, "tablet-01")
	srv := syncertest.NewServer("hq")
	link := connect(t, srv)
	add(t, s, syncertest.Interview("tablet-01", 1, "a"))
	mustSync(t, s, link, fast())
	backup := srv.Backup()
	add(t, s, syncertest.Interview("tablet-01", 2, "b"), syncertest.Interview("tablet-01", 3, "c"))
	mustSync(t, s, link, fast())
	srv.Restore(backup)
	if r := mustSync(t, s, link, fast()); r.Sent != 2 || len(srv.Records()) != 3 {
		t.Errorf("report = %+v, headquarters has %d of 3", r, len(srv.Records()))
	}
}

func TestPullPagesAndStaleCursor(t *testing.T) {
	s := create(t, "tablet-01")
	srv := syncertest.NewServer("hq")
	link := connect(t, srv)
	write := func(from, to int) {
		for i := from; i < to; i++ {
			raw, _, err := syncer.Seal(&servicev1.Record{
				Id: []byte{byte(i >> 8), byte(i), 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 0}, Kind: servicev1.RecordKind_RECORD_KIND_STUDY.Enum(),
				Subject: proto.String(fmt.Sprint("study-", i)), Study: proto.String("guiyang-2016"), Device: make([]byte, 16),
			})
			if err != nil {
				t.Fatal(err)
			}
			srv.Write(raw)
		}
	}
	write(0, 450)
	srv.Write([]byte("\xffan envelope of a later version")) // is kept all the same
	if r := mustSync(t, s, link, fast()); r.Pulled != 451 || srv.Calls("Pull") != 3 {
		t.Errorf("pulled %d in %d pages, want 451 in 3", r.Pulled, srv.Calls("Pull"))
	}
	write(450, 460)
	if r := mustSync(t, s, link, fast()); r.Pulled != 10 || srv.Calls("Pull") != 4 {
		t.Errorf("pulled %d, want the 10 new ones in one page", r.Pulled)
	}
	srv.Restore(srv.Backup()) // a new epoch: the cursor is stale
	if r := mustSync(t, s, link, fast()); r.Pulled != 0 || mustStatus(t, s).Pulled != 461 {
		t.Errorf("after the cursor became stale: pulled %d, holds %d, want 0 and 461", r.Pulled, mustStatus(t, s).Pulled)
	}
}

// gate lets a test do something in the middle of a Sync.
type gate struct {
	grpc.ClientConnInterface
	at func(method string)
}

func (g gate) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	g.at(method)
	return g.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
}

func TestRecordingGoesOnDuringASync(t *testing.T) {
	ctx := context.Background()
	s := create(t, "tablet-01")
	for i := range 20 {
		add(t, s, syncertest.Interview("tablet-01", i, strings.Repeat("x", 2000)))
	}
	srv := syncertest.NewServer("hq")
	n := 100
	var mu sync.Mutex
	during := gate{connect(t, srv), func(method string) {
		mu.Lock()
		defer mu.Unlock()
		if strings.HasSuffix(method, "PushBatch") && n < 105 {
			n++
			if _, _, err := s.AddInterview(ctx, syncertest.Interview("tablet-01", n, "meanwhile")); err != nil {
				t.Error(err)
			}
		}
	}}
	opts := fast()
	opts.MaxBatchBytes = 4 << 10
	r, err := s.Sync(ctx, during, opts)
	if err != nil || r.Pending != 0 || len(srv.Records()) != 25 {
		t.Errorf("report = %+v, %v, headquarters has %d of 25", r, err, len(srv.Records()))
	}
}

func TestCancelledSyncSaysHowMuchIsLeft(t *testing.T) {
	s := create(t, "tablet-01")
	for i := range 10 {
		add(t, s, syncertest.Interview("tablet-01", i, strings.Repeat("x", 2000)))
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	calls := 0
	link := gate{connect(t, syncertest.NewServer("hq")), func(string) {
		if calls++; calls == 3 {
			cancel()
		}
	}}
	opts := fast()
	opts.MaxBatchBytes = 3 << 10
	r, err := s.Sync(ctx, link, opts)
	if !errors.Is(err, context.Canceled) || r.Pending == 0 || r.Pending == 10 {
		t.Errorf("report = %+v, %v, want some sent and some pending", r, err)
	}
}

// Old tablets stay in use for a whole round: every released version of the store must open and sync.
func TestOldStores(t *testing.T) {
	files, err := filepath.Glob("testdata/compat/*.sqlite")
	if err != nil || len(files) == 0 {
		t.Fatalf("no old stores found: %v", err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "old.sqlite")
			copyTo(t, path, f)
			s := reopen(t, path, "old")
			st := mustStatus(t, s)
			drafts, err := s.Drafts(context.Background())
			if st.Records != 3 || st.Interviews != 2 || len(drafts) != 1 || err != nil || st.Name != "tablet-compat" {
				t.Errorf("status = %+v, %d drafts, %v", st, len(drafts), err)
			}
			srv := syncertest.NewServer("hq")
			link := connect(t, srv)
			add(t, s, syncertest.Interview("compat", 7, "new"))
			if r := mustSync(t, s, link, fast()); len(srv.Records()) != 4 || r.Pending != 0 {
				t.Errorf("report = %+v, headquarters has %d of 4", r, len(srv.Records()))
			}
			if r, err := tablet.Import(context.Background(), f, link, nil); err != nil || r.Duplicates != 3 || len(r.Problems) != 0 {
				t.Errorf("import: %+v, %v", r, err)
			}
		})
	}
}
