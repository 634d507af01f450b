package questionnaire

import (
	"regexp"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/hearth-survey/hearth/proto/fault"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

// enumeration is which numbers an enum has, without going through its descriptor.
type enumeration struct {
	Desc  protoreflect.EnumDescriptor
	dense int32 // numbers 0 to dense-1 are known
	other map[protoreflect.EnumNumber]bool
}

func (e *enumeration) knows(n protoreflect.EnumNumber) bool {
	return n >= 0 && int32(n) < e.dense || e.other[n]
}

func newEnumeration(d protoreflect.EnumDescriptor) *enumeration {
	e := &enumeration{Desc: d, other: map[protoreflect.EnumNumber]bool{}}
	for i := range d.Values().Len() {
		e.other[d.Values().Get(i).Number()] = true
	}
	for e.other[protoreflect.EnumNumber(e.dense)] {
		e.dense++
	}
	return e
}

// in tells whether a version has the question. Version 0 is not known, and taken for one that has everything current.
func (q *Question) in(version uint32) bool {
	return version >= q.since && (q.until == 0 || version <= q.until)
}

// compiler compiles the modules of an interview, each message once.
type compiler struct {
	// tops are the interview itself and then the questionnaires, by number of their field in the interview.
	tops []protoreflect.MessageDescriptor
	// roots are the top messages from which a message is reached.
	roots   map[protoreflect.FullName][]protoreflect.MessageDescriptor
	modules map[protoreflect.FullName]*Module
	enums   map[protoreflect.FullName]*enumeration
	choices map[protoreflect.FullName]*Choices
	tables  map[string]map[string]*Choices // by file and name
	open    map[protoreflect.FullName]bool
	cel     *expressions
}

func newCompiler(tops ...protoreflect.MessageDescriptor) (*compiler, error) {
	c := &compiler{
		tops:    tops,
		roots:   map[protoreflect.FullName][]protoreflect.MessageDescriptor{},
		modules: map[protoreflect.FullName]*Module{},
		enums:   map[protoreflect.FullName]*enumeration{},
		choices: map[protoreflect.FullName]*Choices{},
		tables:  map[string]map[string]*Choices{},
		open:    map[protoreflect.FullName]bool{},
	}
	for _, top := range c.tops {
		if moduleOptions(top).GetVersion() == 0 {
			return nil, badSchema(top, "has no version: set it in option (hearth.form.v1.module)")
		}
		c.reach(top, top)
	}
	var err error
	c.cel, err = newExpressions(tops[0])
	return c, err
}

// interviewTops are an interview and the questionnaires among its answers.
func interviewTops(interview protoreflect.MessageDescriptor) []protoreflect.MessageDescriptor {
	tops := []protoreflect.MessageDescriptor{interview}
	for f := range fieldsOf(interview) {
		if f.ContainingOneof() != nil && moduleOptions(f.Message()).GetVersion() > 0 {
			tops = append(tops, f.Message())
		}
	}
	return tops
}

// questionnaire compiles one of the tops.
func (c *compiler) questionnaire(top protoreflect.MessageDescriptor) (*Questionnaire, error) {
	m, err := c.compileModule(top)
	if err != nil {
		return nil, err
	}
	q := &Questionnaire{top: m, version: m.Options.GetVersion()}
	if q.version > maxVersions {
		return nil, badSchema(top, "has version %d; %d is the last", q.version, maxVersions)
	}
	for v := uint32(1); v <= q.version; v++ {
		q.fingerprints = append(q.fingerprints, fingerprint(top, v))
	}
	q.asked = countQuestions(m, q.version)
	q.upgrade, err = newUpgrade(top, c.earlierValue)
	return q, err
}

// maxVersions bounds the work of telling versions apart.
const maxVersions = 1000

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
func (c *compiler) compileModule(d protoreflect.MessageDescriptor) (*Module, error) {
	if m := c.modules[d.FullName()]; m != nil {
		return m, nil
	}
	if c.open[d.FullName()] {
		return nil, badSchema(d, "contains itself: a module or roster cannot stand inside itself")
	}
	c.open[d.FullName()] = true
	defer delete(c.open, d.FullName())

	m := &Module{Desc: d, Options: moduleOptions(d), byNumber: map[protoreflect.FieldNumber]*Question{}, top: c.isTop(d), typ: generated(d)}
	if m.Options.GetTitle().GetEn() == "" {
		return nil, badSchema(d, "has no title: set option (hearth.form.v1.module).title")
	}
	if err := c.cel.enter(d, c.rootOf(d)); err != nil {
		return nil, err
	}
	var below []*Question
	conditions := map[string]*Question{}
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
		m.Questions = append(m.Questions, q)
		m.byNumber[f.Number()] = q
		if groupOf(f) != nil {
			below = append(below, q)
		}
	}
	for _, q := range below {
		var err error
		if q.Module, err = c.compileModule(groupOf(q.Field)); err != nil {
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
	ruleNotReadable      = "answers_not_readable"
)

// compileQuestion compiles one field.
func (c *compiler) compileQuestion(f protoreflect.FieldDescriptor) (*Question, error) {
	o, _ := proto.GetExtension(f.Options(), formv1.E_Question).(*formv1.Question)
	if o.GetLabel().GetEn() == "" {
		return nil, badField(f, "has no label: set option (hearth.form.v1.question).label")
	}
	q := &Question{
		Field: f, access: newAccess(f), name: string(f.Name()), Options: o, rule: string(f.FullName()) + "/", List: f.IsList(),
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
	if q.Choices, err = c.choicesFor(f, o); err != nil {
		return nil, err
	}
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
		checks = append(checks, check{Options: k, rule: string(f.FullName()) + "/" + id, holds: holds})
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
	return fault.New(fault.Invalid, fault.BadSchema, "%smessage %s "+format, append([]any{placeIn(m), m.FullName()}, args...)...)
}

func badField(f protoreflect.FieldDescriptor, format string, args ...any) error {
	return fault.New(fault.Invalid, fault.BadSchema, "%sfield %s "+format, append([]any{placeIn(f), f.FullName()}, args...)...)
}
