package sav

import (
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"strings"
)

var le = binary.LittleEndian

const (
	headerSize = 176
	product    = "@(#) SPSS DATA FILE HEARTH"
)

// layout is where a variable stands in a row and in the dictionary.
type layout struct {
	v        *Variable
	shorts   []string // the short names, of each segment
	element  int      // its first, from 1
	segments []int    // widths; one of 0 for a number
	set      *LabelSet
}

// dictionary is what stands before the data, except for the header.
type dictionary struct {
	schema   *Schema
	label    string
	vars     []layout
	at       map[string]int
	elements int
	body     []byte
	size     int // of body
	countAt  int // where in body the 64-bit number of rows is
	cuts     []Cut
}

func newDictionary(s *Schema) *dictionary {
	d := &dictionary{schema: s, at: map[string]int{}}
	d.lay()
	d.label = d.cut("", s.Label[s.first()], maxFileLabel)
	for i := range d.vars {
		d.variable(&d.vars[i])
	}
	for i := range s.LabelSets {
		d.labelSet(&s.LabelSets[i])
	}
	d.documents()
	d.extensions()
	d.ints(999, 0)
	d.size = len(d.body)
	return d
}

func (s *Schema) first() string {
	if len(s.Languages) == 0 {
		return ""
	}
	return s.Languages[0]
}

// lay gives every variable its place and its short name.
func (d *dictionary) lay() {
	names := shortNames{taken: map[string]bool{}}
	sets := map[string]*LabelSet{}
	for i := range d.schema.LabelSets {
		sets[d.schema.LabelSets[i].Name] = &d.schema.LabelSets[i]
	}
	for i := range d.schema.Variables {
		v := &d.schema.Variables[i]
		l := layout{v: v, shorts: []string{names.of(v.Name)}, element: d.elements + 1, set: sets[v.LabelSet]}
		switch {
		case v.Kind != String:
			l.segments = []int{0}
		case v.Width <= maxSegment:
			l.segments = []int{v.Width}
		default:
			n := (v.Width + 251) / 252
			for range n - 1 {
				l.segments = append(l.segments, maxSegment)
			}
			l.segments = append(l.segments, v.Width-252*(n-1))
		}
		for _, w := range l.segments {
			d.elements += elementsOf(w)
		}
		d.vars = append(d.vars, l)
		d.at[fold(v.Name)] = i
	}
	// The names of further segments come last, so that they take none from a variable.
	for i := range d.vars {
		for range len(d.vars[i].segments) - 1 {
			d.vars[i].shorts = append(d.vars[i].shorts, names.of(""))
		}
	}
}

// elementsOf is how many elements of 8 bytes a width takes.
func elementsOf(width int) int { return max(1, (width+7)/8) }

// shortNames makes names of up to 8 letters, digits and _.
type shortNames struct {
	taken map[string]bool
	n     int64
}

func (s *shortNames) of(long string) string {
	var b []byte
	for i := 0; i < len(long) && len(b) < 8; i++ {
		c := long[i]
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c >= 'A' && c <= 'Z' || len(b) > 0 && (c >= '0' && c <= '9' || c == '_') {
			b = append(b, c)
		}
	}
	name := string(b)
	for name == "" || s.taken[name] || slices.Contains(reserved, name) {
		s.n++
		name = "V" + strings.ToUpper(strconv.FormatInt(s.n, 36))
	}
	s.taken[name] = true
	return name
}

func (d *dictionary) ints(list ...int) {
	for _, n := range list {
		d.body = le.AppendUint32(d.body, uint32(int32(n)))
	}
}

func (d *dictionary) floats(list ...float64) {
	for _, f := range list {
		d.body = le.AppendUint64(d.body, math.Float64bits(f))
	}
}

func (d *dictionary) padded(s string, size int) { d.body = appendPadded(d.body, s, size) }

func appendPadded(b []byte, s string, size int) []byte {
	b = append(b, s...)
	for range size - len(s) {
		b = append(b, ' ')
	}
	return b
}

// cut is a label as far as it fits.
func (d *dictionary) cut(variable, s string, limit int) string {
	short := cutText(s, limit)
	if short != s {
		d.cuts = append(d.cuts, Cut{Variable: variable, Full: s})
	}
	return short
}

func cutText(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	end := 0
	for i := range s {
		if i > limit-len("…") {
			break
		}
		end = i
	}
	return s[:end] + "…"
}

// header is the first record.
func (d *dictionary) header(rows int64, zlib bool) []byte {
	magic, compression, count := "$FL2", 1, int32(-1)
	if zlib {
		magic, compression = "$FL3", 2
	}
	if rows <= math.MaxInt32 {
		count = int32(rows)
	}
	weight := 0
	if d.schema.Weight != "" {
		weight = d.vars[d.at[fold(d.schema.Weight)]].element
	}
	b := appendPadded([]byte(magic), product, 60)
	for _, n := range []int{2, d.elements, compression, weight} {
		b = le.AppendUint32(b, uint32(n))
	}
	b = le.AppendUint32(b, uint32(count))
	b = le.AppendUint64(b, math.Float64bits(100))
	if d.schema.Time.IsZero() {
		b = append(b, "01 Jan 7000:00:00"...)
	} else {
		b = d.schema.Time.AppendFormat(b, "02 Jan 0615:04:05")
	}
	b = appendPadded(b, d.label, 64)
	return append(b, 0, 0, 0)
}

// variable writes the records of one variable.
func (d *dictionary) variable(l *layout) {
	v := l.v
	f, _ := v.displayFormat()
	for k, width := range l.segments {
		label, missing, count := "", v.Missing, 0
		if k == 0 {
			label = d.cut(v.Name, v.Label[d.schema.first()], maxVariableLabel)
			count = missing.count(v)
		} else {
			f = format{1, width, 0}
		}
		d.ints(2, width, min(1, len(label)), count, int(f.packed()), int(f.packed()))
		d.padded(l.shorts[k], 8)
		if label != "" {
			d.ints(len(label))
			d.body = append(d.body, label...)
			d.body = append(d.body, make([]byte, -len(label)&3)...)
		}
		if count != 0 {
			d.missing(&missing)
		}
		for range elementsOf(width) - 1 {
			d.ints(2, -1, 0, 0, 0x011d01, 0x011d01)
			d.padded("", 8)
		}
	}
}

// count is the number of missing values as the record of the variable has it.
func (m *MissingValues) count(v *Variable) int {
	switch {
	case m.Range != nil:
		return -2 - len(m.Numbers)
	case v.Kind != String:
		return len(m.Numbers)
	case v.Width <= 8:
		return len(m.Texts)
	}
	return 0
}

func (d *dictionary) missing(m *MissingValues) {
	if m.Range != nil {
		low, high := m.Range[0], m.Range[1]
		if math.IsInf(low, -1) {
			low = math.Float64frombits(lowestOfARange)
		}
		if math.IsInf(high, 1) {
			high = highestOfARange
		}
		d.floats(low, high)
	}
	d.floats(m.Numbers...)
	for _, t := range m.Texts {
		d.padded(t, 8)
	}
}

// labelSet writes the labels of numbers or of short strings, once for all variables that have them.
func (d *dictionary) labelSet(set *LabelSet) {
	var users []int
	for i := range d.vars {
		if l := &d.vars[i]; l.set == set && l.v.Width <= 8 {
			users = append(users, l.element)
		}
	}
	labels := set.worded(d.schema.first())
	for _, l := range labels {
		d.cut(set.Name, l.Text[d.schema.first()], maxValueLabel)
	}
	if len(users) == 0 || len(labels) == 0 {
		return
	}
	d.ints(3, len(labels))
	for _, l := range labels {
		text := cutText(l.Text[d.schema.first()], maxValueLabel)
		if set.OfText {
			d.padded(l.Code, 8)
		} else {
			d.floats(l.Number)
		}
		d.body = append(d.body, byte(len(text)))
		d.padded(text, len(text)+(-len(text)-1)&7)
	}
	d.ints(4, len(users))
	d.ints(users...)
}

// worded are the labels that have a text, in the order of their values.
func (set *LabelSet) worded(lang string) []ValueLabel {
	var out []ValueLabel
	for _, l := range set.Labels {
		if l.Text[lang] != "" {
			l.Code = strings.TrimRight(l.Code, " ")
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(a, b ValueLabel) int {
		switch {
		case set.OfText:
			return strings.Compare(a.Code, b.Code)
		case a.Number < b.Number:
			return -1
		}
		return 1
	})
	return out
}

func (d *dictionary) documents() {
	var lines []string
	for _, doc := range d.schema.Documents {
		for line := range strings.SplitSeq(strings.ReplaceAll(doc, "\r\n", "\n"), "\n") {
			lines = append(lines, wrap(line)...)
		}
	}
	if len(lines) == 0 {
		return
	}
	d.ints(6, len(lines))
	for _, l := range lines {
		d.padded(l, documentLine)
	}
}

// wrap breaks a line after a space if it can, and between characters if not.
func wrap(line string) []string {
	var out []string
	for len(line) > documentLine {
		end, space := 0, 0
		for i, r := range line {
			if i > documentLine {
				break
			}
			end = i
			if r == ' ' {
				space = i + 1
			}
		}
		if space > 1 && space <= documentLine {
			end = space
		}
		out = append(out, strings.TrimRight(line[:end], " "))
		line = line[end:]
	}
	return append(out, line)
}
