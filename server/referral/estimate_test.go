package referral

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/hearth-survey/hearth/proto/fault"
)

// reference is what expected.json holds of one variable.
type reference struct {
	Naive       map[string]float64 `json:"naive_mean"`
	RDS1        map[string]float64 `json:"RDS.I.estimates"`
	RDS2        map[string]float64 `json:"RDS.II.estimates"`
	Transitions struct {
		Rows   []string    `json:"rows"`
		Matrix [][]float64 `json:"matrix"`
	} `json:"count.transitions"`
	Probabilities [][]float64        `json:"transition_probabilities"`
	Stationary    map[string]float64 `json:"get.stationary.distribution"`
	Harmonic      map[string]float64 `json:"get.h.hat"`
	Recruitment   float64            `json:"recruitment_homophily"`
	Population    json.RawMessage    `json:"population_homophily_RDS-II"`
	Activity      json.RawMessage    `json:"differential_activity_RDS-II"`
}

type referenceSeries struct {
	Level    string    `json:"level"`
	N        []int     `json:"n"`
	Estimate []float64 `json:"estimate"`
}

type references struct {
	Datasets map[string]struct {
		Estimates  map[string]reference       `json:"estimates"`
		Cumulative map[string]referenceSeries `json:"cumulative"`
	} `json:"datasets"`
	WithoutSeeds      map[string]map[string]float64 `json:"rds_ii_excluding_seeds"`
	HomophilyOfNyjazz map[string]map[string]float64 `json:"nyjazz_population_homophily_N10000"`
	ActivityOfNyjazz  map[string]float64            `json:"nyjazz_differential_activity_N10000"`
	Salganik          []struct {
		Dataset, Variable string
		B                 int
		SE                float64            `json:"se_relabelled_ok"`
		Mean              map[string]float64 `json:"boot_mean_relabelled"`
	} `json:"salganik"`
	SS []struct {
		Dataset, Variable, Level string
		N                        float64
		Simulated                []float64 `json:"RDS.SS_hiprec"`
		Deterministic            float64   `json:"deterministic_ppswor_approx"`
	} `json:"ss"`
}

// readSample reads a table with variables to be estimated.
func readSample(t testing.TB, name string, outcomes ...string) *Sample {
	t.Helper()
	file, err := os.Open(filepath.Join(sharedData(t), name+".csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	table, err := ReadTable(file)
	if err != nil {
		t.Fatal(err)
	}
	f, _, err := FromTable(table, referenceColumns[name])
	if err != nil {
		t.Fatal(err)
	}
	values, err := ReadOutcomes(table, "id", outcomes...)
	if err != nil {
		t.Fatal(err)
	}
	return SampleOf(f, Build(f), values...)
}

var referenceOutcomes = map[string][]string{
	"faux":   {"X", "Y", "Z"},
	"nyjazz": {"Gender.MF.", "Race.WBO.", "Airplay.yn.", "Union.yn."},
}

func near(got, want, relative float64) bool {
	return math.Abs(got-want) <= relative*max(math.Abs(want), 1e-300)
}

func sharesOf(t testing.TB, s *Sample, outcome int, m Method, o Options) map[string]float64 {
	t.Helper()
	e, err := s.Estimate(outcome, m, o)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, l := range e.Levels {
		out[l.Level] = l.Share
	}
	return out
}

// wantNear compares by level.
func wantNear(t *testing.T, what string, got, want map[string]float64, relative float64) {
	t.Helper()
	if len(got) != len(want) || len(want) == 0 {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
	for level, w := range want {
		if !near(got[level], w, relative) {
			t.Errorf("%s of %s: got %.15g, want %.15g", what, level, got[level], w)
		}
	}
}

func byLevel(levels []string, values []float64) map[string]float64 {
	m := map[string]float64{}
	for i, l := range levels {
		m[l] = values[i]
	}
	return m
}

// TestReferenceEstimates compares with the R package RDS, to nine digits.
func TestReferenceEstimates(t *testing.T) {
	var want references
	readJSON(t, "expected.json", &want)
	const exact = 1e-9
	for name, outcomes := range referenceOutcomes {
		s := readSample(t, name, outcomes...)
		for i, outcome := range outcomes {
			t.Run(name+"/"+outcome, func(t *testing.T) {
				ref, ok := want.Datasets[name].Estimates[outcome]
				if !ok {
					t.Fatal("no reference values")
				}
				wantNear(t, "naive", sharesOf(t, s, i, Naive, Options{}), ref.Naive, exact)
				wantNear(t, "RDS-I", sharesOf(t, s, i, RDS1, Options{}), ref.RDS1, exact)
				wantNear(t, "RDS-II", sharesOf(t, s, i, RDS2, Options{}), ref.RDS2, exact)
				if w, ok := want.WithoutSeeds[name+"."+outcome]; ok {
					wantNear(t, "RDS-II without seeds", sharesOf(t, s, i, RDS2, Options{WithoutSeeds: true}), w, exact)
				}
				m, err := s.Mixing(i, Options{})
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(ref.Transitions.Rows, m.Levels); diff != "" {
					t.Fatal(diff)
				}
				for a := range m.Levels {
					for b := range m.Levels {
						if float64(m.Counts[a][b]) != ref.Transitions.Matrix[a][b] || !near(m.Transitions[a][b], ref.Probabilities[a][b], exact) {
							t.Errorf("transitions from %s to %s: got %d %v", m.Levels[a], m.Levels[b], m.Counts[a][b], m.Transitions[a][b])
						}
					}
				}
				wantNear(t, "equilibrium", byLevel(m.Levels, m.Equilibrium), ref.Stationary, exact)
				wantNear(t, "harmonic mean degree", byLevel(m.Levels, m.HarmonicDegree), ref.Harmonic, exact)
				if !near(m.RecruitmentHomophily, ref.Recruitment, exact) {
					t.Errorf("recruitment homophily: got %.15g, want %.15g", m.RecruitmentHomophily, ref.Recruitment)
				}
				checkHomophily(t, m, ref, want.HomophilyOfNyjazz[outcome], want.ActivityOfNyjazz[outcome])
			})
		}
	}
}

func checkHomophily(t *testing.T, m *Mixing, ref reference, nyjazz map[string]float64, activity float64) {
	t.Helper()
	homophily := map[string]float64{}
	var one float64
	if nyjazz != nil {
		homophily = nyjazz
	} else if json.Unmarshal(ref.Population, &one) == nil {
		homophily[m.Levels[0]], homophily[m.Levels[1]] = one, one
	} else if err := json.Unmarshal(ref.Population, &homophily); err != nil {
		t.Fatal(err)
	}
	wantNear(t, "population homophily", byLevel(m.Levels, m.PopulationHomophily), homophily, 1e-9)
	if nyjazz == nil {
		if err := json.Unmarshal(ref.Activity, &activity); err != nil {
			t.Fatal(err)
		}
	}
	// R compares one level with the rest: the last in the alphabet of the two most frequent.
	counts := map[string]float64{}
	for _, row := range m.Counts {
		for k, n := range row {
			counts[m.Levels[k]] += float64(n)
		}
	}
	found := false
	for _, got := range m.DifferentialActivity {
		found = found || near(got, activity, 1e-9)
	}
	if !found {
		t.Errorf("differential activity: got %v, want %.15g among them", m.DifferentialActivity, activity)
	}
	if len(m.Levels) == 2 && !near(m.DifferentialActivity[1], activity, 1e-9) {
		t.Errorf("differential activity: got %v, want %.15g for the last", m.DifferentialActivity, activity)
	}
}

// TestReferenceSuccessive compares Gile's estimator with long simulations by R and with the fixed point computed elsewhere.
func TestReferenceSuccessive(t *testing.T) {
	var want references
	readJSON(t, "expected.json", &want)
	if len(want.SS) == 0 {
		t.Fatal("no reference values")
	}
	s := readSample(t, "faux", referenceOutcomes["faux"]...)
	for _, w := range want.SS {
		for i, o := range s.Outcomes {
			if w.Dataset != "faux" || o.Name != w.Variable {
				continue
			}
			got := sharesOf(t, s, i, Successive, Options{Population: w.N})[w.Level]
			if math.Abs(got-w.Deterministic) > 1e-9 {
				t.Errorf("%s: got %.12f, want %.12f", w.Variable, got, w.Deterministic)
			}
			for _, r := range w.Simulated {
				if math.Abs(got-r) > 2e-4 {
					t.Errorf("%s: got %.6f, R simulates %.6f", w.Variable, got, r)
				}
			}
		}
	}
}

// TestReferenceBootstrap compares standard errors with those of R after its defect is worked round.
func TestReferenceBootstrap(t *testing.T) {
	var want references
	readJSON(t, "expected.json", &want)
	if len(want.Salganik) == 0 {
		t.Fatal("no reference values")
	}
	for _, w := range want.Salganik {
		s := readSample(t, w.Dataset, w.Variable)
		e, err := s.Estimate(0, RDS2, Options{Draws: 2000, RandomSeed: 42})
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range e.Levels {
			if !near(l.SE, w.SE, 0.1) {
				t.Errorf("%s %s: standard error %.5f, want %.5f", w.Variable, l.Level, l.SE, w.SE)
			}
			if l.Low >= l.Share || l.High <= l.Share {
				t.Errorf("%s: the interval %v to %v does not hold %v", l.Level, l.Low, l.High, l.Share)
			}
		}
		again, err := s.Estimate(0, RDS2, Options{Draws: 2000, RandomSeed: 42})
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(e.Levels) != fmt.Sprint(again.Levels) {
			t.Error("the same random seed gives other intervals")
		}
	}
}

// TestRenamedLevelsKeepTheirErrors is what R's bootstrap fails: the names of the levels must not matter.
func TestRenamedLevelsKeepTheirErrors(t *testing.T) {
	s := readSample(t, "faux", "X")
	se := func() float64 {
		e, err := s.Estimate(0, RDS2, Options{Draws: 2000, RandomSeed: 7})
		if err != nil {
			t.Fatal(err)
		}
		return e.Levels[0].SE
	}
	before := se()
	o := &s.Outcomes[0]
	o.Levels[0], o.Levels[1] = o.Levels[1], o.Levels[0]
	for i, k := range o.Level {
		o.Level[i] = 1 - k
	}
	if after := se(); !near(after, before, 0.1) {
		t.Errorf("renamed levels: standard error %.5f, before %.5f", after, before)
	}
}

// TestReferenceSeries compares the estimates by wave.
func TestReferenceSeries(t *testing.T) {
	var want references
	readJSON(t, "expected.json", &want)
	for name, outcomes := range referenceOutcomes {
		s := readSample(t, name, outcomes...)
		for i, outcome := range outcomes {
			ref := want.Datasets[name].Cumulative[outcome]
			if len(ref.N) == 0 {
				t.Fatalf("%s has no reference values", outcome)
			}
			series, err := s.Convergence(i, RDS2, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if len(series.Points) != len(ref.N) {
				t.Fatalf("%s: got %d points, want %d", outcome, len(series.Points), len(ref.N))
			}
			for w, p := range series.Points {
				got := byLevel(series.Levels, p.Shares)[ref.Level]
				if p.Respondents != ref.N[w] || math.Abs(got-ref.Estimate[w]) > 1e-9 {
					t.Errorf("%s wave %d: got %d %.12f, want %d %.12f", outcome, w, p.Respondents, got, ref.N[w], ref.Estimate[w])
				}
			}
			checkBottleneck(t, s, i)
		}
	}
}

// checkBottleneck wants one series per chain, which together hold everybody.
func checkBottleneck(t *testing.T, s *Sample, outcome int) {
	t.Helper()
	chains, err := s.Bottleneck(outcome, RDS2, Options{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	answered, seeds, all := 0, 0, 0
	for _, c := range chains {
		all += c.Points[len(c.Points)-1].Respondents
	}
	for i, k := range s.Outcomes[outcome].Level {
		if k != Unknown {
			answered++
		}
		if s.Seed[i] {
			seeds++
		}
	}
	if all != answered || len(chains) != seeds {
		t.Errorf("%d chains with %d answers, want %d with %d", len(chains), all, seeds, answered)
	}
}

// TestReferenceDegrees checks what is counted of the network sizes of the real sample.
func TestReferenceDegrees(t *testing.T) {
	c := readSample(t, "nyjazz").CheckDegrees()
	if c.Respondents != 264 || c.Missing != 21 || c.Zero != 0 || c.Least != 20 || c.Median != 150 || c.Most != 850 || !near(c.Mean, 223.777777777778, 1e-12) {
		t.Errorf("got %+v", c)
	}
	if c.OverFifteen != 243 || c.RoundFive != 242 { // nearly everybody told a round number
		t.Errorf("%d of %d sizes are multiples of 5; want 242 of 243", c.RoundFive, c.OverFifteen)
	}
}

// TestDegreeChecks counts every doubt once.
func TestDegreeChecks(t *testing.T) {
	var s study
	s.seed("a", 1).NetworkSize = new(int32) // zero
	for i, size := range []int32{1, 3, 20, 17} {
		id := fmt.Sprint("b", i)
		s.interviewed(id, int64(i+2)).NetworkSize = &size
		s.told("r"+id, "a", id, int64(i+2))
	}
	s.interviewed("c", 9)
	s.told("rc", "b0", "c", 9)
	got := SampleOf(s.Facts, Build(s.Facts)).CheckDegrees()
	want := &DegreeChecks{
		Respondents: 6, Missing: 1, Zero: 1, BelowRecruits: 2, TooSmall: []string{"a", "b0"}, OverFifteen: 2, RoundFive: 1, RoundTen: 1,
		Least: 0, Median: 3, Mean: 41.0 / 5, P99: 20, Most: 20, MeanByWave: []float64{0, 41.0 / 4}, TellersByWave: []int{1, 4},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestEstimateRefuses names what cannot be estimated.
func TestEstimateRefuses(t *testing.T) {
	s := smallSample(map[string]string{"a": "1", "b": "2", "c": "1"})
	for _, tc := range []struct {
		name    string
		outcome int
		m       Method
		o       Options
		want    string
	}{
		{"no such outcome", 1, Naive, Options{}, "there is no outcome number 1"},
		{"no population", 0, Successive, Options{}, "needs the size of the population"},
		{"a population too small", 0, Successive, Options{Population: 2}, "less than the 3 respondents"},
		{"no such confidence", 0, Naive, Options{Confidence: 95}, "give a number between 0 and 1"},
		{"no such method", 0, Method(9), Options{}, "there is no method"},
	} {
		_, err := s.Estimate(tc.outcome, tc.m, tc.o)
		if err == nil || !strings.Contains(err.Error(), tc.want) || fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: got %v", tc.name, err)
		}
	}
}

// smallSample is a, who recruited b, who recruited c.
func smallSample(answers map[string]string) *Sample {
	var s study
	s.seed("a", 1)
	s.interviewed("b", 2)
	s.interviewed("c", 3)
	s.told("ab", "a", "b", 2)
	s.told("bc", "b", "c", 3)
	return SampleOf(s.Facts, Build(s.Facts), Values{Name: "v", Of: answers})
}

// TestOddSamples estimates what has no good answer without failing.
func TestOddSamples(t *testing.T) {
	for name, answers := range map[string]map[string]string{
		"nobody answered": {}, "one answered": {"c": "x"}, "all alike": {"a": "x", "b": "x", "c": "x"}, "never mixed": {"b": "x", "c": "x"},
		"in turn": {"a": "x", "b": "y", "c": "x"},
	} {
		s := smallSample(answers)
		for _, resampling := range []Resampling{ByTransitions, ByTrees} {
			all, err := s.Estimates(Options{Population: 100, Draws: 20, Resampling: resampling})
			if err != nil || len(all) != len(Methods()) {
				t.Fatalf("%s: %d estimates, %v", name, len(all), err)
			}
			for _, e := range all {
				total := 0.0
				for _, l := range e.Levels {
					total += l.Share
				}
				if len(e.Levels) > 0 && math.Abs(total-1) > 1e-9 && !math.IsNaN(total) {
					t.Errorf("%s: the shares of %s add up to %v", name, e.Method.Word(), total)
				}
			}
		}
		if _, err := s.Mixing(0, Options{}); err != nil {
			t.Error(err)
		}
	}
}

// TestRDS1WithoutMixing has no estimate where two groups never recruit each other.
func TestRDS1WithoutMixing(t *testing.T) {
	var s study
	values := Values{Name: "v", Of: map[string]string{}}
	for _, g := range []string{"x", "y"} {
		s.seed(g+"0", 1)
		s.interviewed(g+"1", 2)
		s.told(g, g+"0", g+"1", 2)
		values.Of[g+"0"], values.Of[g+"1"] = g, g
	}
	e, err := SampleOf(s.Facts, Build(s.Facts), values).Estimate(0, RDS1, Options{Draws: 5})
	if err != nil {
		t.Fatal(err)
	}
	if !math.IsNaN(e.Levels[0].Share) || len(e.Notes) == 0 || e.Notes[len(e.Notes)-1].GetZh() == "" {
		t.Errorf("got %+v", e)
	}
}

// TestAssumptionsAreCounted checks the shares of respondents who break what the estimators take for granted.
func TestAssumptionsAreCounted(t *testing.T) {
	s := smallSample(map[string]string{"a": "1", "b": "2", "c": "1"})
	s.Way[1], s.Way[2] = "institution", "convenience"
	e, err := s.Estimate(0, RDS2, Options{Population: 30})
	if err != nil {
		t.Fatal(err)
	}
	if a := e.Assumptions[0]; a.Broken != 2 || !near(a.Share, 2.0/3, 1e-12) || !a.Checked {
		t.Errorf("got %+v", a)
	}
	for _, m := range Methods() {
		e, err := s.Estimate(0, m, Options{Population: 30})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range e.Assumptions {
			if a.Text.GetEn() == "" || a.Text.GetZh() == "" || a.Share < 0 || a.Share > 1 {
				t.Errorf("%s: %+v", m.Word(), a)
			}
		}
		if len(e.Assumptions) == 0 {
			t.Errorf("%s assumes nothing", m.Word())
		}
	}
}

// TestStationaryStays checks that the equilibrium is left unchanged by one more step.
func TestStationaryStays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(t, "levels")
		moves := matrix(n, n)
		for i := range moves {
			for j := range moves {
				moves[i][j] = float64(rapid.IntRange(0, 5).Draw(t, "moves"))
			}
		}
		p := transitions(moves)
		q := stationary(p)
		if math.IsNaN(q[0]) {
			return
		}
		for j := range q {
			next := 0.0
			for i := range q {
				next += q[i] * p[i][j]
			}
			if math.Abs(next-q[j]) > 1e-12 || q[j] < 0 {
				t.Fatalf("%v does not stay: %v", q, p)
			}
		}
	})
}

// TestSuccessiveLimits checks Gile's estimator where its answer is known: a huge population gives RDS-II, a population that
// was interviewed whole the naive share.
func TestSuccessiveLimits(t *testing.T) {
	s := readSample(t, "faux", "X", "Y")
	for i := range s.Outcomes {
		wantNear(t, "huge", sharesOf(t, s, i, Successive, Options{Population: 1e9}), sharesOf(t, s, i, RDS2, Options{}), 1e-5)
		wantNear(t, "whole", sharesOf(t, s, i, Successive, Options{Population: float64(len(s.IDs))}), sharesOf(t, s, i, Naive, Options{}), 1e-9)
	}
}
