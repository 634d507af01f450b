package xlsform

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Binding strengths of CEL's operators, weakest first.
const (
	bindsTernary = iota + 1
	bindsOr
	bindsAnd
	bindsRelation
	bindsSum
	bindsProduct
	bindsSign
	bindsMember
)

// value is a translated expression that is no condition.
//
// XPath has no unset: an empty node is "" as text and NaN as a number. CEL's reading of an unset field gives no answer. The
// guards are the conditions, each always true or false, that hold together exactly where the CEL has an answer; where one fails,
// the CEL has none, and XPath's value is "" or NaN, or the number in empty.
type value struct {
	cel    string
	binds  int
	kind   kind
	list   *list
	guards []string
	// loose: the CEL may be without answer although all guards hold.
	loose bool
	// blank: a text that may be "" although all guards hold.
	blank bool
	// empty is what a number is where a guard fails, if not NaN.
	empty *float64
	// text and num are set for constants.
	text *string
	num  *float64
	// numeric: a text that is always a number.
	numeric bool
	// node: of a node, so that without answer it is "" even where it is a number.
	node   bool
	target *node
	// column is the column of a choice that the value is.
	column string
	// day is a date that a number of days was added to, in CEL; cel is the sum in days since 1970.
	day string
}

// untranslatable is an expression that cannot be said in CEL.
type untranslatable struct {
	at       int
	what     string
	external bool // it asks the device or a file that is not here
	unknown  bool // it names something that is not there
}

func (e *untranslatable) Error() string { return e.what }

func cannot(e expr, format string, args ...any) error {
	return &untranslatable{at: e.at(), what: fmt.Sprintf(format, args...)}
}

func external(e expr, format string, args ...any) error {
	return &untranslatable{at: e.at(), what: fmt.Sprintf(format, args...), external: true}
}

func paren(cel string, binds, least int) string {
	if binds < least {
		return "(" + cel + ")"
	}
	return cel
}

func (v value) in(least int) string { return paren(v.cel, v.binds, least) }

func (v value) constant() bool { return v.text != nil || v.num != nil }

// isText tells whether XPath compares the value as text.
func (v value) isText() bool {
	switch v.kind {
	case kindInt, kindDouble, kindBool:
		return false
	}
	return true
}

func textConstant(s string) value {
	return value{cel: celString(s), binds: bindsMember, kind: kindText, text: &s}
}

func numberConstant(f float64) value {
	v := value{binds: bindsMember, kind: kindDouble, num: &f}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		v.cel = `number("")`
		return v
	}
	if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		v.kind, v.cel = kindInt, strconv.FormatInt(int64(f), 10)
	} else {
		v.cel = celDouble(f)
	}
	if f < 0 {
		v.binds = bindsSign
	}
	return v
}

// celDouble writes a double, with a decimal point.
func celDouble(f float64) string {
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// celString writes a text as CEL reads it.
func celString(s string) string { return quoted(s, `\u%04x`) }

// quoted writes a text between quotes; control is how a character is written that no one can see.
func quoted(s, control string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, control, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// celPattern writes a regular expression, raw where it can be.
func celPattern(s string) string {
	if strings.Contains(s, `\`) && !strings.ContainsAny(s, "\"\n\r") {
		return `r"` + s + `"`
	}
	return celString(s)
}

// xpathNumber is what XPath's number() makes of a text.
func xpathNumber(s string) float64 {
	s = strings.TrimSpace(s)
	if s == "" || strings.ContainsAny(s, "eExXpPnNiI_+") {
		return math.NaN()
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return math.NaN()
	}
	return f
}

// numberPattern is the texts of which number() makes a number.
const numberPattern = `^\s*-?([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*$`

// without is a minus b.
func without(a, b []string) []string {
	var out []string
	for _, g := range a {
		if !slices.Contains(b, g) && !slices.Contains(out, g) {
			out = append(out, g)
		}
	}
	return out
}

func union(a, b []string) []string {
	return append(slices.Clone(a), without(b, a)...)
}

func intersection(a, b []string) []string {
	var out []string
	for _, g := range a {
		if slices.Contains(b, g) {
			out = append(out, g)
		}
	}
	return out
}

// all is the conjunction of guards, alone or as an argument.
func all(guards []string) string {
	if len(guards) == 1 {
		return guards[0]
	}
	parts := make([]string, len(guards))
	for i, g := range guards {
		parts[i] = guardIn(g, bindsAnd)
	}
	return strings.Join(parts, " && ")
}

// allIn is the conjunction of guards as an operand of an operator that binds as strongly as least.
func allIn(guards []string, least int) string {
	if len(guards) == 1 {
		return guardIn(guards[0], least)
	}
	return paren(all(guards), bindsAnd, least)
}

// guardIn is a guard as an operand of an operator that binds as strongly as least. Guards are relations or calls, but
// for those that say so by a space around ||, && or ?.
func guardIn(g string, least int) string {
	binds := bindsMember
	switch {
	case topLevel(g, " ? "):
		binds = bindsTernary
	case topLevel(g, " || "):
		binds = bindsOr
	case topLevel(g, " && "):
		binds = bindsAnd
	case topLevel(g, " >= ") || topLevel(g, " > ") || topLevel(g, " == ") || topLevel(g, " != ") || topLevel(g, " in ") || topLevel(g, " <= ") || topLevel(g, " < "):
		binds = bindsRelation
	case strings.HasPrefix(g, "!"):
		binds = bindsSign
	}
	return paren(g, binds, least)
}

// topLevel tells whether an operator stands in CEL outside of parentheses and texts.
func topLevel(cel, op string) bool {
	depth, quote := 0, byte(0)
	for i := 0; i < len(cel); i++ {
		c := cel[i]
		switch {
		case quote != 0:
			if c == '\\' {
				i++
			} else if c == quote {
				quote = 0
			}
		case c == '"':
			quote = c
		case c == '(' || c == '[':
			depth++
		case c == ')' || c == ']':
			depth--
		case depth == 0 && strings.HasPrefix(cel[i:], op):
			return true
		}
	}
	return false
}

// negated is CEL that is true where the guards do not all hold.
func negated(guards []string) string {
	if len(guards) == 1 {
		if g, ok := strings.CutPrefix(guards[0], "!"); ok && !topLevel(guards[0], " ") {
			return g
		}
		if g, ok := strings.CutSuffix(guards[0], ` != ""`); ok && !topLevel(g, " ") {
			return g + ` == ""`
		}
		return "!" + guardIn(guards[0], bindsSign)
	}
	return "!(" + all(guards) + ")"
}

// asDouble is a number as a double.
func (v value) asDouble() value {
	if v.kind != kindInt {
		return v
	}
	if v.num != nil {
		v.cel = celDouble(*v.num)
	} else {
		v.cel, v.binds = "double("+v.cel+")", bindsMember
	}
	v.kind = kindDouble
	return v
}

// alike makes of two numbers two ints or two doubles.
func alike(a, b value) (value, value) {
	if a.kind == b.kind {
		return a, b
	}
	return a.asDouble(), b.asDouble()
}

// total is a number with its value in place of no answer, where it has one.
func (v value) total() value {
	if v.empty == nil || len(v.guards) == 0 {
		return v
	}
	other := numberConstant(*v.empty)
	if v.kind == kindDouble {
		other = other.asDouble()
	}
	v.cel = allIn(v.guards, bindsOr) + " ? " + v.in(bindsOr) + " : " + other.cel
	v.binds, v.guards, v.empty = bindsTernary, nil, nil
	return v
}

// answered are the conditions under which the value is not "" or NaN.
func (v value) answered() []string {
	if v.text != nil {
		return nil
	}
	if v.blank {
		return union(v.guards, []string{v.in(bindsSum) + ` != ""`})
	}
	return v.guards
}

// number is a value as a number.
func (t *translator) number(e expr, v value) (value, error) {
	switch v.kind {
	case kindInt, kindDouble:
		return v, nil
	case kindBool:
		v.cel, v.binds, v.kind = v.in(bindsOr)+" ? 1 : 0", bindsTernary, kindInt
		return v, nil
	case kindOne:
		return t.numberOfChoice(v), nil
	case kindMany:
		s, err := t.string(e, v)
		if err != nil {
			return v, err
		}
		return t.number(e, s)
	case kindDate, kindDateTime:
		v.cel, v.binds, v.kind = "epoch_days("+v.cel+")", bindsMember, kindDouble
		return v, nil
	case kindText:
		if v.text != nil {
			return numberConstant(xpathNumber(*v.text)), nil
		}
		if !v.numeric {
			v.guards = union(v.guards, []string{v.in(bindsMember) + ".matches(" + celPattern(numberPattern) + ")"})
		}
		v.cel, v.binds, v.kind, v.blank = "number("+v.cel+")", bindsMember, kindDouble, false
		return v, nil
	}
	return v, cannot(e, "%s is no number", describe(v))
}

// numberOfChoice is the number that a choice's name is.
func (t *translator) numberOfChoice(v value) value {
	same, numeric := true, true
	for _, c := range v.list.choices {
		f := xpathNumber(c.name)
		same = same && f == float64(c.number)
		numeric = numeric && !math.IsNaN(f)
	}
	if same {
		v.kind = kindInt
		return v
	}
	name := t.choiceName(v)
	if !numeric {
		name.guards = union(name.guards, []string{name.cel + ".matches(" + celPattern(numberPattern) + ")"})
	}
	name.cel, name.kind = "number("+name.cel+")", kindDouble
	return name
}

// choiceName is the name of a choice.
func (t *translator) choiceName(v value) value {
	v.cel, v.binds, v.kind = "choice_name("+t.listName(v.list)+", "+v.cel+")", bindsMember, kindText
	v.list = nil
	return v
}

// listName is how the functions of the language name a list.
func (t *translator) listName(l *list) string {
	if l.table {
		return celString(l.enum)
	}
	return celString("form." + t.form.id + "." + l.enum)
}

// string is a value as text.
func (t *translator) string(e expr, v value) (value, error) {
	switch v.kind {
	case kindText, kindDate, kindTime, kindDateTime:
		v.kind = kindText
		return v, nil
	case kindInt, kindDouble:
		if v.num != nil {
			s := strconv.FormatFloat(*v.num, 'f', -1, 64)
			if math.IsNaN(*v.num) {
				s = "NaN"
			}
			return textConstant(s), nil
		}
		v = v.total()
		v.cel, v.binds, v.kind, v.numeric = "text("+v.cel+")", bindsMember, kindText, true
		return v, nil
	case kindBool:
		v.cel, v.binds, v.kind = "text("+v.cel+")", bindsMember, kindText
		return v, nil
	case kindOne:
		return t.choiceName(v), nil
	case kindMany:
		x := t.variable()
		v.cel = "join(" + v.in(bindsMember) + ".map(" + x + ", choice_name(" + t.listName(v.list) + ", " + x + `)), " ")`
		t.release()
		v.binds, v.kind, v.list = bindsMember, kindText, nil
		return v, nil
	}
	return v, cannot(e, "%s is no text", describe(v))
}

// spelled is a value as text that is "" in place of no answer.
func (t *translator) spelled(e expr, v value, known []string) (value, error) {
	v, err := t.string(e, v)
	if err != nil {
		return v, err
	}
	if v.loose {
		return v, cannot(e, "it cannot be told beforehand whether there is a value here")
	}
	if g := without(v.guards, known); len(g) > 0 {
		v.cel, v.binds = allIn(g, bindsOr)+" ? "+v.in(bindsOr)+` : ""`, bindsTernary
		v.blank, v.numeric = true, false
	}
	v.guards = nil
	return v, nil
}

func describe(v value) string {
	if v.target != nil {
		return v.target.name
	}
	return "this"
}
