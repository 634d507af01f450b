package xlsform

import (
	"bytes"
	"encoding/xml"
	"errors"
	slash "path"
	"strconv"
	"strings"

	"github.com/xuri/excelize/v2"

	"github.com/hearth-survey/hearth/proto/fault"
)

// Limits on what is read of a workbook, so that no file, however made, takes more than a moment and some memory.
const (
	maxUnpacked   = 192 << 20
	maxColumns    = 512
	maxRows       = 150_000
	maxBlankRows  = 20_000 // after so many empty rows a sheet is taken to end
	maxSurveyRows = 20_000
)

// sheetNames are the sheets that are read, by the names they may have.
var sheetNames = map[string]string{
	"survey": "survey", "choices": "choices", "settings": "settings", "external_choices": "external_choices",
	"entities": "entities", "choice": "choices", "select one": "choices", "cascades": "cascades", "osm": "osm",
}

// workbook is the sheets of a form.
type workbook struct {
	sheets map[string]*sheet
	others []string // sheets of other names
}

// sheet is the cells of a sheet, as text.
type sheet struct {
	name    string // as the file has it
	headers []string
	rows    []row
	// formulas are the cells that hold a formula, by name: "K12".
	formulas map[string]bool
	// cut is the row after which empty rows were not read on, 0 if all were read.
	cut int
}

// row is a row that has something in it.
type row struct {
	number int // from 1, as the spreadsheet counts
	cells  []string
}

// cell is the text of a column, "" where there is none.
func (r row) cell(column int) string {
	if column < 0 || column >= len(r.cells) {
		return ""
	}
	return r.cells[column]
}

// readWorkbook reads the sheets of a form from an .xlsx.
func readWorkbook(data []byte, name string) (*workbook, error) {
	switch {
	case len(data) == 0:
		return nil, badForm("%s is empty", name)
	case bytes.HasPrefix(data, []byte("\xd0\xcf\x11\xe0")):
		return nil, badForm("%s is an old .xls, or protected by a password: open it in a spreadsheet program and save it as .xlsx without password", name)
	case !bytes.HasPrefix(data, []byte("PK")):
		return nil, badForm("%s is no .xlsx: open it in a spreadsheet program and save it as .xlsx", name)
	}
	f, err := excelize.OpenReader(bytes.NewReader(data), excelize.Options{RawCellValue: true, UnzipSizeLimit: maxUnpacked, UnzipXMLSizeLimit: maxUnpacked})
	if err != nil {
		if strings.Contains(err.Error(), "unzip size") {
			return nil, fault.New(fault.TooLarge, fault.BadForm, "%s unpacks to more than %d MB: a form is far smaller; delete empty rows and pictures and save it again", name, maxUnpacked>>20)
		}
		return nil, fault.New(fault.Invalid, fault.BadForm, "%s cannot be read as .xlsx: %w", name, err)
	}
	defer f.Close()
	w := &workbook{sheets: map[string]*sheet{}}
	paths := sheetPaths(f)
	for _, title := range f.GetSheetList() {
		canonical, known := sheetNames[strings.ToLower(strings.TrimSpace(title))]
		if !known || w.sheets[canonical] != nil {
			w.others = append(w.others, title)
			continue
		}
		s, err := readSheet(f, title)
		if err != nil {
			return nil, err
		}
		s.formulas = formulaCells(f, paths[title])
		w.sheets[canonical] = s
	}
	if w.sheets["survey"] == nil {
		return nil, badForm("%s has no sheet named survey; it has %s", name, strings.Join(f.GetSheetList(), ", "))
	}
	return w, nil
}

func badForm(format string, args ...any) error {
	return fault.New(fault.Invalid, fault.BadForm, format, args...)
}

// readSheet reads the cells of a sheet. The first row that is not empty has the headers.
func readSheet(f *excelize.File, title string) (*sheet, error) {
	s := &sheet{name: title}
	rows, err := f.Rows(title)
	if err != nil {
		return nil, fault.New(fault.Invalid, fault.BadForm, "sheet %s cannot be read: %w", title, err)
	}
	defer rows.Close()
	blank := 0
	for n := 1; rows.Next(); n++ {
		cells, err := rows.Columns(excelize.Options{RawCellValue: true})
		if err != nil {
			return nil, fault.New(fault.Invalid, fault.BadForm, "sheet %s, row %d cannot be read: %w", title, n, err)
		}
		if cells = tidy(cells); len(cells) == 0 {
			if blank++; blank >= maxBlankRows {
				s.cut = n
				break
			}
			continue
		}
		blank = 0
		if len(cells) > maxColumns {
			return nil, badForm("sheet %s, row %d has %d columns; a form has at most %d", title, n, len(cells), maxColumns)
		}
		if s.headers == nil {
			s.headers = cells
			continue
		}
		if len(s.rows) == maxRows {
			return nil, fault.New(fault.TooLarge, fault.BadForm, "sheet %s has more than %d rows; keep such a list in a .csv beside the form and use select_one_from_file", title, maxRows)
		}
		s.rows = append(s.rows, row{n, cells})
	}
	if err := rows.Error(); err != nil && !errors.Is(err, excelize.ErrParameterInvalid) {
		return nil, fault.New(fault.Invalid, fault.BadForm, "sheet %s cannot be read: %w", title, err)
	}
	return s, nil
}

// tidy writes numbers as people do and cuts empty cells off the end. What is in a cell is kept otherwise.
func tidy(cells []string) []string {
	last := 0
	for i, c := range cells {
		if strings.TrimSpace(c) == "" {
			cells[i] = ""
			continue
		}
		last = i + 1
		c = strings.ToValidUTF8(c, "\ufffd")
		cells[i] = c
		if strings.HasSuffix(c, ".0") || strings.ContainsAny(c, "eE") && digit(rune(c[len(c)-1])) {
			if v, err := strconv.ParseFloat(c, 64); err == nil && v == float64(int64(v)) && (v < 1e15 && v > -1e15) {
				cells[i] = strconv.FormatInt(int64(v), 10)
			}
		}
	}
	return cells[:last]
}

// sheetPaths are the parts of the package that hold the sheets, by title.
func sheetPaths(f *excelize.File) map[string]string {
	var book struct {
		Sheets []struct {
			Name string `xml:"name,attr"`
			ID   string `xml:"http://schemas.openxmlformats.org/officeDocument/2006/relationships id,attr"`
		} `xml:"sheets>sheet"`
	}
	var relations struct {
		All []struct {
			ID     string `xml:"Id,attr"`
			Target string `xml:"Target,attr"`
		} `xml:"Relationship"`
	}
	if xml.Unmarshal(part(f, "xl/workbook.xml"), &book) != nil || xml.Unmarshal(part(f, "xl/_rels/workbook.xml.rels"), &relations) != nil {
		return nil
	}
	targets := map[string]string{}
	for _, r := range relations.All {
		if strings.HasPrefix(r.Target, "/") {
			targets[r.ID] = strings.TrimPrefix(r.Target, "/")
		} else {
			targets[r.ID] = slash.Join("xl", r.Target)
		}
	}
	paths := map[string]string{}
	for _, s := range book.Sheets {
		paths[s.Name] = targets[s.ID]
	}
	return paths
}

func part(f *excelize.File, name string) []byte {
	v, _ := f.Pkg.Load(name)
	b, _ := v.([]byte)
	return b
}

// formulaCells are the names of the cells of a sheet that hold formulas.
func formulaCells(f *excelize.File, name string) map[string]bool {
	b := part(f, name)
	cells := map[string]bool{}
	for at := 0; ; {
		i := bytes.Index(b[at:], []byte("<f"))
		if i < 0 {
			return cells
		}
		at += i + 2
		if at >= len(b) || b[at] != '>' && b[at] != ' ' && b[at] != '/' {
			continue
		}
		open := bytes.LastIndex(b[:at], []byte("<c "))
		if open < 0 {
			continue
		}
		tag := b[open:at]
		r := bytes.Index(tag, []byte(` r="`))
		if r < 0 {
			continue
		}
		tag = tag[r+4:]
		if end := bytes.IndexByte(tag, '"'); end > 0 {
			cells[string(tag[:end])] = true
		}
	}
}

// cellName is a cell's name: column 10 (from 0) of row 12 is K12.
func cellName(column, row int) string {
	name, err := excelize.CoordinatesToCellName(column+1, row)
	if err != nil {
		return ""
	}
	return name
}
