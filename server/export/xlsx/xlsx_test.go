package xlsx

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xuri/excelize/v2"
	"pgregory.net/rapid"
)

// spill is a file in memory.
type spill struct {
	b     []byte
	limit int
}

func (s *spill) Write(p []byte) (int, error) {
	if s.limit > 0 && len(s.b)+len(p) > s.limit {
		return 0, errors.New("no space left on device")
	}
	s.b = append(s.b, p...)
	return len(p), nil
}

func (s *spill) ReadAt(p []byte, at int64) (int, error) { return bytes.NewReader(s.b).ReadAt(p, at) }

var texts = []string{
	"", "a", " a ", "two\nlines", "tab\tbed", "carriage\rreturn", "dos\r\n", "_x0041_", "_x004_", "x_x0041_x0041_", "<b>&\"'</b>", "王芳", "𠮷野家", "\x01\x1f", "=1+1", "007", "a  b", "end\n",
	strings.Repeat("长", MaxText), "\u2028", "\ufffe",
}

// draw makes a workbook of some sheets, and says what is in it.
func draw(t *rapid.T) (names []string, rows map[string][][]Cell, file []byte) {
	book, rows := NewBook(&spill{}), map[string][][]Cell{}
	var sheets []*Sheet
	for i := range rapid.IntRange(1, 4).Draw(t, "sheets") {
		name := fmt.Sprintf("第%d张 <a> & b", i)
		s, err := book.Sheet(name)
		if err != nil {
			t.Fatal(err)
		}
		names, sheets = append(names, name), append(sheets, s)
	}
	columns := rapid.SampledFrom([]int{1, 2, 3, 5, 30, 30, 200}).Draw(t, "columns")
	for range rapid.IntRange(0, 20).Draw(t, "rows") {
		at := rapid.IntRange(0, len(sheets)-1).Draw(t, "sheet")
		var row []Cell
		for range columns {
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0:
				row = append(row, Cell{})
			case 1:
				row = append(row, Number(rapid.SampledFrom([]float64{0, 1, -2.5, 0.1, 1e15, -1e-7, 1e300}).Draw(t, "number")))
			default:
				row = append(row, Text(rapid.SampledFrom(texts[:len(texts)-3]).Draw(t, "text")))
			}
		}
		if err := sheets[at].Row(row); err != nil {
			t.Fatal(err)
		}
		rows[names[at]] = append(rows[names[at]], row)
	}
	var out bytes.Buffer
	if n, err := book.WriteTo(&out); err != nil || n != int64(out.Len()) {
		t.Fatal(n, err)
	}
	return names, rows, out.Bytes()
}

// TestExcelizeReads draws workbooks and compares every cell.
func TestExcelizeReads(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		names, rows, file := draw(rt)
		book, err := excelize.OpenReader(bytes.NewReader(file))
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { _ = book.Close() }()
		if got := book.GetSheetList(); fmt.Sprint(got) != fmt.Sprint(names) {
			rt.Fatalf("sheets %q, want %q", got, names)
		}
		for name, want := range rows {
			got, err := book.GetRows(name, excelize.Options{RawCellValue: true})
			if err != nil {
				rt.Fatal(err)
			}
			for r, row := range want {
				for c, cell := range row {
					text := ""
					if r < len(got) && c < len(got[r]) {
						text = got[r][c]
					}
					w := cell.text
					if cell.kind == isNumber {
						w = fmt.Sprint(cell.number)
					}
					if text != w && strings.ReplaceAll(w, "\r", "") != strings.ReplaceAll(text, "\r", "") {
						rt.Fatalf("%s row %d column %d: got %q, want %q", name, r, c, text, w)
					}
				}
			}
		}
	})
}

// TestOpenpyxlReads compares awkward texts and numbers as Python reads them.
func TestOpenpyxlReads(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: other programs read the files in whole runs only")
	}
	const python = "/usr/bin/python3"
	if exec.Command(python, "-c", "import openpyxl").Run() != nil {
		if os.Getenv("HEARTH_READERS") == "all" {
			t.Fatal("python3-openpyxl is not here, and HEARTH_READERS=all: apt-get install python3-openpyxl")
		}
		t.Skip("skipped: python3-openpyxl is not here: apt-get install python3-openpyxl")
	}
	book := NewBook(&spill{})
	s, err := book.Sheet("a")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Row([]Cell{Bold("Header"), Number(0.1)}); err != nil {
		t.Fatal(err)
	}
	for _, text := range texts {
		if err := s.Row([]Cell{Text(text), Number(-12.5), {}, Text("x")}); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if _, err := book.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "a.xlsx")
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	raw, err := exec.Command(python, "-c", `
import json, sys, openpyxl
from openpyxl.utils.escape import unescape
w = openpyxl.load_workbook(sys.argv[1])
s = w["a"]
print(json.dumps({"frozen": s.freeze_panes, "bold": s["A1"].font.b, "rows": [[unescape(c.value) if isinstance(c.value, str) else c.value for c in r] for r in s.iter_rows()]}))`, path).Output()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Frozen string
		Bold   bool
		Rows   [][]any
	}
	if err := json.Unmarshal(raw, &got); err != nil || got.Frozen != "A2" || !got.Bold || len(got.Rows) != len(texts)+1 {
		t.Fatalf("%v %s %v, %d rows", err, got.Frozen, got.Bold, len(got.Rows))
	}
	for i, want := range texts {
		if want == "\ufffe" {
			continue // openpyxl leaves it as it is written
		}
		text, _ := got.Rows[i+1][0].(string)
		if text != want || got.Rows[i+1][1] != -12.5 || got.Rows[i+1][2] != nil || got.Rows[i+1][3] != "x" {
			t.Errorf("got %.40q, want %.40q", text, want)
		}
	}
}

func TestRefused(t *testing.T) {
	book := NewBook(&spill{})
	for _, name := range []string{"", strings.Repeat("长", 32), "a/b", "a[", "'a", "a:", "a\xff"} {
		if _, err := book.Sheet(name); err == nil {
			t.Errorf("a sheet is called %q", name)
		}
	}
	s, err := book.Sheet("a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := book.Sheet("A"); err == nil {
		t.Error("two sheets are called a")
	}
	for name, row := range map[string][]Cell{
		"columns": make([]Cell, MaxColumns+1), "NaN": {Number(math.NaN())}, "infinite": {Number(math.Inf(1))}, "long": {{}, Text(strings.Repeat("x", MaxText+1))},
		"long in UTF-16": {Text(strings.Repeat("𠮷", MaxText/2+1))},
	} {
		var e *Error
		if err := s.Row(row); !errors.As(err, &e) || s.Rows() != 0 || strings.Contains(err.Error(), "xxx") {
			t.Errorf("%s: got %v, %d rows", name, err, s.Rows())
		}
	}
	if err := s.Row(make([]Cell, MaxColumns)); err != nil {
		t.Error(err)
	}
	s.rows = MaxRows
	if err := s.Row(nil); err == nil {
		t.Error("a row too many")
	}
}

// TestFullDisk fails where the spill is full.
func TestFullDisk(t *testing.T) {
	book := NewBook(&spill{limit: 1})
	s, err := book.Sheet("a")
	for i := 0; i < 200_000 && err == nil; i++ {
		err = s.Row([]Cell{Text(fmt.Sprint(i, i*7))})
	}
	if err == nil {
		t.Error("no error")
	}
}

// TestColumns names the first columns and the last.
func TestColumns(t *testing.T) {
	for i, want := range map[int]string{0: "A", 25: "Z", 26: "AA", 701: "ZZ", 702: "AAA", MaxColumns - 1: "XFD"} {
		if got := string(appendColumn(nil, i)); got != want {
			t.Errorf("column %d: got %s, want %s", i, got, want)
		}
	}
}

// The rows below the header can be filtered: all of them, in the columns of the widest.
func TestFilter(t *testing.T) {
	book := NewBook(&spill{})
	s, err := book.Sheet("a")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range [][]Cell{{Bold("x"), Bold("y")}, {Number(1)}, {Number(2), {}, Text("z")}} {
		if err := s.Row(row); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := book.Sheet("empty"); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := book.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"xl/worksheets/sheet1.xml": `</sheetData><autoFilter ref="A1:C3"/></worksheet>`, "xl/worksheets/sheet2.xml": `</sheetData></worksheet>`} {
		f, err := z.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(f)
		if err != nil || !strings.HasSuffix(string(content), want) {
			t.Errorf("%s: %v, ends in %.100s", name, err, content[max(0, len(content)-100):])
		}
	}
}
