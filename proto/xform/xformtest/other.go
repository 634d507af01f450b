package xformtest

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/proto/xform"
)

// Other says of a questionnaire that asks the same under the same names, with other types, what an engine says of a form.
// Answers are as Filled gives them.
func Other(q *questionnaire.Questionnaire, answers map[string]any) (map[string]State, error) {
	root := xform.Tree(q.Descriptor(), q.Version())
	m := q.New()
	if err := fill(root, m.ProtoReflect(), answers); err != nil {
		return nil, err
	}
	e := q.Evaluate(m, questionnaire.Options{Completed: true, Now: time.Now()})
	o := &other{out: map[string]State{}, notAsked: map[string]bool{}, broken: map[string]string{}, values: map[string]any{}}
	for _, p := range e.NotAsked {
		o.notAsked[p] = true
	}
	for _, x := range e.Flags {
		o.broken[x.GetPath()] += x.GetRule()[strings.LastIndexByte(x.GetRule(), '/'):] + "/"
	}
	for _, x := range e.Calculated {
		o.values[x.Path] = x.Value
	}
	o.walk(root, m.ProtoReflect(), "", "/data", true)
	return o.out, nil
}

type other struct {
	out      map[string]State
	notAsked map[string]bool
	broken   map[string]string
	values   map[string]any
}

func (o *other) walk(n *xform.Node, m protoreflect.Message, path, form string, asked bool) {
	for _, c := range n.Nodes {
		p, fp := join(path, string(c.Field.Name())), form+"/"+c.Name
		now := asked && !o.notAsked[p]
		if c.Kind == xform.Repeat {
			for i := range m.Get(c.Field).List().Len() {
				o.walk(c, m.Get(c.Field).List().Get(i).Message(), fmt.Sprintf("%s[%d]", p, i), fmt.Sprintf("%s[%d]", fp, i+1), now)
			}
			continue
		}
		s := State{Relevant: now, Broken: strings.Contains(o.broken[p], "/constraint/"), Needed: strings.Contains(o.broken[p], "/required/")}
		if v, ok := o.values[p]; ok {
			s.Value = fmt.Sprint(v)
			if f, is := v.(float64); is {
				s.Value = strconv.FormatFloat(f, 'f', -1, 64)
			}
		}
		o.out[fp] = s
		if c.Kind == xform.Group {
			o.walk(c, m.Get(c.Field).Message(), p, fp, now)
		}
	}
}

// fill puts answers by the names of a form into a message.
func fill(n *xform.Node, m protoreflect.Message, answers map[string]any) error {
	for _, c := range n.Nodes {
		a, ok := answers[c.Name]
		if !ok {
			continue
		}
		switch a := a.(type) {
		case map[string]any:
			if err := fill(c, m.Mutable(c.Field).Message(), a); err != nil {
				return err
			}
		case []any:
			l := m.Mutable(c.Field).List()
			for _, row := range a {
				if err := fill(c, l.AppendMutable().Message(), row.(map[string]any)); err != nil {
					return err
				}
			}
		case string:
			if err := put(c, m, a); err != nil {
				return fmt.Errorf("%s: %w", c.Path, err)
			}
		}
	}
	return nil
}

// put puts one answer into its field.
func put(n *xform.Node, m protoreflect.Message, text string) error {
	if n.Choices != nil {
		words := []string{text}
		if n.Many {
			words = strings.Fields(text)
		}
		for _, w := range words {
			v, err := choiceNamed(n, w)
			switch {
			case err != nil:
				return err
			case n.Many:
				m.Mutable(n.Field).List().Append(v)
			default:
				m.Set(n.Field, v)
			}
		}
		return nil
	}
	switch n.Field.Kind() {
	case protoreflect.Int64Kind:
		i, err := strconv.ParseInt(text, 10, 64)
		m.Set(n.Field, protoreflect.ValueOfInt64(i))
		return err
	case protoreflect.DoubleKind:
		f, err := strconv.ParseFloat(text, 64)
		m.Set(n.Field, protoreflect.ValueOfFloat64(f))
		return err
	case protoreflect.StringKind:
		m.Set(n.Field, protoreflect.ValueOfString(text))
		return nil
	}
	return fmt.Errorf("a %s holds no %q", n.Field.Kind(), text)
}

func choiceNamed(n *xform.Node, name string) (protoreflect.Value, error) {
	for i, c := range n.Choices.Choices {
		if c.Name == name {
			return choiceValue(n, i), nil
		}
	}
	return protoreflect.Value{}, fmt.Errorf("the list %s has no choice %q", n.Choices.Name, name)
}
