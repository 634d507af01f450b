package tablet

import (
	"context"
	"crypto/ed25519"
	"database/sql"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/failpoint"
	"github.com/hearth-survey/hearth/syncer/plant"
	"google.golang.org/protobuf/proto"
)

// attachmentsHereSQL is true of a record (alias rec) that lists an attachment whose bytes are here. Headquarters asks for an
// attachment by the record that lists it: had the record gone first, a headquarters restored from a backup older than both
// could be given neither.
const attachmentsHereSQL = `EXISTS (SELECT 1 FROM blob_use AS u JOIN blob AS b ON b.sha256 = u.sha256 WHERE u.digest = rec.digest
	AND NOT EXISTS (SELECT 1 FROM blob_piece AS p WHERE p.sha256 = u.sha256 AND p.bytes IS NULL))`

// Prune drops the bytes of attachments of which headquarters has said, after its receipts for all records that list them,
// that it has them whole, and then those of records that headquarters has signed for, that were written more than keepDays
// ago, and whose attachments are gone from here; it returns how many records. What is needed to know them again stays, and so
// does what happened to coupons. Each receipt's signature and chain hash is verified anew; one that fails stops the
// pruning with fault.StoreDamaged before anything is dropped.
func (s *Store) Prune(ctx context.Context, keepDays int) (int, error) {
	var pruned int64
	err := inTx(ctx, s.db, func(tx *sql.Tx) error {
		if err := s.verifyReceipts(ctx, tx); err != nil {
			return err
		}
		before := s.now().AddDate(0, 0, -keepDays).UnixMilli()
		if err := pruneBlobs(ctx, tx, before); err != nil {
			return err
		}
		failpoint.Hit("tablet.in-prune")
		due := "rec.body IS NOT NULL AND rec.kind != ? AND rec.written_ms <= ? AND " + coveredSQL
		if !plant.In(plant.PrunedAhead) {
			due += " AND NOT " + attachmentsHereSQL
		}
		res, err := tx.ExecContext(ctx, "UPDATE record AS rec SET body = NULL WHERE "+due, int64(servicev1.RecordKind_RECORD_KIND_COUPON), before)
		if err != nil {
			return err
		}
		pruned, err = res.RowsAffected()
		return err
	})
	failpoint.Hit("tablet.after-prune")
	return int(pruned), dbFault(err, "prune %s", s.path)
}

func (s *Store) verifyReceipts(ctx context.Context, tx *sql.Tx) error {
	var server []byte
	if err := tx.QueryRowContext(ctx, "SELECT server_key FROM meta").Scan(&server); err != nil {
		return err
	}
	rows, err := tx.QueryContext(ctx, `SELECT r.epoch, r.seq, r.chain, r.time_ms, r.keeper, r.signature, e.chain FROM receipt AS r
		LEFT JOIN lane_entry AS e ON e.epoch = r.epoch AND e.seq = r.seq
		WHERE r.seq = (SELECT max(seq) FROM receipt WHERE epoch = r.epoch)`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var epoch, chain, keeper, signature, own []byte
		var seq, ms int64
		if err := rows.Scan(&epoch, &seq, &chain, &ms, &keeper, &signature, &own); err != nil {
			return err
		}
		_, head, err := syncer.VerifyReceipt(&servicev1.Receipt{
			Lane: &servicev1.LaneId{Device: s.device[:], Epoch: epoch}, Seq: proto.Uint64(uint64(seq)), Chain: chain,
			TimeMs: proto.Int64(ms), Keeper: keeper, Signature: signature,
		}, ed25519.PublicKey(server))
		if (err != nil || string(head.Chain[:]) != string(own)) && !plant.In(plant.HubReceiptPrunes) {
			return fault.New(fault.Internal, fault.StoreDamaged, "the receipt over %d entries of lane %x does not verify, so nothing is pruned", seq, epoch[:4])
		}
	}
	return rows.Err()
}
