package sav

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"
)

const (
	benchRows    = 200_000
	benchColumns = 50
)

// benchTable is 50 variables: 38 whole numbers, 5 others, 2 dates, a datetime, 4 strings.
func benchTable() (*Schema, [][]Value) {
	s := &Schema{LabelSets: []LabelSet{{Name: "yes", Labels: []ValueLabel{{Number: 1, Text: Wording{"": "yes"}}, {Number: -99, Text: Wording{"": "refused"}}}}}}
	for i := range benchColumns {
		v := Variable{Name: fmt.Sprint("v", i), Kind: Number}
		switch {
		case i >= 46:
			v.Kind, v.Width = String, 12
		case i >= 45:
			v.Kind = Datetime
		case i >= 43:
			v.Kind = Date
		case i < 20:
			v.LabelSet, v.Missing = "yes", MissingValues{Range: &[2]float64{-99, -96}}
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
			case n < 5:
				row = append(row, Value{})
			default:
				row = append(row, benchValue(v.Kind, i, n))
			}
		}
		rows = append(rows, row)
	}
	return s, rows
}

func benchValue(k Kind, i int, n int64) Value {
	switch {
	case k == Date:
		return date(2026, 3, int(n%28)+1)
	case k == Datetime:
		return Moment(time.Unix(n*1_000_007, 0))
	case i >= 38:
		return Real(float64(n) / 7)
	case i >= 30:
		return Whole(n * 1_000)
	}
	return Whole(n)
}

// bare writes the same data from the same values, without any check.
func bare(out io.Writer, s *Schema, rows [][]Value) error {
	w := bufio.NewWriterSize(out, bufferSize)
	var codes, elements []byte
	add := func(c byte) error {
		if codes = append(codes, c); len(codes) < 8 {
			return nil
		}
		_, err := w.Write(codes)
		if err == nil {
			_, err = w.Write(elements)
		}
		codes, elements = codes[:0], elements[:0]
		return err
	}
	for r := range benchRows {
		for i, v := range rows[r%len(rows)] {
			if s.Variables[i].Kind == String {
				for text := v.text + "        "; len(text) >= 8; text = text[8:] {
					elements = append(elements, text[:8]...)
					if err := add(codeElement); err != nil {
						return err
					}
				}
				continue
			}
			c := byte(codeMissing)
			if v.kind != isMissing {
				f := math.Float64frombits(v.bits)
				if v.kind == isWhole {
					f = float64(int64(v.bits))
				}
				if c = byte(int(f) + bias); f > 151 || float64(int(f)) != f {
					c = codeElement
					elements = binary.LittleEndian.AppendUint64(elements, math.Float64bits(f))
				}
			}
			if err := add(c); err != nil {
				return err
			}
		}
	}
	return w.Flush()
}

// BenchmarkWriter writes 200,000 rows of 50 variables to a file, and again in a bare loop; ratio is the one to the other.
func BenchmarkWriter(b *testing.B) {
	b.Run("sav", func(b *testing.B) { benchmark(b, Options{}) })
	b.Run("zsav", func(b *testing.B) { benchmark(b, Options{ZLIB: true}) })
}

func benchmark(b *testing.B, o Options) {
	s, rows := benchTable()
	var ours, loop int64
	for b.Loop() {
		began := b.Elapsed()
		toFile(b, func(f *os.File) error {
			w, err := NewWriter(f, s, o)
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
