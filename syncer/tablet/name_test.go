package tablet_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/syncer/tablet"
)

func named(t *testing.T, dir string) string {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range all {
		if !strings.HasSuffix(e.Name(), "-wal") && !strings.HasSuffix(e.Name(), "-shm") {
			names = append(names, e.Name())
		}
	}
	return strings.Join(names, " ")
}

// A store has its name when it is whole. Makings that were cut short leave nothing in the way, and are tidied up by the
// next one, once nobody can be at them any more.
func TestCreateNamesWholeStores(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "tab[let]-*.sqlite")
	opts := tablet.CreateOptions{Name: "tablet-01", Enumerator: "E1", Study: "guiyang"}
	old, young := path+".making-123", path+".making-456"
	for _, p := range []string{old, young} {
		if err := os.WriteFile(p, []byte("half a store"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(old, long, long); err != nil {
		t.Fatal(err)
	}
	s, err := tablet.Create(t.Context(), path, opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got, want := named(t, dir), filepath.Base(path)+" "+filepath.Base(young); got != want {
		t.Errorf("the folder holds %s, want %s", got, want)
	}
	if _, err := tablet.Create(t.Context(), path, opts); fault.ReasonOf(err) != fault.StoreExists {
		t.Errorf("made again: %v, want %s", err, fault.StoreExists)
	}
	if _, err := tablet.Create(t.Context(), filepath.Join(dir, "nowhere", "x.sqlite"), opts); fault.ReasonOf(err) != fault.StoreMissing {
		t.Errorf("in a folder that is not there: %v, want %s", err, fault.StoreMissing)
	}
}

// Of several that make a store of one name at the same time one has made it.
func TestCreateAtTheSameTime(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.sqlite")
	var made atomic.Int64
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			s, err := tablet.Create(t.Context(), path, tablet.CreateOptions{Name: "tablet-01", Enumerator: "E1", Study: "guiyang"})
			switch {
			case err == nil:
				made.Add(1)
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			case fault.ReasonOf(err) != fault.StoreExists:
				t.Errorf("error = %v, want %s", err, fault.StoreExists)
			}
		})
	}
	all.Wait()
	if made.Load() != 1 || named(t, dir) != "x.sqlite" {
		t.Errorf("%d made the store; the folder holds %s", made.Load(), named(t, dir))
	}
}
