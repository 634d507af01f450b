package questionnaire

import (
	"fmt"
	"strings"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// standing is the group or roster in which a question stands; the zero value is the questionnaire itself.
type standing struct {
	path         string
	name         string
	word, wordZh string // "group" or "roster"
}

// in is the place below a field.
func (p standing) in(f protoreflect.FieldDescriptor) standing {
	next := standing{path: string(f.Name()), name: string(f.Name()), word: "group", wordZh: "分组"}
	if p.path != "" {
		next.path = p.path + "." + next.path
	}
	if f.IsList() {
		next.word, next.wordZh = "roster", "名册"
	}
	return next
}

// ofEn is " of the roster *members*", nothing at the top.
func (p standing) ofEn() string {
	if p.path == "" {
		return ""
	}
	return fmt.Sprintf(" of the %s *%s*", p.word, p.name)
}

func (p standing) inZh() string {
	if p.path == "" {
		return ""
	}
	return fmt.Sprintf("%s *%s* ", p.wordZh, p.name)
}

// question names a question: "Question 14 of the roster *members*, *education*,".
func (p standing) question(f protoreflect.FieldDescriptor) (en, zh string) {
	word, wordZh := kindWord(f)
	zh = fmt.Sprintf("%s第 %d 题 *%s*", p.inZh(), f.Number(), f.Name())
	if GroupOf(f) != nil {
		zh = fmt.Sprintf("%s%s %d *%s*", p.inZh(), wordZh, f.Number(), f.Name())
	}
	if label := formv1.QuestionOf(f.Options()).GetLabel().GetZh(); label != "" {
		zh += "（" + label + "）"
	}
	return fmt.Sprintf("%s %d%s, *%s*,", strings.ToUpper(word[:1])+word[1:], f.Number(), p.ofEn(), f.Name()), zh
}

// kindWord is what a field is called.
func kindWord(f protoreflect.FieldDescriptor) (en, zh string) {
	switch {
	case GroupOf(f) == nil:
		return "question", "题"
	case f.IsList():
		return "roster", "名册"
	}
	return "group", "分组"
}

// zhOf is the Chinese wording, or where there is none the English one.
func zhOf(t *formv1.Text) string {
	if t.GetZh() != "" {
		return t.GetZh()
	}
	return t.GetEn()
}

func quoted(s string) string {
	if s == "" {
		return ""
	}
	return "“" + s + "”"
}

func quotedZh(s string) string { return quoted(s) }

// lead is s behind what leads to it, nothing where there is nothing.
func lead(before, s string) string {
	if s == "" {
		return ""
	}
	return before + s
}

// choiceWords names a choice: "9 *doctorate* (博士)".
func choiceWords(c choiceRow) (en, zh string) {
	label := c.options.GetLabel()
	en, zh = label.GetEn(), zhOf(label)
	if en == "" {
		en = c.name
	}
	if zh == "" {
		zh = c.name
	}
	en = fmt.Sprintf("%d *%s*", c.number, en)
	if label.GetZh() != "" && label.GetZh() != label.GetEn() {
		en += " (" + label.GetZh() + ")"
	}
	return en, fmt.Sprintf("%d “%s”", c.number, zh)
}

// typeWords is what a field holds, in words.
func typeWords(f protoreflect.FieldDescriptor) (en, zh string) {
	list := f.IsList() && GroupOf(f) == nil
	_, _, chosen := choiceRows(f)
	switch {
	case f.IsMap():
		return "a map", "映射"
	case GroupOf(f) != nil && f.IsList():
		return "a roster", "名册"
	case GroupOf(f) != nil:
		return "a group", "分组"
	case chosen && list:
		return "several choices", "多选"
	case chosen:
		return "one choice", "单选"
	}
	en, zh = f.Kind().String(), f.Kind().String()
	switch f.Kind() {
	case protoreflect.StringKind:
		en, zh = "a text", "文本"
	case protoreflect.BoolKind:
		en, zh = "yes or no", "是/否"
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		en, zh = "a decimal number", "小数"
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind, protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		en, zh = "a whole number ("+en+")", "整数（"+zh+"）"
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind, protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		en, zh = "a whole number ("+en+")", "整数（"+zh+"）"
	case protoreflect.MessageKind:
		en, zh = string(f.Message().Name()), string(f.Message().Name())
	}
	if list {
		return "a list of " + en, zh + "列表"
	}
	return en, zh
}

// textOr is an expression as it is shown; an empty one is told in words.
func codeOr(source, en string) string {
	if source == "" {
		return en
	}
	return "`" + source + "`"
}
