package xlsform

import (
	"strings"
	"testing"
)

// What people read in the schema: CEL that says no more than it must.
func TestCELReadsWell(t *testing.T) {
	tests := []struct{ column, xpath, cel string }{
		{"relevant", "${n} >= 15", "this.n >= 15"},
		{"relevant", "${n} >= 15 and ${n} < 65", "this.n >= 15 && this.n < 65"},
		{"relevant", "not(${n} > 3)", "!(has(this.n) && this.n > 3)"},
		{"relevant", "${n} != 3", "!has(this.n) || this.n != 3"},
		{"relevant", "${n} = ''", "!has(this.n)"},
		{"relevant", "${n} != ''", "has(this.n)"},
		{"relevant", "${yn} = 'yes'", "this.yn == 1"},
		{"relevant", "selected(${yn}, 'yes') or selected(${yn}, 'no')", "this.yn == 1 || this.yn == 2"},
		{"relevant", "selected(${many}, 'pear')", "selected(this.many, 2)"},
		{"relevant", "not(selected(${many}, 'pear'))", "!selected(this.many, 2)"},
		{"relevant", "count-selected(${many}) > 1", "size(this.many) > 1"},
		{"relevant", "${code} > 1", "this.code in [2, 10]"},
		{"relevant", "${d} > 3", "this.d > 3.0"},
		{"relevant", "${d} > ${n}", "this.d > double(this.n)"},
		{"relevant", "${born} <= today()", "this.born <= today()"},
		{"relevant", "${born} > today() - 365", "this.born > add_days(today(), -365)"},
		{"relevant", "${gn} = 1", "this.g.gn == 1"},
		{"relevant", "sum(${rsize}) > 3", "sum(this.r.map(r, r.rsize)) > 3"},
		{"relevant", "count(${r}) > 3", "size(this.r) > 3"},
		{"constraint", ". > 0 and . <= 120 or . = -999", "(value > 0 && value <= 120) || value == -999"},
		{"constraint", ". <= ${k}", "has(this.k) && value <= this.k"},
		{"constraint", ". != ${k}", "value != this.k"},
		{"constraint", "not(. > 3)", "!(value > 3)"},
		{"calculation", "${n} * 12 + ${k}", "this.n * 12 + this.k"},
		{"calculation", "if(${yn} = 'yes', 1, 0)", "has(this.yn) && this.yn == 1 ? 1 : 0"},
		{"calculation", "concat(${s}, ' ', ${u})", `(has(this.s) ? this.s : "") + " " + (has(this.u) ? this.u : "")`},
		{"calculation", "indexed-repeat(${rname}, ${r}, 2)", "this.r[1].rname"},
		{"calculation", "(${met} - ${born}) div 365.25", "double(days_between(this.born, this.met)) / 365.25"},
		{"calculation", "jr:choice-name(${one}, '${one}')", `choice_label("form.test.Fruit", this.one)`},
	}
	form := strings.ReplaceAll(base, "| choice_filter |", "| choice_filter | constraint |")
	form = strings.ReplaceAll(form, "| |\n", "| | |\n")
	for i, x := range tests {
		cells := map[string]string{x.column: x.xpath}
		typ := "integer"
		if x.column == "calculation" {
			typ = "calculate"
		}
		form += "| | " + strings.Join([]string{typ, "x" + itoa(i), "X", cells["relevant"], cells["calculation"], "", cells["constraint"]}, " | ") + " |\n"
	}
	_, f := imported(t, form+baseChoices)
	for i, x := range tests {
		out := questionOf(t, f, "x"+itoa(i)).out
		got := map[string]string{"relevant": out.relevant, "constraint": out.constraint, "calculation": out.calculate}[x.column]
		if got != x.cel {
			t.Errorf("%s: %q is %q, want %q", x.column, x.xpath, got, x.cel)
		}
	}
}
