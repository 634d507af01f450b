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

// ChangeCoupons records the events that decide returns for what happened before, all or none; nobody else writes meanwhile,
// so that two who give out coupons at once never give out the same. The time is filled in.
func (s *Store) ChangeCoupons(ctx context.Context, decide func(before []*servicev1.CouponEvent) ([]*servicev1.CouponEvent, error)) error {
	err := inTx(ctx, s.db, func(tx *sql.Tx) error {
		before, err := couponEvents(ctx, tx)
		if err != nil {
			return err
		}
		events, err := decide(before)
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
