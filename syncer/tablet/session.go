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
)

// maxChallenge bounds what the tablet signs without knowing what it is.
const maxChallenge = 1024

// sessionConn is a connection whose calls carry the token of a session that the tablet opens by itself: before the first
// call, and again when the server says that it has ended. The tablet's clock plays no part in it. The token is kept in
// memory only.
type sessionConn struct {
	grpc.ClientConnInterface
	store *Store

	mu    sync.Mutex
	token string
}

// withSession makes calls over conn carry a session's token.
func (s *Store) withSession(conn grpc.ClientConnInterface) grpc.ClientConnInterface {
	return &sessionConn{ClientConnInterface: conn, store: s}
}

// Invoke makes a call, and once more with a new session if the one it had has ended.
func (c *sessionConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	token, err := c.current(ctx, "")
	if err != nil {
		return err
	}
	err = c.ClientConnInterface.Invoke(bearing(ctx, token), method, args, reply, opts...)
	if fault.ReasonOf(wireFault(err, "")) != fault.SessionEnded {
		return err
	}
	if token, err = c.current(ctx, token); err != nil {
		return err
	}
	return c.ClientConnInterface.Invoke(bearing(ctx, token), method, args, reply, opts...)
}

// NewStream opens a stream. One that is refused because the session has ended fails; the next one has another.
func (c *sessionConn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	token, err := c.current(ctx, "")
	if err != nil {
		return nil, err
	}
	return c.ClientConnInterface.NewStream(bearing(ctx, token), desc, method, opts...)
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
