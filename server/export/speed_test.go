package export

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/parquet-go/parquet-go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

const speedRows = 200_000

// speedForm is 50 questions: 20 codes, 18 whole numbers, 5 with fractions, 3 dates and times, 4 texts.
func speedForm(t testing.TB) protoreflect.MessageDescriptor {
	var b strings.Builder
	b.WriteString("edition = \"2023\";\npackage form.speed;\nimport \"hearth/form/v1/options.proto\";\nenum Code { CODE_UNSPECIFIED = 0; A = 1; B = 2; C = 3; }\nmessage Speed {\n")
	for i := range 50 {
		kind, format := "Code", ""
		switch {
		case i >= 46:
			kind = "string"
		case i >= 45:
			kind, format = "string", "format: FORMAT_DATE_TIME"
		case i >= 43:
			kind, format = "string", "format: FORMAT_DATE"
		case i >= 38:
			kind = "double"
		case i >= 20:
			kind = "int64"
		}
		fmt.Fprintf(&b, "  %s v%d = %d [(hearth.form.v1.question) = {label: {en: \"Question %d\"} personal_data: PERSONAL_DATA_NONE %s}];\n", kind, i, i+1, i, format)
	}
	b.WriteString("}\n")
	return questionnaireOf(t, b.String(), "Speed")
}

// speedAnswers are 1,000 interviews, packed.
func speedAnswers(t testing.TB, top protoreflect.MessageDescriptor) [][]byte {
	var out [][]byte
	for r := range 1_000 {
		m := dynamicpb.NewMessage(top)
		for i := range top.Fields().Len() {
			fd := top.Fields().Get(i)
			n := (r*31 + i*7) % 100
			switch {
			case n < 10: // no answer
			case fd.Enum() != nil:
				m.Set(fd, protoreflect.ValueOfEnum(protoreflect.EnumNumber(1+n%3)))
			case fd.Kind() == protoreflect.Int64Kind:
				m.Set(fd, protoreflect.ValueOfInt64(int64(n)*int64(1+i%3*1000)))
			case fd.Kind() == protoreflect.DoubleKind:
				m.Set(fd, protoreflect.ValueOfFloat64(float64(n)/7))
			case i >= 46:
				m.Set(fd, protoreflect.ValueOfString(fmt.Sprintf("GY-%d 贵阳", n)))
			case i == 45:
				m.Set(fd, protoreflect.ValueOfString(fmt.Sprintf("2026-03-%02dT08:30:00+08:00", n%28+1)))
			default:
				m.Set(fd, protoreflect.ValueOfString(fmt.Sprintf("2026-03-%02d", n%28+1)))
			}
		}
		raw, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, raw)
	}
	return out
}

// speedSource yields n interviews without holding them.
func speedSource(t testing.TB, n int) Source {
	top := speedForm(t)
	answers := speedAnswers(t, top)
	src := Source{Published: []Published{{Top: top}}}
	src.Interviews = func(yield func(*Answered, error) bool) {
		for i := range n {
			iv := &surveyv1.Interview{
				InterviewId: proto.String(fmt.Sprintf("00000000-0000-4000-8000-%012d", i)), QuestionnaireVersion: proto.Uint32(1),
				Answers: &surveyv1.Interview_Other{Other: &surveyv1.OtherAnswers{Questionnaire: proto.String("form.speed.Speed"), Answers: answers[i%len(answers)]}},
			}
			if !yield(&Answered{Interview: iv, Summary: &servicev1.InterviewSummary{}}, nil) {
				return
			}
		}
	}
	return src
}

// BenchmarkRows writes 200,000 rows of 50 variables in each format (s/writer), the same from the interviews on, both passes
// included (s/whole), and the same rows in a bare loop of the format's encoder (ratio is writer to loop). The encoders of
// .dta and .sav have their own benchmarks, where the loop writes the same bytes.
func BenchmarkRows(b *testing.B) {
	for _, f := range []servicev1.ExportFormat{asCSV, asParquet, asStata, asSPSS, asJSON, asExcel} {
		b.Run(FormatName(f), func(b *testing.B) {
			n := speedRows
			if f == asExcel {
				n /= 10
			}
			var writer, loop, whole time.Duration
			for b.Loop() {
				w, rows, layout := speedWriter(b, f, n)
				began := time.Now()
				for i := range n {
					if err := w.write(layout, rows[i%len(rows)]); err != nil {
						b.Fatal(err)
					}
				}
				if err := w.close(); err != nil {
					b.Fatal(err)
				}
				writer += time.Since(began)
				began = time.Now()
				bareLoop(b, f, rows, layout, n)
				loop += time.Since(began)
				began = time.Now()
				if _, err := Write(context.Background(), speedSource(b, n), Options{Formats: []servicev1.ExportFormat{f}}, discard{}, nil); err != nil {
					b.Fatal(err)
				}
				whole += time.Since(began)
			}
			b.ReportMetric(writer.Seconds()/float64(b.N), "s/writer")
			b.ReportMetric(whole.Seconds()/float64(b.N), "s/whole")
			if loop > 0 {
				b.ReportMetric(writer.Seconds()/loop.Seconds(), "ratio")
			}
		})
	}
}

// speedWriter makes the writer of a format for the 50 questions alone, and 1,000 rows.
func speedWriter(b *testing.B, f servicev1.ExportFormat, n int) (formatWriter, []*row, *layout) {
	src := speedSource(b, n)
	j, err := newJob(src, Options{Formats: []servicev1.ExportFormat{f}}, discard{}, nil)
	if err != nil {
		b.Fatal(err)
	}
	table := j.plan.table("speed")
	j.plan.Tables = []*Table{table}
	// The keys of the interview are none of the 50.
	for i := range table.Columns {
		table.Columns[i].hidden = table.Columns[i].Path == "interview_id" || table.Columns[i].Name == "questionnaire_version" || table.Columns[i].Name == "v45_text"
	}
	var rows []*row
	x := newExtractor(&Plan{Tables: []*Table{table}}, Source{}, "en", func(r *row) error {
		rows = append(rows, &row{table: table, cells: append([]cell(nil), r.cells...), why: append([]int32(nil), r.why...)})
		return nil
	})
	top := src.Published[0].Top
	for _, raw := range speedAnswers(b, top) {
		m := dynamicpb.NewMessage(top)
		if err := proto.Unmarshal(raw, m); err != nil {
			b.Fatal(err)
		}
		parent := &row{cells: []cell{textCell("i")}}
		if err := x.message(table, m, parent, 1, "", ""); err != nil {
			b.Fatal(err)
		}
	}
	for i := range n {
		j.stats[table].add(rows[i%len(rows)])
	}
	layouts := map[*Table]*layout{table: newLayout(table, j.stats[table])}
	made := slices.DeleteFunc(formats(), func(o format) bool { return o.number != f })[0]
	w, err := made.open(j, layouts)
	if err != nil {
		b.Fatal(err)
	}
	return w, rows, layouts[table]
}

// bareLoop writes the same values with the format's encoder alone.
func bareLoop(b *testing.B, f servicev1.ExportFormat, rows []*row, l *layout, n int) {
	var err error
	switch f {
	case asCSV:
		w := csv.NewWriter(bufio.NewWriterSize(io.Discard, 64<<10))
		line := make([]string, len(l.slots))
		for i := 0; i < n && err == nil; i++ {
			for k, s := range l.slots {
				line[k] = bareText(s, &rows[i%len(rows)].cells[s.col])
			}
			err = w.Write(line)
		}
	case asJSON:
		w := json.NewEncoder(bufio.NewWriterSize(io.Discard, 64<<10))
		for i := 0; i < n && err == nil; i++ {
			object := map[string]any{}
			for _, s := range l.slots {
				if c := &rows[i%len(rows)].cells[s.col]; c.set {
					object[s.name] = bareText(s, c)
				}
			}
			err = w.Encode(object)
		}
	case asParquet:
		group := orderedGroup{Group: parquet.Group{}}
		for _, s := range l.slots {
			group.Group[s.name] = parquetNode(&variable{column: s.column})
			group.order = append(group.order, s.name)
		}
		w := parquet.NewGenericWriter[any](io.Discard, parquet.NewSchema("x", group))
		out := make([]parquet.Row, 1)
		for i := 0; i < n && err == nil; i++ {
			out[0] = out[0][:0]
			for k, s := range l.slots {
				c := &rows[i%len(rows)].cells[s.col]
				var v parquet.Value
				switch {
				case !c.set:
					out[0] = append(out[0], parquet.NullValue().Level(0, 0, k))
					continue
				case s.column.Kind == KindCode || s.column.Kind == KindYesNo:
					v = parquet.Int32Value(int32(c.i))
				case s.column.Kind == KindNumber:
					v = parquet.DoubleValue(c.f)
				case s.column.Kind == KindText || s.column.Kind == KindDate:
					v = parquet.ByteArrayValue([]byte(c.s))
				default:
					v = parquet.Int64Value(c.i)
				}
				out[0] = append(out[0], v.Level(0, 1, k))
			}
			_, err = w.WriteRows(out)
		}
		if err == nil {
			err = w.Close()
		}
	}
	if err != nil {
		b.Fatal(err)
	}
}

func bareText(s slot, c *cell) string {
	switch {
	case !c.set:
		return ""
	case s.column.Kind == KindNumber:
		return strconv.FormatFloat(c.f, 'f', -1, 64)
	case s.column.Kind == KindText || s.column.Kind == KindDate:
		return c.s
	}
	return strconv.FormatInt(c.i, 10)
}

// busySource yields n interviews that fill every table, without holding them: some 60 rows each.
func busySource(n int) Source {
	some := random(5, 100, &filler{all: true})
	var all []*Answered
	for a := range some.Interviews {
		all = append(all, a)
	}
	return Source{Interviews: func(yield func(*Answered, error) bool) {
		for i := range n {
			if !yield(all[i%len(all)], nil) {
				return
			}
		}
	}}
}

// BenchmarkMemory exports interviews that fill every table in each format and in all, and says how much memory was in use at
// most: it is that of the tables' buffers, and does not grow with the interviews.
func BenchmarkMemory(b *testing.B) {
	for _, f := range append(Formats(), 0) {
		name, formats := "all", Formats()
		if f != 0 {
			name, formats = FormatName(f), []servicev1.ExportFormat{f}
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				runtime.GC()
				var most uint64
				var m runtime.MemStats
				if _, err := Write(context.Background(), busySource(memoryInterviews()), Options{Formats: formats, Profile: identified}, discard{}, func(done, _ int) {
					if done%200 == 0 {
						runtime.ReadMemStats(&m)
						most = max(most, m.HeapInuse+m.StackInuse)
					}
				}); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(most)/(1<<20), "MiB")
			}
		})
	}
}

// memoryInterviews is few in `make race`, which runs every benchmark once, and as many as HEARTH_INTERVIEWS says otherwise.
func memoryInterviews() int {
	if n, err := strconv.Atoi(os.Getenv("HEARTH_INTERVIEWS")); err == nil {
		return n
	}
	return 500
}
