package server

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/export"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

const (
	// exportPiece is how much of a file goes into one message.
	exportPiece = 64 << 10
	// spoolMemory is how much of a file is held in memory before it goes to a temporary file.
	spoolMemory = 1 << 20
)

type exportService struct {
	servicev1.UnimplementedExportServiceServer
	*Server
}

// Export makes the files of a study and sends them one after the other.
func (s *exportService) Export(req *servicev1.ExportRequest, stream grpc.ServerStreamingServer[servicev1.ExportResponse]) error {
	ctx := stream.Context()
	sink := &streamSink{send: stream.Send}
	defer sink.discard()
	job, err := s.prepareExport(ctx, req)
	if err != nil {
		return err
	}
	defer job.close()
	last := &servicev1.ExportResponse{Cursor: job.source.Cursor}
	job.options.Notice = func(text string) { last.Notices = append(last.Notices, text) }
	var progress func(done, total int)
	if req.GetProgress() {
		progress = sink.progress(s.now)
	}
	m, err := export.Write(ctx, *job.source, job.options, sink, progress)
	if err != nil {
		return err
	}
	for _, l := range m.Levels {
		last.Levels = append(last.Levels, &servicev1.ExportLevel{Name: proto.String(l.Name), Rows: proto.Int64(l.Rows)})
	}
	return stream.Send(last)
}

// ListExports says who has asked for direct identifiers.
func (s *exportService) ListExports(ctx context.Context, req *servicev1.ListExportsRequest) (*servicev1.ListExportsResponse, error) {
	code, err := s.studyCode(ctx, req.GetStudy())
	if err != nil {
		return nil, err
	}
	all, err := s.store.Revisions(ctx, syncer.Part(code, ""), servicev1.RecordKind_RECORD_KIND_EXPORT, exportsSubject)
	if err != nil {
		return nil, fmt.Errorf("read the exports: %w", err)
	}
	slices.SortFunc(all, func(a, b store.Stored) int { return cmp.Compare(b.Counter, a.Counter) })
	out := &servicev1.ListExportsResponse{}
	for _, st := range all {
		a := &servicev1.ExportAudit{}
		if r, err := syncer.Open(st.Raw); err == nil && proto.Unmarshal(r.GetPayload(), a) == nil {
			out.Exports = append(out.Exports, a)
		}
	}
	return out, nil
}

// exportsSubject is what the records of exports of a study are about.
const exportsSubject = "exports"

// auditExport keeps that direct identifiers were asked for, before the first of them leaves.
func (s *Server) auditExport(ctx context.Context, req *servicev1.ExportRequest, study string, cursor *servicev1.Cursor) error {
	id, err := uuid.NewRandom()
	if err != nil {
		return fmt.Errorf("make an id: %w", err)
	}
	return s.author.write(ctx, draft{
		kind: servicev1.RecordKind_RECORD_KIND_EXPORT, subject: exportsSubject, study: study, author: req.GetRequestedBy(),
		payload: &servicev1.ExportAudit{
			ExportId: proto.String(id.String()), Study: proto.String(study), Reason: proto.String(req.GetReason()), RequestedBy: proto.String(req.GetRequestedBy()),
			TimeMs: proto.Int64(s.nowMS()), Cursor: cursor, Filter: req.GetFilter(), Formats: req.GetFormats(),
		},
	})
}

// studyOfInterviews stands in for a definition that nobody has set: the study that the interviews name, or of several
// the one of that code.
func (s *Server) studyOfInterviews(ctx context.Context, code string) (*surveyv1.Study, error) {
	if code == "" {
		switch defined, err := s.store.Studies(ctx); {
		case err != nil:
			return nil, err
		case len(defined) > 0:
			return s.findStudy(ctx, code) // says which there are
		}
	}
	var codes []string
	for iv, err := range s.store.Interviews(ctx, store.Filter{Study: code}) {
		if err != nil {
			return nil, fmt.Errorf("look for studies among the interviews: %w", err)
		}
		if own := iv.GetSummary().GetStudy(); !slices.Contains(codes, own) {
			codes = append(codes, own)
		}
	}
	switch {
	case len(codes) == 0 && code == "":
		return nil, fault.New(fault.NotFound, fault.UnknownStudy, "this server has no definition of a study, and no interview")
	case len(codes) == 0:
		return nil, noSuchStudy(code)
	case len(codes) > 1:
		slices.Sort(codes)
		return nil, fault.New(fault.Invalid, fault.BadRequest, "the interviews are of several studies, name one of %.200s", strings.Join(codes, ", "))
	}
	return &surveyv1.Study{Study: proto.String(codes[0])}, nil
}

// answers reads the revision of an interview that its summary shows.
func (s *Server) answers(ctx context.Context, sum *servicev1.InterviewSummary) (*surveyv1.Interview, error) {
	digest, err := syncer.ParseDigest(sum.GetHead())
	if err != nil {
		return nil, fmt.Errorf("interview %s: %w", sum.GetInterviewId(), err)
	}
	st, err := s.store.Record(ctx, sum.GetPart(), sum.GetInterviewId(), digest)
	if err != nil {
		return nil, fmt.Errorf("read interview %s: %w", sum.GetInterviewId(), err)
	}
	rec, err := syncer.Open(st.Raw)
	if err != nil {
		return nil, fmt.Errorf("read interview %s: %w", sum.GetInterviewId(), err)
	}
	iv := &surveyv1.Interview{}
	if err := proto.Unmarshal(rec.GetPayload(), iv); err != nil {
		return &surveyv1.Interview{InterviewId: sum.InterviewId, Study: sum.Study}, nil // flagged as unreadable
	}
	return iv, nil
}

// streamSink sends files one after the other, though several are written at a time: each is held back until it is
// complete.
type streamSink struct {
	send func(*servicev1.ExportResponse) error

	mu   sync.Mutex
	open []*spool
}

// Create begins a file.
func (s *streamSink) Create(path string) (io.WriteCloser, error) {
	f := &spool{sink: s, path: path}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = append(s.open, f)
	return f, nil
}

// progressPause is how long nothing is said of how far an export is.
const progressPause = 200 * time.Millisecond

// progress tells how far an export is, now and then.
func (s *streamSink) progress(now func() time.Time) func(done, total int) {
	var last time.Time
	return func(done, total int) {
		if at := now(); at.Sub(last) >= progressPause || done == total {
			last = at
			s.mu.Lock()
			defer s.mu.Unlock()
			p := &servicev1.ExportProgress{Done: proto.Int64(int64(done)), Total: proto.Int64(int64(total))}
			_ = s.send(&servicev1.ExportResponse{Progress: p}) // whoever has gone is noticed by the next piece
		}
	}
}

// discard frees what is held back after an export that failed.
func (s *streamSink) discard() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.open {
		f.free()
	}
	s.open = nil
}

// spool holds one file back, in memory while it is small. The temporary file has no name, so nothing of it stays behind.
type spool struct {
	sink *streamSink
	path string
	buf  bytes.Buffer
	file *os.File
	done bool
}

// Write adds to the file.
func (f *spool) Write(p []byte) (int, error) {
	if f.file == nil && f.buf.Len()+len(p) > spoolMemory {
		file, err := temporary("hearth-export-*", "hold "+f.path+" back")
		if err != nil {
			return 0, err
		}
		f.file = file
		if _, err := f.buf.WriteTo(file); err != nil {
			return 0, noRoom("hold "+f.path+" back", err)
		}
	}
	if f.file == nil {
		return f.buf.Write(p)
	}
	n, err := f.file.Write(p)
	if err != nil {
		err = noRoom("hold "+f.path+" back", err)
	}
	return n, err
}

// temporary makes a file without a name in the server's temporary folder: nothing of it stays behind.
func temporary(pattern, what string) (*os.File, error) {
	f, err := os.CreateTemp("", pattern)
	if err != nil {
		return nil, noRoom(what, err)
	}
	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close()
		return nil, noRoom(what, err)
	}
	return f, nil
}

// noRoom is the error of what cannot be written into the server's temporary folder.
func noRoom(what string, err error) error {
	return fault.New(fault.Unavailable, fault.DiskFull, "the server cannot %s in its temporary folder %s: %w", what, os.TempDir(), err)
}

// Close sends the file. An empty file is one message without content.
func (f *spool) Close() error {
	f.sink.mu.Lock()
	defer f.sink.mu.Unlock()
	if f.done {
		return nil
	}
	defer f.free()
	var src io.Reader = &f.buf
	if f.file != nil {
		if _, err := f.file.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("read back %s: %w", f.path, err)
		}
		src = f.file
	}
	for first := true; ; first = false {
		piece := make([]byte, exportPiece)
		n, err := io.ReadFull(src, piece)
		if n > 0 || first {
			if err := f.sink.send(&servicev1.ExportResponse{Path: proto.String(f.path), Content: piece[:n]}); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read back %s: %w", f.path, err)
		}
	}
}

// Abort gives the file up.
func (f *spool) Abort() error {
	f.sink.mu.Lock()
	defer f.sink.mu.Unlock()
	f.free()
	return nil
}

func (f *spool) free() {
	f.done = true
	f.buf = bytes.Buffer{}
	if f.file != nil {
		_ = f.file.Close() // nothing is lost: the file has been sent or given up
		f.file = nil
	}
}
