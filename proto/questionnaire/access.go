package questionnaire

import (
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

// access reads one field of a message.
type access struct {
	field protoreflect.FieldDescriptor
	// at is the place in the struct of generated Go, -1 where there is none.
	at      int
	counted bool // a list or a map: it is there if it is not empty
	// typ and none are the generated type of a field that is a message, and the message where there is none.
	typ  reflect.Type
	none view
	// integer and so on are the defaults.
	integer int64
	natural uint64
	double  float64
	text    string
	truth   bool
}

func newAccess(fd protoreflect.FieldDescriptor) *access {
	a := &access{field: fd, at: -1, counted: fd.IsList() || fd.IsMap()}
	if sub := fd.Message(); sub != nil && !fd.IsMap() {
		if a.typ = generated(sub); a.typ != nil {
			a.none = view{v: reflect.New(a.typ.Elem()).Elem()}
		}
	}
	if !a.counted {
		a.defaults()
	}
	if t := generated(fd.ContainingMessage()); t != nil {
		a.at = placeOf(t.Elem(), fd)
	}
	if sub := fd.Message(); sub != nil && !fd.IsMap() && a.typ == nil {
		a.at = -1
	}
	return a
}

func (a *access) defaults() {
	switch d := a.field.Default(); {
	case a.field.Kind() == protoreflect.BoolKind:
		a.truth = d.Bool()
	case a.field.Kind() == protoreflect.StringKind:
		a.text = d.String()
	case a.field.Kind() == protoreflect.EnumKind:
		a.integer = int64(d.Enum())
	case numberOf(a.field) == intNumber:
		a.integer = d.Int()
	case numberOf(a.field) == uintNumber:
		a.natural = d.Uint()
	case numberOf(a.field) == floatNumber:
		a.double = d.Float()
	}
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

// has tells whether the field is set.
func (a *access) has(x view) bool {
	f, ok := a.fast(&x)
	switch {
	case !ok:
		return x.message().Has(a.field)
	case a.counted:
		return f.Len() > 0
	}
	return !f.IsNil()
}

// whole is an integer or the number of an enum.
func (a *access) whole(x view) int64 {
	f, ok := a.fast(&x)
	switch {
	case !ok && a.field.Kind() == protoreflect.EnumKind:
		return int64(x.message().Get(a.field).Enum())
	case !ok:
		return x.message().Get(a.field).Int()
	case f.IsNil():
		return a.integer
	}
	return f.Elem().Int()
}

func (a *access) unsigned(x view) uint64 {
	f, ok := a.fast(&x)
	switch {
	case !ok:
		return x.message().Get(a.field).Uint()
	case f.IsNil():
		return a.natural
	}
	return f.Elem().Uint()
}

func (a *access) floating(x view) float64 {
	f, ok := a.fast(&x)
	switch {
	case !ok:
		return x.message().Get(a.field).Float()
	case f.IsNil():
		return a.double
	}
	return f.Elem().Float()
}

func (a *access) string(x view) string {
	f, ok := a.fast(&x)
	switch {
	case !ok:
		return x.message().Get(a.field).String()
	case f.IsNil():
		return a.text
	}
	return f.Elem().String()
}

func (a *access) bool(x view) bool {
	f, ok := a.fast(&x)
	switch {
	case !ok:
		return x.message().Get(a.field).Bool()
	case f.IsNil():
		return a.truth
	}
	return f.Elem().Bool()
}

// below is the message in the field; an empty one where there is none.
func (a *access) below(x view) view {
	f, ok := a.fast(&x)
	switch {
	case !ok:
		return viewOf(x.message().Get(a.field).Message(), a.typ)
	case f.IsNil():
		return a.none
	}
	return view{v: f.Elem()}
}

// list is the list in the field.
func (a *access) list(x view) sequence {
	if f, ok := a.fast(&x); ok {
		return sequence{v: f, of: a}
	}
	return sequence{l: x.message().Get(a.field).List(), of: a}
}

// value is the field for what takes protobuf's values.
func (a *access) value(x view) protoreflect.Value {
	f, ok := a.fast(&x)
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
func (a *access) reasons(x view) map[uint32]formv1.Missing {
	if !a.has(x) {
		return nil
	}
	if f, ok := a.fast(&x); ok {
		if reasons, ok := f.Interface().(map[uint32]formv1.Missing); ok {
			return reasons
		}
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

// element is one of a list: a message as a view, or a plain value.
type element struct {
	view
	p protoreflect.Value
}

func (l *sequence) get(i int) element {
	switch {
	case l.l != nil && l.of.field.Message() != nil:
		return element{view: viewOf(l.l.Get(i).Message(), l.of.typ)}
	case l.l != nil:
		return element{p: l.l.Get(i)}
	case l.of.typ == nil:
		return element{view: view{v: l.v.Index(i)}}
	}
	if p := l.v.Index(i); !p.IsNil() {
		return element{view: view{v: p.Elem()}}
	}
	return element{view: l.of.none} // no list that was read from bytes holds nothing
}

func (x *element) whole(enum bool) int64 {
	switch {
	case x.v.IsValid():
		return x.v.Int()
	case enum:
		return int64(x.p.Enum())
	}
	return x.p.Int()
}

func (x *element) unsigned() uint64 {
	if x.v.IsValid() {
		return x.v.Uint()
	}
	return x.p.Uint()
}

func (x *element) floating() float64 {
	if x.v.IsValid() {
		return x.v.Float()
	}
	return x.p.Float()
}

func (x *element) string() string {
	if x.v.IsValid() {
		return x.v.String()
	}
	return x.p.String()
}

func (x *element) bool() bool {
	if x.v.IsValid() {
		return x.v.Bool()
	}
	return x.p.Bool()
}
