package questionnaire

import (
	"fmt"
	"slices"
	"strings"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// The kinds of change that Compare tells apart. They are words of the protocol: none is renamed or used again.
const (
	ChangeQuestionnaire  = "questionnaire"
	ChangeVersion        = "version"
	ChangeAdded          = "question_added"
	ChangeRemoved        = "question_removed"
	ChangeEnded          = "question_ended"
	ChangeRenamed        = "question_renamed"
	ChangeMoved          = "question_moved"
	ChangeReused         = "number_reused"
	ChangeType           = "type_changed"
	ChangeWidened        = "type_widened"
	ChangeRosterGroup    = "roster_or_group"
	ChangeSpan           = "versions_changed"
	ChangeDeclaration    = "declaration_removed"
	ChangeText           = "relabelled"
	ChangeOrder          = "reordered"
	ChangeShown          = "shown_otherwise"
	ChangeRelevance      = "relevance_changed"
	ChangeRequired       = "required_changed"
	ChangeRule           = "rule_changed"
	ChangeLimits         = "limits_changed"
	ChangeFormat         = "format_changed"
	ChangeUnit           = "unit_changed"
	ChangeMissing        = "missing_changed"
	ChangeExport         = "export_changed"
	ChangePrivacyRaised  = "personal_data_raised"
	ChangePrivacyLowered = "personal_data_lowered"
	ChangeCheckAdded     = "check_added"
	ChangeCheck          = "check_changed"
	ChangeCheckRemoved   = "check_removed"
	ChangeChoiceAdded    = "choice_added"
	ChangeChoiceRemoved  = "choice_removed"
	ChangeChoiceEnded    = "choice_ended"
	ChangeChoiceNumber   = "choice_renumbered"
	ChangeChoiceReused   = "choice_reused"
	ChangeChoiceSpan     = "choice_versions_changed"
	ChangeChoiceText     = "choice_relabelled"
	ChangeChoiceOrder    = "choices_reordered"
	ChangeChoiceRule     = "choice_rule_changed"
	ChangeNames          = "schema_names_changed"
)

// Change is one difference between two versions of a questionnaire.
type Change = servicev1.QuestionnaireChange

// Severities of a change, by short names.
const (
	free    = servicev1.ChangeSeverity_CHANGE_SEVERITY_FREE
	declare = servicev1.ChangeSeverity_CHANGE_SEVERITY_DECLARE
	refuse  = servicev1.ChangeSeverity_CHANGE_SEVERITY_REFUSED
)

// wordings are the kinds that change words, pictures or order, and nothing that an answer means.
var wordings = map[string]bool{ChangeText: true, ChangeOrder: true, ChangeShown: true, ChangeChoiceText: true, ChangeChoiceOrder: true}

// Compare lists what has changed from one version of a questionnaire to another, in the order of the newer one: each change
// with what it means for interviews held before, and what to do where that is not nothing. The version must rise by one
// when anything but words, pictures and order has changed; where only these have, it may stay.
func Compare(older, newer *Questionnaire) []*Change {
	return CompareSchemas(older.Descriptor(), newer.Descriptor())
}

// Blocking returns the changes that keep a version from being published, beside the kinds that somebody has confirmed.
// Only that personal data are protected less may be confirmed: no option of a schema can declare it.
func Blocking(changes []*Change, confirmed []string) []*Change {
	var out []*Change
	for _, c := range changes {
		lowered := c.GetKind() == ChangePrivacyLowered && slices.Contains(confirmed, ChangePrivacyLowered)
		if c.GetSeverity() != free && !lowered {
			out = append(out, c)
		}
	}
	return out
}

// comparer compares two schemas.
type comparer struct {
	// version is that of the older one, the last that interviews may have.
	version uint32
	out     []*Change
	seen    map[[2]protoreflect.FullName]bool
	lists   map[string]*listUse
	// counting: only how often lists of choices are used is noted.
	counting bool
}

// CompareSchemas is Compare for top messages whose rules need not be compiled.
func CompareSchemas(older, newer protoreflect.MessageDescriptor) []*Change {
	c := &comparer{version: moduleOptions(older).GetVersion(), lists: map[string]*listUse{}}
	if older.FullName() != newer.FullName() {
		c.add(ChangeQuestionnaire, refuse, standing{}, nil,
			fmt.Sprintf("This is another questionnaire: %s, not %s.", newer.FullName(), older.FullName()),
			fmt.Sprintf("这是另一份问卷：%s，而不是 %s。", newer.FullName(), older.FullName()),
			fmt.Sprintf("Keep the package and the name of the top message, %s, in every version.", older.FullName()),
			fmt.Sprintf("各版本须保持包名和顶层消息名 %s 不变。", older.FullName()))
		return c.out
	}
	for _, c.counting = range []bool{true, false} {
		c.seen = map[[2]protoreflect.FullName]bool{}
		c.message(standing{}, older, newer)
	}
	c.names(older, newer)
	c.checkVersion(moduleOptions(newer).GetVersion())
	return c.out
}

// names notes what of the structure has changed that no question tells of: the names of messages, enums and values in the
// schema. Answers are read as before, but the fingerprint is another.
func (c *comparer) names(older, newer protoreflect.MessageDescriptor) {
	told := slices.ContainsFunc(c.out, func(x *Change) bool { return !x.GetWording() && !slices.Contains(leaveStructure, x.GetKind()) })
	now := strings.Split(structure(newer, c.version), "\n")
	if told || !slices.ContainsFunc(strings.Split(structure(older, c.version), "\n"), func(line string) bool { return !slices.Contains(now, line) }) {
		return
	}
	c.add(ChangeNames, free, standing{}, nil, "The schema has other names for groups, rosters or lists of answers; what was answered is read as before.",
		"模式中分组、名册或选项列表的名称有变；已有回答照常读取。", "", "")
}

// leaveStructure are changes that take nothing away from the structure of the version before, so that they do not explain it
// where something is gone.
var leaveStructure = []string{
	ChangeAdded, ChangeEnded, ChangeChoiceAdded, ChangeChoiceEnded, ChangeUnit, ChangeRequired, ChangeRule, ChangeRelevance, ChangeLimits,
	ChangeCheckAdded, ChangeCheck, ChangeCheckRemoved,
}

// meaning says whether anything but words, pictures and order has changed.
func (c *comparer) meaning() bool {
	return slices.ContainsFunc(c.out, func(x *Change) bool { return !x.GetWording() })
}

// checkVersion adds what is wrong with the version.
func (c *comparer) checkVersion(version uint32) {
	meaning := c.meaning()
	next := c.version + 1
	doEn, doZh := fmt.Sprintf("Set version: %d in option (hearth.form.v1.module) of the top message.", next),
		fmt.Sprintf("请在顶层消息的选项 (hearth.form.v1.module) 中设 version: %d。", next)
	switch {
	case version == next, version == c.version && !meaning:
	case version == c.version:
		c.add(ChangeVersion, refuse, standing{}, nil,
			fmt.Sprintf("More than the wording has changed, but it is still version %d: tablets could not tell the two apart.", c.version),
			fmt.Sprintf("改动不止措辞，但版本号仍为 %d：平板无法区分两者。", c.version), doEn, doZh)
	default:
		c.add(ChangeVersion, refuse, standing{}, nil,
			fmt.Sprintf("The version is %d; the last one published is %d.", version, c.version),
			fmt.Sprintf("版本号为 %d，而最近发布的是第 %d 版。", version, c.version), doEn, doZh)
	}
}

// add notes a change. The sentences are whole.
func (c *comparer) add(kind string, s servicev1.ChangeSeverity, at standing, f protoreflect.FieldDescriptor, en, zh, doEn, doZh string) *Change {
	x := &Change{Kind: proto.String(kind), Severity: s.Enum(), What: sentence(en, zh)}
	if s != free {
		x.WhatToDo = sentence(doEn, doZh)
	}
	if wordings[kind] {
		x.Wording = proto.Bool(true)
	}
	if path := at.path; f != nil {
		if path != "" {
			path += "."
		}
		x.Path, x.Number = proto.String(path+string(f.Name())), proto.Int32(int32(f.Number()))
	} else if path != "" {
		x.Path = proto.String(path)
	}
	if !c.counting {
		c.out = append(c.out, x)
	}
	return x
}

// of notes a change of a question: its name goes before what is said of it.
func (c *comparer) of(kind string, s servicev1.ChangeSeverity, at standing, f protoreflect.FieldDescriptor, en, zh, doEn, doZh string) *Change {
	subjectEn, subjectZh := at.question(f)
	return c.add(kind, s, at, f, subjectEn+" "+en, subjectZh+zh, doEn, doZh)
}

func sentence(en, zh string) *formv1.Text {
	return &formv1.Text{En: proto.String(en), Zh: proto.String(zh)}
}

// message compares two messages, once, wherever they stand.
func (c *comparer) message(at standing, a, b protoreflect.MessageDescriptor) {
	pair := [2]protoreflect.FullName{a.FullName(), b.FullName()}
	if c.seen[pair] {
		return
	}
	c.seen[pair] = true
	c.module(at, moduleOptions(a), moduleOptions(b))
	kept, gone := map[protoreflect.FieldNumber]bool{}, map[protoreflect.FieldNumber]protoreflect.FieldDescriptor{}
	for f := range fieldsOf(a) {
		if g := b.Fields().ByNumber(f.Number()); g != nil {
			kept[f.Number()] = true
		} else {
			gone[f.Number()] = f
		}
	}
	c.order(at, a, b, kept)
	moved := map[protoreflect.FieldNumber]protoreflect.FieldDescriptor{} // to whom a number that is gone went
	for g := range fieldsOf(b) {
		if kept[g.Number()] {
			continue
		}
		if f := c.source(g, gone); f != nil {
			moved[f.Number()] = g
		}
	}
	for g := range fieldsOf(b) {
		switch f := a.Fields().ByNumber(g.Number()); {
		case f != nil && (f.IsMap() || g.IsMap()):
			if f.IsMap() != g.IsMap() {
				c.changedType(at, f, g)
			}
		case f != nil:
			c.question(at, f, g)
		case !g.IsMap():
			c.added(at, g)
		}
	}
	for f := range fieldsOf(a) {
		if gone[f.Number()] != nil {
			c.removed(at, f, moved[f.Number()])
		}
	}
}

// source is the question, among those that are gone, whose answers a new question takes over: declared, or by its name.
func (c *comparer) source(g protoreflect.FieldDescriptor, gone map[protoreflect.FieldNumber]protoreflect.FieldDescriptor) protoreflect.FieldDescriptor {
	for _, e := range formv1.QuestionOf(g.Options()).GetEarlier() {
		if f := gone[protoreflect.FieldNumber(e.GetNumber())]; f != nil && e.GetUntil() >= c.version {
			return f
		}
	}
	for _, f := range gone {
		if f.Name() == g.Name() {
			return f
		}
	}
	return nil
}

// added is a question that the older version did not have.
func (c *comparer) added(at standing, g protoreflect.FieldDescriptor) {
	o := formv1.QuestionOf(g.Options())
	word, wordZh := kindWord(g)
	en, zh := quoted(o.GetLabel().GetEn()), quotedZh(zhOf(o.GetLabel()))
	c.add(ChangeAdded, free, at, g,
		fmt.Sprintf("There is a new %s %d%s, *%s*%s.", word, g.Number(), at.ofEn(), g.Name(), lead(": ", en)),
		fmt.Sprintf("%s新增%s %d *%s*%s。", at.inZh(), wordZh, g.Number(), g.Name(), lead("：", zh)), "", "")
	if since := o.GetSince(); since != 0 && since <= c.version {
		c.of(ChangeSpan, refuse, at, g,
			fmt.Sprintf("says that it is there since version %d, but version %d was published without it.", since, c.version),
			fmt.Sprintf("声明自第 %d 版起就有，但已发布的第 %d 版中没有。", since, c.version),
			fmt.Sprintf("Set since: %d, or leave it out: publishing fills it in.", c.version+1),
			fmt.Sprintf("请设 since: %d，或不写：发布时会自动填入。", c.version+1))
	}
}

// removed is a question whose number the newer version does not have. to has taken its answers over, or bears its name.
func (c *comparer) removed(at standing, f, to protoreflect.FieldDescriptor) {
	keepEn := fmt.Sprintf("Keep it and set until: %d: it is not asked any more, and what was answered stays in the table.", c.version)
	keepZh := fmt.Sprintf("请保留该题并设 until: %d：此后不再询问，已有回答仍在表中。", c.version)
	if to == nil {
		c.of(ChangeRemoved, refuse, at, f, "is gone: the answers of interviews held before could not be read any more.",
			"被删除：此前访问的回答将无法读出。", keepEn, keepZh)
		return
	}
	declared := slices.ContainsFunc(formv1.QuestionOf(to.Options()).GetEarlier(), func(e *formv1.Earlier) bool {
		return e.GetNumber() == uint32(f.Number()) && e.GetUntil() >= c.version
	})
	en := fmt.Sprintf("has number %d now, and is called *%s*", to.Number(), to.Name())
	zh := fmt.Sprintf("现在的编号是 %d，名为 *%s*", to.Number(), to.Name())
	switch {
	case !sameType(f, to):
		c.of(ChangeRemoved, refuse, at, f, en+", but with another type: its answers cannot be read without the old field.",
			zh+"，但类型不同：没有旧字段就无法读出其回答。",
			fmt.Sprintf("Keep number %d under another name with until: %d, and let earlier {until: %d number: %d value: ...} of *%s* say what its answers are now.",
				f.Number(), c.version, c.version, f.Number(), to.Name()),
			fmt.Sprintf("请以另一名称保留编号 %d 并设 until: %d，再由 *%s* 的 earlier {until: %d number: %d value: ...} 说明如何换算。",
				f.Number(), c.version, to.Name(), c.version, f.Number()))
	case declared:
		c.of(ChangeMoved, free, at, f, en+", as is declared.", zh+"（已声明）。", "", "")
	default:
		c.of(ChangeMoved, declare, at, f, en+".", zh+"。",
			fmt.Sprintf("If it is the same question, add earlier: {until: %d number: %d} to *%s*; if not, keep number %d and set until: %d on it.",
				c.version, f.Number(), to.Name(), f.Number(), c.version),
			fmt.Sprintf("若是同一问题，请在 *%s* 上声明 earlier: {until: %d number: %d}；若不是，请保留编号 %d 并设 until: %d。",
				to.Name(), c.version, f.Number(), f.Number(), c.version))
	}
}

// order notes that questions stand in another order.
func (c *comparer) order(at standing, a, b protoreflect.MessageDescriptor, kept map[protoreflect.FieldNumber]bool) {
	sequence := func(m protoreflect.MessageDescriptor) (out []protoreflect.FieldNumber) {
		for f := range fieldsOf(m) {
			if kept[f.Number()] && !f.IsMap() {
				out = append(out, f.Number())
			}
		}
		return out
	}
	x, y := sequence(a), sequence(b)
	for i := range x {
		if i < len(y) && x[i] != y[i] {
			first := b.Fields().ByNumber(y[i])
			c.add(ChangeOrder, free, at, nil,
				fmt.Sprintf("The questions%s stand in another order, from *%s* on.", at.ofEn(), first.Name()),
				fmt.Sprintf("%s题目的顺序有变，自 *%s* 起。", at.inZh(), first.Name()), "", "")
			return
		}
	}
}

// module compares the options of two messages.
func (c *comparer) module(at standing, a, b *formv1.Module) {
	word, wordZh := "questionnaire", "问卷"
	if at.path != "" {
		word, wordZh = at.word+" *"+at.name+"*", at.wordZh+" *"+at.name+"*"
	}
	if a.GetTitle().GetEn() != b.GetTitle().GetEn() || a.GetTitle().GetZh() != b.GetTitle().GetZh() {
		c.add(ChangeText, free, at, nil,
			fmt.Sprintf("The title of the %s was “%s” and is “%s”.", word, a.GetTitle().GetEn(), b.GetTitle().GetEn()),
			fmt.Sprintf("%s的标题由“%s”改为“%s”。", wordZh, zhOf(a.GetTitle()), zhOf(b.GetTitle())), "", "")
	}
	x, y := proto.CloneOf(a), proto.CloneOf(b)
	for _, m := range []*formv1.Module{x, y} {
		if m != nil {
			m.Version, m.Level = nil, nil
			if m.Title != nil {
				m.Title.En, m.Title.Zh = nil, nil
			}
		}
	}
	if !proto.Equal(x, y) {
		c.add(ChangeShown, free, at, nil, fmt.Sprintf("The introduction of the %s, or how it is shown, has changed.", word),
			fmt.Sprintf("%s的说明或显示方式有变。", wordZh), "", "")
	}
	if a.GetLevel() != b.GetLevel() {
		c.add(ChangeExport, free, at, nil, fmt.Sprintf("The file of the %s in exports is called %q, and was called %q.", word, b.GetLevel(), a.GetLevel()),
			fmt.Sprintf("%s的导出文件名由 %q 改为 %q。", wordZh, a.GetLevel(), b.GetLevel()), "", "")
	}
}
