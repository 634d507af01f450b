package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/proto/paradata"
	"github.com/hearth-survey/hearth/syncer/tablet"
)

// paradataCmd shows how the answers of an interview came about.
type paradataCmd struct {
	target
	Interview string `arg:"" help:"The interview's id."`
	JSON      bool   `help:"Print JSON: what tablet load --paradata reads, times in steps of about 4 %."`
}

// Run prints the visits.
func (c *paradataCmd) Run(e *env) (err error) {
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cc.Close()) }()
	resp, err := servicev1.NewMonitorServiceClient(cc).GetParadata(e.ctx, &servicev1.GetParadataRequest{InterviewId: &c.Interview})
	if err != nil {
		return err
	}
	rows := [][]string{{"began (UTC)", "took", "changes", "question"}}
	for _, p := range resp.GetParadata() {
		t, err := paradata.Decode(p)
		if err != nil {
			return err
		}
		if c.JSON {
			if err := printAnyJSON(e.stdout, t); err != nil {
				return err
			}
		}
		for _, v := range t.Visits {
			rows = append(rows, []string{time.UnixMilli(v.StartMS).UTC().Format("2006-01-02 15:04:05"), time.Duration(v.Duration * int64(time.Millisecond)).String(), fmt.Sprint(v.Changes), v.Question})
		}
	}
	if c.JSON {
		return nil
	}
	if len(rows) == 1 {
		return say(e, "no paradata have come for this interview")
	}
	return table(e.stdout, rows)
}

// loadParadata adds a file of paradata to a tablet's store.
func loadParadata(e *env, st *tablet.Store, path string) error {
	var in io.Reader = e.stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	report, err := st.LoadParadata(e.ctx, in)
	if err != nil {
		return err
	}
	for _, p := range report.Problems {
		fmt.Fprintf(e.stderr, "%v: %s\n", p, p.Reason.Do())
	}
	fmt.Fprintf(e.stdout, "%d lines: paradata of %d interviews added, %d unchanged, %d not loaded\n", report.Lines, report.Added, report.Unchanged, len(report.Problems))
	if len(report.Problems) > 0 {
		return errFound
	}
	return nil
}
