package xform

import (
	"fmt"
	"os"
	"testing"

	"github.com/hearth-survey/hearth/proto/questionnaire"
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
	engineFolder(t)
	w := write(t, constructs(t), Options{})
	if len(w.warnings) != 0 {
		t.Errorf("left out: %v", w.warnings)
	}
	compared := agree(t, []*written{w}, 30)
	for kind, least := range map[string]int{"relevant": 1000, "required": 20, "constraint": 100, "calculate": 500, "note": 100, "filter": 3} {
		if compared[kind] < least {
			t.Errorf("%s: compared %d times, want at least %d", kind, compared[kind], least)
		}
	}
	offered := judge(t, []job{{Form: w.file, Cases: []any{map[string]any{"prov": "gz"}, map[string]any{"prov": "sh"}, map[string]any{}}}})[0]
	for i, want := range []string{"[huaxi nanming]", "[pudong]", "[]"} {
		if got := fmt.Sprint(offered[i]["/data/county"].Offered); got != want {
			t.Errorf("counties of case %d: %s, want %s", i, got, want)
		}
	}
}
