package questionnaire

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

//go:embed codebook.html
var codebookHTML string

// longList is from how many answers on a list of answers stands at the end of the codebook instead of at each question.
const longList = 18

// WriteCodebook writes the questionnaire's current version, with the questions of earlier ones, as one HTML page in
// English and Chinese side by side. The page needs nothing beside it and no script; the same questionnaire gives the
// same bytes.
func (q *Questionnaire) WriteCodebook(w io.Writer) error {
	t, err := template.New("codebook").Parse(codebookHTML)
	if err != nil {
		return fmt.Errorf("codebook of %s: %w", q.Name(), err)
	}
	if err := t.Execute(w, newBook(q)); err != nil {
		return fmt.Errorf("codebook of %s: %w", q.Name(), err)
	}
	return nil
}

// book is what the template shows.
type book struct {
	Name         string
	Title        *formv1.Text
	Introduction *formv1.Text
	Version      uint32
	Questions    int
	Fingerprint  string
	Parts        []part
	Lists        []*list
}

// part is a run of modules: the questionnaire's own, those of every interview, and the blocks used in several places.
type part struct {
	Title   *formv1.Text
	Note    *formv1.Text
	Modules []*chapter
}

// chapter is one module as it stands in the codebook.
type chapter struct {
	Number string
	Anchor string
	Depth  int
	Title  *formv1.Text
	Intro  *formv1.Text
	Paths  []string
	Level  string
	Roster bool
	Items  []*item

	questions []*Question // of Items, one by one
}

// item is one question as it stands in the codebook.
type item struct {
	Number, Anchor, Name string
	Label, Hint          *formv1.Text
	Type, Unit           string
	TypeZh               string
	Link                 string // anchor of the module or block that is the answer
	LinkText             *formv1.Text
	Universe             *formv1.Text
	Relevant, Calculate  string
	// The same in words.
	RelevantWords, CalculateWords *formv1.Text
	Limits                        []*formv1.Text
	Checks                        []checkItem
	Missing                       []*formv1.Text
	Personal                      *formv1.Text
	Measure                       *formv1.Text
	ExportName                    string
	Required, System              bool
	Since, Until                  uint32
	Choices                       []choice
	List                          *list // instead of Choices where they are many
}

type checkItem struct {
	Hard       bool
	Expression string
	Message    *formv1.Text
}

type choice struct {
	Number int32
	Label  *formv1.Text
	AAPOR  string
	Since  uint32
	Until  uint32
}

// list is a list of answers at the end of the codebook.
type list struct {
	Anchor  string
	Name    string
	Title   *formv1.Text
	Choices []choice
}

// binder puts a book together.
type binder struct {
	uses     map[*Module]int
	paths    map[*Module][]string
	chapters map[*Module]*chapter
	lists    map[protoreflect.FullName]*list
	book     *book
	root     protoreflect.MessageDescriptor
}

func newBook(q *Questionnaire) *book {
	b := &binder{
		root: q.top.Desc, uses: map[*Module]int{}, paths: map[*Module][]string{}, chapters: map[*Module]*chapter{}, lists: map[protoreflect.FullName]*list{},
		book: &book{
			Name: q.Name(), Title: q.Title(), Introduction: q.top.Options.GetIntroduction(),
			Version: q.version, Questions: q.asked, Fingerprint: fmt.Sprintf("%x", q.Fingerprint(q.version)),
		},
	}
	b.count(q.top, map[*Module]bool{})
	if q.interview != nil {
		b.count(q.interview, map[*Module]bool{})
	}
	b.trace(q.top, strings.ToLower(string(q.top.Desc.Name())))
	if q.interview != nil {
		b.trace(q.interview, "")
	}

	own := part{Title: text("Questionnaire", "问卷")}
	b.collect(&own, q.top, "M", 0, false)
	common := part{
		Title: text("Common to every interview", "各类访问的公共部分"),
		Note:  text("These questions stand around the questionnaire: who was interviewed, when, and how the interview came about.", "问卷之外的公共信息：受访者、访问时间以及如何联系到受访者。"),
	}
	around := []*Module{q.top}
	if q.interview != nil {
		b.collect(&common, q.interview, "I", 0, false)
		around = append(around, q.interview)
	}
	blocks := part{
		Title: text("Blocks used in several places", "多处使用的信息块"),
		Note:  text("A block is one answer with several parts, such as a place or a date.", "信息块由几部分组成，例如地点或日期。"),
	}
	b.collectBlocks(&blocks, around...)
	b.book.Parts = []part{own, common, blocks}
	for i := range b.book.Parts {
		for _, c := range b.book.Parts[i].Modules {
			b.fill(c)
		}
	}
	return b.book
}

// below yields the modules that are answers to a module's questions, other questionnaires left out.
func below(m *Module) func(yield func(*Question) bool) {
	return func(yield func(*Question) bool) {
		for _, q := range m.Questions {
			if q.Module != nil && !q.Module.top && !yield(q) {
				return
			}
		}
	}
}

// count counts how many questions have a module as their answer.
func (b *binder) count(m *Module, seen map[*Module]bool) {
	if seen[m] {
		return
	}
	seen[m] = true
	for q := range below(m) {
		b.uses[q.Module]++
		b.count(q.Module, seen)
	}
}

// maxPaths is how many of the places of a block are named.
const maxPaths = 6

// trace notes the paths at which a module stands.
func (b *binder) trace(m *Module, path string) {
	if path != "" && len(b.paths[m]) <= maxPaths {
		b.paths[m] = append(b.paths[m], path)
	}
	for q := range below(m) {
		sub := q.name
		if path != "" {
			sub = path + "." + q.name
		}
		if q.List {
			sub += "[]"
		}
		b.trace(q.Module, sub)
	}
}

// collect adds a module and those below it that stand in one place only.
func (b *binder) collect(p *part, m *Module, letter string, depth int, roster bool) {
	b.chapter(p, m, letter, depth, roster)
	for q := range below(m) {
		if b.uses[q.Module] == 1 && b.chapters[q.Module] == nil {
			b.collect(p, q.Module, letter, depth+1, q.List)
		}
	}
}

// collectBlocks adds the modules that stand in several places.
func (b *binder) collectBlocks(p *part, from ...*Module) {
	for i := 0; i < len(from); i++ {
		for q := range below(from[i]) {
			if b.uses[q.Module] > 1 && b.chapters[q.Module] == nil {
				b.chapter(p, q.Module, "B", 0, false)
			}
		}
		for q := range below(from[i]) {
			if !slices.Contains(from, q.Module) {
				from = append(from, q.Module)
			}
			if b.uses[q.Module] == 1 && b.chapters[q.Module] == nil { // stands only inside a block
				b.chapter(p, q.Module, "B", 1, q.List)
			}
		}
	}
}

func (b *binder) chapter(p *part, m *Module, letter string, depth int, roster bool) {
	c := &chapter{
		Number: letter + strconv.Itoa(len(p.Modules)+1), Anchor: string(m.Desc.FullName()), Depth: depth,
		Title: m.Options.GetTitle(), Level: m.Options.GetLevel(), Roster: roster, Paths: b.paths[m],
	}
	if depth > 0 || !m.top { // the questionnaire's own introduction stands at the head of the book
		c.Intro = m.Options.GetIntroduction()
	}
	if len(c.Paths) > maxPaths {
		c.Paths = append(append([]string(nil), c.Paths[:maxPaths]...), "…")
	}
	for _, q := range m.Questions {
		if q.Module != nil && q.Module.top {
			continue // another questionnaire
		}
		c.questions = append(c.questions, q)
		c.Items = append(c.Items, &item{Number: c.Number + "." + strconv.Itoa(int(q.Field.Number())), Anchor: string(q.Field.FullName()), Name: q.name})
	}
	b.chapters[m] = c
	p.Modules = append(p.Modules, c)
}

// fill writes the items of a chapter, when all chapters are numbered and can be pointed at.
func (b *binder) fill(c *chapter) {
	for i, q := range c.questions {
		b.item(c.Items[i], q)
	}
}
