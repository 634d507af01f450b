package syncer

import (
	"bytes"
	"encoding/json"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// fieldJSON is the JSON of a field's value; with its name before it, if named.
func fieldJSON(of protoreflect.Message, fd protoreflect.FieldDescriptor, v protoreflect.Value, named bool) string {
	one := of.New()
	one.Set(fd, v)
	text := compactJSON(protojson.MarshalOptions{UseProtoNames: true}.Marshal(one.Interface()))
	if named {
		return text
	}
	return onlyValue(text)
}

// onlyValue is the value of an object with one member.
func onlyValue(object string) string {
	var all map[string]json.RawMessage
	if err := json.Unmarshal([]byte(object), &all); err == nil {
		for _, v := range all {
			return string(v)
		}
	}
	return object
}

// compactJSON takes out the blanks, which protojson varies on purpose.
func compactJSON(raw []byte, err error) string {
	var buf bytes.Buffer
	if err != nil || json.Compact(&buf, raw) != nil {
		return `"?"` // a value that JSON cannot hold
	}
	return buf.String()
}
