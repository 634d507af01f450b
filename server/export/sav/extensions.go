package sav

import (
	"math"
	"strconv"
	"strings"
)

// extensions writes the records of type 7, in the order of their subtypes.
func (d *dictionary) extensions() {
	d.ints(7, 3, 4, 8, 1, 0, 0, -1, 1, 1, 2, 65001)
	d.ints(7, 4, 8, 3)
	d.floats(systemMissing, highestOfARange, math.Float64frombits(lowestOfARange))
	d.extension(7, d.multiple())
	d.display()
	d.extension(13, d.longNames())
	d.extension(14, d.longWidths())
	d.ints(7, 16, 8, 2, 1, 0)
	d.countAt = len(d.body)
	d.ints(0, 0)
	d.extension(17, d.fileAttributes())
	d.extension(18, d.variableAttributes())
	d.extension(20, "UTF-8")
	d.extension(21, d.longLabels())
	d.extension(22, d.longMissing())
}

// extension writes a record of bytes, if there are any.
func (d *dictionary) extension(subtype int, content string) {
	if content == "" {
		return
	}
	d.ints(7, subtype, 1, len(content))
	d.body = append(d.body, content...)
}

func counted(s string) string { return strconv.Itoa(len(s)) + " " + s }

// multiple is the multiple-response sets.
func (d *dictionary) multiple() string {
	var b strings.Builder
	for _, m := range d.schema.Multiple {
		b.WriteString("$" + m.Name + "=")
		switch first := d.vars[d.at[fold(m.Variables[0])]].v; {
		case m.Categories:
			b.WriteString("C")
		case first.Kind == String:
			b.WriteString("D" + counted(m.CountedText))
		default:
			b.WriteString("D" + counted(strconv.FormatInt(m.Counted, 10)))
		}
		label := oneLine(m.Label[d.schema.first()])
		b.WriteString(" " + counted(d.cut(m.Name, label, maxValueLabel)))
		for _, name := range m.Variables {
			b.WriteString(" " + strings.ToLower(d.vars[d.at[fold(name)]].shorts[0]))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// display is the level, the columns and the alignment of each segment.
func (d *dictionary) display() {
	segments := 0
	for i := range d.vars {
		segments += len(d.vars[i].segments)
	}
	d.ints(7, 11, 4, 3*segments)
	for i := range d.vars {
		v := d.vars[i].v
		measure, columns, align := int(v.Measure), v.Columns, int(v.Align)-1
		if v.Measure == Unset {
			measure = int(Scale)
			if v.Kind == String || v.LabelSet != "" {
				measure = int(Nominal)
			}
		}
		if v.Align == Usual {
			align = 1
			if v.Kind == String {
				align = 0
			}
		}
		if columns == 0 {
			f, _ := v.displayFormat()
			columns = min(max(f.width, 8), 32)
		}
		for range d.vars[i].segments {
			d.ints(measure, columns, align)
		}
	}
}

func (d *dictionary) longNames() string {
	pairs := make([]string, len(d.vars))
	for i := range d.vars {
		pairs[i] = d.vars[i].shorts[0] + "=" + d.vars[i].v.Name
	}
	return strings.Join(pairs, "\t")
}

func (d *dictionary) longWidths() string {
	var b strings.Builder
	for i := range d.vars {
		if l := &d.vars[i]; len(l.segments) > 1 {
			width := strconv.Itoa(l.v.Width)
			b.WriteString(l.shorts[0] + "=" + "00000"[len(width):] + width + "\x00\t")
		}
	}
	return b.String()
}

// oneLine has spaces for line breaks.
func oneLine(s string) string {
	if !strings.ContainsAny(s, "\r\n") {
		return s
	}
	return strings.NewReplacer("\r\n", " ", "\n", " ", "\r", " ").Replace(s)
}

func attribute(b *strings.Builder, name string, values ...string) {
	b.WriteString(name + "(")
	for _, v := range values {
		b.WriteString("'" + oneLine(v) + "'\n")
	}
	b.WriteString(")")
}

func (d *dictionary) fileAttributes() string {
	var b strings.Builder
	s := d.schema
	for _, a := range s.Attributes {
		attribute(&b, a.Name, a.Values...)
	}
	if len(s.Languages) > 0 {
		attribute(&b, "Languages", s.Languages...)
	}
	d.labelAttributes(&b, s.Label, d.label)
	return b.String()
}

// labelAttributes writes a label in the other languages, and in the first if it was cut.
func (d *dictionary) labelAttributes(b *strings.Builder, label Wording, cut string) {
	if full := label[d.schema.first()]; full != cut {
		attribute(b, "FullLabel", full)
	}
	for n, lang := range d.schema.Languages {
		if text := label[lang]; n > 0 && text != "" {
			attribute(b, "Label_"+lang, text)
		}
	}
}

func (d *dictionary) variableAttributes() string {
	var all strings.Builder
	for i := range d.vars {
		v, set := d.vars[i].v, d.vars[i].set
		var b strings.Builder
		for _, a := range v.Attributes {
			attribute(&b, a.Name, a.Values...)
		}
		d.labelAttributes(&b, v.Label, cutText(v.Label[d.schema.first()], maxVariableLabel))
		if set != nil {
			d.setAttributes(&b, set)
		}
		if v.Role != Input {
			attribute(&b, "$@Role", strconv.Itoa(int(v.Role)))
		}
		if b.Len() == 0 {
			continue
		}
		if all.Len() > 0 {
			all.WriteString("/")
		}
		all.WriteString(v.Name + ":" + b.String())
	}
	return all.String()
}

// setAttributes writes value labels in the other languages, and in the first those that were cut.
func (d *dictionary) setAttributes(b *strings.Builder, set *LabelSet) {
	var full []string
	for _, l := range set.worded(d.schema.first()) {
		if text := l.Text[d.schema.first()]; len(text) > maxValueLabel {
			full = append(full, set.value(l)+"="+text)
		}
	}
	if len(full) > 0 {
		attribute(b, "FullValueLabels", full...)
	}
	for n, lang := range d.schema.Languages {
		if n == 0 {
			continue
		}
		var texts []string
		for _, l := range set.worded(lang) {
			texts = append(texts, set.value(l)+"="+l.Text[lang])
		}
		if len(texts) > 0 {
			attribute(b, "ValueLabels_"+lang, texts...)
		}
	}
}

func (set *LabelSet) value(l ValueLabel) string {
	if set.OfText {
		return l.Code
	}
	return strconv.FormatFloat(l.Number, 'g', -1, 64)
}

func appendInt(b []byte, n int) []byte { return le.AppendUint32(b, uint32(n)) }

// longLabels is the value labels of strings over 8 bytes.
func (d *dictionary) longLabels() string {
	var b []byte
	for i := range d.vars {
		v, set := d.vars[i].v, d.vars[i].set
		if set == nil || v.Width <= 8 {
			continue
		}
		labels := set.worded(d.schema.first())
		if len(labels) == 0 {
			continue
		}
		b = append(appendInt(b, len(v.Name)), v.Name...)
		b = appendInt(appendInt(b, v.Width), len(labels))
		for _, l := range labels {
			text := cutText(l.Text[d.schema.first()], maxValueLabel)
			b = appendPadded(appendInt(b, v.Width), l.Code, v.Width)
			b = append(appendInt(b, len(text)), text...)
		}
	}
	return string(b)
}

// longMissing is the missing values of strings over 8 bytes.
func (d *dictionary) longMissing() string {
	var b []byte
	for i := range d.vars {
		v := d.vars[i].v
		if v.Width <= 8 || len(v.Missing.Texts) == 0 {
			continue
		}
		b = append(appendInt(b, len(v.Name)), v.Name...)
		b = appendInt(append(b, byte(len(v.Missing.Texts))), 8)
		for _, t := range v.Missing.Texts {
			b = appendPadded(b, t, 8)
		}
	}
	return string(b)
}
