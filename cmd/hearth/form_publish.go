package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// formPublishCmd makes a questionnaire known to a server and its tablets.
type formPublishCmd struct {
	target
	File   string   `arg:"" help:"The questionnaire: .proto text or an XLSForm (.xlsx)." type:"existingfile"`
	DryRun bool     `help:"Only say what would change, and what stands against it."`
	Lock   string   `help:"Lock file with the numbers of an XLSForm's questions; it is written again. Default: the form's name with .lock.json behind it." type:"path"`
	By     string   `help:"Who publishes, in one word."`
	Accept []string `help:"Confirm a change that no option of a form can declare: personal_data_lowered." placeholder:"CHANGE"`
	Lang   string   `help:"Language of the sentences: en or zh." enum:"en,zh" default:"en" env:"HEARTH_LANG"`
	JSON   bool     `help:"Print JSON."`
}

// Help says what publishing does.
func (formPublishCmd) Help() string {
	return `The form is checked whole and compared with the version published last. What is added is free; what would make answers
given before unreadable is refused, with what to do instead. Tablets get it with their next sync; those that do not sync go on
with the version that they have, for as long as they like, and all versions stand in one table. Where nothing but words has
changed the version may stay; otherwise it must rise by one (an XLSForm's rises by itself).`
}

// Run publishes, having looked what it would change.
func (c *formPublishCmd) Run(e *env) error {
	form, err := readForm(c.File, c.Lock)
	if err != nil {
		return err
	}
	raw, err := proto.Marshal(form)
	if err != nil {
		return fmt.Errorf("write %s: %w", c.File, err)
	}
	req := &servicev1.PublishQuestionnaireRequest{PublishedBy: proto.String(c.By), Accept: c.Accept, DryRun: proto.Bool(true)}
	if req.FormZstd, err = syncer.PackQuestionnaire(raw); err != nil {
		return err
	}
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	client := servicev1.NewStudyServiceClient(cc)
	resp, err := client.PublishQuestionnaire(e.ctx, req)
	if err != nil {
		return err
	}
	if !c.DryRun && !resp.GetRefused() {
		req.DryRun = nil
		if resp, err = client.PublishQuestionnaire(e.ctx, req); err != nil {
			return err
		}
		if err := c.writeLock(resp.GetLock()); err != nil {
			return err
		}
	}
	if c.JSON {
		err = printJSON(e.stdout, resp)
	} else {
		err = c.print(e, resp)
	}
	if err == nil && resp.GetRefused() {
		return errFound
	}
	return err
}

// print says what has changed and what to do now.
func (c *formPublishCmd) print(e *env, r *servicev1.PublishQuestionnaireResponse) error {
	for _, line := range r.GetRemarks() {
		fmt.Fprintln(e.stdout, line)
	}
	printChanges(e, r.GetChanges(), c.Lang)
	v := r.GetQuestionnaire()
	name := fmt.Sprintf("%s version %d", lastWord(v.GetQuestionnaire()), v.GetVersion())
	if v.GetTextRevision() > 1 {
		name += fmt.Sprintf(", words of revision %d", v.GetTextRevision())
	}
	switch {
	case r.GetRefused():
		return say(e, name+" cannot be published so: see above what to do")
	case !r.GetPublished() && c.DryRun:
		return say(e, fmt.Sprintf("%s could be published: %d questions", name, v.GetQuestions()))
	case !r.GetPublished():
		return say(e, name+" is published already, exactly so")
	}
	fmt.Fprintf(e.stdout, "published %s: %d questions; tablets get it with their next sync\n", name, v.GetQuestions())
	if n := r.GetToReevaluate(); n > 0 {
		fmt.Fprintf(e.stdout, "the flags of %d interviews are made again; hearth form list says how far that is\n", n)
	}
	if n := r.GetWaiting(); n > 0 {
		fmt.Fprintf(e.stdout, "%d interviews wait in quarantine for it: take them in with hearth quarantine replay --reason UNKNOWN_QUESTIONNAIRE and --reason UNKNOWN_VERSION\n", n)
	}
	return nil
}

// lockPath is where the lock file of a spreadsheet is.
func lockPath(file, lock string) string {
	if lock != "" {
		return lock
	}
	return strings.TrimSuffix(file, filepath.Ext(file)) + ".lock.json"
}

// writeLock keeps the numbers of a spreadsheet's questions.
func (c *formPublishCmd) writeLock(lock []byte) error {
	if len(lock) == 0 || !strings.EqualFold(filepath.Ext(c.File), ".xlsx") {
		return nil
	}
	path := lockPath(c.File, c.Lock)
	if held, err := os.ReadFile(path); err == nil && bytes.Equal(held, lock) {
		return nil
	}
	if err := writeFile(path, func(w io.Writer) error { _, err := w.Write(lock); return err }); err != nil {
		return fmt.Errorf("the questionnaire is published, but its lock file %s is not written, and the next version of the form needs it: %w", path, err)
	}
	return nil
}

// readForm reads a questionnaire's file, and for a spreadsheet its lock file.
func readForm(path, lock string) (*servicev1.QuestionnaireForm, error) {
	source, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	f := &servicev1.QuestionnaireForm{Name: proto.String(filepath.Base(path)), Source: source}
	if strings.EqualFold(filepath.Ext(path), ".xls") {
		return nil, fault.New(fault.Invalid, fault.BadRequest, "%s is of Excel 97: save it as .xlsx", path)
	}
	if strings.EqualFold(filepath.Ext(path), ".xlsx") {
		if f.Lock, err = os.ReadFile(lockPath(path, lock)); err != nil && (lock != "" || !errors.Is(err, fs.ErrNotExist)) {
			return nil, err
		}
		return f, nil
	}
	q, err := openQuestionnaire(path) // what it imports may stand beside it, where the server cannot look
	if err != nil {
		return nil, err
	}
	f.Top = proto.String(q.Name())
	f.Files, err = proto.MarshalOptions{Deterministic: true}.Marshal(questionnaire.Bare(q.Files()))
	return f, err
}

// printChanges prints each change as a sentence, and below what is not free what to do.
func printChanges(e *env, changes []*servicev1.QuestionnaireChange, lang string) {
	for _, x := range changes {
		what, do := x.GetWhat().GetEn(), x.GetWhatToDo().GetEn()
		words := map[servicev1.ChangeSeverity]string{
			servicev1.ChangeSeverity_CHANGE_SEVERITY_DECLARE: "to be declared: ", servicev1.ChangeSeverity_CHANGE_SEVERITY_REFUSED: "refused: ",
		}
		mark := "do: "
		if lang == "zh" {
			what, do, mark = x.GetWhat().GetZh(), x.GetWhatToDo().GetZh(), "处理："
			words[servicev1.ChangeSeverity_CHANGE_SEVERITY_DECLARE], words[servicev1.ChangeSeverity_CHANGE_SEVERITY_REFUSED] = "需要声明：", "不可发布："
		}
		fmt.Fprintf(e.stdout, "%s%s\n", words[x.GetSeverity()], what)
		if do != "" {
			fmt.Fprintf(e.stdout, "    %s%s\n", mark, do)
		}
	}
}
