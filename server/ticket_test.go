package server

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/syncertest"
	offline "github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// fieldOptions are those of the program: a window, an address at which the server is remembered, packed.
func fieldOptions() offline.SyncOptions {
	o := fastSession()
	o.Window, o.Address, o.Compress, o.Near = 4, "10.0.0.7:8686", true, -1
	return o
}

func enrolledStore(t *testing.T, d *desk, name string) *offline.Store {
	t.Helper()
	st, err := offline.Enrol(t.Context(), filepath.Join(t.TempDir(), name+".sqlite"), d.conn, offline.EnrolOptions{Code: d.code(t, name, "E07"), ServerKey: d.Key()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

func interviews(t *testing.T, st *offline.Store, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		if _, _, err := st.AddInterview(t.Context(), syncertest.Interview(st.Name(), n, strings.Repeat("a", 900))); err != nil {
			t.Fatal(err)
		}
	}
}

// A tablet that comes back needs one round trip for everything, and little over it where nothing is new.
func TestReturningTabletNeedsOneRoundTrip(t *testing.T) {
	d := newDesk(t, openSQLite(t, filepath.Join(t.TempDir(), "hq")))
	c := timed(d)
	st := enrolledStore(t, d, "0007")
	interviews(t, st, 0, 40)
	sync := func() offline.SyncReport {
		t.Helper()
		r, err := st.Sync(t.Context(), d.conn, fieldOptions())
		if err != nil || r.Pending != 0 {
			t.Fatalf("Sync = %+v, %v", r, err)
		}
		return r
	}
	first := sync()
	t.Logf("first: %d round trips, %d batches, %d bytes up", first.RoundTrips, first.Batches, first.BytesUp)
	c.ms.Add(24 * 60 * 60_000)
	quiet := sync()
	t.Logf("nothing new after a day: %d round trips, %d bytes up, %d down", quiet.RoundTrips, quiet.BytesUp, quiet.BytesDown)
	if n := quiet.BytesUp + quiet.BytesDown; quiet.RoundTrips != 1 || n >= 600 {
		t.Errorf("a sync with nothing new took %d round trips and %d bytes, want 1 and less than 600", quiet.RoundTrips, n)
	}
	interviews(t, st, 40, 80)
	c.ms.Add(24 * 60 * 60_000)
	r := sync()
	t.Logf("40 interviews: %d round trips, %d batches, %d bytes up, %d down", r.RoundTrips, r.Batches, r.BytesUp, r.BytesDown)
	if r.Sent != 40 || r.RoundTrips != 1 || r.Batches < 2 {
		t.Errorf("40 interviews: %d sent in %d round trips and %d batches, want 40 in 1 round trip and several batches", r.Sent, r.RoundTrips, r.Batches)
	}
	list, err := servicev1.NewMonitorServiceClient(d.conn).ListDevices(with(t.Context()), &servicev1.ListDevicesRequest{})
	if err != nil || len(list.GetDevices()) != 1 || list.GetDevices()[0].GetPending() != 0 || list.GetDevices()[0].GetForks() != 0 ||
		list.GetDevices()[0].GetName() != "0007" || list.GetDevices()[0].GetEnumerator() != "E07" {
		t.Errorf("devices = %v, %v; want one that has nothing left, no fork and its names", list, err)
	}
}

// proofOf is a Hello of an enrolled tablet with a proof.
func proofOf(tb *tablet, ticket []byte, use uint64) *servicev1.HelloRequest {
	return &servicev1.HelloRequest{Protocol: proto.Uint32(syncer.Protocol), Device: tb.lane.Device[:], Proof: &servicev1.SessionProof{
		Ticket: ticket, Use: proto.Uint64(use), Signature: syncer.SignTicket(tb.key, tb.lane.Device, use, ticket),
	}}
}

// A ticket opens one session for each greater number, for its device, with its device's key, until its end, at the server
// that gave it. Over a unary call and over a stream alike.
func TestTicket(t *testing.T) {
	d := newDesk(t, openSQLite(t, filepath.Join(t.TempDir(), "hq")))
	patient(d)
	c := timed(d)
	own, other := newTablet("own"), newTablet("other")
	own.enrol(t, d)
	other.enrol(t, d)
	client := servicev1.NewSyncServiceClient(d.conn)
	hello := func(ctx context.Context, req *servicev1.HelloRequest, stream bool) (*servicev1.HelloResponse, error) {
		if !stream {
			return client.Hello(ctx, req)
		}
		s, err := client.Push(ctx)
		if err != nil {
			return nil, err
		}
		if err := s.Send(&servicev1.PushRequest{Hello: req}); err != nil {
			return nil, err
		}
		resp, err := s.Recv()
		return resp.GetHello(), err
	}
	resp, err := hello(own.session(t, d), own.hello(), false)
	if err != nil || len(resp.GetSession().GetTicket()) == 0 || resp.GetSession().GetToken() != "" {
		t.Fatalf("Hello in a session: %v, %v; want a ticket and no token", resp.GetSession(), err)
	}
	ticket := resp.GetSession().GetTicket()
	changed := append([]byte(nil), ticket...)
	changed[3] ^= 1
	forged := proofOf(own, ticket, 50)
	forged.Proof.Signature = syncer.SignTicket(other.key, own.lane.Device, 50, ticket)
	moved := proofOf(own, ticket, 50)
	moved.Proof.Use = proto.Uint64(51)
	for i, stream := range []bool{false, true} {
		use := uint64(10 * (i + 1))
		ok, err := hello(t.Context(), proofOf(own, ticket, use), stream)
		if err != nil || ok.GetSession().GetToken() == "" || len(ok.GetSession().GetTicket()) > 0 {
			t.Fatalf("stream %v: a good proof: %v, %v; want a token", stream, ok.GetSession(), err)
		}
		for _, tt := range []struct {
			name string
			req  *servicev1.HelloRequest
			want fault.Reason
		}{
			{"the same again", proofOf(own, ticket, use), fault.ChallengeEnded},
			{"a smaller number", proofOf(own, ticket, use-1), fault.ChallengeEnded},
			{"a ticket changed", proofOf(own, changed, 60), fault.ChallengeEnded},
			{"another tablet's ticket", proofOf(other, ticket, 60), fault.ChallengeEnded},
			{"another key", forged, fault.BadSignature},
			{"another number than was signed", moved, fault.BadSignature},
			{"no ticket", proofOf(own, nil, 60), fault.ChallengeEnded},
			{"no proof", own.hello(), fault.TokenMissing},
		} {
			if _, err := hello(t.Context(), tt.req, stream); fault.Reason(reasonOf(err)) != tt.want {
				t.Errorf("stream %v: %s: %v, want %s", stream, tt.name, err, tt.want)
			}
		}
		named := proofOf(own, ticket, use+1)
		named.Lanes = other.hello().GetLanes()
		named.Lanes = append(named.Lanes, syncer.Head{Seq: 1}.Proto(other.lane))
		if _, err := hello(t.Context(), named, stream); fault.Reason(reasonOf(err)) != fault.OtherDevice {
			t.Errorf("stream %v: another's lanes: %v, want %s", stream, err, fault.OtherDevice)
		}
	}
	// A batch before any Hello is nobody's.
	s, err := client.Push(t.Context())
	if err == nil {
		err = s.Send(&servicev1.PushRequest{Batch: own.batch([]byte("x"))})
	}
	if err == nil {
		_, err = s.Recv()
	}
	wants(t, err, codes.Unauthenticated, fault.TokenMissing)
	c.ms.Add(-store5Minutes - 60_000)
	if _, err := hello(t.Context(), proofOf(own, ticket, 70), false); fault.Reason(reasonOf(err)) != fault.ChallengeEnded {
		t.Errorf("with the clock set back: %v, want %s", err, fault.ChallengeEnded)
	}
	c.ms.Add(store5Minutes + 60_000 + ticketTime.Milliseconds()/2 + 1000)
	again, err := hello(t.Context(), proofOf(own, ticket, 70), false)
	if err != nil || len(again.GetSession().GetTicket()) == 0 || again.GetSession().GetUsed() != 70 {
		t.Errorf("half of its time later: %v, %v; want another ticket and the last number", again.GetSession(), err)
	}
	c.ms.Add(ticketTime.Milliseconds() / 2)
	if _, err := hello(t.Context(), proofOf(own, ticket, 80), false); fault.Reason(reasonOf(err)) != fault.ChallengeEnded {
		t.Errorf("after its end: %v, want %s", err, fault.ChallengeEnded)
	}
	// Revocation takes the session away and holds for those that a ticket opens.
	fresh := again.GetSession().GetTicket()
	d.revoke(t, own, "lost")
	after, err := hello(t.Context(), proofOf(own, fresh, 90), false)
	if err != nil {
		t.Fatal(err)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+after.GetSession().GetToken())
	pull, err := client.Pull(ctx, &servicev1.PullRequest{Device: own.lane.Device[:]})
	if err != nil || fault.Reason(pull.GetNotice().GetReason()) != fault.DeviceRevoked {
		t.Errorf("a revoked tablet's pull: %v, %v; want the notice alone", pull, err)
	}
}

// store5Minutes is how far a clock may be set back.
const store5Minutes = 5 * 60_000

// cutStream loses the connection of streams at the nth answer, and notes what was sent before each answer was waited for.
type cutStream struct {
	grpc.ClientConnInterface
	cutAt int // answer at which the next stream is cut; 0: none
	log   []string
}

func (c *cutStream) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := c.ClientConnInterface.NewStream(ctx, desc, method, opts...)
	c.log = append(c.log, "open")
	return &cutting{ClientStream: s, c: c}, err
}

type cutting struct {
	grpc.ClientStream
	c       *cutStream
	answers int
}

func (s *cutting) SendMsg(m any) error {
	what := "batch"
	if m.(*servicev1.PushRequest).GetHello() != nil {
		what = "hello"
	}
	s.c.log = append(s.c.log, what)
	return s.ClientStream.SendMsg(m)
}

func (s *cutting) RecvMsg(m any) error {
	s.c.log = append(s.c.log, "wait")
	err := s.ClientStream.RecvMsg(m)
	if s.answers++; err == nil && s.answers == s.c.cutAt {
		s.c.cutAt = 0
		return status.Error(codes.Unavailable, "the connection was cut")
	}
	return err
}

// Early batches go once: where the answer did not come the tablet asks before it sends anything again. And they go only to
// an address at which this headquarters was met.
func TestEarlyBatchesAreSentOnce(t *testing.T) {
	d := newDesk(t, openSQLite(t, filepath.Join(t.TempDir(), "hq")))
	patient(d)
	st := enrolledStore(t, d, "0007")
	interviews(t, st, 0, 3)
	if _, err := st.Sync(t.Context(), d.conn, fieldOptions()); err != nil {
		t.Fatal(err)
	}
	sync := func(opts offline.SyncOptions, cutAt int) (offline.SyncReport, string) {
		t.Helper()
		conn := &cutStream{ClientConnInterface: d.conn, cutAt: cutAt}
		r, err := st.Sync(t.Context(), conn, opts)
		if cutAt == 0 && (err != nil || r.Pending != 0) {
			t.Fatalf("Sync = %+v, %v", r, err)
		}
		return r, strings.Join(conn.log, " ")
	}
	interviews(t, st, 3, 6)
	if _, got := sync(fieldOptions(), 0); !strings.HasPrefix(got, "open hello batch ") {
		t.Errorf("with the lane's end known: %s; want a batch with the Hello", got)
	}
	interviews(t, st, 6, 9)
	opts := fieldOptions()
	opts.Attempts = 1
	if _, got := sync(opts, 1); !strings.HasPrefix(got, "open hello batch ") {
		t.Errorf("the Sync that is cut: %s", got)
	}
	r, got := sync(fieldOptions(), 0)
	if !strings.HasPrefix(got, "open hello wait") {
		t.Errorf("after an answer that did not come: %s; want nothing sent before the answer", got)
	}
	if r.Sent+r.Duplicates > 3 {
		t.Errorf("%d sent, %d there already: more than the last entry came again", r.Sent, r.Duplicates)
	}
	interviews(t, st, 9, 12)
	if _, got := sync(fieldOptions(), 1); !strings.HasPrefix(got, "open hello batch ") || !strings.Contains(got[4:], "open hello wait") {
		t.Errorf("cut and tried again within one Sync: %s; want the second time nothing before the answer", got)
	}
	interviews(t, st, 12, 15)
	elsewhere := fieldOptions()
	elsewhere.Address = "10.0.0.8:8686"
	if _, got := sync(elsewhere, 0); !strings.HasPrefix(got, "open hello wait") {
		t.Errorf("at an address that is not known: %s; want nothing sent before the answer", got)
	}
	// Another server at another address gets no record.
	foreign := newDesk(t, newMemory())
	foreign.Server.key = newTablet("another headquarters").key
	interviews(t, st, 15, 18)
	elsewhere.Address = "10.0.0.9:8686"
	conn := &cutStream{ClientConnInterface: foreign.conn}
	elsewhere.Session = false
	if _, err := st.Sync(with(t.Context()), conn, elsewhere); fault.ReasonOf(err) != fault.ServerChanged || strings.Contains(fmt.Sprint(conn.log), "batch") {
		t.Errorf("another server: %v after %v, want %s and no batch", err, conn.log, fault.ServerChanged)
	}
	if n, err := foreign.store.Lane(t.Context(), syncer.LaneID{Device: st.Device(), Epoch: mustStatus(t, st).Epoch}); err != nil || n.Seq != 0 {
		t.Errorf("another server holds %v, %v", n, err)
	}
}

func mustStatus(t *testing.T, st *offline.Store) offline.Status {
	t.Helper()
	s, err := st.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A tablet restored from a backup sends early into a lane that goes on otherwise at headquarters: both branches are kept.
func TestEarlyBatchesOfARestoredTablet(t *testing.T) {
	d := newDesk(t, openSQLite(t, filepath.Join(t.TempDir(), "hq")))
	patient(d)
	st := enrolledStore(t, d, "0007")
	interviews(t, st, 0, 3)
	if _, err := st.Sync(t.Context(), d.conn, fieldOptions()); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy.sqlite")
	if err := st.Backup(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	interviews(t, st, 3, 6)
	if _, err := st.Sync(t.Context(), d.conn, fieldOptions()); err != nil {
		t.Fatal(err)
	}
	old, err := offline.Open(t.Context(), copied, offline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	interviews(t, old, 100, 104)
	r, err := old.Sync(t.Context(), d.conn, fieldOptions())
	if err != nil || !r.NewEpoch || r.Pending != 0 {
		t.Errorf("the restored tablet: %+v, %v; want a new epoch and nothing left", r, err)
	}
	counts, err := servicev1.NewMonitorServiceClient(d.conn).CountInterviews(with(t.Context()), &servicev1.CountInterviewsRequest{})
	if err != nil || counts.GetTotal().GetInterviews() != 10 {
		t.Errorf("%v, %v; want the 6 of one branch and the 4 of the other, once each", counts.GetTotal(), err)
	}
}
