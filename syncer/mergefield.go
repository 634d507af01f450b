package syncer

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// merge is one merge under way. Wherever it is, what the sides have there is listed in the order of sides; a side that
// takes no part, because it has not touched what the others added, has nothing there.
type merge struct {
	sides     []Version
	choices   map[string]Digest
	used      map[string]bool
	conflicts []*servicev1.FieldConflict
	answers   func(questionnaire string) protoreflect.MessageDescriptor // nil: none is known
	// mixed: the sides answer several versions of a questionnaire, in which the same number may say something else.
	mixed bool
}

// slot is what one revision has in one place.
type slot struct {
	// part is false for a side that takes no part.
	part bool
	has  bool
	v    protoreflect.Value
	// field is the field that is set, for a oneof.
	field protoreflect.FieldDescriptor
	// reason is why there is no answer, where gives is true.
	reason protoreflect.EnumNumber
	gives  bool
}

func (a slot) equal(b slot) bool {
	if a.has != b.has || a.gives != b.gives || a.gives && a.reason != b.reason || a.field != b.field {
		return false
	}
	return !a.has || a.v.Equal(b.v)
}

// decide returns the side whose slot is right, and false where the sides changed it differently.
func decide(bases, sides []slot) (int, bool) {
	taking := -1
	alike := true
	for i, s := range sides {
		switch {
		case !s.part:
		case taking < 0:
			taking = i
		case !s.equal(sides[taking]):
			alike = false
		}
	}
	if alike {
		return taking, true
	}
	if len(bases) == 0 {
		return taking, false
	}
	for _, b := range bases[1:] {
		if !b.equal(bases[0]) {
			return taking, false
		}
	}
	changed := -1
	for i, s := range sides {
		switch {
		case !s.part || s.equal(bases[0]):
		case changed < 0:
			changed = i
		case !s.equal(sides[changed]):
			return taking, false
		}
	}
	return changed, true
}

// leaf decides about one answer. It notes a conflict unless somebody has chosen.
func (m *merge) leaf(path string, bases, sides []slot, text func(slot) string) slot {
	i, ok := decide(bases, sides)
	if ok {
		return sides[i]
	}
	if choice, chosen := m.choices[path]; chosen {
		for j, s := range sides {
			if s.part && m.sides[j].Digest == choice {
				m.used[path] = true
				return s
			}
		}
	}
	c := &servicev1.FieldConflict{Path: ptr(path), Base: ptr("")}
	if len(bases) > 0 {
		c.Base = ptr(text(bases[0]))
		for _, b := range bases[1:] {
			if !b.equal(bases[0]) {
				c.Base = ptr("") // the ancestors themselves differ
			}
		}
	}
	for j, s := range sides {
		if s.part {
			v := m.sides[j]
			c.Values = append(c.Values, &servicev1.FieldValue{
				Revision: bytes.Clone(v.Digest[:]), Value: ptr(text(s)), Author: ptr(v.Author), WallTimeMs: ptr(v.WallTimeMS),
			})
		}
	}
	m.conflicts = append(m.conflicts, c)
	return sides[i]
}

// message merges field by field into an empty message. A side that is nil takes no part.
func (m *merge) message(path string, bases, sides []protoreflect.Message, to protoreflect.Message) {
	fields := to.Descriptor().Fields()
	missing := missingOf(to.Descriptor())
	for i := range fields.Len() {
		fd := fields.Get(i)
		if fd == missing {
			continue
		}
		if !inOneof(fd) {
			m.field(join(path, string(fd.Name())), fd, missing, bases, sides, to)
		} else if !m.oneof(path, fd.ContainingOneof(), fd, bases, sides, to) {
			m.field(join(path, string(fd.Name())), fd, nil, bases, sides, to)
		}
	}
	m.otherReasons(path, missing, bases, sides, to)
	m.unknown(path, bases, sides, to)
}

// inOneof says whether only one of several fields can be set. The reasons of such a field are merged by themselves.
func inOneof(fd protoreflect.FieldDescriptor) bool {
	return fd.ContainingOneof() != nil && !fd.ContainingOneof().IsSynthetic()
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// missingOf is the map of a message that says why answers are missing, by the number of their field.
func missingOf(d protoreflect.MessageDescriptor) protoreflect.FieldDescriptor {
	fd := d.Fields().ByName("missing")
	if fd == nil || !fd.IsMap() || fd.MapKey().Kind() != protoreflect.Uint32Kind || fd.MapValue().Kind() != protoreflect.EnumKind {
		return nil
	}
	return fd
}

func slots(all []protoreflect.Message, read func(protoreflect.Message) slot) []slot {
	out := make([]slot, len(all))
	for i, msg := range all {
		if msg != nil {
			out[i] = read(msg)
			out[i].part = true
		}
	}
	return out
}

// oneof decides about a oneof of which the sides have set different fields, once, at its first field. It reports false
// where they have set the same, or none.
func (m *merge) oneof(path string, od protoreflect.OneofDescriptor, fd protoreflect.FieldDescriptor, bases, sides []protoreflect.Message, to protoreflect.Message) bool {
	read := func(msg protoreflect.Message) slot {
		f := msg.WhichOneof(od)
		if f == nil {
			return slot{}
		}
		return slot{has: true, v: msg.Get(f), field: f}
	}
	have := slots(sides, read)
	alike := true
	var first *slot
	for i := range have {
		if !have[i].part {
			continue
		}
		if first == nil {
			first = &have[i]
		}
		alike = alike && have[i].field == first.field
	}
	if alike {
		return false
	}
	if fd != od.Fields().Get(0) {
		return true
	}
	got := m.leaf(join(path, string(od.Name())), slots(bases, read), have, func(s slot) string {
		if !s.has {
			return ""
		}
		return fieldJSON(to, s.field, s.v, true)
	})
	if got.has {
		to.Set(got.field, got.v)
	}
	return true
}

// field merges one field together with the reason why it has no answer.
func (m *merge) field(path string, fd, missing protoreflect.FieldDescriptor, bases, sides []protoreflect.Message, to protoreflect.Message) {
	read := func(msg protoreflect.Message) slot {
		s := slot{has: msg.Has(fd)}
		if s.has {
			s.v = msg.Get(fd)
		}
		s.reason, s.gives = reasonOf(msg, missing, fd.Number())
		return s
	}
	was, have := slots(bases, read), slots(sides, read)
	text := func(s slot) string {
		return withReason(s, missing, func() string { return fieldJSON(to, fd, s.v, false) })
	}
	i, alike := decide(nil, have)
	reasons := true
	for _, s := range have {
		reasons = reasons && (!s.part || s.gives == have[i].gives && s.reason == have[i].reason)
	}
	got := have[i]
	switch {
	case alike:
	case !reasons:
		got = m.leaf(path, was, have, text)
	case fd.IsMap():
		m.mapField(path, fd, was, have, to)
		got.has = false // set already
	case fd.IsList() && fd.Message() != nil:
		if !m.list(path, fd, was, have, to) {
			got = m.leaf(path, was, have, text)
			break
		}
		got.has = false
	case !fd.IsList() && fd.Message() != nil && missingOf(fd.Message()) != nil:
		v, has := m.element(path, was, have, func() protoreflect.Message { return to.NewField(fd).Message() }, text)
		got.has, got.v = has, v
	case !fd.IsList() && fd.Message() != nil && fd.Message().FullName() == otherName:
		v, ok := m.other(path, was, have, func() protoreflect.Message { return to.NewField(fd).Message() })
		if !ok {
			got = m.leaf(path, was, have, text)
			break
		}
		got.v = v
	default:
		got = m.leaf(path, was, have, text)
	}
	if got.has {
		to.Set(fd, got.v)
	}
	if got.gives {
		to.Mutable(missing).Map().Set(protoreflect.ValueOfUint32(uint32(fd.Number())).MapKey(), protoreflect.ValueOfEnum(got.reason))
	}
}

func reasonOf(msg protoreflect.Message, missing protoreflect.FieldDescriptor, n protoreflect.FieldNumber) (protoreflect.EnumNumber, bool) {
	if missing == nil || !msg.Has(missing) {
		return 0, false
	}
	v := msg.Get(missing).Map().Get(protoreflect.ValueOfUint32(uint32(n)).MapKey())
	if !v.IsValid() {
		return 0, false
	}
	return v.Enum(), true
}

// element merges a message that may be there or not: a field, or a row of a list.
func (m *merge) element(path string, was, have []slot, empty func() protoreflect.Message, text func(slot) string) (protoreflect.Value, bool) {
	i, alike := decide(nil, have)
	if alike {
		return have[i].v, have[i].has
	}
	absent, there := false, false // on some side; in some ancestor
	for _, s := range have {
		absent = absent || s.part && !s.has
	}
	for _, b := range was {
		there = there || b.has
	}
	if absent && (len(was) == 0 || there) { // who takes a row away has decided about all of it
		got := m.leaf(path, was, have, text)
		return got.v, got.has
	}
	bases, sides := make([]protoreflect.Message, len(was)), make([]protoreflect.Message, len(have))
	for j, b := range was {
		bases[j] = empty()
		if b.has {
			bases[j] = b.v.Message()
		}
	}
	for j, s := range have {
		if s.part && s.has {
			sides[j] = s.v.Message()
		}
	}
	to := empty()
	m.message(path, bases, sides, to)
	return protoreflect.ValueOfMessage(to), true
}

// mapField merges a map key by key.
func (m *merge) mapField(path string, fd protoreflect.FieldDescriptor, was, have []slot, to protoreflect.Message) {
	keys := map[string]protoreflect.MapKey{}
	for _, s := range slices.Concat(was, have) {
		if s.has {
			s.v.Map().Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
				keys[fmt.Sprint(k.Interface())] = k
				return true
			})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		k := keys[name]
		at := func(all []slot) []slot {
			out := make([]slot, len(all))
			for i, s := range all {
				out[i].part = s.part
				if s.has && s.v.Map().Has(k) {
					out[i].has, out[i].v = true, s.v.Map().Get(k)
				}
			}
			return out
		}
		got := m.leaf(path+"["+name+"]", at(was), at(have), func(s slot) string {
			if !s.has {
				return ""
			}
			one := to.NewField(fd)
			one.Map().Set(k, s.v)
			return onlyValue(fieldJSON(to, fd, one, false))
		})
		if got.has {
			to.Mutable(fd).Map().Set(k, got.v)
		}
	}
}

// list merges a list row by row, and reports false if its rows have no keys.
func (m *merge) list(path string, fd protoreflect.FieldDescriptor, was, have []slot, to protoreflect.Message) bool {
	key, before, after := keyOf(fd.Message(), was, have)
	if key == nil {
		return false
	}
	list := to.NewField(fd).List()
	for _, k := range rowOrder(before, after) {
		at := func(all []rows, of []slot) []slot {
			out := make([]slot, len(all))
			for i, r := range all {
				v, ok := r.by[k]
				out[i] = slot{part: of[i].part, has: ok, v: v}
			}
			return out
		}
		v, has := m.element(fmt.Sprintf("%s[%s=%s]", path, key.Name(), k), at(before, was), at(after, have),
			func() protoreflect.Message { return list.NewElement().Message() },
			func(s slot) string {
				if !s.has {
					return ""
				}
				return compactJSON(protojson.MarshalOptions{UseProtoNames: true}.Marshal(s.v.Message().Interface()))
			})
		if has {
			list.Append(v)
		}
	}
	if list.Len() > 0 {
		to.Set(fd, protoreflect.ValueOfList(list))
	}
	return true
}

// rows are the rows of a list by their keys, and their order.
type rows struct {
	by    map[string]protoreflect.Value
	order []string
}

// keyOf finds the key of a list's rows: a field that every row of every list has, with another value in each row of a
// list. It returns the rows by it, or nil if there is none.
func keyOf(d protoreflect.MessageDescriptor, was, have []slot) (key protoreflect.FieldDescriptor, before, after []rows) {
	var candidates []protoreflect.FieldDescriptor
	if first := d.Fields().ByNumber(1); first != nil && first.Kind() == protoreflect.StringKind && !first.IsList() && strings.HasSuffix(string(first.Name()), "_id") {
		candidates = append(candidates, first)
	}
	for _, name := range []protoreflect.Name{"person_id", "household_id", "spell_id", "line_number"} {
		if fd := d.Fields().ByName(name); fd != nil && fd.Cardinality() != protoreflect.Repeated && fd.Message() == nil {
			candidates = append(candidates, fd)
		}
	}
	for _, fd := range candidates {
		var ok, too bool
		if before, ok = byKey(fd, was); !ok {
			continue
		}
		if after, too = byKey(fd, have); too {
			return fd, before, after
		}
	}
	return nil, nil, nil
}

func byKey(fd protoreflect.FieldDescriptor, all []slot) ([]rows, bool) {
	out := make([]rows, len(all))
	for i, s := range all {
		out[i].by = map[string]protoreflect.Value{}
		if !s.has {
			continue
		}
		list := s.v.List()
		for j := range list.Len() {
			row := list.Get(j).Message()
			k := fmt.Sprint(row.Get(fd).Interface())
			if _, twice := out[i].by[k]; twice || !row.Has(fd) || k == "" {
				return nil, false
			}
			out[i].by[k] = list.Get(j)
			out[i].order = append(out[i].order, k)
		}
	}
	return out, true
}

// rowOrder is the order of the rows of a merged list: that of the first ancestor, or of the first side that changed it,
// and new rows behind those behind which they stood.
func rowOrder(before, after []rows) []string {
	var out []string
	if len(before) > 0 {
		out = slices.Clone(before[0].order)
	}
	for _, side := range after {
		old := slices.DeleteFunc(slices.Clone(side.order), func(k string) bool { return !slices.Contains(out, k) })
		kept := slices.DeleteFunc(slices.Clone(out), func(k string) bool { return !slices.Contains(old, k) })
		if len(before) > 0 && !slices.Equal(old, kept) {
			out = reorder(out, old)
			break
		}
	}
	for _, side := range after {
		at := 0
		for _, k := range side.order {
			if i := slices.Index(out, k); i >= 0 {
				at = i + 1
				continue
			}
			out = slices.Insert(out, at, k)
			at++
		}
	}
	return out
}

// reorder puts those keys of all that are in order into that order, in the places that they hold.
func reorder(all, order []string) []string {
	out := slices.Clone(all)
	next := 0
	for i, k := range out {
		if slices.Contains(order, k) {
			out[i] = order[next]
			next++
		}
	}
	return out
}

// otherReasons merges the reasons for fields that are not known here.
func (m *merge) otherReasons(path string, missing protoreflect.FieldDescriptor, bases, sides []protoreflect.Message, to protoreflect.Message) {
	if missing == nil {
		return
	}
	numbers := map[protoreflect.FieldNumber]bool{}
	for _, msg := range slices.Concat(bases, sides) {
		if msg == nil || !msg.Has(missing) {
			continue
		}
		msg.Get(missing).Map().Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
			n := protoreflect.FieldNumber(k.Uint())
			if fd := to.Descriptor().Fields().ByNumber(n); fd == nil || fd == missing || inOneof(fd) {
				numbers[n] = true
			}
			return true
		})
	}
	for _, n := range slices.Sorted(maps.Keys(numbers)) {
		read := func(msg protoreflect.Message) (s slot) {
			s.reason, s.gives = reasonOf(msg, missing, n)
			return s
		}
		got := m.leaf(fmt.Sprintf("%s[%d]", join(path, "missing"), n), slots(bases, read), slots(sides, read), func(s slot) string {
			return withReason(s, missing, nil)
		})
		if got.gives {
			to.Mutable(missing).Map().Set(protoreflect.ValueOfUint32(uint32(n)).MapKey(), protoreflect.ValueOfEnum(got.reason))
		}
	}
}

// unknown merges the fields that the schema does not know, each as one answer.
func (m *merge) unknown(path string, bases, sides []protoreflect.Message, to protoreflect.Message) {
	all := map[protowire.Number]bool{}
	var was, have []map[protowire.Number][]byte
	collect := func(msgs []protoreflect.Message) (out []map[protowire.Number][]byte) {
		for _, msg := range msgs {
			fields := map[protowire.Number][]byte{}
			if msg != nil {
				for raw := msg.GetUnknown(); len(raw) > 0; {
					n, _, size := protowire.ConsumeField(raw)
					if size < 0 {
						break // parsed messages hold whole fields only
					}
					fields[n], all[n] = append(fields[n], raw[:size]...), true
					raw = raw[size:]
				}
			}
			out = append(out, fields)
		}
		return out
	}
	was, have = collect(bases), collect(sides)
	var unknown []byte
	for _, n := range slices.Sorted(maps.Keys(all)) {
		at := func(of []map[protowire.Number][]byte, msgs []protoreflect.Message) []slot {
			out := make([]slot, len(of))
			for i := range of {
				raw, has := of[i][n]
				out[i] = slot{part: msgs[i] != nil, has: has, v: protoreflect.ValueOfBytes(raw)}
			}
			return out
		}
		got := m.leaf(fmt.Sprintf("%s#%d", path, n), at(was, bases), at(have, sides), func(s slot) string {
			if !s.has {
				return ""
			}
			return `"` + base64.StdEncoding.EncodeToString(s.v.Bytes()) + `"`
		})
		if got.has {
			unknown = append(unknown, got.v.Bytes()...)
		}
	}
	if len(unknown) > 0 {
		to.SetUnknown(unknown)
	}
}

// withReason is the JSON of an answer, of the reason why there is none, or of both.
func withReason(s slot, missing protoreflect.FieldDescriptor, value func() string) string {
	reason := ""
	if s.gives {
		reason = fmt.Sprint(s.reason)
		if v := missing.MapValue().Enum().Values().ByNumber(s.reason); v != nil {
			reason = string(v.Name())
		}
	}
	switch {
	case s.has && s.gives:
		return fmt.Sprintf(`{"value":%s,"missing":%q}`, value(), reason)
	case s.has:
		return value()
	case s.gives:
		return fmt.Sprintf(`{"missing":%q}`, reason)
	}
	return ""
}
