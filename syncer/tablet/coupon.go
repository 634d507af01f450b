package tablet

import (
	"context"
	"database/sql"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// CouponEvents are what happened to coupons on this tablet, in the order they were written.
func (s *Store) CouponEvents(ctx context.Context) ([]*servicev1.CouponEvent, error) {
	all, err := couponEvents(ctx, s.db)
	return all, dbFault(err, "read the coupons of %s", s.path)
}

func couponEvents(ctx context.Context, q querier) ([]*servicev1.CouponEvent, error) {
	rows, err := q.QueryContext(ctx, "SELECT body FROM record WHERE subject = ? AND kind = ? AND body IS NOT NULL ORDER BY n",
		syncer.CouponsSubject, int64(servicev1.RecordKind_RECORD_KIND_COUPON))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []*servicev1.CouponEvent
	for rows.Next() {
		var raw sql.RawBytes
		if err := rows.Scan(&raw); err != nil {
			return nil, err
		}
		r, err := syncer.Open(raw)
		ev := &servicev1.CouponEvent{}
		if err == nil {
			err = proto.Unmarshal(r.GetPayload(), ev)
		}
		if err != nil {
			return nil, fault.New(fault.Internal, fault.StoreDamaged, "an event of a coupon cannot be read: run hearth check on the file: %w", err)
		}
		all = append(all, ev)
	}
	return all, rows.Err()
}

// CouponNumber is the number under which this tablet gives out coupons, -1 as long as headquarters has given it none: it is
// asked for when the tablet enrols, and at each sync with headquarters itself until it is there. A store that finds that it
// has a copy has none again, so that the two never give out the same code from then on; a copy has none either, as it is
// another file.
func (s *Store) CouponNumber(ctx context.Context) (int, error) {
	n, err := s.couponNumber(ctx, s.db)
	return n, dbFault(err, "read the number for coupons of %s", s.path)
}

func (s *Store) couponNumber(ctx context.Context, q querier) (int, error) {
	rows, err := q.QueryContext(ctx, "SELECT c.number FROM coupon_number AS c JOIN meta AS m ON m.epoch = c.epoch WHERE c.file = ?", fileOf(s.path))
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	n := -1
	for rows.Next() {
		if err := rows.Scan(&n); err != nil {
			return 0, err
		}
	}
	return n, rows.Err()
}

// fileOf is the mark of a file as it is kept; empty where there is none.
func fileOf(path string) []byte { return append([]byte{}, fileMark(path)...) }

// askCouponNumber adds to a Hello that the lane written to has no number yet.
func (s *Store) askCouponNumber(ctx context.Context, req *servicev1.HelloRequest) error {
	n, err := s.couponNumber(ctx, s.db)
	if err != nil || n >= 0 {
		return err
	}
	epoch, err := currentEpoch(ctx, s.db)
	req.CouponEpoch, req.CouponFile = epoch[:], fileMark(s.path)
	return err
}

// keepCouponNumber keeps what was answered. The first word stands.
func (s *Store) keepCouponNumber(ctx context.Context, q interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}, epoch []byte, number *uint32) error {
	if number == nil || len(epoch) == 0 {
		return nil
	}
	_, err := q.ExecContext(ctx, "INSERT INTO coupon_number (epoch, file, number) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", epoch, fileOf(s.path), int64(*number))
	return err
}

// ChangeCoupons records the events that decide returns for what happened before and the number for coupons, -1 if there is
// none; all or none of them. Nobody else writes meanwhile, so that two who give out coupons at once never give out the same.
// The time is filled in.
func (s *Store) ChangeCoupons(ctx context.Context, decide func(before []*servicev1.CouponEvent, number int) ([]*servicev1.CouponEvent, error)) error {
	err := inTx(ctx, s.db, func(tx *sql.Tx) error {
		before, err := couponEvents(ctx, tx)
		if err != nil {
			return err
		}
		number, err := s.couponNumber(ctx, tx)
		if err != nil {
			return err
		}
		events, err := decide(before, number)
		if err != nil {
			return err
		}
		for _, ev := range events {
			if err := s.writeCoupon(ctx, tx, ev); err != nil {
				return err
			}
		}
		return nil
	})
	return dbFault(err, "record coupons in %s", s.path)
}

func (s *Store) writeCoupon(ctx context.Context, tx *sql.Tx, ev *servicev1.CouponEvent) error {
	now := s.now()
	ev.TimeMs = proto.Int64(now.UnixMilli())
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(ev)
	if err != nil {
		return fault.New(fault.Invalid, fault.BadRequest, "write the coupon %.60q: %w", ev.GetCode(), err)
	}
	id, err := s.newID(now.UnixMilli())
	if err != nil {
		return err
	}
	r := &servicev1.Record{
		Id: id[:], Kind: servicev1.RecordKind_RECORD_KIND_COUPON.Enum(), Subject: proto.String(syncer.CouponsSubject), Study: &s.study,
		Part: proto.Uint64(syncer.Part(s.study, "")), Author: &s.enumerator, Device: s.device[:], WallTimeMs: proto.Int64(now.UnixMilli()),
		BootId: s.boot[:], MonotonicMs: proto.Int64(now.Sub(s.opened).Milliseconds()), Payload: payload,
	}
	raw, digest, err := syncer.Seal(r)
	if err != nil {
		return err
	}
	if err := insertRecord(ctx, tx, r, raw, digest, 0, digest[:]); err != nil {
		return err
	}
	return s.list(ctx, tx, digest)
}
