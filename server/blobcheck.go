package server

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/server/store/blobs"
	"github.com/hearth-survey/hearth/syncer"
)

const (
	// checkPage is how many records are read at a time.
	checkPage = 500
	// maxBlobFindings is how many findings of a kind are listed one by one.
	maxBlobFindings = 200
)

// wantedBlob is an attachment that records list.
type wantedBlob struct {
	id        syncer.BlobID
	size      int64
	interview string
}

// CheckBlobs hashes every attachment and adds to the report what is damaged (errors), what records list and has not
// arrived, and what no record lists (warnings). It does nothing where no attachments are kept.
func (s *Server) CheckBlobs(ctx context.Context, report *store.Report, progress func(done, total int)) error {
	if s.blobs == nil {
		return nil
	}
	wanted, err := s.wantedBlobs(ctx, func(*servicev1.Record) bool { return true })
	if err != nil {
		return err
	}
	totals, err := s.blobs.Totals()
	if err != nil {
		return err
	}
	c := &blobCheck{report: report, wanted: wanted}
	done := 0
	err = s.blobs.Verify(ctx, func(h blobs.Held) {
		c.held(h)
		if done++; progress != nil {
			progress(done, int(totals.Blobs))
		}
	}, func(path string) {
		c.add(fault.SeverityWarning, fault.BlobUnlisted, path, "a file that is no attachment stands among them", "look what it is, and move it elsewhere")
	})
	if err != nil {
		return err
	}
	c.missing()
	c.rest(fault.BlobUnlisted, "attachments that no record lists", c.orphans)
	c.rest(fault.BlobAbsent, "attachments that have not arrived", c.absent)
	return nil
}

// wantedBlobs reads through the log for what its records list, those for which only is true.
func (s *Server) wantedBlobs(ctx context.Context, only func(*servicev1.Record) bool) (map[syncer.BlobID]wantedBlob, error) {
	wanted := map[syncer.BlobID]wantedBlob{}
	var cursor syncer.Cursor
	for {
		page, next, more, err := s.store.After(ctx, cursor, checkPage)
		if err != nil {
			return nil, fmt.Errorf("read the log for attachments: %w", err)
		}
		for _, st := range page {
			rec, err := syncer.Open(st.Raw)
			if err != nil {
				continue // the check of the log names it
			}
			if rec.GetKind() == servicev1.RecordKind_RECORD_KIND_ERASURE || !only(rec) {
				continue // an erasure lists what is gone
			}
			for _, ref := range rec.GetBlobs() {
				id, size, err := syncer.ParseBlobRef(ref)
				if _, known := wanted[id]; err == nil && !known {
					wanted[id] = wantedBlob{id, size, rec.GetSubject()}
				}
			}
		}
		if !more || len(page) == 0 {
			return wanted, nil
		}
		cursor = next
	}
}

// blobCheck is one run of CheckBlobs.
type blobCheck struct {
	report          *store.Report
	wanted          map[syncer.BlobID]wantedBlob
	orphans, absent int
}

func (c *blobCheck) add(severity string, reason fault.Reason, subject, message, do string) {
	c.report.Findings = append(c.report.Findings, store.Finding{Severity: severity, Reason: reason, Subject: subject, Message: message, Do: do})
}

func (c *blobCheck) warn(reason fault.Reason, subject, message string) {
	c.add(fault.SeverityWarning, reason, subject, message, reason.Do())
}

// held takes note of an attachment that is here.
func (c *blobCheck) held(h blobs.Held) {
	name := "attachment " + hex.EncodeToString(h.ID[:])
	w, listed := c.wanted[h.ID]
	delete(c.wanted, h.ID)
	switch {
	case h.Problem != nil:
		if listed {
			name += " of interview " + w.interview
		}
		c.add(fault.SeverityError, fault.BlobDamaged, name, what(h.Problem), fault.BlobDamaged.Do())
		return
	case !listed:
		if c.orphans++; c.orphans <= maxBlobFindings {
			c.warn(fault.BlobUnlisted, name, fmt.Sprintf("no record lists it (%d bytes)", h.Size))
		}
	case w.size != h.Size:
		c.warn(fault.BlobSizeMismatch, name, fmt.Sprintf("interview %s says it has %d bytes; it has %d", w.interview, w.size, h.Size))
	}
	c.report.Blobs++
}

// what is an error's text without what the catalogue adds, which the finding says by itself.
func what(err error) string {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f.Message
	}
	return err.Error()
}

// missing lists what has not arrived, in order of interview.
func (c *blobCheck) missing() {
	left := slices.SortedFunc(maps.Values(c.wanted), func(a, b wantedBlob) int {
		return cmp.Or(cmp.Compare(a.interview, b.interview), bytes.Compare(a.id[:], b.id[:]))
	})
	c.absent = len(left)
	for _, w := range left[:min(len(left), maxBlobFindings)] {
		c.warn(fault.BlobAbsent, fmt.Sprintf("attachment %x of interview %s", w.id, w.interview), fmt.Sprintf("it has not arrived whole (%d bytes)", w.size))
	}
}

// rest says how many findings were not listed.
func (c *blobCheck) rest(reason fault.Reason, what string, n int) {
	if n > maxBlobFindings {
		c.add(fault.SeverityWarning, reason, "attachments", fmt.Sprintf("%d more %s are not named here", n-maxBlobFindings, what), "see what is to be done about those that are named")
	}
}
