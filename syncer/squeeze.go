package syncer

import (
	"sync"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// entryOverhead is the most that one entry takes beside its record: the digest and the tags and lengths of the fields.
const entryOverhead = 64

// maxWindow bounds the memory a compressed batch can ask of the decoder; it is the window of the format's highest
// level that every decoder must support.
const maxWindow = 8 << 20

// packer holds the encoder and the decoder. Both are made once, keep no state between batches and may be used by many
// goroutines.
type packer struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

// A frame in a single segment always says its size, which unsqueeze asks for; without that, short ones do not.
var newPacker = sync.OnceValues(func() (*packer, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(2), zstd.WithSingleSegment(true))
	if err != nil {
		return nil, fault.New(fault.Internal, "", "make the zstd encoder: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(32<<20),
		zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fault.New(fault.Internal, "", "make the zstd decoder: %w", err)
	}
	return &packer{enc: enc, dec: dec}, nil
})

// squeeze replaces the entries by their compressed form where that is smaller.
func squeeze(b *servicev1.Batch) {
	p, err := newPacker()
	if err != nil {
		return // compression is an economy; the batch travels as it is
	}
	raw, err := proto.Marshal(&servicev1.EntryList{Entries: b.Entries})
	if err != nil {
		return
	}
	if small := p.enc.EncodeAll(raw, make([]byte, 0, len(raw)/2)); len(small) < len(raw) {
		b.Entries, b.EntriesZstd = nil, small
	}
}

// unsqueeze returns the entries of a batch. It looks at the declared size before it allocates, unpacks no byte more than
// that, and counts the entries before it makes them.
func unsqueeze(b *servicev1.Batch, lim Limits) ([]*servicev1.Entry, error) {
	small := b.GetEntriesZstd()
	if len(small) == 0 {
		return b.GetEntries(), nil
	}
	if len(b.GetEntries()) > 0 {
		return nil, fault.New(fault.Invalid, fault.BadBatch, "the batch has both plain and compressed entries")
	}
	var header zstd.Header
	if err := header.Decode(small); err != nil {
		return nil, fault.New(fault.Invalid, fault.BadBatch, "compressed entries: %w", err)
	}
	most := uint64(lim.Bytes) + uint64(lim.Records)*entryOverhead
	if header.Skippable || !header.HasFCS || header.FrameContentSize > most {
		return nil, fault.New(fault.TooLarge, fault.BatchTooLarge, "compressed entries unpack to more than %d bytes or do not say to how many", most)
	}
	p, err := newPacker()
	if err != nil {
		return nil, err
	}
	raw, err := p.dec.DecodeAll(small, make([]byte, 0, header.FrameContentSize))
	if err != nil || uint64(len(raw)) != header.FrameContentSize {
		return nil, fault.New(fault.Invalid, fault.BadBatch, "compressed entries cannot be unpacked")
	}
	if n := countFields(raw, lim.Records); n > lim.Records {
		return nil, fault.New(fault.TooLarge, fault.BatchTooLarge, "more than %d records in one batch", lim.Records)
	}
	list := &servicev1.EntryList{}
	if err := proto.Unmarshal(raw, list); err != nil {
		return nil, fault.New(fault.Invalid, fault.BadBatch, "compressed entries: %w", err)
	}
	return list.GetEntries(), nil
}

// countFields counts the fields of a message, at most one more than limit.
func countFields(raw []byte, limit int) int {
	n := 0
	for len(raw) > 0 && n <= limit {
		_, _, size := protowire.ConsumeField(raw)
		if size < 0 {
			return n // not a message; Unmarshal says so
		}
		raw, n = raw[size:], n+1
	}
	return n
}
