package xform

import (
	"fmt"
	"io"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
)

// Check reads an XForm, ours or anybody's, and says what is wrong with it. The programs of ODK let most of this pass and show
// a question never, or without its words. The error is for what is no XForm at all; findings are in the order of the form.
func Check(r io.Reader) ([]fault.Finding, error) {
	d, err := readDocument(r)
	if err != nil {
		return nil, err
	}
	c := &checker{doc: d, nodes: map[string]*dnode{}, binds: map[string]*xmlNode{}, instances: map[string]*xmlNode{}, external: map[string]bool{}, reads: map[string]map[string]bool{}, counted: map[string]bool{}}
	if err := c.structure(); err != nil {
		return nil, err
	}
	c.checkInstance()
	c.checkTexts()
	c.checkBinds()
	c.checkBody(c.body, "")
	c.checkCycles()
	return c.found, nil
}

// dnode is an element of the primary instance; rows of a repeat are one.
type dnode struct {
	path   string
	parent *dnode
	kids   map[string]*dnode
	leaf   bool
	asked  bool
}

// checker is the check of one form.
type checker struct {
	doc         *xmlNode
	model, body *xmlNode
	primary     *xmlNode
	root        *dnode
	nodes       map[string]*dnode
	binds       map[string]*xmlNode
	instances   map[string]*xmlNode
	external    map[string]bool
	texts       []map[string]bool // per language
	langs       []string
	repeats     map[string]bool
	// reads are the questions that relevance and calculation of each question read.
	reads map[string]map[string]bool
	// counted are the repeats whose number of rows is calculated.
	counted map[string]bool
	found   []fault.Finding
}

func (c *checker) say(severity, subject, format string, args ...any) {
	c.found = append(c.found, fault.NewFinding(severity, fault.BadXForm, subject, fmt.Sprintf(format, args...)))
}

func (c *checker) wrong(subject, format string, args ...any) {
	c.say(fault.SeverityError, subject, format, args...)
}

func (c *checker) odd(subject, format string, args ...any) {
	c.say(fault.SeverityWarning, subject, format, args...)
}

// structure finds the parts of the form.
func (c *checker) structure() error {
	if c.doc.name != "html" {
		return fault.New(fault.Invalid, fault.BadXForm, "the file is no XForm: its root element is %s, not h:html", c.doc.name)
	}
	c.model, c.body = c.doc.child("head").child("model"), c.doc.child("body")
	if c.model == nil || c.body == nil {
		return fault.New(fault.Invalid, fault.BadXForm, "the file is no XForm: it has no model or no body")
	}
	for _, i := range c.model.all("instance") {
		switch id := i.attr("id"); {
		case c.primary == nil && id == "" && len(i.kids) > 0:
			c.primary = i.kids[0]
		case id == "":
			c.odd("model", "an instance beside the first has no id; nothing can refer to it")
		case c.instances[id] != nil:
			c.wrong("instance "+id, "two instances have the id %s", id)
		default:
			c.instances[id] = i
			c.external[id] = i.attr("src") != ""
		}
	}
	if c.primary == nil {
		return fault.New(fault.Invalid, fault.BadXForm, "the file is no XForm: its model has no primary instance")
	}
	return nil
}

// checkInstance checks what answers are kept in.
func (c *checker) checkInstance() {
	if c.primary.attr("id") == "" {
		c.wrong("the form", "it has no id: set id at the first element of the primary instance")
	}
	if c.primary.attr("version") == "" {
		c.odd("the form", "it has no version; servers cannot tell a new form from the old one")
	}
	c.root = &dnode{path: "/" + c.primary.name, kids: map[string]*dnode{}}
	c.nodes[c.root.path] = c.root
	c.grow(c.root, c.primary)
	id := c.nodes[c.root.path+"/meta/instanceID"]
	if id == nil {
		c.wrong("the form", "it has no meta/instanceID: what is sent twice is counted twice")
	}
	for _, k := range c.primary.kids {
		if k.name == "meta" && k.prefixed {
			c.odd("meta", "it has a namespace; ODK Web Forms and Enketo then add a second instanceID")
		}
	}
	for _, id := range sortedKeys(c.instances) {
		if !c.external[id] {
			c.checkList(id, c.instances[id])
		}
	}
}

// grow reads the elements below a node.
func (c *checker) grow(n *dnode, x *xmlNode) {
	counts, templates := map[string]int{}, map[string]bool{}
	n.leaf = len(x.kids) == 0
	for _, k := range x.kids {
		counts[k.name]++
		if _, ok := k.attrs["template"]; ok {
			templates[k.name] = true
		}
		d := n.kids[k.name]
		if d == nil {
			d = &dnode{path: n.path + "/" + k.name, parent: n, kids: map[string]*dnode{}}
			n.kids[k.name] = d
			c.nodes[d.path] = d
		}
		c.grow(d, k)
	}
	for _, name := range sortedKeys(counts) {
		if count := counts[name]; count > 1 && !templates[name] && !c.isRepeat(n.path+"/"+name) {
			c.wrong(n.path+"/"+name, "%d questions or groups have this path; their answers cannot be told apart", count)
		}
	}
}

func (c *checker) isRepeat(path string) bool {
	if c.repeats == nil {
		c.repeats = map[string]bool{}
		c.body.visit(func(x *xmlNode) {
			if x.name == "repeat" {
				c.repeats[x.attr("nodeset")] = true
			}
		})
	}
	return c.repeats[path]
}

// checkList checks the choices of a list.
func (c *checker) checkList(id string, i *xmlNode) {
	seen := map[string]int{}
	for _, item := range i.child("root").all("item") {
		name := item.child("name")
		if name == nil {
			continue // a table of another kind
		}
		switch {
		case name.text == "":
			c.wrong("list "+id, "a choice has no name")
		case strings.ContainsAny(name.text, " \t\n"):
			c.odd("list "+id, "the choice %q has a space in its name; where several may be chosen it reads as two", name.text)
		}
		key := name.text
		for _, k := range item.kids {
			if k.name != "label" && k.name != "itextId" && k.name != "name" {
				key += "\x00" + k.text // choices of one name that a filter tells apart
			}
		}
		if seen[key]++; seen[key] == 2 {
			c.wrong("list "+id, "the choice %q is there twice; their answers cannot be told apart", name.text)
		}
	}
}

// checkTexts reads the translations.
func (c *checker) checkTexts() {
	all := map[string]bool{}
	standard := 0
	for _, t := range c.model.child("itext").all("translation") {
		ids := map[string]bool{}
		if t.attr("default") != "" {
			standard++
		}
		for _, x := range t.all("text") {
			id := x.attr("id")
			if ids[id] {
				c.wrong("text "+id, "it is there twice in %s", t.attr("lang"))
			}
			ids[id], all[id] = true, true
			at, _, _ := strings.Cut(id, ":")
			x.visit(func(o *xmlNode) {
				if o.name == "output" && c.nodes[at] != nil {
					c.expression(at, "the wording", firstOf(o.attr("value"), o.attr("ref")))
				}
			})
			if len(x.kids) == 0 {
				c.wrong("text "+id, "it has no words in %s", t.attr("lang"))
			}
		}
		c.texts, c.langs = append(c.texts, ids), append(c.langs, t.attr("lang"))
	}
	if standard > 1 {
		c.odd("itext", "%d languages are the default", standard)
	}
	for i, ids := range c.texts {
		var gone []string
		for _, id := range sortedKeys(all) {
			if !ids[id] {
				gone = append(gone, id)
			}
		}
		if len(gone) > 0 {
			c.wrong("language "+c.langs[i], "%d texts are missing: %s", len(gone), few(gone))
		}
	}
	for _, id := range sortedKeys(c.instances) {
		for _, item := range c.instances[id].child("root").all("item") {
			if t := item.child("itextId"); t != nil {
				c.hasText("list "+id, t.text)
			}
		}
	}
}

func few(all []string) string {
	if len(all) > 5 {
		return strings.Join(all[:5], ", ") + " and more"
	}
	return strings.Join(all, ", ")
}

// hasText checks that a text is there in some language; one that is missing in a language only is named with the language.
func (c *checker) hasText(subject, id string) {
	for _, ids := range c.texts {
		if ids[id] {
			return
		}
	}
	c.wrong(subject, "the text %q is in no language", id)
}

// checkBinds checks types and expressions of the binds.
func (c *checker) checkBinds() {
	for _, b := range c.model.all("bind") {
		path := b.attr("nodeset")
		if path == "" {
			path = b.attr("ref")
		}
		n := c.nodes[path]
		switch {
		case n == nil:
			c.wrong(path, "a bind refers to this path, which is not in the form's instance")
			continue
		case c.binds[path] != nil:
			c.wrong(path, "it has two binds")
		}
		c.binds[path] = b
		for _, name := range []string{"relevant", "constraint", "required", "readonly", "calculate"} {
			c.expression(path, name, b.attr(name))
		}
		for _, name := range []string{"constraintMsg", "requiredMsg"} {
			c.reference(path, b.attr(name))
		}
	}
	for _, s := range append(c.model.all("setvalue"), c.body.all("setvalue")...) {
		path := s.attr("ref")
		if c.nodes[path] == nil {
			c.wrong(path, "a setvalue refers to this path, which is not in the form's instance")
			continue
		}
		c.expression(path, "setvalue", s.attr("value"))
	}
}

// reference checks a reference to a text: jr:itext('id').
func (c *checker) reference(subject, ref string) {
	if id, ok := strings.CutPrefix(ref, "jr:itext('"); ok {
		c.hasText(subject, strings.TrimSuffix(id, "')"))
	}
}

var controls = map[string]bool{"input": true, "select": true, "select1": true, "rank": true, "upload": true, "range": true, "trigger": true, "secret": true}

// checkBody checks the controls.
func (c *checker) checkBody(x *xmlNode, repeat string) {
	for _, k := range x.kids {
		path := k.attr("ref")
		if k.name == "repeat" {
			path = k.attr("nodeset")
		}
		isControl := controls[k.name]
		if (isControl || k.name == "repeat" || k.name == "group" && path != "") && c.nodes[path] == nil {
			c.wrong(path, "a %s refers to this path, which is not in the form's instance: it is never shown, or its answer is lost", k.name)
			continue
		}
		if isControl {
			if n := c.nodes[path]; n.asked {
				c.wrong(path, "it is asked twice")
			} else if n.asked = true; len(n.kids) > 0 {
				c.wrong(path, "a %s asks for what is a group", k.name)
			}
			c.checkControl(k, path)
		}
		inner := repeat
		if k.name == "repeat" {
			inner = path
			if count := k.attr("count"); count != "" {
				c.checkCount(path, count)
			}
		}
		for _, l := range k.kids {
			if l.name == "label" || l.name == "hint" {
				c.reference(firstOf(path, "the body"), l.attr("ref"))
			}
			l.visit(func(o *xmlNode) {
				if o.name == "output" {
					c.expression(firstOf(path, c.root.path), "output", firstOf(o.attr("value"), o.attr("ref")))
				}
			})
		}
		c.checkBody(k, inner)
	}
}

func firstOf(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// checkControl checks where the choices of a select come from.
func (c *checker) checkControl(k *xmlNode, path string) {
	if k.child("label") == nil && k.child("hint") == nil {
		c.odd(path, "it is asked without words")
	}
	if k.name != "select" && k.name != "select1" && k.name != "rank" {
		return
	}
	set := k.child("itemset")
	items := k.all("item")
	if set == nil && len(items) == 0 {
		c.wrong(path, "it offers no choices")
		return
	}
	seen := map[string]bool{}
	for _, i := range items {
		value := ""
		if v := i.child("value"); v != nil {
			value = v.text
		}
		if value == "" || seen[value] {
			c.wrong(path, "the choice %q is there twice, or has no value", value)
		}
		seen[value] = true
		if l := i.child("label"); l != nil {
			c.reference(path, l.attr("ref"))
		}
	}
	if set != nil {
		c.expression(path, "itemset", set.attr("nodeset"))
	}
}
