package questionnaire

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

// item writes what the codebook says of a question.
func (b *binder) item(it *item, q *Question) {
	o := q.Options
	it.Label, it.Hint, it.Universe = o.GetLabel(), o.GetHint(), o.GetUniverse()
	it.Relevant, it.Calculate = o.GetRelevant(), o.GetCalculate()
	it.RelevantWords, it.CalculateWords = b.words(q, it.Relevant), b.words(q, it.Calculate)
	it.Unit, it.ExportName = o.GetUnit(), o.GetExportName()
	it.Required, it.System = q.required, o.GetSystem()
	it.Since, it.Until = o.GetSince(), o.GetUntil()
	it.Personal, it.Measure = personalText(o.GetPersonalData()), measureText(o.GetMeasure())
	kind := typeText(q)
	it.Type, it.TypeZh = kind.GetEn(), kind.GetZh()
	for _, l := range q.limits {
		it.Limits = append(it.Limits, l.bounds)
	}
	for _, l := range q.itemRules {
		it.Limits = append(it.Limits, l.bounds)
	}
	for _, c := range q.checks {
		it.Checks = append(it.Checks, checkItem{
			Hard: c.Options.GetSeverity() == formv1.Severity_SEVERITY_HARD, Expression: c.Options.GetExpression(), Message: c.Options.GetMessage(),
		})
	}
	if !it.System && it.Calculate == "" && q.Field.ContainingMessage().Fields().ByName("missing") != nil {
		for _, r := range acceptedReasons(o) {
			it.Missing = append(it.Missing, formv1.ChoiceOf(r.Descriptor().Values().ByNumber(r.Number()).Options()).GetLabel())
		}
	}
	if q.Module != nil {
		if c := b.chapters[q.Module]; c != nil {
			it.Link, it.LinkText = c.Anchor, text(c.Number+" "+c.Title.GetEn(), c.Title.GetZh())
		}
	}
	if q.enum != nil {
		all := choicesOf(q.enum.Desc)
		if len(all) < longList {
			it.Choices = all
		} else {
			it.List = b.list(q.enum.Desc, all)
		}
	}
}

// words says a rule of a question; nil where there is none.
func (b *binder) words(q *Question, rule string) *formv1.Text {
	if rule == "" {
		return nil
	}
	return Words(rule, q.Field.ContainingMessage(), b.root, nil)
}

// list is the list of answers at the end of the book, made where it is first used.
func (b *binder) list(e protoreflect.EnumDescriptor, all []choice) *list {
	l := b.lists[e.FullName()]
	if l == nil {
		l = &list{Anchor: string(e.FullName()), Name: string(e.Name()), Title: formv1.ListOf(e.Options()).GetTitle(), Choices: all}
		b.lists[e.FullName()] = l
		b.book.Lists = append(b.book.Lists, l)
	}
	return l
}

// choicesOf are the answers of an enum; its zero, which is no answer, is left out.
func choicesOf(e protoreflect.EnumDescriptor) []choice {
	var all []choice
	for i := range e.Values().Len() {
		v := e.Values().Get(i)
		if v.Number() == 0 {
			continue
		}
		o := formv1.ChoiceOf(v.Options())
		all = append(all, choice{Number: int32(v.Number()), Label: o.GetLabel(), AAPOR: o.GetAapor(), Since: o.GetSince(), Until: o.GetUntil()})
	}
	return all
}

func personalText(p formv1.PersonalData) *formv1.Text {
	switch p {
	case formv1.PersonalData_PERSONAL_DATA_DIRECT_IDENTIFIER:
		return text("direct identifier", "直接标识符")
	case formv1.PersonalData_PERSONAL_DATA_QUASI_IDENTIFIER:
		return text("quasi-identifier", "准标识符")
	}
	return nil
}

func measureText(m formv1.Measure) *formv1.Text {
	switch m {
	case formv1.Measure_MEASURE_NOMINAL:
		return text("nominal", "定类")
	case formv1.Measure_MEASURE_ORDINAL:
		return text("ordinal", "定序")
	case formv1.Measure_MEASURE_SCALE:
		return text("scale", "定距")
	}
	return nil
}

// typeText is the type of a question's answer in words.
func typeText(q *Question) *formv1.Text {
	one := text("text", "文本")
	switch q.Field.Kind() {
	case protoreflect.EnumKind:
		if q.List {
			return text("several answers", "多选")
		}
		return text("one answer", "单选")
	case protoreflect.BoolKind:
		one = text("true or false", "真或假")
	case protoreflect.BytesKind:
		one = text("bytes", "字节")
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		one = text("number", "数值")
	case protoreflect.MessageKind, protoreflect.GroupKind:
		switch {
		case q.Module == nil:
			one = text("date and time", "日期和时间")
		case q.List:
			return text("roster", "名册（多行）")
		default:
			return text("block", "信息块")
		}
	case protoreflect.StringKind:
	default:
		one = text("whole number", "整数")
	}
	if q.List {
		return text("list: "+one.GetEn(), "多项："+one.GetZh())
	}
	return one
}
