package durable

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestRewriteChangesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := Rewrite(path); err != nil {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("it is there now")
	}
	for _, n := range []int{0, 1, 256 << 10, 256<<10 + 1, 700_000} {
		want := bytes.Repeat([]byte("abc/"), n/4+1)[:n]
		if err := os.WriteFile(path, want, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Rewrite(path); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes are %d others, %v", n, len(got), err)
		}
	}
}

func TestSyncFolder(t *testing.T) {
	if err := SyncFolder(t.TempDir()); err != nil {
		t.Error(err)
	}
	if err := SyncFolder(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a folder that is not there is synced")
	}
}
