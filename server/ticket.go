package server

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/plant"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// A ticket is a challenge for later: a tablet signs it, with a number that only grows, within its Hello, and has a session
// without a round trip of its own. The server keeps the last number of each device.
const (
	ticketTag  = "hearth/ticket/v1\x00"
	ticketTime = 30 * 24 * time.Hour
	ticketSize = 8 + 16
)

// ticketCode makes a ticket one of this server, for one device, since the log was last restored.
func (s *Server) ticketCode(device syncer.ID, end []byte) []byte {
	key := hmac.New(sha256.New, s.key.Seed())
	key.Write([]byte(ticketTag))
	epoch := s.store.Epoch()
	h := hmac.New(sha256.New, key.Sum(nil))
	h.Write(epoch[:])
	h.Write(device[:])
	h.Write(end)
	return h.Sum(nil)[:16]
}

// newTicket gives a device a ticket.
func (s *Server) newTicket(device syncer.ID) []byte {
	end := binary.BigEndian.AppendUint64(nil, uint64(s.nowMS()+ticketTime.Milliseconds()))
	return append(end, s.ticketCode(device, end)...)
}

// ticketLeft is how long a ticket holds; it fails with fault.ChallengeEnded for one that does not. A clock that was set back
// does not make it hold for longer.
func (s *Server) ticketLeft(device syncer.ID, ticket []byte) (time.Duration, error) {
	if len(ticket) != ticketSize || !hmac.Equal(ticket[8:], s.ticketCode(device, ticket[:8])) {
		return 0, fault.New(fault.Unauthenticated, fault.ChallengeEnded, "the ticket is not one this server gave to the device")
	}
	left := int64(binary.BigEndian.Uint64(ticket)) - s.nowMS()
	if left <= 0 || left > ticketTime.Milliseconds()+store.ClockSlackMS {
		return 0, fault.New(fault.Unauthenticated, fault.ChallengeEnded, "the ticket has ended")
	}
	return time.Duration(left) * time.Millisecond, nil
}

// grant is the session that a proof has opened.
type grant struct {
	token string
	// left is how long its ticket still holds.
	left time.Duration
}

// prove opens a session for a call without a token whose first message is a Hello with a proof. A call without a proof is
// one without a token.
func (s *Server) prove(ctx context.Context, c *call, m any) error {
	c.unproven = false
	hello, _ := m.(*servicev1.HelloRequest)
	if push, ok := m.(*servicev1.PushRequest); ok {
		hello = push.GetHello()
	}
	if hello.GetProof() == nil {
		return fault.New(fault.Unauthenticated, fault.TokenMissing, "the call has no token, and does not begin with a Hello that proves the device")
	}
	device, err := deviceOf(hello.GetDevice())
	if err != nil {
		return err
	}
	err = s.try(ctx, s.sessionTries, func() error {
		left, err := s.ticketLeft(device, hello.GetProof().GetTicket())
		if err != nil {
			return err
		}
		token, err := s.spendTicket(ctx, device, hello.GetProof())
		c.grant = &grant{token, left}
		return err
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.tablet, c.device = &device, device.String()
	c.mu.Unlock()
	return s.admitHub(ctx, c)
}

// spendTicket opens a session for a proof whose ticket holds, once.
func (s *Server) spendTicket(ctx context.Context, device syncer.ID, proof *servicev1.SessionProof) (string, error) {
	key, err := s.keys.of(ctx, s.store, device)
	if fault.ReasonOf(err) == fault.DeviceUnknown {
		return "", fault.New(fault.Unauthenticated, fault.DeviceNotEnrolled, "device %v is not enrolled here", device)
	}
	if err != nil {
		return "", err
	}
	if err := syncer.VerifyTicket(key, device, proof.GetUse(), proof.GetTicket(), proof.GetSignature()); err != nil {
		return "", err
	}
	s.ticketsMu.Lock() // one at a time looks and notes
	defer s.ticketsMu.Unlock()
	last, err := s.store.Get(ctx, store.ShelfTickets, device[:])
	if err != nil {
		return "", fmt.Errorf("look up the last use of a ticket: %w", err)
	}
	if len(last) == 8 && !plant.In(plant.TicketTwice) && proof.GetUse() <= binary.BigEndian.Uint64(last) {
		return "", fault.New(fault.Unauthenticated, fault.ChallengeEnded, "the ticket was used with that number before")
	}
	err = s.store.Put(ctx, store.Item{Space: store.ShelfTickets, Key: device[:], Value: binary.BigEndian.AppendUint64(nil, proof.GetUse())})
	if err != nil {
		return "", fmt.Errorf("note the use of a ticket: %w", err)
	}
	return s.addSession(ctx, device)
}

// addSession opens a session for a device that has proved to be it.
func (s *Server) addSession(ctx context.Context, device syncer.ID) (string, error) {
	token, err := newSessionToken()
	if err != nil {
		return "", err
	}
	now := s.nowMS()
	n := store.Session{Token: sha256.Sum256([]byte(token)), Device: device, OpenedMS: now, ExpiresMS: now + sessionTime.Milliseconds()}
	return token, s.store.AddSession(ctx, n)
}

// grantFor is what a Hello is answered of sessions: the token of the one that its proof has opened, and a ticket where it
// comes with none, or one that will not hold for long. Nil for whoever has the server's token.
func (s *Server) grantFor(ctx context.Context, device syncer.ID) (*servicev1.SessionGrant, error) {
	c := callOf(ctx)
	if c == nil || c.tablet == nil || *c.tablet != device || c.granted {
		return nil, nil
	}
	c.granted = true // once in a stream
	g := &servicev1.SessionGrant{}
	if c.grant != nil {
		g.Token = proto.String(c.grant.token)
	}
	if c.grant == nil || c.grant.left < ticketTime/2 {
		g.Ticket = s.newTicket(device)
		last, err := s.store.Get(ctx, store.ShelfTickets, device[:])
		if err != nil {
			return nil, fmt.Errorf("look up the last use of a ticket: %w", err)
		}
		if len(last) == 8 {
			g.Used = proto.Uint64(binary.BigEndian.Uint64(last))
		}
	}
	return g, nil
}

// hasToken says whether a call carries anything as a token.
func hasToken(ctx context.Context) bool {
	md, _ := metadata.FromIncomingContext(ctx)
	return len(md.Get("authorization")) > 0
}
