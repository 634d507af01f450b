package questionnaire

import (
	"slices"

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

// Bounds of one questionnaire. The largest real one has 3,500 questions in groups that nest six deep.
const (
	maxQuestions = 20_000
	maxDepth     = 32
	// maxUnfolded bounds the questions where those of a message count wherever it stands: thirty messages that each stand
	// twice in the one before would be a thousand million.
	maxUnfolded = 100_000
)

// compiler compiles the modules of an interview, or of one questionnaire, each message once: first their structure, then
// their rules, which may read any of them.
type compiler struct {
	// tops are the interview itself and then the questionnaires, or the one questionnaire.
	tops []protoreflect.MessageDescriptor
	// roots are the top messages from which a message is reached.
	roots   map[protoreflect.FullName][]protoreflect.MessageDescriptor
	modules map[protoreflect.FullName]*Module
	// order has the modules as they were compiled, those below first; all has the questions by id.
	order []*Module
	all   []*Question
	// around are the messages in which a module stands.
	around  map[*Module][]placement
	enums   map[protoreflect.FullName]*enumeration
	choices map[protoreflect.FullName]*Choices
	tables  map[string]map[string]*Choices // by file and name
	open    map[protoreflect.FullName]bool
	cel     *expressions
}

// placement is one place where a module stands.
type placement struct {
	module   *Module
	question *Question
}

// compile compiles an interview and the questionnaires among its answers, or one questionnaire.
func compile(tops ...protoreflect.MessageDescriptor) (*compiler, error) {
	c := &compiler{
		tops:    tops,
		roots:   map[protoreflect.FullName][]protoreflect.MessageDescriptor{},
		modules: map[protoreflect.FullName]*Module{},
		around:  map[*Module][]placement{},
		enums:   map[protoreflect.FullName]*enumeration{},
		choices: map[protoreflect.FullName]*Choices{},
		tables:  map[string]map[string]*Choices{},
		open:    map[protoreflect.FullName]bool{},
	}
	for _, top := range c.tops {
		if v := moduleOptions(top).GetVersion(); v == 0 {
			return nil, badSchema(top, "has no version: set it in option (hearth.form.v1.module)")
		} else if v > maxVersions {
			return nil, badSchema(top, "has version %d; %d is the last", v, maxVersions)
		}
		if _, err := c.tablesOf(top.ParentFile()); err != nil {
			return nil, err
		}
		if _, err := c.module(top, 0); err != nil {
			return nil, err
		}
	}
	for _, top := range c.tops {
		c.reach(top, c.modules[top.FullName()])
	}
	var err error
	if c.cel, err = newExpressions(c); err != nil {
		return nil, err
	}
	for _, m := range c.order {
		if err := c.rules(m); err != nil {
			return nil, err
		}
	}
	if err := c.acyclic(); err != nil {
		return nil, err
	}
	for _, q := range c.all {
		q.silent = q.quiet()
	}
	for _, m := range c.order {
		m.demanding = demanding(m)
	}
	for _, m := range c.order {
		m.glances = make([]glance, len(m.Questions))
		for i, q := range m.Questions {
			m.glances[i] = glanceAt(q)
		}
	}
	return c, nil
}

// maxVersions bounds the work of telling versions apart.
const maxVersions = 1000

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

// questionnaire is one of the tops.
func (c *compiler) questionnaire(top protoreflect.MessageDescriptor) (*Questionnaire, error) {
	m := c.modules[top.FullName()]
	q := &Questionnaire{top: m, version: m.Options.GetVersion(), all: c.all, order: c.order, lists: c}
	q.asked = countQuestions(m, q.version)
	var err error
	q.upgrade, err = newUpgrade(top, c.earlierValue)
	return q, err
}

// reach notes that a module and all below it can be reached from the questionnaire top.
func (c *compiler) reach(top protoreflect.MessageDescriptor, m *Module) {
	if slices.Contains(c.roots[m.Desc.FullName()], top) {
		return
	}
	c.roots[m.Desc.FullName()] = append(c.roots[m.Desc.FullName()], top)
	for _, q := range m.Questions {
		if q.Module != nil && !q.Module.top {
			c.reach(top, q.Module)
		}
	}
}

func (c *compiler) isTop(m protoreflect.MessageDescriptor) bool { return slices.Contains(c.tops, m) }

// module compiles the structure of a message and of everything below it.
func (c *compiler) module(d protoreflect.MessageDescriptor, depth int) (*Module, error) {
	if m := c.modules[d.FullName()]; m != nil {
		return m, nil
	}
	if c.open[d.FullName()] {
		return nil, badSchema(d, "contains itself: a module or roster cannot stand inside itself")
	}
	if depth > maxDepth {
		return nil, badSchema(d, "stands more than %d groups deep", maxDepth)
	}
	c.open[d.FullName()] = true
	defer delete(c.open, d.FullName())

	m := &Module{Desc: d, Options: moduleOptions(d), byNumber: map[protoreflect.FieldNumber]*Question{}, top: c.isTop(d), typ: generated(d)}
	if m.Options.GetTitle().GetEn() == "" && m.Options.GetTitle().GetZh() == "" && len(m.Options.GetTitle().GetMore()) == 0 {
		return nil, badSchema(d, "has no title: set option (hearth.form.v1.module).title")
	}
	for f := range fieldsOf(d) {
		if f.IsMap() {
			if f.Name() != "missing" || f.MapKey().Kind() != protoreflect.Uint32Kind || f.MapValue().Enum() == nil {
				return nil, badField(f, "is a map: only map<uint32, Missing> missing may be one")
			}
			m.missing = newAccess(f)
			continue
		}
		q, err := c.question(f)
		if err != nil {
			return nil, err
		}
		if q.id = len(c.all); q.id >= maxQuestions {
			return nil, badField(f, "is one too many: a questionnaire has at most %d questions", maxQuestions)
		}
		q.index, q.home = len(m.Questions), m
		c.all, m.Questions, m.byNumber[f.Number()] = append(c.all, q), append(m.Questions, q), q
	}
	for _, q := range m.Questions {
		g := GroupOf(q.Field)
		if g == nil {
			continue
		}
		var err error
		if q.Module, err = c.module(g, depth+1); err != nil {
			return nil, err
		}
		q.kid = m.groups
		m.groups++
		m.unfolded += q.Module.unfolded
		if !q.Module.top {
			c.around[q.Module] = append(c.around[q.Module], placement{m, q})
		}
	}
	if m.unfolded += len(m.Questions); m.unfolded > maxUnfolded {
		return nil, badSchema(d, "has more than %d questions in it, those of each group counted wherever the group stands: let fewer groups stand several times", maxUnfolded)
	}
	m.id = len(c.order)
	c.order, c.modules[d.FullName()] = append(c.order, m), m
	return m, nil
}

// question compiles the structure of one field.
func (c *compiler) question(f protoreflect.FieldDescriptor) (*Question, error) {
	o := formv1.QuestionOf(f.Options())
	switch {
	case o.GetLabel().GetEn() == "" && o.GetLabel().GetZh() == "" && len(o.GetLabel().GetMore()) == 0:
		return nil, badField(f, "has no label: set option (hearth.form.v1.question).label")
	case f.Cardinality() == protoreflect.Required:
		return nil, badField(f, "is required by protobuf: set required in option (hearth.form.v1.question), so that an interview can be kept that is not complete")
	case !f.IsList() && !f.HasPresence():
		return nil, badField(f, "cannot be unset: no answer and 0 would be the same; write edition 2023, or optional before its type")
	case o.GetUntil() != 0 && o.GetUntil() < o.GetSince():
		return nil, badField(f, "ends in version %d before it begins in version %d", o.GetUntil(), o.GetSince())
	case !fits(o.GetFormat(), f):
		return nil, badField(f, "has the format %s, which its type cannot hold", o.GetFormat())
	}
	q := &Question{
		Field: f, access: newAccess(f), name: string(f.Name()), Options: o, rule: string(f.FullName()) + "/", List: f.IsList(),
		required: o.GetRequired() && o.GetCalculate() == "", since: o.GetSince(), until: o.GetUntil(),
	}
	if q.required && o.GetRequiredWhen() != "" {
		q.required = false
	}
	q.format, q.number, q.ranked = formatOf(o.GetFormat()), uint32(f.Number()), o.GetFormat() == formv1.Format_FORMAT_RANK
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
	q.access.zero = q.Choices != nil
	q.limits, q.itemRules, err = compileLimits(f)
	q.valued = len(q.limits) > 0 || len(q.itemRules) > 0 || q.format != nil || q.Choices != nil
	return q, err
}

// scope is what the variables of a module's expressions mean.
func (c *compiler) scope(m *Module) *scope {
	s := &scope{this: m, rosters: c.rosters(m, map[*Module]int{})}
	for _, top := range c.roots[m.Desc.FullName()] {
		s.roots = append(s.roots, c.modules[top.FullName()])
	}
	if len(s.roots) == 1 {
		s.root = s.roots[0]
	}
	for at := m; len(s.ups) < len(upNames); {
		places := c.around[at]
		if len(places) == 0 || at.top {
			break
		}
		up := places[0].module
		if slices.ContainsFunc(places, func(p placement) bool { return p.module != up }) {
			break
		}
		s.ups, at = append(s.ups, up), up
	}
	return s
}

// rosters is in how many rosters a module stands at most.
func (c *compiler) rosters(m *Module, known map[*Module]int) int {
	if n, ok := known[m]; ok {
		return n
	}
	most := 0
	for _, p := range c.around[m] {
		n := c.rosters(p.module, known)
		if p.question.List {
			n++
		}
		most = max(most, n)
	}
	known[m] = most
	return most
}

// acceptedReasons are the reasons a question accepts for having no answer.
func acceptedReasons(o *formv1.Question) []formv1.Missing {
	if len(o.GetMissing()) > 0 {
		return o.GetMissing()
	}
	return []formv1.Missing{formv1.Missing_MISSING_REFUSED, formv1.Missing_MISSING_DONT_KNOW}
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

// GroupOf is the message of a field that holds a module or a roster; nil for answers, and for well-known messages such as
// timestamps, which are answers.
func GroupOf(f protoreflect.FieldDescriptor) protoreflect.MessageDescriptor {
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
	return formv1.ModuleOf(m.Options())
}

func badSchema(m protoreflect.MessageDescriptor, format string, args ...any) error {
	return fault.New(fault.Invalid, fault.BadSchema, "%smessage %s "+format, append([]any{placeIn(m), m.FullName()}, args...)...)
}

func badField(f protoreflect.FieldDescriptor, format string, args ...any) error {
	return badOption(f, nil, format, args...)
}

// badOption names an option of a field by its path within (hearth.form.v1.question).
func badOption(f protoreflect.FieldDescriptor, option []int32, format string, args ...any) error {
	const fieldOptions = 8 // in FieldDescriptorProto
	var path []int32
	if option != nil {
		path = append([]int32{fieldOptions, int32(formv1.E_Question.TypeDescriptor().Number())}, option...)
	}
	return fault.New(fault.Invalid, fault.BadSchema, "%sfield %s "+format, append([]any{placeIn(f, path...), f.FullName()}, args...)...)
}
