package server

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	device "github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/grpc"
)

// tokenConn makes every call carry the server's token.
type tokenConn struct{ grpc.ClientConnInterface }

func (c tokenConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return c.ClientConnInterface.Invoke(with(ctx), method, args, reply, opts...)
}

// Tablets with the same photo, each with one of its own, sync at the same moment with a server that keeps files.
func TestSameBlobFromTwoTabletsAtOnce(t *testing.T) {
	ctx := t.Context()
	d := newDesk(t, openSQLite(t, t.TempDir()))
	kept, _ := keepBlobs(t, d)
	same, ref := photo(1, 1_200_000)
	const team = 4
	refs := []*servicev1.BlobRef{ref}
	var tablets []*device.Store
	for i := range team {
		s, err := device.Create(ctx, filepath.Join(t.TempDir(), "t.sqlite"), device.CreateOptions{Name: fmt.Sprint("tablet-", i), Enumerator: "E1", Study: "guiyang"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		own, ownRef := photo(byte(10+i), 90_000)
		refs = append(refs, ownRef)
		iv := household(i)
		version := uint32(1)
		iv.QuestionnaireVersion = &version
		if _, _, err := s.AddInterview(ctx, iv); err != nil {
			t.Fatal(err)
		}
		for _, file := range [][]byte{same, own} {
			a, err := s.AddBlob(ctx, bytes.NewReader(file))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Attach(ctx, iv.GetInterviewId(), device.AttachOptions{}, a); err != nil {
				t.Fatal(err)
			}
		}
		tablets = append(tablets, s)
	}
	var wg sync.WaitGroup
	for _, s := range tablets {
		wg.Go(func() {
			r, err := s.Sync(ctx, tokenConn{d.conn}, device.SyncOptions{})
			if err != nil || r.Blobs.Sent+r.Blobs.Held != 2 || r.Blobs.Pending != 0 || len(r.Blobs.Problems) != 0 {
				t.Errorf("%s: %+v, %v", s.Name(), r.Blobs, err)
			}
		})
	}
	wg.Wait()
	if totals, err := kept.Totals(); err != nil || totals.Blobs != team+1 || totals.Bytes != 1_200_000+team*90_000 || totals.Pending != 0 {
		t.Errorf("kept: %+v, %v", totals, err)
	}
	if got, err := fetch(t, d, ref, 0); err != nil || !bytes.Equal(got, same) {
		t.Errorf("the photo comes back as %d bytes, %v", len(got), err)
	}
	resp, err := servicev1.NewMonitorServiceClient(d.conn).ListInterviews(with(ctx), &servicev1.ListInterviewsRequest{})
	if err != nil || len(resp.GetInterviews()) != team {
		t.Fatalf("%v, %d interviews", err, len(resp.GetInterviews()))
	}
	for _, s := range resp.GetInterviews() {
		if len(s.GetAttachments()) != 2 || s.GetAttachmentsMissing() != 0 {
			t.Errorf("interview %s: %d attachments, %d missing", s.GetInterviewKey(), len(s.GetAttachments()), s.GetAttachmentsMissing())
		}
	}
	for _, r := range refs {
		if !kept.Has(r) {
			t.Errorf("attachment %x is not here", r.GetSha256()[:4])
		}
	}
}
