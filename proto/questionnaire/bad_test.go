package questionnaire

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/hearth-survey/hearth/proto/fault"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

// What is wrong with a questionnaire is named with its place.
func TestLoadNamesWhatIsWrong(t *testing.T) {
	number := func(options string) string {
		return fmt.Sprintf("int64 n = 1 [QUESTION.label.en = \"n\"]; double d = 2 [QUESTION.label.en = \"d\"];\n  int64 a = 3 [QUESTION = {label: {en: \"a\"} %s}];", options)
	}
	relevant := func(expression string) string { return number(fmt.Sprintf("relevant: %q", expression)) }
	tests := []struct{ name, fields, more, want string }{
		{"a field that is not there", relevant("this.m > 3"), "", `form/test.proto:11:16: field form.test.T.a relevant, line 1 column 5 of "this.m > 3": undefined field 'm'`},
		{"a type error", relevant("this.n + 'x' == 3"), "", `field form.test.T.a relevant, line 1 column 8 of "this.n + 'x' == 3": found no matching overload`},
		{"a double and an int", relevant("this.d > 3"), "", `found no matching overload for '_>_' applied to '(double, int)'`},
		{"a calculation of another type", number(`calculate: "'x'"`), "", `form/test.proto:11:16: field form.test.T.a calculate: "'x'" is of type string, which the field, of type int, cannot hold`},
		{"a circle of calculations", `int64 a = 1 [QUESTION = {label: {en: "a"} calculate: "this.b + 1"}]; int64 b = 2 [QUESTION = {label: {en: "b"} calculate: "this.c"}];
			int64 c = 3 [QUESTION = {label: {en: "c"} relevant: "this.a > 1"}];`, "",
			"form/test.proto:10:1: field form.test.T.a depends on itself: form.test.T.a reads form.test.T.b reads form.test.T.c reads form.test.T.a"},
		{"a circle through a roster", `repeated R rows = 1 [QUESTION = {label: {en: "r"} relevant: "this.total > 1"}]; int64 total = 2 [QUESTION = {label: {en: "t"} calculate: "sum(this.rows.map(r, r.x))"}];`,
			`message R { MODULE = {title: {en: "R"}}; int64 x = 1 [QUESTION.label.en = "x"]; }`, "form.test.T.rows reads form.test.T.total reads form.test.T.rows"},
		{"a group that is asked by what is in it", `G g = 1 [QUESTION = {label: {en: "g"} relevant: "this.g.x == 1"}];`,
			`message G { MODULE = {title: {en: "G"}}; int64 x = 1 [QUESTION.label.en = "x"]; }`, "form.test.T.g reads form.test.T.g"},
		{"a question that reads itself", relevant("this.a > 1"), "", "form.test.T.a reads form.test.T.a"},
		{"a repeat inside itself", `P p = 1 [QUESTION.label.en = "P"];`, `message P { MODULE = {title: {en: "P"}}; repeated P more = 1 [QUESTION.label.en = "P"]; }`, "message form.test.P contains itself"},
		{"two checks of one id", number(`checks: [{id: "c" severity: SEVERITY_SOFT message: {en: "m"} expression: "true"}, {id: "c" severity: SEVERITY_SOFT message: {en: "m"} expression: "true"}]`), "", `field form.test.T.a has two checks with the id "c"`},
		{"a check named like a rule of ours", number(`checks: [{id: "row_count"}]`), "", `"row_count", which Hearth keeps for itself`},
		{"a number that cannot be unset", "", `message U { MODULE = {title: {en: "U"} version: 1}; int32 a = 1 [QUESTION.label.en = "a", features.field_presence = IMPLICIT]; }`, "several messages have a version"},
		{"a field that cannot be unset", `int32 a = 1 [QUESTION.label.en = "a", features.field_presence = IMPLICIT];`, "", "field form.test.T.a cannot be unset: no answer and 0 would be the same"},
		{"a field that protobuf requires", `int32 a = 1 [QUESTION.label.en = "a", features.field_presence = LEGACY_REQUIRED];`, "", "field form.test.T.a is required by protobuf"},
		{"a date in a number", number("format: FORMAT_DATE"), "", "field form.test.T.a has the format FORMAT_DATE, which its type cannot hold"},
		{"a filter without choices", number(`filter: "true"`), "", "has a filter and offers no choices"},
		{"a count of what is no roster", number(`count: "3"`), "", "has a count of rows and is no roster"},
		{"a count that is no number", `repeated R rows = 1 [QUESTION = {label: {en: "r"} count: "'3'"}];`, `message R { MODULE = {title: {en: "R"}}; }`, `"'3'" is of type string, not a whole number`},
		{"chance in a relevance", relevant("random() > 0.5"), "", "uses random, uuid or once, which only calculate and initial may"},
		{"bytes", `bytes b = 1 [QUESTION.label.en = "b"]; int64 a = 3 [QUESTION = {label: {en: "a"} relevant: "size(this.b) > 1"}];`, "", "bytes cannot be used"},
		{"dyn", relevant("dyn(this.n) == 1"), "", "dyn() cannot be used"},
		{"type", relevant("type(this.n) == int"), "", "cannot be used"},
		{"uint", relevant("uint(this.n) == 1u"), "", "uint() cannot be used"},
		{"null", relevant("this.n == null"), "", "found no matching overload"},
		{"a map", relevant("{'a': 1}['a'] == 1"), "", "maps and messages cannot be made"},
		{"a message made", relevant("has(hearth.survey.v1.GeoPoint{}.latitude)"), "", "maps and messages cannot be made"},
		{"the name of a choice", relevant("this.n == form.test.YesNo.YES_NO_YES"), "", "the name of a constant cannot be used"},
		{"messages compared", `hearth.survey.v1.GeoPoint x = 1 [QUESTION.label.en = "x"]; hearth.survey.v1.GeoPoint y = 2 [QUESTION = {label: {en: "y"} checks: [{id: "c" severity: SEVERITY_SOFT message: {en: "m"} expression: "this.x == this.y"}]}];`, "", "messages cannot be compared"},
		{"the map of reasons", relevant("this.missing[1u] == 1"), "", "missing cannot be read: only questions can"},
		{"choice where there is none", relevant("choice.name == 'a'"), "", "undeclared reference to 'choice'"},
		{"choice in a check that is the filter too", `int32 a = 1 [QUESTION = {label: {en: "a"} choices: "t" filter: "choice.k == 'x'" checks: [{id: "c" severity: SEVERITY_SOFT message: {en: "m"} expression: "choice.k == 'x'"}]}];`,
			`option (hearth.form.v1.table) = {name: "t" rows: [{number: 1 choice: {name: "b"}}]};`, "undeclared reference to 'choice'"},
		{"value where there is none", relevant("value == 1"), "", "undeclared reference to 'value'"},
		{"the row of what is in no roster", relevant("position == 1"), "", "undeclared reference to 'position'"},
		{"what is around the top", relevant("up1.n == 1"), "", "undeclared reference to 'up1'"},
		{"a name of ours", relevant("@now == ''"), "", "Syntax error"},
		{"a regular expression that looks ahead", relevant("text(this.n).matches('(?=x)')"), "", "is no regular expression"},
		{"a text of a double", relevant("string(this.d) == '1'"), "", "use text()"},
		{"no table", `int32 a = 1 [QUESTION = {label: {en: "a"} choices: "towns"}];`, "", `names the table of choices "towns", which file form/test.proto does not have`},
		{"a table for a text", `string a = 1 [QUESTION = {label: {en: "a"} choices: "t"}];`, `option (hearth.form.v1.table) = {name: "t"};`, "only an int32, or a list of them"},
		{"two rows of one number", "", `option (hearth.form.v1.table) = {name: "t" rows: [{number: 3}, {number: 3}]};`, `table of choices "t" of file form/test.proto has two choices with the number 3`},
		{"two rows of one name", "", `option (hearth.form.v1.table) = {name: "t" rows: [{number: 1 choice: {name: "a"}}, {number: 2 choice: {name: "a"}}]};`, `has two choices with the name "a"`},
		{"two rows of one code", "", `option (hearth.form.v1.table) = {name: "t" rows: [{number: 1 choice: {name: "a" code: 2}}, {number: 2 choice: {name: "b"}}]};`, `has two choices, "a" and "b", with the code 2`},
		{"a row of no number", "", `option (hearth.form.v1.table) = {name: "t" rows: [{choice: {name: "a"}}]};`, "has a row with the number 0; numbers begin with 1"},
		{"two tables of one name", "", `option (hearth.form.v1.table) = {name: "t"}; option (hearth.form.v1.table) = {name: "t"};`, `table of choices "t" of file form/test.proto is there twice`},
		{"two values of one number", `A a = 1 [QUESTION.label.en = "a"];`, `enum A { option allow_alias = true; A_UNSPECIFIED = 0; A_ONE = 1; A_UNO = 1; }`, "enum form.test.A has two choices with the number 1"},
		{"two values of one name", `A a = 1 [QUESTION.label.en = "a"];`, `enum A { A_UNSPECIFIED = 0; A_ONE = 1 [(hearth.form.v1.choice).name = "x"]; A_TWO = 2 [(hearth.form.v1.choice).name = "x"]; }`, `enum form.test.A has two choices with the name "x"`},
		{"a list that is calculated", `repeated int64 a = 1 [QUESTION = {label: {en: "a"} calculate: "[1]"}];`, "", "cannot hold"},
		{"an expression of megabytes", relevant("true" + strings.Repeat(" || true", 1<<18)), "", "field form.test.T.a relevant, line"},
		{"brackets without end", relevant(strings.Repeat("(", 5000) + "true" + strings.Repeat(")", 5000)), "", "field form.test.T.a relevant, line"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			began := time.Now()
			set, err := CompileProto(map[string]string{"form/test.proto": formProto(test.fields, strings.NewReplacer("QUESTION", "(hearth.form.v1.question)", "MODULE", "option (hearth.form.v1.module)").Replace(test.more))}, "form/test.proto")
			if err == nil {
				_, err = Load(set, "")
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %.600v, want one with %q", err, test.want)
			}
			if len(err.Error()) > 2000 {
				t.Errorf("the error has %d characters", len(err.Error()))
			}
			if got := fault.ReasonOf(err); got != fault.BadSchema {
				t.Errorf("reason %q, want %q", got, fault.BadSchema)
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// Groups that each stand twice in the one before are few in the file, and more than anybody can be asked.
func TestGroupsThatStandEverywhere(t *testing.T) {
	var more strings.Builder
	for i := range 28 {
		fmt.Fprintf(&more, "message G%d { MODULE = {title: {en: \"G\"}}; ", i)
		for n := 1; n <= 2 && i < 27; n++ {
			fmt.Fprintf(&more, "G%d g%d = %d [QUESTION.label.en = \"g\"]; ", i+1, n, n)
		}
		more.WriteString("int32 n = 3 [QUESTION.label.en = \"n\"]; }\n")
	}
	source := formProto(`G0 g = 1 [QUESTION.label.en = "g"];`, strings.NewReplacer("QUESTION", "(hearth.form.v1.question)", "MODULE", "option (hearth.form.v1.module)").Replace(more.String()))
	set, err := CompileProto(map[string]string{"form/test.proto": source}, "form/test.proto")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Load(set, ""); err == nil || !strings.Contains(err.Error(), "has more than 100000 questions in it") {
		t.Errorf("Load: %.300v, want it refused", err)
	}
}

// A table of 100,000 communities with a filter loads, and is looked into, in no time.
func TestLargeTables(t *testing.T) {
	if testing.Short() {
		t.Skip("whole mode builds the 100,000 rows")
	}
	source := formProto(`
  int64 county = 1 [QUESTION.label.en = "County"];
  int32 village = 2 [QUESTION = {label: {en: "Village"} choices: "villages" filter: "choice.county == text(this.county)"}];
  string name = 3 [QUESTION = {label: {en: "="} calculate: "lookup('villages', 'label', 'name', text(this.village))"}];`, "")
	set, err := CompileProto(map[string]string{"form/test.proto": source}, "form/test.proto")
	if err != nil {
		t.Fatal(err)
	}
	table := &formv1.ChoiceTable{Name: proto.String("villages")}
	for i := range int32(100_000) {
		table.Rows = append(table.Rows, &formv1.ChoiceRow{Number: proto.Int32(i + 1), Choice: &formv1.Choice{
			Name: proto.String(fmt.Sprint(i + 1)), Label: text(fmt.Sprintf("Village %d", i+1), ""), Columns: map[string]string{"county": fmt.Sprint(i / 100)},
		}})
	}
	file := set.File[len(set.File)-1]
	if file.Options == nil {
		file.Options = &descriptorpb.FileOptions{}
	}
	proto.SetExtension(file.Options, formv1.E_Table, []*formv1.ChoiceTable{table})
	q, err := Load(set, "")
	if err != nil {
		t.Fatal(err)
	}
	start := processor()
	for i := range 50 {
		e := q.Evaluate(answersOf(t, q, fmt.Sprintf(`{"county": "%d", "village": %d}`, i*5, i*500+1)), Options{})
		if len(e.Flags) != 0 || len(e.Calculated) != 1 || e.Calculated[0].Value != fmt.Sprintf("Village %d", i*500+1) {
			t.Fatalf("village %d: flags %v, calculated %v", i*500+1, e.Flags, e.Calculated)
		}
	}
	if took := processor() - start; took > 2*time.Second {
		t.Errorf("50 evaluations took %v of processor time", took)
	}
	s := session(t, q, answersOf(t, q, `{"county": "7"}`), Options{})
	if offered, err := s.Offered("village"); err != nil || len(offered) != 100 || offered[0].Number != 701 {
		t.Errorf("%d villages are offered, %v", len(offered), err)
	}
	if e := q.Evaluate(answersOf(t, q, `{"county": "7", "village": 1}`), Options{}); len(e.Flags) != 1 || !strings.HasSuffix(e.Flags[0].GetRule(), "/not_offered") {
		t.Errorf("a village of another county has the flags %v", e.Flags)
	}
}

func TestTooManyQuestions(t *testing.T) {
	set, err := CompileProto(map[string]string{"form/test.proto": formProto(`int32 one = 1 [QUESTION.label.en = "q"];`, "")}, "form/test.proto")
	if err != nil {
		t.Fatal(err)
	}
	file := set.File[len(set.File)-1]
	file.SourceCodeInfo = nil
	top := file.MessageType[0]
	for i := range int32(maxQuestions) {
		more := proto.CloneOf(top.Field[0])
		name := fmt.Sprintf("q%d", i)
		more.Name, more.JsonName, more.Number = &name, &name, proto.Int32(20_000+i)
		top.Field = append(top.Field, more)
	}
	if _, err := Load(set, ""); err == nil || !strings.Contains(err.Error(), "is one too many") {
		t.Errorf("error %v, want one of too many questions", err)
	}
}

// Whatever an expression does, evaluation comes to an end, and says that the rule could not be carried out.
func TestExpressionsAreBounded(t *testing.T) {
	rows := func(n int) string {
		return `{"s": "aaaaaaaaaa", "rows": [` + strings.Repeat(`{"x": "1"},`, n-1) + `{"x": "1"}]}`
	}
	tests := []struct{ name, expression, answers string }{
		{"rows of rows of rows of rows", "this.rows.all(a, this.rows.all(b, this.rows.all(c, this.rows.all(d, a.x + b.x + c.x + d.x > 0))))", rows(200)},
		{"a list of lists", "size(this.rows.map(a, this.rows.map(b, this.rows.map(c, this.rows.map(d, d.x))))) > 0", rows(150)},
		{"a text that grows by itself", "size(" + strings.Repeat("replace(", 12) + "this.s" + strings.Repeat(", 'a', this.s)", 12) + ") > 0", rows(1)},
		{"texts put together", "size(" + strings.Repeat("join(this.rows.map(r, ", 5) + "this.s" + strings.Repeat("), this.s)", 5) + ") > 0", rows(200)},
		{"whole numbers that overflow", "this.rows.map(r, r.x * 9223372036854775807 + 1).exists(x, x > 0)", rows(2)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			q := loaded(t, formProto(fmt.Sprintf(`string s = 1 [QUESTION.label.en = "s"]; repeated R rows = 2 [QUESTION.label.en = "r"];
  int64 a = 3 [QUESTION = {label: {en: "a"} relevant: %q}];`, test.expression),
				strings.NewReplacer("QUESTION", "(hearth.form.v1.question)", "MODULE", "option (hearth.form.v1.module)").Replace(`message R { MODULE = {title: {en: "R"}}; int64 x = 1 [QUESTION.label.en = "x"]; }`)))
			start := processor()
			e := q.Evaluate(answersOf(t, q, test.answers), Options{})
			if took := processor() - start; took > 3*time.Second {
				t.Errorf("it took %v of processor time", took)
			}
			if len(e.Flags) != 1 || e.Flags[0].GetRule() != "form.test.T.a/expression_failed" {
				t.Errorf("flags %v, want expression_failed", e.Flags)
			}
		})
	}
}

func FuzzLoad(f *testing.F) {
	for _, source := range []string{formProto(`int32 a = 1 [QUESTION.label.en = "a"];`, ""), largeForm(20)} {
		set, err := CompileProto(map[string]string{"form/test.proto": source}, "form/test.proto")
		if err != nil {
			f.Fatal(err)
		}
		set.File = set.File[len(set.File)-1:] // what is linked in stands before it
		raw, err := proto.Marshal(set)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	own, err := CompileProto(map[string]string{"form/test.proto": formProto("", "")}, "form/test.proto")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		set := &descriptorpb.FileDescriptorSet{}
		if err := proto.Unmarshal(raw, set); err != nil {
			return
		}
		set.File = append(append([]*descriptorpb.FileDescriptorProto(nil), own.File[:len(own.File)-1]...), set.File...)
		q, err := Load(set, "")
		if err != nil {
			if fault.ReasonOf(err) != fault.BadSchema {
				t.Errorf("reason %q of %v", fault.ReasonOf(err), err)
			}
			return
		}
		q.Evaluate(q.New(), Options{Completed: true})
		session(t, q, q.New(), Options{}).Evaluation()
	})
}

func FuzzCompileProto(f *testing.F) {
	f.Add(formProto(`int32 a = 1 [QUESTION.label.en = "a"];`, ""))
	f.Add("edition = \"2023\"; message A { A a = 1; }")
	f.Add(largeForm(20))
	f.Fuzz(func(t *testing.T, source string) {
		set, err := CompileProto(map[string]string{"a.proto": source}, "a.proto")
		if err != nil {
			return
		}
		if _, err := Load(set, ""); err != nil && fault.ReasonOf(err) != fault.BadSchema {
			t.Errorf("reason %q of %v", fault.ReasonOf(err), err)
		}
	})
}
