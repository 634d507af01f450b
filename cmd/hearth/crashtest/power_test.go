//go:build linux

package crashtest

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/grpc"
)

// template is the folder of a server that was started once and ended in good order, in a folder of its own.
func template(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	mustServe(t, filepath.Join(dir, "hq"), "").stop(t)
	return dir
}

// syncTeam has tablets sync at the same time until all is there, ctx ends, or the time is over.
func syncTeam(ctx context.Context, t testing.TB, cc grpc.ClientConnInterface, team []*tablet.Store, limit time.Duration) (whole bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var wg sync.WaitGroup
	left := make([]bool, len(team))
	for i, s := range team {
		wg.Go(func() {
			for left[i] = true; left[i] && ctx.Err() == nil; {
				r, err := s.Sync(ctx, cc, fast)
				left[i] = err != nil || r.Pending > 0 || r.Blobs.Pending > 0
				if left[i] {
					select {
					case <-ctx.Done():
					case <-time.After(20 * time.Millisecond):
					}
				}
			}
		})
	}
	wg.Wait()
	whole = true
	for _, l := range left {
		whole = whole && !l
	}
	return whole
}

// team makes tablets with interviews and photos.
func team(t testing.TB, dir string, n int) (stores []*tablet.Store, paths []string) {
	for i := range n {
		paths = append(paths, nth(dir, "tablet", i))
		stores = append(stores, newTablet(t, paths[i], 4, 30_000+i))
	}
	return stores, paths
}

// onDisk runs a server on a disk while a team syncs, until all is there or the power fails, and ends both.
func onDisk(t testing.TB, d *disk, stores []*tablet.Store) (started, whole bool) {
	t.Helper()
	srv, err := serve(t, filepath.Join(d.mnt, "hq"), "")
	if err != nil {
		return false, false
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-d.onCut:
			cancel()
		case <-ctx.Done():
		}
	}()
	cc := dial(t, srv.addr, srv.token)
	for _, s := range stores[:len(stores)-1] { // some have what they need of the server before the others begin
		syncTeam(ctx, t, cc, []*tablet.Store{s}, 20*time.Second)
	}
	whole = syncTeam(ctx, t, cc, stores, 40*time.Second)
	if !srv.alive() && ctx.Err() == nil {
		t.Errorf("the server has ended by itself: %v\n%s", srv.endErr, srv.text())
	}
	if whole && ctx.Err() == nil { // a moment for the projections, which are on the disk too
		time.Sleep(200 * time.Millisecond)
	}
	srv.kill()
	return true, whole
}

// heal starts a server over what is left, has the team sync, and checks everything.
func heal(t testing.TB, dir string, stores []*tablet.Store, paths []string) {
	t.Helper()
	srv := mustServe(t, dir, "")
	if !syncTeam(context.Background(), t, dial(t, srv.addr, srv.token), stores, 30*time.Second) {
		t.Errorf("the tablets do not come through after the server was started again\n%s", srv.text())
	}
	srv.stop(t)
	for _, s := range stores {
		_ = s.Close()
	}
	verify(t, dir, paths, true)
	check(t, dir)
}

// The power fails at the server, at any write, sync or renaming, and what was not synced is gone, or some of it. What a
// tablet has a receipt for is there, and so is every attachment that the server said it has.
func TestPowerCutOfTheServer(t *testing.T) {
	t.Parallel()
	needFUSE(t)
	built(t)
	from := template(t)
	free := newDisk(t, from, 0)
	stores, _ := team(t, t.TempDir(), 2)
	if _, whole := onDisk(t, free, stores); !whole {
		t.Fatal("the team does not come through without a fault")
	}
	ops, _ := free.counts()
	if ops < 50 {
		t.Fatalf("a run has %d operations: too few to cut between", ops)
	}
	n := some(38, 3)
	t.Run("cut", func(t *testing.T) {
		for i := range n {
			at := 1 + i*ops/n + i*7%max(1, ops/n)
			if i >= n-2 {
				at = 0 // the power fails when all is done
			}
			t.Run(fmt.Sprintf("cut %d at %d of %d", i, at, ops), func(t *testing.T) {
				t.Parallel()
				src := from
				if i%4 == 3 {
					src = "" // the first start, on a disk with nothing on it
				}
				d := newDisk(t, src, uint64(i))
				stores, paths := team(t, t.TempDir(), 2)
				d.set(plan{cutAt: at})
				onDisk(t, d, stores)
				after := t.TempDir()
				d.remains(t, after, i%2 == 0)
				left := filepath.Join(after, "hq")
				if _, err := os.Stat(filepath.Join(left, "log.sqlite")); err == nil {
					copyTree(t, left, filepath.Join(after, "copy"))
					verify(t, filepath.Join(after, "copy"), paths, false)
				}
				heal(t, left, stores, paths)
			})
		}
	})
}

// The server's disk is full, or fails to write, to sync, or to sync a folder. The server goes on as soon as the disk does,
// and whatever it has signed for survives the power cut that follows.
func TestFailingDiskOfTheServer(t *testing.T) {
	t.Parallel()
	needFUSE(t)
	built(t)
	from := template(t)
	n := some(9, 1)
	for _, kind := range []breakage{badSync, full, badWrite, badFolders}[:some(4, 1)] {
		for i := range n {
			at, times := 1+i*16, []int{1, 4, 25}[i%3]
			if !wholeRun() {
				at = 60
			}
			t.Run(fmt.Sprintf("%v from %d, %d times", kind, at, times), func(t *testing.T) {
				t.Parallel()
				d := newDisk(t, from, uint64(at))
				stores, paths := team(t, t.TempDir(), 2)
				d.set(plan{breaks: kind, failAt: at, failFor: times})
				started, whole := onDisk(t, d, stores)
				for tries := 0; !started && tries < times+1; tries++ { // it says what is wrong and is started again
					started, whole = onDisk(t, d, stores)
				}
				if !whole {
					t.Errorf("the tablets do not come through after the disk works again")
				}
				if _, failed := d.counts(); failed == 0 && kind != badFolders && wholeRun() {
					t.Errorf("nothing failed")
				}
				after := t.TempDir()
				d.remains(t, after, true)
				left := filepath.Join(after, "hq")
				copyTree(t, left, filepath.Join(after, "copy"))
				verify(t, filepath.Join(after, "copy"), paths, true)
				heal(t, left, stores, paths)
			})
		}
	}
}

// verb is what an enumerator does with a tablet, and the file whose interviews are in it when it succeeds.
type verb struct {
	args []string
	file string
}

// day is a day of an enumerator, whose store is on a disk.
func day(dir, store, server, token, photo string) []verb {
	first, second := filepath.Join(dir, "first.jsonl"), filepath.Join(dir, "second.jsonl")
	sync := verb{args: []string{"sync", "--store", store, "--server", server, "--token", token}}
	return []verb{
		{args: []string{"create", "--store", store, "--name", "t", "--enumerator", "E1", "--study", studyCode}},
		{args: []string{"load", "--store", store, first}, file: first},
		{args: []string{"attach", "--store", store, "--interview", photo, filepath.Join(dir, "photo.jpg")}},
		sync,
		{args: []string{"load", "--store", store, second}, file: second},
		sync,
	}
}

// work does a day until the end, or until the disk has no power. A verb that fails is done again. It returns the files whose
// interviews were recorded, and whether the store was made.
func work(t testing.TB, d *disk, verbs []verb) (recorded []string, made bool) {
	t.Helper()
	for _, v := range verbs {
		for tries := 0; ; tries++ {
			_, err := run(t, nil, append([]string{"tablet"}, v.args...)...)
			if err == nil {
				break
			}
			select {
			case <-d.onCut:
				return recorded, made
			default:
			}
			if !strings.Contains(err.Error(), "hearth: ") {
				t.Errorf("it does not say what is wrong: %v", err)
			}
			if v.args[0] == "create" && strings.Contains(err.Error(), "STORE_EXISTS") { // what is left of the first try
				_, _ = run(t, nil, "tablet", "status", "--store", v.args[2])
				p := startShell(t, `rm -f "$1" "$1"-*`, v.args[2])
				_ = p.wait(20 * time.Second)
			}
			if tries > 40 {
				t.Fatalf("it does not come to its end: %v", err)
			}
		}
		made = true
		if v.file != "" {
			recorded = append(recorded, v.file)
		}
	}
	return recorded, made
}

// subjects are the interviews that a store has.
func subjects(t testing.TB, path string) map[string]bool {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query("SELECT subject FROM record")
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	defer rows.Close()
	all := map[string]bool{}
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		all[s] = true
	}
	return all
}

// afterTheDay checks what is left of a tablet's disk: what the program said was recorded is there. Then it syncs.
func afterTheDay(t testing.TB, d *disk, srv *hq, recorded []string, made bool, forget bool) (path string) {
	t.Helper()
	after := t.TempDir()
	d.remains(t, after, forget)
	path = filepath.Join(after, "t.sqlite")
	if _, err := os.Stat(path); err != nil {
		if made {
			t.Errorf("the store was made and is gone: %v", err)
		}
		return ""
	}
	s, err := tablet.Open(context.Background(), path, tablet.Options{})
	if err != nil {
		if made {
			t.Errorf("the store was made and cannot be opened: %v", err)
		}
		return ""
	}
	defer s.Close()
	there := subjects(t, path)
	for _, file := range recorded {
		for _, id := range idsOf(t, file) {
			if !there[id] {
				t.Errorf("interview %s of %s was recorded and is gone", id, filepath.Base(file))
			}
		}
	}
	if len(there) == 0 {
		return ""
	}
	syncAll(t, s, dial(t, srv.addr, srv.token), 30*time.Second)
	return path
}

func idsOf(t testing.TB, file string) []string {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for line := range strings.Lines(string(raw)) {
		_, rest, _ := strings.Cut(line, `"interviewId":"`)
		id, _, ok := strings.Cut(rest, `"`)
		if !ok {
			t.Fatalf("%s: a line without an id", file)
		}
		ids = append(ids, id)
	}
	return ids
}

// fieldDay prepares the files of a day.
func fieldDay(t testing.TB) (dir, photo string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range []string{"first.jsonl", "second.jsonl"} {
		jsonLines(t, filepath.Join(dir, name), 4)
	}
	if err := os.WriteFile(filepath.Join(dir, "photo.jpg"), append([]byte("\xff\xd8\xff\xe0"), noise(40_000)...), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, idsOf(t, filepath.Join(dir, "first.jsonl"))[0]
}

// The power fails at a tablet, and its disk is full or fails. What the program said was recorded is there; the rest of the
// day comes through afterwards.
func TestDiskOfATablet(t *testing.T) {
	t.Parallel()
	needFUSE(t)
	built(t)
	base := t.TempDir()
	srv := mustServe(t, filepath.Join(base, "hq"), "")
	dir, photo := fieldDay(t)
	free := newDisk(t, "", 0)
	recorded, made := work(t, free, day(dir, filepath.Join(free.mnt, "t.sqlite"), srv.addr, srv.token, photo))
	if len(recorded) != 2 || !made {
		t.Fatal("a day without a fault does not come to its end")
	}
	ops, _ := free.counts()
	var mu sync.Mutex
	var paths []string
	if p := afterTheDay(t, free, srv, recorded, made, true); p != "" {
		paths = append(paths, p)
	}
	t.Run("day", func(t *testing.T) {
		for i, p := range tabletPlans(ops) {
			t.Run(fmt.Sprintf("%+v of %d", p, ops), func(t *testing.T) {
				t.Parallel()
				dir, photo := fieldDay(t)
				d := newDisk(t, "", uint64(i))
				d.set(p)
				recorded, made := work(t, d, day(dir, filepath.Join(d.mnt, "t.sqlite"), srv.addr, srv.token, photo))
				if p.cutAt == 0 && len(recorded) != 2 {
					t.Errorf("recorded %v, want both files", recorded)
				}
				path := afterTheDay(t, d, srv, recorded, made, i%2 == 0)
				if path == "" {
					return
				}
				kept := nth(base, "tablet", i)
				if err := os.Rename(path, kept); err != nil {
					t.Fatal(err)
				}
				mu.Lock()
				defer mu.Unlock()
				paths = append(paths, kept)
			})
		}
	})
	srv.stop(t)
	verify(t, filepath.Join(base, "hq"), paths, true)
	check(t, filepath.Join(base, "hq"))
}

// tabletPlans are cuts over a whole day, and every breakage at several places.
func tabletPlans(ops int) (all []plan) {
	n := some(24, 1)
	for i := range n {
		all = append(all, plan{cutAt: 1 + i*ops/n + i*5%max(1, ops/n)})
	}
	for _, kind := range []breakage{badSync, full, badWrite, badFolders}[:some(4, 1)] {
		for i := range some(4, 1) {
			all = append(all, plan{breaks: kind, failAt: 2 + i*ops/5, failFor: []int{1, 3}[i%2]})
		}
	}
	return all
}
