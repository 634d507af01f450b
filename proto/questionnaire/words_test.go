package questionnaire

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

func TestWords(t *testing.T) {
	member := (&surveyv1.HouseholdMember{}).ProtoReflect().Descriptor()
	top := (&surveyv1.Household{}).ProtoReflect().Descriptor()
	age, sex := "“How old is this person, in completed years?”", "“Is this person male or female?”"
	for _, c := range []struct{ expression, en, zh string }{
		{"this.age >= 15", age + " is at least 15", "“他（她）今年多少周岁？”不小于15"},
		{"this.sex == 1", sex + " is “male”", "“请问他（她）的性别？”为“男”"},
		{"1 != this.sex", sex + " is not “male”", "“请问他（她）的性别？”不为“男”"},
		{"!(this.sex == 1)", sex + " is not “male”", "“请问他（她）的性别？”不为“男”"},
		{"has(this.age)", age + " is answered", "“他（她）今年多少周岁？”已作答"},
		{"!has(this.age) || this.age >= 6 && this.sex == 2", age + " is not answered or (" + age + " is at least 6 and " + sex + " is “female”)",
			"“他（她）今年多少周岁？”未作答，或者（“他（她）今年多少周岁？”不小于6，并且“请问他（她）的性别？”为“女”）"},
		{"this.age >= 3 && this.age <= 18", age + " is from 3 to 18", "“他（她）今年多少周岁？”在3至18之间"},
		{"this.sex in [1, 2]", sex + " is one of “male”, “female”", "“请问他（她）的性别？”为“男”、“女”之一"},
		{"root.members.exists(m, m.sex == 1)", "for at least one of “Who belongs to this household?” [m]: " + sex + " [m] is “male”", "“您家都有哪些人？” [m]中至少有一项满足：“请问他（她）的性别？” [m]为“男”"},
		{"root.members.filter(m, m.age < 15).size() > 2", "the number of “Who belongs to this household?” where " + age + " [m] is less than 15 is more than 2",
			"满足“他（她）今年多少周岁？” [m]小于15的“您家都有哪些人？”的数目大于2"},
		{"sum(root.members.map(m, has(m.age), m.age)) <= 200", "the sum of " + age + " [m] of all “Who belongs to this household?” is at most 200",
			"全部“您家都有哪些人？”的“他（她）今年多少周岁？” [m]的合计不大于200"},
		{"size(root.members.filter(m, m.sex == 2))", "the number of “Who belongs to this household?” where " + sex + " [m] is “female”", "满足“请问他（她）的性别？” [m]为“女”的“您家都有哪些人？”的数目"},
		{"this.age > 60 ? 1 : 0", "1 if " + age + " is more than 60, otherwise 0", "如果“他（她）今年多少周岁？”大于60则为1，否则为0"},
		{"true", "always", "总是"},
		{"distance(this.a, this.b) > 3.5", "`distance(this.a, this.b)` is more than 3.5", "`distance(this.a, this.b)`大于3.5"},
		{"this.age >", "this.age >", "this.age >"},
	} {
		got := Words(c.expression, member, top, nil)
		if got.GetEn() != c.en || got.GetZh() != c.zh {
			t.Errorf("%s\n got %s\n     %s\nwant %s\n     %s", c.expression, got.GetEn(), got.GetZh(), c.en, c.zh)
		}
	}
}

// Every rule of the built-in questionnaires can be said without code.
func TestWordsOfBuiltin(t *testing.T) {
	s := builtin(t)
	c, err := compile(interviewTops(s.interview.Desc)...)
	if err != nil {
		t.Fatal(err)
	}
	rules, code := 0, 0
	for _, m := range modulesOf(s) {
		var root protoreflect.MessageDescriptor
		if only := c.scope(c.modules[m.Desc.FullName()]).root; only != nil {
			root = only.Desc
		}
		for _, x := range m.Questions {
			sources := []string{x.Options.GetRelevant(), x.Options.GetCalculate()}
			for _, k := range x.Options.GetChecks() {
				sources = append(sources, k.GetExpression())
			}
			for _, src := range sources {
				if src == "" {
					continue
				}
				rules++
				if w := Words(src, m.Desc, root, nil); strings.Contains(w.GetEn(), "`") || strings.Contains(w.GetZh(), "`") {
					code++
					t.Logf("%s: %s: %s", x.Field.FullName(), src, w.GetEn())
				}
			}
		}
	}
	if rules < 300 || code > 0 {
		t.Errorf("%d of %d rules hold code", code, rules)
	}
}
