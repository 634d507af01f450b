package tablet

import (
	"bytes"
	"context"
	"sync"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/failpoint"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// maxChallenge bounds what the tablet signs without knowing what it is.
const maxChallenge = 1024

// sessionConn is a connection whose calls carry the token of a session that the tablet opens by itself: with the ticket
// of the last contact within Hello, or by a challenge before the first call; and again when the server says that it has
// ended. The tablet's clock plays no part in it. The token is kept in memory only.
type sessionConn struct {
	grpc.ClientConnInterface
	store *Store
	// address is where the server is, by which its ticket is kept; empty: there are no tickets.
	address string

	mu    sync.Mutex
	token string
	// opening counts the calls that opening sessions by challenges took.
	opening int
}

// withSession makes calls over conn carry a session's token.
func (s *Store) withSession(conn grpc.ClientConnInterface, address string) *sessionConn {
	return &sessionConn{ClientConnInterface: conn, store: s, address: address}
}

// Invoke makes a call, and once more with a new session if the one it had has ended.
func (c *sessionConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	hello, isHello := args.(*servicev1.HelloRequest)
	if isHello {
		req, proved, err := c.prove(ctx, hello)
		if err != nil {
			return err
		}
		if proved {
			resp := reply.(*servicev1.HelloResponse)
			err := c.ClientConnInterface.Invoke(ctx, method, req, resp, opts...)
			if again, err := c.answered(ctx, req, resp, err); !again {
				return err
			}
		}
	}
	token, err := c.current(ctx, "")
	if err != nil {
		return err
	}
	err = c.ClientConnInterface.Invoke(bearing(ctx, token), method, args, reply, opts...)
	if fault.ReasonOf(wireFault(err, "")) == fault.SessionEnded {
		if token, err = c.current(ctx, token); err != nil {
			return err
		}
		err = c.ClientConnInterface.Invoke(bearing(ctx, token), method, args, reply, opts...)
	}
	if err == nil && isHello {
		_, err = c.answered(ctx, hello, reply.(*servicev1.HelloResponse), nil)
	}
	return err
}

// NewStream opens a stream. One that is refused because the session has ended fails; the next one has another. A stream
// that begins with a Hello which proves who calls has no token.
func (c *sessionConn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if proves, _ := ctx.Value(provesKey{}).(bool); proves {
		return c.ClientConnInterface.NewStream(ctx, desc, method, opts...)
	}
	token, err := c.current(ctx, "")
	if err != nil {
		return nil, err
	}
	return c.ClientConnInterface.NewStream(bearing(ctx, token), desc, method, opts...)
}

// provesKey is the key under which the context of a stream says that its first message proves who calls.
type provesKey struct{}

// prove makes of a Hello one that opens a session by itself, if there is none and there is a ticket. It leaves out what a
// server that has given a ticket knows.
func (c *sessionConn) prove(ctx context.Context, hello *servicev1.HelloRequest) (*servicev1.HelloRequest, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token != "" {
		return hello, false, nil
	}
	ticket, use, err := c.store.useTicket(ctx, c.address)
	if err != nil || len(ticket) == 0 || len(ticket) > maxChallenge {
		return hello, false, err
	}
	req := proto.CloneOf(hello)
	req.PublicKey, req.DeviceName, req.Enumerator, req.Brief = nil, nil, nil, proto.Bool(true)
	req.Proof = &servicev1.SessionProof{Ticket: ticket, Use: proto.Uint64(use), Signature: syncer.SignTicket(c.store.key, c.store.device, use, ticket)}
	return req, true, nil
}

// answered keeps what the answer to a Hello brings for sessions. Where the proof was refused it says that the call is to be
// made again, without one.
func (c *sessionConn) answered(ctx context.Context, req *servicev1.HelloRequest, resp *servicev1.HelloResponse, err error) (again bool, _ error) {
	proved := req.GetProof() != nil
	if err == nil && proved && resp.GetSession().GetToken() == "" {
		err = status.Error(codes.InvalidArgument, "the server took a proof and opened no session")
	}
	if err != nil {
		switch fault.ReasonOf(wireFault(err, "")) {
		case fault.ChallengeEnded, fault.TokenMissing, fault.BadSignature, fault.DeviceNotEnrolled, fault.BadRequest:
			if proved {
				return true, c.store.keepTicket(ctx, c.address, nil, 0)
			}
		case fault.SessionEnded:
			c.forget()
		}
		return false, err
	}
	if g := resp.GetSession(); proved || len(g.GetTicket()) > 0 {
		c.mu.Lock()
		if g.GetToken() != "" {
			c.token = g.GetToken()
		}
		c.mu.Unlock()
		if len(g.GetTicket()) > 0 {
			if err := c.store.keepTicket(ctx, c.address, g.GetTicket(), g.GetUsed()); err != nil {
				return false, err
			}
		}
	}
	if req.GetBrief() && resp.GetHub() == nil {
		lengthen(req, resp)
	}
	return false, nil
}

// forget drops a session that has ended.
func (c *sessionConn) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = ""
}

// lengthen puts into a brief answer the lanes that are held as they were named.
func lengthen(req *servicev1.HelloRequest, resp *servicev1.HelloResponse) {
	named := map[string]bool{}
	for _, l := range resp.GetLanes() {
		named[string(l.GetLane().GetEpoch())] = true
	}
	for _, l := range req.GetLanes() {
		if !named[string(l.GetLane().GetEpoch())] {
			resp.Lanes = append(resp.Lanes, l)
		}
	}
}

func bearing(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

// current is the token to use; another than the one that has ended.
func (c *sessionConn) current(ctx context.Context, ended string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token == "" || c.token == ended {
		token, err := c.open(ctx)
		if err != nil {
			return "", err
		}
		failpoint.Hit("tablet.after-session")
		c.token = token
	}
	return c.token, nil
}

// open answers a challenge with the device's key. Its errors are those of gRPC, as of the call it is made for.
func (c *sessionConn) open(ctx context.Context) (string, error) {
	s := c.store
	client := servicev1.NewDeviceServiceClient(c.ClientConnInterface)
	for again := false; ; again = true {
		c.opening += 2
		begun, err := client.BeginSession(ctx, &servicev1.BeginSessionRequest{Device: bytes.Clone(s.device[:])})
		if err != nil {
			return "", err
		}
		if n := len(begun.GetChallenge()); n == 0 || n > maxChallenge {
			return "", status.Errorf(codes.InvalidArgument, "the server's challenge has %d bytes, want 1 to %d", n, maxChallenge)
		}
		resp, err := client.OpenSession(ctx, &servicev1.OpenSessionRequest{
			Device: bytes.Clone(s.device[:]), Challenge: begun.GetChallenge(), Signature: syncer.SignSession(s.key, s.device, begun.GetChallenge()),
		})
		if !again && fault.ReasonOf(wireFault(err, "")) == fault.ChallengeEnded {
			continue // the server was started anew in between, or its clock was set
		}
		if err == nil && resp.GetToken() == "" {
			err = status.Error(codes.InvalidArgument, "the server opened a session without a token")
		}
		return resp.GetToken(), err
	}
}
