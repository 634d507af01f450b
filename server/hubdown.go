package server

import (
	"bytes"
	"context"
	"slices"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// scopeAtHub says in the answer to a Hello what headquarters has said of the tablet's buckets, as far as this hub has heard.
// A tablet that was not here before is noted, so that the relay asks about it.
func (s *Server) scopeAtHub(ctx context.Context, device syncer.ID, req *servicev1.HelloRequest, resp *servicev1.HelloResponse) error {
	scope := &servicev1.HubScope{}
	known, err := store.GetMessage(ctx, s.store, store.ShelfHubScope, device[:], scope)
	if err != nil {
		return err
	}
	if !known || scope.GetStudy() == "" && req.GetStudy() != "" {
		s.hub.Kick()
		return store.PutMessage(ctx, s.store, store.ShelfHubScope, device[:], &servicev1.HubScope{Study: req.Study})
	}
	if len(scope.GetBuckets()) == 0 || req.DownSum == nil {
		return nil // headquarters has not been asked yet, or the tablet knows no buckets
	}
	sum := syncer.DownSum(scope.GetBuckets())
	if resp.DownSum = proto.Uint64(sum); sum != req.GetDownSum() {
		resp.Buckets = scope.GetBuckets()
	}
	return nil
}

// pullBucketsAtHub answers from the mirror, under headquarters' cursors and sums. Where the tablet has heard more than the
// hub, the bucket says that there is nothing newer here, and the others are answered all the same.
func (s *Server) pullBucketsAtHub(ctx context.Context, device syncer.ID, req *servicev1.PullRequest) (*servicev1.PullResponse, error) {
	if len(req.GetBuckets()) > maxBuckets {
		return nil, fault.New(fault.TooLarge, fault.BadRequest, "%d buckets are asked for, the limit is %d", len(req.GetBuckets()), maxBuckets)
	}
	scope := &servicev1.HubScope{}
	if _, err := store.GetMessage(ctx, s.store, store.ShelfHubScope, device[:], scope); err != nil {
		return nil, err
	}
	resp := &servicev1.PullResponse{}
	if req.GetListBuckets() {
		resp.Buckets = scope.GetBuckets()
	}
	for _, asked := range req.GetBuckets() {
		mine := slices.ContainsFunc(scope.GetBuckets(), func(b *servicev1.BucketState) bool {
			return b.GetKind() == asked.GetKind() && b.GetScope() == asked.GetScope()
		})
		page, err := s.mirroredPage(ctx, scope.GetStudy(), mine, asked)
		if err != nil {
			return nil, err
		}
		resp.Pages = append(resp.Pages, page)
	}
	return resp, nil
}

// mirroredPage is what a hub has of a bucket after a cursor, on one page.
func (s *Server) mirroredPage(ctx context.Context, study string, mine bool, asked *servicev1.BucketCursor) (*servicev1.BucketPage, error) {
	page := &servicev1.BucketPage{Kind: asked.Kind, Scope: asked.Scope}
	key := store.BucketKey(study, asked.GetKind(), asked.GetScope())
	b := &servicev1.HubBucket{}
	known, err := store.GetMessage(ctx, s.store, store.ShelfHubBucket, key, b)
	if err != nil {
		return nil, err
	}
	from, behind := s.placeIn(b, asked.GetCursor())
	if !mine || !known || behind {
		page.Behind, page.Cursor = proto.Bool(true), asked.GetCursor()
		return page, nil
	}
	if from == nil {
		page.Whole = proto.Bool(true)
	}
	err = store.Walk(ctx, s.store, store.ShelfHubRow, key, func(it store.Item) (bool, error) {
		row := &servicev1.Row{}
		switch {
		case !bytes.HasPrefix(it.Key, key):
			return false, nil
		case proto.Unmarshal(it.Value, row) != nil:
			return false, fault.New(fault.Internal, fault.StoreDamaged, "a mirrored row of headquarters cannot be read")
		case from == nil && row.GetOp() != servicev1.RowOp_ROW_OP_PUT, from != nil && row.GetCounter() <= from.Parts[row.GetPart()]:
			return true, nil
		}
		page.Rows = append(page.Rows, row)
		return true, nil
	})
	page.Cursor, page.Sum = b.GetCursor(), proto.Uint64(b.GetSum())
	if page.Cursor == nil {
		page.Cursor = &servicev1.Cursor{}
	}
	return page, err
}

// placeIn says from where a tablet's cursor goes on in a mirrored bucket; nil: it is given the whole bucket. The hub is
// behind if the tablet has seen a change that it has not.
func (s *Server) placeIn(b *servicev1.HubBucket, c *servicev1.Cursor) (from *syncer.Cursor, behind bool) {
	if len(c.GetServerEpoch()) == 0 || len(c.GetParts()) == 0 || len(b.GetCursor().GetServerEpoch()) == 0 {
		return nil, false
	}
	if !bytes.Equal(c.GetServerEpoch(), b.GetCursor().GetServerEpoch()) {
		past := slices.ContainsFunc(s.hub.State().GetPastEpochs(), func(e []byte) bool { return bytes.Equal(e, c.GetServerEpoch()) })
		return nil, !past
	}
	epoch := syncer.ID(c.GetServerEpoch()[:min(16, len(c.GetServerEpoch()))])
	at, err := syncer.ParseCursor(c, epoch)
	if err != nil {
		return nil, false
	}
	here := counters(b.GetCursor())
	for part, counter := range at.Parts {
		if counter > here[part] {
			return nil, true
		}
	}
	for part, counter := range counters(b.GetSince()) {
		if at.Parts[part] < counter {
			return nil, false
		}
	}
	return &at, false
}

func counters(c *servicev1.Cursor) map[uint64]uint64 {
	out := make(map[uint64]uint64, len(c.GetParts()))
	for _, p := range c.GetParts() {
		out[p.GetPart()] = p.GetCounter()
	}
	return out
}
