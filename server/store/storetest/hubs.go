package storetest

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
)

var hubTests = map[string]func(*testing.T, Factory){
	"runs come out as they were signed": testRuns,
	"runs of a lane and its forks":      testRunsFrom,
	"bytes by digest":                   testBytes,
	"shelf":                             testShelf,
	"shelf survives a restart":          testShelfReopen,
	"a key is claimed once":             testClaim,
}

// What went in as batches comes out as runs, in the order of arrival, under the signatures that came: a batch made of one
// is believed by another store.
func testRuns(t *testing.T, f Factory) {
	s := f.Open(t)
	a, b := NewTablet(1), NewTablet(2)
	var want []*servicev1.Batch
	for i := range 6 {
		tb := []*Tablet{a, b}[i%2]
		batch := tb.Batch(tb.Records(t, uint64(i%3), 1+i)...)
		want = append(want, batch)
		push(t, s, tb.Check(t, batch))
		push(t, s, tb.Check(t, batch)) // again changes nothing
	}
	var got []store.LaneRun
	for after := int64(0); ; {
		page, err := s.Runs(t.Context(), after, 2)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		got, after = append(got, page...), page[len(page)-1].Number
	}
	if len(got) != len(want) {
		t.Fatalf("%d runs, want %d", len(got), len(want))
	}
	for i, r := range got {
		tb := []*Tablet{a, b}[i%2]
		if r.Lane != tb.Lane || r.Branch != 0 || r.First != want[i].GetFirstSeq() {
			t.Errorf("run %d = %v branch %d from %d, want %v from %d", i, r.Lane, r.Branch, r.First, tb.Lane, want[i].GetFirstSeq())
		}
		raws := make([][]byte, len(r.Digests))
		for j, d := range r.Digests {
			raw, received, err := s.Bytes(t.Context(), d)
			if err != nil || syncer.DigestOf(raw) != d || received == 0 {
				t.Fatalf("Bytes of entry %d = %d bytes, %d, %v", j, len(raw), received, err)
			}
			raws[j] = raw
		}
		c, err := syncer.Check(syncer.Forward(r.Lane, r.Run, raws), tb.Public(), syncer.DefaultLimits)
		if err != nil || len(c.Runs) != 1 || len(c.Runs[0].Signature) == 0 {
			t.Errorf("run %d forwarded: %v", i, err)
		}
	}
	total, err := s.RunTotals(t.Context(), got[3].Number)
	if err != nil || total.Entries != uint64(len(got[4].Digests)+len(got[5].Digests)) || total.Last != got[5].Number {
		t.Errorf("RunTotals = %+v, %v", total, err)
	}
	if total, err = s.RunTotals(t.Context(), got[5].Number); err != nil || total.Entries != 0 || total.Last != got[5].Number {
		t.Errorf("RunTotals behind the last = %+v, %v", total, err)
	}
}

func testRunsFrom(t *testing.T, f Factory) {
	s := f.Open(t)
	a := NewTablet(1)
	push(t, s, a.Check(t, a.Batch(a.Records(t, 1, 3)...)))
	clone := a.Clone(9)
	push(t, s, a.Check(t, a.Batch(a.Records(t, 1, 2)...)))
	a.Batch(a.Records(t, 1, 2)...) // never arrives
	push(t, s, a.Check(t, a.Batch(a.Records(t, 1, 1)...)))
	push(t, s, a.Check(t, clone.Batch(clone.Records(t, 1, 1)...)))
	spans := func(branch int64, seq uint64) (out []string) {
		runs, err := s.RunsFrom(t.Context(), a.Lane, branch, seq, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range runs {
			out = append(out, fmt.Sprintf("%d-%d", r.First, r.Last()))
		}
		return out
	}
	for _, tt := range []struct {
		branch int64
		seq    uint64
		want   []string
	}{
		{0, 1, []string{"1-3", "4-5", "8-8"}}, {0, 3, []string{"1-3", "4-5", "8-8"}}, {0, 4, []string{"4-5", "8-8"}},
		{0, 8, []string{"8-8"}}, {0, 9, nil}, {0, 1 << 63, nil}, {1, 1, []string{"4-4"}},
	} {
		if diff := cmp.Diff(tt.want, spans(tt.branch, tt.seq)); diff != "" {
			t.Errorf("branch %d from %d: %s", tt.branch, tt.seq, diff)
		}
	}
}

func testBytes(t *testing.T, f Factory) {
	s := f.Open(t)
	a := NewTablet(1)
	good := a.Records(t, 1, 1)[0]
	if raw, _, err := s.Bytes(t.Context(), good.Digest); err != nil || raw != nil {
		t.Errorf("of a record that is not here: %d bytes, %v", len(raw), err)
	}
	batch := a.Batch(good)
	c, err := syncer.Check(batch, a.Public(), syncer.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	c.Entries[0].Reason, c.Entries[0].Message = "UNKNOWN_VERSION", "version 9"
	if _, err := s.Append(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if raw, received, err := s.Bytes(t.Context(), good.Digest); err != nil || !bytes.Equal(raw, good.Bytes) || received == 0 {
		t.Errorf("in quarantine: %d bytes, %d, %v", len(raw), received, err)
	}
}

func testShelf(t *testing.T, f Factory) {
	s := f.Open(t)
	ctx := t.Context()
	if v, err := s.Get(ctx, "lane", []byte("a")); err != nil || v != nil {
		t.Errorf("Get of nothing = %v, %v", v, err)
	}
	key := func(b ...byte) []byte { return b }
	err := s.Put(ctx, store.Item{Space: "lane", Key: key(0xff), Value: []byte("last")}, store.Item{Space: "lane", Key: key(0), Value: []byte{}},
		store.Item{Space: "lane", Key: key('A'), Value: []byte("甲")}, store.Item{Space: "lane", Key: key('a'), Value: []byte("乙")},
		store.Item{Space: "other", Key: key('a'), Value: []byte("other")}, store.Item{Space: "lane", Key: key('b'), Value: []byte("gone")})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Put(ctx, store.Item{Space: "lane", Key: key('b')}, store.Item{Space: "lane", Key: key('a'), Value: []byte("丙")}, store.Item{Space: "lane", Key: key('z')}); err != nil {
		t.Fatal(err)
	}
	if v, err := s.Get(ctx, "lane", key(0)); err != nil || v == nil || len(v) != 0 {
		t.Errorf("an empty value = %v, %v; want it empty and there", v, err)
	}
	var got []string
	for after := []byte(nil); ; {
		page, err := s.List(ctx, "lane", after, 2)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, it := range page {
			got = append(got, fmt.Sprintf("%x=%s", it.Key, it.Value))
		}
		after = page[len(page)-1].Key
	}
	if diff := cmp.Diff([]string{"00=", "41=甲", "61=丙", "ff=last"}, got); diff != "" {
		t.Errorf("the shelf, by the keys' bytes: %s", diff)
	}
}

func testClaim(t *testing.T, f Factory) {
	s := f.Open(t)
	const claims = 8
	told := make(chan string, claims)
	for i := range claims {
		go func() {
			held, err := s.Claim(t.Context(), store.Item{Space: "claim", Key: []byte("k"), Value: []byte{byte('a' + i)}})
			if err != nil {
				t.Errorf("Claim %d: %v", i, err)
			}
			told <- string(held)
		}()
	}
	first := <-told
	for range claims - 1 {
		if again := <-told; again != first || len(again) != 1 {
			t.Errorf("one who claims is told %q, another %q", first, again)
		}
	}
	if held, err := s.Get(t.Context(), "claim", []byte("k")); err != nil || string(held) != first {
		t.Errorf("the key holds %q, %v, want %q", held, err, first)
	}
	if err := s.Put(t.Context(), store.Item{Space: "claim", Key: []byte("k")}); err != nil {
		t.Fatal(err)
	}
	if held, err := s.Claim(t.Context(), store.Item{Space: "claim", Key: []byte("k"), Value: []byte("new")}); err != nil || string(held) != "new" {
		t.Errorf("Claim of a key that was taken away = %q, %v", held, err)
	}
}

func testShelfReopen(t *testing.T, f Factory) {
	if f.Reopen == nil {
		t.Skip("skipped: this store cannot be opened again")
	}
	s := f.Open(t)
	if err := s.Put(t.Context(), store.Item{Space: "hub", Key: []byte("k"), Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	s = f.Reopen(t, s)
	if v, err := s.Get(t.Context(), "hub", []byte("k")); err != nil || string(v) != "v" {
		t.Errorf("after a restart: %q, %v", v, err)
	}
}
