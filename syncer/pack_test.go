package syncer_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

var allDictionaries = syncer.PackOptions{Dictionaries: syncer.Dictionaries()}

// packedRecord draws a record as some author may have written it: most in the usual way, some not.
func packedRecord(t *rapid.T, n int, before []syncer.Digest) []byte {
	few := rapid.SliceOfNDistinct(rapid.SliceOfN(rapid.Byte(), 16, 16), 1, 3, func(b []byte) string { return string(b) }).Draw(t, "ids")
	var texts []string
	for _, id := range few {
		texts = append(texts, uuid.UUID(id).String())
	}
	id := bytes.Clone(few[0])
	binary.BigEndian.PutUint16(id[4:], uint16(n*rapid.IntRange(-9, 9).Draw(t, "step")))
	id[6] = id[6]&0x0f | 0x70
	r := &servicev1.Record{
		Id: id, Kind: servicev1.RecordKind(rapid.IntRange(1, 9).Draw(t, "kind")).Enum(), Subject: &texts[0],
		Study: proto.String(rapid.SampledFrom([]string{"s", "guiyang-2016"}).Draw(t, "study")), Device: testLane.Device[:],
		WallTimeMs: proto.Int64(int64(binary.BigEndian.Uint64(append([]byte{0, 0}, id[:6]...))) + rapid.Int64Range(-2, 2).Draw(t, "late")),
		Payload: append(payloadLike(t, texts, 0), []byte(rapid.SampledFrom([]string{"", "answer", "\xf5", "\xf5\x01\xf5", "贵阳"}).Draw(t, "a")+texts[0]+"$"+texts[len(texts)-1]+
			texts[rapid.IntRange(0, len(texts)-1).Draw(t, "which")][:rapid.IntRange(0, 36).Draw(t, "cut")])...),
	}
	if rapid.Bool().Draw(t, "a message") {
		r.Payload = payloadLike(t, texts, 0)
	}
	if rapid.Bool().Draw(t, "more") {
		r.Part, r.Author, r.BootId = proto.Uint64(rapid.Uint64().Draw(t, "part")), proto.String("E01"), few[0]
		r.MonotonicMs, r.Questionnaire = proto.Int64(rapid.Int64().Draw(t, "mono")), proto.String("hearth.survey.v1.Household")
		r.QuestionnaireVersion, r.SchemaFingerprint = proto.Uint32(2), []byte("12345678")
	}
	if rapid.Bool().Draw(t, "revision") {
		r.Subject = proto.String(rapid.SampledFrom(append(texts, "not a UUID")).Draw(t, "subject"))
		r.Parents = append(r.Parents, bytes.Repeat([]byte{9}, 32))
		for _, d := range before {
			r.Parents = append(r.Parents, d[:])
		}
		r.Parents = r.Parents[:min(len(r.Parents), 60)]
		r.Reason = proto.String("why")
		r.Blobs = []*servicev1.BlobRef{{Sha256: bytes.Repeat([]byte{3}, 32), Size: proto.Int64(3)}, {}}
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	switch rapid.IntRange(0, 9).Draw(t, "author") {
	case 0: // fields in another order
		return append(raw, 0x1a, 1, 'x')
	case 1: // a number with bytes too many
		return append([]byte{0x10, 0x81, 0x00}, raw...)
	case 2: // of a later version
		return append(raw, 0xa2, 0x1f, 1, 0xf5)
	case 3:
		return rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "noise")
	}
	return raw
}

// payloadLike draws a message, most of its fields from a few, with messages in it.
func payloadLike(t *rapid.T, texts []string, depth int) []byte {
	var b []byte
	for range rapid.IntRange(0, 6).Draw(t, "fields") {
		num := protowire.Number(rapid.IntRange(1, 20).Draw(t, "number"))
		switch kind := rapid.IntRange(0, 5).Draw(t, "type"); {
		case kind == 0:
			b = protowire.AppendFixed64(protowire.AppendTag(b, num, protowire.Fixed64Type), 0xf5f5)
		case kind == 1:
			b = protowire.AppendFixed32(protowire.AppendTag(b, num, protowire.Fixed32Type), 1)
		case kind == 2 && depth < 30:
			b = protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), payloadLike(t, texts, depth+1))
		case kind == 3:
			b = protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), rapid.SampledFrom(append(texts, "", "0", "贵阳")).Draw(t, "text"))
		default:
			b = protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), rapid.SampledFrom([]uint64{0, 1, 300, 1 << 21, 1467334800, 1467334900, 1<<64 - 1}).Draw(t, "n"))
		}
	}
	return b
}

// Whatever the records are, who unpacks has their exact bytes, and the signature covers them.
func TestPackedBatchesComeOutTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var digests []syncer.Digest
		var raws [][]byte
		for n := range rapid.IntRange(1, 12).Draw(t, "records") {
			if rapid.IntRange(0, 9).Draw(t, "damaged") == 0 {
				raws, digests = append(raws, nil), append(digests, syncer.Digest{byte(n), 7})
				continue
			}
			raw := packedRecord(t, n, digests)
			raws, digests = append(raws, raw), append(digests, syncer.DigestOf(raw))
		}
		b := syncer.PackBatch(testKey, testLane, 1, syncer.Chain{}, digests, raws, allDictionaries)
		if len(b.GetPacked()) == 0 {
			t.Fatal("the batch was not packed")
		}
		c, err := syncer.Check(b, public(), syncer.DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Entries) != len(raws) || !slices.Equal(c.Runs[0].Digests, digests) {
			t.Fatalf("%d entries, want %d with their digests", len(c.Entries), len(raws))
		}
		for i, e := range c.Entries {
			if !bytes.Equal(e.Raw, raws[i]) {
				t.Fatalf("entry %d is %x, want %x", i, e.Raw, raws[i])
			}
		}
	})
}

func packedOf(t testing.TB, n int) (*servicev1.Batch, []syncer.Digest, [][]byte) {
	t.Helper()
	_, digests, raws := batchOf(t, n, false)
	b := syncer.PackBatch(testKey, testLane, 1, syncer.Chain{}, digests, raws, allDictionaries)
	if len(b.GetPacked()) == 0 {
		t.Fatal("the batch was not packed")
	}
	return b, digests, raws
}

// frame is zstd of a text, as another client may make it.
func frame(t testing.TB, text []byte) []byte {
	t.Helper()
	enc, err := zstd.NewWriter(nil, zstd.WithSingleSegment(true))
	if err != nil {
		t.Fatal(err)
	}
	return enc.EncodeAll(text, nil)
}

func TestPackedBatchesAreRefused(t *testing.T) {
	subject := make([]byte, 27)
	// One record whose author has a name of 1 MiB, and 900 more that have the same: 4 bytes each.
	huge := binary.AppendUvarint([]byte{0x85, 7, 2, 0x80, 0x82, 0x04, 2, 1}, 1<<20)
	huge = append(append(huge, bytes.Repeat([]byte{'x'}, 1<<20)...), 0)
	for range 900 {
		huge = append(huge, 2, 0x80, 0x80, 0x04, 2, 0)
	}
	field := func(mask uint64, rest ...byte) []byte {
		return append(binary.AppendVarint(binary.AppendUvarint([]byte{1, 2}, mask), 2), rest...)
	}
	var many []uint64
	for i := range uint64(20_000) {
		many = append(many, (i+1)<<3)
	}
	tests := []struct {
		name               string
		text, ids, numbers []byte
		want               fault.Reason
	}{
		{"an unknown form", []byte{1, 9}, nil, nil, fault.BadBatch},
		{"identifiers left over", []byte{1, 1, 1, 'x'}, []byte{1}, nil, fault.BadBatch},
		{"text left over", []byte{1, 1, 1, 'x', 0}, nil, nil, fault.BadBatch},
		{"identifiers missing", []byte{1, 0}, make([]byte, 31), nil, fault.BadBatch},
		{"a text that ends early", []byte{1, 1, 9, 'x'}, nil, nil, fault.BadBatch},
		{"fewer entries than it says", []byte{2, 1, 1, 'x'}, nil, nil, fault.BadBatch},
		{"an escape at the end", []byte{1, 1, 1, 0xf5}, nil, nil, fault.BadBatch},
		{"an escape that stands for nothing", []byte{1, 1, 1, 0xf5, 2}, nil, nil, fault.BadBatch},
		{"an identifier before the first", []byte{1, 1, 36, 0xf5, 3, 0}, nil, nil, fault.BadBatch},
		{"an identifier of this record that is not there", []byte{1, 1, 36, 0xf5, 0x10}, nil, nil, fault.BadBatch},
		{"a UUID longer than the bytes", []byte{1, 1, 3, 0xf5, 1}, make([]byte, 16), nil, fault.BadBatch},
		{"a parent before the first entry", field(1<<4, 1, 1, 0), subject, nil, fault.BadBatch},
		{"a field twice", field(1<<2, 2, 1, 0), subject, nil, fault.BadBatch},
		{"a time after the end of time", append([]byte{1, 2, 0}, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f), subject, nil, fault.BadBatch},
		{"a length over the limit", []byte{1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, nil, nil, fault.BatchTooLarge},
		{"records that are one another's copies", huge, make([]byte, (901*209+7)/8), nil, fault.BatchTooLarge},
		{"1,001 records", []byte{0xe9, 7}, nil, nil, fault.BatchTooLarge},
		{"a billion parents", field(1<<4, 0xff, 0xff, 0xff, 0xff, 0x0f), subject, nil, fault.BatchTooLarge},
		{"a payload of a million fields", field(0), subject, syncer.Numbers(slices.Repeat([]uint64{8}, 1_000_000)...), fault.BatchTooLarge},
		{"a payload of 20,000 paths", field(0), subject, syncer.Numbers(many...), fault.BatchTooLarge},
		{"a payload that is too deep", field(0), subject, syncer.Numbers(slices.Repeat([]uint64{11}, 30)...), fault.BadBatch},
		{"a payload with its bytes missing", field(0), subject, syncer.Numbers(10, 0), fault.BadBatch},
		{"a tag of field 0", field(0), subject, syncer.Numbers(2, 0), fault.BadBatch},
		{"a tag of an impossible type", field(0), subject, syncer.Numbers(15, 0), fault.BadBatch},
		{"numbers left over", []byte{1, 1, 1, 'x'}, nil, bytes.Repeat([]byte{1}, 50), fault.BadBatch},
	}
	for _, tt := range tests {
		b, _, _ := packedOf(t, 2)
		b.Packed, b.PackedIds, b.PackedNumbers = frame(t, tt.text), tt.ids, tt.numbers
		if _, err := syncer.Check(b, public(), syncer.DefaultLimits); fault.ReasonOf(err) != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
	changes := []struct {
		name   string
		change func(*servicev1.Batch)
		want   fault.Reason
	}{
		{"packed and plain", func(b *servicev1.Batch) { b.Entries = []*servicev1.Entry{{}} }, fault.BadBatch},
		{"a bomb", func(b *servicev1.Batch) { b.Packed = bomb(t, 256<<20, 1) }, fault.BatchTooLarge},
		{"a bomb that does not say", func(b *servicev1.Batch) { b.Packed = unsized(t) }, fault.BatchTooLarge},
		{"not zstd", func(b *servicev1.Batch) { b.Packed = []byte("text") }, fault.BadBatch},
		{"an identifier changed", func(b *servicev1.Batch) { b.PackedIds[3] ^= 1 }, fault.BadSignature},
		{"no chain where one is needed", func(b *servicev1.Batch) { b.FirstSeq = proto.Uint64(2) }, fault.BadChain},
		{"a dictionary nobody has", func(b *servicev1.Batch) {
			enc, err := zstd.NewWriter(nil, zstd.WithSingleSegment(true), zstd.WithEncoderDictRaw(99999, bytes.Repeat([]byte("answer "), 9)))
			if err != nil {
				t.Fatal(err)
			}
			b.Packed = enc.EncodeAll(bytes.Repeat([]byte("answer "), 30), nil)
		}, fault.BadBatch},
	}
	for _, tt := range changes {
		b, _, _ := packedOf(t, 2)
		tt.change(b)
		if _, err := syncer.Check(b, public(), syncer.DefaultLimits); fault.ReasonOf(err) != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
}

// packedVector is an example of PROTOCOL.md 20, for other implementations.
type packedVector struct {
	Records []string `json:"records"`
	Text    string   `json:"text"`
	IDs     string   `json:"ids"`
	Numbers string   `json:"numbers"`
}

func TestPackedVectors(t *testing.T) {
	device := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{0x11}, 32))
	lane := syncer.LaneID{Device: syncer.ID(bytes.Repeat([]byte{0xd0}, 16)), Epoch: syncer.ID(bytes.Repeat([]byte{0xe0}, 16))}
	var raws [][]byte
	var digests []syncer.Digest
	for i := range 3 {
		r := &servicev1.Record{
			Id: uuidv7(i), Kind: servicev1.RecordKind_RECORD_KIND_INTERVIEW.Enum(), Subject: proto.String(fmt.Sprintf("8f14e45f-ceea-467f-a8f5-2d1f2a1f000%d", i/2)),
			Study: proto.String("guiyang-2016"), Part: proto.Uint64(77), Author: proto.String("E01"), Device: lane.Device[:],
			Questionnaire: proto.String("hearth.survey.v1.Household"), QuestionnaireVersion: proto.Uint32(1), WallTimeMs: proto.Int64(1467334800000 + int64(i)),
			BootId: bytes.Repeat([]byte{0xb0}, 16), MonotonicMs: proto.Int64(100 + int64(i)),
			Payload: []byte(fmt.Sprintf("\n$8f14e45f-ceea-467f-a8f5-2d1f2a1f000%d\x10\x01\x1a\x0b\x12\x02\x08%c\x18\xc0\xb2\xd4\xbb\x05", i/2, i)),
		}
		if i == 1 {
			r.Parents = [][]byte{digests[0][:]}
		}
		raw, d, err := syncer.Seal(r)
		if err != nil {
			t.Fatal(err)
		}
		raws, digests = append(raws, raw), append(digests, d)
	}
	raws, digests = append(raws, []byte("not a record"), nil), append(digests, syncer.DigestOf([]byte("not a record")), syncer.Digest{1, 2, 3})
	p := syncer.PackText(lane, digests, raws, 0)
	v := packedVector{Text: hex.EncodeToString(p.Text), IDs: hex.EncodeToString(p.IDs), Numbers: hex.EncodeToString(p.Numbers)}
	for _, raw := range raws {
		v.Records = append(v.Records, hex.EncodeToString(raw))
	}
	if *update {
		out, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("testdata/packed.json", append(out, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	stored, err := os.ReadFile("testdata/packed.json")
	if err != nil {
		t.Fatal(err)
	}
	var want packedVector
	if err := json.Unmarshal(stored, &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, v); diff != "" {
		t.Errorf("the vectors changed (-want +got):\n%s", diff)
	}
	// Another client's zstd of the vector is read.
	b := syncer.PackBatch(device, lane, 1, syncer.Chain{}, digests, raws, syncer.PackOptions{})
	b.Packed = frame(t, p.Text)
	if c, err := syncer.Check(b, device.Public().(ed25519.PublicKey), syncer.DefaultLimits); err != nil || len(c.Entries) != 5 || c.Entries[4].Reason != fault.RecordDamaged {
		t.Errorf("the vector: %+v, %v", c, err)
	}
}

func uuidv7(i int) []byte {
	id := binary.BigEndian.AppendUint64(nil, uint64(1467334800000+i)<<16|0x7000)
	return append(id[:8:8], 0x80, 0, 0, 0, 0, 0, 0, byte(i))
}

// FuzzUnpack feeds the reader of packed text.
func FuzzUnpack(f *testing.F) {
	_, digests, raws := batchOf(f, 4, false)
	p := syncer.PackText(testLane, digests, raws, 0)
	f.Add(p.Text, p.IDs, p.Numbers, uint8(0))
	f.Add(p.Text[:len(p.Text)/2], p.IDs, p.Numbers, uint8(1))
	f.Add([]byte{2, 2, 0, 2, 1, 36, 0xf5, 1, 8, 0, 3}, make([]byte, 80), []byte{7, 1}, uint8(2))
	small := syncer.Limits{Records: 50, Bytes: 10_000, RecordBytes: 5_000}
	known := append(syncer.Dictionaries(), 0)
	f.Fuzz(func(t *testing.T, text, ids, numbers []byte, dictionary uint8) {
		p := syncer.PackedText{Text: text, IDs: ids, Numbers: numbers, Dictionary: known[int(dictionary)%len(known)]}
		entries, err := syncer.UnpackText(testLane, p, small)
		if err != nil {
			return
		}
		size := 0
		for _, e := range entries {
			size += len(e.GetRecord())
			if len(e.GetRecord()) > 0 && syncer.DigestOf(e.GetRecord()) != syncer.Digest(e.GetDigest()) {
				t.Fatal("an entry with a digest that is not its bytes'")
			}
		}
		if len(entries) > small.Records || size > small.Bytes {
			t.Fatalf("%d entries of %d bytes passed the limits", len(entries), size)
		}
	})
}
