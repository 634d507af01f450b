package export

import (
	"slices"
	"strconv"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Published is what an export needs of a questionnaire that was published at run time. Its answers stand in tables of
// their own: one for the questionnaire, one for each roster, named after the questionnaire.
type Published struct {
	// Top is the top message of the newest version, which has the questions of all versions.
	Top protoreflect.MessageDescriptor
	// Read decodes answers that were given to a version, as they would stand in the newest. Nil: they are decoded as Top.
	// With an error there may be a message all the same: what could not be brought over stands in it as it was.
	Read func(answers []byte, version uint32) (protoreflect.Message, error)
}

// publishedTable is the table of a questionnaire's own row.
type publishedTable struct {
	table *Table
	read  func(answers []byte, version uint32) (protoreflect.Message, error)
}

// publishing is what the builder knows while it lays out the tables of a published questionnaire.
type publishing struct {
	top       protoreflect.MessageDescriptor
	table     string // name of the questionnaire's own table
	languages []string
	lists     map[string]*choiceList
	setNames  map[string]bool // of the lists
	// unclassed are the texts of which nobody has said whether they identify a person.
	unclassed int
}

// publish lays out the tables of a published questionnaire, below the interview's.
func (b *builder) publish(q Published) error {
	if q.Top == nil {
		return fault.New(fault.Internal, "", "a published questionnaire without a schema cannot be exported")
	}
	if b.plan.published[q.Top.FullName()] != nil {
		return nil
	}
	b.uses = map[protoreflect.FullName]int{}
	b.countUses(q.Top, map[protoreflect.FullName]bool{})
	for name := range b.uses {
		if strings.HasPrefix(string(name), "hearth.") {
			b.uses[name] = 2 // a position is never the only thing that could be called latitude
		}
	}
	name := levelOf(q.Top)
	if name == "" {
		name = snake(string(q.Top.Name()))
	}
	b.publishing = &publishing{
		top: q.Top, table: cutWords(clean(name), maxTable), lists: map[string]*choiceList{}, setNames: map[string]bool{},
		languages: slices.Concat(formv1.ModuleOf(q.Top.Options()).GetLanguages(), []string{"en", "zh"}),
	}
	defer func() { b.publishing = nil }()
	t, err := b.table(name, q.Top, b.plan.interview, false)
	if err != nil {
		return err
	}
	read := q.Read
	if read == nil {
		r := questionnaire.NewReader(q.Top)
		read = func(answers []byte, _ uint32) (protoreflect.Message, error) {
			m, err := r.Read(answers)
			if err != nil {
				return nil, err
			}
			return m.ProtoReflect(), nil
		}
	}
	b.plan.published[q.Top.FullName()] = &publishedTable{table: t, read: read}
	b.plan.note(q.Top)
	if b.publishing.unclassed > 0 && b.plan.research() {
		b.plan.unclassed = append(b.plan.unclassed, unclassed{string(q.Top.FullName()), b.publishing.unclassed})
	}
	return nil
}

// unclassed is how many texts of a questionnaire have no class of personal data.
type unclassed struct {
	questionnaire string
	texts         int
}

// note remembers the fields of a message and of those below it by name, for the wording of flags.
func (p *Plan) note(md protoreflect.MessageDescriptor) {
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		if p.fields[fd.FullName()] != nil {
			continue
		}
		p.fields[fd.FullName()] = fd
		if fd.Message() != nil && !fd.IsMap() {
			p.note(fd.Message())
		}
	}
}

// localised is what the export needs of a question, its wordings in a language that an export has.
func (b *builder) localised(q *formv1.Question) *formv1.Question {
	if q == nil {
		return nil
	}
	return &formv1.Question{
		Label: b.worded(q.GetLabel()), Universe: b.worded(q.GetUniverse()), Unit: q.Unit, Measure: q.Measure, Since: q.Since, Until: q.Until,
		PersonalData: q.PersonalData, ExportName: q.ExportName, Relevant: q.Relevant, Format: q.Format, Choices: q.Choices, Note: q.Note,
		System: q.System, Calculate: q.Calculate, FormName: q.FormName,
	}
}

// worded puts a wording that is neither in English nor in Chinese where the English one would stand, and takes line
// breaks out of labels; nil where there is none.
func (b *builder) worded(t *formv1.Text) *formv1.Text {
	if b.publishing == nil || t == nil {
		return t
	}
	out := &formv1.Text{}
	put := func(to **string, s string) {
		if s = strings.Join(strings.Fields(s), " "); s != "" {
			*to = &s
		}
	}
	put(&out.En, t.GetEn())
	put(&out.Zh, t.GetZh())
	for lang, s := range t.GetMore() {
		var kept *string
		if put(&kept, s); kept != nil {
			if out.More == nil {
				out.More = map[string]string{}
			}
			out.More[lang] = *kept
		}
	}
	if out.En == nil && out.Zh == nil {
		for _, lang := range b.publishing.languages {
			if s := out.More[lang]; s != "" && out.En == nil {
				put(&out.En, s)
			}
		}
		if out.En == nil && len(out.More) == 0 {
			return nil
		}
	}
	return out
}

// hides says whether an answer of a published questionnaire must not stand in a research export by what it holds, where
// nobody has said what it reveals.
func (b *builder) hides(fd protoreflect.FieldDescriptor, q *formv1.Question) bool {
	if b.publishing == nil || q.GetPersonalData() != formv1.PersonalData_PERSONAL_DATA_UNSPECIFIED {
		return false
	}
	switch q.GetFormat() {
	case formv1.Format_FORMAT_PHONE, formv1.Format_FORMAT_RESIDENT_ID, formv1.Format_FORMAT_GEO_TRACE, formv1.Format_FORMAT_GEO_SHAPE,
		formv1.Format_FORMAT_PHOTO, formv1.Format_FORMAT_AUDIO, formv1.Format_FORMAT_VIDEO, formv1.Format_FORMAT_FILE:
		return true
	}
	return fd.Message() != nil && fd.Message().FullName() == (*surveyv1.Attachment)(nil).ProtoReflect().Descriptor().FullName()
}

// shapePublished adds the columns of a field that is held otherwise in a published questionnaire than in those built in.
func (b *builder) shapePublished(s *step, fd protoreflect.FieldDescriptor, q *formv1.Question, in place) (suffixes []string, done bool) {
	list := b.listOf(fd, q)
	switch {
	case fd.IsMap() || fd.Message() != nil:
		return nil, false
	case list != nil && fd.IsList():
		return b.shapeSelected(s, fd, q, in, list), true
	case list != nil:
		s.op, s.list = opEnum, list
		b.setList(b.addLabelled(KindCode, fd, q, in), list)
		if !list.named {
			return []string{""}, true
		}
		b.part(KindText, fd, q, in, text("name in the list", "列表中的名称"))
		return []string{"", "_name"}, true
	case fd.Kind() != protoreflect.StringKind || fd.IsList():
		return nil, false
	case q.GetFormat() == formv1.Format_FORMAT_DATE:
		s.op = opScalar
		b.addLabelled(KindDate, fd, q, in)
		return []string{""}, true
	case q.GetFormat() == formv1.Format_FORMAT_DATE_TIME:
		s.op = opDateTime
		b.addLabelled(KindTime, fd, q, in)
		b.part(KindText, fd, q, in, text("as answered", "原始回答"))
		return []string{"", "_text"}, true
	case q.GetFormat() == formv1.Format_FORMAT_UNSPECIFIED && q.GetPersonalData() == 0 && !q.GetSystem() && q.GetCalculate() == "":
		b.publishing.unclassed++
	}
	return nil, false
}

// since is the version that decides which of two questions has a name first: later versions rename nothing.
func (b *builder) since(q *formv1.Question) uint32 {
	if b.publishing == nil {
		return 0
	}
	return q.GetSince()
}

// rosterName is the name of a roster's table: the questionnaire's, cut to the words for which there is room, and its own.
func (b *builder) rosterName(md protoreflect.MessageDescriptor, in place) string {
	own := levelOf(md)
	if own == "" {
		own = in.name
	}
	return leading(b.publishing.table, maxTable-1-len(clean(own))) + clean(own)
}

// leading is as many of the first words of a name as there is room for, with _ behind; none where not even one fits.
func leading(name string, room int) string {
	for len(name) > room {
		cut := strings.LastIndexByte(name, '_')
		if cut < 0 {
			return ""
		}
		name = name[:cut]
	}
	return name + "_"
}

// mostFlags is how many choices have a 0/1 column each.
const mostFlags = 250

// shapeSelected adds a column with all the codes chosen, in order, and one column per choice: 1 where it was chosen, or,
// of a ranking, its rank.
func (b *builder) shapeSelected(s *step, fd protoreflect.FieldDescriptor, q *formv1.Question, in place, list *choiceList) []string {
	s.op, s.list = opChoices, list
	kind := KindYesNo
	if q.GetFormat() == formv1.Format_FORMAT_RANK {
		s.op, kind = opRank, KindInteger
	}
	s.codes = map[protoreflect.EnumNumber]int{}
	b.addLabelled(KindText, fd, q, in).list = listWhole
	suffixes := []string{""}
	if len(list.values) > mostFlags {
		return suffixes
	}
	for _, v := range list.values {
		s.codes[protoreflect.EnumNumber(v.Code)] = len(in.table.Columns)
		b.part(kind, fd, q, in, v.Label)
		suffixes = append(suffixes, "_"+strings.Replace(strconv.Itoa(int(v.Code)), "-", "m", 1))
	}
	return suffixes
}

// setList gives a column the labels of its codes; of a long list those of the codes that will be found.
func (b *builder) setList(c *Column, list *choiceList) {
	if len(list.values) > longList {
		c.long = list
		return
	}
	b.setValues(c, list.values)
	c.enum = list.name
}

// longList is how many choices a list has at most whose labels all stand in every file.
const longList = 1_000

// mostLabels is how many labels a variable of a Stata file can have, some room left for reasons.
const mostLabels = 65_000

// labelLong labels the codes of long lists that occur.
func (j *job) labelLong() {
	for _, t := range j.plan.Tables {
		for i, c := range t.Columns {
			if c.long == nil {
				continue
			}
			found := j.stats[t].columns[i].codes
			if len(found) > mostLabels {
				j.warnings = append(j.warnings, t.Name+"."+c.Name+" has more than "+strconv.Itoa(mostLabels)+" different codes and is not labelled: the column after it has their names")
				continue
			}
			for _, v := range c.long.values {
				if found[int64(v.Code)] > 0 {
					c.Values = append(c.Values, v)
					c.label[v.Code] = v.Label
				}
			}
		}
	}
}
