package xlsform

import (
	"fmt"
	"strings"
)

// scope is where an expression stands.
type scope struct {
	// node is the question, group or repeat from which paths are followed; home is the section whose message is `this`.
	node, home *node
	// self: "." is the answer that a check is about.
	self bool
	// rows are the repeats whose row a variable of a macro holds.
	rows map[*node]string
	// items is the list whose choices a filter is about.
	items *list
	// outer is the scope of the whole expression, which current() means; nil outside of macros.
	outer *scope
}

// with is the scope inside a macro over the rows of a repeat.
func (s scope) with(repeat *node, variable string) scope {
	if s.outer == nil {
		outer := s
		s.outer = &outer
	}
	rows := map[*node]string{repeat: variable}
	for r, v := range s.rows {
		rows[r] = v
	}
	s.rows = rows
	return s
}

// variable gives a name to the variable of a macro.
func (t *translator) variable() string {
	t.variables++
	if t.variables == 1 {
		return "r"
	}
	return fmt.Sprintf("r%d", t.variables)
}

func (t *translator) release() { t.variables-- }

// find finds the question of a name, the nearest to the scope's place.
func (t *translator) find(e expr, name string) (*node, error) {
	all := t.form.byName[name]
	if len(all) == 0 {
		if strings.HasPrefix(name, "last-saved#") {
			return nil, external(e, "${%s} asks for what was saved last on the device", name)
		}
		for other := range t.form.byName {
			if strings.EqualFold(other, name) {
				return nil, &untranslatable{at: e.at(), what: fmt.Sprintf("there is no question %s; there is %s", name, other), unknown: true}
			}
		}
		return nil, &untranslatable{at: e.at(), what: fmt.Sprintf("there is no question %s", name), unknown: true}
	}
	for s := t.scope.node; s != nil && len(all) > 1; s = s.parent {
		for _, n := range all {
			if n.within(s) {
				return n, nil
			}
		}
	}
	return all[0], nil
}

// section is how the message of a section is written. open is the first repeat on the way that no row is known of; then
// cel is how the section that has it is written.
func (t *translator) section(s *node) (cel string, open *node, err error) {
	var way []*node // from the top down to s
	for x := s; x.parent != nil; x = x.parent {
		way = append([]*node{x}, way...)
	}
	start, from := "", 0
	repeats := false
	for i, x := range way {
		if v, ok := t.scope.rows[x]; ok {
			start, from = v, i+1
		}
		repeats = repeats || x.kind() == kindRepeat
	}
	if start == "" {
		if start, from, err = t.anchor(way, repeats); err != nil {
			return "", nil, err
		}
	}
	cel = start
	for _, x := range way[from:] {
		if x.kind() == kindRepeat {
			return cel, x, nil
		}
		cel += "." + x.field
	}
	return cel, nil, nil
}

// anchor is this, up1 ... or root, whichever a way begins with, and how much of the way it stands for.
func (t *translator) anchor(way []*node, repeats bool) (string, int, error) {
	place := func(s *node) int { // how much of the way the section stands for, -1 if it is not on it
		if s.parent == nil {
			return 0
		}
		for i, x := range way {
			if x == s {
				return i + 1
			}
		}
		return -1
	}
	this := t.scope.home
	if n := place(this); n > 0 || this.parent == nil {
		return "this", n, nil
	}
	up := 0
	for s := this; s.parent != nil; s = s.parent {
		if n := place(s); n > 0 {
			if !repeats || !hasRepeat(way[:n]) {
				return "root", 0, nil
			}
			if up > 8 {
				return "", 0, fmt.Errorf("the question stands more than 8 groups away")
			}
			return fmt.Sprintf("up%d", up), n, nil
		}
		up++
	}
	return "root", 0, nil
}

func hasRepeat(way []*node) bool {
	for _, x := range way {
		if x.kind() == kindRepeat {
			return true
		}
	}
	return false
}

// of is the value of a question.
func (t *translator) of(e expr, n *node) (value, error) {
	if n.section() {
		return value{}, cannot(e, "%s is a group, not a question", n.name)
	}
	t.refs = append(t.refs, n)
	if t.scope.self && n == t.scope.node {
		return t.typed(n, "value", nil), nil
	}
	cel, open, err := t.section(n.parent)
	if err != nil {
		return value{}, cannot(e, "%v", err)
	}
	if open == nil {
		cel += "." + n.field
		return t.typed(n, cel, []string{"has(" + cel + ")"}), nil
	}
	// A repeat of which no row is meant: its first row, as XPath does.
	t.warn("%s stands in the repeat %s and is read from outside of it: the first row is meant", n.name, open.name)
	rows := cel + "." + open.field
	saved := t.scope
	t.scope = t.scope.with(open, rows+"[0]")
	v, err := t.of(e, n)
	t.scope = saved
	return v, err
}

// typed is the value of a question that is written as cel.
func (t *translator) typed(n *node, cel string, guards []string) value {
	v := value{cel: cel, binds: bindsMember, kind: n.kind(), list: n.list, guards: guards, node: true, target: n}
	switch v.kind {
	case kindCalculate:
		v.kind = t.calculation(n)
	case kindNote:
		v.kind = kindText
	case kindAcknowledge:
		v.kind = kindAcknowledge
	}
	if v.kind == kindText {
		v.list = nil
	}
	return v
}

// walk follows the steps of a path over the tree of the survey. It gives the node it ends at and the predicates of the
// repeats on the way.
func (t *translator) walk(p *path) (*node, map[*node][]expr, error) {
	at, err := t.origin(p)
	if err != nil {
		return nil, nil, err
	}
	steps := p.steps
	if p.absolute && len(steps) > 0 && !steps[0].deep {
		steps = steps[1:] // the root is called by the form's name, or data
	}
	filters := map[*node][]expr{}
	for _, s := range steps {
		next, err := t.step(p, at, s)
		if err != nil {
			return nil, nil, err
		}
		at = next
		if len(s.predicates) > 0 {
			repeat := at
			for repeat != nil && repeat.kind() != kindRepeat {
				repeat = repeat.parent
			}
			if repeat == nil || repeat != at {
				return nil, nil, cannot(p, "a condition in brackets can stand after a repeat only")
			}
			filters[repeat] = append(filters[repeat], s.predicates...)
		}
	}
	return at, filters, nil
}

// origin is the node a path begins at.
func (t *translator) origin(p *path) (*node, error) {
	switch from := p.from.(type) {
	case nil:
		if p.absolute {
			return t.form.root, nil
		}
		return t.scope.node, nil
	case *reference:
		return t.find(from, from.name)
	case *call:
		if from.name == "current" {
			return t.scope.node, nil
		}
	}
	return nil, cannot(p, "a path can begin with a question, with / or with current() only")
}

// step follows one step.
func (t *translator) step(p *path, at *node, s step) (*node, error) {
	switch {
	case s.deep:
		return t.find(p, s.name)
	case s.axis != "child":
		return nil, cannot(p, "the axis %s is not translated", s.axis)
	case s.name == ".":
		return at, nil
	case s.name == "..":
		if at.parent == nil {
			return nil, cannot(p, "the path leaves the form")
		}
		return at.parent, nil
	}
	for _, c := range at.children {
		if c.name == s.name {
			return c, nil
		}
	}
	return nil, &untranslatable{at: p.at(), what: fmt.Sprintf("there is no %s in %s", s.name, firstOf(at.name, "the form")), unknown: true}
}

// rows is a list of the rows of a repeat, and the question of each that is meant.
type rows struct {
	cel    string // the list
	repeat *node
	target *node // below the repeat, or the repeat itself
	rest   map[*node][]expr
	scope  scope
}

// nodeset reads an expression as the rows of a repeat; nil where it is one node.
func (t *translator) nodeset(e expr) (*rows, error) {
	var target *node
	filters := map[*node][]expr{}
	var err error
	switch x := e.(type) {
	case *reference:
		target, err = t.find(x, x.name)
	case *path:
		if t.isItems(x) {
			return nil, nil
		}
		target, filters, err = t.walk(x)
	default:
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return t.rowsOf(e, target, filters)
}

// rowsOf is the rows of the outermost repeat on the way to target of which no row is known.
func (t *translator) rowsOf(e expr, target *node, filters map[*node][]expr) (*rows, error) {
	parent := target
	if target.kind() != kindRepeat {
		parent = target.parent
	}
	for r := range filters { // a repeat that is filtered is meant whole, also from within
		if parent.within(r) {
			cel, open, err := t.section(r.parent)
			if err != nil || open != nil {
				return nil, cannot(e, "a condition on a repeat inside another repeat is not translated")
			}
			return t.filtered(e, &rows{cel: cel + "." + r.field, repeat: r, target: target, rest: filters, scope: t.scope})
		}
	}
	cel, open, err := t.section(parent)
	if err != nil {
		return nil, cannot(e, "%v", err)
	}
	if open == nil && target.kind() == kindRepeat { // named from within one of its rows: all are meant
		if cel, open, err = t.section(target.parent); err != nil {
			return nil, cannot(e, "%v", err)
		}
		if open == nil {
			open = target
		}
	}
	if open == nil {
		return nil, nil
	}
	return &rows{cel: cel + "." + open.field, repeat: open, target: target, rest: filters, scope: t.scope}, nil
}

// filtered applies the conditions on the repeat itself.
func (t *translator) filtered(e expr, r *rows) (*rows, error) {
	for _, p := range r.rest[r.repeat] {
		if !t.isCondition(p) {
			return nil, cannot(e, "a repeat with a number in brackets is not translated here")
		}
		x := t.variable()
		saved := t.scope
		t.scope = r.scope.with(r.repeat, x)
		t.scope.node, t.scope.self = r.repeat, false // "./age" and "age" are its children
		c, err := t.condition(p, exact, nil)
		t.scope = saved
		t.release()
		if err != nil {
			return nil, err
		}
		r.cel += ".filter(" + x + ", " + c.cel + ")"
	}
	return r, nil
}
