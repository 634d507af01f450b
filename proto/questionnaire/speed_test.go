package questionnaire

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"
)

// processor is the time that this process has had of the processors. Where others use them too, it says more than the
// clock does.
func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// measured runs a benchmark and reports the processor's time beside the clock's.
func measured(b *testing.B, do func(i int)) {
	b.ReportAllocs()
	start, n := processor(), 0
	for b.Loop() {
		do(n)
		n++
	}
	b.ReportMetric(float64(processor()-start)/float64(n), "cpu-ns/op")
}

// largeForm has a number of questions in groups of twenty, a third of them with a relevance, a quarter with a check, and
// every tenth calculated; and a roster with fifteen questions.
func largeForm(questions int) string {
	var b, more strings.Builder
	for g := range questions / 20 {
		fmt.Fprintf(&b, "  G%d g%d = %d [QUESTION.label.en = \"group %d\"];\n", g, g, g+1000, g)
		fmt.Fprintf(&more, "message G%d { MODULE = {title: {en: \"G%d\"}};\n", g, g)
		for i := range 20 {
			o := fmt.Sprintf("label: {en: \"question %d of group %d\" zh: \"第%d题\"}", i, g, i)
			if i > 0 && i%3 == 0 {
				o += fmt.Sprintf(" relevant: \"this.q%d > %d\"", i-1, i)
			}
			if i > 0 && i%4 == 0 {
				o += fmt.Sprintf(" checks: [{id: \"c\" severity: SEVERITY_SOFT message: {en: \"m\"} expression: \"!has(this.q%d) || value <= this.q%d + 100\"}]", i-1, i-1)
			}
			if i == 19 {
				o += " calculate: \"this.q1 + this.q2\""
			} else if i%2 == 0 {
				o += " required: true"
			}
			fmt.Fprintf(&more, "  int64 q%d = %d [QUESTION = {%s}];\n", i, i+1, o)
		}
		more.WriteString("  MISSING_MAP;\n}\n")
	}
	fmt.Fprintf(&b, "  repeated Person people = 900 [QUESTION.label.en = \"people\"];\n  int64 adults = 901 [QUESTION = {label: {en: \"adults\"} calculate: \"size(this.people.filter(p, has(p.age) && p.age >= 18))\"}];\n")
	more.WriteString("message Person { MODULE = {title: {en: \"P\"}};\n  string name = 1 [QUESTION.label.en = \"name\"];\n  int32 age = 2 [QUESTION = {label: {en: \"age\"} required: true}];\n")
	for i := range 13 {
		fmt.Fprintf(&more, "  int32 p%d = %d [QUESTION = {label: {en: \"p%d\"} relevant: \"this.age >= %d\" checks: [{id: \"c\" severity: SEVERITY_SOFT message: {en: \"m\"} expression: \"root.people.exists(o, has(o.age) && o.age >= this.age)\"}]}];\n", i, i+3, i, i)
	}
	more.WriteString("  MISSING_MAP;\n}\n")
	return formProto(b.String(), strings.NewReplacer("QUESTION", "(hearth.form.v1.question)", "MODULE", "option (hearth.form.v1.module)",
		"MISSING_MAP;", `map<uint32, hearth.form.v1.Missing> missing = 100 [(hearth.form.v1.question) = {label: {en: "reasons"} system: true}];`).Replace(more.String()))
}

// largeAnswers answers all of a large form, with people.
func largeAnswers(tb testing.TB, q *Questionnaire, people int) *dynamicpb.Message {
	tb.Helper()
	m := dynamicpb.NewMessage(q.Descriptor())
	for _, x := range q.top.Questions {
		switch {
		case x.Module != nil && !x.List:
			for _, y := range x.Module.Questions {
				m.Mutable(x.Field).Message().Set(y.Field, wholeFor(y.Field, int64(y.index+20)))
			}
		case x.List:
			for i := range people {
				row := m.Mutable(x.Field).List().AppendMutable().Message()
				for _, y := range x.Module.Questions[1:] {
					row.Set(y.Field, wholeFor(y.Field, int64(i*3)))
				}
			}
		}
	}
	return m
}

// A household of four, 346 answers, as the server evaluates it: only flags.
func BenchmarkEvaluate(b *testing.B) {
	s, iv := builtin(b), household(b)
	measured(b, func(int) { s.Evaluate(iv) })
	b.ReportMetric(float64(answers(iv.ProtoReflect())), "answers")
}

// The same household with all that an evaluation can say.
func BenchmarkEvaluateGenerated(b *testing.B) {
	q, _ := builtin(b).Find("household")
	h := household(b).GetHousehold()
	measured(b, func(int) { q.Evaluate(h, Options{Completed: true}) })
	b.ReportMetric(float64(answers(h.ProtoReflect())), "answers")
}

// 100 questions of a questionnaire that was loaded at run time.
func BenchmarkEvaluateLoaded(b *testing.B) {
	q := loaded(b, largeForm(100))
	m := largeAnswers(b, q, 0)
	measured(b, func(int) { q.Evaluate(m, Options{Completed: true}) })
	b.ReportMetric(float64(answers(m)), "answers")
}

// One answer in a form of 300 questions with 20 people.
func BenchmarkSessionSet(b *testing.B) {
	q := loaded(b, largeForm(300))
	s := session(b, q, largeAnswers(b, q, 20), Options{})
	measured(b, func(i int) {
		if _, err := s.Set("people[7].age", int64(i%90)); err != nil {
			b.Fatal(err)
		}
	})
}

func BenchmarkLoad(b *testing.B) {
	set, err := CompileProto(map[string]string{"form/test.proto": largeForm(3000)}, "form/test.proto")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(proto.Size(set)), "bytes")
	measured(b, func(int) {
		if _, err := Load(set, ""); err != nil {
			b.Fatal(err)
		}
	})
}
