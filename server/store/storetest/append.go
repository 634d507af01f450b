package storetest

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
)

// outcomes is what a batch's results say, by sequence number.
func outcomes(a *store.Appended) map[uint64]string {
	out := map[uint64]string{}
	for _, r := range a.Results {
		out[r.GetSeq()] = r.GetOutcome().String()[len("ENTRY_OUTCOME_"):] + " " + r.GetReason()
	}
	return out
}

func wantOutcomes(t *testing.T, a *store.Appended, want map[uint64]string) {
	t.Helper()
	if diff := cmp.Diff(want, outcomes(a)); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
}

var appendTests = map[string]func(*testing.T, Factory){
	"stored once":         testStoredOnce,
	"batch again":         testBatchAgain,
	"part of it again":    testOverlap,
	"same record by two":  testTwoLanes,
	"reused id":           testReusedID,
	"declared damaged":    testDamaged,
	"damaged then whole":  testDamagedThenWhole,
	"refused beside good": testRefused,
	"unreadable":          testUnreadable,
	"ten thousand":        testTenThousand,
	"big records":         testBig,
}

func testStoredOnce(t *testing.T, f Factory) {
	s := f.Open(t)
	b := NewTablet(1)
	records := b.Records(t, 7, 3)
	got := b.Push(t, s, records...)
	if got.New != 3 || got.Fork || len(got.Gaps) > 0 || len(got.Results) > 0 || got.Head != b.Head {
		t.Errorf("Append = %+v, want 3 new and head %v", got, b.Head)
	}
	all := ReadAll(t, s, 2)
	if len(all) != 3 {
		t.Fatalf("%d records, want 3", len(all))
	}
	for i, r := range all {
		if r.Part != 7 || r.Counter != uint64(i)+1 || !bytes.Equal(r.Raw, records[i].Bytes) || r.ReceivedMS == 0 {
			t.Errorf("record %d = part %d, counter %d, received %d; want part 7, counter %d, the bytes sent", i, r.Part, r.Counter, r.ReceivedMS, i+1)
		}
	}
}

func testBatchAgain(t *testing.T, f Factory) {
	s := f.Open(t)
	b := NewTablet(1)
	batch := b.Check(t, b.Batch(b.Records(t, 7, 3)...))
	push(t, s, batch)
	got := push(t, s, batch)
	wantOutcomes(t, got, map[uint64]string{1: "DUPLICATE ", 2: "DUPLICATE ", 3: "DUPLICATE "})
	if got.New != 0 || got.Fork || got.Head != b.Head {
		t.Errorf("Append = %+v, want nothing new and head %v", got, b.Head)
	}
	if n := len(ReadAll(t, s, 10)); n != 3 {
		t.Errorf("%d records, want 3", n)
	}
}

func testOverlap(t *testing.T, f Factory) {
	s := f.Open(t)
	b := NewTablet(1)
	records := b.Records(t, 7, 6)
	push(t, s, b.Check(t, b.batchAt(syncer.Head{}, records[:4])))
	whole := b.Check(t, b.Batch(records...))
	got := push(t, s, whole)
	wantOutcomes(t, got, map[uint64]string{1: "DUPLICATE ", 2: "DUPLICATE ", 3: "DUPLICATE ", 4: "DUPLICATE "})
	if got.New != 2 || got.Head != b.Head || got.Fork {
		t.Errorf("Append = %+v, want 2 new", got)
	}
	if got := b.Push(t, s, b.Records(t, 7, 1)...); got.New != 1 || got.Fork || got.Head != b.Head {
		t.Errorf("Append after = %+v, want 1 new", got)
	}
}

// A record that one lane brought comes again by another lane: it is held once.
func testTwoLanes(t *testing.T, f Factory) {
	s := f.Open(t)
	a, b := NewTablet(1), NewTablet(2)
	records := a.Records(t, 7, 2)
	a.Push(t, s, records...)
	got := b.Push(t, s, records...)
	wantOutcomes(t, got, map[uint64]string{1: "DUPLICATE ", 2: "DUPLICATE "})
	if got.New != 0 || got.Head != b.Head {
		t.Errorf("Append = %+v, want nothing new but the lane's head at 2", got)
	}
}

func testReusedID(t *testing.T, f Factory) {
	s := f.Open(t)
	b := NewTablet(1)
	first := b.Record(t, 7, "a", nil)
	other := b.Record(t, 7, "b", func(r *servicev1.Record) { r.Id = first.Record.GetId() })
	b.Push(t, s, first)
	batch := b.Check(t, b.Batch(other, b.Record(t, 7, "c", nil)))
	for range 2 {
		got := push(t, s, batch)
		if o := outcomes(got)[2]; o != "QUARANTINED "+string(fault.IDReused) && o != "DUPLICATE " {
			t.Errorf("outcome of the second record = %q", o)
		}
		if got.Head != b.Head {
			t.Errorf("head = %v, want %v: one bad record must not hold the lane up", got.Head, b.Head)
		}
	}
	items := quarantine(t, s)
	if len(items) != 1 || items[0].GetReason() != string(fault.IDReused) || !bytes.Equal(items[0].GetDigest(), other.Digest[:]) ||
		items[0].GetSeq() != 2 || items[0].GetSize() != int64(len(other.Bytes)) {
		t.Errorf("quarantine = %v, want the second record once", items)
	}
	if n := len(ReadAll(t, s, 10)); n != 2 {
		t.Errorf("%d records, want 2", n)
	}
	ref := func(r Raw, d syncer.Digest) *servicev1.RecordRef {
		return &servicev1.RecordRef{Part: r.Record.Part, Id: r.Record.GetId(), Digest: d[:]}
	}
	third := b.Record(t, 7, "x", nil)
	wanted, conflicting, err := s.Missing(t.Context(), []*servicev1.RecordRef{
		ref(first, first.Digest), ref(first, other.Digest), ref(first, third.Digest), ref(third, third.Digest)})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]uint32{{2, 3}, {2}}, [][]uint32{wanted, conflicting}); diff != "" {
		t.Errorf("Missing (-want +got):\n%s", diff)
	}
}

func quarantine(t *testing.T, s store.Store) []*servicev1.QuarantineItem {
	t.Helper()
	var out []*servicev1.QuarantineItem
	var after int64
	for {
		items, err := s.Quarantine(t.Context(), after, 2)
		if err != nil {
			t.Fatal(err)
		}
		if len(items) == 0 {
			return out
		}
		out, after = append(out, items...), items[len(items)-1].GetId()
	}
}

func testDamaged(t *testing.T, f Factory) {
	s := f.Open(t)
	b := NewTablet(1)
	records := b.Records(t, 7, 3)
	records[1].Bytes = nil
	batch := b.Check(t, b.Batch(records...))
	got := push(t, s, batch)
	wantOutcomes(t, got, map[uint64]string{2: "QUARANTINED " + string(fault.RecordDamaged)})
	if got.New != 2 || got.Head != b.Head {
		t.Errorf("Append = %+v, want 2 new and the head past the damaged record", got)
	}
	push(t, s, batch)
	items := quarantine(t, s)
	if len(items) != 1 || items[0].GetSize() != 0 || items[0].GetSeq() != 2 {
		t.Errorf("quarantine = %v, want entry 2 without bytes", items)
	}
	// The same lane from a whole copy, by a longer batch: what was damaged there is held here.
	again := *b
	again.Lane.Epoch[0]++
	again.Head = syncer.Head{}
	lost := records[0]
	lost.Bytes = nil
	got = again.Push(t, s, lost)
	wantOutcomes(t, got, map[uint64]string{1: "DUPLICATE "})
	if n := len(quarantine(t, s)); n != 1 {
		t.Errorf("%d in quarantine, want 1: the record was brought before", n)
	}
}

// A record whose copy was damaged on the tablet is found whole in a backup: no answer is lost.
func testDamagedThenWhole(t *testing.T, f Factory) {
	s := f.Open(t)
	b := NewTablet(1)
	records := b.Records(t, 7, 3)
	broken := append([]Raw(nil), records...)
	broken[1].Bytes = nil
	push(t, s, b.Check(t, b.batchAt(syncer.Head{}, broken)))
	ref := &servicev1.RecordRef{Part: records[1].Record.Part, Id: records[1].Record.GetId(), Digest: records[1].Digest[:]}
	if wanted, _, err := s.Missing(t.Context(), []*servicev1.RecordRef{ref}); err != nil || len(wanted) != 1 {
		t.Errorf("Missing = %v, %v; want the damaged record wanted", wanted, err)
	}
	got := push(t, s, b.Check(t, b.batchAt(syncer.Head{}, records)))
	if got.New != 1 {
		t.Errorf("Append = %+v, want the whole record taken in", got)
	}
	if n := len(ReadAll(t, s, 10)); n != 3 {
		t.Errorf("%d records, want 3", n)
	}
	if items := quarantine(t, s); len(items) != 0 {
		t.Errorf("quarantine = %v, want it empty", items)
	}
}

func testRefused(t *testing.T, f Factory) {
	s := f.Open(t)
	b := NewTablet(1)
	records := b.Records(t, 7, 5)
	bad := append([]Raw(nil), records...)
	bad[2].Bytes = append(bytes.Clone(bad[2].Bytes), 1)
	got := push(t, s, b.Check(t, b.batchAt(syncer.Head{}, bad)))
	wantOutcomes(t, got, map[uint64]string{3: "REFUSED " + string(fault.BadDigest)})
	if got.New != 4 || got.Head.Seq != 2 || len(got.Gaps) != 1 || got.Gaps[0].GetFirst() != 3 || got.Gaps[0].GetLast() != 3 {
		t.Errorf("Append = %+v, want 4 new, head 2, gap 3 to 3", got)
	}
	whole := b.Check(t, b.Batch(records...))
	got = push(t, s, whole)
	if got.New != 1 || got.Head != b.Head || len(got.Gaps) != 0 || got.Fork {
		t.Errorf("Append of the whole = %+v, want 1 new and no gap", got)
	}
}

func testUnreadable(t *testing.T, f Factory) {
	s := f.Open(t)
	b := NewTablet(1)
	junk := Raw{Bytes: []byte("not a record")}
	junk.Digest = syncer.DigestOf(junk.Bytes)
	got := b.Push(t, s, b.Record(t, 7, "a", nil), junk, b.Record(t, 7, "b", nil))
	wantOutcomes(t, got, map[uint64]string{2: "QUARANTINED " + string(fault.RecordUnreadable)})
	if got.New != 2 || got.Head != b.Head {
		t.Errorf("Append = %+v, want 2 new", got)
	}
	// A reason that the server gave: kept, and used when it comes again without.
	r := b.Record(t, 7, "c", nil)
	batch := b.Check(t, b.Batch(r))
	batch.Entries[0].Reason, batch.Entries[0].Message = fault.UnknownVersion, "version 9"
	wantOutcomes(t, push(t, s, batch), map[uint64]string{4: "QUARANTINED " + string(fault.UnknownVersion)})
	if n := len(quarantine(t, s)); n != 2 {
		t.Errorf("%d in quarantine, want 2", n)
	}
	batch.Entries[0].Reason, batch.Entries[0].Message = "", ""
	if got := push(t, s, batch); got.New != 1 {
		t.Errorf("Append without reason = %+v, want 1 new", got)
	}
	if n := len(quarantine(t, s)); n != 1 {
		t.Errorf("%d in quarantine after, want 1", n)
	}
}

func testTenThousand(t *testing.T, f Factory) {
	s := f.Open(t)
	b := NewTablet(1)
	want := b.Records(t, 7, 10000)
	if got := b.Push(t, s, want...); got.New != len(want) {
		t.Fatalf("%d new, want %d", got.New, len(want))
	}
	all := ReadAll(t, s, 999)
	if len(all) != len(want) {
		t.Fatalf("%d records, want %d", len(all), len(want))
	}
	for i, r := range all {
		if r.Counter != uint64(i)+1 || r.Digest != want[i].Digest {
			t.Fatalf("record %d has counter %d and digest %v, want %v", i, r.Counter, r.Digest, want[i].Digest)
		}
	}
}

func testBig(t *testing.T, f Factory) {
	s := f.Open(t)
	b := NewTablet(1)
	var want []Raw
	for i := range 12 {
		want = append(want, b.Record(t, uint64(i%2), Subject(uint64(i)), func(r *servicev1.Record) {
			r.Payload = bytes.Repeat([]byte{byte(i), 0, 0xff}, (syncer.MaxRecordBytes-4096)/3)
		}))
	}
	b.Push(t, s, want...)
	got := map[syncer.Digest]bool{}
	for _, r := range ReadAll(t, s, 1000) {
		got[r.Digest] = true
	}
	if diff := cmp.Diff(digests(want), got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}
