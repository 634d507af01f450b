package export

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// jsonWriter writes one file per table, an object in each line (JSON Lines): the variables that have a value, in the
// questionnaire's order. Several answers are an array.
type jsonWriter struct {
	job   *job
	files map[*Table]*hashedFile
	order []*hashedFile
	lost  losses
	buf   []byte
}

func newJSONWriter(j *job, _ map[*Table]*layout) (formatWriter, error) {
	w := &jsonWriter{job: j, files: map[*Table]*hashedFile{}, lost: losses{}}
	for _, t := range j.plan.Tables {
		f, err := j.sink.create("jsonl/" + t.Name + ".jsonl")
		if err != nil {
			return w, err
		}
		w.files[t] = f
		w.order = append(w.order, f)
	}
	return w, nil
}

func (w *jsonWriter) write(l *layout, r *row) error {
	w.buf = append(appendObject(w.buf[:0], l, r, w.lost), '\n')
	_, err := w.files[l.table].Write(w.buf)
	return err
}

func (w *jsonWriter) close() error {
	for _, f := range w.order {
		if err := f.close(); err != nil {
			return err
		}
	}
	w.job.warnings = append(w.job.warnings, w.lost.warnings(FormatName(servicev1.ExportFormat_EXPORT_FORMAT_JSONL))...)
	return nil
}

func (w *jsonWriter) abort() {}

// appendObject writes a row as an object, and counts what JSON cannot hold.
func appendObject(b []byte, l *layout, r *row, lost losses) []byte {
	b = append(b, '{')
	first := true
	for _, s := range l.slots {
		if s.column == nil && r.why[s.question] == 0 || s.column != nil && !r.cells[s.col].set {
			continue
		}
		if s.column != nil && s.column.Kind == KindNumber && !finite(r.cells[s.col].f) {
			lost.add(l.table, s.name, lostNumber)
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(append(append(b, '"'), s.name...), '"', ':')
		if s.column == nil {
			b = appendString(b, reason(r.why[s.question]))
			continue
		}
		b = appendJSON(b, s.column, &r.cells[s.col])
	}
	return append(b, '}')
}

func appendJSON(b []byte, c *Column, v *cell) []byte {
	switch {
	case c.list != listNone:
		b = append(b, '[')
		for i, item := range splitItems(v.s) {
			if i > 0 {
				b = append(b, ',')
			}
			if _, err := strconv.ParseInt(item, 10, 64); err == nil && c.list == listWhole {
				b = append(b, item...)
				continue
			}
			b = appendString(b, item)
		}
		return append(b, ']')
	case c.Kind == KindInteger || c.Kind == KindCode || c.Kind == KindYesNo:
		return strconv.AppendInt(b, v.i, 10)
	case c.Kind == KindNumber:
		return appendNumber(b, v.f)
	case c.Kind == KindTime:
		return append(appendTime(append(b, '"'), v.i), '"')
	}
	return appendString(b, v.s)
}

// appendString writes a text; bytes that are no text become U+FFFD, as everything that reads JSON would make of them.
func appendString(b []byte, s string) []byte {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' || r == '"' || r == '\\' || r == '\u2028' || r == '\u2029' || r == 0x7f
	}) {
		return append(append(append(b, '"'), s...), '"')
	}
	quoted, err := json.Marshal(s)
	if err != nil {
		return append(b, `""`...) // a string is always marshalled
	}
	return append(b, quoted...)
}

// listKind is what the values of a column are that holds several answers, with a semicolon between.
type listKind uint8

const (
	listNone listKind = iota
	listWhole
	listText
)

// splitItems takes apart what joinList put together.
func splitItems(s string) []string {
	if !strings.Contains(s, `\`) {
		return strings.Split(s, ";")
	}
	var out []string
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] == ';':
			out = append(out, b.String())
			b.Reset()
		default:
			b.WriteByte(s[i])
		}
	}
	return append(out, b.String())
}
