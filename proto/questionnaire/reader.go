package questionnaire

import (
	"math"
	"unicode/utf8"

	"github.com/hearth-survey/hearth/proto/fault"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// Reader reads answers whose schema came at run time, by a plan that is made of it once: as protobuf's dynamic messages, and
// several times as fast, as a field stands in a slice and not in a map. Many goroutines may read at a time.
type Reader struct {
	top   protoreflect.MessageDescriptor
	plan  *readPlan
	plans map[protoreflect.FullName]*readPlan
}

// readPlan is one message.
type readPlan struct {
	desc   protoreflect.MessageDescriptor
	fields []readField // by their places in the descriptor
	dense  []int32     // the place of a number below len(dense), plus one
	sparse map[protowire.Number]int32
	empty  *dynamicpb.Message
}

// readField is one field of it.
type readField struct {
	fd         protoreflect.FieldDescriptor
	kind       protoreflect.Kind
	list, maps bool
	utf8       bool
	implicit   bool               // a zero is no value
	others     []int32            // of the same oneof
	sub        *readPlan          // of a message, nil for those of protobuf's own
	key, value *readField         // of a map
	zero       protoreflect.Value // what stands where there is none
}

// NewReader makes a plan. A schema with what no questionnaire has, such as groups and extensions, is read as protobuf does.
func NewReader(top protoreflect.MessageDescriptor) *Reader {
	r := &Reader{top: top, plans: map[protoreflect.FullName]*readPlan{}}
	r.plan, _ = r.message(top)
	return r
}

// Read reads answers. What it returns must not be changed; a copy (proto.Clone) may.
func (r *Reader) Read(answers []byte) (proto.Message, error) {
	if r.plan == nil {
		m := dynamicpb.NewMessage(r.top)
		return m, (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(answers, m)
	}
	m := r.plan.new()
	in := reading{raw: answers, text: string(answers)}
	return m, in.message(m, 0, len(answers), protowire.DefaultRecursionLimit)
}

// message makes the plan of a message; false where it has something that no plan is for.
func (r *Reader) message(md protoreflect.MessageDescriptor) (*readPlan, bool) {
	if p := r.plans[md.FullName()]; p != nil {
		return p, true
	}
	if md.ExtensionRanges().Len() > 0 {
		return nil, false
	}
	p := &readPlan{desc: md, fields: make([]readField, md.Fields().Len()), sparse: map[protowire.Number]int32{}, empty: dynamicpb.NewMessage(md)}
	r.plans[md.FullName()] = p
	for i := range p.fields {
		fd := md.Fields().Get(i)
		f, ok := r.field(fd)
		if !ok {
			return nil, false
		}
		f.zero = p.empty.Get(fd)
		if o := fd.ContainingOneof(); o != nil {
			for k := range o.Fields().Len() {
				if other := o.Fields().Get(k); other != fd {
					f.others = append(f.others, int32(other.Index()))
				}
			}
		}
		p.fields[i] = *f
		if n := fd.Number(); n < 2048 {
			for len(p.dense) <= int(n) {
				p.dense = append(p.dense, 0)
			}
			p.dense[n] = int32(i + 1)
		} else {
			p.sparse[n] = int32(i + 1)
		}
	}
	return p, true
}

func (r *Reader) field(fd protoreflect.FieldDescriptor) (*readField, bool) {
	f := &readField{fd: fd, kind: fd.Kind(), list: fd.IsList(), maps: fd.IsMap(), utf8: checksUTF8(fd)}
	f.implicit = !f.list && !f.maps && !fd.HasPresence()
	switch {
	case f.maps:
		var ok1, ok2 bool
		f.key, ok1 = r.field(fd.MapKey())
		f.value, ok2 = r.field(fd.MapValue())
		return f, ok1 && ok2
	case f.kind == protoreflect.GroupKind:
		return nil, false
	case f.kind == protoreflect.MessageKind && fd.Message().FullName().Parent() != "google.protobuf":
		var ok bool
		f.sub, ok = r.message(fd.Message())
		return f, ok
	}
	return f, true
}

// checksUTF8 is whether a text must be UTF-8, as protobuf says of its descriptors.
func checksUTF8(fd protoreflect.FieldDescriptor) bool {
	if c, ok := fd.(interface{ EnforceUTF8() bool }); ok {
		return c.EnforceUTF8()
	}
	return fd.Syntax() == protoreflect.Proto3
}

func (p *readPlan) find(n protowire.Number) int32 {
	if int(n) < len(p.dense) {
		return p.dense[n] - 1
	}
	return p.sparse[n] - 1
}

func (p *readPlan) new() *readMessage {
	return &readMessage{plan: p, values: make([]protoreflect.Value, len(p.fields))}
}

// reading is the bytes that are read, and the same as a text of which the texts in it are parts.
type reading struct {
	raw  []byte
	text string
}

var (
	errTooDeep = fault.New(fault.Invalid, fault.PayloadUnreadable, "answers hold messages in messages beyond all measure")
	errBroken  = fault.New(fault.Invalid, fault.PayloadUnreadable, "answers cannot be read: they are damaged")
)

// message reads the fields between two places into a message.
func (in *reading) message(m *readMessage, at, end, depth int) error {
	if depth--; depth < 0 {
		return errTooDeep
	}
	for at < end {
		num, wire, n := protowire.ConsumeTag(in.raw[at:end])
		if n < 0 || num > protowire.MaxValidNumber {
			return errBroken
		}
		from := at
		at += n
		n, known := 0, false
		if i := m.plan.find(num); i >= 0 {
			var err error
			if n, known, err = in.field(m, i, wire, at, end, depth); err != nil {
				return err
			}
		}
		if !known {
			if n = protowire.ConsumeFieldValue(num, wire, in.raw[at:end]); n < 0 {
				return errBroken
			}
			m.unknown = append(m.unknown, in.raw[from:at+n]...)
		}
		at += n
	}
	return nil
}

// field reads one field, and says how many bytes it took; not known is what is of another type than the schema says.
func (in *reading) field(m *readMessage, i int32, wire protowire.Type, at, end, depth int) (n int, known bool, err error) {
	f := &m.plan.fields[i]
	switch {
	case f.list:
		return in.list(m, i, wire, at, end, depth)
	case f.maps:
		return in.entry(m, i, wire, at, end, depth)
	case f.kind == protoreflect.MessageKind:
		if wire != protowire.BytesType {
			return 0, false, nil
		}
		v := m.values[i]
		if !v.IsValid() {
			v = f.new()
		}
		if n, err = in.sub(f, v, at, end, depth); err != nil {
			return 0, false, err
		}
		m.set(f, i, v)
		return n, true, nil
	}
	v, n, known, err := in.scalar(f, wire, at, end)
	if err != nil || !known {
		return 0, false, err
	}
	if f.implicit && isZero(v) {
		v = protoreflect.Value{}
	}
	m.set(f, i, v)
	return n, true, nil
}

// new is an empty message of a field, of the elements of a list, or of the values of a map.
func (f *readField) new() protoreflect.Value {
	if f.sub == nil {
		return protoreflect.ValueOfMessage(dynamicpb.NewMessage(f.fd.Message()))
	}
	return protoreflect.ValueOfMessage(f.sub.new())
}

// sub reads a message with its length before it.
func (in *reading) sub(f *readField, into protoreflect.Value, at, end, depth int) (int, error) {
	v, n := protowire.ConsumeBytes(in.raw[at:end])
	if n < 0 {
		return 0, errBroken
	}
	if m, ok := into.Message().(*readMessage); ok {
		return n, in.message(m, at+n-len(v), at+n, depth)
	}
	if depth <= 0 {
		return 0, errTooDeep
	}
	return n, proto.UnmarshalOptions{AllowPartial: true, Merge: true, RecursionLimit: depth}.Unmarshal(v, into.Message().Interface())
}

// list reads one element, or several that are packed.
func (in *reading) list(m *readMessage, i int32, wire protowire.Type, at, end, depth int) (n int, known bool, err error) {
	f := &m.plan.fields[i]
	if f.kind == protoreflect.MessageKind {
		if wire != protowire.BytesType {
			return 0, false, nil
		}
		v := f.new()
		if n, err = in.sub(f, v, at, end, depth); err != nil {
			return 0, false, err
		}
		m.listOf(f, i).Append(v)
		return n, true, nil
	}
	if own := wireOf(f.kind); wire == protowire.BytesType && own != protowire.BytesType {
		packed, n := protowire.ConsumeBytes(in.raw[at:end])
		if n < 0 {
			return 0, false, errBroken
		}
		for from, to := at+n-len(packed), at+n; from < to; {
			v, size, _, err := in.scalar(f, own, from, to)
			if err != nil {
				return 0, false, err
			}
			m.listOf(f, i).Append(v)
			from += size
		}
		return n, true, nil
	}
	v, n, known, err := in.scalar(f, wire, at, end)
	if err != nil || !known {
		return 0, false, err
	}
	m.listOf(f, i).Append(v)
	return n, true, nil
}

// entry reads one entry of a map.
func (in *reading) entry(m *readMessage, i int32, wire protowire.Type, at, end, depth int) (int, bool, error) {
	f := &m.plan.fields[i]
	if depth--; depth < 0 {
		return 0, false, errTooDeep
	}
	if wire != protowire.BytesType {
		return 0, false, nil
	}
	entry, size := protowire.ConsumeBytes(in.raw[at:end])
	if size < 0 {
		return 0, false, errBroken
	}
	key, value := f.key.fd.Default(), f.value.fd.Default()
	if f.value.kind == protoreflect.MessageKind {
		value = f.value.new()
	}
	for from, to := at+size-len(entry), at+size; from < to; {
		num, wire, n := protowire.ConsumeTag(in.raw[from:to])
		if n < 0 || num > protowire.MaxValidNumber {
			return 0, false, errBroken
		}
		from += n
		known := false
		var err error
		switch {
		case num == 1:
			var v protoreflect.Value
			if v, n, known, err = in.scalar(f.key, wire, from, to); known {
				key = v
			}
		case num == 2 && f.value.kind == protoreflect.MessageKind:
			if known = wire == protowire.BytesType; known {
				n, err = in.sub(f.value, value, from, to, depth)
			}
		case num == 2:
			var v protoreflect.Value
			if v, n, known, err = in.scalar(f.value, wire, from, to); known {
				value = v
			}
		}
		if err != nil {
			return 0, false, err
		}
		if !known {
			if n = protowire.ConsumeFieldValue(num, wire, in.raw[from:to]); n < 0 {
				return 0, false, errBroken
			}
		}
		from += n
	}
	m.mapOf(f, i).Set(key.MapKey(), value)
	return size, true, nil
}

// wireOf is how a kind of value is written.
func wireOf(k protoreflect.Kind) protowire.Type {
	switch k {
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind, protoreflect.FloatKind:
		return protowire.Fixed32Type
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind, protoreflect.DoubleKind:
		return protowire.Fixed64Type
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind:
		return protowire.BytesType
	}
	return protowire.VarintType
}

// scalar reads one value that is no message.
func (in *reading) scalar(f *readField, wire protowire.Type, at, end int) (v protoreflect.Value, n int, known bool, err error) {
	if wire != wireOf(f.kind) {
		return v, 0, false, nil
	}
	var u uint64
	switch wire {
	case protowire.VarintType:
		if at < end && in.raw[at] < 0x80 {
			u, n = uint64(in.raw[at]), 1
		} else {
			u, n = protowire.ConsumeVarint(in.raw[at:end])
		}
	case protowire.Fixed32Type:
		var u32 uint32
		u32, n = protowire.ConsumeFixed32(in.raw[at:end])
		u = uint64(u32)
	case protowire.Fixed64Type:
		u, n = protowire.ConsumeFixed64(in.raw[at:end])
	default:
		u, n = protowire.ConsumeVarint(in.raw[at:end])
		if n < 0 || u > uint64(end-at-n) {
			return v, 0, false, errBroken
		}
		from := at + n
		n += int(u)
		if f.kind == protoreflect.BytesKind {
			return protoreflect.ValueOfBytes(append([]byte(nil), in.raw[from:at+n]...)), n, true, nil
		}
		text := in.text[from : at+n]
		if f.utf8 && !utf8.ValidString(text) {
			return v, 0, false, errBroken
		}
		return protoreflect.ValueOfString(text), n, true, nil
	}
	if n < 0 {
		return v, 0, false, errBroken
	}
	return number(f.kind, u), n, true, nil
}

// number is a value of a kind as its bits were written.
func number(k protoreflect.Kind, u uint64) protoreflect.Value {
	switch k {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(protowire.DecodeBool(u))
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(u))
	case protoreflect.Int32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(u))
	case protoreflect.Sint32Kind:
		return protoreflect.ValueOfInt32(int32(protowire.DecodeZigZag(u & math.MaxUint32)))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(u))
	case protoreflect.Sint64Kind:
		return protoreflect.ValueOfInt64(protowire.DecodeZigZag(u))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(u)
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(math.Float32frombits(uint32(u)))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(math.Float64frombits(u))
	}
	return protoreflect.ValueOfInt64(int64(u))
}

// isZero is whether a field without presence has no value.
func isZero(v protoreflect.Value) bool {
	switch x := v.Interface().(type) {
	case bool:
		return !x
	case protoreflect.EnumNumber:
		return x == 0
	case int32:
		return x == 0
	case int64:
		return x == 0
	case uint32:
		return x == 0
	case uint64:
		return x == 0
	case float32:
		return math.Float32bits(x) == 0
	case float64:
		return math.Float64bits(x) == 0
	case string:
		return x == ""
	case []byte:
		return len(x) == 0
	}
	return false
}
