package syncer

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer/plant"
)

// Limits are what a server takes in one batch.
type Limits struct {
	Records     int
	Bytes       int
	RecordBytes int
}

// DefaultLimits fit within the 4 MiB that gRPC takes in one message.
var DefaultLimits = Limits{Records: 1000, Bytes: 3 << 20, RecordBytes: MaxRecordBytes}

// Entry is one entry of a batch after checking.
type Entry struct {
	Seq    uint64
	Digest Digest
	// Raw are the bytes of the record; nil if the sender declared its copy damaged.
	Raw []byte
	// Record is the envelope; nil if Raw is nil or unreadable.
	Record *servicev1.Record
	// Reason is why the record cannot be used, "" if it can.
	Reason fault.Reason
	// Message says so in words.
	Message string
	// Refused entries are not stored: what arrived is not what the author wrote.
	Refused bool
}

// Checked is a batch whose signature, chain and digests have been verified.
type Checked struct {
	Lane LaneID
	// Entries are all entries of the batch in order.
	Entries []Entry
	// Runs are the stretches of entries that are not refused.
	Runs []Run
	// Bytes is the size of all records.
	Bytes int
}

// SignHead signs the head of a lane.
func SignHead(key ed25519.PrivateKey, lane LaneID, h Head) []byte {
	return ed25519.Sign(key, headBytes(lane, h))
}

func headBytes(lane LaneID, h Head) []byte {
	buf := append([]byte(headTag), lane.Device[:]...)
	buf = append(buf, lane.Epoch[:]...)
	buf = binary.BigEndian.AppendUint64(buf, h.Seq)
	return append(buf, h.Chain[:]...)
}

// NewBatch makes a batch of consecutive entries. Digests and raws go together; a nil raw declares the sender's copy
// damaged. The raws are sent as they are, never marshalled again. With compress, entries travel as zstd where that is
// smaller.
func NewBatch(key ed25519.PrivateKey, lane LaneID, first uint64, prev Chain, digests []Digest, raws [][]byte, compress bool) *servicev1.Batch {
	run := Run{First: first, Prev: prev, Digests: digests}
	b := &servicev1.Batch{
		Lane: lane.Proto(), FirstSeq: ptr(first), PrevChain: append([]byte(nil), prev[:]...),
		Signature: SignHead(key, lane, run.Head(lane)),
	}
	for i := range digests {
		b.Entries = append(b.Entries, &servicev1.Entry{Digest: append([]byte(nil), digests[i][:]...), Record: raws[i]})
	}
	if compress {
		squeeze(b)
	}
	return b
}

// Check verifies a batch that has arrived: its shape, the limits, the device's signature over its head, and every
// record's digest. It fails as a whole only if the batch cannot be believed or is over the limits (fault.BadBatch,
// fault.BatchTooLarge, fault.BadSignature); a bad record is marked in its entry and the others stand.
func Check(b *servicev1.Batch, key ed25519.PublicKey, lim Limits) (*Checked, error) {
	lane, err := ParseLane(b.GetLane())
	if err != nil {
		return nil, err
	}
	first := b.GetFirstSeq()
	prev, err := prevChain(b)
	if err != nil {
		return nil, fmt.Errorf("lane %v: %w", lane, err)
	}
	entries, err := entriesOf(b, lane, lim)
	if err != nil {
		return nil, fmt.Errorf("lane %v: %w", lane, err)
	}
	switch {
	case len(entries) == 0:
		return nil, fault.New(fault.Invalid, fault.BadBatch, "lane %v: the batch is empty", lane)
	case len(entries) > lim.Records:
		return nil, fault.New(fault.TooLarge, fault.BatchTooLarge, "lane %v: %d records in one batch, the limit is %d", lane, len(entries), lim.Records)
	case first == 0 || first > 1<<62:
		return nil, fault.New(fault.Invalid, fault.BadBatch, "lane %v: sequence numbers count from 1, the batch begins with %d", lane, first)
	case first == 1 && prev != Chain{}:
		return nil, fault.New(fault.Invalid, fault.BadChain, "lane %v: nothing stands before entry 1, but the batch names a chain hash", lane)
	}
	c := &Checked{Lane: lane, Entries: make([]Entry, len(entries))}
	chain, err := c.take(entries, first, prev, lim, len(b.GetPacked()) > 0)
	if err != nil {
		return nil, err
	}
	last := first + uint64(len(entries)) - 1
	if len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, headBytes(lane, Head{last, chain}), b.GetSignature()) && !plant.In(plant.SignatureUnchecked) {
		return nil, fault.New(fault.Invalid, fault.BadSignature, "lane %v: the signature over entries %d to %d does not verify", lane, first, last)
	}
	if n := len(c.Runs); n > 0 && c.Runs[n-1].Last() == last {
		c.Runs[n-1].Signature = b.GetSignature()
	}
	return c, nil
}

// NeedsHead says whether a batch leaves out the chain hash before its first entry: the receiver is to put in that of its
// own head of the lane, if the batch begins behind it.
func NeedsHead(b *servicev1.Batch) bool {
	return len(b.GetPacked()) > 0 && len(b.GetPrevChain()) == 0 && b.GetFirstSeq() > 1
}

// prevChain is the chain hash before the first entry. A packed batch may leave out the zeros before entry 1.
func prevChain(b *servicev1.Batch) (Chain, error) {
	switch {
	case NeedsHead(b):
		return Chain{}, fault.New(fault.Invalid, fault.BadChain, "the batch leaves out the chain hash before entry %d, where the lane does not end here", b.GetFirstSeq())
	case len(b.GetPacked()) > 0 && len(b.GetPrevChain()) == 0:
		return Chain{}, nil
	}
	c, err := ParseChain(b.GetPrevChain())
	if err != nil {
		return c, fault.New(fault.Invalid, fault.BadBatch, "%w", err)
	}
	return c, nil
}

// entriesOf returns the entries of a batch in whichever form they travel; it has one.
func entriesOf(b *servicev1.Batch, lane LaneID, lim Limits) ([]*servicev1.Entry, error) {
	if len(b.GetPacked()) == 0 {
		return unsqueeze(b, lim)
	}
	if len(b.GetEntries()) > 0 || len(b.GetEntriesZstd()) > 0 {
		return nil, fault.New(fault.Invalid, fault.BadBatch, "the batch has packed entries and others")
	}
	p, err := decompressText(b.GetPacked(), uint64(lim.Bytes)+uint64(lim.Records)*entryOverhead)
	if err != nil {
		return nil, err
	}
	p.IDs, p.Numbers = b.GetPackedIds(), b.GetPackedNumbers()
	return UnpackText(lane, p, lim)
}

// take checks the entries one by one and returns the chain hash after the last. Those that were hashed are not again.
func (c *Checked) take(entries []*servicev1.Entry, first uint64, chain Chain, lim Limits, hashed bool) (Chain, error) {
	open := false
	for i, e := range entries {
		d, err := ParseDigest(e.GetDigest())
		if err != nil {
			return chain, fault.New(fault.Invalid, fault.BadBatch, "lane %v: entry %d: %w", c.Lane, first+uint64(i), err)
		}
		c.Entries[i] = checkEntry(c.Lane, first+uint64(i), d, e.GetRecord(), lim, hashed)
		c.Bytes += len(e.GetRecord())
		if c.Bytes > lim.Bytes {
			return chain, fault.New(fault.TooLarge, fault.BatchTooLarge, "lane %v: more than %d bytes of records in one batch", c.Lane, lim.Bytes)
		}
		if c.Entries[i].Refused {
			open = false
		} else {
			if !open {
				c.Runs = append(c.Runs, Run{First: first + uint64(i), Prev: chain})
			}
			open = true
			run := &c.Runs[len(c.Runs)-1]
			run.Digests = append(run.Digests, d)
		}
		chain = NextChain(chain, c.Lane, first+uint64(i), d)
	}
	return chain, nil
}

// CheckEntry checks one record by itself, as Check does with each of a batch; its place in the lane is not looked at. It is
// for records that arrived before and are to be decided about again.
func CheckEntry(lane LaneID, seq uint64, d Digest, raw []byte) Entry {
	return checkEntry(lane, seq, d, raw, DefaultLimits, false)
}

func checkEntry(lane LaneID, seq uint64, d Digest, raw []byte, lim Limits, hashed bool) Entry {
	e := Entry{Seq: seq, Digest: d, Raw: raw}
	switch {
	case len(raw) == 0:
		e.Raw = nil
		e.Reason, e.Message = fault.RecordDamaged, "the tablet's copy of this record is damaged"
		return e
	case len(raw) > lim.RecordBytes:
		return Entry{Seq: seq, Digest: d, Reason: fault.RecordTooLarge, Message: "the record is over the limit", Refused: true}
	case !hashed && DigestOf(raw) != d && !plant.In(plant.DigestUnchecked):
		return Entry{Seq: seq, Digest: d, Reason: fault.BadDigest, Message: "the record's bytes are not those its author hashed", Refused: true}
	}
	r, err := Open(raw)
	if err != nil {
		e.Reason, e.Message = fault.RecordUnreadable, err.Error()
		return e
	}
	e.Record = r
	if !bytes.Equal(r.GetDevice(), lane.Device[:]) {
		e.Reason, e.Message = fault.BadSignature, "the record names another device as its author's, and that device has not signed it"
	}
	return e
}
