package questionnaire

import (
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/hearth-survey/hearth/proto/fault"
)

// truth is what a condition comes to.
type truth uint8

const (
	unknown truth = iota // not evaluated yet
	no
	yes
	absent // no answer
	broken // failed; of absent and broken the greater counts
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// truth is what a condition comes to that has no value.
func (o outcome) truth() truth { return truth(o) + yes }

// outcome is whether a condition has a value.
func (t truth) outcome() outcome {
	if t <= yes {
		return there
	}
	return outcome(t - yes)
}

// Limits on the work of expressions, so that no interview, however large, holds the server up. A household interview
// takes a few hundred steps; one that needs more than these has more rows than a questionnaire can mean.
const (
	stepsPerInterview = 4_000_000
	costPerExpression = 1_000_000
	// maxText is how long a text may become in an expression.
	maxText = 1 << 20
)

// Limits on the text of one expression. The longest of real forms have 12,000 characters and nest 60 deep.
const (
	maxExpression = 32 << 10
	maxRecursion  = 250
)

// frame is what an expression reads.
type frame struct {
	e        *evaluation
	this     *node
	question *Question
	choice   *Choice
	// vars are the variables of the comprehensions of the expression, and cursors go through their lists, each in a place
	// of its own.
	vars    []element
	cursors []cursor
}

// element is a value of a list: a row, a scalar, or a value of CEL.
type element struct {
	datum
	n *node
	v ref.Val
}

// room makes room for the variables of an expression.
func (f *frame) room(n int) {
	if len(f.vars) < n {
		f.vars = append(f.vars, make([]element, n-len(f.vars))...)
		f.cursors = append(f.cursors, make([]cursor, n-len(f.cursors))...)
	}
}

// rule is what predicates and calculations have in common.
type rule struct {
	source string
	slots  int
	// volatile: it asks what time it is, or for something else that is another each time; chance: for the latter.
	volatile, chance bool
	// safe: there is nothing in it that can fail but for want of steps.
	safe bool
	// reads are the questions that it reads.
	reads []*Question
}

// predicate is a compiled condition.
type predicate struct {
	rule
	eval func(*frame) truth
}

func (p *predicate) holds(f *frame) truth {
	if p.slots > 0 {
		f.room(p.slots)
	}
	return p.eval(f)
}

// calculation is a compiled expression that yields a value of a field's type: put puts a datum into a slot, all yields any.
type calculation struct {
	rule
	put func(*frame, *datum) outcome
	all func(*frame) ref.Val
}

func (c *calculation) value(f *frame, s *datum) outcome {
	if c.slots > 0 {
		f.room(c.slots)
	}
	return c.put(f, s)
}

// expressions compiles the expressions of one message after another.
type expressions struct {
	compiler *compiler
	base     *cel.Env
	// calls carry out functions, by overload and by name.
	calls map[string]call
	env   *cel.Env
	// this is the module of the message; its parts are not compiled yet.
	scope *scope
	// envs are those of the message with the variable value, by its type.
	envs map[string]*cel.Env
	// compiled are the message's conditions by their source and the type of value.
	compiled map[string]*predicate
}

// scope is what the variables of a message mean.
type scope struct {
	this *Module
	// root is the questionnaire's top; nil where the message belongs to several, which are roots.
	root  *Module
	roots []*Module
	// ups are the messages around, from the inside, as far as they are always the same.
	ups []*Module
	// rosters is in how many rosters the message stands at most.
	rosters int
}

func newExpressions(c *compiler) (*expressions, error) {
	env, err := cel.NewEnv(append(functions(c),
		cel.Types(messagesOf(c.tops)...),
		cel.ParserExpressionSizeLimit(maxExpression),
		cel.ParserRecursionLimit(maxRecursion),
	)...)
	if err != nil {
		return nil, fault.New(fault.Internal, fault.BadSchema, "prepare expressions: %w", err)
	}
	x := &expressions{compiler: c, base: env}
	x.calls, err = callsOf(env)
	return x, err
}

// enter sets what the variables of the expressions that follow mean.
func (x *expressions) enter(s *scope) error {
	rootType := cel.DynType
	if s.root != nil {
		rootType = objectType(s.root.Desc)
	}
	vars := []cel.EnvOption{cel.Variable("this", objectType(s.this.Desc)), cel.Variable("root", rootType)}
	for i, up := range s.ups {
		vars = append(vars, cel.Variable(upNames[i], objectType(up.Desc)))
	}
	for i := range min(s.rosters, len(positionNames)) {
		vars = append(vars, cel.Variable(positionNames[i], cel.IntType))
	}
	env, err := x.base.Extend(vars...)
	if err != nil {
		return fault.New(fault.Internal, fault.BadSchema, "prepare expressions of message %s: %w", s.this.Desc.FullName(), err)
	}
	x.env, x.scope, x.envs, x.compiled = env, s, map[string]*cel.Env{}, map[string]*predicate{}
	return nil
}

var (
	upNames       = []string{"up1", "up2", "up3", "up4", "up5", "up6", "up7", "up8"}
	positionNames = []string{"position", "position2", "position3", "position4"}
)

func objectType(d protoreflect.MessageDescriptor) *cel.Type {
	return cel.ObjectType(string(d.FullName()))
}

// with is the environment of the message with one variable more.
func (x *expressions) with(name string, t *cel.Type) (*cel.Env, error) {
	key := name + " " + t.String()
	if env := x.envs[key]; env != nil {
		return env, nil
	}
	env, err := x.env.Extend(cel.Variable(name, t))
	if err != nil {
		return nil, fault.New(fault.Internal, fault.BadSchema, "prepare expressions of message %s: %w", x.scope.this.Desc.FullName(), err)
	}
	x.envs[key] = env
	return env, nil
}

// of is where an expression stands.
type of struct {
	question *Question
	what     string // "relevant", "check adult"
	option   []int32
	value    bool // the variable value is there
	choice   bool // the variable choice is there
	chance   bool // random, uuid and once may be used
}

// condition compiles an expression that must be true or false; nil for an empty one.
func (x *expressions) condition(at of, source string) (*predicate, error) {
	if blank(source) {
		return nil, nil
	}
	key := source
	switch name := string(at.question.Field.Name()); { // what value and choice are is another for each question
	case at.value:
		key = name + "\x00value\x00" + source
	case at.choice:
		key = name + "\x00choice\x00" + source
	}
	if known := x.compiled[key]; known != nil {
		return known, nil
	}
	t, result, err := x.translate(at, source)
	if err != nil {
		return nil, err
	}
	eval := t.truthOf(result)
	if kindOfType(t.ast.GetType(t.ast.Expr().ID())) != kindTruth && !t.ast.GetType(t.ast.Expr().ID()).IsDyn() {
		return nil, x.bad(at, "%s: %q is of type %s, not true or false", at.what, source, t.ast.GetType(t.ast.Expr().ID()))
	}
	p := &predicate{rule: t.rule, eval: eval}
	x.compiled[key] = p
	return p, nil
}

// calculation compiles an expression that yields the value of a field; nil for an empty one.
func (x *expressions) calculation(at of, source string) (*calculation, error) {
	if blank(source) {
		return nil, nil
	}
	t, result, err := x.translate(at, source)
	if err != nil {
		return nil, err
	}
	want, is := typeOf(at.question.Field), t.ast.GetType(t.ast.Expr().ID())
	lists := at.what == "initial" // a calculation yields one value
	if at.question.Module != nil || at.question.List && !lists || !want.IsExactType(is) && !is.IsDyn() {
		return nil, x.bad(at, "%s: %q is of type %s, which the field, of type %s, cannot hold", at.what, source, is, want)
	}
	c := &calculation{rule: t.rule, all: t.anyOf(result)}
	if !at.question.List {
		c.put = t.putter(result, at.question)
	}
	return c, nil
}

// number compiles an expression that yields a whole number.
func (x *expressions) number(at of, source string) (*calculation, error) {
	if blank(source) {
		return nil, nil
	}
	t, result, err := x.translate(at, source)
	if err != nil {
		return nil, err
	}
	if is := t.ast.GetType(t.ast.Expr().ID()); !is.IsExactType(cel.IntType) && !is.IsDyn() {
		return nil, x.bad(at, "%s: %q is of type %s, not a whole number", at.what, source, is)
	}
	whole := t.intOf(result)
	return &calculation{rule: t.rule, put: func(f *frame, s *datum) outcome {
		i, o := whole(f)
		s.setInt(i)
		return o
	}}, nil
}

// translate parses, checks and translates an expression.
func (x *expressions) translate(at of, source string) (*translator, *term, error) {
	env := x.env
	var err error
	switch {
	case at.value:
		env, err = x.with("value", typeOf(at.question.Field))
	case at.choice:
		env, err = x.with("choice", cel.MapType(cel.StringType, cel.StringType))
	}
	if err != nil {
		return nil, nil, err
	}
	ast, issues := env.Compile(source)
	if issues.Err() != nil {
		first := issues.Errors()[0]
		return nil, nil, x.bad(at, "%s, line %d column %d of %.200q: %s", at.what, first.Location.Line(), first.Location.Column()+1, source, first.Message)
	}
	t := &translator{x: x, at: at, ast: ast.NativeRep(), rule: rule{source: source, safe: true}, seen: map[*Question]bool{}}
	result := t.term(t.ast.Expr())
	if t.err != nil {
		where := t.ast.SourceInfo().GetStartLocation(t.wrong)
		return nil, nil, x.bad(at, "%s, line %d column %d of %.200q: %w", at.what, where.Line(), where.Column()+1, source, t.err)
	}
	if t.chance && !at.chance {
		return nil, nil, x.bad(at, "%s: %q uses random, uuid or once, which only calculate and initial may", at.what, source)
	}
	slices.SortFunc(t.reads, func(a, b *Question) int { return a.id - b.id })
	return t, result, nil
}

func (x *expressions) bad(at of, format string, args ...any) error {
	return badOption(at.question.Field, at.option, format, args...)
}

// typeOf is the CEL type of a field.
func typeOf(f protoreflect.FieldDescriptor) *cel.Type {
	t := cel.IntType
	switch kindOf(f) {
	case kindTruth:
		t = cel.BoolType
	case kindText:
		t = cel.StringType
	case kindBytes:
		t = cel.BytesType
	case kindDouble:
		t = cel.DoubleType
	case kindUint:
		t = cel.UintType
	case kindNode:
		t = objectType(f.Message())
	case kindAny:
		t = wellKnownType(f.Message())
	}
	if f.IsList() {
		return cel.ListType(t)
	}
	return t
}

// wellKnownType is the type that CEL gives a message of protobuf's own.
func wellKnownType(m protoreflect.MessageDescriptor) *cel.Type {
	switch m.FullName() {
	case "google.protobuf.Timestamp":
		return cel.TimestampType
	case "google.protobuf.Duration":
		return cel.DurationType
	}
	return objectType(m)
}

// kindOfType is how values of a CEL type are held.
func kindOfType(t *types.Type) kind {
	switch t.Kind() {
	case types.BoolKind:
		return kindTruth
	case types.IntKind:
		return kindInt
	case types.UintKind:
		return kindUint
	case types.DoubleKind:
		return kindDouble
	case types.StringKind:
		return kindText
	}
	return kindAny
}

// messagesOf are messages from which cel-go learns the types of all fields.
func messagesOf(tops []protoreflect.MessageDescriptor) []any {
	var all []any
	for _, d := range tops {
		all = append(all, dynamicpb.NewMessage(d))
	}
	return all
}
