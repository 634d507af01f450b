package server

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// clock is one that a test sets.
type clock struct{ ms atomic.Int64 }

func (c *clock) now() time.Time { return time.UnixMilli(c.ms.Load()) }

// timed lets a desk's server go by a clock of the test's.
func timed(d *desk) *clock {
	c := &clock{}
	c.ms.Store(time.Now().UnixMilli())
	d.now = c.now
	return c
}

// patient lets a desk's server take any number of failures from one address.
func patient(d *desk) {
	d.enrolTries.burst, d.sessionTries.burst = 1e9, 1e9
}

func devices(d *desk) servicev1.DeviceServiceClient { return servicev1.NewDeviceServiceClient(d.conn) }

// code asks for a code as the administrator does.
func (d *desk) code(t testing.TB, name, enumerator string) syncer.Code {
	t.Helper()
	resp, err := devices(d).CreateEnrolment(with(t.Context()), &servicev1.CreateEnrolmentRequest{
		Study: proto.String("guiyang"), DeviceName: proto.String(name), Enumerator: proto.String(enumerator), ServerAddress: proto.String("10.0.0.7:8686"),
	})
	if err != nil {
		t.Fatal(err)
	}
	code, err := syncer.ParseCode(resp.GetCode())
	if err != nil {
		t.Fatal(err)
	}
	inv, err := syncer.ParseInvitation(resp.GetQrText())
	if err != nil || inv.Code != code || !inv.Key.Equal(d.Key()) || inv.Server != "10.0.0.7:8686" {
		t.Fatalf("the picture says %+v, %v", inv, err)
	}
	return code
}

func (tb *tablet) enrolment(code syncer.Code) *servicev1.EnrolRequest {
	return &servicev1.EnrolRequest{
		Code: proto.String(code.String()), Device: tb.lane.Device[:], PublicKey: tb.key.Public().(ed25519.PublicKey),
		Signature: syncer.SignEnrolment(tb.key, code, tb.lane.Device),
	}
}

func (tb *tablet) enrol(t testing.TB, d *desk) {
	t.Helper()
	resp, err := devices(d).Enrol(t.Context(), tb.enrolment(d.code(t, tb.name, "E1")))
	if err != nil {
		t.Fatal(err)
	}
	if resp.GetDeviceName() != tb.name || resp.GetEnumerator() != "E1" || resp.GetStudy() != "guiyang" || !bytes.Equal(resp.GetServerKey(), d.Key()) {
		t.Fatalf("Enrol = %v", resp)
	}
}

func (tb *tablet) answer(t testing.TB, d *desk) *servicev1.OpenSessionRequest {
	t.Helper()
	begun, err := devices(d).BeginSession(t.Context(), &servicev1.BeginSessionRequest{Device: tb.lane.Device[:]})
	if err != nil {
		t.Fatal(err)
	}
	return &servicev1.OpenSessionRequest{Device: tb.lane.Device[:], Challenge: begun.GetChallenge(),
		Signature: syncer.SignSession(tb.key, begun.GetServerKey(), tb.lane.Device, begun.GetChallenge())}
}

// session is a context that carries the token of a new session.
func (tb *tablet) session(t testing.TB, d *desk) context.Context {
	t.Helper()
	resp, err := devices(d).OpenSession(t.Context(), tb.answer(t, d))
	if err != nil {
		t.Fatal(err)
	}
	return metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+resp.GetToken())
}

func (d *desk) revoke(t testing.TB, tb *tablet, why string) {
	t.Helper()
	_, err := devices(d).RevokeDevice(with(t.Context()), &servicev1.RevokeDeviceRequest{Device: tb.lane.Device[:], Reason: proto.String(why), By: proto.String("supervisor")})
	if err != nil {
		t.Fatal(err)
	}
}

// Every call that is served, made by everybody: nobody, a tablet for itself, a tablet for another, a revoked one, and the desk.
func TestWhoMayCall(t *testing.T) {
	d := newDesk(t, newMemory())
	patient(d)
	own, other, lost := newTablet("own"), newTablet("other"), newTablet("lost")
	for _, tb := range []*tablet{own, other, lost} {
		tb.enrol(t, d)
	}
	d.revoke(t, lost, "left in a taxi")
	hub, stolen := newHubDevice(t, d, "hub"), newHubDevice(t, d, "stolen hub")
	d.revoke(t, stolen, "stolen")
	callers := []struct {
		name  string
		ctx   context.Context
		names *tablet // whom the request names
		deny  func(access) fault.Reason
	}{
		{"nobody", t.Context(), own, func(a access) fault.Reason {
			if a == anyone {
				return ""
			}
			return fault.TokenMissing
		}},
		{"a tablet for itself", own.session(t, d), own, forDevices("")},
		{"a tablet for another", own.session(t, d), other, forDevices(fault.OtherDevice)},
		{"a revoked tablet for itself", lost.session(t, d), lost, forDevices("")},
		{"a revoked tablet for another", lost.session(t, d), own, forDevices(fault.OtherDevice)},
		{"a hub for a tablet", hub.session(t, d), own, forHubs},
		{"a revoked hub for a tablet", stolen.session(t, d), own, forHubs},
		{"the desk", with(t.Context()), own, func(access) fault.Reason { return "" }},
	}
	denials := map[fault.Reason]bool{fault.TokenMissing: true, fault.TokenWrong: true, fault.SessionEnded: true, fault.OtherDevice: true, fault.NotForDevices: true, fault.HubRevoked: true}
	n := 0
	for service := range d.GRPC().GetServiceInfo() {
		desc, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
		if err != nil {
			t.Fatal(err)
		}
		methods := desc.(protoreflect.ServiceDescriptor).Methods()
		for i := range methods.Len() {
			m := methods.Get(i)
			method := "/" + service + "/" + string(m.Name())
			if method == servicev1.DeviceService_RevokeDevice_FullMethodName {
				continue // would end the sessions; it has a test of its own
			}
			rule, ok := policy(method)
			if !ok {
				t.Errorf("%s has no rule", method)
			}
			for _, c := range callers {
				n++
				named := namesDevice(m.Input())
				want := c.deny(rule.access)
				if want == fault.OtherDevice && (!named || forwards(method) && strings.Contains(c.name, "hub")) {
					want = ""
				}
				if c.name == "a revoked hub for a tablet" && method == servicev1.SyncService_Pull_FullMethodName {
					want = fault.HubRevoked
				}
				if got := fault.Reason(reasonOf(callNaming(t, d, c.ctx, m, c.names))); want != "" && got != want || want == "" && denials[got] {
					t.Errorf("%s by %s: reason %q, want %q", method, c.name, got, want)
				}
			}
		}
	}
	if n < 100 {
		t.Fatalf("only %d calls were made", n)
	}
}

// forDevices is what a tablet with a session is told.
func forDevices(inside fault.Reason) func(access) fault.Reason {
	return func(a access) fault.Reason {
		switch a {
		case enrolled, proving:
			return inside
		case holder, hubs, analysts:
			return fault.NotForDevices
		}
		return ""
	}
}

// forHubs is what a hub with a session is told that acts for a tablet.
func forHubs(a access) fault.Reason {
	switch a {
	case enrolled, proving:
		return fault.OtherDevice // but see forwards
	case holder, analysts:
		return fault.NotForDevices
	}
	return ""
}

// newHubDevice is a hub as headquarters sees it.
func newHubDevice(t *testing.T, d *desk, name string) *tablet {
	t.Helper()
	h := newTablet(name)
	h.lane.Device = syncer.HubID(h.key.Public().(ed25519.PublicKey))
	made, err := devices(d).CreateEnrolment(with(t.Context()), &servicev1.CreateEnrolmentRequest{Study: proto.String("guiyang"), DeviceName: proto.String(name), Hub: proto.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	code, err := syncer.ParseCode(made.GetCode())
	if err != nil {
		t.Fatal(err)
	}
	req := h.enrolment(code)
	req.Hub = proto.Bool(true)
	resp, err := devices(d).Enrol(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if key, err := syncer.VerifyHubCertificate(resp.GetHub(), d.Key()); err != nil || !key.Equal(h.key.Public()) {
		t.Fatalf("certificate: %x, %v", key, err)
	}
	return h
}

// namesDevice says whether a request of the sync names a device or a lane.
func namesDevice(m protoreflect.MessageDescriptor) bool {
	return m.Fields().ByName("device") != nil || m.Fields().ByName("batch") != nil
}

// callNaming makes a call whose request names a tablet wherever it can, and returns its error.
func callNaming(t *testing.T, d *desk, ctx context.Context, m protoreflect.MethodDescriptor, tb *tablet) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	typ, err := protoregistry.GlobalTypes.FindMessageByName(m.Input().FullName())
	if err != nil {
		t.Fatal(err)
	}
	req := typ.New()
	if f := m.Input().Fields().ByName("device"); f != nil && f.Kind() == protoreflect.BytesKind {
		req.Set(f, protoreflect.ValueOfBytes(tb.lane.Device[:]))
	}
	if f := m.Input().Fields().ByName("batch"); f != nil {
		req.Set(f, protoreflect.ValueOfMessage((&servicev1.Batch{Lane: tb.lane.Proto()}).ProtoReflect()))
	}
	stream, err := d.conn.NewStream(ctx, streamDesc(m), "/"+string(m.Parent().FullName())+"/"+string(m.Name()))
	if err != nil {
		return err
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
	if m.Name() == "Watch" {
		return nil // lasts until the server stops
	}
	for {
		if err := stream.RecvMsg(out.New().Interface()); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

func TestEnrolment(t *testing.T) {
	eachStore(t, func(t *testing.T, d *desk) {
		patient(d)
		c := timed(d)
		start := c.ms.Load()
		in := func(tb *tablet, change func(*servicev1.EnrolRequest)) error {
			req := tb.enrolment(d.code(t, tb.name, "007"))
			if change != nil {
				change(req)
			}
			_, err := devices(d).Enrol(t.Context(), req)
			return err
		}
		other := newTablet("thief")
		tests := []struct {
			name   string
			change func(*servicev1.EnrolRequest)
			at     time.Duration
			code   codes.Code
			reason fault.Reason
		}{
			{"right", nil, 0, codes.OK, ""},
			{"as it is typed", func(r *servicev1.EnrolRequest) { r.Code = proto.String(" " + strings.ToLower(r.GetCode()) + "　") }, 0, codes.OK, ""},
			{"no code", func(r *servicev1.EnrolRequest) { r.Code = nil }, 0, codes.Unauthenticated, fault.CodeWrong},
			{"not a code", func(r *servicev1.EnrolRequest) { r.Code = proto.String("贵阳\x00'; DROP TABLE device") }, 0, codes.Unauthenticated, fault.CodeWrong},
			{"another code", func(r *servicev1.EnrolRequest) {
				r.Code = proto.String("22222-22222")
				r.Signature = syncer.SignEnrolment(newTablet("another code").key, "2222222222", syncer.ID(r.GetDevice()))
			}, 0, codes.Unauthenticated, fault.CodeWrong},
			{"another's key", func(r *servicev1.EnrolRequest) { r.PublicKey = other.key.Public().(ed25519.PublicKey) }, 0, codes.InvalidArgument, fault.BadSignature},
			{"no signature", func(r *servicev1.EnrolRequest) { r.Signature = nil }, 0, codes.InvalidArgument, fault.BadSignature},
			{"no device", func(r *servicev1.EnrolRequest) { r.Device = nil }, 0, codes.InvalidArgument, fault.BadRequest},
			{"short key", func(r *servicev1.EnrolRequest) { r.PublicKey = r.GetPublicKey()[:31] }, 0, codes.InvalidArgument, fault.BadSignature},
			{"a second before its end", nil, 10*time.Minute - time.Second, codes.OK, ""},
			{"at its end", nil, 10 * time.Minute, codes.Unauthenticated, fault.CodeExpired},
			{"the clock jumped to 2100", nil, 74 * 365 * 24 * time.Hour, codes.Unauthenticated, fault.CodeExpired},
			{"the clock was set back to 1970", nil, -time.Duration(start-1) * time.Millisecond, codes.Unauthenticated, fault.CodeExpired},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				c.ms.Store(start)
				err := in(newTablet(tt.name), func(r *servicev1.EnrolRequest) {
					if tt.change != nil {
						tt.change(r)
					}
					c.ms.Store(start + tt.at.Milliseconds())
				})
				wants(t, err, tt.code, tt.reason)
			})
		}
		c.ms.Store(start)
		tb := newTablet("twice")
		req := tb.enrolment(d.code(t, "twice", "007"))
		for range 2 { // the answer was lost
			if _, err := devices(d).Enrol(t.Context(), req); err != nil {
				t.Fatal(err)
			}
		}
		code, err := syncer.ParseCode(req.GetCode())
		if err != nil {
			t.Fatal(err)
		}
		_, err = devices(d).Enrol(t.Context(), other.enrolment(code))
		wants(t, err, codes.Unauthenticated, fault.CodeUsed)
	})
}

func TestCreateEnrolmentRefuses(t *testing.T) {
	d := newDesk(t, newMemory())
	good := func() *servicev1.CreateEnrolmentRequest {
		return &servicev1.CreateEnrolmentRequest{Study: proto.String("s"), DeviceName: proto.String("tablet-07"), Enumerator: proto.String("0042")}
	}
	for _, tt := range []struct {
		name   string
		change func(*servicev1.CreateEnrolmentRequest)
		reason fault.Reason
	}{
		{"good", func(*servicev1.CreateEnrolmentRequest) {}, ""},
		{"no name", func(r *servicev1.CreateEnrolmentRequest) { r.DeviceName = nil }, fault.BadRequest},
		{"a name of blanks", func(r *servicev1.CreateEnrolmentRequest) { r.DeviceName = proto.String("  ") }, fault.BadRequest},
		{"a name in two lines", func(r *servicev1.CreateEnrolmentRequest) { r.DeviceName = proto.String("a\nb") }, fault.BadRequest},
		{"NUL", func(r *servicev1.CreateEnrolmentRequest) { r.Enumerator = proto.String("a\x00") }, fault.BadRequest},
		{"a long name", func(r *servicev1.CreateEnrolmentRequest) { r.DeviceName = proto.String(strings.Repeat("贵", 43)) }, fault.BadRequest},
		{"no study, and none is held", func(r *servicev1.CreateEnrolmentRequest) { r.Study = nil }, fault.BadRequest},
		{"a month", func(r *servicev1.CreateEnrolmentRequest) { r.ValidSeconds = proto.Uint32(30 * 86400) }, fault.BadRequest},
		{"no address", func(r *servicev1.CreateEnrolmentRequest) { r.ServerAddress = proto.String("headquarters") }, fault.BadInvitation},
	} {
		req := good()
		tt.change(req)
		_, err := devices(d).CreateEnrolment(with(t.Context()), req)
		if reasonOf(err) != string(tt.reason) || (err == nil) != (tt.reason == "") {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.reason)
		}
	}
}

func TestSession(t *testing.T) {
	eachStore(t, func(t *testing.T, d *desk) {
		patient(d)
		c := timed(d)
		start := c.ms.Load()
		tb, other := newTablet("01234567"), newTablet("other")
		tb.enrol(t, d)
		other.enrol(t, d)
		open := func(change func(*servicev1.OpenSessionRequest)) error {
			req := tb.answer(t, d)
			change(req)
			_, err := devices(d).OpenSession(t.Context(), req)
			return err
		}
		tests := []struct {
			name   string
			change func(*servicev1.OpenSessionRequest)
			code   codes.Code
			reason fault.Reason
		}{
			{"right", func(*servicev1.OpenSessionRequest) {}, codes.OK, ""},
			{"signed by another", func(r *servicev1.OpenSessionRequest) {
				r.Signature = syncer.SignSession(other.key, d.Key(), tb.lane.Device, r.GetChallenge())
			}, codes.InvalidArgument, fault.BadSignature},
			{"for another", func(r *servicev1.OpenSessionRequest) { r.Device = other.lane.Device[:] }, codes.Unauthenticated, fault.ChallengeEnded},
			{"a challenge of one's own", func(r *servicev1.OpenSessionRequest) {
				r.Challenge = bytes.Repeat([]byte{7}, len(r.GetChallenge()))
				r.Signature = syncer.SignSession(tb.key, d.Key(), tb.lane.Device, r.GetChallenge())
			}, codes.Unauthenticated, fault.ChallengeEnded},
			{"a challenge with a later end", func(r *servicev1.OpenSessionRequest) {
				binary.BigEndian.PutUint64(r.Challenge, uint64(start+3600_000))
				r.Signature = syncer.SignSession(tb.key, d.Key(), tb.lane.Device, r.GetChallenge())
			}, codes.Unauthenticated, fault.ChallengeEnded},
			{"no challenge", func(r *servicev1.OpenSessionRequest) { r.Challenge = nil }, codes.Unauthenticated, fault.ChallengeEnded},
			{"too late", func(*servicev1.OpenSessionRequest) { c.ms.Add(challengeTime.Milliseconds()) }, codes.Unauthenticated, fault.ChallengeEnded},
			{"the clock was set back", func(*servicev1.OpenSessionRequest) { c.ms.Store(1) }, codes.Unauthenticated, fault.ChallengeEnded},
			{"no device", func(r *servicev1.OpenSessionRequest) { r.Device = nil }, codes.InvalidArgument, fault.BadRequest},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				c.ms.Store(start)
				wants(t, open(tt.change), tt.code, tt.reason)
			})
		}
		c.ms.Store(start)
		stranger := newTablet("stranger")
		_, err := devices(d).OpenSession(t.Context(), stranger.answer(t, d))
		wants(t, err, codes.Unauthenticated, fault.DeviceNotEnrolled)

		replayed := tb.answer(t, d)
		if _, err := devices(d).OpenSession(t.Context(), replayed); err != nil {
			t.Fatal(err)
		}
		_, err = devices(d).OpenSession(t.Context(), replayed)
		wants(t, err, codes.Unauthenticated, fault.ChallengeEnded)

		ctx := tb.session(t, d)
		hello := func() error {
			_, err := servicev1.NewSyncServiceClient(d.conn).Hello(ctx, tb.hello())
			return err
		}
		for _, at := range []struct {
			after time.Duration
			code  codes.Code
		}{{0, codes.OK}, {sessionTime - time.Millisecond, codes.OK}, {sessionTime, codes.Unauthenticated}, {74 * 365 * 24 * time.Hour, codes.Unauthenticated},
			{-4 * time.Minute, codes.OK}, {-6 * time.Minute, codes.Unauthenticated}} {
			c.ms.Store(start + at.after.Milliseconds())
			if err := hello(); status.Code(err) != at.code || err != nil && reasonOf(err) != string(fault.SessionEnded) {
				t.Errorf("after %v: %v, want %v", at.after, err, at.code)
			}
		}
	})
}

// A session's tablet keeps the name it was enrolled under, and pushes as ever.
func TestSessionSyncs(t *testing.T) {
	eachStore(t, func(t *testing.T, d *desk) {
		tb := newTablet("0007")
		tb.enrol(t, d)
		ctx := tb.session(t, d)
		sync := servicev1.NewSyncServiceClient(d.conn)
		hello := tb.hello()
		hello.DeviceName = proto.String("tablet-01")
		if _, err := sync.Hello(ctx, hello); err != nil {
			t.Fatal(err)
		}
		list, err := d.store.ListDevices(t.Context())
		if err != nil || len(list) == 0 || list[0].GetName() != "0007" {
			t.Errorf("devices = %v, %v; want the name enrolled", list, err)
		}
		resp, err := sync.PushBatch(ctx, &servicev1.PushBatchRequest{Batch: tb.batch(tb.record(t, household(1), nil))})
		if err != nil || len(resp.GetAck().GetResults()) != 0 || resp.GetAck().GetReceipt().GetSeq() != 1 {
			t.Errorf("PushBatch = %v, %v", resp, err)
		}
		other := newTablet("other")
		other.enrol(t, d)
		_, err = sync.PushBatch(ctx, &servicev1.PushBatchRequest{Batch: other.batch(other.record(t, household(2), nil))})
		wants(t, err, codes.PermissionDenied, fault.OtherDevice)
		hello = tb.hello()
		hello.Lanes = append(hello.Lanes, other.head.Proto(other.lane))
		_, err = sync.Hello(ctx, hello)
		wants(t, err, codes.PermissionDenied, fault.OtherDevice)
		stream, err := sync.Push(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(&servicev1.PushRequest{Batch: other.batch(other.record(t, household(3), nil))}); err != nil {
			t.Fatal(err)
		}
		_, err = stream.Recv()
		wants(t, err, codes.PermissionDenied, fault.OtherDevice)
	})
}
