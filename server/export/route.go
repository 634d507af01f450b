package export

import (
	"sync"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// builtin are the questionnaires that ship with Hearth.
var builtin = sync.OnceValues(questionnaire.Builtin)

// routing gives what an interview was not led to its reason: a question that skip logic passed over, or that the version did
// not have, was not asked. It goes through each interview once, before its rows, and notes by table and row what was
// skipped; rows come in the order in which it goes.
type routing struct {
	plainStage
	set   *questionnaire.Set
	forms map[protoreflect.FullName]*questionnaire.Questionnaire
	known map[*node]*routedNode
	notes map[*Table]*routedRows
	at    []routedPlace // where it is: the interview, the group or row in it, and so on
}

// routedNode is a message of the plan by the places of its fields in the descriptor.
type routedNode struct {
	steps []*step
	// skips are the questions of the table that are not asked where the field is not.
	skips [][]int
	below []*routedNode
}

// routedPlace is a message that is gone through, and the row that it stands in; of what is not exported the node is nil.
type routedPlace struct {
	node  *routedNode
	table *Table
	row   int
}

// routedRows are the questions skipped in the rows of a table, a bit for each.
type routedRows struct {
	words     int
	bits      []uint64
	told, met int // rows that it went through, and that have come
}

func newRouting(j *job) (*routing, error) {
	set, err := builtin()
	if err != nil {
		return nil, err
	}
	g := &routing{set: set, forms: map[protoreflect.FullName]*questionnaire.Questionnaire{}, known: map[*node]*routedNode{}, notes: map[*Table]*routedRows{}}
	for _, q := range j.src.Questionnaires {
		if name := q.Descriptor().FullName(); j.plan.published[name] != nil {
			g.forms[name] = q
		}
	}
	return g, nil
}

func (g *routing) row(x *extractor, r *row) (bool, error) {
	if x.interview == nil || x.looking {
		return true, nil
	}
	if r.table == x.plan.interview {
		for _, n := range g.notes {
			n.bits, n.told, n.met = n.bits[:0], 0, 0
		}
		g.start(r.table)
		g.set.Route(x.interview, g)
	} else if q := g.form(x); q != nil && r.table == x.plan.published[x.other.Descriptor().FullName()].table {
		g.start(r.table)
		q.Route(x.other.Interface(), x.version, g)
	}
	g.note(r)
	return true, nil
}

// form is the published questionnaire that the interview answers, nil where there is none.
func (g *routing) form(x *extractor) *questionnaire.Questionnaire {
	if x.other == nil {
		return nil
	}
	if q := g.forms[x.other.Descriptor().FullName()]; q != nil && q.Descriptor() == x.other.Descriptor() {
		return q
	}
	return nil
}

// start is at the top of a questionnaire, which is a row.
func (g *routing) start(t *Table) {
	g.at = append(g.at[:0], routedPlace{g.node(t.root), t, g.rows(t).add()})
}

// note puts the reasons into a row.
func (g *routing) note(r *row) {
	n := g.notes[r.table]
	if n == nil || n.met == n.told {
		return
	}
	bits := n.bits[n.met*n.words:][:n.words]
	n.met++
	for q := range r.why {
		if bits[q/64]>>(q%64)&1 == 0 || r.why[q] != 0 {
			continue
		}
		answered := false
		for i := r.table.Questions[q].from; i < r.table.Questions[q].at; i++ {
			answered = answered || r.cells[i].set
		}
		if !answered {
			r.why[q] = int32(formv1.Missing_MISSING_NOT_ASKED) + 1
		}
	}
}

func (g *routing) rows(t *Table) *routedRows {
	n := g.notes[t]
	if n == nil {
		n = &routedRows{words: (len(t.Questions) + 63) / 64}
		g.notes[t] = n
	}
	return n
}

func (n *routedRows) add() int {
	for range n.words {
		n.bits = append(n.bits, 0)
	}
	n.told++
	return n.told - 1
}

// node is what is known of a message of the plan.
func (g *routing) node(n *node) *routedNode {
	if known := g.known[n]; known != nil || n == nil {
		return known
	}
	out := &routedNode{}
	g.known[n] = out
	for i := range n.steps {
		s := &n.steps[i]
		at := s.fd.Index()
		for len(out.steps) <= at {
			out.steps, out.skips, out.below = append(out.steps, nil), append(out.skips, nil), append(out.below, nil)
		}
		out.steps[at] = s
		out.skips[at] = skipsOf(s, nil)
		switch s.op {
		case opTable:
			out.below[at] = g.node(s.table.root)
		case opMessage:
			out.below[at] = g.node(s.sub)
		}
	}
	return out
}

// skipsOf are the questions of a field: its own, or those in a group. A message without a map of reasons is one question.
func skipsOf(s *step, list []int) []int {
	if s.op != opMessage || s.sub.missing == nil {
		return append(list, s.question)
	}
	for i := range s.sub.steps {
		list = skipsOf(&s.sub.steps[i], list)
	}
	return list
}

// Enter goes into a group or a row.
func (g *routing) Enter(q *questionnaire.Question) {
	here := g.at[len(g.at)-1]
	next := routedPlace{table: here.table, row: here.row}
	if i := q.Field.Index(); here.node != nil && i < len(here.node.steps) && here.node.steps[i] != nil {
		next.node = here.node.below[i]
		if s := here.node.steps[i]; s.op == opTable {
			next.table = s.table
			next.row = g.rows(s.table).add()
		}
	}
	g.at = append(g.at, next)
}

// Leave comes back out.
func (g *routing) Leave() { g.at = g.at[:len(g.at)-1] }

// Skipped notes a question that was not asked.
func (g *routing) Skipped(q *questionnaire.Question) {
	here := g.at[len(g.at)-1]
	i := q.Field.Index()
	if here.node == nil || i >= len(here.node.skips) {
		return
	}
	n := g.rows(here.table)
	for _, question := range here.node.skips[i] {
		n.bits[here.row*n.words+question/64] |= 1 << (question % 64)
	}
}

var _ questionnaire.Router = (*routing)(nil)
