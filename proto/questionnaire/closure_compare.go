package questionnaire

import (
	"cmp"

	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// compare is a comparison of two values of the same type.
func compare(op string, a, b *node) *node {
	switch {
	case a.integer != nil && b.constant != nil:
		return compareConstant(op, a.integer, *b.constant)
	case a.integer != nil && b.integer != nil:
		return comparison(op, a.integer, b.integer)
	case a.natural != nil && b.natural != nil:
		return comparison(op, a.natural, b.natural)
	case a.double != nil && b.double != nil:
		return comparison(op, a.double, b.double)
	case a.text != nil && b.text != nil:
		return compareTexts(op, a.text, b.text)
	case a.truth != nil && b.truth != nil && (op == operators.Equals || op == operators.NotEquals):
		equal, left, right := truthOf(op == operators.Equals), a.truth, b.truth
		return &node{truth: func(f *frame) truth {
			l, r := left(f), right(f)
			if l == failed || r == failed {
				return failed
			}
			return truthOf((l == r) == (equal == yes))
		}}
	}
	return nil
}

// compareConstant is the comparison that questionnaires are made of, this.x == 1, with one closure the less.
func compareConstant(op string, left func(*frame) (int64, bool), c int64) *node {
	holds := holding[int64](op)
	if op == operators.Equals {
		return &node{truth: func(f *frame) truth {
			l, ok := left(f)
			if !ok {
				return failed
			}
			return truthOf(l == c)
		}}
	}
	return &node{truth: func(f *frame) truth {
		l, ok := left(f)
		if !ok {
			return failed
		}
		return truthOf(holds(l, c))
	}}
}

// comparison is Go's, which for doubles is CEL's too: nothing is less, more or equal to a NaN.
func comparison[T int64 | uint64 | float64](op string, left, right func(*frame) (T, bool)) *node {
	holds := holding[T](op)
	return &node{truth: func(f *frame) truth {
		l, ok := left(f)
		if !ok {
			return failed
		}
		r, ok := right(f)
		if !ok {
			return failed
		}
		return truthOf(holds(l, r))
	}}
}

func compareTexts(op string, left, right func(*frame) string) *node {
	holds := holding[string](op)
	return &node{truth: func(f *frame) truth { return truthOf(holds(left(f), right(f))) }}
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

// comprehension translates what the macros exists, all and filter expand to.
func (t *translator) comprehension(c celast.ComprehensionExpr) *node {
	if c.HasIterVar2() || !isIdent(c.Result(), c.AccuVar()) {
		return nil
	}
	of := t.node(c.IterRange())
	if of == nil || of.rows == nil {
		return nil
	}
	// A slot of its own, beyond those of the variables in scope and of the filters that run inside the same loop.
	slot := len(of.rows.filters)
	if len(t.vars) > 0 {
		slot += t.vars[len(t.vars)-1].slot + 1
	}
	if slot >= maxDepth || c.LoopStep().Kind() != celast.CallKind {
		return nil
	}
	step := c.LoopStep().AsCall()
	body := func(e celast.Expr) func(*frame) truth {
		outer := t.vars
		t.vars = append(append([]variable(nil), outer...), variable{name: c.IterVar(), slot: slot, field: of.rows.field})
		defer func() { t.vars = outer }()
		if n := t.node(e); n != nil {
			return n.truth
		}
		return nil
	}
	switch step.FunctionName() {
	case operators.LogicalOr: // exists: accu || p
		if p := body(step.Args()[1]); p != nil && isIdent(step.Args()[0], c.AccuVar()) && isLiteral(c.AccuInit(), types.False) {
			return quantified(of.rows, slot, p, yes, no)
		}
	case operators.LogicalAnd: // all: accu && p
		if p := body(step.Args()[1]); p != nil && isIdent(step.Args()[0], c.AccuVar()) && isLiteral(c.AccuInit(), types.True) {
			return quantified(of.rows, slot, p, no, yes)
		}
	case operators.Conditional: // filter: p ? accu + [x] : accu
		if keep := body(step.Args()[0]); keep != nil && isFilterStep(step, c) {
			r := *of.rows
			r.filters = append(append([]filter(nil), r.filters...), filter{slot: slot, keep: keep})
			return &node{rows: &r}
		}
	}
	return nil
}

// quantified is exists and all: the outcome decisive as soon as one row has it, failed where one failed, otherwise rest.
func quantified(r *rows, slot int, p func(*frame) truth, decisive, rest truth) *node {
	return &node{truth: func(f *frame) truth {
		list := r.list(f)
		n := list.len()
		if f.steps -= n; f.steps < 0 {
			return failed
		}
		outcome := rest
	rows:
		for i := range n {
			v := list.get(i)
			for _, x := range r.filters {
				f.vars[x.slot] = v
				switch x.keep(f) {
				case no:
					continue rows
				case failed:
					return failed
				}
			}
			if outcome == decisive {
				continue // the filters are applied to all rows first, and may yet fail
			}
			f.vars[slot] = v
			switch o := p(f); {
			case o == decisive && len(r.filters) == 0:
				return decisive
			case o != rest:
				if o == decisive || outcome == rest {
					outcome = o
				}
			}
		}
		return outcome
	}}
}

func isIdent(e celast.Expr, name string) bool {
	return e.Kind() == celast.IdentKind && e.AsIdent() == name
}

func isLiteral(e celast.Expr, v types.Bool) bool {
	return e.Kind() == celast.LiteralKind && e.AsLiteral() == v
}

// isFilterStep tells whether a conditional is that of the macro filter, which keeps the variable itself, and not of map.
func isFilterStep(step celast.CallExpr, c celast.ComprehensionExpr) bool {
	if !isIdent(step.Args()[2], c.AccuVar()) || step.Args()[1].Kind() != celast.CallKind {
		return false
	}
	plus := step.Args()[1].AsCall()
	if plus.FunctionName() != operators.Add || !isIdent(plus.Args()[0], c.AccuVar()) || plus.Args()[1].Kind() != celast.ListKind {
		return false
	}
	elements := plus.Args()[1].AsList().Elements()
	return len(elements) == 1 && isIdent(elements[0], c.IterVar())
}
