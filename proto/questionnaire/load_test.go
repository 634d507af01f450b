package questionnaire

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/hearth-survey/hearth/proto/fault"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// formProto is the text of a questionnaire form.test with one top message T that has the fields given, an enum YesNo and
// what else is written after the message.
func formProto(fields, more string) string {
	return `edition = "2023";
package form.test;
import "buf/validate/validate.proto";
import "google/protobuf/timestamp.proto";
import "hearth/form/v1/options.proto";
import "hearth/survey/v1/place.proto";
enum YesNo { YES_NO_UNSPECIFIED = 0; YES_NO_YES = 1; YES_NO_NO = 2; }
message T {
  option (hearth.form.v1.module) = {title: {en: "T"} version: 2};
` + strings.NewReplacer("QUESTION", "(hearth.form.v1.question)", "MODULE", "option (hearth.form.v1.module)").Replace(fields+`
  map<uint32, hearth.form.v1.Missing> missing = 100 [QUESTION = {label: {en: "reasons"} system: true}];
}
`+more)
}

// loaded compiles and loads the text of a questionnaire.
func loaded(tb testing.TB, source string) *Questionnaire {
	tb.Helper()
	set, err := CompileProto(map[string]string{"form/test.proto": source}, "form/test.proto")
	if err != nil {
		tb.Fatal(err)
	}
	q, err := Load(set, "")
	if err != nil {
		tb.Fatal(err)
	}
	return q
}

func answersOf(tb testing.TB, q *Questionnaire, text string) proto.Message {
	tb.Helper()
	m := q.New()
	if err := protojson.Unmarshal([]byte(text), m); err != nil {
		tb.Fatal(err)
	}
	return m
}

func TestLoad(t *testing.T) {
	q := loaded(t, formProto(`
  int32 age = 1 [QUESTION = {label: {en: "Age"} checks: [{id: "adult" severity: SEVERITY_SOFT message: {en: "m"} expression: "this.age >= 18"}]}];
  YesNo works = 2 [QUESTION.label.en = "Works"];
  hearth.survey.v1.GeoPoint home = 3 [QUESTION.label.en = "Home"];`, ""))
	if q.Name() != "form.test.T" || q.Version() != 2 {
		t.Errorf("loaded %s version %d, want form.test.T version 2", q.Name(), q.Version())
	}
	home, ok := q.Top().Find("home")
	if !ok || home.Module == nil || home.Module.Reasons() {
		t.Errorf("home is %+v, want a block", home)
	}
	works, _ := q.Top().Find("works")
	if works.Choices == nil || len(works.Choices.List) != 2 || works.Choices.List[1].Name != "YES_NO_NO" {
		t.Errorf("works offers %+v, want yes and no", works.Choices)
	}
	e := q.Evaluate(answersOf(t, q, `{"age": 12}`), Options{})
	if len(e.Flags) != 1 || e.Flags[0].GetPath() != "age" || e.Flags[0].GetRule() != "form.test.T.age/adult" {
		t.Errorf("flags %v, want age/adult", e.Flags)
	}
	again, err := Load(q.Files(), q.Name())
	if err != nil || string(again.Fingerprint(2)) != string(q.Fingerprint(2)) {
		t.Errorf("loaded again: %v, fingerprint %x, want %x", err, again.Fingerprint(2), q.Fingerprint(2))
	}
}

func TestSetWith(t *testing.T) {
	q := loaded(t, formProto(`
  int32 age = 1 [QUESTION = {label: {en: "Age"} checks: [{id: "adult" severity: SEVERITY_SOFT message: {en: "m"} expression: "this.age >= 18"}]}];`, ""))
	s, err := builtin(t).With(q)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := proto.Marshal(answersOf(t, q, `{"age": 12}`))
	if err != nil {
		t.Fatal(err)
	}
	interview := func(name string, answers []byte) *surveyv1.Interview {
		return &surveyv1.Interview{Answers: &surveyv1.Interview_Other{Other: &surveyv1.OtherAnswers{Questionnaire: &name, Answers: answers}}}
	}
	for _, test := range []struct {
		what string
		iv   *surveyv1.Interview
		want []string
	}{
		{"a minor", interview("form.test.T", raw), []string{"other.answers.age form.test.T.age/adult"}},
		{"bytes that are no message", interview("form.test.T", []byte{7}), []string{"other.answers hearth.survey.v1.OtherAnswers.answers/answers_not_readable"}},
		{"another questionnaire", interview("form.other.T", raw), nil},
	} {
		var got []string
		for _, f := range s.Evaluate(test.iv) {
			got = append(got, f.GetPath()+" "+f.GetRule())
		}
		if strings.Join(got, ", ") != strings.Join(test.want, ", ") {
			t.Errorf("%s: flags %v, want %v", test.what, got, test.want)
		}
	}
	older := loaded(t, strings.Replace(formProto("", ""), "version: 2", "version: 1", 1))
	if _, err := s.With(older); fault.ReasonOf(err) != fault.BadSchema {
		t.Errorf("an older version takes the place of a newer one: %v", err)
	}
	if _, err := s.With(s.byName[len(s.byName)-1]); err == nil {
		t.Error("a questionnaire takes the place of one that is built in")
	}
}

func TestCompileProtoNamesPlaces(t *testing.T) {
	tests := []struct{ name, source, want string }{
		{"no protobuf", "edition = \"2023\";\nmessage {", "a.proto:2:9: syntax error"},
		{"two mistakes", "edition = \"2023\";\nmessage A { Foo a = 1; }\nmessage B { Bar b = 1; }", "a.proto:3:13: "},
		{"an import that is not there", "edition = \"2023\";\nimport \"b.proto\";", "a.proto:2:8: "},
		{"nested too deep", strings.Repeat("message A {\n", 200), "a.proto:101:11: brackets are nested more than 100 deep"},
		{"nested in an option only", "edition = \"2023\"; /* {{{ \n */ // {{\n option x = \"{\"; message A { A a = }", "a.proto:3:36: "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := CompileProto(map[string]string{"a.proto": test.source}, "a.proto")
			if err == nil || !strings.Contains(err.Error(), test.want) || fault.ReasonOf(err) != fault.BadSchema {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
	if _, err := CompileProto(map[string]string{"a.proto": ""}, "b.proto"); err == nil {
		t.Error("a file that is not there is compiled")
	}
}
