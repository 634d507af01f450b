package blobs

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hearth-survey/hearth/syncer"
)

// putForEver is the child of TestKilledAtAnyPoint: it puts one attachment after the other, and says so of each piece
// when it was acknowledged.
func putForEver(dir string) {
	s, err := Open(dir, Options{})
	if err != nil {
		fmt.Println("failed", err)
		return
	}
	for n := uint64(0); ; n++ {
		b := noise(n, 3000)
		st, err := s.Stat(ref(b))
		if err != nil {
			fmt.Println("failed", err)
			return
		}
		if st.GetComplete() {
			continue
		}
		for i := range 3 {
			if _, err := put(s, ref(b), b, i*1000, (i+1)*1000); err != nil {
				fmt.Println("failed", err)
				return
			}
			fmt.Println(n, i)
		}
	}
}

// A process that is killed while it takes pieces in, many times: what was acknowledged is there, and no file has a name
// that is not its hash.
func TestKilledAtAnyPoint(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	acked := map[uint64]int{}
	for round := range 12 {
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), "HEARTH_BLOBS_CHILD="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Duration(20+13*round)*time.Millisecond, func() { _ = cmd.Process.Kill() })
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			n, i, ok := strings.Cut(lines.Text(), " ")
			blob, err := strconv.ParseUint(n, 10, 64)
			if !ok || err != nil {
				t.Fatal(lines.Text())
			}
			piece, _ := strconv.Atoi(i)
			acked[blob] = max(acked[blob], piece+1)
		}
		_ = cmd.Wait()
		s := open(t, dir)
		for n, pieces := range acked {
			b := noise(n, 3000)
			st, err := s.Stat(ref(b))
			if err != nil {
				t.Fatal(err)
			}
			have, whole, err := syncer.ParseBlobState(st, syncer.BlobID(ref(b).Sha256), 3000)
			if err != nil || !whole && have.Bytes() < int64(pieces)*1000 {
				t.Errorf("LOST: %d pieces of attachment %d were acknowledged, %v is here", pieces, n, have)
			}
		}
		err = s.Verify(context.Background(), func(h Held) {
			if h.Problem != nil {
				t.Errorf("attachment %x: %v", h.ID[:4], h.Problem)
			}
		}, func(path string) { t.Errorf("%s is left over", path) })
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(acked) < 3 {
		t.Errorf("only %d attachments were put in all rounds", len(acked))
	}
}

// An attachment that has its name, of which the name may not be on the disk because the folder could not be synced, is not
// said to be whole before it has been.
func TestNamedIsNotWholeBeforeItsEnd(t *testing.T) {
	s := open(t, t.TempDir())
	b := noise(9, 3000)
	mustPut(t, s, b, 0, 1000)
	id := syncer.BlobID(ref(b).GetSha256())
	if err := os.MkdirAll(filepath.Dir(s.path(id)), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.path(id), b, 0o600); err != nil { // as after a rename
		t.Fatal(err)
	}
	if st, err := s.Stat(ref(b)); err != nil || st.GetComplete() {
		t.Errorf("Stat = %v, %v; want it unfinished", st, err)
	}
	if st := mustPut(t, s, b, 1000, 2000); st.GetComplete() {
		t.Errorf("Put of a piece = %v, want it unfinished", st)
	}
	if st := mustPut(t, s, b, 2000, 3000); !st.GetComplete() {
		t.Errorf("Put of the last piece = %v, want it whole", st)
	}
	holds(t, s, b)
	if st, err := s.Stat(ref(b)); err != nil || !st.GetComplete() {
		t.Errorf("Stat = %v, %v; want it whole", st, err)
	}
}

// What a process that was killed has left named is taken over with its journal removed.
func TestNamedWhenKilled(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	b := noise(10, 3000)
	mustPut(t, s, b, 0, 2999)
	id := syncer.BlobID(ref(b).GetSha256())
	if err := os.MkdirAll(filepath.Dir(s.path(id)), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.path(id), b, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	if st, err := s.Stat(ref(b)); err != nil || !st.GetComplete() {
		t.Errorf("Stat = %v, %v; want it whole", st, err)
	}
	if left, err := os.ReadDir(filepath.Join(dir, partialDir)); err != nil || len(left) > 0 {
		t.Errorf("%d journals are left, %v", len(left), err)
	}
}
