package xform

import (
	"regexp"
	"strings"

	"cel.dev/cel-go/common/ast"
)

// function translates the functions of LANGUAGE.md that XPath has; those it has not are named in the warning.
func (x *translator) function(name string, exprs []ast.Expr) value {
	switch name {
	case "choice_column", "lookup":
		return x.fromList(name, exprs)
	case "now", "today", "random", "uuid":
		v := value{kind: kindString, text: name + "()", prec: precPath, def: always, date: name == "today"}
		if name == "random" {
			v.kind = kindNumber
		}
		return v
	}
	args := make([]value, len(exprs))
	for i, e := range exprs {
		args[i] = x.eval(e)
	}
	if x.err != nil || len(args) == 0 {
		return x.fail("XPath has no function %s", name)
	}
	all := value{def: always, prec: precPath}
	for _, a := range args {
		all.def = and(all.def, a.def)
		all.needs = append(all.needs, a.needs...)
	}
	for _, f := range []func(string, []value, value) (value, bool){x.ofLists, x.ofNumbers, x.ofTexts, x.ofDates, x.ofChoices} {
		if v, ok := f(name, args, all); ok {
			return v
		}
	}
	return x.fail("XPath has no function %s for this", name)
}

func (v value) number(text string) (value, bool) {
	v.kind, v.text = kindNumber, text
	return v, true
}

func (v value) string(text string) (value, bool) {
	v.kind, v.text = kindString, text
	return v, true
}

func (v value) truth(is *formula) (value, bool) {
	return boolean(condition{t: and(v.def, is), f: and(v.def, not(is)), needs: v.needs}), true
}

// ofLists are functions of rows and of lists.
func (x *translator) ofLists(name string, args []value, all value) (value, bool) {
	a := args[0]
	switch {
	case name == "selected" && len(args) == 2 && (a.kind == kindMany || a.kind == kindChoice):
		c := x.selected(a, args[1])
		if a.kind == kindMany {
			return boolean(c), true
		}
		return boolean(c), true
	case name == "size" && a.kind == kindMany:
		all.integer = true
		return all.number("count-selected(" + a.text + ")")
	case name == "size" && a.kind == kindRows && a.set.flat == "":
		all.integer = true
		v, _ := all.number("count(" + a.set.text + ")")
		v.set = &nodeset{text: a.set.text, place: a.set.place, flat: "count"}
		return v, true
	case name == "size" && a.kind == kindString:
		all.integer = true
		return all.number("string-length(" + a.text + ")")
	case len(args) != 1 || a.kind != kindRows || a.set.tail == "" && a.set.flat == "":
		return value{}, false
	case a.set.flat == "count" && name == "sum":
		all.integer = true
		return all.number("count(" + a.set.text + ")")
	case a.set.flat != "":
		if name == "sum" {
			return all.number(sumOf(a.set.text))
		}
		return value{}, false
	}
	if a.choices != nil || a.set.leaf.Type != "int" && a.set.leaf.Type != "decimal" {
		return value{}, false
	}
	some := atom("count("+a.set.text+") > 0", "count("+a.set.text+") = 0")
	all.integer = a.integer
	switch name {
	case "sum":
		v, _ := all.number(sumOf(a.set.text))
		v.set = &nodeset{text: a.set.text, place: a.set.place, flat: "sum"}
		return v, true
	case "min", "max":
		all.def, all.needs = and(all.def, some), append(all.needs, some)
		return all.number(name + "(" + a.set.text + ")")
	case "mean":
		all.def, all.needs, all.integer, all.prec = and(all.def, some), append(all.needs, some), false, precTimes
		return all.number("sum(" + a.set.text + ") div count(" + a.set.text + ")")
	}
	return value{}, false
}

// sumOf is the sum of a nodeset; some clients give no number for that of none.
func sumOf(set string) string { return "if(count(" + set + ") > 0, sum(" + set + "), 0)" }

var sameName = map[string]string{"abs": "abs", "pow": "pow", "sqrt": "sqrt", "exp": "exp", "ln": "log", "log10": "log10"}

// ofNumbers are functions of numbers.
func (x *translator) ofNumbers(name string, args []value, all value) (value, bool) {
	texts := make([]string, len(args))
	for i, a := range args {
		if name == "number" || name == "text" || name == "string" {
			continue
		}
		if a.kind != kindNumber {
			return value{}, false
		}
		texts[i] = a.text
	}
	a := args[0]
	switch {
	case sameName[name] != "":
		v, _ := all.number(sameName[name] + "(" + strings.Join(texts, ", ") + ")")
		v.integer = name == "abs" && a.integer
		if name != "abs" && name != "exp" { // there is no answer where the result is none
			finite := atom("number("+v.text+") = number("+v.text+")", "")
			v.def, v.needs = and(v.def, finite), append(v.needs, finite)
		}
		return v, true
	case name == "trunc" || name == "int":
		all.integer = name == "int"
		return all.number("int(" + a.text + ")")
	case name == "floor" || name == "ceil":
		cut, sign := "int("+a.text+")", " - 1"
		cmp := " <= "
		if name == "ceil" {
			sign, cmp = " + 1", " >= "
		}
		return all.number("if(" + cut + cmp + a.in(precAdd) + ", " + cut + ", " + cut + sign + ")")
	case name == "double":
		v := a
		v.integer, v.lit = false, nil
		return v, true
	case name == "round" && len(args) == 2 && args[1].lit != nil:
		n := toInt(args[1].lit)
		if n < 0 || n > 9 {
			return value{}, false
		}
		if n == 0 {
			return all.number("if(" + a.in(precAdd) + " >= 0, int(" + a.in(precAdd) + " + 0.5), int(" + a.in(precAdd) + " - 0.5))")
		}
		p := "1" + strings.Repeat("0", int(n))
		all.prec = precTimes
		return all.number("if(" + a.in(precAdd) + " >= 0, int(" + a.in(precTimes) + " * " + p + " + 0.5), int(" + a.in(precTimes) + " * " + p + " - 0.5)) div " + p)
	case (name == "min" || name == "max") && len(args) == 2:
		op := " <= "
		if name == "max" {
			op = " >= "
		}
		all.integer = a.integer && args[1].integer
		return all.number("if(" + a.in(precAdd) + op + args[1].in(precAdd) + ", " + a.text + ", " + args[1].text + ")")
	case name == "number" && a.kind == kindNumber:
		v := a
		v.integer, v.lit = false, nil
		return v, true
	case name == "number" && a.kind == kindString && !a.date:
		is := atom("number("+a.text+") = number("+a.text+")", "")
		all.def, all.needs, all.blank = and(all.def, is), append(all.needs, is), true
		return all.number("number(" + a.text + ")")
	case (name == "text" || name == "string") && a.kind == kindNumber:
		return all.string("string(" + a.text + ")")
	case (name == "text" || name == "string") && a.kind == kindString:
		return a, true
	case (name == "text" || name == "string") && a.kind == kindBool:
		return all.string("if(" + a.cond.t.String() + ", 'true', 'false')")
	}
	return value{}, false
}

// ofTexts are functions of texts.
func (x *translator) ofTexts(name string, args []value, all value) (value, bool) {
	a := args[0]
	if a.kind == kindRows && name == "join" && len(args) == 2 && a.set.tail != "" && a.choices == nil && args[1].kind == kindString {
		return all.string("join(" + args[1].text + ", " + a.set.text + ")")
	}
	if a.kind != kindString {
		return value{}, false
	}
	two := len(args) == 2 && args[1].kind == kindString
	switch {
	case name == "contains" && two:
		return all.truth(atom("contains("+a.text+", "+args[1].text+")", ""))
	case name == "startsWith" && two:
		return all.truth(atom("starts-with("+a.text+", "+args[1].text+")", ""))
	case name == "endsWith" && two:
		return all.truth(atom("ends-with("+a.text+", "+args[1].text+")", ""))
	case name == "matches" && two && args[1].lit != nil:
		p, ok := pattern(args[1].lit.(string))
		if !ok {
			return value{}, false
		}
		return all.truth(atom("regex("+a.text+", "+literal(p)+")", ""))
	case name == "substr" && len(args) == 3 && args[1].kind == kindNumber && args[2].kind == kindNumber && toInt(args[1].lit) >= 0 && toInt(args[2].lit) >= 0:
		return all.string("substr(" + a.text + ", " + args[1].text + ", " + args[2].text + ")")
	}
	return value{}, false
}

var foreign = regexp.MustCompile(`\(\?[^:]|\\[pPQEAzxC]|\[\[:`)

// pattern makes of an expression of RE2 that may match anywhere one that has to match the whole, which is what regex does
// in some clients; none where the clients' dialects differ.
func pattern(re string) (string, bool) {
	if foreign.MatchString(re) || strings.Contains(re, "|") && (strings.HasPrefix(re, "^") || strings.HasSuffix(re, "$")) && !wholeGroup.MatchString(re) {
		return "", false
	}
	begin, end := `^[\s\S]*(?:`, `)[\s\S]*$`
	if strings.HasPrefix(re, "^") {
		begin, re = "^(?:", re[1:]
	}
	if strings.HasSuffix(re, "$") && !strings.HasSuffix(re, `\$`) {
		end, re = ")$", re[:len(re)-1]
	}
	if strings.Trim(re, "^$") != re {
		return "", false
	}
	return begin + re + end, true
}

var wholeGroup = regexp.MustCompile(`^\^\([^()]*\)\$$`)

// ofDates are functions of dates.
func (x *translator) ofDates(name string, args []value, all value) (value, bool) {
	for _, a := range args[:min(2, len(args))] {
		if !a.date && !(name == "format_date" && a.kind == kindString && a.lit != nil) {
			return value{}, false
		}
	}
	all.integer = true
	a := args[0].text
	part := func(of, format string) string { return "number(format-date(" + of + ", '" + format + "'))" }
	switch {
	case name == "year":
		return all.number(part(a, "%Y"))
	case name == "month":
		return all.number(part(a, "%m"))
	case name == "day":
		return all.number(part(a, "%d"))
	case name == "days_between" && len(args) == 2:
		all.prec = precPath
		return all.number("int(" + x.days(args[1]).text + " - " + x.days(args[0]).text + ")")
	case name == "months_between" && len(args) == 2:
		months := func(s string) string {
			return "(" + part(s, "%Y") + " * 1200 + " + part(s, "%m") + " * 100 + " + part(s, "%d") + ")"
		}
		return all.number("int((" + months(args[1].text) + " - " + months(a) + ") div 100)")
	case name == "years_between" && len(args) == 2:
		return all.number("int((" + part(args[1].text, "%Y%m%d") + " - " + part(a, "%Y%m%d") + ") div 10000)")
	case name == "format_date" && len(args) == 2:
		f, ok := args[1].lit.(string)
		if !ok || !args[0].date || strings.Trim(strings.NewReplacer("%Y", "", "%y", "", "%m", "", "%n", "", "%d", "", "%e", "").Replace(f), "-/. ") != "" {
			return value{}, false
		}
		return all.string("format-date(" + a + ", " + args[1].text + ")")
	}
	return value{}, false
}

// days is the number of a date's day, to compare with others.
func (x *translator) days(v value) value {
	v.kind, v.text, v.prec, v.lit, v.date = kindNumber, "round(decimal-date-time("+v.text+"))", precPath, nil, false
	v.blank = false
	return v
}

// ofChoices are functions of lists of choices whose answer stands in the form.
func (x *translator) ofChoices(name string, args []value, all value) (value, bool) {
	list, ok := args[0].lit.(string)
	if !ok || !strings.HasPrefix(name, "choice_") || len(args) < 2 {
		return value{}, false
	}
	l := x.tree.byEnum[list]
	if l == nil {
		return x.fail("the form does not have the list %s", list), true
	}
	v := args[1]
	if l.doubled || !l.named {
		return value{}, false
	}
	switch {
	case name == "choice_name" && v.kind == kindChoice && v.choices == l:
		v.kind, v.choices = kindString, nil
		return v, true
	case name == "choice_name" && v.lit != nil:
		if s, ok := l.NameOf(toInt(v.lit)); ok {
			return fixed(s), true
		}
	case name == "choice_number" && v.lit != nil:
		for _, c := range l.Choices {
			if c.Name == v.lit {
				return fixed(int64(c.Number)), true
			}
		}
	}
	return value{}, false
}

// fromList reads a column of a list: choice_column(list, number, column), lookup(table, column, key column, key).
func (x *translator) fromList(name string, exprs []ast.Expr) value {
	want := map[string]int{"choice_column": 3, "lookup": 4}[name]
	if len(exprs) != want {
		return x.fail("XPath has no function %s", name)
	}
	x.frames = append(x.frames, frame{up: -1})
	args := make([]value, want)
	for i, e := range exprs {
		args[i] = x.eval(e)
	}
	x.frames = x.frames[:len(x.frames)-1]
	list, _ := args[0].lit.(string)
	l := x.tree.byEnum[list]
	if l == nil || x.err != nil {
		return x.fail("the form does not have the list %s", list)
	}
	keyColumn, key, column := "name", args[1], args[2]
	if name == "lookup" {
		keyColumn, _ = args[2].lit.(string)
		key, column = args[3], args[1]
	} else {
		key = x.asChoice(key, l)
	}
	col, _ := column.lit.(string)
	if x.err != nil || !xmlName(col) || !xmlName(keyColumn) || key.kind != kindString && key.kind != kindChoice || !l.unique(keyColumn) {
		return x.fail("it looks a value up by what does not name one choice")
	}
	found := "instance(" + literal(l.Name) + ")/root/item[" + keyColumn + " = " + key.text + "]"
	some := atom("count("+found+") > 0", "count("+found+") = 0")
	if key.def.op != '1' {
		// key.def was written from within the predicate.
		some = atom("count("+found+"["+key.def.String()+"]) > 0", "")
	}
	return value{kind: kindString, text: found + "/" + col, prec: precPath, def: some, needs: []*formula{some}}
}

// unique tells whether a column names each choice once.
func (l *List) unique(column string) bool {
	if column == "name" {
		return true
	}
	seen := map[string]bool{}
	for i := range l.Choices {
		v := l.Choices[i].Column(column)
		if seen[v] {
			return false
		}
		seen[v] = true
	}
	return true
}
