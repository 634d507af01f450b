package tablet_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/syncer/tablet"
)

// A tablet that nobody could name at headquarters, or of a study that can have no definition, is not made.
func TestCreateRefusesWhatHeadquartersCannotName(t *testing.T) {
	tests := map[string]tablet.CreateOptions{
		"no study":              {Name: "t", Enumerator: "E1"},
		"study in Chinese":      {Name: "t", Enumerator: "E1", Study: "贵阳"},
		"study in upper case":   {Name: "t", Enumerator: "E1", Study: "GY"},
		"study of 64 letters":   {Name: "t", Enumerator: "E1", Study: strings.Repeat("a", 64)},
		"no name":               {Enumerator: "E1", Study: "guiyang-2016"},
		"nobody who carries it": {Name: "t", Study: "guiyang-2016"},
	}
	for name, opts := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "t.sqlite")
			if _, err := tablet.Create(context.Background(), path, opts); fault.ReasonOf(err) != fault.BadRequest {
				t.Errorf("create: %v, want %s", err, fault.BadRequest)
			}
			if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a file is left behind: %v", err)
			}
		})
	}
}

// A line that is wrong is told by its column, and a word that is none of the answer's by those that are.
func TestLoadSaysWhichWords(t *testing.T) {
	const good = `{"interview_id":"3f2f0f7e-8f0b-4b8e-9d52-0d8f6a1c8801",`
	s := create(t, "words")
	report, err := s.Load(context.Background(), strings.NewReader(good+`"status":"DONE"}`+"\n"+good+`"colour":1}`+"\n"), nil)
	if err != nil || len(report.Problems) != 2 {
		t.Fatalf("loaded %+v, %v, want two problems", report, err)
	}
	for i, want := range [][]string{{"column 65", "status", "INTERVIEW_STATUS_COMPLETED"}, {"column 56", "colour"}} {
		for _, w := range want {
			if got := report.Problems[i].Message; !strings.Contains(got, w) || strings.Contains(got, "line 1") {
				t.Errorf("problem %d is %q, want %q in it and no line 1", i+1, got, w)
			}
		}
	}
}

// A file that cannot be read on is not a wrong line; what came before is loaded.
func TestLoadFromAFileThatBreaks(t *testing.T) {
	s := create(t, "breaks")
	in := io.MultiReader(strings.NewReader(`{"interview_id":"3f2f0f7e-8f0b-4b8e-9d52-0d8f6a1c8801"}`+"\n"), iotest.ErrReader(errors.New("is a directory")))
	report, err := s.Load(context.Background(), in, nil)
	if fault.ReasonOf(err) != fault.BadRequest || report.Added != 1 || !strings.Contains(err.Error(), "after line 1") {
		t.Errorf("loaded %+v, %v, want one interview and %s after line 1", report, err, fault.BadRequest)
	}
}
