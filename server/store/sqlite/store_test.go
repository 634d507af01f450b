package sqlite

import (
	"sync"
	"testing"

	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/server/store/storetest"
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

func TestStore(t *testing.T) {
	var dirs sync.Map
	storetest.Run(t, storetest.Factory{
		Open: func(t testing.TB) store.Store {
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
