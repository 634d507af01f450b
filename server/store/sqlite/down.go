package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// downStmts are the statements that write what travels to tablets.
type downStmts struct {
	saveAssignment, saveReview *stmt
	saveBelonging, dropBelongs *stmt
	dropReviews                *stmt
	met                        *stmt
	newRow, oldRow, saveRow    *stmt
	oldSum, saveSum            *stmt
}

func (p *projection) prepareDown() {
	for _, q := range []struct {
		to    **stmt
		query string
	}{
		{&p.saveAssignment, `INSERT INTO assignment (part, assignment_id, study, holder, next, site_id, interviews, problem, body)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (part, assignment_id) DO UPDATE SET study = excluded.study,
			holder = excluded.holder, next = excluded.next, site_id = excluded.site_id, interviews = excluded.interviews,
			problem = excluded.problem, body = excluded.body`},
		{&p.saveReview, `INSERT INTO review (part, interview_id, review_id, study, time_ms, body) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (part, interview_id, review_id) DO UPDATE SET study = excluded.study, time_ms = excluded.time_ms, body = excluded.body`},
		{&p.saveBelonging, `INSERT INTO assignment_interview (part, interview_id, assignment_id, interview_key, enumerator, completed)
			VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (part, interview_id) DO UPDATE SET assignment_id = excluded.assignment_id,
			interview_key = excluded.interview_key, enumerator = excluded.enumerator, completed = excluded.completed`},
		{&p.dropBelongs, `DELETE FROM assignment_interview WHERE part = ? AND interview_id = ?`},
		{&p.dropReviews, `DELETE FROM review WHERE part = ? AND interview_id = ?`},
		{&p.met, `SELECT EXISTS (SELECT 1 FROM interview WHERE interview_id = ?1 AND part = ?2)
			OR EXISTS (SELECT 1 FROM review WHERE part = ?2 AND interview_id = ?1)`},
		{&p.newRow, `INSERT INTO down_row (part, kind, study, scope, key, counter, body) VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (part, kind, study, scope, key) DO NOTHING`},
		{&p.oldRow, `SELECT body, counter FROM down_row WHERE part = ? AND kind = ? AND study = ? AND scope = ? AND key = ?`},
		{&p.saveRow, `INSERT INTO down_row (part, kind, study, scope, key, counter, body) VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (part, kind, study, scope, key) DO UPDATE SET counter = excluded.counter, body = excluded.body`},
		{&p.oldSum, `SELECT sum, held, last FROM down_sum WHERE part = ? AND kind = ? AND study = ? AND scope = ?`},
		{&p.saveSum, `INSERT INTO down_sum (part, kind, study, scope, sum, held, last) VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (part, kind, study, scope) DO UPDATE SET sum = excluded.sum, held = excluded.held, last = excluded.last`},
	} {
		*q.to = p.w.prepare(q.query)
	}
}

// putBelonging notes to which assignment an interview belongs. A new interview without one has nothing to take back.
func (p *projection) putBelonging(iv *servicev1.InterviewSummary, known bool) error {
	part := int64(iv.GetPart())
	if iv.GetAssignmentId() == "" {
		if !known {
			return nil
		}
		_, err := p.dropBelongs.exec(part, iv.GetInterviewId())
		return err
	}
	_, err := p.saveBelonging.exec(part, iv.GetInterviewId(), iv.GetAssignmentId(), iv.GetInterviewKey(), iv.GetEnumerator(), truth(finished(iv)))
	return err
}

// finished says whether the enumerator has completed an interview, whatever was said of it since.
func finished(iv *servicev1.InterviewSummary) bool {
	switch iv.GetReviewState() {
	case servicev1.ReviewState_REVIEW_STATE_UNSPECIFIED, servicev1.ReviewState_REVIEW_STATE_IN_PROGRESS:
		return false
	}
	return true
}

func truth(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// bucketKey is a bucket within a part.
type bucketKey struct {
	part   uint64
	bucket store.Bucket
}

// change is what rows do to the sum of a bucket in a part.
type change struct {
	sum  uint64
	held int64
	last uint64
}

// putDown writes assignments, reviews and rows.
func (p *projection) putDown(changes *store.Changes) error {
	for _, a := range changes.Assignments {
		body, err := deterministic(a)
		if err != nil {
			return err
		}
		o := a.GetAssignment()
		if _, err := p.saveAssignment.exec(int64(o.GetPart()), o.GetAssignmentId(), o.GetStudy(), a.GetHolder(), a.GetNext(), o.GetSiteId(),
			int64(o.GetInterviews()), truth(len(a.GetProblems()) > 0), body); err != nil {
			return err
		}
	}
	for _, r := range changes.Reviews {
		body, err := deterministic(r.Review)
		if err != nil {
			return err
		}
		if _, err := p.saveReview.exec(int64(r.Part), r.Review.GetInterviewId(), r.Review.GetReviewId(), r.Review.GetStudy(), r.Review.GetTimeMs(), body); err != nil {
			return err
		}
	}
	sums := map[bucketKey]*change{}
	for _, r := range changes.Rows {
		if err := p.putRow(r, sums); err != nil {
			return err
		}
	}
	for k, c := range sums {
		b := k.bucket
		old, err := p.oldSum.row(int64(k.part), int64(b.Kind), b.Study, b.Scope)
		if err != nil {
			return err
		}
		if old != nil {
			c.sum, c.held, c.last = c.sum+uint64(integer(old[0])), c.held+integer(old[1]), max(c.last, uint64(integer(old[2])))
		}
		if _, err := p.saveSum.exec(int64(k.part), int64(b.Kind), b.Study, b.Scope, int64(c.sum), c.held, int64(c.last)); err != nil {
			return err
		}
	}
	return nil
}

// putRow replaces one row and notes how its bucket's sum changes. That a row is gone is kept only where it was.
func (p *projection) putRow(r store.Row, sums map[bucketKey]*change) error {
	args := [...]any{int64(r.Part), int64(r.Kind), r.Study, r.Scope, r.Key, int64(r.Counter), nil}
	var old []driver.Value
	made := int64(0)
	var err error
	if r.Body != nil {
		args[6] = r.Body
		made, err = p.newRow.exec(args[:]...) // most are new
	}
	if err == nil && made == 0 {
		old, err = p.oldRow.row(args[:5]...)
	}
	if err != nil || made == 0 && old == nil { // it is gone, and was never there
		return err
	}
	k := bucketKey{r.Part, r.Bucket}
	c := sums[k]
	if c == nil {
		c = &change{}
		sums[k] = c
	}
	if old != nil && old[0] != nil {
		c.sum -= syncer.RowFingerprint(r.Kind, r.Key, blob(old[0]))
		c.held--
	}
	if r.Body != nil {
		c.sum += syncer.RowFingerprint(r.Kind, r.Key, r.Body)
		c.held++
	}
	c.last = max(c.last, r.Counter)
	if made == 0 {
		_, err = p.saveRow.exec(args[:]...)
	}
	return err
}

// Assignment returns one assignment with its interviews.
func (s *Store) Assignment(ctx context.Context, id string) (*servicev1.AssignmentSummary, error) {
	var body []byte
	err := s.projection.db.QueryRowContext(ctx, `SELECT body FROM assignment WHERE assignment_id = ? ORDER BY part LIMIT 1`, id).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fault.New(fault.NotFound, fault.NoSuchAssignment, "there is no assignment %.64q", id)
	}
	if err != nil {
		return nil, wrap(err, "read an assignment")
	}
	a := &servicev1.AssignmentSummary{}
	if err := proto.Unmarshal(body, a); err != nil {
		return nil, damagedProjection(err)
	}
	return a, wrap(s.addInterviews(ctx, a), "read the interviews of an assignment")
}

// addInterviews adds the interviews that belong to an assignment.
func (s *Store) addInterviews(ctx context.Context, a *servicev1.AssignmentSummary) error {
	rows, err := s.projection.db.QueryContext(ctx, `SELECT interview_id, interview_key, enumerator, completed FROM assignment_interview
		WHERE assignment_id = ? ORDER BY interview_id, part`, a.GetAssignment().GetAssignmentId())
	if err != nil {
		return err
	}
	defer rows.Close()
	var all []*servicev1.AssignmentInterview
	for rows.Next() {
		var id, key, enumerator string
		var completed bool
		if err := rows.Scan(&id, &key, &enumerator, &completed); err != nil {
			return err
		}
		all = append(all, &servicev1.AssignmentInterview{
			InterviewId: proto.String(id), InterviewKey: proto.String(key), Enumerator: proto.String(enumerator), Completed: proto.Bool(completed),
		})
	}
	store.Belonging(a, all)
	return rows.Err()
}

// Assignments returns those that match, in order of their ids.
func (s *Store) Assignments(ctx context.Context, f store.AssignmentFilter) ([]*servicev1.AssignmentSummary, error) {
	where, args := []string{"1"}, []any{}
	and := func(condition string, values ...any) { where, args = append(where, condition), append(args, values...) }
	if f.Study != "" {
		and("study = ?", f.Study)
	}
	if f.Enumerator != "" {
		and("(holder = ? OR next = ?)", f.Enumerator, f.Enumerator)
	}
	if f.SiteID != "" {
		and("site_id = ?", f.SiteID)
	}
	if f.After != "" {
		and("assignment_id > ?", f.After)
	}
	if f.ProblemsOnly {
		and(`(problem = 1 OR (SELECT count(*) FROM assignment_interview AS i WHERE i.assignment_id = a.assignment_id AND i.completed = 1) > interviews
			OR (SELECT count(DISTINCT i.enumerator) FROM assignment_interview AS i WHERE i.assignment_id = a.assignment_id AND i.completed = 1) > 1)`)
	}
	query := "SELECT body FROM assignment AS a WHERE " + strings.Join(where, " AND ") + " ORDER BY assignment_id, part"
	if f.Limit > 0 {
		query, args = query+" LIMIT ?", append(args, f.Limit)
	}
	var out []*servicev1.AssignmentSummary
	err := s.bodies(ctx, func(body []byte) error {
		a := &servicev1.AssignmentSummary{}
		out = append(out, a)
		return proto.Unmarshal(body, a)
	}, query, args...)
	for _, a := range out {
		if err == nil {
			err = s.addInterviews(ctx, a)
		}
	}
	return out, wrap(err, "list the assignments")
}

// Reviews returns what was said of one interview or of all, the newest first.
func (s *Store) Reviews(ctx context.Context, interviewID, study, after string, limit int) ([]*servicev1.Review, error) {
	where, args, index := []string{"1"}, []any{}, "review_in_order"
	if interviewID != "" {
		where, args, index = append(where, "interview_id = ?"), append(args, interviewID), "review_of"
	}
	if study != "" {
		where, args = append(where, "study = ?"), append(args, study)
	}
	if after != "" {
		var ms int64
		err := s.projection.db.QueryRowContext(ctx, `SELECT time_ms FROM review WHERE review_id = ? LIMIT 1`, after).Scan(&ms)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, fault.New(fault.NotFound, fault.BadPageToken, "there is no review %.64q to continue after", after)
		}
		if err != nil {
			return nil, wrap(err, "list the reviews")
		}
		where, args = append(where, "(time_ms, review_id) < (?, ?)"), append(args, ms, after)
	}
	query := "SELECT body FROM review INDEXED BY " + index + " WHERE " + strings.Join(where, " AND ") + " ORDER BY time_ms DESC, review_id DESC"
	if limit > 0 {
		query, args = query+" LIMIT ?", append(args, limit)
	}
	var out []*servicev1.Review
	err := s.bodies(ctx, func(body []byte) error {
		r := &servicev1.Review{}
		out = append(out, r)
		return proto.Unmarshal(body, r)
	}, query, args...)
	return out, wrap(err, "list the reviews")
}
