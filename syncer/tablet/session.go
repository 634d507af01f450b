package tablet

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"database/sql"
	"errors"
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
	// bound is the key of the server for which the session was opened by a challenge; nil: there is none, or a ticket opened
	// it, which is good at the server that gave it alone.
	bound ed25519.PublicKey
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
				return true, c.store.dropTicket(ctx, c.address)
			}
		case fault.SessionEnded:
			c.forget()
		}
		return false, err
	}
	if err := c.answersAs(resp); err != nil {
		return false, err
	}
	if g := resp.GetSession(); proved || len(g.GetTicket()) > 0 {
		c.mu.Lock()
		if g.GetToken() != "" {
			c.token, c.bound = g.GetToken(), nil
		}
		c.mu.Unlock()
		if len(g.GetTicket()) > 0 {
			if err := c.store.keepTicket(ctx, c.address, g.GetTicket(), g.GetUsed(), resp.GetHub() != nil); err != nil {
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
		if c.bound, err = c.server(ctx, begun); err != nil {
			return "", err
		}
		resp, err := client.OpenSession(ctx, &servicev1.OpenSessionRequest{
			Device: bytes.Clone(s.device[:]), Challenge: begun.GetChallenge(), Signature: syncer.SignSession(s.key, c.bound, s.device, begun.GetChallenge()),
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

// server is the key for which a challenge is answered: that of the headquarters which enrolled the tablet, or of a hub that
// has its certificate. Where a hub has been met, nobody is believed to be headquarters: a hub could pass its challenges on.
func (c *sessionConn) server(ctx context.Context, begun *servicev1.BeginSessionResponse) (ed25519.PublicKey, error) {
	known, err := c.store.headquarters(ctx)
	if err != nil {
		return nil, err
	}
	key := ed25519.PublicKey(begun.GetServerKey())
	switch {
	case len(key) == 0:
		return nil, fault.New(fault.Conflict, fault.ProtocolTooOld, "the server does not say which it is: it runs an earlier version than this tablet")
	case len(key) != ed25519.PublicKeySize:
		return nil, fault.New(fault.Invalid, fault.BadRequest, "the server's key has %d bytes, want %d", len(key), ed25519.PublicKeySize)
	case known == nil:
		return key, nil // nobody has enrolled it, so that nobody lets it in: it is to hear that
	case begun.GetHub() != nil:
		hub, err := syncer.VerifyHubCertificate(begun.GetHub(), known)
		if err != nil {
			return nil, err
		}
		if !syncer.SameKey(hub, key) {
			return nil, fault.New(fault.Conflict, fault.ServerChanged, "the hub shows the certificate of another one")
		}
		return key, nil
	case !syncer.SameKey(known, key):
		return nil, fault.New(fault.Conflict, fault.ServerChanged, "the server has the key %x, this tablet was enrolled by one with %x", key[:4], known[:4])
	}
	met, err := c.store.contact(ctx, c.address)
	if err == nil && met.met && met.hub {
		err = fault.New(fault.Conflict, fault.ServerChanged, "a hub was at %s the last time, and now it says that it is headquarters: if a person knows that to be so, sync with --headquarters once", c.address)
	}
	return key, err
}

// headquarters is the key that enrolment has pinned; nil where the tablet was not enrolled and has met nobody.
func (s *Store) headquarters(ctx context.Context) (ed25519.PublicKey, error) {
	var key []byte
	if err := s.db.QueryRowContext(ctx, "SELECT server_key FROM meta").Scan(&key); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, dbFault(err, "read who headquarters is")
	}
	return key, nil
}

// answersAs says whether a Hello in a session was answered by the server for which the session was opened.
func (c *sessionConn) answersAs(resp *servicev1.HelloResponse) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bound == nil {
		return nil
	}
	key := ed25519.PublicKey(resp.GetServerKey())
	if resp.GetHub() != nil {
		key = resp.GetHub().GetPublicKey()
	}
	if syncer.SameKey(c.bound, key) {
		return nil
	}
	err := fault.New(fault.Conflict, fault.ServerChanged, "the session was opened for the server with the key %.4x, and one with %.4x answers", c.bound, key)
	c.token, c.bound = "", nil
	return err
}
