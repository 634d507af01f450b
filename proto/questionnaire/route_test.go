package questionnaire

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"pgregory.net/rapid"
)

// paths is a Router that writes down what it is told.
type paths struct {
	at      []string
	rows    map[string]int
	skipped []string
}

func (p *paths) here(q *Question) string {
	if len(p.at) == 0 {
		return q.name
	}
	return p.at[len(p.at)-1] + "." + q.name
}

func (p *paths) Enter(q *Question) {
	path := p.here(q)
	if q.List {
		p.rows[path]++
		path = fmt.Sprintf("%s[%d]", path, p.rows[path]-1)
	}
	p.at = append(p.at, path)
}

func (p *paths) Leave() { p.at = p.at[:len(p.at)-1] }

func (p *paths) Skipped(q *Question) { p.skipped = append(p.skipped, p.here(q)) }

// unheld are the paths of the questions not asked, by what Evaluate says, that hold no answer, and those of their parts that
// hold none where the whole does; parts of a block are left out.
func unheld(m *Module, at protoreflect.Message, path string, notAsked map[string]bool, under bool) (out []string) {
	for _, q := range m.Questions {
		here := path + q.name
		not := under || notAsked[here]
		var d datum
		x := viewOf(at, nil)
		held := q.access.read(&x, &d)
		switch {
		case !held && not:
			out = append(out, here)
		case q.Module == nil || q.Module.missing == nil && !q.List && !q.Module.top || !held && q.List:
		case q.List:
			for i := range at.Get(q.Field).List().Len() {
				out = append(out, unheld(q.Module, at.Get(q.Field).List().Get(i).Message(), fmt.Sprintf("%s[%d].", here, i), notAsked, not)...)
			}
		default:
			out = append(out, unheld(q.Module, at.Get(q.Field).Message(), here+".", notAsked, not)...)
		}
	}
	return out
}

// What Route tells is what Evaluate says of the same answers: in questionnaires by hand and at random.
func TestRouteIsWhatEvaluateSays(t *testing.T) {
	raw, err := os.ReadFile(vectorsJSON)
	if err != nil {
		t.Fatal(err)
	}
	var file vectorFile
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	skipped, nested := 0, 0
	for name, x := range file.Questionnaires {
		set := &descriptorpb.FileDescriptorSet{}
		if err := proto.Unmarshal(x.Files, set); err != nil {
			t.Fatal(err)
		}
		q, err := Load(set, x.Top)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range file.Vectors {
			if v.Questionnaire != name {
				continue
			}
			m := proto.Message(q.New())
			if err := protojson.Unmarshal(v.Answers, m); err != nil {
				t.Fatal(err)
			}
			if m, err = q.Upgrade(m, v.Version); err != nil {
				continue
			}
			not := map[string]bool{}
			for _, path := range q.Evaluate(m, Options{Version: v.Version}).NotAsked {
				not[path] = true
			}
			got := &paths{rows: map[string]int{}}
			q.Route(m, v.Version, got)
			want := unheld(q.top, m.ProtoReflect(), "", not, false)
			skipped += len(want)
			for _, p := range want {
				if strings.Contains(p, "].") {
					nested++
				}
			}
			if !slices.Equal(got.skipped, want) {
				t.Errorf("%s: %s: skipped %q, want %q", name, v.About, got.skipped, want)
			}
		}
	}
	if skipped < 500 || nested < 50 {
		t.Errorf("only %d questions were skipped, %d of them in rows", skipped, nested)
	}
}

// Nothing that stands in a log stops Route, and it leaves as often as it enters.
func TestRouteAnyInterview(t *testing.T) {
	s := builtin(t)
	rapid.Check(t, func(t *rapid.T) {
		p := &paths{rows: map[string]int{}}
		s.Route(interviews(t), p)
		if len(p.at) != 0 {
			t.Fatalf("it ended in %q", p.at)
		}
	})
}
