package decode

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// kinds are the messages that a server reads, and some that are left to proto.Unmarshal in part.
var kinds = []proto.Message{
	&surveyv1.Interview{}, &servicev1.Record{}, &servicev1.EntryList{}, &servicev1.InterviewProjection{}, &servicev1.Batch{},
	&servicev1.QuestionnaireContent{}, &formv1.Question{}, &timestamppb.Timestamp{},
}

// fill sets some fields of a message at random, and some that its schema does not have where it is to be strange.
func fill(r *rand.Rand, m protoreflect.Message, depth int, strange bool) {
	all := m.Descriptor().Fields()
	for i := range all.Len() {
		fd := all.Get(i)
		if r.IntN(3) > 0 || depth > 6 {
			continue
		}
		switch {
		case fd.IsMap():
			for range r.IntN(3) {
				if fd.MapValue().Message() == nil {
					m.Mutable(fd).Map().Set(scalar(r, fd.MapKey()).MapKey(), scalar(r, fd.MapValue()))
				}
			}
		case fd.IsList():
			for range r.IntN(7) {
				l := m.Mutable(fd).List()
				if fd.Message() != nil {
					fill(r, l.AppendMutable().Message(), depth+1, strange)
				} else {
					l.Append(scalar(r, fd))
				}
			}
		case fd.Message() != nil:
			fill(r, m.Mutable(fd).Message(), depth+1, strange)
		default:
			m.Set(fd, scalar(r, fd))
		}
	}
	if strange && r.IntN(200) == 0 {
		m.SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 9000, protowire.VarintType), 7))
	}
}

func scalar(r *rand.Rand, fd protoreflect.FieldDescriptor) protoreflect.Value {
	number := []uint64{0, 1, 2, 127, 128, 300, 1 << 31, 1<<32 - 1, 1 << 40, math.MaxUint64}[r.IntN(10)]
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(number&1 == 1)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(int32(number)))
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(number))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(int64(number))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(number))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(number)
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(r.Float64()))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(r.Float64())
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(bytes.Repeat([]byte{1, 0xff}, r.IntN(4)))
	}
	return protoreflect.ValueOfString([]string{"", "a", "村里 𠀀", "GY-19", "line\nbreak\x00"}[r.IntN(5)])
}

// lend reads into m what is lent, and takes that back: what was lent must have been copied before.
func lend(b []byte, m proto.Message) error {
	r := &reader{b: b, view: true, kept: map[reflect.Type]bool{}}
	p := planFor(reflect.TypeOf(m))
	at := r.make(p)
	if err := r.message(p, at, 0, len(b), 0); err != nil {
		return proto.Unmarshal(b, m)
	}
	proto.Reset(m)
	proto.Merge(m, reflect.NewAt(p.typ, at).Interface().(proto.Message))
	for i := range r.slabs {
		if s := r.slabs[i].lent; s != nil {
			s.takeBack()
		}
	}
	return nil
}

// agrees holds what is read against proto.Unmarshal.
func agrees(t *testing.T, of proto.Message, b []byte) {
	t.Helper()
	for _, read := range []func([]byte, proto.Message) error{Unmarshal, lend} {
		agreesWith(t, of, b, read)
	}
}

func agreesWith(t *testing.T, of proto.Message, b []byte, read func([]byte, proto.Message) error) {
	t.Helper()
	want, got := of.ProtoReflect().New().Interface(), of.ProtoReflect().New().Interface()
	wantErr, gotErr := proto.Unmarshal(b, want), read(bytes.Clone(b), got)
	if fmt.Sprint(wantErr) != fmt.Sprint(gotErr) {
		t.Fatalf("%T of %x: %v, want %v", of, b, gotErr, wantErr)
	}
	if !proto.Equal(want, got) {
		t.Fatalf("%T of %x\ngot  %v\nwant %v", of, b, got, want)
	}
	again, err := proto.MarshalOptions{Deterministic: true}.Marshal(got)
	first, _ := proto.MarshalOptions{Deterministic: true}.Marshal(want)
	if wantErr == nil && (err != nil || !bytes.Equal(again, first)) {
		t.Fatalf("%T is written as %x, %v, want %x", of, again, err, first)
	}
}

// Whatever a message says is read as proto.Unmarshal reads it, also where it is damaged, cut short, or says things twice.
func TestReadsAsProtobufDoes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	rounds := 400
	if testing.Short() {
		rounds = 60
	}
	for range rounds {
		for _, of := range kinds {
			m, other := of.ProtoReflect().New(), of.ProtoReflect().New()
			fill(r, m, 0, true)
			fill(r, other, 0, true)
			b, err := proto.MarshalOptions{Deterministic: r.IntN(2) == 0}.Marshal(m.Interface())
			if err != nil {
				t.Fatal(err)
			}
			agrees(t, of, b)
			more, err := proto.Marshal(other.Interface())
			if err != nil {
				t.Fatal(err)
			}
			agrees(t, of, append(bytes.Clone(b), more...)) // one message, of which parts come again
			for range 4 {
				if len(b) > 0 {
					bad := bytes.Clone(b)
					bad[r.IntN(len(bad))] ^= 1 << r.IntN(8)
					agrees(t, of, bad)
					agrees(t, of, b[:r.IntN(len(b))])
				}
			}
		}
	}
}

// An interview, its envelope and the batch around it are read here and not left to proto.Unmarshal: else all is well, and slow.
func TestReadsHere(t *testing.T) {
	for _, m := range []proto.Message{&surveyv1.Interview{}, &servicev1.Record{}, &servicev1.EntryList{}, &servicev1.BatchAck{}} {
		known := map[reflect.Type]*plan{}
		newPlan(reflect.TypeOf(m), known)
		for typ, p := range known {
			all := reflect.Zero(typ).Interface().(proto.Message).ProtoReflect().Descriptor().Fields()
			for i := range all.Len() {
				if n := int(all.Get(i).Number()); n >= len(p.fields) || p.fields[n].holds == holdsOther {
					t.Errorf("%T: %s is left to proto.Unmarshal", m, all.Get(i).FullName())
				}
			}
		}
	}
}

// What is read holds on to the bytes it is a view of, and to no texts unless it was asked to.
func TestTextsAreCopies(t *testing.T) {
	raw, err := proto.Marshal(&servicev1.Record{Subject: proto.String("subject"), Payload: []byte("payload")})
	if err != nil {
		t.Fatal(err)
	}
	r := &servicev1.Record{}
	if err := Unmarshal(raw, r); err != nil {
		t.Fatal(err)
	}
	clear(raw)
	if r.GetSubject() != "subject" {
		t.Errorf("the subject became %q with the bytes it was read from", r.GetSubject())
	}
	if bytes.Equal(r.GetPayload(), []byte("payload")) {
		t.Error("the payload is a copy")
	}
}

func FuzzUnmarshal(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for i, of := range kinds {
		m := of.ProtoReflect().New()
		fill(r, m, 0, true)
		b, err := proto.Marshal(m.Interface())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(i), b)
	}
	f.Fuzz(func(t *testing.T, kind byte, b []byte) { agrees(t, kinds[int(kind)%len(kinds)], b) })
}

func BenchmarkUnmarshal(b *testing.B) {
	r := rand.New(rand.NewPCG(5, 6))
	iv := &surveyv1.Interview{}
	for iv.GetHousehold() == nil {
		fill(r, iv.ProtoReflect(), 0, false)
	}
	raw, err := proto.Marshal(iv)
	if err != nil {
		b.Fatal(err)
	}
	for _, way := range []struct {
		name string
		read func([]byte, proto.Message) error
	}{{"here", Unmarshal}, {"protobuf", proto.Unmarshal}} {
		b.Run(way.name, func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				if err := way.read(raw, &surveyv1.Interview{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Messages that are lent one after the other are those that protobuf reads, and what may be held on to stays as it was.
func TestLend(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	l := NewLender(&servicev1.InterviewProjection{})
	type held struct{ is, was *surveyv1.Identity }
	var all []held
	before := map[*surveyv1.Interview]bool{}
	again := 0
	for range 60 {
		for range 1 + r.IntN(3) { // several at a time
			iv := &surveyv1.Interview{}
			fill(r, iv.ProtoReflect(), 0, true)
			for range r.IntN(4) {
				iv.Present = append(iv.Present, &surveyv1.Presence{Person: &surveyv1.Person{Identity: &surveyv1.Identity{FullName: proto.String("王芳")}}})
			}
			raw, err := proto.Marshal(iv)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Lend[surveyv1.Interview](l, raw)
			if err != nil || !proto.Equal(iv, got) {
				t.Fatalf("%v\ngot  %v\nwant %v", err, got, iv)
			}
			if before[got] {
				again++
			}
			before[got] = true
			for _, p := range got.GetPresent() {
				if id := p.GetPerson().GetIdentity(); id != nil {
					all = append(all, held{id, proto.CloneOf(id)})
				}
			}
		}
		l.TakeBack()
	}
	for _, h := range all {
		if !proto.Equal(h.is, h.was) {
			t.Fatalf("%v became %v", h.was, h.is)
		}
	}
	if again == 0 || len(all) == 0 {
		t.Errorf("no memory was used again, or nothing was held: %d, %d", again, len(all))
	}
}
