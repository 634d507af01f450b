package questionnaire

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"pgregory.net/rapid"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
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
		e := &evaluation{
			frame: frame{root: view{m: m}, steps: stepsPerInterview}, answers: iv.GetQuestionnaireVersion(), version: s.interview.Options.GetVersion(),
			completed: iv.GetStatus() == surveyv1.InterviewStatus_INTERVIEW_STATUS_COMPLETED,
		}
		e.walk(s.interview, view{m: m}, true)
		got := s.Evaluate(iv)
		if !slices.EqualFunc(e.flags, got, func(a, b *servicev1.Flag) bool { return proto.Equal(a, b) }) {
			t.Fatalf("flags by reflection:\n%v\nand by place:\n%v", e.flags, got)
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
			if q.access.at < 0 && q.Field.ContainingOneof() == nil {
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

func compareFields(t *rapid.T, m protoreflect.Message) {
	x := viewOf(m, generated(m.Descriptor()))
	if x.m != nil {
		t.Fatalf("%s is not read by place", m.Descriptor().FullName())
	}
	for fd := range fieldsOf(m.Descriptor()) {
		a := newAccess(fd)
		if got, want := a.has(x), m.Has(fd); got != want {
			t.Fatalf("%s: there %v, want %v", fd.FullName(), got, want)
		}
		if fd.IsMap() {
			if got, want := len(a.reasons(x)), m.Get(fd).Map().Len(); got != want {
				t.Fatalf("%s: %d reasons, want %d", fd.FullName(), got, want)
			}
			for n, why := range a.reasons(x) {
				if got := m.Get(fd).Map().Get(protoreflect.ValueOfUint32(n).MapKey()).Enum(); formv1.Missing(got) != why {
					t.Fatalf("%s of %d: %v, want %v", fd.FullName(), n, why, got)
				}
			}
			continue
		}
		if fd.IsList() {
			compareList(t, a, x, m.Get(fd).List())
			continue
		}
		want := m.Get(fd)
		if fd.Message() == nil && !a.value(x).Equal(want) {
			t.Fatalf("%s: %v, want %v", fd.FullName(), a.value(x), want)
		}
		same := true
		switch {
		case fd.Message() != nil:
			same = proto.Equal(a.below(x).message().Interface(), want.Message().Interface()) || !want.Message().IsValid() && proto.Size(a.below(x).message().Interface()) == 0
		case fd.Kind() == protoreflect.StringKind:
			same = a.string(x) == want.String()
		case fd.Kind() == protoreflect.BoolKind:
			same = a.bool(x) == want.Bool()
		case fd.Kind() == protoreflect.EnumKind:
			same = a.whole(x) == int64(want.Enum())
		case numberOf(fd) == intNumber:
			same = a.whole(x) == want.Int()
		case numberOf(fd) == uintNumber:
			same = a.unsigned(x) == want.Uint()
		case numberOf(fd) == floatNumber:
			same = protoreflect.ValueOfFloat64(a.floating(x)).Equal(protoreflect.ValueOfFloat64(want.Float()))
		}
		if !same {
			t.Fatalf("%s is not read as reflection reads it: %v", fd.FullName(), want)
		}
	}
}

func compareList(t *rapid.T, a *access, x view, want protoreflect.List) {
	got := a.list(x)
	if got.len() != want.Len() {
		t.Fatalf("%s: %d items, want %d", a.field.FullName(), got.len(), want.Len())
	}
	for i := range want.Len() {
		one := got.get(i)
		same := true
		switch {
		case a.field.Message() != nil:
			same = proto.Equal(one.message().Interface(), want.Get(i).Message().Interface())
		case a.field.Kind() == protoreflect.EnumKind:
			same = one.whole(true) == int64(want.Get(i).Enum())
		case a.field.Kind() == protoreflect.StringKind:
			same = one.string() == want.Get(i).String()
		}
		if !same {
			t.Fatalf("%s, item %d is not read as reflection reads it", a.field.FullName(), i)
		}
	}
}
