package tablet_test

import (
	"bytes"
	"database/sql"
	"os"
	"testing"

	"github.com/hearth-survey/hearth/syncer/syncertest"
	"github.com/hearth-survey/hearth/syncer/tablet"
)

// A write-ahead log is whole, or its first damaged frame is named; what is left over in it from before it was begun again is no
// damage.
func TestDamagedWAL(t *testing.T) {
	s := create(t, "tablet-01")
	for i := range 12 {
		add(t, s, syncertest.Interview("tablet-01", i, "a"))
	}
	read := func() []byte {
		t.Helper()
		b, err := os.ReadFile(s.Path() + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	check := func(name string, b []byte, want int) {
		t.Helper()
		if got, err := tablet.DamagedWAL(bytes.NewReader(b)); got != want || err != nil {
			t.Errorf("%s: damaged in frame %d, %v; want %d", name, got, err, want)
		}
	}
	whole := read()
	const frame = 24 + 4096
	frames := (len(whole) - 32) / frame
	if frames < 20 {
		t.Fatalf("the log has %d frames", frames)
	}
	check("whole", whole, 0)
	check("none", nil, 0)
	check("its head cut", whole[:20], 1)
	check("cut at a frame", whole[:32+5*frame], 0)
	check("cut in a frame", whole[:32+5*frame+100], 6)
	for _, n := range []int{1, 7, frames} {
		for name, at := range map[string]int{"page number": 3, "first salt": 8, "second salt": 12, "checksum": 17, "page": 24 + 2000} {
			b := bytes.Clone(whole)
			b[32+(n-1)*frame+at] ^= 0x10
			check(name, b, n)
		}
		b := bytes.Clone(whole)
		b[32+(n-1)*frame+8] ^= 1
		b[32+(n-1)*frame+12] ^= 1
		check("both salts", b, n)
		if n < frames {
			b[32+(n-1)*frame+30] ^= 1
			check("both salts and the page", b, n)
		}
	}
	// SQLite begins the log again and leaves the old frames behind the new ones.
	db, err := sql.Open("sqlite", s.Path())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("PRAGMA wal_checkpoint(RESTART)"); err != nil {
		t.Fatal(err)
	}
	add(t, s, syncertest.Interview("tablet-01", 20, "b"))
	again := read()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if len(again) != len(whole) || bytes.Equal(again[:32], whole[:32]) {
		t.Fatalf("the log was not begun again: %d bytes, %d before", len(again), len(whole))
	}
	check("begun again", again, 0)
}
