package storetest

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"testing"

	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"pgregory.net/rapid"
)

var modelTests = map[string]func(*testing.T, Factory){
	"copies of a tablet":    testCopies,
	"one tablet, any order": testAnyOrder,
	"copies, any order":     testCopiesAnyOrder,
}

// shorter makes a fifth of the runs that rapid makes in short mode anyway, unless somebody has asked for a number: each
// opens a store.
func shorter(t *testing.T) {
	t.Helper()
	asked := !testing.Short()
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "rapid.checks" })
	if asked {
		return
	}
	was := flag.Lookup("rapid.checks").Value.String()
	if err := flag.Set("rapid.checks", "20"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = flag.Set("rapid.checks", was) })
}

// branch is a tablet, or a copy of its store, with all that it has sent or could send.
type branch struct {
	tablet  *Tablet
	start   int // how many of the first branch's entries it shares
	records []Raw
}

// testCopies sends all of a tablet, then batches of it and of its copies in random order, cut at random, some twice and
// some never, and compares the store with a model: the set of records is the union of what was sent, and the head is that
// of the first tablet.
func testCopies(t *testing.T, f Factory) {
	shorter(t)
	rapid.Check(t, func(rt *rapid.T) {
		s := f.Open(t)
		defer s.Close()
		branches := drawBranches(rt, t)
		main := branches[0]
		n := len(main.records)
		greet(t, s, main.tablet, "tablet-01")
		// The first entries arrive first, so that the first branch is the main one.
		send(t, s, main, 0, n)
		model := digests(main.records)
		forked := map[int]bool{}
		for range rapid.IntRange(0, 10).Draw(rt, "batches") {
			i := rapid.IntRange(0, len(branches)-1).Draw(rt, "by")
			b := branches[i]
			from := rapid.IntRange(0, len(b.records)-1).Draw(rt, "from")
			to := rapid.IntRange(from+1, len(b.records)).Draw(rt, "to")
			got := send(t, s, b, from, to)
			for d := range digests(b.records[from:to]) {
				model[d] = true
			}
			// What a copy wrote itself contradicts the main branch, unless it lies wholly beyond what that has.
			if i > 0 && to > b.start && from <= n {
				forked[i] = true
				if !got.Fork && from < n {
					rt.Errorf("entries %d to %d of copy %d, made at %d of %d, are not said to be a fork", from+1, to, i, b.start, n)
				}
			}
			if i == 0 && got.Fork {
				rt.Errorf("entries %d to %d of the first tablet are said to be a fork", from+1, to)
			}
		}
		compare(rt, t, s, main, model, len(forked) == 0)
	})
}

// drawBranches makes a tablet with some records, and up to two copies of it.
func drawBranches(rt *rapid.T, t *testing.T) []*branch {
	n := rapid.IntRange(1, 12).Draw(rt, "entries")
	main := &branch{tablet: NewTablet(1)}
	main.records = main.tablet.Records(t, 7, n)
	branches := []*branch{main}
	for i := range rapid.IntRange(0, 2).Draw(rt, "copies") {
		c := &branch{tablet: main.tablet.Clone(uint64(i+1) * 1000), start: rapid.IntRange(0, n-1).Draw(rt, "copied at")}
		c.records = append(append(c.records, main.records[:c.start]...), c.tablet.Records(t, 7, rapid.IntRange(1, 5).Draw(rt, "own"))...)
		branches = append(branches, c)
	}
	return branches
}

// testAnyOrder sends pieces of one tablet's lane in any order, and after each compares head and gaps with a model that
// knows which entries have come.
func testAnyOrder(t *testing.T, f Factory) {
	shorter(t)
	rapid.Check(t, func(rt *rapid.T) {
		s := f.Open(t)
		defer s.Close()
		n := rapid.IntRange(1, 15).Draw(rt, "entries")
		b := &branch{tablet: NewTablet(1)}
		b.records = b.tablet.Records(t, 7, n)
		come := make([]bool, n+1)
		for range rapid.IntRange(1, 15).Draw(rt, "batches") {
			from := rapid.IntRange(0, n-1).Draw(rt, "from")
			to := rapid.IntRange(from+1, n).Draw(rt, "to")
			got := send(t, s, b, from, to)
			fresh := 0
			for i := from; i < to; i++ {
				if !come[i] {
					come[i] = true
					fresh++
				}
			}
			head := slices.Index(come, false)
			var gaps []string
			for i, last := head, lastTrue(come); i < last; i++ {
				start := i
				for !come[i] {
					i++
				}
				if i > start {
					gaps = append(gaps, fmt.Sprint(start+1, i))
				}
			}
			var told []string
			for _, g := range got.Gaps {
				told = append(told, fmt.Sprint(g.GetFirst(), g.GetLast()))
			}
			if got.New != fresh || got.Fork || got.Head.Seq != uint64(head) || !slices.Equal(told, gaps) {
				rt.Fatalf("entries %d to %d: new %d, fork %v, head %d, gaps %v; want new %d, no fork, head %d, gaps %v",
					from+1, to, got.New, got.Fork, got.Head.Seq, told, fresh, head, gaps)
			}
		}
		sound(rt, s)
	})
}

func lastTrue(come []bool) int {
	for i := len(come) - 1; i >= 0; i-- {
		if come[i] {
			return i
		}
	}
	return 0
}

// testCopiesAnyOrder sends pieces of a tablet's and its copies' lanes in any order: all records are held, the store is
// sound, and everything sent once more adds nothing.
func testCopiesAnyOrder(t *testing.T, f Factory) {
	shorter(t)
	rapid.Check(t, func(rt *rapid.T) {
		s := f.Open(t)
		defer s.Close()
		branches := drawBranches(rt, t)
		model := map[syncer.Digest]bool{}
		var sent [][3]int
		for range rapid.IntRange(1, 12).Draw(rt, "batches") {
			i := rapid.IntRange(0, len(branches)-1).Draw(rt, "by")
			from := rapid.IntRange(0, len(branches[i].records)-1).Draw(rt, "from")
			to := rapid.IntRange(from+1, len(branches[i].records)).Draw(rt, "to")
			send(t, s, branches[i], from, to)
			sent = append(sent, [3]int{i, from, to})
			for d := range digests(branches[i].records[from:to]) {
				model[d] = true
			}
			sound(rt, s)
		}
		greet(t, s, branches[0].tablet, "tablet-01")
		count := forks(t, s, branches[0].tablet)
		for _, b := range sent {
			if got := send(t, s, branches[b[0]], b[1], b[2]); got.New != 0 {
				rt.Errorf("entries %d to %d of branch %d again: %d new", b[1]+1, b[2], b[0], got.New)
			}
		}
		if again := forks(t, s, branches[0].tablet); again != count {
			rt.Errorf("%d forks, after the same once more %d", count, again)
		}
		if all := ReadAll(t, s, 4); len(all) != len(model) {
			rt.Errorf("%d records, want %d", len(all), len(model))
		}
		sound(rt, s)
	})
}

// sound fails on errors that Check finds.
func sound(rt *rapid.T, s store.Store) {
	report, err := s.Check(context.Background(), store.CheckOptions{})
	if err != nil {
		rt.Fatal(err)
	}
	for _, f := range report.Findings {
		if f.Severity == "error" {
			rt.Fatalf("Check: %s: %s", f.Subject, f.Message)
		}
	}
}

// send pushes entries from+1 to `to` of a branch.
func send(t *testing.T, s store.Store, b *branch, from, to int) *store.Appended {
	head := syncer.Head{}
	if from > 0 {
		run := syncer.Run{First: 1}
		for _, r := range b.records[:from] {
			run.Digests = append(run.Digests, r.Digest)
		}
		head = run.Head(b.tablet.Lane)
	}
	return push(t, s, b.tablet.Check(t, b.tablet.batchAt(head, b.records[from:to])))
}

func compare(rt *rapid.T, t *testing.T, s store.Store, main *branch, model map[syncer.Digest]bool, straight bool) {
	all := ReadAll(t, s, 3)
	for _, r := range all {
		if !model[r.Digest] {
			rt.Errorf("record %v was never sent", r.Digest)
		}
	}
	if len(all) != len(model) {
		rt.Errorf("%d records, want %d", len(all), len(model))
	}
	run := syncer.Run{First: 1}
	for _, r := range main.records {
		run.Digests = append(run.Digests, r.Digest)
	}
	want := run.Head(main.tablet.Lane)
	got, err := s.Lane(context.Background(), main.tablet.Lane)
	if err != nil || straight && got != want || got.Seq < want.Seq {
		rt.Errorf("head = %v, %v; want %v", got, err, want)
	}
	if chain, ok, err := s.ChainAt(context.Background(), main.tablet.Lane, want.Seq); chain != want.Chain || !ok || err != nil {
		rt.Errorf("chain at %d = %v, %v, %v; want the first tablet's", want.Seq, chain, ok, err)
	}
	sound(rt, s)
}
