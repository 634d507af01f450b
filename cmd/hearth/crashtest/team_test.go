//go:build linux

package crashtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/server/store/sqlite"
	"github.com/hearth-survey/hearth/study"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// studyCode is the study of all tests here.
const studyCode = "crash"

// pool are interviews to choose from.
var pool = sync.OnceValues(func() ([]*surveyv1.Interview, error) {
	var all []*surveyv1.Interview
	_, err := study.Simulate(study.SimulateOptions{Households: 300, Tablets: 1, Seed: 11, Study: studyCode, DuplicateRate: -1},
		func(_ int, iv *surveyv1.Interview) error {
			all = append(all, iv)
			return nil
		})
	return all, err
})

// interview is one that nobody else has.
func interview(t testing.TB, n int) *surveyv1.Interview {
	t.Helper()
	all, err := pool()
	if err != nil {
		t.Fatal(err)
	}
	iv := proto.CloneOf(all[n%len(all)])
	iv.InterviewId = proto.String(uuid.NewString())
	return iv
}

// jsonLines writes n interviews to a file as `hearth tablet load` reads them.
func jsonLines(t testing.TB, path string, n int) {
	t.Helper()
	var buf bytes.Buffer
	for i := range n {
		raw, err := protojson.Marshal(interview(t, i))
		if err != nil {
			t.Fatal(err)
		}
		var line bytes.Buffer
		if err := json.Compact(&line, raw); err != nil {
			t.Fatal(err)
		}
		buf.Write(line.Bytes())
		buf.WriteByte('\n')
	}
	if err := os.WriteFile(path, buf.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// newTablet makes a store with interviews, the first of which has a photo if its size is not 0.
func newTablet(t testing.TB, path string, interviews, photo int) *tablet.Store {
	t.Helper()
	ctx := context.Background()
	s, err := tablet.Create(ctx, path, tablet.CreateOptions{Name: filepath.Base(path), Enumerator: "E1", Study: studyCode})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	for i := range interviews {
		iv := interview(t, i)
		if i == 0 && photo > 0 {
			a, err := s.AddBlob(ctx, bytes.NewReader(noise(photo)))
			if err != nil {
				t.Fatal(err)
			}
			iv.Attachments = append(iv.Attachments, a)
		}
		if _, _, err := s.AddInterview(ctx, iv); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// noise is bytes that nobody else has.
func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8(sha256.Sum256([]byte(uuid.NewString())))
	_, _ = r.Read(b) // it never fails
	return b
}

// fast are options of a Sync for a test.
var fast = tablet.SyncOptions{MinBackoff: 5 * time.Millisecond, MaxBackoff: 100 * time.Millisecond, CallTimeout: 5 * time.Second, Attempts: 20, Compress: true}

// syncAll syncs until nothing is left, within the time given.
func syncAll(t testing.TB, s *tablet.Store, cc grpc.ClientConnInterface, limit time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for {
		report, err := s.Sync(ctx, cc, fast)
		if err == nil && report.Pending == 0 && report.Blobs.Pending == 0 {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("%s has %d records and %d attachments to send after %v: %v", s.Name(), report.Pending, report.Blobs.Pending, limit, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// held is what a tablet's file says.
type held struct {
	digests []syncer.Digest
	signed  map[syncer.Digest]bool // under a receipt
	blobs   [][]byte
	kept    map[string]bool // attachments that headquarters has said it has
}

// readTablet reads a tablet's file without the program's help.
func readTablet(t testing.TB, path string) *held {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	h := &held{signed: map[syncer.Digest]bool{}, kept: map[string]bool{}}
	column := func(query string, f func([]byte)) {
		rows, err := db.Query(query)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		defer rows.Close()
		for rows.Next() {
			var b []byte
			if err := rows.Scan(&b); err != nil {
				t.Fatal(err)
			}
			f(b)
		}
		if err := rows.Err(); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	column("PRAGMA integrity_check", func(b []byte) {
		if string(b) != "ok" {
			t.Errorf("%s: %s", path, b)
		}
	})
	column("SELECT digest FROM record ORDER BY n", func(b []byte) { h.digests = append(h.digests, syncer.Digest(b)) })
	column("SELECT body FROM record WHERE body IS NOT NULL", func(b []byte) {
		if d := syncer.DigestOf(b); !slices.Contains(h.digests, d) {
			t.Errorf("%s: a record is damaged: its bytes have digest %v", path, d)
		}
	})
	column(`SELECT e.digest FROM lane_entry AS e WHERE EXISTS (SELECT 1 FROM receipt AS r WHERE r.epoch = e.epoch AND r.seq >= e.seq)
		AND NOT EXISTS (SELECT 1 FROM answer AS a WHERE a.epoch = e.epoch AND a.seq = e.seq AND a.outcome = 4)`,
		func(b []byte) { h.signed[syncer.Digest(b)] = true })
	column("SELECT DISTINCT sha256 FROM blob_use", func(b []byte) { h.blobs = append(h.blobs, b) })
	column("SELECT DISTINCT sha256 FROM blob_kept", func(b []byte) { h.kept[string(b)] = true })
	return h
}

// verify checks that a server's folder, whose server has ended, holds every record that a tablet has a receipt for
// exactly once, and every attachment of which it has said so; all of them where the tablets are healed.
func verify(t testing.TB, dir string, tablets []string, healed bool) {
	t.Helper()
	records := readServer(t, dir)
	for _, path := range tablets {
		h := readTablet(t, path)
		if len(h.digests) == 0 {
			t.Errorf("%s holds no record", path)
		}
		for i, d := range h.digests {
			switch {
			case h.signed[d] && records[d] != 1:
				t.Errorf("%s: record %d, for which it has a receipt, is %d times at headquarters", filepath.Base(path), i, records[d])
			case records[d] > 1:
				t.Errorf("%s: record %d is %d times at headquarters", filepath.Base(path), i, records[d])
			case healed && (!h.signed[d] || records[d] != 1):
				t.Errorf("%s: record %d is %d times at headquarters after all is healed, receipt: %v", filepath.Base(path), i, records[d], h.signed[d])
			}
		}
		for _, sum := range h.blobs {
			if !h.kept[string(sum)] && !healed {
				continue
			}
			name := hex.EncodeToString(sum)
			raw, err := os.ReadFile(filepath.Join(dir, "blobs", name[:2], name))
			if got := sha256.Sum256(raw); err != nil || !bytes.Equal(got[:], sum) {
				t.Errorf("%s: attachment %s, of which headquarters has said that it has it (%v), is not there: %v", filepath.Base(path), name[:8], h.kept[string(sum)], err)
			}
		}
	}
}

// readServer counts the records of a server's folder by digest. The bytes of each are hashed.
func readServer(t testing.TB, dir string) map[syncer.Digest]int {
	t.Helper()
	st, err := sqlite.Open(context.Background(), dir, sqlite.Options{MustExist: true})
	if err != nil {
		t.Fatalf("open what is left of headquarters: %v", err)
	}
	defer st.Close()
	records, cursor := map[syncer.Digest]int{}, syncer.Cursor{}
	for {
		var page []store.Stored
		var more bool
		if page, cursor, more, err = st.After(context.Background(), cursor, 500); err != nil {
			t.Fatalf("read what is left of headquarters: %v", err)
		}
		for _, r := range page {
			records[r.Digest]++
			if d := syncer.DigestOf(r.Raw); d != r.Digest {
				t.Errorf("a record at headquarters has other bytes than its digest %v", r.Digest)
			}
		}
		if !more {
			return records
		}
	}
}

// check runs `hearth check --rebuild`, which must find nothing but what is allowed.
func check(t testing.TB, dir string, allowed ...string) {
	t.Helper()
	findNothing(t, []string{"check", "--data", dir, "--rebuild"}, allowed...)
}

// findNothing runs a check, which must find nothing but what is allowed.
func findNothing(t testing.TB, args []string, allowed ...string) {
	t.Helper()
	out, err := run(t, nil, args...)
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "error:") && !strings.HasPrefix(line, "warning:") {
			continue
		}
		if !slices.ContainsFunc(allowed, func(s string) bool { return strings.Contains(line, s) }) {
			t.Errorf("hearth check: %s", line)
		}
	}
	if err != nil {
		t.Errorf("hearth check: %v", err)
	}
}

// nth names things by number.
func nth(dir, kind string, n int) string {
	return filepath.Join(dir, fmt.Sprintf("%s-%03d.sqlite", kind, n))
}
