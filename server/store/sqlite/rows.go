package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
)

// Buckets returns what an enumerator's tablet should hold.
func (s *Store) Buckets(ctx context.Context, study, enumerator string) ([]store.BucketSum, error) {
	out, err := s.buckets(ctx, study, enumerator)
	return out, wrap(err, "look up what an enumerator's tablet should hold")
}

func (s *Store) buckets(ctx context.Context, study, enumerator string) ([]store.BucketSum, error) {
	own := map[servicev1.BucketKind]*store.BucketSum{}
	for _, kind := range []servicev1.BucketKind{servicev1.BucketKind_BUCKET_KIND_ASSIGNMENTS, servicev1.BucketKind_BUCKET_KIND_REVIEWS} {
		own[kind] = &store.BucketSum{Bucket: store.Bucket{Kind: kind, Study: study, Scope: enumerator}}
	}
	rows, err := s.projection.db.QueryContext(ctx, `SELECT d.kind, d.part, d.sum, d.held, coalesce(r.sum, 0), coalesce(r.held, 0)
		FROM down_sum AS d LEFT JOIN down_sum AS r ON d.kind = ?3 AND r.part = d.part AND r.kind = ?5 AND r.study = d.study
			AND r.scope = printf('%016x', d.part)
		WHERE d.study = ?1 AND d.scope = ?2 AND d.kind IN (?3, ?4) ORDER BY d.part`, study, enumerator,
		int64(servicev1.BucketKind_BUCKET_KIND_ASSIGNMENTS), int64(servicev1.BucketKind_BUCKET_KIND_REVIEWS), int64(servicev1.BucketKind_BUCKET_KIND_ROSTER))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var rosters []store.BucketSum
	for rows.Next() {
		var kind, part, sum, held, rosterSum, rosterHeld int64
		if err := rows.Scan(&kind, &part, &sum, &held, &rosterSum, &rosterHeld); err != nil {
			return nil, err
		}
		b := own[servicev1.BucketKind(kind)]
		if b == nil {
			continue
		}
		b.Sum += uint64(sum)
		b.Rows += held
		if held > 0 && rosterHeld > 0 && b.Kind == servicev1.BucketKind_BUCKET_KIND_ASSIGNMENTS {
			rosters = append(rosters, store.BucketSum{Bucket: store.RosterOf(study, uint64(part)), Sum: uint64(rosterSum), Rows: rosterHeld})
		}
	}
	var out []store.BucketSum
	for _, kind := range []servicev1.BucketKind{servicev1.BucketKind_BUCKET_KIND_ASSIGNMENTS, servicev1.BucketKind_BUCKET_KIND_REVIEWS} {
		if own[kind].Rows > 0 {
			out = append(out, *own[kind])
		}
	}
	return append(out, rosters...), rows.Err()
}

// RowsAfter reads a page of a bucket, its sum and how far it goes in one state of the file.
func (s *Store) RowsAfter(ctx context.Context, b store.Bucket, cursor syncer.Cursor, limit int) (store.RowPage, error) {
	page := store.RowPage{Cursor: syncer.Cursor{Epoch: s.epoch, Parts: map[uint64]uint64{}}}
	tx, err := s.projection.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return page, wrap(err, "read what is new for a tablet")
	}
	err = rowsAfter(ctx, tx, b, cursor, atLeastOne(limit), &page)
	if done := tx.Rollback(); err == nil && !errors.Is(done, sql.ErrTxDone) {
		err = done
	}
	return page, wrap(err, "read what is new for a tablet")
}

// bucketPart is what a bucket has in one part.
type bucketPart struct {
	part, last, projected uint64
}

func rowsAfter(ctx context.Context, tx *sql.Tx, b store.Bucket, cursor syncer.Cursor, limit int, page *store.RowPage) error {
	parts, err := partsOf(ctx, tx, b, page)
	if err != nil {
		return err
	}
	for _, p := range parts {
		from := cursor.Parts[p.part]
		page.Behind = page.Behind || from > p.projected
		page.Cursor.Parts[p.part] = from
	}
	if page.Behind {
		return nil
	}
	for _, p := range parts {
		from := cursor.Parts[p.part]
		if p.last <= from {
			page.Cursor.Parts[p.part] = p.projected
			continue
		}
		if len(page.Rows) >= limit {
			page.More = true
			return nil
		}
		to, err := readPart(ctx, tx, b, p, from, limit-len(page.Rows), page)
		if err != nil {
			return err
		}
		if page.Cursor.Parts[p.part] = to; page.More {
			return nil
		}
	}
	return nil
}

// partsOf lists the parts of a bucket, in order, and adds up its sum.
func partsOf(ctx context.Context, tx *sql.Tx, b store.Bucket, page *store.RowPage) ([]bucketPart, error) {
	rows, err := tx.QueryContext(ctx, `SELECT d.part, d.sum, d.last, coalesce(c.counter, 0) FROM down_sum AS d LEFT JOIN cursor AS c ON c.part = d.part
		WHERE d.study = ? AND d.scope = ? AND d.kind = ? ORDER BY d.part`, b.Study, b.Scope, int64(b.Kind))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []bucketPart
	for rows.Next() {
		var part, sum, last, projected int64
		if err := rows.Scan(&part, &sum, &last, &projected); err != nil {
			return nil, err
		}
		page.Sum += uint64(sum)
		out = append(out, bucketPart{uint64(part), uint64(last), uint64(projected)})
	}
	return out, rows.Err()
}

// readPart adds the rows of a part that came after a counter, and returns up to which counter they are all there.
func readPart(ctx context.Context, tx *sql.Tx, b store.Bucket, p bucketPart, from uint64, limit int, page *store.RowPage) (uint64, error) {
	rows, err := tx.QueryContext(ctx, `SELECT key, counter, body FROM down_row INDEXED BY down_row_after
		WHERE part = ? AND kind = ? AND study = ? AND scope = ? AND counter > ? ORDER BY counter, key`,
		int64(p.part), int64(b.Kind), b.Study, b.Scope, int64(from))
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	last := from
	for n := 0; rows.Next(); n++ {
		r := store.Row{Bucket: b, Part: p.part}
		var counter int64
		if err := rows.Scan(&r.Key, &counter, &r.Body); err != nil {
			return 0, err
		}
		r.Counter = uint64(counter)
		if n >= limit && r.Counter != last {
			page.More = true
			return last, nil
		}
		last = r.Counter
		page.Rows = append(page.Rows, r)
	}
	if last > p.projected {
		return 0, fmt.Errorf("part %016x has a row of counter %d, but the projections stand at %d", p.part, last, p.projected)
	}
	return p.projected, rows.Err()
}
