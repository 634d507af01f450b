package questionnaire

import (
	"testing"
	"unicode"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// surveyMessages are all messages of the package of questionnaires.
func surveyMessages(t *testing.T) []protoreflect.MessageDescriptor {
	t.Helper()
	var all []protoreflect.MessageDescriptor
	protoregistry.GlobalFiles.RangeFilesByPackage("hearth.survey.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Messages().Len() {
			all = append(all, f.Messages().Get(i))
		}
		return true
	})
	if len(all) < 40 {
		t.Fatalf("found only %d messages in hearth.survey.v1: the walk is broken", len(all))
	}
	return all
}

func surveyEnums(t *testing.T) []protoreflect.EnumDescriptor {
	t.Helper()
	all := []protoreflect.EnumDescriptor{formv1.Missing(0).Descriptor()}
	protoregistry.GlobalFiles.RangeFilesByPackage("hearth.survey.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Enums().Len() {
			all = append(all, f.Enums().Get(i))
		}
		return true
	})
	if len(all) < 60 {
		t.Fatalf("found only %d enums in hearth.survey.v1: the walk is broken", len(all))
	}
	return all
}

// wording reports a text that is not there in both languages.
func wording(t *testing.T, what protoreflect.FullName, text *formv1.Text) {
	t.Helper()
	han := false
	for _, r := range text.GetZh() {
		han = han || unicode.Is(unicode.Han, r)
	}
	if text.GetEn() == "" || !han {
		t.Errorf("%s is worded %q in English and %q in Chinese, want both", what, text.GetEn(), text.GetZh())
	}
}

func TestEverythingIsWordedInEnglishAndChinese(t *testing.T) {
	for _, m := range surveyMessages(t) {
		wording(t, m.FullName(), moduleOptions(m).GetTitle())
		if intro := moduleOptions(m).GetIntroduction(); intro != nil {
			wording(t, m.FullName()+" (introduction)", intro)
		}
		for f := range fieldsOf(m) {
			o := formv1.QuestionOf(f.Options())
			wording(t, f.FullName(), o.GetLabel())
			for what, x := range map[protoreflect.FullName]*formv1.Text{"hint": o.GetHint(), "universe": o.GetUniverse()} {
				if x != nil {
					wording(t, f.FullName()+" ("+what+")", x)
				}
			}
			for _, c := range o.GetChecks() {
				wording(t, f.FullName()+"/"+protoreflect.FullName(c.GetId()), c.GetMessage())
			}
		}
	}
	for _, e := range surveyEnums(t) {
		if e.FullName() != "hearth.form.v1.Missing" {
			wording(t, e.FullName(), formv1.ListOf(e.Options()).GetTitle())
		}
		for i := range e.Values().Len() {
			wording(t, e.Values().Get(i).FullName(), formv1.ChoiceOf(e.Values().Get(i).Options()).GetLabel())
		}
	}
}

func TestIdentityIsDirectlyIdentifying(t *testing.T) {
	n := 0
	for f := range fieldsOf((&surveyv1.Identity{}).ProtoReflect().Descriptor()) {
		if f.Kind() != protoreflect.StringKind {
			continue
		}
		n++
		o := formv1.QuestionOf(f.Options())
		if got := o.GetPersonalData(); got != formv1.PersonalData_PERSONAL_DATA_DIRECT_IDENTIFIER {
			t.Errorf("%s is %v, want a direct identifier", f.FullName(), got)
		}
	}
	if n < 5 {
		t.Errorf("Identity has %d texts: the walk is broken", n)
	}
}

// Messages without a map of missing reasons of their own: blocks, whose reason stands with the question that they answer,
// and records of the enumerator's own work.
var withoutReasons = map[protoreflect.Name]bool{
	"PartialDate": true, "Place": true, "Money": true, "GeoPoint": true, "SampleOrigin": true, "SampleStage": true, "SiteDraw": true,
	"Consent": true, "Presence": true, "Visit": true, "Pause": true, "Attachment": true, "OtherAnswers": true,
}

func TestModulesSayWhyAnAnswerIsMissing(t *testing.T) {
	modules := modulesOf(builtin(t))
	if len(modules) < 50 {
		t.Fatalf("found %d modules: the walk is broken", len(modules))
	}
	for _, m := range modules {
		switch {
		case m.missing == nil && !withoutReasons[m.Desc.Name()]:
			t.Errorf("%s has no map of missing reasons", m.Desc.FullName())
		case m.missing != nil && (m.missing.field.Number() != 100 || m.missing.field.MapKey().Kind() != protoreflect.Uint32Kind ||
			m.missing.field.MapValue().Enum().FullName() != "hearth.form.v1.Missing"):
			t.Errorf("%s is not map<uint32, Missing> missing = 100", m.missing.field.FullName())
		}
	}
}

// modulesOf are all modules of a set, each once, in the order in which they are met.
func modulesOf(s *Set) []*Module {
	var all []*Module
	seen := map[*Module]bool{}
	var visit func(m *Module)
	visit = func(m *Module) {
		if seen[m] {
			return
		}
		seen[m] = true
		all = append(all, m)
		for _, q := range m.Questions {
			if q.Module != nil {
				visit(q.Module)
			}
		}
	}
	visit(s.interview)
	return all
}
