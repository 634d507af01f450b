package server

import (
	"context"
	"fmt"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// CheckErasures adds to the report the erasures that were decided and cut short: revisions that an erasure lists and that
// still say something.
func (s *Server) CheckErasures(ctx context.Context, report *store.Report) error {
	all, err := s.store.Withdrawn(ctx)
	if err != nil {
		return err
	}
	for _, w := range all {
		at := place{w.Part, w.InterviewID}
		decided, err := s.store.Revisions(ctx, at.part, servicev1.RecordKind_RECORD_KIND_ERASURE, at.id)
		if err != nil || len(decided) == 0 {
			if err != nil {
				return err
			}
			continue
		}
		listed := map[string]bool{}
		for _, st := range decided {
			stone := &servicev1.Tombstone{}
			if r, err := syncer.Open(st.Raw); err == nil && proto.Unmarshal(r.GetPayload(), stone) == nil {
				for _, d := range stone.GetErased() {
					listed[string(d)] = true
				}
			}
		}
		revs, err := s.store.Revisions(ctx, at.part, servicev1.RecordKind_RECORD_KIND_INTERVIEW, at.id)
		if err != nil {
			return err
		}
		said, err := s.store.Revisions(ctx, at.part, servicev1.RecordKind_RECORD_KIND_REVIEW, at.id)
		if err != nil {
			return err
		}
		trails, err := s.store.Revisions(ctx, at.part, servicev1.RecordKind_RECORD_KIND_PARADATA, at.id)
		if err != nil {
			return err
		}
		left := 0
		for _, st := range append(append(revs, said...), trails...) {
			if r, err := syncer.Open(st.Raw); err == nil && len(r.GetPayload()) > 0 && listed[string(st.Digest[:])] {
				left++
			}
		}
		if left > 0 {
			f := fault.NewFinding(fault.SeverityError, fault.ErasureUnfinished, "interview "+at.id,
				fmt.Sprintf("its erasure was decided and cut short: %d revisions are still here", left))
			f.Do = "finish it with `hearth review erase " + at.id + " --yes`"
			report.Findings = append(report.Findings, f)
		}
	}
	return nil
}
