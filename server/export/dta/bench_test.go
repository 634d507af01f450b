package dta

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"
)

const (
	benchRows    = 200_000
	benchColumns = 50
)

// benchTable is 50 variables: 20 codes, 10 ints, 8 longs, 5 doubles, 2 dates, a datetime, 4 strings.
func benchTable() (*Schema, [][]Value) {
	s := &Schema{LabelSets: []LabelSet{{Name: "yes", Labels: []ValueLabel{{Code: 1, Text: Wording{"": "yes"}}, {Missing: Refused, Text: Wording{"": "refused"}}}}}}
	for i := range benchColumns {
		v := Variable{Name: fmt.Sprint("v", i), Kind: Byte, LabelSet: "yes"}
		switch {
		case i >= 46:
			v = Variable{Name: v.Name, Kind: String, Width: 12}
		case i >= 45:
			v.Kind = Datetime
		case i >= 43:
			v.Kind = Date
		case i >= 38:
			v.Kind = Double
		case i >= 30:
			v.Kind = Long
		case i >= 20:
			v.Kind = Int
		}
		s.Variables = append(s.Variables, v)
	}
	var rows [][]Value
	for r := range 1_000 {
		var row []Value
		for i, v := range s.Variables {
			n := int64(r*31+i*7) % 100
			switch {
			case v.Kind == String:
				row = append(row, Text(fmt.Sprintf("GY-%d 贵阳", n)))
			case n < 10:
				row = append(row, Missing([]Reason{0, Refused, DontKnow, NotApplicable, NotAsked}[n%5]))
			default:
				row = append(row, benchValue(v.Kind, n))
			}
		}
		rows = append(rows, row)
	}
	return s, rows
}

func benchValue(k Kind, n int64) Value {
	switch k {
	case Double:
		return Real(float64(n) / 7)
	case Date:
		return date(2026, 3, int(n%28)+1)
	case Datetime:
		return Value{kind: isMoment, bits: uint64(n * 1_000_000_007)}
	case Long:
		return Whole(n * 1_000)
	}
	return Whole(n)
}

// bare writes the same bytes as the data section, from the same values, without any check.
func bare(out io.Writer, s *Schema, rows [][]Value) error {
	w := bufio.NewWriterSize(out, bufferSize)
	var b []byte
	for r := range benchRows {
		b = b[:0]
		for i, v := range rows[r%len(rows)] {
			switch k := s.Variables[i].Kind; k {
			case Byte:
				b = append(b, byte(v.bits))
			case Int:
				b = binary.LittleEndian.AppendUint16(b, uint16(v.bits))
			case Long, Date:
				b = binary.LittleEndian.AppendUint32(b, uint32(v.bits))
			case Double:
				b = binary.LittleEndian.AppendUint64(b, v.bits)
			case Datetime:
				b = binary.LittleEndian.AppendUint64(b, math.Float64bits(float64(v.bits)))
			case String:
				b = append(b, v.text...)
				b = append(b, "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"[len(v.text):]...)
			}
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return w.Flush()
}

// BenchmarkWriter writes 200,000 rows of 50 variables to a file, and again in a bare loop; ratio is the one to the other.
func BenchmarkWriter(b *testing.B) {
	s, rows := benchTable()
	var ours, loop int64
	for b.Loop() {
		began := b.Elapsed()
		toFile(b, func(f *os.File) error {
			w, err := NewWriter(f, s, Options{})
			if err != nil {
				return err
			}
			for r := range benchRows {
				if err := w.Row(rows[r%len(rows)]); err != nil {
					return err
				}
			}
			return w.Close()
		})
		middle := b.Elapsed()
		toFile(b, func(f *os.File) error { return bare(f, s, rows) })
		ours += int64(middle - began)
		loop += int64(b.Elapsed() - middle)
	}
	b.ReportMetric(float64(ours)/float64(b.N)/1e9, "s/file")
	b.ReportMetric(float64(ours)/float64(loop), "ratio")
}

func toFile(b *testing.B, fill func(*os.File) error) {
	f, err := os.Create(filepath.Join(b.TempDir(), "f"))
	if err == nil {
		err = fill(f)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		b.Fatal(err)
	}
}
