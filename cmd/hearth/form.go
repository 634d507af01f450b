package main

import (
	"fmt"
	"io"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/proto/questionnaire"
)

// formCmd shows the questionnaires. They are part of the program, so it needs no server.
type formCmd struct {
	List     formListCmd     `cmd:"" help:"List the questionnaires and their versions."`
	Export   formExportCmd   `cmd:"" help:"Write a questionnaire for other software: as an XForm of ODK, or as descriptors."`
	Check    formCheckCmd    `cmd:"" help:"Check the file of a questionnaire or of an XForm."`
	Print    formPrintCmd    `cmd:"" help:"Write a questionnaire as a page to be printed."`
	Codebook formCodebookCmd `cmd:"" help:"Write the codebook of a questionnaire as a page."`
	Import   formImportCmd   `cmd:"" help:"Make a questionnaire's schema of an XLSForm."`
}

type formListCmd struct{}

// Run lists the questionnaires.
func (formListCmd) Run(e *env) error {
	set, err := questionnaire.Builtin()
	if err != nil {
		return err
	}
	rows := [][]string{{"NAME", "VERSION", "QUESTIONS", "FINGERPRINT", "TITLE", "标题"}}
	for _, q := range set.All() {
		rows = append(rows, []string{lastWord(q.Name()), fmt.Sprint(q.Version()), fmt.Sprint(q.Questions()), fmt.Sprintf("%x", q.Fingerprint(q.Version())), q.Title().GetEn(), q.Title().GetZh()})
	}
	return table(e.stdout, rows)
}

type formCodebookCmd struct {
	Name string `arg:"" help:"household, school or migration."`
	Out  string `short:"o" help:"File to write; standard output if empty." type:"path"`
}

// Run writes the page.
func (c *formCodebookCmd) Run(e *env) error {
	set, err := questionnaire.Builtin()
	if err != nil {
		return err
	}
	q, ok := set.Find(c.Name)
	if !ok {
		return fault.New(fault.NotFound, fault.UnknownQuestionnaire, "there is no questionnaire %q; hearth form list names them", c.Name)
	}
	if c.Out == "" {
		return q.WriteCodebook(e.stdout)
	}
	if err := writeFile(c.Out, func(w io.Writer) error { return q.WriteCodebook(w) }); err != nil {
		return err
	}
	return say(e, "wrote "+c.Out)
}

// builtinQuestionnaire is the top message of a questionnaire that is part of the program.
func builtinQuestionnaire(name string) (protoreflect.MessageDescriptor, error) {
	set, err := questionnaire.Builtin()
	if err != nil {
		return nil, err
	}
	q, ok := set.Find(name)
	if !ok {
		return nil, fault.New(fault.NotFound, fault.UnknownQuestionnaire, "there is no questionnaire %q; hearth form list names them", name)
	}
	m, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(q.Name()))
	if err != nil {
		return nil, fault.New(fault.Internal, fault.UnknownQuestionnaire, "find the schema of %s: %w", q.Name(), err)
	}
	return m.(protoreflect.MessageDescriptor), nil
}
