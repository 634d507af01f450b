package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"path/filepath"
	"sync"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/server/store"
)

// indexFile is opened when it is first asked for. A store that is only read keeps its index in memory.
const indexFile = "linkage.sqlite"

// index is linkage.sqlite. One connection does everything: its one reader is the linkage, which asks many small questions, and
// a pool would cost as much as the answers.
type index struct {
	mu         sync.Mutex
	c          *conn // nil: not open
	get        *stmt
	scan, rest *stmt // up to a key, and to the end
	put, del   *stmt
}

// open opens the file and throws away one that is of another log or cannot be used. The lock is held.
func (x *index) open(s *Store) error {
	if x.c != nil {
		return nil
	}
	path := filepath.Join(s.dir, indexFile)
	err := x.dial(s, path)
	if err != nil && unusable(err) && !s.ro {
		if err = removeDatabase(s.disk, path); err == nil {
			err = x.dial(s, path)
		}
	}
	return wrap(err, "open "+path)
}

func (x *index) dial(s *Store, path string) (err error) {
	if s.ro {
		x.c, err = dial(dsn(osDisk{}, "/linkage", "memory"))
	} else if err = s.disk.Make(path); err != nil {
		err = fault.New(fault.Unavailable, "", "make %s: %w", path, err)
	} else {
		x.c, err = dialWriter(s.disk, path, "NORMAL")
	}
	if err != nil {
		x.c = nil
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, x.close())
		}
	}()
	// What people told of themselves does not stay behind in pages that are free.
	// The upper pages of the index of a million people find room.
	if err := x.c.run("PRAGMA secure_delete = ON; PRAGMA cache_size = -16000"); err != nil {
		return err
	}
	if err := migrate(x.c, []step{indexSQL}, indexFile); err != nil {
		return errors.Join(errUnusable, err)
	}
	if err := complete(x.c, []step{indexSQL}, indexFile); err != nil {
		return errors.Join(errUnusable, err)
	}
	if _, err := x.c.prepare(`INSERT INTO meta (one, epoch) VALUES (1, ?) ON CONFLICT (one) DO NOTHING`).exec(s.epoch[:]); err != nil {
		return err
	}
	row, err := x.c.prepare(`SELECT epoch FROM meta`).row()
	if err != nil {
		return err
	}
	if string(bytesOf(row[0])) != string(s.epoch[:]) {
		return errUnusable
	}
	x.get = x.c.prepare(`SELECT value FROM entry WHERE key = ?`)
	x.scan = x.c.prepare(`SELECT key, value FROM entry WHERE key >= ? AND key > ? AND key < ? ORDER BY key LIMIT ?`)
	x.rest = x.c.prepare(`SELECT key, value FROM entry WHERE key >= ? AND key > ? ORDER BY key LIMIT ?`)
	x.put = x.c.prepare(`INSERT INTO entry (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value`)
	x.del = x.c.prepare(`DELETE FROM entry WHERE key = ?`)
	return nil
}

func (x *index) close() error {
	if x.c == nil {
		return nil
	}
	c := x.c
	x.c = nil
	return c.close()
}

// IndexGet returns the values of keys.
func (s *Store) IndexGet(ctx context.Context, keys ...string) ([][]byte, error) {
	s.index.mu.Lock()
	defer s.index.mu.Unlock()
	if err := s.index.open(s); err != nil {
		return nil, err
	}
	out := make([][]byte, len(keys))
	for i, k := range keys {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		row, err := s.index.get.row([]byte(k))
		if err != nil {
			return nil, wrap(err, "read what the linkage keeps")
		}
		if row != nil {
			out[i] = append([]byte{}, bytesOf(row[0])...)
		}
	}
	return out, nil
}

// IndexScan returns entries by the beginning of their keys.
func (s *Store) IndexScan(ctx context.Context, prefix, after string, limit int) ([]store.IndexEntry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.index.mu.Lock()
	defer s.index.mu.Unlock()
	if err := s.index.open(s); err != nil {
		return nil, err
	}
	if limit <= 0 {
		limit = -1
	}
	var out []store.IndexEntry
	take := func(row []driver.Value) error {
		out = append(out, store.IndexEntry{Key: string(bytesOf(row[0])), Value: append([]byte{}, bytesOf(row[1])...)})
		return nil
	}
	var err error
	if to, ok := store.Behind(prefix); ok {
		err = s.index.scan.each(take, []byte(prefix), []byte(after), []byte(to), int64(limit))
	} else {
		err = s.index.rest.each(take, []byte(prefix), []byte(after), int64(limit))
	}
	return out, wrap(err, "read what the linkage keeps")
}

// IndexApply makes changes in one transaction.
func (s *Store) IndexApply(ctx context.Context, guard store.IndexEntry, changes []store.IndexEntry) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.index.mu.Lock()
	defer s.index.mu.Unlock()
	if err := s.index.open(s); err != nil {
		return err
	}
	return wrap(s.index.apply(guard, changes), "write what the linkage keeps")
}

func (x *index) apply(guard store.IndexEntry, changes []store.IndexEntry) (err error) {
	if err := x.c.run("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = x.c.run("ROLLBACK")
		}
	}()
	row, err := x.get.row([]byte(guard.Key))
	if err != nil {
		return err
	}
	held := ""
	if row != nil {
		held = string(bytesOf(row[0]))
	}
	if (row != nil) != (guard.Value != nil) || held != string(guard.Value) {
		return fault.New(fault.Conflict, "", "somebody else has changed what the linkage keeps")
	}
	for _, c := range changes {
		if c.Value == nil {
			_, err = x.del.exec([]byte(c.Key))
		} else {
			_, err = x.put.exec([]byte(c.Key), c.Value)
		}
		if err != nil {
			return err
		}
	}
	return x.c.run("COMMIT")
}

func bytesOf(v driver.Value) []byte {
	b, _ := v.([]byte)
	return b
}

// IndexDrop removes the file.
func (s *Store) IndexDrop(context.Context) error {
	s.index.mu.Lock()
	defer s.index.mu.Unlock()
	err := s.index.close()
	if path := filepath.Join(s.dir, indexFile); !s.ro && s.disk.Exists(path) {
		err = errors.Join(err, removeDatabase(s.disk, path))
	}
	return wrap(err, "throw away what the linkage keeps")
}
