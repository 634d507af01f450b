package xform

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

// form makes the whole document.
func (f *writer) form() *element {
	for range f.langs {
		f.texts = append(f.texts, nil)
	}
	itext := el("itext")
	for i, l := range f.langs {
		t := el("translation", "lang", l.name)
		if i == 0 {
			t.attr("default", "true()")
		}
		f.texts[i] = t
		itext.add(t)
	}
	body := el("h:body")
	body.attr("class", f.setting("style"))
	data := el("data", "id", f.id, "version", f.options.Version)
	f.children(f.tree.root, data, body, false)
	f.meta(data)
	for _, l := range f.tree.lists {
		f.list(l)
	}

	model := el("model", "odk:xforms-version", "1.0.0").add(itext, el("instance").add(data))
	f.externalFiles()
	f.submission(model)
	model.add(f.instances...).add(f.binds...).add(f.actions...)
	title := el("h:title")
	title.text = in(f.module.GetTitle(), f.langs[0].tag, f.langs)
	if title.text == "" {
		title.text = f.id
	}
	html := el("h:html", "xmlns", "http://www.w3.org/2002/xforms", "xmlns:h", "http://www.w3.org/1999/xhtml",
		"xmlns:ev", "http://www.w3.org/2001/xml-events", "xmlns:jr", "http://openrosa.org/javarosa",
		"xmlns:odk", "http://www.opendatakit.org/xforms", "xmlns:orx", "http://openrosa.org/xforms", "xmlns:xsd", "http://www.w3.org/2001/XMLSchema")
	return html.add(el("h:head").add(title, model), body)
}

// meta adds what names the interview. It has no namespace of its own: some clients else add a second instanceID.
func (f *writer) meta(data *element) {
	meta := el("meta").add(el("instanceID"))
	f.binds = append(f.binds, el("bind", "nodeset", "/data/meta/instanceID", "type", "string", "readonly", "true()", "jr:preload", "uid"))
	if f.audited {
		meta.add(el("audit"))
		f.binds = append(f.binds, el("bind", "nodeset", "/data/meta/audit", "type", "binary"))
	}
	if name := f.setting("instance_name"); name != "" {
		at := &Node{Name: "instanceName", Kind: Leaf, Path: "/data/meta/instanceName", Parent: &Node{Name: "meta", Kind: Group, Path: "/data/meta", Parent: f.tree.root}}
		text, err := f.dollars(name, at)
		if err == nil {
			err = readable(text)
		}
		if err != nil {
			f.warn(at, "instance_name", err)
		} else {
			meta.add(el("instanceName"))
			f.binds = append(f.binds, el("bind", "nodeset", at.Path, "type", "string", "calculate", text))
		}
	}
	data.add(meta)
}

// list adds the secondary instance of a list of choices.
func (f *writer) list(l *List) {
	columns := map[string]bool{}
	for i := range l.Choices {
		for c := range l.Choices[i].Options.GetColumns() {
			if xmlName(c) && c != "name" && c != "label" && c != "itextId" && c != "number" {
				columns[c] = true
			}
		}
	}
	names := sortedKeys(columns)
	root := el("root")
	for i := range l.Choices {
		c := &l.Choices[i]
		id := fmt.Sprintf("%s-%d", l.Name, i)
		label := c.Options.GetLabel()
		if in(label, "", f.langs) == "" && len(c.Options.GetMedia()) == 0 {
			label = &formv1.Text{En: &c.Name}
		}
		f.text(id, nil, label, c.Options.GetMedia(), nil)
		item := el("item").add(leaf("itextId", id), leaf("name", c.Name))
		if l.numbered {
			item.add(leaf("number", number(int(c.Number))))
		}
		for _, name := range names {
			item.add(leaf(name, c.Column(name)))
		}
		root.add(item)
	}
	f.instances = append(f.instances, el("instance", "id", l.Name).add(root))
}

func leaf(name, text string) *element { return &element{name: name, text: text} }

// text adds a text in all languages; what refers to questions within it is shown as their answers.
func (f *writer) text(id string, at *Node, t *formv1.Text, media []*formv1.Media, guidance *formv1.Text) string {
	for i, l := range f.langs {
		e := el("text", "id", id)
		v := el("value")
		v.mixed = f.outputs(in(t, l.tag, f.langs), at)
		e.add(v)
		if g := in(guidance, l.tag, f.langs); g != "" {
			v := el("value", "form", "guidance")
			v.mixed = f.outputs(g, at)
			e.add(v)
		}
		for _, m := range media {
			file := in(m.GetFile(), l.tag, f.langs)
			if file == "" {
				continue
			}
			v := el("value", "form", m.GetKind())
			v.text = "jr://" + mediaFolder(m.GetKind()) + "/" + file
			e.add(v)
		}
		f.texts[i].add(e)
	}
	return "jr:itext('" + id + "')"
}

func mediaFolder(kind string) string {
	switch kind {
	case "audio", "video":
		return kind
	}
	return "images"
}

// relevant is the XPath of a question's relevance, "" where it is always asked.
func (f *writer) relevant(n *Node) string {
	cel := n.Options.GetRelevant()
	if text, ok, err := f.verbatim(n, "relevant", cel, 0); ok {
		if err != nil {
			f.warn(n, "relevant", err)
			return ""
		}
		return text
	}
	if cel == "" {
		return ""
	}
	c, err := f.tree.translator(n, n.Parent).condition(cel)
	if err != nil {
		f.warn(n, "relevant", err)
		return ""
	}
	return c.t.String()
}

// calculate is the XPath of a calculated question; it is made once, for other rules cannot read what is not calculated.
func (f *writer) calculate(n *Node) (string, error) {
	if c := f.calcs[n]; c != nil {
		return c.text, c.err
	}
	c := &calculation{err: &inexpressible{"it depends on itself"}}
	f.calcs[n] = c
	cel := n.Options.GetCalculate()
	if text, ok, err := f.verbatim(n, "calculation", cel, 0); ok {
		if c.text, c.err = text, err; err != nil {
			c.text = ""
		}
		return c.text, c.err
	}
	c.text, c.err = f.tree.translator(n, n.Parent).calculation(cel, n.Choices)
	if begun := f.begun(n); begun.op != '1' && c.err == nil {
		c.text = "if(" + begun.String() + ", " + c.text + ", '')"
	}
	return c.text, c.err
}

// systemCalculation is what a field that the program keeps holds in a form: the id of a household or a row, and the number
// of a row. Others are not in the form.
func systemCalculation(f protoreflect.FieldDescriptor, inRow bool) string {
	name := string(f.Name())
	switch {
	case f.Kind() == protoreflect.StringKind && f.Number() == 1 && strings.HasSuffix(name, "_id") && !strings.HasSuffix(name, "_person_id"):
		return "once(uuid())"
	case f.Kind() == protoreflect.Int32Kind && inRow && strings.HasSuffix(name, "_number") && !f.IsList():
		return "position(..)"
	}
	return ""
}
