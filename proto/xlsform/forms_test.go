package xlsform

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/hearth-survey/hearth/proto/questionnaire"
)

// realForms are the forms of the shared data.
func realForms(t testing.TB) []string {
	t.Helper()
	dir := os.Getenv("HEARTH_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared")
	}
	dir = filepath.Join(dir, "data")
	var forms []string
	for _, pattern := range []string{"xlsform/*.xlsx", "xlsform/*/*.xlsx"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		forms = append(forms, found...)
	}
	if len(forms) == 0 {
		if os.Getenv("HEARTH_CI") != "" {
			t.Fatal("../shared/data/xlsform is not here")
		}
		t.Skip("skipped: ../shared/data is not here")
	}
	if len(forms) < 12 {
		t.Fatalf("found only %d forms: the walk is broken", len(forms))
	}
	return forms
}

// Every real form becomes a questionnaire that Hearth takes, with nearly all of its expressions.
func TestRealForms(t *testing.T) {
	for _, path := range realForms(t) {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".xlsx"), func(t *testing.T) {
			r, err := ImportFile(path, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if testing.Verbose() {
				t.Log(r.Report.Text())
				if out := os.Getenv("HEARTH_FORMS_OUT"); out != "" {
					os.WriteFile(filepath.Join(out, filepath.Base(path)+".proto"), []byte(r.Proto), 0o644)
					os.WriteFile(filepath.Join(out, filepath.Base(path)+".report"), []byte(r.Report.Text()), 0o644)
				}
			}
			for column, least := range map[string]int{"relevant": 99, "constraint": 99, "choice_filter": 100, "repeat_count": 100, "calculation": 90} {
				c := r.Report.Expressions[column]
				here := c.Total
				if column == "calculation" || column == "choice_filter" { // of lists and data in files that are not in the folder
					here -= c.External
				}
				if c.Translated*100 < here*least {
					t.Errorf("%s: %d of %d translated, want %d %%", column, c.Translated, here, least)
				}
			}
			files, err := questionnaire.CompileProto(map[string]string{r.ProtoName: r.Proto}, r.ProtoName)
			if err != nil {
				t.Fatalf("the text does not compile: %v", err)
			}
			files.File[len(files.File)-1].SourceCodeInfo = nil
			if !proto.Equal(files.File[len(files.File)-1], r.Files.File[len(r.Files.File)-1]) {
				t.Error("the text compiles to other descriptors")
			}
			if _, err := questionnaire.Load(r.Files, r.Top); err != nil {
				t.Errorf("Hearth does not take the questionnaire: %v", err)
			}
		})
	}
}

// An import of 700 rows takes less than a second: run with the largest real form.
func BenchmarkImport(b *testing.B) {
	largest, size := []byte(nil), 0
	for _, path := range realForms(b) {
		data, err := os.ReadFile(path)
		if err != nil {
			b.Fatal(err)
		}
		if len(data) > size {
			largest, size = data, len(data)
		}
	}
	for b.Loop() {
		if _, err := Import(largest, Options{Name: "largest.xlsx"}); err != nil {
			b.Fatal(err)
		}
	}
}
