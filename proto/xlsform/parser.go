package xlsform

import (
	"fmt"
	"strconv"
)

// parser reads XPath 1.0 as ODK has it, by precedence.
type parser struct {
	tokens []token
	pos    int
	depth  int
}

const maxDepth = 200

// parse reads an expression.
func parse(src string) (expr, error) {
	tokens, err := tokenize(straighten(src))
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	if p.now().kind == tokenEnd {
		return nil, &syntaxError{0, "there is no expression"}
	}
	e, err := p.expression(0)
	if err != nil {
		return nil, err
	}
	if t := p.now(); t.kind != tokenEnd {
		return nil, p.unexpected(t)
	}
	return e, nil
}

func (p *parser) now() token { return p.tokens[p.pos] }

func (p *parser) take() token {
	t := p.tokens[p.pos]
	if t.kind != tokenEnd {
		p.pos++
	}
	return t
}

func (p *parser) symbol(text string) bool {
	if t := p.now(); t.kind == tokenSymbol && t.text == text {
		p.pos++
		return true
	}
	return false
}

func (p *parser) expect(text string) error {
	if p.symbol(text) {
		return nil
	}
	t := p.now()
	if t.kind == tokenEnd {
		return &syntaxError{t.at, "the expression ends where " + text + " should stand"}
	}
	return &syntaxError{t.at, fmt.Sprintf("%q stands where %s should", t.text, text)}
}

func (p *parser) unexpected(t token) error {
	if t.kind == tokenEnd {
		return &syntaxError{t.at, "the expression ends too early"}
	}
	return &syntaxError{t.at, fmt.Sprintf("%q is not expected here", t.text)}
}

var precedence = map[string]int{
	"or": 1, "and": 2, "=": 3, "!=": 3, "<": 4, "<=": 4, ">": 4, ">=": 4, "+": 5, "-": 5, "*": 6, "div": 6, "mod": 6, "|": 8,
}

// expression reads operators that bind more strongly than min.
func (p *parser) expression(min int) (expr, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, &syntaxError{p.now().at, fmt.Sprintf("the expression is nested more than %d deep", maxDepth)}
	}
	defer func() { p.depth-- }()
	left, err := p.unary()
	if err != nil {
		return nil, err
	}
	for {
		t := p.now()
		strength := precedence[t.text]
		if t.kind != tokenOperator || strength == 0 || strength <= min {
			return left, nil
		}
		p.take()
		right, err := p.expression(strength)
		if err != nil {
			return nil, err
		}
		left = &binary{place(t.at), t.text, left, right}
	}
}

// unary reads a sign and what it stands before. It binds more strongly than * and less than |.
func (p *parser) unary() (expr, error) {
	t := p.now()
	if t.kind == tokenOperator && (t.text == "-" || t.text == "+") {
		p.take()
		of, err := p.expression(7)
		if err != nil {
			return nil, err
		}
		if t.text == "+" { // no XPath, but written
			return of, nil
		}
		if n, ok := of.(*number); ok {
			return &number{place(t.at), -n.value, "-" + n.text}, nil
		}
		return &negative{place(t.at), of}, nil
	}
	return p.operand()
}

// operand reads a literal, a call, a parenthesis or a path.
func (p *parser) operand() (expr, error) {
	t := p.now()
	switch t.kind {
	case tokenNumber:
		p.take()
		v, err := strconv.ParseFloat(t.text, 64)
		if err != nil {
			return nil, &syntaxError{t.at, fmt.Sprintf("%q is too large a number", t.text)}
		}
		return &number{place(t.at), v, t.text}, nil
	case tokenString:
		p.take()
		return &literal{place(t.at), t.text}, nil
	case tokenReference:
		p.take()
		return p.filtered(&reference{place(t.at), t.text})
	case tokenName:
		if next := p.tokens[p.pos+1]; next.kind == tokenSymbol && next.text == "(" && t.text != "text" && t.text != "node" {
			c, err := p.call()
			if err != nil {
				return nil, err
			}
			return p.filtered(c)
		}
		return p.path(&path{place: place(t.at)}, false)
	case tokenSymbol:
		switch t.text {
		case "(":
			p.take()
			e, err := p.expression(0)
			if err != nil {
				return nil, err
			}
			if err := p.expect(")"); err != nil {
				return nil, err
			}
			return p.filtered(e)
		case "/", "//":
			p.take()
			return p.path(&path{place: place(t.at), absolute: true}, t.text == "//")
		case ".", "..", "*", "@":
			return p.path(&path{place: place(t.at)}, false)
		}
	}
	return nil, p.unexpected(t)
}

// call reads a function and its arguments.
func (p *parser) call() (expr, error) {
	t := p.take()
	p.take() // (
	c := &call{place: place(t.at), name: t.text}
	if p.symbol(")") {
		return c, nil
	}
	for {
		arg, err := p.expression(0)
		if err != nil {
			return nil, err
		}
		c.args = append(c.args, arg)
		if p.symbol(",") {
			continue
		}
		return c, p.expect(")")
	}
}

// filtered reads predicates and steps after what a path may begin with.
func (p *parser) filtered(from expr) (expr, error) {
	predicates, err := p.predicates()
	if err != nil {
		return nil, err
	}
	t := p.now()
	slash := t.kind == tokenSymbol && (t.text == "/" || t.text == "//")
	if len(predicates) == 0 && !slash {
		return from, nil
	}
	x := &path{place: place(from.at()), from: from}
	if len(predicates) > 0 {
		x.steps = append(x.steps, step{name: ".", axis: "child", predicates: predicates})
	}
	if !slash {
		return x, nil
	}
	p.take()
	return p.path(x, t.text == "//")
}

// predicates reads [...] as often as it stands there.
func (p *parser) predicates() ([]expr, error) {
	var all []expr
	for p.symbol("[") {
		e, err := p.expression(0)
		if err != nil {
			return nil, err
		}
		if err := p.expect("]"); err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

// path reads steps up to where no / follows.
func (p *parser) path(x *path, deep bool) (expr, error) {
	for {
		s, err := p.step()
		if err != nil {
			return nil, err
		}
		s.deep = deep
		x.steps = append(x.steps, s)
		switch {
		case p.symbol("/"):
			deep = false
		case p.symbol("//"):
			deep = true
		default:
			return x, nil
		}
	}
}

// step reads one step.
func (p *parser) step() (step, error) {
	t := p.take()
	s := step{axis: "child", name: t.text}
	switch {
	case t.kind == tokenSymbol && (t.text == "." || t.text == ".." || t.text == "*"):
	case t.kind == tokenSymbol && t.text == "@":
		n := p.take()
		if n.kind != tokenName {
			return s, p.unexpected(n)
		}
		s.axis, s.name = "attribute", n.text
	case t.kind == tokenName || t.kind == tokenReference:
		if p.symbol("::") {
			s.axis = t.text
			n := p.take()
			if n.kind != tokenName && (n.kind != tokenSymbol || n.text != "*") {
				return s, p.unexpected(n)
			}
			s.name = n.text
		}
		if (s.name == "text" || s.name == "node") && p.symbol("(") {
			if err := p.expect(")"); err != nil {
				return s, err
			}
			if s.name += "()"; s.axis == "self" || s.name == "text()" {
				s.name, s.axis = ".", "child"
			}
		}
		if s.axis == "parent" {
			s.name, s.axis = "..", "child"
		}
		if s.axis == "self" {
			s.name, s.axis = ".", "child"
		}
	default:
		return s, p.unexpected(t)
	}
	var err error
	s.predicates, err = p.predicates()
	return s, err
}
