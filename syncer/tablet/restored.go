package tablet

import (
	"context"
	"database/sql"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/plant"
	"google.golang.org/protobuf/proto"
)

// restored is what a session does where headquarters' log has another epoch than when it signed for this store's records:
// it was restored from a backup, and may lack what it signed for. The lanes need not show that: a copy of this store may
// have filled the same lane since, and declared records damaged that are whole here. So headquarters is asked about every
// record under a receipt whose bytes are here, and what it wants is listed once more. Only when that has been answered
// is the new epoch written down: a sync that is cut before begins with it again.
func (x *session) restored(ctx context.Context, lane syncer.ID) error {
	if x.newServerEpoch == nil {
		return nil
	}
	wanted := 0
	for after := int64(0); !plant.In(plant.OfferSkipped); {
		n, last, err := x.offerCovered(ctx, after)
		if err != nil {
			return err
		}
		wanted += n
		if last == after {
			break
		}
		after = last
	}
	if wanted > 0 {
		if err := x.s.relist(ctx, lane, x.limits.RecordBytes); err != nil {
			return err
		}
		signed, err := x.s.receipted(ctx, lane)
		if err != nil {
			return err
		}
		if err := x.pushLane(ctx, lane, syncer.Head{Seq: signed}, 0); err != nil {
			return err
		}
	}
	_, err := x.s.db.ExecContext(ctx, "UPDATE meta SET server_epoch = ?", x.newServerEpoch)
	if err == nil {
		x.newServerEpoch = nil
	}
	return err
}

// offerCovered asks about one page of the records under receipts, and notes of those that are wanted that no receipt up to
// now proves anything. It returns how many, and the last record it asked about.
func (x *session) offerCovered(ctx context.Context, after int64) (wanted int, last int64, err error) {
	req, last, err := x.s.covered(ctx, after)
	if err != nil || len(req.GetRecords()) == 0 {
		return 0, after, err
	}
	var resp *servicev1.OfferResponse
	err = x.call(ctx, "offer records", proto.Size(req), func(ctx context.Context) (err error) {
		x.report.BytesUp += int64(proto.Size(req))
		resp, err = x.client.Offer(ctx, req)
		return err
	})
	if err != nil {
		return 0, after, err
	}
	x.report.BytesDown += int64(proto.Size(resp))
	err = inTx(ctx, x.s.db, func(tx *sql.Tx) error {
		for _, i := range resp.GetWanted() {
			if int(i) >= len(req.GetRecords()) {
				return fault.New(fault.Invalid, fault.BadRequest, "the server wants record %d of an offer of %d", i, len(req.GetRecords()))
			}
			if plant.In(plant.WithheldCovered) {
				continue
			}
			_, err := tx.ExecContext(ctx, `INSERT INTO answer (epoch, seq, outcome, reason, message, time_ms)
				SELECT e.epoch, e.seq, ?, ?, ?, ? FROM lane_entry AS e
				WHERE e.digest = ? AND e.seq <= (SELECT max(r.seq) FROM receipt AS r WHERE r.epoch = e.epoch) ON CONFLICT DO NOTHING`,
				int64(servicev1.EntryOutcome_ENTRY_OUTCOME_REFUSED), string(fault.RecordDamaged), "headquarters was restored from a backup and no longer has the record's bytes",
				x.s.now().UnixMilli(), req.GetRecords()[i].GetDigest())
			if err != nil {
				return err
			}
		}
		return nil
	})
	return len(resp.GetWanted()), last, err
}

// covered names the records behind one, by number, that are under a receipt and whose bytes are here.
func (s *Store) covered(ctx context.Context, after int64) (*servicev1.OfferRequest, int64, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT n, part, id, digest FROM record AS rec
		WHERE n > ? AND body IS NOT NULL AND `+coveredSQL+` ORDER BY n LIMIT ?`, after, offerSize)
	if err != nil {
		return nil, after, err
	}
	defer rows.Close()
	req := &servicev1.OfferRequest{}
	for rows.Next() {
		var part int64
		r := &servicev1.RecordRef{}
		if err := rows.Scan(&after, &part, &r.Id, &r.Digest); err != nil {
			return nil, after, err
		}
		r.Part = proto.Uint64(uint64(part))
		req.Records = append(req.Records, r)
	}
	return req, after, rows.Err()
}
