package tablet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// AssignmentStatus is an assignment as it stands on this tablet.
type AssignmentStatus struct {
	Order *servicev1.Assignment
	// State is that of headquarters, and what this tablet has done since.
	State servicev1.AssignmentState
	// Released is true where this tablet has given it back and headquarters may not know yet.
	Released bool
	// Withdrawn is true where it is not this enumerator's any more although it was begun here.
	Withdrawn bool
	// Begun counts the interviews here that belong to it, Completed those of them that are completed.
	Begun, Completed int
}

// errNoAssignment is that the tablet knows nothing of an assignment.
var errNoAssignment = errors.New("no such assignment")

// rowOf reads a row of a bucket into a message; errNoAssignment without one.
func rowOf(ctx context.Context, q querier, id bucketID, key string, to proto.Message) error {
	var body []byte
	err := q.QueryRowContext(ctx, "SELECT body FROM down_row WHERE kind = ? AND scope = ? AND key = ?", int64(id.kind), id.scope, key).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return errNoAssignment
	}
	if err != nil {
		return err
	}
	if err := proto.Unmarshal(body, to); err != nil {
		return fault.New(fault.Internal, fault.StoreDamaged, "row %s of bucket %v: %w", key, id.kind, err)
	}
	return nil
}

func (s *Store) assignmentsID() bucketID {
	return bucketID{servicev1.BucketKind_BUCKET_KIND_ASSIGNMENTS, s.enumerator}
}

// taken are the steps of this tablet about one assignment.
type taken struct {
	started, completed bool
	start              []byte // digest of the record
	released           [][]byte
	order              *servicev1.Assignment
}

func stepsOf(ctx context.Context, q querier, id string) (_ taken, err error) {
	var t taken
	rows, err := q.QueryContext(ctx, "SELECT action, head, digest, body FROM assignment_step WHERE assignment_id = ? ORDER BY action", id)
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var action int64
		var head, digest, body []byte
		if err := rows.Scan(&action, &head, &digest, &body); err != nil {
			return t, err
		}
		order := &servicev1.Assignment{}
		if err := proto.Unmarshal(body, order); err != nil {
			return t, fault.New(fault.Internal, fault.StoreDamaged, "assignment %s: %w", id, err)
		}
		t.order = order
		switch servicev1.AssignmentAction(action) {
		case servicev1.AssignmentAction_ASSIGNMENT_ACTION_START:
			t.started, t.start = true, digest
		case servicev1.AssignmentAction_ASSIGNMENT_ACTION_COMPLETE:
			t.completed = true
		case servicev1.AssignmentAction_ASSIGNMENT_ACTION_RELEASE:
			t.released = append(t.released, head)
		}
	}
	return t, rows.Err()
}

// standing puts together what headquarters says and what the tablet has done.
func standing(ctx context.Context, q querier, row *servicev1.AssignmentRow, id string) (AssignmentStatus, taken, error) {
	t, err := stepsOf(ctx, q, id)
	if err != nil {
		return AssignmentStatus{}, t, err
	}
	st := AssignmentStatus{Order: row.GetAssignment(), State: row.GetState()}
	if row == nil {
		if t.order == nil {
			return st, t, errNoAssignment
		}
		st.Order, st.Withdrawn = t.order, true
	}
	for _, head := range t.released {
		st.Released = st.Released || bytes.Equal(head, row.GetHead())
	}
	switch {
	case t.completed:
		st.State = servicev1.AssignmentState_ASSIGNMENT_STATE_COMPLETED
	case t.started && st.State != servicev1.AssignmentState_ASSIGNMENT_STATE_COMPLETED:
		st.State = servicev1.AssignmentState_ASSIGNMENT_STATE_STARTED
	case row == nil: // given back, and gone
		return st, t, errNoAssignment
	}
	err = q.QueryRowContext(ctx, "SELECT count(*), coalesce(sum(completed), 0) FROM assignment_use WHERE assignment_id = ?", id).Scan(&st.Begun, &st.Completed)
	return st, t, err
}

// Assignments lists the assignments of this tablet's enumerator by id: those that headquarters has given, and those that
// were begun here and taken away since.
func (s *Store) Assignments(ctx context.Context) ([]AssignmentStatus, error) {
	var out []AssignmentStatus
	err := inTx(ctx, s.db, func(tx *sql.Tx) (err error) {
		touched, err := textsOf(ctx, tx, "SELECT assignment_id FROM assignment_step UNION SELECT assignment_id FROM assignment_use")
		if err != nil {
			return err
		}
		if out, err = s.untouched(ctx, tx, touched); err != nil {
			return err
		}
		for _, id := range touched {
			st, _, _, err := s.assignment(ctx, tx, id)
			if errors.Is(err, errNoAssignment) {
				continue
			}
			if err != nil {
				return err
			}
			out = append(out, st)
		}
		return nil
	})
	slices.SortFunc(out, func(a, b AssignmentStatus) int {
		return strings.Compare(a.Order.GetAssignmentId(), b.Order.GetAssignmentId())
	})
	return out, dbFault(err, "list the assignments")
}

// untouched are the assignments of which nothing was done here: they stand as headquarters says.
func (s *Store) untouched(ctx context.Context, tx *sql.Tx, touched []string) (_ []AssignmentStatus, err error) {
	rows, err := tx.QueryContext(ctx, "SELECT key, body FROM down_row WHERE kind = ? AND scope = ?", int64(servicev1.BucketKind_BUCKET_KIND_ASSIGNMENTS), s.enumerator)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	done := make(map[string]bool, len(touched))
	for _, id := range touched {
		done[id] = true
	}
	var out []AssignmentStatus
	for rows.Next() {
		var key string
		var body []byte
		if err := rows.Scan(&key, &body); err != nil {
			return nil, err
		}
		if done[key] {
			continue
		}
		row := &servicev1.AssignmentRow{}
		if err := proto.Unmarshal(body, row); err != nil {
			return nil, fault.New(fault.Internal, fault.StoreDamaged, "assignment %s: %w", key, err)
		}
		out = append(out, AssignmentStatus{Order: row.GetAssignment(), State: row.GetState()})
	}
	return out, rows.Err()
}

// assignment reads how an assignment stands, its row (nil if it is gone) and the steps taken; errNoAssignment if the
// tablet does not know it.
func (s *Store) assignment(ctx context.Context, q querier, id string) (AssignmentStatus, *servicev1.AssignmentRow, taken, error) {
	row := &servicev1.AssignmentRow{}
	err := rowOf(ctx, q, s.assignmentsID(), id, row)
	if errors.Is(err, errNoAssignment) {
		row, err = nil, nil
	}
	if err != nil {
		return AssignmentStatus{}, nil, taken{}, err
	}
	st, t, err := standing(ctx, q, row, id)
	return st, row, t, err
}

func textsOf(ctx context.Context, q querier, query string, args ...any) (_ []string, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var out []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		out = append(out, text)
	}
	return out, rows.Err()
}

// StartAssignment records that the enumerator begins an assignment; it is durable when the call returns. Starting again
// changes nothing. It fails with fault.AssignmentWaiting while somebody else may be doing it, with fault.AssignmentNotOpen
// where it was completed, given back or recalled, and with fault.NoSuchAssignment.
func (s *Store) StartAssignment(ctx context.Context, id string) (AssignmentStatus, error) {
	return s.changeAssignment(ctx, id, func(tx *sql.Tx, st AssignmentStatus, row *servicev1.AssignmentRow, _ taken) error {
		switch {
		case st.State == servicev1.AssignmentState_ASSIGNMENT_STATE_STARTED:
			return nil
		case st.State == servicev1.AssignmentState_ASSIGNMENT_STATE_WAITING:
			return fault.New(fault.Conflict, fault.AssignmentWaiting, "assignment %s was somebody else's, who may have begun it: it has not been given back yet", id)
		case st.State != servicev1.AssignmentState_ASSIGNMENT_STATE_OPEN || st.Released || row == nil:
			return fault.New(fault.Conflict, fault.AssignmentNotOpen, "assignment %s is not open: it was completed, given back or recalled", id)
		}
		_, err := s.step(ctx, tx, st.Order, row.GetHead(), row.GetHead(), servicev1.AssignmentAction_ASSIGNMENT_ACTION_START)
		return err
	})
}

// CompleteAssignment records that all interviews of an assignment are done. The last interview that was ordered does so by
// itself; this is for one that ends with fewer. It fails as StartAssignment does; one that was not begun is begun.
func (s *Store) CompleteAssignment(ctx context.Context, id string) (AssignmentStatus, error) {
	if _, err := s.StartAssignment(ctx, id); err != nil && fault.ReasonOf(err) != fault.AssignmentNotOpen {
		return AssignmentStatus{}, err
	}
	return s.changeAssignment(ctx, id, func(tx *sql.Tx, st AssignmentStatus, _ *servicev1.AssignmentRow, t taken) error {
		switch {
		case st.State == servicev1.AssignmentState_ASSIGNMENT_STATE_COMPLETED:
			return nil
		case !t.started:
			return fault.New(fault.Conflict, fault.AssignmentNotOpen, "assignment %s is not open: it was given back or recalled", id)
		}
		_, err := s.step(ctx, tx, st.Order, t.start, t.start, servicev1.AssignmentAction_ASSIGNMENT_ACTION_COMPLETE)
		return err
	})
}

// changeAssignment does something about one assignment in a transaction and returns how it stands then.
func (s *Store) changeAssignment(ctx context.Context, id string, do func(*sql.Tx, AssignmentStatus, *servicev1.AssignmentRow, taken) error) (AssignmentStatus, error) {
	var out AssignmentStatus
	err := inTx(ctx, s.db, func(tx *sql.Tx) error {
		st, row, t, err := s.assignment(ctx, tx, id)
		if errors.Is(err, errNoAssignment) {
			return fault.New(fault.NotFound, fault.NoSuchAssignment, "this tablet knows no assignment %.64q of %s", id, s.enumerator)
		}
		if err != nil {
			return err
		}
		if err := do(tx, st, row, t); err != nil {
			return err
		}
		out, _, _, err = s.assignment(ctx, tx, id)
		return err
	})
	return out, dbFault(err, "change assignment %s", id)
}

// step records what the tablet does about an assignment. Parent is the revision it follows on, head the order it is about.
func (s *Store) step(ctx context.Context, tx *sql.Tx, order *servicev1.Assignment, parent, head []byte, action servicev1.AssignmentAction) (syncer.Digest, error) {
	now := s.now()
	id, err := s.newID(now.UnixMilli())
	if err != nil {
		return syncer.Digest{}, err
	}
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(&servicev1.Assignment{
		AssignmentId: order.AssignmentId, Study: order.Study, Part: order.Part, Enumerator: proto.String(s.enumerator),
		Action: action.Enum(), TimeMs: proto.Int64(now.UnixMilli()),
	})
	if err != nil {
		return syncer.Digest{}, fault.New(fault.Internal, "", "write a step of assignment %s: %w", order.GetAssignmentId(), err)
	}
	r := &servicev1.Record{
		Id: id[:], Kind: servicev1.RecordKind_RECORD_KIND_ASSIGNMENT.Enum(), Subject: order.AssignmentId, Parents: [][]byte{bytes.Clone(parent)},
		Study: order.Study, Part: order.Part, Author: proto.String(s.enumerator), Device: bytes.Clone(s.device[:]),
		WallTimeMs: proto.Int64(now.UnixMilli()), BootId: bytes.Clone(s.boot[:]), MonotonicMs: proto.Int64(now.Sub(s.opened).Milliseconds()), Payload: payload,
	}
	raw, digest, err := syncer.Seal(r)
	if err != nil {
		return digest, fmt.Errorf("write a step of assignment %s: %w", order.GetAssignmentId(), err)
	}
	sum := sha256.Sum256(payload)
	if err := insertRecord(ctx, tx, r, raw, digest, 0, sum[:]); err != nil {
		return digest, err
	}
	if err := s.list(ctx, tx, digest); err != nil {
		return digest, err
	}
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(order)
	if err != nil {
		return digest, err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO assignment_step (assignment_id, action, head, digest, body) VALUES (?, ?, ?, ?, ?)",
		order.GetAssignmentId(), int64(action), head, digest[:], body)
	return digest, err
}

// giveBack releases the assignments among those changed that are recalled and were not begun here. It is done in the
// transaction in which the recall becomes known, so that it can be neither forgotten nor done twice.
func (s *Store) giveBack(ctx context.Context, tx *sql.Tx, changed []string) (int, error) {
	n := 0
	for _, id := range changed {
		recall := &servicev1.AssignmentRow{}
		if err := rowOf(ctx, tx, s.assignmentsID(), id, recall); err != nil && !errors.Is(err, errNoAssignment) {
			return n, err
		}
		if recall.GetState() != servicev1.AssignmentState_ASSIGNMENT_STATE_RECALLED {
			continue
		}
		st, row, _, err := s.assignment(ctx, tx, id)
		if errors.Is(err, errNoAssignment) || err == nil && (st.State != servicev1.AssignmentState_ASSIGNMENT_STATE_RECALLED || st.Released || st.Begun > 0) {
			continue
		}
		if err != nil {
			return n, err
		}
		drafted, err := s.drafted(ctx, tx, id)
		if err != nil {
			return n, err
		}
		if drafted { // begun, though nothing was recorded yet
			if _, err := s.step(ctx, tx, st.Order, row.GetHead(), row.GetHead(), servicev1.AssignmentAction_ASSIGNMENT_ACTION_START); err != nil {
				return n, err
			}
			n++
			continue
		}
		if _, err := s.step(ctx, tx, st.Order, row.GetHead(), row.GetHead(), servicev1.AssignmentAction_ASSIGNMENT_ACTION_RELEASE); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// drafted says whether an interview that is still being filled in belongs to an assignment.
func (s *Store) drafted(ctx context.Context, tx *sql.Tx, id string) (is bool, err error) {
	rows, err := tx.QueryContext(ctx, "SELECT body FROM draft")
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var body []byte
		if err := rows.Scan(&body); err != nil {
			return false, err
		}
		iv := &surveyv1.Interview{}
		is = is || proto.Unmarshal(body, iv) == nil && iv.GetAssignmentId() == id
	}
	return is, rows.Err()
}

// useAssignment notes that a revision of an interview was written for an assignment: it is begun by that, and complete
// with the last interview that was ordered. Nobody is kept from writing: an assignment that this tablet does not know, or
// that is somebody else's, is headquarters' to look at.
func (s *Store) useAssignment(ctx context.Context, tx *sql.Tx, iv *surveyv1.Interview) error {
	id := iv.GetAssignmentId()
	if id == "" {
		_, err := tx.ExecContext(ctx, "DELETE FROM assignment_use WHERE interview_id = ?", iv.GetInterviewId())
		return err
	}
	completed := iv.GetStatus() == surveyv1.InterviewStatus_INTERVIEW_STATUS_COMPLETED
	if _, err := tx.ExecContext(ctx, `INSERT INTO assignment_use (interview_id, assignment_id, completed) VALUES (?, ?, ?)
		ON CONFLICT (interview_id) DO UPDATE SET assignment_id = excluded.assignment_id, completed = excluded.completed`,
		iv.GetInterviewId(), id, completed); err != nil {
		return err
	}
	st, row, t, err := s.assignment(ctx, tx, id)
	if errors.Is(err, errNoAssignment) {
		return nil
	}
	if err != nil {
		return err
	}
	if !t.started && row != nil {
		start, err := s.step(ctx, tx, st.Order, row.GetHead(), row.GetHead(), servicev1.AssignmentAction_ASSIGNMENT_ACTION_START)
		if err != nil {
			return err
		}
		t.started, t.start = true, start[:]
	}
	if !t.started || t.completed || st.Completed < int(st.Order.GetInterviews()) {
		return nil
	}
	_, err = s.step(ctx, tx, st.Order, t.start, t.start, servicev1.AssignmentAction_ASSIGNMENT_ACTION_COMPLETE)
	return err
}

// partOf is the part of a new interview: that of its assignment if the tablet knows it, else of its study and site.
func (s *Store) partOf(ctx context.Context, tx *sql.Tx, iv *surveyv1.Interview, own uint64) (uint64, error) {
	if iv.GetAssignmentId() == "" {
		return own, nil
	}
	st, _, _, err := s.assignment(ctx, tx, iv.GetAssignmentId())
	switch {
	case errors.Is(err, errNoAssignment):
		return own, nil
	case err != nil:
		return own, err
	case st.Order.GetStudy() != iv.GetStudy() || st.Order.Part == nil:
		return own, nil
	}
	return st.Order.GetPart(), nil
}
