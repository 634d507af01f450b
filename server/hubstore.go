package server

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// hubStore is the store of a hub: who is known, whose rights were taken away and what studies there are is what
// headquarters says, and a lane is held from where headquarters has signed for it.
type hubStore struct {
	store.Store
	upstream Upstream
}

// device is what headquarters says of a device; nil if it never enrolled it, as far as the hub can know. If it is not
// known, headquarters is asked.
func (h *hubStore) device(ctx context.Context, id syncer.ID) (*servicev1.EnrolledDevice, error) {
	d := &servicev1.EnrolledDevice{}
	known, err := store.GetMessage(ctx, h.Store, store.ShelfHubDevice, id[:], d)
	if err != nil || known {
		return d, err
	}
	if h.upstream.Refresh(ctx) != nil {
		return nil, nil // headquarters is away: what the hub knows must do
	}
	if known, err = store.GetMessage(ctx, h.Store, store.ShelfHubDevice, id[:], d); err != nil || !known {
		return nil, err
	}
	return d, nil
}

// Key returns the key under which headquarters enrolled a device.
func (h *hubStore) Key(ctx context.Context, id syncer.ID) (ed25519.PublicKey, error) {
	d, err := h.device(ctx, id)
	if err != nil {
		return nil, err
	}
	if d == nil {
		return nil, fault.New(fault.NotFound, fault.DeviceUnknown, "headquarters has not enrolled device %v, as far as this hub knows", id)
	}
	return d.GetPublicKey(), nil
}

// Greet notes a Hello of a device that headquarters has enrolled; others are refused.
func (h *hubStore) Greet(ctx context.Context, g store.Greeting) error {
	d, err := h.device(ctx, g.Device)
	switch {
	case err != nil:
		return err
	case d == nil:
		return fault.New(fault.Permission, fault.DeviceNotEnrolled, "headquarters has not enrolled device %v, as far as this hub knows: what it has stays on it", g.Device)
	case !bytes.Equal(d.GetPublicKey(), g.Key):
		return fault.New(fault.Conflict, fault.DeviceKeyChanged, "device %v (%s) is known by another key", g.Device, d.GetName())
	}
	g.Name, g.Enumerator, g.KeepNames = d.GetName(), d.GetEnumerator(), false
	return h.Store.Greet(ctx, g)
}

// Revoked says whether headquarters has taken a device's rights away.
func (h *hubStore) Revoked(ctx context.Context, id syncer.ID) (store.Revocation, bool, error) {
	d := &servicev1.EnrolledDevice{}
	known, err := store.GetMessage(ctx, h.Store, store.ShelfHubDevice, id[:], d)
	if err != nil || !known || d.RevokedMs == nil {
		return store.Revocation{}, false, err
	}
	return store.Revocation{Device: id, RevokedMS: d.GetRevokedMs(), Reason: d.GetRevokedReason(), By: "headquarters"}, true, nil
}

// Lane returns how far a lane is held: by the hub, or by headquarters and from there on by the hub.
func (h *hubStore) Lane(ctx context.Context, lane syncer.LaneID) (syncer.Head, error) {
	head, err := h.Store.Lane(ctx, lane)
	if err != nil {
		return head, err
	}
	return h.reach(ctx, lane, head)
}

// reach is how far a lane is held if its entries without a gap from the first end at a head.
func (h *hubStore) reach(ctx context.Context, lane syncer.LaneID, head syncer.Head) (syncer.Head, error) {
	note := &servicev1.HubLane{}
	if known, err := store.GetMessage(ctx, h.Store, store.ShelfHubLane, store.LaneKey(lane), note); err != nil || !known {
		return head, err
	}
	if note.GetGap() || note.GetBase().GetSeq() <= head.Seq {
		return head, nil
	}
	chain, err := syncer.ParseChain(note.GetBase().GetChain())
	if err != nil {
		return head, fmt.Errorf("lane %v: %w", lane, err)
	}
	at := syncer.Head{Seq: note.GetBase().GetSeq(), Chain: chain}
	for {
		runs, err := h.RunsFrom(ctx, lane, 0, at.Seq+1, 100)
		if err != nil {
			return head, err
		}
		plain := make([]syncer.Run, len(runs))
		for i, r := range runs {
			plain[i] = r.Run
		}
		next := syncer.Reach(lane, at, plain)
		if next == at || len(runs) < 100 {
			return next, nil
		}
		at = next
	}
}

// Studies are those of headquarters' records that are mirrored here.
func (h *hubStore) Studies(ctx context.Context) ([]*surveyv1.Study, error) {
	bySubject := map[string][]store.Stored{}
	var order []string
	err := eachMirrored(ctx, h.Store, func(r *servicev1.HubRecord) error {
		env, err := syncer.Open(r.GetEntry().GetRecord())
		if err != nil || env.GetKind() != servicev1.RecordKind_RECORD_KIND_STUDY {
			return nil // for a program that knows more
		}
		d, err := syncer.ParseDigest(r.GetEntry().GetDigest())
		if err != nil {
			return nil
		}
		if bySubject[env.GetSubject()] == nil {
			order = append(order, env.GetSubject())
		}
		bySubject[env.GetSubject()] = append(bySubject[env.GetSubject()], store.Stored{Digest: d, Raw: r.GetEntry().GetRecord()})
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out []*surveyv1.Study
	for _, subject := range order {
		for _, head := range headsOf(bySubject[subject]) {
			st := &surveyv1.Study{}
			if proto.Unmarshal(head.payload, st) == nil && st.GetStudy() == subject {
				out = append(out, st)
				break
			}
		}
	}
	return out, nil
}

// eachMirrored calls f for the records of headquarters that a hub has mirrored, in order of part and counter.
func eachMirrored(ctx context.Context, s store.Shelf, f func(*servicev1.HubRecord) error) error {
	return store.Walk(ctx, s, store.ShelfHubRecord, nil, func(it store.Item) (bool, error) {
		r := &servicev1.HubRecord{}
		if err := proto.Unmarshal(it.Value, r); err != nil {
			return false, fault.New(fault.Internal, fault.StoreDamaged, "a mirrored record of headquarters cannot be read: %w", err)
		}
		return true, f(r)
	})
}
