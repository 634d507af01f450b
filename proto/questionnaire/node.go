package questionnaire

import (
	"sync"
	"time"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// Beside the tree of messages an evaluation has a tree of nodes, one for each message that it looked at. A node has a slot
// for each question, in which it keeps what expressions read there: whether the question is asked, and its answer. A slot is
// filled when the first expression, or the walk through the questions, comes to it; so relevance and calculations are
// carried out once for each question of each row, in whatever order they depend on each other. That they do so without
// going round in circles is known since the questionnaire was compiled.

// state is what a slot knows.
type state uint8

const (
	stateUnknown state = iota
	stateComputing
	stateNotAsked
	stateUnanswered
	stateAnswered
	stateFailed // the calculation failed
)

// outcome is whether an expression has a value.
type outcome uint8

const (
	there  outcome = iota
	none           // no answer
	failed         // counts where both meet
)

// outcome is what an expression comes to that reads the slot. One that is being computed is read by itself, which is
// refused when the questionnaire is compiled.
func (s state) outcome() outcome {
	return [...]outcome{failed, failed, none, none, there, failed}[s]
}

// slot is what a question comes to in one message.
type slot struct {
	datum
	state state
	lame  bool // whether the question is asked could not be told
	// looked: the field was looked into; held: there is an answer in it. That of a calculated question is not kept.
	looked, held bool
}

// node is one message of the answers.
type node struct {
	view
	module *Module
	// up is the message around it, nil for a questionnaire's top; root the questionnaire's top.
	up, root *node
	in       *Question // the question whose answer it is, nil for a top
	row      int       // which row of a roster it is, -1 where it is none
	slots    []slot
	// kids are the nodes below by Question.kid: one, or the rows. They are nil until they are asked for.
	kids  [][]*node
	conds []truth // what conditions came to, by Question.condition
	// version is that of the questionnaire which is the node's root.
	version uint32
	unset   bool // there is no message; nothing is answered
}

// evaluation is one walk through the answers of one interview.
type evaluation struct {
	nodes arena[node]
	slots arena[slot]
	conds arena[truth]
	lists arena[*node]
	kids  arena[[]*node]

	frames []*frame
	depth  int
	// steps is how many more rows expressions may look at; stop where the one at hand has had its share.
	steps, stop int

	path      []place
	flags     []*servicev1.Flag
	report    *Evaluation // nil: only flags are wanted
	completed bool
	full      bool
	shallow   bool   // what is below a question is not gone through
	raw       bool   // answers are read as they stand: all are asked, nothing is calculated
	answers   uint32 // version of the questionnaire that the interview names
	now       time.Time
	nowText   string
	todayText string
}

var evaluations = sync.Pool{New: func() any { return &evaluation{} }}

// newEvaluation is an evaluation to be released.
func newEvaluation(o Options) *evaluation {
	e := evaluations.Get().(*evaluation)
	e.steps, e.completed, e.answers, e.now = stepsPerInterview, o.Completed, o.Version, o.Now
	return e
}

// release gives the memory back. Nothing of the evaluation but its flags and report is to be used any more.
func (e *evaluation) release() {
	e.nodes.reset()
	e.slots.reset()
	e.conds.reset()
	e.lists.reset()
	e.kids.reset()
	*e = evaluation{
		nodes: e.nodes, slots: e.slots, conds: e.conds, lists: e.lists, kids: e.kids,
		frames: e.frames, path: e.path[:0],
	}
	evaluations.Put(e)
}

// top is the node of a questionnaire's top message.
func (e *evaluation) top(m *Module, x view, version uint32) *node {
	n := e.node(m, x)
	n.root, n.version = n, version
	if version == 0 {
		n.version = m.Options.GetVersion()
	}
	return n
}

func (e *evaluation) node(m *Module, x view) *node {
	n := &e.nodes.take(1)[0]
	n.view, n.module, n.row = x, m, -1
	n.slots, n.kids, n.conds = e.slots.take(len(m.Questions)), e.kids.take(m.groups), e.conds.take(m.conditions)
	return n
}

// noRows are the rows of an empty roster; nil rows are not known yet.
var noRows = []*node{}

// rowsOf are the nodes of a group or a roster: of a group one, also where its message is not set.
func (e *evaluation) rowsOf(n *node, q *Question) []*node {
	if k := n.kids[q.kid]; k != nil {
		return k
	}
	rows := noRows
	switch {
	case q.List && !n.unset:
		list := q.access.list(&n.view)
		if rows = e.lists.take(list.n); rows == nil {
			rows = noRows
		}
		for i := range rows {
			rows[i] = e.child(n, q, list.row(i))
			rows[i].row = i
		}
	case !q.List:
		rows = e.lists.take(1)
		if n.unset || !q.access.read(&n.view, nil) {
			rows[0] = e.child(n, q, view{})
			rows[0].unset = true
		} else {
			rows[0] = e.child(n, q, q.access.below(&n.view))
		}
	}
	n.kids[q.kid] = rows
	return rows
}

func (e *evaluation) child(n *node, q *Question, x view) *node {
	if q.Module.top {
		return e.top(q.Module, x, e.answers)
	}
	c := e.node(q.Module, x)
	c.in = q
	c.up, c.root, c.version = n, n.root, n.version
	return c
}

// read is the slot of a question of a message that is asked itself.
func (e *evaluation) read(n *node, q *Question) *slot {
	s := &n.slots[q.index]
	if s.state == stateUnknown {
		e.resolve(n, q, s)
	}
	return s
}

// held tells whether the field of a question holds an answer, which it puts into the slot unless the question is calculated.
func (n *node) held(q *Question, s *slot) bool {
	if !s.looked {
		s.looked = true
		if !n.unset {
			if q.calculate == nil || q.calculate.volatile {
				s.held = q.access.read(&n.view, &s.datum)
			} else {
				var own datum
				s.held = q.access.read(&n.view, &own)
			}
		}
	}
	return s.held
}

// resolve finds out whether a question is asked, and what its answer is.
func (e *evaluation) resolve(n *node, q *Question, s *slot) {
	if e.raw {
		s.state = stateUnanswered
		if !n.unset && q.access.read(&n.view, &s.datum) {
			s.state = stateAnswered
		}
		return
	}
	if !q.in(n.version) {
		s.state = stateNotAsked
		return
	}
	s.state = stateComputing
	if q.relevant != nil {
		switch e.relevant(n, q) {
		case no, absent:
			s.state = stateNotAsked
			return
		case broken:
			s.lame = true
		}
	}
	switch {
	case q.calculate != nil && !q.calculate.volatile:
		e.carryOut(n, q, s)
	case n.held(q, s):
		s.state = stateAnswered
	default:
		s.state = stateUnanswered
	}
}

// relevant tells whether a question is to be asked by its own rule. Questions share conditions, and each is evaluated once
// per message.
func (e *evaluation) relevant(n *node, q *Question) truth {
	known := &n.conds[q.condition]
	if *known == unknown {
		*known = yes // a rule that asks for the time where there is none
		if !q.relevant.volatile || !e.now.IsZero() {
			*known = e.holds(q.relevant, n, q)
		}
	}
	return *known
}

// carryOut calculates what a question comes to.
func (e *evaluation) carryOut(n *node, q *Question, s *slot) {
	f := e.push(n, q)
	o := q.calculate.value(f, &s.datum)
	e.depth--
	switch {
	case o == failed:
		s.state = stateFailed
	case o == none, q.access.kind == kindText && s.text == "", q.access.zero && s.bits == 0:
		s.state = stateUnanswered
	default:
		s.state = stateAnswered
	}
}

// push is a frame for an expression of a question in a message; the caller takes it off again.
func (e *evaluation) push(n *node, q *Question) *frame {
	if e.depth == 0 {
		e.stop = max(e.steps-costPerExpression, 0)
	}
	if e.depth == len(e.frames) {
		e.frames = append(e.frames, &frame{e: e})
	}
	f := e.frames[e.depth]
	f.e, f.this, f.question, f.choice = e, n, q, nil
	e.depth++
	return f
}

// holds evaluates a condition of a question in a message that is asked.
func (e *evaluation) holds(p *predicate, n *node, q *Question) truth {
	f := e.push(n, q)
	t := p.holds(f)
	e.depth--
	return t
}

// spend takes steps from the budget, and tells whether there were as many.
func (e *evaluation) spend(steps int) bool {
	e.steps -= steps
	return e.steps >= e.stop
}

// clock is the time as expressions read it: date and time with the offset, and the date.
func (e *evaluation) clock() (now, today string) {
	if e.nowText == "" {
		e.nowText, e.todayText = e.now.Format("2006-01-02T15:04:05-07:00"), e.now.Format("2006-01-02")
	}
	return e.nowText, e.todayText
}

// reasons are the reasons for missing answers of a message.
func (n *node) reasons() map[uint32]formv1.Missing {
	if n.module.missing == nil || n.unset {
		return nil
	}
	return n.module.missing.reasons(&n.view)
}

// arena gives out memory in pieces and takes it back all at once.
type arena[T any] struct {
	chunks [][]T
	// chunk is the one in use, of which used are taken.
	chunk, used int
}

const (
	arenaChunk = 256
	arenaKept  = 64 // chunks that are kept for the next evaluation
)

func (a *arena[T]) take(n int) []T {
	if n == 0 {
		return nil
	}
	if n > arenaChunk {
		return make([]T, n)
	}
	if len(a.chunks) == 0 {
		a.chunks = append(a.chunks, make([]T, arenaChunk))
	}
	if a.used+n > arenaChunk {
		if a.chunk++; a.chunk == len(a.chunks) {
			a.chunks = append(a.chunks, make([]T, arenaChunk))
		}
		a.used = 0
	}
	a.used += n
	return a.chunks[a.chunk][a.used-n : a.used : a.used]
}

func (a *arena[T]) reset() {
	for i := 0; i < a.chunk; i++ {
		clear(a.chunks[i])
	}
	if len(a.chunks) > 0 {
		clear(a.chunks[a.chunk][:a.used])
	}
	if len(a.chunks) > arenaKept {
		a.chunks = append([][]T(nil), a.chunks[:arenaKept]...)
	}
	a.chunk, a.used = 0, 0
}
