package xform

import "strings"

// formula is a condition of XPath that is either true or false, never without outcome: what CEL leaves without outcome is
// made explicit by translating every condition twice, to the formula that says when it is true and to the one that says
// when it is false.
type formula struct {
	op   byte // '&', '|', '!', 'a' an atom, '1' true, '0' false
	kids []*formula
	text string
	// other is the atom that is true where this one is false, "" where only not() says so.
	other string
}

var (
	always = &formula{op: '1'}
	never  = &formula{op: '0'}
)

func atom(text, other string) *formula { return &formula{op: 'a', text: text, other: other} }

// and is true where all are; parts that are there twice are written once.
func and(parts ...*formula) *formula { return join('&', always, never, parts) }

func or(parts ...*formula) *formula { return join('|', never, always, parts) }

func join(op byte, neutral, absorbing *formula, parts []*formula) *formula {
	var kids []*formula
	seen := map[string]bool{}
	var add func([]*formula) bool
	add = func(parts []*formula) bool {
		for _, p := range parts {
			switch p.op {
			case neutral.op:
				continue
			case absorbing.op:
				return false
			case op:
				if !add(p.kids) {
					return false
				}
				continue
			}
			if s := p.String(); !seen[s] {
				seen[s] = true
				kids = append(kids, p)
			}
		}
		return true
	}
	if !add(parts) {
		return absorbing
	}
	switch len(kids) {
	case 0:
		return neutral
	case 1:
		return kids[0]
	}
	return &formula{op: op, kids: kids}
}

func not(f *formula) *formula {
	switch {
	case f.op == '1':
		return never
	case f.op == '0':
		return always
	case f.op == '!':
		return f.kids[0]
	case f.op == 'a' && f.other != "":
		return atom(f.other, f.text)
	}
	return &formula{op: '!', kids: []*formula{f}}
}

// given is the formula where an atom is known to be true.
func (f *formula) given(text string) *formula {
	switch f.op {
	case 'a':
		if f.text == text {
			return always
		}
		if f.other == text {
			return never
		}
	case '!':
		return not(f.kids[0].given(text))
	case '&', '|':
		parts := make([]*formula, len(f.kids))
		for i, k := range f.kids {
			parts[i] = k.given(text)
		}
		if f.op == '&' {
			return and(parts...)
		}
		return or(parts...)
	}
	return f
}

// conjuncts are the parts all of which are true where f is.
func (f *formula) conjuncts() map[string]bool {
	out := map[string]bool{}
	if f.op == '&' {
		for _, k := range f.kids {
			out[k.String()] = true
		}
	}
	out[f.String()] = true
	return out
}

// String writes the formula; parts of an or are put in parentheses within an and.
func (f *formula) String() string {
	switch f.op {
	case '1':
		return "true()"
	case '0':
		return "false()"
	case 'a':
		return f.text
	case '!':
		return "not(" + f.kids[0].String() + ")"
	}
	word := " and "
	if f.op == '|' {
		word = " or "
	}
	parts := make([]string, len(f.kids))
	for i, k := range f.kids {
		parts[i] = k.String()
		if k.op == '|' && f.op == '&' {
			parts[i] = "(" + parts[i] + ")"
		}
	}
	return strings.Join(parts, word)
}

// condition is a boolean expression of CEL: when it is true, when it is false, and what suffices for its being one of them.
type condition struct {
	t, f *formula
	// needs are formulas which, where all are true, leave the condition with an outcome. None: it always has one.
	needs []*formula
}

func total(t *formula) condition { return condition{t: t, f: not(t)} }

// outcome is true where the condition has one.
func (c condition) outcome() *formula {
	if len(c.needs) == 0 {
		return always
	}
	return or(c.t, c.f)
}

func (c condition) negate() condition { return condition{t: c.f, f: c.t, needs: c.needs} }

// without are the needs that given does not yet promise.
func without(needs []*formula, given map[string]bool) []*formula {
	var out []*formula
	for _, n := range needs {
		if !given[n.String()] {
			out = append(out, n)
		}
	}
	return out
}

// both is && over all parts: false where one is false, whatever the others.
func both(parts []condition) condition {
	var out condition
	var all, any []*formula
	given := map[string]bool{}
	for _, p := range parts {
		all, any = append(all, p.t), append(any, p.f)
		if len(p.needs) == 0 {
			for s := range p.t.conjuncts() {
				given[s] = true
			}
		}
	}
	out.t, out.f = and(all...), or(any...)
	for _, p := range parts {
		out.needs = append(out.needs, without(p.needs, given)...)
	}
	return out
}

// either is || over all parts.
func either(parts []condition) condition {
	turned := make([]condition, len(parts))
	for i, p := range parts {
		turned[i] = p.negate()
	}
	return both(turned).negate()
}

// choose is c ? a : b.
func choose(c, a, b condition) condition {
	return condition{
		t:     or(and(c.t, a.t), and(c.f, b.t)),
		f:     or(and(c.t, a.f), and(c.f, b.f)),
		needs: append(append(append([]*formula(nil), c.needs...), without(a.needs, c.t.conjuncts())...), without(b.needs, c.f.conjuncts())...),
	}
}

// literal writes a string of XPath, which has no escapes.
func literal(s string) string {
	if !strings.Contains(s, "'") {
		return "'" + s + "'"
	}
	if !strings.Contains(s, `"`) {
		return `"` + s + `"`
	}
	var parts []string
	for i, p := range strings.Split(s, "'") {
		if i > 0 {
			parts = append(parts, `"'"`)
		}
		if p != "" {
			parts = append(parts, "'"+p+"'")
		}
	}
	return "concat(" + strings.Join(parts, ", ") + ")"
}
