package export

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/xuri/excelize/v2"
)

const excelPath = "xlsx/study.xlsx"

// excelWriter writes one workbook: of each table a sheet with codes and a sheet with labels, and the codebook. A table
// with more rows than a sheet holds goes on in further sheets, "person", "person (2)".
type excelWriter struct {
	job    *job
	book   *excelize.File
	bold   int
	sheets map[*Table]*[2]excelSheet // coded, labelled
	plan   *Plan
	layout map[*Table]*layout
	cut    map[string]int64 // texts cut, by table and variable
	values []any
}

// excelSheet is the sheet of a table that is being written.
type excelSheet struct {
	w       *excelize.StreamWriter
	rows    int
	number  int
	labels  bool
	written []*excelize.StreamWriter
}

func checkExcel(j *job, layouts map[*Table]*layout) error {
	for _, t := range j.plan.Tables {
		if n := len(layouts[t].slots); n > excelColumns {
			return fault.New(fault.TooLarge, fault.BadRequest,
				"table %s has %d columns and a sheet of Excel holds %d: leave the xlsx format out", t.Name, n, excelColumns)
		}
	}
	return nil
}

func newExcelWriter(j *job, layouts map[*Table]*layout) (formatWriter, error) {
	w := &excelWriter{
		job: j, book: excelize.NewFile(), sheets: map[*Table]*[2]excelSheet{}, plan: j.plan, layout: layouts, cut: map[string]int64{},
	}
	var err error
	if w.bold, err = w.book.NewStyle(&excelize.Style{Font: &excelize.Font{Bold: true}}); err != nil {
		return w, excelFault(err)
	}
	if err := w.book.SetDocProps(&excelize.DocProperties{
		Created: "2000-01-01T00:00:00Z", Modified: "2000-01-01T00:00:00Z", Creator: "hearth", LastModifiedBy: "hearth",
	}); err != nil {
		return w, excelFault(err)
	}
	if err := w.book.SetSheetName("Sheet1", "codebook"); err != nil {
		return w, excelFault(err)
	}
	for _, t := range j.plan.Tables {
		pair := &[2]excelSheet{{}, {labels: true}}
		w.sheets[t] = pair
		for i := range pair {
			if err := w.next(t, &pair[i]); err != nil {
				return w, err
			}
		}
	}
	return w, nil
}

func excelFault(err error) error {
	return fault.New(fault.Internal, "", "excel workbook cannot be made: %w", err)
}

// next starts the first or a further sheet of a table.
func (w *excelWriter) next(t *Table, s *excelSheet) error {
	s.number++
	name := t.Name
	if s.labels {
		name += " labels"
	}
	if s.number > 1 {
		name += " (" + strconv.Itoa(s.number) + ")"
	}
	header := make([]any, 0, len(w.layout[t].slots))
	for _, sl := range w.layout[t].slots {
		text := sl.name
		if s.labels {
			text = w.headerLabel(t, sl)
		}
		header = append(header, excelize.Cell{StyleID: w.bold, Value: clip(text)})
	}
	sw, err := w.sheet(name, header)
	if err != nil {
		return err
	}
	s.w, s.rows = sw, 1
	s.written = append(s.written, sw)
	return nil
}

func (w *excelWriter) headerLabel(t *Table, s slot) string {
	if s.column == nil {
		return wording(whyLabel(t.Questions[s.question]), w.job.opts.Language)
	}
	return wording(s.column.Label, w.job.opts.Language)
}

// sheet makes a sheet with a frozen first row.
func (w *excelWriter) sheet(name string, header []any) (*excelize.StreamWriter, error) {
	if name != "codebook" {
		if _, err := w.book.NewSheet(name); err != nil {
			return nil, excelFault(err)
		}
	}
	sw, err := w.book.NewStreamWriter(name)
	if err != nil {
		return nil, excelFault(err)
	}
	if err := sw.SetPanes(&excelize.Panes{Freeze: true, YSplit: 1, TopLeftCell: "A2", ActivePane: "bottomLeft"}); err != nil {
		return nil, excelFault(err)
	}
	if err := sw.SetRow("A1", header); err != nil {
		return nil, excelFault(err)
	}
	return sw, nil
}

func (w *excelWriter) write(l *layout, r *row) error {
	pair := w.sheets[l.table]
	for i := range pair {
		s := &pair[i]
		if s.rows == w.job.rowLimit {
			if err := w.next(l.table, s); err != nil {
				return err
			}
		}
		w.values = w.values[:0]
		for _, sl := range l.slots {
			w.values = append(w.values, w.value(l.table, sl, r, s.labels))
		}
		s.rows++
		if err := s.w.SetRow("A"+strconv.Itoa(s.rows), w.values); err != nil {
			return excelFault(err)
		}
	}
	return nil
}

func (w *excelWriter) value(t *Table, s slot, r *row, labels bool) any {
	if s.column == nil {
		if y := r.why[s.question]; y != 0 {
			if labels {
				return wording(reasonLabel(y), w.job.opts.Language)
			}
			return reason(y)
		}
		return nil
	}
	c := &r.cells[s.col]
	if !c.set {
		return nil
	}
	switch s.column.Kind {
	case KindCode, KindYesNo:
		if labels {
			if l, ok := s.column.label[int32(c.i)]; ok {
				return clip(wording(l, w.job.opts.Language))
			}
		}
		return c.i
	case KindInteger:
		// Excel keeps 15 digits.
		if c.i > 1e15 || c.i < -1e15 {
			return strconv.FormatInt(c.i, 10)
		}
		return c.i
	case KindNumber:
		if math.IsNaN(c.f) || math.IsInf(c.f, 0) {
			return string(appendNumber(nil, c.f))
		}
		return c.f
	case KindTime:
		return string(appendTime(nil, c.i))
	default:
		short := clip(c.s)
		if short != c.s && !labels {
			w.cut[t.Name+"."+s.name]++
		}
		return short
	}
}

// clip cuts a text to what a cell of Excel holds, counted as Excel counts.
func clip(s string) string {
	if len(s) <= excelText {
		return s
	}
	n := 0
	for i, r := range s {
		n++
		if r >= 0x10000 {
			n++
		}
		if n > excelText {
			return s[:i]
		}
		if r == utf8.RuneError {
			continue
		}
	}
	return s
}

func (w *excelWriter) close() error {
	if err := w.codebookSheet(); err != nil {
		return err
	}
	for _, t := range w.plan.Tables {
		for _, s := range w.sheets[t] {
			for _, sw := range s.written {
				if err := sw.Flush(); err != nil {
					return excelFault(err)
				}
			}
		}
	}
	out, err := w.job.sink.create(excelPath)
	if err != nil {
		return err
	}
	w.book.SetZipWriter(func(io.Writer) excelize.ZipWriter { return &sortedZip{out: out} })
	if err := w.book.Write(io.Discard); err != nil {
		return writeFault(excelPath, err)
	}
	if err := w.book.Close(); err != nil {
		return excelFault(err)
	}
	var names []string
	for name := range w.cut {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		w.job.warnings = append(w.job.warnings, fmt.Sprintf(
			"xlsx: %d texts of %s are longer than the %d characters of a cell and were cut; the other formats have them whole", w.cut[name], name, excelText))
	}
	return out.close()
}

func (w *excelWriter) codebookSheet() error {
	var sw *excelize.StreamWriter
	var err error
	n := 0
	w.job.codebookRows(w.layout, func(cells []string) {
		n++
		values := make([]any, len(cells))
		for i, c := range cells {
			switch {
			case n == 1:
				values[i] = excelize.Cell{StyleID: w.bold, Value: c}
			case c != "":
				values[i] = clip(c)
			}
		}
		switch {
		case err != nil:
		case n == 1:
			sw, err = w.sheet("codebook", values)
		default:
			if e := sw.SetRow("A"+strconv.Itoa(n), values); e != nil {
				err = excelFault(e)
			}
		}
	})
	if err != nil {
		return err
	}
	if err := sw.Flush(); err != nil {
		return excelFault(err)
	}
	return nil
}

func (w *excelWriter) abort() { _ = w.book.Close() }

// sortedZip writes the parts of a workbook in order of their names and without times, so that the same workbook has the
// same bytes; excelize hands the sheets over in any order. The parts wait in memory, packed.
type sortedZip struct {
	out   io.Writer
	parts []*zipPart
}

type zipPart struct {
	name string
	data bytes.Buffer
	pack *flate.Writer
	crc  uint32
	size uint64
}

// Write packs a piece of a part.
func (p *zipPart) Write(b []byte) (int, error) {
	p.crc = crc32.Update(p.crc, crc32.IEEETable, b)
	p.size += uint64(len(b))
	return p.pack.Write(b)
}

// Create implements excelize.ZipWriter.
func (z *sortedZip) Create(name string) (io.Writer, error) {
	p := &zipPart{name: name}
	var err error
	if p.pack, err = flate.NewWriter(&p.data, flate.DefaultCompression); err != nil {
		return nil, err
	}
	if n := len(z.parts); n > 0 {
		if err := z.parts[n-1].pack.Close(); err != nil {
			return nil, err
		}
	}
	z.parts = append(z.parts, p)
	return p, nil
}

// AddFS implements excelize.ZipWriter; a workbook never asks for it.
func (z *sortedZip) AddFS(fs.FS) error {
	return fault.New(fault.Internal, "", "excel workbook asks for a whole file system")
}

// Close writes the workbook.
func (z *sortedZip) Close() error {
	if n := len(z.parts); n > 0 {
		if err := z.parts[n-1].pack.Close(); err != nil {
			return err
		}
	}
	// The list of contents comes first, as Office writes it.
	rank := func(p *zipPart) int {
		if p.name == "[Content_Types].xml" {
			return 0
		}
		return 1
	}
	slices.SortFunc(z.parts, func(a, b *zipPart) int {
		if r := rank(a) - rank(b); r != 0 {
			return r
		}
		return strings.Compare(a.name, b.name)
	})
	zw := zip.NewWriter(z.out)
	for _, p := range z.parts {
		h := &zip.FileHeader{
			Name: p.name, Method: zip.Deflate, CRC32: p.crc, CompressedSize64: uint64(p.data.Len()), UncompressedSize64: p.size,
		}
		w, err := zw.CreateRaw(h)
		if err != nil {
			return err
		}
		if _, err := w.Write(p.data.Bytes()); err != nil {
			return err
		}
		p.data = bytes.Buffer{}
	}
	return zw.Close()
}
