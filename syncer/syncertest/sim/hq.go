package sim

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/server"
	"github.com/hearth-survey/hearth/server/store/sqlite"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/faultdisk"
	"github.com/hearth-survey/hearth/syncer/syncertest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// study is the code of the team's study.
const study = "guiyang-2016"

var builtin = sync.OnceValues(questionnaire.Builtin)

// hqKey signs for headquarters in all stories.
var hqKey = ed25519.NewKeyFromSeed([]byte("headquarters of all the stories."))

// headquarters is the real server over the real store on a disk of its own.
type headquarters struct {
	w      *world
	disk   *faultdisk.Disk
	store  *sqlite.Store
	server *server.Server
	conn   grpc.ClientConnInterface
	album  *album // nil for the one that is made once in a process
	audit  audit
	lying  *saved // what was so when its disk began to lie about syncing; nil: it does not
}

// token is headquarters'; hubs alone come with sessions of their own.
const token = "the token of all the stories"

// holder is a connection whose calls carry headquarters' token where they carry none.
type holder struct{ grpc.ClientConnInterface }

// Invoke implements grpc.ClientConnInterface.
func (h holder) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if own, _ := ctx.Value(itself{}).(bool); own {
		return h.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
	}
	if md, _ := metadata.FromOutgoingContext(ctx); len(md.Get("authorization")) == 0 {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	return h.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
}

// itself is the key under which the context of a call says that who calls comes as itself, and not with headquarters' token.
type itself struct{}

// saved is a backup of headquarters, and what receipts had been given by then.
type saved struct {
	image  *faultdisk.Image
	proven map[syncer.Digest]bool
	// revoked and withdrawn are the devices and interviews that were so by then.
	revoked   map[syncer.ID]bool
	withdrawn map[string]bool
	hubs      map[syncer.ID]bool // that were enrolled by then
	joined    map[syncer.ID]bool // tablets that were
	forced    map[string]string
	photos    string // the folder of its attachments, "" if there were none
	forks     []branch
	audit     audit
}

// emptyHQ is the disk of a headquarters that has a study, and nothing else. It is made once in a process.
var emptyHQ = sync.OnceValue(func() *faultdisk.Image {
	w := &world{ctx: context.Background(), now: time.Date(2016, 6, 1, 8, 0, 0, 0, time.UTC)}
	h := &headquarters{w: w, disk: faultdisk.New(0)}
	defer h.disk.Close()
	err := h.open(false)
	if err == nil {
		_, err = servicev1.NewStudyServiceClient(h.conn).PutStudy(w.ctx, &servicev1.PutStudyRequest{Study: definition(0)})
	}
	if err == nil {
		err = h.server.Project(w.ctx)
	}
	if err == nil {
		err = h.store.Close()
	}
	if err != nil {
		panic(err) // nothing fails on this disk
	}
	return h.disk.Image()
})

// definition is the nth revision of the study.
func definition(n int) *surveyv1.Study {
	return &surveyv1.Study{
		Study: proto.String(study), TitleEn: proto.String("Guiyang"), Sites: []*surveyv1.Site{{SiteId: proto.String("school-a")}, {SiteId: proto.String("school-b")}},
		Rounds: []*surveyv1.Round{{Round: proto.Uint32(1)}}, Targets: []*surveyv1.Target{{Interviews: proto.Int64(int64(n))}},
	}
}

func (h *headquarters) begin() {
	h.disk, h.album = faultdisk.New(h.w.story.Seed), &album{w: h.w}
	h.disk.Load(emptyHQ())
	h.w.must(h.open(false), "open headquarters")
	h.audit.reset()
}

// open starts the server; restored: over what was a backup.
func (h *headquarters) open(restored bool) error {
	set, err := builtin()
	if err != nil {
		return err
	}
	now := func() time.Time { return h.w.now }
	h.store, err = sqlite.Open(h.w.ctx, h.disk.Path("hq"), sqlite.Options{Disk: h.disk, Now: now, Rand: h.random(), Restored: restored})
	if err != nil {
		return err
	}
	cfg := server.Config{Store: h.store, Key: hqKey, Questionnaires: set, Now: now, Token: token}
	if h.album != nil {
		h.album.store = nil // opened again when it is asked
		cfg.Blobs = h.album
	}
	h.server, err = server.New(cfg)
	if err != nil {
		return err
	}
	h.conn = holder{h.server.Local()}
	return nil
}

func (h *headquarters) random() *syncertest.Source {
	if h.w.story.Steps == nil {
		return syncertest.Random("an empty headquarters")
	}
	return h.w.random()
}

// called implements station.
func (h *headquarters) called() string { return "hq" }

// end closes what is open. A disk without power has nothing to say about it.
func (h *headquarters) end() error {
	if h.disk == nil {
		return nil
	}
	defer h.disk.Close()
	if h.store == nil {
		return nil
	}
	h.disk.Set(faultdisk.Plan{})
	dead := h.disk.Dead()
	if err := h.store.Close(); err != nil && !dead {
		return err
	}
	return nil
}

// call is a call that has arrived. If the disk loses power meanwhile, the answer that was given is on its way all the
// same, and headquarters starts again.
func (h *headquarters) call(ctx context.Context, who, method string, request, answer proto.Message) error {
	h.w.res.Calls++
	push, isPush := request.(*servicev1.PushBatchRequest)
	var entries []entry
	var refs []*servicev1.RecordRef
	var before []uint32
	if isPush {
		entries = h.w.entriesOf(push.GetBatch())
		refs = refsOf(entries)
		before = h.missing(refs)
		h.w.sent = append(h.w.sent, lateCall{h, who, method, request, entries, nil})
	}
	restores := h.audit.restores
	err := h.conn.Invoke(ctx, method, request, answer)
	if h.disk.Dead() {
		h.w.trace("       hq  loses power")
		h.restart(true)
	}
	if isPush && restores == h.audit.restores { // or its disk has lied, and what was answered is gone
		h.pushed(push.GetBatch(), entries, refs, before, answer.(*servicev1.PushBatchResponse).GetAck(), err)
	}
	if hello, ok := request.(*servicev1.HelloRequest); ok && err == nil {
		h.proved(hello)
	}
	if err != nil {
		h.w.trace("    %s <- hq  %v %v", who, status.Code(err), reasonOf(err))
	}
	return err
}

func reasonOf(err error) fault.Reason {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(interface{ GetReason() string }); ok {
			return fault.Reason(info.GetReason())
		}
	}
	return ""
}

// stop ends what runs on a disk as it stands: the power is cut, or it is killed.
func (w *world) stop(disk *faultdisk.Disk, store io.Closer, cut bool) {
	if cut {
		w.res.Crashes++
		disk.Set(faultdisk.Plan{CutAt: 1})
		_ = store.Close() // it has no power
		disk.Cut()
		return
	}
	disk.Kill()
	_ = store.Close() // it was killed
}

// restart stops the server as it stands, and starts it again; cut: the power was off in between.
func (h *headquarters) restart(cut bool) {
	h.w.stop(h.disk, h.store, cut)
	if h.lying != nil && cut {
		h.deceived(*h.lying)
		return
	}
	h.w.must(h.open(false), "headquarters does not start again")
	h.w.trace("       hq  starts again")
	h.audit.again(h)
}

// deceived starts headquarters again whose disk had lied about syncing when the power failed: as one that was restored, from what
// is left. Where that is damaged, or lacks what was there before the disk began to lie, from the last backup.
func (h *headquarters) deceived(before saved) {
	w := h.w
	h.lying, h.store = nil, nil
	if err := h.open(true); err == nil && sound(w, h.store) {
		h.goOn(before)
		if h.hasAll(before.audit.held) {
			w.trace("       hq  starts again, from what is left")
			return
		}
	}
	w.trace("       hq  is damaged, and restored from the last backup")
	last := saved{image: emptyHQ(), proven: map[syncer.Digest]bool{}, revoked: map[syncer.ID]bool{},
		withdrawn: map[string]bool{}, hubs: map[syncer.ID]bool{}, joined: map[syncer.ID]bool{}, forced: map[string]string{}}
	last.audit.reset()
	if len(w.saved) > 0 {
		last = w.saved[len(w.saved)-1]
	}
	h.load(last)
}

// hasAll says whether the log's reader has been given records.
func (h *headquarters) hasAll(records map[syncer.Digest]bool) bool {
	for d := range records {
		if !h.audit.held[d] {
			return false
		}
	}
	return true
}

// save makes a backup, as of a folder copied while nothing is written.
func (h *headquarters) save() {
	s := h.note()
	s.image, s.photos = h.disk.Image(), h.album.save()
	h.w.saved = append(h.w.saved, s)
}

// note is what is so now, without the files.
func (h *headquarters) note() saved {
	w := h.w
	return saved{
		proven: maps.Clone(w.proven), audit: h.audit.clone(), revoked: maps.Clone(w.revoked),
		withdrawn: maps.Clone(w.withdrawn), hubs: maps.Clone(w.enrolled), joined: maps.Clone(w.joined), forced: maps.Clone(w.forced), forks: slices.Clone(w.forks),
	}
}

// load starts headquarters anew from a backup. What it signed for since may be lost; it must come again from whoever
// still has it.
func (h *headquarters) load(s saved) {
	if h.store != nil {
		h.w.must(h.store.Close(), "stop headquarters")
	}
	h.disk.Load(s.image)
	h.album.load(s.photos)
	h.w.must(h.open(true), "open headquarters from a backup")
	h.goOn(s)
}

// goOn goes on, after headquarters was restored, from what was so then.
func (h *headquarters) goOn(s saved) {
	w := h.w
	w.proven, w.revoked, w.withdrawn, w.forks = maps.Clone(s.proven), maps.Clone(s.revoked), maps.Clone(s.withdrawn), slices.Clone(s.forks)
	w.enrolled, w.joined, w.forced, w.proofs = maps.Clone(s.hubs), maps.Clone(s.joined), maps.Clone(s.forced), map[syncer.ID]uint64{}
	h.audit.restored(h, s.audit)
}

// do makes a call of the desk's, at which nothing fails but what is named.
func (h *headquarters) do(err error, fine ...fault.Reason) bool {
	if h.disk.Dead() {
		h.restart(true)
		return false
	}
	if err == nil {
		return true
	}
	for _, r := range fine {
		if reasonOf(err) == r {
			return false
		}
	}
	if status.Code(err) == codes.NotFound {
		return false
	}
	h.w.must(errors.New(status.Convert(err).Message()), "a call of the desk")
	return false
}
