package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/server/store/blobs"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// keepBlobs gives a desk a folder of attachments, as Config.Blobs does.
func keepBlobs(t testing.TB, d *desk) (*blobs.Store, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "blobs")
	kept, err := blobs.Open(dir, blobs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d.Server.blobs = kept
	return kept, dir
}

// photo is n bytes that do not repeat, and their name.
func photo(seed byte, n int) ([]byte, *servicev1.BlobRef) {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	sum := sha256.Sum256(b)
	return b, &servicev1.BlobRef{Sha256: sum[:], Size: proto.Int64(int64(n)), MediaType: proto.String("image/jpeg")}
}

// withPhotos lists attachments in an interview and its envelope.
func withPhotos(iv *surveyv1.Interview, refs ...*servicev1.BlobRef) func(*servicev1.Record) {
	for _, r := range refs {
		iv.Attachments = append(iv.Attachments, &surveyv1.Attachment{Sha256: r.Sha256, Size: r.Size, MediaType: r.MediaType})
	}
	return func(rec *servicev1.Record) { rec.Blobs = refs }
}

// send brings an attachment in pieces of 1000 bytes.
func send(t testing.TB, d *desk, b []byte, ref *servicev1.BlobRef) {
	t.Helper()
	client := servicev1.NewSyncServiceClient(d.conn)
	for at := 0; at == 0 || at < len(b); at += 1000 {
		resp, err := client.PutChunk(with(t.Context()), syncer.NewChunk(ref, int64(at), b[at:min(at+1000, len(b))]))
		if err != nil {
			t.Fatal(err)
		}
		if done := at+1000 >= len(b); resp.GetBlob().GetComplete() != done {
			t.Errorf("after byte %d of %d: complete = %v", at+1000, len(b), !done)
		}
	}
}

func fetch(t testing.TB, d *desk, ref *servicev1.BlobRef, offset int64) ([]byte, error) {
	t.Helper()
	stream, err := servicev1.NewSyncServiceClient(d.conn).GetBlob(with(t.Context()), &servicev1.GetBlobRequest{Sha256: ref.Sha256, Offset: proto.Int64(offset)})
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, m.GetData()...)
	}
}

func TestAttachmentsOfAnInterview(t *testing.T) {
	eachStore(t, func(t *testing.T, d *desk) {
		keepBlobs(t, d)
		tb := newTablet("tablet-01")
		tb.greet(t, d)
		a, refA := photo(1, 300_000)
		b, refB := photo(2, 1500)
		iv := household(1)
		tb.push(t, d, tb.record(t, iv, withPhotos(iv, refA, refB, refA)), tb.record(t, household(2), nil))
		summary := func() *servicev1.InterviewSummary {
			t.Helper()
			resp, err := servicev1.NewMonitorServiceClient(d.conn).ListInterviews(with(t.Context()), &servicev1.ListInterviewsRequest{})
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range resp.GetInterviews() {
				if s.GetInterviewId() == iv.GetInterviewId() {
					return s
				} else if len(s.GetAttachments()) > 0 || s.AttachmentsMissing != nil {
					t.Errorf("an interview without attachments says %v", s)
				}
			}
			t.Fatal("the interview is not listed")
			return nil
		}
		if s := summary(); len(s.GetAttachments()) != 2 || s.GetAttachmentsMissing() != 2 {
			t.Errorf("before: %d attachments, %d missing, want 2 and 2", len(s.GetAttachments()), s.GetAttachmentsMissing())
		}
		send(t, d, b, refB)
		if s := summary(); s.GetAttachmentsMissing() != 1 {
			t.Errorf("between: %d missing, want 1", s.GetAttachmentsMissing())
		}
		send(t, d, a, refA)
		if s := summary(); s.GetAttachmentsMissing() != 0 {
			t.Errorf("after: %d missing, want 0", s.GetAttachmentsMissing())
		}
		for _, at := range []int64{0, 1, 262_144, 299_999, 300_000} {
			if got, err := fetch(t, d, refA, at); err != nil || !bytes.Equal(got, a[at:]) {
				t.Errorf("from byte %d: %d bytes, %v", at, len(got), err)
			}
		}
		metrics := httptest.NewRecorder()
		d.MetricsHandler().ServeHTTP(metrics, httptest.NewRequest("GET", "/metrics", nil))
		if !strings.Contains(metrics.Body.String(), "hearth_blob_chunks_total 302") {
			t.Error("the pieces are not in the metrics")
		}
	})
}

func TestRefusedAttachments(t *testing.T) {
	d := newDesk(t, newMemory())
	client := servicev1.NewSyncServiceClient(d.conn)
	b, ref := photo(3, 5000)
	good := syncer.NewChunk(ref, 0, b[:1000])
	for _, call := range []func() error{
		func() error { _, err := client.PutChunk(with(t.Context()), good); return err },
		func() error {
			_, err := client.BlobStat(with(t.Context()), &servicev1.BlobStatRequest{Blobs: []*servicev1.BlobRef{ref}})
			return err
		},
		func() error { _, err := fetch(t, d, ref, 0); return err },
	} {
		wants(t, call(), codes.FailedPrecondition, fault.BlobsNotKept)
	}
	keepBlobs(t, d)
	chunk := func(change func(*servicev1.PutChunkRequest)) *servicev1.PutChunkRequest {
		c := proto.CloneOf(good)
		change(c)
		return c
	}
	for name, tt := range map[string]struct {
		req    *servicev1.PutChunkRequest
		code   codes.Code
		reason fault.Reason
	}{
		"wrong crc":       {chunk(func(c *servicev1.PutChunkRequest) { c.Crc32C = proto.Uint32(7) }), codes.InvalidArgument, fault.BadChunk},
		"negative offset": {chunk(func(c *servicev1.PutChunkRequest) { c.Offset = proto.Int64(-5) }), codes.InvalidArgument, fault.BadChunk},
		"far offset":      {chunk(func(c *servicev1.PutChunkRequest) { c.Offset = proto.Int64(1<<63 - 1) }), codes.InvalidArgument, fault.BadChunk},
		"nothing said":    {&servicev1.PutChunkRequest{}, codes.InvalidArgument, fault.BadRequest},
		"larger than the limit": {chunk(func(c *servicev1.PutChunkRequest) { c.Blob.Size = proto.Int64(syncer.MaxBlobBytes + 1) }),
			codes.ResourceExhausted, fault.BlobTooLarge},
		"piece over 1 MiB": {syncer.NewChunk(&servicev1.BlobRef{Sha256: ref.Sha256, Size: proto.Int64(3 << 20)}, 0, make([]byte, 1<<20+1)),
			codes.ResourceExhausted, fault.BadChunk},
		"piece over 4 MiB": {syncer.NewChunk(&servicev1.BlobRef{Sha256: ref.Sha256, Size: proto.Int64(5 << 20)}, 0, make([]byte, 4<<20+1)),
			codes.ResourceExhausted, fault.BatchTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := client.PutChunk(with(t.Context()), tt.req)
			wants(t, err, tt.code, tt.reason)
		})
	}
	send(t, d, b, ref)
	liar := proto.CloneOf(ref)
	liar.Size = proto.Int64(6000)
	_, err := client.PutChunk(with(t.Context()), syncer.NewChunk(liar, 0, b[:1000]))
	wants(t, err, codes.InvalidArgument, fault.BlobSizeMismatch)
	st, err := client.BlobStat(with(t.Context()), &servicev1.BlobStatRequest{Blobs: []*servicev1.BlobRef{liar, ref}})
	if err != nil || st.GetBlobs()[0].GetComplete() || !st.GetBlobs()[1].GetComplete() {
		t.Errorf("one that lies about its size keeps the other back: %v, %v", st, err)
	}
	_, err = client.BlobStat(with(t.Context()), &servicev1.BlobStatRequest{Blobs: make([]*servicev1.BlobRef, 1001)})
	wants(t, err, codes.ResourceExhausted, fault.BadRequest)
	_, other := photo(4, 10)
	_, err = fetch(t, d, other, 0)
	wants(t, err, codes.NotFound, fault.NoSuchBlob)
	for _, at := range []int64{-1, 5001} {
		_, err = fetch(t, d, ref, at)
		wants(t, err, codes.InvalidArgument, fault.BadRequest)
	}
}

func TestCheckBlobs(t *testing.T) {
	eachStore(t, func(t *testing.T, d *desk) {
		kept, dir := keepBlobs(t, d)
		tb := newTablet("tablet-01")
		tb.greet(t, d)
		a, refA := photo(1, 3000)
		b, refB := photo(2, 3000)
		_, refC := photo(3, 3000)
		o, refO := photo(4, 3000)
		iv, replaced := household(1), household(1)
		replaced.InterviewId = iv.InterviewId
		tb.push(t, d, tb.record(t, iv, withPhotos(iv, refA, refB)), tb.record(t, replaced, withPhotos(replaced, refC)))
		for _, p := range []struct {
			b   []byte
			ref *servicev1.BlobRef
		}{{a, refA}, {b, refB}, {o, refO}} {
			send(t, d, p.b, p.ref)
		}
		report := &store.Report{}
		if err := d.CheckBlobs(t.Context(), report, nil); err != nil {
			t.Fatal(err)
		}
		warnings := map[string]bool{}
		for _, f := range report.Findings {
			if f.Severity != "warning" || f.Do == "" {
				t.Errorf("finding %+v", f)
			}
			warnings[f.Message] = true
		}
		if !warnings["no record lists it (3000 bytes)"] || !warnings["it has not arrived whole (3000 bytes)"] || len(report.Findings) != 2 || report.Blobs != 3 {
			t.Errorf("report = %+v, want an orphan and one that has not arrived", report)
		}
		var file string
		err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
			if strings.HasSuffix(path, hexOf(refA)) {
				file = path
			}
			return err
		})
		if err != nil || file == "" {
			t.Fatal("the file of the attachment is not found", err)
		}
		a[77] ^= 1
		if err := os.WriteFile(file, a, 0o600); err != nil {
			t.Fatal(err)
		}
		report = &store.Report{}
		if err := d.CheckBlobs(t.Context(), report, nil); err != nil {
			t.Fatal(err)
		}
		if f := report.Findings[0]; f.Severity != "error" && report.Findings[1].Severity != "error" && report.Findings[2].Severity != "error" || report.Blobs != 2 {
			t.Errorf("a flipped bit: %+v", report)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := d.CheckBlobs(ctx, &store.Report{}, nil); err == nil {
			t.Error("a check that was cancelled says nothing")
		}
		if totals, err := kept.Totals(); err != nil || totals.Blobs != 3 {
			t.Errorf("totals = %+v, %v", totals, err)
		}
	})
}

func hexOf(ref *servicev1.BlobRef) string {
	const digits = "0123456789abcdef"
	var out strings.Builder
	for _, c := range ref.GetSha256() {
		out.WriteByte(digits[c>>4])
		out.WriteByte(digits[c&15])
	}
	return out.String()
}
