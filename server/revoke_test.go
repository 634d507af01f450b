package server

import (
	"context"
	"strings"
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// What a revoked tablet goes on sending is kept in quarantine and acknowledged, and it gets nothing but the notice; what
// it sent before counts.
func TestRevokedTablet(t *testing.T) {
	eachStore(t, func(t *testing.T, d *desk) {
		tb := newTablet("lost")
		tb.enrol(t, d)
		ctx := tb.session(t, d)
		sync := servicev1.NewSyncServiceClient(d.conn)
		push := func(ctx context.Context, raws ...[]byte) *servicev1.BatchAck {
			t.Helper()
			resp, err := sync.PushBatch(ctx, &servicev1.PushBatchRequest{Batch: tb.batch(raws...)})
			if err != nil {
				t.Fatal(err)
			}
			return resp.GetAck()
		}
		before := household(1)
		held := tb.record(t, before, nil)
		push(ctx, held)
		d.revoke(t, tb, "在出租车上丢失")
		_, err := sync.Hello(ctx, tb.hello())
		wants(t, err, codes.Unauthenticated, fault.SessionEnded)
		ctx = tb.session(t, d)
		if _, err := sync.Hello(ctx, tb.hello()); err != nil {
			t.Fatal(err)
		}
		after := household(2)
		fresh := tb.record(t, after, nil)
		for i, ctx := range []context.Context{ctx, with(t.Context())} { // the desk's token does not launder it
			raw := fresh
			if i == 1 {
				raw = tb.record(t, household(3), nil)
			}
			ack := push(ctx, raw, held)
			results := ack.GetResults()
			if ack.GetReceipt().GetSeq() != tb.head.Seq || len(results) != 2 || results[0].GetReason() != string(fault.DeviceRevoked) ||
				results[0].GetOutcome() != servicev1.EntryOutcome_ENTRY_OUTCOME_QUARANTINED || !strings.Contains(results[0].GetMessage(), "在出租车上丢失") ||
				results[1].GetOutcome() != servicev1.EntryOutcome_ENTRY_OUTCOME_DUPLICATE {
				t.Errorf("ack = %v, want the new in quarantine, the old held, all receipted", ack)
			}
			pulled, err := sync.Pull(ctx, &servicev1.PullRequest{Device: tb.lane.Device[:], Cursor: &servicev1.Cursor{ServerEpoch: []byte("as it was       ")}})
			if err != nil || pulled.GetNotice().GetReason() != string(fault.DeviceRevoked) || len(pulled.GetEntries()) != 0 || string(pulled.GetCursor().GetServerEpoch()) != "as it was       " {
				t.Errorf("Pull = %v, %v; want nothing but the notice", pulled, err)
			}
		}
		if err := d.Project(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := d.store.Interview(t.Context(), before.GetInterviewId()); err != nil {
			t.Errorf("what was sent before is lost: %v", err)
		}
		if _, err := d.store.Interview(t.Context(), after.GetInterviewId()); fault.KindOf(err) != fault.NotFound {
			t.Errorf("what was sent after counts: %v", err)
		}
		list, err := servicev1.NewMonitorServiceClient(d.conn).ListDevices(with(t.Context()), &servicev1.ListDevicesRequest{})
		if err != nil || list.GetDevices()[0].GetRevokedReason() != "在出租车上丢失" {
			t.Errorf("devices = %v, %v", list, err)
		}
		tb.enrol(t, d) // found again
		if ack := push(tb.session(t, d), tb.record(t, household(4), nil)); len(ack.GetResults()) != 0 {
			t.Errorf("enrolled again: %v, want it plainly stored", ack)
		}
	})
}

func TestRevokeRefuses(t *testing.T) {
	d := newDesk(t, newMemory())
	tb := newTablet("t")
	tb.enrol(t, d)
	for _, tt := range []struct {
		name   string
		device []byte
		why    string
		reason fault.Reason
	}{
		{"no reason", tb.lane.Device[:], " ", fault.BadRequest},
		{"unknown", make([]byte, 16), "lost", fault.NoSuchDevice},
		{"no device", nil, "lost", fault.BadRequest},
		{"headquarters itself", d.author.lane.Device[:], "lost", fault.BadRequest},
	} {
		_, err := devices(d).RevokeDevice(with(t.Context()), &servicev1.RevokeDeviceRequest{Device: tt.device, Reason: proto.String(tt.why)})
		if reasonOf(err) != string(tt.reason) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.reason)
		}
	}
}

// No code, token, challenge or key of a device reaches the log, however the calls end.
func TestLogHoldsNoSecrets(t *testing.T) {
	d := newDesk(t, newMemory())
	patient(d)
	tb := newTablet("quiet")
	code := d.code(t, "quiet", "E1")
	req := tb.enrolment(code)
	other := newTablet("loud").enrolment(code)
	for range 2 {
		if _, err := devices(d).Enrol(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		_, err := devices(d).Enrol(t.Context(), other)
		wants(t, err, codes.Unauthenticated, fault.CodeUsed)
	}
	_, err := devices(d).Enrol(t.Context(), newTablet("typo").enrolment("K7M3P9XWQ0"))
	wants(t, err, codes.Unauthenticated, fault.CodeWrong)
	answer := tb.answer(t, d)
	opened, err := devices(d).OpenSession(t.Context(), answer)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = devices(d).OpenSession(t.Context(), answer) // a replay
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+opened.GetToken())
	_, err = servicev1.NewMonitorServiceClient(d.conn).ListDevices(ctx, &servicev1.ListDevicesRequest{})
	wants(t, err, codes.PermissionDenied, fault.NotForDevices)
	d.revoke(t, tb, canary)
	_, err = servicev1.NewSyncServiceClient(d.conn).Hello(ctx, tb.hello())
	wants(t, err, codes.Unauthenticated, fault.SessionEnded)
	log := d.log.String()
	if !strings.Contains(log, "DeviceService/OpenSession") || !strings.Contains(log, tb.lane.Device.String()) {
		t.Fatal("the calls are not in the log, so this test tests nothing")
	}
	for what, secret := range map[string]string{"code": code.String(), "code without its dash": string(code), "first half of the code": code.String()[:5], "typo": "K7M3P",
		"token": opened.GetToken(), "reason": canary, "server's token": testToken} {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds the %s:\n%s", what, log)
		}
	}
}
