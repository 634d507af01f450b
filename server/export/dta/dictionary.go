package dta

import (
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

var le = binary.LittleEndian

// sections is the number of offsets in the map.
const sections = 14

// dictionary is the parts of a file that the schema alone decides.
type dictionary struct {
	schema *Schema
	wide   bool // format 119
	label  string
	body   []byte // from <variable_types> to <data>
	size   int    // of body
	starts []int  // of the sections in body
	labels []byte // <value_labels>
	cuts   []Cut
	full   map[string][]string // of the cuts, by variable
}

func newDictionary(s *Schema) *dictionary {
	d := &dictionary{schema: s, wide: len(s.Variables) > maxVariables118, full: map[string][]string{}}
	d.label = d.cut("", s.first(), s.Label[s.first()])
	d.section("variable_types", func() {
		for i := range s.Variables {
			d.body = le.AppendUint16(d.body, s.Variables[i].stored())
		}
	})
	d.section("varnames", func() { d.each(129, func(v *Variable) string { return v.Name }) })
	d.section("sortlist", d.sortList)
	d.section("formats", func() { d.each(57, (*Variable).format) })
	d.section("value_label_names", func() { d.each(129, func(v *Variable) string { return v.LabelSet }) })
	d.section("variable_labels", func() {
		d.each(321, func(v *Variable) string { return d.cut(v.Name, s.first(), v.Label[s.first()]) })
	})
	d.section("characteristics", d.characteristics)
	d.starts = append(d.starts, len(d.body))
	d.body = append(d.body, "<data>"...)
	d.size = len(d.body)
	d.labels = append(d.labels, "<value_labels>"...)
	for n, lang := range s.languages() {
		for i := range s.LabelSets {
			d.labelSet(&s.LabelSets[i], n, lang)
		}
	}
	d.labels = append(d.labels, "</value_labels>"...)
	return d
}

// header is the file up to the end of the map.
func (d *dictionary) header(rows uint64, offsets [sections]uint64) []byte {
	b := []byte("<stata_dta><header><release>118</release><byteorder>LSF</byteorder><K>")
	if d.wide {
		b = []byte("<stata_dta><header><release>119</release><byteorder>LSF</byteorder><K>")
		b = le.AppendUint32(b, uint32(len(d.schema.Variables)))
	} else {
		b = le.AppendUint16(b, uint16(len(d.schema.Variables)))
	}
	b = append(b, "</K><N>"...)
	b = le.AppendUint64(b, rows)
	b = append(b, "</N><label>"...)
	b = le.AppendUint16(b, uint16(len(d.label)))
	b = append(append(b, d.label...), "</label><timestamp>"...)
	if d.schema.Time.IsZero() {
		b = append(b, 0)
	} else {
		b = append(b, 17)
		b = d.schema.Time.AppendFormat(b, "02 Jan 2006 15:04")
	}
	b = append(b, "</timestamp></header>"...)
	offsets[1] = uint64(len(b))
	b = append(b, "<map>"...)
	for _, o := range offsets {
		b = le.AppendUint64(b, o)
	}
	return append(b, "</map>"...)
}

// offsets are those of the map, for a data section and a section of long strings of these lengths, without their tags.
func (d *dictionary) offsets(data, long uint64) (m [sections]uint64) {
	start := uint64(len(d.header(0, m)))
	for i, s := range d.starts {
		m[2+i] = start + uint64(s)
	}
	m[10] = start + uint64(d.size) + data + uint64(len("</data>"))
	m[11] = m[10] + uint64(len("<strls></strls>")) + long
	m[12] = m[11] + uint64(len(d.labels))
	m[13] = m[12] + uint64(len("</stata_dta>"))
	return m
}

func (d *dictionary) section(name string, fill func()) {
	d.starts = append(d.starts, len(d.body))
	d.body = append(d.body, "<"+name+">"...)
	fill()
	d.body = append(d.body, "</"+name+">"...)
}

func (d *dictionary) each(size int, text func(*Variable) string) {
	for i := range d.schema.Variables {
		d.body = appendFixed(d.body, text(&d.schema.Variables[i]), size)
	}
}

func appendFixed(b []byte, s string, size int) []byte {
	b = append(b, s...)
	return append(b, make([]byte, size-len(s))...)
}

func (d *dictionary) sortList() {
	for i := range len(d.schema.Variables) + 1 {
		n := 0
		if i < len(d.schema.SortedBy) {
			n = 1 + slices.IndexFunc(d.schema.Variables, func(v Variable) bool { return v.Name == d.schema.SortedBy[i] })
		}
		if d.wide {
			d.body = le.AppendUint32(d.body, uint32(n))
		} else {
			d.body = le.AppendUint16(d.body, uint16(n))
		}
	}
}

// cut is a label as far as it fits.
func (d *dictionary) cut(variable, language, s string) string {
	if utf8.RuneCountInString(s) <= maxLabelChars {
		return s
	}
	d.cuts = append(d.cuts, Cut{Variable: variable, Language: language, Full: s})
	if !slices.Contains(d.full[variable], s) {
		d.full[variable] = append(d.full[variable], s)
	}
	n := 0
	for i := range s {
		if n++; n == maxLabelChars {
			return s[:i] + "…"
		}
	}
	return s
}

func (d *dictionary) char(owner, name, text string) {
	d.body = append(d.body, "<ch>"...)
	d.body = le.AppendUint32(d.body, uint32(129+129+len(text)+1))
	d.body = appendFixed(d.body, owner, 129)
	d.body = appendFixed(d.body, name, 129)
	d.body = append(append(d.body, text...), 0)
	d.body = append(d.body, "</ch>"...)
}

func (d *dictionary) characteristics() {
	s := d.schema
	if len(s.Languages) > 0 {
		d.char("_dta", "_lang_c", s.Languages[0])
		d.char("_dta", "_lang_list", strings.Join(s.Languages, " "))
	}
	d.translations("", "_dta", s.Label, nil)
	d.notes("_dta", "", s.Notes, s.Characteristics)
	sets := map[string]*LabelSet{}
	for i := range s.LabelSets {
		sets[s.LabelSets[i].Name] = &s.LabelSets[i]
	}
	for i := range s.Variables {
		v := &s.Variables[i]
		d.translations(v.Name, v.Name, v.Label, sets[v.LabelSet])
		d.notes(v.Name, v.Name, v.Notes, v.Characteristics)
	}
}

func (d *dictionary) translations(variable, owner string, label Wording, set *LabelSet) {
	for n, lang := range d.schema.languages() {
		if n == 0 {
			continue
		}
		if text := d.schema.pick(label, lang); text != "" {
			d.char(owner, "_lang_v_"+lang, d.cut(variable, lang, text))
		}
		if set != nil {
			d.char(owner, "_lang_l_"+lang, set.in(n, lang))
		}
	}
}

// notes writes the notes, those of cut labels first.
func (d *dictionary) notes(owner, variable string, given []string, chars []Characteristic) {
	var notes []string
	for _, full := range d.full[variable] {
		if !slices.Contains(given, full) {
			notes = append(notes, full)
		}
	}
	notes = append(notes, given...)
	if len(notes) > 0 {
		d.char(owner, "note0", strconv.Itoa(len(notes)))
	}
	for i, n := range notes {
		d.char(owner, "note"+strconv.Itoa(i+1), n)
	}
	for _, c := range chars {
		d.char(owner, c.Name, c.Text)
	}
}

func (d *dictionary) labelSet(set *LabelSet, n int, lang string) {
	labels := slices.Clone(set.Labels)
	slices.SortFunc(labels, func(a, b ValueLabel) int { return int(int64(a.code()) - int64(b.code())) })
	var offsets, codes, texts []byte
	count := 0
	for _, l := range labels {
		text := d.schema.pick(l.Text, lang)
		if text == "" {
			continue
		}
		count++
		offsets = le.AppendUint32(offsets, uint32(len(texts)))
		codes = le.AppendUint32(codes, uint32(l.code()))
		texts = append(append(texts, text...), 0)
	}
	b := append(d.labels, "<lbl>"...)
	b = le.AppendUint32(b, uint32(8+len(offsets)+len(codes)+len(texts)))
	b = appendFixed(b, set.in(n, lang), 129+3)
	b = le.AppendUint32(b, uint32(count))
	b = le.AppendUint32(b, uint32(len(texts)))
	b = append(append(append(b, offsets...), codes...), texts...)
	d.labels = append(b, "</lbl>"...)
}

// languages are those of the schema, at least one.
func (s *Schema) languages() []string {
	if len(s.Languages) == 0 {
		return []string{""}
	}
	return s.Languages
}

func (s *Schema) first() string { return s.languages()[0] }

// pick is the wording in a language, or else in the first.
func (s *Schema) pick(w Wording, lang string) string {
	if text := w[lang]; text != "" {
		return text
	}
	return w[s.first()]
}

// in is the name of the set in the n-th language.
func (set *LabelSet) in(n int, lang string) string {
	if n == 0 {
		return set.Name
	}
	return set.Name + "_" + lang
}

func (l ValueLabel) code() int32 {
	if l.Missing != 0 {
		return maxCode + 1 + int32(missingIndex(l.Missing))
	}
	return l.Code
}

func (v *Variable) width() int {
	switch v.Kind {
	case Byte:
		return 1
	case Int:
		return 2
	case Long, Date:
		return 4
	case String:
		return v.Width
	}
	return 8
}

// stored is the type as the file has it.
func (v *Variable) stored() uint16 {
	switch v.Kind {
	case Byte:
		return 65530
	case Int:
		return 65529
	case Long, Date:
		return 65528
	case String:
		return uint16(v.Width)
	case LongString:
		return 32768
	}
	return 65526
}

func (v *Variable) format() string {
	if v.Format != "" {
		return v.Format
	}
	switch v.Kind {
	case Byte, Int:
		return "%8.0g"
	case Long:
		return "%12.0g"
	case Double:
		return "%10.0g"
	case Date:
		return "%td"
	case Datetime:
		return "%tc"
	case String:
		return "%" + strconv.Itoa(max(9, v.Width)) + "s"
	}
	return "%9s"
}
