package dedup

import (
	"slices"
	"strings"
)

// Shares from which a column counts as made of others.
const (
	mostlyInside = .85 // of the values of one column that stand in those of another
	littleBeside = .05 // of the rows in which a column says anything beside its parts
	mostDerived  = 40  // columns that are looked at
)

// derive finds columns that repeat others, such as a full name beside a first name and a surname: what is said twice
// would count twice. A column that says nothing more is left out; of one that does, what it says beside its parts is
// compared.
func derive(t *Table, in []guess) {
	var texts []int
	for i, g := range in {
		if g.role == roleCompare && (g.kind == kindText || g.kind == kindPerson) && g.parts[0] < 0 && len(texts) < mostDerived {
			texts = append(texts, i)
		}
	}
	if len(texts) < 2 {
		return
	}
	n := t.len()
	rows := min(n, 2000)
	told := make([][][]string, len(in)) // words by column and sampled row
	for _, i := range texts {
		told[i] = make([][]string, rows)
		for r := range rows {
			told[i][r] = words(spelling().plain(t.value(int(int64(r)*int64(n)/int64(rows)), in[i].col)))
		}
	}
	inside := func(part, whole int) bool {
		both, held, longer := 0, 0, 0
		for r := range rows {
			p, w := told[part][r], told[whole][r]
			if len(p) == 0 || len(w) == 0 {
				continue
			}
			both++
			if len(without(w, p)) == len(w)-len(p) {
				held++
			}
			if len(w) > len(p) {
				longer++
			}
		}
		return both > 20 && float64(held) >= mostlyInside*float64(both) && (longer*2 > both || held == both && longer == 0 && part < whole)
	}
	for _, whole := range texts {
		var parts []int
		for _, part := range texts {
			if part != whole && in[part].role == roleCompare && in[part].minus == nil && inside(part, whole) {
				parts = append(parts, part)
			}
		}
		if len(parts) == 0 {
			continue
		}
		filled, more := 0, 0
		for r := range rows {
			if left := told[whole][r]; len(left) > 0 {
				filled++
				for _, p := range parts {
					left = without(left, told[p][r])
				}
				if len(left) > 0 {
					more++
				}
			}
		}
		var headers []string
		for _, p := range parts {
			headers = append(headers, in[p].header)
		}
		if g := &in[whole]; float64(more) < littleBeside*float64(filled) {
			g.role, g.why = roleSkip, "says what is in "+strings.Join(headers, " and ")
		} else {
			for _, p := range parts {
				g.minus = append(g.minus, in[p].col)
			}
			g.kind, g.why = kindText, "what it says beside "+strings.Join(headers, " and ")
		}
	}
}

// repeats leaves out columns that hold in every row what an earlier one holds.
func repeats(t *Table, in []guess) {
	n := t.len()
	rows := min(n, 2000)
	seen := map[uint64]string{}
	for i := range in {
		if in[i].role != roleCompare || in[i].parts[0] >= 0 {
			continue
		}
		h := uint64(0)
		for r := range rows {
			h = mix(h, hash(t.value(int(int64(r)*int64(n)/int64(rows)), in[i].col)))
		}
		if other, ok := seen[h]; ok {
			in[i].role, in[i].why = roleSkip, "repeats "+other
			continue
		}
		seen[h] = in[i].header
	}
}

// without takes words out of a list, each as often as it is named.
func without(all, words []string) []string {
	out := slices.Clone(all)
	for _, w := range words {
		if at := slices.Index(out, w); at >= 0 {
			out = slices.Delete(out, at, at+1)
		}
	}
	return out
}

// beside is what a cell says that other cells of the row do not.
func (t *Table) beside(row int, g guess) string {
	left := words(spelling().plain(t.value(row, g.col)))
	for _, c := range g.minus {
		left = without(left, words(spelling().plain(t.value(row, c))))
	}
	return strings.Join(left, " ")
}
