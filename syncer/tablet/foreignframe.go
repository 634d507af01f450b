package tablet

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/hearth-survey/hearth/proto/fault"
)

// What reads a foreign file may be broken by it, and then says anything. So it stands alone, in a process of its own, and
// says what it found over a pipe, in frames, which are read here as if an enemy had written them:
//
//	stream = "hearth-foreign/1\n" frame*
//	frame  = kind (1 byte)  length of the values (4 bytes, big endian)  value*
//	value  = 0 | 1 int64 | 2 length (4 bytes) bytes | 3 length (4 bytes) text
//
// A kind is the number of a table, and the values one of its rows, or one of the kinds below.
const (
	frameMagic = "hearth-foreign/1\n"
	// maxFrame is the most bytes of values in one frame: a record with its columns.
	maxFrame = 2 << 20
	// maxValues is the most values in one frame.
	maxValues = 16

	// frameAbout says what the file is: application id, version, what its tables are (1 exactly a tablet's, 2 others, 0
	// unreadable), 1 if it is SQLite at all.
	frameAbout = 0xf0
	// frameProblem is a problem: subject, reason, message.
	frameProblem = 0xf1
	// frameEnd is the last one: everything that can be read was.
	frameEnd = 0xff
)

// errFrame is what a stream is that no honest reader writes.
var errFrame = errors.New("what the reader of the file says makes no sense")

// frameWriter writes frames. After an error it writes nothing more.
type frameWriter struct {
	w   *bufio.Writer
	buf []byte
	// left is how many bytes may still be written.
	left int64
	err  error
}

func newFrameWriter(w io.Writer, most int64) *frameWriter {
	fw := &frameWriter{w: bufio.NewWriterSize(w, 1<<16), left: most}
	_, fw.err = fw.w.WriteString(frameMagic)
	return fw
}

// frame writes one frame. A row that is too large for a frame is no row of a tablet's store; it is left out.
func (w *frameWriter) frame(kind byte, values ...any) error {
	if w.err != nil {
		return w.err
	}
	w.buf = append(w.buf[:0], kind, 0, 0, 0, 0)
	for _, v := range values {
		switch v := v.(type) {
		case nil:
			w.buf = append(w.buf, 0)
		case int64:
			w.buf = binary.BigEndian.AppendUint64(append(w.buf, 1), uint64(v))
		case []byte:
			w.buf = append(binary.BigEndian.AppendUint32(append(w.buf, 2), uint32(len(v))), v...)
		case string:
			w.buf = append(binary.BigEndian.AppendUint32(append(w.buf, 3), uint32(len(v))), v...)
		default: // a number with a fraction, or a time: no column of a tablet's has one
			w.buf = append(w.buf, 0)
		}
	}
	size := len(w.buf) - 5
	if size > maxFrame || len(values) > maxValues {
		return nil
	}
	if w.left -= int64(len(w.buf)); w.left < 0 {
		w.err = fmt.Errorf("there is more in the file than it can hold")
		return w.err
	}
	binary.BigEndian.PutUint32(w.buf[1:], uint32(size))
	_, w.err = w.w.Write(w.buf)
	return w.err
}

func (w *frameWriter) problem(subject string, reason fault.Reason, format string, args ...any) error {
	return w.frame(frameProblem, subject, string(reason), fmt.Sprintf(format, args...))
}

// end writes the last frame.
func (w *frameWriter) end() error {
	if err := w.frame(frameEnd); err != nil {
		return err
	}
	return w.w.Flush()
}

// readFrames hands the frames of a stream to take, at most so many bytes of them, and reports whether the stream came to
// its proper end. The values are take's to keep.
func readFrames(r io.Reader, most int64, take func(kind byte, r row) error) (ended bool, err error) {
	in := bufio.NewReaderSize(io.LimitReader(r, most), 1<<16)
	magic := make([]byte, len(frameMagic))
	if _, err := io.ReadFull(in, magic); err != nil {
		return false, nothingMore(err)
	}
	if string(magic) != frameMagic {
		return false, errFrame
	}
	head := make([]byte, 5)
	for {
		if _, err := io.ReadFull(in, head); err != nil {
			return false, nothingMore(err)
		}
		size := binary.BigEndian.Uint32(head[1:])
		if size > maxFrame {
			return false, errFrame
		}
		if head[0] == frameEnd {
			return true, nil
		}
		body := make([]byte, size)
		if _, err := io.ReadFull(in, body); err != nil {
			return false, nothingMore(err)
		}
		values, err := parseValues(body)
		if err != nil {
			return false, err
		}
		if err := take(head[0], values); err != nil {
			return false, err
		}
	}
}

// nothingMore makes the end of a stream no error: that it is not its proper end, the caller is told.
func nothingMore(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// parseValues reads the values of a frame. Blobs are parts of b.
func parseValues(b []byte) (row, error) {
	var r row
	for len(b) > 0 {
		kind := b[0]
		b = b[1:]
		if len(r) == maxValues {
			return nil, errFrame
		}
		switch kind {
		case 0:
			r = append(r, nil)
		case 1:
			if len(b) < 8 {
				return nil, errFrame
			}
			r = append(r, int64(binary.BigEndian.Uint64(b)))
			b = b[8:]
		case 2, 3:
			if len(b) < 4 || uint64(binary.BigEndian.Uint32(b)) > uint64(len(b)-4) {
				return nil, errFrame
			}
			n := 4 + int(binary.BigEndian.Uint32(b))
			if kind == 2 {
				r = append(r, b[4:n:n])
			} else {
				r = append(r, string(b[4:n]))
			}
			b = b[n:]
		default:
			return nil, errFrame
		}
	}
	return r, nil
}
