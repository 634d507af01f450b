package tablet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"time"
)

// ChildVerb is the argument with which the program reads a foreign file on behalf of itself.
const ChildVerb = "read-foreign-file"

// The two ways of reading a file.
const (
	passSQL   = "sql"
	passCarve = "carve"
)

// The files of the process that reads: the copy of the file and of its write-ahead log.
const (
	childMain = 3
	childWAL  = 4
)

// What the reading process may use.
const (
	childHeap  = 512 << 20
	childData  = 1 << 30
	childSpace = 8 << 30
	childFiles = 32
	// patience is the least time it has; more where the file is large.
	patience = time.Minute
	// bytesPerSecond is how fast a file is read at the least.
	bytesPerSecond = 2 << 20
)

// timeFor is how long a file may be read.
func timeFor(size int64) time.Duration {
	return patience + time.Duration(size/bytesPerSecond)*time.Second
}

// framesOf is how many bytes may be said about a file.
func framesOf(size int64) int64 { return 4*size + 64<<20 }

// ServeChild is the process that reads a foreign file for another: it gives up what it does not need, reads its files 3 and 4,
// and writes what it finds to stdout. It returns the exit code.
func ServeChild(args []string, stdout, stderr io.Writer) int {
	if len(args) != 2 {
		fmt.Fprintf(stderr, "%s is for the program itself: use import-tablet\n", ChildVerb)
		return 2
	}
	seconds, err := strconv.ParseUint(args[1], 10, 32)
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", ChildVerb, err)
		return 2
	}
	if err := confine(seconds); err != nil {
		fmt.Fprintf(stderr, "give up what is not needed: %v\n", err)
		return 1
	}
	debug.SetMemoryLimit(childHeap)
	main, wal := os.NewFile(childMain, "main"), os.NewFile(childWAL, "wal")
	if main == nil || wal == nil {
		fmt.Fprintln(stderr, "there is no file to read")
		return 1
	}
	if err := readForeign(context.Background(), args[0], main, wal, stdout); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

// readForeign reads a file in one of the two ways and writes what it finds as frames.
func readForeign(ctx context.Context, pass string, main, wal *os.File, w io.Writer) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errBroken, p)
		}
	}()
	view, err := newView(main, wal)
	if err != nil {
		return err
	}
	out := newFrameWriter(w, framesOf(view.mainSize+view.walSize))
	switch pass {
	case passSQL:
		err = readSQL(ctx, view, out)
	case passCarve:
		err = carve(ctx, view, out)
	default:
		err = fmt.Errorf("there is no way of reading called %q", pass)
	}
	if err != nil {
		return errors.Join(err, out.w.Flush())
	}
	return out.end()
}

// reading is a pass under way.
type reading struct {
	frames io.Reader
	// wait ends it and says why it did not come to its end by itself; it must be called.
	wait func() error
}

// start begins to read the copies, in a process of its own if there is a command for it.
func (f *Foreign) start(ctx context.Context, pass string) (reading, error) {
	main, err := os.Open(f.copyName(""))
	if err != nil {
		return reading{}, err
	}
	wal, err := os.Open(f.copyName("-wal"))
	if err != nil {
		return reading{}, errors.Join(err, main.Close())
	}
	if len(f.command) == 0 {
		r, w := io.Pipe()
		done := make(chan error, 1)
		go func() {
			err := readForeign(ctx, pass, main, wal, w)
			done <- errors.Join(err, w.CloseWithError(err), main.Close(), wal.Close())
		}()
		return reading{r, func() error { return errors.Join(r.Close(), <-done) }}, nil
	}
	return f.startChild(ctx, pass, main, wal)
}

// startChild begins to read in a process that has an empty environment and no other files, and is ended when its time is over.
func (f *Foreign) startChild(ctx context.Context, pass string, main, wal *os.File) (reading, error) {
	self, err := os.Executable()
	if err != nil {
		return reading{}, errors.Join(err, main.Close(), wal.Close())
	}
	allowed := timeFor(f.size)
	ctx, cancel := context.WithTimeoutCause(ctx, allowed, fmt.Errorf("it took more than %v", allowed))
	args := append(append([]string{}, f.command[1:]...), pass, strconv.Itoa(int(allowed.Seconds())))
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Args[0] = f.command[0]
	cmd.Env, cmd.Dir, cmd.ExtraFiles = []string{}, f.dir, []*os.File{main, wal}
	cmd.WaitDelay = 5 * time.Second
	said := &limitedBuffer{left: 4 << 10}
	cmd.Stderr = said
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err = errors.Join(err, main.Close(), wal.Close()); err != nil {
		cancel()
		return reading{}, err
	}
	return reading{out, func() error {
		defer cancel()
		_, _ = io.Copy(io.Discard, io.LimitReader(out, 1<<20)) // what comes behind the end is nothing
		if err := out.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			return err
		}
		err := cmd.Wait()
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return fmt.Errorf("%w: %w; %.500s", errBroken, err, said.firstLine())
		}
		return nil
	}}, nil
}

// limitedBuffer keeps the beginning of what is written.
type limitedBuffer struct {
	b    bytes.Buffer
	left int
}

// Write takes everything and keeps what there is room for.
func (l *limitedBuffer) Write(p []byte) (int, error) {
	keep := p[:min(len(p), l.left)]
	l.left -= len(keep)
	_, err := l.b.Write(keep)
	return len(p), err
}

func (l *limitedBuffer) firstLine() string {
	line, _, _ := bytes.Cut(bytes.TrimSpace(l.b.Bytes()), []byte("\n"))
	return string(bytes.ToValidUTF8(line, []byte("?")))
}
