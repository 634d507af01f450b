package export

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

// mostCombinations is how many combinations of quasi-identifiers of one table are counted: with more nearly all belong to
// one alone, and counting them would need memory without bound.
const mostCombinations = 300_000

// shownCombinations is how many combinations are told.
const shownCombinations = 20

// gate sees that no combination of the quasi-identifiers of a table, with those of the tables above it, belongs to fewer
// than k. Who belongs to a combination are different households (or schools, or people, where they are what was interviewed), so
// that five spells of one person, five children of one household, or five rounds of a panel, do not count as five.
type gate struct {
	table *Table
	above *gate // of the nearest table above that has one
	cols  []int
	asked [][]int // by quasi-identifier: the questions whose reasons for no answer are its own, the innermost first
	k     int

	last    string // the combination of the row at hand, with those above
	texts   map[string]uint64
	classes map[string]*class
	over    bool
	labels  map[string]string // of the combinations, while they are rare

	blanked []int64 // by quasi-identifier
	dropped int64
	notices []string
}

// class is one combination. Who belongs to it is remembered as long as they are fewer than k.
type class struct {
	n       int // distinct, at most k
	rows    int64
	members []uint32
	keep    int // how many of the quasi-identifiers stay; less than 0: the row goes
}

// has says whether a column is among the quasi-identifiers.
func (g *gate) has(col int) bool { return g != nil && slices.Contains(g.cols, col) }

// layGates finds the quasi-identifiers of a public export.
func (p *privacy) layGates(plan *Plan) error {
	chosen := map[string]bool{}
	for _, q := range p.opts.Quasi {
		chosen[q] = true
	}
	found := map[string]bool{}
	for _, t := range plan.Tables {
		if t.left {
			continue
		}
		g := &gate{table: t, k: p.opts.K, texts: map[string]uint64{}, classes: map[string]*class{}, labels: map[string]string{}}
		for above := t.Parent; above != nil && g.above == nil; above = above.Parent {
			g.above = p.gates[above]
		}
		for i, c := range t.Columns {
			if c.hidden || i < t.Keys {
				continue
			}
			name := t.Name + "." + c.Name
			marked := (c.Personal == formv1.PersonalData_PERSONAL_DATA_QUASI_IDENTIFIER || placeName(c)) && countable(p.rules[t][i])
			switch {
			case chosen[name]:
				found[name] = true
				g.cols = append(g.cols, i)
			case marked && len(chosen) > 0:
				c.hidden = true
				p.left["quasi-identifiers that were not chosen"]++
			case marked:
				g.cols = append(g.cols, i)
			}
		}
		if len(g.cols) > 0 {
			g.blanked = make([]int64, len(g.cols))
			for _, i := range g.cols {
				g.asked = append(g.asked, t.questionsOf(i))
			}
			p.gates[t] = g
			p.order = append(p.order, g)
		}
	}
	for _, q := range p.opts.Quasi {
		if !found[q] {
			return fault.New(fault.Invalid, fault.BadRequest, "quasi-identifier %.80q is no variable of a public export: name table.variable as in the codebook, such as person.sex; what is left out anyway cannot be chosen", q)
		}
	}
	return nil
}

// placeName says whether a column names a place: what the code of the place says, or where there is none, the same in words.
func placeName(c *Column) bool {
	return c.field != nil && c.Kind == KindText && c.field.Parent().FullName() == "hearth.survey.v1.Place"
}

// questionsOf are the questions that a column belongs to, the innermost first.
func (t *Table) questionsOf(col int) (out []int) {
	for q := len(t.Questions) - 1; q >= 0; q-- {
		if t.Questions[q].from <= col && col < t.Questions[q].at {
			out = append(out, q)
		}
	}
	return out
}

// reason is why a quasi-identifier has no value, which tells people apart as a value does; 0: nobody says.
func (g *gate) reason(n int, r *row) int32 {
	for _, q := range g.asked[n] {
		if r.why[q] != 0 {
			return r.why[q]
		}
	}
	return 0
}

// countable is false for what is a pseudonym: it says nothing to whoever has no key.
func countable(t treatment) bool {
	switch t {
	case idPseudonym, idsPseudonym, keyReissued, siteCode, staffCode, unitCode, unitCodes, couponCode, couponCodes:
		return false
	}
	return true
}

// combination is the row's, as bytes.
func (g *gate) combination(r *row) string {
	var b []byte
	if g.above != nil {
		b = append(b, g.above.last...)
	}
	for n, i := range g.cols {
		b = g.append(b, r.table.Columns[i].Kind, &r.cells[i], g.reason(n, r))
	}
	g.last = string(b)
	return g.last
}

func (g *gate) append(b []byte, kind Kind, c *cell, why int32) []byte {
	switch {
	case !c.set:
		return append(b, 0, byte(why))
	case kind == KindText || kind == KindDate:
		n, ok := g.texts[c.s]
		if !ok {
			n = uint64(len(g.texts)) + 1
			g.texts[c.s] = n
		}
		return binary.AppendUvarint(append(b, 1), n)
	case kind == KindNumber:
		return binary.BigEndian.AppendUint64(append(b, 2), math.Float64bits(c.f))
	}
	return binary.AppendVarint(append(b, 3), c.i)
}

// meet counts a row of a member.
func (g *gate) meet(r *row, who uint32) {
	key := g.combination(r)
	if g.over {
		return
	}
	c := g.classes[key]
	if c == nil {
		if len(g.classes) >= mostCombinations {
			g.over, g.classes, g.texts, g.labels = true, nil, map[string]uint64{}, nil
			return
		}
		c = &class{keep: len(g.cols)}
		g.classes[key] = c
		g.labels[key] = g.describe(r)
	}
	c.rows++
	if c.n < g.k && !slices.Contains(c.members, who) {
		c.members = append(c.members, who)
		if c.n++; c.n == g.k {
			c.members = nil
			delete(g.labels, key)
		}
	}
}

// describe says a combination in words.
func (g *gate) describe(r *row) string {
	var parts []string
	for n, i := range g.cols {
		c := r.table.Columns[i]
		v := "(none)"
		if why := g.reason(n, r); why != 0 {
			v = "(" + reason(why) + ")"
		}
		if cl := &r.cells[i]; cl.set {
			switch c.Kind {
			case KindText, KindDate:
				v = cl.s
			case KindNumber:
				v = fmt.Sprint(cl.f)
			default:
				v = fmt.Sprint(cl.i)
				if l := c.label[int32(cl.i)]; l != nil {
					v = wording(l, "en")
				}
			}
		}
		parts = append(parts, c.Name+"="+v)
	}
	return strings.Join(parts, ", ")
}

// settle refuses, or decides how much of each rare combination stays.
func (g *gate) settle(suppress bool) error {
	if g.over {
		return fault.New(fault.Conflict, fault.NotAnonymous, "table %s has more than %d combinations of %s, so that nearly everybody stands alone: choose fewer with --quasi", g.table.Name, mostCombinations, g.listed())
	}
	rare, rows := 0, int64(0)
	for _, c := range g.classes {
		if c.n < g.k {
			rare++
			rows += c.rows
		}
	}
	if rare == 0 {
		return nil
	}
	shown := g.worst()
	said := fmt.Sprintf("table %s: %d combinations of %s belong to fewer than %d, %d rows in all", g.table.Name, rare, g.listed(), g.k, rows)
	if !suppress {
		return fault.New(fault.Conflict, fault.NotAnonymous, "%s: %s", said, strings.Join(shown, "; "))
	}
	g.suppress()
	g.notices = append(g.notices, said+"; they were blanked")
	g.notices = append(g.notices, shown...)
	g.labels = nil
	return nil
}

func (g *gate) listed() string {
	var out []string
	for _, i := range g.cols {
		out = append(out, g.table.Columns[i].Name)
	}
	return strings.Join(out, ", ")
}

// worst are the rarest combinations.
func (g *gate) worst() []string {
	keys := slices.Collect(maps.Keys(g.labels))
	slices.SortFunc(keys, func(a, b string) int {
		return cmp.Or(cmp.Compare(g.classes[a].n, g.classes[b].n), cmp.Compare(g.labels[a], g.labels[b]), cmp.Compare(a, b))
	})
	var out []string
	for i, k := range keys {
		if i == shownCombinations {
			out = append(out, fmt.Sprintf("and %d more", len(keys)-i))
			break
		}
		out = append(out, fmt.Sprintf("%s (%d)", g.labels[k], g.classes[k].n))
	}
	return out
}

// suppress blanks the last quasi-identifiers of rare combinations, as few as leave k of those blanked alike: a row that
// is blanked differs from one that is not, so the two do not hide one another. What finds no k even when all are blanked
// goes.
func (g *gate) suppress() {
	var rest []string
	for _, key := range slices.Sorted(maps.Keys(g.classes)) {
		if g.classes[key].n < g.k {
			rest = append(rest, key)
		}
	}
	for keep := len(g.cols) - 1; keep >= 0 && len(rest) > 0; keep-- {
		groups := map[string][]string{}
		for _, key := range rest {
			p := g.prefix(key, keep)
			groups[p] = append(groups[p], key)
		}
		rest = nil
		for _, p := range slices.Sorted(maps.Keys(groups)) {
			who := map[uint32]bool{}
			for _, key := range groups[p] {
				for _, m := range g.classes[key].members {
					who[m] = true
				}
			}
			if len(who) < g.k {
				rest = append(rest, groups[p]...)
				continue
			}
			for _, key := range groups[p] {
				g.classes[key].keep = keep
			}
		}
	}
	for _, key := range rest {
		g.classes[key].keep = -1
	}
}

// prefix is the combination of the first quasi-identifiers of a key alone, behind those of the tables above.
func (g *gate) prefix(key string, keep int) string {
	var ends []int
	for at := 0; at < len(key); {
		switch key[at] {
		case 0:
			at += 2
		case 1:
			_, n := binary.Uvarint([]byte(key[at+1:]))
			at += 1 + n
		case 2:
			at += 9
		default:
			_, n := binary.Varint([]byte(key[at+1:]))
			at += 1 + n
		}
		ends = append(ends, at)
	}
	if n := len(ends) - len(g.cols) + keep; n > 0 {
		return key[:ends[n-1]]
	}
	return ""
}

// pass blanks what is to be blanked of a row, and says whether the row stays.
func (g *gate) pass(r *row) bool {
	c := g.classes[g.combination(r)]
	if c == nil {
		return false // the data have changed since; the counts of rows will tell
	}
	if c.keep < 0 {
		g.dropped++
		return false
	}
	for n, i := range g.cols[c.keep:] {
		if n += c.keep; r.cells[i].set || g.reason(n, r) != 0 {
			r.cells[i] = cell{}
			g.blanked[n]++
		}
		for _, q := range g.asked[n] {
			r.why[q] = 0
		}
	}
	return true
}

// topValues finds the k-th highest value of a variable, of each member the highest alone, which stands for all above it: the
// highest are shared by k members then.
type topValues struct {
	k       int
	values  []topValue // the highest, ascending, each of another member
	lowered int64
}

type topValue struct {
	v   float64
	who uint32
}

func (t *topValues) add(v float64, who uint32) {
	if math.IsNaN(v) {
		return
	}
	if i := slices.IndexFunc(t.values, func(o topValue) bool { return o.who == who }); i >= 0 {
		if t.values[i].v >= v {
			return
		}
		t.values = slices.Delete(t.values, i, i+1)
	}
	at, _ := slices.BinarySearchFunc(t.values, v, func(o topValue, v float64) int { return cmp.Compare(o.v, v) })
	if t.values = slices.Insert(t.values, at, topValue{v, who}); len(t.values) > t.k {
		t.values = slices.Delete(t.values, 0, 1)
	}
}

// value is what stands for all above it: with fewer members than k, the lowest of all.
func (t *topValues) value() float64 {
	if len(t.values) == 0 {
		return math.Inf(1)
	}
	return t.values[0].v
}

func (t *topValues) cut(col *Column, c *cell) {
	if top := t.value(); amount(col, c) > top {
		t.lowered++
		c.f = top
		if col.Kind == KindInteger {
			c.f, c.i = 0, int64(top)
		}
	}
}

func amount(col *Column, c *cell) float64 {
	if col.Kind == KindInteger {
		return float64(c.i)
	}
	return c.f
}
