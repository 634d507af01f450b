package questionnaire

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

// vectorFile is the form of testdata/vectors.json: section 7 of LANGUAGE.md.
type vectorFile struct {
	Questionnaires map[string]vectorForm `json:"questionnaires"`
	Vectors        []*vector             `json:"vectors"`
}

type vectorForm struct {
	Files []byte `json:"files"`
	Top   string `json:"top"`
}

type vector struct {
	Questionnaire string            `json:"questionnaire"`
	About         string            `json:"about"`
	Version       uint32            `json:"version,omitempty"`
	Completed     bool              `json:"completed,omitempty"`
	Now           string            `json:"now,omitempty"`
	Answers       json.RawMessage   `json:"answers"`
	NotAsked      []string          `json:"not_asked"`
	Missing       map[string]string `json:"missing"`
	Violations    []vectorViolation `json:"violations"`
	Calculated    map[string]any    `json:"calculated"`
}

type vectorViolation struct {
	Path     string            `json:"path"`
	Rule     string            `json:"rule"`
	Severity string            `json:"severity"`
	Message  map[string]string `json:"message"`
}

// add puts a questionnaire into the file.
func (f *vectorFile) add(t testing.TB, name string, q *Questionnaire) {
	t.Helper()
	files, err := proto.MarshalOptions{Deterministic: true}.Marshal(q.Files())
	if err != nil {
		t.Fatal(err)
	}
	f.Questionnaires[name] = vectorForm{files, q.Name()}
}

// vector is a random interview and what Go finds in it.
func (g *guesser) vector(t testing.TB, q *Questionnaire, about string) *vector {
	t.Helper()
	v := &vector{Questionnaire: q.Name(), About: about, Completed: g.IntN(2) == 0}
	if g.IntN(3) == 0 {
		v.Version = uint32(g.IntN(int(q.Version()) + 1))
	}
	if g.IntN(4) > 0 {
		v.Now = []string{"2016-07-21T18:05:00+08:00", "2016-07-20T23:30:00Z", "2015-12-31T00:00:00-03:30"}[g.IntN(3)]
	}
	v.fill(t, q, g.answers(q))
	return v
}

// fill writes into a vector what Go finds.
func (v *vector) fill(t testing.TB, q *Questionnaire, m proto.Message) {
	t.Helper()
	o := Options{Version: v.Version, Completed: v.Completed}
	if v.Now != "" {
		now, err := time.Parse(time.RFC3339, v.Now)
		if err != nil {
			t.Fatal(err)
		}
		o.Now = now
	}
	e := q.Evaluate(m, o)
	answers, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	v.Answers, v.NotAsked = answers, append([]string{}, e.NotAsked...)
	v.Missing, v.Calculated, v.Violations = map[string]string{}, map[string]any{}, []vectorViolation{}
	for _, a := range e.Missing {
		reason := strings.TrimPrefix(a.Reason.String(), "MISSING_")
		if a.Reason == formv1.Missing_MISSING_UNSPECIFIED {
			reason = ""
		}
		v.Missing[a.Path] = reason
	}
	for _, c := range e.Calculated {
		switch x := c.Value.(type) {
		case int64:
			v.Calculated[c.Path] = strconv.FormatInt(x, 10)
		case float64: // JSON has no NaN
			v.Calculated[c.Path] = x
			if _, err := finite(x); err != nil {
				v.Calculated[c.Path] = numberText(x)
			}
		default:
			v.Calculated[c.Path] = x
		}
	}
	for _, f := range e.Flags {
		message := map[string]string{}
		for lang, s := range map[string]string{"en": f.GetMessage().GetEn(), "zh": f.GetMessage().GetZh()} {
			if s != "" {
				message[lang] = s
			}
		}
		v.Violations = append(v.Violations, vectorViolation{f.GetPath(), f.GetRule(), strings.TrimPrefix(f.GetSeverity().String(), "SEVERITY_"), message})
	}
	slices.SortStableFunc(v.Violations, func(a, b vectorViolation) int {
		return strings.Compare(a.Path+"\x00"+a.Rule, b.Path+"\x00"+b.Rule)
	})
}

// runNode lets the TypeScript library compare a file of vectors with what it finds itself.
func runNode(t *testing.T, file vectorFile) {
	t.Helper()
	data, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "vectors.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "node", "../../clients/web/out/test/compare.js", path).CombinedOutput()
	if err != nil {
		t.Fatalf("node and Go do not agree: %v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// TestTypeScriptAgrees writes random interviews with the questionnaires built in and lets node evaluate them too. It needs
// what `make web` compiles, which runs it.
func TestTypeScriptAgrees(t *testing.T) {
	if os.Getenv("HEARTH_WEB") == "" {
		t.Skip("make web runs this with HEARTH_WEB=1, after it has compiled clients/web")
	}
	set, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	file := vectorFile{Questionnaires: map[string]vectorForm{}}
	all := append(set.All(), everything(t))
	for _, q := range all {
		file.add(t, q.Name(), q)
	}
	for seed := range uint64(200) {
		g := newGuesser(seed)
		q := all[seed%uint64(len(all))]
		if seed%3 == 0 {
			q = all[len(all)-1]
		}
		file.Vectors = append(file.Vectors, g.vector(t, q, fmt.Sprintf("seed %d", seed)))
	}
	for _, made := range madeOfSeeds(t, 1000, 1010) {
		q, err := Load(made.set, "")
		if err != nil {
			t.Fatalf("%s: %v", made.name, err)
		}
		file.add(t, made.name, q)
		for _, v := range made.vectors {
			v = outcomeOfVector(t, q, v)
			file.Vectors = append(file.Vectors, &v)
		}
	}
	runNode(t, file)
}
