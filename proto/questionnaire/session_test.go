package questionnaire

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/hearth-survey/hearth/proto/fault"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// said is an evaluation as lines.
func said(e *Evaluation) []string {
	var all []string
	for _, f := range e.Flags {
		all = append(all, fmt.Sprintf("%s %s %s", f.GetPath(), f.GetRule(), f.GetSeverity()))
	}
	for _, path := range e.NotAsked {
		all = append(all, path+" not asked")
	}
	for _, x := range e.Missing {
		all = append(all, fmt.Sprintf("%s missing %v", x.Path, x.Reason))
	}
	for _, x := range e.Calculated {
		all = append(all, fmt.Sprintf("%s = %v", x.Path, x.Value))
	}
	return all
}

// spots are the paths of all questions of a message that is set, and of groups that are not.
func spots(m *Module, at protoreflect.Message, path string) (questions, rosters []string) {
	for _, q := range m.Questions {
		here := path + q.name
		switch {
		case q.Module == nil:
			questions = append(questions, here)
		case q.List:
			rosters = append(rosters, here)
			for i := range at.Get(q.Field).List().Len() {
				a, b := spots(q.Module, at.Get(q.Field).List().Get(i).Message(), fmt.Sprintf("%s[%d].", here, i))
				questions, rosters = append(questions, a...), append(rosters, b...)
			}
		default:
			a, b := spots(q.Module, at.Get(q.Field).Message(), here+".")
			questions, rosters = append(append(questions, here), a...), append(rosters, b...)
		}
	}
	return questions, rosters
}

// anyValue is a value at random as Set takes it.
func anyValue(r *rand.Rand, q *Question) any {
	if q.Module != nil {
		m := dynamicpb.NewMessage(q.Module.Desc)
		randomAnswers(r, m, 5)
		return proto.Message(m)
	}
	v := randomScalar(r, q.Field).Interface()
	if e, ok := v.(protoreflect.EnumNumber); ok {
		v = int64(e)
	}
	if q.List {
		return []any{v}
	}
	return v
}

// change changes a session at random, and says how.
func change(t *testing.T, r *rand.Rand, s *Session) string {
	t.Helper()
	questions, rosters := spots(s.q.top, s.message.ProtoReflect(), "")
	path := questions[r.IntN(len(questions))]
	var err error
	what := "clear " + path
	switch r.IntN(10) {
	case 0:
		_, err = s.Clear(path)
	case 1, 2:
		path = rosters[r.IntN(len(rosters))]
		what = "add a row to " + path
		_, err = s.AddRow(path)
	case 3:
		path = rosters[r.IntN(len(rosters))]
		at, _ := s.find(path)
		n := at.n.reflected().Get(at.question().Field).List().Len()
		if n == 0 {
			return "nothing"
		}
		row := r.IntN(n)
		what = fmt.Sprintf("remove row %d of %s", row, path)
		_, err = s.RemoveRow(path, row)
	case 4:
		what = "a reason for " + path
		if at, _ := s.find(path); at.n.module.missing != nil {
			_, err = s.SetMissing(path, formv1.Missing(r.IntN(5)))
		}
	default:
		at, findErr := s.find(path)
		if findErr != nil {
			t.Fatal(findErr)
		}
		if at.question().Module != nil && r.IntN(3) > 0 {
			return "nothing"
		}
		v := anyValue(r, at.question())
		what = fmt.Sprintf("%s := %v", path, v)
		_, err = s.Set(path, v)
	}
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	return what
}

// Whatever is answered, cleared, added and removed: a session says what a fresh evaluation says.
func TestSessionsAreWhatEvaluateSays(t *testing.T) {
	changes := 60
	if testing.Short() {
		changes = 25
	}
	for _, made := range madeAtRandom(t) {
		q, err := Load(made.set, "")
		if err != nil {
			t.Fatal(err)
		}
		for seed := range uint64(4) {
			r := rand.New(rand.NewPCG(seed, 7))
			o := Options{Completed: seed%2 == 0, Version: uint32(seed)}
			if seed > 1 {
				o.Now = time.Date(2016, 7, 21, 18, 5, 0, 0, time.UTC)
			}
			s := session(t, q, q.New(), o)
			var told []string
			for range changes {
				told = append(told, change(t, r, s))
				if diff := cmp.Diff(said(q.Evaluate(proto.Clone(s.Message()), o)), said(s.Evaluation())); diff != "" {
					t.Fatalf("%s, seed %d, after\n%s\nthe session differs (-fresh +session):\n%s\nof\n%s",
						made.name, seed, strings.Join(told, "\n"), diff, prototext.Format(s.Message()))
				}
			}
		}
	}
}

// A change gives the states of what it had a bearing on, and of nothing else.
func TestSessionTellsWhatChanged(t *testing.T) {
	q := loaded(t, formProto(`
  YesNo works = 1 [QUESTION = {label: {en: "Works"} required: true}];
  int32 hours = 2 [QUESTION = {label: {en: "Hours"} relevant: "this.works == 1" checks: [{id: "week" severity: SEVERITY_HARD message: {en: "m"} expression: "value <= 168"}]}];
  int32 other = 3 [QUESTION.label.en = "Other"];
  repeated R rows = 4 [QUESTION = {label: {en: "Rows"} count: "this.other"}];
  int64 total = 5 [QUESTION = {label: {en: "Total"} calculate: "sum(this.rows.map(r, has(r.n), r.n))"}];
  int32 town = 6 [QUESTION = {label: {en: "Town"} choices: "towns" filter: "choice.county == text(this.other)"}];
  string born = 7 [QUESTION = {label: {en: "Born"} initial: "today()"}];`,
		`message R { MODULE = {title: {en: "R"}}; int64 n = 1 [QUESTION.label.en = "n"]; int64 at = 2 [QUESTION = {label: {en: "at"} calculate: "position"}]; }
option (hearth.form.v1.table) = {name: "towns" rows: [{number: 1 choice: {columns: [{key: "county" value: "1"}]}}, {number: 2 choice: {columns: [{key: "county" value: "2"}]}}]};`))
	s := session(t, q, q.New(), Options{Completed: true, Now: time.Date(2016, 7, 21, 0, 0, 0, 0, time.UTC)})
	changed := func(states []State, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, x := range states {
			all = append(all, fmt.Sprintf("%s asked %v value %v flags %d", x.Path, x.Asked, x.Value, len(x.Flags)))
		}
		return strings.Join(all, "; ")
	}
	for _, step := range []struct {
		what string
		do   func() ([]State, error)
		want string
	}{
		{"works", func() ([]State, error) { return s.Set("works", 1) }, "works asked true value 1 flags 0; hours asked true value <nil> flags 0"},
		{"too many hours", func() ([]State, error) { return s.Set("hours", 200) }, "hours asked true value 200 flags 1"},
		{"fewer", func() ([]State, error) { return s.Set("hours", 20) }, "hours asked true value 20 flags 0"},
		{"a row", func() ([]State, error) { return s.AddRow("rows") },
			"rows asked true value <nil> flags 0; rows[0].n asked true value <nil> flags 0; rows[0].at asked true value 1 flags 0"},
		{"a number in it", func() ([]State, error) { return s.Set("rows[0].n", int64(4)) }, "rows[0].n asked true value 4 flags 0; total asked true value 4 flags 0"},
		{"how many rows", func() ([]State, error) { return s.Set("other", 2) }, "other asked true value 2 flags 0; rows asked true value <nil> flags 1"},
		{"no answer", func() ([]State, error) { return s.SetMissing("works", formv1.Missing_MISSING_REFUSED) }, "works asked true value 1 flags 1"},
		{"works no more", func() ([]State, error) { return s.Clear("works") }, "works asked true value <nil> flags 0; hours asked false value <nil> flags 1"},
		{"no row", func() ([]State, error) { return s.RemoveRow("rows", 0) }, "rows asked true value <nil> flags 1; total asked true value 0 flags 0"},
	} {
		if got := changed(step.do()); got != step.want {
			t.Errorf("%s: changed\n%s, want\n%s", step.what, got, step.want)
		}
	}
	if n, ok, err := s.Rows("rows"); n != 2 || !ok || err != nil {
		t.Errorf("rows wanted: %d %v %v", n, ok, err)
	}
	if offered, err := s.Offered("town"); err != nil || len(offered) != 1 || offered[0].Number != 2 {
		t.Errorf("towns offered: %v %v", offered, err)
	}
	if x, ok, err := s.Initial("born"); x != "2016-07-21" || !ok || err != nil {
		t.Errorf("initial value: %v %v %v", x, ok, err)
	}
	if err := s.Store(); err != nil || len(s.Evaluation().Calculated) != 1 {
		t.Errorf("stored: %v", err)
	}
	if got := s.Message().ProtoReflect().Get(s.q.top.Desc.Fields().ByName("total")).Int(); got != 0 || !s.Message().ProtoReflect().Has(s.q.top.Desc.Fields().ByName("total")) {
		t.Errorf("total is stored as %d", got)
	}
}

func TestSessionRefusesWhatDoesNotFit(t *testing.T) {
	q := loaded(t, formProto(`int32 a = 1 [QUESTION.label.en = "a"]; repeated YesNo many = 2 [QUESTION.label.en = "m"];
  repeated R rows = 3 [QUESTION.label.en = "r"]; hearth.survey.v1.GeoPoint home = 4 [QUESTION.label.en = "h"];`,
		`message R { MODULE = {title: {en: "R"}}; int64 n = 1 [QUESTION.label.en = "n"]; }`))
	s := session(t, q, q.New(), Options{})
	for path, value := range map[string]any{
		"": 1, "b": 1, "a.b": 1, "a[0]": 1, "a": "x", "many": 3, "rows": 1, "rows[0].n": 1, "rows.n": 1, "rows[x].n": 1, "missing": 1, "home": &surveyv1.Place{},
		"home.latitude": "north",
	} {
		if _, err := s.Set(path, value); err == nil {
			t.Errorf("%q := %v is taken", path, value)
		}
	}
	if _, err := s.Set("a", int64(1)<<40); err == nil {
		t.Error("a number that is too large is taken")
	}
	if _, err := s.RemoveRow("rows", 0); err == nil {
		t.Error("a row that is not there is removed")
	}
	// A message of generated Go is as good as one of protobuf's reflection.
	if _, err := s.Set("home", &surveyv1.GeoPoint{Latitude: proto.Float64(91)}); err != nil {
		t.Error(err)
	}
	if flags := s.Evaluation().Flags; len(flags) != 1 || flags[0].GetPath() != "home.latitude" {
		t.Errorf("flags %v, want one of the latitude", flags)
	}
}

// session begins one that must begin.
func session(tb interface {
	Helper()
	Fatal(...any)
}, q *Questionnaire, m proto.Message, o Options) *Session {
	tb.Helper()
	s, err := q.NewSession(m, o)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// Answers to another questionnaire begin no session, whatever they are.
func TestSessionOfOtherAnswers(t *testing.T) {
	all := builtin(t).All()
	if s, err := all[0].NewSession(all[1].New(), Options{}); s != nil || fault.ReasonOf(err) != fault.UnknownQuestionnaire {
		t.Errorf("NewSession = %v, %v; want %v", s, err, fault.UnknownQuestionnaire)
	}
}
