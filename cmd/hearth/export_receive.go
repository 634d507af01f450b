package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// receiver puts the pieces of an export together in a folder beside where they will stand. They get their names when the
// whole export is there, the manifest last; after an error, a full disk or Ctrl-C nothing of it is left.
type receiver struct {
	dir     string
	made    bool   // the folder itself
	staging string // below dir
	path    string // of the file under way
	file    io.WriteCloser
	paths   []string // below dir, in the order in which they came
	// create opens a file; nil: os.Create.
	create func(name string) (io.WriteCloser, error)
}

// take adds a piece.
func (r *receiver) take(piece *servicev1.ExportResponse) error {
	if piece.GetPath() != r.path || r.file == nil {
		if err := r.flush(); err != nil {
			return err
		}
		if err := r.open(piece.GetPath()); err != nil {
			return err
		}
	}
	_, err := r.file.Write(piece.GetContent())
	return full(err)
}

func (r *receiver) open(path string) error {
	if !filepath.IsLocal(path) {
		return fault.New(fault.Invalid, fault.BadRequest, "the server sent the path %q, which leaves the folder", path)
	}
	if r.staging == "" {
		_, err := os.Stat(r.dir)
		r.made = errors.Is(err, os.ErrNotExist)
		if err := os.MkdirAll(r.dir, 0o755); err != nil {
			return err
		}
		if r.staging, err = os.MkdirTemp(r.dir, ".export-*.part"); err != nil {
			return err
		}
	}
	local := filepath.FromSlash(path)
	name := filepath.Join(r.staging, local)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return full(err)
	}
	create := r.create
	if create == nil {
		create = func(name string) (io.WriteCloser, error) { return os.Create(name) }
	}
	f, err := create(name)
	if err != nil {
		return full(err)
	}
	r.path, r.file = path, f
	r.paths = append(r.paths, local)
	return nil
}

// full says of an error of the disk what it is and what to do.
func full(err error) error {
	if err == nil {
		return nil
	}
	return fault.New(fault.Unavailable, fault.DiskFull, "the export cannot be written, and nothing of it is left: %w", err)
}

// flush ends the file under way.
func (r *receiver) flush() error {
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	return full(err)
}

// finish gives the files their names. The manifest comes last: a folder in which it names other files than are there is
// not a whole export.
func (r *receiver) finish() ([]string, error) {
	if err := r.flush(); err != nil {
		return nil, err
	}
	var out []string
	for _, local := range r.paths {
		to := filepath.Join(r.dir, local)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return nil, full(err)
		}
		if err := os.Rename(filepath.Join(r.staging, local), to); err != nil {
			return nil, full(err)
		}
		out = append(out, to)
	}
	return out, os.RemoveAll(r.staging)
}

// abandon leaves nothing behind.
func (r *receiver) abandon() error {
	_ = r.flush() // it goes in any case
	if r.staging == "" {
		return nil
	}
	err := os.RemoveAll(r.staging)
	if r.made {
		_ = os.Remove(r.dir) // unless somebody has put something there
	}
	return err
}
