package relay

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/failpoint"
	"github.com/hearth-survey/hearth/syncer/plant"
	"google.golang.org/protobuf/proto"
)

const (
	// pageRuns and pageEntries bound what is looked at together: one Offer, one step of the place in the log.
	pageRuns    = 64
	pageEntries = 500
	// retryEvery is how often what headquarters did not take is offered again by itself.
	retryEvery = 10 * time.Minute
	// maxRefusals is how often in a row the bytes of a record may be refused as changed on the way.
	maxRefusals = 3
)

// piece is a run, or several that follow one another, that goes up in one batch under the signature over its last entry.
type piece struct {
	syncer.Run
	lane    syncer.LaneID
	branch  int64
	numbers []int64 // of the runs

	refs  []*servicev1.RecordRef // of the entries whose bytes are here; nil where they are not, or not readable
	here  []bool                 // the bytes are here
	blobs []*servicev1.BlobRef
}

func newPiece(r store.LaneRun) *piece {
	return &piece{Run: r.Run, lane: r.Lane, branch: r.Branch, numbers: []int64{r.Number}}
}

// joined makes pieces of runs that come in order of arrival.
func joined(runs []store.LaneRun) []*piece {
	type place struct {
		lane   syncer.LaneID
		branch int64
	}
	last := map[place]*piece{}
	var out []*piece
	for _, r := range runs {
		at := place{r.Lane, r.Branch}
		if p := last[at]; p != nil && r.Follows(p.Run, r.Lane) && len(p.Digests)+len(r.Digests) <= pageEntries {
			p.Run, p.numbers = p.Join(r.Run), append(p.numbers, r.Number)
			continue
		}
		last[at] = newPiece(r)
		out = append(out, last[at])
	}
	return out
}

// forward brings everything that has come in since the last time to headquarters, in the order of arrival. What
// headquarters does not take is noted, and holds nothing else up.
func (r *Relay) forward(ctx context.Context) error {
	if err := r.retryTroubles(ctx); err != nil {
		return err
	}
	totals, err := r.store.RunTotals(ctx, r.State().GetRun())
	if err != nil {
		return err
	}
	if totals.Last < r.State().GetRun() { // the hub's own log was restored from a backup
		if err := r.change(ctx, func(st *servicev1.HubState) { st.Run = proto.Int64(0) }); err != nil {
			return err
		}
	}
	for {
		page, err := r.page(ctx)
		if err != nil || len(page) == 0 {
			return err
		}
		pieces := joined(page)
		wanted, err := r.offer(ctx, pieces)
		if err != nil {
			return err
		}
		failpoint.Hit("hub.after-offer")
		if plant.In(plant.HubPlaceAhead) {
			if err := r.change(ctx, func(st *servicev1.HubState) { st.Run = proto.Int64(page[len(page)-1].Number) }); err != nil {
				return err
			}
		}
		entries, lanes := uint64(0), map[syncer.LaneID]*answers{}
		for _, p := range pieces {
			if err := r.deliver(ctx, p, wanted, lanes); err != nil {
				return err
			}
			failpoint.Hit("hub.after-deliver")
			entries += uint64(len(p.Digests))
		}
		if err := r.handDown(ctx, lanes, page[len(page)-1].Number); err != nil {
			return err
		}
		failpoint.Hit("hub.before-place")
		err = r.change(ctx, func(st *servicev1.HubState) {
			st.Run = proto.Int64(page[len(page)-1].Number)
			st.Forwarded = proto.Uint64(st.GetForwarded() + entries)
		})
		if err != nil {
			return err
		}
		failpoint.Hit("hub.after-place")
	}
}

// page reads the next runs.
func (r *Relay) page(ctx context.Context) ([]store.LaneRun, error) {
	runs, err := r.store.Runs(ctx, r.State().GetRun(), pageRuns)
	if err != nil {
		return nil, err
	}
	entries := 0
	for i, run := range runs {
		if entries += len(run.Digests); entries > pageEntries && i > 0 {
			return runs[:i], nil
		}
	}
	return runs, nil
}

// offer asks headquarters of which records it wants the bytes. Those whose envelope cannot be read are not asked about.
func (r *Relay) offer(ctx context.Context, pieces []*piece) (map[syncer.Digest]bool, error) {
	wanted := map[syncer.Digest]bool{}
	req := &servicev1.OfferRequest{}
	for _, p := range pieces {
		if err := r.look(ctx, p); err != nil {
			return nil, err
		}
		for i, ref := range p.refs {
			switch {
			case ref != nil:
				req.Records = append(req.Records, ref)
			case p.here[i]:
				wanted[p.Digests[i]] = true
			}
		}
	}
	for part := range slices.Chunk(req.GetRecords(), pageEntries) {
		var resp *servicev1.OfferResponse
		one := &servicev1.OfferRequest{Records: part}
		err := r.call(ctx, "offer records", proto.Size(one), func(ctx context.Context) (err error) {
			resp, err = r.sync.Offer(ctx, one)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, i := range resp.GetWanted() {
			if int(i) >= len(part) {
				return nil, fault.New(fault.Invalid, fault.BadRequest, "headquarters wants record %d of an offer of %d", i, len(part))
			}
			wanted[syncer.Digest(part[i].GetDigest())] = true
		}
	}
	return wanted, nil
}

// look reads the envelopes of a piece, one after the other: which bytes are here, and which attachments they list.
func (r *Relay) look(ctx context.Context, p *piece) error {
	p.refs, p.here = make([]*servicev1.RecordRef, len(p.Digests)), make([]bool, len(p.Digests))
	for i, d := range p.Digests {
		raw, err := r.bytes(ctx, d)
		if err != nil {
			return err
		}
		if raw == nil {
			continue
		}
		p.here[i] = true
		if rec, err := syncer.Open(raw); err == nil {
			p.refs[i] = &servicev1.RecordRef{Part: rec.Part, Id: rec.GetId(), Digest: bytes.Clone(d[:])}
			p.blobs = append(p.blobs, rec.GetBlobs()...)
		}
	}
	return nil
}

// bytes reads a record, nil if it is not here or not what its author wrote any more.
func (r *Relay) bytes(ctx context.Context, d syncer.Digest) ([]byte, error) {
	raw, _, err := r.store.Bytes(ctx, d)
	if err != nil || syncer.DigestOf(raw) != d {
		return nil, err
	}
	return raw, nil
}

// deliver sends a piece, keeps what headquarters says of it, and notes its last word about the lane. Only what may pass, or
// stops everything, is an error.
func (r *Relay) deliver(ctx context.Context, p *piece, wanted map[syncer.Digest]bool, lanes map[syncer.LaneID]*answers) error {
	if len(p.Signature) == 0 {
		covered, err := r.cover(ctx, p)
		if err != nil {
			return err
		}
		if covered == nil {
			return r.trouble(ctx, p, fault.New(fault.Conflict, fault.HubWaits, "the signature over these entries has not come yet"))
		}
		covered.numbers = p.numbers
		if wanted, err = r.offer(ctx, []*piece{covered}); err != nil {
			return err
		}
		return r.deliver(ctx, covered, wanted, lanes)
	}
	said, err := r.send(ctx, p, wanted)
	if err != nil {
		if ofThis(err) {
			return r.trouble(ctx, p, err)
		}
		return err
	}
	if p.branch == 0 {
		lanes[p.lane] = said
	}
	return r.keep(ctx, p, said)
}

// ofThis says whether headquarters refuses these entries, and would take others.
func ofThis(err error) bool {
	switch fault.ReasonOf(err) {
	case fault.DeviceUnknown, fault.DeviceKeyChanged, fault.BadSignature, fault.BadChain, fault.BadBatch, fault.BadDigest,
		fault.BatchTooLarge, fault.RecordTooLarge:
		return true
	}
	return false
}

// cover completes entries that came without a signature over the last of them, because one behind them was refused, by
// those that came later; nil if nothing has come yet.
func (r *Relay) cover(ctx context.Context, p *piece) (*piece, error) {
	runs, err := r.store.RunsFrom(ctx, p.lane, p.branch, p.First, 200)
	if err != nil {
		return nil, err
	}
	out := &piece{Run: p.Run, lane: p.lane, branch: p.branch}
	for _, next := range runs {
		last := out.Last()
		if next.First > last+1 || next.Last() <= last || next.ChainAt(p.lane, last) != out.Head(p.lane).Chain {
			continue
		}
		tail := syncer.Run{First: last + 1, Digests: next.Digests[last+1-next.First:], Signature: next.Signature}
		if out.Run = out.Join(tail); len(out.Signature) > 0 {
			return out, nil
		}
	}
	return nil, nil
}

// answers are what headquarters has said of a piece.
type answers struct {
	results map[uint64]*servicev1.EntryResult
	receipt *servicev1.Receipt
	gaps    []*servicev1.SeqRange
	fork    bool // it holds another branch of the lane
}

// send brings a piece there: all its places, and the bytes that are wanted, in as many batches as they need. Each batch
// has all places, because only the last one is signed.
func (r *Relay) send(ctx context.Context, p *piece, wanted map[syncer.Digest]bool) (*answers, error) {
	said := &answers{results: map[uint64]*servicev1.EntryResult{}}
	var left []int
	for i, d := range p.Digests {
		if p.here[i] && (wanted[d] || p.refs[i] == nil) {
			left = append(left, i)
		}
	}
	refusals := 0
	for first := true; first || len(left) > 0; first = false {
		raws, took, size, err := r.fill(ctx, p, left)
		if err != nil {
			return nil, err
		}
		ack, err := r.push(ctx, p, raws, size)
		if errors.Is(err, errSmaller) && len(took) > 1 {
			first = true
			continue
		}
		if err != nil {
			return nil, err
		}
		again, err := said.add(p, raws, ack)
		if err != nil {
			return nil, err
		}
		if again {
			if refusals++; refusals >= maxRefusals {
				return nil, fault.New(fault.Invalid, fault.BadDigest, "headquarters finds records of lane %v changed on the way, %d times in a row", p.lane, refusals)
			}
			first = true
			continue
		}
		left = left[len(took):]
	}
	return said, nil
}

// fill reads bytes for the next batch.
func (r *Relay) fill(ctx context.Context, p *piece, left []int) (raws [][]byte, took []int, size int, err error) {
	raws = make([][]byte, len(p.Digests))
	for _, i := range left {
		raw, err := r.bytes(ctx, p.Digests[i])
		if err != nil {
			return nil, nil, 0, err
		}
		if size += len(raw); size > r.budget && len(took) > 0 {
			size -= len(raw)
			break
		}
		raws[i], took = raw, append(took, i)
	}
	return raws, took, size, nil
}

// errSmaller is that a batch was too large, and a smaller one may not be.
var errSmaller = errors.New("the batch was too large")

// push sends one batch and adapts the size of the next.
func (r *Relay) push(ctx context.Context, p *piece, raws [][]byte, size int) (*servicev1.BatchAck, error) {
	req := &servicev1.PushBatchRequest{Batch: syncer.Forward(p.lane, p.Run, raws)}
	var resp *servicev1.PushBatchResponse
	began := r.opts.Now()
	err := r.call(ctx, "forward records", size+len(p.Digests)*40, func(ctx context.Context) (err error) {
		resp, err = r.sync.PushBatch(ctx, req)
		return err
	})
	switch {
	case err == nil && resp.GetAck() == nil:
		return nil, fault.New(fault.Invalid, fault.BadRequest, "headquarters answered a batch without saying what became of it")
	case err == nil:
		if r.opts.Now().Sub(began) < quick {
			r.budget = min(2*r.budget, mostBudget)
		}
		return resp.GetAck(), nil
	}
	r.budget = max(r.budget/2, leastBudget)
	if fault.KindOf(err) == fault.TooLarge {
		return nil, errors.Join(errSmaller, err)
	}
	return nil, err
}

// add takes what a batch was answered, and says whether it is to be sent again because bytes changed on the way.
func (a *answers) add(p *piece, raws [][]byte, ack *servicev1.BatchAck) (again bool, err error) {
	results := map[uint64]*servicev1.EntryResult{}
	for _, e := range ack.GetResults() {
		results[e.GetSeq()] = e
	}
	for i, raw := range raws {
		seq := p.First + uint64(i)
		e := results[seq]
		switch {
		case e.GetOutcome() == servicev1.EntryOutcome_ENTRY_OUTCOME_REFUSED && fault.Reason(e.GetReason()) == fault.BadDigest:
			again = true
		case e.GetOutcome() == servicev1.EntryOutcome_ENTRY_OUTCOME_REFUSED:
			return false, fault.New(fault.TooLarge, fault.Reason(e.GetReason()), "headquarters refuses entry %d of lane %v: %s", seq, p.lane, e.GetMessage())
		case raw == nil && p.here[i] && fault.Reason(e.GetReason()) == fault.RecordDamaged: // its bytes come in another batch
		case e == nil || e.GetOutcome() != servicev1.EntryOutcome_ENTRY_OUTCOME_QUARANTINED:
			if raw != nil {
				delete(a.results, seq)
			}
		default:
			a.results[seq] = e
		}
	}
	a.receipt, a.gaps, a.fork = ack.GetReceipt(), ack.GetGaps(), a.fork || ack.GetFork()
	return again, nil
}
