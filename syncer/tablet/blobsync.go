package tablet

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/failpoint"
	"github.com/hearth-survey/hearth/syncer/plant"
	"google.golang.org/protobuf/proto"
)

// Sizes of pieces. They double where an answer came quickly, and halve after a failure: what is lost with a connection
// is at most a piece.
const (
	firstChunk = 16 << 10
	leastChunk = 4 << 10
	mostChunk  = 256 << 10
	// prompt is how quickly pieces over 64 KB must be answered to become larger still.
	prompt = quick / 4
)

const (
	// statSize is how many attachments are asked about at a time.
	statSize = 200
	// maxBlobTries is how often one attachment may be refused before Sync leaves it for the next time.
	maxBlobTries = 3
)

// BlobReport is what a Sync did with attachments.
type BlobReport struct {
	// Sent counts those that arrived whole in this Sync, Held those that headquarters had already.
	Sent, Held int
	// Bytes counts the bytes of attachments that were sent, again or not; Chunks the pieces that were answered.
	Bytes  int64
	Chunks int
	// Problems are those that were not taken, or are damaged here. They stay here.
	Problems []BlobProblem
	// Unkept is true where the server keeps no attachments; they stay here.
	Unkept bool
	// Pending counts those that headquarters has not said it has, PendingBytes their bytes.
	Pending      int
	PendingBytes int64
}

// BlobProblem is why an attachment could not be sent.
type BlobProblem struct {
	SHA256  syncer.BlobID
	Reason  fault.Reason
	Message string
}

// pendingBlobSQL is true of an attachment (alias b) whose bytes are here and which a record lists for which headquarters
// has not said that it has it.
const pendingBlobSQL = `EXISTS (SELECT 1 FROM blob_use AS u WHERE u.sha256 = b.sha256 AND NOT EXISTS (
		SELECT 1 FROM blob_kept AS k WHERE k.digest = u.digest AND k.sha256 = u.sha256 AND k.server_epoch = (SELECT server_epoch FROM meta)))
	AND NOT EXISTS (SELECT 1 FROM blob_piece AS p WHERE p.sha256 = b.sha256 AND p.bytes IS NULL)`

// pendingBlobs counts the attachments that are to be sent, also those whose records have no receipt yet.
func pendingBlobs(ctx context.Context, q querier) (n int, bytes int64, err error) {
	err = q.QueryRowContext(ctx, "SELECT count(*), coalesce(sum(size), 0) FROM blob AS b WHERE "+pendingBlobSQL).Scan(&n, &bytes)
	return n, bytes, err
}

// countBlobs fills in what Status says of attachments.
func countBlobs(ctx context.Context, q querier, st *Status) (err error) {
	if st.BlobsPending, st.BlobBytesPending, err = pendingBlobs(ctx, q); err != nil {
		return err
	}
	return q.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM blob), (SELECT count(DISTINCT sha256) FROM blob_piece WHERE bytes IS NULL),
		(SELECT count(DISTINCT sha256) FROM blob_use AS u WHERE NOT EXISTS (SELECT 1 FROM blob AS b WHERE b.sha256 = u.sha256))`).
		Scan(&st.Blobs, &st.BlobsPruned, &st.BlobsAbsent)
}

// pruneBlobs drops the bytes of attachments that headquarters has said it has.
func pruneBlobs(ctx context.Context, tx *sql.Tx, before int64) error {
	_, err := tx.ExecContext(ctx, `UPDATE blob_piece SET bytes = NULL WHERE bytes IS NOT NULL AND sha256 IN (
		SELECT b.sha256 FROM blob AS b WHERE b.added_ms <= ?1
		AND EXISTS (SELECT 1 FROM blob_use AS u WHERE u.sha256 = b.sha256)
		AND NOT EXISTS (SELECT 1 FROM blob_use AS u JOIN record AS rec ON rec.digest = u.digest
			WHERE u.sha256 = b.sha256 AND (rec.written_ms > ?1 OR NOT `+coveredSQL+`))
		AND NOT EXISTS (SELECT 1 FROM blob_use AS u WHERE u.sha256 = b.sha256 AND NOT EXISTS (
			SELECT 1 FROM blob_kept AS k WHERE k.digest = u.digest AND k.sha256 = u.sha256 AND k.server_epoch = (SELECT server_epoch FROM meta))))`, before)
	return err
}

// blob is an attachment that is to be sent.
type blob struct {
	id   syncer.BlobID
	ref  *servicev1.BlobRef
	have syncer.Ranges // at headquarters
}

// rank orders kinds of attachments: photos, then other files, then sound, then film.
func rank(mediaType string) int {
	switch kind, _, _ := strings.Cut(mediaType, "/"); kind {
	case "image":
		return 0
	case "audio":
		return 2
	case "video":
		return 3
	}
	if mediaType == "application/ogg" {
		return 2
	}
	return 1
}

// dueBlobs lists the attachments of records that headquarters has signed for, or that the hub spoken to has in custody:
// photos first, of each kind the smallest first.
func (s *Store) dueBlobs(ctx context.Context, hub []byte) ([]*blob, error) {
	query := `SELECT b.sha256, b.size, b.media_type FROM blob AS b WHERE ` + pendingBlobSQL + `
		AND EXISTS (SELECT 1 FROM blob_use AS u JOIN record AS rec ON rec.digest = u.digest WHERE u.sha256 = b.sha256 AND (` + coveredSQL + ` OR ` + custodySQL + `))`
	if plant.In(plant.WordKept) {
		query = strings.ReplaceAll(query, "AND k.server_epoch = (SELECT server_epoch FROM meta)", "")
	}
	rows, err := s.db.QueryContext(ctx, query, hub)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var due []*blob
	for rows.Next() {
		var sum []byte
		var size int64
		var kind string
		if err := rows.Scan(&sum, &size, &kind); err != nil {
			return nil, err
		}
		ref := &servicev1.BlobRef{Sha256: sum, Size: proto.Int64(size), MediaType: proto.String(kind)}
		id, _, err := syncer.ParseBlobRef(ref)
		if err != nil {
			continue // a damaged row
		}
		due = append(due, &blob{id: id, ref: ref})
	}
	slices.SortFunc(due, func(a, b *blob) int {
		return cmp.Or(cmp.Compare(rank(a.ref.GetMediaType()), rank(b.ref.GetMediaType())), cmp.Compare(a.ref.GetSize(), b.ref.GetSize()), slices.Compare(a.id[:], b.id[:]))
	})
	return due, rows.Err()
}

// sendBlobs brings attachments there, after the answers. It asks first what is there, so that nothing is sent twice. A
// server that keeps none, and an attachment that cannot be taken, are reported and hold nothing up.
func (x *session) sendBlobs(ctx context.Context) error {
	due, err := x.s.dueBlobs(ctx, x.hubKey())
	if err != nil || len(due) == 0 {
		return err
	}
	var send []*blob
	for group := range slices.Chunk(due, statSize) {
		left, err := x.statBlobs(ctx, group)
		if keepsNone(err) {
			x.report.Blobs.Unkept = true
			return nil
		}
		if err != nil {
			return err
		}
		x.report.Blobs.Held += len(group) - len(left)
		send = append(send, left...)
	}
	p := &blobSender{session: x, chunk: firstChunk}
	for _, b := range send {
		p.total += b.ref.GetSize() - b.have.Bytes()
	}
	for _, b := range send {
		if err := p.send(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// keepsNone says whether the server keeps no attachments, or is of a version that does not know of any.
func keepsNone(err error) bool {
	return fault.ReasonOf(err) == fault.BlobsNotKept || fault.KindOf(err) == fault.NotFound && fault.ReasonOf(err) == ""
}

// statBlobs asks what is there of some attachments, notes those that are there whole, and returns the others.
func (x *session) statBlobs(ctx context.Context, group []*blob) ([]*blob, error) {
	req := &servicev1.BlobStatRequest{}
	for _, b := range group {
		req.Blobs = append(req.Blobs, b.ref)
	}
	var resp *servicev1.BlobStatResponse
	err := x.call(ctx, "ask about attachments", proto.Size(req), func(ctx context.Context) (err error) {
		x.report.BytesUp += int64(proto.Size(req))
		resp, err = x.client.BlobStat(ctx, req)
		return err
	})
	if err != nil {
		return nil, err
	}
	x.report.BytesDown += int64(proto.Size(resp))
	if len(resp.GetBlobs()) != len(group) {
		return nil, fault.New(fault.Invalid, fault.BadRequest, "the server answers about %d attachments, asked about %d", len(resp.GetBlobs()), len(group))
	}
	var left []*blob
	for i, b := range group {
		var whole bool
		if b.have, whole, err = syncer.ParseBlobState(resp.GetBlobs()[i], b.id, b.ref.GetSize()); err != nil {
			return nil, err
		}
		if !whole && !plant.In(plant.HalfAttachment) {
			left = append(left, b)
			continue
		}
		if x.hub != nil {
			err = x.hubWord(ctx, b, resp.GetBlobs()[i])
		} else {
			err = x.s.keepWord(ctx, b.id)
		}
		if err != nil {
			return nil, err
		}
	}
	return left, nil
}

// keepWord notes that headquarters has an attachment whole, for every record that lists it and has its receipt.
func (s *Store) keepWord(ctx context.Context, id syncer.BlobID) error {
	failpoint.Hit("tablet.before-word")
	defer failpoint.Hit("tablet.after-word")
	_, err := s.db.ExecContext(ctx, `INSERT INTO blob_kept (digest, sha256, server_epoch, time_ms)
		SELECT u.digest, u.sha256, m.server_epoch, ? FROM blob_use AS u JOIN record AS rec ON rec.digest = u.digest, meta AS m
		WHERE u.sha256 = ? AND m.server_epoch IS NOT NULL AND `+coveredSQL+` ON CONFLICT DO NOTHING`, s.now().UnixMilli(), id[:])
	return err
}

// blobSender sends the attachments of one Sync.
type blobSender struct {
	*session
	chunk       int64 // bytes of the next piece
	done, total int64 // bytes sent and to send
}

func (p *blobSender) problem(b *blob, err error) {
	p.report.Blobs.Problems = append(p.report.Blobs.Problems, BlobProblem{SHA256: b.id, Reason: fault.ReasonOf(err), Message: messageOf(err)})
	p.progress(b.ref.GetSize() - b.have.Bytes())
}

func (p *blobSender) progress(n int64) {
	p.done += n
	if p.opts.BlobProgress != nil {
		p.opts.BlobProgress(min(p.done, p.total), p.total)
	}
}

// send brings one attachment there. After a failure it asks what has arrived before it goes on. It returns an error only
// where the connection or the server is at an end, not where this one attachment is not taken.
func (p *blobSender) send(ctx context.Context, b *blob) error {
	switch err := p.s.verifyBlob(ctx, b.id, b.ref.GetSize()); {
	case fault.ReasonOf(err) == fault.BlobDamaged:
		p.problem(b, err)
		return nil
	case err != nil:
		return err
	}
	refused, stalled := 0, 0 // in a row
	for {
		whole, err := p.piece(ctx, b)
		if whole {
			p.report.Blobs.Sent++
			if p.hub != nil {
				return nil // in its custody; headquarters has not got it yet
			}
			return p.s.keepWord(ctx, b.id)
		}
		if err == nil {
			refused, stalled = 0, 0
			continue
		}
		switch fault.ReasonOf(err) {
		case fault.BadChunk, fault.BlobHashMismatch:
			if refused++; refused >= maxBlobTries {
				p.problem(b, err)
				return nil
			}
		case fault.BlobTooLarge, fault.BlobSizeMismatch, fault.BlobsFull, fault.DiskFull, fault.BlobDamaged:
			p.problem(b, err)
			return nil
		default:
			if stalled++; stalled > p.opts.Attempts {
				return err
			}
			p.chunk = max(p.chunk/2, leastChunk)
			if err := p.pause(ctx, err); err != nil {
				return err
			}
		}
		before := b.have.Bytes()
		left, err := p.statBlobs(ctx, []*blob{b})
		if err != nil {
			return err
		}
		if len(left) == 0 { // its last piece had arrived
			p.report.Blobs.Sent++
			return nil
		}
		if now := b.have.Bytes(); now > before {
			stalled = 0
			p.progress(now - before)
		}
	}
}

// piece sends the next piece that is missing and says whether the attachment is there whole now.
func (p *blobSender) piece(ctx context.Context, b *blob) (whole bool, err error) {
	var next syncer.Range // of an empty file
	if missing := b.have.Missing(syncer.Range{End: b.ref.GetSize()}); len(missing) > 0 {
		next = missing[0]
		next.End = min(next.End, next.Start+p.chunk)
	}
	data, err := p.s.blobBytes(ctx, b.id, next)
	if err != nil {
		return false, err
	}
	req := syncer.NewChunk(b.ref, next.Start, data)
	var resp *servicev1.PutChunkResponse
	began := p.opts.Now()
	err = p.attempt(ctx, "send an attachment", proto.Size(req), func(ctx context.Context) (err error) {
		p.report.BytesUp += int64(proto.Size(req))
		p.report.Blobs.Bytes += int64(len(data))
		failpoint.Hit("tablet.before-piece")
		resp, err = p.client.PutChunk(ctx, req)
		failpoint.Hit("tablet.after-piece")
		return err
	})
	if err != nil {
		return false, err
	}
	p.failures = 0
	p.report.Blobs.Chunks++
	p.report.BytesDown += int64(proto.Size(resp))
	p.adapt(p.opts.Now().Sub(began))
	have, whole, err := syncer.ParseBlobState(resp.GetBlob(), b.id, b.ref.GetSize())
	if err != nil {
		return false, err
	}
	if !whole && (len(data) == 0 || len(have.Missing(next)) > 0) {
		return false, fault.New(fault.Invalid, fault.BadChunk, "the server took bytes %d to %d of attachment %x and does not hold them", next.Start, next.End, b.id[:4])
	}
	b.have = have
	p.progress(int64(len(data)))
	return whole, nil
}

// adapt makes pieces larger where the link is quick.
func (p *blobSender) adapt(took time.Duration) {
	if took < prompt || took < quick && p.chunk < 64<<10 {
		p.chunk = min(2*p.chunk, mostChunk)
	}
}
