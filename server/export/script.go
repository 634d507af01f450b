package export

import (
	"fmt"
	"slices"
	"strings"
	"text/template"

	_ "embed" // the scripts

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

//go:embed script.R
var scriptR string

//go:embed script.py
var scriptPython string

//go:embed script.do
var scriptStata string

// scriptTable is a table as the scripts load it.
type scriptTable struct {
	Name string
	// Codes are the variables with value labels, Numbers those that are numbers; the others stay text.
	Codes   []scriptCode
	Numbers []string
	// Above are the levels above that stand in the export, the nearest first.
	Above []scriptLevel
}

// scriptLevel is a level above another, and its keys: as the lower table calls them, and as it does itself.
type scriptLevel struct {
	Name        string
	Lower, Keys []string
}

// Renamed are the keys of a level that the lower table calls otherwise, and what it calls so itself.
func (l scriptLevel) Renamed() (out []scriptRename) {
	for i, k := range l.Keys {
		if l.Lower[i] != k {
			out = append(out, scriptRename{l.Lower[i], k})
		}
	}
	return out
}

type scriptRename struct{ Lower, Key string }

// above are the levels above a table.
func above(t *Table) (out []scriptLevel) {
	here := make([]int, len(t.Columns)) // by column of the level at hand, its place in the table
	for i := range here {
		here[i] = i
	}
	for at := t; at.Parent != nil; at = at.Parent {
		up := make([]int, len(at.Parent.Columns))
		for i := range up {
			up[i] = -1
		}
		l := scriptLevel{Name: at.Parent.Name}
		for _, k := range at.inherited {
			if up[k.from] = here[k.to]; up[k.from] >= 0 {
				l.Lower, l.Keys = append(l.Lower, t.Columns[up[k.from]].Name), append(l.Keys, at.Parent.Columns[k.from].Name)
			}
		}
		if here = up; !at.Parent.left && len(l.Keys) > 0 {
			out = append(out, l)
		}
	}
	return out
}

// scriptCode is a variable with its value labels.
type scriptCode struct {
	Name   string
	Label  string
	Values []ValueLabel
}

// scriptStudy is what the scripts are made of.
type scriptStudy struct {
	Study, Lang       string
	Tables            []scriptTable
	Household, Person bool
	Interviews        bool // weights of interviews, where there is no table of the study
	Weights           bool
	CSV, Stata        bool
}

// writeScripts writes a do-file, an R and a Python script that load the tables, label them, merge the levels and set the survey
// design. The R and Python scripts read the CSV files, the do-file those of Stata; each is written where its files are.
func (j *job) writeScripts(layouts map[*Table]*layout) error {
	s := scriptStudy{Study: j.src.Study.GetStudy(), Lang: j.opts.Language}
	for _, f := range j.opts.Formats {
		s.CSV = s.CSV || f == servicev1.ExportFormat_EXPORT_FORMAT_CSV
		s.Stata = s.Stata || f == servicev1.ExportFormat_EXPORT_FORMAT_DTA
	}
	for _, t := range j.plan.Tables {
		l := layouts[t]
		s.Tables = append(s.Tables, j.scriptTable(t, l))
		has := func(name string) bool {
			return slices.ContainsFunc(l.slots, func(o slot) bool { return o.name == name })
		}
		weighed := has("weight") && has("design_psu") && has("design_stratum")
		switch t.Name {
		case "interview":
			s.Interviews = weighed && has("analysis_set")
		case "household":
			s.Household = has("in_study") && has("analysis_set")
			s.Weights = weighed
		case "person":
			s.Person = has("rural_migrant")
		}
	}
	for _, f := range []struct {
		name, text string
		wanted     bool
	}{{"analysis.R", scriptR, s.CSV}, {"analysis.py", scriptPython, s.CSV}, {"analysis.do", scriptStata, s.Stata}} {
		if !f.wanted {
			continue
		}
		if err := j.writeScript(f.name, f.text, s); err != nil {
			return err
		}
	}
	return nil
}

func (j *job) scriptTable(t *Table, l *layout) scriptTable {
	out := scriptTable{Name: t.Name, Above: above(t)}
	for _, o := range l.slots {
		c := o.column
		switch {
		case c == nil:
		case c.Kind == KindCode || c.Kind == KindYesNo:
			if len(c.Values) > 0 && len(c.Values) <= 200 {
				out.Codes = append(out.Codes, scriptCode{o.name, wording(c.Label, j.opts.Language), c.Values})
				continue
			}
			out.Numbers = append(out.Numbers, o.name)
		case c.Kind == KindInteger || c.Kind == KindNumber:
			out.Numbers = append(out.Numbers, o.name)
		}
	}
	return out
}

func (j *job) writeScript(name, source string, s scriptStudy) error {
	quoted := func(text string) string { // for R and Python alike: neither knows a quote that a backslash does not end
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", " ").Replace(text) + `"`
	}
	t, err := template.New(name).Funcs(template.FuncMap{
		"q": quoted, "label": func(v ValueLabel) string { return quoted(wording(v.Label, j.opts.Language)) },
		"list": func(names []string) string {
			var all []string
			for _, n := range names {
				all = append(all, quoted(n))
			}
			return strings.Join(all, ", ")
		},
		"words": func(names []string) string { return strings.Join(names, " ") },
		"plain": func(text string) string { return strings.NewReplacer("\n", " ", "\r", " ", "*/", "").Replace(text) },
	}).Parse(source)
	if err != nil {
		return fmt.Errorf("script %s: %w", name, err)
	}
	f, err := j.sink.create("scripts/" + name)
	if err != nil {
		return err
	}
	if err := t.Execute(f, s); err != nil {
		return err
	}
	return f.close()
}
