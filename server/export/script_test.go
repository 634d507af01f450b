package export

import (
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/protobuf/proto"
)

// sampled puts households into a sample of three strata: one of six clusters and one of nine with different probabilities, in which
// households cluster in whether they own a home, and one of a cluster alone. One in eleven refuses, and is asked for in the weights.
func sampled(i int, iv *surveyv1.Interview) {
	stratum, clusters := i%3, []int{6, 9, 1}[i%3]
	cluster := i / 3 % clusters
	iv.GetHousehold().Cover.Sample = &surveyv1.SampleOrigin{
		Stratum: proto.String(fmt.Sprint("stratum ", stratum)), Psu: proto.String(fmt.Sprintf("%d", cluster)), // clusters are numbered within strata
		Stages: []*surveyv1.SampleStage{{Probability: proto.Float64([]float64{.02, .05, .2}[stratum])}, {Probability: proto.Float64(.1 + .01*float64(cluster))}},
	}
	if cluster%2 == 0 && i%2 == 0 {
		iv.GetHousehold().GetHousing().Tenure = surveyv1.HousingTenure_HOUSING_TENURE_OWNS_IN_SURVEY_CITY.Enum()
	}
	if i%11 == 0 {
		iv.Result = surveyv1.ResultCode_RESULT_CODE_REFUSAL.Enum()
	}
}

// domainMean is the mean of one kind of household and its standard error by hand: linearised, clusters drawn with replacement within
// strata, all clusters of the sample in it, a cluster alone in its stratum as far from the mean as it is.
func domainMean(rows []map[string]string, variable, kind string) (mean, se float64) {
	var sum, weights float64
	in := func(r map[string]string) (w, x float64, ok bool) {
		w, _ = strconv.ParseFloat(r["weight"], 64)
		x, err := strconv.ParseFloat(r[variable], 64)
		return w, x, err == nil && r["household_kind"] == kind
	}
	for _, r := range rows {
		if w, x, ok := in(r); ok {
			sum, weights = sum+w*x, weights+w
		}
	}
	mean = sum / weights
	totals := map[string]map[string]float64{}
	for _, r := range rows {
		if totals[r["design_stratum"]] == nil {
			totals[r["design_stratum"]] = map[string]float64{}
		}
		z := 0.0
		if w, x, ok := in(r); ok {
			z = w * (x - mean) / weights
		}
		totals[r["design_stratum"]][r["design_psu"]] += z
	}
	variance := 0.0
	for _, clusters := range totals {
		n, middle := float64(len(clusters)), 0.0
		for _, z := range clusters {
			middle += z / n
		}
		if n == 1 {
			variance += middle * middle
			continue
		}
		for _, z := range clusters {
			variance += n / (n - 1) * (z - middle) * (z - middle)
		}
	}
	return mean, math.Sqrt(variance)
}

// The R and Python scripts set the design of a sample with strata, clusters, unequal probabilities and refusals, and find the means
// and the standard errors that are worked out here by hand from the CSV file.
func TestScriptsOfASample(t *testing.T) {
	if testing.Short() {
		t.Skip("read by R and Python")
	}
	dir := exported(t, simulated(t, 11, 260, sampled), "interview", "household", "person")
	raw, err := os.ReadFile(filepath.Join(dir, "csv", "household.csv"))
	if err != nil {
		t.Fatal(err)
	}
	var study []map[string]string
	for _, r := range records(t, raw) {
		if r["analysis_set"] == "1" && r["in_study"] == "1" && (r["household_kind"] == "1" || r["household_kind"] == "2") {
			if r["weight"] == "" || r["design_psu"] == "" || r["design_stratum"] == "" {
				t.Fatalf("a household without a design: %v", r)
			}
			study = append(study, r)
		}
	}
	table := filepath.Join(t.TempDir(), "table.csv")
	t.Log("\n" + run(t, []string{"HEARTH_TABLE=" + table}, "Rscript", filepath.Join(dir, "scripts", "analysis.R")))
	f, err := os.Open(table)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	python := run(t, nil, "/usr/bin/python3", filepath.Join(dir, "scripts", "analysis.py"))
	compared, clustered := 0, 0
	for _, r := range rows[1:] {
		scale := 1.0
		if !slices.Contains([]string{"head_age", "size_of_household", "adult_education", "income_yuan"}, r[0]) {
			scale = 100
		}
		mean, se := domainMean(study, r[0], r[1])
		got, _ := strconv.ParseFloat(r[3], 64)
		gotSE, _ := strconv.ParseFloat(r[4], 64)
		if math.Abs(got-scale*mean) > 1e-6*math.Abs(got)+1e-9 || math.Abs(gotSE-scale*se) > 1e-6*gotSE+1e-9 {
			t.Errorf("R says of %s, kind %s: %v (%v), by hand %v (%v)", r[0], r[1], got, gotSE, scale*mean, scale*se)
		}
		compared++
		for _, line := range strings.Split(python, "\n") {
			if f := strings.Fields(strings.NewReplacer("(", " ", ")", " ").Replace(line)); len(f) == 5 && f[0] == r[0] {
				k := 1
				if r[1] == "2" {
					k = 3
				}
				if f[k] != fmt.Sprintf("%.3f", mean) || f[k+1] != fmt.Sprintf("%.3f", se) {
					t.Errorf("Python says of %s, kind %s: %s (%s), by hand %.3f (%.3f)", r[0], r[1], f[k], f[k+1], mean, se)
				}
				clustered++
			}
		}
	}
	if compared != 2*len(published31) || clustered != 14 {
		t.Errorf("%d means of R and %d of Python compared", compared, clustered)
	}
	if n := checkDoFile(t, dir); n != len(published31) {
		t.Errorf("the do-file makes %d means", n)
	}
}

// Every level is merged with all above it, by keys that are called otherwise where names clash, in both languages: no row more
// or less than its own, and in each what stands above.
func TestScriptsMergeLevels(t *testing.T) {
	if testing.Short() {
		t.Skip("read by R and Python")
	}
	src := visits(t)
	dir := t.TempDir()
	if _, err := Write(t.Context(), src, Options{Formats: []servicev1.ExportFormat{asCSV, asStata}, Clean: Clean{Weights: true},
		Levels: []string{"interview", "household", "person", "school_attempt", "visit", "visit2016", "visit2016_children", "visit2016_shots"}}, DirSink(dir), nil); err != nil {
		t.Fatal(err)
	}
	checkDoFile(t, dir)
	out := t.TempDir()
	r := filepath.Join(out, "look.R")
	if err := os.WriteFile(r, []byte(`a <- commandArgs(TRUE); sink(nullfile()); source(file.path(a[1], "scripts", "analysis.R")); sink()
for (n in names(tables)) { d <- with_above(n); stopifnot(nrow(d) == nrow(tables[[n]])) }
d <- with_above("visit2016_shots"); write.csv(d[c("interview_id", "visit2016_children_position", "position", "weight", "name", "questionnaire_version")], a[2], row.names = FALSE, na = "")
`), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, nil, "Rscript", r, dir, filepath.Join(out, "r.csv"))
	py := filepath.Join(out, "look.py")
	if err := os.WriteFile(py, []byte(`import runpy, sys
out = sys.argv.pop()
g = runpy.run_path(sys.argv[1] + "/scripts/analysis.py")
for n, d in g["tables"].items():
    assert len(g["with_above"](n)) == len(d), n
g["with_above"]("visit2016_shots")[["interview_id", "visit2016_children_position", "position", "weight", "name", "questionnaire_version"]].to_csv(out, index=False)
`), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, nil, "/usr/bin/python3", py, dir, filepath.Join(out, "p.csv"))
	for _, name := range []string{"r.csv", "p.csv"} {
		raw, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(strings.NewReader(string(raw))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		// Two shots of the first child, who weighs 3.5, and one of the second, whose weight is not known; name is the form's own number.
		got := fmt.Sprint(rows[1:])
		if plain := strings.NewReplacer(".0 ", " ", ".0]", "]").Replace(got); plain != "[[i-0 1 1 3.5 9 1] [i-0 1 2 3.5 9 1] [i-0 2 1  9 1]]" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

var quotedName = regexp.MustCompile("\"stata/([a-z0-9_]+|`level')\\.dta\"")

// checkDoFile looks at what can be seen of the do-file without Stata: braces, quotes and programs are closed, the files that it
// reads are there, and every variable that it names stands in them. It returns how many means it makes.
func checkDoFile(t *testing.T, dir string) (variables int) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "scripts", "analysis.do"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	if strings.Count(text, "{") != strings.Count(text, "}") || strings.Count(text, `"`)%2 != 0 || strings.Count(text, "`") != strings.Count(text, "'") ||
		strings.Count(text, "\nprogram define") != strings.Count(text, "\nend\n") {
		t.Errorf("something in the do-file is not closed:\n%s", text)
	}
	have := func(table string) map[string]bool {
		content, err := os.ReadFile(filepath.Join(dir, "csv", table+".csv"))
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]bool{}
		for _, n := range headerOf(content) {
			out[n] = true
		}
		return out
	}
	level, files := "", 0
	var names map[string]bool // of the variables in memory
	for _, line := range strings.Split(text, "\n") {
		f := strings.Fields(line)
		for _, m := range quotedName.FindAllStringSubmatch(line, -1) {
			if files++; m[1] != "`level'" {
				if _, err := os.Stat(filepath.Join(dir, "stata", m[1]+".dta")); err != nil {
					t.Error(err)
				}
			}
		}
		switch {
		case len(f) > 3 && f[0] == "if" && f[1] == "\"`level'\"":
			level = strings.Trim(f[3], `"`)
			names = have(level)
		case len(f) == 3 && f[0] == "rename":
			if !names[f[1]] {
				t.Errorf("%s: the do-file renames %s, which is not there", level, f[1])
			}
			delete(names, f[1])
			names[f[2]] = true
		case len(f) == 4 && f[0] == "capture" && f[1] == "rename":
			if names[f[2]] {
				delete(names, f[2])
				names[f[3]] = true
			}
		case len(f) > 2 && f[0] == "merge":
			upper := have(quotedName.FindStringSubmatch(line)[1])
			for _, k := range f[2:slices.Index(f, "using")] {
				if !names[k] || !upper[k] {
					t.Errorf("%s: the do-file merges by %s, which is there below: %v, above: %v", level, k, names[k], upper[k])
				}
			}
			for n := range upper {
				names[n] = true
			}
		case len(f) > 4 && f[0] == "foreach":
			households := have("household")
			for _, v := range f[4 : len(f)-1] {
				if variables++; !households[v] {
					t.Errorf("the do-file names %s, which the table of households lacks", v)
				}
			}
		}
	}
	if files < 3 {
		t.Errorf("the do-file reads %d files", files)
	}
	return variables
}
