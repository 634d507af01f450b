package questionnaire

import (
	"fmt"
	"maps"
	"slices"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

type changeSeverity = servicev1.ChangeSeverity

// question compares two fields of one number.
func (c *comparer) question(at standing, f, g protoreflect.FieldDescriptor) {
	x, y := formv1.QuestionOf(f.Options()), formv1.QuestionOf(g.Options())
	if f.Name() != g.Name() && !c.renamed(at, f, g) {
		return
	}
	if !c.types(at, f, g) {
		return
	}
	c.span(at, g, x, y)
	c.declarations(at, g, x, y)
	if u := y.GetUntil(); u != 0 && u <= c.version && GroupOf(g) == nil {
		return // it is asked by nobody any more, and its rules are of no account
	}
	c.words(at, g, x, y)
	c.rules(at, g, x, y)
	c.checks(at, g, x.GetChecks(), y.GetChecks())
	c.data(at, g, x, y)
	a, _ := proto.GetExtension(f.Options(), validate.E_Field).(*validate.FieldRules)
	b, _ := proto.GetExtension(g.Options(), validate.E_Field).(*validate.FieldRules)
	if !proto.Equal(a, b) {
		c.of(ChangeLimits, free, at, g, "has other limits of what may be answered; flags of earlier interviews are made again.", "对回答的限制有变；此前访问的标记将重新生成。", "", "")
	}
	if m, n := GroupOf(f), GroupOf(g); m != nil && n != nil {
		c.message(at.in(g), m, n)
	}
}

// renamed notes another name and says whether it is still the same question.
func (c *comparer) renamed(at standing, f, g protoreflect.FieldDescriptor) bool {
	declared := slices.ContainsFunc(formv1.QuestionOf(g.Options()).GetEarlier(), func(e *formv1.Earlier) bool {
		return e.GetName() == string(f.Name()) && e.GetUntil() >= c.version
	})
	if declared {
		c.of(ChangeRenamed, free, at, g, fmt.Sprintf("was called *%s*, as is declared.", f.Name()), fmt.Sprintf("原名 *%s*（已声明）。", f.Name()), "", "")
		return true
	}
	if !sameType(f, g) {
		was, wasZh := typeWords(f)
		is, isZh := typeWords(g)
		c.of(ChangeReused, refuse, at, g, fmt.Sprintf("has the number of *%s*, and is another question: it holds %s, that held %s.", f.Name(), is, was),
			fmt.Sprintf("占用了 *%s* 的编号，却是另一道题：现为%s，原为%s。", f.Name(), isZh, wasZh),
			fmt.Sprintf("Give *%s* a new number, and keep *%s* with until: %d.", g.Name(), f.Name(), c.version),
			fmt.Sprintf("请给 *%s* 另编号，并保留 *%s*，设 until: %d。", g.Name(), f.Name(), c.version))
		return false
	}
	kind, x, y := ChangeReused, formv1.QuestionOf(f.Options()).GetLabel(), formv1.QuestionOf(g.Options()).GetLabel()
	if x.GetEn() == y.GetEn() || x.GetZh() != "" && x.GetZh() == y.GetZh() {
		kind = ChangeRenamed
	}
	c.of(kind, declare, at, g, fmt.Sprintf("was called *%s*.", f.Name()), fmt.Sprintf("原名 *%s*。", f.Name()),
		fmt.Sprintf("If it is the same question, declare earlier: {until: %d name: %q}. If it is another one, give it a new number and keep *%s* with until: %d.",
			c.version, f.Name(), f.Name(), c.version),
		fmt.Sprintf("若是同一问题，请声明 earlier: {until: %d name: %q}；若是另一问题，请另编号，并保留 *%s*，设 until: %d。",
			c.version, f.Name(), f.Name(), c.version))
	return kind == ChangeRenamed
}

// sameType says whether answers of one field read as answers of the other.
func sameType(f, g protoreflect.FieldDescriptor) bool {
	if f.IsMap() || g.IsMap() || f.IsList() != g.IsList() {
		return false
	}
	_, _, a := choiceRows(f)
	_, _, b := choiceRows(g)
	m, n := GroupOf(f), GroupOf(g)
	switch {
	case a || b:
		return a && b
	case m != nil || n != nil:
		return m != nil && n != nil && (m.FullName() == n.FullName() || !answerMessage(m) && !answerMessage(n))
	case f.Message() != nil || g.Message() != nil:
		return f.Message() != nil && g.Message() != nil && f.Message().FullName() == g.Message().FullName()
	}
	return f.Kind() == g.Kind() || widens(f.Kind(), g.Kind())
}

// answerMessage says whether a message is an answer that has parts, such as a position, and no group of questions of the
// form itself: it is Hearth's own.
func answerMessage(m protoreflect.MessageDescriptor) bool {
	return m.ParentFile().Package() == "hearth.survey.v1"
}

// widens says whether every value of one kind is read as the same value of another.
func widens(from, to protoreflect.Kind) bool {
	switch from {
	case protoreflect.Int32Kind, protoreflect.EnumKind:
		return to == protoreflect.Int64Kind
	case protoreflect.Uint32Kind:
		return to == protoreflect.Uint64Kind || to == protoreflect.Int64Kind
	case protoreflect.Sint32Kind:
		return to == protoreflect.Sint64Kind
	}
	return false
}

// types compares what two fields hold and says whether it can be compared further.
func (c *comparer) types(at standing, f, g protoreflect.FieldDescriptor) bool {
	if !sameType(f, g) {
		c.changedType(at, f, g)
		return false
	}
	_, _, chosen := choiceRows(g)
	if chosen {
		c.choices(at, f, g)
		return true
	}
	if f.Kind() != g.Kind() {
		c.of(ChangeWidened, free, at, g, fmt.Sprintf("holds larger numbers: %s, and was %s.", g.Kind(), f.Kind()), fmt.Sprintf("可容纳更大的数：由 %s 变为 %s。", f.Kind(), g.Kind()), "", "")
	}
	return true
}

// changedType is a field that holds something else now.
func (c *comparer) changedType(at standing, f, g protoreflect.FieldDescriptor) {
	kind := ChangeType
	if GroupOf(f) != nil && GroupOf(g) != nil {
		kind = ChangeRosterGroup
	}
	was, wasZh := typeWords(f)
	is, isZh := typeWords(g)
	c.of(kind, refuse, at, g, fmt.Sprintf("holds %s, and held %s: its answers would be read wrongly.", is, was),
		fmt.Sprintf("由%s变为%s：已有回答会被误读。", wasZh, isZh),
		fmt.Sprintf("Leave number %d as it was, under another name, with until: %d. Give *%s* a new number, and earlier: {until: %d number: %d} where old answers can be taken over, with value: ... where they are to be converted.",
			g.Number(), c.version, g.Name(), c.version, g.Number()),
		fmt.Sprintf("请以另一名称保留编号 %d，设 until: %d；给 *%s* 另编号，并声明 earlier: {until: %d number: %d}，需要换算时加 value: ...。",
			g.Number(), c.version, g.Name(), c.version, g.Number()))
}

// span compares the versions that have a question.
func (c *comparer) span(at standing, g protoreflect.FieldDescriptor, x, y *formv1.Question) {
	if s := y.GetSince(); s != 0 && s != x.GetSince() {
		c.of(ChangeSpan, refuse, at, g, fmt.Sprintf("is there since version %d, but was published with since: %d.", s, x.GetSince()),
			fmt.Sprintf("的 since 为 %d，而发布时为 %d。", s, x.GetSince()),
			"What was published stays as it was: put since back.", "已发布的内容不可改写：请恢复 since。")
	}
	was, is := x.GetUntil(), y.GetUntil()
	switch {
	case was == is:
	case was != 0 && was < c.version:
		c.of(ChangeSpan, refuse, at, g, fmt.Sprintf("ended with version %d and cannot be asked again under its number.", was),
			fmt.Sprintf("已于第 %d 版终止，不能以原编号再次询问。", was),
			fmt.Sprintf("Put until: %d back; to ask it again, give it a new number.", was), fmt.Sprintf("请恢复 until: %d；若要再次询问，请另编号。", was))
	case is != 0 && is < c.version:
		c.of(ChangeSpan, refuse, at, g, fmt.Sprintf("ends with version %d, but version %d was published with it.", is, c.version),
			fmt.Sprintf("终止于第 %d 版，但已发布的第 %d 版中有它。", is, c.version), fmt.Sprintf("Set until: %d.", c.version), fmt.Sprintf("请设 until: %d。", c.version))
	case is != 0:
		c.of(ChangeEnded, free, at, g, fmt.Sprintf("is asked until version %d; what was answered stays in the table.", is),
			fmt.Sprintf("询问至第 %d 版为止；已有回答仍在表中。", is), "", "")
	default:
		c.of(ChangeSpan, free, at, g, "goes on being asked.", "继续询问。", "", "")
	}
}

// declarations sees that nothing that was declared of old versions is gone.
func (c *comparer) declarations(at standing, g protoreflect.FieldDescriptor, x, y *formv1.Question) {
	for _, e := range x.GetEarlier() {
		if !slices.ContainsFunc(y.GetEarlier(), func(d *formv1.Earlier) bool { return proto.Equal(d, e) }) {
			c.of(ChangeDeclaration, refuse, at, g, fmt.Sprintf("no longer declares how versions up to %d held its answers, as it did.", e.GetUntil()),
				fmt.Sprintf("不再声明第 %d 版及以前如何存放其回答。", e.GetUntil()),
				fmt.Sprintf("Put earlier: {until: %d ...} back: tablets may still send that version.", e.GetUntil()),
				fmt.Sprintf("请恢复 earlier: {until: %d ...}：平板可能仍会送来该版本的数据。", e.GetUntil()))
		}
	}
}

// words compares what is read out or shown.
func (c *comparer) words(at standing, g protoreflect.FieldDescriptor, x, y *formv1.Question) {
	if a, b := x.GetLabel(), y.GetLabel(); a.GetEn() != b.GetEn() || a.GetZh() != b.GetZh() {
		en, zh := fmt.Sprintf("asked “%s” and asks “%s”.", a.GetEn(), b.GetEn()), fmt.Sprintf("的问法由“%s”改为“%s”。", zhOf(a), zhOf(b))
		if a.GetEn() == b.GetEn() {
			en = fmt.Sprintf("asked “%s” in Chinese and asks “%s”.", a.GetZh(), b.GetZh())
		}
		c.of(ChangeText, free, at, g, en, zh, "", "")
	}
	if shown := shownOf(x); !proto.Equal(shown, shownOf(y)) {
		c.of(ChangeShown, free, at, g, "has another hint, instruction, picture or look, or other words in another language.", "的提示、说明、图片、外观或其他语言的措辞有变。", "", "")
	}
}

// shownOf is what of a question is shown and not its label.
func shownOf(q *formv1.Question) *formv1.Question {
	return &formv1.Question{
		Label: &formv1.Text{More: q.GetLabel().GetMore()}, Hint: q.GetHint(), Universe: q.GetUniverse(), RequiredMessage: q.GetRequiredMessage(), Guidance: q.GetGuidance(),
		Media: q.GetMedia(), Appearance: q.Appearance, FormName: q.FormName, FormColumns: q.GetFormColumns(),
	}
}

// rules compares the expressions of a question.
func (c *comparer) rules(at standing, g protoreflect.FieldDescriptor, x, y *formv1.Question) {
	if a, b := x.GetRelevant(), y.GetRelevant(); a != b {
		c.of(ChangeRelevance, free, at, g,
			fmt.Sprintf("is asked %s, and was asked %s.", whereEn(b), whereEn(a)), fmt.Sprintf("的询问条件由%s改为%s。", codeOr(a, "“总是”"), codeOr(b, "“总是”")), "", "")
	}
	if a, b := requirement(x), requirement(y); a != b {
		c.of(ChangeRequired, free, at, g, fmt.Sprintf("is %s, and was %s.", b, a), fmt.Sprintf("的必答条件由 %s 改为 %s。", requirementZh(x), requirementZh(y)), "", "")
	}
	for _, r := range []struct{ a, b, en, zh string }{
		{x.GetCalculate(), y.GetCalculate(), "calculation", "计算式"}, {x.GetFilter(), y.GetFilter(), "filter of its answers", "选项筛选"},
		{x.GetCount(), y.GetCount(), "number of rows", "行数"}, {x.GetInitial(), y.GetInitial(), "first value", "初始值"}, {x.GetRoster(), y.GetRoster(), "roster it follows", "所随名册"},
	} {
		switch {
		case r.a == r.b:
		case r.a == "":
			c.of(ChangeRule, free, at, g, fmt.Sprintf("has a %s now: `%s`.", r.en, r.b), fmt.Sprintf("新增%s：`%s`。", r.zh, r.b), "", "")
		case r.b == "":
			c.of(ChangeRule, free, at, g, fmt.Sprintf("has no %s any more; it was `%s`.", r.en, r.a), fmt.Sprintf("不再有%s，原为 `%s`。", r.zh, r.a), "", "")
		default:
			c.of(ChangeRule, free, at, g, fmt.Sprintf("has another %s: `%s`, and it was `%s`.", r.en, r.b, r.a), fmt.Sprintf("的%s由 `%s` 改为 `%s`。", r.zh, r.a, r.b), "", "")
		}
	}
	if x.GetReadOnly() != y.GetReadOnly() || x.GetNote() != y.GetNote() || x.GetSystem() != y.GetSystem() {
		c.of(ChangeRule, free, at, g, "is to be answered by another: whether it is only shown, or kept by the program, has changed.", "由谁填写（只显示、由程序填写）有变。", "", "")
	}
}

func whereEn(source string) string {
	if source == "" {
		return "always"
	}
	return "where `" + source + "`"
}

func requirement(q *formv1.Question) string {
	switch {
	case q.GetRequiredWhen() != "":
		return "required where `" + q.GetRequiredWhen() + "`"
	case q.GetRequired():
		return "required"
	}
	return "not required"
}

func requirementZh(q *formv1.Question) string {
	switch {
	case q.GetRequiredWhen() != "":
		return "`" + q.GetRequiredWhen() + "` 时必答"
	case q.GetRequired():
		return "“必答”"
	}
	return "“非必答”"
}

// checks compares the checks of a question by their ids.
func (c *comparer) checks(at standing, g protoreflect.FieldDescriptor, before, after []*formv1.Check) {
	was := map[string]*formv1.Check{}
	for _, k := range before {
		was[k.GetId()] = k
	}
	for _, k := range after {
		old := was[k.GetId()]
		delete(was, k.GetId())
		switch {
		case old == nil:
			c.of(ChangeCheckAdded, free, at, g, fmt.Sprintf("has a new check %s: “%s” unless `%s`.", k.GetId(), k.GetMessage().GetEn(), k.GetExpression()),
				fmt.Sprintf("新增核查 %s：除非 `%s`，否则提示“%s”。", k.GetId(), k.GetExpression(), zhOf(k.GetMessage())), "", "")
		case old.GetExpression() != k.GetExpression():
			c.of(ChangeCheck, free, at, g, fmt.Sprintf("has another check %s: `%s`, and it was `%s`.", k.GetId(), k.GetExpression(), old.GetExpression()),
				fmt.Sprintf("的核查 %s 由 `%s` 改为 `%s`。", k.GetId(), old.GetExpression(), k.GetExpression()), "", "")
		case old.GetSeverity() != k.GetSeverity():
			hard := k.GetSeverity() == formv1.Severity_SEVERITY_HARD
			en, zh := "soft now, and was hard", "由硬性改为软性"
			if hard {
				en, zh = "hard now, and was soft", "由软性改为硬性"
			}
			c.of(ChangeCheck, free, at, g, fmt.Sprintf("has a check %s that is %s.", k.GetId(), en), fmt.Sprintf("的核查 %s %s。", k.GetId(), zh), "", "")
		case !proto.Equal(old.GetMessage(), k.GetMessage()):
			c.of(ChangeText, free, at, g, fmt.Sprintf("says “%s” where check %s fails, and said “%s”.", k.GetMessage().GetEn(), k.GetId(), old.GetMessage().GetEn()),
				fmt.Sprintf("的核查 %s 的提示由“%s”改为“%s”。", k.GetId(), zhOf(old.GetMessage()), zhOf(k.GetMessage())), "", "")
		}
	}
	for _, id := range slices.Sorted(maps.Keys(was)) {
		c.of(ChangeCheckRemoved, free, at, g, fmt.Sprintf("has no check %s any more: `%s`.", id, was[id].GetExpression()), fmt.Sprintf("删除了核查 %s：`%s`。", id, was[id].GetExpression()), "", "")
	}
}

// data compares what decides how answers are kept and given out.
func (c *comparer) data(at standing, g protoreflect.FieldDescriptor, x, y *formv1.Question) {
	if a, b := x.GetUnit(), y.GetUnit(); a != b {
		converted := slices.ContainsFunc(y.GetEarlier(), func(e *formv1.Earlier) bool { return e.GetUntil() >= c.version && e.GetValue() != "" })
		en, zh := fmt.Sprintf("is in %s, and was in %s", unitOr(b, "no unit"), unitOr(a, "no unit")), fmt.Sprintf("的单位由%s改为%s", unitOr(a, "“无”"), unitOr(b, "“无”"))
		if converted {
			c.of(ChangeUnit, free, at, g, en+"; how to convert it is declared.", zh+"（已声明换算）。", "", "")
		} else {
			c.of(ChangeUnit, declare, at, g, en+": the old numbers would be read in the new unit.", zh+"：旧数值会按新单位解读。",
				fmt.Sprintf("Declare the conversion: earlier: {until: %d value: \"this.%s\"}, with a factor where there is one.", c.version, g.Name()),
				fmt.Sprintf("请声明换算：earlier: {until: %d value: \"this.%s\"}，需要时乘以系数。", c.version, g.Name()))
		}
	}
	if x.GetFormat() != y.GetFormat() {
		c.of(ChangeFormat, free, at, g, fmt.Sprintf("is to be written as %s, and was %s; answers not so written are flagged.", formatWord(y), formatWord(x)),
			fmt.Sprintf("的格式由 %s 改为 %s；不合格式的回答会被标记。", formatWord(x), formatWord(y)), "", "")
	}
	if a, b := classOf(x), classOf(y); a < b {
		c.of(ChangePrivacyRaised, free, at, g, fmt.Sprintf("counts as %s now, and as %s before: fewer exports have it.", className(b), className(a)),
			fmt.Sprintf("的个人信息等级由“%s”升为“%s”。", classNameZh(a), classNameZh(b)), "", "")
	} else if a > b {
		c.of(ChangePrivacyLowered, declare, at, g, fmt.Sprintf("counts as %s, and counted as %s: exports would have answers that were promised to stay out of them.", className(b), className(a)),
			fmt.Sprintf("的个人信息等级由“%s”降为“%s”：原承诺不导出的回答将会被导出。", classNameZh(a), classNameZh(b)),
			"Put personal_data back; or, if those who gave the answers were told so, publish with --accept personal_data_lowered.",
			"请恢复 personal_data；若已告知受访者，请在发布时加 --accept personal_data_lowered。")
	}
	if !slices.Equal(acceptedReasons(x), acceptedReasons(y)) {
		c.of(ChangeMissing, free, at, g, "accepts other reasons for having no answer.", "接受的无回答原因有变。", "", "")
	}
	if x.GetExportName() != y.GetExportName() || x.GetMeasure() != y.GetMeasure() {
		c.of(ChangeExport, free, at, g, "has another name or level of measurement in exports.", "在导出中的变量名或测量层次有变。", "", "")
	}
}

func unitOr(unit, none string) string {
	if unit == "" {
		return none
	}
	return "“" + unit + "”"
}

func formatWord(q *formv1.Question) string {
	if q.GetFormat() == formv1.Format_FORMAT_UNSPECIFIED {
		return "free"
	}
	return q.GetFormat().String()[len("FORMAT_"):]
}

// classOf orders the classes of personal data; what is not classified is none.
func classOf(q *formv1.Question) formv1.PersonalData {
	return max(q.GetPersonalData(), formv1.PersonalData_PERSONAL_DATA_NONE)
}

func className(p formv1.PersonalData) string {
	switch p {
	case formv1.PersonalData_PERSONAL_DATA_DIRECT_IDENTIFIER:
		return "direct identifier"
	case formv1.PersonalData_PERSONAL_DATA_QUASI_IDENTIFIER:
		return "quasi-identifier"
	}
	return "no personal data"
}

func classNameZh(p formv1.PersonalData) string {
	switch p {
	case formv1.PersonalData_PERSONAL_DATA_DIRECT_IDENTIFIER:
		return "直接标识"
	case formv1.PersonalData_PERSONAL_DATA_QUASI_IDENTIFIER:
		return "准标识"
	}
	return "非个人信息"
}
