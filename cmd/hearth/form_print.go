package main

import (
	"io"

	"github.com/hearth-survey/hearth/proto/paper"
)

type formPrintCmd struct {
	Name string   `arg:"" help:"household, school or migration."`
	Lang []string `help:"Languages of the page, the main one first, such as zh or en,zh. Default: those of the questionnaire." placeholder:"LANG"`
	Out  string   `short:"o" help:"File to write; standard output if empty." type:"path"`
}

// Help says what to do with the page.
func (formPrintCmd) Help() string {
	return "Writes one HTML page with every question, its answers and codes, and in words whom it is put to. Open it in a browser and print it."
}

// Run writes the page.
func (c *formPrintCmd) Run(e *env) error {
	q, err := builtinQuestionnaire(c.Name)
	if err != nil {
		return err
	}
	write := func(w io.Writer) error { return paper.Write(w, q, paper.Options{Languages: c.Lang}) }
	if c.Out == "" {
		return write(e.stdout)
	}
	if err := writeFile(c.Out, write); err != nil {
		return err
	}
	return say(e, "wrote "+c.Out)
}
