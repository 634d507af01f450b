package export

import (
	"bufio"
	"fmt"
	"html"
	"io"
	"slices"
	"strconv"
	"strings"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

// codebookHeader is the columns of codebook.csv and of the codebook sheet. A row is a variable, or one of its values, or
// one of the reasons for having none, as "row" says.
var codebookHeader = [...]string{
	"table", "variable", "row", "code", "label_en", "label_zh", "count", "type", "unit", "measure", "personal_data",
	"universe_en", "universe_zh", "relevant", "minimum", "maximum", "mean", "since", "until", "path", "field_numbers", "derived_en", "derived_zh", "formula",
}

func reasonLabel(stored int32) *formv1.Text {
	m := formv1.Missing(stored - 1)
	for _, v := range choices(m.Descriptor()) {
		if v.Code == int32(m) {
			return v.Label
		}
	}
	return text(reason(stored), reason(stored))
}

// codebookRows yields the codebook, the header first. With published questionnaires it has one column more: what variables
// and choices are called in the XLSForm they came from.
func (j *job) codebookRows(layouts map[*Table]*layout, yield func(cells []string)) {
	header := codebookHeader[:]
	if len(j.plan.published) > 0 {
		header = append(slices.Clone(header), "form_name")
	}
	yield(header)
	for _, t := range j.plan.Tables {
		st := j.stats[t]
		for _, s := range layouts[t].slots {
			if s.column == nil {
				j.codebookReasons(t, s, st, len(header), yield)
				continue
			}
			c, n := s.column, &st.columns[s.col]
			r := make([]string, len(header))
			if len(j.plan.published) > 0 {
				r[len(header)-1] = c.formName
			}
			r[0], r[1], r[2] = t.Name, s.name, "variable"
			r[4], r[5] = wording(c.Label, "en"), wording(c.Label, "zh")
			r[6] = strconv.FormatInt(n.n, 10)
			r[7], r[8], r[9], r[10] = c.Kind.String(), c.Unit, measureName(c.Measure), personalName(c.Personal)
			r[11], r[12], r[13] = wording(c.Universe, "en"), wording(c.Universe, "zh"), c.Relevant
			if lo, hi, mean, ok := n.span(c.Kind); ok {
				r[14], r[15], r[16] = lo, hi, mean
			}
			r[17], r[18], r[19], r[20] = version(c.Since), version(c.Until), c.Path, c.Numbers
			r[21], r[22], r[23] = derivedIn(c, "en"), derivedIn(c, "zh"), c.Formula
			yield(r)
			for _, v := range n.values(c) {
				r := make([]string, len(header))
				r[0], r[1], r[2], r[3] = t.Name, s.name, "value", strconv.FormatInt(v.code, 10)
				r[4], r[5], r[6] = wording(v.label, "en"), wording(v.label, "zh"), strconv.FormatInt(v.n, 10)
				if len(j.plan.published) > 0 {
					r[len(header)-1] = v.name
				}
				yield(r)
			}
		}
	}
}

func (j *job) codebookReasons(t *Table, s slot, st *tableStats, width int, yield func(cells []string)) {
	r := make([]string, width)
	label := whyLabel(t.Questions[s.question])
	var sum int64
	for _, n := range st.why[s.question] {
		sum += n
	}
	r[0], r[1], r[2], r[4], r[5] = t.Name, s.name, "variable", wording(label, "en"), wording(label, "zh")
	r[6], r[7] = strconv.FormatInt(sum, 10), KindText.String()
	yield(r)
	for _, w := range sortedReasons(st.why[s.question]) {
		r := make([]string, width)
		l := reasonLabel(w)
		r[0], r[1], r[2], r[3] = t.Name, s.name, "missing", reason(w)
		r[4], r[5], r[6] = wording(l, "en"), wording(l, "zh"), strconv.FormatInt(st.why[s.question][w], 10)
		yield(r)
	}
}

func sortedReasons(m map[int32]int64) []int32 {
	var out []int32
	for w := range m {
		out = append(out, w)
	}
	slices.Sort(out)
	return out
}

func version(v uint32) string {
	if v == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(v), 10)
}

func measureName(m formv1.Measure) string {
	if m == formv1.Measure_MEASURE_UNSPECIFIED {
		return ""
	}
	return lowerName(m.String(), "MEASURE_")
}

func personalName(p formv1.PersonalData) string {
	if p == formv1.PersonalData_PERSONAL_DATA_UNSPECIFIED {
		return ""
	}
	return lowerName(p.String(), "PERSONAL_DATA_")
}

// span words minimum, maximum and mean of a number.
func (st *columnStats) span(k Kind) (lo, hi, mean string, ok bool) {
	if st.numbers == 0 || (k != KindInteger && k != KindNumber) {
		return "", "", "", false
	}
	return string(appendNumber(nil, st.min)), string(appendNumber(nil, st.max)), strconv.FormatFloat(st.sum/float64(st.numbers), 'g', 6, 64), true
}

type valueCount struct {
	code  int64
	label *formv1.Text
	name  string
	n     int64
}

// values are the labelled codes in their order, and after them codes without label that occur.
func (st *columnStats) values(c *Column) []valueCount {
	var out []valueCount
	known := map[int64]bool{}
	for _, v := range c.Values {
		known[int64(v.Code)] = true
		out = append(out, valueCount{int64(v.Code), v.Label, v.Name, st.codes[int64(v.Code)]})
	}
	var unknown []int64
	for code := range st.codes {
		if !known[code] {
			unknown = append(unknown, code)
		}
	}
	slices.Sort(unknown)
	for _, code := range unknown {
		out = append(out, valueCount{code, text("(no label)", "（无标签）"), "", st.codes[code]})
	}
	return out
}

func (j *job) writeCodebook(layouts map[*Table]*layout) error {
	f, err := j.sink.create("codebook.csv")
	if err != nil {
		return err
	}
	b := []byte("\ufeff")
	j.codebookRows(layouts, func(cells []string) {
		for i, c := range cells {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendQuoted(b, c)
		}
		b = append(b, "\r\n"...)
	})
	if _, err := f.Write(b); err != nil {
		return err
	}
	if err := f.close(); err != nil {
		return err
	}
	page, err := j.sink.create("codebook.html")
	if err != nil {
		return err
	}
	if err := j.writePage(page, layouts); err != nil {
		return err
	}
	if err := page.close(); err != nil {
		return err
	}
	archive, err := j.sink.create("codebook.xml")
	if err != nil {
		return err
	}
	d := &ddi{w: bufio.NewWriter(archive), program: j.opts.Program}
	for _, t := range j.plan.Tables {
		d.tables = append(d.tables, ddiTable{table: t, slots: layouts[t].slots, stats: j.stats[t]})
	}
	if err := d.write(j.src.Study); err != nil {
		return err
	}
	return archive.close()
}

const pageStyle = `body{font-family:system-ui,"Noto Sans CJK SC","Microsoft YaHei",sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;line-height:1.45}
table{border-collapse:collapse;width:100%;margin-bottom:2rem}th,td{border:1px solid #767676;padding:.3rem .5rem;text-align:left;vertical-align:top}
thead th{background:#eee;position:sticky;top:0}code{white-space:nowrap}ul{margin:0;padding-left:1.1rem}.n{text-align:right}.note{color:#444}
@media(prefers-color-scheme:dark){body{background:#111;color:#eee}thead th{background:#333}.note{color:#bbb}a{color:#9cf}}`

// writePage writes codebook.html: one page, no script, both languages side by side.
func (j *job) writePage(w io.Writer, layouts map[*Table]*layout) error {
	title := wording(text(j.src.Study.GetTitleEn(), j.src.Study.GetTitleZh()), j.opts.Language)
	if title == "" {
		title = j.src.Study.GetStudy()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>Codebook 编码手册 %s</title>\n<style>%s</style></head><body>\n",
		html.EscapeString(title), pageStyle)
	fmt.Fprintf(&b, "<h1>Codebook <span lang=\"zh\">编码手册</span>: %s</h1>\n<p class=\"note\">%s</p>\n", html.EscapeString(title), html.EscapeString(j.src.Study.GetNote()))
	fmt.Fprintf(&b, "<p>Privacy profile: %s. An empty value is a question not answered; a column that ends in <code>_why</code> says why, where a reason was given. "+
		"In Stata and SPSS files the reasons for numbers and codes stand among the values: refused <code>.r</code> (SPSS -99), don't know <code>.d</code> (-98), "+
		"not applicable <code>.n</code> (-97), not asked <code>.s</code> (-96; -999 to -996 where a variable has values among those); "+
		"a date is a date where the whole of it is known, and <code>_text</code> has it as answered.</p>\n<ul>\n",
		ProfileName(j.opts.Profile))
	for _, t := range j.plan.Tables {
		fmt.Fprintf(&b, "<li><a href=\"#%s\"><code>%s</code></a> %s <span lang=\"zh\">%s</span>: %d</li>\n", t.Name, t.Name,
			html.EscapeString(wording(t.Title, "en")), html.EscapeString(wording(t.Title, "zh")), j.stats[t].rows)
	}
	b.WriteString("</ul>\n")
	for _, t := range j.plan.Tables {
		j.pageTable(&b, t, layouts[t])
		if _, err := io.WriteString(w, b.String()); err != nil {
			return err
		}
		b.Reset()
	}
	_, err := io.WriteString(w, "</body></html>\n")
	return err
}

func (j *job) pageTable(b *strings.Builder, t *Table, l *layout) {
	fmt.Fprintf(b, "<h2 id=\"%s\"><code>%s</code> %s <span lang=\"zh\">%s</span></h2>\n<p>Rows 行数: %d", t.Name, t.Name,
		html.EscapeString(wording(t.Title, "en")), html.EscapeString(wording(t.Title, "zh")), j.stats[t].rows)
	if t.Parent != nil {
		fmt.Fprintf(b, ". Part of <a href=\"#%s\"><code>%s</code></a>", t.Parent.Name, t.Parent.Name)
	}
	var keys []string
	for _, c := range t.Columns[:t.Keys] {
		keys = append(keys, "<code>"+c.Name+"</code>")
	}
	if len(keys) > 0 {
		fmt.Fprintf(b, ". Keys 键: %s", strings.Join(keys, ", "))
	}
	b.WriteString(".</p>\n<table><thead><tr><th>Variable 变量</th><th>Label</th><th>标签</th><th>Type 类型</th><th>Values 取值</th><th>n</th></tr></thead><tbody>\n")
	for _, s := range l.slots {
		j.pageRow(b, t, s)
	}
	b.WriteString("</tbody></table>\n")
}

func (j *job) pageRow(b *strings.Builder, t *Table, s slot) {
	st := j.stats[t]
	if s.column == nil {
		label := whyLabel(t.Questions[s.question])
		var values []string
		var sum int64
		for _, w := range sortedReasons(st.why[s.question]) {
			n := st.why[s.question][w]
			sum += n
			values = append(values, fmt.Sprintf("<li><code>%s</code> %s: %d</li>", reason(w), html.EscapeString(wording(reasonLabel(w), "en")), n))
		}
		fmt.Fprintf(b, "<tr><td><code>%s</code></td><td>%s</td><td lang=\"zh\">%s</td><td>text</td><td><ul>%s</ul></td><td class=\"n\">%d</td></tr>\n",
			s.name, html.EscapeString(wording(label, "en")), html.EscapeString(wording(label, "zh")), strings.Join(values, ""), sum)
		return
	}
	c, n := s.column, &st.columns[s.col]
	var values strings.Builder
	if list := n.values(c); len(list) > 0 {
		values.WriteString("<ul>")
		for _, v := range list {
			fmt.Fprintf(&values, "<li>%d %s <span lang=\"zh\">%s</span>: %d</li>", v.code, html.EscapeString(wording(v.label, "en")), html.EscapeString(wording(v.label, "zh")), v.n)
		}
		values.WriteString("</ul>")
	}
	if lo, hi, mean, ok := n.span(c.Kind); ok {
		fmt.Fprintf(&values, "%s to %s, mean %s", lo, hi, mean)
	}
	fmt.Fprintf(b, "<tr><td><code>%s</code></td><td>%s</td><td lang=\"zh\">%s</td><td>%s</td><td>%s</td><td class=\"n\">%d</td></tr>\n",
		s.name, noted(c, "en", "Asked of"), noted(c, "zh", "适用"), html.EscapeString(strings.TrimSpace(c.Kind.String()+" "+c.Unit)), values.String(), n.n)
}

// noted is the label with the universe below it.
func noted(c *Column, lang, words string) string {
	s := html.EscapeString(wording(c.Label, lang))
	if u := wording(c.Universe, lang); u != "" {
		s += "<br><span class=\"note\">" + words + ": " + html.EscapeString(u) + "</span>"
	}
	if c.Formula != "" {
		word := map[string]string{"en": "Derived: ", "zh": "派生："}[lang]
		s += "<br><span class=\"note\">" + word + html.EscapeString(derivedIn(c, lang)) + "</span>"
		if lang == "en" {
			s += "<br><code>" + html.EscapeString(c.Formula) + "</code>"
		}
	}
	return s
}

// derivedIn says how a variable is derived, with what is to be known of it.
func derivedIn(c *Column, lang string) string {
	s := wording(c.Derived, lang)
	if h := wording(c.hint, lang); h != "" {
		s += " (" + h + ")"
	}
	return s
}
