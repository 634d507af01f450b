package export

import (
	"context"
	"encoding/csv"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/study"
)

// simulated is a study of the published size in 29 provinces; each lets the test change an interview.
func simulated(t *testing.T, seed uint64, households int, each func(i int, iv *surveyv1.Interview)) Source {
	t.Helper()
	var list []*surveyv1.Interview
	opts := study.SimulateOptions{Households: households, Tablets: 8, Seed: seed, DuplicateRate: -1}
	if _, err := study.Simulate(opts, func(_ int, iv *surveyv1.Interview) error {
		study.Published(len(list), iv)
		if each != nil {
			each(len(list), iv)
		}
		list = append(list, iv)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return Source{Study: study.SimulatedStudy(opts), Graph: &servicev1.ReferralGraph{}, Interviews: func(yield func(*Answered, error) bool) {
		for _, iv := range list {
			if !yield(&Answered{Interview: iv}, nil) {
				return
			}
		}
	}}
}

// run runs a program with the folder of an export, and returns what it says.
func run(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed: make readers", name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(append(os.Environ(), "OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1"), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

func exported(t *testing.T, src Source, levels ...string) string {
	t.Helper()
	dir := t.TempDir()
	opts := Options{Formats: []servicev1.ExportFormat{asCSV, asStata}, Levels: levels, Clean: Clean{Weights: true}}
	if _, err := Write(context.Background(), src, opts, DirSink(dir), nil); err != nil {
		t.Fatal(err)
	}
	return dir
}

// published31 is Table 3.1: rural migrant and mixed-status households.
var published31 = map[string][2]float64{
	"owns_home_here": {22.6, 52.5}, "any_urban_pension": {31.5, 64.5}, "any_local_health": {33.1, 60.3}, "any_unemployment": {23.6, 38.6},
	"any_injury": {26.6, 40.3}, "any_maternity": {19.5, 35.1}, "any_fund": {15.1, 33.9}, "head_age": {37.4, 40.0}, "head_female": {31.9, 38.1},
	"size_of_household": {2.76, 3.86}, "adult_education": {3.5, 3.9}, "income_yuan": {77156, 120080}, "any_public": {11.7, 24.6},
	"any_contract": {34.7, 51.6}, "any_temporary": {22.7, 17.5}, "any_farmer": {.7, .4}, "any_self_employed": {22.0, 20.6},
	"any_intra_provincial": {50.2, 43.1}, "split_household": {8.5, 29.7}, "farm_production": {8.8, 8.8}, "any_health_elsewhere": {62.8, 64.1},
}

// The shipped R script makes Table 3.1 of the export of a study that was simulated with its margins. 42 figures are compared: each
// within 3.4 of its standard errors, which chance alone passes over in one study of forty (Bonferroni: 42 * 0.0007 = 0.028),
// and half of the last digit published.
func TestTable31(t *testing.T) {
	if testing.Short() {
		t.Skip("a whole study, read by R")
	}
	dir := exported(t, simulated(t, 2015, study.PublishedHouseholds, nil), "interview", "household", "person")
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
	figures, n := 0, [3]float64{}
	for _, r := range rows[1:] {
		kind, _ := strconv.Atoi(r[1])
		count, _ := strconv.ParseFloat(r[2], 64)
		got, err1 := strconv.ParseFloat(r[3], 64)
		se, err2 := strconv.ParseFloat(r[4], 64)
		want, ok := published31[r[0]]
		if !ok || err1 != nil || err2 != nil || kind < 1 || kind > 2 {
			t.Fatalf("row %q", r)
		}
		figures++
		n[kind] = max(n[kind], count)
		digit := .05
		switch r[0] {
		case "size_of_household":
			digit = .005
		case "income_yuan":
			digit = .5
		}
		w := want[kind-1]
		if strings.HasPrefix(r[0], "any_") || digit == .05 && w > 4.5 && r[0] != "head_age" {
			se = 100 * math.Sqrt(w/100*(1-w/100)/count) // of the published share, so that 0 of 690 farmers has one
		}
		if d := math.Abs(got-w) - digit; d > 3.4*se {
			t.Errorf("%s of kind %d: %.2f, published %.2f, standard error %.2f", r[0], kind, got, w, se)
		}
	}
	if figures != 2*len(published31) {
		t.Errorf("%d figures, want %d", figures, 2*len(published31))
	}
	checkPython(t, dir, rows)
	if variables := checkDoFile(t, dir); variables != len(published31) {
		t.Errorf("the do-file makes %d means, want %d", variables, len(published31))
	}
	if n[1]+n[2] != study.PublishedHouseholds || math.Abs(n[1]-1046) > 3 {
		t.Errorf("%v households, want 1,046 and 690", n)
	}
}

// checkPython wants the Python script to say of owning a home what the R script says, with the standard error.
func checkPython(t *testing.T, dir string, r [][]string) {
	t.Helper()
	out := run(t, nil, "/usr/bin/python3", filepath.Join(dir, "scripts", "analysis.py"))
	for _, line := range strings.Split(out, "\n") {
		f := strings.Fields(strings.NewReplacer("(", " ", ")", " ").Replace(line))
		if len(f) != 5 || f[0] != "owns_home_here" {
			continue
		}
		for k := range 2 {
			for i, text := range f[1+2*k : 3+2*k] {
				got, err := strconv.ParseFloat(text, 64)
				want, _ := strconv.ParseFloat(r[1+k][3+i], 64)
				if err != nil || math.Abs(100*got-want) > .06 {
					t.Errorf("Python says %s, R %v: %s", text, want, line)
				}
			}
		}
		return
	}
	t.Errorf("the Python script says nothing of owning a home:\n%s", out)
}
