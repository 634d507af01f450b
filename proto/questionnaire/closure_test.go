package questionnaire

import (
	"testing"
)

// Most expressions run as closures; those that do not are few and cheap to name.
func TestFew(t *testing.T) {
	s, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[*module]bool{}
	fast, slow := 0, 0
	var visit func(m *module)
	visit = func(m *module) {
		if seen[m] {
			return
		}
		seen[m] = true
		for _, q := range m.questions {
			ps := []*predicate{q.relevant}
			for _, c := range q.checks {
				ps = append(ps, c.holds)
			}
			for _, p := range ps {
				if p == nil {
					continue
				}
				if p.fast != nil {
					fast++
				} else {
					slow++
					t.Logf("%s %s", q.rule, p.source)
				}
			}
			if q.module != nil {
				visit(q.module)
			}
		}
	}
	visit(s.interview)
	t.Log(fast, slow)
}
