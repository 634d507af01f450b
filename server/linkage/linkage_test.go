package linkage_test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"testing"

	diff "github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/dedup"
	"github.com/hearth-survey/hearth/server/linkage"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/server/store/sqlite"
)

// household is an interview of the n-th household, which lists so many members. again makes it another visit, where some is
// told differently.
func household(n, members int, again bool) linkage.Interview {
	iv := linkage.Interview{ID: fmt.Sprintf("interview-%03d-%t", n, again), Study: "gz"}
	surnames, given := []rune("王李张刘陈杨赵黄周吴"), []rune("伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平")
	for i := range members {
		x := uint32(n*7919 + i*104729)
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		name := string(surnames[n%len(surnames)]) + string(given[x%20]) + string(given[x/20%20])
		p := &servicev1.PersonRecord{
			PersonId: proto.String(fmt.Sprintf("person-%03d-%d-%t", n, i, again)), InterviewId: &iv.ID, InterviewKey: proto.String("K" + iv.ID), Study: &iv.Study,
			HouseholdId: proto.String(fmt.Sprintf("home-%03d-%t", n, again)), LineNumber: proto.Int32(int32(i + 1)),
			Identity: &surveyv1.Identity{FullName: &name, Phone: proto.String(fmt.Sprintf("138%08d", x%99999989))},
			Sex:      surveyv1.Sex(1 + x/400%2).Enum(), SiteId: proto.String(fmt.Sprintf("site-%d", n%3)),
			BirthDate:       &surveyv1.PartialDate{Year: proto.Int32(int32(1940 + x/800%60)), Month: proto.Int32(int32(1 + x/48000%12)), Day: proto.Int32(int32(1 + x/7%28))},
			InterviewTimeMs: proto.Int64(1_700_000_000_000 + int64(n)*1000),
		}
		if again {
			switch (n + i) % 4 {
			case 0:
				p.BirthDate.Day = nil
			case 1:
				p.Identity.Phone = nil
			case 2:
				p.Identity.FullName = proto.String(string([]rune(name)[:2]))
			}
		}
		iv.People = append(iv.People, p)
	}
	return iv
}

func open(t testing.TB) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(context.Background(), t.TempDir(), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// village is n households, of which every third was met twice.
func village(n int) []linkage.Interview {
	var out []linkage.Interview
	for i := range n {
		out = append(out, household(i, 1+i%5, false))
		if i%3 == 0 {
			out = append(out, household(i, 1+(i+i%2)%5, true))
		}
	}
	return out
}

func people(interviews []linkage.Interview) []*servicev1.PersonRecord {
	var out []*servicev1.PersonRecord
	for _, iv := range interviews {
		out = append(out, iv.People...)
	}
	return out
}

// searched is what a search through everybody with the model finds.
func searched(m *dedup.Model, interviews []linkage.Interview) []*servicev1.MatchPair {
	pairs := slices.DeleteFunc(dedup.FindWith(m, people(interviews), nil, nil).Pairs, func(p *servicev1.MatchPair) bool {
		return p.GetSubject() != servicev1.LinkSubject_LINK_SUBJECT_PERSON
	})
	slices.SortFunc(pairs, func(x, y *servicev1.MatchPair) int {
		return cmp.Or(-cmp.Compare(x.GetWeight(), y.GetWeight()), cmp.Compare(x.GetAId(), y.GetAId()), cmp.Compare(x.GetBId(), y.GetBId()))
	})
	return pairs
}

// revise lists others than before in an interview.
func revise(t *rapid.T, iv linkage.Interview) linkage.Interview {
	list := slices.Clone(iv.People)
	switch rapid.IntRange(0, 5).Draw(t, "revision") {
	case 0:
		return linkage.Interview{ID: iv.ID}
	case 1:
		list = list[1:]
	case 2: // somebody of another household
		other := proto.CloneOf(rapid.SampledFrom(people(village(40))).Draw(t, "guest"))
		other.InterviewId, other.InterviewKey = &iv.ID, proto.String("K"+iv.ID)
		if !slices.ContainsFunc(list, func(p *servicev1.PersonRecord) bool { return p.GetPersonId() == other.GetPersonId() }) {
			list = append(list, other)
		}
	case 3:
		list[0] = proto.CloneOf(list[0])
		list[0].Identity.Phone = proto.String("13800000001")
	case 5: // one more of the household, in an interview of its own
		other := proto.CloneOf(list[0])
		id := "of-" + iv.ID
		other.InterviewId, other.PersonId, other.Identity.FullName = &id, proto.String("one-more-"+iv.ID), proto.String("欧阳修")
		return linkage.Interview{ID: id, Study: iv.Study, People: []*servicev1.PersonRecord{other}}
	case 4:
		for i := range list {
			list[i] = proto.CloneOf(list[i])
			list[i].HouseholdId = proto.String("home-of-all")
		}
	}
	return linkage.Interview{ID: iv.ID, Study: iv.Study, People: list}
}

// TestArrivalEqualsSearch learns a model of some of a village, lets the rest come in any order and in batches of any size, has
// interviews changed and taken away, and expects the pairs of a search through what is there in the end, to the last bit.
// Blocks are so small that keys fall out of use and come into it again.
func TestArrivalEqualsSearch(t *testing.T) {
	s := open(t)
	ctx := t.Context()
	all := village(30)
	checks(t, 100)
	rapid.Check(t, func(t *rapid.T) {
		if err := s.IndexDrop(ctx); err != nil {
			t.Fatal(err)
		}
		b := linkage.Open(s, dedup.Options{MaxBlock: rapid.SampledFrom([]int{4, 8, 400}).Draw(t, "block")})
		st, err := b.State(ctx)
		if err != nil {
			t.Fatal(err)
		}
		order := rapid.Permutation(all).Draw(t, "order")
		n := rapid.IntRange(1, len(order)).Draw(t, "known before")
		if err := b.Learn(ctx, st, "gz", order[:n]); err != nil {
			t.Fatal(err)
		}
		now := map[string]linkage.Interview{}
		for _, iv := range order[:n] {
			now[iv.ID] = iv
		}
		rest := slices.Clone(order[n:])
		for range rapid.IntRange(0, 12).Draw(t, "revisions") {
			rest = append(rest, revise(t, rapid.SampledFrom(all).Draw(t, "of")))
		}
		for len(rest) > 0 {
			k := rapid.IntRange(1, len(rest)).Draw(t, "batch")
			batch := map[string]linkage.Interview{}
			for _, iv := range rest[:k] {
				now[iv.ID], batch[iv.ID] = iv, iv
			}
			var changed []linkage.Interview
			for _, iv := range batch {
				changed = append(changed, iv)
			}
			if _, err := b.Update(ctx, st, changed, nil); err != nil {
				t.Fatal(err)
			}
			rest = rest[k:]
		}
		var there []linkage.Interview
		for _, iv := range now {
			there = append(there, iv)
		}
		m, err := b.Model(ctx, st.Studies["gz"])
		if err != nil {
			t.Fatal(err)
		}
		got, err := b.Pairs(ctx, st.Studies["gz"])
		if err != nil {
			t.Fatal(err)
		}
		if d := diff.Diff(searched(m, there), got, protocmp.Transform()); d != "" {
			t.Fatalf("a search (-) and what came one after the other (+):\n%s", d)
		}
	})
}

// checks bounds how often a property is tried, unless it is said on the command line.
func checks(t *testing.T, n int) {
	t.Helper()
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "rapid.checks" })
	if asked {
		return
	}
	if testing.Short() {
		n /= 5
	}
	was := flag.Lookup("rapid.checks").Value.String()
	if err := flag.Set("rapid.checks", strconv.Itoa(n)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = flag.Set("rapid.checks", was) })
}

// TestFindsSomething keeps the test before honest: there is something to be found.
func TestFindsSomething(t *testing.T) {
	s := open(t)
	b := linkage.Open(s, dedup.Options{})
	st, err := b.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := village(60)
	if err := b.Learn(t.Context(), st, "gz", all[:40]); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Update(t.Context(), st, all[40:], []byte("here")); err != nil {
		t.Fatal(err)
	}
	pairs, err := b.Pairs(t.Context(), st.Studies["gz"])
	if err != nil || len(pairs) < 20 {
		t.Errorf("%d pairs, %v", len(pairs), err)
	}
	house := 0
	for _, p := range pairs {
		for _, e := range p.GetEvidence() {
			if e.GetField() == "household" {
				house++
			}
		}
	}
	if house == 0 {
		t.Error("no pair has evidence of its household")
	}
	again, err := linkage.Open(s, dedup.Options{}).State(t.Context())
	if err != nil || string(again.Cursor) != "here" || again.Studies["gz"].People != int64(len(people(all))) {
		t.Errorf("read again: %+v, %v", again, err)
	}
	if entries, _ := s.IndexScan(t.Context(), "", "", 0); len(entries) < 100 {
		t.Errorf("%d entries", len(entries))
	}
}

var _ store.Index = (*sqlite.Store)(nil)
