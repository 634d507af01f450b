package dedup

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"

	"github.com/hearth-survey/hearth/proto/fault"
)

// Table is any table of records, for linkage without a study.
type Table struct {
	Header []string
	// Rows may be shorter or longer than the header; what is missing is empty, what is too much is left out.
	Rows [][]string
	// ID names the column that identifies a record; empty means that the number of the row does, from 1.
	ID string
	// Kinds says by header what columns hold, where that is not to be guessed: a kind of ColumnGuess, with - for the space,
	// or "pinyin" or "skip".
	Kinds map[string]string
	// Truth names a column that is the same for records of one person; it is never compared, only scored against.
	Truth string
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
	// Keys names the blocking keys that were chosen; Recall is the share of true pairs that they are expected to reach.
	Keys   []string
	Recall float64
	// Pairs holds the pairs of probability 0.1 and more, and those that stand in one cluster, heaviest first. Ids are those
	// of the id column.
	Pairs []*servicev1.MatchPair
	// Clusters holds the ids of records that are taken for one person, two or more to a cluster.
	Clusters [][]string
	// Households says of two tables whether whole households were compared, and why; empty where there are none.
	Households string
	// Score compares the clusters with the truth column; nil if none was named.
	Score *Score
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

// mostTableBytes bounds a CSV file: beyond it the engine would not keep its promises about memory.
const mostTableBytes = 1 << 30

// ReadTable reads CSV with a header line: UTF-8, with or without a byte order mark, separated by commas, semicolons or tabs.
func ReadTable(r io.Reader) (Table, error) {
	data, err := io.ReadAll(io.LimitReader(r, mostTableBytes+1))
	if err != nil {
		return Table{}, fault.New(fault.Internal, fault.TableUnreadable, "the table could not be read: %w", err)
	}
	if len(data) > mostTableBytes {
		return Table{}, fault.New(fault.TooLarge, fault.TableTooLarge, "the table is larger than 1 GiB; split it or leave out columns that do not name people")
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	line, _, _ := bytes.Cut(data, []byte("\n"))
	c := csv.NewReader(bytes.NewReader(data))
	for _, sep := range []rune{';', '\t'} {
		if bytes.Count(line, []byte(string(sep))) > bytes.Count(line, []byte(string(c.Comma))) {
			c.Comma = sep
		}
	}
	c.LazyQuotes, c.TrimLeadingSpace, c.FieldsPerRecord = true, true, -1
	t := Table{}
	for {
		row, err := c.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Table{}, fault.New(fault.Invalid, fault.TableNotCSV, "the table is not well-formed CSV; save it again as CSV in UTF-8: %w", err)
		}
		for i := range row {
			row[i] = strings.TrimSpace(strings.ToValidUTF8(row[i], "\uFFFD"))
		}
		if t.Header == nil {
			t.Header = row
		} else {
			t.Rows = append(t.Rows, row)
		}
	}
	if len(t.Header) == 0 {
		return Table{}, fault.New(fault.Invalid, fault.TableEmpty, "the table is empty; its first line must name the columns")
	}
	return t, nil
}

// find returns the position of a named column.
func (t *Table) find(name, use string) (int, error) {
	if at := slices.Index(t.Header, name); at >= 0 {
		return at, nil
	}
	return 0, fault.New(fault.NotFound, fault.ColumnUnknown, "there is no column %q for the %s; the columns are %s", name, use, strings.Join(t.Header[:min(len(t.Header), 40)], ", "))
}

// value is a cell, trimmed, or nothing.
func (t *Table) value(row, col int) string {
	if col < 0 || col >= len(t.Rows[row]) {
		return ""
	}
	return blankMissing(t.Rows[row][col])
}

// sorted returns the rows in order of their ids, so that the order of the file makes no difference, with the ids.
func (t *Table) sorted(idCol int) (Table, []string, error) {
	order, ids := make([]int, len(t.Rows)), make([]string, len(t.Rows))
	for i := range t.Rows {
		order[i] = i
		if ids[i] = fmt.Sprint(i + 1); idCol >= 0 {
			ids[i] = ""
			if idCol < len(t.Rows[i]) {
				ids[i] = strings.TrimSpace(t.Rows[i][idCol])
			}
		}
	}
	if idCol >= 0 {
		slices.SortFunc(order, func(a, b int) int {
			return cmp.Or(cmp.Compare(ids[a], ids[b]), slices.Compare(t.Rows[a], t.Rows[b]))
		})
	}
	out := Table{Header: t.Header, ID: t.ID, Truth: t.Truth, Kinds: t.Kinds}
	sortedIDs := make([]string, 0, len(order))
	for n, i := range order {
		if idCol >= 0 && (ids[i] == "" || n > 0 && ids[i] == sortedIDs[n-1]) {
			return Table{}, nil, fault.New(fault.Invalid, fault.TableIDNotUnique, "the id column %q holds %q more than once or not at all (line %d); name a column that tells every record from every other", t.ID, ids[i], i+2)
		}
		out.Rows = append(out.Rows, t.Rows[i])
		sortedIDs = append(sortedIDs, ids[i])
	}
	return out, sortedIDs, nil
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
	opts := Options{}.withDefaults()
	guesses := guessColumns(&t, skip)
	f := t.frame(guesses)
	r := &TableResult{Records: f.n, Possible: possible(f.n)}
	for _, g := range guesses {
		r.Columns = append(r.Columns, g.shown())
	}
	if len(f.columns) == 0 {
		return nil, fault.New(fault.Invalid, fault.TableTellsNothing, "no column of the table tells records apart; columns such as a name, a date of birth or a telephone number are needed")
	}
	b := f.block(opts)
	m, weights := f.learn(b, opts)
	r.Compared, r.Keys, r.Recall = int64(len(b.pairs)), b.names, b.recall
	edges := make([]edge, len(b.pairs))
	for x, p := range b.pairs {
		edges[x] = edge{p.a, p.b, weights[x]}
	}
	twice := map[[2]int32]bool{}
	for _, e := range m.findDoubles(f, opts) {
		if e.weight > 0 {
			twice[[2]int32{e.a, e.b}] = true
		}
		edges = append(edges, e)
	}
	roots := group(f.n, edges, func(i, j int32) bool { return f.apartByRoster(i, j) && !twice[[2]int32{min(i, j), max(i, j)}] }, nil, nil)
	r.Clusters = named(roots, ids)
	r.Pairs = m.tablePairs(f, edges, roots, ids)
	if truthCol >= 0 {
		truth := make([]string, f.n)
		for i := range truth {
			truth[i] = t.value(i, truthCol)
		}
		r.Score = score(roots, truth, edges, -1)
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

// frame reads the table into columns.
func (t *Table) frame(guesses []guess) *frame {
	f := &frame{n: len(t.Rows)}
	s := spelling()
	spelled := -1
	named := slices.ContainsFunc(guesses, func(g guess) bool { return g.role == roleCompare && g.kind == kindPerson })
	for _, g := range guesses {
		if g.role == rolePinyin && named {
			spelled = g.col
		}
	}
	for _, g := range guesses {
		switch {
		case g.role == roleHousehold:
			f.house, f.roster = t.houses(g.col), t.houses(g.col)
		case g.role == roleCompare, g.role == rolePinyin && !named:
			f.columns = append(f.columns, t.readColumn(s, g, spelled))
		}
	}
	return f
}

// readColumn reads each text of a column once, however many rows have it.
func (t *Table) readColumn(s *speller, g guess, spelled int) *column {
	cells := []int{g.col}
	switch {
	case g.kind == kindPerson:
		cells = append(cells, spelled)
	case g.kind == kindDate && g.parts[0] >= 0:
		cells = g.parts[:]
	}
	seen, which := map[string]int32{}, make([]int32, len(t.Rows))
	var said []source
	var text []byte
	for i := range which {
		text = text[:0]
		for _, c := range cells {
			text = append(append(text, t.value(i, c)...), 0)
		}
		at, ok := seen[string(text)]
		if !ok {
			at = int32(len(said))
			seen[string(text)] = at
			said = append(said, t.read(s, g, i, spelled))
		}
		which[i] = at
	}
	return newColumnOf(g.header, g.kind, said, which)
}

// houses numbers the households of a column.
func (t *Table) houses(col int) [][]int32 {
	ids := map[string]int32{}
	out := make([][]int32, len(t.Rows))
	for i := range out {
		if v := t.value(i, col); v != "" {
			out[i] = []int32{intern(ids, v)}
		}
	}
	return out
}

// read makes atoms of one cell.
func (t *Table) read(s *speller, g guess, row, spelled int) []atom {
	v := t.value(row, g.col)
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

// named lists the clusters of two and more by id.
func named(roots []int32, ids []string) [][]string {
	by := map[int32][]string{}
	var order []int32
	for i, r := range roots {
		if len(by[r]) == 0 {
			order = append(order, r)
		}
		by[r] = append(by[r], ids[i])
	}
	var out [][]string
	for _, r := range order {
		if len(by[r]) > 1 {
			out = append(out, by[r])
		}
	}
	return out
}

// tablePairs writes out the pairs that are possible or stand in one cluster.
func (m *Model) tablePairs(f *frame, edges []edge, roots []int32, ids []string) []*servicev1.MatchPair {
	least := log2(m.opts.PossibleProbability / (1 - m.opts.PossibleProbability))
	var out []*servicev1.MatchPair
	for _, e := range edges {
		if e.weight < least && roots[e.a] != roots[e.b] {
			continue
		}
		rows, clean := m.evidence(f.values(e.a), f.values(e.b), f.apartByRoster(e.a, e.b), m.houseLevel(f, e.a, e.b))
		p := newPair(servicev1.LinkSubject_LINK_SUBJECT_PERSON, ids[e.a], ids[e.b], m.prior, rows, clean, m.opts)
		out = append(out, p)
	}
	slices.SortFunc(out, heavier)
	return out
}
