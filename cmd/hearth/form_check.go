package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/proto/xform"
)

// formCheckCmd checks a file before anybody is sent to the field with it. It needs no server.
type formCheckCmd struct {
	File  string `arg:"" help:"A questionnaire (.proto, .binpb), an XLSForm (.xlsx), or an XForm of ODK (.xml)."`
	Media string `help:"Folder with the .csv files that an XLSForm names." type:"path"`
	JSON  bool   `name:"json" help:"Say what was found in an XLSForm as JSON."`
}

// Run checks the file.
func (c *formCheckCmd) Run(e *env) error {
	if strings.EqualFold(filepath.Ext(c.File), ".xml") {
		return checkXForm(e, c.File)
	}
	if ext := strings.ToLower(filepath.Ext(c.File)); ext == ".xlsx" || ext == ".xls" {
		return checkSheet(e, c.File, c.Media, c.JSON)
	}
	q, err := openQuestionnaire(c.File)
	if err != nil {
		return err
	}
	return say(e, fmt.Sprintf("%s: version %d, %d questions; nothing is wrong", q.Name(), q.Version(), q.Questions()))
}

// checkXForm says what the programs of ODK would let pass. It fails where an answer could be lost or a question never shown.
func checkXForm(e *env, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return fault.New(fault.NotFound, fault.BadXForm, "read the form: %w", err)
	}
	defer f.Close()
	found, err := xform.Check(f)
	if err != nil {
		return err
	}
	wrong := 0
	for _, x := range found {
		if x.Severity == fault.SeverityError {
			wrong++
		}
		if _, err := fmt.Fprintf(e.stdout, "%s: %s: %s\n", x.Severity, x.Subject, x.Message); err != nil {
			return err
		}
	}
	if wrong > 0 {
		fmt.Fprintf(e.stderr, "hearth: %s: %d mistakes: %s\n", filepath.Base(name), wrong, fault.BadXForm.Do())
		return errFound
	}
	return say(e, fmt.Sprintf("%s: no mistakes, %d warnings", filepath.Base(name), len(found)))
}
