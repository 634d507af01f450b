package tablet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"io"

	"github.com/google/uuid"
	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/failpoint"
	"google.golang.org/protobuf/proto"
)

// known is a revision of an interview that the tablet knows of, its own or pulled.
type known struct {
	syncer.Revision
	payload []byte // SHA-256; nil for pulled ones
	part    uint64
	status  int64
}

// checkInterview fails with fault.BadInterview unless the interview can be told from all others.
func checkInterview(iv *surveyv1.Interview) error {
	id := iv.GetInterviewId()
	if id == "" {
		return fault.New(fault.Invalid, fault.BadInterview, "the interview has no interview_id")
	}
	u, err := uuid.Parse(id)
	if err != nil || u.String() != id {
		return fault.New(fault.Invalid, fault.BadInterview, "interview_id %.60q is not a UUID in lower case with hyphens", id)
	}
	if u.Version() != 4 || u.Variant() != uuid.RFC4122 {
		return fault.New(fault.Invalid, fault.BadInterview, "interview_id %s is a UUID of version %d, want 4", id, u.Version())
	}
	return nil
}

// questionnaireOf is the full name of the message set in the interview's answers; for a questionnaire published at run
// time the name it gives; "" if there are no answers, as after a visit at which nobody was met.
func questionnaireOf(iv *surveyv1.Interview) string {
	if other := iv.GetOther(); other != nil {
		return other.GetQuestionnaire()
	}
	m := iv.ProtoReflect()
	answers := m.Descriptor().Oneofs().ByName("answers")
	if answers == nil {
		return ""
	}
	field := m.WhichOneof(answers)
	if field == nil || field.Message() == nil {
		return ""
	}
	return string(field.Message().FullName())
}

// write appends a revision of an interview, which replaces all current ones, to the log and the lane. It reports false,
// with the digest of the revision there is, where that is the only current one and has the same payload.
func (s *Store) write(ctx context.Context, tx *sql.Tx, iv *surveyv1.Interview) (syncer.Digest, bool, error) {
	return s.revise(ctx, tx, iv, false)
}

// revise is write; with confirm it also writes a revision with the same answers where that answers a rejection.
func (s *Store) revise(ctx context.Context, tx *sql.Tx, iv *surveyv1.Interview, confirm bool) (syncer.Digest, bool, error) {
	if err := checkInterview(iv); err != nil {
		return syncer.Digest{}, false, err
	}
	iv = s.signed(iv)
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(iv)
	if err != nil {
		return syncer.Digest{}, false, fault.New(fault.Invalid, fault.BadInterview, "interview %s cannot be written: %w", iv.GetInterviewId(), err)
	}
	sum := sha256.Sum256(payload)
	revs, err := knownRevisions(ctx, tx, servicev1.RecordKind_RECORD_KIND_INTERVIEW, iv.GetInterviewId())
	if err != nil {
		return syncer.Digest{}, false, err
	}
	heads := headsOf(revs)
	var rejections [][]byte
	if len(revs) > 0 {
		if rejections, err = s.openRejections(ctx, tx, iv.GetInterviewId()); err != nil {
			return syncer.Digest{}, false, err
		}
	}
	for _, r := range revs {
		if confirm && len(rejections) > 0 {
			break
		}
		if len(heads) == 1 && r.Digest == heads[0] && bytes.Equal(r.payload, sum[:]) {
			return r.Digest, false, nil
		}
	}
	record, err := s.envelope(iv, payload)
	if err != nil {
		return syncer.Digest{}, false, err
	}
	if len(revs) > 0 {
		record.Part = proto.Uint64(revs[0].part)
	} else if *record.Part, err = s.partOf(ctx, tx, iv, record.GetPart()); err != nil {
		return syncer.Digest{}, false, err
	}
	record.Reviews = rejections
	for _, h := range heads {
		record.Parents = append(record.Parents, bytes.Clone(h[:]))
	}
	raw, digest, err := syncer.Seal(record)
	if err != nil {
		return syncer.Digest{}, false, asInterview(err)
	}
	failpoint.Hit("tablet.before-record")
	if err := insertRecord(ctx, tx, record, raw, digest, int64(iv.GetStatus()), sum[:]); err != nil {
		return digest, false, err
	}
	if err := useBlobs(ctx, tx, record, digest); err != nil {
		return digest, false, err
	}
	if err := s.list(ctx, tx, digest); err != nil {
		return digest, false, err
	}
	if err := answer(ctx, tx, rejections, digest); err != nil {
		return digest, false, err
	}
	return digest, true, s.useAssignment(ctx, tx, iv)
}

// signed is the interview in the tablet's study and by its enumerator where it does not say.
func (s *Store) signed(iv *surveyv1.Interview) *surveyv1.Interview {
	if iv.GetStudy() != "" && (iv.GetEnumerator() != "" || s.enumerator == "") {
		return iv
	}
	iv = proto.CloneOf(iv)
	if iv.GetStudy() == "" {
		iv.Study = proto.String(s.study)
	}
	if iv.GetEnumerator() == "" && s.enumerator != "" {
		iv.Enumerator = proto.String(s.enumerator)
	}
	return iv
}

// asInterview says of an envelope that cannot be sealed that the interview is at fault.
func asInterview(err error) error {
	if fault.ReasonOf(err) == fault.RecordUnreadable {
		return fault.New(fault.Invalid, fault.BadInterview, "the interview cannot be recorded: %w", err)
	}
	return err
}

// envelope fills in everything of a record but its parents.
func (s *Store) envelope(iv *surveyv1.Interview, payload []byte) (*servicev1.Record, error) {
	now := s.now()
	id, err := s.newID(now.UnixMilli())
	if err != nil {
		return nil, err
	}
	r := &servicev1.Record{
		Id: id[:], Kind: servicev1.RecordKind_RECORD_KIND_INTERVIEW.Enum(), Subject: proto.String(iv.GetInterviewId()),
		Study: proto.String(iv.GetStudy()), Author: proto.String(iv.GetEnumerator()), Device: bytes.Clone(s.device[:]),
		WallTimeMs: proto.Int64(now.UnixMilli()), BootId: bytes.Clone(s.boot[:]),
		MonotonicMs: proto.Int64(now.Sub(s.opened).Milliseconds()), Payload: payload,
	}
	if iv.Round != nil {
		r.Round = proto.Uint32(iv.GetRound())
	}
	r.Part = proto.Uint64(syncer.Part(r.GetStudy(), iv.GetSiteId()))
	if q := questionnaireOf(iv); q != "" {
		r.Questionnaire = proto.String(q)
	}
	if iv.QuestionnaireVersion != nil {
		r.QuestionnaireVersion = proto.Uint32(iv.GetQuestionnaireVersion())
	}
	if s.fingerprint != nil && r.GetQuestionnaire() != "" {
		r.SchemaFingerprint = s.fingerprint(r.GetQuestionnaire(), iv.GetQuestionnaireVersion())
	}
	for _, a := range iv.GetAttachments() {
		r.Blobs = append(r.Blobs, &servicev1.BlobRef{Sha256: a.GetSha256(), Size: proto.Int64(a.GetSize()), MediaType: proto.String(a.GetMediaType())})
	}
	return r, nil
}

// newID makes a UUIDv7.
func (s *Store) newID(ms int64) (syncer.ID, error) {
	var id syncer.ID
	if _, err := io.ReadFull(s.rand, id[:]); err != nil {
		return id, fault.New(fault.Internal, "", "read randomness: %w", err)
	}
	var stamp [8]byte
	binary.BigEndian.PutUint64(stamp[:], uint64(ms)<<16)
	copy(id[:6], stamp[:6])
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id, nil
}

func insertRecord(ctx context.Context, tx *sql.Tx, r *servicev1.Record, raw []byte, d syncer.Digest, status int64, payload []byte) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO record
		(id, digest, kind, subject, parents, part, questionnaire, status, payload_sha256, size, written_ms, body)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		r.GetId(), d[:], int64(r.GetKind()), r.GetSubject(), joined(r.GetParents()),
		int64(r.GetPart()), r.GetQuestionnaire(), status, payload, len(raw), r.GetWallTimeMs(), raw)
	return err
}

// list gives a record the next place in the current lane.
func (s *Store) list(ctx context.Context, tx *sql.Tx, d syncer.Digest) error {
	epoch, err := currentEpoch(ctx, tx)
	if err != nil {
		return err
	}
	lane := syncer.LaneID{Device: s.device, Epoch: epoch}
	failpoint.Hit("tablet.before-list")
	head, err := laneHead(ctx, tx, epoch)
	if err != nil {
		return err
	}
	chain := syncer.NextChain(head.Chain, lane, head.Seq+1, d)
	_, err = tx.ExecContext(ctx, "INSERT INTO lane_entry (epoch, seq, digest, chain) VALUES (?, ?, ?, ?)",
		epoch[:], int64(head.Seq+1), d[:], chain[:])
	return err
}

func currentEpoch(ctx context.Context, q querier) (syncer.ID, error) {
	var raw []byte
	if err := q.QueryRowContext(ctx, "SELECT epoch FROM meta").Scan(&raw); err != nil {
		return syncer.ID{}, err
	}
	return syncer.ParseID(raw)
}

// laneHead is the end of one of the tablet's own lanes.
func laneHead(ctx context.Context, q querier, epoch syncer.ID) (syncer.Head, error) {
	var seq int64
	var raw []byte
	err := q.QueryRowContext(ctx, "SELECT seq, chain FROM lane_entry WHERE epoch = ? ORDER BY seq DESC LIMIT 1", epoch[:]).Scan(&seq, &raw)
	if errors.Is(err, sql.ErrNoRows) {
		return syncer.Head{}, nil
	}
	if err != nil {
		return syncer.Head{}, err
	}
	chain, err := syncer.ParseChain(raw)
	return syncer.Head{Seq: uint64(seq), Chain: chain}, err
}

// knownRevisions lists the revisions of a subject, those of this tablet first, in the order they were written.
func knownRevisions(ctx context.Context, q querier, kind servicev1.RecordKind, subject string) ([]known, error) {
	rows, err := q.QueryContext(ctx, `SELECT digest, parents, part, status, payload_sha256, 0 AS source, n FROM record WHERE subject = ?1 AND kind = ?2
		UNION ALL SELECT digest, parents, part, status, NULL, 1, n FROM pulled WHERE subject = ?1 AND kind = ?2
		ORDER BY source, n`, subject, int64(kind))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var revs []known
	for rows.Next() {
		var k known
		var digest, parents []byte
		var part, source, n int64
		if err := rows.Scan(&digest, &parents, &part, &k.status, &k.payload, &source, &n); err != nil {
			return nil, err
		}
		if k.Digest, err = syncer.ParseDigest(digest); err != nil {
			return nil, err
		}
		for p := range slicesOf(parents, len(syncer.Digest{})) {
			k.Parents = append(k.Parents, syncer.Digest(p))
		}
		k.part, k.Rank = uint64(part), rankOf(surveyv1.InterviewStatus(k.status))
		revs = append(revs, k)
	}
	return revs, rows.Err()
}

// slicesOf yields b in pieces of exactly size bytes.
func slicesOf(b []byte, size int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for ; len(b) >= size; b = b[size:] {
			if !yield(b[:size]) {
				return
			}
		}
	}
}

// rankOf is how far an interview had got, for syncer.Heads.
func rankOf(status surveyv1.InterviewStatus) int {
	if status == surveyv1.InterviewStatus_INTERVIEW_STATUS_COMPLETED {
		return 1
	}
	return 0
}

func headsOf(revs []known) []syncer.Digest {
	all := make([]syncer.Revision, len(revs))
	for i, r := range revs {
		all[i] = r.Revision
	}
	return syncer.Heads(all)
}

// joined is parents one after the other; never nil, which the database would take for NULL.
func joined(parents [][]byte) []byte {
	all := make([]byte, 0, len(parents)*len(syncer.Digest{}))
	for _, p := range parents {
		all = append(all, p...)
	}
	return all
}
