package server

import (
	"context"
	"fmt"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// usableCoupon says whether a record of a coupon's event can be used. Codes of any scheme can: it is the graph that says
// which ones nobody gave out.
func usableCoupon(r *servicev1.Record) *fault.Error {
	ev := &servicev1.CouponEvent{}
	if err := proto.Unmarshal(r.GetPayload(), ev); err != nil {
		return fault.New(fault.Invalid, fault.PayloadUnreadable, "the payload is not an event of a coupon: %w", err)
	}
	if r.GetSubject() != syncer.CouponsSubject || r.GetPart() != syncer.Part(r.GetStudy(), "") || ev.GetCode() == "" {
		return fault.New(fault.Invalid, fault.PayloadUnreadable, "the event names no coupon, or does not stand with the coupons of its study")
	}
	return nil
}

// couponEvents are what happened to the coupons of a study by the cursor, or until now.
func (s *Server) couponEvents(ctx context.Context, study string, until *syncer.Cursor) ([]*servicev1.CouponEvent, error) {
	part := syncer.Part(study, "")
	all, err := s.store.Revisions(ctx, part, servicev1.RecordKind_RECORD_KIND_COUPON, syncer.CouponsSubject)
	if err != nil {
		return nil, fmt.Errorf("read what happened to coupons: %w", err)
	}
	out := make([]*servicev1.CouponEvent, 0, len(all))
	for _, st := range all {
		if until != nil && st.Counter > until.Parts[part] {
			continue
		}
		ev := &servicev1.CouponEvent{}
		if r, err := syncer.Open(st.Raw); err == nil && r.GetStudy() == study && proto.Unmarshal(r.GetPayload(), ev) == nil {
			out = append(out, ev)
		}
	}
	return out, nil
}
