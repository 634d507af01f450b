package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	_ "embed" // the schemas
	"fmt"
	"regexp"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
)

//go:embed log.sql
var logSQL string

//go:embed projection.sql
var projectionSQL string

//go:embed shelf.sql
var shelfSQL string

//go:embed index.sql
var indexSQL string

//go:embed hub.sql
var hubSQL string

//go:embed down.sql
var downSQL string

//go:embed flags.sql
var flagsSQL string

// A step changes a schema from one version to the next. Steps are only ever added; the version of a file is the number
// of steps it has gone through, kept in user_version.
type step = string

func logMigrations() []step { return []step{logSQL, shelfSQL} }

// Projections are not migrated: a file of another version is made again.
func projectionMigrations() []step { return []step{projectionSQL, downSQL, leanSQL, flagsSQL} }

// migrate brings a file up to date, each step in a transaction of its own.
func migrate(c *conn, steps []step, name string) error {
	version, err := c.integer("PRAGMA user_version")
	if err != nil {
		return err
	}
	if version > int64(len(steps)) {
		return storeTooNew(name, version, len(steps))
	}
	for i := version; i < int64(len(steps)); i++ {
		script := fmt.Sprintf("BEGIN IMMEDIATE; %s; PRAGMA user_version = %d; COMMIT", steps[i], i+1)
		if err := c.run(script); err != nil {
			_ = c.run("ROLLBACK")
			return fmt.Errorf("bring %s to version %d: %w", name, i+1, err)
		}
	}
	return nil
}

var tableNames = regexp.MustCompile(`(?m)^CREATE TABLE (\w+)`)

// complete fails for a file that lacks one of the tables that the steps have made.
func complete(c *conn, steps []step, name string) error {
	has := map[string]bool{}
	err := c.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").each(func(row []driver.Value) error {
		table, _ := row[0].(string)
		has[table] = true
		return nil
	})
	if err != nil {
		return err
	}
	for _, m := range tableNames.FindAllStringSubmatch(strings.Join(steps, "\n"), -1) {
		if !has[m[1]] {
			return damaged("%s: the table %s is missing", name, m[1])
		}
	}
	return nil
}

// tooNew fails with fault.StoreTooNew for a file that has gone through more steps than are known here.
func tooNew(db *sql.DB, steps func() []step, name string) error {
	var version int64
	if err := db.QueryRowContext(context.Background(), "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	switch known := len(steps()); {
	case version > int64(known):
		return storeTooNew(name, version, known)
	case version < int64(known):
		return fault.New(fault.Conflict, "", "%s is of version %d, an older one than %d: open it once for writing", name, version, known)
	}
	return nil
}

func storeTooNew(name string, version int64, known int) error {
	return fault.New(fault.Conflict, fault.StoreTooNew, "%s is of version %d, this program knows %d", name, version, known)
}
