package xlsform

import (
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

const maxListRows = 200_000

// parameter is the value of a parameter of a question: "value=code label=name" or with commas.
func parameter(cell, name string) string {
	for _, p := range strings.FieldsFunc(cell, func(r rune) bool { return r == ' ' || r == ',' || r == ';' || r == '\n' }) {
		if key, value, ok := strings.Cut(p, "="); ok && strings.EqualFold(key, name) {
			return strings.Trim(value, `'"`)
		}
	}
	return ""
}

// fileList is the list of a question whose choices are in a file; nil where the file is not here.
func (f *form) fileList(n *node, report *Report) *list {
	if l := f.lists[n.typ.list]; l != nil {
		return l
	}
	value := firstOf(parameter(n.get("parameters"), "value"), "name")
	label := firstOf(parameter(n.get("parameters"), "label"), "label")
	l := f.readCSV(n.typ.list, value, label, func(format string, args ...any) {
		report.warn("survey", n.record.number, "", "the choices of %s are in the file %s: "+format+"; its answer is kept as text", append([]any{n.name, n.typ.list}, args...)...)
	})
	if l == nil {
		return nil
	}
	l.file = n.typ.list
	return l
}

// readCSV reads a list from a .csv of the form's folder. say is told why it cannot.
func (f *form) readCSV(name, value, label string, say func(string, ...any)) *list {
	if f.media == "" {
		say("name its folder with --media to read it")
		return nil
	}
	if filepath.Base(name) != name || !strings.EqualFold(filepath.Ext(name), ".csv") {
		say("only a .csv beside the form is read")
		return nil
	}
	file, err := os.Open(filepath.Join(f.media, name))
	if err != nil {
		say("it is not in %s", f.media)
		return nil
	}
	defer file.Close()
	rows := csv.NewReader(io.LimitReader(file, maxUnpacked))
	rows.FieldsPerRecord = -1
	rows.LazyQuotes = true
	header, err := rows.Read()
	if err != nil {
		say("it has no header")
		return nil
	}
	valueAt, labelAt := -1, -1
	for i := range header {
		header[i] = strings.TrimSpace(strings.TrimPrefix(header[i], "\ufeff"))
		switch {
		case strings.EqualFold(header[i], value):
			valueAt = i
		case strings.EqualFold(header[i], label):
			labelAt = i
		}
	}
	if valueAt < 0 && value != "" {
		say("it has no column %s", value)
		return nil
	}
	l := &list{name: stem(name), table: true, used: true}
	seen := map[string]bool{}
	for n := 2; ; n++ {
		cells, err := rows.Read()
		if err == io.EOF {
			break
		}
		if err != nil || n > maxListRows {
			say("row %d cannot be read", n)
			return nil
		}
		c := &choice{row: n, columns: map[string]string{}}
		for i, cell := range cells {
			switch {
			case i == valueAt:
				c.name = strings.TrimSpace(cell)
			case i == labelAt:
				c.texts = map[string]texts{"label": f.everyLanguage(cell)}
			case i < len(header) && header[i] != "" && cell != "":
				c.columns[header[i]] = cell
			}
		}
		if value == "" {
			c.name = itoa(n - 1)
		}
		if c.name == "" {
			continue
		}
		l.doubled = l.doubled || seen[c.name]
		seen[c.name] = true
		l.choices = append(l.choices, c)
	}
	f.lists[name] = l
	f.order = append(f.order, l)
	return l
}

// everyLanguage is a wording that a file has in one language, for the form's first.
func (f *form) everyLanguage(text string) texts {
	for name, tag := range f.langs.tags {
		if tag == f.langs.order[0] {
			return texts{name: text}
		}
	}
	return texts{"": text}
}

var namesTable = regexp.MustCompile(`(?:pulldata|instance)\s*\(\s*['"]([^'"]+)['"]`)

// readTables reads the files that expressions look up.
func (f *form) readTables(s *sheet) {
	for _, r := range s.rows {
		for _, cell := range r.cells {
			for _, m := range namesTable.FindAllStringSubmatch(straighten(cell), -1) {
				name := strings.TrimSuffix(m[1], ".csv")
				if _, known := f.missing[name]; known || f.listOf(name) != nil || f.lists[name+".csv"] != nil {
					continue
				}
				l := f.readCSV(name+".csv", "", "label", func(format string, args ...any) { f.missing[name] = fmt.Sprintf(format, args...) })
				if l != nil {
					l.file = name + ".csv"
				}
			}
		}
	}
}
