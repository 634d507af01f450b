package export

import (
	"archive/zip"
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/parquet-go/parquet-go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// memory is a sink that keeps the files.
type memory struct {
	files   map[string][]byte
	aborted []string
	begun   int
	limit   int // bytes until writing fails; 0: never
	written int
}

type memoryFile struct {
	bytes.Buffer
	name string
	in   *memory
}

func (m *memory) Create(path string) (io.WriteCloser, error) {
	m.begun++
	return &memoryFile{name: path, in: m}, nil
}

func (f *memoryFile) Write(p []byte) (int, error) {
	f.in.written += len(p)
	if f.in.limit > 0 && f.in.written > f.in.limit {
		return 0, fmt.Errorf("no space left on device")
	}
	return f.Buffer.Write(p)
}

func (f *memoryFile) Close() error {
	if f.in.files == nil {
		f.in.files = map[string][]byte{}
	}
	f.in.files[f.name] = f.Bytes()
	return nil
}

func (f *memoryFile) Abort() error {
	f.in.aborted = append(f.in.aborted, f.name)
	return nil
}

const (
	identified = servicev1.PrivacyProfile_PRIVACY_PROFILE_IDENTIFIED
	research   = servicev1.PrivacyProfile_PRIVACY_PROFILE_RESEARCH
	asCSV      = servicev1.ExportFormat_EXPORT_FORMAT_CSV
	asParquet  = servicev1.ExportFormat_EXPORT_FORMAT_PARQUET
	asExcel    = servicev1.ExportFormat_EXPORT_FORMAT_XLSX
	asStata    = servicev1.ExportFormat_EXPORT_FORMAT_DTA
	asSPSS     = servicev1.ExportFormat_EXPORT_FORMAT_SAV
)

func export(t testing.TB, src Source, opts Options) (*memory, *Manifest) {
	t.Helper()
	sink := &memory{}
	m, err := Write(context.Background(), src, opts, sink, nil)
	if err != nil {
		t.Fatal(err)
	}
	return sink, m
}

// records reads a CSV file and returns its rows by column name.
func records(t testing.TB, content []byte) []map[string]string {
	t.Helper()
	if !bytes.HasPrefix(content, []byte("\ufeff")) {
		t.Error("no byte order mark")
	}
	all, err := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(content, []byte("\ufeff")))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var out []map[string]string
	for _, r := range all[1:] {
		row := map[string]string{}
		for i, name := range all[0] {
			row[name] = r[i]
		}
		out = append(out, row)
	}
	return out
}

// unpack returns every byte string of an export that a reader could see: the files, the parts of the workbook, the
// values and the metadata of Parquet.
func unpack(t testing.TB, files map[string][]byte) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for path, content := range files {
		out[path] = content
		switch {
		case strings.HasSuffix(path, ".xlsx"):
			z, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range z.File {
				r, err := f.Open()
				if err != nil {
					t.Fatal(err)
				}
				if out[path+"/"+f.Name], err = io.ReadAll(r); err != nil {
					t.Fatal(err)
				}
			}
		case strings.HasSuffix(path, ".parquet"):
			var b bytes.Buffer
			_, rows := parquetRows(t, content)
			for _, r := range rows {
				for _, v := range r {
					fmt.Fprintln(&b, v)
				}
			}
			out[path+"/values"] = b.Bytes()
		case strings.HasSuffix(path, ".zsav"):
			out[path+"/data"] = unpackBlocks(t, content)
		}
	}
	return out
}

// unpackBlocks returns the data of a .zsav, by its trailer.
func unpackBlocks(t testing.TB, b []byte) []byte {
	t.Helper()
	le := binary.LittleEndian
	at := bytes.LastIndex(b, le.AppendUint64(le.AppendUint64(nil, uint64(0xffffffffffffff9c)), 0)) // -100, 0: the trailer
	if at < 0 {
		t.Fatal("a .zsav without a trailer")
	}
	var out bytes.Buffer
	for i := range int(le.Uint32(b[at+20:])) {
		entry := b[at+24+24*i:]
		from, size := le.Uint64(entry[8:]), uint64(le.Uint32(entry[20:]))
		r, err := zlib.NewReader(bytes.NewReader(b[from : from+size]))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(&out, r); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

func parquetRows(t testing.TB, content []byte) (*parquet.File, []parquet.Row) {
	t.Helper()
	f, err := parquet.OpenFile(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	var out []parquet.Row
	for _, g := range f.RowGroups() {
		rows := g.Rows()
		buf := make([]parquet.Row, 10)
		for {
			n, err := rows.ReadRows(buf)
			for _, r := range buf[:n] {
				out = append(out, r.Clone())
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return f, out
}

// filler fills messages with answers of every kind.
type filler struct {
	r      *rand.Rand
	all    bool   // every field
	canary string // put into every direct identifier
	placed int
	said   func(fd protoreflect.FieldDescriptor) protoreflect.Value // what is said to a question, if valid
}

var awkward = []string{
	"", "王芳", "a,b", "say \"no\"", "two\nlines", "dos\r\nlines", "=1+1", "@x", " space ", "007", "1e5", "semi;colon\\", "𠮷野家", "<b>&amp;</b>", "_x0041_", "NA", "\t",
}

func (f *filler) message(m protoreflect.Message, depth int, direct bool) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if fd.ContainingOneof() != nil && !fd.ContainingOneof().IsSynthetic() && f.r.IntN(3) > 0 {
			continue
		}
		if !f.all && f.r.IntN(3) > 0 || depth > 8 {
			continue
		}
		f.field(m, fd, depth, direct || question(fd).GetPersonalData() == formv1.PersonalData_PERSONAL_DATA_DIRECT_IDENTIFIER)
	}
}

func (f *filler) field(m protoreflect.Message, fd protoreflect.FieldDescriptor, depth int, direct bool) {
	switch {
	case isMissing(fd):
		mp := m.Mutable(fd).Map()
		for range 2 {
			other := m.Descriptor().Fields().Get(f.r.IntN(m.Descriptor().Fields().Len()))
			mp.Set(protoreflect.ValueOfUint32(uint32(other.Number())).MapKey(), protoreflect.ValueOfEnum(protoreflect.EnumNumber(f.r.IntN(5))))
		}
	case fd.IsMap():
	case fd.IsList():
		list := m.Mutable(fd).List()
		for range 1 + f.r.IntN(2) {
			v := list.NewElement()
			if fd.Message() != nil {
				f.message(v.Message(), depth+1, direct)
			} else {
				v = f.scalar(fd, direct)
			}
			list.Append(v)
		}
	case fd.Message() != nil:
		if fd.Message().FullName() == timestampName {
			m.Set(fd, protoreflect.ValueOfMessage(timestamppb.New(time.UnixMilli(f.r.Int64N(2e12))).ProtoReflect()))
			return
		}
		if fd.Message().FullName() == dateName && f.r.IntN(2) == 0 {
			d := &surveyv1.PartialDate{Year: proto.Int32(int32(1900 + f.r.IntN(150))), Month: proto.Int32(int32(1 + f.r.IntN(12))), Day: proto.Int32(int32(1 + f.r.IntN(31)))}
			m.Set(fd, protoreflect.ValueOfMessage(d.ProtoReflect()))
			return
		}
		f.message(m.Mutable(fd).Message(), depth+1, direct)
	default:
		m.Set(fd, f.scalar(fd, direct))
	}
}

func (f *filler) scalar(fd protoreflect.FieldDescriptor, direct bool) protoreflect.Value {
	if f.said != nil {
		if v := f.said(fd); v.IsValid() {
			return v
		}
	}
	switch fd.Kind() {
	case protoreflect.StringKind:
		if direct && f.canary != "" {
			f.placed++
			return protoreflect.ValueOfString(fmt.Sprintf("%s-%d", f.canary, f.placed))
		}
		return protoreflect.ValueOfString(awkward[f.r.IntN(len(awkward))])
	case protoreflect.BytesKind:
		if f.canary != "" {
			f.placed++
			return protoreflect.ValueOfBytes([]byte(f.canary))
		}
		return protoreflect.ValueOfBytes([]byte{0, 255, byte(f.r.IntN(256))})
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(f.r.IntN(2) == 0)
	case protoreflect.EnumKind:
		values := fd.Enum().Values()
		if f.r.IntN(20) == 0 {
			return protoreflect.ValueOfEnum(9999)
		}
		return protoreflect.ValueOfEnum(values.Get(f.r.IntN(values.Len())).Number())
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(f.r.IntN(3000)))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64([]int64{-1, 0, 5, math.MaxInt64, math.MinInt64}[f.r.IntN(5)])
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(f.r.IntN(4)))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(f.r.Uint64())
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(12.3)
	case protoreflect.DoubleKind:
		if direct && f.canary != "" {
			f.placed++
			return protoreflect.ValueOfFloat64(77.777777)
		}
		return protoreflect.ValueOfFloat64([]float64{0.1, -2.5, 1e20, math.NaN(), math.Inf(1)}[f.r.IntN(5)])
	}
	panic("no value for " + fd.FullName())
}

// random makes a source of n interviews.
func random(seed uint64, n int, f *filler) Source {
	f.r = rand.New(rand.NewPCG(seed, 1))
	var interviews []*surveyv1.Interview
	var summaries []*servicev1.InterviewSummary
	for range n {
		i := &surveyv1.Interview{}
		f.message(i.ProtoReflect(), 0, false)
		s := &servicev1.InterviewSummary{}
		f.message(s.ProtoReflect(), 0, false)
		interviews, summaries = append(interviews, i), append(summaries, s)
	}
	src := source(interviews, summaries)
	for range n {
		p, d, r, fl := &servicev1.PersonRecord{}, &servicev1.LinkDecision{}, &servicev1.ReferralRecord{}, &servicev1.Flag{}
		for _, m := range []proto.Message{p, d, r, fl} {
			f.message(m.ProtoReflect(), 0, false)
		}
		if f.canary != "" {
			fl.Message = text(f.canary+"-flag", f.canary+"-flag")
		}
		src.People, src.Decisions, src.Referrals = append(src.People, p), append(src.Decisions, d), append(src.Referrals, r)
		flagged(&src, []*servicev1.Flag{fl})
	}
	src.Graph = &servicev1.ReferralGraph{}
	f.message(src.Graph.ProtoReflect(), 0, false)
	for range n {
		ev := &servicev1.CouponEvent{}
		f.message(ev.ProtoReflect(), 0, false)
		src.Coupons = append(src.Coupons, ev)
	}
	return src
}

// everyQuestion is a source of random with an interview before it for each built-in questionnaire, in which every question is
// answered: whatever the schema becomes, every kind of answer occurs.
func everyQuestion(seed uint64, n int) Source {
	f := &filler{}
	src := random(seed, n, f)
	f.all = true
	var full []*Answered
	answers := (&surveyv1.Interview{}).ProtoReflect().Descriptor().Oneofs().ByName("answers").Fields()
	for i := range answers.Len() {
		if answers.Get(i).Message().FullName() == "hearth.survey.v1.OtherAnswers" {
			continue
		}
		iv := &surveyv1.Interview{}
		f.message(iv.ProtoReflect(), 0, false)
		f.field(iv.ProtoReflect(), answers.Get(i), 0, false)
		full = append(full, &Answered{Interview: iv, Summary: &servicev1.InterviewSummary{}})
	}
	rest := src.Interviews
	src.Interviews = func(yield func(*Answered, error) bool) {
		for _, a := range full {
			if !yield(a, nil) {
				return
			}
		}
		rest(yield)
	}
	return src
}

func source(interviews []*surveyv1.Interview, summaries []*servicev1.InterviewSummary) Source {
	return Source{
		Study: &surveyv1.Study{Study: proto.String("guiyang-2016"), TitleEn: proto.String("Guiyang <2016>"), TitleZh: proto.String("贵阳")},
		Interviews: func(yield func(*Answered, error) bool) {
			for i := range interviews {
				if !yield(&Answered{Summary: summaries[i], Interview: interviews[i]}, nil) {
					return
				}
			}
		},
	}
}

// flagged gives the interviews of a source their flags: the first one those that name no interview.
func flagged(src *Source, flags []*servicev1.Flag) {
	old := src.Interviews
	src.Interviews = func(yield func(*Answered, error) bool) {
		first := true
		for a, err := range old {
			b := *a
			for _, f := range flags {
				if id := f.GetInterviewId(); id == a.Interview.GetInterviewId() || first && id == "" {
					b.Flags = append(b.Flags, f)
				}
			}
			if first = false; !yield(&b, err) {
				return
			}
		}
	}
}
