//go:build linux

package crashtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hearth-survey/hearth/syncer/tablet"
)

// village is a headquarters, a hub and two tablets that are enrolled and have interviews, none of them running.
type village struct {
	t               testing.TB
	dir             string
	hqAddr, hubAddr string
	hq, hub         *hq
	hqEnv, hubEnv   []string
	fired           bool
	tablets         []string
}

func (v *village) path(name string) string { return filepath.Join(v.dir, name) }

// up has headquarters and the hub running, each with its failpoint the first time.
func (v *village) up() {
	v.t.Helper()
	for tries := 0; v.hq == nil || !v.hq.alive() || v.hub == nil || !v.hub.alive(); tries++ {
		if tries > 6 {
			v.t.Fatal("headquarters and the hub do not stay up")
		}
		for _, one := range []struct {
			srv  **hq
			env  *[]string
			dir  string
			addr string
			args []string
		}{{&v.hq, &v.hqEnv, "hq", v.hqAddr, nil}, {&v.hub, &v.hubEnv, "hub", v.hubAddr, []string{"--upstream", v.hqAddr, "--every", "100ms"}}} {
			if *one.srv != nil && (*one.srv).alive() {
				continue
			}
			if *one.srv != nil {
				if !(*one.srv).killed() {
					v.t.Errorf("%s has ended by itself: %v\n%s", one.dir, (*one.srv).endErr, (*one.srv).text())
				}
				v.fired = true
			}
			env := *one.env
			*one.env = nil
			srv, err := serveWith(v.t, env, v.path(one.dir), one.addr, one.args...)
			if errors.Is(err, errKilled) {
				v.fired = true
				continue
			}
			if err != nil {
				v.t.Fatal(err)
			}
			*one.srv = srv
		}
	}
}

// code makes a one-time code.
func (v *village) code(args ...string) string {
	v.t.Helper()
	out := must(v.t, append([]string{"device", "enrol", "--server", v.hq.addr, "--token", v.hq.token, "--valid", "1h", "--json"}, args...)...)
	var resp struct{ Code string }
	if err := json.Unmarshal([]byte(out[strings.IndexByte(out, '{'):]), &resp); err != nil {
		v.t.Fatalf("%v: %s", err, out)
	}
	return resp.Code
}

// newVillage makes one.
func newVillage(t testing.TB, dir string) *village {
	t.Helper()
	v := &village{t: t, dir: dir, hqAddr: freeAddr(t), hubAddr: freeAddr(t)}
	w := newWorld(t, dir)
	v.hq = mustServe(t, v.path("hq"), v.hqAddr)
	must(t, "study", "put", "--server", v.hq.addr, "--token", v.hq.token, w.path("study.json"))
	hub, err := serveWith(t, nil, v.path("hub"), v.hubAddr, "--upstream", v.hqAddr, "--code", v.code("--hub", "--name", "laptop"), "--every", "100ms")
	if err != nil {
		t.Fatal(err)
	}
	v.hub = hub
	for i := range 2 {
		path := nth(dir, "tablet", i)
		v.tablets = append(v.tablets, path)
		must(t, "tablet", "enrol", "--store", path, "--server", v.hub.addr, "--code", v.code("--name", fmt.Sprint("t-", i), "--enumerator", "E1", "--study", studyCode))
		must(t, "tablet", "load", "--store", path, w.path([]string{"first", "second"}[i]+".jsonl"))
		must(t, "tablet", "attach", "--store", path, "--interview", firstID(w, []string{"first", "second"}[i]+".jsonl"), w.path("photo.jpg"))
	}
	v.hub.stop(t)
	v.hq.stop(t)
	v.hq, v.hub = nil, nil
	return v
}

// copied is the village somewhere else.
func (v *village) copied(t testing.TB) *village {
	dir := t.TempDir()
	copyTree(t, v.dir, dir)
	c := &village{t: t, dir: dir, hqAddr: freeAddr(t), hubAddr: freeAddr(t)}
	for i := range v.tablets {
		c.tablets = append(c.tablets, nth(dir, "tablet", i))
	}
	return c
}

// evening syncs all tablets at an address until headquarters has signed for everything, and starts again whoever ends.
func (v *village) evening(addr string, limit time.Duration) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cc := dialTablet(v.t, addr)
	for _, path := range v.tablets {
		s, err := tablet.Open(ctx, path, tablet.Options{})
		if err != nil {
			v.t.Fatal(err)
		}
		opts := fast
		opts.Session, opts.Attempts = true, 3
		for left := true; left; {
			v.up()
			r, err := s.Sync(ctx, cc, opts)
			left = err != nil || r.Pending > 0 || r.Blobs.Pending > 0
			if ctx.Err() != nil {
				v.t.Fatalf("%s has %d records and %d attachments to send after %v: %v", s.Name(), r.Pending, r.Blobs.Pending, limit, err)
			}
			if left {
				time.Sleep(50 * time.Millisecond)
			}
		}
		if err := s.Close(); err != nil {
			v.t.Error(err)
		}
	}
}

// night ends everybody and checks.
func (v *village) night(allowed ...string) {
	v.t.Helper()
	for _, s := range []*hq{v.hub, v.hq} {
		if s != nil && s.alive() {
			s.stop(v.t)
		}
	}
	verify(v.t, v.path("hq"), v.tablets, true)
	check(v.t, v.path("hq"), allowed...)
	if _, err := os.Stat(v.path("hub")); err == nil {
		check(v.t, v.path("hub"), allowed...)
	}
}

// hubKills are where the hub is killed while it takes in and forwards.
var hubKills = []string{
	"hub.after-offer=kill", "hub.after-deliver=kill", "hub.after-deliver=kill@2", "hub.before-place=kill", "hub.after-place=kill", "hub.after-blob=kill",
	"push.before-append=kill", "push.after-append=kill", "log.after-commit=kill@4", "blob.after-rename=kill",
}

// hqKills are where headquarters is killed while a hub forwards to it.
var hqKills = []string{"offer.before-answer=kill", "push.after-append=kill", "log.after-commit=kill@3", "blob.after-place=kill"}

// A hub, and headquarters behind it, are killed while tablets sync at the hub. When both run again everything comes to
// headquarters, once, and its receipts to the tablets.
func TestHubKilled(t *testing.T) {
	t.Parallel()
	built(t)
	first := newVillage(t, t.TempDir())
	t.Run("kill", func(t *testing.T) {
		for i, f := range append(append([]string{}, hubKills...), hqKills...) {
			if !wholeRun() && i != 1 {
				continue
			}
			atHub := i < len(hubKills)
			t.Run(fmt.Sprintf("%s hub=%v", f, atHub), func(t *testing.T) {
				t.Parallel()
				v := first.copied(t)
				if atHub {
					v.hubEnv = []string{"HEARTH_FAILPOINT=" + f}
				} else {
					v.hqEnv = []string{"HEARTH_FAILPOINT=" + f}
				}
				v.evening(v.hubAddr, 60*time.Second)
				if !v.hub.alive() || !v.hq.alive() {
					v.fired = true
					v.up()
				}
				if !v.fired {
					t.Errorf("nobody was killed at %s", f)
				}
				v.night()
			})
		}
	})
}

// The hub is lost before it has forwarded anything: the tablets, which keep what headquarters has not signed for, go there.
func TestHubLost(t *testing.T) {
	t.Parallel()
	if !wholeRun() {
		t.Skip("skipped: it is run by make crash")
	}
	v := newVillage(t, t.TempDir())
	v.hq = mustServe(t, v.path("hq"), v.hqAddr)
	hub, err := serveWith(t, nil, v.path("hub"), v.hubAddr, "--upstream", v.hqAddr, "--every", "1h")
	if err != nil {
		t.Fatal(err)
	}
	v.hq.kill() // the village has no network
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, path := range v.tablets {
		s, err := tablet.Open(ctx, path, tablet.Options{})
		if err != nil {
			t.Fatal(err)
		}
		opts := fast
		opts.Session = true
		r, err := s.Sync(ctx, dialTablet(t, v.hubAddr), opts)
		if err != nil || r.Pending == 0 {
			t.Errorf("sync at the hub without headquarters = %d pending, %v; want all of it kept for headquarters", r.Pending, err)
		}
		_ = s.Close()
	}
	hub.kill()
	if err := os.RemoveAll(v.path("hub")); err != nil {
		t.Fatal(err)
	}
	v.hq = mustServe(t, v.path("hq"), v.hqAddr)
	v.hub = v.hq // there is none any more
	v.evening(v.hqAddr, 30*time.Second)
	v.hub = nil
	v.night("hub")
}
