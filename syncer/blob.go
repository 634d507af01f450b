package syncer

import (
	"bytes"
	"hash/crc32"
	"slices"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/protobuf/proto"
)

// Limits of attachments.
const (
	// MaxBlobBytes is the most one attachment may have.
	MaxBlobBytes = 64 << 20
	// MaxChunkBytes is the most one piece of it may have in a message.
	MaxChunkBytes = 1 << 20
	// MaxBlobRefs is how many attachments one BlobStat may name.
	MaxBlobRefs = 1000
)

// BlobID is the SHA-256 of an attachment's bytes.
type BlobID [32]byte

// ParseBlobRef reads the name of an attachment. It fails with fault.BadRequest, or fault.BlobTooLarge over MaxBlobBytes.
func ParseBlobRef(r *servicev1.BlobRef) (BlobID, int64, error) {
	id, err := ParseBlobID(r.GetSha256())
	if err != nil {
		return id, 0, err
	}
	size := r.GetSize()
	if size < 0 {
		return id, 0, fault.New(fault.Invalid, fault.BadRequest, "the attachment is said to have %d bytes", size)
	}
	if size > MaxBlobBytes {
		return id, 0, fault.New(fault.TooLarge, fault.BlobTooLarge, "the attachment has %d bytes, the limit is %d", size, MaxBlobBytes)
	}
	return id, size, nil
}

// ParseBlobID reads the hash of an attachment.
func ParseBlobID(b []byte) (BlobID, error) {
	if len(b) != len(BlobID{}) {
		return BlobID{}, fault.New(fault.Invalid, fault.BadRequest, "the hash of an attachment has %d bytes, want 32", len(b))
	}
	return BlobID(b), nil
}

// ChunkCRC is the CRC-32C of a piece of an attachment.
func ChunkCRC(data []byte) uint32 { return crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)) }

// NewChunk makes the message that carries a piece.
func NewChunk(ref *servicev1.BlobRef, offset int64, data []byte) *servicev1.PutChunkRequest {
	return &servicev1.PutChunkRequest{Blob: ref, Offset: proto.Int64(offset), Data: data, Crc32C: proto.Uint32(ChunkCRC(data))}
}

// CheckChunk says whether a piece may be a part of an attachment of that size: fault.BadChunk if it lies outside, is
// empty though the attachment is not, is too large, or its CRC is wrong.
func CheckChunk(size, offset int64, data []byte, crc uint32) error {
	n := int64(len(data))
	switch {
	case n > MaxChunkBytes:
		return fault.New(fault.TooLarge, fault.BadChunk, "the piece has %d bytes, the limit is %d", n, MaxChunkBytes)
	case offset < 0 || offset > size || n > size-offset:
		return fault.New(fault.Invalid, fault.BadChunk, "the piece of %d bytes at %d lies outside an attachment of %d bytes", n, offset, size)
	case n == 0 && size > 0:
		return fault.New(fault.Invalid, fault.BadChunk, "the piece at %d is empty", offset)
	case ChunkCRC(data) != crc:
		return fault.New(fault.Invalid, fault.BadChunk, "the piece at %d changed on the way: its CRC-32C is not %08x", offset, crc)
	}
	return nil
}

// Range is a stretch of an attachment: first byte and the one after the last.
type Range struct{ Start, End int64 }

// Ranges are stretches in order that neither touch nor overlap. The zero value is none.
type Ranges []Range

// Add returns the ranges with one more.
func (rs Ranges) Add(r Range) Ranges {
	if r.Start >= r.End {
		return rs
	}
	// The first that ends at or behind the start, and the first that begins behind the end.
	i, _ := slices.BinarySearchFunc(rs, r.Start, func(x Range, at int64) int { return compare(x.End, at) })
	j := i
	for j < len(rs) && rs[j].Start <= r.End {
		r.Start, r.End = min(r.Start, rs[j].Start), max(r.End, rs[j].End)
		j++
	}
	return slices.Replace(rs, i, j, r)
}

func compare(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Missing returns what of r the ranges do not hold.
func (rs Ranges) Missing(r Range) Ranges {
	var out Ranges
	at := r.Start
	i, _ := slices.BinarySearchFunc(rs, r.Start, func(x Range, at int64) int { return compare(x.End, at) })
	for ; i < len(rs) && rs[i].Start < r.End; i++ {
		if rs[i].Start > at {
			out = append(out, Range{at, rs[i].Start})
		}
		at = max(at, rs[i].End)
	}
	if at < r.End {
		out = append(out, Range{at, r.End})
	}
	return out
}

// Bytes counts the bytes in the ranges.
func (rs Ranges) Bytes() int64 {
	var n int64
	for _, r := range rs {
		n += r.End - r.Start
	}
	return n
}

// Proto is the ranges in a message.
func (rs Ranges) Proto() []*servicev1.ByteRange {
	out := make([]*servicev1.ByteRange, len(rs))
	for i, r := range rs {
		out[i] = &servicev1.ByteRange{Start: proto.Int64(r.Start), End: proto.Int64(r.End)}
	}
	return out
}

// ParseBlobState reads what another store holds of an attachment of that size. Ranges that lie outside fail with
// fault.BadRequest.
func ParseBlobState(m *servicev1.BlobState, id BlobID, size int64) (have Ranges, complete bool, err error) {
	if !bytes.Equal(m.GetSha256(), id[:]) {
		return nil, false, fault.New(fault.Invalid, fault.BadRequest, "the answer is about attachment %x, asked about %x", m.GetSha256(), id[:])
	}
	for _, r := range m.GetHave() {
		if r.GetStart() < 0 || r.GetStart() >= r.GetEnd() || r.GetEnd() > size {
			return nil, false, fault.New(fault.Invalid, fault.BadRequest, "the answer names bytes %d to %d of an attachment of %d", r.GetStart(), r.GetEnd(), size)
		}
		have = have.Add(Range{r.GetStart(), r.GetEnd()})
	}
	return have, m.GetComplete(), nil
}
