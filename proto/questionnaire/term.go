package questionnaire

import (
	"errors"
	"fmt"

	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// Expressions are parsed and type-checked by cel-go and then translated into closures over the tree of nodes, not into
// programs of cel-go: reading a question has to find out whether it is asked, no answer is an outcome of its own, and a
// server evaluates hundreds of them for every interview that comes in. What is not known to the translator as a datum, a
// message or a list of these goes through cel-go's values and functions.

// term is a translated expression: exactly one of its functions is set.
type term struct {
	truth   func(*frame) truth
	integer func(*frame) (int64, outcome)
	natural func(*frame) (uint64, outcome)
	double  func(*frame) (float64, outcome)
	text    func(*frame) (string, outcome)
	// message is nil where a message stands in a question that is not asked.
	message func(*frame) (*node, outcome)
	list    *listing
	any     func(*frame) ref.Val
	// modules are what the message, or the messages of the list, may be.
	modules []*Module
	// constant and literal are set for literals, own for a question of the expression's own message, this for that message,
	// held for has(this.x), and slot for a variable that is a row, counted from 1: for shorter closures.
	constant *int64
	literal  *string
	own      *Question
	this     bool
	held     *Question
	slot     int
	// parts are the sides of an && or an ||, of more where several stand in a row; decisive is the outcome that any side decides.
	parts    []func(*frame) truth
	decisive truth
}

// variable is a comprehension's variable in scope while translating.
type variable struct {
	name string
	term *term
}

// translator turns a checked CEL expression into closures.
type translator struct {
	x   *expressions
	at  of
	ast *celast.AST
	rule
	seen map[*Question]bool
	vars []variable
	// err is the first thing that may not be used, at the expression wrong.
	err   error
	wrong int64
}

// nothing is the term of an expression that is refused.
var nothing = &term{any: func(*frame) ref.Val { return valueFailed }}

func (t *translator) refuse(e celast.Expr, format string, args ...any) *term {
	if t.err == nil {
		t.err, t.wrong = fmt.Errorf(format, args...), e.ID()
	}
	return nothing
}

// What expressions come to that have no value, for what takes CEL's values.
var (
	valueNone   = types.WrapErr(errNoAnswer)
	valueFailed = types.WrapErr(errors.New("failed"))
)

func (o outcome) value() ref.Val {
	if o == none {
		return valueNone
	}
	return valueFailed
}

// outcomeOf is the outcome of a value of CEL.
func outcomeOf(v ref.Val) outcome {
	if v == nil {
		return failed
	}
	if !types.IsUnknownOrError(v) {
		return there
	}
	if err, ok := v.(*types.Err); ok && errors.Is(err, errNoAnswer) {
		return none
	}
	return failed
}

func (t *translator) term(e celast.Expr) *term {
	if t.err != nil {
		return nothing
	}
	if t.ast.GetType(e.ID()).IsExactType(types.BytesType) {
		return t.refuse(e, "bytes cannot be used")
	}
	if ref, ok := t.ast.ReferenceMap()[e.ID()]; ok && ref.Value != nil {
		return t.refuse(e, "the name of a constant cannot be used: write its number")
	}
	switch e.Kind() {
	case celast.LiteralKind:
		return t.constantTerm(e)
	case celast.IdentKind:
		return t.ident(e, e.AsIdent())
	case celast.SelectKind:
		return t.selection(e, e.AsSelect())
	case celast.CallKind:
		return t.call(e, e.AsCall())
	case celast.ComprehensionKind:
		return t.comprehension(e, e.AsComprehension())
	case celast.ListKind:
		return t.listTerm(e.AsList())
	}
	return t.refuse(e, "maps and messages cannot be made in an expression")
}

func (t *translator) constantTerm(e celast.Expr) *term {
	switch v := e.AsLiteral().(type) {
	case types.Bool:
		b := truthOf(bool(v))
		return &term{truth: func(*frame) truth { return b }}
	case types.Int:
		i := int64(v)
		return &term{integer: func(*frame) (int64, outcome) { return i, there }, constant: &i}
	case types.Uint:
		u := uint64(v)
		return &term{natural: func(*frame) (uint64, outcome) { return u, there }}
	case types.Double:
		d := float64(v)
		return &term{double: func(*frame) (float64, outcome) { return d, there }}
	case types.String:
		s := string(v)
		return &term{text: func(*frame) (string, outcome) { return s, there }, literal: &s}
	}
	return t.refuse(e, "%v cannot be used: whether there is an answer is asked by has()", e.AsLiteral().Type().TypeName())
}

func (t *translator) ident(e celast.Expr, name string) *term {
	for i := len(t.vars) - 1; i >= 0; i-- {
		if t.vars[i].name == name {
			return t.vars[i].term
		}
	}
	s := t.x.scope
	switch name {
	case "this":
		return &term{modules: []*Module{s.this}, this: true, message: func(f *frame) (*node, outcome) { return f.this, there }}
	case "root":
		if s.root != nil {
			return &term{modules: []*Module{s.root}, message: func(f *frame) (*node, outcome) { return f.this.root, there }}
		}
		t.safe = false
		return &term{modules: s.roots, any: func(f *frame) ref.Val { return &object{f.e, f.this.root} }}
	case "value":
		if t.at.value {
			return t.field(e, thisNode, t.at.question)
		}
	case "choice":
		return t.refuse(e, "choice stands only before the name of a column: choice.name")
	}
	for i, up := range s.ups {
		if name == upNames[i] {
			return &term{modules: []*Module{up}, message: ancestor(i + 1)}
		}
	}
	for i := range min(s.rosters, len(positionNames)) {
		if name == positionNames[i] {
			return &term{integer: positionAt(i + 1)}
		}
	}
	return t.volatileTerm(e, name)
}

// thisNode stands for the message of the expression, where a term is made of one of its fields.
var thisNode *term

// here tells whether a term is the message of the expression.
func (x *term) here() bool { return x == thisNode || x.this }

func ancestor(n int) func(*frame) (*node, outcome) {
	return func(f *frame) (*node, outcome) {
		at := f.this
		for range n {
			if at = at.up; at == nil {
				return nil, there
			}
		}
		return at, there
	}
}

// positionAt is the number of the row in which a message stands, of the nth roster outwards.
func positionAt(level int) func(*frame) (int64, outcome) {
	return func(f *frame) (int64, outcome) {
		left := level
		for n := f.this; n != nil; n = n.up {
			if n.row < 0 {
				continue
			}
			if left--; left == 0 {
				return int64(n.row) + 1, there
			}
		}
		return 0, none
	}
}

// volatileTerm is one of the variables behind the volatile functions.
func (t *translator) volatileTerm(e celast.Expr, name string) *term {
	t.volatile = true
	switch name {
	case varNow:
		return &term{text: func(f *frame) (string, outcome) { now, _ := f.e.clock(); return now, there }}
	case varToday:
		return &term{text: func(f *frame) (string, outcome) { _, today := f.e.clock(); return today, there }}
	}
	t.chance = true
	switch name {
	case varRandom:
		return &term{double: func(*frame) (float64, outcome) { return randomNumber(), there }}
	case varUUID:
		return &term{text: func(*frame) (string, outcome) { return randomID(), there }}
	case varHeld:
		return &term{truth: func(f *frame) truth { return truthOf(f.held(nil)) }}
	case varAnswer:
		return &term{any: (*frame).answer}
	}
	return t.refuse(e, "%s is no name that can be used here", name)
}

// held tells whether the field of the expression's question holds an answer.
func (f *frame) held(s *datum) bool {
	if s == nil {
		s = &datum{}
	}
	return !f.this.unset && f.question.access.read(&f.this.view, s)
}

// answer is what the field of the expression's question holds.
func (f *frame) answer() ref.Val {
	var s datum
	if !f.held(&s) {
		return valueNone
	}
	return s.value(f.question.access.kind)
}

// value is a datum as CEL has it.
func (s *datum) value(k kind) ref.Val {
	switch k {
	case kindTruth:
		return types.Bool(s.truth())
	case kindInt:
		return types.Int(s.integer())
	case kindUint:
		return types.Uint(s.bits)
	case kindDouble:
		return types.Double(s.double())
	case kindText:
		return types.String(s.text)
	}
	return valueFailed
}

// native is a datum as Go has it.
func (s *datum) native(k kind) any {
	switch k {
	case kindTruth:
		return s.truth()
	case kindInt:
		return s.integer()
	case kindUint:
		return s.bits
	case kindDouble:
		return s.double()
	case kindText:
		return s.text
	}
	return nil
}

// set puts a value of CEL into a datum.
func (s *datum) set(v ref.Val, k kind) outcome {
	if o := outcomeOf(v); o != there {
		return o
	}
	switch v := v.(type) {
	case types.Bool:
		s.setTruth(bool(v))
		return only(k == kindTruth)
	case types.Int:
		s.setInt(int64(v))
		return only(k == kindInt)
	case types.Uint:
		s.bits = uint64(v)
		return only(k == kindUint)
	case types.Double:
		s.setDouble(float64(v))
		return only(k == kindDouble)
	case types.String:
		s.text = string(v)
		return only(k == kindText)
	}
	return failed
}

func only(b bool) outcome {
	if b {
		return there
	}
	return failed
}

// anyOf is a term as a value of CEL.
func (t *translator) anyOf(x *term) func(*frame) ref.Val {
	switch {
	case x.truth != nil:
		of := x.truth
		return func(f *frame) ref.Val {
			b := of(f)
			if b > yes {
				return b.outcome().value()
			}
			return types.Bool(b == yes)
		}
	case x.integer != nil:
		return valued(x.integer, func(i int64) ref.Val { return types.Int(i) })
	case x.natural != nil:
		return valued(x.natural, func(u uint64) ref.Val { return types.Uint(u) })
	case x.double != nil:
		return valued(x.double, func(d float64) ref.Val { return types.Double(d) })
	case x.text != nil:
		return valued(x.text, func(s string) ref.Val { return types.String(s) })
	case x.message != nil:
		t.readAll(x.modules)
		of := x.message
		return func(f *frame) ref.Val {
			n, o := of(f)
			if o != there {
				return o.value()
			}
			return &object{f.e, n}
		}
	case x.list != nil:
		if x.list.kind == kindNode {
			t.readAll(x.modules)
		}
		return x.list.all
	}
	return x.any
}

func valued[T any](of func(*frame) (T, outcome), value func(T) ref.Val) func(*frame) ref.Val {
	return func(f *frame) ref.Val {
		x, o := of(f)
		if o != there {
			return o.value()
		}
		return value(x)
	}
}

// truthOf is a term as a condition.
func (t *translator) truthOf(x *term) func(*frame) truth {
	if x.truth != nil || x.any == nil {
		if x.truth == nil {
			return func(*frame) truth { return broken }
		}
		return x.truth
	}
	of := x.any
	return func(f *frame) truth {
		var s datum
		if o := s.set(of(f), kindTruth); o != there {
			return o.truth()
		}
		return truthOf(s.truth())
	}
}

// intOf is a term as a whole number.
func (t *translator) intOf(x *term) func(*frame) (int64, outcome) {
	if x.integer != nil {
		return x.integer
	}
	of := t.anyOf(x)
	return func(f *frame) (int64, outcome) {
		var s datum
		o := s.set(of(f), kindInt)
		return s.integer(), o
	}
}

// typed is a value of CEL as a term of the kind that the type checker found.
func (t *translator) typed(e celast.Expr, of func(*frame) ref.Val, modules []*Module) *term {
	is := t.ast.GetType(e.ID())
	switch k := kindOfType(is); {
	case k == kindTruth:
		return &term{truth: t.truthOf(&term{any: of})}
	case k == kindInt:
		return &term{integer: t.intOf(&term{any: of})}
	case k == kindUint:
		return &term{natural: func(f *frame) (uint64, outcome) {
			var s datum
			o := s.set(of(f), kindUint)
			return s.bits, o
		}}
	case k == kindDouble:
		return &term{double: func(f *frame) (float64, outcome) {
			var s datum
			o := s.set(of(f), kindDouble)
			return s.double(), o
		}}
	case k == kindText:
		return &term{text: func(f *frame) (string, outcome) {
			var s datum
			o := s.set(of(f), kindText)
			return s.text, o
		}}
	case is.Kind() == types.ListKind:
		return &term{list: valuesOf(of, kindOfElement(is)), modules: modules}
	case is.Kind() == types.StructKind && len(modules) == 1:
		return &term{modules: modules, message: func(f *frame) (*node, outcome) {
			v := of(f)
			if o, ok := v.(*object); ok {
				return o.n, there
			}
			return nil, max(outcomeOf(v), none)
		}}
	}
	return &term{any: of, modules: modules}
}

// putter puts what a term comes to into a datum of a field's kind.
func (t *translator) putter(x *term, q *Question) func(*frame, *datum) outcome {
	k := q.access.kind
	fits := fitting(q.Field)
	switch {
	case x.truth != nil && k == kindTruth:
		of := x.truth
		return func(f *frame, s *datum) outcome {
			b := of(f)
			s.setTruth(b == yes)
			return b.outcome()
		}
	case x.integer != nil && k == kindInt:
		of := x.integer
		return func(f *frame, s *datum) outcome {
			i, o := of(f)
			s.setInt(i)
			if o == there && !fits(s) {
				return failed
			}
			return o
		}
	case x.double != nil && k == kindDouble:
		of := x.double
		return func(f *frame, s *datum) outcome {
			d, o := of(f)
			s.setDouble(d)
			return o
		}
	case x.text != nil && k == kindText:
		of := x.text
		return func(f *frame, s *datum) (o outcome) {
			s.text, o = of(f)
			return o
		}
	}
	of := t.anyOf(x)
	return func(f *frame, s *datum) outcome {
		o := s.set(of(f), k)
		if o == there && !fits(s) {
			return failed
		}
		return o
	}
}
