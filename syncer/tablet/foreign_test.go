package tablet_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/syncertest"
	"github.com/hearth-survey/hearth/syncer/tablet"
)

func copyTo(t *testing.T, to, from string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// usb copies a tablet's file as a person does while the tablet is running.
func usb(t *testing.T, s *tablet.Store, withWAL bool) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "usb.sqlite")
	copyTo(t, to, s.Path())
	if withWAL {
		copyTo(t, to+"-wal", s.Path()+"-wal")
	}
	return to
}

func TestImportFindsWhatIsOnlyInTheWAL(t *testing.T) {
	ctx := context.Background()
	s := create(t, "tablet-01")
	for i := range 5 {
		add(t, s, syncertest.Interview("tablet-01", i, "r"))
	}
	if err := s.SaveDraft(ctx, syncertest.Interview("tablet-01", 9, "half")); err != nil {
		t.Fatal(err)
	}
	file := usb(t, s, true)
	before, err := os.ReadFile(file + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	srv := syncertest.NewServer("hq")
	link := connect(t, srv)
	r, err := tablet.Import(ctx, file, link, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Sent != 5 || r.Records != 5 || r.Drafts != 1 || len(r.Problems) != 0 || len(srv.Records()) != 5 {
		t.Errorf("report = %+v, want 5 records and a draft", r)
	}
	if after, err := os.ReadFile(file + "-wal"); err != nil || !bytes.Equal(before, after) {
		t.Error("the import changed the -wal it was given")
	}
	if r, err = tablet.Import(ctx, file, link, nil); err != nil || r.Sent != 0 || r.Duplicates != 5 {
		t.Errorf("second import: %+v, %v, want 5 duplicates", r, err)
	}
	// The tablet itself then sends nothing but gets its receipt.
	if got := mustSync(t, s, link, fast()); got.Sent != 0 || got.Pending != 0 || got.NewEpoch {
		t.Errorf("sync after the import: %+v", got)
	}
}

func TestForeignFilesThatAreNoTablet(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	s := create(t, "tablet-01")
	write := func(name string, content string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	database := func(name string, statements ...string) string {
		p := filepath.Join(dir, name)
		db, err := sql.Open("sqlite", p)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		for _, st := range statements {
			if _, err := db.Exec(st); err != nil {
				t.Fatal(name, err)
			}
		}
		return p
	}
	altered := func(name string, statements ...string) string {
		p := filepath.Join(dir, name)
		if err := s.Backup(ctx, p); err != nil {
			t.Fatal(err)
		}
		return database(name, statements...)
	}
	app := fmt.Sprintf("PRAGMA application_id = %d", tablet.ApplicationID)
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf("CREATE TABLE t%d (a, b, c)", i))
	}
	tests := []struct {
		name string
		path string
		want fault.Reason
	}{
		{"missing", filepath.Join(dir, "nothing"), fault.StoreMissing},
		{"text", write("a.txt", "not a database"), fault.NotSQLite},
		{"empty", write("empty", ""), fault.NotSQLite},
		{"only the magic", write("magic", "SQLite format 3\x00"+strings.Repeat("\x00", 4096)), fault.NotSQLite},
		{"another program's", database("other.sqlite", "CREATE TABLE t (a)"), fault.NotATablet},
		{"our id, no tables", database("bare.sqlite", app, "PRAGMA user_version = 1", "CREATE TABLE t (a)"), fault.NotATablet},
		{"newer", altered("newer.sqlite", "PRAGMA user_version = 2", "CREATE TABLE later (n INTEGER PRIMARY KEY) STRICT"), fault.StoreTooNew},
		{"a view that never ends", database("view.sqlite", app, "PRAGMA user_version = 1",
			"CREATE VIEW record AS WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c) SELECT i AS n, i AS digest, i AS body FROM c"), fault.NotATablet},
		{"a view of 900 MB", database("zeroblob.sqlite", app, "PRAGMA user_version = 1",
			"CREATE VIEW record AS SELECT 1 AS n, zeroblob(900000000) AS digest, zeroblob(900000000) AS body"), fault.NotATablet},
		{"a column that is reckoned", database("generated.sqlite", app, "PRAGMA user_version = 1",
			"CREATE TABLE record (n INTEGER PRIMARY KEY, digest BLOB, body BLOB AS (zeroblob(900000000)))", "INSERT INTO record (n) VALUES (1)"), fault.NotATablet},
		{"a virtual table", database("fts.sqlite", app, "PRAGMA user_version = 1", "CREATE VIRTUAL TABLE record USING fts5 (n, digest, body)"), fault.NotATablet},
		{"a thousand tables", database("many.sqlite", app, "PRAGMA user_version = 1", "BEGIN; "+strings.Join(many, "; ")+"; COMMIT"), fault.NotATablet},
		{"no meta row", altered("nometa.sqlite", "DELETE FROM meta", "VACUUM"), fault.StoreDamaged},
		{"another key", altered("key.sqlite", "UPDATE meta SET seed = zeroblob(32)", "VACUUM"), fault.StoreDamaged},
	}
	if testing.Short() {
		tests = tests[:5] // each has a process of its own
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := tablet.OpenForeign(ctx, tt.path, child())
			if got := fault.ReasonOf(err); got != tt.want {
				t.Errorf("OpenForeign: %v (%s), want %s", err, got, tt.want)
			}
			if err == nil {
				f.Close()
			}
			if tt.want == fault.NotATablet && tt.name != "another program's" {
				return // Open trusts the tablet's own file further
			}
			o, err := tablet.Open(ctx, tt.path, tablet.Options{})
			if got := fault.ReasonOf(err); got != tt.want {
				t.Errorf("Open: %v (%s), want %s", err, got, tt.want)
			}
			if err == nil {
				o.Close()
			}
		})
	}
}

// A file whose tables are a tablet's and something more is not asked anything: its records are picked out of its pages, and
// what was added does not run.
func TestTablesWithSomethingMore(t *testing.T) {
	s := create(t, "tablet-01")
	add(t, s, syncertest.Interview("tablet-01", 1, "r"), syncertest.Interview("tablet-01", 2, "r"))
	for name, more := range map[string]string{
		"trigger":        "CREATE TRIGGER x AFTER INSERT ON draft BEGIN DELETE FROM draft; END",
		"index":          "CREATE INDEX i ON record (abs(size))",
		"table":          "CREATE TABLE notes (n INTEGER PRIMARY KEY)",
		"changed column": "ALTER TABLE draft ADD COLUMN note TEXT",
	} {
		if testing.Short() && name != "trigger" {
			continue
		}
		path := filepath.Join(t.TempDir(), "more.sqlite")
		if err := s.Backup(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(more); err != nil {
			t.Fatal(err)
		}
		db.Close()
		r, err := tablet.Import(t.Context(), path, connect(t, syncertest.NewServer("hq")), child())
		if err != nil || r.Sent != 2 || r.Salvaged != 2 || len(r.Problems) != 1 || r.Problems[0].Reason != fault.StoreDamaged {
			t.Errorf("%s: %+v, %v; want 2 records picked out and one problem", name, r, err)
		}
	}
}

// A version that somebody's bit has changed is no reason to leave a tablet's answers behind.
func TestChangedVersion(t *testing.T) {
	s := create(t, "tablet-01")
	add(t, s, syncertest.Interview("tablet-01", 1, "r"))
	for _, at := range []int{60, 63, 68, 71} { // version, application id
		path := usb(t, s, false)
		if err := s.Backup(t.Context(), path+"2"); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path + "2")
		if err != nil {
			t.Fatal(err)
		}
		b[at] ^= 4
		if err := os.WriteFile(path+"2", b, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := tablet.Import(t.Context(), path+"2", connect(t, syncertest.NewServer("hq")), nil)
		if err != nil || r.Sent != 1 || len(r.Problems) != 1 || r.Problems[0].Reason != fault.StoreDamaged {
			t.Errorf("byte %d changed: %+v, %v; want the record and one problem", at, r, err)
		}
	}
}

func TestImportNeverPassesADamagedRecord(t *testing.T) {
	ctx := context.Background()
	s := create(t, "tablet-01")
	var ids []syncer.Digest
	for i := range 6 {
		ids = append(ids, add(t, s, syncertest.Interview("tablet-01", i, "whole"))...)
	}
	file := filepath.Join(t.TempDir(), "damaged.sqlite")
	if err := s.Backup(ctx, file); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range []string{"DROP TRIGGER record_fixed", "DROP TRIGGER record_pruned"} {
		if _, err := db.Exec(st); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Exec("UPDATE record SET body = CAST(replace(CAST(body AS TEXT), 'whole', 'holes') AS BLOB) WHERE n = 3"); err != nil {
		t.Fatal(err)
	}
	// Put the triggers back as they were, so that only the bytes differ.
	clean, err := os.ReadFile("schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	text := string(clean[bytes.Index(clean, []byte("CREATE TRIGGER record_fixed")):bytes.Index(clean, []byte("CREATE TRIGGER lane_entry_kept"))])
	if _, err := db.Exec(text); err != nil {
		t.Fatal(err)
	}
	db.Close()
	srv := syncertest.NewServer("hq")
	link := connect(t, srv)
	r, err := tablet.Import(ctx, file, link, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Sent != 5 || len(r.Problems) != 1 || r.Problems[0].Reason != fault.RecordDamaged {
		t.Errorf("report = %+v, want 5 sent and 1 damaged", r)
	}
	if _, held := srv.Records()[ids[2]]; held {
		t.Error("headquarters believed the damaged record")
	}
	// The tablet, whose own copy is whole, still brings it.
	if got := mustSync(t, s, link, fast()); got.Pending != 0 || len(srv.Records()) != 6 {
		t.Errorf("after the tablet's sync headquarters has %d of 6: %+v", len(srv.Records()), got)
	}
	if n, err := s.Prune(ctx, 0); err != nil || n != 6 {
		t.Errorf("pruned %d, %v, want 6", n, err)
	}
}

func FuzzOpenForeign(f *testing.F) {
	dir := f.TempDir()
	ctx := context.Background()
	s, err := tablet.Create(ctx, filepath.Join(dir, "seed.sqlite"), tablet.CreateOptions{Name: "t", Enumerator: "E1", Study: "s", Rand: syncertest.Random("fuzz"), Now: clock()})
	if err != nil {
		f.Fatal(err)
	}
	if _, _, err := s.AddInterview(ctx, syncertest.Interview("fuzz", 1, "x")); err != nil {
		f.Fatal(err)
	}
	if err := s.Close(); err != nil {
		f.Fatal(err)
	}
	seed, err := os.ReadFile(s.Path())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint32(100), []byte{1, 2, 3})
	f.Add(uint32(4096), []byte{0xff})
	f.Add(uint32(0), []byte("not SQLite"))
	f.Fuzz(func(t *testing.T, at uint32, patch []byte) {
		b := bytes.Clone(seed)
		copy(b[int(at)%len(b):], patch)
		path := filepath.Join(t.TempDir(), "x.sqlite")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		fo, err := tablet.OpenForeign(ctx, path, nil)
		if err != nil {
			return
		}
		defer fo.Close()
		for b, err := range fo.Batches(ctx, syncer.DefaultLimits) {
			if err != nil {
				return
			}
			_, _ = io.Discard.Write(b.GetSignature())
		}
	})
}

// A record that was pruned under a receipt stands in a later lane too, because the tablet was restored in between: it is not
// lost, and what stands behind it in the new lane is sent in that lane.
func TestPrunedRecordInALaterLane(t *testing.T) {
	s := create(t, "tablet-01")
	srv := syncertest.NewServer("hq")
	link := connect(t, srv)
	add(t, s, syncertest.Interview("tablet-01", 1, "a"), syncertest.Interview("tablet-01", 2, "b"))
	backup := filepath.Join(t.TempDir(), "backup.sqlite")
	if err := s.Backup(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	add(t, s, syncertest.Interview("tablet-01", 3, "c"))
	mustSync(t, s, link, fast())
	r := reopen(t, backup, "restored")
	mustSync(t, r, link, fast()) // takes a new epoch and lists both records again
	if n, err := r.Prune(t.Context(), 0); err != nil || n != 2 {
		t.Fatalf("pruned %d, %v", n, err)
	}
	add(t, r, syncertest.Interview("tablet-01", 4, "d"))
	got, err := tablet.Import(t.Context(), usb(t, r, true), link, nil)
	if err != nil || got.Sent != 1 || got.Duplicates == 0 || len(got.Problems) != 0 {
		t.Errorf("import: %+v, %v; want the last record sent and nothing wrong", got, err)
	}
	if st := mustSync(t, r, link, fast()); st.Sent != 0 || st.NewEpoch {
		t.Errorf("the tablet itself afterwards: %+v", st)
	}
}

// Bytes that are gone without a receipt are a loss, not a pruning: no lane is sent past them, and the tablet still brings the
// record.
func TestBytesGoneWithoutAReceipt(t *testing.T) {
	s := create(t, "tablet-01")
	add(t, s, syncertest.Interview("tablet-01", 1, "a"), syncertest.Interview("tablet-01", 2, "b"), syncertest.Interview("tablet-01", 3, "c"))
	path := filepath.Join(t.TempDir(), "x.sqlite")
	if err := s.Backup(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	alter(t, path, "UPDATE record SET body = NULL WHERE n = 2", "VACUUM")
	f, err := tablet.OpenForeign(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	epoch := mustStatus(t, s).Epoch
	for b, err := range f.Batches(t.Context(), syncer.DefaultLimits) {
		if own := bytes.Equal(b.GetLane().GetEpoch(), epoch[:]); err != nil || own && len(b.GetEntries()) != 1 {
			t.Errorf("its lane is sent up to entry %d, %v; want 1", len(b.GetEntries()), err)
		}
	}
	f.Close()
	srv := syncertest.NewServer("hq")
	link := connect(t, srv)
	r, err := tablet.Import(t.Context(), path, link, nil)
	if err != nil || r.Sent != 2 || len(r.Problems) != 1 || r.Problems[0].Reason != fault.RecordDamaged {
		t.Errorf("import: %+v, %v; want 2 records and one lost", r, err)
	}
	if got := mustSync(t, s, link, fast()); got.Pending != 0 || len(srv.Records()) != 3 {
		t.Errorf("after the tablet's sync headquarters has %d of 3 records: %+v", len(srv.Records()), got)
	}
}
