package questionnaire

import (
	"math"
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// maxFlags is how many flags one interview can get; the last one then says that there are more.
const maxFlags = 500

// Evaluate gives a flag for every check that fails and every rule that is broken, in the order of the questionnaire, so
// that the same interview always gives the same flags. Paths count rows from 0: "household.members[2].age". InterviewId
// and Part are left to the caller; the messages of flags are shared and not to be changed.
//
// What is flagged beside the checks of the questionnaire: answers outside the limits of their field; numbers that an
// enum does not have; answers to questions that were not to be asked; in a completed interview, questions that need an
// answer and have neither one nor a reason; reasons that a question does not accept, that stand beside an answer, or that
// name no question. An enum set to its zero is no answer. Nothing is flagged as required in a version of the
// questionnaire that did not ask it.
func (s *Set) Evaluate(iv *surveyv1.Interview) []*servicev1.Flag {
	if iv == nil {
		return nil
	}
	return s.evaluate(iv, viewOf(iv.ProtoReflect(), s.interview.typ))
}

// evaluate evaluates an interview through a view of it.
func (s *Set) evaluate(iv *surveyv1.Interview, x view) []*servicev1.Flag {
	e := newEvaluation(Options{
		Completed: iv.GetStatus() == surveyv1.InterviewStatus_INTERVIEW_STATUS_COMPLETED,
		Version:   iv.GetQuestionnaireVersion(),
	})
	defer e.release()
	e.walk(e.top(s.interview, x, 0), true)
	if other := iv.GetOther(); other != nil && !e.full {
		s.other(e, other)
	}
	return e.flags
}

// other walks through the answers to a questionnaire that was published at run time. The paths of its flags begin with
// other.answers, the field in which its message stands. One that the set does not know is not looked into.
func (s *Set) other(e *evaluation, other *surveyv1.OtherAnswers) {
	i := slices.IndexFunc(s.byName, func(q *Questionnaire) bool { return q.Name() == other.GetQuestionnaire() })
	if i < 0 {
		return
	}
	q := s.byName[i]
	e.path = append(e.path, place{"other", -1}, place{"answers", -1})
	defer func() { e.path = e.path[:0] }()
	m := q.New()
	err := proto.Unmarshal(other.GetAnswers(), m)
	if err == nil {
		m, err = q.Upgrade(m, e.answers)
	}
	if err != nil {
		e.flag("hearth.survey.v1.OtherAnswers.answers/"+ruleNotReadable, formv1.Severity_SEVERITY_HARD, textNotReadable)
		return
	}
	e.walk(e.top(q.top, viewOf(m.ProtoReflect(), q.top.typ), e.answers), true)
}

// place is one step of a path.
type place struct {
	name  string
	index int // -1: not a row
}

// walk goes through the questions of one message in order. Where it is not asked, only the values in it are looked at.
func (e *evaluation) walk(n *node, asked bool) {
	reasons := n.reasons()
	p, completed := n.view.p, 0
	if !asked || e.report != nil {
		p = nil
	}
	if e.completed {
		completed = 1
	}
	for i, q := range n.module.Questions {
		if p != nil && n.module.glances[i].passes(p, completed) {
			continue
		}
		if asked {
			e.question(n, q, reasons)
		} else {
			e.notAsked(n, q)
		}
		if e.full {
			return
		}
	}
	if asked && reasons != nil {
		e.reasons(n, reasons)
	}
}

// question evaluates what is said of one question of a message that is asked.
func (e *evaluation) question(n *node, q *Question, reasons map[uint32]formv1.Missing) {
	s := &n.slots[q.index]
	held := n.held(q, s)
	if !held && e.report == nil && e.nothingSaid(q) {
		return
	}
	if s.state == stateUnknown {
		e.resolve(n, q, s)
	}
	e.path = append(e.path, place{q.name, -1})
	e.told(n, q, s, held, reasons)
	e.path = e.path[:len(e.path)-1]
}

// told evaluates what is said of a question, at its path. Held: its field holds an answer.
func (e *evaluation) told(n *node, q *Question, s *slot, held bool, reasons map[uint32]formv1.Missing) {
	if s.state == stateNotAsked {
		if e.report != nil {
			e.report.NotAsked = append(e.report.NotAsked, pathString(e.path))
		}
		if held {
			if !q.broughtFrom(n.version) {
				e.flag(q.rule+ruleNotRelevant, formv1.Severity_SEVERITY_SOFT, textNotRelevant)
			}
			e.values(n, q, s)
			e.below(n, q, false)
		}
		return
	}
	reason, excused := reasons[q.number]
	broken := s.lame || s.state == stateFailed
	if e.completed && !held && !excused && q.calculate == nil {
		broken = e.required(n, q) || broken
	}
	if held {
		if q.calculate != nil && !q.calculate.volatile {
			e.calculated(n, q, s)
		}
		e.values(n, q, s)
		if q.filter != nil {
			broken = e.offered(n, q, s) || broken
		}
	}
	if s.state == stateAnswered && len(q.checks) > 0 {
		broken = e.checks(n, q) || broken
	}
	if e.completed && q.count != nil {
		broken = e.rows(n, q, held) || broken
	}
	if broken {
		e.flag(q.rule+ruleExpressionFailed, formv1.Severity_SEVERITY_SOFT, textExpressionFailed)
	}
	if e.report != nil {
		e.reported(n, q, s, reason)
	}
	if held || !excused && e.enters(q) {
		e.below(n, q, true)
	}
}

// nothingSaid tells whether nothing can be said of a question without an answer, where only flags are wanted.
func (e *evaluation) nothingSaid(q *Question) bool {
	if !q.silent || e.completed && (q.required || q.needed != nil) {
		return false
	}
	return !e.enters(q) || !q.Module.demanding
}

// enters tells whether a group that is not set is gone through, as one with nothing answered.
func (e *evaluation) enters(q *Question) bool {
	return q.Module != nil && !q.List && !q.Module.top && q.Module.missing != nil && (e.report != nil || q.Module.demanding) &&
		q.Field.ContainingOneof() == nil
}

// notAsked looks at the values of a question that stands somewhere in one that is not asked.
func (e *evaluation) notAsked(n *node, q *Question) {
	s := &n.slots[q.index]
	if !n.held(q, s) {
		return
	}
	e.path = append(e.path, place{q.name, -1})
	e.values(n, q, s)
	e.below(n, q, false)
	e.path = e.path[:len(e.path)-1]
}

// below walks through the group or the roster that is the answer to a question.
func (e *evaluation) below(n *node, q *Question, asked bool) {
	if q.Module == nil || e.shallow {
		return
	}
	last := len(e.path) - 1
	for i, row := range e.rowsOf(n, q) {
		if q.List {
			e.path[last].index = i
		}
		e.walk(row, asked)
		if e.full {
			return
		}
	}
	e.path[last].index = -1
}

// required flags a question that needs an answer and has neither one nor a reason; true where its rule failed.
func (e *evaluation) required(n *node, q *Question) bool {
	required := truthOf(q.required)
	if q.needed != nil && (!q.needed.volatile || !e.now.IsZero()) {
		required = e.holds(q.needed, n, q)
	}
	if required == yes {
		message := textRequired
		if own := q.Options.GetRequiredMessage(); own != nil {
			message = own
		}
		e.flag(q.rule+ruleRequired, formv1.Severity_SEVERITY_SOFT, message)
	}
	return required == broken
}

// calculated flags a field that holds another value than its rule yields.
func (e *evaluation) calculated(n *node, q *Question, s *slot) {
	var held datum
	q.access.read(&n.view, &held)
	if s.state == stateFailed || s.state == stateAnswered && held.equal(&s.datum, q.access.kind) {
		return
	}
	e.flag(q.rule+ruleCalculated, formv1.Severity_SEVERITY_SOFT, textCalculated)
}

// equal tells whether two values are the same, doubles within 1e-9 of the larger.
func (s *datum) equal(other *datum, k kind) bool {
	switch k {
	case kindText:
		return s.text == other.text
	case kindDouble:
		a, b := s.double(), other.double()
		return a == b || math.IsNaN(a) && math.IsNaN(b) || math.Abs(a-b) <= 1e-9*max(math.Abs(a), math.Abs(b)) && !math.IsInf(a-b, 0)
	}
	return s.bits == other.bits
}

// checks evaluates the checks of a question that is asked and answered; true where one failed.
func (e *evaluation) checks(n *node, q *Question) (failed bool) {
	for i := range q.checks {
		c := &q.checks[i]
		if c.holds.volatile && e.now.IsZero() {
			continue
		}
		switch e.holds(c.holds, n, q) {
		case no:
			e.flag(c.rule, c.Options.GetSeverity(), c.Options.GetMessage())
		case broken:
			failed = true
		}
	}
	return failed
}

// rows flags a roster that has another number of rows than it should; true where the rule for it failed.
func (e *evaluation) rows(n *node, q *Question, held bool) bool {
	if q.count.volatile && e.now.IsZero() {
		return false
	}
	var s datum
	f := e.push(n, q)
	o := q.count.value(f, &s)
	e.depth--
	rows := 0
	if held {
		rows = len(e.rowsOf(n, q))
	}
	if o == there && max(s.integer(), 0) != int64(rows) {
		e.flag(q.rule+ruleRowCount, formv1.Severity_SEVERITY_SOFT, textRowCount)
	}
	return o == failed
}

// reported puts into the report what is missing and what was calculated.
func (e *evaluation) reported(n *node, q *Question, s *slot, reason formv1.Missing) {
	switch {
	case q.calculate != nil:
		if s.state == stateAnswered {
			e.report.Calculated = append(e.report.Calculated, Calculation{pathString(e.path), q, s.native(q.access.kind)})
		}
	case s.state != stateUnanswered || q.Options.GetNote() || q.Options.GetSystem():
	case q.Module != nil && (q.List || q.Module.missing != nil || q.Module.top):
	case n.module.missing == nil && !n.module.top: // a part of a block
	default:
		e.report.Missing = append(e.report.Missing, Absence{pathString(e.path), q, reason})
	}
}

// values looks at an answer by itself, and at each value of a list.
func (e *evaluation) values(n *node, q *Question, s *slot) {
	if !q.valued {
		return
	}
	held := &s.datum
	if q.calculate != nil {
		held = &datum{}
		q.access.read(&n.view, held)
	}
	if len(q.limits) > 0 {
		v := q.access.value(&n.view, held)
		for i := range q.limits {
			if l := &q.limits[i]; !l.holds(v) {
				e.flag(l.rule, formv1.Severity_SEVERITY_HARD, l.text)
			}
		}
	}
	if q.format != nil && !q.format(held.text) || q.ranked && !unique(q.access.value(&n.view, nil).List()) {
		e.flag(q.rule+ruleFormat, formv1.Severity_SEVERITY_HARD, textFormat)
	}
	switch {
	case q.List && (q.Choices != nil || len(q.itemRules) > 0):
		e.items(n, q)
	case !q.List && q.Choices != nil && !q.knows(held.integer()):
		e.flag(q.rule+ruleUnknownValue, formv1.Severity_SEVERITY_SOFT, textUnknownValue)
	}
}

// items looks at each value of a list.
func (e *evaluation) items(n *node, q *Question) {
	all, last := q.access.list(&n.view), len(e.path)-1
	var values protoreflect.List
	if len(q.itemRules) > 0 {
		values = q.access.value(&n.view, nil).List()
	}
	for i := range all.n {
		e.path[last].index = i
		if q.Choices != nil {
			var one datum
			all.datum(i, &one)
			if !q.knows(one.integer()) {
				e.flag(q.rule+ruleUnknownValue, formv1.Severity_SEVERITY_SOFT, textUnknownValue)
			}
		}
		for j := range q.itemRules {
			if l := &q.itemRules[j]; !l.holds(values.Get(i)) {
				e.flag(l.rule, formv1.Severity_SEVERITY_HARD, l.text)
			}
		}
		if e.full {
			break
		}
	}
	e.path[last].index = -1
}

// knows tells whether a number is that of a choice, or an enum's zero.
func (q *Question) knows(number int64) bool {
	if number != int64(int32(number)) {
		return false
	}
	if q.enum != nil {
		return q.enum.knows(protoreflect.EnumNumber(number))
	}
	_, ok := q.Choices.Find(int32(number))
	return ok
}

// offered flags choices that the filter of their question does not offer; true where it failed.
func (e *evaluation) offered(n *node, q *Question, s *slot) (failed bool) {
	if q.filter.volatile && e.now.IsZero() {
		return false
	}
	one := func(number int64) {
		c, ok := q.Choices.Find(int32(number))
		if !ok {
			return // flagged as unknown
		}
		switch e.offers(n, q, c) {
		case no:
			e.flag(q.rule+ruleNotOffered, formv1.Severity_SEVERITY_SOFT, textNotOffered)
		case broken:
			failed = true
		}
	}
	if !q.List {
		one(s.integer())
		return failed
	}
	all, last := q.access.list(&n.view), len(e.path)-1
	for i := range all.n {
		var item datum
		all.datum(i, &item)
		e.path[last].index = i
		one(item.integer())
	}
	e.path[last].index = -1
	return failed
}

// offers tells whether the filter of a question offers a choice.
func (e *evaluation) offers(n *node, q *Question, c *Choice) truth {
	f := e.push(n, q)
	f.choice = c
	t := q.filter.holds(f)
	e.depth--
	return t
}

// reasons looks at the reasons for missing answers of one message, by number.
func (e *evaluation) reasons(n *node, reasons map[uint32]formv1.Missing) {
	numbers := make([]uint32, 0, 16)
	for number := range reasons {
		numbers = append(numbers, number)
	}
	slices.Sort(numbers)
	m := n.module
	rule := string(m.missing.field.FullName()) + "/"
	for _, number := range numbers {
		if e.full {
			return
		}
		why := protoreflect.EnumNumber(reasons[number])
		var q *Question
		if number <= maxFieldNumber {
			q = m.byNumber[protoreflect.FieldNumber(number)]
		}
		e.path = append(e.path, place{"missing", int(number)})
		if q == nil {
			e.flag(rule+ruleMissingQuestion, formv1.Severity_SEVERITY_SOFT, textMissingQuestion)
		}
		if why < 0 || int(why) >= len(formv1.Missing_name) {
			e.flag(rule+ruleUnknownValue, formv1.Severity_SEVERITY_SOFT, textUnknownValue)
		}
		e.path = e.path[:len(e.path)-1]
		if q != nil {
			e.path = append(e.path, place{q.name, -1})
			e.reason(n, q, why)
			e.path = e.path[:len(e.path)-1]
		}
	}
}

const maxFieldNumber = 1<<29 - 1

// reason looks at the reason for which one question has no answer.
func (e *evaluation) reason(n *node, q *Question, why protoreflect.EnumNumber) {
	if n.held(q, &n.slots[q.index]) {
		e.flag(q.rule+ruleAnsweredMissing, formv1.Severity_SEVERITY_SOFT, textAnsweredMissing)
	}
	switch {
	case why < 0 || int(why) >= len(q.accepted): // flagged as unknown
	case q.accepted[why]:
	case why == protoreflect.EnumNumber(formv1.Missing_MISSING_NOT_APPLICABLE) && e.read(n, q).state == stateNotAsked:
		// A question that was not to be asked is not applicable, whatever it accepts.
	default:
		e.flag(q.rule+ruleMissingReason, formv1.Severity_SEVERITY_SOFT, textMissingReason)
	}
}

// flag adds a flag at the current path.
func (e *evaluation) flag(rule string, severity formv1.Severity, message *formv1.Text) {
	if e.full {
		return
	}
	if len(e.flags) == maxFlags-1 {
		e.full = true
		e.flags = append(e.flags, tooManyFlags())
		return
	}
	e.flags = append(e.flags, &servicev1.Flag{
		Path: proto.String(pathString(e.path)), Rule: proto.String(rule), Severity: severity.Enum(), Message: message,
	})
}

// tooManyFlags is the last flag of an interview that has more than are kept.
func tooManyFlags() *servicev1.Flag {
	return &servicev1.Flag{
		Path: proto.String(""), Rule: proto.String("hearth.survey.v1.Interview/" + ruleTooManyFlags), Severity: formv1.Severity_SEVERITY_HARD.Enum(),
		Message: textTooManyFlags,
	}
}

// pathString writes a path as "household.members[2].age".
func pathString(path []place) string {
	b := make([]byte, 0, 64)
	for i, p := range path {
		if i > 0 {
			b = append(b, '.')
		}
		b = append(b, p.name...)
		if p.index >= 0 {
			b = append(b, '[')
			b = strconv.AppendInt(b, int64(p.index), 10)
			b = append(b, ']')
		}
	}
	return string(b)
}

// What the rules that every question has say. They are never changed.
var (
	textRequired         = text("The question has neither an answer nor a reason for its absence.", "该题没有答案，也没有注明缺失原因。")
	textNotRelevant      = text("The question was answered, though by the other answers it is not to be asked.", "根据其他答案，该题不应询问，但填写了答案。")
	textUnknownValue     = text("The answer is none of those that the question offers; it may come from a newer questionnaire.", "答案不在可选范围之内，可能来自更新版本的问卷。")
	textNotOffered       = text("The answer is not among those that the other answers leave to choose from.", "根据其他答案，该选项不在可选范围之内。")
	textFormat           = text("The answer is not written in the form asked for.", "答案未按要求的格式填写。")
	textCalculated       = text("The value is not the one that is calculated from the other answers.", "该值与根据其他答案计算的结果不一致。")
	textRowCount         = text("The list has another number of rows than the other answers say.", "名册的行数与其他答案不一致。")
	textExpressionFailed = text("A rule of the question could not be evaluated with these answers.", "该题的规则无法根据现有答案进行判断。")
	textMissingReason    = text("The reason for the missing answer is not one that the question accepts.", "该题不接受所填的缺失原因。")
	textMissingQuestion  = text("A reason for a missing answer is given for a question that does not exist here.", "缺失原因所指的题目不存在。")
	textAnsweredMissing  = text("The question has both an answer and a reason for its absence.", "该题既有答案，又注明了缺失原因。")
	textNotReadable      = text("The answers are not those of the questionnaire that they name: the bytes cannot be read.", "答案数据无法按其注明的问卷读取。")
	textTooManyFlags     = text("The interview has more flags than are kept; the rest were left out.", "问题过多，其余未予列出。")
)
