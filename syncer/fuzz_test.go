package syncer_test

import (
	"bytes"
	"testing"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// FuzzCheck feeds the decoder of batches, compressed ones too.
func FuzzCheck(f *testing.F) {
	for _, compress := range []bool{false, true} {
		b, _, _ := batchOf(f, 4, compress)
		wire, err := proto.Marshal(b)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
		f.Add(wire[:len(wire)/2])
	}
	f.Add([]byte{0x2a, 0x04, 0x28, 0xb5, 0x2f, 0xfd})
	f.Fuzz(func(t *testing.T, wire []byte) {
		b := &servicev1.Batch{}
		if proto.Unmarshal(wire, b) != nil {
			return
		}
		c, err := syncer.Check(b, public(), syncer.DefaultLimits)
		if err != nil {
			return
		}
		n := 0
		for _, r := range c.Runs {
			n += len(r.Digests)
		}
		for _, e := range c.Entries {
			if e.Refused {
				n++
			}
			if e.Raw != nil && syncer.DigestOf(e.Raw) != e.Digest {
				t.Fatalf("entry %d passed with the wrong digest", e.Seq)
			}
		}
		if n != len(c.Entries) {
			t.Fatalf("%d entries, %d in runs or refused", len(c.Entries), n)
		}
	})
}

// FuzzOpen feeds the decoder of envelopes.
func FuzzOpen(f *testing.F) {
	raw, _ := record(f, 1, "x")
	f.Add(raw)
	f.Add(raw[:10])
	f.Add(bytes.Repeat([]byte{0x0b}, 20_000)) // groups in groups
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := syncer.Open(raw)
		if err == nil && (len(r.GetId()) != 16 || r.GetSubject() == "") {
			t.Fatal("an envelope that is not complete was opened")
		}
	})
}

// FuzzParseCursor feeds the decoder of cursors; what it takes it gives back in one form.
func FuzzParseCursor(f *testing.F) {
	epoch := syncer.ID{1}
	wire, err := proto.Marshal(syncer.Cursor{Epoch: epoch, Parts: map[uint64]uint64{1: 2, 3: 4}}.Proto())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(wire)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, wire []byte) {
		m := &servicev1.Cursor{}
		if proto.Unmarshal(wire, m) != nil {
			return
		}
		c, err := syncer.ParseCursor(m, epoch)
		if err != nil {
			return
		}
		again, err := syncer.ParseCursor(c.Proto(), epoch)
		if err != nil || !proto.Equal(c.Proto(), again.Proto()) {
			t.Fatalf("%v became %v (%v)", c, again, err)
		}
	})
}

// FuzzReceipt feeds the verifier of receipts: none but the server's verifies.
func FuzzReceipt(f *testing.F) {
	wire, err := proto.Marshal(syncer.NewReceipt(testKey, testLane, syncer.Head{Seq: 1}, 1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(wire)
	f.Fuzz(func(t *testing.T, wire []byte) {
		r := &servicev1.Receipt{}
		if proto.Unmarshal(wire, r) != nil {
			return
		}
		_, h, err := syncer.VerifyReceipt(r, public())
		if err == nil && (h.Seq != 1 || r.GetTimeMs() != 1) {
			t.Fatal("a receipt verifies that was never given")
		}
	})
}
