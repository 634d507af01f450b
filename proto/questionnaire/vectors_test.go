package questionnaire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// testdata/vectors.json is what Go and TypeScript both run: section 7 of LANGUAGE.md. It is made from testdata/vectors/*.txt,
// where people wrote what must come out, and from questionnaires and answers made at random, where what must come out is
// what this package says; go test -run TestVectors -update writes it anew.
const vectorsJSON = "testdata/vectors.json"

// outcomeOfVector evaluates the answers of a vector.
func outcomeOfVector(t *testing.T, q *Questionnaire, v vector) vector {
	t.Helper()
	m := q.New()
	if err := protojson.Unmarshal(v.Answers, m); err != nil {
		t.Fatalf("%s: %s: %v", v.Questionnaire, v.About, err)
	}
	answers := v.Answers
	v.fill(t, q, m)
	v.Answers = answers
	slices.Sort(v.NotAsked)
	return v
}

// handMade is what a person wrote: a questionnaire, or one interview with all that must come out.
type handMade struct {
	vector
	rules []string // "path rule" of the violations
}

// readHandMade reads a file of testdata/vectors. It has questionnaires, "== name" and then the text of a .proto file, each
// with cases, "-- about", a line of options, the answers, and lines that say what must come out: "not path ...",
// "missing path path=REASON ...", "flag path rule", "calc path value".
func readHandMade(t *testing.T, path string) (sources map[string]string, cases []handMade) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sources = map[string]string{}
	for _, part := range strings.Split("\n"+string(raw), "\n== ")[1:] {
		name, rest, _ := strings.Cut(part, "\n")
		pieces := strings.Split("\n"+rest, "\n-- ")
		sources[name] = vectorProto(name, pieces[0])
		for _, piece := range pieces[1:] {
			c := handMade{vector: vector{Questionnaire: name, Missing: map[string]string{}, Calculated: map[string]any{}, NotAsked: []string{}}}
			lines := strings.Split(piece, "\n")
			c.About = strings.TrimSpace(lines[0])
			for _, line := range lines[1:] {
				word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
				switch {
				case word == "" || strings.HasPrefix(word, "#"):
				case strings.HasPrefix(word, "{"):
					c.Answers = json.RawMessage(strings.TrimSpace(line))
				case word == "version":
					fmt.Sscan(rest, &c.Version)
				case word == "completed":
					c.Completed = true
				case word == "now":
					c.Now = rest
				case word == "not":
					c.NotAsked = append(c.NotAsked, strings.Fields(rest)...)
				case word == "missing":
					for _, m := range strings.Fields(rest) {
						path, reason, _ := strings.Cut(m, "=")
						c.Missing[path] = reason
					}
				case word == "flag":
					c.rules = append(c.rules, rest)
				case word == "calc":
					path, value, _ := strings.Cut(rest, " ")
					var x any
					if err := json.Unmarshal([]byte(value), &x); err != nil {
						t.Fatalf("%s: %s: %q: %v", path, c.About, line, err)
					}
					if _, whole := x.(float64); whole && !strings.Contains(value, ".") {
						x = value // whole numbers are texts in protobuf's JSON
					}
					c.Calculated[path] = x
				default:
					t.Fatalf("%s: %s: what is %q?", path, c.About, line)
				}
			}
			slices.Sort(c.NotAsked)
			slices.Sort(c.rules)
			cases = append(cases, c)
		}
	}
	return sources, cases
}

// vectorProto is the text of a file with the messages given; the words QUESTION and MODULE stand for the options.
func vectorProto(name, body string) string {
	head := "edition = \"2023\";\npackage form." + name + ";\n"
	for _, needed := range [][2]string{
		{"buf.validate", "buf/validate/validate.proto"}, {"google.protobuf.Timestamp", "google/protobuf/timestamp.proto"},
		{"survey.v1.GeoPoint", "hearth/survey/v1/place.proto"}, {"survey.v1.PartialDate", "hearth/survey/v1/common.proto"},
	} {
		if strings.Contains(body, needed[0]) {
			head += "import \"" + needed[1] + "\";\n"
		}
	}
	return head + "import \"hearth/form/v1/options.proto\";\n" +
		strings.NewReplacer("QUESTION", "(hearth.form.v1.question)", "MODULE", "option (hearth.form.v1.module)", "CHOICE", "(hearth.form.v1.choice)",
			"MISSING_MAP;", `map<uint32, hearth.form.v1.Missing> missing = 100 [(hearth.form.v1.question) = {label: {en: "reasons"} system: true}];`).Replace(body)
}

// vectorSet compiles a questionnaire of the vectors, without what only errors need.
func vectorSet(t *testing.T, name, source string) *descriptorpb.FileDescriptorSet {
	t.Helper()
	path := "form/" + name + ".proto"
	set, err := CompileProto(map[string]string{path: source}, path)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for _, f := range set.File {
		f.SourceCodeInfo = nil
	}
	return set
}

// madeByHand loads all questionnaires and cases that were written by hand.
func madeByHand(t *testing.T) (sets map[string]*descriptorpb.FileDescriptorSet, cases []handMade) {
	t.Helper()
	paths, err := filepath.Glob("testdata/vectors/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no vectors were found: %v", err)
	}
	sets = map[string]*descriptorpb.FileDescriptorSet{}
	for _, path := range paths {
		sources, more := readHandMade(t, path)
		for name, source := range sources {
			if sets[name] != nil {
				t.Fatalf("%s: the questionnaire %s is there twice", path, name)
			}
			sets[name] = vectorSet(t, name, source)
		}
		cases = append(cases, more...)
	}
	return sets, cases
}

// What was written by hand comes out.
func TestVectorsMadeByHand(t *testing.T) {
	sets, cases := madeByHand(t)
	loaded := map[string]*Questionnaire{}
	for name, set := range sets {
		q, err := Load(set, "")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		loaded[name] = q
	}
	for _, c := range cases {
		got := outcomeOfVector(t, loaded[c.Questionnaire], c.vector)
		rules := []string{}
		for _, v := range got.Violations {
			_, short, _ := strings.Cut(v.Rule, "form."+c.Questionnaire+".")
			rules = append(rules, v.Path+" "+short)
		}
		slices.Sort(rules)
		type all struct {
			NotAsked, Rules []string
			Missing         map[string]string
			Calculated      map[string]any
		}
		if diff := cmp.Diff(all{c.NotAsked, c.rules, c.Missing, c.Calculated}, all{got.NotAsked, rules, got.Missing, got.Calculated}, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s (-want +got):\n%s", c.Questionnaire, c.About, diff)
		}
	}
	t.Logf("%d vectors were written by hand", len(cases))
}

// The file that TypeScript runs says what this package says.
func TestVectorsFile(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	raw, err := os.ReadFile(vectorsJSON)
	if err != nil {
		t.Fatal(err)
	}
	var file vectorFile
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	loaded := map[string]*Questionnaire{}
	for name, x := range file.Questionnaires {
		set := &descriptorpb.FileDescriptorSet{}
		err := proto.Unmarshal(x.Files, set)
		if err != nil {
			t.Fatal(err)
		}
		if loaded[name], err = Load(set, x.Top); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	for _, v := range file.Vectors {
		got := outcomeOfVector(t, loaded[v.Questionnaire], *v)
		got.Answers, v.Answers = nil, nil
		if diff := cmp.Diff(*v, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s (-file +got):\n%s", v.Questionnaire, v.About, diff)
		}
	}
	_, cases := madeByHand(t)
	if hand := len(cases); len(file.Vectors) < 300 || len(file.Vectors) < hand {
		t.Errorf("%s has %d vectors, %d of them by hand; at least 300 are wanted: run the test with -update", vectorsJSON, len(file.Vectors), hand)
	}
}

// writeVectors writes the file anew.
func writeVectors(t *testing.T) {
	t.Helper()
	file := vectorFile{Questionnaires: map[string]vectorForm{}}
	loaded := map[string]*Questionnaire{}
	add := func(name string, set *descriptorpb.FileDescriptorSet) {
		raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(set)
		if err != nil {
			t.Fatal(err)
		}
		q, err := Load(set, "")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		loaded[name] = q
		file.Questionnaires[name] = vectorForm{raw, q.Name()}
	}
	sets, cases := madeByHand(t)
	for _, name := range slices.Sorted(maps.Keys(sets)) {
		add(name, sets[name])
	}
	for _, c := range cases {
		v := outcomeOfVector(t, loaded[c.Questionnaire], c.vector)
		file.Vectors = append(file.Vectors, &v)
	}
	for _, made := range madeAtRandom(t) {
		add(made.name, made.set)
		for _, v := range made.vectors {
			out := outcomeOfVector(t, loaded[made.name], v)
			file.Vectors = append(file.Vectors, &out)
		}
	}
	add("everything", everything(t).Files())
	for seed := range uint64(60) {
		v := newGuesser(seed).vector(t, loaded["everything"], fmt.Sprintf("random %d", seed+1))
		v.Questionnaire = "everything"
		slices.Sort(v.NotAsked)
		file.Vectors = append(file.Vectors, v)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	b.WriteString("{\"questionnaires\": {\n")
	for i, name := range slices.Sorted(maps.Keys(file.Questionnaires)) {
		if i > 0 {
			b.WriteString(",\n")
		}
		fmt.Fprintf(&b, "%q: ", name)
		if err := e.Encode(file.Questionnaires[name]); err != nil {
			t.Fatal(err)
		}
		b.Truncate(b.Len() - 1)
	}
	b.WriteString("\n}, \"vectors\": [\n")
	for i, v := range file.Vectors {
		if i > 0 {
			b.WriteString(",\n")
		}
		if err := e.Encode(v); err != nil {
			t.Fatal(err)
		}
		b.Truncate(b.Len() - 1)
	}
	b.WriteString("\n]}\n")
	if err := os.WriteFile(vectorsJSON, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
