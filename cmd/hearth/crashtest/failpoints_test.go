//go:build linux

package crashtest

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hearth-survey/hearth/syncer/tablet"
)

// world is a folder with a server's folder and tablets in it, and what a step needs to know of it.
type world struct {
	t   testing.TB
	dir string
	srv *hq // nil while none runs
	// serverEnv is for the next start of the server, tabletEnv for tablets until one was killed.
	serverEnv, tabletEnv []string
	addr                 string
	fired                bool // a failpoint killed somebody
	loud                 bool // a failpoint that makes a step fail was set: nobody is killed
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

// up has the server running.
func (w *world) up() *hq {
	w.t.Helper()
	for tries := 0; ; tries++ {
		if w.srv != nil && w.srv.alive() {
			return w.srv
		}
		if w.srv != nil {
			w.noteServer()
		}
		env := w.serverEnv
		w.serverEnv = nil
		srv, err := serve(w.t, w.path("hq"), w.addr, env...)
		switch {
		case err == nil:
			w.srv = srv
		case errors.Is(err, errKilled) && tries < 4:
			w.fired = true
		default:
			w.t.Fatal(err)
		}
	}
}

// noteServer sees how the server has ended.
func (w *world) noteServer() {
	if w.srv.killed() {
		w.fired = true
	} else {
		w.t.Errorf("the server has ended by itself: %v\n%s", w.srv.endErr, w.srv.text())
	}
	w.srv = nil
}

// tablet runs a verb of the tablet, with its failpoint until one has killed it. It is repeated, with a server that runs,
// until it succeeds, as an enumerator does.
func (w *world) tablet(args ...string) string {
	w.t.Helper()
	for tries := 0; ; tries++ {
		srv := w.up()
		env := append([]string{"HEARTH_SERVER=" + srv.addr, "HEARTH_TOKEN=" + srv.token}, w.tabletEnv...)
		if w.session(args) {
			env = slices.DeleteFunc(env, func(e string) bool { return strings.HasPrefix(e, "HEARTH_TOKEN=") })
		}
		out, err := w.attended(env, append([]string{"tablet"}, args...)...)
		switch {
		case err == nil:
			return out
		case errors.Is(err, errKilled):
			w.fired, w.tabletEnv = true, nil
		case tries > 5:
			w.t.Fatalf("it does not come to its end: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// session says whether a verb is of the enrolled tablet, which has no token.
func (w *world) session(args []string) bool {
	return slices.Contains(args, w.path("enrolled.sqlite")) && args[0] != "create"
}

// attended runs the program, and starts the server again if that ends meanwhile, as a system does with a service.
func (w *world) attended(env []string, args ...string) (string, error) {
	w.t.Helper()
	p := start(w.t, env, nil, args...)
	for {
		srv := w.up()
		select {
		case <-p.ended:
			switch {
			case p.killed():
				return p.text(), errKilled
			case p.endErr != nil:
				return p.text(), fmt.Errorf("hearth %s: %w\n%s", strings.Join(args, " "), p.endErr, p.text())
			}
			return p.text(), nil
		case <-srv.ended:
		case <-time.After(60 * time.Second):
			p.kill()
			return "", fmt.Errorf("hearth %s had not ended after a minute\n%s", strings.Join(args, " "), p.text())
		}
	}
}

// desk runs a verb of headquarters until it succeeds.
func (w *world) desk(args ...string) string {
	w.t.Helper()
	for tries := 0; ; tries++ {
		srv := w.up()
		out, err := w.attended([]string{"HEARTH_SERVER=" + srv.addr, "HEARTH_TOKEN=" + srv.token}, args...)
		if err == nil {
			return out
		}
		if tries > 5 {
			w.t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// place is a failpoint as it is reached in a step.
type place struct {
	name   string
	step   int
	server bool
	times  int
}

// trace says of each place that a file of HEARTH_FAILPOINT_TRACE names how often one process reached it, the one that did
// so most often: each counts for itself.
func trace(path string) map[string]int {
	most, counts := map[string]int{}, map[string]int{}
	raw, _ := os.ReadFile(path) // nothing was reached
	for line := range strings.Lines(string(raw)) {
		name := strings.TrimSpace(line)
		if name == "" {
			clear(counts)
			continue
		}
		counts[name]++
		most[name] = max(most[name], counts[name])
	}
	return most
}

// rehearse does all steps without a fault, keeps a copy of the world before each, and notes which failpoints each reaches.
func rehearse(t *testing.T, dir string) (all []place) {
	live := filepath.Join(dir, "live")
	if err := os.MkdirAll(live, 0o700); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, live)
	for i, st := range steps() {
		copyTree(t, live, filepath.Join(dir, fmt.Sprint("before-", i)))
		server, tab := filepath.Join(dir, fmt.Sprint("server-", i)), filepath.Join(dir, fmt.Sprint("tablet-", i))
		w.serverEnv, w.tabletEnv = []string{"HEARTH_FAILPOINT_TRACE=" + server}, []string{"HEARTH_FAILPOINT_TRACE=" + tab}
		w.up()
		st.act(w)
		w.rest(st.idle)
		for name, n := range trace(server) {
			all = append(all, place{name, i, true, n})
		}
		for name, n := range trace(tab) {
			all = append(all, place{name, i, false, n})
		}
		if st.name == "attach" { // what "restored" goes back to
			w.put(storeOf, "backup.sqlite")
		}
		if w.fired {
			t.Fatalf("%s: somebody was killed without a failpoint", st.name)
		}
	}
	slices.SortFunc(all, func(a, b place) int {
		if a.name != b.name {
			return strings.Compare(a.name, b.name)
		}
		return a.step - b.step
	})
	verifyWorld(t, w)
	return all
}

// verifyWorld checks what a healed world holds.
func verifyWorld(t testing.TB, w *world) {
	t.Helper()
	verify(t, w.path("hq"), []string{w.path(storeOf)}, true)
	// The store was restored and cloned, and says so.
	check(t, w.path("hq"), "restored from a backup", "cloned", "damaged", "RECORD_DAMAGED", "fork")
}

// fp is one failpoint to be tried: the place is reached for the nth time in a step.
type fp struct {
	place
	nth int
}

func (f fp) String() string { return fmt.Sprintf("%s@%d/%s", f.name, f.nth, steps()[f.step].name) }

// choose takes of every failpoint the first time it is reached, and in a whole run a later step and a later time too.
func choose(all []place) []fp {
	var out []fp
	byName := map[string][]place{}
	for _, p := range all {
		byName[p.name] = append(byName[p.name], p)
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		places := byName[name]
		out = append(out, fp{places[0], 1})
		last := places[len(places)-1]
		if !again(name) {
			continue
		}
		if len(places) > 1 {
			out = append(out, fp{last, 1 + last.times/2})
		} else if last.times > 1 {
			out = append(out, fp{last, last.times})
		}
	}
	return out
}

// again says whether a failpoint is tried twice: those around what is acknowledged.
func again(name string) bool {
	for _, s := range []string{"commit", "push.", "log.before", "ack", "blob.after", "list", "rewrite", "apply", "epoch"} {
		if strings.Contains(name, s) {
			return true
		}
	}
	return false
}

// The program is killed at each of its failpoints, server and tablet; then people do what they did again. Nothing is lost
// and nothing is doubled.
func TestKilledAtFailpoints(t *testing.T) {
	t.Parallel()
	built(t)
	dir := t.TempDir()
	all := rehearse(t, dir)
	reached := map[string]bool{}
	for _, p := range all {
		reached[p.name] = true
	}
	for _, f := range hubKills {
		reached[strings.SplitN(f, "=", 2)[0]] = true
	}
	for name := range maps.Keys(named(t)) {
		if !reached[name] && elsewhere[name] == "" {
			t.Errorf("failpoint %s is reached by no step: add one that does", name)
		}
	}
	chosen := choose(all)
	if !wholeRun() {
		chosen = fewOf(chosen, 4)
	}
	t.Logf("%d failpoints are reached, %d kills", len(reached), len(chosen))
	t.Run("kill", func(t *testing.T) {
		for _, f := range chosen {
			t.Run(f.String(), func(t *testing.T) {
				t.Parallel()
				killAt(t, dir, f)
			})
		}
	})
}

// elsewhere are the failpoints of other tests.
var elsewhere = map[string]string{
	"log.before-copy": "TestKilledWhileCopying",
	"log.after-copy":  "TestKilledWhileCopying",
}

// fewOf takes n of all, others on other days.
func fewOf(all []fp, n int) []fp {
	h := func(f fp) uint64 {
		s := fnv.New64a()
		fmt.Fprint(s, f.String(), time.Now().YearDay())
		return s.Sum64()
	}
	slices.SortFunc(all, func(a, b fp) int {
		if h(a) < h(b) {
			return -1
		}
		return 1
	})
	return all[:min(n, len(all))]
}

// named lists the failpoints in the program's source.
func named(t *testing.T) map[string]bool {
	t.Helper()
	mark := regexp.MustCompile(`failpoint\.(?:Hit|Fail)\("([^"]+)"\)`)
	names, files := map[string]bool{}, 0
	for _, root := range []string{"../../../server", "../../../syncer", ".."} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			raw, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			files++
			for _, m := range mark.FindAllSubmatch(raw, -1) {
				names[string(m[1])] = true
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 50 || len(names) < 40 {
		t.Fatalf("found %d failpoints in %d files, want at least 40", len(names), files)
	}
	return names
}

// moved has the stores of a copied world know the server at the address that it has now.
func (w *world) moved() {
	was, err := os.ReadFile(w.path("addr"))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, name := range []string{storeOf, "backup.sqlite"} {
		if _, err := os.Stat(w.path(name)); err == nil {
			w.edit(name, fmt.Sprintf("UPDATE contact SET address = replace(address, '%s', '%s')", was, w.addr))
		}
	}
}

// killAt begins with the world before a step, kills at the failpoint, does the step again and all that heals.
func killAt(t *testing.T, dir string, f fp) {
	here := t.TempDir()
	copyTree(t, filepath.Join(dir, fmt.Sprint("before-", f.step)), here)
	w := &world{t: t, dir: here, addr: freeAddr(t)}
	w.moved()
	action := "kill"
	if f.name == "blob.sync-folder" {
		action, w.loud = "error", true
	}
	order := []string{fmt.Sprintf("HEARTH_FAILPOINT=%s=%s@%d", f.name, action, f.nth)}
	st := steps()[f.step]
	if f.server {
		w.serverEnv = order
	} else {
		w.tabletEnv = order
	}
	st.act(w)
	idle := st.idle || strings.HasPrefix(f.name, "proj")
	if f.server && idle { // it is killed in what it does by itself, when a busy machine lets it
		for wait := time.Now().Add(5 * time.Second); w.srv != nil && w.srv.alive() && !w.fired && time.Now().Before(wait); {
			time.Sleep(20 * time.Millisecond)
		}
	}
	w.rest(idle)
	if !w.fired && !w.loud {
		t.Errorf("nobody was killed: the failpoint was not reached %d times", f.nth)
	}
	w.serverEnv, w.tabletEnv = nil, nil
	w.up()
	st.act(w)
	if _, err := os.Stat(w.path(storeOf)); err != nil { // before anything was enrolled
		w.rest(false)
		check(t, w.path("hq"))
		return
	}
	s, err := tablet.Open(t.Context(), w.path(storeOf), tablet.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, _, err := s.AddInterview(t.Context(), interview(t, f.step)); err != nil {
		t.Errorf("the store does not take an interview afterwards: %v", err)
	}
	syncAll(t, s, dial(t, w.srv.addr, w.srv.token), 30*time.Second)
	_ = s.Close()
	w.rest(false)
	verifyWorld(t, w)
}
