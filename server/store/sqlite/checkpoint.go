package sqlite

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/hearth-survey/hearth/syncer/failpoint"
	"modernc.org/sqlite"
)

// The pages of the WAL after which it is copied into the file: aside, while the writer goes on; and by the writer itself,
// which bounds it.
const (
	copyPages = 3000
	mostPages = 12000
)

// copier copies the WAL of the log into the file on a connection of its own, so that the writer waits neither for the
// copying nor for the disk. As the writer goes on meanwhile, something is left over, which the writer copies: then the
// WAL begins again from its start. What was acknowledged is on the disk in the WAL before and until that.
type copier struct {
	conn    *conn
	copying sync.WaitGroup
	ended   chan error // receives when a copy has ended
	busy    bool       // of the writer
}

func newCopier(d Disk, path string) (*copier, error) {
	c, err := dialWriter(d, path, "FULL")
	if err != nil {
		return nil, err
	}
	return &copier{conn: c, ended: make(chan error, 1)}, nil
}

// begin copies aside.
func (c *copier) begin() {
	c.busy = true
	c.copying.Go(func() {
		var err error
		defer func() {
			if p := recover(); p != nil { // a defect must not leave the writer waiting
				err = fmt.Errorf("copy the WAL: panic of type %T at %s", p, debug.Stack())
			}
			c.ended <- err
		}()
		failpoint.Hit("log.before-copy")
		err = passive(c.conn)
		failpoint.Hit("log.after-copy")
	})
}

// end says whether a copy has ended since begin, and waits for that if it must.
func (c *copier) end(wait bool) (ended bool, err error) {
	if !c.busy {
		return false, nil
	}
	if wait {
		c.copying.Wait()
	}
	select {
	case err := <-c.ended:
		c.busy = false
		return true, err
	default:
		return false, nil
	}
}

func (c *copier) close() error {
	c.copying.Wait()
	return c.conn.close()
}

// passive copies what can be copied without waiting for anybody.
func passive(c *conn) error { return c.run("PRAGMA wal_checkpoint(PASSIVE)") }

// written is how many pages the connection has written to the WAL since it was asked last.
func (c *conn) written() (int, error) {
	s, ok := c.c.(sqlite.DBStatus)
	if !ok {
		return 0, errors.New("the driver does not count pages")
	}
	n, _, err := s.Status(sqlite.DBStatusCacheWrite, true)
	return n, err
}

// checkpoint keeps the WAL short. It is called between groups, when they are answered. A failure is one of the disk: the
// connection is given up and opened again, and with it everything is copied again that was not known to be copied.
func (w *writer) checkpoint() {
	n, err := w.conn.written()
	w.pages += n
	var ended bool
	if err == nil {
		ended, err = w.copier.end(w.pages >= mostPages)
	}
	switch {
	case err != nil:
	case ended || w.pages >= mostPages:
		err, w.pages = passive(w.conn.conn), 0
	case w.pages >= copyPages && !w.copier.busy:
		w.copier.begin()
	}
	if err != nil {
		w.fail()
	}
}
