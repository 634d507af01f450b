package questionnaire

import (
	"maps"
	"slices"
	"strconv"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/hearth-survey/hearth/proto/fault"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

// maxChoices is how many choices one list may have. China has 620,000 communities.
const maxChoices = 1_000_000

// choicesFor are the choices of a field: of its enum, or of the table that its option names; nil where it has none.
func (c *compiler) choicesFor(f protoreflect.FieldDescriptor, o *formv1.Question) (*Choices, error) {
	name := o.GetChoices()
	switch {
	case f.Enum() != nil && name != "":
		return nil, badField(f, "is an enum and names the table of choices %q: it can have one of them only", name)
	case f.Enum() != nil:
		return c.enumChoices(f.Enum())
	case name == "":
		return nil, nil
	case f.Kind() != protoreflect.Int32Kind:
		return nil, badField(f, "is of type %s; only an int32, or a list of them, can hold the number of a choice of the table %q", f.Kind(), name)
	}
	tables, err := c.tablesOf(f.ParentFile())
	if err != nil {
		return nil, err
	}
	table := tables[name]
	if table == nil {
		return nil, badField(f, "names the table of choices %q, which file %s does not have", name, f.ParentFile().Path())
	}
	return table, nil
}

// enumChoices are the choices of an enum, read once.
func (c *compiler) enumChoices(e protoreflect.EnumDescriptor) (*Choices, error) {
	if known := c.choices[e.FullName()]; known != nil {
		return known, nil
	}
	o := formv1.ListOf(e.Options())
	list := &Choices{Name: string(e.FullName()), Title: o.GetTitle(), Exclusive: o.GetExclusive(), Enum: e}
	for i := range e.Values().Len() {
		v := e.Values().Get(i)
		if v.Number() == 0 {
			continue
		}
		choice := formv1.ChoiceOf(v.Options())
		list.List = append(list.List, newChoice(int32(v.Number()), string(v.Name()), choice))
	}
	if err := list.index("enum " + string(e.FullName())); err != nil {
		return nil, err
	}
	c.choices[e.FullName()] = list
	return list, nil
}

// tablesOf are the tables of choices of a file by name, read once.
func (c *compiler) tablesOf(f protoreflect.FileDescriptor) (map[string]*Choices, error) {
	if known := c.tables[f.Path()]; known != nil {
		return known, nil
	}
	tables := map[string]*Choices{}
	rows := formv1.TablesOf(f.Options())
	for _, t := range rows {
		what := "table of choices " + strconv.Quote(t.GetName()) + " of file " + f.Path()
		switch {
		case t.GetName() == "":
			return nil, fault.New(fault.Invalid, fault.BadSchema, "file %s has a table of choices without a name", f.Path())
		case tables[t.GetName()] != nil:
			return nil, fault.New(fault.Invalid, fault.BadSchema, "%s is there twice", what)
		}
		list := &Choices{Name: t.GetName(), Title: t.GetTitle()}
		for _, r := range t.GetRows() {
			if r.GetNumber() <= 0 {
				return nil, fault.New(fault.Invalid, fault.BadSchema, "%s has a row with the number %d; numbers begin with 1", what, r.GetNumber())
			}
			list.List = append(list.List, newChoice(r.GetNumber(), strconv.Itoa(int(r.GetNumber())), r.GetChoice()))
		}
		if err := list.index(what); err != nil {
			return nil, err
		}
		tables[t.GetName()] = list
	}
	c.tables[f.Path()] = tables
	return tables, nil
}

func newChoice(number int32, name string, o *formv1.Choice) Choice {
	if o.GetName() != "" {
		name = o.GetName()
	}
	return Choice{Number: number, Name: name, Label: o.GetLabel(), Columns: o.GetColumns(), Options: o}
}

// index makes the choices findable, and fails where two cannot be told apart. Two may have the same name only where a
// filter can tell them apart by their columns: the towns of the same name in two counties.
func (c *Choices) index(what string) error {
	if len(c.List) > maxChoices {
		return fault.New(fault.Invalid, fault.BadSchema, "%s has %d choices; %d are the most", what, len(c.List), maxChoices)
	}
	c.byNumber, c.byName = make(map[int32]int, len(c.List)), make(map[string]int, len(c.List))
	codes := make(map[int32]int, len(c.List))
	for i := range c.List {
		x := &c.List[i]
		if _, twice := c.byNumber[x.Number]; twice {
			return fault.New(fault.Invalid, fault.BadSchema, "%s has two choices with the number %d", what, x.Number)
		}
		c.byNumber[x.Number] = i
		if first, twice := c.byName[x.Name]; !twice {
			c.byName[x.Name] = i
		} else if maps.Equal(c.List[first].Columns, x.Columns) {
			return fault.New(fault.Invalid, fault.BadSchema, "%s has two choices with the name %q", what, x.Name)
		}
		code := x.Number
		if x.Options.GetCode() != 0 {
			code = x.Options.GetCode()
		}
		if first, twice := codes[code]; twice && x.Options.GetMissing() == 0 && c.List[first].Options.GetMissing() == 0 {
			return fault.New(fault.Invalid, fault.BadSchema, "%s has two choices, %q and %q, with the code %d", what, c.List[first].Name, x.Name, code)
		}
		codes[code] = i
	}
	for _, n := range c.Exclusive {
		if _, ok := c.byNumber[n]; !ok {
			return fault.New(fault.Invalid, fault.BadSchema, "%s has no choice %d, which is to exclude all others", what, n)
		}
	}
	return nil
}

// column is what a filter may ask of a choice: its name, number, label in the first language, or a column; "" where it has
// no such column.
func (c *Choice) column(name, language string) string {
	switch name {
	case "name":
		return c.Name
	case "number":
		return strconv.Itoa(int(c.Number))
	case "label":
		return textIn(c.Label, language)
	}
	return c.Columns[name]
}

// textIn is a text in one language, "" where it is not there in that.
func textIn(t *formv1.Text, language string) string {
	switch language {
	case "en":
		return t.GetEn()
	case "zh":
		return t.GetZh()
	}
	return t.GetMore()[language]
}

// language is the one that is shown where nobody chose.
func (c *compiler) language() string {
	if l := moduleOptions(c.tops[0]).GetLanguages(); len(l) > 0 {
		return l[0]
	}
	return "en"
}

// lists finds an enum's choices by its full name, or a table's by its name, among those that questions offer.
func (c *compiler) list(name string) *Choices {
	if l := c.choices[protoreflect.FullName(name)]; l != nil {
		return l
	}
	if l := c.tables[c.tops[0].ParentFile().Path()][name]; l != nil {
		return l
	}
	for _, file := range slices.Sorted(maps.Keys(c.tables)) {
		if l := c.tables[file][name]; l != nil {
			return l
		}
	}
	return nil
}

func (c *compiler) choice(list string, number int64) *Choice {
	l := c.list(list)
	if l == nil || number != int64(int32(number)) {
		return nil
	}
	x, _ := l.Find(int32(number))
	return x
}

func (c *compiler) choiceName(list string, number int64) (string, bool) {
	x := c.choice(list, number)
	if x == nil {
		return "", false
	}
	return x.Name, true
}

func (c *compiler) choiceLabel(list string, number int64, language string) (string, bool) {
	x := c.choice(list, number)
	if x == nil {
		return "", false
	}
	if s := textIn(x.Label, language); s != "" {
		return s, true
	}
	s := textIn(x.Label, c.language())
	return s, s != ""
}

func (c *compiler) choiceNumber(list, name string) (int64, bool) {
	l := c.list(list)
	if l == nil {
		return 0, false
	}
	x, ok := l.Named(name)
	if !ok {
		return 0, false
	}
	return int64(x.Number), true
}

func (c *compiler) choiceColumn(list string, number int64, column string) (string, bool) {
	x := c.choice(list, number)
	if x == nil {
		return "", false
	}
	s := x.column(column, c.language())
	return s, s != ""
}

func (c *compiler) lookup(table, column, keyColumn, key string) (string, bool) {
	l := c.list(table)
	if l == nil {
		return "", false
	}
	at, ok := l.rowsBy(keyColumn, c.language())[key]
	if !ok {
		return "", false
	}
	s := l.List[at].column(column, c.language())
	return s, s != ""
}

// rowsBy are the first rows by the text in a column, found out when they are first asked for.
func (c *Choices) rowsBy(column, language string) map[string]int {
	if known, ok := c.columns.Load(column); ok {
		return known.(map[string]int)
	}
	rows := make(map[string]int, len(c.List))
	for i := range c.List {
		text := c.List[i].column(column, language)
		if _, twice := rows[text]; !twice {
			rows[text] = i
		}
	}
	c.columns.Store(column, rows)
	return rows
}
