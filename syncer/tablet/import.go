package tablet

import (
	"context"
	"errors"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/grpc"
)

// ImportReport is what Import did.
type ImportReport struct {
	Device syncer.ID
	Name   string
	// Records counts the good records in the file, Salvaged those of them that SQLite could not read any more.
	Records, Salvaged int
	// Sent counts those headquarters had not held, Duplicates those it held.
	Sent, Duplicates int
	// Quarantined and Refused are what headquarters said.
	Quarantined, Refused []EntryReport
	// Forks counts the lanes that headquarters holds with another continuation. The records are kept all the same.
	Forks int
	// Drafts counts the interviews that are not complete. They stay in the file.
	Drafts int
	// BlobsSent counts the attachments headquarters had not held whole, BlobsHeld those it held.
	BlobsSent, BlobsHeld int
	// Problems are what could not be read.
	Problems []Problem
}

// Import brings a tablet's file to a server: what OpenForeign reads goes the ordinary way, as from the tablet itself.
// Importing again, or importing an old copy, adds nothing that is there.
func Import(ctx context.Context, path string, conn grpc.ClientConnInterface, opts *ForeignOptions) (report ImportReport, err error) {
	f, err := OpenForeign(ctx, path, opts)
	if err != nil {
		return report, err
	}
	defer func() {
		report.Problems = f.Problems()
		err = errors.Join(err, f.Close())
	}()
	report.Device, report.Name, report.Records, report.Salvaged, report.Drafts = f.device, f.name, f.Records(), f.Salvaged(), len(f.drafts)
	if opts != nil && opts.Drafts != nil {
		if err := opts.Drafts(f.Drafts()); err != nil {
			return report, err
		}
	}
	client := servicev1.NewSyncServiceClient(conn)
	hello, err := client.Hello(ctx, f.Hello())
	if err != nil {
		return report, wireFault(err, "introduce the tablet")
	}
	forked := map[string]bool{}
	done := 0
	for batch, err := range f.Batches(ctx, limitsOf(hello.GetLimits())) {
		if err != nil {
			return report, err
		}
		resp, err := client.PushBatch(ctx, &servicev1.PushBatchRequest{Batch: batch})
		if err != nil {
			return report, wireFault(err, "send records of the tablet")
		}
		if resp.GetAck().GetFork() {
			forked[string(batch.GetLane().GetEpoch())] = true
		}
		report.tally(batch, resp.GetAck())
		if done += len(batch.GetEntries()); opts != nil && opts.Progress != nil {
			opts.Progress(done)
		}
	}
	report.Forks = len(forked)
	return report, f.sendBlobs(ctx, client, &report)
}

func (r *ImportReport) tally(b *servicev1.Batch, ack *servicev1.BatchAck) {
	results := map[uint64]*servicev1.EntryResult{}
	for _, res := range ack.GetResults() {
		results[res.GetSeq()] = res
	}
	for i, e := range b.GetEntries() {
		seq := b.GetFirstSeq() + uint64(i)
		res := results[seq]
		entry := EntryReport{Seq: seq, Reason: fault.Reason(res.GetReason()), Message: res.GetMessage()}
		if rec, err := syncer.Open(e.GetRecord()); err == nil {
			entry.Subject = rec.GetSubject()
		}
		switch res.GetOutcome() {
		case servicev1.EntryOutcome_ENTRY_OUTCOME_DUPLICATE:
			r.Duplicates++
		case servicev1.EntryOutcome_ENTRY_OUTCOME_REFUSED:
			r.Refused = append(r.Refused, entry)
		case servicev1.EntryOutcome_ENTRY_OUTCOME_QUARANTINED:
			r.Quarantined = append(r.Quarantined, entry)
			if len(e.GetRecord()) > 0 {
				r.Sent++
			}
		default:
			r.Sent++
		}
	}
}
