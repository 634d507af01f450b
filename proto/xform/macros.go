package xform

import (
	"cel.dev/cel-go/common/ast"
)

var macros = map[string]bool{"exists": true, "exists_one": true, "all": true, "filter": true, "map": true}

// macro translates what goes through rows, or through the choices given.
func (x *translator) macro(name string, target ast.Expr, args []ast.Expr) value {
	over := x.eval(target)
	if x.err != nil || len(args) < 2 || args[0].Kind() != ast.IdentKind {
		return x.fail("it goes through what is no list")
	}
	v := args[0].AsIdent()
	switch over.kind {
	case kindMany:
		return x.overMany(name, over, v, args[1:])
	case kindList:
		return x.overList(name, over, v, args[1:])
	case kindRows:
		if over.set.tail == "" && over.set.flat == "" {
			return x.overRows(name, over, v, args[1:])
		}
	}
	return x.fail("it goes through a list that the form does not hold as one")
}

// overRows goes through the rows of a roster.
func (x *translator) overRows(name string, over value, v string, args []ast.Expr) value {
	row := over.set.place.node
	x.enter(over.set.place, v)
	var cond condition
	var body value
	if name == "map" {
		body = x.eval(args[len(args)-1])
		cond = total(always)
		if len(args) == 2 {
			cond = x.cond(args[0])
		}
	} else {
		cond = x.cond(args[0])
	}
	leave := x.frames[len(x.frames)-1]
	x.frames = x.frames[:len(x.frames)-1]
	delete(x.vars, v)
	if x.err != nil {
		return x.fail("")
	}
	_ = leave
	set := over.set
	count := func(f *formula, how, other string) *formula {
		if f.op == '0' {
			return truthOf(how == "= 0")
		}
		n := "count(" + set.text + predicate(f) + ") "
		return atom(n+how, n+other)
	}
	// defined is where the condition has an outcome in all rows.
	defined := always
	if needs := without(cond.needs, set.promised); len(needs) > 0 {
		defined = count(not(or(cond.t, cond.f)), "= 0", "> 0")
	}
	switch name {
	case "exists", "all":
		if name == "all" {
			cond = cond.negate()
		}
		out := condition{t: and(over.def, count(cond.t, "> 0", "= 0")), f: and(over.def, count(not(cond.f), "= 0", "> 0")), needs: over.needs}
		if defined.op == '1' {
			out.f = and(over.def, count(cond.t, "= 0", "> 0"))
		} else {
			out.needs = append(append([]*formula(nil), over.needs...), defined)
		}
		if name == "all" {
			out = out.negate()
		}
		return boolean(out)
	case "exists_one":
		n := "count(" + set.text + predicate(cond.t) + ")"
		is := atom(n+" = 1", n+" != 1")
		def := and(over.def, defined)
		return boolean(condition{t: and(def, is), f: and(def, not(is)), needs: conjunctsOf(def)})
	}
	promised := map[string]bool{}
	for s := range set.promised {
		promised[s] = true
	}
	for s := range cond.t.conjuncts() {
		promised[s] = true
	}
	out := value{kind: kindRows, place: over.place, def: and(over.def, defined)}
	out.set = &nodeset{text: set.text + predicate(cond.t), place: set.place, promised: promised}
	if name == "map" {
		x.taken(&out, row, body)
	}
	out.needs = conjunctsOf(out.def)
	return out
}

func conjunctsOf(f *formula) []*formula {
	switch f.op {
	case '1':
		return nil
	case '&':
		return f.kids
	}
	return []*formula{f}
}

func predicate(f *formula) string {
	if f.op == '1' {
		return ""
	}
	return "[" + f.String() + "]"
}

// enter begins a predicate over the rows at a place; v is each row.
func (x *translator) enter(p place, v string) {
	f := frame{row: p.node, up: -1}
	if p.frame > 0 && p.frame == len(x.frames)-1 {
		f.up = depth(p.node) - depth(x.frames[p.frame].row)
	}
	x.frames = append(x.frames, f)
	n := len(x.frames) - 1
	at := place{n, p.node}
	if p.node.Message == nil {
		at.node = p.node.Nodes[0]
		x.vars[v] = value{place: at}
		return
	}
	x.vars[v] = value{kind: kindMessage, place: at, def: always}
}

// taken makes a nodeset of what map takes from each row.
func (x *translator) taken(out *value, row *Node, body value) {
	set := out.set
	inner := len(x.frames) // the frame that has just been left
	switch {
	case body.set != nil && body.set.flat != "" && body.def.op == '1' && body.set.place.frame == inner:
		set.text, set.flat = set.text+"/"+body.set.text, body.set.flat
		return
	case body.place.node == nil || body.place.frame != inner || body.place.node.Kind != Leaf || body.branches != nil || body.text != down(row, body.place.node):
		x.fail("it reckons with each row before it takes them together")
		return
	}
	if len(without(body.needs, set.promised)) > 0 {
		n := "count(" + set.text + predicate(not(body.def)) + ") "
		out.def = and(out.def, atom(n+"= 0", n+"> 0"))
	}
	set.tail, set.leaf = "/"+body.text, body.place.node
	set.text += set.tail
	out.choices, out.integer = body.choices, body.integer
}

// overMany goes through the choices given: each choice of the list is asked for by itself.
func (x *translator) overMany(name string, over value, v string, args []ast.Expr) value {
	if name == "map" || name == "filter" || name == "exists_one" {
		return x.fail("it makes a new list of the choices given")
	}
	if c, ok := x.sameChoice(over, v, args[0]); ok && name == "exists" {
		return boolean(c)
	}
	var parts []condition
	for _, c := range over.choices.Choices {
		x.vars[v] = fixed(int64(c.Number))
		cond := x.cond(args[0])
		if name == "all" {
			cond = cond.negate()
		}
		is := atom("selected("+over.text+", "+literal(c.Name)+")", "")
		parts = append(parts, both([]condition{total(is), cond}))
	}
	delete(x.vars, v)
	out := either(parts)
	if name == "all" {
		out = out.negate()
	}
	return boolean(out)
}

// sameChoice is exists(v, v == other), where other is an answer out of the same list.
func (x *translator) sameChoice(over value, v string, e ast.Expr) (condition, bool) {
	if e.Kind() != ast.CallKind || comparisons[e.AsCall().FunctionName()] != "=" {
		return condition{}, false
	}
	args := e.AsCall().Args()
	if args[0].Kind() == ast.IdentKind && args[0].AsIdent() == v {
		args[0], args[1] = args[1], args[0]
	}
	if args[1].Kind() != ast.IdentKind || args[1].AsIdent() != v || args[0].Kind() != ast.SelectKind {
		return condition{}, false
	}
	other := x.eval(args[0])
	if other.kind != kindChoice || other.choices != over.choices {
		return condition{}, false
	}
	is := atom("selected("+over.text+", "+other.text+")", "")
	none := atom(over.text+" = ''", over.text+" != ''")
	// Of no choices none is the other, whatever that is.
	return condition{t: and(other.def, is), f: or(none, and(other.def, not(is))), needs: other.needs}, true
}

// overList goes through a list written in the expression.
func (x *translator) overList(name string, over value, v string, args []ast.Expr) value {
	if name != "exists" && name != "all" {
		return x.fail("it makes a new list")
	}
	var parts []condition
	for _, el := range over.list {
		if el.lit == nil {
			return x.fail("it goes through a list that is computed")
		}
		x.vars[v] = el
		parts = append(parts, x.cond(args[0]))
	}
	delete(x.vars, v)
	if name == "all" {
		return boolean(both(parts))
	}
	return boolean(either(parts))
}
