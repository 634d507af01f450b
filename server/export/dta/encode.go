package dta

import (
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// column is a variable as rows are written.
type column struct {
	name   string
	kind   Kind
	offset int
	width  int
	number int // from 1
}

// encoder turns rows into bytes.
type encoder struct {
	columns  []column
	width    int
	rowShift uint // bits of the variable in a reference to a long string
	maxRows  uint64
	sorted   []int // columns
	last     []Value

	rows uint64
	row  []byte // the rows not yet taken
	long []byte // the long strings not yet taken
}

func newEncoder(s *Schema) *encoder {
	e := &encoder{rowShift: 16, maxRows: maxRows118}
	if len(s.Variables) > maxVariables118 {
		e.rowShift, e.maxRows = 24, maxRows119
	}
	at := make(map[string]int, len(s.Variables))
	for i := range s.Variables {
		v := &s.Variables[i]
		e.columns = append(e.columns, column{name: v.Name, kind: v.Kind, offset: e.width, width: v.width(), number: i + 1})
		e.width += v.width()
		at[v.Name] = i
	}
	for _, name := range s.SortedBy {
		e.sorted = append(e.sorted, at[name])
	}
	return e
}

// encode appends a row to e.row and its long strings to e.long, or nothing if it cannot be held.
func (e *encoder) encode(values []Value) error {
	if len(values) != len(e.columns) {
		return &Error{Row: e.rows + 1, Problem: "it has not as many values as there are variables: give one for each"}
	}
	if e.rows >= e.maxRows {
		return &Error{Row: e.rows + 1, Problem: "a Stata file does not hold more rows: split the table"}
	}
	start, long := len(e.row), len(e.long)
	e.row = slices.Grow(e.row, e.width)[:start+e.width]
	row := e.row[start:]
	for i := range e.columns {
		c := &e.columns[i]
		if wrong := e.put(row[c.offset:c.offset+c.width], c, &values[i]); wrong != "" {
			e.row, e.long = e.row[:start], e.long[:long]
			return &Error{Variable: c.name, Row: e.rows + 1, Problem: wrong}
		}
	}
	if wrong := e.outOfOrder(values); wrong != "" {
		e.row, e.long = e.row[:start], e.long[:long]
		return &Error{Row: e.rows + 1, Problem: wrong}
	}
	e.rows++
	return nil
}

// put writes one value, or says why not.
func (e *encoder) put(b []byte, c *column, v *Value) string {
	if c.kind == String || c.kind == LongString {
		return e.putText(b, c, v)
	}
	if v.kind == isMissing {
		return putMissing(b, c.kind, v.reason)
	}
	switch c.kind {
	case Byte, Int, Long:
		n, ok := v.asWhole()
		if !ok {
			return "the value is not a whole number: give one, or make the variable a Double"
		}
		return putWhole(b, c.kind, n)
	case Double:
		return putDouble(b, v)
	case Date:
		days := int64(v.bits)
		if v.kind != isDay {
			return "the value is not a day: give Day or Missing"
		}
		if days < firstDay || days > lastDay {
			return "the date is not in the years 100 to 9999 that Stata knows: correct it or give Missing"
		}
		le.PutUint32(b, uint32(days))
	case Datetime:
		ms := int64(v.bits)
		if v.kind != isMoment {
			return "the value is not a point in time: give Moment or Missing"
		}
		if ms < firstDay*msPerDay || ms >= (lastDay+1)*msPerDay {
			return "the time is not in the years 100 to 9999 that Stata knows: correct it or give Missing"
		}
		le.PutUint64(b, math.Float64bits(float64(ms)))
	}
	return ""
}

// The first day of the year 100 and the last of 9999, from the start of 1960.
const (
	firstDay = -679_350
	lastDay  = 2_936_549
	msPerDay = secondsPerDay * 1000
)

func putWhole(b []byte, k Kind, n int64) string {
	switch k {
	case Byte:
		if n < -127 || n > 100 {
			return "the value is not in the range of a byte, -127 to 100: make the variable an Int"
		}
		b[0] = byte(n)
	case Int:
		if n < -32_767 || n > 32_740 {
			return "the value is not in the range of an int, -32,767 to 32,740: make the variable a Long"
		}
		le.PutUint16(b, uint16(n))
	default:
		if n < minCode || n > maxCode {
			return "the value is not in the range of a long, -2,147,483,647 to 2,147,483,620: make the variable a Double"
		}
		le.PutUint32(b, uint32(n))
	}
	return ""
}

var maxDouble = math.Float64frombits(0x7fdfffffffffffff)

func putDouble(b []byte, v *Value) string {
	var f float64
	switch v.kind {
	case isReal:
		f = math.Float64frombits(v.bits)
	case isWhole:
		f = float64(int64(v.bits))
		if n := int64(v.bits); n > 1<<53 || n < -(1<<53) {
			return "the whole number is beyond 2^53, where a double is not exact: make the variable a String"
		}
	default:
		return "the value is not a number: give Real, Whole or Missing"
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return "the value is not a number, or infinite: give Missing"
	}
	if f > maxDouble {
		return "the value is over 8.988e307, where Stata's missing values are: give Missing"
	}
	le.PutUint64(b, math.Float64bits(f))
	return ""
}

func putMissing(b []byte, k Kind, r Reason) string {
	m := missingIndex(r)
	if m < 0 {
		return "the reason for a missing value is not one of a to z: correct it"
	}
	switch k {
	case Byte:
		b[0] = byte(101 + m)
	case Int:
		le.PutUint16(b, uint16(32_741+m))
	case Long, Date:
		le.PutUint32(b, uint32(maxCode+1+m))
	default:
		le.PutUint64(b, 0x7fe0000000000000+uint64(m)<<40)
	}
	return ""
}

func (e *encoder) putText(b []byte, c *column, v *Value) string {
	switch {
	case v.kind == isMissing && v.reason == 0, v.kind == isText:
	case v.kind == isMissing:
		return "a string has no missing values with a reason in Stata: keep the reason in a variable of its own"
	default:
		return "the value is not a text: give Text"
	}
	s := v.text
	switch {
	case !utf8.ValidString(s):
		return "the text is not UTF-8: convert it"
	case strings.IndexByte(s, 0) >= 0:
		return "the text has a zero byte: remove it"
	}
	if c.kind == String {
		if len(s) > c.width {
			return "the text is longer than the width of the variable: widen it, or make it a LongString"
		}
		clear(b[copy(b, s):])
		return ""
	}
	if s == "" {
		clear(b)
		return ""
	}
	if len(s) > maxLongBytes {
		return "the text is over Stata's 2,000,000,000 bytes: shorten it"
	}
	row := e.rows + 1
	le.PutUint64(b, uint64(c.number)|row<<e.rowShift)
	g := append(e.long, "GSO"...)
	g = le.AppendUint32(g, uint32(c.number))
	g = le.AppendUint64(g, row)
	g = append(g, 130)
	g = le.AppendUint32(g, uint32(len(s)+1))
	e.long = append(append(g, s...), 0)
	return ""
}

// outOfOrder says why a row does not follow the last one in the order of SortedBy.
func (e *encoder) outOfOrder(values []Value) string {
	if len(e.sorted) == 0 {
		return ""
	}
	if e.last == nil {
		e.last = make([]Value, len(e.sorted))
	} else {
		for i, k := range e.sorted {
			cmp := e.last[i].compare(&values[k])
			if cmp > 0 {
				return "it is not in the order of SortedBy: sort the rows, or do not say that they are"
			}
			if cmp < 0 {
				break
			}
		}
	}
	for i, k := range e.sorted {
		e.last[i] = values[k]
	}
	return ""
}
