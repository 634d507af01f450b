package server

import (
	"errors"
	"sync"
	"unicode/utf8"

	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// A sync must know that a payload can be parsed, and of whom it is, before it acknowledges the record. To parse it in
// full would cost more than all else that is done for a record, and the projector parses it again; so a sync reads
// over the bytes once without making anything of them. What passes here and still could not be parsed would be kept and
// flagged by the projection.

// The fields of an interview that an envelope repeats.
const (
	interviewIDField = 1
	studyField       = 3
	roundField       = 4
)

var (
	errWire  = errors.New("the bytes are no protobuf message")
	errUTF8  = errors.New("a text is not UTF-8")
	errDepth = errors.New("messages lie too deep in each other")
)

// maxDepth is how deep messages may lie in each other.
const maxDepth = 200

// layout is what reading over a message needs of its schema: fields by number.
type layout struct {
	fields []fieldLayout
}

// fieldLayout is one field; the zero value is a field that is not known.
type fieldLayout struct {
	text   bool
	inside *layout
	// packed is the wire type of what is packed in a repeated scalar field.
	packed   protowire.Type
	isPacked bool
}

// newLayout reads the schema of a message and of all that it holds.
func newLayout(d protoreflect.MessageDescriptor, known map[protoreflect.FullName]*layout) *layout {
	if l, ok := known[d.FullName()]; ok {
		return l
	}
	l := &layout{}
	known[d.FullName()] = l
	all := d.Fields()
	for i := range all.Len() {
		f := all.Get(i)
		if f.Number() >= 1024 {
			continue // read over as a field that is not known
		}
		for len(l.fields) <= int(f.Number()) {
			l.fields = append(l.fields, fieldLayout{})
		}
		to := &l.fields[f.Number()]
		switch f.Kind() {
		case protoreflect.MessageKind:
			to.inside = newLayout(f.Message(), known)
		case protoreflect.StringKind:
			to.text = true
		case protoreflect.GroupKind, protoreflect.BytesKind:
		default:
			to.isPacked, to.packed = f.IsList(), wireTypes[f.Kind()]
		}
	}
	return l
}

// wireTypes are the wire types that are not varint.
var wireTypes = map[protoreflect.Kind]protowire.Type{
	protoreflect.Fixed32Kind: protowire.Fixed32Type, protoreflect.Sfixed32Kind: protowire.Fixed32Type, protoreflect.FloatKind: protowire.Fixed32Type,
	protoreflect.Fixed64Kind: protowire.Fixed64Type, protoreflect.Sfixed64Kind: protowire.Fixed64Type, protoreflect.DoubleKind: protowire.Fixed64Type,
}

// check reads over a message.
func (l *layout) check(b []byte, depth int) error {
	if depth > maxDepth {
		return errDepth
	}
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 || num > protowire.MaxValidNumber {
			return errWire
		}
		b = b[n:]
		if typ != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
				return errWire
			}
			b = b[n:]
			continue
		}
		v, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return errWire
		}
		b = b[n:]
		if int(num) >= len(l.fields) {
			continue
		}
		if err := l.fields[num].check(v, depth); err != nil {
			return err
		}
	}
	return nil
}

// check reads over the content of a field that has a length.
func (f *fieldLayout) check(v []byte, depth int) error {
	switch {
	case f.text:
		if !utf8.Valid(v) {
			return errUTF8
		}
	case f.inside != nil:
		return f.inside.check(v, depth+1)
	case f.isPacked:
		for len(v) > 0 {
			n := protowire.ConsumeFieldValue(1, f.packed, v)
			if n < 0 {
				return errWire
			}
			v = v[n:]
		}
	}
	return nil
}

// payloadReader reads over interviews.
type payloadReader struct {
	top *layout
	// names are the questionnaires by the field in which their answers stand.
	names map[protowire.Number]string
	// other is the field of answers that name their questionnaire themselves.
	other protowire.Number
}

// glance is what a sync needs to know of an interview.
type glance struct {
	interviewID, study string
	round              uint32
	// questionnaire is the full name of the message of the answers, "" if there are none.
	questionnaire string
}

// payloads is the reader of the interviews that this program knows; it is never changed.
var payloads = sync.OnceValue(newPayloadReader)

func newPayloadReader() *payloadReader {
	d := (&surveyv1.Interview{}).ProtoReflect().Descriptor()
	r := &payloadReader{top: newLayout(d, map[protoreflect.FullName]*layout{}), names: map[protowire.Number]string{}}
	answers := d.Oneofs().ByName("answers").Fields()
	for i := range answers.Len() {
		f := answers.Get(i)
		r.names[f.Number()] = string(f.Message().FullName())
	}
	r.other = answers.ByName("other").Number()
	delete(r.names, r.other)
	return r
}

// read reads over an interview. Answers to a questionnaire published at run time are parsed in full: they are few.
func (r *payloadReader) read(b []byte) (glance, error) {
	if err := r.top.check(b, 0); err != nil {
		return glance{}, err
	}
	var g glance
	for rest := b; len(rest) > 0; {
		num, typ, n := protowire.ConsumeTag(rest)
		rest = rest[n:]
		n = protowire.ConsumeFieldValue(num, typ, rest)
		switch typ {
		case protowire.VarintType:
			if num == roundField {
				v, _ := protowire.ConsumeVarint(rest)
				g.round = uint32(v)
			}
		case protowire.BytesType:
			v, _ := protowire.ConsumeBytes(rest)
			switch name, isAnswers := r.names[num]; {
			case num == interviewIDField:
				g.interviewID = string(v)
			case num == studyField:
				g.study = string(v)
			case isAnswers:
				g.questionnaire = name
			case num == r.other:
				return parseGlance(b)
			}
		}
		rest = rest[n:]
	}
	return g, nil
}

func parseGlance(b []byte) (glance, error) {
	iv := &surveyv1.Interview{}
	if err := proto.Unmarshal(b, iv); err != nil {
		return glance{}, errWire
	}
	return glance{iv.GetInterviewId(), iv.GetStudy(), iv.GetRound(), questionnaire.NameOf(iv)}, nil
}
