package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
)

func TestTabletSyncs(t *testing.T) {
	d := newDesk(t, newMemory())
	tb := newTablet("tablet-03")
	hello := tb.greet(t, d)
	if got := hello.GetLimits().GetMaxBatchRecords(); got != uint32(syncer.DefaultLimits.Records) {
		t.Errorf("limit of records = %d", got)
	}
	a, b := household(1), household(2)
	raws := [][]byte{tb.record(t, a, nil), tb.record(t, b, nil)}
	first := tb.head
	ack := tb.push(t, d, raws...)
	if len(ack.GetResults()) != 0 || ack.GetFork() {
		t.Fatalf("ack of a good batch = %v", ack)
	}
	lane, head, err := syncer.VerifyReceipt(ack.GetReceipt(), hello.GetServerKey())
	if err != nil || lane != tb.lane || head != tb.head {
		t.Errorf("receipt covers %v %v, %v; want %v %v", lane, head, err, tb.lane, tb.head)
	}
	tb.head = first
	again := tb.push(t, d, raws...)
	if len(again.GetResults()) != 2 || again.GetResults()[0].GetOutcome() != servicev1.EntryOutcome_ENTRY_OUTCOME_DUPLICATE {
		t.Errorf("the same batch again = %v, want two duplicates", again.GetResults())
	}
	counts, err := servicev1.NewMonitorServiceClient(d.conn).CountInterviews(with(t.Context()), &servicev1.CountInterviewsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if got := counts.GetTotal().GetCompleted(); got != 2 {
		t.Errorf("completed = %d, want 2: %v", got, counts)
	}
}

// Nothing that was parsed for the projector stays behind, whether it was stored, held before, unusable or failed.
func TestNothingWaitsForTheProjector(t *testing.T) {
	m := newMemory()
	d := newDesk(t, m)
	tb := newTablet("waiting")
	tb.greet(t, d)
	raws := [][]byte{tb.record(t, household(1), nil), tb.record(t, household(2), func(r *servicev1.Record) { r.QuestionnaireVersion = proto.Uint32(99) })}
	start := tb.head
	for range 2 {
		tb.head = start
		tb.push(t, d, raws...)
	}
	m.failAppend = errors.New("no")
	if _, err := servicev1.NewSyncServiceClient(d.conn).PushBatch(with(t.Context()), &servicev1.PushBatchRequest{Batch: tb.batch(tb.record(t, household(3), nil))}); err == nil {
		t.Error("a batch that was not stored is acknowledged")
	}
	if err := d.Project(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.projector.mu.Lock()
	defer d.projector.mu.Unlock()
	if len(d.projector.parsed) != 0 || d.projector.waiting != 0 {
		t.Errorf("%d records with %d bytes wait", len(d.projector.parsed), d.projector.waiting)
	}
}

// The measures say what became of the records, and the tablets are counted when asked.
func TestMetrics(t *testing.T) {
	d := newDesk(t, newMemory())
	tb := newTablet("metrics")
	tb.greet(t, d)
	start := tb.head
	raws := [][]byte{tb.record(t, household(1), nil), tb.record(t, household(2), func(r *servicev1.Record) { r.QuestionnaireVersion = proto.Uint32(99) })}
	tb.push(t, d, raws...)
	tb.head = start
	tb.push(t, d, raws...)
	if err := d.Project(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	d.MetricsHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []string{
		"hearth_acked_records_total 1", "hearth_duplicate_records_total 2", `hearth_quarantined_records_total{reason="UNKNOWN_VERSION"} 1`,
		"hearth_devices 1", "hearth_devices_seen_24h 1", "hearth_projected_records_total 1", "hearth_projector_lag_seconds 0", "hearth_append_seconds_count 2",
	} {
		if !strings.Contains(w.Body.String(), want+"\n") {
			t.Errorf("/metrics does not say %s:\n%s", want, w.Body)
		}
	}
}

// Within one process a server is used over a pipe, without a token.
func TestInProcess(t *testing.T) {
	set, err := builtin()
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Store: newMemory(), Key: newTablet("hq").key, Questionnaires: set})
	if err != nil {
		t.Fatal(err)
	}
	l := bufconn.Listen(1 << 20)
	go func() { _ = s.GRPC().Serve(l) }()
	defer s.GRPC().Stop()
	conn, err := grpc.NewClient("passthrough:pipe", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := servicev1.NewSyncServiceClient(conn).Hello(t.Context(), newTablet("a").hello()); err != nil {
		t.Error(err)
	}
	_, err = servicev1.NewSyncServiceClient(conn).Hello(metadata.AppendToOutgoingContext(t.Context(), "x-large", strings.Repeat("x", 64<<10)), newTablet("a").hello())
	if err == nil {
		t.Error("64 KiB of headers are taken")
	}
}

func TestLargeHeaders(t *testing.T) {
	d := newDesk(t, newMemory())
	ctx := metadata.AppendToOutgoingContext(with(t.Context()), "x-large", strings.Repeat("x", 64<<10))
	if _, err := servicev1.NewSyncServiceClient(d.conn).Hello(ctx, newTablet("a").hello()); err == nil {
		t.Error("64 KiB of headers are taken")
	}
	tb := newTablet("after")
	tb.greet(t, d)
}

func TestConfigIsChecked(t *testing.T) {
	set, err := builtin()
	if err != nil {
		t.Fatal(err)
	}
	key := newTablet("hq").key
	for name, cfg := range map[string]Config{
		"no store": {Key: key, Questionnaires: set}, "no key": {Store: newMemory(), Questionnaires: set}, "no questionnaires": {Store: newMemory(), Key: key},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: a server was made", name)
		}
	}
	r := prometheus.NewRegistry()
	cfg := Config{Store: newMemory(), Key: key, Questionnaires: set, Metrics: r}
	if _, err := New(cfg); err != nil {
		t.Error(err)
	}
	if _, err := New(cfg); err == nil {
		t.Error("two servers register the same measures")
	}
}
