package xlsform

import (
	"bytes"
	"strings"
	"testing"

	"github.com/xuri/excelize/v2"
)

// workbookOf makes an .xlsx of tables as they are written in Markdown: a line with the name of a sheet in the first cell begins a
// sheet, its first row has the headers.
//
//	| survey |
//	|        | type    | name | label |
//	|        | integer | age  | Age   |
func workbookOf(t testing.TB, tables string) []byte {
	t.Helper()
	f := excelize.NewFile()
	defer f.Close()
	sheet, row := "", 0
	for line := range strings.Lines(tables) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			continue
		}
		cells := strings.Split(strings.ReplaceAll(strings.Trim(line, "|"), `\|`, "\x00"), "|")
		for i := range cells {
			cells[i] = strings.ReplaceAll(strings.TrimSpace(cells[i]), "\x00", "|")
		}
		if cells[0] != "" {
			sheet, row = cells[0], 0
			if _, err := f.NewSheet(sheet); err != nil {
				t.Fatal(err)
			}
			continue
		}
		row++
		for i, c := range cells[1:] {
			if c == "" {
				continue
			}
			name, err := excelize.CoordinatesToCellName(i+1, row)
			if err != nil {
				t.Fatal(err)
			}
			if err := f.SetCellStr(sheet, name, c); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := f.DeleteSheet("Sheet1"); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := f.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// imported imports a form of tables, with its tree.
func imported(t testing.TB, tables string) (*Result, *form) {
	t.Helper()
	book, err := readWorkbook(workbookOf(t, tables), "test.xlsx")
	if err != nil {
		t.Fatal(err)
	}
	r, f, err := importBook(book, Options{Name: "test.xlsx"})
	if err != nil {
		t.Fatal(err)
	}
	return r, f
}

// question finds a question of a form by its name.
func questionOf(t testing.TB, f *form, name string) *node {
	t.Helper()
	if all := f.byName[name]; len(all) > 0 {
		return all[0]
	}
	t.Fatalf("there is no question %s", name)
	return nil
}
