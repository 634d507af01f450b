package xlsform

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Report says what came of an import.
type Report struct {
	// Form is the file's name.
	Form string `json:"form"`
	// Name is the questionnaire's full name.
	Name      string `json:"name"`
	Title     string `json:"title"`
	Questions int    `json:"questions"`
	Groups    int    `json:"groups"`
	Repeats   int    `json:"repeats"`
	Lists     int    `json:"lists"`
	Choices   int    `json:"choices"`
	// Languages are BCP 47 tags, the form's first language first.
	Languages []string `json:"languages"`
	// Expressions are counted by column: relevant, constraint, choice_filter, repeat_count, calculation, required, default.
	Expressions map[string]Count `json:"expressions"`
	// Problems are the expressions that were not translated.
	Problems []Problem `json:"problems,omitempty"`
	// Warnings are oddities of the form.
	Warnings []Warning `json:"warnings,omitempty"`
}

// Count is how many expressions of a kind a form has, how many were translated, and how many of the others ask the device or a
// file that is not here.
type Count struct {
	Total      int `json:"total"`
	Translated int `json:"translated"`
	External   int `json:"external"`
}

// Problem is an expression that was not translated.
type Problem struct {
	Sheet  string `json:"sheet"`
	Row    int    `json:"row"`
	Column string `json:"column"`
	Cell   string `json:"cell,omitempty"`
	Name   string `json:"name"`
	// Character is where in the expression, from 1.
	Character  int    `json:"character"`
	Expression string `json:"expression"`
	Reason     string `json:"reason"`
	// External: it asks the device, a server, or a file that is not here.
	External bool `json:"external,omitempty"`
	// Error: the form is wrong; the expression is no XPath, or names something that is not there.
	Error bool `json:"error,omitempty"`
}

// Warning is something odd in a form that does not keep it from being read.
type Warning struct {
	Sheet string `json:"sheet"`
	Row   int    `json:"row,omitempty"`
	Cell  string `json:"cell,omitempty"`
	Text  string `json:"text"`
}

// warn adds a warning.
func (r *Report) warn(sheet string, row int, cell, format string, args ...any) {
	r.Warnings = append(r.Warnings, Warning{sheet, row, cell, fmt.Sprintf(format, args...)})
}

// count counts an expression.
func (r *Report) count(column string, translated, external bool) {
	if r.Expressions == nil {
		r.Expressions = map[string]Count{}
	}
	c := r.Expressions[column]
	c.Total++
	switch {
	case translated:
		c.Translated++
	case external:
		c.External++
	}
	r.Expressions[column] = c
}

// Errors is how many expressions are wrong in the form itself.
func (r *Report) Errors() int {
	n := 0
	for _, p := range r.Problems {
		if p.Error {
			n++
		}
	}
	return n
}

// finish counts what the form has.
func (r *Report) finish(f *form) {
	r.Name, r.Title, r.Languages = "form."+f.id+"."+f.top, f.title, f.langs.order
	var walk func(n *node)
	walk = func(n *node) {
		for _, c := range n.children {
			switch c.kind() {
			case kindGroup:
				r.Groups++
			case kindRepeat:
				r.Repeats++
			default:
				r.Questions++
			}
			walk(c)
		}
	}
	walk(f.root)
	for _, l := range f.order {
		if l.used {
			r.Lists++
			r.Choices += len(l.choices)
		}
	}
}

// reportColumns are the columns with expressions, in the order in which they are reported.
var reportColumns = []string{"relevant", "constraint", "choice_filter", "repeat_count", "calculation", "required", "default"}

// Text is the report to be read.
func (r *Report) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", r.Form, r.Title)
	fmt.Fprintf(&b, "%d questions, %d groups, %d repeats, %d choices in %d lists; languages %s\n", r.Questions, r.Groups, r.Repeats, r.Choices, r.Lists, strings.Join(r.Languages, ", "))
	for _, column := range reportColumns {
		c, ok := r.Expressions[column]
		if !ok {
			continue
		}
		fmt.Fprintf(&b, "%-14s %4d of %4d translated", column, c.Translated, c.Total)
		if c.External > 0 {
			fmt.Fprintf(&b, ", %d ask the device or a file that is not here", c.External)
		}
		b.WriteByte('\n')
	}
	for _, p := range r.Problems {
		what := "not translated"
		switch {
		case p.Error:
			what = "error"
		case p.External:
			what = "not in the form"
		}
		fmt.Fprintf(&b, "%s: %s row %d%s, %s of %s: %s", what, p.Sheet, p.Row, bracketed(p.Cell), p.Column, p.Name, p.Reason)
		if p.Character > 0 && !p.External {
			fmt.Fprintf(&b, " (character %d of %q)", p.Character, p.Expression)
		}
		b.WriteByte('\n')
	}
	for _, w := range r.Warnings {
		fmt.Fprintf(&b, "warning: %s", w.Sheet)
		if w.Row > 0 {
			fmt.Fprintf(&b, " row %d", w.Row)
		}
		fmt.Fprintf(&b, "%s: %s\n", bracketed(w.Cell), w.Text)
	}
	return b.String()
}

func bracketed(cell string) string {
	if cell == "" {
		return ""
	}
	return " (" + cell + ")"
}

// JSON is the report for programs.
func (r *Report) JSON() []byte {
	b, _ := json.MarshalIndent(r, "", "  ")
	return append(b, '\n')
}
