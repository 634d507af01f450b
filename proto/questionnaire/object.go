package questionnaire

import (
	"fmt"
	"reflect"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// Functions of cel-go get a message as an object, which they ask for fields as they would ask CEL's own messages.
var (
	_ traits.Indexer     = (*object)(nil)
	_ traits.FieldTester = (*object)(nil)
)

// ConvertToNative fails: no function needs a message as Go has it.
func (x *object) ConvertToNative(to reflect.Type) (any, error) {
	return nil, fmt.Errorf("a message of a questionnaire is no %s", to)
}

// ConvertToType fails, for the same reason.
func (x *object) ConvertToType(ref.Type) ref.Val { return valueFailed }

// Equal fails: messages cannot be compared.
func (x *object) Equal(ref.Val) ref.Val { return valueFailed }

// Type is the message's.
func (x *object) Type() ref.Type {
	if x.n == nil {
		return types.DynType
	}
	return types.NewObjectType(string(x.n.module.Desc.FullName()), traits.FieldTesterType|traits.IndexerType)
}

// Value is the object itself.
func (x *object) Value() any { return x }

// Get is the answer to a question.
func (x *object) Get(name ref.Val) ref.Val {
	s, ok := name.(types.String)
	if !ok {
		return valueFailed
	}
	return x.field(string(s))
}

// IsSet tells whether a question has an answer.
func (x *object) IsSet(name ref.Val) ref.Val {
	s, ok := name.(types.String)
	if !ok {
		return valueFailed
	}
	t := x.has(string(s))
	if t > yes {
		return t.outcome().value()
	}
	return types.Bool(t == yes)
}
