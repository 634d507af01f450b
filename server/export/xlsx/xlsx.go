package xlsx

import (
	"archive/zip"
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/klauspost/compress/flate"
)

// What a sheet and a cell hold.
const (
	MaxRows    = 1_048_576
	MaxColumns = 16_384
	MaxText    = 32_767
)

// Cell is a value. The zero Cell is empty.
type Cell struct {
	kind   cellKind
	text   string
	number float64
}

type cellKind uint8

const (
	empty cellKind = iota
	isText
	isBold
	isNumber
)

// Text is a cell with text.
func Text(s string) Cell { return Cell{kind: isText, text: s} }

// Bold is a cell with bold text.
func Bold(s string) Cell { return Cell{kind: isBold, text: s} }

// Number is a cell with a number.
func Number(f float64) Cell { return Cell{kind: isNumber, number: f} }

// Error is something Excel cannot hold.
type Error struct {
	Sheet string
	// Row and Column count from 1; 0 where it is about none.
	Row, Column int
	// Problem says what is wrong. It holds no answer.
	Problem string
}

// Error says where, and what.
func (e *Error) Error() string {
	switch {
	case e.Column > 0:
		return fmt.Sprintf("sheet %s, row %d, column %d: %s", e.Sheet, e.Row, e.Column, e.Problem)
	case e.Row > 0:
		return fmt.Sprintf("sheet %s, row %d: %s", e.Sheet, e.Row, e.Problem)
	}
	return fmt.Sprintf("sheet %s: %s", e.Sheet, e.Problem)
}

// Spill keeps the packed sheets: a temporary file, empty.
type Spill interface {
	io.Writer
	io.ReaderAt
}

// Book is a workbook. It is for one goroutine.
type Book struct {
	spill  Spill
	at     int64
	sheets []*Sheet
	names  map[string]bool
}

// NewBook begins a workbook.
func NewBook(spill Spill) *Book { return &Book{spill: spill, names: map[string]bool{}} }

// Sheet begins a sheet behind the others; its first row stays in view.
func (b *Book) Sheet(name string) (*Sheet, error) {
	switch {
	case name == "" || units(name) > 31 || !utf8.ValidString(name) || strings.ContainsAny(name, "[]:*?/\\\x00") || strings.Trim(name, "'") != name:
		return nil, &Error{Sheet: name, Problem: `a sheet is named with 1 to 31 characters, without [ ] : * ? / \, and without ' at its ends`}
	case b.names[strings.ToLower(name)]:
		return nil, &Error{Sheet: name, Problem: "another sheet is called so"}
	}
	b.names[strings.ToLower(name)] = true
	s := &Sheet{book: b, name: name}
	s.raw = append(s.raw, `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>`+"\n"+
		`<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetViews><sheetView workbookViewId="0">`+
		`<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/></sheetView></sheetViews><sheetFormatPr defaultColWidth="16" defaultRowHeight="15"/><sheetData>`...)
	b.sheets = append(b.sheets, s)
	return s, nil
}

// Sheet is a sheet of a workbook.
type Sheet struct {
	book   *Book
	name   string
	rows   int
	width  int // of its widest row
	raw    []byte
	pack   *flate.Writer
	packed bytes.Buffer
	crc    uint32
	size   uint64
	chunks []chunk
}

// chunk is a piece of a packed sheet in the spill.
type chunk struct{ at, size int64 }

const (
	rawSize   = 32 << 10
	chunkSize = 64 << 10
)

// Rows is how many rows have been written.
func (s *Sheet) Rows() int { return s.rows }

// Row writes a row. An [*Error] means that it cannot be held and was left out; any other error is of the spill.
func (s *Sheet) Row(cells []Cell) error {
	if err := s.check(cells); err != nil {
		return err
	}
	s.rows++
	s.width = max(s.width, len(cells))
	b := append(s.raw, `<row r="`...)
	b = append(strconv.AppendInt(b, int64(s.rows), 10), '"', '>')
	for i := range cells {
		c := &cells[i]
		if c.kind == empty || c.kind == isText && c.text == "" {
			continue
		}
		b = strconv.AppendInt(appendColumn(append(b, `<c r="`...), i), int64(s.rows), 10)
		switch c.kind {
		case isNumber:
			b = append(b, `"><v>`...)
			b = append(strconv.AppendFloat(b, c.number, 'g', -1, 64), "</v></c>"...)
			continue
		case isBold:
			b = append(b, `" s="1`...)
		}
		b = append(b, `" t="inlineStr"><is><t`...)
		if spaced(c.text) {
			b = append(b, ` xml:space="preserve"`...)
		}
		b = append(appendText(append(b, '>'), c.text), "</t></is></c>"...)
	}
	s.raw = append(b, "</row>"...)
	if len(s.raw) < rawSize {
		return nil
	}
	return s.squeeze()
}

func (s *Sheet) check(cells []Cell) error {
	switch {
	case s.rows >= MaxRows:
		return &Error{Sheet: s.name, Row: s.rows + 1, Problem: "a sheet holds 1,048,576 rows: begin another"}
	case len(cells) > MaxColumns:
		return &Error{Sheet: s.name, Row: s.rows + 1, Problem: "a sheet holds 16,384 columns"}
	}
	for i := range cells {
		switch c := &cells[i]; {
		case c.kind == isNumber && (math.IsNaN(c.number) || math.IsInf(c.number, 0)):
			return &Error{Sheet: s.name, Row: s.rows + 1, Column: i + 1, Problem: "Excel has no such number"}
		case len(c.text) > MaxText && units(c.text) > MaxText:
			return &Error{Sheet: s.name, Row: s.rows + 1, Column: i + 1, Problem: "a cell holds 32,767 characters"}
		}
	}
	return nil
}

// units is how many characters a text has for Excel.
func units(s string) int {
	n := 0
	for _, r := range s {
		if n++; r > 0xffff {
			n++
		}
	}
	return n
}

// squeeze packs what has been written so far.
func (s *Sheet) squeeze() error {
	if s.pack == nil {
		var err error
		if s.pack, err = flate.NewWriter(&s.packed, flate.BestSpeed); err != nil {
			return err
		}
	}
	s.crc = crc32.Update(s.crc, crc32.IEEETable, s.raw)
	s.size += uint64(len(s.raw))
	if _, err := s.pack.Write(s.raw); err != nil {
		return err
	}
	s.raw = s.raw[:0]
	if s.packed.Len() < chunkSize {
		return nil
	}
	return s.spill()
}

func (s *Sheet) spill() error {
	n, err := s.packed.WriteTo(s.book.spill)
	s.chunks = append(s.chunks, chunk{s.book.at, n})
	s.book.at += n
	return err
}

// end packs the end of a sheet.
func (s *Sheet) end() error {
	s.raw = append(s.raw, "</sheetData>"...)
	if s.rows > 0 && s.width > 0 {
		s.raw = append(appendColumn(append(s.raw, `<autoFilter ref="A1:`...), s.width-1), strconv.Itoa(s.rows)...)
		s.raw = append(s.raw, `"/>`...)
	}
	s.raw = append(s.raw, "</worksheet>"...)
	if err := s.squeeze(); err != nil {
		return err
	}
	if err := s.pack.Close(); err != nil {
		return err
	}
	s.pack, s.raw = nil, nil
	return s.spill()
}

// WriteTo writes the workbook, whose sheets take no more rows afterwards. It has to have a sheet.
func (b *Book) WriteTo(out io.Writer) (int64, error) {
	counted := &counter{w: out}
	w := zip.NewWriter(counted)
	for _, p := range b.parts() {
		to, err := w.CreateHeader(&zip.FileHeader{Name: p[0], Method: zip.Deflate})
		if err == nil {
			_, err = io.WriteString(to, p[1])
		}
		if err != nil {
			return counted.n, err
		}
	}
	for i, s := range b.sheets {
		if err := s.end(); err != nil {
			return counted.n, err
		}
		h := &zip.FileHeader{Name: sheetFile(i), Method: zip.Deflate, CRC32: s.crc, UncompressedSize64: s.size}
		for _, c := range s.chunks {
			h.CompressedSize64 += uint64(c.size)
		}
		to, err := w.CreateRaw(h)
		for k := 0; k < len(s.chunks) && err == nil; k++ {
			_, err = io.Copy(to, io.NewSectionReader(b.spill, s.chunks[k].at, s.chunks[k].size))
		}
		if err != nil {
			return counted.n, err
		}
	}
	return counted.n, w.Close()
}

type counter struct {
	w io.Writer
	n int64
}

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func sheetFile(i int) string { return "xl/worksheets/sheet" + strconv.Itoa(i+1) + ".xml" }

// parts are the files beside the sheets.
func (b *Book) parts() [][2]string {
	const (
		head     = `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>` + "\n"
		main     = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
		rels     = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
		packages = "http://schemas.openxmlformats.org/package/2006/"
		kind     = "application/vnd.openxmlformats-officedocument.spreadsheetml."
	)
	types := head + `<Types xmlns="` + packages + `content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>` +
		`<Default Extension="xml" ContentType="application/xml"/><Override PartName="/xl/workbook.xml" ContentType="` + kind + `sheet.main+xml"/>` +
		`<Override PartName="/xl/styles.xml" ContentType="` + kind + `styles+xml"/>` +
		`<Override PartName="/docProps/core.xml" ContentType="application/vnd.openxmlformats-package.core-properties+xml"/>`
	book := head + `<workbook xmlns="` + main + `" xmlns:r="` + rels + `"><bookViews><workbookView/></bookViews><sheets>`
	files := head + `<Relationships xmlns="` + packages + `relationships">`
	for i, s := range b.sheets {
		n := strconv.Itoa(i + 1)
		types += `<Override PartName="/` + sheetFile(i) + `" ContentType="` + kind + `worksheet+xml"/>`
		book += `<sheet name="` + strings.ReplaceAll(string(appendText(nil, s.name)), `"`, "&quot;") + `" sheetId="` + n + `" r:id="rId` + n + `"/>`
		files += `<Relationship Id="rId` + n + `" Type="` + rels + `/worksheet" Target="worksheets/sheet` + n + `.xml"/>`
	}
	n := strconv.Itoa(len(b.sheets) + 1)
	return [][2]string{
		{"[Content_Types].xml", types + "</Types>"},
		{"_rels/.rels", head + `<Relationships xmlns="` + packages + `relationships"><Relationship Id="rId1" Type="` + rels + `/officeDocument" Target="xl/workbook.xml"/>` +
			`<Relationship Id="rId2" Type="` + packages + `relationships/metadata/core-properties" Target="docProps/core.xml"/></Relationships>`},
		{"docProps/core.xml", head + `<cp:coreProperties xmlns:cp="` + packages + `metadata/core-properties" xmlns:dc="http://purl.org/dc/elements/1.1/" ` +
			`xmlns:dcterms="http://purl.org/dc/terms/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><dc:creator>hearth</dc:creator>` +
			`<dcterms:created xsi:type="dcterms:W3CDTF">2000-01-01T00:00:00Z</dcterms:created></cp:coreProperties>`},
		{"xl/workbook.xml", book + "</sheets></workbook>"},
		{"xl/_rels/workbook.xml.rels", files + `<Relationship Id="rId` + n + `" Type="` + rels + `/styles" Target="styles.xml"/></Relationships>`},
		{"xl/styles.xml", head + `<styleSheet xmlns="` + main + `"><fonts count="2"><font><sz val="11"/><name val="Calibri"/></font><font><b/><sz val="11"/><name val="Calibri"/></font></fonts>` +
			`<fills count="2"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill></fills>` +
			`<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders><cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>` +
			`<cellXfs count="2"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/><xf numFmtId="0" fontId="1" fillId="0" borderId="0" xfId="0" applyFont="1"/></cellXfs>` +
			`<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>`},
	}
}
