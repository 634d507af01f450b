package xformtest

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/proto/xform"
)

// Form is a questionnaire's form, and what a comparison needs of it.
type Form struct {
	Questionnaire *questionnaire.Questionnaire
	Root          *xform.Node
	File          string
	// Left are the rules that are not in the form, as "members.age/relevant".
	Left map[string]bool

	rows  map[string]*xform.Row   // by path
	notes map[string][]*xform.Row // by path of the question
}

// Write writes a questionnaire's form into the test's folder, and checks that it has no mistakes.
func Write(t testing.TB, q *questionnaire.Questionnaire) *Form {
	t.Helper()
	f := &Form{
		Questionnaire: q, Root: xform.Tree(q.Descriptor(), q.Version()), File: filepath.Join(t.TempDir(), string(q.Descriptor().Name())+".xml"),
		Left: map[string]bool{}, rows: map[string]*xform.Row{}, notes: map[string][]*xform.Row{},
	}
	rows, _, left, err := xform.Rows(q.Descriptor(), q.Version(), xform.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range left {
		t.Log(w)
		f.Left[w.Path+"/"+w.What] = true
	}
	for i := range rows {
		r := &rows[i]
		if r.End {
			continue
		}
		f.rows[r.Node.Path] = r
		if r.Of != nil {
			f.notes[r.Of.Path] = append(f.notes[r.Of.Path], r)
		}
	}
	out, err := os.Create(f.File)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := xform.Write(q, out, xform.Options{}); err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(f.File)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	found, err := xform.Check(in)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range found {
		t.Logf("%s: %s: %s", x.Severity, x.Subject, x.Message)
	}
	return f
}

// Agree compares each form on n random interviews. It gives how often each kind of rule was compared.
func Agree(t testing.TB, all []*Form, n int) map[string]int {
	t.Helper()
	var jobs []Job
	var interviews [][]proto.Message
	for i, f := range all {
		j := Job{Form: f.File}
		list := f.Random(n, uint64(i+1))
		for _, m := range list {
			j.Cases = append(j.Cases, Filled(f.Root, m.ProtoReflect()))
		}
		jobs, interviews = append(jobs, j), append(interviews, list)
	}
	compared := map[string]int{}
	for i, cases := range Judge(t, jobs) {
		differ := 0
		for k, engine := range cases {
			if differ += all[i].Compare(t, interviews[i][k], engine, compared); differ > 40 {
				t.Errorf("%s: and more", all[i].Questionnaire.Name())
				break
			}
		}
	}
	return compared
}

// comparison compares what the engine says of one interview with what the questionnaire says.
type comparison struct {
	*Form
	t          testing.TB
	engine     map[string]State
	notAsked   map[string]bool
	broken     map[string]map[string]bool // rules by path
	calculated map[string]any
	compared   map[string]int
	differ     int
	// otherRows: the form has more or fewer rows than the answers, for it makes as many as are to be.
	otherRows bool
}

// Compare compares what an engine says of an interview, by the path of each question in the form, with what the
// questionnaire says. It gives how often they differ, and counts in compared how often each kind of rule was compared.
func (f *Form) Compare(t testing.TB, m proto.Message, engine map[string]State, compared map[string]int) int {
	c := &comparison{Form: f, t: t, engine: engine, compared: compared, notAsked: map[string]bool{}, broken: map[string]map[string]bool{}, calculated: map[string]any{}}
	e := f.Questionnaire.Evaluate(m, questionnaire.Options{Completed: true, Now: time.Now()})
	for _, p := range e.NotAsked {
		c.notAsked[p] = true
	}
	for _, x := range e.Flags {
		if c.broken[x.GetPath()] == nil {
			c.broken[x.GetPath()] = map[string]bool{}
		}
		c.otherRows = c.otherRows || strings.HasSuffix(x.GetRule(), "/row_count")
		c.broken[x.GetPath()][x.GetRule()[strings.LastIndexByte(x.GetRule(), '/')+1:]] = true
	}
	for _, x := range e.Calculated {
		c.calculated[x.Path] = x.Value
	}
	c.walk(f.Root, m.ProtoReflect(), "", "/data", "", true)
	if c.differ > 0 {
		text, _ := json.Marshal(Filled(f.Root, m.ProtoReflect()))
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
func (c *comparison) walk(n *xform.Node, m protoreflect.Message, path, form, bare string, asked bool) {
	for _, q := range n.Nodes {
		p, fp, bp := join(path, string(q.Field.Name())), form+"/"+q.Name, join(bare, q.Name)
		now := asked && !c.notAsked[p]
		if q.Kind == xform.Repeat {
			c.checkNotes(q, p, form, now)
			rows := m.Get(q.Field).List()
			for i := range rows.Len() {
				if q.Message != nil {
					c.walk(q, rows.Get(i).Message(), fmt.Sprintf("%s[%d]", p, i), fmt.Sprintf("%s[%d]", fp, i+1), bp, now)
				}
			}
			continue
		}
		s, ok := c.engine[fp]
		if row := c.rows[q.Path]; row == nil || row.Bind["jr:preload"] != "" || len(row.Bind) == 0 && row.Control == "" {
			continue // a log of how the form is filled in, or what the client knows
		}
		if !ok {
			c.differs(fp, "the question", "it is not there", "it is")
			continue
		}
		if !c.Left[bp+"/relevant"] {
			c.compared["relevant"]++
			if s.Relevant != now {
				c.differs(p, "asked", s.Relevant, now)
			}
		} else {
			now = false // what follows cannot be compared
		}
		c.checkNotes(q, p, form, now)
		if q.Kind == xform.Group && !q.Reasons() && !m.Has(q.Field) {
			continue // a block of which nothing is answered is one question
		}
		if q.Kind == xform.Group {
			c.walk(q, m.Get(q.Field).Message(), p, fp, bp, now)
			continue
		}
		if now {
			c.leaf(q, s, p, m.Has(q.Field))
		}
	}
}

// leaf compares a question that is asked.
func (c *comparison) leaf(q *xform.Node, s State, path string, answered bool) {
	row := c.rows[q.Path]
	if text := row.Bind["calculate"]; text != "" {
		if c.otherRows || c.volatile(text) || q.Options.GetCalculate() == "" {
			return
		}
		want, there := c.calculated[path]
		if s.Value == "" && strings.Contains(text, "sum(") && (want == int64(0) || want == 0.0) && q.Options.GetFormColumns() != nil {
			return // by XPath the sum of no nodes is 0; the engine has no number for it, in a form that people wrote
		}
		c.compared["calculate"]++
		if !same(q, s.Value, want, there) {
			c.differs(path, "the value", strconv.Quote(s.Value), want)
		}
		return
	}
	if row.Bind["required"] != "" {
		c.compared["required"]++
		if s.Needed != c.broken[path]["required"] {
			c.differs(path, "required and without an answer", s.Needed, c.broken[path]["required"])
		}
	}
	if len(row.Checks) > 0 && answered {
		hard := false
		for _, id := range row.Checks {
			for rule := range c.broken[path] {
				hard = hard || rule == id || id == "" && strings.Contains(rule, ".") // limits have the names of buf.validate
			}
		}
		c.compared["constraint"]++
		if s.Broken != hard {
			c.differs(path, "a constraint is broken", s.Broken, hard)
		}
	}
	if row.Filter != "" && answered && !q.Many {
		c.compared["filter"]++
		offered := false
		for _, name := range s.Offered {
			offered = offered || name == s.Value
		}
		if !offered {
			c.differs(path, "the choice is offered", false, true)
		}
	}
}

// volatile tells whether a calculation depends on when and where it is made.
func (c *comparison) volatile(text string) bool {
	for path, row := range c.rows {
		if row.Bind["jr:preload"] != "" && strings.Contains(text, path) {
			return true
		}
	}
	for _, f := range []string{"now(", "today(", "random(", "uuid(", "once(", "pulldata("} {
		if strings.Contains(text, f) {
			return true
		}
	}
	return false
}

// checkNotes compares the notes that stand for checks.
func (c *comparison) checkNotes(q *xform.Node, path, form string, asked bool) {
	if !asked {
		return
	}
	for _, note := range c.notes[q.Path] {
		if note.Check == "max_items" || note.Check == "required" {
			continue
		}
		s, ok := c.engine[form+"/"+note.Node.Name]
		if !ok {
			c.differs(path, "the note of "+note.Check, "it is not there", "it is")
			continue
		}
		c.compared["note"]++
		if s.Relevant != c.broken[path][note.Check] {
			c.differs(path, "the check "+note.Check+" is broken", s.Relevant, c.broken[path][note.Check])
		}
	}
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "." + b
}

func same(q *xform.Node, form string, ours any, there bool) bool {
	if s, ok := ours.(string); ok && s == "" {
		there = false
	}
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
			name, _ := q.Choices.NameOf(v)
			return form == name
		}
		return form == strconv.FormatInt(v, 10)
	case float64:
		f, err := strconv.ParseFloat(form, 64)
		return err == nil && math.Abs(f-v) <= 1e-9*math.Max(1, math.Abs(v))
	}
	return fmt.Sprint(ours) == form
}
