package paper

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
)

func page(t *testing.T, top protoreflect.MessageDescriptor, o Options) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, top, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Every question that is asked stands on the page once, with all its choices.
func TestEveryQuestionIsPrinted(t *testing.T) {
	for _, m := range []protoreflect.ProtoMessage{&surveyv1.Household{}, &surveyv1.School{}, &surveyv1.Migration{}} {
		top := m.ProtoReflect().Descriptor()
		s := newSheet(top, Options{})
		html := page(t, top, Options{})
		n := 0
		for _, sec := range s.Sections {
			for _, it := range sec.Items {
				n++
				if strings.Count(html, `id="`+it.Anchor+`"`) != 1 {
					t.Errorf("%s stands %d times on the page", it.Anchor, strings.Count(html, `id="`+it.Anchor+`"`))
				}
				if it.Number == "" {
					t.Errorf("%s has no number", it.Anchor)
				}
			}
		}
		if n < 60 {
			t.Errorf("%s: only %d questions", top.FullName(), n)
		}
		if strings.Contains(html, "&lt;nil&gt;") || strings.Contains(html, "%!") || strings.Contains(html, "ZgotmplZ") {
			t.Errorf("%s: the page shows what it should not", top.FullName())
		}
	}
}

func TestLanguages(t *testing.T) {
	top := (&surveyv1.Household{}).ProtoReflect().Descriptor()
	en, zh := page(t, top, Options{Languages: []string{"en"}}), page(t, top, Options{Languages: []string{"zh-Hans"}})
	if strings.Contains(en, "周岁") || !strings.Contains(en, "How old is this person") {
		t.Error("the English page is not in English")
	}
	if !strings.Contains(zh, "周岁") || strings.Contains(zh, "How old is this person") {
		t.Error("the Chinese page is not in Chinese")
	}
	if sw := page(t, top, Options{Languages: []string{"sw"}}); !strings.Contains(sw, "How old is this person") {
		t.Error("a language that the questionnaire has not got shows nothing")
	}
	if a, b := page(t, top, Options{}), page(t, top, Options{}); a != b {
		t.Error("the same questionnaire gives other bytes")
	}
}

func TestRulesNameQuestionsByNumber(t *testing.T) {
	html := page(t, (&surveyv1.Household{}).ProtoReflect().Descriptor(), Options{Languages: []string{"en"}})
	if strings.Contains(html, "this.") || strings.Contains(html, "root.") {
		i := strings.Index(html, "this.")
		if i < 0 {
			i = strings.Index(html, "root.")
		}
		t.Errorf("a rule stands in code: %s", html[max(0, i-200):i+100])
	}
	if !strings.Contains(html, "is “yes”") {
		t.Error("no rule is said in words")
	}
}

// However deep its group stands, a question is printed.
func TestDeepGroups(t *testing.T) {
	const depth = 32
	var b strings.Builder
	b.WriteString("edition = \"2023\";\npackage form.deep;\nimport \"hearth/form/v1/options.proto\";\n")
	for i := range depth {
		version := ""
		if i == 0 {
			version = " version: 1"
		}
		fmt.Fprintf(&b, "message M%d { option (hearth.form.v1.module) = {title: {en: \"m%d\"}%s}; int32 a = 1 [(hearth.form.v1.question).label.en = \"asked at %d.\"];\n", i, i, version, i)
		if i+1 < depth {
			fmt.Fprintf(&b, "M%d g = 2 [(hearth.form.v1.question).label.en = \"g\"];", i+1)
		}
		b.WriteString("}\n")
	}
	files, err := questionnaire.CompileProto(map[string]string{"deep.proto": b.String()}, "deep.proto")
	if err != nil {
		t.Fatal(err)
	}
	q, err := questionnaire.Load(files, "")
	if err != nil {
		t.Fatal(err)
	}
	html := page(t, q.Descriptor(), Options{})
	for i := range depth {
		if !strings.Contains(html, fmt.Sprintf("asked at %d.", i)) {
			t.Errorf("the question %d groups deep is not printed", i)
		}
	}
}
