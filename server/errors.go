package server

import (
	"context"
	"errors"
	"log/slog"

	"github.com/hearth-survey/hearth/proto/fault"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// errorDomain is the domain of the reasons that errors carry.
const errorDomain = "hearth"

// codeOf is the only place where a kind of fault becomes a gRPC code.
func codeOf(k fault.Kind) codes.Code {
	switch k {
	case fault.Invalid:
		return codes.InvalidArgument
	case fault.NotFound:
		return codes.NotFound
	case fault.Exists:
		return codes.AlreadyExists
	case fault.Conflict:
		return codes.FailedPrecondition
	case fault.Permission:
		return codes.PermissionDenied
	case fault.Unauthenticated:
		return codes.Unauthenticated
	case fault.TooLarge:
		return codes.ResourceExhausted
	case fault.Unavailable:
		return codes.Unavailable
	case fault.Stale:
		return codes.OutOfRange
	default:
		return codes.Internal
	}
}

// answer turns an error into what the caller gets: a code, a message, and the reason with what to do. The cause of an
// internal error goes to the log and not to the caller, who gets the id of the request to quote.
func answer(ctx context.Context, log *slog.Logger, c *call, err error) error {
	if err == nil {
		return nil
	}
	if own, ok := errors.AsType[*fault.Error](err); ok && own.Kind != fault.Internal {
		return withReason(codeOf(own.Kind), own)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, "the call took longer than it may")
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, "the call was cancelled")
	}
	if st, ok := status.FromError(err); ok && st.Code() != codes.Internal && st.Code() != codes.Unknown {
		return st.Err() // from gRPC itself: a message over the limit, a stream that ended
	}
	log.ErrorContext(ctx, "internal error", "request", c.request, "method", c.method, "error", err)
	st := status.New(codes.Internal, "internal error in request "+c.request+": look in the server's log")
	return st.Err()
}

func withReason(code codes.Code, f *fault.Error) error {
	st := status.New(code, f.Error())
	if f.Reason == "" {
		return st.Err()
	}
	info := &errdetails.ErrorInfo{Reason: string(f.Reason), Domain: errorDomain, Metadata: map[string]string{"do": f.Reason.Do()}}
	if f.Reason.Retry() {
		info.Metadata["retry"] = "true"
	}
	if detailed, err := st.WithDetails(info); err == nil {
		return detailed.Err()
	}
	return st.Err()
}

// reasonOf reads the reason back from an error that answer made, for the log.
func reasonOf(err error) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}
