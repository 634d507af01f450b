package xform

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

// Row is a question, the beginning or the end of a group or roster, or what the form needs beside them, as the sheet
// "survey" of an XLSForm has it line by line. Expressions are XPath.
type Row struct {
	// Node is the element; its Field is nil where the questionnaire has none, as of the note that stands for a check.
	Node *Node
	// Control is the element that asks: "input", "select1", ...; "group" or "repeat"; empty where nothing is asked.
	Control string
	End     bool
	// Bind are the attributes of the question's bind.
	Bind map[string]string

	// Checks are the ids of the checks that the constraint makes; "" for a limit.
	Checks []string
	// Check is the id of the check for which a note stands, or "required"; Of is the element of its question.
	Check string
	Of    *Node

	Label, Hint, Guidance, ConstraintMessage, RequiredMessage *formv1.Text
	Media                                                     []*formv1.Media
	Appearance, Filter, Count, Initial                        string
}

// Rows are the lines of an XLSForm that asks what the XForm of Write asks, the lists of choices that it uses, and what is in
// neither.
func Rows(top protoreflect.MessageDescriptor, version uint32, o Options) ([]Row, []*List, Warnings, error) {
	f, err := newWriterOf(top, version, o)
	if err != nil {
		return nil, nil, nil, err
	}
	f.form()
	file := top.ParentFile()
	tables := formv1.TablesOf(file.Options())
	for _, t := range tables {
		f.tree.table(file, t.GetName()) // those that no question uses too
	}
	return f.rows, f.tree.lists, f.warnings, nil
}

// Tree is the primary instance of a questionnaire's form: the questions alone, without what the form needs beside them.
func Tree(top protoreflect.MessageDescriptor, version uint32) *Node {
	return newTree(top, version).root
}

// line adds a row for an element with its bind.
func (f *writer) line(n *Node, control string, b *element) *Row {
	r := Row{Node: n, Control: control, Bind: map[string]string{}}
	if b != nil {
		for _, a := range b.attrs {
			r.Bind[a[0]] = a[1]
		}
	}
	f.rows = append(f.rows, r)
	return &f.rows[len(f.rows)-1]
}

// concerns says for which check a note stands.
func (r *Row) concerns(n *Node, check string) { r.Of, r.Check = n, check }

// worded fills in the words of the questionnaire's own questions.
func (r *Row) worded() *Row {
	o := r.Node.Options
	r.Label, r.Hint, r.Guidance, r.RequiredMessage, r.Media, r.Appearance = o.GetLabel(), o.GetHint(), o.GetGuidance(), o.GetRequiredMessage(), o.GetMedia(), o.GetAppearance()
	return r
}
