package questionnaire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// randomVectors are a questionnaire that was made at random, and interviews by it.
type randomVectors struct {
	name    string
	set     *descriptorpb.FileDescriptorSet
	vectors []vector
}

// madeAtRandom makes the same questionnaires and answers each time.
func madeAtRandom(t *testing.T) []randomVectors { return madeOfSeeds(t, 0, 12) }

// madeOfSeeds makes questionnaires and answers of seeds from one up to, and without, another.
func madeOfSeeds(t *testing.T, from, to uint64) []randomVectors {
	t.Helper()
	var all []randomVectors
	for seed := from; seed < to; seed++ {
		r := rand.New(rand.NewPCG(seed, 20160721))
		name := fmt.Sprintf("random%d", seed+1)
		v := randomVectors{name: name, set: vectorSet(t, name, vectorProto(name, randomForm(r)))}
		q, err := Load(v.set, "")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i := range 30 {
			m := dynamicpb.NewMessage(q.Descriptor())
			randomAnswers(r, m, 2+r.IntN(8))
			raw, err := protojson.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			if err := json.Compact(&b, raw); err != nil {
				t.Fatal(err)
			}
			one := vector{Questionnaire: name, About: fmt.Sprintf("random %d", i+1), Version: uint32(r.IntN(4)), Completed: r.IntN(2) == 0, Answers: b.Bytes()}
			if r.IntN(3) > 0 {
				one.Now = "2016-07-21T18:05:00+08:00"
			}
			v.vectors = append(v.vectors, one)
		}
		all = append(all, v)
	}
	return all
}

// writer makes expressions at random that read questions already written.
type writer struct {
	r *rand.Rand
	// known are expressions that read a question, by the type of its answer; lists the lists of ints, rows the rosters by
	// the path and the fields of a row.
	known map[string][]string
	ints  []string
	rows  map[string]map[string][]string
	n     int
}

func (w *writer) pick(of ...string) string { return of[w.r.IntN(len(of))] }

// read is a question of a type, or a constant where there is none yet.
func (w *writer) read(kind string) string {
	if all := w.known[kind]; len(all) > 0 && w.r.IntN(6) > 0 {
		return all[w.r.IntN(len(all))]
	}
	switch kind {
	case "bool":
		return w.pick("true", "false")
	case "int":
		return w.pick("0", "1", "2", "-3", "7", "40", "2016")
	case "double":
		return w.pick("0.0", "1.5", "-2.25", "100.0", "0.1")
	}
	return w.pick("''", "'a'", "'5'", "'2016-07-21'", "'贵州'", "'x y'")
}

// some is a question of any type, for has().
func (w *writer) some() string {
	kinds := []string{"int", "double", "text", "bool"}
	w.r.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	for _, k := range kinds {
		if all := w.known[k]; len(all) > 0 {
			if x := all[w.r.IntN(len(all))]; strings.Contains(x, ".") && !strings.Contains(x, "(") {
				return x
			}
		}
	}
	return "this.i1"
}

// row is what stands in a macro over a roster: the roster, the variable, and a writer that knows the row's fields.
func (w *writer) row() (path, v string, inner *writer) {
	var paths []string
	for _, p := range []string{"this.rows", "root.rows", "this.parts"} {
		if w.rows[p] != nil {
			paths = append(paths, p)
		}
	}
	if len(paths) == 0 || w.n > 2 {
		return "", "", nil
	}
	path = paths[w.r.IntN(len(paths))]
	v = string(rune('p' + w.n))
	inner = &writer{r: w.r, known: map[string][]string{}, ints: w.ints, rows: w.rows, n: w.n + 1}
	for k, all := range w.known {
		inner.known[k] = append(inner.known[k], all...)
	}
	for k, fields := range w.rows[path] {
		for _, f := range fields {
			inner.known[k] = append(inner.known[k], v+"."+f, v+"."+f)
		}
	}
	return path, v, inner
}

func (w *writer) bool(depth int) string {
	if depth == 0 {
		return w.read("bool")
	}
	d := depth - 1
	if path, v, in := w.row(); in != nil && w.r.IntN(5) == 0 {
		return fmt.Sprintf("%s.%s(%s, %s)", path, w.pick("exists", "all", "exists_one"), v, in.bool(d))
	}
	op := w.pick("==", "!=", "<", "<=", ">", ">=")
	switch w.r.IntN(12) {
	case 0:
		return "has(" + w.some() + ")"
	case 1:
		return "!(" + w.bool(d) + ")"
	case 2:
		return "(" + w.bool(d) + " && " + w.bool(d) + ")"
	case 3:
		return "(" + w.bool(d) + " || " + w.bool(d) + ")"
	case 4:
		return "(" + w.bool(d) + " ? " + w.bool(d) + " : " + w.bool(d) + ")"
	case 5:
		return w.double(d) + " " + op + " " + w.double(d)
	case 6:
		return w.text(d) + " " + w.pick("==", "!=") + " " + w.text(d)
	case 7:
		if len(w.ints) > 0 {
			return w.pick("selected("+w.ints[0]+", "+w.int(d)+")", w.int(d)+" in "+w.ints[0], w.ints[0]+".exists(c, c > "+w.int(d)+")")
		}
	case 8:
		return w.int(d) + " in [1, 2, " + w.int(d) + "]"
	case 9:
		return w.text(d) + w.pick(".contains('a')", ".startsWith('20')", ".matches('^[0-9]+$')", ".endsWith('')")
	case 10:
		return "is_date(" + w.text(d) + ")"
	}
	return w.int(d) + " " + op + " " + w.int(d)
}

func (w *writer) int(depth int) string {
	if depth == 0 {
		return w.read("int")
	}
	d := depth - 1
	if path, v, in := w.row(); in != nil && w.r.IntN(4) == 0 {
		switch w.r.IntN(4) {
		case 0:
			return fmt.Sprintf("size(%s.filter(%s, %s))", path, v, in.bool(d))
		case 1:
			return fmt.Sprintf("%s(%s.map(%s, %s))", w.pick("sum", "min", "max"), path, v, in.int(d))
		case 2:
			return fmt.Sprintf("sum(%s.map(%s, %s, %s))", path, v, in.bool(d), in.int(d))
		}
		return "size(" + path + ")"
	}
	switch w.r.IntN(9) {
	case 0:
		return "(" + w.int(d) + " + " + w.int(d) + ")"
	case 1:
		return "(" + w.int(d) + " - " + w.int(d) + ")"
	case 2:
		return "(" + w.int(d) + " * " + w.int(d) + ")"
	case 3:
		return "(" + w.int(d) + w.pick(" / ", " % ") + w.int(d) + ")"
	case 4:
		return "(" + w.bool(d) + " ? " + w.int(d) + " : " + w.int(d) + ")"
	case 5:
		return w.pick("min", "max") + "(" + w.int(d) + ", " + w.int(d) + ")"
	case 6:
		return w.pick("year", "month", "weekday") + "(" + w.text(d) + ")"
	case 7:
		return w.pick("size("+w.text(d)+")", "abs("+w.int(d)+")", "days_between("+w.text(d)+", '2016-07-21')")
	}
	return w.read("int")
}

func (w *writer) double(depth int) string {
	if depth == 0 {
		return w.read("double")
	}
	d := depth - 1
	if path, v, in := w.row(); in != nil && w.r.IntN(5) == 0 {
		return fmt.Sprintf("%s(%s.map(%s, %s))", w.pick("sum", "mean", "max"), path, v, in.double(d))
	}
	switch w.r.IntN(7) {
	case 0:
		return "(" + w.double(d) + w.pick(" + ", " - ", " * ", " / ") + w.double(d) + ")"
	case 1:
		return "double(" + w.int(d) + ")"
	case 2:
		return "round(" + w.double(d) + ", 1)"
	case 3:
		return w.pick("floor", "ceil", "abs", "sqrt") + "(" + w.double(d) + ")"
	case 4:
		return "number(" + w.text(d) + ")"
	case 5:
		return "(" + w.bool(d) + " ? " + w.double(d) + " : " + w.double(d) + ")"
	}
	return w.read("double")
}

func (w *writer) text(depth int) string {
	if depth == 0 {
		return w.read("text")
	}
	d := depth - 1
	switch w.r.IntN(8) {
	case 0:
		return "(" + w.text(d) + " + " + w.text(d) + ")"
	case 1:
		return "text(" + w.pick(w.int(d), w.double(d), w.bool(d)) + ")"
	case 2:
		return w.pick("lower", "upper", "trim") + "(" + w.text(d) + ")"
	case 3:
		return "substr(" + w.text(d) + ", 0, " + w.int(d) + ")"
	case 4:
		return "(" + w.bool(d) + " ? " + w.text(d) + " : " + w.text(d) + ")"
	case 5:
		return "add_days(" + w.text(d) + ", " + w.int(d) + ")"
	case 6:
		return "choice_name('towns', " + w.int(d) + ")"
	}
	return w.read("text")
}

// options are options of a question, some of them rules.
func (w *writer) options(label, kind, path string) string {
	o := fmt.Sprintf("label: {en: %q}", label)
	if w.r.IntN(3) == 0 {
		o += fmt.Sprintf(" relevant: %q", w.bool(2))
	}
	if w.r.IntN(4) == 0 {
		o += " required: true"
	} else if w.r.IntN(6) == 0 {
		o += fmt.Sprintf(" required_when: %q required_message: {en: \"r\" zh: \"必填\"}", w.bool(1))
	}
	if w.r.IntN(6) == 0 {
		o += fmt.Sprintf(" %s: 2", w.pick("since", "until"))
	}
	if kind != "group" && w.r.IntN(3) == 0 {
		check := w.bool(2)
		if w.r.IntN(2) == 0 {
			check = "(" + check + " || " + map[string]string{"int": "value > 1", "double": "value > 1.0", "text": "size(value) > 1", "bool": "value"}[kind] + ")"
		}
		o += fmt.Sprintf(" checks: [{id: \"c\" severity: %s message: {en: \"c of %s\" zh: \"检查\"} expression: %q}]", w.pick("SEVERITY_SOFT", "SEVERITY_HARD"), label, check)
	}
	return "[QUESTION = {" + o + "}]"
}

var fieldTypes = map[string]string{"int": "int64", "double": "double", "text": "string", "bool": "bool"}

// questions writes questions of all types, then calculations that read them and some more questions.
func (w *writer) questions(b *strings.Builder, prefix string, count, from int) {
	add := func(kind, name, options string) {
		fmt.Fprintf(b, "  %s %s = %d %s;\n", fieldTypes[kind], name, from, options)
		from++
		w.known[kind] = append(w.known[kind], "this."+name)
	}
	for i := range count {
		for _, kind := range []string{"int", "double", "text", "bool"} {
			name := fmt.Sprintf("%s%s%d", prefix, kind[:1], i+1)
			add(kind, name, w.options(name, kind, name))
			if w.r.IntN(3) == 0 {
				expression := map[string]func(int) string{"int": w.int, "double": w.double, "text": w.text, "bool": w.bool}[kind](3)
				calc := "[QUESTION = {label: {en: \"=\"} calculate: " + fmt.Sprintf("%q", expression)
				if w.r.IntN(4) == 0 {
					calc += fmt.Sprintf(" relevant: %q", w.bool(1))
				}
				add(kind, "calc_"+name, calc+"}]")
			}
		}
	}
}

// randomForm is the text of a questionnaire with all there is: a group, a block, rosters in rosters, choices of an enum and
// of a table with a filter, formats, limits, versions, and rules made at random.
func randomForm(r *rand.Rand) string {
	var row, part, group, top strings.Builder
	w := &writer{r: r, known: map[string][]string{}, rows: map[string]map[string][]string{}}
	fmt.Fprintf(&top, "  int64 i1 = 1 [QUESTION.label.en = \"i1\", (buf.validate.field).int64 = {gte: -5 lte: 50}];\n")
	w.known["int"] = []string{"this.i1"}
	fmt.Fprintf(&top, "  Answer e1 = 2 %s;\n", w.options("e1", "int", "e1"))
	w.known["int"] = append(w.known["int"], "this.e1")
	fmt.Fprintf(&top, "  repeated Answer m1 = 3 [QUESTION = {label: {en: \"m1\"} relevant: %q}, (buf.validate.field).repeated = {unique: true max_items: 3}];\n", w.bool(1))
	w.ints = []string{"this.m1"}
	fmt.Fprintf(&top, "  int32 town = 4 [QUESTION = {label: {en: \"town\"} choices: \"towns\" filter: \"choice.county == text(this.e1) || choice.county == ''\"}];\n")
	fmt.Fprintf(&top, "  string day = 5 [QUESTION = {label: {en: \"day\"} format: FORMAT_DATE required: true}];\n")
	w.known["text"] = append(w.known["text"], "this.day")
	w.questions(&top, "a", 2, 10)
	w.known["text"] = append(w.known["text"], "choice_name('towns', this.town)")

	// What stands below reads the top by root, and its own by this.
	below := func() *writer {
		in := &writer{r: r, known: map[string][]string{}, rows: map[string]map[string][]string{}}
		for k, all := range w.known {
			for _, x := range all {
				in.known[k] = append(in.known[k], strings.ReplaceAll(x, "this.", "root."))
			}
		}
		return in
	}
	in := below()
	in.questions(&part, "p", 1, 1)
	in = below()
	in.known["int"] = append(in.known["int"], "position", "up1.i1")
	in.questions(&row, "r", 1, 1)
	in.rows["this.parts"] = map[string][]string{"int": {"pi1"}, "double": {"pd1"}, "text": {"pt1"}, "bool": {"pb1"}}
	fmt.Fprintf(&row, "  repeated Part parts = 30 [QUESTION = {label: {en: \"parts\"} count: %q}];\n", in.int(1))
	in.questions(&row, "s", 1, 31)
	in = below()
	in.questions(&group, "g", 1, 1)

	fmt.Fprintf(&top, "  Group group = 40 %s;\n  repeated Row rows = 41 %s;\n", w.options("group", "group", ""), w.options("rows", "group", ""))
	w.known["int"] = append(w.known["int"], "this.group.gi1")
	w.known["bool"] = append(w.known["bool"], "this.group.gb1")
	w.rows["this.rows"] = map[string][]string{"int": {"ri1"}, "double": {"rd1"}, "text": {"rt1"}, "bool": {"rb1"}}
	fmt.Fprintf(&top, "  hearth.survey.v1.PartialDate born = 42 %s;\n", w.options("born", "group", ""))
	w.known["int"] = append(w.known["int"], "this.born.year")
	w.known["text"] = append(w.known["text"], "first_day(this.born)")
	w.questions(&top, "z", 2, 50)
	return `enum Answer { ANSWER_UNSPECIFIED = 0; ANSWER_YES = 1 [CHOICE = {label: {en: "yes"} name: "yes"}]; ANSWER_NO = 2 [CHOICE = {label: {en: "no"} name: "no"}]; ANSWER_NEVER = 3; }
option (hearth.form.v1.table) = {name: "towns" rows: [{number: 1 choice: {name: "a" label: {en: "A"} columns: [{key: "county" value: "1"}]}},
  {number: 2 choice: {name: "b" label: {en: "B"} columns: [{key: "county" value: "2"}]}}, {number: 7 choice: {name: "c" label: {en: "C"}}}]};
message T { MODULE = {title: {en: "Random"} version: 2};
` + top.String() + "  MISSING_MAP;\n}\nmessage Group { MODULE = {title: {en: \"G\"}};\n" + group.String() + "  MISSING_MAP;\n}\nmessage Row { MODULE = {title: {en: \"R\"}};\n" +
		row.String() + "  MISSING_MAP;\n}\nmessage Part { MODULE = {title: {en: \"P\"}};\n" + part.String() + "  MISSING_MAP;\n}\n"
}

// randomAnswers fills a message: share tenths of its fields.
func randomAnswers(r *rand.Rand, m protoreflect.Message, share int) {
	for f := range fieldsOf(m.Descriptor()) {
		if r.IntN(10) >= share {
			continue
		}
		switch {
		case f.IsMap():
			reasons := m.Mutable(f).Map()
			for range r.IntN(3) {
				reasons.Set(protoreflect.ValueOfUint32(uint32(r.IntN(60))).MapKey(), protoreflect.ValueOfEnum(protoreflect.EnumNumber(1+r.IntN(4))))
			}
		case f.IsList():
			list := m.Mutable(f).List()
			for range r.IntN(4) {
				if f.Message() != nil {
					randomAnswers(r, list.AppendMutable().Message(), share)
				} else {
					list.Append(randomScalar(r, f))
				}
			}
		case f.Message() != nil:
			randomAnswers(r, m.Mutable(f).Message(), share)
		default:
			m.Set(f, randomScalar(r, f))
		}
	}
}

func randomScalar(r *rand.Rand, f protoreflect.FieldDescriptor) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(r.IntN(2) == 0)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(r.IntN(5)))
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(r.IntN(9)))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64([]int64{0, 1, 2, 3, 7, -4, 40, 60, 2016, 9_000_000_000_000_000_000}[r.IntN(10)])
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64([]float64{0, 0.5, 1, -2.25, 100, 1e9, 0.1, 3}[r.IntN(8)])
	}
	return protoreflect.ValueOfString([]string{"", "a", "5", "2016-07-21", "1999-12-31", "贵州", " 12.50 ", "x y", "2016-02-30", "2016-07-21T18:05:00+08:00"}[r.IntN(10)])
}

// Two evaluations of the same answers, one of a fresh message, are the same: nothing is kept between them.
func TestRandomFormsAreEvaluatedAlike(t *testing.T) {
	for _, made := range madeAtRandom(t)[:3] {
		q, err := Load(made.set, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range made.vectors {
			m := q.New()
			if err := protojson.Unmarshal(v.Answers, m); err != nil {
				t.Fatal(err)
			}
			o := Options{Version: v.Version, Completed: v.Completed}
			first, second := q.Evaluate(m, o), q.Evaluate(proto.Clone(m), o)
			if a, b := fmt.Sprintf("%v", first.Flags), fmt.Sprintf("%v", second.Flags); a != b {
				t.Fatalf("%s: %s: flags %s and then %s", v.Questionnaire, v.About, a, b)
			}
		}
	}
}
