package questionnaire

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"pgregory.net/rapid"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// An interview read by places in generated Go gets the flags that it gets where protobuf's reflection reads it.
func TestPlacesAgreeWithReflection(t *testing.T) {
	s := builtin(t)
	flags := 0
	rapid.Check(t, func(t *rapid.T) {
		iv := interviews(t)
		raw, err := proto.Marshal(iv)
		if err != nil {
			t.Fatal(err)
		}
		m := dynamicpb.NewMessage(s.interview.Desc)
		if err := proto.Unmarshal(raw, m); err != nil {
			t.Fatal(err)
		}
		byReflection := s.evaluate(iv, view{m: m})
		got := s.Evaluate(iv)
		if !slices.EqualFunc(byReflection, got, func(a, b *servicev1.Flag) bool { return proto.Equal(a, b) }) {
			t.Fatalf("flags by reflection:\n%v\nand by place:\n%v", byReflection, got)
		}
		flags += len(got)
	})
	if flags == 0 {
		t.Error("no interview had a flag")
	}
}

// All fields of our messages are read by their place, but for members of a oneof: a change in what protoc-gen-go writes
// must not go unnoticed, all would be slow.
func TestFieldsHavePlaces(t *testing.T) {
	for _, m := range modulesOf(builtin(t)) {
		if m.typ == nil {
			t.Errorf("%s: no generated Go was found", m.Desc.FullName())
		}
		for _, q := range m.Questions {
			if q.access.form == formNone && q.Field.ContainingOneof() == nil {
				t.Errorf("%s is not read by place", q.Field.FullName())
			}
		}
	}
}

// Every way of reading a field gives what protobuf's reflection gives, where it is set and where it is not.
func TestAccessReadsWhatReflectionReads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := &filler{t: t, share: rapid.IntRange(1, 9).Draw(t, "share"), left: 400}
		for _, m := range []proto.Message{&surveyv1.HouseholdMember{}, &surveyv1.Attachment{}, &surveyv1.GeoPoint{}, &surveyv1.Household{}} {
			f.fill(m.ProtoReflect(), 0)
			compareFields(t, m.ProtoReflect())
		}
	})
}

// compareFields reads every field of a message by its place in the struct, and by protobuf's reflection.
func compareFields(t *rapid.T, m protoreflect.Message) {
	x, slow := viewOf(m, generated(m.Descriptor())), view{m: m}
	if x.m != nil {
		t.Fatalf("%s is not read by place", m.Descriptor().FullName())
	}
	for fd := range fieldsOf(m.Descriptor()) {
		a := newAccess(fd)
		if fd.IsMap() {
			if diff := cmp.Diff(a.reasons(&slow), a.reasons(&x), cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("%s differs (-reflection +place):\n%s", fd.FullName(), diff)
			}
			continue
		}
		var got, want datum
		held := a.read(&x, &got)
		if byReflection := a.read(&slow, &want); held != byReflection || got != want {
			t.Fatalf("%s: there %v, %+v by place; %v, %+v by reflection", fd.FullName(), held, got, byReflection, want)
		}
		switch {
		case fd.IsList():
			compareList(t, a, x, slow)
		case fd.Message() == nil && held && !a.value(&x, &got).Equal(m.Get(fd)):
			t.Fatalf("%s: %v, want %v", fd.FullName(), a.value(&x, &got), m.Get(fd))
		case fd.Message() != nil && held && !proto.Equal(messageOf(a.below(&x)), m.Get(fd).Message().Interface()):
			t.Fatalf("%s is another message by place", fd.FullName())
		}
	}
}

func compareList(t *rapid.T, a *access, x, slow view) {
	got, want := a.list(&x), a.list(&slow)
	if got.n != want.n {
		t.Fatalf("%s: %d items, want %d", a.field.FullName(), got.n, want.n)
	}
	for i := range want.n {
		if a.field.Message() != nil {
			one, other := got.row(i), want.row(i)
			if !proto.Equal(messageOf(one), messageOf(other)) {
				t.Fatalf("%s, row %d is another by place", a.field.FullName(), i)
			}
			continue
		}
		var one, other datum
		got.datum(i, &one)
		want.datum(i, &other)
		if one != other {
			t.Fatalf("%s, item %d: %+v by place, %+v by reflection", a.field.FullName(), i, one, other)
		}
	}
}

func messageOf(x view) proto.Message { return x.message().Interface() }

// A text or a list that stands there empty is no answer: a question that needs one is not passed over.
func TestEmptyIsNotPassedOver(t *testing.T) {
	tried := 0
	for _, m := range modulesOf(builtin(t)) {
		for _, q := range m.Questions {
			if !q.List && q.access.kind != kindText || q.Module != nil {
				continue
			}
			needed := Question{Field: q.Field, access: q.access, List: q.List, Options: q.Options, required: true, silent: true}
			if g := glanceAt(&needed); g.place == 0 || !g.set[0] || g.set[1] {
				t.Errorf("%s: %+v", q.Field.FullName(), g)
			}
			tried++
		}
	}
	if tried == 0 {
		t.Error("no question has a text or a list")
	}
}
