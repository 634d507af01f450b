package questionnaire

import (
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/runtime/protoiface"
	"google.golang.org/protobuf/types/dynamicpb"
)

// readMessage is a message that was read by a plan: a value for each field of the schema, in its order. It can be read as any
// message of protobuf can, and is not to be changed; copies of it are dynamic messages, which may be.
type readMessage struct {
	plan    *readPlan
	values  []protoreflect.Value // not valid: there is none
	unknown protoreflect.RawFields
}

var _ protoreflect.Message = (*readMessage)(nil)

// at is the place of a field, or -1.
func (m *readMessage) at(fd protoreflect.FieldDescriptor) int {
	if i := fd.Index(); i < len(m.plan.fields) && m.plan.fields[i].fd == fd {
		return i
	}
	return int(m.plan.find(fd.Number()))
}

func (m *readMessage) set(f *readField, i int32, v protoreflect.Value) {
	m.values[i] = v
	for _, o := range f.others {
		m.values[o] = protoreflect.Value{}
	}
}

func (m *readMessage) listOf(f *readField, i int32) protoreflect.List {
	if !m.values[i].IsValid() {
		m.values[i] = m.plan.empty.NewField(f.fd)
	}
	return m.values[i].List()
}

func (m *readMessage) mapOf(f *readField, i int32) protoreflect.Map {
	if !m.values[i].IsValid() {
		m.values[i] = m.plan.empty.NewField(f.fd)
	}
	return m.values[i].Map()
}

// ProtoReflect implements proto.Message.
func (m *readMessage) ProtoReflect() protoreflect.Message { return m }

// Interface implements protoreflect.Message.
func (m *readMessage) Interface() protoreflect.ProtoMessage { return m }

// Descriptor implements protoreflect.Message.
func (m *readMessage) Descriptor() protoreflect.MessageDescriptor { return m.plan.desc }

// Type implements protoreflect.Message: it makes dynamic messages.
func (m *readMessage) Type() protoreflect.MessageType { return m.plan.empty.Type() }

// New implements protoreflect.Message.
func (m *readMessage) New() protoreflect.Message { return dynamicpb.NewMessage(m.plan.desc) }

// IsValid implements protoreflect.Message.
func (m *readMessage) IsValid() bool { return m != nil }

// ProtoMethods implements protoreflect.Message.
func (m *readMessage) ProtoMethods() *protoiface.Methods { return nil }

// Has implements protoreflect.Message.
func (m *readMessage) Has(fd protoreflect.FieldDescriptor) bool {
	i := m.at(fd)
	return i >= 0 && m.values[i].IsValid()
}

// Get implements protoreflect.Message.
func (m *readMessage) Get(fd protoreflect.FieldDescriptor) protoreflect.Value {
	i := m.at(fd)
	switch {
	case i < 0:
		return m.plan.empty.Get(fd)
	case m.values[i].IsValid():
		return m.values[i]
	}
	return m.plan.fields[i].zero
}

// Range implements protoreflect.Message.
func (m *readMessage) Range(f func(protoreflect.FieldDescriptor, protoreflect.Value) bool) {
	for i := range m.values {
		if m.values[i].IsValid() && !f(m.plan.fields[i].fd, m.values[i]) {
			return
		}
	}
}

// WhichOneof implements protoreflect.Message.
func (m *readMessage) WhichOneof(od protoreflect.OneofDescriptor) protoreflect.FieldDescriptor {
	for i := range od.Fields().Len() {
		if fd := od.Fields().Get(i); m.Has(fd) {
			return fd
		}
	}
	return nil
}

// GetUnknown implements protoreflect.Message.
func (m *readMessage) GetUnknown() protoreflect.RawFields { return m.unknown }

// What would change it panics, as protobuf's own messages do that must not be changed.

func (m *readMessage) fixed() string {
	return "answers to " + string(m.plan.desc.FullName()) + " are read only: change a copy"
}

// Clear implements protoreflect.Message.
func (m *readMessage) Clear(protoreflect.FieldDescriptor) { panic(m.fixed()) }

// Set implements protoreflect.Message.
func (m *readMessage) Set(protoreflect.FieldDescriptor, protoreflect.Value) { panic(m.fixed()) }

// Mutable implements protoreflect.Message.
func (m *readMessage) Mutable(protoreflect.FieldDescriptor) protoreflect.Value { panic(m.fixed()) }

// NewField implements protoreflect.Message.
func (m *readMessage) NewField(fd protoreflect.FieldDescriptor) protoreflect.Value {
	return m.plan.empty.NewField(fd)
}

// SetUnknown implements protoreflect.Message.
func (m *readMessage) SetUnknown(protoreflect.RawFields) { panic(m.fixed()) }
