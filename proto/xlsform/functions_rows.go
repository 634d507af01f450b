package xlsform

import "strings"

// rowsCall translates functions on the rows of repeats.
func (t *translator) rowsCall(x *call, known []string) (value, bool, error) {
	var v value
	var err error
	switch x.name {
	case "count":
		v, err = t.countRows(x)
	case "count-non-empty":
		v, err = t.countAnswered(x)
	case "sum":
		v, err = t.sumRows(x, known)
	case "min", "max":
		v, err = t.extreme(x, known)
	case "join":
		v, err = t.join(x, known)
	case "indexed-repeat":
		v, err = t.indexedRepeat(x, known)
	case "sum-if", "min-if", "max-if", "count-if", "join-if":
		v, err = t.conditional(x)
	default:
		return v, false, nil
	}
	return v, true, err
}

// overRows carries a macro, map or all, over rows: f says what of each row. Where repeats stand inside, fold makes one of
// what came of each row.
func (t *translator) overRows(e expr, r *rows, macro string, f func(v value, asked *condition) (string, error), fold func(list, rows string) string) (string, error) {
	x := t.variable()
	saved := t.scope
	defer func() {
		t.scope = saved
		t.release()
	}()
	t.scope = r.scope.with(r.repeat, x)
	below, err := t.rowsBelow(r)
	if err != nil {
		return "", err
	}
	body := ""
	if below != nil {
		if body, err = t.overRows(e, below, macro, f, fold); err == nil {
			body = fold(body, below.cel)
		}
	} else {
		v := value{}
		if !r.target.section() {
			v, err = t.of(e, r.target)
		}
		if err == nil {
			body, err = f(v, t.asked(r))
		}
	}
	return r.cel + "." + macro + "(" + x + ", " + body + ")", err
}

// rowsBelow is the next repeat on the way to the target, of a row that a variable holds; nil if there is none.
func (t *translator) rowsBelow(r *rows) (*rows, error) {
	section := r.target
	if !section.section() {
		section = section.parent
	}
	cel, open, err := t.section(section)
	if err != nil || open == nil {
		return nil, err
	}
	below := &rows{cel: cel + "." + open.field, repeat: open, target: r.target, rest: r.rest, scope: t.scope}
	if len(r.rest[open]) > 0 {
		return t.filtered(nil, below)
	}
	return below, nil
}

// asked is the condition under which the question is asked in a row; XPath leaves the others out. nil: in all.
func (t *translator) asked(r *rows) *condition {
	saved := t.scope
	defer func() { t.scope = saved }()
	var all *condition
	for n := r.target; n != nil && n != r.repeat; n = n.parent {
		source := n.get("relevant")
		if source == "" || isYes(source) {
			continue
		}
		e, err := parse(source)
		if err != nil {
			continue // it has no effect
		}
		t.scope.node, t.scope.self, t.scope.items = n, false, nil
		c, err := t.condition(e, exact, nil)
		if err != nil {
			if v, err := t.of(e, r.target); err == nil && !r.target.section() {
				t.warn("only the rows in which %s has an answer are looked at", r.target.name)
				return &condition{cel: v.guards[0], binds: bindsMember}
			}
			continue
		}
		if c.constant != nil && *c.constant {
			continue
		}
		if all != nil {
			c = condition{cel: c.in(bindsAnd) + " && " + all.in(bindsAnd), binds: bindsAnd}
		}
		all = &c
	}
	return all
}

// rowsArgument is an argument that must be the rows of a repeat.
func (t *translator) rowsArgument(x *call, e expr) (*rows, error) {
	r, err := t.nodeset(e)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, cannot(x, "%s() is not about the rows of a repeat", x.name)
	}
	return r, nil
}

// countRows is count().
func (t *translator) countRows(x *call) (value, error) {
	if err := arguments(x, 1, 1); err != nil {
		return value{}, err
	}
	if p, ok := x.args[0].(*path); ok && t.isItems(p) {
		return value{}, cannot(x, "the number of rows of a list is not translated")
	}
	r, err := t.nodeset(x.args[0])
	if err != nil {
		return value{}, err
	}
	if r == nil { // one node, which is there
		if _, isRef := x.args[0].(*reference); isRef {
			return numberConstant(1), nil
		}
		return value{}, cannot(x, "count() is not about the rows of a repeat")
	}
	v := value{binds: bindsMember, kind: kindInt}
	if r.target == r.repeat {
		v.cel = "size(" + r.cel + ")"
		return v, nil
	}
	return t.folded(x, r, func(_ value, asked *condition) (string, error) {
		if asked != nil {
			return asked.in(bindsOr) + " ? 1 : 0", nil
		}
		return "1", nil
	})
}

// folded is a sum of ints over all rows, also those of repeats inside.
func (t *translator) folded(e expr, r *rows, f func(value, *condition) (string, error)) (value, error) {
	cel, err := t.overRows(e, r, "map", f, func(list, _ string) string { return "sum(" + list + ")" })
	return value{cel: "sum(" + cel + ")", binds: bindsMember, kind: kindInt}, err
}

// countAnswered is count-non-empty().
func (t *translator) countAnswered(x *call) (value, error) {
	if err := arguments(x, 1, 1); err != nil {
		return value{}, err
	}
	r, err := t.rowsArgument(x, x.args[0])
	if err != nil {
		return value{}, err
	}
	return t.folded(x, r, func(v value, _ *condition) (string, error) { return allIn(v.guards, bindsOr) + " ? 1 : 0", nil })
}

// numbers is sum, min or max of a question in all rows. One row in which it is asked and empty leaves the whole without
// answer, as NaN does.
func (t *translator) numbers(x *call, r *rows, fold string) (value, error) {
	out := value{binds: bindsMember, kind: kindInt}
	cel, err := t.overRows(x, r, "map", func(v value, asked *condition) (string, error) {
		n, err := t.number(x, v)
		if err != nil {
			return "", err
		}
		n = n.total()
		if out.kind = n.kind; asked != nil {
			return asked.in(bindsTernary) + ", " + n.in(bindsTernary), nil
		}
		return n.in(bindsTernary), nil
	}, func(list, rows string) string {
		if fold == "sum" {
			return "sum(" + list + ")"
		}
		return "size(" + rows + ") > 0, " + fold + "(" + list + ")"
	})
	if err != nil {
		return out, err
	}
	guarded := false
	every, err := t.overRows(x, r, "all", func(v value, asked *condition) (string, error) {
		n, err := t.number(x, v)
		guard := "true"
		if g := without(n.guards, nil); len(g) > 0 {
			guarded = true
			if guard = all(g); asked != nil {
				guard = asked.negate().in(bindsOr) + " || " + allIn(g, bindsOr)
			}
		}
		return guard, err
	}, func(condition, _ string) string { return condition })
	if guarded {
		out.guards = []string{every}
	}
	if fold != "sum" {
		there, err := t.overRows(x, r, "exists", func(_ value, asked *condition) (string, error) {
			if asked != nil {
				return asked.cel, nil
			}
			return "true", nil
		}, func(condition, _ string) string { return condition })
		if err != nil {
			return out, err
		}
		if strings.HasSuffix(there, ", true)") && strings.HasPrefix(there, r.cel+".exists(") {
			there = "size(" + r.cel + ") > 0"
		}
		out.guards = union([]string{there}, out.guards)
	}
	out.cel = fold + "(" + cel + ")"
	return out, err
}

// sumRows is sum().
func (t *translator) sumRows(x *call, known []string) (value, error) {
	if err := arguments(x, 1, 1); err != nil {
		return value{}, err
	}
	r, err := t.nodeset(x.args[0])
	if err != nil {
		return value{}, err
	}
	if r == nil { // one node
		v, err := t.value(x.args[0], known)
		if err != nil {
			return v, err
		}
		return t.number(x, v)
	}
	return t.numbers(x, r, "sum")
}

// extreme is min() and max(), of rows or of arguments.
func (t *translator) extreme(x *call, known []string) (value, error) {
	var parts []value
	for _, a := range x.args {
		r, err := t.nodeset(a)
		if err != nil {
			return value{}, err
		}
		var v value
		if r != nil {
			v, err = t.numbers(x, r, x.name)
		} else if v, err = t.value(a, known); err == nil {
			v, err = t.number(a, v)
			v = v.total()
		}
		if err != nil {
			return v, err
		}
		parts = append(parts, v)
	}
	if len(parts) == 0 {
		return value{}, arguments(x, 1, 100)
	}
	v := parts[0]
	for _, p := range parts[1:] {
		a, b := alike(v, p)
		v = value{cel: x.name + "(" + a.cel + ", " + b.cel + ")", binds: bindsMember, kind: a.kind, guards: union(a.guards, b.guards), loose: a.loose || b.loose}
	}
	v.node, v.target, v.num = false, nil, nil
	return v, nil
}

// join is join(separator, nodes or texts ...).
func (t *translator) join(x *call, known []string) (value, error) {
	if err := arguments(x, 2, 1000); err != nil {
		return value{}, err
	}
	sep, err := t.texts(x.args[:1], known)
	if err != nil {
		return value{}, err
	}
	var parts []string
	for _, a := range x.args[1:] {
		r, err := t.nodeset(a)
		if err != nil {
			return value{}, err
		}
		var v value
		if r != nil {
			v, err = t.joined(a, r, sep[0].cel)
		} else if v, err = t.value(a, known); err == nil {
			v, err = t.spelled(a, v, known)
		}
		if err != nil {
			return v, err
		}
		if r != nil && len(x.args) == 2 {
			return v, nil
		}
		parts = append(parts, v.cel)
	}
	return value{cel: "join([" + strings.Join(parts, ", ") + "], " + sep[0].cel + ")", binds: bindsMember, kind: kindText, blank: true}, nil
}

// joined is the texts of a question in all rows where it is asked.
func (t *translator) joined(e expr, r *rows, sep string) (value, error) {
	cel, err := t.overRows(e, r, "map", func(v value, asked *condition) (string, error) {
		s, err := t.string(e, v)
		if err != nil {
			return "", err
		}
		s, err = t.spelled(e, s, nil)
		if asked != nil {
			return asked.in(bindsTernary) + ", " + s.in(bindsTernary), err
		}
		return s.in(bindsTernary), err
	}, func(list, rows string) string { return "size(" + rows + ") > 0, join(" + list + ", " + sep + ")" })
	return value{cel: "join(" + cel + ", " + sep + ")", binds: bindsMember, kind: kindText, blank: true}, err
}

// indexedRepeat is indexed-repeat(question, repeat, number, ...).
func (t *translator) indexedRepeat(x *call, known []string) (value, error) {
	if len(x.args) < 3 || len(x.args)%2 == 0 || len(x.args) > 7 {
		return value{}, &untranslatable{at: x.at(), what: "indexed-repeat() takes a question, and repeats each with a number", unknown: true}
	}
	target, err := t.nodeOf(x.args[0])
	if err != nil {
		return value{}, err
	}
	saved := t.scope
	defer func() { t.scope = saved }()
	var repeat *node
	for i := 1; i+2 < len(x.args); i += 2 {
		if repeat, err = t.nodeOf(x.args[i]); err != nil {
			return value{}, err
		}
		if err := t.enter(x, repeat, x.args[i+1], known, saved); err != nil {
			return value{}, err
		}
	}
	if repeat, err = t.nodeOf(x.args[len(x.args)-2]); err != nil {
		return value{}, err
	}
	if !target.within(repeat) || repeat.kind() != kindRepeat {
		return value{}, cannot(x, "%s does not stand in a repeat %s", target.name, repeat.name)
	}
	return t.row(x, repeat, x.args[len(x.args)-1], target, known)
}

// enter makes a row of a repeat, by its number, the one that is meant.
func (t *translator) enter(x *call, repeat *node, index expr, known []string, outside scope) error {
	inside := t.scope
	t.scope = outside
	i, err := t.value(index, known)
	if err == nil {
		i, err = t.number(index, i)
	}
	t.scope = inside
	if err != nil {
		return err
	}
	r, err := t.rowsOf(x, repeat, nil)
	if err != nil || r == nil || r.repeat != repeat {
		return cannot(x, "%s is no repeat that can be named here", repeat.name)
	}
	cel := i.cel
	if i.kind == kindDouble {
		cel, i.binds = "int("+cel+")", bindsMember
	}
	t.scope = t.scope.with(repeat, r.cel+"["+paren(cel, i.binds, bindsSum)+" - 1]")
	return nil
}

// nodeOf is the node that an argument names.
func (t *translator) nodeOf(e expr) (*node, error) {
	switch x := e.(type) {
	case *reference:
		return t.find(x, x.name)
	case *path:
		n, filters, err := t.walk(x)
		if err == nil && len(filters) > 0 {
			err = cannot(e, "a condition in brackets is not translated here")
		}
		return n, err
	}
	return nil, cannot(e, "a question must be named here")
}

// conditional is SurveyCTO's sum-if, count-if, min-if, max-if and join-if: (rows, condition), join-if with a separator first.
func (t *translator) conditional(x *call) (value, error) {
	args := x.args
	var sep value
	if x.name == "join-if" {
		if err := arguments(x, 3, 3); err != nil {
			return value{}, err
		}
		s, err := t.texts(args[:1], nil)
		if err != nil {
			return value{}, err
		}
		sep, args = s[0], args[1:]
	} else if err := arguments(x, 2, 2); err != nil {
		return value{}, err
	}
	r, err := t.rowsArgument(x, args[0])
	if err != nil {
		return value{}, err
	}
	v := t.variable()
	saved := t.scope
	t.scope = r.scope.with(r.repeat, v)
	c, err := t.condition(args[1], exact, nil)
	t.scope = saved
	t.release()
	if err != nil {
		return value{}, err
	}
	r.cel += ".filter(" + v + ", " + c.cel + ")"
	switch x.name {
	case "count-if":
		return value{cel: "size(" + r.cel + ")", binds: bindsMember, kind: kindInt}, nil
	case "join-if":
		return t.joined(x, r, sep.cel)
	}
	return t.numbers(x, r, strings.TrimSuffix(x.name, "-if"))
}
