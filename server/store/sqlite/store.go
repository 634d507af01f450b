// Package sqlite is the embedded store of a server: SQLite files in one folder, for those who run headquarters or a
// hub on one machine.
//
// log.sqlite is the truth. It is written by one goroutine, which takes all batches that wait into one transaction and
// answers them after that is on the disk (WAL, synchronous=FULL). projection.sqlite is derived from it, never ahead of
// it, and may be deleted while no server runs; so may linkage.sqlite. Two processes cannot serve the same folder.
//
// The package does not interpret payloads, decide what is derived, or verify signatures of what arrives: that is done
// before Append and before Apply. Check verifies all of it again.
package sqlite

import (
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	sqlite3 "modernc.org/sqlite/lib"
)

// The files of a data folder that belong to the store.
const (
	logFile        = "log.sqlite"
	projectionFile = "projection.sqlite"
	lockFile       = "lock.sqlite"
)

// Options say how to open a store.
type Options struct {
	// ReadOnly opens without writing; several processes may do so while no server runs. The store must exist.
	ReadOnly bool
	// MustExist fails with fault.StoreMissing instead of making a new store.
	MustExist bool
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Rand gives a new log its epoch; nil: crypto/rand.
	Rand io.Reader
	// Disk is where the files are; nil: the file system.
	Disk Disk
	// Restored says that the folder was a backup until now. The log takes a new epoch: what was written after the backup
	// is gone, and cursors given since are not to be believed.
	Restored bool
}

// Store is a store.Store in SQLite files.
type Store struct {
	dir   string
	disk  Disk
	rand  io.Reader
	fresh bool // the log is to take a new epoch
	now   func() time.Time
	epoch syncer.ID
	lock  *conn
	ro    bool

	writer  *writer // nil if read-only
	log     *sql.DB
	gate    *gate // of the connections of log
	queries *queries
	notify  chan struct{}
	commits atomic.Uint64 // of the log, since it was opened

	partsMu sync.RWMutex
	parts   map[uint64]uint64 // counters that are committed

	projection *projection
	projector  sync.Mutex // held while projections are written
	index      index
	closing    sync.Once
}

var _ store.Store = (*Store)(nil)

// Open opens the store in a folder and makes it if there is none. It fails with fault.StoreInUse while another process
// serves the folder, with fault.StoreTooNew for files of a newer program, and with fault.StoreDamaged or fault.NotSQLite
// where log.sqlite cannot be read at all. Projections that are damaged, of another log or ahead of it are thrown away.
func Open(ctx context.Context, dir string, opts Options) (*Store, error) {
	s := &Store{dir: dir, disk: opts.Disk, rand: opts.Rand, fresh: opts.Restored, now: opts.Now, ro: opts.ReadOnly, notify: make(chan struct{}, 1), parts: map[uint64]uint64{}}
	if s.now == nil {
		s.now = time.Now
	}
	if s.disk == nil {
		s.disk = osDisk{}
	}
	if s.rand == nil {
		s.rand = rand.Reader
	}
	if err := s.open(ctx, opts); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, opts Options) error {
	path := filepath.Join(s.dir, logFile)
	if (opts.MustExist || opts.ReadOnly) && !s.disk.Exists(path) {
		return fault.New(fault.NotFound, fault.StoreMissing, "%s holds no store", s.dir)
	}
	if _, files := s.disk.(osDisk); files && !opts.ReadOnly {
		if err := makeFolder(s.dir); err != nil {
			return fault.New(fault.Unavailable, "", "make the data folder %s: %w", s.dir, err)
		}
	}
	var err error
	if s.lock, err = acquire(s.disk, s.dir, opts.ReadOnly); err != nil {
		return err
	}
	if !opts.ReadOnly {
		if s.writer, err = newWriter(s, path); err != nil {
			return wrap(err, "open "+path)
		}
	}
	if s.log, s.gate, err = readers(s.disk, path, opts.ReadOnly); err != nil {
		return wrap(err, "open "+path)
	}
	if err := s.load(ctx); err != nil {
		return wrap(err, "open "+path)
	}
	if s.projection, err = openProjection(s); err != nil {
		return wrap(err, "open "+filepath.Join(s.dir, projectionFile))
	}
	if s.writer != nil {
		s.writer.start()
	}
	return nil
}

// load reads what is kept in memory: the epoch and the counters.
func (s *Store) load(ctx context.Context) error {
	if err := tooNew(s.log, logMigrations, logFile); err != nil {
		return err
	}
	var epoch []byte
	if err := s.log.QueryRowContext(ctx, `SELECT epoch FROM meta`).Scan(&epoch); code(err) == sqlite3.SQLITE_ERROR {
		return damaged("%s: its epoch cannot be read: %w", logFile, err)
	} else if err != nil {
		return err
	}
	var err error
	if s.epoch, err = syncer.ParseID(epoch); err != nil {
		return damaged("%s: epoch of the log: %w", logFile, err)
	}
	if s.parts, err = heads(ctx, s.log); err != nil {
		return err
	}
	s.queries, err = prepareQueries(s.log)
	return err
}

// heads reads the counters of all parts.
func heads(ctx context.Context, log *sql.DB) (map[uint64]uint64, error) {
	rows, err := log.QueryContext(ctx, `SELECT part, counter FROM part`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	parts := map[uint64]uint64{}
	for rows.Next() {
		var part, counter int64
		if err := rows.Scan(&part, &counter); err != nil {
			return nil, err
		}
		parts[uint64(part)] = uint64(counter)
	}
	return parts, rows.Err()
}

// heads reads the counters of all parts, as the writer sees them.
func (c *logConn) heads() (map[uint64]uint64, error) {
	parts := map[uint64]uint64{}
	err := c.prepare(`SELECT part, counter FROM part`).each(func(row []driver.Value) error {
		parts[uint64(integer(row[0]))] = uint64(integer(row[1]))
		return nil
	})
	return parts, err
}

// Close waits for writes under way and closes the files. Closing again does nothing.
func (s *Store) Close() error {
	var err error
	s.closing.Do(func() { err = s.close() })
	return err
}

func (s *Store) close() error {
	var errs []error
	if s.log != nil {
		errs = append(errs, s.log.Close())
	}
	if s.writer != nil {
		errs = append(errs, s.writer.close())
	}
	if s.projection != nil {
		errs = append(errs, s.closeProjection())
	}
	s.index.mu.Lock()
	errs = append(errs, s.index.close())
	s.index.mu.Unlock()
	if s.lock != nil {
		errs = append(errs, s.lock.close())
	}
	return wrap(errors.Join(errs...), "close "+s.dir)
}

func (s *Store) closeProjection() error {
	s.projector.Lock()
	defer s.projector.Unlock()
	return s.projection.close()
}

// Epoch identifies the log.
func (s *Store) Epoch() syncer.ID { return s.epoch }

// Notify returns the channel that receives after appends.
func (s *Store) Notify() <-chan struct{} { return s.notify }

// Commits is how many transactions of the log have been made durable since it was opened. Several batches share one.
func (s *Store) Commits() uint64 { return s.commits.Load() }

// committed makes new counters visible to readers.
func (s *Store) committed(counters map[uint64]uint64) {
	if len(counters) == 0 {
		return
	}
	s.advance(counters)
	select {
	case s.notify <- struct{}{}:
	default:
	}
}

// advance moves the heads of parts; a head never moves back.
func (s *Store) advance(counters map[uint64]uint64) {
	s.partsMu.Lock()
	defer s.partsMu.Unlock()
	for part, counter := range counters {
		s.parts[part] = max(s.parts[part], counter)
	}
}

// makeFolder makes the data folder, readable by its owner only, and has its name on the disk.
func makeFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	parent, err := os.Open(filepath.Dir(filepath.Clean(dir)))
	if err != nil {
		return nil // not ours to read; the folder is there
	}
	defer parent.Close()
	_ = parent.Sync() // not every system can
	return nil
}

// acquire takes the lock of a folder: alone to serve it, shared to read it. It is a lock of SQLite's on an empty file,
// which all systems release when a process dies.
func acquire(d Disk, dir string, shared bool) (*conn, error) {
	path := filepath.Join(dir, lockFile)
	mode, take := "rwc", "BEGIN EXCLUSIVE"
	if shared {
		take = "BEGIN; SELECT * FROM sqlite_schema"
		if d.Exists(path) {
			mode = "ro"
		}
	}
	c, err := dial(dsn(d, path, mode))
	if err != nil {
		return nil, wrap(err, "open "+path)
	}
	if err := c.run("PRAGMA busy_timeout = 100; " + take); err != nil {
		_ = c.close()
		if fault.ReasonOf(wrap(err, "")) == fault.StoreInUse {
			return nil, fault.New(fault.Unavailable, fault.StoreInUse, "%s is served by another process", dir)
		}
		return nil, wrap(err, "lock "+dir)
	}
	return c, nil
}

// readers opens the connections that read the log.
func readers(d Disk, path string, readOnly bool) (*sql.DB, *gate, error) {
	name := dsn(d, path, "ro", "query_only(1)", "cache_size(-2000)")
	if readOnly && !d.Exists(path+"-wal") && !writable(filepath.Dir(path)) {
		name += "&immutable=1" // without a place for its shared memory a WAL database opens only so
	}
	g, err := newGate(name)
	if err != nil {
		return nil, nil, err
	}
	db := sql.OpenDB(g)
	db.SetMaxOpenConns(readConns)
	db.SetMaxIdleConns(readConns)
	return db, g, nil
}

// writable says whether a file can be made in a folder.
func writable(dir string) bool {
	f, err := os.CreateTemp(dir, ".hearth-*")
	if err != nil {
		return false
	}
	_ = f.Close()
	return os.Remove(f.Name()) == nil
}

// newEpoch makes the identity of a new log.
func newEpoch(random io.Reader) (syncer.ID, error) {
	var id syncer.ID
	_, err := io.ReadFull(random, id[:])
	return id, err
}
