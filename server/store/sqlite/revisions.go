package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
)

// The log has no index of interviews by subject: it would cost an append more than all else. The projections name the
// records of each interview up to a counter of its part; what came later is read over.

// view is the log with its records found by means of certain projections: those kept, or those that a check makes again.
type view struct {
	*Store
	by *projection
}

var _ store.Log = view{}

// Revisions returns all records about a subject, ordered by digest.
func (s *Store) Revisions(ctx context.Context, part uint64, kind servicev1.RecordKind, subject string) ([]store.Stored, error) {
	return view{s, s.projection}.Revisions(ctx, part, kind, subject)
}

// Record returns one record about a subject by its digest.
func (s *Store) Record(ctx context.Context, part uint64, subject string, digest syncer.Digest) (store.Stored, error) {
	return view{s, s.projection}.Record(ctx, part, subject, digest)
}

// Revisions is that of Store.
func (v view) Revisions(ctx context.Context, part uint64, kind servicev1.RecordKind, subject string) ([]store.Stored, error) {
	var out []store.Stored
	var err error
	if kind == servicev1.RecordKind_RECORD_KIND_INTERVIEW {
		out, err = v.interview(ctx, part, subject)
	} else {
		out, err = stored(ctx, v.queries.others, part, int64(part), subject, int64(kind))
	}
	if err != nil {
		return nil, wrap(err, "read the revisions of "+subject)
	}
	slices.SortFunc(out, func(a, b store.Stored) int { return bytes.Compare(a.Digest[:], b.Digest[:]) })
	return out, nil
}

// Record is that of Store.
func (v view) Record(ctx context.Context, part uint64, subject string, digest syncer.Digest) (store.Stored, error) {
	all, err := v.interview(ctx, part, subject)
	is := func(r store.Stored) bool { return r.Digest == digest }
	if err == nil && !slices.ContainsFunc(all, is) {
		all, err = stored(ctx, v.queries.others, part, int64(part), subject, int64(0))
	}
	if err != nil {
		return store.Stored{}, wrap(err, "read a record of "+subject)
	}
	if i := slices.IndexFunc(all, is); i >= 0 {
		return all[i], nil
	}
	return store.Stored{}, fault.New(fault.NotFound, "", "no record of %s with digest %v", subject, digest)
}

// interview returns the records about an interview.
func (v view) interview(ctx context.Context, part uint64, id string) ([]store.Stored, error) {
	listed, counters, err := v.by.recordsOf(ctx, part, id)
	if err != nil {
		return nil, err
	}
	var out []store.Stored
	for _, c := range counters {
		if c > listed {
			continue // comes again below
		}
		found, err := stored(ctx, v.queries.at, part, int64(part), int64(c))
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	later, err := stored(ctx, v.queries.revisionsAfter, part, int64(part), int64(listed), id)
	return append(out, later...), err
}

// stored reads rows of counter, digest, body and received_ms.
func stored(ctx context.Context, query query, part uint64, args ...any) ([]store.Stored, error) {
	rows, err := query.QueryContext(ctx, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []store.Stored
	for rows.Next() {
		r, err := scanStored(rows, part)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// recordsOf returns the counters of an interview's records, and up to which counter of the part they are all there.
func (p *projection) recordsOf(ctx context.Context, part uint64, id string) (listed uint64, counters []uint64, err error) {
	listed = p.listedIn(part) // before the row is read: that may be newer, never older
	if listed == 0 {
		return 0, nil, nil
	}
	var packed []byte
	err = p.db.QueryRowContext(ctx, `SELECT records FROM interview WHERE interview_id = ?1 AND part = ?2
		UNION ALL SELECT records FROM withdrawn WHERE interview_id = ?1 AND part = ?2`, id, int64(part)).Scan(&packed)
	if errors.Is(err, sql.ErrNoRows) {
		return listed, nil, nil
	}
	if err != nil {
		return 0, nil, err
	}
	if counters, err = unpackCounters(packed); err != nil {
		return 0, nil, damagedProjection(err)
	}
	return listed, counters, nil
}

func (p *projection) listedIn(part uint64) uint64 {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.listed[part]
}

// packCounters writes counters in ascending order.
func packCounters(counters []uint64) []byte {
	out := make([]byte, 0, 2*len(counters))
	last := uint64(0)
	for _, c := range slices.Sorted(slices.Values(counters)) {
		if c != last {
			out = binary.AppendUvarint(out, c-last)
		}
		last = c
	}
	return out
}

func unpackCounters(b []byte) ([]uint64, error) {
	var out []uint64
	last := uint64(0)
	for len(b) > 0 {
		d, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, errors.New("the counters of an interview's records are cut off")
		}
		last += d
		out, b = append(out, last), b[n:]
	}
	return out, nil
}
