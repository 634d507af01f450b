package xform

import (
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

// children adds what is below a group or a row to the instance and to the body.
func (f *writer) children(n *Node, data, body *element, template bool) {
	for _, c := range append([]*Node(nil), n.Nodes...) {
		switch {
		case c.Kind == Group:
			f.group(c, data, body, template)
		case c.Kind == Repeat:
			f.repeat(c, data, body, template)
		default:
			f.question(c, data, body)
		}
	}
}

// group adds a group of questions.
func (f *writer) group(n *Node, data, body *element, template bool) {
	inner := el(n.Name)
	data.add(inner)
	g := el("group", "ref", n.Path)
	m := formv1.ModuleOf(n.Message.Options())
	switch {
	case m.GetAppearance() != "":
		g.attr("appearance", m.GetAppearance())
	case n.Options.GetAppearance() != "":
		g.attr("appearance", n.Options.GetAppearance())
	case isBlock(n):
		g.attr("appearance", "field-list") // one answer in several parts
	}
	f.label(g, n)
	b := el("bind", "nodeset", n.Path, "relevant", f.relevant(n))
	if len(b.attrs) > 1 {
		f.binds = append(f.binds, b)
	}
	f.line(n, "group", b).worded().Appearance = g.get("appearance")
	f.children(n, inner, g, template)
	f.line(n, "group", nil).End = true
	body.add(g)
	f.checkNotes(n, data, body, f.checks(n))
}

// isBlock tells whether a group is one answer in several parts: a date, an amount, a place.
func isBlock(n *Node) bool {
	if n.Reasons() {
		return false
	}
	for _, c := range n.Nodes {
		if c.Kind != Leaf {
			return false
		}
	}
	return true
}

// repeat adds a roster: the template of a row, a first row where there has to be one, and the group that asks for more.
func (f *writer) repeat(n *Node, data, body *element, template bool) {
	row := el(n.Name, "jr:template", "")
	row.attrs = append(row.attrs, [2]string{"jr:template", ""})
	data.add(row)
	g := el("group", "ref", n.Path)
	f.label(g, n)
	r := el("repeat", "nodeset", n.Path)
	if n.Message != nil {
		r.attr("appearance", formv1.ModuleOf(n.Message.Options()).GetAppearance())
	}
	count := f.count(n, data)
	if r.attr("jr:count", count); count != "" {
		r.attr("jr:noAddRemove", "true()")
	}
	b := el("bind", "nodeset", n.Path, "relevant", f.relevant(n))
	if len(b.attrs) > 1 {
		f.binds = append(f.binds, b)
	}
	begin := f.line(n, "repeat", b).worded()
	begin.Count, begin.Appearance = firstOf(f.counts[n.Path], count), r.get("appearance")
	f.children(n, row, r, true)
	f.line(n, "repeat", nil).End = true
	if !template && count == "" && (n.Options.GetRequired() || f.tree.xls) {
		data.add(firstRow(row))
	}
	g.add(r)
	body.add(g)
	f.checkNotes(n, data, body, f.checks(n))
}

// firstRow is a row like the template, with a first row for each template within it.
func firstRow(template *element) *element {
	e := &element{name: template.name, text: template.text}
	for _, k := range template.kids {
		if len(k.attrs) > 0 && k.attrs[0][0] == "jr:template" {
			e.kids = append(e.kids, k)
		}
		e.kids = append(e.kids, firstRow(k))
	}
	return e
}

// count is what says how many rows a roster has: a question, or a node of its own with what the rule yields.
func (f *writer) count(n *Node, data *element) string {
	cel := n.Options.GetCount()
	if cel == "" && kept(n.Options, "repeat_count") == "" {
		return ""
	}
	helper := f.helper(n, n.Name+"_count", "string")
	counted := *helper
	counted.Options = n.Options
	text, ok, err := f.verbatim(&counted, "repeat_count", cel, 0)
	if !ok {
		text, err = f.tree.translator(helper, n.Parent).calculation(cel, nil)
	}
	if err != nil {
		f.warn(n, "count", err)
		f.forget(helper)
		return ""
	}
	if isPath(text) && !strings.Contains(text, "[") && text != "." {
		f.forget(helper)
		return text
	}
	data.add(el(helper.Name))
	b := el("bind", "nodeset", helper.Path, "type", "string", "readonly", "true()", "calculate", text)
	f.binds = append(f.binds, b)
	f.counts[n.Path] = text // an XLSForm has it in the roster's own row
	if inRow(n.Parent) {
		return "../" + helper.Name
	}
	return helper.Path
}

// helper makes a node that the questionnaire does not have, beside n.
func (f *writer) helper(n *Node, name, kind string) *Node {
	taken := map[string]bool{}
	for _, c := range n.Parent.Nodes {
		taken[c.Name] = true
	}
	h := &Node{Name: unique(taken, name), Kind: Leaf, Parent: n.Parent, Type: kind, Options: &formv1.Question{}}
	h.Path = n.Parent.Path + "/" + h.Name
	n.Parent.Nodes = append(n.Parent.Nodes, h)
	return h
}

func (f *writer) forget(h *Node) {
	for i, c := range h.Parent.Nodes {
		if c == h {
			h.Parent.Nodes = append(h.Parent.Nodes[:i:i], h.Parent.Nodes[i+1:]...)
			return
		}
	}
}

// label adds a question's label and hint.
func (f *writer) label(e *element, n *Node) {
	o := n.Options
	if kept(o, KeyNoLabel) == "" && in(o.GetLabel(), "", f.langs) != "" || len(o.GetMedia()) > 0 {
		e.add(el("label", "ref", f.text(n.Path+":label", n, o.GetLabel(), o.GetMedia(), nil)))
	}
	if in(o.GetHint(), "", f.langs) != "" || in(o.GetGuidance(), "", f.langs) != "" {
		if e.name == "group" {
			return // groups have no hint
		}
		e.add(el("hint", "ref", f.text(n.Path+":hint", n, o.GetHint(), nil, o.GetGuidance())))
	}
}

// question adds a leaf: its place in the instance, its bind and its control.
func (f *writer) question(n *Node, data, body *element) {
	if f.hidden(n, data) {
		return
	}
	o := n.Options
	place := el(n.Name)
	data.add(place)
	b := el("bind", "nodeset", n.Path, "type", n.Type)
	if n.Name == "value" && n.Parent.Kind == Repeat && n.Parent.Message == nil {
		o = &formv1.Question{Label: o.GetLabel(), Format: o.GetFormat().Enum()} // the rules stand with the rows
	}
	leaf := *n
	leaf.Options = o
	b.attr("relevant", f.relevant(&leaf))
	all := f.checks(&leaf)
	messages := f.constraint(n, b, all)
	f.required(&leaf, b)
	if calculated(o) { // and shown
		text, err := f.calculate(n)
		if err != nil {
			f.warn(n, "calculate", err)
		}
		b.attr("calculate", text)
	}
	if o.GetReadOnly() || o.GetNote() {
		b.attr("readonly", "true()")
	}
	f.binds = append(f.binds, b)
	initial := f.initial(&leaf, place, body)
	control := f.control(&leaf)
	body.add(control)
	line := f.line(&leaf, control.name, b).worded()
	if line.Appearance = control.get("appearance"); len(messages) == 1 {
		line.ConstraintMessage = messages[0]
	} else {
		line.ConstraintMessage = f.together(messages)
	}
	for _, c := range all {
		if c.hard && c.holds != nil {
			line.Checks = append(line.Checks, c.name)
		}
	}
	line.Initial, line.Filter = initial, f.filters[n.Path]
	f.checkNotes(&leaf, data, body, all)
	f.missing(&leaf, data, body)
}

// initial adds the value with which a question is first shown, and gives it as an XLSForm has it.
func (f *writer) initial(n *Node, place, body *element) string {
	cel := n.Options.GetInitial()
	text, ok, err := f.verbatim(n, "default", cel, 0)
	original, plain := Kept(n.Options.GetFormColumns(), "default", cel)
	switch {
	case ok && strings.ContainsAny(original, "$("):
	case plain && !strings.ContainsAny(original, "$("):
		place.text = original
		return original
	case cel == "":
		return ""
	default:
		text, err = f.tree.translator(n, n.Parent).calculation(cel, n.Choices)
	}
	if err != nil {
		f.warn(n, "initial", err)
		return ""
	}
	if plain := strings.Trim(text, "'"); len(plain)+2 == len(text) && !strings.Contains(plain, "'") || text != "" && strings.Trim(text, "0123456789.-") == "" {
		place.text = plain
		return plain
	}
	set := el("setvalue", "ref", n.Path, "event", "odk-instance-first-load", "value", text)
	if inRow(n) {
		set.attrs[1][1] = "odk-instance-first-load odk-new-repeat"
		body.add(set)
	} else {
		f.actions = append(f.actions, set)
	}
	return text
}

// control is the element of the body that asks the question.
func (f *writer) control(n *Node) *element {
	e := el(controlName(n), "ref", n.Path)
	appearance := n.Options.GetAppearance()
	if n.Type == "string" && n.Choices == nil && maxLength(n.Field) > 200 && appearance == "" {
		appearance = "multiline"
	}
	e.attr("appearance", appearance)
	params := parameters(kept(n.Options, "parameters"))
	switch e.name {
	case "upload":
		e.attr("mediatype", mediaType(n.Options.GetFormat()))
	case "range":
		e.attr("start", params["start"])
		e.attr("end", params["end"])
		e.attr("step", params["step"])
	}
	f.label(e, n)
	switch file, fromFile := fileOf(n.Options); {
	case fromFile:
		e.add(f.itemsetOfFile(n, file, params))
	case e.name == "select1" && n.Choices == nil || e.name == "select" && n.Choices == nil:
		e.add(f.itemsetOfRows(n))
	case n.Choices != nil:
		e.add(f.itemset(n, params))
	}
	for _, t := range f.triggers[f.original(n)] {
		text, err := f.calculate(t)
		if err != nil {
			f.warn(t, "calculate", err)
			continue
		}
		e.add(el("setvalue", "ref", t.Path, "event", "xforms-value-changed", "value", text))
	}
	return e
}

func controlName(n *Node) string {
	_, fromFile := fileOf(n.Options)
	word := strings.ToLower(kept(n.Options, "type"))
	switch {
	case fromFile && strings.HasPrefix(word, "select_multiple"):
		return "select"
	case fromFile || strings.HasPrefix(word, "select_one ${"):
		return "select1"
	case strings.HasPrefix(word, "select_multiple ${"):
		return "select"
	case n.Choices != nil && n.Options.GetFormat() == formv1.Format_FORMAT_RANK:
		return "odk:rank"
	case n.Many:
		return "select"
	case n.Field.Kind() == protoreflect.BoolKind && n.Choices == nil:
		return "trigger"
	case n.Choices != nil:
		return "select1"
	case n.Type == "binary":
		return "upload"
	case word == "range":
		return "range"
	}
	return "input"
}

func mediaType(f formv1.Format) string {
	switch f {
	case formv1.Format_FORMAT_PHOTO:
		return "image/*"
	case formv1.Format_FORMAT_AUDIO:
		return "audio/*"
	case formv1.Format_FORMAT_VIDEO:
		return "video/*"
	}
	return "application/*"
}

// parameters reads XLSForm's column of the name: "start=0 end=10 step=1".
func parameters(s string) map[string]string {
	out := map[string]string{}
	for _, word := range strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == ',' || r == ';' }) {
		if k, v, ok := strings.Cut(word, "="); ok {
			out[strings.ToLower(k)] = v
		}
	}
	return out
}

// itemset is where a question's choices come from, filtered as the questionnaire says.
func (f *writer) itemset(n *Node, params map[string]string) *element {
	set := "instance('" + n.Choices.Name + "')/root/item" + f.filter(n)
	if params["randomize"] == "true" {
		if seed := params["seed"]; seed != "" {
			set += ", " + seed
		}
		set = "randomize(" + set + ")"
	}
	return el("itemset", "nodeset", set).add(el("value", "ref", "name"), el("label", "ref", "jr:itext(itextId)"))
}

// filter is the predicate of the choices that are offered, "" where all are.
func (f *writer) filter(n *Node) string {
	cel := n.Options.GetFilter()
	if text, ok, err := f.verbatim(n, "choice_filter", cel, 1); ok {
		if err == nil {
			f.filters[n.Path] = text
			return "[" + text + "]"
		}
		f.warn(n, "filter", err)
		return ""
	}
	if cel == "" {
		return ""
	}
	x := f.tree.translator(n, n.Parent)
	x.frames = append(x.frames, frame{up: -1})
	c, err := x.condition(cel)
	if err != nil {
		f.warn(n, "filter", err)
		return ""
	}
	n.Choices.numbered = n.Choices.numbered || strings.Contains(cel, "number")
	f.filters[n.Path] = c.t.String()
	return predicate(c.t)
}

// missing adds the question for the reason why there is no answer.
func (f *writer) missing(n *Node, data, body *element) {
	o := n.Options
	if !f.options.Missing || !n.Parent.Reasons() || o.GetNote() || o.GetReadOnly() || o.GetSystem() {
		return
	}
	reasons := o.GetMissing()
	if len(reasons) == 0 {
		reasons = []formv1.Missing{formv1.Missing_MISSING_REFUSED, formv1.Missing_MISSING_DONT_KNOW}
	}
	l := f.tree.enum(formv1.Missing(0).Descriptor())
	var offered []*formula
	for _, r := range reasons {
		if name, ok := l.NameOf(int64(r)); ok {
			offered = append(offered, atom("name = "+literal(name), ""))
		}
	}
	h := f.helper(n, n.Name+"_missing", "string")
	h.Choices = l
	none := f.tree.translator(h, n.Parent)
	unanswered := none.has(none.leaf(place{0, f.original(n)})).f
	if c, err := f.tree.translator(h, n.Parent).condition(orTrue(o.GetRelevant())); err == nil {
		unanswered = and(c.t, unanswered)
	}
	data.add(el(h.Name))
	b := el("bind", "nodeset", h.Path, "type", "string", "relevant", unanswered.String())
	f.binds = append(f.binds, b)
	e := el("select1", "ref", h.Path, "appearance", "minimal")
	e.add(el("label", "ref", f.text(h.Path+":label", nil, missingText, nil, nil)))
	e.add(el("itemset", "nodeset", "instance('"+l.Name+"')/root/item"+predicate(or(offered...))).add(el("value", "ref", "name"), el("label", "ref", "jr:itext(itextId)")))
	body.add(e)
	line := f.line(h, e.name, b)
	line.Label, line.Appearance, line.Filter = missingText, "minimal", or(offered...).String()
}

var missingText = &formv1.Text{En: proto.String("Why is there no answer to the question before this one?"), Zh: proto.String("上一题为什么没有答案？")}

func orTrue(cel string) string {
	if cel == "" {
		return "true"
	}
	return cel
}

// original is the node of the tree of which n is a copy.
func (f *writer) original(n *Node) *Node {
	for _, c := range n.Parent.Nodes {
		if c.Path == n.Path {
			return c
		}
	}
	return n
}

func maxLength(f protoreflect.FieldDescriptor) uint64 { return rulesOf(f).GetString().GetMaxLen() }
