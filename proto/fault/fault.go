// Package fault is the few kinds of error that Hearth has, and the catalogue of reasons with what to do about each.
//
// It is for every package that can fail: an error says what happened, to what, and what the person should do now. One
// place, server/errors.go, maps kinds to gRPC codes. The package does not log, translate or retry.
package fault

import (
	"errors"
	"fmt"
	"strings"
)

// Kind is what sort of thing went wrong. The numbers are kept for ever.
type Kind int

// The kinds of error.
const (
	// Internal is a defect or a broken machine; its cause is not shown to callers.
	Internal Kind = iota
	// Invalid is input that is not what it should be.
	Invalid
	// NotFound is something named that does not exist.
	NotFound
	// Exists is something to be made that is there already.
	Exists
	// Conflict is something that contradicts what is stored.
	Conflict
	// Permission is something the caller may not do.
	Permission
	// Unauthenticated is a caller who is not known.
	Unauthenticated
	// TooLarge is input over a limit.
	TooLarge
	// Unavailable is a service that cannot answer now; trying again later may help.
	Unavailable
	// Stale is a cursor or revision from another time; start again from the beginning.
	Stale
)

var kindNames = [...]string{"internal", "invalid", "not found", "exists", "conflict", "permission", "unauthenticated", "too large", "unavailable", "stale"}

// String names the kind.
func (k Kind) String() string {
	if k < 0 || int(k) >= len(kindNames) {
		return fmt.Sprintf("kind %d", int(k))
	}
	return kindNames[k]
}

// Error is an error with a kind and, where it is one of the catalogue, a reason.
type Error struct {
	Kind   Kind
	Reason Reason
	// Message says what happened and to what. It reaches the caller.
	Message string
	// Err is the cause. For Internal errors it reaches the log only.
	Err error
}

// New makes an error. Format is used as by fmt.Errorf; a %w keeps the cause for errors.Is and errors.As.
func New(kind Kind, reason Reason, format string, args ...any) *Error {
	wrapped := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Reason: reason, Message: wrapped.Error(), Err: errors.Unwrap(wrapped)}
}

// Error is the message, and what to do where the catalogue knows it.
func (e *Error) Error() string {
	if do := e.Reason.Do(); do != "" && !strings.Contains(e.Message, do) {
		return e.Message + ": " + do
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of the first fault in err's chain, and Internal for any other error.
func KindOf(err error) Kind {
	if f, ok := errors.AsType[*Error](err); ok {
		return f.Kind
	}
	return Internal
}

// ReasonOf returns the reason of the first fault in err's chain, or "".
func ReasonOf(err error) Reason {
	if f, ok := errors.AsType[*Error](err); ok {
		return f.Reason
	}
	return ""
}
