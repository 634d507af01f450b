package xform

import (
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

// Kind is what a node of the form holds.
type Kind int

// The kinds of nodes.
const (
	Group Kind = iota
	Repeat
	Leaf
)

// Node is one element of the form's primary instance: the message or the field of the questionnaire that it holds.
type Node struct {
	Name   string
	Kind   Kind
	Parent *Node
	Nodes  []*Node
	// Field is nil at the root.
	Field   protoreflect.FieldDescriptor
	Options *formv1.Question
	// Message is the message whose fields stand below a group or a repeat; nil where rows hold one value each, in a leaf
	// named "value".
	Message protoreflect.MessageDescriptor
	// Type is the leaf's type in XForms: "int", "string", "date", ...
	Type string
	// Choices are set where the answer is one of a list, Many where several may be given.
	Choices *List
	Many    bool
	// Path is the absolute path, "/data/cover/age".
	Path string

	byField map[protoreflect.Name]*Node
}

// List is a list of choices.
type List struct {
	// Name is the id of the list's instance.
	Name    string
	Title   *formv1.Text
	Choices []Choice
	// Enum is the full name of the enum, or the table's name: what functions of expressions call the list.
	Enum string

	byNumber map[int32]*Choice
	// numeric: each choice's name is its number. named: each has a name of its own; doubled: two have the same one.
	numeric, named, doubled bool
	// numbered: the form needs the choices' numbers beside their names.
	numbered bool
}

// Choice is one choice of a list.
type Choice struct {
	Number  int32
	Name    string
	Options *formv1.Choice
}

// NameOf is the name of a choice by its number.
func (l *List) NameOf(n int64) (string, bool) {
	if n != int64(int32(n)) {
		return "", false
	}
	c := l.byNumber[int32(n)]
	if c == nil {
		return "", false
	}
	return c.Name, true
}

// Column is the value of a choice's column, "" where it has none.
func (c *Choice) Column(name string) string { return c.Options.GetColumns()[name] }

// tree is a questionnaire as the tree of nodes that its form has.
type tree struct {
	root    *Node
	version uint32
	lists   []*List
	byEnum  map[string]*List
	taken   map[string]bool
	// xls: the questionnaire came from an XLSForm. Its questions that are true or false are then those that can only be
	// acknowledged.
	xls bool
	// calculate makes the XPath of a calculated question, or says why there is none.
	calculate func(*Node) (string, error)
}

// Messages of Hearth that are one answer in a form.
const (
	geoPoint   = "hearth.survey.v1.GeoPoint"
	attachment = "hearth.survey.v1.Attachment"
	timestamp  = "google.protobuf.Timestamp"
	duration   = "google.protobuf.Duration"
)

// newTree makes the tree of the questions that a version of the questionnaire has.
func newTree(top protoreflect.MessageDescriptor, version uint32) *tree {
	t := &tree{version: version, byEnum: map[string]*List{}, taken: map[string]bool{}, xls: formv1.ModuleOf(top.Options()).GetFormColumns()[KeyHeaders] != ""}
	t.root = &Node{Name: "data", Kind: Group, Message: top, Path: "/data", byField: map[protoreflect.Name]*Node{}}
	t.below(t.root)
	return t
}

func (t *tree) has(since, until uint32) bool {
	return t.version >= since && (until == 0 || t.version <= until)
}

func (t *tree) below(n *Node) {
	names := map[string]bool{}
	for i := range n.Message.Fields().Len() {
		f := n.Message.Fields().Get(i)
		o := formv1.QuestionOf(f.Options())
		if f.IsMap() || !t.has(o.GetSince(), o.GetUntil()) {
			continue
		}
		if o.GetSystem() && o.GetCalculate() == "" && !t.xls && systemCalculation(f, n.Kind == Repeat) == "" {
			continue
		}
		c := t.node(n, f, o)
		c.Name = unique(names, c.Name)
		t.place(c)
	}
}

// place tells a node its path and makes what is below it.
func (t *tree) place(c *Node) {
	n := c.Parent
	c.Path = n.Path + "/" + c.Name
	n.Nodes = append(n.Nodes, c)
	if n.byField == nil {
		n.byField = map[protoreflect.Name]*Node{}
	}
	n.byField[c.Field.Name()] = c
	switch {
	case c.Message != nil:
		t.below(c)
	case c.Kind == Repeat:
		v := &Node{Name: "value", Kind: Leaf, Parent: c, Field: c.Field, Options: c.Options, Type: c.Type, Choices: c.Choices}
		c.Type, c.Choices = "", nil
		v.Path = c.Path + "/value"
		c.Nodes = []*Node{v}
	}
}

func unique(taken map[string]bool, name string) string {
	out := name
	for i := 2; taken[out]; i++ {
		out = name + "_" + strconv.Itoa(i)
	}
	taken[out] = true
	return out
}

func (t *tree) node(parent *Node, f protoreflect.FieldDescriptor, o *formv1.Question) *Node {
	n := &Node{Name: string(f.Name()), Parent: parent, Field: f, Options: o, Kind: Leaf}
	if xmlName(o.GetFormName()) { // others are no names of elements
		n.Name = o.GetFormName()
	}
	if m := f.Message(); m != nil && !oneAnswer(m) {
		n.Message, n.Kind = m, Group
		if f.IsList() {
			n.Kind = Repeat
		}
		return n
	}
	n.Choices = t.list(f, o)
	n.Type = leafType(f, o)
	switch {
	case f.IsList() && n.Choices != nil:
		n.Many = true
	case f.IsList():
		n.Kind = Repeat
	}
	return n
}

func oneAnswer(m protoreflect.MessageDescriptor) bool {
	switch m.FullName() {
	case geoPoint, attachment, timestamp, duration:
		return true
	}
	return false
}

func leafType(f protoreflect.FieldDescriptor, o *formv1.Question) string {
	switch f.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		switch f.Message().FullName() {
		case geoPoint:
			return "geopoint"
		case attachment:
			return "binary"
		case timestamp:
			return "dateTime"
		}
		return "string"
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		return "decimal"
	case protoreflect.EnumKind, protoreflect.BytesKind, protoreflect.BoolKind:
		return "string"
	case protoreflect.StringKind:
		switch o.GetFormat() {
		case formv1.Format_FORMAT_DATE:
			return "date"
		case formv1.Format_FORMAT_TIME:
			return "time"
		case formv1.Format_FORMAT_DATE_TIME:
			return "dateTime"
		case formv1.Format_FORMAT_GEO_TRACE:
			return "geotrace"
		case formv1.Format_FORMAT_GEO_SHAPE:
			return "geoshape"
		case formv1.Format_FORMAT_BARCODE:
			return "barcode"
		}
		return "string"
	}
	if o.GetChoices() != "" {
		return "string"
	}
	return "int"
}

// list is the list of choices of a field, nil where it has none.
func (t *tree) list(f protoreflect.FieldDescriptor, o *formv1.Question) *List {
	switch {
	case f.Kind() == protoreflect.BoolKind && o.GetCalculate() == "" && !t.xls:
		return t.truth()
	case f.Enum() != nil:
		return t.enum(f.Enum())
	case o.GetChoices() != "":
		return t.table(f.ParentFile(), o.GetChoices())
	}
	return nil
}

func (t *tree) add(l *List, name string) *List {
	l.Name = unique(t.taken, name)
	l.byNumber = map[int32]*Choice{}
	l.numeric, l.named = true, true
	names := map[string]bool{}
	for i := range l.Choices {
		c := &l.Choices[i]
		l.byNumber[c.Number] = c
		l.numeric = l.numeric && c.Name == strconv.Itoa(int(c.Number))
		l.named = l.named && c.Options.GetName() != ""
		l.doubled = l.doubled || names[c.Name]
		names[c.Name] = true
	}
	t.byEnum[l.Enum] = l
	t.lists = append(t.lists, l)
	return l
}

var truthText = [2]*formv1.Text{
	{En: proto.String("yes"), Zh: proto.String("是")},
	{En: proto.String("no"), Zh: proto.String("否")},
}

// truth is the list for fields that are true or false.
func (t *tree) truth() *List {
	if l := t.byEnum[""]; l != nil {
		return l
	}
	return t.add(&List{Choices: []Choice{
		{Number: 1, Name: "true", Options: &formv1.Choice{Label: truthText[0]}},
		{Number: 2, Name: "false", Options: &formv1.Choice{Label: truthText[1]}},
	}}, "true_or_false")
}

func (t *tree) enum(d protoreflect.EnumDescriptor) *List {
	if l := t.byEnum[string(d.FullName())]; l != nil {
		return l
	}
	l := &List{Enum: string(d.FullName())}
	o := formv1.ListOf(d.Options())
	l.Title = o.GetTitle()
	for i := range d.Values().Len() {
		v := d.Values().Get(i)
		c := formv1.ChoiceOf(v.Options())
		if v.Number() == 0 || !t.has(c.GetSince(), c.GetUntil()) {
			continue
		}
		l.Choices = append(l.Choices, Choice{Number: int32(v.Number()), Name: choiceName(c, int32(v.Number())), Options: c})
	}
	name := o.GetFormName()
	if name == "" && t.xls {
		name = string(d.Name())
	} else if name == "" {
		name = snake(string(d.Name()))
	}
	return t.add(l, name)
}

func choiceName(c *formv1.Choice, n int32) string {
	if c.GetName() != "" {
		return c.GetName()
	}
	return strconv.Itoa(int(n))
}

func (t *tree) table(file protoreflect.FileDescriptor, name string) *List {
	if l := t.byEnum[name]; l != nil {
		return l
	}
	tables := formv1.TablesOf(file.Options())
	for _, tb := range tables {
		if tb.GetName() != name {
			continue
		}
		l := &List{Enum: name, Title: tb.GetTitle()}
		for _, r := range tb.GetRows() {
			if c := r.GetChoice(); t.has(c.GetSince(), c.GetUntil()) {
				l.Choices = append(l.Choices, Choice{Number: r.GetNumber(), Name: choiceName(c, r.GetNumber()), Options: c})
			}
		}
		return t.add(l, name)
	}
	return nil
}

// snake turns "MaritalStatus" into "marital_status".
func snake(s string) string {
	var b strings.Builder
	for i, r := range s {
		if r >= 'A' && r <= 'Z' {
			if i > 0 {
				b.WriteByte('_')
			}
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Reasons tells whether a group has reasons for answers that are missing. One that has not is a block, one answer in several
// parts: as long as none of them is answered, nothing is asked of them.
func (n *Node) Reasons() bool {
	return n.Message != nil && n.Message.Fields().ByName("missing") != nil
}

// leaves are the questions below a group that are not in rows, and the rosters below it; not what nobody answers.
func (n *Node) leaves() []*Node {
	if n.Kind != Group {
		return []*Node{n}
	}
	var out []*Node
	for _, c := range n.Nodes {
		if o := c.Options; c.Field != nil && o.GetCalculate() == "" && !o.GetSystem() && !o.GetNote() {
			out = append(out, c.leaves()...)
		}
	}
	return out
}
