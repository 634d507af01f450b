package xlsform_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/proto/xform"
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
		// Those of one folder are variants of one form without a rule; one of them will do.
		if strings.Contains(file, "ona_spss") && !strings.HasSuffix(file, "choice_filter.xlsx") {
			continue
		}
		all = append(all, xformtest.Write(t, q))
	}
	compared := xformtest.Agree(t, all, 2)
	t.Log(compared)
	for kind, least := range map[string]int{"relevant": 500, "required": 20, "calculate": 6, "constraint": 3} {
		if compared[kind] < least {
			t.Errorf("%s: compared %d times, want at least %d", kind, compared[kind], least)
		}
	}
}

// TestBuiltinComeBack writes the questionnaires that ship with Hearth as XLSForms and imports those: their CEL became XPath
// and the XPath CEL again, which has to mean the same on random answers.
func TestBuiltinComeBack(t *testing.T) {
	set, err := questionnaire.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	if testing.Short() {
		t.Skip("the whole run does this with thousands of comparisons")
	}
	compared := map[string]int{}
	for _, q := range set.All() {
		f := xformtest.Write(t, q)
		var b bytes.Buffer
		if _, err := xlsform.Write(q, &b, xform.Options{}); err != nil {
			t.Fatal(err)
		}
		r, err := xlsform.Import(b.Bytes(), xlsform.Options{Name: string(q.Descriptor().Name()) + ".xlsx"})
		if err != nil {
			t.Fatal(err)
		}
		if n := r.Report.Errors(); n > 0 {
			t.Errorf("%s: %d wrong expressions\n%s", q.Name(), n, r.Report.Text())
		}
		again, err := questionnaire.Load(r.Files, r.Top)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range f.Random(6, 5) {
			states, err := xformtest.Other(again, xformtest.Filled(f.Root, m.ProtoReflect()))
			if err != nil {
				t.Fatal(err)
			}
			f.Compare(t, m, states, compared)
		}
	}
	t.Log(compared)
	for kind, least := range map[string]int{"relevant": 3000, "required": 120, "constraint": 200, "note": 150, "calculate": 12} {
		if compared[kind] < least {
			t.Errorf("%s: compared %d times, want at least %d", kind, compared[kind], least)
		}
	}
}
