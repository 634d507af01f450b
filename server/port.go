package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Nearly all that arrives is gRPC of tablets, and grpc-go's own transport takes far less of the processor for it than
// net/http's. But only net/http can serve gRPC-Web, Connect and pages. So the port looks at what a connection begins
// with. Where its first call is gRPC, grpc-go gets the connection; all others, and whatever is not clear, net/http gets,
// which can serve everything.

// sortTimeout is how long a connection that speaks HTTP/2 may leave open what it will call, until grpc-go gets it.
const sortTimeout = 5 * time.Second

// port sorts the connections of a listener.
type port struct {
	native, web *handed

	mu      sync.Mutex
	sorting map[net.Conn]struct{} // nil: closed
	ended   sync.WaitGroup
}

func newPort(addr net.Addr) *port {
	return &port{native: newHanded(addr), web: newHanded(addr), sorting: map[net.Conn]struct{}{}}
}

// serve accepts connections until the listener ends.
func (p *port) serve(l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ECONNABORTED) {
				time.Sleep(10 * time.Millisecond) // it passes
				continue
			}
			return err
		}
		if !p.begin(c) {
			_ = c.Close()
			continue
		}
		go p.sort(c)
	}
}

func (p *port) begin(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sorting == nil {
		return false
	}
	p.sorting[c] = struct{}{}
	p.ended.Add(1)
	return true
}

// close cuts the connections that are not sorted yet.
func (p *port) close() {
	p.mu.Lock()
	for c := range p.sorting {
		_ = c.Close()
	}
	p.sorting = nil
	p.mu.Unlock()
	p.ended.Wait()
	_, _ = p.native.Close(), p.web.Close()
}

// sort hands one connection on.
func (p *port) sort(c net.Conn) {
	defer p.ended.Done()
	to, first, err := firstOf(c)
	p.mu.Lock()
	delete(p.sorting, c)
	p.mu.Unlock()
	if err == nil {
		err = c.SetDeadline(time.Time{})
	}
	if err != nil {
		_ = c.Close()
		return
	}
	switch to {
	case toGRPC:
		p.native.give(&replayed{Conn: c, first: first})
	case toHTTP2:
		p.web.give(&unasked{Conn: &replayed{Conn: c, first: first}, left: len(http2.ClientPreface)})
	default:
		p.web.give(&replayed{Conn: c, first: first})
	}
}

// target is who gets a connection.
type target int

const (
	unsorted target = iota
	toGRPC
	toHTTP1
	toHTTP2
)

// firstOf reads the first bytes of a connection until they tell who is to have it, and returns them. Clients wait for the
// server's settings before they call, so those are sent first; that they come again from the one who gets the
// connection is allowed.
func firstOf(c net.Conn) (target, []byte, error) {
	if err := c.SetDeadline(time.Now().Add(headerTimeout)); err != nil {
		return unsorted, nil, err
	}
	seen, buf, greeted := []byte(nil), make([]byte, 2<<10), false
	for {
		n, err := c.Read(buf)
		seen = append(seen, buf[:n]...)
		var slow net.Error
		if greeted && errors.As(err, &slow) && slow.Timeout() {
			return toGRPC, seen, nil
		}
		if to := sortBytes(seen); to != unsorted || err != nil && len(seen) > 0 && errors.Is(err, io.EOF) {
			return max(to, toGRPC), seen, nil
		}
		if err != nil {
			return unsorted, nil, err
		}
		if !greeted && len(seen) >= len(http2.ClientPreface) {
			greeted = true
			if err := http2.NewFramer(c, nil).WriteSettings(); err != nil {
				return unsorted, nil, err
			}
			if err := c.SetDeadline(time.Now().Add(sortTimeout)); err != nil {
				return unsorted, nil, err
			}
		}
	}
}

// sortBytes tells who gets a connection that begins with these bytes; unsorted if more of them are needed.
func sortBytes(seen []byte) target {
	preface := []byte(http2.ClientPreface)
	if !bytes.HasPrefix(seen, preface) {
		if bytes.HasPrefix(preface, seen) {
			return unsorted
		}
		return toHTTP1
	}
	frames := http2.NewFramer(io.Discard, bytes.NewReader(seen[len(preface):]))
	frames.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	frames.MaxHeaderListSize = maxHeader
	frames.SetMaxReadFrameSize(16 << 10)
	for {
		f, err := frames.ReadFrame()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			if len(seen) > 2*maxHeader {
				return toHTTP2
			}
			return unsorted
		}
		if err != nil {
			return toHTTP2
		}
		switch f := f.(type) {
		case *http2.SettingsFrame, *http2.WindowUpdateFrame, *http2.PriorityFrame:
		case *http2.PingFrame: // it is to be answered; gRPC clients alone ask before they call
			return toGRPC
		case *http2.MetaHeadersFrame:
			if !f.Truncated && onlyGRPC(f.Fields) {
				return toGRPC
			}
			return toHTTP2
		default:
			return toHTTP2
		}
	}
}

// onlyGRPC says whether a call is gRPC itself and comes from where it was made: a proxy may send calls of all kinds over
// one connection.
func onlyGRPC(fields []hpack.HeaderField) bool {
	grpc := false
	for _, f := range fields {
		switch {
		case f.Name == "content-type":
			grpc = isGRPCType(f.Value)
		case f.Name == "via", f.Name == "forwarded", strings.HasPrefix(f.Name, "x-forwarded-"), strings.HasPrefix(f.Name, "x-envoy-"):
			return false
		}
	}
	return grpc
}

// replayed is a connection of which the first bytes were read already.
type replayed struct {
	net.Conn
	first []byte
}

// Read returns the first bytes again and then what follows.
func (c *replayed) Read(p []byte) (int, error) {
	if len(c.first) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.first)
	if c.first = c.first[n:]; len(c.first) == 0 {
		c.first = nil
	}
	return n, nil
}

// CloseWrite ends the answers and leaves the connection open for what is still arriving: net/http does so where it has
// not read all of a request, for a reset may overtake its answer.
func (c *replayed) CloseWrite() error { return closeWrite(c.Conn) }

// CloseWrite is that of replayed.
func (c *unasked) CloseWrite() error { return closeWrite(c.Conn) }

// limited is a listener that has so many connections at a time; those after them wait. Its connections can be closed for
// writing alone, as those of x/net/netutil cannot.
type limited struct {
	net.Listener
	slots  chan struct{}
	ended  chan struct{}
	finish func()
}

func newLimited(l net.Listener, most int) *limited {
	ended := make(chan struct{})
	return &limited{Listener: l, slots: make(chan struct{}, most), ended: ended, finish: sync.OnceFunc(func() { close(ended) })}
}

// Accept waits for a free place and then for a connection.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.ended:
		return nil, net.ErrClosed
	}
	free := sync.OnceFunc(func() { <-l.slots })
	c, err := l.Listener.Accept()
	if err != nil {
		free()
		return nil, err
	}
	return &placed{Conn: c, free: free}, nil
}

// Close ends the listener and whoever waits for a place.
func (l *limited) Close() error {
	l.finish()
	return l.Listener.Close()
}

// placed is a connection that has a place among the limited ones.
type placed struct {
	net.Conn
	free func()
}

// Close closes the connection and gives its place up.
func (c *placed) Close() error {
	defer c.free()
	return c.Conn.Close()
}

// CloseWrite closes the connection for writing alone.
func (c *placed) CloseWrite() error { return closeWrite(c.Conn) }

func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// unasked is a connection of HTTP/2 without the first acknowledgement of settings: it is of those that the port sent,
// and net/http takes it for a mistake that settings are acknowledged which it did not send.
type unasked struct {
	net.Conn
	head [9]byte // of the frame that comes next, as far as it was read
	have int
	out  []byte // what of head is to be returned
	left int    // bytes to be returned as they are
	done bool
}

// Read returns what the connection brings but for that acknowledgement.
func (c *unasked) Read(p []byte) (int, error) {
	const settings, ack = 4, 1
	for {
		switch {
		case len(c.out) > 0:
			n := copy(p, c.out)
			c.out = c.out[n:]
			return n, nil
		case c.done:
			return c.Conn.Read(p)
		case c.left > 0:
			n, err := c.Conn.Read(p[:min(len(p), c.left)])
			c.left -= n
			return n, err
		}
		n, err := c.Conn.Read(c.head[c.have:])
		if c.have += n; c.have < len(c.head) {
			if err != nil {
				return 0, err
			}
			continue
		}
		c.have = 0
		c.left = int(c.head[0])<<16 | int(c.head[1])<<8 | int(c.head[2])
		if c.head[3] == settings && c.head[4]&ack != 0 && c.left == 0 {
			c.done = true
			continue
		}
		c.out = c.head[:]
	}
}

// handed is a listener whose connections somebody else has accepted.
type handed struct {
	addr   net.Addr
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newHanded(addr net.Addr) *handed {
	return &handed{addr: addr, conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (h *handed) give(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.closed:
		_ = c.Close()
	}
}

// Accept waits for the next connection.
func (h *handed) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (h *handed) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

// Addr is the address of the port.
func (h *handed) Addr() net.Addr { return h.addr }

// cutGrace is how long calls that were cut have to notice it.
const cutGrace = 3 * time.Second

// stopGRPC waits for the calls under way on connections of grpc-go's own until ctx ends, and cuts what is left. It says
// whether calls were cut. Only where no call can come by net/http any more it may be patient.
func (s *Server) stopGRPC(ctx context.Context, patient bool) (cut bool) {
	done := make(chan struct{}, 2)
	if patient {
		go func() { s.grpc.GracefulStop(); done <- struct{}{} }()
		select {
		case <-done:
			return false
		case <-ctx.Done():
		}
	}
	go func() { s.grpc.Stop(); done <- struct{}{} }()
	select {
	case <-done:
	case <-time.After(cutGrace):
	}
	return true
}
