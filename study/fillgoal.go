package study

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/hearth-survey/hearth/proto/questionnaire"
)

// A plan is answers that lead to a question which no interview has reached: for the conditions under which it is asked,
// answers of the questions that they read are looked for, and for these questions in turn what leads to them. A
// plan knows one row of each roster, repeated.

// spot is a message in its place in the questionnaire.
type spot struct {
	module *questionnaire.Module
	// by is the question that leads here, nil at the top.
	by   *questionnaire.Question
	up   *spot
	path string // names of questions from the top, rows not counted
	kids map[*questionnaire.Question]*spot
}

func newSpot(m *questionnaire.Module, by *questionnaire.Question, up *spot, path string) *spot {
	s := &spot{module: m, by: by, up: up, path: path, kids: map[*questionnaire.Question]*spot{}}
	for _, q := range m.Questions {
		if q.Module != nil {
			s.kids[q] = newSpot(q.Module, q, s, under(path, q.Name()))
		}
	}
	return s
}

func under(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// leaf is a question in its place.
type leaf struct {
	spot *spot
	q    *questionnaire.Question
}

func (l leaf) path() string { return under(l.spot.path, l.q.Name()) }

type plan struct {
	f      *filler
	r      *rand.Rand
	values map[string]any // answers by path; absent: none
	rows   map[string]int
	at     map[string]int  // which row of a roster the plan is about, by path; absent: the first
	asked  map[string]bool // what has been made to be asked, or is being
	effort int             // how many more expressions may be carried out
	deep   int
}

const (
	mostEffort = 4_000
	mostDeep   = 12
)

func (f *filler) newPlan(r *rand.Rand) *plan {
	return &plan{f: f, r: r, values: map[string]any{}, rows: map[string]int{}, at: map[string]int{}, asked: map[string]bool{}, effort: mostEffort}
}

// try does something, and takes back what it changed where it fails.
func (p *plan) try(do func() bool) bool {
	values, rows, at, asked := maps.Clone(p.values), maps.Clone(p.rows), maps.Clone(p.at), maps.Clone(p.asked)
	if do() {
		return true
	}
	p.values, p.rows, p.at, p.asked = values, rows, at, asked
	return false
}

// ask plans answers with which a question is asked.
func (p *plan) ask(l leaf) bool {
	if p.asked[l.path()] {
		return true
	}
	p.asked[l.path()] = true
	if p.deep++; p.deep > mostDeep {
		p.deep--
		return false
	}
	defer func() { p.deep-- }()
	if s := l.spot; s.by != nil {
		if !p.ask(leaf{s.up, s.by}) {
			return false
		}
		if s.by.List {
			if count := s.by.Options.GetCount(); count != "" && !p.satisfy("("+count+") > 0", s.up, true) {
				return false
			}
			p.rows[s.path] = max(p.rows[s.path], p.row(s))
		}
	}
	if relevant := l.q.Options.GetRelevant(); relevant != "" {
		return p.satisfy(relevant, l.spot, true)
	}
	return true
}

// satisfy plans answers with which a condition comes to what is wanted.
func (p *plan) satisfy(source string, s *spot, want bool) bool {
	if p.comesTo(source, s, want) {
		return true
	}
	t := p.f.engine.tree(source)
	if t == nil {
		return false
	}
	return p.part(t, t.Expr(), s, want) && p.comesTo(source, s, want)
}

// comesTo says whether the plan's answers make a condition what is wanted.
func (p *plan) comesTo(source string, s *spot, want bool) bool {
	if p.effort--; p.effort < 0 {
		return false
	}
	holds, known := p.f.engine.holds(source, scope{this: p.record(s)})
	return known && holds == want
}

// part plans for a part of a condition.
func (p *plan) part(t *ast.AST, e ast.Expr, s *spot, want bool) bool {
	if e.Kind() == ast.CallKind {
		c := e.AsCall()
		args := c.Args()
		both := func() bool { return p.part(t, args[0], s, want) && p.part(t, args[1], s, want) }
		either := func() bool {
			first := p.r.IntN(2)
			return p.try(func() bool { return p.part(t, args[first], s, want) }) || p.try(func() bool { return p.part(t, args[1-first], s, want) })
		}
		switch c.FunctionName() {
		case operators.LogicalNot:
			return p.part(t, args[0], s, !want)
		case operators.LogicalAnd:
			if want {
				return both()
			}
			return either()
		case operators.LogicalOr:
			if want {
				return either()
			}
			return both()
		case operators.Conditional:
			first := p.r.IntN(2)
			for i := range 2 {
				k := (first + i) % 2
				if p.try(func() bool { return p.part(t, args[0], s, k == 0) && p.part(t, args[1+k], s, want) }) {
					return true
				}
			}
			return false
		}
	}
	return p.atom(t, e, s, want)
}

// atom looks for answers, of one question at a time and then of all, that make a condition without && and || come true.
func (p *plan) atom(t *ast.AST, e ast.Expr, s *spot, want bool) bool {
	source := text(t, e)
	if source == "" {
		return false
	}
	leaves, rosters := p.f.reads(source, s)
	if !p.comesTo(source, s, want) && !p.search(source, s, want, leaves, rosters) {
		return false
	}
	for _, l := range leaves {
		if _, answered := p.values[l.path()]; answered && !p.ask(l) {
			return false
		}
	}
	for _, r := range rosters {
		if p.rows[r.path] > 0 && !p.ask(leaf{r.up, r.by}) {
			return false
		}
	}
	return p.comesTo(source, s, want)
}

// tries is how many answers are looked at for one question, or for all questions of a condition.
const tries = 40

func (p *plan) search(source string, s *spot, want bool, leaves []leaf, rosters []*spot) bool {
	if strings.Contains(source, "position") && p.moved(source, s, want) {
		return true
	}
	pal := p.f.engine.palette(source)
	for _, l := range leaves {
		if c := l.q.Options.GetCalculate(); c != "" {
			pal = pal.and(p.f.engine.palette(c))
		}
	}
	var open []leaf
	for _, l := range leaves {
		if l.q.Options.GetCalculate() == "" && !l.q.Options.GetSystem() {
			open = append(open, l)
		}
	}
	// The answers that other conditions need are changed last.
	slices.SortStableFunc(open, func(a, b leaf) int {
		_, x := p.values[a.path()]
		_, y := p.values[b.path()]
		switch {
		case x == y:
			return 0
		case x:
			return 1
		}
		return -1
	})
	for _, l := range open {
		kept, had := p.values[l.path()]
		for range tries {
			if p.effort < 0 {
				return false
			}
			p.guess(l, pal)
			if p.comesTo(source, s, want) {
				return true
			}
		}
		p.set(l, kept, had)
	}
	for range tries {
		for _, l := range open {
			p.guess(l, pal)
		}
		for _, r := range rosters {
			p.rows[r.path] = p.r.IntN(5)
		}
		if p.comesTo(source, s, want) {
			return true
		}
	}
	return false
}

// rowsOf is how many rows a roster has: as its count says, or as is planned.
func (p *plan) rowsOf(s *spot, in *record) int {
	if count := s.by.Options.GetCount(); count != "" && p.deep <= mostDeep {
		p.effort--
		p.deep++
		defer func() { p.deep-- }()
		n, _ := p.f.engine.eval(count, scope{this: in}).(types.Int)
		return int(max(0, min(n, 20)))
	}
	return max(p.rows[s.path], 0)
}

// mostMoved is how many rows of a roster a plan looks at.
const mostMoved = 4

// moved looks for a row in which a condition about its position comes to what is wanted.
func (p *plan) moved(source string, s *spot, want bool) bool {
	for ; s != nil; s = s.up {
		if s.by == nil || !s.by.List {
			continue
		}
		first := p.r.IntN(mostMoved)
		for i := range mostMoved {
			row := 1 + (first+i)%mostMoved
			if p.try(func() bool {
				p.at[s.path], p.rows[s.path] = row, max(p.rows[s.path], row)
				return p.comesTo(source, s, want)
			}) {
				return true
			}
		}
	}
	return false
}

// row is the row of a roster that the plan is about.
func (p *plan) row(s *spot) int { return max(1, p.at[s.path]) }

func (p *plan) set(l leaf, value any, there bool) {
	if there {
		p.values[l.path()] = value
		return
	}
	delete(p.values, l.path())
}

// guess gives a question some answer, or none.
func (p *plan) guess(l leaf, pal *palette) {
	if p.r.IntN(6) == 0 {
		delete(p.values, l.path())
		return
	}
	if l.q.Choices != nil && l.q.List && p.r.IntN(2) == 0 {
		pal = &palette{}
	}
	all := p.f.palettes(l.q).and(pal)
	for range 5 {
		v, ok := propose(p.r, l.q, p.f.numbersOf(l.q, pal), all, p.f.engine.now)
		p.set(l, v, ok)
		if !ok || p.allowed(l, v) {
			return
		}
	}
}

// allowed says whether no check is known to be against an answer.
func (p *plan) allowed(l leaf, v any) bool {
	for _, c := range l.q.Options.GetChecks() {
		holds, known := p.f.engine.holds(c.GetExpression(), scope{this: p.record(l.spot), value: types.DefaultTypeAdapter.NativeToValue(v)})
		if known && !holds {
			return false
		}
	}
	return true
}

// record is a spot as the plan's answers make it.
func (p *plan) record(s *spot) *record {
	var up *record
	if s.up != nil {
		up = p.record(s.up)
	}
	return p.recordIn(s, up, p.row(s))
}

func (p *plan) recordIn(s *spot, up *record, row int) *record {
	r := &record{module: s.module, up: up}
	if s.by != nil && s.by.List {
		r.row = row
	}
	r.read = func(q *questionnaire.Question) ref.Val {
		switch {
		case q.Module != nil && q.List:
			var all []ref.Val
			for i := range p.rowsOf(s.kids[q], r) {
				all = append(all, p.recordIn(s.kids[q], r, i+1))
			}
			return types.NewRefValList(types.DefaultTypeAdapter, all)
		case q.Module != nil:
			return p.recordIn(s.kids[q], r, 0)
		case q.Options.GetCalculate() != "":
			if p.effort--; p.effort < 0 || p.deep > mostDeep {
				return nil
			}
			p.deep++
			defer func() { p.deep-- }()
			return p.f.engine.eval(q.Options.GetCalculate(), scope{this: r})
		}
		v, ok := p.values[under(s.path, q.Name())]
		if !ok {
			if q.List {
				return types.NewRefValList(types.DefaultTypeAdapter, nil)
			}
			return nil
		}
		return types.DefaultTypeAdapter.NativeToValue(v)
	}
	return r
}
