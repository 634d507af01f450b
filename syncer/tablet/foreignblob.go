package tablet

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// foreignBlob is an attachment in a foreign file, whole and with its hash.
type foreignBlob struct {
	id     syncer.BlobID
	ref    *servicev1.BlobRef
	pieces []foreignPiece // in order, without gaps
}

type foreignPiece struct {
	n           int64
	start, size int64
}

// readBlobs finds the attachments that records list and whose bytes have their hash. The bytes stay in the file.
func (f *Foreign) readBlobs(ctx context.Context) error {
	if !f.attachments {
		return nil
	}
	before := len(f.problems)
	used := map[syncer.BlobID]bool{}
	err := f.rows(ctx, "blob_use", "sha256", func(r row) {
		if id, err := syncer.ParseBlobID(r.bytes(1)); err == nil {
			used[id] = true
		}
	})
	if err != nil {
		return err
	}
	all := len(f.problems) > before // which are used is not certain: take every one
	pieces := map[syncer.BlobID][]foreignPiece{}
	pruned := map[syncer.BlobID]bool{}
	err = f.rows(ctx, "blob_piece", "sha256, start, bytes", func(r row) {
		id, err := syncer.ParseBlobID(r.bytes(1))
		if err != nil {
			return
		}
		if r[3] == nil {
			pruned[id] = true
			return
		}
		pieces[id] = append(pieces[id], foreignPiece{r.number(0), r.number(2), int64(len(r.bytes(3)))})
	})
	if err != nil {
		return err
	}
	var found []foreignBlob
	err = f.rows(ctx, "blob", "sha256, size, media_type", func(r row) {
		ref := &servicev1.BlobRef{Sha256: r.bytes(1), Size: proto.Int64(r.number(2)), MediaType: proto.String(r.text(3))}
		id, _, err := syncer.ParseBlobRef(ref)
		switch {
		case err != nil:
			f.problem(fmt.Sprintf("attachment %d", r.number(0)), fault.BlobDamaged, "its row is damaged")
		case (all || used[id]) && !pruned[id]:
			found = append(found, foreignBlob{id, ref, pieces[id]})
		}
	})
	if err != nil {
		return err
	}
	for _, b := range found {
		if err := f.hashBlob(ctx, b); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			f.problem(fmt.Sprintf("attachment %x", b.id), fault.BlobDamaged, "%s", messageOf(err))
			continue
		}
		f.blobs = append(f.blobs, b)
	}
	return nil
}

// hashBlob reads an attachment and checks that its pieces are without gaps and make its hash.
func (f *Foreign) hashBlob(ctx context.Context, b foreignBlob) error {
	h := sha256.New()
	at := int64(0)
	for _, p := range b.pieces {
		if p.start != at {
			return fault.New(fault.Invalid, fault.BlobDamaged, "bytes %d to %d are gone", at, p.start)
		}
		raw, err := f.piece(ctx, p)
		if err != nil {
			return err
		}
		h.Write(raw)
		at += int64(len(raw))
	}
	if at != b.ref.GetSize() || syncer.BlobID(h.Sum(nil)) != b.id {
		return fault.New(fault.Invalid, fault.BlobDamaged, "its bytes do not have its hash")
	}
	return nil
}

func (f *Foreign) piece(ctx context.Context, p foreignPiece) ([]byte, error) {
	var raw []byte
	err := f.conn.QueryRowContext(ctx, "SELECT bytes FROM blob_piece NOT INDEXED WHERE n = ?", p.n).Scan(&raw)
	if err == nil && int64(len(raw)) != p.size {
		return nil, fault.New(fault.Invalid, fault.BlobDamaged, "a piece of it could be read once and no more")
	}
	return raw, err
}

// sendBlobs brings the attachments of the file to a server, as far as it does not have them.
func (f *Foreign) sendBlobs(ctx context.Context, client servicev1.SyncServiceClient, report *ImportReport) error {
	for _, b := range f.blobs {
		req := &servicev1.BlobStatRequest{Blobs: []*servicev1.BlobRef{b.ref}}
		resp, err := client.BlobStat(ctx, req)
		if err = wireFault(err, "ask about an attachment"); keepsNone(err) {
			f.problem(fmt.Sprintf("%d attachments", len(f.blobs)), fault.BlobsNotKept, "this server keeps no attachments")
			return nil
		}
		if err != nil {
			return err
		}
		if len(resp.GetBlobs()) != 1 {
			return fault.New(fault.Invalid, fault.BadRequest, "the server answers about %d attachments, asked about one", len(resp.GetBlobs()))
		}
		have, whole, err := syncer.ParseBlobState(resp.GetBlobs()[0], b.id, b.ref.GetSize())
		if err != nil {
			return err
		}
		if whole {
			report.BlobsHeld++
			continue
		}
		err = f.guard(func() error { return f.sendBlob(ctx, client, b, have) })
		switch kind := fault.KindOf(err); {
		case err == nil:
			report.BlobsSent++
		case ctx.Err() == nil && (kind == fault.Invalid || kind == fault.TooLarge):
			f.problem(fmt.Sprintf("attachment %x", b.id), fault.ReasonOf(err), "%s", messageOf(err))
		default:
			return err
		}
	}
	return nil
}

// sendBlob sends the pieces that are missing, and those around them.
func (f *Foreign) sendBlob(ctx context.Context, client servicev1.SyncServiceClient, b foreignBlob, have syncer.Ranges) error {
	whole := false
	send := func(at int64, raw []byte) error {
		resp, err := client.PutChunk(ctx, syncer.NewChunk(b.ref, at, raw))
		whole = resp.GetBlob().GetComplete()
		return wireFault(err, "send an attachment")
	}
	for _, p := range b.pieces {
		if len(have.Missing(syncer.Range{Start: p.start, End: p.start + p.size})) == 0 {
			continue
		}
		raw, err := f.piece(ctx, p)
		if err != nil {
			return err
		}
		if err := send(p.start, raw); err != nil {
			return err
		}
	}
	if b.ref.GetSize() == 0 {
		if err := send(0, nil); err != nil {
			return err
		}
	}
	if !whole {
		return fault.New(fault.Invalid, fault.BlobDamaged, "all of it was sent, and the server does not have it whole")
	}
	return nil
}
