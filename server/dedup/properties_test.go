package dedup

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// drawPeople draws a small study in which a few people are met again with errors.
func drawPeople(t *rapid.T) []*servicev1.PersonRecord {
	v := village(rapid.IntRange(0, 60).Draw(t, "people"))
	n := len(v)
	for i := range rapid.IntRange(0, 8).Draw(t, "again") {
		if n == 0 {
			break
		}
		w := v[rapid.IntRange(0, n-1).Draw(t, "who")]
		w.day = rapid.IntRange(0, 3).Draw(t, "day")
		w.interview = fmt.Sprintf("again-%d", i)
		if rapid.Bool().Draw(t, "other id") {
			w.id = fmt.Sprintf("x%02d", i)
		}
		w.household = rapid.SampledFrom([]string{w.household, "hx0", "hx1", ""}).Draw(t, "household")
		w.phone = rapid.SampledFrom([]string{w.phone, "", "13800000000"}).Draw(t, "phone")
		w.born = rapid.SampledFrom([]string{w.born, w.born[:4], ""}).Draw(t, "born")
		w.name = rapid.SampledFrom([]string{w.name, "", "张偉", "Li Xiuying"}).Draw(t, "name")
		v = append(v, w)
	}
	return records(v...)
}

// drawDecisions draws links, cannot-links and undos among some ids.
func drawDecisions(t *rapid.T, ids []string) []*servicev1.LinkDecision {
	var out []*servicev1.LinkDecision
	for i := range rapid.IntRange(0, 10).Draw(t, "decisions") {
		d := &servicev1.LinkDecision{
			DecisionId: proto.String(fmt.Sprintf("d%02d", i)),
			Kind:       servicev1.DecisionKind(rapid.IntRange(1, 3).Draw(t, "kind")).Enum(),
			Subject:    servicev1.LinkSubject_LINK_SUBJECT_PERSON.Enum(),
			TimeMs:     proto.Int64(int64(rapid.IntRange(0, 5).Draw(t, "time"))),
		}
		if d.GetKind() == servicev1.DecisionKind_DECISION_KIND_UNDO {
			d.Undoes = proto.String(fmt.Sprintf("d%02d", rapid.IntRange(0, 10).Draw(t, "undoes")))
		} else if len(ids) > 0 {
			d.AId = proto.String(rapid.SampledFrom(ids).Draw(t, "a"))
			d.BId = proto.String(rapid.SampledFrom(ids).Draw(t, "b"))
		}
		out = append(out, d)
	}
	return out
}

// idsOf lists the person ids.
func idsOf(people []*servicev1.PersonRecord) []string {
	var out []string
	for _, p := range people {
		if !slices.Contains(out, p.GetPersonId()) {
			out = append(out, p.GetPersonId())
		}
	}
	return out
}

// bytesOf writes a result down, byte for byte.
func bytesOf(r *Result) string {
	s := fmt.Sprint(r.People, r.Households, r.Compared, r.Possible, r.Clusters, r.Keys, r.Recall)
	for _, p := range r.Pairs {
		b, _ := proto.MarshalOptions{Deterministic: true}.Marshal(p)
		s += string(b)
	}
	return s
}

// TestFindProperties holds searches to what they promise whatever the people.
func TestFindProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		people := drawPeople(t)
		decisions := drawDecisions(t, idsOf(people))
		r := Find(people, nil, decisions, Options{})
		again := Find(rapid.Permutation(people).Draw(t, "order"), nil, rapid.Permutation(decisions).Draw(t, "order of decisions"), Options{})
		if bytesOf(r) != bytesOf(again) {
			t.Fatalf("the order of the records shows:\n%s", cmp.Diff(r.Pairs, again.Pairs, protocmp.Transform()))
		}
		profiles := map[string]profile{}
		for _, p := range gather(people) {
			profiles[p.id] = p
		}
		links, cannot := Decided(decisions)
		for i, p := range r.Pairs {
			sum := p.GetPriorWeight()
			for _, e := range p.GetEvidence() {
				sum += e.GetWeight()
			}
			if math.Abs(sum-p.GetWeight()) > 1e-9 || math.IsNaN(sum) || math.IsInf(sum, 0) {
				t.Fatalf("evidence adds up to %v, weight is %v", sum, p.GetWeight())
			}
			if math.Abs(probability(p.GetWeight())-p.GetProbability()) > 1e-12 {
				t.Fatalf("probability %v of weight %v", p.GetProbability(), p.GetWeight())
			}
			if p.GetAId() >= p.GetBId() {
				t.Fatalf("ids %q, %q are not in order", p.GetAId(), p.GetBId())
			}
			if i > 0 && r.Pairs[i-1].GetWeight() < p.GetWeight() {
				t.Fatal("pairs are not heaviest first")
			}
			pair := ordered(p.GetAId(), p.GetBId())
			want := servicev1.DecisionKind_DECISION_KIND_UNSPECIFIED
			if links[pair] != "" {
				want = servicev1.DecisionKind_DECISION_KIND_LINK
			} else if cannot[pair] != "" {
				want = servicev1.DecisionKind_DECISION_KIND_CANNOT_LINK
			}
			if p.GetDecision() != want {
				t.Fatalf("decision %v, want %v", p.GetDecision(), want)
			}
			if p.GetSubject() != servicev1.LinkSubject_LINK_SUBJECT_PERSON {
				continue
			}
			a, b := profiles[p.GetAId()], profiles[p.GetBId()]
			if want == servicev1.DecisionKind_DECISION_KIND_UNSPECIFIED && listedTogether(a, b) {
				t.Fatalf("two people of one roster proposed:\n%s", Text(p))
			}
			e, f := Explain(a.records, b.records, r.Model), Explain(b.records, a.records, r.Model)
			if d := cmp.Diff(e, f, protocmp.Transform()); d != "" {
				t.Fatalf("Explain is not symmetric:\n%s", d)
			}
			e.Decision, e.DecisionId = p.Decision, p.DecisionId
			if d := cmp.Diff(p, e, protocmp.Transform()); d != "" {
				t.Fatalf("Explain tells something else than Find:\n%s", d)
			}
		}
	})
}

// listedTogether says whether two people stand on one roster of one interview.
func listedTogether(a, b profile) bool {
	for _, x := range a.records {
		for _, y := range b.records {
			if x.GetHouseholdId() != "" && x.GetHouseholdId() == y.GetHouseholdId() && x.GetInterviewId() == y.GetInterviewId() {
				return true
			}
		}
	}
	return false
}

// TestUndoRestores takes a decision back and expects everything as before; and takes the undo back.
func TestUndoRestores(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		people := records(village(12)...)
		ids := idsOf(people)
		before := drawDecisions(t, ids)
		kind := servicev1.DecisionKind(rapid.IntRange(1, 2).Draw(t, "last"))
		last := &servicev1.LinkDecision{
			DecisionId: proto.String("last"), Kind: kind.Enum(), TimeMs: proto.Int64(10),
			AId: proto.String(rapid.SampledFrom(ids).Draw(t, "a")), BId: proto.String(rapid.SampledFrom(ids).Draw(t, "b")),
		}
		undo := func(id, what string, ms int64) *servicev1.LinkDecision {
			return &servicev1.LinkDecision{
				DecisionId: proto.String(id), Kind: servicev1.DecisionKind_DECISION_KIND_UNDO.Enum(), Undoes: proto.String(what), TimeMs: proto.Int64(ms),
			}
		}
		with := append(slices.Clone(before), last)
		undone := append(slices.Clone(with), undo("undo", "last", rapid.Int64Range(0, 20).Draw(t, "clock")))
		redone := append(slices.Clone(undone), undo("undo of undo", "undo", 30))
		state := func(d []*servicev1.LinkDecision) string {
			links, cannot := Decided(d)
			return fmt.Sprint(links, cannot, Canonical(people, d))
		}
		if got, want := state(undone), state(before); got != want {
			t.Fatalf("undone:\n%s\nbefore:\n%s", got, want)
		}
		if got, want := state(redone), state(with); got != want {
			t.Fatalf("redone:\n%s\ndecided:\n%s", got, want)
		}
	})
}

// TestCanonicalProperties: every id maps to one that maps to itself, and nobody stands together with whom he must not.
func TestCanonicalProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		people := records(village(10)...)
		decisions := drawDecisions(t, idsOf(people))
		c := Canonical(people, decisions)
		if len(c) != 10 {
			t.Fatalf("%d people, want 10", len(c))
		}
		for id, to := range c {
			if c[to] != to {
				t.Fatalf("%s stands for %s but itself for %s", id, to, c[to])
			}
		}
		_, cannot := Decided(decisions)
		for pair := range cannot {
			if c[pair[0]] == c[pair[1]] {
				t.Fatalf("%v must not be linked and are", pair)
			}
		}
	})
}
