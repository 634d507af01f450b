package export

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// cell is one value: i for whole numbers, codes, 0/1 and times (milliseconds since 1970), f for numbers, s for text and
// dates. Not set is empty.
type cell struct {
	set bool
	i   int64
	f   float64
	s   string
}

func textCell(s string) cell {
	if s == "" {
		return cell{}
	}
	return cell{set: true, s: s}
}

func intCell(i int64) cell { return cell{set: true, i: i} }

// timeCell leaves out what is in no year from 1 to 9999: no reader of the files could make a time of it.
func timeCell(ms int64) cell {
	if ms < -62_135_596_800_000 || ms > 253_402_300_799_999 {
		return cell{}
	}
	return intCell(ms)
}

func boolCell(b bool) cell {
	if b {
		return intCell(1)
	}
	return intCell(0)
}

// row is one row of a table: its cells by column and the reasons by question; a reason is stored plus one.
type row struct {
	table *Table
	cells []cell
	why   []int32
}

func (r *row) reset() {
	clear(r.cells)
	clear(r.why)
}

// pending is rows of another table found while a row was filled.
type pending struct {
	step  *step
	value protoreflect.Value
}

// extractor turns messages into rows, one row buffer per table; a row is only valid while emit runs.
type extractor struct {
	plan      *Plan
	canonical map[string]string
	lang      string
	roll      *roll
	rows      map[*Table]*row
	emit      func(*row) error
	ended     func() error // runs after each interview, where it is set

	stages  []stage
	staged  map[*Table]*row // what the stages make of a row
	looking bool            // in the pass in which stages look

	summary *servicev1.InterviewSummary
	// interview is what the rows are of, nil outside of interviews; other its answers to a published questionnaire.
	interview *surveyv1.Interview
	other     protoreflect.Message
	current   protoreflect.Message // the message of the row that is filled
	visits    int64                // to questions, of the interview at hand
	found     located              // what the row of a flag or of paradata is about
	version   uint32               // of the published questionnaire that was answered
	unread    map[string]int       // interviews whose answers are in no table, by why
}

func newExtractor(p *Plan, src Source, lang string, emit func(*row) error) *extractor {
	x := &extractor{plan: p, canonical: src.Canonical, lang: lang, rows: map[*Table]*row{}, emit: emit, unread: map[string]int{}, staged: map[*Table]*row{}}
	for _, t := range slices.Concat(p.Tables, p.leftOut) {
		x.rows[t] = &row{table: t, cells: make([]cell, len(t.Columns)), why: make([]int32, len(t.Questions))}
	}
	return x
}

// same is the id that linkage decisions lead to.
func (x *extractor) same(id string) string {
	if c := x.canonical[id]; c != "" {
		return c
	}
	return id
}

func (x *extractor) personHere() (appearance, bool) {
	fd := x.current.Descriptor().Fields().ByName("person_id")
	if fd == nil || fd.Kind() != protoreflect.StringKind || !x.current.Has(fd) || x.roll == nil {
		return appearance{}, false
	}
	return x.roll.of(x.same(x.current.Get(fd).String()))
}

func (x *extractor) appearances() cell {
	if a, ok := x.personHere(); ok {
		return intCell(a.count)
	}
	return cell{}
}

func (x *extractor) firstAppearance() cell {
	a, ok := x.personHere()
	if !ok {
		return cell{}
	}
	line := x.current.Descriptor().Fields().ByName("line_number")
	here := line == nil || line.Kind() != protoreflect.Int32Kind || int32(x.current.Get(line).Int()) == a.line
	return boolCell(a.count == 1 || here && x.summary.GetInterviewId() == a.first)
}

// answered emits all rows of an interview.
func (x *extractor) answered(a *Answered, read other) error {
	x.forget()
	x.summary, x.interview = a.Summary, a.Interview
	if x.interview == nil {
		x.interview = &surveyv1.Interview{}
	}
	if err := x.message(x.plan.interview, x.interview.ProtoReflect(), nil, 1, "", ""); err != nil {
		return err
	}
	if err := x.published(x.interview, read); err != nil {
		return err
	}
	for _, f := range a.Flags {
		x.found = x.locate(f.GetPath())
		if err := x.message(x.plan.flag, f.ProtoReflect(), nil, 1, "", ""); err != nil {
			return err
		}
	}
	for _, p := range a.Paradata {
		if err := x.trail(p); err != nil {
			return err
		}
	}
	return nil
}

// forget ends an interview: rows that follow are of none.
func (x *extractor) forget() {
	x.summary, x.interview, x.other, x.version, x.visits, x.found = nil, nil, nil, 0, 0, located{}
}

// send lets the stages change a row, and emits it. What they make of it stands in a row of its own: the levels below
// have the keys as they were, and the stages change those there.
func (x *extractor) send(r *row) (kept bool, err error) {
	if len(x.stages) == 0 {
		return true, x.emit(r)
	}
	out := x.staged[r.table]
	if out == nil {
		out = &row{table: r.table, cells: make([]cell, len(r.cells)), why: make([]int32, len(r.why))}
		x.staged[r.table] = out
	}
	copy(out.cells, r.cells)
	copy(out.why, r.why)
	for _, s := range x.stages {
		if x.looking {
			if err := s.look(x, out); err != nil {
				return false, err
			}
		}
		if kept, err := s.row(x, out); err != nil || !kept {
			return false, err
		}
	}
	return true, x.emit(out)
}

// message emits a message's row and the rows of all levels below it.
func (x *extractor) message(t *Table, m protoreflect.Message, parent *row, position int, toldIn, mapKey string) error {
	r := x.rows[t]
	r.reset()
	for _, k := range t.inherited {
		r.cells[k.to] = parent.cells[k.from]
	}
	if t.position >= 0 {
		r.cells[t.position] = intCell(int64(position))
	}
	if t.toldIn >= 0 {
		r.cells[t.toldIn] = textCell(toldIn)
	}
	if t.mapKey >= 0 {
		r.cells[t.mapKey] = textCell(mapKey)
	}
	below := x.fill(t.root, m, r, nil)
	x.current = m
	for _, e := range t.extras {
		r.cells[e.col] = e.value(x)
	}
	if kept, err := x.send(r); err != nil || !kept {
		return err
	}
	for _, p := range below {
		if err := x.below(p, r); err != nil {
			return err
		}
	}
	return nil
}

func (x *extractor) below(p pending, parent *row) error {
	fd, t := p.step.fd, p.step.table
	toldIn := string(fd.Name())
	switch {
	case fd.IsList():
		list := p.value.List()
		for i := range list.Len() {
			if err := x.message(t, list.Get(i).Message(), parent, i+1, toldIn, ""); err != nil {
				return err
			}
		}
	case fd.IsMap():
		m := p.value.Map()
		for i, k := range sortedKeys(m) {
			if err := x.message(t, m.Get(k).Message(), parent, i+1, toldIn, k.String()); err != nil {
				return err
			}
		}
	default:
		return x.message(t, p.value.Message(), parent, 1, toldIn, "")
	}
	return nil
}

// fill puts the answers of a message into a row and returns what belongs to other tables.
func (x *extractor) fill(n *node, m protoreflect.Message, r *row, below []pending) []pending {
	for i := range n.steps {
		s := &n.steps[i]
		if s.op == opSpecial {
			r.cells[s.col] = textCell(x.ruleWording(m, s.fd))
			continue
		}
		if !m.Has(s.fd) {
			continue
		}
		v := m.Get(s.fd)
		switch s.op {
		case opMessage:
			below = x.fill(s.sub, v.Message(), r, below)
		case opTable:
			below = append(below, pending{s, v})
		default:
			x.value(s, v, r)
		}
	}
	if n.missing != nil && m.Has(n.missing) {
		m.Get(n.missing).Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
			if q, ok := n.byField[int32(k.Uint())]; ok {
				r.why[q] = int32(v.Enum()) + 1
			}
			return true
		})
	}
	return below
}

func (x *extractor) value(s *step, v protoreflect.Value, r *row) {
	c := &r.cells[s.col]
	switch s.op {
	case opScalar:
		*c = scalar(s.fd, v, s.float32)
		if s.canonical >= 0 {
			r.cells[s.canonical] = textCell(x.same(v.String()))
		}
	case opEnum:
		if s.list != nil {
			chosen(s, v, r)
			return
		}
		*c = intCell(int64(v.Enum()))
	case opDateTime:
		*c, r.cells[s.col+1] = momentOf(v.String()), textCell(v.String())
	case opMilli:
		*c = timeCell(v.Int())
	case opTime:
		sec, nano := secondsOf(v.Message())
		*c = timeCell(time.Unix(sec, nano).UnixMilli())
	case opDuration:
		sec, nano := secondsOf(v.Message())
		*c = cell{set: true, f: float64(sec) + float64(nano)/1e9}
	case opDate:
		fillDate(s, v.Message(), r)
	case opMoney:
		m := v.Message()
		if m.Has(s.parts[0]) {
			*c = intCell(m.Get(s.parts[0]).Int())
		}
		if m.Has(s.parts[1]) {
			r.cells[s.col+1] = boolCell(m.Get(s.parts[1]).Bool())
		}
	case opList:
		*c = textCell(joinList(s.fd, v.List()))
	case opChoices, opRank:
		if s.list != nil {
			selected(s, v.List(), r)
			return
		}
		fillChoices(s, v.List(), r)
	case opMap:
		*c = textCell(joinMap(s.fd, v.Map()))
	}
}

func secondsOf(m protoreflect.Message) (sec, nano int64) {
	fields := m.Descriptor().Fields()
	return m.Get(fields.ByName("seconds")).Int(), m.Get(fields.ByName("nanos")).Int()
}

func scalar(fd protoreflect.FieldDescriptor, v protoreflect.Value, short bool) cell {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return boolCell(v.Bool())
	case protoreflect.DoubleKind:
		return cell{set: true, f: v.Float()}
	case protoreflect.FloatKind:
		f := v.Float()
		if short {
			// 12.3 told as a float is 12.3, not 12.300000190734863.
			f, _ = strconv.ParseFloat(strconv.FormatFloat(f, 'g', -1, 32), 64)
		}
		return cell{set: true, f: f}
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind, protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return intCell(v.Int())
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return intCell(int64(v.Uint()))
	default:
		return textCell(scalarText(fd, v))
	}
}

func scalarText(fd protoreflect.FieldDescriptor, v protoreflect.Value) string {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return v.String()
	case protoreflect.BytesKind:
		if strings.Contains(string(fd.Name()), "sha256") {
			return hex.EncodeToString(v.Bytes())
		}
		return base64.StdEncoding.EncodeToString(v.Bytes())
	case protoreflect.EnumKind:
		return strconv.Itoa(int(v.Enum()))
	case protoreflect.FloatKind:
		return strconv.FormatFloat(v.Float(), 'g', -1, 32)
	case protoreflect.DoubleKind:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	case protoreflect.BoolKind:
		if v.Bool() {
			return "1"
		}
		return "0"
	default:
		return fmt.Sprint(v.Interface())
	}
}

func fillDate(s *step, m protoreflect.Message, r *row) {
	var part [3]int64
	known := 0
	for i := range 3 {
		if m.Has(s.parts[i]) {
			part[i] = m.Get(s.parts[i]).Int()
			r.cells[s.col+1+i] = intCell(part[i])
			if known == i {
				known = i + 1
			}
		}
	}
	switch known {
	case 1:
		r.cells[s.col] = textCell(fmt.Sprintf("%04d", part[0]))
	case 2:
		r.cells[s.col] = textCell(fmt.Sprintf("%04d-%02d", part[0], part[1]))
	case 3:
		r.cells[s.col] = textCell(fmt.Sprintf("%04d-%02d-%02d", part[0], part[1], part[2]))
	}
	if m.Has(s.parts[3]) {
		r.cells[s.col+4] = intCell(int64(m.Get(s.parts[3]).Enum()))
	}
	if m.Has(s.parts[4]) {
		r.cells[s.col+5] = boolCell(m.Get(s.parts[4]).Bool())
	}
}

func fillChoices(s *step, list protoreflect.List, r *row) {
	r.cells[s.col] = textCell(joinList(s.fd, list))
	for _, col := range s.codes {
		r.cells[col] = intCell(0)
	}
	for i := range list.Len() {
		if col, ok := s.codes[list.Get(i).Enum()]; ok {
			r.cells[col] = intCell(1)
		}
	}
}

// joinList writes several values with a semicolon between; a semicolon within a value has a backslash before it.
func joinList(fd protoreflect.FieldDescriptor, list protoreflect.List) string {
	parts := make([]string, list.Len())
	for i := range parts {
		parts[i] = escapeItem(scalarText(fd, list.Get(i)))
	}
	return strings.Join(parts, ";")
}

func escapeItem(s string) string {
	if !strings.ContainsAny(s, `;\`) {
		return s
	}
	return itemEscaper.Replace(s)
}

var itemEscaper = strings.NewReplacer(`\`, `\\`, `;`, `\;`)

func joinMap(fd protoreflect.FieldDescriptor, m protoreflect.Map) string {
	var parts []string
	for _, k := range sortedKeys(m) {
		parts = append(parts, escapeItem(k.String()+"="+scalarText(fd.MapValue(), m.Get(k))))
	}
	return strings.Join(parts, ";")
}

func sortedKeys(m protoreflect.Map) []protoreflect.MapKey {
	keys := make([]protoreflect.MapKey, 0, m.Len())
	m.Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
		keys = append(keys, k)
		return true
	})
	slices.SortFunc(keys, func(a, b protoreflect.MapKey) int {
		switch x := a.Interface().(type) {
		case int32:
			return cmp.Compare(x, b.Interface().(int32))
		case int64:
			return cmp.Compare(x, b.Interface().(int64))
		case uint32:
			return cmp.Compare(x, b.Interface().(uint32))
		case uint64:
			return cmp.Compare(x, b.Interface().(uint64))
		default:
			return strings.Compare(a.String(), b.String())
		}
	})
	return keys
}

// ruleWording is what the questionnaire says of the rule of a flag. The message that came with the flag may quote an
// answer; it stands only in exports that hold answers of every kind.
func (x *extractor) ruleWording(m protoreflect.Message, fd protoreflect.FieldDescriptor) string {
	rule := m.Get(m.Descriptor().Fields().ByName("rule")).String()
	field, id, ok := strings.Cut(rule, "/")
	if ok {
		fd := x.plan.fields[protoreflect.FullName(field)]
		if d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(field)); err == nil {
			fd, _ = d.(protoreflect.FieldDescriptor)
		}
		if fd != nil {
			for _, c := range question(fd).GetChecks() {
				if c.GetId() == id {
					return wording(c.GetMessage(), x.lang)
				}
			}
		}
	}
	if x.plan.research() {
		return ""
	}
	t, _ := m.Get(fd).Message().Interface().(*formv1.Text)
	return wording(t, x.lang)
}
