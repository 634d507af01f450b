package syncer_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

var testKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))

// record makes the nth sealed record of the test lane's device.
func record(t testing.TB, n int, payload string) ([]byte, syncer.Digest) {
	t.Helper()
	id := append(bytes.Repeat([]byte{byte(n)}, 6), 0x70, byte(n), 0x80, 0, 0, 0, 0, 0, 0, byte(n))
	raw, d, err := syncer.Seal(&servicev1.Record{
		Id: id, Kind: servicev1.RecordKind_RECORD_KIND_INTERVIEW.Enum(), Subject: proto.String(fmt.Sprint("subject ", n)),
		Study: proto.String("guiyang-2016"), Device: testLane.Device[:], Payload: []byte(payload),
	})
	if err != nil {
		t.Fatal(err)
	}
	return raw, d
}

func batchOf(t testing.TB, n int, compress bool) (*servicev1.Batch, []syncer.Digest, [][]byte) {
	t.Helper()
	var digests []syncer.Digest
	var raws [][]byte
	for i := range n {
		raw, d := record(t, i, strings.Repeat("answer ", 20))
		digests, raws = append(digests, d), append(raws, raw)
	}
	return syncer.NewBatch(testKey, testLane, 1, syncer.Chain{}, digests, raws, compress), digests, raws
}

func public() ed25519.PublicKey { return testKey.Public().(ed25519.PublicKey) }

func TestBatchRoundTrip(t *testing.T) {
	for _, compress := range []bool{false, true} {
		b, digests, raws := batchOf(t, 20, compress)
		if got := len(b.GetEntriesZstd()) > 0; got != compress {
			t.Errorf("compressed = %v, want %v", got, compress)
		}
		wire, err := proto.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		back := &servicev1.Batch{}
		if err := proto.Unmarshal(wire, back); err != nil {
			t.Fatal(err)
		}
		c, err := syncer.Check(back, public(), syncer.DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		want := []syncer.Run{{First: 1, Digests: digests, Signature: b.GetSignature()}}
		if diff := cmp.Diff(want, c.Runs); diff != "" {
			t.Errorf("runs (-want +got):\n%s", diff)
		}
		for i, e := range c.Entries {
			if !bytes.Equal(e.Raw, raws[i]) || e.Reason != "" || e.Record == nil || e.Seq != uint64(i)+1 {
				t.Errorf("entry %d = %+v", i, e)
			}
		}
	}
}

// Unknown fields and an order of fields that no marshaller here would write survive: the bytes are the record.
func TestRecordBytesAreNeverWrittenAgain(t *testing.T) {
	raw, _ := record(t, 1, "x")
	raw = protowire.AppendTag(raw, 500, protowire.BytesType)
	raw = protowire.AppendBytes(raw, []byte("from a later version"))
	raw = protowire.AppendTag(raw, 3, protowire.BytesType) // the subject once more, at the end
	raw = protowire.AppendBytes(raw, []byte("subject 1"))
	d := syncer.DigestOf(raw)
	for _, compress := range []bool{false, true} {
		b := syncer.NewBatch(testKey, testLane, 1, syncer.Chain{}, []syncer.Digest{d}, [][]byte{raw}, compress)
		c, err := syncer.Check(b, public(), syncer.DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(c.Entries[0].Raw, raw) || c.Entries[0].Reason != "" {
			t.Errorf("compress %v: entry = %+v", compress, c.Entries[0])
		}
	}
}

func TestCheckMarksBadEntriesAndKeepsTheOthers(t *testing.T) {
	_, digests, raws := batchOf(t, 6, false)
	foreign, fd := record(t, 99, "x")
	other := testLane
	other.Device = syncer.ID{9}
	raws[1] = append(bytes.Clone(raws[1]), 0) // changed on the way
	raws[2] = nil                             // declared damaged
	raws[4] = []byte("\xff\xff not a record")
	digests[4] = syncer.DigestOf(raws[4])
	b := syncer.NewBatch(testKey, testLane, 1, syncer.Chain{}, digests, raws, false)
	c, err := syncer.Check(b, public(), syncer.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range c.Entries {
		got = append(got, fmt.Sprintf("%d %s %v %v", e.Seq, e.Reason, e.Refused, e.Raw == nil))
	}
	want := []string{"1  false false", "2 BAD_DIGEST true true", "3 RECORD_DAMAGED false true", "4  false false", "5 RECORD_UNREADABLE false false", "6  false false"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	run := syncer.Run{First: 1, Digests: digests}
	wantRuns := []syncer.Run{
		{First: 1, Digests: digests[:1]},
		{First: 3, Prev: run.ChainAt(testLane, 2), Digests: digests[2:], Signature: b.GetSignature()},
	}
	if diff := cmp.Diff(wantRuns, c.Runs); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
	// A record of another device in this lane is kept and not believed.
	b = syncer.NewBatch(testKey, other, 1, syncer.Chain{}, []syncer.Digest{fd}, [][]byte{foreign}, false)
	if c, err = syncer.Check(b, public(), syncer.DefaultLimits); err != nil || c.Entries[0].Reason != fault.BadSignature || c.Entries[0].Refused {
		t.Errorf("a record of another device: %+v, %v, want quarantine as %s", c, err, fault.BadSignature)
	}
	small := syncer.DefaultLimits
	small.RecordBytes = 10
	b, _, _ = batchOf(t, 2, false)
	if c, err = syncer.Check(b, public(), small); err != nil || c.Entries[0].Reason != fault.RecordTooLarge || len(c.Runs) != 0 {
		t.Errorf("records over the limit: %+v, %v", c, err)
	}
}

// bomb is so many zstd frames of size zeros each.
func bomb(t *testing.T, size, frames int) []byte {
	t.Helper()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Repeat(enc.EncodeAll(make([]byte, size), nil), frames)
}

// unsized is a zstd frame that does not say its size.
func unsized(t *testing.T) []byte {
	t.Helper()
	var buf bytes.Buffer
	enc, err := zstd.NewWriter(&buf)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := enc.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(enc.Flush(), enc.Close()); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestCheckRefusesBatches(t *testing.T) {
	many := make([]*servicev1.Entry, 10_000)
	for i := range many {
		many[i] = &servicev1.Entry{Digest: make([]byte, 32)}
	}
	manyRaw := bytes.Repeat([]byte{0x0a, 0x00}, 100_000) // empty entries
	enc, err := zstd.NewWriter(nil, zstd.WithSingleSegment(true))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		change func(*servicev1.Batch)
		want   fault.Reason
	}{
		{"no lane", func(b *servicev1.Batch) { b.Lane = nil }, fault.BadBatch},
		{"short device", func(b *servicev1.Batch) { b.Lane.Device = []byte{1} }, fault.BadBatch},
		{"short chain", func(b *servicev1.Batch) { b.PrevChain = nil }, fault.BadBatch},
		{"no entries", func(b *servicev1.Batch) { b.Entries = nil }, fault.BadBatch},
		{"entry 0", func(b *servicev1.Batch) { b.FirstSeq = proto.Uint64(0) }, fault.BadBatch},
		{"entry 2^63", func(b *servicev1.Batch) { b.FirstSeq = proto.Uint64(1 << 63) }, fault.BadBatch},
		{"a chain before the first", func(b *servicev1.Batch) { b.PrevChain = bytes.Repeat([]byte{1}, 32) }, fault.BadChain},
		{"short digest", func(b *servicev1.Batch) { b.Entries[0].Digest = []byte{1} }, fault.BadBatch},
		{"no signature", func(b *servicev1.Batch) { b.Signature = nil }, fault.BadSignature},
		{"signature changed", func(b *servicev1.Batch) { b.Signature[3] ^= 1 }, fault.BadSignature},
		{"entries swapped", func(b *servicev1.Batch) { b.Entries[0], b.Entries[1] = b.Entries[1], b.Entries[0] }, fault.BadSignature},
		{"an entry dropped", func(b *servicev1.Batch) { b.Entries = b.Entries[1:] }, fault.BadSignature},
		{"another lane", func(b *servicev1.Batch) { b.Lane.Epoch[0] ^= 1 }, fault.BadSignature},
		{"moved", func(b *servicev1.Batch) { b.FirstSeq, b.PrevChain = proto.Uint64(2), bytes.Repeat([]byte{1}, 32) }, fault.BadSignature},
		{"10,000 records", func(b *servicev1.Batch) { b.Entries = many }, fault.BatchTooLarge},
		{"5 MiB", func(b *servicev1.Batch) {
			for i := range b.Entries {
				b.Entries[i].Record = make([]byte, 1<<20)
			}
		}, fault.BatchTooLarge},
		{"plain and compressed", func(b *servicev1.Batch) { b.EntriesZstd = bomb(t, 10, 1) }, fault.BadBatch},
		{"a bomb", func(b *servicev1.Batch) { b.Entries, b.EntriesZstd = nil, bomb(t, 256<<20, 1) }, fault.BatchTooLarge},
		{"a bomb of many frames", func(b *servicev1.Batch) { b.Entries, b.EntriesZstd = nil, bomb(t, 1<<20, 60) }, fault.BadBatch},
		{"a bomb that does not say", func(b *servicev1.Batch) { b.Entries, b.EntriesZstd = nil, unsized(t) }, fault.BatchTooLarge},
		{"not zstd", func(b *servicev1.Batch) { b.Entries, b.EntriesZstd = nil, []byte("nonsense") }, fault.BadBatch},
		{"zstd cut", func(b *servicev1.Batch) { b.Entries, b.EntriesZstd = nil, bomb(t, 1000, 1)[:12] }, fault.BadBatch},
		{"zstd of nonsense", func(b *servicev1.Batch) {
			b.Entries, b.EntriesZstd = nil, enc.EncodeAll(bytes.Repeat([]byte{0xff}, 100), nil)
		}, fault.BadBatch},
		{"zstd of 100,000 empty entries", func(b *servicev1.Batch) { b.Entries, b.EntriesZstd = nil, enc.EncodeAll(manyRaw, nil) }, fault.BatchTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, _, _ := batchOf(t, 5, false)
			tt.change(b)
			_, err := syncer.Check(b, public(), syncer.DefaultLimits)
			if got := fault.ReasonOf(err); got != tt.want {
				t.Errorf("Check: %v (%s), want %s", err, got, tt.want)
			}
		})
	}
	b, _, _ := batchOf(t, 5, false)
	for _, key := range []ed25519.PublicKey{nil, make([]byte, 5), make([]byte, 32)} {
		if _, err := syncer.Check(b, key, syncer.DefaultLimits); fault.ReasonOf(err) != fault.BadSignature {
			t.Errorf("Check with a key of %d bytes: %v, want %s", len(key), err, fault.BadSignature)
		}
	}
}

// A batch full to the limits passes compressed as well, although its entries take more than their records.
func TestCompressedBatchUpToTheLimits(t *testing.T) {
	lim := syncer.Limits{Records: 50, Bytes: 0, RecordBytes: 1 << 20}
	b, _, raws := batchOf(t, 50, true)
	for _, r := range raws {
		lim.Bytes += len(r)
	}
	if _, err := syncer.Check(b, public(), lim); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	lim.Bytes--
	if _, err := syncer.Check(b, public(), lim); fault.ReasonOf(err) != fault.BatchTooLarge {
		t.Errorf("one byte over: %v, want %s", err, fault.BatchTooLarge)
	}
}

func TestSealAndOpenCheckTheEnvelope(t *testing.T) {
	valid := func() *servicev1.Record {
		raw, _ := record(t, 1, "x")
		r, err := syncer.Open(raw)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	tests := []struct {
		name   string
		change func(*servicev1.Record)
		want   fault.Reason
	}{
		{"whole", func(*servicev1.Record) {}, ""},
		{"no id", func(r *servicev1.Record) { r.Id = nil }, fault.RecordUnreadable},
		{"id of version 4", func(r *servicev1.Record) { r.Id[6] = 0x40 }, fault.RecordUnreadable},
		{"no kind", func(r *servicev1.Record) { r.Kind = nil }, fault.RecordUnreadable},
		{"a kind of a later version", func(r *servicev1.Record) { r.Kind = servicev1.RecordKind(77).Enum() }, ""},
		{"no subject", func(r *servicev1.Record) { r.Subject = nil }, fault.RecordUnreadable},
		{"a long subject", func(r *servicev1.Record) { r.Subject = proto.String(strings.Repeat("长", 43)) }, fault.RecordUnreadable},
		{"a subject that is not UTF-8", func(r *servicev1.Record) { r.Subject = proto.String("\xff") }, fault.RecordUnreadable},
		{"no study", func(r *servicev1.Record) { r.Study = nil }, fault.RecordUnreadable},
		{"no device", func(r *servicev1.Record) { r.Device = nil }, fault.RecordUnreadable},
		{"short parent", func(r *servicev1.Record) { r.Parents = [][]byte{{1}} }, fault.RecordUnreadable},
		{"65 parents", func(r *servicev1.Record) {
			for range 65 {
				r.Parents = append(r.Parents, make([]byte, 32))
			}
		}, fault.RecordUnreadable},
		{"too large", func(r *servicev1.Record) { r.Payload = make([]byte, syncer.MaxRecordBytes) }, fault.RecordTooLarge},
	}
	for _, tt := range tests {
		r := valid()
		tt.change(r)
		_, _, err := syncer.Seal(r)
		if got := fault.ReasonOf(err); got != tt.want {
			t.Errorf("%s: Seal: %v (%q), want %q", tt.name, err, got, tt.want)
		}
		if raw, merr := proto.Marshal(r); merr == nil && tt.want == fault.RecordUnreadable {
			if _, err := syncer.Open(raw); fault.ReasonOf(err) != tt.want {
				t.Errorf("%s: Open: %v, want %s", tt.name, err, tt.want)
			}
		}
	}
}

func TestReceipts(t *testing.T) {
	head := syncer.Head{Seq: 12, Chain: syncer.Chain{3}}
	server := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, 32))
	key := server.Public().(ed25519.PublicKey)
	tests := []struct {
		name   string
		change func(*servicev1.Receipt)
		want   fault.Reason
	}{
		{"whole", func(*servicev1.Receipt) {}, ""},
		{"more than was signed", func(r *servicev1.Receipt) { r.Seq = proto.Uint64(13) }, fault.BadSignature},
		{"another chain", func(r *servicev1.Receipt) { r.Chain[0] ^= 1 }, fault.BadSignature},
		{"another time", func(r *servicev1.Receipt) { r.TimeMs = proto.Int64(1) }, fault.BadSignature},
		{"another lane", func(r *servicev1.Receipt) { r.Lane.Epoch[5] ^= 1 }, fault.BadSignature},
		{"no lane", func(r *servicev1.Receipt) { r.Lane = nil }, fault.BadBatch},
		{"short chain", func(r *servicev1.Receipt) { r.Chain = r.Chain[1:] }, fault.BadSignature},
		{"no signature", func(r *servicev1.Receipt) { r.Signature = nil }, fault.BadSignature},
		{"another server", func(r *servicev1.Receipt) { r.Keeper = public() }, fault.ServerChanged},
	}
	for _, tt := range tests {
		r := syncer.NewReceipt(server, testLane, head, -5)
		tt.change(r)
		lane, got, err := syncer.VerifyReceipt(r, key)
		if fault.ReasonOf(err) != tt.want {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		if err == nil && (lane != testLane || got != head) {
			t.Errorf("%s: %v %+v", tt.name, lane, got)
		}
	}
}

func TestCursor(t *testing.T) {
	epoch := syncer.ID{5}
	c := syncer.Cursor{Epoch: epoch, Parts: map[uint64]uint64{9: 1, 2: 7, 5: 3}}
	m := c.Proto()
	if got := m.GetParts()[0].GetPart(); got != 2 {
		t.Errorf("the first part is %d, want 2", got)
	}
	back, err := syncer.ParseCursor(m, epoch)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c, back); diff != "" {
		t.Errorf("round trip (-want +got):\n%s", diff)
	}
	if _, err := syncer.ParseCursor(m, syncer.ID{6}); fault.ReasonOf(err) != fault.CursorStale {
		t.Errorf("another epoch: %v, want %s", err, fault.CursorStale)
	}
	if _, err := syncer.ParseCursor(&servicev1.Cursor{Parts: m.GetParts()}, epoch); fault.ReasonOf(err) != fault.CursorStale {
		t.Errorf("no epoch: %v, want %s", err, fault.CursorStale)
	}
	if got, err := syncer.ParseCursor(nil, epoch); err != nil || len(got.Parts) != 0 || got.Epoch != epoch {
		t.Errorf("empty cursor: %+v, %v", got, err)
	}
	m.Parts = append(m.Parts, &servicev1.PartCounter{Part: proto.Uint64(2), Counter: proto.Uint64(4)})
	if got, err := syncer.ParseCursor(m, epoch); err != nil || got.Parts[2] != 4 {
		t.Errorf("a part named twice: %+v, %v, want the lower counter", got, err)
	}
}
