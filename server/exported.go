package server

import (
	"slices"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/server/export"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// publishedOf is what an export needs of the questionnaires that were published at run time and that the interviews answer.
func publishedOf(answered []*questionnaire.Questionnaire) []export.Published {
	var out []export.Published
	for _, q := range answered {
		if !builtIn(q.Descriptor().FullName()) {
			out = append(out, export.Published{Top: q.Descriptor(), Read: readAnswers(q)})
		}
	}
	return out
}

// answered are the questionnaires that interviews answer, by their names.
func (n *snapshot) answered(names map[string]map[uint32]int) []*questionnaire.Questionnaire {
	return slices.DeleteFunc(n.forms.set.All(), func(q *questionnaire.Questionnaire) bool { return names[q.Name()] == nil })
}

// checkLanguage fails unless somebody has given wordings in a language of labels.
func checkLanguage(lang string, published []export.Published) error {
	known := []string{"en", "zh"}
	for _, q := range published {
		m := formv1.ModuleOf(q.Top.Options())
		for _, l := range m.GetLanguages() {
			if !slices.Contains(known, l) {
				known = append(known, l)
			}
		}
	}
	if lang == "" || slices.Contains(known, lang) {
		return nil
	}
	return fault.New(fault.Invalid, fault.BadRequest, "no questionnaire of the study has wordings in %.40q: choose one of %s", lang, strings.Join(known, ", "))
}

// builtIn says whether a message is one of those that an interview holds by name.
func builtIn(name protoreflect.FullName) bool {
	answers := (*surveyv1.Interview)(nil).ProtoReflect().Descriptor().Oneofs().ByName("answers").Fields()
	for i := range answers.Len() {
		if answers.Get(i).Message().FullName() == name {
			return true
		}
	}
	return false
}

// readAnswers decodes answers that were given to a version of a questionnaire, as they would stand in the newest. With an
// error there may still be a message: what could not be brought over stands in it as it was.
func readAnswers(q *questionnaire.Questionnaire) func(answers []byte, version uint32) (protoreflect.Message, error) {
	r := questionnaire.NewReader(q.Descriptor())
	return func(answers []byte, version uint32) (protoreflect.Message, error) {
		m, err := r.Read(answers)
		if err != nil {
			return nil, err
		}
		newest, err := q.Upgrade(m, version)
		if err != nil {
			return m.ProtoReflect(), err
		}
		return newest.ProtoReflect(), nil
	}
}
