package export

import (
	"fmt"
	"strings"
	"testing"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/study"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"
)

// asksFor finds the question of a path, "work.works", and says whether it has a reason of its own: parts of an answer have not.
func asksFor(m *questionnaire.Module, path string, block bool) bool {
	names := strings.Split(path, ".")
	for i, name := range names {
		q, ok := m.Find(name)
		if !ok || i < len(names)-1 && (q.Module == nil || !q.Module.Reasons()) {
			return false
		}
		m = q.Module
	}
	return !block || m != nil && !m.Reasons()
}

// TestSkippedIsNotAsked compares the reasons in an export of simulated households with what the questionnaire's evaluation says
// is not asked, for every question of households and of people: not_asked where there is no answer, and nowhere else.
func TestSkippedIsNotAsked(t *testing.T) {
	set, err := questionnaire.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	form, _ := set.Find("household")
	member, _ := form.Top().Find("members")
	var list []*surveyv1.Interview
	opts := study.SimulateOptions{Households: 40, Tablets: 2, Seed: 3, DuplicateRate: -1}
	if _, err := study.Simulate(opts, func(_ int, iv *surveyv1.Interview) error { list = append(list, iv); return nil }); err != nil {
		t.Fatal(err)
	}
	list[3].GetHousehold().Housing = nil // a group that nobody filled in: what it leads to is still told apart
	src := source(list, make([]*servicev1.InterviewSummary, len(list)))
	j, err := newJob(src, Options{Profile: identified, Formats: []servicev1.ExportFormat{asCSV}}, &memory{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	files := j.sink.sink.(*memory)
	tables := map[string][]map[string]string{"household": records(t, files.files["csv/household.csv"]), "person": records(t, files.files["csv/person.csv"])}
	next := map[string]int{}
	compared, marked := 0, 0
	check := func(table, prefix string, top *questionnaire.Module, not []string) {
		row := tables[table][next[table]]
		next[table]++
		for _, q := range j.plan.table(table).Questions {
			if q.from == q.at {
				continue
			}
			path := j.plan.table(table).Columns[q.from].Path
			if q.op == opMessage { // a place; groups have no reason of their own here
				path = path[:strings.LastIndexByte(path, '.')]
			}
			if !asksFor(top, path, q.op == opMessage) {
				continue
			}
			want := false
			for _, p := range not {
				want = want || p == prefix+path || strings.HasPrefix(prefix+path, p+".")
			}
			for _, c := range j.plan.table(table).Columns[q.from:q.at] {
				want = want && row[c.Name] == ""
			}
			if got := row[q.Why] == "not_asked"; got != want {
				t.Errorf("%s row %d %s: reason %q, not asked: %v", table, next[table]-1, path, row[q.Why], want)
			}
			if compared++; want {
				marked++
			}
		}
	}
	for _, iv := range list {
		not := form.Evaluate(iv.GetHousehold(), questionnaire.Options{Version: iv.GetQuestionnaireVersion()}).NotAsked
		check("household", "", form.Top(), not)
		for i := range iv.GetHousehold().GetMembers() {
			check("person", fmt.Sprintf("members[%d].", i), member.Module, not)
		}
	}
	if compared < 10_000 || marked < 2000 {
		t.Errorf("only %d questions compared, %d of them skipped", compared, marked)
	}
	blank, _ := export(t, src, Options{Profile: identified, Formats: []servicev1.ExportFormat{asCSV}, Clean: Clean{Skipped: "blank"}})
	if strings.Contains(string(blank.files["csv/person.csv"]), "not_asked") {
		t.Error("skipped=blank marks what was skipped")
	}
	if _, err := Write(t.Context(), src, Options{Clean: Clean{Skipped: "no"}}, &memory{}, nil); err == nil {
		t.Error("skipped=no passes")
	}
}

const herdForm = `edition = "2023";
package form.farm;
import "hearth/form/v1/options.proto";
message Farm {
  option (hearth.form.v1.module) = {title: {en: "Farm"} version: 2};
  int64 cows = 1 [(hearth.form.v1.question) = {label: {en: "Cows"}}];
  int64 milk = 2 [(hearth.form.v1.question) = {label: {en: "Milk"} relevant: "this.cows > 0"}];
  int64 goats = 3 [(hearth.form.v1.question) = {label: {en: "Goats"} since: 2}];
  Land land = 4 [(hearth.form.v1.question) = {label: {en: "Land"} relevant: "this.cows > 1"}];
  message Land {
    option (hearth.form.v1.module) = {title: {en: "Land"}};
    int64 area = 1 [(hearth.form.v1.question) = {label: {en: "Area"}}];
    map<uint32, hearth.form.v1.Missing> missing = 100;
  }
  repeated Field fields = 5 [(hearth.form.v1.question) = {label: {en: "Fields"} relevant: "this.cows < 9"}];
  message Field {
    option (hearth.form.v1.module) = {title: {en: "Field"}};
    string crop = 1 [(hearth.form.v1.question) = {label: {en: "Crop"}}];
    int64 yield = 2 [(hearth.form.v1.question) = {label: {en: "Yield"} relevant: "this.crop != 'none'"}];
    repeated Helper helpers = 3 [(hearth.form.v1.question) = {label: {en: "Helpers"}}];
    message Helper {
      option (hearth.form.v1.module) = {title: {en: "Helper"}};
      int64 age = 1 [(hearth.form.v1.question) = {label: {en: "Age"}}];
      int64 school = 2 [(hearth.form.v1.question) = {label: {en: "School"} relevant: "this.age < 16"}];
      map<uint32, hearth.form.v1.Missing> missing = 100;
    }
    map<uint32, hearth.form.v1.Missing> missing = 100;
  }
  map<uint32, hearth.form.v1.Missing> missing = 100;
}
`

// TestSkippedInPublished tells apart, in a questionnaire published at run time: skipped by a question, by a group, in rows of rows,
// by the version, refused, answered though not asked, and asked without an answer. An interview of another questionnaire stands between.
func TestSkippedInPublished(t *testing.T) {
	files, err := questionnaire.CompileProto(map[string]string{"f.proto": herdForm}, "f.proto")
	if err != nil {
		t.Fatal(err)
	}
	q, err := questionnaire.Load(files, "form.farm.Farm")
	if err != nil {
		t.Fatal(err)
	}
	var list []*surveyv1.Interview
	for i, text := range []string{
		`{"cows": "0", "land": {}, "fields": [{"crop": "none", "helpers": [{"age": "40"}, {"age": "9"}]}, {"crop": "rice", "helpers": [{"age": "41", "school": "3"}]}]}`,
		`{"cows": "3", "missing": {"2": "MISSING_REFUSED"}}`,
		`{"cows": "9", "milk": "5", "goats": "1"}`,
	} {
		m := dynamicpb.NewMessage(q.Descriptor())
		if err := protojson.Unmarshal([]byte(text), m); err != nil {
			t.Fatal(err)
		}
		raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, &surveyv1.Interview{
			InterviewId: proto.String(fmt.Sprintf("i-%d", i)), QuestionnaireVersion: proto.Uint32(uint32(min(i+1, 2))),
			Answers: &surveyv1.Interview_Other{Other: &surveyv1.OtherAnswers{Questionnaire: proto.String("form.farm.Farm"), Answers: raw}},
		}, &surveyv1.Interview{InterviewId: proto.String(fmt.Sprintf("h-%d", i)), Answers: &surveyv1.Interview_Household{Household: &surveyv1.Household{}}})
	}
	src := source(list, make([]*servicev1.InterviewSummary, len(list)))
	src.Published = []Published{{Top: q.Descriptor()}}
	src.Questionnaires = []*questionnaire.Questionnaire{q}
	made, _ := export(t, src, Options{Profile: identified, Formats: []servicev1.ExportFormat{asCSV}})
	for _, tt := range []struct {
		table  string
		row    int
		column string
		want   string
	}{
		{"farm", 0, "milk_why", "not_asked"}, {"farm", 1, "milk_why", "refused"}, {"farm", 2, "milk_why", ""}, {"farm", 2, "milk", "5"},
		{"farm", 0, "goats_why", "not_asked"}, {"farm", 1, "goats_why", ""}, {"farm", 2, "goats_why", ""}, // version 1; no answer; answered
		{"farm", 0, "area_why", "not_asked"}, {"farm", 1, "area_why", ""},
		{"farm", 0, "fields_why", ""}, {"farm", 1, "fields_why", ""}, {"farm", 2, "fields_why", "not_asked"},
		{"farm_fields", 0, "yield_why", "not_asked"}, {"farm_fields", 1, "yield_why", ""},
		{"farm_helpers", 0, "school_why", "not_asked"}, {"farm_helpers", 1, "school_why", ""}, {"farm_helpers", 2, "school_why", ""},
	} {
		var names []string
		for path := range made.files {
			names = append(names, path)
		}
		content, ok := made.files["csv/"+tt.table+".csv"]
		if !ok {
			t.Fatalf("there is no %s among %q", tt.table, names)
		}
		if got, ok := records(t, content)[tt.row][tt.column]; !ok && tt.want != "" || got != tt.want {
			t.Errorf("%s row %d %s: got %q (there: %v), want %q", tt.table, tt.row, tt.column, got, ok, tt.want)
		}
	}
}
