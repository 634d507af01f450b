package server

import (
	"bytes"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/study"
	offline "github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// TestWholeLoop takes every real XLSForm from the spreadsheet to the data: it is published, an enrolled tablet gets it by
// a sync, takes in answers by name that lead to every question, sends them, and the export has every one of them; so
// says another program, which reads the Stata files.
func TestWholeLoop(t *testing.T) {
	forms, values := loopForms(t), 40
	if testing.Short() {
		values = 10 // the forms of short runs are small
	}
	wholeLoop(t, forms, 14, 1, values)
}

// wholeLoop publishes forms, fills so many interviews of each, and compares the export with them. Of each form at most so
// many questions may stay unreached; so many values of each interview are compared at least.
func wholeLoop(t *testing.T, forms []*servicev1.QuestionnaireForm, interviews, unreached, values int) {
	t.Helper()
	dir := t.TempDir()
	d := newDesk(t, openSQLite(t, filepath.Join(dir, "hq")))
	patient(d)
	var names []string
	for _, f := range forms {
		if resp := d.publish(t, f); resp.GetRefused() {
			t.Fatalf("%s is refused: %v", f.GetName(), resp.GetChanges())
		} else if resp.GetPublished() {
			names = append(names, resp.GetQuestionnaire().GetQuestionnaire())
		}
	}
	held := map[string]*questionnaire.Questionnaire{}
	schema := func(name string) protoreflect.MessageDescriptor {
		if q := held[name]; q != nil {
			return q.Descriptor()
		}
		return nil
	}
	code := d.code(t, "0007", "E001")
	path := filepath.Join(dir, "t.sqlite")
	fresh, err := offline.Enrol(t.Context(), path, d.conn, offline.EnrolOptions{Code: code, ServerKey: d.Key()})
	if err != nil {
		t.Fatal(err)
	}
	if err := fresh.Close(); err != nil {
		t.Fatal(err)
	}
	st, err := offline.Open(t.Context(), path, offline.Options{Answers: schema})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if _, err := st.Sync(t.Context(), d.conn, fastSession()); err != nil {
		t.Fatal(err)
	}
	readHeld(t, st, held)
	var all []*surveyv1.Interview
	for i, name := range names {
		if held[name] == nil {
			t.Fatalf("%s did not come down", name)
		}
		all = append(all, loadFilled(t, st, held[name], uint64(i), interviews, unreached)...)
	}
	report, err := st.Sync(t.Context(), d.conn, fastSession())
	if err != nil || report.Sent != len(all) || report.Pending != 0 || len(report.Quarantined)+len(report.Refused) != 0 {
		t.Fatalf("Sync = %+v, %v; want %d sent", report, err, len(all))
	}
	files, _ := exported(t, d, &servicev1.ExportRequest{
		Profile: servicev1.PrivacyProfile_PRIVACY_PROFILE_IDENTIFIED.Enum(), Reason: proto.String("to compare"), RequestedBy: proto.String("S01"),
		Formats: []servicev1.ExportFormat{servicev1.ExportFormat_EXPORT_FORMAT_CSV, servicev1.ExportFormat_EXPORT_FORMAT_DTA},
	})
	l := newLoop(t, files)
	for _, q := range d.known().All() {
		if held[q.Name()] != nil && !builtIn(q.Descriptor().FullName()) {
			l.compare(t, q, all)
		}
	}
	if l.compared < values*len(all) {
		t.Errorf("only %d values compared, of %d interviews", l.compared, len(all))
	}
	for _, w := range l.manifest.Warnings {
		if !strings.Contains(w, "personal_data") && !strings.Contains(w, "characters") && !strings.Contains(w, "the XLSForm of") {
			t.Errorf("warning: %s", w)
		}
	}
	l.pandas(t, filepath.Join(dir, "stata"))
}

// loopForms are the XLSForms of the shared data, in short runs some small ones.
func loopForms(t *testing.T) []*servicev1.QuestionnaireForm {
	t.Helper()
	root := os.Getenv("HEARTH_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "shared")
	}
	var out []*servicev1.QuestionnaireForm
	for _, pattern := range []string{"data/xlsform/*.xlsx", "data/xlsform/*/*.xlsx"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			if name := filepath.Base(path); testing.Short() && name != "ipa_repeat_allows_selection.xlsx" && name != "choice_filter.xlsx" && name != "ona_childrens_survey.xlsx" {
				continue
			}
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, &servicev1.QuestionnaireForm{Name: proto.String(filepath.Base(path)), Source: raw})
		}
	}
	switch {
	case len(out) == 0 && os.Getenv("HEARTH_CI") != "":
		t.Fatal("../shared/data/xlsform is not here")
	case len(out) == 0:
		t.Skip("skipped: ../shared/data is not here")
	case len(out) < 3:
		t.Fatalf("found only %d forms: the walk is broken", len(out))
	}
	return out
}

// readHeld loads the questionnaires that came down to a tablet.
func readHeld(t *testing.T, st *offline.Store, held map[string]*questionnaire.Questionnaire) {
	t.Helper()
	all, err := st.Questionnaires(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range all {
		if h.Version.GetPieces() == 0 {
			continue
		}
		raw, err := h.Files()
		if err != nil {
			t.Fatal(err)
		}
		files := &descriptorpb.FileDescriptorSet{}
		if err := proto.Unmarshal(raw, files); err != nil {
			t.Fatal(err)
		}
		if files, err = questionnaire.Closed(files); err != nil {
			t.Fatal(err)
		}
		q, err := questionnaire.Load(files, h.Version.GetQuestionnaire())
		if err != nil {
			t.Fatal(err)
		}
		held[q.Name()] = q
	}
}

// loadFilled loads filled interviews by name, and returns them.
func loadFilled(t *testing.T, st *offline.Store, q *questionnaire.Questionnaire, seed uint64, interviews, unreached int) []*surveyv1.Interview {
	t.Helper()
	var lines bytes.Buffer
	var all []*surveyv1.Interview
	schema := func(string) protoreflect.MessageDescriptor { return q.Descriptor() }
	filled, err := study.Fill(study.FillOptions{Questionnaire: q, Interviews: interviews, Seed: seed, Study: "guiyang"}, func(_ int, iv *surveyv1.Interview) error {
		all = append(all, iv)
		raw, err := protojson.Marshal(iv)
		line := offline.AnswersByName(raw, schema)
		if !bytes.Contains(line, []byte(`"answers":{`)) && len(iv.GetOther().GetAnswers()) > 0 {
			t.Errorf("answers to %s are not written by name: %.300s", q.Name(), line)
		}
		lines.Write(append(line, '\n'))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if filled.Hard > 0 || len(filled.Unreached) > unreached {
		t.Errorf("%s: %d contradictions, not reached: %v", q.Name(), filled.Hard, filled.Unreached)
	}
	report, err := st.Load(t.Context(), &lines, nil)
	if err != nil || report.Added != len(all) || len(report.Problems) > 0 {
		t.Fatalf("%s: loaded %+v, %v", q.Name(), report, err)
	}
	return all
}

// loop is an export that is compared with what was answered.
type loop struct {
	files    map[string][]byte
	manifest struct {
		Levels []struct {
			Name string
			Rows int
		}
		Warnings []string
	}
	// variables are the first variable of each path, and kinds the types of all variables, by table.
	variables, kinds map[string]map[string]string
	next             int // of the levels
	compared         int
	numbers          map[string]map[string]float64 // sums of the columns of numbers, by table
	rows             map[string]int
}

func newLoop(t *testing.T, files map[string][]byte) *loop {
	t.Helper()
	l := &loop{files: files, variables: map[string]map[string]string{}, kinds: map[string]map[string]string{}, numbers: map[string]map[string]float64{}, rows: map[string]int{}}
	if err := json.Unmarshal(files["manifest.json"], &l.manifest); err != nil {
		t.Fatal(err)
	}
	for _, r := range readCSV(t, files["codebook.csv"]) {
		if r["row"] != "variable" {
			continue
		}
		if l.variables[r["table"]] == nil {
			l.variables[r["table"]], l.kinds[r["table"]] = map[string]string{}, map[string]string{}
		}
		l.kinds[r["table"]][r["variable"]] = r["type"]
		if _, ok := l.variables[r["table"]][r["path"]]; !ok {
			l.variables[r["table"]][r["path"]] = r["variable"]
		}
	}
	for l.manifest.Levels[l.next].Name != "coupon_event" {
		l.next++
	}
	l.next++
	return l
}

func readCSV(t *testing.T, content []byte) []map[string]string {
	t.Helper()
	all, err := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(content, []byte("\ufeff")))).ReadAll()
	if err != nil || len(all) == 0 {
		t.Fatalf("%d lines: %v", len(all), err)
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

// compare holds the tables of a questionnaire, its own and then those of its rosters as they stand in it, against the
// answers.
func (l *loop) compare(t *testing.T, q *questionnaire.Questionnaire, all []*surveyv1.Interview) {
	t.Helper()
	want := map[string]map[string][]map[string]string{} // by level and interview
	var levels []string
	listLevels(q.Top(), "", &levels)
	for _, iv := range all {
		if iv.GetOther().GetQuestionnaire() != q.Name() {
			continue
		}
		m := q.New()
		if err := proto.Unmarshal(iv.GetOther().GetAnswers(), m); err != nil {
			t.Fatal(err)
		}
		collect(q.Top(), m.ProtoReflect(), "", func(level string, row map[string]string) {
			if want[level] == nil {
				want[level] = map[string][]map[string]string{}
			}
			want[level][iv.GetInterviewId()] = append(want[level][iv.GetInterviewId()], row)
		})
	}
	for _, level := range levels {
		table := l.manifest.Levels[l.next]
		l.next++
		got := map[string][]map[string]string{}
		for _, r := range readCSV(t, l.files["csv/"+table.Name+".csv"]) {
			got[r["interview_id"]] = append(got[r["interview_id"]], r)
			l.rows[table.Name]++
			l.sum(table.Name, r)
		}
		if len(got) != len(want[level]) {
			t.Errorf("%s (%s of %s): %d interviews, want %d", table.Name, level, q.Name(), len(got), len(want[level]))
		}
		for id, rows := range want[level] {
			if len(got[id]) != len(rows) {
				t.Errorf("%s: interview %s has %d rows, want %d", table.Name, id, len(got[id]), len(rows))
				continue
			}
			for i, row := range rows {
				l.compareRow(t, table.Name, got[id][i], row)
			}
		}
	}
}

func (l *loop) sum(table string, row map[string]string) {
	if l.numbers[table] == nil {
		l.numbers[table] = map[string]float64{}
	}
	for name, kind := range l.kinds[table] {
		switch kind {
		case "integer", "number", "code", "0/1":
			if x, err := strconv.ParseFloat(row[name], 64); err == nil {
				l.numbers[table][name] += x
			}
		}
	}
}

func (l *loop) compareRow(t *testing.T, table string, got, want map[string]string) {
	t.Helper()
	for path, value := range want {
		name, ok := l.variables[table][path]
		l.compared++
		if !ok || strings.ReplaceAll(got[name], "\r\n", "\n") != value {
			t.Errorf("%s: %s (column %q): got %q, want %q", table, path, name, got[name], value)
		}
	}
}

// listLevels lists the top and the rosters below it as they stand in the questionnaire.
func listLevels(m *questionnaire.Module, path string, out *[]string) {
	if path == "" {
		*out = append(*out, "")
	}
	for _, q := range m.Questions {
		below := strings.TrimPrefix(path+"."+q.Name(), ".")
		switch {
		case q.Module == nil:
		case q.List:
			*out = append(*out, below)
			listLevels(q.Module, below, out)
		default:
			listLevels(q.Module, below, out)
		}
	}
}

// collect tells the rows of a message and of all below it: values by path within the row's message.
func collect(m *questionnaire.Module, msg protoreflect.Message, level string, tell func(level string, row map[string]string)) {
	row := map[string]string{}
	type roster struct {
		q     *questionnaire.Question
		level string
		rows  protoreflect.List
	}
	var below []roster
	var walk func(m *questionnaire.Module, msg protoreflect.Message, path, level string)
	walk = func(m *questionnaire.Module, msg protoreflect.Message, path, level string) {
		for _, q := range m.Questions {
			here, deep := strings.TrimPrefix(path+"."+q.Name(), "."), strings.TrimPrefix(level+"."+q.Name(), ".")
			switch {
			case !msg.Has(q.Field):
			case q.Module != nil && q.List:
				below = append(below, roster{q, deep, msg.Get(q.Field).List()})
			case q.Module != nil:
				walk(q.Module, msg.Get(q.Field).Message(), here, deep)
			case q.Options.GetFormat() == formv1.Format_FORMAT_DATE_TIME || q.Field.Kind() == protoreflect.FloatKind:
			default:
				row[here] = answerText(q, msg.Get(q.Field))
			}
		}
	}
	walk(m, msg, "", level)
	tell(level, row)
	for _, b := range below {
		for i := range b.rows.Len() {
			collect(b.q.Module, b.rows.Get(i).Message(), b.level, tell)
		}
	}
}

func answerText(q *questionnaire.Question, v protoreflect.Value) string {
	choice := func(n int32) string {
		c, ok := q.Choices.Find(n)
		switch {
		case ok && c.Options.GetMissing() != 0:
			return ""
		case ok && c.Options != nil && c.Options.Code != nil:
			n = c.Options.GetCode()
		}
		return strconv.Itoa(int(n))
	}
	one := func(v protoreflect.Value) string {
		switch x := v.Interface().(type) {
		case protoreflect.EnumNumber:
			return choice(int32(x))
		case int32:
			if q.Choices != nil {
				return choice(x)
			}
		case float64:
			return strconv.FormatFloat(x, 'f', -1, 64)
		case bool:
			return map[bool]string{true: "1", false: "0"}[x]
		case []byte:
			return hex.EncodeToString(x)
		}
		return fmt.Sprint(v.Interface())
	}
	if !q.List {
		return strings.ReplaceAll(one(v), "\r\n", "\n")
	}
	var all []string
	for i := range v.List().Len() {
		if s := one(v.List().Get(i)); s != "" {
			all = append(all, s)
		}
	}
	return strings.Join(all, ";")
}

// pandas lets another program read the Stata files: as many rows, the same sums.
func (l *loop) pandas(t *testing.T, dir string) {
	t.Helper()
	if testing.Short() {
		return // whole runs let other programs read the files
	}
	if exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", "import pandas").Run() != nil {
		if os.Getenv("HEARTH_READERS") == "all" {
			t.Fatal("python3-pandas is not here, and HEARTH_READERS=all: apt-get install python3-pandas")
		}
		t.Skip("skipped: python3-pandas is not here")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for table := range l.rows {
		if err := os.WriteFile(filepath.Join(dir, table+".dta"), l.files["stata/"+table+".dta"], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", `
import glob, json, pandas
out = {}
for f in glob.glob("*.dta"):
    d = pandas.read_stata(f, convert_categoricals=False, convert_dates=False)
    out[f[:-4]] = {"rows": len(d), "sums": {c: float(d[c].sum()) for c in d.columns if d[c].dtype.kind in "iuf"}}
print(json.dumps(out))`)
	cmd.Dir = dir
	raw, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]struct {
		Rows int
		Sums map[string]float64
	}
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	sums := 0
	for table, rows := range l.rows {
		if got[table].Rows != rows {
			t.Errorf("pandas reads %d rows of %s, want %d", got[table].Rows, table, rows)
		}
		for name, want := range l.numbers[table] {
			if x, ok := got[table].Sums[name]; !ok || math.Abs(x-want) > 1e-6*max(1, math.Abs(want)) {
				t.Errorf("pandas: the sum of %s.%s is %v (there: %v), want %v", table, name, x, ok, want)
			}
			sums++
		}
	}
	if sums < 10 {
		t.Errorf("only %d sums compared", sums)
	}
}
