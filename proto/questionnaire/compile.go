package questionnaire

import (
	"reflect"
	"regexp"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/hearth-survey/hearth/proto/fault"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

// module is a compiled message.
type module struct {
	desc      protoreflect.MessageDescriptor
	options   *formv1.Module
	questions []*question
	byNumber  map[protoreflect.FieldNumber]*question
	// missing is the map of missing reasons by field number, nil where the message has none.
	missing *access
	// typ is the type of the generated Go, nil where there is none.
	typ reflect.Type
	// conditions is how many different conditions the questions have for being asked.
	conditions int
	// top: the message is the root of a questionnaire's expressions.
	top bool
}

// question is a compiled field.
type question struct {
	field   protoreflect.FieldDescriptor
	access  *access
	name    string
	options *formv1.Question
	// rule is what the names of the question's rules begin with: "hearth.survey.v1.HouseholdMember.age/".
	rule string
	list bool
	// module is set where the answer is a message of ours; then the question is a group or, with list, a roster.
	module *module
	enum   *enumeration

	required bool
	since    uint32
	until    uint32
	accepted [5]bool // by number of the reason

	relevant  *predicate
	condition int // which of its message's conditions relevant is
	calculate *predicate
	checks    []check
	limits    []limit
	itemRules []limit
}

// check is a compiled check of an answer.
type check struct {
	options *formv1.Check
	rule    string
	holds   *predicate
}

// enumeration is which numbers an enum has, without going through its descriptor.
type enumeration struct {
	desc  protoreflect.EnumDescriptor
	dense int32 // numbers 0 to dense-1 are known
	other map[protoreflect.EnumNumber]bool
}

func (e *enumeration) knows(n protoreflect.EnumNumber) bool {
	return n >= 0 && int32(n) < e.dense || e.other[n]
}

func newEnumeration(d protoreflect.EnumDescriptor) *enumeration {
	e := &enumeration{desc: d, other: map[protoreflect.EnumNumber]bool{}}
	for i := range d.Values().Len() {
		e.other[d.Values().Get(i).Number()] = true
	}
	for e.other[protoreflect.EnumNumber(e.dense)] {
		e.dense++
	}
	return e
}

// in tells whether a version has the question. Version 0 is not known, and taken for one that has everything current.
func (q *question) in(version uint32) bool {
	return version >= q.since && (q.until == 0 || version <= q.until)
}

// compiler compiles the modules of an interview, each message once.
type compiler struct {
	// tops are the interview itself and then the questionnaires, by number of their field in the interview.
	tops []protoreflect.MessageDescriptor
	// roots are the top messages from which a message is reached.
	roots   map[protoreflect.FullName][]protoreflect.MessageDescriptor
	modules map[protoreflect.FullName]*module
	enums   map[protoreflect.FullName]*enumeration
	open    map[protoreflect.FullName]bool
	cel     *expressions
}

func newCompiler(interview protoreflect.MessageDescriptor) (*compiler, error) {
	c := &compiler{
		tops:    []protoreflect.MessageDescriptor{interview},
		roots:   map[protoreflect.FullName][]protoreflect.MessageDescriptor{},
		modules: map[protoreflect.FullName]*module{},
		enums:   map[protoreflect.FullName]*enumeration{},
		open:    map[protoreflect.FullName]bool{},
	}
	for f := range fieldsOf(interview) {
		if f.ContainingOneof() != nil && moduleOptions(f.Message()).GetVersion() > 0 {
			c.tops = append(c.tops, f.Message())
		}
	}
	for _, top := range c.tops {
		if moduleOptions(top).GetVersion() == 0 {
			return nil, badSchema(top, "has no version: set it in option (hearth.form.v1.module)")
		}
		c.reach(top, top)
	}
	var err error
	c.cel, err = newExpressions(interview)
	return c, err
}

// reach notes that m can be reached from the questionnaire top.
func (c *compiler) reach(top, m protoreflect.MessageDescriptor) {
	for _, r := range c.roots[m.FullName()] {
		if r == top {
			return
		}
	}
	c.roots[m.FullName()] = append(c.roots[m.FullName()], top)
	for f := range fieldsOf(m) {
		if sub := groupOf(f); sub != nil && !c.isTop(sub) {
			c.reach(top, sub)
		}
	}
}

func (c *compiler) isTop(m protoreflect.MessageDescriptor) bool {
	for _, t := range c.tops {
		if t == m {
			return true
		}
	}
	return false
}

// rootOf is the top message of the questionnaire that a message belongs to, nil where it belongs to several.
func (c *compiler) rootOf(m protoreflect.MessageDescriptor) protoreflect.MessageDescriptor {
	if roots := c.roots[m.FullName()]; len(roots) == 1 {
		return roots[0]
	}
	return nil
}

// compileModule compiles a message and everything below it.
func (c *compiler) compileModule(d protoreflect.MessageDescriptor) (*module, error) {
	if m := c.modules[d.FullName()]; m != nil {
		return m, nil
	}
	if c.open[d.FullName()] {
		return nil, badSchema(d, "contains itself: a module or roster cannot stand inside itself")
	}
	c.open[d.FullName()] = true
	defer delete(c.open, d.FullName())

	m := &module{desc: d, options: moduleOptions(d), byNumber: map[protoreflect.FieldNumber]*question{}, top: c.isTop(d), typ: generated(d)}
	if m.options.GetTitle().GetEn() == "" {
		return nil, badSchema(d, "has no title: set option (hearth.form.v1.module).title")
	}
	if err := c.cel.enter(d, c.rootOf(d)); err != nil {
		return nil, err
	}
	var below []*question
	conditions := map[string]*question{}
	for f := range fieldsOf(d) {
		if f.IsMap() {
			if f.Name() != "missing" || f.MapKey().Kind() != protoreflect.Uint32Kind || f.MapValue().Enum() == nil {
				return nil, badField(f, "is a map: only map<uint32, Missing> missing may be one")
			}
			m.missing = newAccess(f)
			continue
		}
		q, err := c.compileQuestion(f)
		if err != nil {
			return nil, err
		}
		if q.relevant != nil {
			if first := conditions[q.relevant.source]; first != nil {
				q.relevant, q.condition = first.relevant, first.condition
			} else {
				q.condition, conditions[q.relevant.source] = len(conditions), q
			}
		}
		m.questions = append(m.questions, q)
		m.byNumber[f.Number()] = q
		if groupOf(f) != nil {
			below = append(below, q)
		}
	}
	for _, q := range below {
		var err error
		if q.module, err = c.compileModule(groupOf(q.field)); err != nil {
			return nil, err
		}
	}
	m.conditions = len(conditions)
	c.modules[d.FullName()] = m
	return m, nil
}

var ruleName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// Names of the rules that every question has; no check may take one.
const (
	ruleRequired         = "required"
	ruleNotRelevant      = "answered_but_not_relevant"
	ruleUnknownValue     = "unknown_value"
	ruleExpressionFailed = "expression_failed"
	ruleMissingReason    = "missing_reason_not_accepted"
	ruleMissingQuestion  = "missing_reason_for_unknown_question"
	ruleAnsweredMissing  = "answered_and_missing"
	ruleTooManyFlags     = "too_many_flags"
)

// compileQuestion compiles one field.
func (c *compiler) compileQuestion(f protoreflect.FieldDescriptor) (*question, error) {
	o, _ := proto.GetExtension(f.Options(), formv1.E_Question).(*formv1.Question)
	if o.GetLabel().GetEn() == "" {
		return nil, badField(f, "has no label: set option (hearth.form.v1.question).label")
	}
	q := &question{
		field: f, access: newAccess(f), name: string(f.Name()), options: o, rule: string(f.FullName()) + "/", list: f.IsList(),
		required: o.GetRequired() && o.GetCalculate() == "", since: o.GetSince(), until: o.GetUntil(),
	}
	if q.until != 0 && q.until < q.since {
		return nil, badField(f, "ends in version %d before it begins in version %d", q.until, q.since)
	}
	if f.Enum() != nil {
		if q.enum = c.enums[f.Enum().FullName()]; q.enum == nil {
			q.enum = newEnumeration(f.Enum())
			c.enums[f.Enum().FullName()] = q.enum
		}
	}
	for _, r := range acceptedReasons(o) {
		if r <= formv1.Missing_MISSING_UNSPECIFIED || int(r) >= len(q.accepted) {
			return nil, badField(f, "accepts the missing reason %d, which is none", r)
		}
		q.accepted[r] = true
	}
	var err error
	if q.limits, q.itemRules, err = compileLimits(f); err != nil {
		return nil, err
	}
	if q.relevant, err = c.cel.condition(f, "relevant", o.GetRelevant()); err != nil {
		return nil, err
	}
	if q.calculate, err = c.cel.calculation(f, o.GetCalculate()); err != nil {
		return nil, err
	}
	if q.checks, err = c.compileChecks(f, o.GetChecks()); err != nil {
		return nil, err
	}
	return q, nil
}

// compileChecks compiles the checks of one field.
func (c *compiler) compileChecks(f protoreflect.FieldDescriptor, options []*formv1.Check) ([]check, error) {
	var checks []check
	ids := map[string]bool{}
	for _, k := range options {
		id := k.GetId()
		switch {
		case !ruleName.MatchString(id):
			return nil, badField(f, "has a check with the id %q: use lower case words joined by _", id)
		case reserved(id):
			return nil, badField(f, "has a check with the id %q, which Hearth keeps for itself", id)
		case ids[id]:
			return nil, badField(f, "has two checks with the id %q", id)
		case k.GetMessage().GetEn() == "":
			return nil, badField(f, "has no message for its check %s", id)
		case k.GetSeverity() != formv1.Severity_SEVERITY_SOFT && k.GetSeverity() != formv1.Severity_SEVERITY_HARD:
			return nil, badField(f, "does not say whether its check %s is soft or hard", id)
		}
		ids[id] = true
		holds, err := c.cel.condition(f, "check "+id, k.GetExpression())
		if err != nil {
			return nil, err
		}
		if holds == nil {
			return nil, badField(f, "has a check %s without an expression", id)
		}
		checks = append(checks, check{options: k, rule: string(f.FullName()) + "/" + id, holds: holds})
	}
	return checks, nil
}

// acceptedReasons are the reasons a question accepts for having no answer.
func acceptedReasons(o *formv1.Question) []formv1.Missing {
	if len(o.GetMissing()) > 0 {
		return o.GetMissing()
	}
	return []formv1.Missing{formv1.Missing_MISSING_REFUSED, formv1.Missing_MISSING_DONT_KNOW}
}

func reserved(id string) bool {
	switch id {
	case ruleRequired, ruleNotRelevant, ruleUnknownValue, ruleExpressionFailed, ruleMissingReason, ruleMissingQuestion, ruleAnsweredMissing, ruleTooManyFlags:
		return true
	}
	return false
}

// fieldsOf yields the fields of a message in the order in which they are written.
func fieldsOf(m protoreflect.MessageDescriptor) func(yield func(protoreflect.FieldDescriptor) bool) {
	return func(yield func(protoreflect.FieldDescriptor) bool) {
		if m == nil {
			return
		}
		for i := range m.Fields().Len() {
			if !yield(m.Fields().Get(i)) {
				return
			}
		}
	}
}

// groupOf is the message of a field that holds a module or a roster; nil for answers, and for well-known messages such as
// timestamps, which are answers.
func groupOf(f protoreflect.FieldDescriptor) protoreflect.MessageDescriptor {
	m := f.Message()
	if m == nil || f.IsMap() || m.ParentFile().Package() == "google.protobuf" {
		return nil
	}
	return m
}

func moduleOptions(m protoreflect.MessageDescriptor) *formv1.Module {
	if m == nil {
		return nil
	}
	o, _ := proto.GetExtension(m.Options(), formv1.E_Module).(*formv1.Module)
	return o
}

func choiceOptions(v protoreflect.EnumValueDescriptor) *formv1.Choice {
	o, _ := proto.GetExtension(v.Options(), formv1.E_Choice).(*formv1.Choice)
	return o
}

func listOptions(e protoreflect.EnumDescriptor) *formv1.ChoiceList {
	o, _ := proto.GetExtension(e.Options(), formv1.E_List).(*formv1.ChoiceList)
	return o
}

func badSchema(m protoreflect.MessageDescriptor, format string, args ...any) error {
	return fault.New(fault.Invalid, fault.BadSchema, "message %s "+format, append([]any{m.FullName()}, args...)...)
}

func badField(f protoreflect.FieldDescriptor, format string, args ...any) error {
	return fault.New(fault.Invalid, fault.BadSchema, "field %s "+format, append([]any{f.FullName()}, args...)...)
}
