package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"path/filepath"
	"sync"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/failpoint"
	"github.com/hearth-survey/hearth/syncer/plant"
	"github.com/hearth-survey/hearth/syncer/prepared"
	"google.golang.org/protobuf/proto"
	sqlite3 "modernc.org/sqlite/lib"
)

// projection is projection.sqlite, or one in memory where there is none and none may be made.
type projection struct {
	path string
	db   *sql.DB

	w                       *conn // nil if read-only
	begin, commit           *stmt
	saveCursor              *stmt
	newInterview            *stmt
	oldCell, saveInterview  *stmt
	addToCell, dropCell     *stmt
	saveDecision, saveStudy *stmt
	downStmts
	flagStmts

	mu     sync.RWMutex
	cursor map[uint64]uint64
	listed map[uint64]uint64 // up to which counter of a part all records of interviews are named
	counts map[cell]int64    // the table count_cell, all parts together; nil until it is asked for
}

// openProjection opens the projections of a store. What cannot be used is made again, empty: it is derived.
func openProjection(s *Store) (*projection, error) {
	path := filepath.Join(s.dir, projectionFile)
	if s.ro {
		if !s.disk.Exists(path) {
			return dialProjection(s, "", false)
		}
		return dialProjection(s, path, true)
	}
	p, err := dialProjection(s, path, false)
	if err == nil || !unusable(err) {
		return p, err
	}
	if err := removeDatabase(s.disk, path); err != nil {
		return nil, err
	}
	return dialProjection(s, path, false)
}

// errUnusable is a projection of another log, of another version, or ahead of the log.
var errUnusable = errors.New("the projections do not belong to this log")

func unusable(err error) bool {
	c := code(err)
	return errors.Is(err, errUnusable) || c == sqlite3.SQLITE_CORRUPT || c == sqlite3.SQLITE_NOTADB || c == sqlite3.SQLITE_ERROR
}

func removeDatabase(d Disk, path string) error {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := d.Remove(path + suffix); err != nil {
			return err
		}
	}
	return nil
}

// dialProjection opens projections for reading, and for writing too unless readOnly. An empty path is one in memory.
func dialProjection(s *Store, path string, readOnly bool) (_ *projection, err error) {
	p := &projection{path: path, cursor: map[uint64]uint64{}, listed: map[uint64]uint64{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	name := dsn(s.disk, path, "ro", "query_only(1)", "cache_size(-2000)")
	if path == "" {
		name = dsn(osDisk{}, "/"+s.epoch.String(), "memory") + "&cache=shared"
	} else if !readOnly {
		if err := s.disk.Make(path); err != nil {
			return p, fault.New(fault.Unavailable, "", "make %s: %w", path, err)
		}
	}
	if !readOnly {
		if path == "" {
			p.w, err = dial(name)
		} else {
			if p.w, err = dialWriter(s.disk, path, "NORMAL"); err == nil {
				// Most pages are written several times before they are copied. Those of one transaction stay in memory until its
				// end: a page that is written to the WAL before, and again, has SQLite read all behind it once more.
				err = p.w.run("PRAGMA wal_autocheckpoint = 8000; PRAGMA cache_size = -8000; PRAGMA cache_spill = OFF")
			}
		}
		if err != nil {
			return p, err
		}
		if err := p.prepare(s.epoch); err != nil {
			return p, err
		}
	}
	if p.db, err = prepared.Open(name); err != nil {
		return p, err
	}
	p.db.SetMaxOpenConns(4)
	p.db.SetMaxIdleConns(4)
	return p, p.load(s)
}

// load reads the cursor and refuses one that is not of the log or ahead of it.
func (p *projection) load(s *Store) error {
	if err := tooNew(p.db, projectionMigrations, projectionFile); err != nil {
		return errors.Join(errUnusable, err)
	}
	var epoch []byte
	if err := p.db.QueryRow(`SELECT epoch FROM meta`).Scan(&epoch); err != nil {
		return errors.Join(errUnusable, err)
	}
	if string(epoch) != string(s.epoch[:]) {
		return errUnusable
	}
	rows, err := p.db.Query(`SELECT part, counter, listed FROM cursor`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var part, counter, listed int64
		if err := rows.Scan(&part, &counter, &listed); err != nil {
			return err
		}
		if uint64(counter) > s.parts[uint64(part)] || listed > counter {
			return errUnusable
		}
		p.cursor[uint64(part)], p.listed[uint64(part)] = uint64(counter), uint64(listed)
	}
	return rows.Err()
}

// prepare makes the tables and the statements that write.
func (p *projection) prepare(epoch syncer.ID) error {
	version, err := p.w.integer("PRAGMA user_version")
	if err != nil {
		return err
	}
	if version != 0 && version != int64(len(projectionMigrations())) {
		return errUnusable
	}
	if err := migrate(p.w, projectionMigrations(), projectionFile); err != nil {
		return err
	}
	if err := complete(p.w, projectionMigrations(), projectionFile); err != nil {
		return errors.Join(errUnusable, err)
	}
	if _, err := p.w.prepare(`INSERT INTO meta (one, epoch) VALUES (1, ?) ON CONFLICT (one) DO NOTHING`).exec(epoch[:]); err != nil {
		return err
	}
	for _, q := range []struct {
		to    **stmt
		query string
	}{
		{&p.begin, `BEGIN IMMEDIATE`},
		{&p.commit, `COMMIT`},
		{&p.saveCursor, `INSERT INTO cursor (part, counter, listed) VALUES (?, ?, ?)
			ON CONFLICT (part) DO UPDATE SET counter = excluded.counter, listed = excluded.listed`},
		{&p.oldCell, `SELECT study, round, questionnaire, enumerator, site_id, day, result, review_state, body
			FROM interview WHERE part = ? AND interview_id = ?`},
		{&p.newInterview, `INSERT INTO interview (part, interview_id, study, round, questionnaire, enumerator, site_id, day, result,
			review_state, start_time_ms, conflict, records, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (part, interview_id) DO NOTHING`},
		{&p.saveInterview, `INSERT INTO interview (part, interview_id, study, round, questionnaire, enumerator, site_id, day, result,
			review_state, start_time_ms, conflict, records, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (part, interview_id) DO UPDATE SET study = excluded.study, round = excluded.round,
			questionnaire = excluded.questionnaire, enumerator = excluded.enumerator, site_id = excluded.site_id,
			day = excluded.day, result = excluded.result, review_state = excluded.review_state,
			start_time_ms = excluded.start_time_ms, conflict = excluded.conflict,
			records = coalesce(excluded.records, records), body = excluded.body`},
		{&p.addToCell, `INSERT INTO count_cell (part, study, round, questionnaire, enumerator, site_id, day, result, review_state,
			interviews) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET interviews = interviews + excluded.interviews`},
		{&p.dropCell, `DELETE FROM count_cell WHERE part = ? AND study = ? AND round = ? AND questionnaire = ? AND enumerator = ?
			AND site_id = ? AND day = ? AND result = ? AND review_state = ? AND interviews = 0`},
		{&p.saveDecision, `INSERT INTO decision (part, decision_id, study, time_ms, body) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (part, decision_id) DO UPDATE SET study = excluded.study, time_ms = excluded.time_ms, body = excluded.body`},
		{&p.saveStudy, `INSERT INTO study (part, study, body) VALUES (?, ?, ?)
			ON CONFLICT (part, study) DO UPDATE SET body = excluded.body`},
	} {
		*q.to = p.w.prepare(q.query)
	}
	p.prepareDown()
	p.prepareFlags()
	return nil
}

func (p *projection) close() error {
	var errs []error
	if p.db != nil {
		errs = append(errs, p.db.Close())
	}
	if p.w != nil {
		errs = append(errs, p.w.close())
		p.w = nil
	}
	return errors.Join(errs...)
}

// Projected is the cursor up to which the projections are made.
func (s *Store) Projected(context.Context) (syncer.Cursor, error) {
	p := s.projection
	p.mu.RLock()
	defer p.mu.RUnlock()
	return syncer.Cursor{Epoch: s.epoch, Parts: maps.Clone(p.cursor)}, nil
}

// Apply replaces projections and moves the cursor, in one transaction. The log's head is read after the cursor was made
// and After reads no further than it was then, so that a cursor ahead of it is not one of this log.
func (s *Store) Apply(ctx context.Context, changes *store.Changes) error {
	if s.ro {
		return readOnly(s.dir)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.projector.Lock()
	defer s.projector.Unlock()
	head, err := s.Head(ctx)
	if err != nil {
		return err
	}
	for part, counter := range changes.Cursor.Parts {
		if counter > head.Parts[part] {
			return fault.New(fault.Invalid, "", "projections up to %d of part %016x, but the log has %d", counter, part, head.Parts[part])
		}
	}
	return wrap(s.projection.apply(changes), "write the projections")
}

func (p *projection) apply(changes *store.Changes) (err error) {
	if p.w == nil {
		return fault.New(fault.Unavailable, fault.ShuttingDown, "the store is closed")
	}
	if changes.Records != nil && len(changes.Records) != len(changes.Interviews) {
		return fault.New(fault.Invalid, "", "records of %d interviews for %d projections", len(changes.Records), len(changes.Interviews))
	}
	if !p.at(changes.From) {
		return fault.New(fault.Conflict, "", "somebody else has made projections meanwhile")
	}
	failpoint.Hit("projection.before-begin")
	if _, err := p.begin.exec(); err != nil {
		return err
	}
	done := false
	defer func() {
		if !done { // also in a panic: the next call begins a transaction again
			_ = p.w.run("ROLLBACK")
		}
	}()
	cells, flags := map[cell]int64{}, flagCounts{}
	for i, iv := range changes.Interviews {
		var records any
		if changes.Records != nil {
			records = packCounters(changes.Records[i])
		}
		if err := p.putInterview(iv, records, cells, flags); err != nil {
			return err
		}
	}
	if err := p.putDown(changes); err != nil {
		return err
	}
	for _, w := range changes.Withdrawn {
		if err := p.withdraw(w, cells, flags); err != nil {
			return err
		}
	}
	if err := errors.Join(p.putCells(cells), p.putFlags(flags)); err != nil {
		return err
	}
	if err := p.putOthers(changes); err != nil {
		return err
	}
	moved, listed, err := p.move(changes)
	if err != nil {
		return err
	}
	p.mu.Lock() // what is kept in memory is never read between the commit and its change
	defer p.mu.Unlock()
	failpoint.Hit("projection.before-commit")
	if _, err := p.commit.exec(); err != nil {
		return err
	}
	done = true
	failpoint.Hit("projection.after-commit")
	maps.Copy(p.cursor, moved)
	maps.Copy(p.listed, listed)
	p.count(cells)
	return nil
}

// at says whether the projections are as far as a cursor; nil: anywhere.
func (p *projection) at(from *syncer.Cursor) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return from == nil || from.SameParts(p.cursor)
}

// move writes the cursors that have changed and returns them.
func (p *projection) move(changes *store.Changes) (moved, listed map[uint64]uint64, err error) {
	moved, listed = p.behind(changes)
	for part, counter := range moved {
		if _, err := p.saveCursor.exec(int64(part), int64(counter), int64(listed[part])); err != nil {
			return nil, nil, err
		}
	}
	return moved, listed, nil
}

// behind returns the cursors that changes move.
func (p *projection) behind(changes *store.Changes) (moved, listed map[uint64]uint64) {
	moved, listed = map[uint64]uint64{}, map[uint64]uint64{}
	p.mu.RLock()
	defer p.mu.RUnlock()
	for part, counter := range changes.Cursor.Parts {
		if p.cursor[part] == counter {
			continue
		}
		moved[part], listed[part] = counter, min(p.listed[part], counter)
		if changes.Records != nil && p.listed[part] == p.cursor[part] {
			listed[part] = counter
		}
	}
	return moved, listed
}

// putInterview replaces one interview and notes how the counts change.
func (p *projection) putInterview(iv *servicev1.InterviewProjection, records any, cells map[cell]int64, flags flagCounts) error {
	s := iv.GetSummary()
	if s.GetInterviewId() == "" {
		return fault.New(fault.Invalid, "", "the projection of an interview has no interview_id")
	}
	body, err := writeBody(iv)
	if err != nil {
		return err
	}
	c := cellOf(s)
	cells[c]++
	flags.add(iv, 1)
	args := [...]any{c.part, s.GetInterviewId(), c.study, c.round, c.questionnaire, c.enumerator, c.siteID, c.day,
		c.result, c.reviewState, s.GetStartTimeMs(), truth(len(s.GetHeads()) > 1), records, body}
	made, err := p.newInterview.exec(args[:]...) // most are new: what was there is looked for only where something was
	if err != nil {
		return err
	}
	if made == 0 {
		old, err := p.oldCell.row(c.part, s.GetInterviewId())
		if err != nil {
			return err
		}
		if old != nil && !plant.In(plant.CountedTwice) {
			cells[cell{part: c.part, study: text(old[0]), round: integer(old[1]), questionnaire: text(old[2]), enumerator: text(old[3]),
				siteID: text(old[4]), day: text(old[5]), result: integer(old[6]), reviewState: integer(old[7])}]--
		}
		if old != nil {
			if err := flags.takeAway(old[8]); err != nil {
				return err
			}
		}
		if _, err := p.saveInterview.exec(args[:]...); err != nil {
			return err
		}
	}
	return p.putBelonging(s, made == 0)
}

func (p *projection) putOthers(changes *store.Changes) error {
	for _, d := range changes.Decisions {
		body, err := deterministic(d)
		if err != nil {
			return err
		}
		part := int64(syncer.Part(d.GetStudy(), ""))
		if _, err := p.saveDecision.exec(part, d.GetDecisionId(), d.GetStudy(), d.GetTimeMs(), body); err != nil {
			return err
		}
	}
	for _, st := range changes.Studies {
		body, err := deterministic(st)
		if err != nil {
			return err
		}
		if _, err := p.saveStudy.exec(int64(syncer.Part(st.GetStudy(), "")), st.GetStudy(), body); err != nil {
			return err
		}
	}
	return nil
}

func deterministic(m proto.Message) ([]byte, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fault.New(fault.Invalid, "", "write a projection: %w", err)
	}
	if b == nil {
		b = []byte{}
	}
	return b, nil
}
