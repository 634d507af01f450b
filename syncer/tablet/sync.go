package tablet

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/failpoint"
	"github.com/hearth-survey/hearth/syncer/plant"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Sizes of batches, in bytes of records. A batch starts small, doubles when it was answered quickly and halves when
// it failed: on a bad link small batches arrive where large ones do not.
const (
	firstBatch = 8 << 10
	// packedFirst is the first where batches travel packed, in a fifth of that.
	packedFirst = 32 << 10
	leastBatch  = 1 << 10
	mostBatch   = 256 << 10
	quick       = 2 * time.Second
)

// maxForks bounds how many epochs one Sync opens. One is enough unless copies of the store sync at the same moment.
const maxForks = 4

// SyncOptions say how to sync. The zero value is for the field.
type SyncOptions struct {
	// Progress, if not nil, is told how many records of the lane headquarters has signed for in this Sync, of how many.
	Progress func(sent, total int)
	// BlobProgress, if not nil, is told how many bytes of attachments were sent in this Sync, of how many.
	BlobProgress func(sent, total int64)
	// MaxBatchBytes bounds a batch; 0: 256 KB. The server's own limit holds in any case.
	MaxBatchBytes int
	// Compress sends batches as zstd or packed, where that is smaller. Packed ones are the smallest, and cost a server
	// eight times the work of zstd: they are for links where bytes are dear.
	Compress bool
	// Near is how quickly a server answers the Hello of a sync whose batches go as zstd at most; 0: 300 ms, which radio in
	// the field does not reach; negative: batches are packed for every server that reads them.
	Near time.Duration
	// Attempts is how often in a row a call may fail before Sync gives up; 0: 10.
	Attempts int
	// MinBackoff and MaxBackoff bound the wait between attempts; 0: 0.5 s and 15 s.
	MinBackoff, MaxBackoff time.Duration
	// CallTimeout is the time a call may take beside what its bytes need, or in which no byte moves, where Moved counts them;
	// 0: 30 s.
	CallTimeout time.Duration
	// Moved, if not nil, counts the bytes of the connection, both ways.
	Moved func() int64
	// Window is how many batches may be on their way, over a stream; 0 and 1: one, each a call of its own.
	Window int
	// Address is where the server is, if the tablet is to remember it: it then comes back without the round trips of a new
	// session, and with a Window sends its first batches with its Hello.
	Address string
	// Now measures how long batches take; nil: the store's clock.
	Now func() time.Time
	// Session opens a session as the enrolled tablet and has every call carry it; for a connection that carries no token
	// of its own.
	Session bool
	// Headquarters says that a person knows headquarters to be at Address, where a hub was before.
	Headquarters bool
}

// EntryReport is what headquarters said of one record that was not plainly stored.
type EntryReport struct {
	Seq     uint64
	Subject string
	Reason  fault.Reason
	Message string
}

// SyncReport is what a Sync did, as far as it came.
type SyncReport struct {
	// Sent counts the records that headquarters stored and had not held, Duplicates those it held already.
	Sent, Duplicates int
	// Quarantined records are kept at headquarters until a person decides.
	Quarantined []EntryReport
	// Refused records are kept here; headquarters could not take their bytes.
	Refused []EntryReport
	// Damaged records no longer have their digest here; headquarters was told so.
	Damaged []EntryReport
	// Pulled counts the new records of headquarters.
	Pulled int
	// Rows counts what has changed in the buckets.
	Rows map[servicev1.BucketKind]int
	// BytesUp and BytesDown count the messages, without what gRPC and TLS add.
	BytesUp, BytesDown int64
	// Batches counts the batches answered, Retries the calls that were tried again, RoundTrips how often an answer was waited
	// for.
	Batches, Retries, RoundTrips int
	// NewEpoch is true where the store found itself restored or cloned and went on in a new lane.
	NewEpoch bool
	// Pending counts the records headquarters has still not signed for.
	Pending int
	// Notice is set where headquarters gives this tablet nothing but that notice: its rights were taken away.
	Notice *EntryReport
	// Blobs is what became of attachments.
	Blobs BlobReport
	// Hub names the hub that was spoken to; empty: it was headquarters. What was sent to a hub is in its custody and stays
	// pending here until headquarters has signed for it.
	Hub string
	// HubAlone is how long ago headquarters answered the hub.
	HubAlone time.Duration
	// HandedDown counts the receipts of headquarters that the hub brought.
	HandedDown int
}

// errFork is that a lane's other end holds another branch of it.
var errFork = errors.New("the lane has another branch at headquarters")

// session is one Sync.
type session struct {
	s      *Store
	client servicev1.SyncServiceClient
	conn   *sessionConn // nil: the connection has a token of its own
	opts   SyncOptions
	report SyncReport

	pipe    *pipe       // nil: there is no stream
	out     []*outgoing // batches on their way, the oldest first
	early   bool        // batches went before the answer to Hello once
	asked   bool        // something was sent since the last wait for an answer
	bidding bool        // a farewell went behind the batches
	saidAll bool        // it was answered

	server ed25519.PublicKey
	hub    *hub // nil: the server is headquarters
	// newServerEpoch is headquarters' epoch where this store knows another: see restored.
	newServerEpoch []byte
	limits         syncer.Limits
	packing        uint32   // the newest packed form that the server reads; 0: none
	dictionaries   []uint32 // that it has
	plain          bool     // it refused a packed batch
	again          bool     // it may hold what is sent next, so that its head is not known
	batch          int      // bytes of records to send next
	failures       int      // in a row
	forks          int
	refusals       map[uint64]int // of the current lane, by seq
	counted        map[uint64]bool
	down           down
}

// Sync brings everything headquarters has not signed for there, and its records here. It may be cut at any moment and
// called again: what was answered is durable on both sides, a second Sync sends nothing. Recording may go on meanwhile.
//
// It fails with fault.ServerChanged, having sent no record, if the server is not the one this tablet knows; with
// fault.Unreachable if the connection does not last; and with what the server refused the tablet for. The report says
// how far it came in any case.
func (s *Store) Sync(ctx context.Context, conn grpc.ClientConnInterface, opts SyncOptions) (SyncReport, error) {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	x := &session{s: s, opts: opts.withDefaults(s.now), refusals: map[uint64]int{}, counted: map[uint64]bool{}}
	if opts.Session {
		x.conn = s.withSession(conn, opts.Address)
		conn = x.conn
	}
	x.client = servicev1.NewSyncServiceClient(conn)
	x.batch = min(firstBatch, x.opts.MaxBatchBytes)
	var err error
	if opts.Headquarters {
		err = s.forgetHub(ctx, opts.Address)
	}
	if err == nil {
		err = x.run(ctx)
	}
	x.closePipe()
	if x.conn != nil {
		x.report.RoundTrips += x.conn.opening
	}
	// How much is left is worth knowing even if ctx has ended.
	var countErr error
	x.report.Pending, countErr = s.pending(context.WithoutCancel(ctx))
	if countErr == nil {
		x.report.Blobs.Pending, x.report.Blobs.PendingBytes, countErr = pendingBlobs(context.WithoutCancel(ctx), s.db)
	}
	if err == nil {
		err = countErr
	}
	return x.report, dbFault(err, "sync %s", s.name)
}

func (o SyncOptions) withDefaults(now func() time.Time) SyncOptions {
	if o.MaxBatchBytes <= 0 {
		o.MaxBatchBytes = mostBatch
	}
	if o.Attempts <= 0 {
		o.Attempts = 10
	}
	if o.MinBackoff <= 0 {
		o.MinBackoff = 500 * time.Millisecond
	}
	if o.MaxBackoff <= 0 {
		o.MaxBackoff = 15 * time.Second
	}
	if o.Near == 0 {
		o.Near = 300 * time.Millisecond
	}
	if o.CallTimeout <= 0 {
		o.CallTimeout = 30 * time.Second
	}
	if o.Now == nil {
		o.Now = now
	}
	return o
}

func (s *Store) pending(ctx context.Context) (int, error) {
	var n int
	err := s.db.QueryRowContext(ctx, "SELECT count(*) FROM record AS rec WHERE NOT "+listedSQL).Scan(&n)
	return n, err
}

func (x *session) run(ctx context.Context) error {
	for greeted := 1; ; greeted++ {
		held, err := x.hello(ctx)
		if err != nil {
			return err
		}
		err = x.push(ctx, held)
		if errors.Is(err, errCut) {
			if plant.In(plant.WindowForgotten) {
				break
			}
			continue
		}
		if errors.Is(err, errFork) {
			if err = x.leaveLane(ctx); err == nil {
				continue
			}
		}
		if r := fault.ReasonOf(err); greeted == 1 && (r == fault.DeviceUnknown || r == fault.BadChain) {
			continue // the server has changed since Hello
		}
		if err != nil {
			return err
		}
		break
	}
	x.closePipe()
	if err := x.fetch(ctx); err != nil {
		return err
	}
	if err := x.sendReleases(ctx); err != nil {
		return err
	}
	if x.report.Sent+x.report.Duplicates > 0 && !x.saidAll {
		x.farewell(ctx)
	}
	if _, err := x.s.db.ExecContext(ctx, "UPDATE meta SET last_sync_ms = ?", x.s.now().UnixMilli()); err != nil {
		return err
	}
	return x.sendBlobs(ctx)
}

// farewellTime is how long a tablet that is done waits to say so.
const farewellTime = 10 * time.Second

// farewell tells the server what is left now: the first Hello told it everything that was still to come, and a
// supervisor would go on reading it as missing. All is signed for already, so it is tried once and not waited for.
func (x *session) farewell(ctx context.Context) {
	req, err := x.s.helloRequest(ctx)
	if err != nil {
		return
	}
	req.DownSum = nil // what is new comes with the next Sync
	failpoint.Hit("tablet.before-farewell")
	ctx, cancel := context.WithTimeout(ctx, farewellTime)
	defer cancel()
	x.report.BytesUp += int64(proto.Size(req))
	x.report.RoundTrips++
	if resp, err := x.client.Hello(ctx, req); err == nil {
		x.report.BytesDown += int64(proto.Size(resp))
	}
}

// hello introduces the tablet and returns how far the server has got with its lanes.
func (x *session) hello(ctx context.Context) (map[syncer.ID]syncer.Head, error) {
	req, err := x.s.helloRequest(ctx)
	if err != nil {
		return nil, err
	}
	held, err := x.sayHello(ctx, req)
	if err != nil || x.hub == nil {
		return held, err
	}
	if req.Receipts, err = x.s.receiptsBeyond(ctx, req.GetLanes(), held); err != nil || len(req.GetReceipts()) == 0 {
		return held, err
	}
	return x.sayHello(ctx, req)
}

func (x *session) sayHello(ctx context.Context, req *servicev1.HelloRequest) (map[syncer.ID]syncer.Head, error) {
	began := x.opts.Now()
	resp, err := x.greet(ctx, req)
	if err != nil {
		return nil, err
	}
	near := x.opts.Now().Sub(began) < x.opts.Near
	if resp.GetProtocol() != syncer.Protocol {
		return nil, fault.New(fault.Invalid, fault.ProtocolTooOld, "the server speaks protocol %d, this tablet %d", resp.GetProtocol(), syncer.Protocol)
	}
	if err := x.pin(ctx, resp); err != nil {
		return nil, err
	}
	if err := x.meetHub(resp); err != nil {
		return nil, err
	}
	failpoint.Hit("tablet.after-hello")
	if err := x.s.keepCouponNumber(ctx, x.s.db, req.GetCouponEpoch(), resp.CouponNumber); err != nil {
		return nil, err
	}
	x.down.answer, x.down.told = resp, req.GetDownSum()
	x.limits = limitsOf(resp.GetLimits())
	x.packing, x.dictionaries = resp.GetPacking(), resp.GetDictionaries()
	if near {
		x.packing = 0
	}
	x.grow()
	if err := x.s.meet(ctx, x.opts.Address, resp, x.packing); err != nil {
		return nil, err
	}
	held := make(map[syncer.ID]syncer.Head)
	for _, m := range resp.GetLanes() {
		lane, head, err := syncer.ParseHead(m)
		if err != nil {
			return nil, err
		}
		if lane.Device == x.s.device {
			held[lane.Epoch] = head
		}
	}
	return held, nil
}

// greet says Hello until it is answered: over a stream where batches are to follow in a window, if the server has streams.
func (x *session) greet(ctx context.Context, req *servicev1.HelloRequest) (*servicev1.HelloResponse, error) {
	for x.opts.Window > 1 {
		resp, err := x.openPipe(ctx, req)
		if err == nil {
			return resp, nil // the failures go on counting: a server that answers this alone is not tried for ever
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if status.Code(err) == codes.Unimplemented {
			x.opts.Window = 1
			break
		}
		if f := new(fault.Error); !errors.As(err, &f) {
			err = wireFault(err, "say hello")
		}
		if fault.ReasonOf(err) == fault.SessionEnded && x.failures == 0 {
			x.failures++
			continue // another one is opened
		}
		switch fault.ReasonOf(err) {
		case fault.BadBatch, fault.BadChain, fault.BadSignature, fault.BatchTooLarge: // of what went with it, or it knows no Hello here
			if x.opts.Window = 1; x.early {
				x.plain = true
			}
			continue
		}
		if err := x.pause(ctx, err); err != nil {
			return nil, err
		}
	}
	var resp *servicev1.HelloResponse
	err := x.call(ctx, "say hello", proto.Size(req), func(ctx context.Context) (err error) {
		x.report.BytesUp += int64(proto.Size(req))
		resp, err = x.client.Hello(ctx, req)
		return err
	})
	x.report.BytesDown += int64(proto.Size(resp))
	return resp, err
}

// limitsOf are the server's limits, and ours where it does not say.
func limitsOf(m *servicev1.Limits) syncer.Limits {
	l := syncer.DefaultLimits
	if n := m.GetMaxBatchRecords(); n > 0 {
		l.Records = int(min(n, 100_000))
	}
	if n := m.GetMaxBatchBytes(); n > 0 {
		l.Bytes = int(min(n, 1<<30))
	}
	if n := m.GetMaxRecordBytes(); n > 0 {
		l.RecordBytes = int(min(n, 1<<30))
	}
	return l
}

// pin keeps the server's key at the first Hello and believes no other afterwards.
func (x *session) pin(ctx context.Context, resp *servicev1.HelloResponse) error {
	key := resp.GetServerKey()
	if len(key) != ed25519.PublicKeySize {
		return fault.New(fault.Invalid, fault.BadSignature, "the server's key has %d bytes, want %d", len(key), ed25519.PublicKeySize)
	}
	return inTx(ctx, x.s.db, func(tx *sql.Tx) error {
		var known, epoch []byte
		if err := tx.QueryRowContext(ctx, "SELECT server_key, server_epoch FROM meta").Scan(&known, &epoch); err != nil {
			return err
		}
		if known != nil && !bytes.Equal(known, key) {
			return fault.New(fault.Conflict, fault.ServerChanged, "the server has the key %x, this tablet knows one with %x; no record was sent", key[:4], known[:4])
		}
		x.server, x.newServerEpoch = key, nil
		switch told := epochOrNull(resp.GetServerEpoch()); {
		case resp.GetHub() != nil: // it may know an older one
			if _, err := syncer.VerifyHubCertificate(resp.GetHub(), key); err != nil {
				return err
			}
		case epoch != nil && told != nil && !bytes.Equal(epoch, resp.GetServerEpoch()):
			x.newServerEpoch = resp.GetServerEpoch()
		}
		_, err := tx.ExecContext(ctx, "UPDATE meta SET server_key = ?, server_epoch = coalesce(server_epoch, ?)", key, epochOrNull(resp.GetServerEpoch()))
		return err
	})
}

func epochOrNull(b []byte) any {
	if len(b) != len(syncer.ID{}) {
		return nil
	}
	return b
}

func (s *Store) helloRequest(ctx context.Context) (*servicev1.HelloRequest, error) {
	pending, err := s.pending(ctx)
	if err != nil {
		return nil, err
	}
	req := &servicev1.HelloRequest{
		Protocol: proto.Uint32(syncer.Protocol), Device: bytes.Clone(s.device[:]), DeviceName: proto.String(s.name),
		Enumerator: proto.String(s.enumerator), PublicKey: bytes.Clone(s.key.Public().(ed25519.PublicKey)),
		WallTimeMs: proto.Int64(s.now().UnixMilli()), Pending: proto.Uint64(uint64(pending)),
	}
	epochs, err := s.epochs(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range epochs {
		head, err := laneHead(ctx, s.db, e)
		if err != nil {
			return nil, err
		}
		signed, err := s.receipted(ctx, e)
		if err != nil {
			return nil, err
		}
		m := head.Proto(syncer.LaneID{Device: s.device, Epoch: e})
		m.Receipted = proto.Uint64(signed)
		req.Lanes = append(req.Lanes, m)
	}
	if err := s.askCouponNumber(ctx, req); err != nil {
		return nil, err
	}
	return req, s.addDown(ctx, req)
}

// maxLanes is how many lanes a Hello names: the current one and the newest of those before.
const maxLanes = 64

// epochs lists the lanes of the store, the current one first, then the newest.
func (s *Store) epochs(ctx context.Context) ([]syncer.ID, error) {
	current, err := currentEpoch(ctx, s.db)
	if err != nil {
		return nil, err
	}
	rows, err := s.db.QueryContext(ctx, "SELECT epoch FROM lane_entry WHERE epoch <> ? GROUP BY epoch ORDER BY max(n) DESC LIMIT ?", current[:], maxLanes-1)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := []syncer.ID{current}
	for rows.Next() {
		var raw []byte
		if err := rows.Scan(&raw); err != nil {
			return nil, err
		}
		id, err := syncer.ParseID(raw)
		if err != nil {
			return nil, err
		}
		all = append(all, id)
	}
	return all, rows.Err()
}

// leaveLane goes on in a new lane where headquarters contradicts the one written to; not for ever.
func (x *session) leaveLane(ctx context.Context) error {
	if x.forks++; x.forks > maxForks {
		return fault.New(fault.Conflict, fault.LaneFork, "headquarters contradicted %d new lanes one after the other", maxForks)
	}
	if err := x.s.newEpoch(ctx); err != nil {
		return err
	}
	failpoint.Hit("tablet.after-new-epoch")
	x.report.NewEpoch = true
	return nil
}

// newEpoch opens a lane of its own for a store that shares its old one with a copy, and lists there, in the order of
// writing, every record headquarters has not signed for. The records stay the same, so nothing is doubled.
func (s *Store) newEpoch(ctx context.Context) error {
	return inTx(ctx, s.db, func(tx *sql.Tx) error {
		var epoch syncer.ID
		if _, err := io.ReadFull(s.rand, epoch[:]); err != nil {
			return fault.New(fault.Internal, "", "open a new lane: read randomness: %w", err)
		}
		if _, err := tx.ExecContext(ctx, "UPDATE meta SET epoch = ?", epoch[:]); err != nil {
			return err
		}
		left, err := digests(ctx, tx, "SELECT digest FROM record AS rec WHERE NOT "+coveredSQL+" ORDER BY n")
		if err != nil {
			return err
		}
		for _, d := range left {
			failpoint.Hit("tablet.in-new-epoch")
			if err := s.list(ctx, tx, d); err != nil {
				return fmt.Errorf("open a new lane: %w", err)
			}
		}
		return nil
	})
}

func digests(ctx context.Context, q querier, query string, args ...any) ([]syncer.Digest, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []syncer.Digest
	for rows.Next() {
		var raw []byte
		if err := rows.Scan(&raw); err != nil {
			return nil, err
		}
		d, err := syncer.ParseDigest(raw)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, rows.Err()
}
