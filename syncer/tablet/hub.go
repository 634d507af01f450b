package tablet

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"database/sql"
	"errors"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/plant"
	"google.golang.org/protobuf/proto"
)

// hub is the hub that a session talks to.
type hub struct {
	name string
	key  ed25519.PublicKey
	// handed is what it brought of headquarters: receipts and what became of entries. It is nil once it was taken.
	handed *servicev1.HelloResponse
}

// meetHub notes that the server is a hub, if it is one, and of this tablet's own headquarters.
func (x *session) meetHub(resp *servicev1.HelloResponse) error {
	x.hub = nil
	c := resp.GetHub()
	if c == nil {
		return nil
	}
	key, err := syncer.VerifyHubCertificate(c, resp.GetServerKey())
	if err != nil {
		return err
	}
	x.hub = &hub{name: c.GetName(), key: key, handed: resp}
	x.report.Hub, x.report.HubAlone = c.GetName(), time.Duration(max(0, resp.GetHeadquartersAgeMs()))*time.Millisecond
	return nil
}

// proof is the receipt in an answer under which this store may prune, verified; nil if there is none. Only headquarters
// gives one: what a hub signs is custody, a promise that can burn with the hub.
func (x *session) proof(ack *servicev1.BatchAck) (*servicev1.Receipt, syncer.LaneID, syncer.Head, error) {
	r := ack.GetReceipt()
	if r == nil || x.hub != nil {
		return nil, syncer.LaneID{}, syncer.Head{}, nil
	}
	lane, head, err := syncer.VerifyReceipt(r, x.server)
	return r, lane, head, err
}

// takeCustody keeps what a hub has promised of a lane, and returns how far. It says false where the hub's lane is another
// branch than this store's.
func (x *session) takeCustody(ctx context.Context, tx *sql.Tx, run *outgoing, ack *servicev1.BatchAck) (syncer.Head, bool, error) {
	c := ack.GetCustody()
	if c == nil {
		return syncer.Head{}, true, nil // nothing of the lane is held without a gap
	}
	lane, head, err := syncer.VerifyCustody(c, x.hub.key)
	if err != nil {
		return head, true, err
	}
	if lane != run.lane {
		return head, true, fault.New(fault.Invalid, fault.BadSignature, "the hub took custody of lane %v, asked about %v", lane, run.lane)
	}
	if head.Seq == 0 || head.Seq > 1<<62 {
		return syncer.Head{}, head.Seq == 0, nil
	}
	own, err := isOwn(ctx, tx, lane.Epoch, head)
	if err != nil || !own {
		return head, own, err
	}
	_, err = tx.ExecContext(ctx, `INSERT OR REPLACE INTO custody (epoch, hub_key, hub, seq, chain, time_ms, signature) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		lane.Epoch[:], []byte(x.hub.key), x.hub.name, int64(head.Seq), head.Chain[:], c.GetTimeMs(), c.GetSignature())
	if err == nil && plant.In(plant.HubReceiptPrunes) {
		r := &servicev1.Receipt{TimeMs: c.TimeMs, Keeper: x.hub.key, Signature: c.GetSignature()}
		_, err = x.s.keepReceipt(ctx, tx, r, head, lane.Epoch)
	}
	return head, true, err
}

// isOwn says whether a head lies on this store's branch of its lane.
func isOwn(ctx context.Context, q querier, epoch syncer.ID, h syncer.Head) (bool, error) {
	var own []byte
	err := q.QueryRowContext(ctx, "SELECT chain FROM lane_entry WHERE epoch = ? AND seq = ?", epoch[:], int64(h.Seq)).Scan(&own)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil && (bytes.Equal(own, h.Chain[:]) || plant.In(plant.ReceiptByNumber)), err
}

// inCustody is how far the hub that is spoken to has promised to forward a lane of this store, as this store sent it.
func (x *session) inCustody(ctx context.Context, epoch syncer.ID) (uint64, error) {
	if x.hub == nil {
		return 0, nil
	}
	var seq sql.NullInt64
	err := x.s.db.QueryRowContext(ctx, "SELECT max(seq) FROM custody WHERE epoch = ? AND hub_key = ?", epoch[:], []byte(x.hub.key)).Scan(&seq)
	return uint64(seq.Int64), err
}

// receiptsBeyond are headquarters' receipts over lanes that a hub holds less far: it need not be sent what they cover.
func (s *Store) receiptsBeyond(ctx context.Context, lanes []*servicev1.LaneHead, held map[syncer.ID]syncer.Head) ([]*servicev1.Receipt, error) {
	var out []*servicev1.Receipt
	for _, l := range lanes {
		epoch := l.GetLane().GetEpoch()
		r := &servicev1.Receipt{Lane: l.GetLane()}
		var seq, ms int64
		err := s.db.QueryRowContext(ctx, `SELECT seq, chain, time_ms, keeper, signature FROM receipt WHERE epoch = ? ORDER BY seq DESC, n DESC LIMIT 1`, epoch).
			Scan(&seq, &r.Chain, &ms, &r.Keeper, &r.Signature)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			continue
		case err != nil:
			return nil, err
		}
		r.Seq, r.TimeMs = proto.Uint64(uint64(seq)), proto.Int64(ms)
		if id, err := syncer.ParseID(epoch); err == nil && held[id].Seq < uint64(seq) {
			out = append(out, r)
		}
	}
	return out, nil
}

// takeHanded keeps what headquarters says through a hub. Before a receipt is kept the hub is asked whether it misses any
// of the records between: a copy of this store may have sent the place without the bytes. The hub hands down no receipt
// over what headquarters has not got from it. A receipt over the current lane that is not on this store's branch of it says
// that headquarters holds another one: errFork.
func (x *session) takeHanded(ctx context.Context) error {
	if x.hub == nil || x.hub.handed == nil {
		return nil
	}
	current, err := currentEpoch(ctx, x.s.db)
	if err != nil {
		return err
	}
	forked := false
	for _, r := range x.hub.handed.GetReceipts() {
		lane, head, err := syncer.VerifyReceipt(r, x.server)
		if err != nil {
			return err
		}
		if lane.Device != x.s.device || head.Seq == 0 || head.Seq > 1<<62 {
			continue
		}
		if own, err := isOwn(ctx, x.s.db, lane.Epoch, head); err != nil || !own {
			if err != nil {
				return err
			}
			forked = forked || lane.Epoch == current && !plant.In(plant.SameEpoch)
			continue
		}
		signed, err := x.s.receipted(ctx, lane.Epoch)
		if err != nil {
			return err
		}
		if head.Seq <= signed {
			continue
		}
		if err := x.offerBetween(ctx, lane.Epoch, signed, head.Seq); err != nil {
			return err
		}
		err = inTx(ctx, x.s.db, func(tx *sql.Tx) error {
			if err := x.takeResults(ctx, tx, lane); err != nil {
				return err
			}
			_, err := x.s.keepReceipt(ctx, tx, r, head, lane.Epoch)
			return err
		})
		if err != nil {
			return err
		}
		x.report.HandedDown++
	}
	x.hub.handed = nil
	if forked {
		x.closePipe() // what went early in that lane comes again in the next
		return errFork
	}
	return nil
}

// takeResults keeps what headquarters said of single entries of a lane.
func (x *session) takeResults(ctx context.Context, tx *sql.Tx, lane syncer.LaneID) error {
	for _, l := range x.hub.handed.GetResults() {
		if of, err := syncer.ParseLane(l.GetLane()); err != nil || of != lane {
			continue
		}
		for _, e := range l.GetResults() {
			if e.GetOutcome() != servicev1.EntryOutcome_ENTRY_OUTCOME_QUARANTINED || e.GetSeq() > 1<<62 {
				continue
			}
			res, err := tx.ExecContext(ctx, `INSERT INTO answer (epoch, seq, outcome, reason, message, time_ms) VALUES (?, ?, ?, ?, ?, ?)
				ON CONFLICT DO NOTHING`, lane.Epoch[:], int64(e.GetSeq()), int64(e.GetOutcome()), e.GetReason(), e.GetMessage(), x.s.now().UnixMilli())
			if err != nil {
				return err
			}
			n, err := res.RowsAffected()
			if err != nil {
				return err
			}
			if n == 0 {
				continue
			}
			var subject string
			err = tx.QueryRowContext(ctx, `SELECT coalesce(max(rec.subject), '') FROM lane_entry AS e JOIN record AS rec ON rec.digest = e.digest
				WHERE e.epoch = ? AND e.seq = ?`, lane.Epoch[:], int64(e.GetSeq())).Scan(&subject)
			if err != nil {
				return err
			}
			x.report.Quarantined = append(x.report.Quarantined, EntryReport{Seq: e.GetSeq(), Subject: subject, Reason: fault.Reason(e.GetReason()), Message: e.GetMessage()})
		}
	}
	return nil
}

// custodySQL is true of a record (alias rec) that the hub with a key has promised to forward.
const custodySQL = `EXISTS (SELECT 1 FROM lane_entry AS e JOIN custody AS c ON c.epoch = e.epoch AND e.seq <= c.seq
	WHERE e.digest = rec.digest AND c.hub_key = ?)`

// hubKey is the key of the hub that is spoken to; of headquarters nil, which no custody has.
func (x *session) hubKey() []byte {
	if x.hub == nil {
		return nil
	}
	return x.hub.key
}

// hubWord keeps headquarters' signed word about an attachment that a hub hands down, if it is of the epoch of
// headquarters that this tablet knows. The hub's own word is none.
func (x *session) hubWord(ctx context.Context, b *blob, st *servicev1.BlobState) error {
	epoch, err := syncer.ParseID(st.GetServerEpoch())
	if plant.In(plant.HubWordBelieved) {
		return x.s.keepWord(ctx, b.id)
	}
	if err != nil || syncer.VerifyBlob(x.server, b.id, b.ref.GetSize(), epoch, st.GetSignature()) != nil {
		return nil // headquarters has not said it yet
	}
	var known []byte
	if err := x.s.db.QueryRowContext(ctx, "SELECT server_epoch FROM meta").Scan(&known); err != nil {
		return err
	}
	if !bytes.Equal(known, epoch[:]) {
		return nil
	}
	return x.s.keepWord(ctx, b.id)
}
