package xlsform

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/hearth-survey/hearth/proto/questionnaire"
)

// base is a form whose questions are of every kind, to hang expressions on.
const base = `
| survey |
| | type | name | label | relevant | calculation | choice_filter |
| | integer | n | N | | | |
| | integer | k | K | | | |
| | decimal | d | D | | | |
| | text | s | S | | | |
| | text | u | U | | | |
| | date | born | Born | | | |
| | date | met | Met | | | |
| | datetime | at | At | | | |
| | select_one yn | yn | Yes | | | |
| | select_one yn | yn2 | Yes too | | | |
| | select_one fruit | one | One | | | |
| | select_multiple fruit | many | Many | | | |
| | select_one code | code | Code | | | |
| | acknowledge | ack | Ack | | | |
| | begin group | g | G | ${n} > 1 | | |
| | integer | gn | GN | | | |
| | text | gs | GS | ${k} = 2 or ${s} != '' | | |
| | end group | | | | | |
| | begin repeat | r | R | | | |
| | text | rname | Name | | | |
| | integer | rage | Age | ${rname} != '' | | |
| | integer | rsize | Size | | | |
| | select_one yn | ryn | Yes | | | |
| | calculate | rpos | | | position(..) | |
| | calculate | rone | | | if(${ryn} = 'yes', 1, 0) | |
| | begin repeat | rr | RR | | | |
| | integer | rrn | RRN | | | |
| | calculate | rrx | | | ${rrn} + ${rsize} | |
| | end repeat | | | | | |
| | end repeat | | | | | |
`

const baseChoices = `
| choices |
| | list_name | name | label | size | kind |
| | yn | yes | Yes | | |
| | yn | no | No | | |
| | fruit | apple | Apple | 1 | a |
| | fruit | pear | Pear | 2 | a |
| | fruit | plum | Plum | 3 | b |
| | fruit | none | None | | |
| | code | 1 | One | | |
| | code | 2 | Two | | |
| | code | -999 | No idea | | |
| | code | 10 | Ten | | |
`

// conditions are XPath that is true or false, each of which is used for relevance, for a constraint and in a calculation.
var conditions = []string{
	"${n} > 3", "${n} >= ${k}", "${n} = ${k}", "${n} != ${k}", "${n} = ''", "${n} != ''", "not(${n} = 3)", "not(${n} > 3)", "${n} != 3", "3 < ${n}",
	"${n} + ${k} > 5", "${n} - ${k} = 0", "${n} * 2 != ${k}", "${n} div 2 = 1", "${n} mod 2 = 1", "-${n} < 0", "${n} div ${k} > 1",
	"${d} > 0.5", "${d} = ${n}", "${d} != 12.25", "${d} * ${n} >= 6", "round(${d}) = 1", "int(${d}) = 12", "${d} mod 2 = 0.25",
	"${s} = 'abc'", "${s} != 'abc'", "${s} = ''", "${s} = ${u}", "${s} != ${u}", "${s} = 5", "${s} != 5", "${s} > 4", "not(${s} > 4)", "${s} = ${n}", "${n} = ${s}",
	"string-length(${s}) > 2", "string-length(${s}) = 0", "string-length(${s}) < 4", "not(string-length(${s}) = 3)", "string-length(${n}) = 2",
	"regex(${s}, '[0-9]+')", "not(regex(${s}, '[a-z]*'))", "regex(${s}, '^0[0-9]{9}$')", "regex(${n}, '[0-9]{2}')", "contains(${s}, 'b')", "starts-with(${s}, ${u})", "not(contains(${s}, '0'))",
	"${yn} = 'yes'", "${yn} != 'yes'", "not(${yn} = 'yes')", "${yn} = ''", "${yn} = ${yn2}", "${yn} != ${yn2}", "selected(${yn}, 'no')", "not(selected(${yn}, 'no'))", "${yn} = 'maybe'", "${yn} != 'maybe'",
	"${code} = 1", "${code} > 1", "${code} != -999", "${code} = '10'", "${code} < ${n}", "${code} = ${n}", "${code} + 1 = 2", "not(${code} >= 2)", "${code} = ${yn}", "${one} = ${s}", "${one} = 2",
	"selected(${many}, 'apple')", "not(selected(${many}, 'apple') or selected(${many}, 'none'))", "count-selected(${many}) > 1", "count-selected(${many}) = 0", "${many} = 'apple'", "${many} != 'apple pear'",
	"${many} = ''", "selected(${many}, ${one})", "selected(${many}, ${s})", "not(selected(${many}, ${one}))", "selected(${s}, 'Ann')", "selected-at(${many}, 0) = 'pear'", "selected-at(${many}, 1) != 'pear'", "selected-at(${s}, 1) = 'Bob'",
	"count-selected(${s}) = 2", "${many} = 3", "count-selected(${yn}) = 1",
	"${born} < ${met}", "${born} = ${met}", "${born} != ${met}", "${born} <= today()", "${met} - ${born} > 365", "${born} > date('2000-01-01')", "not(${born} > date('2000-01-01'))", "${born} = '2016-07-21'", "${born} + 10 > ${met}", "(today() - ${born}) div 365.25 >= 18",
	"${born} > today() - 365", "decimal-date-time(${at}) > decimal-date-time(${born})", "format-date-time(${at}, '%H') > 12", "format-date(${born}, '%Y') = 2016", "date(${born}) = ${born}",
	"${n} > 1 and ${k} > 1", "${n} > 1 or ${k} > 1", "${n} > 1 and not(${k} > 1)", "not(${n} > 1 and ${k} > 1)", "not(${n} > 1 or ${k} != 1)", "(${n} = 1 or ${k} = 1) and ${d} > 0", "not(not(${n} > 1))",
	"if(${yn} = 'yes', ${n} > 3, ${k} > 3)", "if(${n} > 3, ${yn} = 'yes', false())", "if(${n} != 3, true(), ${k} = 2)", "not(if(${yn} = 'yes', ${n} > 3, ${k} > 3))", "if(${yn} = 'yes', ${n}, ${k}) > 3", "if(${yn} = 'yes', ${n}, '') != ''", "if(${yn} = 'yes', ${s}, 'x') = 'x'",
	"coalesce(${n}, ${k}) > 3", "coalesce(${n}, 5) = 5", "coalesce(${s}, ${u}) = 'abc'", "not(coalesce(${n}, ${k}) > 3)", "concat(${s}, ${u}) = ''", "concat(${s}, 'x') != 'x'", "substr(${s}, 0, 1) = '0'", "not(substr(${s}, 0, 1) = 'a')", "substr(${s}, 1, 3) = ''",
	"${gn} > 1", "${gs} = 'abc'", "not(${gn} = 2)", "${gs} = '' and ${gn} != ''", "count(${r}) > 1", "sum(${rsize}) > 10", "not(sum(${rsize}) > 10)", "sum(${rage}) >= 20", "count(${rage}) > 1", "max(${rsize}) > 60", "min(${rsize}) = 0", "not(max(${rsize}) > 60)", "sum(${rone}) = 1", "sum(${rrn}) > 3", "join(' ', ${rname}) = ''", "join(',', ${rname}) = 'abc,abc'",
	"indexed-repeat(${rsize}, ${r}, 1) > 2", "indexed-repeat(${rname}, ${r}, 2) = ''", "not(indexed-repeat(${rsize}, ${r}, ${n}) = 2)", "indexed-repeat(${rname}, ${r}, 1) = indexed-repeat(${rname}, ${r}, 2)", "indexed-repeat(${ryn}, ${r}, 1) = 'yes'", "indexed-repeat(${rone}, ${r}, ${k}) = 1",
	"${n}", "not(${s})", "${yn} and ${n}", "boolean(${many})", "true()", "not(false())", "${n} = 'abc'", "'a' = 'b' or ${n} > 5", "${n} > 5 and 1 = 1", "(${n} > 3) = (${k} > 3)", "(${n} > 3) != true()", "(${n} > 3) + 1 = 2", "${n} >= (${k} > 1)",
	"${ack} = 'OK'", "${ack} != 'OK'", "${ack} = ''", "string(${n}) = '5'", "number(${s}) > 1", "not(number(${s}) > 1)", "abs(${n}) > 100", "floor(${d}) = 0",
	"jr:choice-name(${one}, '${one}') = 'Apple'", "jr:choice-name(selected-at(${many}, 0), '${many}') = 'Pear'",
}

// calculations are XPath that yields a value.
var calculations = []string{
	"${n}", "${n} + ${k}", "${n} div ${k}", "${n} mod 7", "${d} * 2", "${s}", "${yn}", "${many}", "${born}", "${n} > 3", "concat(${s}, '-', ${n}, ' ', ${yn})", "concat(${many}, ${d})", "if(${n} > 3, ${k}, ${d})", "if(${n} > 3, 'x', ${s})",
	"if(${yn} = 'yes', ${n}, '')", "if(${yn} = 'yes', '', ${n})", "if(${yn} = 'yes', ${s}, '')", "if(${n} = 3, if(${k} = 2, 'a', 'b'), 'c')", "if(${n} > 3, ${born}, ${met})", "if(${n} > 3, ${yn}, ${yn2})", "if(${n} > 3, 1, 'none')", "coalesce(${n}, ${d})", "coalesce(${s}, ${n})", "coalesce(${yn}, 'x')",
	"string-length(${s}) + 1", "count-selected(${many})", "count-selected(${s}) * 2", "selected-at(${many}, ${n})", "selected-at(${s}, 0)", "substr(${s}, 2, 5)", "round(${d})", "int(${d} * 3)", "number(${s})", "-${n}", "${met} - ${born}", "(${met} - ${born}) div 365.25",
	"sum(${rsize})", "sum(${rage})", "count(${r})", "max(${rsize})", "min(${rage})", "join(' ', ${rname})", "join(', ', ${ryn})", "join('', ${rsize})", "concat(${rname})", "sum(${rrx})", "count(${rr})", "join('-', ${rrn})", "indexed-repeat(${rname}, ${r}, 2)", "indexed-repeat(${rage}, ${r}, ${n})", "indexed-repeat(${ryn}, ${r}, 1)",
	"format-date(${born}, '%d/%m/%Y')", "format-date-time(${at}, '%H:%M:%S.%3')", "jr:choice-name(${one}, '${one}')", "jr:choice-name(selected-at(${many}, 1), '${many}')", "count(${rsize}) + sum(${rone})", "not(${n} > 3)", "selected(${many}, 'plum')", "${code} * 2", "${code} + ${n}", "if(${n} > 3, ${code}, 0)",
	"string(${d})", "${gn} * 2", "if(selected(${many}, 'apple') and ${n} > 1, ${n} * ${k}, ${d} div 3)", "floor(${d} div 2)", "(${n} > 1) + (${k} > 1)", "${c7}", "${c0} + ${c1}", "if(${c9}, 'big', 'small')",
}

// filters are conditions on a choice of the list fruit.
var filters = []string{
	"size = 1", "size > 1", "size != 2", "size <= ${n}", "kind = 'a'", "kind != ${s}", "kind = ''", "name != ${one}", "selected(${many}, name)", "not(selected(${many}, name))", "${n} > 3 and size < 3", "if(${n} > 3, size = 1, kind = 'b')", "name = 'apple' or ${yn} = 'yes'", "not(size = ${k})",
}

// kitchen is a form with all of them.
func kitchen(where string) string {
	var b strings.Builder
	b.WriteString("| survey |\n| | type | name | label | relevant | constraint | calculation | choice_filter |\n")
	if where == "whole" {
		b.WriteString("| | begin repeat | outer | Outer | | | | |\n| | begin group | inner | Inner | | | | |\n")
	}
	for line := range strings.Lines(base) {
		if c := strings.Split(line, "|"); len(c) > 8 && strings.TrimSpace(c[2]) != "type" {
			b.WriteString("| | " + strings.Join([]string{c[2], c[3], c[4], c[5], "", c[6], c[7]}, " | ") + " |\n")
		}
	}
	row := func(cells ...string) {
		for i := range cells {
			cells[i] = strings.ReplaceAll(cells[i], "|", `\|`)
		}
		b.WriteString("| | " + strings.Join(cells, " | ") + " |\n")
	}
	if where == "inside" {
		row("begin repeat", "outer", "Outer", "", "", "", "")
		row("begin group", "inner", "Inner", "", "", "", "")
	}
	for i, c := range calculations {
		row("calculate", "c"+strconv.Itoa(i), "", "", "", c, "")
	}
	for i, c := range conditions {
		row("note", "q"+strconv.Itoa(i), "Q", c, "", "", "")
		row("integer", "v"+strconv.Itoa(i), "V", "", strings.ReplaceAll(c, "${n}", "."), "", "")
		row("calculate", "b"+strconv.Itoa(i), "", "", "", "if("+c+", 'yes', 'no')", "")
	}
	for i, c := range filters {
		row("select_one fruit", "f"+strconv.Itoa(i), "F", "", "", "", c)
		row("select_multiple fruit", "m"+strconv.Itoa(i), "M", "", "", "", c)
	}
	if where != "top" {
		row("end group", "", "", "", "", "", "")
		row("end repeat", "", "", "", "", "", "")
	}
	return b.String() + baseChoices
}

// Every function and operator, on empty and answered nodes, at the top, inside a repeat, and about the rows of one: CEL says what XPath says.
func TestKitchen(t *testing.T) {
	fills := 40
	if testing.Short() {
		fills = 6
	}
	first := uint64(0)
	if s := os.Getenv("HEARTH_SEED"); s != "" {
		first, _ = strconv.ParseUint(s, 10, 64)
		fills = 2000
	}
	for _, where := range []string{"top", "inside", "whole"} {
		t.Run(where, func(t *testing.T) {
			r, f := imported(t, kitchen(where))
			for _, p := range r.Report.Problems {
				t.Errorf("not translated: %s of %s: %q: %s", p.Column, p.Name, p.Expression, p.Reason)
			}
			q, err := questionnaire.Load(r.Files, r.Top)
			if err != nil {
				t.Fatal(err)
			}
			for n := range fills {
				if agree(t, f, q, first+uint64(n)); t.Failed() {
					t.Fatalf("seed %d", first+uint64(n))
				}
			}
		})
	}
}
