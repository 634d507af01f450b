package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/hearth-survey/hearth/proto/fault"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/protobuf/proto"
)

type tabletAttachCmd struct {
	tabletFile
	Interview string   `help:"Key or id of the interview." required:""`
	Caption   string   `help:"What the files show."`
	Replace   bool     `help:"List these files instead of the interview's attachments so far."`
	Files     []string `arg:"" name:"file" help:"Photos, recordings or files, at most 64 MiB each." type:"existingfile"`
}

// Run keeps the bytes of the files and lists them in a new revision of the interview.
func (c *tabletAttachCmd) Run(e *env) (err error) {
	st, err := c.open(e)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	var all []*surveyv1.Attachment
	for _, path := range c.Files {
		a, err := addFile(e, st, path)
		if err != nil {
			return err
		}
		if c.Caption != "" {
			a.Caption = proto.String(c.Caption)
		}
		all = append(all, a)
		if err := say(e, fmt.Sprintf("%s: %s, %s, %x", path, a.GetMediaType(), byteCount(a.GetSize()), a.GetSha256())); err != nil {
			return err
		}
	}
	added, err := st.Attach(e.ctx, c.Interview, tablet.AttachOptions{Replace: c.Replace}, all...)
	if err != nil {
		return err
	}
	if !added {
		return say(e, "interview "+c.Interview+" lists them already")
	}
	return say(e, fmt.Sprintf("attached %d files to interview %s", len(all), c.Interview))
}

func addFile(e *env, st *tablet.Store, path string) (_ *surveyv1.Attachment, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	a, err := st.AddBlob(e.ctx, f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return a, nil
}

// printBlobs says what a sync did with attachments.
func printBlobs(w io.Writer, r tablet.BlobReport) {
	if r.Sent+r.Held+r.Pending+len(r.Problems) == 0 {
		return
	}
	fmt.Fprintf(w, "sent %d attachments (%s)", r.Sent, byteCount(r.Bytes))
	if r.Held > 0 {
		fmt.Fprintf(w, "; %d were there already", r.Held)
	}
	if r.Pending > 0 {
		fmt.Fprintf(w, "; %d still to send (%s)", r.Pending, byteCount(r.PendingBytes))
	}
	fmt.Fprintln(w)
	if r.Unkept {
		fmt.Fprintf(w, "  %s: this server keeps no attachments: %s\n", fault.BlobsNotKept, fault.BlobsNotKept.Do())
	}
	for _, p := range r.Problems {
		fmt.Fprintf(w, "  attachment %x %s: %s: %s\n", p.SHA256[:8], p.Reason, p.Message, p.Reason.Do())
	}
}

// blobBar draws a bar for attachments on a terminal.
func blobBar(e *env) func(sent, total int64) {
	bar := e.progress("attachments, bytes")
	return func(sent, total int64) { bar(int(sent), int(total)) }
}
