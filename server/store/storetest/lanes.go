package storetest

import (
	"testing"

	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
)

var laneTests = map[string]func(*testing.T, Factory){
	"unknown":               testUnknownLane,
	"gap":                   testGap,
	"gap filled in pieces":  testGapInPieces,
	"fork":                  testFork,
	"fork goes on":          testForkGoesOn,
	"fork beyond a gap":     testForkBeyondGap,
	"chain hashes":          testChainAt,
	"reopened":              testReopened,
	"hundred lanes at once": testManyLanes,
}

func testUnknownLane(t *testing.T, f Factory) {
	s := f.Open(t)
	h, err := s.Lane(t.Context(), NewTablet(1).Lane)
	if err != nil || h != (syncer.Head{}) {
		t.Errorf("Lane = %v, %v; want the zero head", h, err)
	}
	if _, ok, err := s.ChainAt(t.Context(), NewTablet(1).Lane, 1); ok || err != nil {
		t.Errorf("ChainAt = %v, %v; want false", ok, err)
	}
}

func testGap(t *testing.T, f Factory) {
	s := f.Open(t)
	b := NewTablet(1)
	records := b.Records(t, 7, 9)
	one, two, three := b.Check(t, b.Batch(records[:3]...)), b.Check(t, b.Batch(records[3:6]...)), b.Check(t, b.Batch(records[6:]...))
	push(t, s, one)
	got := push(t, s, three)
	if got.New != 3 || got.Head.Seq != 3 || len(got.Gaps) != 1 || got.Gaps[0].GetFirst() != 4 || got.Gaps[0].GetLast() != 6 {
		t.Errorf("Append beyond a gap = %+v, want 3 new, head 3, gap 4 to 6", got)
	}
	if got := push(t, s, three); got.New != 0 || got.Head.Seq != 3 || got.Fork {
		t.Errorf("the same again = %+v, want nothing new", got)
	}
	got = push(t, s, two)
	if got.New != 3 || got.Head != b.Head || len(got.Gaps) != 0 {
		t.Errorf("Append of the gap = %+v, want head %v", got, b.Head)
	}
	if h, err := s.Lane(t.Context(), b.Lane); err != nil || h != b.Head {
		t.Errorf("Lane = %v, %v; want %v", h, err, b.Head)
	}
}

func testGapInPieces(t *testing.T, f Factory) {
	s := f.Open(t)
	b := NewTablet(1)
	var batches []*syncer.Checked
	for range 8 {
		batches = append(batches, b.Check(t, b.Batch(b.Records(t, 7, 2)...)))
	}
	var last *store.Appended
	for _, i := range []int{7, 3, 5, 0, 4, 2, 1, 6} {
		last = push(t, s, batches[i])
		if last.Fork {
			t.Errorf("batch %d is said to be a fork", i)
		}
	}
	if last.Head != b.Head || len(last.Gaps) != 0 {
		t.Errorf("at the end %+v, want head %v", last, b.Head)
	}
	if n := len(ReadAll(t, s, 5)); n != 16 {
		t.Errorf("%d records, want 16", n)
	}
}

// forks are how many the store counts for the device of a tablet.
func forks(t *testing.T, s store.Store, b *Tablet) uint32 {
	t.Helper()
	list, err := s.ListDevices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range list {
		if syncer.ID(d.GetDevice()) == b.Lane.Device {
			return d.GetForks()
		}
	}
	t.Fatal("the device is not listed")
	return 0
}

func greet(t *testing.T, s store.Store, b *Tablet, name string) {
	t.Helper()
	if err := s.Greet(t.Context(), b.Greeting(name, 1)); err != nil {
		t.Fatal(err)
	}
}

// A tablet restored from a backup goes on in the same lane: both branches are kept.
func testFork(t *testing.T, f Factory) {
	s := f.Open(t)
	b := NewTablet(1)
	greet(t, s, b, "tablet-01")
	b.Push(t, s, b.Records(t, 7, 3)...)
	clone, second := b.Clone(1000), b.Clone(2000)
	b.Push(t, s, b.Records(t, 7, 2)...)
	batch := clone.Check(t, clone.Batch(clone.Records(t, 7, 3)...))
	got := push(t, s, batch)
	if !got.Fork || got.New != 3 || got.Head != b.Head {
		t.Errorf("Append of the clone = %+v, want a fork, 3 new, the head where it was", got)
	}
	again := push(t, s, batch)
	wantOutcomes(t, again, map[uint64]string{4: "DUPLICATE ", 5: "DUPLICATE ", 6: "DUPLICATE "})
	if !again.Fork || again.New != 0 {
		t.Errorf("the same fork again = %+v, want a fork with nothing new", again)
	}
	if n := forks(t, s, b); n != 1 {
		t.Errorf("%d forks, want 1", n)
	}
	if got := second.Push(t, s, second.Records(t, 7, 1)...); !got.Fork || got.New != 1 {
		t.Errorf("Append of a second clone = %+v, want a fork", got)
	}
	if n := forks(t, s, b); n != 1 {
		t.Errorf("%d forks, want 1: one lane has several continuations", n)
	}
	if got := b.Push(t, s, b.Records(t, 7, 1)...); got.Fork || got.Head != b.Head {
		t.Errorf("Append of the first tablet = %+v, want it to go on", got)
	}
	if n := len(ReadAll(t, s, 4)); n != 10 {
		t.Errorf("%d records, want 10", n)
	}
}

// A clone that has not noticed sends more along its branch: still one fork.
func testForkGoesOn(t *testing.T, f Factory) {
	s := f.Open(t)
	b := NewTablet(1)
	greet(t, s, b, "tablet-01")
	b.Push(t, s, b.Records(t, 7, 2)...)
	clone := b.Clone(1000)
	b.Push(t, s, b.Records(t, 7, 5)...)
	start := clone.Head
	records := clone.Records(t, 7, 6)
	clone.Push(t, s, records[:2]...)
	clone.Push(t, s, records[2:4]...)
	got := push(t, s, clone.Check(t, clone.batchAt(start, records)))
	if !got.Fork || got.New != 2 {
		t.Errorf("the branch from its start = %+v, want 2 new", got)
	}
	if n := forks(t, s, b); n != 1 {
		t.Errorf("%d forks, want 1", n)
	}
	if n := len(ReadAll(t, s, 100)); n != 13 {
		t.Errorf("%d records, want 13", n)
	}
}

// What lies beyond a gap turns out to contradict what fills it.
func testForkBeyondGap(t *testing.T, f Factory) {
	s := f.Open(t)
	b := NewTablet(1)
	greet(t, s, b, "tablet-01")
	b.Push(t, s, b.Records(t, 7, 2)...)
	clone := b.Clone(1000)
	clone.Batch(clone.Records(t, 7, 2)...) // never arrives
	beyond := clone.Push(t, s, clone.Records(t, 7, 2)...)
	if beyond.Fork || len(beyond.Gaps) != 1 || beyond.New != 2 {
		t.Errorf("Append beyond = %+v, want a gap", beyond)
	}
	got := b.Push(t, s, b.Records(t, 7, 6)...)
	if !got.Fork || got.Head != b.Head || len(got.Gaps) != 0 || got.New != 6 {
		t.Errorf("Append of the gap = %+v, want the contradiction told, head %v and no gap", got, b.Head)
	}
	if n := forks(t, s, b); n != 1 {
		t.Errorf("%d forks, want 1", n)
	}
	if got := b.Push(t, s, b.Records(t, 7, 1)...); got.Fork || got.Head != b.Head {
		t.Errorf("Append after = %+v, want no fork", got)
	}
	for seq := uint64(1); seq <= b.Head.Seq; seq++ {
		if _, ok, err := s.ChainAt(t.Context(), b.Lane, seq); !ok || err != nil {
			t.Errorf("ChainAt(%d) = %v, %v", seq, ok, err)
		}
	}
}

func testChainAt(t *testing.T, f Factory) {
	s := f.Open(t)
	b := NewTablet(1)
	want := map[uint64]syncer.Chain{0: {}}
	for range 4 {
		for _, r := range b.Records(t, 7, 3) {
			head := b.Head
			b.Batch(r)
			want[b.Head.Seq] = b.Head.Chain
			push(t, s, b.Check(t, b.batchAt(head, []Raw{r})))
		}
	}
	for seq, chain := range want {
		if got, ok, err := s.ChainAt(t.Context(), b.Lane, seq); got != chain || !ok || err != nil {
			t.Errorf("ChainAt(%d) = %v, %v, %v; want %v", seq, got, ok, err, chain)
		}
	}
	if _, ok, err := s.ChainAt(t.Context(), b.Lane, 13); ok || err != nil {
		t.Errorf("ChainAt beyond the head = %v, %v; want false", ok, err)
	}
}

func testReopened(t *testing.T, f Factory) {
	if f.Reopen == nil {
		t.Skip("this store cannot be opened again")
	}
	s := f.Open(t)
	b := NewTablet(1)
	greet(t, s, b, "tablet-01")
	b.Push(t, s, b.Records(t, 7, 5)...)
	epoch := s.Epoch()
	head, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s = f.Reopen(t, s)
	if s.Epoch() != epoch {
		t.Errorf("epoch = %v, want %v", s.Epoch(), epoch)
	}
	if again, err := s.Head(t.Context()); err != nil || again.Parts[7] != head.Parts[7] {
		t.Errorf("Head = %v, %v; want %v", again, err, head)
	}
	if n := len(ReadAll(t, s, 100)); n != 5 {
		t.Errorf("%d records, want 5", n)
	}
	if got := b.Push(t, s, b.Records(t, 7, 5)...); got.Head != b.Head || got.New != 5 {
		t.Errorf("Append = %+v, want 5 new", got)
	}
	if key, err := s.Key(t.Context(), b.Lane.Device); err != nil || !key.Equal(b.Public()) {
		t.Errorf("Key = %x, %v", key, err)
	}
}

func testManyLanes(t *testing.T, f Factory) {
	s := f.Open(t)
	ctx := within(t)
	done := make(chan error)
	const lanes = 100
	for i := range uint64(lanes) {
		b := NewTablet(i + 1)
		var batches []*syncer.Checked
		for range 3 {
			batches = append(batches, b.Check(t, b.Batch(b.Records(t, i%10, 2)...)))
		}
		go func() {
			for _, batch := range batches {
				if _, err := s.Append(ctx, batch); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range lanes {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if n := len(ReadAll(t, s, 50)); n != 6*lanes {
		t.Errorf("%d records, want %d", n, 6*lanes)
	}
}
