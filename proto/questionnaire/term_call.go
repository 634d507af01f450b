package questionnaire

import (
	"cmp"
	"math/rand/v2"
	"regexp"
	"strings"
	"unicode/utf8"

	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"github.com/google/uuid"
)

func randomNumber() float64 { return rand.Float64() }
func randomID() string      { return uuid.NewString() }

// unusable are functions of CEL that questionnaires may not use.
var unusable = map[string]bool{"type": true, "dyn": true, "bytes": true, "uint": true}

// call translates an operator or a function.
func (t *translator) call(e celast.Expr, c celast.CallExpr) *term {
	name := c.FunctionName()
	if unusable[name] {
		return t.refuse(e, "%s() cannot be used", name)
	}
	operands := c.Args()
	if c.IsMemberFunction() {
		operands = append([]celast.Expr{c.Target()}, operands...)
	}
	if name == operators.Index && operands[0].Kind() == celast.IdentKind && operands[0].AsIdent() == "choice" && t.at.choice && t.unbound("choice") {
		if key := t.term(operands[1]); key.text != nil {
			return t.column(false, key.text)
		}
	}
	args := make([]*term, len(operands))
	for i, a := range operands {
		args[i] = t.term(a)
	}
	if t.err != nil {
		return nothing
	}
	if x := t.operator(e, name, args); x != nil {
		return x
	}
	if x := t.fast(e, name, args); x != nil {
		return x
	}
	return t.function(e, name, operands, args)
}

// operator translates what is CEL's own.
func (t *translator) operator(e celast.Expr, name string, args []*term) *term {
	switch name {
	case operators.LogicalNot:
		if q := args[0].held; q != nil {
			return hasNot(q)
		}
		return not(t.truthOf(args[0]))
	case operators.LogicalAnd:
		return t.junction(args, no, yes)
	case operators.LogicalOr:
		return t.junction(args, yes, no)
	case operators.Conditional:
		return t.conditional(e, args)
	case operators.Equals, operators.NotEquals:
		if x := compare(name, args[0], args[1]); x != nil {
			return x
		}
		return t.equal(e, name == operators.Equals, args)
	case operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
		return compare(name, args[0], args[1])
	case operators.Add, operators.Subtract, operators.Multiply, operators.Divide, operators.Modulo:
		return t.arithmetic(name, args[0], args[1])
	case operators.Negate:
		return t.negative(args[0])
	case operators.In:
		return t.membership(e, args[1], args[0])
	case operators.Index:
		if of := t.asList(args[0]); of != nil {
			return t.elementAt(e, of, t.intOf(args[1]))
		}
	}
	return nil
}

// hasNot is !has(this.x), with which every other check begins.
func hasNot(q *Question) *term {
	return &term{truth: func(f *frame) truth {
		t := hasAnswer(f.e.read(f.this, q))
		if t <= yes {
			return yes + no - t
		}
		return t
	}}
}

func not(of func(*frame) truth) *term {
	return &term{truth: func(f *frame) truth {
		switch t := of(f); t {
		case no:
			return yes
		case yes:
			return no
		default:
			return t
		}
	}}
}

// junction has the outcome decisive where any side has it, otherwise the worst of them. What stands in a row, as in a || b || c,
// is one junction.
func (t *translator) junction(args []*term, decisive, rest truth) *term {
	x := &term{decisive: decisive}
	for _, a := range args {
		if a.decisive == decisive {
			x.parts = append(x.parts, a.parts...)
		} else {
			x.parts = append(x.parts, t.truthOf(a))
		}
	}
	parts := x.parts
	x.truth = func(f *frame) truth {
		worst := rest
		for _, of := range parts {
			switch o := of(f); {
			case o == decisive:
				return decisive
			case o > yes:
				worst = max(worst, o)
			}
		}
		return worst
	}
	return x
}

// conditional is c ? a : b.
func (t *translator) conditional(e celast.Expr, args []*term) *term {
	c, a, b := t.truthOf(args[0]), args[1], args[2]
	switch {
	case a.truth != nil && b.truth != nil:
		return &term{truth: func(f *frame) truth {
			switch is := c(f); is {
			case yes:
				return a.truth(f)
			case no:
				return b.truth(f)
			default:
				return is
			}
		}}
	case a.integer != nil && b.integer != nil:
		return &term{integer: choose(c, a.integer, b.integer)}
	case a.natural != nil && b.natural != nil:
		return &term{natural: choose(c, a.natural, b.natural)}
	case a.double != nil && b.double != nil:
		return &term{double: choose(c, a.double, b.double)}
	case a.text != nil && b.text != nil:
		return &term{text: choose(c, a.text, b.text)}
	case a.message != nil && b.message != nil && a.modules[0] == b.modules[0]:
		return &term{message: choose(c, a.message, b.message), modules: a.modules}
	}
	modules := append(append([]*Module(nil), a.modules...), b.modules...)
	yesValue, noValue := t.anyOf(a), t.anyOf(b)
	return t.typed(e, func(f *frame) ref.Val {
		switch is := c(f); is {
		case yes:
			return yesValue(f)
		case no:
			return noValue(f)
		default:
			return is.outcome().value()
		}
	}, modules)
}

func choose[T any](c func(*frame) truth, a, b func(*frame) (T, outcome)) func(*frame) (T, outcome) {
	return func(f *frame) (T, outcome) {
		switch is := c(f); is {
		case yes:
			return a(f)
		case no:
			return b(f)
		default:
			var zero T
			return zero, is.outcome()
		}
	}
}

// both carries out an operator whose two sides must have a value.
func both[A, R any](left, right func(*frame) (A, outcome), do func(A, A) (R, outcome)) func(*frame) (R, outcome) {
	return func(f *frame) (R, outcome) {
		l, lo := left(f)
		r, ro := right(f)
		if o := max(lo, ro); o != there {
			var zero R
			return zero, o
		}
		return do(l, r)
	}
}

// compare is a comparison of two values of the same kind; nil where they are of none that is known here.
func compare(op string, a, b *term) *term {
	switch {
	case a.integer != nil && b.constant != nil:
		return compareConstant(op, a, *b.constant)
	case a.integer != nil && b.integer != nil:
		return comparisonOfInts(op, a.integer, b.integer)
	case a.natural != nil && b.natural != nil:
		return comparison(op, a.natural, b.natural)
	case a.double != nil && b.double != nil:
		return comparison(op, a.double, b.double)
	case a.text != nil && b.text != nil:
		return comparison(op, a.text, b.text)
	case a.truth != nil && b.truth != nil && (op == operators.Equals || op == operators.NotEquals):
		equal, left, right := op == operators.Equals, a.truth, b.truth
		return &term{truth: func(f *frame) truth {
			l, r := left(f), right(f)
			if l > yes || r > yes {
				return max(l, r)
			}
			return truthOf((l == r) == equal)
		}}
	}
	return nil
}

// compareConstant is the comparison that questionnaires are made of, this.x == 1, with one closure or two the less.
func compareConstant(op string, left *term, c int64) *term {
	holds := relationOf(op)
	if q := left.own; q != nil {
		return &term{truth: func(f *frame) truth {
			s := f.e.read(f.this, q)
			if s.state != stateAnswered {
				return s.state.outcome().truth()
			}
			return holds.of(s.integer(), c)
		}}
	}
	of := left.integer
	return &term{truth: func(f *frame) truth {
		l, o := of(f)
		if o != there {
			return o.truth()
		}
		return holds.of(l, c)
	}}
}

// relation is a comparison of whole numbers: whether it holds of a smaller, an equal and a greater one.
type relation [3]truth

func relationOf(op string) *relation {
	holds := holding[int64](op)
	return &relation{truthOf(holds(-1, 0)), truthOf(holds(0, 0)), truthOf(holds(1, 0))}
}

func (r *relation) of(a, b int64) truth {
	switch {
	case a < b:
		return r[0]
	case a == b:
		return r[1]
	}
	return r[2]
}

// comparisonOfInts is comparison of whole numbers, without a function for the operator.
func comparisonOfInts(op string, left, right func(*frame) (int64, outcome)) *term {
	holds := relationOf(op)
	return &term{truth: func(f *frame) truth {
		l, lo := left(f)
		r, ro := right(f)
		if o := max(lo, ro); o != there {
			return o.truth()
		}
		return holds.of(l, r)
	}}
}

// comparison is Go's, which for doubles is CEL's too: nothing is less, more or equal to a NaN.
func comparison[T cmp.Ordered](op string, left, right func(*frame) (T, outcome)) *term {
	holds := holding[T](op)
	return &term{truth: func(f *frame) truth {
		l, lo := left(f)
		r, ro := right(f)
		if o := max(lo, ro); o != there {
			return o.truth()
		}
		return truthOf(holds(l, r))
	}}
}

func holding[T cmp.Ordered](op string) func(a, b T) bool {
	switch op {
	case operators.Equals:
		return func(a, b T) bool { return a == b }
	case operators.NotEquals:
		return func(a, b T) bool { return a != b }
	case operators.Less:
		return func(a, b T) bool { return a < b }
	case operators.LessEquals:
		return func(a, b T) bool { return a <= b }
	case operators.Greater:
		return func(a, b T) bool { return a > b }
	}
	return func(a, b T) bool { return a >= b }
}

// equal compares lists and values of CEL. Messages cannot be compared: what would it mean of questions that are not asked?
func (t *translator) equal(e celast.Expr, equal bool, args []*term) *term {
	for _, a := range args {
		if a.message != nil || a.list != nil && a.list.kind == kindNode {
			return t.refuse(e, "messages cannot be compared: compare their fields")
		}
	}
	t.safe = false
	left, right := t.anyOf(args[0]), t.anyOf(args[1])
	return &term{truth: func(f *frame) truth {
		l, r := left(f), right(f)
		if o := max(outcomeOf(l), outcomeOf(r)); o != there {
			return o.truth()
		}
		var s datum
		if o := s.set(types.Equal(l, r), kindTruth); o != there {
			return o.truth()
		}
		return truthOf(s.truth() == equal)
	}}
}

// membership tells whether a value stands in a list.
func (t *translator) membership(e celast.Expr, list, value *term) *term {
	of := t.asList(list)
	if of == nil || value.message != nil || of.list.kind == kindNode {
		return t.refuse(e, "only numbers, texts and the like can be looked for in a list")
	}
	put, k := t.element(value)
	l := of.list
	if k != l.kind {
		in, all := t.anyOf(value), l.all
		return &term{truth: func(f *frame) truth {
			v, list := in(f), all(f)
			if o := max(outcomeOf(v), outcomeOf(list)); o != there {
				return o.truth()
			}
			return contained(list, v)
		}}
	}
	slot := t.slots
	t.slots++
	return &term{truth: func(f *frame) truth {
		c := f.cursor(slot)
		o := put(f, &f.vars[slot])
		if o = max(o, l.open(f, c)); o != there {
			return o.truth()
		}
		found := no
		for l.next(f, c) {
			if found == no && c.el.same(&f.vars[slot], k) {
				found = yes
			}
		}
		if c.out != there {
			return c.out.truth()
		}
		return found
	}}
}

// contained tells whether a list of CEL has a value.
func contained(list, v ref.Val) truth {
	l, ok := list.(interface{ Contains(ref.Val) ref.Val })
	if !ok {
		return broken
	}
	var s datum
	if o := s.set(l.Contains(v), kindTruth); o != there {
		return o.truth()
	}
	return truthOf(s.truth())
}

// same tells whether two elements of a kind are equal; a NaN is equal to nothing.
func (el *element) same(other *element, k kind) bool {
	switch k {
	case kindText:
		return el.text == other.text
	case kindDouble:
		return el.double() == other.double()
	case kindAny:
		return types.Equal(el.v, other.v) == types.True
	}
	return el.bits == other.bits
}

// fast translates functions that questionnaires use often, and texts that are constant.
func (t *translator) fast(e celast.Expr, name string, args []*term) *term {
	switch {
	case name == "size" && args[0].list != nil:
		return &term{integer: t.sizeOf(args[0].list)}
	case name == "size" && args[0].text != nil:
		of := args[0].text
		return &term{integer: func(f *frame) (int64, outcome) {
			s, o := of(f)
			return int64(utf8.RuneCountInString(s)), o
		}}
	case name == "selected" && args[0].list != nil:
		return t.membership(e, args[0], args[1])
	case name == "selected" && args[0].integer != nil && args[1].integer != nil:
		return compare(operators.Equals, args[0], args[1])
	case name == "double" && args[0].integer != nil:
		of := args[0].integer
		return &term{double: func(f *frame) (float64, outcome) { i, o := of(f); return float64(i), o }}
	case name == "double" && args[0].double != nil, name == "int" && args[0].integer != nil, name == "string" && args[0].text != nil:
		return args[0]
	case len(args) == 2 && args[0].text != nil && args[1].text != nil:
		return t.textTest(e, name, args[0], args[1])
	case len(args) == 1 && args[0].list != nil:
		return t.aggregate(name, args[0].list)
	}
	return nil
}

// textTest is one of CEL's questions about a text.
func (t *translator) textTest(e celast.Expr, name string, of, what *term) *term {
	tests := map[string]func(s, what string) bool{"contains": strings.Contains, "startsWith": strings.HasPrefix, "endsWith": strings.HasSuffix}
	if test := tests[name]; test != nil {
		return &term{truth: truthful(both(of.text, what.text, func(a, b string) (bool, outcome) { return test(a, b), there }))}
	}
	if name != "matches" || what.literal == nil {
		return nil
	}
	re, err := regexp.Compile(*what.literal)
	if err != nil {
		return t.refuse(e, "%q is no regular expression: %w", *what.literal, err)
	}
	text := of.text
	return &term{truth: func(f *frame) truth {
		s, o := text(f)
		if o != there {
			return o.truth()
		}
		return truthOf(re.MatchString(s))
	}}
}

func truthful(of func(*frame) (bool, outcome)) func(*frame) truth {
	return func(f *frame) truth {
		b, o := of(f)
		if o != there {
			return o.truth()
		}
		return truthOf(b)
	}
}

// aggregate is sum, mean, min or max of a list of numbers.
func (t *translator) aggregate(name string, l *listing) *term {
	slot := t.slots
	t.slots++
	switch {
	case l.kind == kindInt && name != "mean":
		of := map[string]func([]int64) (int64, error){"sum": sumInts, "min": least[int64], "max": greatest[int64]}[name]
		if of == nil {
			return nil
		}
		t.safe = false
		return &term{integer: aggregated(l, slot, (*datum).integer, of)}
	case l.kind == kindInt:
		return &term{double: aggregated(l, slot, (*datum).integer, meanInts)}
	case l.kind == kindDouble:
		of := map[string]func([]float64) (float64, error){"sum": sumDoubles, "mean": meanDoubles, "min": least[float64], "max": greatest[float64]}[name]
		if of == nil {
			return nil
		}
		return &term{double: aggregated(l, slot, (*datum).double, of)}
	}
	return nil
}

func aggregated[T, R any](l *listing, slot int, get func(*datum) T, of func([]T) (R, error)) func(*frame) (R, outcome) {
	return func(f *frame) (R, outcome) {
		var zero R
		c := f.cursor(slot)
		if o := l.open(f, c); o != there {
			return zero, o
		}
		all := make([]T, 0, c.n)
		for l.next(f, c) {
			all = append(all, get(&c.el.datum))
		}
		if c.out != there {
			return zero, c.out
		}
		x, err := of(all)
		if err != nil {
			return zero, outcomeOf(types.WrapErr(err))
		}
		return x, there
	}
}
