package questionnaire

import (
	"fmt"
	"slices"
	"strings"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// choiceRow is one choice of an enum or of a table.
type choiceRow struct {
	number  int32
	name    string
	options *formv1.Choice
}

// choiceRows are the choices of a question, by the name of their list; false where it offers none.
func choiceRows(f protoreflect.FieldDescriptor) (list string, rows []choiceRow, ok bool) {
	if f.IsMap() {
		return "", nil, false
	}
	if e := f.Enum(); e != nil {
		for i := range e.Values().Len() {
			v := e.Values().Get(i)
			if v.Number() != 0 {
				rows = append(rows, choiceRow{int32(v.Number()), string(v.Name()), formv1.ChoiceOf(v.Options())})
			}
		}
		return string(e.FullName()), rows, true
	}
	name := formv1.QuestionOf(f.Options()).GetChoices()
	if name == "" {
		return "", nil, false
	}
	tables := formv1.TablesOf(f.ParentFile().Options())
	for _, t := range tables {
		if t.GetName() != name {
			continue
		}
		for _, r := range t.GetRows() {
			rows = append(rows, choiceRow{r.GetNumber(), r.GetChoice().GetName(), r.GetChoice()})
		}
	}
	return name, rows, true
}

// same says whether two choices of the same number are the same answer, by their names or words.
func (c choiceRow) same(d choiceRow) bool {
	x, y := c.options.GetLabel(), d.options.GetLabel()
	return c.name == d.name || c.options.GetName() != "" && c.options.GetName() == d.options.GetName() ||
		x.GetEn() != "" && x.GetEn() == y.GetEn() || x.GetZh() != "" && x.GetZh() == y.GetZh()
}

// listUse is how often a pair of lists is used with the same declarations.
type listUse struct {
	questions int
	told      bool
}

// choices compares what two questions offer. A list that many questions use is told of once.
func (c *comparer) choices(at standing, f, g protoreflect.FieldDescriptor) {
	oldList, before, _ := choiceRows(f)
	newList, after, _ := choiceRows(g)
	codes := map[int32]int32{}
	for _, e := range formv1.QuestionOf(g.Options()).GetEarlier() {
		if e.GetUntil() >= c.version {
			for _, r := range e.GetCodes() {
				codes[r.GetFrom()] = r.GetTo()
			}
		}
	}
	key := fmt.Sprint(oldList, "\x00", newList, "\x00", codes)
	use := c.lists[key]
	if use == nil {
		use = &listUse{}
		c.lists[key] = use
	}
	if c.counting {
		use.questions++
		return
	}
	if use.told {
		return
	}
	use.told = true
	l := &listComparer{comparer: c, at: at, field: g, codes: codes, also: use.questions - 1}
	l.compare(before, after)
}

// listComparer compares two lists of choices.
type listComparer struct {
	*comparer
	at    standing
	field protoreflect.FieldDescriptor
	codes map[int32]int32
	also  int // other questions with the same lists
}

func (l *listComparer) say(kind string, s changeSeverity, number int32, en, zh, doEn, doZh string) {
	if l.also > 0 {
		en = strings.TrimSuffix(en, ".") + fmt.Sprintf("; so do %d other questions with these answers.", l.also)
		zh = strings.TrimSuffix(zh, "。") + fmt.Sprintf("；另有 %d 道题使用同一组选项。", l.also)
	}
	x := l.of(kind, s, l.at, l.field, en, zh, doEn, doZh)
	if number != 0 {
		x.Choice = proto.Int32(number)
	}
}

func (l *listComparer) compare(before, after []choiceRow) {
	byNumber := make(map[int32]choiceRow, len(after))
	for _, d := range after {
		byNumber[d.number] = d
	}
	had := make(map[int32]bool, len(before))
	for _, b := range before {
		had[b.number] = true
	}
	added := map[string]choiceRow{} // new numbers by the names they bear
	for _, d := range after {
		if !had[d.number] {
			added[nameOf(d)] = d
		}
	}
	for _, b := range before {
		d, ok := byNumber[b.number]
		to, moved := added[nameOf(b)]
		switch {
		case ok && (b.same(d) || !moved):
			l.pair(b, d)
		case moved:
			delete(added, nameOf(b))
			had[to.number] = true
			l.renumbered(b, to)
			if ok { // the number stands for another answer now
				l.reused(b, d)
			}
		default:
			l.removed(b)
		}
	}
	for _, d := range after {
		if had[d.number] {
			continue
		}
		en, zh := choiceWords(d)
		l.say(ChangeChoiceAdded, free, d.number, "has a new answer "+en+".", "新增选项 "+zh+"。", "", "")
		if since := d.options.GetSince(); since != 0 && since <= l.version {
			l.say(ChangeChoiceSpan, refuse, d.number,
				fmt.Sprintf("says that answer %d is there since version %d, but version %d was published without it.", d.number, since, l.version),
				fmt.Sprintf("声明选项 %d 自第 %d 版起就有，但已发布的第 %d 版中没有。", d.number, since, l.version),
				fmt.Sprintf("Set since: %d, or leave it out.", l.version+1), fmt.Sprintf("请设 since: %d，或不写。", l.version+1))
		}
	}
	l.reordered(before, after)
}

func nameOf(c choiceRow) string {
	if c.options.GetName() != "" {
		return c.options.GetName()
	}
	return c.name
}

// renumbered is an answer that has another number now.
func (l *listComparer) renumbered(b, to choiceRow) {
	en, zh := choiceWords(b)
	if got, ok := l.codes[b.number]; ok && got == to.number {
		l.say(ChangeChoiceNumber, free, to.number, fmt.Sprintf("has answer %s under number %d now, as is declared.", en, to.number),
			fmt.Sprintf("的选项 %s 现编号为 %d（已声明）。", zh, to.number), "", "")
		return
	}
	l.say(ChangeChoiceNumber, declare, to.number, fmt.Sprintf("has answer %s under number %d now.", en, to.number),
		fmt.Sprintf("的选项 %s 现编号为 %d。", zh, to.number),
		fmt.Sprintf("Leave the number as it was, or declare earlier: {until: %d codes: {from: %d to: %d}}.", l.version, b.number, to.number),
		fmt.Sprintf("请保留原编号，或声明 earlier: {until: %d codes: {from: %d to: %d}}。", l.version, b.number, to.number))
}

// reused is a number that stands for another answer now.
func (l *listComparer) reused(b, d choiceRow) {
	if _, ok := l.codes[b.number]; ok {
		return // it is said what becomes of the answers that had it
	}
	was, wasZh := choiceWords(b)
	is, isZh := choiceWords(d)
	l.say(ChangeChoiceReused, declare, d.number, fmt.Sprintf("had answer %s, and has %s in its place.", was, is),
		fmt.Sprintf("原有选项 %s，现同号为 %s。", wasZh, isZh),
		fmt.Sprintf("Give the new answer a number of its own and set until: %d on the old one. If it is the same answer in other words, declare earlier: {until: %d codes: {from: %d to: %d}}.",
			l.version, l.version, b.number, b.number),
		fmt.Sprintf("请给新选项另编号，并在旧选项上设 until: %d；若只是同一答案换了说法，请声明 earlier: {until: %d codes: {from: %d to: %d}}。",
			l.version, l.version, b.number, b.number))
}

// removed is a number that is no answer any more.
func (l *listComparer) removed(b choiceRow) {
	en, zh := choiceWords(b)
	if to, ok := l.codes[b.number]; ok {
		becomes, becomesZh := fmt.Sprintf("counts as %d", to), fmt.Sprintf("计为 %d", to)
		if to == 0 {
			becomes, becomesZh = "counts as no answer", "计为无回答"
		}
		l.say(ChangeChoiceRemoved, free, b.number, fmt.Sprintf("has no answer %s any more; where it was given it %s, as is declared.", en, becomes),
			fmt.Sprintf("不再有选项 %s；已选者%s（已声明）。", zh, becomesZh), "", "")
		return
	}
	l.say(ChangeChoiceRemoved, refuse, b.number, fmt.Sprintf("has no answer %s any more: where it was given it would stand without a label.", en),
		fmt.Sprintf("删除了选项 %s：已选该项的回答将没有标签。", zh),
		fmt.Sprintf("Keep it and set until: %d, or say what it counts as: earlier: {until: %d codes: {from: %d to: ...}}.", l.version, l.version, b.number),
		fmt.Sprintf("请保留并设 until: %d，或声明它计为什么：earlier: {until: %d codes: {from: %d to: ...}}。", l.version, l.version, b.number))
}

// pair compares two choices of one number.
func (l *listComparer) pair(b, d choiceRow) {
	if !b.same(d) {
		l.reused(b, d)
		return
	}
	x, y := b.options, d.options
	en, _ := choiceWords(b)
	if x.GetLabel().GetEn() != y.GetLabel().GetEn() || x.GetLabel().GetZh() != y.GetLabel().GetZh() {
		now, nowZh := choiceWords(d)
		_, zh := choiceWords(b)
		l.say(ChangeChoiceText, free, d.number, fmt.Sprintf("calls answer %s now %s.", en, now), fmt.Sprintf("的选项 %s 改称 %s。", zh, nowZh), "", "")
	}
	if u := y.GetUntil(); u != x.GetUntil() {
		l.span(d, x.GetUntil(), u)
	}
	if s := y.GetSince(); s != 0 && s != x.GetSince() {
		l.say(ChangeChoiceSpan, refuse, d.number, fmt.Sprintf("says that answer %s is there since version %d, and said since %d.", en, s, x.GetSince()),
			fmt.Sprintf("的选项 %d 的 since 由 %d 改为 %d。", d.number, x.GetSince(), s), "What was published stays as it was: put since back.", "已发布的内容不可改写：请恢复 since。")
	}
	if x.GetAapor() != y.GetAapor() || x.GetMissing() != y.GetMissing() || x.GetCode() != y.GetCode() || !sameColumns(x, y) {
		l.say(ChangeChoiceRule, free, d.number, fmt.Sprintf("has other properties of answer %s: what it counts as, or what filters ask of it.", en),
			fmt.Sprintf("的选项 %d 的属性（计为何值或筛选所用的列）有变。", d.number), "", "")
	}
	a, z := proto.CloneOf(x), proto.CloneOf(y)
	for _, o := range []*formv1.Choice{a, z} {
		if o != nil {
			o.Until, o.Since, o.Aapor, o.Missing, o.Code, o.Columns = nil, nil, nil, nil, nil, nil
			if o.Label != nil {
				o.Label.En, o.Label.Zh = nil, nil
			}
		}
	}
	if !proto.Equal(a, z) && a != nil && z != nil {
		l.say(ChangeChoiceText, free, d.number, fmt.Sprintf("has answer %s with other pictures or words in another language.", en),
			fmt.Sprintf("的选项 %d 的图片或其他语言的措辞有变。", d.number), "", "")
	}
}

func sameColumns(x, y *formv1.Choice) bool {
	return proto.Equal(&formv1.Choice{Columns: x.GetColumns()}, &formv1.Choice{Columns: y.GetColumns()})
}

// span is a choice whose last version has changed.
func (l *listComparer) span(d choiceRow, was, is uint32) {
	en, zh := choiceWords(d)
	switch {
	case was != 0 && was < l.version:
		l.say(ChangeChoiceSpan, refuse, d.number, fmt.Sprintf("offers answer %s until version %d, but it ended with version %d.", en, is, was),
			fmt.Sprintf("的选项 %s 已于第 %d 版终止，现改为 %d。", zh, was, is),
			"Put until back; to offer the answer again, give it a new number.", "请恢复 until；若要再次提供，请另编号。")
	case is != 0 && is < l.version:
		l.say(ChangeChoiceSpan, refuse, d.number, fmt.Sprintf("ends answer %s with version %d, but version %d was published with it.", en, is, l.version),
			fmt.Sprintf("把选项 %s 终止于第 %d 版，但已发布的第 %d 版中有它。", zh, is, l.version),
			fmt.Sprintf("Set until: %d.", l.version), fmt.Sprintf("请设 until: %d。", l.version))
	case is != 0:
		l.say(ChangeChoiceEnded, free, d.number, fmt.Sprintf("does not offer answer %s any more; what was answered stays.", en),
			fmt.Sprintf("不再提供选项 %s；已有回答保留。", zh), "", "")
	default:
		l.say(ChangeChoiceSpan, free, d.number, fmt.Sprintf("offers answer %s on.", en), fmt.Sprintf("继续提供选项 %s。", zh), "", "")
	}
}

// reordered notes that the answers stand in another order.
func (l *listComparer) reordered(before, after []choiceRow) {
	kept := func(of, in []choiceRow) (out []int32) {
		there := make(map[int32]bool, len(in))
		for _, d := range in {
			there[d.number] = true
		}
		for _, d := range of {
			if there[d.number] {
				out = append(out, d.number)
			}
		}
		return out
	}
	if !slices.Equal(kept(before, after), kept(after, before)) {
		l.say(ChangeChoiceOrder, free, 0, "offers its answers in another order.", "的选项顺序有变。", "", "")
	}
}
