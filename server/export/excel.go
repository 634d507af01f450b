package export

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/server/export/xlsx"
)

const (
	excelPath = "xlsx/study.xlsx"
	excelName = 31 // characters of the name of a sheet
)

// excelWriter writes one workbook: of each table a sheet with codes and a sheet with labels, and the codebook. A table
// with more rows than a sheet holds goes on in further sheets, "person", "person (2)".
type excelWriter struct {
	job    *job
	book   *xlsx.Book
	file   *scratchFile              // of the packed sheets
	sheets map[*Table]*[2]excelSheet // coded, labelled
	plan   *Plan
	layout map[*Table]*layout
	cut    map[string]int64 // texts cut, by table and variable
	values []xlsx.Cell
}

// excelSheet is the sheet of a table that is being written.
type excelSheet struct {
	w      *xlsx.Sheet
	number int
	labels bool
}

func checkExcel(j *job, layouts map[*Table]*layout) error {
	for _, t := range j.plan.Tables {
		if n := len(layouts[t].slots); n > xlsx.MaxColumns {
			return fault.New(fault.TooLarge, fault.BadRequest,
				"table %s has %d columns and a sheet of Excel holds %d: leave the xlsx format out", t.Name, n, xlsx.MaxColumns)
		}
	}
	return nil
}

func newExcelWriter(j *job, layouts map[*Table]*layout) (formatWriter, error) {
	w := &excelWriter{job: j, sheets: map[*Table]*[2]excelSheet{}, plan: j.plan, layout: layouts, cut: map[string]int64{}}
	var err error
	if w.file, err = scratch(excelPath); err != nil {
		return w, err
	}
	w.book = xlsx.NewBook(w.file)
	if err := w.codebookSheet(); err != nil {
		return w, err
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

// excelFault words what a workbook cannot hold; errors of the file pass.
func excelFault(err error) error {
	var e *xlsx.Error
	if !errors.As(err, &e) {
		return err
	}
	return fault.New(fault.Internal, "", "excel workbook cannot be made: %w", err)
}

// next starts the first or a further sheet of a table.
func (w *excelWriter) next(t *Table, s *excelSheet) error {
	s.number++
	end := ""
	if s.labels {
		end = " labels"
	}
	if s.number > 1 {
		end += " (" + strconv.Itoa(s.number) + ")"
	}
	var err error
	if s.w, err = w.book.Sheet(cutWords(t.Name, excelName-len(end)) + end); err != nil {
		return excelFault(err)
	}
	header := make([]xlsx.Cell, 0, len(w.layout[t].slots))
	for _, sl := range w.layout[t].slots {
		text := sl.name
		if s.labels {
			text = w.headerLabel(t, sl)
		}
		header = append(header, xlsx.Bold(clip(text)))
	}
	return excelFault(s.w.Row(header))
}

func (w *excelWriter) headerLabel(t *Table, s slot) string {
	if s.column == nil {
		return wording(whyLabel(t.Questions[s.question]), w.job.opts.Language)
	}
	return wording(s.column.Label, w.job.opts.Language)
}

func (w *excelWriter) write(l *layout, r *row) error {
	pair := w.sheets[l.table]
	for i := range pair {
		s := &pair[i]
		if s.w.Rows() == w.job.rowLimit {
			if err := w.next(l.table, s); err != nil {
				return err
			}
		}
		w.values = w.values[:0]
		for _, sl := range l.slots {
			w.values = append(w.values, w.value(l.table, sl, r, s.labels))
		}
		if err := s.w.Row(w.values); err != nil {
			return excelFault(err)
		}
	}
	return nil
}

func (w *excelWriter) value(t *Table, s slot, r *row, labels bool) xlsx.Cell {
	if s.column == nil {
		y := r.why[s.question]
		switch {
		case y == 0:
			return xlsx.Cell{}
		case labels:
			return xlsx.Text(wording(reasonLabel(y), w.job.opts.Language))
		}
		return xlsx.Text(reason(y))
	}
	c := &r.cells[s.col]
	if !c.set {
		return xlsx.Cell{}
	}
	switch s.column.Kind {
	case KindCode, KindYesNo:
		if labels {
			if l, ok := s.column.label[int32(c.i)]; ok {
				return xlsx.Text(clip(wording(l, w.job.opts.Language)))
			}
		}
		return xlsx.Number(float64(c.i))
	case KindInteger:
		// Excel keeps 15 digits.
		if c.i > 1e15 || c.i < -1e15 {
			return xlsx.Text(strconv.FormatInt(c.i, 10))
		}
		return xlsx.Number(float64(c.i))
	case KindNumber:
		if math.IsNaN(c.f) || math.IsInf(c.f, 0) {
			return xlsx.Text(string(appendNumber(nil, c.f)))
		}
		return xlsx.Number(c.f)
	case KindTime:
		return xlsx.Text(string(appendTime(nil, c.i)))
	default:
		short := clip(c.s)
		if short != c.s && !labels {
			w.cut[t.Name+"."+s.name]++
		}
		return xlsx.Text(short)
	}
}

// clip cuts a text to what a cell of Excel holds, counted as Excel counts.
func clip(s string) string {
	if len(s) <= xlsx.MaxText {
		return s
	}
	n := 0
	for i, r := range s {
		n++
		if r >= 0x10000 {
			n++
		}
		if n > xlsx.MaxText {
			return s[:i]
		}
		if r == utf8.RuneError {
			continue
		}
	}
	return s
}

func (w *excelWriter) close() error {
	out, err := w.job.sink.create(excelPath)
	if err != nil {
		return err
	}
	if _, err := w.book.WriteTo(out); err != nil {
		return writeFault(excelPath, err)
	}
	for _, name := range slices.Sorted(maps.Keys(w.cut)) {
		w.job.warnings = append(w.job.warnings, fmt.Sprintf(
			"xlsx: %d texts of %s are longer than the %d characters of a cell and were cut; the other formats have them whole", w.cut[name], name, xlsx.MaxText))
	}
	w.abort()
	return out.close()
}

// codebookNumbers are the columns of the codebook that hold numbers, where they hold anything.
var codebookNumbers = []string{"code", "count", "minimum", "maximum", "mean", "since", "until"}

func (w *excelWriter) codebookSheet() error {
	sheet, err := w.book.Sheet("codebook")
	if err != nil {
		return excelFault(err)
	}
	var header []string
	w.job.codebookRows(w.layout, func(cells []string) {
		if header == nil {
			header = slices.Clone(cells)
		}
		values := make([]xlsx.Cell, len(cells))
		for i, c := range cells {
			n, notNumber := strconv.ParseFloat(c, 64)
			switch {
			case sheet.Rows() == 0:
				values[i] = xlsx.Bold(c)
			case notNumber == nil && finite(n) && slices.Contains(codebookNumbers, header[i]):
				values[i] = xlsx.Number(n)
			case c != "":
				values[i] = xlsx.Text(clip(c))
			}
		}
		if err == nil {
			err = sheet.Row(values)
		}
	})
	return excelFault(err)
}

func (w *excelWriter) abort() {
	if w.file != nil {
		_ = w.file.Close() // it has no name: nothing stays
		w.file = nil
	}
}
