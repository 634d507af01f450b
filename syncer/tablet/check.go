package tablet

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// CheckReport is what Check has found.
type CheckReport struct {
	// Device is the tablet's id in hexadecimal.
	Device string
	// Name, Enumerator and Study say whose tablet it is.
	Name, Enumerator, Study string
	// Records counts the records whose bytes have their digest, Pruned those that were dropped under a receipt, Pending those
	// that no receipt covers yet.
	Records, Pruned, Pending int
	// Lanes counts the lanes; more than one: the store was restored or cloned. Receipts counts those that verify.
	Lanes, Receipts int
	// Blobs counts the attachments whose bytes have their hash, Drafts the interviews that are being filled in.
	Blobs, Drafts int
	// Findings are what is wrong; empty: the store is sound.
	Findings []fault.Finding
}

// Check reads a tablet's store without touching it and says what is wrong and what to do: the digests of records, drafts and
// attachments, the chains of lanes, the signatures of receipts, what was pruned without one, columns that contradict the
// record beside them. The store may be in use, or a copy with its -wal. It fails as OpenForeign does where the file is no
// tablet's; one that is too damaged to say whose it is has that as its finding.
func Check(ctx context.Context, path string, opts *ForeignOptions) (*CheckReport, error) {
	f, err := OpenForeign(ctx, path, opts)
	if fault.ReasonOf(err) == fault.StoreDamaged {
		return &CheckReport{Findings: []fault.Finding{fault.NewFinding(fault.SeverityError, fault.StoreDamaged, path, messageOf(err))}}, nil
	}
	if err != nil {
		return nil, err
	}
	c := &storeCheck{f: f, report: &CheckReport{Device: f.device.String(), Name: f.name, Enumerator: f.enumerator, Study: f.study,
		Records: f.Records(), Lanes: len(f.checked), Blobs: len(f.blobs), Drafts: len(f.drafts)}}
	err = c.run()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return c.report, err
}

// storeCheck is one run of Check.
type storeCheck struct {
	f      *Foreign
	report *CheckReport
}

func (c *storeCheck) find(severity string, reason fault.Reason, subject, format string, args ...any) {
	if len(c.report.Findings) < maxForeignProblems {
		c.report.Findings = append(c.report.Findings, fault.NewFinding(severity, reason, subject, fmt.Sprintf(format, args...)))
	}
}

func (c *storeCheck) run() error {
	for _, p := range c.f.Problems() {
		c.find(fault.SeverityError, p.Reason, p.Subject, "%s", p.Message)
	}
	for _, p := range c.f.mended {
		c.find(fault.SeverityError, p.Reason, p.Subject, "%s; it can still be got out of the file: take it in with import-tablet", p.Message)
	}
	c.receipts()
	c.entries()
	c.attachments()
	return c.columns()
}

// receipts verifies every receipt, and that it is over this store's own chain.
func (c *storeCheck) receipts() {
	lanes := map[syncer.ID]checkedForeign{}
	for _, l := range c.f.checked {
		lanes[l.id.Epoch] = l
	}
	for _, r := range c.f.found.receipts {
		seq := uint64(r.number(receiptSeq))
		name := fmt.Sprintf("receipt %d", r.number(0))
		epoch, err := syncer.ParseID(r.bytes(receiptEpoch))
		if err != nil {
			c.find(fault.SeverityError, fault.StoreDamaged, name, "it names no lane")
			continue
		}
		lane := syncer.LaneID{Device: c.f.device, Epoch: epoch}
		name = fmt.Sprintf("receipt %d over lane %v up to entry %d", r.number(0), lane, seq)
		_, _, err = syncer.VerifyReceipt(&servicev1.Receipt{Lane: lane.Proto(), Seq: proto.Uint64(seq), Chain: r.bytes(receiptChain),
			TimeMs: proto.Int64(r.number(receiptTime)), Keeper: r.bytes(receiptKeeper), Signature: r.bytes(receiptSignature)}, c.f.found.metas[0].server)
		entries := lanes[epoch].entries
		switch {
		case err != nil:
			c.find(fault.SeverityError, fault.ReasonOf(err), name, "%s", messageOf(err))
		case seq > uint64(len(entries)):
			c.find(fault.SeverityError, fault.BadChain, name, "the lane verifies up to entry %d only", len(entries))
		case !bytes.Equal(entries[seq-1].chain[:], r.bytes(receiptChain)):
			c.find(fault.SeverityError, fault.LaneFork, name, "headquarters has signed for another history of the lane")
		default:
			c.report.Receipts++
		}
	}
}

// entries counts what no receipt covers, and tells what headquarters has not taken.
func (c *storeCheck) entries() {
	covered, listed := c.f.underReceipt(c.f.checked), map[syncer.Digest]bool{}
	refused := 0
	for _, l := range c.f.checked {
		for _, e := range l.entries {
			listed[e.digest] = true
			if e.seq <= l.covered && c.f.found.refused[foreignPlace{e.epoch, e.seq}] {
				refused++
			}
		}
	}
	for d := range listed {
		if !covered[d] {
			c.report.Pending++
		}
	}
	for _, cl := range c.f.found.claims {
		if cl.pruned && covered[cl.digest] {
			c.report.Pruned++
		}
	}
	if refused > 0 && c.report.Pending > 0 {
		c.find(fault.SeverityWarning, fault.RecordDamaged, "table answer", "headquarters has not taken the bytes of %d entries; %d records have no receipt", refused, c.report.Pending)
	}
}

// attachments tells which attachments records list and the store does not have, and did not drop.
func (c *storeCheck) attachments() {
	told := map[syncer.BlobID]bool{}
	for _, d := range c.f.order {
		for _, ref := range c.f.found.bodies[d].blobs {
			id, size, err := syncer.ParseBlobRef(ref)
			if err != nil || told[id] || c.f.found.gone[id] || len(c.f.found.pieces[id]) > 0 || size == 0 {
				continue
			}
			told[id] = true
			c.find(fault.SeverityWarning, fault.BlobAbsent, fmt.Sprintf("attachment %x", id), "a record lists it and its %d bytes were never here", size)
		}
	}
}

// columns compares what stands beside the records' bytes with their envelopes.
func (c *storeCheck) columns() error {
	for _, cl := range c.f.found.claims {
		s, good := c.f.good[cl.own]
		if !good || cl.pruned || cl.row == nil {
			continue
		}
		if cl.own != cl.digest {
			c.find(fault.SeverityError, fault.StoreDamaged, cl.title(), "the digest beside the record is not that of its bytes, which are what a lane says")
		}
		body, err := c.f.read(s)
		if err != nil {
			return err
		}
		rec, err := syncer.Open(body)
		if err != nil {
			c.find(fault.SeverityWarning, fault.RecordUnreadable, cl.title(), "%s", messageOf(err))
			continue
		}
		if !bytes.Equal(rec.GetId(), cl.row.id[:]) || int64(rec.GetKind()) != cl.row.kind || rec.GetSubject() != cl.row.subject ||
			rec.GetPart() != cl.row.part || !bytes.Equal(slices.Concat(rec.GetParents()...), cl.row.parents) {
			c.find(fault.SeverityError, fault.StoreDamaged, cl.title(), "the columns beside the record are not those of its envelope; its bytes are whole")
		}
	}
	return nil
}
