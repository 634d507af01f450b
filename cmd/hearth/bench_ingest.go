package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"golang.org/x/sync/errgroup"
)

// benchResult is what was measured.
type benchResult struct {
	Machine          string     `json:"machine"`
	Interviews       int        `json:"interviews"`
	Tablets          int        `json:"tablets"`
	Batch            int        `json:"batch"`
	RecordBytes      int        `json:"record_bytes_mean"`
	Group            int        `json:"records_per_commit"`
	RawPerSecond     float64    `json:"raw_sqlite_per_second"`
	AckedPerSecond   float64    `json:"acked_per_second"`
	WholePerSecond   float64    `json:"acked_and_projected_per_second"`
	Ratio            float64    `json:"acked_to_raw"`
	WholeRatio       float64    `json:"acked_and_projected_to_raw"`
	CPUMicros        float64    `json:"server_cpu_microseconds_per_interview"`
	RawMicros        float64    `json:"raw_sqlite_cpu_microseconds_per_interview"`
	CountsMillis     float64    `json:"counts_milliseconds"`
	CountsInterviews int64      `json:"counts_over_interviews"`
	MemoryMiB        float64    `json:"server_memory_mib"`
	PeakMiB          float64    `json:"server_peak_memory_mib"`
	Verdicts         []verdict  `json:"verdicts"`
	Wire             []wireSize `json:"wire"`
}

// runIngest measures how fast the server takes interviews in and prints it.
func (c *benchCmd) runIngest(e *env, dir string) error {
	r, err := c.measureIngest(e, dir)
	if err != nil {
		return err
	}
	if c.JSON {
		return printAnyJSON(e.stdout, r)
	}
	done := fmt.Sprintf("%d household interviews of %d bytes, from %d tablets by batches of %d", r.Interviews, r.RecordBytes, r.Tablets, r.Batch)
	if err := printVerdicts(e.stdout, r.Machine, done, r.Verdicts); err != nil {
		return err
	}
	return printWire(e.stdout, r.Wire)
}

// measureIngest measures how fast the server takes interviews in, beside the bare write of the same bytes.
func (c *benchCmd) measureIngest(e *env, dir string) (*benchResult, error) {
	fmt.Fprintf(e.stderr, "making %d household interviews ...\n", c.Interviews)
	team, err := newBenchTeam(c.Interviews, c.Tablets, c.Batch)
	if err != nil {
		return nil, err
	}
	r := &benchResult{Machine: machine(), Interviews: team.records, Tablets: c.Tablets, Batch: c.Batch, RecordBytes: team.bytes / team.records}
	if r.Wire, err = wireSizes(team.sample); err != nil {
		return nil, err
	}
	if err := c.measure(e, dir, team, r); err != nil {
		return nil, err
	}
	r.judge()
	return r, nil
}

func (r *benchResult) judge() {
	r.Verdicts = []verdict{
		told(fmt.Sprintf("bare SQLite, same bytes and keys, commits of %d", r.Group), fmt.Sprintf("%.0f/s", r.RawPerSecond)),
		judged("acknowledged over gRPC, durable", fmt.Sprintf("%.0f/s, %.2f of bare", r.AckedPerSecond, r.Ratio), ">= 0.60", r.Ratio >= 0.6),
		told("  and projected", fmt.Sprintf("%.0f/s, %.2f of bare", r.WholePerSecond, r.WholeRatio)),
		judged("server CPU per interview, all in", fmt.Sprintf("%.0f µs", r.CPUMicros), "<= 100 µs", r.CPUMicros <= 100),
		told("  that is, of the bare write's, which grows with it on a busy machine", fmt.Sprintf("%.1f times %.1f µs", r.CPUMicros/max(r.RawMicros, 0.1), r.RawMicros)),
		judged(fmt.Sprintf("counts over %d interviews", r.CountsInterviews), fmt.Sprintf("%.1f ms", r.CountsMillis), "< 10 ms", r.CountsMillis < 10),
		judged("memory of the server", fmt.Sprintf("%.0f MiB, peak %.0f MiB", r.MemoryMiB, r.PeakMiB), "< 200 MiB", r.PeakMiB < 200),
	}
}

// measure takes turns between the bare write and the server, so that both meet the same noise.
func (c *benchCmd) measure(e *env, dir string, team *benchTeam, r *benchResult) error {
	var raw, acked, whole, ratios, wholeRatios, cpu, rawCPU []float64
	for round := range c.Rounds {
		fmt.Fprintf(e.stderr, "round %d of %d ...\n", round+1, c.Rounds)
		m, err := c.ingest(e.ctx, filepath.Join(dir, fmt.Sprintf("hq-%d", round)), team)
		if err != nil {
			return err
		}
		before := ownCPU()
		rawRate, err := rawWrite(filepath.Join(dir, fmt.Sprintf("raw-%d.sqlite", round)), team, m.group)
		if err != nil {
			return err
		}
		r.Group, rawCPU = m.group, append(rawCPU, float64((ownCPU()-before).Microseconds())/float64(team.records))
		raw, acked, whole = append(raw, rawRate), append(acked, m.acked), append(whole, m.whole)
		ratios, wholeRatios, cpu = append(ratios, m.acked/rawRate), append(wholeRatios, m.whole/rawRate), append(cpu, m.cpuMicros)
		r.CountsMillis, r.CountsInterviews, r.MemoryMiB, r.PeakMiB = m.countsMillis, m.counted, m.memoryMiB, m.peakMiB
	}
	r.RawPerSecond, r.AckedPerSecond, r.WholePerSecond = median(raw), median(acked), median(whole)
	r.Ratio, r.WholeRatio, r.CPUMicros, r.RawMicros = median(ratios), median(wholeRatios), median(cpu), median(rawCPU)
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
	all, err := team.dial(srv.addr, srv.token)
	defer func() { err = errors.Join(err, hangUp(all)) }()
	if err != nil {
		return m, err
	}
	if err := team.hello(ctx, all); err != nil {
		return m, err
	}
	cc := all[0]
	cpu0, start := srv.cpu(), time.Now()
	if err := team.push(ctx, all); err != nil {
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

// dial opens a connection for every tablet.
func (t *benchTeam) dial(addr, token string) (all []*conn, err error) {
	for range t.tablets {
		cc, err := dialServer(addr, token)
		if err != nil {
			return all, err
		}
		all = append(all, cc)
	}
	return all, nil
}

func hangUp(all []*conn) error {
	var errs []error
	for _, cc := range all {
		errs = append(errs, cc.Close())
	}
	return errors.Join(errs...)
}

// hello introduces every tablet.
func (t *benchTeam) hello(ctx context.Context, all []*conn) error {
	for i, tab := range t.tablets {
		if _, err := servicev1.NewSyncServiceClient(all[i]).Hello(ctx, tab.hello); err != nil {
			return err
		}
	}
	return nil
}

// push sends every tablet's batches, all tablets at the same time.
func (t *benchTeam) push(ctx context.Context, all []*conn) error {
	group, ctx := errgroup.WithContext(ctx)
	for i, tab := range t.tablets {
		group.Go(func() error {
			client := servicev1.NewSyncServiceClient(all[i])
			for _, b := range tab.batches {
				if err := pushOne(ctx, client, b); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// pushOne sends a batch of which all must be stored.
func pushOne(ctx context.Context, client servicev1.SyncServiceClient, b *servicev1.Batch) error {
	resp, err := client.PushBatch(ctx, &servicev1.PushBatchRequest{Batch: b})
	if err != nil {
		return err
	}
	if n := len(resp.GetAck().GetResults()); n != 0 {
		return fmt.Errorf("%d records were not plainly stored: %v", n, resp.GetAck().GetResults()[0])
	}
	return nil
}

// rawWrite writes the same records straight into a bare SQLite table, in commits of group records: the keys that a log
// needs at least, one by id and one by place in the lane, and the settings of the store.
func rawWrite(path string, team *benchTeam, group int) (perSecond float64, err error) {
	db, err := sql.Open("sqlite", path+"?_pragma=page_size(8192)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=wal_autocheckpoint(4000)&_pragma=cache_size(-16000)")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(`CREATE TABLE raw (lane BLOB NOT NULL, seq INTEGER NOT NULL, id BLOB NOT NULL, digest BLOB NOT NULL, body BLOB NOT NULL) STRICT;
		CREATE UNIQUE INDEX raw_id ON raw (id, digest); CREATE UNIQUE INDEX raw_lane ON raw (lane, seq)`); err != nil {
		return 0, err
	}
	insert, err := db.Prepare("INSERT INTO raw (lane, seq, id, digest, body) VALUES (?, ?, ?, ?, ?)")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, insert.Close()) }()
	start := time.Now()
	for rest := team.rows; len(rest) > 0; {
		tx, err := db.Begin()
		if err != nil {
			return 0, err
		}
		stmt := tx.Stmt(insert)
		n := min(group, len(rest))
		for _, r := range rest[:n] {
			if _, err := stmt.Exec(r.lane, r.seq, r.id, r.digest, r.body); err != nil {
				return 0, errors.Join(err, tx.Rollback())
			}
		}
		if err := errors.Join(stmt.Close(), tx.Commit()); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	return float64(len(team.rows)) / time.Since(start).Seconds(), nil
}
