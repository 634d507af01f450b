package study

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/common/types"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
)

// A walk fills one interview. In each round the questionnaire is evaluated; what is asked and has no answer gets one,
// what breaks a rule gets another, what is not asked any more loses its answer. It ends when a round changes nothing.
type walk struct {
	f       *filler
	r       *rand.Rand
	plan    *plan
	answers proto.Message

	notAsked   map[string]bool
	calculated map[string]bool
	broken     map[string]doubt
	changed    bool
	tried      map[string]int
	left       map[string]bool // left without an answer
	rows       map[string]int
	reached    map[string]bool // paths without rows
}

// doubt is the worst that is said of an answer.
type doubt struct {
	rule     string
	hard     bool
	required bool
}

const (
	mostRounds    = 120
	mostTries     = 16 // of an answer that breaks a hard rule
	mostSoftTries = 6
)

func (f *filler) newWalk(r *rand.Rand, p *plan) *walk {
	return &walk{
		f: f, r: r, plan: p, answers: f.q.New(), tried: map[string]int{}, left: map[string]bool{}, rows: map[string]int{}, reached: map[string]bool{},
	}
}

// stand is a message of the answers in its place; what is not there yet is made where something is written.
type stand struct {
	spot *spot
	rec  *record
	path string                      // with rows
	get  func() protoreflect.Message // nil: not there yet
	make func() protoreflect.Message
}

// has says whether a question of the message has an answer.
func (s stand) has(q *questionnaire.Question) bool {
	m := s.get()
	return m != nil && m.Has(q.Field)
}

func (w *walk) fill() *questionnaire.Evaluation {
	for range mostRounds {
		e := w.evaluate()
		w.look(e)
		w.changed = false
		top := w.answers.ProtoReflect()
		itself := func() protoreflect.Message { return top }
		w.message(stand{spot: w.f.top, rec: recordOf(w.f.top.module, itself, nil, 0), get: itself, make: itself})
		if !w.changed {
			return e
		}
	}
	return w.evaluate()
}

func (w *walk) evaluate() *questionnaire.Evaluation {
	return w.f.q.Evaluate(w.answers, questionnaire.Options{Completed: true, Now: w.f.engine.now})
}

// look takes in what the questionnaire says of the answers.
func (w *walk) look(e *questionnaire.Evaluation) {
	w.notAsked, w.calculated, w.broken = map[string]bool{}, map[string]bool{}, map[string]doubt{}
	for _, p := range e.NotAsked {
		w.notAsked[p] = true
	}
	for _, c := range e.Calculated {
		w.calculated[c.Path] = true
		if m, ok := w.at(c.Path); ok {
			put(m, c.Question.Field, c.Value)
		}
	}
	for _, flag := range e.Flags {
		_, id, _ := strings.Cut(flag.GetRule(), "/")
		switch id {
		case "calculated_otherwise", "row_count", "answered_but_not_relevant", "too_many_flags":
			continue
		}
		f := doubt{rule: id, hard: flag.GetSeverity() == formv1.Severity_SEVERITY_HARD, required: id == "required"}
		path := strings.TrimSuffix(flag.GetPath(), "]")
		if path != flag.GetPath() { // of one of several choices
			path = path[:strings.LastIndexByte(path, '[')]
		}
		if was, ok := w.broken[path]; !ok || !was.hard && f.hard {
			w.broken[path] = f
		}
	}
}

// at is the message that the last step of a path is a field of.
func (w *walk) at(path string) (protoreflect.Message, bool) {
	m := w.answers.ProtoReflect()
	steps := strings.Split(path, ".")
	for _, s := range steps[:len(steps)-1] {
		name, row, rows := strings.Cut(strings.TrimSuffix(s, "]"), "[")
		fd := m.Descriptor().Fields().ByName(protoreflect.Name(name))
		if fd == nil || fd.Message() == nil || fd.IsMap() {
			return nil, false
		}
		if !rows {
			m = m.Mutable(fd).Message()
			continue
		}
		i, err := strconv.Atoi(row)
		if err != nil || i >= m.Get(fd).List().Len() {
			return nil, false
		}
		m = m.Mutable(fd).List().Get(i).Message()
	}
	return m, true
}

func (w *walk) message(at stand) {
	for _, q := range at.spot.module.Questions {
		path := under(at.path, q.Name())
		if !q.In(w.f.q.Version()) {
			continue
		}
		if w.notAsked[path] {
			if at.has(q) {
				at.make().Clear(q.Field)
				w.changed = true
			}
			continue
		}
		here := under(at.spot.path, q.Name())
		switch {
		case q.Options.GetSystem() && q.Options.GetCalculate() == "":
			w.keep(at, q)
		case q.Options.GetNote():
			w.reached[here] = true
		case q.Options.GetCalculate() != "":
			w.reached[here] = true
			w.calculation(at, q, path)
		case q.Module != nil && q.List:
			w.reached[here] = true
			w.roster(at, q, path)
		case q.Module != nil:
			w.group(at, q, path)
		default:
			w.leaf(at, q, path)
		}
	}
}

// keep writes what a tablet's program keeps by itself: when the form was begun, and on which device.
func (w *walk) keep(at stand, q *questionnaire.Question) {
	if q.Field.Kind() != protoreflect.StringKind || q.List || at.has(q) {
		return
	}
	now := w.f.engine.now
	switch what := q.Options.GetFormColumns()["type"]; {
	case what == "end":
		put(at.make(), q.Field, now.Add(25*time.Minute).Format(rfc3339Milli))
	case q.Options.GetFormat() == formv1.Format_FORMAT_DATE_TIME:
		put(at.make(), q.Field, now.Format(rfc3339Milli))
	case q.Options.GetFormat() == formv1.Format_FORMAT_DATE:
		put(at.make(), q.Field, now.Format(time.DateOnly))
	case what == "deviceid", what == "username":
		put(at.make(), q.Field, what+" made up")
	}
}

// rfc3339Milli is a date and time as tablets write it.
const rfc3339Milli = "2006-01-02T15:04:05.000-07:00"

// below is the place of a group.
func (w *walk) below(at stand, q *questionnaire.Question, path string) stand {
	get := func() protoreflect.Message {
		if !at.has(q) {
			return nil
		}
		return at.get().Get(q.Field).Message()
	}
	return stand{
		spot: at.spot.kids[q], path: path, rec: recordOf(q.Module, get, at.rec, 0), get: get,
		make: func() protoreflect.Message { return at.make().Mutable(q.Field).Message() },
	}
}

func (w *walk) group(at stand, q *questionnaire.Question, path string) {
	here := under(at.spot.path, q.Name())
	whole := w.f.blocks(q) != nil || !q.Module.Reasons() && len(q.Options.GetChecks()) > 0
	bad, broken := w.broken[path]
	if whole && (!at.has(q) || broken && w.again(path, bad)) {
		w.block(at, q)
	}
	if w.f.blocks(q) != nil {
		w.reach(here, q.Module)
		return
	}
	w.reached[here] = true
	if broken && !whole && w.again(path, bad) {
		w.mend(at, q, at.spot.kids[q])
	}
	w.message(w.below(at, q, path))
}

// again says whether what breaks a rule is to be given another answer.
func (w *walk) again(path string, bad doubt) bool {
	w.tried[path]++
	return w.tried[path] <= mostSoftTries || bad.hard && w.tried[path] <= 2*mostTries
}

// block fills an answer of several parts as a whole.
func (w *walk) block(at stand, q *questionnaire.Question) {
	pal := w.f.palettes(q)
	for _, c := range q.Options.GetChecks() {
		pal = pal.and(w.compared(at, q, c.GetExpression()))
	}
	m := at.make().Mutable(q.Field).Message()
	for i := range 60 {
		m.Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool { m.Clear(fd); return true })
		if fill := w.f.blocks(q); fill != nil {
			fill(w.r, m, q.Options.GetFormat(), w.f.engine.now)
		} else {
			for _, part := range q.Module.Questions {
				if v, ok := propose(w.r, part, w.f.numbersOf(part, pal), pal.and(w.f.palettes(part)), w.f.engine.now); ok && !part.Options.GetSystem() && part.Module == nil {
					put(m, part.Field, v)
				}
			}
		}
		if w.passesAs(at, q, recordOf(q.Module, func() protoreflect.Message { return m }, at.rec, 0), i < 40) {
			break
		}
	}
	w.changed = true
}

// mend changes answers below a group or in the rows of a roster, one after the other, until its checks hold.
func (w *walk) mend(at stand, q *questionnaire.Question, below *spot) {
	var open []leaf
	pal := &palette{}
	for _, c := range q.Options.GetChecks() {
		leaves, _ := w.f.reads(c.GetExpression(), at.spot)
		for _, l := range leaves {
			if l.spot == below && l.q.Options.GetCalculate() == "" && !l.q.Options.GetSystem() {
				open = append(open, l)
			}
		}
		pal = pal.and(w.f.engine.palette(c.GetExpression())).and(w.compared(at, q, c.GetExpression()))
	}
	if len(open) == 0 || !at.has(q) {
		return
	}
	for i := range 150 {
		m := at.get().Get(q.Field)
		var in protoreflect.Message
		if q.List {
			if m.List().Len() == 0 {
				return
			}
			in = m.List().Get(w.r.IntN(m.List().Len())).Message()
		} else {
			in = m.Message()
		}
		l := open[w.r.IntN(len(open))]
		had, was := in.Has(l.q.Field), in.Get(l.q.Field)
		switch {
		case l.q.Module != nil:
			in.Clear(l.q.Field)
		default:
			if v, ok := propose(w.r, l.q, w.f.numbersOf(l.q, pal), pal.and(w.f.palettes(l.q)), w.f.engine.now); ok {
				put(in, l.q.Field, v)
			}
		}
		if w.passesAs(at, q, at.rec.read(q), i < 100) {
			w.changed = true
			return
		}
		if i%10 < 7 {
			in.Clear(l.q.Field)
			if had {
				in.Set(l.q.Field, was)
			}
		}
	}
	w.changed = true
}

// reach notes everything below a block that is filled as a whole.
func (w *walk) reach(here string, m *questionnaire.Module) {
	w.reached[here] = true
	for _, q := range m.Questions {
		if q.Module == nil {
			w.reached[under(here, q.Name())] = true
		}
	}
}

// calculation holds what the tablet would: the value of the rule, or, where only a tablet carries it out, one made up once.
func (w *walk) calculation(at stand, q *questionnaire.Question, path string) {
	has := at.has(q)
	switch {
	case w.calculated[path]:
	case !volatile(q.Options.GetCalculate()):
		if has {
			at.make().Clear(q.Field)
		}
	case !has && q.Module == nil && !q.List:
		if v := w.f.engine.eval(q.Options.GetCalculate(), scope{this: at.rec}); v != nil {
			put(at.make(), q.Field, v.Value())
			w.changed = true
		}
	}
}

// volatile says whether a rule is carried out on tablets only.
func volatile(source string) bool {
	for _, f := range []string{"now()", "today()", "random()", "uuid()", "once("} {
		if strings.Contains(source, f) {
			return true
		}
	}
	return false
}

func (w *walk) roster(at stand, q *questionnaire.Question, path string) {
	if bad, broken := w.broken[path]; broken && w.again(path, bad) {
		w.mend(at, q, at.spot.kids[q])
	}
	want, counted := w.rowsOf(at, q, path)
	have := 0
	if at.has(q) {
		have = at.get().Get(q.Field).List().Len()
	}
	if have < want || counted && have > want {
		list := at.make().Mutable(q.Field).List()
		for list.Len() < want {
			list.Append(list.NewElement())
		}
		list.Truncate(want)
		w.changed = true
	}
	if !at.has(q) {
		return
	}
	list := at.make().Mutable(q.Field).List()
	for i := range list.Len() {
		m := list.Get(i).Message()
		itself := func() protoreflect.Message { return m }
		w.message(stand{
			spot: at.spot.kids[q], rec: recordOf(q.Module, itself, at.rec, i+1), path: path + "[" + strconv.Itoa(i) + "]", get: itself, make: itself,
		})
	}
}

// mostRows is how many rows a roster gets at most, however many its count asks for.
const mostRows = 600

// rowsOf is how many rows a roster should have, and whether its count says so.
func (w *walk) rowsOf(at stand, q *questionnaire.Question, path string) (int, bool) {
	if count := q.Options.GetCount(); count != "" {
		n, ok := w.f.engine.eval(count, scope{this: at.rec}).(types.Int)
		if !ok {
			return 0, false
		}
		return int(max(0, min(n, mostRows))), true
	}
	if n, ok := w.rows[path]; ok {
		return n, false
	}
	b := boundsOf(q.Field)
	n := max(w.r.IntN(4), b.items, w.plan.rows[under(at.spot.path, q.Name())])
	if b.mostItems > 0 {
		n = min(n, b.mostItems)
	}
	w.rows[path] = n
	return n, false
}

func (w *walk) leaf(at stand, q *questionnaire.Question, path string) {
	here := under(at.spot.path, q.Name())
	bad, broken := w.broken[path]
	if !at.has(q) {
		if w.left[path] && !(bad.required && w.tried[path] == 0) || w.reasoned(at, q) {
			return
		}
		w.answer(at, q, path)
		return
	}
	w.reached[here] = true
	if !broken {
		return
	}
	w.tried[path]++
	switch n := w.tried[path]; {
	case !bad.hard && n > mostSoftTries:
	case n > mostTries:
		w.f.stuck[here] = bad.rule
		delete(w.reached, here)
		at.make().Clear(q.Field)
		w.leave(at, q, path)
		w.changed = true
	default:
		if n%5 == 4 {
			w.forget(at, q)
		}
		w.answer(at, q, path)
	}
}

// forget takes back the answers that the checks of a question compare it with.
func (w *walk) forget(at stand, q *questionnaire.Question) {
	for _, c := range q.Options.GetChecks() {
		leaves, _ := w.f.reads(c.GetExpression(), at.spot)
		for _, l := range leaves {
			if l.q == q || l.spot != at.spot || l.q.Options.GetCalculate() != "" || l.q.Options.GetSystem() {
				continue
			}
			at.make().Clear(l.q.Field)
		}
	}
}

// reasoned says whether there is a reason for having no answer.
func (w *walk) reasoned(at stand, q *questionnaire.Question) bool {
	fd := missingField(at.spot.module)
	return fd != nil && at.get() != nil && at.get().Get(fd).Map().Has(protoreflect.ValueOfUint32(uint32(q.Field.Number())).MapKey())
}

func missingField(m *questionnaire.Module) protoreflect.FieldDescriptor {
	if !m.Reasons() {
		return nil
	}
	return m.Desc.Fields().ByName("missing")
}

// leave gives a reason for having no answer, where the question accepts one.
func (w *walk) leave(at stand, q *questionnaire.Question, path string) {
	w.left[path] = true
	fd, accepted := missingField(at.spot.module), q.Accepted()
	if fd == nil || len(accepted) == 0 {
		return
	}
	at.make().Mutable(fd).Map().Set(protoreflect.ValueOfUint32(uint32(q.Field.Number())).MapKey(), protoreflect.ValueOfEnum(accepted[len(accepted)-1].Number()))
	w.changed = true
}
