package xform

import (
	"fmt"
	"strconv"
	"strings"

	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/parser"
	"google.golang.org/protobuf/reflect/protoreflect"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

// kind is the type of an expression's value, as far as its XPath depends on it.
type kind int

const (
	kindNone    kind = iota
	kindBool         // value.cond
	kindNumber       // ints and doubles
	kindString       //
	kindChoice       // one of a list: the XPath is its name, CEL's value its number
	kindMany         // several of a list: the XPath is their names with spaces between
	kindMessage      // a group or a row
	kindRows         // the rows of a roster, and what a map takes from each
	kindList         // a list written in the expression
	kindItem         // the choice that a filter looks at
)

// value is what an expression of CEL yields, in XPath.
type value struct {
	kind kind
	cond condition
	// text is the XPath, prec how tightly its outermost operator binds.
	text string
	prec int
	// def says where there is a value; needs suffices for it.
	def   *formula
	needs []*formula
	// blank: where there is no value, text is the empty string or no number.
	blank bool
	// integer: an int of CEL, whose division truncates.
	integer bool
	// date: text of the form yyyy-mm-dd.
	date    bool
	choices *List
	place   place
	set     *nodeset
	// lit is the constant: int64, float64, string or bool.
	lit  any
	list []value
	// branches are the two sides of c ? a : b.
	branches *branches
}

type branches struct {
	cond condition
	a, b value
}

// nodeset is rows with their conditions, and the way from each to what is taken from it.
type nodeset struct {
	text  string
	place place
	tail  string
	leaf  *Node
	// promised are the conditions that all of the rows fulfil.
	promised map[string]bool
	// flat is "sum" or "count" where each row stands for that of rows further in.
	flat string
}

// translator turns expressions of one question into XPath.
type translator struct {
	tree *tree
	// at is the element from which paths begin; this is the group in which the question stands.
	at, this *Node
	// thisFrame is the frame from whose row this is reached: 0, but for the relevance of rows.
	thisFrame int
	// value is the question that a check looks at.
	value  *Node
	frames []frame
	vars   map[string]value
	err    error
	// selfInPredicate: a predicate looks at the question itself, which clients read there as it was before the answer.
	selfInPredicate bool
}

// inexpressible says why an expression has no XPath that means the same.
type inexpressible struct{ why string }

func (e *inexpressible) Error() string { return e.why }

func (x *translator) fail(format string, args ...any) value {
	if x.err == nil {
		x.err = &inexpressible{fmt.Sprintf(format, args...)}
	}
	return value{kind: kindNone, cond: condition{t: never, f: never}, def: never, text: "''", prec: 9}
}

const maxXPath = 32 << 10 // clients parse expressions by recursion

func (t *tree) translator(at, this *Node) *translator {
	return &translator{tree: t, at: at, this: this, frames: []frame{{}}, vars: map[string]value{}}
}

func parse(source string) (ast.Expr, error) {
	p, err := parser.NewParser(parser.MaxRecursionDepth(200), parser.ExpressionSizeCodePointLimit(100_000))
	if err != nil {
		return nil, err
	}
	tree, errs := p.Parse(common.NewTextSource(source))
	if len(errs.GetErrors()) > 0 {
		return nil, &inexpressible{"it is no expression: " + errs.GetErrors()[0].Message}
	}
	return tree.Expr(), nil
}

// condition translates a boolean expression.
func (x *translator) condition(source string) (condition, error) {
	e, err := parse(source)
	if err != nil {
		return condition{}, err
	}
	c := x.cond(e)
	return c, x.done(c.t.String() + c.f.String())
}

func (x *translator) done(text string) error {
	if x.err == nil && len(text) > maxXPath {
		x.fail("it takes %d characters of XPath", len(text))
	}
	return x.err
}

// calculation translates an expression to what yields its value, the empty string where there is none. want is the list
// of the field that takes it, nil where it has none.
func (x *translator) calculation(source string, want *List) (string, error) {
	e, err := parse(source)
	if err != nil {
		return "", err
	}
	v := x.eval(e)
	if want != nil && v.kind != kindBool {
		v = x.asChoice(v, want)
	}
	var text string
	switch v.kind {
	case kindBool:
		text = "if(" + v.cond.f.String() + ", 'false', '')"
		if len(v.cond.needs) == 0 {
			text = "'false'"
		}
		text = "if(" + v.cond.t.String() + ", 'true', " + text + ")"
	case kindNumber, kindString, kindChoice, kindMany:
		if text = v.text; v.def.op != '1' && !(v.blank && v.prec == 9 && v.branches == nil && isPath(v.text)) {
			text = "if(" + v.def.String() + ", " + v.text + ", '')"
		}
	default:
		x.fail("it yields no single value")
	}
	return text, x.done(text)
}

// isPath tells whether an XPath is a location path, whose value is the empty string where there is no answer.
func isPath(text string) bool { return !strings.ContainsAny(text, "()'\" ") }

// cond translates an expression that yields true or false.
func (x *translator) cond(e ast.Expr) condition {
	v := x.eval(e)
	if v.kind != kindBool && x.err == nil {
		x.fail("it is neither true nor false")
	}
	if v.kind != kindBool {
		return condition{t: never, f: never}
	}
	return v.cond
}

func boolean(c condition) value {
	return value{kind: kindBool, cond: c, def: c.outcome(), needs: c.needs}
}

func fixed(lit any) value {
	v := value{lit: lit, def: always, blank: true, prec: 9}
	switch l := lit.(type) {
	case bool:
		v = boolean(total(map[bool]*formula{true: always, false: never}[l]))
		v.lit = l
	case int64:
		v.kind, v.text, v.integer = kindNumber, strconv.FormatInt(l, 10), true
	case float64:
		v.kind, v.text = kindNumber, strconv.FormatFloat(l, 'f', -1, 64)
	case string:
		v.kind, v.text, v.date = kindString, literal(l), isDate(l)
	}
	if strings.HasPrefix(v.text, "-") {
		v.prec = 7
	}
	return v
}

func isDate(s string) bool {
	return len(s) == 10 && s[4] == '-' && s[7] == '-' && strings.Trim(s, "0123456789-") == ""
}

// eval translates any expression.
func (x *translator) eval(e ast.Expr) value {
	if x.err != nil {
		return x.fail("")
	}
	switch e.Kind() {
	case ast.LiteralKind:
		switch l := e.AsLiteral().(type) {
		case types.Int:
			return fixed(int64(l))
		case types.Uint:
			return fixed(int64(l))
		case types.Double:
			return fixed(float64(l))
		case types.String:
			return fixed(string(l))
		case types.Bool:
			return fixed(bool(l))
		}
	case ast.IdentKind:
		return x.ident(e.AsIdent())
	case ast.SelectKind:
		return x.sel(x.eval(e.AsSelect().Operand()), e.AsSelect().FieldName())
	case ast.ListKind:
		v := value{kind: kindList, def: always}
		for _, el := range e.AsList().Elements() {
			v.list = append(v.list, x.eval(el))
		}
		return v
	case ast.CallKind:
		return x.call(e.AsCall())
	}
	return x.fail("it uses what XPath does not have")
}

func (x *translator) ident(name string) value {
	if v, ok := x.vars[name]; ok {
		return x.again(v)
	}
	switch {
	case name == "this":
		return value{kind: kindMessage, place: place{x.thisFrame, x.this}, def: always}
	case name == "root":
		return x.at0(x.tree.root)
	case name == "value" && x.value != nil:
		return x.leaf(place{0, x.value})
	case name == "choice":
		if f := x.frames[len(x.frames)-1]; f.row == nil && len(x.frames) > 1 {
			return value{kind: kindItem, def: always}
		}
	case strings.HasPrefix(name, "up"):
		if n, err := strconv.Atoi(name[2:]); err == nil {
			g := x.this
			for ; n > 0 && g != nil; n-- {
				g = g.Parent
			}
			if g != nil {
				return value{kind: kindMessage, place: place{x.thisFrame, g}, def: always}
			}
		}
	case strings.HasPrefix(name, "position"):
		return x.position(strings.TrimPrefix(name, "position"))
	}
	return x.fail("there is no %s here", name)
}

// again writes a variable's value anew: its path depends on where it is read.
func (x *translator) again(v value) value {
	if v.kind == kindMessage || v.lit != nil || v.kind == kindItem {
		return v
	}
	return x.leaf(v.place)
}

func (x *translator) at0(n *Node) value {
	return value{kind: kindMessage, place: place{0, n}, def: always}
}

func (x *translator) position(nth string) value {
	n := 1
	if nth != "" {
		n, _ = strconv.Atoi(nth)
	}
	for r := x.this; r != nil; r = r.Parent {
		if r.Kind != Repeat {
			continue
		}
		if n--; n == 0 {
			return value{kind: kindNumber, integer: true, text: "position(" + x.path(place{x.thisFrame, r}) + ")", prec: 9, def: always}
		}
	}
	return x.fail("it asks for the number of a row outside of any")
}

// sel reads a field of a message.
func (x *translator) sel(v value, name string) value {
	switch v.kind {
	case kindMessage:
		c := v.place.node.byField[protoreflect.Name(name)]
		if c == nil {
			return x.fail("the form does not have %s", name)
		}
		return x.leaf(place{v.place.frame, c})
	case kindItem:
		if name == "name" || name == "number" || xmlName(name) {
			return value{kind: kindString, text: name, prec: 9, def: always}
		}
	}
	return x.fail("it reads %s of what is no group", name)
}

// leaf is the value at a place.
func (x *translator) leaf(p place) value {
	n := p.node
	switch {
	case n.Kind == Repeat && !(p.frame > 0 && x.frames[p.frame].row == n):
		return value{kind: kindRows, place: p, def: always, set: &nodeset{text: x.rows(p) + predicate(x.asked(p)), place: p}}
	case n.Kind != Leaf:
		return value{kind: kindMessage, place: p, def: always}
	}
	if x.tree.calculate != nil && n.Options.GetCalculate() != "" {
		if _, err := x.tree.calculate(n); err != nil {
			return x.fail("%s, which it reads, is not calculated in the form: %s", n.Name, err)
		}
	}
	text := x.path(p)
	there := atom(text+" != ''", text+" = ''")
	v := value{text: text, prec: 9, def: there, needs: []*formula{there}, blank: true, place: p, choices: n.Choices}
	switch {
	case n.Many:
		v.kind, v.def, v.needs = kindMany, always, nil
	case n.Field.Kind() == protoreflect.BoolKind && x.tree.xls && n.Options.GetCalculate() == "":
		v.kind = kindBool
		v.cond = condition{t: atom(text+" = 'OK'", ""), f: never, needs: v.needs}
	case n.Field.Kind() == protoreflect.BoolKind:
		v.kind = kindBool
		v.cond = condition{t: atom(text+" = 'true'", ""), f: atom(text+" = 'false'", ""), needs: v.needs}
	case n.Choices != nil:
		v.kind = kindChoice
	case n.Type == "int":
		v.kind, v.integer = kindNumber, true
	case n.Type == "decimal":
		v.kind = kindNumber
	case n.Field.Message() != nil || n.Field.Kind() == protoreflect.BytesKind:
		v.kind = kindNone
	default:
		v.kind, v.date = kindString, n.Options.GetFormat() == formv1.Format_FORMAT_DATE
	}
	return v
}

// asked is where the rows of a roster are asked, seen from a row. Some clients count rows that are not, though what is in
// them reads as nothing.
func (x *translator) asked(p place) *formula {
	base := x.at
	if p.frame > 0 {
		base = x.frames[p.frame].row
	}
	out := always
	for n := p.node; n.Parent != nil && !within(base, n); n = n.Parent {
		cel := n.Options.GetRelevant()
		if cel == "" {
			continue
		}
		e, err := parse(cel)
		if err != nil {
			x.fail("%v", err)
			return always
		}
		inner := *x
		inner.vars = map[string]value{}
		inner.frames = append(x.frames[:len(x.frames):len(x.frames)], frame{row: p.node, up: -1})
		if p.frame > 0 && p.frame == len(x.frames)-1 {
			inner.frames[len(x.frames)].up = depth(p.node) - depth(base)
		}
		inner.this, inner.thisFrame = n.Parent, len(x.frames)
		out = and(out, inner.cond(e).t)
		if x.err = inner.err; x.err != nil {
			return always
		}
	}
	return out
}

// has says whether there is an answer at what e reads.
func (x *translator) has(v value) condition {
	switch v.kind {
	case kindRows:
		return total(atom("count("+v.set.text+") > 0", "count("+v.set.text+") = 0"))
	case kindMany:
		return total(atom(v.text+" != ''", v.text+" = ''"))
	case kindMessage:
		var any []*formula
		for _, l := range v.place.node.leaves() {
			if l != v.place.node {
				any = append(any, x.has(x.leaf(place{v.place.frame, l})).t)
			}
		}
		return total(or(any...))
	case kindItem, kindList:
		x.fail("it asks whether there is an answer where none is given")
	}
	return total(v.def)
}

// asChoice turns a number into the name of a choice, which is what the form holds. 0 is no answer.
func (x *translator) asChoice(v value, l *List) value {
	switch {
	case v.kind == kindChoice && v.choices == l:
		return v
	case v.branches != nil:
		return x.pick(v.branches.cond, x.asChoice(v.branches.a, l), x.asChoice(v.branches.b, l))
	case v.lit != nil:
		n, ok := v.lit.(int64)
		if name, known := l.NameOf(n); ok && known {
			return value{kind: kindChoice, choices: l, text: literal(name), prec: 9, def: always, blank: true}
		}
		if ok {
			return value{kind: kindChoice, choices: l, text: "''", prec: 9, def: never, needs: []*formula{never}, blank: true}
		}
	case v.kind == kindNumber && l.numeric:
		known := or(x.names(l, v.text)...)
		v.kind, v.choices, v.def = kindChoice, l, and(v.def, known)
		v.needs = append(v.needs, known)
		return v
	}
	return x.fail("it takes a number that is computed for a choice")
}

func (x *translator) names(l *List, text string) []*formula {
	var out []*formula
	for _, c := range l.Choices {
		out = append(out, atom(text+" = "+literal(c.Name), ""))
	}
	return out
}

// asNumber is the number of a choice, where the choices are named by their numbers.
func (x *translator) asNumber(v value) value {
	if v.kind == kindNumber {
		return v
	}
	if v.kind == kindChoice && v.choices.numeric {
		v.kind, v.integer, v.choices = kindNumber, true, nil
		return v
	}
	return x.fail("it reckons with what is no number in the form")
}

// pick is c ? a : b.
func (x *translator) pick(c condition, a, b value) value {
	if a.kind == kindBool && b.kind == kindBool {
		return boolean(choose(c, a.cond, b.cond))
	}
	if a.kind == kindChoice && b.kind == kindNumber {
		b = x.asChoice(b, a.choices)
	} else if b.kind == kindChoice && a.kind == kindNumber {
		a = x.asChoice(a, b.choices)
	}
	if a.kind != b.kind || a.choices != b.choices || a.kind == kindRows || a.kind == kindMessage {
		return x.fail("its two sides yield different kinds of values")
	}
	v := value{kind: a.kind, choices: a.choices, integer: a.integer && b.integer, date: a.date && b.date, prec: 9, branches: &branches{c, a, b}}
	v.text = "if(" + c.t.String() + ", " + a.text + ", " + b.text + ")"
	v.def = or(and(c.t, a.def), and(c.f, b.def))
	v.needs = append(append(append(v.needs, c.needs...), without(a.needs, c.t.conjuncts())...), without(b.needs, c.f.conjuncts())...)
	return v
}

// xmlName tells whether s may be the name of an element: letters, digits, "_", "-" and "." after a letter or "_".
func xmlName(s string) bool {
	for i, r := range s {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= 0xC0 && r != 0xD7 && r != 0xF7 && (r < 0x2000 || r > 0x206F) && (r < 0x3000 || r > 0x3000)
		if !letter && (i == 0 || !(r >= '0' && r <= '9' || r == '-' || r == '.' || r == 0xB7)) {
			return false
		}
	}
	return s != ""
}
