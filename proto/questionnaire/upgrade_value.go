package questionnaire

import (
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// earlierValue compiles the expression by which an old answer becomes one of today. It reads the answers as they were:
// nothing is calculated, and all that is answered counts as asked.
func (c *compiler) earlierValue(f protoreflect.FieldDescriptor, source string) (func(this, root protoreflect.Message) (protoreflect.Value, bool), error) {
	m := c.modules[f.ContainingMessage().FullName()]
	s := c.scope(m)
	s.ups, s.rosters = nil, 0
	if err := c.cel.enter(s); err != nil {
		return nil, err
	}
	p, err := c.cel.calculation(of{question: m.byNumber[f.Number()], what: "value of an earlier version", option: optionPath(m.byNumber[f.Number()].Options, "earlier")}, source)
	if err != nil {
		return nil, err
	}
	return func(this, root protoreflect.Message) (protoreflect.Value, bool) {
		e := newEvaluation(Options{})
		defer e.release()
		e.raw = true
		n := e.node(m, viewOf(this, m.typ))
		n.root = n
		if top := c.modules[root.Descriptor().FullName()]; top != nil {
			n.root = e.top(top, viewOf(root, top.typ), 0)
		}
		frame := e.push(n, m.byNumber[f.Number()])
		frame.room(p.slots)
		return storable(f, p.all(frame))
	}, nil
}

// storable is an outcome as a field keeps it; false where it is no answer to that field.
func storable(f protoreflect.FieldDescriptor, out ref.Val) (protoreflect.Value, bool) {
	switch v := out.(type) {
	case types.Int:
		switch f.Kind() {
		case protoreflect.EnumKind:
			return protoreflect.ValueOfEnum(protoreflect.EnumNumber(v)), v != 0 && int64(int32(v)) == int64(v)
		case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
			return protoreflect.ValueOfInt32(int32(v)), int64(int32(v)) == int64(v)
		case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
			return protoreflect.ValueOfInt64(int64(v)), true
		}
	case types.Uint:
		switch f.Kind() {
		case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
			return protoreflect.ValueOfUint32(uint32(v)), uint64(uint32(v)) == uint64(v)
		case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
			return protoreflect.ValueOfUint64(uint64(v)), true
		}
	case types.Double:
		switch f.Kind() {
		case protoreflect.DoubleKind:
			return protoreflect.ValueOfFloat64(float64(v)), true
		case protoreflect.FloatKind:
			return protoreflect.ValueOfFloat32(float32(v)), true
		}
	case types.String:
		if f.Kind() == protoreflect.StringKind {
			return protoreflect.ValueOfString(string(v)), v != ""
		}
	case types.Bool:
		if f.Kind() == protoreflect.BoolKind {
			return protoreflect.ValueOfBool(bool(v)), true
		}
	}
	return protoreflect.Value{}, false
}
