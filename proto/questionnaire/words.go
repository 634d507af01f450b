package questionnaire

import (
	"strings"

	"cel.dev/cel-go/cel"
	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/parser"
	"google.golang.org/protobuf/reflect/protoreflect"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

// Namer is how a question is called in a sentence, given the fields that lead to it from the message at hand.
type Namer func(path []protoreflect.FieldDescriptor) *formv1.Text

// Words says a rule of a question in English and Chinese, as it stands on paper: `this.works == 1 && this.age >= 16`
// becomes “Does ... work?” is “yes”, and “How old ...?” is at least 16. The messages are those that the expression calls
// this and root; root may be nil. A nil namer calls questions by their labels in quotes. What cannot be said in words
// stands as it is written; an expression that is none at all is given back whole.
func Words(expression string, this, root protoreflect.MessageDescriptor, name Namer) *formv1.Text {
	env, err := cel.NewEnv(cel.EnableMacroCallTracking(), cel.OptionalTypes())
	if err != nil {
		return text(expression, expression)
	}
	ast, issues := env.Parse(expression)
	if issues.Err() != nil {
		return text(expression, expression)
	}
	if name == nil {
		name = quotedLabel
	}
	s := &speaker{info: ast.NativeRep().SourceInfo(), name: name, vars: map[string]told{}, twice: map[protoreflect.FullName]bool{}}
	if this != nil {
		s.vars["this"] = told{message: this}
	}
	if root != nil {
		s.vars["root"] = told{message: root}
	}
	e := ast.NativeRep().Expr()
	if p := s.value(e).phrase; !strings.HasPrefix(p.en, "`") && e.Kind() != celast.LiteralKind { // a calculation, or what reads the same
		return text(p.en, p.zh)
	}
	p := s.condition(e)
	return text(p.en, p.zh)
}

// quotedLabel calls a question by its label.
func quotedLabel(path []protoreflect.FieldDescriptor) *formv1.Text {
	var en, zh []string
	for _, f := range path {
		o := formv1.QuestionOf(f.Options())
		e, z := o.GetLabel().GetEn(), o.GetLabel().GetZh()
		if e == "" {
			e = string(f.Name())
		}
		if z == "" {
			z = e
		}
		en, zh = append(en, e), append(zh, z)
	}
	return text("“"+strings.Join(en, ": ")+"”", "“"+strings.Join(zh, "：")+"”")
}

// phrase is a piece of a sentence in both languages. A loose one holds and, or or otherwise, and is put in brackets inside
// another.
type phrase struct {
	en, zh string
	loose  bool
}

func (p phrase) tight() phrase {
	if p.loose {
		return phrase{en: "(" + p.en + ")", zh: "（" + p.zh + "）"}
	}
	return p
}

// told is what a phrase speaks of: a question, of which the answers' labels are known, or a message to go on from.
type told struct {
	phrase
	field   protoreflect.FieldDescriptor
	message protoreflect.MessageDescriptor
	path    []protoreflect.FieldDescriptor
	// value is set for a number or text that stands in the rule itself.
	value ref.Val
	// letter tells one row of a list from another.
	letter string
	// row: the phrase is a row of a list itself, as the variable of exists is.
	row bool
}

type speaker struct {
	info *celast.SourceInfo
	name Namer
	vars map[string]told
	// twice are the kinds of rows that are gone through inside one another.
	twice map[protoreflect.FullName]bool
}

// code is what there are no words for.
func (s *speaker) code(e celast.Expr) phrase {
	src, err := parser.Unparse(e, s.info)
	if err != nil {
		src = "…"
	}
	return phrase{en: "`" + src + "`", zh: "`" + src + "`"}
}

// has tells whether an expression is has(x.f), and says x.f.
func (s *speaker) has(e celast.Expr) (told, bool) {
	if m, ok := s.info.GetMacroCall(e.ID()); ok && m.Kind() == celast.CallKind && m.AsCall().FunctionName() == operators.Has {
		e = m.AsCall().Args()[0]
	} else if e.Kind() != celast.SelectKind || !e.AsSelect().IsTestOnly() {
		return told{}, false
	}
	if e.Kind() != celast.SelectKind {
		return told{}, false
	}
	return s.step(s.value(e.AsSelect().Operand()), e.AsSelect().FieldName())
}

// condition says an expression that is true or false.
func (s *speaker) condition(e celast.Expr) phrase {
	if t, ok := s.has(e); ok {
		return phrase{en: t.en + " is answered", zh: t.zh + "已作答"}
	}
	if m, ok := s.info.GetMacroCall(e.ID()); ok && m.Kind() == celast.CallKind && m.AsCall().IsMemberFunction() {
		if p, ok := s.quantified(m.AsCall()); ok {
			return p
		}
		return s.code(e)
	}
	switch e.Kind() {
	case celast.LiteralKind:
		if e.AsLiteral() == types.True {
			return phrase{en: "always", zh: "总是"}
		}
		if e.AsLiteral() == types.False {
			return phrase{en: "never", zh: "从不"}
		}
	case celast.SelectKind:
		if t, ok := s.chosen(e); ok {
			return phrase{en: t.en + " is yes", zh: t.zh + "为“是”"}
		}
	case celast.IdentKind:
		if t, ok := s.vars[e.AsIdent()]; ok && t.row {
			return phrase{en: t.en + " is yes", zh: t.zh + "为“是”"}
		}
	case celast.CallKind:
		return s.call(e)
	}
	return s.code(e)
}

func (s *speaker) call(e celast.Expr) phrase {
	c := e.AsCall()
	switch c.FunctionName() {
	case operators.LogicalAnd:
		return s.junction(e, c.FunctionName(), " and ", "，并且")
	case operators.LogicalOr:
		return s.junction(e, c.FunctionName(), " or ", "，或者")
	case operators.LogicalNot:
		return s.not(c.Args()[0])
	case operators.Conditional:
		args := c.Args()
		when, yes, no := s.condition(args[0]), s.condition(args[1]), s.condition(args[2])
		return phrase{en: "if " + when.tight().en + " then " + yes.tight().en + ", otherwise " + no.tight().en,
			zh: "如果" + when.tight().zh + "，则" + yes.tight().zh + "，否则" + no.tight().zh, loose: true}
	case operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
		return s.comparison(c.FunctionName(), c.Args()[0], c.Args()[1])
	case operators.In, operators.OldIn:
		return s.in(c.Args()[0], c.Args()[1], true)
	case "selected":
		if len(c.Args()) == 2 {
			return s.in(c.Args()[1], c.Args()[0], true)
		}
	case "matches":
		if c.IsMemberFunction() && len(c.Args()) == 1 {
			of, pattern := s.value(c.Target()), s.value(c.Args()[0])
			return phrase{en: of.en + " is written like " + pattern.en, zh: of.zh + "的格式为" + pattern.zh}
		}
	case "resident_id_valid":
		of := s.value(c.Args()[0])
		return phrase{en: of.en + " is a valid resident id number", zh: of.zh + "是有效的身份证号码"}
	case "is_date":
		of := s.value(c.Args()[0])
		return phrase{en: of.en + " is a date", zh: of.zh + "是日期"}
	}
	return s.code(e)
}

// flatten lists what one operator joins.
func flatten(e celast.Expr, op string) []celast.Expr {
	if e.Kind() == celast.CallKind && e.AsCall().FunctionName() == op {
		var out []celast.Expr
		for _, a := range e.AsCall().Args() {
			out = append(out, flatten(a, op)...)
		}
		return out
	}
	return []celast.Expr{e}
}

func (s *speaker) junction(e celast.Expr, op, en, zh string) phrase {
	parts := flatten(e, op)
	var all []phrase
	for i := 0; i < len(parts); i++ {
		if op == operators.LogicalAnd && i+1 < len(parts) {
			if p, ok := s.between(parts[i], parts[i+1]); ok {
				all = append(all, p)
				i++
				continue
			}
		}
		all = append(all, s.condition(parts[i]).tight())
	}
	if len(all) == 1 {
		return all[0]
	}
	out := phrase{loose: true, en: all[0].en, zh: all[0].zh}
	for _, p := range all[1:] {
		out.en += "," + en + p.en
		out.zh += zh + p.zh
	}
	if len(all) == 2 {
		out.en = all[0].en + en + all[1].en
	}
	return out
}

// between says x >= a && x <= b in one.
func (s *speaker) between(a, b celast.Expr) (phrase, bool) {
	if a.Kind() != celast.CallKind || b.Kind() != celast.CallKind || a.AsCall().FunctionName() != operators.GreaterEquals ||
		b.AsCall().FunctionName() != operators.LessEquals {
		return phrase{}, false
	}
	x, y := a.AsCall().Args(), b.AsCall().Args()
	if s.code(x[0]).en != s.code(y[0]).en {
		return phrase{}, false
	}
	of := s.value(x[0])
	low, high := s.labelled(of, s.value(x[1])), s.labelled(of, s.value(y[1]))
	return phrase{en: of.en + " is from " + low.en + " to " + high.en, zh: of.zh + "在" + low.zh + "至" + high.zh + "之间"}, true
}

var negated = map[string]string{
	operators.Equals: operators.NotEquals, operators.NotEquals: operators.Equals, operators.Less: operators.GreaterEquals,
	operators.GreaterEquals: operators.Less, operators.Greater: operators.LessEquals, operators.LessEquals: operators.Greater,
}

func (s *speaker) not(e celast.Expr) phrase {
	if t, ok := s.has(e); ok {
		return phrase{en: t.en + " is not answered", zh: t.zh + "未作答"}
	}
	if m, ok := s.info.GetMacroCall(e.ID()); ok && m.Kind() == celast.CallKind && m.AsCall().IsMemberFunction() {
		if p, ok := s.included(m.AsCall(), false); ok {
			return p
		}
	} else if t, ok := s.chosen(e); ok {
		return phrase{en: t.en + " is no", zh: t.zh + "为“否”"}
	} else if e.Kind() == celast.CallKind {
		c := e.AsCall()
		switch op := c.FunctionName(); {
		case op == operators.LogicalNot:
			return s.condition(c.Args()[0])
		case negated[op] != "":
			return s.comparison(negated[op], c.Args()[0], c.Args()[1])
		case op == operators.In:
			return s.in(c.Args()[0], c.Args()[1], false)
		case op == "selected" && len(c.Args()) == 2:
			return s.in(c.Args()[1], c.Args()[0], false)
		}
	}
	p := s.condition(e)
	return phrase{en: "not (" + p.en + ")", zh: "并非（" + p.zh + "）"}
}

var compared = map[string][2]string{
	operators.Equals: {"is", "为"}, operators.NotEquals: {"is not", "不为"}, operators.Less: {"is less than", "小于"},
	operators.LessEquals: {"is at most", "不大于"}, operators.Greater: {"is more than", "大于"}, operators.GreaterEquals: {"is at least", "不小于"},
}

var swapped = map[string]string{
	operators.Less: operators.Greater, operators.Greater: operators.Less, operators.LessEquals: operators.GreaterEquals,
	operators.GreaterEquals: operators.LessEquals, operators.Equals: operators.Equals, operators.NotEquals: operators.NotEquals,
}

func (s *speaker) comparison(op string, a, b celast.Expr) phrase {
	if (op == operators.Equals || op == operators.NotEquals) && isCondition(a) && isCondition(b) {
		way := [2]string{"both or neither of these hold: ", "以下两项同时成立或同时不成立："}
		if op == operators.NotEquals {
			way = [2]string{"one of these holds and not the other: ", "以下两项只有一项成立："}
		}
		x, y := s.condition(a).tight(), s.condition(b).tight()
		return phrase{en: way[0] + x.en + "; " + y.en, zh: way[1] + x.zh + "；" + y.zh, loose: true}
	}
	left, right := s.value(a), s.value(b)
	if left.value != nil && right.value == nil {
		left, right, op = right, left, swapped[op]
	}
	if truth, ok := right.value.(types.Bool); ok && (op == operators.Equals || op == operators.NotEquals) {
		if bool(truth) == (op == operators.Equals) {
			return phrase{en: left.en + " is yes", zh: left.zh + "为“是”"}
		}
		return phrase{en: left.en + " is no", zh: left.zh + "为“否”"}
	}
	if str, ok := right.value.(types.String); ok && str == "" && left.field != nil {
		if op == operators.NotEquals {
			return phrase{en: left.en + " is answered", zh: left.zh + "已作答"}
		}
		return phrase{en: left.en + " is not answered", zh: left.zh + "未作答"}
	}
	words, r := compared[op], s.labelled(left, right)
	return phrase{en: left.en + " " + words[0] + " " + r.en, zh: left.zh + words[1] + r.zh}
}

// isCondition tells whether an expression is a comparison or what joins some.
func isCondition(e celast.Expr) bool {
	if e.Kind() != celast.CallKind {
		return false
	}
	switch op := e.AsCall().FunctionName(); op {
	case operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot, operators.In:
		return true
	default:
		return negated[op] != ""
	}
}

// labelled is a value in the words of the answers of a question.
func (s *speaker) labelled(of, v told) phrase {
	n, ok := v.value.(types.Int)
	if !ok || of.field == nil || of.field.Enum() == nil {
		return v.phrase
	}
	d := of.field.Enum().Values().ByNumber(protoreflect.EnumNumber(n))
	o := &formv1.Choice{}
	if d != nil {
		o = formv1.ChoiceOf(d.Options())
	}
	if o.GetLabel().GetEn() == "" {
		return v.phrase
	}
	zh := o.GetLabel().GetZh()
	if zh == "" {
		zh = o.GetLabel().GetEn()
	}
	return phrase{en: "“" + o.GetLabel().GetEn() + "”", zh: "“" + zh + "”"}
}

// in says that a list holds a value; the list is the answer to a question, or stands in the rule.
func (s *speaker) in(item, list celast.Expr, holds bool) phrase {
	if list.Kind() == celast.ListKind {
		of := s.value(item)
		var en, zh []string
		for _, x := range list.AsList().Elements() {
			l := s.labelled(of, s.value(x))
			en, zh = append(en, l.en), append(zh, l.zh)
		}
		if holds {
			return phrase{en: of.en + " is one of " + strings.Join(en, ", "), zh: of.zh + "为" + strings.Join(zh, "、") + "之一"}
		}
		return phrase{en: of.en + " is none of " + strings.Join(en, ", "), zh: of.zh + "不是" + strings.Join(zh, "、") + "中的任何一项"}
	}
	of := s.value(list)
	l := s.labelled(of, s.value(item))
	if holds {
		return phrase{en: of.en + " includes " + l.en, zh: of.zh + "包括" + l.zh}
	}
	return phrase{en: of.en + " does not include " + l.en, zh: of.zh + "不包括" + l.zh}
}

// included says list.exists(x, x == 3), which is how rules ask whether a choice was made.
func (s *speaker) included(c celast.CallExpr, holds bool) (phrase, bool) {
	if c.FunctionName() != "exists" || len(c.Args()) != 2 || c.Args()[0].Kind() != celast.IdentKind {
		return phrase{}, false
	}
	body, name := c.Args()[1], c.Args()[0].AsIdent()
	if body.Kind() != celast.CallKind || body.AsCall().FunctionName() != operators.Equals {
		return phrase{}, false
	}
	a, b := body.AsCall().Args()[0], body.AsCall().Args()[1]
	if b.Kind() == celast.IdentKind && b.AsIdent() == name {
		a, b = b, a
	}
	of := s.value(c.Target())
	if a.Kind() != celast.IdentKind || a.AsIdent() != name || of.field == nil || of.field.Message() != nil {
		return phrase{}, false
	}
	return s.in(b, c.Target(), holds), true
}

// quantified says exists, exists_one and all.
func (s *speaker) quantified(c celast.CallExpr) (phrase, bool) {
	if p, ok := s.included(c, true); ok {
		return p, true
	}
	ways := map[string][2]string{"exists": {"for at least one of ", "中至少有一项满足："}, "exists_one": {"for exactly one of ", "中恰有一项满足："}, "all": {"for every one of ", "中每一项都满足："}}
	way, ok := ways[c.FunctionName()]
	if !ok || len(c.Args()) != 2 || c.Args()[0].Kind() != celast.IdentKind {
		return phrase{}, false
	}
	of := s.value(c.Target())
	if of.field != nil && of.field.Message() != nil && s.nested(c.Args()[1]) {
		s.twice[of.field.Message().FullName()] = true
		defer delete(s.twice, of.field.Message().FullName())
	}
	letter := ""
	body := s.within(c.Args()[0].AsIdent(), of, func() phrase {
		letter = s.vars[c.Args()[0].AsIdent()].letter
		return s.condition(c.Args()[1])
	})
	of.en, of.zh = of.en+letter, of.zh+letter
	return phrase{en: way[0] + of.en + ": " + body.en, zh: of.zh + way[1] + body.zh, loose: true}, true
}
