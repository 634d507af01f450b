package tablet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// kindOf reads a gRPC code as a kind of fault; it is the other direction of what server/errors.go does.
func kindOf(c codes.Code) fault.Kind {
	switch c {
	case codes.InvalidArgument:
		return fault.Invalid
	case codes.NotFound, codes.Unimplemented:
		return fault.NotFound
	case codes.AlreadyExists:
		return fault.Exists
	case codes.FailedPrecondition:
		return fault.Conflict
	case codes.PermissionDenied:
		return fault.Permission
	case codes.Unauthenticated:
		return fault.Unauthenticated
	case codes.ResourceExhausted:
		return fault.TooLarge
	case codes.OutOfRange:
		return fault.Stale
	case codes.Unavailable, codes.DeadlineExceeded, codes.Aborted, codes.Canceled, codes.Unknown:
		return fault.Unavailable
	default:
		return fault.Internal
	}
}

// wireFault is the fault that a server or the connection to it has answered with, or this tablet's own, where it did not
// believe a server.
func wireFault(err error, what string) error {
	if err == nil {
		return nil
	}
	if _, own := errors.AsType[*fault.Error](err); own {
		return fmt.Errorf("%s: %w", what, err)
	}
	st := status.Convert(err)
	kind, reason := kindOf(st.Code()), fault.Reason("")
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

// mayPass says whether the same call may succeed later: the connection was cut, or the server is stopping or in
// trouble of its own.
func mayPass(err error) bool {
	switch fault.KindOf(err) {
	case fault.Unavailable:
		return true
	case fault.Internal:
		_, wire := errors.AsType[*fault.Error](err)
		return wire
	default:
		return false
	}
}

// attempt makes one call, which is ended when nothing moves; a slow link has time for size bytes: 30 seconds and 1 KB a
// second.
func (x *session) attempt(ctx context.Context, what string, size int, do func(context.Context) error) error {
	call, cancel := context.WithCancel(ctx)
	defer cancel()
	defer x.watch(cancel, size)()
	x.report.RoundTrips++
	err := do(call)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", what, context.Cause(ctx))
	}
	return wireFault(err, what)
}

// call makes a call until it is answered or the patience of the options is at an end.
func (x *session) call(ctx context.Context, what string, size int, do func(context.Context) error) error {
	for {
		err := x.attempt(ctx, what, size, do)
		if err == nil {
			x.failures = 0
			return nil
		}
		if err = x.pause(ctx, err); err != nil {
			return err
		}
	}
}

// pause waits before the next try: twice as long after each failure, with jitter, so that a field team coming back into
// reach does not come all at once. It returns the error if it cannot pass or has been tried often enough.
func (x *session) pause(ctx context.Context, err error) error {
	x.failures++
	if !mayPass(err) || x.failures >= x.opts.Attempts {
		return err
	}
	x.report.Retries++
	wait := x.opts.MinBackoff << min(x.failures-1, 20)
	if wait > x.opts.MaxBackoff || wait <= 0 {
		wait = x.opts.MaxBackoff
	}
	wait = wait/2 + rand.N(wait/2+1)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return errors.Join(context.Cause(ctx), err)
	}
}
