package sqlite

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/server/store/storetest"
	"google.golang.org/protobuf/proto"
)

const canaryName = "罗金丝雀"

// holding returns the files of a folder that hold the canary.
func holding(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) < 3 {
		t.Fatalf("the folder has %d files, %v", len(entries), err)
	}
	var out []string
	for _, e := range entries {
		raw, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(raw, []byte(canaryName)) {
			out = append(out, e.Name())
		}
	}
	return out
}

// projectionOf is a projection in which a name stands.
func projectionOf(r storetest.Raw, name string, n int) *servicev1.InterviewProjection {
	return &servicev1.InterviewProjection{
		Summary: &servicev1.InterviewSummary{InterviewId: r.Record.Subject, Part: r.Record.Part, Study: r.Record.Study, Heads: [][]byte{r.Digest[:]}},
		People:  []*servicev1.PersonRecord{{Identity: &surveyv1.Identity{FullName: proto.String(strings.Repeat(name, n))}}},
	}
}

// No byte of what was erased is left in any file of the store, wherever it has been: in pages that were split, in the
// quarantine and out of it, in overflow pages, in the WAL.
func TestErasedBytesAreGone(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	s, err := Open(ctx, dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b := storetest.NewTablet(1)
	subject := storetest.Subject(99)
	var all []storetest.Raw
	for i := range 300 {
		r := b.Record(t, 7, storetest.Subject(uint64(1000+i)), func(r *servicev1.Record) { r.Payload = bytes.Repeat([]byte("x"), 100+i*37%5000) })
		if i%20 == 10 {
			r = b.Record(t, 7, subject, func(r *servicev1.Record) { r.Payload = bytes.Repeat([]byte(canaryName+" "), 1+i*3) })
		}
		if i%60 == 10 { // once in quarantine, then released by coming again
			spoil := b.Check(t, b.Batch(r))
			spoil.Entries[0].Reason = fault.UnknownVersion
			if _, err := s.Append(ctx, spoil); err != nil {
				t.Fatal(err)
			}
		}
		b.Push(t, s, r)
		all = append(all, r)
		applyTo(t, s, &store.Changes{Interviews: []*servicev1.InterviewProjection{projectionOf(r, canaryName, 1+i%7*50)}, Records: [][]uint64{{uint64(i + 1)}}})
	}
	late := b.Check(t, b.Batch(b.Record(t, 7, subject, func(r *servicev1.Record) { r.Payload = []byte(canaryName) })))
	late.Entries[0].Reason = fault.InterviewWithdrawn
	if _, err := s.Append(ctx, late); err != nil {
		t.Fatal(err)
	}
	var counters []uint64
	for i, r := range all { // the others' names stand there no more: only the erased one has the canary
		if r.Record.GetSubject() == subject {
			counters = append(counters, uint64(i+1))
			continue
		}
		applyTo(t, s, &store.Changes{Interviews: []*servicev1.InterviewProjection{projectionOf(r, "y", 9+i%5*300)}, Records: [][]uint64{{uint64(i + 1)}}})
	}
	applyTo(t, s, &store.Changes{Records: [][]uint64{}, Withdrawn: []store.Withdrawal{{Part: 7, InterviewID: subject, Tombstone: &servicev1.Tombstone{}, Records: counters}}})
	if found := holding(t, dir); len(found) == 0 {
		t.Fatal("the canary is in no file, so this test tests nothing")
	}
	got, err := s.Erase(ctx, 7, subject)
	if err != nil || len(got.Digests) != 15 || got.Quarantined != 1 {
		t.Fatalf("Erase = %d records, %d items, %v; want 15 and 1", len(got.Digests), got.Quarantined, err)
	}
	if found := holding(t, dir); len(found) > 0 {
		t.Errorf("the canary is still in %v", found)
	}
	for range 3 { // the store goes on
		b.Push(t, s, b.Records(t, 7, 10)...)
	}
	report, err := s.Check(ctx, store.CheckOptions{})
	if err != nil || report.Erased != 15 || report.Records != 330 {
		t.Errorf("Check = %+v, %v; want 330 records, 15 erased", report, err)
	}
	for _, f := range report.Findings {
		if f.Severity == "error" {
			t.Errorf("Check: %s: %s", f.Subject, f.Message)
		}
	}
}

// applyTo applies changes up to the end of the log.
func applyTo(t *testing.T, s *Store, c *store.Changes) {
	t.Helper()
	var err error
	if c.Cursor, err = s.Head(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(context.Background(), c); err != nil {
		t.Fatal(err)
	}
}

// What is not an erasure cannot change a record, and a stub that was changed on the disk is found.
func TestOnlyErasureChangesRecords(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	s, err := Open(ctx, dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b := storetest.NewTablet(1)
	b.Push(t, s, b.Record(t, 7, storetest.Subject(1), nil), b.Record(t, 7, storetest.Subject(2), nil))
	if _, err := s.Erase(ctx, 7, storetest.Subject(1)); err != nil {
		t.Fatal(err)
	}
	c, err := dial(dsn(osDisk{}, filepath.Join(dir, logFile), "rw"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	for _, forbidden := range []string{
		`UPDATE record SET body = x'00' WHERE counter = 2`, `UPDATE record SET subject = 'x' WHERE counter = 1`, `DELETE FROM record WHERE counter = 1`,
		`UPDATE record SET body = x'00', digest = x'00' WHERE counter = 1`,
	} {
		if err := c.run(forbidden); err == nil || !strings.Contains(err.Error(), "records are never") {
			t.Errorf("%s: %v", forbidden, err)
		}
	}
	for _, change := range []string{`UPDATE record SET body = x'00' WHERE counter = 1`, `UPDATE erased SET erased_ms = 0`} {
		if err := c.run(change); err != nil {
			t.Fatal(err)
		}
		report, err := s.Check(ctx, store.CheckOptions{})
		if err != nil || !strings.Contains(fmt.Sprint(report.Findings), "error") {
			t.Errorf("after %s: %v, %v; want an error found", change, report, err)
		}
	}
}

// A reader that stays in the middle of the log holds an erasure up, and it says so.
func TestErasureWaitsForReaders(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b := storetest.NewTablet(1)
	r := b.Record(t, 7, storetest.Subject(1), func(r *servicev1.Record) { r.Payload = []byte(canaryName) })
	b.Push(t, s, r)
	held, err := s.log.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := held.QueryRow(`SELECT count(*) FROM record`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := s.Erase(ctx, 7, storetest.Subject(1))
		done <- err
	}()
	for !s.queries.forgotten.has(r.Digest) { // it waits for the reader only
		select {
		case err := <-done:
			t.Fatalf("Erase ended while the log was read: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	begun := time.Now()
	if err := <-done; err == nil {
		t.Error("Erase says that all is gone while it is being read")
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("Erase went on for %v after it was told to end", took)
	}
	if err := held.Rollback(); err != nil {
		t.Fatal(err)
	}
	got, err := s.Erase(t.Context(), 7, storetest.Subject(1))
	if err != nil || len(got.Digests) != 1 {
		t.Errorf("Erase again = %v, %v", got, err)
	}
	if found := holding(t, dir); len(found) > 0 {
		t.Errorf("the canary is still in %v", found)
	}
}
