package questionnaire

import (
	"context"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/hearth-survey/hearth/proto/fault"
)

// interviewOf compiles the text of a schema with a message Visit, which stands for the interview.
func interviewOf(t *testing.T, body string) protoreflect.MessageDescriptor {
	t.Helper()
	source := `edition = "2023";
package test.v1;
import "buf/validate/validate.proto";
import "google/protobuf/timestamp.proto";
import "hearth/form/v1/options.proto";
enum Answer {
  ANSWER_UNSPECIFIED = 0;
  ANSWER_YES = 1;
  ANSWER_LATER = 2 [(hearth.form.v1.choice).since = 2];
}
` + strings.NewReplacer("QUESTION", "(hearth.form.v1.question)", "MODULE", "option (hearth.form.v1.module)").Replace(body)
	linked := protocompile.ResolverFunc(func(path string) (protocompile.SearchResult, error) {
		d, err := protoregistry.GlobalFiles.FindFileByPath(path)
		return protocompile.SearchResult{Desc: d}, err
	})
	c := protocompile.Compiler{Resolver: protocompile.CompositeResolver{
		&protocompile.SourceResolver{Accessor: protocompile.SourceAccessorFromMap(map[string]string{"test.proto": source})}, linked,
	}}
	files, err := c.Compile(context.Background(), "test.proto")
	if err != nil {
		t.Fatal(err)
	}
	// Marshalled and read again, the options are the Go extensions.
	raw, err := proto.Marshal(protodesc.ToFileDescriptorProto(files[0]))
	if err != nil {
		t.Fatal(err)
	}
	file := &descriptorpb.FileDescriptorProto{}
	if err := proto.Unmarshal(raw, file); err != nil {
		t.Fatal(err)
	}
	d, err := protodesc.NewFile(file, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	return d.Messages().ByName("Visit")
}

const visit = `
message Visit {
  MODULE = {title: {en: "Visit"} version: 1};
  oneof answers { Q q = 50 [QUESTION.label.en = "Q"]; }
}
`

// in is a questionnaire with one field.
func in(field string) string {
	return visit + `message Q { MODULE = {title: {en: "Q"} version: 2}; ` + field + `
  int32 age = 30 [QUESTION.label.en = "Age"]; map<uint32, hearth.form.v1.Missing> missing = 100; }`
}

func TestBadSchemasAreNamed(t *testing.T) {
	tests := []struct{ name, schema, want string }{
		{"a typing error", in(`int32 a = 1 [QUESTION = {label: {en: "A"} relevant: "this.agee > 3"}];`),
			`field test.v1.Q.a relevant, line 1 column 5 of "this.agee > 3": undefined field 'agee'`},
		{"a comparison with a text", in(`int32 a = 1 [QUESTION = {label: {en: "A"} checks: [{id: "c" severity: SEVERITY_SOFT message: {en: "m"} expression: "this.age > 'x'"}]}];`),
			`field test.v1.Q.a check c, line 1 column 10 of "this.age > 'x'": found no matching overload`},
		{"a condition on the second line", in(`int32 a = 1 [QUESTION = {label: {en: "A"} relevant: "this.age > 3\n && root.b"}];`),
			`field test.v1.Q.a relevant, line 2 column 9`},
		{"a condition that is a number", in(`int32 a = 1 [QUESTION = {label: {en: "A"} relevant: "this.age"}];`), `field test.v1.Q.a relevant: "this.age" is of type int`},
		{"not an expression", in(`int32 a = 1 [QUESTION = {label: {en: "A"} relevant: "this.age >"}];`), `field test.v1.Q.a relevant, line 1 column 11`},
		{"a calculation of another type", in(`int32 a = 1 [QUESTION = {label: {en: "A"} calculate: "'x'"}];`), `field test.v1.Q.a calculate: "'x'" is of type string`},
		{"no label", in(`int32 a = 1;`), "field test.v1.Q.a has no label"},
		{"no title", visit + `message Q { MODULE = {version: 1}; }`, "message test.v1.Q has no title"},
		{"a check without an id", in(`int32 a = 1 [QUESTION = {label: {en: "A"} checks: [{expression: "true"}]}];`), `has a check with the id ""`},
		{"a check with an id of ours", in(`int32 a = 1 [QUESTION = {label: {en: "A"} checks: [{id: "required"}]}];`), `which Hearth keeps for itself`},
		{"two checks with one id", in(`int32 a = 1 [QUESTION = {label: {en: "A"} checks: [
			{id: "c" severity: SEVERITY_SOFT message: {en: "m"} expression: "true"}, {id: "c" severity: SEVERITY_SOFT message: {en: "m"} expression: "true"}]}];`), `two checks with the id "c"`},
		{"a check without a severity", in(`int32 a = 1 [QUESTION = {label: {en: "A"} checks: [{id: "c" message: {en: "m"} expression: "true"}]}];`), "soft or hard"},
		{"a check without a message", in(`int32 a = 1 [QUESTION = {label: {en: "A"} checks: [{id: "c" severity: SEVERITY_SOFT expression: "true"}]}];`), "no message for its check c"},
		{"a check without an expression", in(`int32 a = 1 [QUESTION = {label: {en: "A"} checks: [{id: "c" severity: SEVERITY_SOFT message: {en: "m"}}]}];`), "without an expression"},
		{"versions the wrong way round", in(`int32 a = 1 [QUESTION = {label: {en: "A"} since: 2 until: 1}];`), "ends in version 1 before it begins"},
		{"no reason for a missing reason", in(`int32 a = 1 [QUESTION = {label: {en: "A"} missing: [MISSING_UNSPECIFIED]}];`), "accepts the missing reason 0"},
		{"a map", in(`map<string, string> a = 1 [QUESTION.label.en = "A"];`), "field test.v1.Q.a is a map"},
		{"a repeat inside itself", in(`P p = 1 [QUESTION.label.en = "P"];`) + `message P { MODULE = {title: {en: "P"}}; repeated P more = 1 [QUESTION.label.en = "P"]; }`, "message test.v1.P contains itself"},
		{"a field rule that is not known", in(`string a = 1 [QUESTION.label.en = "A", (buf.validate.field).string.email = true];`), "field rule string.email"},
		{"a field rule in CEL", in(`string a = 1 [QUESTION.label.en = "A", (buf.validate.field).cel = {id: "x" expression: "true"}];`), "field rule field.cel"},
		{"a range with nothing in it", in(`int32 a = 1 [QUESTION.label.en = "A", (buf.validate.field).int32 = {gte: 5 lte: 3}];`), "which no number is"},
		{"no version of the interview", `message Visit { MODULE = {title: {en: "V"}}; }`, "message test.v1.Visit has no version"},
		{"no questionnaire", `message Visit { MODULE = {title: {en: "V"} version: 1}; }`, "message test.v1.Visit has no questionnaire"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := compileSet(interviewOf(t, test.schema))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %q, want one with %q", err, test.want)
			}
			if got := fault.ReasonOf(err); got != fault.BadSchema {
				t.Errorf("reason %q, want %q", got, fault.BadSchema)
			}
		})
	}
}

// evaluateJSON evaluates a message of a schema that is not the interview's.
func evaluateJSON(t *testing.T, s *Set, version uint32, text string) []string {
	t.Helper()
	m := dynamicpb.NewMessage(s.interview.Desc)
	if err := protojson.Unmarshal([]byte(text), m); err != nil {
		t.Fatal(err)
	}
	e := newEvaluation(Options{Completed: true, Version: version})
	defer e.release()
	e.walk(e.top(s.interview, view{m: m}, 0), true)
	var got []string
	for _, f := range e.flags {
		got = append(got, f.GetPath()+" "+strings.TrimPrefix(f.GetRule(), "test.v1."))
	}
	return got
}

func compiled(t *testing.T, schema string) *Set {
	t.Helper()
	s, err := compileSet(interviewOf(t, schema))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOldVersionsDoNotRequireNewQuestions(t *testing.T) {
	s := compiled(t, in(`
		int32 a = 1 [QUESTION = {label: {en: "A"} required: true}];
		int32 b = 2 [QUESTION = {label: {en: "B"} required: true since: 2}];
		int32 c = 3 [QUESTION = {label: {en: "C"} required: true until: 1}];`))
	for version, want := range map[uint32][]string{
		0: {"q.a Q.a/required", "q.b Q.b/required"}, // not said: the current one
		1: {"q.a Q.a/required", "q.c Q.c/required"},
		2: {"q.a Q.a/required", "q.b Q.b/required"},
		9: {"q.a Q.a/required", "q.b Q.b/required"}, // of a newer program
	} {
		if diff := cmp.Diff(want, evaluateJSON(t, s, version, `{"q": {}}`)); diff != "" {
			t.Errorf("flags in version %d differ (-want +got):\n%s", version, diff)
		}
	}
}

func TestConditionsThatFail(t *testing.T) {
	s := compiled(t, in(`
		int32 a = 1 [QUESTION = {label: {en: "A"} required: true relevant: "10 / this.age == 5"}];
		int32 b = 2 [QUESTION = {label: {en: "B"} relevant: "this.age % 0 == 1"
			checks: [{id: "c" severity: SEVERITY_HARD message: {en: "m"} expression: "10 / this.age == 5"}]}];
		repeated R rows = 3 [QUESTION = {label: {en: "R"} relevant: "this.age == 7"}];`)+
		`message R { MODULE = {title: {en: "R"}}; int32 x = 1 [QUESTION = {label: {en: "X"} required: true}]; }`)
	tests := []struct {
		text string
		want []string
	}{
		{`{"q": {"age": 2}}`, []string{"q.a Q.a/required", "q.b Q.b/expression_failed"}},
		{`{"q": {"age": 1}}`, []string{"q.b Q.b/expression_failed"}},
		// Where the rule fails the question is asked, and so needs its answer.
		{`{"q": {"age": 0}}`, []string{"q.a Q.a/required", "q.a Q.a/expression_failed", "q.b Q.b/expression_failed"}},
		{`{"q": {"age": 0, "a": 1, "b": 1}}`, []string{"q.a Q.a/expression_failed", "q.b Q.b/expression_failed"}},
		{`{"q": {"age": 1, "b": 1}}`, []string{"q.b Q.b/c", "q.b Q.b/expression_failed"}},
		// Unset is not zero: nothing is divided.
		{`{"q": {}}`, nil},
		{`{"q": {"age": 7, "rows": [{}, {"x": 1}]}}`, []string{"q.b Q.b/expression_failed", "q.rows[0].x R.x/required"}},
		// Nothing is required in rows that were not to be asked for.
		{`{"q": {"age": 8, "rows": [{}]}}`, []string{"q.b Q.b/expression_failed", "q.rows Q.rows/answered_but_not_relevant"}},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, evaluateJSON(t, s, 2, test.text)); diff != "" {
			t.Errorf("flags of %s differ (-want +got):\n%s", test.text, diff)
		}
	}
}

// A block that two questionnaires share cannot know the type of its root; it may use it all the same.
func TestRootOfSharedBlocks(t *testing.T) {
	s := compiled(t, `
message Visit { MODULE = {title: {en: "V"} version: 1};
  oneof answers { Q q = 50 [QUESTION.label.en = "Q"]; P p = 51 [QUESTION.label.en = "P"]; } }
message Q { MODULE = {title: {en: "Q"} version: 1}; B b = 1 [QUESTION.label.en = "B"]; int32 age = 2 [QUESTION.label.en = "A"]; }
message P { MODULE = {title: {en: "P"} version: 1}; B b = 1 [QUESTION.label.en = "B"]; }
message B { MODULE = {title: {en: "B"}}; int32 x = 1 [QUESTION = {label: {en: "X"} relevant: "root.age > 3"}]; }`)
	tests := map[string][]string{
		`{"q": {"age": 4, "b": {"x": 1}}}`: nil,
		`{"q": {"age": 2, "b": {"x": 1}}}`: {"q.b.x B.x/answered_but_not_relevant"},
		`{"p": {"b": {"x": 1}}}`:           {"p.b.x B.x/expression_failed"}, // P has no age
	}
	for text, want := range tests {
		if diff := cmp.Diff(want, evaluateJSON(t, s, 1, text)); diff != "" {
			t.Errorf("flags of %s differ (-want +got):\n%s", text, diff)
		}
	}
	if got, want := len(s.All()), 2; got != want {
		t.Errorf("%d questionnaires, want %d", got, want)
	}
}
