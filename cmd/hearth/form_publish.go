package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/proto/xlsform"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// formPublishCmd makes a questionnaire known to a server and its tablets.
type formPublishCmd struct {
	target
	File   string   `arg:"" help:"The questionnaire: .proto text or an XLSForm (.xlsx)." type:"existingfile"`
	DryRun bool     `help:"Only say what would change, and what stands against it."`
	Media  string   `help:"Folder with the .csv files that an XLSForm names; they become tables of the questionnaire." type:"path"`
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

// Run publishes. Where that is refused it asks for everything that stands against it.
func (c *formPublishCmd) Run(e *env) error {
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	client := servicev1.NewStudyServiceClient(cc)
	form, remarks, err := c.read(e, client)
	if err != nil {
		return err
	}
	raw, err := proto.Marshal(form)
	if err != nil {
		return fmt.Errorf("write %s: %w", c.File, err)
	}
	req := &servicev1.PublishQuestionnaireRequest{PublishedBy: proto.String(c.By), Accept: c.Accept, DryRun: proto.Bool(c.DryRun)}
	if req.FormZstd, err = syncer.PackQuestionnaire(raw); err != nil {
		return err
	}
	if err := sendable(filepath.Base(c.File), len(req.FormZstd)); err != nil {
		return err
	}
	resp, err := client.PublishQuestionnaire(e.ctx, req)
	if toldReason(err) == fault.QuestionnaireBreaking {
		req.DryRun = proto.Bool(true)
		resp, err = client.PublishQuestionnaire(e.ctx, req)
	}
	if err != nil {
		return err
	}
	if !req.GetDryRun() {
		if err := c.writeLock(resp.GetLock()); err != nil {
			return err
		}
	}
	resp.Remarks = append(remarks, resp.GetRemarks()...)
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

// mostSent is how large a packed form may be: what a server takes in one message, less room for what goes with it.
const mostSent = 4<<20 - 64<<10

// sendable refuses a form that no server would take.
func sendable(name string, packed int) error {
	if packed > mostSent {
		return fault.New(fault.TooLarge, fault.QuestionnaireTooLarge, "%s has %d KB packed, and a server takes %d at most", name, packed>>10, mostSent>>10)
	}
	return nil
}

// toldReason is the reason that a server gave for refusing a call.
func toldReason(err error) fault.Reason {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return fault.Reason(info.GetReason())
		}
	}
	return fault.ReasonOf(err)
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
	if len(lock) == 0 || !isSheet(c.File) {
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

// read compiles a questionnaire's file here, where what it names stands beside it, and returns what is odd about it.
func (c *formPublishCmd) read(e *env, client servicev1.StudyServiceClient) (*servicev1.QuestionnaireForm, []string, error) {
	source, err := os.ReadFile(c.File)
	if err != nil {
		return nil, nil, err
	}
	f := &servicev1.QuestionnaireForm{Name: proto.String(filepath.Base(c.File)), Source: source}
	if isSheet(c.File) {
		remarks, err := c.readSheet(e, client, f)
		return f, remarks, err
	}
	q, err := openQuestionnaire(c.File)
	if err != nil {
		return nil, nil, err
	}
	f.Top = proto.String(q.Name())
	f.Files, err = proto.MarshalOptions{Deterministic: true}.Marshal(questionnaire.Bare(q.Files()))
	return f, nil, err
}

func isSheet(path string) bool { return strings.EqualFold(filepath.Ext(path), ".xlsx") }

// readSheet reads an XLSForm and its lock file. The server imports it; where tables stand in files beside it, that is done here.
func (c *formPublishCmd) readSheet(e *env, client servicev1.StudyServiceClient, f *servicev1.QuestionnaireForm) ([]string, error) {
	lock, err := readLock(lockPath(c.File, c.Lock), c.Lock != "")
	if err != nil {
		return nil, err
	}
	if lock != nil {
		f.Lock = lock.Bytes()
	}
	if c.Media == "" {
		return nil, nil
	}
	o := xlsform.Options{Lock: lock, Media: c.Media}
	r, err := xlsform.ImportFile(c.File, o)
	if err != nil {
		return nil, err
	}
	held, err := client.GetQuestionnaire(e.ctx, &servicev1.GetQuestionnaireRequest{Questionnaire: &r.Top})
	if err == nil {
		if r, err = c.continueSheet(o, held); err != nil {
			return nil, err
		}
	}
	if n := r.Report.Errors(); n > 0 {
		return nil, fault.New(fault.Invalid, fault.BadForm, "%s has %d wrong expressions: hearth form check %s lists them", f.GetName(), n, c.File)
	}
	f.Lock, f.Top = r.Lock.Bytes(), &r.Top
	f.Files, err = proto.MarshalOptions{Deterministic: true}.Marshal(questionnaire.Bare(r.Files))
	return strings.Split(strings.TrimRight(r.Report.Text(), "\n"), "\n"), err
}

// continueSheet imports the form as what follows a published version: under the next one, unless only words have changed.
func (c *formPublishCmd) continueSheet(o xlsform.Options, held *servicev1.GetQuestionnaireResponse) (*xlsform.Result, error) {
	o.Previous = &descriptorpb.FileDescriptorSet{}
	err := proto.Unmarshal(held.GetFiles(), o.Previous)
	if err != nil {
		return nil, fault.New(fault.Invalid, fault.QuestionnaireDamaged, "the schema that is published: %w", err)
	}
	before, err := questionnaire.Schema(o.Previous, held.GetQuestionnaire().GetQuestionnaire())
	if err != nil {
		return nil, err
	}
	if o.Lock == nil && len(held.GetLock()) > 0 {
		if o.Lock, err = xlsform.ReadLock(held.GetLock()); err != nil {
			return nil, err
		}
	}
	for o.Version = held.GetQuestionnaire().GetVersion(); ; o.Version++ {
		r, err := xlsform.ImportFile(c.File, o)
		if err != nil {
			return nil, err
		}
		after, err := questionnaire.Schema(r.Files, r.Top)
		if err != nil {
			return nil, err
		}
		meaning := slices.ContainsFunc(questionnaire.CompareSchemas(before, after), func(x *servicev1.QuestionnaireChange) bool {
			return !x.GetWording() && x.GetKind() != questionnaire.ChangeVersion
		})
		if !meaning || o.Version > held.GetQuestionnaire().GetVersion() {
			return r, nil
		}
	}
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
