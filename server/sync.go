package server

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/failpoint"
	"github.com/hearth-survey/hearth/syncer/plant"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// Limits of what a tablet may name in one call.
const (
	maxHelloLanes = 256
	maxNameBytes  = 128
	maxOffer      = 20_000
	maxPullPage   = 500
	maxPullBytes  = 3 << 20
)

type syncService struct {
	servicev1.UnimplementedSyncServiceServer
	*Server
}

// Hello notes the tablet and says how far the server has got with its lanes.
func (s *syncService) Hello(ctx context.Context, req *servicev1.HelloRequest) (*servicev1.HelloResponse, error) {
	if req.GetProtocol() != syncer.Protocol {
		return nil, fault.New(fault.Invalid, fault.ProtocolTooOld, "the tablet speaks protocol %d, this server speaks %d", req.GetProtocol(), syncer.Protocol)
	}
	device, err := syncer.ParseID(req.GetDevice())
	if err != nil {
		return nil, fault.New(fault.Invalid, fault.BadRequest, "device of the Hello: %w", err)
	}
	if len(req.GetPublicKey()) == 0 && isTablet(ctx) { // it has proved that it has the key that is known
		if req.PublicKey, err = s.keys.of(ctx, s.store, device); err != nil {
			return nil, err
		}
	}
	switch {
	case len(req.GetPublicKey()) != 32:
		return nil, fault.New(fault.Invalid, fault.BadRequest, "the public key of the device has %d bytes, want 32", len(req.GetPublicKey()))
	case !shortText(req.GetDeviceName()) || !shortText(req.GetEnumerator()) || !shortText(req.GetStudy()):
		return nil, fault.New(fault.Invalid, fault.BadRequest, "the name of the device, of the enumerator or of the study has more than %d bytes", maxNameBytes)
	case len(req.GetLanes()) > maxHelloLanes:
		return nil, fault.New(fault.TooLarge, fault.BadRequest, "the Hello names %d lanes, the limit is %d", len(req.GetLanes()), maxHelloLanes)
	}
	if s.hub != nil {
		if err := s.openHub(); err != nil {
			return nil, err
		}
		if err := s.keepBases(ctx, device, req.GetReceipts()); err != nil {
			return nil, err
		}
	}
	heads, fork, err := s.compare(ctx, device, req.GetLanes())
	if err != nil {
		return nil, err
	}
	now := s.nowMS()
	g := store.Greeting{
		Device: device, Name: req.GetDeviceName(), Enumerator: req.GetEnumerator(), Key: req.GetPublicKey(),
		Pending: req.GetPending(), NowMS: now, Fork: fork, KeepNames: isTablet(ctx),
	}
	if req.WallTimeMs != nil {
		g.ClockSkewMS = req.GetWallTimeMs() - now
	}
	failpoint.Hit("hello.before-greet")
	if err := s.store.Greet(ctx, g); err != nil {
		return nil, err
	}
	failpoint.Hit("hello.after-greet")
	if !isTablet(ctx) {
		s.down.forget(device) // it may have said another enumerator
	}
	epoch := s.store.Epoch()
	lim := syncer.DefaultLimits
	resp := &servicev1.HelloResponse{
		Protocol: proto.Uint32(syncer.Protocol), ServerEpoch: epoch[:], ServerKey: s.Key(), WallTimeMs: proto.Int64(now), Lanes: heads,
		Limits: &servicev1.Limits{
			MaxBatchRecords: proto.Uint32(uint32(lim.Records)), MaxBatchBytes: proto.Uint64(uint64(lim.Bytes)), MaxRecordBytes: proto.Uint64(uint64(lim.RecordBytes)),
		},
		Packing: proto.Uint32(syncer.PackingVersion), Dictionaries: syncer.Dictionaries(),
	}
	if resp.Session, err = s.grantFor(ctx, device); err != nil {
		return nil, err
	}
	if s.hub != nil {
		return resp, s.asHub(ctx, device, req, resp)
	}
	if resp.CouponNumber, err = s.couponNumber(ctx, req.GetStudy(), device, req.GetCouponEpoch(), req.GetCouponFile()); err != nil {
		return nil, err
	}
	if req.GetBrief() {
		shorten(req, resp)
	}
	return resp, s.answerDown(ctx, device, req, resp)
}

// shorten leaves out of an answer what it would repeat: lanes that are held exactly as they were named, and limits that are
// those of the protocol.
func shorten(req *servicev1.HelloRequest, resp *servicev1.HelloResponse) {
	resp.Limits = nil
	kept := resp.Lanes[:0]
	for i, ours := range resp.Lanes {
		theirs := req.GetLanes()[i]
		if ours.GetSeq() != theirs.GetSeq() || !bytes.Equal(ours.GetChain(), theirs.GetChain()) {
			kept = append(kept, ours)
		}
	}
	resp.Lanes = kept
}

func shortText(s string) bool { return len(s) <= maxNameBytes && utf8.ValidString(s) }

// compare looks up the lanes a tablet names. It sees a fork where the server holds another chain than the tablet, or
// entries that the tablet no longer has: its store was restored or cloned.
func (s *syncService) compare(ctx context.Context, device syncer.ID, lanes []*servicev1.LaneHead) (heads []*servicev1.LaneHead, fork bool, err error) {
	for _, m := range lanes {
		lane, theirs, err := syncer.ParseHead(m)
		if err != nil {
			return nil, false, err
		}
		if lane.Device != device {
			return nil, false, fault.New(fault.Invalid, fault.BadRequest, "lane %v is not of the device that says Hello", lane)
		}
		ours, err := s.store.Lane(ctx, lane)
		if err != nil {
			return nil, false, fmt.Errorf("look up lane %v: %w", lane, err)
		}
		heads = append(heads, ours.Proto(lane))
		if ours.Seq > theirs.Seq || ours.Seq == theirs.Seq && ours.Chain != theirs.Chain {
			fork = true
		}
	}
	return heads, fork, nil
}

// PushBatch stores one batch and answers when it is durable.
func (s *syncService) PushBatch(ctx context.Context, req *servicev1.PushBatchRequest) (*servicev1.PushBatchResponse, error) {
	ack, err := s.take(ctx, req.GetBatch())
	if err != nil {
		return nil, err
	}
	failpoint.Hit("push.before-answer")
	return &servicev1.PushBatchResponse{Ack: ack}, nil
}

// Push is PushBatch for every message of a stream. A stream that is idle ends when the server stops.
func (s *syncService) Push(stream grpc.BidiStreamingServer[servicev1.PushRequest, servicev1.PushResponse]) error {
	ctx := stream.Context()
	type received struct {
		req *servicev1.PushRequest
		err error
	}
	next := make(chan received)
	recv := func() (r received) {
		defer func() {
			if p := recover(); p != nil { // on this goroutine no interceptor contains it
				r.err = panicked(p)
			}
		}()
		r.req, r.err = stream.Recv()
		return r
	}
	go func() {
		for {
			r := recv()
			select {
			case next <- r:
				if r.err != nil {
					return
				}
			case <-ctx.Done(): // ends with the stream
				return
			}
		}
	}()
	for {
		select {
		case <-s.stopping:
			return fault.New(fault.Unavailable, fault.ShuttingDown, "the server is stopping")
		case <-ctx.Done():
			return ctx.Err()
		case r := <-next:
			if errors.Is(r.err, io.EOF) {
				return nil
			}
			if r.err != nil {
				return r.err
			}
			resp, err := s.pushed(ctx, r.req)
			if err != nil {
				return err
			}
			failpoint.Hit("push.before-answer")
			if err := stream.Send(resp); err != nil {
				return err
			}
		}
	}
}

// pushed answers one message of a stream: a batch, or a Hello.
func (s *syncService) pushed(ctx context.Context, req *servicev1.PushRequest) (*servicev1.PushResponse, error) {
	if req.GetHello() != nil {
		hello, err := s.Hello(ctx, req.GetHello())
		return &servicev1.PushResponse{Hello: hello}, err
	}
	ack, err := s.take(ctx, req.GetBatch())
	return &servicev1.PushResponse{Ack: ack}, err
}

// take checks a batch, decides what becomes of each entry, stores it, and signs what is held.
func (s *Server) take(ctx context.Context, b *servicev1.Batch) (*servicev1.BatchAck, error) {
	if s.hub != nil {
		if err := s.openHub(); err != nil {
			return nil, err
		}
	}
	lane, err := syncer.ParseLane(b.GetLane())
	if err != nil {
		return nil, err
	}
	key, err := s.keys.of(ctx, s.store, lane.Device)
	if err != nil {
		return nil, err
	}
	checked, err := s.checkBatch(ctx, lane, b, key)
	if err != nil {
		return nil, err
	}
	revoked, err := s.revokedReason(ctx, lane.Device)
	if err != nil {
		return nil, err
	}
	if plant.In(plant.RevokedAccepted) {
		revoked = nil
	}
	if err := s.gone.load(ctx, s.store); err != nil {
		return nil, err
	}
	if err := s.closed.load(ctx, s.store); err != nil {
		return nil, err
	}
	for i := range checked.Entries {
		e := &checked.Entries[i]
		if e.Record == nil || e.Reason != "" || e.Refused {
			continue
		}
		if revoked != nil {
			e.Reason, e.Message = revoked.Reason, revoked.Message
		} else {
			s.dispose(e, lane)
		}
	}
	start := time.Now()
	failpoint.Hit("push.before-append")
	done, err := s.store.Append(ctx, checked)
	if err != nil {
		return nil, err
	}
	failpoint.Hit("push.after-append")
	s.metrics.appendTime.Observe(time.Since(start).Seconds())
	s.count(done)
	if s.hub != nil {
		return s.custodyOf(ctx, lane, done)
	}
	ack := &servicev1.BatchAck{Results: done.Results, Gaps: done.Gaps}
	if done.Fork {
		ack.Fork = proto.Bool(true)
	}
	head := done.Head
	if _, hub := callingHub(ctx); hub && !done.Fork {
		if head, err = s.broughtTo(ctx, checked, head); err != nil {
			return nil, err
		}
	}
	if head.Seq > 0 {
		ack.Receipt = syncer.NewReceipt(s.key, lane, head, s.nowMS())
	}
	return ack, nil
}

// broughtTo is how far a hub has brought a lane, where headquarters holds it further: by another way, from a tablet that may
// have come back from a backup since. The hub could do nothing with a receipt over what it does not hold, and the tablet might not
// know what it is over.
func (s *Server) broughtTo(ctx context.Context, b *syncer.Checked, head syncer.Head) (syncer.Head, error) {
	if len(b.Runs) == 0 {
		return head, nil
	}
	last := b.Runs[len(b.Runs)-1].Head(b.Lane)
	if last.Seq >= head.Seq {
		return head, nil
	}
	held, ok, err := s.store.ChainAt(ctx, b.Lane, last.Seq)
	if err != nil || !ok || held != last.Chain {
		return head, err
	}
	return last, nil
}

// checkBatch verifies a batch. One that leaves out what stands before it is taken to begin behind the lane's head here; if
// it does not, the sender is to say what stands before.
func (s *Server) checkBatch(ctx context.Context, lane syncer.LaneID, b *servicev1.Batch, key ed25519.PublicKey) (*syncer.Checked, error) {
	if !syncer.NeedsHead(b) {
		return syncer.Check(b, key, syncer.DefaultLimits)
	}
	head, err := s.store.Lane(ctx, lane)
	if err != nil {
		return nil, fmt.Errorf("look up lane %v: %w", lane, err)
	}
	if head.Seq != b.GetFirstSeq()-1 {
		return nil, fault.New(fault.Invalid, fault.BadChain, "the batch begins with entry %d and leaves out what stands before, lane %v ends here at %d", b.GetFirstSeq(), lane, head.Seq)
	}
	b.PrevChain = head.Chain[:]
	checked, err := syncer.Check(b, key, syncer.DefaultLimits)
	if fault.ReasonOf(err) == fault.BadSignature {
		return nil, fault.New(fault.Invalid, fault.BadChain, "the batch does not verify behind entry %d of lane %v as it is here", head.Seq, lane)
	}
	return checked, err
}

// count adds a batch to the metrics.
func (s *Server) count(done *store.Appended) {
	s.metrics.acked.Add(float64(done.New))
	if done.Fork {
		s.metrics.forks.Inc()
	}
	for _, r := range done.Results {
		switch r.GetOutcome() {
		case servicev1.EntryOutcome_ENTRY_OUTCOME_DUPLICATE:
			s.metrics.duplicate.Inc()
		case servicev1.EntryOutcome_ENTRY_OUTCOME_QUARANTINED:
			s.metrics.quarantined.WithLabelValues(r.GetReason()).Inc()
		case servicev1.EntryOutcome_ENTRY_OUTCOME_REFUSED:
			s.metrics.refused.WithLabelValues(r.GetReason()).Inc()
		}
	}
}

// dispose decides whether a record can be used, and marks it for quarantine if not. Nothing well-formed is refused.
func (s *Server) dispose(e *syncer.Entry, lane syncer.LaneID) {
	if err := s.usable(e.Record, lane); err != nil {
		e.Reason, e.Message = err.Reason, err.Message
	}
}

func (s *Server) usable(r *servicev1.Record, lane syncer.LaneID) *fault.Error {
	switch r.GetKind() {
	case servicev1.RecordKind_RECORD_KIND_INTERVIEW:
	case servicev1.RecordKind_RECORD_KIND_PARADATA:
		return s.usableParadata(r)
	case servicev1.RecordKind_RECORD_KIND_COUPON:
		return usableCoupon(r)
	case servicev1.RecordKind_RECORD_KIND_ASSIGNMENT:
		return usableAssignment(r, lane.Device == s.author.lane.Device)
	case servicev1.RecordKind_RECORD_KIND_STUDY, servicev1.RecordKind_RECORD_KIND_LINK_DECISION,
		servicev1.RecordKind_RECORD_KIND_TOMBSTONE, servicev1.RecordKind_RECORD_KIND_ERASURE, servicev1.RecordKind_RECORD_KIND_REVIEW,
		servicev1.RecordKind_RECORD_KIND_QUESTIONNAIRE:
		if lane.Device == s.author.lane.Device {
			return nil
		}
		return fault.New(fault.Permission, fault.UnknownKind, "records of kind %v are written at headquarters only", r.GetKind())
	default:
		return fault.New(fault.Invalid, fault.UnknownKind, "this server does not know records of kind %d", r.GetKind())
	}
	if len(s.gone.in(r.GetSubject())) > 0 {
		return fault.New(fault.Conflict, fault.InterviewWithdrawn, "the interview was withdrawn at headquarters")
	}
	name := r.GetQuestionnaire()
	if err := s.knowsVersion(name, r.GetQuestionnaireVersion()); err != nil {
		return err
	}
	inside, err := s.payloads.read(r.GetPayload())
	switch {
	case err != nil:
		return fault.New(fault.Invalid, fault.PayloadUnreadable, "the payload is not an interview: %w", err)
	case inside.interviewID != r.GetSubject():
		return fault.New(fault.Invalid, fault.PayloadUnreadable, "the interview inside is not the one that the record is about")
	case inside.study != r.GetStudy():
		return fault.New(fault.Invalid, fault.PayloadUnreadable, "the interview inside is not of the study that the record names")
	case inside.questionnaire != "" && inside.questionnaire != name:
		return fault.New(fault.Invalid, fault.PayloadUnreadable, "the answers are to %.128q, the record says %s", inside.questionnaire, name)
	}
	return s.closed.refuses(inside.study, inside.round)
}

// Offer says which of the records named are wanted.
func (s *syncService) Offer(ctx context.Context, req *servicev1.OfferRequest) (*servicev1.OfferResponse, error) {
	if len(req.GetRecords()) > maxOffer {
		return nil, fault.New(fault.TooLarge, fault.BatchTooLarge, "the offer names %d records, the limit is %d", len(req.GetRecords()), maxOffer)
	}
	for i, r := range req.GetRecords() {
		if len(r.GetId()) != 16 || len(r.GetDigest()) != 32 {
			return nil, fault.New(fault.Invalid, fault.BadRequest, "record %d of the offer has an id of %d bytes and a digest of %d, want 16 and 32", i, len(r.GetId()), len(r.GetDigest()))
		}
	}
	failpoint.Hit("offer.before-answer")
	wanted, conflicting, err := s.store.Missing(ctx, req.GetRecords())
	if err != nil {
		return nil, err
	}
	return &servicev1.OfferResponse{Wanted: wanted, Conflicting: conflicting}, nil
}

// Pull brings the definitions of studies that came after the cursor, or what is new in buckets. Interviews never travel
// down.
func (s *syncService) Pull(ctx context.Context, req *servicev1.PullRequest) (*servicev1.PullResponse, error) {
	device, err := syncer.ParseID(req.GetDevice())
	if err != nil {
		return nil, fault.New(fault.Invalid, fault.BadRequest, "device of the Pull: %w", err)
	}
	if notice, err := s.noticeFor(ctx, device); err != nil || notice != nil {
		return &servicev1.PullResponse{Cursor: req.GetCursor(), Notice: notice}, err
	}
	if s.hub != nil {
		if len(req.GetBuckets()) > 0 || req.GetListBuckets() {
			return s.pullBucketsAtHub(ctx, device, req)
		}
		return s.pullMirror(ctx, req)
	}
	if len(req.GetBuckets()) > 0 || req.GetListBuckets() {
		return s.pullBuckets(ctx, device, req)
	}
	cursor, err := syncer.ParseCursor(req.GetCursor(), s.store.Epoch())
	if err != nil {
		return nil, err
	}
	if err := s.Project(ctx); err != nil {
		return nil, err
	}
	o, err := s.scopeOf(ctx, device, req.GetStudy())
	if err != nil {
		return nil, err
	}
	all, err := s.studyRecords(ctx, cursor, o.Study)
	if err != nil {
		return nil, err
	}
	page := int(req.GetPageSize())
	if page <= 0 || page > maxPullPage {
		page = maxPullPage
	}
	resp := &servicev1.PullResponse{}
	size := 0
	for _, st := range all {
		if len(resp.Entries) == page || size > 0 && size+len(st.Raw) > maxPullBytes {
			resp.More = proto.Bool(true)
			break
		}
		size += len(st.Raw)
		resp.Entries = append(resp.Entries, &servicev1.Entry{Digest: st.Digest[:], Record: st.Raw})
		cursor.Parts[st.Part] = st.Counter
	}
	resp.Cursor = cursor.Proto()
	failpoint.Hit("pull.before-answer")
	return resp, nil
}

// studyRecords returns the records that define a study, or all studies if none is named, and came after the cursor. They
// stand in the part of their study alone, so that nothing else of the log is read.
func (s *Server) studyRecords(ctx context.Context, cursor syncer.Cursor, study string) ([]store.Stored, error) {
	studies, err := s.store.Studies(ctx)
	if err != nil {
		return nil, err
	}
	var all []store.Stored
	for _, st := range studies {
		if study != "" && st.GetStudy() != study {
			continue
		}
		part := syncer.Part(st.GetStudy(), "")
		revs, err := s.store.Revisions(ctx, part, servicev1.RecordKind_RECORD_KIND_STUDY, st.GetStudy())
		if err != nil {
			return nil, fmt.Errorf("read the records of study %s: %w", st.GetStudy(), err)
		}
		for _, r := range revs {
			if r.Counter > cursor.Parts[part] {
				all = append(all, r)
			}
		}
	}
	slices.SortFunc(all, func(a, b store.Stored) int {
		return cmp.Or(cmp.Compare(a.Part, b.Part), cmp.Compare(a.Counter, b.Counter))
	})
	return all, nil
}
