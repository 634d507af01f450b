package export

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/export/dta"
	"github.com/hearth-survey/hearth/server/export/sav"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// stataFileRead is a .dta file of release 118 as the format's description has it, read without the writer's help.
type stataFileRead struct {
	rows  int64
	names []string
	cells map[string][]string
	sort  []string
}

func readStata(t testing.TB, b []byte) *stataFileRead {
	t.Helper()
	section := func(name string) []byte {
		from := bytes.Index(b, []byte("<"+name+">"))
		to := bytes.LastIndex(b, []byte("</"+name+">"))
		if from < 0 || to < from {
			t.Fatalf("no section %s", name)
		}
		return b[from+len(name)+2 : to]
	}
	if !bytes.HasPrefix(b, []byte("<stata_dta><header><release>118</release><byteorder>LSF</byteorder><K>")) {
		t.Fatalf("not a .dta file: %.60q", b)
	}
	k := int(binary.LittleEndian.Uint16(section("K")))
	f := &stataFileRead{rows: int64(binary.LittleEndian.Uint64(section("N"))), cells: map[string][]string{}}
	if end := binary.LittleEndian.Uint64(section("map")[13*8:]); end != uint64(len(b)) {
		t.Errorf("the map says that the file ends at %d, it ends at %d", end, len(b))
	}
	types, names, order, data := section("variable_types"), section("varnames"), section("sortlist"), section("data")
	for i := range k {
		name, _, _ := strings.Cut(string(names[i*129:(i+1)*129]), "\x00")
		f.names = append(f.names, name)
	}
	for i := 0; binary.LittleEndian.Uint16(order[2*i:]) > 0; i++ {
		f.sort = append(f.sort, f.names[binary.LittleEndian.Uint16(order[2*i:])-1])
	}
	for range f.rows {
		for i, name := range f.names {
			var s string
			s, data = stataCell(binary.LittleEndian.Uint16(types[2*i:]), data)
			f.cells[name] = append(f.cells[name], s)
		}
	}
	if len(data) > 0 {
		t.Errorf("%d bytes of data too many", len(data))
	}
	return f
}

// stataCell reads one value and returns the rest.
func stataCell(kind uint16, b []byte) (string, []byte) {
	whole := func(n, top int64) string {
		if n > top {
			return missingText(int(n - top - 1))
		}
		return fmt.Sprint(n)
	}
	switch kind {
	case 65530:
		return whole(int64(int8(b[0])), 100), b[1:]
	case 65529:
		return whole(int64(int16(binary.LittleEndian.Uint16(b))), 32_740), b[2:]
	case 65528:
		return whole(int64(int32(binary.LittleEndian.Uint32(b))), 2_147_483_620), b[4:]
	case 65526:
		bits := binary.LittleEndian.Uint64(b)
		if bits >= 0x7fe0000000000000 && bits < 0x8000000000000000 {
			return missingText(int((bits - 0x7fe0000000000000) >> 40)), b[8:]
		}
		return string(appendNumber(nil, math.Float64frombits(bits))), b[8:]
	case 32768:
		if binary.LittleEndian.Uint64(b) == 0 {
			return "", b[8:]
		}
		return "(long)", b[8:]
	}
	return strings.TrimRight(string(b[:kind]), "\x00"), b[kind:]
}

func missingText(n int) string {
	if n == 0 {
		return "."
	}
	return "." + string(rune('a'+n-1))
}

func stataRows(t testing.TB, b []byte) int64 { return readStata(t, b).rows }

// spssRows reads the header of a .sav file.
func spssRows(t testing.TB, b []byte) int64 {
	t.Helper()
	if !bytes.HasPrefix(b, []byte("$FL2")) || len(b) < 176 {
		t.Fatalf("not a .sav file: %.10q", b)
	}
	return int64(int32(binary.LittleEndian.Uint32(b[80:])))
}

// reasoned has a member whose ethnic group is not known, beside other reasons.
func reasoned() Source {
	src := small()
	old := src.Interviews
	src.Interviews = func(yield func(*Answered, error) bool) {
		for a, err := range old {
			i := proto.CloneOf(a.Interview)
			i.GetHousehold().GetMembers()[0].Missing = map[uint32]formv1.Missing{9: formv1.Missing_MISSING_DONT_KNOW}
			if !yield(&Answered{Summary: a.Summary, Interview: i, Flags: a.Flags}, err) {
				return
			}
		}
	}
	return src
}

// TestStataValues reads the files with a reader of its own.
func TestStataValues(t *testing.T) {
	src := small()
	files, _ := export(t, src, Options{Formats: []servicev1.ExportFormat{asStata}, Profile: identified})
	read := map[string]*stataFileRead{}
	for _, tt := range []struct {
		table  string
		row    int
		column string
		want   string
	}{
		{"interview", 0, "interview_key", "GY-1"},
		{"interview", 0, "start_time", "1783242000000"},
		{"interview", 1, "start_time", "."},
		{"interview", 0, "result", "1"},
		{"interview", 1, "result", "."},
		{"interview", 0, "point_accuracy_m", "12.3"},
		{"interview", 0, "interview_day", "20639"},
		{"interview", 0, "interview_day_text", "2016-07-04"},
		{"interview", 1, "interview_day", "."},
		{"visit", 1, "visit_time", "1783242000250"},
		{"visit", 1, "position", "2"},
		{"person", 0, "full_name", "王芳"},
		{"person", 0, "birth_date", "."},
		{"person", 0, "birth_date_text", "1980-05"},
		{"person", 0, "birth_date_year", "1980"},
		{"person", 0, "birth_date_cal", "2"},
		{"person", 0, "ethnic_group", ".r"},
		{"person", 1, "ethnic_group", "."},
		{"person", 0, "hukou_place_why", "dont_know"},
		{"person", 1, "birth_date_why", "not_asked"},
		{"person", 0, "first_appearance", "1"},
		{"person", 2, "sex", "2"},
	} {
		if read[tt.table] == nil {
			read[tt.table] = readStata(t, files.files["stata/"+tt.table+".dta"])
		}
		col, ok := read[tt.table].cells[tt.column]
		if !ok || col[tt.row] != tt.want {
			t.Errorf("%s row %d %s: got %q (column there: %v), want %q", tt.table, tt.row, tt.column, col, ok, tt.want)
		}
	}
	if slices.Contains(read["person"].names, "ethnic_group_why") {
		t.Error("a column of reasons beside a code that holds them")
	}
	if got := strings.Join(read["person"].sort, " "); got != "interview_id household_id person_id canonical_person_id line_number position" {
		t.Errorf("sorted by %q", got)
	}
}

// labelledFiles makes the schema of a table, and its rows, as both writers do.
func labelledFiles(t *testing.T, src Source, table string, opts Options) (*dta.Schema, *sav.Schema, [][]sav.Value) {
	t.Helper()
	j, err := newJob(src, opts, &memory{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.pass(t.Context(), newExtractor(j.plan, j.src, j.opts.Language, func(r *row) error {
		j.stats[r.table].add(r)
		return nil
	})); err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(j.plan.Tables, func(t *Table) bool { return t.Name == table })
	tab := j.plan.Tables[at]
	l := newLayout(tab, j.stats[tab])
	sf := &stataFile{table: tab, vars: variables(l, j.stats[tab])}
	pf := &spssFile{table: tab, vars: variables(l, j.stats[tab])}
	w := &spssWriter{job: j, lost: losses{}}
	stata, spss := sf.schema(j, j.stats[tab], languages(opts.Language)), pf.schema(j, languages(opts.Language))
	var rows [][]sav.Value
	if err := j.pass(t.Context(), newExtractor(j.plan, j.src, j.opts.Language, func(r *row) error {
		if r.table != tab {
			return nil
		}
		var values []sav.Value
		for i := range pf.vars {
			values = append(values, w.value(pf, i, r))
		}
		rows = append(rows, values)
		return nil
	})); err != nil {
		t.Fatal(err)
	}
	return stata, spss, rows
}

func TestLabelledSchema(t *testing.T) {
	stata, spss, rows := labelledFiles(t, reasoned(), "person", Options{Language: "zh", Profile: research})
	if got := strings.Join(stata.Languages, " "); got != "zh en" {
		t.Errorf("languages: got %s", got)
	}
	if stata.Label["en"] != "Member of the household: Guiyang <2016>" || !strings.HasSuffix(stata.Label["zh"], "：贵阳") {
		t.Errorf("label: got %q", stata.Label)
	}
	if notes := strings.Join(append(stata.Notes, spss.Documents...), "\n"); strings.Count(notes, "Privacy profile: research.") != 2 || !strings.Contains(notes, ".r refused") || !strings.Contains(notes, "-99 refused") {
		t.Errorf("notes: got %s", notes)
	}
	at := func(name string) int {
		i := slices.IndexFunc(stata.Variables, func(v dta.Variable) bool { return v.Name == name })
		if i < 0 || spss.Variables[i].Name != name {
			t.Fatalf("%s is not in both files at the same place", name)
		}
		return i
	}
	sex := stata.Variables[at("sex")]
	if sex.Kind != dta.Byte || sex.LabelSet != "sex" || sex.Label["zh"] == sex.Label["en"] || sex.Label["zh"] == "" || len(sex.Notes) < 2 {
		t.Errorf("sex: got %+v", sex)
	}
	labels := map[string]string{}
	for _, set := range stata.LabelSets {
		for _, l := range set.Labels {
			labels[fmt.Sprintf("%s/%d%s", set.Name, l.Code, string(rune(l.Missing)))] = l.Text["zh"] + " " + l.Text["en"]
		}
	}
	for key, want := range map[string]string{"sex/2\x00": "女 female", "sex/0r": "拒绝回答 refused", "yes_no/1\x00": "是 yes"} {
		if labels[key] != want {
			t.Errorf("label %q: got %q, want %q", key, labels[key], want)
		}
	}
	code := spss.Variables[at("ethnic_group")]
	if r := code.Missing.Range; r == nil || *r != [2]float64{-99, -96} || code.Measure != sav.Nominal {
		t.Errorf("ethnic_group: got %+v", code)
	}
	if got := rows[0][at("ethnic_group")]; got != sav.Whole(-98) {
		t.Errorf("ethnic_group: got %v, want -98 for don't know", got)
	}
	if got, want := rows[0][at("sex")], sav.Whole(2); got != want {
		t.Errorf("sex: got %v, want %v", got, want)
	}
	if k := spss.Variables[at("birth_date")].Kind; k != sav.Date {
		t.Errorf("birth_date: got kind %d", k)
	}
	if len(spss.Multiple) == 0 || len(spss.Multiple[0].Variables) < 2 || spss.Multiple[0].Label["zh"] == "" {
		t.Errorf("multiple-response sets: got %+v", spss.Multiple)
	}
}

// TestEveryNameFits gives the layout of every table to both formats, with every reason and every kind of column.
func TestEveryNameFits(t *testing.T) {
	tables, languages := 0, []string{"en", "zh", "bo", "zh-Hant", "no such language !"}
	if testing.Short() {
		languages = []string{"zh", "no such language !"}
	}
	for _, profile := range []servicev1.PrivacyProfile{identified, research} {
		for _, lang := range languages {
			_, m := export(t, random(9, 3, &filler{all: true}), Options{Profile: profile, Language: lang, Formats: []servicev1.ExportFormat{asStata, asSPSS}})
			tables += len(m.Files)
			for _, w := range m.Warnings {
				if !strings.HasPrefix(w, "dta: ") && !strings.HasPrefix(w, "sav: ") && !strings.HasSuffix(w, "publish it and export again") {
					t.Errorf("warning %q", w)
				}
			}
		}
	}
	if tables < 100*len(languages) {
		t.Errorf("only %d files", tables)
	}
}

func TestReasonCodes(t *testing.T) {
	for _, tt := range []struct {
		lo, hi float64
		n      int64
		want   int64
	}{
		{0, 0, 0, -99}, {0, 120, 2, -99}, {-95, 3, 2, -99}, {-96, 3, 2, -999}, {-97.5, -97.5, 1, -999}, {-200, -100, 2, -99}, {-5000, 5000, 2, -9999},
	} {
		st := &columnStats{min: tt.lo, max: tt.hi, numbers: tt.n}
		if got, ok := st.reasonCodes(&Column{Kind: KindNumber}); !ok || got != tt.want {
			t.Errorf("%v to %v: got %d, want %d", tt.lo, tt.hi, got, tt.want)
		}
	}
	if _, ok := (&columnStats{min: -1e300, max: 1e300, numbers: 2}).reasonCodes(&Column{Kind: KindNumber}); ok {
		t.Error("codes among all numbers")
	}
}

// TestDays tells whole dates of the solar calendar from others.
func TestDays(t *testing.T) {
	var members []*surveyv1.HouseholdMember
	for _, d := range []*surveyv1.PartialDate{
		{Year: proto.Int32(1980), Month: proto.Int32(5), Day: proto.Int32(4)},
		{Year: proto.Int32(1980), Month: proto.Int32(5), Day: proto.Int32(4), Calendar: surveyv1.Calendar_CALENDAR_LUNAR.Enum()},
		{Year: proto.Int32(1980), Month: proto.Int32(2), Day: proto.Int32(30)},
		{Year: proto.Int32(1980), Month: proto.Int32(2)},
		{Year: proto.Int32(50), Month: proto.Int32(2), Day: proto.Int32(3), Calendar: surveyv1.Calendar_CALENDAR_SOLAR.Enum()},
		{Year: proto.Int32(-4), Month: proto.Int32(2), Day: proto.Int32(3)},
	} {
		members = append(members, &surveyv1.HouseholdMember{BirthDate: d})
	}
	i := &surveyv1.Interview{Answers: &surveyv1.Interview_Household{Household: &surveyv1.Household{Members: members}}}
	files, _ := export(t, source([]*surveyv1.Interview{i}, make([]*servicev1.InterviewSummary, 1)), Options{Formats: []servicev1.ExportFormat{asStata, asSPSS}})
	f := readStata(t, files.files["stata/person.dta"])
	if got := strings.Join(f.cells["birth_date"], " "); got != "7429 . . . . ." {
		t.Errorf("got days %s", got)
	}
	if got := strings.Join(f.cells["birth_date_text"], " "); !strings.HasPrefix(got, "1980-05-04 1980-05-04 1980-02-30 1980-02 0050-02-03 ") {
		t.Errorf("got texts %s", got)
	}
}

// TestLosses says in the manifest what the two formats cannot hold, and writes the rest.
func TestLosses(t *testing.T) {
	var interviews []*surveyv1.Interview
	for n, s := range []string{"a\x00b", "bad \xff", strings.Repeat("长", 20_000), "fine"} {
		interviews = append(interviews, &surveyv1.Interview{
			InterviewId: proto.String(fmt.Sprint(n)), SiteId: proto.String(s), StartTime: &timestamppb.Timestamp{Seconds: -60_000_000_000},
			Point: &surveyv1.GeoPoint{Latitude: proto.Float64([]float64{math.NaN(), math.Inf(-1), math.MaxFloat64, 1}[n])},
		})
	}
	_, m := export(t, source(interviews, make([]*servicev1.InterviewSummary, 4)), Options{Profile: identified, Formats: []servicev1.ExportFormat{asStata, asSPSS}})
	got := strings.Join(m.Warnings, "\n")
	for _, want := range []string{
		"dta: 2 values of interview.site_id have characters", "sav: 2 values of interview.site_id have characters", "sav: 1 values of interview.site_id are longer",
		"dta: 3 values of interview.point_latitude are infinite", "sav: 3 values of interview.point_latitude", "dta: 4 values of interview.start_time are times", "sav: 4 values of interview.start_time",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no warning %q in\n%s", want, got)
		}
	}
}

// TestReasonBesideAnswer keeps the column of reasons where folding would lose one.
func TestReasonBesideAnswer(t *testing.T) {
	src := small()
	var all []*surveyv1.Interview
	for a := range src.Interviews {
		all = append(all, proto.CloneOf(a.Interview))
	}
	members := all[0].GetHousehold().GetMembers()
	members[1].Missing = map[uint32]formv1.Missing{9: formv1.Missing_MISSING_UNSPECIFIED}
	files, _ := export(t, source(all, make([]*servicev1.InterviewSummary, 2)), Options{Formats: []servicev1.ExportFormat{asStata}})
	f := readStata(t, files.files["stata/person.dta"])
	if got := fmt.Sprint(f.cells["ethnic_group"], f.cells["ethnic_group_why"]); got != "[.r . .] [refused no_reason ]" {
		t.Errorf("got %s", got)
	}
}

// TestFaults says which table and variable a format refuses, and of which kind the error is.
func TestFaults(t *testing.T) {
	_, stata := dta.NewCounter(&dta.Schema{Variables: []dta.Variable{{Name: "sex", Kind: dta.Byte, Width: 3}}})
	_, spss := sav.NewCounter(&sav.Schema{Variables: []sav.Variable{{Name: "sex", Kind: sav.Number, Width: 3}}})
	for format, err := range map[string]error{"dta": stataFault("person", stata), "sav": spssFault("person", spss)} {
		if fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: got %v, want an invalid table", format, err)
		}
		for _, want := range []string{"table person", "variable sex", "leave the " + format + " format out"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %q, want it to say %q", format, err, want)
			}
		}
	}
	full := writeFault("stata/person.dta", fmt.Errorf("no space"))
	if got := stataFault("person", fmt.Errorf("writing: %w", full)); fault.ReasonOf(got) != fault.DiskFull {
		t.Errorf("got %v, want a full disk", got)
	}
}
