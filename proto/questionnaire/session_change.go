package questionnaire

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/hearth-survey/hearth/proto/fault"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

// State is what is known of the question at a path, "members[2].age".
func (s *Session) State(path string) (State, error) {
	at, err := s.find(path)
	if err != nil {
		return State{}, err
	}
	return s.state(at.n, at.question()), nil
}

// Set answers a question, and gives what is known now of every question of which something else is said than before. The
// value is a bool, an int64 or another whole number, a float64, a string, bytes, a message for a block, or a slice of these
// for a list.
func (s *Session) Set(path string, value any) ([]State, error) {
	at, err := s.find(path)
	if err != nil {
		return nil, err
	}
	q := at.question()
	if q.List && q.Module != nil {
		return nil, notAt(path, "is a roster: add rows to it")
	}
	s.begin()
	changed := append(s.write(at.n), at)
	m := at.n.reflected()
	if given, ok := value.(proto.Message); ok {
		// A copy, of the type that the answers are of: generated Go's, or protobuf's reflection's.
		held := m.NewField(q.Field)
		if err := convert(q.Field, given, held); err != nil {
			return nil, notAt(path, "%w", err)
		}
		m.Set(q.Field, held)
	} else if q.List {
		list := m.NewField(q.Field)
		if err := fillList(q.Field, list.List(), value); err != nil {
			return nil, notAt(path, "%w", err)
		}
		m.Set(q.Field, list)
	} else {
		v, err := valueFor(q.Field, value)
		if err != nil {
			return nil, notAt(path, "%w", err)
		}
		m.Set(q.Field, v)
	}
	s.renew(at)
	return s.follow(changed), nil
}

// Clear takes an answer away; of a roster all rows.
func (s *Session) Clear(path string) ([]State, error) {
	at, err := s.find(path)
	if err != nil {
		return nil, err
	}
	s.begin()
	if !at.n.unset {
		at.n.reflected().Clear(at.question().Field)
	}
	s.renew(at)
	return s.follow([]spot{at}), nil
}

// SetMissing says why a question has no answer; MISSING_UNSPECIFIED takes the reason away.
func (s *Session) SetMissing(path string, reason formv1.Missing) ([]State, error) {
	at, err := s.find(path)
	if err != nil {
		return nil, err
	}
	missing := at.n.module.missing
	if missing == nil {
		return nil, notAt(path, "is a part of an answer: the reason stands with the question that it answers")
	}
	s.begin()
	changed := append(s.write(at.n), at)
	m, key := at.n.reflected(), protoreflect.ValueOfUint32(at.question().number).MapKey()
	if reason == formv1.Missing_MISSING_UNSPECIFIED {
		m.Mutable(missing.field).Map().Clear(key)
	} else {
		m.Mutable(missing.field).Map().Set(key, protoreflect.ValueOfEnum(reason.Number()))
	}
	return s.follow(changed), nil
}

// AddRow adds an empty row at the end of a roster.
func (s *Session) AddRow(path string) ([]State, error) {
	at, err := s.roster(path)
	if err != nil {
		return nil, err
	}
	s.begin()
	changed := append(s.write(at.n), at)
	q := at.question()
	at.n.reflected().Mutable(q.Field).List().AppendMutable()
	list := q.access.list(&at.n.view)
	rows := at.n.kids[q.kid]
	row := s.e.child(at.n, q, list.row(list.n-1))
	row.row = list.n - 1
	at.n.kids[q.kid] = append(append(make([]*node, 0, list.n), rows...), row)
	return s.follow(changed), nil
}

// RemoveRow takes a row out of a roster; those after it move up.
func (s *Session) RemoveRow(path string, row int) ([]State, error) {
	at, err := s.roster(path)
	if err != nil {
		return nil, err
	}
	q := at.question()
	rows := s.e.rowsOf(at.n, q)
	if row < 0 || row >= len(rows) {
		return nil, notAt(path, "has no row %d", row)
	}
	s.begin()
	list := at.n.reflected().Mutable(q.Field).List()
	for i := row; i+1 < list.Len(); i++ {
		list.Set(i, list.Get(i+1))
	}
	list.Truncate(list.Len() - 1)
	s.drop(rows[row])
	kept := append(append(make([]*node, 0, len(rows)), rows[:row]...), rows[row+1:]...)
	at.n.kids[q.kid] = kept
	// What stands in the rows after it reads its position, and is at another path.
	for i := row; i < len(kept); i++ {
		kept[i].row = i
		s.forgetAll(kept[i])
	}
	s.follow([]spot{at})
	for _, after := range kept[row:] {
		if sh := s.sheets[after]; sh != nil {
			s.visit(after, sh.mode)
		}
	}
	s.end()
	return s.states(), nil
}

// Initial is the value with which a question is first shown; false where it has none.
func (s *Session) Initial(path string) (any, bool, error) {
	at, err := s.find(path)
	if err != nil {
		return nil, false, err
	}
	if at.question().initial == nil {
		return nil, false, nil
	}
	s.begin()
	x, ok := s.carryOut(at, at.question().initial)
	return x, ok, nil
}

// Offered are the choices that a question offers by the other answers.
func (s *Session) Offered(path string) ([]*Choice, error) {
	at, err := s.find(path)
	if err != nil {
		return nil, err
	}
	q := at.question()
	if q.Choices == nil {
		return nil, notAt(path, "offers no choices")
	}
	s.begin()
	var all []*Choice
	for i := range q.Choices.List {
		c := &q.Choices.List[i]
		if q.filter == nil || s.e.offers(at.n, q, c) == yes {
			all = append(all, c)
		}
	}
	return all, nil
}

// Rows is how many rows a roster is to have; false where nothing says so.
func (s *Session) Rows(path string) (int, bool, error) {
	at, err := s.roster(path)
	if err != nil || at.question().count == nil {
		return 0, false, err
	}
	s.begin()
	var n datum
	f := s.e.push(at.n, at.question())
	o := at.question().count.value(f, &n)
	s.e.depth--
	return int(min(max(n.integer(), 0), math.MaxInt32)), o == there, nil
}

// Store writes what calculated questions come to into the answers, as they are to be sent: also of calculations that use
// the time or chance, which are carried out now. A calculated question that is not asked, or comes to nothing, is cleared.
func (s *Session) Store() error {
	for _, q := range s.q.all {
		if q.calculate == nil {
			continue
		}
		for _, n := range s.live[q.home] {
			at := spot{n, q.index}
			path := pathString(append(pathOf(n), place{q.name, -1}))
			s.begin()
			x, ok := s.carryOut(at, q.calculate)
			var err error
			switch known := s.state(n, q); {
			case q.calculate.volatile && s.e.now.IsZero():
			case known.Asked && ok:
				_, err = s.Set(path, x)
			default:
				_, err = s.Clear(path)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// carryOut is what an expression comes to, as Set takes it.
func (s *Session) carryOut(at spot, c *calculation) (any, bool) {
	f := s.e.push(at.n, at.question())
	defer func() { s.e.depth-- }()
	f.room(c.slots)
	return nativeOf(c.all(f))
}

func nativeOf(v ref.Val) (any, bool) {
	switch v := v.(type) {
	case types.Bool, types.Int, types.Double, types.String, types.Uint:
		return v.Value(), true
	case traits.Lister:
		var all []any
		for it := v.Iterator(); it.HasNext() == types.True; {
			x, ok := nativeOf(it.Next())
			if !ok {
				return nil, false
			}
			all = append(all, x)
		}
		return all, true
	}
	return nil, false
}

func (x spot) question() *Question { return x.n.module.Questions[x.index] }

func notAt(path, format string, args ...any) error {
	return fault.New(fault.Invalid, fault.BadRequest, "%.200s "+format, append([]any{path}, args...)...)
}

// find is the question at a path.
func (s *Session) find(path string) (spot, error) {
	n := s.top
	steps := strings.Split(path, ".")
	for i, step := range steps {
		name, index, indexed := strings.Cut(strings.TrimSuffix(step, "]"), "[")
		q, ok := n.module.Find(name)
		if !ok {
			return spot{}, notAt(path, "is no question: %s has no %.100s", n.module.Desc.Name(), name)
		}
		if i == len(steps)-1 {
			if indexed {
				return spot{}, notAt(path, "names one value of a list: give the whole list")
			}
			return spot{n, q.index}, nil
		}
		if q.Module == nil || q.List != indexed {
			return spot{}, notAt(path, "is no question: %.100s is no group, or a roster whose row is not said", step)
		}
		row := 0
		if indexed {
			var err error
			if row, err = strconv.Atoi(index); err != nil {
				return spot{}, notAt(path, "is no question: %.100s is no number of a row", index)
			}
		}
		rows := s.e.rowsOf(n, q)
		if row < 0 || row >= len(rows) {
			return spot{}, notAt(path, "is no question: %.100s has %d rows", name, len(rows))
		}
		n = rows[row]
	}
	return spot{}, notAt(path, "is no question")
}

func (s *Session) roster(path string) (spot, error) {
	at, err := s.find(path)
	if err == nil && (!at.question().List || at.question().Module == nil) {
		return spot{}, notAt(path, "is no roster")
	}
	if err == nil {
		s.e.rowsOf(at.n, at.question())
	}
	return at, err
}

// write lets a message be set, and those around it; it gives the groups that were not set before.
func (s *Session) write(n *node) []spot {
	if !n.unset {
		return nil
	}
	changed := append(s.write(n.up), spot{n.up, n.in.index})
	n.view, n.unset = viewOf(n.up.reflected().Mutable(n.in.Field).Message(), n.module.typ), false
	return changed
}

// renew forgets the messages below a question that has another answer now.
func (s *Session) renew(at spot) {
	q := at.question()
	if q.Module == nil {
		return
	}
	for _, row := range at.n.kids[q.kid] {
		s.drop(row)
	}
	at.n.kids[q.kid] = nil
}

// drop forgets what is said of a message and of all below it.
func (s *Session) drop(n *node) {
	delete(s.sheets, n)
	for _, rows := range n.kids {
		for _, row := range rows {
			s.drop(row)
		}
	}
}

// forgetAll lets a message and all below it find out again what they knew.
func (s *Session) forgetAll(n *node) {
	clear(n.slots)
	clear(n.conds)
	for _, rows := range n.kids {
		for _, row := range rows {
			s.forgetAll(row)
		}
	}
}

// fillList puts a slice into a list.
func fillList(f protoreflect.FieldDescriptor, list protoreflect.List, value any) error {
	add := func(x any) error {
		v, err := valueFor(f, x)
		if err == nil {
			list.Append(v)
		}
		return err
	}
	var err error
	each := func(n int, at func(int) any) {
		for i := 0; i < n && err == nil; i++ {
			err = add(at(i))
		}
	}
	switch v := value.(type) {
	case []any:
		each(len(v), func(i int) any { return v[i] })
	case []string:
		each(len(v), func(i int) any { return v[i] })
	case []int64:
		each(len(v), func(i int) any { return v[i] })
	case []int32:
		each(len(v), func(i int) any { return v[i] })
	case []int:
		each(len(v), func(i int) any { return v[i] })
	case []float64:
		each(len(v), func(i int) any { return v[i] })
	default:
		return fmt.Errorf("takes a list, not %T", value)
	}
	return err
}

// convert puts a message into an empty one of a field's type.
func convert(f protoreflect.FieldDescriptor, from proto.Message, to protoreflect.Value) error {
	if f.Message() == nil || f.IsList() || from.ProtoReflect().Descriptor().FullName() != f.Message().FullName() {
		return fmt.Errorf("takes %s, not %s", typeOf(f), from.ProtoReflect().Descriptor().FullName())
	}
	raw, err := proto.Marshal(from)
	if err != nil {
		return fmt.Errorf("takes no message that cannot be written: %w", err)
	}
	return proto.Unmarshal(raw, to.Message().Interface())
}

// valueFor is a value as a field holds it.
func valueFor(f protoreflect.FieldDescriptor, value any) (protoreflect.Value, error) {
	switch v := value.(type) {
	case int:
		value = int64(v)
	case int32:
		value = int64(v)
	case protoreflect.EnumNumber:
		value = int64(v)
	case uint32:
		value = int64(v)
	}
	var s datum
	switch v := value.(type) {
	case int64:
		s.setInt(v)
		switch kindOf(f) {
		case kindInt:
			if fitting(f)(&s) {
				return wholeFor(f, v), nil
			}
		case kindUint:
			if v >= 0 && fitting(f)(&s) {
				return numberFor(f.Kind(), v), nil
			}
		case kindDouble:
			return floatFor(f, float64(v)), nil
		}
	case uint64:
		if s.bits = v; kindOf(f) == kindUint && fitting(f)(&s) && v <= math.MaxInt64 {
			return numberFor(f.Kind(), int64(v)), nil
		}
	case float64:
		if kindOf(f) == kindDouble {
			return floatFor(f, v), nil
		}
	case string:
		if kindOf(f) == kindText {
			return protoreflect.ValueOfString(v), nil
		}
	case bool:
		if kindOf(f) == kindTruth {
			return protoreflect.ValueOfBool(v), nil
		}
	case []byte:
		if kindOf(f) == kindBytes {
			return protoreflect.ValueOfBytes(v), nil
		}
	}
	return protoreflect.Value{}, fmt.Errorf("takes %s, not %T", typeOf(f), value)
}

func wholeFor(f protoreflect.FieldDescriptor, i int64) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(i))
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(i))
	}
	return protoreflect.ValueOfInt64(i)
}

func floatFor(f protoreflect.FieldDescriptor, d float64) protoreflect.Value {
	if f.Kind() == protoreflect.FloatKind {
		return protoreflect.ValueOfFloat32(float32(d))
	}
	return protoreflect.ValueOfFloat64(d)
}
