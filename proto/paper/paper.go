// Package paper writes a questionnaire as a page to be printed: for the interviewer whose tablet is broken, for the ethics
// board, and for the annex of a report.
//
// The page shows every question that is asked, its answers with their codes, what may stand in its place, to whom it is put, in
// words, and what the answer is checked against, in one language or several. It is one HTML file without scripts and
// without anything beside it, the same bytes for the same questionnaire. The package does not read filled-in paper and
// shows no answers.
package paper

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
)

//go:embed page.html
var pageHTML string

// Options say how the page is to be.
type Options struct {
	// Languages are the BCP 47 tags of the wording, the main one first. Empty: those of the questionnaire, at most two.
	Languages []string
	// Version of the questionnaire; 0: the current one.
	Version uint32
}

// Write writes the questionnaire whose top message is top.
func Write(w io.Writer, top protoreflect.MessageDescriptor, o Options) error {
	t, err := template.New("paper").Funcs(template.FuncMap{
		"keys": func() []string { return []string{"key", "by", "site", "date"} },
		"in":   func(s *sheet, x *section) map[string]any { return map[string]any{"Sheet": s, "Section": x} },
		"of":   func(w map[string]text, x *item) map[string]any { return map[string]any{"Words": w, "Item": x} },
		"room": func(w map[string]text, b blank) map[string]any { return map[string]any{"Words": w, "Blank": b} },
		"pick": func(c []choice, round bool, short int) map[string]any {
			return map[string]any{"Choices": c, "Round": round, "Short": short}
		},
		"cells": func(n int) []struct{} { return make([]struct{}, n) },
	}).Parse(pageHTML)
	if err != nil {
		return fmt.Errorf("print %s: %w", top.FullName(), err)
	}
	if err := t.Execute(w, newSheet(top, o)); err != nil {
		return fmt.Errorf("print %s: %w", top.FullName(), err)
	}
	return nil
}

// text is a wording in the languages of the page.
type text []said

type said struct{ Lang, Text string }

// sheet is what the template shows.
type sheet struct {
	Lang     string
	Name     string
	Title    text
	Intro    text
	Version  uint32
	Words    map[string]text // what Hearth itself says, by key
	Reasons  []reason
	Sections []*section
	Lists    []*list
}

// reason is one for having no answer, as it is boxed beside each question.
type reason struct {
	Short string
	Label text
}

// section is a module of the questionnaire.
type section struct {
	Number, Anchor string
	Depth          int
	Title, Intro   text
	Ask, AskWord   text // whom it is put to, and how that begins
	Roster         bool
	Rows           []int // of a roster: the boxes to mark which row a copy is for
	Grid           bool  // of a roster: one line a row
	Items          []*item

	desc protoreflect.MessageDescriptor
}

// item is one question.
type item struct {
	Number, Name, Anchor  string
	Label, Hint, Guidance text
	Ask, AskWord, Offer   text
	Checks                []text
	Required, Note        bool
	Unit                  string
	Blanks                []blank
	Choices               []choice
	Several, Ranked       bool
	List                  *list
	Reasons               []string

	field protoreflect.FullName
}

// blank is room to write in.
type blank struct {
	Label text
	// Kind is date, time, number, text, line (a long text), yes (a box), position or file.
	Kind    string
	Cells   int
	Unit    string
	Choices []choice
}

type choice struct {
	Code  string
	Label text
}

// list is a long list of choices at the end.
type list struct {
	Anchor, Title string
	Choices       []choice
	Left          int // how many are not printed
}

// writer puts a sheet together.
type writer struct {
	sheet   *sheet
	langs   []string
	version uint32
	top     protoreflect.MessageDescriptor
	uses    map[protoreflect.FullName]int
	numbers map[protoreflect.FullName]string // of questions, once numbered
	lists   map[string]*list
	tables  map[string]*formv1.ChoiceTable
	pending []func() // what needs the numbers of all questions
}

const (
	longList  = 18   // from how many choices on a list stands at the end
	maxRows   = 1000 // choices of one list that are printed
	maxDepth  = 32   // groups inside groups; no questionnaire has more
	gridWidth = 6    // columns of a roster that is printed as a grid
)

func newSheet(top protoreflect.MessageDescriptor, o Options) *sheet {
	w := &writer{
		langs: o.Languages, version: o.Version, top: top, uses: map[protoreflect.FullName]int{},
		numbers: map[protoreflect.FullName]string{}, lists: map[string]*list{}, tables: map[string]*formv1.ChoiceTable{},
	}
	m := formv1.ModuleOf(top.Options())
	if w.version == 0 {
		w.version = m.GetVersion()
	}
	if len(w.langs) == 0 {
		w.langs = m.GetLanguages()
		if len(w.langs) == 0 {
			w.langs = []string{"en", "zh"}
		}
		w.langs = w.langs[:min(len(w.langs), 2)]
	}
	for _, t := range formv1.TablesOf(top.ParentFile().Options()) {
		w.tables[t.GetName()] = t
	}
	w.count(top, map[protoreflect.FullName]bool{})
	w.sheet = &sheet{Lang: w.langs[0], Name: string(top.FullName()), Title: w.text(m.GetTitle()), Intro: w.text(m.GetIntroduction()), Version: w.version, Words: map[string]text{}}
	for key, t := range own {
		w.sheet.Words[key] = w.text(t)
	}
	for r := formv1.Missing_MISSING_REFUSED; r <= formv1.Missing_MISSING_NOT_ASKED; r++ {
		w.sheet.Reasons = append(w.sheet.Reasons, reason{shortReason[r], w.text(formv1.ChoiceOf(r.Descriptor().Values().ByNumber(r.Number()).Options()).GetLabel())})
	}
	w.section(top, nil, "", 0)
	w.number()
	for _, f := range w.pending {
		f()
	}
	return w.sheet
}

var shortReason = map[formv1.Missing]string{
	formv1.Missing_MISSING_REFUSED: "R", formv1.Missing_MISSING_DONT_KNOW: "D",
	formv1.Missing_MISSING_NOT_APPLICABLE: "N", formv1.Missing_MISSING_NOT_ASKED: "S",
}

// count counts in how many places a message stands.
func (w *writer) count(m protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool) {
	if seen[m.FullName()] {
		return
	}
	seen[m.FullName()] = true
	for i := range m.Fields().Len() {
		if sub := questionnaire.GroupOf(m.Fields().Get(i)); sub != nil {
			w.uses[sub.FullName()]++
			w.count(sub, seen)
		}
	}
}

// printed tells whether a question is asked of somebody.
func (w *writer) printed(f protoreflect.FieldDescriptor) bool {
	o := formv1.QuestionOf(f.Options())
	return o != nil && !f.IsMap() && !o.GetSystem() && o.GetCalculate() == "" && w.version >= o.GetSince() && (o.GetUntil() == 0 || w.version <= o.GetUntil())
}

// isSection tells whether a field is a part of the questionnaire of its own, and not an answer of several parts.
func (w *writer) isSection(f protoreflect.FieldDescriptor) bool {
	m := questionnaire.GroupOf(f)
	return m != nil && (f.IsList() || w.uses[m.FullName()] == 1 && !inline[m.FullName()])
}

// inline are messages that are one answer wherever they stand.
var inline = map[protoreflect.FullName]bool{
	"hearth.survey.v1.PartialDate": true, "hearth.survey.v1.Money": true, "hearth.survey.v1.GeoPoint": true,
	"hearth.survey.v1.Attachment": true, "hearth.survey.v1.Place": true, "hearth.survey.v1.Person": true,
}

// section adds a module: its own questions first, then the parts below it, in the order of the questionnaire.
func (w *writer) section(m protoreflect.MessageDescriptor, f protoreflect.FieldDescriptor, anchor string, depth int) {
	s := &section{Anchor: anchor, Depth: depth, desc: m, Title: w.text(formv1.ModuleOf(m.Options()).GetTitle())}
	if depth > 0 {
		s.Intro = w.text(formv1.ModuleOf(m.Options()).GetIntroduction())
	}
	if f != nil {
		o := formv1.QuestionOf(f.Options())
		if label := w.text(o.GetLabel()); !slices.Equal(label, s.Title) {
			s.Intro = append(label, s.Intro...)
		}
		w.later(func() { s.AskWord, s.Ask = w.ask(o, f, "askall") })
		s.Roster = f.IsList()
	}
	w.sheet.Sections = append(w.sheet.Sections, s)
	open := s // questions after a part go on in a section of the same module
	for i := range m.Fields().Len() {
		q := m.Fields().Get(i)
		if !w.printed(q) {
			continue
		}
		if w.isSection(q) && depth < maxDepth {
			w.section(questionnaire.GroupOf(q), q, anchor+"/"+string(q.Name()), depth+1)
			open = nil
			continue
		}
		if open == nil {
			open = &section{Depth: depth, desc: m, Title: s.Title, Anchor: anchor + "/" + string(q.Name()) + "/part"}
			w.sheet.Sections = append(w.sheet.Sections, open)
		}
		open.Items = append(open.Items, w.item(q, anchor))
	}
	if s.Roster {
		s.Grid = w.fitsGrid(s)
		for i := range 8 {
			s.Rows = append(s.Rows, i+1)
		}
	}
}

// fitsGrid tells whether the rows of a roster can be written below one another.
func (w *writer) fitsGrid(s *section) bool {
	if len(s.Items) == 0 || len(s.Items) > gridWidth {
		return false
	}
	for i := range s.desc.Fields().Len() {
		if f := s.desc.Fields().Get(i); w.printed(f) && w.isSection(f) {
			return false
		}
	}
	for _, it := range s.Items {
		if len(it.Choices) > 8 || len(it.Blanks) > 1 {
			return false
		}
	}
	return true
}

// number numbers sections and questions, when all of them are there.
func (w *writer) number() {
	n, last := 0, ""
	count := map[string]int{}
	for _, s := range w.sheet.Sections {
		if len(s.Items) == 0 && s.Depth == 0 {
			continue
		}
		if s.Depth <= 1 || last == "" {
			n++
			last = strconv.Itoa(n)
			s.Number = last
		}
		for _, it := range s.Items {
			count[last]++
			it.Number = last + "." + strconv.Itoa(count[last])
			if _, twice := w.numbers[it.field]; twice {
				w.numbers[it.field] = "" // asked in several places: rules name it by its words
				continue
			}
			w.numbers[it.field] = it.Number
		}
	}
}

func (w *writer) later(f func()) { w.pending = append(w.pending, f) }

// ask says whom a question is put to: by its rule, which begins with a word of the page's own, or else in general.
func (w *writer) ask(o *formv1.Question, f protoreflect.FieldDescriptor, word string) (begin, words text) {
	switch {
	case o.GetRelevant() != "":
		return w.text(own[word]), w.text(questionnaire.Words(o.GetRelevant(), f.ContainingMessage(), w.top, w.called))
	case o.GetUniverse() != nil:
		return w.text(own["universe"]), w.text(o.GetUniverse())
	}
	return nil, nil
}

// called names a question in a rule by its number and its first words.
func (w *writer) called(path []protoreflect.FieldDescriptor) *formv1.Text {
	out := &formv1.Text{En: new(string), Zh: new(string)}
	for i, f := range path {
		if n := w.numbers[f.FullName()]; n != "" {
			*out.En, *out.Zh = n, n
			continue
		}
		l := formv1.QuestionOf(f.Options()).GetLabel()
		en, zh := shortened(placeholders(l.GetEn())), shortened(placeholders(first(l.GetZh(), l.GetEn())))
		if en == "" {
			en, zh = string(f.Name()), string(f.Name())
		}
		if i > 0 && *out.En != "" {
			*out.En, *out.Zh = *out.En+" "+en, *out.Zh+zh
			continue
		}
		*out.En, *out.Zh = "“"+en+"”", "“"+zh+"”"
	}
	return out
}

const shortLabel = 48

func shortened(s string) string {
	if r := []rune(s); len(r) > shortLabel {
		return strings.TrimSpace(string(r[:shortLabel])) + "…"
	}
	return s
}

func first(s ...string) string {
	for _, x := range s {
		if x != "" {
			return x
		}
	}
	return ""
}

var placeholder = regexp.MustCompile(`\$\{\s*([^}\s]+)\s*\}`)

// placeholders shows where a wording repeats an earlier answer.
func placeholders(s string) string { return placeholder.ReplaceAllString(s, "[$1]") }

// text is a wording in the languages of the page. Where it has none of them, it is shown in what it has.
func (w *writer) text(t *formv1.Text) text {
	if t == nil {
		return nil
	}
	var out text
	for _, l := range w.langs {
		if s := questionnaireText(t, l); s != "" {
			out = append(out, said{l, placeholders(s)})
		}
	}
	if len(out) == 0 {
		if s := first(t.GetEn(), t.GetZh()); s != "" {
			return text{{"", placeholders(s)}}
		}
		for _, l := range sortedKeys(t.GetMore()) {
			return text{{l, placeholders(t.GetMore()[l])}}
		}
	}
	return out
}

// questionnaireText is a wording in one language: en, zh with or without a script or country, or a key of more.
func questionnaireText(t *formv1.Text, lang string) string {
	base, _, _ := strings.Cut(strings.ToLower(lang), "-")
	if s := t.GetMore()[lang]; s != "" {
		return s
	}
	switch base {
	case "en":
		return t.GetEn()
	case "zh":
		return t.GetZh()
	}
	return t.GetMore()[base]
}
