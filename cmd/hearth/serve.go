package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/hearth-survey/hearth/server"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"
)

// serveCmd runs a server until it is told to stop.
type serveCmd struct {
	Data       string        `help:"Folder to keep everything in; made if it is not there." required:"" env:"HEARTH_DATA" type:"path"`
	Listen     string        `help:"Address for tablets, programs and browsers." default:"127.0.0.1:8686" env:"HEARTH_LISTEN"`
	Metrics    string        `help:"Loopback address for /metrics; off to have none." default:"127.0.0.1:8687" env:"HEARTH_METRICS"`
	Upstream   string        `help:"Be a hub, and forward to the headquarters at this address: host:port, https://host:port for TLS." env:"HEARTH_UPSTREAM"`
	Code       string        `help:"With --upstream, the first time: the code that headquarters made for this hub."`
	Every      time.Duration `help:"With --upstream: how often headquarters is asked when nothing is to be forwarded." default:"30s"`
	Alone      time.Duration `help:"With --upstream: how long tablets are taken in while headquarters is out of reach, which may have revoked this hub; 0: for ever." default:"720h"`
	Restored   bool          `help:"The folder was a backup until now: cursors given since are not believed, and tablets are asked for what they have receipts for. Say it once, at the first start."`
	LinkAsked  bool          `help:"Look for people surveyed twice when somebody asks, not as interviews come: for a machine that has enough to do with taking them in." name:"link-when-asked"`
	Reflection bool          `help:"Let grpcurl and the like ask what services there are."`
	LogJSON    bool          `help:"Write the log as JSON." name:"log-json"`
	Quiet      bool          `help:"Log warnings and errors only."`
}

// spareFiles is how many files the server has open beside its connections.
const spareFiles = 200

// collectAt is how much a server's memory grows, in per cent of what is in use, before what is not is looked for: at Go's
// 100 a tenth of all processor time goes into that, at 200 it needs more memory than it may.
const collectAt = 130

// Run serves.
func (c *serveCmd) Run(e *env) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	if c.Code != "" && c.Upstream == "" {
		return fmt.Errorf("%w: --code is for a hub: say with --upstream where headquarters is", errUsage)
	}
	log := c.logger(e)
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	node, err := openNode(e.ctx, c.Data, nodeOptions{serving: true, linkWhenAsked: c.LinkAsked, restored: c.Restored, reflection: c.Reflection, upstream: c.Upstream, code: c.Code, every: c.Every, alone: c.Alone, log: log, metrics: registry})
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return errors.Join(fmt.Errorf("listen on %s: %w", c.Listen, err), node.close())
	}
	if addr, ok := ln.Addr().(*net.TCPAddr); ok && !addr.IP.IsLoopback() {
		log.Warn("this address is reachable from other machines and the connection is not encrypted: put it behind a proxy with TLS, or in a network of its own")
	}
	if n := openFiles(); n > 0 && n < server.MaxConnections+spareFiles {
		log.Warn("this process may open too few files for as many tablets as could hold a connection: raise the limit with ulimit -n, or LimitNOFILE= of systemd",
			"limit", n, "tablets", n-min(n, spareFiles), "want", server.MaxConnections+spareFiles)
	}
	fmt.Fprintf(e.stdout, "hearth serves %s on %s\ntoken: in %s; for exports without names: in %s\n", c.Data, ln.Addr(), filepath.Join(c.Data, "token"), filepath.Join(c.Data, "export-token"))
	if node.relay != nil {
		st := node.relay.State()
		fmt.Fprintf(e.stdout, "hub %s: forwards to %s\n", st.GetName(), st.GetUpstream())
	}
	group, ctx := errgroup.WithContext(e.ctx)
	group.Go(func() error { return node.server.Serve(ctx, ln) })
	group.Go(func() error { return node.server.Run(ctx) })
	if node.relay != nil {
		group.Go(func() error { return node.relay.Run(ctx) })
	}
	if c.Metrics != "off" {
		metrics, err := listenMetrics(c.Metrics)
		if err != nil {
			log.Warn("there are no metrics: give another --metrics, or off", "error", err)
		} else {
			fmt.Fprintf(e.stdout, "metrics: http://%s/metrics\n", metrics.Addr())
			group.Go(func() error { return serveMetrics(ctx, metrics, node.server.MetricsHandler()) })
		}
	}
	err = group.Wait()
	return errors.Join(err, node.close())
}

func (c *serveCmd) logger(e *env) *slog.Logger {
	opts := &slog.HandlerOptions{}
	if c.Quiet {
		opts.Level = slog.LevelWarn
	}
	if c.LogJSON {
		return slog.New(slog.NewJSONHandler(e.stderr, opts))
	}
	return slog.New(slog.NewTextHandler(e.stderr, opts))
}

// listenMetrics listens on loopback only: counters tell more about a study than strangers should know.
func listenMetrics(addr string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s for metrics: %w", addr, err)
	}
	if tcp, ok := ln.Addr().(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		return nil, errors.Join(fmt.Errorf("--metrics %s is not a loopback address", addr), ln.Close())
	}
	return ln, nil
}

// serveMetrics serves /metrics until ctx ends.
func serveMetrics(ctx context.Context, ln net.Listener, h http.Handler) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
