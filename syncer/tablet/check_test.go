package tablet_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hearth-survey/hearth/proto/fault"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/syncertest"
	"github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/protobuf/proto"
)

// checkable is a tablet's store with some of everything: records under a receipt, one of them pruned, later ones without,
// attachments, a draft.
func checkable(t *testing.T) *tablet.Store {
	t.Helper()
	s := create(t, "tablet-01")
	interviewWith(t, s, 1, noise(1, jpeg, 100_000)) // records 1 and 2
	add(t, s, syncertest.Interview("tablet-01", 2, "b"))
	link := connect(t, syncertest.NewServer("hq"))
	mustSync(t, s, link, fast())
	if n, err := s.Prune(t.Context(), 0); err != nil || n != 3 {
		t.Fatalf("pruned %d, %v", n, err)
	}
	add(t, s, syncertest.Interview("tablet-01", 3, "c"), syncertest.Interview("tablet-01", 4, strings.Repeat("d", 9000)))
	mustSync(t, s, link, fast())
	interviewWith(t, s, 5, noise(2, jpeg, 50_000)) // records 6 and 7
	if err := s.SaveDraft(t.Context(), syncertest.Interview("tablet-01", 9, "half")); err != nil {
		t.Fatal(err)
	}
	return s
}

// alter runs statements on a file as if its triggers were not there, and puts them back.
func alter(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	rows, err := db.Query("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
	if err != nil {
		t.Fatal(err)
	}
	var drop, again []string
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			t.Fatal(err)
		}
		drop, again = append(drop, "DROP TRIGGER "+name), append(again, text)
	}
	if err := rows.Close(); err != nil {
		t.Fatal(err)
	}
	for _, all := range [][]string{drop, {"PRAGMA ignore_check_constraints = 1"}, statements, again} {
		for _, st := range all {
			if _, err := db.Exec(st); err != nil {
				t.Fatal(st, err)
			}
		}
	}
}

func TestCheckSound(t *testing.T) {
	s := checkable(t)
	for name, path := range map[string]string{"in use": s.Path(), "copied with its log": usb(t, s, true)} {
		t.Run(name, func(t *testing.T) {
			r, err := tablet.Check(t.Context(), path, child())
			if err != nil {
				t.Fatal(err)
			}
			want := &tablet.CheckReport{Device: s.Device().String(), Name: "tablet-01", Enumerator: "E1", Study: "guiyang-2016",
				Records: 4, Pruned: 3, Pending: 2, Lanes: 1, Receipts: r.Receipts, Blobs: 1, Drafts: 1}
			if diff := cmp.Diff(want, r); diff != "" || r.Receipts < 2 {
				t.Errorf("Check (-want +got):\n%s", diff)
			}
		})
	}
	// Nothing is made beside a copy, and the copy stays as it was.
	path := filepath.Join(t.TempDir(), "alone.sqlite")
	if err := s.Backup(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tablet.Check(t.Context(), path, nil); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(path)
	all, _ := filepath.Glob(path + "*")
	if err != nil || string(before) != string(after) || len(all) != 1 {
		t.Errorf("after the check there are %v, changed: %v, %v", all, string(before) != string(after), err)
	}
}

// Every kind of finding, by a store that is damaged in that way.
func TestCheckFinds(t *testing.T) {
	s := checkable(t)
	flip := func(column, table string, n int) string {
		return fmt.Sprintf("UPDATE %s SET %s = CAST(substr(%s, 1, 5) || x'7e' || substr(%s, 7) AS BLOB) WHERE n = %d", table, column, column, column, n)
	}
	for _, tt := range []struct {
		name     string
		change   string
		severity string
		reason   fault.Reason
		want     string // in subject or message
	}{
		{"body of a record", flip("body", "record", 4), "error", fault.RecordDamaged, "record 4"},
		{"record gone", "DELETE FROM record WHERE n = 7; VACUUM", "error", fault.RecordDamaged, "its record is gone"},
		{"record deleted", "DELETE FROM record WHERE n = 7", "error", fault.RecordDamaged, "it can still be got"},
		{"column beside a record", "UPDATE record SET subject = 'other' WHERE n = 6", "error", fault.StoreDamaged, "record 6"},
		{"parents beside a record", "UPDATE record SET parents = zeroblob(32) WHERE n = 6", "error", fault.StoreDamaged, "record 6"},
		{"digest of a record", flip("digest", "record", 6), "error", fault.StoreDamaged, "the digest beside"},
		{"pruned without a receipt", "UPDATE record SET body = NULL WHERE n = 6", "error", fault.RecordDamaged, "no receipt says"},
		{"entry of a lane", flip("digest", "lane_entry", 4), "error", fault.BadChain, "its chain breaks behind entry 3"},
		{"chain of a lane", flip("chain", "lane_entry", 4), "error", fault.BadChain, "its chain breaks behind entry 3"},
		{"entry gone", "DELETE FROM lane_entry WHERE n = 4", "error", fault.BadChain, "its chain breaks behind entry 3"},
		{"last entry gone", "DELETE FROM lane_entry WHERE n = 7", "error", fault.StoreDamaged, "entries of 1 records are gone"},
		{"entries under a receipt gone", "DELETE FROM lane_entry WHERE n >= 5", "error", fault.BadChain, "verifies up to entry 4 only"},
		{"signature of a receipt", flip("signature", "receipt", 1), "error", fault.BadSignature, "receipt 1"},
		{"seq of a receipt", "UPDATE receipt SET seq = seq + 1 WHERE n = 1", "error", fault.BadSignature, "receipt 1"},
		{"keeper of a receipt", flip("keeper", "receipt", 1), "error", fault.ServerChanged, "receipt 1"},
		{"server in meta", "UPDATE meta SET server_key = zeroblob(32)", "error", fault.ServerChanged, "receipt 1"},
		{"receipts gone", "DELETE FROM receipt; VACUUM", "error", fault.RecordDamaged, "no receipt says"},
		{"refused and forgotten", "INSERT INTO answer (epoch, seq, outcome, reason, message, time_ms) SELECT epoch, 4, 4, 'RECORD_TOO_LARGE', '', 1 FROM meta",
			"warning", fault.RecordDamaged, "has not taken the bytes of 1 entries"},
		{"draft", "UPDATE draft SET body = CAST(substr(body, 1, 5) || x'7e' AS BLOB)", "error", fault.StoreDamaged, "draft of interview"},
		{"bytes of an attachment", "UPDATE blob_piece SET bytes = zeroblob(length(bytes)) WHERE n = (SELECT max(n) FROM blob_piece)", "error", fault.BlobDamaged, "attachment"},
		{"piece of an attachment gone", "DELETE FROM blob_piece WHERE n = (SELECT max(n) FROM blob_piece WHERE start = 0); VACUUM", "warning", fault.BlobAbsent, "never here"},
		{"id of the tablet", "UPDATE meta SET device = zeroblob(16)", "error", fault.StoreDamaged, "id is damaged"},
		{"key of the tablet", "UPDATE meta SET seed = zeroblob(32), public_key = zeroblob(32); VACUUM", "error", fault.StoreDamaged, "key is damaged or gone"},
		{"a trigger more", "CREATE TRIGGER more AFTER INSERT ON draft BEGIN SELECT 1; END", "error", fault.StoreDamaged, "not exactly those"},
	} {
		if testing.Short() && tt.severity != "warning" {
			continue // each has a process of its own
		}
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.sqlite")
			if err := s.Backup(t.Context(), path); err != nil {
				t.Fatal(err)
			}
			alter(t, path, tt.change)
			wantFinding(t, path, tt.severity, tt.reason, tt.want)
		})
	}
	t.Run("page", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "x.sqlite")
		if err := s.Backup(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		overwrite(t, path, 4096*3)
		wantFinding(t, path, "error", fault.StoreDamaged, "SQLite")
	})
	t.Run("log", func(t *testing.T) {
		path := usb(t, s, true)
		overwrite(t, path+"-wal", 32+24+10)
		wantFinding(t, path, "error", fault.StoreDamaged, "the -wal file")
	})
}

// overwrite changes some bytes of a file.
func overwrite(t *testing.T, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte(strings.Repeat("\xa5", 300)), at); err != nil {
		t.Fatal(err)
	}
}

func wantFinding(t *testing.T, path, severity string, reason fault.Reason, want string) {
	t.Helper()
	r, err := tablet.Check(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Findings {
		if f.Do == "" || f.Subject == "" || f.Message == "" || f.Reason.Do() == "" {
			t.Errorf("a finding that does not say all: %+v", f)
		}
		if f.Severity == severity && f.Reason == reason && strings.Contains(f.Subject+": "+f.Message, want) {
			return
		}
	}
	t.Errorf("findings = %+v\nwant %s %s that says %q", r.Findings, severity, reason, want)
}

// A receipt of headquarters over another history: the store was exchanged for a copy that went on elsewhere.
func TestCheckFindsAnotherHistory(t *testing.T) {
	s := create(t, "tablet-01")
	add(t, s, syncertest.Interview("tablet-01", 1, "a"), syncertest.Interview("tablet-01", 2, "b"))
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	public := []byte(key.Public().(ed25519.PublicKey))
	st := mustStatus(t, s)
	r := syncer.NewReceipt(key, syncer.LaneID{Device: s.Device(), Epoch: st.Epoch}, syncer.Head{Seq: 2, Chain: syncer.Chain{1}}, 5)
	path := filepath.Join(t.TempDir(), "x.sqlite")
	if err := s.Backup(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	alter(t, path, fmt.Sprintf("UPDATE meta SET server_key = x'%x'", public),
		fmt.Sprintf("INSERT INTO receipt (epoch, seq, chain, time_ms, keeper, signature) VALUES (x'%x', 2, x'%x', 5, x'%x', x'%x')", st.Epoch[:], r.GetChain(), public, r.GetSignature()))
	wantFinding(t, path, "error", fault.LaneFork, "another history")
}

// Attachments that a record lists and that were never added.
func TestCheckFindsAbsentAttachments(t *testing.T) {
	s := create(t, "tablet-01")
	iv := syncertest.Interview("tablet-01", 1, "a")
	gone := sha256.Sum256([]byte("a photo"))
	iv.Attachments = []*surveyv1.Attachment{{Sha256: gone[:], Size: proto.Int64(7), MediaType: proto.String("image/jpeg")}}
	add(t, s, iv)
	wantFinding(t, s.Path(), "warning", fault.BlobAbsent, "never here")
}
