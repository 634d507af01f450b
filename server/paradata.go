package server

import (
	"context"
	"fmt"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/proto/paradata"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// usableParadata decides whether a record of paradata can be used: it must be about an interview that is not withdrawn, and
// be readable. The interview itself may come later.
func (s *Server) usableParadata(r *servicev1.Record) *fault.Error {
	if len(s.gone.in(r.GetSubject())) > 0 {
		return fault.New(fault.Conflict, fault.InterviewWithdrawn, "the interview was withdrawn at headquarters")
	}
	p := &servicev1.Paradata{}
	if err := proto.Unmarshal(r.GetPayload(), p); err != nil {
		return fault.New(fault.Invalid, fault.PayloadUnreadable, "the payload is no paradata: %w", err)
	}
	if p.GetInterviewId() != r.GetSubject() {
		return fault.New(fault.Invalid, fault.PayloadUnreadable, "the paradata inside are not of the interview that the record is about")
	}
	if _, err := paradata.Decode(p); err != nil {
		return fault.New(fault.Invalid, fault.PayloadUnreadable, "%w", err)
	}
	return nil
}

// GetParadata returns what has come about an interview.
func (s *monitorService) GetParadata(ctx context.Context, req *servicev1.GetParadataRequest) (*servicev1.GetParadataResponse, error) {
	if err := s.Project(ctx); err != nil {
		return nil, err
	}
	iv, err := s.store.Interview(ctx, req.GetInterviewId())
	if err != nil {
		return nil, err
	}
	all, err := paradataOf(ctx, s.store, iv.GetSummary().GetPart(), req.GetInterviewId())
	if err != nil {
		return nil, err
	}
	return &servicev1.GetParadataResponse{Paradata: all}, nil
}

// paradataOf reads what a log has about an interview.
func paradataOf(ctx context.Context, log store.Log, part uint64, interviewID string) ([]*servicev1.Paradata, error) {
	all, err := log.Revisions(ctx, part, servicev1.RecordKind_RECORD_KIND_PARADATA, interviewID)
	if err != nil {
		return nil, fmt.Errorf("read the paradata of interview %s: %w", interviewID, err)
	}
	var out []*servicev1.Paradata
	for _, st := range all {
		p := &servicev1.Paradata{}
		if r, err := syncer.Open(st.Raw); err == nil && len(r.GetPayload()) > 0 && proto.Unmarshal(r.GetPayload(), p) == nil {
			out = append(out, p)
		}
	}
	return out, nil
}
