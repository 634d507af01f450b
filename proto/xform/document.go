package xform

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
)

// xmlNode is an element of a form that is checked, without its namespace.
type xmlNode struct {
	name string
	// prefixed: the element's namespace is not that of XForms.
	prefixed bool
	attrs    map[string]string
	kids     []*xmlNode
	parent   *xmlNode
	text     string
}

// MaxBytes is the largest form that is read.
const MaxBytes = 64 << 20

const (
	maxElements = 5_000_000
	maxDepth    = 200
)

const xformsNamespace = "http://www.w3.org/2002/xforms"

// readDocument reads a form into a tree.
func readDocument(r io.Reader) (*xmlNode, error) {
	limited := &io.LimitedReader{R: r, N: MaxBytes + 1}
	d := xml.NewDecoder(limited)
	var root, at *xmlNode
	depth, elements := 0, 0
	for {
		tok, err := d.Token()
		if limited.N <= 0 {
			return nil, fault.New(fault.TooLarge, fault.BadXForm, "the file has more than %d MB", MaxBytes>>20)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			line, column := d.InputPos()
			return nil, fault.New(fault.Invalid, fault.BadXForm, "the file is no XML that can be read, in line %d, column %d: %w", line, column, err)
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			if depth++; depth > maxDepth {
				return nil, fault.New(fault.Invalid, fault.BadXForm, "the file nests elements more than %d deep", maxDepth)
			}
			if elements++; elements > maxElements {
				return nil, fault.New(fault.TooLarge, fault.BadXForm, "the file has more than %d elements", maxElements)
			}
			n := &xmlNode{name: tok.Name.Local, prefixed: tok.Name.Space != xformsNamespace, parent: at}
			for _, a := range tok.Attr {
				if n.attrs == nil {
					n.attrs = make(map[string]string, len(tok.Attr))
				}
				n.attrs[a.Name.Local] = strings.TrimSpace(a.Value)
			}
			switch {
			case at != nil:
				at.kids = append(at.kids, n)
			case root == nil:
				root = n
			}
			at = n
		case xml.EndElement:
			depth--
			at.text = strings.TrimSpace(at.text)
			at = at.parent
		case xml.CharData:
			if at != nil {
				at.text += string(tok)
			}
		}
	}
	if root == nil {
		return nil, fault.New(fault.Invalid, fault.BadXForm, "the file is empty")
	}
	return root, nil
}

func (n *xmlNode) attr(name string) string {
	if n == nil {
		return ""
	}
	return n.attrs[name]
}

// child is the first element of a name, nil where there is none.
func (n *xmlNode) child(name string) *xmlNode {
	if n == nil {
		return nil
	}
	for _, k := range n.kids {
		if k.name == name {
			return k
		}
	}
	return nil
}

// all are the elements of a name.
func (n *xmlNode) all(name string) []*xmlNode {
	if n == nil {
		return nil
	}
	var out []*xmlNode
	for _, k := range n.kids {
		if k.name == name {
			out = append(out, k)
		}
	}
	return out
}

// parentAll are the element and its brothers of the same name.
func (n *xmlNode) parentAll() []*xmlNode {
	if n.parent == nil {
		return []*xmlNode{n}
	}
	return n.parent.all(n.name)
}

func (n *xmlNode) visit(f func(*xmlNode)) {
	f(n)
	for _, k := range n.kids {
		k.visit(f)
	}
}
