package study

import (
	"slices"
	"strconv"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/hearth-survey/hearth/proto/questionnaire"
)

// What expressions say without being carried out: which questions they read, and with what they compare.

// reading follows an expression through the questionnaire.
type reading struct {
	f       *filler
	leaves  []leaf
	rosters []*spot
	seen    map[string]bool
}

// reads lists the questions that an expression reads, those that calculations among them read after these, and the
// rosters it goes through.
func (f *filler) reads(source string, s *spot) ([]leaf, []*spot) {
	key := s.path + "\x00" + source
	if r, ok := f.readings[key]; ok {
		return r.leaves, r.rosters
	}
	r := &reading{f: f, seen: map[string]bool{}}
	r.source(source, s, 0)
	f.readings[key] = r
	return r.leaves, r.rosters
}

func (r *reading) source(source string, s *spot, depth int) {
	if t := r.f.engine.tree(source); t != nil && depth < mostDeep {
		r.expr(t.Expr(), s, map[string]*spot{}, depth)
	}
}

// expr goes through an expression and returns the message that it is, or whose rows it is a list of; nil for anything else.
func (r *reading) expr(e ast.Expr, s *spot, vars map[string]*spot, depth int) *spot {
	switch e.Kind() {
	case ast.IdentKind:
		return named(e.AsIdent(), s, vars)
	case ast.SelectKind:
		of := r.expr(e.AsSelect().Operand(), s, vars, depth)
		if of == nil {
			return nil
		}
		q, ok := of.module.Find(e.AsSelect().FieldName())
		if !ok {
			return nil
		}
		if q.Module != nil {
			below := of.kids[q]
			if q.List && !slices.Contains(r.rosters, below) {
				r.rosters = append(r.rosters, below)
				if count := q.Options.GetCount(); count != "" {
					r.source(count, of, depth+1)
				}
			}
			return below
		}
		r.note(leaf{of, q}, depth)
	case ast.CallKind:
		return r.call(e.AsCall(), s, vars, depth)
	case ast.ListKind:
		for _, x := range e.AsList().Elements() {
			r.expr(x, s, vars, depth)
		}
	}
	return nil
}

func (r *reading) call(c ast.CallExpr, s *spot, vars map[string]*spot, depth int) *spot {
	var target *spot
	if c.IsMemberFunction() {
		target = r.expr(c.Target(), s, vars, depth)
	}
	args := c.Args()
	if macro := map[string]bool{"exists": true, "exists_one": true, "all": true, "filter": true, "map": true}[c.FunctionName()]; macro && c.IsMemberFunction() && len(args) >= 2 && args[0].Kind() == ast.IdentKind {
		inner := map[string]*spot{}
		for k, v := range vars {
			inner[k] = v
		}
		inner[args[0].AsIdent()] = target
		for _, a := range args[1:] {
			r.expr(a, s, inner, depth)
		}
		if c.FunctionName() == "filter" {
			return target
		}
		return nil
	}
	var of *spot
	for i, a := range args {
		got := r.expr(a, s, vars, depth)
		if c.FunctionName() == operators.Index && i == 0 {
			of = got
		}
	}
	return of
}

// named is the message that a variable stands for.
func named(name string, s *spot, vars map[string]*spot) *spot {
	if v, ok := vars[name]; ok {
		return v
	}
	switch name {
	case "this":
		return s
	case "root":
		for s.up != nil {
			s = s.up
		}
		return s
	}
	if len(name) != 3 || name[:2] != "up" {
		return nil
	}
	for range name[2] - '0' {
		if s != nil {
			s = s.up
		}
	}
	return s
}

func (r *reading) note(l leaf, depth int) {
	if r.seen[l.path()] {
		return
	}
	r.seen[l.path()] = true
	r.leaves = append(r.leaves, l)
	if c := l.q.Options.GetCalculate(); c != "" {
		r.source(c, l.spot, depth+1)
	}
}

// palette is the numbers, texts and patterns that stand in an expression.
func (e *engine) palette(source string) *palette {
	if p, ok := e.palettes[source]; ok {
		return p
	}
	p := &palette{}
	if t := e.tree(source); t != nil {
		p.collect(t.Expr())
	}
	e.palettes[source] = p
	return p
}

func (p *palette) collect(x ast.Expr) {
	switch x.Kind() {
	case ast.LiteralKind:
		p.literal(x.AsLiteral(), false)
	case ast.SelectKind:
		p.collect(x.AsSelect().Operand())
	case ast.ListKind:
		for _, i := range x.AsList().Elements() {
			p.collect(i)
		}
	case ast.CallKind:
		c := x.AsCall()
		if c.IsMemberFunction() {
			p.collect(c.Target())
		}
		for i, a := range c.Args() {
			if c.FunctionName() == "matches" && a.Kind() == ast.LiteralKind && (c.IsMemberFunction() || i == 1) {
				p.literal(a.AsLiteral(), true)
				continue
			}
			p.collect(a)
		}
		if c.FunctionName() == operators.Negate {
			for _, n := range slices.Clone(p.numbers) {
				p.numbers = append(p.numbers, -n)
			}
		}
	}
}

func (p *palette) literal(v ref.Val, pattern bool) {
	switch x := v.(type) {
	case types.String:
		if pattern {
			p.patterns = append(p.patterns, string(x))
			return
		}
		p.texts = append(p.texts, string(x))
		if n, err := strconv.ParseFloat(string(x), 64); err == nil {
			p.numbers = append(p.numbers, n)
		}
	case types.Int:
		p.numbers = append(p.numbers, float64(x))
	case types.Uint:
		p.numbers = append(p.numbers, float64(x))
	case types.Double:
		p.numbers = append(p.numbers, float64(x))
	}
}

// and is both palettes in one.
func (p *palette) and(o *palette) *palette {
	return &palette{
		numbers: append(slices.Clip(p.numbers), o.numbers...), texts: append(slices.Clip(p.texts), o.texts...), patterns: append(slices.Clip(p.patterns), o.patterns...),
	}
}

// palettes is what the checks of a question compare it with.
func (f *filler) palettes(q *questionnaire.Question) *palette {
	if p, ok := f.checked[q]; ok {
		return p
	}
	p := &palette{}
	for _, c := range q.Options.GetChecks() {
		p = p.and(f.engine.palette(c.GetExpression()))
	}
	f.checked[q] = p
	return p
}

// numbersOf are the choices of a question; where expressions name some of them and there are many, these first.
func (f *filler) numbersOf(q *questionnaire.Question, p *palette) []int32 {
	if q.Choices == nil {
		return nil
	}
	var named []int32
	for _, n := range p.numbers {
		if _, ok := q.Choices.Find(int32(n)); ok && float64(int32(n)) == n {
			named = append(named, int32(n))
		}
	}
	for _, s := range p.texts {
		if c, ok := q.Choices.Named(s); ok {
			named = append(named, c.Number)
		}
	}
	if len(named) > 0 && len(q.Choices.List) > 3 {
		others := q.Choices.List
		return append(named, others[len(others)/2].Number, others[len(others)-1].Number)
	}
	all := make([]int32, len(q.Choices.List))
	for i, c := range q.Choices.List {
		all[i] = c.Number
	}
	return all
}
