package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/google/uuid"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/study"
	"github.com/hearth-survey/hearth/syncer"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"
)

// Of the scale bench: how the store grows, and how many interviews are synced to measure what one costs then.
const (
	scaleTablets = 16
	scaleBatch   = 100
	scaleSample  = 8_000
)

// scaleMeasure is what things cost in a store of some size.
type scaleMeasure struct {
	Interviews   int     `json:"interviews"`
	SyncMicros   float64 `json:"sync_cpu_microseconds_per_interview"`
	CountsMillis float64 `json:"counts_milliseconds"`
	CountsMicros float64 `json:"counts_microseconds_per_interview"`
	CheckMicros  float64 `json:"check_cpu_microseconds_per_interview"`
	CheckMiB     float64 `json:"check_peak_memory_mib"`
	LogMiB       float64 `json:"log_mib"`
}

// scaleResult is what was measured with --scale.
type scaleResult struct {
	Machine  string         `json:"machine"`
	Sizes    []scaleMeasure `json:"sizes"`
	Verdicts []verdict      `json:"verdicts"`
}

// runScale lets one store grow, measures at every size, and prints it.
func (c *benchCmd) runScale(e *env, dir string) error {
	r, err := measureScale(e, dir, c.Scale)
	if err != nil {
		return err
	}
	if c.JSON {
		return printAnyJSON(e.stdout, r)
	}
	return printVerdicts(e.stdout, r.Machine, "one store that grows; processor time of the server and of hearth check, per interview", r.Verdicts)
}

func measureScale(e *env, dir string, sizes []int) (*scaleResult, error) {
	team, err := newScaleTeam()
	if err != nil {
		return nil, err
	}
	r := &scaleResult{Machine: machine()}
	hq := filepath.Join(dir, "hq")
	for _, size := range sizes {
		fmt.Fprintf(e.stderr, "growing to %d interviews ...\n", size)
		m, err := team.measureAt(e.ctx, hq, size)
		if err != nil {
			return nil, err
		}
		r.Sizes = append(r.Sizes, m)
	}
	r.judge()
	return r, nil
}

func (r *scaleResult) judge() {
	first := r.Sizes[0]
	for _, m := range r.Sizes {
		for _, row := range []struct {
			what        string
			here, least float64
			more        string
		}{
			{"sync", m.SyncMicros, first.SyncMicros, ""},
			{"counts", m.CountsMicros, first.CountsMicros, fmt.Sprintf(" (%.1f ms)", m.CountsMillis)},
			{"check", m.CheckMicros, first.CheckMicros, fmt.Sprintf(" (peak %.0f MiB, log %.0f MiB)", m.CheckMiB, m.LogMiB)},
		} {
			what := fmt.Sprintf("%s at %d interviews", row.what, m.Interviews)
			measured := fmt.Sprintf("%.2f µs%s", row.here, row.more)
			if m.Interviews == first.Interviews {
				r.Verdicts = append(r.Verdicts, told(what, measured))
				continue
			}
			times := row.here / max(row.least, 1e-9)
			r.Verdicts = append(r.Verdicts, judged(what, fmt.Sprintf("%s, %.2f times", measured, times), "<= 1.5 times", times <= 1.5))
		}
	}
}

// scaleTeam is tablets that make interviews as they send them: a million of them fit in no memory.
type scaleTeam struct {
	moulds      []mould
	tablets     []*benchTablet
	heads       []syncer.Head
	made        int
	fingerprint func(string, uint32) []byte
}

func newScaleTeam() (*scaleTeam, error) {
	t := &scaleTeam{heads: make([]syncer.Head, scaleTablets)}
	_, err := study.Simulate(study.SimulateOptions{Households: 4000, Tablets: 1, Seed: 7}, func(_ int, iv *surveyv1.Interview) error {
		m, err := newMould(iv)
		t.moulds = append(t.moulds, m)
		return err
	})
	if err != nil {
		return nil, err
	}
	for i := range scaleTablets {
		tab, err := newBenchTablet(i)
		if err != nil {
			return nil, err
		}
		t.tablets = append(t.tablets, tab)
	}
	t.fingerprint, err = fingerprints()
	return t, err
}

// measureAt grows the store to a size and measures there.
func (t *scaleTeam) measureAt(ctx context.Context, hq string, size int) (m scaleMeasure, err error) {
	m.Interviews = size
	sample := min(scaleSample, max(1, size/2))
	if m.SyncMicros, m.CountsMillis, err = t.grow(ctx, hq, size, sample); err != nil {
		return m, err
	}
	m.CountsMicros = m.CountsMillis * 1000 / float64(t.made)
	info, err := os.Stat(filepath.Join(hq, "log.sqlite"))
	if err != nil {
		return m, err
	}
	m.LogMiB = float64(info.Size()) / (1 << 20)
	exe, err := os.Executable()
	if err != nil {
		return m, err
	}
	check := exec.CommandContext(ctx, exe, "check", "--data", hq)
	check.Stderr = os.Stderr
	if err := check.Run(); err != nil {
		return m, fmt.Errorf("check of %d interviews: %w", t.made, err)
	}
	m.CheckMicros = float64((check.ProcessState.UserTime() + check.ProcessState.SystemTime()).Microseconds()) / float64(t.made)
	if usage, ok := check.ProcessState.SysUsage().(*syscall.Rusage); ok {
		m.CheckMiB = float64(usage.Maxrss) / 1024
	}
	return m, nil
}

// grow sends interviews until the store has size of them, the last sample of which are measured: with their projections.
func (t *scaleTeam) grow(ctx context.Context, hq string, size, sample int) (micros, countsMillis float64, err error) {
	srv, err := startServer(ctx, hq)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, srv.stop()) }()
	cc, err := dialServer(srv.addr, srv.token)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, cc.Close()) }()
	for _, tab := range t.tablets {
		if _, err := servicev1.NewSyncServiceClient(cc).Hello(ctx, tab.hello); err != nil {
			return 0, 0, err
		}
	}
	monitor := servicev1.NewMonitorServiceClient(cc)
	req := &servicev1.CountInterviewsRequest{By: []servicev1.Dimension{servicev1.Dimension_DIMENSION_ENUMERATOR, servicev1.Dimension_DIMENSION_SITE, servicev1.Dimension_DIMENSION_RESULT}}
	count := func() error { // waits for the projections
		resp, err := monitor.CountInterviews(ctx, req)
		if err == nil && resp.GetTotal().GetInterviews() != int64(t.made) {
			err = fmt.Errorf("the server counts %d interviews, %d were sent", resp.GetTotal().GetInterviews(), t.made)
		}
		return err
	}
	const page = 50_000 // the projections keep up
	for t.made < size-sample {
		if err := errors.Join(t.send(ctx, cc, min(page, size-sample-t.made)), count()); err != nil {
			return 0, 0, err
		}
	}
	sent, cpu0 := t.made, srv.cpu()
	if err := errors.Join(t.send(ctx, cc, size-t.made), count()); err != nil {
		return 0, 0, err
	}
	micros = float64((srv.cpu() - cpu0).Microseconds()) / float64(max(1, t.made-sent))
	var times []float64
	for range 11 {
		at := time.Now()
		if err := count(); err != nil {
			return 0, 0, err
		}
		times = append(times, float64(time.Since(at).Microseconds())/1000)
	}
	return micros, median(times), nil
}

// send makes and sends n interviews, or a few more: every batch is full.
func (t *scaleTeam) send(ctx context.Context, cc *conn, n int) error {
	client := servicev1.NewSyncServiceClient(cc)
	batches := max(1, n/scaleBatch)
	group, ctx := errgroup.WithContext(ctx)
	for i, tab := range t.tablets {
		mine, first := batches/scaleTablets, t.made+i
		if i < batches%scaleTablets {
			mine++
		}
		t.made += mine * scaleBatch
		group.Go(func() error {
			for k := range mine {
				b, err := t.batch(tab, &t.heads[i], first+k*scaleBatch)
				if err != nil {
					return err
				}
				if err := pushOne(ctx, client, b); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

func (t *scaleTeam) batch(tab *benchTablet, head *syncer.Head, first int) (*servicev1.Batch, error) {
	digests, raws := make([]syncer.Digest, scaleBatch), make([][]byte, scaleBatch)
	for i := range raws {
		var err error
		m := &t.moulds[(first+i)%len(t.moulds)]
		if raws[i], digests[i], err = m.seal(tab, t.fingerprint); err != nil {
			return nil, err
		}
	}
	b := syncer.NewBatch(tab.key, tab.lane, head.Seq+1, head.Chain, digests, raws, false)
	*head = syncer.Run{First: head.Seq + 1, Prev: head.Chain, Digests: digests}.Head(tab.lane)
	return b, nil
}

// mould is the bytes of an interview in which ids are stamped anew: to copy and write it a million times would take
// longer than what is to be measured.
type mould struct {
	of      *surveyv1.Interview
	payload []byte
	// ids are where each id stands in the payload, the interview's own first.
	ids [][]int
}

func newMould(iv *surveyv1.Interview) (mould, error) {
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(iv)
	m := mould{of: iv, payload: payload}
	ids := []string{iv.GetInterviewId(), iv.GetHousehold().GetHouseholdId()}
	for _, p := range iv.GetHousehold().GetMembers() {
		ids = append(ids, p.GetPersonId())
	}
	for _, id := range ids {
		var at []int
		for i := 0; len(id) == 36 && i+36 <= len(payload); i++ {
			if string(payload[i:i+36]) == id {
				at = append(at, i)
			}
		}
		m.ids = append(m.ids, at)
	}
	if err == nil && len(m.ids[0]) == 0 {
		err = errors.New("a simulated interview has no id")
	}
	return m, err
}

// seal makes a record of the interview under new ids.
func (m *mould) seal(tab *benchTablet, fingerprint func(string, uint32) []byte) ([]byte, syncer.Digest, error) {
	payload := append([]byte(nil), m.payload...)
	subject := ""
	for i, places := range m.ids {
		id := uuid.NewString()
		if i == 0 {
			subject = id
		}
		for _, at := range places {
			copy(payload[at:], id)
		}
	}
	return sealPayload(m.of, subject, payload, tab, fingerprint)
}
