package sim

import (
	"crypto/ed25519"
	"fmt"
	"io"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// flip changes one byte of one record of a batch.
func (w *world) flip(request proto.Message) proto.Message {
	push, ok := request.(*servicev1.PushBatchRequest)
	if !ok {
		return request
	}
	push = proto.CloneOf(push)
	for _, e := range push.GetBatch().GetEntries() {
		if n := len(e.GetRecord()); n > 0 {
			e.Record[n-1-w.rand.IntN(min(n, 20))] ^= 1 << w.rand.IntN(8)
			break
		}
	}
	return push
}

// forge answers a batch as headquarters would, but for the key, which it does not have. It says whether it could.
func (w *world) forge(request, answer proto.Message) bool {
	push, ok := request.(*servicev1.PushBatchRequest)
	resp, yes := answer.(*servicev1.PushBatchResponse)
	b := w.withPrev(push.GetBatch())
	if b.GetFirstSeq() > 1 && len(b.GetPrevChain()) == 0 {
		return false
	}
	if !ok || !yes || len(w.entriesOf(b)) == 0 {
		return false
	}
	lane, err := syncer.ParseLane(b.GetLane())
	w.must(err, "read a lane")
	run := syncer.Run{First: b.GetFirstSeq()}
	copy(run.Prev[:], b.GetPrevChain())
	for _, e := range w.entriesOf(b) {
		run.Digests = append(run.Digests, e.digest)
	}
	_, other := identity(devices - 1)
	r := syncer.NewReceipt(other, lane, run.Head(lane), w.now.UnixMilli())
	r.Keeper = hqKey.Public().(ed25519.PublicKey)
	resp.Ack = &servicev1.BatchAck{Receipt: r}
	return true
}

// someRecord is a record that a device has sent, nil if there is none.
func (w *world) someRecord(device syncer.ID, n int) *servicev1.Record {
	for i := range w.sent {
		push, _ := w.sent[(i+n)%len(w.sent)].request.(*servicev1.PushBatchRequest)
		if syncer.ID(push.GetBatch().GetLane().GetDevice()) != device {
			continue
		}
		for _, e := range w.sent[(i+n)%len(w.sent)].entries {
			if r, err := syncer.Open(e.raw); err == nil && syncer.ID(r.GetDevice()) == device && syncer.DigestOf(e.raw) == e.digest {
				return r
			}
		}
	}
	return nil
}

// push brings one record in a new lane of a device, signed with some key.
func (w *world) push(who string, r *servicev1.Record, key ed25519.PrivateKey) error {
	raw, digest, err := syncer.Seal(r)
	w.must(err, "seal a record")
	lane := syncer.LaneID{Device: syncer.ID(r.GetDevice())}
	_, _ = io.ReadFull(w.random(), lane.Epoch[:]) // it never fails
	req := &servicev1.PushBatchRequest{Batch: syncer.NewBatch(key, lane, 1, syncer.Chain{}, []syncer.Digest{digest}, [][]byte{raw}, false)}
	w.trace("    %s -> hq  PushBatch%s", who, told(req))
	resp := &servicev1.PushBatchResponse{}
	err = w.hq.call(w.ctx, who, servicev1.SyncService_PushBatch_FullMethodName, req, resp)
	if err == nil {
		w.trace("    %s <- hq  PushBatch%s", who, told(resp))
	}
	return err
}

// reuse brings a record with the id of another one, as two devices do whose randomness repeats. Both are to be kept.
func (w *world) reuse(s Step) {
	dev := w.tablets[s.N%len(w.tablets)].dev
	id, key := identity(dev)
	r := w.someRecord(id, s.N)
	if r == nil {
		return
	}
	iv := &surveyv1.Interview{}
	w.must(proto.Unmarshal(r.GetPayload(), iv), "read a record")
	iv.Remarks = proto.String(fmt.Sprint("the same id again ", s.Seed))
	payload, err := proto.Marshal(iv)
	w.must(err, "write a record")
	r.Payload = payload
	if err := w.push("copy", r, key); err != nil && reasonOf(err) != fault.DeviceUnknown {
		w.fail("STUCK: a record with the id of another one: %v", err)
	}
}

// forgery brings a batch of one device with the signature of another.
func (w *world) forgery(s Step) {
	id, _ := identity(w.tablets[s.N%len(w.tablets)].dev)
	r := w.someRecord(id, s.N)
	if r == nil {
		return
	}
	_, other := identity(devices - 1)
	if err := w.push("thief", r, other); reasonOf(err) != fault.BadSignature && reasonOf(err) != fault.DeviceUnknown {
		w.fail("FORGED: a batch signed by another device: %v", err)
	}
}
