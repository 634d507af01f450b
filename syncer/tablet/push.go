package tablet

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/failpoint"
	"github.com/hearth-survey/hearth/syncer/plant"
	"google.golang.org/protobuf/proto"
)

// Bounds of what one entry may be tried.
const (
	maxRefusals = 3 // of one record's bytes before they are withheld
	maxStalls   = 4 // of batches answered without the lane getting on
	offerSize   = 500
)

// push sends the lanes the server does not hold as far as it should.
func (x *session) push(ctx context.Context, held map[syncer.ID]syncer.Head) error {
	if err := x.takeHanded(ctx); err != nil {
		return err
	}
	epochs, err := x.s.epochs(ctx)
	if err != nil {
		return err
	}
	if err := x.settleEarly(ctx, epochs[0], held); err != nil {
		return err
	}
	// An old lane is at its end: what had no receipt went on to the new one. Only a server that lost what it had
	// signed for is sent it again, unless it has another branch there by now: what it still wants then is listed in the
	// current lane when it was asked (restored).
	for _, epoch := range epochs[1:] {
		signed, err := x.s.receipted(ctx, epoch)
		if err != nil {
			return err
		}
		h := held[epoch]
		same, err := x.s.agrees(ctx, epoch, h)
		if err != nil {
			return err
		}
		if same && h.Seq < signed {
			x.closePipe() // what is on its way is of another lane
			if err := x.pushLane(ctx, epoch, h, signed); err != nil && !errors.Is(err, errFork) {
				return err
			}
		}
	}
	current := epochs[0]
	h := held[current]
	same, err := x.s.agrees(ctx, current, h)
	if err != nil {
		return err
	}
	if !same {
		return errFork
	}
	if err := x.verifyHeld(ctx, current, h); err != nil {
		return err
	}
	if err := x.s.relist(ctx, current, x.limits.RecordBytes); err != nil {
		return err
	}
	if err := x.pushLane(ctx, current, h, 0); err != nil {
		return err
	}
	return x.restored(ctx, current)
}

// receipted is how far the server has signed for a lane.
func (s *Store) receipted(ctx context.Context, epoch syncer.ID) (uint64, error) {
	var seq sql.NullInt64
	err := s.db.QueryRowContext(ctx, "SELECT max(seq) FROM receipt WHERE epoch = ?", epoch[:]).Scan(&seq)
	return uint64(seq.Int64), err
}

// agrees says whether a head that the server names lies on this store's lane. If it does not, the store was restored
// from a backup or is one of two copies.
func (s *Store) agrees(ctx context.Context, epoch syncer.ID, h syncer.Head) (bool, error) {
	if h.Seq == 0 {
		return h.Chain == syncer.Chain{}, nil
	}
	if plant.In(plant.SameEpoch) {
		return true, nil
	}
	chain, ok, err := s.chainAt(ctx, epoch, h.Seq)
	return ok && chain == h.Chain, err
}

func (s *Store) chainAt(ctx context.Context, epoch syncer.ID, seq uint64) (syncer.Chain, bool, error) {
	if seq == 0 {
		return syncer.Chain{}, true, nil
	}
	if seq > 1<<62 {
		return syncer.Chain{}, false, nil
	}
	var raw []byte
	err := s.db.QueryRowContext(ctx, "SELECT chain FROM lane_entry WHERE epoch = ? AND seq = ?", epoch[:], int64(seq)).Scan(&raw)
	if errors.Is(err, sql.ErrNoRows) {
		return syncer.Chain{}, false, nil
	}
	if err != nil {
		return syncer.Chain{}, false, err
	}
	chain, err := syncer.ParseChain(raw)
	return chain, true, err
}

// verifyHeld asks about entries that the server's lane holds although this store has no receipt for them: the answer
// was lost, or a copy of the store sent them, and that copy may have declared a record damaged that is whole here. What
// the server wants is listed once more.
func (x *session) verifyHeld(ctx context.Context, epoch syncer.ID, h syncer.Head) error {
	signed, err := x.s.receipted(ctx, epoch)
	if err != nil {
		return err
	}
	promised, err := x.inCustody(ctx, epoch)
	if err != nil {
		return err
	}
	if plant.In(plant.HeldBelieved) {
		return nil
	}
	return x.offerBetween(ctx, epoch, max(signed, promised), h.Seq)
}

// offerBetween asks about the entries behind one place up to another.
func (x *session) offerBetween(ctx context.Context, epoch syncer.ID, from, to uint64) error {
	for ; from < to; from += offerSize {
		named, err := x.s.refs(ctx, epoch, from, min(from+offerSize, to))
		if err != nil {
			return err
		}
		if len(named) == 0 {
			continue
		}
		req := &servicev1.OfferRequest{}
		for _, n := range named {
			req.Records = append(req.Records, n.ref)
		}
		var resp *servicev1.OfferResponse
		err = x.call(ctx, "offer records", proto.Size(req), func(ctx context.Context) (err error) {
			x.report.BytesUp += int64(proto.Size(req))
			resp, err = x.client.Offer(ctx, req)
			return err
		})
		if err != nil {
			return err
		}
		x.report.BytesDown += int64(proto.Size(resp))
		if err := x.s.listWanted(ctx, epoch, named, resp.GetWanted()); err != nil {
			return err
		}
	}
	return nil
}

// listWanted lists again what a server wants although it holds the place, and notes that the place proves nothing.
func (s *Store) listWanted(ctx context.Context, epoch syncer.ID, named []place, wanted []uint32) error {
	return inTx(ctx, s.db, func(tx *sql.Tx) error {
		for _, i := range wanted {
			if int(i) >= len(named) {
				return fault.New(fault.Invalid, fault.BadRequest, "the server wants record %d of an offer of %d", i, len(named))
			}
			p := named[i]
			if err := s.withhold(ctx, tx, epoch, p.seq, fault.RecordDamaged, "headquarters holds this place without the record's bytes"); err != nil {
				return err
			}
			failpoint.Hit("tablet.in-wanted")
			if err := s.list(ctx, tx, syncer.Digest(p.ref.GetDigest())); err != nil {
				return err
			}
		}
		return nil
	})
}

// place is a record at its place in a lane.
type place struct {
	seq uint64
	ref *servicev1.RecordRef
}

// refs names the records at the places from+1 to to whose bytes are here and were not withheld there.
func (s *Store) refs(ctx context.Context, epoch syncer.ID, from, to uint64) ([]place, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT e.seq, rec.part, rec.id, rec.digest FROM lane_entry AS e JOIN record AS rec ON rec.digest = e.digest
		WHERE e.epoch = ? AND e.seq > ? AND e.seq <= ? AND rec.body IS NOT NULL
		AND NOT EXISTS (SELECT 1 FROM answer AS a WHERE a.epoch = e.epoch AND a.seq = e.seq AND a.outcome = 4)
		ORDER BY e.seq`, epoch[:], int64(from), int64(to))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []place
	for rows.Next() {
		var seq, part int64
		r := &servicev1.RecordRef{}
		if err := rows.Scan(&seq, &part, &r.Id, &r.Digest); err != nil {
			return nil, err
		}
		r.Part = proto.Uint64(uint64(part))
		all = append(all, place{seq: uint64(seq), ref: r})
	}
	return all, rows.Err()
}

// relistSQL finds records that stand under a receipt without their bytes, and whose bytes are here and fit (?1), unless they
// are behind the receipts of the lane (?2) already. It begins with what was withheld, which is little: beginning with all
// records, or looking for each of them through all of the lane, is quadratic. The plus signs keep SQLite from the latter.
const relistSQL = `SELECT rec.digest FROM record AS rec
	WHERE rec.digest IN (SELECT w.digest FROM answer AS a CROSS JOIN lane_entry AS w ON w.epoch = a.epoch AND w.seq = a.seq WHERE a.outcome = 4)
	AND rec.body IS NOT NULL AND rec.size <= ?1 AND ` + listedSQL + ` AND NOT ` + coveredSQL + `
	AND NOT EXISTS (SELECT 1 FROM lane_entry AS e WHERE e.digest = rec.digest AND +e.epoch = ?2
		AND +e.seq > (SELECT coalesce(max(r.seq), 0) FROM receipt AS r WHERE r.epoch = ?2))
	ORDER BY rec.n`

// relist gives records whose bytes the server could not take, and now can, a new place in the lane.
func (s *Store) relist(ctx context.Context, epoch syncer.ID, limit int) error {
	return inTx(ctx, s.db, func(tx *sql.Tx) error {
		again, err := digests(ctx, tx, relistSQL, limit, epoch[:])
		if err != nil {
			return err
		}
		for _, d := range again {
			var body []byte
			if err := tx.QueryRowContext(ctx, "SELECT body FROM record WHERE digest = ?", d[:]).Scan(&body); err != nil {
				return err
			}
			if syncer.DigestOf(body) != d {
				continue
			}
			failpoint.Hit("tablet.in-relist")
			if err := s.list(ctx, tx, d); err != nil {
				return err
			}
		}
		return nil
	})
}

// pushLane sends a lane from behind h to the entry to; 0: to its end, which may move meanwhile. Batches of it may be on their
// way already.
func (x *session) pushLane(ctx context.Context, epoch syncer.ID, h syncer.Head, to uint64) error {
	lane := syncer.LaneID{Device: x.s.device, Epoch: epoch}
	x.refusals, x.counted, x.again = map[uint64]int{}, map[uint64]bool{}, false
	signed, err := x.s.receipted(ctx, epoch)
	if err != nil {
		return err
	}
	start, next, stalls := h.Seq, h.Seq+1, 0
	burst := next // where what is on its way begins
	if n := len(x.out); n > 0 {
		next = x.out[n-1].next()
	}
	for drain := false; ; {
		end, err := x.s.laneEnd(ctx, epoch, to)
		if err != nil {
			return err
		}
		if len(x.out) == 0 {
			x.bidden()
			if drain = false; next > end {
				if end <= signed || end == 0 || x.hub != nil {
					return nil // a hub has it in custody, headquarters' receipt comes at another time
				}
				next, x.again = end, true // all is there, but its receipt was lost: sending the last entry again brings one
			}
			burst = next
		}
		if !drain {
			if err := x.fill(ctx, lane, &next, end); err != nil {
				return err
			}
			if drain = next > end && to == 0; drain {
				if err := x.bid(ctx); err != nil {
					return err
				}
			}
		}
		run, ack, err := x.answer(ctx)
		if err != nil {
			return err
		}
		if ack == nil {
			next, x.again = run.first, true
			continue // cut; the batch is now smaller
		}
		x.again = false
		head, err := x.take(ctx, run, ack)
		if err != nil {
			return err
		}
		signed = max(signed, head.Seq)
		if drain = drain || head.Seq+1 < run.next(); len(x.out) == 0 || head.Seq >= next {
			next = head.Seq + 1 // what is behind a gap comes again
		}
		if len(x.out) == 0 && head.Seq < burst {
			if stalls++; stalls > maxStalls {
				return fault.New(fault.Conflict, fault.LaneGap, "headquarters holds lane %v up to %d and does not get past it", lane, head.Seq)
			}
		} else if head.Seq >= burst {
			stalls = 0
		}
		if x.opts.Progress != nil && end > start {
			x.opts.Progress(int(min(signed, end)-min(start, end)), int(end-start))
		}
	}
}

func (s *Store) laneEnd(ctx context.Context, epoch syncer.ID, to uint64) (uint64, error) {
	if to > 0 {
		return to, nil
	}
	head, err := laneHead(ctx, s.db, epoch)
	return head.Seq, err
}

// send makes one attempt to bring a run there. It returns nil without an error if it failed in a way that may pass.
func (x *session) send(ctx context.Context, r *outgoing) (*servicev1.BatchAck, error) {
	batch := x.batchOf(r)
	req := &servicev1.PushBatchRequest{Batch: batch}
	size := proto.Size(req)
	var resp *servicev1.PushBatchResponse
	began := x.opts.Now()
	err := x.attempt(ctx, "send records", size, func(ctx context.Context) (err error) {
		x.report.BytesUp += int64(size)
		failpoint.Hit("tablet.before-send")
		resp, err = x.client.PushBatch(ctx, req)
		failpoint.Hit("tablet.after-send")
		return err
	})
	switch {
	case err == nil:
		x.failures = 0
		x.report.Batches++
		x.report.BytesDown += int64(proto.Size(resp))
		if took := x.opts.Now().Sub(began); took < quick {
			x.batch = min(2*x.batch, x.opts.MaxBatchBytes, x.limits.Bytes)
		}
		return resp.GetAck(), x.require(resp)
	case x.unpacked(batch, err):
		return nil, nil
	case fault.KindOf(err) == fault.TooLarge:
		return nil, x.shrink(ctx, r, err)
	default:
		x.batch = max(x.batch/2, leastBatch)
		return nil, x.pause(ctx, err)
	}
}

// batchOf makes the batch of a run in the smallest form that the server reads.
func (x *session) batchOf(r *outgoing) *servicev1.Batch {
	if !x.opts.Compress || x.plain || x.packing == 0 {
		return syncer.NewBatch(x.s.key, r.lane, r.first, r.prev, r.digests, r.raws, x.opts.Compress)
	}
	return syncer.PackBatch(x.s.key, r.lane, r.first, r.prev, r.digests, r.raws, syncer.PackOptions{Dictionaries: x.dictionaries, KnownHead: !x.again})
}

// unpacked says whether a packed batch was refused for what may be the fault of packing: from then on batches go as
// they are, with what stands before them, so that a defect of a packer holds nothing up.
func (x *session) unpacked(b *servicev1.Batch, err error) bool {
	switch fault.ReasonOf(err) {
	case fault.BadChain, fault.BadSignature, fault.BadBatch, fault.BatchTooLarge:
		if len(b.GetPacked()) > 0 && !x.plain {
			x.plain = true
			return true
		}
	}
	return false
}

// shrink sends less after a batch that was too large. A record that is too large alone goes without its bytes, so that
// it does not block those behind it; it stays here.
func (x *session) shrink(ctx context.Context, r *outgoing, err error) error {
	x.batch = max(x.batch/2, leastBatch)
	if len(r.digests) > 1 {
		x.limits.Records = len(r.digests) / 2
		return nil
	}
	reason := fault.ReasonOf(err)
	size := reason == fault.BatchTooLarge || reason == fault.RecordTooLarge || strings.Contains(messageOf(err), "larger than max")
	if !size || r.raws[0] == nil {
		return err // a quota, or a server that takes nothing at all
	}
	x.note(r.first, r.subjects[0], fault.RecordTooLarge, messageOf(err))
	return x.s.withhold(ctx, x.s.db, r.lane.Epoch, r.first, fault.RecordTooLarge, messageOf(err))
}

func (x *session) require(resp *servicev1.PushBatchResponse) error {
	if resp.GetAck() == nil {
		return fault.New(fault.Invalid, fault.BadRequest, "the server answered a batch without saying what became of it")
	}
	return nil
}
