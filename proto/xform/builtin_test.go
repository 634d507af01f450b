package xform

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/hearth-survey/hearth/proto/questionnaire"
)

// TestBuiltinAgree fills the forms of the questionnaires that ship with Hearth with random answers; the engine of ODK
// Web Forms has to say the same as the questionnaires.
func TestBuiltinAgree(t *testing.T) {
	engineFolder(t)
	set, err := questionnaire.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	var all []*written
	for _, q := range set.All() {
		all = append(all, write(t, q, Options{}))
	}
	compared := agree(t, all, 2)
	for kind, least := range map[string]int{"relevant": 1000, "required": 50, "constraint": 100, "calculate": 5, "note": 100} {
		if compared[kind] < least {
			t.Errorf("%s: compared %d times, want at least %d", kind, compared[kind], least)
		}
	}
}

// agree compares each form on n random interviews, and fails if a kind of rule was never compared.
func agree(t *testing.T, all []*written, n int) map[string]int {
	t.Helper()
	var jobs []job
	var interviews [][]proto.Message
	for i, w := range all {
		j := job{Form: w.file}
		list := random(w, n, uint64(i+1))
		for _, m := range list {
			j.Cases = append(j.Cases, filled(w.f.tree.root, m.ProtoReflect()))
		}
		jobs, interviews = append(jobs, j), append(interviews, list)
	}
	compared := map[string]int{}
	for i, cases := range judge(t, jobs) {
		differ := 0
		for k, engine := range cases {
			if differ += all[i].compare(t, interviews[i][k], engine, compared); differ > 40 {
				t.Fatalf("%s: and more", all[i].q.Name())
			}
		}
	}
	t.Log(compared)
	return compared
}
