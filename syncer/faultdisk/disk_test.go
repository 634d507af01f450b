package faultdisk_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/server/store/sqlite"
	"github.com/hearth-survey/hearth/syncer/faultdisk"
	"github.com/hearth-survey/hearth/syncer/syncertest"
	"github.com/hearth-survey/hearth/syncer/tablet"
)

// fill writes interviews to a tablet's store until the disk fails, and returns how many were acknowledged.
func fill(t *testing.T, d *faultdisk.Disk, n int) int {
	t.Helper()
	s, err := tablet.Open(t.Context(), d.Path("t.sqlite"), tablet.Options{VFS: d.VFS()})
	if err != nil {
		return 0
	}
	defer s.Close()
	for i := range n {
		if _, _, err := s.AddInterview(t.Context(), syncertest.Interview("a", i, "said")); err != nil {
			return i
		}
	}
	return n
}

func count(t *testing.T, d *faultdisk.Disk) int {
	t.Helper()
	s, err := tablet.Open(t.Context(), d.Path("t.sqlite"), tablet.Options{VFS: d.VFS()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	st, err := s.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return st.Records
}

func empty(t *testing.T) *faultdisk.Image {
	t.Helper()
	d := faultdisk.New(1)
	defer d.Close()
	s, err := tablet.Create(t.Context(), d.Path("t.sqlite"), tablet.CreateOptions{Name: "tab", Enumerator: "E1", Study: "guiyang-2016", VFS: d.VFS()})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return d.Image()
}

// A tablet's store survives a power cut at every operation with all that it acknowledged.
func TestPowerCutAtEveryOperation(t *testing.T) {
	img := empty(t)
	for cut := 1; cut < 120; cut++ {
		d := faultdisk.New(uint64(cut))
		d.Load(img)
		d.Set(faultdisk.Plan{CutAt: cut})
		acked := fill(t, d, 12)
		if d.Dead() != (acked < 12) && cut < 30 {
			t.Errorf("cut at %d: dead %v with %d acknowledged", cut, d.Dead(), acked)
		}
		d.Cut()
		if got := count(t, d); got < acked || got > acked+1 {
			t.Fatalf("cut at %d: %d records, %d were acknowledged", cut, got, acked)
		}
		d.Close()
	}
}

// The disk forgets what was not synced: with a disk that lies, acknowledged records are lost.
func TestALyingDiskLoses(t *testing.T) {
	img := empty(t)
	lost := 0
	for seed := range uint64(20) {
		d := faultdisk.New(seed)
		d.Load(img)
		d.Set(faultdisk.Plan{Lie: true, CutAt: 30})
		acked := fill(t, d, 12)
		d.Cut()
		s, err := tablet.Open(t.Context(), d.Path("t.sqlite"), tablet.Options{VFS: d.VFS()})
		if err != nil {
			lost++
			d.Close()
			continue
		}
		if st, err := s.Status(t.Context()); err != nil || st.Records < acked {
			lost++
		}
		s.Close()
		d.Close()
	}
	if lost < 10 {
		t.Errorf("a lying disk lost something in %d of 20 power cuts: it forgets too little", lost)
	}
}

// A store on a full or failing disk says so, keeps what it acknowledged, and goes on afterwards.
func TestFullAndFailing(t *testing.T) {
	img := empty(t)
	for _, f := range []faultdisk.Fault{faultdisk.Full, faultdisk.BadWrite, faultdisk.BadSync} {
		for at := 1; at < 40; at += 3 {
			t.Run(fmt.Sprint(f, at), func(t *testing.T) {
				d := faultdisk.New(7)
				defer d.Close()
				d.Load(img)
				d.Set(faultdisk.Plan{Fail: f, FailAt: at, FailFor: 1})
				acked := fill(t, d, 12)
				if d.Failed() == 0 {
					t.Fatal("nothing failed")
				}
				d.Set(faultdisk.Plan{})
				d.Kill()
				if got := count(t, d); got < acked {
					t.Errorf("%d records, %d were acknowledged", got, acked)
				}
			})
		}
	}
}

// Headquarters' store opens, with many connections to one file, and an image of it opens elsewhere.
func TestServerStore(t *testing.T) {
	d := faultdisk.New(1)
	defer d.Close()
	ctx := context.Background()
	for range 3 {
		began := time.Now()
		s, err := sqlite.Open(ctx, d.Path("hq"), sqlite.Options{Disk: d})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		t.Log(time.Since(began))
	}
	other := faultdisk.New(2)
	defer other.Close()
	other.Load(d.Image())
	s, err := sqlite.Open(ctx, other.Path("hq"), sqlite.Options{Disk: other, MustExist: true})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := s.Check(ctx, store.CheckOptions{}); err != nil || len(r.Findings) > 0 {
		t.Error(r, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
