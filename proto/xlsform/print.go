package xlsform

import (
	"fmt"
	"sort"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

// printer writes a form's file as .proto text.
type printer struct {
	b       strings.Builder
	pkg     string
	shadows map[string]int // how many messages have a name
}

// printProto writes the text of a file made by schema.
func printProto(f *descriptorpb.FileDescriptorProto) string {
	p := &printer{pkg: f.GetPackage(), shadows: map[string]int{}}
	for _, m := range f.MessageType {
		p.count(m)
	}
	p.line(0, `edition = "2023";`)
	p.line(0, "")
	p.line(0, "package %s;", f.GetPackage())
	p.line(0, "")
	for _, d := range f.Dependency {
		p.line(0, "import %q;", d)
	}
	if f.Options != nil {
		tables := formv1.TablesOf(f.Options)
		for _, t := range tables {
			p.line(0, "")
			p.option(0, "option (hearth.form.v1.table) = ", t, ";")
		}
	}
	for _, e := range f.EnumType {
		p.enum(e)
	}
	for _, m := range f.MessageType {
		p.line(0, "")
		p.message(0, m)
	}
	return p.b.String()
}

func (p *printer) count(m *descriptorpb.DescriptorProto) {
	p.shadows[m.GetName()]++
	for _, n := range m.NestedType {
		p.count(n)
	}
}

// line writes an indented line.
func (p *printer) line(depth int, format string, args ...any) {
	if format != "" {
		p.b.WriteString(strings.Repeat("  ", depth))
		fmt.Fprintf(&p.b, format, args...)
	}
	p.b.WriteByte('\n')
}

func (p *printer) enum(e *descriptorpb.EnumDescriptorProto) {
	p.line(0, "")
	p.line(0, "enum %s {", e.GetName())
	if l := formv1.ListOf(e.Options); l != nil {
		p.option(1, "option (hearth.form.v1.list) = ", l, ";")
	}
	for _, r := range e.ReservedRange {
		p.line(1, "reserved %d;", r.GetStart())
	}
	for _, v := range e.Value {
		c := formv1.ChoiceOf(v.Options)
		p.option(1, fmt.Sprintf("%s = %d [(hearth.form.v1.choice) = ", v.GetName(), v.GetNumber()), c, "];")
	}
	p.line(0, "}")
}

func (p *printer) message(depth int, m *descriptorpb.DescriptorProto) {
	p.line(depth, "message %s {", m.GetName())
	if o := formv1.ModuleOf(m.Options); o != nil {
		p.option(depth+1, "option (hearth.form.v1.module) = ", o, ";")
	}
	for _, r := range m.ReservedRange {
		p.line(depth+1, "reserved %d;", r.GetStart())
	}
	nested := map[string]*descriptorpb.DescriptorProto{}
	for _, n := range m.NestedType {
		nested[n.GetName()] = n
	}
	for _, f := range m.Field {
		if n := nested[f.GetTypeName()[strings.LastIndexByte(f.GetTypeName(), '.')+1:]]; n != nil && !n.GetOptions().GetMapEntry() && strings.HasPrefix(f.GetTypeName(), "."+p.pkg+".") && f.GetType() == descriptorpb.FieldDescriptorProto_TYPE_MESSAGE {
			p.line(0, "")
			p.message(depth+1, n)
		}
		q := formv1.QuestionOf(f.Options)
		p.option(depth+1, fmt.Sprintf("%s %s = %d [(hearth.form.v1.question) = ", p.typeOf(f), f.GetName(), f.GetNumber()), q, "];")
	}
	p.line(depth, "}")
}

// typeOf is how the type of a field is written.
func (p *printer) typeOf(f *descriptorpb.FieldDescriptorProto) string {
	if strings.HasSuffix(f.GetTypeName(), ".MissingEntry") {
		return "map<uint32, hearth.form.v1.Missing>"
	}
	name := strings.ToLower(strings.TrimPrefix(f.GetType().String(), "TYPE_"))
	if full := f.GetTypeName(); full != "" {
		name = full[1:]
		last := full[strings.LastIndexByte(full, '.')+1:]
		switch {
		case !strings.HasPrefix(full, "."+p.pkg+"."):
		case f.GetType() == descriptorpb.FieldDescriptorProto_TYPE_MESSAGE:
			name = last // it stands in the same message
		case p.shadows[last] == 0:
			name = last
		default:
			name = full
		}
	}
	if f.GetLabel() == descriptorpb.FieldDescriptorProto_LABEL_REPEATED {
		return "repeated " + name
	}
	return name
}

const lineWidth = 120

// option writes an option, on one line where it fits.
func (p *printer) option(depth int, before string, m proto.Message, after string) {
	if proto.Size(m) < 2*lineWidth { // what is larger does not fit
		if short := before + "{" + inline(m.ProtoReflect()) + "}" + after; depth*2+len(short) <= lineWidth {
			p.line(depth, "%s", short)
			return
		}
	}
	p.line(depth, "%s{", before)
	p.fields(depth+1, m.ProtoReflect())
	p.line(depth, "}%s", after)
}

// fields writes the fields of an option message, each on lines of its own.
func (p *printer) fields(depth int, m protoreflect.Message) {
	d := m.Descriptor().Fields()
	for i := range d.Len() {
		f := d.Get(i)
		if !m.Has(f) {
			continue
		}
		if f.Message() == nil || f.IsMap() || !f.IsList() && proto.Size(m.Get(f).Message().Interface()) < 2*lineWidth || f.IsList() && m.Get(f).List().Len() < 8 {
			if short := inlineField(f, m.Get(f)); depth*2+len(short) <= lineWidth || f.Message() == nil {
				p.line(depth, "%s", short)
				continue
			}
		}
		switch {
		case f.IsMap():
			for _, k := range sortedKeys(m.Get(f).Map()) {
				p.line(depth, "%s {key: %s value: %s}", f.Name(), quote(k), quote(m.Get(f).Map().Get(protoreflect.ValueOfString(k).MapKey()).String()))
			}
		case f.IsList():
			for j := range m.Get(f).List().Len() {
				item := m.Get(f).List().Get(j).Message()
				if proto.Size(item.Interface()) < 2*lineWidth {
					if one := fmt.Sprintf("%s {%s}", f.Name(), inline(item)); depth*2+len(one) <= lineWidth {
						p.line(depth, "%s", one)
						continue
					}
				}
				p.line(depth, "%s {", f.Name())
				p.fields(depth+1, item)
				p.line(depth, "}")
			}
		default:
			p.line(depth, "%s {", f.Name())
			p.fields(depth+1, m.Get(f).Message())
			p.line(depth, "}")
		}
	}
}

// inline writes the fields of a message on one line.
func inline(m protoreflect.Message) string {
	var all []string
	d := m.Descriptor().Fields()
	for i := range d.Len() {
		if f := d.Get(i); m.Has(f) {
			all = append(all, inlineField(f, m.Get(f)))
		}
	}
	return strings.Join(all, " ")
}

func inlineField(f protoreflect.FieldDescriptor, v protoreflect.Value) string {
	switch {
	case f.IsMap():
		var all []string
		for _, k := range sortedKeys(v.Map()) {
			all = append(all, fmt.Sprintf("%s {key: %s value: %s}", f.Name(), quote(k), quote(v.Map().Get(protoreflect.ValueOfString(k).MapKey()).String())))
		}
		return strings.Join(all, " ")
	case f.IsList():
		var all []string
		for i := range v.List().Len() {
			all = append(all, inlineValue(f, v.List().Get(i)))
		}
		return fmt.Sprintf("%s: [%s]", f.Name(), strings.Join(all, ", "))
	}
	return fmt.Sprintf("%s: %s", f.Name(), inlineValue(f, v))
}

func inlineValue(f protoreflect.FieldDescriptor, v protoreflect.Value) string {
	switch f.Kind() {
	case protoreflect.MessageKind:
		return "{" + inline(v.Message()) + "}"
	case protoreflect.StringKind:
		return quote(v.String())
	case protoreflect.EnumKind:
		if e := f.Enum().Values().ByNumber(v.Enum()); e != nil {
			return string(e.Name())
		}
		return fmt.Sprint(v.Enum())
	}
	return v.String()
}

func sortedKeys(m protoreflect.Map) []string {
	var keys []string
	m.Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
		keys = append(keys, k.String())
		return true
	})
	sort.Strings(keys)
	return keys
}

// quote writes a string as protobuf reads it, with letters of all languages as they are.
func quote(s string) string { return quoted(s, `\%03o`) }
