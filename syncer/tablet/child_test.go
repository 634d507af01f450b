package tablet_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/syncer/syncertest"
	"github.com/hearth-survey/hearth/syncer/tablet"
)

// TestMain makes this program also the process that reads a foreign file, and such processes as no program of ours is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case tablet.ChildVerb:
			os.Exit(tablet.ServeChild(os.Args[2:], os.Stdout, os.Stderr))
		case "probe":
			probe(os.Args[2])
			os.Exit(0)
		case "enemy":
			enemy(os.Args[2])
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

// child has files read in a process of its own.
func child() *tablet.ForeignOptions {
	return &tablet.ForeignOptions{Command: []string{os.Args[0], tablet.ChildVerb}}
}

// probe gives up what the reader gives up and then tries what it must not be able to do.
func probe(what string) {
	if err := tablet.Confine(1); err != nil {
		fmt.Println("confine:", err)
		return
	}
	var err error
	switch what {
	case "open":
		_, err = os.Open("/etc/hostname")
	case "create":
		_, err = os.Create(filepath.Join(os.TempDir(), "hearth-probe"))
	case "remove":
		err = os.Remove("/tmp/hearth-probe-nothing")
	case "grow":
		_, err = os.NewFile(3, "file").Write([]byte("more"))
	case "network":
		_, err = net.DialTimeout("tcp", "127.0.0.1:1", time.Second)
	case "run":
		err = exec.Command("/bin/true").Run()
	case "kill":
		err = syscall.Kill(os.Getppid(), 0)
	case "memory":
		_, err = syscall.Mmap(-1, 0, 2<<30, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	case "spin":
		for sum := sha256.Sum256(nil); ; {
			sum = sha256.Sum256(sum[:])
		}
	}
	switch {
	case err == nil:
		fmt.Println("done")
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EFBIG), errors.Is(err, syscall.ENOMEM):
		fmt.Println("forbidden")
	default:
		fmt.Println(err)
	}
}

// What reads a foreign file can do nothing else, whatever the file makes of it.
func TestTheReaderIsConfined(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only on Linux")
	}
	if testing.Short() {
		t.Skip("what another process may do is tried in whole runs")
	}
	for _, what := range []string{"open", "create", "remove", "grow", "network", "run", "kill", "memory", "spin"} {
		t.Run(what, func(t *testing.T) {
			if what == "memory" && tablet.RaceDetector {
				t.Skip("the race detector needs the memory")
			}
			file, err := os.Create(filepath.Join(t.TempDir(), "file"))
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0], "probe", what)
			cmd.ExtraFiles = []*os.File{file}
			out, err := cmd.CombinedOutput()
			if what == "spin" {
				if err == nil || ctx.Err() != nil {
					t.Errorf("it ran beyond its time: %v", err)
				}
				return
			}
			if lines := strings.Fields(string(out)); err != nil || !slices.Contains(lines, "forbidden") || slices.Contains(lines, "done") {
				t.Errorf("%s: %.2000q, %v; want it forbidden", what, out, err)
			}
		})
	}
}

// enemy is a reader that a file has taken over.
func enemy(how string) {
	own := tablet.FrameStream([]any{byte(2), int64(1), []byte("id"), make([]byte, 32), int64(1), "subject", []byte{}, int64(1), "q", int64(1), make([]byte, 32), int64(1), int64(1), []byte("body")})
	switch how {
	case "garbage":
		_, _ = os.Stdout.Write(bytes.Repeat([]byte("no frames at all\n"), 1000))
	case "long frame":
		_, _ = os.Stdout.Write(append([]byte("hearth-foreign/1\n"), 2, 0xff, 0xff, 0xff, 0xff))
	case "flood":
		magic, frame := own[:17], own[17:len(own)-5]
		for _, err := os.Stdout.Write(magic); err == nil; {
			_, err = os.Stdout.Write(bytes.Repeat(frame, 1000))
		}
	case "nothing":
	case "dies":
		_, _ = os.Stdout.Write(own[:len(own)/2])
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "hangs":
		time.Sleep(time.Hour)
	case "lies": // a meta row, a lane and a record that do not belong together
		meta := []any{byte(1), int64(1), make([]byte, 16), make([]byte, 32), make([]byte, 32), "n\x00\n", "e", "s", make([]byte, 16), nil, nil, nil, nil}
		entry := []any{byte(3), int64(1), make([]byte, 16), int64(-5), make([]byte, 32), make([]byte, 32)}
		_, _ = os.Stdout.Write(tablet.FrameStream(meta, entry, []any{byte(3)}, []any{byte(200), "?"}, []any{byte(0xf0), "x"}, []any{byte(7), nil, []byte{1}}, []any{byte(8), nil, make([]byte, 32), int64(-1), []byte("p")}))
	}
}

// Whatever the reader says, and however it ends, the program that asked it goes on and says what is wrong.
func TestReaderThatIsAnEnemy(t *testing.T) {
	ctx := t.Context()
	s := create(t, "tablet-01")
	add(t, s, syncertest.Interview("tablet-01", 1, "r"))
	file := usb(t, s, true)
	all := []string{"garbage", "long frame", "flood", "nothing", "dies", "lies"}
	if testing.Short() {
		all = all[:1]
	}
	for _, how := range all {
		t.Run(how, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			f, err := tablet.OpenForeign(ctx, file, &tablet.ForeignOptions{Command: []string{os.Args[0], "enemy", how}})
			if err == nil {
				f.Close()
			}
			runtime.ReadMemStats(&after)
			if took := after.TotalAlloc - before.TotalAlloc; took > 256<<20 {
				t.Errorf("%d MiB were allocated for it", took>>20)
			}
			if r := fault.ReasonOf(err); r != fault.NotATablet && r != fault.StoreDamaged && r != fault.NotSQLite {
				t.Errorf("OpenForeign: %v (%s)", err, r)
			}
		})
	}
	t.Run("hangs", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		begun := time.Now()
		_, err := tablet.OpenForeign(ctx, file, &tablet.ForeignOptions{Command: []string{os.Args[0], "enemy", "hangs"}})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > 20*time.Second {
			t.Errorf("OpenForeign: %v after %v", err, time.Since(begun))
		}
	})
}

// FuzzFrames feeds the decoder of what the reader says.
func FuzzFrames(f *testing.F) {
	f.Add(tablet.FrameStream())
	f.Add(tablet.FrameStream([]any{byte(1), nil, int64(-1), []byte("b"), "t"}, []any{byte(0xf1), "s", "R", "m"}))
	f.Add([]byte("hearth-foreign/1\n\x02\x00\x00\x00\x09\x02\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		n := 0
		ended, err := tablet.ReadFrames(bytes.NewReader(stream), 1<<20, func(_ byte, r tablet.Row) error {
			if n++; len(r) > 16 {
				t.Fatalf("a frame of %d values", len(r))
			}
			return nil
		})
		if ended && err != nil {
			t.Fatalf("the stream ended, and with %v", err)
		}
	})
}

// FuzzCarve gives whole files and logs to the import: what is no SQLite file is searched by the carver alone.
func FuzzCarve(f *testing.F) {
	dir := f.TempDir()
	s, err := tablet.Create(context.Background(), filepath.Join(dir, "seed.sqlite"), tablet.CreateOptions{Name: "t", Enumerator: "E1", Study: "s", Rand: syncertest.Random("fuzz"), Now: clock()})
	if err != nil {
		f.Fatal(err)
	}
	defer s.Close()
	if _, _, err := s.AddInterview(context.Background(), syncertest.Interview("fuzz", 1, strings.Repeat("long", 2000))); err != nil {
		f.Fatal(err)
	}
	main, err := os.ReadFile(s.Path())
	if err != nil {
		f.Fatal(err)
	}
	wal, err := os.ReadFile(s.Path() + "-wal")
	if err != nil {
		f.Fatal(err)
	}
	whole := len(wal)
	f.Add(main, wal[:min(whole, 200_000)])
	f.Add([]byte("x"), wal[max(0, whole-40_000):])
	f.Add(bytes.Repeat([]byte{8, 0, 0x4c, 1, 2}, 2000), []byte{})
	path := filepath.Join(dir, "x.sqlite")
	f.Fuzz(func(t *testing.T, main, wal []byte) {
		for suffix, b := range map[string][]byte{"": main, "-wal": wal} {
			if err := os.WriteFile(path+suffix, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		fo, err := tablet.OpenForeign(context.Background(), path, nil)
		if err != nil {
			if fault.ReasonOf(err) == "" {
				t.Fatalf("an error without a reason: %v", err)
			}
			return
		}
		fo.Close()
	})
}
