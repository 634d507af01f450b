package syncer_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hearth-survey/hearth/syncer"
	"pgregory.net/rapid"
)

func TestHeads(t *testing.T) {
	d := func(n byte) syncer.Digest { return syncer.Digest{n} }
	rev := func(n byte, rank int, parents ...byte) syncer.Revision {
		r := syncer.Revision{Digest: d(n), Rank: rank}
		for _, p := range parents {
			r.Parents = append(r.Parents, d(p))
		}
		return r
	}
	tests := []struct {
		name string
		revs []syncer.Revision
		want []syncer.Digest
	}{
		{"none", nil, nil},
		{"one", []syncer.Revision{rev(1, 0)}, []syncer.Digest{d(1)}},
		{"a chain", []syncer.Revision{rev(1, 1), rev(2, 0, 1)}, []syncer.Digest{d(2)}},
		{"the one that got further", []syncer.Revision{rev(1, 0), rev(2, 0, 1), rev(3, 1, 1)}, []syncer.Digest{d(3), d(2)}},
		{"the deeper one", []syncer.Revision{rev(9, 0), rev(8, 0, 9), rev(7, 0, 8), rev(1, 0, 9)}, []syncer.Digest{d(7), d(1)}},
		{"the smaller digest", []syncer.Revision{rev(1, 0), rev(5, 0, 1), rev(4, 0, 1)}, []syncer.Digest{d(4), d(5)}},
		{"merged", []syncer.Revision{rev(1, 0), rev(2, 0, 1), rev(3, 0, 1), rev(4, 0, 2, 3)}, []syncer.Digest{d(4)}},
		{"a parent that has not come", []syncer.Revision{rev(2, 0, 1)}, []syncer.Digest{d(2)}},
		{"twice the same", []syncer.Revision{rev(2, 0), rev(2, 0)}, []syncer.Digest{d(2)}},
		{"a circle, which hashes cannot make", []syncer.Revision{rev(1, 0, 2), rev(2, 0, 1), rev(3, 0, 2)}, []syncer.Digest{d(3)}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, syncer.Heads(tt.revs)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestHeadsDoNotDependOnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "revisions")
		var revs []syncer.Revision
		for i := range n {
			r := syncer.Revision{Digest: digestNamed(fmt.Sprint(i)), Rank: rapid.IntRange(0, 1).Draw(t, "rank")}
			for p := range i {
				if rapid.IntRange(0, 2).Draw(t, "parent") == 0 {
					r.Parents = append(r.Parents, digestNamed(fmt.Sprint(p)))
				}
			}
			if rapid.Bool().Draw(t, "unknown parent") {
				r.Parents = append(r.Parents, digestNamed("elsewhere"))
			}
			revs = append(revs, r)
		}
		want := syncer.Heads(revs)
		if len(want) == 0 {
			t.Fatal("revisions without a head")
		}
		shuffled := rapid.Permutation(append(slices.Clone(revs), revs[0])).Draw(t, "order")
		if diff := cmp.Diff(want, syncer.Heads(shuffled)); diff != "" {
			t.Fatalf("another order gives other heads (-want +got):\n%s", diff)
		}
	})
}

func TestHeadsOfALongChain(t *testing.T) {
	var revs []syncer.Revision
	for i := range 100_000 {
		r := syncer.Revision{Digest: digestNamed(fmt.Sprint(i))}
		if i > 0 {
			r.Parents = []syncer.Digest{revs[i-1].Digest}
		}
		revs = append(revs, r)
	}
	if got := syncer.Heads(revs); len(got) != 1 || got[0] != revs[len(revs)-1].Digest {
		t.Errorf("%d heads", len(got))
	}
}
