package sqlite

import (
	"testing"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// wholeProjection has one of everything that is listed, each saying of the interview what the summary says.
func wholeProjection() *servicev1.InterviewProjection {
	id, key, study, site, who, name := "0b7c5f0e-3d7c-4c0a-9f0a-3f6d2a9c1e55", "GY-19", "guiyang", "school-c", "E07", "hearth.survey.v1.Household"
	s := &servicev1.InterviewSummary{InterviewId: &id, InterviewKey: &key, Study: &study, Round: proto.Uint32(2), Part: proto.Uint64(77), SiteId: &site,
		Enumerator: &who, StartTimeMs: proto.Int64(1_700_000_000_000), Questionnaire: &name, Day: proto.String("2023-11-15")}
	iv := &servicev1.InterviewProjection{
		Summary:     s,
		People:      []*servicev1.PersonRecord{{PersonId: proto.String("p1"), Age: proto.Int32(30)}, {PersonId: proto.String("p2")}},
		Households:  []*servicev1.HouseholdRecord{{HouseholdId: proto.String("h"), MemberIds: []string{"p1", "p2"}}},
		Referrals:   []*servicev1.ReferralRecord{{ReferralId: proto.String("r"), ToPersonId: proto.String("p3")}},
		Recruitment: &servicev1.RecruitmentRecord{PersonId: proto.String("p1")},
		Flags:       []*servicev1.Flag{{Rule: proto.String("rule"), Path: proto.String("household")}},
	}
	fill(iv)
	return iv
}

// listed are the messages in which the summary may be repeated.
func listed(iv *servicev1.InterviewProjection) []proto.Message {
	out := []proto.Message{iv.GetRecruitment(), iv.GetHouseholds()[0], iv.GetReferrals()[0], iv.GetFlags()[0]}
	for _, p := range iv.GetPeople() {
		out = append(out, p)
	}
	return out
}

// A body comes out as it went in, and the projection that was written is not changed: also where one field of one thing
// says something else than the summary, or nothing.
func TestBodiesComeOutTheSame(t *testing.T) {
	trip := func(t *testing.T, iv *servicev1.InterviewProjection) []byte {
		t.Helper()
		was := proto.CloneOf(iv)
		body, err := writeBody(iv)
		if err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(was, iv) {
			t.Errorf("writing has changed it: %v", iv)
		}
		got, err := readBody(body)
		if err != nil || !proto.Equal(was, got) {
			t.Errorf("read: %v, %v\nwant: %v", got, err, was)
		}
		return body
	}
	lean := trip(t, wholeProjection())
	plain, err := deterministic(wholeProjection())
	if err != nil {
		t.Fatal(err)
	}
	if len(lean)*2 > len(plain) || lean[0] != leanMark {
		t.Errorf("a lean body has %d bytes of %d", len(lean), len(plain))
	}
	trip(t, &servicev1.InterviewProjection{})
	trip(t, &servicev1.InterviewProjection{People: []*servicev1.PersonRecord{{PersonId: proto.String("p")}}})
	changed := 0
	for i := range listed(wholeProjection()) {
		fields := listed(wholeProjection())[i].ProtoReflect().Descriptor().Fields()
		for k := range fields.Len() {
			f := fields.Get(k)
			if f.IsList() || f.Message() != nil {
				continue
			}
			for _, other := range []protoreflect.Value{{}, anotherOf(f)} {
				iv := wholeProjection()
				m := listed(iv)[i].ProtoReflect()
				if !other.IsValid() {
					m.Clear(f)
				} else {
					m.Set(f, other)
				}
				changed++
				trip(t, iv)
			}
		}
	}
	if changed < 80 {
		t.Errorf("only %d fields were changed", changed)
	}
}

// anotherOf is a value that no field of wholeProjection has.
func anotherOf(f protoreflect.FieldDescriptor) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString("another")
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(3)
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(99)
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(99)
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(99)
	case protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(99)
	}
	panic(f.FullName())
}
