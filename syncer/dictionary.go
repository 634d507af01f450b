package syncer

import (
	"crypto/sha256"
	"embed"
	"encoding/binary"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/klauspost/compress/zstd"
)

// The dictionaries, by questionnaire. They were made from simulated interviews and those of the bundled study by
// `go test ./study -run Dictionaries -update`. One that was ever released stays for ever: another store may name it.
//
//go:embed dict/*.dict
var dictionaryFiles embed.FS

// A dictionary file is a zstd dictionary, whose length stands before it in four bytes, and behind it a sample: packed
// interviews whose numbers teach the chances with which those of a batch begin.
const dictionaryHead = 4

// NewDictionary makes a dictionary file. The id is written into the zstd dictionary: the first four bytes of the SHA-256 of
// everything else, big endian, the highest bit cleared and the one below set, which keeps it out of the numbers that
// zstd reserves.
func NewDictionary(zdict []byte, sample PackedText) ([]byte, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithSingleSegment(true))
	if err != nil {
		return nil, fault.New(fault.Internal, "", "make the zstd encoder: %w", err)
	}
	var parts []byte
	for _, part := range [][]byte{sample.Text, sample.IDs, sample.Numbers} {
		parts = append(binary.AppendUvarint(parts, uint64(len(part))), part...)
	}
	file := binary.BigEndian.AppendUint32(nil, uint32(len(zdict)))
	file = append(append(file, zdict...), enc.EncodeAll(parts, nil)...)
	binary.LittleEndian.PutUint32(file[dictionaryHead+4:], 0)
	sum := sha256.Sum256(file)
	binary.LittleEndian.PutUint32(file[dictionaryHead+4:], binary.BigEndian.Uint32(sum[:])&0x7fffffff|0x40000000)
	return file, nil
}

// dictionary is one that is known here.
type dictionary struct {
	id     uint32
	zdict  []byte
	primer *column
}

// openDictionary reads a dictionary file. It fails if the id is not that of its bytes.
func openDictionary(file []byte) (*dictionary, error) {
	bad := func(what string) error { return fault.New(fault.Internal, "", "a dictionary: %s", what) }
	if len(file) < dictionaryHead+8 || uint64(binary.BigEndian.Uint32(file)) > uint64(len(file)-dictionaryHead) || binary.BigEndian.Uint32(file) < 8 {
		return nil, bad("it is cut")
	}
	d := &dictionary{zdict: file[dictionaryHead:][:binary.BigEndian.Uint32(file)]}
	d.id = binary.LittleEndian.Uint32(d.zdict[4:])
	whole := slices.Clone(file)
	binary.LittleEndian.PutUint32(whole[dictionaryHead+4:], 0)
	sum := sha256.Sum256(whole)
	if binary.BigEndian.Uint32(sum[:])&0x7fffffff|0x40000000 != d.id {
		return nil, bad("its id is not that of its bytes")
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(4<<20))
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	parts, err := dec.DecodeAll(file[dictionaryHead+len(d.zdict):], nil)
	if err != nil {
		return nil, bad("its sample cannot be unpacked")
	}
	var sample PackedText
	for _, part := range []*[]byte{&sample.Text, &sample.IDs, &sample.Numbers} {
		n, size := binary.Uvarint(parts)
		if size <= 0 || n > uint64(len(parts)-size) {
			return nil, bad("its sample is cut")
		}
		*part, parts = parts[size:][:n], parts[size:][n:]
	}
	u := newUnpacker(LaneID{}, sample, nil, DefaultLimits)
	if err := u.read(DefaultLimits); err != nil {
		return nil, err
	}
	d.primer = u.columns.root
	return d, nil
}

// dictionaries are all that are known here.
type dictionaries struct {
	all             map[uint32]*dictionary
	byQuestionnaire map[string]uint32
	dec             *zstd.Decoder

	mu  sync.Mutex
	enc map[uint32]*zstd.Encoder // 0: without one
}

var loadDictionaries = sync.OnceValues(func() (*dictionaries, error) {
	d := &dictionaries{all: map[uint32]*dictionary{}, byQuestionnaire: map[string]uint32{}, enc: map[uint32]*zstd.Encoder{}}
	var zdicts [][]byte
	err := fs.WalkDir(dictionaryFiles, "dict", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		file, err := dictionaryFiles.ReadFile(name)
		if err != nil {
			return err
		}
		one, err := openDictionary(file)
		if err != nil {
			return err
		}
		d.all[one.id] = one
		d.byQuestionnaire[strings.TrimSuffix(path.Base(name), ".dict")] = one.id
		zdicts = append(zdicts, one.zdict)
		return nil
	})
	if err != nil {
		return nil, fault.New(fault.Internal, "", "read the dictionaries: %w", err)
	}
	d.dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(32<<20),
		zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderDicts(zdicts...))
	if err != nil {
		return nil, fault.New(fault.Internal, "", "make the zstd decoder: %w", err)
	}
	return d, nil
})

// Dictionaries are the ids of the dictionaries known here, in order.
func Dictionaries() []uint32 {
	d, err := loadDictionaries()
	if err != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(d.all))
}

// primerOf is what the sample of a dictionary teaches; nil without one.
func primerOf(id uint32) *column {
	if id == 0 {
		return nil
	}
	d, err := loadDictionaries()
	if err != nil || d.all[id] == nil {
		return nil
	}
	return d.all[id].primer
}

// encoder is the one with a dictionary; 0: without.
func (d *dictionaries) encoder(id uint32) (*zstd.Encoder, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if enc, ok := d.enc[id]; ok {
		return enc, nil
	}
	opts := []zstd.EOption{
		zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1), zstd.WithSingleSegment(true),
		zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true), zstd.WithAllLitEntropyCompression(true),
	}
	if id != 0 {
		opts = append(opts, zstd.WithEncoderDict(d.all[id].zdict))
	}
	enc, err := zstd.NewWriter(nil, opts...)
	if err == nil {
		d.enc[id] = enc
	}
	return enc, err
}

// compress compresses the text with its dictionary; false where that cannot be done. Compression is an economy.
func (p PackedText) compress() ([]byte, bool) {
	d, err := loadDictionaries()
	if err != nil || len(p.Text) == 0 {
		return nil, false
	}
	enc, err := d.encoder(p.Dictionary)
	if err != nil {
		return nil, false
	}
	return enc.EncodeAll(p.Text, make([]byte, 0, len(p.Text)/2+64)), true
}

// decompressText returns the text of a packed batch and its dictionary. It looks at the declared size before it allocates,
// and unpacks no byte more than that.
func decompressText(packed []byte, most uint64) (PackedText, error) {
	var p PackedText
	var header zstd.Header
	if err := header.Decode(packed); err != nil {
		return p, fault.New(fault.Invalid, fault.BadBatch, "packed entries: %w", err)
	}
	if header.Skippable || !header.HasFCS || header.FrameContentSize > most {
		return p, fault.New(fault.TooLarge, fault.BatchTooLarge, "packed entries unpack to more than %d bytes or do not say to how many", most)
	}
	d, err := loadDictionaries()
	if err != nil {
		return p, err
	}
	if p.Dictionary = header.DictionaryID; p.Dictionary != 0 && d.all[p.Dictionary] == nil {
		return p, fault.New(fault.Invalid, fault.BadBatch, "packed entries: the dictionary %08x is not known here", p.Dictionary)
	}
	p.Text, err = d.dec.DecodeAll(packed, make([]byte, 0, header.FrameContentSize))
	if err != nil || uint64(len(p.Text)) != header.FrameContentSize {
		return p, fault.New(fault.Invalid, fault.BadBatch, "packed entries cannot be unpacked")
	}
	return p, nil
}
