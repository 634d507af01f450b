//go:build linux

package crashtest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
)

// resident is the memory of a process in bytes, from /proc.
func resident(t testing.TB, p *process) int64 {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			var kb int64
			_, _ = fmt.Sscan(rest, &kb)
			return kb << 10
		}
	}
	t.Fatal("the process has no memory")
	return 0
}

// frame is one frame of HTTP/2.
func frame(kind, flags byte, stream uint32, payload []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload)))[1:]
	b = append(b, kind, flags)
	return append(binary.BigEndian.AppendUint32(b, stream), payload...)
}

const clientPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// ask makes one call on a connection, as gRPC does, and reads its answer to the end.
func ask(c net.Conn) error {
	var head bytes.Buffer
	enc := hpack.NewEncoder(&head)
	for _, f := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", "/grpc.health.v1.Health/Check"}, {":authority", "x"},
		{"content-type", "application/grpc"}, {"te", "trailers"}} {
		if err := enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}); err != nil {
			return err
		}
	}
	call := []byte(clientPreface)
	call = append(call, frame(4, 0, 0, nil)...)
	call = append(call, frame(1, 4, 1, head.Bytes())...)
	call = append(call, frame(0, 1, 1, make([]byte, 5))...)
	if _, err := c.Write(call); err != nil {
		return err
	}
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	got := make([]byte, 9)
	for {
		if _, err := io.ReadFull(c, got); err != nil {
			return err
		}
		n := int64(binary.BigEndian.Uint32(append([]byte{0}, got[:3]...)))
		if _, err := io.CopyN(io.Discard, c, n); err != nil {
			return err
		}
		if got[3] == 1 && got[4]&1 != 0 { // the trailers
			return nil
		}
	}
}

// openIdle opens connections on which one call was made, and nothing more.
func openIdle(t testing.TB, addr string, n int) {
	t.Helper()
	conns := make([]net.Conn, n)
	t.Cleanup(func() {
		for _, c := range conns {
			if c != nil {
				_ = c.Close()
			}
		}
	})
	var next, failed atomic.Int64
	var why atomic.Value
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				c, err := net.DialTimeout("tcp", addr, 20*time.Second)
				if err == nil {
					conns[i] = c
					err = ask(c)
				}
				if err != nil {
					failed.Add(1)
					why.Store(err.Error())
				}
			}
		})
	}
	wg.Wait()
	if failed.Load() > 0 {
		t.Errorf("%d of %d connections were not taken: %v", failed.Load(), n, why.Load())
	}
}

// Ten thousand tablets hold a connection and say nothing. The server stays small and answers a sync at once.
func TestIdleConnections(t *testing.T) {
	n := some(10_000, 300)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur < uint64(n)+500 {
		t.Skipf("SKIPPED: this process may open %d files, and %d connections need more: raise it with ulimit -n", limit.Cur, n)
	}
	dir := t.TempDir()
	data := filepath.Join(dir, "hq")
	srv := mustServe(t, data, "")
	before := resident(t, srv.process)
	openIdle(t, srv.addr, n)
	with := resident(t, srv.process)
	path := nth(dir, "tablet", 0)
	s := newTablet(t, path, 5, 20_000)
	began := time.Now()
	syncAll(t, s, dial(t, srv.addr, srv.token), 20*time.Second)
	took := time.Since(began)
	_ = s.Close()
	t.Logf("%d idle connections: %d MiB, %d without them, %d KiB each; a sync beside them took %v", n, with>>20, before>>20, (with-before)/int64(n)>>10, took)
	if with > 1<<30 {
		t.Errorf("the server has %d MiB with %d idle connections, want less than 1 GiB", with>>20, n)
	}
	if each := (with - before) / int64(n); each > 100<<10 {
		t.Errorf("an idle connection costs %d KiB, want less than 100", each>>10)
	}
	srv.kill() // it would wait for the connections
	verify(t, data, []string{path}, true)
	check(t, data)
}

// Who reads an attachment slowly, or not at all, costs the server little, and others are served meanwhile.
func TestSlowReaders(t *testing.T) {
	n := some(200, 20)
	dir := t.TempDir()
	data := filepath.Join(dir, "hq")
	srv := mustServe(t, data, "")
	path := nth(dir, "tablet", 0)
	s := newTablet(t, path, 1, 4<<20)
	cc := dial(t, srv.addr, srv.token)
	syncAll(t, s, cc, 30*time.Second)
	_ = s.Close()
	sum := readTablet(t, path).blobs[0]
	before := resident(t, srv.process)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for range n {
		slow := dial(t, srv.addr, srv.token, grpc.WithInitialWindowSize(8<<20), grpc.WithInitialConnWindowSize(16<<20),
			grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
				c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
				if err != nil {
					return nil, err
				}
				_ = c.(*net.TCPConn).SetReadBuffer(4096)
				return &stuck{Conn: c, left: 2048}, nil
			}))
		stream, err := servicev1.NewSyncServiceClient(slow).GetBlob(ctx, &servicev1.GetBlobRequest{Sha256: sum})
		if err != nil {
			t.Fatal(err)
		}
		_ = stream
	}
	time.Sleep(time.Duration(some(3000, 1000)) * time.Millisecond)
	with := resident(t, srv.process)
	each := (with - before) / int64(n)
	began := time.Now()
	got := fetch(t, cc, sum)
	t.Logf("%d slow readers: %d KiB each; a reader beside them took %v for %d bytes", n, each>>10, time.Since(began), got)
	if each > 256<<10 {
		t.Errorf("a slow reader costs the server %d KiB, want at most 256", each>>10)
	}
	srv.kill()
	verify(t, data, []string{path}, true)
}

// stuck is a connection on which the reader stops after some bytes.
type stuck struct {
	net.Conn
	left int
	once sync.Once
	shut chan struct{}
}

// Read reads a little, then nothing more until the connection is closed.
func (s *stuck) Read(p []byte) (int, error) {
	s.once.Do(func() { s.shut = make(chan struct{}) })
	if s.left <= 0 {
		<-s.shut
		return 0, errors.New("closed")
	}
	n, err := s.Conn.Read(p[:min(len(p), s.left)])
	s.left -= n
	return n, err
}

// Close ends the waiting.
func (s *stuck) Close() error {
	s.once.Do(func() { s.shut = make(chan struct{}) })
	select {
	case <-s.shut:
	default:
		close(s.shut)
	}
	return s.Conn.Close()
}

// fetch reads an attachment whole.
func fetch(t testing.TB, cc grpc.ClientConnInterface, sum []byte) (n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	stream, err := servicev1.NewSyncServiceClient(cc).GetBlob(ctx, &servicev1.GetBlobRequest{Sha256: sum})
	if err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		all.Write(m.GetData())
	}
	if _, err := syncer.ParseBlobID(sum); err != nil {
		t.Fatal(err)
	}
	return all.Len()
}

// Who opens a connection and says nothing, a byte now and then, or half of a call, is shown the door in time; tablets are
// served meanwhile.
func TestSlowWriters(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, "hq")
	srv := mustServe(t, data, "")
	begin := map[string]string{
		"says nothing":            "",
		"half a preface":          clientPreface[:10],
		"half of HTTP/1 headers":  "POST / HTTP/1.1\r\nHost: x\r\n",
		"a preface and no more":   clientPreface,
		"half of a frame":         clientPreface + string(frame(4, 0, 0, nil)) + string(frame(1, 4, 1, make([]byte, 200))[:20]),
		"headers without an end":  clientPreface + string(frame(4, 0, 0, nil)) + string(frame(1, 0, 1, []byte{0x82})),
		"a frame that is too big": clientPreface + string(frame(4, 0, 0, nil)) + "\xff\xff\xff\x00\x00\x00\x00\x00\x01",
	}
	const each = 30
	limit := 150 * time.Second
	var wg sync.WaitGroup
	var mu sync.Mutex
	ended := map[string]int{}
	conns := []net.Conn{}
	for name, text := range begin {
		for range each {
			c, err := net.Dial("tcp", srv.addr)
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, c)
			wg.Go(func() {
				_, _ = c.Write([]byte(text))
				_ = c.SetReadDeadline(time.Now().Add(limit))
				_, err := io.Copy(io.Discard, c)
				var timeout net.Error
				if !errors.As(err, &timeout) || !timeout.Timeout() {
					mu.Lock()
					ended[name]++
					mu.Unlock()
				}
			})
		}
	}
	path := nth(dir, "tablet", 0)
	s := newTablet(t, path, 5, 20_000)
	began := time.Now()
	syncAll(t, s, dial(t, srv.addr, srv.token), 20*time.Second)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("a sync beside slow writers took %v", took)
	}
	_ = s.Close()
	time.Sleep(time.Duration(some(26, 1)) * time.Second)
	mu.Lock()
	if wholeRun() {
		for _, name := range []string{"says nothing", "half a preface", "half of HTTP/1 headers", "a frame that is too big"} {
			if ended[name] != each {
				t.Errorf("%s: %d of %d connections were ended within 26 s", name, ended[name], each)
			}
		}
	}
	t.Logf("ended: %v", ended)
	mu.Unlock()
	if rss := resident(t, srv.process); rss > 300<<20 {
		t.Errorf("the server has %d MiB", rss>>20)
	}
	for _, c := range conns {
		_ = c.Close()
	}
	wg.Wait()
	srv.stop(t)
	verify(t, data, []string{path}, true)
}
