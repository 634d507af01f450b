package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/proto/xlsform"
)

type formImportCmd struct {
	File  string `arg:"" help:"The XLSForm, an .xlsx." type:"path"`
	Out   string `short:"o" help:"Folder for what is written; the form's own if empty." type:"path"`
	Lock  string `help:"Lock file of an earlier import, which keeps the numbers of questions and choices. Default: FORM.lock.json where the schema is written." type:"path"`
	Media string `help:"Folder with the .csv files that the form names, for lists and pulldata(); they become tables of the questionnaire." type:"path"`
	JSON  bool   `name:"json" help:"Say what came of it as JSON."`
}

// Help says what is written.
func (formImportCmd) Help() string {
	return "Writes FORM.proto, the questionnaire's schema; FORM.lock.json, the numbers of its questions and choices, to be kept with the form " +
		"and given again when it is imported after a change; and FORM.report.txt. Expressions that cannot be translated are listed by row and column, " +
		"kept in the schema as they stand, and have no effect: a question with such a relevance is always asked. " +
		"A question or choice that gets another name keeps its number where the column hearth_was names the old one."
}

// Run imports the form.
func (c *formImportCmd) Run(e *env) error {
	out := c.Out
	if out == "" {
		out = filepath.Dir(c.File)
	}
	base := strings.TrimSuffix(filepath.Base(c.File), filepath.Ext(c.File))
	lockFile := c.Lock
	if lockFile == "" {
		lockFile = filepath.Join(out, base+".lock.json")
	}
	lock, err := readLock(lockFile, c.Lock != "")
	if err != nil {
		return err
	}
	r, err := xlsform.ImportFile(c.File, xlsform.Options{Lock: lock, Media: c.Media})
	if err != nil {
		return err
	}
	if _, err := questionnaire.Load(r.Files, r.Top); err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	wrote := []string{}
	for _, f := range []struct {
		name string
		data []byte
	}{
		{base + ".proto", []byte(r.Proto)}, {base + ".lock.json", r.Lock.Bytes()}, {base + ".report.txt", []byte(r.Report.Text())},
	} {
		path := filepath.Join(out, f.name)
		if err := writeFile(path, func(w io.Writer) error { _, err := w.Write(f.data); return err }); err != nil {
			return err
		}
		wrote = append(wrote, path)
	}
	if c.JSON {
		return printAnyJSON(e.stdout, struct {
			*xlsform.Report
			Wrote []string `json:"wrote"`
		}{r.Report, wrote})
	}
	return say(e, r.Report.Text()+"wrote "+strings.Join(wrote, ", "))
}

// readLock reads a lock file. It must be there only where it was named.
func readLock(path string, named bool) (*xlsform.Lock, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && !named {
		return nil, nil
	}
	if err != nil {
		return nil, fault.New(fault.NotFound, fault.BadForm, "read the lock file: %w", err)
	}
	return xlsform.ReadLock(data)
}

// checkSheet says what is wrong and what is odd in an XLSForm. It fails where the questionnaire could not be published, or an
// expression is wrong in itself; one that cannot be translated is listed only.
func checkSheet(e *env, file, media string, asJSON bool) error {
	r, err := xlsform.ImportFile(file, xlsform.Options{Media: media})
	if err != nil {
		return err
	}
	if _, err := questionnaire.Load(r.Files, r.Top); err != nil {
		return err
	}
	if asJSON {
		err = printAnyJSON(e.stdout, r.Report)
	} else {
		err = say(e, strings.TrimSuffix(r.Report.Text(), "\n"))
	}
	if n := r.Report.Errors(); err == nil && n > 0 {
		return fault.New(fault.Invalid, fault.BadForm, "%s has %d wrong expressions", filepath.Base(file), n)
	}
	return err
}
