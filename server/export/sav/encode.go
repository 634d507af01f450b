package sav

import (
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// The codes of packed data.
const (
	codeEnd     = 252
	codeElement = 253
	codeSpaces  = 254
	codeMissing = 255
	bias        = 100
)

// column is a variable as rows are written.
type column struct {
	name     string
	kind     Kind
	width    int
	segments []int
	missing  *MissingValues
}

// encoder turns rows into packed data.
type encoder struct {
	columns []column
	rows    int64
	buf     []byte
	codes   int // where in buf the last group of codes begins
	used    int // of that group
}

func newEncoder(d *dictionary) *encoder {
	e := &encoder{used: 8}
	for i := range d.vars {
		l := &d.vars[i]
		e.columns = append(e.columns, column{l.v.Name, l.v.Kind, l.v.Width, l.segments, &l.v.Missing})
	}
	return e
}

// encode appends a row to e.buf, or nothing if it cannot be held.
func (e *encoder) encode(values []Value) error {
	if len(values) != len(e.columns) {
		return &Error{Row: e.rows + 1, Problem: "it has not as many values as there are variables: give one for each"}
	}
	size, codes, used := len(e.buf), e.codes, e.used
	for i := range e.columns {
		c := &e.columns[i]
		if wrong := e.put(c, &values[i]); wrong != "" {
			e.buf, e.codes, e.used = e.buf[:size], codes, used
			if used < 8 {
				clear(e.buf[codes+used : codes+8])
			}
			return &Error{Variable: c.name, Row: e.rows + 1, Problem: wrong}
		}
	}
	e.rows++
	return nil
}

// code adds a code.
func (e *encoder) code(c byte) {
	if e.used == 8 {
		e.codes, e.used = len(e.buf), 0
		e.buf = append(e.buf, 0, 0, 0, 0, 0, 0, 0, 0)
	}
	e.buf[e.codes+e.used] = c
	e.used++
}

// complete is how much of buf will not change.
func (e *encoder) complete() int {
	if e.used == 8 {
		return len(e.buf)
	}
	return e.codes
}

// drop forgets the first n bytes of buf, which are complete.
func (e *encoder) drop(n int) {
	e.buf = e.buf[:copy(e.buf, e.buf[n:])]
	e.codes = max(0, e.codes-n)
}

func (e *encoder) put(c *column, v *Value) string {
	if c.kind == String {
		return e.putText(c, v)
	}
	if v.kind == isMissing {
		e.code(codeMissing)
		return ""
	}
	switch {
	case v.kind == isWhole || v.kind == isReal:
		f, wrong := v.number()
		if wrong != "" {
			return wrong
		}
		if c.kind != Number && !c.missing.has(f) {
			return "the value is neither a date nor one of the variable's missing values: give Day or Moment, or declare it"
		}
		e.putNumber(f)
		return ""
	case c.kind == Date && v.kind == isDay, c.kind == Datetime && v.kind == isMoment:
		f := math.Float64frombits(v.bits)
		if f < firstSecond || f >= endOf9999 {
			return "the date is not between 15 October 1582 and the end of 9999: correct it or give the zero Value"
		}
		e.putNumber(f)
		return ""
	}
	return "the value does not fit the kind of the variable: give Whole or Real for a Number, Day for a Date, Moment for a Datetime"
}

func (e *encoder) putNumber(f float64) {
	if f >= 1-bias && f <= 251-bias {
		if n := int(f); float64(n) == f {
			e.code(byte(n + bias))
			return
		}
	}
	e.code(codeElement)
	e.buf = le.AppendUint64(e.buf, math.Float64bits(f))
}

func (m *MissingValues) has(f float64) bool {
	return m.Range != nil && f >= m.Range[0] && f <= m.Range[1] || slices.Contains(m.Numbers, f)
}

const spaces = "        "

func (e *encoder) putText(c *column, v *Value) string {
	if v.kind != isText && v.kind != isMissing {
		return "the value is not a text: give Text"
	}
	s := v.text
	switch {
	case len(s) > c.width:
		return "the text is longer than the width of the variable: widen it"
	case !utf8.ValidString(s):
		return "the text is not UTF-8: convert it"
	case strings.IndexByte(s, 0) >= 0:
		return "the text has a zero byte: remove it"
	}
	for _, width := range c.segments {
		part := s[:min(len(s), width)]
		s = s[len(part):]
		for range elementsOf(width) {
			element := part[:min(len(part), 8)]
			part = part[len(element):]
			if strings.HasPrefix(spaces, element) {
				e.code(codeSpaces)
				continue
			}
			e.code(codeElement)
			e.buf = append(append(e.buf, element...), spaces[len(element):]...)
		}
	}
	return ""
}
