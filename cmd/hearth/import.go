package main

import (
	"fmt"
	"io"
	"os"
	"slices"

	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/protobuf/encoding/protojson"
)

// importTabletCmd takes in a tablet's file that was copied by hand.
type importTabletCmd struct {
	target
	File string `arg:"" help:"The tablet's file, with its -wal beside it if there is one." type:"existingfile"`
	JSON bool   `help:"Print JSON."`

	Drafts string `help:"File to write the interviews to that were still being filled in: JSON lines, as tablet load reads them. It holds answers." placeholder:"FILE" type:"path"`
}

// Run takes in every good record and names the bad ones.
func (c *importTabletCmd) Run(e *env) error {
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	bar := e.progress("import")
	opts := &tablet.ForeignOptions{Command: readForeignCommand(), Progress: func(done int) { bar(done, -1) }}
	if c.Drafts != "" {
		opts.Drafts = func(all []*surveyv1.Interview) error { return writeDrafts(c.Drafts, all) }
	}
	r, err := tablet.Import(e.ctx, c.File, cc, opts)
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

// writeDrafts writes interviews as JSON lines.
func writeDrafts(path string, all []*surveyv1.Interview) error {
	return writeWhole(path, func(w io.Writer) error {
		for _, iv := range all {
			raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(iv)
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(w, "%s\n", compact(raw)); err != nil {
				return err
			}
		}
		return nil
	})
}

// readForeignCmd is the process that reads a tablet's file for another: the program calls itself.
type readForeignCmd struct {
	Pass    string `arg:"" help:"How."`
	Seconds string `arg:"" help:"For how long at most."`
}

// Run reads.
func (c *readForeignCmd) Run(e *env) error {
	if code := tablet.ServeChild([]string{c.Pass, c.Seconds}, e.stdout, e.stderr); code != 0 {
		return errFound
	}
	return nil
}

// readForeignCommand is how this program calls itself to read a tablet's file: by the name by which it was called.
func readForeignCommand() []string { return []string{os.Args[0], tablet.ChildVerb} }

func printImport(e *env, r tablet.ImportReport) {
	fmt.Fprintf(e.stdout, "%s: %d records taken in, %d held already\n", r.Name, r.Sent, r.Duplicates)
	if r.BlobsSent+r.BlobsHeld > 0 {
		fmt.Fprintf(e.stdout, "  %d attachments taken in, %d held already\n", r.BlobsSent, r.BlobsHeld)
	}
	if r.Salvaged > 0 {
		fmt.Fprintf(e.stdout, "  %d of the %d good records could not be read by SQLite; they were picked out of the file's pages\n", r.Salvaged, r.Records)
	}
	if r.Forks > 0 {
		fmt.Fprintln(e.stdout, "  this is a copy of a tablet that went on elsewhere; both branches are kept")
	}
	if r.Drafts > 0 {
		fmt.Fprintf(e.stdout, "  %d interviews are not complete; they stay in the file (--drafts writes them out)\n", r.Drafts)
	}
	for _, p := range slices.Concat(r.Quarantined, r.Refused) {
		fmt.Fprintf(e.stdout, "  entry %d %s: %s: %s\n", p.Seq, p.Reason, p.Message, p.Reason.Do())
	}
	for _, p := range r.Problems {
		fmt.Fprintf(e.stdout, "  %v: %s\n", p, p.Reason.Do())
	}
}
