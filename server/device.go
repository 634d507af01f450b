package server

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/failpoint"
	"google.golang.org/protobuf/proto"
)

// How long a code may hold.
const (
	codeTime    = 10 * time.Minute
	maxCodeTime = 7 * 24 * time.Hour
)

// maxWhyBytes bounds the reason that a person gives for a revocation.
const maxWhyBytes = 512

type deviceService struct {
	servicev1.UnimplementedDeviceServiceServer
	*Server
}

// CreateEnrolment makes a one-time code. The code goes to the caller and nowhere else.
func (s *deviceService) CreateEnrolment(ctx context.Context, req *servicev1.CreateEnrolmentRequest) (*servicev1.CreateEnrolmentResponse, error) {
	valid := time.Duration(req.GetValidSeconds()) * time.Second
	if valid == 0 {
		valid = codeTime
	}
	switch {
	case req.GetHub() && (!plainText(req.GetDeviceName(), maxNameBytes) || req.GetEnumerator() != ""):
		return nil, fault.New(fault.Invalid, fault.BadRequest, "a hub needs a name, of at most %d bytes and without control characters, and has no enumerator", maxNameBytes)
	case !req.GetHub() && (!plainText(req.GetDeviceName(), maxNameBytes) || !plainText(req.GetEnumerator(), maxNameBytes)):
		return nil, fault.New(fault.Invalid, fault.BadRequest, "the tablet needs a name and an enumerator, of at most %d bytes and without control characters", maxNameBytes)
	case valid > maxCodeTime:
		return nil, fault.New(fault.Invalid, fault.BadRequest, "a code may hold for %v, not %v", maxCodeTime, valid)
	}
	if addr := req.GetServerAddress(); addr != "" {
		if err := syncer.CheckServerAddress(addr); err != nil {
			return nil, err
		}
	}
	study, err := s.studyToJoin(ctx, req.GetStudy())
	if err != nil {
		return nil, err
	}
	code, err := syncer.NewCode(rand.Reader)
	if err != nil {
		return nil, err
	}
	now := s.nowMS()
	e := store.Enrolment{Code: code.Hash(), Study: study, Name: req.GetDeviceName(), Enumerator: req.GetEnumerator(),
		CreatedMS: now, ExpiresMS: now + valid.Milliseconds()}
	if req.GetHub() {
		if err := s.keepHubCode(ctx, e); err != nil {
			return nil, err
		}
	}
	if err := s.store.AddEnrolment(ctx, e); err != nil {
		return nil, err
	}
	resp := &servicev1.CreateEnrolmentResponse{Code: proto.String(code.String()), ExpiresMs: proto.Int64(e.ExpiresMS)}
	if addr := req.GetServerAddress(); addr != "" {
		resp.QrText = proto.String(syncer.Invitation{Server: addr, Key: s.Key(), Code: code}.String())
	}
	return resp, nil
}

// studyToJoin is the study a tablet is enrolled for: the one named, which must be known if any is, or the only one.
func (s *Server) studyToJoin(ctx context.Context, name string) (string, error) {
	if err := s.Project(ctx); err != nil {
		return "", err
	}
	studies, err := s.store.Studies(ctx)
	if err != nil {
		return "", err
	}
	if name == "" && len(studies) == 1 {
		return studies[0].GetStudy(), nil
	}
	if !plainText(name, 64) {
		return "", fault.New(fault.Invalid, fault.BadRequest, "say for which study the tablet is, in at most 64 bytes; this server holds %d", len(studies))
	}
	for _, st := range studies {
		if st.GetStudy() == name {
			return name, nil
		}
	}
	if len(studies) > 0 {
		return "", fault.New(fault.NotFound, fault.UnknownStudy, "this server holds no study %.64q", name)
	}
	return name, nil
}

// plainText says whether a person could have written a text of at most n bytes in one line.
func plainText(s string, n int) bool {
	return strings.TrimSpace(s) != "" && len(s) <= n && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// Enrol makes the tablet that has the code known by its key.
func (s *deviceService) Enrol(ctx context.Context, req *servicev1.EnrolRequest) (*servicev1.EnrolResponse, error) {
	var resp *servicev1.EnrolResponse
	err := s.try(ctx, s.enrolTries, func() (err error) {
		if s.hub != nil {
			resp, err = s.enrolThrough(ctx, req)
		} else {
			resp, err = s.enrol(ctx, req)
		}
		return err
	})
	return resp, err
}

func (s *deviceService) enrol(ctx context.Context, req *servicev1.EnrolRequest) (*servicev1.EnrolResponse, error) {
	device, err := deviceOf(req.GetDevice())
	if err != nil {
		return nil, err
	}
	code, err := syncer.ParseCode(req.GetCode())
	if err != nil {
		return nil, fault.New(fault.Unauthenticated, fault.CodeWrong, "what was given is not a code") // and is not repeated: it may be a secret
	}
	if err := syncer.VerifyEnrolment(req.GetPublicKey(), code, device, req.GetSignature()); err != nil {
		return nil, err
	}
	failpoint.Hit("enrol.before-store")
	if err := s.checkKind(ctx, req, code); err != nil {
		return nil, err
	}
	e, err := s.store.Enrol(ctx, code.Hash(), device, req.GetPublicKey(), s.nowMS())
	if err != nil {
		return nil, err
	}
	failpoint.Hit("enrol.after-store")
	s.rights.purge() // a revocation has ended
	s.down.forget(device)
	epoch := s.store.Epoch()
	resp := &servicev1.EnrolResponse{
		ServerKey: s.Key(), ServerEpoch: epoch[:], Study: proto.String(e.Study), DeviceName: proto.String(e.Name), Enumerator: proto.String(e.Enumerator),
	}
	if req.GetHub() {
		return resp, s.enrolHub(ctx, req, resp)
	}
	resp.CouponNumber, err = s.couponNumber(ctx, e.Study, device, req.GetEpoch(), req.GetCouponFile())
	return resp, err
}

// try makes a call that may be guessing: from an address where too many went wrong it is not made at all.
func (s *Server) try(ctx context.Context, bound *tries, do func() error) error {
	addr := addressOf(ctx)
	if !bound.take(addr) {
		return fault.New(fault.TooLarge, fault.TooManyTries, "too many tries from this address went wrong")
	}
	err := do()
	switch fault.KindOf(err) {
	case fault.Unauthenticated, fault.Invalid, fault.Conflict, fault.Permission, fault.NotFound:
		s.metrics.authFailures.Inc()
	default: // it went well, or it was not the caller's fault
		bound.succeeded(addr)
	}
	return err
}

// BeginSession gives a challenge to whoever asks: it tells nothing, not even whether the tablet is known.
func (s *deviceService) BeginSession(_ context.Context, req *servicev1.BeginSessionRequest) (*servicev1.BeginSessionResponse, error) {
	device, err := deviceOf(req.GetDevice())
	if err != nil {
		return nil, err
	}
	challenge, expires, err := s.challenges.give(device, s.nowMS())
	if err != nil {
		return nil, err
	}
	resp := &servicev1.BeginSessionResponse{Challenge: challenge, ExpiresMs: proto.Int64(expires), ServerKey: s.Key()}
	if s.hub != nil {
		resp.Hub = s.hub.State().GetCertificate()
	}
	return resp, nil
}

// OpenSession gives a token to the tablet that signed the challenge. A revoked tablet gets one too: what it sends is
// kept in quarantine.
func (s *deviceService) OpenSession(ctx context.Context, req *servicev1.OpenSessionRequest) (*servicev1.OpenSessionResponse, error) {
	var resp *servicev1.OpenSessionResponse
	err := s.try(ctx, s.sessionTries, func() (err error) {
		resp, err = s.openSession(ctx, req)
		return err
	})
	return resp, err
}

func (s *deviceService) openSession(ctx context.Context, req *servicev1.OpenSessionRequest) (*servicev1.OpenSessionResponse, error) {
	device, err := deviceOf(req.GetDevice())
	if err != nil {
		return nil, err
	}
	if err := s.challenges.check(device, req.GetChallenge(), s.nowMS()); err != nil {
		return nil, err
	}
	key, err := s.keys.of(ctx, s.store, device)
	if fault.ReasonOf(err) == fault.DeviceUnknown {
		return nil, fault.New(fault.Unauthenticated, fault.DeviceNotEnrolled, "device %v is not enrolled here", device)
	}
	if err != nil {
		return nil, err
	}
	if err := syncer.VerifySession(key, s.Key(), device, req.GetChallenge(), req.GetSignature()); err != nil {
		return nil, err
	}
	if err := s.challenges.spend(req.GetChallenge()); err != nil {
		return nil, err
	}
	token, err := s.addSession(ctx, device)
	if err != nil {
		return nil, err
	}
	return &servicev1.OpenSessionResponse{Token: proto.String(token), ExpiresMs: proto.Int64(s.nowMS() + sessionTime.Milliseconds())}, nil
}

// RevokeDevice takes a tablet's rights away: it holds from the next call on.
func (s *deviceService) RevokeDevice(ctx context.Context, req *servicev1.RevokeDeviceRequest) (*servicev1.RevokeDeviceResponse, error) {
	device, err := deviceOf(req.GetDevice())
	if err != nil {
		return nil, err
	}
	switch {
	case device == s.author.lane.Device:
		return nil, fault.New(fault.Invalid, fault.BadRequest, "device %v is headquarters itself", device)
	case !plainText(req.GetReason(), maxWhyBytes):
		return nil, fault.New(fault.Invalid, fault.BadRequest, "say why, in one line of at most %d bytes", maxWhyBytes)
	case req.GetBy() != "" && !plainText(req.GetBy(), maxNameBytes):
		return nil, fault.New(fault.Invalid, fault.BadRequest, "the name of who revokes has more than %d bytes or control characters", maxNameBytes)
	}
	err = s.store.Revoke(ctx, store.Revocation{Device: device, RevokedMS: s.nowMS(), Reason: req.GetReason(), By: req.GetBy()})
	if err != nil {
		return nil, err
	}
	s.rights.purge()
	return &servicev1.RevokeDeviceResponse{}, nil
}

func deviceOf(raw []byte) (syncer.ID, error) {
	device, err := syncer.ParseID(raw)
	if err != nil {
		return device, fault.New(fault.Invalid, fault.BadRequest, "device of the request: %w", err)
	}
	return device, nil
}

// revocation is that of a device, nil if there is none. A hub looks it up each time: headquarters may have said it a moment
// ago.
func (s *Server) revocation(ctx context.Context, device syncer.ID) (*store.Revocation, error) {
	if s.hub == nil {
		return s.rights.revocation(ctx, s.store, device)
	}
	r, is, err := s.store.Revoked(ctx, device)
	if err != nil || !is {
		return nil, err
	}
	return &r, nil
}

// revokedReason is what a revoked tablet is told of its records, nil for one that is not revoked.
func (s *Server) revokedReason(ctx context.Context, device syncer.ID) (*fault.Error, error) {
	r, err := s.revocation(ctx, device)
	if err != nil || r == nil {
		return nil, err
	}
	day := time.UnixMilli(r.RevokedMS).UTC().Format("2006-01-02 15:04 UTC")
	return fault.New(fault.Permission, fault.DeviceRevoked, "the rights of this tablet were taken away on %s: %s", day, r.Reason), nil
}

// noticeFor is what a revoked tablet gets instead of records, nil for one that is not revoked.
func (s *Server) noticeFor(ctx context.Context, device syncer.ID) (*servicev1.Notice, error) {
	f, err := s.revokedReason(ctx, device)
	if err != nil || f == nil {
		return nil, err
	}
	return &servicev1.Notice{Reason: proto.String(string(f.Reason)), Message: proto.String(f.Message)}, nil
}

// beginDevices makes what devices need of a server that starts.
func (s *Server) beginDevices() error {
	var err error
	if s.challenges, err = newChallenges(); err != nil {
		return fmt.Errorf("make the key of challenges: %w", err)
	}
	s.rights.clock = s.now
	s.enrolTries = &tries{burst: 5, every: 12 * time.Second, clock: s.now}
	s.sessionTries = &tries{burst: 20, every: 3 * time.Second, clock: s.now}
	return nil
}
