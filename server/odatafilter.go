package server

import (
	"cmp"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/server/export"
)

// predicate is a part of a $filter: what it yields for a row.
type predicate func(row map[string]json.RawMessage) (odataValue, error)

// odataValue is a value in a $filter: null, true or false, a number, a text. Times are numbers here.
type odataValue struct {
	kind byte // 0: null, 'b', 'n', 's'
	n    float64
	s    string
}

func truth(b bool) odataValue {
	if b {
		return odataValue{kind: 'b', n: 1}
	}
	return odataValue{kind: 'b'}
}

func (v odataValue) isTrue() bool { return v.kind == 'b' && v.n == 1 }

// mostDepth is how deep a $filter may be nested, and longestFilter how long it may be.
const (
	mostDepth     = 50
	longestFilter = 4000
)

// parseFilter reads a $filter: eq, ne, gt, ge, lt, le, in, and, or, not, brackets, contains, startswith, endswith.
func parseFilter(text string, f *feed) (predicate, error) {
	if len(text) > longestFilter {
		return nil, fault.New(fault.Invalid, fault.BadRequest, "$filter has %d characters, the limit is %d", len(text), longestFilter)
	}
	p := &filterParser{rest: text, feed: f}
	out, err := p.or()
	if err == nil && strings.TrimSpace(p.rest) != "" {
		err = p.bad("nothing more is expected")
	}
	return out, err
}

type filterParser struct {
	rest  string
	feed  *feed
	depth int
}

func (p *filterParser) bad(why string) error {
	return fault.New(fault.Invalid, fault.BadRequest, "$filter at %.40q: %s", p.rest, why)
}

// word takes a word if it comes next.
func (p *filterParser) word(w string) bool {
	rest := strings.TrimLeft(p.rest, " \t")
	if !strings.HasPrefix(rest, w) {
		return false
	}
	after := rest[len(w):]
	if last := w[len(w)-1]; last != '(' && last != ')' && last != ',' && after != "" && strings.IndexByte(" \t()", after[0]) < 0 {
		return false
	}
	p.rest = after
	return true
}

func (p *filterParser) or() (predicate, error) {
	return p.chain("or", p.and, func(a, b odataValue) odataValue {
		switch {
		case a.isTrue() || b.isTrue():
			return truth(true)
		case a.kind == 0 || b.kind == 0:
			return odataValue{}
		}
		return truth(false)
	})
}

func (p *filterParser) and() (predicate, error) {
	return p.chain("and", p.not, func(a, b odataValue) odataValue {
		switch {
		case a.kind == 'b' && !a.isTrue(), b.kind == 'b' && !b.isTrue():
			return truth(false)
		case a.kind == 0 || b.kind == 0:
			return odataValue{}
		}
		return truth(true)
	})
}

func (p *filterParser) chain(word string, part func() (predicate, error), join func(a, b odataValue) odataValue) (predicate, error) {
	left, err := part()
	for err == nil && p.word(word) {
		var right predicate
		if right, err = part(); err != nil {
			break
		}
		a := left
		left = func(row map[string]json.RawMessage) (odataValue, error) {
			x, err := a(row)
			if err != nil {
				return x, err
			}
			y, err := right(row)
			return join(x, y), err
		}
	}
	return left, err
}

func (p *filterParser) not() (predicate, error) {
	if !p.word("not") {
		return p.comparison()
	}
	if p.depth++; p.depth > mostDepth {
		return nil, p.bad("it is nested too deep")
	}
	defer func() { p.depth-- }()
	inner, err := p.not()
	return func(row map[string]json.RawMessage) (odataValue, error) {
		v, err := inner(row)
		if v.kind != 'b' {
			return odataValue{}, err
		}
		return truth(!v.isTrue()), err
	}, err
}

// comparisons are by what a value is to another: less, equal, more.
var comparisons = map[string]func(c int) bool{
	"eq": func(c int) bool { return c == 0 }, "ne": func(c int) bool { return c != 0 }, "gt": func(c int) bool { return c > 0 },
	"ge": func(c int) bool { return c >= 0 }, "lt": func(c int) bool { return c < 0 }, "le": func(c int) bool { return c <= 0 },
}

func (p *filterParser) comparison() (predicate, error) {
	left, err := p.primary()
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"eq", "ne", "gt", "ge", "lt", "le"} {
		if !p.word(name) {
			continue
		}
		right, err := p.primary()
		if err != nil {
			return nil, err
		}
		return both(left, right, func(a, b odataValue) odataValue { return compared(name, a, b) }), nil
	}
	for _, name := range []string{"add", "sub", "mul", "div", "mod", "has", "in"} {
		if p.word(name) {
			return nil, notImplemented("%s is not supported in $filter", name)
		}
	}
	return left, nil
}

// compared compares as OData does: null equals null alone, and is neither more nor less than anything.
func compared(name string, a, b odataValue) odataValue {
	if a.kind == 0 || b.kind == 0 {
		switch name {
		case "eq":
			return truth(a.kind == b.kind)
		case "ne":
			return truth(a.kind != b.kind)
		}
		return truth(false)
	}
	if a.kind != b.kind {
		return truth(name == "ne")
	}
	return truth(comparisons[name](cmp.Or(cmp.Compare(a.n, b.n), strings.Compare(a.s, b.s))))
}

func both(left, right predicate, do func(a, b odataValue) odataValue) predicate {
	return func(row map[string]json.RawMessage) (odataValue, error) {
		a, err := left(row)
		if err != nil {
			return a, err
		}
		b, err := right(row)
		return do(a, b), err
	}
}

var filterFunctions = map[string]func(s, part string) bool{"contains(": strings.Contains, "startswith(": strings.HasPrefix, "endswith(": strings.HasSuffix}

func (p *filterParser) primary() (predicate, error) {
	if p.depth++; p.depth > mostDepth {
		return nil, p.bad("it is nested too deep")
	}
	defer func() { p.depth-- }()
	if p.word("(") {
		inner, err := p.or()
		if err == nil && !p.word(")") {
			err = p.bad("a bracket is not closed")
		}
		return inner, err
	}
	for name, is := range filterFunctions {
		if p.word(name) {
			return p.function(is)
		}
	}
	p.rest = strings.TrimLeft(p.rest, " \t")
	if strings.HasPrefix(p.rest, "'") {
		return p.text()
	}
	end := strings.IndexAny(p.rest, " \t(),")
	if end < 0 {
		end = len(p.rest)
	}
	word := p.rest[:end]
	if end < len(p.rest) && p.rest[end] == '(' {
		return nil, notImplemented("the function %.40s is not supported in $filter: there are contains, startswith and endswith", word)
	}
	c := p.feed.column(word)
	v, literal := literalOf(word)
	switch {
	case c != nil:
		p.rest = p.rest[end:]
		return property(*c), nil
	case literal:
		p.rest = p.rest[end:]
		return func(map[string]json.RawMessage) (odataValue, error) { return v, nil }, nil
	}
	return nil, p.bad("it is neither a property nor a value")
}

// function is one of two texts.
func (p *filterParser) function(is func(s, part string) bool) (predicate, error) {
	left, err := p.or()
	if err == nil && !p.word(",") {
		err = p.bad("a comma is missing")
	}
	if err != nil {
		return nil, err
	}
	right, err := p.or()
	if err == nil && !p.word(")") {
		err = p.bad("a bracket is not closed")
	}
	if err != nil {
		return nil, err
	}
	return both(left, right, func(a, b odataValue) odataValue {
		if a.kind != 's' || b.kind != 's' {
			return odataValue{}
		}
		return truth(is(a.s, b.s))
	}), nil
}

// text is a text in single quotes, of which one inside stands twice.
func (p *filterParser) text() (predicate, error) {
	var b strings.Builder
	for i := 1; i < len(p.rest); i++ {
		if p.rest[i] != '\'' {
			b.WriteByte(p.rest[i])
			continue
		}
		if i+1 < len(p.rest) && p.rest[i+1] == '\'' {
			b.WriteByte('\'')
			i++
			continue
		}
		p.rest = p.rest[i+1:]
		v := odataValue{kind: 's', s: b.String()}
		return func(map[string]json.RawMessage) (odataValue, error) { return v, nil }, nil
	}
	return nil, p.bad("a text is not closed")
}

// literalOf is null, true, false, a number or a time.
func literalOf(word string) (odataValue, bool) {
	switch word {
	case "null":
		return odataValue{}, true
	case "true", "false":
		return truth(word == "true"), true
	}
	if n, err := strconv.ParseFloat(word, 64); err == nil && !strings.ContainsAny(word, "xX_pPnN") {
		return odataValue{kind: 'n', n: n}, true
	}
	if t, err := time.Parse(time.RFC3339Nano, word); err == nil {
		return odataValue{kind: 'n', n: float64(t.UnixMilli())}, true
	}
	return odataValue{}, false
}

// property reads a column of a row.
func property(c export.FeedColumn) predicate {
	return func(row map[string]json.RawMessage) (odataValue, error) {
		raw := row[c.Name]
		if len(raw) == 0 || string(raw) == "null" {
			return odataValue{}, nil
		}
		if raw[0] != '"' && raw[0] != '[' {
			n, err := strconv.ParseFloat(string(raw), 64)
			return odataValue{kind: 'n', n: n}, err
		}
		v := odataValue{kind: 's'}
		if err := json.Unmarshal(raw, &v.s); err != nil {
			return v, err
		}
		if c.Kind == export.KindTime {
			t, err := time.Parse(time.RFC3339Nano, v.s)
			return odataValue{kind: 'n', n: float64(t.UnixMilli())}, err
		}
		return v, nil
	}
}
