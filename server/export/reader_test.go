package export

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/export/xlsx"
	"github.com/parquet-go/parquet-go"
	"github.com/xuri/excelize/v2"
	"google.golang.org/protobuf/proto"
)

// TestParquet reads the files back and compares them with the CSV files, value by value.
func TestParquet(t *testing.T) {
	files, m := export(t, everyQuestion(11, 20), Options{Profile: identified})
	compared := map[string]int{}
	for _, l := range m.Levels {
		rows := records(t, files.files["csv/"+l.Name+".csv"])
		file, got := parquetRows(t, files.files["parquet/"+l.Name+".parquet"])
		header := headerOf(files.files["csv/"+l.Name+".csv"])
		var names []string
		for _, f := range file.Schema().Fields() {
			names = append(names, f.Name())
		}
		if inOrder := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !slices.Contains(header, n) }); !slices.Equal(inOrder, header) {
			t.Errorf("%s: columns are not in the questionnaire's order: %s", l.Name, inOrder)
		}
		for r := range got {
			values := map[int][]parquet.Value{}
			for _, v := range got[r] {
				values[v.Column()] = append(values[v.Column()], v)
			}
			for i, f := range file.Schema().Fields() {
				want, ok := rows[r][f.Name()]
				if !ok {
					want = rows[r][strings.TrimSuffix(f.Name(), "_text")]
				}
				kind, err := sameParquet(f, values[i], want, rows[r][f.Name()+"_cal"])
				if compared[kind]++; err != nil {
					t.Errorf("%s.%s row %d: %v", l.Name, f.Name(), r, err)
				}
			}
		}
		meta, ok := file.Lookup("hearth")
		var table metaTable
		if !ok || json.Unmarshal([]byte(meta), &table) != nil || len(table.Variables) != len(names) {
			t.Errorf("%s: labels are missing", l.Name)
		}
	}
	for _, kind := range []string{"list", "DATE", "BYTE_ARRAY", "INT64", "INT32", "DOUBLE", "null"} {
		if compared[kind] < 30 {
			t.Errorf("only %d values of kind %s compared, of %v", compared[kind], kind, compared)
		}
	}
}

// sameParquet compares the values of a column of a row with what the CSV file has, and says of which kind they are.
func sameParquet(f parquet.Field, got []parquet.Value, want, calendar string) (kind string, err error) {
	var text string
	switch v := got[0]; {
	case v.IsNull():
		kind = "null"
		_, whole := time.Parse(time.DateOnly, want)
		if f.Leaf() && f.Type().String() == "DATE" && (whole != nil || calendar == "2") {
			want = "" // no whole date of the solar calendar
		}
	case !f.Leaf():
		var items []string
		for _, v := range got {
			items = append(items, escapeItem(v.String()))
		}
		kind, text = "list", strings.Join(items, ";")
	case f.Type().String() == "DATE":
		kind, text = "DATE", time.Unix(int64(v.Int32())*86_400, 0).UTC().Format(time.DateOnly)
	case f.Type().String() == "DOUBLE":
		kind, text = "DOUBLE", string(appendNumber(nil, v.Double()))
	case strings.HasPrefix(f.Type().String(), "TIMESTAMP"):
		kind, text = "time", string(appendTime(nil, v.Int64()))
	default:
		kind, text = v.Kind().String(), v.String()
	}
	if strings.ReplaceAll(text, "\r\n", "\n") != want {
		return kind, fmt.Errorf("got %q, want %q", text, want)
	}
	return kind, nil
}

// TestJSONLines compares the objects with the CSV files, value by value.
func TestJSONLines(t *testing.T) {
	files, m := export(t, random(11, 30, &filler{}), Options{Profile: identified, Formats: []servicev1.ExportFormat{asCSV, servicev1.ExportFormat_EXPORT_FORMAT_JSONL}})
	compared, arrays := 0, 0
	for _, l := range m.Levels {
		rows := records(t, files.files["csv/"+l.Name+".csv"])
		lines := strings.Split(strings.TrimSuffix(string(files.files["jsonl/"+l.Name+".jsonl"]), "\n"), "\n")
		if len(rows) == 0 && lines[0] == "" {
			continue
		}
		if len(lines) != len(rows) {
			t.Fatalf("%s: %d lines, want %d", l.Name, len(lines), len(rows))
		}
		for r, line := range lines {
			got := map[string]any{}
			d := json.NewDecoder(strings.NewReader(line))
			if d.UseNumber(); d.Decode(&got) != nil {
				t.Fatalf("%s row %d is no JSON: %s", l.Name, r, line)
			}
			for name, want := range rows[r] {
				text := ""
				switch v := got[name].(type) {
				case string:
					text = v
				case json.Number:
					text = v.String()
				case []any:
					arrays++
					var items []string
					for _, item := range v {
						items = append(items, escapeItem(fmt.Sprint(item)))
					}
					text = strings.Join(items, ";")
				}
				if want == "NaN" || strings.HasSuffix(want, "Inf") {
					want = "" // JSON has no such number
				}
				if compared++; strings.ReplaceAll(text, "\r\n", "\n") != want {
					t.Errorf("%s.%s row %d: got %q, want %q", l.Name, name, r, text, want)
				}
			}
		}
	}
	if compared < 1000 || arrays < 10 || !strings.Contains(strings.Join(m.Warnings, "\n"), "jsonl: ") {
		t.Errorf("only %d values and %d arrays compared, warnings %q", compared, arrays, m.Warnings)
	}
}

func headerOf(content []byte) []string {
	line, _, _ := bytes.Cut(bytes.TrimPrefix(content, []byte("\ufeff")), []byte("\r\n"))
	return strings.Split(string(line), ",")
}

func TestExcel(t *testing.T) {
	src := small()
	files, _ := export(t, src, Options{Language: "zh"})
	book, err := excelize.OpenReader(bytes.NewReader(files.files[excelPath]))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = book.Close() }()
	sheet := func(name string) []map[string]string {
		rows, err := book.GetRows(name, excelize.Options{RawCellValue: true})
		if err != nil {
			t.Fatal(err)
		}
		var out []map[string]string
		for _, r := range rows[1:] {
			m := map[string]string{}
			for i, v := range r {
				m[rows[0][i]] = v
			}
			out = append(out, m)
		}
		return out
	}
	coded, labels := sheet("person"), sheet("person labels")
	if got := coded[1]["sex"]; got != "1" {
		t.Errorf("coded: got %q, want 1", got)
	}
	if got := labels[1]["请问他（她）的性别？"]; got != "男" {
		t.Errorf("labelled: got %q, want 男", got)
	}
	if got := labels[0]["无回答原因：他（她）是什么民族？"]; got != "拒绝回答" {
		t.Errorf("reason: got %q", got)
	}
	interviews := sheet("interview")
	if got := interviews[1]["interview_key"]; got != "=GY-2" {
		t.Errorf("got %q, want =GY-2 as text", got)
	}
	for _, s := range []string{"interview", "person labels", "codebook"} {
		p, err := book.GetPanes(s)
		if err != nil || !p.Freeze || p.YSplit != 1 {
			t.Errorf("%s: the header is not frozen", s)
		}
	}
	formulas := 0
	for name, content := range unpack(t, files.files) {
		if strings.HasPrefix(name, excelPath+"/xl/worksheets/") {
			formulas += bytes.Count(content, []byte("<f>"))
		}
	}
	if formulas > 0 {
		t.Errorf("%d formulas", formulas)
	}
	if rows := sheet("codebook"); len(rows) < 1000 {
		t.Errorf("codebook: only %d rows", len(rows))
	}
}

// TestExcelKeepsText compares awkward texts.
func TestExcelKeepsText(t *testing.T) {
	var interviews []*surveyv1.Interview
	for i, s := range awkward {
		interviews = append(interviews, &surveyv1.Interview{InterviewId: proto.String(strconv.Itoa(i)), SiteId: proto.String(s)})
	}
	files, _ := export(t, source(interviews, make([]*servicev1.InterviewSummary, len(interviews))), Options{Formats: []servicev1.ExportFormat{asExcel}})
	book, err := excelize.OpenReader(bytes.NewReader(files.files[excelPath]))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = book.Close() }()
	rows, err := book.GetRows("interview", excelize.Options{RawCellValue: true})
	if err != nil {
		t.Fatal(err)
	}
	at := -1
	for i, name := range rows[0] {
		if name == "site_id" {
			at = i
		}
	}
	for i, want := range awkward {
		got := ""
		if at < len(rows[i+1]) {
			got = rows[i+1][at]
		}
		if strings.ReplaceAll(got, "\r\n", "\n") != strings.ReplaceAll(want, "\r\n", "\n") {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestExcelLimits(t *testing.T) {
	long := strings.Repeat("𠮷a", 20_000)
	var interviews []*surveyv1.Interview
	for i := range 7 {
		interviews = append(interviews, &surveyv1.Interview{InterviewId: proto.String(strconv.Itoa(i)), SiteId: proto.String(long)})
	}
	src := source(interviews, make([]*servicev1.InterviewSummary, 7))
	sink := &memory{}
	j, err := newJob(src, Options{Formats: []servicev1.ExportFormat{asExcel}}, sink, nil)
	if err != nil {
		t.Fatal(err)
	}
	j.rowLimit = 4
	m, err := j.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Warnings) != 1 || !strings.Contains(m.Warnings[0], "interview.site_id") {
		t.Errorf("warnings: got %q", m.Warnings)
	}
	book, err := excelize.OpenReader(bytes.NewReader(sink.files[excelPath]))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = book.Close() }()
	for name, want := range map[string]int{"interview": 4, "interview (2)": 4, "interview (3)": 2, "interview labels (3)": 2} {
		rows, err := book.GetRows(name)
		if err != nil || len(rows) != want {
			t.Errorf("%s: got %d rows (%v), want %d", name, len(rows), err, want)
		}
	}
}

func TestClip(t *testing.T) {
	for _, s := range []string{"", "短", strings.Repeat("短", xlsx.MaxText), strings.Repeat("短", xlsx.MaxText+1), strings.Repeat("𠮷", xlsx.MaxText)} {
		got := clip(s)
		if n := len(utf16.Encode([]rune(got))); n > xlsx.MaxText {
			t.Errorf("%d code units, more than a cell holds", n)
		}
		if len(utf16.Encode([]rune(s))) <= xlsx.MaxText && got != s {
			t.Error("a text that fits was cut")
		}
		if !strings.HasPrefix(s, got) {
			t.Error("a character was cut in two")
		}
	}
}

// TestCodebook reads the codebook.
func TestCodebook(t *testing.T) {
	files, _ := export(t, small(), Options{Profile: identified})
	seen := map[string]map[string]string{}
	for _, r := range records(t, files.files["codebook.csv"]) {
		seen[r["table"]+"."+r["variable"]+"/"+r["row"]+"/"+r["code"]] = r
	}
	for key, want := range map[string]map[string]string{
		"person.sex/value/2":                      {"label_en": "female", "label_zh": "女", "count": "2"},
		"person.age/variable/":                    {"unit": "year", "minimum": "36", "count": "1", "personal_data": "quasi_identifier"},
		"person.ethnic_group_why/missing/refused": {"label_zh": "拒绝回答", "count": "1"},
		"person.marital_status/variable/":         {"universe_en": "Members aged 15 and over", "field_numbers": "8", "path": "marital_status"},
	} {
		for column, w := range want {
			if got := seen[key][column]; got != w {
				t.Errorf("%s %s: got %q, want %q", key, column, got, w)
			}
		}
	}
	page := string(files.files["codebook.html"])
	for _, want := range []string{"Guiyang &lt;2016&gt;", "请问他（她）的性别？", `id="person"`, "refused"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if strings.Contains(page, "<script") {
		t.Error("the page has a script")
	}
}

// TestPandas lets another program read the CSV files and the workbook.
func TestPandas(t *testing.T) {
	const python = "/usr/bin/python3"
	need(t, "python3-pandas", python, "-c", "import pandas")
	files, _ := export(t, random(5, 20, &filler{}), Options{Profile: identified, Formats: []servicev1.ExportFormat{asCSV}})
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "p.csv"), files.files["csv/interview.csv"], 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(python, "-c", `
import json, sys, pandas
d = pandas.read_csv(sys.argv[1], dtype=str, keep_default_na=False)
print(json.dumps(d.to_dict("records")))`, filepath.Join(dir, "p.csv")).Output()
	if err != nil {
		t.Fatal(err)
	}
	var got []map[string]string
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	want := records(t, files.files["csv/interview.csv"])
	for i := range want {
		for name, w := range want[i] {
			if g := strings.ReplaceAll(got[i][name], "\r\n", "\n"); g != w {
				t.Errorf("row %d %s: pandas has %q, want %q", i, name, g, w)
			}
		}
	}
}
