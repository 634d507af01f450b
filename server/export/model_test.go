package export

import (
	"bytes"
	"encoding/csv"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/hearth-survey/hearth/study"
)

// A study in which homes are owned by the coefficients of Table 3.2 gives them back in a logit with a random intercept of the city.
// Of 26 coefficients chance alone puts one or two beyond two standard errors. So it is asked of the first seed that came to mind,
// 2015, the one of Table 3.1: that all together fit (a joint test, refused below 0.001), that at least 22 are within two standard errors (of
// good estimates 1.3 % of studies have fewer than 22), none beyond 3.5, and the spread of the cities within 0.25.
func TestTable32(t *testing.T) {
	if testing.Short() {
		t.Skip("a whole study, read by R")
	}
	const seed = 2015
	model, err := study.NewModel(seed)
	if err != nil {
		t.Fatal(err)
	}
	dir := exported(t, simulated(t, seed, study.PublishedHouseholds, model.Decide), "interview", "household")
	truth := t.TempDir()
	if err := model.WriteCSV(truth); err != nil {
		t.Fatal(err)
	}
	script, out := filepath.Join(truth, "table32.R"), filepath.Join(truth, "out.csv")
	if err := os.WriteFile(script, []byte(study.Table32), 0o600); err != nil {
		t.Fatal(err)
	}
	said := run(t, nil, "Rscript", script, dir, truth, out)
	raw, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(raw)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for _, r := range rows {
		got[r[0]] = r
	}
	within := 0
	for _, c := range study.Coefficients {
		b, err1 := strconv.ParseFloat(got[c.Name][1], 64)
		se, err2 := strconv.ParseFloat(got[c.Name][2], 64)
		if err1 != nil || err2 != nil || se <= 0 {
			t.Fatalf("%s: %q", c.Name, got[c.Name])
		}
		z := (b - c.B) / se
		t.Logf("%-24s %8.3f %8.3f (%.3f) %5.2f", c.Name, c.B, b, se, z)
		if math.Abs(z) <= 2 {
			within++
		}
		if math.Abs(z) > 3.5 {
			t.Errorf("%s is %.3f, published %.3f: %.1f standard errors", c.Name, b, c.B, z)
		}
	}
	_, joint, _ := strings.Cut(said, "joint ")
	chance, err := strconv.ParseFloat(strings.TrimSpace(joint), 64)
	sd, err2 := strconv.ParseFloat(got["city_sd"][1], 64)
	t.Logf("%d of %d within two standard errors; joint test %.3f; cities %.3f, published %.3f; n %s, %s cities", within, len(study.Coefficients), chance, sd, study.CitySD, got["n"][1], got["cities"][1])
	if err != nil || err2 != nil || chance < .001 || within < 22 || math.Abs(sd-study.CitySD) > .25 {
		t.Error("the published coefficients do not come back")
	}
}
