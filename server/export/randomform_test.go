package export

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"
)

// formDrawer draws questionnaires: every kind of question, names that are long, alike or words of other languages, labels that are
// longer than any format's, rosters in rosters.
type formDrawer struct {
	r     *rand.Rand
	b     strings.Builder
	names int
}

var oddLabels = []string{
	"What is it?", "请问您家有几口人？", `say "no" to 'this'`, "two\nlines and\ttabs", "𠮷野家 <b>&amp;</b>", "100 % \\ of `x'", "=1+1", " ", "ä",
	strings.Repeat("一個非常長的問題 ", 40), strings.Repeat("x", 79) + "长", strings.Repeat("长", 80), strings.Repeat("长", 81), strings.Repeat("y", 300),
}

func (d *formDrawer) label() string {
	s := oddLabels[d.r.IntN(len(oddLabels))]
	return "label: {en: " + strconv.Quote(s) + " zh: " + strconv.Quote("问"+s) + "}"
}

func (d *formDrawer) name() string {
	d.names++
	switch d.r.IntN(5) {
	case 0:
		return fmt.Sprintf("a_name_that_is_longer_than_thirty_two_letters_%d", d.names)
	case 1:
		return fmt.Sprintf("%s_%d", []string{"if", "Interview_ID", "position", "x", "word_why"}[d.r.IntN(5)], d.names)
	case 2:
		return fmt.Sprintf("%sq%d", strings.Repeat("long_", d.r.IntN(12)), d.names)
	}
	return fmt.Sprintf("question_%d", d.names)
}

// message draws one, and the messages inside it.
func (d *formDrawer) message(name string, depth int) {
	fmt.Fprintf(&d.b, "message %s {\n  option (hearth.form.v1.module) = {title: {en: \"T\"} version: 3};\n", name)
	var inner []string
	for n := range 4 + d.r.IntN(18) {
		kind, options := d.kind()
		if depth < 3 && d.r.IntN(9) == 0 {
			kind, options = fmt.Sprintf("%s%d", name, n), ""
			inner = append(inner, kind)
			if d.r.IntN(2) == 0 {
				kind = "repeated " + kind
			}
		}
		fmt.Fprintf(&d.b, "  %s %s = %d [(hearth.form.v1.question) = {%s %s personal_data: PERSONAL_DATA_NONE since: %d}];\n", kind, d.name(), n+1, d.label(), options, d.r.IntN(3))
	}
	for _, m := range inner {
		d.message(m, depth+1)
	}
	d.b.WriteString("  map<uint32, hearth.form.v1.Missing> missing = 100;\n}\n")
}

func (d *formDrawer) kind() (kind, options string) {
	kinds := [][2]string{
		{"int32", ""}, {"int64", `unit: "kg" measure: MEASURE_SCALE`}, {"uint32", ""}, {"double", ""}, {"float", ""}, {"bool", ""}, {"string", ""}, {"string", "format: FORMAT_DATE"},
		{"string", "format: FORMAT_DATE_TIME"}, {"Code", "measure: MEASURE_ORDINAL"}, {"Far", ""}, {"repeated Code", ""}, {"repeated Far", "format: FORMAT_RANK"}, {"repeated string", ""},
		{"repeated int32", ""}, {"int32", `choices: "place"`}, {"repeated int32", `choices: "place"`}, {"hearth.survey.v1.PartialDate", ""}, {"hearth.survey.v1.Money", ""},
		{"hearth.survey.v1.GeoPoint", ""}, {"string", "format: FORMAT_GEO_TRACE"}, {"bytes", ""},
	}
	k := kinds[d.r.IntN(len(kinds))]
	return k[0], k[1]
}

// randomForm is the text of a questionnaire, and the name of its top message.
func randomForm(seed uint64) (text, top string) {
	d := &formDrawer{r: rand.New(rand.NewPCG(seed, 77))}
	fmt.Fprintf(&d.b, "edition = \"2023\";\npackage form.random%d;\n", seed)
	for _, path := range []string{"form/v1/options", "survey/v1/common", "survey/v1/place"} {
		fmt.Fprintf(&d.b, "import \"hearth/%s.proto\";\n", path)
	}
	d.b.WriteString("option (hearth.form.v1.table) = {name: \"place\" rows: [{number: 1 choice: {name: \"A1\" label: {en: \"Nord\"}}}, {number: 2 choice: {name: \"A 2\" label: {en: \"Sud\"}}}, {number: 5 choice: {name: \"dk\" missing: MISSING_DONT_KNOW label: {en: \"?\"}}}]};\n")
	fmt.Fprintf(&d.b, "enum Code { CODE_UNSPECIFIED = 0; A = 1 [(hearth.form.v1.choice) = {code: 0 %s}]; B = 2 [(hearth.form.v1.choice) = {code: -97 %s}]; C = 3 [(hearth.form.v1.choice) = {%s missing: MISSING_REFUSED}]; D = 4; }\n", d.label(), d.label(), d.label())
	fmt.Fprintf(&d.b, "enum Far { FAR_UNSPECIFIED = 0; NEAR = 1 [(hearth.form.v1.choice) = {%s}]; FAR_AWAY = 2000000000 [(hearth.form.v1.choice) = {%s}]; }\n", d.label(), d.label())
	top = fmt.Sprintf("Random%d", seed)
	d.message(top, 0)
	return d.b.String(), top
}

// randomAnswers are interviews of a drawn questionnaire.
func randomAnswers(t testing.TB, seed uint64, n int) Source {
	t.Helper()
	text, top := randomForm(seed)
	md := questionnaireOf(t, text, top)
	f := &filler{r: rand.New(rand.NewPCG(seed, 78))}
	var all []*surveyv1.Interview
	for i := range n {
		f.all = i == 0
		m := dynamicpb.NewMessage(md)
		f.message(m, 0, false)
		raw, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, &surveyv1.Interview{
			InterviewId: proto.String(fmt.Sprintf("r-%02d", i)), QuestionnaireVersion: proto.Uint32(uint32(1 + i%3)),
			Answers: &surveyv1.Interview_Other{Other: &surveyv1.OtherAnswers{Questionnaire: proto.String(string(md.FullName())), Answers: raw}},
		})
	}
	src := source(all, make([]*servicev1.InterviewSummary, n))
	src.Published = []Published{{Top: md}}
	return src
}
