package main

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// tabletConn is a connection to a server as a tablet has it: over radio that comes and goes.
type tabletConn struct {
	*grpc.ClientConn
	moved atomic.Int64
}

// Moved counts the bytes of the connection, both ways, with everything that HTTP/2 and TLS add.
func (c *tabletConn) Moved() int64 { return c.moved.Load() }

// dialTablet connects a tablet: bytes are counted, so that a call lasts as long as something moves; a new connection is
// tried again after 0.5 s to 15 s; and the first request does not wait for the server's settings.
func dialTablet(addr, token string) (*tabletConn, error) {
	creds := insecure.NewCredentials()
	if rest, ok := strings.CutPrefix(addr, "https://"); ok {
		addr, creds = rest, credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13, ClientSessionCache: tls.NewLRUClientSessionCache(4)})
	}
	c := &tabletConn{}
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(eager{creds}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(32 << 20)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 500 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 15 * time.Second},
			MinConnectTimeout: 20 * time.Second,
		}),
		grpc.WithContextDialer(c.dial),
	}
	if token != "" {
		opts = append(opts, grpc.WithPerRPCCredentials(bearer(token)))
	}
	var err error
	if c.ClientConn, err = grpc.NewClient("passthrough:///"+strings.TrimPrefix(addr, "http://"), opts...); err != nil {
		return nil, fault.New(fault.Invalid, fault.Unreachable, "server address %q: %w", addr, err)
	}
	return c, nil
}

// sendBuffer is what the system takes of a connection before it has been sent. It is small, so that bytes count as moved
// not long before they are.
const sendBuffer = 32 << 10

func (c *tabletConn) dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(sendBuffer) // an economy of patience
	}
	return &countedConn{conn, &c.moved}, nil
}

// countedConn counts its bytes as they move.
type countedConn struct {
	net.Conn
	moved *atomic.Int64
}

// Read counts what comes.
func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.moved.Add(int64(n))
	return n, err
}

// Write counts what the system has taken, in small pieces.
func (c *countedConn) Write(p []byte) (int, error) {
	done := 0
	for {
		piece := p[done:min(len(p), done+4<<10)]
		n, err := c.Conn.Write(piece)
		c.moved.Add(int64(n))
		if done += n; err != nil || done == len(p) {
			return done, err
		}
	}
}

// eager are credentials whose connections begin at once: HTTP/2 lets a client send requests before the server's settings
// have come, gRPC waits for them, which costs a round trip for each new connection.
type eager struct {
	credentials.TransportCredentials
}

// ClientHandshake makes the connection secure, if it is to be, and lets it begin.
func (e eager) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := e.TransportCredentials.ClientHandshake(ctx, authority, raw)
	if err != nil {
		return nil, nil, err
	}
	return &eagerConn{Conn: conn, settings: emptySettings[:], pass: len(http2Preface)}, info, nil
}

// Clone is needed by gRPC.
func (e eager) Clone() credentials.TransportCredentials { return eager{e.TransportCredentials.Clone()} }

// http2Preface begins what an HTTP/2 client sends; its first frame follows.
const http2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// emptySettings is a frame of settings in which nothing is set; with the flag 1 it acknowledges one.
var emptySettings = [9]byte{3: 4}

// eagerConn gives its reader empty settings at once, in the server's name, and keeps the acknowledgement of them from the
// server, which sends its own settings later and gets the acknowledgement of those.
type eagerConn struct {
	net.Conn
	settings []byte // what is left of the frame to be read

	pass   int     // bytes to be written as they are before the next frame
	header [9]byte // of the next frame, as far as it was written
	have   int
	done   bool // the acknowledgement was kept
}

// Read gives the empty settings first.
func (c *eagerConn) Read(p []byte) (int, error) {
	if len(c.settings) > 0 {
		n := copy(p, c.settings)
		c.settings = c.settings[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// Write leaves the acknowledgement out.
func (c *eagerConn) Write(p []byte) (int, error) {
	if c.done {
		return c.Conn.Write(p)
	}
	out := make([]byte, 0, len(p)+len(c.header))
	for rest := p; len(rest) > 0; {
		if c.done {
			out = append(out, rest...)
			break
		}
		if n := min(c.pass, len(rest)); n > 0 {
			out, rest, c.pass = append(out, rest[:n]...), rest[n:], c.pass-n
			continue
		}
		n := copy(c.header[c.have:], rest)
		rest = rest[n:]
		if c.have += n; c.have < len(c.header) {
			break
		}
		if c.have = 0; c.header == [9]byte{3: 4, 4: 1} {
			c.done = true
			continue
		}
		out = append(out, c.header[:]...)
		c.pass = int(c.header[0])<<16 | int(c.header[1])<<8 | int(c.header[2])
	}
	if len(out) > 0 {
		if _, err := c.Conn.Write(out); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}
