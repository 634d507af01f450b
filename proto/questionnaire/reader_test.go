package questionnaire

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"pgregory.net/rapid"
)

// anyKinds is a schema with each kind of field in each way to hold it, also those that no questionnaire has yet.
func anyKinds(tb testing.TB) protoreflect.MessageDescriptor {
	tb.Helper()
	kinds := []string{"bool", "Code", "int32", "sint32", "uint32", "int64", "sint64", "uint64", "sfixed32", "fixed32", "float", "sfixed64", "fixed64", "double", "string", "bytes", "Any", "google.protobuf.Timestamp"}
	var b strings.Builder
	b.WriteString("edition = \"2023\";\npackage form.kinds;\nimport \"google/protobuf/timestamp.proto\";\nenum Code { CODE_UNSPECIFIED = 0; A = 1; B = 2000000000; }\nmessage Any {\n")
	n := 0
	add := func(format string, args ...any) {
		n++
		fmt.Fprintf(&b, "  "+format+";\n", args...)
	}
	for _, k := range kinds {
		add("%s f%d = %d", k, n, n+1)
		add("repeated %s f%d = %d", k, n, n+1)
		if k != "Any" && !strings.Contains(k, ".") {
			add("repeated %s f%d = %d [features.repeated_field_encoding = EXPANDED]", strings.NewReplacer("string", "bool", "bytes", "bool").Replace(k), n, n+1)
			add("%s f%d = %d [features.field_presence = IMPLICIT]", k, n, n+1)
		}
		add("map<int32, %s> f%d = %d", k, n, 3000+n)
	}
	for _, k := range []string{"bool", "uint64", "sint32", "fixed64", "string"} {
		add("map<%s, Any> f%d = %d", k, n, 3000+n)
	}
	add("string f%d = %d [features.utf8_validation = NONE]", n, n+1)
	fmt.Fprintf(&b, "  oneof one { int32 o1 = %d; Any o2 = %d; string o3 = %d; google.protobuf.Timestamp o4 = %d; }\n}\n", n+1, n+2, n+3, n+4)
	set, err := CompileProto(map[string]string{"form/kinds.proto": b.String()}, "form/kinds.proto")
	if err != nil {
		tb.Fatal(err)
	}
	files, err := protodesc.NewFiles(set)
	if err != nil {
		tb.Fatal(err)
	}
	d, err := files.FindDescriptorByName("form.kinds.Any")
	if err != nil {
		tb.Fatal(err)
	}
	return d.(protoreflect.MessageDescriptor)
}

// agrees fails unless bytes are read as protobuf reads them: the same verdict, and the same message field by field.
func agrees(tb interface{ Fatalf(string, ...any) }, r *Reader, md protoreflect.MessageDescriptor, raw []byte) {
	want := dynamicpb.NewMessage(md)
	wantErr := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(raw, want)
	got, err := r.Read(raw)
	if (err == nil) != (wantErr == nil) {
		tb.Fatalf("%x: read with %v, by protobuf with %v", raw, err, wantErr)
	}
	if err != nil {
		return
	}
	same(tb, got.ProtoReflect(), want)
	if !proto.Equal(proto.Clone(got), want) {
		tb.Fatalf("%x: a copy is\n%v\nby protobuf\n%v", raw, got, want)
	}
}

func same(tb interface{ Fatalf(string, ...any) }, got, want protoreflect.Message) {
	if string(got.GetUnknown()) != string(want.GetUnknown()) {
		tb.Fatalf("%s: unknown %x, by protobuf %x", got.Descriptor().FullName(), got.GetUnknown(), want.GetUnknown())
	}
	for fd := range fieldsOf(want.Descriptor()) {
		if got.Has(fd) != want.Has(fd) {
			tb.Fatalf("%s: %v, by protobuf %v", fd.FullName(), got.Has(fd), want.Has(fd))
		}
		g, w := got.Get(fd), want.Get(fd)
		switch {
		case fd.IsMap():
			if g.Map().Len() != w.Map().Len() {
				tb.Fatalf("%s: %d entries, by protobuf %d", fd.FullName(), g.Map().Len(), w.Map().Len())
			}
			w.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
				sameValue(tb, fd.MapValue(), g.Map().Get(k), v)
				return true
			})
		case fd.IsList():
			if g.List().Len() != w.List().Len() {
				tb.Fatalf("%s: %d elements, by protobuf %d", fd.FullName(), g.List().Len(), w.List().Len())
			}
			for i := range w.List().Len() {
				sameValue(tb, fd, g.List().Get(i), w.List().Get(i))
			}
		case fd.Message() == nil || want.Has(fd):
			sameValue(tb, fd, g, w)
		case g.Message().IsValid():
			tb.Fatalf("%s is there, by protobuf it is not", fd.FullName())
		}
	}
	for o := range oneofs(want.Descriptor()) {
		if got.WhichOneof(o) != want.WhichOneof(o) {
			tb.Fatalf("%s: %v, by protobuf %v", o.FullName(), got.WhichOneof(o), want.WhichOneof(o))
		}
	}
}

func oneofs(md protoreflect.MessageDescriptor) func(func(protoreflect.OneofDescriptor) bool) {
	return func(yield func(protoreflect.OneofDescriptor) bool) {
		for i := range md.Oneofs().Len() {
			if !yield(md.Oneofs().Get(i)) {
				return
			}
		}
	}
}

func sameValue(tb interface{ Fatalf(string, ...any) }, fd protoreflect.FieldDescriptor, got, want protoreflect.Value) {
	if fd.Message() != nil && got.IsValid() {
		same(tb, got.Message(), want.Message())
		return
	}
	if !got.Equal(want) {
		tb.Fatalf("%s: %v, by protobuf %v", fd.FullName(), got, want)
	}
}

// drawBytes draws bytes of a message as a sloppy or an evil writer might write them: fields again, of other types, packed and not,
// numbers that are too long, texts that are none.
func drawBytes(t *rapid.T, md protoreflect.MessageDescriptor, depth int) []byte {
	var b []byte
	for range rapid.IntRange(0, 6).Draw(t, "fields") {
		fd := md.Fields().Get(rapid.IntRange(0, md.Fields().Len()-1).Draw(t, "field"))
		if rapid.IntRange(0, 11).Draw(t, "odd") == 0 {
			b = protowire.AppendTag(b, protowire.Number(rapid.IntRange(1, 60).Draw(t, "number")), protowire.Type(rapid.IntRange(0, 5).Draw(t, "type")))
			b = append(b, rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "bytes")...)
			continue
		}
		b = drawField(t, b, fd, depth)
	}
	return b
}

func drawField(t *rapid.T, b []byte, fd protoreflect.FieldDescriptor, depth int) []byte {
	wire := wireOf(fd.Kind())
	b = protowire.AppendTag(b, fd.Number(), wire)
	switch wire {
	case protowire.VarintType:
		return protowire.AppendVarint(b, drawNumber(t))
	case protowire.Fixed32Type:
		return protowire.AppendFixed32(b, uint32(drawNumber(t)))
	case protowire.Fixed64Type:
		return protowire.AppendFixed64(b, drawNumber(t))
	}
	var in []byte
	switch {
	case fd.IsMap():
		for _, f := range []protoreflect.FieldDescriptor{fd.MapKey(), fd.MapValue(), fd.MapValue()} {
			if rapid.IntRange(0, 3).Draw(t, "part") > 0 {
				in = drawField(t, in, f, depth+1)
			}
		}
	case fd.Message() != nil && depth < 4:
		in = drawBytes(t, fd.Message(), depth+1)
	case fd.Message() == nil:
		in = []byte(rapid.OneOf(rapid.Just("贵阳"), rapid.StringN(0, 3, 9)).Draw(t, "text"))
		if rapid.IntRange(0, 9).Draw(t, "broken") == 0 {
			in = append(in, 0xff)
		}
	}
	return protowire.AppendBytes(b, in)
}

func drawNumber(t *rapid.T) uint64 {
	return rapid.OneOf(rapid.Uint64Range(0, 3), rapid.Uint64()).Draw(t, "value")
}

func TestReaderAgreesWithProtobuf(t *testing.T) {
	md := anyKinds(t)
	r := NewReader(md)
	if r.plan == nil {
		t.Fatal("there is no plan for the schema: nothing is compared")
	}
	rapid.Check(t, func(t *rapid.T) { agrees(t, r, md, drawBytes(t, md, 0)) })
	one, free := md.Oneofs().ByName("one").Fields(), md.Fields().ByName(protoreflect.Name(fmt.Sprintf("f%d", md.Fields().Len()-5)))
	if free == nil || free.Kind() != protoreflect.StringKind {
		t.Fatalf("%v is not the text that need not be UTF-8", free)
	}
	broken := protowire.AppendString(protowire.AppendTag(nil, free.Number(), protowire.BytesType), "\xff")
	agrees(t, r, md, broken)
	for i := range one.Len() {
		for k := range one.Len() {
			tag := func(i int) []byte { return protowire.AppendTag(nil, one.Get(i).Number(), wireOf(one.Get(i).Kind())) }
			agrees(t, r, md, append(append(append(tag(i), 0), tag(k)...), 0))
		}
	}
	for _, depth := range []int{9_998, 9_999, 10_000, 10_001} {
		at := md.Fields().ByName("o2").Number()
		var raw []byte
		for range depth {
			raw = protowire.AppendBytes(protowire.AppendTag(nil, at, protowire.BytesType), raw)
		}
		_, err := r.Read(raw)
		wantErr := proto.Unmarshal(raw, dynamicpb.NewMessage(md))
		if (err == nil) != (wantErr == nil) {
			t.Errorf("messages %d deep: %v, by protobuf %v", depth, err, wantErr)
		}
	}
}

// What a plan is not for is read by protobuf itself.
func TestReaderWithoutPlan(t *testing.T) {
	set, err := CompileProto(map[string]string{"form/g.proto": `edition = "2023"; package form.g; message T { T below = 1 [features.message_encoding = DELIMITED]; string s = 2; }`}, "form/g.proto")
	if err != nil {
		t.Fatal(err)
	}
	files, err := protodesc.NewFiles(set)
	if err != nil {
		t.Fatal(err)
	}
	d, err := files.FindDescriptorByName("form.g.T")
	if err != nil {
		t.Fatal(err)
	}
	md := d.(protoreflect.MessageDescriptor)
	r := NewReader(md)
	if r.plan != nil {
		t.Fatal("a schema with groups has a plan")
	}
	agrees(t, r, md, []byte("\x0b\x12\x01a\x0c\x12\x01b"))
	agrees(t, r, md, []byte("\x0b\x12\x01a"))
}

// Answers that were read, and those of an earlier version that were brought to the newest, are evaluated as protobuf's are.
func TestReaderEvaluates(t *testing.T) {
	q := everything(t)
	r := NewReader(q.Descriptor())
	rapid.Check(t, func(t *rapid.T) {
		m := q.New()
		(&filler{t: t, share: rapid.IntRange(1, 9).Draw(t, "share"), left: 400}).fill(m.ProtoReflect(), 0)
		raw, err := proto.Marshal(m)
		if err != nil {
			t.Skip("a text is not UTF-8")
		}
		agrees(t, r, q.Descriptor(), raw)
		version := rapid.Uint32Range(0, q.Version()).Draw(t, "version")
		want, wantErr := q.Upgrade(m, version)
		read, err := r.Read(raw)
		if err != nil {
			t.Fatal(err)
		}
		got, err := q.Upgrade(read, version)
		if (err == nil) != (wantErr == nil) || err == nil && !proto.Equal(proto.Clone(got), want) {
			t.Fatalf("of version %d: %v, %v; by protobuf %v, %v", version, got, err, want, wantErr)
		}
		var routed, routedWant routeLog
		q.Route(read, version, &routed)
		q.Route(m, version, &routedWant)
		if routed.String() != routedWant.String() {
			t.Fatalf("skipped %s, by protobuf %s", &routed, &routedWant)
		}
	})
}

// routeLog writes down what is told.
type routeLog struct{ strings.Builder }

func (l *routeLog) Enter(q *Question)   { fmt.Fprintf(l, "(%s ", q.Field.Name()) }
func (l *routeLog) Leave()              { l.WriteString(") ") }
func (l *routeLog) Skipped(q *Question) { fmt.Fprintf(l, "%s ", q.Field.Name()) }

func FuzzReader(f *testing.F) {
	md := anyKinds(f)
	r := NewReader(md)
	f.Add([]byte{})
	f.Add([]byte("\x08\x01\x12\x02\x01\x00"))
	for i := range 20 {
		f.Add(rapid.Custom(func(t *rapid.T) []byte { return drawBytes(t, md, 0) }).Example(i))
	}
	f.Fuzz(func(t *testing.T, raw []byte) { agrees(t, r, md, raw) })
}

// BenchmarkReader reads answers to the questionnaire that has everything, and does the same by protobuf.
func BenchmarkReader(b *testing.B) {
	q := everything(b)
	m := rapid.Custom(func(t *rapid.T) proto.Message {
		m := q.New()
		(&filler{t: t, share: 8, left: 400}).fill(m.ProtoReflect(), 0)
		return m
	}).Example(3)
	raw, err := (proto.MarshalOptions{AllowPartial: true}).Marshal(m)
	if err != nil {
		b.Fatal(err)
	}
	r := NewReader(q.Descriptor())
	b.Run("plan", func(b *testing.B) {
		for b.Loop() {
			if _, err := r.Read(raw); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("protobuf", func(b *testing.B) {
		for b.Loop() {
			if err := proto.Unmarshal(raw, q.New()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
