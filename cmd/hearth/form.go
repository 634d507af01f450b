package main

import (
	"io"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/proto/questionnaire"
)

// formCmd shows, checks and publishes questionnaires.
type formCmd struct {
	Publish  formPublishCmd  `cmd:"" help:"Publish a questionnaire, or its next version: tablets get it with their next sync."`
	Diff     formDiffCmd     `cmd:"" help:"Say in sentences what has changed between two versions."`
	Show     formShowCmd     `cmd:"" help:"Show the questions of a questionnaire; write the file that was published."`
	List     formListCmd     `cmd:"" help:"List the questionnaires and their versions."`
	Export   formExportCmd   `cmd:"" help:"Write a questionnaire for other software: as an XForm of ODK, or as descriptors."`
	Check    formCheckCmd    `cmd:"" help:"Check the file of a questionnaire or of an XForm."`
	Print    formPrintCmd    `cmd:"" help:"Write a questionnaire as a page to be printed."`
	Codebook formCodebookCmd `cmd:"" help:"Write the codebook of a questionnaire as a page."`
	Import   formImportCmd   `cmd:"" help:"Make a questionnaire's schema of an XLSForm."`
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
