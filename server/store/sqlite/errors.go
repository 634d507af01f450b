package sqlite

import (
	"context"
	"errors"

	"github.com/hearth-survey/hearth/proto/fault"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// code returns the primary result code of SQLite in err's chain, 0 if there is none.
func code(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}

// wrap turns an error of the driver into one of package fault. What says what was done, to what.
func wrap(err error, what string) error {
	if err == nil {
		return nil
	}
	var known *fault.Error
	if errors.As(err, &known) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	switch code(err) {
	case sqlite3.SQLITE_FULL:
		return fault.New(fault.Unavailable, fault.DiskFull, "%s: the server's disk is full: %w", what, err)
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOMEM:
		return fault.New(fault.Unavailable, "", "%s: the server's disk fails, check it and its rights: %w", what, err)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return fault.New(fault.Unavailable, fault.StoreInUse, "%s: %w", what, err)
	case sqlite3.SQLITE_CORRUPT:
		return fault.New(fault.Internal, fault.StoreDamaged, "%s: the file is damaged: %w", what, err)
	case sqlite3.SQLITE_NOTADB:
		return fault.New(fault.Invalid, fault.NotSQLite, "%s: not an SQLite database: %w", what, err)
	case sqlite3.SQLITE_INTERRUPT:
		return fault.New(fault.Unavailable, "", "%s: interrupted: %w", what, err)
	}
	return fault.New(fault.Internal, "", "%s: %w", what, err)
}

// ofGroup says whether an error concerns the whole transaction and not only the batch in which it came up.
func ofGroup(err error) bool {
	switch code(err) {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY,
		sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_PROTOCOL:
		return true
	}
	return false
}

func damaged(format string, args ...any) error {
	return fault.New(fault.Internal, fault.StoreDamaged, format, args...)
}
