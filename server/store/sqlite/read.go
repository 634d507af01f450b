package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"maps"
	"slices"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/plant"
)

// pageBytes is where After stops although fewer records than asked for were read.
const pageBytes = 8 << 20

// queries are the statements that read the log.
type queries struct {
	after, at, others, revisionsAfter, digestOf query
	kept, lane, runAt, quarantine               query
	devices, key, owner, lanes, detached        query
	forgotten                                   forgotten
}

// query is a statement that reads; the connections of the pool keep it prepared.
type query struct {
	db   *sql.DB
	text string
}

// QueryContext is sql.DB's.
func (q query) QueryContext(ctx context.Context, args ...any) (*sql.Rows, error) {
	return q.db.QueryContext(ctx, q.text, args...)
}

// QueryRowContext is sql.DB's.
func (q query) QueryRowContext(ctx context.Context, args ...any) *sql.Row {
	return q.db.QueryRowContext(ctx, q.text, args...)
}

func prepareQueries(db *sql.DB) (*queries, error) {
	q := &queries{}
	for _, p := range []struct {
		to    *query
		query string
	}{
		{&q.after, `SELECT counter, digest, body, received_ms FROM record WHERE part = ? AND counter > ? AND counter <= ?
			ORDER BY counter LIMIT ?`},
		{&q.at, `SELECT counter, digest, body, received_ms FROM record WHERE part = ? AND counter = ?`},
		{&q.others, `SELECT counter, digest, body, received_ms FROM record INDEXED BY record_subject
			WHERE part = ? AND subject = ? AND kind <> 1 AND (kind = ?3 OR ?3 = 0)`},
		{&q.revisionsAfter, `SELECT counter, digest, body, received_ms FROM record INDEXED BY record_counter
			WHERE part = ? AND counter > ? AND subject = ? AND kind = 1`},
		{&q.digestOf, `SELECT digest FROM record WHERE part = ? AND id = ?`},
		{&q.kept, `SELECT 1 FROM quarantine WHERE digest = ? AND raw IS NOT NULL`},
		{&q.lane, `SELECT seq, chain FROM lane WHERE device = ? AND epoch = ?`},
		{&q.runAt, `SELECT first_seq, prev_chain, digests, signature FROM lane_run WHERE device = ? AND epoch = ? AND branch = 0
			AND first_seq <= ?3 AND last_seq >= ?3 ORDER BY first_seq DESC LIMIT 1`},
		{&q.quarantine, `SELECT quarantine_id, reason, message, device, epoch, seq, digest, coalesce(length(raw), 0), received_ms
			FROM quarantine WHERE quarantine_id > ? ORDER BY quarantine_id LIMIT ?`},
		{&q.devices, `SELECT device, name, enumerator, first_seen_ms, last_seen_ms, pending, clock_skew_ms, fork_hellos
			FROM device ORDER BY name, device`},
		{&q.key, `SELECT public_key FROM device WHERE device = ?`},
		{&q.owner, `SELECT enumerator, coalesce((SELECT study FROM enrolment AS e WHERE e.device = d.device
			ORDER BY enrolment_id DESC LIMIT 1), '') FROM device AS d WHERE d.device = ?`},
		{&q.lanes, `SELECT device, epoch, seq, chain, branches FROM lane ORDER BY device, epoch`},
		{&q.detached, `SELECT r.device, r.epoch, r.first_seq, r.last_seq, l.seq FROM lane l JOIN lane_run r
			ON r.device = l.device AND r.epoch = l.epoch AND r.branch = 0 AND r.first_seq > l.seq + 1
			ORDER BY r.device, r.epoch, r.first_seq, r.last_seq`},
	} {
		*p.to = query{db, p.query}
	}
	return q, q.forgotten.load(db)
}

// Head returns the cursor after the last record.
func (s *Store) Head(context.Context) (syncer.Cursor, error) {
	s.partsMu.RLock()
	defer s.partsMu.RUnlock()
	return syncer.Cursor{Epoch: s.epoch, Parts: maps.Clone(s.parts)}, nil
}

// After returns the records that came after a cursor, up to the head of the log as it is at the call: a commit can be
// read before the head that is kept in memory has moved, and a cursor beyond that head is one of another log.
func (s *Store) After(ctx context.Context, cursor syncer.Cursor, limit int) ([]store.Stored, syncer.Cursor, bool, error) {
	if cursor.Epoch != s.epoch && !plant.In(plant.CursorKept) && (cursor.Epoch != syncer.ID{} || len(cursor.Parts) > 0) {
		return nil, cursor, false, fault.New(fault.Stale, fault.CursorStale, "the cursor is of epoch %v, this log is of %v", cursor.Epoch, s.epoch)
	}
	next := syncer.Cursor{Epoch: s.epoch, Parts: maps.Clone(cursor.Parts)}
	if next.Parts == nil {
		next.Parts = map[uint64]uint64{}
	}
	behind := s.behind(cursor)
	var out []store.Stored
	size := 0
	limit = atLeastOne(limit)
	for _, part := range slices.Sorted(maps.Keys(behind)) {
		if len(out) >= limit || size >= pageBytes {
			return out, next, true, nil
		}
		more, err := s.afterIn(ctx, part, next.Parts[part], behind[part], limit, &out, &size)
		if err != nil {
			return nil, cursor, false, wrap(err, "read the log")
		}
		if n := len(out); n > 0 && out[n-1].Part == part {
			next.Parts[part] = out[n-1].Counter
		}
		if more {
			return out, next, true, nil
		}
	}
	return out, next, false, nil
}

// behind returns the heads of the parts in which a cursor is behind the log.
func (s *Store) behind(cursor syncer.Cursor) map[uint64]uint64 {
	heads := map[uint64]uint64{}
	s.partsMu.RLock()
	defer s.partsMu.RUnlock()
	for part, counter := range s.parts {
		seen := cursor.Parts[part]
		if plant.In(plant.SequenceCursor) {
			for _, c := range cursor.Parts {
				seen = max(seen, c)
			}
		}
		if counter > seen {
			heads[part] = counter
		}
	}
	return heads
}

// afterIn appends the records of one part after a counter, up to its head, and says whether it stopped before the last.
func (s *Store) afterIn(ctx context.Context, part, counter, head uint64, limit int, out *[]store.Stored, size *int) (bool, error) {
	rows, err := s.queries.after.QueryContext(ctx, int64(part), int64(counter), int64(head), limit-len(*out)+1)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	for rows.Next() {
		if len(*out) >= limit || *size >= pageBytes {
			return true, nil
		}
		r, err := scanStored(rows, part)
		if err != nil {
			return false, err
		}
		*out = append(*out, r)
		*size += len(r.Raw)
	}
	return false, rows.Err()
}

// scanStored reads counter, digest, body, received_ms.
func scanStored(rows interface{ Scan(...any) error }, part uint64) (store.Stored, error) {
	r := store.Stored{Part: part}
	var counter int64
	var digest []byte
	if err := rows.Scan(&counter, &digest, &r.Raw, &r.ReceivedMS); err != nil {
		return r, err
	}
	r.Counter = uint64(counter)
	var err error
	if r.Digest, err = syncer.ParseDigest(digest); err != nil {
		return r, damaged("record %d of part %016x: %w", r.Counter, part, err)
	}
	return r, nil
}

// Lane returns how far a lane is held.
func (s *Store) Lane(ctx context.Context, lane syncer.LaneID) (syncer.Head, error) {
	var seq int64
	var chain []byte
	err := s.queries.lane.QueryRowContext(ctx, lane.Device[:], lane.Epoch[:]).Scan(&seq, &chain)
	if errors.Is(err, sql.ErrNoRows) {
		return syncer.Head{}, nil
	}
	if err != nil {
		return syncer.Head{}, wrap(err, "read the head of lane "+lane.String())
	}
	h, err := headOf(seq, chain)
	if err != nil {
		return h, damaged("lane %v: %w", lane, err)
	}
	return h, nil
}

// ChainAt returns the chain hash of a lane's main branch at seq; false beyond its head.
func (s *Store) ChainAt(ctx context.Context, lane syncer.LaneID, seq uint64) (syncer.Chain, bool, error) {
	head, err := s.Lane(ctx, lane)
	switch {
	case err != nil || seq > head.Seq:
		return syncer.Chain{}, false, err
	case seq == 0:
		return syncer.Chain{}, true, nil
	case seq == head.Seq:
		return head.Chain, true, nil
	}
	var first int64
	var prev, digests, signature []byte
	err = s.queries.runAt.QueryRowContext(ctx, lane.Device[:], lane.Epoch[:], int64(seq)).Scan(&first, &prev, &digests, &signature)
	if errors.Is(err, sql.ErrNoRows) {
		return syncer.Chain{}, false, damaged("lane %v: entry %d is not held though the head is %d", lane, seq, head.Seq)
	}
	if err != nil {
		return syncer.Chain{}, false, wrap(err, "read lane "+lane.String())
	}
	r, err := newRun(uint64(first), prev, digests, signature)
	if err != nil {
		return syncer.Chain{}, false, damaged("lane %v: %w", lane, err)
	}
	return r.ChainAt(lane, seq), true, nil
}

// Missing says which records are not held.
func (s *Store) Missing(ctx context.Context, refs []*servicev1.RecordRef) (wanted, conflicting []uint32, err error) {
	for i, ref := range refs {
		held, other, err := s.holds(ctx, ref)
		if err != nil {
			return nil, nil, wrap(err, "look up records that were offered")
		}
		if held {
			continue
		}
		wanted = append(wanted, uint32(i))
		if other {
			conflicting = append(conflicting, uint32(i))
		}
	}
	return wanted, conflicting, nil
}

// holds says whether a record is held, and if not whether its id is held with another digest.
func (s *Store) holds(ctx context.Context, ref *servicev1.RecordRef) (held, other bool, err error) {
	if d, err := syncer.ParseDigest(ref.GetDigest()); err == nil && s.queries.forgotten.has(d) {
		return true, false, nil
	}
	var digest []byte
	err = s.queries.digestOf.QueryRowContext(ctx, int64(ref.GetPart()), ref.GetId()).Scan(&digest)
	switch {
	case err == nil:
		if bytes.Equal(digest, ref.GetDigest()) {
			return true, false, nil
		}
		other = true
	case !errors.Is(err, sql.ErrNoRows):
		return false, false, err
	}
	var one int64
	err = s.queries.kept.QueryRowContext(ctx, ref.GetDigest()).Scan(&one)
	if err == nil {
		return true, false, nil
	}
	if errors.Is(err, sql.ErrNoRows) {
		return false, other, nil
	}
	return false, false, err
}
