package xlsform

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// mode is what an expression without answer counts as where it stands: relevance that gives no answer is not relevance, and a
// check without outcome flags nothing.
type mode uint8

const (
	exact   mode = iota // it must be true or false
	asFalse             // no answer counts as false
	asTrue              // no answer counts as true
)

func (m mode) opposite() mode {
	switch m {
	case asFalse:
		return asTrue
	case asTrue:
		return asFalse
	}
	return exact
}

// condition is a translated expression that is true or false.
type condition struct {
	cel   string
	binds int
	// constant is set where the outcome is always the same.
	constant *bool
	// whenTrue and whenFalse are the guards that hold where the CEL is true, and where it is false.
	whenTrue, whenFalse []string
	// not is the negation where it can be said shorter than with !.
	not      string
	notBinds int
}

func (c condition) in(least int) string { return paren(c.cel, c.binds, least) }

func always(b bool) condition {
	return condition{cel: strconv.FormatBool(b), binds: bindsMember, constant: &b, not: strconv.FormatBool(!b), notBinds: bindsMember}
}

// negate is the condition that is true where c is false.
func (c condition) negate() condition {
	if c.constant != nil {
		return always(!*c.constant)
	}
	n := condition{cel: c.not, binds: c.notBinds, whenTrue: c.whenFalse, whenFalse: c.whenTrue, not: c.cel, notBinds: c.binds}
	if n.cel == "" {
		n.cel, n.binds = "!"+c.in(bindsSign), bindsSign
	}
	return n
}

// guarded is a condition on values: core where the guards hold, empty where one does not.
func guarded(e expr, core condition, guards []string, loose, empty bool, m mode, known []string) (condition, error) {
	if core.constant != nil && *core.constant == empty {
		return core, nil
	}
	if loose && (m == exact || m == asFalse && empty || m == asTrue && !empty) {
		return core, cannot(e, "it cannot be told beforehand whether there is a value here")
	}
	open := without(guards, known)
	core.whenTrue, core.whenFalse = union(core.whenTrue, guards), union(core.whenFalse, guards)
	if loose {
		core.whenTrue, core.whenFalse = nil, nil
	}
	switch {
	case core.constant != nil && len(open) == 0:
		return core, nil
	case core.constant != nil && *core.constant: // true where there is an answer
		return condition{cel: all(open), binds: bindsOf(open), whenTrue: open, not: negated(open), notBinds: bindsNegated(open)}, nil
	case core.constant != nil:
		return condition{cel: negated(open), binds: bindsNegated(open), whenFalse: open, not: all(open), notBinds: bindsOf(open)}, nil
	case len(open) == 0:
		return core, nil
	case !empty && m == asFalse: // what is not true may be without answer: nothing is known of it
		core.whenFalse = nil
		return core, nil
	case empty && m == asTrue:
		core.whenTrue = nil
		return core, nil
	case !empty:
		return condition{cel: allIn(open, bindsAnd) + " && " + core.in(bindsAnd), binds: bindsAnd, whenTrue: open}, nil
	}
	return condition{cel: negated(open) + " || " + core.in(bindsOr), binds: bindsOr, whenFalse: open}, nil
}

func bindsNegated(guards []string) int {
	if strings.HasPrefix(negated(guards), "!") {
		return bindsSign
	}
	return bindsRelation
}

func bindsOf(guards []string) int {
	if len(guards) > 1 {
		return bindsAnd
	}
	if g := guards[0]; guardIn(g, bindsMember) != g {
		return bindsTernary
	}
	return bindsMember
}

// conditionFunctions give true or false.
var conditionFunctions = map[string]bool{
	"not": true, "true": true, "false": true, "selected": true, "contains": true, "starts-with": true, "ends-with": true, "regex": true, "boolean": true,
	"boolean-from-string": true, "checklist": true, "weighted-checklist": true, "item-present": true, "is-selected": true,
}

// isCondition tells whether an expression is true or false, rather than a value.
func (t *translator) isCondition(e expr) bool {
	switch x := e.(type) {
	case *binary:
		switch x.op {
		case "and", "or", "=", "!=", "<", "<=", ">", ">=":
			return true
		}
	case *call:
		if x.name == "if" && len(x.args) == 3 {
			return t.isCondition(x.args[1]) && t.isCondition(x.args[2])
		}
		if x.name == "once" && len(x.args) == 1 {
			return false
		}
		return conditionFunctions[x.name]
	}
	return false
}

// condition translates an expression that is true or false. known are guards that hold wherever its outcome matters.
func (t *translator) condition(e expr, m mode, known []string) (condition, error) {
	switch x := e.(type) {
	case *binary:
		switch x.op {
		case "and":
			return t.and(x, m, known)
		case "or":
			return t.or(x, m, known)
		case "=", "!=", "<", "<=", ">", ">=":
			return t.compare(x, m, known)
		}
	case *call:
		if t.isCondition(e) {
			return t.conditionCall(x, m, known)
		}
	}
	v, err := t.value(e, known)
	if err != nil {
		return condition{}, err
	}
	return t.truth(e, v, m, known)
}

// truth is XPath's boolean() of a value.
func (t *translator) truth(e expr, v value, m mode, known []string) (condition, error) {
	switch {
	case v.text != nil:
		return always(*v.text != ""), nil
	case v.num != nil:
		return always(*v.num != 0 && !math.IsNaN(*v.num)), nil
	case v.kind == kindBool || v.kind == kindAcknowledge:
		return guarded(e, condition{cel: v.cel, binds: v.binds}, v.guards, v.loose, false, m, known)
	case v.kind == kindInt || v.kind == kindDouble:
		zero := "0"
		if v.kind == kindDouble {
			zero = "0.0"
		}
		empty := v.empty != nil && *v.empty != 0
		return guarded(e, condition{cel: v.in(bindsSum) + " != " + zero, binds: bindsRelation, not: v.in(bindsSum) + " == " + zero, notBinds: bindsRelation}, v.guards, v.loose, empty, m, known)
	}
	if v.loose {
		return condition{}, cannot(e, "it cannot be told beforehand whether there is a value here")
	}
	return guarded(e, always(true), v.answered(), false, false, m, known)
}

func (t *translator) and(x *binary, m mode, known []string) (condition, error) {
	l, err := t.condition(x.left, m, known)
	if err != nil {
		return l, err
	}
	if l.constant != nil && !*l.constant {
		return l, t.lookAt(x.right)
	}
	r, err := t.condition(x.right, m, union(known, l.whenTrue))
	switch {
	case err != nil:
		return r, err
	case l.constant != nil:
		return r, nil
	case r.constant != nil && *r.constant:
		return l, nil
	case r.constant != nil:
		return r, nil
	case l.cel == r.cel:
		return l, nil
	}
	right := r.in(bindsAnd)
	return condition{cel: l.in(bindsAnd) + " && " + right, binds: bindsAnd, whenTrue: union(l.whenTrue, r.whenTrue), whenFalse: intersection(l.whenFalse, r.whenFalse)}, nil
}

func (t *translator) or(x *binary, m mode, known []string) (condition, error) {
	l, err := t.condition(x.left, m, known)
	if err != nil {
		return l, err
	}
	if l.constant != nil && *l.constant {
		return l, t.lookAt(x.right)
	}
	r, err := t.condition(x.right, m, union(known, l.whenFalse))
	switch {
	case err != nil:
		return r, err
	case l.constant != nil:
		return r, nil
	case r.constant != nil && !*r.constant:
		return l, nil
	case r.constant != nil:
		return r, nil
	case l.cel == r.cel:
		return l, nil
	}
	left := l.cel
	if l.binds == bindsAnd || l.binds == bindsTernary { // parentheses for the eye, as people write them
		left = "(" + left + ")"
	}
	right := r.in(bindsOr)
	if r.binds == bindsAnd {
		right = "(" + right + ")"
	}
	return condition{cel: left + " || " + right, binds: bindsOr, whenTrue: intersection(l.whenTrue, r.whenTrue), whenFalse: union(l.whenFalse, r.whenFalse)}, nil
}

// lookAt finds what is wrong with an expression whose value does not matter.
func (t *translator) lookAt(e expr) error {
	_, err := t.condition(e, asFalse, nil)
	return err
}

var flipped = map[string]string{"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}

var celOperators = map[string]string{"=": "==", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}

// holds compares two constants.
func holds(op string, a, b float64) bool {
	switch op {
	case "=":
		return a == b
	case "!=":
		return a != b
	case "<":
		return a < b
	case "<=":
		return a <= b
	case ">":
		return a > b
	}
	return a >= b
}

// compare translates a comparison.
func (t *translator) compare(x *binary, m mode, known []string) (condition, error) {
	if equal := x.op == "=" || x.op == "!="; equal && (t.isCondition(x.left) || t.isCondition(x.right)) {
		return t.sameTruth(x, m, known)
	}
	a, err := t.operand(x.left, known)
	if err != nil {
		return condition{}, err
	}
	b, err := t.operand(x.right, known)
	if err != nil {
		return condition{}, err
	}
	op := x.op
	if a.constant() && !b.constant() {
		a, b, op = b, a, flipped[op]
	}
	equal := op == "=" || op == "!="
	switch {
	case a.constant() && b.constant():
		return compareConstants(op, a, b), nil
	case b.text != nil && *b.text == "" && equal:
		return t.compareEmpty(x, op, a, m, known)
	case b.text != nil && *b.text == "":
		return always(false), nil
	case a.kind == kindAcknowledge && b.text != nil && equal:
		c, err := t.truth(x, a, m, known)
		if op == "!=" {
			if c, err = t.truth(x, a, m.opposite(), known); err == nil {
				c = c.negate()
			}
		}
		return c, err
	case a.kind == kindBool && b.text != nil && equal && (*b.text == "true" || *b.text == "false"):
		c := condition{cel: a.cel, binds: a.binds}
		if (*b.text == "true") != (op == "=") {
			c = c.negate()
		}
		return guarded(x, c, a.guards, a.loose, op == "!=", m, known)
	case a.kind == kindOne && b.constant():
		return t.compareChoice(x, op, a, b, m, known)
	case a.kind == kindMany && b.constant():
		return t.compareChoices(x, op, a, b, m, known)
	}
	return t.compareValues(x, op, a, b, m, known)
}

// operand is a side of a comparison: true and false are 1 and 0.
func (t *translator) operand(e expr, known []string) (value, error) {
	if !t.isCondition(e) {
		return t.value(e, known)
	}
	c, err := t.condition(e, exact, known)
	if err != nil {
		return value{}, err
	}
	if c.constant != nil {
		if *c.constant {
			return numberConstant(1), nil
		}
		return numberConstant(0), nil
	}
	return value{cel: c.in(bindsOr) + " ? 1 : 0", binds: bindsTernary, kind: kindInt}, nil
}

// sameTruth compares two outcomes, or a value and an outcome: ${x} = true().
func (t *translator) sameTruth(x *binary, m mode, known []string) (condition, error) {
	for _, side := range [][2]expr{{x.left, x.right}, {x.right, x.left}} {
		c, ok := side[0].(*call)
		if !ok || c.name != "true" && c.name != "false" {
			continue
		}
		if (c.name == "true") == (x.op == "=") {
			return t.condition(side[1], m, known)
		}
		n, err := t.condition(side[1], m.opposite(), known)
		return n.negate(), err
	}
	l, err := t.condition(x.left, exact, known)
	if err != nil {
		return l, err
	}
	r, err := t.condition(x.right, exact, known)
	if err != nil {
		return r, err
	}
	return condition{cel: l.in(bindsSum) + " " + celOperators[x.op] + " " + r.in(bindsSum), binds: bindsRelation}, nil
}

func compareConstants(op string, a, b value) condition {
	if a.text != nil && b.text != nil && (op == "=" || op == "!=") {
		return always((*a.text == *b.text) == (op == "="))
	}
	number := func(v value) float64 {
		if v.num != nil {
			return *v.num
		}
		return xpathNumber(*v.text)
	}
	return always(holds(op, number(a), number(b)))
}

// compareEmpty translates x = ” and x != ”.
func (t *translator) compareEmpty(e expr, op string, a value, m mode, known []string) (condition, error) {
	if a.loose {
		return condition{}, cannot(e, "it cannot be told beforehand whether there is a value here")
	}
	if a.empty != nil || (a.kind == kindInt || a.kind == kindDouble) && !a.node {
		return always(op == "!="), nil // a number is never ''
	}
	return guarded(e, always(op == "!="), a.answered(), false, op == "=", m, known)
}

// compareChoice translates the comparison of a choice with a constant.
func (t *translator) compareChoice(e expr, op string, a, b value, m mode, known []string) (condition, error) {
	var yes, no []int32
	same := true
	for _, c := range a.list.choices {
		same = same && xpathNumber(c.name) == float64(c.number)
		if t.choiceHolds(op, c.name, b) {
			yes = append(yes, c.number)
		} else {
			no = append(no, c.number)
		}
	}
	if op == "=" && len(yes) == 0 || op == "!=" && len(no) == 0 {
		t.warn("%s is compared with %s, which is no choice of the list %s", describe(a), constantText(b), a.list.name)
	}
	empty := op == "!="
	var core condition
	left := a.in(bindsSum)
	switch {
	case len(yes) == 0:
		core = always(false)
	case len(no) == 0:
		core = always(true)
	case same && b.num != nil && *b.num == math.Trunc(*b.num) && op != "=" && op != "!=":
		core = condition{cel: left + " " + op + " " + b.cel, binds: bindsRelation}
	case len(yes) <= len(no):
		core = among(left, yes)
	default:
		core = among(left, no).negate()
	}
	return guarded(e, core, a.guards, a.loose, empty, m, known)
}

// among is the condition that a number is one of those given.
func among(left string, numbers []int32) condition {
	slices.Sort(numbers)
	numbers = slices.Compact(numbers)
	if len(numbers) == 1 {
		n := strconv.Itoa(int(numbers[0]))
		return condition{cel: left + " == " + n, binds: bindsRelation, not: left + " != " + n, notBinds: bindsRelation}
	}
	return condition{cel: left + " in [" + joinNumbers(numbers) + "]", binds: bindsRelation}
}

func joinNumbers(numbers []int32) string {
	parts := make([]string, len(numbers))
	for i, n := range numbers {
		parts[i] = strconv.Itoa(int(n))
	}
	return strings.Join(parts, ", ")
}

func constantText(v value) string {
	if v.text != nil {
		return "'" + *v.text + "'"
	}
	return strconv.FormatFloat(*v.num, 'f', -1, 64)
}

// choiceHolds compares the name of a choice with a constant as XPath does.
func (t *translator) choiceHolds(op, name string, b value) bool {
	if b.text != nil && (op == "=" || op == "!=") {
		return (name == *b.text) == (op == "=")
	}
	number := b.num
	if number == nil {
		f := xpathNumber(*b.text)
		number = &f
	}
	return holds(op, xpathNumber(name), *number)
}

// compareChoices translates the comparison of several choices with a constant: as text they are their names with spaces
// between, and a number only where one alone is chosen.
func (t *translator) compareChoices(e expr, op string, a, b value, m mode, known []string) (condition, error) {
	left := a.in(bindsMember)
	var core condition
	if b.text != nil && (op == "=" || op == "!=") {
		var numbers []int32
		for _, name := range strings.Fields(*b.text) {
			found := a.list.numbers(name)
			if len(found) == 0 {
				t.warn("%s is compared with '%s', which is no choice of the list %s", describe(a), name, a.list.name)
				return always(op == "!="), nil
			}
			numbers = append(numbers, found[0])
		}
		core = condition{cel: left + " == [" + joinNumbers(numbers) + "]", not: left + " != [" + joinNumbers(numbers) + "]"}
	} else {
		var yes []int32
		for _, c := range a.list.choices {
			if t.choiceHolds(strings.Replace(op, "!=", "=", 1), c.name, b) {
				yes = append(yes, c.number)
			}
		}
		switch len(yes) {
		case 0:
			t.warn("%s is compared with %s, which is no choice of the list %s", describe(a), constantText(b), a.list.name)
			return always(op == "!="), nil
		case 1:
			core = condition{cel: left + " == [" + joinNumbers(yes) + "]", not: left + " != [" + joinNumbers(yes) + "]"}
		default:
			core = condition{cel: "size(" + a.cel + ") == 1 && " + left + "[0] in [" + joinNumbers(yes) + "]", binds: bindsAnd}
			if op == "!=" {
				core = core.negate()
			}
			return core, nil
		}
	}
	core.binds, core.notBinds = bindsRelation, bindsRelation
	if op == "!=" {
		core = core.negate()
	}
	return core, nil
}
