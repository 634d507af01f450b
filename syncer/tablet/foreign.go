package tablet

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// Bounds of what is taken in from a foreign file.
const (
	// maxForeign is the largest file.
	maxForeign = 8 << 30
	// maxForeignRows is how many rows are remembered of the largest file.
	maxForeignRows = 4_000_000
	// maxForeignProblems is how many problems are listed of one kind.
	maxForeignProblems = 1000
)

// Foreign is a tablet's file that somebody brought: perhaps old, damaged or forged. It is read from a private copy, and no
// record is believed whose digest fails.
type Foreign struct {
	dir     string
	path    string
	size    int64
	command []string
	spool   *os.File
	spooled int64

	about  foreignAbout
	passes []Problem // of reading the file
	found  foreignRows
	carved bool // the carver is at work, or was
	// healthy is true where the file is as the tablet wrote it, and lacks nothing but the bytes of records that were pruned
	// and that headquarters has lost since: the carver is asked for these alone, and what else lies about in free pages is
	// nobody's loss. gone counts those records, told how many problems speak of them alone.
	healthy    bool
	gone, told int

	// What resolve makes of it:
	device     syncer.ID
	key        ed25519.PrivateKey
	name       string
	enumerator string
	study      string
	good       map[syncer.Digest]span
	order      []syncer.Digest // of good, as they were written
	salvaged   int             // of good, found by the carver alone
	checked    []checkedForeign
	lanes      []foreignLane
	salvage    foreignLane
	blobs      []foreignBlob
	drafts     []*surveyv1.Interview
	problems   []Problem
	mended     []Problem // those that the carver has solved
}

// foreignAbout is what a file says it is.
type foreignAbout struct {
	said                 bool
	application, version int64
	// ours is true where its tables are exactly a tablet's, others where SQLite can read what they are and they are not.
	ours, others, sqlite bool
}

// Problem is something in a foreign file that could not be taken in.
type Problem struct {
	// Subject names it: "record 7 (interview ...)", "lane 1a2b3c4d", "the -wal file".
	Subject string
	Reason  fault.Reason
	Message string
}

// String says the subject, the reason and the message.
func (p Problem) String() string { return fmt.Sprintf("%s: %s: %s", p.Subject, p.Reason, p.Message) }

// ForeignOptions say how a foreign file is read. Nil, and the zero value, are for tests and for files that are trusted.
type ForeignOptions struct {
	// Command is by what this program reads the file in a process of its own, which may do nothing else: its name and the
	// arguments with which it calls ServeChild, behind which two more are put. Without it the file is read in this process.
	Command []string
	// Progress is told how many entries headquarters has answered; may be nil.
	Progress func(done int)
	// Drafts gets the interviews that were still being filled in, before anything is sent; may be nil.
	Drafts func([]*surveyv1.Interview) error
}

// OpenForeign reads a tablet's file without touching it: the file and the -wal beside it, which holds what was written
// last, are copied to a private folder first. Where SQLite cannot read all of it, rows are picked out of its pages. It
// fails with fault.StoreMissing, fault.NotSQLite, fault.NotATablet, fault.StoreTooNew, or fault.StoreDamaged where not even
// the tablet's key can be found. Everything less is a Problem.
func OpenForeign(ctx context.Context, path string, opts *ForeignOptions) (f *Foreign, err error) {
	dir, err := os.MkdirTemp("", "hearth-import-")
	if err != nil {
		return nil, fault.New(fault.Internal, "", "make a private folder: %w", err)
	}
	f = &Foreign{dir: dir, path: path}
	f.found.begin()
	if opts != nil {
		f.command = opts.Command
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
			f = nil
		}
	}()
	if err := f.copyIn(); err != nil {
		return f, err
	}
	if f.spool, err = os.OpenFile(f.copyName("-spool"), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600); err != nil {
		return f, fault.New(fault.Internal, "", "make a private file: %w", err)
	}
	if err := f.pass(ctx, passSQL); err != nil {
		return f, err
	}
	if a := f.about; a.ours && (a.application != ApplicationID || a.version != Version) {
		f.passes = append(f.passes, Problem{"the file", fault.StoreDamaged, "its header is damaged: it says it is of another program or version, and its tables are exactly a tablet's"})
	}
	if err := f.resolve(); err != nil {
		return f, err
	}
	if f.whole() {
		return f, nil
	}
	f.carved, f.healthy = true, f.key != nil && f.about.ours && len(f.passes) == 0 && f.gone > 0 && len(f.problems) == f.told
	before := f.problems
	if err := f.pass(ctx, passCarve); err != nil {
		return f, err
	}
	if err := f.resolve(); err != nil {
		return f, err
	}
	for _, p := range before {
		if !slices.ContainsFunc(f.problems, func(q Problem) bool { return q.Subject == p.Subject && q.Reason == p.Reason }) {
			f.mended = append(f.mended, p)
		}
	}
	return f, f.judge()
}

// copyName is the name of the private copy of the file, or of one that goes with it.
func (f *Foreign) copyName(suffix string) string { return filepath.Join(f.dir, viewName+suffix) }

// maxCopies is how often a file is copied that changes meanwhile.
const maxCopies = 5

// copyIn copies the file and its -wal, both as they were at one moment: a tablet that is running may move what stands in
// the one into the other.
func (f *Foreign) copyIn() error {
	for i := 1; ; i++ {
		before := changed(f.path)
		if err := f.copyOnce(); err != nil {
			return err
		}
		if changed(f.path) == before {
			break
		}
		if i == maxCopies {
			f.passes = append(f.passes, Problem{"the file", fault.StoreInUse, "it was written to while it was copied, again and again"})
			break
		}
	}
	return f.lookAtWAL()
}

// changed tells a file and its -wal from what they are after somebody has written to them.
func changed(path string) (state [4]int64) {
	for i, suffix := range []string{"", "-wal"} {
		if st, err := os.Stat(path + suffix); err == nil {
			state[2*i], state[2*i+1] = st.Size(), st.ModTime().UnixNano()
		}
	}
	return state
}

// copyOnce copies the file, and its -wal, which is empty if there is none.
func (f *Foreign) copyOnce() error {
	f.size = 0
	for _, suffix := range []string{"", "-wal"} {
		n, err := copyFile(f.copyName(suffix), f.path+suffix)
		if suffix == "-wal" && errors.Is(err, fs.ErrNotExist) {
			err = os.WriteFile(f.copyName(suffix), nil, 0o600)
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fault.New(fault.NotFound, fault.StoreMissing, "open the store %s: there is no such file", f.path)
		case err != nil:
			return fault.New(fault.Invalid, fault.StoreMissing, "copy %s: %w", f.path+suffix, err)
		}
		f.size += n
	}
	return nil
}

// lookAtWAL reports damage of the write-ahead log, which SQLite passes over.
func (f *Foreign) lookAtWAL() error {
	wal, err := os.Open(f.copyName("-wal"))
	if err != nil {
		return fault.New(fault.Internal, "", "open the private copy: %w", err)
	}
	_, frame, err := scanWAL(wal, func(walFrame) {})
	if err = errors.Join(err, wal.Close()); err != nil {
		f.passes = append(f.passes, Problem{"the -wal file", fault.StoreDamaged, fmt.Sprintf("unreadable: %v", err)})
	} else if frame > 0 {
		f.passes = append(f.passes, Problem{"the -wal file", fault.StoreDamaged, fmt.Sprintf("it is damaged in frame %d; what was written last may be missing", frame)})
	}
	return nil
}

func copyFile(to, from string) (n int64, err error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return 0, err
	}
	if !st.Mode().IsRegular() || st.Size() > maxForeign {
		return 0, fmt.Errorf("not a file of at most %d bytes", int64(maxForeign))
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	n, err = io.Copy(out, io.LimitReader(in, maxForeign))
	return n, errors.Join(err, out.Close())
}

// pass reads the copy in one of the two ways. That reading broke off is a problem, not an error.
func (f *Foreign) pass(ctx context.Context, pass string) error {
	r, err := f.start(ctx, pass)
	if err != nil {
		return fault.New(fault.Internal, "", "begin to read %s: %w", f.path, err)
	}
	ended, err := readFrames(r.frames, framesOf(f.size)+1<<20, f.take)
	why := r.wait()
	if ctx.Err() != nil {
		return fmt.Errorf("read %s: %w", f.path, ctx.Err())
	}
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f // of this side: no disk for what was found
	}
	if ended && err == nil {
		return nil
	}
	if err != nil {
		why = err
	} else if why == nil {
		why = errBroken
	}
	f.passes = append(f.passes, Problem{"the file", fault.StoreDamaged, fmt.Sprintf("reading it broke off: %.500v", why)})
	return nil
}

// take notes what a frame says.
func (f *Foreign) take(kind byte, r row) error {
	if most := min(maxForeignRows, 100_000+f.size/32); f.found.rows >= most { // no row has fewer than 64 bytes
		return fmt.Errorf("it has more than %d rows", most)
	}
	f.found.rows++
	switch kind {
	case frameAbout:
		f.about = foreignAbout{said: true, application: r.number(0), version: r.number(1), ours: r.number(2) == 1, others: r.number(2) == 2, sqlite: r.number(3) == 1}
	case frameProblem:
		if len(f.passes) < maxForeignProblems {
			f.passes = append(f.passes, Problem{clean(r.text(0), 200), fault.Reason(clean(r.text(1), 40)), clean(r.text(2), 1000)})
		}
	default:
		if f.healthy {
			return f.takeGone(kind, r)
		}
		return f.takeRow(kind, r)
	}
	return nil
}

// takeGone takes the bytes of a record from free pages, if the file names their digest.
func (f *Foreign) takeGone(kind byte, r row) error {
	if kind != recordTable || r.absent(recordBody) {
		return nil
	}
	if own := syncer.DigestOf(r.bytes(recordBody)); f.named()[own] {
		return f.takeBody(own, r.bytes(recordBody))
	}
	return nil
}

// clean makes a text from a file fit to be shown.
func clean(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// span is where bytes stand in the private file of what was found.
type span struct{ at, size int64 }

// keep writes bytes to the private file.
func (f *Foreign) keep(b []byte) (span, error) {
	s := span{f.spooled, int64(len(b))}
	if _, err := f.spool.WriteAt(b, s.at); err != nil {
		return s, fault.New(fault.Unavailable, fault.DiskFull, "keep what is found in %s: %w", f.path, err)
	}
	f.spooled += s.size
	return s, nil
}

// read returns bytes that were kept.
func (f *Foreign) read(s span) ([]byte, error) {
	b := make([]byte, s.size)
	if _, err := f.spool.ReadAt(b, s.at); err != nil {
		return nil, fault.New(fault.Internal, "", "read what was found in %s: %w", f.path, err)
	}
	return b, nil
}

// whole says whether SQLite alone has read everything.
func (f *Foreign) whole() bool {
	return f.key != nil && f.about.ours && len(f.passes) == 0 && len(f.problems) == 0
}

// judge says why nothing can be done with the file, if so.
func (f *Foreign) judge() error {
	a := f.about
	mine := a.application == ApplicationID
	switch {
	case a.others && mine && a.version > Version && a.version < Version+20: // not a changed bit
		return fault.New(fault.Invalid, fault.StoreTooNew, "open the store %s: it has version %d, this program knows version %d", f.path, a.version, Version)
	case f.key != nil:
		return nil
	case len(f.found.bodies) > 0 || len(f.found.entries) > 0 || a.ours:
		return fault.New(fault.Internal, fault.StoreDamaged, "read whose tablet %s is: the tablet's key is damaged or gone, so nothing can be signed with it; %d records are in the file", f.path, len(f.found.bodies))
	case a.said && !a.sqlite:
		return fault.New(fault.Invalid, fault.NotSQLite, "open the store %s: it is not an SQLite file", f.path)
	}
	return fault.New(fault.Invalid, fault.NotATablet, "open the store %s: its tables are not those of a tablet's store", f.path)
}

func (f *Foreign) problem(subject string, reason fault.Reason, format string, args ...any) {
	f.problems = append(f.problems, Problem{Subject: subject, Reason: reason, Message: fmt.Sprintf(format, args...)})
}

// Problems lists what could not be taken in.
func (f *Foreign) Problems() []Problem { return slices.Concat(f.passes, f.problems) }

// Records counts the records whose digest is right.
func (f *Foreign) Records() int { return len(f.order) }

// Salvaged counts those of them that SQLite could not read: they were picked out of the file's pages.
func (f *Foreign) Salvaged() int { return f.salvaged }

// Drafts are the interviews that were still being filled in. They are not sent: the tablet itself may complete them.
func (f *Foreign) Drafts() []*surveyv1.Interview { return slices.Clone(f.drafts) }

// Device is the tablet's id.
func (f *Foreign) Device() syncer.ID { return f.device }

// Name is the name people gave the tablet.
func (f *Foreign) Name() string { return f.name }

// Hello introduces the tablet whose file this is.
func (f *Foreign) Hello() *servicev1.HelloRequest {
	return &servicev1.HelloRequest{
		Protocol: proto.Uint32(syncer.Protocol), Device: f.device[:], DeviceName: proto.String(f.name), Enumerator: proto.String(f.enumerator),
		PublicKey: f.key.Public().(ed25519.PublicKey),
	}
}

// Close removes the private copy.
func (f *Foreign) Close() error {
	var errs []error
	if f.spool != nil {
		errs = append(errs, f.spool.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(f.dir))...)
}
