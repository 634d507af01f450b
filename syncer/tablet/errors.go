package tablet

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/hearth-survey/hearth/proto/fault"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// dbFault turns an error of the database into one of Hearth's. Errors that are Hearth's already, and those of a context
// that ended, keep what they are.
func dbFault(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	what := fmt.Sprintf(format, args...)
	if _, ok := errors.AsType[*fault.Error](err); ok || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", what, err)
	}
	kind, reason := fault.Internal, fault.Reason("")
	if errors.Is(err, sql.ErrNoRows) {
		reason = fault.StoreDamaged
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff {
		case sqlite3.SQLITE_FULL:
			return fault.New(fault.Unavailable, fault.DiskFull, "%s: the disk of this device is full: %w", what, err)
		case sqlite3.SQLITE_CORRUPT:
			reason = fault.StoreDamaged
		case sqlite3.SQLITE_NOTADB:
			kind, reason = fault.Invalid, fault.NotSQLite
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
			kind, reason = fault.Unavailable, fault.StoreInUse
		case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
			kind = fault.Permission
		}
	}
	return fault.New(kind, reason, "%s: %w", what, err)
}
