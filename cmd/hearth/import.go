package main

import (
	"fmt"
	"slices"

	"github.com/hearth-survey/hearth/syncer/tablet"
)

// importTabletCmd takes in a tablet's file that was copied by hand.
type importTabletCmd struct {
	target
	File string `arg:"" help:"The tablet's file, with its -wal beside it if there is one." type:"existingfile"`
	JSON bool   `help:"Print JSON."`
}

// Run takes in every good record and names the bad ones.
func (c *importTabletCmd) Run(e *env) error {
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	bar := e.progress("import")
	r, err := tablet.Import(e.ctx, c.File, cc, func(done int) { bar(done, -1) })
	if err != nil {
		return err
	}
	if c.JSON {
		if err := printAnyJSON(e.stdout, r); err != nil {
			return err
		}
	} else {
		printImport(e, r)
	}
	if len(r.Problems)+len(r.Refused) > 0 {
		return errFound
	}
	return nil
}

func printImport(e *env, r tablet.ImportReport) {
	fmt.Fprintf(e.stdout, "%s: %d records taken in, %d held already\n", r.Name, r.Sent, r.Duplicates)
	if r.BlobsSent+r.BlobsHeld > 0 {
		fmt.Fprintf(e.stdout, "  %d attachments taken in, %d held already\n", r.BlobsSent, r.BlobsHeld)
	}
	if r.Forks > 0 {
		fmt.Fprintln(e.stdout, "  this is a copy of a tablet that went on elsewhere; both branches are kept")
	}
	if r.Drafts > 0 {
		fmt.Fprintf(e.stdout, "  %d interviews are not complete; they stay in the file\n", r.Drafts)
	}
	for _, p := range slices.Concat(r.Quarantined, r.Refused) {
		fmt.Fprintf(e.stdout, "  entry %d %s: %s: %s\n", p.Seq, p.Reason, p.Message, p.Reason.Do())
	}
	for _, p := range r.Problems {
		fmt.Fprintf(e.stdout, "  %v: %s\n", p, p.Reason.Do())
	}
}
