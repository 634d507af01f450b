package paper

import (
	"maps"
	"slices"
	"strconv"

	"google.golang.org/protobuf/reflect/protoreflect"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
)

// item is a question with room for its answer.
func (w *writer) item(f protoreflect.FieldDescriptor, anchor string) *item {
	o := formv1.QuestionOf(f.Options())
	it := &item{
		Name: string(f.Name()), Anchor: anchor + "/" + string(f.Name()), field: f.FullName(), Label: w.text(o.GetLabel()), Hint: w.text(o.GetHint()), Guidance: w.text(o.GetGuidance()),
		Required: o.GetRequired(), Note: o.GetNote(), Unit: o.GetUnit(), Several: f.IsList(), Ranked: o.GetFormat() == formv1.Format_FORMAT_RANK,
	}
	if len(it.Label) == 0 {
		it.Label = text{{"", string(f.Name())}}
	}
	w.later(func() {
		it.AskWord, it.Ask = w.ask(o, f, "ask")
		if o.GetFilter() != "" {
			it.Offer = w.text(questionnaire.Words(o.GetFilter(), f.ContainingMessage(), w.top, w.called))
		}
	})
	for _, c := range o.GetChecks() {
		if t := w.text(c.GetMessage()); len(t) > 0 {
			it.Checks = append(it.Checks, t)
		}
	}
	if it.Note {
		return it
	}
	w.answer(it, f)
	if f.ContainingMessage().Fields().ByName("missing") != nil {
		reasons := o.GetMissing()
		if len(reasons) == 0 {
			reasons = []formv1.Missing{formv1.Missing_MISSING_REFUSED, formv1.Missing_MISSING_DONT_KNOW}
		}
		for _, r := range reasons {
			it.Reasons = append(it.Reasons, shortReason[r])
		}
	}
	return it
}

// answer gives a question its choices or its room.
func (w *writer) answer(it *item, f protoreflect.FieldDescriptor) {
	var choices []choice
	name, title := "", ""
	switch o := formv1.QuestionOf(f.Options()); {
	case o.GetChoices() != "":
		t := w.tables[o.GetChoices()]
		choices, name, title = w.rows(t), "table:"+t.GetName(), t.GetName()
		if said := w.text(t.GetTitle()); len(said) > 0 {
			title = said[0].Text
		}
	case f.Enum() != nil:
		choices, name, title = w.choices(f.Enum()), string(f.Enum().FullName()), string(f.Enum().Name())
		l := formv1.ListOf(f.Enum().Options())
		if said := w.text(l.GetTitle()); len(said) > 0 {
			title = said[0].Text
		}
	default:
		it.Blanks = w.blanks(f, true)
		return
	}
	if len(choices) < longList {
		it.Choices = choices
		return
	}
	if w.lists[name] == nil {
		l := &list{Anchor: name, Title: title, Choices: choices}
		if len(choices) > maxRows {
			l.Choices, l.Left = choices[:maxRows], len(choices)-maxRows
		}
		w.lists[name] = l
		w.sheet.Lists = append(w.sheet.Lists, l)
	}
	it.List = w.lists[name]
	it.Blanks = []blank{{Kind: "number", Cells: len(choices[len(choices)-1].Code)}}
}

func (w *writer) choices(e protoreflect.EnumDescriptor) []choice {
	var out []choice
	for i := range e.Values().Len() {
		v := e.Values().Get(i)
		o := formv1.ChoiceOf(v.Options())
		if v.Number() == 0 || w.version < o.GetSince() || o.GetUntil() != 0 && w.version > o.GetUntil() {
			continue
		}
		out = append(out, w.choice(int32(v.Number()), o))
	}
	return out
}

func (w *writer) rows(t *formv1.ChoiceTable) []choice {
	var out []choice
	for _, r := range t.GetRows() {
		out = append(out, w.choice(r.GetNumber(), r.GetChoice()))
	}
	return out
}

func (w *writer) choice(number int32, o *formv1.Choice) choice {
	if o != nil && o.Code != nil {
		number = o.GetCode()
	}
	c := choice{Code: strconv.Itoa(int(number)), Label: w.text(o.GetLabel())}
	if len(c.Label) == 0 {
		c.Label = text{{"", first(o.GetName(), c.Code)}}
	}
	return c
}

// blanks are the rooms to write an answer in; a block has one for each of its parts.
func (w *writer) blanks(f protoreflect.FieldDescriptor, whole bool) []blank {
	o := formv1.QuestionOf(f.Options())
	b := blank{Unit: o.GetUnit()}
	if !whole {
		b.Label = w.text(o.GetLabel())
	}
	switch f.Kind() {
	case protoreflect.BoolKind:
		b.Kind = "yes"
	case protoreflect.EnumKind:
		if c := w.choices(f.Enum()); len(c) < longList {
			b.Kind, b.Choices = "choices", c
		} else {
			b.Kind, b.Cells = "number", 2
		}
	case protoreflect.StringKind, protoreflect.BytesKind:
		b.Kind = formats[o.GetFormat()]
		if b.Kind == "" {
			b.Kind = "line"
			if !whole {
				b.Kind = "text"
			}
		}
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return w.parts(f, b)
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		b.Kind, b.Cells = "decimal", 7
	default:
		b.Kind, b.Cells = "number", 4
		if f.Kind() == protoreflect.Int64Kind || f.Kind() == protoreflect.Uint64Kind {
			b.Cells = 8
		}
	}
	return []blank{b}
}

var formats = map[formv1.Format]string{
	formv1.Format_FORMAT_DATE: "date", formv1.Format_FORMAT_TIME: "time", formv1.Format_FORMAT_DATE_TIME: "datetime",
	formv1.Format_FORMAT_PHONE: "phone", formv1.Format_FORMAT_RESIDENT_ID: "resident",
}

// parts are the rooms of an answer of several parts.
func (w *writer) parts(f protoreflect.FieldDescriptor, b blank) []blank {
	switch m := f.Message(); m.FullName() {
	case "google.protobuf.Timestamp":
		b.Kind = "datetime"
	case "hearth.survey.v1.PartialDate":
		b.Kind = "partial"
	case "hearth.survey.v1.GeoPoint":
		b.Kind = "position"
	case "hearth.survey.v1.Attachment":
		b.Kind = "file"
	case "hearth.survey.v1.Money":
		b.Kind, b.Cells, b.Unit = "number", 9, first(b.Unit, "yuan")
	default:
		var out []blank
		for i := range m.Fields().Len() {
			part := m.Fields().Get(i)
			if w.printed(part) && (questionnaire.GroupOf(part) == nil || inline[questionnaire.GroupOf(part).FullName()] && questionnaire.GroupOf(part) != m) {
				out = append(out, w.blanks(part, false)...)
			}
		}
		return out
	}
	return []blank{b}
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

func words(en, zh string) *formv1.Text { return &formv1.Text{En: &en, Zh: &zh} }

// own is what the page itself says.
var own = map[string]*formv1.Text{
	"key":      words("Interview key", "访问代号"),
	"by":       words("Interviewer", "访问员"),
	"date":     words("Date", "日期"),
	"site":     words("Site", "调查点"),
	"ask":      words("Ask if", "询问条件"),
	"universe": words("Put to", "询问对象"),
	"needed":   words("needs an answer or a reason", "必答，或注明原因"),
	"askall":   words("This part only if", "本部分仅当"),
	"offer":    words("Offer only those where", "仅提供满足以下条件的选项"),
	"several":  words("Mark all that apply", "可多选"),
	"ranked":   words("Number them in order", "按顺序编号"),
	"each":     words("One copy for each. This copy is for number", "每项填写一份。本份编号"),
	"rows":     words("One line for each", "每项一行"),
	"version":  words("Version", "版本"),
	"list":     words("Code; see the list", "代码；见列表"),
	"lists":    words("Lists", "选项列表"),
	"left":     words("and others that are not printed", "其余未印出"),
	"reasons":  words("Where there is no answer, mark the reason", "没有答案时，请标出原因"),
	"yes":      words("yes", "是"),
	"no":       words("no", "否"),
	"year":     words("year", "年"),
	"month":    words("month", "月"),
	"day":      words("day", "日"),
	"lunar":    words("lunar", "农历"),
	"time":     words("time", "时间"),
	"position": words("latitude, longitude", "纬度、经度"),
	"file":     words("photo, sound or file: its number", "照片、录音或文件：编号"),
	"go":       words("goes on", "续"),
}
