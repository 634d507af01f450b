package xlsform

import (
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
)

// form is an XLSForm as it is read: the tree of the survey, the lists, the settings.
type form struct {
	id, top  string // name of the package's last part, and of the top message
	title    string
	file     string
	root     *node
	lists    map[string]*list
	order    []*list // in the order in which they are met
	byName   map[string][]*node
	langs    *languages
	settings *record
	// headers are those of each sheet, verbatim.
	headers map[string][]string
	// keptChoices are rows of the choices that are none; scattered: the rows of a list do not stand together.
	keptChoices []keptChoice
	scattered   bool
	// kept are rows that are no questions, to be written again.
	kept []keptRow
	// extra are whole sheets kept as they are: entities, osm.
	extra map[string]*sheet
	media string
	// missing says of files that expressions name why they are not here.
	missing map[string]string
}

// keptRow is a row of the survey that is no question: it is disabled, or declares a file.
type keptRow struct {
	After  string            `json:"after,omitempty"` // path of the question it stands after
	Reason string            `json:"reason"`
	Cells  map[string]string `json:"cells"`
}

// keptChoice is a row of the choices that is no choice.
type keptChoice struct {
	Row   int               `json:"row"`
	Cells map[string]string `json:"cells"`
}

// node is a row of the survey: a question, a group or a repeat.
type node struct {
	*record
	typ      parsedType
	typeCell string
	name     string // in the form
	field    string // in the schema
	message  string // of a group or repeat, the name of its message
	number   int32
	key      string // in the lock
	parent   *node
	children []*node
	list     *list
	// other is the question that asks what the other is, of or_other.
	other *node
	// end is the cells of the row that ends a section, where they say more than that.
	end map[string]string
	// generated: the row is not in the form.
	generated bool
	out       outcome
}

// outcome is what translation gave for a node.
type outcome struct {
	relevant, filter, count, requiredWhen, calculate, initial string
	required                                                  bool
	constraint                                                string
	calcKind                                                  kind
	calculated                                                progress
	// relevantRefs and calculateRefs are the questions that relevance and calculation read.
	relevantRefs, calculateRefs []*node
	// untranslated: the calculation could not be translated; nobody is asked for the value.
	untranslated bool
}

func (n *node) kind() kind { return n.typ.typ.kind }

// section tells whether the node has children.
func (n *node) section() bool { return n.kind() == kindGroup || n.kind() == kindRepeat }

// path is the names from the top, joined by "/".
func (n *node) path() string {
	if n.parent == nil {
		return ""
	}
	if p := n.parent.path(); p != "" {
		return p + "/" + n.name
	}
	return n.name
}

// within tells whether the node is a or stands in it.
func (n *node) within(a *node) bool {
	for x := n; x != nil; x = x.parent {
		if x == a {
			return true
		}
	}
	return false
}

// choice is a row of the choices.
type choice struct {
	row     int
	name    string
	texts   map[string]texts
	columns map[string]string
	was     string
	raw     map[string]string // cells that are written otherwise in a schema
	missing string
	number  int32
	value   string // name of the enum value
	code    *int32 // number in exports, where it is not number
}

// list is a list of choices.
type list struct {
	name    string
	file    string // of a list from a file: its name
	choices []*choice
	table   bool   // kept as a choice table
	enum    string // name of the enum or table
	used    bool
	// filtered: a question filters the list.
	filtered bool
	// doubled: several choices have one name.
	doubled bool
}

// numbers are the numbers of the choices of a name.
func (l *list) numbers(name string) []int32 {
	var all []int32
	for _, c := range l.choices {
		if c.name == name {
			all = append(all, c.number)
		}
	}
	return all
}

const maxNesting = 24

// readForm reads the sheets of a workbook.
func readForm(w *workbook, o Options, report *Report) (*form, error) {
	f := &form{file: o.Name, lists: map[string]*list{}, byName: map[string][]*node{}, headers: map[string][]string{}, extra: map[string]*sheet{}, media: o.Media, missing: map[string]string{}}
	survey, choices := w.sheets["survey"], w.sheets["choices"]
	if len(survey.rows) > maxSurveyRows {
		return nil, fault.New(fault.TooLarge, fault.BadForm, "sheet %s has %d rows; a form has at most %d", survey.name, len(survey.rows), maxSurveyRows)
	}
	for name, s := range w.sheets {
		f.headers[name] = s.headers
		if s.cut > 0 {
			report.warn(name, s.cut, "", "empty rows are not read on after row %d", s.cut)
		}
		if name == "entities" || name == "osm" || name == "external_choices" {
			f.extra[name] = s
		}
	}
	columns, doubled := columnsOf(survey.headers, surveyColumns)
	for _, h := range doubled {
		report.warn("survey", 1, "", "the header %q stands there twice, or another means the same; only the first is read", h)
	}
	if err := needs(survey.name, columns, "type", "name"); err != nil {
		return nil, err
	}
	f.settings = readSettings(w.sheets["settings"], report)
	choiceCols, doubled := columnsOf(headersOf(choices), choiceColumns)
	for _, h := range doubled {
		report.warn("choices", 1, "", "the header %q stands there twice, or another means the same; only the first is read", h)
	}
	f.langs = newLanguages(languageNames(columns, choiceCols), f.settings.get("default_language"), sample(survey, columns), bothIn(columns, choiceCols))
	if choices != nil {
		f.readChoices(choices, choiceCols, report)
	}
	if x := w.sheets["external_choices"]; x != nil {
		cols, _ := columnsOf(x.headers, choiceColumns)
		f.readChoices(x, cols, report)
	}
	f.title = f.settings.get("form_title")
	f.id = packageName(firstOf(f.settings.get("form_id"), stem(o.Name), "form"))
	if f.title == "" {
		f.title = firstOf(f.settings.get("form_id"), stem(o.Name), "form")
	}
	if err := f.readSurvey(survey, columns, report); err != nil {
		return nil, err
	}
	f.readTables(survey)
	f.warnFormulas(w, report)
	return f, nil
}

func headersOf(s *sheet) []string {
	if s == nil {
		return nil
	}
	return s.headers
}

func firstOf(all ...string) string {
	for _, s := range all {
		if strings.TrimSpace(s) != "" {
			return strings.TrimSpace(s)
		}
	}
	return ""
}

// needs refuses a sheet without the columns it cannot do without.
func needs(sheet string, columns []column, names ...string) error {
	for _, name := range names {
		found := false
		for _, c := range columns {
			found = found || c.name == name
		}
		if !found {
			return badForm("sheet %s has no column %s: its first row must have the headers", sheet, name)
		}
	}
	return nil
}

// languageNames are the names of languages in headers, in order of their columns.
func languageNames(sheets ...[]column) []string {
	var names []string
	seen := map[string]bool{}
	for _, columns := range sheets {
		for _, c := range columns {
			if translatable[c.name] && !seen[c.language] {
				seen[c.language] = true
				names = append(names, c.language)
			}
		}
	}
	return names
}

// bothIn tells of a language whether some column stands in it and in none.
func bothIn(sheets ...[]column) func(string) bool {
	return func(language string) bool {
		for _, columns := range sheets {
			has := map[string]int{}
			for _, c := range columns {
				if translatable[c.name] && (c.language == "" || c.language == language) {
					if has[c.name]++; has[c.name] > 1 {
						return true
					}
				}
			}
		}
		return false
	}
}

// sample is some wording of labels that name no language.
func sample(s *sheet, columns []column) string {
	var b strings.Builder
	for _, c := range columns {
		if c.name != "label" || c.language != "" {
			continue
		}
		for _, r := range s.rows {
			if b.WriteString(r.cell(c.index)); b.Len() > 4000 {
				return b.String()
			}
		}
	}
	return b.String()
}

// readSettings reads the first row of the settings.
func readSettings(s *sheet, report *Report) *record {
	if s == nil || len(s.rows) == 0 {
		return &record{cells: map[string]string{}, extra: map[string]string{}, texts: map[string]texts{}}
	}
	columns, _ := columnsOf(s.headers, settingColumns)
	if len(s.rows) > 1 {
		report.warn("settings", s.rows[1].number, "", "only the first row of settings is read")
	}
	return recordOf(s.rows[0], columns)
}

// warnFormulas says which cells have formulas: only the value that the spreadsheet program last computed is in the file.
func (f *form) warnFormulas(w *workbook, report *Report) {
	for _, name := range []string{"survey", "choices", "settings"} {
		s := w.sheets[name]
		if s == nil || len(s.formulas) == 0 {
			continue
		}
		first := ""
		for cell := range s.formulas {
			if first == "" || len(cell) < len(first) || len(cell) == len(first) && cell < first {
				first = cell
			}
		}
		report.warn(name, 0, first, "%d cells hold formulas, %s the first; the values that were last computed are read", len(s.formulas), first)
	}
}
