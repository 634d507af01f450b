package syncertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

// Headquarters is a server that a field team syncs with: the model, or a real one.
type Headquarters interface {
	servicev1.SyncServiceServer
	// Records returns the bytes of every record held, by digest.
	Records() map[syncer.Digest][]byte
	// Calls returns how often a method was called: "PushBatch".
	Calls(method string) int
}

// fataler is what a *testing.T and a *rapid.T have in common.
type fataler interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// team is some tablets, headquarters, and what must be true of both.
type team struct {
	t        fataler
	dir      string
	srv      Headquarters
	link     *Link
	second   *Link // for who syncs at the same moment
	tablets  []*tablet.Store
	backups  []backup
	opened   int
	recorded int
	syncs    int
	// proven are the records that any tablet ever held a receipt for.
	proven map[syncer.Digest]bool
}

type backup struct {
	path   string
	device syncer.ID
}

func newTeam(t fataler, dir string, srv Headquarters, tablets int) *team {
	t.Helper()
	m := &team{t: t, dir: dir, srv: srv, proven: map[syncer.Digest]bool{}}
	var err error
	if m.link, err = Connect(m.srv); err != nil {
		t.Fatal(err)
	}
	if m.second, err = Connect(m.srv); err != nil {
		t.Fatal(err)
	}
	for i := range tablets {
		name := fmt.Sprintf("tab%d", i+1)
		s, err := tablet.Create(context.Background(), filepath.Join(dir, name+".sqlite"), tablet.CreateOptions{
			Name: name, Enumerator: "E" + fmt.Sprint(i+1), Study: "guiyang-2016", Now: m.clock(), Rand: m.random(),
		})
		if err != nil {
			t.Fatal(err)
		}
		m.tablets = append(m.tablets, s)
	}
	return m
}

// clock is wrong by years, and each opening of a store has another.
func (m *team) clock() func() time.Time {
	at := time.Date(2016+10*(m.opened%3-1), 7, 1, 8, 0, 0, 0, time.UTC)
	return func() time.Time {
		at = at.Add(time.Second)
		return at
	}
}

func (m *team) random() *Source {
	m.opened++
	return Random(fmt.Sprint("open ", m.opened))
}

func (m *team) close() error {
	var errs []error
	for _, s := range m.tablets {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, m.link.Close(), m.second.Close())...)
}

// record writes a new revision of one of the first few interviews.
func (m *team) record(i, interview int) syncer.Digest {
	m.t.Helper()
	m.recorded++
	iv := Interview("shared", interview, fmt.Sprintf("%d %s", m.recorded, strings.Repeat("答", 200)))
	if m.recorded%3 == 0 {
		iv.Status = surveyv1.InterviewStatus_INTERVIEW_STATUS_IN_PROGRESS.Enum()
	}
	d, added, err := m.tablets[i].AddInterview(context.Background(), iv)
	if err != nil || !added {
		m.t.Fatalf("record on tablet %d: %v, %v", i, added, err)
	}
	return d
}

// sync syncs one tablet; from the call cut on, every call has the fault. It reports whether the sync ended well.
func (m *team) sync(i, cut int, f Fault) bool {
	m.t.Helper()
	m.link.Plan(func(call int, _ string) Fault {
		if cut > 0 && call >= cut {
			return f
		}
		return None
	})
	_, err := m.tablets[i].Sync(context.Background(), m.link, m.options(2<<10))
	m.link.Plan(nil)
	if err != nil && cut == 0 {
		m.t.Fatalf("sync of tablet %d over a good link: %v", i, err)
	}
	return err == nil
}

// options are those of a Sync: every other one has a window over a stream and sends early, packed.
func (m *team) options(batch int) tablet.SyncOptions {
	opts := tablet.SyncOptions{MinBackoff: time.Microsecond, MaxBackoff: time.Microsecond, Attempts: 2, MaxBatchBytes: batch}
	if m.syncs++; m.syncs%2 == 0 {
		opts.Window, opts.Address, opts.Compress, opts.Near = 4, "hq", true, -1
	}
	return opts
}

// race syncs tablet i, and in the middle of that, before its call number at, all of tablet j.
func (m *team) race(i, j, at int) {
	m.t.Helper()
	if i == j {
		return
	}
	opts := m.options(1 << 10)
	m.link.Plan(func(call int, _ string) Fault {
		if call == at {
			if _, err := m.tablets[j].Sync(context.Background(), m.second, opts); err != nil {
				m.t.Fatalf("sync of tablet %d meanwhile: %v", j, err)
			}
		}
		return None
	})
	defer m.link.Plan(nil)
	if _, err := m.tablets[i].Sync(context.Background(), m.link, opts); err != nil {
		m.t.Fatalf("sync of tablet %d: %v", i, err)
	}
}

// backup copies a tablet's store, as of now.
func (m *team) backup(i int) backup {
	m.t.Helper()
	b := backup{filepath.Join(m.dir, fmt.Sprintf("backup%d.sqlite", len(m.backups))), m.tablets[i].Device()}
	if err := m.tablets[i].Backup(context.Background(), b.path); err != nil {
		m.t.Fatal(err)
	}
	m.backups = append(m.backups, b)
	return b
}

// revive opens a copy of a backup.
func (m *team) revive(b backup) *tablet.Store {
	m.t.Helper()
	ctx := context.Background()
	random := m.random()
	path := filepath.Join(m.dir, fmt.Sprintf("revived%d.sqlite", m.opened))
	s, err := tablet.Open(ctx, b.path, tablet.Options{Now: m.clock(), Rand: random})
	if err != nil {
		m.t.Fatal(err)
	}
	if err := errors.Join(s.Backup(ctx, path), s.Close()); err != nil {
		m.t.Fatal(err)
	}
	if s, err = tablet.Open(ctx, path, tablet.Options{Now: m.clock(), Rand: random}); err != nil {
		m.t.Fatal(err)
	}
	return s
}

// restore replaces a tablet's store by an older one; what was not sent since is gone with the old file.
func (m *team) restore(i int, b backup) {
	m.t.Helper()
	if err := m.tablets[i].Close(); err != nil {
		m.t.Fatal(err)
	}
	m.tablets[i] = m.revive(b)
}

func (m *team) prune(i int) {
	m.t.Helper()
	if _, err := m.tablets[i].Prune(context.Background(), 0); err != nil {
		m.t.Fatal(err)
	}
}

func (m *team) usb(b backup) {
	m.t.Helper()
	r, err := tablet.Import(context.Background(), b.path, m.link, nil)
	if err != nil || len(r.Problems) > 0 || len(r.Refused) > 0 {
		m.t.Fatalf("import %s: %+v, %v", b.path, r, err)
	}
}

// check is what must hold at every moment: nothing that a tablet has a receipt for, or has pruned, is missing at
// headquarters.
func (m *team) check() {
	m.t.Helper()
	held := m.srv.Records()
	for i, s := range m.tablets {
		for r, err := range s.Records(context.Background()) {
			if err != nil {
				m.t.Fatal(err)
			}
			if r.Receipted || r.Pruned {
				m.proven[r.Digest] = true
			}
			if _, ok := held[r.Digest]; !ok && (r.Receipted || r.Pruned) {
				m.t.Fatalf("LOST: tablet %d believes record %v is at headquarters (pruned %v); it is not", i+1, r.Digest, r.Pruned)
			}
		}
	}
	for d := range m.proven {
		if _, ok := held[d]; !ok {
			m.t.Fatalf("LOST: a receipt was given over %v, and headquarters does not hold it", d)
		}
	}
}

// heal lets every tablet sync over a good link and looks at the end of it.
func (m *team) heal() {
	m.t.Helper()
	for range 2 {
		for i := range m.tablets {
			m.sync(i, 0, None)
		}
	}
	m.check()
	held := m.srv.Records()
	ids := map[syncer.ID]syncer.Digest{}
	revisions := map[string][]syncer.Revision{}
	for d, raw := range held {
		r, err := syncer.Open(raw)
		if err != nil {
			m.t.Fatal(err)
		}
		if other, twice := ids[syncer.ID(r.GetId())]; twice {
			m.t.Fatalf("DOUBLED: records %v and %v have one id", d, other)
		}
		ids[syncer.ID(r.GetId())] = d
		rev := syncer.Revision{Digest: d}
		for _, p := range r.GetParents() {
			rev.Parents = append(rev.Parents, syncer.Digest(p))
		}
		iv := &surveyv1.Interview{}
		if err := proto.Unmarshal(r.GetPayload(), iv); err != nil {
			m.t.Fatal(err)
		}
		if iv.GetStatus() == surveyv1.InterviewStatus_INTERVIEW_STATUS_COMPLETED {
			rev.Rank = 1
		}
		revisions[r.GetSubject()] = append(revisions[r.GetSubject()], rev)
	}
	for subject, revs := range revisions { // maps come in any order
		want := syncer.Heads(revs)
		slices.Reverse(revs)
		if diff := cmp.Diff(want, syncer.Heads(revs)); diff != "" || len(want) == 0 {
			m.t.Fatalf("heads of %s depend on the order: %s", subject, diff)
		}
	}
	pushes := m.srv.Calls("PushBatch")
	for i, s := range m.tablets {
		st, err := s.Status(context.Background())
		if err != nil {
			m.t.Fatal(err)
		}
		if st.Pending != 0 || st.Undelivered != 0 {
			m.t.Fatalf("LOST: tablet %d still has %d pending, %d undelivered", i+1, st.Pending, st.Undelivered)
		}
		for r, err := range s.Records(context.Background()) {
			if _, ok := held[r.Digest]; !ok || err != nil {
				m.t.Fatalf("LOST: record %v of tablet %d never came (%v)", r.Digest, i+1, err)
			}
		}
		m.sync(i, 0, None)
	}
	if got := m.srv.Calls("PushBatch"); got != pushes {
		m.t.Fatalf("when all was told, %d more batches were sent", got-pushes)
	}
}

// FieldTeam runs the state machine: tablets record, sync over links cut anywhere and at the same moment, are backed up,
// restored, cloned, pruned and imported, in any order. At every step headquarters must hold what a receipt covers, and
// when everything has healed nothing may be lost and nothing doubled. Each run gets a server of its own from hq, and a
// folder it may use.
func FieldTeam(t *testing.T, hq func(t *testing.T, dir string) Headquarters) {
	t.Helper()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		dir := filepath.Join(t.TempDir(), fmt.Sprint(n))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			rt.Fatal(err)
		}
		m := newTeam(rt, dir, hq(t, dir), 2)
		defer m.close()
		pick := func(label string, n int) int { return rapid.IntRange(0, n-1).Draw(rt, label) }
		someBackup := func() backup { return m.backups[pick("backup", len(m.backups))] }
		rt.Repeat(map[string]func(*rapid.T){
			"record": func(*rapid.T) { m.record(pick("tablet", len(m.tablets)), pick("interview", 4)) },
			"record some": func(*rapid.T) {
				i := pick("tablet", len(m.tablets))
				for range 4 {
					m.record(i, pick("interview", 4))
				}
			},
			"sync": func(*rapid.T) { m.sync(pick("tablet", len(m.tablets)), 0, None) },
			"sync cut": func(*rapid.T) {
				f := rapid.SampledFrom([]Fault{RequestLost, AnswerLost}).Draw(rt, "fault")
				m.sync(pick("tablet", len(m.tablets)), 1+pick("call", 6), f)
			},
			"race": func(*rapid.T) {
				m.race(pick("tablet", len(m.tablets)), pick("meanwhile", len(m.tablets)), 1+pick("call", 4))
			},
			"backup": func(*rapid.T) { m.backup(pick("tablet", len(m.tablets))) },
			"restore": func(*rapid.T) {
				if len(m.backups) == 0 {
					return
				}
				b := someBackup()
				i := slices.IndexFunc(m.tablets, func(s *tablet.Store) bool { return s.Device() == b.device })
				m.restore(i, b)
			},
			"clone": func(*rapid.T) {
				if len(m.tablets) < 4 {
					m.tablets = append(m.tablets, m.revive(m.backup(pick("tablet", len(m.tablets)))))
				}
			},
			"prune": func(*rapid.T) { m.prune(pick("tablet", len(m.tablets))) },
			"usb": func(*rapid.T) {
				if len(m.backups) > 0 {
					m.usb(someBackup())
				}
			},
			"": func(*rapid.T) { m.check() },
		})
		m.heal()
	})
}
