package relay

import (
	"context"
	"encoding/binary"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// maxTroubles is how many troubles a status lists.
const maxTroubles = 100

// keep writes down, in one transaction, what headquarters has said of a piece: what became of single entries, which
// attachments are to follow, and that what was in trouble is not any more.
func (r *Relay) keep(ctx context.Context, p *piece, said *answers) error {
	var items []store.Item
	add := func(space string, key []byte, m proto.Message) error {
		it, err := store.MessageItem(space, key, m)
		items = append(items, it)
		return err
	}
	for _, n := range p.numbers {
		items = append(items, store.Item{Space: store.ShelfHubTrouble, Key: store.NumberKey(n)})
	}
	for seq, e := range said.results {
		if p.branch > 0 {
			break // the tablet has left that branch
		}
		if err := add(store.ShelfHubResult, store.EntryKey(p.lane, seq), e); err != nil {
			return err
		}
	}
	for _, ref := range p.blobs {
		id, _, err := syncer.ParseBlobRef(ref)
		if err != nil {
			continue // no server takes it
		}
		known, err := r.store.Get(ctx, store.ShelfHubBlob, id[:])
		if err != nil {
			return err
		}
		if known == nil {
			if err := add(store.ShelfHubBlob, id[:], &servicev1.HubBlob{Blob: ref}); err != nil {
				return err
			}
		}
	}
	return r.store.Put(ctx, items...)
}

// handDown keeps headquarters' receipts that may be handed down to tablets. last is the run up to which everything was
// delivered, or is in trouble.
func (r *Relay) handDown(ctx context.Context, lanes map[syncer.LaneID]*answers, last int64) error {
	var items []store.Item
	for lane, said := range lanes {
		note := &servicev1.HubLane{}
		if _, err := store.GetMessage(ctx, r.store, store.ShelfHubLane, store.LaneKey(lane), note); err != nil {
			return err
		}
		note.Gap = proto.Bool(len(said.gaps) > 0 && said.gaps[0].GetFirst() <= note.GetBase().GetSeq())
		if said.receipt.GetSeq() > note.GetReceipt().GetSeq() {
			ok, err := r.handable(ctx, lane, said, note.GetReceipt().GetSeq(), last)
			if err != nil {
				return err
			}
			if ok {
				note.Receipt = said.receipt
			}
		}
		it, err := store.MessageItem(store.ShelfHubLane, store.LaneKey(lane), note)
		if err != nil {
			return err
		}
		items = append(items, it)
	}
	return r.store.Put(ctx, items...)
}

// handable says whether a receipt of headquarters may be handed down: it verifies, it is over what the hub holds of the
// lane, and headquarters has got the bytes of all of that: nothing up to there is still to be delivered or in trouble. A
// receipt is over places only; a tablet asks the hub which records it misses, and takes the others for kept. One over
// another branch of the lane covers nothing of the tablet's, which learns by it that it has to go on in a new lane.
func (r *Relay) handable(ctx context.Context, of syncer.LaneID, said *answers, before uint64, last int64) (bool, error) {
	lane, head, err := syncer.VerifyReceipt(said.receipt, r.State().GetServerKey())
	if err != nil {
		return false, err
	}
	if lane != of {
		return false, fault.New(fault.Invalid, fault.BadSignature, "headquarters gave a receipt for lane %v, asked about %v", lane, of)
	}
	held := said.fork
	for seq := before + 1; seq <= head.Seq; {
		runs, err := r.store.RunsFrom(ctx, lane, 0, seq, 200)
		if err != nil {
			return false, err
		}
		for _, run := range runs {
			if run.First > head.Seq {
				seq = run.First
				break
			}
			if run.Number > last {
				return false, nil
			}
			held = held || run.Last() >= head.Seq && run.ChainAt(lane, head.Seq) == head.Chain
			seq = max(seq, run.Last()+1)
		}
		if len(runs) < 200 {
			break
		}
	}
	if !held {
		return false, nil
	}
	err = r.eachTrouble(ctx, func(_ int64, t *servicev1.HubTrouble) (bool, error) {
		of, err := syncer.ParseLane(t.GetLane())
		if err == nil && of == lane && t.GetFirstSeq() <= head.Seq {
			held = false
		}
		return held, nil
	})
	return held, err
}

// trouble notes that headquarters does not take a piece as it is.
func (r *Relay) trouble(ctx context.Context, p *piece, why error) error {
	var items []store.Item
	for _, n := range p.numbers {
		t := &servicev1.HubTrouble{}
		if _, err := store.GetMessage(ctx, r.store, store.ShelfHubTrouble, store.NumberKey(n), t); err != nil {
			return err
		}
		if t.SinceMs == nil {
			t.SinceMs = proto.Int64(r.opts.Now().UnixMilli())
		}
		t.Lane, t.FirstSeq, t.LastSeq = p.lane.Proto(), proto.Uint64(p.First), proto.Uint64(p.Last())
		t.Reason, t.Message = proto.String(string(fault.ReasonOf(why))), proto.String(why.Error())
		it, err := store.MessageItem(store.ShelfHubTrouble, store.NumberKey(n), t)
		if err != nil {
			return err
		}
		items = append(items, it)
	}
	return r.store.Put(ctx, items...)
}

func (r *Relay) eachTrouble(ctx context.Context, f func(number int64, t *servicev1.HubTrouble) (bool, error)) error {
	return store.Walk(ctx, r.store, store.ShelfHubTrouble, nil, func(it store.Item) (bool, error) {
		t := &servicev1.HubTrouble{}
		if err := proto.Unmarshal(it.Value, t); err != nil || len(it.Key) != 8 {
			return false, fault.New(fault.Internal, fault.StoreDamaged, "shelf: a trouble of the hub cannot be read: %w", err)
		}
		return f(int64(binary.BigEndian.Uint64(it.Key)), t)
	})
}

// retryTroubles offers again what headquarters did not take: now and then, and at once when there is a reason to hope.
func (r *Relay) retryTroubles(ctx context.Context) error {
	r.mu.Lock()
	due := r.retry || r.opts.Now().Sub(r.retried) >= retryEvery
	r.retry = false
	r.mu.Unlock()
	var numbers []int64
	err := r.eachTrouble(ctx, func(n int64, t *servicev1.HubTrouble) (bool, error) {
		if due || fault.Reason(t.GetReason()) == fault.HubWaits {
			numbers = append(numbers, n)
		}
		return len(numbers) < 1000, nil
	})
	if err != nil {
		return err
	}
	for _, n := range numbers {
		runs, err := r.store.Runs(ctx, n-1, 1)
		if err != nil {
			return err
		}
		if len(runs) == 0 || runs[0].Number != n { // not in a log that was restored
			if err := r.store.Put(ctx, store.Item{Space: store.ShelfHubTrouble, Key: store.NumberKey(n)}); err != nil {
				return err
			}
			continue
		}
		p := newPiece(runs[0])
		wanted, err := r.offer(ctx, []*piece{p})
		if err != nil {
			return err
		}
		lanes := map[syncer.LaneID]*answers{}
		if err := r.deliver(ctx, p, wanted, lanes); err != nil {
			return err
		}
		if err := r.handDown(ctx, lanes, r.State().GetRun()); err != nil {
			return err
		}
	}
	if due {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.retried = r.opts.Now()
	}
	return nil
}

// Status says how the hub stands.
func (r *Relay) Status(ctx context.Context) (*servicev1.HubStatus, error) {
	st := r.State()
	out := &servicev1.HubStatus{Device: st.Device, Name: st.Name, Upstream: proto.String(r.opts.Upstream), EntriesForwarded: st.Forwarded, ContactMs: st.ContactMs}
	here, err := OnlyHere(ctx, r.store)
	if err != nil {
		return nil, err
	}
	out.EntriesHere, out.OldestHereMs, out.Troubles = proto.Uint64(here.Entries), proto.Int64(here.OldestMS), here.Troubles
	var blobs, awaited uint64
	err = store.Walk(ctx, r.store, store.ShelfHubBlob, nil, func(it store.Item) (bool, error) {
		b := &servicev1.HubBlob{}
		if proto.Unmarshal(it.Value, b) != nil || b.GetForwarded() {
			return true, nil
		}
		if r.opts.Blobs != nil && r.opts.Blobs.Has(b.GetBlob()) {
			blobs++
		} else {
			awaited++
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	out.BlobsHere, out.BlobsAwaited = proto.Uint64(blobs), proto.Uint64(awaited)
	devices := uint64(0)
	err = store.Walk(ctx, r.store, store.ShelfHubDevice, nil, func(store.Item) (bool, error) { devices++; return true, nil })
	out.Devices = proto.Uint64(devices)
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.tried.IsZero() {
		out.TriedMs = proto.Int64(r.tried.UnixMilli())
	}
	if n := st.GetNotice(); n != nil {
		out.Reason, out.Message = proto.String(string(fault.HubRevoked)), n.Message
	} else if r.wrong != nil {
		out.Reason, out.Message = proto.String(string(fault.ReasonOf(r.wrong))), proto.String(r.wrong.Error())
	}
	return out, err
}

// Here is what a hub holds and headquarters does not, as far as the hub knows.
type Here struct {
	// Entries of lanes, and when the oldest of them came in, milliseconds since 1970; 0: none.
	Entries  uint64
	OldestMS int64
	// Troubles are those of them that headquarters does not take as they are, at most 100.
	Troubles []*servicev1.HubTrouble
}

// OnlyHere says what of a hub's log is only there. It needs no connection.
func OnlyHere(ctx context.Context, s store.Hubs) (Here, error) {
	st, out := &servicev1.HubState{}, Here{}
	if _, err := store.GetMessage(ctx, s, store.ShelfHub, nil, st); err != nil {
		return out, err
	}
	totals, err := s.RunTotals(ctx, st.GetRun())
	if err != nil {
		return out, err
	}
	out.Entries = totals.Entries
	runs, err := s.Runs(ctx, st.GetRun(), 1)
	if err != nil {
		return out, err
	}
	for _, run := range runs {
		for _, d := range run.Digests {
			_, received, err := s.Bytes(ctx, d)
			if err != nil {
				return out, err
			}
			if received > 0 {
				out.OldestMS = received
				break
			}
		}
	}
	r := &Relay{store: s}
	err = r.eachTrouble(ctx, func(_ int64, t *servicev1.HubTrouble) (bool, error) {
		out.Entries += t.GetLastSeq() - t.GetFirstSeq() + 1
		if out.OldestMS == 0 || t.GetSinceMs() < out.OldestMS {
			out.OldestMS = t.GetSinceMs()
		}
		if len(out.Troubles) < maxTroubles {
			out.Troubles = append(out.Troubles, t)
		}
		return true, nil
	})
	return out, err
}
