package main

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// mortalLink is a connection that dies: a proxy on loopback that passes a number of bytes towards the server and then
// closes everything, as a telephone does that leaves the last mast behind.
type mortalLink struct {
	ln    net.Listener
	to    string
	left  atomic.Int64
	mu    sync.Mutex
	conns []net.Conn
}

func newMortalLink(to string, bytes int64) (*mortalLink, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &mortalLink{ln: ln, to: to}
	l.left.Store(bytes)
	go l.accept()
	return l, nil
}

func (l *mortalLink) addr() string { return l.ln.Addr().String() }

func (l *mortalLink) accept() {
	for {
		in, err := l.ln.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", l.to)
		if err != nil || l.left.Load() <= 0 {
			_ = in.Close()
			if err == nil {
				_ = out.Close()
			}
			continue
		}
		l.mu.Lock()
		l.conns = append(l.conns, in, out)
		l.mu.Unlock()
		go func() { _, _ = io.Copy(in, out) }()
		go l.pass(out, in)
	}
}

// pass copies towards the server until the bytes are used up.
func (l *mortalLink) pass(out io.Writer, in io.Reader) {
	buf := make([]byte, 512)
	for {
		n, err := in.Read(buf)
		if n > 0 && l.left.Add(-int64(n)) >= 0 {
			_, werr := out.Write(buf[:n])
			err = errors.Join(err, werr)
		}
		if err != nil || l.left.Load() <= 0 {
			l.cut()
			return
		}
	}
}

func (l *mortalLink) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		_ = c.Close()
	}
	l.conns = nil
}

func (l *mortalLink) close() error {
	err := l.ln.Close()
	l.cut()
	return err
}
