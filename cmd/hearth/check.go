package main

import (
	"errors"
	"fmt"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer/tablet"
)

// checkCmd checks a server's folder, whose server is not running, or a tablet's file.
type checkCmd struct {
	File    string `arg:"" optional:"" help:"A tablet's file, or a copy of it with its -wal. It is read only, and may be in use." type:"existingfile"`
	Data    string `help:"Folder of a headquarters or a hub; it must not be running." env:"HEARTH_DATA" type:"path"`
	Rebuild bool   `help:"Also make every projection again from the log and compare, byte for byte."`
	JSON    bool   `help:"Print JSON."`
}

// Run checks and says what is wrong and what to do about it.
func (c *checkCmd) Run(e *env) (err error) {
	if c.File != "" {
		return c.checkTablet(e)
	}
	if c.Data == "" {
		return fmt.Errorf("%w: name a tablet's file, or a server's folder with --data", errUsage)
	}
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
	return found(report.Findings)
}

// found is the exit code of a check.
func found(all []fault.Finding) error {
	for _, f := range all {
		if f.Severity == fault.SeverityError {
			return errFound
		}
	}
	return nil
}

// checkTablet checks a tablet's file.
func (c *checkCmd) checkTablet(e *env) error {
	if c.Rebuild {
		return fmt.Errorf("%w: a tablet's store has no projections: --rebuild is for servers", errUsage)
	}
	r, err := tablet.Check(e.ctx, c.File, &tablet.ForeignOptions{Command: readForeignCommand()})
	if err != nil {
		return err
	}
	if c.JSON {
		if err := printAnyJSON(e.stdout, r); err != nil {
			return err
		}
		return found(r.Findings)
	}
	verdict := printFindings(e, r.Findings)
	fmt.Fprintf(e.stdout, "%s: %s of %s, study %s: %d records (%d more pruned, %d without a receipt) in %d lanes, %d receipts, %d attachments, %d drafts\n",
		verdict, r.Name, r.Enumerator, r.Study, r.Records, r.Pruned, r.Pending, r.Lanes, r.Receipts, r.Blobs, r.Drafts)
	return found(r.Findings)
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
		if err := node.server.Reevaluate(e.ctx, e.progress("flags by the newest rules")); err != nil {
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

// printFindings prints what was found and returns the verdict.
func printFindings(e *env, all []fault.Finding) string {
	wrong := 0
	for _, f := range all {
		if f.Severity == fault.SeverityError {
			wrong++
		}
		fmt.Fprintf(e.stdout, "%s: %s: %s: %s\n    do: %s\n", f.Severity, f.Subject, f.Reason, f.Message, f.Do)
	}
	switch {
	case wrong > 0:
		return fmt.Sprintf("NOT ok: %d errors", wrong)
	case len(all) > 0:
		return fmt.Sprintf("ok, with %d warnings", len(all))
	}
	return "ok"
}

func printReport(e *env, r *store.Report) {
	verdict := printFindings(e, r.Findings)
	wrong := found(r.Findings) != nil
	rebuilt := ""
	if r.Rebuilt {
		rebuilt = "; projections made again and equal, byte for byte"
		if wrong {
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
