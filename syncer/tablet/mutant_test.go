package tablet_test

import (
	"bytes"
	"context"
	"fmt"
	"index/suffixarray"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/syncertest"
	"github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/protobuf/proto"
)

// mutants damages copies of a tablet's file.
type mutants struct {
	main, wal []byte // of a running tablet
	folded    []byte // the same with its log taken in
	whole     map[syncer.Digest]bool
	// parts are the stretches of each record, and where they stand together in the file.
	parts map[syncer.Digest][]stretch
	rng   *rand.Rand
	dir   string
}

// stretch is some bytes of a record, and where they stand in the folded file and in the log.
type stretch struct {
	bytes       []byte
	folded, wal []int
}

func newMutants(t *testing.T) *mutants {
	t.Helper()
	s := create(t, "tablet-01")
	m := &mutants{whole: map[syncer.Digest]bool{}, rng: rand.New(rand.NewPCG(7, 11)), dir: t.TempDir()}
	for i := range 40 {
		long := 700
		if i%4 == 3 {
			long = 9000 // goes on on other pages
		}
		text := make([]byte, long/2)
		for j := range text {
			text[j] = byte(m.rng.Uint32())
		}
		for _, d := range add(t, s, syncertest.Interview("tablet-01", i, fmt.Sprintf("%x", text))) {
			m.whole[d] = true
		}
	}
	folded := filepath.Join(m.dir, "folded")
	if err := s.Backup(context.Background(), folded); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]*[]byte{s.Path(): &m.main, s.Path() + "-wal": &m.wal, folded: &m.folded} {
		var err error
		if *to, err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// takeApart finds the stretches of 64 bytes of each record that stand together in both forms of the file.
func (m *mutants) takeApart(t *testing.T) {
	t.Helper()
	path := filepath.Join(m.dir, "apart.sqlite")
	if err := os.WriteFile(path, m.folded, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := tablet.OpenForeign(context.Background(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m.parts = map[syncer.Digest][]stretch{}
	folded, wal := suffixarray.New(m.folded), suffixarray.New(m.wal)
	for b, err := range f.Batches(context.Background(), syncer.DefaultLimits) {
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range b.GetEntries() {
			for raw := e.GetRecord(); len(raw) > 0; raw = raw[min(len(raw), 64):] {
				part := stretch{bytes: raw[:min(len(raw), 64)]}
				part.folded, part.wal = folded.Lookup(part.bytes, -1), wal.Lookup(part.bytes, -1)
				if len(part.folded) > 0 && len(part.wal) > 0 {
					m.parts[syncer.Digest(e.GetDigest())] = append(m.parts[syncer.Digest(e.GetDigest())], part)
				}
			}
		}
	}
	if len(m.parts) != len(m.whole) {
		t.Fatalf("%d of %d records were taken apart", len(m.parts), len(m.whole))
	}
}

// there counts the records of which all stretches are still in the k-th file.
func (m *mutants) there(t *testing.T, k int, path string) (n int) {
	t.Helper()
	suffix := map[bool]string{true: "-wal", false: ""}[k%4 == 3]
	b, err := os.ReadFile(path + suffix)
	if err != nil {
		t.Fatal(err)
	}
	for _, parts := range m.parts {
		lost := slices.ContainsFunc(parts, func(p stretch) bool {
			at := p.folded
			if suffix != "" {
				at = p.wal
			}
			return !slices.ContainsFunc(at, func(i int) bool { return i+len(p.bytes) <= len(b) && bytes.Equal(b[i:i+len(p.bytes)], p.bytes) })
		})
		if !lost {
			n++
		}
	}
	return n
}

// next writes the k-th damaged file and returns its name and what was done to it.
func (m *mutants) next(t *testing.T, k int) (path, what string) {
	t.Helper()
	path = filepath.Join(m.dir, "x.sqlite")
	main, wal := bytes.Clone(m.folded), []byte(nil)
	b := &main
	if k%4 == 3 {
		main, wal = bytes.Clone(m.main), bytes.Clone(m.wal)
		b = &wal
	}
	switch k % 3 {
	case 0:
		what = "bits"
		for range 1 + m.rng.IntN(12) {
			(*b)[m.rng.IntN(len(*b))] ^= byte(1 << m.rng.IntN(8))
		}
	case 1: // page headers
		what = "heads"
		page := m.rng.IntN(len(*b)/4096) * 4096
		for range 4 {
			(*b)[page+m.rng.IntN(64)] ^= byte(1 << m.rng.IntN(8))
		}
	case 2:
		what = "cut"
		*b = (*b)[:m.rng.IntN(len(*b))]
	}
	for suffix, content := range map[string][]byte{"": main, "-wal": wal} {
		if err := os.WriteFile(path+suffix, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path, what
}

// read reads a damaged file and says how many records came whole, and how it went.
func (m *mutants) read(t *testing.T, k int, path string, opts *tablet.ForeignOptions) (n int, how string) {
	t.Helper()
	ctx := context.Background()
	f, err := tablet.OpenForeign(ctx, path, opts)
	if err != nil {
		if fault.ReasonOf(err) == "" {
			t.Errorf("file %d: an error without a reason: %v", k, err)
		}
		if testing.Verbose() {
			t.Logf("file %d: %v", k, err)
		}
		return 0, "refused"
	}
	defer f.Close()
	key := f.Hello().GetPublicKey()
	got := map[syncer.Digest]bool{}
	for b, err := range f.Batches(ctx, syncer.DefaultLimits) {
		if err != nil {
			t.Errorf("file %d: %v", k, err)
			return 0, "broken"
		}
		c, err := syncer.Check(proto.CloneOf(b), key, syncer.DefaultLimits)
		if err != nil {
			t.Errorf("file %d: a batch does not check: %v", k, err)
			return 0, "broken"
		}
		for _, e := range c.Entries {
			if e.Refused || e.Raw != nil && !m.whole[e.Digest] {
				t.Errorf("file %d: entry %d is changed content: %v %s", k, e.Seq, e.Digest, e.Reason)
			}
			if e.Raw != nil {
				got[e.Digest] = true
			}
		}
	}
	if len(got) != len(m.whole) && len(f.Problems()) == 0 {
		t.Errorf("file %d: %d of %d records and no problem reported", k, len(got), len(m.whole))
	}
	return len(got), map[bool]string{true: "whole", false: "salvaged"}[len(f.Problems()) == 0]
}

// Whatever is done to the file: no panic, no changed content, nearly every record that is still there is brought, and
// what is missing is reported.
func TestMutants(t *testing.T) {
	m := newMutants(t)
	m.takeApart(t)
	files := 1500
	switch {
	case tablet.RaceDetector:
		files = 60
	case testing.Short():
		files = 150
	}
	counts, brought, there := map[string]int{}, map[string]int{}, map[string]int{}
	total := 0
	for k := range files {
		path, what := m.next(t, k)
		n, how := m.read(t, k, path, nil)
		counts[what+" "+how]++
		total += n
		brought[what] += n
		is := m.there(t, k, path)
		there[what] += is
		if testing.Verbose() && n < is {
			t.Logf("file %d (%s): %d of %d brought", k, what, n, is)
		}
	}
	t.Logf("%d files: %v; %d of %d records brought: %v; whole in the files were %v", files, counts, total, files*len(m.whole), brought, there)
	for what, n := range there {
		if float64(brought[what]) < 0.98*float64(n) {
			t.Errorf("%s: %d records brought, %d were whole in the files", what, brought[what], n)
		}
	}
	if counts["bits salvaged"] == 0 || counts["cut salvaged"] == 0 || counts["cut refused"] == 0 && !testing.Short() {
		t.Errorf("the damage did not do what it should: %v", counts)
	}
}

// The same through a process of its own.
func TestMutantsInTheirOwnProcess(t *testing.T) {
	m := newMutants(t)
	counts := map[string]int{}
	for k := range 6 {
		path, what := m.next(t, k)
		n, how := m.read(t, k, path, child())
		other, same := m.read(t, k, path, nil)
		if n != other || how != same {
			t.Errorf("file %d (%s): %d records (%s) by its own process, %d (%s) in this one", k, what, n, how, other, same)
		}
		counts[fmt.Sprint(how)]++
	}
	t.Log(counts)
}
