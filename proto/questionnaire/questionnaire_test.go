package questionnaire

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares text with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := "testdata/" + name
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); if the change is meant, run the test with -update:\n%s", path, diff)
	}
}

func TestBuiltin(t *testing.T) {
	s := builtin(t)
	var got []string
	for _, q := range s.All() {
		got = append(got, fmt.Sprintf("%s %d %s", q.Name(), q.Version(), q.Title().GetZh()))
		if q.Questions() < 100 {
			t.Errorf("%s has %d questions, want at least 100", q.Name(), q.Questions())
		}
		for _, name := range []string{q.Name(), strings.ToLower(string(q.top.Desc.Name()))} {
			if found, ok := s.Find(name); !ok || found != q {
				t.Errorf("Find(%q) does not find %s", name, q.Name())
			}
		}
		if q.Knows(0) || !q.Knows(1) || !q.Knows(q.Version()) || q.Knows(q.Version()+1) {
			t.Errorf("%s does not know the versions 1 to %d and no others", q.Name(), q.Version())
		}
	}
	want := []string{"hearth.survey.v1.Household 2 住户问卷", "hearth.survey.v1.Migration 1 迁移史问卷", "hearth.survey.v1.School 1 学校问卷"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("questionnaires differ (-want +got):\n%s", diff)
	}
	for _, name := range []string{"", "house", "hearth.survey.v1.Interview", "v1.Household"} {
		if _, ok := s.Find(name); ok {
			t.Errorf("Find(%q) finds one", name)
		}
	}
}

func TestNameOf(t *testing.T) {
	tests := []struct {
		iv   *surveyv1.Interview
		want string
	}{
		{nil, ""},
		{&surveyv1.Interview{}, ""},
		{&surveyv1.Interview{Answers: &surveyv1.Interview_Household{Household: &surveyv1.Household{}}}, "hearth.survey.v1.Household"},
		{&surveyv1.Interview{Answers: &surveyv1.Interview_School{School: &surveyv1.School{}}}, "hearth.survey.v1.School"},
		{&surveyv1.Interview{Answers: &surveyv1.Interview_Migration{}}, "hearth.survey.v1.Migration"},
		{&surveyv1.Interview{Answers: &surveyv1.Interview_Other{Other: &surveyv1.OtherAnswers{Questionnaire: proto.String("a.B")}}}, "a.B"},
	}
	for _, test := range tests {
		if got := NameOf(test.iv); got != test.want {
			t.Errorf("NameOf(%v) = %q, want %q", test.iv, got, test.want)
		}
	}
	if flags := builtin(t).Evaluate(nil); flags != nil {
		t.Errorf("no interview has the flags %v", flags)
	}
}

// A fingerprint that changes without a new version means that tablets and server mean different things by one version.
func TestFingerprints(t *testing.T) {
	var b strings.Builder
	seen := map[string]bool{}
	for _, q := range builtin(t).All() {
		for v := uint32(1); v <= q.Version(); v++ {
			f := q.Fingerprint(v)
			if len(f) != 8 || seen[string(f)] {
				t.Errorf("%s version %d has the fingerprint %x, want 8 bytes that no other version has", q.Name(), v, f)
			}
			seen[string(f)] = true
			fmt.Fprintf(&b, "%s %d %x\n", q.Name(), v, f)
		}
		if f := q.Fingerprint(q.Version() + 1); f != nil {
			t.Errorf("%s version %d is not known and has the fingerprint %x", q.Name(), q.Version()+1, f)
		}
	}
	golden(t, "fingerprints.txt", b.String())
}

// What a fingerprint depends on, and what not.
func TestFingerprintIsOfTheStructure(t *testing.T) {
	print := func(schema string, version uint32) string {
		return structure(interviewOf(t, schema).Fields().ByName("q").Message(), version)
	}
	base := print(in(`Answer a = 1 [QUESTION.label.en = "A"];`), 1)
	if got := print(in(`Answer a = 1 [QUESTION = {label: {en: "Another wording"} hint: {en: "h"} relevant: "this.age > 3"}];`), 1); got != base {
		t.Errorf("another wording changes the structure (-before +after):\n%s", cmp.Diff(base, got))
	}
	if got := print(in(`Answer a = 1 [QUESTION.label.en = "A"]; int32 b = 2 [QUESTION = {label: {en: "B"} since: 2}];`), 1); got != base {
		t.Errorf("a question of version 2 changes version 1 (-before +after):\n%s", cmp.Diff(base, got))
	}
	for what, field := range map[string]string{
		"name": `Answer b = 1 [QUESTION.label.en = "A"];`, "number": `Answer a = 2 [QUESTION.label.en = "A"];`,
		"type": `int32 a = 1 [QUESTION.label.en = "A"];`, "cardinality": `repeated Answer a = 1 [QUESTION.label.en = "A"];`,
	} {
		if got := print(in(field), 1); got == base {
			t.Errorf("another %s does not change the structure", what)
		}
	}
	if v2 := print(in(`Answer a = 1 [QUESTION.label.en = "A"];`), 2); !strings.Contains(v2, "value 2 ANSWER_LATER") || strings.Contains(base, "ANSWER_LATER") {
		t.Errorf("an answer since version 2 is not in that version alone:\n%s\n%s", base, v2)
	}
}

func TestCodebook(t *testing.T) {
	for _, q := range builtin(t).All() {
		var b, again bytes.Buffer
		if err := q.WriteCodebook(&b); err != nil {
			t.Fatal(err)
		}
		if err := q.WriteCodebook(&again); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
			t.Errorf("%s: the second codebook differs from the first (%v)", q.Name(), err)
		}
		page := b.String()
		for _, bad := range []string{"<script", "http:", "https:", "src=", "url(", "ZgotmplZ", "&lt;nil&gt;", "<no value>", "@import"} {
			if strings.Contains(page, bad) {
				t.Errorf("%s: the page has %q", q.Name(), bad)
			}
		}
		// Every question and every answer of the questionnaire stands in its codebook, once as a place to jump to.
		seen := map[*Module]bool{}
		var visit func(m *Module)
		visit = func(m *Module) {
			if seen[m] {
				return
			}
			seen[m] = true
			for _, x := range m.Questions {
				if n := strings.Count(page, `id="`+string(x.Field.FullName())+`"`); n != 1 {
					t.Errorf("%s: %s stands in the page %d times, want once", q.Name(), x.Field.FullName(), n)
				}
				if x.enum != nil {
					codebookHasChoices(t, page, x.enum.Desc)
				}
				if x.Module != nil {
					visit(x.Module)
				}
			}
		}
		visit(q.top)
		if len(seen) < 10 {
			t.Errorf("%s: %d modules visited, the walk is broken", q.Name(), len(seen))
		}
		for _, link := range strings.Split(page, `href="#`)[1:] {
			anchor, _, _ := strings.Cut(link, `"`)
			if !strings.Contains(page, `id="`+anchor+`"`) {
				t.Errorf("%s: a link leads to %s, which is not there", q.Name(), anchor)
			}
		}
	}
}

func codebookHasChoices(t *testing.T, page string, e protoreflect.EnumDescriptor) {
	t.Helper()
	for _, c := range choicesOf(e) {
		if !strings.Contains(page, c.Label.GetZh()) {
			t.Errorf("%s %d %s does not stand in the page", e.FullName(), c.Number, c.Label.GetZh())
		}
	}
}

// One question of each sort, and one block, to the letter.
func TestCodebookGolden(t *testing.T) {
	q, _ := builtin(t).Find("household")
	var b bytes.Buffer
	if err := q.WriteCodebook(&b); err != nil {
		t.Fatal(err)
	}
	var parts []string
	for _, id := range []string{"HouseholdMember.age", "HouseholdMember.marital_status", "HouseholdMember.ethnic_group", "HouseholdMember.temporary_residence_permit",
		"HouseholdCover.household_size", "Household.members", "Place.division_code", "PartialDate.day"} {
		_, rest, found := strings.Cut(b.String(), `id="hearth.survey.v1.`+id+`"`)
		part, _, closed := strings.Cut(rest, "</section>")
		if !found || !closed {
			t.Fatalf("%s does not stand in the page", id)
		}
		parts = append(parts, id+part)
	}
	golden(t, "codebook.txt", strings.Join(parts, "\n"))
}

func BenchmarkWriteCodebook(b *testing.B) {
	q, _ := builtin(b).Find("household")
	var page bytes.Buffer
	b.ReportAllocs()
	for b.Loop() {
		page.Reset()
		if err := q.WriteCodebook(&page); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBuiltin(b *testing.B) {
	for b.Loop() {
		if _, err := Builtin(); err != nil {
			b.Fatal(err)
		}
	}
}
