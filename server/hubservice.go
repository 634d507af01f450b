package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// Limits of what a hub may say of itself.
const (
	maxTroubles    = 1000
	maxReportBytes = 1 << 20
	maxReportLanes = 32
	maxReportSeen  = 1000
)

type hubService struct {
	servicev1.UnimplementedHubServiceServer
	*Server
}

// GetHubStatus says how this hub stands.
func (s *hubService) GetHubStatus(ctx context.Context, _ *servicev1.GetHubStatusRequest) (*servicev1.GetHubStatusResponse, error) {
	if s.hub == nil {
		return nil, fault.New(fault.Conflict, fault.NotAHub, "this server is a headquarters, not a hub")
	}
	st, err := s.hub.Status(ctx)
	if err != nil {
		return nil, err
	}
	return &servicev1.GetHubStatusResponse{Status: st}, nil
}

// Report keeps what a hub says of itself and answers which devices are enrolled. A hub whose rights were taken away is
// told so and nothing else.
func (s *hubService) Report(ctx context.Context, req *servicev1.ReportRequest) (*servicev1.ReportResponse, error) {
	if s.hub != nil {
		return nil, fault.New(fault.Conflict, fault.HubOfHub, "this is a hub, and hubs do not forward to hubs")
	}
	id, is := callingHub(ctx)
	if !is {
		return nil, fault.New(fault.Permission, fault.NotAHub, "only a hub with a session of its own reports")
	}
	if n := len(req.GetStatus().GetTroubles()); n > maxTroubles || proto.Size(req.GetStatus()) > maxReportBytes {
		return nil, fault.New(fault.TooLarge, fault.BadRequest, "the report of the hub is too large: %d troubles", n)
	}
	if n := len(req.GetLanes()); n > maxReportLanes {
		return nil, fault.New(fault.TooLarge, fault.BadRequest, "the report names %d lanes, the limit is %d", n, maxReportLanes)
	}
	if n := len(req.GetSeen()); n > maxReportSeen {
		return nil, fault.New(fault.TooLarge, fault.BadRequest, "the report names %d tablets, the limit is %d", n, maxReportSeen)
	}
	now := s.nowMS()
	if err := s.keepSeen(ctx, req, now); err != nil {
		return nil, err
	}
	report := &servicev1.HubReport{Status: req.GetStatus(), ReportedMs: proto.Int64(now)}
	if err := store.PutMessage(ctx, s.store, store.ShelfHubs, id[:], report); err != nil {
		return nil, err
	}
	epoch := s.store.Epoch()
	resp := &servicev1.ReportResponse{ServerKey: s.Key(), ServerEpoch: epoch[:]}
	var err error
	if resp.Notice, err = s.noticeFor(ctx, id); err != nil || resp.Notice != nil {
		return resp, err
	}
	for _, m := range req.GetLanes() {
		lane, _, err := syncer.ParseHead(m)
		if err != nil {
			return nil, err
		}
		head, err := s.store.Lane(ctx, lane)
		if err != nil {
			return nil, err
		}
		resp.Lanes = append(resp.Lanes, head.Proto(lane))
	}
	devices, err := s.enrolledDevices(ctx)
	if err != nil {
		return nil, err
	}
	if resp.DevicesSum, err = sumOf(devices); err != nil {
		return nil, err
	}
	if !bytes.Equal(req.GetDevicesSum(), resp.GetDevicesSum()) {
		resp.Devices = devices
	}
	return resp, nil
}

// keepSeen notes when tablets were at the hub that reports.
func (s *Server) keepSeen(ctx context.Context, req *servicev1.ReportRequest, now int64) error {
	var items []store.Item
	for _, d := range req.GetSeen() {
		id, err := syncer.ParseID(d.GetDevice())
		if err != nil {
			return fault.New(fault.Invalid, fault.BadRequest, "a tablet that the hub has seen: %w", err)
		}
		known := &servicev1.SeenDevice{}
		if _, err := store.GetMessage(ctx, s.store, store.ShelfHubSeen, id[:], known); err != nil {
			return err
		}
		at := now - max(0, d.GetAgeMs())
		if at <= known.GetSeenMs() {
			continue
		}
		it, err := store.MessageItem(store.ShelfHubSeen, id[:], &servicev1.SeenDevice{
			Device: id[:], SeenMs: proto.Int64(at), Hub: proto.String(req.GetStatus().GetName()),
		})
		if err != nil {
			return err
		}
		items = append(items, it)
	}
	return s.store.Put(ctx, items...)
}

// enrolledDevices lists the tablets that are known, by id.
func (s *Server) enrolledDevices(ctx context.Context) ([]*servicev1.EnrolledDevice, error) {
	all, err := s.store.ListDevices(ctx)
	if err != nil {
		return nil, err
	}
	var out []*servicev1.EnrolledDevice
	for _, d := range all {
		id, err := syncer.ParseID(d.GetDevice())
		if err != nil || id == s.author.lane.Device {
			continue
		}
		if is, err := s.isHub(ctx, id); err != nil || is {
			if err != nil {
				return nil, err
			}
			continue
		}
		key, err := s.keys.of(ctx, s.store, id)
		if err != nil {
			return nil, err
		}
		owner, err := s.owner(ctx, id)
		if err != nil {
			return nil, err
		}
		out = append(out, &servicev1.EnrolledDevice{Device: id[:], Name: d.Name, Enumerator: d.Enumerator, PublicKey: key,
			RevokedMs: d.RevokedMs, RevokedReason: d.RevokedReason, Study: proto.String(owner.Study)})
	}
	return out, nil
}

// sumOf is a hash over a list of devices, by which two sides see that they have the same.
func sumOf(devices []*servicev1.EnrolledDevice) ([]byte, error) {
	h := sha256.New()
	for _, d := range devices {
		raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(d)
		if err != nil {
			return nil, fault.New(fault.Internal, "", "sum up the devices: %w", err)
		}
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(raw))))
		h.Write(raw)
	}
	return h.Sum(nil), nil
}

// hubKey marks the context of a call that comes with a hub's session.
type hubKey struct{}

// callingHub is the hub whose session a call comes with.
func callingHub(ctx context.Context) (syncer.ID, bool) {
	id, ok := ctx.Value(hubKey{}).(syncer.ID)
	return id, ok
}

// isHub says whether a device was enrolled as a hub.
func (s *Server) isHub(ctx context.Context, device syncer.ID) (bool, error) {
	return remember(&s.rights, func() *map[syncer.ID]aged[bool] { return &s.rights.hubs }, device, func() (bool, error) {
		raw, err := s.store.Get(ctx, store.ShelfHubs, device[:])
		return raw != nil, err
	})
}

// admitHub says what else a hub may do than a tablet: it may act for any tablet where lanes and attachments are forwarded
// and records are fetched, because every lane is signed by its own tablet. Once its rights were taken away it still
// forwards, and fetches nothing.
func (s *Server) admitHub(ctx context.Context, c *call) error {
	var err error
	if c.hub, err = s.isHub(ctx, *c.tablet); err != nil || !c.hub || c.method != servicev1.SyncService_Pull_FullMethodName {
		return err
	}
	f, err := s.revokedReason(ctx, *c.tablet)
	if err == nil && f != nil {
		err = fault.New(fault.Permission, fault.HubRevoked, "%s", f.Message)
	}
	return err
}

// forwards names the calls that a hub makes for tablets.
func forwards(method string) bool {
	switch method {
	case servicev1.SyncService_PushBatch_FullMethodName, servicev1.SyncService_Push_FullMethodName,
		servicev1.SyncService_Offer_FullMethodName, servicev1.SyncService_Pull_FullMethodName,
		servicev1.SyncService_BlobStat_FullMethodName, servicev1.SyncService_PutChunk_FullMethodName:
		return true
	}
	return false
}

// checkKind refuses the code of a tablet to a hub and the other way round, before it is burnt.
func (s *Server) checkKind(ctx context.Context, req *servicev1.EnrolRequest, code syncer.Code) error {
	hash := code.Hash()
	made, err := s.store.Get(ctx, store.ShelfHubCode, hash[:])
	if err != nil {
		return err
	}
	switch {
	case made != nil && !req.GetHub():
		return fault.New(fault.Unauthenticated, fault.CodeWrong, "this code is for a hub: give it to `hearth serve --upstream`")
	case made == nil && req.GetHub():
		return fault.New(fault.Unauthenticated, fault.CodeWrong, "no hub is expected with this code")
	case !req.GetHub():
		return nil
	}
	if len(req.GetPublicKey()) != 32 {
		return fault.New(fault.Invalid, fault.BadRequest, "the public key of the hub has %d bytes, want 32", len(req.GetPublicKey()))
	}
	if id := syncer.HubID(req.GetPublicKey()); !bytes.Equal(id[:], req.GetDevice()) {
		return fault.New(fault.Invalid, fault.BadRequest, "the hub's id is not the one that its key makes")
	}
	return nil
}

// enrolHub makes a device that has just been enrolled a hub, and signs its certificate.
func (s *Server) enrolHub(ctx context.Context, req *servicev1.EnrolRequest, resp *servicev1.EnrolResponse) error {
	known := &servicev1.HubReport{}
	if _, err := store.GetMessage(ctx, s.store, store.ShelfHubs, req.GetDevice(), known); err != nil {
		return err
	}
	if known.Status == nil {
		known.Status = &servicev1.HubStatus{Device: req.GetDevice(), Name: resp.DeviceName}
	}
	if err := store.PutMessage(ctx, s.store, store.ShelfHubs, req.GetDevice(), known); err != nil {
		return err
	}
	s.rights.purge()
	resp.Hub = syncer.NewHubCertificate(s.key, req.GetPublicKey(), resp.GetDeviceName())
	return nil
}

// keepHubCode notes that a code is for a hub, and forgets those that ended a day ago.
func (s *Server) keepHubCode(ctx context.Context, e store.Enrolment) error {
	const day = 24 * 60 * 60 * 1000
	items := []store.Item{{Space: store.ShelfHubCode, Key: e.Code[:], Value: store.NumberKey(e.ExpiresMS)}}
	err := store.Walk(ctx, s.store, store.ShelfHubCode, nil, func(it store.Item) (bool, error) {
		if len(it.Value) == 8 && int64(binary.BigEndian.Uint64(it.Value)) < e.CreatedMS-day {
			items = append(items, store.Item{Space: it.Space, Key: it.Key})
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	return s.store.Put(ctx, items...)
}

// addHubs adds to the devices listed what the hubs among them have said of themselves and of the others.
func (s *Server) addHubs(ctx context.Context, devices []*servicev1.DeviceStatus) error {
	byID := map[string]*servicev1.DeviceStatus{}
	for _, d := range devices {
		byID[string(d.GetDevice())] = d
	}
	err := store.Walk(ctx, s.store, store.ShelfHubs, nil, func(it store.Item) (bool, error) {
		r := &servicev1.HubReport{}
		if err := proto.Unmarshal(it.Value, r); err != nil {
			return false, fault.New(fault.Internal, fault.StoreDamaged, "the report of hub %x cannot be read: %w", it.Key, err)
		}
		if d := byID[string(it.Key)]; d != nil {
			d.Hub = r.GetStatus()
			d.LastSeenMs = proto.Int64(max(d.GetLastSeenMs(), r.GetReportedMs()))
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	return store.Walk(ctx, s.store, store.ShelfHubSeen, nil, func(it store.Item) (bool, error) {
		seen := &servicev1.SeenDevice{}
		if err := proto.Unmarshal(it.Value, seen); err != nil {
			return false, fault.New(fault.Internal, fault.StoreDamaged, "when tablet %x was at a hub cannot be read: %w", it.Key, err)
		}
		if d := byID[string(it.Key)]; d != nil && seen.GetSeenMs() > d.GetLastSeenMs() {
			d.LastSeenMs, d.SeenAtHub = seen.SeenMs, seen.Hub
		}
		return true, nil
	})
}

// signBlobs adds headquarters' signature to what is whole, for a hub to hand it down; a hub adds the one it was given.
func (s *syncService) signBlobs(ctx context.Context, req *servicev1.BlobStatRequest, resp *servicev1.BlobStatResponse) error {
	_, forHub := callingHub(ctx)
	if s.hub == nil && !forHub {
		return nil
	}
	epoch := s.store.Epoch()
	for i, st := range resp.GetBlobs() {
		if !st.GetComplete() {
			continue
		}
		id, size, err := syncer.ParseBlobRef(req.GetBlobs()[i])
		if err != nil {
			return err
		}
		if s.hub == nil {
			st.Signature, st.ServerEpoch = syncer.SignBlob(s.key, id, size, epoch), epoch[:]
			continue
		}
		known := &servicev1.HubBlob{}
		if _, err := store.GetMessage(ctx, s.store, store.ShelfHubBlob, id[:], known); err != nil {
			return err
		}
		st.Signature, st.ServerEpoch = known.GetSignature(), known.GetServerEpoch()
	}
	return nil
}
