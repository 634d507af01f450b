package questionnaire

import (
	"testing"

	"cel.dev/cel-go/cel"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// twin is a condition and the same condition as a program of cel-go.
type twin struct {
	of      string
	fast    *predicate
	program cel.Program
}

// twins gives every condition of a module its program.
func twins(t *testing.T, s *Set) map[*Module][]twin {
	t.Helper()
	c, err := newCompiler(interviewTops((&surveyv1.Interview{}).ProtoReflect().Descriptor())...)
	if err != nil {
		t.Fatal(err)
	}
	all := map[*Module][]twin{}
	closures, programs := 0, 0
	for _, m := range modulesOf(s) {
		if err := c.cel.enter(m.Desc, c.rootOf(m.Desc)); err != nil {
			t.Fatal(err)
		}
		for _, q := range m.Questions {
			conditions := []*predicate{q.relevant}
			for _, k := range q.checks {
				conditions = append(conditions, k.holds)
			}
			for _, p := range conditions {
				if p == nil {
					continue
				}
				if p.fast == nil {
					programs++
					continue
				}
				closures++
				ast, err := c.cel.check(q.Field, "test", p.source)
				if err != nil {
					t.Fatal(err)
				}
				program, err := c.cel.program(ast)
				if err != nil {
					t.Fatal(err)
				}
				all[m] = append(all[m], twin{q.rule, p, program})
			}
		}
	}
	t.Logf("%d conditions run as closures, %d as programs", closures, programs)
	if closures < 300 || programs > closures/20 {
		t.Errorf("%d conditions run as closures and %d as programs: the translator misses a common form", closures, programs)
	}
	return all
}

// Closures must mean what CEL means, on any message whatever.
func TestClosuresAgreeWithCEL(t *testing.T) {
	s := builtin(t)
	all := twins(t, s)
	seen := map[*predicate][4]int{}
	rapid.Check(t, func(t *rapid.T) {
		iv := interviews(t)
		f := &frame{steps: stepsPerInterview}
		var visit func(m *Module, msg, root protoreflect.Message)
		visit = func(m *Module, msg, root protoreflect.Message) {
			if m.top {
				root = msg
			}
			for _, x := range all[m] {
				f.this, f.root = viewOf(msg, m.typ), view{m: root}
				got, want := x.fast.eval(f), (&predicate{program: x.program}).eval(f)
				f.this = view{m: msg}
				if slow := x.fast.eval(f); slow != got {
					t.Fatalf("%s: %q is %d on fields by place and %d by reflection, for this:\n%s", x.of, x.fast.source, got, slow, prototext.Format(msg.Interface()))
				}
				if got != want {
					t.Fatalf("%s: %q is %d as a closure and %d as a program of CEL, for this:\n%s", x.of, x.fast.source, got, want, prototext.Format(msg.Interface()))
				}
				n := seen[x.fast]
				n[want]++
				seen[x.fast] = n
			}
			for _, q := range m.Questions {
				switch {
				case q.Module == nil || !msg.Has(q.Field):
				case q.List:
					for i := range msg.Get(q.Field).List().Len() {
						visit(q.Module, msg.Get(q.Field).List().Get(i).Message(), root)
					}
				default:
					visit(q.Module, msg.Get(q.Field).Message(), root)
				}
			}
		}
		visit(s.interview, iv.ProtoReflect(), nil)
	})
	both, failures := 0, 0
	for _, n := range seen {
		if n[yes] > 0 && n[no] > 0 {
			both++
		}
		failures += n[failed]
	}
	t.Logf("%d of %d conditions were seen both true and false; %d evaluations failed alike", both, len(seen), failures)
	if !testing.Short() && both*10 < len(seen)*6 {
		t.Errorf("only %d of %d conditions were seen both true and false: the random interviews are too poor", both, len(seen))
	}
}

// Forms that our questionnaires do not use yet, and those that fail; all by both ways, on random households.
func TestTranslatorForms(t *testing.T) {
	household := (&surveyv1.Household{}).ProtoReflect().Descriptor()
	c, err := newCompiler(interviewTops((&surveyv1.Interview{}).ProtoReflect().Descriptor())...)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cel.enter(household, household); err != nil {
		t.Fatal(err)
	}
	forms := []struct {
		source string
		fast   bool
	}{
		{"1 / size(this.members) > 0", true},
		{"1 / size(this.members) > 0 || true", true},
		{"false && 1 / size(this.members) > 0", true},
		{"!(10 / size(this.members) == 5)", true},
		{"this.income.total.yuan + 1 > this.income.total.yuan", true},
		{"this.income.total.yuan - 1 < this.income.total.yuan", true},
		{"this.income.total.yuan * 2 >= this.income.total.yuan || this.income.total.yuan < 0", true},
		{"this.income.total.yuan / -1 <= 0", true},
		{"this.members.exists(m, 12 / m.age == 1)", true},
		{"this.members.all(m, 12 / m.age == 1)", true},
		{"this.members.filter(m, 12 / m.age >= 0).exists(m, true)", true},
		{"size(this.members.filter(m, 12 / m.age >= 0)) > 0", true},
		{"this.members.filter(m, m.sex == 1).filter(n, n.age > 3).exists(o, o.line_number == 2)", true},
		{"this.members.filter(m, this.members.exists(n, n.line_number == m.mother_line)).all(k, this.members.filter(x, x.age > k.age).size() > 0)", true},
		{"this.members.exists(m, m.identity.full_name == '贵州' || m.identity.full_name < 'x')", true},
		{"this.members.all(m, size(m.identity.full_name) <= 3)", true},
		{"this.members.exists(m, m.identity.other_names.exists(n, n == '贵州' && size(n) == 2))", true},
		{"this.members.exists(m, m.birth_date.leap_month == m.arrival_in_city.leap_month)", true},
		{"this.members.exists(m, m.birth_date.leap_month != true)", true},
		{"this.housing.area_m2 < 0.5 || this.housing.area_m2 >= 250.0", true},
		{"has(this.housing) == has(this.land)", true},
		{"this.members.exists(m, m.sex == Sex.SEX_FEMALE)", true},
		{"this.income.farmer_lines.exists(l, l > 3) && this.settlement.reasons.all(r, r != 4)", true},
		{"this.members.exists(m, m.age in [1, 2, 3])", false},
		{"this.members.map(m, m.age).exists(a, a > 4)", false},
		{"this.members.exists_one(m, m.age > 4)", false},
		{"this.members.size() > 2 ? has(this.land) : has(this.housing)", false},
		{"this.missing[3u] == 1", false},
		{"this.members[0].age == 4", false},
		{"this.members.exists(m, m.identity.full_name.startsWith('贵'))", false},
	}
	field := household.Fields().ByName("members")
	type pair struct{ fast, slow *predicate }
	pairs := make([]pair, len(forms))
	for i, f := range forms {
		p, err := c.cel.condition(field, "test", f.source)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.fast != nil; got != f.fast {
			t.Errorf("%q translated: %v, want %v", f.source, got, f.fast)
		}
		ast, _ := c.cel.check(field, "test", f.source)
		program, err := c.cel.program(ast)
		if err != nil {
			t.Fatal(err)
		}
		pairs[i] = pair{p, &predicate{program: program}}
	}
	seen := make([][4]int, len(forms))
	rapid.Check(t, func(t *rapid.T) {
		f := &filler{t: t, share: rapid.IntRange(1, 9).Draw(t, "share"), left: 1000}
		m := (&surveyv1.Household{}).ProtoReflect()
		f.fill(m, 0)
		x := viewOf(m, generated(m.Descriptor()))
		fr := &frame{this: x, root: x, steps: stepsPerInterview}
		for i, p := range pairs {
			got, want := p.fast.eval(fr), p.slow.eval(fr)
			if got != want {
				t.Fatalf("%q is %d as a closure and %d as a program of CEL, for\n%s", forms[i].source, got, want, prototext.Format(m.Interface()))
			}
			seen[i][want]++
		}
	})
	if seen[0][failed] == 0 || seen[8][failed] == 0 {
		t.Errorf("no division by zero was seen: %v", seen)
	}
}
