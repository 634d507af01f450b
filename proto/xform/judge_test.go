package xform

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/hearth-survey/hearth/proto/questionnaire"
)

// The judge is the engine of ODK Web Forms, which nobody here wrote. It is filled in as a person would fill it in, and has
// to say of every question what the questionnaire says of the same answers.

// state is what the engine says of one question.
type state struct {
	Relevant bool     `json:"relevant"`
	Required bool     `json:"required"`
	Broken   bool     `json:"broken"`
	Needed   bool     `json:"needed"`
	Value    string   `json:"value"`
	Offered  []string `json:"offered"`
}

// job is a form and the answers to fill it in with.
type job struct {
	Form  string `json:"form"`
	Cases []any  `json:"cases"`
}

// engineFolder is where make odk puts the engine. Whole runs of CI must have it; short runs leave it out, for the whole run
// asks the same.
func engineFolder(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("the engine takes seconds to start; the whole run asks it")
	}
	folder, err := filepath.Abs("../../bin/odk")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(folder, "node_modules/@getodk/xforms-engine/package.json")); err != nil {
		if os.Getenv("HEARTH_READERS") == "all" {
			t.Fatal("the engine of ODK Web Forms is not here, and HEARTH_READERS=all: make odk")
		}
		t.Skip("the engine of ODK Web Forms is not here: make odk")
	}
	return folder
}

// judge gives jobs to the engine.
func judge(t *testing.T, jobs []job) [][]map[string]state {
	t.Helper()
	folder := engineFolder(t)
	var in bytes.Buffer
	for _, j := range jobs {
		line, err := json.Marshal(j)
		if err != nil {
			t.Fatal(err)
		}
		in.Write(append(line, '\n'))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "testdata/judge.mjs", folder)
	cmd.Stdin = &in
	var errs bytes.Buffer
	cmd.Stderr = &errs
	raw, err := cmd.Output()
	if err != nil {
		t.Fatalf("the engine: %v\n%s", err, errs.String())
	}
	var out [][]map[string]state
	lines := bufio.NewScanner(bytes.NewReader(raw))
	lines.Buffer(nil, 256<<20)
	for lines.Scan() {
		var answer struct {
			Error string             `json:"error"`
			Cases []map[string]state `json:"cases"`
		}
		if err := json.Unmarshal(lines.Bytes(), &answer); err != nil {
			t.Fatalf("the engine's answer: %v", err)
		}
		if answer.Error != "" {
			t.Fatalf("%s: the engine: %s", jobs[len(out)].Form, answer.Error)
		}
		out = append(out, answer.Cases)
	}
	if len(out) != len(jobs) {
		t.Fatalf("%d answers to %d forms\n%s", len(out), len(jobs), errs.String())
	}
	return out
}

// filled is the answers of a message by the names that the form has.
func filled(n *Node, m protoreflect.Message) map[string]any {
	out := map[string]any{}
	for _, c := range n.Nodes {
		if c.Field == nil || !m.Has(c.Field) {
			continue
		}
		v := m.Get(c.Field)
		switch {
		case c.Kind == Group:
			out[c.Name] = filled(c, v.Message())
		case c.Kind == Repeat:
			rows := []any{}
			for i := range v.List().Len() {
				if c.Message == nil {
					rows = append(rows, map[string]any{"value": answer(c.Nodes[0], v.List().Get(i))})
				} else {
					rows = append(rows, filled(c, v.List().Get(i).Message()))
				}
			}
			out[c.Name] = rows
		case c.Many:
			var names []string
			for i := range v.List().Len() {
				names = append(names, answer(c, v.List().Get(i)))
			}
			out[c.Name] = strings.Join(names, " ")
		default:
			if s := answer(c, v); s != "" {
				out[c.Name] = s
			}
		}
	}
	return out
}

func answer(n *Node, v protoreflect.Value) string {
	switch n.Field.Kind() {
	case protoreflect.EnumKind:
		name, _ := n.Choices.nameOf(int64(v.Enum()))
		return name
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		return strconv.FormatFloat(v.Float(), 'f', -1, 64)
	case protoreflect.MessageKind:
		return ""
	}
	if n.Choices != nil && n.Field.Kind() == protoreflect.Int32Kind {
		name, _ := n.Choices.nameOf(v.Int())
		return name
	}
	return v.String()
}

// written is a questionnaire's form, and what a comparison needs of it.
type written struct {
	q        *questionnaire.Questionnaire
	f        *writer
	file     string
	warnings map[string]bool
}

func write(t *testing.T, q *questionnaire.Questionnaire, o Options) *written {
	t.Helper()
	f, err := newWriter(q, o)
	if err != nil {
		t.Fatal(err)
	}
	f.form()
	var b bytes.Buffer
	warnings, err := Write(q, &b, o)
	if err != nil {
		t.Fatal(err)
	}
	w := &written{q: q, f: f, file: filepath.Join(t.TempDir(), string(q.Descriptor().Name())+".xml"), warnings: map[string]bool{}}
	for _, x := range warnings {
		t.Log(x)
		w.warnings[x.Path+"/"+x.What] = true
	}
	if keep := os.Getenv("HEARTH_KEEP"); keep != "" {
		w.file = filepath.Join(keep, string(q.Descriptor().Name())+".xml")
	}
	if err := os.WriteFile(w.file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

// comparison compares what the engine says of one interview with what the questionnaire says.
type comparison struct {
	*written
	t          *testing.T
	engine     map[string]state
	notAsked   map[string]bool
	broken     map[string]map[string]bool // rules by path
	calculated map[string]any
	compared   map[string]int
	differ     int
}

func (w *written) compare(t *testing.T, m proto.Message, engine map[string]state, compared map[string]int) int {
	c := &comparison{written: w, t: t, engine: engine, compared: compared, notAsked: map[string]bool{}, broken: map[string]map[string]bool{}, calculated: map[string]any{}}
	e := w.q.Evaluate(m, questionnaire.Options{Completed: true, Now: time.Now()})
	for _, p := range e.NotAsked {
		c.notAsked[p] = true
	}
	for _, f := range e.Flags {
		if c.broken[f.GetPath()] == nil {
			c.broken[f.GetPath()] = map[string]bool{}
		}
		c.broken[f.GetPath()][f.GetRule()[strings.LastIndexByte(f.GetRule(), '/')+1:]] = true
	}
	for _, x := range e.Calculated {
		c.calculated[x.Path] = x.Value
	}
	c.walk(w.f.tree.root, m.ProtoReflect(), "", "/data", "", true)
	if c.differ > 0 {
		text, _ := json.Marshal(filled(w.f.tree.root, m.ProtoReflect()))
		t.Logf("with the answers %s", text)
	}
	return c.differ
}

func (c *comparison) differs(path, what string, form, ours any) {
	c.differ++
	if c.differ < 20 {
		c.t.Errorf("%s: %s: the form says %v, the questionnaire %v", path, what, form, ours)
	}
}

// walk compares a group's questions. bare is the path without the numbers of rows, as warnings have it.
func (c *comparison) walk(n *Node, m protoreflect.Message, path, form, bare string, asked bool) {
	for _, q := range n.Nodes {
		if q.Field == nil || q.Name == "value" && n.Message == nil {
			continue
		}
		p, fp, bp := join3(path, ".", string(q.Field.Name())), form+"/"+q.Name, join3(bare, ".", q.Name)
		now := asked && !c.notAsked[p]
		if q.Kind == Repeat {
			c.notes(q, p, form, bp, now)
			rows := m.Get(q.Field).List()
			for i := range rows.Len() {
				if q.Message != nil {
					c.walk(q, rows.Get(i).Message(), fmt.Sprintf("%s[%d]", p, i), fmt.Sprintf("%s[%d]", fp, i+1), bp, now)
				}
			}
			continue
		}
		s, ok := c.engine[fp]
		if !ok {
			c.differs(fp, "the question", "it is not there", "it is")
			continue
		}
		if !c.warnings[bp+"/relevant"] {
			c.compared["relevant"]++
			if s.Relevant != now {
				c.differs(p, "asked", s.Relevant, now)
			}
		} else {
			now = false // what follows cannot be compared
		}
		c.notes(q, p, form, bp, now)
		if q.Kind == Group && !q.reasons() && !m.Has(q.Field) {
			continue // a block of which nothing is answered is one question
		}
		if q.Kind == Group {
			c.walk(q, m.Get(q.Field).Message(), p, fp, bp, now)
			continue
		}
		c.leaf(q, s, p, bp, now, m.Has(q.Field))
	}
}

func (c *comparison) leaf(q *Node, s state, path, bare string, asked, answered bool) {
	if !asked {
		return
	}
	o := q.Options
	if o.GetCalculate() != "" {
		if c.warnings[bare+"/calculate"] || strings.Contains(o.GetCalculate(), "()") && !strings.Contains(o.GetCalculate(), ".") {
			return
		}
		c.compared["calculate"]++
		want, there := c.calculated[path]
		if !sameValue(q, s.Value, want, there) {
			c.differs(path, "the value", s.Value, want)
		}
		return
	}
	if o.GetRequired() || o.GetRequiredWhen() != "" {
		c.compared["required"]++
		if s.Needed != c.broken[path]["required"] {
			c.differs(path, "required and without an answer", s.Needed, c.broken[path]["required"])
		}
	}
	hard, some := false, false
	for _, k := range c.f.checks(q) {
		if !k.hard || k.holds == nil {
			continue
		}
		some = true
		if k.name != "" {
			hard = hard || c.broken[path][k.name]
			continue
		}
		for rule := range c.broken[path] {
			hard = hard || strings.Contains(rule, ".") // limits have the names of buf.validate
		}
	}
	if some && answered {
		c.compared["constraint"]++
		if s.Broken != hard {
			c.differs(path, "a constraint is broken", s.Broken, hard)
		}
	}
	if o.GetFilter() != "" && answered && !c.warnings[bare+"/filter"] && !q.Many {
		c.compared["filter"]++
		offered := false
		for _, name := range s.Offered {
			offered = offered || name == s.Value
		}
		if offered == c.broken[path]["not_offered"] {
			c.differs(path, "the choice is offered", offered, !c.broken[path]["not_offered"])
		}
	}
}

// notes compares the notes that stand for checks.
func (c *comparison) notes(q *Node, path, form, bare string, asked bool) {
	if !asked {
		return
	}
	for _, k := range c.f.checks(q) {
		if k.broken == nil || k.hard && k.holds != nil || c.warnings[bare+"/check "+k.name] || k.name == "max_items" {
			continue
		}
		s, ok := c.engine[form+"/"+q.Name+"_"+k.name]
		if !ok {
			c.differs(path, "the note of "+k.name, "it is not there", "it is")
			continue
		}
		c.compared["note"]++
		if s.Relevant != c.broken[path][k.name] {
			c.differs(path, "the check "+k.name+" is broken", s.Relevant, c.broken[path][k.name])
		}
	}
}

func join3(a, sep, b string) string {
	if a == "" {
		return b
	}
	return a + sep + b
}

func sameValue(q *Node, form string, ours any, there bool) bool {
	if !there || form == "" {
		return !there && form == ""
	}
	switch v := ours.(type) {
	case bool:
		return form == strconv.FormatBool(v)
	case string:
		return form == v
	case int64:
		if q.Choices != nil {
			name, _ := q.Choices.nameOf(v)
			return form == name
		}
		return form == strconv.FormatInt(v, 10)
	case float64:
		f, err := strconv.ParseFloat(form, 64)
		return err == nil && math.Abs(f-v) <= 1e-9*math.Max(1, math.Abs(v))
	}
	return fmt.Sprint(ours) == form
}
