package study

import (
	"math/rand/v2"
	"slices"
	"time"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"google.golang.org/protobuf/reflect/protoreflect"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
)

// answer gives a question an answer, seldom a reason for having none, or leaves it without one.
func (w *walk) answer(at stand, q *questionnaire.Question, path string) {
	planned, wished := w.plan.values[under(at.spot.path, q.Name())]
	if w.tried[path] > 0 || at.rec.row > 0 && at.rec.row != w.plan.row(at.spot) && w.r.IntN(2) == 0 {
		wished = false
	}
	if !wished && w.tried[path] == 0 && !w.left[path] && w.r.IntN(40) == 0 {
		w.leave(at, q, path)
		return
	}
	v, ok := planned, true
	if !wished || !w.passes(at, q, planned, true) {
		v, ok = w.draw(at, q, path)
	}
	if !ok {
		if w.tried[path] < 2 { // what its filter reads may be answered later
			w.changed = true
		} else if !w.left[path] {
			w.f.stuck[under(at.spot.path, q.Name())] = "no choice is offered"
			w.leave(at, q, path)
		}
		w.tried[path]++
		return
	}
	delete(w.left, path)
	put(at.make(), q.Field, v)
	w.changed = true
}

// draw looks for an answer that passes the question's checks.
func (w *walk) draw(at stand, q *questionnaire.Question, path string) (any, bool) {
	offered := w.offered(at, q)
	if initial := q.Options.GetInitial(); initial != "" && w.tried[path] == 0 && w.r.IntN(3) > 0 {
		if v := w.f.engine.eval(initial, scope{this: at.rec}); v != nil && q.Module == nil && !q.List && q.Choices == nil && w.passes(at, q, v.Value(), true) {
			return v.Value(), true
		}
	}
	pal := w.f.palettes(q)
	for _, c := range q.Options.GetChecks() {
		pal = pal.and(w.compared(at, q, c.GetExpression()))
	}
	var v any
	ok := false
	for i := range 60 {
		if v, ok = w.propose(at, q, offered, pal); !ok || w.passes(at, q, v, i < 40) {
			break
		}
	}
	return v, ok
}

func (w *walk) propose(at stand, q *questionnaire.Question, offered []int32, pal *palette) (any, bool) {
	v, ok := propose(w.r, q, offered, pal, w.f.engine.now)
	if n, whole := v.(int64); ok && whole && q.Choices == nil && w.f.counts[under(at.spot.path, q.Name())] && w.r.IntN(12) > 0 {
		low := boundsOf(q.Field).low
		v = max(min(n, 4), int64(max(low, -1e9))) // of as many rows, others are asked
		if v.(int64) < 0 {
			v = int64(w.r.IntN(4))
		}
	}
	return v, ok
}

// passes says whether nothing is known to be against an answer; soft: nor to make it unlikely.
func (w *walk) passes(at stand, q *questionnaire.Question, v any, soft bool) bool {
	if len(q.Options.GetChecks()) == 0 {
		return true
	}
	return w.passesAs(at, q, types.DefaultTypeAdapter.NativeToValue(v), soft)
}

func (w *walk) passesAs(at stand, q *questionnaire.Question, value ref.Val, soft bool) bool {
	with := *at.rec
	with.read = func(other *questionnaire.Question) ref.Val {
		if other == q {
			return value
		}
		return at.rec.read(other)
	}
	for _, c := range q.Options.GetChecks() {
		if c.GetSeverity() == formv1.Severity_SEVERITY_SOFT && !soft {
			continue
		}
		if holds, known := w.f.engine.holds(c.GetExpression(), scope{this: &with, value: value}); known && !holds {
			return false
		}
	}
	return true
}

// compared are the values of what a check compares the answer with.
func (w *walk) compared(at stand, q *questionnaire.Question, source string) *palette {
	p := &palette{}
	t := w.f.engine.tree(source)
	if t == nil {
		return p
	}
	var visit func(e ast.Expr)
	visit = func(e ast.Expr) {
		if e.Kind() != ast.CallKind {
			return
		}
		c := e.AsCall()
		if c.IsMemberFunction() {
			visit(c.Target())
		}
		for _, a := range c.Args() {
			visit(a)
		}
		switch c.FunctionName() {
		case operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
			for _, a := range c.Args() {
				if a.Kind() != ast.LiteralKind {
					p.add(w.f.engine.eval(text(t, a), scope{this: at.rec}))
				}
			}
		}
	}
	visit(t.Expr())
	return p
}

// mostOffered is how many of the choices that a filter leaves are looked for.
const mostOffered = 30

// offered are the choices that are offered, some of them where there are many.
func (w *walk) offered(at stand, q *questionnaire.Question) []int32 {
	if q.Choices == nil {
		return nil
	}
	var out []int32
	list := q.Choices.List
	if len(list) == 0 {
		return nil
	}
	from := w.r.IntN(len(list))
	for i := range list {
		c := &list[(from+i)%len(list)]
		if o := c.Options; o.GetSince() > w.f.q.Version() || o.GetUntil() != 0 && o.GetUntil() < w.f.q.Version() {
			continue
		}
		if filter := q.Options.GetFilter(); filter != "" {
			if holds, known := w.f.engine.holds(filter, scope{this: at.rec, choice: w.f.choice(c)}); !holds && known {
				continue
			}
		}
		if out = append(out, c.Number); len(out) == mostOffered && len(list) > 2*mostOffered {
			break
		}
	}
	slices.Sort(out)
	return out
}

// blockFill fills a message that is one answer in several parts.
type blockFill func(r *rand.Rand, m protoreflect.Message, format formv1.Format, now time.Time)
