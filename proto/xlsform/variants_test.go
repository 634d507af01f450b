package xlsform

import (
	"strings"
	"testing"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
)

// The headers and types of SurveyCTO, Kobo, Ona and old forms mean what those of the specification mean.
func TestVariants(t *testing.T) {
	r, f := imported(t, `
| survey |
| | Type | NAME | label:English | label::Français (fr) | Hint::English | constraint message | Relevance | bind::constraint | requiredMsg | read only | media:image:English | publishable | minimum_seconds | Guidance Hint::English |
| | Start Time | st | | | | | | | | | | | | |
| | phonenumber | phone | | | | | | | | | | | | |
| | speed violations count | speed | | | | | | | | | | | | |
| | sensor_statistic mean_light_level | light | | | | | | | | | | | | |
| | begin_group | grp | Group | Groupe | | | | | | | | | | |
| | Select_One yn or_other | q1 | One | Un | hint | | | | needed | | pic.png | yes | 5 | probe |
| | select all that apply from fruits | q2 | Many | Beaucoup | | no | ${q1} = 'yes' | count-selected(.) < 3 | | | | | | |
| | select1 yn | q3 | X | X | | | | | | yes | | | | |
| | rank fruits | q4 | X | X | | | | | | | | | | |
| | range | q5 | X | X | | | | | | | | | | |
| | calculate_here | q6 | | | | | | | | | | | | |
| | begin score | sc | Score | | | | | | | | | | | |
| | score__row | q7 | Row | | | | | | | | | | | |
| | end score | | | | | | | | | | | | | |
| | end_group | | | | | | | | | | | | | |
| | image | q8 | Photo | | | | | | | | | | | |
| | gps | q9 | Where | | | | | | | | | | | |
| | xml-external | lists | | | | | | | | | | | | |
| | Begin Repeat | rep | Rows | | | | | | | | | | | |
| | int | q10 | N | | | | | | | | | | | |
| | End Repeat | | | | | | | | | | | | | |
| choices |
| | list name | value | label:English | label::Français (fr) | colour |
| | yn | yes | Yes | Oui | |
| | yn | no | No | Non | |
| | fruits | 1 | Apple | Pomme | red |
| | fruits | 2 | Pear | Poire | green |
| settings |
| | form_title | form_id | version | default_language | style |
| | Variants | variants | 3 | Français (fr) | pages |
`)
	if _, err := questionnaire.Load(r.Files, r.Top); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(r.Report.Languages, " "); got != "fr en" {
		t.Errorf("the languages are %s", got)
	}
	for name, want := range map[string]kind{
		"st": kindDateTime, "phone": kindText, "speed": kindInt, "light": kindDouble, "grp": kindGroup, "q1": kindOne, "q1_other": kindText, "q2": kindMany, "q3": kindOne,
		"q4": kindMany, "q5": kindDouble, "q6": kindCalculate, "q8": kindFile, "q9": kindPoint, "rep": kindRepeat, "q10": kindInt,
	} {
		if got := questionOf(t, f, name).kind(); got != want {
			t.Errorf("%s is of kind %d, want %d", name, got, want)
		}
	}
	q2 := questionOf(t, f, "q2").out
	if q2.relevant != "this.q1 == 1" || q2.constraint != "size(value) < 3" {
		t.Errorf("q2 is asked where %q, right where %q", q2.relevant, q2.constraint)
	}
	if got := questionOf(t, f, "q1_other").out.relevant; got != "this.q1 == 3" {
		t.Errorf("what the other is is asked where %q", got)
	}
	if got := questionOf(t, f, "q1").personal(); got != formv1.PersonalData_PERSONAL_DATA_NONE {
		t.Errorf("what may be published is %s", got)
	}
	for _, want := range []string{
		`label: {en: "One" more {key: "fr" value: "Un"}}`, `hint: {en: "hint"}`, `guidance: {en: "probe"}`, `required_message: {more {key: "fr" value: "needed"}}`, `media: [{kind: "image" file: {en: "pic.png"}}]`,
		`message: {more {key: "fr" value: "no"}}`, `read_only: true`, `form_columns {key: "minimum_seconds" value: "5"}`, `columns {key: "colour" value: "red"}`, `key: "style" value: "pages"`, "FORMAT_RANK",
		`xml-external`, "FORMAT_PHOTO", "hearth.survey.v1.GeoPoint q9", `key: "type" value: "sensor_statistic mean_light_level"`,
	} {
		if !strings.Contains(r.Proto, want) {
			t.Errorf("the schema does not say %s", want)
		}
	}
}

// Names of languages have tags by which they are kept.
func TestLanguages(t *testing.T) {
	for name, want := range map[string]string{
		"English (en)": "en", "French": "fr", "français": "fr", "العربية (ar)": "ar", "Kiswahili": "sw", "中文": "zh", "Chinese (zh-CN)": "zh", "zh-Hans": "zh", "Chinese (zh-TW)": "zh-TW",
		"Español(es)": "es", "es": "es", "Amharic": "am", "Tigrinya": "ti", "Afaan Oromo": "om", "Klingonese of Qo'noS": "x-klingone", "pt-BR": "pt-BR", "Kurdish (Sorani)": "ku", "": "x-other",
	} {
		if got := tagOf(name); got != want {
			t.Errorf("%q has the tag %q, want %q", name, got, want)
		}
	}
	both, _ := imported(t, "| survey |\n| | type | name | label | label::English | label::English (en) |\n| | text | a | plain | named | tagged |")
	if got := strings.Join(both.Report.Languages, " "); got != "en-x-default en en-x-englishe" {
		t.Errorf("three columns of English are the languages %s", got)
	}
	for _, want := range []string{"plain", "named", "tagged"} {
		if !strings.Contains(both.Proto, `"`+want+`"`) {
			t.Errorf("the wording %q is lost", want)
		}
	}
	zh, _ := imported(t, "| survey |\n| | type | name | label |\n| | text | a | 您的姓名是什么？ |")
	if got := strings.Join(zh.Report.Languages, " "); got != "zh" {
		t.Errorf("Chinese wording without a language is taken for %s", got)
	}
}

// Names that protobuf, CEL or the schema do not take become others, and the form's own is kept.
func TestNames(t *testing.T) {
	r, f := imported(t, `
| survey |
| | type | name | label |
| | text | missing | A |
| | text | for | A |
| | text | _x | A |
| | text | 1a | A |
| | text | a-b.c | A |
| | text | 姓名 | A |
| | text | some_name | A |
| | text | someName | A |
| | begin group | Inner | A |
| | text | Inner | A |
| | end group | | |
| | calculate | sum | |
`)
	for name, want := range map[string]string{"missing": "missing_q", "for": "for_q", "_x": "x", "1a": "q_1a", "a-b.c": "a_b_c", "some_name": "some_name", "someName": "someName_2"} {
		if got := questionOf(t, f, name).field; got != want {
			t.Errorf("%s is %s in the schema, want %s", name, got, want)
		}
	}
	if _, err := questionnaire.Load(r.Files, r.Top); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(r.Proto, `form_name: "姓名"`) {
		t.Error("the form's name of a question is not kept")
	}
}
