package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/study"
	"google.golang.org/protobuf/encoding/protojson"
)

// simulateCmd makes a study with known truth, fills a questionnaire with answers, or tells what happens to a field team when
// everything fails that can.
type simulateCmd struct {
	Households int    `help:"How many households: 1000, or with --published the 1736 of the published study."`
	Tablets    int    `help:"How many tablets share them." default:"10"`
	Seed       uint64 `help:"Seed: the same seed makes the same study, or tells the same story." default:"1"`
	Out        string `short:"o" help:"Folder to write to; must be empty or not exist." type:"path"`

	Published string `help:"Households in cities of 29 provinces, as in the published study that study/TABLES.md is about, each met once; 3.1 follows its Table 3.1, 3.2 decides by the model of its Table 3.2 who owns a home." enum:",3.1,3.2" default:"" placeholder:"3.1|3.2"`

	Form       string `help:"Instead: fill interviews of this questionnaire, every question at least once where that can be: the name of one that ships with Hearth, a .proto file, an XLSForm (.xlsx)." placeholder:"NAME|FILE"`
	Interviews int    `help:"With --form: how many interviews, which --tablets share." default:"20"`
	Study      string `help:"With --form: code of the study." default:"simulated"`

	Faults  bool   `help:"Instead: tell stories of tablets and headquarters in memory, on disks that lose power and links that lose calls, and see that nothing is lost or doubled."`
	Seeds   int    `help:"How many stories to tell with --faults, from --seed on." default:"200"`
	Story   string `help:"Tell this story with --faults: steps with ' -> ' between them, as a failure prints them." placeholder:"STEPS"`
	Verbose bool   `short:"v" help:"Tell the story of --seed alone with --faults, and print all that happens."`
	JSON    bool   `help:"Print JSON with --faults or --form."`
}

// Run writes OUT/study.json, OUT/tablets/*.jsonl and OUT/truth/*.csv.
func (c *simulateCmd) Run(e *env) (err error) {
	if c.Faults {
		return c.runFaults(e)
	}
	if c.Form != "" {
		return c.runForm(e)
	}
	if c.Out == "" {
		return fmt.Errorf("%w: name a folder to write to with -o, or tell stories with --faults", errUsage)
	}
	if c.Households == 0 {
		c.Households = 1000
		if c.Published != "" {
			c.Households = study.PublishedHouseholds
		}
	}
	if c.Households < 1 || c.Tablets < 1 || c.Tablets > 10_000 {
		return fmt.Errorf("%w: --households and --tablets must be at least 1, --tablets at most 10000", errUsage)
	}
	if err := emptyFolder(c.Out); err != nil {
		return err
	}
	opts := study.SimulateOptions{Households: c.Households, Tablets: c.Tablets, Seed: c.Seed}
	out, err := newLines(filepath.Join(c.Out, "tablets"), c.Tablets)
	if err != nil {
		return err
	}
	model, err := c.published(&opts)
	if err != nil {
		return err
	}
	bar, done := e.progress("simulate"), 0
	truth, err := study.Simulate(opts, func(tablet int, iv *surveyv1.Interview) error {
		if c.Published != "" {
			study.Published(done, iv)
		}
		if model != nil {
			model.Decide(done, iv)
		}
		done++
		bar(done, max(done, c.Households))
		return out.write(tablet, iv)
	})
	if err = errors.Join(err, out.close()); err != nil {
		return err
	}
	if err := truth.WriteCSV(filepath.Join(c.Out, "truth")); err != nil {
		return err
	}
	if model != nil {
		if err := c.writeModel(model); err != nil {
			return err
		}
	}
	def, err := protojson.MarshalOptions{UseProtoNames: true, Multiline: true}.Marshal(study.SimulatedStudy(opts))
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(c.Out, "study.json"), func(w io.Writer) error { _, err := w.Write(def); return err }); err != nil {
		return err
	}
	return say(e, fmt.Sprintf("wrote %d interviews for %d tablets to %s, and the truth to %s", done, c.Tablets, filepath.Join(c.Out, "tablets"), filepath.Join(c.Out, "truth")))
}

// published makes the options those of the published study, and the model where homes are owned by it.
func (c *simulateCmd) published(opts *study.SimulateOptions) (*study.Model, error) {
	if c.Published == "" {
		return nil, nil
	}
	opts.DuplicateRate = -1
	if c.Published == "3.2" {
		return study.NewModel(c.Seed)
	}
	return nil, nil
}

// writeModel writes what the model was made of beside the truth, and the script that fits it.
func (c *simulateCmd) writeModel(m *study.Model) error {
	if err := m.WriteCSV(filepath.Join(c.Out, "truth")); err != nil {
		return err
	}
	return writeFile(filepath.Join(c.Out, "table32.R"), func(w io.Writer) error { _, err := io.WriteString(w, study.Table32); return err })
}

// emptyFolder makes a folder, or fails if there is something in it.
func emptyFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty: name another folder, or delete it", dir)
	}
	return nil
}

// lines writes one file of JSON lines per tablet.
type lines struct {
	files []*os.File
	bufs  []*bufio.Writer
}

func newLines(dir string, tablets int) (*lines, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	l := &lines{}
	for i := range tablets {
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("tablet-%03d.jsonl", i+1)))
		if err != nil {
			return nil, errors.Join(err, l.close())
		}
		l.files, l.bufs = append(l.files, f), append(l.bufs, bufio.NewWriterSize(f, 16<<10))
	}
	return l, nil
}

func (l *lines) write(tablet int, iv *surveyv1.Interview) error {
	raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(iv)
	if err != nil {
		return err
	}
	return l.line(tablet, compact(raw))
}

func (l *lines) line(tablet int, text []byte) error {
	_, err := l.bufs[tablet].Write(append(text, '\n'))
	return err
}

func (l *lines) close() error {
	var err error
	for i := range l.files {
		err = errors.Join(err, l.bufs[i].Flush(), l.files[i].Close())
	}
	return err
}
