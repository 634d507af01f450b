package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"

	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
)

// runPageDigests is where Runs stops although fewer runs than asked for were read: 32 bytes each.
const runPageDigests = 64_000

// IndexDigests makes records quick to find by their digests, as a hub needs it to forward them. Doing it again changes
// nothing.
func (s *Store) IndexDigests(ctx context.Context) error {
	return s.change(ctx, func(t *tx) error {
		t.writes++
		return t.run(hubSQL)
	})
}

const runFields = `SELECT run_id, device, epoch, branch, first_seq, prev_chain, digests, signature FROM lane_run `

// Runs returns runs of lanes in the order of arrival.
func (s *Store) Runs(ctx context.Context, after int64, limit int) ([]store.LaneRun, error) {
	out, err := s.readRuns(ctx, runFields+`WHERE run_id > ? ORDER BY run_id LIMIT ?`, after, atLeastOne(limit))
	return out, wrap(err, "read the runs of lanes")
}

// RunsFrom returns runs of a branch of a lane that end at an entry or behind it.
func (s *Store) RunsFrom(ctx context.Context, lane syncer.LaneID, branch int64, seq uint64, limit int) ([]store.LaneRun, error) {
	out, err := s.readRuns(ctx, runFields+`WHERE device = ? AND epoch = ? AND branch = ? AND last_seq >= ? ORDER BY first_seq, last_seq LIMIT ?`,
		lane.Device[:], lane.Epoch[:], branch, int64(min(seq, 1<<62)), atLeastOne(limit))
	return out, wrap(err, "read the runs of lane "+lane.String())
}

func (s *Store) readRuns(ctx context.Context, query string, args ...any) ([]store.LaneRun, error) {
	rows, err := s.log.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []store.LaneRun
	size := 0
	for rows.Next() && size <= runPageDigests {
		var r store.LaneRun
		var first int64
		var device, epoch, prev, digests, signature []byte
		if err := rows.Scan(&r.Number, &device, &epoch, &r.Branch, &first, &prev, &digests, &signature); err != nil {
			return nil, err
		}
		if r.Lane, err = laneOf(device, epoch); err != nil {
			return nil, err
		}
		if r.Run, err = newRun(uint64(first), prev, digests, signature); err != nil {
			return nil, damaged("lane %v: %w", r.Lane, err)
		}
		size += len(r.Digests)
		out = append(out, r)
	}
	return out, rows.Err()
}

// RunTotals counts runs and their entries.
func (s *Store) RunTotals(ctx context.Context, after int64) (store.RunTotals, error) {
	var entries, last sql.NullInt64
	err := s.log.QueryRowContext(ctx, `SELECT (SELECT sum(last_seq - first_seq + 1) FROM lane_run WHERE run_id > ?), (SELECT max(run_id) FROM lane_run)`, after).
		Scan(&entries, &last)
	return store.RunTotals{Entries: uint64(entries.Int64), Last: last.Int64}, wrap(err, "count the runs of lanes")
}

// Bytes returns the bytes of a record by its digest.
func (s *Store) Bytes(ctx context.Context, digest syncer.Digest) ([]byte, int64, error) {
	var raw []byte
	var received int64
	err := s.log.QueryRowContext(ctx, `SELECT body, received_ms FROM record WHERE digest = ?`, digest[:]).Scan(&raw, &received)
	if errors.Is(err, sql.ErrNoRows) {
		err = s.log.QueryRowContext(ctx, `SELECT raw, received_ms FROM quarantine WHERE digest = ?`, digest[:]).Scan(&raw, &received)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return nil, 0, nil
	}
	return raw, received, wrap(err, "read a record by its digest")
}

func (l *logConn) prepareShelf() {
	l.putItem = l.prepare(`INSERT OR REPLACE INTO shelf (space, key, value, sum) VALUES (?, ?, ?, ?)`)
	l.heldItem = l.prepare(`SELECT value, sum FROM shelf WHERE space = ? AND key = ?`)
	l.dropItem = l.prepare(`DELETE FROM shelf WHERE space = ? AND key = ?`)
}

func itemSum(space string, key, value []byte) int64 {
	return summer(nil).text(space).bytes(key).bytes(value).sum()
}

// Put stores values on the shelf.
func (s *Store) Put(ctx context.Context, items ...store.Item) error {
	if len(items) == 0 {
		return nil
	}
	return s.change(ctx, func(t *tx) error {
		for _, it := range items {
			key := append([]byte{}, it.Key...)
			var err error
			if it.Value == nil {
				_, err = t.exec(t.dropItem, it.Space, key)
			} else {
				_, err = t.exec(t.putItem, it.Space, key, append([]byte{}, it.Value...), itemSum(it.Space, key, it.Value))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Claim stores a value where the key has none, and returns what the key holds.
func (s *Store) Claim(ctx context.Context, it store.Item) (held []byte, err error) {
	key := append([]byte{}, it.Key...)
	err = s.change(ctx, func(t *tx) error {
		row, err := t.heldItem.row(it.Space, key)
		if err != nil {
			return err
		}
		if row != nil {
			held = bytes.Clone(blob(row[0]))
			if integer(row[1]) != itemSum(it.Space, key, held) {
				return damaged("shelf: a value of %s was changed on the disk", it.Space)
			}
			return nil
		}
		held = append([]byte{}, it.Value...)
		_, err = t.exec(t.putItem, it.Space, key, held, itemSum(it.Space, key, held))
		return err
	})
	return held, err
}

// Get returns a value of the shelf.
func (s *Store) Get(ctx context.Context, space string, key []byte) ([]byte, error) {
	var value []byte
	var sum int64
	err := s.log.QueryRowContext(ctx, `SELECT value, sum FROM shelf WHERE space = ? AND key = ?`, space, append([]byte{}, key...)).Scan(&value, &sum)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err == nil && sum != itemSum(space, key, value) {
		return nil, damaged("shelf: a value of %s was changed on the disk", space)
	}
	return nonNil(value), wrap(err, "read from the shelf")
}

// List returns items of a space.
func (s *Store) List(ctx context.Context, space string, after []byte, limit int) ([]store.Item, error) {
	rows, err := s.log.QueryContext(ctx, `SELECT key, value, sum FROM shelf WHERE space = ?1 AND (?2 IS NULL OR key > ?2) ORDER BY key LIMIT ?3`,
		space, after, atLeastOne(limit))
	if err != nil {
		return nil, wrap(err, "list the shelf")
	}
	defer rows.Close()
	var out []store.Item
	for rows.Next() {
		it := store.Item{Space: space}
		var sum int64
		if err := rows.Scan(&it.Key, &it.Value, &sum); err != nil {
			return nil, wrap(err, "list the shelf")
		}
		if sum != itemSum(space, it.Key, it.Value) {
			return nil, damaged("shelf: a value of %s was changed on the disk", space)
		}
		it.Key, it.Value = nonNil(bytes.Clone(it.Key)), nonNil(bytes.Clone(it.Value))
		out = append(out, it)
	}
	return out, wrap(rows.Err(), "list the shelf")
}

// nonNil tells an empty value from none.
func nonNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// shelf checks the shelf.
func (c *checker) shelf() error {
	return c.each(c.db, `SELECT space, key, value, sum FROM shelf`, func(scan func(...any) error) error {
		var space string
		var key, value []byte
		var sum int64
		if err := scan(&space, &key, &value, &sum); err != nil {
			return err
		}
		if itemSum(space, key, value) != sum {
			c.damage("shelf, space "+space, "a value was changed on the disk")
		}
		return nil
	})
}
