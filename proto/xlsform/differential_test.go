package xlsform

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/hearth-survey/hearth/proto/questionnaire"
)

// filler answers a form at random, with many questions left empty, and in XPath's eyes settles what is asked and calculated.
type filler struct {
	form *form
	rand *rand.Rand
	root *inst
	now  time.Time
}

var pools = map[kind][]string{
	kindInt:      {"0", "1", "2", "3", "5", "6", "11", "18", "30", "64", "65", "-888", "-999", "100"},
	kindDouble:   {"0", "0.5", "1", "2", "12.25", "-999", "6000", "99999"},
	kindText:     {"abc", "5", "0244123456", "-888", "Ann Bob", "03/2019", "enumerator", "x y z", "1", "05.0"},
	kindDate:     {"2016-07-21", "1999-12-31", "2030-01-01"},
	kindDateTime: {"2016-07-21T18:05:00+00:00", "2016-07-21T09:15:30.250+00:00"},
	kindTime:     {"18:05:00"},
}

func (f *filler) fill(def *node, parent *inst) *inst {
	i := &inst{def: def, parent: parent, kids: map[*node][]*inst{}, asked: true}
	for _, c := range def.children {
		n := 1
		if c.kind() == kindRepeat {
			n = f.rand.IntN(4)
		}
		for range n {
			i.kids[c] = append(i.kids[c], f.fill(c, i))
		}
	}
	if !def.section() && f.rand.IntN(5) > 1 {
		i.text = f.answer(def)
	}
	return i
}

func (f *filler) answer(def *node) string {
	switch def.kind() {
	case kindOne:
		return def.list.choices[f.rand.IntN(len(def.list.choices))].name
	case kindMany:
		var names []string
		for range 1 + f.rand.IntN(3) {
			if name := def.list.choices[f.rand.IntN(len(def.list.choices))].name; !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		return strings.Join(names, " ")
	case kindNote, kindCalculate, kindPoint, kindFile:
		return ""
	case kindAcknowledge:
		return "OK"
	}
	pool := pools[def.kind()]
	return pool[f.rand.IntN(len(pool))]
}

// each visits all nodes but the root, in order.
func (f *filler) each(i *inst, visit func(*inst)) {
	for _, c := range i.def.children {
		for _, k := range i.kids[c] {
			visit(k)
			f.each(k, visit)
		}
	}
}

func (f *filler) machine(at *inst) *machine {
	return &machine{form: f.form, root: f.root, at: at, now: f.now}
}

// settle carries out relevance and calculations until nothing changes.
func (f *filler) settle(t *testing.T) {
	for round := 0; ; round++ {
		if round > 60 {
			t.Fatal("the reference does not settle")
		}
		changed := false
		f.each(f.root, func(i *inst) {
			asked := i.parent.asked
			if source := i.def.out.relevant; asked && source != "" {
				asked = truth(f.machine(i).eval(mustParse(i.def.get("relevant"))))
			}
			text := i.text
			if source := i.def.out.calculate; source != "" && !volatile(source) {
				v := plain(f.machine(i).eval(mustParse(i.def.get("calculation"))))
				if text = str(v); text == "NaN" || strings.HasSuffix(text, "Inf") { // what is no number is no answer
					text = ""
				}
				if i.def.kind() == kindInt && text != "" { // the node holds whole numbers
					text = str(math.Trunc(num(v)))
				}
			}
			changed = changed || asked != i.asked || text != i.text
			i.asked, i.text = asked, text
		})
		if !changed {
			return
		}
	}
}

func volatile(source string) bool {
	for _, f := range []string{"today()", "now()", "uuid()", "random()", "once("} {
		if strings.Contains(source, f) {
			return true
		}
	}
	return false
}

var parsed = map[string]expr{}

func mustParse(source string) expr {
	e, ok := parsed[source]
	if !ok {
		var err error
		if e, err = parse(source); err != nil {
			panic(err)
		}
		parsed[source] = e
	}
	return e
}

// write puts the answers into a message.
func (f *filler) write(i *inst, m protoreflect.Message) {
	for _, c := range i.def.children {
		fd := m.Descriptor().Fields().ByName(protoreflect.Name(c.field))
		for _, k := range i.kids[c] {
			switch {
			case c.kind() == kindRepeat:
				f.write(k, m.Mutable(fd).List().AppendMutable().Message())
			case c.kind() == kindGroup:
				f.write(k, m.Mutable(fd).Message())
			case k.text != "" && c.out.calculate == "":
				f.set(m, fd, k)
			}
		}
	}
}

func (f *filler) set(m protoreflect.Message, fd protoreflect.FieldDescriptor, i *inst) {
	number := func(name string) protoreflect.Value {
		n := i.def.list.numbers(name)[0]
		if fd.Enum() != nil {
			return protoreflect.ValueOfEnum(protoreflect.EnumNumber(n))
		}
		return protoreflect.ValueOfInt32(n)
	}
	switch i.def.kind() {
	case kindOne:
		m.Set(fd, number(i.text))
	case kindMany:
		for _, name := range strings.Fields(i.text) {
			m.Mutable(fd).List().Append(number(name))
		}
	case kindInt:
		n, _ := strconv.ParseInt(i.text, 10, 64)
		m.Set(fd, protoreflect.ValueOfInt64(n))
	case kindDouble:
		n, _ := strconv.ParseFloat(i.text, 64)
		m.Set(fd, protoreflect.ValueOfFloat64(n))
	case kindAcknowledge:
		m.Set(fd, protoreflect.ValueOfBool(true))
	default:
		m.Set(fd, protoreflect.ValueOfString(i.text))
	}
}

// place is a node's path in the questionnaire.
func placeOf(i *inst) string {
	if i.parent == nil {
		return ""
	}
	p := i.def.field
	if i.def.kind() == kindRepeat {
		p += fmt.Sprintf("[%d]", slices.Index(i.parent.kids[i.def], i))
	}
	if up := placeOf(i.parent); up != "" {
		return up + "." + p
	}
	return p
}

// expect is what the reference says of the answers.
func (f *filler) expect() (notAsked, wrong, notOffered []string, calculated map[string]string) {
	calculated = map[string]string{}
	f.each(f.root, func(i *inst) {
		if !i.asked {
			if i.parent.asked {
				notAsked = append(notAsked, placeOf(i))
			}
			return
		}
		if i.def.out.calculate != "" && i.text != "" && !volatile(i.def.out.calculate) {
			calculated[placeOf(i)] = i.text
		}
		if i.text == "" || i.def.kind() == kindNote {
			return
		}
		if i.def.out.constraint != "" && !truth(f.machine(i).eval(mustParse(i.def.get("constraint")))) {
			wrong = append(wrong, placeOf(i))
		}
		if i.def.out.filter != "" {
			for n, name := range strings.Fields(i.text) {
				m := f.machine(i)
				m.item = i.def.list.choices[i.def.list.numbersOrNone(name)[0]] // the row that set takes
				if !truth(m.eval(mustParse(i.def.get("choice_filter")))) {
					place := placeOf(i)
					if i.def.kind() == kindMany {
						place += fmt.Sprintf("[%d]", n)
					}
					notOffered = append(notOffered, place)
				}
			}
		}
	})
	return notAsked, wrong, notOffered, calculated
}

// The CEL of every real form and XPath agree on random answers, half of them missing: on what is asked, what is wrong, what
// is offered and what is calculated.
func TestCELAgreesWithXPath(t *testing.T) {
	fills := 20
	if testing.Short() {
		fills = 4
	}
	seed := uint64(1)
	if s := os.Getenv("HEARTH_FILLS"); s != "" {
		fills, _ = strconv.Atoi(s)
	}
	if s := os.Getenv("HEARTH_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	for _, path := range realForms(t) {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".xlsx"), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			book, err := readWorkbook(data, filepath.Base(path))
			if err != nil {
				t.Fatal(err)
			}
			r, f, err := importBook(book, Options{Name: filepath.Base(path)})
			if err != nil {
				t.Fatal(err)
			}
			q, err := questionnaire.Load(r.Files, r.Top)
			if err != nil {
				t.Fatal(err)
			}
			for n := range fills {
				agree(t, f, q, seed+uint64(n))
				if t.Failed() {
					t.Fatalf("seed %d", seed+uint64(n))
				}
			}
		})
	}
}

// agree fills a form from a seed and compares.
func agree(t *testing.T, f *form, q *questionnaire.Questionnaire, seed uint64) {
	t.Helper()
	fl := &filler{form: f, rand: rand.New(rand.NewPCG(seed, 7)), now: time.Date(2024, 5, 6, 12, 0, 0, 0, time.UTC)}
	fl.root = fl.fill(f.root, nil)
	fl.settle(t)
	m := q.New()
	fl.write(fl.root, m.ProtoReflect())
	got := q.Evaluate(m, questionnaire.Options{Now: fl.now})
	notAsked, wrong, notOffered, calculated := fl.expect()
	differ(t, "not asked", got.NotAsked, notAsked)
	var flagged, refused []string
	for _, x := range got.Flags {
		switch rule := x.GetRule(); {
		case strings.HasSuffix(rule, "/constraint"):
			flagged = append(flagged, x.GetPath())
		case strings.HasSuffix(rule, "/not_offered"):
			refused = append(refused, x.GetPath())
		case strings.HasSuffix(rule, "/expression_failed"):
			t.Errorf("%s failed at %s: %s", rule, x.GetPath(), x.GetMessage())
		}
	}
	differ(t, "wrong", flagged, wrong)
	differ(t, "not offered", refused, notOffered)
	values := map[string]string{}
	for _, c := range got.Calculated {
		values[c.Path] = fmt.Sprint(c.Value)
		if f, ok := c.Value.(float64); ok {
			values[c.Path] = strconv.FormatFloat(f, 'f', -1, 64)
		}
	}
	for path, want := range calculated {
		got := values[path]
		a, errA := strconv.ParseFloat(got, 64)
		b, errB := strconv.ParseFloat(want, 64)
		if got != want && (errA != nil || errB != nil || math.Abs(a-b) > 1e-9*math.Max(math.Abs(a), 1)) {
			t.Errorf("%s is calculated as %q, XPath says %q", path, got, want)
		}
		delete(values, path)
	}
	for path, v := range values {
		if v != "" {
			t.Errorf("%s is calculated as %q, XPath says nothing", path, v)
		}
	}
	_ = proto.Size(m)
}

func differ(t *testing.T, what string, got, want []string) {
	t.Helper()
	for i := range got {
		got[i], _, _ = strings.Cut(got[i], "#")
	}
	sort.Strings(got)
	sort.Strings(want)
	got, want = slices.Compact(got), slices.Compact(want)
	for _, p := range got {
		if !slices.Contains(want, p) {
			t.Errorf("%s: %s in CEL, not in XPath", what, p)
		}
	}
	for _, p := range want {
		if !slices.Contains(got, p) {
			t.Errorf("%s: %s in XPath, not in CEL", what, p)
		}
	}
}
