package sim

import (
	"crypto/ed25519"
	"math/rand/v2"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// join has headquarters enrol a tablet, perhaps again, which ends a revocation.
func (w *world) join(t *tab) bool {
	client := servicev1.NewDeviceServiceClient(w.hq.conn)
	made, err := client.CreateEnrolment(w.ctx, &servicev1.CreateEnrolmentRequest{Study: proto.String(study), DeviceName: proto.String(t.name), Enumerator: proto.String(enumerator(t.dev))})
	if !w.hq.do(err) {
		return false
	}
	code, err := syncer.ParseCode(made.GetCode())
	w.must(err, "read the code")
	id, key := identity(t.dev)
	_, err = client.Enrol(w.ctx, &servicev1.EnrolRequest{
		Code: proto.String(string(code)), Device: id[:], PublicKey: key.Public().(ed25519.PublicKey), Signature: syncer.SignEnrolment(key, code, id),
	})
	if !w.hq.do(err, fault.TooManyTries) {
		return false
	}
	delete(w.revoked, id)
	w.joined[id] = true
	return true
}

// own makes a link one over which the tablet comes as itself, with sessions and tickets.
func (l *link) own() *link {
	l.session = true
	return l
}

// visit syncs a tablet that comes as itself; one that headquarters has not enrolled, or has forgotten, is enrolled first.
func (w *world) visit(s Step) {
	t := w.tablet(s)
	if id, _ := identity(t.dev); !w.joined[id] && !w.join(t) {
		return
	}
	t.visits = true
	w.during(s, t, func() {
		if err := t.sync(w.link(t, s).own()); err != nil && s.Fault == "" {
			w.fail("STUCK: a sync of %s, as itself, over a good link: %v", t.name, err)
		}
	})
}

// asItself says whether a tablet is to come to a hub as itself: it has done so at headquarters, which still knows it.
func (w *world) asItself(t *tab) bool {
	id, _ := identity(t.dev)
	return t.visits && w.joined[id]
}

// home is how a tablet syncs when all is well: as itself, if it ever did.
func (w *world) home(t *tab) *link {
	l := w.link(t, Step{})
	if id, _ := identity(t.dev); t.visits && (w.joined[id] || w.join(t)) {
		return l.own()
	}
	return l
}

// proved sees that a number with which a tablet proves who it is opens one session and no more, and none after a greater.
func (h *headquarters) proved(hello *servicev1.HelloRequest) {
	use := hello.GetProof().GetUse()
	if hello.GetProof() == nil {
		return
	}
	id := syncer.ID(hello.GetDevice())
	if use <= h.w.proofs[id] {
		h.w.fail("FORGED: number %d has opened a session of device %.4x after number %d had", use, id, h.w.proofs[id])
	}
	h.w.proofs[id] = use
}

// window draws how many batches a sync may have on their way.
func (w *world) window(l *link) int {
	if l.rand == nil {
		l.rand = rand.New(rand.NewPCG(1, 5))
	}
	return 1 + w.rand.IntN(4)
}
