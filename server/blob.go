package server

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store/blobs"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// blobPiece is how much of an attachment goes into one message to those who read it. A message of it fits the 32 KB buffers
// that gRPC keeps: with the next larger ones, of 1 MB, everyone who reads slowly would hold two megabytes.
const blobPiece = 32<<10 - 64

// Blobs keeps attachments by their content. Package server/store/blobs does it in files.
type Blobs interface {
	// Has says, without reading it, whether an attachment is here whole.
	Has(ref *servicev1.BlobRef) bool
	// Stat says what is here of an attachment.
	Stat(ref *servicev1.BlobRef) (*servicev1.BlobState, error)
	// Put keeps a piece durably, in any order and twice, and says what is here then.
	Put(ref *servicev1.BlobRef, offset int64, data []byte, crc32c uint32) (*servicev1.BlobState, error)
	// Open returns the bytes of a whole attachment and how many there are; fault.NoSuchBlob if it is not here.
	Open(sha256 []byte) (io.ReadSeekCloser, int64, error)
	// Remove deletes an attachment and whatever has arrived of it, and reports false if nothing was here.
	Remove(ref *servicev1.BlobRef) (bool, error)
	// Totals counts what is kept.
	Totals() (blobs.Totals, error)
	// Verify hashes every attachment and names files that are none.
	Verify(ctx context.Context, found func(blobs.Held), stray func(path string)) error
}

// noBlobs is the error of a server that keeps no attachments.
func (s *Server) noBlobs() error {
	if s.blobs == nil {
		return fault.New(fault.Conflict, fault.BlobsNotKept, "this server keeps no attachments")
	}
	return nil
}

// BlobStat says which bytes of attachments have arrived.
func (s *syncService) BlobStat(ctx context.Context, req *servicev1.BlobStatRequest) (*servicev1.BlobStatResponse, error) {
	if err := s.noBlobs(); err != nil {
		return nil, err
	}
	if n := len(req.GetBlobs()); n > syncer.MaxBlobRefs {
		return nil, fault.New(fault.TooLarge, fault.BadRequest, "the call names %d attachments, the limit is %d", n, syncer.MaxBlobRefs)
	}
	resp := &servicev1.BlobStatResponse{}
	for _, ref := range req.GetBlobs() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		st, err := s.blobs.Stat(ref)
		if fault.ReasonOf(err) == fault.BlobSizeMismatch {
			// One that cannot come must not keep the others back: PutChunk says what is wrong with it.
			st, err = &servicev1.BlobState{Sha256: ref.GetSha256(), Complete: proto.Bool(false)}, nil
		}
		if err != nil {
			return nil, err
		}
		resp.Blobs = append(resp.Blobs, st)
	}
	return resp, s.signBlobs(ctx, req, resp)
}

// PutChunk keeps a piece of an attachment and answers when it is durable.
func (s *syncService) PutChunk(_ context.Context, req *servicev1.PutChunkRequest) (*servicev1.PutChunkResponse, error) {
	if err := s.noBlobs(); err != nil {
		return nil, err
	}
	st, err := s.blobs.Put(req.GetBlob(), req.GetOffset(), req.GetData(), req.GetCrc32C())
	if err != nil {
		if reason := fault.ReasonOf(err); reason != "" {
			s.blobMetrics.refused.WithLabelValues(string(reason)).Inc()
		}
		return nil, err
	}
	s.blobMetrics.chunks.Inc()
	s.blobMetrics.bytes.Add(float64(len(req.GetData())))
	return &servicev1.PutChunkResponse{Blob: st}, nil
}

// GetBlob sends an attachment from an offset on. Who reads it should hash what comes.
func (s *syncService) GetBlob(req *servicev1.GetBlobRequest, out grpc.ServerStreamingServer[servicev1.GetBlobResponse]) (err error) {
	if err := s.noBlobs(); err != nil {
		return err
	}
	f, size, err := s.blobs.Open(req.GetSha256())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if at := req.GetOffset(); at < 0 || at > size {
		return fault.New(fault.Invalid, fault.BadRequest, "byte %d is asked for of an attachment of %d", at, size)
	}
	if _, err := f.Seek(req.GetOffset(), io.SeekStart); err != nil {
		return fmt.Errorf("read an attachment: %w", err)
	}
	buf := make([]byte, blobPiece)
	for {
		n, err := io.ReadFull(f, buf)
		if n > 0 {
			if err := out.Send(&servicev1.GetBlobResponse{Data: buf[:n]}); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return fmt.Errorf("read an attachment: %w", err)
		}
		select {
		case <-s.stopping:
			return fault.New(fault.Unavailable, fault.ShuttingDown, "the server is stopping")
		default:
		}
	}
}

// withMissing is a summary with the number of its attachments that have not arrived. Projections know only of the log;
// what has arrived beside it is looked up when somebody asks.
func (s *Server) withMissing(sum *servicev1.InterviewSummary) *servicev1.InterviewSummary {
	if len(sum.GetAttachments()) == 0 {
		return sum
	}
	missing := uint32(0)
	for _, ref := range sum.GetAttachments() {
		if s.blobs == nil || !s.blobs.Has(ref) {
			missing++
		}
	}
	out := proto.CloneOf(sum)
	out.AttachmentsMissing = proto.Uint32(missing)
	return out
}

// blobMetrics are the measures of attachments.
type blobMetrics struct {
	chunks  prometheus.Counter
	bytes   prometheus.Counter
	refused *prometheus.CounterVec
}

func newBlobMetrics(r *prometheus.Registry, kept Blobs) (*blobMetrics, error) {
	opts := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "hearth", Name: name, Help: help}
	}
	m := &blobMetrics{
		chunks:  prometheus.NewCounter(opts("blob_chunks_total", "Pieces of attachments taken in, also those that were here.")),
		bytes:   prometheus.NewCounter(opts("blob_chunk_bytes_total", "Bytes of those pieces.")),
		refused: prometheus.NewCounterVec(opts("refused_blob_chunks_total", "Pieces of attachments not taken in, by reason."), []string{"reason"}),
	}
	all := []prometheus.Collector{m.chunks, m.bytes, m.refused}
	if kept != nil {
		all = append(all, newBlobTotals(kept))
	}
	for _, c := range all {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

// blobTotals counts what is kept when it is asked.
type blobTotals struct {
	kept                                Blobs
	blobs, bytes, pending, pendingBytes *prometheus.Desc
}

func newBlobTotals(kept Blobs) *blobTotals {
	desc := func(name, help string) *prometheus.Desc { return prometheus.NewDesc("hearth_"+name, help, nil, nil) }
	return &blobTotals{
		kept:         kept,
		blobs:        desc("blobs", "Attachments that are here whole."),
		bytes:        desc("blob_bytes", "Bytes of the attachments that are here whole."),
		pending:      desc("blobs_pending", "Attachments of which a part has arrived."),
		pendingBytes: desc("blob_pending_bytes", "Bytes that have arrived of attachments that are not whole."),
	}
}

// Describe implements prometheus.Collector.
func (b *blobTotals) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{b.blobs, b.bytes, b.pending, b.pendingBytes} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (b *blobTotals) Collect(ch chan<- prometheus.Metric) {
	t, err := b.kept.Totals()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(b.blobs, errors.New("the attachments cannot be listed"))
		return
	}
	for _, g := range []struct {
		desc  *prometheus.Desc
		value int64
	}{{b.blobs, t.Blobs}, {b.bytes, t.Bytes}, {b.pending, t.Pending}, {b.pendingBytes, t.PendingBytes}} {
		ch <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, float64(g.value))
	}
}
