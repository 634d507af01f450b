package storetest

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
)

// What every engine must hold, whatever it makes easy: one with a single writer gets most of this for nothing, and one
// with several servers over it nothing. wrong_test.go has stores that do not, and shows that each is found out.
var contractTests = map[string]func(*testing.T, Factory){
	"late commits":                testLateCommits,
	"a batch is there at once":    testWholeBatches,
	"counters are never reused":   testCountersOnce,
	"quarantine loses nothing":    testQuarantineKeeps,
	"pages while lists change":    testPagesUnderChange,
	"two servers, one store":      testTwoServers,
	"two servers, the same batch": testTwoServersSameBatch,
}

// testLateCommits: a cursor that was moved on by a later commit must not pass by an earlier one that is still under way.
// The writers write into parts of their own and into one that all share, and a reader never stops; a store that numbers
// records before they are committed loses some of them for it.
func testLateCommits(t *testing.T, f Factory) {
	s := f.Open(t)
	writeAndFollow(t, s, s)
}

// writeAndFollow has many write by a, and by b too, while readers page through both.
func writeAndFollow(t *testing.T, a, b store.Store) {
	ctx := within(t)
	const writers, batches, size = 8, 12, 3
	var work [writers][]*syncer.Checked
	for i := range work {
		tablet := NewTablet(uint64(i) + 1)
		for n := range batches {
			work[i] = append(work[i], tablet.Check(t, tablet.Batch(
				tablet.Record(t, 7, Subject(uint64(i*100+n)), nil),
				tablet.Record(t, uint64(100+i), Subject(uint64(10_000+i*100+n)), nil),
				tablet.Record(t, 8, Subject(uint64(20_000+i*100+n)), nil),
			)))
		}
	}
	var writing, reading sync.WaitGroup
	for i, mine := range work {
		to := []store.Store{a, b}[i%2]
		writing.Go(func() {
			for _, c := range mine {
				if _, err := to.Append(ctx, c); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { writing.Wait(); close(done) }()
	for _, from := range []store.Store{a, b} {
		reading.Go(func() { follow(t, from, done, writers*batches*size) })
	}
	reading.Wait()
}

// testWholeBatches: a batch is stored in one transaction. Whoever reads while it is written sees all of it or nothing, and
// once it is acknowledged its lane's head and its records.
func testWholeBatches(t *testing.T, f Factory) {
	s := f.Open(t)
	ctx := within(t)
	const batches, size = 40, 10
	tablet := NewTablet(1)
	var work []*syncer.Checked
	for range batches {
		work = append(work, tablet.Check(t, tablet.Batch(tablet.Records(t, 7, size)...)))
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, c := range work {
			if _, err := s.Append(ctx, c); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for last := false; !last; {
		select {
		case <-done:
			last = true
		default:
		}
		head, err := s.Lane(ctx, tablet.Lane)
		if err != nil {
			t.Fatal(err)
		}
		records, _, _, err := s.After(ctx, syncer.Cursor{}, batches*size+1)
		if err != nil {
			t.Fatal(err)
		}
		if len(records)%size != 0 {
			t.Fatalf("%d records are there: a part of a batch of %d", len(records), size)
		}
		if last && (head.Seq != batches*size || len(records) != batches*size) {
			t.Fatalf("at the end the lane is held up to %d, and %d records are there; want %d", head.Seq, len(records), batches*size)
		}
	}
}

// testCountersOnce: within a part counters are 1, 2, 3 ... in whatever way the store got them, also after batches that
// brought nothing new, and after it was opened again.
func testCountersOnce(t *testing.T, f Factory) {
	s := f.Open(t)
	a, b := NewTablet(1), NewTablet(2)
	first := a.Records(t, 7, 3)
	a.Push(t, s, first...)
	b.Push(t, s, append(slices.Clone(first), b.Record(t, 7, "x", nil))...) // three held already, one new
	reused := b.Record(t, 7, "y", func(r *servicev1.Record) { r.Id = first[0].Record.GetId() })
	b.Push(t, s, reused, b.Record(t, 7, "z", nil)) // one to quarantine, one new
	want := uint64(5)
	if f.Reopen != nil {
		s = f.Reopen(t, s)
		b.Push(t, s, b.Record(t, 7, "after", nil))
		want++
	}
	var got []uint64
	for _, r := range ReadAll(t, s, 2) {
		got = append(got, r.Counter)
	}
	for i, n := range got {
		if n != uint64(i)+1 {
			t.Fatalf("counters %v, want each of 1 to %d once", got, want)
		}
	}
	if uint64(len(got)) != want {
		t.Errorf("counters %v, want each of 1 to %d once", got, want)
	}
}

// testQuarantineKeeps: what comes with a reason is in quarantine with its bytes, each once, in the order of arrival, to
// whoever pages through it while more comes.
func testQuarantineKeeps(t *testing.T, f Factory) {
	s := f.Open(t)
	tablet := NewTablet(1)
	var want []string
	var after int64
	var got []string
	read := func() {
		for {
			items, err := s.Quarantine(t.Context(), after, 2)
			if err != nil {
				t.Fatal(err)
			}
			if len(items) == 0 {
				return
			}
			for _, item := range items {
				got, after = append(got, fmt.Sprintf("%x", item.GetDigest())), item.GetId()
				if item.GetSize() == 0 {
					t.Errorf("item %d has lost its bytes", item.GetId())
				}
			}
		}
	}
	for i := range 5 {
		batch := tablet.Check(t, tablet.Batch(tablet.Records(t, 7, 3)...))
		for k := range batch.Entries {
			if k != 1 {
				batch.Entries[k].Reason, batch.Entries[k].Message = "UNKNOWN_VERSION", "version 9"
				want = append(want, batch.Entries[k].Digest.String())
			}
		}
		push(t, s, batch)
		push(t, s, batch) // again, as after a lost answer
		if i%2 == 0 {
			read()
		}
	}
	if read(); len(got) != len(want) {
		t.Fatalf("%d in quarantine, want %d", len(got), len(want))
	}
	if n := len(ReadAll(t, s, 10)); n != 5 {
		t.Errorf("%d records in the log, want 5", n)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("item %d is %s, want %s", i, got[i], want[i])
		}
	}
}

// testPagesUnderChange: who pages sees every interview that stays in its place exactly once, though the one at which a
// page ended is withdrawn, moves, or is followed by a new one.
func testPagesUnderChange(t *testing.T, f Factory) {
	for _, newest := range []bool{false, true} {
		s := f.Open(t)
		var all []*servicev1.InterviewProjection
		for i := range 20 {
			all = append(all, interview(fmt.Sprintf("iv-%02d", i), int64(i/4), nil))
		}
		apply(t, s, all...)
		want := list(t, s, store.Filter{Newest: newest})
		var got []string
		changed := map[string]bool{}
		turn := 0
		for after := (*store.Position)(nil); ; turn++ {
			page := page(t, s, store.Filter{Newest: newest, After: after, Limit: 3})
			if len(page) == 0 {
				break
			}
			for _, iv := range page {
				got, after = append(got, iv.GetInterviewId()), store.PositionOf(iv)
			}
			last := page[len(page)-1]
			switch turn % 3 {
			case 0: // withdrawn
				err := s.Apply(t.Context(), &store.Changes{Withdrawn: []store.Withdrawal{{
					Part: last.GetPart(), InterviewID: last.GetInterviewId(), Tombstone: &servicev1.Tombstone{},
				}}})
				if err != nil {
					t.Fatal(err)
				}
			case 1: // held long before, or long after
				apply(t, s, interview(last.GetInterviewId(), map[bool]int64{true: 900, false: -900}[newest], nil))
			case 2: // a new one, among those that were read
				id := fmt.Sprintf("new-%d", turn)
				changed[id] = true
				apply(t, s, interview(id, map[bool]int64{true: 901, false: -901}[newest], nil))
			}
		}
		got = slices.DeleteFunc(got, func(id string) bool { return changed[id] })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("pages while the list changes, newest %v (-want +got):\n%s", newest, diff)
		}
	}
}

// second opens a store by another server, or skips.
func second(t *testing.T, f Factory) (a, b store.Store) {
	if f.Second == nil {
		t.Skip("this engine serves one process")
	}
	a = f.Open(t)
	return a, f.Second(t, a)
}

// testTwoServers: two servers without any memory in common take in and read the same log.
func testTwoServers(t *testing.T, f Factory) {
	a, b := second(t, f)
	if a.Epoch() != b.Epoch() {
		t.Fatalf("one log has the epochs %v and %v", a.Epoch(), b.Epoch())
	}
	writeAndFollow(t, a, b)
	// In every part the counters are 1, 2, 3 ..., and both tell the same.
	var told [2][]string
	for i, s := range []store.Store{a, b} {
		last := map[uint64]uint64{}
		for _, r := range ReadAll(t, s, 9) {
			if last[r.Part]++; r.Counter != last[r.Part] {
				t.Fatalf("record %d of part %d, want %d", r.Counter, r.Part, last[r.Part])
			}
			told[i] = append(told[i], fmt.Sprintf("%d %d %v", r.Part, r.Counter, r.Digest))
		}
	}
	if diff := cmp.Diff(told[0], told[1]); diff != "" {
		t.Errorf("the two servers read other logs (-a +b):\n%s", diff)
	}
}

// testTwoServersSameBatch: a tablet whose answer was lost sends the batch again, to another server, while the first still
// writes it: it is held once, and both say that the lane is held as far.
func testTwoServersSameBatch(t *testing.T, f Factory) {
	a, b := second(t, f)
	ctx := within(t)
	tablet := NewTablet(1)
	for range 10 {
		batch := tablet.Check(t, tablet.Batch(tablet.Records(t, 7, 4)...))
		var both sync.WaitGroup
		var heads [2]syncer.Head
		var fresh [2]int
		for i, s := range []store.Store{a, b} {
			both.Go(func() {
				out, err := s.Append(ctx, batch)
				if err != nil {
					t.Error(err)
					return
				}
				heads[i], fresh[i] = out.Head, out.New
			})
		}
		if both.Wait(); heads[0] != tablet.Head || heads[1] != tablet.Head || fresh[0]+fresh[1] != 4 {
			t.Fatalf("heads %v and %v, %d and %d new; want %v twice and 4 new", heads[0], heads[1], fresh[0], fresh[1], tablet.Head)
		}
	}
	if n := len(ReadAll(t, a, 100)); n != 40 {
		t.Errorf("%d records, want 40", n)
	}
}
