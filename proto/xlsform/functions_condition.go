package xlsform

import (
	"regexp"
	"strconv"
	"strings"
)

// conditionCall translates functions that are true or false.
func (t *translator) conditionCall(x *call, m mode, known []string) (condition, error) {
	switch x.name {
	case "true", "false":
		return always(x.name == "true"), arguments(x, 0, 0)
	case "not":
		if err := arguments(x, 1, 1); err != nil {
			return condition{}, err
		}
		c, err := t.condition(x.args[0], m.opposite(), known)
		return c.negate(), err
	case "if":
		return t.choose(x, m, known)
	case "boolean":
		if err := arguments(x, 1, 1); err != nil {
			return condition{}, err
		}
		return t.condition(x.args[0], m, known)
	case "selected", "is-selected":
		return t.selected(x, m, known)
	case "contains", "starts-with", "ends-with":
		return t.within(x, m, known)
	case "regex":
		return t.regex(x, m, known)
	case "boolean-from-string":
		return t.fromString(x, m, known)
	case "checklist", "weighted-checklist":
		return t.checklist(x, m, known)
	case "item-present":
		return t.itemPresent(x, m, known)
	}
	return condition{}, cannot(x, "the function %s is not translated", x.name)
}

// choose is if() between two conditions.
func (t *translator) choose(x *call, m mode, known []string) (condition, error) {
	c, err := t.condition(x.args[0], exact, known)
	if err != nil {
		return c, err
	}
	a, err := t.condition(x.args[1], m, union(known, c.whenTrue))
	if err != nil {
		return a, err
	}
	b, err := t.condition(x.args[2], m, union(known, c.whenFalse))
	switch {
	case err != nil:
		return b, err
	case c.constant != nil && *c.constant:
		return a, nil
	case c.constant != nil:
		return b, nil
	}
	return condition{cel: c.in(bindsOr) + " ? " + a.in(bindsOr) + " : " + b.in(bindsTernary), binds: bindsTernary}, nil
}

// selected tells whether a choice is among those chosen.
func (t *translator) selected(x *call, m mode, known []string) (condition, error) {
	if err := arguments(x, 2, 2); err != nil {
		return condition{}, err
	}
	a, err := t.value(x.args[0], known)
	if err != nil {
		return condition{}, err
	}
	b, err := t.value(x.args[1], known)
	if err != nil {
		return condition{}, err
	}
	if b.constant() && (a.kind == kindMany || a.kind == kindOne) {
		s, _ := t.string(x, b)
		return t.selectedConstant(x, a, strings.TrimSpace(*s.text), m, known)
	}
	if a.kind == kindMany && b.kind == kindOne && a.list == b.list && !a.list.doubled {
		c, err := guarded(x, condition{cel: "selected(" + a.cel + ", " + b.cel + ")", binds: bindsMember}, b.guards, b.loose, false, m, known)
		return orBothEmpty(c, without(a.guards, known), without(b.guards, known)), err
	}
	s, err := t.string(x.args[1], b)
	if err != nil {
		return condition{}, err
	}
	var core condition
	there := []string{"has(" + a.cel + ")"}
	loose := s.loose || a.loose
	switch a.kind {
	case kindMany:
		r := t.variable()
		core = condition{cel: s.in(bindsSum) + " in " + a.in(bindsMember) + ".map(" + r + ", choice_name(" + t.listName(a.list) + ", " + r + "))", binds: bindsRelation}
		t.release()
	case kindOne:
		name := t.choiceName(a)
		core, there = condition{cel: name.cel + " == " + s.in(bindsSum), binds: bindsRelation}, name.guards
	default:
		text, err := t.string(x.args[0], a)
		if err != nil {
			return condition{}, err
		}
		core, there = condition{cel: s.in(bindsSum) + " in split(" + text.cel + `, " ")`, binds: bindsRelation}, text.guards
	}
	guards := s.guards
	if a.kind != kindMany {
		guards = union(there, guards)
	}
	c, err := guarded(x, core, guards, loose, false, m, known)
	return orBothEmpty(c, without(there, known), without(s.guards, known)), err
}

// orBothEmpty is a condition, or that two values are both without answer: to XPath nothing is selected in nothing.
func orBothEmpty(c condition, a, b []string) condition {
	if len(a) == 0 || len(b) == 0 {
		return c
	}
	return condition{cel: c.in(bindsOr) + " || " + paren(negated(b), bindsNegated(b), bindsAnd) + " && " + paren(negated(a), bindsNegated(a), bindsAnd), binds: bindsOr}
}

// selectedConstant is selected() with the name of a choice.
func (t *translator) selectedConstant(x *call, a value, name string, m mode, known []string) (condition, error) {
	numbers := a.list.numbers(name)
	if len(numbers) == 0 {
		t.warn("%s cannot have the choice '%s', which is not in the list %s", describe(a), name, a.list.name)
		return always(false), nil
	}
	if a.kind == kindOne {
		return guarded(x, among(a.in(bindsSum), numbers), a.guards, a.loose, false, m, known)
	}
	parts := make([]string, len(numbers))
	for i, n := range numbers {
		parts[i] = "selected(" + a.cel + ", " + strconv.Itoa(int(n)) + ")"
	}
	c := condition{cel: strings.Join(parts, " || "), binds: bindsMember}
	if len(parts) > 1 {
		c.binds = bindsOr
	}
	return c, nil
}

// within is contains, starts-with and ends-with.
func (t *translator) within(x *call, m mode, known []string) (condition, error) {
	if err := arguments(x, 2, 2); err != nil {
		return condition{}, err
	}
	v, err := t.subject(x, known)
	if err != nil {
		return condition{}, err
	}
	part, err := t.texts(x.args[1:], known)
	if err != nil {
		return condition{}, err
	}
	if p := part[0].text; p != nil && *p == "" {
		return always(true), nil
	}
	if v.text != nil && part[0].text != nil {
		in := map[string]func(string, string) bool{"contains": strings.Contains, "starts-with": strings.HasPrefix, "ends-with": strings.HasSuffix}[x.name]
		return always(in(*v.text, *part[0].text)), nil
	}
	if part[0].text == nil && len(without(v.guards, known)) > 0 {
		if v, err = t.spelled(x.args[0], v, known); err != nil {
			return condition{}, err
		}
	}
	function := map[string]string{"contains": "contains", "starts-with": "startsWith", "ends-with": "endsWith"}[x.name]
	core := condition{cel: v.in(bindsMember) + "." + function + "(" + part[0].cel + ")", binds: bindsMember}
	return guarded(x, core, v.guards, v.loose, false, m, known)
}

// regex tells whether a pattern fits the whole of a text.
func (t *translator) regex(x *call, m mode, known []string) (condition, error) {
	if err := arguments(x, 2, 2); err != nil {
		return condition{}, err
	}
	l, ok := x.args[1].(*literal)
	if !ok {
		return condition{}, cannot(x, "regex() is translated only with a pattern that is written out")
	}
	p, err := pattern(x, l.text)
	if err != nil {
		return condition{}, err
	}
	v, err := t.subject(x, known)
	if err != nil {
		return condition{}, err
	}
	core := condition{cel: v.in(bindsMember) + ".matches(" + celPattern(p) + ")", binds: bindsMember}
	empty, err := regexp.MatchString(p, "")
	if err != nil {
		return core, cannot(x, "the pattern %q cannot be used: %v", l.text, err)
	}
	return guarded(x, core, v.guards, v.loose, empty, m, known)
}

// fromString is boolean-from-string: true of 'true' and '1'.
func (t *translator) fromString(x *call, m mode, known []string) (condition, error) {
	if err := arguments(x, 1, 1); err != nil {
		return condition{}, err
	}
	v, err := t.value(x.args[0], known)
	if err != nil {
		return condition{}, err
	}
	if v.kind == kindBool || v.kind == kindAcknowledge {
		return t.truth(x, v, m, known)
	}
	if v, err = t.string(x.args[0], v); err != nil {
		return condition{}, err
	}
	if v.text != nil {
		return always(*v.text == "true" || *v.text == "1"), nil
	}
	return guarded(x, condition{cel: v.in(bindsSum) + ` in ["true", "1"]`, binds: bindsRelation}, v.guards, v.loose, false, m, known)
}

// checklist(min, max, conditions...) counts the conditions that are true; weighted-checklist has a weight after each.
func (t *translator) checklist(x *call, m mode, known []string) (condition, error) {
	step := 1
	if x.name == "weighted-checklist" {
		step = 2
	}
	if len(x.args) < 2+step || (len(x.args)-2)%step != 0 {
		return condition{}, arguments(x, 2+step, 1000)
	}
	var limits [2]value
	for i := range limits {
		v, err := t.value(x.args[i], known)
		if err == nil {
			v, err = t.number(x, v)
		}
		if err != nil || v.num == nil {
			return condition{}, cannot(x, "%s() is translated only with limits that are written out", x.name)
		}
		limits[i] = v.asDouble()
	}
	var parts []string
	for i := 2; i < len(x.args); i += step {
		c, err := t.condition(x.args[i], exact, known)
		if err != nil {
			return c, err
		}
		weight := "1.0"
		if step == 2 {
			w, err := t.value(x.args[i+1], known)
			if err == nil {
				w, err = t.number(x, w)
			}
			if err != nil || w.num == nil {
				return c, cannot(x, "weighted-checklist() is translated only with weights that are written out")
			}
			weight = celDouble(*w.num)
		}
		parts = append(parts, "("+c.in(bindsOr)+" ? "+weight+" : 0.0)")
	}
	sum := strings.Join(parts, " + ")
	var bounds []string
	if *limits[0].num >= 0 {
		bounds = append(bounds, sum+" >= "+limits[0].cel)
	}
	if *limits[1].num >= 0 {
		bounds = append(bounds, sum+" <= "+limits[1].cel)
	}
	if len(bounds) == 0 {
		return always(true), nil
	}
	return condition{cel: strings.Join(bounds, " && "), binds: bindsAnd}, nil
}

// itemPresent is SurveyCTO's item-present(separator, text, item).
func (t *translator) itemPresent(x *call, m mode, known []string) (condition, error) {
	if err := arguments(x, 3, 3); err != nil {
		return condition{}, err
	}
	v, err := t.texts(x.args, known)
	if err != nil {
		return condition{}, err
	}
	return condition{cel: v[2].in(bindsSum) + " in split(" + v[1].cel + ", " + v[0].cel + ")", binds: bindsRelation}, nil
}
