package server

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/google/uuid"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// cpu is the time the process has computed, in microseconds.
func cpu(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Sec+u.Stime.Sec)*1e6 + float64(u.Utime.Usec+u.Stime.Usec)
}

// full is a household interview with four members in which most questions have an answer.
func full(n int) *surveyv1.Interview {
	iv := household(n)
	h := iv.GetHousehold()
	for len(h.Members) < 4 {
		h.Members = append(h.Members, &surveyv1.HouseholdMember{PersonId: proto.String(uuid.NewString()), LineNumber: proto.Int32(int32(len(h.Members) + 1))})
	}
	for _, m := range h.Members {
		complete(m.ProtoReflect(), 0)
	}
	complete(h.ProtoReflect(), 0)
	return iv
}

// complete fills what is empty with plain answers.
func complete(m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if f.IsMap() || f.IsList() || f.ContainingOneof() != nil || m.Has(f) {
			continue
		}
		switch f.Kind() {
		case protoreflect.MessageKind:
			if depth < 2 {
				complete(m.Mutable(f).Message(), depth+1)
			}
		case protoreflect.EnumKind:
			m.Set(f, protoreflect.ValueOfEnum(1))
		case protoreflect.Int32Kind:
			m.Set(f, protoreflect.ValueOfInt32(int32(1+i%12)))
		case protoreflect.DoubleKind:
			m.Set(f, protoreflect.ValueOfFloat64(12.5))
		}
	}
}

// BenchmarkIngest pushes household interviews over gRPC in batches of 100 from 16 tablets and waits for the projections.
// The CPU is that of server and tablets together; the tablets only send bytes made before.
func BenchmarkIngest(b *testing.B) {
	const tablets, size = 16, 100
	for _, shape := range []struct {
		name string
		make func(int) *surveyv1.Interview
	}{{"small", household}, {"full", full}} {
		b.Run(shape.name, func(b *testing.B) {
			d := newDesk(b, openSQLite(b, b.TempDir()))
			team := make([]*tablet, tablets)
			for i := range team {
				team[i] = newTablet(fmt.Sprintf("tablet-%02d", i))
				team[i].greet(b, d)
			}
			bytes := 0
			work := make([][]*servicev1.Batch, tablets)
			for n := 0; n < b.N; n += size {
				tb := team[n/size%tablets]
				var raws [][]byte
				for i := range min(size, b.N-n) {
					raw := tb.record(b, shape.make(n+i), nil)
					bytes += len(raw)
					raws = append(raws, raw)
				}
				work[n/size%tablets] = append(work[n/size%tablets], tb.batch(raws...))
			}
			b.ResetTimer()
			before := cpu(b)
			done := make(chan error, tablets)
			for i := range team {
				go func() {
					for _, batch := range work[i] {
						if _, err := servicev1.NewSyncServiceClient(d.conn).PushBatch(with(b.Context()), &servicev1.PushBatchRequest{Batch: batch}); err != nil {
							done <- err
							return
						}
					}
					done <- nil
				}()
			}
			for range team {
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			}
			if err := d.Project(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			b.ReportMetric((cpu(b)-before)/float64(b.N), "cpu-µs/interview")
			b.ReportMetric(float64(bytes)/float64(b.N), "bytes/interview")
		})
	}
}

// BenchmarkPublish is what it takes to publish the second version of a form of 3,000 questions with rules: compile it, compare
// it with the first, pack it, and write it.
func BenchmarkPublish(b *testing.B) {
	text := func(version int) []byte {
		var s strings.Builder
		fmt.Fprintf(&s, "edition = \"2023\";\npackage form.large;\nimport \"hearth/form/v1/options.proto\";\nmessage Large {\n  option (hearth.form.v1.module) = {title: {en: \"Large\" zh: \"大\"} version: %d};\n", version)
		for i := range 3000 {
			fmt.Fprintf(&s, "  int32 q%d = %d [(hearth.form.v1.question) = {label: {en: \"Question %d, how many in version %d?\" zh: \"第%d题\"}", i+1, i+1, i+1, version, i+1)
			if i%3 == 1 {
				fmt.Fprintf(&s, " relevant: \"this.q%d > %d\"", i, i%7)
			}
			if i%5 == 0 {
				fmt.Fprintf(&s, " checks: [{id: \"possible\" expression: \"this.q%d < %d\" severity: SEVERITY_SOFT message: {en: \"Very many.\"}}]", i+1, 1000+version)
			}
			s.WriteString("}];\n")
		}
		s.WriteString("}\n")
		return []byte(s.String())
	}
	first, second := text(1), text(2)
	for b.Loop() {
		b.StopTimer()
		d := newDesk(b, openSQLite(b, b.TempDir()))
		client := servicev1.NewStudyServiceClient(d.Local())
		publish := func(source []byte) {
			resp, err := client.PublishQuestionnaire(with(b.Context()), &servicev1.PublishQuestionnaireRequest{Form: &servicev1.QuestionnaireForm{Name: proto.String("large.proto"), Source: source}})
			if err != nil || !resp.GetPublished() {
				b.Fatal(resp, err)
			}
		}
		publish(first)
		b.StartTimer()
		publish(second)
	}
}

// BenchmarkExport takes whole exports of full household interviews over gRPC, from the log to the last byte of the last file. The CPU
// is that of server and client together.
func BenchmarkExport(b *testing.B) {
	const n = 500
	d := newDesk(b, openSQLite(b, b.TempDir()))
	tb := newTablet("export")
	tb.greet(b, d)
	for range n / 100 {
		var raws [][]byte
		for i := range 100 {
			raws = append(raws, tb.record(b, full(i), nil))
		}
		tb.push(b, d, raws...)
	}
	for _, f := range []servicev1.ExportFormat{servicev1.ExportFormat_EXPORT_FORMAT_CSV, servicev1.ExportFormat_EXPORT_FORMAT_DTA, servicev1.ExportFormat_EXPORT_FORMAT_SAV, servicev1.ExportFormat_EXPORT_FORMAT_PARQUET} {
		b.Run(strings.TrimPrefix(f.String(), "EXPORT_FORMAT_"), func(b *testing.B) {
			before := cpu(b)
			for b.Loop() {
				if _, err := drain(b.Context(), d, &servicev1.ExportRequest{Formats: []servicev1.ExportFormat{f}}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((cpu(b)-before)/float64(b.N)/n, "cpu-µs/interview")
		})
	}
}
