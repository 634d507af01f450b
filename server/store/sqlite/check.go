package sqlite

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
)

// maxFindings is how many findings are listed; more would say nothing new.
const maxFindings = 1000

// Check reads the whole store and reports what is wrong. What it cannot read is a finding, not an error.
func (s *Store) Check(ctx context.Context, opts store.CheckOptions) (*store.Report, error) {
	db, _, err := readers(s.disk, filepath.Join(s.dir, logFile), s.ro) // connections of its own, that have nothing in their caches
	if err != nil {
		return nil, wrap(err, "check "+s.dir)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	c := &checker{ctx: ctx, s: s, db: db, opts: opts, report: &store.Report{}, counters: map[int64]int64{},
		names: map[syncer.ID]string{}, keys: map[syncer.ID]ed25519.PublicKey{}}
	for _, step := range []struct {
		of string
		do func() error
	}{
		{"structure of " + logFile, func() error { return c.structure(db, logFile, fault.StoreDamaged) }},
		{"schema of " + logFile, c.schema},
		{"table meta", c.meta},
		{"table device", c.devices},
		{"rights of devices", c.rights},
		{"table shelf", c.shelf},
		{"table erased", c.erasures},
		{"table record", c.records},
		{"table part", c.parts},
		{"table quarantine", c.quarantine},
		{"table lane", c.lanes},
		{"projections", c.projections},
	} {
		if err := guard(step.do); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			c.damage(step.of, "%v", wrap(err, "read "+step.of))
		}
	}
	if c.more > 0 {
		c.report.Findings = append(c.report.Findings, fault.NewFinding(fault.SeverityError, fault.StoreDamaged, s.dir,
			fmt.Sprintf("%d more findings are not listed", c.more)))
	}
	return c.report, nil
}

// guard turns a panic over a damaged file into an error.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = damaged("the file is so damaged that reading it fails: %v", p)
		}
	}()
	return f()
}

// checker is one run of Check.
type checker struct {
	ctx      context.Context
	s        *Store
	db       *sql.DB
	opts     store.CheckOptions
	report   *store.Report
	more     int
	counters map[int64]int64                 // records counted in each part
	held     []uint64                        // first bytes of the digests of records, then sorted
	kept     []uint64                        // the same of the quarantine
	inLane   []bool                          // of held: a lane has it
	erased   map[syncer.Digest]syncer.Digest // what stands in the place of records that were erased
	names    map[syncer.ID]string
	keys     map[syncer.ID]ed25519.PublicKey
}

func (c *checker) find(f store.Finding) {
	if len(c.report.Findings) >= maxFindings {
		c.more++
		return
	}
	c.report.Findings = append(c.report.Findings, f)
}

// damage is a finding about something that changed on the disk.
func (c *checker) damage(subject, format string, args ...any) {
	c.broken(fault.StoreDamaged, subject, format, args...)
}

// broken is damage that has a reason of its own.
func (c *checker) broken(reason fault.Reason, subject, format string, args ...any) {
	c.find(store.Finding{Severity: fault.SeverityError, Reason: reason, Subject: subject, Message: fmt.Sprintf(format, args...), Do: fault.StoreDamaged.Do()})
}

// each calls f for every row of a query.
func (c *checker) each(db *sql.DB, query string, f func(scan func(...any) error) error) error {
	rows, err := db.QueryContext(c.ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// structure has SQLite verify pages and indexes.
func (c *checker) structure(db *sql.DB, name string, reason fault.Reason) error {
	return c.each(db, "PRAGMA integrity_check(20)", func(scan func(...any) error) error {
		var line string
		if err := scan(&line); err != nil {
			return err
		}
		if line != "ok" {
			c.find(fault.NewFinding(fault.SeverityError, reason, name, line))
		}
		return nil
	})
}

// emptyLog describes the tables of an empty log of this version, and a hub's.
var emptyLog = sync.OnceValues(func() (both [2][]string, err error) {
	ctx := context.Background()
	fresh, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return both, err
	}
	defer fresh.Close()
	fresh.SetMaxOpenConns(1)
	for _, step := range logMigrations() {
		if _, err := fresh.ExecContext(ctx, step); err != nil {
			return both, err
		}
	}
	if both[0], err = describe(ctx, fresh); err != nil {
		return both, err
	}
	if _, err := fresh.ExecContext(ctx, hubSQL); err != nil {
		return both, err
	}
	both[1], err = describe(ctx, fresh)
	return both, err
})

// schema compares the tables with those of an empty log of this version.
func (c *checker) schema() error {
	empty, err := emptyLog()
	if err != nil {
		return err
	}
	got, err := describe(c.ctx, c.db)
	if err != nil {
		return err
	}
	want := empty[0]
	if slices.ContainsFunc(got, func(line string) bool { return strings.HasPrefix(line, "index\x00record_digest\x00") }) { // a hub's
		want = empty[1]
	}
	for i, line := range want {
		if i >= len(got) || got[i] != line {
			c.damage("schema of "+logFile, "the definition of its tables was changed, first at the %d. of %d", i+1, len(want))
			return nil
		}
	}
	if len(got) > len(want) {
		c.damage("schema of "+logFile, "there are %d definitions, %d are known", len(got), len(want))
	}
	return nil
}

func describe(ctx context.Context, db *sql.DB) (out []string, err error) {
	rows, err := db.QueryContext(ctx, `SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema ORDER BY type, name`)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var kind, name, table, text string
		if err := rows.Scan(&kind, &name, &table, &text); err != nil {
			return nil, err
		}
		out = append(out, kind+"\x00"+name+"\x00"+table+"\x00"+text)
	}
	return out, rows.Err()
}

func (c *checker) meta() error {
	found := false
	err := c.each(c.db, `SELECT epoch, created_ms, sum FROM meta`, func(scan func(...any) error) error {
		var epoch []byte
		var created, sum int64
		if err := scan(&epoch, &created, &sum); err != nil {
			return err
		}
		found = true
		if metaSum(epoch, created) != sum || !bytes.Equal(epoch, c.s.epoch[:]) {
			c.damage("table meta", "the epoch of the log was changed on the disk")
		}
		return nil
	})
	if err == nil && !found {
		c.damage("table meta", "the log has no epoch")
	}
	return err
}

func (c *checker) devices() error {
	return c.each(c.db, `SELECT device, name, enumerator, public_key, first_seen_ms, last_seen_ms, pending, clock_skew_ms,
		fork_hellos, fork_open, sum FROM device`, func(scan func(...any) error) error {
		var d deviceRow
		var sum int64
		if err := scan(&d.device, &d.name, &d.enumerator, &d.key, &d.firstSeen, &d.lastSeen, &d.pending, &d.skew,
			&d.forkHellos, &d.forkOpen, &sum); err != nil {
			return err
		}
		if d.sum() != sum {
			c.damage("device "+d.name, "what is kept of the device was changed on the disk")
		}
		if id, err := syncer.ParseID(d.device); err == nil {
			c.names[id], c.keys[id] = d.name, d.key
		}
		return nil
	})
}

// recordRow is a row of the table record as it is checked.
type recordRow struct {
	part, counter, kind, receivedMS, sum int64
	id, digest, body                     []byte
	subject                              string
}

// records reads every record in the order of commit.
func (c *checker) records() error {
	total := 0
	for _, n := range c.s.parts {
		total += int(n)
	}
	err := c.each(c.db, `SELECT part, counter, id, digest, kind, subject, received_ms, sum, body FROM record NOT INDEXED ORDER BY rowid`,
		func(scan func(...any) error) error {
			var r recordRow
			if err := scan(&r.part, &r.counter, &r.id, &r.digest, &r.kind, &r.subject, &r.receivedMS, &r.sum, &r.body); err != nil {
				return err
			}
			c.record(&r)
			c.report.Records++
			if c.opts.Progress != nil && (c.report.Records%1000 == 0 || c.report.Records == total) {
				c.opts.Progress(c.report.Records, total)
			}
			return nil
		})
	slices.Sort(c.held)
	c.inLane = make([]bool, len(c.held))
	return err
}

func (c *checker) record(r *recordRow) {
	where := fmt.Sprintf("record %d of part %016x (%s)", r.counter, uint64(r.part), r.subject)
	lost := func(format string, args ...any) {
		c.find(store.Finding{Severity: fault.SeverityError, Reason: fault.RecordDamaged, Subject: where, Message: fmt.Sprintf(format, args...),
			Do: "take this record from a backup of the data folder, or from the tablet that wrote it with import-tablet"})
	}
	c.held = append(c.held, prefix(r.digest))
	if next := c.counters[r.part] + 1; r.counter != next {
		lost("its counter is %d, the next in its part would be %d", r.counter, next)
	}
	c.counters[r.part] = r.counter
	if d := syncer.DigestOf(r.body); c.isStub(r.digest, d) {
		c.report.Erased++
	} else if !bytes.Equal(d[:], r.digest) {
		lost("its bytes are not those its author wrote: they have digest %v, not %x", d, r.digest)
		return
	}
	if recordSum(nil, r.part, r.counter, r.id, r.digest, r.kind, r.subject, r.receivedMS).sum() != r.sum {
		c.damage(where, "the columns beside the record were changed on the disk; its bytes are whole")
		return
	}
	e, err := syncer.Open(r.body)
	switch {
	case err != nil:
		lost("%v", err)
	case int64(e.GetPart()) != r.part || !bytes.Equal(e.GetId(), r.id) || int64(e.GetKind()) != r.kind || e.GetSubject() != r.subject:
		c.damage(where, "the columns beside the record are not those of its envelope")
	}
}

// prefix is enough of a digest to find it among those of a store.
func prefix(digest []byte) uint64 {
	var n uint64
	for i := range min(8, len(digest)) {
		n = n<<8 | uint64(digest[i])
	}
	return n
}

func (c *checker) parts() error {
	seen := 0
	err := c.each(c.db, `SELECT part, counter, sum FROM part`, func(scan func(...any) error) error {
		var part, counter, sum int64
		if err := scan(&part, &counter, &sum); err != nil {
			return err
		}
		seen++
		name := fmt.Sprintf("part %016x", uint64(part))
		if partSum(part, counter) != sum {
			c.damage(name, "its counter was changed on the disk")
		}
		if counter != c.counters[part] {
			c.damage(name, "it should have %d records, the last that is there is %d", counter, c.counters[part])
		}
		return nil
	})
	if err == nil && seen != len(c.counters) {
		c.damage("table part", "%d parts are listed, records are of %d", seen, len(c.counters))
	}
	return err
}

func (c *checker) quarantine() error {
	err := c.each(c.db, `SELECT quarantine_id, digest, reason, message, device, epoch, seq, received_ms, sum, raw FROM quarantine
		NOT INDEXED ORDER BY quarantine_id`, func(scan func(...any) error) error {
		var q quarantineRow
		var sum int64
		var raw []byte
		if err := scan(&q.id, &q.digest, &q.reason, &q.message, &q.device, &q.epoch, &q.seq, &q.receivedMS, &sum, &raw); err != nil {
			return err
		}
		c.report.Quarantined++
		c.kept = append(c.kept, prefix(q.digest))
		where := fmt.Sprintf("item %d of the quarantine", q.id)
		if q.sum() != sum {
			c.damage(where, "what is kept beside the bytes was changed on the disk")
		}
		if d := syncer.DigestOf(raw); raw != nil && !bytes.Equal(d[:], q.digest) {
			c.damage(where, "its bytes are not those its author wrote")
		}
		return nil
	})
	slices.Sort(c.kept)
	return err
}

// projections checks that what is derived is not ahead of the log, and compares it with what is derived now.
func (c *checker) projections() error {
	wrong := func(message string) {
		c.find(fault.NewFinding(fault.SeverityError, fault.ProjectionWrong, projectionFile, message))
	}
	p := c.s.projection
	if p.path != "" {
		if err := guard(func() error { return c.structure(p.db, projectionFile, fault.ProjectionWrong) }); err != nil {
			wrong(err.Error())
			return c.ctx.Err()
		}
	}
	projected, err := c.s.Projected(c.ctx)
	if err != nil {
		return err
	}
	behind := 0
	for part, counter := range projected.Parts {
		if have := uint64(c.counters[int64(part)]); counter > have {
			wrong(fmt.Sprintf("made from %d records of part %016x, the log has %d", counter, part, have))
		}
	}
	for part, counter := range c.counters {
		if have := projected.Parts[uint64(part)]; uint64(counter) > have {
			behind += int(uint64(counter) - have)
		}
	}
	if behind > 0 {
		c.find(fault.NewFinding(fault.SeverityWarning, fault.ProjectionBehind, projectionFile,
			fmt.Sprintf("%d records of the log are not in the projections yet", behind)))
	}
	if c.opts.Rebuild == nil || behind > 0 {
		return nil
	}
	diff, err := c.s.rebuildAndCompare(c.ctx, c.opts.Rebuild)
	if err != nil {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		c.find(store.Finding{Severity: fault.SeverityError, Reason: fault.ProjectionWrong, Subject: projectionFile, Do: "correct what is named first, then check again",
			Message: fmt.Sprintf("the projections cannot be made again: %v", err)})
		return nil
	}
	c.report.Rebuilt = true
	if diff != "" {
		wrong(diff)
	}
	return nil
}
