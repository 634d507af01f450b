package tablet

import (
	"context"
	"database/sql"
	"os"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/syncer/durable"
	"github.com/hearth-survey/hearth/syncer/failpoint"
)

// rewriteLog writes the write-ahead log that a process has left anew, before anything that stands in it counts as recorded:
// where the sync of a commit has failed, the system may go on giving bytes that are on no disk, and say nothing more of it.
// If another process has the store open, that one has done so.
func rewriteLog(ctx context.Context, path string, opts Options) error {
	rewrite := opts.Rewrite
	if opts.VFS == "" {
		rewrite = durable.Rewrite
		if info, err := os.Stat(path + "-wal"); err != nil || info.Size() == 0 {
			return nil // the store was closed, or is new
		}
	}
	if rewrite == nil {
		return nil
	}
	params := []string{"_pragma=busy_timeout(0)", "_pragma=locking_mode(EXCLUSIVE)"}
	if opts.VFS != "" {
		params = append(params, "vfs="+opts.VFS)
	}
	db, err := sql.Open("sqlite", fileURI(path, params...))
	if err != nil {
		return err
	}
	defer db.Close() // it has written nothing
	db.SetMaxOpenConns(1)
	var n int
	err = db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&n) // takes the file for this connection alone
	if err != nil {
		return nil // another process has the store open; or it cannot be read, which the opening says
	}
	failpoint.Hit("tablet.before-rewrite")
	if err := rewrite(path + "-wal"); err != nil {
		return fault.New(fault.Unavailable, "", "write the end of the store anew, as it can be read: this device's disk fails, copy the store elsewhere: %w", err)
	}
	failpoint.Hit("tablet.after-rewrite")
	return nil
}
