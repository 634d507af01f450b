package questionnaire

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

// Derivation carries out the calculations of a message that nobody fills in: its first fields are answers, as they stand in
// a questionnaire, and the others are made of them. Nothing but these is evaluated, and what they read.
type Derivation struct {
	q    *Questionnaire
	rows *Question // the roster of derived rows, if there is one
}

// NewDerivation compiles the calculations of a message and of its roster with the name.
func NewDerivation(top protoreflect.MessageDescriptor, rows string) (*Derivation, error) {
	c, err := compile(top)
	if err != nil {
		return nil, err
	}
	q, err := c.questionnaire(top)
	if err != nil {
		return nil, err
	}
	d := &Derivation{q: q}
	if f, ok := q.top.Find(rows); ok && f.Module != nil && f.List {
		d.rows = f
	} else {
		return nil, badSchema(top, "has no roster %q", rows)
	}
	return d, nil
}

// Top is the message whose calculations are carried out, and Rows that of the roster.
func (d *Derivation) Top() *Module { return d.q.top }

// Rows is the message of the roster.
func (d *Derivation) Rows() *Module { return d.rows.Module }

// Derived is what a calculation comes to: Value is an int64, float64, string or bool, or nil. A calculation without a value
// has a reason: the gravest of those for which what it reads has no answer.
type Derived struct {
	Question *Question
	Value    any
	Reason   formv1.Missing
}

// Of carries the calculations out, in the order of the schema: those of the message, and those of each row. An error of a
// calculation (a division by zero) is a missing value without a reason.
func (d *Derivation) Of(m proto.Message) (top []Derived, rows [][]Derived) {
	e := newEvaluation(Options{})
	defer e.release()
	n := e.top(d.q.top, viewOf(m.ProtoReflect(), d.q.top.typ), 0)
	for _, r := range e.rowsOf(n, d.rows) {
		rows = append(rows, e.derive(r))
	}
	return e.derive(n), rows
}

func (e *evaluation) derive(n *node) (out []Derived) {
	for _, q := range n.module.Questions {
		if q.calculate == nil {
			continue
		}
		s := e.read(n, q)
		v := Derived{Question: q}
		if s.state == stateAnswered {
			v.Value = s.native(q.access.kind)
		} else {
			v.Reason = e.why(n, q)
		}
		out = append(out, v)
	}
	return out
}

// gravity orders the reasons: what was refused weighs more than what is not known, and what was asked without an answer more
// than what was not asked.
var gravity = map[formv1.Missing]int{
	formv1.Missing_MISSING_REFUSED: 5, formv1.Missing_MISSING_DONT_KNOW: 4, formv1.Missing_MISSING_UNSPECIFIED: 3,
	formv1.Missing_MISSING_NOT_APPLICABLE: 2, formv1.Missing_MISSING_NOT_ASKED: 1,
}

// why is why a calculation has no value. One of a row looks at the row of the same position in the roster that it belongs to.
func (e *evaluation) why(n *node, q *Question) formv1.Missing {
	w := &absences{e: e, row: n.row, asked: map[*Question]bool{}}
	w.wanted(q)
	w.node(n.root)
	if !w.found {
		return formv1.Missing_MISSING_UNSPECIFIED
	}
	return w.gravest
}

// absences looks for the gravest reason among the questions that a calculation reads.
type absences struct {
	e       *evaluation
	row     int // -1: all rows
	asked   map[*Question]bool
	found   bool
	gravest formv1.Missing
}

// wanted notes what a calculation reads, through other calculations down to what was answered.
func (w *absences) wanted(q *Question) {
	for _, r := range q.calculate.reads {
		if w.asked[r] {
			continue
		}
		w.asked[r] = true
		if r.calculate != nil {
			w.wanted(r)
		}
	}
}

func (w *absences) node(n *node) {
	reasons := n.reasons()
	for _, q := range n.module.Questions {
		if q.calculate != nil || !w.asked[q] && q.Module == nil {
			continue
		}
		s := w.e.read(n, q)
		if w.asked[q] && s.state != stateAnswered {
			reason := reasons[q.number]
			if s.state == stateNotAsked {
				reason = formv1.Missing_MISSING_NOT_ASKED
			}
			w.meet(reason)
		}
		if q.Module == nil || s.state == stateNotAsked {
			continue
		}
		for i, below := range w.e.rowsOf(n, q) {
			if w.row < 0 || !q.List || i == w.row || n.up != nil {
				w.node(below)
			}
		}
	}
}

func (w *absences) meet(reason formv1.Missing) {
	if !w.found || gravity[reason] > gravity[w.gravest] {
		w.found, w.gravest = true, reason
	}
}
