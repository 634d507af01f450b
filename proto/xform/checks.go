package xform

import (
	"fmt"
	"strconv"
	"strings"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

// check is a rule of a question in XPath: where it is broken, as its constraint sees it and as another node does.
type check struct {
	name    string
	message *formv1.Text
	hard    bool
	// holds is the constraint, in which "." is the answer; "" where it cannot be one.
	holds *formula
	// broken is where it does not hold, seen from a node beside the question.
	broken func(*Node) (*formula, error)
}

func rulesOf(f protoreflect.FieldDescriptor) *validate.FieldRules {
	r, _ := proto.GetExtension(f.Options(), validate.E_Field).(*validate.FieldRules)
	return r
}

// checks are the rules of a question that XPath can say.
func (f *writer) checks(n *Node) []check {
	var out []check
	o := n.Options
	if n.Kind == Leaf && n.Field != nil && (n.Name != "value" || n.Parent.Message != nil) {
		rules := rulesOf(n.Field)
		if n.Many {
			if c, ok := limitOfMany(rules.GetRepeated()); ok {
				out = append(out, c)
			}
		} else if c, ok := limitOf(rules); ok {
			out = append(out, c)
		}
		if o.GetFormat() == formv1.Format_FORMAT_RESIDENT_ID {
			out = append(out, check{holds: atom("regex(., '^[0-9]{17}[0-9Xx]$')", ""), hard: true, message: words("a resident id of 18 characters", "18位身份证号码")})
		}
	}
	if n.Kind == Repeat && rulesOf(n.Field).GetRepeated().HasMaxItems() && n.Field.IsList() {
		limit := strconv.FormatUint(rulesOf(n.Field).GetRepeated().GetMaxItems(), 10)
		out = append(out, check{name: "max_items", hard: true, message: words("at most "+limit+" rows", "最多"+limit+"行"),
			broken: func(at *Node) (*formula, error) {
				x := f.tree.translator(at, n.Parent)
				return atom("count("+x.rows(place{0, f.original(n)})+") > "+limit, ""), x.err
			}})
	}
	if text, ok, err := f.verbatim(n, "constraint", checksSource(o), 0); ok {
		if err == nil {
			id := ""
			if len(o.GetChecks()) == 1 {
				id = o.GetChecks()[0].GetId()
			}
			return append(out, check{name: id, holds: atom(text, ""), hard: true, message: f.constraintMessage(o)})
		}
		f.warn(n, "constraint", err)
		return out
	}
	for _, k := range o.GetChecks() {
		c, err := f.check(n, k)
		if err != nil {
			f.warn(n, "check "+k.GetId(), err)
			continue
		}
		out = append(out, c)
	}
	return out
}

// checksSource is the CEL that was made of an XLSForm's constraint.
func checksSource(o *formv1.Question) string {
	if len(o.GetChecks()) != 1 {
		return ""
	}
	return o.GetChecks()[0].GetExpression()
}

// constraintMessage is the message of an XLSForm's constraint; one that could not be translated has it among its columns.
func (f *writer) constraintMessage(o *formv1.Question) *formv1.Text {
	if len(o.GetChecks()) == 1 {
		return o.GetChecks()[0].GetMessage()
	}
	out := &formv1.Text{More: map[string]string{}}
	for _, l := range f.langs {
		s := kept(o, "constraint_message::"+l.name)
		if s == "" {
			s = kept(o, "constraint_message")
		}
		if s != "" {
			set(out, l.tag, s)
		}
	}
	return out
}

// check translates one check.
func (f *writer) check(n *Node, k *formv1.Check) (check, error) {
	c := check{name: k.GetId(), message: k.GetMessage(), hard: k.GetSeverity() == formv1.Severity_SEVERITY_HARD}
	node := f.original(n)
	c.broken = func(at *Node) (*formula, error) {
		x := f.tree.translator(at, n.Parent)
		x.value = node
		got, err := x.condition(k.GetExpression())
		if err != nil {
			return nil, err
		}
		answered := x.leaf(place{0, node})
		return and(x.has(answered).t, got.f), x.err
	}
	if !c.hard || n.Kind != Leaf {
		_, err := c.broken(node)
		return c, err
	}
	x := f.tree.translator(node, n.Parent)
	x.value = node
	got, err := x.condition(k.GetExpression())
	if err != nil || x.selfInPredicate {
		return c, err
	}
	c.holds = not(got.f)
	if len(without(got.needs, map[string]bool{". != ''": true})) == 0 {
		c.holds = got.t
	}
	c.holds = c.holds.given(". != ''") // a constraint is looked at where there is an answer
	return c, nil
}

func words(en, zh string) *formv1.Text {
	return &formv1.Text{En: proto.String("The answer must be " + en + "."), Zh: proto.String("答案必须为：" + zh + "。")}
}

// limitOf is the limit of one value.
func limitOf(r *validate.FieldRules) (check, bool) {
	if r == nil {
		return check{}, false
	}
	m := r.ProtoReflect()
	set := m.WhichOneof(m.Descriptor().Oneofs().ByName("type"))
	if set == nil {
		return check{}, false
	}
	if s := r.GetString(); s != nil {
		return limitOfText(s)
	}
	of := m.Get(set).Message()
	var parts []*formula
	var en, zh []string
	for _, b := range []struct{ name, op, en, zh string }{
		{"gte", ">=", "at least ", "不小于"}, {"gt", ">", "more than ", "大于"}, {"lte", "<=", "at most ", "不大于"}, {"lt", "<", "less than ", "小于"},
	} {
		fd := of.Descriptor().Fields().ByName(protoreflect.Name(b.name))
		if fd == nil || !of.Has(fd) {
			continue
		}
		value := of.Get(fd).String()
		if d, ok := of.Get(fd).Interface().(float64); ok {
			value = strconv.FormatFloat(d, 'f', -1, 64)
		}
		parts = append(parts, atom(". "+b.op+" "+value, ""))
		en, zh = append(en, b.en+value), append(zh, b.zh+value)
	}
	if len(parts) == 0 {
		return check{}, false
	}
	return check{holds: and(parts...), hard: true, message: words(strings.Join(en, " and "), strings.Join(zh, "，"))}, true
}

func limitOfText(s *validate.StringRules) (check, bool) {
	var parts []*formula
	var en, zh []string
	say := func(op string, n uint64, e, z string) {
		parts = append(parts, atom(fmt.Sprintf("string-length(.) %s %d", op, n), ""))
		en, zh = append(en, fmt.Sprintf("of "+e+"%d characters", n)), append(zh, fmt.Sprintf(z+"%d个字符", n))
	}
	if s.HasLen() {
		say("=", s.GetLen(), "", "")
	}
	if s.HasMinLen() {
		say(">=", s.GetMinLen(), "at least ", "至少")
	}
	if s.HasMaxLen() {
		say("<=", s.GetMaxLen(), "at most ", "最多")
	}
	if s.HasPattern() {
		if p, ok := pattern(s.GetPattern()); ok {
			parts = append(parts, atom("regex(., "+literal(p)+")", ""))
			en, zh = append(en, "written in the form asked for"), append(zh, "按要求的格式填写")
		}
	}
	if len(parts) == 0 {
		return check{}, false
	}
	return check{holds: and(parts...), hard: true, message: words(strings.Join(en, " and "), strings.Join(zh, "，"))}, true
}

func limitOfMany(r *validate.RepeatedRules) (check, bool) {
	var parts []*formula
	var en, zh []string
	if r.HasMinItems() {
		parts = append(parts, atom(fmt.Sprintf("count-selected(.) >= %d", r.GetMinItems()), ""))
		en, zh = append(en, fmt.Sprintf("at least %d answers", r.GetMinItems())), append(zh, fmt.Sprintf("至少%d项", r.GetMinItems()))
	}
	if r.HasMaxItems() {
		parts = append(parts, atom(fmt.Sprintf("count-selected(.) <= %d", r.GetMaxItems()), ""))
		en, zh = append(en, fmt.Sprintf("at most %d answers", r.GetMaxItems())), append(zh, fmt.Sprintf("最多%d项", r.GetMaxItems()))
	}
	if len(parts) == 0 {
		return check{}, false
	}
	return check{holds: and(parts...), hard: true, message: words(strings.Join(en, " and "), strings.Join(zh, "，"))}, true
}

// constraint writes the hard checks of an answer into its bind; clients refuse an answer that breaks one.
func (f *writer) constraint(n *Node, b *element, all []check) []*formv1.Text {
	var parts []*formula
	var messages []*formv1.Text
	for _, c := range all {
		if c.hard && c.holds != nil {
			parts = append(parts, c.holds)
			messages = append(messages, c.message)
		}
	}
	if len(parts) == 0 {
		return nil
	}
	for i, p := range parts {
		if len(parts) > 1 && p.op == 'a' && strings.Contains(p.text, " or ") {
			parts[i] = atom("("+p.text+")", "") // as it stood in the XLSForm
		}
	}
	b.attr("constraint", and(parts...).String())
	if m := f.together(messages); m != nil {
		b.attr("jr:constraintMsg", f.text(n.Path+":jr:constraintMsg", n, m, nil, nil))
	}
	return messages
}

// together joins the messages of several checks: a bind has one.
func (f *writer) together(all []*formv1.Text) *formv1.Text {
	out := &formv1.Text{More: map[string]string{}}
	some := false
	for _, l := range f.langs {
		var parts []string
		for _, t := range all {
			if s := in(t, l.tag, f.langs); s != "" {
				parts = append(parts, s)
			}
		}
		if len(parts) == 0 {
			continue
		}
		some = true
		set(out, l.tag, strings.Join(parts, " "))
	}
	if !some {
		return nil
	}
	return out
}

func set(t *formv1.Text, tag, s string) {
	switch tag {
	case "en":
		t.En = &s
	case "zh":
		t.Zh = &s
	default:
		t.More[tag] = s
	}
}

// checkNotes adds a note for each check that is no constraint: soft ones, which must not hold the enumerator up; those of
// groups and rosters; and those that look at the answer from within a predicate, where Collect reads the answer as it was
// before. A hard one has to be put right: its note is required and cannot be filled in.
func (f *writer) checkNotes(n *Node, data, body *element, all []check) {
	for _, c := range all {
		if c.broken == nil || c.hard && c.holds != nil {
			continue
		}
		h := f.helper(n, n.Name+"_"+c.name, "string")
		broken, err := c.broken(h)
		if err != nil {
			f.warn(n, "check "+c.name, err)
			f.forget(h)
			continue
		}
		relevant := broken
		if rel := n.Options.GetRelevant(); rel != "" {
			if asked, err := f.tree.translator(h, n.Parent).condition(rel); err == nil {
				relevant = and(asked.t, broken)
			}
		}
		f.note(h, data, body, relevant, c.message, c.hard).concerns(n, c.name)
	}
	if n.Kind != Leaf && n.Options.GetRequired() {
		h := f.helper(n, n.Name+"_required", "string")
		x := f.tree.translator(h, n.Parent)
		none := x.has(x.leaf(place{0, n})).f
		if rel := n.Options.GetRelevant(); rel != "" {
			if asked, err := f.tree.translator(h, n.Parent).condition(rel); err == nil {
				none = and(asked.t, none)
			}
		}
		f.note(h, data, body, and(f.begun(h), none), requiredText(n.Options), true).concerns(n, "required")
	}
}

var unanswered = &formv1.Text{En: proto.String("An answer is needed here."), Zh: proto.String("此处必须填写。")}

func requiredText(o *formv1.Question) *formv1.Text {
	if o.GetRequiredMessage() != nil {
		return o.GetRequiredMessage()
	}
	return unanswered
}

func (f *writer) note(h *Node, data, body *element, relevant *formula, message *formv1.Text, hard bool) *Row {
	data.add(el(h.Name))
	b := el("bind", "nodeset", h.Path, "type", "string", "readonly", "true()", "relevant", relevant.String())
	if hard {
		b.attr("required", "true()")
		b.attr("jr:requiredMsg", f.text(h.Path+":jr:requiredMsg", h, message, nil, nil))
	}
	f.binds = append(f.binds, b)
	body.add(el("input", "ref", h.Path).add(el("label", "ref", f.text(h.Path+":label", h, message, nil, nil))))
	line := f.line(h, "input", b)
	if line.Label = message; hard {
		line.RequiredMessage = message
	}
	return line
}

// begun is where the blocks in which a question stands have an answer.
func (f *writer) begun(n *Node) *formula {
	out := always
	for g := n.Parent; g != nil && g.Parent != nil && g.Kind == Group; g = g.Parent {
		if !g.Reasons() {
			x := f.tree.translator(f.original(n), n.Parent)
			out = and(out, x.has(x.at0(g)).t)
		}
	}
	return out
}

// required says where a question needs an answer. With questions for reasons, a reason will do.
func (f *writer) required(n *Node, b *element) {
	o := n.Options
	text := ""
	switch {
	case o.GetNote():
	case o.GetRequiredWhen() != "" || !o.GetRequired() && kept(o, "required") != "" && strings.ContainsAny(kept(o, "required"), "($="):
		if t, ok, err := f.verbatim(n, "required", o.GetRequiredWhen(), 0); ok {
			if err != nil {
				f.warn(n, "required", err)
				return
			}
			text = t
			break
		}
		c, err := f.tree.translator(f.original(n), n.Parent).condition(o.GetRequiredWhen())
		if err != nil {
			f.warn(n, "required", err)
			return
		}
		text = c.t.String()
	case o.GetRequired():
		text = "true()"
	}
	if text == "" {
		return
	}
	if begun := f.begun(n); begun.op != '1' && text == "true()" {
		text = begun.String()
	} else if begun.op != '1' {
		text = "(" + text + ") and (" + begun.String() + ")"
	}
	if f.options.Missing && n.Parent.Reasons() {
		reason := "../" + n.Name + "_missing = ''"
		if text == "true()" {
			text = reason
		} else {
			text = "(" + text + ") and " + reason
		}
	}
	b.attr("required", text)
	if o.GetRequiredMessage() != nil {
		b.attr("jr:requiredMsg", f.text(n.Path+":jr:requiredMsg", n, o.GetRequiredMessage(), nil, nil))
	}
}
