package dedup

import (
	"math"
	"slices"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
)

// LinkTables finds the records of one person in two tables, such as two rounds of a panel, comparing no two records of
// one table. Columns go together by their headers, those that only one table has are left out. A record has one partner
// at most, unless many is set. Where both tables say who lives with whom, in a column or by ids that number the members of a
// household, whole households are compared too, and decide where they tell more than people by themselves. The options of a
// are used for both: its id and truth columns are to be in b too.
func LinkTables(a, b Table, many bool) (*TableResult, error) {
	ca, err := a.use()
	if err != nil {
		return nil, fault.New(fault.KindOf(err), fault.ReasonOf(err), "the first table: %w", err)
	}
	b.ID, b.Truth = a.ID, a.Truth
	cb, err := b.use()
	if err != nil {
		return nil, fault.New(fault.KindOf(err), fault.ReasonOf(err), "the second table: %w", err)
	}
	sa, idsA, err := a.sorted(ca.id)
	if err != nil {
		return nil, err
	}
	sb, idsB, err := b.sorted(cb.id)
	if err != nil {
		return nil, err
	}
	if err := a.checkKinds(); err != nil {
		return nil, err
	}
	both, columns := joined(sa, sb)
	both.Kinds = a.Kinds
	first := int32(sa.len())
	ids := append(slices.Clone(idsA), idsB...)
	opts := Options{}.withDefaults()
	skip := map[int]bool{}
	for _, c := range []int{ca.id, ca.truth} {
		if at := slices.Index(columns, c); c >= 0 && at >= 0 {
			skip[at] = true
		}
	}
	guesses := guessColumns(&both, skip)
	f := both.frame(guesses)
	f.two, f.first, f.roster = true, first, rows{}
	f.apartHouses(ids)
	r := &TableResult{Records: f.n, Possible: f.possible()}
	for _, g := range guesses {
		r.Columns = append(r.Columns, g.shown())
	}
	if len(f.columns) == 0 {
		return nil, fault.New(fault.Invalid, fault.TableTellsNothing, "the two tables have no column in common that tells records apart")
	}
	var truth []int32
	if ca.truth >= 0 {
		in := newInterner()
		for _, column := range []*cells{&sa.columns[ca.truth], &sb.columns[cb.truth]} {
			for i := range column.at {
				truth = append(truth, in.add(column.of(i))-1)
			}
		}
	}
	r.frame, r.ids = f, ids
	answers, err := r.rowsOf(a.Answers)
	if err != nil {
		return nil, err
	}
	l := f.link(opts, many, truth, answers)
	r.Compared, r.Keys, r.Recall, r.Households = l.compared, l.blocking.names, l.blocking.recall, l.households
	r.Clusters, r.Confidence = named(l.roots, ids, l.sure)
	r.decided, r.Threshold, r.Doubt = l.decided, l.threshold, l.doubt
	r.keep(l.model, l.edges, l.roots, answers)
	if ca.truth >= 0 {
		r.Score = score(l.roots, truth, l.edges, l.truth, first)
	}
	return r, nil
}

// used are the columns of a table with a use of their own; -1 for none.
type used struct{ id, truth int }

func (t *Table) use() (used, error) {
	u := used{-1, -1}
	var err error
	if t.ID != "" {
		if u.id, err = t.find(t.ID, "record ids"); err != nil {
			return u, err
		}
	}
	if t.Truth != "" {
		if u.truth, err = t.find(t.Truth, "truth"); err != nil {
			return u, err
		}
	}
	return u, nil
}

// joined is two tables below one another, with the columns that both have; columns are their places in the first.
func joined(a, b Table) (both Table, columns []int) {
	var inB []int
	fold := func(h string) string { return strings.ToLower(strings.TrimSpace(h)) }
	for i, h := range a.Header {
		if j := slices.IndexFunc(b.Header, func(g string) bool { return fold(g) == fold(h) }); j >= 0 {
			both.Header = append(both.Header, h)
			columns, inB = append(columns, i), append(inB, j)
		}
	}
	for x, i := range columns {
		in := newInterner()
		var at []int32
		for _, column := range []cells{a.columns[i], b.columns[inB[x]]} {
			numbers := make([]int32, column.values.len())
			for v := range numbers {
				numbers[v] = in.add(column.values.of(int32(v)))
			}
			for _, v := range column.at {
				at = append(at, numbers[v])
			}
		}
		both.columns = append(both.columns, cells{in.texts(), at})
	}
	return both, columns
}

// apartHouses numbers the households of the two tables apart: one number in both says nothing. Where no column names
// households, ids that number their members do.
func (f *frame) apartHouses(ids []string) {
	numbers := map[[2]int64]int32{}
	number := func(i int32, house int64) int32 {
		key := [2]int64{house, 0}
		if i >= f.first {
			key[1] = 1
		}
		n, ok := numbers[key]
		if !ok {
			n = int32(len(numbers))
			numbers[key] = n
		}
		return n
	}
	if f.house.none() {
		f.house = housesOfIDs(ids, int(f.first))
	}
	for i := range ids {
		if f.house.none() {
			return
		}
		row := f.house.of(i) // its own numbers, for they are changed
		for x := range row {
			row[x] = number(int32(i), int64(row[x]))
		}
	}
}

// housesOfIDs reads households from ids of which the last digit counts the members of a household from 1, as those of
// many panels do; none where the ids are not of that kind.
func housesOfIDs(ids []string, first int) rows {
	house := newLists[int32](len(ids))
	numbers := map[string]int32{}
	members := map[string]int{}
	for i, id := range ids {
		n := len(id) - 1
		if n < 2 || id[n] < '1' || id[n] > '9' || digitsOf(id) != id {
			return rows{}
		}
		house.add([]int32{intern(numbers, id[:n])})
		side := "a"
		if i >= first {
			side = "b"
		}
		members[side+id[:n]] |= 1 << (id[n] - '0')
	}
	begun, several, full := 0, 0, 0
	for _, m := range members {
		if m&2 != 0 {
			begun++
		}
		if m&(m-1) != 0 {
			several++
		}
		if m == 0x3fe {
			full++
		}
	}
	if n := len(members); begun*10 < n*9 || several*4 < n || full*4 > n {
		return rows{}
	}
	return newRows(house)
}

// linked is what linking two tables came to.
type linked struct {
	model    *Model
	blocking *blocking
	*found
	roots      []int32
	sure       map[int32]float64 // of each cluster, by root
	households string
	threshold  float64
	doubt      string
	decided    bool // by whole households
}

// link compares the two halves of a frame.
func (f *frame) link(opts Options, many bool, truth []int32, answers *answered) *linked {
	l := &linked{blocking: f.block(opts)}
	l.model, l.found = f.learn(l.blocking, opts, truth)
	l.model, l.found = f.teach(l.model, l.blocking, l.found, answers, truth)
	m := l.model
	if !many {
		rivals(f.n, l.edges)
	}
	apart := func(i, j int32) bool {
		return !many && (i < f.first) == (j < f.first) || answers.apart[[2]int32{min(i, j), max(i, j)}]
	}
	least, f1, matches := threshold(l.edges)
	l.threshold, l.doubt = least, doubt(f1, matches)
	joins := &joinings{least: l.threshold}
	l.roots = group(f.n, raised(l.edges, l.threshold), apart, answers.together, joins.add)
	l.sure = joins.sure(l.roots)
	if f.house.none() || many {
		return l
	}
	single := expected(l.edges, l.roots)
	pairs, _ := f.pairs(l.blocking.blocks, 1)
	links := answers.correct(f.linkHouseholds(m, pairs))
	both := 0.0
	for _, e := range links {
		both += probability(e.weight)
	}
	if both <= single*1.02 {
		l.households = "people by themselves tell as much as their households"
		return l
	}
	l.households = "whole households were compared, which tell more than people by themselves"
	l.decided, l.doubt = true, ""
	decided := map[[2]int32]float64{}
	for _, e := range links {
		decided[[2]int32{e.a, e.b}] = e.weight
	}
	for x, e := range l.edges { // what households decide against is no link any more
		if w, ok := decided[[2]int32{e.a, e.b}]; ok {
			l.edges[x].weight = w
		} else {
			l.edges[x].weight = min(e.weight, -1)
		}
		delete(decided, [2]int32{e.a, e.b})
	}
	for _, e := range links {
		if _, left := decided[[2]int32{e.a, e.b}]; left {
			l.edges = append(l.edges, e)
		}
	}
	for i := range l.roots {
		l.roots[i] = int32(i)
	}
	l.sure = map[int32]float64{}
	for _, e := range links {
		l.roots[e.b] = e.a
		l.sure[e.a] = probability(e.weight)
	}
	return l
}

// rivals weighs links against each other where a record can have one partner only: a record that is like ten others as
// well as can be is each of them with a tenth of the chance.
func rivals(n int, edges []edge) {
	sum := make([]float64, n)
	odds := func(e edge) float64 { return math.Exp2(min(e.weight, 60)) }
	for _, e := range edges {
		sum[e.a] += odds(e)
		sum[e.b] += odds(e)
	}
	for i, e := range edges {
		o := odds(e)
		edges[i].weight = log2(o) - log2(1+max(sum[e.a], sum[e.b])-o)
	}
}

// expected is how many of the links that were made are right, by their own probabilities.
func expected(edges []edge, roots []int32) float64 {
	sum := 0.0
	for _, e := range edges {
		if roots[e.a] == roots[e.b] {
			sum += probability(e.weight)
		}
	}
	return sum
}

// correct makes links of households keep to what was decided about pairs.
func (a *answered) correct(links []edge) []edge {
	taken := map[int32]bool{}
	for _, p := range a.together {
		taken[p[0]], taken[p[1]] = true, true
	}
	links = slices.DeleteFunc(links, func(e edge) bool { return a.apart[[2]int32{e.a, e.b}] || taken[e.a] || taken[e.b] })
	for _, p := range a.together {
		links = append(links, edge{p[0], p[1], mostEdge})
	}
	return links
}
