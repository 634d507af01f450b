package xlsform

import (
	"fmt"
	"strings"
)

// readChoices reads the lists of a sheet of choices.
func (f *form) readChoices(s *sheet, columns []column, report *Report) {
	doubled := map[string]bool{}
	seen := map[[2]string]bool{}
	for _, r := range s.rows {
		rec := recordOf(r, columns)
		listName, name := rec.get("list_name"), rec.get("name")
		if listName == "" {
			report.warn(s.name, r.number, "", "the choice %q names no list; it is not read", name)
			f.keptChoices = append(f.keptChoices, keptChoice{r.number, rec.allCells()})
			continue
		}
		if name == "" {
			report.warn(s.name, r.number, "", "a choice of list %s has no name; it is not read", listName)
			f.keptChoices = append(f.keptChoices, keptChoice{r.number, rec.allCells()})
			continue
		}
		l := f.lists[listName]
		if l == nil {
			l = &list{name: listName}
			f.lists[listName] = l
			f.order = append(f.order, l)
		}
		if strings.ContainsAny(name, " \t\n") {
			report.warn(s.name, r.number, "", "the choice %q of list %s has a space in its name; ODK takes it for two where several may be chosen", name, listName)
		}
		key := [2]string{listName, name}
		if seen[key] {
			l.doubled = true
			if !doubled[listName] {
				report.warn(s.name, r.number, "", "list %s has the choice %q twice; both are kept, as rows of a table", listName, name)
				doubled[listName] = true
			}
		}
		seen[key] = true
		c := &choice{row: r.number, name: name, texts: rec.texts, columns: rec.extra, was: rec.get("hearth_was"), missing: strings.ToUpper(rec.get("hearth_missing"))}
		for _, name := range []string{"name", "list_name", "hearth_was", "hearth_missing"} {
			if v := rec.cells[name]; v != "" && (strings.TrimSpace(v) != v || strings.HasPrefix(name, "hearth")) {
				if c.raw == nil {
					c.raw = map[string]string{}
				}
				c.raw[name] = v
			}
		}
		l.choices = append(l.choices, c)
	}
}

// listOf finds a list by its name, in other case if it must.
func (f *form) listOf(name string) *list {
	if l := f.lists[name]; l != nil {
		return l
	}
	for _, l := range f.order {
		if strings.EqualFold(l.name, name) {
			return l
		}
	}
	return nil
}

// surveyReader builds the tree of the survey.
type surveyReader struct {
	form   *form
	report *Report
	stack  []*node
	last   string // path of the question before
	sheet  string
}

// readSurvey reads the rows of the survey.
func (f *form) readSurvey(s *sheet, columns []column, report *Report) error {
	f.root = &node{record: &record{cells: map[string]string{}, texts: map[string]texts{}}, typ: parsedType{typ: typ{kind: kindGroup}}}
	r := &surveyReader{form: f, report: report, stack: []*node{f.root}, sheet: s.name}
	for _, line := range s.rows {
		if err := r.row(recordOf(line, columns)); err != nil {
			return err
		}
	}
	for _, open := range r.stack[1:] {
		report.warn(s.name, open.record.number, "", "%s %s is begun and never ended; it is taken to end with the form", open.typ.word, open.name)
	}
	if countNodes(f.root) == 0 {
		return badForm("sheet %s has no question", s.name)
	}
	return nil
}

func countNodes(n *node) int {
	count := 0
	for _, c := range n.children {
		count += 1 + countNodes(c)
	}
	return count
}

func (r *surveyReader) top() *node { return r.stack[len(r.stack)-1] }

// keep notes a row that is no question.
func (r *surveyReader) keep(rec *record, reason string) {
	r.form.kept = append(r.form.kept, keptRow{After: r.last, Reason: reason, Cells: rec.allCells()})
}

// row reads one row.
func (r *surveyReader) row(rec *record) error {
	cell := rec.get("type")
	if cell == "" {
		if rec.get("name") != "" || rec.texts["label"] != nil {
			r.report.warn(r.sheet, rec.number, "", "the row of %q has no type; it is not read", firstOf(rec.get("name"), anyText(rec.texts["label"])))
		}
		r.keep(rec, "no type")
		return nil
	}
	word := strings.ToLower(spaces.ReplaceAllString(cell, " "))
	if v, ok := yes(rec.get("disabled")); ok && v && !ends(word) && !strings.HasPrefix(word, "begin") {
		r.keep(rec, "disabled")
		return nil
	}
	if ends(word) {
		r.end(rec, word)
		return nil
	}
	switch word {
	case "xml-external", "csv-external":
		r.keep(rec, "external")
		return nil
	}
	n := &node{record: rec, typ: parseType(cell), typeCell: cell, name: rec.get("name"), parent: r.top()}
	if !n.typ.known {
		r.report.warn(r.sheet, rec.number, cellName(rec.where["type"], rec.number), "the type %q is not known; the question is taken for text", cell)
	}
	if n.name == "" {
		n.name = fmt.Sprintf("row_%d", rec.number)
		r.report.warn(r.sheet, rec.number, "", "the row has no name; it is called %s", n.name)
	}
	if strings.HasSuffix(n.typ.word, "matrix") && n.section() {
		r.report.warn(r.sheet, rec.number, "", "the matrix %s is read as one row of it; write a repeat, or a group for each row", n.name)
	}
	r.kobo(n)
	if n.kind() == kindOne || n.kind() == kindMany {
		r.choices(n)
	}
	r.add(n)
	if n.section() {
		if len(r.stack) >= maxNesting {
			return badForm("sheet %s, row %d: groups are nested more than %d deep", r.sheet, rec.number, maxNesting)
		}
		r.stack = append(r.stack, n)
	}
	if n.typ.orOther && n.list != nil {
		r.addOther(n)
	}
	return nil
}

// add puts a node into the group that is open.
func (r *surveyReader) add(n *node) {
	p := r.top()
	for _, s := range p.children {
		if s.name == n.name {
			r.report.warn(r.sheet, n.record.number, "", "the name %q stands twice in one group; ODK refuses that, here both are kept", n.name)
			break
		}
	}
	p.children = append(p.children, n)
	r.form.byName[n.name] = append(r.form.byName[n.name], n)
	r.last = n.path()
}

// end closes the group or repeat that is open.
func (r *surveyReader) end(rec *record, word string) {
	if len(r.stack) == 1 {
		r.report.warn(r.sheet, rec.number, "", "%q ends what was never begun", word)
		return
	}
	open := r.top()
	if repeat := strings.Contains(word, "repeat") || strings.Contains(word, "lgroup") || strings.Contains(word, "roster"); repeat != (open.kind() == kindRepeat) {
		r.report.warn(r.sheet, rec.number, "", "%q ends %s, which was begun as %q in row %d", word, open.name, open.typeCell, open.record.number)
	}
	if cells := rec.allCells(); len(cells) > 1 || rec.cells["type"] != "end"+strings.TrimPrefix(plainType(open), "begin") {
		open.end = cells
	}
	r.last = endOf(open.path())
	r.stack = r.stack[:len(r.stack)-1]
}

// kobo reads the rows of Kobo's rating and ranking groups as the choices that they are.
func (r *surveyReader) kobo(n *node) {
	if n.typ.word != "score row" && n.typ.word != "rank level" {
		return
	}
	n.typ.typ.kind, n.typ.known = kindOne, true
	n.typ.list = r.top().get("kobo_list")
}

// choices finds the list of a question. A question whose choices are not here is a text.
func (r *surveyReader) choices(n *node) {
	f, rec := r.form, n.record
	switch {
	case strings.Contains(n.typ.list, "${"):
		r.report.warn(r.sheet, rec.number, "", "the choices of %s are the rows of a repeat; its answer is kept as text", n.name)
	case strings.Contains(strings.ToLower(rec.get("appearance")), "search("):
		r.report.warn(r.sheet, rec.number, "", "the choices of %s are looked up in a file as the form is filled; its answer is kept as text", n.name)
	case n.typ.file:
		n.list = f.fileList(n, r.report)
	default:
		if n.list = f.listOf(n.typ.list); n.list == nil {
			r.report.warn(r.sheet, rec.number, cellName(rec.where["type"], rec.number), "%s chooses from the list %q, which is not in the sheet choices; its answer is kept as text", n.name, n.typ.list)
		}
	}
	if n.list == nil {
		n.typ.typ.kind, n.typ.orOther = kindText, false
		return
	}
	n.list.used = true
	if rec.get("choice_filter") != "" {
		n.list.filtered = true
	}
}

// addOther adds the choice "other" and the question for it, as or_other asks.
func (r *surveyReader) addOther(n *node) {
	if len(n.list.numbersOrNone("other")) == 0 {
		t := texts{}
		for name := range r.form.langs.tags {
			t[name] = "Other"
		}
		n.list.choices = append(n.list.choices, &choice{name: "other", texts: map[string]texts{"label": t}})
	}
	rec := &record{number: n.record.number, cells: map[string]string{"relevant": "selected(${" + n.name + "}, 'other')"}, texts: map[string]texts{"label": {}}, where: map[string]int{}}
	for name := range r.form.langs.tags {
		rec.texts["label"][name] = "Specify other."
	}
	other := &node{record: rec, typ: parseType("text"), name: n.name + "_other", parent: n.parent, generated: true}
	n.other = other
	r.add(other)
}

// numbersOrNone are the rows of the choices of a name.
func (l *list) numbersOrNone(name string) []int {
	var all []int
	for i, c := range l.choices {
		if c.name == name {
			all = append(all, i)
		}
	}
	return all
}

func anyText(t texts) string {
	best := ""
	for _, s := range t {
		if best == "" || s < best {
			best = s
		}
	}
	return best
}
