package decode

import (
	"reflect"
	"strconv"
	"strings"
	"sync"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// holds is what a field holds, as far as this package reads it.
type holds uint8

const (
	holdsOther holds = iota // proto.Unmarshal reads it
	holdsInt32              // int32, uint32 and open enums, as varints: 4 bytes in Go
	holdsInt64              // int64 and uint64, as varints
	holdsBool
	holdsFixed32 // 4 bytes as they are: float, fixed32, sfixed32
	holdsFixed64 // 8 bytes as they are: double, fixed64, sfixed64
	holdsText
	holdsBytes
	holdsMessage
	holdsMember  // a message that is a member of a oneof
	holdsReasons // map<uint32, Missing>
)

// field is how to read one field.
type field struct {
	holds  holds
	listed bool
	direct bool    // a number that cannot be unset stands in the struct itself
	place  uintptr // of the field in the struct
	inside *plan   // of the message in it
	desc   protoreflect.FieldDescriptor
}

// plan is how to read the messages of a type.
type plan struct {
	id     int          // its place among the slabs of a reader
	typ    reflect.Type // of the struct
	size   uintptr
	fields []field // by number
}

// maxNumber is the greatest number of a field that is read here.
const maxNumber = 2000

// plans are made when a type is first read, by type: *plan, nil where it cannot be read here.
var (
	plans  sync.Map
	making sync.Mutex
	made   int // guarded by making
)

func planFor(t reflect.Type) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	making.Lock()
	defer making.Unlock()
	known := map[reflect.Type]*plan{}
	p := newPlan(t, known)
	plans.Store(t, p)
	return p
}

// newPlan reads a type of generated Go, a pointer to a struct, and all that it holds.
func newPlan(t reflect.Type, known map[reflect.Type]*plan) *plan {
	if p, ok := known[t]; ok {
		return p
	}
	if t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
		return nil
	}
	m, ok := reflect.Zero(t).Interface().(proto.Message)
	if !ok {
		return nil
	}
	p := &plan{id: made, typ: t.Elem(), size: t.Elem().Size()}
	made++
	known[t] = p
	places := placesIn(t.Elem())
	all := m.ProtoReflect().Descriptor().Fields()
	for i := range all.Len() {
		fd := all.Get(i)
		if fd.Number() > maxNumber {
			continue
		}
		for len(p.fields) <= int(fd.Number()) {
			p.fields = append(p.fields, field{})
		}
		at, there := places[int(fd.Number())]
		p.fields[fd.Number()] = newField(m.ProtoReflect(), fd, at, there, known)
	}
	return p
}

// placesIn are the fields of a struct by the number that protoc-gen-go writes beside them.
func placesIn(t reflect.Type) map[int]reflect.StructField {
	out := map[int]reflect.StructField{}
	for i := range t.NumField() {
		f := t.Field(i)
		if parts := strings.SplitN(f.Tag.Get("protobuf"), ",", 3); len(parts) == 3 {
			if n, err := strconv.Atoi(parts[1]); err == nil {
				out[n] = f
			}
		}
	}
	return out
}

// newField says how to read a field. What is not exactly as protoc-gen-go writes it is not read here.
func newField(m protoreflect.Message, fd protoreflect.FieldDescriptor, at reflect.StructField, there bool, known map[reflect.Type]*plan) field {
	f := field{listed: fd.IsList(), place: at.Offset, desc: fd}
	if fd.ContainingOneof() != nil {
		if fd.Kind() != protoreflect.MessageKind {
			return field{}
		}
		f.holds, f.inside = holdsMember, newPlan(reflect.TypeOf(m.NewField(fd).Message().Interface()), known)
		return f.where(f.inside != nil)
	}
	if !there {
		return field{}
	}
	held := at.Type
	if f.listed && held.Kind() == reflect.Slice {
		held = held.Elem()
	} else if f.listed {
		return field{}
	}
	scalar := held // a scalar that stands alone stands behind a pointer
	if !f.listed && held.Kind() == reflect.Pointer {
		scalar = held.Elem()
	}
	pointed := f.listed || held.Kind() == reflect.Pointer
	f.direct = !pointed && !fd.HasPresence() && fd.Message() == nil
	switch fd.Kind() {
	case protoreflect.Int32Kind, protoreflect.Uint32Kind:
		f.holds = holdsInt32
		return f.where((pointed || f.direct) && (scalar.Kind() == reflect.Int32 || scalar.Kind() == reflect.Uint32))
	case protoreflect.EnumKind:
		f.holds = holdsInt32
		return f.where(pointed && scalar.Kind() == reflect.Int32 && !fd.Enum().IsClosed())
	case protoreflect.Int64Kind, protoreflect.Uint64Kind:
		f.holds = holdsInt64
		return f.where((pointed || f.direct) && (scalar.Kind() == reflect.Int64 || scalar.Kind() == reflect.Uint64))
	case protoreflect.BoolKind:
		f.holds = holdsBool
		return f.where(pointed && !f.listed && scalar.Kind() == reflect.Bool)
	case protoreflect.FloatKind, protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind:
		f.holds = holdsFixed32
		return f.where(pointed && !f.listed && scalar.Size() == 4)
	case protoreflect.DoubleKind, protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind:
		f.holds = holdsFixed64
		return f.where(pointed && !f.listed && scalar.Size() == 8)
	case protoreflect.StringKind:
		f.holds = holdsText
		return f.where(pointed && scalar.Kind() == reflect.String)
	case protoreflect.BytesKind:
		f.holds = holdsBytes
		return f.where(held == reflect.TypeFor[[]byte]())
	case protoreflect.MessageKind:
		if fd.IsMap() {
			f.holds = holdsReasons
			return f.where(at.Type == reflect.TypeFor[map[uint32]formv1.Missing]())
		}
		f.holds, f.inside = holdsMessage, newPlan(held, known)
		return f.where(f.inside != nil)
	}
	return field{}
}

// where is the field where a condition holds, otherwise one that is not read here.
func (f field) where(ok bool) field {
	if !ok {
		return field{}
	}
	return f
}
