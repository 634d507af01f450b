package sqlite

import (
	"crypto/rand"
	"path/filepath"
	"testing"
	"time"

	"github.com/hearth-survey/hearth/server/store"
)

// A folder that an older program made, before there was a shelf, is opened, brought up to date, and sound.
func TestOpensAnOlderFolder(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, logFile)
	if err := (osDisk{}).Make(path); err != nil {
		t.Fatal(err)
	}
	c, err := dialWriter(osDisk{}, path, "FULL")
	if err != nil {
		t.Fatal(err)
	}
	if err := migrate(c, logMigrations()[:1], logFile); err != nil {
		t.Fatal(err)
	}
	l := &logConn{conn: c}
	if err := l.identify(&Store{now: time.Now, rand: rand.Reader}); err != nil {
		t.Fatal(err)
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Put(t.Context(), store.Item{Space: "x", Key: []byte("k"), Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	r, err := s.Check(t.Context(), store.CheckOptions{})
	if err != nil || len(r.Findings) > 0 {
		t.Errorf("check = %+v, %v", r, err)
	}
}

// A hub's index by digest is made once, is no finding, and one byte changed on the shelf is.
func TestHubsFolder(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 2 {
		if err := s.IndexDigests(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Put(t.Context(), store.Item{Space: "lane", Key: []byte("k"), Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	r, err := s.Check(t.Context(), store.CheckOptions{})
	if err != nil || len(r.Findings) > 0 {
		t.Fatalf("check = %+v, %v", r, err)
	}
	err = s.change(t.Context(), func(tx *tx) error { tx.writes++; return tx.run(`UPDATE shelf SET value = x'00'`) })
	if err != nil {
		t.Fatal(err)
	}
	if r, err = s.Check(t.Context(), store.CheckOptions{}); err != nil || len(r.Findings) != 1 {
		t.Errorf("check of a changed value = %+v, %v", r, err)
	}
	if _, err := s.Get(t.Context(), "lane", []byte("k")); err == nil {
		t.Error("a changed value was read")
	}
	if _, err := s.List(t.Context(), "lane", nil, 9); err == nil {
		t.Error("a changed value was listed")
	}
}
