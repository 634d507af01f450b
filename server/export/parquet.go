package export

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/hearth-survey/hearth/proto/fault"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	"github.com/parquet-go/parquet-go"
)

// Parquet keeps a group of rows in memory before it writes them: this many values and rows at most, and of all files together
// this many bytes, before packing; each column a page, of all columns together so many bytes.
const (
	parquetGroupValues = 2_000_000
	parquetGroupRows   = 64_000
	parquetGroupBytes  = 32 << 20
	parquetPagesBytes  = 16 << 20
	parquetBatchRows   = 64
)

// parquetWriter writes one file per table, packed with zstd. Every column may be empty; codes are numbers, several answers a
// list, dates that are known whole are dates, with the text as answered beside them, and the labels stand in the file's metadata
// under the key "hearth", as JSON.
type parquetWriter struct {
	files map[*Table]*parquetFile
	order []*parquetFile
	kept  int64 // bytes of all groups that are not written
}

type parquetFile struct {
	out   *hashedFile
	vars  []variable
	w     *parquet.GenericWriter[any]
	rows  []parquet.Row
	used  int
	bytes []byte // of the texts of the rows of a batch
	kept  int64  // bytes of the group that is not written
	group int64  // rows in it
	limit int64  // rows it may have
}

// orderedGroup keeps the columns in the questionnaire's order; a parquet.Group sorts them by name.
type orderedGroup struct {
	parquet.Group
	order []string
}

// Fields implements parquet.Node.
func (g orderedGroup) Fields() []parquet.Field {
	byName := map[string]parquet.Field{}
	for _, f := range g.Group.Fields() {
		byName[f.Name()] = f
	}
	out := make([]parquet.Field, 0, len(g.order))
	for _, name := range g.order {
		out = append(out, byName[name])
	}
	return out
}

func parquetNode(v *variable) parquet.Node {
	var n parquet.Node
	switch c := v.column; {
	case v.shape == asReason:
		n = parquet.Encoded(parquet.String(), &parquet.RLEDictionary)
	case c.list == listWhole:
		return parquet.Optional(parquet.List(parquet.Compressed(parquet.Int(64), &parquet.Zstd)))
	case c.list == listText:
		return parquet.Optional(parquet.List(parquet.Compressed(parquet.String(), &parquet.Zstd)))
	case c.Kind == KindInteger:
		n = parquet.Int(64)
	case c.Kind == KindCode || c.Kind == KindYesNo:
		n = parquet.Encoded(parquet.Int(32), &parquet.RLEDictionary)
	case c.Kind == KindNumber:
		n = parquet.Leaf(parquet.DoubleType)
	case c.Kind == KindTime:
		n = parquet.Timestamp(parquet.Millisecond)
	case v.shape == asDay:
		n = parquet.Date()
	default:
		n = parquet.String()
	}
	return parquet.Optional(parquet.Compressed(n, &parquet.Zstd))
}

func newParquetWriter(j *job, layouts map[*Table]*layout) (formatWriter, error) {
	w := &parquetWriter{files: map[*Table]*parquetFile{}}
	columns := 0
	for _, l := range layouts {
		columns += len(l.slots)
	}
	page := min(max(4<<10, parquetPagesBytes/max(1, columns)), 64<<10)
	for _, t := range j.plan.Tables {
		f := &parquetFile{vars: dated(layouts[t], j.stats[t])}
		group := orderedGroup{Group: parquet.Group{}}
		for i := range f.vars {
			v := &f.vars[i]
			group.Group[v.name] = parquetNode(v)
			group.order = append(group.order, v.name)
		}
		meta, err := parquetMeta(t, f.vars)
		if err != nil {
			return w, err
		}
		out, err := j.sink.create("parquet/" + t.Name + ".parquet")
		if err != nil {
			return w, err
		}
		f.out = out
		f.limit = int64(min(parquetGroupRows, max(1000, parquetGroupValues/max(1, len(f.vars)))))
		f.w = parquet.NewGenericWriter[any](out, parquet.NewSchema(t.Name, group), parquet.CreatedBy("hearth", j.opts.Program, ""),
			parquet.KeyValueMetadata("hearth", meta), parquet.MaxRowsPerRowGroup(2*f.limit), parquet.PageBufferSize(page),
			parquet.WriteBufferSize(0), parquet.DataPageStatistics(false))
		w.files[t] = f
		w.order = append(w.order, f)
	}
	return w, nil
}

func (w *parquetWriter) write(l *layout, r *row) error {
	f := w.files[l.table]
	if f.used == len(f.rows) {
		f.rows = append(f.rows, make(parquet.Row, 0, len(l.slots)))
	}
	out := f.rows[f.used][:0]
	for i := range f.vars {
		out = f.append(out, i, r)
	}
	f.rows[f.used] = out
	f.used++
	if f.used < parquetBatchRows {
		return nil
	}
	return w.flush(f)
}

// flush hands a batch of rows over, and writes a group where it is full, or where all together are too much: the largest.
func (w *parquetWriter) flush(f *parquetFile) error {
	size := int64(len(f.bytes))
	for _, r := range f.rows[:f.used] {
		size += 8 * int64(len(r))
	}
	f.group += int64(f.used)
	f.kept += size
	w.kept += size
	if err := f.flush(); err != nil {
		return err
	}
	if f.group < f.limit {
		if w.kept < parquetGroupBytes {
			return nil
		}
		f = slices.MaxFunc(w.order, func(a, b *parquetFile) int { return cmp.Compare(a.kept, b.kept) })
	}
	w.kept -= f.kept
	f.kept, f.group = 0, 0
	if err := f.w.Flush(); err != nil {
		return writeFault(f.out.name, err)
	}
	return nil
}

// append adds the value of a variable to a row, or the values of a list.
func (f *parquetFile) append(out parquet.Row, at int, r *row) parquet.Row {
	v := &f.vars[at]
	if v.column == nil || v.column.list == listNone {
		if value := f.value(v, r); !value.IsNull() {
			return append(out, value.Level(0, 1, at))
		}
		return append(out, parquet.NullValue().Level(0, 0, at))
	}
	c := &r.cells[v.col]
	if !c.set {
		return append(out, parquet.NullValue().Level(0, 0, at))
	}
	for i, item := range splitItems(c.s) {
		value := f.text(item)
		if v.column.list == listWhole {
			n, _ := strconv.ParseInt(item, 10, 64) // joined from numbers
			value = parquet.Int64Value(n)
		}
		out = append(out, value.Level(min(i, 1), 2, at))
	}
	return out
}

func (f *parquetFile) value(v *variable, r *row) parquet.Value {
	if v.shape == asReason {
		if y := r.why[v.question]; y != 0 {
			return f.text(reason(y))
		}
		return parquet.NullValue()
	}
	c := &r.cells[v.col]
	if !c.set {
		return parquet.NullValue()
	}
	switch v.column.Kind {
	case KindInteger, KindTime:
		return parquet.Int64Value(c.i)
	case KindCode, KindYesNo:
		return parquet.Int32Value(int32(c.i))
	case KindNumber:
		return parquet.DoubleValue(c.f)
	}
	if v.shape == asDay {
		d, ok := v.day(r)
		if !ok {
			return parquet.NullValue()
		}
		return parquet.Int32Value(int32(d.Unix() / 86_400))
	}
	return f.text(c.s)
}

// text keeps a text until the rows are written.
func (f *parquetFile) text(s string) parquet.Value {
	from := len(f.bytes)
	f.bytes = append(f.bytes, s...)
	return parquet.ByteArrayValue(f.bytes[from:len(f.bytes):len(f.bytes)])
}

func (f *parquetFile) flush() error {
	if f.used == 0 {
		return nil
	}
	if _, err := f.w.WriteRows(f.rows[:f.used]); err != nil {
		return writeFault(f.out.name, err)
	}
	f.used, f.bytes = 0, f.bytes[:0]
	return nil
}

func (w *parquetWriter) close() error {
	for _, f := range w.order {
		if err := f.flush(); err != nil {
			return err
		}
		if err := f.w.Close(); err != nil {
			return writeFault(f.out.name, err)
		}
		if err := f.out.close(); err != nil {
			return err
		}
	}
	return nil
}

func (w *parquetWriter) abort() {}

// The metadata of a Parquet file.
type (
	metaTable struct {
		Table     string         `json:"table"`
		Title     metaText       `json:"title"`
		Variables []metaVariable `json:"variables"`
	}
	metaVariable struct {
		Name     string      `json:"name"`
		Label    metaText    `json:"label"`
		Universe *metaText   `json:"universe,omitempty"`
		Relevant string      `json:"relevant,omitempty"`
		Unit     string      `json:"unit,omitempty"`
		Measure  string      `json:"measure,omitempty"`
		Path     string      `json:"path,omitempty"`
		Numbers  string      `json:"field_numbers,omitempty"`
		Values   []metaValue `json:"values,omitempty"`
	}
	metaValue struct {
		Code  int32    `json:"code"`
		Label metaText `json:"label"`
	}
	metaText struct {
		EN string `json:"en"`
		ZH string `json:"zh"`
	}
)

func metaOf(t *formv1.Text) metaText { return metaText{EN: wording(t, "en"), ZH: wording(t, "zh")} }

func parquetMeta(t *Table, vars []variable) (string, error) {
	m := metaTable{Table: t.Name, Title: metaOf(t.Title)}
	for i := range vars {
		v := metaVariable{Name: vars[i].name, Label: metaOf(vars[i].label)}
		if c := vars[i].column; c != nil {
			v.Unit, v.Measure, v.Path, v.Numbers = c.Unit, measureName(c.Measure), c.Path, c.Numbers
			v.Universe, v.Relevant = optionalMeta(c.Universe), c.Relevant
			for _, l := range c.Values {
				v.Values = append(v.Values, metaValue{Code: l.Code, Label: metaOf(l.Label)})
			}
		}
		m.Variables = append(m.Variables, v)
	}
	b, err := json.Marshal(m)
	if err != nil {
		return "", fault.New(fault.Internal, "", "labels of table %s cannot be encoded: %w", t.Name, err)
	}
	return string(b), nil
}

func optionalMeta(t *formv1.Text) *metaText {
	if t == nil {
		return nil
	}
	m := metaOf(t)
	return &m
}

// whyLabel is the label of a column of reasons.
func whyLabel(q *Question) *formv1.Text {
	return within(text("Why no answer", "无回答原因"), q.Label)
}
