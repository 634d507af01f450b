package export

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/xuri/excelize/v2"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// questionnaireOf compiles a .proto text and returns the message of a name.
func questionnaireOf(t testing.TB, text, top string) protoreflect.MessageDescriptor {
	t.Helper()
	c := protocompile.Compiler{Resolver: protocompile.CompositeResolver{
		&protocompile.SourceResolver{Accessor: protocompile.SourceAccessorFromMap(map[string]string{"f.proto": text})},
		protocompile.ResolverFunc(func(path string) (protocompile.SearchResult, error) {
			d, err := protoregistry.GlobalFiles.FindFileByPath(path)
			return protocompile.SearchResult{Desc: d}, err
		}),
	}}
	files, err := c.Compile(t.Context(), "f.proto")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := proto.Marshal(protoutil.ProtoFromFileDescriptor(files[0]))
	if err != nil {
		t.Fatal(err)
	}
	fdp := &descriptorpb.FileDescriptorProto{}
	if err := proto.Unmarshal(raw, fdp); err != nil {
		t.Fatal(err)
	}
	file, err := protodesc.NewFile(fdp, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	return file.Messages().ByName(protoreflect.Name(top))
}

const visitForm = `edition = "2023";
package form.visit;
import "hearth/form/v1/options.proto";
import "hearth/survey/v1/place.proto";
import "hearth/survey/v1/interview.proto";
option (hearth.form.v1.table) = {name: "district" rows: [
  {number: 1 choice: {name: "CM01" label: {more: {key: "fr" value: "Nord"}}}},
  {number: 2 choice: {name: "CM02" label: {more: {key: "fr" value: "Sud"}}}},
  {number: 3 choice: {name: "dk" missing: MISSING_DONT_KNOW label: {more: {key: "fr" value: "Ne sait pas"}}}}]};
enum Tool {
  TOOL_UNSPECIFIED = 0;
  HOE = 1 [(hearth.form.v1.choice) = {name: "hoe" label: {en: "hoe" more: {key: "fr" value: "houe"}}}];
  PLOUGH = 2 [(hearth.form.v1.choice) = {name: "plough" code: 0 label: {en: "plough"}}];
  UNKNOWN = 3 [(hearth.form.v1.choice) = {name: "-99" code: -99 label: {en: "unknown"} missing: MISSING_REFUSED}];
  OTHER = 4 [(hearth.form.v1.choice) = {name: "-96" code: -96 label: {en: "other"}}];
}
message Visit2016 {
  option (hearth.form.v1.module) = {title: {more: {key: "fr" value: "Visite"}} version: 2 languages: ["fr"]};
  Intro intro = 1;
  message Intro {
    string welcome = 1 [(hearth.form.v1.question) = {note: true label: {en: "Welcome"}}];
    string name = 2 [(hearth.form.v1.question) = {label: {more: {key: "fr" value: "Votre\n  nom"}} personal_data: PERSONAL_DATA_DIRECT_IDENTIFIER}];
    string comment = 3 [(hearth.form.v1.question) = {label: {en: "Comment"}}];
    Tool tool = 4 [(hearth.form.v1.question) = {label: {en: "Tool"} form_name: "Tool.1"}];
    repeated Tool tools = 5 [(hearth.form.v1.question) = {label: {en: "Tools"}}];
    repeated Tool ranked = 6 [(hearth.form.v1.question) = {label: {en: "Ranked"} format: FORMAT_RANK}];
    int32 district = 7 [(hearth.form.v1.question) = {label: {en: "District"} choices: "district"}];
    repeated int32 districts = 8 [(hearth.form.v1.question) = {label: {en: "Districts"} choices: "district"}];
    map<uint32, hearth.form.v1.Missing> missing = 100;
  }
  string day = 2 [(hearth.form.v1.question) = {label: {en: "Day"} format: FORMAT_DATE}];
  string moment = 3 [(hearth.form.v1.question) = {label: {en: "Moment"} format: FORMAT_DATE_TIME}];
  hearth.survey.v1.GeoPoint where = 4 [(hearth.form.v1.question) = {label: {en: "Where"}}];
  hearth.survey.v1.Attachment photo = 5 [(hearth.form.v1.question) = {label: {en: "Photo"} format: FORMAT_PHOTO}];
  int64 a_name_that_is_far_too_long_for_any_program_one = 6 [(hearth.form.v1.question) = {label: {en: "Long 1"}}];
  int64 a_name_that_is_far_too_long_for_any_program_two = 7 [(hearth.form.v1.question) = {label: {en: "Long 2"} since: 2}];
  int64 interview_id = 8 [(hearth.form.v1.question) = {label: {en: "The form's own"}}];
  int64 name = 9 [(hearth.form.v1.question) = {label: {en: "A name twice"} checks: {id: "high" expression: "value < 5" severity: SEVERITY_SOFT message: {en: "Too high."}}}];
  repeated Child children = 10 [(hearth.form.v1.question) = {label: {en: "Children"}}];
  message Child {
    option (hearth.form.v1.module) = {title: {en: "Child"}};
    double weight = 1 [(hearth.form.v1.question) = {label: {en: "Weight"} unit: "kg" universe: {en: "all"} measure: MEASURE_SCALE}];
    repeated Shot shots = 2 [(hearth.form.v1.question) = {label: {en: "Shots"}}];
    message Shot {
      int64 position = 1 [(hearth.form.v1.question) = {label: {en: "Its own position"}}];
      map<uint32, hearth.form.v1.Missing> missing = 100;
    }
    map<uint32, hearth.form.v1.Missing> missing = 100;
  }
  map<uint32, hearth.form.v1.Missing> missing = 100;
}
`

const visitAnswers = `{"intro": {"name": "Awa", "comment": "-", "tool": "PLOUGH", "tools": ["OTHER", "HOE", "UNKNOWN"], "ranked": ["OTHER", "HOE"],
  "district": 2, "districts": [3], "missing": {"3": "MISSING_REFUSED"}},
 "day": "2016-07-21", "moment": "2016-07-21T18:05:00.000+08:00", "where": {"latitude": 26.5}, "photo": {"sha256": "q80=", "media_type": "image/jpeg"},
 "a_name_that_is_far_too_long_for_any_program_one": "1", "a_name_that_is_far_too_long_for_any_program_two": "2", "interview_id": "7", "name": "9",
 "children": [{"weight": 3.5, "shots": [{"position": "4"}, {}]}, {"missing": {"1": "MISSING_DONT_KNOW"}, "shots": [{}]}]}`

// visits are interviews of the questionnaire of visitForm: one filled, one of 500 children, one empty, one that cannot be
// read, one of a questionnaire that nobody published.
func visits(t testing.TB) Source {
	t.Helper()
	top := questionnaireOf(t, visitForm, "Visit2016")
	answers := func(text string) []byte {
		m := dynamicpb.NewMessage(top)
		if err := protojson.Unmarshal([]byte(text), m); err != nil {
			t.Fatal(err)
		}
		raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	// haven drops the last character of a text of 7,372 bytes, which PSPP reads whole: these answers must not have as many.
	many := `{"intro": {"tool": "UNKNOWN"}, "moment": "around midday", "day": "soon", "children": [` + strings.TrimSuffix(strings.Repeat(`{"weight": 1.25},`, 500), ",") + `]}`
	var interviews []*surveyv1.Interview
	for i, a := range [][]byte{answers(visitAnswers), answers(many), nil, {0xff}, nil} {
		o := &surveyv1.OtherAnswers{Questionnaire: proto.String("form.visit.Visit2016"), Answers: a}
		if i == 4 {
			o.Questionnaire = proto.String("form.gone.Gone")
		}
		interviews = append(interviews, &surveyv1.Interview{
			InterviewId: proto.String(fmt.Sprintf("i-%d", i)), QuestionnaireVersion: proto.Uint32(uint32(i%2 + 1)), Answers: &surveyv1.Interview_Other{Other: o},
		})
	}
	src := source(interviews, make([]*servicev1.InterviewSummary, len(interviews)))
	src.Published = []Published{{Top: top}}
	flagged(&src, []*servicev1.Flag{{InterviewId: proto.String("i-0"), Rule: proto.String("form.visit.Visit2016.name/high"), Severity: formv1.Severity_SEVERITY_SOFT.Enum()}})
	return src
}

func TestPublishedTables(t *testing.T) {
	files, m := export(t, visits(t), Options{Profile: identified, Language: "fr"})
	tables := map[string][]map[string]string{}
	for _, name := range []string{"visit2016", "visit2016_children", "visit2016_shots", "codebook", "flag"} {
		path := "csv/" + name + ".csv"
		if name == "codebook" {
			path = "codebook.csv"
		}
		tables[name] = records(t, files.files[path])
	}
	for _, tt := range []struct {
		table  string
		row    int
		column string
		want   string
	}{
		{"visit2016", 0, "interview_id", "i-0"},
		{"visit2016", 0, "interview_id_2", "7"},
		{"visit2016", 0, "questionnaire_version", "1"},
		{"visit2016", 1, "questionnaire_version", "2"},
		{"visit2016", 0, "name", "Awa"},
		{"visit2016", 0, "name_2", "9"},
		{"visit2016", 0, "comment_why", "refused"},
		{"visit2016", 0, "tool", "0"},
		{"visit2016", 1, "tool", ""},
		{"visit2016", 1, "tool_why", "refused"},
		{"visit2016", 0, "tools", "-96;1"},
		{"visit2016", 0, "tools_why", "refused"},
		{"visit2016", 0, "tools_1", "1"},
		{"visit2016", 0, "tools_0", "0"},
		{"visit2016", 0, "tools_m96", "1"},
		{"visit2016", 1, "tools_1", ""},
		{"visit2016", 0, "ranked", "-96;1"},
		{"visit2016", 0, "ranked_1", "2"},
		{"visit2016", 0, "ranked_m96", "1"},
		{"visit2016", 0, "ranked_0", ""},
		{"visit2016", 0, "district", "2"},
		{"visit2016", 0, "district_name", "CM02"},
		{"visit2016", 0, "districts", ""},
		{"visit2016", 0, "districts_why", "dont_know"},
		{"visit2016", 0, "day", "2016-07-21"},
		{"visit2016", 1, "day", "soon"},
		{"visit2016", 0, "moment", "2016-07-21T10:05:00Z"},
		{"visit2016", 0, "moment_text", "2016-07-21T18:05:00.000+08:00"},
		{"visit2016", 1, "moment", ""},
		{"visit2016", 1, "moment_text", "around midday"},
		{"visit2016", 0, "where_latitude", "26.5"},
		{"visit2016", 0, "photo_sha256", "abcd"},
		{"visit2016", 0, "far_too_lon_for_any_pro_one", "1"},
		{"visit2016", 0, "far_too_lon_for_any_pro_two", "2"},
		{"visit2016_children", 0, "interview_id", "i-0"},
		{"visit2016_children", 0, "position", "1"},
		{"visit2016_children", 0, "weight", "3.5"},
		{"visit2016_children", 1, "weight_why", "dont_know"},
		{"visit2016_children", 501, "position", "500"},
		{"visit2016_children", 501, "weight", "1.25"},
		{"visit2016_shots", 0, "visit2016_children_position", "1"},
		{"visit2016_shots", 0, "position", "1"},
		{"visit2016_shots", 0, "position_2", "4"},
		{"visit2016_shots", 1, "position", "2"},
		{"visit2016_shots", 2, "visit2016_children_position", "2"},
		{"flag", 0, "message", "Too high."},
	} {
		if got, ok := tables[tt.table][tt.row][tt.column]; !ok || got != tt.want {
			t.Errorf("%s row %d %s: got %q (there: %v), want %q", tt.table, tt.row, tt.column, got, ok, tt.want)
		}
	}
	for name, want := range map[string]int{"visit2016": 3, "visit2016_children": 502, "visit2016_shots": 3} {
		if got := len(tables[name]); got != want {
			t.Errorf("%s: got %d rows, want %d", name, got, want)
		}
	}
	if _, ok := tables["visit2016"][0]["welcome"]; ok {
		t.Error("a note has a column")
	}
	want := []string{
		`1 interviews have answers to form.visit.Visit2016 that cannot be read: hearth check says which`,
		`1 interviews have answers to the questionnaire "form.gone.Gone", which is not published here: publish it and export again`,
		"geojson: 1 values of visit2016.where are not on the globe, or only half a position, and were left out; CSV and Parquet have them as they are",
		"gpkg: 1 values of visit2016.where are not on the globe, or only half a position, and were left out; CSV and Parquet have them as they are",
	}
	if !slices.Equal(m.Warnings, want) {
		t.Errorf("warnings: got %q, want %q", m.Warnings, want)
	}
	words := map[string]bool{}
	for _, r := range tables["codebook"] {
		words[strings.Join([]string{r["table"], r["variable"], r["row"], r["code"], r["label_en"], r["form_name"]}, "|")] = true
	}
	for _, want := range []string{
		"visit2016|name|variable||Votre nom|name", "visit2016|tool|variable||Tool|Tool.1", "visit2016|tool|value|0|plough|plough",
		"visit2016|district|value|2|Sud|CM02", "visit2016|tool|value|-96|other|-96",
	} {
		if !words[want] {
			t.Errorf("the codebook has no row %q", want)
		}
	}
}

// TestPublishedInExcel reads the labels in the language of the questionnaire.
func TestPublishedInExcel(t *testing.T) {
	files, _ := export(t, visits(t), Options{Profile: identified, Language: "fr", Formats: []servicev1.ExportFormat{asExcel}})
	book, err := excelize.OpenReader(bytes.NewReader(files.files[excelPath]))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = book.Close() }()
	if kind, err := book.GetCellType("codebook", "G2"); err != nil || kind == excelize.CellTypeInlineString {
		t.Errorf("the counts of the codebook are text: %v", err)
	}
	rows, err := book.GetRows("visit2016 labels")
	if err != nil || len(rows) != 4 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	got := map[string]string{}
	for i, v := range rows[1] {
		got[rows[0][i]] = v
	}
	for column, want := range map[string]string{"Votre nom": "Awa", "Tool": "plough", "District": "Sud"} {
		if got[column] != want {
			t.Errorf("%s: got %q, want %q", column, got[column], want)
		}
	}
}

// TestPublishedResearchProfile looks for what identifies a person by its class, or by what it holds.
func TestPublishedResearchProfile(t *testing.T) {
	files, m := export(t, visits(t), Options{})
	row := records(t, files.files["csv/visit2016.csv"])[0]
	for _, name := range []string{"photo_sha256", "photo_media_type", "where_latitude"} {
		if _, ok := row[name]; ok {
			t.Errorf("a research export has %s", name)
		}
	}
	if row["name"] != "9" || row["comment"] != "-" {
		t.Errorf("name %q, comment %q: want that of nobody, and the comment", row["name"], row["comment"])
	}
	for path, content := range unpack(t, files.files) {
		if bytes.Contains(content, []byte("Awa")) {
			t.Errorf("%s holds a name", path)
		}
	}
	if !slices.ContainsFunc(m.Warnings, func(w string) bool { return strings.Contains(w, "form.visit.Visit2016 has 1 texts") }) {
		t.Errorf("nobody is warned of the comment: %q", m.Warnings)
	}
}

// TestPublishedLeavesOthers: with or without a published questionnaire, the tables of those built in are the same.
func TestPublishedLeavesOthers(t *testing.T) {
	plain, with := small(), small()
	with.Published = visits(t).Published
	a, _ := export(t, plain, Options{Profile: identified})
	b, _ := export(t, with, Options{Profile: identified})
	compared := 0
	for path, content := range a.files {
		if strings.HasPrefix(path, "codebook") || strings.HasPrefix(path, "xlsx/") || strings.HasPrefix(path, "gpkg/") || strings.HasPrefix(path, "scripts/") || path == "manifest.json" {
			continue
		}
		if compared++; !bytes.Equal(content, b.files[path]) {
			t.Errorf("%s is another with a published questionnaire", path)
		}
	}
	if compared < 60 {
		t.Errorf("only %d files compared", compared)
	}
}

// TestBuiltinColumnsStay holds the variables of the questionnaires built in to those that were; run with -update after a
// change that is meant.
func TestBuiltinColumnsStay(t *testing.T) {
	p, err := NewPlan(identified)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for _, table := range p.Tables {
		for _, c := range table.Columns {
			fmt.Fprintf(&b, "%s,%s,%s,%s\n", table.Name, c.Name, c.Kind, c.Numbers)
		}
	}
	path := filepath.Join("testdata", "columns.csv")
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) {
		was, is := strings.Split(string(want), "\n"), strings.Split(b.String(), "\n")
		for i := range max(len(was), len(is)) {
			if i >= len(was) || i >= len(is) || was[i] != is[i] {
				t.Fatalf("line %d of the variables is another: %q, was %q", i+1, cmp.Or(append(is, "")[min(i, len(is))], "nothing"), cmp.Or(append(was, "")[min(i, len(was))], "nothing"))
			}
		}
	}
}

// TestPublishedOf3000 lays out and writes a questionnaire of 3,000 variables and a list of 20,000 choices.
func TestPublishedOf3000(t *testing.T) {
	var b strings.Builder
	b.WriteString("edition = \"2023\";\npackage form.big;\nimport \"hearth/form/v1/options.proto\";\noption (hearth.form.v1.table) = {name: \"places\" rows: [")
	for i := range 20_000 {
		fmt.Fprintf(&b, "%s{number: %d choice: {name: \"P%05d\" label: {en: \"Place %d\"}}}", []string{"", ","}[min(i, 1)], i+1, i, i)
	}
	b.WriteString("]};\nmessage Big {\n  option (hearth.form.v1.module) = {title: {en: \"Big\"} version: 1};\n")
	for i := range 3000 {
		fmt.Fprintf(&b, "  int64 section_%d_question_%d = %d [(hearth.form.v1.question) = {label: {en: \"Question %d\"}}];\n", i/100, i, i+1, i)
	}
	b.WriteString("  int32 place = 4000 [(hearth.form.v1.question) = {label: {en: \"Place\"} choices: \"places\"}];\n  repeated int32 seen = 4001 [(hearth.form.v1.question) = {label: {en: \"Seen\"} choices: \"places\"}];\n}\n")
	top := questionnaireOf(t, b.String(), "Big")
	m := dynamicpb.NewMessage(top)
	m.Set(top.Fields().ByNumber(3000), protoreflect.ValueOfInt64(-5))
	m.Set(top.Fields().ByNumber(4000), protoreflect.ValueOfInt32(20_000))
	m.Mutable(top.Fields().ByNumber(4001)).List().Append(protoreflect.ValueOfInt32(7))
	raw, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	iv := &surveyv1.Interview{InterviewId: proto.String("i"), Answers: &surveyv1.Interview_Other{Other: &surveyv1.OtherAnswers{Questionnaire: proto.String("form.big.Big"), Answers: raw}}}
	src := source([]*surveyv1.Interview{iv}, make([]*servicev1.InterviewSummary, 1))
	src.Published = []Published{{Top: top}}
	files, man := export(t, src, Options{})
	row := records(t, files.files["csv/big.csv"])[0]
	if len(row) != 3005 || row["section_29_question_2999"] != "-5" || row["place"] != "20000" || row["place_name"] != "P19999" || row["seen"] != "7" {
		t.Errorf("%d columns, last %q, place %q %q, seen %q", len(row), row["section_29_question_2999"], row["place"], row["place_name"], row["seen"])
	}
	labels := 0
	for _, r := range records(t, files.files["codebook.csv"]) {
		if r["variable"] == "place" && r["row"] == "value" {
			if labels++; r["label_en"] != "Place 19999" || r["form_name"] != "P19999" {
				t.Errorf("place is labelled %q, named %q", r["label_en"], r["form_name"])
			}
		}
	}
	if labels != 1 || len(man.Warnings) != 0 {
		t.Errorf("%d labels of a long list, want that of the choice that occurs; warnings %q", labels, man.Warnings)
	}
}
