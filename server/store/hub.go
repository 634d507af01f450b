package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// Hubs is what a hub needs of its log to forward it, and a shelf for what hubs and their headquarters remember of each
// other.
type Hubs interface {
	Shelf
	// Runs returns at most limit runs of lanes in the order of arrival, after the run with that number; 0 is the beginning.
	// It may return fewer to stay within some megabytes of records, but at least one if there is one.
	Runs(ctx context.Context, after int64, limit int) ([]LaneRun, error)
	// RunsFrom returns at most limit runs of a branch of a lane that end at an entry or behind it, ordered by their first
	// entry. Branch 0 is the main branch and what is held beyond a gap.
	RunsFrom(ctx context.Context, lane syncer.LaneID, branch int64, seq uint64, limit int) ([]LaneRun, error)
	// Bytes returns the exact bytes of a record by its digest alone, from the log or from quarantine, and when they came;
	// nil if they are not here. It is for hubs, whose stores are opened so that it is quick.
	Bytes(ctx context.Context, digest syncer.Digest) ([]byte, int64, error)
	// RunTotals counts the runs after the one with that number.
	RunTotals(ctx context.Context, after int64) (RunTotals, error)
}

// LaneRun is a run of entries as it was signed and came.
type LaneRun struct {
	// Number counts in the order of arrival; it does not change.
	Number int64
	Lane   syncer.LaneID
	Branch int64
	syncer.Run
}

// RunTotals sums up runs.
type RunTotals struct {
	// Entries counts those of all runs.
	Entries uint64
	// Last is the number of the last run in the log, whether it is among them or not; 0: there is none.
	Last int64
}

// Shelf keeps small values beside the log under a space and a key. It is for what one server must remember that is not a
// record and that nothing is derived from.
type Shelf interface {
	// Put stores values, in one transaction that is durable when it returns. A nil value takes the key away.
	Put(ctx context.Context, items ...Item) error
	// Claim stores a value where the key has none, durably, and returns what the key holds then: of many who claim it at the
	// same time all are told the same.
	Claim(ctx context.Context, item Item) ([]byte, error)
	// Get returns a value, nil if there is none.
	Get(ctx context.Context, space string, key []byte) ([]byte, error)
	// List returns at most limit items of a space in order of their keys' bytes, from behind a key.
	List(ctx context.Context, space string, after []byte, limit int) ([]Item, error)
}

// Item is one value on the shelf.
type Item struct {
	Space string
	Key   []byte
	Value []byte
}

// The spaces of the shelf: what a hub remembers of its headquarters, and headquarters of its hubs.
const (
	// ShelfHub has one value, hearth.service.v1.HubState, under an empty key.
	ShelfHub = "hub"
	// ShelfRules has a QuestionnaireRules for each questionnaire's full name, at headquarters.
	ShelfRules = "rules"
	// ShelfHubDevice has an EnrolledDevice for each device's id.
	ShelfHubDevice = "hub/device"
	// ShelfHubLane has a HubLane for each LaneKey.
	ShelfHubLane = "hub/lane"
	// ShelfHubResult has an EntryResult of headquarters for each EntryKey.
	ShelfHubResult = "hub/result"
	// ShelfHubTrouble has a HubTrouble for each run that cannot be forwarded, by its number.
	ShelfHubTrouble = "hub/trouble"
	// ShelfHubBlob has a HubBlob for each attachment, by its hash.
	ShelfHubBlob = "hub/blob"
	// ShelfHubRecord has a HubRecord of headquarters for each part and counter.
	ShelfHubRecord = "hub/record"
	// ShelfHubScope has a HubScope for the id of each tablet that was here.
	ShelfHubScope = "hub/scope"
	// ShelfHubBucket has a HubBucket for each BucketKey.
	ShelfHubBucket = "hub/bucket"
	// ShelfHubRow has a Row for each RowKey.
	ShelfHubRow = "hub/row"
	// ShelfTickets has the last number with which each device has used a ticket, by its id.
	ShelfTickets = "tickets"
	// ShelfCoupons has the LaneKey of the lane that was given each number for coupons, by the CouponKey.
	ShelfCoupons = "coupons"
	// ShelfCouponLanes has the number that a lane was given, by the code of the study, a zero byte and the LaneKey.
	ShelfCouponLanes = "coupons/lane"
	// ShelfHubs has a HubReport for each hub that headquarters has enrolled, by its id.
	ShelfHubs = "hubs"
	// ShelfHubSeen has a SeenDevice for each tablet that was at a hub, by its id.
	ShelfHubSeen = "hubs/seen"
	// ShelfHubCode has the end, in milliseconds since 1970, of each code that was made for a hub, by the code's hash.
	ShelfHubCode = "hubs/code"
)

// LaneKey is the key of a lane.
func LaneKey(l syncer.LaneID) []byte { return append(bytes.Clone(l.Device[:]), l.Epoch[:]...) }

// EntryKey is the key of an entry of a lane; keys of a lane are in the order of its entries.
func EntryKey(l syncer.LaneID, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(LaneKey(l), seq)
}

// BucketKey is the key of a bucket of a study, and what the keys of its rows begin with.
func BucketKey(study string, kind servicev1.BucketKind, scope string) []byte {
	return fmt.Appendf(nil, "%s\x00%d\x00%s\x00", study, kind, scope)
}

// RowKey is the key of a row of a bucket.
func RowKey(bucket []byte, key string) []byte { return append(bytes.Clone(bucket), key...) }

// CouponKey is the key of a number for coupons of a study; keys of a study are in the order of the numbers.
func CouponKey(study string, n int64) []byte {
	return append(append([]byte(study), 0), NumberKey(n)...)
}

// NumberKey is the key of a number; keys are in the order of the numbers.
func NumberKey(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

// GetMessage reads a message from the shelf and says whether it is there.
func GetMessage(ctx context.Context, s Shelf, space string, key []byte, m proto.Message) (bool, error) {
	raw, err := s.Get(ctx, space, key)
	if err != nil || raw == nil {
		return false, err
	}
	if err := proto.Unmarshal(raw, m); err != nil {
		return false, fault.New(fault.Internal, fault.StoreDamaged, "shelf: a value of %s cannot be read: %w", space, err)
	}
	return true, nil
}

// MessageItem is an item of the shelf that holds a message.
func MessageItem(space string, key []byte, m proto.Message) (Item, error) {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return Item{}, fault.New(fault.Internal, "", "shelf: a value of %s: %w", space, err)
	}
	return Item{Space: space, Key: key, Value: append([]byte{}, raw...)}, nil
}

// PutMessage stores one message on the shelf.
func PutMessage(ctx context.Context, s Shelf, space string, key []byte, m proto.Message) error {
	it, err := MessageItem(space, key, m)
	if err != nil {
		return err
	}
	return s.Put(ctx, it)
}

// Walk calls f for every item of a space in order, behind a key; it stops when f says false.
func Walk(ctx context.Context, s Shelf, space string, after []byte, f func(Item) (bool, error)) error {
	const page = 200
	for {
		items, err := s.List(ctx, space, after, page)
		if err != nil {
			return err
		}
		for _, it := range items {
			if on, err := f(it); err != nil || !on {
				return err
			}
		}
		if len(items) < page {
			return nil
		}
		after = items[len(items)-1].Key
	}
}
