package main

import (
	"errors"
	"fmt"

	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// tabletForms are the questionnaires of one tablet: those of the program, and those that came down with a sync.
type tabletForms struct {
	builtin func(name string, version uint32) []byte
	held    []tablet.Questionnaire
	given   []*questionnaire.Questionnaire // of files
	schemas map[string]protoreflect.MessageDescriptor
}

// read takes in questionnaires of files.
func (f *tabletForms) read(files []string) error {
	for _, name := range files {
		q, err := openForm(name)
		if err != nil {
			return err
		}
		f.given = append(f.given, q)
	}
	return nil
}

// fingerprint is that of a version; nil where it is not known.
func (f *tabletForms) fingerprint(name string, version uint32) []byte {
	for _, q := range f.held {
		if q.Version.GetQuestionnaire() == name && q.Version.GetVersion() == version {
			return q.Version.GetFingerprint()
		}
	}
	for _, q := range f.given {
		if q.Name() == name && q.Knows(version) {
			return q.Fingerprint(version)
		}
	}
	return f.builtin(name, version)
}

// answers is the top message of a questionnaire that was published at run time; nil where it is not here, or damaged.
func (f *tabletForms) answers(name string) protoreflect.MessageDescriptor {
	if m, ok := f.schemas[name]; ok {
		return m
	}
	if f.schemas == nil {
		f.schemas = map[string]protoreflect.MessageDescriptor{}
	}
	f.schemas[name] = nil
	for _, q := range f.given {
		if q.Name() == name {
			f.schemas[name] = q.Descriptor()
			return q.Descriptor()
		}
	}
	for _, q := range f.held {
		if q.Version.GetQuestionnaire() != name || q.Version.GetPieces() == 0 {
			continue
		}
		raw, err := q.Files()
		if err != nil {
			continue // the next sync finds the damaged rows and brings them anew
		}
		files := &descriptorpb.FileDescriptorSet{}
		if proto.Unmarshal(raw, files) != nil {
			continue
		}
		if m, err := questionnaire.Schema(files, name); err == nil {
			f.schemas[name] = m
		}
	}
	return f.schemas[name]
}

type tabletFormsCmd struct {
	tabletFile
	JSON bool `help:"Print JSON lines."`
}

// Run prints one line per version.
func (c *tabletFormsCmd) Run(e *env) (err error) {
	st, err := c.open(e)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	held, err := st.Questionnaires(e.ctx)
	if err != nil {
		return err
	}
	rows := [][]string{{"NAME", "VERSION", "QUESTIONS", "TITLE", "标题", ""}}
	for _, q := range held {
		v := q.Version
		if c.JSON {
			if err := jsonLine(e, v); err != nil {
				return err
			}
			continue
		}
		note := ""
		if v.GetPieces() > 0 {
			if _, err := q.Files(); err != nil {
				note = "damaged: sync again"
			} else {
				note = fmt.Sprintf("ready, %d bytes", len(q.Packed))
			}
		}
		rows = append(rows, []string{lastWord(v.GetQuestionnaire()), fmt.Sprint(v.GetVersion()), fmt.Sprint(v.GetQuestions()), v.GetTitleEn(), v.GetTitleZh(), note})
	}
	switch {
	case c.JSON:
		return nil
	case len(rows) == 1:
		return say(e, "no questionnaires yet: sync first")
	}
	return table(e.stdout, rows)
}
