package questionnaire

import (
	"strconv"

	"cel.dev/cel-go/cel"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

// Functions are the functions of section 5 of LANGUAGE.md for cel-go, for a program that carries out parts of the
// questionnaire's expressions by itself. now(), today(), random(), uuid() and once(x) read the variables @now, @today,
// @random, @uuid, @held and @answer.
func (q *Questionnaire) Functions() []cel.EnvOption {
	lists := listsByName{}
	lists.add(q.top, map[*Module]bool{})
	return functions(lists)
}

// listsByName are all lists of choices of a questionnaire.
type listsByName map[string]*Choices

func (l listsByName) add(m *Module, seen map[*Module]bool) {
	if seen[m] {
		return
	}
	seen[m] = true
	for _, q := range m.Questions {
		if q.Choices != nil {
			l[q.Choices.Name] = q.Choices
		}
		if q.Module != nil {
			l.add(q.Module, seen)
		}
	}
}

func (l listsByName) find(list string, number int64) (*Choice, bool) {
	c := l[list]
	if c == nil || int64(int32(number)) != number {
		return nil, false
	}
	return c.Find(int32(number))
}

func (l listsByName) choiceName(list string, number int64) (string, bool) {
	c, ok := l.find(list, number)
	if !ok {
		return "", false
	}
	return c.Name, true
}

func (l listsByName) choiceLabel(list string, number int64, language string) (string, bool) {
	c, ok := l.find(list, number)
	if !ok {
		return "", false
	}
	s := wordIn(c.Label, language)
	return s, s != ""
}

// wordIn is a wording in a language, or in the first that it has.
func wordIn(t *formv1.Text, language string) string {
	switch {
	case language == "zh" && t.GetZh() != "":
		return t.GetZh()
	case t.GetMore()[language] != "":
		return t.GetMore()[language]
	case t.GetEn() != "":
		return t.GetEn()
	}
	return t.GetZh()
}

func (l listsByName) choiceNumber(list, name string) (int64, bool) {
	c := l[list]
	if c == nil {
		return 0, false
	}
	found, ok := c.Named(name)
	if !ok {
		return 0, false
	}
	return int64(found.Number), true
}

func (l listsByName) choiceColumn(list string, number int64, column string) (string, bool) {
	c, ok := l.find(list, number)
	if !ok {
		return "", false
	}
	return columnOf(c, column)
}

func (l listsByName) lookup(table, column, keyColumn, key string) (string, bool) {
	c := l[table]
	if c == nil {
		return "", false
	}
	for i := range c.List {
		if k, ok := columnOf(&c.List[i], keyColumn); ok && k == key {
			return columnOf(&c.List[i], column)
		}
	}
	return "", false
}

func columnOf(c *Choice, column string) (string, bool) {
	switch column {
	case "name":
		return c.Name, c.Name != ""
	case "number":
		return strconv.Itoa(int(c.Number)), true
	case "label":
		s := wordIn(c.Label, "")
		return s, s != ""
	}
	s := c.Columns[column]
	return s, s != ""
}
