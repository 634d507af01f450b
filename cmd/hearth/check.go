package main

import (
	"errors"
	"fmt"

	"github.com/hearth-survey/hearth/server/store"
)

// checkCmd checks a server's folder, whose server is not running.
type checkCmd struct {
	Data    string `help:"Folder of the server; it must not be running." required:"" env:"HEARTH_DATA" type:"path"`
	Rebuild bool   `help:"Also make every projection again from the log and compare, byte for byte."`
	JSON    bool   `help:"Print JSON."`
}

// Run checks and says what is wrong and what to do about it.
func (c *checkCmd) Run(e *env) (err error) {
	report, err := checkFolder(e, c.Data, c.Rebuild)
	if err != nil {
		return err
	}
	if c.JSON {
		if err := printAnyJSON(e.stdout, report); err != nil {
			return err
		}
	} else {
		printReport(e, report)
	}
	for _, f := range report.Findings {
		if f.Severity == "error" {
			return errFound
		}
	}
	return nil
}

func checkFolder(e *env, dir string, rebuild bool) (report *store.Report, err error) {
	node, err := openNode(e.ctx, dir, nodeOptions{mustExist: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, node.close()) }()
	opts := store.CheckOptions{Progress: e.progress("check")}
	if rebuild {
		if err := node.server.Project(e.ctx); err != nil {
			return nil, err
		}
		opts.Rebuild = node.server.Rebuild
	}
	if report, err = node.store.Check(e.ctx, opts); err != nil {
		return nil, err
	}
	if err := node.server.CheckErasures(e.ctx, report); err != nil {
		return nil, err
	}
	if err := node.server.CheckHub(e.ctx, report); err != nil {
		return nil, err
	}
	return report, node.server.CheckBlobs(e.ctx, report, e.progress("check attachments"))
}

func printReport(e *env, r *store.Report) {
	wrong := 0
	for _, f := range r.Findings {
		if f.Severity == "error" {
			wrong++
		}
		fmt.Fprintf(e.stdout, "%s: %s: %s\n    do: %s\n", f.Severity, f.Subject, f.Message, f.Do)
	}
	verdict := "ok"
	switch {
	case wrong > 0:
		verdict = fmt.Sprintf("NOT ok: %d errors", wrong)
	case len(r.Findings) > 0:
		verdict = fmt.Sprintf("ok, with %d warnings", len(r.Findings))
	}
	rebuilt := ""
	if r.Rebuilt {
		rebuilt = "; projections made again and equal, byte for byte"
		if wrong > 0 {
			rebuilt = "; projections made again"
		}
	}
	erased := ""
	if r.Erased > 0 {
		erased = fmt.Sprintf(" (%d erased)", r.Erased)
	}
	attachments := ""
	if r.Blobs > 0 {
		attachments = fmt.Sprintf(", %d attachments", r.Blobs)
	}
	fmt.Fprintf(e.stdout, "%s: %d records%s in %d lanes%s, %d in quarantine%s\n", verdict, r.Records, erased, r.Lanes, attachments, r.Quarantined, rebuilt)
}
