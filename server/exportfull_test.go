package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// smallDisk makes the temporary folder a disk of its own with room for so many KiB, and says how many bytes of it are in use.
func smallDisk(t *testing.T, kib int) (used func() uint64) {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+strconv.Itoa(kib)+"k"); err != nil {
		t.Skipf("SKIPPED, SO NOTHING IS KNOWN OF A FULL TEMPORARY FOLDER HERE: a disk of its own needs root (uid is %d): %v", os.Geteuid(), err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("TMPDIR", dir)
	return func() uint64 {
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("in the temporary folder there are %v, %v", left, err)
		}
		var s syscall.Statfs_t
		if err := syscall.Statfs(dir, &s); err != nil {
			t.Fatal(err)
		}
		return (s.Blocks - s.Bfree) * uint64(s.Bsize)
	}
}

// freed waits until nothing of the disk is in use: a handler may still be leaving when its caller has the answer.
func freed(t *testing.T, what string, used func() uint64) {
	t.Helper()
	for range 200 {
		if used() == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%s: %d bytes of the temporary folder are still in use", what, used())
}

// drain takes an export to its end: the files that came, and why it ended.
func drain(ctx context.Context, d *desk, req *servicev1.ExportRequest) (map[string]int, error) {
	stream, err := servicev1.NewExportServiceClient(d.conn).Export(with(ctx), req)
	if err != nil {
		return nil, err
	}
	files := map[string]int{}
	for {
		piece, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return files, err
		}
		files[piece.GetPath()] += len(piece.GetContent())
	}
}

// The server's temporary folder is full: when the state is taken down, when a file is held back, when a download is made. Each
// says so, with what to do; nothing stays there, no manifest is sent, and with room it works again.
func TestExportOnAFullDisk(t *testing.T) {
	d, _ := library(t, 6)
	all := &servicev1.ExportRequest{Study: proto.String("guiyang"), Formats: []servicev1.ExportFormat{asCSV}}
	for _, kib := range []int{8, 1200} {
		t.Run(strconv.Itoa(kib), func(t *testing.T) {
			used := smallDisk(t, kib)
			files, err := drain(t.Context(), d, all)
			wants(t, err, codes.Unavailable, fault.DiskFull)
			if err != nil && (!strings.Contains(err.Error(), os.TempDir()) || !strings.Contains(err.Error(), "no space left")) {
				t.Errorf("the error does not say what is full: %v", err)
			}
			if _, ok := files["manifest.json"]; ok {
				t.Error("a manifest was sent")
			}
			freed(t, "export", used)
			pages := []string{"/export/guiyang/all.zip?format=csv", "/export/guiyang/codebook.xml"}
			if kib == 8 {
				pages = append(pages, "/odata/guiyang/person")
			}
			for _, page := range pages {
				resp, body := get(t, d, http.MethodGet, page)
				if resp.StatusCode != http.StatusServiceUnavailable || strings.Count(body, "make room") != 1 || !strings.Contains(body, os.TempDir()) {
					t.Errorf("%s: %s %.300s", page, resp.Status, body)
				}
				freed(t, page, used)
			}
		})
	}
	used := smallDisk(t, 64<<10)
	files, err := drain(t.Context(), d, all)
	if err != nil || files["manifest.json"] == 0 {
		t.Errorf("with room: %d files, %v", len(files), err)
	}
	freed(t, "with room", used)
}

// Whoever goes away in the middle leaves nothing behind: no file, and no goroutine that goes on.
func TestExportThatIsCancelled(t *testing.T) {
	d, _ := library(t, 6)
	used := smallDisk(t, 64<<10)
	if _, err := drain(t.Context(), d, &servicev1.ExportRequest{Study: proto.String("guiyang"), Formats: []servicev1.ExportFormat{asCSV}}); err != nil {
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := servicev1.NewExportServiceClient(d.conn).Export(with(ctx), &servicev1.ExportRequest{Study: proto.String("guiyang"), Formats: []servicev1.ExportFormat{asCSV}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	freed(t, "export", used)
	for _, page := range []string{"/export/guiyang/all.zip?format=csv", "/odata/guiyang/person"} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.addr+page, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+testToken)
		if resp, err := http.DefaultTransport.RoundTrip(req); err == nil {
			_ = resp.Body.Close()
		}
		cancel()
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	for range 500 {
		if runtime.NumGoroutine() <= before+2 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > before+2 {
		t.Errorf("%d goroutines, %d before", n, before)
	}
}

// Of the bytes of a projection only what is asked for is read, whatever else is there.
func TestOnlySomeFields(t *testing.T) {
	whole := &servicev1.InterviewProjection{
		Summary: &servicev1.InterviewSummary{InterviewId: proto.String("a")}, People: []*servicev1.PersonRecord{{PersonId: proto.String("p")}, {PersonId: proto.String("q")}},
		Households: []*servicev1.HouseholdRecord{{HouseholdId: proto.String("h")}}, Referrals: []*servicev1.ReferralRecord{{ReferralId: proto.String("r")}},
		Recruitment: &servicev1.RecruitmentRecord{InterviewId: proto.String("a")}, Flags: []*servicev1.Flag{{Rule: proto.String("x")}},
	}
	fields := whole.ProtoReflect().Descriptor().Fields()
	for set := range 1 << fields.Len() {
		raw, err := proto.Marshal(whole)
		if err != nil {
			t.Fatal(err)
		}
		want := proto.CloneOf(whole)
		var kept []protowire.Number
		for i := range fields.Len() {
			if fd := fields.Get(i); set>>i&1 == 1 {
				kept = append(kept, fd.Number())
			} else {
				want.ProtoReflect().Clear(fd)
			}
		}
		got := &servicev1.InterviewProjection{}
		if err := proto.Unmarshal(only(raw, kept), got); err != nil || !proto.Equal(got, want) {
			t.Fatalf("of %v: %v, %v", kept, got, err)
		}
	}
	if proto.Unmarshal(only([]byte{0x0a, 9, 1}, []protowire.Number{1}), &servicev1.InterviewProjection{}) == nil {
		t.Error("damage is passed over")
	}
}
