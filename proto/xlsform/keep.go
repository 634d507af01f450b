package xlsform

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

// keeper puts what the version before has, and the form no longer, into the schema, each to end with that version.
type keeper struct {
	schema  *schema
	version uint32 // the version before
	main    *descriptorpb.FileDescriptorProto
	before  *descriptorpb.FileDescriptorProto
}

// keep keeps what the form no longer has.
func (s *schema) keep(main *descriptorpb.FileDescriptorProto) {
	for _, f := range s.previous.GetFile() {
		if f.GetPackage() != main.GetPackage() || len(f.GetMessageType()) == 0 {
			continue
		}
		for _, m := range f.GetMessageType() {
			o := formv1.ModuleOf(m.GetOptions())
			if m.GetName() != s.form.top || o.GetVersion() == 0 || o.GetVersion() > s.lock.Version {
				continue
			}
			k := &keeper{schema: s, version: o.GetVersion(), main: main, before: f}
			k.enums()
			k.tables()
			k.message(main.MessageType[0], m)
		}
	}
}

// message keeps the questions of a message.
func (k *keeper) message(now, before *descriptorpb.DescriptorProto) {
	byNumber := map[int32]*descriptorpb.FieldDescriptorProto{}
	taken := names{}
	for _, f := range now.Field {
		byNumber[f.GetNumber()] = f
		taken[jsonName(f.GetName())] = true
	}
	scope := names{}
	for _, n := range now.NestedType {
		scope[n.GetName()] = true
	}
	last := len(now.Field) - 1 // the map of missing reasons stays the last
	missing := now.Field[last]
	now.Field = now.Field[:last]
	for _, f := range before.Field {
		nested := nestedOf(before, f)
		if same := byNumber[f.GetNumber()]; same != nil {
			k.declare(same, f)
			if inner := nestedOf(now, same); inner != nil && nested != nil && !inner.GetOptions().GetMapEntry() {
				k.message(inner, nested)
			}
			continue
		}
		kept := proto.CloneOf(f)
		q := formv1.QuestionOf(kept.GetOptions())
		if q == nil {
			continue
		}
		q = proto.CloneOf(q)
		if q.GetUntil() == 0 {
			q.Until = proto.Uint32(k.version)
		}
		withoutRules(q)
		if name := f.GetName(); taken[jsonName(name)] || scope[name] {
			if q.GetFormName() == "" {
				q.FormName = proto.String(name)
			}
			kept.Name = proto.String(taken.take(fmt.Sprintf("%s_until_%d", name, q.GetUntil()), jsonName))
			kept.JsonName = proto.String(jsonName(kept.GetName()))
		}
		proto.SetExtension(kept.Options, formv1.E_Question, q)
		if nested != nil {
			nested = proto.CloneOf(nested)
			withoutRulesBelow(nested)
			if name := scope.take(nested.GetName(), sameName); name != nested.GetName() {
				continue // a message of the name is there, and what is in it would have to be renamed throughout
			}
			now.NestedType = append(now.NestedType, nested)
		}
		k.schema.file = k.schema.file || uses(kept, nested, ".hearth.survey.v1.Attachment")
		k.schema.point = k.schema.point || uses(kept, nested, ".hearth.survey.v1.GeoPoint")
		now.ReservedRange = slices.DeleteFunc(now.ReservedRange, func(r *descriptorpb.DescriptorProto_ReservedRange) bool { return r.GetStart() == f.GetNumber() })
		now.Field = append(now.Field, kept)
	}
	now.Field = append(now.Field, missing)
}

// declare repeats what was declared of a question before, and says what it was called then, where the form names it otherwise
// now: that it is the same the lock file says.
func (k *keeper) declare(now, before *descriptorpb.FieldDescriptorProto) {
	was := formv1.QuestionOf(before.GetOptions())
	q := formv1.QuestionOf(now.GetOptions())
	if q == nil {
		return
	}
	q = proto.CloneOf(q)
	for _, e := range was.GetEarlier() {
		q.Earlier = append(q.Earlier, proto.CloneOf(e))
	}
	if name := before.GetName(); name != now.GetName() && k.version < k.schema.lock.Version {
		q.Earlier = append(q.Earlier, &formv1.Earlier{Until: proto.Uint32(k.version), Name: proto.String(name)})
	}
	proto.SetExtension(now.Options, formv1.E_Question, q)
}

// withoutRules takes the rules of a question that has ended away: what they are about may be gone or have another name.
func withoutRules(q *formv1.Question) {
	q.Relevant, q.Checks, q.Calculate, q.Filter, q.Count, q.Initial, q.Required, q.RequiredWhen, q.Roster = nil, nil, nil, nil, nil, nil, nil, nil, nil
}

func withoutRulesBelow(m *descriptorpb.DescriptorProto) {
	for _, f := range m.GetField() {
		if q := formv1.QuestionOf(f.GetOptions()); q != nil {
			q = proto.CloneOf(q)
			withoutRules(q)
			proto.SetExtension(f.Options, formv1.E_Question, q)
		}
	}
	for _, n := range m.GetNestedType() {
		withoutRulesBelow(n)
	}
}

// nestedOf is the message inside m that a field is of, nil where it is of none.
func nestedOf(m *descriptorpb.DescriptorProto, f *descriptorpb.FieldDescriptorProto) *descriptorpb.DescriptorProto {
	if f.GetType() != descriptorpb.FieldDescriptorProto_TYPE_MESSAGE {
		return nil
	}
	for _, n := range m.NestedType {
		if strings.HasSuffix(f.GetTypeName(), "."+m.GetName()+"."+n.GetName()) {
			return n
		}
	}
	return nil
}

// uses tells whether a field, or one below it, is of a type.
func uses(f *descriptorpb.FieldDescriptorProto, nested *descriptorpb.DescriptorProto, typ string) bool {
	if f.GetTypeName() == typ {
		return true
	}
	if nested == nil {
		return false
	}
	for _, inner := range nested.Field {
		if uses(inner, nestedOf(nested, inner), typ) {
			return true
		}
	}
	return false
}

// enums keeps the choices of enums, and enums that no question has any more but those that are kept.
func (k *keeper) enums() {
	now := map[string]*descriptorpb.EnumDescriptorProto{}
	values := names{}
	for _, e := range k.main.EnumType {
		now[e.GetName()] = e
		for _, v := range e.Value {
			values[v.GetName()] = true
		}
	}
	for _, e := range k.before.EnumType {
		same := now[e.GetName()]
		if same == nil {
			if !slices.ContainsFunc(e.Value, func(v *descriptorpb.EnumValueDescriptorProto) bool { return values[v.GetName()] }) {
				k.main.EnumType = append(k.main.EnumType, proto.CloneOf(e))
			}
			continue
		}
		there := map[int32]bool{}
		for _, v := range same.Value {
			there[v.GetNumber()] = true
		}
		for _, v := range e.Value {
			if there[v.GetNumber()] {
				continue
			}
			kept := proto.CloneOf(v)
			kept.Name = proto.String(values.take(v.GetName(), sameName))
			o := formv1.ChoiceOf(kept.GetOptions())
			proto.SetExtension(kept.Options, formv1.E_Choice, k.ended(o))
			same.Value = append(same.Value, kept)
			same.ReservedRange = slices.DeleteFunc(same.ReservedRange, func(r *descriptorpb.EnumDescriptorProto_EnumReservedRange) bool { return r.GetStart() == v.GetNumber() })
		}
	}
}

// ended is a choice that ends with the version before.
func (k *keeper) ended(c *formv1.Choice) *formv1.Choice {
	c = proto.CloneOf(c)
	if c.GetUntil() == 0 {
		c.Until = proto.Uint32(k.version)
	}
	return c
}

// tables keeps the rows of tables, and tables.
func (k *keeper) tables() {
	before := formv1.TablesOf(k.before.GetOptions())
	if len(before) == 0 {
		return
	}
	if k.main.Options == nil {
		k.main.Options = &descriptorpb.FileOptions{}
	}
	now := formv1.TablesOf(k.main.Options)
	for _, t := range before {
		i := slices.IndexFunc(now, func(x *formv1.ChoiceTable) bool { return x.GetName() == t.GetName() })
		if i < 0 {
			now = append(now, proto.CloneOf(t))
			continue
		}
		there := map[int32]bool{}
		for _, r := range now[i].Rows {
			there[r.GetNumber()] = true
		}
		for _, r := range t.Rows {
			if !there[r.GetNumber()] {
				now[i].Rows = append(now[i].Rows, &formv1.ChoiceRow{Number: r.Number, Choice: k.ended(r.GetChoice())})
			}
		}
	}
	proto.SetExtension(k.main.Options, formv1.E_Table, now)
}
