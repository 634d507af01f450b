package xlsform

import (
	"math"
	"strconv"
	"strings"
)

// value translates an expression that is no condition. known are guards that hold wherever it matters.
func (t *translator) value(e expr, known []string) (value, error) {
	if t.isCondition(e) {
		c, err := t.condition(e, exact, known)
		return value{cel: c.cel, binds: c.binds, kind: kindBool}, err
	}
	switch x := e.(type) {
	case *number:
		return numberConstant(x.value), nil
	case *literal:
		return textConstant(x.text), nil
	case *reference:
		n, err := t.find(x, x.name)
		if err != nil {
			return value{}, err
		}
		return t.of(x, n)
	case *negative:
		v, err := t.value(x.of, known)
		if err == nil {
			v, err = t.number(x, v)
		}
		if err != nil {
			return v, err
		}
		v = v.total()
		v.cel, v.binds, v.node = "-"+v.in(bindsMember), bindsSign, false
		return v, nil
	case *binary:
		return t.arithmetic(x, known)
	case *call:
		return t.call(x, known)
	case *path:
		return t.path(x, known)
	}
	return value{}, cannot(e, "this is not translated")
}

// path translates a path that is read as one value.
func (t *translator) path(p *path, known []string) (value, error) {
	if from, ok := p.from.(*call); ok && from.name == "current" && t.scope.outer != nil {
		saved := t.scope
		defer func() { t.scope = saved }()
		t.scope = *t.scope.outer
	}
	if t.scope.self && p.from == nil && !p.absolute && len(p.steps) == 1 && p.steps[0].name == "." {
		return t.of(p, t.scope.node)
	}
	if t.scope.items != nil && p.from == nil && !p.absolute {
		if name, ok := columnName(p); ok {
			return t.columnOf(name), nil
		}
	}
	if t.isItems(p) {
		return t.items(p, known)
	}
	if n, index, rest, ok := t.indexed(p); ok {
		return t.row(p, n, index, rest, known)
	}
	target, filters, err := t.walk(p)
	if err != nil {
		return value{}, err
	}
	if len(filters) > 0 {
		r, err := t.rowsOf(p, target, filters)
		if err != nil {
			return value{}, err
		}
		return t.first(p, r)
	}
	return t.of(p, target)
}

// columnName is the column of a choice that a path in a filter names.
func columnName(p *path) (string, bool) {
	steps := p.steps
	if len(steps) == 2 && steps[0].name == "." {
		steps = steps[1:]
	}
	if len(steps) != 1 || steps[0].axis != "child" || len(steps[0].predicates) > 0 || strings.HasPrefix(steps[0].name, ".") || steps[0].name == "*" {
		return "", false
	}
	return steps[0].name, true
}

// column is a column of the choice that a filter is about.
func (t *translator) columnOf(name string) value {
	v := value{kind: kindText, binds: bindsMember, cel: "choice." + name, column: name, node: true}
	if identifier(name, "") != name || reserved[name] {
		v.cel = "choice[" + celString(name) + "]"
	}
	there, missing := 0, 0
	v.numeric = true
	for _, c := range t.scope.items.choices {
		text := strings.TrimSpace(c.column(name))
		if text == "" {
			missing++
			continue
		}
		there++
		v.numeric = v.numeric && !math.IsNaN(xpathNumber(text))
	}
	if there == 0 {
		t.warn("the list %s has no column %s that is not empty", t.scope.items.name, name)
		return textConstant("")
	}
	if missing > 0 {
		v.guards = []string{v.cel + ` != ""`}
	}
	return v
}

// column is what a filter reads of a choice.
func (c *choice) column(name string) string {
	switch name {
	case "name":
		return c.name
	case "label":
		return firstOf(anyText(c.texts["label"]), c.name)
	}
	return c.columns[name]
}

// first is the value of the first of the rows.
func (t *translator) first(e expr, r *rows) (value, error) {
	saved := t.scope
	defer func() { t.scope = saved }()
	t.scope = t.scope.with(r.repeat, r.cel+"[0]")
	return t.of(e, r.target)
}

// indexed tells whether a path takes a row of a repeat by its number: ${repeat}[2]/name, /data/repeat[position() = 2]/name.
func (t *translator) indexed(p *path) (repeat *node, index expr, target *node, ok bool) {
	target, filters, err := t.walk(p)
	if err != nil || len(filters) != 1 {
		return nil, nil, nil, false
	}
	for r, predicates := range filters {
		if len(predicates) != 1 {
			return nil, nil, nil, false
		}
		if b, is := predicates[0].(*binary); is && b.op == "=" {
			if c, is := b.left.(*call); is && c.name == "position" && len(c.args) == 0 {
				return r, b.right, target, true
			}
		}
		if !t.isCondition(predicates[0]) {
			return r, predicates[0], target, true
		}
	}
	return nil, nil, nil, false
}

// row is the value of a question in the row of a number.
func (t *translator) row(e expr, repeat *node, index expr, target *node, known []string) (value, error) {
	i, err := t.value(index, known)
	if err == nil {
		i, err = t.number(e, i)
	}
	if err != nil {
		return value{}, err
	}
	r, err := t.rowsOf(e, repeat, nil)
	if err != nil {
		return value{}, err
	}
	if r == nil {
		return value{}, cannot(e, "%s is no repeat", repeat.name)
	}
	if r.repeat != repeat {
		return value{}, cannot(e, "%s stands in the repeat %s, of which no row is named", repeat.name, r.repeat.name)
	}
	at := ""
	if i.num != nil {
		n := int(*i.num)
		if n < 1 {
			return textConstant(""), nil
		}
		at = strconv.Itoa(n - 1)
	} else {
		cel := i.cel
		if i.kind == kindDouble {
			cel, i.binds = "int("+cel+")", bindsMember
		}
		at = paren(cel, i.binds, bindsSum) + " - 1"
	}
	saved := t.scope
	defer func() { t.scope = saved }()
	t.scope = t.scope.with(repeat, r.cel+"["+at+"]")
	v, err := t.of(e, target)
	return v, err
}

// arithmetic translates + - * div mod and |.
func (t *translator) arithmetic(x *binary, known []string) (value, error) {
	a, err := t.value(x.left, known)
	if err != nil {
		return a, err
	}
	b, err := t.value(x.right, known)
	if err != nil {
		return b, err
	}
	if x.op == "|" {
		return a, cannot(x, "the union of nodes is not translated")
	}
	if x.op == "-" && a.kind == kindDate && b.kind == kindDate {
		return value{cel: "days_between(" + b.cel + ", " + a.cel + ")", binds: bindsMember, kind: kindInt, guards: union(a.guards, b.guards), loose: a.loose || b.loose}, nil
	}
	day := ""
	if (x.op == "+" || x.op == "-") && a.kind == kindDate && b.kind == kindInt {
		days := b.in(bindsSign)
		if x.op == "-" && b.num != nil {
			days = strconv.Itoa(-int(*b.num))
		} else if x.op == "-" {
			days = "-" + b.in(bindsMember)
		}
		day = "add_days(" + a.cel + ", " + days + ")"
	}
	if a, err = t.number(x.left, a); err != nil {
		return a, err
	}
	if b, err = t.number(x.right, b); err != nil {
		return b, err
	}
	if a.num != nil && b.num != nil && x.op == "-" {
		return numberConstant(*a.num - *b.num), nil
	}
	a, b = a.total(), b.total()
	v := value{guards: union(a.guards, b.guards), loose: a.loose || b.loose, day: day}
	switch x.op {
	case "div":
		a, b = a.asDouble(), b.asDouble()
		v.cel, v.binds, v.kind = a.in(bindsProduct)+" / "+b.in(bindsSign), bindsProduct, kindDouble
	case "mod":
		return t.modulo(x, a, b, v)
	case "*":
		a, b = alike(a, b)
		v.cel, v.binds, v.kind = a.in(bindsProduct)+" * "+b.in(bindsSign), bindsProduct, a.kind
	default:
		a, b = alike(a, b)
		v.cel, v.binds, v.kind = a.in(bindsSum)+" "+x.op+" "+b.in(bindsProduct), bindsSum, a.kind
	}
	return v, nil
}

// modulo is the remainder, which CEL has for ints only.
func (t *translator) modulo(x *binary, a, b, v value) (value, error) {
	if b.num != nil && *b.num == 0 {
		return numberConstant(math.NaN()), nil
	}
	if a.kind == kindInt && b.kind == kindInt && b.num != nil {
		v.cel, v.binds, v.kind = a.in(bindsProduct)+" % "+b.in(bindsSign), bindsProduct, kindInt
		return v, nil
	}
	a, b = a.asDouble(), b.asDouble()
	v.cel = a.in(bindsSum) + " - " + b.in(bindsSign) + " * trunc(" + a.in(bindsProduct) + " / " + b.in(bindsSign) + ")"
	v.binds, v.kind = bindsSum, kindDouble
	if b.num == nil {
		v.guards = union(v.guards, []string{b.in(bindsSum) + " != 0.0"})
	}
	return v, nil
}

// call translates a function that gives a value.
func (t *translator) call(x *call, known []string) (value, error) {
	for _, group := range []func(*call, []string) (value, bool, error){t.basicCall, t.choiceCall, t.textCall, t.numberCall, t.dateCall, t.rowsCall, t.deviceCall} {
		v, done, err := group(x, known)
		if done || err != nil {
			return v, err
		}
	}
	return value{}, &untranslatable{at: x.at(), what: "there is no function " + x.name, unknown: true}
}

// arguments checks how many arguments a function has.
func arguments(x *call, least, most int) error {
	if len(x.args) < least || len(x.args) > most {
		want := strconv.Itoa(least)
		if most != least {
			want += " to " + strconv.Itoa(most)
		}
		return &untranslatable{at: x.at(), what: x.name + "() takes " + want + " arguments, not " + strconv.Itoa(len(x.args)), unknown: true}
	}
	return nil
}
