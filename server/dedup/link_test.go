package dedup

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
)

// Two rounds of a real panel without names: only households as wholes tell who was met again.
func TestLinkPanel(t *testing.T) {
	a, b := sharedTable(t, "italy08.csv"), sharedTable(t, "italy10.csv")
	if testing.Short() { // a third of the households will do
		a.Rows, b.Rows = someHouseholds(a.Rows), someHouseholds(b.Rows)
	}
	a.ID, a.Truth = "id", "id"
	r, err := LinkTables(a, b, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s; %+v", r.Households, *r.Score)
	if r.Score.F1 < .75 {
		t.Errorf("F1 %.4f, want .75", r.Score.F1)
	}
	if r.Score.BestF1-r.Score.F1 > .005 {
		t.Errorf("F1 %.4f at the threshold of the engine, %.4f at the best one", r.Score.F1, r.Score.BestF1)
	}
	if !strings.Contains(r.Households, "whole households") {
		t.Errorf("it does not say that households decided: %q", r.Households)
	}
	for i := range r.Pairs[:50] {
		p := explained(t, r, i)
		sum := p.GetPriorWeight()
		for _, e := range p.GetEvidence() {
			sum += e.GetWeight()
		}
		if math.Abs(sum-p.GetWeight()) > 1e-6 {
			t.Fatalf("the rows of a pair add up to %f, its weight is %f", sum, p.GetWeight())
		}
	}
}

func someHouseholds(rows [][]string) [][]string {
	var out [][]string
	for _, r := range rows {
		if id := r[0]; hash(id[:len(id)-1])%3 == 0 {
			out = append(out, r)
		}
	}
	return out
}

// people makes two tables with some people in both, told with errors the second time.
func people(n int) (a, b Table) {
	rng := rand.New(rand.NewPCG(7, 7))
	family := []string{"wang", "li", "zhang", "liu", "chen", "yang", "zhao", "huang", "zhou", "wu"}
	given := []string{"wei", "fang", "na", "min", "jing", "li", "qiang", "lei", "jun", "yang", "yong", "yan", "jie", "tao", "ming"}
	a.Header = []string{"nr", "name", "born", "phone", "who"}
	b.Header = []string{"phone", "born", "nr", "name", "who", "only here"}
	for i := range n {
		name := family[rng.IntN(len(family))] + " " + given[rng.IntN(len(given))] + given[rng.IntN(len(given))]
		born := fmt.Sprintf("%d-%02d-%02d", 1940+rng.IntN(60), 1+rng.IntN(12), 1+rng.IntN(28))
		phone := fmt.Sprintf("13%09d", rng.IntN(1e9))
		who := fmt.Sprint("p", i)
		if i%3 != 0 {
			a.Rows = append(a.Rows, []string{fmt.Sprint("a", i), name, born, phone, who})
		}
		if i%3 != 1 {
			if rng.IntN(5) == 0 {
				phone = fmt.Sprintf("15%09d", rng.IntN(1e9))
			}
			b.Rows = append(b.Rows, []string{phone, born, fmt.Sprint("b", i), name, who, "x"})
		}
	}
	return a, b
}

func TestLinkTables(t *testing.T) {
	a, b := people(900)
	a.ID, a.Truth = "nr", "who"
	r, err := LinkTables(a, b, false)
	if err != nil {
		t.Fatal(err)
	}
	if r.Score.F1 < .98 || r.Score.TruePairs != 300 {
		t.Errorf("%+v", *r.Score)
	}
	for _, c := range r.Clusters {
		if len(c) != 2 || c[0][0] == c[1][0] {
			t.Errorf("a record has partners %v, want one of the other table", c)
		}
	}
	slices.Reverse(a.Rows)
	again, err := LinkTables(a, b, false)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.EqualFunc(r.Clusters, again.Clusters, slices.Equal) {
		t.Error("the order of rows makes a difference")
	}
}

// With many a record may have several partners.
func TestLinkMany(t *testing.T) {
	a, b := people(600)
	a.ID = "nr"
	for _, row := range b.Rows[:20] {
		twin := slices.Clone(row)
		twin[2] += "again"
		b.Rows = append(b.Rows, twin)
	}
	three := func(many bool) int {
		r, err := LinkTables(a, b, many)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, c := range r.Clusters {
			if len(c) > 2 {
				n++
			}
		}
		return n
	}
	if one, many := three(false), three(true); one != 0 || many < 5 {
		t.Errorf("%d records have several partners where one is allowed, and %d where many are", one, many)
	}
}

func TestLinkTablesRefuses(t *testing.T) {
	a, b := people(30)
	for _, c := range []struct {
		what   string
		change func(a, b *Table)
		want   string
	}{
		{"an id that is not there", func(a, b *Table) { a.ID = "number" }, "first table"},
		{"an id that the second has not got", func(a, b *Table) { b.Header[2] = "number" }, "second table"},
		{"nothing in common", func(a, b *Table) { b.Header = []string{"x", "y", "nr", "z", "w", "v"} }, "in common"},
		{"an id twice", func(a, b *Table) { a.Rows = append(a.Rows, a.Rows[0]) }, "more than once"},
		{"a kind that there is not", func(a, b *Table) { a.Kinds = map[string]string{"born": "birthday"} }, "birthday"},
		{"a kind of no column", func(a, b *Table) { a.Kinds = map[string]string{"birth": "date"} }, "birth"},
	} {
		x, y := Table{Header: slices.Clone(a.Header), Rows: a.Rows, ID: "nr"}, Table{Header: slices.Clone(b.Header), Rows: b.Rows}
		c.change(&x, &y)
		_, err := LinkTables(x, y, false)
		if err == nil || !strings.Contains(err.Error(), c.want) || fault.KindOf(err) == fault.Internal {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	empty := Table{Header: a.Header, ID: "nr"}
	if _, err := LinkTables(empty, Table{Header: b.Header}, false); fault.KindOf(err) != fault.Invalid {
		t.Errorf("two tables without rows: %v", err)
	}
}

// Where one of two tables has no rows there is no pair, also among the rows of the other.
func TestLinkEmptyTable(t *testing.T) {
	a, b := people(60)
	a.ID, a.Truth = "nr", "who"
	a.Rows = append(a.Rows, slices.Clone(a.Rows[0]))
	a.Rows[len(a.Rows)-1][0] = "again"
	empty := Table{Header: a.Header, ID: "nr", Truth: "who"}
	for _, tables := range [][2]Table{{empty, a}, {a, {Header: b.Header}}} {
		r, err := LinkTables(tables[0], tables[1], false)
		if err != nil {
			t.Fatal(err)
		}
		if r.Possible != 0 || r.Compared != 0 || len(r.Pairs) > 0 || len(r.Clusters) > 0 || r.Score.TruePairs != 0 {
			t.Errorf("%d pairs were possible, %d compared, %d found, %d true", r.Possible, r.Compared, len(r.Pairs), r.Score.TruePairs)
		}
	}
}

// What is said of a column is believed.
func TestKinds(t *testing.T) {
	a, _ := people(60)
	a.ID, a.Kinds = "nr", map[string]string{"phone": "text", "who": "skip"}
	r, err := FindTable(a)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Columns {
		if c.Header == "phone" && c.Kind != "text" || c.Header == "who" && c.Kind != "" {
			t.Errorf("column %s was taken for %q", c.Header, c.Kind)
		}
	}
}

func TestHousesOfIDs(t *testing.T) {
	var counted, counters []string
	for i := range 50 {
		for m := range 1 + i%4 {
			counted = append(counted, fmt.Sprint(100+i, m+1))
		}
		counters = append(counters, fmt.Sprint(1000+i))
	}
	clean := slices.Clone(counted)
	for i := range clean {
		clean[i] = strings.ReplaceAll(clean[i], " ", "")
	}
	seen := func(ids []string, first int) bool {
		h := housesOfIDs(ids, first)
		return !h.none()
	}
	if h := housesOfIDs(clean, 60); h.none() || h.of(1)[0] == h.of(0)[0] || h.of(1)[0] != h.of(2)[0] {
		t.Error("ids that number the members of households were not seen")
	}
	if seen(counters, 25) || seen(counted, 60) || seen([]string{"rec-11", "rec-12"}, 1) {
		t.Error("households were seen in ids that have none")
	}
}

// The best partners are found, not the first good ones.
func TestMatchUp(t *testing.T) {
	gain, partner := matchUp([][]float64{{5, 4, -1}, {4, 1, -1}}, 3)
	if gain != 8 || !slices.Equal(partner, []int{1, 0}) {
		t.Errorf("partners %v for %f", partner, gain)
	}
	gain, partner = matchUp([][]float64{{-3, -1}}, 2)
	if gain != 0 || partner[0] != -1 {
		t.Errorf("partners %v for %f where none is worth it", partner, gain)
	}
}

func TestBCubed(t *testing.T) {
	// Clusters {1,2,3} {4}; people {1,2} {3,4}.
	m := score([]int32{0, 0, 0, 3}, []int32{0, 0, 1, 1}, nil, 0, -1).BCubed
	p := (2.0/3 + 2.0/3 + 1.0/3 + 1) / 4
	r := (1 + 1 + .5 + .5) / 4
	if math.Abs(m.Precision-p) > 1e-12 || math.Abs(m.Recall-r) > 1e-12 || math.Abs(m.F1-2*p*r/(p+r)) > 1e-12 {
		t.Errorf("%+v, want %f %f", m, p, r)
	}
}
