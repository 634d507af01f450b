package study

import (
	"fmt"
	"reflect"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/parser"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/hearth-survey/hearth/proto/questionnaire"
)

// The filler carries out expressions by itself where it looks for an answer: which choices a filter offers, how many rows
// a roster has, whether an answer would pass a check. What it finds is only proposed: whether it is right, the
// questionnaire says.

// record is a message as expressions see it: only what is answered is there.
type record struct {
	module *questionnaire.Module
	// read is the value of a question, nil where it has no answer. Lists and groups always have one.
	read func(q *questionnaire.Question) ref.Val
	up   *record
	row  int // from 1, of a row of a roster; else 0
}

var _ traits.Mapper = (*record)(nil)

// Find implements traits.Mapper.
func (r *record) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok {
		return nil, false
	}
	q, ok := r.module.Find(string(name))
	if !ok {
		return nil, false
	}
	v := r.read(q)
	return v, v != nil
}

// Get implements traits.Indexer.
func (r *record) Get(key ref.Val) ref.Val {
	if v, ok := r.Find(key); ok {
		return v
	}
	return types.NewErr("no answer: %v", key)
}

// Contains implements traits.Container.
func (r *record) Contains(key ref.Val) ref.Val {
	_, ok := r.Find(key)
	return types.Bool(ok)
}

// Iterator implements traits.Iterable.
func (r *record) Iterator() traits.Iterator {
	return types.NewStringList(types.DefaultTypeAdapter, nil).Iterator()
}

// Size implements traits.Sizer.
func (r *record) Size() ref.Val { return types.IntZero }

// ConvertToNative implements ref.Val.
func (r *record) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("a message cannot be made a %v", t)
}

// ConvertToType implements ref.Val.
func (r *record) ConvertToType(ref.Type) ref.Val { return types.NewErr("a message stays a message") }

// Equal implements ref.Val.
func (r *record) Equal(other ref.Val) ref.Val { return types.Bool(other == ref.Val(r)) }

// Type implements ref.Val.
func (r *record) Type() ref.Type { return types.NewObjectType(string(r.module.Desc.FullName())) }

// IsSet implements traits.FieldTester.
func (r *record) IsSet(field ref.Val) ref.Val { return r.Contains(field) }

// Value implements ref.Val.
func (r *record) Value() any { return r }

// root is the top message's record.
func (r *record) root() *record {
	for r.up != nil {
		r = r.up
	}
	return r
}

// engine compiles expressions and keeps them.
type engine struct {
	env      *cel.Env
	programs map[string]cel.Program
	parser   *parser.Parser
	trees    map[string]*ast.AST
	palettes map[string]*palette
	now      time.Time
}

func newEngine(q *questionnaire.Questionnaire) (*engine, error) {
	opts := q.Functions()
	for _, name := range []string{"this", "root", "up1", "up2", "up3", "up4", "up5", "up6", "up7", "up8", "value", "choice", "position", "position2", "position3", "position4"} {
		opts = append(opts, cel.Variable(name, cel.DynType))
	}
	env, err := cel.NewEnv(append(opts, cel.ParserExpressionSizeLimit(100_000), cel.ParserRecursionLimit(250))...)
	if err != nil {
		return nil, fmt.Errorf("prepare expressions: %w", err)
	}
	p, err := parser.NewParser(parser.Macros(parser.HasMacro), parser.MaxRecursionDepth(250), parser.ExpressionSizeCodePointLimit(100_000), parser.PopulateMacroCalls(true))
	if err != nil {
		return nil, fmt.Errorf("prepare expressions: %w", err)
	}
	return &engine{env: env, programs: map[string]cel.Program{}, parser: p, trees: map[string]*ast.AST{}, palettes: map[string]*palette{}}, nil
}

// tree is the syntax of an expression, its macros as calls; nil where it has none.
func (e *engine) tree(source string) *ast.AST {
	if t, ok := e.trees[source]; ok {
		return t
	}
	t, errs := e.parser.Parse(common.NewTextSource(source))
	if errs != nil && len(errs.GetErrors()) > 0 {
		t = nil
	}
	e.trees[source] = t
	return t
}

// text is a part of an expression as it is written.
func text(t *ast.AST, part ast.Expr) string {
	s, err := parser.Unparse(part, t.SourceInfo())
	if err != nil {
		return ""
	}
	return s
}

// scope is what an expression is carried out over.
type scope struct {
	this   *record
	value  ref.Val // nil: not there
	choice map[string]string
}

// ResolveName implements cel.Activation.
func (s *scopeOf) ResolveName(name string) (any, bool) {
	switch name {
	case "this":
		return s.this, true
	case "root":
		return s.this.root(), true
	case "value":
		return s.value, s.value != nil
	case "choice":
		return types.NewStringStringMap(types.DefaultTypeAdapter, s.choice), s.choice != nil
	case "@now":
		return s.now.Format(rfc3339Milli), true
	case "@today":
		return s.now.Format(time.DateOnly), true
	case "@random":
		return 0.5, true
	case "@uuid":
		return "00000000-0000-4000-8000-000000000000", true
	case "@held":
		return false, true
	}
	if len(name) == 3 && name[:2] == "up" {
		r := s.this
		for range name[2] - '0' {
			if r != nil {
				r = r.up
			}
		}
		return r, r != nil
	}
	return s.position(name)
}

// position is the number of the row that this stands in, or of one further out.
func (s *scopeOf) position(name string) (any, bool) {
	n := 0
	switch name {
	case "position":
		n = 1
	case "position2", "position3", "position4":
		n = int(name[len(name)-1] - '0')
	}
	for r := s.this; r != nil && n > 0; r = r.up {
		if r.row == 0 {
			continue
		}
		if n--; n == 0 {
			return types.Int(r.row), true
		}
	}
	return nil, false
}

// Parent implements cel.Activation.
func (s *scopeOf) Parent() cel.Activation { return nil }

// scopeOf is a scope at a time.
type scopeOf struct {
	scope
	now time.Time
}

// eval carries an expression out; nil where it has no value, or cannot be carried out here.
func (e *engine) eval(source string, s scope) ref.Val {
	p, ok := e.programs[source]
	if !ok {
		if ast, issues := e.env.Compile(source); issues.Err() == nil {
			p, _ = e.env.Program(ast, cel.CostLimit(1_000_000)) // nil: never carried out
		}
		e.programs[source] = p
	}
	if p == nil {
		return nil
	}
	v, _, err := p.Eval(&scopeOf{scope: s, now: e.now})
	if err != nil || v == nil || types.IsUnknownOrError(v) {
		return nil
	}
	return v
}

// holds says whether a condition is true, and whether that is known.
func (e *engine) holds(source string, s scope) (holds, known bool) {
	b, ok := e.eval(source, s).(types.Bool)
	return bool(b), ok
}

// recordOf is a message of answers as a record; it may be there, or not, when it is read.
func recordOf(m *questionnaire.Module, get func() protoreflect.Message, up *record, row int) *record {
	r := &record{module: m, up: up, row: row}
	r.read = func(q *questionnaire.Question) ref.Val { return readQuestion(r, q, get()) }
	return r
}

func readQuestion(r *record, q *questionnaire.Question, msg protoreflect.Message) ref.Val {
	fd := q.Field
	has := msg != nil && msg.Has(fd)
	switch {
	case q.Module != nil && q.List:
		var rows []ref.Val
		if has {
			for i := range msg.Get(fd).List().Len() {
				row := msg.Get(fd).List().Get(i).Message()
				rows = append(rows, recordOf(q.Module, func() protoreflect.Message { return row }, r, i+1))
			}
		}
		return types.NewRefValList(types.DefaultTypeAdapter, rows)
	case q.Module != nil:
		var below protoreflect.Message
		if has {
			below = msg.Get(fd).Message()
		}
		return recordOf(q.Module, func() protoreflect.Message { return below }, r, 0)
	case q.List:
		var all []ref.Val
		if has {
			for i := range msg.Get(fd).List().Len() {
				all = append(all, scalarVal(fd, msg.Get(fd).List().Get(i)))
			}
		}
		return types.NewRefValList(types.DefaultTypeAdapter, all)
	case !has:
		return nil
	}
	return scalarVal(fd, msg.Get(fd))
}

// scalarVal is a value of CEL; nil for what is no answer.
func scalarVal(fd protoreflect.FieldDescriptor, v protoreflect.Value) ref.Val {
	switch fd.Kind() {
	case protoreflect.EnumKind:
		if v.Enum() == 0 {
			return nil
		}
		return types.Int(v.Enum())
	case protoreflect.BoolKind:
		return types.Bool(v.Bool())
	case protoreflect.StringKind:
		if v.String() == "" {
			return nil
		}
		return types.String(v.String())
	case protoreflect.BytesKind:
		return types.Bytes(v.Bytes())
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		return types.Double(v.Float())
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		return types.Uint(v.Uint())
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return types.DefaultTypeAdapter.NativeToValue(v.Message().Interface())
	}
	return types.Int(v.Int())
}
