package xform

import (
	"strconv"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
)

// Precedences of XPath's operators.
const (
	precAdd   = 5
	precTimes = 6
	precMinus = 7
	precPath  = 9
)

func (v value) in(prec int) string {
	if v.prec < prec {
		return "(" + v.text + ")"
	}
	return v.text
}

// call translates operators, macros and functions.
func (x *translator) call(c ast.CallExpr) value {
	args := c.Args()
	switch c.FunctionName() {
	case operators.LogicalAnd:
		return boolean(both(x.operands(operators.LogicalAnd, c)))
	case operators.LogicalOr:
		return boolean(either(x.operands(operators.LogicalOr, c)))
	case operators.LogicalNot:
		return boolean(x.cond(args[0]).negate())
	case operators.Conditional:
		cond := x.cond(args[0])
		switch cond.t.op {
		case '1':
			return x.eval(args[1])
		case '0':
			if len(cond.needs) == 0 {
				return x.eval(args[2])
			}
		}
		return x.pick(cond, x.eval(args[1]), x.eval(args[2]))
	case operators.Negate:
		v := x.asNumber(x.eval(args[0]))
		if v.lit != nil {
			return negated(v)
		}
		v.text, v.prec, v.branches = "-"+v.in(precMinus), precMinus, nil
		return v
	case operators.Index:
		if name, ok := x.eval(args[1]).lit.(string); ok {
			return x.sel(x.eval(args[0]), name)
		}
		return x.fail("it takes one of a list by its place")
	case operators.In:
		return boolean(x.among(x.eval(args[0]), x.eval(args[1])))
	case "has":
		return boolean(x.has(x.eval(args[0])))
	}
	if op, ok := comparisons[c.FunctionName()]; ok {
		return boolean(x.compare(op, x.eval(args[0]), x.eval(args[1])))
	}
	if op, ok := arithmetic[c.FunctionName()]; ok {
		return x.arithmetic(op, x.eval(args[0]), x.eval(args[1]))
	}
	if c.IsMemberFunction() && macros[c.FunctionName()] {
		return x.macro(c.FunctionName(), c.Target(), args)
	}
	if c.IsMemberFunction() {
		args = append([]ast.Expr{c.Target()}, args...)
	}
	return x.function(c.FunctionName(), args)
}

func negated(v value) value {
	switch l := v.lit.(type) {
	case int64:
		return fixed(-l)
	case float64:
		return fixed(-l)
	}
	return v
}

// operands are all parts of a chain of && or ||.
func (x *translator) operands(op string, c ast.CallExpr) []condition {
	var out []condition
	for _, a := range c.Args() {
		if a.Kind() == ast.CallKind && a.AsCall().FunctionName() == op {
			out = append(out, x.operands(op, a.AsCall())...)
			continue
		}
		out = append(out, x.cond(a))
	}
	return out
}

var comparisons = map[string]string{
	operators.Equals: "=", operators.NotEquals: "!=", operators.Less: "<", operators.LessEquals: "<=",
	operators.Greater: ">", operators.GreaterEquals: ">=",
}

var opposite = map[string]string{"=": "!=", "!=": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
var mirrored = map[string]string{"=": "=", "!=": "!=", "<": ">", ">": "<", "<=": ">=", ">=": "<="}

var arithmetic = map[string]string{
	operators.Add: "+", operators.Subtract: "-", operators.Multiply: "*", operators.Divide: "div", operators.Modulo: "mod",
}

// compare is a op b.
func (x *translator) compare(op string, a, b value) condition {
	switch {
	case op == "!=":
		return x.compare("=", a, b).negate()
	case a.kind == kindBool && b.kind == kindBool && op == "=":
		return condition{
			t: or(and(a.cond.t, b.cond.t), and(a.cond.f, b.cond.f)), f: or(and(a.cond.t, b.cond.f), and(a.cond.f, b.cond.t)),
			needs: append(append([]*formula(nil), a.cond.needs...), b.cond.needs...),
		}
	case a.lit != nil && b.lit != nil:
		return total(truthOf(constant(op, a.lit, b.lit)))
	case a.kind == kindChoice && b.lit != nil:
		return x.chosen(op, a, b)
	case b.kind == kindChoice && a.lit != nil:
		return x.chosen(mirrored[op], b, a)
	case a.kind == kindChoice && b.kind == kindChoice && a.choices == b.choices && op == "=":
		return equal(a, b)
	case a.kind == kindString && b.kind == kindString:
		if op == "=" {
			return equal(a, b)
		}
		if a.date && b.date {
			return order(op, x.days(a), x.days(b))
		}
		x.fail("it compares texts by their order")
	case a.kind == kindString || b.kind == kindString:
		x.fail("it compares a text with what is none")
	}
	a, b = x.asNumber(a), x.asNumber(b)
	if op == "=" {
		return equal(a, b)
	}
	return order(op, a, b)
}

func truthOf(b bool) *formula {
	if b {
		return always
	}
	return never
}

func constant(op string, a, b any) bool {
	less, same := false, a == b
	switch l := a.(type) {
	case int64:
		less = l < toInt(b)
	case float64:
		r, _ := b.(float64)
		less = l < r
	case string:
		r, _ := b.(string)
		less = l < r
	}
	switch op {
	case "=":
		return same
	case "<":
		return less
	case "<=":
		return less || same
	case ">":
		return !less && !same
	}
	return !less
}

func toInt(v any) int64 {
	n, _ := v.(int64)
	return n
}

// chosen compares a choice with a number.
func (x *translator) chosen(op string, a, b value) condition {
	n, ok := b.lit.(int64)
	if !ok {
		x.fail("it compares a choice with what is no number")
		return condition{t: never, f: never}
	}
	if a.choices.doubled {
		x.fail("two choices of its list have the same name")
	}
	if op == "=" {
		name, known := a.choices.NameOf(n)
		if !known {
			return condition{t: never, f: a.def, needs: a.needs}
		}
		return condition{t: a.guarded(atom(a.text+" = "+literal(name), "")), f: and(a.def, atom(a.text+" != "+literal(name), "")), needs: a.needs}
	}
	if a.choices.numeric {
		return order(op, x.asNumber(a), b)
	}
	out := condition{t: never, f: never, needs: a.needs}
	for _, c := range a.choices.Choices {
		this := a.guarded(atom(a.text+" = "+literal(c.Name), ""))
		if constant(op, int64(c.Number), n) {
			out.t = or(out.t, this)
		} else {
			out.f = or(out.f, this)
		}
	}
	return out
}

// guarded is f where the value has an outcome; f by itself is false where the text is blank.
func (v value) guarded(f *formula) *formula {
	if v.blank {
		return f
	}
	return and(v.def, f)
}

// equal compares two values of which none is a choice by number.
func equal(a, b value) condition {
	same := a.text + " = " + b.text
	if a.prec < precAdd || b.prec < precAdd {
		same = a.in(precAdd) + " = " + b.in(precAdd)
	}
	differ := strings.Replace(same, a.in(precAdd)+" = ", a.in(precAdd)+" != ", 1)
	t := atom(same, "")
	switch {
	case a.blank && b.blank && (a.lit != nil && a.lit != "" || b.lit != nil && b.lit != ""):
	case a.blank && b.blank && len(a.needs) > 0:
		t = and(a.def, t)
	default:
		t = and(a.def, b.def, t)
	}
	c := condition{t: t, f: and(a.def, b.def, atom(differ, same)), needs: append(append([]*formula(nil), a.needs...), b.needs...)}
	if len(c.needs) == 0 {
		c = total(atom(same, differ))
	}
	return c
}

// order compares two numbers.
func order(op string, a, b value) condition {
	write := func(op string) *formula {
		f := atom(a.in(precAdd)+" "+op+" "+b.in(precAdd), "")
		if !a.blank {
			f = and(a.def, f)
		}
		if !b.blank {
			f = and(b.def, f)
		}
		return f
	}
	c := condition{t: write(op), f: write(opposite[op]), needs: append(append([]*formula(nil), a.needs...), b.needs...)}
	if len(c.needs) == 0 && c.t.op == 'a' && c.f.op == 'a' {
		c = total(atom(c.t.text, c.f.text))
	}
	return c
}

// arithmetic is a op b; + of texts joins them.
func (x *translator) arithmetic(op string, a, b value) value {
	if a.kind == kindString && b.kind == kindString && op == "+" {
		return value{kind: kindString, text: "concat(" + a.text + ", " + b.text + ")", prec: 9, def: and(a.def, b.def), needs: append(append([]*formula(nil), a.needs...), b.needs...)}
	}
	a, b = x.asNumber(a), x.asNumber(b)
	if l, ok := folded(op, a.lit, b.lit); ok {
		return fixed(l)
	}
	prec := precAdd
	if op != "+" && op != "-" {
		prec = precTimes
	}
	v := value{kind: kindNumber, integer: a.integer && b.integer, prec: prec, blank: a.blank && b.blank, def: and(a.def, b.def),
		needs: append(append([]*formula(nil), a.needs...), b.needs...)}
	v.text = a.in(prec) + " " + op + " " + b.in(prec+1)
	if v.integer && prec == precTimes && op != "*" {
		if b.lit == nil {
			nonzero := atom(b.in(precAdd)+" != 0", b.in(precAdd)+" = 0")
			v.def, v.needs, v.blank = and(v.def, nonzero), append(v.needs, nonzero), false
		} else if toInt(b.lit) == 0 {
			return x.fail("it divides by zero")
		}
		if op == "div" {
			v.text, v.prec = "int("+v.text+")", precPath
		}
	}
	return v
}

func folded(op string, a, b any) (any, bool) {
	l, ok := a.(int64)
	r, ok2 := b.(int64)
	if !ok || !ok2 {
		return nil, false
	}
	switch op {
	case "+":
		return l + r, true
	case "-":
		return l - r, true
	case "*":
		return l * r, true
	}
	return nil, false
}

// among is a in b.
func (x *translator) among(a, b value) condition {
	switch b.kind {
	case kindList:
		var parts []condition
		for _, el := range b.list {
			parts = append(parts, x.compare("=", a, el))
		}
		return either(parts)
	case kindMany:
		return x.selected(b, a)
	}
	x.fail("it looks for a value in a list that the form does not hold as one")
	return condition{t: never, f: never}
}

// selected tells whether a choice is among those given.
func (x *translator) selected(many, one value) condition {
	one = x.asChoice(one, many.choices)
	if one.def.op == '0' {
		return total(never) // a number that the list does not have
	}
	if many.kind == kindChoice {
		return equal(many, one)
	}
	is := atom("selected("+many.text+", "+one.text+")", "")
	return condition{t: and(one.def, is), f: and(one.def, not(is)), needs: one.needs}
}

func number(n int) string { return strconv.Itoa(n) }
