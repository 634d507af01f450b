package blobs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("HEARTH_BLOBS_CHILD"); dir != "" {
		putForEver(dir)
		return
	}
	os.Exit(m.Run())
}

// noise is n bytes that do not repeat, always the same for the same seed.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(b)
	return b
}

func ref(b []byte) *servicev1.BlobRef {
	sum := sha256.Sum256(b)
	return &servicev1.BlobRef{Sha256: sum[:], Size: proto.Int64(int64(len(b)))}
}

func open(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(s *Store, r *servicev1.BlobRef, b []byte, from, to int) (*servicev1.BlobState, error) {
	return s.Put(r, int64(from), b[from:to], syncer.ChunkCRC(b[from:to]))
}

func mustPut(t testing.TB, s *Store, b []byte, from, to int) *servicev1.BlobState {
	t.Helper()
	st, err := put(s, ref(b), b, from, to)
	if err != nil {
		t.Fatalf("put bytes %d to %d: %v", from, to, err)
	}
	return st
}

// holds fails unless the store has the blob, byte for byte, exactly once.
func holds(t testing.TB, s *Store, b []byte) {
	t.Helper()
	r := ref(b)
	f, size, err := s.Open(r.GetSha256())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := io.ReadAll(f)
	if err != nil || !bytes.Equal(got, b) || size != int64(len(b)) || !s.Has(r) {
		t.Errorf("the store holds %d bytes (%v), want %d", len(got), err, len(b))
	}
	left, err := os.ReadDir(filepath.Join(s.dir, partialDir))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		if strings.HasPrefix(e.Name(), hex.EncodeToString(r.GetSha256())) {
			t.Errorf("%s is left over", e.Name())
		}
	}
}

func TestPiecesInAnyOrderAndTwice(t *testing.T) {
	b := noise(1, 100_000)
	for name, order := range map[string][][2]int{
		"in order":        {{0, 40_000}, {40_000, 80_000}, {80_000, 100_000}},
		"backwards":       {{80_000, 100_000}, {40_000, 80_000}, {0, 40_000}},
		"each twice":      {{0, 40_000}, {0, 40_000}, {80_000, 100_000}, {80_000, 100_000}, {40_000, 80_000}, {40_000, 80_000}},
		"overlapping":     {{10_000, 30_000}, {20_000, 50_000}, {0, 45_000}, {60_000, 100_000}, {0, 100_000}},
		"in one":          {{0, 100_000}},
		"twice in one":    {{0, 100_000}, {0, 100_000}},
		"byte at the end": {{0, 99_999}, {99_999, 100_000}},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir())
			var last *servicev1.BlobState
			for _, o := range order {
				last = mustPut(t, s, b, o[0], o[1])
			}
			if !last.GetComplete() {
				t.Fatalf("not complete after all pieces: %v", last)
			}
			holds(t, s, b)
			if got, err := s.Totals(); err != nil || got != (Totals{Blobs: 1, Bytes: 100_000}) {
				t.Errorf("totals = %+v, %v", got, err)
			}
		})
	}
}

func TestEmptyFile(t *testing.T) {
	s := open(t, t.TempDir())
	if st, err := s.Stat(ref(nil)); err != nil || st.GetComplete() {
		t.Fatalf("before it came: %v, %v", st, err)
	}
	if st := mustPut(t, s, []byte{}, 0, 0); !st.GetComplete() {
		t.Errorf("state = %v, want complete", st)
	}
	holds(t, s, nil)
}

func TestRefusedPieces(t *testing.T) {
	b := noise(2, 1000)
	good := ref(b)
	crc := syncer.ChunkCRC(b[:100])
	for name, tt := range map[string]struct {
		ref    *servicev1.BlobRef
		offset int64
		data   []byte
		crc    uint32
		reason fault.Reason
	}{
		"negative offset":       {good, -1, b[:100], crc, fault.BadChunk},
		"behind the end":        {good, 901, b[:100], crc, fault.BadChunk},
		"offset that overflows": {good, 1<<63 - 50, b[:100], crc, fault.BadChunk},
		"wrong crc":             {good, 0, b[:100], crc + 1, fault.BadChunk},
		"empty piece":           {good, 10, nil, 0, fault.BadChunk},
		"over a MiB":            {&servicev1.BlobRef{Sha256: good.Sha256, Size: proto.Int64(2 << 20)}, 0, make([]byte, 1<<20+1), 0, fault.BadChunk},
		"no hash":               {&servicev1.BlobRef{Size: proto.Int64(1000)}, 0, b[:100], crc, fault.BadRequest},
		"hash of 31 bytes":      {&servicev1.BlobRef{Sha256: good.Sha256[:31], Size: proto.Int64(1000)}, 0, b[:100], crc, fault.BadRequest},
		"negative size":         {&servicev1.BlobRef{Sha256: good.Sha256, Size: proto.Int64(-1)}, 0, b[:100], crc, fault.BadRequest},
		"over 64 MiB":           {&servicev1.BlobRef{Sha256: good.Sha256, Size: proto.Int64(64<<20 + 1)}, 0, b[:100], crc, fault.BlobTooLarge},
		"size without end":      {&servicev1.BlobRef{Sha256: good.Sha256, Size: proto.Int64(1<<63 - 1)}, 0, b[:100], crc, fault.BlobTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir())
			if _, err := s.Put(tt.ref, tt.offset, tt.data, tt.crc); fault.ReasonOf(err) != tt.reason {
				t.Errorf("error = %v, want %s", err, tt.reason)
			}
			if got, err := s.Totals(); err != nil || got != (Totals{}) {
				t.Errorf("something was kept: %+v, %v", got, err)
			}
		})
	}
}

func TestWrongContentIsThrownAwayAndComesAgain(t *testing.T) {
	s := open(t, t.TempDir())
	b := noise(3, 5000)
	bad := bytes.Clone(b)
	bad[2000] ^= 1
	if _, err := put(s, ref(b), b, 0, 1000); err != nil {
		t.Fatal(err)
	}
	if _, err := put(s, ref(b), bad, 1000, 5000); fault.ReasonOf(err) != fault.BlobHashMismatch {
		t.Fatalf("error = %v, want %s", err, fault.BlobHashMismatch)
	}
	if st, err := s.Stat(ref(b)); err != nil || st.GetComplete() || len(st.GetHave()) > 0 {
		t.Errorf("after the mismatch: %v, %v, want nothing held", st, err)
	}
	mustPut(t, s, b, 0, 5000)
	holds(t, s, b)
}

func TestWrongSizeDoesNotGetInTheWay(t *testing.T) {
	s := open(t, t.TempDir())
	b := noise(4, 5000)
	liar := &servicev1.BlobRef{Sha256: ref(b).Sha256, Size: proto.Int64(6000)}
	if _, err := put(s, liar, b, 0, 5000); err != nil {
		t.Fatal(err)
	}
	mustPut(t, s, b, 0, 5000)
	holds0 := s.Has(ref(b))
	if _, err := s.Stat(liar); !holds0 || fault.ReasonOf(err) != fault.BlobSizeMismatch {
		t.Errorf("has = %v; the wrong size: %v, want %s", holds0, err, fault.BlobSizeMismatch)
	}
	if _, err := put(s, liar, b, 0, 100); fault.ReasonOf(err) != fault.BlobSizeMismatch {
		t.Errorf("a piece of the wrong size: %v", err)
	}
}

func TestSameBlobFromManyAtOnce(t *testing.T) {
	s := open(t, t.TempDir())
	b := noise(5, 300_000)
	var wg sync.WaitGroup
	errs := make(chan error, 400)
	for w := range 6 {
		wg.Go(func() {
			order := rand.New(rand.NewPCG(uint64(w), 1)).Perm(30)
			for _, i := range order {
				if _, err := put(s, ref(b), b, i*10_000, (i+1)*10_000); err != nil {
					errs <- err
				}
				if _, err := s.Stat(ref(b)); err != nil {
					errs <- err
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	holds(t, s, b)
	if got, err := s.Totals(); err != nil || got != (Totals{Blobs: 1, Bytes: 300_000}) {
		t.Errorf("totals = %+v, %v", got, err)
	}
}

// A journal cut at any byte, as by a power cut in the middle of a write, gives every piece before the cut, and the rest
// can be sent behind it.
func TestJournalCutAtEveryByte(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	b := noise(6, 600)
	for i := range 5 {
		mustPut(t, s, b, i*100, (i+1)*100)
	}
	name := filepath.Join(dir, partialDir, key{syncer.BlobID(ref(b).Sha256), 600}.String())
	journal, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if len(journal) != 5*(100+frameHeader) {
		t.Fatalf("the journal has %d bytes", len(journal))
	}
	for cut := 0; cut <= len(journal); cut += 7 {
		for _, junk := range []string{"", "\x00\x00\x00", strings.Repeat("\xff", 90)} {
			if err := os.WriteFile(name, append(bytes.Clone(journal[:cut]), junk...), 0o600); err != nil {
				t.Fatal(err)
			}
			s := open(t, dir)
			st, err := s.Stat(ref(b))
			if err != nil {
				t.Fatal(err)
			}
			have, _, err := syncer.ParseBlobState(st, syncer.BlobID(ref(b).Sha256), 600)
			if want := int64(cut / (100 + frameHeader) * 100); err != nil || have.Bytes() != want {
				t.Fatalf("cut at %d: holds %v (%v), want the first %d bytes", cut, have, err, want)
			}
			for _, r := range have.Missing(syncer.Range{End: 600}) {
				mustPut(t, s, b, int(r.Start), int(r.End)-50)
				mustPut(t, open(t, dir), b, int(r.End)-50, int(r.End)) // a process that has just started
			}
			holds(t, s, b)
			if err := os.Remove(s.path(syncer.BlobID(ref(b).Sha256))); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestFlippedBitInAJournal(t *testing.T) {
	dir := t.TempDir()
	b := noise(7, 300)
	name := filepath.Join(dir, partialDir, key{syncer.BlobID(ref(b).Sha256), 300}.String())
	s := open(t, dir)
	mustPut(t, s, b, 0, 100)
	mustPut(t, s, b, 200, 300)
	journal, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := range journal {
		bad := bytes.Clone(journal)
		bad[i] ^= 1 << (i % 8)
		if err := os.WriteFile(name, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir)
		if st, err := s.Stat(ref(b)); err != nil || st.GetComplete() {
			t.Fatalf("byte %d flipped: %v, %v", i, st, err)
		}
		mustPut(t, s, b, 0, 300)
		holds(t, s, b)
		if err := os.Remove(s.path(syncer.BlobID(ref(b).Sha256))); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	whole, half, old := noise(8, 500), noise(9, 500), noise(10, 500)
	mustPut(t, s, whole, 0, 500)
	mustPut(t, s, half, 0, 100)
	mustPut(t, s, old, 0, 100)
	partials := filepath.Join(dir, partialDir)
	name := func(b []byte) string { return filepath.Join(partials, key{syncer.BlobID(ref(b).Sha256), 500}.String()) }
	for _, path := range []string{name(whole), name(half) + ".tmp"} { // killed before the journal was removed; while one was put together
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-abandoned - time.Hour)
	if err := os.Chtimes(name(old), long, long); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	entries, err := os.ReadDir(partials)
	if err != nil || len(entries) != 1 || entries[0].Name() != filepath.Base(name(half)) {
		t.Errorf("left: %v, %v, want the half one", entries, err)
	}
	if got, err := s.Totals(); err != nil || got.Blobs != 1 || got.Pending != 1 || got.PendingBytes != 100+frameHeader {
		t.Errorf("totals = %+v, %v", got, err)
	}
	mustPut(t, s, half, 100, 500)
	holds(t, s, half)
}

func TestPendingIsBounded(t *testing.T) {
	s, err := Open(t.TempDir(), Options{MaxPending: 3, MaxPendingBytes: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		mustPut(t, s, noise(uint64(20+i), 1000), 0, 500)
	}
	b := noise(30, 1000)
	if _, err := put(s, ref(b), b, 0, 500); fault.ReasonOf(err) != fault.BlobsFull || !fault.BlobsFull.Retry() {
		t.Errorf("a fourth unfinished one: %v, want %s", err, fault.BlobsFull)
	}
	first := noise(20, 1000)
	mustPut(t, s, first, 500, 1000) // those begun go on
	large := noise(31, 9900)
	if _, err := put(s, ref(large), large, 0, 500); fault.ReasonOf(err) != fault.BlobsFull {
		t.Errorf("one that is too large beside the others: %v", err)
	}
	mustPut(t, s, b, 0, 1000)
}

func TestTooManyHoles(t *testing.T) {
	s := open(t, t.TempDir())
	b := noise(11, 4000)
	var err error
	for i := 0; i < len(b) && err == nil; i += 2 {
		_, err = put(s, ref(b), b, i, i+1)
	}
	if fault.ReasonOf(err) != fault.BadChunk {
		t.Fatalf("error = %v, want %s", err, fault.BadChunk)
	}
	mustPut(t, s, b, 0, 4000)
	holds(t, s, b)
}

func TestVerify(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	good, bad := noise(12, 500), noise(13, 500)
	mustPut(t, s, good, 0, 500)
	mustPut(t, s, bad, 0, 500)
	path := s.path(syncer.BlobID(ref(bad).Sha256))
	flipped := bytes.Clone(bad)
	flipped[250] ^= 4
	for name, content := range map[string][]byte{path: flipped, filepath.Join(dir, "notes.txt"): nil, filepath.Join(filepath.Dir(path), "x"): nil} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	held, strays := map[syncer.BlobID]error{}, 0
	err := s.Verify(context.Background(), func(h Held) { held[h.ID] = h.Problem }, func(string) { strays++ })
	if err != nil || len(held) != 2 || strays != 2 {
		t.Fatalf("%d held, %d strays, %v", len(held), strays, err)
	}
	if p := held[syncer.BlobID(ref(good).Sha256)]; p != nil {
		t.Errorf("the good one: %v", p)
	}
	if p := held[syncer.BlobID(ref(bad).Sha256)]; fault.ReasonOf(p) != fault.BlobDamaged {
		t.Errorf("the flipped one: %v", p)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Verify(ctx, func(Held) {}, func(string) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, _, err := s.Open(make([]byte, 32)); fault.ReasonOf(err) != fault.NoSuchBlob {
		t.Errorf("one that is not here: %v", err)
	}
}

func TestRemove(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	whole, half, other := noise(14, 500), noise(15, 500), noise(16, 500)
	mustPut(t, s, whole, 0, 500)
	mustPut(t, s, half, 0, 200)
	mustPut(t, s, other, 0, 500)
	s = open(t, dir) // which has not read the journal yet
	if got, err := s.Totals(); err != nil || got != (Totals{Blobs: 2, Bytes: 1000, Pending: 1, PendingBytes: 200 + frameHeader}) {
		t.Errorf("totals = %+v, %v", got, err)
	}
	for i, want := range []bool{true, false} {
		for name, b := range map[string][]byte{"whole": whole, "half": half} {
			if got, err := s.Remove(ref(b)); err != nil || got != want {
				t.Errorf("removing the %s one, time %d: %v, %v, want %v", name, i+1, got, err, want)
			}
		}
	}
	if got, err := s.Totals(); err != nil || got != (Totals{Blobs: 1, Bytes: 500}) {
		t.Errorf("totals = %+v, %v, want the other one", got, err)
	}
	holds(t, s, other)
	mustPut(t, s, whole, 0, 500)
	holds(t, s, whole)
}

// Ranges against a plain set of bytes.
func TestRanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var rs syncer.Ranges
		set := make([]bool, 40)
		for range rapid.IntRange(0, 30).Draw(t, "ranges") {
			a := rapid.IntRange(0, 40).Draw(t, "start")
			b := rapid.IntRange(a, 40).Draw(t, "end")
			r := syncer.Range{Start: int64(a), End: int64(b)}
			var want syncer.Ranges
			for i := a; i < b; i++ {
				if !set[i] {
					want = want.Add(syncer.Range{Start: int64(i), End: int64(i + 1)})
				}
			}
			if got := rs.Missing(r); !slices.Equal(got, want) {
				t.Fatalf("%v lacks %v of %v, want %v", rs, got, r, want)
			}
			rs = rs.Add(r)
			n := int64(0)
			for i := range set {
				set[i] = set[i] || i >= a && i < b
				if set[i] {
					n++
				}
			}
			if rs.Bytes() != n {
				t.Fatalf("%v holds %d bytes, want %d", rs, rs.Bytes(), n)
			}
			for i := 1; i < len(rs); i++ {
				if rs[i].Start <= rs[i-1].End {
					t.Fatalf("%v: not in order, or touching", rs)
				}
			}
		}
	})
}

func FuzzJournal(f *testing.F) {
	dir := f.TempDir()
	s := open(f, dir)
	b := noise(6, 600)
	mustPut(f, s, b, 0, 100)
	mustPut(f, s, b, 300, 400)
	raw, err := os.ReadFile(filepath.Join(dir, partialDir, key{syncer.BlobID(ref(b).Sha256), 600}.String()))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(raw[:150])
	f.Add(append(bytes.Clone(raw), raw...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		have, frames, length := readJournal(bytes.NewReader(raw), 600)
		if length > int64(len(raw)) || have.Bytes() > 600 {
			t.Fatalf("%d bytes of journal are %d, holding %v", len(raw), length, have)
		}
		var sum int64
		for _, fr := range frames {
			sum += fr.size
		}
		if sum != have.Bytes() {
			t.Fatalf("frames of %d bytes hold %d", sum, have.Bytes())
		}
	})
}
