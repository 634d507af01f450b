package dta

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s\n%s", name, err, stderr.String(), out)
	}
	return out
}

// read is a file as another program reads it. A value is n and a number, t and a text, or m and a missing value.
type read struct {
	Trims  bool // spaces at the end of labels
	Label  string
	Names  []string
	Labels []string
	Lang   map[string][]string // labels by language
	Values [][]string          // by column
	Sets   map[string]map[string]string
	Own    []map[string]string // value labels by variable, with = before the code
}

// tables writes files for the readers: the survey, random ones, and one of 5,000 columns.
func tables(t *testing.T) (dir string, all map[string]table) {
	t.Helper()
	dir, all = t.TempDir(), map[string]table{}
	s, rows := survey()
	all["survey.dta"] = table{s, rows}
	for seed := range 25 {
		all[fmt.Sprintf("random%d.dta", seed)] = anyTable.Example(seed)
	}
	wide, values := &Schema{}, []Value{}
	for i := range 5_000 {
		wide.Variables = append(wide.Variables, Variable{Name: fmt.Sprint("v", i), Kind: Kind(1 + i%6)})
		values = append(values, []Value{Whole(5), Whole(-9), Missing('r'), Real(2.5), date(2026, 3, 4), Missing(0)}[i%6])
	}
	all["wide.dta"] = table{wide, [][]Value{values, values}}
	huge, row := &Schema{}, []Value{}
	for i := range 33_000 {
		v := Variable{Name: fmt.Sprint("v", i), Kind: Byte}
		x := Whole(int64(i % 100))
		if i%3_000 == 2_999 {
			v.Kind, x = LongString, Text(fmt.Sprint("长", i))
		}
		huge.Variables = append(huge.Variables, v)
		row = append(row, x)
	}
	all["huge.dta"] = table{huge, [][]Value{row, row}}
	for name, tab := range all {
		if err := os.WriteFile(filepath.Join(dir, name), write(t, tab.schema, tab.rows), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir, all
}

// compare compares what a reader found. Sets and languages are compared if it tells them.
func compare(t *testing.T, out []byte, all map[string]table) {
	t.Helper()
	var got map[string]read
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v in %.500s", err, out)
	}
	values := 0
	for name, tab := range all {
		r, ok := got[name]
		if !ok {
			t.Errorf("%s was not read", name)
			continue
		}
		s := tab.schema
		if want := cutLabel(s.Label[s.first()]); r.Label != want && !r.Trims || strings.TrimRight(r.Label, " ") != strings.TrimRight(want, " ") {
			t.Errorf("%s: label: got %q, want %q", name, r.Label, want)
		}
		if len(r.Names) != len(s.Variables) || len(r.Labels) != len(s.Variables) || len(r.Values) != len(s.Variables) {
			t.Errorf("%s: got %d variables, want %d", name, len(r.Names), len(s.Variables))
			continue
		}
		for i, v := range s.Variables {
			label := cutLabel(v.Label[s.first()])
			if r.Trims {
				label = strings.TrimRight(label, " ")
			}
			if r.Names[i] != v.Name || r.Labels[i] != label {
				t.Errorf("%s: got %q, %q, want %q, %q", name, r.Names[i], r.Labels[i], v.Name, v.Label[s.first()])
			}
			for lang, labels := range r.Lang {
				if want := cutLabel(s.pick(v.Label, lang)); labels[i] != want {
					t.Errorf("%s: %s in %s: got %q, want %q", name, v.Name, lang, labels[i], want)
				}
			}
			if len(r.Values[i]) != len(tab.rows) {
				t.Errorf("%s: %s: got %d rows, want %d", name, v.Name, len(r.Values[i]), len(tab.rows))
				continue
			}
			for k, row := range tab.rows {
				values++
				want := row[i].seen()
				if v.Kind >= String {
					want.Missing = ""
				}
				if g := asCell(r.Values[i][k]); g != want {
					t.Errorf("%s: %s, row %d: got %+v, want %+v", name, v.Name, k+1, g, want)
				}
			}
		}
		for i, v := range s.Variables {
			if r.Own == nil || v.Kind >= Date {
				continue
			}
			want := map[string]string{}
			for code, text := range s.seenSets()[v.LabelSet] {
				want[fmt.Sprint("=", code)] = strings.TrimRight(text, " ")
			}
			if diff := cmp.Diff(want, r.Own[i]); diff != "" {
				t.Errorf("%s: %s: value labels (-want +got):\n%s", name, v.Name, diff)
			}
		}
		if r.Sets != nil {
			compareSets(t, name, r.Sets, s.seenSets())
		}
	}
	if values < 1_000 {
		t.Errorf("only %d values compared", values)
	}
}

func compareSets(t *testing.T, name string, got map[string]map[string]string, want map[string]map[int32]string) {
	t.Helper()
	for set, labels := range want {
		w := map[string]string{}
		for code, text := range labels {
			w[strconv.Itoa(int(code))] = text
		}
		g := got[set]
		if g == nil {
			g = map[string]string{}
		}
		if diff := cmp.Diff(w, g); diff != "" {
			t.Errorf("%s: value labels %s (-want +got):\n%s", name, set, diff)
		}
	}
}

func asCell(s string) cell {
	switch s[0] {
	case 'n':
		f, err := strconv.ParseFloat(s[1:], 64)
		if err != nil {
			return cell{Text: "not a number: " + s}
		}
		return cell{Number: f}
	case 't':
		return cell{Text: s[1:]}
	}
	return cell{Missing: s[1:]}
}

const pandasScript = `
import sys, json, glob, pandas as pd
from pandas.io.stata import StataReader, StataMissingValue
def show(x):
    if isinstance(x, str): return "t" + x
    if isinstance(x, StataMissingValue): return "m" + str(x)
    return "n" + repr(float(x))
out = {}
for f in glob.glob("*.dta"):
    with StataReader(f, convert_dates=False, convert_categoricals=False, convert_missing=True) as r:
        sets = r.value_labels()
    with StataReader(f, convert_dates=False, convert_categoricals=False, convert_missing=True) as r:
        d = r.read()
        out[f] = dict(label=r.data_label, names=list(d.columns), labels=list(r.variable_labels().values()),
            values=[[show(x) for x in d[c]] for c in d.columns],
            sets={k: {str(c): s for c, s in v.items()} for k, v in sets.items()})
json.dump(out, sys.stdout)
`

func TestPandas(t *testing.T) {
	need(t, "python3-pandas", "/usr/bin/python3", "-c", "import pandas")
	dir, all := tables(t)
	compare(t, run(t, dir, "/usr/bin/python3", "-c", pandasScript), all)
}

const havenScript = `
suppressMessages(library(haven))
show <- function(x) {
  if (is.character(x)) return(paste0("t", x, recycle0 = TRUE))
  if (inherits(x, "Date")) n <- as.numeric(x) + 3653
  else if (inherits(x, "POSIXct")) n <- round((as.numeric(x) + 315619200) * 1000)
  else n <- as.numeric(unclass(x))
  tag <- na_tag(as.double(unclass(x)))
  ifelse(is.na(n), paste0("m.", ifelse(is.na(tag), "", tag)), sprintf("n%.17g", n))
}
or <- function(x, y) if (is.null(x)) y else x
own <- function(x) {
  l <- attr(x, "labels", exact = TRUE)
  if (!length(l)) return(setNames(list(), character(0)))
  code <- ifelse(is.na(l), sprintf("%.0f", 2147483621 + match(na_tag(as.double(l)), letters)), sprintf("%.0f", l))
  setNames(as.list(sub(" +$", "", names(l))), paste0("=", code))
}
out <- list()
for (f in Sys.glob("*.dta")) {
  d <- read_dta(f)
  out[[f]] <- list(trims = TRUE, label = or(attr(d, "label"), ""), names = I(names(d)),
    labels = I(unname(vapply(d, function(x) or(attr(x, "label", exact = TRUE), ""), ""))),
    values = unname(lapply(d, function(x) I(show(x)))), own = unname(lapply(d, own)))
}
cat(jsonlite::toJSON(out, auto_unbox = TRUE))
`

func TestHaven(t *testing.T) {
	need(t, "r-cran-haven", "Rscript", "-e", "library(haven)")
	need(t, "r-cran-jsonlite", "Rscript", "-e", "library(jsonlite)")
	dir, all := tables(t)
	delete(all, "huge.dta") // of which haven reads the long strings as empty
	compare(t, run(t, dir, "Rscript", "-e", havenScript), all)
}

// The labels of values and the languages, which of all readers readstata13 alone knows.
const languageScript = `
suppressMessages(library(readstata13))
object <- function(x) if (length(x)) x else setNames(list(), character(0))
out <- list()
for (f in Sys.glob("*.dta")) {
  d <- read.dta13(f, convert.factors = FALSE, convert.dates = FALSE, missing.type = TRUE, generate.factors = FALSE)
  miss <- attr(d, "missing")
  show <- function(i) {
    x <- d[[i]]
    if (is.character(x)) return(I(paste0("t", ifelse(is.na(x), "", x))))
    m <- miss[[i]]
    I(ifelse(is.na(x), ifelse(m == 0, "m.", paste0("m.", letters[pmax(m, 1)])), sprintf("n%.17g", as.numeric(x))))
  }
  langs <- get.lang(d, print = FALSE)$languages
  langs <- langs[!is.na(langs)]
  lang <- list()
  for (l in langs) { v <- varlabel(d, lang = l); lang[[l]] <- I(unname(ifelse(is.na(v), "", v))) }
  table <- attr(d, "label.table")
  out[[f]] <- list(label = attr(d, "datalabel"), names = I(names(d)), labels = I(attr(d, "var.labels")),
    lang = if (length(lang)) lang else NULL, values = lapply(seq_along(d), show),
    sets = object(lapply(table, function(x) object(setNames(as.list(names(x)), sprintf("%.0f", x))))))
}
cat(jsonlite::toJSON(out, auto_unbox = TRUE, null = "null"))
`

func TestReadstata13(t *testing.T) {
	need(t, "r-cran-readstata13", "Rscript", "-e", "library(readstata13)")
	need(t, "r-cran-jsonlite", "Rscript", "-e", "library(jsonlite)")
	dir, all := tables(t)
	for name, tab := range all {
		if len(tab.rows) == 0 || name == "huge.dta" { // of no rows readstata13 makes one of missing values; the other takes it long
			delete(all, name)
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	compare(t, run(t, dir, "Rscript", "-e", languageScript), all)
}

// TestReadStat asks ReadStat's own program, which tells the counts and makes a CSV file.
func TestReadStat(t *testing.T) {
	need(t, "readstat", "readstat", "--version")
	dir, all := tables(t)
	for name, tab := range all {
		meta := string(run(t, dir, "readstat", name))
		for _, want := range []string{fmt.Sprintf("Columns: %d\n", len(tab.schema.Variables)), fmt.Sprintf("Rows: %d\n", len(tab.rows)), "Format version: 11"} {
			if !strings.Contains(meta, want) {
				t.Errorf("%s: no %q in\n%s", name, want, meta)
			}
		}
		if len(tab.rows) == 0 || len(tab.schema.Variables) == 1 { // an empty line is a row, or nothing
			continue
		}
		run(t, dir, "readstat", name, name+".csv")
		b, err := os.ReadFile(filepath.Join(dir, name+".csv"))
		if err != nil {
			t.Fatal(err)
		}
		if records, err := csv.NewReader(strings.NewReader(string(b))).ReadAll(); err != nil || len(records) != len(tab.rows)+1 {
			t.Errorf("%s: %d lines of CSV, want %d: %v", name, len(records), len(tab.rows)+1, err)
		}
	}
}

// TestUnfinishedFile shows a file that was not closed to the readers: none takes it.
func TestUnfinishedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "half.dta")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	s, rows := survey()
	w, err := NewWriter(file, s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 5_000 {
		if err := w.Row(rows[3]); err != nil {
			t.Fatal(err)
		}
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	for pkg, probe := range map[string][]string{
		"python3-pandas": {"/usr/bin/python3", "-c", "import sys, pandas; len(sys.argv) > 1 and pandas.read_stata(sys.argv[1])"},
		"r-cran-haven":   {"Rscript", "-e", "library(haven); f <- commandArgs(TRUE); if (length(f)) read_dta(f[1])"},
		"readstat":       {"readstat"},
	} {
		t.Run(pkg, func(t *testing.T) {
			if pkg == "readstat" {
				need(t, pkg, "readstat", "--version")
			} else {
				need(t, pkg, probe...)
			}
			if out, err := exec.Command(probe[0], append(probe[1:], path)...).CombinedOutput(); err == nil && !strings.Contains(string(out), "Error") {
				t.Errorf("%s takes it: %s", pkg, out)
			}
		})
	}
}
