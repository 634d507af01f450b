package server

import (
	"bytes"
	"context"
	"encoding/binary"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/server/referral"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// couponPage is how many numbers for coupons are read at once.
const couponPage = 1000

// maxFileMark bounds what tells the file of a tablet's store from others.
const maxFileMark = 32

// couponNumber is the number under which coupons are given out on a lane of a study from one file, the same whenever it is
// asked for: no other has it, and none under which coupons were given out before is given. A tablet that was restored or
// copied is another file, and has a new lane later, and so another number: it cannot repeat the codes of its other self. Nil
// where the epoch of no lane was sent, where there is no study, or no number left.
func (s *Server) couponNumber(ctx context.Context, study string, device syncer.ID, epoch, file []byte) (*uint32, error) {
	if len(epoch) == 0 {
		return nil, nil
	}
	id, err := syncer.ParseID(epoch)
	if err != nil {
		return nil, fault.New(fault.Invalid, fault.BadRequest, "epoch of the lane for coupons: %w", err)
	}
	if study == "" || s.hub != nil {
		return nil, nil
	}
	if len(file) > maxFileMark {
		return nil, fault.New(fault.Invalid, fault.BadRequest, "what tells a tablet's file from others has %d bytes, the limit is %d", len(file), maxFileMark)
	}
	owner := append(store.LaneKey(syncer.LaneID{Device: device, Epoch: id}), file...)
	own := append(append([]byte(study), 0), owner...)
	known, err := s.store.Get(ctx, store.ShelfCouponLanes, own)
	if err != nil {
		return nil, err
	}
	if len(known) == 8 {
		return proto.Uint32(uint32(binary.BigEndian.Uint64(known))), nil
	}
	next, err := s.freeCouponNumber(ctx, study)
	if err != nil {
		return nil, err
	}
	for ; next <= int64(referral.MaxCouponDevice); next++ {
		held, err := s.store.Claim(ctx, store.Item{Space: store.ShelfCoupons, Key: store.CouponKey(study, next), Value: owner})
		if err != nil {
			return nil, err
		}
		if bytes.Equal(held, owner) {
			return proto.Uint32(uint32(next)), s.store.Put(ctx, store.Item{Space: store.ShelfCouponLanes, Key: own, Value: store.NumberKey(next)})
		}
	}
	s.log.Error("no number for coupons is left: tablets enrolled from now on give out none", "study", study)
	return nil, nil
}

// freeCouponNumber is the first number behind all that were given to lanes or have come in coupons that were given out.
func (s *Server) freeCouponNumber(ctx context.Context, study string) (int64, error) {
	next := int64(0)
	events, err := s.couponEvents(ctx, study, nil)
	if err != nil {
		return 0, err
	}
	for _, ev := range events {
		if c, err := referral.ParseCoupon(ev.GetCode()); err == nil {
			next = max(next, int64(c.Device)+1)
		}
	}
	first := append([]byte(study), 0)
	for after := first; ; {
		page, err := s.store.List(ctx, store.ShelfCoupons, after, couponPage)
		if err != nil {
			return 0, err
		}
		for _, it := range page {
			n, ok := bytes.CutPrefix(it.Key, first)
			if !ok || len(n) != 8 {
				return next, nil
			}
			next = max(next, int64(binary.BigEndian.Uint64(n))+1)
			after = it.Key
		}
		if len(page) < couponPage {
			return next, nil
		}
	}
}
