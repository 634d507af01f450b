package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"iter"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/store"
	"google.golang.org/protobuf/proto"
)

// Interviews yields the projections that match, as they stand when it begins.
func (s *Store) Interviews(ctx context.Context, f store.Filter) iter.Seq2[*servicev1.InterviewProjection, error] {
	return func(yield func(*servicev1.InterviewProjection, error) bool) {
		if err := s.interviews(ctx, f, yield); err != nil {
			yield(nil, wrap(err, "read the interviews"))
		}
	}
}

// interviews returns an error only if yield may still be called.
func (s *Store) interviews(ctx context.Context, f store.Filter, yield func(*servicev1.InterviewProjection, error) bool) error {
	query, args := selection(f)
	rows, err := s.projection.db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var body []byte
		if err := rows.Scan(&body); err != nil {
			return err
		}
		iv, err := readBody(body)
		if err != nil {
			return err
		}
		if !yield(iv, nil) {
			return nil
		}
	}
	return rows.Err()
}

// Bodies yields the bytes of projections in the order in which they lie in the file, so that each page is read once.
func (s *Store) Bodies(ctx context.Context, study string) iter.Seq2[store.Body, error] {
	return func(yield func(store.Body, error) bool) {
		err := func() error {
			rows, err := s.projection.db.QueryContext(ctx, `SELECT body FROM interview NOT INDEXED WHERE ?1 = '' OR study = ?1`, study)
			if err != nil {
				return err
			}
			defer rows.Close()
			var body sql.RawBytes
			for rows.Next() {
				if err := rows.Scan(&body); err != nil {
					return err
				}
				lean := len(body) > 0 && body[0] == leanMark
				if lean {
					body = body[1:]
				}
				if !yield(store.Body{Bytes: body, Lean: lean}, nil) {
					return nil
				}
			}
			return rows.Err()
		}()
		if err != nil {
			yield(store.Body{}, wrap(err, "read the interviews"))
		}
	}
}

func damagedProjection(err error) error {
	return damaged("a projection cannot be read; delete %s while no server runs: %w", projectionFile, err)
}

// selection makes the query of a filter. The index interview_in_order has all columns that it may ask for, so that rows
// which do not match are passed over without being read.
func selection(f store.Filter) (string, []any) {
	var where []string
	var args []any
	for _, c := range []struct{ column, value string }{
		{"study", f.Study}, {"enumerator", f.Enumerator}, {"site_id", f.SiteID}, {"questionnaire", f.Questionnaire},
	} {
		if c.value != "" {
			where, args = append(where, c.column+" = ?"), append(args, c.value)
		}
	}
	index := "interview_in_order"
	if f.ConflictsOnly {
		where, index = append(where, "conflict = 1"), "interview_conflict"
	}
	order, beyond := "", ">"
	if f.Newest {
		order, beyond = " DESC", "<"
	}
	if f.After != nil {
		where = append(where, "(start_time_ms, interview_id, part) "+beyond+" (?, ?, ?)")
		args = append(args, f.After.StartMS, f.After.InterviewID, int64(f.After.Part))
	}
	query := "SELECT body FROM interview INDEXED BY " + index
	if len(where) > 0 {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	query += " ORDER BY start_time_ms" + order + ", interview_id" + order + ", part" + order
	if f.Limit > 0 {
		query, args = query+" LIMIT ?", append(args, f.Limit)
	}
	return query, args
}

// oneInterview looks into every part that has interviews, one after the other: the key is led by the part. A part takes
// two or three microseconds.
const oneInterview = `WITH RECURSIVE p (part) AS (SELECT min(part) FROM count_cell
	UNION ALL SELECT (SELECT min(c.part) FROM count_cell AS c WHERE c.part > p.part) FROM p WHERE p.part IS NOT NULL)
	SELECT i.body FROM p CROSS JOIN interview AS i ON i.part = p.part AND i.interview_id = ? ORDER BY p.part LIMIT 1`

// Interview returns one interview.
func (s *Store) Interview(ctx context.Context, interviewID string) (*servicev1.InterviewProjection, error) {
	var body []byte
	err := s.projection.db.QueryRowContext(ctx, oneInterview, interviewID).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fault.New(fault.NotFound, "", "there is no interview %s", interviewID)
	}
	if err != nil {
		return nil, wrap(err, "read interview "+interviewID)
	}
	return readBody(body)
}

// Met says whether an interview has a projection or reviews.
func (s *Store) Met(ctx context.Context, part uint64, interviewID string) (bool, error) {
	if s.ro {
		return false, readOnly(s.dir)
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	s.projector.Lock()
	defer s.projector.Unlock()
	if s.projection.w == nil {
		return false, fault.New(fault.Unavailable, fault.ShuttingDown, "the store is closed")
	}
	row, err := s.projection.met.row(interviewID, int64(part))
	if err != nil {
		return false, wrap(err, "look up interview "+interviewID)
	}
	return len(row) > 0 && integer(row[0]) != 0, nil
}

// Decisions returns the linkage decisions in order of time and id; all studies if empty.
func (s *Store) Decisions(ctx context.Context, study string) ([]*servicev1.LinkDecision, error) {
	var out []*servicev1.LinkDecision
	err := s.bodies(ctx, func(body []byte) error {
		d := &servicev1.LinkDecision{}
		out = append(out, d)
		return proto.Unmarshal(body, d)
	}, `SELECT body FROM decision WHERE ?1 = '' OR study = ?1 ORDER BY time_ms, decision_id`, study)
	if err != nil {
		return nil, wrap(err, "read the decisions")
	}
	return out, nil
}

// Studies returns the current definitions by code.
func (s *Store) Studies(ctx context.Context) ([]*surveyv1.Study, error) {
	var out []*surveyv1.Study
	err := s.bodies(ctx, func(body []byte) error {
		st := &surveyv1.Study{}
		out = append(out, st)
		return proto.Unmarshal(body, st)
	}, `SELECT body FROM study ORDER BY study`)
	if err != nil {
		return nil, wrap(err, "read the studies")
	}
	return out, nil
}

func (s *Store) bodies(ctx context.Context, f func([]byte) error, query string, args ...any) error {
	rows, err := s.projection.db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var body []byte
		if err := rows.Scan(&body); err != nil {
			return err
		}
		if err := f(body); err != nil {
			return damagedProjection(err)
		}
	}
	return rows.Err()
}
