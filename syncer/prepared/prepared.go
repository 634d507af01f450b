// Package prepared opens SQLite databases whose connections keep the statements they have prepared: to read the words of a
// statement takes a device, and a server with many small reads, longer than to run it. It is for the stores of tablets and
// of servers. It knows no table, and it does not make connections last longer than their pool does.
package prepared

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"

	"modernc.org/sqlite"
)

// maxStatements bounds the statements a connection keeps.
const maxStatements = 300

// Open opens a database whose connections keep their statements.
func Open(name string) (*sql.DB, error) {
	c, err := sqlite.NewConnector(name)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector{c}), nil
}

type connector struct{ driver.Connector }

// Connect implements driver.Connector.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	inner, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return Keep(inner), nil
}

// Keep is a connection of the driver that keeps its statements.
func Keep(c driver.Conn) driver.Conn {
	if both, ok := c.(driverConn); ok {
		return &keepingConn{driverConn: both, kept: map[string]*kept{}}
	}
	return c
}

// driverConn is what the driver's connections can do that is used here.
type driverConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
}

// keepingConn is a connection with the statements it has prepared.
type keepingConn struct {
	driverConn
	kept map[string]*kept
}

// kept is a prepared statement; busy while its rows are read.
type kept struct {
	stmt driver.Stmt
	busy bool
}

// find returns a statement that may be used now, nil if there is none: then the driver does it in its own way.
func (c *keepingConn) find(ctx context.Context, query string) (*kept, error) {
	k := c.kept[query]
	switch {
	case k != nil && k.busy:
		return nil, nil
	case k != nil:
		return k, nil
	case len(c.kept) >= maxStatements || strings.Contains(query, ";"):
		return nil, nil // a script
	}
	word, _, _ := strings.Cut(strings.TrimSpace(query), " ")
	switch strings.ToUpper(word) {
	case "SELECT", "INSERT", "UPDATE", "DELETE", "WITH":
	default:
		return nil, nil // done once, or not to be done twice
	}
	stmt, err := c.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	k = &kept{stmt: stmt}
	c.kept[query] = k
	return k, nil
}

// ExecContext implements driver.ExecerContext.
func (c *keepingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	k, err := c.find(ctx, query)
	if err != nil {
		return nil, err
	}
	if k == nil {
		return c.driverConn.ExecContext(ctx, query, args)
	}
	return k.stmt.(driver.StmtExecContext).ExecContext(ctx, args)
}

// QueryContext implements driver.QueryerContext.
func (c *keepingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	k, err := c.find(ctx, query)
	if err != nil {
		return nil, err
	}
	if k == nil {
		return c.driverConn.QueryContext(ctx, query, args)
	}
	rows, err := k.stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
	if err != nil {
		return nil, err
	}
	k.busy = true
	return &keptRows{rows, k}, nil
}

// keptRows free their statement when they are closed.
type keptRows struct {
	driver.Rows
	of *kept
}

// Close implements driver.Rows.
func (r *keptRows) Close() error {
	r.of.busy = false
	return r.Rows.Close()
}

// Close closes the statements too: SQLite keeps a connection for as long as one is open.
func (c *keepingConn) Close() error {
	var errs []error
	for _, k := range c.kept {
		errs = append(errs, k.stmt.Close())
	}
	return errors.Join(append(errs, c.driverConn.Close())...)
}
