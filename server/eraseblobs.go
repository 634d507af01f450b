package server

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
)

// blobsOnlyOf are the attachments that revisions of an interview list and no other interview does: those in the log and in
// quarantine, and those that earlier erasures have named.
func (s *Server) blobsOnlyOf(ctx context.Context, at place) ([]*servicev1.BlobRef, error) {
	mine, others := map[syncer.BlobID]*servicev1.BlobRef{}, map[syncer.BlobID]bool{}
	take := func(r *servicev1.Record) {
		for _, ref := range r.GetBlobs() {
			id, _, err := syncer.ParseBlobRef(ref)
			switch {
			case err != nil:
			case r.GetSubject() == at.id:
				mine[id] = ref
			default:
				others[id] = true
			}
		}
	}
	for _, kind := range []servicev1.RecordKind{servicev1.RecordKind_RECORD_KIND_INTERVIEW, servicev1.RecordKind_RECORD_KIND_ERASURE} {
		revs, err := s.store.Revisions(ctx, at.part, kind, at.id)
		if err != nil {
			return nil, fmt.Errorf("read the revisions of interview %s: %w", at.id, err)
		}
		for _, st := range revs {
			if r, err := syncer.Open(st.Raw); err == nil {
				take(r)
			}
		}
	}
	for after, more := int64(0), true; more; {
		page, err := s.store.Quarantine(ctx, after, replayPage)
		if err != nil {
			return nil, err
		}
		for _, item := range page {
			after = item.GetId()
			_, raw, err := s.store.QuarantineItem(ctx, after)
			if err != nil {
				return nil, err
			}
			if r, err := syncer.Open(raw); err == nil {
				take(r)
			}
		}
		more = len(page) == replayPage
	}
	if len(mine) == 0 {
		return nil, nil
	}
	wanted, err := s.wantedBlobs(ctx, func(r *servicev1.Record) bool { return r.GetSubject() != at.id })
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(mine, func(id syncer.BlobID, _ *servicev1.BlobRef) bool {
		_, listed := wanted[id]
		return listed || others[id]
	})
	return slices.SortedFunc(maps.Values(mine), func(a, b *servicev1.BlobRef) int { return bytes.Compare(a.GetSha256(), b.GetSha256()) }), nil
}

// removeBlobs deletes attachments.
func (s *Server) removeBlobs(refs []*servicev1.BlobRef) error {
	if s.blobs == nil {
		return nil
	}
	for _, ref := range refs {
		if _, err := s.blobs.Remove(ref); err != nil {
			return err
		}
	}
	return nil
}
