// Package durable has what was written on the disk where the system needs to be told twice: the names in a folder, and
// bytes whose sync has failed. It is for the stores of tablets and servers. It does not open databases or know what the
// bytes mean.
package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// SyncFolder has the names in a folder on the disk. Systems that cannot sync a folder (Windows) do it by themselves.
func SyncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err := d.Sync(); err != nil && !errors.Is(err, fs.ErrInvalid) && !errors.Is(err, fs.ErrPermission) {
		return errors.Join(fmt.Errorf("sync the folder %s: %w", dir, err), d.Close())
	}
	return d.Close()
}

// Rewrite writes the bytes of a file anew, as they can be read, and syncs them. After a sync has failed the system may have
// thrown away what it could not write, say at the next sync that all is well, and go on giving the lost bytes to whoever
// reads: they are gone after a power cut, unless they are written again. A file that is not there is left so. Nobody may
// write it meanwhile.
func Rewrite(path string) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buf := make([]byte, 256<<10)
	for at := int64(0); ; {
		n, err := f.ReadAt(buf, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if n == 0 {
			return f.Sync()
		}
		if _, err := f.WriteAt(buf[:n], at); err != nil {
			return err
		}
		at += int64(n)
	}
}
