package server

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
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
