package questionnaire

import (
	"math"
	"unicode/utf8"

	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// node is a translated expression: exactly one of its functions is set. Those that can fail return false as well.
type node struct {
	truth   func(*frame) truth
	integer func(*frame) (int64, bool)
	natural func(*frame) (uint64, bool)
	double  func(*frame) (float64, bool)
	text    func(*frame) string
	message func(*frame) view
	rows    *rows
	// desc is the type of message.
	desc protoreflect.MessageDescriptor
	// constant is set for literals that are integers, for shorter closures.
	constant *int64
}

// rows is a repeated field, and the filters applied to it.
type rows struct {
	list    func(*frame) sequence
	field   protoreflect.FieldDescriptor
	filters []filter
}

// filter keeps the rows for which keep holds while the row stands in the variable slot.
type filter struct {
	slot int
	keep func(*frame) truth
}

// variable is a comprehension's variable in scope while translating.
type variable struct {
	name  string
	slot  int
	field protoreflect.FieldDescriptor
}

// translator turns a checked CEL expression into closures. It knows the forms that questionnaires are full of: fields,
// has, comparisons, arithmetic of integers, and, or, not, size, exists, all and filter. Anything else makes it give up.
type translator struct {
	ast        *celast.AST
	this, root protoreflect.MessageDescriptor
	vars       []variable
}

// translate returns the condition as a closure, or nil where it has a form that the translator does not know.
func translate(ast *celast.AST, this, root protoreflect.MessageDescriptor) func(*frame) truth {
	t := &translator{ast: ast, this: this, root: root}
	if n := t.node(ast.Expr()); n != nil {
		return n.truth
	}
	return nil
}

func (t *translator) node(e celast.Expr) *node {
	if ref, ok := t.ast.ReferenceMap()[e.ID()]; ok && ref.Value != nil {
		return literal(ref.Value)
	}
	switch e.Kind() {
	case celast.LiteralKind:
		return literal(e.AsLiteral())
	case celast.IdentKind:
		return t.ident(e.AsIdent())
	case celast.SelectKind:
		return t.selection(e.AsSelect())
	case celast.CallKind:
		return t.call(e.AsCall())
	case celast.ComprehensionKind:
		return t.comprehension(e.AsComprehension())
	}
	return nil
}

func literal(v any) *node {
	switch v := v.(type) {
	case types.Bool:
		b := truthOf(bool(v))
		return &node{truth: func(*frame) truth { return b }}
	case types.Int:
		i := int64(v)
		return &node{integer: func(*frame) (int64, bool) { return i, true }, constant: &i}
	case types.Uint:
		u := uint64(v)
		return &node{natural: func(*frame) (uint64, bool) { return u, true }}
	case types.Double:
		d := float64(v)
		return &node{double: func(*frame) (float64, bool) { return d, true }}
	case types.String:
		s := string(v)
		return &node{text: func(*frame) string { return s }}
	}
	return nil
}

func (t *translator) ident(name string) *node {
	for i := len(t.vars) - 1; i >= 0; i-- {
		if v := t.vars[i]; v.name == name {
			return variableNode(v.field, v.slot)
		}
	}
	switch {
	case name == "this":
		return &node{desc: t.this, message: func(f *frame) view { return f.this }}
	case name == "root" && t.root != nil:
		return &node{desc: t.root, message: func(f *frame) view { return f.root }}
	}
	return nil
}

// variableNode is a row that a comprehension looks at.
func variableNode(fd protoreflect.FieldDescriptor, slot int) *node {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return &node{truth: func(f *frame) truth { return truthOf(f.vars[slot].bool()) }}
	case protoreflect.StringKind:
		return &node{text: func(f *frame) string { return f.vars[slot].string() }}
	case protoreflect.MessageKind, protoreflect.GroupKind:
		if groupOf(fd) == nil { // well-known messages have meanings of their own in CEL
			return nil
		}
		return &node{desc: fd.Message(), message: func(f *frame) view { return f.vars[slot].view }}
	}
	switch numberOf(fd) {
	case enumNumber:
		return &node{integer: func(f *frame) (int64, bool) { return f.vars[slot].whole(true), true }}
	case intNumber:
		return &node{integer: func(f *frame) (int64, bool) { return f.vars[slot].whole(false), true }}
	case uintNumber:
		return &node{natural: func(f *frame) (uint64, bool) { return f.vars[slot].unsigned(), true }}
	case floatNumber:
		return &node{double: func(f *frame) (float64, bool) { return f.vars[slot].floating(), true }}
	}
	return nil
}

// fieldNode is a single field of a message.
func fieldNode(fd protoreflect.FieldDescriptor, of func(*frame) view) *node {
	a := newAccess(fd)
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return &node{truth: func(f *frame) truth { return truthOf(a.bool(of(f))) }}
	case protoreflect.StringKind:
		return &node{text: func(f *frame) string { return a.string(of(f)) }}
	case protoreflect.MessageKind, protoreflect.GroupKind:
		if groupOf(fd) == nil {
			return nil
		}
		return &node{desc: fd.Message(), message: func(f *frame) view { return a.below(of(f)) }}
	}
	switch numberOf(fd) {
	case enumNumber, intNumber:
		return &node{integer: func(f *frame) (int64, bool) { return a.whole(of(f)), true }}
	case uintNumber:
		return &node{natural: func(f *frame) (uint64, bool) { return a.unsigned(of(f)), true }}
	case floatNumber:
		return &node{double: func(f *frame) (float64, bool) { return a.floating(of(f)), true }}
	}
	return nil
}

// number is which of protobuf's ways of holding a number a field has.
type number int

const (
	notNumber number = iota
	enumNumber
	intNumber
	uintNumber
	floatNumber
)

func numberOf(fd protoreflect.FieldDescriptor) number {
	switch fd.Kind() {
	case protoreflect.EnumKind:
		if fd.Enum().FullName() != "google.protobuf.NullValue" {
			return enumNumber
		}
	case protoreflect.Int32Kind, protoreflect.Int64Kind, protoreflect.Sint32Kind, protoreflect.Sint64Kind,
		protoreflect.Sfixed32Kind, protoreflect.Sfixed64Kind:
		return intNumber
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		return uintNumber
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		return floatNumber
	}
	return notNumber
}

func (t *translator) selection(s celast.SelectExpr) *node {
	of := t.node(s.Operand())
	if of == nil || of.message == nil {
		return nil
	}
	fd := of.desc.Fields().ByName(protoreflect.Name(s.FieldName()))
	if fd == nil || fd.IsMap() {
		return nil
	}
	get, a := of.message, newAccess(fd)
	if s.IsTestOnly() {
		return &node{truth: func(f *frame) truth { return truthOf(a.has(get(f))) }}
	}
	if fd.IsList() {
		return &node{rows: &rows{field: fd, list: func(f *frame) sequence { return a.list(get(f)) }}}
	}
	return fieldNode(fd, get)
}

func (t *translator) call(c celast.CallExpr) *node {
	args := make([]*node, 0, 2)
	if c.IsMemberFunction() {
		if c.FunctionName() != "size" {
			return nil
		}
		args = append(args, t.node(c.Target()))
	}
	for _, a := range c.Args() {
		args = append(args, t.node(a))
	}
	for _, a := range args {
		if a == nil {
			return nil
		}
	}
	switch c.FunctionName() {
	case "size":
		return size(args[0])
	case operators.LogicalNot:
		return not(args[0])
	case operators.LogicalAnd:
		return and(args)
	case operators.LogicalOr:
		return or(args)
	case operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
		return compare(c.FunctionName(), args[0], args[1])
	case operators.Add, operators.Subtract, operators.Multiply, operators.Divide:
		return arithmetic(c.FunctionName(), args[0], args[1])
	}
	return nil
}

func not(a *node) *node {
	if a.truth == nil {
		return nil
	}
	of := a.truth
	return &node{truth: func(f *frame) truth {
		switch of(f) {
		case no:
			return yes
		case yes:
			return no
		}
		return failed
	}}
}

// and and or are CEL's: one side that decides the matter makes up for an error on the other.
func and(args []*node) *node { return junction(args, no, yes) }

func or(args []*node) *node { return junction(args, yes, no) }

// junction has the outcome decisive where any side has it, otherwise failed where any failed, otherwise the rest.
func junction(args []*node, decisive, rest truth) *node {
	for _, a := range args {
		if a.truth == nil {
			return nil
		}
	}
	if len(args) != 2 {
		return nil
	}
	left, right := args[0].truth, args[1].truth
	return &node{truth: func(f *frame) truth {
		l := left(f)
		if l == decisive {
			return decisive
		}
		r := right(f)
		if r == decisive {
			return decisive
		}
		if l == failed || r == failed {
			return failed
		}
		return rest
	}}
}

func size(a *node) *node {
	switch {
	case a.rows != nil && len(a.rows.filters) == 0:
		of := a.rows.list
		return &node{integer: func(f *frame) (int64, bool) { l := of(f); return int64(l.len()), true }}
	case a.rows != nil:
		return &node{integer: a.rows.count}
	case a.text != nil:
		text := a.text
		return &node{integer: func(f *frame) (int64, bool) { return int64(utf8.RuneCountInString(text(f))), true }}
	}
	return nil
}

// count is how many rows pass the filters. False: a filter failed, or the rows are too many.
func (r *rows) count(f *frame) (int64, bool) {
	list := r.list(f)
	n, kept := list.len(), int64(0)
	if f.steps -= n; f.steps < 0 {
		return 0, false
	}
rows:
	for i := range n {
		v := list.get(i)
		for _, x := range r.filters {
			f.vars[x.slot] = v
			switch x.keep(f) {
			case no:
				continue rows
			case failed:
				return 0, false
			}
		}
		kept++
	}
	return kept, true
}

func add(a, b int64) (int64, bool) {
	if b > 0 && a > math.MaxInt64-b || b < 0 && a < math.MinInt64-b {
		return 0, false
	}
	return a + b, true
}

func sub(a, b int64) (int64, bool) {
	if b < 0 && a > math.MaxInt64+b || b > 0 && a < math.MinInt64+b {
		return 0, false
	}
	return a - b, true
}

func mul(a, b int64) (int64, bool) {
	if a == 0 || b == 0 {
		return 0, true
	}
	if a == -1 && b == math.MinInt64 || b == -1 && a == math.MinInt64 {
		return 0, false
	}
	p := a * b
	return p, p/b == a
}

func div(a, b int64) (int64, bool) {
	if b == 0 || b == -1 && a == math.MinInt64 {
		return 0, false
	}
	return a / b, true
}

// arithmetic of integers, failing where CEL's does: on overflow and on division by zero.
func arithmetic(op string, a, b *node) *node {
	if a.integer == nil || b.integer == nil {
		return nil
	}
	do := map[string]func(a, b int64) (int64, bool){
		operators.Add: add, operators.Subtract: sub, operators.Multiply: mul, operators.Divide: div,
	}[op]
	left, right := a.integer, b.integer
	return &node{integer: func(f *frame) (int64, bool) {
		l, ok := left(f)
		if !ok {
			return 0, false
		}
		r, ok := right(f)
		if !ok {
			return 0, false
		}
		return do(l, r)
	}}
}
