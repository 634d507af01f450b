package xlsform

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The reference is XPath as ODK's programs carry it out, on a tree of nodes with texts: dynamic, with no types but those of
// XPath and of the nodes, and with nothing of the translator. What the translator makes of a form is compared with it.

// inst is a node of an answered form.
type inst struct {
	def    *node
	parent *inst
	kids   map[*node][]*inst
	text   string
	asked  bool
}

// day is a date or a date and time, as XPath of ODK has them.
type day struct{ text string }

// machine evaluates expressions at a node.
type machine struct {
	form *form
	root *inst
	at   *inst
	// item is the choice a filter is about.
	item *choice
	now  time.Time
}

// value is string, float64, bool, day or []*inst.
func (m *machine) eval(e expr) any {
	switch x := e.(type) {
	case *number:
		return x.value
	case *literal:
		return x.text
	case *negative:
		return -num(m.eval(x.of))
	case *reference:
		return m.nodes(m.find(x.name))
	case *path:
		return m.path(x)
	case *binary:
		return m.binary(x)
	case *call:
		return m.call(x)
	}
	panic(fmt.Sprintf("%T", e))
}

// find is the definition that ${name} means here.
func (m *machine) find(name string) *node {
	all := m.form.byName[name]
	for s := m.at.def; s != nil && len(all) > 1; s = s.parent {
		for _, n := range all {
			if n.within(s) {
				return n
			}
		}
	}
	return all[0]
}

// nodes are the asked nodes of a definition, within the rows that the context stands in.
func (m *machine) nodes(def *node) []*inst {
	var way []*node
	for x := def; x.parent != nil; x = x.parent {
		way = append([]*node{x}, way...)
	}
	at := []*inst{m.root}
	for _, w := range way {
		var next []*inst
		for _, i := range at {
			for _, k := range i.kids[w] {
				if k.asked && (w.kind() != kindRepeat || w == def || m.mine(k, w)) {
					next = append(next, k)
				}
			}
		}
		at = next
	}
	return at
}

// mine tells whether a row is the one that the context stands in, where it stands in the repeat at all.
func (m *machine) mine(row *inst, repeat *node) bool {
	for i := m.at; i != nil; i = i.parent {
		if i.def == repeat {
			return i == row
		}
	}
	return true
}

func (m *machine) path(p *path) any {
	if m.item != nil && p.from == nil && !p.absolute {
		if name, ok := columnName(p); ok {
			return m.item.column(name)
		}
	}
	if p.absolute || p.from != nil {
		panic("path")
	}
	at := m.at
	for _, s := range p.steps {
		switch s.name {
		case ".":
		case "..":
			at = at.parent
		default:
			for def, kids := range at.kids {
				if def.name == s.name && len(kids) > 0 {
					at = kids[0]
				}
			}
		}
	}
	return []*inst{at}
}

// plain is the value of the first node, by its type.
func plain(v any) any {
	set, ok := v.([]*inst)
	if !ok {
		return v
	}
	if len(set) == 0 || !set[0].asked || set[0].text == "" {
		return ""
	}
	i := set[0]
	switch i.def.kind() {
	case kindInt, kindDouble:
		return num(i.text)
	case kindDate, kindDateTime:
		return day{i.text}
	case kindCalculate:
		if i.def.out.calcKind == kindBool { // ODK keeps a text, "false" too is then true as a condition; ours is a bool
			return i.text == "true"
		}
		if i.def.out.calcKind == kindDate || i.def.out.calcKind == kindDateTime {
			return day{i.text}
		}
	}
	return i.text
}

func num(v any) float64 {
	switch x := plain(v).(type) {
	case float64:
		return x
	case bool:
		if x {
			return 1
		}
		return 0
	case string:
		return xpathNumber(x)
	case day:
		return x.days()
	}
	panic(fmt.Sprintf("%T", v))
}

func (d day) days() float64 {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02"} {
		if t, err := time.Parse(layout, d.text); err == nil {
			return float64(t.UnixMilli()) / 86_400_000
		}
	}
	return math.NaN()
}

func str(v any) string {
	switch x := plain(v).(type) {
	case float64:
		if math.IsNaN(x) {
			return "NaN"
		}
		return strconv.FormatFloat(x, 'f', -1, 64)
	case bool:
		return strconv.FormatBool(x)
	case string:
		return x
	case day:
		return x.text
	}
	panic(fmt.Sprintf("%T", v))
}

func truth(v any) bool {
	switch x := plain(v).(type) {
	case float64:
		return x != 0 && !math.IsNaN(x)
	case bool:
		return x
	case string:
		return x != ""
	}
	return true
}

func (m *machine) binary(x *binary) any {
	switch x.op {
	case "and":
		return truth(m.eval(x.left)) && truth(m.eval(x.right))
	case "or":
		return truth(m.eval(x.left)) || truth(m.eval(x.right))
	}
	a, b := plain(m.eval(x.left)), plain(m.eval(x.right))
	switch x.op {
	case "=", "!=":
		return same(a, b) == (x.op == "=")
	case "<", "<=", ">", ">=":
		return holds(x.op, num(a), num(b))
	case "+":
		return num(a) + num(b)
	case "-":
		return num(a) - num(b)
	case "*":
		return num(a) * num(b)
	case "div":
		return num(a) / num(b)
	case "mod":
		return math.Mod(num(a), num(b))
	}
	panic(x.op)
}

func same(a, b any) bool {
	_, boolA := a.(bool)
	_, boolB := b.(bool)
	_, numA := a.(float64)
	_, numB := b.(float64)
	switch {
	case boolA || boolB:
		return truth(a) == truth(b)
	case numA || numB:
		return num(a) == num(b)
	}
	return str(a) == str(b)
}

// numberOfRow is the number of the row of the repeat that a node stands in.
func numberOfRow(i *inst) float64 {
	for ; i != nil; i = i.parent {
		if i.def.kind() == kindRepeat {
			for n, row := range i.parent.kids[i.def] {
				if row == i {
					return float64(n + 1)
				}
			}
		}
	}
	return math.NaN()
}

func (m *machine) call(x *call) any {
	arg := func(i int) any { return m.eval(x.args[i]) }
	switch x.name {
	case "true", "false":
		return x.name == "true"
	case "not":
		return !truth(arg(0))
	case "if":
		if truth(arg(0)) {
			return plain(arg(1))
		}
		return plain(arg(2))
	case "selected":
		return strings.Contains(" "+str(arg(0))+" ", " "+strings.TrimSpace(str(arg(1)))+" ")
	case "count-selected":
		return float64(len(strings.Fields(str(arg(0)))))
	case "selected-at":
		words, n := strings.Fields(str(arg(0))), num(arg(1))
		if n >= 0 && n < float64(len(words)) {
			return words[int(n)]
		}
		return ""
	case "regex":
		return regexp.MustCompile(`^(?:` + x.args[1].(*literal).text + `)$`).MatchString(str(arg(0)))
	case "coalesce":
		if s := str(arg(0)); s != "" {
			return plain(arg(0))
		}
		return plain(arg(1))
	case "int", "round", "number", "string", "floor", "abs":
		return unary(x.name, arg(0))
	case "today":
		return day{m.now.Format("2006-01-02")}
	case "contains":
		return strings.Contains(str(arg(0)), str(arg(1)))
	case "starts-with":
		return strings.HasPrefix(str(arg(0)), str(arg(1)))
	case "boolean":
		return truth(arg(0))
	case "date":
		return day{str(arg(0))}
	case "decimal-date-time":
		if s := str(arg(0)); s != "" {
			return day{s}.days()
		}
		return math.NaN()
	case "string-length":
		return float64(len([]rune(str(arg(0)))))
	case "substr":
		return substr(str(arg(0)), num(arg(1)), num(arg(2)))
	case "index":
		return numberOfRow(m.at)
	case "position":
		if at := arg(0).([]*inst)[0]; at.def.kind() == kindRepeat {
			return numberOfRow(at)
		}
		return 1.0
	case "format-date-time", "format-date":
		return formatted(str(arg(0)), str(arg(1)))
	case "jr:choice-name":
		name := str(arg(0))
		n := m.find(strings.Trim(x.args[1].(*literal).text, "${} "))
		for _, c := range n.list.choices {
			if c.name == name {
				for name, tag := range m.form.langs.tags {
					if tag == m.form.langs.order[0] && c.texts["label"][name] != "" {
						return c.texts["label"][name]
					}
				}
				return c.name
			}
		}
		return ""
	}
	return m.rowsCall(x, arg)
}

// rowsCall are functions on nodesets.
func (m *machine) rowsCall(x *call, arg func(int) any) any {
	switch x.name {
	case "count":
		return float64(len(arg(0).([]*inst)))
	case "sum":
		total := 0.0
		for _, i := range arg(0).([]*inst) {
			total += num([]*inst{i})
		}
		return total
	case "min", "max":
		best := math.NaN()
		for n, i := range arg(0).([]*inst) {
			v := num([]*inst{i})
			switch {
			case n == 0:
				best = v
			case x.name == "min":
				best = math.Min(best, v)
			default:
				best = math.Max(best, v)
			}
		}
		return best
	case "join", "concat":
		var parts []string
		for i := range x.args {
			if x.name == "join" && i == 0 {
				continue
			}
			v := arg(i)
			if set, ok := v.([]*inst); ok && len(set) != 1 {
				for _, k := range set {
					parts = append(parts, str([]*inst{k}))
				}
				continue
			}
			parts = append(parts, str(v))
		}
		if x.name == "concat" {
			return strings.Join(parts, "")
		}
		return strings.Join(parts, str(arg(0)))
	case "indexed-repeat":
		repeat := m.find(x.args[1].(*reference).name)
		n := num(arg(2))
		rows := m.nodes(repeat)
		if !(n >= 1 && n <= float64(len(rows))) {
			return ""
		}
		target := m.find(x.args[0].(*reference).name)
		saved := m.at
		m.at = rows[int(n)-1]
		v := plain(m.nodes(target))
		m.at = saved
		return v
	}
	panic("function " + x.name)
}

func unary(name string, v any) any {
	switch name {
	case "string":
		return str(v)
	case "int":
		return math.Trunc(num(v))
	case "round":
		f := num(v)
		return math.Copysign(math.Floor(math.Abs(f)+0.5), f)
	case "floor":
		return math.Floor(num(v))
	case "abs":
		return math.Abs(num(v))
	}
	return num(v)
}

func substr(s string, from, to float64) string {
	r := []rune(s)
	a, b := int(max(from, 0)), int(min(to, float64(len(r))))
	if a >= b {
		return ""
	}
	return string(r[a:b])
}

func formatted(s, format string) string {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		if t, err = time.Parse("2006-01-02", s); err != nil {
			return ""
		}
	}
	for directive, layout := range map[string]string{"%Y": "2006", "%m": "01", "%d": "02", "%H": "15", "%M": "04", "%S": "05"} {
		format = strings.ReplaceAll(format, directive, t.Format(layout))
	}
	return strings.ReplaceAll(format, "%3", fmt.Sprintf("%03d", t.Nanosecond()/1e6))
}
