package dedup

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/hearth-survey/hearth/proto/fault"
)

// role is what a column of a table is for.
type role uint8

const (
	roleCompare role = iota
	roleSkip
	roleHousehold
	rolePinyin
)

// guess is what the engine takes a column for.
type guess struct {
	col      int
	header   string
	kind     kind
	role     role
	why      string
	dayFirst bool
	filled   int
	distinct int
	parts    [3]int // year, month, day columns, where three make one date
	minus    []int  // columns whose words are taken out
}

// guessColumns looks at headers and values and decides what each column is. skip holds columns with another use.
func guessColumns(t *Table, skip map[int]bool) []guess {
	guesses := make([]guess, len(t.Header))
	each(len(t.Header), func(c int) {
		if !skip[c] {
			guesses[c] = t.guessColumn(c, strings.ToLower(strings.TrimSpace(t.Header[c])))
		}
	})
	var out []guess
	for c, h := range t.Header {
		if skip[c] {
			continue
		}
		g := guesses[c]
		if said, ok := t.Kinds[h]; ok {
			g.kind, g.role, g.why = toldKinds[said].kind, toldKinds[said].role, "you said so"
		}
		out = append(out, g)
	}
	out = joinDates(t, out)
	repeats(t, out)
	derive(t, out)
	return keepBest(out)
}

// toldKinds is what a person may say that a column holds.
var toldKinds = map[string]struct {
	kind kind
	role role
}{
	"text": {kindText, roleCompare}, "name": {kindPerson, roleCompare}, "pinyin": {kindPerson, rolePinyin}, "date": {kindDate, roleCompare},
	"phone": {kindPhone, roleCompare}, "resident-id": {kindResident, roleCompare}, "number": {kindDigits, roleCompare}, "place": {kindPlace, roleCompare},
	"category": {kindCategory, roleCompare}, "household": {kindText, roleHousehold}, "skip": {kindText, roleSkip},
}

// checkKinds sees that what was said of columns can be understood.
func (t *Table) checkKinds() error {
	for _, h := range slices.Sorted(maps.Keys(t.Kinds)) {
		if _, err := t.find(h, "column that you describe"); err != nil {
			return err
		}
		if _, ok := toldKinds[t.Kinds[h]]; !ok {
			return fault.New(fault.Invalid, fault.BadRequest, "%q is nothing that a column can hold: column %q may be %s", t.Kinds[h], h, strings.Join(slices.Sorted(maps.Keys(toldKinds)), ", "))
		}
	}
	return nil
}

// hinted says whether a header holds one of the words, as a word or, for Chinese, anywhere.
func hinted(header string, list ...string) bool {
	parts := words(header)
	for _, p := range words(header) {
		parts = append(parts, strings.TrimRight(p, "0123456789"))
	}
	parts = append(parts, header)
	for _, w := range list {
		if slices.Contains(parts, w) || isHan(w) && strings.Contains(header, w) || strings.Contains(w, "_") && strings.Contains(header, w) {
			return true
		}
	}
	return false
}

// sampleRows is in how many rows at most the values of a column are looked at to see what it holds.
const sampleRows = 20_000

// column collects the values of one column in rows spread evenly over the table, with their counts; and in all of it how many
// rows have a value and how many values there are.
func (t *Table) column(c int) (counts map[string]int, sampled, filled, distinct int) {
	counts = map[string]int{}
	column := t.columns[c]
	n := len(column.at)
	for i := range min(n, sampleRows) {
		if v := column.of(int(int64(i) * int64(n) / int64(min(n, sampleRows)))); v != "" {
			counts[v]++
			sampled++
		}
	}
	seen := make([]bool, column.values.len())
	for _, v := range column.at {
		if column.values.length(v) > 0 {
			filled++
			if !seen[v] {
				seen[v] = true
				distinct++
			}
		}
	}
	return counts, sampled, filled, distinct
}

// blankMissing trims a value and empties the ways people write that there is none.
func blankMissing(v string) string {
	v = strings.TrimSpace(v)
	switch strings.ToLower(v) {
	case "na", "n/a", "null", "none", "nan", ".", "-", "unknown", "不详", "无", "不知道":
		return ""
	}
	return v
}

// guessColumn decides about one column.
func (t *Table) guessColumn(c int, header string) guess {
	counts, sampled, filled, distinct := t.column(c)
	g := guess{col: c, header: t.Header[c], filled: filled, distinct: distinct, parts: [3]int{-1, -1, -1}}
	share := func(is func(string) bool) float64 {
		n := 0
		for v, k := range counts {
			if is(v) {
				n += k
			}
		}
		return float64(n) / float64(max(sampled, 1))
	}
	digits := func(v string) bool { return v != "" && digitsOf(v) == v }
	set := func(k kind, why string) guess {
		g.kind, g.why = k, why
		return g
	}
	date := func(v string) bool { _, ok := parseDate(v, false); return ok }
	long := share(func(v string) bool { return len(residentOf(v)) == 18 && residentChecks(residentOf(v)) })
	numeric := share(digits)
	han := share(func(v string) bool { n := utf8.RuneCountInString(v); return isHan(v) && n >= 2 && n <= 4 })
	switch {
	case g.distinct < 2:
		g.role, g.why = roleSkip, "has fewer than two values"
	case hinted(header, "hh_id", "hhid", "household_id", "household", "roster", "hh", "家庭编号", "户编号", "户号") && g.distinct < filled:
		g.role, g.why = roleHousehold, "names a household"
	case hinted(header, "pinyin", "拼音"):
		g.role, g.why = rolePinyin, "spells a name"
		g.kind = kindPerson
	case share(func(v string) bool { return strings.Contains(v, "@") }) > .8:
		return set(kindText, "mail addresses")
	case long > .2 && share(func(v string) bool { return residentOf(v) != "" }) > .9, hinted(header, "身份证", "id_no", "idcard", "resident_id") && share(func(v string) bool { return residentOf(v) != "" }) > .8:
		return set(kindResident, "resident identity numbers")
	case share(func(v string) bool { d := digitsOf(v); return len(d) == 11 && d[0] == '1' }) > .8, hinted(header, "phone", "tel", "telephone", "mobile", "cell", "电话", "手机") && share(func(v string) bool { return len(phoneOf(v)) >= 5 }) > .8:
		return set(kindPhone, "telephone numbers")
	case share(date) > .9 && (g.distinct > 12 || hinted(header, "dob", "birth", "date", "出生")) && !isPlaceColumn(share, header):
		g.dayFirst = t.dayFirst(counts)
		return set(kindDate, "dates")
	case isPlaceColumn(share, header):
		return set(kindPlace, "division codes")
	case (han > .6 || hinted(header, "姓名", "full_name") || header == "name") && g.distinct > 12:
		return set(kindPerson, "names of people")
	case g.distinct <= 12 || g.distinct <= 200 && g.distinct*40 < filled && numeric < .5:
		return set(kindCategory, "few values")
	case numeric > .9 && uniqueCounter(t, c):
		g.role, g.why = roleSkip, "counts the rows"
	case share(func(v string) bool { return len(digitsOf(v))*2 > len(v) }) > .9:
		return set(kindDigits, "numbers")
	default:
		return set(kindText, "text")
	}
	return g
}

// isPlaceColumn says whether a column holds division codes: most have 9 or 12 digits, or 6 and a telling header.
func isPlaceColumn(share func(func(string) bool) float64, header string) bool {
	if share(func(v string) bool { return placeOf(v) != "" && len(v) <= 12 }) < .95 {
		return false
	}
	long := share(func(v string) bool { return len(v) == 9 || len(v) == 12 })
	six := share(func(v string) bool { return len(v) == 6 })
	return long > .5 || long+six > .9 && hinted(header, "hukou", "village", "place", "county", "town", "township", "division", "code", "户口", "户籍", "区划", "村", "县", "地址")
}

// dayFirst says whether 03/04/1970 is the third of April: yes if some first part is over 12.
func (t *Table) dayFirst(counts map[string]int) bool {
	for v := range counts {
		parts := strings.FieldsFunc(v, func(r rune) bool { return r < '0' || r > '9' })
		if len(parts) == 3 && len(parts[2]) == 4 {
			if n, _ := strconv.Atoi(parts[0]); n > 12 {
				return true
			}
		}
	}
	return false
}

// uniqueCounter says whether a column only numbers the rows: every value once, one step apart.
func uniqueCounter(t *Table, c int) bool {
	last := 0
	for i := range t.len() {
		n, err := strconv.Atoi(t.value(i, c))
		if err != nil || i > 0 && n != last+1 {
			return false
		}
		last = n
	}
	return true
}

// joinDates finds three columns side by side that are year, month and day, in either order, and makes one date of them.
func joinDates(t *Table, in []guess) []guess {
	within := func(g guess, lo, hi int) bool {
		counts, filled, _, _ := t.column(g.col)
		ok, most := 0, 0
		for v, k := range counts {
			if n, err := strconv.Atoi(v); err == nil && n >= lo && n <= hi {
				ok += k
				most = max(most, n)
			}
		}
		return filled > 0 && float64(ok) >= .98*float64(filled) && most > hi*3/4
	}
	for i := 0; i+2 < len(in); i++ {
		for _, order := range [][3]int{{0, 1, 2}, {2, 1, 0}} {
			y, m, d := in[i+order[0]], in[i+order[1]], in[i+order[2]]
			if y.kind == kindDate && within(y, earliestYear, 2100) && within(m, 1, 12) && within(d, 1, 31) {
				g := y
				g.parts = [3]int{y.col, m.col, d.col}
				g.header = strings.Join([]string{y.header, m.header, d.header}, "-")
				g.why = "year, month and day side by side"
				g.distinct = y.distinct * d.distinct
				return joinDates(t, append(append(slices.Clone(in[:i]), g), in[i+3:]...))
			}
		}
	}
	return in
}

// keepBest keeps the columns that can tell most, if there are more than the engine compares.
func keepBest(in []guess) []guess {
	var compared []int
	for i, g := range in {
		if g.role == roleCompare {
			compared = append(compared, i)
		}
	}
	if len(compared) <= maxColumns {
		return in
	}
	slices.SortStableFunc(compared, func(a, b int) int {
		return -cmp.Compare(in[a].filled*min(in[a].distinct, 1000), in[b].filled*min(in[b].distinct, 1000))
	})
	for _, i := range compared[maxColumns:] {
		in[i].role, in[i].why = roleSkip, "other columns tell more"
	}
	return in
}

// kindName is what a kind is called in a report.
func kindName(k kind) string {
	return [kinds]string{"text", "name", "date", "phone", "resident id", "number", "place", "category", "ordered", "household"}[k]
}
