package main

import (
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// packet is the most of one packet of a radio link, and what TCP and IP add to each.
const (
	packet         = 1300
	packetOverhead = 40
)

// radioLink is a proxy on loopback that is as slow as radio: a bandwidth, a delay, and connections that die. A new
// connection costs a round trip before its first byte, as TCP's handshake does.
type radioLink struct {
	ln    net.Listener
	to    string
	rate  float64       // bytes a second, each way
	delay time.Duration // one way
	life  time.Duration // of a connection, on average; 0: it never dies

	up    atomic.Int64 // bytes towards the server, with what TCP and IP add
	conns atomic.Int64
	mu    sync.Mutex
	rand  *rand.Rand
	open  map[net.Conn]bool
	done  bool
	wg    sync.WaitGroup
}

func newRadioLink(to string, rate float64, rtt, life time.Duration, seed uint64) (*radioLink, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &radioLink{ln: ln, to: to, rate: rate, delay: rtt / 2, life: life, rand: rand.New(rand.NewPCG(seed, 11)), open: map[net.Conn]bool{}}
	l.wg.Add(1)
	go l.accept()
	return l, nil
}

func (l *radioLink) addr() string { return l.ln.Addr().String() }

func (l *radioLink) accept() {
	defer l.wg.Done()
	for {
		in, err := l.ln.Accept()
		if err != nil {
			return
		}
		l.wg.Add(1)
		go func() {
			defer l.wg.Done()
			l.serve(in)
		}()
	}
}

// keep notes an open connection; false once the link is closed.
func (l *radioLink) keep(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range conns {
		l.open[c] = true
	}
	return !l.done
}

func (l *radioLink) serve(in net.Conn) {
	l.conns.Add(1)
	out, err := net.Dial("tcp", l.to)
	if err != nil {
		_ = in.Close()
		return
	}
	kill := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, c := range []net.Conn{in, out} {
			if tcp, ok := c.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0) // what is on its way is lost
			}
			_ = c.Close()
			delete(l.open, c)
		}
	}
	defer kill()
	if !l.keep(in, out) {
		return
	}
	if l.life > 0 {
		l.mu.Lock()
		life := time.Duration(l.rand.ExpFloat64() * float64(l.life))
		l.mu.Unlock()
		defer time.AfterFunc(life, kill).Stop()
	}
	time.Sleep(2 * l.delay)
	var both sync.WaitGroup
	both.Go(func() { l.pump(out, in, &l.up, kill) })
	both.Go(func() { l.pump(in, out, new(atomic.Int64), kill) })
	both.Wait()
}

// pump passes bytes on, as fast as the bandwidth lets them through, each after the delay.
func (l *radioLink) pump(to, from net.Conn, count *atomic.Int64, kill func()) {
	type piece struct {
		at    time.Time
		bytes []byte
	}
	onTheWay := make(chan piece, 4096)
	var late sync.WaitGroup
	late.Go(func() {
		dead := false
		for p := range onTheWay {
			time.Sleep(time.Until(p.at))
			if _, err := to.Write(p.bytes); err != nil && !dead {
				dead = true
				kill()
			}
		}
		kill()
	})
	next := time.Now()
	for {
		buf := make([]byte, packet)
		n, err := from.Read(buf)
		if n > 0 {
			size := n + packetOverhead
			count.Add(int64(size))
			if now := time.Now(); next.Before(now) {
				next = now
			}
			next = next.Add(time.Duration(float64(size) / l.rate * float64(time.Second)))
			time.Sleep(time.Until(next))
			onTheWay <- piece{next.Add(l.delay), buf[:n]}
		}
		if err != nil {
			break
		}
	}
	close(onTheWay)
	late.Wait()
}

func (l *radioLink) close() error {
	err := l.ln.Close()
	l.mu.Lock()
	l.done = true
	var errs []error
	for c := range l.open {
		errs = append(errs, c.Close())
	}
	l.mu.Unlock()
	l.wg.Wait()
	_ = errors.Join(errs...) // those that had died already
	return err
}
