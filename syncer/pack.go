package syncer

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"slices"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/protobuf/encoding/protowire"
)

// PackingVersion is the newest packed form written and read here.
const PackingVersion = 1

// The forms an entry has in the text of a packed batch.
const (
	formBare   = 0 // the digest alone: the sender's copy is damaged
	formBytes  = 1 // the record's bytes
	formFields = 2 // the record's fields, against those of the one before
)

// escape begins what stands for something else in packed bytes. It occurs in no text of Unicode.
const escape = 0xf5

// What follows it.
const (
	escapeItself = 0x00
	escapeNew    = 0x01 // the next identifier, as the text of a UUID
	escapeBefore = 0x03 // one of another record: how many back among all
	escapeHere   = 0x10 // and above: the first, second ... of this record
	mostHere     = 0xff - escapeHere
)

// The numbers of Record's fields.
const (
	fieldID        = 1
	fieldSubject   = 3
	fieldParents   = 4
	fieldPart      = 7
	fieldDevice    = 9
	fieldWall      = 13
	fieldBoot      = 14
	fieldMonotonic = 15
	fieldPayload   = 16
	fieldBlobs     = 17
	lastField      = 18
)

// Bounds of what a reader keeps while it puts a batch together. What has more travels as bytes.
const (
	maxSteps   = 1 << 18 // fields in all payloads
	maxColumns = 1 << 14 // different paths
	maxMany    = 256     // parents, attachments of one record
)

// fieldTypes are the wire types of Record's fields by number.
var fieldTypes = [lastField + 1]protowire.Type{
	1: protowire.BytesType, 2: protowire.VarintType, 3: protowire.BytesType, 4: protowire.BytesType, 5: protowire.BytesType,
	6: protowire.VarintType, 7: protowire.Fixed64Type, 8: protowire.BytesType, 9: protowire.BytesType, 10: protowire.BytesType,
	11: protowire.VarintType, 12: protowire.BytesType, 13: protowire.VarintType, 14: protowire.BytesType, 15: protowire.VarintType,
	16: protowire.BytesType, 17: protowire.BytesType, 18: protowire.BytesType,
}

// envelope is a record taken apart into its fields, none of which is read.
type envelope struct {
	has  [lastField + 1]bool
	num  [lastField + 1]uint64
	val  [lastField + 1][]byte
	many [lastField + 1][][]byte // of parents and blobs
}

// takeApart splits a record into its fields; false unless putting them together gives the same bytes.
func takeApart(raw []byte) (*envelope, bool) {
	e := &envelope{}
	for rest := raw; len(rest) > 0; {
		num, typ, n := protowire.ConsumeTag(rest)
		if n < 0 || num > lastField || typ != fieldTypes[num] || len(e.many[num]) == 0 && e.has[num] {
			return nil, false
		}
		rest = rest[n:]
		e.has[num] = true
		switch typ {
		case protowire.VarintType:
			e.num[num], n = protowire.ConsumeVarint(rest)
		case protowire.Fixed64Type:
			e.num[num], n = protowire.ConsumeFixed64(rest)
		default:
			var v []byte
			if v, n = protowire.ConsumeBytes(rest); num == fieldParents || num == fieldBlobs {
				e.many[num] = append(e.many[num], v)
			}
			e.val[num] = v
		}
		if n < 0 {
			return nil, false
		}
		rest = rest[n:]
	}
	if e.size() != len(raw) || !bytes.Equal(e.appendTo(make([]byte, 0, len(raw))), raw) {
		return nil, false
	}
	return e, e.has[fieldID] && len(e.val[fieldID]) == 16 && len(e.many[fieldParents]) <= maxMany && len(e.many[fieldBlobs]) <= maxMany
}

// size is how many bytes the record has.
func (e *envelope) size() int {
	n := 0
	for f := protowire.Number(1); f <= lastField; f++ {
		switch {
		case !e.has[f]:
		case e.many[f] != nil:
			for _, v := range e.many[f] {
				n += protowire.SizeTag(f) + protowire.SizeBytes(len(v))
			}
		case fieldTypes[f] == protowire.VarintType:
			n += protowire.SizeTag(f) + protowire.SizeVarint(e.num[f])
		case fieldTypes[f] == protowire.Fixed64Type:
			n += protowire.SizeTag(f) + 8
		default:
			n += protowire.SizeTag(f) + protowire.SizeBytes(len(e.val[f]))
		}
	}
	return n
}

// appendTo puts the fields together in the order of their numbers, as the marshallers of protobuf do.
func (e *envelope) appendTo(out []byte) []byte {
	for f := protowire.Number(1); f <= lastField; f++ {
		switch {
		case !e.has[f]:
		case e.many[f] != nil:
			for _, v := range e.many[f] {
				out = protowire.AppendBytes(protowire.AppendTag(out, f, protowire.BytesType), v)
			}
		case fieldTypes[f] == protowire.VarintType:
			out = protowire.AppendVarint(protowire.AppendTag(out, f, protowire.VarintType), e.num[f])
		case fieldTypes[f] == protowire.Fixed64Type:
			out = protowire.AppendFixed64(protowire.AppendTag(out, f, protowire.Fixed64Type), e.num[f])
		default:
			out = protowire.AppendBytes(protowire.AppendTag(out, f, protowire.BytesType), e.val[f])
		}
	}
	return out
}

// stamp is the time in a UUIDv7, in milliseconds.
func (e *envelope) stamp() uint64 {
	var b [8]byte
	copy(b[2:], e.val[fieldID][:6])
	return binary.BigEndian.Uint64(b[:])
}

// packing is what both who packs and who unpacks know at any place of the text.
type packing struct {
	prev    *envelope // of the last entry in fields; of none before the first
	digests []Digest  // of the entries whose bytes are known; zero ones for those in fields, until they are put together
	ids     []ID      // all identifiers in texts so far
	here    [][]ID    // those of each entry
	columns columns
}

func newPacking(lane LaneID, primer *column) packing {
	first := &envelope{}
	first.has[2], first.num[2] = true, uint64(servicev1.RecordKind_RECORD_KIND_INTERVIEW)
	first.has[fieldDevice], first.val[fieldDevice] = true, bytes.Clone(lane.Device[:])
	return packing{prev: first, columns: newColumns(primer)}
}

// monotonic is what the field monotonic_ms of the next record is expected to be: it runs as the clock does.
func (p *packing) monotonic(e *envelope) uint64 {
	if p.prev.val[fieldID] == nil {
		return 0
	}
	return p.prev.num[fieldMonotonic] + e.stamp() - p.prev.stamp()
}

// batchPacker writes the text of a packed batch, and beside it the identifiers, which nothing makes smaller.
type batchPacker struct {
	packing
	entry int // the one being written
	text  []byte
	raw   bitWriter
	coder *rangeEncoder
	index map[ID]int // in ids, the place of each
}

// PackedText is a packed batch before zstd.
type PackedText struct {
	// Text is what zstd is to make smaller, IDs the identifiers it takes from, Numbers the structure and the numbers of the
	// payloads.
	Text, IDs, Numbers []byte
	// Dictionary is the one whose sample the chances of numbers begin with; 0: none.
	Dictionary uint32
}

// PackText packs entries. A nil record is one whose bytes are not sent. A dictionary that is not known here is none.
func PackText(lane LaneID, digests []Digest, raws [][]byte, dictionary uint32) PackedText {
	return packText(lane, digests, raws, dictionary, primerOf(dictionary))
}

func packText(lane LaneID, digests []Digest, raws [][]byte, dictionary uint32, primer *column) PackedText {
	p := &batchPacker{packing: newPacking(lane, primer), index: map[ID]int{}, coder: newRangeEncoder()}
	p.digests, p.here = digests, make([][]ID, len(raws))
	p.text = binary.AppendUvarint(p.text, uint64(len(raws)))
	for i, raw := range raws {
		p.entry = i
		p.record(digests[i], raw)
	}
	p.values()
	return PackedText{Text: p.text, IDs: p.raw.end(), Numbers: p.coder.end(), Dictionary: dictionary}
}

func (p *batchPacker) record(d Digest, raw []byte) {
	if len(raw) == 0 {
		p.text = append(p.text, formBare)
		p.raw.bytes(d[:])
		return
	}
	e, ok := takeApart(raw)
	if !ok {
		p.text = append(p.text, formBytes)
		p.bytes(raw)
		return
	}
	tree := e.has[fieldPayload] && isMessage(e.val[fieldPayload], 0)
	p.fields(e, tree)
	p.prev = e
	if tree {
		p.columns.walk(p.columns.root, e.val[fieldPayload], p.entry, p.coder, 0)
	}
}

// fields writes a record against the one before: which fields are not as expected, and those.
func (p *batchPacker) fields(e *envelope, tree bool) {
	subject, isID := parseUUID(e.val[fieldSubject])
	if _, known := p.index[subject]; known {
		isID = false
	}
	mask := p.surprises(e, isID, tree)
	p.text = binary.AppendUvarint(append(p.text, formFields), mask)
	before := uint64(0)
	if p.prev.val[fieldID] != nil {
		before = p.prev.stamp()
	}
	p.text = binary.AppendVarint(p.text, int64(e.stamp()-before))
	p.raw.bytes(e.val[fieldID][6:])
	for f := 2; f <= lastField; f++ {
		switch {
		case f == fieldSubject && mask&(1<<f) == 0:
			p.newID(subject)
		case mask&(1<<f) != 0:
			p.field(e, f)
		}
	}
}

// surprises are the fields that are not as the record before lets expect, a bit each.
func (p *batchPacker) surprises(e *envelope, isID, tree bool) uint64 {
	var mask uint64
	for f := 2; f <= lastField; f++ {
		var as bool
		switch f {
		case fieldSubject:
			as = isID
		case fieldPayload:
			as = tree
		case fieldParents, fieldBlobs, lastField:
			as = !e.has[f]
		case fieldWall:
			as = e.has[f] && e.num[f] == e.stamp()
		case fieldMonotonic:
			as = e.has[f] && e.num[f] == p.monotonic(e)
		default:
			as = e.has[f] == p.prev.has[f] && e.num[f] == p.prev.num[f] && bytes.Equal(e.val[f], p.prev.val[f])
		}
		if !as {
			mask |= 1 << f
		}
	}
	return mask
}

// field writes one field that is not as expected: how many there are, and their values.
func (p *batchPacker) field(e *envelope, f int) {
	switch {
	case !e.has[f]:
		p.text = append(p.text, 0)
	case f == fieldParents:
		p.text = binary.AppendUvarint(p.text, uint64(len(e.many[f])))
		for _, v := range e.many[f] {
			p.parent(v)
		}
	case f == fieldBlobs:
		p.text = binary.AppendUvarint(p.text, uint64(len(e.many[f])))
		for _, v := range e.many[f] {
			p.bytes(v)
		}
	case f == fieldPart:
		p.text = append(p.text, 1)
		p.raw.bits(e.num[f], 64)
	case f == fieldWall:
		p.text = binary.AppendVarint(append(p.text, 1), int64(e.num[f]-e.stamp()))
	case f == fieldMonotonic:
		p.text = binary.AppendVarint(append(p.text, 1), int64(e.num[f]-p.monotonic(e)))
	case fieldTypes[f] == protowire.VarintType:
		p.text = binary.AppendUvarint(append(p.text, 1), e.num[f])
	case f == fieldDevice || f == fieldBoot:
		p.text = binary.AppendUvarint(append(p.text, 1), uint64(len(e.val[f])))
		p.raw.bytes(e.val[f])
	default:
		p.text = append(p.text, 1)
		p.bytes(e.val[f])
	}
}

// parent writes the digest of an entry before in the batch as how many before, and another in full.
func (p *batchPacker) parent(v []byte) {
	for back := 1; back <= p.entry; back++ {
		if d := p.digests[p.entry-back]; bytes.Equal(d[:], v) {
			p.text = binary.AppendUvarint(p.text, uint64(back))
			return
		}
	}
	p.text = binary.AppendUvarint(append(p.text, 0), uint64(len(v)))
	p.raw.bytes(v)
}

// newID puts an identifier that did not occur before among the identifiers.
func (p *batchPacker) newID(id ID) {
	p.index[id] = len(p.ids)
	p.ids = append(p.ids, id)
	p.here[p.entry] = append(p.here[p.entry], id)
	p.raw.id(id)
}

// bytes writes their number and them, the texts of UUIDs taken out.
func (p *batchPacker) bytes(b []byte) {
	p.text = binary.AppendUvarint(p.text, uint64(len(b)))
	for i := 0; i < len(b); {
		if b[i] == escape {
			p.text = append(p.text, escape, escapeItself)
			i++
			continue
		}
		if id, ok := parseUUID(b[i:min(i+uuidText, len(b))]); ok {
			p.uuid(id)
			i += uuidText
			continue
		}
		p.text = append(p.text, b[i])
		i++
	}
}

func (p *batchPacker) uuid(id ID) {
	at, known := p.index[id]
	if k := slices.Index(p.here[p.entry], id); k >= 0 && k <= mostHere {
		p.text = append(p.text, escape, byte(escapeHere+k))
		return
	}
	if !known {
		p.text = append(p.text, escape, escapeNew)
		p.newID(id)
		return
	}
	p.text = binary.AppendUvarint(append(p.text, escape, escapeBefore), uint64(len(p.ids)-1-at))
	p.here[p.entry] = append(p.here[p.entry], id)
}

// values writes the columns, one after the other: numbers to the coder, bytes to the text.
func (p *batchPacker) values() {
	for _, c := range p.columns.all {
		for _, v := range c.values {
			p.entry = v.entry
			switch c.token & 7 {
			case uint64(protowire.VarintType):
				p.coder.number(c.model(), v.num)
			case bigToken:
				p.coder.number(c.model(), protowire.EncodeZigZag(int64(v.num-p.columns.base(c, v.entry))))
				p.columns.keep(c, v.entry, v.num)
			case uint64(protowire.BytesType):
				p.bytes(v.bytes)
			default:
				for _, b := range v.bytes {
					p.coder.byte(&c.model().first, b)
				}
			}
		}
	}
}

// uuidText is the length of a UUID in text.
const uuidText = 36

// parseUUID reads a UUID in small letters with hyphens, the only form that comes out of formatUUID.
func parseUUID(b []byte) (id ID, ok bool) {
	if len(b) != uuidText || b[8] != '-' || b[13] != '-' || b[18] != '-' || b[23] != '-' {
		return id, false
	}
	at := 0
	for i := 0; i < uuidText; {
		if b[i] == '-' && (i == 8 || i == 13 || i == 18 || i == 23) {
			i++
			continue
		}
		hi, lo := nibble(b[i]), nibble(b[i+1])
		if hi > 15 || lo > 15 {
			return id, false
		}
		id[at] = hi<<4 | lo
		at, i = at+1, i+2
	}
	return id, true
}

// nibble is the value of a hexadecimal digit in small letters, over 15 for anything else.
func nibble(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 255
}

// appendUUID appends a UUID in text.
func appendUUID(out []byte, id ID) []byte {
	const digits = "0123456789abcdef"
	for i, b := range id {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			out = append(out, '-')
		}
		out = append(out, digits[b>>4], digits[b&15])
	}
	return out
}

// bitWriter writes bits, the highest first.
type bitWriter struct {
	out  []byte
	left int // bits of the last byte that are not taken
}

func (w *bitWriter) bits(v uint64, n int) {
	for n > 0 {
		if w.left == 0 {
			w.out, w.left = append(w.out, 0), 8
		}
		take := min(n, w.left)
		part := byte(v>>(n-take)) & (1<<take - 1)
		w.out[len(w.out)-1] |= part << (w.left - take)
		n, w.left = n-take, w.left-take
	}
}

func (w *bitWriter) bytes(b []byte) {
	for _, c := range b {
		w.bits(uint64(c), 8)
	}
}

// id writes an identifier: one bit that says whether it is a random UUID, whose version and variant need not be written.
func (w *bitWriter) id(id ID) {
	hi, lo := binary.BigEndian.Uint64(id[:]), binary.BigEndian.Uint64(id[8:])
	if id[6]>>4 != 4 || id[8]>>6 != 2 {
		w.bits(0, 1)
		w.bits(hi, 64)
		w.bits(lo, 64)
		return
	}
	w.bits(1, 1)
	w.bits(hi>>16, 48)
	w.bits(hi, 12)
	w.bits(lo, 62)
}

func (w *bitWriter) end() []byte { return w.out }

// PackOptions say how a batch may be packed.
type PackOptions struct {
	// Dictionaries are those the receiver has.
	Dictionaries []uint32
	// KnownHead leaves out the chain hash before the first entry: the receiver's head of the lane is there.
	KnownHead bool
}

// PackBatch makes a batch of consecutive entries, as NewBatch does, in the packed form. Who unpacks it has the exact bytes of
// the records: it is unpacked here first, and travels as NewBatch makes it if it does not come out the same, or is no smaller.
func PackBatch(key ed25519.PrivateKey, lane LaneID, first uint64, prev Chain, digests []Digest, raws [][]byte, opts PackOptions) *servicev1.Batch {
	p := PackText(lane, digests, raws, dictionaryFor(raws, opts.Dictionaries))
	var b *servicev1.Batch
	if packed, ok := p.compress(); ok && p.comesOutTheSame(lane, digests, raws) {
		run := Run{First: first, Prev: prev, Digests: digests}
		b = &servicev1.Batch{
			Lane: lane.Proto(), FirstSeq: ptr(first), Signature: SignHead(key, lane, run.Head(lane)),
			Packed: packed, PackedIds: p.IDs, PackedNumbers: p.Numbers,
		}
		if !opts.KnownHead && first > 1 {
			b.PrevChain = append([]byte(nil), prev[:]...)
		}
	} else {
		b = NewBatch(key, lane, first, prev, digests, raws, true)
	}
	return b
}

// comesOutTheSame unpacks what was packed and compares.
func (p PackedText) comesOutTheSame(lane LaneID, digests []Digest, raws [][]byte) bool {
	entries, err := UnpackText(lane, p, Limits{Records: len(raws), Bytes: 1 << 31, RecordBytes: 1 << 30})
	if err != nil || len(entries) != len(raws) {
		return false
	}
	for i, e := range entries {
		if !bytes.Equal(e.GetRecord(), raws[i]) || Digest(e.GetDigest()) != digests[i] {
			return false
		}
	}
	return true
}

// dictionaryFor is the dictionary for the questionnaire of the first record that names one, if the receiver has it; 0: none.
func dictionaryFor(raws [][]byte, has []uint32) uint32 {
	d, err := loadDictionaries()
	if err != nil || len(has) == 0 {
		return 0
	}
	for _, raw := range raws {
		if e, ok := takeApart(raw); ok && len(e.val[10]) > 0 {
			if id := d.byQuestionnaire[string(e.val[10])]; slices.Contains(has, id) {
				return id
			}
			return 0
		}
	}
	return 0
}
