package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"sync"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/syncer/prepared"
)

// After a write or a sync has failed, nobody knows what is on the disk: the system may have thrown away what it could not
// write and say at the next sync that all is well. What a program reads back then, out of the system's memory, is gone
// after a power cut. So the store acknowledges nothing more, closes every connection to the log, so that SQLite forgets
// what it believes to have written and copied, writes the bytes of the WAL anew, syncs them, and opens the log again. The
// same is done whenever a log is opened, for the process before may have ended so. Only what can be read after that is
// acknowledged as held.

// readConns is how many connections read the log at a time.
const readConns = 4

// recoverTime is how long a recovery waits for those who read the log.
const recoverTime = 10 * time.Second

// anchored opens a connection that only reads and holds the file open. Closed last, it keeps SQLite from taking the WAL
// for copied and deleting it, as it does when the last connection that writes is closed.
func anchored(d Disk, path string) (*conn, error) {
	c, err := dial(dsn(d, path, "ro", "query_only(1)"))
	if err != nil {
		return nil, err
	}
	if _, err := c.integer("SELECT count(*) FROM meta"); err != nil {
		return nil, fmt.Errorf("hold the log open: %w", closing(err, c))
	}
	return c, nil
}

// gate opens the connections that read the log, unless the log is being recovered.
type gate struct {
	driver driver.Driver
	name   string
	mu     sync.RWMutex // held for writing during a recovery
}

// Connect opens a connection.
func (g *gate) Connect(context.Context) (driver.Conn, error) {
	if !g.mu.TryRLock() {
		return nil, fault.New(fault.Unavailable, "", "the server's disk has failed, and the log is being read anew")
	}
	defer g.mu.RUnlock()
	c, err := g.driver.Open(g.name)
	if err != nil {
		return nil, err
	}
	return prepared.Keep(c), nil
}

// Driver is SQLite's.
func (g *gate) Driver() driver.Driver { return g.driver }

// newGate names a database for reading.
func newGate(name string) (*gate, error) {
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return nil, err
	}
	defer db.Close() // only its driver is wanted
	return &gate{driver: db.Driver(), name: name}, nil
}

// alone closes all connections of a pool and calls do while none can be opened.
func (g *gate) alone(db *sql.DB, do func() error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	db.SetMaxIdleConns(-1)
	db.SetConnMaxLifetime(1) // one that is given back is closed and not given to whoever waits for it
	defer func() {
		db.SetConnMaxLifetime(0)
		db.SetMaxIdleConns(readConns)
	}()
	for waited := time.Duration(0); db.Stats().OpenConnections > 0; waited += 5 * time.Millisecond {
		if waited > recoverTime {
			return fault.New(fault.Unavailable, fault.StoreInUse, "the server's disk has failed, and the log cannot be read anew while it is being read: try again")
		}
		time.Sleep(5 * time.Millisecond)
	}
	return do()
}
