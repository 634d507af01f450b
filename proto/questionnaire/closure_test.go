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
func twins(t *testing.T, s *Set) map[*module][]twin {
	t.Helper()
	c, err := newCompiler((&surveyv1.Interview{}).ProtoReflect().Descriptor())
	if err != nil {
		t.Fatal(err)
	}
	all := map[*module][]twin{}
	closures, programs := 0, 0
	for _, m := range modulesOf(s) {
		if err := c.cel.enter(m.desc, c.rootOf(m.desc)); err != nil {
			t.Fatal(err)
		}
		for _, q := range m.questions {
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
				ast, err := c.cel.check(q.field, "test", p.source)
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
		var visit func(m *module, msg, root protoreflect.Message)
		visit = func(m *module, msg, root protoreflect.Message) {
			if m.top {
				root = msg
			}
			for _, x := range all[m] {
				f.this, f.root = msg, root
				got, want := x.fast.eval(f), (&predicate{program: x.program}).eval(f)
				if got != want {
					t.Fatalf("%s: %q is %d as a closure and %d as a program of CEL, for this:\n%s", x.of, x.fast.source, got, want, prototext.Format(msg.Interface()))
				}
				n := seen[x.fast]
				n[want]++
				seen[x.fast] = n
			}
			for _, q := range m.questions {
				switch {
				case q.module == nil || !msg.Has(q.field):
				case q.list:
					for i := range msg.Get(q.field).List().Len() {
						visit(q.module, msg.Get(q.field).List().Get(i).Message(), root)
					}
				default:
					visit(q.module, msg.Get(q.field).Message(), root)
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
	if both*10 < len(seen)*8 {
		t.Errorf("only %d of %d conditions were seen both true and false: the random interviews are too poor", both, len(seen))
	}
}
