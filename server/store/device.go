package store

import (
	"context"
	"crypto/ed25519"

	"github.com/hearth-survey/hearth/syncer"
)

// MaxTries is how often a code may be brought by the wrong tablet before it is burnt.
const MaxTries = 5

// ClockSlackMS is how far a server's clock may be set back before what it has given out no longer holds.
const ClockSlackMS = 5 * 60_000

// Enrolment is a one-time code and who the tablet that brings it will be.
type Enrolment struct {
	// Code is the code's hash; the code itself is not kept.
	Code       [32]byte
	Study      string
	Name       string
	Enumerator string
	// CreatedMS and ExpiresMS bound the time in which the code holds.
	CreatedMS, ExpiresMS int64
}

// Enrolments are the one-time codes by which tablets become known.
type Enrolments interface {
	// AddEnrolment keeps a code until it is used. Codes that ended a day ago and were used by nobody may be forgotten.
	AddEnrolment(ctx context.Context, e Enrolment) error
	// Enrol makes a device known by its key and burns the code, in one transaction; a revocation of the device ends. The
	// same device with the same key may do it again, as after a lost answer, while the code holds. It fails with
	// fault.CodeWrong, fault.CodeExpired, fault.CodeUsed (also after MaxTries by others), and with fault.DeviceKeyChanged
	// for a device that is known by another key.
	Enrol(ctx context.Context, code [32]byte, device syncer.ID, key ed25519.PublicKey, nowMS int64) (Enrolment, error)
}

// Session is the right of a tablet to call for a short time.
type Session struct {
	// Token is the hash of the token; the token itself is not kept.
	Token  [32]byte
	Device syncer.ID
	// OpenedMS and ExpiresMS bound the time in which it holds.
	OpenedMS, ExpiresMS int64
}

// Holds says whether the session holds at a time. One that was opened later than now is not believed: the clock was set
// back, and it would hold for too long.
func (s Session) Holds(nowMS int64) bool {
	return s.OpenedMS-ClockSlackMS <= nowMS && nowMS < s.ExpiresMS
}

// Revocation is that a tablet's rights were taken away.
type Revocation struct {
	Device    syncer.ID
	RevokedMS int64
	// Reason and By are what the person said who did it.
	Reason string
	By     string
}

// Sessions are the tablets' sessions and what ends them.
type Sessions interface {
	// AddSession keeps a session. Those that have ended are forgotten, and all but the newest few of the device.
	AddSession(ctx context.Context, s Session) error
	// Session returns the session with a token's hash, or fault.SessionEnded.
	Session(ctx context.Context, token [32]byte) (Session, error)
	// Revoke takes the rights of a device away; its sessions end, and it may open others. Revoking again keeps the first
	// time and reason. It fails with fault.NoSuchDevice.
	Revoke(ctx context.Context, r Revocation) error
	// Revoked returns the revocation of a device, and whether there is one.
	Revoked(ctx context.Context, device syncer.ID) (Revocation, bool, error)
}
