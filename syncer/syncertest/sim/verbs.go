package sim

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/faultdisk"
	"github.com/hearth-survey/hearth/syncer/syncertest"
	"github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// interviews is how many interviews the team shares.
const interviews = 4

// diskFaults are the faults of a disk by name; with hq behind it, of headquarters'.
var diskFaults = map[string]func(at int) faultdisk.Plan{
	"cut":      func(at int) faultdisk.Plan { return faultdisk.Plan{CutAt: at} },
	"kill":     func(at int) faultdisk.Plan { return faultdisk.Plan{CutAt: at} },
	"full":     func(at int) faultdisk.Plan { return faultdisk.Plan{Fail: faultdisk.Full, FailAt: at, FailFor: 3} },
	"badwrite": func(at int) faultdisk.Plan { return faultdisk.Plan{Fail: faultdisk.BadWrite, FailAt: at, FailFor: 1} },
	"badsync":  func(at int) faultdisk.Plan { return faultdisk.Plan{Fail: faultdisk.BadSync, FailAt: at, FailFor: 1} },
	"lie":      func(at int) faultdisk.Plan { return faultdisk.Plan{Lie: true, CutAt: at} },
	"cuthq":    func(at int) faultdisk.Plan { return faultdisk.Plan{CutAt: at} },
	"fullhq": func(at int) faultdisk.Plan {
		return faultdisk.Plan{Fail: faultdisk.Full, FailAt: at, FailFor: 3}
	},
	"badwritehq": func(at int) faultdisk.Plan {
		return faultdisk.Plan{Fail: faultdisk.BadWrite, FailAt: at, FailFor: 1}
	},
	"badsynchq": func(at int) faultdisk.Plan {
		return faultdisk.Plan{Fail: faultdisk.BadSync, FailAt: at, FailFor: 1}
	},
	"liehq":   func(at int) faultdisk.Plan { return faultdisk.Plan{Lie: true, CutAt: at} },
	"liehub":  func(at int) faultdisk.Plan { return faultdisk.Plan{Lie: true, CutAt: at} },
	"cuthub":  func(at int) faultdisk.Plan { return faultdisk.Plan{CutAt: at} },
	"fullhub": func(at int) faultdisk.Plan { return faultdisk.Plan{Fail: faultdisk.Full, FailAt: at, FailFor: 3} },
	"badsynchub": func(at int) faultdisk.Plan {
		return faultdisk.Plan{Fail: faultdisk.BadSync, FailAt: at, FailFor: 1}
	},
}

// verbs are what can happen.
func verbs() map[string]func(w *world, s Step) {
	return map[string]func(w *world, s Step){
		"record": (*world).record, "photo": (*world).photo, "visit": (*world).visit, "skew": (*world).skew, "sync": (*world).sync, "race": (*world).race,
		"backup": (*world).backup, "restore": (*world).restore, "clone": (*world).clone, "prune": (*world).prune, "usb": (*world).usb,
		"kill": (*world).kill, "clock": (*world).clock, "revoke": (*world).revoke, "enrol": (*world).enrol,
		"project": (*world).project, "save": (*world).save, "load": (*world).load,
		"killhq": func(w *world, _ Step) { w.hq.restart(false) }, "cuthq": func(w *world, _ Step) { w.hq.restart(true) },
		"study": (*world).study, "replay": (*world).replay, "late": (*world).deliver, "withdraw": (*world).withdraw,
		"erase": (*world).erase, "again": (*world).again, "old": (*world).old, "reuse": (*world).reuse, "twins": (*world).twins, "relapse": (*world).relapse, "forge": (*world).forgery,
		"order": (*world).order, "handover": (*world).handOver, "cancel": (*world).cancel, "reject": (*world).reject, "approve": (*world).approve, "remark": (*world).remark, "force": (*world).force,
		"start": (*world).start, "interview": (*world).interviewed,
		"hubsync": (*world).hubSync, "forward": (*world).forward, "hubrace": (*world).hubRace, "burnhub": (*world).burnHub,
		"savehub": (*world).saveHub, "loadhub": (*world).loadHub, "revokehub": (*world).revokeHub, "enrolhub": (*world).enrolHub,
		"killhub": func(w *world, s Step) { w.hub(s).restart(false) }, "cuthub": func(w *world, s Step) { w.hub(s).restart(true) },
	}
}

// during does something while a disk follows a plan, and starts again what has lost power by it.
func (w *world) during(s Step, t *tab, do func()) {
	plan := diskFaults[s.Fault]
	if plan == nil {
		do()
		return
	}
	p, disk := plan(s.At), t.disk
	switch {
	case strings.HasSuffix(s.Fault, "hq"):
		disk = w.hq.disk
	case strings.HasSuffix(s.Fault, "hub") && w.at == nil:
		do() // no hub is part of it
		return
	case strings.HasSuffix(s.Fault, "hub"):
		disk = w.at.disk
	}
	if p.Lie {
		w.lies(disk, t)
	}
	disk.Set(p)
	do()
	if w.hq.lying != nil && !disk.Dead() {
		_ = w.hq.server.Project(w.ctx) // what is derived is on the same disk
	}
	switch {
	case w.at != nil && w.at.burnt:
		return
	case disk == w.hq.disk && (disk.Dead() || w.hq.lying != nil):
		w.hq.restart(true)
	case w.at != nil && disk == w.at.disk && (disk.Dead() || w.at.lying):
		w.at.restart(true)
	case w.at != nil && disk == w.at.disk && disk.Failed() > 0 && w.rand.IntN(3) > 0:
		w.at.restart(w.rand.IntN(2) == 0)
	case disk == t.disk && (disk.Dead() || p.Lie):
		t.restart(s.Fault != "kill")
	case disk == w.hq.disk && disk.Failed() > 0 && w.rand.IntN(3) > 0:
		w.hq.restart(w.rand.IntN(2) == 0) // what was answered after the failure is on the disk all the same
	case disk == t.disk && disk.Failed() > 0 && w.rand.IntN(2) == 0:
		t.restart(true)
	}
	disk.Set(faultdisk.Plan{})
}

// lies notes whose disk begins to lie about syncing. It does so until the power fails, at the end of the step at the latest.
func (w *world) lies(disk *faultdisk.Disk, t *tab) {
	switch {
	case disk == w.hq.disk:
		before := w.hq.note()
		w.hq.lying = &before
	case disk == t.disk:
		t.lied = true
	default:
		w.at.lying = true
	}
}

func (w *world) record(s Step) {
	t := w.tablet(s)
	w.during(s, t, func() {
		for range max(s.N, 1) {
			k := w.rand.IntN(interviews)
			if !t.record(k, t.interview(k)) {
				return
			}
		}
	})
}

// skew records what headquarters does not know.
func (w *world) skew(s Step) {
	t, k := w.tablet(s), w.rand.IntN(interviews)
	iv := proto.CloneOf(t.interview(k))
	switch s.N {
	case 1:
		iv.QuestionnaireVersion = proto.Uint32(99)
	case 2:
		iv.Study = proto.String("another-study")
	case 3:
		iv.Answers = &surveyv1.Interview_Other{Other: &surveyv1.OtherAnswers{Questionnaire: proto.String("unknown.v1.Form"), Answers: []byte{8, 1}}}
	default:
		iv.QuestionnaireVersion = proto.Uint32(7)
		iv.Remarks = proto.String("\x00'; DROP TABLE record; -- \n\U00020000 \U0001F469\U0001F3FD")
	}
	t.record(k, iv)
}

func (w *world) link(t *tab, s Step) *link {
	return &link{w: w, to: w.hq, name: t.name, fault: linkFaults[s.Fault], at: s.At, rand: rand.New(rand.NewPCG(uint64(s.Seed), 3))}
}

func (w *world) sync(s Step) {
	t := w.tablet(s)
	w.during(s, t, func() {
		if err := t.sync(w.link(t, s)); err != nil && s.Fault == "" {
			w.fail("STUCK: a sync of %s over a good link: %v", t.name, err)
		}
	})
}

// race has several tablets sync at once, those with the same device first.
func (w *world) race(s Step) {
	t := w.tablet(s)
	all := []*tab{t}
	for _, o := range w.tablets {
		if o != t && len(all) < 3 && (o.dev == t.dev || len(all) < 2 && w.rand.IntN(3) == 0) {
			all = append(all, o)
		}
	}
	var work []func(yield func())
	for _, o := range all {
		l := w.link(o, Step{Seed: s.Seed})
		work = append(work, func(yield func()) {
			l.yield = yield
			if err := o.sync(l); err != nil {
				w.fail("STUCK: a sync of %s beside others over a good link: %v", o.name, err)
			}
		})
	}
	together(w.rand, work...)
}

// twin is another tablet that is a copy of this one; there is none only if there are too many tablets.
func (w *world) twin(t *tab) *tab {
	for _, o := range w.tablets {
		if o != t && o.dev == t.dev {
			return o
		}
	}
	if len(w.tablets) >= maxTablets {
		return nil
	}
	return w.addTablet(t.copy())
}

// twins has a tablet and its copy record different things and sync in turn.
func (w *world) twins(s Step) {
	t := w.tablet(s)
	o := w.twin(t)
	if o == nil {
		return
	}
	w.must(o.stop(), "stop %s", o.name)
	o.load(t.copy())
	var work []func(yield func())
	for i, who := range []*tab{t, o} {
		for range max(s.N, 1) + i {
			k := w.rand.IntN(interviews)
			iv := proto.CloneOf(who.interview(k))
			iv.Remarks = proto.String(fmt.Sprint(who.name, " said ", w.records, strings.Repeat("答", 150)))
			who.record(k, iv)
		}
		l := w.link(who, Step{Seed: s.Seed})
		work = append(work, func(yield func()) {
			l.yield = yield
			if err := who.sync(l); err != nil {
				w.fail("STUCK: a sync of %s beside its copy over a good link: %v", who.name, err)
			}
		})
	}
	together(w.rand, work...)
}

// relapse has a tablet sync and be copied, and headquarters restored to before that.
func (w *world) relapse(s Step) {
	t := w.tablet(s)
	w.hq.save()
	for range s.N {
		k := w.rand.IntN(interviews)
		t.record(k, t.interview(k))
	}
	if err := t.sync(w.link(t, Step{})); err != nil {
		w.fail("STUCK: a sync of %s over a good link: %v", t.name, err)
	}
	w.check()
	w.twin(t)
	w.hq.load(w.saved[len(w.saved)-1])
	if w.rand.IntN(2) == 0 {
		w.prune(s)
	}
}

func (w *world) backup(s Step) { w.backups = append(w.backups, w.tablet(s).copy()) }

// restore puts an old copy onto a tablet of the same device; what was written there since is gone.
func (w *world) restore(s Step) {
	if len(w.backups) == 0 {
		return
	}
	t := w.tablet(s)
	for i := range w.backups {
		if b := w.backups[(s.N+i)%len(w.backups)]; b.dev == t.dev {
			w.must(t.stop(), "stop %s", t.name)
			t.load(b)
			return
		}
	}
}

func (t *tab) stop() error {
	if err := t.store.Close(); err != nil && !t.lied {
		return err
	}
	return nil
}

func (w *world) clone(s Step) {
	if len(w.tablets) < maxTablets {
		w.addTablet(w.tablet(s).copy())
	}
}

func (w *world) prune(s Step) {
	t := w.tablet(s)
	w.touched[t] = true
	var here []*servicev1.BlobRef
	if len(w.photos) > 0 && !t.lied {
		here, _ = t.attached()
	}
	n, err := t.store.Prune(w.ctx, 0)
	if err != nil && !t.lied {
		w.must(err, "prune %s", t.name)
	}
	t.pruned(here)
	w.trace("       %s  has pruned %d", t.name, n)
}

// usb takes a copy of a tablet in by hand, from real files as people carry them.
func (w *world) usb(s Step) {
	b := w.tablet(s).copy()
	if len(w.backups) > 0 && s.N%2 == 0 {
		b = w.backups[s.N%len(w.backups)]
	}
	if b.lied {
		return // what is damaged is another test
	}
	dir, err := os.MkdirTemp("", "hearth-sim-")
	w.must(err, "make a folder")
	defer os.RemoveAll(dir)
	b.image.Each(func(name string, data []byte) {
		w.must(os.WriteFile(filepath.Join(dir, name), data, 0o600), "write a copy")
	})
	l := w.link(&tab{name: "usb"}, Step{Seed: s.Seed})
	r, err := tablet.Import(w.ctx, filepath.Join(dir, storeFile), l, nil)
	// What a power cut or a full disk leaves at the end of a WAL is told, with what was found there, and what was pruned before
	// headquarters lost it. A file without these is healthy, and there is nothing to be told of it.
	torn := slices.ContainsFunc(r.Problems, func(p tablet.Problem) bool { return p.Subject == "the -wal file" })
	for _, p := range r.Problems {
		if gone := p.Reason == fault.RecordDamaged && strings.Contains(p.Message, "its bytes are gone, and no receipt"); !torn && !(gone && w.hq.audit.lost()) {
			w.fail("STUCK: a copy of device %d by hand is told to be damaged, and is not: %v", b.dev, p)
		}
	}
	if err != nil || len(r.Refused) > 0 {
		w.fail("STUCK: a copy of device %d by hand: %+v, %v", b.dev, r, err)
	}
}

func (w *world) kill(s Step) { w.tablet(s).restart(false) }

// clock sets a tablet's clock wrong by years.
func (w *world) clock(s Step) {
	w.tablet(s).year = []int{0, -46, 84, -1, 10}[s.N%5]
}

func (w *world) revoke(s Step) {
	t := w.tablet(s)
	id, _ := identity(t.dev)
	_, err := servicev1.NewDeviceServiceClient(w.hq.conn).RevokeDevice(w.ctx, &servicev1.RevokeDeviceRequest{Device: id[:], Reason: proto.String("lost")})
	if w.hq.do(err, fault.NoSuchDevice) {
		w.revoked[id] = true
	}
}

// enrol enrols a tablet, perhaps again, which ends a revocation.
func (w *world) enrol(s Step) { w.join(w.tablet(s)) }

func (w *world) project(Step) { w.must(w.hq.server.Project(w.ctx), "make the projections") }

func (w *world) save(Step) { w.hq.save() }

func (w *world) load(s Step) {
	if len(w.saved) > 0 {
		w.hq.load(w.saved[s.N%len(w.saved)])
	}
}

func (w *world) study(s Step) {
	_, err := servicev1.NewStudyServiceClient(w.hq.conn).PutStudy(w.ctx, &servicev1.PutStudyRequest{Study: definition(s.N)})
	w.hq.do(err)
}

func (w *world) replay(Step) {
	_, err := servicev1.NewMonitorServiceClient(w.hq.conn).ReplayQuarantine(w.ctx, &servicev1.ReplayQuarantineRequest{})
	w.hq.do(err)
}

// deliver has a request arrive that was long under way.
func (w *world) deliver(s Step) {
	for range min(s.N, len(w.late)) {
		i := w.rand.IntN(len(w.late))
		c := w.late[i]
		w.late = append(w.late[:i], w.late[i+1:]...)
		w.arrive(c)
	}
}

// again repeats a batch that has arrived before, as a proxy does, or an attacker.
func (w *world) again(s Step) {
	if len(w.sent) > 0 {
		w.arrive(w.sent[s.N%len(w.sent)])
	}
}

func (w *world) arrive(c lateCall) {
	w.trace("    %s ~> %s  late %s%s", c.name, c.to.called(), c.method, told(c.request))
	answers := map[string]proto.Message{
		servicev1.SyncService_Hello_FullMethodName: &servicev1.HelloResponse{}, servicev1.SyncService_PushBatch_FullMethodName: &servicev1.PushBatchResponse{},
		servicev1.SyncService_Offer_FullMethodName: &servicev1.OfferResponse{}, servicev1.SyncService_Pull_FullMethodName: &servicev1.PullResponse{},
	}
	if answer := answers[c.method]; answer != nil {
		sent, ctx := len(w.sent), w.ctx
		if c.ctx != nil {
			ctx = c.ctx
		}
		err := c.to.call(ctx, c.name, c.method, c.request, answer)
		w.sent = w.sent[:sent]
		if k := status.Code(err); k == codes.Internal || k == codes.Unknown || k == codes.DataLoss {
			w.fail("DEFECT: a late call: %v", err)
		}
	}
}

// interviewID is the id of the kth interview.
func interviewID(k int) string {
	return syncertest.Interview("shared", k%interviews, "").GetInterviewId()
}

func (w *world) withdraw(s Step) {
	id := interviewID(s.N)
	_, err := servicev1.NewReviewServiceClient(w.hq.conn).WithdrawInterview(w.ctx, &servicev1.WithdrawInterviewRequest{
		InterviewId: proto.String(id), DecidedBy: proto.String("E9"), Reason: proto.String("asked for"),
	})
	if w.hq.do(err) {
		w.withdrawn[id], w.everWithdrawn[id] = true, true
	}
}

func (w *world) erase(s Step) {
	id := interviewID(s.N)
	kept := w.hq.quarantined(id)
	_, err := servicev1.NewReviewServiceClient(w.hq.conn).EraseInterview(w.ctx, &servicev1.EraseInterviewRequest{
		InterviewId: proto.String(id), DecidedBy: proto.String("E9"), Reason: proto.String("asked for"),
	})
	if w.hq.do(err, fault.NotWithdrawn) {
		for _, d := range kept {
			w.hq.audit.erased[d] = true
		}
	}
}

// old is a Hello of a program that headquarters no longer speaks with, or does not yet.
func (w *world) old(s Step) {
	id, key := identity(0)
	_, err := servicev1.NewSyncServiceClient(w.hq.conn).Hello(w.ctx, &servicev1.HelloRequest{
		Protocol: proto.Uint32(uint32(s.N) * 40), Device: id[:], PublicKey: bytes.Clone(key.Public().(ed25519.PublicKey)), DeviceName: proto.String("old"),
	})
	if reasonOf(err) != fault.ProtocolTooOld {
		w.fail("SKEW: a Hello of protocol %d: %v", s.N*40, err)
	}
}

// quarantined are the records in quarantine about an interview.
func (h *headquarters) quarantined(id string) (all []syncer.Digest) {
	h.eachQuarantined(func(d syncer.Digest, raw []byte) {
		if r, err := syncer.Open(raw); err == nil && r.GetSubject() == id {
			all = append(all, d)
		}
	})
	return all
}

func (h *headquarters) eachQuarantined(f func(d syncer.Digest, raw []byte)) {
	page, err := h.store.Quarantine(h.w.ctx, 0, 1000)
	h.w.must(err, "list the quarantine")
	for _, item := range page {
		_, raw, err := h.store.QuarantineItem(h.w.ctx, item.GetId())
		h.w.must(err, "read the quarantine")
		d, err := syncer.ParseDigest(item.GetDigest())
		h.w.must(err, "read the quarantine")
		f(d, raw)
	}
}
