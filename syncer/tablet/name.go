package tablet

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/syncer/failpoint"
)

// A store that is being made has another name until it is whole and on the disk: whoever finds a file of the store's name
// finds a store, also after the making was cut short at any moment.

// makingSuffix is behind the name of a store that is being made, with something random behind it.
const makingSuffix = ".making-"

// leftoverAge is how old a file with that name is that nobody is making any more.
const leftoverAge = time.Minute

// nameless makes an empty file beside path for a store that is being made, and removes what is left of makings of the same
// store that were cut short. It fails with fault.StoreExists where there is a file of the store's name.
func nameless(path string) (string, error) {
	there, err := exists(path)
	switch {
	case err != nil:
		return "", err
	case there:
		return "", nameTaken(path)
	}
	old, err := filepath.Glob(globQuoted(path) + makingSuffix + "*")
	if err != nil {
		return "", fault.New(fault.Internal, "", "look for what is left of %s: %w", path, err)
	}
	for _, name := range old {
		if st, err := os.Lstat(name); err == nil && st.Mode().IsRegular() && time.Since(st.ModTime()).Abs() > leftoverAge {
			_ = os.Remove(name) // in the way of nobody
		}
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+makingSuffix)
	if err != nil {
		return "", fault.New(fault.Invalid, fault.StoreMissing, "create the store %s: %w", path, err)
	}
	if err := f.Close(); err != nil {
		return "", errors.Join(fault.New(fault.Internal, "", "create the store %s: %w", path, err), os.Remove(f.Name()))
	}
	return f.Name(), nil
}

func nameTaken(path string) error {
	return fault.New(fault.Exists, fault.StoreExists, "create the store %s: there is a file of that name", path)
}

// globQuoted is a path as a pattern that matches it alone.
func globQuoted(path string) string {
	out := make([]byte, 0, len(path))
	for i := range len(path) {
		if c := path[i]; c == '*' || c == '?' || c == '[' || c == '\\' && filepath.Separator != '\\' {
			out = append(out, '\\')
		}
		out = append(out, path[i])
	}
	return string(out)
}

// giveName gives a whole store its name, and has that on the disk. It replaces no file: where two make a store of the same
// name, one fails with fault.StoreExists.
func giveName(from, path string) error {
	err := os.Link(from, path) // unlike a rename it replaces nothing
	switch {
	case err == nil:
		err = removeLinked(from)
	case errors.Is(err, fs.ErrExist):
		return nameTaken(path)
	default: // a file system without links
		err = os.Rename(from, path)
	}
	if err != nil {
		return fault.New(fault.Internal, "", "name the store %s: %w", path, err)
	}
	failpoint.Hit("tablet.after-unlink")
	return syncFolder(filepath.Dir(path))
}
