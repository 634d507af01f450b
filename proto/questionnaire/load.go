package questionnaire

import (
	"crypto/sha256"
	"sort"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/hearth-survey/hearth/proto/fault"
)

// maxSetBytes bounds a set of descriptors: a questionnaire of 3,000 questions in four languages has 3 MB.
const maxSetBytes = 64 << 20

// Load compiles a questionnaire from a closed set of descriptors, as CompileProto makes it or as it was published. Top is
// the full name of its top message; empty, it is the only message with a version in the files that no other file imports.
// The error names file, line and column where the set knows them, the message or field, and the column of the expression.
func Load(files *descriptorpb.FileDescriptorSet, top string) (*Questionnaire, error) {
	if size := proto.Size(files); size > maxSetBytes {
		return nil, fault.New(fault.Invalid, fault.BadSchema, "the descriptors have %d MB; %d are the most", size>>20, maxSetBytes>>20)
	}
	if len(files.GetFile()) == 0 {
		return nil, fault.New(fault.Invalid, fault.BadSchema, "the set of descriptors is empty")
	}
	files, err := ownOptions(files)
	if err != nil {
		return nil, err
	}
	registry, err := protodesc.NewFiles(files)
	if err != nil {
		return nil, fault.New(fault.Invalid, fault.BadSchema, "the descriptors do not fit together: %w", err)
	}
	d, err := topOf(registry, files, top)
	if err != nil {
		return nil, err
	}
	c, err := compile(d)
	if err != nil {
		return nil, err
	}
	q, err := c.questionnaire(d)
	if err != nil {
		return nil, err
	}
	q.files = files
	return q, nil
}

// ownOptions is the set as if it had just been read: options that stand in it as unknown fields, or as messages of another
// program's types, become those of generated Go.
func ownOptions(files *descriptorpb.FileDescriptorSet) (*descriptorpb.FileDescriptorSet, error) {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(files)
	if err != nil {
		return nil, fault.New(fault.Invalid, fault.BadSchema, "write the descriptors: %w", err)
	}
	own := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(raw, own); err != nil {
		return nil, fault.New(fault.Invalid, fault.BadSchema, "read the descriptors: %w", err)
	}
	return own, nil
}

// topOf finds the top message of a questionnaire.
func topOf(registry *protoregistry.Files, files *descriptorpb.FileDescriptorSet, name string) (protoreflect.MessageDescriptor, error) {
	if name != "" {
		d, err := registry.FindDescriptorByName(protoreflect.FullName(name))
		m, ok := d.(protoreflect.MessageDescriptor)
		if err != nil || !ok {
			return nil, fault.New(fault.Invalid, fault.BadSchema, "the files have no message %s", name)
		}
		return m, nil
	}
	imported := map[string]bool{}
	for _, f := range files.GetFile() {
		for _, path := range f.GetDependency() {
			imported[path] = true
		}
	}
	var tops []protoreflect.MessageDescriptor
	for _, f := range files.GetFile() {
		if imported[f.GetName()] {
			continue
		}
		d, err := registry.FindFileByPath(f.GetName())
		if err != nil {
			return nil, fault.New(fault.Invalid, fault.BadSchema, "the set has no file %s: %w", f.GetName(), err)
		}
		for i := range d.Messages().Len() {
			if m := d.Messages().Get(i); moduleOptions(m).GetVersion() > 0 {
				tops = append(tops, m)
			}
		}
	}
	switch len(tops) {
	case 0:
		return nil, fault.New(fault.Invalid, fault.BadSchema, "no message has a version: set it in option (hearth.form.v1.module) of the top message of the questionnaire")
	case 1:
		return tops[0], nil
	}
	var names []string
	for _, m := range tops {
		names = append(names, string(m.FullName()))
	}
	sort.Strings(names)
	return nil, fault.New(fault.Invalid, fault.BadSchema, "several messages have a version: say which is the questionnaire, one of %s", strings.Join(names, ", "))
}

// Descriptor is that of the top message.
func (q *Questionnaire) Descriptor() protoreflect.MessageDescriptor { return q.top.Desc }

// New is an empty message of answers: of generated Go where the questionnaire is built in, else of protobuf's reflection.
func (q *Questionnaire) New() proto.Message {
	if q.top.typ != nil {
		if mt, err := protoregistry.GlobalTypes.FindMessageByName(q.top.Desc.FullName()); err == nil {
			return mt.New().Interface()
		}
	}
	return dynamicpb.NewMessage(q.top.Desc)
}

// Files is the closed set of descriptors from which the questionnaire can be loaded again. It is not to be changed.
func (q *Questionnaire) Files() *descriptorpb.FileDescriptorSet {
	if q.files != nil {
		return q.files
	}
	set := &descriptorpb.FileDescriptorSet{}
	importsFirst(q.top.Desc.ParentFile(), func(f protoreflect.FileDescriptor) {
		set.File = append(set.File, protodesc.ToFileDescriptorProto(f))
	})
	return set
}

// SchemaHash is SHA-256 of the deterministic bytes of Files. It is made once and is not to be changed.
func (q *Questionnaire) SchemaHash() ([]byte, error) {
	q.hash.once.Do(func() {
		raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(q.Files())
		sum := sha256.Sum256(raw)
		q.hash.sum, q.hash.err = sum[:], err
	})
	return q.hash.sum, q.hash.err
}

// importsFirst visits a file and all that it imports, each once and after what it imports itself.
func importsFirst(main protoreflect.FileDescriptor, visit func(protoreflect.FileDescriptor)) {
	seen := map[string]bool{}
	var walk func(protoreflect.FileDescriptor)
	walk = func(f protoreflect.FileDescriptor) {
		if seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		for i := range f.Imports().Len() {
			walk(f.Imports().Get(i).FileDescriptor)
		}
		visit(f)
	}
	walk(main)
}

// Top is the questionnaire's tree.
func (q *Questionnaire) Top() *Module { return q.top }
