package export

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/export/sav"
)

// spssWriter writes one file per table, for SPSS and PSPP. A reason for a missing answer is a number that the variable
// declares as missing: -99 refused to -96 not asked, or -999 to -996 and so on where the variable has such values.
type spssWriter struct {
	job    *job
	packed bool // as .zsav
	files  map[*Table]*spssFile
	order  []*spssFile
	lost   losses
}

type spssFile struct {
	table  *Table
	vars   []variable
	widths []int
	path   string
	out    *hashedFile
	file   *scratchFile // of a .zsav, which cannot be written from beginning to end
	w      *sav.Writer
	values []sav.Value
}

func checkSPSS(j *job, layouts map[*Table]*layout) error {
	langs := languages(j.opts.Language)
	for _, t := range j.plan.Tables {
		f := newSPSSFile(j, layouts[t])
		if _, err := sav.NewCounter(f.schema(j, langs)); err != nil {
			return spssFault(t.Name, err)
		}
	}
	return nil
}

func newSPSSFile(j *job, l *layout) *spssFile {
	f := &spssFile{table: l.table, vars: variables(l, j.stats[l.table])}
	f.values = make([]sav.Value, len(f.vars))
	return f
}

func newSPSSWriter(j *job, layouts map[*Table]*layout) (formatWriter, error) {
	return openSPSS(&spssWriter{job: j, files: map[*Table]*spssFile{}, lost: losses{}}, layouts)
}

func newPackedSPSSWriter(j *job, layouts map[*Table]*layout) (formatWriter, error) {
	return openSPSS(&spssWriter{job: j, packed: true, files: map[*Table]*spssFile{}, lost: losses{}}, layouts)
}

func openSPSS(w *spssWriter, layouts map[*Table]*layout) (formatWriter, error) {
	j := w.job
	langs := languages(j.opts.Language)
	for _, t := range j.plan.Tables {
		f := newSPSSFile(j, layouts[t])
		schema := f.schema(j, langs)
		w.files[t] = f
		w.order = append(w.order, f)
		if err := w.begin(f, schema); err != nil {
			return w, spssFault(t.Name, err)
		}
	}
	return w, nil
}

// begin opens the file of a table.
func (w *spssWriter) begin(f *spssFile, schema *sav.Schema) (err error) {
	f.path = "spss/" + f.table.Name + ".sav"
	if !w.packed {
		if f.out, err = w.job.sink.create(f.path); err == nil {
			f.w, err = sav.NewStreamWriter(f.out, schema, w.job.stats[f.table].rows, sav.Options{})
		}
		return err
	}
	f.path = "spss/" + f.table.Name + ".zsav"
	if f.file, err = scratch(f.path); err == nil {
		f.w, err = sav.NewWriter(f.file, schema, sav.Options{ZLIB: true})
	}
	return err
}

// spssFault names the table and the variable, never the value. Errors of the file itself pass.
func spssFault(table string, err error) error {
	var e *sav.Error
	if !errors.As(err, &e) {
		return err
	}
	return fault.New(fault.Invalid, fault.BadRequest, "table %s cannot be written for SPSS, leave the sav format out: %w", table, e)
}

func (f *spssFile) schema(j *job, langs []language) *sav.Schema {
	s := &sav.Schema{Label: worded(j.fileLabel(f.table), langs)}
	for _, l := range langs {
		s.Languages = append(s.Languages, l.name)
	}
	s.Documents = j.fileNotes(f.table, "Missing answers are numbers declared as missing: -99 refused, -98 don't know, -97 not applicable, -96 not asked; "+
		"-999 to -996, and so on, where a variable has values among those; system-missing: no answer and no reason. "+
		"缺失值：-99 拒绝回答，-98 不知道，-97 不适用，-96 未询问；若与变量取值冲突，则为 -999 至 -996，依此类推；系统缺失为无回答且无原因。")
	known, sets := map[string]bool{}, labelSets{}
	for i := range f.vars {
		v := &f.vars[i]
		out := sav.Variable{Name: v.name, Label: worded(v.label, langs), Attributes: spssAttributes(v)}
		f.kind(v, &out)
		if v.fold >= 0 {
			out.Missing.Range = &[2]float64{float64(v.missing), float64(v.missing + reasonBlock - 1)}
		}
		if key := v.labelSet(); key != "" {
			if v.fold >= 0 {
				key += strconv.FormatInt(v.missing, 10)
			}
			out.LabelSet = sets.name(key, v)
			if !known[out.LabelSet] {
				known[out.LabelSet] = true
				s.LabelSets = append(s.LabelSets, spssLabels(out.LabelSet, v, langs))
			}
		}
		s.Variables = append(s.Variables, out)
	}
	s.Multiple = f.multiple(langs)
	return s
}

// multiple are the questions with several answers, of which each has a variable.
func (f *spssFile) multiple(langs []language) []sav.MultipleResponse {
	var out []sav.MultipleResponse
	for _, q := range f.table.Questions {
		if q.op != opChoices || q.at-q.from < 3 {
			continue
		}
		m := sav.MultipleResponse{Name: q.Name, Label: worded(q.Label, langs), Counted: 1}
		for _, c := range f.table.Columns[q.from+1 : q.at] {
			if !c.hidden {
				m.Variables = append(m.Variables, c.Name)
			}
		}
		if len(m.Variables) > 1 {
			out = append(out, m)
		}
	}
	return out
}

func spssLabels(name string, v *variable, langs []language) sav.LabelSet {
	set := sav.LabelSet{Name: name}
	for _, l := range v.column.Values {
		set.Labels = append(set.Labels, sav.ValueLabel{Number: float64(l.Code), Text: worded(l.Label, langs)})
	}
	if v.fold >= 0 {
		for i, y := range reasons() {
			set.Labels = append(set.Labels, sav.ValueLabel{Number: float64(v.missing + int64(i)), Text: worded(reasonLabel(y), langs)})
		}
	}
	return set
}

func spssAttributes(v *variable) []sav.Attribute {
	var out []sav.Attribute
	if notes := v.notes(); len(notes) > 0 {
		out = append(out, sav.Attribute{Name: "Notes", Values: notes})
	}
	if v.column != nil && v.column.Path != "" {
		out = append(out, sav.Attribute{Name: "Path", Values: []string{v.column.Path}}, sav.Attribute{Name: "FieldNumbers", Values: []string{v.column.Numbers}})
	}
	return out
}

// spssText is how many bytes of a text are written: one less than the format holds, as haven loses the last one then.
const spssText = 32_766

// spssWidth is the width of a variable whose longest text has so many bytes. ReadStat, and so haven, loses the last
// byte of a text that fills the widest variable of a file to the end, where that has certain widths; one byte more is enough.
func spssWidth(longest int) int {
	if longest > 255 && longest%255%8 == 0 {
		longest++
	}
	return min(max(1, longest), spssText)
}

// kind sets what the variable holds, and how it is shown and measured.
func (f *spssFile) kind(v *variable, out *sav.Variable) {
	width := 0
	switch v.shape {
	case asWhole:
		out.Kind = sav.Number
		lo, hi, _ := v.stats.bounds(v.column)
		out.Format = fmt.Sprintf("F%d", max(8, len(strconv.FormatFloat(max(math.Abs(lo), math.Abs(hi)), 'f', 0, 64))+1))
		out.Measure = sav.Scale
		if v.column.Kind != KindInteger {
			out.Measure = sav.Nominal
		}
	case asNumber:
		out.Kind, out.Measure, out.Format = sav.Number, sav.Scale, "F12.4"
	case asDay:
		out.Kind, out.Measure = sav.Date, sav.Scale
	case asMoment:
		out.Kind, out.Measure = sav.Datetime, sav.Scale
	default:
		longest, _, _ := v.longest()
		width = spssWidth(longest)
		out.Kind, out.Width, out.Measure = sav.String, width, sav.Nominal
		out.Columns = min(max(8, width), 40)
	}
	f.widths = append(f.widths, width)
	if v.column == nil || out.Kind == sav.String {
		return
	}
	switch v.column.Measure {
	case formv1.Measure_MEASURE_NOMINAL:
		out.Measure = sav.Nominal
	case formv1.Measure_MEASURE_ORDINAL:
		out.Measure = sav.Ordinal
	case formv1.Measure_MEASURE_SCALE:
		out.Measure = sav.Scale
	}
}

func (w *spssWriter) write(l *layout, r *row) error {
	f := w.files[l.table]
	for i := range f.vars {
		f.values[i] = w.value(f, i, r)
	}
	if err := f.w.Row(f.values); err != nil {
		return spssFault(l.table.Name, err)
	}
	return nil
}

// gregorian is the first day that SPSS counts.
func gregorian(t time.Time) bool {
	return !t.Before(time.Date(1582, time.October, 15, 0, 0, 0, 0, time.UTC))
}

func (w *spssWriter) value(f *spssFile, i int, r *row) sav.Value {
	v := &f.vars[i]
	switch v.shape {
	case asText, asDayText, asReason:
		return w.text(f, i, r)
	case asDay:
		if d, ok := v.day(r); ok && gregorian(d) {
			return sav.Day(d)
		}
		return sav.Value{}
	}
	c := &r.cells[v.col]
	if !c.set {
		if y := v.reasonOf(r); y != 0 {
			return sav.Whole(v.missing + int64(slices.Index(reasons(), y)))
		}
		return sav.Value{}
	}
	switch v.shape {
	case asMoment:
		if t := time.UnixMilli(c.i).UTC(); gregorian(t) {
			return sav.Moment(t)
		}
		w.lost.add(f.table, v.name, lostTime)
	case asNumber:
		if finite(c.f) {
			return sav.Real(c.f)
		}
		w.lost.add(f.table, v.name, lostNumber)
	default:
		return sav.Whole(c.i)
	}
	return sav.Value{}
}

func (w *spssWriter) text(f *spssFile, i int, r *row) sav.Value {
	v := &f.vars[i]
	s, replaced := v.textOf(r)
	if replaced {
		w.lost.add(f.table, v.name, lostCharacters)
	}
	if len(s) > spssText {
		w.lost.add(f.table, v.name, lostText)
		s = cutBytes(s, spssText)
	}
	return sav.Text(s)
}

func (w *spssWriter) close() error {
	for _, f := range w.order {
		if err := f.w.Close(); err != nil {
			return spssFault(f.table.Name, err)
		}
		if err := f.end(w.job.sink); err != nil {
			return err
		}
	}
	format := servicev1.ExportFormat_EXPORT_FORMAT_SAV
	if w.packed {
		format = servicev1.ExportFormat_EXPORT_FORMAT_ZSAV
	}
	w.job.warnings = append(w.job.warnings, w.lost.warnings(FormatName(format))...)
	return nil
}

// end completes the file of a table.
func (f *spssFile) end(sink *hashingSink) error {
	if f.out != nil {
		return f.out.close()
	}
	err := sink.copy(f.path, f.file)
	_ = f.file.Close() // it has no name: nothing stays
	f.file = nil
	return err
}

func (w *spssWriter) abort() {
	for _, f := range w.order {
		if f.file != nil {
			_ = f.file.Close()
			f.file = nil
		}
	}
}
