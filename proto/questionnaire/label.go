package questionnaire

import (
	"strings"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// QuestionAt returns the words of the question at a path within an interview, such as "household.members[2].age", and
// whether there is such a question. What stands in brackets is not looked at.
func QuestionAt(path string) (*formv1.Text, bool) {
	return questionAt((&surveyv1.Interview{}).ProtoReflect().Descriptor(), steps(path))
}

// QuestionAt is the function of that name for an interview that answers a questionnaire, which may be one published at run
// time: "other.answers.members[2].age". A wording in neither English nor Chinese stands where the English one would.
func (s *Set) QuestionAt(questionnaire, path string) (*formv1.Text, bool) {
	below := steps(path)
	if len(below) < 3 || below[0] != "other" || below[1] != "answers" {
		return QuestionAt(path)
	}
	q, ok := s.Find(questionnaire)
	if !ok || q.Name() != questionnaire {
		return nil, false
	}
	label, ok := questionAt(q.Descriptor(), below[2:])
	if ok && label.GetEn() == "" && label.GetZh() == "" {
		for _, lang := range q.Top().Options.GetLanguages() {
			if words := label.GetMore()[lang]; words != "" {
				return &formv1.Text{En: proto.String(words)}, true
			}
		}
	}
	return label, ok
}

func questionAt(at protoreflect.MessageDescriptor, below []string) (*formv1.Text, bool) {
	var found protoreflect.FieldDescriptor
	for _, step := range below {
		if at == nil {
			return nil, false
		}
		if found = at.Fields().ByName(protoreflect.Name(step)); found == nil {
			return nil, false
		}
		at = found.Message()
	}
	if found == nil {
		return nil, false
	}
	label := &formv1.Text{}
	if options := formv1.QuestionOf(found.Options()); options.GetLabel() != nil {
		label = options.GetLabel()
	}
	return label, true
}

// WithoutRows is a path without the numbers of rows: "household.members[2].age" is "household.members.age".
func WithoutRows(path string) string { return strings.Join(steps(path), ".") }

// steps are the names of a path, without what stands in brackets; in brackets a dot divides nothing.
func steps(path string) []string {
	var out []string
	var name strings.Builder
	depth := 0
	for _, r := range path {
		switch {
		case r == '[':
			depth++
		case r == ']' && depth > 0:
			depth--
		case depth > 0:
		case r == '.':
			out = append(out, name.String())
			name.Reset()
		default:
			name.WriteRune(r)
		}
	}
	return append(out, name.String())
}
