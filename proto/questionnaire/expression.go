package questionnaire

import (
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/hearth-survey/hearth/proto/fault"
)

// truth is the outcome of a condition: CEL's, with an error as a third value.
type truth uint8

const (
	no truth = iota
	yes
	failed
	unknown // not evaluated yet
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// Limits on the work of expressions, so that no interview, however large, holds the server up. A household interview
// takes a few hundred steps; one that needs more than these has more rows than a questionnaire can mean.
const (
	stepsPerInterview = 2_000_000
	costPerExpression = 1_000_000
)

// frame is what an expression reads. It is the activation of CEL's own programs too.
type frame struct {
	this, root view
	// vars are the variables of the comprehensions around a node, by depth.
	vars [maxDepth]element
	// steps is how many more rows expressions may look at.
	steps int
}

const maxDepth = 6

// ResolveName gives CEL's programs the variables this and root.
func (f *frame) ResolveName(name string) (any, bool) {
	switch name {
	case "this":
		return f.this.message().Interface(), true
	case "root":
		return f.root.message().Interface(), true
	}
	return nil, false
}

// Parent is nil: there is no scope around a questionnaire.
func (f *frame) Parent() cel.Activation { return nil }

// predicate is a compiled condition. Most are closures over the messages' fields; what those cannot express runs
// as a program of cel-go, with the same result.
type predicate struct {
	source  string
	fast    func(*frame) truth
	program cel.Program
}

// eval tells whether the condition holds.
func (p *predicate) eval(f *frame) truth {
	if p.fast != nil {
		return p.fast(f)
	}
	out, _, err := p.program.Eval(f)
	if err != nil {
		return failed
	}
	b, ok := out.(types.Bool)
	if !ok {
		return failed
	}
	return truthOf(bool(b))
}

// expressions compiles the expressions of one message after another.
type expressions struct {
	base *cel.Env
	env  *cel.Env
	this protoreflect.MessageDescriptor
	root protoreflect.MessageDescriptor // nil: several questionnaires, root is dyn
}

func newExpressions(interview protoreflect.MessageDescriptor) (*expressions, error) {
	env, err := cel.NewEnv(
		cel.Types(dynamicpb.NewMessage(interview)),
		cel.Container(string(interview.ParentFile().Package())),
		cel.ParserExpressionSizeLimit(4096),
		cel.ParserRecursionLimit(64),
	)
	if err != nil {
		return nil, fault.New(fault.Internal, fault.BadSchema, "prepare expressions: %w", err)
	}
	return &expressions{base: env}, nil
}

// enter sets the types of this and root for the expressions that follow.
func (x *expressions) enter(this, root protoreflect.MessageDescriptor) error {
	rootType := cel.DynType
	if root != nil {
		rootType = cel.ObjectType(string(root.FullName()))
	}
	env, err := x.base.Extend(cel.Variable("this", cel.ObjectType(string(this.FullName()))), cel.Variable("root", rootType))
	if err != nil {
		return fault.New(fault.Internal, fault.BadSchema, "prepare expressions of message %s: %w", this.FullName(), err)
	}
	x.env, x.this, x.root = env, this, root
	return nil
}

// condition compiles an expression that must be true or false; nil for an empty one.
func (x *expressions) condition(f protoreflect.FieldDescriptor, what, source string) (*predicate, error) {
	if strings.TrimSpace(source) == "" {
		return nil, nil
	}
	ast, err := x.check(f, what, source)
	if err != nil {
		return nil, err
	}
	if t := ast.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, badField(f, "%s: %q is of type %s, not true or false", what, source, t)
	}
	p := &predicate{source: source, fast: translate(ast.NativeRep(), x.this, x.root)}
	if p.fast == nil {
		if p.program, err = x.program(ast); err != nil {
			return nil, badField(f, "%s: %q: %w", what, source, err)
		}
	}
	return p, nil
}

// calculation compiles an expression that yields the value of a field; nil for an empty one.
func (x *expressions) calculation(f protoreflect.FieldDescriptor, source string) (*predicate, error) {
	if strings.TrimSpace(source) == "" {
		return nil, nil
	}
	ast, err := x.check(f, "calculate", source)
	if err != nil {
		return nil, err
	}
	if t := ast.OutputType(); f.IsList() || !t.IsExactType(cel.DynType) && !t.IsExactType(typeOf(f)) {
		return nil, badField(f, "calculate: %q is of type %s, which the field cannot hold", source, t)
	}
	p := &predicate{source: source}
	if p.program, err = x.program(ast); err != nil {
		return nil, badField(f, "calculate: %q: %w", source, err)
	}
	return p, nil
}

func (x *expressions) program(ast *cel.Ast) (cel.Program, error) {
	return x.env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(costPerExpression))
}

// check parses and type-checks an expression.
func (x *expressions) check(f protoreflect.FieldDescriptor, what, source string) (*cel.Ast, error) {
	ast, issues := x.env.Compile(source)
	if issues.Err() == nil {
		return ast, nil
	}
	first := issues.Errors()[0]
	return nil, badField(f, "%s, line %d column %d of %q: %s", what, first.Location.Line(), first.Location.Column()+1, source, first.Message)
}

// typeOf is the CEL type of a field that is no list.
func typeOf(f protoreflect.FieldDescriptor) *cel.Type {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return cel.BoolType
	case protoreflect.StringKind:
		return cel.StringType
	case protoreflect.BytesKind:
		return cel.BytesType
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		return cel.DoubleType
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		return cel.UintType
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return cel.ObjectType(string(f.Message().FullName()))
	}
	return cel.IntType
}
