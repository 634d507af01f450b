package xlsform

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
)

const first = `
| survey |
| | type | name | label |
| | text | name | Name |
| | integer | age | Age |
| | select_one fruit | fruit | Fruit |
| | begin repeat | member | Member |
| | text | first | First |
| | text | last | Last |
| | end repeat | | |
| choices |
| | list_name | name | label |
| | fruit | apple | Apple |
| | fruit | pear | Pear |
| | fruit | 7 | Seven |
| settings |
| | form_id |
| | lock |
`

const second = `
| survey |
| | type | name | label | hearth_was |
| | begin repeat | person | Person | member |
| | text | last | Last | |
| | text | middle | Middle | |
| | text | first | First | |
| | end repeat | | | |
| | text | email | Mail | |
| | select_one fruit | fruit | Fruit | |
| | text | full_name | Name | name |
| choices |
| | list_name | name | label | hearth_was |
| | fruit | kiwi | Kiwi | |
| | fruit | pear | Pear | |
| | fruit | apples | Apples | apple |
| settings |
| | form_id |
| | lock |
`

func again(t *testing.T, tables string, o Options) *Result {
	t.Helper()
	o.Name = "test.xlsx"
	r, err := Import(workbookOf(t, tables), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Questions and choices keep their numbers when a form is edited, renamed with a word, moved, and edited back; no number is
// given twice.
func TestNumbersStay(t *testing.T) {
	one := again(t, first, Options{})
	want := map[string]int32{"name": 1, "age": 2, "fruit": 3, "member": 4, "member/first": 1, "member/last": 2}
	if d := cmp.Diff(want, one.Lock.Fields); d != "" {
		t.Fatal(d)
	}
	if d := cmp.Diff(map[string]int32{"apple": 1, "pear": 2, "7": 7}, one.Lock.Choices["fruit"]); d != "" {
		t.Fatal(d)
	}
	lock, err := ReadLock(one.Lock.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	two := again(t, second, Options{Lock: lock})
	want = map[string]int32{"person": 4, "person/first": 1, "person/last": 2, "person/middle": 3, "email": 5, "fruit": 3, "full_name": 1}
	if d := cmp.Diff(want, two.Lock.Fields); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]int32{"age": 2}, two.Lock.Retired); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]int32{"apples": 1, "pear": 2, "kiwi": 3}, two.Lock.Choices["fruit"]); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]int32{"7": 7}, two.Lock.RetiredChoices["fruit"]); d != "" {
		t.Error(d)
	}
	for _, line := range []string{"reserved 2;", "reserved 7;"} {
		if !strings.Contains(two.Proto, line) {
			t.Errorf("the schema does not say %q", line)
		}
	}
	if three := again(t, second, Options{Lock: two.Lock}); string(three.Lock.Bytes()) != string(two.Lock.Bytes()) || three.Proto != two.Proto {
		t.Error("the same form gives another schema the second time")
	}
	back := again(t, strings.Replace(first, "| | integer | age |", "| | integer | other | O |\n| | integer | age |", 1), Options{Lock: two.Lock})
	if got := back.Lock.Fields["age"]; got != 2 {
		t.Errorf("age comes back with the number %d", got)
	}
	if got := back.Lock.Fields["other"]; got != 7 { // 1 to 5 were given, and name without a word on its past is 6
		t.Errorf("a new question gets the number %d, which was another's", got)
	}
}

// A question whose answers are something else is another question; the old one stays by itself.
func TestOtherAnswersOtherNumber(t *testing.T) {
	one := again(t, first, Options{})
	two := again(t, strings.Replace(first, "integer | age", "text | age", 1), Options{Lock: one.Lock, Version: 2, Previous: one.Files})
	if got := two.Lock.Fields["age"]; got != 5 {
		t.Errorf("age has the number %d", got)
	}
	if !strings.Contains(two.Report.Text(), "the answers of age are string now and were int64") {
		t.Error(two.Report.Text())
	}
	q, err := questionnaire.Load(two.Files, two.Top)
	if err != nil {
		t.Fatal(err)
	}
	old := q.Descriptor().Fields().ByNumber(2)
	if old == nil || old.Name() != "age_until_1" || old.Kind() != protoreflect.Int64Kind {
		t.Errorf("what was number 2 is %v", old)
	}
	if again := again(t, first, Options{Lock: two.Lock}); again.Lock.Fields["age"] != 2 {
		t.Errorf("back to integer, age has the number %d", again.Lock.Fields["age"])
	}
}

// What a form no longer has ends with the version before, and stays readable.
func TestWhatWentStays(t *testing.T) {
	one := again(t, first, Options{})
	two := again(t, second, Options{Lock: one.Lock, Version: 2, Previous: one.Files})
	q, err := questionnaire.Load(two.Files, two.Top)
	if err != nil {
		t.Fatal(err)
	}
	age := q.Descriptor().Fields().ByName("age")
	if age == nil || age.Number() != 2 {
		t.Fatalf("age is gone: %v", age)
	}
	if o := proto.GetExtension(age.Options(), formv1.E_Question).(*formv1.Question); o.GetUntil() != 1 {
		t.Errorf("age ends with version %d", o.GetUntil())
	}
	seven := q.Descriptor().Fields().ByName("fruit").Enum().Values().ByNumber(7)
	if seven == nil {
		t.Fatal("the choice 7 is gone")
	}
	if o := proto.GetExtension(seven.Options(), formv1.E_Choice).(*formv1.Choice); o.GetUntil() != 1 {
		t.Errorf("the choice ends with version %d", o.GetUntil())
	}
	three := again(t, second, Options{Lock: two.Lock, Version: 3, Previous: two.Files})
	q3, err := questionnaire.Load(three.Files, three.Top)
	if err != nil {
		t.Fatal(err)
	}
	if o := proto.GetExtension(q3.Descriptor().Fields().ByName("age").Options(), formv1.E_Question).(*formv1.Question); o.GetUntil() != 1 {
		t.Errorf("in version 3, age ends with version %d", o.GetUntil())
	}
	files, err := questionnaire.CompileProto(map[string]string{three.ProtoName: three.Proto}, three.ProtoName)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := protodesc.NewFiles(files); err != nil {
		t.Error(err)
	}
}

// A list that was an enum stays one when it grows, and one that was a table stays a table.
func TestListsStayWhatTheyAre(t *testing.T) {
	one := again(t, first, Options{})
	more := strings.Replace(first, "| | fruit | apple | Apple |", strings.Repeat("| | fruit | apple | Apple |\n", 1)+choicesOf("fruit", 150), 1)
	two := again(t, more, Options{Lock: one.Lock})
	if len(two.Lock.Tables) != 0 {
		t.Errorf("the enum became a table: %v", two.Lock.Tables)
	}
	big := again(t, more, Options{})
	if d := cmp.Diff([]string{"fruit"}, big.Lock.Tables); d != "" {
		t.Error(d)
	}
	small := again(t, first, Options{Lock: big.Lock})
	if d := cmp.Diff([]string{"fruit"}, small.Lock.Tables); d != "" {
		t.Error(d)
	}
}

func choicesOf(list string, n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("| | " + list + " | c" + itoa(i) + " | C |\n")
	}
	return b.String()
}

func TestBadLock(t *testing.T) {
	for _, text := range []string{"", "{", `{"fields": {"a": 0}}`, `{"choices": {"l": {"a": -1}}}`, `[]`} {
		if _, err := ReadLock([]byte(text)); err == nil || !strings.Contains(err.Error(), "lock file") {
			t.Errorf("%q is taken for a lock: %v", text, err)
		}
	}
}
