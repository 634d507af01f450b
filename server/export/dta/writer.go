package dta

import (
	"errors"
	"fmt"
	"io"
)

// Size is what has to be known of the rows before a stream begins.
type Size struct {
	// Rows is their number.
	Rows uint64
	// LongText is the bytes their long strings take in the file.
	LongText uint64
}

// Options say how to write.
type Options struct {
	// Spill keeps the long strings until the rows are written, a temporary file for instance, empty. Without one they
	// are kept in memory.
	Spill io.ReadWriteSeeker
}

// Counter goes over rows as a [Writer] does, and writes nothing. It refuses the rows that the Writer would refuse.
type Counter struct {
	enc  *encoder
	size Size
}

// NewCounter makes a counter, or says what the format cannot hold.
func NewCounter(s *Schema) (*Counter, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	return &Counter{enc: newEncoder(s)}, nil
}

// Row counts one row.
func (c *Counter) Row(values []Value) error {
	if err := c.enc.encode(values); err != nil {
		return err
	}
	c.size.Rows++
	c.size.LongText += uint64(len(c.enc.long))
	c.enc.row, c.enc.long = c.enc.row[:0], c.enc.long[:0]
	return nil
}

// Size is that of the rows so far.
func (c *Counter) Size() Size { return c.size }

const bufferSize = 1 << 16

var errClosed = errors.New("the .dta file is closed already: open another")

// Writer writes one file. It is for one goroutine.
type Writer struct {
	dict   *dictionary
	enc    *encoder
	w      io.Writer
	seek   io.Seeker // nil in a stream
	origin int64
	spill  io.ReadWriteSeeker
	want   Size // of a stream
	long   uint64
	err    error
	closed bool
}

// NewWriter begins a file where ws stands. What the format cannot hold is said before the first byte. The schema must not
// be changed before Close.
func NewWriter(ws io.WriteSeeker, s *Schema, o Options) (*Writer, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	origin, err := ws.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, fmt.Errorf("the .dta file cannot seek, use NewStreamWriter: %w", err)
	}
	w := &Writer{dict: newDictionary(s), enc: newEncoder(s), w: ws, seek: ws, origin: origin, spill: o.Spill}
	return w.begin(make([]byte, len(w.dict.header(0, [sections]uint64{}))))
}

// NewStreamWriter begins a file of a known size on anything that can be written to.
func NewStreamWriter(out io.Writer, s *Schema, size Size, o Options) (*Writer, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	w := &Writer{dict: newDictionary(s), enc: newEncoder(s), w: out, want: size, spill: o.Spill}
	return w.begin(w.dict.header(size.Rows, w.dict.offsets(size.Rows*uint64(w.enc.width), size.LongText)))
}

func (w *Writer) begin(header []byte) (*Writer, error) {
	w.write(header)
	w.write(w.dict.body)
	w.dict.body = nil
	if w.err != nil {
		return nil, w.err
	}
	return w, nil
}

func (w *Writer) write(b []byte) {
	if w.err != nil || len(b) == 0 {
		return
	}
	if _, err := w.w.Write(b); err != nil {
		w.err = fmt.Errorf("writing the .dta file: %w", err)
	}
}

// Cuts are the labels that were too long, in the order of the variables.
func (w *Writer) Cuts() []Cut { return w.dict.cuts }

// Rows is how many rows have been written.
func (w *Writer) Rows() uint64 { return w.enc.rows }

// Row writes one row, with a value for each variable. An [*Error] means that the row cannot be held and was left out;
// any other error is of the file, and is returned from then on. The values may be used again afterwards.
func (w *Writer) Row(values []Value) error {
	if w.err != nil {
		return w.err
	}
	if w.closed {
		return errClosed
	}
	if w.seek == nil && w.enc.rows >= w.want.Rows {
		return &Error{Row: w.enc.rows + 1, Problem: "the stream was begun for fewer rows: count them again"}
	}
	before := len(w.enc.long)
	if err := w.enc.encode(values); err != nil {
		return err
	}
	w.long += uint64(len(w.enc.long) - before)
	if len(w.enc.row) >= bufferSize {
		w.write(w.enc.row)
		w.enc.row = w.enc.row[:0]
	}
	if w.spill != nil && len(w.enc.long) >= bufferSize {
		w.spillLong()
	}
	return w.err
}

func (w *Writer) spillLong() {
	if _, err := w.spill.Write(w.enc.long); err != nil && w.err == nil {
		w.err = fmt.Errorf("keeping the long strings of the .dta file: %w", err)
	}
	w.enc.long = w.enc.long[:0]
}

// Close ends the file. It does not close what it was written to, nor the spill. A file that was not closed, or whose Close
// returned an error, must be thrown away; of a file that can seek, Stata and all others say that it is none.
func (w *Writer) Close() error {
	if w.closed {
		return w.err
	}
	w.closed = true
	if w.err != nil {
		return w.err
	}
	if got := (Size{Rows: w.enc.rows, LongText: w.long}); w.seek == nil && got != w.want {
		w.err = &Error{Problem: fmt.Sprintf("the stream was begun for %d rows with %d bytes of long strings and has %d with %d: "+
			"throw the file away and count again", w.want.Rows, w.want.LongText, got.Rows, got.LongText)}
		return w.err
	}
	w.write(w.enc.row)
	w.write([]byte("</data><strls>"))
	if w.spill != nil {
		w.copySpill()
	} else {
		w.write(w.enc.long)
	}
	w.write([]byte("</strls>"))
	w.write(w.dict.labels)
	w.write([]byte("</stata_dta>"))
	if w.seek != nil {
		w.writeHeader()
	}
	return w.err
}

func (w *Writer) copySpill() {
	w.spillLong()
	if w.err != nil {
		return
	}
	_, err := w.spill.Seek(-int64(w.long), io.SeekCurrent)
	if err == nil {
		_, err = io.CopyN(w.w, w.spill, int64(w.long))
	}
	if err != nil {
		w.err = fmt.Errorf("copying the long strings of the .dta file: %w", err)
	}
}

// writeHeader puts the header before the rest, and goes back to the end.
func (w *Writer) writeHeader() {
	offsets := w.dict.offsets(w.enc.rows*uint64(w.enc.width), w.long)
	for _, step := range []func() error{
		func() error { _, err := w.seek.Seek(w.origin, io.SeekStart); return err },
		func() error { w.write(w.dict.header(w.enc.rows, offsets)); return w.err },
		func() error { _, err := w.seek.Seek(w.origin+int64(offsets[13]), io.SeekStart); return err },
	} {
		if w.err != nil {
			return
		}
		if err := step(); err != nil && w.err == nil {
			w.err = fmt.Errorf("writing the header of the .dta file: %w", err)
		}
	}
}
