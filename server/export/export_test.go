package export

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/proto/paradata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the golden files")

// small is two interviews of the same woman in two households, and what the server makes of them.
func small() Source {
	member := func(id string, line int32, name string, sex surveyv1.Sex) *surveyv1.HouseholdMember {
		return &surveyv1.HouseholdMember{
			PersonId: proto.String(id), LineNumber: proto.Int32(line), Sex: sex.Enum(),
			Identity: &surveyv1.Identity{FullName: proto.String(name), Phone: proto.String("13985000001")},
		}
	}
	mother, child := member("p-1", 1, "王芳", surveyv1.Sex_SEX_FEMALE), member("p-2", 2, "王小明", surveyv1.Sex_SEX_MALE)
	mother.BirthDate = &surveyv1.PartialDate{Year: proto.Int32(1980), Month: proto.Int32(5), Calendar: surveyv1.Calendar_CALENDAR_LUNAR.Enum()}
	mother.Age = proto.Int32(36)
	mother.Missing = map[uint32]formv1.Missing{9: formv1.Missing_MISSING_REFUSED, 15: formv1.Missing_MISSING_DONT_KNOW}
	child.HukouPlace = &surveyv1.Place{DivisionCode: proto.String("520102"), Province: proto.String("贵州省"), Community: proto.String("三桥社区")}
	child.Missing = map[uint32]formv1.Missing{5: formv1.Missing_MISSING_NOT_ASKED}
	first := &surveyv1.Interview{
		InterviewId: proto.String("i-1"), InterviewKey: proto.String("GY-1"), Round: proto.Uint32(1),
		Result: surveyv1.ResultCode_RESULT_CODE_COMPLETE.Enum(), StartTime: &timestamppb.Timestamp{Seconds: 1467622800},
		Point: &surveyv1.GeoPoint{Latitude: proto.Float64(26.647), AccuracyM: proto.Float32(12.3)},
		Visits: []*surveyv1.Visit{
			{VisitTime: &timestamppb.Timestamp{Seconds: 1467536400}, Result: surveyv1.ResultCode_RESULT_CODE_NO_ONE_HOME.Enum(), Remarks: proto.String("Dog, big")},
			{VisitTime: &timestamppb.Timestamp{Seconds: 1467622800, Nanos: 250e6}, Result: surveyv1.ResultCode_RESULT_CODE_COMPLETE.Enum()},
		},
		Recruitment: &surveyv1.Recruitment{
			CouponsGiven:  []string{"GY-19-1", "GY;19"},
			Referrals:     []*surveyv1.Referral{{ReferralId: proto.String("r-1"), FromPerson: &surveyv1.Person{PersonId: proto.String("p-9")}}},
			ReferralsMade: []*surveyv1.Referral{{ReferralId: proto.String("r-2"), ToPerson: &surveyv1.Person{PersonId: proto.String("p-3")}}},
		},
		Answers: &surveyv1.Interview_Household{Household: &surveyv1.Household{
			HouseholdId: proto.String("h-1"), Members: []*surveyv1.HouseholdMember{mother, child},
		}},
	}
	second := &surveyv1.Interview{
		InterviewId: proto.String("i-2"), InterviewKey: proto.String("=GY-2"),
		Answers: &surveyv1.Interview_Household{Household: &surveyv1.Household{
			HouseholdId: proto.String("h-2"), Members: []*surveyv1.HouseholdMember{member("p-3", 1, "Wang Fang", surveyv1.Sex_SEX_FEMALE)},
		}},
	}
	src := source([]*surveyv1.Interview{first, second}, []*servicev1.InterviewSummary{
		{InterviewId: proto.String("i-1"), Day: proto.String("2016-07-04"), Heads: [][]byte{{1}}, DurationSeconds: proto.Int64(1800), ReviewState: servicev1.ReviewState_REVIEW_STATE_COMPLETED.Enum()},
		{InterviewId: proto.String("i-2"), Heads: [][]byte{{1}, {2}}},
	})
	src.Canonical = map[string]string{"p-3": "p-1"}
	for i, id := range []string{"p-1", "p-2", "p-3"} {
		r := &servicev1.PersonRecord{PersonId: proto.String(id), InterviewId: proto.String("i-1"), LineNumber: proto.Int32(int32(i + 1)), InterviewTimeMs: proto.Int64(1000)}
		if id == "p-3" {
			r.InterviewId, r.LineNumber, r.InterviewTimeMs = proto.String("i-2"), proto.Int32(1), proto.Int64(2000)
		}
		src.People = append(src.People, r)
	}
	src.Decisions = []*servicev1.LinkDecision{{
		DecisionId: proto.String("d-1"), Kind: servicev1.DecisionKind_DECISION_KIND_LINK.Enum(), Subject: servicev1.LinkSubject_LINK_SUBJECT_PERSON.Enum(),
		AId: proto.String("p-1"), BId: proto.String("p-3"), DecidedBy: proto.String("sup1"), TimeMs: proto.Int64(1467622800000), Reason: proto.String("same telephone"),
	}}
	flagged(&src, []*servicev1.Flag{{
		InterviewId: proto.String("i-1"), Path: proto.String("household.members[0].age"), Severity: formv1.Severity_SEVERITY_SOFT.Enum(),
		Rule: proto.String("hearth.survey.v1.HouseholdMember.age/age_agrees_with_birth"), Message: text("王芳 is not 36", "王芳不是 36"),
	}, {InterviewId: proto.String("i-2"), Rule: proto.String("server/duplicate_key"), Message: text("same key as 王芳", "")}})
	src.Cursor = &servicev1.Cursor{ServerEpoch: []byte{0xab}, Parts: []*servicev1.PartCounter{{Part: proto.Uint64(255), Counter: proto.Uint64(7)}, {Part: proto.Uint64(3), Counter: proto.Uint64(1)}}}
	return src
}

// TestGolden compares the narrow tables byte by byte; run with -update after a change that is meant.
func TestGolden(t *testing.T) {
	files, _ := export(t, small(), Options{Formats: []servicev1.ExportFormat{asCSV}, Profile: identified, Program: "test"})
	compared := 0
	for _, name := range []string{"visit", "flag", "link"} {
		path := filepath.Join("testdata", name+".csv")
		got := files.files["csv/"+name+".csv"]
		if *update {
			if err := os.MkdirAll("testdata", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
		compared++
	}
	if compared == 0 {
		t.Error("nothing compared")
	}
}

func TestValues(t *testing.T) {
	files, _ := export(t, small(), Options{Formats: []servicev1.ExportFormat{asCSV}, Profile: identified})
	for _, tt := range []struct {
		table  string
		row    int
		column string
		want   string
	}{
		{"interview", 0, "interview_key", "GY-1"},
		{"interview", 1, "interview_key", "=GY-2"},
		{"interview", 0, "start_time", "2016-07-04T09:00:00Z"},
		{"interview", 0, "result", "1"},
		{"interview", 1, "result", ""},
		{"interview", 0, "point_accuracy_m", "12.3"},
		{"interview", 0, "recruitment_coupons_given", `GY-19-1;GY\;19`},
		{"interview", 0, "interview_day", "2016-07-04"},
		{"interview", 1, "heads", "2"},
		{"interview", 1, "duration_seconds", ""},
		{"visit", 1, "visit_time", "2016-07-04T09:00:00.250Z"},
		{"visit", 1, "position", "2"},
		{"person", 0, "full_name", "王芳"},
		{"person", 0, "birth_date", "1980-05"},
		{"person", 0, "birth_date_year", "1980"},
		{"person", 0, "birth_date_day", ""},
		{"person", 0, "birth_date_cal", "2"},
		{"person", 0, "ethnic_group", ""},
		{"person", 0, "ethnic_group_why", "refused"},
		{"person", 1, "ethnic_group_why", ""},
		{"person", 0, "hukou_place_why", "dont_know"},
		{"person", 1, "hukou_place_code", "520102"},
		{"person", 1, "birth_date_why", "not_asked"},
		{"person", 0, "appearances", "2"},
		{"person", 0, "first_appearance", "1"},
		{"person", 2, "first_appearance", "0"},
		{"person", 2, "canonical_person_id", "p-1"},
		{"person", 2, "interview_id", "i-2"},
		{"person", 2, "household_id", "h-2"},
		{"referral", 0, "told_in", "referrals"},
		{"referral", 0, "from_person_id", "p-9"},
		{"referral", 1, "told_in", "referrals_made"},
		{"referral", 1, "to_canonical_id", "p-1"},
		{"flag", 0, "message", "Age and year of birth disagree; it may be the traditional age."},
		{"flag", 1, "message", "same key as 王芳"},
	} {
		rows := records(t, files.files["csv/"+tt.table+".csv"])
		got, ok := rows[tt.row][tt.column]
		if !ok || got != tt.want {
			t.Errorf("%s row %d %s: got %q (column there: %v), want %q", tt.table, tt.row, tt.column, got, ok, tt.want)
		}
	}
	if _, ok := records(t, files.files["csv/person.csv"])[0]["age_why"]; ok {
		t.Error("a column of reasons for a question where nobody gave one")
	}
}

func TestSelectMultiple(t *testing.T) {
	i := &surveyv1.Interview{Answers: &surveyv1.Interview_Household{Household: &surveyv1.Household{
		Land: &surveyv1.LandHolding{Uses: []surveyv1.LandUse{4, 2, 99}},
	}}}
	none := &surveyv1.Interview{Answers: &surveyv1.Interview_Household{Household: &surveyv1.Household{}}}
	files, _ := export(t, source([]*surveyv1.Interview{i, none}, make([]*servicev1.InterviewSummary, 2)), Options{Formats: []servicev1.ExportFormat{asCSV}})
	rows := records(t, files.files["csv/household.csv"])
	for column, want := range map[string][2]string{
		"land_uses": {"4;2;99", ""}, "land_uses_1": {"0", ""}, "land_uses_2": {"1", ""}, "land_uses_4": {"1", ""}, "land_uses_5": {"0", ""},
	} {
		if got := [2]string{rows[0][column], rows[1][column]}; got != want {
			t.Errorf("%s: got %q, want %q", column, got, want)
		}
	}
}

func TestTimesOfNoYear(t *testing.T) {
	src := Source{}
	for _, ms := range []int64{0, -1, 1 << 62, -1 << 62, 253_402_300_799_999} {
		src.People = append(src.People, &servicev1.PersonRecord{InterviewTimeMs: proto.Int64(ms)})
	}
	files, _ := export(t, src, Options{Formats: []servicev1.ExportFormat{asCSV}})
	var got []string
	for _, r := range records(t, files.files["csv/appearance.csv"]) {
		got = append(got, r["interview_time"])
	}
	if s, want := strings.Join(got, " "), "1970-01-01T00:00:00Z 1969-12-31T23:59:59.999Z   9999-12-31T23:59:59.999Z"; s != want {
		t.Errorf("got %q, want %q", s, want)
	}
}

// TestCanary puts a mark into every direct identifier and looks for it in every byte of a research export.
func TestCanary(t *testing.T) {
	const canary = "CANARY赵"
	// SPSS files hold texts in pieces of eight bytes, and those of Stata and SPSS numbers as floats.
	float := binary.LittleEndian.AppendUint64(nil, math.Float64bits(77.777777))
	marks := [][]byte{[]byte(canary), []byte(canary)[:8], []byte("77.777777"), float, []byte("same tel"), []byte("Q0FOQVJZ")}
	f := &filler{all: true, canary: canary}
	src := random(7, 6, f)
	src.Decisions[0].Reason = proto.String("same telephone")
	// What a tablet calls a question that no schema knows may be anything.
	said, err := paradata.Encode(paradata.Trail{Visits: []paradata.Visit{{Question: canary + " said"}, {Question: "household.members[0].identity.full_name"}}})
	if err != nil {
		t.Fatal(err)
	}
	old := src.Interviews
	src.Interviews = func(yield func(*Answered, error) bool) {
		for a, err := range old {
			b := *a
			if b.Paradata = []*servicev1.Paradata{said}; !yield(&b, err) {
				return
			}
		}
	}
	if f.placed < 50 {
		t.Fatalf("only %d marks placed", f.placed)
	}
	kinds := map[string]int{}
	found := func(profile servicev1.PrivacyProfile) int {
		files, _ := export(t, src, Options{Profile: profile, Formats: Formats()})
		n := 0
		for name, content := range unpack(t, files.files) {
			for _, m := range marks {
				if bytes.Contains(content, m) {
					n++
					kinds[filepath.Ext(name)]++
					if profile == research {
						t.Errorf("%s holds %s", name, m)
					}
				}
			}
		}
		return n
	}
	if found(research); found(identified) < 10 {
		t.Error("the marks are not found where they should be: the test proves nothing")
	}
	for _, kind := range []string{".csv", ".dta", ".sav", ".xml", ".jsonl", ".gpkg", ".geojson"} {
		if n := kinds[kind]; n < 1 || n < 5 && !strings.HasPrefix(kind, ".g") {
			t.Errorf("%d marks found in identified %s files: the test proves nothing of them", n, kind)
		}
	}
}

// TestSameBytes writes the same export twice.
func TestSameBytes(t *testing.T) {
	src := random(3, 40, &filler{})
	a, _ := export(t, src, Options{Program: "v1"})
	b, _ := export(t, src, Options{Program: "v1"})
	if len(a.files) < 60 {
		t.Fatalf("only %d files", len(a.files))
	}
	for path, content := range a.files {
		if !bytes.Equal(content, b.files[path]) {
			t.Errorf("%s differs between two runs", path)
		}
	}
}

func TestManifest(t *testing.T) {
	files, m := export(t, small(), Options{Program: "v1.2", Formats: []servicev1.ExportFormat{asParquet, asCSV, asCSV}})
	var read Manifest
	if err := json.Unmarshal(files.files["manifest.json"], &read); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprintf("%v %s %s %s %s", read.Formats, read.Profile, read.Study, read.Program, read.Language), "[csv parquet] research guiyang-2016 v1.2 en"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(*read.Cursor), "{ab [{3 1} {ff 7}]}"; got != want {
		t.Errorf("cursor: got %s, want %s", got, want)
	}
	if len(m.Files) != len(files.files)-1 {
		t.Errorf("%d files in the manifest, %d written", len(m.Files), len(files.files))
	}
	for _, f := range m.Files {
		sum := sha256.Sum256(files.files[f.Path])
		if f.SHA256 != hex.EncodeToString(sum[:]) || f.Bytes != int64(len(files.files[f.Path])) {
			t.Errorf("%s: hash or size is wrong", f.Path)
		}
	}
	for _, l := range m.Levels {
		if l.Name == "person" && l.Rows != 3 {
			t.Errorf("person: got %d rows, want 3", l.Rows)
		}
	}
}

// count counts the messages that become rows: those in lists, and those of a level.
func count(m protoreflect.Message, n *int) {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsMap() || fd.Message() == nil:
		case fd.IsList():
			for i := range v.List().Len() {
				*n++
				count(v.List().Get(i).Message(), n)
			}
		default:
			if levelOf(fd.Message()) != "" {
				*n++
			}
			count(v.Message(), n)
		}
		return true
	})
}

// TestAnyInterview exports random interviews and counts the rows.
func TestAnyInterview(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f := &filler{}
		src := random(rapid.Uint64().Draw(rt, "seed"), rapid.IntRange(0, 5).Draw(rt, "interviews"), f)
		profile := rapid.SampledFrom([]servicev1.PrivacyProfile{research, identified}).Draw(rt, "profile")
		sink := &memory{}
		formats := []servicev1.ExportFormat{asCSV}
		withParquet := rapid.IntRange(0, 4).Draw(rt, "parquet") == 4
		if withParquet {
			formats = append(formats, asParquet)
		}
		labelled := rapid.IntRange(0, 2).Draw(rt, "stata and spss") == 2
		if labelled {
			formats = append(formats, asStata, asSPSS)
		}
		m, err := Write(context.Background(), src, Options{Profile: profile, Formats: formats}, sink, nil)
		if err != nil {
			rt.Fatal(err)
		}
		want := len(src.People) + len(src.Decisions) + len(src.Referrals) + len(src.Coupons) + len(src.Graph.GetNodes()) + len(src.Graph.GetEdges())
		for a := range src.Interviews {
			want += 1 + len(a.Flags)
			count(a.Interview.ProtoReflect(), &want)
		}
		got := 0
		for _, l := range m.Levels {
			got += int(l.Rows)
			if n := len(records(t, sink.files["csv/"+l.Name+".csv"])); n != int(l.Rows) {
				rt.Errorf("csv/%s: got %d rows, want %d", l.Name, n, l.Rows)
			}
			if labelled {
				if n := stataRows(t, sink.files["stata/"+l.Name+".dta"]); n != l.Rows {
					rt.Errorf("stata/%s: got %d rows, want %d", l.Name, n, l.Rows)
				}
				if n := spssRows(t, sink.files["spss/"+l.Name+".sav"]); n != l.Rows {
					rt.Errorf("spss/%s: got %d rows, want %d", l.Name, n, l.Rows)
				}
			}
			if !withParquet {
				continue
			}
			if file, _ := parquetRows(t, sink.files["parquet/"+l.Name+".parquet"]); file.NumRows() != l.Rows {
				rt.Errorf("parquet/%s: got %d rows, want %d", l.Name, file.NumRows(), l.Rows)
			}
		}
		if got != want {
			rt.Errorf("got %d rows, want %d", got, want)
		}
	})
}

func TestEmptyStudy(t *testing.T) {
	files, m := export(t, Source{}, Options{})
	for _, l := range m.Levels {
		if l.Rows != 0 {
			t.Errorf("%s: got %d rows, want none", l.Name, l.Rows)
		}
		if len(records(t, files.files["csv/"+l.Name+".csv"])) != 0 {
			t.Errorf("%s has rows", l.Name)
		}
	}
}

// TestDiskFull fails at every point of an export.
func TestDiskFull(t *testing.T) {
	whole := &memory{}
	if _, err := Write(context.Background(), small(), Options{}, whole, nil); err != nil {
		t.Fatal(err)
	}
	points := 12
	if testing.Short() {
		points = 5
	}
	for at := 1; at < whole.written; at += whole.written/points + 1 {
		sink := &memory{limit: at}
		_, err := Write(context.Background(), small(), Options{}, sink, nil)
		if fault.ReasonOf(err) != fault.DiskFull {
			t.Fatalf("after %d bytes: got error %v", at, err)
		}
		if _, ok := sink.files["manifest.json"]; ok {
			t.Fatalf("after %d bytes: a manifest was written", at)
		}
	}
}

func TestRefused(t *testing.T) {
	for name, opts := range map[string]Options{
		"format":  {Formats: []servicev1.ExportFormat{99}},
		"profile": {Profile: 99},
	} {
		if _, err := Write(context.Background(), small(), opts, &memory{}, nil); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: got %v, want an invalid request", name, err)
		}
	}
	if _, err := Write(context.Background(), small(), Options{}, nil, nil); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no sink: got %v", err)
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	sink := &memory{}
	_, err := Write(ctx, small(), Options{}, sink, func(done, total int) {
		if total > 0 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want a cancelled context", err)
	}
	if len(sink.files) != 0 || len(sink.aborted) == 0 {
		t.Errorf("%d files complete, %d given up", len(sink.files), len(sink.aborted))
	}
}

func TestProgress(t *testing.T) {
	var got []string
	if _, err := Write(context.Background(), small(), Options{Formats: []servicev1.ExportFormat{asCSV, asSPSS}}, &memory{}, func(done, total int) {
		got = append(got, fmt.Sprintf("%d/%d", done, total))
	}); err != nil {
		t.Fatal(err)
	}
	if s := strings.Join(got, " "); s != "1/0 2/0 3/6 4/6 5/6 6/6" {
		t.Errorf("got %s", s)
	}
}

// TestDataThatChange yields other interviews each time they are read; the export is of the first.
func TestDataThatChange(t *testing.T) {
	read := 0
	src := Source{Interviews: func(yield func(*Answered, error) bool) {
		read++
		yield(&Answered{Interview: &surveyv1.Interview{InterviewId: proto.String(fmt.Sprint(read)), Visits: make([]*surveyv1.Visit, read)}}, nil)
	}}
	files, _ := export(t, src, Options{})
	if rows := records(t, files.files["csv/interview.csv"]); read != 1 || len(rows) != 1 || rows[0]["interview_id"] != "1" {
		t.Errorf("read %d times, got %v", read, rows)
	}
}

// TestSourceFails ends an export with the error of its source, and leaves no file.
func TestSourceFails(t *testing.T) {
	broken := errors.New("the log cannot be read")
	sink := &memory{}
	_, err := Write(context.Background(), Source{Interviews: func(yield func(*Answered, error) bool) {
		_ = yield(&Answered{}, nil) && yield(nil, broken)
	}}, Options{}, sink, nil)
	if !errors.Is(err, broken) || len(sink.files) != 0 {
		t.Errorf("got %v and %d files", err, len(sink.files))
	}
}

func TestDirSink(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "导出", "export")
	if _, err := Write(context.Background(), small(), Options{Formats: []servicev1.ExportFormat{asCSV}}, DirSink(dir), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "csv", "person.csv")); err != nil {
		t.Error(err)
	}
	for _, path := range []string{"../x", "/etc/x", "", ".", "a/../../x", `..\x`, "csv/../../x", "c:x"} {
		if _, err := DirSink(dir).Create(path); err == nil {
			t.Errorf("path %q was taken", path)
		}
	}
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, "out")); err == nil {
		if _, err := DirSink(dir).Create("out/x"); err == nil {
			t.Error("a link out of the folder was followed")
		}
	}
}

// TestDirSinkGivesUp leaves no file with a final name where an export stops half way.
func TestDirSinkGivesUp(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	_, err := Write(ctx, small(), Options{}, DirSink(dir), func(_, total int) {
		if total > 0 {
			cancel()
		}
	})
	if err == nil {
		t.Fatal("no error")
	}
	folders := 0
	if err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			folders++
			return nil
		}
		t.Errorf("%s was left", path)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if folders < 2 {
		t.Error("nothing was begun")
	}
}

func BenchmarkWrite(b *testing.B) {
	src := random(1, 200, &filler{})
	for _, f := range []servicev1.ExportFormat{asCSV, asParquet, asExcel, asStata, asSPSS} {
		b.Run(FormatName(f), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Write(context.Background(), src, Options{Formats: []servicev1.ExportFormat{f}}, discard{}, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

type discard struct{ io.Writer }

func (discard) Create(string) (io.WriteCloser, error) { return discard{}, nil }
func (discard) Write(p []byte) (int, error)           { return len(p), nil }
func (discard) Close() error                          { return nil }
