package xlsform

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/xuri/excelize/v2"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/proto/questionnaire"
)

// packed is a zip with the files given and those that every workbook needs; sheet1 is the sheet survey.
func packed(t testing.TB, files map[string]func(io.Writer)) []byte {
	t.Helper()
	text := func(s string) func(io.Writer) { return func(w io.Writer) { io.WriteString(w, s) } }
	all := map[string]func(io.Writer){
		"[Content_Types].xml":        text(`<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/><Override PartName="/xl/worksheets/sheet1.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/></Types>`),
		"_rels/.rels":                text(`<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>`),
		"xl/workbook.xml":            text(`<?xml version="1.0"?><workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet name="survey" sheetId="1" r:id="rId1"/></sheets></workbook>`),
		"xl/_rels/workbook.xml.rels": text(`<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/></Relationships>`),
	}
	for name, f := range files {
		all[name] = f
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, f := range all {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		f(w)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func cells(row int, texts ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<row r="%d">`, row)
	for i, s := range texts {
		fmt.Fprintf(&b, `<c r="%s" t="inlineStr"><is><t>%s</t></is></c>`, cellName(i, row), s)
	}
	b.WriteString("</row>")
	return b.String()
}

const sheetHead = `<?xml version="1.0"?><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>`

// Files that are no forms are refused by a reason, with what to do.
func TestRefused(t *testing.T) {
	tests := []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "is empty"},
		{"xls", []byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 and so on"), "save it as .xlsx"},
		{"csv", []byte("type,name,label\n"), "no .xlsx"},
		{"cut", workbookOf(t, "| survey |\n| | type | name |\n| | text | a |")[:900], "cannot be read"},
		{"no survey", workbookOf(t, "| choices |\n| | list_name | name |"), "no sheet named survey; it has choices"},
		{"no headers", workbookOf(t, "| survey |\n| | kind | what |\n| | text | a |"), "has no column type"},
		{"no questions", workbookOf(t, "| survey |\n| | type | name |"), "has no question"},
		{"bomb", packed(t, map[string]func(io.Writer){"xl/worksheets/sheet1.xml": func(w io.Writer) {
			io.WriteString(w, sheetHead+cells(1, "type", "name"))
			zeros := bytes.Repeat([]byte(" "), 1<<20)
			for range 260 {
				w.Write(zeros)
			}
		}}), "unpacks to more than"},
		{"columns", packed(t, map[string]func(io.Writer){"xl/worksheets/sheet1.xml": func(w io.Writer) {
			io.WriteString(w, sheetHead+cells(1, strings.Split(strings.Repeat("c,", 800), ",")...)+"</sheetData></worksheet>")
		}}), "a form has at most 512"},
		{"deep", workbookOf(t, "| survey |\n| | type | name |\n"+strings.Repeat("| | begin group | g |\n", 40)), "nested more than"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			began := time.Now()
			_, err := Import(test.data, Options{Name: "form.xlsx"})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("the error is %v, want %q in it", err, test.want)
			}
			if fault.ReasonOf(err) != fault.BadForm {
				t.Errorf("the reason is %s", fault.ReasonOf(err))
			}
			if d := time.Since(began); d > 20*time.Second {
				t.Errorf("it took %v to refuse it", d)
			}
		})
	}
}

// A million rows that are empty but for their format, as spreadsheet programs leave behind, end a sheet.
func TestEmptyRows(t *testing.T) {
	data := packed(t, map[string]func(io.Writer){"xl/worksheets/sheet1.xml": func(w io.Writer) {
		io.WriteString(w, sheetHead+cells(1, "type", "name")+cells(2, "text", "a"))
		for i := 3; i < 1_000_000; i++ {
			fmt.Fprintf(w, `<row r="%d" s="1"/>`, i)
		}
		io.WriteString(w, cells(1_000_001, "text", "b")+"</sheetData></worksheet>")
	}})
	began := time.Now()
	r, err := Import(data, Options{Name: "form.xlsx"})
	if err != nil {
		t.Fatal(err)
	}
	if r.Report.Questions != 1 || !strings.Contains(r.Report.Text(), "empty rows are not read on after row") {
		t.Errorf("the report is\n%s", r.Report.Text())
	}
	if d := time.Since(began); d > 30*time.Second {
		t.Errorf("it took %v", d)
	}
}

// What is odd is told with its row and does not keep the form from being read; what is wrong is listed as an error.
func TestOddities(t *testing.T) {
	r, f := imported(t, `
| survey |
| | type | name | label | relevant | constraint | required | default | calculation | choice_filter |
| | integer | age | Age | ${agee} > 3 | . > | | ten | | |
| | integer | Age2 | Age | ${Age} > 3 | | | | | |
| | select_one yn | ok | OK | | | maybe( | sometimes | | |
| | select_one nolist | bad | Bad | | | ${age} > 3 | | | ${age} = 1 |
| | slider | s | S | | | | | | |
| | text | age | Again | | | | | | |
| | begin group | g | G | | | | | | |
| | text | t | T | foo(${age}) | regex(., '(?=x)') | | | | |
| | end repeat | | | | | | | | |
| | end group | | | | | | | | |
| | | lost | Lost | | | | | | |
| | calculate | c1 | | | | | | ${g} + 1 | |
| | calculate | c2 | | | | | | pulldata('x', 'a', 'b', ${age}) | |
| | begin repeat | r | R | | | | | | |
| | text | last | Last | ${ok} == 'yes' | | | | | |
| choices |
| | list_name | name | label |
| | yn | yes | Yes |
| | yn | yes | Yes again |
| | | no | No |
| | yn | | Nothing |
`)
	text := r.Report.Text()
	for _, want := range []string{
		"error: survey row 2 (D2), relevant of age: there is no question agee",
		"error: survey row 2 (E2), constraint of age: the expression ends too early (character 4 of \". >\")",
		`warning: survey row 2: default: "ten" is no number`,
		"relevant of Age2: there is no question Age; there is age",
		"required of ok: ",
		`default: "sometimes" is no choice of the list yn`,
		`bad chooses from the list "nolist", which is not in the sheet choices`,
		`the type "slider" is not known`,
		`the name "age" stands twice in one group`,
		"there is no function foo",
		"the pattern \"(?=x)\" cannot be used",
		`"end repeat" ends g, which was begun as "begin group"`,
		`"end group" ends what was never begun`,
		`the row of "lost" has no type`,
		"g is a group, not a question",
		"not in the form: survey row 14",
		"is begun and never ended",
		"XPath has no ==",
		`list yn has the choice "yes" twice`,
		`the choice "no" names no list`,
		"a choice of list yn has no name",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report does not say %q", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
	if r.Report.Errors() < 6 {
		t.Errorf("%d errors", r.Report.Errors())
	}
	if out := questionOf(t, f, "age").out; out.relevant != "" || out.constraint != "" {
		t.Errorf("an expression that is wrong has an effect: %+v", out)
	}
}

// A question that depends on itself is an error with its place; the expression that closes the circle has no effect.
func TestCycles(t *testing.T) {
	for name, test := range map[string]struct{ tables, want string }{
		"calculation":      {"| survey |\n| | type | name | calculation |\n| | calculate | a | ${b} + 1 |\n| | calculate | b | ${a} + 1 |", "error: survey row 3 (C3), calculation of b: b depends on itself: b reads a reads b"},
		"itself":           {"| survey |\n| | type | name | calculation |\n| | calculate | a | if(${a} = '', 1, ${a}) |", "error: survey row 2 (C2), calculation of a: a depends on itself: a reads a"},
		"relevance":        {"| survey |\n| | type | name | relevant |\n| | begin group | g | ${a} = 1 |\n| | integer | a | |\n| | end group | | |", "error: survey row 2 (C2), relevant of g: g depends on itself: g reads a reads g"},
		"one of the other": {"| survey |\n| | type | name | relevant |\n| | integer | a | ${b} = 1 |\n| | integer | b | ${c} = 1 |\n| | integer | c | ${a} = 1 |", "relevant of c: c depends on itself: c reads a reads b reads c"},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := imported(t, test.tables)
			if !strings.Contains(r.Report.Text(), test.want) || r.Report.Errors() != 1 {
				t.Errorf("the report is\n%s", r.Report.Text())
			}
			if _, err := questionnaire.Load(r.Files, r.Top); err != nil {
				t.Error(err)
			}
		})
	}
}

// Of a formula the value is read that the spreadsheet program last computed, and the report says so.
func TestFormulas(t *testing.T) {
	f := excelize.NewFile()
	defer f.Close()
	f.SetSheetName("Sheet1", "survey")
	for i, rows := range [][]any{{"type", "name", "label"}, {"text", "a", "A"}} {
		f.SetSheetRow("survey", cellName(0, i+1), &rows)
	}
	f.SetCellStr("survey", "C2", "computed")
	f.SetCellFormula("survey", "C2", `CONCATENATE("com","puted")`)
	var b bytes.Buffer
	if err := f.Write(&b); err != nil {
		t.Fatal(err)
	}
	r, err := Import(b.Bytes(), Options{Name: "form.xlsx"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(r.Report.Text(), "1 cells hold formulas, C2 the first") {
		t.Errorf("the report is\n%s", r.Report.Text())
	}
}

// Very large forms are read in bounded time.
func TestLargeForms(t *testing.T) {
	if testing.Short() {
		t.Skip("whole mode runs it")
	}
	var b strings.Builder
	b.WriteString("| survey |\n| | type | name | label | relevant | constraint |\n")
	for i := range 3000 {
		fmt.Fprintf(&b, "| | integer | q%d | Question %d | ${q%d} > 3 | . < 100 |\n", i, i, max(i-1, 0))
	}
	form := strings.Replace(b.String(), "| | integer | q0 | Question 0 | ${q0} > 3 |", "| | integer | q0 | Question 0 | |", 1)
	form += "| | select_one big | big | Big | | |\n| choices |\n| | list_name | name | label | province |\n"
	choices := 100_000
	b.Reset()
	for i := range choices {
		fmt.Fprintf(&b, "| | big | c%d | Choice %d | %d |\n", i, i, i%31)
	}
	data := workbookOf(t, form+b.String())
	began := time.Now()
	r, err := Import(data, Options{Name: "large.xlsx"})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d questions, %d choices in %v", r.Report.Questions, r.Report.Choices, time.Since(began))
	if r.Report.Choices != choices || r.Report.Questions != 3001 {
		t.Errorf("%d questions, %d choices", r.Report.Questions, r.Report.Choices)
	}
	if d := time.Since(began); d > 60*time.Second {
		t.Errorf("it took %v", d)
	}
}
