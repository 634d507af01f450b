package questionnaire

import (
	"fmt"
	"strconv"

	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// nested tells whether an expression goes through a list itself.
func (s *speaker) nested(e celast.Expr) bool {
	if m, ok := s.info.GetMacroCall(e.ID()); ok && m.Kind() == celast.CallKind {
		return m.AsCall().IsMemberFunction()
	}
	if e.Kind() == celast.CallKind {
		for _, a := range e.AsCall().Args() {
			if s.nested(a) {
				return true
			}
		}
		return e.AsCall().IsMemberFunction() && s.nested(e.AsCall().Target())
	}
	return false
}

// within speaks of one row of a list by a variable.
func (s *speaker) within(variable string, of told, say func() phrase) phrase {
	outer, had := s.vars[variable]
	row := told{field: of.field, row: true, phrase: phrase{en: "it", zh: "该项"}}
	if of.field != nil && of.field.Message() != nil {
		row = told{message: of.field.Message()}
		if s.ambiguous(row.message) {
			row.letter = " [" + variable + "]"
		}
	}
	s.vars[variable] = row
	defer func() {
		if delete(s.vars, variable); had {
			s.vars[variable] = outer
		}
	}()
	return say()
}

// ambiguous tells whether rows of a kind are spoken of already, so that a letter must tell them apart.
func (s *speaker) ambiguous(m protoreflect.MessageDescriptor) bool {
	for _, t := range s.vars {
		if t.message == m {
			return true
		}
	}
	return s.twice[m.FullName()]
}

// step goes from what was told to one of its fields.
func (s *speaker) step(of told, name string) (told, bool) {
	m := of.message
	if m == nil && of.field != nil && !of.field.IsList() {
		m = of.field.Message()
	}
	if m == nil {
		return told{}, false
	}
	f := m.Fields().ByName(protoreflect.Name(name))
	if f == nil {
		return told{}, false
	}
	t := told{field: f, path: append(append([]protoreflect.FieldDescriptor(nil), of.path...), f)}
	words := s.name(t.path)
	t.letter = of.letter
	t.en, t.zh = words.GetEn()+of.letter, words.GetZh()+of.letter
	return t, true
}

func (s *speaker) chosen(e celast.Expr) (told, bool) {
	if e.Kind() != celast.SelectKind || e.AsSelect().IsTestOnly() {
		return told{}, false
	}
	return s.step(s.value(e.AsSelect().Operand()), e.AsSelect().FieldName())
}

var counted = map[string][2]string{
	"sum": {"the sum of ", "的合计"}, "min": {"the least of ", "中的最小值"}, "max": {"the greatest of ", "中的最大值"}, "mean": {"the mean of ", "的平均值"},
}

// plain are functions that change how a value is written and not what it is.
var plain = map[string]bool{"int": true, "double": true, "string": true, "number": true, "text": true, "timestamp": true, "uint": true}

var arithmeticSigns = map[string]string{
	operators.Add: " + ", operators.Subtract: " − ", operators.Multiply: " × ", operators.Divide: " ÷ ", operators.Modulo: " mod ",
}

// value says an expression that is a value.
func (s *speaker) value(e celast.Expr) told {
	if m, ok := s.info.GetMacroCall(e.ID()); ok && m.Kind() == celast.CallKind && m.AsCall().IsMemberFunction() {
		return s.rows(e, m.AsCall())
	}
	switch e.Kind() {
	case celast.LiteralKind:
		return constantOf(e.AsLiteral())
	case celast.IdentKind:
		if t, ok := s.vars[e.AsIdent()]; ok {
			return t
		}
		if w, ok := map[string][2]string{"position": {"the number of the row", "行号"}, "value": {"the answer", "答案"}}[e.AsIdent()]; ok {
			return told{phrase: phrase{en: w[0], zh: w[1]}}
		}
	case celast.SelectKind:
		if t, ok := s.chosen(e); ok {
			return t
		}
	case celast.CallKind:
		if t, ok := s.function(e.AsCall()); ok {
			return t
		}
	}
	return told{phrase: s.code(e)}
}

func constantOf(v ref.Val) told {
	switch x := v.(type) {
	case types.String:
		return told{value: v, phrase: phrase{en: "“" + string(x) + "”", zh: "“" + string(x) + "”"}}
	case types.Double:
		n := strconv.FormatFloat(float64(x), 'g', -1, 64)
		return told{value: v, phrase: phrase{en: n, zh: n}}
	}
	n := fmt.Sprint(v.Value())
	return told{value: v, phrase: phrase{en: n, zh: n}}
}

// rows says filter and map, the lists that rules make of a roster.
func (s *speaker) rows(e celast.Expr, c celast.CallExpr) told {
	of := s.value(c.Target())
	args := c.Args()
	if len(args) < 2 || args[0].Kind() != celast.IdentKind {
		return told{phrase: s.code(e)}
	}
	name := args[0].AsIdent()
	switch {
	case c.FunctionName() == "filter":
		body := s.within(name, of, func() phrase { return s.condition(args[1]) })
		return told{field: of.field, phrase: phrase{en: of.en + " where " + body.tight().en, zh: "满足" + body.tight().zh + "的" + of.zh}}
	case c.FunctionName() == "map" && len(args) == 3:
		var body phrase
		where := s.within(name, of, func() phrase { body = s.value(args[2]).phrase; return s.condition(args[1]) })
		if asksForAnswer(s.info, args[1]) {
			return told{phrase: phrase{en: body.en + " of all " + of.en, zh: "全部" + of.zh + "的" + body.zh}} // those that are answered
		}
		return told{phrase: phrase{en: body.en + " of " + of.en + " where " + where.tight().en, zh: "满足" + where.tight().zh + "的" + of.zh + "的" + body.zh}}
	case c.FunctionName() == "map":
		body := s.within(name, of, func() phrase { return s.value(args[1]).phrase })
		return told{phrase: phrase{en: body.en + " of all " + of.en, zh: "全部" + of.zh + "的" + body.zh}}
	}
	return told{phrase: s.condition(e)}
}

// asksForAnswer tells whether a condition is nothing but has().
func asksForAnswer(info *celast.SourceInfo, e celast.Expr) bool {
	m, ok := info.GetMacroCall(e.ID())
	return ok && m.Kind() == celast.CallKind && m.AsCall().FunctionName() == operators.Has
}

// function says a call that yields a value.
func (s *speaker) function(c celast.CallExpr) (told, bool) {
	name, args := c.FunctionName(), c.Args()
	if c.IsMemberFunction() {
		args = append([]celast.Expr{c.Target()}, args...)
	}
	switch {
	case arithmeticSigns[name] != "" && len(args) == 2:
		a, b := s.value(args[0]).tight(), s.value(args[1]).tight()
		return told{phrase: phrase{en: a.en + arithmeticSigns[name] + b.en, zh: a.zh + arithmeticSigns[name] + b.zh, loose: true}}, true
	case name == operators.Negate:
		a := s.value(args[0]).tight()
		return told{phrase: phrase{en: "−" + a.en, zh: "−" + a.zh}}, true
	case name == "size" && len(args) == 1:
		of := s.value(args[0])
		return told{phrase: phrase{en: "the number of " + of.en, zh: of.zh + "的数目"}}, true
	case counted[name][0] != "" && len(args) == 1:
		of := s.value(args[0])
		return told{phrase: phrase{en: counted[name][0] + of.en, zh: of.zh + counted[name][1]}}, true
	case plain[name] && len(args) == 1:
		return s.value(args[0]), true
	case name == "today" || name == "now":
		return told{phrase: phrase{en: "today", zh: "今天"}}, true
	case len(args) == 2 && (name == "years_between" || name == "months_between" || name == "days_between"):
		unit := map[string][2]string{"y": {"years", "年数"}, "m": {"months", "月数"}, "d": {"days", "天数"}}[name[:1]]
		a, b := s.value(args[0]), s.value(args[1])
		return told{phrase: phrase{en: "the completed " + unit[0] + " from " + a.en + " to " + b.en, zh: "从" + a.zh + "到" + b.zh + "的" + unit[1]}}, true
	case name == operators.Conditional:
		when, yes, no := s.condition(args[0]), s.value(args[1]), s.value(args[2])
		return told{phrase: phrase{en: yes.en + " if " + when.tight().en + ", otherwise " + no.en,
			zh: "如果" + when.tight().zh + "则为" + yes.zh + "，否则为" + no.zh, loose: true}}, true
	}
	return told{}, false
}
