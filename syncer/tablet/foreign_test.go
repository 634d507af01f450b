package tablet_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/syncertest"
	"github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/protobuf/proto"
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
		{"newer", altered("newer.sqlite", "PRAGMA user_version = 2"), fault.StoreTooNew},
		{"a trigger more", altered("trigger.sqlite", "CREATE TRIGGER x AFTER INSERT ON draft BEGIN DELETE FROM draft; END"), fault.NotATablet},
		{"a view that never ends", database("view.sqlite", app, "PRAGMA user_version = 1",
			"CREATE VIEW record AS WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c) SELECT i AS n, i AS digest, i AS body FROM c"), fault.NotATablet},
		{"no meta row", altered("nometa.sqlite", "DELETE FROM meta"), fault.StoreDamaged},
		{"another key", altered("key.sqlite", "UPDATE meta SET seed = zeroblob(32)"), fault.StoreDamaged},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := tablet.OpenForeign(ctx, tt.path)
			if got := fault.ReasonOf(err); got != tt.want {
				t.Errorf("OpenForeign: %v (%s), want %s", err, got, tt.want)
			}
			if err == nil {
				f.Close()
			}
			if tt.name == "a trigger more" || tt.name == "a view that never ends" || tt.name == "our id, no tables" {
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

// Whatever is done to the file: no panic, no record under a wrong digest, and every record is brought or something is
// reported.
func TestFlippedAndTruncatedFiles(t *testing.T) {
	ctx := context.Background()
	s := create(t, "tablet-01")
	whole := map[syncer.Digest]bool{}
	for i := range 40 {
		for _, d := range add(t, s, syncertest.Interview("tablet-01", i, strings.Repeat("x", 700))) {
			whole[d] = true
		}
	}
	main := filepath.Join(t.TempDir(), "base.sqlite")
	if err := s.Backup(ctx, main); err != nil {
		t.Fatal(err)
	}
	live := usb(t, s, true)
	rng := rand.New(rand.NewPCG(7, 11))
	counts := map[string]int{}
	for k := range 240 {
		from, suffix := main, ""
		if k%4 == 3 {
			from, suffix = live, "-wal"
		}
		dir := t.TempDir()
		file := filepath.Join(dir, "x.sqlite")
		copyTo(t, file, from)
		if suffix != "" {
			copyTo(t, file+suffix, from+suffix)
		}
		b, err := os.ReadFile(file + suffix)
		if err != nil {
			t.Fatal(err)
		}
		damage(rng, k, b, file+suffix, t)
		counts[checkForeign(t, ctx, k, file, whole)]++
		os.RemoveAll(dir)
	}
	t.Log(counts)
	if counts["whole"] == 240 || counts["salvaged"] == 0 || counts["refused"] == 0 {
		t.Errorf("the damage did not do what it should: %v", counts)
	}
}

func damage(rng *rand.Rand, k int, b []byte, path string, t *testing.T) {
	t.Helper()
	switch k % 3 {
	case 0:
		for range 1 + rng.IntN(12) {
			b[rng.IntN(len(b))] ^= byte(1 << rng.IntN(8))
		}
	case 1: // page headers
		page := rng.IntN(len(b)/4096) * 4096
		for range 4 {
			b[page+rng.IntN(64)] ^= byte(1 << rng.IntN(8))
		}
	case 2:
		b = b[:rng.IntN(len(b))]
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func checkForeign(t *testing.T, ctx context.Context, k int, file string, whole map[syncer.Digest]bool) string {
	t.Helper()
	f, err := tablet.OpenForeign(ctx, file)
	if err != nil {
		if fault.ReasonOf(err) == "" {
			t.Errorf("file %d: an error without a reason: %v", k, err)
		}
		return "refused"
	}
	defer f.Close()
	key := f.Hello().GetPublicKey()
	got := map[syncer.Digest]bool{}
	for b, err := range f.Batches(ctx, syncer.DefaultLimits) {
		if err != nil {
			t.Errorf("file %d: %v", k, err)
			return "broken"
		}
		c, err := syncer.Check(proto.CloneOf(b), key, syncer.DefaultLimits)
		if err != nil {
			t.Errorf("file %d: a batch does not check: %v", k, err)
			return "broken"
		}
		for _, e := range c.Entries {
			if e.Refused || e.Raw != nil && !whole[e.Digest] {
				t.Errorf("file %d: entry %d is %v %s", k, e.Seq, e.Digest, e.Reason)
			}
			if e.Raw != nil {
				got[e.Digest] = true
			}
		}
	}
	switch {
	case len(got) == len(whole):
		return "whole"
	case len(f.Problems()) == 0:
		t.Errorf("file %d: %d of %d records and no problem reported", k, len(got), len(whole))
		return "silent"
	}
	return "salvaged"
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
		fo, err := tablet.OpenForeign(ctx, path)
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
