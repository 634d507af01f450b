package questionnaire

import (
	"math"
	"reflect"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

// Every interview that comes in is read field by field, and most questions of it are empty. protobuf's reflection takes
// ten times as long to say so as Go's own does of a field whose place in its struct is known. So messages of generated Go
// are read by place; all others, as those of schemas that came at run time, and members of a oneof, by protobuf's.

// view is a message: the struct of generated Go in v, or where m is set what protobuf's reflection reads.
type view struct {
	v reflect.Value
	m protoreflect.Message
}

// viewOf is a view of a message; typ is the generated type of its descriptor.
func viewOf(m protoreflect.Message, typ reflect.Type) view {
	if typ != nil && m.IsValid() {
		if g := reflect.ValueOf(m.Interface()); g.Type() == typ {
			return view{v: g.Elem()}
		}
	}
	return view{m: m}
}

// message is the message for protobuf's reflection.
func (x view) message() protoreflect.Message {
	if x.m != nil {
		return x.m
	}
	return x.v.Addr().Interface().(proto.Message).ProtoReflect() // a struct of generated Go is one by its pointer
}

// generated is the type of the generated Go of a message, a pointer to a struct; nil if there is none of this descriptor.
func generated(d protoreflect.MessageDescriptor) reflect.Type {
	mt, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
	if err != nil || mt.Descriptor() != d {
		return nil
	}
	t := reflect.TypeOf(mt.Zero().Interface())
	if t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
		return nil
	}
	return t
}

// kind is how the value of a field, or of an expression, is held.
type kind uint8

const (
	kindAny   kind = iota // as a value of CEL: timestamps, durations
	kindTruth             // the rest as Go holds them
	kindInt               // enums too
	kindUint
	kindDouble
	kindText
	kindBytes
	kindNode // a message of ours
)

func kindOf(fd protoreflect.FieldDescriptor) kind {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return kindTruth
	case protoreflect.EnumKind, protoreflect.Int32Kind, protoreflect.Int64Kind, protoreflect.Sint32Kind, protoreflect.Sint64Kind,
		protoreflect.Sfixed32Kind, protoreflect.Sfixed64Kind:
		return kindInt
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		return kindUint
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		return kindDouble
	case protoreflect.StringKind:
		return kindText
	case protoreflect.BytesKind:
		return kindBytes
	}
	if groupOf(fd) != nil {
		return kindNode
	}
	return kindAny
}

// access reads one field of a message.
type access struct {
	field protoreflect.FieldDescriptor
	kind  kind
	// at is the place in the struct of generated Go, -1 where there is none.
	at      int
	counted bool // a list or a map: it is there if it is not empty
	enum    bool
	zero    bool // a number that is 0 is no answer: of an enum, or of a row of a table
	// typ is the generated type of a field that is a message.
	typ reflect.Type
}

func newAccess(fd protoreflect.FieldDescriptor) *access {
	a := &access{field: fd, at: -1, counted: fd.IsList() || fd.IsMap(), kind: kindOf(fd), enum: fd.Enum() != nil}
	a.zero = a.enum
	sub := fd.Message()
	if sub != nil && !fd.IsMap() {
		a.typ = generated(sub)
	}
	if t := generated(fd.ContainingMessage()); t != nil && (sub == nil || fd.IsMap() || a.typ != nil) {
		a.at = placeOf(t.Elem(), fd)
	}
	return a
}

// placeOf finds a field in a struct of generated Go by its number. It is -1 where the field does not stand there by
// itself, or has no presence of its own.
func placeOf(t reflect.Type, fd protoreflect.FieldDescriptor) int {
	for i := range t.NumField() {
		parts := strings.SplitN(t.Field(i).Tag.Get("protobuf"), ",", 3)
		if len(parts) < 3 || parts[1] != strconv.Itoa(int(fd.Number())) {
			continue
		}
		kind := t.Field(i).Type.Kind()
		if kind == reflect.Pointer || kind == reflect.Slice || kind == reflect.Map && fd.IsMap() {
			return i
		}
	}
	return -1
}

// fast is the field in generated Go; false where it is to be read by protobuf's reflection.
func (a *access) fast(x *view) (reflect.Value, bool) {
	if x.m != nil || a.at < 0 {
		return reflect.Value{}, false
	}
	return x.v.Field(a.at), true
}

// read tells whether there is an answer in the field, and puts one that is a single scalar into s.
func (a *access) read(x *view, s *datum) bool {
	if f, ok := a.fast(x); ok {
		switch {
		case a.counted:
			return f.Len() > 0
		case f.IsNil():
			return false
		case a.kind == kindNode || a.kind == kindBytes || a.kind == kindAny:
			return true
		}
		return a.put(f.Elem(), s)
	}
	m := x.message()
	if !m.Has(a.field) {
		return false
	}
	if a.counted || a.kind == kindNode || a.kind == kindBytes || a.kind == kindAny {
		return true
	}
	return a.take(m.Get(a.field), s)
}

// put puts a value of generated Go into s, and tells whether it is an answer.
func (a *access) put(f reflect.Value, s *datum) bool {
	switch a.kind {
	case kindTruth:
		s.setTruth(f.Bool())
	case kindInt:
		s.setInt(f.Int())
		return !a.zero || s.bits != 0
	case kindUint:
		s.bits = f.Uint()
	case kindDouble:
		s.setDouble(f.Float())
	case kindText:
		s.text = f.String()
		return s.text != ""
	}
	return true
}

// take puts a value of protobuf's reflection into s, and tells whether it is an answer.
func (a *access) take(v protoreflect.Value, s *datum) bool {
	switch {
	case a.enum:
		s.setInt(int64(v.Enum()))
		return s.bits != 0
	case a.kind == kindTruth:
		s.setTruth(v.Bool())
	case a.kind == kindInt:
		s.setInt(v.Int())
		return !a.zero || s.bits != 0
	case a.kind == kindUint:
		s.bits = v.Uint()
	case a.kind == kindDouble:
		s.setDouble(v.Float())
	case a.kind == kindText:
		s.text = v.String()
		return s.text != ""
	}
	return true
}

// datum is a single value: text, or the bits of anything else.
type datum struct {
	bits uint64
	text string
}

func (s *datum) setInt(i int64)      { s.bits = uint64(i) }
func (s *datum) setDouble(d float64) { s.bits = math.Float64bits(d) }
func (s *datum) integer() int64      { return int64(s.bits) }
func (s *datum) double() float64     { return math.Float64frombits(s.bits) }
func (s *datum) truth() bool         { return s.bits != 0 }
func (s *datum) setTruth(b bool) {
	s.bits = 0
	if b {
		s.bits = 1
	}
}

// below is the message in a field that is set.
func (a *access) below(x *view) view {
	if f, ok := a.fast(x); ok {
		return view{v: f.Elem()}
	}
	return viewOf(x.message().Get(a.field).Message(), a.typ)
}

// list is the list in the field.
func (a *access) list(x *view) sequence {
	if f, ok := a.fast(x); ok {
		return sequence{v: f, of: a}
	}
	return sequence{l: x.message().Get(a.field).List(), of: a}
}

// value is the field for what takes protobuf's values.
func (a *access) value(x *view) protoreflect.Value {
	f, ok := a.fast(x)
	if !ok || f.Kind() != reflect.Pointer || f.IsNil() {
		return x.message().Get(a.field)
	}
	f = f.Elem()
	switch a.field.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(f.String())
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(f.Int()))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(f.Uint()))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(f.Float())
	}
	return x.message().Get(a.field)
}

// reasons are the reasons for missing answers by number of the question; nil where there are none.
func (a *access) reasons(x *view) map[uint32]formv1.Missing {
	if f, ok := a.fast(x); ok {
		if reasons, ok := f.Interface().(map[uint32]formv1.Missing); ok {
			return reasons
		}
	}
	if !x.message().Has(a.field) {
		return nil
	}
	out := map[uint32]formv1.Missing{}
	x.message().Get(a.field).Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		out[uint32(k.Uint())] = formv1.Missing(v.Enum())
		return true
	})
	return out
}

// sequence is a repeated field, held as a view is.
type sequence struct {
	v  reflect.Value
	l  protoreflect.List
	of *access
}

func (l *sequence) len() int {
	if l.l != nil {
		return l.l.Len()
	}
	return l.v.Len()
}

// row is one message of a list. That of generated Go may be nil, though in no list that was read from bytes.
func (l *sequence) row(i int) view {
	if l.l != nil {
		return viewOf(l.l.Get(i).Message(), l.of.typ)
	}
	p := l.v.Index(i)
	if p.IsNil() {
		return view{v: reflect.New(l.of.typ.Elem()).Elem()}
	}
	return view{v: p.Elem()}
}

// datum is one of a list of scalars.
func (l *sequence) datum(i int, s *datum) {
	if l.l != nil {
		l.of.take(l.l.Get(i), s)
		return
	}
	l.of.put(l.v.Index(i), s)
}
