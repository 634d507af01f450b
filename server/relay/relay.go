// Package relay makes a server a hub: the loop that forwards what tablets have handed over to headquarters, and brings
// down what headquarters says. It is for cmd/hearth, which gives it the hub's store and a connection.
//
// Lanes go up as they came, each run of entries under the signature of its own tablet; nothing is marshalled again. What
// headquarters holds already is asked for by Offer and not sent. Whatever is cut goes on where headquarters stands. The
// package does not take in tablets (package server does) and decides nothing about a record.
package relay

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// Blobs are the attachments that the hub keeps.
type Blobs interface {
	// Has says, without reading it, whether an attachment is here whole.
	Has(ref *servicev1.BlobRef) bool
	// Open returns the bytes of a whole attachment and how many there are.
	Open(sha256 []byte) (io.ReadSeekCloser, int64, error)
}

// Options say how a hub reaches its headquarters.
type Options struct {
	// Store is the hub's own.
	Store Keeper
	// Blobs keeps attachments; nil: there are none.
	Blobs Blobs
	// Conn leads to headquarters and carries no token.
	Conn grpc.ClientConnInterface
	// Key is the hub's.
	Key ed25519.PrivateKey
	// Upstream is headquarters' address, as people give it.
	Upstream string
	// Now is the clock, for what people read and for how often headquarters is asked; nil: time.Now.
	Now func() time.Time
	// Log gets a line when headquarters is lost and found; nil: none.
	Log *slog.Logger
	// Every is how often headquarters is asked when nothing is to be forwarded; 0: 30 s.
	Every time.Duration
	// MinBackoff and MaxBackoff bound the wait after failures; 0: 0.5 s and 2 minutes.
	MinBackoff, MaxBackoff time.Duration
	// CallTimeout is the time a call may take beside what its bytes need; 0: 30 s.
	CallTimeout time.Duration
	// Attempts is how often in a row a call may fail before headquarters counts as away; 0: 4.
	Attempts int
	// MostBucket bounds a bucket that is kept for tablets, in bytes; 0: 32 MB. A larger one comes from headquarters alone.
	MostBucket int
}

// Keeper is what a relay needs of the hub's store.
type Keeper interface {
	store.Hubs
	// ListDevices returns all devices by name.
	ListDevices(ctx context.Context) ([]*servicev1.DeviceStatus, error)
}

// Relay forwards one hub's log.
type Relay struct {
	opts   Options
	store  store.Hubs
	id     syncer.ID
	conn   *sessionConn
	sync   servicev1.SyncServiceClient
	hub    servicev1.HubServiceClient
	direct servicev1.DeviceServiceClient
	kick   chan struct{}

	// busy is held by Once.
	busy sync.Mutex
	// talk is held by Refresh and by Once while it reports, so that one list of devices is written at a time.
	talk sync.Mutex

	lastLane []byte // of the last report; used under talk
	told     int64  // up to when headquarters was told which tablets were here, by this clock; used under talk

	// Used under busy.
	budget   int // bytes of records to send next
	failures int // in a row
	retried  time.Time
	buckets  time.Time // when they were asked about

	mu       sync.Mutex
	state    *servicev1.HubState // replaced, never changed
	tried    time.Time
	reported time.Time
	wrong    error // of the last try
	retry    bool  // what headquarters did not take is offered again at once
}

// Sizes of what is sent at once, in bytes of records. As a tablet does, the hub begins small, doubles what was answered
// quickly and halves what failed.
const (
	firstBudget = 32 << 10
	leastBudget = 1 << 10
	mostBudget  = 512 << 10
	quick       = 2 * time.Second
)

// Open reads what the hub remembers. A folder that is not a hub's has no state: see Enrol.
func Open(ctx context.Context, opts Options) (*Relay, error) {
	switch {
	case opts.Store == nil || opts.Conn == nil:
		return nil, errors.New("open a relay: no store or no connection is given")
	case len(opts.Key) != ed25519.PrivateKeySize:
		return nil, errors.New("open a relay: no key is given")
	}
	r := &Relay{opts: opts.withDefaults(), store: opts.Store, kick: make(chan struct{}, 1), budget: firstBudget, state: &servicev1.HubState{}}
	r.id = syncer.HubID(opts.Key.Public().(ed25519.PublicKey))
	r.conn = &sessionConn{ClientConnInterface: opts.Conn, id: r.id, key: opts.Key, server: func() ed25519.PublicKey { return r.State().GetServerKey() }}
	r.sync, r.hub = servicev1.NewSyncServiceClient(r.conn), servicev1.NewHubServiceClient(r.conn)
	r.direct = servicev1.NewDeviceServiceClient(opts.Conn)
	if _, err := store.GetMessage(ctx, r.store, store.ShelfHub, nil, r.state); err != nil {
		return nil, err
	}
	return r, nil
}

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	for _, d := range []struct {
		value *time.Duration
		or    time.Duration
	}{{&o.Every, 30 * time.Second}, {&o.MinBackoff, 500 * time.Millisecond}, {&o.MaxBackoff, 2 * time.Minute}, {&o.CallTimeout, 30 * time.Second}} {
		if *d.value <= 0 {
			*d.value = d.or
		}
	}
	if o.MostBucket <= 0 {
		o.MostBucket = 32 << 20
	}
	if o.Attempts <= 0 {
		o.Attempts = 4
	}
	return o
}

// Enrolled says whether the hub has been enrolled at a headquarters.
func (r *Relay) Enrolled() bool { return r.State().GetCertificate() != nil }

// State is what the hub knows of headquarters. It is not to be changed.
func (r *Relay) State() *servicev1.HubState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// change makes a new state durable, with items that belong to it, and then valid.
func (r *Relay) change(ctx context.Context, f func(*servicev1.HubState), items ...store.Item) error {
	next := proto.CloneOf(r.State())
	f(next)
	it, err := store.MessageItem(store.ShelfHub, nil, next)
	if err != nil {
		return err
	}
	if err := r.store.Put(ctx, append(items, it)...); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state = next
	return nil
}

// Kick says that something came in that is to be forwarded.
func (r *Relay) Kick() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// Run forwards until ctx ends. While headquarters is away it waits longer and longer, up to MaxBackoff, with jitter, so
// that the hubs of a study do not all come back at the same moment.
func (r *Relay) Run(ctx context.Context) error {
	failures := 0
	for ctx.Err() == nil {
		err := r.Once(ctx)
		wait := r.opts.Every
		kick := r.kick
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			if failures > 0 {
				r.opts.Log.InfoContext(ctx, "headquarters is reached again", "upstream", r.opts.Upstream)
			}
			failures = 0
		default:
			if failures++; failures == 1 {
				r.opts.Log.WarnContext(ctx, "headquarters does not take what this hub holds; it is kept and tried again", "upstream", r.opts.Upstream, "reason", string(fault.ReasonOf(err)), "error", err.Error())
			}
			kick = nil // what comes in meanwhile waits too
			if wait = r.opts.MinBackoff << min(failures-1, 20); wait > r.opts.MaxBackoff || wait <= 0 {
				wait = r.opts.MaxBackoff
			}
		}
		if pause(ctx, wait, kick) != nil {
			return nil
		}
	}
	return nil
}

// pause waits for about as long, or until it is kicked.
func pause(ctx context.Context, wait time.Duration, kick <-chan struct{}) error {
	timer := time.NewTimer(wait/2 + rand.N(wait/2+1))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-kick:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// Once does what there is to do: it reports, mirrors what headquarters has written, forwards lanes, then attachments, and
// mirrors buckets. It may be cut at any moment and called again.
func (r *Relay) Once(ctx context.Context) error {
	r.busy.Lock()
	defer r.busy.Unlock()
	if !r.Enrolled() {
		return fault.New(fault.Conflict, fault.NotAHub, "this hub has not been enrolled at a headquarters")
	}
	r.failures = 0
	err := r.once(ctx)
	if ctx.Err() == nil {
		r.note(err)
	}
	return err
}

func (r *Relay) once(ctx context.Context) error {
	if err := r.greet(ctx); err != nil {
		return err
	}
	if r.State().GetNotice() == nil {
		if err := r.mirror(ctx); err != nil {
			return err
		}
	}
	up := r.sendUp(ctx)
	if r.State().GetNotice() != nil || fault.KindOf(up) == fault.Unavailable {
		return up
	}
	return errors.Join(up, r.mirrorBuckets(ctx)) // what is wrong with the one does not hold the other up
}

// sendUp forwards lanes, then attachments.
func (r *Relay) sendUp(ctx context.Context) error {
	before := r.State().GetForwarded()
	if err := r.forward(ctx); err != nil {
		return err
	}
	sent, err := r.forwardBlobs(ctx)
	if err != nil {
		return err
	}
	if sent || r.State().GetForwarded() != before {
		return r.report(ctx) // a supervisor at headquarters would go on reading what was here as missing
	}
	return nil
}

// note remembers how the last try went.
func (r *Relay) note(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tried, r.wrong = r.opts.Now(), err
}
