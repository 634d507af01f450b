package xlsform

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/hearth-survey/hearth/proto/fault"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// Keys of form_columns on the top message that are no headers: what belongs to the form as a whole.
const (
	// KeyHeaders is the headers of each sheet as a JSON object of lists, in their order.
	KeyHeaders = "#headers"
	// KeyLanguages is a JSON object: names of languages in headers to BCP 47 tags; "" is the name of headers without one.
	KeyLanguages = "#languages"
	// KeyRows is a JSON list of the rows of the survey that are no questions.
	KeyRows = "#rows"
	// KeySheets is a JSON object of the sheets entities and osm, each a list of rows.
	KeySheets = "#sheets"
)

// NoMessage is what is said where a form has a constraint and no message for it.
var NoMessage = &formv1.Text{En: proto.String("The form does not allow this answer."), Zh: proto.String("问卷不允许此答案。")}

// schema makes the descriptors of a form.
type schema struct {
	form   *form
	lock   *Lock
	report *Report
	point  bool // a question is a position
	file   bool // a question is an attachment
	// previous is the version before.
	previous *descriptorpb.FileDescriptorSet
}

// build makes the form's own file and the closed set of files.
func (s *schema) build() (*descriptorpb.FileDescriptorSet, *descriptorpb.FileDescriptorProto, error) {
	f := s.form
	f.findScattered()
	main := &descriptorpb.FileDescriptorProto{
		Name: proto.String("form/" + f.id + ".proto"), Package: proto.String("form." + f.id),
		Syntax: proto.String("editions"), Edition: descriptorpb.Edition_EDITION_2023.Enum(),
		Dependency: []string{"hearth/form/v1/options.proto"},
	}
	for _, l := range f.order {
		if l.used && !l.table {
			main.EnumType = append(main.EnumType, s.enum(l))
		}
	}
	main.MessageType = []*descriptorpb.DescriptorProto{s.message(f.root)}
	if tables := s.tables(); len(tables) > 0 {
		main.Options = &descriptorpb.FileOptions{}
		proto.SetExtension(main.Options, formv1.E_Table, tables)
	}
	s.keep(main)
	if s.file {
		main.Dependency = append(main.Dependency, "hearth/survey/v1/interview.proto")
	}
	if s.point {
		main.Dependency = append(main.Dependency, "hearth/survey/v1/place.proto")
	}
	set := &descriptorpb.FileDescriptorSet{}
	seen := map[string]bool{}
	needed := []protoreflect.FileDescriptor{formv1.File_hearth_form_v1_options_proto}
	if s.file {
		needed = append(needed, surveyv1.File_hearth_survey_v1_interview_proto)
	}
	if s.point {
		needed = append(needed, surveyv1.File_hearth_survey_v1_place_proto)
	}
	for _, d := range needed {
		addFile(set, seen, d)
	}
	set.File = append(set.File, main)
	if _, err := protodesc.NewFiles(set); err != nil {
		return nil, nil, fault.New(fault.Internal, fault.BadForm, "the schema of %s does not hold together: %w", f.file, err)
	}
	return set, main, nil
}

// addFile adds a file after those that it imports.
func addFile(set *descriptorpb.FileDescriptorSet, seen map[string]bool, d protoreflect.FileDescriptor) {
	if seen[d.Path()] {
		return
	}
	seen[d.Path()] = true
	for i := range d.Imports().Len() {
		addFile(set, seen, d.Imports().Get(i).FileDescriptor)
	}
	set.File = append(set.File, protodesc.ToFileDescriptorProto(d))
}

// message makes the message of a section.
func (s *schema) message(n *node) *descriptorpb.DescriptorProto {
	m := &descriptorpb.DescriptorProto{Name: proto.String(firstOf(n.message, s.form.top)), Options: &descriptorpb.MessageOptions{}}
	for _, c := range n.children {
		m.Field = append(m.Field, s.field(c))
		if c.section() {
			m.NestedType = append(m.NestedType, s.message(c))
		}
	}
	full := s.fullName(n)
	m.Field = append(m.Field, &descriptorpb.FieldDescriptorProto{
		Name: proto.String("missing"), JsonName: proto.String("missing"), Number: proto.Int32(missingNumber), Label: descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum(),
		Type: descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(), TypeName: proto.String(full + ".MissingEntry"), Options: systemOptions(),
	})
	m.NestedType = append(m.NestedType, &descriptorpb.DescriptorProto{
		Name: proto.String("MissingEntry"), Options: &descriptorpb.MessageOptions{MapEntry: proto.Bool(true)},
		Field: []*descriptorpb.FieldDescriptorProto{
			{Name: proto.String("key"), JsonName: proto.String("key"), Number: proto.Int32(1), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(), Type: descriptorpb.FieldDescriptorProto_TYPE_UINT32.Enum()},
			{Name: proto.String("value"), JsonName: proto.String("value"), Number: proto.Int32(2), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(), Type: descriptorpb.FieldDescriptorProto_TYPE_ENUM.Enum(), TypeName: proto.String(".hearth.form.v1.Missing")},
		},
	})
	prefix := n.path()
	var retired []int32
	for path, number := range s.lock.Retired {
		if parentPath(path) == prefix {
			retired = append(retired, number)
		}
	}
	slices.Sort(retired)
	for _, number := range retired {
		m.ReservedRange = append(m.ReservedRange, &descriptorpb.DescriptorProto_ReservedRange{Start: proto.Int32(number), End: proto.Int32(number + 1)})
	}
	proto.SetExtension(m.Options, formv1.E_Module, s.module(n))
	return m
}

func systemOptions() *descriptorpb.FieldOptions {
	o := &descriptorpb.FieldOptions{}
	proto.SetExtension(o, formv1.E_Question, &formv1.Question{
		Label: &formv1.Text{En: proto.String("Why there is no answer, by question number"), Zh: proto.String("无回答原因（按题号）")}, System: proto.Bool(true),
	})
	return o
}

// fullName is the full name of a section's message, with the leading full stop.
func (s *schema) fullName(n *node) string {
	if n.parent == nil {
		return ".form." + s.form.id + "." + s.form.top
	}
	return s.fullName(n.parent) + "." + n.message
}

// module makes the options of a section.
func (s *schema) module(n *node) *formv1.Module {
	m := &formv1.Module{Title: s.form.langs.text(n.texts["label"])}
	if n.parent == nil {
		s.topModule(m)
		return m
	}
	if m.Title == nil {
		m.Title = s.plain(n.name)
	}
	if n.kind() == kindRepeat {
		m.Level = proto.String(n.field)
	}
	if n.name != n.field {
		m.FormName = proto.String(n.name)
	}
	if a := n.get("appearance"); a != "" {
		m.Appearance = proto.String(a)
	}
	return m
}

// plain is a text that is not in any language: a name.
func (s *schema) plain(text string) *formv1.Text {
	return s.form.langs.text(s.form.everyLanguage(text))
}

// topModule makes the options of the top message: the settings, and what belongs to the form as a whole.
func (s *schema) topModule(m *formv1.Module) {
	f := s.form
	m.Title = s.plain(f.title)
	m.Version = proto.Uint32(s.lock.Version)
	m.Languages = f.langs.order
	if id := f.settings.get("form_id"); id != "" && id != f.id {
		m.FormName = proto.String(id)
	}
	m.FormColumns = map[string]string{}
	for _, name := range []string{"version", "default_language", "form_title"} {
		if v := f.settings.cells[name]; v != "" {
			m.FormColumns[name] = v
		}
	}
	for header, v := range f.settings.extra {
		m.FormColumns[header] = v
	}
	if v := f.settings.cells["form_id"]; v != "" {
		m.FormColumns["form_id"] = v
	}
	f.keepChoices(m)
	m.FormColumns[KeyHeaders] = toJSON(f.headers)
	m.FormColumns[KeyLanguages] = toJSON(f.langs.tags)
	if len(f.kept) > 0 {
		m.FormColumns[KeyRows] = toJSON(f.kept)
	}
	sheets := map[string][][]string{}
	for _, name := range []string{"entities", "osm"} {
		if x := f.extra[name]; x != nil {
			for _, r := range x.rows {
				sheets[name] = append(sheets[name], r.cells)
			}
		}
	}
	if len(sheets) > 0 {
		m.FormColumns[KeySheets] = toJSON(sheets)
	}
}

func toJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}

// field makes the field of a node.
func (s *schema) field(n *node) *descriptorpb.FieldDescriptorProto {
	d := &descriptorpb.FieldDescriptorProto{
		Name: proto.String(n.field), JsonName: proto.String(jsonName(n.field)), Number: proto.Int32(n.number),
		Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(), Options: &descriptorpb.FieldOptions{},
	}
	k := n.kind()
	if k == kindCalculate {
		k = n.out.calcKind
	}
	switch k {
	case kindInt:
		d.Type = descriptorpb.FieldDescriptorProto_TYPE_INT64.Enum()
	case kindDouble:
		d.Type = descriptorpb.FieldDescriptorProto_TYPE_DOUBLE.Enum()
	case kindBool, kindAcknowledge:
		d.Type = descriptorpb.FieldDescriptorProto_TYPE_BOOL.Enum()
	case kindOne, kindMany:
		if k == kindMany {
			d.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
		}
		if n.list.table {
			d.Type = descriptorpb.FieldDescriptorProto_TYPE_INT32.Enum()
		} else {
			d.Type = descriptorpb.FieldDescriptorProto_TYPE_ENUM.Enum()
			d.TypeName = proto.String(".form." + s.form.id + "." + n.list.enum)
		}
	case kindPoint:
		s.point = true
		d.Type, d.TypeName = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(), proto.String(".hearth.survey.v1.GeoPoint")
	case kindFile:
		s.file = true
		d.Type, d.TypeName = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(), proto.String(".hearth.survey.v1.Attachment")
	case kindGroup, kindRepeat:
		d.Type, d.TypeName = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(), proto.String(s.fullName(n))
		if k == kindRepeat {
			d.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
		}
	default:
		d.Type = descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum()
	}
	proto.SetExtension(d.Options, formv1.E_Question, s.question(n))
	return d
}

// question makes the options of a node's field.
func (s *schema) question(n *node) *formv1.Question {
	l := s.form.langs
	q := &formv1.Question{
		Label: l.text(n.texts["label"]), Hint: l.text(n.texts["hint"]), Guidance: l.text(n.texts["guidance_hint"]), RequiredMessage: l.text(n.texts["required_message"]),
		Relevant: text(n.out.relevant), Filter: text(n.out.filter), Count: text(n.out.count), Calculate: text(n.out.calculate), Initial: text(n.out.initial), RequiredWhen: text(n.out.requiredWhen),
		Required: flag(n.out.required), System: flag(n.typ.typ.system || n.out.untranslated), Note: flag(n.kind() == kindNote), Media: media(l, n.texts),
	}
	if q.Label == nil {
		q.Label = s.plain(n.name)
	}
	if n.out.constraint != "" {
		check := &formv1.Check{Id: proto.String("constraint"), Expression: proto.String(n.out.constraint), Severity: formv1.Severity_SEVERITY_HARD.Enum(), Message: l.text(n.texts["constraint_message"])}
		if check.Message == nil {
			check.Message = NoMessage
		}
		q.Checks = []*formv1.Check{check}
	}
	if v, ok := yes(n.get("read_only")); ok && v {
		q.ReadOnly = proto.Bool(true)
	}
	if f := n.typ.typ.format; f != 0 {
		q.Format = f.Enum()
	} else if n.kind() == kindCalculate && n.out.calcKind == kindDate {
		q.Format = formv1.Format_FORMAT_DATE.Enum()
	}
	if p := n.personal(); p != 0 {
		q.PersonalData = p.Enum()
	}
	if n.list != nil && n.list.table {
		q.Choices = proto.String(n.list.enum)
	}
	if n.name != n.field {
		q.FormName = proto.String(n.name)
	}
	if a := n.get("appearance"); a != "" && !n.section() {
		q.Appearance = proto.String(a)
	}
	s.formColumns(n, q)
	return q
}

// formColumns keeps what is needed to write the row again: expressions as they stood, columns that mean nothing to
// Hearth, the type where the field does not say it.
func (s *schema) formColumns(n *node, q *formv1.Question) {
	if n.generated {
		q.FormColumns = map[string]string{"#generated": "or_other"}
		return
	}
	kept := map[string]string{}
	for header, v := range n.extra {
		kept[header] = v
	}
	for _, name := range []string{
		"relevant", "constraint", "calculation", "choice_filter", "repeat_count", "default", "parameters", "trigger", "publishable", "disabled", "list_name", "kobo_list",
		"hearth_personal_data",
	} {
		if v := n.cells[name]; v != "" {
			kept[name] = v
		}
	}
	for _, name := range []string{"required", "read_only"} {
		v := n.cells[name]
		if is, ok := yes(v); v != "" && (!ok || name == "required" && is != n.out.required) {
			kept[name] = v
		}
	}
	if n.out.constraint == "" {
		for lang, v := range n.texts["constraint_message"] {
			kept[strings.TrimSuffix("constraint_message::"+lang, "::")] = v
		}
	}
	s.keepExact(n, q, kept)
	if len(kept) > 0 {
		q.FormColumns = kept
	}
}

// personal is what the answers of a question may reveal.
func (n *node) personal() formv1.PersonalData {
	switch strings.ToLower(n.get("hearth_personal_data")) {
	case "none":
		return none
	case "quasi", "quasi_identifier":
		return quasi
	case "direct", "direct_identifier":
		return direct
	}
	if v, ok := yes(n.get("publishable")); ok && v && n.get("publishable") != "" {
		return none
	}
	if n.kind() == kindCalculate && n.out.calcKind == kindText {
		if n.out.untranslated {
			return direct
		}
		for _, from := range n.out.calculateRefs {
			if from.personal() == direct {
				return direct
			}
		}
	}
	return n.typ.typ.personal
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func flag(b bool) *bool {
	if !b {
		return nil
	}
	return &b
}

// media are the files shown with a row.
func media(l *languages, t map[string]texts) []*formv1.Media {
	var all []*formv1.Media
	for _, kind := range []string{"image", "big-image", "audio", "video"} {
		if file := l.text(t[kind]); file != nil {
			all = append(all, &formv1.Media{Kind: proto.String(kind), File: file})
		}
	}
	return all
}

// enum makes the enum of a list.
func (s *schema) enum(l *list) *descriptorpb.EnumDescriptorProto {
	e := &descriptorpb.EnumDescriptorProto{Name: proto.String(l.enum), Options: &descriptorpb.EnumOptions{}}
	options := &formv1.ChoiceList{Title: s.plain(l.name)}
	if l.name != l.enum {
		options.FormName = proto.String(l.name)
	}
	proto.SetExtension(e.Options, formv1.E_List, options)
	zero := &descriptorpb.EnumValueDescriptorProto{Name: proto.String(screaming(l.enum) + "_UNSPECIFIED"), Number: proto.Int32(0), Options: &descriptorpb.EnumValueOptions{}}
	proto.SetExtension(zero.Options, formv1.E_Choice, &formv1.Choice{Label: &formv1.Text{En: proto.String("no answer"), Zh: proto.String("未作答")}})
	e.Value = append(e.Value, zero)
	for _, c := range l.choices {
		v := &descriptorpb.EnumValueDescriptorProto{Name: proto.String(c.value), Number: proto.Int32(c.number), Options: &descriptorpb.EnumValueOptions{}}
		proto.SetExtension(v.Options, formv1.E_Choice, s.choice(c))
		e.Value = append(e.Value, v)
	}
	var retired []int32
	for _, n := range s.lock.RetiredChoices[l.name] {
		retired = append(retired, n)
	}
	slices.Sort(retired)
	for _, n := range retired {
		e.ReservedRange = append(e.ReservedRange, &descriptorpb.EnumDescriptorProto_EnumReservedRange{Start: proto.Int32(n), End: proto.Int32(n)})
	}
	return e
}

// codes gives choices whose names are numbers these as codes in exports, where a choice's own number is another one. No
// two choices of a list have one code.
func (l *list) codes() {
	taken := map[int32]bool{}
	for _, c := range l.choices {
		taken[c.number] = true
	}
	for _, c := range l.choices {
		n, err := strconv.ParseInt(c.name, 10, 32)
		if code := int32(n); err == nil && strconv.FormatInt(n, 10) == c.name && code != c.number && !taken[code] {
			c.code, taken[code] = &code, true
		}
	}
}

// choice makes the options of a choice.
func (s *schema) choice(c *choice) *formv1.Choice {
	o := &formv1.Choice{Label: s.form.langs.text(c.texts["label"]), Name: proto.String(c.name), Media: media(s.form.langs, c.texts)}
	if o.Label == nil {
		o.Label = s.plain(c.name)
	}
	if c.code != nil {
		o.Code = c.code
	}
	if m, ok := formv1.Missing_value["MISSING_"+c.missing]; ok && c.missing != "" {
		o.Missing = formv1.Missing(m).Enum()
	}
	o.Columns = s.form.exactColumns(c)
	return o
}

// tables makes the choice tables of the lists that are no enums.
func (s *schema) tables() []*formv1.ChoiceTable {
	var all []*formv1.ChoiceTable
	for _, l := range s.form.order {
		if !l.used || !l.table {
			continue
		}
		t := &formv1.ChoiceTable{Name: proto.String(l.enum), Title: s.plain(l.name)}
		for _, c := range l.choices {
			t.Rows = append(t.Rows, &formv1.ChoiceRow{Number: proto.Int32(c.number), Choice: s.choice(c)})
		}
		all = append(all, t)
	}
	return append(all, s.unusedTables()...)
}
