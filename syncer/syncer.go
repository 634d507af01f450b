// Package syncer is how two stores come to agree: records and their digests, lanes and their chains, batches, receipts,
// cursors, and the heads of an interview's revisions. PROTOCOL.md says the same byte for byte.
//
// It is for the tablet's store and for the server, which both call it so that they cannot disagree. It is pure: it does
// not read a clock, open a file or a connection, or decide what a payload means.
package syncer

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// Protocol is the version of the protocol spoken here.
const Protocol = 1

// The tags that keep one kind of hash or signature from being taken for another.
const (
	recordTag  = "hearth/record/v1\x00"
	chainTag   = "hearth/chain/v1\x00"
	headTag    = "hearth/head/v1\x00"
	receiptTag = "hearth/receipt/v1\x00"
	partTag    = "hearth/part/v1\x00"
)

// Digest is the SHA-256 of a record's stored bytes under the record tag; it is the record's identity.
type Digest [32]byte

// String is the digest in hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Chain is the running hash of a lane up to an entry. The zero Chain stands before the first entry.
type Chain [32]byte

// String is the chain hash in hexadecimal.
func (c Chain) String() string { return hex.EncodeToString(c[:]) }

// ID is a device, an epoch, or a record: 16 bytes.
type ID [16]byte

// String is the id in hexadecimal.
func (i ID) String() string { return hex.EncodeToString(i[:]) }

// LaneID names one outgoing sequence: a device and the epoch of its store.
type LaneID struct {
	Device ID
	Epoch  ID
}

// String is "device/epoch", each shortened to eight hexadecimal digits, for messages.
func (l LaneID) String() string {
	return hex.EncodeToString(l.Device[:4]) + "/" + hex.EncodeToString(l.Epoch[:4])
}

// Proto returns the lane as a message.
func (l LaneID) Proto() *servicev1.LaneId {
	return &servicev1.LaneId{Device: bytes.Clone(l.Device[:]), Epoch: bytes.Clone(l.Epoch[:])}
}

// ParseLane reads a lane from a message. It fails with fault.BadBatch unless both ids have 16 bytes.
func ParseLane(m *servicev1.LaneId) (LaneID, error) {
	var l LaneID
	device, err := ParseID(m.GetDevice())
	if err != nil {
		return l, fault.New(fault.Invalid, fault.BadBatch, "device of the lane: %w", err)
	}
	epoch, err := ParseID(m.GetEpoch())
	if err != nil {
		return l, fault.New(fault.Invalid, fault.BadBatch, "epoch of the lane: %w", err)
	}
	return LaneID{Device: device, Epoch: epoch}, nil
}

// ParseID reads an id of exactly 16 bytes.
func ParseID(b []byte) (ID, error) {
	if len(b) != len(ID{}) {
		return ID{}, fmt.Errorf("id has %d bytes, want 16", len(b))
	}
	return ID(b), nil
}

// ParseDigest reads a digest of exactly 32 bytes.
func ParseDigest(b []byte) (Digest, error) {
	if len(b) != len(Digest{}) {
		return Digest{}, fmt.Errorf("digest has %d bytes, want 32", len(b))
	}
	return Digest(b), nil
}

// ParseChain reads a chain hash of exactly 32 bytes.
func ParseChain(b []byte) (Chain, error) {
	if len(b) != len(Chain{}) {
		return Chain{}, fmt.Errorf("chain hash has %d bytes, want 32", len(b))
	}
	return Chain(b), nil
}

// DigestOf hashes the exact bytes of a record.
func DigestOf(record []byte) Digest {
	h := sha256.New()
	h.Write([]byte(recordTag))
	h.Write(record)
	return Digest(h.Sum(nil))
}

// NextChain is the chain hash of the entry with sequence number seq, which follows one whose chain hash is prev.
func NextChain(prev Chain, lane LaneID, seq uint64, d Digest) Chain {
	buf := make([]byte, 0, len(chainTag)+32+32+8+32)
	buf = append(buf, chainTag...)
	buf = append(buf, prev[:]...)
	buf = append(buf, lane.Device[:]...)
	buf = append(buf, lane.Epoch[:]...)
	buf = binary.BigEndian.AppendUint64(buf, seq)
	buf = append(buf, d[:]...)
	return sha256.Sum256(buf)
}

// Part is the partition of a record: the first 8 bytes, big endian, of the SHA-256 of the study and the site (or
// enumeration area). It leads every primary key, so that a log can be spread over several machines. It is fixed when
// the first revision of an interview is written and never changes.
func Part(study, site string) uint64 {
	h := sha256.New()
	h.Write([]byte(partTag))
	h.Write([]byte(study))
	h.Write([]byte{0})
	h.Write([]byte(site))
	return binary.BigEndian.Uint64(h.Sum(nil))
}

// Head is how far a lane has got.
type Head struct {
	Seq   uint64
	Chain Chain
}

// Proto returns the head as a message.
func (h Head) Proto(lane LaneID) *servicev1.LaneHead {
	return &servicev1.LaneHead{Lane: lane.Proto(), Seq: ptr(h.Seq), Chain: bytes.Clone(h.Chain[:])}
}

// ParseHead reads a lane and its head from a message.
func ParseHead(m *servicev1.LaneHead) (LaneID, Head, error) {
	lane, err := ParseLane(m.GetLane())
	if err != nil {
		return lane, Head{}, err
	}
	chain, err := ParseChain(m.GetChain())
	if err != nil {
		return lane, Head{}, fault.New(fault.Invalid, fault.BadBatch, "head of lane %v: %w", lane, err)
	}
	return lane, Head{Seq: m.GetSeq(), Chain: chain}, nil
}
