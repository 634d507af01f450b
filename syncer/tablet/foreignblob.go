package tablet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
)

// foreignBlob is an attachment in a foreign file, whole and with its hash.
type foreignBlob struct {
	id     syncer.BlobID
	ref    *servicev1.BlobRef
	pieces []span // in order, without gaps
}

// resolveBlobs finds the attachments that records list and whose bytes have their hash. What the records say of an attachment
// counts before the tables of attachments, for a record has a digest.
func (f *Foreign) resolveBlobs() error {
	wanted := map[syncer.BlobID]*servicev1.BlobRef{}
	for id, ref := range f.found.blobs {
		if f.found.uses[id] || f.carved && !f.healthy { // which are used is not certain then: take every one
			wanted[id] = ref
		}
	}
	for _, d := range f.order {
		for _, ref := range f.found.bodies[d].blobs {
			if id, _, err := syncer.ParseBlobRef(ref); err == nil && (f.found.pieces[id] != nil || wanted[id] != nil) {
				wanted[id] = ref
			}
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(wanted), func(a, b syncer.BlobID) int { return bytes.Compare(a[:], b[:]) }) {
		if f.found.gone[id] {
			continue // headquarters has it
		}
		b, why, err := f.wholeBlob(id, wanted[id])
		if err != nil {
			return err
		}
		if why != "" {
			f.problem(fmt.Sprintf("attachment %x", id), fault.BlobDamaged, "%s", why)
			continue
		}
		f.blobs = append(f.blobs, b)
	}
	return nil
}

// wholeBlob puts the pieces of an attachment together and says why it cannot. Of pieces that were found several times,
// each alone is exchanged for its other copies.
func (f *Foreign) wholeBlob(id syncer.BlobID, ref *servicev1.BlobRef) (b foreignBlob, why string, err error) {
	b = foreignBlob{id: id, ref: ref}
	others := 0
	for _, at := range slices.Sorted(maps.Keys(f.found.pieces[id])) {
		copies := f.found.pieces[id][at]
		end := int64(0)
		for _, p := range b.pieces {
			end += p.size
		}
		if at > end {
			return b, fmt.Sprintf("bytes %d to %d are gone", end, at), nil
		}
		if at == end {
			b.pieces = append(b.pieces, copies[0])
			others += len(copies) - 1
		}
	}
	ok, err := f.hashes(b)
	if ok || err != nil {
		return b, "", err
	}
	at := int64(0)
	for i := range b.pieces {
		first := b.pieces[i]
		for _, other := range f.found.pieces[id][at][1:] {
			if others > maxPieceTries || other.size != first.size {
				continue
			}
			b.pieces[i] = other
			if ok, err := f.hashes(b); ok || err != nil {
				return b, "", err
			}
		}
		b.pieces[i] = first
		at += first.size
	}
	return b, "its bytes do not have its hash", nil
}

// maxPieceTries is how many pieces of one attachment that were found several times are tried.
const maxPieceTries = 50

// hashes says whether the pieces make the attachment.
func (f *Foreign) hashes(b foreignBlob) (bool, error) {
	h := sha256.New()
	size := int64(0)
	for _, p := range b.pieces {
		raw, err := f.read(p)
		if err != nil {
			return false, err
		}
		h.Write(raw)
		size += p.size
	}
	return size == b.ref.GetSize() && syncer.BlobID(h.Sum(nil)) == b.id, nil
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
		err = f.sendBlob(ctx, client, b, have)
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
	at := int64(0)
	for _, p := range b.pieces {
		missing := len(have.Missing(syncer.Range{Start: at, End: at + p.size})) > 0
		if raw, err := f.read(p); missing && err == nil {
			if err := send(at, raw); err != nil {
				return err
			}
		} else if err != nil {
			return err
		}
		at += p.size
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
