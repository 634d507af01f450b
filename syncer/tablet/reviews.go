package tablet

import (
	"context"
	"database/sql"
	"errors"
	"slices"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/dedup"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/plant"
	"google.golang.org/protobuf/proto"
)

// maxAnswered bounds how many reviews one revision answers.
const maxAnswered = 64

// ReviewStatus is what was said of an interview of this tablet's enumerator.
type ReviewStatus struct {
	Review *servicev1.Review
	// Open is true for a rejection that no revision of this tablet has answered yet.
	Open bool
	// Here is true where the tablet has the interview.
	Here bool
	// Newer is true where the revision that was looked at is not the tablet's current one: both matter.
	Newer bool

	digest []byte
}

// reviewRows reads what was said, of one interview or, without an id, of all.
func (s *Store) reviewRows(ctx context.Context, q querier, interviewID string) (_ []ReviewStatus, err error) {
	rows, err := q.QueryContext(ctx, `SELECT r.key, r.body FROM down_row AS r WHERE r.kind = ? AND r.scope = ? ORDER BY r.key`,
		int64(servicev1.BucketKind_BUCKET_KIND_REVIEWS), s.enumerator)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var out []ReviewStatus
	for rows.Next() {
		var key string
		var body []byte
		if err := rows.Scan(&key, &body); err != nil {
			return nil, err
		}
		row := &servicev1.ReviewRow{}
		if err := proto.Unmarshal(body, row); err != nil || len(row.GetDigest()) != len(syncer.Digest{}) {
			return nil, fault.New(fault.Internal, fault.StoreDamaged, "review %s is damaged: %w", key, err)
		}
		if interviewID == "" || row.GetReview().GetInterviewId() == interviewID {
			out = append(out, ReviewStatus{Review: row.GetReview(), digest: row.GetDigest()})
		}
	}
	return out, rows.Err()
}

// Reviews lists what was said of the interviews of this tablet's enumerator, the newest first.
func (s *Store) Reviews(ctx context.Context) ([]ReviewStatus, error) {
	var out []ReviewStatus
	err := inTx(ctx, s.db, func(tx *sql.Tx) (err error) {
		if out, err = s.reviewRows(ctx, tx, ""); err != nil {
			return err
		}
		for i := range out {
			if err := s.completeReview(ctx, tx, &out[i]); err != nil {
				return err
			}
		}
		return nil
	})
	slices.SortStableFunc(out, func(a, b ReviewStatus) int { return int(min(1, max(-1, b.Review.GetTimeMs()-a.Review.GetTimeMs()))) })
	return out, dbFault(err, "list the reviews")
}

// completeReview says what the tablet has done about a review.
func (s *Store) completeReview(ctx context.Context, tx *sql.Tx, st *ReviewStatus) error {
	if st.Review.GetDecision() == servicev1.ReviewDecision_REVIEW_DECISION_REJECT {
		var answered bool
		if err := tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM review_answer WHERE digest = ?)", st.digest).Scan(&answered); err != nil {
			return err
		}
		st.Open = !answered
	}
	revs, err := knownRevisions(ctx, tx, servicev1.RecordKind_RECORD_KIND_INTERVIEW, st.Review.GetInterviewId())
	if err != nil {
		return err
	}
	heads := headsOf(revs)
	st.Here = len(heads) > 0
	st.Newer = st.Here && !slices.ContainsFunc(heads, func(d syncer.Digest) bool { return string(d[:]) == string(st.Review.GetRevision()) })
	return nil
}

// openRejections are the rejections of an interview that no revision of this tablet has answered.
func (s *Store) openRejections(ctx context.Context, tx *sql.Tx, interviewID string) ([][]byte, error) {
	all, err := s.reviewRows(ctx, tx, interviewID)
	if err != nil || plant.In(plant.RejectionUnanswered) {
		return nil, err
	}
	var out [][]byte
	for i := range all {
		if err := s.completeReview(ctx, tx, &all[i]); err != nil {
			return nil, err
		}
		if all[i].Open && len(out) < maxAnswered {
			out = append(out, all[i].digest)
		}
	}
	return out, nil
}

// answer notes that a revision answers reviews.
func answer(ctx context.Context, tx *sql.Tx, reviews [][]byte, revision syncer.Digest) error {
	for _, d := range reviews {
		if _, err := tx.ExecContext(ctx, "INSERT INTO review_answer (digest, revision) VALUES (?, ?) ON CONFLICT DO NOTHING", d, revision[:]); err != nil {
			return err
		}
	}
	return nil
}

// ReopenForReview makes a draft of an interview that was rejected, with the answers it has, in progress again, and returns
// it; a draft that is there already stays as it is. The revision that Complete makes of it, also one with the same answers,
// names the revision that was rejected as its parent and the rejection as answered.
// It fails with fault.AnswersNotHere where the answers are not on this tablet.
func (s *Store) ReopenForReview(ctx context.Context, interviewID string) (*surveyv1.Interview, error) {
	drafts, err := s.Drafts(ctx)
	for _, iv := range drafts {
		if iv.GetInterviewId() == interviewID {
			return iv, nil
		}
	}
	if err != nil {
		return nil, err
	}
	revs, err := knownRevisions(ctx, s.db, servicev1.RecordKind_RECORD_KIND_INTERVIEW, interviewID)
	if err != nil {
		return nil, dbFault(err, "open interview %s again", interviewID)
	}
	heads := headsOf(revs)
	if len(heads) == 0 {
		return nil, fault.New(fault.NotFound, fault.AnswersNotHere, "interview %.64q was never on this tablet", interviewID)
	}
	iv, err := s.interview(ctx, heads[0])
	if err != nil {
		return nil, fault.New(fault.NotFound, fault.AnswersNotHere, "the answers of interview %s are not on this tablet any more: %w", interviewID, err)
	}
	iv.Status = surveyv1.InterviewStatus_INTERVIEW_STATUS_IN_PROGRESS.Enum()
	return iv, s.SaveDraft(ctx, iv)
}

// Visitor is a person at the door, as far as they have said.
type Visitor struct {
	FamilyName, GivenName string
	BirthYear             int
	Sex                   surveyv1.Sex
	Phone, ResidentID     string
}

// DoorReport is what the tablet knows of a person at the door.
type DoorReport struct {
	// Keys are the spoken keys of interviews at which somebody was met who may be the same person.
	Keys []string
	// Known counts the interviews that the tablet can compare with; 0: it has no roster of this site.
	Known int
	// Clues counts by how many things was looked; 0: too little was said.
	Clues int
}

// DoorCheck says whether a person may have been interviewed before, by the rosters of the sites where the enumerator has
// assignments. It tells keys of interviews and nothing of who was met there. Nothing that was said is kept.
func (s *Store) DoorCheck(ctx context.Context, v Visitor) (DoorReport, error) {
	var r DoorReport
	study := &servicev1.StudyRow{}
	err := rowOf(ctx, s.db, bucketID{servicev1.BucketKind_BUCKET_KIND_STUDY, ""}, s.study, study)
	if errors.Is(err, errNoAssignment) {
		return r, nil
	}
	if err != nil {
		return r, dbFault(err, "look through the roster")
	}
	clue := syncer.Clue{Surname: dedup.Surname("", v.FamilyName, v.GivenName, ""), Sex: int(v.Sex), Phone: v.Phone, ResidentID: v.ResidentID}
	if v.BirthYear != 0 {
		clue.BirthYears = []int{v.BirthYear}
	}
	tokens := syncer.Hints(study.GetHintKey(), clue)
	r.Clues = len(tokens)
	rows, err := s.db.QueryContext(ctx, "SELECT body FROM down_row WHERE kind = ?", int64(servicev1.BucketKind_BUCKET_KIND_ROSTER))
	if err != nil {
		return r, dbFault(err, "look through the roster")
	}
	defer rows.Close()
	for rows.Next() {
		var body []byte
		if err := rows.Scan(&body); err != nil {
			return r, dbFault(err, "look through the roster")
		}
		hint := &servicev1.HintRow{}
		if proto.Unmarshal(body, hint) != nil {
			continue
		}
		r.Known++
		if slices.ContainsFunc(tokens, func(t uint64) bool { return slices.Contains(hint.GetTokens(), t) }) {
			r.Keys = append(r.Keys, hint.GetInterviewKey())
		}
	}
	slices.Sort(r.Keys)
	r.Keys = slices.Compact(r.Keys)
	return r, dbFault(rows.Err(), "look through the roster")
}
