//go:build linux

package crashtest

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// direction is which way frames go.
type direction int

const (
	up direction = iota
	down
)

func (d direction) String() string { return [...]string{"to the server", "to the tablet"}[d] }

// frameProxy stands between a tablet and a server and passes HTTP/2 frames. Its first connection it cuts behind a number of
// frames in one direction; those after it live.
type frameProxy struct {
	ln     net.Listener
	to     string
	cutDir direction
	cutAt  int // frames passed before the cut; -1: never
	frames [2]atomic.Int64
	cuts   atomic.Int64
	conns  atomic.Int64

	mu   sync.Mutex
	open map[net.Conn]bool
	done sync.WaitGroup
}

func newFrameProxy(t testing.TB, to string, dir direction, at int) *frameProxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &frameProxy{ln: ln, to: to, cutDir: dir, cutAt: at, open: map[net.Conn]bool{}}
	p.done.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *frameProxy) addr() string { return p.ln.Addr().String() }

func (p *frameProxy) close() {
	_ = p.ln.Close()
	p.mu.Lock()
	for c := range p.open {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.done.Wait()
}

func (p *frameProxy) accept() {
	for {
		in, err := p.ln.Accept()
		if err != nil {
			return
		}
		out, err := net.DialTimeout("tcp", p.to, 2*time.Second)
		if err != nil {
			_ = in.Close()
			continue
		}
		p.mu.Lock()
		p.open[in], p.open[out] = true, true
		p.mu.Unlock()
		mortal := p.conns.Add(1) == 1 && p.cutAt >= 0
		cut := func() { // a reset, as of a telephone that is gone
			for _, c := range []net.Conn{in, out} {
				_ = c.(*net.TCPConn).SetLinger(0)
				_ = c.Close()
				p.mu.Lock()
				delete(p.open, c)
				p.mu.Unlock()
			}
		}
		p.done.Go(func() { p.pass(out, in, up, mortal, cut) })
		p.done.Go(func() { p.pass(in, out, down, mortal, cut) })
	}
}

// preface is what a client sends before its first frame.
const preface = 24

// pass copies frames one way until one end closes.
func (p *frameProxy) pass(dst io.Writer, src io.Reader, dir direction, mortal bool, cut func()) {
	defer cut()
	if dir == up {
		if _, err := io.CopyN(dst, src, preface); err != nil {
			return
		}
	}
	head := make([]byte, 9)
	for n := 0; ; n++ {
		if mortal && dir == p.cutDir && n == p.cutAt {
			p.cuts.Add(1)
			return
		}
		if _, err := io.ReadFull(src, head); err != nil {
			return
		}
		frame := make([]byte, 9+int(binary.BigEndian.Uint32(append([]byte{0}, head[:3]...))))
		copy(frame, head)
		if _, err := io.ReadFull(src, frame[9:]); err != nil {
			return
		}
		if _, err := dst.Write(frame); err != nil {
			return
		}
		p.frames[dir].Add(1)
	}
}

// The connection is cut behind every frame of a sync, in both directions. However it is, the tablet comes to its end, and
// headquarters holds everything once.
func TestCutAtEveryFrame(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "hq")
	srv := mustServe(t, data, "")
	var tablets []string
	session := func(d direction, at int) *frameProxy {
		t.Helper()
		path := nth(dir, fmt.Sprintf("tablet-%d", d), at+1)
		tablets = append(tablets, path)
		s := newTablet(t, path, 3, 20_000)
		p := newFrameProxy(t, srv.addr, d, at)
		cc := dial(t, p.addr(), srv.token)
		syncAll(t, s, cc, 30*time.Second)
		_ = cc.Close()
		p.close()
		if err := s.Close(); err != nil {
			t.Errorf("cut behind frame %d %v: %v", at, d, err)
		}
		return p
	}
	free := session(up, -1)
	frames := [2]int{int(free.frames[up].Load()), int(free.frames[down].Load())}
	if frames[up] < 10 || frames[down] < 10 {
		t.Fatalf("a sync has %v frames: too few to cut between", frames)
	}
	cuts := 0
	for _, d := range []direction{up, down} {
		for at := 0; at <= frames[d]; at += some(1, 15) {
			cuts += int(session(d, at).cuts.Load())
		}
	}
	tried := len(tablets) - 1
	if cuts < tried*3/4 {
		t.Errorf("the connection was cut in %d of %d sessions", cuts, tried)
	}
	t.Logf("%d cuts in %d sessions of %d and %d frames", cuts, tried, frames[up], frames[down])
	srv.stop(t)
	verify(t, data, tablets, true)
	check(t, data)
}

// A tablet whose connection is open and dead gives up its call in time and comes through on the next one.
func TestBlackHole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, "hq")
	srv := mustServe(t, data, "")
	ln, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and never says a word
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	path := nth(dir, "tablet", 1)
	s := newTablet(t, path, 3, 0)
	opts := fast
	opts.CallTimeout, opts.Attempts = 300*time.Millisecond, 2
	began := time.Now()
	if _, err := s.Sync(t.Context(), dial(t, ln.Addr().String(), srv.token), opts); err == nil || time.Since(began) > 10*time.Second {
		t.Errorf("Sync into nothing = %v after %v", err, time.Since(began))
	}
	syncAll(t, s, dial(t, srv.addr, srv.token), 20*time.Second)
	_ = s.Close()
	srv.stop(t)
	verify(t, data, []string{path}, true)
	check(t, data)
}
