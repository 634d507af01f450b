package export

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
)

// hashingSink counts and hashes what goes into each file, for the manifest.
type hashingSink struct {
	sink  Sink
	open  []*hashedFile
	files []ManifestFile
}

func (s *hashingSink) create(name string) (*hashedFile, error) {
	w, err := s.sink.Create(name)
	if err != nil {
		return nil, writeFault(name, err)
	}
	f := &hashedFile{name: name, out: w, hash: sha256.New(), sink: s}
	f.buf = bufio.NewWriterSize(f.counted(), 64<<10)
	s.open = append(s.open, f)
	return f, nil
}

// abort gives up all files that are still open.
func (s *hashingSink) abort() {
	for _, f := range s.open {
		if a, ok := f.out.(interface{ Abort() error }); ok {
			_ = a.Abort()
			continue
		}
		_ = f.out.Close()
	}
	s.open = nil
}

// hashedFile is one file being written, through a buffer.
type hashedFile struct {
	name string
	out  io.WriteCloser
	buf  *bufio.Writer
	hash hash.Hash
	size int64
	sink *hashingSink
}

type countedWriter struct{ f *hashedFile }

func (f *hashedFile) counted() io.Writer { return countedWriter{f} }

// Write implements io.Writer.
func (c countedWriter) Write(p []byte) (int, error) {
	n, err := c.f.out.Write(p)
	c.f.hash.Write(p[:n])
	c.f.size += int64(n)
	return n, err
}

// Write implements io.Writer.
func (f *hashedFile) Write(p []byte) (int, error) {
	n, err := f.buf.Write(p)
	if err != nil {
		return n, writeFault(f.name, err)
	}
	return n, nil
}

func (f *hashedFile) close() error {
	if err := f.buf.Flush(); err != nil {
		return writeFault(f.name, err)
	}
	f.sink.open = slices.DeleteFunc(f.sink.open, func(o *hashedFile) bool { return o == f })
	if err := f.out.Close(); err != nil {
		return writeFault(f.name, err)
	}
	f.sink.files = append(f.sink.files, ManifestFile{Path: f.name, Bytes: f.size, SHA256: hex.EncodeToString(f.hash.Sum(nil))})
	return nil
}

// scratch makes a temporary file for what cannot be written from beginning to end. It has no name, so nothing of it stays.
func scratch(name string) (*scratchFile, error) {
	f, err := os.CreateTemp("", "hearth-export-*")
	if err != nil {
		return nil, writeFault(name, err)
	}
	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close()
		return nil, writeFault(name, err)
	}
	return &scratchFile{File: f, name: name}, nil
}

// scratchFile says of what file a write has failed.
type scratchFile struct {
	*os.File
	name string
}

// Write implements io.Writer.
func (f *scratchFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	if err != nil {
		err = writeFault(f.name, err)
	}
	return n, err
}

// copy makes a file of the whole of another.
func (s *hashingSink) copy(name string, from io.ReadSeeker) error {
	if _, err := from.Seek(0, io.SeekStart); err != nil {
		return writeFault(name, err)
	}
	out, err := s.create(name)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, from); err != nil {
		return writeFault(name, err)
	}
	return out.close()
}

func writeFault(name string, err error) error {
	return fault.New(fault.Unavailable, fault.DiskFull, "export file %s cannot be written, is the disk full: %w", name, err)
}

// DirSink writes the files of an export into a folder, which is made where it is not there. A file gets its name when
// it is complete and replaces one of the same name; until then it has a temporary name. Paths that lead out of the
// folder are refused.
func DirSink(dir string) Sink { return dirSink(dir) }

type dirSink string

// Create implements Sink.
func (d dirSink) Create(name string) (io.WriteCloser, error) {
	if !fs.ValidPath(name) || name == "." || strings.ContainsAny(name, `\:`) {
		return nil, fault.New(fault.Invalid, fault.BadRequest, "path %q does not lead into the export folder", name)
	}
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(string(d))
	if err != nil {
		return nil, err
	}
	tmp := path.Join(path.Dir(name), ".part-"+path.Base(name))
	if err := root.MkdirAll(path.Dir(name), 0o700); err != nil {
		_ = root.Close()
		return nil, err
	}
	f, err := root.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		_ = root.Close()
		return nil, err
	}
	return &dirFile{root: root, file: f, tmp: tmp, name: name}, nil
}

// dirFile has its name once it is closed.
type dirFile struct {
	root      *os.Root
	file      *os.File
	tmp, name string
}

// Write implements io.Writer.
func (f *dirFile) Write(p []byte) (int, error) { return f.file.Write(p) }

// Close makes the file durable and gives it its name.
func (f *dirFile) Close() error {
	defer func() { _ = f.root.Close() }()
	if err := f.file.Sync(); err != nil {
		_ = f.file.Close()
		_ = f.root.Remove(f.tmp)
		return err
	}
	if err := f.file.Close(); err != nil {
		_ = f.root.Remove(f.tmp)
		return err
	}
	return f.root.Rename(f.tmp, f.name)
}

// Abort removes the file.
func (f *dirFile) Abort() error {
	defer func() { _ = f.root.Close() }()
	_ = f.file.Close()
	return f.root.Remove(f.tmp)
}
