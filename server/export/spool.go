package export

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
)

// spoolMemory is how much of the rows is kept in memory before they go to a temporary file.
const spoolMemory = 4 << 20

// spool keeps the rows of an export between the pass in which they are made and counted and those in which each format is
// written: what is written is what was counted, and the interviews are read and taken apart once. A row is its length, its
// table, the cells that are set, each with the distance from the one before, a zero, and the reasons in the same way; one of
// no length is the end of an interview.
type spool struct {
	tables []*Table
	number map[*Table]uint64
	buf    []byte
	file   *scratchFile
	row    []byte
}

func newSpool(p *Plan) *spool {
	s := &spool{tables: p.Tables, number: map[*Table]uint64{}}
	for i, t := range p.Tables {
		s.number[t] = uint64(i)
	}
	return s
}

func (s *spool) add(r *row) error {
	b := binary.AppendUvarint(s.row[:0], s.number[r.table])
	last := -1
	for i := range r.cells {
		c := &r.cells[i]
		if !c.set {
			continue
		}
		b = binary.AppendUvarint(b, uint64(i-last))
		last = i
		switch r.table.Columns[i].Kind {
		case KindText, KindDate:
			b = append(binary.AppendUvarint(b, uint64(len(c.s))), c.s...)
		case KindNumber:
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(c.f))
		default:
			b = binary.AppendVarint(b, c.i)
		}
	}
	b = append(b, 0)
	last = -1
	for q, why := range r.why {
		if why != 0 {
			b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(q-last)), uint64(why))
			last = q
		}
	}
	s.row = append(b, 0)
	return s.put(s.row)
}

// end marks the end of an interview.
func (s *spool) end() error { return s.put(nil) }

func (s *spool) put(record []byte) error {
	s.buf = append(binary.AppendUvarint(s.buf, uint64(len(record))), record...)
	if len(s.buf) < spoolMemory && s.file == nil || len(s.buf) < 64<<10 {
		return nil
	}
	if s.file == nil {
		var err error
		if s.file, err = scratch(spoolName); err != nil {
			return err
		}
	}
	if _, err := s.file.Write(s.buf); err != nil {
		return writeFault(spoolName, err)
	}
	s.buf = s.buf[:0]
	return nil
}

const spoolName = "(rows, before they are written)"

// each yields the rows in the order in which they were added; a row is valid while row runs. After each interview done runs.
func (s *spool) each(row func(*row) error, done func() error) error {
	var in io.Reader = strings.NewReader(string(s.buf))
	if s.file != nil {
		if _, err := s.file.Seek(0, io.SeekStart); err != nil {
			return writeFault(spoolName, err)
		}
		in = io.MultiReader(s.file, in)
	}
	r := bufio.NewReaderSize(in, 256<<10)
	rows := s.rows()
	var b []byte
	for {
		n, err := binary.ReadUvarint(r)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return writeFault(spoolName, err)
		}
		if n == 0 {
			if err := done(); err != nil {
				return err
			}
			continue
		}
		if uint64(cap(b)) < n {
			b = make([]byte, n, 2*n)
		}
		b = b[:n]
		if _, err := io.ReadFull(r, b); err != nil {
			return writeFault(spoolName, err)
		}
		at, err := s.decode(rows, string(b))
		if err != nil {
			return err
		}
		if err := row(at); err != nil {
			return err
		}
	}
}

func (s *spool) rows() []*row {
	rows := make([]*row, len(s.tables))
	for i, t := range s.tables {
		rows[i] = &row{table: t, cells: make([]cell, len(t.Columns)), why: make([]int32, len(t.Questions))}
	}
	return rows
}

// decode fills the row of a record's table. Its texts are parts of the record.
func (s *spool) decode(rows []*row, record string) (*row, error) {
	in := record
	bad := false
	uvarint := func() uint64 {
		var v uint64
		for i := 0; i < len(in) && i < 10; i++ {
			v |= uint64(in[i]&0x7f) << (7 * i)
			if in[i] < 0x80 {
				in = in[i+1:]
				return v
			}
		}
		bad = true
		return 0
	}
	number := uvarint()
	if bad || number >= uint64(len(rows)) {
		return nil, spoolDamaged()
	}
	r := rows[number]
	r.reset()
	at := -1
	for d := uvarint(); d != 0 && !bad; d = uvarint() {
		if at += int(d); at >= len(r.cells) {
			return nil, spoolDamaged()
		}
		c := &r.cells[at]
		c.set = true
		switch r.table.Columns[at].Kind {
		case KindText, KindDate:
			n := uvarint()
			if bad || n > uint64(len(in)) {
				return nil, spoolDamaged()
			}
			c.s, in = in[:n], in[n:]
		case KindNumber:
			if len(in) < 8 {
				return nil, spoolDamaged()
			}
			var bits uint64
			for i := range 8 {
				bits |= uint64(in[i]) << (8 * i)
			}
			c.f, in = math.Float64frombits(bits), in[8:]
		default:
			u := uvarint()
			c.i = int64(u>>1) ^ -int64(u&1)
		}
	}
	at = -1
	for d := uvarint(); d != 0 && !bad; d = uvarint() {
		if at += int(d); at >= len(r.why) {
			return nil, spoolDamaged()
		}
		r.why[at] = int32(uvarint())
	}
	if bad || in != "" {
		return nil, spoolDamaged()
	}
	return r, nil
}

func spoolDamaged() error {
	return fault.New(fault.Internal, "", "the rows kept in the temporary folder are not those that were put there: see to its disk, and export again")
}

// close gives the rows up.
func (s *spool) close() {
	if s.file != nil {
		_ = s.file.Close() // it has no name: nothing stays
		s.file = nil
	}
	s.buf = nil
}
