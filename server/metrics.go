package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/hearth-survey/hearth/server/store"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are the measures an operator asks for.
type metrics struct {
	acked        prometheus.Counter
	duplicate    prometheus.Counter
	quarantined  *prometheus.CounterVec
	refused      *prometheus.CounterVec
	forks        prometheus.Counter
	authFailures prometheus.Counter
	appendTime   prometheus.Histogram
	lag          prometheus.Gauge
	projected    prometheus.Counter
	handler      http.Handler
}

// committer is a store that counts the transactions of its log.
type committer interface{ Commits() uint64 }

func newMetrics(r *prometheus.Registry, st store.Store, now func() time.Time) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "hearth", Name: name, Help: help})
	}
	byReason := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "hearth", Name: name, Help: help}, []string{"reason"})
	}
	m := &metrics{
		acked:        counter("acked_records_total", "Records made durable and acknowledged that were not held before."),
		duplicate:    counter("duplicate_records_total", "Records that arrived again."),
		quarantined:  byReason("quarantined_records_total", "Records kept but not used, by reason."),
		refused:      byReason("refused_records_total", "Records not kept, by reason."),
		forks:        counter("forks_total", "Batches that contradicted what is held of their lane."),
		authFailures: counter("auth_failures_total", "Calls with a wrong token."),
		projected:    counter("projected_records_total", "Records taken into the projections."),
		appendTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "hearth", Name: "append_seconds", Help: "Time until a batch was durable.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
		lag: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "hearth", Name: "projector_lag_seconds", Help: "Age of the oldest record read in the last run of the projector; 0 when it has caught up.",
		}),
	}
	all := []prometheus.Collector{m.acked, m.duplicate, m.quarantined, m.refused, m.forks, m.authFailures, m.projected, m.appendTime, m.lag, newDeviceMetrics(st, now)}
	if c, ok := st.(committer); ok {
		all = append(all, prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: "hearth", Name: "log_commits_total", Help: "Transactions of the log made durable; several batches share one.",
		}, func() float64 { return float64(c.Commits()) }))
	}
	for _, c := range all {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	m.handler = mux
	return m, nil
}

// MetricsHandler serves GET /metrics. It asks for no token: give it a listener of its own on loopback.
func (s *Server) MetricsHandler() http.Handler { return s.metrics.handler }

// deviceMetrics counts tablets when it is asked.
type deviceMetrics struct {
	devices store.Devices
	now     func() time.Time

	known, seen, pending, oldest, gaps *prometheus.Desc
}

func newDeviceMetrics(d store.Devices, now func() time.Time) *deviceMetrics {
	desc := func(name, help string) *prometheus.Desc { return prometheus.NewDesc("hearth_"+name, help, nil, nil) }
	return &deviceMetrics{
		devices: d, now: now,
		known:   desc("devices", "Tablets that have said Hello."),
		seen:    desc("devices_seen_24h", "Tablets that have said Hello in the last 24 hours."),
		pending: desc("pending_records", "Records that tablets said at their last Hello they had not sent."),
		oldest:  desc("oldest_device_seconds", "Time since the last Hello of the tablet not seen for longest."),
		gaps:    desc("gap_records", "Entries of lanes that have not arrived although later ones have."),
	}
}

// Describe implements prometheus.Collector.
func (d *deviceMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{d.known, d.seen, d.pending, d.oldest, d.gaps} {
		ch <- desc
	}
}

// Collect implements prometheus.Collector.
func (d *deviceMetrics) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	list, err := d.devices.ListDevices(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(d.known, errors.New("the devices cannot be listed"))
		return
	}
	now := d.now().UnixMilli()
	var seen, pending, gaps uint64
	var oldest int64
	for _, dev := range list {
		age := now - dev.GetLastSeenMs()
		if age < (24 * time.Hour).Milliseconds() {
			seen++
		}
		if dev.GetLastSeenMs() > 0 { // enrolled, and not yet seen
			oldest = max(oldest, age)
		}
		pending += dev.GetPending()
		for _, g := range dev.GetGaps() {
			gaps += g.GetLast() - g.GetFirst() + 1
		}
	}
	gauge := func(desc *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v)
	}
	gauge(d.known, float64(len(list)))
	gauge(d.seen, float64(seen))
	gauge(d.pending, float64(pending))
	gauge(d.oldest, float64(oldest)/1000)
	gauge(d.gaps, float64(gaps))
}
