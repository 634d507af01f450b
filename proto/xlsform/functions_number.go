package xlsform

import (
	"math"
	"strconv"
	"strings"
)

// basicCall translates if, coalesce, once and the conversions.
func (t *translator) basicCall(x *call, known []string) (value, bool, error) {
	var v value
	err := error(nil)
	switch x.name {
	case "if":
		if err = arguments(x, 3, 3); err == nil {
			v, err = t.chosen(x, known)
		}
	case "coalesce":
		v, err = t.coalesce(x, known)
	case "once":
		if err = arguments(x, 1, 1); err == nil {
			if v, err = t.value(x.args[0], known); err == nil {
				t.volatile = x.name
				v.cel, v.binds, v.loose = "once("+v.cel+")", bindsMember, v.loose || len(v.guards) > 0
				v.guards, v.text, v.num, v.blank, v.day = nil, nil, nil, false, ""
			}
		}
	case "string":
		if err = arguments(x, 1, 1); err == nil {
			if v, err = t.value(x.args[0], known); err == nil {
				v, err = t.string(x, v)
			}
		}
	case "number", "int", "round", "abs":
		v, err = t.rounded(x, known)
	default:
		return v, false, nil
	}
	return v, true, err
}

// rounded is number, int, round and abs.
func (t *translator) rounded(x *call, known []string) (value, error) {
	if err := arguments(x, 1, 2); err != nil {
		return value{}, err
	}
	v, err := t.value(x.args[0], known)
	if err == nil {
		v, err = t.number(x.args[0], v)
	}
	if err != nil {
		return v, err
	}
	v = v.total()
	v.node, v.target = false, nil
	switch {
	case v.num != nil && x.name == "int":
		return numberConstant(math.Trunc(*v.num)), nil
	case v.num != nil && x.name == "abs":
		return numberConstant(math.Abs(*v.num)), nil
	case x.name == "abs":
		v.cel, v.binds = "abs("+v.cel+")", bindsMember
	case x.name == "int" && v.kind == kindDouble:
		v.cel, v.binds, v.kind = "int("+v.cel+")", bindsMember, kindInt
	case x.name == "round":
		places := "0"
		if len(x.args) == 2 {
			n, err := t.count(x.args[1], known)
			if err != nil {
				return v, err
			}
			places = n.cel
		} else if v.kind == kindInt {
			return v, nil
		}
		v = v.asDouble()
		v.num = nil
		v.cel, v.binds = "round("+v.cel+", "+places+")", bindsMember
	}
	return v, nil
}

// noAnswer is CEL that has no answer, of a kind.
func noAnswer(k kind) string {
	switch k {
	case kindInt, kindOne:
		return `int(number(""))`
	case kindDouble:
		return `number("")`
	}
	return `""`
}

// chosen is if() between two values.
func (t *translator) chosen(x *call, known []string) (value, error) {
	c, err := t.condition(x.args[0], exact, known)
	if err != nil {
		return value{}, err
	}
	knownA, knownB := union(known, c.whenTrue), union(known, c.whenFalse)
	a, err := t.value(x.args[1], knownA)
	if err != nil {
		return a, err
	}
	b, err := t.value(x.args[2], knownB)
	switch {
	case err != nil:
		return b, err
	case c.constant != nil && *c.constant:
		return a, nil
	case c.constant != nil:
		return b, nil
	}
	emptyA, emptyB := a.text != nil && *a.text == "", b.text != nil && *b.text == ""
	switch {
	case emptyA && emptyB:
		return a, nil
	case emptyB && !textual(a):
		b = value{cel: noAnswer(a.kind), binds: bindsMember, kind: a.kind, list: a.list, guards: []string{"false"}}
	case emptyA && !textual(b):
		a = value{cel: noAnswer(b.kind), binds: bindsMember, kind: b.kind, list: b.list, guards: []string{"false"}}
	}
	if a, b, err = t.sameKind(x, a, b, knownA, knownB); err != nil {
		return a, err
	}
	v := value{
		cel: c.in(bindsOr) + " ? " + a.in(bindsOr) + " : " + b.in(bindsTernary), binds: bindsTernary, kind: a.kind, list: a.list,
		loose: a.loose || b.loose, blank: a.blank || b.blank || a.text != nil && *a.text == "" || b.text != nil && *b.text == "", numeric: a.numeric && b.numeric,
	}
	v.node = emptyA || emptyB || a.node && b.node
	v.guards = eitherGuards(c, without(a.guards, knownA), without(b.guards, knownB))
	return v, nil
}

// textual tells whether a value is text to CEL, so that "" can stand beside it.
func textual(v value) bool {
	return v.kind == kindText || v.kind == kindDate || v.kind == kindTime || v.kind == kindDateTime
}

// eitherGuards are the guards of a ? : whose sides have guards.
func eitherGuards(c condition, a, b []string) []string {
	isFalse := func(g []string) bool { return len(g) == 1 && g[0] == "false" }
	switch {
	case len(a) == 0 && len(b) == 0:
		return nil
	case isFalse(b):
		return union([]string{c.in(bindsAnd)}, a)
	case isFalse(a):
		n := c.negate()
		return union([]string{n.in(bindsAnd)}, b)
	case len(b) == 0:
		n := c.negate()
		return []string{n.in(bindsOr) + " || " + allIn(a, bindsAnd)}
	case len(a) == 0:
		return []string{c.in(bindsOr) + " || " + allIn(b, bindsAnd)}
	}
	return []string{c.in(bindsOr) + " ? " + allIn(a, bindsOr) + " : " + allIn(b, bindsTernary)}
}

// sameKind makes two values of one kind, for the sides of a ? :.
func (t *translator) sameKind(x *call, a, b value, knownA, knownB []string) (value, value, error) {
	number := func(v value) bool { return v.kind == kindInt || v.kind == kindDouble }
	switch {
	case number(a) && number(b):
		a, b = alike(a.total(), b.total())
		return a, b, nil
	case a.kind == b.kind && (a.kind == kindBool || a.kind == kindOne && a.list == b.list):
		return a, b, nil
	case a.kind == b.kind && textual(a) && a.kind != kindText:
		return a, b, nil
	}
	keep := kindText
	if textual(a) && b.text != nil && *b.text == "" {
		keep = a.kind
	}
	if textual(b) && a.text != nil && *a.text == "" {
		keep = b.kind
	}
	var err error
	if a, err = t.spelled(x.args[min(1, len(x.args)-1)], a, knownA); err != nil {
		return a, b, err
	}
	if b, err = t.spelled(x.args[len(x.args)-1], b, knownB); err != nil {
		return a, b, err
	}
	a.kind, b.kind = keep, keep
	return a, b, nil
}

// coalesce is the first value that is not empty.
func (t *translator) coalesce(x *call, known []string) (value, error) {
	if err := arguments(x, 1, 100); err != nil {
		return value{}, err
	}
	v, err := t.value(x.args[len(x.args)-1], known)
	for i := len(x.args) - 2; i >= 0 && err == nil; i-- {
		var a value
		if a, err = t.value(x.args[i], known); err != nil {
			break
		}
		if a.loose {
			return a, cannot(x, "it cannot be told beforehand whether there is a value here")
		}
		there := a.answered()
		if a.constant() || len(without(there, known)) == 0 {
			v = a
			continue
		}
		c := condition{cel: all(there), binds: bindsOf(there)}
		knownA := union(known, there)
		if v.text != nil && *v.text == "" && !textual(a) {
			v = value{cel: noAnswer(a.kind), binds: bindsMember, kind: a.kind, list: a.list, guards: []string{"false"}}
		}
		pair := &call{place: x.place, name: "coalesce", args: []expr{x.args[i], x.args[i], x.args[len(x.args)-1]}}
		var b value
		if a, b, err = t.sameKind(pair, a, v, knownA, known); err != nil {
			break
		}
		next := value{cel: c.in(bindsOr) + " ? " + a.in(bindsOr) + " : " + b.in(bindsTernary), binds: bindsTernary, kind: a.kind, list: a.list, loose: b.loose, blank: b.blank, node: a.node && b.node}
		next.guards = eitherGuards(c, nil, without(b.guards, known))
		v = next
	}
	return v, err
}

// numberCall translates functions on numbers.
func (t *translator) numberCall(x *call, known []string) (value, bool, error) {
	one := map[string]string{"floor": "floor", "ceiling": "ceil", "ceil": "ceil", "sqrt": "sqrt", "exp": "exp", "log": "ln", "log10": "log10"}
	switch {
	case one[x.name] != "":
		if err := arguments(x, 1, 1); err != nil {
			return value{}, true, err
		}
		v, err := t.value(x.args[0], known)
		if err == nil {
			v, err = t.number(x, v)
		}
		if err != nil {
			return v, true, err
		}
		v = v.total()
		if v.kind == kindInt && (x.name == "floor" || strings.HasPrefix(x.name, "ceil")) {
			return v, true, nil
		}
		v = v.asDouble()
		switch x.name {
		case "sqrt":
			v.guards = union(v.guards, []string{v.in(bindsSum) + " >= 0.0"})
		case "log", "log10":
			v.guards = union(v.guards, []string{v.in(bindsSum) + " > 0.0"})
		}
		v.cel, v.binds, v.num, v.node = one[x.name]+"("+v.cel+")", bindsMember, nil, false
		return v, true, nil
	case x.name == "pow":
		if err := arguments(x, 2, 2); err != nil {
			return value{}, true, err
		}
		var sides [2]value
		for i, arg := range x.args {
			v, err := t.value(arg, known)
			if err == nil {
				v, err = t.number(arg, v)
			}
			if err != nil {
				return v, true, err
			}
			sides[i] = v.total().asDouble()
		}
		return value{
			cel: "pow(" + sides[0].cel + ", " + sides[1].cel + ")", binds: bindsMember, kind: kindDouble,
			guards: union(sides[0].guards, sides[1].guards), loose: sides[0].loose || sides[1].loose,
		}, true, nil
	case x.name == "pi":
		return numberConstant(math.Pi), true, nil
	case x.name == "random":
		t.volatile = x.name
		return value{cel: "random()", binds: bindsMember, kind: kindDouble}, true, nil
	case x.name == "index" && len(x.args) == 0:
		return t.position(x, nil)
	case x.name == "position":
		return t.position(x, x.args)
	}
	return value{}, false, nil
}

// position is the number of the row that a question stands in.
func (t *translator) position(x *call, args []expr) (value, bool, error) {
	var at *node
	for s := t.scope.node; s != nil && len(args) == 0; s = s.parent {
		if s.kind() == kindRepeat {
			at = s
			break
		}
	}
	if len(args) == 1 {
		switch a := args[0].(type) {
		case *path:
			n, _, err := t.walk(a)
			if err != nil {
				return value{}, true, err
			}
			at = n
		case *reference:
			n, err := t.find(a, a.name)
			if err != nil {
				return value{}, true, err
			}
			at = n
		}
	}
	if at == nil {
		return value{}, true, cannot(x, "%s() stands in no repeat", x.name)
	}
	if len(t.scope.rows) > 0 {
		if _, bound := t.scope.rows[at]; bound {
			return value{}, true, cannot(x, "the number of a row inside a sum over rows is not translated")
		}
	}
	if at.kind() != kindRepeat { // a group stands there once
		if x.name == "index" {
			return value{}, true, cannot(x, "index() stands in no repeat")
		}
		return numberConstant(1), true, nil
	}
	level := 0
	for s := t.scope.home; s != nil; s = s.parent {
		if s.kind() == kindRepeat {
			if level++; s == at {
				name := "position"
				if level > 1 {
					name += strconv.Itoa(level)
				}
				if level > 4 {
					return value{}, true, cannot(x, "the repeat %s is more than 4 repeats away", at.name)
				}
				return value{cel: name, binds: bindsMember, kind: kindInt}, true, nil
			}
		}
	}
	return value{}, true, cannot(x, "the question does not stand in the repeat %s", at.name)
}
