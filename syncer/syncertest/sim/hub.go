package sim

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server"
	"github.com/hearth-survey/hearth/server/relay"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/server/store/sqlite"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/faultdisk"
	"github.com/hearth-survey/hearth/syncer/syncertest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// places is how many hubs there can be at a time.
const places = 2

// hub is a hub: the real server and relay over the real store on a disk of its own.
type hub struct {
	w      *world
	name   string
	key    ed25519.PrivateKey
	disk   *faultdisk.Disk
	store  *sqlite.Store
	server *server.Server
	relay  *relay.Relay
	conn   grpc.ClientConnInterface
	up     *link // of the step; nil: a good one
	album  *album
	backup *hubBackup
	lying  bool // its disk lies about syncing
	burnt  bool
}

// hubBackup is a copy of a hub, with the folder of its attachments, "" if there were none.
type hubBackup struct {
	image  *faultdisk.Image
	photos string
}

// emptyHub is the disk of a hub that has not been enrolled. It is made once in a process.
var emptyHub = sync.OnceValue(func() *faultdisk.Image {
	ctx, d := context.Background(), faultdisk.New(0)
	defer d.Close()
	now := func() time.Time { return time.Date(2016, 6, 1, 8, 0, 0, 0, time.UTC) }
	s, err := sqlite.Open(ctx, d.Path("hub"), sqlite.Options{Disk: d, Now: now, Rand: syncertest.Random("an empty hub")})
	if err == nil {
		err = s.IndexDigests(ctx)
	}
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		panic(err) // nothing fails on this disk
	}
	return d.Image()
})

// hub is the hub that a step is about. Where none stands, one is set up and enrolled: stories without hubs pay for none.
func (w *world) hub(s Step) *hub {
	i := (max(s.N, 1) - 1) % places
	if w.hubs[i] == nil {
		h := &hub{w: w, name: fmt.Sprint("h", i+1, strings.Repeat("'", w.burnt)), disk: faultdisk.New(w.story.Seed + uint64(100+10*w.burnt+i)), album: &album{w: w}}
		seed := sha256.Sum256([]byte(h.name))
		h.key = ed25519.NewKeyFromSeed(seed[:])
		h.disk.Load(emptyHub())
		w.hubs[i] = h
		w.must(h.open(false), "open %s", h.name)
		h.enrol()
	}
	w.at = w.hubs[i]
	w.visited[w.at] = true
	return w.at
}

// standing are the hubs that were not lost.
func (w *world) standing() (all []*hub) {
	for _, h := range w.hubs {
		if h != nil {
			all = append(all, h)
		}
	}
	return all
}

func (h *hub) id() syncer.ID { return syncer.HubID(h.key.Public().(ed25519.PublicKey)) }

// open starts the hub; restored: over what was a backup, and it is told so.
func (h *hub) open(restored bool) error {
	set, err := builtin()
	if err != nil {
		return err
	}
	now := func() time.Time { return h.w.now }
	h.store, err = sqlite.Open(h.w.ctx, h.disk.Path("hub"), sqlite.Options{Disk: h.disk, Now: now, Rand: h.w.random(), Restored: restored})
	if err != nil {
		return err
	}
	if err = h.store.IndexDigests(h.w.ctx); err != nil {
		return err
	}
	h.album.store = nil // opened again when it is asked
	h.relay, err = relay.Open(h.w.ctx, relay.Options{
		Store: h.store, Blobs: h.album, Conn: uplink{h}, Key: h.key, Upstream: "hq", Now: now, MinBackoff: 1, MaxBackoff: 1, CallTimeout: 10 * time.Minute, Attempts: 3,
	})
	if err != nil {
		return err
	}
	h.server, err = server.New(server.Config{Store: h.store, Key: h.key, Questionnaires: set, Now: now, Token: token, Hub: h.relay, Blobs: h.album})
	if err != nil {
		return err
	}
	h.conn = holder{h.server.Local()}
	return nil
}

// uplink is a hub's way to headquarters, whatever link there is at the moment.
type uplink struct{ *hub }

// Invoke implements grpc.ClientConnInterface.
func (u uplink) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	l := u.up
	if l == nil {
		l = &link{w: u.w, to: u.w.hq, name: u.name}
	}
	return l.Invoke(ctx, method, args, reply, opts...)
}

// NewStream implements grpc.ClientConnInterface.
func (u uplink) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, status.Error(codes.Unimplemented, "there are no streams on this link")
}

// called implements station.
func (h *hub) called() string { return h.name }

// call is a call that has arrived at the hub.
func (h *hub) call(ctx context.Context, who, method string, request, answer proto.Message) error {
	if h.burnt {
		return status.Error(codes.Unavailable, "the hub is gone")
	}
	h.w.res.Calls++
	h.w.visited[h] = true
	err := h.conn.Invoke(ctx, method, request, answer)
	if h.disk.Dead() {
		h.w.trace("       %s  loses power", h.name)
		h.restart(true)
	}
	if err != nil {
		h.w.trace("    %s <- %s  %v %v", who, h.name, status.Code(err), reasonOf(err))
	}
	return err
}

// restart stops the hub as it stands, and starts it again; cut: the power was off in between.
func (h *hub) restart(cut bool) {
	h.w.stop(h.disk, h.store, cut)
	if h.lying && cut {
		h.deceived()
		return
	}
	h.w.must(h.open(false), "%s does not start again", h.name)
	h.w.trace("       %s  starts again", h.name)
}

// deceived starts a hub again whose disk has lied about syncing when the power failed; it may be told so. One that cannot be
// read any more is as one that has burnt.
func (h *hub) deceived() {
	h.lying = false
	h.store = nil
	err := h.open(h.w.rand.IntN(2) == 0)
	if err == nil && sound(h.w, h.store) {
		h.w.trace("       %s  starts again, from what is left", h.name)
		return
	}
	for i := range h.w.hubs {
		if h.w.hubs[i] == h {
			h.burn(i)
		}
	}
}

// sound says whether `hearth check` finds nothing wrong with a store.
func sound(w *world, s *sqlite.Store) bool {
	report, err := s.Check(w.ctx, store.CheckOptions{})
	return err == nil && !slices.ContainsFunc(report.Findings, func(f store.Finding) bool { return f.Severity == "error" })
}

// end closes what is open.
func (h *hub) end() error {
	defer h.disk.Close()
	if h.store == nil {
		return nil
	}
	dead := h.disk.Dead()
	h.disk.Set(faultdisk.Plan{})
	if err := h.store.Close(); err != nil && !dead {
		return err
	}
	return nil
}

// enrol has headquarters enrol the hub, perhaps again, which ends a revocation.
func (h *hub) enrol() {
	w := h.w
	made, err := servicev1.NewDeviceServiceClient(w.hq.conn).CreateEnrolment(w.ctx, &servicev1.CreateEnrolmentRequest{
		Study: proto.String(study), DeviceName: proto.String(h.name), Hub: proto.Bool(true),
	})
	w.must(err, "make a code for %s", h.name)
	code, err := syncer.ParseCode(made.GetCode())
	w.must(err, "read the code")
	w.must(h.relay.EnrolHub(w.ctx, code), "enrol %s", h.name)
	w.enrolled[h.id()] = true
	delete(w.revoked, h.id())
	w.trace("       %s  is enrolled", h.name)
}

// once has the hub forward over a link.
func (h *hub) once(l *link) error {
	h.w.visited[h] = true
	h.up = l
	defer func() { h.up = nil }()
	err := h.relay.Once(h.w.ctx)
	if err != nil {
		h.w.trace("       %s  does not forward: %s", h.name, fault.ReasonOf(err))
	}
	return err
}

func (w *world) up(h *hub, s Step) *link {
	return &link{w: w, to: w.hq, name: h.name, fault: linkFaults[s.Fault], at: s.At, rand: rand.New(rand.NewPCG(uint64(s.Seed), 4))}
}

// hubMay says whether a sync at a hub may fail though nothing is broken: the hub may take nothing, or does not know the tablet.
func (w *world) hubMay(h *hub, err error) bool {
	r := fault.ReasonOf(err)
	return r == fault.HubRevoked && h.relay.State().GetNotice() != nil || r == fault.DeviceNotEnrolled
}

// hubSync syncs a tablet at a hub.
func (w *world) hubSync(s Step) {
	t, h := w.tablet(s), w.hub(s)
	w.during(s, t, func() {
		l := w.link(t, s)
		if l.to = h; w.asItself(t) {
			l.own()
		}
		if err := t.sync(l); err != nil && s.Fault == "" && !w.hubMay(h, err) {
			w.fail("STUCK: a sync of %s at %s over a good link: %v", t.name, h.name, err)
		}
	})
}

// forward has a hub forward.
func (w *world) forward(s Step) {
	h := w.hub(s)
	w.during(s, w.tablet(s), func() {
		if err := h.once(w.up(h, s)); err != nil && s.Fault == "" && w.enrolled[h.id()] {
			w.fail("STUCK: %s forwards over a good link: %v", h.name, err)
		}
	})
}

// hubRace has a hub forward while a tablet syncs there.
func (w *world) hubRace(s Step) {
	t, h := w.tablet(s), w.hub(s)
	up, down := w.up(h, Step{}), w.link(t, Step{Seed: s.Seed})
	if down.to = h; w.asItself(t) {
		down.own()
	}
	together(w.rand, func(yield func()) {
		up.yieldSync = yield
		if err := h.once(up); err != nil && w.enrolled[h.id()] {
			w.fail("STUCK: %s forwards while %s syncs there: %v", h.name, t.name, err)
		}
	}, func(yield func()) {
		down.yield = yield
		if err := t.sync(down); err != nil && !w.hubMay(h, err) {
			w.fail("STUCK: a sync of %s while %s forwards: %v", t.name, h.name, err)
		}
	})
}

// burnHub loses a hub for ever, with all that was only there.
func (w *world) burnHub(s Step) {
	i := (max(s.N, 1) - 1) % places
	if h := w.hubs[i]; h != nil {
		h.burn(i)
	}
}

func (h *hub) burn(place int) {
	h.w.must(h.end(), "stop %s", h.name)
	h.w.hubs[place], h.burnt = nil, true
	h.w.burnt++
	h.w.trace("       %s  burns", h.name)
}

func (w *world) saveHub(s Step) {
	h := w.hub(s)
	h.backup = &hubBackup{h.disk.Image(), h.album.save()}
}

// loadHub starts a hub anew from a backup, and perhaps tells it so.
func (w *world) loadHub(s Step) {
	h := w.hub(s)
	if h.backup == nil {
		return
	}
	w.must(h.store.Close(), "stop %s", h.name)
	h.disk.Load(h.backup.image)
	h.album.load(h.backup.photos)
	w.must(h.open(w.rand.IntN(2) == 0), "open %s from a backup", h.name)
}

func (w *world) revokeHub(s Step) {
	id := w.hub(s).id()
	_, err := servicev1.NewDeviceServiceClient(w.hq.conn).RevokeDevice(w.ctx, &servicev1.RevokeDeviceRequest{Device: id[:], Reason: proto.String("stolen")})
	if w.hq.do(err, fault.NoSuchDevice) {
		w.revoked[id] = true
	}
}

func (w *world) enrolHub(s Step) { w.hub(s).enrol() }
