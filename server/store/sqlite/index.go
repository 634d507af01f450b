package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"path/filepath"
	"sync"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer/prepared"
)

// indexFile is opened when it is first asked for. A store that is only read keeps its index in memory.
const indexFile = "linkage.sqlite"

// index is linkage.sqlite. One connection writes, several read.
type index struct {
	mu  sync.Mutex // held while it is opened, written or dropped
	db  *sql.DB
	w   *conn
	get *stmt
	put *stmt
	del *stmt
}

// openIndex opens the file, throws away one that is of another log or cannot be used, and returns what reads it.
func (s *Store) openIndex() (*sql.DB, error) {
	s.index.mu.Lock()
	defer s.index.mu.Unlock()
	if s.index.db != nil {
		return s.index.db, nil
	}
	path := filepath.Join(s.dir, indexFile)
	err := s.dialIndex(path)
	if err != nil && unusable(err) && !s.ro {
		if err = removeDatabase(s.disk, path); err == nil {
			err = s.dialIndex(path)
		}
	}
	return s.index.db, wrap(err, "open "+path)
}

func (s *Store) dialIndex(path string) (err error) {
	x := &index{}
	defer func() {
		if err != nil {
			err = errors.Join(err, x.close())
		}
	}()
	var name string
	if s.ro {
		name = dsn(osDisk{}, "/linkage-"+s.epoch.String(), "memory") + "&cache=shared"
		x.w, err = dial(name)
	} else {
		if err := s.disk.Make(path); err != nil {
			return fault.New(fault.Unavailable, "", "make %s: %w", path, err)
		}
		name = dsn(s.disk, path, "ro", "query_only(1)", "cache_size(-4000)")
		x.w, err = dialWriter(s.disk, path, "NORMAL")
	}
	if err != nil {
		return err
	}
	// What people told of themselves does not stay behind in pages that are free.
	if err := x.w.run("PRAGMA secure_delete = ON"); err != nil {
		return err
	}
	if err := migrate(x.w, []step{indexSQL}, indexFile); err != nil {
		return errors.Join(errUnusable, err)
	}
	if err := complete(x.w, []step{indexSQL}, indexFile); err != nil {
		return errors.Join(errUnusable, err)
	}
	if _, err := x.w.prepare(`INSERT INTO meta (one, epoch) VALUES (1, ?) ON CONFLICT (one) DO NOTHING`).exec(s.epoch[:]); err != nil {
		return err
	}
	row, err := x.w.prepare(`SELECT epoch FROM meta`).row()
	if err != nil {
		return err
	}
	if of, _ := row[0].([]byte); string(of) != string(s.epoch[:]) {
		return errUnusable
	}
	x.get = x.w.prepare(`SELECT value FROM entry WHERE key = ?`)
	x.put = x.w.prepare(`INSERT INTO entry (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value`)
	x.del = x.w.prepare(`DELETE FROM entry WHERE key = ?`)
	if x.db, err = prepared.Open(name); err != nil {
		return err
	}
	x.db.SetMaxOpenConns(4)
	x.db.SetMaxIdleConns(4)
	s.index.db, s.index.w, s.index.get, s.index.put, s.index.del = x.db, x.w, x.get, x.put, x.del
	return nil
}

func (x *index) close() error {
	var errs []error
	if x.db != nil {
		errs = append(errs, x.db.Close())
	}
	if x.w != nil {
		errs = append(errs, x.w.close())
	}
	x.db, x.w = nil, nil
	return errors.Join(errs...)
}

// IndexGet returns the values of keys.
func (s *Store) IndexGet(ctx context.Context, keys ...string) ([][]byte, error) {
	db, err := s.openIndex()
	if err != nil {
		return nil, err
	}
	out := make([][]byte, len(keys))
	for i, k := range keys {
		err := db.QueryRowContext(ctx, `SELECT value FROM entry WHERE key = ?`, []byte(k)).Scan(&out[i])
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return nil, wrap(err, "read what the linkage keeps")
		}
		if out[i] == nil {
			out[i] = []byte{}
		}
	}
	return out, nil
}

// IndexScan returns entries by the beginning of their keys.
func (s *Store) IndexScan(ctx context.Context, prefix, after string, limit int) ([]store.IndexEntry, error) {
	db, err := s.openIndex()
	if err != nil {
		return nil, err
	}
	if limit <= 0 {
		limit = -1
	}
	const begin, end = `SELECT key, value FROM entry WHERE key >= ? AND key > ?`, ` ORDER BY key LIMIT ?`
	var rows *sql.Rows
	if to, ok := store.Behind(prefix); ok {
		rows, err = db.QueryContext(ctx, begin+` AND key < ?`+end, []byte(prefix), []byte(after), []byte(to), limit)
	} else {
		rows, err = db.QueryContext(ctx, begin+end, []byte(prefix), []byte(after), limit)
	}
	if err != nil {
		return nil, wrap(err, "read what the linkage keeps")
	}
	defer rows.Close()
	var out []store.IndexEntry
	for rows.Next() {
		var key sql.RawBytes
		e := store.IndexEntry{}
		if err := rows.Scan(&key, &e.Value); err != nil {
			return nil, wrap(err, "read what the linkage keeps")
		}
		if e.Key = string(key); e.Value == nil {
			e.Value = []byte{}
		}
		out = append(out, e)
	}
	return out, wrap(rows.Err(), "read what the linkage keeps")
}

// IndexApply makes changes in one transaction.
func (s *Store) IndexApply(ctx context.Context, guard store.IndexEntry, changes []store.IndexEntry) error {
	if _, err := s.openIndex(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.index.mu.Lock()
	defer s.index.mu.Unlock()
	if s.index.w == nil {
		return fault.New(fault.Conflict, "", "what the linkage keeps was thrown away meanwhile")
	}
	return wrap(s.index.apply(guard, changes), "write what the linkage keeps")
}

func (x *index) apply(guard store.IndexEntry, changes []store.IndexEntry) (err error) {
	if err := x.w.run("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = x.w.run("ROLLBACK")
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
	return x.w.run("COMMIT")
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
