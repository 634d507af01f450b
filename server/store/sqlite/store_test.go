package sqlite

import (
	"strings"
	"sync"
	"testing"

	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/server/store/storetest"
	"github.com/hearth-survey/hearth/syncer/faultdisk"
)

// open opens a store in a folder for a test.
func open(t testing.TB, dir string, opts Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestStore runs the suite. The model's hundreds of stores are on a disk in memory: they are about what is held, and on a
// real one each waits for twenty syncs before it begins.
func TestStore(t *testing.T) {
	var dirs sync.Map
	storetest.Run(t, storetest.Factory{
		Open: func(t testing.TB) store.Store {
			if strings.Contains(t.Name(), "/Model/") {
				d := faultdisk.New(1)
				t.Cleanup(d.Close)
				return open(t, d.Path("hq"), Options{Disk: d})
			}
			dir := t.TempDir()
			s := open(t, dir, Options{})
			dirs.Store(store.Store(s), dir)
			return s
		},
		Reopen: func(t testing.TB, s store.Store) store.Store {
			dir, ok := dirs.Load(s)
			if !ok {
				t.Fatal("the store is not one of this test")
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, dir.(string), Options{})
		},
	})
}
