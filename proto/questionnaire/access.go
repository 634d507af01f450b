package questionnaire

import (
	"math"
	"reflect"
	"strconv"
	"strings"
	"unsafe"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

// Every interview that comes in is read field by field, and most questions of it are empty. protobuf's reflection takes
// ten times as long to say so as Go does of a field whose place in its struct is known, and Go's own reflection three times.
// So messages of generated Go are read at their fields' places; all others, as those of schemas that came at run time, and
// members of a oneof, by protobuf's reflection. What a field's place holds is checked once, by its type, in newAccess: a
// pointer to a scalar, a message, a slice or a map, as protoc-gen-go writes them for fields that can be unset.

// view is a message: the struct of generated Go at p, of type typ, or where m is set what protobuf's reflection reads.
type view struct {
	p   unsafe.Pointer
	typ reflect.Type // a pointer to the struct
	m   protoreflect.Message
}

// viewOf is a view of a message; typ is the generated type of its descriptor.
func viewOf(m protoreflect.Message, typ reflect.Type) view {
	if typ != nil && m.IsValid() {
		if g := reflect.ValueOf(m.Interface()); g.Type() == typ {
			return view{p: g.UnsafePointer(), typ: typ}
		}
	}
	return view{m: m}
}

// message is the message for protobuf's reflection.
func (x *view) message() protoreflect.Message {
	if x.m == nil {
		x.m = reflect.NewAt(x.typ.Elem(), x.p).Interface().(proto.Message).ProtoReflect() // a struct of generated Go is one by its pointer
	}
	return x.m
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
	if GroupOf(fd) != nil {
		return kindNode
	}
	return kindAny
}

// access reads one field of a message.
type access struct {
	field protoreflect.FieldDescriptor
	kind  kind
	// place is where the field is in the struct of generated Go, form what is there.
	place   uintptr
	form    form
	counted bool // a list or a map: it is there if it is not empty
	mapped  bool
	enum    bool
	zero    bool // a number that is 0 is no answer: of an enum, or of a row of a table
	// typ is the generated type of a field that is a message.
	typ reflect.Type
}

// form is how a scalar is held in generated Go, behind a pointer or in a slice.
type form uint8

const (
	formNone form = iota // not at a place: by protobuf's reflection
	formOther
	formInt32
	formInt64
	formUint32
	formUint64
	formFloat32
	formFloat64
	formBool
	formText
)

var forms = map[reflect.Kind]form{
	reflect.Int32: formInt32, reflect.Int64: formInt64, reflect.Uint32: formUint32, reflect.Uint64: formUint64,
	reflect.Float32: formFloat32, reflect.Float64: formFloat64, reflect.Bool: formBool, reflect.String: formText,
}

func newAccess(fd protoreflect.FieldDescriptor) *access {
	a := &access{field: fd, counted: fd.IsList() || fd.IsMap(), mapped: fd.IsMap(), kind: kindOf(fd), enum: fd.Enum() != nil}
	a.zero = a.enum
	sub := fd.Message()
	if sub != nil && !fd.IsMap() {
		a.typ = generated(sub)
	}
	if t := generated(fd.ContainingMessage()); t != nil && (sub == nil || fd.IsMap() || a.typ != nil) {
		a.find(t.Elem())
	}
	return a
}

// find looks for the field in a struct of generated Go by its number. It stays without a place where the field does not
// stand there by itself, or has no presence of its own.
func (a *access) find(t reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		parts := strings.SplitN(f.Tag.Get("protobuf"), ",", 3)
		if len(parts) < 3 || parts[1] != strconv.Itoa(int(a.field.Number())) {
			continue
		}
		held := f.Type
		switch f.Type.Kind() {
		case reflect.Pointer, reflect.Slice:
			held = f.Type.Elem()
		case reflect.Map:
		default:
			return
		}
		a.place, a.form = f.Offset, formOther
		if a.field.Message() == nil && a.kind != kindBytes {
			a.form = forms[held.Kind()]
		}
		return
	}
}

// at is the place of the field in generated Go; false where it is to be read by protobuf's reflection.
func (a *access) at(x *view) (unsafe.Pointer, bool) {
	if x.p == nil || a.form == formNone {
		return nil, false
	}
	return unsafe.Add(x.p, a.place), true
}

// read tells whether there is an answer in the field, and puts one that is a single scalar into s.
func (a *access) read(x *view, s *datum) bool {
	if at, ok := a.at(x); ok {
		switch {
		case a.mapped:
			return len(*(*map[uint32]formv1.Missing)(at)) > 0
		case a.counted || a.kind == kindBytes:
			return len(*(*[]byte)(at)) > 0 || a.kind == kindBytes && !a.counted && *(*[]byte)(at) != nil // all slices begin alike
		}
		p := *(*unsafe.Pointer)(at)
		if p == nil {
			return false
		}
		return a.form == formOther || a.put(p, s)
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

// put puts a scalar of generated Go into s, and tells whether it is an answer.
func (a *access) put(p unsafe.Pointer, s *datum) bool {
	switch a.form {
	case formInt32:
		s.setInt(int64(*(*int32)(p)))
		return !a.zero || s.bits != 0
	case formInt64:
		s.setInt(*(*int64)(p))
	case formUint32:
		s.bits = uint64(*(*uint32)(p))
	case formUint64:
		s.bits = *(*uint64)(p)
	case formFloat32:
		s.setDouble(float64(*(*float32)(p)))
	case formFloat64:
		s.setDouble(*(*float64)(p))
	case formBool:
		s.setTruth(*(*bool)(p))
	case formText:
		s.text = *(*string)(p)
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
	if at, ok := a.at(x); ok {
		return view{p: *(*unsafe.Pointer)(at), typ: a.typ}
	}
	return viewOf(x.message().Get(a.field).Message(), a.typ)
}

// list is the list in the field.
func (a *access) list(x *view) sequence {
	if at, ok := a.at(x); ok {
		return sequence{at: at, n: len(*(*[]byte)(at)), of: a}
	}
	l := x.message().Get(a.field).List()
	return sequence{l: l, n: l.Len(), of: a}
}

// value is a field that is set, for what takes protobuf's values; s is what read found there.
func (a *access) value(x *view, s *datum) protoreflect.Value {
	if !a.counted && s != nil {
		switch a.field.Kind() {
		case protoreflect.StringKind:
			return protoreflect.ValueOfString(s.text)
		case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
			return protoreflect.ValueOfInt32(int32(s.bits))
		case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
			return protoreflect.ValueOfInt64(s.integer())
		case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
			return protoreflect.ValueOfUint32(uint32(s.bits))
		case protoreflect.DoubleKind:
			return protoreflect.ValueOfFloat64(s.double())
		}
	}
	return x.message().Get(a.field)
}

// reasons are the reasons for missing answers by number of the question; nil where there are none.
func (a *access) reasons(x *view) map[uint32]formv1.Missing {
	if at, ok := a.at(x); ok {
		return *(*map[uint32]formv1.Missing)(at)
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

// sequence is a repeated field, held as a view is: the slice at a place, or a list of protobuf's reflection.
type sequence struct {
	at unsafe.Pointer
	l  protoreflect.List
	n  int
	of *access
}

// row is one message of a list. That of generated Go may be nil, though in no list that was read from bytes.
func (l *sequence) row(i int) view {
	if l.l != nil {
		return viewOf(l.l.Get(i).Message(), l.of.typ)
	}
	p := (*(*[]unsafe.Pointer)(l.at))[i]
	if p == nil {
		p = reflect.New(l.of.typ.Elem()).UnsafePointer()
	}
	return view{p: p, typ: l.of.typ}
}

// datum is one of a list of scalars.
func (l *sequence) datum(i int, s *datum) {
	if l.l != nil {
		l.of.take(l.l.Get(i), s)
		return
	}
	var p unsafe.Pointer
	switch l.of.form {
	case formInt32, formUint32, formFloat32:
		p = unsafe.Pointer(&(*(*[]uint32)(l.at))[i])
	case formInt64, formUint64, formFloat64:
		p = unsafe.Pointer(&(*(*[]uint64)(l.at))[i])
	case formBool:
		p = unsafe.Pointer(&(*(*[]bool)(l.at))[i])
	case formText:
		p = unsafe.Pointer(&(*(*[]string)(l.at))[i])
	default:
		return // bytes, which no expression reads
	}
	l.of.put(p, s)
}
