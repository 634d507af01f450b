package server

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// Upstream is a hub's way to its headquarters. Package server/relay is it.
type Upstream interface {
	// State is what the hub knows of headquarters. It is not to be changed.
	State() *servicev1.HubState
	// Kick says that something came in that is to be forwarded.
	Kick()
	// Refresh asks headquarters now which devices it has enrolled; not more often than every few seconds.
	Refresh(ctx context.Context) error
	// Enrol passes a tablet's request on.
	Enrol(ctx context.Context, req *servicev1.EnrolRequest) (*servicev1.EnrolResponse, error)
	// Status says how the hub stands.
	Status(ctx context.Context) (*servicev1.HubStatus, error)
}

// maxHandedResults is how many results a hub hands down in one answer.
const maxHandedResults = 500

// beginHub makes a server a hub: it answers by what headquarters says, and decides nothing itself.
func (s *Server) beginHub(u Upstream) {
	s.hub = u
	s.store = &hubStore{Store: s.store, upstream: u}
}

// decidedAtHeadquarters names the calls that a hub does not take: what they decide is decided at headquarters.
func decidedAtHeadquarters(method string) bool {
	switch method {
	case servicev1.DeviceService_CreateEnrolment_FullMethodName,
		servicev1.DeviceService_RevokeDevice_FullMethodName,
		servicev1.StudyService_PutStudy_FullMethodName,
		servicev1.StudyService_CloseStudy_FullMethodName,
		servicev1.StudyService_ReopenStudy_FullMethodName,
		servicev1.StudyService_PublishQuestionnaire_FullMethodName,
		servicev1.MonitorService_ReplayQuarantine_FullMethodName,
		servicev1.ReviewService_ResolveConflict_FullMethodName,
		servicev1.ReviewService_WithdrawInterview_FullMethodName,
		servicev1.ReviewService_EraseInterview_FullMethodName,
		servicev1.ReviewService_CreateReview_FullMethodName,
		servicev1.LinkageService_Decide_FullMethodName,
		servicev1.AssignmentService_CreateAssignment_FullMethodName,
		servicev1.AssignmentService_ReassignAssignment_FullMethodName,
		servicev1.AssignmentService_CancelAssignment_FullMethodName,
		servicev1.AssignmentService_ReleaseAssignment_FullMethodName:
		return true
	}
	return false
}

// openHub refuses what a hub cannot take: everything, once headquarters has taken its rights away, or may have done so for
// long without the hub having heard.
func (s *Server) openHub() error {
	if n := s.hub.State().GetNotice(); n != nil {
		return fault.New(fault.Permission, fault.HubRevoked, "this hub takes nothing in any more: %s", n.GetMessage())
	}
	if age := s.headquartersAge(); s.alone > 0 && age > s.alone {
		return fault.New(fault.Unavailable, fault.HubOffline, "this hub has not reached headquarters for %d days, and takes nothing in after %d: bring it where it does",
			int(age.Hours()/24), int(s.alone.Hours()/24))
	}
	return nil
}

// headquartersAge is how long ago headquarters answered this hub; 0 where its clock says that it has yet to.
func (s *Server) headquartersAge() time.Duration {
	contact := s.hub.State().GetContactMs()
	if contact == 0 {
		return 0
	}
	return time.Duration(max(0, s.nowMS()-contact)) * time.Millisecond
}

// keepBases notes headquarters' receipts that a tablet shows: what they cover need not come to this hub.
func (s *Server) keepBases(ctx context.Context, device syncer.ID, receipts []*servicev1.Receipt) error {
	var items []store.Item
	for _, r := range receipts {
		lane, head, err := syncer.VerifyReceipt(r, s.hub.State().GetServerKey())
		if err != nil {
			return err
		}
		if lane.Device != device {
			return fault.New(fault.Invalid, fault.BadRequest, "a receipt is over lane %v of another device", lane)
		}
		note := &servicev1.HubLane{}
		if _, err := store.GetMessage(ctx, s.store, store.ShelfHubLane, store.LaneKey(lane), note); err != nil {
			return err
		}
		if note.GetBase().GetSeq() >= head.Seq {
			continue
		}
		note.Base = r
		it, err := store.MessageItem(store.ShelfHubLane, store.LaneKey(lane), note)
		if err != nil {
			return err
		}
		items = append(items, it)
	}
	return s.store.Put(ctx, items...)
}

// asHub makes the answer to a Hello a hub's: headquarters' key, the hub's certificate, and what headquarters has said of
// the lanes since the tablet heard of it last.
func (s *Server) asHub(ctx context.Context, device syncer.ID, req *servicev1.HelloRequest, resp *servicev1.HelloResponse) error {
	st := s.hub.State()
	resp.ServerKey, resp.ServerEpoch, resp.Hub = st.GetServerKey(), st.GetServerEpoch(), st.GetCertificate()
	resp.HeadquartersAgeMs = proto.Int64(s.headquartersAge().Milliseconds())
	var err error
	if resp.Notice, err = s.noticeFor(ctx, device); err != nil {
		return err
	}
	if err := s.scopeAtHub(ctx, device, req, resp); err != nil {
		return err
	}
	left := maxHandedResults
	for _, m := range req.GetLanes() {
		lane, _, err := syncer.ParseHead(m)
		if err != nil {
			return err
		}
		note := &servicev1.HubLane{}
		if _, err := store.GetMessage(ctx, s.store, store.ShelfHubLane, store.LaneKey(lane), note); err != nil {
			return err
		}
		if note.GetReceipt().GetSeq() <= m.GetReceipted() {
			continue
		}
		results, err := s.handed(ctx, lane, m.GetReceipted(), note.GetReceipt().GetSeq(), left)
		if err != nil {
			return err
		}
		left -= len(results)
		resp.Receipts = append(resp.Receipts, note.GetReceipt())
		if len(results) > 0 {
			resp.Results = append(resp.Results, &servicev1.LaneResults{Lane: lane.Proto(), Results: results})
		}
	}
	return nil
}

// handed lists what headquarters has said of entries behind one and up to another. What the tablet has heard before is
// forgotten.
func (s *Server) handed(ctx context.Context, lane syncer.LaneID, from, to uint64, limit int) ([]*servicev1.EntryResult, error) {
	var out []*servicev1.EntryResult
	var heard []store.Item
	prefix := store.LaneKey(lane)
	err := store.Walk(ctx, s.store, store.ShelfHubResult, prefix, func(it store.Item) (bool, error) {
		r := &servicev1.EntryResult{}
		if !bytes.HasPrefix(it.Key, prefix) || len(out) >= limit || len(heard) >= maxHandedResults {
			return false, nil
		}
		if err := proto.Unmarshal(it.Value, r); err != nil || r.GetSeq() <= from {
			heard = append(heard, store.Item{Space: it.Space, Key: it.Key})
			return true, nil
		}
		if r.GetSeq() <= to {
			out = append(out, r)
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	return out, s.store.Put(ctx, heard...)
}

// custodyOf makes the answer to a batch a hub's: a promise, and no results but of what it refused. What can be used is
// decided at headquarters.
func (s *Server) custodyOf(ctx context.Context, lane syncer.LaneID, done *store.Appended) (*servicev1.BatchAck, error) {
	hs, ok := s.store.(*hubStore)
	if !ok {
		return nil, fault.New(fault.Internal, fault.NotAHub, "this server is not a hub")
	}
	head, err := hs.reach(ctx, lane, done.Head)
	if err != nil {
		return nil, err
	}
	ack := &servicev1.BatchAck{}
	for _, r := range done.Results {
		if o := r.GetOutcome(); o == servicev1.EntryOutcome_ENTRY_OUTCOME_REFUSED || o == servicev1.EntryOutcome_ENTRY_OUTCOME_DUPLICATE {
			ack.Results = append(ack.Results, r)
		}
	}
	for _, g := range done.Gaps {
		if g.GetLast() > head.Seq {
			ack.Gaps = append(ack.Gaps, g)
		}
	}
	if done.Fork {
		ack.Fork = proto.Bool(true)
	}
	if head.Seq > 0 {
		ack.Custody = syncer.NewCustody(s.key, lane, head, s.nowMS())
	}
	s.hub.Kick()
	return ack, nil
}

// pullMirror answers a Pull with the records of headquarters that are mirrored here, under headquarters' own cursor, so
// that the tablet can go on at headquarters. A tablet that knows more than the hub is told that there is nothing newer.
func (s *Server) pullMirror(ctx context.Context, req *servicev1.PullRequest) (*servicev1.PullResponse, error) {
	st := s.hub.State()
	epoch, err := syncer.ParseID(st.GetServerEpoch())
	if err != nil {
		return &servicev1.PullResponse{Cursor: req.GetCursor()}, nil // headquarters has not been met
	}
	was := req.GetCursor().GetServerEpoch()
	if len(was) > 0 && !bytes.Equal(was, epoch[:]) {
		if slices.ContainsFunc(st.GetPastEpochs(), func(e []byte) bool { return bytes.Equal(e, was) }) {
			return nil, fault.New(fault.Stale, fault.CursorStale, "the cursor is of an epoch that headquarters had before")
		}
		return &servicev1.PullResponse{Cursor: req.GetCursor()}, nil
	}
	cursor, err := syncer.ParseCursor(req.GetCursor(), epoch)
	if err != nil {
		return nil, err
	}
	page := int(req.GetPageSize())
	if page <= 0 || page > maxPullPage {
		page = maxPullPage
	}
	resp := &servicev1.PullResponse{}
	size := 0
	err = eachMirrored(ctx, s.store, func(r *servicev1.HubRecord) error {
		n := len(r.GetEntry().GetRecord())
		switch {
		case r.GetCounter() <= cursor.Parts[r.GetPart()] || resp.GetMore():
		case len(resp.Entries) == page || size > 0 && size+n > maxPullBytes:
			resp.More = proto.Bool(true)
		default:
			size += n
			resp.Entries = append(resp.Entries, r.GetEntry())
			cursor.Parts[r.GetPart()] = r.GetCounter()
		}
		return nil
	})
	resp.Cursor = cursor.Proto()
	return resp, err
}

// enrolThrough passes a tablet's request to enrol on to headquarters, which alone knows its codes.
func (s *Server) enrolThrough(ctx context.Context, req *servicev1.EnrolRequest) (*servicev1.EnrolResponse, error) {
	if req.GetHub() {
		return nil, fault.New(fault.Conflict, fault.HubOfHub, "this is a hub, and hubs do not forward to hubs")
	}
	if err := s.openHub(); err != nil {
		return nil, err
	}
	device, err := deviceOf(req.GetDevice())
	if err != nil {
		return nil, err
	}
	resp, err := s.hub.Enrol(ctx, req)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(resp.GetServerKey(), s.hub.State().GetServerKey()) {
		return nil, fault.New(fault.Conflict, fault.ServerChanged, "the server behind this hub is not its headquarters any more")
	}
	d := &servicev1.EnrolledDevice{Device: device[:], Name: resp.DeviceName, Enumerator: resp.Enumerator, PublicKey: req.GetPublicKey()}
	if err := store.PutMessage(ctx, s.store, store.ShelfHubDevice, device[:], d); err != nil {
		return nil, err
	}
	s.rights.purge()
	return resp, nil
}
