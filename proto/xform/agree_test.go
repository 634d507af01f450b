package xform_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/proto/xform/xformtest"
)

// constructs is the questionnaire that has each construct.
func constructs(t testing.TB) *questionnaire.Questionnaire {
	t.Helper()
	raw, err := os.ReadFile("testdata/constructs.proto")
	if err != nil {
		t.Fatal(err)
	}
	files, err := questionnaire.CompileProto(map[string]string{"constructs.proto": string(raw)}, "constructs.proto")
	if err != nil {
		t.Fatal(err)
	}
	q, err := questionnaire.Load(files, "")
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// TestConstructsAgree fills the form that has each construct with random answers: the engine of ODK Web Forms has to say
// the same as the questionnaire, of every question and row.
func TestConstructsAgree(t *testing.T) {
	xformtest.Engine(t)
	f := xformtest.Write(t, constructs(t))
	if len(f.Left) != 0 {
		t.Errorf("left out: %v", f.Left)
	}
	enough(t, xformtest.Agree(t, []*xformtest.Form{f}, 14), map[string]int{"relevant": 500, "required": 10, "constraint": 50, "calculate": 250, "note": 50, "filter": 2})
	offered := xformtest.Judge(t, []xformtest.Job{{Form: f.File, Cases: []any{map[string]any{"prov": "gz"}, map[string]any{"prov": "sh"}, map[string]any{}}}})[0]
	for i, want := range []string{"[huaxi nanming]", "[pudong]", "[]"} {
		if got := fmt.Sprint(offered[i]["/data/county"].Offered); got != want {
			t.Errorf("counties of case %d: %s, want %s", i, got, want)
		}
	}
}

// TestBuiltinAgree does the same with the questionnaires that ship with Hearth.
func TestBuiltinAgree(t *testing.T) {
	xformtest.Engine(t)
	set, err := questionnaire.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	var all []*xformtest.Form
	for _, q := range set.All() {
		all = append(all, xformtest.Write(t, q))
	}
	enough(t, xformtest.Agree(t, all, 1), map[string]int{"relevant": 600, "required": 30, "constraint": 40, "calculate": 3, "note": 40})
}

// enough fails where a kind of rule was hardly compared: a comparison that compares nothing agrees too.
func enough(t *testing.T, compared, least map[string]int) {
	t.Helper()
	t.Log(compared)
	for kind, n := range least {
		if compared[kind] < n {
			t.Errorf("%s: compared %d times, want at least %d", kind, compared[kind], n)
		}
	}
}
