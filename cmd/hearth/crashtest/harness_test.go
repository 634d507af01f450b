//go:build linux

// Package crashtest runs the real program and takes everything away from it that the field does: its process, its
// connections, its disk, its power. It is for `make crash`, and a small part of each kind for every run of the tests. It
// does not look into the program, but for the places at which it is built to be killed (syncer/failpoint).
package crashtest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
)

// wholeRun says whether everything is run, or a small part of each kind.
func wholeRun() bool { return os.Getenv("HEARTH_CRASH") != "" && !testing.Short() }

// some is n in a whole run and few in any other.
func some(n, few int) int {
	if wholeRun() {
		return n
	}
	return few
}

// program is the program built with its failpoints.
var program = sync.OnceValues(func() (string, error) {
	bin := filepath.Join(binDir, "hearth")
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "go", "build", "-tags", "failpoints", "-o", bin, "../").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return bin, nil
})

var binDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "hearth-crash-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binDir = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func built(t testing.TB) string {
	t.Helper()
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// process is a program under test. It is killed with all that it started when the test ends.
type process struct {
	cmd    *exec.Cmd
	out    *bytes.Buffer // standard error, and output unless it is read elsewhere
	outMu  *sync.Mutex
	ended  chan struct{}
	endErr error
}

type lockedWriter struct {
	mu  *sync.Mutex
	buf *bytes.Buffer
}

func (w lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.buf.Len() > 1<<20 {
		return len(p), nil
	}
	return w.buf.Write(p)
}

// start starts the program. stdout, if not nil, gets its standard output.
func start(t testing.TB, env []string, stdout io.Writer, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(built(t), args...), out: &bytes.Buffer{}, outMu: &sync.Mutex{}, ended: make(chan struct{})}
	p.cmd.Env = append(cleanEnv(), env...)
	if stdout != nil {
		p.cmd.Stdout = stdout
	}
	p.begin(t, lockedWriter{p.outMu, p.out})
	return p
}

// begin starts the process in a group of its own.
func (p *process) begin(t testing.TB, w io.Writer) {
	t.Helper()
	p.cmd.Stderr = w
	if p.cmd.Stdout == nil {
		p.cmd.Stdout = w
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.WaitDelay = 2 * time.Second
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.endErr = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(p.kill)
}

// cleanEnv is the environment without what would change what the program does.
func cleanEnv() []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "HEARTH_") {
			env = append(env, e)
		}
	}
	return env
}

func (p *process) text() string {
	p.outMu.Lock()
	defer p.outMu.Unlock()
	return p.out.String()
}

// kill ends the process as kill -9 does and waits until it has.
func (p *process) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // nobody is there if it has ended
	select {
	case <-p.ended:
	case <-time.After(20 * time.Second):
	}
}

func (p *process) alive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// wait waits for the end, and kills after the time given.
func (p *process) wait(limit time.Duration) error {
	select {
	case <-p.ended:
		return p.endErr
	case <-time.After(limit):
		p.kill()
		return fmt.Errorf("it had not ended after %v: %v", limit, p.cmd.Args)
	}
}

// killed says whether the process was killed by signal 9.
func (p *process) killed() bool {
	if p.alive() {
		return false
	}
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// errKilled is that a process was killed at a failpoint.
var errKilled = errors.New("killed")

// run runs the program to its end and returns what it printed.
func run(t testing.TB, env []string, args ...string) (string, error) {
	t.Helper()
	p := start(t, env, nil, args...)
	err := p.wait(60 * time.Second)
	switch {
	case p.killed():
		return p.text(), errKilled
	case err != nil:
		return p.text(), fmt.Errorf("hearth %s: %w\n%s", strings.Join(args, " "), err, p.text())
	}
	return p.text(), nil
}

// must runs the program, which must succeed.
func must(t testing.TB, args ...string) string {
	t.Helper()
	out, err := run(t, nil, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// hq is a running server.
type hq struct {
	*process
	dir, addr, token string
}

// serve starts a server over a folder; addr may be "" for a port that is free. It fails with errKilled if it was killed
// before it listened.
func serve(t testing.TB, dir, addr string, env ...string) (*hq, error) {
	t.Helper()
	return serveWith(t, env, dir, addr)
}

// serveWith is serve with more arguments, as of a hub.
func serveWith(t testing.TB, env []string, dir, addr string, args ...string) (*hq, error) {
	t.Helper()
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	pr, pw, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, env, pw, append([]string{"serve", "--data", dir, "--listen", addr, "--metrics", "off", "--quiet"}, args...)...)
	_ = pw.Close()
	line := make(chan string, 1)
	go func() {
		r := bufio.NewReader(pr)
		text, _ := r.ReadString('\n')
		line <- text
		_, _ = io.Copy(io.Discard, r)
		_ = pr.Close()
	}()
	select {
	case text := <-line:
		fields := strings.Fields(text)
		if len(fields) == 0 {
			err := p.wait(20 * time.Second)
			if p.killed() {
				return nil, errKilled
			}
			return nil, fmt.Errorf("the server did not start: %v\n%s", err, p.text())
		}
		addr = fields[len(fields)-1]
	case <-time.After(60 * time.Second):
		p.kill()
		return nil, fmt.Errorf("the server does not start:\n%s", p.text())
	}
	token := tokenOf(filepath.Join(dir, "token"))
	return &hq{process: p, dir: dir, addr: addr, token: token}, nil
}

// mounted are the disks of this process by where they are mounted. What is on them is read from memory: who serves a file
// system does not wait for it.
var mounted sync.Map

// tokenOf reads a token; "" where it cannot be read, as on a disk that has died.
func tokenOf(path string) string {
	var raw []byte
	inMemory := false
	mounted.Range(func(mnt, d any) bool {
		if rest, ok := strings.CutPrefix(path, mnt.(string)+"/"); ok {
			raw, inMemory = d.(*disk).file(rest), true
		}
		return !inMemory
	})
	if !inMemory {
		raw, _ = os.ReadFile(path)
	}
	return strings.TrimSpace(string(raw))
}

// mustServe is serve, which must succeed.
func mustServe(t testing.TB, dir, addr string, env ...string) *hq {
	t.Helper()
	s, err := serve(t, dir, addr, env...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// stop ends the server in good order.
func (s *hq) stop(t testing.TB) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatalf("the server has ended before: %v\n%s", err, s.text())
	}
	if err := s.wait(40 * time.Second); err != nil {
		t.Fatalf("stop the server: %v\n%s", err, s.text())
	}
}

var nextPort atomic.Uint32

// freeAddr is an address on which nobody listens, and that no connection gets as its own end: a server keeps it when it is
// started again.
func freeAddr(t testing.TB) string {
	t.Helper()
	for range 2000 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20000+(uint32(os.Getpid())*101+nextPort.Add(1))%10000)
		if l, err := net.Listen("tcp", addr); err == nil {
			_ = l.Close()
			return addr
		}
	}
	t.Fatal("there is no free port")
	return ""
}

// bearer is the server's token.
type bearer string

// GetRequestMetadata is the header with it.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity is false: the connection is on loopback.
func (b bearer) RequireTransportSecurity() bool { return false }

// dial connects to a server and connects again quickly.
func dial(t testing.TB, addr, token string, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	opts = append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithPerRPCCredentials(bearer(token)),
		quickly,
	}, opts...)
	cc, err := grpc.NewClient("passthrough:///"+addr, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return cc
}

// copyTree copies a folder.
func copyTree(t testing.TB, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// startShell runs a script in a process of its own: whoever serves a file system must not wait for it.
func startShell(t testing.TB, script string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command("/bin/sh", append([]string{"-c", script, "sh"}, args...)...), out: &bytes.Buffer{}, outMu: &sync.Mutex{}, ended: make(chan struct{})}
	p.begin(t, lockedWriter{p.outMu, p.out})
	return p
}

// loadAverage says how busy the machine is.
func loadAverage() string {
	raw, _ := os.ReadFile("/proc/loadavg") // only told
	return strings.TrimSpace(string(raw))
}

// dialTablet connects as a tablet does that has no token.
func dialTablet(t testing.TB, addr string) *grpc.ClientConn {
	t.Helper()
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()), quickly)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return cc
}

// quickly has a connection that was cut made again without much waiting.
var quickly = grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: 2 * time.Second,
	Backoff: backoff.Config{BaseDelay: 10 * time.Millisecond, Multiplier: 1.5, Jitter: 0.2, MaxDelay: 100 * time.Millisecond}})
