package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/export"
	"github.com/hearth-survey/hearth/server/referral"
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
	src, err := s.exportSource(ctx, req.GetStudy())
	if err != nil {
		return err
	}
	if err := checkLanguage(req.GetLanguage(), src.Published); err != nil {
		return err
	}
	sink := &streamSink{send: stream.Send}
	defer sink.discard()
	opts := export.Options{Formats: req.GetFormats(), Profile: req.GetProfile(), Language: req.GetLanguage(), Program: s.version}
	if _, err := export.Write(ctx, *src, opts, sink, nil); err != nil {
		return err
	}
	return stream.Send(&servicev1.ExportResponse{Cursor: src.Cursor})
}

// exportSource is what an export reads.
func (s *Server) exportSource(ctx context.Context, code string) (*export.Source, error) {
	if err := s.Project(ctx); err != nil {
		return nil, err
	}
	study, err := s.perhapsStudy(ctx, code)
	if err != nil {
		return nil, err
	}
	if study == nil {
		if study, err = s.studyOfInterviews(ctx, code); err != nil {
			return nil, err
		}
	}
	cursor, err := s.store.Projected(ctx)
	if err != nil {
		return nil, fmt.Errorf("find how far the projections are: %w", err)
	}
	f, err := s.gather(ctx, study.GetStudy())
	if err != nil {
		return nil, err
	}
	src := &export.Source{
		Study: study, Cursor: cursor.Proto(), People: f.people, Canonical: f.canonical(), Referrals: f.referrals,
		Graph: referral.Build(f.graph(study)), Decisions: f.decisions, Published: s.published(f.interviews), Questionnaires: s.answered(f.interviews),
	}
	flags, err := s.flagsOf(ctx, study.GetStudy())
	if err != nil {
		return nil, err
	}
	src.Interviews = func(yield func(*export.Answered, error) bool) {
		for _, sum := range f.interviews {
			a := &export.Answered{Summary: sum, Flags: flags[sum.GetInterviewId()]}
			var err error
			if a.Interview, err = s.answers(ctx, sum); err == nil {
				a.Paradata, err = s.paradataOf(ctx, sum.GetPart(), sum.GetInterviewId())
			}
			if !yield(a, err) {
				return
			}
		}
	}
	return src, nil
}

// flagsOf are the failed checks of a study by interview.
func (s *Server) flagsOf(ctx context.Context, study string) (map[string][]*servicev1.Flag, error) {
	out := map[string][]*servicev1.Flag{}
	for p, err := range s.store.Interviews(ctx, store.Filter{Study: study}) {
		if err != nil {
			return nil, fmt.Errorf("read the flags: %w", err)
		}
		if len(p.GetFlags()) > 0 {
			out[p.GetSummary().GetInterviewId()] = p.GetFlags()
		}
	}
	return out, nil
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
		return nil, fault.New(fault.NotFound, fault.UnknownStudy, "there is no study %.64q and no interview of it", code)
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
		file, err := os.CreateTemp("", "hearth-export-*")
		if err != nil {
			return 0, fmt.Errorf("make room for %s: %w", f.path, err)
		}
		f.file = file
		if err := os.Remove(file.Name()); err != nil {
			return 0, fmt.Errorf("make room for %s: %w", f.path, err)
		}
		if _, err := f.buf.WriteTo(file); err != nil {
			return 0, fmt.Errorf("hold back %s: %w", f.path, err)
		}
	}
	if f.file != nil {
		return f.file.Write(p)
	}
	return f.buf.Write(p)
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
