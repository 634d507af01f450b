package sqlite

import (
	"errors"
	"io/fs"
	"os"

	"github.com/hearth-survey/hearth/syncer/durable"
)

// Disk is where a store's files are. There is the file system, and for tests the disk in memory of syncer/faultdisk.
type Disk interface {
	// VFS is SQLite's name for it; empty: the default.
	VFS() string
	// Exists says whether there is a file at a path.
	Exists(path string) bool
	// Make makes an empty file that only its owner reads, if there is none.
	Make(path string) error
	// Remove removes a file, if there is one.
	Remove(path string) error
	// Rewrite writes the bytes of a file anew, as they can be read, and syncs them, if there is one.
	Rewrite(path string) error
}

// osDisk is the file system.
type osDisk struct{}

func (osDisk) VFS() string { return "" }

func (osDisk) Exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil || !errors.Is(err, fs.ErrNotExist)
}

func (osDisk) Make(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

func (osDisk) Remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (osDisk) Rewrite(path string) error { return durable.Rewrite(path) }
