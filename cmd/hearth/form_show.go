package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

type formListCmd struct {
	target
	JSON bool `help:"Print JSON."`
}

// Help says where the list is from.
func (formListCmd) Help() string {
	return "Without --server or --data: those that are built into the program. With one of them also those that are published there, every version, and how far the flags of earlier interviews are made again."
}

// Run lists the questionnaires.
func (c *formListCmd) Run(e *env) error {
	resp, err := c.list(e)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, resp)
	}
	rows := [][]string{{"NAME", "VERSION", "QUESTIONS", "FINGERPRINT", "TITLE", "标题", "PUBLISHED", ""}}
	for _, v := range resp.GetQuestionnaires() {
		published, note := "built in", ""
		if v.PublishedMs != nil {
			published = time.UnixMilli(v.GetPublishedMs()).UTC().Format(time.DateOnly) + " by " + v.GetPublishedBy()
		}
		if v.GetTextRevision() > 1 {
			note = fmt.Sprintf("words of revision %d", v.GetTextRevision())
		}
		if v.ToReevaluate != nil {
			note = strings.TrimPrefix(fmt.Sprintf("%s; re-evaluating %d of %d", note, v.GetReevaluated(), v.GetToReevaluate()), "; ")
		}
		rows = append(rows, []string{
			lastWord(v.GetQuestionnaire()), fmt.Sprint(v.GetVersion()), fmt.Sprint(v.GetQuestions()), fmt.Sprintf("%x", v.GetFingerprint()),
			v.GetTitleEn(), v.GetTitleZh(), published, note,
		})
	}
	return table(e.stdout, rows)
}

func (c *formListCmd) list(e *env) (*servicev1.ListQuestionnairesResponse, error) {
	if c.Data != "" || c.Server != "" {
		cc, err := c.dial(e.ctx)
		if err != nil {
			return nil, err
		}
		defer cc.Close()
		return servicev1.NewStudyServiceClient(cc).ListQuestionnaires(e.ctx, &servicev1.ListQuestionnairesRequest{})
	}
	set, err := questionnaire.Builtin()
	if err != nil {
		return nil, err
	}
	resp := &servicev1.ListQuestionnairesResponse{}
	for _, q := range set.All() {
		one, err := builtinForm(q.Name(), 0)
		if err != nil {
			return nil, err
		}
		resp.Questionnaires = append(resp.Questionnaires, one.GetQuestionnaire())
	}
	return resp, nil
}

// formShowCmd shows one questionnaire.
type formShowCmd struct {
	target
	Name   string `arg:"" help:"NAME or NAME@VERSION of a questionnaire that is published or built in."`
	Lang   string `help:"Language of the questions: en or zh." enum:"en,zh" default:"en" env:"HEARTH_LANG"`
	Source string `help:"Write the file that was published, exactly as it was, to this path." type:"path" placeholder:"FILE"`
	Lock   string `help:"Write its lock file to this path." type:"path" placeholder:"FILE"`
	Files  string `help:"Write its descriptors (google.protobuf.FileDescriptorSet) to this path." type:"path" placeholder:"FILE"`
	JSON   bool   `help:"Print JSON."`
}

// Run shows its questions, or writes its files.
func (c *formShowCmd) Run(e *env) error {
	resp, err := getForm(e, c.target, c.Name)
	if err != nil {
		return err
	}
	wrote := false
	for _, f := range []struct {
		path, what string
		content    []byte
	}{{c.Source, "file", resp.GetSource()}, {c.Lock, "lock file", resp.GetLock()}, {c.Files, "descriptors", resp.GetFiles()}} {
		if f.path == "" {
			continue
		}
		if len(f.content) == 0 {
			return fault.New(fault.NotFound, fault.BadRequest, "there is no %s of %s: it was not published with one", f.what, c.Name)
		}
		if err := writeFile(f.path, func(w io.Writer) error { _, err := w.Write(f.content); return err }); err != nil {
			return err
		}
		wrote = true
		if err := say(e, "wrote "+f.path); err != nil {
			return err
		}
	}
	switch {
	case wrote:
		return nil
	case c.JSON:
		return printJSON(e.stdout, resp)
	}
	return c.print(e, resp)
}

// print lists the questions.
func (c *formShowCmd) print(e *env, resp *servicev1.GetQuestionnaireResponse) error {
	files := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(resp.GetFiles(), files); err != nil {
		return fault.New(fault.Invalid, fault.QuestionnaireDamaged, "the schema of %s: %w", c.Name, err)
	}
	v := resp.GetQuestionnaire()
	q, err := questionnaire.Load(files, v.GetQuestionnaire())
	if err != nil {
		return err
	}
	title := v.GetTitleEn()
	if c.Lang == "zh" && v.GetTitleZh() != "" {
		title = v.GetTitleZh()
	}
	fmt.Fprintf(e.stdout, "%s, version %d: %s, %d questions, fingerprint %x\n", v.GetQuestionnaire(), v.GetVersion(), title, v.GetQuestions(), v.GetFingerprint())
	if v.PublishedMs != nil {
		fmt.Fprintf(e.stdout, "published on %s by %s from %s\n", time.UnixMilli(v.GetPublishedMs()).UTC().Format(time.DateOnly), v.GetPublishedBy(), resp.GetSourceName())
	}
	rows := [][]string{{"NUMBER", "QUESTION", "HOLDS", "LABEL"}}
	return table(e.stdout, listQuestions(rows, q.Top(), "", v.GetVersion(), c.Lang))
}

// listQuestions adds the questions of a module in a version, those of groups and rosters indented below.
func listQuestions(rows [][]string, m *questionnaire.Module, indent string, version uint32, lang string) [][]string {
	for _, q := range m.Questions {
		if !q.In(version) {
			continue
		}
		label := q.Options.GetLabel().GetEn()
		if zh := q.Options.GetLabel().GetZh(); lang == "zh" && zh != "" {
			label = zh
		}
		holds := q.Field.Kind().String()
		switch {
		case q.Module != nil && q.List:
			holds = "roster"
		case q.Module != nil:
			holds = "group"
		case q.Choices != nil && q.List:
			holds = "choices"
		case q.Choices != nil:
			holds = "choice"
		}
		rows = append(rows, []string{fmt.Sprint(indent, q.Field.Number()), q.Name(), holds, label})
		if q.Module != nil {
			rows = listQuestions(rows, q.Module, indent+"  ", version, lang)
		}
	}
	return rows
}
