package projection

import (
	"testing"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Whatever part an interview leaves out, it has a projection: one that has none would stand in the way of all others.
func TestWhateverIsLeftOut(t *testing.T) {
	answers := (&surveyv1.Interview{}).ProtoReflect().Descriptor().Oneofs().ByName("answers").Fields()
	tried := 0
	for i := range answers.Len() {
		full := &surveyv1.Interview{}
		m := full.ProtoReflect()
		fill(m, 0)
		inner := m.NewField(answers.Get(i))
		fill(inner.Message(), 1)
		m.Set(answers.Get(i), inner)
		try := func() {
			tried++
			w := &writer{rec: revise(full).Record, iv: full, id: interviewID, zone: DefaultZone}
			w.summarise(make([]syncer.Digest, 1), 1) // not through Interview, which makes do where this panics
			w.listPeople()
			w.listReferrals()
			if _, err := proto.Marshal(w.finish()); err != nil {
				t.Fatal(err)
			}
		}
		without(m, try)
		full.Respondent = nil // who is then looked for in the answers
		without(m, try)
	}
	if tried < 300 {
		t.Errorf("tried to leave out %d parts, want at least 300", tried)
	}
}

// fill sets every field of a message, lists to one element.
func fill(m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if fd.IsMap() || fd.ContainingOneof() != nil {
			continue
		}
		v := m.NewField(fd)
		switch {
		case fd.IsList() && fd.Message() != nil:
			one := v.List().NewElement()
			if depth < 6 {
				fill(one.Message(), depth+1)
			}
			v.List().Append(one)
		case fd.IsList():
			v.List().Append(scalar(fd))
		case fd.Message() != nil:
			if depth < 6 {
				fill(v.Message(), depth+1)
			}
		default:
			v = scalar(fd)
		}
		m.Set(fd, v)
	}
}

// scalar is a value that is not the default, the same for all fields of a kind.
func scalar(fd protoreflect.FieldDescriptor) protoreflect.Value {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString("p1")
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(1)
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(1)
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(1)
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(1)
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	}
	return fd.Default()
}

// without takes every field of a message and of those within it away, one at a time, and calls then.
func without(m protoreflect.Message, then func()) {
	var set []protoreflect.FieldDescriptor
	m.Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		set = append(set, fd)
		return true
	})
	for _, fd := range set {
		v := m.Get(fd)
		if fd.IsList() { // what Get returned empties with the field
			first := v.List().Get(0)
			m.Clear(fd)
			then()
			m.Mutable(fd).List().Append(first)
			v = first
		} else {
			m.Clear(fd)
			then()
			m.Set(fd, v)
		}
		if fd.Message() != nil {
			without(v.Message(), then)
		}
	}
}

// An interview on which a check or this package itself fails has the projection of one that cannot be read.
func TestDefectBlocksNothing(t *testing.T) {
	b := Builder{Evaluate: func(*surveyv1.Interview) []*servicev1.Flag { panic("a defect") }}
	p, err := b.Interview([]Revision{revise(&surveyv1.Interview{InterviewKey: id("GY-1")})})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.GetFlags()) != 1 || p.GetFlags()[0].GetRule() != "hearth/unreadable" || p.GetSummary().GetInterviewId() != interviewID {
		t.Errorf("projection = %v, want one flagged as unreadable", p)
	}
}
