package sav

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
)

// Options say how to write.
type Options struct {
	// ZLIB makes a .zsav, smaller and slower. Without it the file is a .sav.
	ZLIB bool
}

// Counter goes over rows as a [Writer] does, and writes nothing. It refuses the rows that the Writer would refuse.
type Counter struct{ enc *encoder }

// NewCounter makes a counter, or says what the format cannot hold.
func NewCounter(s *Schema) (*Counter, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	return &Counter{enc: newEncoder(newDictionary(s))}, nil
}

// Row counts one row.
func (c *Counter) Row(values []Value) error {
	err := c.enc.encode(values)
	c.enc.buf, c.enc.codes, c.enc.used = c.enc.buf[:0], 0, 8
	return err
}

// Rows is how many rows there were.
func (c *Counter) Rows() int64 { return c.enc.rows }

const (
	bufferSize = 1 << 16
	blockSize  = 0x3ff000
	blockEntry = 24
)

var errClosed = errors.New("the .sav file is closed already: open another")

// Writer writes one file. It is for one goroutine.
type Writer struct {
	dict   *dictionary
	enc    *encoder
	w      io.Writer
	seek   io.Seeker // nil in a stream
	origin int64
	at     int64 // from origin
	want   int64 // rows of a stream
	zlib   bool
	blocks []block
	pack   *zlib.Writer
	packed bytes.Buffer
	err    error
	closed bool
}

// block is a piece of the data of a .zsav.
type block struct{ size, packed int }

// NewWriter begins a file where ws stands. What the format cannot hold is said before the first byte. The schema must not
// be changed before Close.
func NewWriter(ws io.WriteSeeker, s *Schema, o Options) (*Writer, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	origin, err := ws.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, fmt.Errorf("the .sav file cannot seek, use NewStreamWriter: %w", err)
	}
	w := &Writer{w: ws, seek: ws, origin: origin, zlib: o.ZLIB}
	return w.begin(s, make([]byte, headerSize))
}

// NewStreamWriter begins a .sav of a known number of rows on anything that can be written to.
func NewStreamWriter(out io.Writer, s *Schema, rows int64, o Options) (*Writer, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	if o.ZLIB {
		return nil, problem("", "a .zsav cannot be streamed: write it to a file, or write a .sav")
	}
	if rows < 0 {
		return nil, problem("", "the number of rows is negative: count them")
	}
	w := &Writer{w: out, want: rows}
	return w.begin(s, nil)
}

func (w *Writer) begin(s *Schema, header []byte) (*Writer, error) {
	w.dict = newDictionary(s)
	w.enc = newEncoder(w.dict)
	if header == nil {
		header = w.dict.header(w.want, false)
		le.PutUint64(w.dict.body[w.dict.countAt:], uint64(w.want))
	}
	w.write(header)
	w.write(w.dict.body)
	w.dict.body = nil
	if w.zlib {
		w.pack = zlib.NewWriter(&w.packed)
		w.write(make([]byte, blockEntry))
	}
	if w.err != nil {
		return nil, w.err
	}
	return w, nil
}

func (w *Writer) write(b []byte) {
	if w.err != nil || len(b) == 0 {
		return
	}
	n, err := w.w.Write(b)
	w.at += int64(n)
	if err != nil {
		w.err = fmt.Errorf("writing the .sav file: %w", err)
	}
}

// Cuts are the labels that were too long.
func (w *Writer) Cuts() []Cut { return w.dict.cuts }

// Rows is how many rows have been written.
func (w *Writer) Rows() int64 { return w.enc.rows }

// Row writes one row, with a value for each variable. An [*Error] means that the row cannot be held and was left out;
// any other error is of the file, and is returned from then on. The values may be used again afterwards.
func (w *Writer) Row(values []Value) error {
	if w.err != nil {
		return w.err
	}
	if w.closed {
		return errClosed
	}
	if w.seek == nil && w.enc.rows >= w.want {
		return &Error{Row: w.enc.rows + 1, Problem: "the stream was begun for fewer rows: count them again"}
	}
	if err := w.enc.encode(values); err != nil {
		return err
	}
	w.flush()
	return w.err
}

// flush writes what is complete and enough.
func (w *Writer) flush() {
	n := w.enc.complete()
	if w.zlib {
		done := 0
		for ; n-done >= blockSize; done += blockSize {
			w.writeBlock(w.enc.buf[done : done+blockSize])
		}
		if done > 0 {
			w.enc.drop(done)
		}
		return
	}
	if n >= bufferSize {
		w.write(w.enc.buf[:n])
		w.enc.drop(n)
	}
}

func (w *Writer) writeBlock(b []byte) {
	w.packed.Reset()
	w.pack.Reset(&w.packed)
	_, err := w.pack.Write(b)
	if err = errors.Join(err, w.pack.Close()); err != nil && w.err == nil {
		w.err = fmt.Errorf("packing the .zsav file: %w", err)
	}
	w.blocks = append(w.blocks, block{len(b), w.packed.Len()})
	w.write(w.packed.Bytes())
}

// Close ends the file. It does not close what it was written to. A file that was not closed, or whose Close returned an
// error, must be thrown away; of a file that can seek, SPSS and all others say that it is none.
func (w *Writer) Close() error {
	if w.closed {
		return w.err
	}
	w.closed = true
	if w.err != nil {
		return w.err
	}
	if w.seek == nil && w.enc.rows != w.want {
		w.err = &Error{Problem: fmt.Sprintf("the stream was begun for %d rows and has %d: throw the file away and count again",
			w.want, w.enc.rows)}
		return w.err
	}
	w.enc.code(codeEnd)
	w.enc.used = 8
	w.flush()
	var zheader []byte
	if w.zlib {
		zheader = w.endBlocks()
	} else {
		w.write(w.enc.buf)
	}
	if w.seek == nil {
		return w.err
	}
	end := w.at
	if w.zlib {
		w.writeAt(headerSize+int64(w.dict.size), zheader)
	}
	w.writeAt(headerSize+int64(w.dict.countAt), le.AppendUint64(nil, uint64(w.enc.rows)))
	w.writeAt(0, w.dict.header(w.enc.rows, w.zlib))
	w.writeAt(end, nil)
	return w.err
}

// endBlocks writes the last block and the trailer, and returns the header of the data.
func (w *Writer) endBlocks() []byte {
	if len(w.enc.buf) > 0 {
		w.writeBlock(w.enc.buf)
	}
	start, trailer := headerSize+int64(w.dict.size), w.at
	b := le.AppendUint64(nil, uint64(-bias&(1<<64-1)))
	b = le.AppendUint64(b, 0)
	b = appendInt(appendInt(b, blockSize), len(w.blocks))
	plain, packed := start, start+blockEntry
	for _, k := range w.blocks {
		b = le.AppendUint64(le.AppendUint64(b, uint64(plain)), uint64(packed))
		b = appendInt(appendInt(b, k.size), k.packed)
		plain, packed = plain+int64(k.size), packed+int64(k.packed)
	}
	w.write(b)
	h := le.AppendUint64(nil, uint64(start))
	return le.AppendUint64(le.AppendUint64(h, uint64(trailer)), uint64(len(b)))
}

// writeAt goes to a place and writes there.
func (w *Writer) writeAt(at int64, b []byte) {
	if w.err != nil {
		return
	}
	if _, err := w.seek.Seek(w.origin+at, io.SeekStart); err != nil {
		w.err = fmt.Errorf("writing the header of the .sav file: %w", err)
		return
	}
	w.write(b)
}
