package tablet_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/syncertest"
	"github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// noise is n bytes that do not repeat, with the beginning of a kind of file.
func noise(seed byte, begin string, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	copy(b, begin)
	return b
}

const (
	jpeg = "\xff\xd8\xff\xe0"
	wave = "RIFF\x00\x00\x00\x00WAVEfmt "
)

func idOf(b []byte) syncer.BlobID { return sha256.Sum256(b) }

// interviewWith writes an interview that lists attachments, and keeps their bytes.
func interviewWith(t *testing.T, s *tablet.Store, n int, files ...[]byte) *surveyv1.Interview {
	t.Helper()
	iv := syncertest.Interview(s.Name(), n, "with files")
	add(t, s, iv)
	attach(t, s, iv, tablet.AttachOptions{}, files...)
	return iv
}

func attach(t *testing.T, s *tablet.Store, iv *surveyv1.Interview, opts tablet.AttachOptions, files ...[]byte) bool {
	t.Helper()
	var all []*surveyv1.Attachment
	for _, f := range files {
		a, err := s.AddBlob(context.Background(), bytes.NewReader(f))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
	}
	added, err := s.Attach(context.Background(), iv.GetInterviewId(), opts, all...)
	if err != nil {
		t.Fatal(err)
	}
	return added
}

func wantBlobs(t *testing.T, srv *syncertest.Server, files ...[]byte) {
	t.Helper()
	got := srv.Blobs()
	for _, f := range files {
		if b, ok := got[idOf(f)]; !ok || !bytes.Equal(b, f) {
			t.Errorf("headquarters does not hold the file of %d bytes", len(f))
		}
	}
	if len(got) != len(files) {
		t.Errorf("headquarters holds %d attachments, want %d", len(got), len(files))
	}
}

func TestAttachmentsFollowTheAnswersSmallestFirst(t *testing.T) {
	s := create(t, "tablet-01")
	large, small := noise(1, jpeg, 90_000), noise(2, jpeg, 20_000)
	sound, text := noise(3, wave, 5_000), []byte("介绍信\n")
	interviewWith(t, s, 1, sound, large, text, small)
	srv := syncertest.NewServer("hq")
	var sent, total int64
	opts := fast()
	opts.BlobProgress = func(a, b int64) { sent, total = a, b }
	link := connect(t, srv)
	r := mustSync(t, s, link, opts)
	wantBlobs(t, srv, large, small, sound, text)
	want := []syncer.BlobID{idOf(small), idOf(large), idOf(text), idOf(sound)}
	if got := srv.ChunkOrder(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("they came as %x, want photos, then files, then sound", got)
	}
	all := int64(len(large) + len(small) + len(sound) + len(text))
	if r.Blobs.Sent != 4 || r.Blobs.Pending != 0 || r.Blobs.Bytes != all || sent != all || total != all {
		t.Errorf("report = %+v, progress %d of %d, want 4 sent, %d bytes", r.Blobs, sent, total, all)
	}
	if st := mustStatus(t, s); st.Blobs != 4 || st.BlobsPending != 0 {
		t.Errorf("status = %+v", st)
	}
	calls := srv.Calls("BlobStat") + srv.Calls("PutChunk")
	if r = mustSync(t, s, link, fast()); r.Blobs.Sent+r.Blobs.Held != 0 || srv.Calls("BlobStat")+srv.Calls("PutChunk") != calls {
		t.Errorf("a second sync asked about attachments again: %+v", r.Blobs)
	}
}

func TestEqualBytesAreKeptAndSentOnce(t *testing.T) {
	a, b := create(t, "tablet-01"), create(t, "tablet-02")
	photo := noise(1, jpeg, 50_000)
	iv := interviewWith(t, a, 1, photo, photo)
	interviewWith(t, a, 2, photo)
	interviewWith(t, b, 1, photo)
	if attach(t, a, iv, tablet.AttachOptions{}, photo) {
		t.Error("it was attached again")
	}
	srv := syncertest.NewServer("hq")
	if r := mustSync(t, a, connect(t, srv), fast()); r.Blobs.Sent != 1 || mustStatus(t, a).Blobs != 1 {
		t.Errorf("the first tablet: %+v", r.Blobs)
	}
	if r := mustSync(t, b, connect(t, srv), fast()); r.Blobs.Sent != 0 || r.Blobs.Held != 1 || r.Blobs.Bytes != 0 {
		t.Errorf("the second tablet: %+v", r.Blobs)
	}
	if got := srv.Received(); got != 50_000 {
		t.Errorf("%d bytes came, want them once", got)
	}
	wantBlobs(t, srv, photo)
}

func TestEmptyFileIsAnAttachment(t *testing.T) {
	s := create(t, "tablet-01")
	interviewWith(t, s, 1, nil)
	srv := syncertest.NewServer("hq")
	if r := mustSync(t, s, connect(t, srv), fast()); r.Blobs.Sent != 1 || r.Blobs.Pending != 0 {
		t.Errorf("report = %+v", r.Blobs)
	}
	wantBlobs(t, srv, nil)
}

func TestAttachmentReplaced(t *testing.T) {
	s := create(t, "tablet-01")
	old, better := noise(1, jpeg, 10_000), noise(2, jpeg, 12_000)
	iv := interviewWith(t, s, 1, old)
	if !attach(t, s, iv, tablet.AttachOptions{Replace: true}, better) || attach(t, s, iv, tablet.AttachOptions{Replace: true}, better) {
		t.Error("it is replaced once")
	}
	var out strings.Builder
	if err := s.Export(context.Background(), &out); err != nil || strings.Count(out.String(), `"sha256"`) != 1 {
		t.Errorf("%v; the interview lists:\n%s", err, out.String())
	}
	srv := syncertest.NewServer("hq")
	mustSync(t, s, connect(t, srv), fast())
	wantBlobs(t, srv, old, better) // what an earlier revision lists is not lost
}

func TestAttachmentLargerThanTheLimit(t *testing.T) {
	ctx := context.Background()
	s := create(t, "tablet-01")
	_, err := s.AddBlob(ctx, bytes.NewReader(make([]byte, syncer.MaxBlobBytes+1)))
	if fault.ReasonOf(err) != fault.BlobTooLarge || mustStatus(t, s).Blobs != 0 {
		t.Errorf("error = %v, %d kept", err, mustStatus(t, s).Blobs)
	}
	// One at the limit is taken, and one of which only the name is known is not.
	if a, err := s.AddBlob(ctx, bytes.NewReader(make([]byte, syncer.MaxBlobBytes))); err != nil || a.GetSize() != syncer.MaxBlobBytes {
		t.Errorf("at the limit: %v", err)
	}
	iv := syncertest.Interview("tablet-01", 1, "")
	add(t, s, iv)
	sum := idOf([]byte("elsewhere"))
	_, err = s.Attach(ctx, iv.GetInterviewId(), tablet.AttachOptions{}, &surveyv1.Attachment{Sha256: sum[:], Size: proto.Int64(9)})
	if fault.ReasonOf(err) != fault.NoSuchBlob {
		t.Errorf("bytes that are not here: %v", err)
	}
}

func TestAttachFindsTheInterview(t *testing.T) {
	ctx := context.Background()
	s := create(t, "tablet-01")
	a, err := s.AddBlob(ctx, strings.NewReader("a letter"))
	if err != nil {
		t.Fatal(err)
	}
	one, two, draft := syncertest.Interview("tablet-01", 1, ""), syncertest.Interview("tablet-01", 2, ""), syncertest.Interview("tablet-01", 3, "")
	one.InterviewKey, two.InterviewKey, draft.InterviewKey, draft.Status = proto.String("GY-1"), proto.String("GY-1"), proto.String("GY-3"), nil
	add(t, s, one, two)
	if err := s.SaveDraft(ctx, draft); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"GY-1", "GY-9", ""} {
		if _, err := s.Attach(ctx, name, tablet.AttachOptions{}, a); fault.ReasonOf(err) != fault.BadInterview {
			t.Errorf("interview %q: %v, want %s", name, err, fault.BadInterview)
		}
	}
	for _, name := range []string{one.GetInterviewId(), "GY-3"} {
		if added, err := s.Attach(ctx, name, tablet.AttachOptions{}, a); err != nil || !added {
			t.Errorf("interview %q: %v", name, err)
		}
	}
	if st := mustStatus(t, s); st.Records != 3 || st.Drafts != 1 || st.BlobsPending != 1 {
		t.Errorf("status = %+v, want a revision and a draft with it", st)
	}
	drafts, err := s.Drafts(ctx)
	if err != nil || len(drafts[0].GetAttachments()) != 1 {
		t.Errorf("the draft lists %v, %v", drafts, err)
	}
}

// The link loses each call in turn, request or answer; whatever comes through, nothing is sent twice that was answered
// or that headquarters says it has.
func TestConnectionLostAtEveryChunkBoundary(t *testing.T) {
	photo := noise(1, jpeg, 150_000)
	step := 1
	if testing.Short() {
		step = 5
	}
	for _, lost := range []syncertest.Fault{syncertest.RequestLost, syncertest.AnswerLost} {
		for at := 1; at <= 12; at += step {
			t.Run(fmt.Sprintf("fault %d call %d", lost, at), func(t *testing.T) {
				s := create(t, "tablet-01")
				interviewWith(t, s, 1, photo)
				srv := syncertest.NewServer("hq")
				link := connect(t, srv)
				link.Plan(func(call int, _ string) syncertest.Fault {
					if call == at {
						return lost
					}
					return syncertest.None
				})
				r := mustSync(t, s, link, fast())
				wantBlobs(t, srv, photo)
				if r.Blobs.Pending != 0 || srv.Received() != int64(len(photo)) {
					t.Errorf("%d bytes came of %d: %+v", srv.Received(), len(photo), r.Blobs)
				}
			})
			t.Run(fmt.Sprintf("fault %d from call %d on, then again", lost, at), func(t *testing.T) {
				s := create(t, "tablet-01")
				interviewWith(t, s, 1, photo)
				srv := syncertest.NewServer("hq")
				link := connect(t, srv)
				link.Plan(func(call int, _ string) syncertest.Fault {
					if call >= at {
						return lost
					}
					return syncertest.None
				})
				if _, err := s.Sync(context.Background(), link, fast()); err == nil && at < 6 {
					t.Error("nothing failed")
				}
				link.Plan(nil)
				s = reopen(t, s.Path(), "tablet-01")
				mustSync(t, s, link, fast())
				wantBlobs(t, srv, photo)
				if extra := srv.Received() - int64(len(photo)); extra != 0 {
					t.Errorf("%d bytes came twice", extra)
				}
			})
		}
	}
}

// Connections die after some kilobytes, in the middle of a piece.
func TestConnectionsThatDieWithinPieces(t *testing.T) {
	for _, cut := range []int64{9_000, 20_000, 70_000} {
		s := create(t, fmt.Sprint("tablet-", cut))
		photo, sound := noise(1, jpeg, 120_000), noise(2, wave, 40_000)
		interviewWith(t, s, 1, photo, sound)
		srv := syncertest.NewServer("hq")
		link := connect(t, srv)
		link.CutAfter(cut)
		opts := fast()
		opts.Attempts = 30
		r := mustSync(t, s, link, opts)
		wantBlobs(t, srv, photo, sound)
		if r.Blobs.Pending != 0 {
			t.Errorf("connections of %d bytes: %+v", cut, r.Blobs)
		}
	}
}

func TestPruneDropsOnlyWhatHeadquartersSaysItHas(t *testing.T) {
	ctx := context.Background()
	s := create(t, "tablet-01")
	photo := noise(1, jpeg, 30_000)
	interviewWith(t, s, 1, photo)
	srv := syncertest.NewServer("hq")
	link := connect(t, srv)
	srv.RefuseBlobs(fault.New(fault.Conflict, fault.BlobsNotKept, "no room for them"))
	r := mustSync(t, s, link, fast())
	if !r.Blobs.Unkept || r.Blobs.Pending != 1 || r.Pending != 0 {
		t.Errorf("a server that keeps none: %+v", r)
	}
	if n, err := s.Prune(ctx, 0); err != nil || n != 1 || mustStatus(t, s).BlobsPruned != 0 {
		t.Errorf("pruned %d records, %v, and %d attachments; want the one revision without a photo: the other waits for it", n, err, mustStatus(t, s).BlobsPruned)
	}
	db, err := sql.Open("sqlite", s.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, st := range []string{
		"UPDATE blob_piece SET bytes = NULL", "DELETE FROM blob_piece", "UPDATE blob_piece SET bytes = x'00'", "DELETE FROM blob", "UPDATE blob SET size = 1",
		"DELETE FROM blob_use", "UPDATE blob_use SET sha256 = zeroblob(32)",
	} {
		if _, err := db.Exec(st); err == nil {
			t.Errorf("%s was allowed", st)
		}
	}
	srv.RefuseBlobs(nil)
	if r = mustSync(t, s, link, fast()); r.Blobs.Sent != 1 {
		t.Errorf("afterwards: %+v", r.Blobs)
	}
	if n, err := s.Prune(ctx, 0); err != nil || n != 1 || mustStatus(t, s).BlobsPruned != 1 {
		t.Errorf("pruned %d records and %d attachments, %v, want both", n, mustStatus(t, s).BlobsPruned, err)
	}
	// A new interview with the same photo: its bytes are gone here, and known there.
	iv := syncertest.Interview("tablet-01", 2, "")
	add(t, s, iv)
	attach(t, s, iv, tablet.AttachOptions{}, photo)
	if r = mustSync(t, s, link, fast()); r.Blobs.Pending != 0 || len(r.Blobs.Problems) != 0 {
		t.Errorf("the same photo again: %+v", r.Blobs)
	}
	wantBlobs(t, srv, photo)
}

func TestServerThatLostItsAttachmentsGetsThemAgain(t *testing.T) {
	s := create(t, "tablet-01")
	photo := noise(1, jpeg, 30_000)
	interviewWith(t, s, 1, photo)
	srv := syncertest.NewServer("hq")
	link := connect(t, srv)
	mustSync(t, s, link, fast())
	srv.LoseBlobs()
	if r := mustSync(t, s, link, fast()); r.Blobs.Sent != 1 {
		t.Errorf("report = %+v", r.Blobs)
	}
	wantBlobs(t, srv, photo)
}

func TestDamagedAttachmentHoldsNothingUp(t *testing.T) {
	s := create(t, "tablet-01")
	bad, good := noise(1, jpeg, 100_000), noise(2, jpeg, 110_000)
	interviewWith(t, s, 1, bad, good)
	damageBlob(t, s.Path(), 1)
	srv := syncertest.NewServer("hq")
	link := connect(t, srv)
	r := mustSync(t, s, link, fast())
	if r.Blobs.Sent != 1 || r.Blobs.Pending != 1 || len(r.Blobs.Problems) != 1 || r.Blobs.Problems[0].Reason != fault.BlobDamaged || r.Blobs.Problems[0].SHA256 != idOf(bad) {
		t.Errorf("report = %+v", r.Blobs)
	}
	wantBlobs(t, srv, good)
	imported, err := tablet.Import(context.Background(), s.Path(), link, nil)
	if err != nil || imported.BlobsHeld != 1 || len(imported.Problems) != 1 || imported.Problems[0].Reason != fault.BlobDamaged {
		t.Errorf("import: %+v, %v", imported, err)
	}
}

// damageBlob changes a piece behind the program's back.
func damageBlob(t *testing.T, path string, n int) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var name, text string
	if err := db.QueryRow("SELECT name, sql FROM sqlite_schema WHERE name = 'blob_piece_fixed'").Scan(&name, &text); err != nil {
		t.Fatal(err)
	}
	var other string
	if err := db.QueryRow("SELECT sql FROM sqlite_schema WHERE name = 'blob_piece_pruned'").Scan(&other); err != nil {
		t.Fatal(err)
	}
	for _, st := range []string{"DROP TRIGGER blob_piece_fixed", "DROP TRIGGER blob_piece_pruned",
		fmt.Sprintf("UPDATE blob_piece SET bytes = zeroblob(length(bytes)) WHERE n = %d", n), text, other} {
		if _, err := db.Exec(st); err != nil {
			t.Fatal(err)
		}
	}
}

func TestImportCarriesAttachments(t *testing.T) {
	ctx := context.Background()
	s := create(t, "tablet-01")
	photo, sound := noise(1, jpeg, 200_000), noise(2, wave, 70_000)
	interviewWith(t, s, 1, photo, sound, nil)
	if _, err := s.AddBlob(ctx, strings.NewReader("listed by nothing")); err != nil {
		t.Fatal(err)
	}
	file := usb(t, s, true)
	srv := syncertest.NewServer("hq")
	link := connect(t, srv)
	r, err := tablet.Import(ctx, file, link, nil)
	if err != nil || r.BlobsSent != 3 || r.BlobsHeld != 0 || len(r.Problems) != 0 {
		t.Fatalf("import: %+v, %v", r, err)
	}
	wantBlobs(t, srv, photo, sound, nil)
	if r, err = tablet.Import(ctx, file, link, nil); err != nil || r.BlobsSent != 0 || r.BlobsHeld != 3 {
		t.Errorf("import again: %+v, %v", r, err)
	}
	if got := mustSync(t, s, link, fast()); got.Blobs.Sent != 0 || got.Blobs.Held != 3 || got.Blobs.Pending != 0 {
		t.Errorf("the tablet itself then: %+v", got.Blobs)
	}
	// A backup has them too.
	backup := s.Path() + ".backup"
	if err := s.Backup(ctx, backup); err != nil {
		t.Fatal(err)
	}
	if st := mustStatus(t, reopen(t, backup, "backup")); st.Blobs != 4 {
		t.Errorf("the backup holds %d attachments", st.Blobs)
	}
}

// A store from before there were attachments gets their tables when it is opened.
func TestOldStoreTakesAttachments(t *testing.T) {
	path := t.TempDir() + "/old.sqlite"
	copyTo(t, path, "testdata/compat/store-v1.sqlite")
	s := reopen(t, path, "old")
	photo := noise(1, jpeg, 1000)
	iv := syncertest.Interview("compat", 9, "")
	add(t, s, iv)
	attach(t, s, iv, tablet.AttachOptions{}, photo)
	srv := syncertest.NewServer("hq")
	if r := mustSync(t, s, connect(t, srv), fast()); r.Blobs.Sent != 1 {
		t.Errorf("report = %+v", r.Blobs)
	}
	r, err := tablet.Import(context.Background(), path, connect(t, srv), nil)
	if err != nil || r.BlobsHeld != 1 {
		t.Errorf("import: %+v, %v", r, err)
	}
}

// A server may refuse, lie, or not know of attachments at all.
func TestServersThatMisbehave(t *testing.T) {
	photo := noise(1, jpeg, 40_000)
	for name, tt := range map[string]struct {
		change func(method string, reply any) error
		reason fault.Reason // of the error of Sync; "": none
	}{
		"has another one": {func(m string, reply any) error {
			if r, ok := reply.(*servicev1.BlobStatResponse); ok {
				r.Blobs[0].Sha256 = make([]byte, 32)
			}
			return nil
		}, fault.BadRequest},
		"holds bytes behind the end": {func(m string, reply any) error {
			if r, ok := reply.(*servicev1.BlobStatResponse); ok {
				r.Blobs[0].Have = []*servicev1.ByteRange{{Start: proto.Int64(0), End: proto.Int64(50_000)}}
			}
			return nil
		}, fault.BadRequest},
		"holds less than it took": {func(m string, reply any) error {
			if r, ok := reply.(*servicev1.PutChunkResponse); ok {
				r.Blob.Have, r.Blob.Complete = nil, nil
			}
			return nil
		}, ""},
		"answers about fewer": {func(m string, reply any) error {
			if r, ok := reply.(*servicev1.BlobStatResponse); ok {
				r.Blobs = nil
			}
			return nil
		}, fault.BadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			s := create(t, "tablet-01")
			interviewWith(t, s, 1, photo)
			r, err := s.Sync(context.Background(), mangled{connect(t, syncertest.NewServer("hq")), tt.change}, fast())
			if fault.ReasonOf(err) != tt.reason || r.Pending != 0 {
				t.Errorf("error = %v, report %+v, want %q and the records through", err, r, tt.reason)
			}
		})
	}
}

// mangled changes answers on their way.
type mangled struct {
	grpc.ClientConnInterface
	change func(method string, reply any) error
}

func (m mangled) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return errors.Join(m.ClientConnInterface.Invoke(ctx, method, args, reply, opts...), m.change(method, reply))
}

// A photo of 300 KB over 40 kbit/s, where connections die every 30 s: at most 1.3 times its bytes pass the link.
func TestPhotoOverConnectionsOfThirtySeconds(t *testing.T) {
	sent, took := photoOverBadLink(t)
	ratio := float64(sent) / 300_000
	t.Logf("%.2f times its bytes, %v at 40 kbit/s", ratio, took)
	if ratio > 1.3 {
		t.Errorf("%.2f times its bytes were sent, want at most 1.3", ratio)
	}
}

func BenchmarkPhotoOverConnectionsOfThirtySeconds(b *testing.B) {
	for b.Loop() {
		sent, took := photoOverBadLink(b)
		b.ReportMetric(float64(sent)/300_000, "bytes/photo-byte")
		b.ReportMetric(took.Seconds(), "simulated-s")
	}
}

// photoOverBadLink counts all bytes on the wire from when the answers are there. The clock of the link is the bytes that
// have passed it.
func photoOverBadLink(tb testing.TB) (sent int64, took time.Duration) {
	tb.Helper()
	const bytesPerSecond = 40_000 / 8
	ctx := context.Background()
	dir, err := os.MkdirTemp(tb.TempDir(), "")
	if err != nil {
		tb.Fatal(err)
	}
	s, err := tablet.Create(ctx, dir+"/t.sqlite", tablet.CreateOptions{Name: "tablet-01", Enumerator: "E1", Study: "guiyang-2016", Now: clock(), Rand: syncertest.Random("radio")})
	if err != nil {
		tb.Fatal(err)
	}
	defer s.Close()
	srv := syncertest.NewServer("hq")
	link, err := syncertest.Connect(srv)
	if err != nil {
		tb.Fatal(err)
	}
	defer link.Close()
	iv := syncertest.Interview("tablet-01", 1, "")
	if _, _, err := s.AddInterview(ctx, iv); err != nil {
		tb.Fatal(err)
	}
	now := func() time.Time {
		return time.Unix(1467331200, 0).Add(time.Duration(link.Passed()) * time.Second / bytesPerSecond)
	}
	opts := tablet.SyncOptions{MinBackoff: 1, MaxBackoff: 1, Attempts: 30, Now: now}
	if _, err := s.Sync(ctx, link, opts); err != nil {
		tb.Fatal(err)
	}
	a, err := s.AddBlob(ctx, bytes.NewReader(noise(1, jpeg, 300_000)))
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := s.Attach(ctx, iv.GetInterviewId(), tablet.AttachOptions{}, a); err != nil {
		tb.Fatal(err)
	}
	link.CutAfter(30 * bytesPerSecond)
	before, began := link.Passed(), now()
	r, err := s.Sync(ctx, link, opts)
	if err != nil || r.Blobs.Sent != 1 {
		tb.Fatal(err, r.Blobs)
	}
	return link.Passed() - before, now().Sub(began)
}
