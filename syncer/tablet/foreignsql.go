package tablet

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/hearth-survey/hearth/proto/fault"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
	"modernc.org/sqlite/vfs"
)

// maxRowNumber is the largest number that a row of a tablet's store is believed to have.
const maxRowNumber = 1 << 32

// foreignLimits are what SQLite may use on a file that is not trusted.
func foreignLimits() map[int]int {
	return map[int]int{
		sqlite3.SQLITE_LIMIT_LENGTH: 4 << 20, sqlite3.SQLITE_LIMIT_SQL_LENGTH: 16 << 10, sqlite3.SQLITE_LIMIT_COLUMN: 64,
		sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100, sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 4, sqlite3.SQLITE_LIMIT_VDBE_OP: 25_000,
		sqlite3.SQLITE_LIMIT_FUNCTION_ARG: 8, sqlite3.SQLITE_LIMIT_ATTACHED: 0, sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 100,
		sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER: 100, sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 1, sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
	}
}

// sqlReader reads a foreign file with SQLite.
type sqlReader struct {
	view *foreignView
	out  *frameWriter
	conn *sql.Conn
}

// readSQL reads all rows that SQLite can, table by table. It asks nothing of a file whose tables are not exactly a
// tablet's: a view or a trigger in it would run somebody else's program.
func readSQL(ctx context.Context, view *foreignView, out *frameWriter) error {
	r := &sqlReader{view: view, out: out}
	name, registered, err := vfs.New(view)
	if err != nil {
		return fmt.Errorf("give the file to SQLite: %w", err)
	}
	db, err := sql.Open("sqlite", "file:"+viewName+"?vfs="+name+"&mode=ro&immutable=1&_defensive=1&_dqs=0"+
		"&_pragma=trusted_schema(0)&_pragma=cell_size_check(1)&_pragma=mmap_size(0)&_pragma=temp_store(2)&_pragma=query_only(1)")
	if err != nil {
		return errors.Join(fmt.Errorf("open the file: %w", err), registered.Close())
	}
	db.SetMaxOpenConns(1)
	err = r.read(ctx, db)
	if r.conn != nil {
		err = errors.Join(err, r.conn.Close())
	}
	return errors.Join(err, db.Close(), registered.Close())
}

func (r *sqlReader) read(ctx context.Context, db *sql.DB) error {
	isSQLite, application, version := r.view.header()
	about := func(ours int64) error {
		is := int64(0)
		if isSQLite {
			is = 1
		}
		return r.out.frame(frameAbout, application, version, ours, is)
	}
	known, err := r.open(ctx, db)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if e, ok := errors.AsType[*sqlite.Error](err); ok && e.Code()&0xff == sqlite3.SQLITE_NOTADB {
			isSQLite = false
		}
		return errors.Join(about(0), r.out.problem("the file", fault.StoreDamaged, "SQLite cannot open it: %v", err))
	}
	if known == nil {
		return errors.Join(about(2), r.out.problem("the file", fault.StoreDamaged, "its tables are not exactly those of a tablet's store"))
	}
	if err := about(1); err != nil {
		return err
	}
	var verdict string
	if err := r.conn.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		verdict = err.Error()
	}
	if verdict != "ok" {
		if err := r.out.problem("the file", fault.StoreDamaged, "SQLite finds damage: %.300s", verdict); err != nil {
			return err
		}
	}
	if err := r.authorize(); err != nil {
		return err
	}
	for _, t := range foreignTables() {
		if !known[t.name] {
			continue // one from before there were such tables
		}
		if err := r.table(ctx, t); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// open connects, sets the limits and returns the tables there are; nil if they are not a tablet's.
func (r *sqlReader) open(ctx context.Context, db *sql.DB) (map[string]bool, error) {
	var err error
	if r.conn, err = db.Conn(ctx); err != nil {
		return nil, err
	}
	for id, most := range foreignLimits() {
		if _, err := sqlite.Limit(r.conn, id, most); err != nil {
			return nil, err
		}
	}
	got, err := schemaOf(ctx, r.conn)
	if err != nil {
		return nil, err
	}
	return knownTables(got)
}

// knownTables compares what sqlite_schema holds with what this program makes: schema.sql whole, each addition whole or not at
// all, and nothing else. It returns the tables, nil if it is anything else.
func knownTables(got []string) (map[string]bool, error) {
	have := map[string]bool{}
	for _, line := range got {
		have[line] = true
	}
	groups, err := ownGroups()
	if err != nil {
		return nil, err
	}
	tables, n := map[string]bool{}, 0
	for i, want := range groups {
		present := 0
		for _, line := range want {
			if have[line] {
				present++
			}
		}
		if present != len(want) && (i == 0 || present > 0) {
			return nil, nil
		}
		for _, line := range want[:present] {
			tables[strings.Split(line, "\x00")[2]] = true
		}
		n += present
	}
	if n != len(got) {
		return nil, nil
	}
	return tables, nil
}

// ownGroups are schema.sql and the additions as sqlite_schema holds them.
var ownGroups = sync.OnceValues(func() ([][]string, error) {
	var groups [][]string
	for _, a := range append([]addition{{sql: schema}}, additions()...) {
		group, err := ownSchema(context.Background(), a.sql)
		if err != nil {
			return nil, err
		}
		groups = append(groups, group)
	}
	return groups, nil
})

// ownSchema is what sqlite_schema holds in a store that this program makes.
func ownSchema(ctx context.Context, schema string) (_ []string, err error) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return nil, dbFault(err, "make an empty store")
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return nil, dbFault(err, "make an empty store")
	}
	all, err := schemaOf(ctx, db)
	return all, dbFault(err, "read the schema of an empty store")
}

func schemaOf(ctx context.Context, q querier) ([]string, error) {
	rows, err := q.QueryContext(ctx, "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema LIMIT 500")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var kind, name, table, text string
		if err := rows.Scan(&kind, &name, &table, &text); err != nil {
			return nil, err
		}
		all = append(all, kind+"\x00"+name+"\x00"+table+"\x00"+text)
	}
	slices.Sort(all)
	return all, rows.Err()
}

// authorize lets statements do nothing but read the tables that are known.
func (r *sqlReader) authorize() error {
	allowed := map[string]bool{}
	for _, t := range foreignTables() {
		allowed[t.name] = true
	}
	err := r.conn.Raw(func(driver any) error {
		c, ok := driver.(sqlite.AuthorizerRegisterer)
		if !ok {
			return errors.New("the driver has no authorizer")
		}
		return c.RegisterAuthorizer(func(action sqlite.AuthorizerActionCode, table, _, _, _ string) sqlite.AuthorizerReturnCode {
			if action == sqlite.AuthSelect || action == sqlite.AuthRead && allowed[table] {
				return sqlite.AuthorizerOK
			}
			return sqlite.AuthorizerDeny
		})
	})
	return dbFault(err, "guard the file")
}

// table writes the rows of a table until the end, or until one cannot be read: the others are then picked out by the carver.
func (r *sqlReader) table(ctx context.Context, t foreignTable) error {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = c.name
	}
	err := r.rows(ctx, "SELECT rowid, "+strings.Join(names, ", ")+" FROM "+t.name+" NOT INDEXED ORDER BY rowid", t.id)
	if err == nil || r.out.err != nil || ctx.Err() != nil {
		return errors.Join(r.out.err, ctx.Err())
	}
	return r.out.problem("table "+t.name, fault.StoreDamaged, "SQLite cannot read all of it: %v", err)
}

func (r *sqlReader) rows(ctx context.Context, query string, id byte) error {
	rows, err := r.conn.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	values, into := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	last := int64(0)
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		n, _ := values[0].(int64)
		if n <= last || n > maxRowNumber {
			return fmt.Errorf("row %d comes after row %d", n, last)
		}
		if last = n; r.out.frame(id, values...) != nil {
			return nil
		}
	}
	return rows.Err()
}
