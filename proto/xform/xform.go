// Package xform writes questionnaires as ODK XForms, for ODK Collect, Enketo and whatever else speaks OpenRosa, and checks
// XForms for what those programs let pass.
//
// It is for whoever has to field a questionnaire of Hearth with other software. Rules are translated from CEL to the XPath
// of ODK so that they mean the same: what has no answer stays without one, and is neither 0 nor false. A rule that XPath
// cannot say is left out and named in a warning; none is written that means something else. The package does not read answers
// back, and does not write entities.
package xform

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"regexp"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/hearth-survey/hearth/proto/fault"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
)

// Options of a form.
type Options struct {
	// FormID is the form's id; empty: that of the XLSForm it came from, or the questionnaire's name.
	FormID string
	// Version is the form's version; empty: the questionnaire's.
	Version string
	// Languages are the languages by BCP 47 tag, the first that which is shown at first. Empty: those of the questionnaire.
	Languages []string
	// Missing adds to each question that accepts reasons for having no answer a question for the reason.
	Missing bool
}

// Warning is one thing that the form does not have, and why.
type Warning struct {
	// Path is the question's, with dots: "members.age".
	Path string
	// What was left out: "relevant", "check age_agrees_with_birth".
	What string
	Why  string
}

// String says the warning in one line.
func (w Warning) String() string { return fmt.Sprintf("%s: %s is left out: %s", w.Path, w.What, w.Why) }

// Warnings are all that the form does not have.
type Warnings []Warning

// Write writes a questionnaire as an XForm.
func Write(q *questionnaire.Questionnaire, w io.Writer, o Options) (Warnings, error) {
	f, err := newWriter(q, o)
	if err != nil {
		return nil, err
	}
	root := f.form()
	out := bufio.NewWriter(w)
	out.WriteString("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n")
	root.write(out, 0)
	if err := out.Flush(); err != nil {
		return nil, fmt.Errorf("write the form: %w", err)
	}
	return f.warnings, nil
}

// lang is a language of the form.
type lang struct{ tag, name string }

// writer makes the parts of one form.
type writer struct {
	tree     *tree
	options  Options
	module   *formv1.Module
	id       string
	langs    []lang
	warnings Warnings

	texts     []*element // per language
	instances []*element
	binds     []*element
	actions   []*element
	declared  map[string]bool
	// filters are the conditions of the choices offered, counts the numbers of rows, by path of the question.
	filters, counts map[string]string
	calcs           map[*Node]*calculation
	byName          map[string][]*Node
	// triggers are the questions that are calculated when another one is answered, by that one.
	triggers map[*Node][]*Node
	// audited: the XLSForm asked for a log of how it is filled in.
	audited bool
	// rows are the lines of an XLSForm of the same questions.
	rows []Row
}

// calculation is a calculated question's XPath, once it is known.
type calculation struct {
	text string
	err  error
}

var tagForm = regexp.MustCompile(`^[A-Za-z0-9]{1,8}(-[A-Za-z0-9]{1,8})*$`)

func newWriter(q *questionnaire.Questionnaire, o Options) (*writer, error) {
	return newWriterOf(q.Descriptor(), q.Version(), o)
}

func newWriterOf(top protoreflect.MessageDescriptor, version uint32, o Options) (*writer, error) {
	f := &writer{options: o, module: formv1.ModuleOf(top.Options()), declared: map[string]bool{}, filters: map[string]string{}, counts: map[string]string{}, calcs: map[*Node]*calculation{}, byName: map[string][]*Node{}, triggers: map[*Node][]*Node{}}
	if f.id = o.FormID; f.id == "" {
		f.id = f.module.GetFormName()
	}
	if f.id == "" {
		f.id = snake(string(top.Name()))
	}
	if f.options.Version == "" {
		f.options.Version = fmt.Sprint(version)
	}
	tags := o.Languages
	if len(tags) == 0 {
		tags = f.module.GetLanguages()
	}
	if len(tags) == 0 {
		tags = []string{"en", "zh"}
	}
	for _, tag := range tags {
		if !tagForm.MatchString(tag) {
			return nil, fault.New(fault.Invalid, fault.BadRequest, "%q is no language: name it by its tag, as in en, zh, fr, sw", tag)
		}
		f.langs = append(f.langs, lang{tag, f.languageName(tag)})
	}
	f.tree = newTree(top, version)
	f.tree.calculate = f.calculate
	f.index(f.tree.root)
	f.findTriggers(f.tree.root)
	return f, nil
}

// languageName is how forms write a language: as the XLSForm wrote it, or "中文 (zh)".
func (f *writer) languageName(tag string) string {
	var names map[string]string
	if json.Unmarshal([]byte(f.module.GetFormColumns()[KeyLanguages]), &names) == nil {
		for _, name := range sortedKeys(names) {
			if names[name] == tag && name != "" {
				return name
			}
		}
		if len(names) == 1 {
			return "default"
		}
	}
	return LanguageName(tag)
}

// LanguageName is how forms write a language: "中文 (zh)".
func LanguageName(tag string) string {
	t, err := language.Parse(tag)
	if err != nil {
		return tag
	}
	name := display.Self.Name(t)
	if name == "" {
		return tag
	}
	return name + " (" + tag + ")"
}

func (f *writer) index(n *Node) {
	for _, c := range n.Nodes {
		name := firstOf(c.Options.GetFormName(), c.Name) // as ${name} calls it
		f.byName[name] = append(f.byName[name], c)
		f.index(c)
	}
}

// in is a text in a language, falling back to the form's first language and to any that there is.
func in(t *formv1.Text, tag string, langs []lang) string {
	if s := exactly(t, tag); s != "" {
		return s
	}
	for _, l := range langs {
		if s := exactly(t, l.tag); s != "" {
			return s
		}
	}
	for _, tag := range append([]string{"en", "zh"}, sortedKeys(t.GetMore())...) {
		if s := exactly(t, tag); s != "" {
			return s
		}
	}
	return ""
}

func exactly(t *formv1.Text, tag string) string {
	switch tag {
	case "en":
		return t.GetEn()
	case "zh":
		return t.GetZh()
	}
	return t.GetMore()[tag]
}

func (f *writer) warn(n *Node, what string, why error) {
	path := n.Name
	for p := n.Parent; p != nil && p.Parent != nil; p = p.Parent {
		path = p.Name + "." + path
	}
	f.warnings = append(f.warnings, Warning{path, what, why.Error()})
}
