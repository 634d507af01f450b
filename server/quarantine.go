package server

import (
	"context"
	"fmt"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

const (
	// replayPage is how many items of the quarantine are listed at a time.
	replayPage = 500
	// maxRemaining is how many items that stay are named in an answer.
	maxRemaining = 1000
)

// ShowQuarantine returns one item with its bytes.
func (s *monitorService) ShowQuarantine(ctx context.Context, req *servicev1.ShowQuarantineRequest) (*servicev1.ShowQuarantineResponse, error) {
	item, raw, err := s.store.QuarantineItem(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	resp := &servicev1.ShowQuarantineResponse{Item: item, Raw: raw, Advice: proto.String(fault.Reason(item.GetReason()).Do())}
	if r, err := syncer.Open(raw); err == nil {
		r.Payload = nil
		r.ProtoReflect().SetUnknown(nil)
		resp.Envelope = r
	}
	return resp, nil
}

// ReplayQuarantine decides about items as if they arrived now.
func (s *monitorService) ReplayQuarantine(ctx context.Context, req *servicev1.ReplayQuarantineRequest) (*servicev1.ReplayQuarantineResponse, error) {
	if len(req.GetIds()) > 0 && req.GetReason() != "" {
		return nil, fault.New(fault.Invalid, fault.BadRequest, "name items or a reason, not both")
	}
	resp := &servicev1.ReplayQuarantineResponse{Tried: proto.Uint32(0), Released: proto.Uint32(0)}
	for _, id := range req.GetIds() {
		if err := s.replay(ctx, id, resp); err != nil {
			return nil, err
		}
	}
	for after := int64(0); len(req.GetIds()) == 0; {
		page, err := s.store.Quarantine(ctx, after, replayPage)
		if err != nil {
			return nil, err
		}
		for _, item := range page {
			after = item.GetId()
			if req.GetReason() != "" && item.GetReason() != req.GetReason() {
				continue
			}
			if err := s.replay(ctx, item.GetId(), resp); err != nil && fault.KindOf(err) != fault.NotFound {
				return nil, err
			}
		}
		if len(page) < replayPage {
			break
		}
	}
	return resp, s.Project(ctx)
}

// judge decides about one entry as if it arrived now.
func (s *Server) judge(ctx context.Context, e *syncer.Entry, lane syncer.LaneID) error {
	if e.Record == nil || e.Reason != "" {
		return nil
	}
	if err := s.gone.load(ctx, s.store); err != nil {
		return err
	}
	if err := s.closed.load(ctx, s.store); err != nil {
		return err
	}
	revoked, err := s.revokedReason(ctx, lane.Device)
	if err != nil {
		return err
	}
	if revoked != nil {
		e.Reason, e.Message = revoked.Reason, revoked.Message
		return nil
	}
	s.dispose(e, lane)
	return nil
}

// replay decides about one item and adds to the answer what became of it.
func (s *Server) replay(ctx context.Context, id int64, resp *servicev1.ReplayQuarantineResponse) error {
	item, raw, err := s.store.QuarantineItem(ctx, id)
	if err != nil {
		return err
	}
	*resp.Tried++
	if raw != nil {
		lane, err := syncer.ParseLane(item.GetLane())
		if err != nil {
			return fmt.Errorf("item %d of the quarantine: %w", id, err)
		}
		e := syncer.CheckEntry(lane, item.GetSeq(), syncer.Digest(item.GetDigest()), raw)
		if e.Refused {
			return fault.New(fault.Internal, fault.StoreDamaged, "item %d of the quarantine is no longer what arrived: %s", id, e.Message)
		}
		if err := s.judge(ctx, &e, lane); err != nil {
			return err
		}
		got, err := s.store.Replay(ctx, id, &e)
		if err != nil {
			return err
		}
		if got.GetOutcome() != servicev1.EntryOutcome_ENTRY_OUTCOME_QUARANTINED {
			*resp.Released++
			return nil
		}
		item.Reason, item.Message = got.Reason, got.Message
	}
	if len(resp.GetRemaining()) < maxRemaining {
		resp.Remaining = append(resp.Remaining, item)
	}
	return nil
}
