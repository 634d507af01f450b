package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// scrubWait is how long an erasure waits for readers before it gives up; it can be repeated.
const scrubWait = 20 * time.Second

// forgotten are the digests of erased records. They are few, and asked for at every entry that arrives.
type forgotten struct {
	mu  sync.RWMutex
	all map[syncer.Digest]bool // true: an envelope is left in the log
}

func (f *forgotten) has(d syncer.Digest) bool {
	if f == nil {
		return false
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	_, ok := f.all[d]
	return ok
}

func (f *forgotten) add(d syncer.Digest, left bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all[d] = left
}

func (f *forgotten) load(db *sql.DB) error {
	f.all = map[syncer.Digest]bool{}
	rows, err := db.Query(`SELECT digest, length(stub) FROM erased`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var digest []byte
		var left int
		if err := rows.Scan(&digest, &left); err != nil {
			return err
		}
		d, err := syncer.ParseDigest(digest)
		if err != nil {
			return damaged("table erased: %w", err)
		}
		f.all[d] = left > 0
	}
	return rows.Err()
}

// stub is the envelope that stays in the place of an erased record.
type stub struct {
	part, counter uint64
	digest        syncer.Digest
	body          []byte
}

// Erase destroys what the records of an interview, and those of what was said of it, say.
func (s *Store) Erase(ctx context.Context, part uint64, subject string) (store.Erased, error) {
	var out store.Erased
	if s.writer == nil {
		return out, readOnly(s.dir)
	}
	revs, err := s.Revisions(ctx, part, servicev1.RecordKind_RECORD_KIND_INTERVIEW, subject)
	if err != nil {
		return out, err
	}
	said, err := s.Revisions(ctx, part, servicev1.RecordKind_RECORD_KIND_REVIEW, subject)
	if err != nil {
		return out, err
	}
	trails, err := s.Revisions(ctx, part, servicev1.RecordKind_RECORD_KIND_PARADATA, subject)
	if err != nil {
		return out, err
	}
	revs = append(append(revs, said...), trails...)
	slices.SortFunc(revs, func(a, b store.Stored) int { return bytes.Compare(a.Digest[:], b.Digest[:]) })
	var stubs []stub
	for _, r := range revs {
		out.Digests = append(out.Digests, r.Digest)
		if s.queries.forgotten.has(r.Digest) {
			continue
		}
		body, err := envelopeOf(r.Raw)
		if err != nil {
			return out, err
		}
		stubs = append(stubs, stub{part, r.Counter, r.Digest, body})
	}
	items, err := s.quarantinedAbout(ctx, part, subject)
	if err != nil {
		return out, err
	}
	out.Quarantined = len(items)
	// What the linkage keeps is made again from the projections, of which a withdrawn interview is no part any more.
	if err := s.IndexDrop(ctx); err != nil {
		return out, err
	}
	if len(stubs)+len(items) > 0 {
		j := &job{records: len(stubs) + len(items), apply: func(t *tx) error { return t.erase(stubs, items) }}
		if err := s.writer.do(ctx, j); err != nil {
			return out, err
		}
	}
	for _, r := range stubs {
		s.queries.forgotten.add(r.digest, true)
	}
	for _, d := range items {
		s.queries.forgotten.add(d, false)
	}
	return out, s.scrub(ctx)
}

// envelopeOf is a record without what it says.
func envelopeOf(raw []byte) ([]byte, error) {
	r, err := syncer.Open(raw)
	if err != nil {
		return nil, err
	}
	r.Payload, r.Blobs = nil, nil
	r.ProtoReflect().SetUnknown(nil)
	return proto.MarshalOptions{Deterministic: true}.Marshal(r)
}

// quarantinedAbout returns the digests of the items whose bytes are about a subject.
func (s *Store) quarantinedAbout(ctx context.Context, part uint64, subject string) ([]syncer.Digest, error) {
	rows, err := s.log.QueryContext(ctx, `SELECT digest, raw FROM quarantine WHERE raw IS NOT NULL`)
	if err != nil {
		return nil, wrap(err, "read the quarantine")
	}
	defer rows.Close()
	var out []syncer.Digest
	for rows.Next() {
		var digest, raw []byte
		if err := rows.Scan(&digest, &raw); err != nil {
			return nil, wrap(err, "read the quarantine")
		}
		r, err := syncer.Open(raw)
		if err != nil || r.GetSubject() != subject || r.GetPart() != part {
			continue
		}
		d, err := syncer.ParseDigest(digest)
		if err != nil {
			return nil, damaged("table quarantine: %w", err)
		}
		out = append(out, d)
	}
	return out, wrap(rows.Err(), "read the quarantine")
}

// erase puts envelopes in the place of records and takes items out of quarantine, and notes both.
func (t *tx) erase(stubs []stub, items []syncer.Digest) error {
	const note = `INSERT INTO erased (digest, stub, erased_ms, sum) VALUES (?, ?, ?, ?) ON CONFLICT (digest) DO NOTHING`
	for _, r := range stubs {
		left := syncer.DigestOf(r.body)
		t.writes++
		if _, err := t.once(note, r.digest[:], left[:], t.nowMS, erasedSum(r.digest[:], left[:], t.nowMS)); err != nil {
			return err
		}
		n, err := t.once(`UPDATE record SET body = ? WHERE part = ? AND counter = ? AND digest = ?`, r.body, int64(r.part), int64(r.counter), r.digest[:])
		if err != nil {
			return err
		}
		if n != 1 {
			return fault.New(fault.Conflict, "", "record %v is not where it was", r.digest)
		}
	}
	for _, d := range items {
		t.writes++
		if _, err := t.once(note, d[:], []byte{}, t.nowMS, erasedSum(d[:], nil, t.nowMS)); err != nil {
			return err
		}
		if err := t.release(d); err != nil {
			return err
		}
	}
	return nil
}

func erasedSum(digest, stub []byte, erasedMS int64) int64 {
	return summer(nil).bytes(digest).bytes(stub).int(erasedMS).sum()
}

// once runs a statement that is seldom needed.
func (c *conn) once(query string, args ...any) (int64, error) {
	s := c.prepare(query)
	n, err := s.exec(args...)
	return n, errors.Join(err, c.drop(s))
}

// drop closes a statement that is not needed again.
func (c *conn) drop(s *stmt) error {
	c.stmts = slices.DeleteFunc(c.stmts, func(o *stmt) bool { return o == s })
	if s.s == nil {
		return nil
	}
	return s.s.Close()
}

// scrub leaves nothing of what was deleted in the files: the log is written with secure_delete, so that what is freed is
// zeros, and its WAL is emptied; the projections, where pages are split and joined all the time, are written anew.
func (s *Store) scrub(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, scrubWait)
	defer cancel()
	path := filepath.Join(s.dir, logFile)
	c, err := dial(dsn(s.disk, path, "rw"))
	if err != nil {
		return wrap(err, "open "+path)
	}
	if err := errors.Join(c.emptyWAL(ctx, path), c.close()); err != nil {
		return wrap(err, "empty the WAL of "+path)
	}
	s.projector.Lock()
	defer s.projector.Unlock()
	p := s.projection
	if p.w == nil || p.path == "" {
		return nil
	}
	if err := p.w.run("PRAGMA secure_delete = ON; PRAGMA temp_store = FILE; VACUUM; PRAGMA temp_store = MEMORY; PRAGMA secure_delete = OFF"); err != nil {
		return wrap(err, "write "+p.path+" anew")
	}
	return p.w.emptyWAL(ctx, p.path)
}

// emptyWAL has all of the WAL in the file, and the WAL cut to nothing. It waits for those who still read from it.
func (c *conn) emptyWAL(ctx context.Context, path string) (err error) {
	if err := c.run("PRAGMA busy_timeout = 100"); err != nil { // SQLite itself waits without looking at ctx
		return wrap(err, "empty the WAL of "+path)
	}
	defer func() { err = errors.Join(err, c.run("PRAGMA busy_timeout = 10000")) }()
	for {
		busy, err := c.integer("PRAGMA wal_checkpoint(TRUNCATE)")
		if err != nil && code(err) == 0 || err == nil && busy == 0 {
			return wrap(err, "empty the WAL of "+path)
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.Unavailable, "", "the WAL of %s still holds what was erased, because it is being read: erase again", path)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
