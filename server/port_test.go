package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
)

// call2 is what a client of HTTP/2 sends first.
func call2(t testing.TB, headers ...string) []byte {
	t.Helper()
	var out, block bytes.Buffer
	out.WriteString(http2.ClientPreface)
	enc := hpack.NewEncoder(&block)
	for i := 0; i < len(headers); i += 2 {
		if err := enc.WriteField(hpack.HeaderField{Name: headers[i], Value: headers[i+1]}); err != nil {
			t.Fatal(err)
		}
	}
	fr := http2.NewFramer(&out, nil)
	for _, err := range []error{
		fr.WriteSettings(), fr.WriteWindowUpdate(0, 1<<20),
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

// TestSortConnections: who gets a connection follows from its first call, and however the bytes are cut, nobody gets it
// before that can be told.
func TestSortConnections(t *testing.T) {
	post := []string{":method", "POST", ":scheme", "http", ":path", "/a.B/C", ":authority", "hq"}
	with := func(more ...string) []byte { return call2(t, append(append([]string{}, post...), more...)...) }
	ping := bytes.NewBufferString(http2.ClientPreface)
	fr := http2.NewFramer(ping, nil)
	if err := fr.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	if err := fr.WritePing(false, [8]byte{1}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name  string
		bytes []byte
		want  target
	}{
		{"a tablet", with("content-type", "application/grpc"), toGRPC},
		{"a tablet that names its codec", with("content-type", "application/grpc+proto", "te", "trailers"), toGRPC},
		{"gRPC-Web", with("content-type", "application/grpc-web+proto"), toHTTP2},
		{"Connect", with("content-type", "application/proto"), toHTTP2},
		{"no type", with(), toHTTP2},
		{"gRPC by a proxy", with("content-type", "application/grpc", "x-forwarded-for", "10.0.0.1"), toHTTP2},
		{"gRPC by another proxy", with("via", "2 gate", "content-type", "application/grpc"), toHTTP2},
		{"headers over the limit", with("content-type", "application/grpc", "a", strings.Repeat("x", 15<<10), "b", strings.Repeat("y", 15<<10)), toHTTP2},
		{"a ping before the first call", ping.Bytes(), toGRPC},
		{"HTTP/1", []byte("POST /a.B/C HTTP/1.1\r\nContent-Type: application/grpc\r\n"), toHTTP1},
		{"nearly HTTP/2", []byte("PRI * HTTP/1.1\r\n\r\n"), toHTTP1},
		{"noise after the greeting", []byte(http2.ClientPreface + "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), toHTTP2},
	} {
		t.Run(test.name, func(t *testing.T) {
			for n := range test.bytes {
				if got := sortBytes(test.bytes[:n]); got != unsorted && got != test.want {
					t.Fatalf("after %d bytes of %d: %v, want %v", n, len(test.bytes), got, test.want)
				}
			}
			if got := sortBytes(test.bytes); got != test.want {
				t.Fatalf("got %v, want %v", got, test.want)
			}
		})
	}
}

func FuzzSortBytes(f *testing.F) {
	f.Add(call2(f, ":method", "POST", "content-type", "application/grpc"))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if sortBytes(b) != unsorted && len(b) == 0 {
			t.Fatal("a connection that has said nothing was sorted")
		}
	})
}

// TestUnaskedAcknowledgement: of what a client sends exactly the first acknowledgement of settings is left out, however
// the bytes arrive.
func TestUnaskedAcknowledgement(t *testing.T) {
	var sent, want bytes.Buffer
	both := io.MultiWriter(&sent, &want)
	_, _ = io.WriteString(both, http2.ClientPreface)
	for i, to := range []io.Writer{both, &sent, both, both} { // the second is the acknowledgement to leave out
		fr := http2.NewFramer(to, nil)
		var err error
		switch i {
		case 0:
			err = fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
		case 1, 2:
			err = fr.WriteSettingsAck()
		case 3:
			err = fr.WriteData(1, true, []byte("answers"))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, size := range []int{1, 2, 7, 9, 10, 4096} {
		c := &unasked{Conn: &trickle{rest: sent.Bytes(), size: size}, left: len(http2.ClientPreface)}
		got, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(got, want.Bytes()) {
			t.Errorf("by %d bytes: %q, %v; want %q", size, got, err, want.Bytes())
		}
	}
}

// trickle is a connection that brings a few bytes at a time.
type trickle struct {
	net.Conn
	rest []byte
	size int
}

func (c *trickle) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.rest[:min(c.size, len(c.rest))])
	c.rest = c.rest[n:]
	return n, nil
}

// TestOnePort: gRPC, a page over HTTP/1 and over HTTP/2, and connections that say nothing share a port, and all end with
// the server.
func TestOnePort(t *testing.T) {
	d := newDesk(t, openSQLite(t, t.TempDir()))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Serve(ctx, l) }()
	silent, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	cc, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	within, done := context.WithTimeout(t.Context(), 20*time.Second)
	defer done()
	for range 3 {
		if _, err := healthv1.NewHealthClient(cc).Check(within, &healthv1.HealthCheckRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, two := range []bool{false, true} {
		protocols := new(http.Protocols)
		protocols.SetHTTP1(!two)
		protocols.SetUnencryptedHTTP2(two)
		tr := &http.Transport{Protocols: protocols}
		defer tr.CloseIdleConnections()
		for range 3 { // the later ones after all settings were acknowledged
			req, err := http.NewRequestWithContext(within, http.MethodGet, "http://"+l.Addr().String()+"/", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := (&http.Client{Transport: tr}).Do(req)
			if err != nil {
				t.Fatalf("HTTP/2 %v: %v", two, err)
			}
			page, err := io.ReadAll(resp.Body)
			if err = errors.Join(err, resp.Body.Close()); err != nil || resp.ProtoMajor == 2 != two || !strings.Contains(string(page), "Hearth") {
				t.Fatalf("HTTP/2 %v: %v %s %v", two, resp.Proto, page, err)
			}
		}
	}
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the server does not end")
	}
	if err := silent.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := silent.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the silent connection got %v, want its end", err)
	}
}
