package server

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
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

// What a sync reads over a payload is what parsing it would tell.
func FuzzPayloadReader(f *testing.F) {
	r := newPayloadReader()
	seeds := []*surveyv1.Interview{
		{}, household(1), full(2), {Answers: &surveyv1.Interview_Other{Other: &surveyv1.OtherAnswers{Questionnaire: proto.String("a.b.C")}}},
		{InterviewId: proto.String("x"), Missing: map[uint32]formv1.Missing{7: formv1.Missing_MISSING_REFUSED}, Answers: &surveyv1.Interview_School{School: &surveyv1.School{}}},
	}
	for _, iv := range seeds {
		raw, err := proto.Marshal(iv)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
		f.Add(raw[:len(raw)/2])
		f.Add(append(raw, 0xff))
		f.Add(append(raw, 0x0a, 1, 0xff))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := r.read(raw)
		iv := &surveyv1.Interview{}
		parseErr := proto.Unmarshal(raw, iv)
		if (err == nil) != (parseErr == nil) {
			t.Fatalf("read says %v, parsing says %v", err, parseErr)
		}
		want := glance{iv.GetInterviewId(), iv.GetStudy(), iv.GetRound(), questionnaire.NameOf(iv)}
		if err == nil && got != want {
			t.Errorf("read %+v, parsed %+v", got, want)
		}
	})
}

func BenchmarkPayloadReader(b *testing.B) {
	r := newPayloadReader()
	raw, err := proto.Marshal(full(1))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if _, err := r.read(raw); err != nil {
			b.Fatal(err)
		}
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
