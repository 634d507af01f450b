package relay

import (
	"bytes"
	"context"
	"errors"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

const (
	// bucketsFactor is how many times rarer buckets are asked about than headquarters is greeted.
	bucketsFactor = 4
	// maxScopes is about how many tablets a hub asks.
	maxScopes = 1000
	// maxBucketRows bounds one bucket, as Options.MostBucket does.
	maxBucketRows = 200_000
)

// errLargeBucket is that a bucket is larger than a hub keeps.
var errLargeBucket = errors.New("the bucket is larger than a hub keeps")

// mirrorBuckets brings what headquarters has in the buckets of the tablets that were here: their assignments, reviews, the
// roster of their sites.
func (r *Relay) mirrorBuckets(ctx context.Context) error {
	var tablets []syncer.ID
	fresh, named := false, map[syncer.ID]string{}
	err := store.Walk(ctx, r.store, store.ShelfHubScope, nil, func(it store.Item) (bool, error) {
		if id, err := syncer.ParseID(it.Key); err == nil {
			tablets = append(tablets, id)
			scope := &servicev1.HubScope{}
			if err := proto.Unmarshal(it.Value, scope); err != nil {
				return false, fault.New(fault.Internal, fault.StoreDamaged, "shelf: the buckets of a tablet cannot be read: %w", err)
			}
			named[id], fresh = scope.GetStudy(), fresh || len(scope.GetBuckets()) == 0
		}
		return len(tablets) < maxScopes, nil
	})
	if err != nil || !fresh && r.opts.Now().Sub(r.buckets) < bucketsFactor*r.opts.Every {
		return err
	}
	seen := map[string]bool{}
	for _, id := range tablets {
		d := &servicev1.EnrolledDevice{}
		if known, err := store.GetMessage(ctx, r.store, store.ShelfHubDevice, id[:], d); err != nil || !known || d.RevokedMs != nil {
			if err != nil {
				return err
			}
			continue
		}
		study := d.GetStudy()
		if study == "" { // it was not enrolled, and is believed what it says
			study = named[id]
		}
		if err := r.mirrorScope(ctx, id, study, seen); err != nil {
			return err
		}
	}
	r.buckets = r.opts.Now()
	return nil
}

// mirrorScope asks which buckets a tablet should hold, and brings those that have changed. The list is kept last, when what
// it names is here.
func (r *Relay) mirrorScope(ctx context.Context, tablet syncer.ID, study string, seen map[string]bool) error {
	resp, err := r.pull(ctx, &servicev1.PullRequest{Device: bytes.Clone(tablet[:]), Study: proto.String(study), ListBuckets: proto.Bool(true)})
	if err != nil {
		return err
	}
	if resp.GetNotice() != nil {
		return nil // its rights were taken away; the list of devices says so too
	}
	for _, b := range resp.GetBuckets() {
		key := store.BucketKey(study, b.GetKind(), b.GetScope())
		if b.GetKind() == servicev1.BucketKind_BUCKET_KIND_RECORDS || seen[string(key)] {
			continue
		}
		seen[string(key)] = true
		held := &servicev1.HubBucket{}
		known, err := store.GetMessage(ctx, r.store, store.ShelfHubBucket, key, held)
		if err != nil {
			return err
		}
		if known && held.GetSum() == b.GetSum() {
			continue
		}
		err = r.mirrorBucket(ctx, tablet, study, b, key, held)
		if errors.Is(err, errLargeBucket) { // the hub says of it that it is behind; tablets get it at headquarters
			r.opts.Log.WarnContext(ctx, "a bucket is too large to be kept here; tablets get it at headquarters alone", "kind", b.GetKind().String(), "scope", b.GetScope())
			continue
		}
		if err != nil {
			return err
		}
	}
	return store.PutMessage(ctx, r.store, store.ShelfHubScope, tablet[:], &servicev1.HubScope{Buckets: resp.GetBuckets(), Study: proto.String(study)})
}

func (r *Relay) pull(ctx context.Context, req *servicev1.PullRequest) (resp *servicev1.PullResponse, err error) {
	err = r.call(ctx, "pull for a tablet", 64<<10, func(ctx context.Context) (err error) {
		resp, err = r.sync.Pull(ctx, req)
		return err
	})
	return resp, err
}

// mirrorBucket brings what is new in a bucket, all pages of it, and keeps them in one transaction: what a hub serves is
// what headquarters held at some moment.
func (r *Relay) mirrorBucket(ctx context.Context, tablet syncer.ID, study string, b *servicev1.BucketState, key []byte, held *servicev1.HubBucket) error {
	var items []store.Item
	kept := map[string]bool{}
	whole, size := false, 0
	next := &servicev1.HubBucket{Cursor: held.GetCursor(), Since: held.GetSince()}
	for more := true; more; {
		resp, err := r.pull(ctx, &servicev1.PullRequest{Device: bytes.Clone(tablet[:]), Study: proto.String(study),
			Buckets: []*servicev1.BucketCursor{{Kind: b.Kind, Scope: b.Scope, Cursor: next.GetCursor()}}})
		if err != nil {
			return err
		}
		if resp.GetNotice() != nil || len(resp.GetPages()) != 1 || resp.GetPages()[0].GetGone() || resp.GetPages()[0].GetBehind() {
			return nil // it has changed since; the next round asks again
		}
		p := resp.GetPages()[0]
		if whole = whole || p.GetWhole(); p.GetMore() && len(p.GetRows()) == 0 {
			return fault.New(fault.Invalid, fault.BucketDamaged, "headquarters has more of bucket %v %q, but nothing comes", b.GetKind(), b.GetScope())
		}
		for _, row := range p.GetRows() {
			it, err := store.MessageItem(store.ShelfHubRow, store.RowKey(key, row.GetKey()), row)
			if err != nil {
				return err
			}
			items, kept[string(it.Key)] = append(items, it), true
			if size += len(it.Value); size > r.opts.MostBucket || len(items) > maxBucketRows {
				return errLargeBucket
			}
		}
		next.Cursor, next.Sum, more = p.GetCursor(), p.Sum, p.GetMore()
	}
	if whole {
		next.Since = next.GetCursor()
		err := store.Walk(ctx, r.store, store.ShelfHubRow, key, func(it store.Item) (bool, error) {
			if !bytes.HasPrefix(it.Key, key) {
				return false, nil
			}
			if !kept[string(it.Key)] {
				items = append(items, store.Item{Space: it.Space, Key: it.Key})
			}
			return true, nil
		})
		if err != nil {
			return err
		}
	}
	it, err := store.MessageItem(store.ShelfHubBucket, key, next)
	if err != nil {
		return err
	}
	return r.store.Put(ctx, append(items, it)...)
}
