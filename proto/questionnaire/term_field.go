package questionnaire

import (
	"math"

	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// fitting tells whether a whole number is one that a field can hold.
func fitting(f protoreflect.FieldDescriptor) func(*datum) bool {
	switch f.Kind() {
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind, protoreflect.EnumKind:
		return func(s *datum) bool { return s.integer() == int64(int32(s.integer())) }
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return func(s *datum) bool { return s.bits <= math.MaxUint32 }
	}
	return func(*datum) bool { return true }
}

// note remembers that the expression reads a question.
func (t *translator) note(q *Question) {
	if !t.seen[q] {
		t.seen[q] = true
		t.reads = append(t.reads, q)
	}
}

// readAll notes all questions of messages that are handed on whole.
func (t *translator) readAll(modules []*Module) {
	for _, m := range modules {
		for _, q := range m.Questions {
			if t.seen[q] {
				continue
			}
			t.note(q)
			if q.Module != nil {
				t.readAll([]*Module{q.Module})
			}
		}
	}
}

// at is the slot of a question of a message. A message in a question that is not asked has no answers.
func at(of *term, q *Question) func(*frame) (*slot, outcome) {
	if of.here() {
		return func(f *frame) (*slot, outcome) {
			s := f.e.read(f.this, q)
			return s, s.state.outcome()
		}
	}
	if at := of.slot - 1; at >= 0 {
		return func(f *frame) (*slot, outcome) {
			n := f.vars[at].n
			if n == nil {
				return nil, none
			}
			s := f.e.read(n, q)
			return s, s.state.outcome()
		}
	}
	get := of.message
	return func(f *frame) (*slot, outcome) {
		n, o := get(f)
		if o != there {
			return nil, o
		}
		if n == nil {
			return nil, none
		}
		s := f.e.read(n, q)
		return s, s.state.outcome()
	}
}

// field is a question of a message.
func (t *translator) field(e celast.Expr, of *term, q *Question) *term {
	t.note(q)
	if q.calculate != nil || q.Options.GetCalculate() != "" {
		t.safe = false
	}
	get := at(of, q)
	if q.List {
		return t.listField(of, q)
	}
	switch q.access.kind {
	case kindTruth:
		return &term{truth: func(f *frame) truth {
			s, o := get(f)
			if o != there {
				return o.truth()
			}
			return truthOf(s.truth())
		}}
	case kindInt:
		if of.here() {
			return &term{own: q, integer: func(f *frame) (int64, outcome) {
				s := f.e.read(f.this, q)
				if s.state != stateAnswered {
					return 0, s.state.outcome()
				}
				return s.integer(), there
			}}
		}
		if at := of.slot - 1; at >= 0 {
			return &term{integer: func(f *frame) (int64, outcome) {
				n := f.vars[at].n
				if n == nil {
					return 0, none
				}
				s := f.e.read(n, q)
				if s.state != stateAnswered {
					return 0, s.state.outcome()
				}
				return s.integer(), there
			}}
		}
		return &term{integer: func(f *frame) (int64, outcome) {
			s, o := get(f)
			if o != there {
				return 0, o
			}
			return s.integer(), there
		}}
	case kindUint:
		return &term{natural: func(f *frame) (uint64, outcome) {
			s, o := get(f)
			if o != there {
				return 0, o
			}
			return s.bits, there
		}}
	case kindDouble:
		return &term{double: func(f *frame) (float64, outcome) {
			s, o := get(f)
			if o != there {
				return 0, o
			}
			return s.double(), there
		}}
	case kindText:
		return &term{text: func(f *frame) (string, outcome) {
			s, o := get(f)
			if o != there {
				return "", o
			}
			return s.text, there
		}}
	case kindNode:
		return &term{modules: []*Module{q.Module}, message: group(of, q)}
	case kindAny:
		return &term{any: t.wellKnown(of, q)}
	}
	return t.refuse(e, "bytes cannot be used")
}

// nodeOf is the message of a term; nil where there is none, because it stands in a question that is not asked.
func nodeOf(of *term) func(*frame) (*node, outcome) {
	if of.here() {
		return func(f *frame) (*node, outcome) { return f.this, there }
	}
	return of.message
}

// group is the message that is the answer to a question, one with nothing answered where it is not set.
func group(of *term, q *Question) func(*frame) (*node, outcome) {
	get := nodeOf(of)
	return func(f *frame) (*node, outcome) {
		n, o := get(f)
		if o != there || n == nil {
			return nil, o
		}
		if f.e.read(n, q).state == stateNotAsked {
			return nil, there
		}
		return f.e.rowsOf(n, q)[0], there
	}
}

// wellKnown is a timestamp, or what else CEL has a value of its own for.
func (t *translator) wellKnown(of *term, q *Question) func(*frame) ref.Val {
	get, adapter := nodeOf(of), t.x.base.CELTypeAdapter()
	return func(f *frame) ref.Val {
		n, o := get(f)
		if o != there {
			return o.value()
		}
		if n == nil || f.e.read(n, q).state != stateAnswered {
			return valueNone
		}
		return adapter.NativeToValue(q.access.value(&n.view, nil).Message().Interface())
	}
}

// selection is a field of something, or whether there is an answer in it.
func (t *translator) selection(e celast.Expr, s celast.SelectExpr) *term {
	if o := s.Operand(); o.Kind() == celast.IdentKind && o.AsIdent() == "choice" && t.at.choice && t.unbound("choice") {
		name := s.FieldName()
		return t.column(s.IsTestOnly(), func(*frame) (string, outcome) { return name, there })
	}
	of := t.term(s.Operand())
	if of.any != nil {
		return t.dynamic(e, of, s.FieldName(), s.IsTestOnly())
	}
	if of.message == nil {
		return t.refuse(e, "%s is no field of a message", s.FieldName())
	}
	q, ok := of.modules[0].Find(s.FieldName())
	if !ok {
		return t.refuse(e, "%s cannot be read: only questions can", s.FieldName())
	}
	if !s.IsTestOnly() {
		return t.field(e, of, q)
	}
	t.note(q)
	if q.Options.GetCalculate() != "" {
		t.safe = false
	}
	if of.here() {
		return &term{held: q, truth: func(f *frame) truth { return hasAnswer(f.e.read(f.this, q)) }}
	}
	if at := of.slot - 1; at >= 0 {
		return &term{truth: func(f *frame) truth {
			n := f.vars[at].n
			if n == nil {
				return no
			}
			return hasAnswer(f.e.read(n, q))
		}}
	}
	get := nodeOf(of)
	return &term{truth: func(f *frame) truth {
		n, o := get(f)
		if o == failed {
			return broken
		}
		if o == none || n == nil {
			return no
		}
		return hasAnswer(f.e.read(n, q))
	}}
}

// hasAnswer tells whether there is an answer in a slot.
func hasAnswer(s *slot) truth {
	switch s.state {
	case stateAnswered:
		return yes
	case stateFailed, stateComputing:
		return broken
	}
	return no
}

func (t *translator) unbound(name string) bool {
	for _, v := range t.vars {
		if v.name == name {
			return false
		}
	}
	return true
}

// column is a column of the choice at hand; "" where it has no such column.
func (t *translator) column(has bool, name func(*frame) (string, outcome)) *term {
	first := t.x.compiler.language()
	get := func(f *frame) (string, outcome) {
		key, o := name(f)
		if o != there {
			return "", o
		}
		if f.choice == nil {
			return "", none
		}
		return f.choice.column(key, first), there
	}
	if has {
		return &term{truth: func(f *frame) truth {
			s, o := get(f)
			if o != there {
				return o.truth()
			}
			return truthOf(s != "")
		}}
	}
	return &term{text: get}
}

// dynamic is a field of a message whose type is known only when the expression is evaluated.
func (t *translator) dynamic(e celast.Expr, of *term, name string, has bool) *term {
	t.safe = false
	var below []*Module
	for _, m := range of.modules {
		if q, ok := m.Find(name); ok {
			t.note(q)
			if q.Module != nil {
				below = append(below, q.Module)
			}
		}
	}
	get := of.any
	if has {
		return &term{truth: func(f *frame) truth {
			v := get(f)
			switch x, ok := v.(*object); {
			case outcomeOf(v) == none:
				return no
			case !ok:
				return broken
			default:
				return x.has(name)
			}
		}}
	}
	return t.typed(e, func(f *frame) ref.Val {
		v := get(f)
		if x, ok := v.(*object); ok {
			return x.field(name)
		}
		if o := outcomeOf(v); o != there {
			return o.value()
		}
		return valueFailed
	}, below)
}

// object is a message as a value of CEL.
type object struct {
	e *evaluation
	n *node // nil: in a question that is not asked
}

func (x *object) find(name string) *Question {
	if x.n == nil {
		return nil
	}
	q, _ := x.n.module.Find(name)
	return q
}

// has tells whether there is an answer to a question of the message.
func (x *object) has(name string) truth {
	q := x.find(name)
	switch {
	case q != nil:
		return hasAnswer(x.e.read(x.n, q))
	case x.n == nil:
		return no
	}
	return broken
}

// field is the answer to a question of the message.
func (x *object) field(name string) ref.Val {
	q := x.find(name)
	switch {
	case q == nil && x.n == nil:
		return valueNone
	case q == nil:
		return valueFailed
	}
	s := x.e.read(x.n, q)
	switch {
	case s.state == stateFailed || s.state == stateComputing:
		return valueFailed
	case q.List:
		f := &frame{e: x.e, this: x.n}
		return fieldList(thisNode, q).all(f)
	case q.Module != nil:
		if s.state == stateNotAsked {
			return &object{x.e, nil}
		}
		return &object{x.e, x.e.rowsOf(x.n, q)[0]}
	case s.state != stateAnswered:
		return valueNone
	case q.access.kind == kindAny:
		return types.DefaultTypeAdapter.NativeToValue(q.access.value(&x.n.view, nil).Message().Interface())
	}
	return s.value(q.access.kind)
}
