package tablet

import (
	"context"
	"database/sql"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/failpoint"
	"github.com/hearth-survey/hearth/syncer/plant"
)

// outgoing is a run of the lane that is about to be sent.
type outgoing struct {
	lane     syncer.LaneID
	first    uint64
	prev     syncer.Chain
	digests  []syncer.Digest
	raws     [][]byte
	subjects []string

	batch  *servicev1.Batch // as it was sent over a stream, and when
	posted time.Time
}

func (r *outgoing) next() uint64 { return r.first + uint64(len(r.digests)) }

// load reads the entries from first on, as many as fit the batch. Each record is hashed anew: a damaged one is declared,
// so that the lane can go on. A lane whose own chain is damaged is as one that headquarters contradicts.
func (x *session) load(ctx context.Context, lane syncer.LaneID, first, end uint64) (*outgoing, error) {
	prev, ok, err := x.s.chainAt(ctx, lane.Epoch, first-1)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errFork
	}
	run := &outgoing{lane: lane, first: first, prev: prev}
	rows, err := x.s.entryRows(ctx, lane.Epoch, first, end, min(x.limits.Records, 1000))
	if err != nil {
		return nil, err
	}
	size, chain := 0, prev
	for _, row := range rows {
		if size += len(row.body); size > min(x.batch, x.limits.Bytes) && len(run.digests) > 0 {
			break
		}
		seq := run.next()
		chain = syncer.NextChain(chain, lane, seq, row.digest)
		if row.seq != seq || chain != row.chain {
			return nil, errFork
		}
		raw, reason, message := row.body, fault.Reason(""), ""
		switch {
		case row.withheld:
			raw = nil
		case raw == nil:
			reason, message = fault.RecordDamaged, "the record was pruned here under a receipt, and the server no longer holds it"
		case syncer.DigestOf(raw) != row.digest:
			raw, reason, message = nil, fault.RecordDamaged, "the record is damaged on the tablet"
		case len(raw) > x.limits.RecordBytes:
			raw, reason, message = nil, fault.RecordTooLarge, "the record is larger than the server takes"
		}
		if reason != "" {
			if err := x.s.withhold(ctx, x.s.db, lane.Epoch, seq, reason, message); err != nil {
				return nil, err
			}
			x.note(seq, row.subject, reason, message)
		}
		run.digests, run.raws, run.subjects = append(run.digests, row.digest), append(run.raws, raw), append(run.subjects, row.subject)
	}
	if len(run.digests) == 0 {
		return nil, errFork // the lane's own rows are gone
	}
	return run, nil
}

// note reports a record whose bytes are not sent.
func (x *session) note(seq uint64, subject string, reason fault.Reason, message string) {
	r := EntryReport{Seq: seq, Subject: subject, Reason: reason, Message: message}
	if reason == fault.RecordDamaged {
		x.report.Damaged = append(x.report.Damaged, r)
	} else {
		x.report.Refused = append(x.report.Refused, r)
	}
}

type entryRow struct {
	seq      uint64
	digest   syncer.Digest
	chain    syncer.Chain
	body     []byte
	subject  string
	withheld bool
}

func (s *Store) entryRows(ctx context.Context, epoch syncer.ID, first, end uint64, limit int) ([]entryRow, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT e.seq, e.digest, e.chain, rec.body, coalesce(rec.subject, ''),
			EXISTS (SELECT 1 FROM answer AS a WHERE a.epoch = e.epoch AND a.seq = e.seq AND a.outcome = 4)
		FROM lane_entry AS e LEFT JOIN record AS rec ON rec.digest = e.digest
		WHERE e.epoch = ? AND e.seq >= ? AND e.seq <= ? ORDER BY e.seq LIMIT ?`, epoch[:], int64(first), int64(end), limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []entryRow
	size := 0
	for rows.Next() && size <= mostBatch+syncer.MaxRecordBytes {
		var r entryRow
		var seq int64
		var digest, chain []byte
		if err := rows.Scan(&seq, &digest, &chain, &r.body, &r.subject, &r.withheld); err != nil {
			return nil, err
		}
		r.seq = uint64(seq)
		if r.digest, err = syncer.ParseDigest(digest); err != nil {
			return nil, err
		}
		if r.chain, err = syncer.ParseChain(chain); err != nil {
			return nil, err
		}
		size += len(r.body)
		all = append(all, r)
	}
	return all, rows.Err()
}

// withhold notes, before it is sent so, that an entry goes without its record's bytes: no receipt over it is a proof
// that headquarters has them.
func (s *Store) withhold(ctx context.Context, q querier, epoch syncer.ID, seq uint64, reason fault.Reason, message string) error {
	if plant.In(plant.WithheldCovered) {
		return nil
	}
	_, err := q.ExecContext(ctx, `INSERT INTO answer (epoch, seq, outcome, reason, message, time_ms) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT DO NOTHING`, epoch[:], int64(seq), int64(servicev1.EntryOutcome_ENTRY_OUTCOME_REFUSED), string(reason), message, s.now().UnixMilli())
	return err
}

// take keeps what an answer says, durably, and returns how far the server holds the lane.
func (x *session) take(ctx context.Context, run *outgoing, ack *servicev1.BatchAck) (syncer.Head, error) {
	results := make(map[uint64]*servicev1.EntryResult)
	for _, r := range ack.GetResults() {
		if r.GetSeq() >= run.first && r.GetSeq() < run.next() {
			results[r.GetSeq()] = r
		}
	}
	failpoint.Hit("tablet.before-ack")
	var head syncer.Head
	fork := ack.GetFork()
	err := inTx(ctx, x.s.db, func(tx *sql.Tx) error {
		for seq, r := range results {
			if r.GetOutcome() != servicev1.EntryOutcome_ENTRY_OUTCOME_QUARANTINED {
				continue
			}
			_, err := tx.ExecContext(ctx, `INSERT INTO answer (epoch, seq, outcome, reason, message, time_ms) VALUES (?, ?, ?, ?, ?, ?)
				ON CONFLICT DO NOTHING`, run.lane.Epoch[:], int64(seq), int64(r.GetOutcome()), r.GetReason(), r.GetMessage(), x.s.now().UnixMilli())
			if err != nil {
				return err
			}
		}
		if x.hub != nil {
			h, own, err := x.takeCustody(ctx, tx, run, ack)
			if head = h; !own {
				fork = true
			}
			return err
		}
		receipt, lane, h, err := x.proof(ack)
		if err != nil || receipt == nil {
			return err // without a receipt nothing of the lane is held without a gap
		}
		if lane != run.lane {
			return fault.New(fault.Invalid, fault.BadSignature, "the server gave a receipt for lane %v, asked about %v", lane, run.lane)
		}
		if h.Seq == 0 {
			return nil
		}
		own, err := x.s.keepReceipt(ctx, tx, receipt, h, lane.Epoch)
		if head = h; !own {
			fork = true
		}
		return err
	})
	if err != nil {
		return head, err
	}
	failpoint.Hit("tablet.after-ack")
	if err := x.tally(ctx, run, results); err != nil {
		return head, err
	}
	if fork && !plant.In(plant.SameEpoch) {
		return head, errFork
	}
	return head, nil
}

// keepReceipt stores a receipt if it is for this store's own branch: its chain hash is ours at that place.
func (s *Store) keepReceipt(ctx context.Context, tx *sql.Tx, r *servicev1.Receipt, h syncer.Head, epoch syncer.ID) (bool, error) {
	if h.Seq > 1<<62 {
		return false, nil
	}
	if own, err := isOwn(ctx, tx, epoch, h); err != nil || !own {
		return false, err
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO receipt (epoch, seq, chain, time_ms, keeper, signature) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		epoch[:], int64(h.Seq), h.Chain[:], r.GetTimeMs(), r.GetKeeper(), r.GetSignature())
	return true, err
}

// tally counts what became of the entries and withholds records whose bytes were refused too often.
func (x *session) tally(ctx context.Context, run *outgoing, results map[uint64]*servicev1.EntryResult) error {
	for i, subject := range run.subjects {
		seq := run.first + uint64(i)
		r := results[seq]
		report := EntryReport{Seq: seq, Subject: subject, Reason: fault.Reason(r.GetReason()), Message: r.GetMessage()}
		if r.GetOutcome() == servicev1.EntryOutcome_ENTRY_OUTCOME_REFUSED {
			x.refusals[seq]++
			if x.refusals[seq] >= maxRefusals || report.Reason == fault.RecordTooLarge {
				if err := x.s.withhold(ctx, x.s.db, run.lane.Epoch, seq, report.Reason, report.Message); err != nil {
					return err
				}
				x.report.Refused = append(x.report.Refused, report)
			}
			continue
		}
		if x.counted[seq] {
			continue
		}
		x.counted[seq] = true
		switch r.GetOutcome() {
		case servicev1.EntryOutcome_ENTRY_OUTCOME_DUPLICATE:
			x.report.Duplicates++
		case servicev1.EntryOutcome_ENTRY_OUTCOME_QUARANTINED:
			if run.raws[i] != nil {
				x.report.Sent++
				x.report.Quarantined = append(x.report.Quarantined, report)
			}
		default:
			x.report.Sent++
		}
	}
	return nil
}
