package tablet

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
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

// damagedFrame reads a write-ahead log as SQLite does and returns the number of the first frame that belongs to it and
// does not have its checksum, 0 if there is none. SQLite passes over such a frame and all behind it without a word,
// and they may hold records. A file that is absent or empty is whole.
func damagedFrame(path string) (frame int, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<16)
	head := make([]byte, 32)
	if n, err := io.ReadFull(r, head); err != nil {
		if n == 0 {
			return 0, nil
		}
		return 1, nil
	}
	magic, size := binary.BigEndian.Uint32(head), int(binary.BigEndian.Uint32(head[8:]))
	var order binary.ByteOrder = binary.LittleEndian
	if magic == 0x377f0683 {
		order = binary.BigEndian
	}
	var sum walSum
	sum.add(order, head[:24])
	if magic&^1 != 0x377f0682 || size < 512 || size > 65536 || !sum.is(head[24:]) {
		return 1, nil
	}
	page := make([]byte, 24+size)
	for frame = 1; ; frame++ {
		n, err := io.ReadFull(r, page)
		switch {
		case n == 0 && errors.Is(err, io.EOF):
			return 0, nil
		case err != nil && n < 16:
			return frame, nil
		case string(page[8:16]) != string(head[16:24]):
			return 0, nil // left over from before the log was begun again
		}
		sum.add(order, page[:8])
		sum.add(order, page[24:])
		if err != nil || !sum.is(page[16:24]) {
			return frame, nil
		}
	}
}

// walSum is the running checksum of a write-ahead log.
type walSum [2]uint32

func (s *walSum) add(order binary.ByteOrder, b []byte) {
	for ; len(b) >= 8; b = b[8:] {
		s[0] += order.Uint32(b) + s[1]
		s[1] += order.Uint32(b[4:]) + s[0]
	}
}

func (s *walSum) is(b []byte) bool {
	return binary.BigEndian.Uint32(b) == s[0] && binary.BigEndian.Uint32(b[4:]) == s[1]
}
