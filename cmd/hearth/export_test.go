package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/protobuf/proto"
)

// fullDisk takes so many bytes.
type fullDisk struct {
	io.WriteCloser
	left *int
}

func (d fullDisk) Write(p []byte) (int, error) {
	if *d.left -= len(p); *d.left < 0 {
		return 0, syscall.ENOSPC
	}
	return d.WriteCloser.Write(p)
}

// A disk that is full half way leaves no file of the export, and what stood there before as it was.
func TestReceiverFullDisk(t *testing.T) {
	dir := t.TempDir()
	before := filepath.Join(dir, "csv", "person.csv")
	if err := os.MkdirAll(filepath.Dir(before), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(before, []byte("before"), 0o644); err != nil {
		t.Fatal(err)
	}
	piece := func(path string) *servicev1.ExportResponse {
		return &servicev1.ExportResponse{Path: proto.String(path), Content: make([]byte, 1000)}
	}
	left := 2500
	rx := &receiver{dir: dir, create: func(name string) (io.WriteCloser, error) {
		f, err := os.Create(name)
		return fullDisk{f, &left}, err
	}}
	var err error
	for _, path := range []string{"csv/person.csv", "csv/person.csv", "stata/person.dta"} {
		if err = rx.take(piece(path)); err != nil {
			break
		}
	}
	if fault.ReasonOf(err) != fault.DiskFull || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("got %v", err)
	}
	if err := rx.abandon(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(before)
	if err != nil || string(got) != "before" {
		t.Errorf("what stood there is %q, %v", got, err)
	}
	left = 1 << 20
	all := []string{}
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if !d.IsDir() {
			all = append(all, path)
		}
		return err
	})
	if len(all) != 1 {
		t.Errorf("left behind: %q", all)
	}
	other := filepath.Join(dir, "new")
	rx = &receiver{dir: other}
	if err := rx.take(piece("a.csv")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(other, "a.csv")); err == nil {
		t.Error("a file has its name before the export is whole")
	}
	if err := rx.abandon(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(other); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
	if err := (&receiver{dir: other}).take(piece("../evil")); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a path that leaves the folder: %v", err)
	}
}
