package xformtest

import (
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/proto/xform"
)

// filler makes random answers. Numbers are taken from around those that the questionnaire's rules name, so that both sides
// of each are met.
type filler struct {
	form    *Form
	r       *rand.Rand
	numbers []int64
	texts   []string
	// fill is the share of questions that have an answer; rows the most rows of a roster.
	fill float64
	rows int
}

var constants = regexp.MustCompile(`\d+`)
var quoted = regexp.MustCompile(`"([^"]+)"|'([^']+)'`)

func newFiller(w *Form, seed uint64) *filler {
	f := &filler{form: w, r: rand.New(rand.NewPCG(seed, 7)), fill: 0.7, rows: 3, texts: []string{"a", "长 text", "say \"y\"", "12", "3.5", " 7 "}}
	seen := map[int64]bool{}
	seenMessages := map[protoreflect.FullName]bool{}
	var walk func(m protoreflect.MessageDescriptor)
	walk = func(m protoreflect.MessageDescriptor) {
		if seenMessages[m.FullName()] {
			return
		}
		seenMessages[m.FullName()] = true
		for i := range m.Fields().Len() {
			fd := m.Fields().Get(i)
			if fd.Message() != nil && !fd.IsMap() {
				walk(fd.Message())
			}
			o := formv1.QuestionOf(fd.Options())
			all := o.GetRelevant() + " " + o.GetCalculate() + " " + o.GetFilter()
			for _, k := range o.GetChecks() {
				all += " " + k.GetExpression()
			}
			if r, _ := proto.GetExtension(fd.Options(), validate.E_Field).(*validate.FieldRules); r != nil {
				all += " " + r.String()
			}
			for _, s := range constants.FindAllString(all, -1) {
				n, err := strconv.ParseInt(s, 10, 64)
				for _, v := range []int64{n - 1, n, n + 1} {
					if err == nil && n < 1e6 && !seen[v] {
						seen[v] = true
						f.numbers = append(f.numbers, v)
					}
				}
			}
			for _, s := range quoted.FindAllStringSubmatch(all, -1) {
				f.texts = append(f.texts, s[1]+s[2])
			}
		}
	}
	walk(w.Questionnaire.Descriptor())
	f.numbers = append(f.numbers, 0, 1, -3)
	return f
}

// message fills in the fields of m that the form has.
func (f *filler) message(n *xform.Node, m protoreflect.Message, row int) {
	for _, c := range n.Nodes {
		switch {
		case c.Kind == xform.Leaf && f.form.rows[c.Path] != nil && f.form.rows[c.Path].Control == "" && !lineNumber(c):
		case c.Options.GetCalculate() != "" || c.Options.GetNote() || c.Options.GetReadOnly():
		case lineNumber(c):
			m.Set(c.Field, protoreflect.ValueOfInt32(int32(row)))
		case f.r.Float64() > f.fill:
		case c.Kind == xform.Group:
			f.message(c, m.Mutable(c.Field).Message(), row)
			if len(Filled(c, m.Get(c.Field).Message())) == 0 {
				m.Clear(c.Field) // a form cannot tell a group without answers from none
			}
		case c.Kind == xform.Repeat:
			l := m.Mutable(c.Field).List()
			for i := range f.r.IntN(f.rows + 1) {
				if c.Message != nil {
					f.message(c, l.AppendMutable().Message(), i+1)
				} else if v, ok := f.value(c.Nodes[0]); ok {
					l.Append(v)
				}
			}
		case c.Many:
			l := m.Mutable(c.Field).List()
			for _, i := range f.r.Perm(len(c.Choices.Choices))[:min(len(c.Choices.Choices), f.r.IntN(4))] {
				l.Append(choiceValue(c, i))
			}
		default:
			if v, ok := f.value(c); ok {
				m.Set(c.Field, v)
			}
		}
	}
}

// lineNumber tells whether a field is the number of its row, which forms count by themselves.
func lineNumber(n *xform.Node) bool {
	return n.Options.GetSystem() && n.Field.Kind() == protoreflect.Int32Kind
}

func choiceValue(n *xform.Node, i int) protoreflect.Value {
	number := n.Choices.Choices[i].Number
	if n.Field.Kind() == protoreflect.EnumKind {
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(number))
	}
	return protoreflect.ValueOfInt32(number)
}

func (f *filler) value(n *xform.Node) (protoreflect.Value, bool) {
	number := f.numbers[f.r.IntN(len(f.numbers))]
	switch n.Field.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(n.Choices == nil || f.r.IntN(2) == 0), true
	case protoreflect.Int32Kind, protoreflect.EnumKind:
		if n.Choices != nil {
			i := f.r.IntN(len(n.Choices.Choices))
			if f.r.IntN(2) == 0 {
				i = min(i, f.r.IntN(3))
			}
			return choiceValue(n, i), true
		}
		return protoreflect.ValueOfInt32(int32(number)), true
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(number), true
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(max(0, number))), true
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(float64(number) + float64(f.r.IntN(4))/4), true
	case protoreflect.StringKind:
		switch n.Options.GetFormat() {
		case formv1.Format_FORMAT_DATE:
			return protoreflect.ValueOfString(date(f.r)), true
		case formv1.Format_FORMAT_UNSPECIFIED:
			s := f.texts[f.r.IntN(len(f.texts))]
			return protoreflect.ValueOfString(s), strings.TrimSpace(s) == s || n.Type == "string"
		}
	}
	return protoreflect.Value{}, false
}

// tidy takes out what nobody could fill in: choices that are not offered; groups of which no question is asked that has an
// answer, which a form cannot tell from those without answers. It tells whether an answer is left.
func tidy(n *xform.Node, m protoreflect.Message, path string, gone map[string]bool) bool {
	some := false
	for _, c := range n.Nodes {
		if !m.Has(c.Field) {
			continue
		}
		p := join(path, string(c.Field.Name()))
		switch {
		case gone[p+"!"]:
			m.Clear(c.Field)
			continue
		case c.Kind == xform.Group:
			if !tidy(c, m.Mutable(c.Field).Message(), p, gone) || gone[p] {
				m.Clear(c.Field)
				continue
			}
		case c.Kind == xform.Repeat && c.Message != nil:
			for i := range m.Get(c.Field).List().Len() {
				tidy(c, m.Get(c.Field).List().Get(i).Message(), p+"["+strconv.Itoa(i)+"]", gone)
			}
		}
		some = some || !gone[p]
	}
	return some
}

func date(r *rand.Rand) string {
	two := func(n int) string { return strconv.Itoa(100 + n)[1:] }
	return strconv.Itoa(2014+r.IntN(4)) + "-" + two(1+r.IntN(12)) + "-" + two(1+r.IntN(28))
}

// Random is n interviews with random answers.
func (w *Form) Random(n int, seed uint64) []proto.Message {
	f := newFiller(w, seed)
	var out []proto.Message
	for i := range n {
		f.fill = []float64{0.8, 0.3, 0.95}[i%3]
		m := w.Questionnaire.New()
		f.message(w.Root, m.ProtoReflect(), 0)
		for range 4 { // a choice that is taken out may have offered another
			e := w.Questionnaire.Evaluate(m, questionnaire.Options{Completed: true, Now: time.Now()})
			gone := map[string]bool{}
			for _, p := range e.NotAsked {
				gone[p] = true
			}
			for _, flag := range e.Flags {
				if strings.HasSuffix(flag.GetRule(), "/not_offered") {
					gone[flag.GetPath()+"!"] = true
				}
			}
			tidy(w.Root, m.ProtoReflect(), "", gone)
		}
		out = append(out, m)
	}
	return out
}

// Filled is the answers of a message by the names that the form has.
func Filled(n *xform.Node, m protoreflect.Message) map[string]any {
	out := map[string]any{}
	for _, c := range n.Nodes {
		if !m.Has(c.Field) {
			continue
		}
		v := m.Get(c.Field)
		switch {
		case c.Kind == xform.Group:
			out[c.Name] = Filled(c, v.Message())
		case c.Kind == xform.Repeat:
			rows := []any{}
			for i := range v.List().Len() {
				if c.Message == nil {
					rows = append(rows, map[string]any{"value": answer(c.Nodes[0], v.List().Get(i))})
				} else {
					rows = append(rows, Filled(c, v.List().Get(i).Message()))
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

func answer(n *xform.Node, v protoreflect.Value) string {
	switch n.Field.Kind() {
	case protoreflect.BoolKind:
		if n.Choices == nil {
			return "OK" // acknowledged
		}
	case protoreflect.EnumKind:
		name, _ := n.Choices.NameOf(int64(v.Enum()))
		return name
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		return strconv.FormatFloat(v.Float(), 'f', -1, 64)
	case protoreflect.MessageKind:
		return ""
	}
	if n.Choices != nil && n.Field.Kind() == protoreflect.Int32Kind {
		name, _ := n.Choices.NameOf(v.Int())
		return name
	}
	return v.String()
}
