package syncer

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer/plant"
)

// NewReceipt signs that everything of a lane up to its head is durable at timeMS (milliseconds since 1970).
func NewReceipt(key ed25519.PrivateKey, lane LaneID, h Head, timeMS int64) *servicev1.Receipt {
	return &servicev1.Receipt{
		Lane: lane.Proto(), Seq: ptr(h.Seq), Chain: bytes.Clone(h.Chain[:]), TimeMs: ptr(timeMS),
		Keeper:    bytes.Clone(key.Public().(ed25519.PublicKey)),
		Signature: ed25519.Sign(key, receiptBytes(lane, h, timeMS)),
	}
}

// VerifyReceipt checks a receipt against the key of the server that the tablet knows and returns what it covers. It
// fails with fault.BadSignature, or fault.ServerChanged if another server signed it.
func VerifyReceipt(r *servicev1.Receipt, keeper ed25519.PublicKey) (LaneID, Head, error) {
	lane, err := ParseLane(r.GetLane())
	if err != nil {
		return lane, Head{}, err
	}
	chain, err := ParseChain(r.GetChain())
	if err != nil {
		return lane, Head{}, fault.New(fault.Invalid, fault.BadSignature, "receipt: %w", err)
	}
	h := Head{Seq: r.GetSeq(), Chain: chain}
	if plant.In(plant.ReceiptUnverified) {
		return lane, h, nil
	}
	if !bytes.Equal(r.GetKeeper(), keeper) {
		return lane, h, fault.New(fault.Conflict, fault.ServerChanged, "the receipt for lane %v is from another server", lane)
	}
	if len(keeper) != ed25519.PublicKeySize || !ed25519.Verify(keeper, receiptBytes(lane, h, r.GetTimeMs()), r.GetSignature()) {
		return lane, h, fault.New(fault.Invalid, fault.BadSignature, "the receipt for lane %v up to %d does not verify", lane, h.Seq)
	}
	return lane, h, nil
}

func receiptBytes(lane LaneID, h Head, timeMS int64) []byte {
	buf := append([]byte(receiptTag), lane.Device[:]...)
	buf = append(buf, lane.Epoch[:]...)
	buf = binary.BigEndian.AppendUint64(buf, h.Seq)
	buf = append(buf, h.Chain[:]...)
	return binary.BigEndian.AppendUint64(buf, uint64(timeMS))
}
