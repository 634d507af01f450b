package questionnaire

import (
	"fmt"
	"slices"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/hearth-survey/hearth/proto/fault"
)

// upgrade is how the answers of earlier versions are read, compiled once and never changed.
type upgrade struct {
	// levels are the last versions that held something otherwise, rising; of is what changed after each, by message.
	levels []uint32
	of     map[protoreflect.FullName][]*takeover
}

// takeover is one Earlier of one question.
type takeover struct {
	until  uint32
	target protoreflect.FieldNumber
	// source is where the answer was, 0: in the target itself. It may be a field that the schema no longer has.
	source protoreflect.FieldNumber
	codes  map[int32]int32
	// value yields the answer; nil where there is no expression. It gives none where there is no answer.
	value func(this, root protoreflect.Message) (protoreflect.Value, bool)
}

// valueCompiler compiles the expression of an Earlier.
type valueCompiler func(f protoreflect.FieldDescriptor, source string) (func(this, root protoreflect.Message) (protoreflect.Value, bool), error)

// newUpgrade compiles what a schema declares of its earlier versions; nil where it declares nothing.
func newUpgrade(top protoreflect.MessageDescriptor, compile valueCompiler) (*upgrade, error) {
	u := &upgrade{of: map[protoreflect.FullName][]*takeover{}}
	version := moduleOptions(top).GetVersion()
	messages, seen := []protoreflect.MessageDescriptor{top}, map[protoreflect.FullName]bool{top.FullName(): true}
	for i := 0; i < len(messages); i++ {
		m := messages[i]
		for f := range fieldsOf(m) {
			for _, e := range formv1.QuestionOf(f.Options()).GetEarlier() {
				t, err := newTakeover(f, e, version, compile)
				if err != nil {
					return nil, err
				}
				if t == nil {
					continue
				}
				u.of[m.FullName()] = append(u.of[m.FullName()], t)
				if !slices.Contains(u.levels, t.until) {
					u.levels = append(u.levels, t.until)
				}
			}
			if g := GroupOf(f); g != nil && !seen[g.FullName()] {
				seen[g.FullName()] = true
				messages = append(messages, g)
			}
		}
	}
	if len(u.levels) == 0 {
		return nil, nil
	}
	slices.Sort(u.levels)
	return u, nil
}

// broughtFrom says whether a question that a version did not have may have an answer all the same, as Upgrade brings it.
func (q *Question) broughtFrom(version uint32) bool {
	return !q.in(version) && slices.ContainsFunc(q.Options.GetEarlier(), func(e *formv1.Earlier) bool {
		return e.GetUntil() >= version && (e.GetNumber() != 0 || e.GetValue() != "")
	})
}

// newTakeover compiles one declaration; nil where it only names what the question was called.
func newTakeover(f protoreflect.FieldDescriptor, e *formv1.Earlier, version uint32, compile valueCompiler) (*takeover, error) {
	switch {
	case e.GetUntil() == 0:
		return nil, badField(f, "declares an earlier answer without saying until which version it was so: set until")
	case e.GetUntil() >= version:
		return nil, badField(f, "declares how versions up to %d held the answer, but %d is the current version: until must be below it", e.GetUntil(), version)
	case e.GetNumber() == uint32(f.Number()):
		return nil, badField(f, "declares its own number %d as the one that held the answer before: leave number out", e.GetNumber())
	case e.GetNumber() == 0 && len(e.GetCodes()) == 0 && e.GetValue() == "":
		if e.GetName() == "" {
			return nil, badField(f, "declares an earlier answer of versions up to %d and does not say what was different: set name, number, codes or value", e.GetUntil())
		}
		return nil, nil
	}
	t := &takeover{until: e.GetUntil(), target: f.Number(), source: protoreflect.FieldNumber(e.GetNumber())}
	if len(e.GetCodes()) > 0 {
		if _, _, ok := choiceRows(f); !ok {
			return nil, badField(f, "declares codes of earlier versions, and offers no choices")
		}
		t.codes = make(map[int32]int32, len(e.GetCodes()))
		for _, r := range e.GetCodes() {
			if _, twice := t.codes[r.GetFrom()]; twice || r.GetFrom() == 0 {
				return nil, badField(f, "declares what code %d of earlier versions is now, which is none or stands twice", r.GetFrom())
			}
			t.codes[r.GetFrom()] = r.GetTo()
		}
	}
	if e.GetValue() != "" {
		var err error
		if t.value, err = compile(f, e.GetValue()); err != nil {
			return nil, err
		}
		return t, nil
	}
	if held := f.ContainingMessage().Fields().ByNumber(t.source); held != nil && !takesOver(held, f) {
		was, _ := typeWords(held)
		is, _ := typeWords(f)
		return nil, badField(f, "declares that number %d held its answer, but that holds %s and this %s: say in value how it is converted", t.source, was, is)
	}
	return t, nil
}

// takesOver says whether an answer of one field can stand in another as it is.
func takesOver(from, to protoreflect.FieldDescriptor) bool {
	if from.IsMap() || to.IsMap() || from.IsList() && !to.IsList() {
		return false
	}
	if from.Message() != nil || to.Message() != nil {
		return from.Message() != nil && to.Message() != nil && from.Message().FullName() == to.Message().FullName() && from.IsList() == to.IsList()
	}
	return from.Kind() == to.Kind() || isWhole(from.Kind()) && isWhole(to.Kind()) &&
		(widens(from.Kind(), to.Kind()) || from.Kind() == protoreflect.EnumKind || to.Kind() == protoreflect.EnumKind || from.Kind() == protoreflect.Int32Kind)
}

// isWhole says whether a kind is one of the whole numbers that choices are kept as.
func isWhole(k protoreflect.Kind) bool {
	switch k {
	case protoreflect.EnumKind, protoreflect.Int32Kind, protoreflect.Int64Kind, protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Sint32Kind, protoreflect.Sint64Kind:
		return true
	}
	return false
}

// Upgrade returns the answers of an interview of a version as they stand under the current one: renamed, moved, recoded,
// converted, as the schema declares. The message given is not changed; it is returned itself where there is nothing to do,
// as for answers of the current version. Fields that nobody knows stay. A question whose answer was taken over by another
// keeps it, so that a version without an answer of its own shows the same as before.
func (q *Questionnaire) Upgrade(m proto.Message, version uint32) (proto.Message, error) {
	name := m.ProtoReflect().Descriptor().FullName()
	if name != q.Descriptor().FullName() {
		return nil, fault.New(fault.Invalid, fault.UnknownQuestionnaire, "the answers are to %s, not to %s", name, q.Name())
	}
	u := q.upgrade
	if u == nil || version == 0 || version > u.levels[len(u.levels)-1] {
		return m, nil
	}
	if m.ProtoReflect().Descriptor() != q.Descriptor() { // read by another version's schema
		raw, err := proto.Marshal(m)
		if err != nil {
			return nil, fmt.Errorf("read answers to %s by version %d: %w", name, q.Version(), err)
		}
		m = q.New()
		if err := proto.Unmarshal(raw, m); err != nil {
			return nil, fmt.Errorf("read answers to %s by version %d: %w", name, q.Version(), err)
		}
	}
	after := proto.Clone(m)
	for _, level := range u.levels {
		if level < version {
			continue
		}
		before := proto.Clone(after).ProtoReflect()
		if err := u.apply(level, before, before, after.ProtoReflect()); err != nil {
			return nil, fmt.Errorf("read answers of version %d to %s: %w", version, name, err)
		}
	}
	return after, nil
}

// apply carries out what changed after a level, in a message and all below it. Answers are read as they were before.
func (u *upgrade) apply(level uint32, root, before, after protoreflect.Message) error {
	for _, t := range u.of[before.Descriptor().FullName()] {
		if t.until != level {
			continue
		}
		if err := t.apply(root, before, after); err != nil {
			return err
		}
	}
	for f := range fieldsOf(before.Descriptor()) {
		if GroupOf(f) == nil || !before.Has(f) || !after.Has(f) {
			continue
		}
		if !f.IsList() {
			if err := u.apply(level, root, before.Get(f).Message(), after.Mutable(f).Message()); err != nil {
				return err
			}
			continue
		}
		x, y := before.Get(f).List(), after.Mutable(f).List()
		for i := range min(x.Len(), y.Len()) {
			if err := u.apply(level, root, x.Get(i).Message(), y.Get(i).Message()); err != nil {
				return err
			}
		}
	}
	return nil
}

// apply writes one answer.
func (t *takeover) apply(root, before, after protoreflect.Message) error {
	target := after.Descriptor().Fields().ByNumber(t.target)
	if t.value != nil {
		v, ok := t.value(before, root)
		if !ok {
			after.Clear(target)
			return nil
		}
		after.Set(target, v)
		return nil
	}
	if t.source == 0 {
		if before.Has(target) {
			t.recode(after, target)
		}
		return nil
	}
	if after.Has(target) {
		return nil // it has an answer of its own
	}
	t.reason(before, after)
	source := before.Descriptor().Fields().ByNumber(t.source)
	switch {
	case source == nil:
		if err := retag(before, after, t.source, target); err != nil {
			return err
		}
	case before.Has(source):
		copyAnswer(before, source, after, target)
	}
	t.recode(after, target)
	return nil
}

// reason copies the reason for having no answer.
func (t *takeover) reason(before, after protoreflect.Message) {
	f := before.Descriptor().Fields().ByName("missing")
	if f == nil || !f.IsMap() || f.MapKey().Kind() != protoreflect.Uint32Kind || !before.Has(f) {
		return
	}
	from, to := protoreflect.ValueOfUint32(uint32(t.source)).MapKey(), protoreflect.ValueOfUint32(uint32(t.target)).MapKey()
	if v := before.Get(f).Map().Get(from); v.IsValid() && !after.Get(f).Map().Has(to) {
		after.Mutable(f).Map().Set(to, v)
	}
}

// retag reads a field that the schema no longer has as one that it has.
func retag(before, after protoreflect.Message, number protoreflect.FieldNumber, target protoreflect.FieldDescriptor) error {
	var raw []byte
	for b := before.GetUnknown(); len(b) > 0; {
		num, typ, n := protowire.ConsumeField(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		if num == number {
			_, _, tag := protowire.ConsumeTag(b)
			raw = append(protowire.AppendTag(raw, target.Number(), typ), b[tag:n]...)
		}
		b = b[n:]
	}
	if len(raw) == 0 {
		return nil
	}
	alone := after.New()
	if proto.Unmarshal(raw, alone.Interface()) == nil && alone.Has(target) {
		after.Set(target, alone.Get(target))
	}
	return nil
}

// copyAnswer puts the answer of one field into another that can hold it.
func copyAnswer(before protoreflect.Message, from protoreflect.FieldDescriptor, after protoreflect.Message, to protoreflect.FieldDescriptor) {
	v := before.Get(from)
	one := func(v protoreflect.Value) protoreflect.Value {
		if from.Message() != nil {
			return protoreflect.ValueOfMessage(proto.Clone(v.Message().Interface()).ProtoReflect())
		}
		if from.Kind() == to.Kind() {
			return v
		}
		return numberFor(to.Kind(), heldNumber(from.Kind(), v))
	}
	switch {
	case from.IsList():
		list := after.Mutable(to).List()
		for i := range v.List().Len() {
			list.Append(one(v.List().Get(i)))
		}
	case to.IsList():
		after.Mutable(to).List().Append(one(v))
	default:
		after.Set(to, one(v))
	}
}

// recode gives an answer the numbers that its choices have now; 0 is no answer.
func (t *takeover) recode(m protoreflect.Message, f protoreflect.FieldDescriptor) {
	if t.codes == nil || !m.Has(f) {
		return
	}
	now := func(v protoreflect.Value) (int64, bool) {
		n := heldNumber(f.Kind(), v)
		if to, ok := t.codes[int32(n)]; ok && int64(int32(n)) == n {
			return int64(to), to != 0
		}
		return n, true
	}
	if !f.IsList() {
		n, ok := now(m.Get(f))
		if !ok {
			m.Clear(f)
			return
		}
		m.Set(f, numberFor(f.Kind(), n))
		return
	}
	list := m.Mutable(f).List()
	kept := make([]int64, 0, list.Len())
	for i := range list.Len() {
		if n, ok := now(list.Get(i)); ok && !slices.Contains(kept, n) {
			kept = append(kept, n)
		}
	}
	list.Truncate(0)
	for _, n := range kept {
		list.Append(numberFor(f.Kind(), n))
	}
}

func heldNumber(k protoreflect.Kind, v protoreflect.Value) int64 {
	switch k {
	case protoreflect.EnumKind:
		return int64(v.Enum())
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind:
		return int64(v.Uint())
	}
	return v.Int()
}

func numberFor(k protoreflect.Kind, n int64) protoreflect.Value {
	switch k {
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(n))
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(n))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(uint64(n))
	case protoreflect.Int32Kind, protoreflect.Sint32Kind:
		return protoreflect.ValueOfInt32(int32(n))
	}
	return protoreflect.ValueOfInt64(n)
}
