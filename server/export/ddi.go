package export

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"google.golang.org/protobuf/reflect/protoreflect"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// WriteDDI writes tables as a DDI Codebook 2.5 (ddialliance.org), which data archives such as NADA read: one file per
// table, one variable per column with its question in every language, universe, categories and formats. The same tables give the
// same bytes. Of the study its code, titles and note are shown; it may be nil.
func WriteDDI(w io.Writer, tables []*Table, study *surveyv1.Study, program string) error {
	d := &ddi{w: bufio.NewWriter(w), program: program}
	for _, t := range tables {
		var slots []slot
		for i, c := range t.Columns {
			slots = append(slots, slot{name: c.Name, column: c, col: i})
		}
		d.tables = append(d.tables, ddiTable{table: t, slots: slots})
	}
	return d.write(study)
}

// Of are the tables of one questionnaire: that of its top message and those of the rosters below.
func (p *Plan) Of(top protoreflect.FullName) []*Table {
	var out []*Table
	for _, t := range p.Tables {
		if t.desc == top || t.Parent != nil && slices.Contains(out, t.Parent) {
			out = append(out, t)
		}
	}
	return out
}

// ddiTable is a table as it is described: its columns, and what was counted in them, if it was.
type ddiTable struct {
	table *Table
	slots []slot
	stats *tableStats
}

// ddi writes elements, remembering what is open.
type ddi struct {
	w       *bufio.Writer
	program string
	tables  []ddiTable
	open    []string
}

// attr is an attribute; one with an empty value is left out.
type attr struct{ name, value string }

func (d *ddi) indent() {
	d.w.WriteByte('\n')
	for range d.open {
		d.w.WriteByte(' ')
	}
}

func (d *ddi) tag(name string, attrs []attr) {
	d.indent()
	d.w.WriteByte('<')
	d.w.WriteString(name)
	for _, a := range attrs {
		if a.value != "" {
			d.w.WriteString(" " + a.name + `="`)
			_ = xml.EscapeText(d.w, []byte(a.value)) // what a bufio.Writer cannot write it says at Flush
			d.w.WriteByte('"')
		}
	}
	d.w.WriteByte('>')
}

// begin opens an element that holds others.
func (d *ddi) begin(name string, attrs ...attr) {
	d.tag(name, attrs)
	d.open = append(d.open, name)
}

func (d *ddi) end() {
	name := d.open[len(d.open)-1]
	d.open = d.open[:len(d.open)-1]
	d.indent()
	d.w.WriteString("</" + name + ">")
}

// text writes an element that holds text; none where the text is empty.
func (d *ddi) text(name, s string, attrs ...attr) {
	if s == "" {
		return
	}
	d.tag(name, attrs)
	_ = xml.EscapeText(d.w, []byte(s)) // as above
	d.w.WriteString("</" + name + ">")
}

// said writes an element for each language of a wording.
func (d *ddi) said(name string, t *formv1.Text, attrs ...attr) {
	lang := func(l, s string) { d.text(name, s, append([]attr{{"xml:lang", l}}, attrs...)...) }
	lang("en", t.GetEn())
	lang("zh", t.GetZh())
	for _, l := range slices.Sorted(maps.Keys(t.GetMore())) {
		lang(l, t.GetMore()[l])
	}
}

func (d *ddi) write(study *surveyv1.Study) error {
	d.w.WriteString(`<?xml version="1.0" encoding="UTF-8"?>`)
	d.begin("codeBook", attr{"xmlns", "ddi:codebook:2_5"}, attr{"version", "2.5"}, attr{"xml:lang", "en"})
	title := study.GetTitleEn()
	if title == "" {
		title = study.GetTitleZh()
	}
	if title == "" {
		title = "Hearth"
	}
	d.begin("docDscr")
	d.begin("citation")
	d.begin("titlStmt")
	d.text("titl", "Codebook: "+title)
	d.end()
	d.begin("prodStmt")
	d.text("software", "Hearth", attr{"version", d.program})
	d.end()
	d.end()
	d.end()
	d.begin("stdyDscr")
	d.begin("citation")
	d.begin("titlStmt")
	d.text("titl", title)
	if zh := study.GetTitleZh(); zh != "" && zh != title {
		d.text("parTitl", zh, attr{"xml:lang", "zh"})
	}
	d.text("IDNo", study.GetStudy())
	d.end()
	d.end()
	if note := study.GetNote(); note != "" {
		d.begin("stdyInfo")
		d.text("abstract", note)
		d.end()
	}
	d.end()
	for _, t := range d.tables {
		d.file(t)
	}
	d.begin("dataDscr")
	for _, t := range d.tables {
		for _, s := range t.slots {
			d.variable(t, s)
		}
	}
	d.end()
	d.end()
	d.w.WriteByte('\n')
	if err := d.w.Flush(); err != nil {
		return fmt.Errorf("write the DDI codebook: %w", err)
	}
	return nil
}

func (d *ddi) file(t ddiTable) {
	d.begin("fileDscr", attr{"ID", "F_" + t.table.Name})
	d.begin("fileTxt")
	d.text("fileName", t.table.Name)
	d.text("fileCont", wording(t.table.Title, "en"), attr{"xml:lang", "en"})
	d.begin("dimensns")
	if t.stats != nil {
		d.text("caseQnty", strconv.FormatInt(t.stats.rows, 10))
	}
	d.text("varQnty", strconv.Itoa(len(t.slots)))
	d.end()
	d.end()
	keys := ""
	for i, c := range t.table.Columns[:t.table.Keys] {
		if i > 0 {
			keys += ", "
		}
		keys += c.Name
	}
	if keys != "" {
		d.text("notes", keys, attr{"type", "keys"})
	}
	if t.table.Parent != nil {
		d.text("notes", t.table.Parent.Name, attr{"type", "parent"})
	}
	d.end()
}

// variable writes a column, or the column of the reasons for missing answers of a question.
func (d *ddi) variable(t ddiTable, s slot) {
	c, reasons := s.column, false
	if c == nil {
		c, reasons = &Column{Name: s.name, Kind: KindText, Label: whyLabel(t.table.Questions[s.question])}, true
	}
	interval := "discrete"
	if c.Kind == KindInteger || c.Kind == KindNumber {
		interval = "contin"
	}
	d.begin("var", attr{"ID", "V_" + t.table.Name + "_" + s.name}, attr{"name", s.name}, attr{"files", "F_" + t.table.Name}, attr{"intrvl", interval})
	d.said("labl", c.Label)
	if p := personalName(c.Personal); p != "" && c.Personal != formv1.PersonalData_PERSONAL_DATA_NONE {
		d.text("security", p)
	}
	if c.Label != nil && c.Numbers != "" && !reasons {
		d.begin("qstn")
		d.said("qstnLit", c.Label)
		d.end()
	}
	d.bounds(t, s, c)
	d.said("universe", c.Universe)
	d.statistics(t, s, c)
	d.categories(t, s, c)
	if c.Relevant != "" {
		d.text("codInstr", "asked if: "+c.Relevant)
	}
	if c.Formula != "" {
		d.begin("derivation")
		d.text("drvdesc", derivedIn(c, "en")+" | "+derivedIn(c, "zh"), attr{"xml:lang", "en"}) // DDI has room for one
		d.text("drvcmd", c.Formula, attr{"syntax", "CEL"})
		d.end()
	}
	kind, schema := "character", ""
	switch c.Kind {
	case KindInteger, KindNumber, KindCode, KindYesNo:
		kind = "numeric"
	case KindTime, KindDate:
		schema = "ISO"
	}
	d.text("varFormat", c.Kind.String(), attr{"type", kind}, attr{"schema", schema})
	if c.Unit != "" {
		d.text("notes", c.Unit, attr{"type", "unit"})
	}
	if c.Numbers != "" {
		d.text("notes", c.Numbers, attr{"type", "field numbers"})
	}
	if c.Since > 0 || c.Until > 0 {
		d.text("notes", version(c.Since)+"-"+version(c.Until), attr{"type", "versions"})
	}
	d.end()
}

// bounds writes the smallest and the largest value that occurs.
func (d *ddi) bounds(t ddiTable, s slot, c *Column) {
	if t.stats == nil || s.column == nil {
		return
	}
	if lo, hi, _, ok := t.stats.columns[s.col].span(c.Kind); ok {
		d.begin("valrng")
		d.indent()
		fmt.Fprintf(d.w, `<range min="%s" max="%s"/>`, lo, hi)
		d.end()
	}
}

func (d *ddi) statistics(t ddiTable, s slot, c *Column) {
	if t.stats == nil || s.column == nil {
		return
	}
	st := &t.stats.columns[s.col]
	d.text("sumStat", strconv.FormatInt(st.n, 10), attr{"type", "vald"})
	d.text("sumStat", strconv.FormatInt(t.stats.rows-st.n, 10), attr{"type", "invd"})
	if lo, hi, mean, ok := st.span(c.Kind); ok {
		d.text("sumStat", lo, attr{"type", "min"})
		d.text("sumStat", hi, attr{"type", "max"})
		d.text("sumStat", mean, attr{"type", "mean"})
	}
}

func (d *ddi) categories(t ddiTable, s slot, c *Column) {
	switch {
	case s.column == nil:
		if t.stats == nil {
			return
		}
		for _, w := range sortedReasons(t.stats.why[s.question]) {
			d.category(reason(w), reasonLabel(w), t.stats.why[s.question][w], true)
		}
	case t.stats != nil:
		for _, v := range t.stats.columns[s.col].values(c) {
			d.category(strconv.FormatInt(v.code, 10), v.label, v.n, true)
		}
	default:
		for _, v := range c.Values {
			d.category(strconv.Itoa(int(v.Code)), v.Label, 0, false)
		}
	}
}

func (d *ddi) category(value string, label *formv1.Text, n int64, counted bool) {
	d.begin("catgry")
	d.text("catValu", value)
	d.said("labl", label)
	if counted {
		d.text("catStat", strconv.FormatInt(n, 10), attr{"type", "freq"})
	}
	d.end()
}
