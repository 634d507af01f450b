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

// Prune drops the bytes of records that headquarters has signed for and that were written more than keepDays ago, and
// returns how many, and with them the bytes of attachments of which headquarters has said, after its receipts for all
// records that list them, that it has them whole. What is needed to know them again stays, and so does what
// happened to coupons. Each receipt's signature and chain hash is verified anew;
// one that fails stops the pruning with fault.StoreDamaged before anything is dropped.
func (s *Store) Prune(ctx context.Context, keepDays int) (int, error) {
	var pruned int64
	err := inTx(ctx, s.db, func(tx *sql.Tx) error {
		if err := s.verifyReceipts(ctx, tx); err != nil {
			return err
		}
		before := s.now().AddDate(0, 0, -keepDays).UnixMilli()
		res, err := tx.ExecContext(ctx, `UPDATE record AS rec SET body = NULL
			WHERE rec.body IS NOT NULL AND rec.kind != ? AND rec.written_ms <= ? AND `+coveredSQL, int64(servicev1.RecordKind_RECORD_KIND_COUPON), before)
		if err != nil {
			return err
		}
		if pruned, err = res.RowsAffected(); err != nil {
			return err
		}
		failpoint.Hit("tablet.in-prune")
		return pruneBlobs(ctx, tx, before)
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
