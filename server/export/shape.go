package export

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// shape adds the columns of a field and says by which suffixes their names differ from the question's.
func (b *builder) shape(s *step, fd protoreflect.FieldDescriptor, q *formv1.Question, in place) ([]string, error) {
	if b.publishing != nil {
		if suffixes, done := b.shapePublished(s, fd, q, in); done {
			return suffixes, nil
		}
	}
	switch {
	case special(fd.FullName()):
		s.op = opSpecial
		b.addLabelled(KindText, fd, q, in)
		return []string{""}, nil
	case fd.IsMap():
		if fd.MapValue().Message() != nil {
			return nil, b.child(s, fd, fd.MapValue().Message(), in)
		}
		s.op = opMap
		b.addLabelled(KindText, fd, q, in)
		return []string{""}, nil
	case fd.Message() != nil:
		return b.shapeMessage(s, fd, q, in)
	case fd.IsList() && fd.Enum() != nil:
		return b.shapeChoices(s, fd, q, in), nil
	case fd.IsList():
		s.op = opList
		c := b.addLabelled(KindText, fd, q, in)
		c.list = listText
		if scalarKind(fd) == KindInteger {
			c.list = listWhole
		}
		return []string{""}, nil
	case fd.Enum() != nil:
		s.op = opEnum
		b.setChoices(b.addLabelled(KindCode, fd, q, in), fd.Enum())
		return []string{""}, nil
	case milli(fd):
		s.op = opMilli
		b.addLabelled(KindTime, fd, q, in)
		return []string{""}, nil
	default:
		s.op = opScalar
		s.float32 = fd.Kind() == protoreflect.FloatKind
		b.addLabelled(scalarKind(fd), fd, q, in)
		return []string{""}, nil
	}
}

func scalarKind(fd protoreflect.FieldDescriptor) Kind {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return KindYesNo
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return KindNumber
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		// Unsigned numbers of 64 bits are ids here and do not fit a signed column.
		return KindText
	default:
		return KindInteger
	}
}

func milli(fd protoreflect.FieldDescriptor) bool {
	return strings.HasSuffix(string(fd.Name()), "time_ms") && fd.Kind() == protoreflect.Int64Kind
}

func (b *builder) addLabelled(kind Kind, fd protoreflect.FieldDescriptor, q *formv1.Question, in place) *Column {
	c := b.column(kind, in)
	c.Label = in.labelOf(fd, q)
	c.Unit, c.Measure, c.Since, c.Until = q.GetUnit(), q.GetMeasure(), q.GetSince(), q.GetUntil()
	if b.publishing != nil {
		c.formName = cmp.Or(q.GetFormName(), string(fd.Name()))
	}
	b.add(in.table, c)
	if kind == KindYesNo {
		b.setValues(c, yesNoLabels())
	}
	return c
}

func (b *builder) setValues(c *Column, values []ValueLabel) {
	c.Values = values
	for _, v := range values {
		c.label[v.Code] = v.Label
	}
}

func (b *builder) setChoices(c *Column, ed protoreflect.EnumDescriptor) {
	b.setValues(c, choices(ed))
	c.enum = snake(string(ed.Name()))
}

// snake is the name of an enum as variables are named: EthnicGroup is ethnic_group.
func snake(name string) string {
	var b strings.Builder
	for i, r := range name {
		if r >= 'A' && r <= 'Z' && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(r)
	}
	return clean(b.String())
}

func yesNoLabels() []ValueLabel {
	return []ValueLabel{{Code: 0, Label: text("no", "否")}, {Code: 1, Label: text("yes", "是")}}
}

// part adds a column for a part of an answer: the year of a date.
func (b *builder) part(kind Kind, fd protoreflect.FieldDescriptor, q *formv1.Question, in place, label *formv1.Text) *Column {
	c := b.addLabelled(kind, fd, q, in)
	c.Label = within(c.Label, label)
	return c
}

func (b *builder) shapeMessage(s *step, fd protoreflect.FieldDescriptor, q *formv1.Question, in place) ([]string, error) {
	md := fd.Message()
	if fd.IsList() || levelOf(md) != "" {
		return nil, b.child(s, fd, md, in)
	}
	switch md.FullName() {
	case timestampName:
		s.op = opTime
		b.addLabelled(KindTime, fd, q, in)
		return []string{""}, nil
	case durationName:
		s.op = opDuration
		b.addLabelled(KindNumber, fd, q, in).Unit = "second"
		return []string{""}, nil
	case dateName:
		if setParts(s, md, "year", "month", "day", "calendar", "leap_month") {
			return b.shapeDate(s, fd, q, in), nil
		}
	case moneyName:
		if setParts(s, md, "yuan", "estimated") {
			s.op = opMoney
			c := b.addLabelled(KindInteger, fd, q, in)
			if c.Unit == "" {
				c.Unit = "yuan"
			}
			c.Measure = formv1.Measure_MEASURE_SCALE
			b.part(KindYesNo, fd, q, in, text("estimated", "估计数")).Unit = ""
			return []string{"", "_estimated"}, nil
		}
	}
	return nil, b.flatten(s, fd, md, q, in)
}

// setParts finds the fields of a message that is one answer.
func setParts(s *step, md protoreflect.MessageDescriptor, names ...protoreflect.Name) bool {
	for i, n := range names {
		if s.parts[i] = md.Fields().ByName(n); s.parts[i] == nil {
			return false
		}
	}
	return true
}

func (b *builder) shapeDate(s *step, fd protoreflect.FieldDescriptor, q *formv1.Question, in place) []string {
	s.op = opDate
	b.addLabelled(KindDate, fd, q, in)
	b.part(KindInteger, fd, q, in, text("year", "年"))
	b.part(KindInteger, fd, q, in, text("month", "月"))
	b.part(KindInteger, fd, q, in, text("day", "日"))
	b.setChoices(b.part(KindCode, fd, q, in, text("calendar", "历法")), s.parts[3].Enum())
	b.part(KindYesNo, fd, q, in, text("leap month of the lunar calendar", "农历闰月"))
	return []string{"", "_year", "_month", "_day", "_cal", "_leap"}
}

// shapeChoices adds a column with all the codes chosen, in the order they were chosen, and one 0/1 column per choice.
func (b *builder) shapeChoices(s *step, fd protoreflect.FieldDescriptor, q *formv1.Question, in place) []string {
	s.op = opChoices
	s.codes = map[protoreflect.EnumNumber]int{}
	b.addLabelled(KindText, fd, q, in).list = listWhole
	suffixes := []string{""}
	for _, v := range choices(fd.Enum()) {
		if v.Code <= 0 {
			continue
		}
		s.codes[protoreflect.EnumNumber(v.Code)] = len(in.table.Columns)
		b.part(KindYesNo, fd, q, in, v.Label)
		suffixes = append(suffixes, "_"+strconv.Itoa(int(v.Code)))
	}
	return suffixes
}

// flatten puts the fields of a message into the same table.
func (b *builder) flatten(s *step, fd protoreflect.FieldDescriptor, md protoreflect.MessageDescriptor, q *formv1.Question, in place) error {
	if err := b.enter(md); err != nil {
		return err
	}
	defer func() { b.onPath = b.onPath[:len(b.onPath)-1] }()
	s.op = opMessage
	s.sub = &node{byField: map[int32]int{}}
	if b.uses[md.FullName()] > 1 && md.FullName() != identityName {
		in.label = in.labelOf(fd, q)
	}
	in = b.block(md, in)
	for i := range md.Fields().Len() {
		if err := b.field(s.sub, md.Fields().Get(i), in); err != nil {
			return err
		}
	}
	if md.FullName() == geoPointName {
		b.position(in.table, s)
	}
	return nil
}

func (b *builder) enter(md protoreflect.MessageDescriptor) error {
	for _, name := range b.onPath {
		if name == md.FullName() {
			return fault.New(fault.Invalid, fault.BadSchema, "message %s contains itself, so its answers fit no table", name)
		}
	}
	b.onPath = append(b.onPath, md.FullName())
	return nil
}

// child gives a message that repeats, or that is a level of its own, a table. Two lists of the same level in the same
// message (referrals told by the recruit, referrals made) share one table, with a column that says which list.
func (b *builder) child(s *step, fd protoreflect.FieldDescriptor, md protoreflect.MessageDescriptor, in place) error {
	for _, name := range b.onPath {
		if name == md.FullName() {
			return fault.New(fault.Invalid, fault.BadSchema, "message %s contains itself, so its answers fit no table", name)
		}
	}
	s.op = opTable
	if t := b.sibling(md, in.table); t != nil {
		s.table = t
		if t.toldIn < 0 {
			t.toldIn = b.fix(t, &Column{Name: "told_in", Kind: KindText, Label: text("Question under which it was told", "在哪个问题下提到")})
		}
		return nil
	}
	name := levelOf(md)
	if name == "" {
		name = combine(in.prefix, in.name)
	}
	if b.publishing != nil {
		name = b.rosterName(md, in)
	}
	t, err := b.table(name, md, in.table, fd.IsList() || fd.IsMap())
	if err != nil {
		return err
	}
	if fd.IsMap() {
		t.mapKey = b.fix(t, &Column{Name: "key", Kind: KindText, Label: text("Key", "键")})
	}
	s.table = t
	return nil
}

func (b *builder) sibling(md protoreflect.MessageDescriptor, parent *Table) *Table {
	if levelOf(md) == "" {
		return nil
	}
	for _, t := range b.plan.Tables {
		if t.Parent == parent && t.desc == md.FullName() {
			return t
		}
	}
	return nil
}
