package server

import (
	"context"
	"crypto/ed25519"
	"database/sql"
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// passingOn is a hub that has fallen into wrong hands: it fetches a challenge of headquarters for the tablet that comes to
// it, says something of whose it is, and tries to open a session at headquarters with the answer.
type passingOn struct {
	grpc.ClientConnInterface // the hub
	hq                       grpc.ClientConnInterface
	says                     func(*servicev1.BeginSessionResponse)
	asked, answered          int
	opened                   string // the token of a session at headquarters
	refused                  error
}

func (p *passingOn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	switch method {
	case servicev1.DeviceService_BeginSession_FullMethodName:
		p.asked++
		resp := reply.(*servicev1.BeginSessionResponse)
		if err := p.hq.Invoke(ctx, method, args, resp, opts...); err != nil {
			return err
		}
		p.says(resp)
		return nil
	case servicev1.DeviceService_OpenSession_FullMethodName:
		p.answered++
		resp := reply.(*servicev1.OpenSessionResponse)
		p.refused = p.hq.Invoke(ctx, method, args, resp, opts...)
		p.opened = resp.GetToken()
		return p.refused
	}
	return p.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
}

// A hub passes a challenge of headquarters on to a tablet, and gets no session of headquarters in its name, whatever it says
// of whose challenge it is: as itself, as headquarters, as another's hub, as nobody.
func TestChallengePassedOn(t *testing.T) {
	f, ts := teamOf(t, 1, "a")
	a, hub := ts[0], f.hubs[0]
	at := fastOptions()
	at.Address = "192.168.1.20:8686"
	if r, err := a.Sync(t.Context(), hub.srv.Local(), at); err != nil || r.Hub != "hub-1" {
		t.Fatalf("at the hub: %+v, %v", r, err)
	}
	cert := hub.relay.State().GetCertificate()
	strange := newTablet("another headquarters").key
	other := newTablet("its hub").key.Public().(ed25519.PublicKey)
	for _, tt := range []struct {
		name   string
		says   func(*servicev1.BeginSessionResponse)
		want   fault.Reason
		signed bool
	}{
		{"as what it is", func(r *servicev1.BeginSessionResponse) { r.ServerKey, r.Hub = cert.GetPublicKey(), cert }, fault.BadSignature, true},
		{"as headquarters", func(*servicev1.BeginSessionResponse) {}, fault.ServerChanged, false},
		{"as nobody", func(r *servicev1.BeginSessionResponse) { r.ServerKey = nil }, fault.ProtocolTooOld, false},
		{"headquarters' key, its own certificate", func(r *servicev1.BeginSessionResponse) { r.Hub = cert }, fault.ServerChanged, false},
		{"as the hub of another headquarters", func(r *servicev1.BeginSessionResponse) {
			r.ServerKey, r.Hub = other, syncer.NewHubCertificate(strange, other, "hub-1")
		}, fault.ServerChanged, false},
		{"as another headquarters", func(r *servicev1.BeginSessionResponse) { r.ServerKey = other }, fault.ServerChanged, false},
		{"a key of three bytes", func(r *servicev1.BeginSessionResponse) { r.ServerKey = []byte{1, 2, 3} }, fault.BadRequest, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &passingOn{ClientConnInterface: hub.srv.Local(), hq: f.hq.srv.Local(), says: tt.says}
			opts := at
			a.forgetTicket(t, opts.Address)
			_, err := a.Sync(t.Context(), p, opts)
			if p.opened != "" {
				t.Fatal("the hub has a session at headquarters as the tablet")
			}
			if p.asked == 0 || (p.answered > 0) != tt.signed {
				t.Errorf("%d challenges were passed on, %d answers came; want answers: %v", p.asked, p.answered, tt.signed)
			}
			if got := fault.ReasonOf(err); got != tt.want {
				t.Errorf("the tablet: %v (%s), want %s", err, got, tt.want)
			}
		})
	}
	// At an address where nobody was met the hub can say that it is headquarters; it must then go on being it, and is not
	// believed as a hub.
	p := &passingOn{ClientConnInterface: hub.srv.Local(), hq: f.hq.srv.Local(), says: func(*servicev1.BeginSessionResponse) {}}
	open := &withHubToken{p, hub}
	opts := at
	opts.Address = "192.168.1.21:8686"
	if _, err := a.Sync(t.Context(), open, opts); fault.ReasonOf(err) != fault.ServerChanged {
		t.Errorf("who was headquarters for the challenge and is a hub for the Hello: %v, want %s", err, fault.ServerChanged)
	}
	// Where headquarters has really come to the address of a hub, a person says so.
	a.forgetTicket(t, at.Address)
	if _, err := a.Sync(t.Context(), f.hq.srv.Local(), at); fault.ReasonOf(err) != fault.ServerChanged {
		t.Errorf("headquarters where a hub was: %v, want %s", err, fault.ServerChanged)
	}
	opts = at
	opts.Headquarters = true
	if r, err := a.Sync(t.Context(), f.hq.srv.Local(), opts); err != nil || r.Hub != "" {
		t.Errorf("a person said so: %+v, %v", r, err)
	}
	if r, err := a.Sync(t.Context(), f.hq.srv.Local(), at); err != nil || r.Hub != "" {
		t.Errorf("and from then on: %+v, %v", r, err)
	}
}

// withHubToken passes on, and answers the Hello as the hub all the same.
type withHubToken struct {
	*passingOn
	hub *station
}

// forgetTicket has the next sync with the server at an address open its session by a challenge.
func (d *walker) forgetTicket(t *testing.T, address string) {
	t.Helper()
	db, err := sql.Open("sqlite", d.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "UPDATE contact SET ticket = x'' WHERE address = ?", address); err != nil {
		t.Fatal(err)
	}
}

func (w *withHubToken) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if method != servicev1.SyncService_Hello_FullMethodName {
		return w.passingOn.Invoke(ctx, method, args, reply, opts...)
	}
	resp := reply.(*servicev1.HelloResponse)
	st := w.hub.relay.State()
	resp.Protocol, resp.ServerKey, resp.ServerEpoch, resp.Hub = proto.Uint32(syncer.Protocol), st.GetServerKey(), st.GetServerEpoch(), st.GetCertificate()
	return nil
}

// Tablets of earlier versions sign a challenge without saying for which server; they are let in, nobody else's answer is.
func TestUnboundAnswerOfAnEarlierTablet(t *testing.T) {
	d := newDesk(t, newMemory())
	tb := newTablet("earlier")
	tb.enrol(t, d)
	begun, err := devices(d).BeginSession(t.Context(), &servicev1.BeginSessionRequest{Device: tb.lane.Device[:]})
	if err != nil {
		t.Fatal(err)
	}
	text := append([]byte("hearth/session/v1\x00"), tb.lane.Device[:]...)
	text = append(text, begun.GetChallenge()...)
	req := &servicev1.OpenSessionRequest{Device: tb.lane.Device[:], Challenge: begun.GetChallenge(), Signature: ed25519.Sign(newTablet("other").key, text)}
	_, err = devices(d).OpenSession(t.Context(), req)
	wants(t, err, 3, fault.BadSignature)
	req.Signature = ed25519.Sign(tb.key, text)
	if resp, err := devices(d).OpenSession(t.Context(), req); err != nil || resp.GetToken() == "" {
		t.Errorf("OpenSession = %v", err)
	}
}
