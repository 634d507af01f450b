package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net/url"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite" // registers the driver "sqlite"

	"github.com/hearth-survey/hearth/syncer/plant"
)

// dsn names a database file and the pragmas of every connection to it.
func dsn(d Disk, path, mode string, pragmas ...string) string {
	q := url.Values{"mode": {mode}, "_dqs": {"0"}}
	q["_pragma"] = append([]string{"busy_timeout(10000)", "trusted_schema(0)", "cell_size_check(1)", "temp_store(2)"}, pragmas...)
	if vfs := d.VFS(); vfs != "" {
		q.Set("vfs", vfs)
	}
	p := filepath.ToSlash(path)
	if !strings.HasPrefix(p, "/") && filepath.VolumeName(path) != "" {
		p = "/" + p
	}
	return "file:" + (&url.URL{Path: p}).EscapedPath() + "?" + q.Encode()
}

// conn is one connection used by one goroutine at a time, without the pool of database/sql between, which costs as much
// as an insert.
type conn struct {
	c     driver.Conn
	stmts []*stmt // prepared and to be closed with it
}

// dial opens a connection.
func dial(name string) (*conn, error) {
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return nil, err
	}
	defer db.Close() // only its driver is wanted
	c, err := db.Driver().Open(name)
	if err != nil {
		return nil, err
	}
	return &conn{c: c}, nil
}

// dialWriter opens a connection that writes a file, in WAL mode. Pages hold several interviews each, and the WAL is
// emptied every 32 MB, so that pages which are written again and again are copied once. The size of a page must be set
// before the mode, and only tells on a file that is still empty.
func dialWriter(d Disk, path, synchronous string) (*conn, error) {
	c, err := dial(dsn(d, path, "rw"))
	if err != nil {
		return nil, err
	}
	if plant.In(plant.SkipSync) {
		synchronous = "OFF"
	}
	setup := `PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = ` + synchronous + `;
		PRAGMA wal_autocheckpoint = 4000; PRAGMA cache_size = -4000`
	if synchronous == "FULL" { // the log, where little is ever deleted, and that must be gone
		setup += "; PRAGMA secure_delete = ON"
	}
	if err := c.run(setup); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// close closes the statements too: SQLite keeps a connection, and the WAL, for as long as one is open.
func (c *conn) close() error {
	var errs []error
	for _, s := range c.stmts {
		errs = append(errs, s.s.Close())
	}
	return errors.Join(append(errs, c.c.Close())...)
}

// run executes statements that take no arguments.
func (c *conn) run(script string) error {
	_, err := c.c.(driver.ExecerContext).ExecContext(context.Background(), script, nil)
	return err
}

// integer returns the number that a query without arguments yields.
func (c *conn) integer(query string) (int64, error) {
	row, err := c.prepare(query).row()
	if err != nil || row == nil {
		return 0, err
	}
	n, _ := row[0].(int64)
	return n, nil
}

// prepare makes a statement, which is prepared when it is first run.
func (c *conn) prepare(query string) *stmt { return &stmt{c: c, query: query} }

// stmt is a statement of a conn.
type stmt struct {
	c     *conn
	query string
	s     driver.Stmt // nil until it is run
	args  []driver.NamedValue
}

// ready prepares the statement if it has not been yet.
func (s *stmt) ready() (err error) {
	if s.s == nil {
		if s.s, err = s.c.c.Prepare(s.query); err == nil {
			s.c.stmts = append(s.c.stmts, s)
		}
	}
	return err
}

func (s *stmt) bind(args []any) []driver.NamedValue {
	s.args = s.args[:0]
	for i, a := range args {
		s.args = append(s.args, driver.NamedValue{Ordinal: i + 1, Value: a})
	}
	return s.args
}

// exec runs the statement and returns how many rows changed. Arguments are int64, string, []byte or nil.
func (s *stmt) exec(args ...any) (int64, error) {
	if err := s.ready(); err != nil {
		return 0, err
	}
	res, err := s.s.(driver.StmtExecContext).ExecContext(context.Background(), s.bind(args))
	clear(s.args)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// each calls f with every row. The row is reused, what is in it is not.
func (s *stmt) each(f func(row []driver.Value) error, args ...any) (err error) {
	if err := s.ready(); err != nil {
		return err
	}
	rows, err := s.s.(driver.StmtQueryContext).QueryContext(context.Background(), s.bind(args))
	clear(s.args)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	row := make([]driver.Value, len(rows.Columns()))
	for {
		switch err := rows.Next(row); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := f(row); err != nil {
			return err
		}
	}
}

// row returns the first row, nil if there is none.
func (s *stmt) row(args ...any) ([]driver.Value, error) {
	var first []driver.Value
	err := s.each(func(row []driver.Value) error {
		if first == nil {
			first = append(first, row...)
		}
		return nil
	}, args...)
	return first, err
}
