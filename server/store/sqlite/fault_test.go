package sqlite

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/server/store/storetest"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// onWriter runs a statement on the connection that writes.
func onWriter(t *testing.T, s *Store, script string) {
	t.Helper()
	err := s.writer.do(t.Context(), &job{apply: func(t *tx) error {
		if err := t.run("COMMIT"); err != nil { // some pragmas do nothing within a transaction
			return err
		}
		if err := t.run(script); err != nil {
			return err
		}
		return t.run("BEGIN")
	}})
	if err != nil {
		t.Fatal(err)
	}
}

// A full disk: nothing is acknowledged, the reason is told, and the store goes on when there is room.
func TestDiskFull(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	b := storetest.NewTablet(1)
	big := func() storetest.Raw {
		return b.Record(t, 7, "x", func(r *servicev1.Record) { r.Payload = make([]byte, 300_000) })
	}
	b.Push(t, s, big())
	kept := b.Head
	var pages int64
	err := s.writer.do(t.Context(), &job{apply: func(t *tx) (err error) {
		pages, err = t.integer("PRAGMA page_count")
		return err
	}})
	if err != nil {
		t.Fatal(err)
	}
	onWriter(t, s, fmt.Sprintf("PRAGMA max_page_count = %d", pages+5))
	batch := b.Check(t, b.Batch(big()))
	_, err = s.Append(t.Context(), batch)
	if fault.KindOf(err) != fault.Unavailable || fault.ReasonOf(err) != fault.DiskFull {
		t.Fatalf("Append = %v, want %s", err, fault.DiskFull)
	}
	if code(err) == 0 {
		t.Errorf("the cause is lost in %v", err)
	}
	if h, err := s.Lane(t.Context(), b.Lane); err != nil || h != kept {
		t.Errorf("Lane = %v, %v; want %v", h, err, kept)
	}
	if n := len(storetest.ReadAll(t, s, 10)); n != 1 {
		t.Errorf("%d records, want 1", n)
	}
	// The connection is opened anew after the failure, and with it the limit is gone: there is room.
	got, err := s.Append(t.Context(), batch)
	if err != nil || got.New != 1 || got.Head != b.Head {
		t.Errorf("Append with room = %+v, %v; want it stored", got, err)
	}
	soundExceptWarnings(t, s)
}

func soundExceptWarnings(t *testing.T, s *Store) {
	t.Helper()
	r, err := s.Check(t.Context(), store.CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Findings {
		if f.Severity != "warning" {
			t.Errorf("Check: %s: %s", f.Subject, f.Message)
		}
	}
}

// A batch that fails by itself does not take the others of its group with it.
func TestOneBadBatchInAGroup(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	a, b := storetest.NewTablet(1), storetest.NewTablet(2)
	hold := make(chan struct{})
	var jobs []*job
	appended := make([]*store.Appended, 2)
	blocker := &job{done: make(chan error, 1), apply: func(*tx) error { <-hold; return nil }}
	s.writer.queue <- blocker
	for i, batch := range []*syncer.Checked{a.Check(t, a.Batch(a.Records(t, 7, 3)...)), b.Check(t, b.Batch(b.Records(t, 7, 3)...))} {
		jobs = append(jobs, &job{done: make(chan error, 1), records: 3, apply: func(t *tx) (err error) {
			appended[i], err = t.append(batch)
			return err
		}})
	}
	late := &job{done: make(chan error, 1), apply: func(t *tx) error {
		_, err := t.exec(t.insertRun, nil, nil, int64(0), int64(0), int64(0), nil, nil, nil, nil, int64(0))
		return err
	}}
	panics := &job{done: make(chan error, 1), apply: func(*tx) error { panic("a defect") }}
	for _, j := range []*job{jobs[0], late, panics, jobs[1]} {
		s.writer.queue <- j
	}
	close(hold)
	if err := <-late.done; err == nil {
		t.Error("the bad batch was taken")
	}
	if err := <-panics.done; fault.KindOf(err) != fault.Internal || !strings.Contains(err.Error(), "panic of type string") {
		t.Errorf("the batch that panics: %v", err)
	}
	for i, j := range jobs {
		if err := <-j.done; err != nil || appended[i].New != 3 {
			t.Errorf("good batch %d: %+v, %v", i, appended[i], err)
		}
	}
	if all := storetest.ReadAll(t, s, 10); len(all) != 6 || all[5].Counter != 6 {
		t.Errorf("%d records, want 6 with counters without gaps", len(all))
	}
	soundExceptWarnings(t, s)
}

func TestCancelledWhileWaiting(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	hold := make(chan struct{})
	s.writer.queue <- &job{done: make(chan error, 1), apply: func(*tx) error { <-hold; return nil }}
	b := storetest.NewTablet(1)
	batch := b.Check(t, b.Batch(b.Records(t, 7, 3)...))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Append(ctx, batch); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Append = %v, want the deadline", err)
	}
	close(hold)
	got, err := s.Append(t.Context(), batch)
	if err != nil || got.Head != b.Head {
		t.Errorf("Append again = %+v, %v", got, err)
	}
}

func TestCloseAnswersAll(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	var wg sync.WaitGroup
	for i := range 20 {
		b := storetest.NewTablet(uint64(i) + 1)
		batch := b.Check(t, b.Batch(b.Records(t, 7, 3)...))
		wg.Go(func() {
			if _, err := s.Append(context.Background(), batch); err != nil && fault.ReasonOf(err) != fault.ShuttingDown {
				t.Errorf("Append = %v, want stored or %s", err, fault.ShuttingDown)
			}
		})
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if _, err := s.Append(t.Context(), &syncer.Checked{}); fault.ReasonOf(err) != fault.ShuttingDown {
		t.Errorf("Append after Close = %v, want %s", err, fault.ShuttingDown)
	}
	if err := s.Apply(t.Context(), &store.Changes{}); fault.ReasonOf(err) != fault.ShuttingDown {
		t.Errorf("Apply after Close = %v, want %s", err, fault.ShuttingDown)
	}
}

func TestOpen(t *testing.T) {
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "数据 100%?#&", "hq")
	for _, opts := range []Options{{ReadOnly: true}, {MustExist: true}} {
		if _, err := Open(ctx, dir, opts); fault.ReasonOf(err) != fault.StoreMissing {
			t.Errorf("Open(%+v) = %v, want %s", opts, err, fault.StoreMissing)
		}
	}
	s := open(t, dir, Options{})
	sample(t, s)
	for _, opts := range []Options{{}, {ReadOnly: true}} {
		if _, err := Open(ctx, dir, opts); fault.ReasonOf(err) != fault.StoreInUse {
			t.Errorf("Open(%+v) while served = %v, want %s", opts, err, fault.StoreInUse)
		}
	}
	want, err := contents(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	one, two := open(t, dir, Options{ReadOnly: true}), open(t, dir, Options{ReadOnly: true})
	if got, err := contents(ctx, two); got != want || err != nil {
		t.Errorf("read-only contents differ, %v", err)
	}
	if _, err := Open(ctx, dir, Options{}); fault.ReasonOf(err) != fault.StoreInUse {
		t.Errorf("Open while it is read = %v, want %s", err, fault.StoreInUse)
	}
	b := storetest.NewTablet(9)
	if _, err := one.Append(ctx, b.Check(t, b.Batch(b.Records(t, 1, 1)...))); fault.KindOf(err) != fault.Permission {
		t.Errorf("Append read-only = %v, want %v", err, fault.Permission)
	}
	if err := one.Greet(ctx, b.Greeting("x", 1)); fault.KindOf(err) != fault.Permission {
		t.Errorf("Greet read-only = %v, want %v", err, fault.Permission)
	}
	if err := one.Apply(ctx, &store.Changes{}); fault.KindOf(err) != fault.Permission {
		t.Errorf("Apply read-only = %v, want %v", err, fault.Permission)
	}
	_, _ = one.Close(), two.Close()
	if r := check(t, open(t, dir, Options{MustExist: true})); !r.Rebuilt {
		t.Errorf("Check = %+v, want the projections compared", r)
	}
	for _, name := range []string{logFile, projectionFile} {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; want it readable by its owner only", name, st.Mode(), err)
		}
	}
}

func TestOpenWhatIsNotAStore(t *testing.T) {
	write := func(content string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	change := func(script string) func(*testing.T, string) {
		return func(t *testing.T, path string) { tamper(t, path, script) }
	}
	for _, tc := range []struct {
		name   string
		spoil  func(*testing.T, string)
		reason fault.Reason
	}{
		{"text", write(strings.Repeat("this is a letter\n", 100)), fault.NotSQLite},
		{"newer", change(`PRAGMA user_version = 99`), fault.StoreTooNew},
		{"no epoch", change(`DROP TABLE meta`), fault.StoreDamaged},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := open(t, dir, Options{}).Close(); err != nil {
				t.Fatal(err)
			}
			tc.spoil(t, filepath.Join(dir, logFile))
			for _, opts := range []Options{{}, {ReadOnly: true}} {
				if _, err := Open(t.Context(), dir, opts); err == nil || fault.ReasonOf(err) != tc.reason {
					t.Errorf("Open(%+v) = %v, want %s", opts, err, tc.reason)
				}
			}
		})
	}
}

// Projections are derived: whatever becomes of the file, the store opens and they are made again.
func TestProjectionsAreThrownAway(t *testing.T) {
	for name, spoil := range map[string]func(*testing.T, string){
		"deleted": func(t *testing.T, path string) { _ = os.Remove(path) },
		"text": func(t *testing.T, path string) {
			_ = os.WriteFile(path, []byte(strings.Repeat("a letter ", 500)), 0o600)
		},
		"another log":    func(t *testing.T, path string) { tamper(t, path, `UPDATE meta SET epoch = zeroblob(16)`) },
		"newer":          func(t *testing.T, path string) { tamper(t, path, `PRAGMA user_version = 99`) },
		"ahead":          func(t *testing.T, path string) { tamper(t, path, `UPDATE cursor SET counter = counter + 1`) },
		"no tables":      func(t *testing.T, path string) { tamper(t, path, `DROP TABLE interview`) },
		"schema damaged": func(t *testing.T, path string) { overwrite(t, path, 100) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, Options{})
			sample(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			spoil(t, filepath.Join(dir, projectionFile))
			s = open(t, dir, Options{})
			if c, err := s.Projected(t.Context()); err != nil || len(c.Parts) != 0 {
				t.Errorf("Projected = %v, %v; want nothing", c, err)
			}
			project(t, s)
			if r := check(t, s); !r.Rebuilt || len(r.Findings) != 1 {
				t.Errorf("Check = %+v, want only the gap", r)
			}
		})
	}
}

func overwrite(t *testing.T, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(make([]byte, 4000), at); err != nil {
		t.Fatal(err)
	}
}

func TestReadOnlyWithoutProjections(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	b := storetest.NewTablet(1)
	b.Push(t, s, b.Records(t, 7, 1)...)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := removeDatabase(osDisk{}, filepath.Join(dir, projectionFile)); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{ReadOnly: true})
	if cells, err := s.CountCells(t.Context(), ""); err != nil || len(cells) != 0 {
		t.Errorf("CountCells = %v, %v; want none", cells, err)
	}
	for iv, err := range s.Interviews(t.Context(), store.Filter{}) {
		t.Errorf("Interviews yields %v, %v", iv, err)
	}
}

func TestRecordsAreNeverChanged(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	sample(t, s)
	for _, change := range []string{`UPDATE record SET kind = 2`, `DELETE FROM record`} {
		err := s.writer.do(t.Context(), &job{apply: func(t *tx) error { return t.run(change) }})
		if err == nil || !strings.Contains(err.Error(), "records are never") {
			t.Errorf("%s: %v, want it refused", change, err)
		}
	}
}

const appendForever = "HEARTH_TEST_APPEND_TO"

// TestMain lets this binary be the process that TestKilled kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv(appendForever); dir != "" {
		appendUntilKilled(dir)
		return
	}
	os.Exit(m.Run())
}

// appendUntilKilled appends from four lanes and prints the digest of every record that was acknowledged.
func appendUntilKilled(dir string) {
	s, err := Open(context.Background(), dir, Options{})
	if err != nil {
		fmt.Println("error", err)
		return
	}
	var wg sync.WaitGroup
	for lane := range 4 {
		seed := uint64(time.Now().UnixNano()) + uint64(lane)
		b := storetest.NewTablet(seed)
		wg.Go(func() {
			for n := uint64(0); ; n++ {
				if err := appendSome(s, b, uint64(lane), 1+n%7); err != nil {
					fmt.Println("error", err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func appendSome(s *Store, b *storetest.Tablet, lane, n uint64) error {
	c := &syncer.Checked{Lane: b.Lane}
	run := syncer.Run{First: b.Head.Seq + 1, Prev: b.Head.Chain}
	for i := range n {
		id := syncer.DigestOf(fmt.Appendf(nil, "%v %d %d", b.Lane, b.Head.Seq, i))
		id[6] = 0x70
		r := &servicev1.Record{Id: id[:16], Kind: servicev1.RecordKind_RECORD_KIND_INTERVIEW.Enum(), Subject: proto.String(id.String()),
			Study: proto.String("s"), Part: proto.Uint64(lane % 2), Device: b.Lane.Device[:], Payload: make([]byte, 700)}
		raw, digest, err := syncer.Seal(r)
		if err != nil {
			return err
		}
		run.Digests = append(run.Digests, digest)
		c.Entries = append(c.Entries, syncer.Entry{Seq: run.Last(), Digest: digest, Raw: raw, Record: r})
	}
	c.Runs = []syncer.Run{run}
	if _, err := s.Append(context.Background(), c); err != nil {
		return err
	}
	b.Head = run.Head(b.Lane)
	var line strings.Builder
	for _, d := range run.Digests {
		fmt.Fprintln(&line, d)
	}
	_, err := os.Stdout.WriteString(line.String())
	return err
}

// The server is killed in the middle of its work, again and again: every record that was acknowledged is there.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	acknowledged := map[syncer.Digest]bool{}
	for round := range 4 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), appendForever+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		before := len(acknowledged)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			b, err := hex.DecodeString(lines.Text())
			if err != nil || len(b) != 32 {
				if len(acknowledged)-before > 300 {
					break // the line in which it was killed
				}
				t.Fatalf("the process says %q", lines.Text())
			}
			acknowledged[syncer.Digest(b)] = true
			if len(acknowledged)-before == 300+round*100 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Wait() // killed
		s := open(t, dir, Options{})
		there := map[syncer.Digest]bool{}
		for _, r := range storetest.ReadAll(t, s, 500) {
			there[r.Digest] = true
		}
		lost := 0
		for d := range acknowledged {
			if !there[d] {
				lost++
			}
		}
		if lost > 0 || len(acknowledged)-before < 300 {
			t.Errorf("round %d: %d of %d acknowledged records are lost", round, lost, len(acknowledged))
		}
		t.Logf("round %d: %d acknowledged, %d there", round, len(acknowledged), len(there))
		soundExceptWarnings(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// However much is written, the WAL stays short, and what is copied into the file is all there.
func TestWALIsBounded(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	b := storetest.NewTablet(1)
	n := 0
	for range 70 {
		var records []storetest.Raw
		for range 20 {
			n++
			records = append(records, b.Record(t, 7, storetest.Subject(uint64(n)), func(r *servicev1.Record) { r.Payload = make([]byte, 100_000) }))
		}
		b.Push(t, s, records...)
	}
	st, err := os.Stat(filepath.Join(dir, logFile+"-wal"))
	if err != nil {
		t.Fatal(err)
	}
	if most := int64(mostPages+2000) * 8192; st.Size() > most {
		t.Errorf("the WAL has %d bytes after %d records of 100 kB, want at most %d", st.Size(), n, most)
	}
	if s.Commits() < 70 {
		t.Errorf("%d commits of 70 batches", s.Commits())
	}
	soundExceptWarnings(t, s)
}
