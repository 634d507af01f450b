package export

import (
	"encoding/json"

	"github.com/hearth-survey/hearth/proto/fault"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	"github.com/parquet-go/parquet-go"
)

// Parquet keeps a group of rows in memory before it writes them: this many values, in pages of this many bytes.
const (
	parquetGroupValues = 2_000_000
	parquetGroupRows   = 64_000
	parquetPageBytes   = 64 << 10
	parquetBatchRows   = 64
)

// parquetWriter writes one file per table, packed with zstd. Every column may be empty; codes are numbers, and their
// labels stand in the file's metadata under the key "hearth", as JSON.
type parquetWriter struct {
	files map[*Table]*parquetFile
	order []*parquetFile
}

type parquetFile struct {
	out   *hashedFile
	w     *parquet.GenericWriter[any]
	rows  []parquet.Row
	used  int
	bytes []byte // of the texts of the rows kept
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

func parquetNode(c *Column) parquet.Node {
	var n parquet.Node
	switch {
	case c == nil:
		n = parquet.Encoded(parquet.String(), &parquet.RLEDictionary)
	case c.Kind == KindInteger:
		n = parquet.Int(64)
	case c.Kind == KindCode || c.Kind == KindYesNo:
		n = parquet.Encoded(parquet.Int(32), &parquet.RLEDictionary)
	case c.Kind == KindNumber:
		n = parquet.Leaf(parquet.DoubleType)
	case c.Kind == KindTime:
		n = parquet.Timestamp(parquet.Millisecond)
	default:
		n = parquet.String()
	}
	return parquet.Optional(parquet.Compressed(n, &parquet.Zstd))
}

func newParquetWriter(sink *hashingSink, p *Plan, layouts map[*Table]*layout, program string) (*parquetWriter, error) {
	w := &parquetWriter{files: map[*Table]*parquetFile{}}
	for _, t := range p.Tables {
		l := layouts[t]
		group := orderedGroup{Group: parquet.Group{}}
		for _, s := range l.slots {
			group.Group[s.name] = parquetNode(s.column)
			group.order = append(group.order, s.name)
		}
		meta, err := parquetMeta(l)
		if err != nil {
			return w, err
		}
		out, err := sink.create("parquet/" + t.Name + ".parquet")
		if err != nil {
			return w, err
		}
		f := &parquetFile{out: out}
		rows := int64(min(parquetGroupRows, max(1000, parquetGroupValues/len(l.slots))))
		f.w = parquet.NewGenericWriter[any](out, parquet.NewSchema(t.Name, group), parquet.CreatedBy("hearth", program, ""),
			parquet.KeyValueMetadata("hearth", meta), parquet.MaxRowsPerRowGroup(rows), parquet.PageBufferSize(parquetPageBytes),
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
	for i, s := range l.slots {
		v := f.value(s, r)
		if v.IsNull() {
			out = append(out, v.Level(0, 0, i))
			continue
		}
		out = append(out, v.Level(0, 1, i))
	}
	f.rows[f.used] = out
	f.used++
	if f.used < parquetBatchRows {
		return nil
	}
	return f.flush()
}

func (f *parquetFile) value(s slot, r *row) parquet.Value {
	if s.column == nil {
		if y := r.why[s.question]; y != 0 {
			return f.text(reason(y))
		}
		return parquet.NullValue()
	}
	c := &r.cells[s.col]
	if !c.set {
		return parquet.NullValue()
	}
	switch s.column.Kind {
	case KindInteger, KindTime:
		return parquet.Int64Value(c.i)
	case KindCode, KindYesNo:
		return parquet.Int32Value(int32(c.i))
	case KindNumber:
		return parquet.DoubleValue(c.f)
	default:
		return f.text(c.s)
	}
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
		Name   string      `json:"name"`
		Label  metaText    `json:"label"`
		Unit   string      `json:"unit,omitempty"`
		Values []metaValue `json:"values,omitempty"`
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

func parquetMeta(l *layout) (string, error) {
	m := metaTable{Table: l.table.Name, Title: metaOf(l.table.Title)}
	for _, s := range l.slots {
		v := metaVariable{Name: s.name}
		if s.column == nil {
			v.Label = metaOf(whyLabel(l.table.Questions[s.question]))
		} else {
			v.Label, v.Unit = metaOf(s.column.Label), s.column.Unit
			for _, c := range s.column.Values {
				v.Values = append(v.Values, metaValue{Code: c.Code, Label: metaOf(c.Label)})
			}
		}
		m.Variables = append(m.Variables, v)
	}
	b, err := json.Marshal(m)
	if err != nil {
		return "", fault.New(fault.Internal, "", "labels of table %s cannot be encoded: %w", l.table.Name, err)
	}
	return string(b), nil
}

// whyLabel is the label of a column of reasons.
func whyLabel(q *Question) *formv1.Text {
	return within(text("Why no answer", "无回答原因"), q.Label)
}
