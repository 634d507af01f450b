package relay

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// maxChallenge bounds what the hub signs without knowing what it is.
const maxChallenge = 1024

// sessionConn is a connection whose unary calls carry the token of a session that the hub opens by itself, and opens again
// when it has ended.
type sessionConn struct {
	grpc.ClientConnInterface
	id  syncer.ID
	key ed25519.PrivateKey
	// server is headquarters' key: the hub opens sessions there and nowhere else.
	server func() ed25519.PublicKey

	mu    sync.Mutex
	token string
}

// Invoke makes a call, and once more with a new session if the one it had has ended.
func (c *sessionConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	token, err := c.current(ctx, "")
	if err != nil {
		return err
	}
	err = c.ClientConnInterface.Invoke(bearing(ctx, token), method, args, reply, opts...)
	if fault.ReasonOf(faultOf(err, "")) != fault.SessionEnded {
		return err
	}
	if token, err = c.current(ctx, token); err != nil {
		return err
	}
	return c.ClientConnInterface.Invoke(bearing(ctx, token), method, args, reply, opts...)
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
		c.token = token
	}
	return c.token, nil
}

// open answers a challenge with the hub's key.
func (c *sessionConn) open(ctx context.Context) (string, error) {
	client, server := servicev1.NewDeviceServiceClient(c.ClientConnInterface), c.server()
	for again := false; ; again = true {
		begun, err := client.BeginSession(ctx, &servicev1.BeginSessionRequest{Device: bytes.Clone(c.id[:])})
		if err != nil {
			return "", err
		}
		if n := len(begun.GetChallenge()); n == 0 || n > maxChallenge {
			return "", status.Errorf(codes.InvalidArgument, "headquarters' challenge has %d bytes, want 1 to %d", n, maxChallenge)
		}
		if len(begun.GetServerKey()) == 0 {
			return "", fault.New(fault.Conflict, fault.ProtocolTooOld, "headquarters does not say for which server a session is: it runs an earlier version")
		}
		if !syncer.SameKey(begun.GetServerKey(), server) {
			return "", fault.New(fault.Conflict, fault.ServerChanged, "what answers as headquarters has the key %.4x, this hub was enrolled by one with %.4x", begun.GetServerKey(), server)
		}
		resp, err := client.OpenSession(ctx, &servicev1.OpenSessionRequest{
			Device: bytes.Clone(c.id[:]), Challenge: begun.GetChallenge(), Signature: syncer.SignSession(c.key, server, c.id, begun.GetChallenge()),
		})
		if !again && fault.ReasonOf(faultOf(err, "")) == fault.ChallengeEnded {
			continue // headquarters was started anew in between
		}
		if err == nil && resp.GetToken() == "" {
			err = status.Error(codes.InvalidArgument, "headquarters opened a session without a token")
		}
		return resp.GetToken(), err
	}
}

// faultOf is the fault that headquarters or the connection to it has answered with.
func faultOf(err error, what string) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return fmt.Errorf("%s: %w", what, err)
	}
	st := status.Convert(err)
	kind, reason := fault.Internal, fault.Reason("")
	switch st.Code() {
	case codes.InvalidArgument:
		kind = fault.Invalid
	case codes.NotFound, codes.Unimplemented:
		kind = fault.NotFound
	case codes.AlreadyExists:
		kind = fault.Exists
	case codes.FailedPrecondition:
		kind = fault.Conflict
	case codes.PermissionDenied:
		kind = fault.Permission
	case codes.Unauthenticated:
		kind = fault.Unauthenticated
	case codes.ResourceExhausted:
		kind = fault.TooLarge
	case codes.OutOfRange:
		kind = fault.Stale
	case codes.Unavailable, codes.DeadlineExceeded, codes.Aborted, codes.Canceled, codes.Unknown:
		kind = fault.Unavailable
	}
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetReason() != "" {
			reason = fault.Reason(info.GetReason())
		}
	}
	if reason == "" && kind == fault.Unavailable {
		reason = fault.Unreachable
	}
	return fault.New(kind, reason, "%s: %w", what, errors.New(st.Message()))
}

// call makes a call until it is answered or fails too often in a row. It leaves a slow link time for size bytes.
func (r *Relay) call(ctx context.Context, what string, size int, do func(context.Context) error) error {
	for {
		limit, cancel := context.WithTimeout(ctx, r.opts.CallTimeout+time.Duration(size)*time.Millisecond)
		err := do(limit)
		cancel()
		if err == nil {
			r.failures = 0
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", what, context.Cause(ctx))
		}
		err = faultOf(err, what)
		r.failures++
		if k := fault.KindOf(err); k != fault.Unavailable && k != fault.Internal || r.failures >= r.opts.Attempts {
			return err
		}
		if pause(ctx, min(r.opts.MinBackoff<<min(r.failures-1, 20), r.opts.MaxBackoff), nil) != nil {
			return err
		}
	}
}
