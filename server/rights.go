package server

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// Times of sessions and what leads to them.
const (
	sessionTime   = 30 * time.Minute
	challengeTime = 2 * time.Minute
	// rightsAge is how long a session or a revocation may be remembered without asking the store.
	rightsAge = 5 * time.Second
)

// sessionPrefix tells a tablet's token from the server's.
const sessionPrefix = "s1."

// identify says who calls: nil for the holder of the server's token, or the tablet whose session it is. It compares
// hashes, so that neither length nor content of a token can be told from the time it takes.
func (s *Server) identify(ctx context.Context) (*syncer.ID, error) {
	token, err := bearerOf(ctx)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(token))
	if subtle.ConstantTimeCompare(sum[:], s.token) == 1 {
		return nil, nil
	}
	if !strings.HasPrefix(token, sessionPrefix) {
		s.metrics.authFailures.Inc()
		return nil, fault.New(fault.Unauthenticated, fault.TokenWrong, "the token is not this server's")
	}
	session, err := s.rights.session(ctx, s.store, sum)
	if err == nil && !session.Holds(s.nowMS()) {
		err = fault.New(fault.Unauthenticated, fault.SessionEnded, "the session has ended")
	}
	if err != nil {
		s.metrics.authFailures.Inc()
		return nil, err
	}
	return &session.Device, nil
}

// forExports says whether a call comes with the token for exports alone.
func (s *Server) forExports(ctx context.Context) bool {
	token, err := bearerOf(ctx)
	sum := sha256.Sum256([]byte(token))
	return err == nil && s.exportToken != nil && subtle.ConstantTimeCompare(sum[:], s.exportToken) == 1
}

// bearerOf takes the token from the call's headers.
func bearerOf(ctx context.Context) (string, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	given := md.Get("authorization")
	if len(given) == 0 {
		return "", fault.New(fault.Unauthenticated, fault.TokenMissing, "the call has no token")
	}
	const scheme = "bearer "
	if len(given) != 1 || len(given[0]) <= len(scheme) || !strings.EqualFold(given[0][:len(scheme)], scheme) {
		return "", fault.New(fault.Unauthenticated, fault.TokenMissing, "the call has no bearer token")
	}
	return given[0][len(scheme):], nil
}

// newSessionToken makes a token of 256 random bits.
func newSessionToken() (string, error) {
	raw := make([]byte, 32)
	if _, err := rand.Read(raw); err != nil {
		return "", fmt.Errorf("make a token: %w", err)
	}
	return sessionPrefix + base64.RawURLEncoding.EncodeToString(raw), nil
}

// rightsCache remembers sessions and revocations for a few seconds, so that not every call asks the store. Ages are
// measured by a clock that is never set.
type rightsCache struct {
	clock    func() time.Time
	mu       sync.Mutex
	purged   uint64 // counts purges: what was read before one is not put in after it
	sessions map[[32]byte]aged[store.Session]
	revoked  map[syncer.ID]aged[*store.Revocation]
	hubs     map[syncer.ID]aged[bool]
}

type aged[T any] struct {
	value T
	since time.Time
}

// purge forgets everything.
func (r *rightsCache) purge() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.purged++
	r.sessions, r.revoked, r.hubs = nil, nil, nil
}

// session returns the session with a token's hash.
func (r *rightsCache) session(ctx context.Context, from store.Sessions, token [32]byte) (store.Session, error) {
	return remember(r, func() *map[[32]byte]aged[store.Session] { return &r.sessions }, token, func() (store.Session, error) {
		return from.Session(ctx, token)
	})
}

// revocation returns the revocation of a device, nil if there is none.
func (r *rightsCache) revocation(ctx context.Context, from store.Sessions, device syncer.ID) (*store.Revocation, error) {
	return remember(r, func() *map[syncer.ID]aged[*store.Revocation] { return &r.revoked }, device, func() (*store.Revocation, error) {
		rev, is, err := from.Revoked(ctx, device)
		if err != nil || !is {
			return nil, err
		}
		return &rev, nil
	})
}

// remember returns what is known of a key, or asks. Errors are not remembered. The map is looked up under the lock.
func remember[K comparable, T any](r *rightsCache, known func() *map[K]aged[T], key K, ask func() (T, error)) (T, error) {
	now := r.clock() // before the lock, which code of others must not run under
	v, ok, purged := look(r, known, key)
	if ok && now.Sub(v.since) < rightsAge {
		return v.value, nil
	}
	value, err := ask()
	if err != nil {
		return value, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.purged == purged {
		m := known()
		if *m == nil || len(*m) >= maxKeys {
			*m = map[K]aged[T]{}
		}
		(*m)[key] = aged[T]{value, now}
	}
	return value, nil
}

// look returns what is known of a key, and how often all was forgotten until then.
func look[K comparable, T any](r *rightsCache, known func() *map[K]aged[T], key K) (v aged[T], ok bool, purged uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, ok = (*known())[key]
	return v, ok, r.purged
}

// challenges are given to whoever asks and kept by nobody: each carries its end and a code that only this process can
// make. Those that were answered are remembered, so that an answer is good once.
type challenges struct {
	key  [32]byte
	mu   sync.Mutex
	used map[[16]byte]bool
	ring [][16]byte // of used, the oldest at next once it is full
	next int
}

const (
	challengeTag  = "hearth/challenge/v1\x00"
	challengeSize = 8 + 16 + 32
	maxUsed       = 1 << 16
)

func newChallenges() (*challenges, error) {
	c := &challenges{used: map[[16]byte]bool{}}
	_, err := rand.Read(c.key[:])
	return c, err
}

// give makes a challenge for a device.
func (c *challenges) give(device syncer.ID, nowMS int64) (challenge []byte, expiresMS int64, err error) {
	expiresMS = nowMS + challengeTime.Milliseconds()
	challenge = binary.BigEndian.AppendUint64(make([]byte, 0, challengeSize), uint64(expiresMS))
	var unique [16]byte
	if _, err := rand.Read(unique[:]); err != nil {
		return nil, 0, fmt.Errorf("make a challenge: %w", err)
	}
	challenge = append(challenge, unique[:]...)
	return append(challenge, c.code(device, challenge)...), expiresMS, nil
}

func (c *challenges) code(device syncer.ID, open []byte) []byte {
	h := hmac.New(sha256.New, c.key[:])
	h.Write([]byte(challengeTag))
	h.Write(device[:])
	h.Write(open)
	return h.Sum(nil)
}

// check says whether a challenge is one of this process for that device and holds. A clock that was set back does not
// make it hold for longer.
func (c *challenges) check(device syncer.ID, challenge []byte, nowMS int64) error {
	if len(challenge) != challengeSize || !hmac.Equal(challenge[24:], c.code(device, challenge[:24])) {
		return fault.New(fault.Unauthenticated, fault.ChallengeEnded, "the challenge is not one this server gave to the device")
	}
	expires := int64(binary.BigEndian.Uint64(challenge))
	if nowMS >= expires || nowMS < expires-challengeTime.Milliseconds()-store.ClockSlackMS {
		return fault.New(fault.Unauthenticated, fault.ChallengeEnded, "the challenge has ended")
	}
	return nil
}

// spend takes a challenge that was checked; it fails the second time.
func (c *challenges) spend(challenge []byte) error {
	unique := [16]byte(challenge[8:24])
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.used[unique] {
		return fault.New(fault.Unauthenticated, fault.ChallengeEnded, "the challenge was answered before")
	}
	c.used[unique] = true
	if len(c.ring) < maxUsed {
		c.ring = append(c.ring, unique)
		return nil
	}
	delete(c.used, c.ring[c.next])
	c.ring[c.next] = unique
	c.next = (c.next + 1) % maxUsed
	return nil
}

// tries bounds how often calls from one address may fail: a few at once, then one in a while.
type tries struct {
	burst  int
	every  time.Duration
	clock  func() time.Time
	mu     sync.Mutex
	failed map[string]bucket
	swept  time.Time
}

type bucket struct {
	left  float64
	since time.Time
}

// maxAddresses bounds how many addresses are watched at a time.
const maxAddresses = 10_000

// take uses up one try of an address before it is made, so that many at once do not get past; false: there is none left.
func (t *tries) take(addr string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock()
	b := t.at(addr, now)
	if b.left < 1 {
		return false
	}
	t.makeRoom(now)
	if t.failed == nil {
		t.failed = map[string]bucket{}
	}
	t.failed[addr] = bucket{b.left - 1, now}
	return true
}

// makeRoom leaves out who has all tries again, but looks for them once a second only, and who comes first where there are
// none: with many addresses no call may take long. The lock is held.
func (t *tries) makeRoom(now time.Time) {
	if len(t.failed) < maxAddresses {
		return
	}
	sweep := now.Sub(t.swept) >= time.Second
	if sweep {
		t.swept = now
	}
	for other := range t.failed {
		switch {
		case sweep && t.at(other, now).left >= float64(t.burst), len(t.failed) >= maxAddresses:
			delete(t.failed, other)
		case !sweep:
			return
		}
	}
}

// at is what an address has left now. The lock is held.
func (t *tries) at(addr string, now time.Time) bucket {
	b, ok := t.failed[addr]
	if !ok {
		return bucket{float64(t.burst), now}
	}
	left := b.left + float64(now.Sub(b.since))/float64(t.every)
	return bucket{min(left, float64(t.burst)), now}
}

// succeeded gives back the try.
func (t *tries) succeeded(addr string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if b := t.at(addr, t.clock()); b.left+1 < float64(t.burst) {
		t.failed[addr] = bucket{b.left + 1, b.since}
	} else {
		delete(t.failed, addr)
	}
}

// addressOf is where a call comes from: an address, or the network of one for IPv6, where everybody has many. Behind a
// proxy it is the proxy's: what a header says anybody can write.
func addressOf(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok || p.Addr == nil {
		return ""
	}
	at, err := netip.ParseAddrPort(p.Addr.String())
	if err != nil {
		return p.Addr.String()
	}
	addr := at.Addr().Unmap().WithZone("")
	if addr.Is6() {
		if network, err := addr.Prefix(64); err == nil {
			return network.String()
		}
	}
	return addr.String()
}

// callKey is the key under which a context has the call that it is of.
type callKey struct{}

func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// isTablet says whether a call comes with a tablet's session.
func isTablet(ctx context.Context) bool {
	c := callOf(ctx)
	return c != nil && c.tablet != nil
}
