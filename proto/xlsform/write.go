package xlsform

import (
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strconv"
	"strings"

	"github.com/xuri/excelize/v2"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/hearth-survey/hearth/proto/fault"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/proto/xform"
)

// Write writes a questionnaire as an XLSForm. One that came from an XLSForm is written as it was, with what was changed
// since; rules of others are XPath that means the same, and those that XPath cannot say are left out and named.
func Write(q *questionnaire.Questionnaire, w io.Writer, o xform.Options) (xform.Warnings, error) {
	return write(q.Descriptor(), q.Version(), w, o)
}

func write(top protoreflect.MessageDescriptor, version uint32, w io.Writer, o xform.Options) (xform.Warnings, error) {
	rows, lists, left, err := xform.Rows(top, version, o)
	if err != nil {
		return nil, err
	}
	b := newBook(top, o)
	b.survey(rows)
	b.choices(rows, lists)
	b.settings()
	f := excelize.NewFile()
	defer f.Close()
	for i, s := range b.sheets {
		if len(s.rows) == 0 && len(s.headers) == 0 {
			continue
		}
		if i == 0 {
			err = f.SetSheetName("Sheet1", s.name)
		} else {
			_, err = f.NewSheet(s.name)
		}
		if err == nil {
			err = s.write(f)
		}
		if err != nil {
			return nil, fmt.Errorf("write sheet %s: %w", s.name, err)
		}
	}
	if err := f.Write(w); err != nil {
		return nil, fmt.Errorf("write the form: %w", err)
	}
	return left, nil
}

// page is a sheet that is written: cells by the names of their columns.
type page struct {
	name    string
	headers []string
	// keys are the names of the columns, in the order of the headers.
	keys []string
	rows []map[string]string
}

// book is the sheets of a form that is written.
type book struct {
	module   *formv1.Module
	id       string
	title    string
	original map[string][]string // headers of the sheets of the XLSForm that the questionnaire came from
	xls      bool
	langs    []tongue
	kept     []keptRow
	had      map[string]bool // the columns that the sheet had which is being made
	sheets   []*page
}

// tongue is a language of the form, as headers name it: those without a language may mean one that others name.
type tongue struct {
	tag   string
	names []string
}

func newBook(d protoreflect.MessageDescriptor, o xform.Options) *book {
	m := formv1.ModuleOf(d.Options())
	b := &book{module: m, title: firstOf(m.GetTitle().GetEn(), m.GetTitle().GetZh(), anyText(m.GetTitle().GetMore())), original: map[string][]string{}}
	columns := m.GetFormColumns()
	b.xls = fromJSON(columns[KeyHeaders], &b.original)
	fromJSON(columns[KeyRows], &b.kept)
	b.id = firstOf(o.FormID, m.GetFormName(), strings.TrimPrefix(string(d.ParentFile().Package()), "form."))
	if !b.xls {
		b.id = firstOf(o.FormID, m.GetFormName(), string(d.Name()))
	}
	names := map[string]string{}
	fromJSON(columns[KeyLanguages], &names)
	tags := o.Languages
	if len(tags) == 0 {
		tags = m.GetLanguages()
	}
	if len(tags) == 0 {
		tags = []string{"en", "zh"}
	}
	for _, tag := range tags {
		l := tongue{tag: tag}
		for name, t := range names {
			if t == tag {
				l.names = append(l.names, name)
			}
		}
		sort.Sort(sort.Reverse(sort.StringSlice(l.names))) // that without a name is the last
		if len(l.names) == 0 {
			l.names = []string{xform.LanguageName(tag)}
		}
		b.langs = append(b.langs, l)
	}
	return b
}

// column is the column of a text in a language: the one that the sheet had, if it had one.
func (b *book) column(name string, l tongue) string {
	for _, n := range l.names {
		if key := inLanguage(name, n); b.had[key] {
			return key
		}
	}
	return inLanguage(name, l.names[0])
}

// turnTo begins a sheet.
func (b *book) turnTo(name string, names map[string]string) {
	b.had = map[string]bool{}
	columns, _ := columnsOf(b.original[name], names)
	for _, c := range columns {
		b.had[inLanguage(c.name, c.language)] = true
	}
}

func fromJSON(text string, v any) bool { return text != "" && json.Unmarshal([]byte(text), v) == nil }

// words puts a text into the columns of its languages.
func (b *book) words(cells map[string]string, name string, t *formv1.Text) {
	for _, l := range b.langs {
		s := t.GetMore()[l.tag]
		switch l.tag {
		case "en":
			s = t.GetEn()
		case "zh":
			s = t.GetZh()
		}
		if s != "" {
			cells[b.column(name, l)] = s
		}
	}
}

func (b *book) media(cells map[string]string, all []*formv1.Media) {
	for _, m := range all {
		b.words(cells, m.GetKind(), m.GetFile())
	}
}

// survey makes the sheet survey.
func (b *book) survey(rows []xform.Row) {
	p := &page{name: "survey"}
	b.turnTo("survey", surveyColumns)
	after := map[string][]keptRow{}
	for _, k := range b.kept {
		after[k.After] = append(after[k.After], k)
	}
	add := func(path string) {
		for _, k := range after[path] {
			p.rows = append(p.rows, k.Cells)
		}
		delete(after, path)
	}
	add("")
	for _, r := range rows {
		path := strings.TrimPrefix(r.Node.Path, "/data/")
		if r.Node.Options.GetFormColumns()[KeyGenerated] != "" {
			continue
		}
		if r.End {
			p.rows = append(p.rows, b.end(r))
			add(endOf(path))
			continue
		}
		p.rows = append(p.rows, b.row(r))
		add(path)
	}
	for _, k := range b.kept { // whose question is gone
		if _, left := after[k.After]; left {
			p.rows = append(p.rows, k.Cells)
		}
	}
	b.finish(p, surveyColumns, b.usual("type", "name", "label", "hint", "relevant", "constraint", "constraint_message", "required", "required_message", "calculation", "choice_filter", "repeat_count", "appearance"))
}

func (b *book) end(r xform.Row) map[string]string {
	cells := map[string]string{}
	if fromJSON(r.Node.Options.GetFormColumns()[KeyEnd], &cells) {
		return cells
	}
	return map[string]string{"type": "end_" + r.Control}
}

// row is the cells of a question.
func (b *book) row(r xform.Row) map[string]string {
	o := r.Node.Options
	columns := o.GetFormColumns()
	cells := map[string]string{"type": typeOf(r), "name": firstOf(o.GetFormName(), r.Node.Name), "appearance": r.Appearance, "default": r.Initial}
	if columns[xform.KeyNoLabel] == "" {
		b.words(cells, "label", r.Label)
	}
	if r.Label == nil && r.Control != "" {
		b.words(cells, "label", o.GetLabel())
	}
	b.words(cells, "hint", r.Hint)
	b.words(cells, "guidance_hint", r.Guidance)
	if !b.saysNothing(r.ConstraintMessage) && (len(o.GetChecks()) > 0 || columns["constraint"] == "") {
		b.words(cells, "constraint_message", r.ConstraintMessage)
	}
	b.words(cells, "required_message", r.RequiredMessage)
	b.media(cells, r.Media)
	for name, header := range map[string]string{"relevant": "relevant", "constraint": "constraint", "calculate": "calculation"} {
		cells[header] = r.Bind[name]
	}
	if cells["required"] = r.Bind["required"]; cells["required"] == "true()" {
		cells["required"] = "yes"
	}
	if r.Bind["readonly"] != "" && typeOf(r) != "note" && r.Control != "" {
		cells["read_only"] = "yes"
	}
	cells["choice_filter"], cells["repeat_count"] = r.Filter, r.Count
	b.overrule(cells, o, columns)
	return cells
}

// saysNothing tells whether a text is that which stands where the form has no message.
func (b *book) saysNothing(t *formv1.Text) bool {
	return t.GetEn() == NoMessage.GetEn() || t.GetZh() == NoMessage.GetZh() && t.GetEn() == ""
}

// overrule puts in what stood in the XLSForm, where it still means what the schema says.
func (b *book) overrule(cells map[string]string, o *formv1.Question, columns map[string]string) {
	made := sealed(o)
	for header, text := range columns {
		cel, expression := made[header]
		switch {
		case strings.HasPrefix(header, "#") || strings.HasSuffix(header, "#"):
			continue
		case header == "required" && cel == "" && columns[keyRequired] != "":
			if columns[keyRequired] != strconv.FormatBool(o.GetRequired()) {
				continue
			}
		case header == "read_only":
			if v, ok := yes(text); ok && v != o.GetReadOnly() {
				continue
			}
		case header == "name" && strings.TrimSpace(text) != cells["name"]:
			continue
		case header == "constraint" && len(o.GetChecks()) != 0:
			if text, expression = xform.Kept(columns, header, cel); !expression {
				continue
			}
		case expression:
			if text, expression = xform.Kept(columns, header, cel); !expression {
				continue
			}
		}
		cells[header] = text
	}
}

// typeOf is the type of a row of the survey.
func typeOf(r xform.Row) string {
	n := r.Node
	switch r.Control {
	case "group", "repeat":
		return "begin_" + r.Control
	case "select", "select1", "odk:rank":
		list := ""
		if n.Choices != nil {
			list = n.Choices.Name
		}
		return map[string]string{"select": "select_multiple ", "select1": "select_one ", "odk:rank": "rank "}[r.Control] + list
	case "trigger":
		return "acknowledge"
	case "upload":
		return fileType(n.Options.GetFormat())
	case "":
		if r.Bind["calculate"] != "" || n.Options.GetCalculate() != "" || n.Options.GetFormColumns()["calculation"] != "" {
			return "calculate"
		}
		return "hidden"
	}
	if r.Bind["readonly"] != "" && (n.Field == nil || n.Options.GetNote()) {
		return "note"
	}
	switch n.Type {
	case "int":
		return "integer"
	case "string":
		return "text"
	}
	return n.Type
}

// choices makes the sheets choices and external_choices.
func (b *book) choices(rows []xform.Row, lists []*xform.List) {
	inside, outside := &page{name: "choices"}, &page{name: "external_choices"}
	external, fromFile, used := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, r := range rows {
		if r.Node.Choices == nil {
			continue
		}
		t := parseType(r.Node.Options.GetFormColumns()["type"])
		switch name := r.Node.Choices.Name; {
		case t.external:
			external[name] = true
		case t.file:
			fromFile[name] = true
		default:
			used[name] = true
		}
	}
	var order []string
	fromJSON(b.module.GetFormColumns()[KeyLists], &order)
	place := map[string]int{}
	for i, name := range order {
		place[name] = i + 1
	}
	sort.SliceStable(lists, func(i, j int) bool { return place[lists[i].Name] < place[lists[j].Name] })
	for _, l := range lists {
		to := inside
		if external[l.Name] {
			to = outside
		}
		if fromFile[l.Name] && !used[l.Name] {
			continue
		}
		b.turnTo(to.name, choiceColumns)
		for i := range l.Choices {
			if l.Choices[i].Column(KeyGenerated) == "" {
				to.rows = append(to.rows, b.choice(l, &l.Choices[i]))
			}
		}
	}
	var loose []keptChoice
	fromJSON(b.module.GetFormColumns()[KeyChoiceRows], &loose)
	for _, k := range loose {
		k.Cells[KeyRow] = itoa(k.Row)
		inside.rows = append(inside.rows, k.Cells)
	}
	for _, p := range []*page{inside, outside} {
		sort.SliceStable(p.rows, func(i, j int) bool { return rowOf(p.rows[i]) < rowOf(p.rows[j]) })
		for _, r := range p.rows {
			delete(r, KeyRow)
		}
		b.finish(p, choiceColumns, b.usual("list_name", "name", "label"))
	}
}

// rowOf is the row in which a choice stood.
func rowOf(cells map[string]string) int {
	n := 0
	for _, c := range cells[KeyRow] {
		n = n*10 + int(c-'0')
	}
	return n
}

func (b *book) choice(l *xform.List, c *xform.Choice) map[string]string {
	cells := map[string]string{"list_name": l.Name, "name": c.Name}
	if c.Column(xform.KeyNoLabel) == "" {
		b.words(cells, "label", c.Options.GetLabel())
	}
	b.media(cells, c.Options.GetMedia())
	if m := c.Options.GetMissing(); m != 0 {
		cells["hearth_missing"] = strings.ToLower(strings.TrimPrefix(m.String(), "MISSING_"))
	}
	for header, text := range c.Options.GetColumns() {
		if !strings.HasPrefix(header, "#") || header == KeyRow {
			cells[header] = text
		}
	}
	return cells
}

// settings makes the sheet settings, and those that are kept as they were.
func (b *book) settings() {
	p := &page{name: "settings"}
	columns := b.module.GetFormColumns()
	if _, had := b.original["settings"]; had || !b.xls {
		cells := map[string]string{}
		for header, text := range columns {
			if !strings.HasPrefix(header, "#") {
				cells[header] = text
			}
		}
		if strings.TrimSpace(cells["form_title"]) != b.title && (b.title != b.id || !b.xls) {
			cells["form_title"] = b.title
		}
		if strings.TrimSpace(cells["form_id"]) != b.id && (!b.xls || cells["form_id"] != "") {
			cells["form_id"] = b.id
		}
		if !b.xls {
			cells["version"] = fmt.Sprint(b.module.GetVersion())
			cells["default_language"] = b.langs[0].names[0]
		}
		if len(cells) > 0 {
			p.rows = append(p.rows, cells)
		}
		b.finish(p, settingColumns, []string{"form_title", "form_id", "version", "default_language"})
	}
	others := map[string][][]string{}
	fromJSON(columns[KeySheets], &others)
	for _, name := range []string{"entities", "osm"} {
		if rows := others[name]; len(rows) > 0 {
			p := &page{name: name, headers: b.original[name]}
			for i := range p.headers {
				p.keys = append(p.keys, itoa(i))
			}
			for _, r := range rows {
				cells := map[string]string{}
				for i, text := range r {
					cells[itoa(i)] = text
				}
				p.rows = append(p.rows, cells)
			}
			b.sheets = append(b.sheets, p)
		}
	}
}

// usual are the columns of a form that came from nowhere, with the languages of those that have them.
func (b *book) usual(names ...string) []string {
	var out []string
	for _, n := range names {
		if !translatable[n] {
			out = append(out, n)
			continue
		}
		for _, l := range b.langs {
			out = append(out, b.column(n, l))
		}
	}
	return out
}

// finish gives a sheet its headers: those that it had, then those that its cells need.
func (b *book) finish(p *page, names map[string]string, usual []string) {
	have := map[string]bool{}
	if original := b.original[p.name]; len(original) > 0 {
		p.headers = original
		p.keys = make([]string, len(original))
		columns, _ := columnsOf(original, names)
		for _, c := range columns {
			key := c.header
			if c.name != "" {
				key = inLanguage(c.name, c.language)
			}
			p.keys[c.index], have[key] = key, true
		}
	}
	needed := map[string]bool{}
	for _, r := range p.rows {
		for key, text := range r {
			needed[key] = needed[key] || text != ""
		}
	}
	more := append([]string(nil), usual...)
	for key := range needed {
		more = append(more, key)
	}
	sort.Strings(more[len(usual):])
	for _, key := range more {
		if !have[key] && needed[key] {
			have[key] = true
			p.headers, p.keys = append(p.headers[:len(p.headers):len(p.headers)], key), append(p.keys, key)
		}
	}
	b.sheets = append(b.sheets, p)
}

// write writes the sheet as text: what a cell says is what it said.
func (p *page) write(f *excelize.File) error {
	w, err := f.NewStreamWriter(p.name)
	if err != nil {
		return err
	}
	line := make([]any, len(p.headers))
	for i, h := range p.headers {
		line[i] = h
	}
	if err := w.SetRow("A1", line); err != nil {
		return err
	}
	for i, r := range p.rows {
		line := make([]any, len(p.keys))
		for j, key := range p.keys {
			text := r[key]
			if len(text) > excelize.TotalCellChars && len([]rune(text)) > excelize.TotalCellChars {
				return fault.New(fault.TooLarge, fault.BadForm, "row %d: the column %s has %d characters; a cell holds at most %d", i+2, p.headers[j], len([]rune(text)), excelize.TotalCellChars)
			}
			if text != "" {
				line[j] = text
			}
		}
		if err := w.SetRow("A"+itoa(i+2), line); err != nil {
			return err
		}
	}
	return w.Flush()
}

// ProtoText is the text of a questionnaire's file.
func ProtoText(f protoreflect.FileDescriptor) string {
	return printProto(protodesc.ToFileDescriptorProto(f))
}
