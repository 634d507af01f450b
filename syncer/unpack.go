package syncer

import (
	"bytes"
	"encoding/binary"
	"math"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/protobuf/encoding/protowire"
)

// batchUnpacker reads the text of a packed batch. What it makes of a few bytes may be long, so that it counts what it makes
// before it makes it.
type batchUnpacker struct {
	packing
	entry  int // the one being read
	text   []byte
	raw    bitReader
	coder  *rangeDecoder
	left   int // bytes that may still be made of the text
	steps  int // of all payloads so far
	likely int // of the last one
	failed error

	records []unpacked
}

// unpacked is an entry on its way.
type unpacked struct {
	bare   []byte    // its digest, where it has no bytes
	bytes  []byte    // where they stand as they are
	fields *envelope // where they stand in fields,
	tree   bool      // with the payload in columns:
	steps  []step
	refs   []parentRef
}

// parentRef is a parent that stands in the same batch.
type parentRef struct{ at, entry int }

// UnpackText makes the entries of a packed batch, digests and all.
func UnpackText(lane LaneID, p PackedText, lim Limits) ([]*servicev1.Entry, error) {
	u := newUnpacker(lane, p, primerOf(p.Dictionary), lim)
	if err := u.read(lim); err != nil {
		return nil, err
	}
	return u.seal(lim.Bytes)
}

func newUnpacker(lane LaneID, p PackedText, primer *column, lim Limits) *batchUnpacker {
	return &batchUnpacker{packing: newPacking(lane, primer), text: p.Text, raw: bitReader{in: p.IDs}, coder: newRangeDecoder(p.Numbers), left: lim.Bytes}
}

// read reads everything.
func (u *batchUnpacker) read(lim Limits) error {
	n := u.uvarint()
	if n > uint64(lim.Records) {
		return fault.New(fault.TooLarge, fault.BatchTooLarge, "more than %d records in one batch", lim.Records)
	}
	u.here, u.records = make([][]ID, n), make([]unpacked, n)
	for u.entry = 0; u.entry < int(n) && u.failed == nil; u.entry++ {
		u.record()
	}
	u.values()
	if u.failed == nil && (len(u.text) > 0 || u.raw.whole() > 0 || len(u.coder.in) > 4) {
		u.fail("something is left over")
	}
	return u.failed
}

// seal puts the records together, which may not have more bytes than most.
func (u *batchUnpacker) seal(most int) ([]*servicev1.Entry, error) {
	out := make([]*servicev1.Entry, len(u.records))
	for i := range u.records {
		r := &u.records[i]
		if r.bare != nil {
			out[i] = &servicev1.Entry{Digest: r.bare}
			u.digests = append(u.digests, Digest(r.bare))
			continue
		}
		raw := r.bytes
		if e := r.fields; e != nil {
			for _, ref := range r.refs {
				e.many[fieldParents][ref.at] = bytes.Clone(u.digests[ref.entry][:])
			}
			if r.tree {
				e.val[fieldPayload], _ = build(nil, r.steps)
			}
			if size := e.size(); size <= most {
				raw = e.appendTo(make([]byte, 0, size))
			} else {
				u.tooLarge()
				return nil, u.failed
			}
		}
		if most -= len(raw); most < 0 {
			u.tooLarge()
			return nil, u.failed
		}
		d := DigestOf(raw)
		u.digests = append(u.digests, d)
		out[i] = &servicev1.Entry{Digest: d[:], Record: raw}
	}
	return out, nil
}

// mostLikely bounds for how many steps there is room before they are read.
const mostLikely = 512

// structure reads the tags of a payload, and how many values each column has.
func (u *batchUnpacker) structure(r *unpacked) {
	type place struct {
		at, before *column
	}
	path := make([]place, 1, maxDepth+2)
	path[0].at = u.columns.root
	r.steps = make([]step, 0, min(u.likely, mostLikely)) // payloads of a batch are alike
	for len(path) > 0 && u.failed == nil {
		here := &path[len(path)-1]
		at := here.at
		token, ok := u.coder.number(at.following(here.before))
		if !ok || u.coder.ended() {
			u.fail("a tag that cannot be")
			return
		}
		if token == endToken {
			r.steps = append(r.steps, step{token: token})
			path, u.likely = path[:len(path)-1], len(r.steps)
			continue
		}
		if num := token >> 3; num == 0 || num > uint64(protowire.MaxValidNumber) || token&7 > uint64(protowire.Fixed32Type) || len(path) > maxDepth+1 {
			u.fail("a tag that cannot be")
			return
		}
		next := at.child(here.before, token, u.columns.made)
		here.before = next
		s := step{token: token, col: next}
		if token&7 == messageToken {
			path = append(path, place{at: next})
		} else {
			s.at = len(next.values)
			next.values = append(next.values, value{entry: u.entry})
		}
		r.steps = append(r.steps, s)
		if u.steps++; u.steps > maxSteps || len(u.columns.all) > maxColumns {
			u.tooLarge()
		}
	}
}

// values reads the columns, one after the other.
func (u *batchUnpacker) values() {
	for _, c := range u.columns.all {
		for i := range c.values {
			v, ok := &c.values[i], true
			u.entry = v.entry
			switch c.token & 7 {
			case uint64(protowire.VarintType):
				v.num, ok = u.coder.number(c.model())
			case bigToken:
				v.num, ok = u.coder.number(c.model())
				v.num = u.columns.base(c, v.entry) + uint64(protowire.DecodeZigZag(v.num))
				u.columns.keep(c, v.entry, v.num)
			case uint64(protowire.BytesType):
				v.bytes = u.bytes()
			case uint64(protowire.Fixed64Type):
				v.bytes = u.coder.bytes(&c.model().first, 8)
			default:
				v.bytes = u.coder.bytes(&c.model().first, 4)
			}
			if !ok || u.coder.ended() {
				u.fail("a number that cannot be")
			}
			if u.failed != nil {
				return
			}
		}
	}
}

// fail keeps the first thing that is wrong; from then on nothing more is read.
func (u *batchUnpacker) fail(what string) {
	if u.failed == nil {
		u.failed = fault.New(fault.Invalid, fault.BadBatch, "packed entries: %s", what)
	}
	u.text = nil
}

func (u *batchUnpacker) record() {
	r := &u.records[u.entry]
	switch form := u.byte(); form {
	case formBare:
		r.bare = u.take(32)
	case formBytes:
		r.bytes = u.bytes()
	case formFields:
		if r.fields = u.fields(r); r.tree && u.failed == nil {
			u.structure(r)
		}
	default:
		u.fail("an entry of an unknown form")
	}
}

func (u *batchUnpacker) fields(r *unpacked) *envelope {
	e := &envelope{}
	mask := u.uvarint()
	before := uint64(0)
	if u.prev.val[fieldID] != nil {
		before = u.prev.stamp()
	}
	ms := before + uint64(u.varint())
	if ms >= 1<<48 {
		u.fail("an id of an impossible time")
		return nil
	}
	id := binary.BigEndian.AppendUint64(make([]byte, 0, 16), ms<<16)[:6]
	e.has[fieldID], e.val[fieldID] = true, append(id, u.take(10)...)
	if u.failed != nil {
		return nil
	}
	for f := 2; f <= lastField; f++ {
		if mask&(1<<f) != 0 {
			u.field(r, e, f)
		} else {
			u.expected(r, e, f)
		}
		if u.failed != nil {
			return nil
		}
	}
	u.prev = e
	return e
}

// expected is a field of which the text says nothing.
func (u *batchUnpacker) expected(r *unpacked, e *envelope, f int) {
	switch f {
	case fieldSubject:
		e.has[f], e.val[f] = true, appendUUID(nil, u.newID())
	case fieldPayload:
		e.has[f], r.tree = true, true
	case fieldParents, fieldBlobs, lastField:
	case fieldWall:
		e.has[f], e.num[f] = true, e.stamp()
	case fieldMonotonic:
		e.has[f], e.num[f] = true, u.monotonic(e)
	default:
		e.has[f], e.num[f], e.val[f] = u.prev.has[f], u.prev.num[f], u.prev.val[f]
	}
}

func (u *batchUnpacker) field(r *unpacked, e *envelope, f int) {
	count := u.uvarint()
	if count == 0 || u.failed != nil {
		return
	}
	e.has[f] = true
	switch {
	case f == fieldParents || f == fieldBlobs:
		u.several(r, e, f, count)
		return
	case count != 1:
		u.fail("a field that occurs more than once")
	case f == fieldPart:
		if b := u.take(8); b != nil {
			e.num[f] = binary.BigEndian.Uint64(b)
		}
	case f == fieldWall:
		e.num[f] = e.stamp() + uint64(u.varint())
	case f == fieldMonotonic:
		e.num[f] = u.monotonic(e) + uint64(u.varint())
	case fieldTypes[f] == protowire.VarintType:
		e.num[f] = u.uvarint()
	case f == fieldDevice || f == fieldBoot:
		e.val[f] = u.take(u.uvarint())
	default:
		e.val[f] = u.bytes()
	}
}

// several reads a field that may occur many times.
func (u *batchUnpacker) several(r *unpacked, e *envelope, f int, count uint64) {
	if count > maxMany {
		u.tooLarge()
		return
	}
	for range count {
		if u.failed != nil {
			return
		}
		var v []byte
		if f == fieldBlobs {
			v = u.bytes()
		} else {
			v = u.parent(r, len(e.many[f]))
		}
		e.many[f] = append(e.many[f], v)
	}
}

func (u *batchUnpacker) parent(r *unpacked, at int) []byte {
	back := u.uvarint()
	switch {
	case back == 0:
		return u.take(u.uvarint())
	case back > uint64(u.entry):
		u.fail("a parent before the first entry")
		return nil
	}
	r.refs = append(r.refs, parentRef{at: at, entry: u.entry - int(back)})
	return make([]byte, len(Digest{}))
}

func (u *batchUnpacker) byte() byte {
	if len(u.text) == 0 {
		u.fail("it ends in the middle")
		return 0
	}
	b := u.text[0]
	u.text = u.text[1:]
	return b
}

func (u *batchUnpacker) uvarint() uint64 {
	v, n := binary.Uvarint(u.text)
	if n <= 0 {
		u.fail("a number that cannot be read")
		return 0
	}
	u.text = u.text[n:]
	return v
}

func (u *batchUnpacker) varint() int64 {
	v, n := binary.Varint(u.text)
	if n <= 0 {
		u.fail("a number that cannot be read")
		return 0
	}
	u.text = u.text[n:]
	return v
}

// take takes n bytes of the identifiers.
func (u *batchUnpacker) take(n uint64) []byte {
	if u.failed != nil || n > uint64(u.raw.whole()) {
		u.fail("identifiers are missing")
		return nil
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(u.raw.bits(8))
	}
	return b
}

func (u *batchUnpacker) newID() ID {
	var id ID
	switch {
	case u.failed == nil && u.raw.left() >= 123 && u.raw.bits(1) == 1:
		hi := u.raw.bits(48)
		binary.BigEndian.PutUint64(id[:], hi<<16|0x4000|u.raw.bits(12))
		binary.BigEndian.PutUint64(id[8:], 1<<63|u.raw.bits(62))
	case u.failed == nil && u.raw.left() >= 128: // the bit was read
		binary.BigEndian.PutUint64(id[:], u.raw.bits(64))
		binary.BigEndian.PutUint64(id[8:], u.raw.bits(64))
	default:
		u.fail("identifiers are missing")
		return id
	}
	u.ids = append(u.ids, id)
	u.here[u.entry] = append(u.here[u.entry], id)
	return id
}

// bitReader reads what bitWriter wrote. Who reads looks first how much is left.
type bitReader struct {
	in []byte
	at int // bit
}

func (r *bitReader) left() int { return 8*len(r.in) - r.at }

// whole is how many whole bytes are left.
func (r *bitReader) whole() int { return r.left() / 8 }

func (r *bitReader) bits(n int) (v uint64) {
	for n > 0 {
		free := 8 - r.at%8
		take := min(n, free)
		part := r.in[r.at/8] >> (free - take) & (1<<take - 1)
		v = v<<take | uint64(part)
		n, r.at = n-take, r.at+take
	}
	return v
}

func (u *batchUnpacker) tooLarge() {
	if u.failed == nil {
		u.failed = fault.New(fault.TooLarge, fault.BatchTooLarge, "packed entries unpack to more bytes of records than one batch may have")
	}
	u.text = nil
}

// bytes reads bytes from which the texts of UUIDs were taken out.
func (u *batchUnpacker) bytes() []byte {
	size := u.uvarint()
	if size > uint64(u.left) || size > math.MaxInt32 {
		u.tooLarge()
		return nil
	}
	u.left -= int(size)
	out := make([]byte, 0, min(int(size), 2*len(u.text)+uuidText))
	for len(out) < int(size) && u.failed == nil {
		c := u.byte()
		if c == escape {
			out = u.escaped(out)
		} else {
			out = append(out, c)
		}
	}
	if len(out) != int(size) {
		u.fail("a length that is not that of the bytes")
		return nil
	}
	return out
}

// escaped appends what an escape stands for.
func (u *batchUnpacker) escaped(out []byte) []byte {
	switch c := u.byte(); {
	case c == escapeItself:
		return append(out, escape)
	case c == escapeNew:
		return appendUUID(out, u.newID())
	case c == escapeBefore:
		back := u.uvarint()
		if back >= uint64(len(u.ids)) {
			u.fail("an identifier before the first")
			return out
		}
		id := u.ids[uint64(len(u.ids))-1-back]
		u.here[u.entry] = append(u.here[u.entry], id)
		return appendUUID(out, id)
	case c >= escapeHere && int(c-escapeHere) < len(u.here[u.entry]):
		return appendUUID(out, u.here[u.entry][c-escapeHere])
	}
	u.fail("an escape that stands for nothing")
	return out
}
