package xlsform

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// progress is how far the translation of a calculation is.
type progress uint8

const (
	notBegun progress = iota
	begun
	done
)

// translator translates the expressions of a form.
type translator struct {
	form   *form
	report *Report

	scope     scope
	variables int
	refs      []*node
	// cell is what is being translated, for warnings.
	line   int
	column string
	sheet  string
	// volatile is a function that only calculations and initial values may use.
	volatile string
}

func newTranslator(f *form, report *Report) *translator {
	return &translator{form: f, report: report, sheet: "survey"}
}

// translateAll translates the expressions of all questions.
func (t *translator) translateAll() { t.below(t.form.root) }

func (t *translator) below(section *node) {
	for _, n := range section.children {
		t.node(n)
		t.below(n)
	}
}

// warn notes something odd in the expression that is being translated.
func (t *translator) warn(format string, args ...any) {
	t.report.warn(t.sheet, t.line, "", t.column+": "+format, args...)
}

// begin prepares for an expression of a node's column. end must be called after it.
func (t *translator) begin(n *node, column string, self bool, items *list) (end func()) {
	saved := *t
	t.scope = scope{node: n, home: n.parent, self: self, items: items}
	t.variables, t.refs, t.volatile = 0, nil, ""
	t.line, t.column = n.record.number, column
	return func() { *t = saved }
}

// fail reports an expression that was not translated.
func (t *translator) fail(n *node, column, source string, err error) {
	p := Problem{Sheet: t.sheet, Row: n.record.number, Name: n.name, Column: column, Expression: source, Reason: err.Error()}
	if i, ok := n.where[column]; ok {
		p.Cell = cellName(i, n.record.number)
	}
	var u *untranslatable
	var s *syntaxError
	switch {
	case errors.As(err, &u):
		p.External, p.Error, p.Character = u.external, u.unknown, u.at+1
	case errors.As(err, &s):
		p.Error, p.Character, p.Reason = true, s.at+1, s.what
	}
	t.report.Problems = append(t.report.Problems, p)
	t.report.count(column, false, p.External)
}

// node translates the expressions of one row.
func (t *translator) node(n *node) {
	if source := n.get("relevant"); source != "" && !isYes(source) {
		t.relevant(n, source)
	}
	if source := n.get("constraint"); source != "" && !n.section() && !isYes(source) {
		t.constraint(n, source)
	}
	if source := n.get("choice_filter"); source != "" && !isYes(source) {
		t.filter(n, source)
	}
	if source := n.get("repeat_count"); source != "" && n.kind() == kindRepeat {
		t.repeatCount(n, source)
	}
	t.required(n)
	if n.get("calculation") != "" && !n.section() {
		t.calculation(n)
	} else if n.kind() == kindCalculate {
		n.out.calcKind, n.out.untranslated = kindText, true
		if n.get("default") == "" {
			t.report.warn(t.sheet, n.record.number, "", "%s is a calculation without an expression; nothing fills it", n.name)
		}
	}
	if source := n.cells["default"]; strings.TrimSpace(source) != "" && !n.section() {
		t.initial(n, source)
	}
}

func isYes(source string) bool {
	v, ok := yes(source)
	return ok && v
}

// translatedCondition translates a whole condition.
func (t *translator) translatedCondition(source string, m mode) (condition, error) {
	e, err := parse(source)
	if err != nil {
		return condition{}, err
	}
	c, err := t.condition(e, m, nil)
	if err == nil && t.volatile != "" {
		err = cannot(e, "%s() may stand in calculations only", t.volatile)
	}
	return c, err
}

func (t *translator) relevant(n *node, source string) {
	defer t.begin(n, "relevant", false, nil)()
	c, err := t.translatedCondition(source, asFalse)
	if err != nil {
		t.fail(n, "relevant", source, err)
		return
	}
	n.out.relevantRefs = t.refs
	t.report.count("relevant", true, false)
	if c.constant == nil || !*c.constant {
		n.out.relevant = c.cel
	}
	if c.constant != nil {
		t.warn("it is always %v", *c.constant)
	}
}

func (t *translator) constraint(n *node, source string) {
	defer t.begin(n, "constraint", true, nil)()
	c, err := t.translatedCondition(source, asTrue)
	if err != nil {
		t.fail(n, "constraint", source, err)
		return
	}
	t.report.count("constraint", true, false)
	if c.constant == nil || !*c.constant {
		n.out.constraint = c.cel
	}
	if c.constant != nil && !*c.constant {
		t.warn("no answer is ever allowed")
	}
}

func (t *translator) filter(n *node, source string) {
	defer t.begin(n, "choice_filter", false, n.list)()
	if n.list == nil {
		err := error(&untranslatable{what: "the choices are not in the form", external: true})
		if !n.typ.file && !strings.Contains(strings.ToLower(n.get("appearance")), "search(") && !strings.Contains(n.typ.list, "${") {
			err = &untranslatable{what: "there is no list of choices to filter", unknown: true}
		}
		t.fail(n, "choice_filter", source, err)
		return
	}
	c, err := t.translatedCondition(source, exact)
	if err != nil {
		t.fail(n, "choice_filter", source, err)
		return
	}
	t.report.count("choice_filter", true, false)
	if c.constant == nil || !*c.constant {
		n.out.filter = c.cel
	}
	if c.constant != nil && !*c.constant {
		t.warn("no choice is ever offered")
	}
}

func (t *translator) repeatCount(n *node, source string) {
	defer t.begin(n, "repeat_count", false, nil)()
	e, err := parse(source)
	if err != nil {
		t.fail(n, "repeat_count", source, err)
		return
	}
	v, err := t.count(e, nil)
	if err == nil && t.volatile != "" {
		err = cannot(e, "%s() may stand in calculations only", t.volatile)
	}
	if err != nil {
		t.fail(n, "repeat_count", source, err)
		return
	}
	t.report.count("repeat_count", true, false)
	n.out.count = v.cel
}

// required translates yes, no, or the condition under which an answer is required.
func (t *translator) required(n *node) {
	source := n.get("required")
	is, ok := yes(source)
	k := n.kind()
	if n.section() || k == kindNote || k == kindCalculate || n.typ.typ.system || n.get("calculation") != "" {
		return // there is nothing to answer
	}
	if ok {
		n.out.required = is
		return
	}
	defer t.begin(n, "required", false, nil)()
	c, err := t.translatedCondition(source, asFalse)
	if err != nil {
		t.fail(n, "required", source, err)
		return
	}
	t.report.count("required", true, false)
	switch {
	case c.constant != nil:
		n.out.required = *c.constant
	default:
		n.out.requiredWhen = c.cel
	}
}

// calculation translates a question's calculation, once, and gives the kind of its value.
func (t *translator) calculation(n *node) kind {
	switch n.out.calculated {
	case begun: // it reads itself; breakCycles says so
		return kindText
	case done:
		return n.out.calcKind
	}
	n.out.calculated, n.out.calcKind = begun, kindText
	source := n.get("calculation")
	if source == "" {
		n.out.calculated = done
		return kindText
	}
	defer t.begin(n, "calculation", false, nil)()
	e, err := parse(source)
	var v value
	if err == nil {
		v, err = t.value(e, nil)
	}
	if err == nil {
		v, err = t.fit(e, v, n)
	}
	n.out.calculated = done
	if err != nil {
		n.out.untranslated = n.kind() == kindCalculate || !asked(n)
		t.fail(n, "calculation", source, err)
		return kindText
	}
	if v.kind == kindDouble && divides.MatchString(v.cel) { // by 0: no number, no answer
		v.cel = "number(" + v.cel + ")"
	}
	n.out.calcKind, n.out.calculate, n.out.calculateRefs = v.kind, v.cel, t.refs
	t.report.count("calculation", true, false)
	return v.kind
}

// divides is a division by something that is not written out.
var divides = regexp.MustCompile(` / [^0-9]`)

// asked tells whether a question with a calculation is shown to be answered.
func asked(n *node) bool { return len(n.texts["label"]) > 0 }

// fit makes the value of a calculation one that the question's field holds.
func (t *translator) fit(e expr, v value, n *node) (value, error) {
	var err error
	switch n.kind() {
	case kindCalculate:
		v = v.total()
		switch v.kind {
		case kindOne, kindMany:
			v, err = t.string(e, v)
		case kindAcknowledge:
			v.kind = kindBool
		case kindPoint, kindFile:
			err = cannot(e, "%s is kept in several parts, a calculation in one", describe(v))
		}
	case kindInt, kindDouble:
		if v, err = t.number(e, v); err != nil {
			break
		}
		v = v.total()
		if n.kind() == kindDouble {
			v = v.asDouble()
		} else if v.kind == kindDouble {
			v.cel, v.binds, v.kind = "int("+v.cel+")", bindsMember, kindInt
		}
	case kindOne:
		if v.kind == kindOne && v.list == n.list {
			break
		}
		if v, err = t.string(e, v); err == nil {
			v.cel, v.binds, v.kind = "choice_number("+t.listName(n.list)+", "+v.cel+")", bindsMember, kindOne
		}
	case kindMany:
		if v.kind != kindMany || v.list != n.list {
			err = cannot(e, "a calculation of several choices is not translated")
		}
	case kindDate:
		v, err = t.moment(e, v)
		if err == nil && v.kind == kindDateTime {
			v.cel, v.binds, v.kind = `format_date(`+v.cel+`, "%Y-%m-%d")`, bindsMember, kindDate
		}
	case kindText, kindTime, kindDateTime, kindNote:
		v, err = t.string(e, v)
	default:
		err = cannot(e, "a calculation of such a question is not translated")
	}
	return v, err
}

// initial translates a default: an answer written out, or an expression.
func (t *translator) initial(n *node, source string) {
	defer t.begin(n, "default", false, nil)()
	text := strings.TrimSpace(source)
	if !dynamic(n, text) {
		cel, err := t.answer(n, source)
		if err != nil {
			t.report.warn(t.sheet, n.record.number, "", "default: %v; it is kept and not used", err)
			return
		}
		n.out.initial = cel
		return
	}
	e, err := parse(text)
	var v value
	if err == nil {
		v, err = t.value(e, nil)
	}
	if err == nil {
		v, err = t.fit(e, v, n)
	}
	if err != nil {
		t.fail(n, "default", source, err)
		return
	}
	t.report.count("default", true, false)
	n.out.initial = v.cel
}

// dynamic tells whether a default is an expression: it names a question or calls a function.
func dynamic(n *node, text string) bool {
	if strings.Contains(text, "${") {
		return true
	}
	e, err := parse(text)
	if err != nil {
		return false
	}
	switch x := e.(type) {
	case *call:
		return true
	case *binary:
		switch n.kind() {
		case kindInt, kindDouble, kindDate, kindDateTime:
			return !dateText.MatchString(text) && x.op != "|"
		}
	case *literal:
		return true
	}
	return false
}

// answer is an answer written out in the form, as CEL.
func (t *translator) answer(n *node, source string) (string, error) {
	text := strings.TrimSpace(source)
	switch n.kind() {
	case kindInt, kindDouble:
		v := numberConstant(xpathNumber(text))
		if *v.num != *v.num {
			return "", fmt.Errorf("%q is no number", text)
		}
		if n.kind() == kindDouble {
			v = v.asDouble()
		} else if v.kind != kindInt {
			return "", fmt.Errorf("%q is no whole number", text)
		}
		return v.cel, nil
	case kindOne:
		numbers := n.list.numbers(text)
		if len(numbers) == 0 {
			return "", fmt.Errorf("%q is no choice of the list %s", text, n.list.name)
		}
		return fmt.Sprint(numbers[0]), nil
	case kindMany:
		var all []int32
		for _, name := range strings.Fields(text) {
			numbers := n.list.numbers(name)
			if len(numbers) == 0 {
				return "", fmt.Errorf("%q is no choice of the list %s", name, n.list.name)
			}
			all = append(all, numbers[0])
		}
		return "[" + joinNumbers(all) + "]", nil
	case kindText, kindDate, kindTime, kindDateTime, kindCalculate:
		return celString(source), nil
	}
	return "", fmt.Errorf("%q cannot be the first answer of a question of type %s", text, n.typ.word)
}

// breakCycles takes back the expression that closes a circle, where the relevance or calculation of a question depends on
// itself, and lists it as an error.
func (t *translator) breakCycles() {
	for t.breakCycle() {
	}
}

// breakCycle breaks the first circle; false if there is none.
func (t *translator) breakCycle() bool {
	state := map[*node]progress{}
	var stack []*node
	var visit func(n *node) bool
	visit = func(n *node) bool {
		if n == nil || n.parent == nil || state[n] == done {
			return false
		}
		if state[n] == begun {
			t.takeBack(stack[slices.Index(stack, n):])
			return true
		}
		state[n] = begun
		stack = append(stack, n)
		for _, refs := range [][]*node{n.out.relevantRefs, n.out.calculateRefs, {n.parent}} {
			for _, r := range refs {
				if visit(r) {
					return true
				}
			}
		}
		stack = stack[:len(stack)-1]
		state[n] = done
		return false
	}
	var all func(n *node) bool
	all = func(n *node) bool {
		for _, c := range n.children {
			if visit(c) || all(c) {
				return true
			}
		}
		return false
	}
	return all(t.form.root)
}

// takeBack takes back the last expression of a circle.
func (t *translator) takeBack(circle []*node) {
	at := len(circle) - 1
	for circle[at].out.relevantRefs == nil && circle[at].out.calculateRefs == nil { // it only stands in the next
		at--
	}
	last, first := circle[at], circle[(at+1)%len(circle)]
	names := []string{last.name}
	for i := range circle {
		names = append(names, circle[(at+1+i)%len(circle)].name)
	}
	column := "relevant"
	if slices.Contains(last.out.calculateRefs, first) || last.out.relevantRefs == nil {
		column = "calculation"
	}
	err := &untranslatable{what: last.name + " depends on itself: " + strings.Join(names, " reads "), unknown: true}
	c := t.report.Expressions[column]
	c.Total, c.Translated = c.Total-1, c.Translated-1
	t.report.Expressions[column] = c
	t.fail(last, column, last.get(column), err)
	if column == "relevant" {
		last.out.relevant, last.out.relevantRefs = "", nil
		return
	}
	last.out.calculate, last.out.calculateRefs = "", nil
	last.out.untranslated = last.kind() == kindCalculate || !asked(last)
}
