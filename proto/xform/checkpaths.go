package xform

import (
	"strings"
)

// expression checks one expression of a question.
func (c *checker) expression(path, what, text string) {
	if text == "" {
		return
	}
	e, err := parseXPath(text)
	if err != nil {
		c.wrong(path, "%s cannot be read: %v", what, err)
		return
	}
	reads := map[string]bool{}
	c.follow(e, path, what, place2{node: c.nodes[path]}, c.nodes[path], reads)
	if what != "relevant" && what != "calculate" {
		return
	}
	if c.reads[path] == nil {
		c.reads[path] = map[string]bool{}
	}
	for r := range reads {
		c.reads[path][r] = true
	}
}

// place2 is where a path has led: a node of the instance, an element of a list, or nowhere that is known.
type place2 struct {
	node *dnode
	item *xmlNode
}

// follow checks what an expression refers to. at is the context node, current that of the question.
func (c *checker) follow(e *xpath, path, what string, at place2, current *dnode, reads map[string]bool) {
	switch e.kind {
	case "path":
		c.followPath(e, path, what, at, current, reads)
		return
	case "call":
		if !knownFunction(e.text) {
			c.wrong(path, "%s uses the function %s, which the programs of ODK do not know", what, e.text)
		}
		if e.text == "instance" && len(e.args) == 1 && e.args[0].kind == "string" {
			c.list(path, what, e.args[0].text)
		}
		if e.text == "pulldata" && len(e.args) > 0 {
			for _, a := range e.args[1:] {
				c.follow(a, path, what, at, current, reads)
			}
			return
		}
	}
	for _, a := range e.args {
		c.follow(a, path, what, at, current, reads)
	}
}

// list finds a secondary instance.
func (c *checker) list(path, what, id string) *xmlNode {
	i := c.instances[id]
	if i == nil {
		c.wrong(path, "%s refers to the list %q, which the form does not have", what, id)
	}
	return i
}

func (c *checker) followPath(e *xpath, path, what string, at place2, current *dnode, reads map[string]bool) {
	switch {
	case e.absolute:
		at = place2{node: &dnode{path: "", kids: map[string]*dnode{c.primary.name: c.root}}}
	case e.from != nil && e.from.kind == "call" && e.from.text == "current":
		at = place2{node: current}
	case e.from != nil && e.from.kind == "call" && e.from.text == "instance" && len(e.from.args) == 1:
		i := c.list(path, what, e.from.args[0].text)
		if at = (place2{item: i}); i != nil && c.external[e.from.args[0].text] {
			at = place2{}
		}
	case e.from != nil:
		c.follow(e.from, path, what, at, current, reads)
		at = place2{}
	}
	for _, s := range e.steps {
		at = c.step(s.name, path, what, at)
		for _, p := range s.pred {
			c.follow(p, path, what, at, current, reads)
		}
	}
	if at.node != nil && at.node.path != "" {
		reads[at.node.path] = true
	}
}

// step goes one step on; what is not there is said once.
func (c *checker) step(name, path, what string, at place2) place2 {
	switch {
	case name == "." || at.node == nil && at.item == nil:
		return at
	case name == "//" || name == "*" || strings.HasPrefix(name, "@"):
		return place2{}
	case at.node != nil && name == "..":
		if at.node.parent == nil {
			if at.node.path != "" {
				c.wrong(path, "%s goes up beyond the form's root", what)
			}
			return place2{}
		}
		return place2{node: at.node.parent}
	case at.node != nil:
		short := name[strings.IndexByte(name, ':')+1:]
		if k := at.node.kids[short]; k != nil {
			return place2{node: k}
		}
		c.wrong(path, "%s refers to %s/%s, which is not there%s", what, at.node.path, name, c.near(at.node, name))
		return place2{}
	case name == "..":
		return place2{}
	}
	if k := at.item.child(name); k != nil {
		return place2{item: k}
	}
	if at.item.name == "item" || at.item.name == "root" || at.item.name == "instance" {
		for _, other := range at.item.parentAll() {
			if k := other.child(name); k != nil {
				return place2{item: k}
			}
		}
		c.wrong(path, "%s refers to the column %s of a list, which no choice has", what, name)
	}
	return place2{}
}

// near suggests a name that is alike.
func (c *checker) near(n *dnode, name string) string {
	best, bestDistance := "", 3
	for _, k := range sortedKeys(n.kids) {
		if d := editDistance(k, name); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return "; " + best + " is"
}

func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}

// checkCount checks what says how many rows a repeat has.
func (c *checker) checkCount(path, count string) {
	e, err := parseXPath(count)
	if err != nil {
		c.wrong(path, "its number of rows cannot be read: %v", err)
		return
	}
	reads := map[string]bool{}
	c.follow(e, path, "the number of rows", place2{node: c.nodes[path]}, c.nodes[path], reads)
	for r := range reads {
		if strings.HasPrefix(r, path+"/") {
			c.wrong(path, "its number of rows is asked within it, at %s", r)
		}
		if c.reads[path] == nil {
			c.reads[path] = map[string]bool{}
		}
		c.reads[path][r] = true
		c.counted[path] = true
	}
}

// circlesByCount tells whether a circle goes through the number of rows of a repeat, which programs only look at after a row
// is filled in.
func (c *checker) circlesByCount(circle []string) bool {
	for _, p := range circle {
		if c.counted[p] {
			return true
		}
	}
	return false
}

// checkCycles finds questions whose relevance or calculation depends on itself.
func (c *checker) checkCycles() {
	const (
		open = 1
		done = 2
	)
	states := map[string]int{}
	var trail []string
	var visit func(string)
	visit = func(p string) {
		switch states[p] {
		case done:
			return
		case open:
			for i := range trail {
				if trail[i] == p {
					circle := strings.Join(append(append([]string(nil), trail[i:]...), p), " reads ")
					if c.circlesByCount(trail[i:]) {
						c.odd(p, "how many rows there are depends on what is asked in them: %s", circle)
					} else {
						c.wrong(p, "it depends on itself: %s", circle)
					}
					return
				}
			}
			return
		}
		states[p] = open
		trail = append(trail, p)
		for _, r := range sortedKeys(c.reads[p]) {
			visit(r)
		}
		if n := c.nodes[p]; n != nil && n.parent != nil && len(c.reads[n.parent.path]) > 0 {
			visit(n.parent.path) // what stands in a group is asked where the group is
		}
		trail = trail[:len(trail)-1]
		states[p] = done
	}
	for _, p := range sortedKeys(c.reads) {
		visit(p)
	}
}
