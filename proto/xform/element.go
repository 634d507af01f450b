package xform

import (
	"bufio"
	"encoding/xml"
	"io"
	"strings"
)

// element is an element of the XML that is written. Its names have their prefixes already.
type element struct {
	name  string
	attrs [][2]string
	kids  []*element
	// text stands before the kids; mixed, where it is not nil, is text and elements as they follow each other.
	text  string
	mixed []any
}

func el(name string, attrs ...string) *element {
	e := &element{name: name}
	for i := 0; i+1 < len(attrs); i += 2 {
		e.attr(attrs[i], attrs[i+1])
	}
	return e
}

// attr sets an attribute; an empty value leaves it out.
func (e *element) attr(name, value string) {
	if value != "" {
		e.attrs = append(e.attrs, [2]string{name, value})
	}
}

// get is the value of an attribute, "" where there is none.
func (e *element) get(name string) string {
	for _, a := range e.attrs {
		if a[0] == name {
			return a[1]
		}
	}
	return ""
}

func (e *element) add(kids ...*element) *element {
	e.kids = append(e.kids, kids...)
	return e
}

// write writes the element, indented where it holds elements alone.
func (e *element) write(w *bufio.Writer, indent int) {
	pad := strings.Repeat(" ", indent)
	w.WriteString(pad)
	e.inline(w, indent)
	w.WriteByte('\n')
}

func (e *element) inline(w *bufio.Writer, indent int) {
	w.WriteByte('<')
	w.WriteString(e.name)
	for _, a := range e.attrs {
		w.WriteByte(' ')
		w.WriteString(a[0])
		w.WriteString(`="`)
		escape(w, a[1])
		w.WriteByte('"')
	}
	if len(e.kids) == 0 && e.text == "" && len(e.mixed) == 0 {
		w.WriteString("/>")
		return
	}
	w.WriteByte('>')
	escape(w, e.text)
	for _, m := range e.mixed {
		switch m := m.(type) {
		case string:
			escape(w, m)
		case *element:
			m.inline(w, indent)
		}
	}
	if len(e.kids) > 0 {
		w.WriteByte('\n')
		for _, k := range e.kids {
			k.write(w, indent+1)
		}
		w.WriteString(strings.Repeat(" ", indent))
	}
	w.WriteString("</")
	w.WriteString(e.name)
	w.WriteByte('>')
}

// escape writes text; what XML cannot hold becomes the replacement character.
func escape(w io.Writer, s string) {
	_ = xml.EscapeText(w, []byte(s)) // the writer keeps its first error, which Flush returns
}
