// Package syncertest is a field team in memory: tablets with real stores, links over the real wire that lose requests
// and answers, a model of headquarters, and the stories and the state machine that every server must survive.
//
// It is for tests of the tablet's store and of servers: FieldTeam, Scenarios and Cuts take any. The model keeps
// everything in maps and is simple enough to be believed; it is no server: it has no store, no projections and no clock.
package syncertest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// Server is a model of headquarters. It may be used from many goroutines.
type Server struct {
	servicev1.UnimplementedSyncServiceServer

	mu      sync.Mutex
	key     ed25519.PrivateKey
	epoch   syncer.ID
	limits  syncer.Limits
	now     int64
	devices map[syncer.ID]ed25519.PublicKey
	lanes   map[syncer.LaneID]*branch
	records map[syncer.Digest][]byte
	ids     map[syncer.ID]syncer.Digest
	damaged map[syncer.Digest]bool
	written [][]byte // headquarters' own records, in order
	calls   map[string]int
	forks   int
	refuse  func(*servicev1.Record) fault.Reason

	blobs       map[syncer.BlobID]*modelBlob
	refuseBlobs error
	chunkOrder  []syncer.BlobID
	received    int64
}

// branch is the main branch of a lane and what is kept beyond a gap.
type branch struct {
	syncer.Lane
	chains []syncer.Chain // chains[seq-1]
}

// NewServer makes a model whose key and epoch are derived from a name.
func NewServer(name string) *Server {
	sum := sha256.Sum256([]byte("syncertest server " + name))
	return &Server{
		key: ed25519.NewKeyFromSeed(sum[:]), epoch: syncer.ID(sum[:16]), limits: syncer.DefaultLimits,
		devices: map[syncer.ID]ed25519.PublicKey{}, lanes: map[syncer.LaneID]*branch{}, records: map[syncer.Digest][]byte{},
		ids: map[syncer.ID]syncer.Digest{}, damaged: map[syncer.Digest]bool{}, calls: map[string]int{},
	}
}

// SetLimits changes what the server takes in one batch.
func (s *Server) SetLimits(l syncer.Limits) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits = l
}

// Quarantine makes the server keep records for which reason gives one, without using them.
func (s *Server) Quarantine(reason func(*servicev1.Record) fault.Reason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = reason
}

// Write adds a record of headquarters, which tablets pull.
func (s *Server) Write(raw []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written = append(s.written, bytes.Clone(raw))
}

// Restore makes the server forget everything but what had arrived when Backup was called, under a new epoch.
func (s *Server) Restore(backup *Server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	backup.mu.Lock()
	defer backup.mu.Unlock()
	s.lanes, s.records, s.ids, s.damaged, s.blobs = backup.lanes, backup.records, backup.ids, backup.damaged, backup.blobs
	sum := sha256.Sum256(s.epoch[:])
	s.epoch = syncer.ID(sum[:16])
}

// Backup copies what has arrived.
func (s *Server) Backup() *Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := &Server{lanes: map[syncer.LaneID]*branch{}, records: maps.Clone(s.records), ids: maps.Clone(s.ids), damaged: maps.Clone(s.damaged),
		blobs: copyBlobs(s.blobs)}
	for id, l := range s.lanes {
		c := *l
		c.Detached, c.chains = slices.Clone(l.Detached), slices.Clone(l.chains)
		b.lanes[id] = &c
	}
	return b
}

// Records returns the bytes of every record held, by digest.
func (s *Server) Records() map[syncer.Digest][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.records)
}

// Calls returns how often a method was called: "Hello", "PushBatch", "Offer", "Pull".
func (s *Server) Calls(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[method]
}

// Forks returns how many batches contradicted what was held.
func (s *Server) Forks() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.forks
}

// Key is the public key that signs receipts.
func (s *Server) Key() ed25519.PublicKey { return s.key.Public().(ed25519.PublicKey) }

// Hello implements servicev1.SyncServiceServer.
func (s *Server) Hello(_ context.Context, req *servicev1.HelloRequest) (*servicev1.HelloResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls["Hello"]++
	device, err := syncer.ParseID(req.GetDevice())
	if err != nil {
		return nil, wire(fault.New(fault.Invalid, fault.BadRequest, "hello: %w", err))
	}
	if known, ok := s.devices[device]; ok && !known.Equal(ed25519.PublicKey(req.GetPublicKey())) {
		return nil, wire(fault.New(fault.Conflict, fault.DeviceKeyChanged, "device %v comes with another key", device))
	}
	s.devices[device] = req.GetPublicKey()
	resp := &servicev1.HelloResponse{
		Protocol: proto.Uint32(syncer.Protocol), ServerEpoch: bytes.Clone(s.epoch[:]), ServerKey: s.Key(), WallTimeMs: proto.Int64(s.now),
		Limits: &servicev1.Limits{
			MaxBatchRecords: proto.Uint32(uint32(s.limits.Records)), MaxBatchBytes: proto.Uint64(uint64(s.limits.Bytes)),
			MaxRecordBytes: proto.Uint64(uint64(s.limits.RecordBytes)),
		},
		Packing: proto.Uint32(syncer.PackingVersion), Dictionaries: syncer.Dictionaries(),
	}
	for _, m := range req.GetLanes() {
		lane, err := syncer.ParseLane(m.GetLane())
		if err != nil {
			return nil, wire(err)
		}
		if l, ok := s.lanes[lane]; ok {
			resp.Lanes = append(resp.Lanes, l.Head.Proto(lane))
		}
	}
	return resp, nil
}

// Push implements servicev1.SyncServiceServer.
func (s *Server) Push(stream grpc.BidiStreamingServer[servicev1.PushRequest, servicev1.PushResponse]) error {
	ctx := stream.Context()
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		resp := &servicev1.PushResponse{}
		if req.GetHello() != nil {
			resp.Hello, err = s.Hello(ctx, req.GetHello())
		} else {
			var one *servicev1.PushBatchResponse
			one, err = s.PushBatch(ctx, &servicev1.PushBatchRequest{Batch: req.GetBatch()})
			resp.Ack = one.GetAck()
		}
		if err != nil {
			return err
		}
		if err := stream.Send(resp); err != nil {
			return err
		}
	}
}

// PushBatch implements servicev1.SyncServiceServer.
func (s *Server) PushBatch(_ context.Context, req *servicev1.PushBatchRequest) (*servicev1.PushBatchResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls["PushBatch"]++
	device, err := syncer.ParseID(req.GetBatch().GetLane().GetDevice())
	if err != nil {
		return nil, wire(fault.New(fault.Invalid, fault.BadBatch, "push: %w", err))
	}
	key, ok := s.devices[device]
	if !ok {
		return nil, wire(fault.New(fault.NotFound, fault.DeviceUnknown, "device %v has not said hello", device))
	}
	if lane, err := syncer.ParseLane(req.GetBatch().GetLane()); err == nil && syncer.NeedsHead(req.GetBatch()) {
		if l, ok := s.lanes[lane]; ok && l.Head.Seq == req.GetBatch().GetFirstSeq()-1 {
			req.GetBatch().PrevChain = bytes.Clone(l.Head.Chain[:])
		}
	}
	checked, err := syncer.Check(req.GetBatch(), key, s.limits)
	if err != nil {
		return nil, wire(err)
	}
	ack, err := s.take(checked)
	if err != nil {
		return nil, wire(err)
	}
	return &servicev1.PushBatchResponse{Ack: ack}, nil
}

// take is what a server does with a batch that verifies.
func (s *Server) take(c *syncer.Checked) (*servicev1.BatchAck, error) {
	ack := &servicev1.BatchAck{}
	for _, e := range c.Entries {
		if r := s.keep(e); r != nil {
			ack.Results = append(ack.Results, r)
		}
	}
	l, ok := s.lanes[c.Lane]
	if !ok {
		l = &branch{Lane: syncer.Lane{ID: c.Lane}}
		s.lanes[c.Lane] = l
	}
	fork := false
	for _, run := range c.Runs {
		forked, err := l.admit(run)
		if err != nil {
			return nil, err
		}
		fork = fork || forked
	}
	if fork {
		s.forks++
		ack.Fork = proto.Bool(true)
	}
	s.now++
	ack.Receipt, ack.Gaps = syncer.NewReceipt(s.key, c.Lane, l.Head, s.now), l.Gaps()
	return ack, nil
}

// admit takes a run into the lane and remembers the chain hashes the head passes.
func (l *branch) admit(run syncer.Run) (bool, error) {
	detached := slices.Clone(l.Detached)
	adm, err := l.Admit(run, func(seq uint64) (syncer.Chain, error) { return l.chainAt(seq) })
	if err != nil {
		return false, err
	}
	for _, r := range append([]syncer.Run{run}, detached...) {
		at := uint64(len(l.chains))
		if adm.Verdict != syncer.Extends || r.First > at+1 || r.Last() <= at || r.Last() > l.Head.Seq {
			continue
		}
		if before, err := l.chainAt(at); err != nil || r.ChainAt(l.ID, at) != before {
			continue
		}
		for seq := at + 1; seq <= r.Last(); seq++ {
			l.chains = append(l.chains, r.ChainAt(l.ID, seq))
		}
	}
	if uint64(len(l.chains)) != l.Head.Seq || l.Head.Seq > 0 && l.chains[l.Head.Seq-1] != l.Head.Chain {
		return false, fmt.Errorf("the model of lane %v is at %d, its head at %d", l.ID, len(l.chains), l.Head.Seq)
	}
	return adm.Forked(), nil
}

func (l *branch) chainAt(seq uint64) (syncer.Chain, error) {
	switch {
	case seq == 0:
		return syncer.Chain{}, nil
	case seq > uint64(len(l.chains)):
		return syncer.Chain{}, fmt.Errorf("lane %v is asked about entry %d of %d", l.ID, seq, len(l.chains))
	}
	return l.chains[seq-1], nil
}

// keep stores the record of an entry and returns what to answer, nil if it was plainly stored.
func (s *Server) keep(e syncer.Entry) *servicev1.EntryResult {
	result := func(o servicev1.EntryOutcome, r fault.Reason, message string) *servicev1.EntryResult {
		return &servicev1.EntryResult{Seq: proto.Uint64(e.Seq), Outcome: o.Enum(), Reason: proto.String(string(r)), Message: proto.String(message)}
	}
	if e.Refused {
		return result(servicev1.EntryOutcome_ENTRY_OUTCOME_REFUSED, e.Reason, e.Message)
	}
	if _, held := s.records[e.Digest]; held {
		return result(servicev1.EntryOutcome_ENTRY_OUTCOME_DUPLICATE, "", "")
	}
	if e.Raw == nil {
		s.damaged[e.Digest] = true
		return result(servicev1.EntryOutcome_ENTRY_OUTCOME_QUARANTINED, e.Reason, e.Message)
	}
	delete(s.damaged, e.Digest)
	s.records[e.Digest] = bytes.Clone(e.Raw)
	reason := e.Reason
	if e.Record != nil {
		id := syncer.ID(e.Record.GetId())
		if _, taken := s.ids[id]; taken {
			reason = fault.IDReused
		} else {
			s.ids[id] = e.Digest
		}
		if reason == "" && s.refuse != nil {
			reason = s.refuse(e.Record)
		}
	}
	if reason != "" {
		return result(servicev1.EntryOutcome_ENTRY_OUTCOME_QUARANTINED, reason, e.Message)
	}
	return nil
}

// Offer implements servicev1.SyncServiceServer. A record that was only declared damaged is wanted.
func (s *Server) Offer(_ context.Context, req *servicev1.OfferRequest) (*servicev1.OfferResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls["Offer"]++
	resp := &servicev1.OfferResponse{}
	for i, r := range req.GetRecords() {
		d, err := syncer.ParseDigest(r.GetDigest())
		if err != nil {
			return nil, wire(fault.New(fault.Invalid, fault.BadRequest, "offer: %w", err))
		}
		if _, held := s.records[d]; !held {
			resp.Wanted = append(resp.Wanted, uint32(i))
		}
		if id, err := syncer.ParseID(r.GetId()); err == nil {
			if other, known := s.ids[id]; known && other != d {
				resp.Conflicting = append(resp.Conflicting, uint32(i))
			}
		}
	}
	return resp, nil
}

// Pull implements servicev1.SyncServiceServer.
func (s *Server) Pull(_ context.Context, req *servicev1.PullRequest) (*servicev1.PullResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls["Pull"]++
	cursor, err := syncer.ParseCursor(req.GetCursor(), s.epoch)
	if err != nil {
		return nil, wire(err)
	}
	from := int(min(cursor.Parts[0], uint64(len(s.written))))
	to := min(from+int(req.GetPageSize()), len(s.written))
	resp := &servicev1.PullResponse{More: proto.Bool(to < len(s.written))}
	for _, raw := range s.written[from:to] {
		d := syncer.DigestOf(raw)
		resp.Entries = append(resp.Entries, &servicev1.Entry{Digest: d[:], Record: raw})
	}
	cursor.Parts[0] = uint64(to)
	resp.Cursor = cursor.Proto()
	return resp, nil
}

// Random is an endless reader of reproducible bytes, for stores under test.
func Random(name string) *Source { return &Source{state: sha256.Sum256([]byte(name))} }

// Source is what Random returns. It may be used from many goroutines.
type Source struct {
	mu    sync.Mutex
	state [32]byte
	n     uint64
}

// Read fills p and never fails.
func (s *Source) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := 0; i < len(p); i += len(s.state) {
		s.n++
		block := sha256.Sum256(binary.BigEndian.AppendUint64(s.state[:], s.n))
		copy(p[i:], block[:])
	}
	return len(p), nil
}
