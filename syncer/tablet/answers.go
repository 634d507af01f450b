package tablet

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/hearth-survey/hearth/proto/fault"
)

// schemas is the top message of a questionnaire published at run time, by its full name; nil where it is not known.
type schemas func(questionnaire string) protoreflect.MessageDescriptor

// otherAnswers is where in a line the answers to such a questionnaire stand.
type otherAnswers struct {
	questionnaire string
	from, to      int64 // of the value of "answers"
}

// errNotThere says that a line has no such answers.
var errNotThere = errors.New("no other answers")

// findAnswers finds the answers in a line of JSON, which is read no further than their object.
func findAnswers(text []byte) (otherAnswers, error) {
	var found otherAnswers
	if !bytes.Contains(text, []byte(`"other"`)) {
		return found, errNotThere
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if err := enter(d, "other"); err != nil {
		return found, err
	}
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return found, errNotThere
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return found, err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return found, err
		}
		switch key {
		case "questionnaire":
			if json.Unmarshal(value, &found.questionnaire) != nil {
				return found, errNotThere
			}
		case "answers":
			found.to = d.InputOffset()
			found.from = found.to - int64(len(value))
		}
	}
	if found.to == 0 {
		return found, errNotThere
	}
	return found, nil
}

// enter reads an object up to the value of a member.
func enter(d *json.Decoder, member string) error {
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errNotThere
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		if key == member {
			return nil
		}
		var skipped json.RawMessage
		if err := d.Decode(&skipped); err != nil {
			return err
		}
	}
	return errNotThere
}

// packAnswers puts the bytes of the answers, as base64, in place of an object that has them by name. A line that is not
// JSON comes back as it is: who reads it next says where it is wrong.
func packAnswers(text []byte, schema schemas) ([]byte, error) {
	at, err := findAnswers(text)
	if err != nil || text[at.from] != '{' {
		return text, nil
	}
	var top protoreflect.MessageDescriptor
	if schema != nil {
		top = schema(at.questionnaire)
	}
	if top == nil {
		return nil, fault.New(fault.Invalid, fault.QuestionnaireNotHere, "the answers are to questionnaire %.200q, which this tablet does not know", at.questionnaire)
	}
	m := dynamicpb.NewMessage(top)
	if err := protojson.Unmarshal(text[at.from:at.to], m); err != nil {
		return nil, badJSON(err, top, "other.answers: ")
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fault.New(fault.Invalid, fault.BadInterview, "other.answers cannot be written: %w", err)
	}
	return splice(text, at, base64.StdEncoding.AppendEncode(nil, raw), `"`), nil
}

// AnswersByName puts the answers to a questionnaire published at run time into a line of JSON by name, as Load reads them,
// in place of their bytes: where schema knows the questionnaire by its full name, and nothing of them would be lost.
func AnswersByName(line []byte, schema func(questionnaire string) protoreflect.MessageDescriptor) []byte {
	return unpackAnswers(line, schema)
}

// unpackAnswers puts an object that has the answers by name in place of their bytes, where nothing of them would be lost.
func unpackAnswers(text []byte, schema schemas) []byte {
	at, err := findAnswers(text)
	if err != nil || schema == nil {
		return text
	}
	top := schema(at.questionnaire)
	var packed []byte
	if top == nil || json.Unmarshal(text[at.from:at.to], &packed) != nil {
		return text
	}
	m, again := dynamicpb.NewMessage(top), dynamicpb.NewMessage(top)
	if proto.Unmarshal(packed, m) != nil {
		return text
	}
	loose, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil || protojson.Unmarshal(loose, again) != nil {
		return text
	}
	if raw, err := (proto.MarshalOptions{Deterministic: true}).Marshal(again); err != nil || !bytes.Equal(raw, packed) {
		return text // fields of a version that is not known here, or bytes in another order
	}
	var object bytes.Buffer
	if json.Compact(&object, loose) != nil {
		return text
	}
	return splice(text, at, object.Bytes(), "")
}

func splice(text []byte, at otherAnswers, value []byte, quote string) []byte {
	out := make([]byte, 0, int(at.from)+len(value)+2+len(text)-int(at.to))
	out = append(append(append(append(out, text[:at.from]...), quote...), value...), quote...)
	return append(out, text[at.to:]...)
}
