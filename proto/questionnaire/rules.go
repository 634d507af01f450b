package questionnaire

import (
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

var ruleName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// Names of the rules that every question has; no check may take one.
const (
	ruleRequired         = "required"
	ruleNotRelevant      = "answered_but_not_relevant"
	ruleUnknownValue     = "unknown_value"
	ruleNotOffered       = "not_offered"
	ruleFormat           = "format"
	ruleCalculated       = "calculated_otherwise"
	ruleRowCount         = "row_count"
	ruleExpressionFailed = "expression_failed"
	ruleMissingReason    = "missing_reason_not_accepted"
	ruleMissingQuestion  = "missing_reason_for_unknown_question"
	ruleAnsweredMissing  = "answered_and_missing"
	ruleTooManyFlags     = "too_many_flags"
	ruleNotReadable      = "answers_not_readable"
)

var reserved = []string{
	ruleRequired, ruleNotRelevant, ruleUnknownValue, ruleNotOffered, ruleFormat, ruleCalculated, ruleRowCount, ruleExpressionFailed,
	ruleMissingReason, ruleMissingQuestion, ruleAnsweredMissing, ruleTooManyFlags, ruleNotReadable,
}

func blank(source string) bool { return strings.TrimSpace(source) == "" }

// rules compiles the rules of a module's questions.
func (c *compiler) rules(m *Module) error {
	if err := c.cel.enter(c.scope(m)); err != nil {
		return err
	}
	conditions := map[*predicate]int{}
	for _, q := range m.Questions {
		if err := c.rulesOf(q); err != nil {
			return err
		}
		if q.relevant == nil {
			continue
		}
		known, ok := conditions[q.relevant]
		if !ok {
			known = len(conditions)
			conditions[q.relevant] = known
		}
		q.condition = known
	}
	m.conditions = len(conditions)
	return nil
}

// rulesOf compiles the rules of one question.
func (c *compiler) rulesOf(q *Question) (err error) {
	o, f := q.Options, q.Field
	at := func(what string, name protoreflect.Name) of {
		return of{question: q, what: what, option: optionPath(o, name)}
	}
	if q.relevant, err = c.cel.condition(at("relevant", "relevant"), o.GetRelevant()); err != nil {
		return err
	}
	calculate := at("calculate", "calculate")
	calculate.chance = true
	if q.calculate, err = c.cel.calculation(calculate, o.GetCalculate()); err != nil {
		return err
	}
	initial := at("initial", "initial")
	initial.chance = true
	if q.initial, err = c.cel.calculation(initial, o.GetInitial()); err != nil {
		return err
	}
	if q.needed, err = c.cel.condition(at("required_when", "required_when"), o.GetRequiredWhen()); err != nil {
		return err
	}
	if !blank(o.GetCount()) && (!q.List || q.Module == nil) {
		return badOption(f, optionPath(o, "count"), "has a count of rows and is no roster")
	}
	if q.count, err = c.cel.number(at("count", "count"), o.GetCount()); err != nil {
		return err
	}
	if !blank(o.GetFilter()) && q.Choices == nil {
		return badOption(f, optionPath(o, "filter"), "has a filter and offers no choices")
	}
	filter := at("filter", "filter")
	filter.choice = true
	if q.filter, err = c.cel.condition(filter, o.GetFilter()); err != nil {
		return err
	}
	q.checks, err = c.checks(q)
	return err
}

// optionPath is the path of a field of (hearth.form.v1.question).
func optionPath(o *formv1.Question, name protoreflect.Name) []int32 {
	return []int32{int32(o.ProtoReflect().Descriptor().Fields().ByName(name).Number())}
}

// checks compiles the checks of one field.
func (c *compiler) checks(q *Question) ([]check, error) {
	var checks []check
	ids := map[string]bool{}
	for i, k := range q.Options.GetChecks() {
		id := k.GetId()
		at := of{question: q, what: "check " + id, value: true, option: append(optionPath(q.Options, "checks"), int32(i))}
		bad := func(format string, args ...any) error { return badOption(q.Field, at.option, format, args...) }
		switch {
		case !ruleName.MatchString(id):
			return nil, bad("has a check with the id %q: use lower case words joined by _", id)
		case slices.Contains(reserved, id):
			return nil, bad("has a check with the id %q, which Hearth keeps for itself", id)
		case ids[id]:
			return nil, bad("has two checks with the id %q", id)
		case k.GetMessage().GetEn() == "" && k.GetMessage().GetZh() == "" && len(k.GetMessage().GetMore()) == 0:
			return nil, bad("has no message for its check %s", id)
		case k.GetSeverity() != formv1.Severity_SEVERITY_SOFT && k.GetSeverity() != formv1.Severity_SEVERITY_HARD:
			return nil, bad("does not say whether its check %s is soft or hard", id)
		}
		ids[id] = true
		holds, err := c.cel.condition(at, k.GetExpression())
		if err != nil {
			return nil, err
		}
		if holds == nil {
			return nil, bad("has a check %s without an expression", id)
		}
		checks = append(checks, check{Options: k, rule: q.rule + id, holds: holds})
	}
	return checks, nil
}

// quiet tells whether nothing is said of a question that is not answered and need not be, whatever the other answers.
func (q *Question) quiet() bool {
	return (q.relevant == nil || q.relevant.safe) && (q.calculate == nil || q.calculate.safe || q.calculate.volatile) && q.count == nil
}

// demanding tells whether something may be said of a message in which nothing is answered.
func demanding(m *Module) bool {
	for _, q := range m.Questions {
		if q.required || q.needed != nil || !q.silent || q.Module != nil && !q.List && !q.Module.top && q.Module.missing != nil && demanding(q.Module) {
			return true
		}
	}
	return false
}
