package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hearth-survey/hearth/server/store"
)

// rebuild is what CheckOptions.Rebuild is.
type rebuild = func(ctx context.Context, log store.Log, apply func(*store.Changes) error) error

// rebuildAndCompare makes the projections again in a file of their own and returns the first difference, "" if there is
// none.
func (s *Store) rebuildAndCompare(ctx context.Context, again rebuild) (string, error) {
	path, remove, err := s.scratch()
	if err != nil {
		return "", err
	}
	defer remove()
	p, err := dialProjection(s, path, false)
	if err != nil {
		return "", err
	}
	defer p.close()
	if err := again(ctx, view{s, p}, p.apply); err != nil {
		return "", err
	}
	for _, t := range []struct{ name, query string }{
		{"cursor", `SELECT part, counter, listed FROM cursor ORDER BY part`},
		{"interview", `SELECT * FROM interview ORDER BY part, interview_id`},
		{"count_cell", `SELECT * FROM count_cell ORDER BY part, study, round, questionnaire, enumerator, site_id, day, result, review_state`},
		{"flag_cell", `SELECT * FROM flag_cell ORDER BY part, shape, study, questionnaire, enumerator, site_id, question, rule, severity`},
		{"withdrawn", `SELECT * FROM withdrawn ORDER BY part, interview_id`},
		{"decision", `SELECT * FROM decision ORDER BY part, decision_id`},
		{"study", `SELECT * FROM study ORDER BY part, study`},
		{"assignment", `SELECT * FROM assignment ORDER BY part, assignment_id`},
		{"assignment_interview", `SELECT * FROM assignment_interview ORDER BY part, interview_id`},
		{"review", `SELECT * FROM review ORDER BY part, interview_id, review_id`},
		// Where rows were is history: projections made again need not know of it.
		{"down_row", `SELECT * FROM down_row WHERE body IS NOT NULL ORDER BY part, kind, study, scope, key`},
		{"down_sum", `SELECT part, kind, study, scope, sum, held FROM down_sum WHERE held > 0 ORDER BY part, kind, study, scope`},
	} {
		diff, err := compareTable(ctx, s.projection.db, p.db, t.name, t.query)
		if err != nil || diff != "" {
			return diff, err
		}
	}
	return "", nil
}

// scratch is a path for projections that are made again, and what removes them.
func (s *Store) scratch() (path string, remove func(), err error) {
	if _, files := s.disk.(osDisk); !files {
		path = filepath.Join(s.dir, "check-"+projectionFile)
		return path, func() { _ = removeDatabase(s.disk, path) }, removeDatabase(s.disk, path)
	}
	dir, err := os.MkdirTemp("", "hearth-check-")
	return filepath.Join(dir, projectionFile), func() { _ = os.RemoveAll(dir) }, err
}

// compareTable compares two tables row by row and returns the first difference.
func compareTable(ctx context.Context, kept, made *sql.DB, table, query string) (diff string, err error) {
	a, err := openTable(ctx, kept, query)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, a.rows.Close()) }()
	b, err := openTable(ctx, made, query)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, b.rows.Close()) }()
	for n := 1; ; n++ {
		x, err := a.next()
		if err != nil {
			return "", err
		}
		y, err := b.next()
		switch {
		case err != nil:
			return "", err
		case x == nil && y == nil:
			return "", nil
		case x == nil:
			return fmt.Sprintf("table %s ends before row %d (%s), which the log gives", table, n, key(y)), nil
		case y == nil:
			return fmt.Sprintf("table %s has a row %d (%s) that the log does not give", table, n, key(x)), nil
		}
		for i, column := range a.columns {
			if i >= len(y) || !same(x[i], y[i]) {
				return fmt.Sprintf("table %s differs from what the log gives in row %d (%s), column %s", table, n, key(y), column), nil
			}
		}
	}
}

// tableReader reads a table's rows.
type tableReader struct {
	rows    *sql.Rows
	columns []string
	row, to []any
}

func openTable(ctx context.Context, db *sql.DB, query string) (*tableReader, error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	t := &tableReader{rows: rows}
	if t.columns, err = rows.Columns(); err != nil {
		return nil, errors.Join(err, rows.Close())
	}
	t.row, t.to = make([]any, len(t.columns)), make([]any, len(t.columns))
	for i := range t.row {
		t.to[i] = &t.row[i]
	}
	return t, nil
}

// next returns the next row, nil after the last.
func (t *tableReader) next() ([]any, error) {
	if !t.rows.Next() {
		return nil, t.rows.Err()
	}
	return t.row, t.rows.Scan(t.to...)
}

func same(a, b any) bool {
	x, isBlob := a.([]byte)
	y, areBlobs := b.([]byte)
	if isBlob || areBlobs {
		return isBlob && areBlobs && bytes.Equal(x, y)
	}
	return a == b
}

// key names a row by its first columns.
func key(row []any) string {
	var parts []string
	for i, v := range row {
		if i == 3 {
			break
		}
		switch v := v.(type) {
		case int64:
			if i == 0 {
				parts = append(parts, fmt.Sprintf("part %016x", uint64(v)))
				continue
			}
			parts = append(parts, fmt.Sprint(v))
		case string:
			parts = append(parts, v)
		}
	}
	return strings.Join(parts, ", ")
}
