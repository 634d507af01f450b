package sav

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// need finds a program that reads the files, or skips the test. With HEARTH_READERS=all it must be there. Short runs, as
// those with the race detector, which sees nothing of other programs, leave it to the whole ones.
func need(t *testing.T, pkg string, probe ...string) {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped: other programs read the files in whole runs only")
	}
	if exec.Command(probe[0], probe[1:]...).Run() == nil {
		return
	}
	if os.Getenv("HEARTH_READERS") == "all" {
		t.Fatalf("%s is not here, and HEARTH_READERS=all: apt-get install %s", pkg, pkg)
	}
	t.Skipf("skipped: %s is not here: apt-get install %s", pkg, pkg)
}

// run gives the output of a program.
func run(t *testing.T, dir, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s\n%s", name, err, stderr.String(), out)
	}
	return out
}

// tables writes files for the readers, each as .sav and .zsav: the survey, random ones, one of 5,000 columns and one of
// several blocks.
func tables(t *testing.T) (dir string, all map[string]table) {
	t.Helper()
	dir, all = t.TempDir(), map[string]table{}
	s, rows := survey()
	all["survey"] = table{s, rows}
	for seed := range 25 {
		all[fmt.Sprint("random", seed)] = anyTable.Example(seed)
	}
	wide, row := &Schema{}, []Value{}
	for i := range 5_000 {
		wide.Variables = append(wide.Variables, Variable{Name: fmt.Sprint("household_member_age_", i), Kind: Number})
		row = append(row, []Value{Whole(5), Whole(-999), Real(2.5), {}}[i%4])
	}
	all["wide"] = table{wide, [][]Value{row, row}}
	blocks := table{schema: &Schema{Variables: []Variable{{Name: "a", Kind: Number}, {Name: "b", Kind: String, Width: 2_000}}}}
	for i := range 2_500 {
		blocks.rows = append(blocks.rows, []Value{Real(float64(i) + 0.5), Text(fmt.Sprint(long(1_990), i))})
	}
	all["blocks"] = blocks
	for name, tab := range all {
		plain, packed := write(t, tab.schema, tab.rows)
		for ext, b := range map[string][]byte{".sav": plain, ".zsav": packed} {
			if err := os.WriteFile(filepath.Join(dir, name+ext), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir, all
}

// read is a file as haven reads it. A value is n and a number, t and a text, or m.
type read struct {
	Label  string
	Names  []string
	Labels []string
	Values [][]string // by column
	Sets   []map[string]string
	Low    []*float64 // of the range of missing values
	Miss   [][]string
}

const havenScript = `
suppressMessages(library(haven))
or <- function(x, y) if (is.null(x)) y else x
object <- function(x) if (length(x)) x else setNames(list(), character(0))
num <- function(x) sprintf("%.17g", x)
show <- function(x) {
  if (is.character(x)) return(paste0("t", unclass(x), recycle0 = TRUE))
  if (inherits(x, "Date")) n <- as.numeric(x) * 86400 + 12219379200
  else if (inherits(x, "POSIXct")) n <- as.numeric(x) + 12219379200
  else n <- as.numeric(unclass(x))
  ifelse(is.na(n), "m", paste0("n", num(n), recycle0 = TRUE))
}
sets <- function(x) {
  l <- attr(x, "labels", exact = TRUE)
  object(setNames(as.list(names(l)), paste0("=", if (is.character(l)) unname(l) else num(l), recycle0 = TRUE)))
}
out <- list()
for (f in Sys.glob("*sav")) {
  d <- read_sav(f, user_na = TRUE)
  out[[f]] <- list(label = or(attr(d, "label"), ""), names = I(names(d)),
    labels = I(unname(vapply(d, function(x) or(attr(x, "label", exact = TRUE), ""), ""))),
    values = unname(lapply(d, function(x) I(show(x)))), sets = unname(lapply(d, sets)),
    low = I(unname(vapply(d, function(x) { r <- attr(x, "na_range"); if (is.null(r) || is.infinite(r[1])) NA else as.numeric(r[1]) }, 0))),
    miss = unname(lapply(d, function(x) { m <- attr(x, "na_values"); I(if (is.character(m)) m else num(or(m, numeric(0)))) })))
}
cat(jsonlite::toJSON(out, auto_unbox = TRUE, digits = NA, na = "null"))
`

func TestHaven(t *testing.T) {
	need(t, "r-cran-haven", "Rscript", "-e", "library(haven)")
	need(t, "r-cran-jsonlite", "Rscript", "-e", "library(jsonlite)")
	dir, all := tables(t)
	var got map[string]read
	if out := run(t, dir, "Rscript", "-e", havenScript); json.Unmarshal(out, &got) != nil {
		t.Fatalf("no JSON: %.500s", out)
	}
	values := 0
	for name, tab := range all {
		for _, ext := range []string{".sav", ".zsav"} {
			r, ok := got[name+ext]
			if !ok {
				t.Errorf("%s was not read", name+ext)
				continue
			}
			values += compareHaven(t, name+ext, tab, &r)
		}
	}
	if values < 10_000 {
		t.Errorf("only %d values compared", values)
	}
}

func compareHaven(t *testing.T, name string, tab table, r *read) (values int) {
	s := tab.schema
	if want := strings.TrimRight(seenCut(s.Label[s.first()], 64), " "); r.Label != want {
		t.Errorf("%s: label: got %q, want %q", name, r.Label, want)
	}
	if len(r.Names) != len(s.Variables) {
		t.Errorf("%s: got %d variables, want %d", name, len(r.Names), len(s.Variables))
		return 0
	}
	for i := range s.Variables {
		v := &s.Variables[i]
		if want := strings.TrimRight(seenCut(v.Label[s.first()], 255), " "); r.Names[i] != v.Name || strings.TrimRight(r.Labels[i], " ") != want {
			t.Errorf("%s: got %q, %q, want %q, %q", name, r.Names[i], r.Labels[i], v.Name, want)
		}
		if len(r.Values[i]) != len(tab.rows) {
			t.Errorf("%s: %s: got %d rows, want %d", name, v.Name, len(r.Values[i]), len(tab.rows))
			continue
		}
		if v.Kind == Date && v.Missing.Range != nil {
			continue // haven takes such a date for a number of days; see the doc of the package
		}
		for k, row := range tab.rows {
			values++
			if g, want := havenValue(r.Values[i][k]), row[i].seen(v.Kind); !same(g, want) {
				t.Errorf("%s: %s, row %d: got %v, want %v", name, v.Name, k+1, g, want)
			}
		}
		if v.Kind == Number || v.Kind == String {
			compareDictionary(t, name, s, v, r, i)
		}
	}
	return values
}

func compareDictionary(t *testing.T, name string, s *Schema, v *Variable, r *read, i int) {
	want := map[string]string{}
	for value, label := range s.seenLabels(v) {
		want[value] = strings.TrimRight(label, " ")
	}
	got := map[string]string{}
	for value, label := range r.Sets[i] {
		value = strings.TrimPrefix(value, "=")
		if f, err := strconv.ParseFloat(value, 64); err == nil && v.Kind == Number {
			value = strconv.FormatFloat(f, 'g', -1, 64)
		}
		got[value] = strings.TrimRight(label, " ")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: %s: value labels (-want +got):\n%s", name, v.Name, diff)
	}
	if m := v.Missing; m.Range != nil && !math.IsInf(m.Range[0], 0) && (r.Low[i] == nil || *r.Low[i] != m.Range[0]) {
		t.Errorf("%s: %s: the range of missing values is not there", name, v.Name)
	}
	if len(r.Miss[i]) != len(v.Missing.Numbers)+len(v.Missing.Texts) || v.Kind == String && !slices.Equal(r.Miss[i], append([]string{}, v.Missing.Texts...)) {
		t.Errorf("%s: %s: missing values: got %q, want %v %q", name, v.Name, r.Miss[i], v.Missing.Numbers, v.Missing.Texts)
	}
}

func havenValue(s string) any {
	switch s[0] {
	case 't':
		return s[1:]
	case 'n':
		if f, err := strconv.ParseFloat(s[1:], 64); err == nil {
			return f
		}
		return "not a number: " + s
	}
	return nil
}

// same compares values, and times to the microsecond, as R counts them from 1970.
func same(got, want any) bool {
	g, ok1 := got.(float64)
	w, ok2 := want.(float64)
	if ok1 && ok2 && w != math.Trunc(w) && w > 0 && w < 1e12 {
		return math.Abs(g-w) <= 1e-4
	}
	return got == want
}

// TestPSPP converts the files to CSV, without a warning, and reads what else is in the survey.
func TestPSPP(t *testing.T) {
	need(t, "pspp", "pspp", "--version")
	dir, all := tables(t)
	var b strings.Builder
	for name := range all {
		for _, ext := range []string{".sav", ".zsav"} {
			fmt.Fprintf(&b, "GET FILE='%s'.\nSAVE TRANSLATE /OUTFILE='%s.csv' /TYPE=CSV /REPLACE /FIELDNAMES /CELLS=VALUES.\n", name+ext, name+ext)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "all.sps"), []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	out := string(run(t, dir, "pspp", "-O", "format=txt", "all.sps"))
	for name, tab := range all {
		out = dropKnown(out, name, tab.schema)
	}
	if strings.TrimSpace(out) != "" {
		t.Errorf("PSPP says:\n%.2000s", out)
	}
	values := 0
	for name, tab := range all {
		for _, ext := range []string{".sav", ".zsav"} {
			values += comparePSPP(t, filepath.Join(dir, name+ext+".csv"), name+ext, tab)
		}
	}
	if values < 10_000 {
		t.Errorf("only %d values compared", values)
	}
}

// dropKnown takes out a warning of PSPP before 2.0, which expected the length of the second and third missing value of
// strings over 8 bytes again, against SPSS.
func dropKnown(out, name string, s *Schema) string {
	if !slices.ContainsFunc(s.Variables, func(v Variable) bool { return v.Width > 8 && len(v.Missing.Texts) > 1 }) {
		return out
	}
	known := regexp.MustCompile("warning: `" + name + "\\.z?sav' near offset 0x[0-9a-f]+:\\s+Extension\\s+record\\s+subtype\\s+22\\s+ends\\s+unexpectedly\\.")
	return known.ReplaceAllString(out, "")
}

func comparePSPP(t *testing.T, path, name string, tab table) (values int) {
	content, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
		return 0
	}
	if len(tab.schema.Variables) == 1 { // an empty line is a row, or nothing
		return 0
	}
	reader := csv.NewReader(strings.NewReader(string(content)))
	reader.LazyQuotes = true
	records, err := reader.ReadAll()
	if err != nil || len(records) != len(tab.rows)+1 {
		t.Errorf("%s: got %d lines, want %d: %v", name, len(records), len(tab.rows)+1, err)
		return 0
	}
	for i := range tab.schema.Variables {
		v := &tab.schema.Variables[i]
		if records[0][i] != v.Name {
			t.Errorf("%s: got %q, want %q", name, records[0][i], v.Name)
		}
		if v.Kind == Date || v.Kind == Datetime {
			continue
		}
		for k, row := range tab.rows {
			values++
			got, want := records[k+1][i], row[i].seen(v.Kind)
			ok := false
			switch w := want.(type) {
			case string:
				ok = strings.ReplaceAll(w, "\r\n", "\n") == strings.TrimRight(got, " ")
			case float64:
				f, err := strconv.ParseFloat(strings.TrimSpace(got), 64)
				ok = err == nil && math.Abs(f-w) <= 1e-13*math.Abs(w)
			case nil:
				ok = strings.TrimSpace(got) == ""
			}
			if !ok {
				t.Errorf("%s: %s, row %d: got %q, want %v", name, v.Name, k+1, got, want)
			}
		}
	}
	return values
}

// TestPSPPDictionary looks for what PSPP alone knows: multiple-response sets, attributes, documents, missing values.
func TestPSPPDictionary(t *testing.T) {
	need(t, "pspp", "pspp", "--version")
	dir := t.TempDir()
	s, rows := survey()
	plain, packed := write(t, s, rows)
	for name, b := range map[string][]byte{"survey.sav": plain, "survey.zsav": packed} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
		syntax := "GET FILE='" + name + "'.\nDISPLAY DICTIONARY.\nDISPLAY DOCUMENTS.\nDISPLAY ATTRIBUTES.\nMRSETS /DISPLAY NAME=ALL.\nSHOW WEIGHT.\n" +
			"WEIGHT OFF.\nFREQUENCIES interview_sex.\nSYSFILE INFO '" + name + "'.\n"
		if err := os.WriteFile(filepath.Join(dir, "s.sps"), []byte(syntax), 0o600); err != nil {
			t.Fatal(err)
		}
		out := strings.Join(strings.Fields(string(run(t, dir, "pspp", "-O", "format=csv", "s.sps"))), " ")
		for _, want := range []string{
			`$talk,Where news come from,Dichotomies,1,"talk_radio talk_tv talk_web"`, `$pair,,Categories,,"interview_sex score"`,
			`住户收入,3,,Scale,Output,12,Right,COMMA12.0,COMMA12.0,-99 THRU -96`, `weight,4,,Scale,Input,12,Center,F8.2,F8.2,-1; 0.5; 1000000000`,
			`score,14,,Nominal,Input,8,Right,F8.0,F8.0,LOWEST THRU -1; 99`, `story,9,In their own words,Nominal,Input,32,Left,A32000,A32000`,
			`province,7,,Nominal,Input,8,Left,A6,A6,"""?? ""; ""- """`, `construction worker,Builds houses`, `GZ,Guizhou`,
			`Question[1],What is the person's 'sex'?`, `ValueLabels_zh[4],1=男`, `Label_zh,贵阳住户`, `Schema,sha256:abc`,
			`Second line 第二行`, `don't know,1`, `Households of Guiyang`, `UTF-8`,
		} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %s in the output of PSPP", name, want)
			}
		}
		if t.Failed() {
			t.Logf("%.6000s", out)
		}
	}
}

// TestReadStat asks ReadStat's own program for the counts.
func TestReadStat(t *testing.T) {
	need(t, "readstat", "readstat", "--version")
	dir, all := tables(t)
	for name, tab := range all {
		for _, ext := range []string{".sav", ".zsav"} {
			meta := string(run(t, dir, "readstat", name+ext))
			for _, want := range []string{fmt.Sprintf("Columns: %d\n", len(tab.schema.Variables)), fmt.Sprintf("Rows: %d\n", len(tab.rows)), "Text encoding: UTF-8"} {
				if !strings.Contains(meta, want) {
					t.Errorf("%s: no %q in\n%s", name+ext, want, meta)
				}
			}
		}
	}
}

// TestUnfinishedFile shows files that were not closed to the readers: none takes them.
func TestUnfinishedFile(t *testing.T) {
	dir := t.TempDir()
	s, rows := survey()
	for name, o := range map[string]Options{"half.sav": {}, "half.zsav": {ZLIB: true}} {
		file, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		w, err := NewWriter(file, s, o)
		if err != nil {
			t.Fatal(err)
		}
		for range 200 {
			if err := w.Row(rows[2]); err != nil {
				t.Fatal(err)
			}
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".sps"), []byte("GET FILE='"+name+"'.\nLIST.\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		for pkg, args := range map[string][]string{
			"r-cran-haven": {"Rscript", "-e", "library(haven); read_sav('" + name + "')"},
			"pspp":         {"pspp", name + ".sps"},
			"readstat":     {"readstat", name},
		} {
			t.Run(name+" "+pkg, func(t *testing.T) {
				probe := []string{args[0], "--version"}
				if args[0] == "Rscript" {
					probe = []string{"Rscript", "-e", "library(haven)"}
				}
				need(t, pkg, probe...)
				cmd := exec.Command(args[0], args[1:]...)
				cmd.Dir = dir
				if out, err := cmd.CombinedOutput(); err == nil && !strings.Contains(string(out), "Error") {
					t.Errorf("%s takes it: %.300s", pkg, out)
				}
			})
		}
	}
}
