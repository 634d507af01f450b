package xform

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// xpath is a node of a parsed XPath expression.
type xpath struct {
	// kind is "number", "string", "path", "call" or the operator.
	kind string
	text string // of a literal, or a function's name
	args []*xpath
	// from is what a path begins with: nil for the context, or a call such as instance('x'). absolute: with the root.
	from     *xpath
	absolute bool
	steps    []xstep
}

type xstep struct {
	name string // a name with its prefix, ".", "..", "*", "@name"; "//" where any depth may be between
	pred []*xpath
}

// parseXPath parses an expression of XPath 1.0. Clients fail on a form whose expressions they cannot parse, or never say so.
func parseXPath(text string) (*xpath, error) {
	p := &xparser{in: text}
	p.next()
	e := p.binary(0)
	if p.err == nil && p.tok != "" {
		p.fail("%q is not expected", p.tok)
	}
	return e, p.err
}

// maxXPathDepth bounds recursion; a bracket takes seven.
const maxXPathDepth = 3500

type xparser struct {
	in    string
	at    int
	tok   string // "" at the end
	what  byte   // 'n' name, '0' number, '"' string, 'o' operator or bracket
	prev  byte   // what the token before was, to tell * and names of operators
	depth int
	err   error
}

func (p *xparser) fail(format string, args ...any) *xpath {
	if p.err == nil {
		p.err = fmt.Errorf(format+" at character %d", append(args, utf8.RuneCountInString(p.in[:min(p.at, len(p.in))]))...)
	}
	p.tok, p.what, p.at = "", 0, len(p.in)
	return &xpath{kind: "string"}
}

func nameByte(c byte, first bool) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80 || !first && (c == '-' || c == '.' || c >= '0' && c <= '9')
}

func (p *xparser) next() {
	p.prev = p.what
	if p.tok == ")" || p.tok == "]" {
		p.prev = 'n'
	}
	for p.at < len(p.in) && strings.IndexByte(" \t\r\n", p.in[p.at]) >= 0 {
		p.at++
	}
	if p.tok, p.what = "", 0; p.at >= len(p.in) {
		return
	}
	begin, c := p.at, p.in[p.at]
	switch {
	case c == '\'' || c == '"':
		end := strings.IndexByte(p.in[p.at+1:], c)
		if end < 0 {
			p.fail("a text that begins with %c does not end", c)
			return
		}
		p.at += end + 2
		p.what = '"'
	case c >= '0' && c <= '9' || c == '.' && begin+1 < len(p.in) && p.in[begin+1] >= '0' && p.in[begin+1] <= '9':
		for p.at < len(p.in) && (p.in[p.at] >= '0' && p.in[p.at] <= '9' || p.in[p.at] == '.') {
			p.at++
		}
		p.what = '0'
	case nameByte(c, true):
		for p.at < len(p.in) && nameByte(p.in[p.at], false) {
			p.at++
		}
		if p.at+1 < len(p.in) && p.in[p.at] == ':' && nameByte(p.in[p.at+1], true) {
			for p.at++; p.at < len(p.in) && nameByte(p.in[p.at], false); p.at++ {
			}
		}
		p.what = 'n'
		if plain := strings.Replace(p.in[begin:p.at], ":", "", 1); !xmlName(plain) {
			p.fail("%q is no name", p.in[begin:p.at])
			return
		}
	default:
		p.at++
		for _, two := range []string{"..", "//", "!=", "<=", ">=", "::"} {
			if strings.HasPrefix(p.in[begin:], two) {
				p.at = begin + 2
			}
		}
		p.what = 'o'
	}
	p.tok = p.in[begin:p.at]
}

var xlevels = [][]string{{"or"}, {"and"}, {"=", "!="}, {"<", ">", "<=", ">="}, {"+", "-"}, {"*", "div", "mod"}}

// isOperator tells whether the token is one of the operators: names and * are only after an operand.
func (p *xparser) isOperator(ops []string) bool {
	if p.what == '"' || p.what == 0 {
		return false
	}
	for _, op := range ops {
		if p.tok == op {
			return true
		}
	}
	return false
}

func (p *xparser) binary(level int) *xpath {
	if p.depth++; p.depth > maxXPathDepth {
		return p.fail("brackets are nested more than %d deep", maxXPathDepth/7)
	}
	defer func() { p.depth-- }()
	if level == len(xlevels) {
		return p.unary()
	}
	left := p.binary(level + 1)
	for p.err == nil && p.isOperator(xlevels[level]) {
		op := p.tok
		p.next()
		left = &xpath{kind: op, args: []*xpath{left, p.binary(level + 1)}}
	}
	return left
}

func (p *xparser) unary() *xpath {
	if p.tok == "-" && p.what == 'o' {
		p.next()
		p.depth++
		defer func() { p.depth-- }()
		if p.depth > maxXPathDepth {
			return p.fail("signs are nested too deep")
		}
		return &xpath{kind: "neg", args: []*xpath{p.unary()}}
	}
	left := p.pathExpr()
	for p.err == nil && p.tok == "|" {
		p.next()
		left = &xpath{kind: "|", args: []*xpath{left, p.pathExpr()}}
	}
	return left
}

func (p *xparser) pathExpr() *xpath {
	tok, what := p.tok, p.what
	switch {
	case what == 0:
		return p.fail("the expression ends too early")
	case what == '"':
		p.next()
		return &xpath{kind: "string", text: tok[1 : len(tok)-1]}
	case what == '0':
		p.next()
		if strings.Count(tok, ".") > 1 {
			return p.fail("%q is no number", tok)
		}
		return &xpath{kind: "number", text: tok}
	case tok == "$":
		return p.fail("variables are not known in forms")
	case tok == "(":
		p.next()
		e := p.binary(0)
		p.expect(")")
		return p.follow(e)
	case tok == "/" || tok == "//":
		e := &xpath{kind: "path", absolute: true}
		p.next()
		if tok == "//" {
			e.steps = append(e.steps, xstep{name: "//"})
		}
		if p.what == 'n' || p.tok == "*" || p.tok == "@" || p.tok == "." || p.tok == ".." {
			p.steps(e)
		}
		return e
	case what == 'n' && p.peek() == '(':
		return p.follow(p.call())
	case what == 'n' || tok == "." || tok == ".." || tok == "@" || tok == "*":
		e := &xpath{kind: "path"}
		p.steps(e)
		return e
	}
	return p.fail("%q is not expected", tok)
}

// peek is the next byte that is no space.
func (p *xparser) peek() byte {
	for i := p.at; i < len(p.in); i++ {
		if strings.IndexByte(" \t\r\n", p.in[i]) < 0 {
			return p.in[i]
		}
	}
	return 0
}

func (p *xparser) expect(tok string) {
	if p.err != nil {
		return
	}
	if p.tok != tok {
		if p.tok == "" {
			p.fail("%q is missing", tok)
			return
		}
		p.fail("%q stands where %q should", p.tok, tok)
		return
	}
	p.next()
}

func (p *xparser) call() *xpath {
	e := &xpath{kind: "call", text: p.tok}
	p.next()
	p.expect("(")
	for p.err == nil && p.tok != ")" {
		e.args = append(e.args, p.binary(0))
		if p.tok != "," {
			break
		}
		p.next()
	}
	p.expect(")")
	return e
}

// follow reads predicates and steps after a bracket or a function.
func (p *xparser) follow(e *xpath) *xpath {
	if p.err != nil || p.tok != "[" && p.tok != "/" && p.tok != "//" {
		return e
	}
	out := &xpath{kind: "path", from: e}
	if p.tok == "[" {
		out.steps = append(out.steps, xstep{name: ".", pred: p.predicates()})
	}
	switch p.tok {
	case "//":
		out.steps = append(out.steps, xstep{name: "//"})
		p.next()
		p.steps(out)
	case "/":
		p.next()
		p.steps(out)
	}
	return out
}

func (p *xparser) predicates() []*xpath {
	var out []*xpath
	for p.err == nil && p.tok == "[" {
		p.next()
		out = append(out, p.binary(0))
		p.expect("]")
	}
	return out
}

func (p *xparser) steps(e *xpath) {
	for p.err == nil {
		s := xstep{name: p.tok}
		switch {
		case p.tok == "@":
			p.next()
			s.name = "@" + p.tok
			if p.what != 'n' {
				p.fail("the name of an attribute is missing")
			}
		case p.what == 'n' || p.tok == "." || p.tok == ".." || p.tok == "*":
		default:
			p.fail("a name is missing after /")
			return
		}
		p.next()
		if p.tok == "::" {
			p.fail("only the axes child, parent and self are known in forms, as /name, .. and .")
			return
		}
		s.pred = p.predicates()
		e.steps = append(e.steps, s)
		if p.tok == "//" {
			e.steps = append(e.steps, xstep{name: "//"})
		} else if p.tok != "/" {
			return
		}
		p.next()
	}
}

// visit goes through an expression, predicates and arguments too.
func (e *xpath) visit(f func(*xpath)) {
	if e == nil {
		return
	}
	f(e)
	for _, a := range e.args {
		a.visit(f)
	}
	e.from.visit(f)
	for _, s := range e.steps {
		for _, p := range s.pred {
			p.visit(f)
		}
	}
}

// knownFunction tells whether the programs of ODK know a function.
func knownFunction(name string) bool { return strings.Contains(xpathFunctions, " "+name+" ") }

const xpathFunctions = " string concat join substr substring substring-before substring-after translate string-length normalize-space contains" +
	" starts-with ends-with uuid digest pulldata if coalesce once true false boolean boolean-from-string not regex checklist weighted-checklist" +
	" number random int sum max min round pow log log10 abs sin cos tan asin acos atan atan2 sqrt exp exp10 pi ceiling floor count count-non-empty" +
	" position instance current randomize today now format-date format-date-time date date-time decimal-date-time decimal-time selected selected-at" +
	" count-selected jr:choice-name jr:itext indexed-repeat area distance geofence base64-decode last local-name name namespace-uri property" +
	" thousands-sep intersects extract-signed version "
