package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Every call there is has a row here; a new one fails until somebody has decided who may make it.
func TestPolicy(t *testing.T) {
	table := map[string]access{
		"/hearth.service.v1.SyncService/Hello":                    proving,
		"/hearth.service.v1.SyncService/PushBatch":                enrolled,
		"/hearth.service.v1.SyncService/Push":                     proving,
		"/hearth.service.v1.SyncService/Offer":                    enrolled,
		"/hearth.service.v1.SyncService/Pull":                     enrolled,
		"/hearth.service.v1.SyncService/BlobStat":                 enrolled,
		"/hearth.service.v1.SyncService/PutChunk":                 enrolled,
		"/hearth.service.v1.SyncService/GetBlob":                  holder,
		"/hearth.service.v1.DeviceService/CreateEnrolment":        holder,
		"/hearth.service.v1.DeviceService/Enrol":                  anyone,
		"/hearth.service.v1.DeviceService/BeginSession":           anyone,
		"/hearth.service.v1.DeviceService/OpenSession":            anyone,
		"/hearth.service.v1.DeviceService/RevokeDevice":           holder,
		"/hearth.service.v1.MonitorService/ShowQuarantine":        holder,
		"/hearth.service.v1.MonitorService/ReplayQuarantine":      holder,
		"/hearth.service.v1.ReviewService/ListConflicts":          holder,
		"/hearth.service.v1.ReviewService/ResolveConflict":        holder,
		"/hearth.service.v1.ReviewService/WithdrawInterview":      holder,
		"/hearth.service.v1.ReviewService/EraseInterview":         holder,
		"/hearth.service.v1.ReviewService/CreateReview":           holder,
		"/hearth.service.v1.ReviewService/ListReviews":            holder,
		"/hearth.service.v1.StudyService/GetStudy":                holder,
		"/hearth.service.v1.StudyService/PutStudy":                holder,
		"/hearth.service.v1.StudyService/CloseStudy":              holder,
		"/hearth.service.v1.StudyService/ReopenStudy":             holder,
		"/hearth.service.v1.StudyService/ListQuestionnaires":      holder,
		"/hearth.service.v1.StudyService/GetCodebook":             holder,
		"/hearth.service.v1.StudyService/PublishQuestionnaire":    holder,
		"/hearth.service.v1.StudyService/GetQuestionnaire":        holder,
		"/hearth.service.v1.StudyService/CompareQuestionnaires":   holder,
		"/hearth.service.v1.MonitorService/CountFlags":            holder,
		"/hearth.service.v1.MonitorService/CountInterviews":       holder,
		"/hearth.service.v1.MonitorService/ListInterviews":        holder,
		"/hearth.service.v1.MonitorService/ListDevices":           holder,
		"/hearth.service.v1.MonitorService/ListQuarantine":        holder,
		"/hearth.service.v1.MonitorService/GetParadata":           holder,
		"/hearth.service.v1.MonitorService/ListFlags":             holder,
		"/hearth.service.v1.LinkageService/RunLinkage":            holder,
		"/hearth.service.v1.LinkageService/ListPairs":             holder,
		"/hearth.service.v1.LinkageService/ExplainPair":           holder,
		"/hearth.service.v1.LinkageService/Decide":                holder,
		"/hearth.service.v1.LinkageService/ListDecisions":         holder,
		"/hearth.service.v1.LinkageService/ListQueue":             holder,
		"/hearth.service.v1.LinkageService/ListGroups":            holder,
		"/hearth.service.v1.LinkageService/GetPerson":             holder,
		"/hearth.service.v1.ReferralService/GetReferralStats":     holder,
		"/hearth.service.v1.ReferralService/GetReferralGraph":     holder,
		"/hearth.service.v1.ExportService/Export":                 analysts,
		"/hearth.service.v1.ExportService/ListExports":            holder,
		"/hearth.service.v1.AssignmentService/CreateAssignment":   holder,
		"/hearth.service.v1.AssignmentService/ReassignAssignment": holder,
		"/hearth.service.v1.AssignmentService/CancelAssignment":   holder,
		"/hearth.service.v1.AssignmentService/ReleaseAssignment":  holder,
		"/hearth.service.v1.AssignmentService/GetAssignment":      holder,
		"/hearth.service.v1.AssignmentService/ListAssignments":    holder,

		"/hearth.service.v1.HubService/Report":       hubs,
		"/hearth.service.v1.HubService/GetHubStatus": holder,

		"/grpc.health.v1.Health/Check": anyone,
		"/grpc.health.v1.Health/List":  anyone,
		"/grpc.health.v1.Health/Watch": anyone,

		"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo":      holder,
		"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": holder,
	}
	d := newDesk(t, newMemory())
	n := 0
	for service, info := range d.GRPC().GetServiceInfo() {
		for _, m := range info.Methods {
			method := "/" + service + "/" + m.Name
			want, ok := table[method]
			if !ok {
				t.Errorf("%s has no row in this table: decide who may call it", method)
				continue
			}
			got, ok := policy(method)
			if !ok || got.access != want || got.longest <= 0 {
				t.Errorf("policy(%s) = %v %v, want %v", method, got, ok, want)
			}
			n++
		}
	}
	for _, r := range []string{routeExport, routeOData} {
		if got, ok := policy(r); !ok || got.access != analysts || got.longest <= 0 {
			t.Errorf("policy(%s) = %v %v, want analysts", r, got, ok)
		}
	}
	if n != len(table) {
		t.Errorf("%d calls are served, the table has %d", n, len(table))
	}
	for _, method := range []string{"", "/", "/hearth.service.v1.SyncService/Drop", "/hearth.service.v1.SyncService/Hello/"} {
		if r, ok := policy(method); ok {
			t.Errorf("policy(%q) = %v, want nobody", method, r)
		}
	}
}

func TestToken(t *testing.T) {
	d := newDesk(t, newMemory())
	client := servicev1.NewMonitorServiceClient(d.conn)
	tests := []struct {
		name   string
		header []string
		code   codes.Code
		reason fault.Reason
	}{
		{"none", nil, codes.Unauthenticated, fault.TokenMissing},
		{"empty", []string{""}, codes.Unauthenticated, fault.TokenMissing},
		{"no scheme", []string{testToken}, codes.Unauthenticated, fault.TokenMissing},
		{"another scheme", []string{"Basic " + testToken}, codes.Unauthenticated, fault.TokenMissing},
		{"scheme alone", []string{"Bearer "}, codes.Unauthenticated, fault.TokenMissing},
		{"wrong", []string{"Bearer " + testToken + "x"}, codes.Unauthenticated, fault.TokenWrong},
		{"beginning of it", []string{"Bearer " + testToken[:5]}, codes.Unauthenticated, fault.TokenWrong},
		{"two", []string{"Bearer " + testToken, "Bearer " + testToken}, codes.Unauthenticated, fault.TokenMissing},
		{"right", []string{"bearer " + testToken}, codes.OK, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx := t.Context()
			for _, h := range tt.header {
				ctx = metadata.AppendToOutgoingContext(ctx, "authorization", h)
			}
			_, err := client.ListDevices(ctx, &servicev1.ListDevicesRequest{})
			wants(t, err, tt.code, tt.reason)
			stream, err := servicev1.NewSyncServiceClient(d.conn).Push(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.CloseSend(); err != nil {
				t.Fatal(err)
			}
			if _, err = stream.Recv(); !errors.Is(err, io.EOF) {
				wants(t, err, tt.code, tt.reason)
			}
		})
	}
	resp, err := healthv1.NewHealthClient(d.conn).Check(t.Context(), &healthv1.HealthCheckRequest{Service: "hearth.service.v1.SyncService"})
	if err != nil || resp.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("health without a token = %v, %v", resp, err)
	}
	if strings.Contains(d.log.String(), testToken) {
		t.Error("the token is in the log")
	}
}

// curl sends one request over HTTP/1.1, as curl does.
func curl(t *testing.T, d *desk, path, contentType, body string, token bool) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+d.addr+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	if token {
		req.Header.Set("Authorization", "Bearer "+testToken)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(raw)
}

func TestConnectJSON(t *testing.T) {
	d := newDesk(t, newMemory())
	const study = `{"study":{"study":"guiyang","titleZh":"贵阳调查","sites":[{"siteId":"school-c"}]}}`
	if code, _, body := curl(t, d, "/hearth.service.v1.StudyService/PutStudy", "application/json", study, true); code != http.StatusOK {
		t.Fatalf("PutStudy = %d %s", code, body)
	}
	code, header, body := curl(t, d, "/hearth.service.v1.StudyService/GetStudy", "application/json", "{}", true)
	got := &servicev1.GetStudyResponse{}
	if err := protojson.Unmarshal([]byte(body), got); err != nil || code != http.StatusOK || got.GetStudy().GetTitleZh() != "贵阳调查" {
		t.Errorf("GetStudy = %d %s, %v", code, body, err)
	}
	if header.Get("X-Request-Id") == "" {
		t.Error("the answer has no request id")
	}
	tests := []struct {
		name, path, body string
		token            bool
		status           int
		code, reason     string
	}{
		{"no token", "/hearth.service.v1.StudyService/GetStudy", "{}", false, http.StatusUnauthorized, "unauthenticated", "TOKEN_MISSING"},
		{"not found", "/hearth.service.v1.StudyService/GetStudy", `{"study":"lhasa"}`, true, http.StatusNotFound, "not_found", "UNKNOWN_STUDY"},
		{"no JSON", "/hearth.service.v1.StudyService/GetStudy", `{"study":`, true, http.StatusBadRequest, "invalid_argument", ""},
		{"a field that is not", "/hearth.service.v1.StudyService/GetStudy", `{"studdy":"x"}`, true, http.StatusBadRequest, "invalid_argument", ""},
		{"over the limit", "/hearth.service.v1.StudyService/GetStudy", `{"study":"` + strings.Repeat("x", 9<<20) + `"}`, true, http.StatusTooManyRequests, "resource_exhausted", ""},
		{"over the limit of a message", "/hearth.service.v1.StudyService/GetStudy", `{"study":"` + strings.Repeat("x", 5<<20) + `"}`, true, http.StatusTooManyRequests, "resource_exhausted", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, _, body := curl(t, d, tt.path, "application/json", tt.body, tt.token)
			var e struct {
				Code, Message string
				Details       []struct{ Type, Value string }
			}
			if err := json.Unmarshal([]byte(body), &e); err != nil {
				t.Fatalf("%d %s: %v", status, body, err)
			}
			if status != tt.status || e.Code != tt.code || e.Message == "" {
				t.Errorf("answer = %d %s, want %d %s", status, body, tt.status, tt.code)
			}
			if tt.reason != "" {
				if len(e.Details) != 1 || e.Details[0].Type != "google.rpc.ErrorInfo" {
					t.Fatalf("details = %v", e.Details)
				}
				if raw, err := base64.RawStdEncoding.DecodeString(e.Details[0].Value); err != nil || !strings.Contains(string(raw), tt.reason) {
					t.Errorf("details = %q, %v; want %s", raw, err, tt.reason)
				}
			}
		})
	}
	if code, _, body := curl(t, d, "/grpc.health.v1.Health/Check", "application/json", "{}", false); code != http.StatusOK || !strings.Contains(body, "SERVING") {
		t.Errorf("health by JSON = %d %s", code, body)
	}
	if code, _, _ := curl(t, d, "/nowhere", "application/json", "{}", true); code != http.StatusNotFound {
		t.Errorf("an unknown path = %d", code)
	}
	resp, err := http.Get("http://" + d.addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if page, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(page), "Hearth") {
		t.Errorf("index = %s, %v", page, err)
	}
}

func TestGRPCWeb(t *testing.T) {
	d := newDesk(t, newMemory())
	frame := string([]byte{0, 0, 0, 0, 0}) // an empty message
	code, header, body := curl(t, d, "/hearth.service.v1.StudyService/ListQuestionnaires", "application/grpc-web+proto", frame, true)
	if code != http.StatusOK || !strings.HasPrefix(header.Get("Content-Type"), "application/grpc-web") {
		t.Fatalf("gRPC-Web = %d %v", code, header)
	}
	if len(body) < 5 || body[0] != 0 {
		t.Fatalf("gRPC-Web answered %q", body)
	}
	n := int(body[1])<<24 | int(body[2])<<16 | int(body[3])<<8 | int(body[4])
	list := &servicev1.ListQuestionnairesResponse{}
	if err := proto.Unmarshal([]byte(body[5:5+n]), list); err != nil || len(list.GetQuestionnaires()) < 3 {
		t.Errorf("questionnaires = %v, %v", list, err)
	}
	if trailer := body[5+n:]; trailer[0] != 0x80 || !strings.Contains(strings.ToLower(trailer), "grpc-status: 0") {
		t.Errorf("trailer = %q", trailer)
	}
}

// No name and no answer reaches the log, whatever is called and however it fails.
func TestLogHoldsNoAnswers(t *testing.T) {
	d := newDesk(t, newMemory())
	ctx := with(t.Context())
	tb := newTablet("canary")
	tb.greet(t, d)
	iv := household(1)
	tb.push(t, d, tb.record(t, iv, nil), tb.record(t, household(1), nil))
	called := callEverything(t, d, canary)
	if called < 20 {
		t.Fatalf("only %d calls were made", called)
	}
	explained, err := servicev1.NewLinkageServiceClient(d.conn).RunLinkage(ctx, &servicev1.RunLinkageRequest{})
	if err != nil || !strings.Contains(fmt.Sprint(explained), canary) {
		t.Errorf("the canary is not in the pairs, so this test tests nothing: %v, %v", explained, err)
	}
	log := d.log.String()
	if strings.Count(log, `"msg":"call"`) < called {
		t.Errorf("%d calls left %d lines", called, strings.Count(log, `"msg":"call"`))
	}
	for _, secret := range []string{canary, "13800000001", testToken, `"罗`} {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds %q:\n%s", secret, log)
		}
	}
	if !strings.Contains(log, tb.lane.Device.String()) {
		t.Error("the log does not name the device")
	}
}

// callEverything makes every call of every service once, every text field of the request filled with the same text.
func callEverything(t *testing.T, d *desk, text string) int {
	t.Helper()
	n := 0
	for service := range d.GRPC().GetServiceInfo() {
		desc, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
		if err != nil || !strings.HasPrefix(service, "hearth.") {
			continue
		}
		methods := desc.(protoreflect.ServiceDescriptor).Methods()
		for i := range methods.Len() {
			m := methods.Get(i)
			typ, err := protoregistry.GlobalTypes.FindMessageByName(m.Input().FullName())
			if err != nil {
				t.Fatal(err)
			}
			req := typ.New()
			fill(req, text, 0)
			stream, err := d.conn.NewStream(with(t.Context()), streamDesc(m), "/"+service+"/"+string(m.Name()))
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.SendMsg(req.Interface()); err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			if err := stream.CloseSend(); err != nil {
				t.Fatal(err)
			}
			out, err := protoregistry.GlobalTypes.FindMessageByName(m.Output().FullName())
			if err != nil {
				t.Fatal(err)
			}
			for stream.RecvMsg(out.New().Interface()) == nil {
			}
			n++
		}
	}
	return n
}

// fill puts the text into every text field that a message has, some levels down.
func fill(m protoreflect.Message, text string, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case f.IsMap() || f.ContainingOneof() != nil:
		case f.Kind() == protoreflect.StringKind && f.IsList():
			m.Mutable(f).List().Append(protoreflect.ValueOfString(text))
		case f.Kind() == protoreflect.StringKind:
			m.Set(f, protoreflect.ValueOfString(text))
		case f.Kind() == protoreflect.EnumKind && !f.IsList():
			m.Set(f, protoreflect.ValueOfEnum(1))
		case f.Kind() == protoreflect.MessageKind && depth < 3 && f.IsList():
			fill(m.Mutable(f).List().AppendMutable().Message(), text, depth+1)
		case f.Kind() == protoreflect.MessageKind && depth < 3:
			fill(m.Mutable(f).Message(), text, depth+1)
		}
	}
}

// A panic in a handler is an internal error of that call, without its value, and the server goes on.
func TestPanicIsContained(t *testing.T) {
	d := newDesk(t, &panicking{memory: newMemory()})
	_, err := servicev1.NewMonitorServiceClient(d.conn).ListDevices(with(t.Context()), &servicev1.ListDevicesRequest{})
	wants(t, err, codes.Internal, "")
	if log := d.log.String(); strings.Contains(log, canary) || !strings.Contains(log, "panic of type string") {
		t.Errorf("log = %s", log)
	}
	tb := newTablet("panic")
	tb.greet(t, d)
}

type panicking struct{ *memory }

func (p *panicking) ListDevices(context.Context) ([]*servicev1.DeviceStatus, error) { panic(canary) }

// Many tablets push at once while others count; nothing is lost or counted twice.
func TestConcurrentPushes(t *testing.T) {
	eachStore(t, func(t *testing.T, d *desk) {
		const tablets, batches, size = 8, 5, 10
		var wg sync.WaitGroup
		for i := range tablets {
			tb := newTablet(fmt.Sprintf("tablet-%02d", i))
			tb.greet(t, d)
			var work []*servicev1.Batch
			for j := range batches {
				var raws [][]byte
				for k := range size {
					raws = append(raws, tb.record(t, household(i*1000+j*10+k), nil))
				}
				work = append(work, tb.batch(raws...))
			}
			wg.Go(func() {
				for _, b := range work {
					for range 2 { // every batch twice, as after a lost answer
						if _, err := servicev1.NewSyncServiceClient(d.conn).PushBatch(with(t.Context()), &servicev1.PushBatchRequest{Batch: b}); err != nil {
							t.Error(err)
						}
					}
					if _, err := servicev1.NewMonitorServiceClient(d.conn).CountInterviews(with(t.Context()), &servicev1.CountInterviewsRequest{}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		counts, err := servicev1.NewMonitorServiceClient(d.conn).CountInterviews(with(t.Context()), &servicev1.CountInterviewsRequest{})
		if err != nil || counts.GetTotal().GetInterviews() != tablets*batches*size {
			t.Errorf("counted %v, %v; want %d", counts.GetTotal(), err, tablets*batches*size)
		}
	})
}
