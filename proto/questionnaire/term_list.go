package questionnaire

import (
	"slices"

	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// listing is a list, and the filters and mappings that are applied to it. Nothing of it is made as a list unless something
// asks for one: a cursor goes through it.
type listing struct {
	kind kind // of its elements, after the last step
	// source opens the list: rows, scalars or values.
	source func(*frame, *cursor) outcome
	// rows are those of a roster that is gone through as it is; nil where the list is none.
	rows  func(*frame) ([]*node, outcome)
	from  kind // of the elements of the source
	steps []step
}

// step keeps an element, or turns it into another, while the element stands in the variable's slot.
type step struct {
	slot int
	keep func(*frame) truth // nil: all
	turn func(*frame, *element) outcome
}

// cursor goes through a listing.
type cursor struct {
	rows   []*node
	seq    sequence
	values traits.Lister
	made   []element
	n, i   int
	// out is what the whole comes to where an element has no outcome, in the earliest step in which one has none.
	out   outcome
	stage int
	el    element // the element at hand
}

// cursor is the one of a comprehension, at the start.
func (f *frame) cursor(slot int) *cursor {
	c := &f.cursors[slot]
	*c = cursor{}
	return c
}

// open begins to go through the list.
func (l *listing) open(f *frame, c *cursor) outcome {
	if o := l.source(f, c); o != there {
		return o
	}
	if !f.e.spend(c.n) {
		return failed
	}
	return there
}

// next goes to the next element; false after the last. Then the cursor's out is that of the whole.
func (l *listing) next(f *frame, c *cursor) bool {
	el := &c.el
next:
	for c.i < c.n {
		i := c.i
		c.i++
		switch {
		case c.rows != nil:
			el.n = c.rows[i]
		case c.values != nil:
			if o := el.hold(c.values.Get(types.Int(i)), l.from); o != there {
				c.note(0, o)
				continue
			}
		case c.made != nil:
			*el = c.made[i]
		default:
			c.seq.datum(i, &el.datum)
		}
		for at := range l.steps {
			s := &l.steps[at]
			f.vars[s.slot] = *el
			if s.keep != nil {
				if t := s.keep(f); t != yes {
					if t != no {
						c.note(at+1, t.outcome())
					}
					continue next
				}
			}
			if s.turn != nil {
				if o := s.turn(f, el); o != there {
					c.note(at+1, o)
					continue next
				}
			}
		}
		return true
	}
	return false
}

// note remembers an element without outcome. That of an earlier step counts, for the later ones would not be reached.
func (c *cursor) note(stage int, o outcome) {
	switch {
	case c.out == there || stage < c.stage:
		c.out, c.stage = o, stage
	case stage == c.stage:
		c.out = max(c.out, o)
	}
}

// hold puts a value of CEL into an element.
func (el *element) hold(v ref.Val, k kind) outcome {
	if o := outcomeOf(v); o != there {
		return o
	}
	switch k {
	case kindAny:
		el.v = v
		return there
	case kindNode:
		x, ok := v.(*object)
		if ok {
			el.n = x.n
		}
		return only(ok)
	}
	return el.set(v, k)
}

// value is an element as CEL has it.
func (el *element) value(f *frame, k kind) ref.Val {
	switch k {
	case kindAny:
		return el.v
	case kindNode:
		return &object{f.e, el.n}
	}
	return el.datum.value(k)
}

// all is the list as CEL has it.
func (l *listing) all(f *frame) ref.Val {
	var c cursor
	if o := l.open(f, &c); o != there {
		return o.value()
	}
	values := make([]ref.Val, 0, c.n)
	for l.next(f, &c) {
		values = append(values, c.el.value(f, l.kind))
	}
	if c.out != there {
		return c.out.value()
	}
	return types.NewRefValList(types.DefaultTypeAdapter, values)
}

// listField is the list or the roster in a field.
func (t *translator) listField(of *term, q *Question) *term {
	x := &term{list: fieldList(of, q)}
	switch {
	case q.Module != nil:
		x.modules = []*Module{q.Module}
	case q.access.kind == kindAny || q.access.kind == kindBytes:
		return t.refuse(t.ast.Expr(), "the list %s cannot be used", q.name)
	}
	return x
}

// fieldList is the list or the roster in a field; empty where there is no answer.
func fieldList(of *term, q *Question) *listing {
	get := nodeOf(of)
	if q.Module != nil {
		rows := func(f *frame) ([]*node, outcome) {
			n, o := get(f)
			if o != there || n == nil || f.e.read(n, q).state != stateAnswered {
				return nil, o
			}
			return f.e.rowsOf(n, q), there
		}
		return &listing{kind: kindNode, from: kindNode, rows: rows, source: func(f *frame, c *cursor) (o outcome) {
			c.rows, o = rows(f)
			c.n = len(c.rows)
			return o
		}}
	}
	return &listing{kind: q.access.kind, from: q.access.kind, source: func(f *frame, c *cursor) outcome {
		n, o := get(f)
		if o != there || n == nil {
			return o
		}
		if s := f.e.read(n, q); s.state != stateAnswered {
			return there
		}
		c.seq = q.access.list(&n.view)
		c.n = c.seq.n
		return there
	}}
}

// valuesOf is a list of CEL's values.
func valuesOf(of func(*frame) ref.Val, k kind) *listing {
	return &listing{kind: k, from: k, source: func(f *frame, c *cursor) outcome {
		v := of(f)
		if o := outcomeOf(v); o != there {
			return o
		}
		l, ok := v.(traits.Lister)
		if !ok {
			return failed
		}
		n, ok := l.Size().(types.Int)
		c.values, c.n = l, int(n)
		return only(ok)
	}}
}

func kindOfElement(list *types.Type) kind {
	if p := list.Parameters(); len(p) == 1 {
		return kindOfType(p[0])
	}
	return kindAny
}

// listTerm is a list that is written out.
func (t *translator) listTerm(l celast.ListExpr) *term {
	k := kindAny
	var puts []func(*frame, *element) outcome
	var modules []*Module
	constant := true
	for i, e := range l.Elements() {
		x := t.term(e)
		put, of := t.element(x)
		if i == 0 {
			k = of
		} else if k != of {
			k = kindAny
		}
		puts, modules = append(puts, put), append(modules, x.modules...)
		constant = constant && e.Kind() == celast.LiteralKind
	}
	slices.SortFunc(modules, func(a, b *Module) int { return a.id - b.id })
	modules = slices.Compact(modules)
	if k == kindAny || len(modules) > 1 { // of several kinds
		for i, e := range l.Elements() {
			of := t.anyOf(t.term(e))
			puts[i] = func(f *frame, el *element) outcome {
				el.v = of(f)
				return outcomeOf(el.v)
			}
		}
		k = kindAny
	}
	make := func(f *frame) ([]element, outcome) {
		made, whole := make([]element, len(puts)), there
		for i, put := range puts {
			whole = max(whole, put(f, &made[i]))
		}
		return made, whole
	}
	if constant && t.err == nil {
		made, _ := make(nil)
		return &term{list: &listing{kind: k, from: k, source: func(_ *frame, c *cursor) outcome {
			c.made, c.n = made, len(made)
			return there
		}}}
	}
	return &term{modules: modules, list: &listing{kind: k, from: k, source: func(f *frame, c *cursor) (o outcome) {
		c.made, o = make(f)
		c.n = len(c.made)
		return o
	}}}
}

// element puts what a term comes to into an element, of a kind.
func (t *translator) element(x *term) (func(*frame, *element) outcome, kind) {
	switch {
	case x.truth != nil:
		of := x.truth
		return func(f *frame, el *element) outcome {
			b := of(f)
			el.setTruth(b == yes)
			return b.outcome()
		}, kindTruth
	case x.integer != nil:
		of := x.integer
		return func(f *frame, el *element) outcome {
			i, o := of(f)
			el.setInt(i)
			return o
		}, kindInt
	case x.natural != nil:
		of := x.natural
		return func(f *frame, el *element) (o outcome) {
			el.bits, o = of(f)
			return o
		}, kindUint
	case x.double != nil:
		of := x.double
		return func(f *frame, el *element) outcome {
			d, o := of(f)
			el.setDouble(d)
			return o
		}, kindDouble
	case x.text != nil:
		of := x.text
		return func(f *frame, el *element) (o outcome) {
			el.text, o = of(f)
			return o
		}, kindText
	case x.message != nil:
		of := x.message
		return func(f *frame, el *element) (o outcome) {
			el.n, o = of(f)
			return o
		}, kindNode
	}
	of := t.anyOf(x)
	return func(f *frame, el *element) outcome {
		el.v = of(f)
		return outcomeOf(el.v)
	}, kindAny
}

// variableTerm is an element that a comprehension looks at.
func (t *translator) variableTerm(l *term, slot int, e celast.Expr) *term {
	switch l.list.kind {
	case kindTruth:
		return &term{truth: func(f *frame) truth { return truthOf(f.vars[slot].truth()) }}
	case kindInt:
		return &term{integer: func(f *frame) (int64, outcome) { return f.vars[slot].integer(), there }}
	case kindUint:
		return &term{natural: func(f *frame) (uint64, outcome) { return f.vars[slot].bits, there }}
	case kindDouble:
		return &term{double: func(f *frame) (float64, outcome) { return f.vars[slot].double(), there }}
	case kindText:
		return &term{text: func(f *frame) (string, outcome) { return f.vars[slot].text, there }}
	case kindNode:
		return &term{modules: l.modules, slot: slot + 1, message: func(f *frame) (*node, outcome) { return f.vars[slot].n, there }}
	}
	of := func(f *frame) ref.Val { return f.vars[slot].v }
	is := t.ast.GetType(e.ID())
	if p := is.Parameters(); is.Kind() == types.ListKind && len(p) == 1 && p[0].Kind() == types.ListKind {
		return &term{list: valuesOf(of, kindOfElement(p[0])), modules: l.modules}
	}
	return &term{any: of, modules: l.modules}
}

// asList is a term as a list; nil where it is none.
func (t *translator) asList(x *term) *term {
	switch {
	case x.list != nil:
		return x
	case x.any != nil:
		return &term{list: valuesOf(x.any, kindAny), modules: x.modules}
	}
	return nil
}

// comprehension translates what the macros exists, exists_one, all, filter and map expand to.
func (t *translator) comprehension(e celast.Expr, c celast.ComprehensionExpr) *term {
	of := t.asList(t.term(c.IterRange()))
	if t.err != nil {
		return nothing
	}
	if of == nil || c.HasIterVar2() || c.LoopStep().Kind() != celast.CallKind {
		return t.refuse(e, "only lists can be gone through")
	}
	slot := t.slots
	t.slots++
	inner := variable{c.IterVar(), t.variableTerm(of, slot, c.IterRange())}
	body := func(e celast.Expr) *term {
		t.vars = append(t.vars, inner)
		defer func() { t.vars = t.vars[:len(t.vars)-1] }()
		return t.term(e)
	}
	t.safe = t.safe && of.list.kind == kindNode
	call := c.LoopStep().AsCall()
	switch call.FunctionName() {
	case operators.LogicalOr: // exists: accu || p
		return quantified(of.list, slot, t.truthOf(body(call.Args()[1])), yes, no)
	case operators.LogicalAnd: // all: accu && p
		return quantified(of.list, slot, t.truthOf(body(call.Args()[1])), no, yes)
	case operators.Add: // map: accu + [x]
		return t.mapped(of, slot, nil, body(call.Args()[1].AsList().Elements()[0]))
	case operators.Conditional:
		keep := t.truthOf(body(call.Args()[0]))
		if c.AccuInit().Kind() == celast.LiteralKind { // exists_one: p ? accu + 1 : accu
			return exactlyOne(of.list, slot, keep)
		}
		// filter and map of three: p ? accu + [x] : accu
		turned := call.Args()[1].AsCall().Args()[1].AsList().Elements()[0]
		if turned.Kind() == celast.IdentKind && turned.AsIdent() == c.IterVar() {
			l := *of.list
			l.steps = append(append([]step(nil), l.steps...), step{slot: slot, keep: keep})
			return &term{list: &l, modules: of.modules}
		}
		return t.mapped(of, slot, keep, body(turned))
	}
	return t.refuse(e, "only lists can be gone through")
}

// mapped is a list of what a term comes to for each element that is kept.
func (t *translator) mapped(of *term, slot int, keep func(*frame) truth, x *term) *term {
	l := *of.list
	s := step{slot: slot, keep: keep}
	s.turn, l.kind = t.element(x)
	l.steps = append(append([]step(nil), l.steps...), s)
	return &term{list: &l, modules: x.modules}
}

// quantified is exists and all: the outcome decisive where one element has it, otherwise what the worst one came to.
func quantified(l *listing, slot int, p func(*frame) truth, decisive, rest truth) *term {
	early := len(l.steps) == 0
	if early && l.rows != nil {
		return quantifiedRows(l.rows, slot, p, decisive, rest)
	}
	return &term{truth: func(f *frame) truth {
		c := f.cursor(slot)
		if o := l.open(f, c); o != there {
			return o.truth()
		}
		outcome := rest
		for l.next(f, c) {
			if outcome == decisive { // the steps before are carried out for all elements first, and may yet fail
				continue
			}
			f.vars[slot] = c.el
			switch o := p(f); {
			case o == decisive:
				if early {
					return decisive
				}
				outcome = o
			case o > yes:
				outcome = max(outcome, o)
			}
		}
		if c.out != there {
			return c.out.truth()
		}
		return outcome
	}}
}

// quantifiedRows is quantified for the rows of a roster as they are.
func quantifiedRows(rows func(*frame) ([]*node, outcome), slot int, p func(*frame) truth, decisive, rest truth) *term {
	return &term{truth: func(f *frame) truth {
		all, o := rows(f)
		if o != there {
			return o.truth()
		}
		if !f.e.spend(len(all)) {
			return broken
		}
		outcome := rest
		for _, n := range all {
			f.vars[slot].n = n
			switch o := p(f); {
			case o == decisive:
				return decisive
			case o > yes:
				outcome = max(outcome, o)
			}
		}
		return outcome
	}}
}

// exactlyOne is exists_one.
func exactlyOne(l *listing, slot int, p func(*frame) truth) *term {
	return &term{truth: func(f *frame) truth {
		c := f.cursor(slot)
		if o := l.open(f, c); o != there {
			return o.truth()
		}
		found, worst := 0, yes
		for l.next(f, c) {
			f.vars[slot] = c.el
			switch o := p(f); {
			case o == yes:
				found++
			case o > yes:
				worst = max(worst, o)
			}
		}
		switch {
		case c.out != there:
			return c.out.truth()
		case worst > yes:
			return worst
		}
		return truthOf(found == 1)
	}}
}

// sizeOf is how many elements a list has.
func (t *translator) sizeOf(l *listing) func(*frame) (int64, outcome) {
	slot := t.slots
	t.slots++
	return func(f *frame) (int64, outcome) {
		c := f.cursor(slot)
		if o := l.open(f, c); o != there {
			return 0, o
		}
		if len(l.steps) == 0 && c.values == nil {
			return int64(c.n), there
		}
		n := int64(0)
		for l.next(f, c) {
			n++
		}
		return n, c.out
	}
}

// elementAt is one element of a list by its number from 0; no answer where it has none there.
func (t *translator) elementAt(e celast.Expr, of *term, index func(*frame) (int64, outcome)) *term {
	l, slot := of.list, t.slots
	t.slots++
	get := func(f *frame) outcome {
		c := f.cursor(slot)
		at, o := index(f)
		if o = max(o, l.open(f, c)); o != there {
			return o
		}
		found := none
		for i := int64(0); l.next(f, c); i++ {
			if i == at {
				f.vars[slot], found = c.el, there
			}
		}
		if c.out != there {
			return c.out
		}
		return found
	}
	if l.kind == kindAny {
		return t.typed(e, func(f *frame) ref.Val {
			if o := get(f); o != there {
				return o.value()
			}
			return f.vars[slot].v
		}, of.modules)
	}
	return t.variableTerm(of, slot, e).after(get)
}

// after is a term that is evaluated only where what goes before it has an outcome.
func (x *term) after(first func(*frame) outcome) *term {
	switch {
	case x.truth != nil:
		of := x.truth
		return &term{truth: func(f *frame) truth {
			if o := first(f); o != there {
				return o.truth()
			}
			return of(f)
		}}
	case x.integer != nil:
		return &term{integer: afterward(first, x.integer)}
	case x.natural != nil:
		return &term{natural: afterward(first, x.natural)}
	case x.double != nil:
		return &term{double: afterward(first, x.double)}
	case x.text != nil:
		return &term{text: afterward(first, x.text)}
	}
	return &term{message: afterward(first, x.message), modules: x.modules}
}

func afterward[T any](first func(*frame) outcome, of func(*frame) (T, outcome)) func(*frame) (T, outcome) {
	return func(f *frame) (T, outcome) {
		if o := first(f); o != there {
			var zero T
			return zero, o
		}
		return of(f)
	}
}
