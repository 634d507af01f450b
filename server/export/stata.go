package export

import (
	"errors"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/export/dta"
)

// stataWriter writes one file per table, for Stata 14 and later. Texts that take less room so are long strings; they wait
// in a temporary file until the rows are written.
type stataWriter struct {
	job   *job
	files map[*Table]*stataFile
	order []*stataFile
	lost  losses
}

type stataFile struct {
	table    *Table
	vars     []variable
	kinds    []dta.Kind
	widths   []int
	out      *hashedFile
	spill    *scratchFile // of the long strings, where there are any
	w        *dta.Writer
	values   []dta.Value
	wantLong int64 // bytes of long strings
	perText  int64 // bytes that a long string takes besides its own
}

// checkStata says what the format cannot hold.
func checkStata(j *job, layouts map[*Table]*layout) error {
	langs := languages(j.opts.Language)
	for _, t := range j.plan.Tables {
		f, err := newStataFile(j, layouts[t])
		if err == nil && len(f.vars) > stataVariables {
			// Release 119 has room for more, but only Stata/MP opens it, and readers disagree about it.
			return fault.New(fault.TooLarge, fault.BadRequest, "table %s has %d variables and a Stata file that every program reads %d: leave the dta format out", t.Name, len(f.vars), stataVariables)
		}
		if err == nil {
			_, err = dta.NewCounter(f.schema(j, j.stats[t], langs))
		}
		if err != nil {
			return stataFault(t.Name, err)
		}
	}
	return nil
}

func newStataFile(j *job, l *layout) (*stataFile, error) {
	perText, err := longTextOverhead()
	if err != nil {
		return nil, err
	}
	f := &stataFile{table: l.table, vars: variables(l, j.stats[l.table]), perText: perText}
	f.values = make([]dta.Value, len(f.vars))
	return f, nil
}

func newStataWriter(j *job, layouts map[*Table]*layout) (formatWriter, error) {
	w := &stataWriter{job: j, files: map[*Table]*stataFile{}, lost: losses{}}
	langs := languages(j.opts.Language)
	for _, t := range j.plan.Tables {
		st := j.stats[t]
		f, err := newStataFile(j, layouts[t])
		if err != nil {
			return w, stataFault(t.Name, err)
		}
		schema := f.schema(j, st, langs)
		if f.wantLong > 0 {
			if f.spill, err = scratch("stata/" + t.Name + ".dta"); err != nil {
				return w, err
			}
		}
		w.files[t] = f
		w.order = append(w.order, f)
		if f.out, err = j.sink.create("stata/" + t.Name + ".dta"); err != nil {
			return w, err
		}
		size, opts := dta.Size{Rows: uint64(st.rows), LongText: uint64(f.wantLong)}, dta.Options{}
		if f.spill != nil {
			opts.Spill = f.spill
		}
		if f.w, err = dta.NewStreamWriter(f.out, schema, size, opts); err != nil {
			return w, stataFault(t.Name, err)
		}
	}
	return w, nil
}

// longTextOverhead is what a long string takes in a file besides its bytes.
func longTextOverhead() (int64, error) {
	c, err := dta.NewCounter(&dta.Schema{Variables: []dta.Variable{{Name: "x", Kind: dta.LongString}}})
	if err != nil {
		return 0, err
	}
	if err := c.Row([]dta.Value{dta.Text("x")}); err != nil {
		return 0, err
	}
	return int64(c.Size().LongText) - 1, nil
}

// stataFault names the table and the variable, never the value. Errors of the file itself pass.
func stataFault(table string, err error) error {
	var e *dta.Error
	if !errors.As(err, &e) {
		return err
	}
	return fault.New(fault.Invalid, fault.BadRequest, "table %s cannot be written for Stata, leave the dta format out: %w", table, e)
}

func (f *stataFile) schema(j *job, st *tableStats, langs []language) *dta.Schema {
	s := &dta.Schema{Label: worded(j.fileLabel(f.table), langs)}
	for _, l := range langs {
		s.Languages = append(s.Languages, l.name)
	}
	s.Notes = j.fileNotes(f.table, "Missing answers: .r refused, .d don't know, .n not applicable, .s not asked; . no answer and no reason. "+
		"缺失值：.r 拒绝回答，.d 不知道，.n 不适用，.s 未询问；. 为无回答且无原因。")
	names, taken, sets := map[string]string{}, map[string]bool{}, labelSets{}
	for i := range f.vars {
		v := &f.vars[i]
		out := dta.Variable{Name: v.name, Label: worded(v.label, langs), Notes: v.notes()}
		if utf8.RuneCountInString(out.Label[langs[0].name]) > 80 {
			// The file has a note with the full label then.
			out.Notes = slices.DeleteFunc(out.Notes, func(n string) bool { return n == "Question: "+out.Label["en"] || n == "问题："+out.Label["zh"] })
		}
		if v.column != nil && v.column.Path != "" {
			out.Characteristics = []dta.Characteristic{{Name: "path", Text: v.column.Path}, {Name: "field_numbers", Text: v.column.Numbers}}
		}
		out.Kind, out.Width, out.Format = f.kind(v, st)
		if key := v.labelSet(); key != "" {
			key = sets.name(key, v)
			if names[key] == "" {
				names[key] = setName(key, langs, taken)
				s.LabelSets = append(s.LabelSets, stataLabels(names[key], v, langs))
			}
			out.LabelSet = names[key]
		}
		f.kinds, f.widths = append(f.kinds, out.Kind), append(f.widths, out.Width)
		s.Variables = append(s.Variables, out)
	}
	s.SortedBy = f.sortedBy(st)
	return s
}

// sortedBy is the keys the rows are in order of.
func (f *stataFile) sortedBy(st *tableStats) []string {
	var out []string
	for i := range st.sorted {
		k := slices.IndexFunc(f.vars, func(v variable) bool { return v.column != nil && v.col == i })
		if k < 0 || f.kinds[k] == dta.LongString || f.kinds[k] >= dta.Date && f.kinds[k] <= dta.Datetime ||
			f.vars[k].shape == asText && f.vars[k].column.Kind != KindText {
			break
		}
		out = append(out, f.vars[k].name)
	}
	return out
}

func stataLabels(name string, v *variable, langs []language) dta.LabelSet {
	set := dta.LabelSet{Name: name}
	for _, l := range v.column.Values {
		set.Labels = append(set.Labels, dta.ValueLabel{Code: l.Code, Text: worded(l.Label, langs)})
	}
	for _, y := range reasons() {
		set.Labels = append(set.Labels, dta.ValueLabel{Missing: dta.Reason(reasonLetter(y)), Text: worded(reasonLabel(y), langs)})
	}
	return set
}

const (
	stataVariables = 32_767

	stataText  = 2_045 // bytes of a text that is not long
	stataShort = 32    // bytes below which a text is never long
)

// kind is the narrowest that holds all values.
func (f *stataFile) kind(v *variable, st *tableStats) (kind dta.Kind, width int, format string) {
	switch v.shape {
	case asWhole:
		lo, hi, _ := v.stats.bounds(v.column)
		switch {
		case lo >= -127 && hi <= 100:
			return dta.Byte, 0, ""
		case lo >= -32_767 && hi <= 32_740:
			return dta.Int, 0, ""
		case lo >= -2_147_483_647 && hi <= 2_147_483_620:
			return dta.Long, 0, ""
		}
		return dta.Double, 0, "%18.0g"
	case asNumber:
		return dta.Double, 0, ""
	case asDay:
		return dta.Date, 0, "%tdCCYY-NN-DD"
	case asMoment:
		return dta.Datetime, 0, "%tcCCYY-NN-DD!THH:MM:SS"
	}
	longest, all, n := v.longest()
	width = max(1, longest)
	key := v.column != nil && v.col < f.table.Keys
	if width <= stataShort || width <= stataText && (key || int64(width)*st.rows <= 8*st.rows+n*f.perText+all) {
		return dta.String, width, ""
	}
	f.wantLong += n*f.perText + all
	return dta.LongString, 0, ""
}

func (w *stataWriter) write(l *layout, r *row) error {
	f := w.files[l.table]
	for i := range f.vars {
		f.values[i] = w.value(f, i, r)
	}
	if err := f.w.Row(f.values); err != nil {
		return stataFault(l.table.Name, err)
	}
	return nil
}

func (w *stataWriter) value(f *stataFile, i int, r *row) dta.Value {
	v := &f.vars[i]
	switch v.shape {
	case asText, asDayText, asReason:
		return w.text(f, i, r)
	case asDay:
		if d, ok := v.day(r); ok && d.Year() >= 100 {
			return dta.Day(d)
		}
		return dta.Value{}
	}
	c := &r.cells[v.col]
	if !c.set {
		return dta.Missing(dta.Reason(letterOrNone(v.reasonOf(r))))
	}
	switch v.shape {
	case asMoment:
		if t := time.UnixMilli(c.i).UTC(); t.Year() >= 100 {
			return dta.Moment(t)
		}
		w.lost.add(f.table, v.name, lostTime)
	case asNumber:
		if finite(c.f) {
			return dta.Real(c.f)
		}
		w.lost.add(f.table, v.name, lostNumber)
	default:
		return dta.Whole(c.i)
	}
	return dta.Value{}
}

func letterOrNone(stored int32) byte {
	if stored == 0 {
		return 0
	}
	return reasonLetter(stored)
}

func (w *stataWriter) text(f *stataFile, i int, r *row) dta.Value {
	v := &f.vars[i]
	s, replaced := v.textOf(r)
	if replaced {
		w.lost.add(f.table, v.name, lostCharacters)
	}
	return dta.Text(s)
}

func (w *stataWriter) close() error {
	for _, f := range w.order {
		if err := f.w.Close(); err != nil {
			return stataFault(f.table.Name, err)
		}
		if err := f.out.close(); err != nil {
			return err
		}
	}
	w.job.warnings = append(w.job.warnings, w.lost.warnings(FormatName(servicev1.ExportFormat_EXPORT_FORMAT_DTA))...)
	w.abort()
	return nil
}

func (w *stataWriter) abort() {
	for _, f := range w.order {
		if f.spill != nil {
			_ = f.spill.Close() // it has no name: nothing stays
			f.spill = nil
		}
	}
}
