package syncer

import (
	"slices"
	"testing"

	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const farmForm = `edition = "2023";
package form.farm;
import "hearth/form/v1/options.proto";
message Farm {
  option (hearth.form.v1.module) = {title: {en: "Farm"} version: 1};
  int64 fields = 1 [(hearth.form.v1.question).label.en = "Fields"];
  Owner owner = 2 [(hearth.form.v1.question).label.en = "Owner"];
  repeated Animal animals = 3 [(hearth.form.v1.question).label.en = "Animals"];
  map<uint32, hearth.form.v1.Missing> missing = 100 [(hearth.form.v1.question) = {label: {en: "reasons"} system: true}];
}
message Owner {
  option (hearth.form.v1.module) = {title: {en: "Owner"}};
  string name = 1 [(hearth.form.v1.question).label.en = "Name"];
  int64 age = 2 [(hearth.form.v1.question).label.en = "Age"];
  map<uint32, hearth.form.v1.Missing> missing = 100 [(hearth.form.v1.question) = {label: {en: "reasons"} system: true}];
}
message Animal {
  option (hearth.form.v1.module) = {title: {en: "Animal"} level: "animal"};
  string animal_id = 1 [(hearth.form.v1.question) = {label: {en: "Id"} system: true}];
  string kind = 2 [(hearth.form.v1.question).label.en = "Kind"];
  int64 count = 3 [(hearth.form.v1.question).label.en = "Count"];
  map<uint32, hearth.form.v1.Missing> missing = 100 [(hearth.form.v1.question) = {label: {en: "reasons"} system: true}];
}
`

// TestMergeOtherAnswers merges what two people changed in a questionnaire published at run time, field by field.
func TestMergeOtherAnswers(t *testing.T) {
	files, err := questionnaire.CompileProto(map[string]string{"farm.proto": farmForm}, "farm.proto")
	if err != nil {
		t.Fatal(err)
	}
	q, err := questionnaire.Load(files, "")
	if err != nil {
		t.Fatal(err)
	}
	known := func(name string) protoreflect.MessageDescriptor {
		if name == q.Name() {
			return q.Descriptor()
		}
		return nil
	}
	interview := func(name, answers string) *surveyv1.Interview {
		m := q.New()
		if err := protojson.Unmarshal([]byte(answers), m); err != nil {
			t.Fatal(err)
		}
		raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return &surveyv1.Interview{
			InterviewId: proto.String("11111111-1111-4111-8111-111111111111"),
			Answers:     &surveyv1.Interview_Other{Other: &surveyv1.OtherAnswers{Questionnaire: proto.String(name), Answers: raw}},
		}
	}
	const name = "form.farm.Farm"
	was := `{"fields":3,"owner":{"name":"Wu","age":40},"animals":[{"animal_id":"a","kind":"ox","count":1},{"animal_id":"b","kind":"hen"}]}`
	a := `{"fields":4,"owner":{"name":"Wu","age":41},"animals":[{"animal_id":"a","kind":"ox","count":2},{"animal_id":"b","kind":"hen"}]}`
	b := `{"fields":3,"owner":{"name":"Wú","age":42},"animals":[{"animal_id":"b","kind":"hen","missing":{"3":"MISSING_REFUSED"}},{"animal_id":"a","kind":"ox","count":1}]}`
	both := `{"fields":4,"owner":{"name":"Wú","age":42},"animals":[{"animal_id":"b","kind":"hen","missing":{"3":"MISSING_REFUSED"}},{"animal_id":"a","kind":"ox","count":2}]}`
	root := version("root", interview(name, was))
	left, right := version("left", interview(name, a), root), version("right", interview(name, b), root)
	for _, tt := range []struct {
		what    string
		merger  Merger
		all     []Version
		choices map[string]Digest
		paths   []string
		want    string
	}{
		{"field by field", Merger{Answers: known}, []Version{root, left, right}, nil, []string{"other.answers.owner.age"}, ""},
		{"with a choice", Merger{Answers: known}, []Version{root, left, right}, map[string]Digest{"other.answers.owner.age": right.Digest}, nil, both},
		{"one side only", Merger{Answers: known}, []Version{root, left, version("same", interview(name, was), root)}, nil, nil, a},
		{"not known", Merger{}, []Version{root, left, right}, nil, []string{"other"}, ""},
		{"another questionnaire", Merger{Answers: known}, []Version{root, left, version("x", interview("form.farm.Other", b), root)}, nil, []string{"other"}, ""},
		{"no answers before", Merger{Answers: known}, []Version{version("left", interview(name, `{"fields":1}`)), version("right", interview(name, `{"owner":{"age":5}}`))}, nil, []string{"other.answers.fields", "other.answers.owner"}, ""},
	} {
		m, err := tt.merger.Merge(tt.all, tt.choices)
		if err != nil {
			t.Errorf("%s: %v", tt.what, err)
			continue
		}
		var paths []string
		for _, c := range m.Conflicts {
			paths = append(paths, c.GetPath())
		}
		if !slices.Equal(paths, tt.paths) || len(m.Unused) > 0 {
			t.Errorf("%s: conflicts %q, want %q; unused %q", tt.what, paths, tt.paths, m.Unused)
		}
		if tt.want != "" && !proto.Equal(m.Message, interview(name, tt.want)) {
			t.Errorf("%s: got %v, want %v", tt.what, m.Message, interview(name, tt.want))
		}
	}
	broken := interview(name, a)
	broken.GetOther().Answers = []byte{0xff}
	if m, err := (Merger{Answers: known}).Merge([]Version{root, left, version("broken", broken, root)}, nil); err != nil || len(m.Conflicts) != 1 || m.Conflicts[0].GetPath() != "other" {
		t.Errorf("bytes that are no message: %v, %v", m, err)
	}
}

// TestMergeOtherVersions merges corrections made under two versions: the same number may say something else in each, so that
// answers are never mixed, and go with the version that they were given to.
func TestMergeOtherVersions(t *testing.T) {
	files, err := questionnaire.CompileProto(map[string]string{"farm.proto": farmForm}, "farm.proto")
	if err != nil {
		t.Fatal(err)
	}
	q, err := questionnaire.Load(files, "")
	if err != nil {
		t.Fatal(err)
	}
	known := Merger{Answers: func(string) protoreflect.MessageDescriptor { return q.Descriptor() }}
	interview := func(v uint32, remark, answers string) *surveyv1.Interview {
		m := q.New()
		if err := protojson.Unmarshal([]byte(answers), m); err != nil {
			t.Fatal(err)
		}
		raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return &surveyv1.Interview{
			QuestionnaireVersion: proto.Uint32(v), Enumerator: proto.String(remark),
			Answers: &surveyv1.Interview_Other{Other: &surveyv1.OtherAnswers{Questionnaire: proto.String("form.farm.Farm"), Answers: raw}},
		}
	}
	root := version("root", interview(1, "E1", `{"fields":3}`))
	old := version("old", interview(1, "E1", `{"fields":4}`), root)
	for _, tt := range []struct {
		what      string
		newer     Version
		choices   map[string]Digest
		conflicts int
		version   uint32
		fields    string
	}{
		{"both changed answers", version("new", interview(2, "E1", `{"fields":3,"owner":{"age":5}}`), root), nil, 1, 0, ""},
		{"both, and the older is right", version("new", interview(2, "E1", `{"owner":{"age":5}}`), root), map[string]Digest{"other": old.Digest}, 0, 1, `{"fields":4}`},
		{"both, and the newer is right", version("new", interview(2, "E1", `{"owner":{"age":5}}`), root), map[string]Digest{"other": version("new", interview(2, "E1", `{"owner":{"age":5}}`), root).Digest}, 0, 2, `{"owner":{"age":5}}`},
		{"only the older changed answers", version("new", interview(2, "E2", `{"fields":3}`), root), nil, 0, 1, `{"fields":4}`},
	} {
		m, err := known.Merge([]Version{root, old, tt.newer}, tt.choices)
		if err != nil || len(m.Conflicts) != tt.conflicts || len(m.Unused) > 0 {
			t.Errorf("%s: conflicts %v, %v", tt.what, m.Conflicts, err)
			continue
		}
		got := m.Message.(*surveyv1.Interview)
		if tt.conflicts == 0 && !proto.Equal(got, interview(tt.version, tt.newer.Message.(*surveyv1.Interview).GetEnumerator(), tt.fields)) {
			t.Errorf("%s: got %v", tt.what, got)
		}
	}
}
