package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/proto/xlsform"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// formDiffCmd says what has changed.
type formDiffCmd struct {
	target
	Old  string `arg:"" help:"A file, or NAME or NAME@VERSION of a questionnaire that is published or built in."`
	New  string `arg:"" help:"The same of the newer one."`
	Lang string `help:"Language of the sentences: en or zh." enum:"en,zh" default:"en" env:"HEARTH_LANG"`
	JSON bool   `help:"Print JSON."`
}

// Help says what is compared.
func (formDiffCmd) Help() string {
	return "Two files are compared without a server; for versions that are published name it with --server or --data."
}

// Run compares and says it in sentences.
func (c *formDiffCmd) Run(e *env) error {
	older, lock, err := c.find(e, c.Old, nil, nil)
	if err != nil {
		return err
	}
	newer, _, err := c.find(e, c.New, older, lock)
	if err != nil {
		return err
	}
	// What publishing would write into the form is no difference.
	if files, dated := questionnaire.DateAdditions(newer.Files(), older, newer.Descriptor()); dated {
		if newer, err = questionnaire.Load(files, newer.Name()); err != nil {
			return err
		}
	}
	changes := questionnaire.Compare(older, newer)
	if c.JSON {
		return printJSON(e.stdout, &servicev1.CompareQuestionnairesResponse{Changes: changes})
	}
	if len(changes) == 0 {
		return say(e, "nothing has changed")
	}
	printChanges(e, changes, c.Lang)
	return nil
}

// find reads one of the two. An XLSForm takes its numbers from the lock file of what it is compared with, or of its own.
func (c *formDiffCmd) find(e *env, name string, older *questionnaire.Questionnaire, lock *xlsform.Lock) (*questionnaire.Questionnaire, *xlsform.Lock, error) {
	switch {
	case isSheet(name):
		o := xlsform.Options{Lock: lock}
		var err error
		if lock == nil {
			if o.Lock, err = readLock(lockPath(name, ""), false); err != nil {
				return nil, nil, err
			}
		}
		if older != nil {
			o.Previous, o.Version = older.Files(), older.Version()+1
		}
		r, err := xlsform.ImportFile(name, o)
		if err != nil {
			return nil, nil, err
		}
		q, err := questionnaire.Load(r.Files, r.Top)
		return q, r.Lock, err
	case isForm(name):
		q, err := openQuestionnaire(name)
		return q, nil, err
	}
	resp, err := getForm(e, c.target, name)
	if err != nil {
		return nil, nil, err
	}
	if len(resp.GetLock()) > 0 {
		if lock, err = xlsform.ReadLock(resp.GetLock()); err != nil {
			return nil, nil, err
		}
	}
	q, err := loadForm(resp)
	return q, lock, err
}

// isForm says whether a name is a file's.
func isForm(name string) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".proto", ".binpb", ".pb", ".xlsx", ".xls":
		return true
	}
	return false
}

// findForm finds a questionnaire by NAME or NAME@VERSION: of the program itself where no server is named.
func findForm(e *env, t target, name string) (*questionnaire.Questionnaire, error) {
	resp, err := getForm(e, t, name)
	if err != nil {
		return nil, err
	}
	return loadForm(resp)
}

// loadForm compiles what a server has returned.
func loadForm(resp *servicev1.GetQuestionnaireResponse) (*questionnaire.Questionnaire, error) {
	files := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(resp.GetFiles(), files); err != nil {
		return nil, fault.New(fault.Invalid, fault.QuestionnaireDamaged, "the schema of %s: %w", resp.GetQuestionnaire().GetQuestionnaire(), err)
	}
	return questionnaire.Load(files, resp.GetQuestionnaire().GetQuestionnaire())
}

// getForm is findForm, and returns what is published.
func getForm(e *env, t target, name string) (*servicev1.GetQuestionnaireResponse, error) {
	name, at, _ := strings.Cut(name, "@")
	version := uint64(0)
	if at != "" {
		var err error
		if version, err = strconv.ParseUint(at, 10, 32); err != nil {
			return nil, fmt.Errorf("%w: %q is no version: name one as %s@2", errUsage, at, name)
		}
	}
	if t.Data == "" && t.Server == "" {
		return builtinForm(name, uint32(version))
	}
	cc, err := t.dial(e.ctx)
	if err != nil {
		return nil, err
	}
	defer cc.Close()
	return servicev1.NewStudyServiceClient(cc).GetQuestionnaire(e.ctx, &servicev1.GetQuestionnaireRequest{Questionnaire: &name, Version: proto.Uint32(uint32(version))})
}

// builtinForm is a questionnaire that is part of the program, as a server would tell of it.
func builtinForm(name string, version uint32) (*servicev1.GetQuestionnaireResponse, error) {
	set, err := questionnaire.Builtin()
	if err != nil {
		return nil, err
	}
	q, ok := set.Find(name)
	if !ok {
		return nil, fault.New(fault.NotFound, "", "no questionnaire %q is built in: for a published one name the server with --server ADDR or --data DIR", name)
	}
	if version != 0 && !q.Knows(version) {
		return nil, fault.New(fault.NotFound, "", "%s has no version %d; %d is the newest", name, version, q.Version())
	}
	raw, err := proto.Marshal(questionnaire.WithoutPlaces(q.Files()))
	return &servicev1.GetQuestionnaireResponse{Files: raw, Questionnaire: &servicev1.QuestionnaireVersion{
		Questionnaire: proto.String(q.Name()), Version: proto.Uint32(q.Version()), Fingerprint: q.Fingerprint(q.Version()),
		TitleEn: proto.String(q.Title().GetEn()), TitleZh: proto.String(q.Title().GetZh()), Questions: proto.Uint32(uint32(q.Questions())),
	}}, err
}
