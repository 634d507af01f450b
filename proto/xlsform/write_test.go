package xlsform

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xuri/excelize/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/proto/xform"
)

// written is the questionnaire of an import as an XLSForm.
func written(t testing.TB, r *Result) []byte {
	t.Helper()
	files, err := protodesc.NewFiles(r.Files)
	if err != nil {
		t.Fatal(err)
	}
	top, err := files.FindDescriptorByName(protoreflect.FullName(r.Top))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	left, err := write(top.(protoreflect.MessageDescriptor), 1, &b, xform.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range left {
		t.Log(w)
	}
	return b.Bytes()
}

// TestFormsComeBack imports each real form, writes it, and reads the sheets again: every cell is there, row by row, and the
// questionnaire made of it is the same.
func TestFormsComeBack(t *testing.T) {
	for _, file := range realForms(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".xlsx"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if testing.Short() && len(data) > 30_000 {
				t.Skip("the whole run reads the large ones")
			}
			if err != nil {
				t.Fatal(err)
			}
			o := Options{Name: filepath.Base(file), Media: filepath.Dir(file)}
			first, err := Import(data, o)
			if err != nil {
				t.Fatal(err)
			}
			again := written(t, first)
			sameSheets(t, data, again)
			second, err := Import(again, o)
			if err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(first.Files, second.Files) {
				t.Errorf("the questionnaire is another one\n%s", firstDifference(first.Proto, second.Proto))
			}
		})
	}
}

func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range x {
		if i >= len(y) || x[i] != y[i] {
			return x[i] + "\n" + strings.Join(y[min(i, len(y)-1):min(i+1, len(y))], "")
		}
	}
	return "the second is longer"
}

// sameSheets compares the cells of the sheets that forms have, by the meaning of their headers.
func sameSheets(t *testing.T, a, b []byte) {
	t.Helper()
	before, err := readWorkbook(a, "before")
	if err != nil {
		t.Fatal(err)
	}
	after, err := readWorkbook(b, "after")
	if err != nil {
		t.Fatal(err)
	}
	cells := 0
	for name, names := range map[string]map[string]string{"survey": surveyColumns, "choices": choiceColumns, "settings": settingColumns, "external_choices": choiceColumns} {
		x, y := before.sheets[name], after.sheets[name]
		if x == nil || len(x.rows) == 0 {
			continue
		}
		if y == nil || len(x.rows) != len(y.rows) && name != "settings" {
			t.Errorf("sheet %s: %d rows, then %d", name, len(x.rows), len(headersRows(y)))
			if y == nil {
				continue
			}
		}
		xc, _ := columnsOf(x.headers, names)
		yc, _ := columnsOf(y.headers, names)
		wrong := 0
		for i := range min(len(x.rows), len(y.rows)) {
			was, is := recordOf(x.rows[i], xc).allCells(), recordOf(y.rows[i], yc).allCells()
			for key, text := range was {
				if cells++; is[key] != text {
					if wrong++; wrong < 8 {
						t.Errorf("sheet %s, row %d, column %s: %q, then %q", name, x.rows[i].number, key, text, is[key])
					}
				}
			}
			for key, text := range is {
				if was[key] == "" && text != "" {
					if wrong++; wrong < 8 {
						t.Errorf("sheet %s, row %d, column %s: nothing, then %q", name, x.rows[i].number, key, text)
					}
				}
			}
		}
	}
	t.Logf("%d cells", cells)
	if cells < 20 {
		t.Errorf("only %d cells were compared", cells)
	}
}

func headersRows(s *sheet) []row {
	if s == nil {
		return nil
	}
	return s.rows
}

// TestEditedRulesAreWritten edits the CEL of a form that came in: the cell has XPath of the new rule, the others what stood
// there.
func TestEditedRulesAreWritten(t *testing.T) {
	book := excelize.NewFile()
	defer book.Close()
	for sheet, rows := range map[string][][]any{
		"survey": {{"type", "name", "label::English (en)", "relevant", "constraint", "required"},
			{"integer", "age", "How old?", nil, ". < 120", "TRUE"},
			{"select one yes_no ", "works", "Works?", "${age}  >= 15", nil, nil},
			{"text", "job", "Which job?", "${works} = 'yes'", nil, nil},
			{"text", "2nd job", "Which other job?", nil, nil, nil}},
		"choices":  {{"list_name", "name", "label::English (en)", "pay"}, {"yes_no", "yes", "Yes", "1"}, {"yes_no", "no", "No", "2"}, {"unused", "x", nil, nil}},
		"settings": {{"form_title", "form_id", "style"}, {"Work", "work", "pages"}},
	} {
		if _, err := book.NewSheet(sheet); err != nil {
			t.Fatal(err)
		}
		for i, r := range rows {
			if err := book.SetSheetRow(sheet, "A"+itoa(i+1), &r); err != nil {
				t.Fatal(err)
			}
		}
	}
	var data bytes.Buffer
	if err := book.Write(&data); err != nil {
		t.Fatal(err)
	}
	r, err := Import(data.Bytes(), Options{Name: "work.xlsx"})
	if err != nil {
		t.Fatal(err)
	}
	sameSheets(t, data.Bytes(), written(t, r))

	main := r.Files.File[len(r.Files.File)-1]
	works := main.MessageType[0].Field[1]
	q := proto.CloneOf(proto.GetExtension(works.Options, formv1.E_Question).(*formv1.Question))
	if q.GetRelevant() == "" {
		t.Fatalf("%v", q)
	}
	q.Relevant = proto.String("this.age >= 16 && this.age < 70")
	proto.SetExtension(works.Options, formv1.E_Question, q)
	after, err := readWorkbook(written(t, r), "after")
	if err != nil {
		t.Fatal(err)
	}
	columns, _ := columnsOf(after.sheets["survey"].headers, surveyColumns)
	for i, want := range []string{"", "/data/age >= 16 and /data/age < 70", "${works} = 'yes'"} {
		if got := recordOf(after.sheets["survey"].rows[i], columns).cells["relevant"]; got != want {
			t.Errorf("row %d: relevant %q, want %q", i, got, want)
		}
	}
}

// TestNamesThatAreNoElements makes an XForm of a form with a name that XML does not take.
func TestNamesThatAreNoElements(t *testing.T) {
	r, _, err := importBook(&workbook{sheets: map[string]*sheet{"survey": {name: "survey", headers: []string{"type", "name", "label"}, rows: []row{
		{2, []string{"text", "2nd job", "Which?"}}, {3, []string{"note", "n", "So ${2nd job}."}},
	}}}}, Options{Name: "odd.xlsx"})
	if err != nil {
		t.Fatal(err)
	}
	q, err := questionnaire.Load(r.Files, r.Top)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := xform.Write(q, &b, xform.Options{}); err != nil {
		t.Fatal(err)
	}
	if found, err := xform.Check(&b); err != nil || len(found) > 0 {
		t.Errorf("found %v, %v", found, err)
	}
}
