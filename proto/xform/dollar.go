package xform

import (
	"regexp"
	"strings"
)

var dollar = regexp.MustCompile(`\$\{\s*(?:last-saved#)?([^}\s]+)\s*\}`)

// find is the node that ${name} means, seen from at: the nearest of those with the name.
func (f *writer) find(name string, at *Node) (*Node, error) {
	var best *Node
	for _, n := range f.byName[name] {
		if best == nil || depth(holding(n, at)) > depth(holding(best, at)) {
			best = n
		}
	}
	if best == nil {
		return nil, &inexpressible{"there is no question " + name}
	}
	return best, nil
}

// dollars writes an expression of an XLSForm with location paths in place of ${name}.
func (f *writer) dollars(text string, at *Node) (string, error) { return f.replace(text, at, 0) }

func (f *writer) replace(text string, at *Node, level int) (string, error) {
	var b strings.Builder
	var quote byte
	// rows are the nodes whose predicates are open, nil for those of lists.
	rows := make([]*Node, level)
	var last *Node
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '[':
			rows = append(rows, last)
		case c == ']' && len(rows) > level:
			rows = rows[:len(rows)-1]
		}
		m := dollar.FindStringSubmatchIndex(text[i:])
		if m == nil || m[0] != 0 {
			if last != nil && c != ' ' {
				last = nil
			}
			b.WriteByte(c)
			continue
		}
		n, err := f.find(text[i+m[2]:i+m[3]], at)
		if err != nil {
			return "", err
		}
		ref := f.reference(n, at, rows)
		if quote == 0 { // "${a}-${b}" is a difference, "/data/a-/data/b" is not
			if s := b.String(); s != "" && nameByte(s[len(s)-1], false) {
				ref = " " + ref
			}
			if end := i + m[1]; end < len(text) && nameByte(text[end], false) {
				ref += " "
			}
		}
		b.WriteString(ref)
		last = n
		i += m[1] - 1
	}
	return b.String(), nil
}

// verbatim is the expression of a column as it stood in the XLSForm, with location paths, where it still is what cel was made
// of and the programs of ODK can read it. Where they cannot, and there is cel, that is to be translated instead.
func (f *writer) verbatim(n *Node, header, cel string, level int) (text string, ok bool, err error) {
	original, ok := Kept(n.Options.GetFormColumns(), header, cel)
	if !ok {
		return "", false, nil
	}
	if text, err = f.replace(original, n, level); err == nil {
		err = readable(text)
	}
	if cel != "" && (err != nil || ambiguous(text)) {
		return "", false, nil
	}
	return text, true, err
}

// ambiguous tells whether programs differ on what an expression means: for some a regular expression has to match the whole
// answer, for others any part of it.
func ambiguous(text string) bool {
	e, err := parseXPath(text)
	if err != nil {
		return false
	}
	found := false
	e.visit(func(e *xpath) {
		if e.kind == "call" && e.text == "regex" && len(e.args) == 2 {
			p := e.args[1]
			found = found || p.kind == "string" && !(strings.HasPrefix(p.text, "^") && strings.HasSuffix(p.text, "$"))
		}
	})
	return found
}

// readable says why an expression is none that the programs of ODK can read.
func readable(text string) error {
	e, err := parseXPath(text)
	if err != nil {
		return &inexpressible{"it cannot be read: " + err.Error()}
	}
	var unknown string
	e.visit(func(e *xpath) {
		if e.kind == "call" && !knownFunction(e.text) {
			unknown = e.text
		}
	})
	if unknown != "" {
		return &inexpressible{"it uses the function " + unknown + ", which the programs of ODK do not know"}
	}
	return nil
}

// reference is the path of a node from a question, or from within the predicates over rows.
func (f *writer) reference(n, at *Node, rows []*Node) string {
	x := f.tree.translator(at, at.Parent)
	if len(rows) == 0 {
		if n.Kind == Repeat {
			return x.fromQuestion(n, false, true)
		}
		return x.fromQuestion(n, false, false)
	}
	if row := rows[len(rows)-1]; row != nil && within(n, row) && n != row {
		return down(row, n)
	}
	return x.fromQuestion(n, true, n.Kind == Repeat)
}

// outputs makes of a label that refers to questions text with their answers in it.
func (f *writer) outputs(text string, at *Node) []any {
	if at == nil || !strings.Contains(text, "${") {
		return []any{text}
	}
	var out []any
	for text != "" {
		m := dollar.FindStringSubmatchIndex(text)
		if m == nil {
			break
		}
		n, err := f.find(text[m[2]:m[3]], at)
		if err != nil {
			f.warn(at, "${"+text[m[2]:m[3]]+"} in its wording", err)
			out = append(out, text[:m[1]])
		} else {
			out = append(out, text[:m[0]], el("output", "value", f.reference(n, at, nil)))
		}
		text = text[m[1]:]
	}
	return append(out, text)
}
