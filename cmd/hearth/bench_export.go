package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"golang.org/x/sync/errgroup"
)

// exportSyncs is how many syncs begin every second while an export is made.
const exportSyncs = 20

// exportResult is what was measured with --export.
type exportResult struct {
	Machine    string       `json:"machine"`
	Interviews int          `json:"interviews"`
	Values     int64        `json:"values"`
	Formats    []exportRate `json:"formats"`
	MemoryMiB  float64      `json:"server_memory_mib"`
	P99        float64      `json:"sync_p99_milliseconds"`
	Alone      float64      `json:"sync_p99_milliseconds_without_export"`
	Verdicts   []verdict    `json:"verdicts"`
}

// exportRate is one whole export, from the log to the last byte of the last file.
type exportRate struct {
	Format  string  `json:"format"`
	Seconds float64 `json:"seconds"`
	CPU     float64 `json:"server_cpu_seconds"`
	Bytes   int64   `json:"bytes"`
	// PerSecond is values, rows times variables, in a second.
	PerSecond float64 `json:"values_per_second"`
}

// promisedExports are the formats with a promise: a third of what writing 200,000 rows of 50 variables alone may take, in
// values a second.
var promisedExports = []struct {
	format servicev1.ExportFormat
	name   string
	least  float64
}{
	{servicev1.ExportFormat_EXPORT_FORMAT_CSV, "CSV", 10e6 / 3},
	{servicev1.ExportFormat_EXPORT_FORMAT_DTA, ".dta", 10e6 / 1.8},
	{servicev1.ExportFormat_EXPORT_FORMAT_SAV, ".sav", 10e6 / 1.2},
	{servicev1.ExportFormat_EXPORT_FORMAT_PARQUET, "Parquet", 10e6 / 18},
}

// runExport measures whole exports and prints it.
func (c *benchCmd) runExport(e *env, dir string) error {
	r, err := measureExport(e, dir, c.Export, c.Seconds)
	if err != nil {
		return err
	}
	if c.JSON {
		return printAnyJSON(e.stdout, r)
	}
	done := fmt.Sprintf("whole exports of %d household interviews from the log, %d values, and syncs of %d interviews meanwhile", r.Interviews, r.Values, syncInterviews)
	return printVerdicts(e.stdout, r.Machine, done, r.Verdicts)
}

// measureExport fills a server, takes one export of each format with a promise, and then lets tablets sync, at first alone and
// then while all formats are exported again and again.
func measureExport(e *env, dir string, interviews, seconds int) (_ *exportResult, err error) {
	const tablets = 8
	batch := min(syncInterviews, max(1, interviews/tablets))
	fmt.Fprintf(e.stderr, "making %d household interviews ...\n", interviews)
	team, err := newBenchTeam(max(interviews, tablets*batch), tablets, batch)
	if err != nil {
		return nil, err
	}
	srv, err := startServer(e.ctx, filepath.Join(dir, "hq"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, srv.stop()) }()
	for _, tab := range team.tablets {
		if err := tab.sync(e.ctx, srv); err != nil {
			return nil, err
		}
	}
	r := &exportResult{Machine: machine(), Interviews: team.records}
	for i, p := range promisedExports {
		fmt.Fprintf(e.stderr, "exporting %s ...\n", p.name)
		rate, values, err := srv.export(e.ctx, p.format)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			r.Values = values // the other formats hold the same
		}
		rate.Format, rate.PerSecond = p.name, float64(r.Values)/rate.Seconds
		r.Formats = append(r.Formats, rate)
		r.Verdicts = append(r.Verdicts, judged(p.name+", whole", fmt.Sprintf("%.2f s, %.1f s of processor, %.1f million values a second", rate.Seconds, rate.CPU, rate.PerSecond/1e6),
			fmt.Sprintf(">= %.1f million", p.least/1e6), rate.PerSecond >= p.least))
	}
	if r.Alone, err = syncsMeanwhile(e, srv, seconds, false); err != nil {
		return nil, err
	}
	if r.P99, err = syncsMeanwhile(e, srv, seconds, true); err != nil {
		return nil, err
	}
	_, r.MemoryMiB = srv.memory()
	r.Verdicts = append(r.Verdicts,
		told("99 of 100 syncs without an export took at most", fmt.Sprintf("%.0f ms", r.Alone)),
		judged("99 of 100 syncs while exporting took at most", fmt.Sprintf("%.0f ms", r.P99), "< 250 ms", r.P99 < 250),
		judged("the server's memory at its peak", fmt.Sprintf("%.0f MiB", r.MemoryMiB), "< 300 MiB", r.MemoryMiB < 300))
	return r, nil
}

// syncsMeanwhile is what 99 of 100 syncs take at most, while the study is exported in all formats again and again or not.
func syncsMeanwhile(e *env, srv *serverProcess, seconds int, exporting bool) (p99 float64, err error) {
	n := exportSyncs * seconds
	team, err := newBenchTeam(n*syncInterviews, n, syncInterviews)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	var group errgroup.Group
	if exporting {
		fmt.Fprintln(e.stderr, "syncing while all formats are exported ...")
		group.Go(func() error {
			for ctx.Err() == nil {
				if _, _, err := srv.export(ctx); err != nil && ctx.Err() == nil {
					return err
				}
			}
			return nil
		})
	}
	took, err := syncEach(e.ctx, srv, team.tablets, exportSyncs)
	cancel()
	if err := errors.Join(err, group.Wait()); err != nil {
		return 0, err
	}
	return took[min(n-1, n*99/100)], nil
}

// export takes an export of formats, or of all, to its end, and counts the values of its CSV files.
func (s *serverProcess) export(ctx context.Context, formats ...servicev1.ExportFormat) (r exportRate, values int64, err error) {
	cc, err := dialServer(s.addr, s.token)
	if err != nil {
		return r, 0, err
	}
	defer func() { err = errors.Join(err, cc.Close()) }()
	start, before := time.Now(), s.cpu()
	stream, err := servicev1.NewExportServiceClient(cc).Export(ctx, &servicev1.ExportRequest{Formats: formats})
	if err != nil {
		return r, 0, err
	}
	variables := map[string]int{}
	for path := ""; ; {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return r, 0, err
		}
		r.Bytes += int64(len(m.GetContent()))
		if path != m.GetPath() {
			path = m.GetPath()
			if name, ok := strings.CutPrefix(path, "csv/"); ok {
				header, _, _ := bytes.Cut(m.GetContent(), []byte("\n"))
				variables[strings.TrimSuffix(name, ".csv")] = bytes.Count(header, []byte(",")) + 1
			}
		}
		for _, l := range m.GetLevels() {
			values += l.GetRows() * int64(variables[l.GetName()])
		}
	}
	r.Seconds, r.CPU = time.Since(start).Seconds(), (s.cpu() - before).Seconds()
	return r, values, nil
}
