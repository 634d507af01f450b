package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/proto/xform"
	"github.com/hearth-survey/hearth/proto/xlsform"
)

// formExportCmd writes a questionnaire for other software. It needs no server.
type formExportCmd struct {
	Questionnaire string   `arg:"" help:"household, school or migration, or a file: .proto, .xlsx (an XLSForm), or .binpb (a set of descriptors)."`
	As            string   `required:"" enum:"xform,xlsform,proto,descriptors" help:"xform, for ODK Collect, Enketo and other OpenRosa clients; xlsform, the spreadsheet of ODK, Kobo, Ona and SurveyCTO; proto, the schema as text; descriptors, the schema as protobuf's FileDescriptorSet."`
	Out           string   `short:"o" help:"File to write; standard output if empty." type:"path"`
	FormID        string   `help:"Id of the form; the questionnaire's name if empty."`
	FormVersion   string   `help:"Version of the form; the questionnaire's if empty."`
	Language      []string `help:"Languages of the form by tag, such as en or zh; the first is shown at first. All if none is given."`
	Missing       bool     `help:"Add to each question that accepts reasons for having no answer a question for the reason."`
}

// Help explains what is not in a flag's line.
func (formExportCmd) Help() string {
	return `Rules are written so that they mean the same in the other program. One that it cannot carry out is left out
and named on standard error: the question is then always asked, or the check not made.

An XLSForm that was imported is written as it was, every cell, with what was changed since.

In an XForm hard checks refuse an answer. Soft checks, and those of groups and rosters, are notes that
are shown where the check fails; the note of a hard one does not let the form be finished.`
}

// Run writes the file.
func (c *formExportCmd) Run(e *env) error {
	q, err := openQuestionnaire(c.Questionnaire)
	if err != nil {
		return err
	}
	options := xform.Options{FormID: c.FormID, Version: c.FormVersion, Languages: c.Language, Missing: c.Missing}
	var left xform.Warnings
	write := func(w io.Writer) error {
		switch c.As {
		case "descriptors":
			raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(q.Files())
			if err == nil {
				_, err = w.Write(raw)
			}
			return err
		case "proto":
			text, err := protoText(c.Questionnaire, q)
			if err == nil {
				_, err = io.WriteString(w, text)
			}
			return err
		case "xlsform":
			left, err = xlsform.Write(q, w, options)
			return err
		}
		left, err = xform.Write(q, w, options)
		return err
	}
	if c.Out == "" {
		err = write(e.stdout)
	} else {
		err = writeFile(c.Out, write)
	}
	if err != nil {
		return err
	}
	for _, w := range left {
		fmt.Fprintln(e.stderr, "hearth: "+w.String())
	}
	if c.Out == "" {
		return nil
	}
	if len(left) > 0 {
		return say(e, fmt.Sprintf("wrote %s; what is named above is not in it: %d", c.Out, len(left)))
	}
	return say(e, "wrote "+c.Out)
}

// openQuestionnaire finds a questionnaire by the name of one that ships with Hearth, or reads it from a file.
func openQuestionnaire(name string) (*questionnaire.Questionnaire, error) {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".proto":
		return openProto(name)
	case ".xlsx", ".xls":
		r, err := xlsform.ImportFile(name, xlsform.Options{Media: filepath.Dir(name)})
		if err != nil {
			return nil, err
		}
		return questionnaire.Load(r.Files, r.Top)
	case ".binpb", ".pb":
		raw, err := os.ReadFile(name)
		if err != nil {
			return nil, fault.New(fault.NotFound, "", "read the questionnaire: %w: check the path", err)
		}
		files := &descriptorpb.FileDescriptorSet{}
		if err := proto.Unmarshal(raw, files); err != nil {
			return nil, fault.New(fault.Invalid, fault.BadSchema, "%s is no set of descriptors: %w", filepath.Base(name), err)
		}
		return questionnaire.Load(files, "")
	}
	set, err := questionnaire.Builtin()
	if err != nil {
		return nil, err
	}
	q, ok := set.Find(name)
	if !ok {
		return nil, fault.New(fault.NotFound, "", "there is no questionnaire %q, and it is no file that ends in .proto, .xlsx or .binpb; hearth form list names those that ship with Hearth", name)
	}
	return q, nil
}

// protoText is the text of a questionnaire's file: its own where it has one, otherwise written anew.
func protoText(name string, q *questionnaire.Questionnaire) (string, error) {
	if strings.EqualFold(filepath.Ext(name), ".proto") {
		raw, err := os.ReadFile(name)
		return string(raw), err
	}
	return xlsform.ProtoText(q.Descriptor().ParentFile()), nil
}

var importLine = regexp.MustCompile(`(?m)^\s*import\s+(?:public\s+|weak\s+)?"([^"]+)"`)

// openProto compiles a .proto file. What it imports beside Hearth's own files is looked for in its folder.
func openProto(name string) (*questionnaire.Questionnaire, error) {
	dir, base := filepath.Dir(name), filepath.Base(name)
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, fault.New(fault.NotFound, "", "read the questionnaire: %w: check the path", err)
	}
	sources := map[string]string{base: string(raw)}
	for open := []string{base}; len(open) > 0; open = open[1:] {
		for _, m := range importLine.FindAllStringSubmatch(sources[open[0]], -1) {
			if _, known := sources[m[1]]; known || !filepath.IsLocal(m[1]) {
				continue
			}
			if raw, err := os.ReadFile(filepath.Join(dir, m[1])); err == nil {
				sources[m[1]] = string(raw)
				open = append(open, m[1])
			}
		}
	}
	files, err := questionnaire.CompileProto(sources, base)
	if err != nil {
		return nil, err
	}
	return questionnaire.Load(files, "")
}
