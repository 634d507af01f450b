package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"golang.org/x/sync/errgroup"
)

// syncInterviews is how many interviews a tablet brings with --load.
const syncInterviews = 100

// loadResult is what was measured with --load.
type loadResult struct {
	Machine   string    `json:"machine"`
	Syncs     int       `json:"syncs"`
	PerSecond float64   `json:"syncs_per_second"`
	P50       float64   `json:"p50_milliseconds"`
	P99       float64   `json:"p99_milliseconds"`
	Longest   float64   `json:"longest_milliseconds"`
	Verdicts  []verdict `json:"verdicts"`
}

// runLoad measures syncs that begin at fixed times and prints it.
func (c *benchCmd) runLoad(e *env, dir string) error {
	r, err := measureLoad(e, dir, c.Load, c.Seconds)
	if err != nil {
		return err
	}
	if c.JSON {
		return printAnyJSON(e.stdout, r)
	}
	done := fmt.Sprintf("%d syncs of %d household interviews, %d begun every second, each on a new connection", r.Syncs, syncInterviews, c.Load)
	return printVerdicts(e.stdout, r.Machine, done, r.Verdicts)
}

// measureLoad lets tablets begin a sync at fixed times, whether those before have ended or not, and measures each from the
// time at which it should have begun: who comes while the server is behind waits, and that counts.
func measureLoad(e *env, dir string, perSecond, seconds int) (_ *loadResult, err error) {
	n := perSecond * seconds
	fmt.Fprintf(e.stderr, "making %d tablets with %d household interviews each ...\n", n, syncInterviews)
	team, err := newBenchTeam(n*syncInterviews, n, syncInterviews)
	if err != nil {
		return nil, err
	}
	srv, err := startServer(e.ctx, filepath.Join(dir, "hq"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, srv.stop()) }()
	start := time.Now()
	took, err := syncEach(e.ctx, srv, team.tablets, perSecond)
	if err != nil {
		return nil, err
	}
	r := &loadResult{
		Machine: machine(), Syncs: n, PerSecond: float64(n) / time.Since(start).Seconds(),
		P50: took[n/2], P99: took[min(n-1, n*99/100)], Longest: took[n-1],
	}
	r.Verdicts = []verdict{
		told("syncs that ended, per second", fmt.Sprintf("%.0f of %d", r.PerSecond, perSecond)),
		told("half of them took at most", fmt.Sprintf("%.0f ms", r.P50)),
		judged("99 of 100 took at most", fmt.Sprintf("%.0f ms", r.P99), "< 250 ms", r.P99 < 250),
		told("the longest took", fmt.Sprintf("%.0f ms", r.Longest)),
	}
	return r, nil
}

// syncEach lets tablets begin at fixed times and returns what each took in milliseconds, in order of size.
func syncEach(ctx context.Context, srv *serverProcess, tablets []*benchTablet, perSecond int) ([]float64, error) {
	took := make([]float64, len(tablets))
	var group errgroup.Group
	start := time.Now()
	for i, tab := range tablets {
		due := start.Add(time.Duration(i) * time.Second / time.Duration(perSecond))
		time.Sleep(time.Until(due))
		group.Go(func() error {
			err := tab.sync(ctx, srv)
			took[i] = float64(time.Since(due).Microseconds()) / 1000
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	slices.Sort(took)
	return took, nil
}

// sync is what a tablet does that has come back: it connects, says Hello, and sends what it has.
func (t *benchTablet) sync(ctx context.Context, srv *serverProcess) (err error) {
	cc, err := dialServer(srv.addr, srv.token)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cc.Close()) }()
	client := servicev1.NewSyncServiceClient(cc)
	if _, err := client.Hello(ctx, t.hello); err != nil {
		return err
	}
	for _, b := range t.batches {
		if err := pushOne(ctx, client, b); err != nil {
			return err
		}
	}
	return nil
}

// idleResult is what was measured with --idle.
type idleResult struct {
	Machine   string    `json:"machine"`
	Tablets   int       `json:"tablets"`
	EmptyMiB  float64   `json:"server_memory_before_mib"`
	MemoryMiB float64   `json:"server_memory_mib"`
	PerTablet float64   `json:"kib_per_tablet"`
	For10000  float64   `json:"mib_for_10000_tablets"`
	Verdicts  []verdict `json:"verdicts"`
}

// runIdle measures tablets that are connected and prints it.
func (c *benchCmd) runIdle(e *env, dir string) error {
	r, err := measureIdle(e, dir, c.Idle)
	if err != nil {
		return err
	}
	if c.JSON {
		return printAnyJSON(e.stdout, r)
	}
	return printVerdicts(e.stdout, r.Machine, "tablets that are connected, have said Hello, and say nothing", r.Verdicts)
}

// measureIdle connects tablets that say Hello and then nothing.
func measureIdle(e *env, dir string, tablets int) (_ *idleResult, err error) {
	srv, err := startServer(e.ctx, filepath.Join(dir, "hq"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, srv.stop()) }()
	var mu sync.Mutex
	var all []*conn
	defer func() { err = errors.Join(err, hangUp(all)) }()
	connect := func(ctx context.Context, n int) error {
		tab, err := newBenchTablet(n)
		if err != nil {
			return err
		}
		cc, err := dialServer(srv.addr, srv.token)
		if err != nil {
			return err
		}
		mu.Lock()
		all = append(all, cc)
		mu.Unlock()
		_, err = servicev1.NewSyncServiceClient(cc).Hello(ctx, tab.hello)
		return err
	}
	if err := connect(e.ctx, 0); err != nil { // what a server needs for its first call is not of the tablets
		return nil, err
	}
	empty, _ := srv.memory()
	fmt.Fprintf(e.stderr, "connecting %d tablets ...\n", tablets)
	group, ctx := errgroup.WithContext(e.ctx)
	group.SetLimit(16)
	for i := range tablets {
		group.Go(func() error { return connect(ctx, i+1) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	now, _ := srv.memory()
	r := &idleResult{Machine: machine(), Tablets: tablets, EmptyMiB: empty, MemoryMiB: now, PerTablet: max(0, now-empty) * 1024 / float64(tablets)}
	r.For10000 = empty + r.PerTablet*10_000/1024
	r.Verdicts = []verdict{
		told("memory of the server before", fmt.Sprintf("%.0f MiB", empty)),
		told(fmt.Sprintf("with %d tablets connected", tablets), fmt.Sprintf("%.0f MiB, %.1f KiB each", now, r.PerTablet)),
		judged("that is for 10,000 tablets", fmt.Sprintf("%.0f MiB", r.For10000), "<= 1024 MiB", r.For10000 <= 1024),
	}
	return r, nil
}
