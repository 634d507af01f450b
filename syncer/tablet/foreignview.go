package tablet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// foreignView is a foreign file as it is with its write-ahead log taken in, without a byte being written anywhere: SQLite
// gets it as a file that has no log, needs no lock and never changes.
type foreignView struct {
	main, wal         io.ReaderAt
	mainSize, walSize int64
	// page is the size of the log's pages, over where each of them stands in the log, from 0; size is the file's.
	page int64
	over map[int64]int64
	size int64
	// torn is the number of the log's first damaged frame, 0 if there is none.
	torn int
}

// newView reads through the log.
func newView(main, wal *os.File) (*foreignView, error) {
	v := &foreignView{main: main, wal: wal, over: map[int64]int64{}}
	for _, f := range []struct {
		file *os.File
		size *int64
	}{{main, &v.mainSize}, {wal, &v.walSize}} {
		st, err := f.file.Stat()
		if err != nil {
			return nil, fmt.Errorf("look at the file: %w", err)
		}
		*f.size = st.Size()
	}
	v.size = v.mainSize
	var open []walFrame // of a transaction that is not ended yet
	size, torn, err := scanWAL(io.NewSectionReader(wal, 0, v.walSize), func(f walFrame) {
		open = append(open, f)
		if f.pages == 0 {
			return
		}
		for _, o := range open {
			v.over[int64(o.page)-1] = o.at
		}
		v.size = int64(f.pages) // in pages, for now
		open = open[:0]
	})
	if err != nil {
		return nil, fmt.Errorf("read the write-ahead log: %w", err)
	}
	if v.page, v.torn = int64(size), torn; len(v.over) > 0 {
		v.size *= v.page
	}
	return v, nil
}

// ReadAt reads as os.File does.
func (v *foreignView) ReadAt(b []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fs.ErrInvalid
	}
	for n < len(b) && off < v.size {
		part := b[n:min(int64(len(b)), int64(n)+v.size-off)]
		from, at := v.main, off
		if v.page > 0 {
			part = part[:min(int64(len(part)), v.page-off%v.page)]
			if in, ok := v.over[off/v.page]; ok {
				from, at = v.wal, in+off%v.page
			}
		}
		got, err := from.ReadAt(part, at)
		rollback(part[:got], off)
		n, off = n+got, off+int64(got)
		if got < len(part) {
			return n, err
		}
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// rollback makes the header say that there is no write-ahead log.
func rollback(b []byte, off int64) {
	for i := int64(18); i < 20; i++ {
		if i >= off && i-off < int64(len(b)) && b[i-off] == 2 {
			b[i-off] = 1
		}
	}
}

// header reads the numbers of the file's header that say whose file it is.
func (v *foreignView) header() (sqlite bool, application, version int64) {
	head := make([]byte, 100)
	if _, err := v.ReadAt(head, 0); err != nil {
		return false, 0, 0
	}
	return string(head[:len(sqliteMagic)]) == sqliteMagic, int64(binary.BigEndian.Uint32(head[68:])), int64(int32(binary.BigEndian.Uint32(head[60:])))
}

// viewName is the one file there is in a view.
const viewName = "tablet.sqlite"

// Open opens the view for SQLite.
func (v *foreignView) Open(name string) (fs.File, error) {
	if name != viewName {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &viewFile{io.NewSectionReader(v, 0, v.size)}, nil
}

// viewFile is a view that is open.
type viewFile struct{ *io.SectionReader }

// Stat says how large it is.
func (f *viewFile) Stat() (fs.FileInfo, error) { return viewInfo(f.Size()), nil }

// Close does nothing.
func (f *viewFile) Close() error { return nil }

// viewInfo is what there is to know of a view.
type viewInfo int64

// Name is that of the one file.
func (i viewInfo) Name() string { return viewName }

// Size is the file's.
func (i viewInfo) Size() int64 { return int64(i) }

// Mode is that of a file that nobody writes.
func (i viewInfo) Mode() fs.FileMode { return 0o400 }

// ModTime is not known.
func (i viewInfo) ModTime() time.Time { return time.Time{} }

// IsDir is false.
func (i viewInfo) IsDir() bool { return false }

// Sys is nothing.
func (i viewInfo) Sys() any { return nil }

// errBroken is what a reading is that a damaged file broke off.
var errBroken = errors.New("the file is damaged so that reading it broke off")
