package syncer

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// otherName is the message that holds the answers to a questionnaire published at run time, as bytes.
var otherName = (*surveyv1.OtherAnswers)(nil).ProtoReflect().Descriptor().FullName()

// other merges such answers field by field. It reports false where that cannot be done: the sides answer different
// questionnaires or versions, the schema is not known, or the bytes of one are no message of it.
func (m *merge) other(path string, was, have []slot, empty func() protoreflect.Message) (protoreflect.Value, bool) {
	to := empty()
	fields := to.Descriptor().Fields()
	name, answers := fields.ByName("questionnaire"), fields.ByName("answers")
	if m.mixed || m.answers == nil || name == nil || answers == nil {
		return protoreflect.Value{}, false
	}
	questionnaire := ""
	for _, s := range have {
		if s.part && s.has && questionnaire == "" {
			questionnaire = s.v.Message().Get(name).String()
		}
	}
	schema := m.answers(questionnaire)
	if questionnaire == "" || schema == nil {
		return protoreflect.Value{}, false
	}
	read := func(s slot) (protoreflect.Message, bool) {
		if !s.has || s.v.Message().Get(name).String() != questionnaire || len(s.v.Message().GetUnknown()) > 0 {
			return nil, false
		}
		msg := dynamicpb.NewMessage(schema)
		return msg, proto.Unmarshal(s.v.Message().Get(answers).Bytes(), msg) == nil
	}
	bases, sides := make([]protoreflect.Message, len(was)), make([]protoreflect.Message, len(have))
	for i, b := range was {
		msg, ok := read(b)
		if !ok && b.has {
			return protoreflect.Value{}, false
		}
		if bases[i] = msg; !ok {
			bases[i] = dynamicpb.NewMessage(schema) // nothing was answered yet
		}
	}
	for i, s := range have {
		if !s.part {
			continue
		}
		msg, ok := read(s)
		if !ok {
			return protoreflect.Value{}, false
		}
		sides[i] = msg
	}
	merged := dynamicpb.NewMessage(schema)
	m.message(join(path, string(answers.Name())), bases, sides, merged)
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(merged)
	if err != nil {
		return protoreflect.Value{}, false
	}
	to.Set(name, protoreflect.ValueOfString(questionnaire))
	to.Set(answers, protoreflect.ValueOfBytes(raw))
	return protoreflect.ValueOfMessage(to), true
}

// severalVersions says whether interviews answer several versions of questionnaires.
func severalVersions(sides []protoreflect.Message) bool {
	for _, s := range sides[1:] {
		first, one := sides[0].Interface().(*surveyv1.Interview)
		iv, other := s.Interface().(*surveyv1.Interview)
		if one && other && iv.GetQuestionnaireVersion() != first.GetQuestionnaireVersion() {
			return true
		}
	}
	return false
}

// keepVersion lets answers that were taken whole from one side be of the version that this side answered.
func (m *merge) keepVersion(to protoreflect.Message) {
	iv, ok := to.Interface().(*surveyv1.Interview)
	if !ok || !m.mixed || iv.GetOther() == nil {
		return
	}
	var version *uint32
	for _, side := range m.sides {
		from, ok := side.Message.(*surveyv1.Interview)
		switch {
		case !ok || !proto.Equal(from.GetOther(), iv.GetOther()):
		case from.GetQuestionnaireVersion() == iv.GetQuestionnaireVersion():
			return
		case version == nil:
			version = from.QuestionnaireVersion
		}
	}
	if version != nil {
		iv.QuestionnaireVersion = ptr(*version)
	}
}
