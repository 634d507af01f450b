package tablet

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const shopForm = `edition = "2023";
package form.shop;
import "hearth/form/v1/options.proto";
enum Kind { KIND_UNSPECIFIED = 0; KIND_STALL = 1; KIND_STORE = 2; }
message Shop {
  option (hearth.form.v1.module) = {title: {en: "Shop"} version: 1};
  string name = 1 [(hearth.form.v1.question).label.en = "Name"];
  Kind kind = 2 [(hearth.form.v1.question).label.en = "Kind"];
  repeated Worker workers = 3 [(hearth.form.v1.question).label.en = "Workers"];
}
message Worker {
  option (hearth.form.v1.module) = {title: {en: "Worker"}};
  int64 age = 1 [(hearth.form.v1.question).label.en = "Age"];
}
`

func shopSchema(t testing.TB) schemas {
	t.Helper()
	files, err := questionnaire.CompileProto(map[string]string{"shop.proto": shopForm}, "shop.proto")
	if err != nil {
		t.Fatal(err)
	}
	q, err := questionnaire.Load(files, "")
	if err != nil {
		t.Fatal(err)
	}
	return func(name string) protoreflect.MessageDescriptor {
		if name == q.Name() {
			return q.Descriptor()
		}
		return nil
	}
}

func interviewOf(answers string) string {
	return `{"interview_id":"8f14e45f-ceea-467f-a8f5-2d1f2a1f0001","questionnaire_version":1,"other":{"questionnaire":"form.shop.Shop","answers":` + answers + `}}`
}

// TestLoadAnswersByName loads answers as an object, and has them again as an object, and as base64 where the tablet does
// not know the questionnaire.
func TestLoadAnswersByName(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "t.sqlite")
	s, err := Create(ctx, path, CreateOptions{Name: "t", Enumerator: "E", Study: "s", Answers: shopSchema(t)})
	if err != nil {
		t.Fatal(err)
	}
	const object = `{"name":"Li's \"best\"","kind":"KIND_STORE","workers":[{"age":"20"},{}]}`
	load := func(lines ...string) LoadReport {
		t.Helper()
		report, err := s.Load(ctx, strings.NewReader(strings.Join(lines, "\n")), nil)
		if err != nil {
			t.Fatal(err)
		}
		return report
	}
	if r := load(interviewOf(object)); r.Added != 1 {
		t.Fatalf("loaded %+v", r)
	}
	var out bytes.Buffer
	if err := s.Export(ctx, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), `"answers":`+object) {
		t.Errorf("exported %s, want the answers by name", out.String())
	}
	if r := load(out.String()); r.Unchanged != 1 {
		t.Errorf("loaded again: %+v, want nothing new", r)
	}
	for _, tt := range []struct {
		line   string
		reason fault.Reason
		says   string
	}{
		{interviewOf(`{"name":1}`), fault.BadJSON, "other.answers: (column 9): invalid value for string field name: 1"},
		{interviewOf(`{"kind":"KIND_MALL"}`), fault.BadJSON, "it takes KIND_STALL, KIND_STORE"},
		{interviewOf(`{"nam":"x"}`), fault.BadJSON, `unknown field "nam"`},
		{interviewOf(`{"name":"x"`), fault.BadJSON, ""},
		{strings.Replace(interviewOf(object), "Shop", "Mall", 1), fault.QuestionnaireNotHere, "form.shop.Mall"},
		{strings.Replace(interviewOf(object), `"questionnaire":"form.shop.Shop",`, "", 1), fault.QuestionnaireNotHere, `questionnaire ""`},
	} {
		r := load(tt.line)
		if len(r.Problems) != 1 || r.Problems[0].Reason != tt.reason || !strings.Contains(r.Problems[0].Message, tt.says) {
			t.Errorf("%s: got %+v, want %s, %q", tt.line, r.Problems, tt.reason, tt.says)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(ctx, path, Options{}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var packed bytes.Buffer
	if err := s.Export(ctx, &packed); err != nil {
		t.Fatal(err)
	}
	iv := &surveyv1.Interview{}
	if err := protojson.Unmarshal(packed.Bytes(), iv); err != nil {
		t.Fatal(err)
	}
	if r := load(packed.String()); r.Unchanged != 1 || len(iv.GetOther().GetAnswers()) == 0 {
		t.Errorf("as base64: %+v, %s", r, packed.String())
	}
}

// TestExportLosesNoAnswers: what the tablet's version of the questionnaire cannot name stays base64.
func TestExportLosesNoAnswers(t *testing.T) {
	schema := shopSchema(t)
	for name, packed := range map[string]string{
		"a field of a later version": "CgFh" + "mAEB", "fields in another order": "EAEKAWE=", "no message": "/w==", "an unknown choice": "EGM=",
	} {
		line := []byte(interviewOf(`"` + packed + `"`))
		got := unpackAnswers(line, schema)
		if name == "an unknown choice" {
			if !bytes.Contains(got, []byte(`{"kind":99}`)) {
				t.Errorf("%s: got %s", name, got)
			}
			continue
		}
		if !bytes.Equal(got, line) {
			t.Errorf("%s: got %s, want it as it was", name, got)
		}
	}
}

// FuzzAnswers packs any line: the rest of it stays, and what can be unpacked is packed again to the same bytes.
func FuzzAnswers(f *testing.F) {
	schema := shopSchema(f)
	for _, seed := range []string{
		interviewOf(`{"name":"a","workers":[{"age":1}]}`), interviewOf(`"CgFh"`), `{"other":1}`, `{"other":{"answers":{}}}`, `{"a":{"other":{}},"other":{"answers":`,
		`{"other":{"questionnaire":"form.shop.Shop","answers":{"kind":2},"answers":{"kind":1}}}`, `[]`, ``, `"other"`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		packed, err := packAnswers(line, schema)
		if err != nil {
			if k := fault.KindOf(err); k != fault.Invalid {
				t.Fatalf("%v is of kind %v", err, k)
			}
			return
		}
		if again, err := packAnswers(unpackAnswers(packed, schema), schema); err == nil && !bytes.Equal(again, packed) {
			a, b := &surveyv1.Interview{}, &surveyv1.Interview{}
			if protojson.Unmarshal(packed, a) == nil && (protojson.Unmarshal(again, b) != nil || !bytes.Equal(a.GetOther().GetAnswers(), b.GetOther().GetAnswers())) {
				t.Fatalf("%q became %q", packed, again)
			}
		}
	})
}
