package server

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

const (
	// bombBytes is what a bomb becomes when it is unpacked.
	bombBytes = 256 << 20
	// bombMemory is the most that may be taken for it.
	bombMemory = 64 << 20
)

// A message of the largest size that is taken gets its own answer; one byte more is said to be too large, over gRPC and over
// Connect, and the connection goes on.
func TestOneByteTooMany(t *testing.T) {
	d := newDesk(t, openSQLite(t, t.TempDir()))
	tb := newTablet("large")
	tb.greet(t, d)
	raw := tb.record(t, household(1), nil)
	sized := func(size int) *servicev1.PushBatchRequest {
		b := tb.batch(raw)
		tb.head = syncer.Head{}
		req := &servicev1.PushBatchRequest{Batch: b}
		b.PrevChain = append(b.PrevChain, make([]byte, size-proto.Size(req)-10)...)
		for proto.Size(req) < size {
			b.PrevChain = append(b.PrevChain, 0)
		}
		if proto.Size(req) != size {
			t.Fatalf("a message of %d bytes, want %d", proto.Size(req), size)
		}
		return req
	}
	client := servicev1.NewSyncServiceClient(d.conn)
	_, err := client.PushBatch(with(t.Context()), sized(4<<20))
	wants(t, err, codes.InvalidArgument, fault.BadBatch) // its chain hash is no chain hash: it was read
	_, err = client.PushBatch(with(t.Context()), sized(4<<20+1))
	wants(t, err, codes.ResourceExhausted, fault.BatchTooLarge)
	body, err := proto.Marshal(sized(4<<20 + 1))
	if err != nil {
		t.Fatal(err)
	}
	if code, _, text := curl(t, d, "/hearth.service.v1.SyncService/PushBatch", "application/proto", string(body), true); code != http.StatusTooManyRequests || !strings.Contains(text, string(fault.BatchTooLarge)) {
		t.Errorf("4 MiB and a byte by Connect: %d %s", code, text)
	}
	if ack := tb.push(t, d, raw); len(ack.GetResults()) != 0 || ack.GetReceipt().GetSeq() != 1 {
		t.Errorf("afterwards: %v", ack)
	}
}

// gzipped is so many zeros, packed.
func gzipped(t *testing.T, n int64) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(w, zeros{}, n); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// What becomes large when it is unpacked is given up before it has taken the memory: whoever packs it.
func TestBombs(t *testing.T) {
	d := newDesk(t, openSQLite(t, t.TempDir()))
	tb := newTablet("bomb")
	tb.greet(t, d)
	good := tb.batch(tb.record(t, household(1), nil))
	bomb := gzipped(t, bombBytes)
	zw, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	packed := proto.CloneOf(good)
	packed.Entries, packed.EntriesZstd = nil, zw.EncodeAll(make([]byte, bombBytes/4), nil)
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		send func(ctx context.Context) string
		want []string
	}{
		{"gzip in a message of gRPC", func(ctx context.Context) string { return grpcGzip(t, ctx, d, bomb) }, []string{"8", "12"}}, // RESOURCE_EXHAUSTED, or UNIMPLEMENTED: this server unpacks zstd in batches and nothing else
		{"gzip in a message of gRPC-Web", func(ctx context.Context) string {
			return post(t, ctx, d, "application/grpc-web+proto", map[string]string{"Grpc-Encoding": "gzip"}, framed(bomb))
		}, []string{"8", "12"}},
		{"gzip of Connect", func(ctx context.Context) string {
			return post(t, ctx, d, "application/proto", map[string]string{"Content-Encoding": "gzip"}, bomb)
		}, []string{"resource_exhausted", "unimplemented"}},
		{"gzip of Connect, JSON", func(ctx context.Context) string {
			return post(t, ctx, d, "application/json", map[string]string{"Content-Encoding": "gzip"}, bomb)
		}, []string{"resource_exhausted", "unimplemented"}},
		{"zstd in a batch", func(ctx context.Context) string {
			_, err := servicev1.NewSyncServiceClient(d.conn).PushBatch(with(ctx), &servicev1.PushBatchRequest{Batch: packed})
			return reasonOf(err)
		}, []string{string(fault.BatchTooLarge)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			got := tt.send(ctx)
			runtime.ReadMemStats(&after)
			found := false
			for _, w := range tt.want {
				found = found || got == w
			}
			if !found {
				t.Errorf("the answer is %q, want one of %q", got, tt.want)
			}
			if took := after.TotalAlloc - before.TotalAlloc; took > bombMemory {
				t.Errorf("%d MiB were allocated for it", took>>20)
			}
		})
	}
	if resp, err := servicev1.NewSyncServiceClient(d.conn).PushBatch(with(t.Context()), &servicev1.PushBatchRequest{Batch: good}); err != nil || resp.GetAck().GetReceipt().GetSeq() != 1 {
		t.Errorf("afterwards: %v, %v", resp, err)
	}
}

// framed is a message of gRPC that is packed.
func framed(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{1}, uint32(len(b))), b...)
}

// grpcGzip sends a packed message as gRPC and returns the status.
func grpcGzip(t *testing.T, ctx context.Context, d *desk, packed []byte) string {
	t.Helper()
	transport := &http.Transport{Protocols: &http.Protocols{}}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	return answerTo(t, ctx, &http.Client{Transport: transport}, d, "application/grpc", map[string]string{"Grpc-Encoding": "gzip", "Te": "trailers"}, framed(packed))
}

func post(t *testing.T, ctx context.Context, d *desk, contentType string, headers map[string]string, body []byte) string {
	t.Helper()
	return answerTo(t, ctx, http.DefaultClient, d, contentType, headers, body)
}

// answerTo posts to PushBatch and returns the status of gRPC, the code of Connect, or that of HTTP.
func answerTo(t *testing.T, ctx context.Context, client *http.Client, d *desk, contentType string, headers map[string]string, body []byte) string {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+d.addr+servicev1.SyncService_PushBatch_FullMethodName, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Authorization", "Bearer "+testToken)
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []http.Header{resp.Trailer, resp.Header} {
		if s := h.Get("Grpc-Status"); s != "" {
			return s
		}
	}
	for _, line := range strings.FieldsFunc(string(text), func(r rune) bool { return r == '\r' || r == '\n' }) {
		if _, s, ok := strings.Cut(strings.ToLower(line), "grpc-status:"); ok {
			return strings.TrimSpace(s)
		}
	}
	if _, rest, ok := strings.Cut(string(text), `"code":"`); ok {
		code, _, _ := strings.Cut(rest, `"`)
		return code
	}
	return resp.Status[:3]
}
