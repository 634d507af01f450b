package xlsform_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/proto/xform/xformtest"
	"github.com/hearth-survey/hearth/proto/xlsform"
)

// TestRealFormsAgree makes XForms of real XLSForms by way of their questionnaires. In them stands XPath as people wrote it;
// the questionnaires have CEL made of it. ODK's engine and Hearth's have to agree on what it means.
func TestRealFormsAgree(t *testing.T) {
	xformtest.Engine(t)
	var all []*xformtest.Form
	for _, file := range xlsform.RealForms(t) {
		r, err := xlsform.ImportFile(file, xlsform.Options{Media: filepath.Dir(file)})
		if err != nil {
			t.Fatal(err)
		}
		q, err := questionnaire.Load(r.Files, r.Top)
		if err != nil {
			t.Fatalf("%s: %v", filepath.Base(file), err)
		}
		if strings.Contains(file, "ona_spss") && !strings.HasSuffix(file, "choice_filter.xlsx") {
			continue
		}
		all = append(all, xformtest.Write(t, q))
	}
	compared := xformtest.Agree(t, all, 1)
	t.Log(compared)
	for kind, least := range map[string]int{"relevant": 500, "required": 20, "calculate": 4} {
		if compared[kind] < least {
			t.Errorf("%s: compared %d times, want at least %d", kind, compared[kind], least)
		}
	}
}
