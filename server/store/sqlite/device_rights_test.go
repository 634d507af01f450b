package sqlite

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/server/store/storetest"
)

// rightful fills a store with a code, a session and a revocation.
func rightful(t *testing.T, s *Store) {
	t.Helper()
	b, other := storetest.NewTablet(1), storetest.NewTablet(2)
	for i, name := range []string{"tablet-01", "tablet-02", "not used"} {
		e := store.Enrolment{Code: [32]byte{byte(i + 1)}, Study: "s", Name: name, Enumerator: "E1", CreatedMS: 1, ExpiresMS: 1000}
		if err := s.AddEnrolment(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	for i, tb := range []*storetest.Tablet{b, other} {
		if _, err := s.Enrol(t.Context(), [32]byte{byte(i + 1)}, tb.Lane.Device, tb.Public(), 2); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.AddSession(t.Context(), store.Session{Token: [32]byte{9}, Device: b.Lane.Device, OpenedMS: 3, ExpiresMS: 1000}); err != nil {
		t.Fatal(err)
	}
	if err := s.Revoke(t.Context(), store.Revocation{Device: other.Lane.Device, RevokedMS: 4, Reason: "lost", By: "Zhang"}); err != nil {
		t.Fatal(err)
	}
}

// Rights that somebody gives himself with a tool are found.
func TestCheckFindsChangedRights(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	rightful(t, s)
	if r := check(t, s); len(r.Findings) > 0 {
		t.Fatalf("a sound store has findings: %v", r.Findings)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, change, want string }{
		{"code", `UPDATE enrolment SET expires_ms = 9e15`, "enrolment of tablet-01"},
		{"tries", `UPDATE enrolment SET tries = -100`, "enrolment of not used"},
		{"session", `UPDATE session SET expires_ms = 9e15`, "table session"},
		{"session of another", `UPDATE session SET device = zeroblob(16)`, "table session"},
		{"revocation", `UPDATE revocation SET reason = 'found'`, "table revocation"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			copied := t.TempDir()
			if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			tamper(t, filepath.Join(copied, logFile), tc.change)
			wantFinding(t, check(t, open(t, copied, Options{})), tc.want)
		})
	}
}

// Codes that nobody used are forgotten a day after their end; those that were used tell whose a tablet is.
func TestOldCodesAreForgotten(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	rightful(t, s)
	count := func() (n int) {
		t.Helper()
		if err := s.log.QueryRowContext(t.Context(), `SELECT count(*) FROM enrolment WHERE length(device) = 0`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, add := range []struct {
		at   int64
		want int
	}{{1000 + dayMS, 2}, {1001 + dayMS, 2}, {2000 + dayMS, 3}} {
		if err := s.AddEnrolment(t.Context(), store.Enrolment{Code: [32]byte(bytes.Repeat([]byte{byte(add.at)}, 32)), CreatedMS: add.at, ExpiresMS: add.at + 1}); err != nil {
			t.Fatal(err)
		}
		if n := count(); n != add.want {
			t.Errorf("at %d there are %d codes that nobody used, want %d", add.at, n, add.want)
		}
	}
	var used int
	if err := s.log.QueryRowContext(t.Context(), `SELECT count(*) FROM enrolment WHERE length(device) > 0`).Scan(&used); err != nil || used != 2 {
		t.Errorf("%d codes that were used, %v; want 2", used, err)
	}
}

// A store that is open for reading only gives no rights.
func TestReadOnlyGivesNoRights(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	rightful(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{ReadOnly: true})
	b := storetest.NewTablet(1)
	if err := s.AddEnrolment(t.Context(), store.Enrolment{}); err == nil {
		t.Error("a code was added")
	}
	if _, err := s.Enrol(t.Context(), [32]byte{3}, b.Lane.Device, b.Public(), 2); err == nil {
		t.Error("a tablet was enrolled")
	}
	if err := s.AddSession(t.Context(), store.Session{}); err == nil {
		t.Error("a session was added")
	}
	if err := s.Revoke(t.Context(), store.Revocation{Device: b.Lane.Device}); err == nil {
		t.Error("a tablet was revoked")
	}
	if _, err := s.Session(t.Context(), [32]byte{9}); err != nil {
		t.Errorf("the session cannot be read: %v", err)
	}
}
