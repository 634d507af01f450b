package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"golang.org/x/sync/errgroup"
)

// benchCmd measures this machine.
type benchCmd struct {
	Interviews int  `help:"Household interviews to take in." default:"100000"`
	Tablets    int  `help:"Tablets that send at the same time." default:"16"`
	Batch      int  `help:"Interviews per batch." default:"100"`
	Rounds     int  `help:"How often to repeat the ingest; the median counts." default:"3"`
	JSON       bool `help:"Print JSON."`
}

// benchResult is what was measured.
type benchResult struct {
	Machine          string     `json:"machine"`
	Interviews       int        `json:"interviews"`
	RecordBytes      int        `json:"record_bytes_mean"`
	Group            int        `json:"records_per_commit"`
	RawPerSecond     float64    `json:"raw_sqlite_per_second"`
	AckedPerSecond   float64    `json:"acked_per_second"`
	WholePerSecond   float64    `json:"acked_and_projected_per_second"`
	Ratio            float64    `json:"acked_to_raw"`
	WholeRatio       float64    `json:"acked_and_projected_to_raw"`
	CPUMicros        float64    `json:"server_cpu_microseconds_per_interview"`
	CountsMillis     float64    `json:"counts_milliseconds"`
	CountsInterviews int64      `json:"counts_over_interviews"`
	MemoryMiB        float64    `json:"server_memory_mib"`
	PeakMiB          float64    `json:"server_peak_memory_mib"`
	Wire             []wireSize `json:"wire"`
}

// Run measures and prints.
func (c *benchCmd) Run(e *env) (err error) {
	if c.Interviews < c.Batch*c.Tablets || c.Batch < 1 || c.Tablets < 1 || c.Rounds < 1 {
		return fmt.Errorf("%w: --interviews must be at least --batch times --tablets", errUsage)
	}
	dir, err := os.MkdirTemp("", "hearth-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	fmt.Fprintf(e.stderr, "making %d household interviews ...\n", c.Interviews)
	team, err := newBenchTeam(c.Interviews, c.Tablets, c.Batch)
	if err != nil {
		return err
	}
	r := &benchResult{Machine: machine(), Interviews: team.records, RecordBytes: team.bytes / team.records}
	if r.Wire, err = wireSizes(team.sample); err != nil {
		return err
	}
	if err := c.measure(e, dir, team, r); err != nil {
		return err
	}
	if c.JSON {
		return printAnyJSON(e.stdout, r)
	}
	return r.print(e.stdout)
}

// measure takes turns between the bare write and the server, so that both meet the same noise.
func (c *benchCmd) measure(e *env, dir string, team *benchTeam, r *benchResult) error {
	var raw, acked, whole, ratios, wholeRatios, cpu []float64
	for round := range c.Rounds {
		fmt.Fprintf(e.stderr, "round %d of %d ...\n", round+1, c.Rounds)
		m, err := c.ingest(e.ctx, filepath.Join(dir, fmt.Sprintf("hq-%d", round)), team)
		if err != nil {
			return err
		}
		rawRate, err := rawWrite(filepath.Join(dir, fmt.Sprintf("raw-%d.sqlite", round)), team, m.group)
		if err != nil {
			return err
		}
		r.Group = m.group
		raw, acked, whole = append(raw, rawRate), append(acked, m.acked), append(whole, m.whole)
		ratios, wholeRatios, cpu = append(ratios, m.acked/rawRate), append(wholeRatios, m.whole/rawRate), append(cpu, m.cpuMicros)
		r.CountsMillis, r.CountsInterviews, r.MemoryMiB, r.PeakMiB = m.countsMillis, m.counted, m.memoryMiB, m.peakMiB
	}
	r.RawPerSecond, r.AckedPerSecond, r.WholePerSecond = median(raw), median(acked), median(whole)
	r.Ratio, r.WholeRatio, r.CPUMicros = median(ratios), median(wholeRatios), median(cpu)
	return nil
}

type ingestMeasure struct {
	acked, whole, cpuMicros, countsMillis, memoryMiB, peakMiB float64
	counted                                                   int64
	group                                                     int // records per commit of the log, on average
}

// ingest sends everything to a server in a process of its own, over gRPC, and measures that process.
func (c *benchCmd) ingest(ctx context.Context, dir string, team *benchTeam) (m ingestMeasure, err error) {
	srv, err := startServer(ctx, dir)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, srv.stop()) }()
	cc, err := dialServer(srv.addr, srv.token)
	if err != nil {
		return m, err
	}
	defer cc.Close()
	if err := team.hello(ctx, cc); err != nil {
		return m, err
	}
	cpu0, start := srv.cpu(), time.Now()
	if err := team.push(ctx, cc); err != nil {
		return m, err
	}
	m.acked = float64(team.records) / time.Since(start).Seconds()
	commits, err := srv.commits(ctx)
	if err != nil {
		return m, err
	}
	m.group = max(1, team.records/max(1, commits))
	monitor := servicev1.NewMonitorServiceClient(cc)
	req := &servicev1.CountInterviewsRequest{By: []servicev1.Dimension{servicev1.Dimension_DIMENSION_ENUMERATOR, servicev1.Dimension_DIMENSION_SITE, servicev1.Dimension_DIMENSION_RESULT}}
	resp, err := monitor.CountInterviews(ctx, req) // waits for the projections
	if err != nil {
		return m, err
	}
	m.whole = float64(team.records) / time.Since(start).Seconds()
	m.cpuMicros = float64((srv.cpu() - cpu0).Microseconds()) / float64(team.records)
	if m.counted = resp.GetTotal().GetInterviews(); m.counted != int64(team.records) {
		return m, fmt.Errorf("the server counts %d interviews, %d were sent", m.counted, team.records)
	}
	var times []float64
	for range 21 {
		t := time.Now()
		if _, err := monitor.CountInterviews(ctx, req); err != nil {
			return m, err
		}
		times = append(times, float64(time.Since(t).Microseconds())/1000)
	}
	m.countsMillis = median(times)
	m.memoryMiB, m.peakMiB = srv.memory()
	return m, nil
}

// hello introduces every tablet.
func (t *benchTeam) hello(ctx context.Context, cc *conn) error {
	client := servicev1.NewSyncServiceClient(cc)
	for _, tab := range t.tablets {
		if _, err := client.Hello(ctx, tab.hello); err != nil {
			return err
		}
	}
	return nil
}

// push sends every tablet's batches, all tablets at the same time.
func (t *benchTeam) push(ctx context.Context, cc *conn) error {
	client := servicev1.NewSyncServiceClient(cc)
	group, ctx := errgroup.WithContext(ctx)
	for _, tab := range t.tablets {
		group.Go(func() error {
			for _, b := range tab.batches {
				resp, err := client.PushBatch(ctx, &servicev1.PushBatchRequest{Batch: b})
				if err != nil {
					return err
				}
				if n := len(resp.GetAck().GetResults()); n != 0 {
					return fmt.Errorf("%d records were not plainly stored: %v", n, resp.GetAck().GetResults()[0])
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// rawWrite writes the same records straight into a bare SQLite table, in commits of group records.
func rawWrite(path string, team *benchTeam, group int) (perSecond float64, err error) {
	db, err := sql.Open("sqlite", path+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("CREATE TABLE raw (n INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT"); err != nil {
		return 0, err
	}
	start, n := time.Now(), 0
	for len(team.raws[n:]) > 0 {
		tx, err := db.Begin()
		if err != nil {
			return 0, err
		}
		stmt, err := tx.Prepare("INSERT INTO raw (n, body) VALUES (?, ?)")
		if err != nil {
			return 0, errors.Join(err, tx.Rollback())
		}
		for range min(group, len(team.raws)-n) {
			if _, err := stmt.Exec(n, team.raws[n]); err != nil {
				return 0, errors.Join(err, tx.Rollback())
			}
			n++
		}
		if err := errors.Join(stmt.Close(), tx.Commit()); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(start).Seconds(), nil
}

// serverProcess is `hearth serve` in a process of its own.
type serverProcess struct {
	cmd         *exec.Cmd
	addr, token string
	metrics     string
}

// commits is how often the server's log has committed.
func (s *serverProcess) commits(ctx context.Context) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.metrics, nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), "hearth_log_commits_total "); ok {
			n, err := strconv.ParseFloat(rest, 64)
			return int(n), err
		}
	}
	return 0, fmt.Errorf("%s does not count commits", s.metrics)
}

func startServer(ctx context.Context, dir string) (*serverProcess, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, exe, "serve", "--data", dir, "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--quiet")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var said []string
	lines := bufio.NewScanner(out)
	for len(said) < 3 && lines.Scan() {
		said = append(said, lines.Text()[strings.LastIndexByte(lines.Text(), ' ')+1:])
	}
	if len(said) < 3 {
		return nil, errors.Join(errors.New("the server did not start"), cmd.Wait())
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	token, err := os.ReadFile(filepath.Join(dir, "token"))
	return &serverProcess{cmd: cmd, addr: said[0], metrics: said[2], token: strings.TrimSpace(string(token))}, err
}

func (s *serverProcess) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return s.cmd.Wait()
}

// cpu is the processor time the process has used, from /proc; 0 where there is none.
func (s *serverProcess) cpu() time.Duration {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	var user, system int64
	if len(fields) > 12 {
		_, _ = fmt.Sscan(fields[11], &user)
		_, _ = fmt.Sscan(fields[12], &system)
	}
	return time.Duration(user+system) * 10 * time.Millisecond // ticks of 1/100 s
}

// memory is the resident memory now and at its peak in MiB, from /proc; 0 where there is none.
func (s *serverProcess) memory() (now, peak float64) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(raw)) {
		var kb float64
		switch {
		case strings.HasPrefix(line, "VmRSS:"):
			_, _ = fmt.Sscan(strings.TrimPrefix(line, "VmRSS:"), &kb)
			now = kb / 1024
		case strings.HasPrefix(line, "VmHWM:"):
			_, _ = fmt.Sscan(strings.TrimPrefix(line, "VmHWM:"), &kb)
			peak = kb / 1024
		}
	}
	return now, peak
}

func (r *benchResult) print(w io.Writer) error {
	verdict := func(ok bool) string {
		if ok {
			return "met"
		}
		return "NOT met"
	}
	rows := [][]string{
		{"", "measured", "target", ""},
		{fmt.Sprintf("bare SQLite, same bytes, commits of %d", r.Group), fmt.Sprintf("%.0f/s", r.RawPerSecond), "", ""},
		{"acknowledged over gRPC, durable", fmt.Sprintf("%.0f/s, %.2f of bare", r.AckedPerSecond, r.Ratio), ">= 0.50", verdict(r.Ratio >= 0.5)},
		{"  and projected", fmt.Sprintf("%.0f/s, %.2f of bare", r.WholePerSecond, r.WholeRatio), "", ""},
		{"server CPU per interview, all in", fmt.Sprintf("%.0f µs", r.CPUMicros), "<= 150 µs", verdict(r.CPUMicros <= 150)},
		{fmt.Sprintf("counts over %d interviews", r.CountsInterviews), fmt.Sprintf("%.1f ms", r.CountsMillis), "< 10 ms", verdict(r.CountsMillis < 10)},
		{"memory of the server", fmt.Sprintf("%.0f MiB, peak %.0f MiB", r.MemoryMiB, r.PeakMiB), "< 200 MiB", verdict(r.PeakMiB < 200)},
	}
	if _, err := fmt.Fprintf(w, "%s\n%d household interviews of %d bytes\n\n", r.Machine, r.Interviews, r.RecordBytes); err != nil {
		return err
	}
	if err := table(w, rows); err != nil {
		return err
	}
	return printWire(w, r.Wire)
}

func machine() string {
	name := "unknown processor"
	if raw, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(raw)) {
			if rest, ok := strings.CutPrefix(line, "model name"); ok {
				name = strings.TrimSpace(strings.TrimLeft(rest, "\t :"))
				break
			}
		}
	}
	return fmt.Sprintf("%d cores, %s, %s/%s, %s", runtime.NumCPU(), name, runtime.GOOS, runtime.GOARCH, runtime.Version())
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

func newKey() (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return key, err
}
