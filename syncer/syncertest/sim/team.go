package sim

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/faultdisk"
	"github.com/hearth-survey/hearth/syncer/syncertest"
	"github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/protobuf/proto"
)

// maxTablets is how many tablets there are at most, copies too.
const maxTablets = 5

// storeFile is the name of a tablet's store on its disk.
const storeFile = "tablet.sqlite"

// tab is a tablet with its disk.
type tab struct {
	w      *world
	name   string
	dev    int // which device it believes to be
	disk   *faultdisk.Disk
	store  *tablet.Store
	year   int // its clock is wrong by so much
	acked  []syncer.Digest
	lied   bool // the disk has lied: what it acknowledged may be gone
	now    map[int]*surveyv1.Interview
	given  map[string]bool // assignments that it shows as its own
	epoch  syncer.ID       // of headquarters at its last sync there that ended well
	visits bool            // it has come as itself
}

// backup is a copy of a tablet's store.
type backup struct {
	image *faultdisk.Image
	dev   int
	acked []syncer.Digest
	lied  bool
	now   map[int]*surveyv1.Interview
}

// emptyTablet is the disk of the nth device, with an empty store. It is made once in a process.
func emptyTablet(dev int) *faultdisk.Image {
	empty.Lock()
	defer empty.Unlock()
	if img := empty.images[dev]; img != nil {
		return img
	}
	d := faultdisk.New(0)
	defer d.Close()
	s, err := tablet.Create(context.Background(), d.Path(storeFile), tablet.CreateOptions{
		Name: fmt.Sprintf("tab%d", dev+1), Enumerator: enumerator(dev), Study: study, VFS: d.VFS(), Rand: deviceRandom(dev),
	})
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		panic(err) // nothing fails on this disk
	}
	empty.images[dev] = d.Image()
	return empty.images[dev]
}

var empty = struct {
	sync.Mutex
	images map[int]*faultdisk.Image
}{images: map[int]*faultdisk.Image{}}

func deviceRandom(dev int) io.Reader { return syncertest.Random(fmt.Sprint("device ", dev)) }

// identity is the nth device's id and key: what its store draws first.
func identity(dev int) (syncer.ID, ed25519.PrivateKey) {
	var id syncer.ID
	seed := make([]byte, ed25519.SeedSize)
	r := deviceRandom(dev)
	_, _ = io.ReadFull(r, id[:]) // it never fails
	_, _ = io.ReadFull(r, seed)
	return id, ed25519.NewKeyFromSeed(seed)
}

// devices is how many devices there can be in a story.
const devices = 64

var keys = sync.OnceValue(func() map[syncer.ID]ed25519.PublicKey {
	all := map[syncer.ID]ed25519.PublicKey{}
	for dev := range devices {
		id, key := identity(dev)
		all[id] = key.Public().(ed25519.PublicKey)
	}
	return all
})

func (w *world) keyOf(id syncer.ID) ed25519.PublicKey { return keys()[id] }

func (w *world) newTablet(dev int) *tab {
	return w.addTablet(backup{image: emptyTablet(dev), dev: dev})
}

func (w *world) addTablet(b backup) *tab {
	t := &tab{w: w, name: fmt.Sprint("t", len(w.tablets)+1), disk: faultdisk.New(w.story.Seed + uint64(len(w.tablets)) + 1)}
	w.tablets = append(w.tablets, t)
	t.load(b)
	return t
}

// load puts a copy of a store onto the tablet's disk and opens it.
func (t *tab) load(b backup) {
	t.disk.Load(b.image)
	t.given, t.epoch = nil, syncer.ID{}
	t.dev, t.lied, t.acked, t.now = b.dev, b.lied, slices.Clone(b.acked), map[int]*surveyv1.Interview{}
	for k, iv := range b.now {
		t.now[k] = iv
	}
	err := t.open()
	if err != nil && t.lied {
		t.replace()
		return
	}
	t.w.must(err, "open the store of %s", t.name)
}

func (t *tab) open() (err error) {
	t.w.touched[t] = true
	path, rewrite := t.disk.Path(storeFile), t.disk.Rewrite
	if t.disk.Size(path+"-wal") == 0 {
		rewrite = nil // there is nothing to write anew: the file system's does not begin either
	}
	t.store, err = tablet.Open(t.w.ctx, path, tablet.Options{
		VFS: t.disk.VFS(), Rewrite: rewrite, Rand: t.w.random(), Now: func() time.Time {
			t.w.now = t.w.now.Add(time.Second)
			return t.w.now.AddDate(t.year, 0, 0)
		},
	})
	return err
}

// replace gives the enumerator an empty tablet: the store is gone.
func (t *tab) replace() {
	t.w.trace("       %s  is lost, and replaced", t.name)
	dev := (10 + t.w.opened) % (devices - 1) // one that was never there
	t.load(backup{image: emptyTablet(dev), dev: dev})
}

func (t *tab) end() error {
	defer t.disk.Close()
	if t.store == nil {
		return nil
	}
	dead := t.disk.Dead()
	t.disk.Set(faultdisk.Plan{})
	if err := t.store.Close(); err != nil && !dead && !t.lied {
		return err
	}
	return nil
}

// restart opens the store again; cut: after a power cut.
func (t *tab) restart(cut bool) {
	if cut {
		t.w.res.Crashes++
		t.disk.Set(faultdisk.Plan{CutAt: 1})
		_ = t.store.Close() // it has no power
		t.disk.Cut()
	} else {
		t.disk.Kill()
		_ = t.store.Close() // it was killed
	}
	err := t.open()
	if err != nil && t.lied {
		t.replace()
		return
	}
	t.w.must(err, "%s does not start again", t.name)
	t.w.trace("       %s  starts again", t.name)
	records, err := t.records()
	if err != nil && t.lied {
		t.replace()
		return
	}
	t.w.must(err, "list the records of %s", t.name)
	t.keeps(records)
}

func (t *tab) records() ([]tablet.Record, error) {
	var all []tablet.Record
	for r, err := range t.store.Records(t.w.ctx) {
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// keeps sees that what was acknowledged to the enumerator is there.
func (t *tab) keeps(records []tablet.Record) {
	here := map[syncer.Digest]bool{}
	for _, r := range records {
		here[r.Digest] = true
	}
	for _, d := range t.acked {
		if !here[d] && !t.lied {
			t.w.fail("LOST: %s has acknowledged record %s to its enumerator and no longer has it", t.name, t.w.name(d))
		}
	}
	if t.lied { // whatever it still has is what it has
		t.acked = t.acked[:0]
		for _, r := range records {
			t.acked = append(t.acked, r.Digest)
		}
	}
}

// copy is a backup of the tablet as it is now.
func (t *tab) copy() backup {
	return backup{image: t.disk.Image(), dev: t.dev, acked: slices.Clone(t.acked), lied: t.lied, now: clone(t.now)}
}

func clone(m map[int]*surveyv1.Interview) map[int]*surveyv1.Interview {
	out := make(map[int]*surveyv1.Interview, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

// interview is the kth interview as this tablet knows it, with something changed.
func (t *tab) interview(k int) *surveyv1.Interview {
	w := t.w
	iv := t.now[k]
	if iv == nil {
		iv = syncertest.Interview("shared", k, "loaded")
		iv.Study = proto.String(study)
		iv.Enumerator = proto.String("E1")
		iv.SiteId = proto.String([]string{"school-a", "school-b"}[k%2])
		if w.rand.IntN(3) > 0 { // as it was loaded
			return iv
		}
	}
	iv = proto.CloneOf(iv)
	w.records++
	said := fmt.Sprint("said ", w.records)
	switch w.rand.IntN(4) {
	case 0:
		iv.Remarks = proto.String(said + string(bytes.Repeat([]byte("答"), w.rand.IntN(300))))
	case 1:
		iv.InterviewKey = proto.String(said)
	case 2:
		iv.QuestionnaireVersion = proto.Uint32(1)
		iv.Remarks = proto.String(said)
	default:
		iv.Status = surveyv1.InterviewStatus(1 + w.rand.IntN(2)).Enum()
		iv.Remarks = proto.String(said)
	}
	return iv
}

// record writes a revision and says whether the tablet acknowledged it.
func (t *tab) record(k int, iv *surveyv1.Interview) bool {
	rejected := t.rejections(iv.GetInterviewId())
	d, added, err := t.store.AddInterview(t.w.ctx, iv)
	t.w.touched[t] = true
	if err != nil {
		if t.disk.Failed() == 0 && !t.disk.Dead() && !t.lied {
			t.w.must(err, "%s records", t.name)
		}
		t.w.trace("       %s  could not record (%s)", t.name, fault.ReasonOf(err))
		return false
	}
	t.now[k] = iv
	if added {
		t.answered(iv.GetInterviewId(), rejected)
		if t.w.names[d] == "" {
			t.w.names[d] = fmt.Sprint("r", len(t.w.names)+1)
		}
		t.acked = append(t.acked, d)
		t.w.trace("       %s  has %s, of interview %d", t.name, t.w.names[d], k)
	}
	return true
}

// sync syncs over a link.
func (t *tab) sync(l *link) error {
	t.w.touched[t] = true
	defer l.forsake()
	epoch := t.w.hq.store.Epoch()
	report, err := t.store.Sync(t.w.ctx, l, tablet.SyncOptions{
		Session: l.session, Address: l.to.called(), Window: t.w.window(l), MinBackoff: 1, MaxBackoff: 1, Attempts: 3, MaxBatchBytes: 1 << (10 + t.w.rand.IntN(3)), Compress: t.w.rand.IntN(12) == 0, Near: -1, Now: func() time.Time { return t.w.now },
	})
	if err == nil && l.to == station(t.w.hq) {
		if report.Pending > 0 && !t.lied {
			t.w.fail("STUCK: a sync of %s ends well with %d records still to send", t.name, report.Pending)
		}
		t.epoch = epoch // if headquarters was restored meanwhile, the tablet may not have heard of it
	}
	if err != nil {
		t.w.trace("       %s  ends its sync: %s", t.name, fault.ReasonOf(err))
	}
	return err
}
