package relay

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/failpoint"
	"github.com/hearth-survey/hearth/syncer/plant"
	"google.golang.org/protobuf/proto"
)

const (
	// statBlobs is how many attachments one BlobStat names, maxBlobs how many one round looks at.
	statBlobs = 100
	maxBlobs  = 5000

	firstChunk, leastChunk, mostChunk = 16 << 10, 4 << 10, 256 << 10
)

// forwardBlobs brings attachments to headquarters, after the records that list them: photos first, of each kind the
// smallest first. One that cannot be taken holds nothing up.
func (r *Relay) forwardBlobs(ctx context.Context) (sent bool, err error) {
	if r.opts.Blobs == nil {
		return false, nil
	}
	var due []*servicev1.BlobRef
	err = store.Walk(ctx, r.store, store.ShelfHubBlob, nil, func(it store.Item) (bool, error) {
		b := &servicev1.HubBlob{}
		if proto.Unmarshal(it.Value, b) == nil && !b.GetForwarded() && r.opts.Blobs.Has(b.GetBlob()) {
			due = append(due, b.GetBlob())
		}
		return len(due) < maxBlobs, nil
	})
	if err != nil {
		return false, err
	}
	slices.SortStableFunc(due, func(a, b *servicev1.BlobRef) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.GetSize(), b.GetSize()), bytes.Compare(a.GetSha256(), b.GetSha256()))
	})
	for group := range slices.Chunk(due, statBlobs) {
		left, err := r.statBlobs(ctx, group)
		if r := fault.ReasonOf(err); r == fault.BlobsNotKept {
			return sent, nil // headquarters keeps none; they stay here
		}
		if err != nil {
			return sent, err
		}
		var whole []*servicev1.BlobRef
		for i, st := range left {
			if st == nil {
				continue
			}
			switch err := r.sendBlob(ctx, group[i], st); {
			case err == nil:
				failpoint.Hit("hub.after-blob")
				whole = append(whole, group[i])
			case passesOver(err):
				r.opts.Log.WarnContext(ctx, "headquarters does not take an attachment", "sha256", fmt.Sprintf("%x", group[i].GetSha256()), "reason", string(fault.ReasonOf(err)))
			default:
				return sent, err
			}
		}
		sent = true
		if len(whole) > 0 {
			if _, err := r.statBlobs(ctx, whole); err != nil {
				return sent, err
			}
		}
	}
	return sent, nil
}

// passesOver says whether an error is of one attachment, and the next may be taken.
func passesOver(err error) bool {
	switch fault.ReasonOf(err) {
	case fault.BlobTooLarge, fault.BlobSizeMismatch, fault.BlobHashMismatch, fault.BlobsFull, fault.BadChunk, fault.BlobDamaged, fault.NoSuchBlob:
		return true
	}
	return false
}

func rank(ref *servicev1.BlobRef) int {
	switch kind, _, _ := strings.Cut(ref.GetMediaType(), "/"); kind {
	case "image":
		return 0
	case "audio":
		return 2
	case "video":
		return 3
	}
	return 1
}

// statBlobs asks what headquarters has of some attachments. Those that are whole there are noted, with headquarters'
// signature; of the others the state is returned, in the order of the group.
func (r *Relay) statBlobs(ctx context.Context, group []*servicev1.BlobRef) ([]*servicev1.BlobState, error) {
	req := &servicev1.BlobStatRequest{Blobs: group}
	var resp *servicev1.BlobStatResponse
	err := r.call(ctx, "ask about attachments", proto.Size(req), func(ctx context.Context) (err error) {
		resp, err = r.sync.BlobStat(ctx, req)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(resp.GetBlobs()) != len(group) {
		return nil, fault.New(fault.Invalid, fault.BadRequest, "headquarters answers about %d attachments, asked about %d", len(resp.GetBlobs()), len(group))
	}
	left := make([]*servicev1.BlobState, len(group))
	var items []store.Item
	for i, st := range resp.GetBlobs() {
		id, size, err := syncer.ParseBlobRef(group[i])
		if err != nil {
			return nil, err
		}
		if plant.In(plant.HubPhotoAhead) {
			st.Complete, st.ServerEpoch = proto.Bool(true), r.State().GetServerEpoch()
		}
		if !st.GetComplete() {
			left[i] = st
			continue
		}
		epoch, err := syncer.ParseID(st.GetServerEpoch())
		if err == nil && !plant.In(plant.HubPhotoAhead) {
			err = syncer.VerifyBlob(r.State().GetServerKey(), id, size, epoch, st.GetSignature())
		}
		if err != nil {
			return nil, fault.New(fault.Invalid, fault.BadSignature, "the word of headquarters about attachment %x: %w", id[:4], err)
		}
		it, err := store.MessageItem(store.ShelfHubBlob, id[:], &servicev1.HubBlob{Blob: group[i], Forwarded: proto.Bool(true), Signature: st.GetSignature(), ServerEpoch: st.GetServerEpoch()})
		if err != nil {
			return nil, err
		}
		items = append(items, it)
	}
	return left, r.store.Put(ctx, items...)
}

// sendBlob sends the pieces of an attachment that headquarters misses.
func (r *Relay) sendBlob(ctx context.Context, ref *servicev1.BlobRef, st *servicev1.BlobState) (err error) {
	id, size, err := syncer.ParseBlobRef(ref)
	if err != nil {
		return err
	}
	have, _, err := syncer.ParseBlobState(st, id, size)
	if err != nil {
		return err
	}
	f, n, err := r.opts.Blobs.Open(id[:])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if n != size {
		return fault.New(fault.Invalid, fault.BlobSizeMismatch, "attachment %x has %d bytes here and %d in the record", id[:4], n, size)
	}
	for chunk := int64(firstChunk); ; {
		next := syncer.Range{Start: 0, End: 0}
		if size > 0 {
			missing := have.Missing(syncer.Range{Start: 0, End: size})
			if len(missing) == 0 {
				return nil
			}
			next = syncer.Range{Start: missing[0].Start, End: min(missing[0].End, missing[0].Start+chunk)}
		}
		data := make([]byte, next.End-next.Start)
		if _, err := f.Seek(next.Start, io.SeekStart); err != nil {
			return fmt.Errorf("read attachment %x: %w", id[:4], err)
		}
		if _, err := io.ReadFull(f, data); err != nil {
			return fmt.Errorf("read attachment %x: %w", id[:4], err)
		}
		var resp *servicev1.PutChunkResponse
		began := time.Now()
		err := r.call(ctx, "forward an attachment", len(data), func(ctx context.Context) (err error) {
			resp, err = r.sync.PutChunk(ctx, syncer.NewChunk(ref, next.Start, data))
			return err
		})
		if err != nil {
			return err
		}
		got, whole, err := syncer.ParseBlobState(resp.GetBlob(), id, size)
		if err != nil || whole {
			return err
		}
		if size == 0 || len(got.Missing(next)) > 0 {
			return fault.New(fault.Invalid, fault.BadChunk, "headquarters took bytes %d to %d of attachment %x and does not hold them", next.Start, next.End, id[:4])
		}
		have = got
		if took := time.Since(began); took < quick/4 {
			chunk = min(2*chunk, mostChunk)
		} else if took > quick {
			chunk = max(chunk/2, leastChunk)
		}
	}
}
