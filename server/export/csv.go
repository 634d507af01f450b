package export

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// csvWriter writes one file per table: RFC 4180, UTF-8 with a byte order mark, lines ended by CR LF. Answers stand
// there as they were given; encoding/csv would drop the carriage returns within them.
type csvWriter struct {
	files map[*Table]*hashedFile
	order []*hashedFile
}

func newCSVWriter(j *job, layouts map[*Table]*layout) (formatWriter, error) {
	w := &csvWriter{files: map[*Table]*hashedFile{}}
	for _, t := range j.plan.Tables {
		f, err := j.sink.create("csv/" + t.Name + ".csv")
		if err != nil {
			return w, err
		}
		w.files[t] = f
		w.order = append(w.order, f)
		line := []byte("\ufeff")
		for i, s := range layouts[t].slots {
			if i > 0 {
				line = append(line, ',')
			}
			line = appendQuoted(line, s.name)
		}
		if _, err := f.Write(append(line, "\r\n"...)); err != nil {
			return w, err
		}
	}
	return w, nil
}

func (w *csvWriter) write(l *layout, r *row) error {
	b := l.buf[:0]
	for i, s := range l.slots {
		if i > 0 {
			b = append(b, ',')
		}
		if s.column == nil {
			if y := r.why[s.question]; y != 0 {
				b = append(b, reason(y)...)
			}
			continue
		}
		b = appendCell(b, s.column.Kind, &r.cells[s.col])
	}
	b = append(b, "\r\n"...)
	l.buf = b
	_, err := w.files[l.table].Write(b)
	return err
}

func (w *csvWriter) close() error {
	for _, f := range w.order {
		if err := f.close(); err != nil {
			return err
		}
	}
	return nil
}

func (w *csvWriter) abort() {}

func appendCell(b []byte, kind Kind, c *cell) []byte {
	if !c.set {
		return b
	}
	switch kind {
	case KindInteger, KindCode, KindYesNo:
		return strconv.AppendInt(b, c.i, 10)
	case KindNumber:
		return appendNumber(b, c.f)
	case KindTime:
		return appendTime(b, c.i)
	default:
		return appendQuoted(b, c.s)
	}
}

// appendNumber writes no exponent where that is short enough to read.
func appendNumber(b []byte, f float64) []byte {
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e15) {
		return strconv.AppendFloat(b, f, 'g', -1, 64)
	}
	return strconv.AppendFloat(b, f, 'f', -1, 64)
}

func appendTime(b []byte, ms int64) []byte {
	t := time.UnixMilli(ms).UTC()
	if ms%1000 == 0 {
		return t.AppendFormat(b, "2006-01-02T15:04:05Z")
	}
	return t.AppendFormat(b, "2006-01-02T15:04:05.000Z")
}

func appendQuoted(b []byte, s string) []byte {
	if !strings.ContainsAny(s, ",\"\r\n") && !strings.HasPrefix(s, " ") && !strings.HasSuffix(s, " ") {
		return append(b, s...)
	}
	b = append(b, '"')
	for i := range len(s) {
		if s[i] == '"' {
			b = append(b, '"')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}
