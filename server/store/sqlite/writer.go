package sqlite

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/syncer/failpoint"
	"github.com/hearth-survey/hearth/syncer/plant"
)

// Bounds of one group: more would make the first of it wait too long.
const (
	groupRecords = 1000
	groupBytes   = 8 << 20
)

// job is a write that waits for its place in a group.
type job struct {
	// apply writes; it may be called again if the transaction has to be repeated without another job.
	apply   func(*tx) error
	records int
	bytes   int
	done    chan error // receives once

	answered bool // of the writer
}

// answer tells who waits what has become of the write; only the first answer counts.
func (j *job) answer(err error) {
	if !j.answered {
		j.answered = true
		j.done <- err
	}
}

// writer is the one goroutine that writes the log.
type writer struct {
	store *Store
	path  string
	conn  *logConn // nil after a failure, until it is opened again

	copier *copier // nil with conn
	anchor *conn   // not nil with conn; after a failure it stays until the log is opened again
	pages  int     // written to the WAL since it was copied

	mu     sync.RWMutex // held for writing to close the queue
	closed bool
	queue  chan *job
	ended  chan struct{}
	begun  bool // work runs
}

func newWriter(s *Store, path string) (*writer, error) {
	w := &writer{store: s, path: path, queue: make(chan *job, 256), ended: make(chan struct{})}
	if err := s.disk.Make(path); err != nil {
		return nil, fault.New(fault.Unavailable, "", "make %s: %w", path, err)
	}
	if err := w.dial(); err != nil {
		return nil, err
	}
	return w, nil
}

// dial opens the connections. Nobody else has the log open.
func (w *writer) dial() error {
	failpoint.Hit("log.before-rewrite")
	if err := w.store.disk.Rewrite(w.path + "-wal"); err != nil {
		return fault.New(fault.Unavailable, "", "write the end of the log anew, as it can be read: the server's disk fails, check it: %w", err)
	}
	failpoint.Hit("log.after-rewrite")
	c, err := dialLog(w.store, w.path)
	if err != nil {
		return err
	}
	if err := c.run("PRAGMA wal_autocheckpoint = 0"); err != nil {
		return closing(err, c.conn)
	}
	aside, err := newCopier(w.store.disk, w.path)
	if err != nil {
		return closing(err, c.conn)
	}
	anchor, err := anchored(w.store.disk, w.path)
	if err != nil {
		return closing(errors.Join(err, aside.close()), c.conn)
	}
	w.conn, w.copier, w.anchor, w.pages = c, aside, anchor, 0
	return nil
}

// closing closes a connection after an error.
func closing(err error, c *conn) error { return errors.Join(err, c.close()) }

// close ends the queue, waits until all that was taken in is answered, and closes the connection.
func (w *writer) close() error {
	if !w.closeQueue() {
		return nil
	}
	if w.begun {
		<-w.ended
	}
	var errs []error
	if w.anchor != nil {
		errs = append(errs, w.anchor.close())
	}
	if w.conn != nil {
		errs = append(errs, w.copier.close(), w.conn.close())
	}
	return errors.Join(errs...)
}

// closeQueue says whether the queue was open.
func (w *writer) closeQueue() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	w.closed = true
	close(w.queue)
	return true
}

// do waits for a write to be durable.
func (w *writer) do(ctx context.Context, j *job) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j.done = make(chan error, 1)
	if err := w.enqueue(ctx, j); err != nil {
		return err
	}
	select {
	case err := <-j.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *writer) enqueue(ctx context.Context, j *job) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.closed {
		return fault.New(fault.Unavailable, fault.ShuttingDown, "the store is closed")
	}
	select {
	case w.queue <- j:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// start begins to take jobs.
func (w *writer) start() {
	w.begun = true
	go w.work()
}

// work writes groups until the queue is closed and empty.
func (w *writer) work() {
	defer close(w.ended)
	var group []*job
	for first := range w.queue {
		group = append(group[:0], first)
		records, size := first.records, first.bytes
	fill:
		for records < groupRecords && size < groupBytes {
			select {
			case j, open := <-w.queue:
				if !open {
					break fill
				}
				group = append(group, j)
				records, size = records+j.records, size+j.bytes
			default:
				break fill
			}
		}
		w.write(group)
	}
}

// write commits a group in one transaction and answers each of its jobs. A job that fails by itself is answered and left
// out; a failure of the transaction is the answer to all, and so is a defect: nobody waits for ever, and the next group is
// written on a new connection.
func (w *writer) write(group []*job) {
	all := group
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		err := fault.New(fault.Internal, "", "write to %s: panic of type %T at %s", w.path, p, debug.Stack())
		defer func() {
			for _, j := range all {
				j.answer(err)
			}
		}()
		w.fail()
	}()
	for len(group) > 0 {
		rest, err := w.attempt(group)
		if err != nil {
			err = wrap(err, "write to "+w.path)
			for _, j := range rest {
				j.answer(err)
			}
			return
		}
		group = rest
	}
}

// attempt tries to commit a group. It returns the jobs that are not answered yet: to be tried again if err is nil.
func (w *writer) attempt(group []*job) (rest []*job, err error) {
	if err := w.revive(); err != nil {
		return group, err
	}
	failpoint.Hit("log.before-begin")
	t := &tx{logConn: w.conn, nowMS: w.store.now().UnixMilli(), counters: map[uint64]uint64{}}
	if _, err := w.conn.begin.exec(); err != nil {
		w.fail()
		return group, err
	}
	good := make([]*job, 0, len(group))
	for i, j := range group {
		before := t.writes
		err := apply(j, t)
		switch {
		case err == nil:
			good = append(good, j)
		case ofGroup(err):
			w.fail()
			return append(good, group[i:]...), err
		case t.writes == before:
			j.answer(wrap(err, "write to "+w.path))
		default:
			j.answer(wrap(err, "write to "+w.path))
			w.rollback()
			return append(good, group[i+1:]...), nil
		}
	}
	failpoint.Hit("log.after-apply")
	err = t.saveCounters()
	if plant.In(plant.AckBeforeCommit) {
		for _, j := range good {
			j.answer(nil)
		}
	}
	if err == nil {
		failpoint.Hit("log.before-commit")
		_, err = w.conn.commit.exec()
	}
	if err != nil {
		w.fail()
		return good, err
	}
	failpoint.Hit("log.after-commit")
	w.store.commits.Add(1)
	w.store.committed(t.dirty)
	failpoint.Hit("log.before-answer")
	for _, j := range good {
		j.answer(nil)
	}
	failpoint.Hit("log.after-answer")
	w.checkpoint()
	return nil, nil
}

// apply runs a job; a defect in it must not end the writer for everybody.
func apply(j *job, t *tx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			t.writes++
			err = fault.New(fault.Internal, "", "write a batch: panic of type %T at %s", p, debug.Stack())
		}
	}()
	return j.apply(t)
}

func (w *writer) rollback() {
	if err := w.conn.run("ROLLBACK"); err != nil {
		w.fail()
	}
}

// fail gives up the connections after a failure of the disk: what SQLite and the system think they have written is not
// to be relied upon. The anchor stays, so that the WAL does.
func (w *writer) fail() {
	if w.conn != nil {
		_ = w.conn.run("ROLLBACK") // SQLite may have rolled back by itself
		_ = w.copier.close()
		_ = w.conn.close()
		w.conn, w.copier = nil, nil
	}
}

// revive opens the log again after a failure, as if the process had been started anew. Until that has succeeded nothing
// is acknowledged.
func (w *writer) revive() error {
	if w.conn != nil {
		return nil
	}
	if !w.store.disk.Exists(w.path) {
		return fault.New(fault.Unavailable, fault.StoreMissing, "write to %s: the file is gone", w.path)
	}
	err := w.store.gate.alone(w.store.log, func() error {
		if w.anchor != nil {
			_ = w.anchor.close() // it has written nothing
			w.anchor = nil
		}
		return w.dial()
	})
	if err != nil {
		return fmt.Errorf("open again after a failure of the disk, before which nothing is taken in: %w", err)
	}
	// A commit that failed may be on the disk all the same: then its records are there to be read. The pool of readers may
	// still hand out a refusal of the time of the recovery, so that it is not asked.
	parts, err := w.conn.heads()
	if err != nil {
		w.fail()
		return fmt.Errorf("read the heads again: %w", err)
	}
	w.store.committed(parts)
	return nil
}

// logConn is the connection that writes the log, with its statements.
type logConn struct {
	*conn
	begin, commit                           *stmt
	counter, saveCounter                    *stmt
	insertRecord, digestOf                  *stmt
	lane, saveLane, runs, runAt             *stmt
	forks, insertRun, rebranch              *stmt
	quarantined, insertQuarantine, unharmed *stmt
	quarantineSize, lastQuarantine, runWith *stmt
	device, saveDevice, deviceAll           *stmt
	rightsStmts
	putItem, dropItem, heldItem *stmt
}

// dialLog opens the log for writing and makes or migrates it.
func dialLog(st *Store, path string) (*logConn, error) {
	c, err := dialWriter(st.disk, path, "FULL")
	if err != nil {
		return nil, err
	}
	l := &logConn{conn: c}
	if err := l.prepareAll(st); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return l, nil
}

func (l *logConn) prepareAll(st *Store) error {
	if err := migrate(l.conn, logMigrations(), logFile); err != nil {
		return err
	}
	if err := complete(l.conn, logMigrations(), logFile); err != nil {
		return err
	}
	if err := l.identify(st); err != nil {
		return err
	}
	const runColumns = `first_seq, prev_chain, digests, signature`
	for _, p := range []struct {
		to    **stmt
		query string
	}{
		{&l.begin, `BEGIN IMMEDIATE`},
		{&l.commit, `COMMIT`},
		{&l.counter, `SELECT counter FROM part WHERE part = ?`},
		{&l.saveCounter, `INSERT INTO part (part, counter, sum) VALUES (?, ?, ?)
			ON CONFLICT (part) DO UPDATE SET counter = excluded.counter, sum = excluded.sum`},
		{&l.insertRecord, `INSERT INTO record (part, counter, id, digest, kind, subject, received_ms, sum, body)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id, part) DO NOTHING`},
		{&l.digestOf, `SELECT digest FROM record WHERE part = ? AND id = ?`},
		{&l.lane, `SELECT seq, chain, branches FROM lane WHERE device = ? AND epoch = ?`},
		{&l.saveLane, `INSERT INTO lane (device, epoch, seq, chain, branches, sum) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (device, epoch) DO UPDATE SET seq = excluded.seq, chain = excluded.chain,
			branches = excluded.branches, sum = excluded.sum`},
		{&l.runs, `SELECT ` + runColumns + ` FROM lane_run WHERE device = ? AND epoch = ? AND branch = 0 AND first_seq > ?
			ORDER BY first_seq, last_seq`},
		{&l.runAt, `SELECT ` + runColumns + ` FROM lane_run WHERE device = ? AND epoch = ? AND branch = 0
			AND first_seq <= ?3 AND last_seq >= ?3 ORDER BY first_seq DESC LIMIT 1`},
		{&l.forks, `SELECT ` + runColumns + `, branch FROM lane_run WHERE device = ? AND epoch = ? AND branch > 0`},
		{&l.insertRun, `INSERT INTO lane_run
			(device, epoch, branch, first_seq, last_seq, prev_chain, head_chain, digests, signature, sum)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`},
		{&l.rebranch, `UPDATE OR REPLACE lane_run SET branch = ?, sum = ?
			WHERE device = ? AND epoch = ? AND branch = 0 AND first_seq = ? AND last_seq = ?`},
		{&l.quarantined, `SELECT reason, message, raw IS NOT NULL FROM quarantine WHERE digest = ?`},
		{&l.insertQuarantine, `INSERT INTO quarantine
			(quarantine_id, digest, reason, message, device, epoch, seq, received_ms, sum, raw)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`},
		{&l.lastQuarantine, `SELECT seq FROM sqlite_sequence WHERE name = 'quarantine'`},
		{&l.unharmed, `DELETE FROM quarantine WHERE digest = ?`},
		{&l.quarantineSize, `SELECT count(*) FROM quarantine`},
		{&l.runWith, `SELECT 1 FROM lane_run WHERE device = ? AND instr(digests, ?) > 0 LIMIT 1`},
		{&l.device, `SELECT public_key, first_seen_ms, fork_hellos, fork_open, name, enumerator FROM device WHERE device = ?`},
		{&l.saveDevice, `INSERT OR REPLACE INTO device (device, name, enumerator, public_key, first_seen_ms,
			last_seen_ms, pending, clock_skew_ms, fork_hellos, fork_open, sum) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`},
		{&l.deviceAll, `SELECT first_seen_ms, last_seen_ms, pending, clock_skew_ms, fork_hellos, fork_open FROM device WHERE device = ?`},
	} {
		*p.to = l.prepare(p.query)
	}
	l.prepareShelf()
	l.prepareRights()
	return nil
}

// identify gives a new log its epoch, and another to one that was restored.
func (l *logConn) identify(st *Store) error {
	known, err := l.integer(`SELECT count(*) FROM meta`)
	if err != nil || known > 0 && (!st.fresh || plant.In(plant.EpochKept)) {
		return err
	}
	epoch, err := newEpoch(st.rand)
	if err != nil {
		return err
	}
	s := l.prepare(`INSERT OR REPLACE INTO meta (one, epoch, created_ms, sum) VALUES (1, ?, ?, ?)`)
	nowMS := st.now().UnixMilli()
	if _, err = s.exec(epoch[:], nowMS, metaSum(epoch[:], nowMS)); err == nil {
		st.fresh = false
	}
	return err
}

func metaSum(epoch []byte, createdMS int64) int64 {
	return summer(nil).bytes(epoch).int(createdMS).sum()
}
