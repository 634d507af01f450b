package questionnaire

import (
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/hearth-survey/hearth/proto/fault"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

// ownPaths are the folders of the files that every program of Hearth has.
var ownPaths = []string{"google/protobuf/", "buf/validate/", "hearth/form/", "hearth/survey/"}

// everywhere says whether every program of Hearth has a file.
func everywhere(path string) bool {
	for _, p := range ownPaths {
		if strings.HasPrefix(path, p) {
			return true
		}
	}
	return false
}

// Bare is a set of descriptors without the places in the source and without the files that every program of Hearth has: what
// of a questionnaire travels to tablets. Closed makes it whole again.
func Bare(files *descriptorpb.FileDescriptorSet) *descriptorpb.FileDescriptorSet {
	out := &descriptorpb.FileDescriptorSet{}
	for _, f := range WithoutPlaces(files).GetFile() {
		if !everywhere(f.GetName()) {
			out.File = append(out.File, f)
		}
	}
	return out
}

// WithoutPlaces is a set of descriptors that does not say where in the source anything stands, which is half of it.
func WithoutPlaces(files *descriptorpb.FileDescriptorSet) *descriptorpb.FileDescriptorSet {
	out := &descriptorpb.FileDescriptorSet{}
	for _, f := range files.GetFile() {
		if f.GetSourceCodeInfo() != nil {
			bare := &descriptorpb.FileDescriptorProto{}
			bare.ProtoReflect().SetUnknown(f.ProtoReflect().GetUnknown())
			f.ProtoReflect().Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
				if fd.Name() != "source_code_info" {
					bare.ProtoReflect().Set(fd, v)
				}
				return true
			})
			f = bare
		}
		out.File = append(out.File, f)
	}
	return out
}

// Closed adds to a set the files that it imports and does not have, from the program itself, each before what needs it.
func Closed(files *descriptorpb.FileDescriptorSet) (*descriptorpb.FileDescriptorSet, error) {
	has := map[string]bool{}
	for _, f := range files.GetFile() {
		has[f.GetName()] = true
	}
	out := &descriptorpb.FileDescriptorSet{}
	var add func(path string) error
	add = func(path string) error {
		if has[path] {
			return nil
		}
		has[path] = true
		d, err := protoregistry.GlobalFiles.FindFileByPath(path)
		if err != nil || !everywhere(path) {
			return fault.New(fault.Invalid, fault.BadSchema, "the schema imports %s, which is not among its files", path)
		}
		for i := range d.Imports().Len() {
			if err := add(d.Imports().Get(i).Path()); err != nil {
				return err
			}
		}
		out.File = append(out.File, protodesc.ToFileDescriptorProto(d))
		return nil
	}
	for _, f := range files.GetFile() {
		for _, path := range f.GetDependency() {
			if err := add(path); err != nil {
				return nil, err
			}
		}
	}
	out.File = append(out.File, files.GetFile()...)
	return out, nil
}

// DateAdditions writes into the schema of a new version since when there is what the older one does not have, where the
// schema does not say it itself, and repeats what was published of the rest. It returns the files, changed in a copy, and
// whether anything was written. So additions need no word from whoever makes the questionnaire, and an interview of an old
// version is never said to lack an answer to a question that it could not ask.
func DateAdditions(files *descriptorpb.FileDescriptorSet, older *Questionnaire, newer protoreflect.MessageDescriptor) (*descriptorpb.FileDescriptorSet, bool) {
	version := moduleOptions(newer).GetVersion()
	if version <= older.Version() && version != older.Version() {
		return files, false
	}
	d := &dater{version: version, same: version == older.Version(), messages: map[string]protoreflect.MessageDescriptor{}, enums: map[string]protoreflect.EnumDescriptor{}}
	d.know(older.Descriptor())
	out := proto.CloneOf(files)
	for _, f := range out.GetFile() {
		if everywhere(f.GetName()) {
			continue
		}
		for _, m := range f.GetMessageType() {
			d.message(f.GetPackage(), m)
		}
		for _, e := range f.GetEnumType() {
			d.enum(f.GetPackage(), e)
		}
		d.tables(f, older.Descriptor().ParentFile())
	}
	if !d.wrote {
		return files, false
	}
	return out, true
}

// dater writes since into descriptors.
type dater struct {
	version uint32
	// same: it is the version that was published, and nothing is new in it.
	same     bool
	messages map[string]protoreflect.MessageDescriptor
	enums    map[string]protoreflect.EnumDescriptor
	wrote    bool
}

// know notes the messages and enums of the older version.
func (d *dater) know(m protoreflect.MessageDescriptor) {
	if d.messages[string(m.FullName())] != nil {
		return
	}
	d.messages[string(m.FullName())] = m
	for f := range fieldsOf(m) {
		if e := f.Enum(); e != nil {
			d.enums[string(e.FullName())] = e
		}
		if g := GroupOf(f); g != nil {
			d.know(g)
		}
	}
}

// since is what to write: of something new the version, of something old what it was published with; 0: nothing.
func (d *dater) since(own uint32, was uint32, known bool) uint32 {
	switch {
	case own != 0:
		return 0
	case known:
		return was
	case d.same:
		return 0
	}
	return d.version
}

func (d *dater) message(scope string, m *descriptorpb.DescriptorProto) {
	name := scope + "." + m.GetName()
	for _, inner := range m.GetNestedType() {
		d.message(name, inner)
	}
	for _, e := range m.GetEnumType() {
		d.enum(name, e)
	}
	old := d.messages[name]
	if old == nil {
		return // whatever holds it is new
	}
	for _, f := range m.GetField() {
		q := formv1.QuestionOf(f.GetOptions())
		was := old.Fields().ByNumber(protoreflect.FieldNumber(f.GetNumber()))
		if q == nil || was != nil && was.IsMap() {
			continue
		}
		known := was != nil
		since := uint32(0)
		if known {
			since = formv1.QuestionOf(was.Options()).GetSince()
		}
		if v := d.since(q.GetSince(), since, known); v != 0 {
			q = proto.CloneOf(q)
			q.Since = proto.Uint32(v)
			proto.SetExtension(f.GetOptions(), formv1.E_Question, q)
			d.wrote = true
		}
	}
}

func (d *dater) enum(scope string, e *descriptorpb.EnumDescriptorProto) {
	old := d.enums[scope+"."+e.GetName()]
	if old == nil {
		return
	}
	for _, v := range e.GetValue() {
		was := old.Values().ByNumber(protoreflect.EnumNumber(v.GetNumber()))
		since := uint32(0)
		if was != nil {
			since = formv1.ChoiceOf(was.Options()).GetSince()
		}
		o := formv1.ChoiceOf(v.GetOptions())
		if n := d.since(o.GetSince(), since, was != nil); n != 0 && v.GetNumber() != 0 {
			if o = proto.CloneOf(o); o == nil {
				o = &formv1.Choice{}
			}
			if v.Options == nil {
				v.Options = &descriptorpb.EnumValueOptions{}
			}
			o.Since = proto.Uint32(n)
			proto.SetExtension(v.GetOptions(), formv1.E_Choice, o)
			d.wrote = true
		}
	}
}

// tables does the same for tables of choices.
func (d *dater) tables(f *descriptorpb.FileDescriptorProto, older protoreflect.FileDescriptor) {
	before := map[string]map[int32]*formv1.Choice{}
	if older.Path() != f.GetName() {
		return
	}
	tables := formv1.TablesOf(older.Options())
	for _, t := range tables {
		before[t.GetName()] = map[int32]*formv1.Choice{}
		for _, r := range t.GetRows() {
			before[t.GetName()][r.GetNumber()] = r.GetChoice()
		}
	}
	tables = formv1.TablesOf(f.GetOptions())
	for _, t := range tables {
		rows := before[t.GetName()]
		if rows == nil {
			continue
		}
		for _, r := range t.GetRows() {
			was, known := rows[r.GetNumber()]
			if v := d.since(r.GetChoice().GetSince(), was.GetSince(), known); v != 0 {
				if r.Choice == nil {
					r.Choice = &formv1.Choice{}
				}
				r.Choice.Since = proto.Uint32(v)
				d.wrote = true
			}
		}
	}
}

// Schema is the top message of a questionnaire that Bare made ready to travel, for who only reads and writes answers: its
// rules are not compiled.
func Schema(files *descriptorpb.FileDescriptorSet, top string) (protoreflect.MessageDescriptor, error) {
	files, err := Closed(files)
	if err != nil {
		return nil, err
	}
	if files, err = ownOptions(files); err != nil {
		return nil, err
	}
	registry, err := protodesc.NewFiles(files)
	if err != nil {
		return nil, fault.New(fault.Invalid, fault.BadSchema, "the descriptors do not fit together: %w", err)
	}
	return topOf(registry, files, top)
}
