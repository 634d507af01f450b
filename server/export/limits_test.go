package export

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/hearth-survey/hearth/proto/fault"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// wideForm is a questionnaire of n whole numbers, whose names differ behind the 32nd character.
func wideForm(t testing.TB, n int) protoreflect.MessageDescriptor {
	t.Helper()
	m := &descriptorpb.DescriptorProto{Name: proto.String("Wide")}
	for i := range n {
		m.Field = append(m.Field, &descriptorpb.FieldDescriptorProto{
			Name: proto.String(fmt.Sprintf("the_same_beginning_for_every_question_%d", i)), Number: proto.Int32(int32(i + 1 + i/19_000*1_000)), // 19,000 to 19,999 are reserved
			Type: descriptorpb.FieldDescriptorProto_TYPE_INT64.Enum(), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		})
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("wide.proto"), Package: proto.String("form.wide"), Edition: descriptorpb.Edition_EDITION_2023.Enum(), Syntax: proto.String("editions"), MessageType: []*descriptorpb.DescriptorProto{m},
	}, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	return file.Messages().Get(0)
}

func wideSource(t testing.TB, n int) Source {
	top := wideForm(t, n)
	m := dynamicpb.NewMessage(top)
	m.Set(top.Fields().Get(n-1), protoreflect.ValueOfInt64(7))
	raw, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	iv := &surveyv1.Interview{InterviewId: proto.String("i"), Point: &surveyv1.GeoPoint{Latitude: proto.Float64(1), Longitude: proto.Float64(1)},
		Answers: &surveyv1.Interview_Other{Other: &surveyv1.OtherAnswers{Questionnaire: proto.String("form.wide.Wide"), Answers: raw}}}
	src := source([]*surveyv1.Interview{iv}, make([]*servicev1.InterviewSummary, 1))
	src.Published = []Published{{Top: top}}
	return src
}

// TestWide exports questionnaires that are wider than some formats: those hold them, or say before the first file which table
// is too wide and what to leave out.
func TestWide(t *testing.T) {
	for _, tt := range []struct {
		questions int
		formats   []servicev1.ExportFormat
		refused   bool
	}{
		{5_000, Formats(), false},
		{40_000, []servicev1.ExportFormat{asCSV, asParquet, asSPSS, asJSON, asGPKG}, false},
		{17_000, []servicev1.ExportFormat{asCSV, asExcel}, true},
		{33_000, []servicev1.ExportFormat{asCSV, asStata}, true},
	} {
		if testing.Short() && tt.questions > 5_000 {
			continue
		}
		sink, last := &memory{}, tt.formats[len(tt.formats)-1]
		m, err := Write(context.Background(), wideSource(t, tt.questions), Options{Profile: identified, Formats: tt.formats}, sink, nil)
		if tt.refused {
			if fault.KindOf(err) != fault.TooLarge || !strings.Contains(err.Error(), "leave the "+FormatName(last)+" format out") || sink.begun > 0 {
				t.Errorf("%d questions as %s: got %v after %d files were begun", tt.questions, FormatName(last), err, sink.begun)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if rows := sink.files["csv/wide.csv"]; !strings.HasSuffix(string(rows), ",7,\r\n") {
			t.Errorf("%d questions: the last answer is lost", tt.questions)
		}
		if tt.questions > 5_000 && strings.Contains(strings.Join(m.Warnings, "\n"), "gpkg") {
			t.Errorf("warnings: %q", m.Warnings)
		}
	}
	_, err := Write(context.Background(), wideSource(t, 61_000), Options{Formats: []servicev1.ExportFormat{asCSV}}, &memory{}, nil)
	if fault.KindOf(err) != fault.TooLarge {
		t.Errorf("61,000 questions: got %v", err)
	}
}

// FuzzWrite gives every format texts and numbers of any kind, as answers, labels of questions and of choices, titles and
// languages: an export is written whole, or refused before its first file.
func FuzzWrite(f *testing.F) {
	for i, s := range []string{"", "王芳", "two\nlines", oddLabels[2], oddLabels[len(oddLabels)-4]} {
		f.Add(s, s, "en", float64(i), int64(i))
	}
	f.Add("a\x00b", "\xff\xfe", "zh-Hant\x00", math.Inf(1), int64(math.MinInt64))
	f.Add(strings.Repeat("𠮷", 9_000), strings.Repeat("长", 33_000), "no such language !", math.MaxFloat64, int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, answer, label, lang string, number float64, whole int64) {
		text := &formv1.Text{En: proto.String(label), Zh: proto.String(answer), More: map[string]string{lang: label}}
		if !utf8.ValidString(label + answer + lang) {
			text = nil // no message of such a text could have been read
		}
		src := labelledSource(t, answer, text, number, whole)
		sink := &memory{}
		j, err := newJob(src, Options{Profile: identified, Language: lang, Formats: Formats()}, sink, nil)
		if err != nil {
			t.Fatal(err)
		}
		// Of the other tables other tests have seen enough.
		j.plan.Tables = []*Table{j.plan.interview, j.plan.graphNode, j.plan.graphEdge, j.plan.table("labelled")}
		if _, err = j.run(t.Context()); err != nil {
			if fault.KindOf(err) == fault.Internal || sink.begun > 0 {
				t.Fatalf("after %d files were begun: %v", sink.begun, err)
			}
			return
		}
		if n := readStata(t, sink.files["stata/labelled.dta"]).rows; n != 2 {
			t.Errorf("%d rows", n)
		}
		for _, r := range records(t, sink.files["csv/interview.csv"]) {
			if r["interview_id"] == "" {
				t.Error("a row without its key")
			}
		}
	})
}

// labelledSource is two interviews of a questionnaire with a wording wherever there can be one.
func labelledSource(t testing.TB, answer string, label *formv1.Text, number float64, whole int64) Source {
	options := func(o *formv1.Question) *descriptorpb.FieldOptions {
		out := &descriptorpb.FieldOptions{}
		proto.SetExtension(out, formv1.E_Question, o)
		return out
	}
	module := &descriptorpb.MessageOptions{}
	proto.SetExtension(module, formv1.E_Module, &formv1.Module{Title: label})
	choice := &descriptorpb.EnumValueOptions{}
	proto.SetExtension(choice, formv1.E_Choice, &formv1.Choice{Label: label})
	field := func(name string, n int32, kind descriptorpb.FieldDescriptorProto_Type) *descriptorpb.FieldDescriptorProto {
		return &descriptorpb.FieldDescriptorProto{Name: &name, Number: &n, Type: kind.Enum(), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
			Options: options(&formv1.Question{Label: label, Universe: label, Unit: proto.String("m")})}
	}
	code := field("code", 1, descriptorpb.FieldDescriptorProto_TYPE_ENUM)
	many := field("many", 2, descriptorpb.FieldDescriptorProto_TYPE_ENUM)
	code.TypeName, many.TypeName, many.Label = proto.String(".form.l.Code"), proto.String(".form.l.Code"), descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("l.proto"), Package: proto.String("form.l"), Edition: descriptorpb.Edition_EDITION_2023.Enum(), Syntax: proto.String("editions"),
		Dependency: []string{"hearth/form/v1/options.proto"},
		EnumType: []*descriptorpb.EnumDescriptorProto{{Name: proto.String("Code"), Value: []*descriptorpb.EnumValueDescriptorProto{
			{Name: proto.String("NONE"), Number: proto.Int32(0)}, {Name: proto.String("ONE"), Number: proto.Int32(1), Options: choice}, {Name: proto.String("TWO"), Number: proto.Int32(-2), Options: choice},
		}}},
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("Labelled"), Options: module, Field: []*descriptorpb.FieldDescriptorProto{
			code, many, field("text", 3, descriptorpb.FieldDescriptorProto_TYPE_BYTES), field("number", 4, descriptorpb.FieldDescriptorProto_TYPE_DOUBLE), field("whole", 5, descriptorpb.FieldDescriptorProto_TYPE_INT64),
		}}},
	}, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	top := file.Messages().Get(0)
	m := dynamicpb.NewMessage(top)
	m.Set(top.Fields().ByName("code"), protoreflect.ValueOfEnum(-2))
	m.Mutable(top.Fields().ByName("many")).List().Append(protoreflect.ValueOfEnum(1))
	m.Set(top.Fields().ByName("text"), protoreflect.ValueOfBytes([]byte(answer)))
	m.Set(top.Fields().ByName("number"), protoreflect.ValueOfFloat64(number))
	m.Set(top.Fields().ByName("whole"), protoreflect.ValueOfInt64(whole))
	var all []*surveyv1.Interview
	for _, answers := range []protoreflect.Message{m, dynamicpb.NewMessage(top)} {
		iv := &surveyv1.Interview{InterviewId: proto.String("i"), SiteId: &answer, Point: &surveyv1.GeoPoint{Latitude: &number, Longitude: &number}}
		o := &surveyv1.OtherAnswers{Questionnaire: proto.String("form.l.Labelled")}
		if o.Answers, err = proto.Marshal(answers.Interface()); err != nil {
			t.Fatal(err)
		}
		iv.Answers = &surveyv1.Interview_Other{Other: o}
		all = append(all, iv)
	}
	src := source(all, []*servicev1.InterviewSummary{{Day: &answer}, nil})
	src.Study = &surveyv1.Study{Study: &answer, TitleEn: proto.String(label.GetEn()), TitleZh: &answer, Note: proto.String(label.GetEn())}
	src.Published = []Published{{Top: top}}
	return src
}
