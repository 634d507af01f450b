package dedup

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
)

// Table is any table of records, for linkage without a study.
type Table struct {
	Header []string
	// Rows may be shorter or longer than the header; what is missing is empty, what is too much is left out. A table that
	// was read from a file has none: it is kept by columns.
	Rows [][]string
	// ID names the column that identifies a record; empty means that the number of the row does, from 1.
	ID string
	// Kinds says by header what columns hold, where that is not to be guessed: a kind of ColumnGuess, with - for the space,
	// or "pinyin" or "skip".
	Kinds map[string]string
	// Truth names a column that is the same for records of one person; it is never compared, only scored against.
	Truth string
	// Answers are what somebody decided about pairs: they hold whatever else speaks against them, and the engine learns from
	// them.
	Answers []TableAnswer

	columns []cells // of Rows, or of a file that was read
}

// ColumnGuess says what a column of a table was taken for.
type ColumnGuess struct {
	Header string `json:"header"`
	// Kind is "name", "date", "phone", "resident id", "number", "place", "category" or "text"; "household" for the column
	// that puts records on one roster; empty if the column is not used.
	Kind string `json:"kind"`
	// Why says it in words.
	Why string `json:"why"`
}

// TableResult is what a search in a table found.
type TableResult struct {
	Records            int
	Compared, Possible int64
	// Columns says what each column was taken for.
	Columns []ColumnGuess
	// Keys names the blocking keys that were chosen; Recall is the share of true pairs that they are expected to
	// reach, or that they are seen to reach where there are clusters enough.
	Keys   []string
	Recall float64
	// Pairs holds the pairs of probability 0.1 and more, and those compared that stand in one cluster, heaviest first. Ids
	// are those of the id column.
	Pairs []TablePair
	// Threshold is the weight in bits from which records count as one person, set by the engine for this table.
	Threshold float64
	// Doubt is a word of warning where the table does not tell its people apart.
	Doubt string
	// Clusters holds the ids of records that are taken for one person, two or more to a cluster.
	Clusters [][]string
	// Confidence says of each cluster how probable the least sure of the joins is that made it, by the average of the pairs that it
	// brought together; 1 where answers alone made it.
	Confidence []float64
	// Households says of two tables whether whole households were compared, and why; empty where there are none.
	Households string
	// Score compares the clusters with the truth column; nil if none was named.
	Score *Score

	frame   *frame
	model   *Model
	ids     []string
	edges   []edge // in order of their records
	answers *answered
	// decided says that whole households were compared, and not people by themselves.
	decided bool
}

// Score is how well a search did against known truth, over pairs of records.
type Score struct {
	// TruePairs are in the truth, FoundPairs in the clusters, RightPairs in both.
	TruePairs, FoundPairs, RightPairs int64
	Precision, Recall, F1             float64
	// BCubed are the measures over records in place of pairs (Bagga and Baldwin 1998).
	BCubed Measures
	// BestF1 is what the best threshold on pair weights, known only afterwards, would have given without clusters.
	BestF1 float64
	// Blocked is the share of true pairs that were compared at all.
	Blocked float64
}

// Measures are precision, recall and F1.
type Measures struct{ Precision, Recall, F1 float64 }

// find returns the position of a named column.
func (t *Table) find(name, use string) (int, error) {
	if at := slices.Index(t.Header, name); at >= 0 {
		return at, nil
	}
	return 0, fault.New(fault.NotFound, fault.ColumnUnknown, "there is no column %q for the %s; the columns are %s", name, use, strings.Join(t.Header[:min(len(t.Header), 40)], ", "))
}

// len is the number of rows.
func (t *Table) len() int {
	if len(t.columns) == 0 {
		return 0
	}
	return len(t.columns[0].at)
}

// value is a cell, or nothing where the column is -1.
func (t *Table) value(row, col int) string {
	if col < 0 {
		return ""
	}
	return t.columns[col].of(row)
}

// byColumn returns the table by columns, with the ways to write that there is no value emptied.
func (t *Table) byColumn() Table {
	out := *t
	out.Rows = nil
	if t.Rows != nil || t.columns == nil {
		out.columns = make([]cells, len(t.Header))
		for c := range out.columns {
			in := newInterner()
			at := make([]int32, 0, len(t.Rows))
			for _, row := range t.Rows {
				cell := ""
				if c < len(row) {
					cell = strings.ToValidUTF8(strings.TrimSpace(row[c]), "\uFFFD")
				}
				at = append(at, in.add(cell))
			}
			out.columns[c] = cells{in.texts(), at}
		}
	}
	return out
}

// blanked is a column without the ways to write that there is no value.
func (c cells) blanked() cells {
	var blank []bool
	for v := range int32(c.values.len()) {
		if c.values.length(v) > 0 && blankMissing(c.values.of(v)) == "" {
			if blank == nil {
				blank = make([]bool, c.values.len())
			}
			blank[v] = true
		}
	}
	if blank != nil {
		c.at = slices.Clone(c.at)
		for i, v := range c.at {
			if blank[v] {
				c.at[i] = 0
			}
		}
	}
	return c
}

// numbers numbers the values of a column, -1 for none.
func (c *cells) numbers() []int32 {
	out := make([]int32, len(c.at))
	for i, v := range c.at {
		out[i] = v - 1
	}
	return out
}

// sorted returns the table by columns with the rows in order of their ids, so that the order of the file makes no
// difference, and the ids.
func (t *Table) sorted(idCol int) (Table, []string, error) {
	out := t.byColumn()
	n := out.len()
	ids := make([]string, n)
	if idCol < 0 {
		for i := range ids {
			ids[i] = strconv.Itoa(i + 1)
		}
	} else {
		column := out.columns[idCol]
		order := make([]int32, n)
		for i := range order {
			order[i] = int32(i)
		}
		slices.SortFunc(order, func(a, b int32) int {
			return cmp.Or(cmp.Compare(column.of(int(a)), column.of(int(b))), cmp.Compare(a, b))
		})
		for i, row := range order {
			ids[i] = column.of(int(row))
			if ids[i] == "" || i > 0 && ids[i] == ids[i-1] {
				return Table{}, nil, fault.New(fault.Invalid, fault.TableIDNotUnique, "the id column %q holds %q more than once or not at all (record %d); name a column that tells every record from every other", t.ID, ids[i], row+1)
			}
		}
		out.columns = slices.Clone(out.columns)
		if !slices.IsSorted(order) {
			for c, column := range out.columns {
				at := make([]int32, n)
				for i, row := range order {
					at[i] = column.at[row]
				}
				out.columns[c].at = at
			}
		}
	}
	for c := range out.columns {
		if c != idCol {
			out.columns[c] = out.columns[c].blanked()
		}
	}
	return out, ids, nil
}

// FindTable finds records of one person in any table. It guesses what the columns hold, chooses its own blocking keys,
// learns its weights from the table, and puts records into clusters at a threshold of its own.
func FindTable(rows Table) (*TableResult, error) {
	skip := map[int]bool{}
	idCol, truthCol := -1, -1
	var err error
	if rows.ID != "" {
		if idCol, err = rows.find(rows.ID, "record ids"); err != nil {
			return nil, err
		}
		skip[idCol] = true
	}
	if rows.Truth != "" {
		if truthCol, err = rows.find(rows.Truth, "truth"); err != nil {
			return nil, err
		}
		skip[truthCol] = true
	}
	t, ids, err := rows.sorted(idCol)
	if err != nil {
		return nil, err
	}
	if err := rows.checkKinds(); err != nil {
		return nil, err
	}
	if t.len() < 2 {
		return nil, fault.New(fault.Invalid, fault.TableTellsNothing, "the table holds %d records: there is nobody to compare", t.len())
	}
	opts := Options{}.withDefaults()
	guesses := guessColumns(&t, skip)
	f := t.frame(guesses)
	r := &TableResult{Records: f.n, Possible: possible(f.n)}
	for _, g := range guesses {
		r.Columns = append(r.Columns, g.shown())
	}
	if len(f.columns) == 0 {
		return nil, fault.New(fault.Invalid, fault.TableTellsNothing, "no column of the table tells its %d records apart", f.n)
	}
	var truth []int32
	if truthCol >= 0 {
		truth = t.columns[truthCol].numbers()
	}
	rows.columns, t.columns = nil, nil // what is compared is in the frame now
	r.frame, r.ids = f, ids
	answers, err := r.rowsOf(rows.Answers)
	if err != nil {
		return nil, err
	}
	b := f.block(opts)
	m, found := f.learn(b, opts, truth)
	m, found = f.teach(m, b, found, answers, truth)
	r.Compared, r.Keys, r.Recall = found.compared, b.names, b.recall
	twice := map[[2]int32]bool{}
	for _, e := range m.findDoubles(f, opts) {
		if e.weight > 0 {
			twice[[2]int32{e.a, e.b}] = true
		}
		found.edges = append(found.edges, e)
	}
	least, f1, matches := threshold(found.edges)
	r.Threshold, r.Doubt = least, doubt(f1, matches)
	apart := func(i, j int32) bool {
		pair := [2]int32{min(i, j), max(i, j)}
		return answers.apart[pair] || f.apartByRoster(i, j) && !twice[pair]
	}
	joins := &joinings{least: r.Threshold}
	roots := group(f.n, raised(found.edges, r.Threshold), apart, answers.together, joins.add)
	r.Clusters, r.Confidence = named(roots, ids, joins.sure(roots))
	r.Recall = f.reached(found.edges, roots, r.Recall)
	r.keep(m, found.edges, roots, answers)
	if truthCol >= 0 {
		r.Score = score(roots, truth, found.edges, found.truth, -1)
	}
	return r, nil
}

// shown makes a guess public.
func (g guess) shown() ColumnGuess {
	c := ColumnGuess{Header: g.header, Why: g.why}
	switch g.role {
	case roleCompare, rolePinyin:
		c.Kind = kindName(g.kind)
	case roleHousehold:
		c.Kind = "household"
	}
	return c
}

// frame reads the table into columns, several at once.
func (t *Table) frame(guesses []guess) *frame {
	f := &frame{n: t.len()}
	spelled := -1
	named := slices.ContainsFunc(guesses, func(g guess) bool { return g.role == roleCompare && g.kind == kindPerson })
	for _, g := range guesses {
		if g.role == rolePinyin && named {
			spelled = g.col
		}
	}
	var compared []guess
	for _, g := range guesses {
		switch {
		case g.role == roleHousehold:
			f.house = t.houses(g.col)
			f.roster = f.house
		case g.role == roleCompare, g.role == rolePinyin && !named:
			compared = append(compared, g)
		}
	}
	f.columns = make([]*column, len(compared))
	each(len(compared), func(i int) { f.columns[i] = t.readColumn(compared[i], spelled) })
	f.align()
	return f
}

// readColumn reads each text of a column once, however many rows have it.
func (t *Table) readColumn(g guess, spelled int) *column {
	which := t.columns[g.col].at
	join := []int{}
	switch {
	case g.kind == kindPerson && spelled >= 0 && spelled != g.col:
		join = append(join, spelled)
	case g.kind == kindDate && g.parts[0] >= 0:
		join = append(join, g.parts[1], g.parts[2])
	}
	join = append(join, g.minus...)
	for _, c := range join {
		together := map[[2]int32]int32{}
		next := make([]int32, len(which))
		for i, w := range which {
			k := [2]int32{w, t.columns[c].at[i]}
			n, ok := together[k]
			if !ok {
				n = int32(len(together))
				together[k] = n
			}
			next[i] = n
		}
		which = next
	}
	seen := make([]int32, t.columns[g.col].values.len())
	if len(join) > 0 {
		most := int32(0)
		for _, w := range which {
			most = max(most, w+1)
		}
		seen = make([]int32, most)
	}
	which = slices.Clone(which)
	var first []int32 // row of each text
	for i, w := range which {
		if seen[w] == 0 {
			first = append(first, int32(i))
			seen[w] = int32(len(first))
		}
		which[i] = seen[w] - 1
	}
	return newColumnOf(g.header, g.kind, len(first), func(i int) source { return t.read(g, int(first[i]), spelled) }, which, len(join) == 0)
}

// houses numbers the households of a column.
func (t *Table) houses(col int) rows {
	column := t.columns[col]
	out := rows{one: make([]int32, len(column.at)), stride: 1}
	for i, v := range column.at {
		if out.one[i] = v; v == 0 {
			out.one[i] = -1
		}
	}
	return out
}

// read makes atoms of one cell.
func (t *Table) read(g guess, row, spelled int) []atom {
	s := spelling()
	v := t.value(row, g.col)
	if len(g.minus) > 0 {
		v = t.beside(row, g)
	}
	switch g.kind {
	case kindPerson:
		heard := t.value(row, spelled)
		if v == "" {
			v, heard = heard, ""
		}
		return nameAtom(s, v, "", "", heard)
	case kindDate:
		if g.parts[0] >= 0 {
			v = strings.Trim(v+"-"+t.value(row, g.parts[1])+"-"+t.value(row, g.parts[2]), "-")
		}
		if f, ok := parseDate(v, g.dayFirst); ok {
			return []atom{dateAtom(f, v)}
		}
		return nil
	case kindPhone:
		p := phoneOf(v)
		return one(v, p)
	case kindResident:
		return one(v, residentOf(v))
	case kindDigits:
		return one(v, strings.ToLower(letters(v)))
	case kindPlace:
		return one(v, placeOf(v))
	case kindCategory:
		return one(v, s.plain(v))
	}
	return one(v, letters(s.plain(v)))
}
