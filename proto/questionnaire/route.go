package questionnaire

import (
	"google.golang.org/protobuf/proto"

	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// Router is told how the answers of one interview go through the questionnaire, in its order.
type Router interface {
	// Enter: what follows, up to the Leave that belongs to it, is of a group, or of a row of a roster, in the order of the rows.
	Enter(q *Question)
	Leave()
	// Skipped: the question is not asked, and there is no answer. Of a group or a roster nothing that is in it is told besides.
	Skipped(q *Question)
}

// Route tells which questions the answers did not lead to: by their own relevance, by that of the group or row they stand in, or
// because the version did not have them. Of a published questionnaire that the interview answers nothing is told.
func (s *Set) Route(iv *surveyv1.Interview, to Router) {
	e := newEvaluation(Options{Version: iv.GetQuestionnaireVersion()})
	defer e.release()
	e.route(e.top(s.interview, viewOf(iv.ProtoReflect(), s.interview.typ), 0), true, to)
}

// Route tells the same of answers, a message of the questionnaire's top type as Upgrade leaves it.
func (q *Questionnaire) Route(m proto.Message, version uint32, to Router) {
	e := newEvaluation(Options{Version: version})
	defer e.release()
	e.route(e.top(q.top, viewOf(m.ProtoReflect(), q.top.typ), version), true, to)
}

func (e *evaluation) route(n *node, asked bool, to Router) {
	reasons := n.reasons()
	for _, q := range n.module.Questions {
		s := &n.slots[q.index]
		held := n.held(q, s)
		// A message without reasons of its own is one answer in several parts.
		group := q.Module != nil && (q.List || q.Module.missing != nil || q.Module.top)
		if held && !group {
			continue
		}
		here := asked && (q.relevant == nil && q.in(n.version) || e.read(n, q).state != stateNotAsked)
		_, excused := reasons[q.number]
		switch {
		case !held && !here:
			to.Skipped(q)
			continue
		case !group, !held && (q.List || q.Module.top || excused || q.Field.ContainingOneof() != nil):
			continue
		}
		for _, below := range e.rowsOf(n, q) {
			to.Enter(q)
			e.route(below, here, to)
			to.Leave()
		}
	}
}
