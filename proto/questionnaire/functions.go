package questionnaire

import (
	"errors"
	"reflect"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/decls"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// errNoAnswer is what an expression yields that reads a question without an answer, or a function that has no result for
// what it was given. It is no failure: section 1 of LANGUAGE.md.
var errNoAnswer = errors.New("no answer")

// errTooLarge is a whole number beyond 64 bits: a failure.
var errTooLarge = errors.New("the number is too large")

// The variables behind the volatile functions. No questionnaire can write these names.
const (
	varNow    = "@now"    // string: date and time with offset
	varToday  = "@today"  // string: date
	varRandom = "@random" // double
	varUUID   = "@uuid"   // string
	varHeld   = "@held"   // bool: the field holds a value
	varAnswer = "@answer" // what the field holds, where it holds something
)

// choiceLists finds choices for the functions choice_* and lookup. A list is an enum by its full name or a table by its
// name. The bool is false where there is none.
type choiceLists interface {
	choiceName(list string, number int64) (string, bool)
	// choiceLabel falls back to the first language where there is no such label; the language "" is the first.
	choiceLabel(list string, number int64, language string) (string, bool)
	choiceNumber(list, name string) (int64, bool)
	choiceColumn(list string, number int64, column string) (string, bool)
	// lookup is the column of the first row of a table whose key column holds the key.
	lookup(table, column, keyColumn, key string) (string, bool)
}

// functions declares all functions of section 5 of LANGUAGE.md for cel-go, with what carries them out. They are pure, but
// for those of choices, which ask lists, and the volatile ones, which stand for variables.
func functions(lists choiceLists) []cel.EnvOption {
	var all []cel.EnvOption
	all = append(all, numberFunctions()...)
	all = append(all, textFunctions()...)
	all = append(all, dateFunctions()...)
	all = append(all, personFunctions()...)
	all = append(all, placeFunctions()...)
	all = append(all, choiceFunctions(lists)...)
	return append(all, volatileFunctions()...)
}

// volatileFunctions makes now(), today(), random() and uuid() stand for variables, and once(x) for
// `@held ? @answer : x`.
func volatileFunctions() []cel.EnvOption {
	variable := func(name string) cel.MacroFactory {
		return func(eh cel.MacroExprFactory, _ ast.Expr, _ []ast.Expr) (ast.Expr, *cel.Error) {
			return eh.NewIdent(name), nil
		}
	}
	once := func(eh cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
		return eh.NewCall("_?_:_", eh.NewIdent(varHeld), eh.NewIdent(varAnswer), args[0]), nil
	}
	return []cel.EnvOption{
		cel.Variable(varNow, cel.StringType), cel.Variable(varToday, cel.StringType),
		cel.Variable(varRandom, cel.DoubleType), cel.Variable(varUUID, cel.StringType),
		cel.Variable(varHeld, cel.BoolType), cel.Variable(varAnswer, cel.DynType),
		cel.Macros(
			cel.GlobalMacro("now", 0, variable(varNow)), cel.GlobalMacro("today", 0, variable(varToday)),
			cel.GlobalMacro("random", 0, variable(varRandom)), cel.GlobalMacro("uuid", 0, variable(varUUID)),
			cel.GlobalMacro("once", 1, once),
		),
	}
}

// anyMessage lets a function take a message that stands in a question that is not asked: it has no type.
var anyMessage = decls.DisableTypeGuards(true)

// The Go types of functions, and CEL's.
var celTypes = map[reflect.Type]*cel.Type{
	reflect.TypeFor[int64]():     cel.IntType,
	reflect.TypeFor[float64]():   cel.DoubleType,
	reflect.TypeFor[string]():    cel.StringType,
	reflect.TypeFor[bool]():      cel.BoolType,
	reflect.TypeFor[[]int64]():   cel.ListType(cel.IntType),
	reflect.TypeFor[[]float64](): cel.ListType(cel.DoubleType),
	reflect.TypeFor[[]string]():  cel.ListType(cel.StringType),
	reflect.TypeFor[dateParts](): cel.ObjectType("hearth.survey.v1.PartialDate"),
	reflect.TypeFor[position]():  cel.ObjectType("hearth.survey.v1.GeoPoint"),
}

// fn1 declares an overload of one argument by a Go function.
func fn1[A, R any](name string, f func(A) (R, error)) cel.FunctionOpt {
	return overload(name, reflect.TypeFor[R](), []reflect.Type{reflect.TypeFor[A]()}, func(args []ref.Val) (any, error) {
		a, err := native[A](args[0])
		if err != nil {
			return nil, err
		}
		return f(a)
	})
}

// fn2 declares an overload of two arguments.
func fn2[A, B, R any](name string, f func(A, B) (R, error)) cel.FunctionOpt {
	in := []reflect.Type{reflect.TypeFor[A](), reflect.TypeFor[B]()}
	return overload(name, reflect.TypeFor[R](), in, func(args []ref.Val) (any, error) {
		a, err := native[A](args[0])
		if err != nil {
			return nil, err
		}
		b, err := native[B](args[1])
		if err != nil {
			return nil, err
		}
		return f(a, b)
	})
}

// fn3 declares an overload of three arguments.
func fn3[A, B, C, R any](name string, f func(A, B, C) (R, error)) cel.FunctionOpt {
	in := []reflect.Type{reflect.TypeFor[A](), reflect.TypeFor[B](), reflect.TypeFor[C]()}
	return overload(name, reflect.TypeFor[R](), in, func(args []ref.Val) (any, error) {
		a, err := native[A](args[0])
		if err != nil {
			return nil, err
		}
		b, err := native[B](args[1])
		if err != nil {
			return nil, err
		}
		c, err := native[C](args[2])
		if err != nil {
			return nil, err
		}
		return f(a, b, c)
	})
}

// fn4 declares an overload of four arguments, the last of which has a type of its own.
func fn4[A, D, R any](name string, f func(A, A, A, D) (R, error)) cel.FunctionOpt {
	a, d := reflect.TypeFor[A](), reflect.TypeFor[D]()
	return overload(name, reflect.TypeFor[R](), []reflect.Type{a, a, a, d}, func(args []ref.Val) (any, error) {
		var x [3]A
		for i := range x {
			var err error
			if x[i], err = native[A](args[i]); err != nil {
				return nil, err
			}
		}
		last, err := native[D](args[3])
		if err != nil {
			return nil, err
		}
		return f(x[0], x[1], x[2], last)
	})
}

// overload declares one overload; its id is made of the types, as cel-go asks.
func overload(name string, result reflect.Type, in []reflect.Type, call func([]ref.Val) (any, error)) cel.FunctionOpt {
	id := "hearth_" + name
	args := make([]*cel.Type, len(in))
	for i, t := range in {
		args[i] = celTypes[t]
		id += "_" + strings.ReplaceAll(strings.TrimPrefix(t.String(), "questionnaire."), "[]", "list_")
	}
	bound := func(args ...ref.Val) ref.Val {
		out, err := call(args)
		if err != nil {
			return types.WrapErr(err)
		}
		return types.DefaultTypeAdapter.NativeToValue(out)
	}
	binding := cel.FunctionBinding(bound)
	switch len(in) {
	case 1:
		binding = cel.UnaryBinding(func(a ref.Val) ref.Val { return bound(a) })
	case 2:
		binding = cel.BinaryBinding(func(a, b ref.Val) ref.Val { return bound(a, b) })
	}
	return cel.Overload(id, args, celTypes[result], binding)
}

// native turns a value of CEL into Go's.
func native[T any](v ref.Val) (T, error) {
	var out T
	var err error
	switch p := any(&out).(type) {
	case *int64:
		*p, err = scalar[types.Int, int64](v)
	case *float64:
		*p, err = scalar[types.Double, float64](v)
	case *string:
		*p, err = scalar[types.String, string](v)
	case *bool:
		*p, err = scalar[types.Bool, bool](v)
	case *[]int64:
		*p, err = scalars[types.Int, int64](v)
	case *[]float64:
		*p, err = scalars[types.Double, float64](v)
	case *[]string:
		*p, err = scalars[types.String, string](v)
	case *dateParts:
		*p, err = datePartsOf(v)
	case *position:
		*p, err = positionOf(v)
	}
	return out, err
}

// scalar turns a value of the CEL type V, whose Go type is G, into Go's.
func scalar[V ref.Val, G any](v ref.Val) (G, error) {
	var none G
	if x, ok := v.(V); ok {
		if g, ok := x.Value().(G); ok {
			return g, nil
		}
	}
	return none, notOf(v, reflect.TypeFor[G]().String())
}

func scalars[V ref.Val, G any](v ref.Val) ([]G, error) {
	l, ok := v.(traits.Lister)
	if !ok {
		return nil, notOf(v, "list")
	}
	n, ok := l.Size().(types.Int)
	if !ok {
		return nil, notOf(l.Size(), "list")
	}
	out := make([]G, n)
	for i := range out {
		var err error
		if out[i], err = scalar[V, G](l.Get(types.Int(i))); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// notOf is the error of a value that is not of the type wanted: where it is an error itself, that.
func notOf(v ref.Val, want string) error {
	if e, ok := v.(*types.Err); ok {
		return e
	}
	return errors.New("no such overload: " + want + " is needed")
}

// fieldOf reads a field of a message; no answer where it is not set.
func fieldOf(v ref.Val, name string) ref.Val {
	m, ok := v.(traits.Indexer)
	if !ok {
		return types.WrapErr(notOf(v, "message"))
	}
	if t, ok := v.(traits.FieldTester); ok {
		if set := t.IsSet(types.String(name)); set != types.True {
			if types.IsError(set) {
				return set
			}
			return types.WrapErr(errNoAnswer)
		}
	}
	return m.Get(types.String(name))
}
