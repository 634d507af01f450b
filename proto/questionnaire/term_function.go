package questionnaire

import (
	"regexp"

	"cel.dev/cel-go/cel"
	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// call carries out a function of cel-go.
type call func(args []ref.Val) ref.Val

// callsOf are the functions of an environment by overload and by name.
func callsOf(env *cel.Env) (map[string]call, error) {
	calls := map[string]call{}
	for _, decl := range env.Functions() {
		overloads, err := decl.Bindings()
		if err != nil {
			return nil, err
		}
		for _, o := range overloads {
			trait, unary, binary, any := o.OperandTrait, o.Unary, o.Binary, o.Function
			calls[o.Operator] = func(args []ref.Val) ref.Val {
				switch {
				case trait != 0 && !args[0].Type().HasTrait(trait):
					return types.NoSuchOverloadErr()
				case unary != nil && len(args) == 1:
					return unary(args[0])
				case binary != nil && len(args) == 2:
					return binary(args[0], args[1])
				case any != nil:
					return any(args...)
				}
				return types.NoSuchOverloadErr()
			}
		}
	}
	return calls, nil
}

// function calls a function by CEL's values.
func (t *translator) function(e celast.Expr, name string, operands []celast.Expr, args []*term) *term {
	t.safe = false
	for i, a := range operands {
		if is := t.ast.GetType(a.ID()); name == "string" && i == 0 && is.Kind() != types.IntKind && is.Kind() != types.BoolKind && is.Kind() != types.UintKind && !is.IsDyn() {
			return t.refuse(e, "string() is for whole numbers, texts and bools: use text()")
		}
	}
	do := t.x.calls[name]
	if ids := t.ast.GetOverloadIDs(e.ID()); len(ids) == 1 && t.x.calls[ids[0]] != nil {
		do = t.x.calls[ids[0]]
	}
	if do == nil {
		return t.refuse(e, "%s cannot be used here", name)
	}
	if name == "matches" && args[1].literal != nil {
		if _, err := regexp.Compile(*args[1].literal); err != nil {
			return t.refuse(e, "%q is no regular expression: %w", *args[1].literal, err)
		}
	}
	of := make([]func(*frame) ref.Val, len(args))
	for i, a := range args {
		of[i] = t.anyOf(a)
	}
	return t.typed(e, func(f *frame) ref.Val {
		values, worst, length := make([]ref.Val, len(of)), there, 1
		for i, get := range of {
			values[i] = get(f)
			worst = max(worst, outcomeOf(values[i]))
			if s, ok := values[i].(types.String); ok {
				length += len(s)
			}
		}
		switch {
		case worst != there:
			return worst.value()
		case length > maxText || !f.e.spend(1+length/64) || name == "replace" && tooLong(values):
			return valueFailed
		}
		return do(values)
	}, nil)
}

// tooLong tells whether a text could become too long by replacing every character of it.
func tooLong(args []ref.Val) bool {
	s, _ := args[0].(types.String)
	with, _ := args[len(args)-1].(types.String)
	return (len(s)+1)*(len(with)+1) > 16*maxText
}
