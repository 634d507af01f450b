package dedup

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// town is a study of n people of whom every tenth household was met again, with errors: enough to learn from.
func town(n int) []*servicev1.PersonRecord {
	v := village(n)
	for i, w := range v {
		if i/4%10 != 3 {
			continue
		}
		w.id, w.household, w.interview, w.day, w.site = "w"+w.id, "w"+w.household, "w"+w.interview, 9, "village-2"
		switch i % 5 {
		case 0:
			w.born = w.born[:4]
		case 1:
			w.phone = "13900000000"
		case 2:
			w.phone, w.name = "", strings.NewReplacer("伟", "偉", "静", "婧").Replace(w.name)
		}
		v = append(v, w)
	}
	return records(v...)
}

// live keeps people as a server would: postings by key, the pairs compared and the households.
type live struct {
	m        *Model
	people   map[string][]*servicev1.PersonRecord
	read     map[string]*Person
	postings map[uint64][]string
	strong   map[[2]string]map[[2]string]float64
	homes    map[string]map[string]bool
}

// arrive takes one record in and makes its person anew.
func (l *live) arrive(r *servicev1.PersonRecord) {
	id := r.GetPersonId()
	if old := l.read[id]; old != nil {
		for _, k := range l.m.Keys(old) {
			l.postings[k] = slices.DeleteFunc(l.postings[k], func(other string) bool { return other == id })
		}
	}
	l.people[id] = append(l.people[id], r)
	p := NewPerson(l.people[id])
	l.read[id] = p
	for _, k := range l.m.Keys(p) {
		l.postings[k] = append(l.postings[k], id)
	}
}

// pairs lists who is compared.
func (l *live) pairs() [][2]string {
	seen := map[[2]string]bool{}
	for _, ids := range l.postings {
		if len(ids) > l.m.MaxBlock() {
			continue
		}
		for i, a := range ids {
			for _, b := range ids[:i] {
				if !l.read[a].ListedWith(l.read[b]) {
					seen[ordered(a, b)] = true
				}
			}
		}
	}
	out := [][2]string{}
	for p := range seen {
		out = append(out, p)
	}
	return out
}

// settle works out what households have in common.
func (l *live) settle() {
	l.homes, l.strong = map[string]map[string]bool{}, map[[2]string]map[[2]string]float64{}
	for id, p := range l.read {
		for _, h := range p.Homes() {
			if l.homes[h] == nil {
				l.homes[h] = map[string]bool{}
			}
			l.homes[h][id] = true
		}
	}
	for _, p := range l.pairs() {
		a, b := l.read[p[0]], l.read[p[1]]
		w := l.m.Weigh(a, b)
		if w < StrongLink {
			continue
		}
		for _, x := range a.Homes() {
			for _, y := range b.Homes() {
				if l.strong[ordered(x, y)] == nil {
					l.strong[ordered(x, y)] = map[[2]string]float64{}
				}
				l.strong[ordered(x, y)][p] = w
			}
		}
	}
}

func (l *live) Size(home string) int { return len(l.homes[home]) }

func (l *live) Strong(home, other string) []Link {
	var out []Link
	for p, w := range l.strong[ordered(home, other)] {
		out = append(out, Link{p[1], p[0], w})
	}
	return out
}

// TestLiveEqualsBatch takes records in one by one, in any order, compares each with those that share a key, and expects the
// pairs that a search through all of them with the same model finds, to the last bit.
func TestLiveEqualsBatch(t *testing.T) {
	known := town(400)
	learnt := Find(known, nil, nil, Options{}).Model
	if !learnt.house.on || len(learnt.others) == 0 {
		t.Fatal("the town is too small: the model lacks households or kinds of non-matches")
	}
	data, err := learnt.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	m, err := UnmarshalModel(data)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		people := append(drawPeople(t), rapid.Permutation(known).Draw(t, "known")[:rapid.IntRange(0, 200).Draw(t, "of the known")]...)
		l := &live{m: m, people: map[string][]*servicev1.PersonRecord{}, read: map[string]*Person{}, postings: map[uint64][]string{}}
		for _, r := range rapid.Permutation(people).Draw(t, "arrival") {
			l.arrive(r)
		}
		l.settle()
		got := map[[2]string]*servicev1.MatchPair{}
		for _, p := range l.pairs() {
			s := m.Score(l.read[p[0]], l.read[p[1]], l)
			if s.GetProbability() >= m.opts.PossibleProbability {
				got[p] = s
			}
		}
		want := map[[2]string]*servicev1.MatchPair{}
		for _, p := range FindWith(m, people, nil, nil).Pairs {
			if p.GetSubject() == servicev1.LinkSubject_LINK_SUBJECT_PERSON {
				want[ordered(p.GetAId(), p.GetBId())] = p
			}
		}
		if d := cmp.Diff(want, got, protocmp.Transform()); d != "" {
			t.Fatalf("what is found one by one is not what is found together:\n%s", d)
		}
	})
}

// TestFindWithOwnModel expects that a search with the model that a search learnt finds the same.
func TestFindWithOwnModel(t *testing.T) {
	people := town(800)
	r := Find(people, nil, nil, Options{})
	if len(r.Pairs) < 40 {
		t.Fatalf("only %d pairs were found", len(r.Pairs))
	}
	again := FindWith(r.Model, people, nil, nil)
	if bytesOf(r) != bytesOf(again) {
		t.Errorf("FindWith differs from Find:\n%s", cmp.Diff(r.Pairs, again.Pairs, protocmp.Transform()))
	}
}

// TestModelBytes writes a model, reads it and writes it again.
func TestModelBytes(t *testing.T) {
	people := town(400)
	first, err := Find(people, nil, nil, Options{MaxBlock: 77}).Model.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(people)
	second, _ := Find(people, nil, nil, Options{MaxBlock: 77}).Model.MarshalBinary()
	if !bytes.Equal(first, second) {
		t.Error("the order of the records shows in the model")
	}
	m, err := UnmarshalModel(first)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := m.MarshalBinary(); !bytes.Equal(first, again) || m.MaxBlock() != 77 {
		t.Error("a model read and written again is another")
	}
	for _, bad := range []string{
		"", "{}", "null", "[]", `{"version":2}`,
		strings.Replace(string(first), fmt.Sprintf(`"version":%d`, modelVersion), `"version":9`, 1),
		strings.Replace(string(first), `"kind":"date"`, `"kind":"name"`, 1),
		strings.Replace(string(first), `"column":`, `"column":9`, 1),
		strings.Replace(string(first), `"chance":`, `"chance":9`, 1),
		strings.Replace(string(first), `"transform":`, `"transform":9`, 1),
		strings.Replace(string(first), `"same":[`, `"same":[0.5,`, 1),
	} {
		if _, err := UnmarshalModel([]byte(bad)); fault.ReasonOf(err) != fault.ModelUnreadable {
			t.Errorf("%.40s was read as a model: %v", bad, err)
		}
	}
}

// FuzzModel reads whatever is called a model, and scores with what it takes.
func FuzzModel(f *testing.F) {
	people := town(400)
	data, _ := Find(people, nil, nil, Options{}).Model.MarshalBinary()
	f.Add(data)
	f.Add([]byte(`{"version":1,"columns":[]}`))
	a, b := NewPerson(people[:1]), NewPerson(people[400:401])
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := UnmarshalModel(data)
		if err != nil {
			return
		}
		m.Keys(a)
		if p := m.Score(a, b, nil); math.IsNaN(p.GetWeight()) {
			t.Fatalf("weight %v", p.GetWeight())
		}
		FindWith(m, people[:20], nil, nil)
	})
}

// TestGroups joins by weight on average, and by what people decided.
func TestGroups(t *testing.T) {
	decide := func(kind servicev1.DecisionKind, a, b string, ms int64) *servicev1.LinkDecision {
		return &servicev1.LinkDecision{DecisionId: proto.String(a + b + fmt.Sprint(ms)), Kind: kind.Enum(), AId: &a, BId: &b, TimeMs: &ms}
	}
	const link, cannot = servicev1.DecisionKind_DECISION_KIND_LINK, servicev1.DecisionKind_DECISION_KIND_CANNOT_LINK
	chain := []Link{{"a", "b", 9}, {"b", "c", 8}, {"c", "d", 0.5}, {"a", "c", 4}}
	tests := []struct {
		name      string
		links     []Link
		decisions []*servicev1.LinkDecision
		least     float64
		want      string
	}{
		{"a weak end does not hang on", chain, nil, 0, "abc"},
		{"a higher bar", chain, nil, 8.5, "ab"},
		{"kept apart", chain, []*servicev1.LinkDecision{decide(cannot, "a", "c", 1)}, 0, "ab cd"},
		{"joined by decision", chain, []*servicev1.LinkDecision{decide(link, "x", "d", 1)}, 0, "abc dx"},
		{"joined whatever it weighs", append(chain, Link{"x", "a", -20}), []*servicev1.LinkDecision{decide(link, "x", "a", 1)}, 0, "abcx"},
		{"kept apart through a decided link", chain, []*servicev1.LinkDecision{decide(link, "x", "a", 1), decide(cannot, "x", "b", 2)}, 0, "ax bc"},
		{"nothing", nil, nil, 0, ""},
	}
	for _, test := range tests {
		var got []string
		for _, g := range Groups(test.links, test.decisions, test.least) {
			got = append(got, strings.Join(g.IDs, ""))
			if !(g.Confidence >= .5 && g.Confidence <= 1) {
				t.Errorf("%s: confidence %v", test.name, g.Confidence)
			}
		}
		if s := strings.Join(got, " "); s != test.want {
			t.Errorf("%s: %q, want %q", test.name, s, test.want)
		}
	}
}

// TestGroupsProperties expects decisions to be kept whatever the links, and each island of links to be grouped by itself.
func TestGroupsProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
		var links []Link
		for i, a := range ids {
			for _, b := range ids[:i] {
				if rapid.Bool().Draw(t, "met") {
					links = append(links, Link{a, b, float64(rapid.IntRange(-9, 12).Draw(t, "weight"))})
				}
			}
		}
		decisions := drawDecisions(t, ids)
		groups := Groups(links, decisions, 0)
		if other := Groups(rapid.Permutation(links).Draw(t, "order"), rapid.Permutation(decisions).Draw(t, "order"), 0); !cmp.Equal(groups, other) {
			t.Fatalf("the order shows: %v, %v", groups, other)
		}
		at := map[string]int{}
		for i, g := range groups {
			for _, id := range g.IDs {
				at[id] = i + 1
			}
		}
		decided := newForest(decide(decisions))
		for _, a := range ids {
			for _, b := range ids {
				if a < b && decided.root(a) == decided.root(b) && (at[a] == 0 || at[a] != at[b]) {
					t.Fatalf("%s and %s are linked by decision and stand apart: %v", a, b, groups)
				}
			}
		}
		_, cannot := Decided(decisions)
		for p := range cannot {
			if at[p[0]] != 0 && at[p[0]] == at[p[1]] {
				t.Fatalf("%v must not be linked and are: %v", p, groups)
			}
		}
		var moved []Link
		for _, l := range links {
			moved = append(moved, Link{"x" + l.A, "x" + l.B, l.Weight})
		}
		both := Groups(append(moved, links...), decisions, 0)
		if alone := append(groups, Groups(moved, nil, 0)...); !cmp.Equal(alone, both) {
			t.Fatalf("islands have an influence on each other: %v, %v", alone, both)
		}
	})
}
