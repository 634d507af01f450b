package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/proto/xlsform"
	"github.com/hearth-survey/hearth/study"
	"github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// openForm is openQuestionnaire, and reads XLSForms too, with the lock file beside them.
func openForm(name string) (*questionnaire.Questionnaire, error) {
	if !strings.EqualFold(filepath.Ext(name), ".xlsx") {
		return openQuestionnaire(name)
	}
	lock, err := readLock(lockPath(name, ""), false)
	if err != nil {
		return nil, err
	}
	r, err := xlsform.ImportFile(name, xlsform.Options{Lock: lock, Media: filepath.Dir(name)})
	if err != nil {
		return nil, err
	}
	return questionnaire.Load(r.Files, r.Top)
}

// runForm writes OUT/tablets/*.jsonl and OUT/study.json, and says what no interview reaches.
func (c *simulateCmd) runForm(e *env) (err error) {
	if c.Out == "" {
		return fmt.Errorf("%w: name a folder to write to with -o", errUsage)
	}
	if c.Interviews < 1 || c.Tablets < 1 || c.Tablets > 10_000 {
		return fmt.Errorf("%w: --interviews and --tablets must be at least 1, --tablets at most 10000", errUsage)
	}
	q, err := openForm(c.Form)
	if err != nil {
		return err
	}
	if err := emptyFolder(c.Out); err != nil {
		return err
	}
	opts := study.FillOptions{Questionnaire: q, Interviews: c.Interviews, Tablets: min(c.Tablets, c.Interviews), Seed: c.Seed, Study: c.Study}
	out, err := newLines(filepath.Join(c.Out, "tablets"), opts.Tablets)
	if err != nil {
		return err
	}
	schema := func(name string) protoreflect.MessageDescriptor {
		if name == q.Name() {
			return q.Descriptor()
		}
		return nil
	}
	bar, done := e.progress("fill"), 0
	filled, err := study.Fill(opts, func(t int, iv *surveyv1.Interview) error {
		done++
		bar(done, c.Interviews)
		raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(iv)
		if err != nil {
			return err
		}
		return out.line(t, tablet.AnswersByName(compact(raw), schema))
	})
	if err = errors.Join(err, out.close()); err != nil {
		return err
	}
	def, err := protojson.MarshalOptions{UseProtoNames: true, Multiline: true}.Marshal(study.FilledStudy(opts))
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(c.Out, "study.json"), func(w io.Writer) error { _, err := w.Write(def); return err }); err != nil {
		return err
	}
	return c.tellFilled(e, q, filled, opts.Tablets)
}

// tellFilled says what was made.
func (c *simulateCmd) tellFilled(e *env, q *questionnaire.Questionnaire, filled *study.Filled, tablets int) error {
	if c.JSON {
		unreached := []map[string]string{}
		for _, u := range filled.Unreached {
			unreached = append(unreached, map[string]string{"path": u.Path, "why": u.Why})
		}
		return printAnyJSON(e.stdout, map[string]any{
			"questionnaire": q.Name(), "version": q.Version(), "interviews": filled.Interviews, "questions": filled.Questions, "reached": filled.Reached,
			"unreached": unreached, "soft_flags": filled.Soft, "hard_flags": filled.Hard, "flags": filled.Flags,
		})
	}
	fmt.Fprintf(e.stdout, "wrote %d interviews of %s version %d for %d tablets to %s\n", filled.Interviews, q.Name(), q.Version(), tablets, filepath.Join(c.Out, "tablets"))
	fmt.Fprintf(e.stdout, "%d of %d questions, groups and rosters are reached; %d answers are unlikely, %d impossible\n", filled.Reached, filled.Questions, filled.Soft, filled.Hard)
	for _, u := range filled.Unreached {
		fmt.Fprintf(e.stdout, "not reached: %s: %s\n", u.Path, u.Why)
	}
	return nil
}
