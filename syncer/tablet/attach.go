package tablet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/failpoint"
	"google.golang.org/protobuf/proto"
)

// blobPieceBytes is how much of an attachment stands in one row.
const blobPieceBytes = 64 << 10

// AddBlob keeps the bytes of a file for an attachment, durably, and returns the attachment with its hash, its size and
// the media type that the bytes have. The same bytes again are kept once. It fails with fault.BlobTooLarge over
// syncer.MaxBlobBytes. Bytes that no interview lists are not sent.
func (s *Store) AddBlob(ctx context.Context, r io.Reader) (*surveyv1.Attachment, error) {
	var a *surveyv1.Attachment
	err := inTx(ctx, s.db, func(tx *sql.Tx) (err error) {
		a, err = s.addBlob(ctx, tx, r)
		return err
	})
	failpoint.Hit("tablet.after-blob")
	if errors.Is(err, errKnownBlob) {
		err = nil
	}
	return a, dbFault(err, "keep an attachment in %s", s.path)
}

// errKnownBlob rolls back the writing of bytes that turn out to be here.
var errKnownBlob = errors.New("the attachment is here already")

// addBlob writes pieces under a name of its own and gives them the right one when the hash is known, all in one
// transaction.
func (s *Store) addBlob(ctx context.Context, tx *sql.Tx, r io.Reader) (*surveyv1.Attachment, error) {
	raw, err := io.ReadAll(io.LimitReader(r, syncer.MaxBlobBytes+1))
	if err != nil {
		return nil, fault.New(fault.Invalid, "", "read the file: %w", err)
	}
	size := int64(len(raw))
	if size > syncer.MaxBlobBytes {
		return nil, fault.New(fault.TooLarge, fault.BlobTooLarge, "the file has more than %d bytes", syncer.MaxBlobBytes)
	}
	sum := sha256.Sum256(raw)
	a := &surveyv1.Attachment{Sha256: sum[:], Size: proto.Int64(size), MediaType: proto.String(mediaType(raw))}
	_, err = tx.ExecContext(ctx, "INSERT INTO blob (sha256, size, media_type, added_ms) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
		sum[:], size, a.GetMediaType(), s.now().UnixMilli())
	if err != nil {
		return nil, err
	}
	var held bool
	err = tx.QueryRowContext(ctx, "SELECT media_type, EXISTS (SELECT 1 FROM blob_piece WHERE sha256 = ?1) FROM blob WHERE sha256 = ?1", sum[:]).
		Scan(&a.MediaType, &held)
	if err != nil {
		return nil, err
	}
	if held {
		return a, errKnownBlob
	}
	for start := 0; start < len(raw); start += blobPieceBytes {
		piece := raw[start:min(start+blobPieceBytes, len(raw))]
		if _, err := tx.ExecContext(ctx, "INSERT INTO blob_piece (sha256, start, bytes) VALUES (?, ?, ?)", sum[:], start, piece); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// mediaType tells what a file is by its first bytes.
func mediaType(raw []byte) string {
	head := raw[:min(len(raw), 512)]
	switch {
	case len(raw) == 0:
		return "application/octet-stream"
	case bytes.HasPrefix(head, []byte("#!AMR")):
		return "audio/amr" // what telephones record
	case len(head) >= 12 && string(head[4:8]) == "ftyp":
		switch brand := string(head[8:12]); {
		case brand == "M4A " || brand == "M4B ":
			return "audio/mp4"
		case brand == "heic" || brand == "heix" || brand == "mif1":
			return "image/heic"
		case strings.HasPrefix(brand, "3g"):
			return "video/3gpp"
		}
	case len(head) >= 2 && head[0] == 0xff && head[1]&0xf6 == 0xf0:
		return "audio/aac"
	}
	return http.DetectContentType(head)
}

// AttachOptions say how attachments are added.
type AttachOptions struct {
	// Replace lists the attachments instead of those the interview had. Those stay in its earlier revisions.
	Replace bool
}

// Attach lists attachments, whose bytes AddBlob has kept, in an interview, named by its id or its key: in its draft if
// it has one, else in a new revision. It reports false where they are listed already, and then adds nothing. It fails
// with fault.BadInterview where no interview, or more than one, has that name, where it has several current revisions,
// and where its answers were pruned.
func (s *Store) Attach(ctx context.Context, interview string, opts AttachOptions, all ...*surveyv1.Attachment) (added bool, err error) {
	for _, a := range all {
		if err := s.hasBlob(ctx, a); err != nil {
			return false, dbFault(err, "attach to interview %s", interview)
		}
	}
	iv, draft, err := s.current(ctx, interview)
	if err != nil {
		return false, dbFault(err, "attach to interview %s", interview)
	}
	if opts.Replace {
		if slices.EqualFunc(iv.GetAttachments(), all, func(a, b *surveyv1.Attachment) bool { return proto.Equal(a, b) }) {
			return false, nil
		}
		iv.Attachments = nil
	}
	for _, a := range all {
		if !slices.ContainsFunc(iv.GetAttachments(), func(b *surveyv1.Attachment) bool { return bytes.Equal(a.GetSha256(), b.GetSha256()) }) {
			iv.Attachments = append(iv.Attachments, proto.CloneOf(a))
			added = true
		}
	}
	switch {
	case !added && !opts.Replace:
		return false, nil
	case draft:
		return true, s.SaveDraft(ctx, iv)
	}
	err = inTx(ctx, s.db, func(tx *sql.Tx) error {
		_, _, err := s.write(ctx, tx, iv)
		return err
	})
	failpoint.Hit("tablet.after-attach")
	return true, dbFault(err, "attach to interview %s", interview)
}

// hasBlob fails unless AddBlob has kept the bytes of an attachment.
func (s *Store) hasBlob(ctx context.Context, a *surveyv1.Attachment) error {
	var size int64
	err := s.db.QueryRowContext(ctx, "SELECT size FROM blob WHERE sha256 = ?", a.GetSha256()).Scan(&size)
	if errors.Is(err, sql.ErrNoRows) || err == nil && size != a.GetSize() {
		return fault.New(fault.NotFound, fault.NoSuchBlob, "the bytes of attachment %x are not in the store", a.GetSha256())
	}
	return err
}

// current finds an interview as it is now: its draft, or its one current revision.
func (s *Store) current(ctx context.Context, name string) (iv *surveyv1.Interview, draft bool, err error) {
	drafts, err := s.Drafts(ctx)
	if err != nil && len(drafts) == 0 {
		return nil, false, err
	}
	for _, d := range drafts {
		if d.GetInterviewId() == name || d.GetInterviewKey() == name {
			return d, true, nil
		}
	}
	ids, err := interviewIDs(ctx, s.db)
	if err != nil {
		return nil, false, err
	}
	byID := slices.Contains(ids, name)
	for _, id := range ids {
		if byID && id != name {
			continue
		}
		revs, err := knownRevisions(ctx, s.db, servicev1.RecordKind_RECORD_KIND_INTERVIEW, id)
		if err != nil {
			return nil, false, err
		}
		heads := headsOf(revs)
		if len(heads) == 0 {
			continue
		}
		found, err := s.interview(ctx, heads[0])
		switch {
		case fault.KindOf(err) == fault.NotFound && byID:
			return nil, false, fault.New(fault.NotFound, fault.BadInterview, "%w", err)
		case err != nil && byID:
			return nil, false, err
		case err != nil || found.GetInterviewKey() != name && !byID: // of a pruned one the key is not known
			continue
		case len(heads) > 1:
			return nil, false, fault.New(fault.Conflict, fault.BadInterview, "it has %d current revisions: the supervisor decides between them first", len(heads))
		case iv != nil:
			return nil, false, fault.New(fault.Invalid, fault.BadInterview, "two interviews have that key: name it by its interview_id, %s or %s", iv.GetInterviewId(), id)
		}
		iv = found
	}
	if iv == nil {
		return nil, false, fault.New(fault.NotFound, fault.BadInterview, "there is none with that id or key here; of those pruned only the id is known")
	}
	return iv, false, nil
}

// useBlobs notes which attachments a record lists, in the transaction that writes it. What cannot be an attachment has no
// bytes that could be sent; the interview is recorded all the same.
func useBlobs(ctx context.Context, tx *sql.Tx, r *servicev1.Record, d syncer.Digest) error {
	for _, ref := range r.GetBlobs() {
		id, _, err := syncer.ParseBlobRef(ref)
		if err != nil {
			continue
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO blob_use (digest, sha256) VALUES (?, ?) ON CONFLICT DO NOTHING", d[:], id[:]); err != nil {
			return err
		}
	}
	return nil
}

// blobBytes reads a stretch of an attachment. fault.BlobDamaged: rows are gone.
func (s *Store) blobBytes(ctx context.Context, id syncer.BlobID, r syncer.Range) ([]byte, error) {
	out := make([]byte, 0, r.End-r.Start)
	for at := r.Start; at < r.End; {
		first := at / blobPieceBytes * blobPieceBytes
		var piece []byte
		err := s.db.QueryRowContext(ctx, "SELECT bytes FROM blob_piece WHERE sha256 = ? AND start = ?", id[:], first).Scan(&piece)
		if errors.Is(err, sql.ErrNoRows) || err == nil && int64(len(piece)) <= at-first {
			return nil, fault.New(fault.Internal, fault.BlobDamaged, "bytes of attachment %x are gone from the tablet", id[:4])
		}
		if err != nil {
			return nil, err
		}
		piece = piece[at-first : min(int64(len(piece)), r.End-first)]
		out = append(out, piece...)
		at += int64(len(piece))
	}
	return out, nil
}

// verifyBlob hashes an attachment as it stands in the store.
func (s *Store) verifyBlob(ctx context.Context, id syncer.BlobID, size int64) error {
	h := sha256.New()
	for at := int64(0); at < size; at += blobPieceBytes {
		piece, err := s.blobBytes(ctx, id, syncer.Range{Start: at, End: min(at+blobPieceBytes, size)})
		if err != nil {
			return err
		}
		h.Write(piece)
	}
	if syncer.BlobID(h.Sum(nil)) != id {
		return fault.New(fault.Internal, fault.BlobDamaged, "attachment %x is damaged on the tablet", id[:4])
	}
	return nil
}

// InterviewID is the id of the interview of this tablet that has this id or key; fault.BadInterview where there is none.
func (s *Store) InterviewID(ctx context.Context, name string) (string, error) {
	iv, _, err := s.current(ctx, name)
	return iv.GetInterviewId(), dbFault(err, "look up an interview in %s", s.path)
}
