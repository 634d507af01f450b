package study

import (
	"maps"
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
		dir = filepath.Join("..", "..", "shared")
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

// notReached are the questions that no answers lead to, by form; the reason is the form's.
var notReached = map[string]map[string]string{
	"ipa_household_survey": {"s_int_accom_osp": "asks for a choice that its list does not have"},
}

// TestFillForms fills every real form: nothing contradicts, every question is reached, but for those whose condition the
// form itself makes impossible.
func TestFillForms(t *testing.T) {
	for _, path := range realForms(t) {
		name := strings.TrimSuffix(filepath.Base(path), ".xlsx")
		t.Run(name, func(t *testing.T) {
			if info, err := os.Stat(path); testing.Short() && (err != nil || info.Size() > 50_000) {
				t.Skip("skipped: large forms are filled in whole runs")
			}
			r, err := xlsform.ImportFile(path, xlsform.Options{})
			if err != nil {
				t.Fatal(err)
			}
			q, err := questionnaire.Load(r.Files, r.Top)
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			got, all := fillAll(t, q, 25, 1)
			t.Logf("%d of %d reached, %d soft, %v", got.Reached, got.Questions, got.Soft, time.Since(start))
			checkFilled(t, q, all)
			open := maps.Clone(notReached[name])
			for _, u := range got.Unreached {
				if _, known := open[u.Path]; !known {
					t.Errorf("not reached: %s: %s", u.Path, u.Why)
				}
				delete(open, u.Path)
			}
			for path := range open {
				t.Errorf("%s is reached now: take it off the list", path)
			}
		})
	}
}
