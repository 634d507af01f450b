package tablet

import (
	"context"
	"database/sql"
	"errors"

	"github.com/hearth-survey/hearth/proto/fault"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// SaveDraft keeps an interview that is still being filled in; it is durable when the call returns. Each call replaces
// the draft of the same interview_id before it. The app calls it at every answer.
func (s *Store) SaveDraft(ctx context.Context, iv *surveyv1.Interview) error {
	if err := checkInterview(iv); err != nil {
		return err
	}
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(iv)
	if err != nil {
		return fault.New(fault.Invalid, fault.BadInterview, "interview %s cannot be written: %w", iv.GetInterviewId(), err)
	}
	if len(body) > syncer.MaxRecordBytes {
		return fault.New(fault.TooLarge, fault.RecordTooLarge, "interview %s has %d bytes, the limit is %d", iv.GetInterviewId(), len(body), syncer.MaxRecordBytes)
	}
	digest := syncer.DigestOf(body)
	_, err = s.db.ExecContext(ctx, `INSERT INTO draft (interview_id, body, digest, saved_ms) VALUES (?, ?, ?, ?)
		ON CONFLICT (interview_id) DO UPDATE SET body = excluded.body, digest = excluded.digest, saved_ms = excluded.saved_ms`,
		iv.GetInterviewId(), body, digest[:], s.now().UnixMilli())
	return dbFault(err, "save the draft of interview %s", iv.GetInterviewId())
}

// Drafts returns the interviews that are still being filled in, the one saved last first. Damaged drafts are left out
// and come as an error beside the good ones.
func (s *Store) Drafts(ctx context.Context) ([]*surveyv1.Interview, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT interview_id, body, digest FROM draft ORDER BY saved_ms DESC, interview_id")
	if err != nil {
		return nil, dbFault(err, "read the drafts")
	}
	defer rows.Close()
	var drafts []*surveyv1.Interview
	var damaged []error
	for rows.Next() {
		var id string
		var body, digest []byte
		if err := rows.Scan(&id, &body, &digest); err != nil {
			return drafts, dbFault(err, "read the drafts")
		}
		iv, err := openDraft(id, body, digest)
		if err != nil {
			damaged = append(damaged, err)
			continue
		}
		drafts = append(drafts, iv)
	}
	return drafts, errors.Join(append(damaged, dbFault(rows.Err(), "read the drafts"))...)
}

func openDraft(id string, body, digest []byte) (*surveyv1.Interview, error) {
	iv := &surveyv1.Interview{}
	if d := syncer.DigestOf(body); string(d[:]) != string(digest) || proto.Unmarshal(body, iv) != nil {
		return nil, fault.New(fault.Internal, fault.StoreDamaged, "the draft of interview %s is damaged", id)
	}
	return iv, nil
}

// DropDraft throws a draft away, as when the enumerator cancels a revision. The interview's records stay.
func (s *Store) DropDraft(ctx context.Context, interviewID string) error {
	_, err := s.db.ExecContext(ctx, "DELETE FROM draft WHERE interview_id = ?", interviewID)
	return dbFault(err, "drop the draft of interview %s", interviewID)
}

// Complete turns a draft into a record with status completed, in the tablet's study and by its enumerator where the
// draft does not say, and removes the draft, in one transaction. The record replaces the revisions of the interview
// that the tablet knows. Completing the current answers again adds nothing and returns the
// digest of the record there is, unless they were rejected: then the record confirms them.
func (s *Store) Complete(ctx context.Context, interviewID string) (syncer.Digest, error) {
	var digest syncer.Digest
	err := inTx(ctx, s.db, func(tx *sql.Tx) error {
		var body, sum []byte
		err := tx.QueryRowContext(ctx, "SELECT body, digest FROM draft WHERE interview_id = ?", interviewID).Scan(&body, &sum)
		if errors.Is(err, sql.ErrNoRows) {
			return fault.New(fault.NotFound, fault.BadInterview, "there is no draft of interview %s", interviewID)
		}
		if err != nil {
			return err
		}
		iv, err := openDraft(interviewID, body, sum)
		if err != nil {
			return err
		}
		iv.Status = surveyv1.InterviewStatus_INTERVIEW_STATUS_COMPLETED.Enum()
		if digest, _, err = s.revise(ctx, tx, iv, true); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "DELETE FROM draft WHERE interview_id = ?", interviewID)
		return err
	})
	return digest, dbFault(err, "complete interview %s", interviewID)
}

// AddInterview writes an interview as a record without a draft, as it is given, in the tablet's study and by its
// enumerator where it does not say. It reports false where the
// interview's one current revision has the same answers, and then adds nothing; otherwise the record replaces all current
// revisions.
func (s *Store) AddInterview(ctx context.Context, iv *surveyv1.Interview) (syncer.Digest, bool, error) {
	var digest syncer.Digest
	var added bool
	err := inTx(ctx, s.db, func(tx *sql.Tx) error {
		var err error
		digest, added, err = s.write(ctx, tx, iv)
		return err
	})
	return digest, added, dbFault(err, "add interview %s", iv.GetInterviewId())
}
