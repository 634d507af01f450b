package questionnaire

import (
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"

	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"pgregory.net/rapid"
)

// surveyText is a small questionnaire with places in which tests change it.
const surveyText = `edition = "2023";
package form.village;
import "hearth/form/v1/options.proto";
enum Education {
  option (hearth.form.v1.list) = {title: {en: "Education" zh: "文化程度"}};
  EDUCATION_UNSPECIFIED = 0;
  PRIMARY = 1 [(hearth.form.v1.choice) = {label: {en: "primary school" zh: "小学"}}];
  SECONDARY = 2 [(hearth.form.v1.choice) = {label: {en: "secondary school" zh: "中学"}}];
  UNIVERSITY = 3 [(hearth.form.v1.choice) = {label: {en: "university" zh: "大学"}}];
}
message Member {
  option (hearth.form.v1.module) = {title: {en: "Member" zh: "成员"} level: "member"};
  string name = 1 [(hearth.form.v1.question) = {label: {en: "Name" zh: "姓名"} personal_data: PERSONAL_DATA_DIRECT_IDENTIFIER required: true}];
  int32 age = 2 [(hearth.form.v1.question) = {
    label: {en: "How old?" zh: "年龄"} unit: "years"
    checks: [{id: "possible" expression: "this.age < 130" severity: SEVERITY_HARD message: {en: "Too old." zh: "年龄过大。"}}]
  }];
  Education education = 14 [(hearth.form.v1.question) = {label: {en: "Highest school" zh: "最高学历"} relevant: "this.age > 5"}];
}
message Village {
  option (hearth.form.v1.module) = {title: {en: "Village" zh: "村庄"} version: 1};
  string note = 1 [(hearth.form.v1.question) = {label: {en: "Note" zh: "备注"}}];
  repeated Member members = 2 [(hearth.form.v1.question) = {label: {en: "Members" zh: "成员"}}];
  double income = 3 [(hearth.form.v1.question) = {label: {en: "Income" zh: "收入"} unit: "yuan"}];
}
`

// loadVillage compiles the text after replacements, which must all be found; pairs of old and new.
func loadVillage(t testing.TB, edits ...string) *Questionnaire {
	t.Helper()
	q, err := tryVillage(t, edits...)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func tryVillage(t testing.TB, edits ...string) (*Questionnaire, error) {
	t.Helper()
	text := surveyText
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(text, edits[i]) {
			t.Fatalf("the text has no %q", edits[i])
		}
		text = strings.ReplaceAll(text, edits[i], edits[i+1])
	}
	files, err := CompileProto(map[string]string{"village.proto": text}, "village.proto")
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return Load(files, "")
}

// v2 raises the version.
var v2 = []string{"version: 1}", "version: 2}"}

func TestCompare(t *testing.T) {
	const (
		f = servicev1.ChangeSeverity_CHANGE_SEVERITY_FREE
		d = servicev1.ChangeSeverity_CHANGE_SEVERITY_DECLARE
		r = servicev1.ChangeSeverity_CHANGE_SEVERITY_REFUSED
	)
	for _, c := range []struct {
		about string
		edits []string
		kind  string
		s     servicev1.ChangeSeverity
		path  string
		en    string // a part of the sentence
	}{
		{"an answer is added", append([]string{"    \n", "", `"大学"}}];`, `"大学"}}];
			DOCTORATE = 9 [(hearth.form.v1.choice) = {label: {en: "doctorate" zh: "博士"}}];`}[2:], v2...),
			ChangeChoiceAdded, f, "members.education", "Question 14 of the roster *members*, *education*, has a new answer 9 *doctorate* (博士)."},
		{"a question is added", append([]string{`double income`, `bool poor = 9 [(hearth.form.v1.question) = {label: {en: "Poor?" zh: "贫困"}}]; double income`}, v2...),
			ChangeAdded, f, "poor", "There is a new question 9, *poor*: “Poor?”."},
		{"a question says it was always there", append([]string{`double income`, `bool poor = 9 [(hearth.form.v1.question) = {label: {en: "Poor?"} since: 1}]; double income`}, v2...),
			ChangeSpan, r, "poor", "version 1 was published without it"},
		{"a question is gone", append([]string{`string note = 1 [(hearth.form.v1.question) = {label: {en: "Note" zh: "备注"}}];`, ``}, v2...),
			ChangeRemoved, r, "note", "Question 1, *note*, is gone"},
		{"a question ends", append([]string{`zh: "备注"}`, `zh: "备注"} until: 1`}, v2...), ChangeEnded, f, "note", "is asked until version 1"},
		{"a rename nobody declared", append([]string{`string note`, `string remark`}, v2...), ChangeRenamed, d, "remark", "was called *note*"},
		{"a rename", append([]string{`string note = 1 [(hearth.form.v1.question) = {`, `string remark = 1 [(hearth.form.v1.question) = {earlier: {until: 1 name: "note"} `}, v2...),
			ChangeRenamed, f, "remark", "as is declared"},
		{"a number used again, perhaps", append([]string{`string note = 1 [(hearth.form.v1.question) = {label: {en: "Note" zh: "备注"}`, `string car = 1 [(hearth.form.v1.question) = {label: {en: "Car" zh: "汽车"}`}, v2...),
			ChangeReused, d, "car", "was called *note*"},
		{"a number used again", append([]string{`string note`, `bool car`}, v2...), ChangeReused, r, "car", "is another question: it holds yes or no, that held a text"},
		{"a type", append([]string{`double income`, `string income`}, v2...), ChangeType, r, "income", "holds a text, and held a decimal number"},
		{"a wider type", append([]string{`int32 age`, `int64 age`}, v2...), ChangeWidened, f, "members.age", "holds larger numbers"},
		{"one choice becomes several", append([]string{`Education education`, `repeated Education education`, `this.age > 5`, `this.age > 5`}, v2...), ChangeType, r, "members.education", "holds several choices, and held one choice"},
		{"a roster becomes a group", append([]string{`repeated Member members`, `Member members`}, v2...), ChangeRosterGroup, r, "members", "holds a group, and held a roster"},
		{"a number moves, nobody declared it", append([]string{`double income = 3`, `double income = 8`}, v2...), ChangeMoved, d, "income", "has number 8 now"},
		{"a number moves", append([]string{`double income = 3 [(hearth.form.v1.question) = {`, `double income = 8 [(hearth.form.v1.question) = {earlier: {until: 1 number: 3} `}, v2...), ChangeMoved, f, "income", "as is declared"},
		{"an answer is gone", append([]string{"  PRIMARY = 1 [(hearth.form.v1.choice) = {label: {en: \"primary school\" zh: \"小学\"}}];\n", ""}, v2...), ChangeChoiceRemoved, r, "members.education", "has no answer 1 *primary school* (小学) any more"},
		{"an answer is gone, as is declared", append([]string{"  PRIMARY = 1 [(hearth.form.v1.choice) = {label: {en: \"primary school\" zh: \"小学\"}}];\n", "", `relevant: "this.age > 5"`, `earlier: {until: 1 codes: {from: 1 to: 2}}`}, v2...),
			ChangeChoiceRemoved, f, "members.education", "it counts as 2, as is declared"},
		{"an answer has another number", append([]string{"UNIVERSITY = 3", "UNIVERSITY = 4"}, v2...), ChangeChoiceNumber, d, "members.education", "has answer 3 *university* (大学) under number 4 now"},
		{"an answer's number is used again", append([]string{`UNIVERSITY = 3 [(hearth.form.v1.choice) = {label: {en: "university" zh: "大学"}`, `NONE = 3 [(hearth.form.v1.choice) = {label: {en: "none" zh: "无"}`}, v2...),
			ChangeChoiceReused, d, "members.education", "had answer 3 *university* (大学), and has 3 *none* (无) in its place"},
		{"an answer ends", append([]string{`label: {en: "primary school" zh: "小学"}`, `label: {en: "primary school" zh: "小学"} until: 1`}, v2...), ChangeChoiceEnded, f, "members.education", "does not offer answer 1 *primary school* (小学) any more"},
		{"words of an answer", []string{`"primary school"`, `"primary"`}, ChangeChoiceText, f, "members.education", "calls answer 1 *primary school* (小学) now 1 *primary* (小学)"},
		{"words", []string{`"How old?"`, `"Age?"`}, ChangeText, f, "members.age", "asked “How old?” and asks “Age?”"},
		{"order", []string{`  double income = 3 [(hearth.form.v1.question) = {label: {en: "Income" zh: "收入"} unit: "yuan"}];`, ``, `  string note`, `  double income = 3 [(hearth.form.v1.question) = {label: {en: "Income" zh: "收入"} unit: "yuan"}];
  string note`}, ChangeOrder, f, "", "stand in another order, from *income* on"},
		{"relevance", append([]string{`this.age > 5`, `this.age > 6`}, v2...), ChangeRelevance, f, "members.education", "is asked where `this.age > 6`, and was asked where `this.age > 5`"},
		{"required", append([]string{` required: true`, ``}, v2...), ChangeRequired, f, "members.name", "is not required, and was required"},
		{"a check", append([]string{`this.age < 130`, `this.age < 120`}, v2...), ChangeCheck, f, "members.age", "has another check possible"},
		{"a check goes", append([]string{`checks: [{id: "possible" expression: "this.age < 130" severity: SEVERITY_HARD message: {en: "Too old." zh: "年龄过大。"}}]`, ``}, v2...), ChangeCheckRemoved, f, "members.age", "has no check possible any more"},
		{"a unit", append([]string{`unit: "yuan"`, `unit: "1000 yuan"`}, v2...), ChangeUnit, d, "income", "is in “1000 yuan”, and was in “yuan”"},
		{"a unit with its conversion", append([]string{`unit: "yuan"`, `unit: "1000 yuan" earlier: {until: 1 value: "this.income / 1000.0"}`}, v2...), ChangeUnit, f, "income", "how to convert it is declared"},
		{"less privacy", append([]string{`PERSONAL_DATA_DIRECT_IDENTIFIER`, `PERSONAL_DATA_NONE`}, v2...), ChangePrivacyLowered, d, "members.name", "counts as no personal data, and counted as direct identifier"},
		{"a forgotten version", []string{`this.age > 5`, `this.age > 6`}, ChangeVersion, r, "", "it is still version 1"},
		{"a version left out", []string{"version: 1}", "version: 3}"}, ChangeVersion, r, "", "The version is 3; the last one published is 1."},
		{"another questionnaire", []string{"package form.village", "package form.town"}, ChangeQuestionnaire, r, "", "another questionnaire"},
	} {
		t.Run(c.about, func(t *testing.T) {
			older, newer := loadVillage(t), loadVillage(t, c.edits...)
			var got *Change
			changes := Compare(older, newer)
			for _, x := range changes {
				if x.GetKind() == c.kind {
					got = x
				} else if x.GetSeverity() != f && c.s == f {
					t.Errorf("also blocked by %s: %s", x.GetKind(), x.GetWhat().GetEn())
				}
			}
			switch {
			case got == nil:
				t.Fatalf("no change %s among %v", c.kind, changes)
			case got.GetSeverity() != c.s || got.GetPath() != c.path || !strings.Contains(got.GetWhat().GetEn(), c.en):
				t.Errorf("got %v %q %q, want %v %q %q", got.GetSeverity(), got.GetPath(), got.GetWhat().GetEn(), c.s, c.path, c.en)
			case got.GetWhat().GetZh() == "" || got.GetSeverity() != f && (got.GetWhatToDo().GetEn() == "" || got.GetWhatToDo().GetZh() == ""):
				t.Errorf("words are missing: %v", got)
			}
		})
	}
}

func TestCompareWithItself(t *testing.T) {
	if got := Compare(loadVillage(t), loadVillage(t)); len(got) > 0 {
		t.Errorf("a questionnaire differs from itself: %v", got)
	}
	set, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range set.All() {
		if got := Compare(q, q); len(got) > 0 {
			t.Errorf("%s differs from itself: %v", q.Name(), got)
		}
	}
}

// What only changes words may be published under the same version; the structure is then the same.
func TestWordingKeepsTheFingerprint(t *testing.T) {
	older, newer := loadVillage(t), loadVillage(t, `"How old?"`, `"Age?"`, `"小学"`, `"小学校"`)
	if blocked := Blocking(Compare(older, newer), nil); len(blocked) > 0 {
		t.Errorf("words are refused: %v", blocked)
	}
	if diff := cmp.Diff(older.Fingerprint(1), newer.Fingerprint(1)); diff != "" {
		t.Error(diff)
	}
}

func TestConfirmedChanges(t *testing.T) {
	lowered := append([]string{`PERSONAL_DATA_DIRECT_IDENTIFIER`, `PERSONAL_DATA_NONE`}, v2...)
	changes := Compare(loadVillage(t), loadVillage(t, lowered...))
	if len(Blocking(changes, nil)) != 1 || len(Blocking(changes, []string{ChangePrivacyLowered})) != 0 {
		t.Errorf("blocking: %v", Blocking(changes, nil))
	}
	gone := append([]string{`string note = 1 [(hearth.form.v1.question) = {label: {en: "Note" zh: "备注"}}];`, ``}, v2...)
	if changes := Compare(loadVillage(t), loadVillage(t, gone...)); len(Blocking(changes, []string{ChangePrivacyLowered, ChangeRemoved})) != 1 {
		t.Error("a removed question was confirmed away")
	}
}

// A list that many questions use is told of once.
func TestChangesOfASharedListAreToldOnce(t *testing.T) {
	more := ""
	for i := range 20 {
		more += fmt.Sprintf("Education e%d = %d [(hearth.form.v1.question) = {label: {en: \"E\"}}];\n", i, 20+i)
	}
	add := []string{"string note", more + "string note"}
	older := loadVillage(t, add...)
	newer := loadVillage(t, append(append([]string{}, add...), append([]string{`"大学"}}];`, `"大学"}}]; DOCTORATE = 9 [(hearth.form.v1.choice) = {label: {en: "doctorate"}}];`}, v2...)...)...)
	got := Compare(older, newer)
	if len(got) != 1 || !strings.Contains(got[0].GetWhat().GetEn(), "; so do 20 other questions with these answers.") {
		t.Errorf("got %v", got)
	}
}

// What is new is dated by publishing, and keeps its date when the next version is made from the same text.
func TestDateAdditions(t *testing.T) {
	older := loadVillage(t)
	edits := append([]string{`double income`, `bool poor = 9 [(hearth.form.v1.question) = {label: {en: "Poor?"}}]; double income`,
		`"大学"}}];`, `"大学"}}]; DOCTORATE = 9 [(hearth.form.v1.choice) = {label: {en: "doctorate"}}];`}, v2...)
	second := loadVillage(t, edits...)
	files, wrote := DateAdditions(second.Files(), older, second.Descriptor())
	if !wrote {
		t.Fatal("nothing was dated")
	}
	second, err := Load(files, "")
	if err != nil {
		t.Fatal(err)
	}
	poor := second.Descriptor().Fields().ByName("poor")
	if got := formv1.QuestionOf(poor.Options()).GetSince(); got != 2 {
		t.Errorf("the new question is there since %d, want 2", got)
	}
	if got, want := second.Fingerprint(1), older.Fingerprint(1); cmp.Diff(got, want) != "" {
		t.Errorf("version 1 has another fingerprint now: %x, was %x", got, want)
	}
	edits[len(edits)-1] = "version: 3}"
	third := loadVillage(t, edits...)
	files, _ = DateAdditions(third.Files(), second, third.Descriptor())
	if third, err = Load(files, ""); err != nil {
		t.Fatal(err)
	}
	if got := Compare(second, third); len(got) > 0 {
		t.Errorf("the same questionnaire as version 3 differs: %v", got)
	}
	if _, wrote := DateAdditions(second.Files(), second, second.Descriptor()); wrote {
		t.Error("what was published was dated again")
	}
}

// What travels to tablets is whole again with the files every program has.
func TestBareAndClosed(t *testing.T) {
	q := loadVillage(t)
	bare := Bare(q.Files())
	if len(bare.GetFile()) != 1 || bare.GetFile()[0].GetSourceCodeInfo() != nil {
		t.Fatalf("%d files travel", len(bare.GetFile()))
	}
	whole, err := Closed(bare)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Load(whole, q.Name())
	if err != nil {
		t.Fatal(err)
	}
	if got := Compare(q, again); len(got) > 0 {
		t.Errorf("it came back changed: %v", got)
	}
}

// Whatever is edited, the two are compared without a fault, every sentence is there in both languages, what is not free says
// what to do, and what is free alone leaves the structure of the versions before as it was.
func TestCompareProperties(t *testing.T) {
	edits := [][2]string{
		{`string note`, `string remark`}, {`string note`, `repeated string note`}, {`int32 age`, `int64 age`}, {`int32 age`, `string age`}, {`Education education`, `int32 education`},
		{`repeated Member members`, `Member members`}, {`double income = 3`, `double income = 7`}, {`unit: "yuan"`, ``}, {` required: true`, ` required: true until: 1`},
		{`UNIVERSITY = 3`, `UNIVERSITY = 5`}, {`"university"`, `"college"`}, {`SECONDARY = 2`, `MIDDLE = 2`}, {`message Member`, `message Person`},
		{`version: 1}`, `version: 2}`}, {`version: 1}`, `version: 3}`}, {`"Note"`, `"Remark"`}, {`double income`, `bool poor = 9 [(hearth.form.v1.question) = {label: {en: "Poor?"}}]; double income`},
		{`message Village`, `enum Extra { EXTRA_UNSPECIFIED = 0; ONE = 1; } message Village`}, {`level: "member"`, `level: "person"`},
	}
	rapid.Check(t, func(rt *rapid.T) {
		pick := func(label string) *Questionnaire {
			text := surveyText
			for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(edits)-1), 0, 6).Draw(rt, label) {
				text = strings.ReplaceAll(text, edits[i][0], edits[i][1])
			}
			files, err := CompileProto(map[string]string{"village.proto": text}, "village.proto")
			if err != nil {
				rt.Skip("edits that do not go together")
			}
			q, err := Load(files, "")
			if err != nil {
				rt.Skip("edits that do not go together")
			}
			return q
		}
		older, newer := pick("older"), pick("newer")
		if files, dated := DateAdditions(newer.Files(), older, newer.Descriptor()); dated {
			var err error
			if newer, err = Load(files, ""); err != nil {
				rt.Fatalf("dated, it cannot be read: %v", err)
			}
		}
		changes := Compare(older, newer)
		for _, c := range changes {
			blocked := c.GetSeverity() != free
			if c.GetWhat().GetEn() == "" || c.GetWhat().GetZh() == "" || blocked != (c.GetWhatToDo().GetEn() != "") || blocked != (c.GetWhatToDo().GetZh() != "") {
				rt.Fatalf("words are missing: %v", c)
			}
		}
		wording := !slices.ContainsFunc(changes, func(c *Change) bool { return !c.GetWording() })
		if v := older.Version(); wording && string(older.Fingerprint(v)) != string(newer.Fingerprint(v)) {
			rt.Fatalf("only words have changed, but version %d is another: %v", v, changes)
		}
		added := !slices.ContainsFunc(changes, func(c *Change) bool { return !slices.Contains(additions, c.GetKind()) && !c.GetWording() })
		for v := uint32(1); v <= older.Version() && added; v++ {
			if string(older.Fingerprint(v)) != string(newer.Fingerprint(v)) {
				rt.Fatalf("there are only additions, but version %d is another: %v", v, changes)
			}
		}
	})
}

// additions are kinds of change that leave the versions before as they were.
var additions = []string{ChangeAdded, ChangeChoiceAdded, ChangeEnded, ChangeUnit, ChangeRequired}
