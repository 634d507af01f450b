package main

import (
	"io"

	"google.golang.org/protobuf/proto"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/proto/paper"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/server/export"
)

// aboutForm is what the verbs have in common that write a file about a questionnaire.
type aboutForm struct {
	target
	Name string `arg:"" help:"NAME or NAME@VERSION of a questionnaire that is built in or published, or its file."`
	Out  string `short:"o" help:"File to write; standard output if empty." type:"path"`
}

// write finds the questionnaire and writes the file.
func (c *aboutForm) write(e *env, write func(io.Writer, *questionnaire.Questionnaire) error) error {
	q, err := findQuestionnaire(e, c.target, c.Name)
	if err != nil {
		return err
	}
	if c.Out == "" {
		return write(e.stdout, q)
	}
	if err := writeFile(c.Out, func(w io.Writer) error { return write(w, q) }); err != nil {
		return err
	}
	return say(e, "wrote "+c.Out)
}

// findQuestionnaire reads a file, or asks for a questionnaire that is built in or published.
func findQuestionnaire(e *env, t target, name string) (*questionnaire.Questionnaire, error) {
	if isForm(name) {
		return openQuestionnaire(name)
	}
	return findForm(e, t, name)
}

type formPrintCmd struct {
	aboutForm
	Lang []string `help:"Languages of the page, the main one first, such as zh or en,zh. Default: those of the questionnaire." placeholder:"LANG"`
}

// Help says what to do with the page.
func (formPrintCmd) Help() string {
	return "Writes one HTML page with every question, its answers and codes, and in words whom it is put to. Open it in a browser and print it."
}

// Run writes the page.
func (c *formPrintCmd) Run(e *env) error {
	return c.write(e, func(w io.Writer, q *questionnaire.Questionnaire) error {
		return paper.Write(w, q.Descriptor(), paper.Options{Languages: c.Lang})
	})
}

type formCodebookCmd struct {
	aboutForm
}

// Run writes the page.
func (c *formCodebookCmd) Run(e *env) error {
	return c.write(e, func(w io.Writer, q *questionnaire.Questionnaire) error { return q.WriteCodebook(w) })
}

type formDDICmd struct {
	aboutForm
}

// Help says what the file is.
func (formDDICmd) Help() string {
	return "Writes a DDI Codebook 2.5: the files and variables that an export of the questionnaire has, with questions, answers and universes in all languages. Archives such as NADA read it. The codebook.xml of an export has the counts too."
}

// Run writes the codebook.
func (c *formDDICmd) Run(e *env) error {
	return c.write(e, func(w io.Writer, q *questionnaire.Questionnaire) error {
		tables, err := tablesOf(q)
		if err != nil {
			return err
		}
		title := &surveyv1.Study{Study: proto.String(q.Name()), TitleEn: proto.String(q.Title().GetEn()), TitleZh: proto.String(q.Title().GetZh())}
		return export.WriteDDI(w, tables, title, version())
	})
}

// tablesOf lays out the tables of a questionnaire.
func tablesOf(q *questionnaire.Questionnaire) ([]*export.Table, error) {
	set, err := questionnaire.Builtin()
	if err != nil {
		return nil, err
	}
	var published []export.Published
	if _, ours := set.Find(q.Name()); !ours {
		published = append(published, export.Published{Top: q.Descriptor()})
	}
	plan, err := export.NewPlan(servicev1.PrivacyProfile_PRIVACY_PROFILE_IDENTIFIED, published...)
	if err != nil {
		return nil, err
	}
	return plan.Of(q.Descriptor().FullName()), nil
}
