package relay

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"slices"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

const (
	// maxPastEpochs is how many earlier epochs of headquarters are remembered.
	maxPastEpochs = 64
	// reportLanes is how many lanes one report names.
	reportLanes = 8
	// refreshEvery bounds how often Refresh asks.
	refreshEvery = 5 * time.Second
	// refreshTime is how long a tablet that nobody knows waits for an answer of headquarters.
	refreshTime = 10 * time.Second
)

// EnrolHub has the hub enrolled at headquarters with a one-time code that was made for a hub. The same call may be made
// again with the same code, as after a lost answer. It fails with fault.ServerChanged where the hub is another's already.
func (r *Relay) EnrolHub(ctx context.Context, code syncer.Code) error {
	public := r.opts.Key.Public().(ed25519.PublicKey)
	ctx, cancel := context.WithTimeout(ctx, r.opts.CallTimeout)
	defer cancel()
	resp, err := r.direct.Enrol(ctx, &servicev1.EnrolRequest{Code: proto.String(string(code)), Device: bytes.Clone(r.id[:]),
		PublicKey: bytes.Clone(public), Signature: syncer.SignEnrolment(r.opts.Key, code, r.id), Hub: proto.Bool(true)})
	if err != nil {
		return faultOf(err, "enrol the hub")
	}
	known := r.State()
	if k := known.GetServerKey(); len(k) > 0 && !bytes.Equal(k, resp.GetServerKey()) {
		return fault.New(fault.Conflict, fault.ServerChanged, "this folder is the hub of the headquarters with the key %x, the code is of the one with %x: use another folder", k[:4], resp.GetServerKey()[:min(4, len(resp.GetServerKey()))])
	}
	key, err := syncer.VerifyHubCertificate(resp.GetHub(), resp.GetServerKey())
	if err != nil {
		return err
	}
	if !syncer.SameKey(key, public) {
		return fault.New(fault.Conflict, fault.ServerChanged, "headquarters gave the certificate of another hub")
	}
	return r.change(ctx, func(st *servicev1.HubState) {
		st.Upstream, st.Device, st.Name, st.Study = proto.String(r.opts.Upstream), bytes.Clone(r.id[:]), resp.DeviceName, resp.Study
		st.ServerKey, st.Certificate, st.Notice = resp.GetServerKey(), resp.GetHub(), nil
	})
}

// Enrol passes a tablet's request to enrol on: codes are known at headquarters only.
func (r *Relay) Enrol(ctx context.Context, req *servicev1.EnrolRequest) (*servicev1.EnrolResponse, error) {
	resp, err := r.direct.Enrol(ctx, req)
	if err != nil {
		err = faultOf(err, "enrol the tablet at headquarters")
		if fault.KindOf(err) == fault.Unavailable {
			err = fault.New(fault.Unavailable, fault.HubOffline, "this hub does not reach headquarters, which alone knows the code: %w", err)
		}
		return nil, err
	}
	return resp, nil
}

// Refresh asks headquarters which devices are enrolled, unless it was asked or missed a moment ago.
func (r *Relay) Refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, refreshTime)
	defer cancel()
	if r.askedLately() {
		return fault.New(fault.Unavailable, fault.HubOffline, "headquarters was asked a moment ago")
	}
	return r.report(ctx)
}

func (r *Relay) askedLately() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.opts.Now()
	if now.Sub(r.reported) < refreshEvery {
		return true
	}
	r.reported = now
	return false
}

// greet reports if it is time to.
func (r *Relay) greet(ctx context.Context) error {
	r.mu.Lock()
	now := r.opts.Now()
	due := now.Sub(r.reported) >= r.opts.Every/2 || r.wrong != nil || r.state.GetContactMs() == 0
	if due {
		r.reported = now
	}
	r.mu.Unlock()
	if !due {
		return nil
	}
	return r.call(ctx, "report to headquarters", 4<<10, r.report)
}

// report tells headquarters how the hub stands and takes what it says: whether the hub's rights hold, whether its log is
// still the same, and which devices are enrolled.
func (r *Relay) report(ctx context.Context) error {
	r.talk.Lock()
	defer r.talk.Unlock()
	status, err := r.Status(ctx)
	if err != nil {
		return err
	}
	lanes, err := r.signedLanes(ctx)
	if err != nil {
		return err
	}
	seen, upTo, err := r.seenSince(ctx, r.told)
	if err != nil {
		return err
	}
	resp, err := r.hub.Report(ctx, &servicev1.ReportRequest{Status: status, DevicesSum: r.State().GetDevicesSum(), Lanes: lanes, Seen: seen})
	if err != nil {
		return err
	}
	r.told = upTo
	st := r.State()
	if !bytes.Equal(st.GetServerKey(), resp.GetServerKey()) {
		return fault.New(fault.Conflict, fault.ServerChanged, "the server at %s has another key than the headquarters of this hub", r.opts.Upstream)
	}
	was := st.GetServerEpoch()
	restored := len(was) > 0 && !bytes.Equal(was, resp.GetServerEpoch()) || behind(lanes, resp.GetLanes())
	if restored {
		r.opts.Log.WarnContext(ctx, "headquarters no longer holds what it has signed for; everything is offered again", "upstream", r.opts.Upstream)
		if err := r.forget(ctx); err != nil {
			return err
		}
	}
	var items []store.Item
	for _, d := range resp.GetDevices() {
		it, err := store.MessageItem(store.ShelfHubDevice, d.GetDevice(), d)
		if err != nil {
			return err
		}
		if items = append(items, it); len(items) == 500 {
			if err := r.store.Put(ctx, items...); err != nil {
				return err
			}
			items = items[:0]
		}
	}
	if len(resp.GetDevices()) > 0 {
		r.retryNow()
	}
	return r.change(ctx, func(st *servicev1.HubState) {
		if len(was) > 0 && !bytes.Equal(was, resp.GetServerEpoch()) {
			st.PastEpochs = append(st.PastEpochs, was)
			st.PastEpochs = st.PastEpochs[max(0, len(st.PastEpochs)-maxPastEpochs):]
		}
		if restored {
			st.Run, st.Forwarded, st.Cursor = proto.Int64(0), proto.Uint64(0), nil
		}
		st.ServerEpoch, st.Notice, st.Upstream = resp.GetServerEpoch(), resp.GetNotice(), proto.String(r.opts.Upstream)
		st.ContactMs = proto.Int64(r.opts.Now().UnixMilli())
		if resp.GetNotice() == nil {
			st.DevicesSum = resp.GetDevicesSum()
		}
	}, items...)
}

// maxSeen is how many tablets one report names.
const maxSeen = 500

// seenSince lists the tablets that were here after a moment, those that were here first first, and up to when they are all
// there.
func (r *Relay) seenSince(ctx context.Context, since int64) ([]*servicev1.SeenDevice, int64, error) {
	all, err := r.opts.Store.ListDevices(ctx)
	if err != nil {
		return nil, 0, err
	}
	all = slices.DeleteFunc(all, func(d *servicev1.DeviceStatus) bool { return d.GetLastSeenMs() <= since })
	slices.SortFunc(all, func(a, b *servicev1.DeviceStatus) int { return cmp.Compare(a.GetLastSeenMs(), b.GetLastSeenMs()) })
	upTo, now := since, r.opts.Now().UnixMilli()
	var out []*servicev1.SeenDevice
	for _, d := range all[:min(len(all), maxSeen)] {
		upTo = d.GetLastSeenMs()
		out = append(out, &servicev1.SeenDevice{Device: d.GetDevice(), AgeMs: proto.Int64(max(0, now-upTo))})
	}
	return out, upTo, nil
}

// signedLanes are some lanes that headquarters has signed for, others each time.
func (r *Relay) signedLanes(ctx context.Context) ([]*servicev1.LaneHead, error) {
	items, err := r.store.List(ctx, store.ShelfHubLane, r.lastLane, reportLanes)
	if err != nil {
		return nil, err
	}
	if r.lastLane = nil; len(items) == reportLanes {
		r.lastLane = items[len(items)-1].Key
	}
	var out []*servicev1.LaneHead
	for _, it := range items {
		note := &servicev1.HubLane{}
		if err := proto.Unmarshal(it.Value, note); err != nil {
			return nil, fault.New(fault.Internal, fault.StoreDamaged, "shelf: what is known of a lane cannot be read: %w", err)
		}
		if sig := note.GetReceipt(); sig != nil {
			out = append(out, &servicev1.LaneHead{Lane: sig.GetLane(), Seq: sig.Seq, Chain: sig.GetChain()})
		}
	}
	return out, nil
}

// behind says whether headquarters holds less of a lane than it has signed for.
func behind(signed, held []*servicev1.LaneHead) bool {
	for i, h := range held {
		if i < len(signed) && proto.Equal(h.GetLane(), signed[i].GetLane()) && h.GetSeq() < signed[i].GetSeq() {
			return true
		}
	}
	return false
}

// retryNow has what headquarters did not take offered again at once.
func (r *Relay) retryNow() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.retry = true
}

// forget drops what an earlier log of headquarters has said: it was restored from a backup, and everything is offered
// again. The new epoch is written last, so that this is begun again if it is cut short.
func (r *Relay) forget(ctx context.Context) error {
	for _, space := range []string{store.ShelfHubLane, store.ShelfHubResult, store.ShelfHubTrouble, store.ShelfHubRecord, store.ShelfHubBucket, store.ShelfHubRow} {
		if err := r.drop(ctx, space); err != nil {
			return err
		}
	}
	return store.Walk(ctx, r.store, store.ShelfHubBlob, nil, func(it store.Item) (bool, error) {
		b := &servicev1.HubBlob{}
		if proto.Unmarshal(it.Value, b) == nil && b.GetForwarded() {
			return true, store.PutMessage(ctx, r.store, store.ShelfHubBlob, it.Key, &servicev1.HubBlob{Blob: b.GetBlob()})
		}
		return true, nil
	})
}

// drop empties a space of the shelf.
func (r *Relay) drop(ctx context.Context, space string) error {
	for {
		items, err := r.store.List(ctx, space, nil, 500)
		if err != nil || len(items) == 0 {
			return err
		}
		for i := range items {
			items[i].Value = nil
		}
		if err := r.store.Put(ctx, items...); err != nil {
			return err
		}
	}
}

// mirror brings the records that headquarters has written, one at a time, so that each is kept under headquarters' own
// counter: a tablet's cursor then means the same here and there.
func (r *Relay) mirror(ctx context.Context) error {
	for restarted := false; ; {
		cursor := r.State().GetCursor()
		req := &servicev1.PullRequest{Device: bytes.Clone(r.id[:]), Cursor: cursor, PageSize: proto.Uint32(1)}
		var resp *servicev1.PullResponse
		err := r.call(ctx, "pull the records of headquarters", 64<<10, func(ctx context.Context) (err error) {
			resp, err = r.sync.Pull(ctx, req)
			return err
		})
		switch reason := fault.ReasonOf(err); {
		case reason == fault.CursorStale && !restarted:
			restarted = true
			if err := r.drop(ctx, store.ShelfHubRecord); err != nil {
				return err
			}
			if err := r.change(ctx, func(st *servicev1.HubState) { st.Cursor = nil }); err != nil {
				return err
			}
			continue
		case reason == fault.HubRevoked:
			return nil // the next report says so
		case err != nil:
			return err
		case resp.GetNotice() != nil:
			return nil
		}
		if len(resp.GetEntries()) == 0 {
			return nil
		}
		items, err := mirrored(cursor, resp)
		if err != nil {
			return err
		}
		if err := r.change(ctx, func(st *servicev1.HubState) { st.Cursor = resp.GetCursor() }, items...); err != nil {
			return err
		}
		if !resp.GetMore() {
			return nil
		}
	}
}

// mirrored is the one record of a page under its part and counter, which are told by how the cursor has moved.
func mirrored(before *servicev1.Cursor, resp *servicev1.PullResponse) ([]store.Item, error) {
	was := map[uint64]uint64{}
	for _, p := range before.GetParts() {
		was[p.GetPart()] = p.GetCounter()
	}
	var moved []*servicev1.PartCounter
	for _, p := range resp.GetCursor().GetParts() {
		if p.GetCounter() > was[p.GetPart()] {
			moved = append(moved, p)
		}
	}
	e := resp.GetEntries()[0]
	d, err := syncer.ParseDigest(e.GetDigest())
	if err != nil || len(moved) != 1 || len(resp.GetEntries()) != 1 || syncer.DigestOf(e.GetRecord()) != d {
		return nil, fault.New(fault.Invalid, fault.BadDigest, "headquarters answered a page of one with %d records in %d parts, or with a damaged one", len(resp.GetEntries()), len(moved))
	}
	rec := &servicev1.HubRecord{Part: moved[0].Part, Counter: moved[0].Counter, Entry: e}
	key := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, rec.GetPart()), rec.GetCounter())
	it, err := store.MessageItem(store.ShelfHubRecord, key, rec)
	return []store.Item{it}, err
}
