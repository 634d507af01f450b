package questionnaire

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

// fingerprint is the first 8 bytes of SHA-256 over the structure of one version of a questionnaire.
func fingerprint(top protoreflect.MessageDescriptor, version uint32) []byte {
	sum := sha256.Sum256([]byte(structure(top, version)))
	return sum[:8]
}

// structure describes the questions that a version has, one line for each message, field, enum and value: what decides
// whether two programs mean the same by the same bytes, and nothing about wording or order in the file. Every change of
// this text changes every fingerprint.
func structure(top protoreflect.MessageDescriptor, version uint32) string {
	var b strings.Builder
	fmt.Fprintf(&b, "questionnaire %s version %d\n", top.FullName(), version)
	messages := []protoreflect.MessageDescriptor{top}
	seen := map[protoreflect.FullName]bool{top.FullName(): true}
	var enums []protoreflect.EnumDescriptor
	for i := 0; i < len(messages); i++ {
		fmt.Fprintf(&b, "message %s\n", messages[i].FullName())
		for _, f := range offered(messages[i], version) {
			of := ""
			switch {
			case f.IsMap():
				of = " " + f.MapKey().Kind().String() + " " + f.MapValue().Kind().String()
			case f.Enum() != nil:
				of = " " + string(f.Enum().FullName())
				if !seen[f.Enum().FullName()] {
					seen[f.Enum().FullName()] = true
					enums = append(enums, f.Enum())
				}
			case f.Message() != nil:
				of = " " + string(f.Message().FullName())
				if m := GroupOf(f); m != nil && !seen[m.FullName()] {
					seen[m.FullName()] = true
					messages = append(messages, m)
				}
			}
			fmt.Fprintf(&b, "field %d %s %s %s%s\n", f.Number(), f.Name(), f.Cardinality(), f.Kind(), of)
		}
	}
	slices.SortFunc(enums, func(a, b protoreflect.EnumDescriptor) int {
		return strings.Compare(string(a.FullName()), string(b.FullName()))
	})
	for _, e := range enums {
		fmt.Fprintf(&b, "enum %s\n", e.FullName())
		for _, v := range choices(e, version) {
			fmt.Fprintf(&b, "value %d %s\n", v.Number(), v.Name())
		}
	}
	return b.String()
}

// offered are the fields of a message that a version has, by number.
func offered(m protoreflect.MessageDescriptor, version uint32) []protoreflect.FieldDescriptor {
	var fields []protoreflect.FieldDescriptor
	for f := range fieldsOf(m) {
		o := formv1.QuestionOf(f.Options())
		if version >= o.GetSince() && (o.GetUntil() == 0 || version <= o.GetUntil()) {
			fields = append(fields, f)
		}
	}
	slices.SortFunc(fields, func(a, b protoreflect.FieldDescriptor) int { return int(a.Number()) - int(b.Number()) })
	return fields
}

// choices are the values of an enum that a version offers, by number.
func choices(e protoreflect.EnumDescriptor, version uint32) []protoreflect.EnumValueDescriptor {
	var values []protoreflect.EnumValueDescriptor
	for i := range e.Values().Len() {
		v := e.Values().Get(i)
		o := formv1.ChoiceOf(v.Options())
		if version >= o.GetSince() && (o.GetUntil() == 0 || version <= o.GetUntil()) {
			values = append(values, v)
		}
	}
	slices.SortFunc(values, func(a, b protoreflect.EnumValueDescriptor) int { return int(a.Number()) - int(b.Number()) })
	return values
}
