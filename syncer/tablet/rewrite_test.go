package tablet_test

import (
	"testing"

	"github.com/hearth-survey/hearth/syncer/faultdisk"
	"github.com/hearth-survey/hearth/syncer/syncertest"
	"github.com/hearth-survey/hearth/syncer/tablet"
)

// A sync fails, wherever, the program ends and is started again: what it finds recorded then survives a power cut, though
// nothing was written since.
func TestFailedSync(t *testing.T) {
	failed := 0
	for at := 1; at < 30; at++ {
		d := faultdisk.New(uint64(at))
		opts := tablet.Options{VFS: d.VFS(), Rewrite: d.Rewrite}
		s, err := tablet.Create(t.Context(), d.Path("t.sqlite"), tablet.CreateOptions{Name: "tab", Enumerator: "E1", Study: "guiyang-2016", VFS: d.VFS()})
		if err != nil {
			t.Fatal(err)
		}
		d.Set(faultdisk.Plan{Fail: faultdisk.BadSync, FailAt: at, FailFor: 1})
		for i := range 8 {
			if _, _, err := s.AddInterview(t.Context(), syncertest.Interview("a", i, "said")); err != nil {
				failed++
				break
			}
		}
		d.Kill()
		_ = s.Close() // its files are gone for it
		if s, err = tablet.Open(t.Context(), d.Path("t.sqlite"), opts); err != nil {
			t.Fatalf("sync %d fails: open: %v", at, err)
		}
		found, err := s.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		d.Cut()
		_ = s.Close()
		if s, err = tablet.Open(t.Context(), d.Path("t.sqlite"), opts); err != nil {
			t.Fatalf("sync %d fails: open after the power cut: %v", at, err)
		}
		if after, err := s.Status(t.Context()); err != nil || after.Records < found.Records {
			t.Errorf("sync %d fails: %d records after the power cut, %v; %d were found before it", at, after.Records, err, found.Records)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		d.Close()
	}
	if failed < 5 {
		t.Errorf("an interview was not recorded in %d cases: the test tests nothing", failed)
	}
}
