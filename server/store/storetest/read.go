package storetest

import (
	"bytes"
	"slices"
	"sync"
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

var readTests = map[string]func(*testing.T, Factory){
	"empty":                       testEmpty,
	"cursor of another epoch":     testStaleCursor,
	"order of parts and counters": testOrder,
	"cursor under writers":        testCursorUnderWriters,
	"thousands of parts":          testManyParts,
	"revisions":                   testRevisions,
	"case and Chinese":            testCaseAndChinese,
	"one record":                  testRecord,
	"missing":                     testMissing,
	"notify":                      testNotify,
}

func testEmpty(t *testing.T, f Factory) {
	s := f.Open(t)
	records, cursor, more, err := s.After(t.Context(), syncer.Cursor{}, 10)
	if err != nil || len(records) > 0 || more || cursor.Epoch != s.Epoch() {
		t.Errorf("After = %v, %v, %v, %v; want nothing and the log's epoch", records, cursor, more, err)
	}
	if s.Epoch() == (syncer.ID{}) {
		t.Error("the log has no epoch")
	}
	if other := f.Open(t); other.Epoch() == s.Epoch() {
		t.Error("two logs have the same epoch")
	}
}

func testStaleCursor(t *testing.T, f Factory) {
	s := f.Open(t)
	_, _, _, err := s.After(t.Context(), syncer.Cursor{Epoch: syncer.ID{1}, Parts: map[uint64]uint64{1: 1}}, 10)
	if fault.ReasonOf(err) != fault.CursorStale {
		t.Errorf("After = %v, want %s", err, fault.CursorStale)
	}
}

func testOrder(t *testing.T, f Factory) {
	s := f.Open(t)
	b := NewTablet(1)
	parts := []uint64{1 << 63, 5, 1<<64 - 1, 0, 6}
	for range 3 {
		for _, p := range parts {
			b.Push(t, s, b.Records(t, p, 2)...)
		}
	}
	all := ReadAll(t, s, 4)
	if len(all) != 30 {
		t.Fatalf("%d records, want 30", len(all))
	}
	slices.Sort(parts)
	for i, r := range all {
		if r.Part != parts[i/6] || r.Counter != uint64(i%6)+1 {
			t.Errorf("record %d is %d of part %x, want %d of %x: parts are in order of unsigned numbers", i, r.Counter, r.Part, i%6+1, parts[i/6])
		}
	}
	head, err := s.Head(t.Context())
	if err != nil || len(head.Parts) != 5 || head.Parts[0] != 6 {
		t.Errorf("Head = %v, %v; want 5 parts of 6", head, err)
	}
}

// The trap of a global sequence: a reader that pages while many write sees every record once.
func testCursorUnderWriters(t *testing.T, f Factory) {
	s := f.Open(t)
	ctx := within(t)
	const writers, batches, size = 12, 15, 5
	var work [writers][]*syncer.Checked
	for i := range work {
		b := NewTablet(uint64(i) + 1)
		for n := range batches {
			var records []Raw
			for k := range size {
				records = append(records, b.Record(t, uint64((i+n+k)%7), Subject(uint64(i*1000+n*10+k)), nil))
			}
			work[i] = append(work[i], b.Check(t, b.Batch(records...)))
		}
	}
	var writing sync.WaitGroup
	for _, mine := range work {
		writing.Go(func() {
			for _, c := range mine {
				if _, err := s.Append(ctx, c); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { writing.Wait(); close(done) }()
	var reading sync.WaitGroup
	for range 3 {
		reading.Go(func() { follow(t, s, done, writers*batches*size) })
	}
	reading.Wait()
}

// follow reads until done is closed and everything was read, and fails on a record that came twice or not.
func follow(t *testing.T, s store.Store, done <-chan struct{}, want int) {
	seen := map[syncer.Digest]bool{}
	cursor := syncer.Cursor{}
	for last := false; ; {
		select {
		case <-done:
			last = true
		default:
		}
		records, next, more, err := s.After(t.Context(), cursor, 7)
		if err != nil {
			t.Error(err)
			return
		}
		for _, r := range records {
			if seen[r.Digest] {
				t.Errorf("record %v came twice", r.Digest)
			}
			seen[r.Digest] = true
			if r.Counter <= cursor.Parts[r.Part] {
				t.Errorf("record %d of part %x came after the cursor was at %d", r.Counter, r.Part, cursor.Parts[r.Part])
			}
		}
		cursor = next
		if last && !more {
			break
		}
	}
	if len(seen) != want {
		t.Errorf("the reader saw %d records, want %d", len(seen), want)
	}
}

func testManyParts(t *testing.T, f Factory) {
	s := f.Open(t)
	b := NewTablet(1)
	const parts = 3000
	var records []Raw
	for p := range uint64(parts) {
		records = append(records, b.Record(t, p*p<<20, Subject(p), nil))
	}
	b.Push(t, s, records...)
	head, err := s.Head(t.Context())
	if err != nil || len(head.Parts) != parts {
		t.Fatalf("Head has %d parts, %v; want %d", len(head.Parts), err, parts)
	}
	b.Push(t, s, b.Records(t, 49<<20, 1)...)
	got, next, more, err := s.After(t.Context(), head, 100)
	if err != nil || len(got) != 1 || more || next.Parts[49<<20] != 2 || len(next.Parts) != parts {
		t.Errorf("After the head = %d records, more %v, %v; want the new one", len(got), more, err)
	}
	if n := len(ReadAll(t, s, 250)); n != parts+1 {
		t.Errorf("%d records, want %d", n, parts+1)
	}
}

func testRevisions(t *testing.T, f Factory) {
	s := f.Open(t)
	a, b := NewTablet(1), NewTablet(2)
	subject := Subject(1)
	first := a.Record(t, 7, subject, nil)
	mine := a.Record(t, 7, subject, func(r *servicev1.Record) { r.Parents = [][]byte{first.Digest[:]} })
	theirs := b.Record(t, 7, subject, func(r *servicev1.Record) { r.Parents = [][]byte{first.Digest[:]} })
	elsewhere := b.Record(t, 8, subject, nil)
	decision := b.Record(t, 7, subject, func(r *servicev1.Record) {
		r.Kind = servicev1.RecordKind_RECORD_KIND_LINK_DECISION.Enum()
	})
	a.Push(t, s, first, mine)
	b.Push(t, s, theirs, elsewhere, decision)
	got, err := s.Revisions(t.Context(), 7, servicev1.RecordKind_RECORD_KIND_INTERVIEW, subject)
	if err != nil {
		t.Fatal(err)
	}
	want := []Raw{first, mine, theirs}
	slices.SortFunc(want, func(x, y Raw) int { return bytes.Compare(x.Digest[:], y.Digest[:]) })
	if len(got) != len(want) {
		t.Fatalf("%d revisions, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i].Digest != want[i].Digest || !bytes.Equal(got[i].Raw, want[i].Bytes) {
			t.Errorf("revision %d is %v, want %v: the order is by digest", i, got[i].Digest, want[i].Digest)
		}
	}
	if got, err := s.Revisions(t.Context(), 7, servicev1.RecordKind_RECORD_KIND_INTERVIEW, "nobody"); err != nil || len(got) > 0 {
		t.Errorf("Revisions of nobody = %v, %v", got, err)
	}
}

// Subjects that a database with its own ideas of equality would take for the same, and one it might cut short.
func testCaseAndChinese(t *testing.T, f Factory) {
	s := f.Open(t)
	b := NewTablet(1)
	subjects := []string{"a", "A", "á", "a\u0301", "ａ", "a ", " a", "张三", "張三", "张三 ", "ß", "ss", "%", "_", "a'b", "a\x00b", "🏠"}
	var records []Raw
	for _, subject := range subjects {
		records = append(records, b.Record(t, 7, subject, nil))
	}
	if got := b.Push(t, s, records...); got.New != len(subjects) {
		t.Errorf("%d new, want %d", got.New, len(subjects))
	}
	for i, subject := range subjects {
		got, err := s.Revisions(t.Context(), 7, servicev1.RecordKind_RECORD_KIND_INTERVIEW, subject)
		if err != nil || len(got) != 1 || got[0].Digest != records[i].Digest {
			t.Errorf("Revisions(%q) = %d, %v; want its own one", subject, len(got), err)
		}
	}
}

func testRecord(t *testing.T, f Factory) {
	s := f.Open(t)
	b := NewTablet(1)
	records := b.Records(t, 7, 2)
	b.Push(t, s, records...)
	subject := records[0].Record.GetSubject()
	got, err := s.Record(t.Context(), 7, subject, records[0].Digest)
	if err != nil || !bytes.Equal(got.Raw, records[0].Bytes) || got.Counter != 1 || got.Part != 7 {
		t.Errorf("Record = %+v, %v", got, err)
	}
	for name, call := range map[string]func() (store.Stored, error){
		"another digest":  func() (store.Stored, error) { return s.Record(t.Context(), 7, subject, records[1].Digest) },
		"another part":    func() (store.Stored, error) { return s.Record(t.Context(), 8, subject, records[0].Digest) },
		"another subject": func() (store.Stored, error) { return s.Record(t.Context(), 7, "x", records[0].Digest) },
	} {
		if _, err := call(); fault.KindOf(err) != fault.NotFound {
			t.Errorf("%s: Record = %v, want not found", name, err)
		}
	}
}

func testMissing(t *testing.T, f Factory) {
	s := f.Open(t)
	b := NewTablet(1)
	records := b.Records(t, 7, 4)
	b.Push(t, s, records[0], records[2])
	var refs []*servicev1.RecordRef
	for _, r := range records {
		refs = append(refs, &servicev1.RecordRef{Part: proto.Uint64(7), Id: r.Record.GetId(), Digest: r.Digest[:]})
	}
	wanted, conflicting, err := s.Missing(t.Context(), refs)
	if err != nil || !slices.Equal(wanted, []uint32{1, 3}) || len(conflicting) > 0 {
		t.Errorf("Missing = %v, %v, %v; want 1 and 3", wanted, conflicting, err)
	}
	if wanted, _, err := s.Missing(t.Context(), nil); err != nil || len(wanted) > 0 {
		t.Errorf("Missing of nothing = %v, %v", wanted, err)
	}
}

func testNotify(t *testing.T, f Factory) {
	s := f.Open(t)
	b := NewTablet(1)
	b.Push(t, s, b.Records(t, 7, 1)...)
	b.Push(t, s, b.Records(t, 7, 1)...)
	select {
	case <-s.Notify():
	case <-within(t).Done():
		t.Error("nothing was told")
	}
}
