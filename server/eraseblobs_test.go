package server

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// An erasure takes the attachments that no other interview lists, whole or half arrived, also those of a revision in
// quarantine, and those that are brought again.
func TestErasedAttachments(t *testing.T) {
	eachStore(t, func(t *testing.T, d *desk) {
		kept, dir := keepBlobs(t, d)
		ctx, review := with(t.Context()), servicev1.NewReviewServiceClient(d.conn)
		own, ownRef := photo(1, 3000)
		shared, sharedRef := photo(2, 3000)
		half, halfRef := photo(3, 3000)
		late, lateRef := photo(4, 3000)
		tb := newTablet("photographer")
		tb.greet(t, d)
		a, b := household(1), household(2)
		list, listed := withPhotos(a, ownRef, sharedRef, halfRef), withPhotos(b, sharedRef)
		tb.push(t, d, tb.record(t, a, list), tb.record(t, b, listed))
		send(t, d, own, ownRef)
		send(t, d, shared, sharedRef)
		if _, err := servicev1.NewSyncServiceClient(d.conn).PutChunk(ctx, syncer.NewChunk(halfRef, 0, half[:1000])); err != nil {
			t.Fatal(err)
		}
		if _, err := review.WithdrawInterview(ctx, &servicev1.WithdrawInterviewRequest{InterviewId: a.InterviewId}); err != nil {
			t.Fatal(err)
		}
		again := proto.CloneOf(a)
		again.Attachments = nil
		more := withPhotos(again, lateRef)
		tb.push(t, d, tb.record(t, again, more))
		send(t, d, late, lateRef)
		erase := &servicev1.EraseInterviewRequest{InterviewId: a.InterviewId, DecidedBy: proto.String("督导")}
		for range 2 {
			if _, err := review.EraseInterview(ctx, erase); err != nil {
				t.Fatal(err)
			}
			for name, ref := range map[string]*servicev1.BlobRef{"own": ownRef, "half arrived": halfRef, "late": lateRef} {
				if st, err := kept.Stat(ref); err != nil || st.GetComplete() || len(st.GetHave()) > 0 {
					t.Errorf("the attachment %s is still there: %v, %v", name, st, err)
				}
			}
			if !kept.Has(sharedRef) {
				t.Error("the attachment of another interview is gone")
			}
			send(t, d, own, ownRef) // a tablet that does not know brings it again
		}
		if _, err := review.EraseInterview(ctx, erase); err != nil || kept.Has(ownRef) {
			t.Errorf("an attachment brought again stays after erasing again: %v", err)
		}
		totals, err := kept.Totals()
		if err != nil || totals.Blobs != 1 || totals.Bytes != 3000 || totals.Pending != 0 {
			t.Errorf("totals = %+v, %v; want the shared one", totals, err)
		}
		files := 0
		if err := filepath.WalkDir(dir, func(_ string, e os.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				files++
			}
			return err
		}); err != nil || files != 1 {
			t.Errorf("%d files, %v; want 1", files, err)
		}
		stream, err := servicev1.NewSyncServiceClient(d.conn).GetBlob(ctx, &servicev1.GetBlobRequest{Sha256: ownRef.Sha256})
		if err != nil {
			t.Fatal(err)
		}
		_, err = stream.Recv()
		wants(t, err, codes.NotFound, fault.NoSuchBlob)
	})
}

// cutShort is a store that ends in the middle of an erasure, once.
type cutShort struct {
	store.Store
	cut bool
}

func (c *cutShort) Erase(ctx context.Context, part uint64, subject string) (store.Erased, error) {
	if !c.cut {
		c.cut = true
		return store.Erased{}, fault.New(fault.Unavailable, fault.DiskFull, "the disk is full")
	}
	return c.Store.Erase(ctx, part, subject)
}

// An erasure that was decided and cut short is found, and calling it again finishes it.
func TestErasureCutShort(t *testing.T) {
	d := newDesk(t, &cutShort{Store: openSQLite(t, t.TempDir())})
	ctx, review := with(t.Context()), servicev1.NewReviewServiceClient(d.conn)
	tb := newTablet("cut")
	tb.greet(t, d)
	iv := household(1)
	tb.push(t, d, tb.record(t, iv, nil))
	if _, err := review.WithdrawInterview(ctx, &servicev1.WithdrawInterviewRequest{InterviewId: iv.InterviewId}); err != nil {
		t.Fatal(err)
	}
	erase := &servicev1.EraseInterviewRequest{InterviewId: iv.InterviewId}
	_, err := review.EraseInterview(ctx, erase)
	wants(t, err, codes.Unavailable, fault.DiskFull)
	for _, want := range []int{1, 0} {
		report := &store.Report{}
		if err := d.CheckErasures(t.Context(), report); err != nil || len(report.Findings) != want {
			t.Errorf("findings = %v, %v; want %d", report.Findings, err, want)
		}
		if done, err := review.EraseInterview(ctx, erase); err != nil || done.GetRevisions() != 1 {
			t.Errorf("erase again = %v, %v", done, err)
		}
	}
}
