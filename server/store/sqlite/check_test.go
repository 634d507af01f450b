package sqlite

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/server/store/storetest"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

// sample fills a store with a bit of everything and returns the lane with the gap.
func sample(t testing.TB, s *Store) {
	t.Helper()
	a, b := storetest.NewTablet(1), storetest.NewTablet(2)
	for i, tablet := range []*storetest.Tablet{a, b} {
		if err := s.Greet(t.Context(), tablet.Greeting(fmt.Sprintf("tablet-%02d", 16+i), 1700000000000)); err != nil {
			t.Fatal(err)
		}
	}
	a.Push(t, s, a.Records(t, 1<<63+5, 6)...)
	clone := a.Clone(100)
	a.Push(t, s, a.Records(t, 9, 3)...)
	clone.Push(t, s, clone.Records(t, 9, 2)...)
	lost := a.Records(t, 9, 2)
	lost[1].Bytes = nil
	a.Push(t, s, lost...)
	b.Push(t, s, b.Records(t, 9, 4)...)
	b.Batch(b.Records(t, 9, 32)...) // never arrives
	b.Push(t, s, b.Records(t, 9, 3)...)
	project(t, s)
}

// fakeProjector derives one interview from each subject: enough to compare with.
func fakeProjector(ctx context.Context, log store.Log, apply func(*store.Changes) error) error {
	cursor := syncer.Cursor{}
	for {
		records, next, more, err := log.After(ctx, cursor, 5)
		if err != nil {
			return err
		}
		changes := &store.Changes{Cursor: next}
		for _, r := range records {
			e, err := syncer.Open(r.Raw)
			if err != nil {
				return err
			}
			changes.Interviews = append(changes.Interviews, &servicev1.InterviewProjection{Summary: &servicev1.InterviewSummary{
				InterviewId: proto.String(e.GetSubject()), Part: proto.Uint64(r.Part), Study: proto.String(e.GetStudy()), Head: r.Digest[:],
				StartTimeMs: proto.Int64(int64(r.Counter)),
			}})
		}
		if err := apply(changes); err != nil || !more {
			return err
		}
		cursor = next
	}
}

func project(t testing.TB, s *Store) {
	t.Helper()
	err := fakeProjector(t.Context(), s, func(c *store.Changes) error { return s.Apply(t.Context(), c) })
	if err != nil {
		t.Fatal(err)
	}
}

func check(t testing.TB, s *Store) *store.Report {
	t.Helper()
	r, err := s.Check(t.Context(), store.CheckOptions{Rebuild: fakeProjector})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCheckSound(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	sample(t, s)
	var done, total int
	r, err := s.Check(t.Context(), store.CheckOptions{Rebuild: fakeProjector, Progress: func(d, of int) { done, total = d, of }})
	if err != nil {
		t.Fatal(err)
	}
	want := &store.Report{Records: 19, Lanes: 2, Quarantined: 1, Rebuilt: true, Findings: []store.Finding{{
		Severity: "warning", Reason: fault.LaneGap, Subject: r.Findings[0].Subject,
		Message: "32 records of tablet-17 never arrived (entries 5 to 36)",
		Do:      "sync the tablet again; if it is lost, look for a copy of its file and import it with import-tablet",
	}}}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("Check (-want +got):\n%s", diff)
	}
	if done != 19 || total != 19 {
		t.Errorf("progress = %d of %d, want 19 of 19", done, total)
	}
}

// Changes that SQLite itself takes: somebody with a tool, or a defect of ours.
func TestCheckFinds(t *testing.T) {
	for _, tc := range []struct {
		name, change string
		reason       fault.Reason
		want         string
	}{
		{"body", `DROP TRIGGER record_no_update; UPDATE record SET body = CAST(substr(body, 1, 80) || x'7e' || substr(body, 82) AS BLOB) WHERE rowid = 3`, fault.RecordDamaged, "its bytes are not those its author wrote"},
		{"subject", `DROP TRIGGER record_no_update; UPDATE record SET subject = 'other' WHERE rowid = 3`, fault.StoreDamaged, "columns beside the record"},
		{"received", `DROP TRIGGER record_no_update; UPDATE record SET received_ms = 1 WHERE rowid = 3`, fault.StoreDamaged, "columns beside the record"},
		{"record gone", `DROP TRIGGER record_no_delete; DELETE FROM record WHERE rowid = 3`, fault.RecordsMissing, "neither in the log nor in quarantine"},
		{"last record gone", `DROP TRIGGER record_no_delete; DELETE FROM record WHERE rowid = 19`, fault.StoreDamaged, "should have"},
		{"counter", `UPDATE part SET counter = counter + 1`, fault.StoreDamaged, "counter was changed"},
		{"head back", `UPDATE lane SET seq = seq - 1`, fault.StoreDamaged, "head was changed"},
		{"run gone", `DELETE FROM lane_run WHERE run_id = 1`, fault.StoreDamaged, "stand in no lane"},
		{"run", `UPDATE lane_run SET digests = zeroblob(length(digests)) WHERE run_id = 1`, fault.BadSignature, "signature"},
		{"signature", `UPDATE lane_run SET signature = zeroblob(64) WHERE run_id = 1`, fault.BadSignature, "does not verify"},
		{"quarantine", `UPDATE quarantine SET reason = 'OTHER'`, fault.StoreDamaged, "quarantine"},
		{"quarantine gone", `DELETE FROM quarantine`, fault.RecordsMissing, "neither in the log nor in quarantine"},
		{"device", `UPDATE device SET name = 'tablet-99' WHERE name = 'tablet-17'`, fault.StoreDamaged, "device tablet-99"},
		{"epoch", `UPDATE meta SET epoch = zeroblob(16)`, fault.StoreDamaged, "epoch"},
		{"chain", `UPDATE lane_run SET prev_chain = randomblob(32) WHERE first_seq > 1`, fault.BadChain, "changed on the disk"},
		{"trigger gone", `DROP TRIGGER record_no_update`, fault.StoreDamaged, "definition"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, Options{})
			sample(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			tamper(t, filepath.Join(dir, logFile), tc.change)
			wantReason(t, check(t, open(t, dir, Options{})), tc.reason, tc.want)
		})
	}
}

func tamper(t *testing.T, path, change string) {
	t.Helper()
	c, err := dial(dsn(osDisk{}, path, "rw"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.run(change); err != nil {
		t.Fatal(err)
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
}

// wantReason is wantFinding of one reason.
func wantReason(t *testing.T, r *store.Report, reason fault.Reason, want string) {
	t.Helper()
	var of store.Report
	for _, f := range r.Findings {
		if f.Reason == "" || f.Reason.Do() == "" || f.Do == "" {
			t.Errorf("a finding without a reason of the catalogue: %+v", f)
		}
		if f.Reason == reason {
			of.Findings = append(of.Findings, f)
		}
	}
	if len(of.Findings) == 0 {
		t.Errorf("no finding is %s: %+v", reason, r.Findings)
		return
	}
	wantFinding(t, &of, want)
}

func wantFinding(t *testing.T, r *store.Report, want string) {
	t.Helper()
	for _, f := range r.Findings {
		if f.Severity == "error" && strings.Contains(f.Subject+": "+f.Message, want) && f.Do != "" {
			return
		}
	}
	t.Errorf("findings = %+v, want an error that says %q", r.Findings, want)
}

func TestCheckComparesProjections(t *testing.T) {
	for _, tc := range []struct{ name, change, want string }{
		{"body", `UPDATE interview SET body = x'00' WHERE rowid = 4`, "column body"},
		{"row gone", `DELETE FROM interview WHERE rowid = 4`, "table interview differs"},
		{"row more", `INSERT INTO study VALUES (1, 'x', x'')`, "that the log does not give"},
		{"count", `UPDATE count_cell SET interviews = interviews + 1`, "table count_cell differs"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, Options{})
			sample(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			tamper(t, filepath.Join(dir, projectionFile), tc.change)
			wantFinding(t, check(t, open(t, dir, Options{})), tc.want)
		})
	}
}

// contents is everything that can be read from a log, in words.
func contents(ctx context.Context, s *Store) (string, error) {
	var out strings.Builder
	fmt.Fprintln(&out, s.Epoch())
	cursor := syncer.Cursor{}
	for more := true; more; {
		var records []store.Stored
		var err error
		if records, cursor, more, err = s.After(ctx, cursor, 7); err != nil {
			return "", err
		}
		for _, r := range records {
			fmt.Fprintf(&out, "%d %d %v %x %d\n", r.Part, r.Counter, r.Digest, r.Raw, r.ReceivedMS)
			e, err := syncer.Open(r.Raw)
			if err != nil {
				return "", err
			}
			revisions, err := s.Revisions(ctx, r.Part, e.GetKind(), e.GetSubject())
			if err != nil {
				return "", err
			}
			wanted, _, err := s.Missing(ctx, []*servicev1.RecordRef{{Part: e.Part, Id: e.Id, Digest: r.Digest[:]}})
			if err != nil {
				return "", err
			}
			fmt.Fprintln(&out, len(revisions), wanted)
		}
	}
	devices, err := s.ListDevices(ctx)
	if err != nil {
		return "", err
	}
	for _, d := range devices {
		key, err := s.Key(ctx, syncer.ID(d.Device))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&out, "%s %x %v %d %d %d %d %d\n", d.GetName()+d.GetEnumerator(), key, d.GetGaps(), d.GetForks(), d.GetPending(),
			d.GetFirstSeenMs(), d.GetLastSeenMs(), d.GetClockSkewMs())
		for _, h := range d.Lanes {
			lane, head, err := syncer.ParseHead(h)
			if err != nil {
				return "", err
			}
			for seq := range head.Seq + 1 {
				chain, ok, err := s.ChainAt(ctx, lane, seq)
				if err != nil {
					return "", err
				}
				fmt.Fprintln(&out, lane, seq, chain, ok)
			}
		}
	}
	items, err := s.Quarantine(ctx, 0, 1000)
	for _, q := range items {
		b, _ := proto.MarshalOptions{Deterministic: true}.Marshal(q)
		fmt.Fprintf(&out, "%x\n", b)
	}
	return out.String(), err
}

// One byte of the log changes on the disk: either it is found, or nothing that can be read has changed.
func TestFlippedBytes(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	sample(t, s)
	want, err := contents(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, logFile)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path + "-wal"); err == nil {
		t.Fatal("the WAL was not emptied when the store was closed")
	}
	trials := 1200
	if testing.Short() {
		trials = 60
	}
	random := rand.New(rand.NewPCG(7, 7))
	found, harmless := 0, 0
	for done := 0; done < trials; {
		at := random.IntN(len(whole))
		if whole[at] == 0 && random.IntN(20) > 0 {
			continue // most of it is free space
		}
		done++
		flipped := append([]byte(nil), whole...)
		flipped[at] ^= 1 << random.IntN(8)
		if err := os.WriteFile(path, flipped, 0o600); err != nil {
			t.Fatal(err)
		}
		if noticed(t, dir) {
			found++
			continue
		}
		harmless++
		got, err := reread(t.Context(), dir)
		if err != nil || got != want {
			t.Errorf("byte %d of page %d: %#02x became %#02x, nothing was found, but reading gives %v\n%s", at%8192, at/8192+1,
				whole[at], flipped[at], err, cmp.Diff(want, got))
		}
	}
	t.Logf("%d flips: %d found, %d without effect", trials, found, harmless)
	if found < trials/4 {
		t.Errorf("only %d of %d flips were found: the test does not hit what is used", found, trials)
	}
}

// noticed says whether opening or checking a store tells that something is wrong.
func noticed(t *testing.T, dir string) bool {
	s, err := Open(t.Context(), dir, Options{ReadOnly: true})
	if err != nil {
		return true
	}
	defer s.Close()
	r, err := s.Check(t.Context(), store.CheckOptions{})
	if err != nil {
		return true
	}
	for _, f := range r.Findings {
		if f.Severity == "error" {
			return true
		}
	}
	return false
}

func reread(ctx context.Context, dir string) (string, error) {
	s, err := Open(ctx, dir, Options{ReadOnly: true})
	if err != nil {
		return "", err
	}
	defer s.Close()
	return contents(ctx, s)
}

// A report about a damaged answer names the interview.
func TestCheckNamesTheInterview(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	b := storetest.NewTablet(1)
	const subject = "5b1f3a52-访问"
	b.Push(t, s, b.Record(t, 7, subject, func(r *servicev1.Record) { r.Payload = []byte("九口人，其中四个孩子") }))
	project(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, logFile)
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(string(file), "四个孩子")
	if at < 0 {
		t.Fatal("the answer is not in the file")
	}
	file[at+2] ^= 1
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := open(t, dir, Options{ReadOnly: true}).Check(t.Context(), store.CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Findings) != 1 || !strings.Contains(r.Findings[0].Subject, subject) {
		t.Errorf("findings = %v, want one about %s", r.Findings, subject)
	}
	if diff := cmp.Diff("error", r.Findings[0].Severity, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}
