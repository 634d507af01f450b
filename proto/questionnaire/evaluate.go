package questionnaire

import (
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
	x := viewOf(iv.ProtoReflect(), s.interview.typ)
	e := &evaluation{
		frame:     frame{root: x, steps: stepsPerInterview},
		completed: iv.GetStatus() == surveyv1.InterviewStatus_INTERVIEW_STATUS_COMPLETED,
		answers:   iv.GetQuestionnaireVersion(),
		version:   s.interview.Options.GetVersion(),
	}
	e.walk(s.interview, x, true)
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
	if err := proto.Unmarshal(other.GetAnswers(), m); err != nil {
		e.flag("hearth.survey.v1.OtherAnswers.answers/"+ruleNotReadable, formv1.Severity_SEVERITY_HARD, textNotReadable)
		return
	}
	x := viewOf(m.ProtoReflect(), q.top.typ)
	e.frame.root, e.version = x, e.answers
	if e.version == 0 {
		e.version = q.version
	}
	e.walk(q.top, x, true)
}

// evaluation is one walk through one interview.
type evaluation struct {
	frame     frame
	path      []place
	flags     []*servicev1.Flag
	completed bool
	full      bool
	// memo holds what the conditions of the messages being walked through came to; base is where this message's begin.
	memo []truth
	base int
	// answers is the version of the questionnaire that the interview names; version that of the module walked through.
	answers uint32
	version uint32
}

// place is one step of a path.
type place struct {
	name  string
	index int // -1: not a row
}

// walk goes through the questions of one message in order. Where asked is false nothing below is required.
func (e *evaluation) walk(m *Module, x view, asked bool) {
	e.frame.this = x
	base := len(e.memo)
	e.base = base
	for range m.conditions {
		e.memo = append(e.memo, unknown)
	}
	defer func() { e.memo = e.memo[:base] }()
	var reasons map[uint32]formv1.Missing
	if m.missing != nil {
		reasons = m.missing.reasons(x)
	}
	for _, q := range m.Questions {
		if !q.answer(x) {
			if q.required && e.completed && asked {
				e.unanswered(q, reasons)
			}
			continue
		}
		e.path = append(e.path, place{q.name, -1})
		relevant := e.answered(q, x)
		if q.Module != nil {
			e.below(q, x, asked && relevant)
			e.frame.this, e.base = x, base
		}
		e.path = e.path[:len(e.path)-1]
		if e.full {
			return
		}
	}
	if reasons != nil {
		e.reasons(m, x, reasons)
	}
}

// answer tells whether a question has an answer in a message.
func (q *Question) answer(x view) bool {
	return q.access.has(x) && (q.enum == nil || q.List || q.access.whole(x) != 0)
}

// below walks through the module or the roster that is the answer to a question.
func (e *evaluation) below(q *Question, x view, asked bool) {
	if q.List {
		rows, last := q.access.list(x), len(e.path)-1
		for i := range rows.len() {
			e.path[last].index = i
			e.walk(q.Module, rows.get(i).view, asked)
			if e.full {
				return
			}
		}
		e.path[last].index = -1
		return
	}
	x = q.access.below(x)
	if !q.Module.top {
		e.walk(q.Module, x, asked)
		return
	}
	root, version := e.frame.root, e.version
	e.frame.root, e.version = x, e.answers
	if e.version == 0 {
		e.version = q.Module.Options.GetVersion()
	}
	e.walk(q.Module, x, asked)
	e.frame.root, e.version = root, version
}

// unanswered flags a question that is required and has no answer.
func (e *evaluation) unanswered(q *Question, reasons map[uint32]formv1.Missing) {
	if !q.in(e.version) {
		return
	}
	if _, given := reasons[uint32(q.Field.Number())]; given {
		return
	}
	relevant := e.relevant(q)
	if relevant == no {
		return
	}
	e.path = append(e.path, place{q.name, -1})
	if relevant == failed {
		e.failed(q)
	} else {
		e.flag(q.rule+ruleRequired, formv1.Severity_SEVERITY_SOFT, textRequired)
	}
	e.path = e.path[:len(e.path)-1]
}

// relevant tells whether a question is to be asked. Questions share conditions, and each is evaluated once per message.
func (e *evaluation) relevant(q *Question) truth {
	if q.relevant == nil {
		return yes
	}
	known := &e.memo[e.base+q.condition]
	if *known == unknown {
		*known = q.relevant.eval(&e.frame)
	}
	return *known
}

// answered evaluates what is said of a question that has an answer, and tells whether it was to be asked.
func (e *evaluation) answered(q *Question, x view) bool {
	relevant := e.relevant(q)
	broken := relevant == failed
	if relevant == no {
		e.flag(q.rule+ruleNotRelevant, formv1.Severity_SEVERITY_SOFT, textNotRelevant)
	}
	if len(q.limits) > 0 {
		v := q.access.value(x)
		for i := range q.limits {
			if l := &q.limits[i]; !l.holds(v) {
				e.flag(l.rule, formv1.Severity_SEVERITY_HARD, l.text)
			}
		}
	}
	if q.enum != nil || len(q.itemRules) > 0 {
		e.values(q, x)
	}
	for i := range q.checks {
		c := &q.checks[i]
		switch c.holds.eval(&e.frame) {
		case no:
			e.flag(c.rule, c.Options.GetSeverity(), c.Options.GetMessage())
		case failed:
			broken = true
		}
	}
	if broken {
		e.failed(q)
	}
	return relevant != no
}

// values looks at each value of an answer by itself.
func (e *evaluation) values(q *Question, x view) {
	if !q.List {
		if q.enum != nil && !q.enum.knows(protoreflect.EnumNumber(q.access.whole(x))) {
			e.flag(q.rule+ruleUnknownValue, formv1.Severity_SEVERITY_SOFT, textUnknownValue)
		}
		return
	}
	all, last := q.access.list(x), len(e.path)-1
	var values protoreflect.List
	if len(q.itemRules) > 0 {
		values = q.access.value(x).List()
	}
	for i := range all.len() {
		e.path[last].index = i
		if q.enum != nil {
			if one := all.get(i); !q.enum.knows(protoreflect.EnumNumber(one.whole(true))) {
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

// reasons looks at the reasons for missing answers of one message, by number.
func (e *evaluation) reasons(m *Module, x view, reasons map[uint32]formv1.Missing) {
	numbers := make([]uint32, 0, 16)
	for n := range reasons {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	rule := string(m.missing.field.FullName()) + "/"
	for _, n := range numbers {
		if e.full {
			return
		}
		why := protoreflect.EnumNumber(reasons[n])
		var q *Question
		if n <= maxFieldNumber {
			q = m.byNumber[protoreflect.FieldNumber(n)]
		}
		e.path = append(e.path, place{"missing", int(n)})
		if q == nil {
			e.flag(rule+ruleMissingQuestion, formv1.Severity_SEVERITY_SOFT, textMissingQuestion)
		}
		if why < 0 || int(why) >= len(formv1.Missing_name) {
			e.flag(rule+ruleUnknownValue, formv1.Severity_SEVERITY_SOFT, textUnknownValue)
		}
		e.path = e.path[:len(e.path)-1]
		if q != nil {
			e.path = append(e.path, place{q.name, -1})
			e.reason(q, x, why)
			e.path = e.path[:len(e.path)-1]
		}
	}
}

const maxFieldNumber = 1<<29 - 1

// reason looks at the reason for which one question has no answer.
func (e *evaluation) reason(q *Question, x view, why protoreflect.EnumNumber) {
	if q.answer(x) {
		e.flag(q.rule+ruleAnsweredMissing, formv1.Severity_SEVERITY_SOFT, textAnsweredMissing)
	}
	switch {
	case why < 0 || int(why) >= len(q.accepted): // flagged as unknown
	case q.accepted[why]:
	case why == protoreflect.EnumNumber(formv1.Missing_MISSING_NOT_APPLICABLE) && e.relevant(q) == no:
		// A question that was not to be asked is not applicable, whatever it accepts.
	default:
		e.flag(q.rule+ruleMissingReason, formv1.Severity_SEVERITY_SOFT, textMissingReason)
	}
}

func (e *evaluation) failed(q *Question) {
	e.flag(q.rule+ruleExpressionFailed, formv1.Severity_SEVERITY_SOFT, textExpressionFailed)
}

// flag adds a flag at the current path.
func (e *evaluation) flag(rule string, severity formv1.Severity, message *formv1.Text) {
	if e.full {
		return
	}
	path := pathString(e.path)
	if len(e.flags) == maxFlags-1 {
		e.full = true
		path, rule, severity, message = "", "hearth.survey.v1.Interview/"+ruleTooManyFlags, formv1.Severity_SEVERITY_HARD, textTooManyFlags
	}
	e.flags = append(e.flags, &servicev1.Flag{
		Path: proto.String(path), Rule: proto.String(rule), Severity: severity.Enum(), Message: message,
	})
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
	textExpressionFailed = text("A rule of the question could not be evaluated with these answers.", "该题的规则无法根据现有答案进行判断。")
	textMissingReason    = text("The reason for the missing answer is not one that the question accepts.", "该题不接受所填的缺失原因。")
	textMissingQuestion  = text("A reason for a missing answer is given for a question that does not exist here.", "缺失原因所指的题目不存在。")
	textAnsweredMissing  = text("The question has both an answer and a reason for its absence.", "该题既有答案，又注明了缺失原因。")
	textNotReadable      = text("The answers are not those of the questionnaire that they name: the bytes cannot be read.", "答案数据无法按其注明的问卷读取。")
	textTooManyFlags     = text("The interview has more flags than are kept; the rest were left out.", "问题过多，其余未予列出。")
)
