package xform

import (
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
	compared := agree(t, []*written{w}, 40)
	for _, kind := range []string{"relevant", "required", "constraint", "calculate", "note", "filter"} {
		if compared[kind] < 40 {
			t.Errorf("%s: compared %d times", kind, compared[kind])
		}
	}
}
