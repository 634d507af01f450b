package server

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"flag"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/faultdisk"
	"github.com/hearth-survey/hearth/syncer/syncertest"
	offline "github.com/hearth-survey/hearth/syncer/tablet"
	"pgregory.net/rapid"
)

const (
	teamHubs    = 2
	teamTablets = 3
)

// hubTeam is headquarters, two hubs and three tablets, each on a disk in memory.
type hubTeam struct {
	*field
	rt      *rapid.T
	tablets []*walker
	disks   []*faultdisk.Disk
	must    []map[syncer.Digest]bool // what each tablet has written and may not be lost
	backups map[string]*faultdisk.Image
	written []map[string]map[syncer.Digest]bool // of tablets: what a backup holds
	lost    int                                 // hubs
	hqBack  bool                                // headquarters may be restored from a backup in this run; then nothing is pruned
	hqWas   bool                                // it was, since the tablets met it last
}

// teamImages are the disks of a team that has just begun: everybody is enrolled, nothing is written.
var teamImages = sync.OnceValues(func() ([]*faultdisk.Image, error) {
	t := &panics{}
	m := &hubTeam{field: &field{t: t}}
	m.open(nil)
	defer m.close()
	for i := range teamHubs {
		if err := m.hubs[i].relay.EnrolHub(context.Background(), m.code(m.hubs[i].name, true)); err != nil {
			return nil, err
		}
	}
	for _, w := range m.tablets {
		w.sync(m.hq)
	}
	for _, h := range m.hubs {
		m.once(h)
	}
	var images []*faultdisk.Image
	for _, s := range append([]*station{m.hq}, m.hubs...) {
		m.stop(s)
		images = append(images, s.disk.Image())
	}
	for i, w := range m.tablets {
		if err := w.Close(); err != nil {
			return nil, err
		}
		images = append(images, m.disks[i].Image())
	}
	m.tablets = nil
	return images, nil
})

// panics is a test for what is made before there is one.
type panics struct{}

func (*panics) Helper()                           {}
func (*panics) Fatal(args ...any)                 { panic(fmt.Sprint(args...)) }
func (*panics) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// open starts a team, on empty disks or from images.
func (m *hubTeam) open(images []*faultdisk.Image) {
	disk := func(i int) *faultdisk.Disk {
		d := faultdisk.New(uint64(i))
		if images != nil {
			d.Load(images[i])
		}
		return d
	}
	m.hq = &station{name: "hq", disk: disk(0), key: newTablet("headquarters").key}
	m.hq.dir = m.hq.disk.Path("hq")
	m.start(m.hq)
	for i := range teamHubs {
		name := fmt.Sprintf("hub-%d", i+1)
		seed := sha256.Sum256([]byte(name))
		h := &station{name: name, disk: disk(1 + i), key: ed25519.NewKeyFromSeed(seed[:]), up: &radio{to: m.hq}}
		h.dir = h.disk.Path("hub")
		m.start(h)
		m.hubs = append(m.hubs, h)
	}
	for i := range teamTablets {
		d := disk(1 + teamHubs + i)
		m.disks = append(m.disks, d)
		w := &walker{f: m.field, name: fmt.Sprintf("tablet-%d", i+1)}
		var err error
		if images == nil {
			w.Store, err = offline.Create(context.Background(), d.Path("t.sqlite"), offline.CreateOptions{Name: w.name, Enumerator: "E1", Study: "guiyang", VFS: d.VFS()})
		} else {
			err = w.open(d)
		}
		if err != nil {
			m.t.Fatal(err)
		}
		m.tablets = append(m.tablets, w)
		m.must = append(m.must, map[syncer.Digest]bool{})
		m.written = append(m.written, map[string]map[syncer.Digest]bool{})
	}
	m.backups = map[string]*faultdisk.Image{}
}

func (w *walker) open(d *faultdisk.Disk) (err error) {
	w.Store, err = offline.Open(context.Background(), d.Path("t.sqlite"), offline.Options{VFS: d.VFS(), Rewrite: d.Rewrite})
	return err
}

func (m *hubTeam) end() {
	for i, w := range m.tablets {
		_ = w.Close()
		m.disks[i].Close()
	}
	for _, s := range append([]*station{m.hq}, m.hubs...) {
		if s.store != nil {
			_ = s.store.Close()
		}
		s.disk.Close()
	}
}

// record has a tablet write some interviews.
func (m *hubTeam) record(i, n int) {
	w := m.tablets[i]
	for range n {
		w.n++
		d, _, err := w.AddInterview(context.Background(), inStudy(syncertest.Interview(w.name, w.n, "a")))
		if err != nil {
			m.t.Fatal(err)
		}
		m.must[i][d] = true
	}
}

// cut says where a link dies.
type cut struct {
	at   int // call; 0: it does not
	late bool
}

// meet syncs a tablet with a station, over a link that may die; then it fails.
func (m *hubTeam) meet(i int, s *station, c cut) {
	opts := offline.SyncOptions{MinBackoff: time.Microsecond, MaxBackoff: 2 * time.Microsecond, Attempts: 1, MaxBatchBytes: 2048}
	_, _ = m.tablets[i].Sync(context.Background(), &radio{to: s, token: testToken, dies: c.at, late: c.late}, opts)
}

// relayOnce has a hub forward, over a link that may die; then it fails.
func (m *hubTeam) relayOnce(h *station, c cut, away bool) {
	h.up.dies, h.up.late, h.up.away = c.at, c.late, away
	h.up.n.Store(0)
	_ = h.relay.Once(context.Background())
	h.up.dies, h.up.away = 0, false
}

// kill ends a station as kill -9 does, or as a power cut, and starts it again.
func (m *hubTeam) kill(s *station, power bool) {
	old := s.store
	if power {
		s.disk.Cut()
	} else {
		s.disk.Kill()
	}
	_ = old.Close() // of a dead process
	m.start(s)
}

// replace is a hub that burns: another takes its place.
func (m *hubTeam) replace(i int) {
	h := m.hubs[i]
	m.stop(h)
	m.lost++
	seed := sha256.Sum256([]byte(h.name + strconv.Itoa(m.lost)))
	n := &station{name: h.name, disk: faultdisk.New(uint64(1000 + m.lost)), key: ed25519.NewKeyFromSeed(seed[:]), up: &radio{to: m.hq}}
	h.disk.Close()
	n.dir = n.disk.Path("hub")
	m.start(n)
	if err := n.relay.EnrolHub(context.Background(), m.code(h.name, true)); err != nil {
		m.t.Fatal(err)
	}
	m.once(n)
	m.hubs[i] = n
}

// backUp copies a station's disk; bring puts a copy back.
func (m *hubTeam) backUp(s *station) { m.backups[s.name] = s.disk.Image() }

func (m *hubTeam) bring(s *station, knows bool) {
	img := m.backups[s.name]
	if img == nil {
		return
	}
	m.stop(s)
	s.disk.Load(img)
	s.restored = knows
	m.start(s)
}

func (m *hubTeam) backUpTablet(i int) {
	m.backups[m.tablets[i].name] = m.disks[i].Image()
	m.written[i] = map[string]map[syncer.Digest]bool{"": clone(m.must[i])}
}

// bringTablet restores a tablet from a backup: what it wrote since is lost, unless headquarters has signed for it.
func (m *hubTeam) bringTablet(i int) {
	w := m.tablets[i]
	img := m.backups[w.name]
	if img == nil {
		return
	}
	had := clone(m.written[i][""])
	for r, err := range w.Records(context.Background()) {
		if err != nil {
			m.t.Fatal(err)
		}
		if r.Receipted && m.must[i][r.Digest] {
			had[r.Digest] = true
		}
	}
	if err := w.Close(); err != nil {
		m.t.Fatal(err)
	}
	m.disks[i].Load(img)
	if err := w.open(m.disks[i]); err != nil {
		m.t.Fatal(err)
	}
	if m.must[i] = had; m.hqBack {
		m.must[i] = clone(m.written[i][""]) // headquarters may have forgotten what it signed for
	}
}

func clone(s map[syncer.Digest]bool) map[syncer.Digest]bool {
	out := map[syncer.Digest]bool{}
	for d := range s {
		out[d] = true
	}
	return out
}

func (m *hubTeam) prune(i int) {
	if m.hqBack {
		return
	}
	if _, err := m.tablets[i].Prune(context.Background(), 0); err != nil {
		m.t.Fatal(err)
	}
}

// holds lists what headquarters holds; nothing may stand there twice or damaged.
func (m *hubTeam) holds() map[syncer.Digest]bool {
	seen, cursor := map[syncer.Digest]bool{}, syncer.Cursor{}
	for {
		page, next, more, err := m.hq.store.After(context.Background(), cursor, 500)
		if err != nil {
			m.t.Fatal(err)
		}
		for _, r := range page {
			if syncer.DigestOf(r.Raw) != r.Digest || seen[r.Digest] {
				m.t.Fatalf("record %v is damaged at headquarters or there twice", r.Digest)
			}
			seen[r.Digest] = true
		}
		if cursor = next; !more {
			return seen
		}
	}
}

// check is the promise: what a receipt covers is at headquarters with its bytes, nothing else was pruned, and what a hub
// counts as forwarded is there too.
func (m *hubTeam) check() {
	if m.hqWas {
		return
	}
	there := m.holds()
	for _, h := range m.hubs {
		runs, err := h.store.Runs(context.Background(), 0, 10_000)
		if err != nil {
			m.t.Fatal(err)
		}
		for _, r := range runs {
			for _, d := range r.Digests {
				if r.Number <= h.relay.State().GetRun() && len(r.Signature) > 0 && !there[d] {
					m.t.Fatalf("%s counts run %d of lane %v as forwarded, and headquarters does not have %v", h.name, r.Number, r.Lane, d)
				}
			}
		}
	}
	for _, w := range m.tablets {
		for r, err := range w.Records(context.Background()) {
			if err != nil {
				m.t.Fatal(err)
			}
			if (r.Receipted || r.Pruned) && !there[r.Digest] {
				m.t.Fatalf("%s: record %v is receipted (pruned: %v), and headquarters does not have it", w.name, r.Digest, r.Pruned)
			}
		}
	}
}

// heal lets everybody meet over good links: first through one hub alone, which must be enough for every tablet that
// headquarters has not forgotten, then all. Then everything is at headquarters, once, and nobody has anything left.
func (m *hubTeam) heal() {
	ctx := context.Background()
	for range 4 {
		for _, h := range m.hubs {
			m.once(h)
		}
		for _, w := range m.tablets {
			w.sync(m.hubs[0])
		}
	}
	if !m.hqBack {
		for _, w := range m.tablets {
			if st, err := w.Status(ctx); err != nil || st.Pending > 0 || st.Undelivered > 0 {
				m.t.Fatalf("%s has met the hub four times: %d pending, %d undelivered, %v; hub: %v", w.name, st.Pending, st.Undelivered, err, m.status(m.hubs[0]))
			}
		}
	}
	for range 3 {
		for _, w := range m.tablets {
			w.sync(m.hq)
		}
		for _, h := range m.hubs {
			m.once(h)
		}
	}
	m.hqWas = false
	m.check()
	there := m.holds()
	for i, w := range m.tablets {
		for d := range m.must[i] {
			if !there[d] {
				m.t.Fatalf("%s wrote %v and headquarters does not have it", w.name, d)
			}
		}
		if r := w.sync(m.hq); r.Pending != 0 || r.Sent+r.Duplicates != 0 {
			m.t.Fatalf("%s has something left when all was told: %+v", w.name, r)
		}
	}
	for _, h := range m.hubs {
		if st := m.status(h); st.GetEntriesHere() != 0 || len(st.GetTroubles()) != 0 {
			m.t.Fatalf("%s has something left: %v", h.name, st)
		}
	}
	for _, s := range append([]*station{m.hq}, m.hubs...) {
		report, err := s.store.Check(ctx, store.CheckOptions{})
		if err == nil {
			err = s.srv.CheckHub(ctx, report)
		}
		if err != nil || len(report.Findings) > 0 && s.relay == nil {
			m.t.Fatalf("check of %s: %+v, %v", s.name, report, err)
		}
		for _, f := range report.Findings {
			if f.Severity == "error" {
				m.t.Fatalf("check of %s: %+v", s.name, f)
			}
		}
	}
}

// checks bounds how many runs rapid makes, unless somebody has asked for a number.
func checks(t *testing.T, n int) {
	t.Helper()
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "rapid.checks" })
	was := flag.Lookup("rapid.checks").Value.String()
	if asked {
		return
	}
	if err := flag.Set("rapid.checks", strconv.Itoa(n)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = flag.Set("rapid.checks", was) })
}

// Tablets move between two hubs and headquarters in any order, over links that lose calls; hubs are killed, lose power, burn
// down, come back from backups; so do tablets and headquarters. Nothing is lost, nothing doubled, nothing pruned that
// headquarters does not have, and when all has healed nobody has anything left.
func TestHubTeam(t *testing.T) {
	if checks(t, 20); testing.Short() {
		checks(t, 2)
	}
	images, err := teamImages()
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		m := &hubTeam{field: &field{t: rt}, rt: rt}
		m.open(images)
		defer m.end()
		m.hqBack = rapid.Bool().Draw(rt, "headquarters may be restored")
		tablet := func() int { return rapid.IntRange(0, teamTablets-1).Draw(rt, "tablet") }
		hub := func() int { return rapid.IntRange(0, teamHubs-1).Draw(rt, "hub") }
		dying := func() cut {
			return cut{rapid.IntRange(0, 9).Draw(rt, "dies at call"), rapid.Bool().Draw(rt, "at its answer")}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"a day": func(*rapid.T) {
				i, h := tablet(), m.hubs[hub()]
				m.record(i, rapid.IntRange(1, 6).Draw(rt, "interviews"))
				m.meet(i, h, cut{})
				m.relayOnce(h, dying(), false)
			},
			"an evening": func(*rapid.T) {
				h := m.hubs[hub()]
				m.meet(tablet(), h, dying())
				m.relayOnce(h, dying(), false)
				m.meet(tablet(), h, cut{})
				m.prune(tablet())
			},
			"record":         func(*rapid.T) { m.record(tablet(), rapid.IntRange(1, 6).Draw(rt, "interviews")) },
			"meet a hub":     func(*rapid.T) { m.meet(tablet(), m.hubs[hub()], dying()) },
			"meet again":     func(*rapid.T) { m.meet(tablet(), m.hubs[hub()], cut{}) },
			"go to the city": func(*rapid.T) { m.meet(tablet(), m.hq, dying()) },
			"forward":        func(*rapid.T) { m.relayOnce(m.hubs[hub()], dying(), false) },
			"forward well":   func(*rapid.T) { m.relayOnce(m.hubs[hub()], cut{}, false) },
			"away":           func(*rapid.T) { m.relayOnce(m.hubs[hub()], cut{}, true) },
			"prune":          func(*rapid.T) { m.prune(tablet()) },
			"kill a hub":     func(*rapid.T) { m.kill(m.hubs[hub()], rapid.Bool().Draw(rt, "power cut")) },
			"kill hq":        func(*rapid.T) { m.kill(m.hq, rapid.Bool().Draw(rt, "power cut")) },
			"lose a hub":     func(*rapid.T) { m.replace(hub()) },
			"back up a hub":  func(*rapid.T) { m.backUp(m.hubs[hub()]) },
			"restore a hub": func(*rapid.T) {
				if h := m.hubs[hub()]; m.lost == 0 {
					m.bring(h, rapid.Bool().Draw(rt, "and says so"))
				}
			},
			"back up a tablet": func(*rapid.T) { m.backUpTablet(tablet()) },
			"restore a tablet": func(*rapid.T) { m.bringTablet(tablet()) },
			"back up hq": func(*rapid.T) {
				if m.hqBack {
					m.backUp(m.hq)
				}
			},
			"restore hq": func(*rapid.T) {
				if m.hqBack && m.lost == 0 && m.backups["hq"] != nil {
					m.hqWas = true
					m.bring(m.hq, rapid.Bool().Draw(rt, "and says so"))
				}
			},
			"": func(*rapid.T) { m.check() },
		})
		m.heal()
	})
}
