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
	"sync"
	"testing"
	"time"
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

// outputOf gives the output of a program.
func outputOf(t *testing.T, dir, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s\n%.2000s", name, err, stderr.String(), out)
	}
	return out
}

// formSeeds are the questionnaires drawn at random that other programs read.
var formSeeds = []uint64{1, 2, 3}

// readableSources are interviews of every kind: at random of the questionnaires built in, and by hand, of questionnaires drawn at
// random, at places, and with texts of lengths at which readers have gone wrong.
func readableSources(t *testing.T) map[string]Source {
	t.Helper()
	rest := []Source{small(), visits(t), locatedInterviews()}
	for _, seed := range formSeeds {
		rest = append(rest, randomAnswers(t, seed, 12))
	}
	mixed := rest[0]
	mixed.Interviews = func(yield func(*Answered, error) bool) {
		for _, src := range rest {
			for a, err := range src.Interviews {
				if !yield(a, err) {
					return
				}
			}
		}
	}
	rest[0] = small()
	for _, src := range rest {
		mixed.Published = append(mixed.Published, src.Published...)
	}
	builtin := random(21, 25, &filler{})
	builtin.Published = mixed.Published
	return map[string]Source{"random": builtin, "mixed": mixed}
}

var (
	readOnce     sync.Once
	readExports  = map[string]*memory{}
	readManifest *Manifest
)

// readable exports them, once, and puts the files of some formats into a folder.
func readable(t *testing.T, folders ...string) (dir string, exports map[string]*memory, manifest *Manifest) {
	t.Helper()
	readOnce.Do(func() {
		for name, src := range readableSources(t) {
			readExports[name], readManifest = export(t, src, Options{Profile: identified, Language: "zh", Formats: Formats()})
		}
	})
	dir = t.TempDir()
	for name, files := range readExports {
		for path, content := range files.files {
			if folder, file, _ := strings.Cut(path, "/"); slices.Contains(folders, folder) {
				if err := os.WriteFile(filepath.Join(dir, name+"-"+file), content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return dir, readExports, readManifest
}

// whyColumns names for each column of a table that of the reasons.
func whyColumns(t *testing.T, table string, published []Published) map[string]string {
	t.Helper()
	j, err := newJob(Source{Published: published}, Options{Profile: identified}, discard{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, tab := range j.plan.Tables {
		if tab.Name != table {
			continue
		}
		for _, q := range tab.Questions {
			for i := q.from; i < q.at && q.single(); i++ {
				out[tab.Columns[i].Name] = q.Why
			}
		}
	}
	return out
}

// seen compares a value as another program reads it with the CSV file: t and a text, n and a number, d and a day, s and
// milliseconds, or m and a missing value.
func seen(got, name string, want map[string]string, why map[string]string, first float64, isDay bool) error {
	kind, rest := got[:1], strings.ReplaceAll(got[1:], "\r\n", "\n")
	w := want[name]
	reasons := map[string]int{"refused": 0, "dont_know": 1, "not_applicable": 2, "not_asked": 3}
	r, given := reasons[want[why[name]]]
	equal := false
	switch kind {
	case "t":
		equal = strings.TrimRight(rest, " ") == strings.TrimRight(w, " ")
	case "d":
		equal = rest == w
	case "s":
		at, err := time.Parse(time.RFC3339, w)
		equal = err == nil && rest == strconv.FormatInt(at.UnixMilli(), 10)
	case "n":
		g, err := strconv.ParseFloat(rest, 64)
		f, err2 := strconv.ParseFloat(w, 64)
		equal = err == nil && (err2 == nil && f == g || w == "" && given && first != 0 && g == first+float64(r))
	case "m":
		f, err := strconv.ParseFloat(w, 64)
		switch {
		case w == "" && rest == "":
			equal = !given || first != 0 || isDay // whose reasons have a column of their own
		case w == "":
			equal = given && rest == string("rdns"[r])
		case isDay: // no whole date of the solar calendar
			_, bad := time.Parse(time.DateOnly, w)
			equal = rest == "" && (bad != nil || want[name+"_cal"] == "2" || w < "1583")
		default:
			equal = rest == "" && err == nil && !finite(f)
		}
	}
	if !equal {
		return fmt.Errorf("got %q, want %q (reason %q)", got, w, want[why[name]])
	}
	return nil
}

const havenScript = `
suppressMessages(library(haven))
show <- function(x) {
  if (is.character(x)) return(paste0("t", unclass(x), recycle0 = TRUE))
  tag <- na_tag(as.double(unclass(x)))
  missing <- paste0("m", ifelse(is.na(tag), "", tag), recycle0 = TRUE)
  if (inherits(x, "Date")) v <- paste0("d", format(x), recycle0 = TRUE)
  else if (inherits(x, "POSIXct")) v <- sprintf("s%.0f", as.numeric(x) * 1000)
  else v <- sprintf("n%.17g", as.numeric(unclass(x)))
  ifelse(is.na(as.numeric(unclass(x))), missing, v)
}
out <- list()
for (f in c(Sys.glob("*.dta"), Sys.glob("*.sav"), Sys.glob("mixed-*.zsav"))) {
  d <- if (endsWith(f, ".dta")) read_dta(f) else read_sav(f, user_na = TRUE)
  out[[f]] <- list(names = I(names(d)), rows = nrow(d), values = unname(lapply(d, function(x) I(show(x)))),
    first = I(unname(vapply(d, function(x) { r <- attr(x, "na_range"); if (is.null(r)) 0 else as.numeric(r[1]) }, 0))),
    labels = I(unname(vapply(d, function(x) { l <- attr(x, "label", exact = TRUE); if (is.null(l)) "" else l }, ""))),
    sets = unname(lapply(d, function(x) { l <- attr(x, "labels", exact = TRUE)
      if (is.null(l) || !is.numeric(l)) I(list()) else setNames(as.list(names(l)), ifelse(is.na(l), paste0(".", na_tag(l)), sprintf("%.17g", unclass(l)))) })))
}
cat(jsonlite::toJSON(out, auto_unbox = TRUE, digits = NA))
`

// havenFile is what haven reads of a file, by variable.
type havenFile struct {
	Names, Labels []string
	Rows          int
	Values        [][]string
	First         []float64
	Sets          []json.RawMessage // labels of values, by code; a list where there are none
}

var havenOnce = sync.OnceValue(func() map[string]havenFile { return map[string]havenFile{} })

// havenReads lets R read every Stata and SPSS file, once for all tests.
func havenReads(t *testing.T) (got map[string]havenFile, exports map[string]*memory, manifest *Manifest) {
	t.Helper()
	need(t, "r-cran-haven", "Rscript", "-e", "library(haven)")
	need(t, "r-cran-jsonlite", "Rscript", "-e", "library(jsonlite)")
	dir, exports, manifest := readable(t, "stata", "spss")
	if got = havenOnce(); len(got) == 0 {
		out := outputOf(t, dir, "Rscript", "-e", havenScript)
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%v in %.300s", err, out)
		}
	}
	return got, exports, manifest
}

// TestHavenReads lets R read every Stata and SPSS file and compares all values with those of the CSV files.
func TestHavenReads(t *testing.T) {
	got, exports, manifest := havenReads(t)
	compared, wrong := 0, 0
	published := readableSources(t)["mixed"].Published
	for name, files := range exports {
		for _, l := range manifest.Levels {
			rows, why := records(t, files.files["csv/"+l.Name+".csv"]), whyColumns(t, l.Name, published)
			for _, ext := range []string{".dta", ".sav", ".zsav"} {
				if ext == ".zsav" && name != "mixed" {
					continue // PSPP compares them all with the .sav
				}
				d, ok := got[name+"-"+l.Name+ext]
				if !ok || d.Rows != len(rows) {
					t.Errorf("%s %s%s: read: %v, got %d rows, want %d", name, l.Name, ext, ok, d.Rows, len(rows))
					continue
				}
				inCSV := headerOf(files.files["csv/"+l.Name+".csv"])
				for i, v := range d.Names {
					if d.Labels[i] == "" {
						t.Errorf("%s%s: %s has no label", l.Name, ext, v)
					}
					// A date is followed by the text as answered, which the CSV file has under the date's name.
					isDay := i+1 < len(d.Names) && !slices.Contains(inCSV, d.Names[i+1])
					if !slices.Contains(inCSV, v) {
						v = d.Names[i-1]
					}
					for r := range rows {
						compared++
						if err := seen(d.Values[i][r], v, rows[r], why, d.First[i], isDay); err != nil {
							if wrong++; wrong < 20 {
								t.Errorf("%s %s%s row %d %s: %v", name, l.Name, ext, r, v, err)
							}
						}
					}
				}
			}
		}
	}
	if compared < 10_000 {
		t.Errorf("only %d values compared", compared)
	}
}

// TestPandasReads lets pandas read the Stata files.
func TestPandasReads(t *testing.T) {
	need(t, "python3-pandas", "/usr/bin/python3", "-c", "import pandas")
	dir, exports, manifest := readable(t, "stata")
	out := outputOf(t, dir, "/usr/bin/python3", "-c", `
import glob, json, pandas
out = {}
for f in glob.glob("*.dta"):
    with pandas.read_stata(f, iterator=True, convert_categoricals=False, convert_dates=False) as r:
        out[f] = len(r.read())
print(json.dumps(out))`)
	var got map[string]int
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	for name, files := range exports {
		for _, l := range manifest.Levels {
			if n, want := got[name+"-"+l.Name+".dta"], len(records(t, files.files["csv/"+l.Name+".csv"])); n != want {
				t.Errorf("%s %s: got %d rows, want %d", name, l.Name, n, want)
			}
		}
	}
}

// TestReadstata13Reads asks for the labels in both languages.
func TestReadstata13Reads(t *testing.T) {
	need(t, "r-cran-readstata13", "Rscript", "-e", "library(readstata13)")
	dir, _, _ := readable(t, "stata")
	out := string(outputOf(t, dir, "Rscript", "-e", `
suppressMessages(library(readstata13))
d <- read.dta13("mixed-person.dta", convert.factors = FALSE)
cat(get.lang(d, print = FALSE)$languages, varlabel(d, "sex", lang = "zh"), varlabel(d, "sex", lang = "en"), sep = "|")
`))
	if want := "zh|en|请问他（她）的性别？|Is this person male or female?"; out != want {
		t.Errorf("got %s, want %s", out, want)
	}
}

// TestPSPPReads lets PSPP read every SPSS file: it must have nothing to say against any, and find in each what the CSV file has.
func TestPSPPReads(t *testing.T) {
	need(t, "pspp", "pspp", "--version")
	dir, exports, manifest := readable(t, "spss")
	var b strings.Builder
	for name := range exports {
		for _, l := range manifest.Levels {
			for _, ext := range []string{"sav", "zsav"} {
				fmt.Fprintf(&b, "GET FILE='%[1]s-%[2]s.%[3]s'.\nSAVE TRANSLATE /OUTFILE='%[1]s-%[2]s.%[3]s.csv' /TYPE=CSV /REPLACE /FIELDNAMES /CELLS=VALUES.\n", name, l.Name, ext)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "all.sps"), []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := string(outputOf(t, dir, "pspp", "-O", "format=txt", "all.sps")); strings.TrimSpace(out) != "" {
		t.Errorf("PSPP says:\n%.2000s", out)
	}
	for name := range exports {
		for _, l := range manifest.Levels {
			plain, err := os.ReadFile(filepath.Join(dir, name+"-"+l.Name+".sav.csv"))
			packed, err2 := os.ReadFile(filepath.Join(dir, name+"-"+l.Name+".zsav.csv"))
			if err != nil || err2 != nil || len(plain) == 0 || !bytes.Equal(plain, packed) {
				t.Errorf("%s %s was not read, or the .zsav is another: %v %v", name, l.Name, err, err2)
			}
		}
	}
	checkPSPP(t, dir, exports, manifest)
}

// TestOpenpyxlReads compares every coded sheet of a workbook with the CSV files.
func TestOpenpyxlReads(t *testing.T) {
	need(t, "python3-openpyxl", "/usr/bin/python3", "-c", "import openpyxl")
	dir, exports, manifest := readable(t, "xlsx")
	out := outputOf(t, dir, "/usr/bin/python3", "-c", `
import json, openpyxl
from openpyxl.utils.escape import unescape
w = openpyxl.load_workbook("mixed-study.xlsx", read_only=True)
print(json.dumps({s.title: [[unescape(v) if isinstance(v, str) else v for v in r] for r in s.iter_rows(values_only=True)] for s in w if not s.title.endswith(" labels") and s.title != "codebook"}))`)
	var got map[string][][]any
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, l := range manifest.Levels {
		csv := exports["mixed"].files["csv/"+l.Name+".csv"]
		rows, header, sheet := records(t, csv), headerOf(csv), got[l.Name]
		if len(sheet) != len(rows)+1 {
			t.Errorf("%s: %d rows, want %d and the header", l.Name, len(sheet), len(rows))
			continue
		}
		for r, want := range rows {
			for c, name := range header {
				text := ""
				var cell any
				if c < len(sheet[r+1]) { // empty cells at the end of a row are not there
					cell = sheet[r+1][c]
				}
				switch v := cell.(type) {
				case string:
					text = v
				case float64:
					text = string(appendNumber(nil, v))
				}
				w := want[name]
				if f, err := strconv.ParseFloat(w, 64); err == nil && text != w {
					w = string(appendNumber(nil, f))
				}
				if compared++; strings.ReplaceAll(text, "\r\n", "\n") != w && text != clip(w) {
					t.Errorf("%s row %d %s: got %.60q, want %.60q", l.Name, r, name, text, w)
				}
			}
		}
	}
	if compared < 5_000 {
		t.Errorf("only %d cells compared", compared)
	}
}
