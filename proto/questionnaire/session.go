package questionnaire

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// Session is an interview that goes on: answers are given one by one, and after each only what depends on it is evaluated
// again. What it comes to is at any time what Evaluate says of the same answers. A session is for one goroutine.
type Session struct {
	q       *Questionnaire
	message proto.Message
	e       *evaluation
	top     *node
	sheets  map[*node]*sheet
	// live are the messages that are gone through, by module.
	live map[*Module][]*node
	// seen are the questions of which a change let something else be said.
	seen map[spot]bool
}

// mode is how the questions of a message are gone through.
type mode uint8

const (
	modeSkipped mode = iota
	modeAsked
	modeNotAsked
)

// sheet is what is said of one message: of each question, and after them of the reasons for missing answers.
type sheet struct {
	mode     mode
	verdicts []verdict
}

// verdict is what is said of one question.
type verdict struct {
	state      state
	held       bool
	path       string
	flags      []*servicev1.Flag
	missing    []Absence
	notAsked   []string
	calculated []Calculation
}

// spot is one question of one message.
type spot struct {
	n     *node
	index int
}

// State is what is known of one question while an interview goes on.
type State struct {
	Path     string
	Question *Question
	// Asked: the question is asked. Answered: it has an answer, that is Value where it is a single one.
	Asked, Answered bool
	Value           any
	// Missing: it is asked, needs to be answered and is not; Reason is why, if that was said.
	Missing bool
	Reason  formv1.Missing
	// Flags are what is wrong with the answer.
	Flags []*servicev1.Flag
}

// NewSession begins an interview, or goes on with one: with answers of the questionnaire's top type, which the session
// changes from then on. Answers of an earlier version are taken over first, see Upgrade; Message has them, and they are to be
// kept as of the questionnaire's version: as of their own they would be taken over twice. It fails where they cannot be taken
// over, or are answers to another questionnaire.
func (q *Questionnaire) NewSession(m proto.Message, o Options) (*Session, error) {
	m, err := q.Upgrade(m, o.Version)
	if err != nil {
		return nil, err
	}
	s := &Session{q: q, message: m}
	s.SetOptions(o)
	return s, nil
}

// Message is the answers. They are to be changed by the session only.
func (s *Session) Message() proto.Message { return s.message }

// SetOptions evaluates everything anew, as complete, or at another time.
func (s *Session) SetOptions(o Options) {
	s.e = &evaluation{completed: o.Completed, answers: o.Version, now: o.Now, shallow: true}
	s.sheets, s.live, s.seen = map[*node]*sheet{}, map[*Module][]*node{}, map[spot]bool{}
	s.begin()
	s.top = s.e.top(s.q.top, viewOf(s.message.ProtoReflect(), s.q.top.typ), o.Version)
	s.visit(s.top, modeAsked)
	s.end()
}

// begin gives expressions their steps for what follows.
func (s *Session) begin() {
	s.e.steps = stepsPerInterview
	clear(s.seen)
}

// end lists the messages that are gone through.
func (s *Session) end() {
	clear(s.live)
	s.list(s.top)
	s.e.flags, s.e.report = nil, nil
}

func (s *Session) list(n *node) {
	if sh := s.sheets[n]; sh == nil || sh.mode == modeSkipped {
		return
	}
	s.live[n.module] = append(s.live[n.module], n)
	for _, rows := range n.kids {
		for _, row := range rows {
			s.list(row)
		}
	}
}

// visit goes through a message and all below it.
func (s *Session) visit(n *node, how mode) {
	sh := s.sheets[n]
	if sh == nil {
		if how == modeSkipped {
			return
		}
		sh = &sheet{verdicts: make([]verdict, len(n.module.Questions)+1)}
		s.sheets[n] = sh
	}
	sh.mode = how
	path := pathOf(n)
	for _, q := range n.module.Questions {
		s.judge(n, q, path)
	}
	s.reasons(n, path)
	for _, q := range n.module.Questions {
		s.below(n, q, true)
	}
}

// below goes through what is below a question, all of it or only where it is gone through otherwise than before.
func (s *Session) below(n *node, q *Question, all bool) {
	if q.Module == nil || s.sheets[n] == nil {
		return
	}
	how, v := s.sheets[n].mode, &s.sheets[n].verdicts[q.index]
	_, excused := n.reasons()[q.number]
	switch {
	case how == modeSkipped:
	case how == modeNotAsked || v.state == stateNotAsked:
		if how = modeSkipped; v.held {
			how = modeNotAsked
		}
	case !v.held && (excused || !s.e.enters(q)):
		how = modeSkipped
	}
	if how == modeSkipped && n.kids[q.kid] == nil || q.List && !v.held {
		return
	}
	for _, row := range s.e.rowsOf(n, q) {
		if sh := s.sheets[row]; all || sh == nil && how != modeSkipped || sh != nil && sh.mode != how {
			s.visit(row, how)
		}
	}
}

// judge evaluates what is said of one question, and notes it where it is not what was said before.
func (s *Session) judge(n *node, q *Question, path []place) {
	sh, e := s.sheets[n], s.e
	if sh == nil {
		return // never gone through
	}
	e.path, e.flags, e.full, e.report = path, nil, false, &Evaluation{}
	slot := &n.slots[q.index]
	switch sh.mode {
	case modeAsked:
		e.question(n, q, n.reasons())
	case modeNotAsked:
		e.notAsked(n, q)
	}
	v := verdict{
		state: slot.state, held: slot.held, flags: e.flags, missing: e.report.Missing, notAsked: e.report.NotAsked, calculated: e.report.Calculated,
		path: pathString(append(path, place{q.name, -1})),
	}
	if sh.mode == modeSkipped {
		v.state, v.held = stateUnknown, false
	}
	was := &sh.verdicts[q.index]
	if !was.same(&v) {
		s.seen[spot{n, q.index}] = true
	}
	*was = v
}

// reasons evaluates what is said of the reasons for missing answers of a message.
func (s *Session) reasons(n *node, path []place) {
	sh, e := s.sheets[n], s.e
	if sh == nil {
		return
	}
	e.path, e.flags, e.full, e.report = path, nil, false, nil
	if reasons := n.reasons(); sh.mode == modeAsked && reasons != nil {
		e.reasons(n, reasons)
	}
	was := &sh.verdicts[len(n.module.Questions)]
	now := verdict{flags: e.flags}
	if was.same(&now) {
		return
	}
	for _, f := range append(slices.Clone(was.flags), now.flags...) {
		if q, ok := n.module.Find(lastStep(f.GetPath())); ok {
			s.seen[spot{n, q.index}] = true
		}
	}
	*was = now
}

// lastStep is the name of a question by its path.
func lastStep(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

// same tells whether two verdicts say the same.
func (v *verdict) same(other *verdict) bool {
	return v.state == other.state && v.held == other.held && v.path == other.path &&
		slices.EqualFunc(v.flags, other.flags, func(a, b *servicev1.Flag) bool {
			return a.GetRule() == b.GetRule() && a.GetPath() == b.GetPath()
		}) &&
		slices.Equal(v.missing, other.missing) && slices.Equal(v.calculated, other.calculated) && slices.Equal(v.notAsked, other.notAsked)
}

// pathOf is the path of a message.
func pathOf(n *node) []place {
	if n.up == nil {
		return make([]place, 0, 4)
	}
	return append(pathOf(n.up), place{n.in.name, n.row})
}

// Evaluation is what Evaluate says of the answers.
func (s *Session) Evaluation() *Evaluation {
	out := &Evaluation{}
	s.collect(s.top, out)
	return out
}

// collect adds what is said of a message and all below it; false where there are too many flags to go on.
func (s *Session) collect(n *node, out *Evaluation) bool {
	sh := s.sheets[n]
	if sh == nil || sh.mode == modeSkipped {
		return true
	}
	for i := range sh.verdicts {
		v := &sh.verdicts[i]
		out.Missing = append(out.Missing, v.missing...)
		out.NotAsked = append(out.NotAsked, v.notAsked...)
		out.Calculated = append(out.Calculated, v.calculated...)
		for _, f := range v.flags {
			if len(out.Flags) == maxFlags-1 {
				out.Flags = append(out.Flags, tooManyFlags())
				return false
			}
			out.Flags = append(out.Flags, f)
		}
		if i == len(n.module.Questions) || n.module.Questions[i].Module == nil {
			continue
		}
		for _, row := range n.kids[n.module.Questions[i].kid] {
			if !s.collect(row, out) {
				return false
			}
		}
	}
	return true
}

// state is what is known of one question.
func (s *Session) state(n *node, q *Question) State {
	slot, sh := &n.slots[q.index], s.sheets[n]
	x := State{Path: pathString(append(pathOf(n), place{q.name, -1})), Question: q}
	if sh == nil {
		return x
	}
	v := &sh.verdicts[q.index]
	x.Flags, x.Missing, x.Reason = slices.Clone(v.flags), len(v.missing) > 0, n.reasons()[q.number]
	for _, f := range sh.verdicts[len(n.module.Questions)].flags {
		if f.GetPath() == x.Path {
			x.Flags = append(x.Flags, f)
		}
	}
	if sh.mode == modeAsked {
		x.Asked, x.Answered = v.state != stateNotAsked, v.state == stateAnswered
		if x.Answered && !q.List && q.Module == nil {
			x.Value = slot.native(q.access.kind)
		}
	}
	return x
}

// follow evaluates again what depends on questions that were answered otherwise, each in one message.
func (s *Session) follow(changed []spot) []State {
	decide, judge := map[*Question]bool{}, map[*Question]bool{}
	for _, at := range changed {
		i := s.q.impactOf(at.n.module.Questions[at.index])
		for _, x := range i.decide {
			decide[x], judge[x] = true, true
		}
		for _, x := range i.judge {
			judge[x] = true
		}
	}
	// First nothing is known any more of what must be decided anew, in any row; then everything is looked at.
	for _, q := range inOrder(decide) {
		for _, n := range s.everywhere(q) {
			n.forget(q)
		}
	}
	for _, at := range changed {
		at.n.forget(at.n.module.Questions[at.index])
	}
	s.end() // what came and went
	again := inOrder(judge)
	for _, at := range changed {
		s.judge(at.n, at.n.module.Questions[at.index], pathOf(at.n))
		s.reasons(at.n, pathOf(at.n))
	}
	for _, q := range again {
		for _, n := range s.live[q.home] {
			s.judge(n, q, pathOf(n))
			if n.reasons() != nil { // not applicable is accepted of what is not asked
				s.reasons(n, pathOf(n))
			}
		}
	}
	for _, at := range changed {
		s.below(at.n, at.n.module.Questions[at.index], false)
	}
	for _, q := range again {
		for _, n := range s.live[q.home] {
			s.below(n, q, false)
		}
	}
	s.end()
	return s.states()
}

// everywhere are all messages that have a question, also those that are not gone through.
func (s *Session) everywhere(q *Question) []*node {
	var all []*node
	m := q.home
	var visit func(n *node)
	visit = func(n *node) {
		if n.module == m {
			all = append(all, n)
		}
		for _, rows := range n.kids {
			for _, row := range rows {
				visit(row)
			}
		}
	}
	visit(s.top)
	return all
}

// inOrder are questions in the order of their ids.
func inOrder(set map[*Question]bool) []*Question {
	all := make([]*Question, 0, len(set))
	for q := range set {
		all = append(all, q)
	}
	slices.SortFunc(all, func(a, b *Question) int { return a.id - b.id })
	return all
}

// forget lets a slot find out again what it knew.
func (n *node) forget(q *Question) {
	n.slots[q.index] = slot{}
	if q.relevant != nil {
		n.conds[q.condition] = unknown
	}
}

// states are those of everything of which something else is said than before, in the order of the questionnaire.
func (s *Session) states() []State {
	var all []State
	var visit func(n *node)
	visit = func(n *node) {
		for _, q := range n.module.Questions {
			if s.seen[spot{n, q.index}] {
				all = append(all, s.state(n, q))
			}
			if q.Module == nil {
				continue
			}
			for _, row := range n.kids[q.kid] {
				visit(row)
			}
		}
	}
	visit(s.top)
	return all
}

// reflected is a message of the session as protobuf's reflection has it.
func (n *node) reflected() protoreflect.Message {
	x := n.view
	return x.message()
}
