package xlsform

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var isoDate = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}`)

// compareValues translates the comparison of two values, neither of which is compared as a choice with a constant.
func (t *translator) compareValues(e *binary, op string, a, b value, m mode, known []string) (condition, error) {
	equal := op == "=" || op == "!="
	if equal && a.column != "" && b.num != nil {
		return t.columnIsNumber(op, a, *b.num), nil
	}
	if c, done, err := t.compareDates(e, op, a, b, m, known); done || err != nil {
		return c, err
	}
	if equal && a.isText() && b.isText() {
		return t.compareTexts(e, op, a, b, m, known)
	}
	if equal && a.kind == kindText && !a.numeric && b.num != nil && *b.num == math.Trunc(*b.num) && math.Abs(*b.num) < 1e15 {
		return t.textIsNumber(e, op, a, *b.num, m, known)
	}
	nodes := a.node && b.node
	if equal && nodes && (a.kind == kindText || b.kind == kindText) && len(without(a.guards, known)) > 0 && len(without(b.guards, known)) > 0 {
		return t.textAndNumber(e, op, a, b, m, known)
	}
	a, err := t.number(e, a)
	if err != nil {
		return condition{}, err
	}
	if b, err = t.number(e, b); err != nil {
		return condition{}, err
	}
	if b.num != nil && math.IsNaN(*b.num) || a.num != nil && math.IsNaN(*a.num) {
		return always(op == "!="), nil
	}
	empty := op == "!="
	if a.empty != nil && b.num != nil && len(b.guards) == 0 {
		empty = holds(op, *a.empty, *b.num)
	} else {
		a, b = a.total(), b.total()
	}
	a, b = alike(a, b)
	return t.relation(e, op, a, b, empty, nodes, m, known)
}

// textAndNumber compares a text node with a number node: as numbers, but that both may be empty.
func (t *translator) textAndNumber(e *binary, op string, a, b value, m mode, known []string) (condition, error) {
	x, err := t.number(e, a)
	if err != nil {
		return condition{}, err
	}
	y, err := t.number(e, b)
	if err != nil {
		return condition{}, err
	}
	if m != asFalse || op == "!=" {
		m = exact
	}
	x, y = alike(x, y)
	c, err := guarded(e, condition{cel: x.in(bindsSum) + " == " + y.in(bindsSum), binds: bindsRelation}, union(x.guards, y.guards), x.loose || y.loose, false, m, known)
	if c = orBothEmpty(c, without(a.guards, known), without(b.guards, known)); op == "!=" {
		c = c.negate()
	}
	return c, err
}

// relation writes a comparison of two values that CEL can compare.
func (t *translator) relation(e expr, op string, a, b value, empty, nodes bool, m mode, known []string) (condition, error) {
	core := condition{cel: a.in(bindsSum) + " " + celOperators[op] + " " + b.in(bindsSum), binds: bindsRelation}
	if op == "=" || op == "!=" {
		core.not, core.notBinds = a.in(bindsSum)+" "+celOperators[map[string]string{"=": "!=", "!=": "="}[op]]+" "+b.in(bindsSum), bindsRelation
	}
	ga, gb := without(a.guards, known), without(b.guards, known)
	if nodes && len(ga) > 0 && len(gb) > 0 && (op == "=" || op == "!=") {
		if a.loose || b.loose {
			return core, cannot(e, "it cannot be told beforehand whether there are values here")
		}
		return bothEmpty(op, core, ga, gb, m), nil
	}
	return guarded(e, core, union(a.guards, b.guards), a.loose || b.loose, empty, m, known)
}

// bothEmpty compares two nodes that may both be empty, which XPath takes for equal.
func bothEmpty(op string, core condition, ga, gb []string, m mode) condition {
	first, second := allIn(ga, bindsSum), allIn(gb, bindsSum)
	switch {
	case op == "=" && m == asFalse:
		return condition{cel: core.cel + " || " + negated(ga) + " && " + negated(gb), binds: bindsOr}
	case op == "=" && m == asTrue:
		return condition{cel: first + " == " + second + " && " + core.cel, binds: bindsAnd}
	case op == "=":
		return condition{cel: first + " == " + second + " && (" + negated(ga) + " || " + core.cel + ")", binds: bindsAnd}
	case m == asFalse:
		return condition{cel: core.cel + " || " + first + " != " + second, binds: bindsOr}
	case m == asTrue:
		return condition{cel: "(" + allIn(ga, bindsOr) + " || " + allIn(gb, bindsOr) + ") && " + core.cel, binds: bindsAnd}
	}
	return condition{cel: first + " != " + second + " || " + allIn(ga, bindsAnd) + " && " + core.cel, binds: bindsOr}
}

// compareTexts compares two values as texts.
func (t *translator) compareTexts(e *binary, op string, a, b value, m mode, known []string) (condition, error) {
	if a.kind == kindOne && b.kind == kindOne && a.list == b.list && !a.list.doubled {
		return t.relation(e, op, a, b, op == "!=", true, m, known)
	}
	if a.blank || b.blank {
		a, err := t.spelled(e.left, a, known)
		if err != nil {
			return condition{}, err
		}
		if b, err = t.spelled(e.right, b, known); err != nil {
			return condition{}, err
		}
		return t.relation(e, op, a, b, op == "!=", false, m, known)
	}
	a, err := t.string(e, a)
	if err != nil {
		return condition{}, err
	}
	if b, err = t.string(e, b); err != nil {
		return condition{}, err
	}
	return t.relation(e, op, a, b, op == "!=", !a.constant() && !b.constant(), m, known)
}

// textIsNumber compares a text with a whole number: "5", "05" and "5.0" are all 5.
func (t *translator) textIsNumber(e expr, op string, a value, n float64, m mode, known []string) (condition, error) {
	sign, digits := "", strconv.FormatFloat(math.Abs(n), 'f', -1, 64)
	if n < 0 {
		sign = "-"
	}
	if n == 0 {
		sign = "-?"
	}
	core := condition{cel: a.in(bindsMember) + ".matches(" + celPattern(`^\s*`+sign+"0*"+digits+`(\.0*)?\s*$`) + ")", binds: bindsMember}
	if op == "!=" {
		core = core.negate()
	}
	return guarded(e, core, a.guards, a.loose, op == "!=", m, known)
}

// compareDates compares dates as they are written, where both are.
func (t *translator) compareDates(e *binary, op string, a, b value, m mode, known []string) (c condition, done bool, err error) {
	date := func(v value, other value) (value, bool) {
		switch {
		case v.kind == kindDate:
		case v.day != "":
			v.cel, v.binds, v.kind = v.day, bindsMember, kindDate
		case v.text != nil && isoDate.MatchString(*v.text) && (other.kind == kindDate || other.kind == kindDateTime):
			if op != "=" && op != "!=" {
				t.warn("%s is compared with a text; the date %s is meant", describe(other), *v.text)
			}
			v.kind = kindDate
		default:
			return v, false
		}
		return v, true
	}
	da, oka := date(a, b)
	db, okb := date(b, a)
	if oka && okb && (a.kind == kindDate || b.kind == kindDate) {
		c, err = t.relation(e, op, da, db, op == "!=", (a.node || a.kind == kindDate) && (b.node || b.kind == kindDate), m, known)
		return c, true, err
	}
	return c, false, nil
}

// columnIsNumber compares a column of a choice with a number: with the texts of the column that are that number.
func (t *translator) columnIsNumber(op string, a value, n float64) condition {
	var texts []string
	for _, c := range t.scope.items.choices {
		if text := c.column(a.column); xpathNumber(text) == n && !slices.Contains(texts, celString(text)) {
			texts = append(texts, celString(text))
		}
	}
	if len(texts) == 0 {
		return always(op == "!=")
	}
	c := condition{cel: a.cel + " == " + texts[0], binds: bindsRelation, not: a.cel + " != " + texts[0], notBinds: bindsRelation}
	if len(texts) > 1 {
		c = condition{cel: a.cel + " in [" + strings.Join(texts, ", ") + "]", binds: bindsRelation}
	}
	if op == "!=" {
		return c.negate()
	}
	return c
}
