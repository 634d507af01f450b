package xform

import "strings"

// place is an element of the form as an expression reaches it: from the question whose rule it is (frame 0), or from the
// row that the macro of a frame goes through.
type place struct {
	frame int
	node  *Node
}

// frame is one predicate that is being written: the rows it goes through.
type frame struct {
	// row is the repeat of the rows; nil where the predicate is one over the choices of a list.
	row *Node
	// up is how many steps lead from the row to the row of the frame before, -1 where none do.
	up int
}

// depth of a node below the root.
func depth(n *Node) int {
	d := 0
	for ; n.Parent != nil; n = n.Parent {
		d++
	}
	return d
}

// holding is the nearest node that holds both.
func holding(a, b *Node) *Node {
	for depth(a) > depth(b) {
		a = a.Parent
	}
	for depth(b) > depth(a) {
		b = b.Parent
	}
	for a != b {
		a, b = a.Parent, b.Parent
	}
	return a
}

// within tells whether n is r or stands below it.
func within(n, r *Node) bool {
	for ; n != nil; n = n.Parent {
		if n == r {
			return true
		}
	}
	return false
}

// inRow tells whether the node is a row or stands in one.
func inRow(n *Node) bool {
	for ; n != nil; n = n.Parent {
		if n.Kind == Repeat {
			return true
		}
	}
	return false
}

// down writes the steps from a node to one below it.
func down(from, to *Node) string {
	var names []string
	for n := to; n != from; n = n.Parent {
		names = append([]string{n.Name}, names...)
	}
	return strings.Join(names, "/")
}

// path writes the location path of a single element.
func (x *translator) path(p place) string {
	last := len(x.frames) - 1
	if p.frame == 0 {
		return x.fromQuestion(p.node, last > 0, false)
	}
	return x.fromRow(p)
}

// fromRow writes the path from the innermost row to what is in, or around, the row of a frame.
func (x *translator) fromRow(p place) string {
	row := x.frames[p.frame].row
	shared := holding(row, p.node)
	return steps(x.upTo(p.frame)+depth(row)-depth(shared), down(shared, p.node))
}

// rows writes the location path of all rows of a roster. Clients take a path without a predicate that leads through the
// row in which they stand for that row alone, so there it gets one.
func (x *translator) rows(p place) string {
	var text string
	last := len(x.frames) - 1
	if p.frame == 0 {
		text = x.fromQuestion(p.node, last > 0, true)
	} else {
		text = x.fromRow(p)
	}
	own := within(x.at, p.node)
	for _, f := range x.frames[1:] {
		own = own || within(f.row, p.node)
	}
	if own {
		return text + "[true()]"
	}
	return text
}

// upTo is how many steps lead from the row of the innermost frame to that of another.
func (x *translator) upTo(frame int) int {
	up := 0
	for i := len(x.frames) - 1; i > frame; i-- {
		if x.frames[i].up < 0 {
			x.fail("a rule about rows looks at one row from within another, for which XPath has no words")
			return 0
		}
		up += x.frames[i].up
	}
	return up
}

func steps(up int, names string) string {
	if up == 0 {
		if names == "" {
			return "."
		}
		return names
	}
	s := strings.TrimSuffix(strings.Repeat("../", up), "/")
	if names == "" {
		return s
	}
	return s + "/" + names
}

// fromQuestion writes the path from the question to a node: an absolute one where no row is shared.
func (x *translator) fromQuestion(n *Node, inPredicate, all bool) string {
	if n == x.at && !all {
		if inPredicate {
			x.selfInPredicate = true
			return "current()/."
		}
		return "."
	}
	target := n
	if all && within(x.at, n) {
		target = n.Parent // the rows of the roster in which the question stands
	}
	shared := holding(x.at, target)
	if !inRow(shared) && target == n {
		return n.Path
	}
	text := steps(depth(x.at)-depth(shared), down(shared, n))
	if inPredicate {
		return "current()/" + text
	}
	return text
}
