package storetest_test

import (
	"context"
	"iter"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/server/store/sqlite"
	"github.com/hearth-survey/hearth/server/store/storetest"
	"github.com/hearth-survey/hearth/syncer"
)

// wrongVar names the store that a child process runs the suite on.
const wrongVar = "HEARTH_WRONG_STORE"

// Every mistake that an engine invites, and the case that must find it.
var wrongs = []struct {
	name string
	wrap func(store.Store) store.Store
	// finds is the case, as a pattern of its name.
	finds string
}{
	{"sequence taken before commit", func(s store.Store) store.Store { return &sequenced{Store: s} }, "late.commits"},
	{"batch in two transactions", func(s store.Store) store.Store { return &torn{s} }, "a.batch.is.there.at.once"},
	{"counters begin again", func(s store.Store) store.Store { return &recounting{Store: s} }, "counters.are.never.reused"},
	{"quarantine dropped", func(s store.Store) store.Store { return &careless{s} }, "quarantine.loses.nothing"},
	{"pages by offset", func(s store.Store) store.Store { return &paging{s} }, "pages.while.lists.change"},
	{"heads known by its own appends only", func(s store.Store) store.Store { return &alone{Store: s, heads: map[uint64]uint64{}} }, "two.servers,.one.store"},
}

// TestWrongStores runs the one case on the wrong store, in a process of its own, and wants it to fail.
func TestWrongStores(t *testing.T) {
	for _, w := range wrongs {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			out, err := child(t, w.name, "Contract/"+w.finds)
			if err == nil || !strings.Contains(out, "--- FAIL: TestContractOf/Contract/") || strings.Contains(out, "panic:") {
				t.Errorf("the suite does not find it: %v\n%s", err, out)
			}
		})
	}
}

// TestRightStore runs the same cases on a store that is right, so that no case fails for another reason, with a second
// server over it.
func TestRightStore(t *testing.T) {
	out, err := child(t, "none", "Contract")
	if err != nil || strings.Contains(out, "--- SKIP: TestContractOf/") || strings.Count(out, "--- PASS: TestContractOf/Contract/") < len(wrongs) {
		t.Errorf("%v\n%s", err, out)
	}
}

func child(t *testing.T, wrong, pattern string) (string, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run", "^TestContractOf$/"+pattern, "-test.v", "-test.timeout", "100s", "-rapid.checks", "5")
	cmd.Env = append(os.Environ(), wrongVar+"="+wrong)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestContractOf is what child runs.
func TestContractOf(t *testing.T) {
	name := os.Getenv(wrongVar)
	if name == "" {
		t.Skip("run by the other tests, in a process of its own")
	}
	wrap := func(s store.Store) store.Store { return s }
	for _, w := range wrongs {
		if w.name == name {
			wrap = w.wrap
		}
	}
	var mu sync.Mutex
	inner, dirs := map[store.Store]store.Store{}, map[store.Store]string{}
	openIn := func(t testing.TB, dir string) store.Store {
		s, err := sqlite.Open(t.Context(), dir, sqlite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		w := wrap(s)
		mu.Lock()
		defer mu.Unlock()
		inner[w], dirs[w] = s, dir
		return w
	}
	storetest.Run(t, storetest.Factory{
		Open: func(t testing.TB) store.Store { return openIn(t, t.TempDir()) },
		Reopen: func(t testing.TB, s store.Store) store.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return openIn(t, dirs[s])
		},
		Second: func(_ testing.TB, s store.Store) store.Store {
			return wrap(struct{ store.Store }{inner[s]})
		},
	})
}

// sequenced numbers records when they come and not when they are committed, as a sequence of PostgreSQL does, and takes
// the number for a cursor.
type sequenced struct {
	store.Store
	mu   sync.Mutex
	next uint64
	all  []store.Stored // committed, Counter is the number
}

func (s *sequenced) Append(ctx context.Context, b *syncer.Checked) (*store.Appended, error) {
	s.mu.Lock()
	first := s.next + 1
	s.next += uint64(len(b.Entries))
	s.mu.Unlock()
	if b.Lane.Device[0]%2 == 0 { // some take longer to commit
		time.Sleep(2 * time.Millisecond)
	}
	out, err := s.Store.Append(ctx, b)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, e := range b.Entries {
		s.all = append(s.all, store.Stored{Part: e.Record.GetPart(), Counter: first + uint64(i), Digest: e.Digest, Raw: e.Raw})
	}
	slices.SortFunc(s.all, func(a, b store.Stored) int { return int(int64(a.Counter) - int64(b.Counter)) })
	return out, nil
}

func (s *sequenced) After(_ context.Context, c syncer.Cursor, limit int) ([]store.Stored, syncer.Cursor, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := c.Parts[0]
	var out []store.Stored
	for _, r := range s.all {
		if r.Counter <= last {
			continue
		}
		if len(out) == limit {
			return out, syncer.Cursor{Epoch: s.Epoch(), Parts: map[uint64]uint64{0: last}}, true, nil
		}
		out, last = append(out, r), r.Counter
	}
	return out, syncer.Cursor{Epoch: s.Epoch(), Parts: map[uint64]uint64{0: last}}, false, nil
}

// torn stores the first half of a batch before the rest.
type torn struct{ store.Store }

func (s *torn) Append(ctx context.Context, b *syncer.Checked) (*store.Appended, error) {
	half := *b
	half.Entries, half.Runs = b.Entries[:len(b.Entries)/2], nil
	first, err := s.Store.Append(ctx, &half)
	if err != nil {
		return nil, err
	}
	out, err := s.Store.Append(ctx, b)
	if err != nil {
		return nil, err
	}
	out.New += first.New
	return out, nil
}

// recounting begins its counters again when it is opened.
type recounting struct {
	store.Store
	once sync.Once
	at   map[uint64]uint64
}

func (s *recounting) After(ctx context.Context, c syncer.Cursor, limit int) ([]store.Stored, syncer.Cursor, bool, error) {
	out, next, more, err := s.Store.After(ctx, c, limit)
	for i := range out {
		if had := s.at[out[i].Part]; out[i].Counter > had {
			out[i].Counter -= had
		}
	}
	return out, next, more, err
}

func (s *recounting) Append(ctx context.Context, b *syncer.Checked) (*store.Appended, error) {
	s.once.Do(func() {
		if head, err := s.Head(ctx); err == nil {
			s.at = head.Parts
		}
	})
	return s.Store.Append(ctx, b)
}

// careless leaves out what cannot be used.
type careless struct{ store.Store }

func (s *careless) Append(ctx context.Context, b *syncer.Checked) (*store.Appended, error) {
	c := *b
	c.Entries = slices.DeleteFunc(slices.Clone(b.Entries), func(e syncer.Entry) bool { return e.Reason != "" })
	return s.Store.Append(ctx, &c)
}

// paging looks for the interview at which a page ended, to go on behind it.
type paging struct{ store.Store }

func (s *paging) Interviews(ctx context.Context, f store.Filter) iter.Seq2[*servicev1.InterviewProjection, error] {
	return func(yield func(*servicev1.InterviewProjection, error) bool) {
		whole := f
		whole.After, whole.Limit = nil, 0
		on, n := f.After == nil, 0
		for iv, err := range s.Store.Interviews(ctx, whole) {
			switch {
			case err != nil:
				yield(nil, err)
				return
			case !on:
				on = iv.GetSummary().GetInterviewId() == f.After.InterviewID
				continue
			}
			if !yield(iv, nil) {
				return
			}
			if n++; n == f.Limit {
				return
			}
		}
		if !on {
			yield(nil, fault.New(fault.NotFound, fault.BadPageToken, "there is no such interview"))
		}
	}
}

// alone knows of the records that it has taken in itself, as a server does that keeps the heads of the log in memory.
type alone struct {
	store.Store
	mu    sync.Mutex
	heads map[uint64]uint64
}

func (s *alone) Append(ctx context.Context, b *syncer.Checked) (*store.Appended, error) {
	out, err := s.Store.Append(ctx, b)
	if err != nil {
		return nil, err
	}
	head, err := s.Head(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range b.Entries {
		s.heads[e.Record.GetPart()] = head.Parts[e.Record.GetPart()]
	}
	return out, err
}

func (s *alone) After(ctx context.Context, c syncer.Cursor, limit int) ([]store.Stored, syncer.Cursor, bool, error) {
	out, next, more, err := s.Store.After(ctx, c, limit)
	s.mu.Lock()
	defer s.mu.Unlock()
	known := slices.DeleteFunc(slices.Clone(out), func(r store.Stored) bool { return r.Counter > s.heads[r.Part] })
	if len(known) < len(out) {
		more = false
	}
	return known, next, more, err
}
