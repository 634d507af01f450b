package study

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/proto/xlsform"
)

// realForms are the XLSForms of the shared data.
func realForms(t testing.TB) []string {
	t.Helper()
	dir := os.Getenv("HEARTH_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "data")
	}
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

func TestFillForms(t *testing.T) {
	for _, path := range realForms(t) {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".xlsx"), func(t *testing.T) {
			r, err := xlsform.ImportFile(path, xlsform.Options{})
			if err != nil {
				t.Fatal(err)
			}
			q, err := questionnaire.Load(r.Files, r.Top)
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			got, all := fillAll(t, q, 20, 1)
			t.Logf("%s: %d of %d reached, %d soft, %d hard, %v", q.Name(), got.Reached, got.Questions, got.Soft, got.Hard, time.Since(start))
			checkFilled(t, q, all)
			for _, u := range got.Unreached {
				t.Logf("not reached: %s: %s", u.Path, u.Why)
			}
			t.Log(got.Flags)
		})
	}
}
