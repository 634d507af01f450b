package dedup

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
)

// ask answers the questions about which a result is least sure, by the truth.
func ask(r *TableResult, t Table, n int) []TableAnswer {
	truth := map[string]string{}
	id, who := slices.Index(t.Header, t.ID), slices.Index(t.Header, t.Truth)
	for _, row := range t.Rows {
		truth[row[id]] = row[who]
	}
	pairs := slices.Clone(r.edges)
	slices.SortFunc(pairs, func(a, b edge) int {
		return cmp.Or(cmp.Compare(math.Abs(a.weight-r.Threshold), math.Abs(b.weight-r.Threshold)), compareEdges(a, b))
	})
	var out []TableAnswer
	for _, p := range pairs[:min(n, len(pairs))] {
		a, b := r.ids[p.a], r.ids[p.b]
		out = append(out, TableAnswer{a, b, truth[a] == truth[b]})
	}
	return out
}

// TestAnswersHelp asks a person fifty questions: on a hard set the answers raise F1, on none they lower it.
func TestAnswersHelp(t *testing.T) {
	fake := sharedTable(t, "fake_1000.csv")
	fake.ID, fake.Truth = "unique_id", "cluster"
	for _, test := range []struct {
		name  string
		table Table
		rise  float64
	}{
		{"register", register(3), .008},
		{"historical", historical(2500, 1), -.002},
		{"fake_1000", fake, -.002},
	} {
		if testing.Short() && test.name != "fake_1000" {
			continue
		}
		before, err := FindTable(test.table)
		if err != nil {
			t.Fatal(err)
		}
		test.table.Answers = ask(before, test.table, 50)
		after, err := FindTable(test.table)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: F1 %.4f, with 50 answers %.4f; weights shifted by %.2f", test.name, before.Score.F1, after.Score.F1, after.model.shift-before.model.shift)
		if after.Score.F1 < before.Score.F1+test.rise {
			t.Errorf("%s: F1 %.4f, with 50 answers %.4f", test.name, before.Score.F1, after.Score.F1)
		}
		at := map[string]int{}
		for i, c := range after.Clusters {
			for _, id := range c {
				at[id] = i + 1
			}
		}
		for _, a := range test.table.Answers {
			if together := at[a.A] > 0 && at[a.A] == at[a.B]; together != a.Same {
				t.Errorf("%s: %s and %s: together %v, the answer was %v", test.name, a.A, a.B, together, a.Same)
			}
			p, err := after.Explain(a.A, a.B)
			if err != nil || p.Decision == nil {
				t.Fatalf("the explanation does not tell the answer: %v %v", p, err)
			}
		}
	}
}

// TestAnswersAreBounded expects a few wrong answers to move weights by a bounded number of bits, and no answer to move none.
func TestAnswersAreBounded(t *testing.T) {
	people := town(400)
	m := Find(people, nil, nil, Options{}).Model
	if m.Taught(nil) != m {
		t.Error("no answers make another model")
	}
	var wrong []Answer
	for i := range 12 {
		wrong = append(wrong, Answer{NewPerson(people[i : i+1]), NewPerson(people[i+20 : i+21]), true})
	}
	taught := m.Taught(wrong)
	slices.Reverse(wrong)
	if other := m.Taught(wrong); math.Abs(other.prior-taught.prior) > 1e-9 {
		t.Errorf("the order of the answers shows: %v, %v", other.prior, taught.prior)
	}
	if d := taught.prior - m.prior; !(d > .5 && d <= mostTaught) {
		t.Errorf("twelve wrong answers shift weights by %v bits", d)
	}
	for i := range people[:50] {
		for j := range people[:i] {
			a, b := NewPerson(people[i:i+1]), NewPerson(people[j:j+1])
			if d := math.Abs(taught.Weigh(a, b) - m.Weigh(a, b)); !(d < 20) {
				t.Fatalf("twelve answers move a weight by %v bits", d)
			}
		}
	}
	data, err := taught.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := UnmarshalModel(data); err != nil {
		t.Errorf("a model that was taught cannot be kept: %v", err)
	}
}

// TestAnswersRefused expects answers about records that are not there to be refused, and contradictions to be borne.
func TestAnswersRefused(t *testing.T) {
	a, b := people(60)
	a.ID = "nr"
	for _, answer := range []TableAnswer{{"a1", "nobody", true}, {"", "a1", false}, {"a1", "a1", true}} {
		x := a
		x.Answers = []TableAnswer{answer}
		if _, err := FindTable(x); fault.ReasonOf(err) != fault.BadAnswers {
			t.Errorf("%v: %v", answer, err)
		}
	}
	a.Answers = []TableAnswer{{"a1", "a2", true}, {"a2", "a7", true}, {"a1", "a7", false}, {"a1", "a2", false}, {"a2", "a1", true}}
	r, err := FindTable(a)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Clusters {
		if slices.Contains(c, "a1") && slices.Contains(c, "a7") {
			t.Errorf("what must not be linked is: %v", c)
		}
	}
	a.Answers = []TableAnswer{{"a2", "b3", true}}
	linked, err := LinkTables(a, b, false)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(linked.Clusters, func(c []string) bool { return slices.Equal(c, []string{"a2", "b3"}) }) {
		t.Errorf("a link that was decided is not there: %v", linked.Clusters)
	}
}

// TestReadAnswers reads answers with and without a header, and refuses what says nothing.
func TestReadAnswers(t *testing.T) {
	for text, want := range map[string]int{"a,b,yes\nc,d,no\n": 2, "id_a,id_b,answer\na,b,是\nc,d,0\n": 2, "first,second,answer\na,b,Yes\n": 1} {
		got, err := ReadAnswers(strings.NewReader(text))
		if err != nil || len(got) != want {
			t.Errorf("%q: %v, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "a,b\nc,d\n", "x,y,z\na,b,perhaps\n", "x,y,z\na,b\n"} {
		if _, err := ReadAnswers(strings.NewReader(text)); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}
