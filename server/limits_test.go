package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// wide answers ListDevices with one name of so many bytes.
type wide struct {
	*memory
	bytes int
}

func (w *wide) ListDevices(context.Context) ([]*servicev1.DeviceStatus, error) {
	return []*servicev1.DeviceStatus{{Name: proto.String(strings.Repeat("x", w.bytes))}}, nil
}

// A drawing of a large study fits in an answer; what does not is said to be too large, with the limit.
func TestLargeAnswers(t *testing.T) {
	w := &wide{memory: newMemory()}
	d := newDesk(t, w)
	list := func(bytes int) (int, error) {
		w.bytes = bytes
		resp, err := servicev1.NewMonitorServiceClient(d.conn).ListDevices(with(t.Context()), &servicev1.ListDevicesRequest{}, grpc.MaxCallRecvMsgSize(65<<20))
		return proto.Size(resp), err
	}
	if n, err := list(40 << 20); err != nil || n < 40<<20 {
		t.Errorf("an answer of 40 MiB = %d bytes, %v", n, err)
	}
	_, err := list(64 << 20)
	wants(t, err, codes.ResourceExhausted, fault.BadRequest)
	if err != nil && !strings.Contains(err.Error(), "at most 67108864") {
		t.Errorf("the limit is not said: %v", err)
	}
	w.bytes = 20 << 20
	if code, _, body := curl(t, d, "/hearth.service.v1.MonitorService/ListDevices", "application/json", "{}", true); code != http.StatusTooManyRequests || !strings.Contains(body, "resource_exhausted") {
		t.Errorf("20 MiB by Connect = %d %.300s, want it said that that is too large", code, body)
	}
}

// Nothing at all in place of JSON is the caller's mistake, or an empty message, and no error of the server.
func TestConnectEmptyBody(t *testing.T) {
	d := newDesk(t, newMemory())
	for _, body := range []string{"", " ", "\n"} {
		code, _, text := curl(t, d, "/hearth.service.v1.StudyService/ListQuestionnaires", "application/json", body, true)
		if code != http.StatusBadRequest || !strings.Contains(text, "invalid_argument") || !strings.Contains(text, "{}") {
			t.Errorf("body %q = %d %s, want it said that the body is empty", body, code, text)
		}
	}
	// In protobuf nothing at all is a message without fields, also where it comes without a length.
	for _, kind := range []string{"application/proto", "application/json"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+d.addr+"/hearth.service.v1.StudyService/ListQuestionnaires", io.MultiReader(strings.NewReader("")))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", kind)
		req.Header.Set("Authorization", "Bearer "+testToken)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		if err = errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if want := map[string]int{"application/proto": http.StatusOK, "application/json": http.StatusBadRequest}[kind]; resp.StatusCode != want {
			t.Errorf("empty %s = %d %.300s, want %d", kind, resp.StatusCode, text, want)
		}
	}
	if log := d.log.String(); strings.Contains(log, "ERROR") {
		t.Errorf("log = %s", log)
	}
}

// What the server is to blame for is logged so that it is seen also where only warnings are.
func TestFailuresAreWarnings(t *testing.T) {
	m := newMemory()
	d := newDesk(t, m)
	tb := newTablet("levels")
	tb.greet(t, d)
	batch := tb.batch(tb.record(t, household(1), nil))
	push := func(err error, level string) {
		t.Helper()
		m.failAppend = err
		before := len(d.log.String())
		_, _ = servicev1.NewSyncServiceClient(d.conn).PushBatch(with(t.Context()), &servicev1.PushBatchRequest{Batch: batch})
		found := false
		for line := range strings.Lines(d.log.String()[before:]) {
			if strings.Contains(line, `"msg":"call"`) {
				found = true
				if !strings.Contains(line, `"level":"`+level+`"`) {
					t.Errorf("%v: %s, want level %s", err, line, level)
				}
			}
		}
		if !found {
			t.Errorf("%v: no line", err)
		}
	}
	push(fault.New(fault.Unavailable, fault.DiskFull, "write: the server's disk is full"), "WARN")
	push(fault.New(fault.Unavailable, "", "write: the server's disk fails"), "WARN")
	push(fault.New(fault.Internal, fault.StoreDamaged, "write"), "ERROR")
	push(fault.New(fault.Unavailable, fault.ShuttingDown, "the store is closed"), "INFO")
	push(fault.New(fault.Invalid, fault.BadRequest, "bad"), "INFO")
	if !strings.Contains(d.log.String(), "the server's disk is full") {
		t.Error("the log does not say whose disk is full")
	}
}

// A clock that panics leaves no lock held.
func TestRightsCachePanics(t *testing.T) {
	bad := true
	r := &rightsCache{clock: func() time.Time {
		if bad {
			panic("the clock")
		}
		return time.Unix(1000, 0)
	}}
	ask := func() (recovered any) {
		defer func() { recovered = recover() }()
		_, err := r.revocation(t.Context(), newMemory(), newTablet("t").lane.Device)
		if err != nil {
			t.Error(err)
		}
		return nil
	}
	if ask() == nil {
		t.Fatal("no panic, so this test tests nothing")
	}
	bad = false
	ended := make(chan any, 1)
	go func() { ended <- ask() }()
	select {
	case p := <-ended:
		if p != nil {
			t.Errorf("panic %v", p)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the lock is held")
	}
}

// A panic while a message is read ends that stream and not the server.
func TestPushStreamPanics(t *testing.T) {
	d := newDesk(t, newMemory())
	err := (&syncService{Server: d.Server}).Push(&panickingStream{ctx: t.Context()})
	if err == nil || !strings.Contains(err.Error(), "panic of type string") || strings.Contains(err.Error(), canary) {
		t.Errorf("Push = %v", err)
	}
}

type panickingStream struct {
	grpc.BidiStreamingServer[servicev1.PushRequest, servicev1.PushResponse]
	ctx context.Context
}

func (s *panickingStream) Context() context.Context { return s.ctx }

func (s *panickingStream) Recv() (*servicev1.PushRequest, error) { panic(canary) }
