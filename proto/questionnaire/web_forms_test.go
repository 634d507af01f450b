package questionnaire_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/proto/xlsform"
)

// TestTypeScriptAgreesOnForms imports household surveys that were made for other programs, and evaluates random answers to
// them in Go and in node.
func TestTypeScriptAgreesOnForms(t *testing.T) {
	if os.Getenv("HEARTH_WEB") == "" {
		t.Skip("make web runs this with HEARTH_WEB=1, after it has compiled clients/web")
	}
	root := os.Getenv("HEARTH_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared")
	}
	root = filepath.Join(root, "data")
	all := map[string]*questionnaire.Questionnaire{}
	err := filepath.WalkDir(filepath.Join(root, "xlsform"), func(path string, d os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".xlsx") {
			return err
		}
		form, err := xlsform.ImportFile(path, xlsform.Options{})
		if err != nil {
			return nil // the importer's own tests say which are refused, and why
		}
		all[filepath.Base(path)], err = questionnaire.Load(form.Files, form.Top)
		return err
	})
	if os.IsNotExist(err) {
		if os.Getenv("HEARTH_CI") != "" {
			t.Fatal("../shared/data/xlsform is not here")
		}
		t.Skip("skipped: ../shared/data is not here")
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 3 {
		t.Fatalf("only %d forms were imported", len(all))
	}
	questionnaire.CompareWithTypeScript(t, all, 8)
}
