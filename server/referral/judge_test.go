package referral

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// judge computes from the published formulas, in plain numpy, what the estimators compute, and prints where they differ. A level
// whose people recruited nobody is taken to recruit all alike, and sizes that are missing or zero count as the largest or not at
// all, as the options say; nothing else is ours.
const judge = `
import sys, json
import numpy as np
nan = float("nan")

def given(v): return np.array([nan if x is None else x for x in v], float)

def share(w):
    w = np.asarray(w, float); s = w.sum()
    return w / s if s > 0 else np.full(len(w), nan)

def counted(c, rule):
    d = np.array(c["degree"], float); missing = d <= 0
    largest = max(d.max(initial=0), 1)
    d = np.where(missing, largest, d)
    rows = np.ones(len(d), bool)
    if c["without"]: rows &= ~np.array(c["seed"], bool)
    if rule: rows &= ~missing
    return d, rows

def moves(c, rows):
    k = c["levels"]; m = np.zeros((k, k)); lv = c["level"]
    for i, r in enumerate(c["recruiter"]):
        if r >= 0 and rows[i] and rows[r] and lv[i] >= 0 and lv[r] >= 0: m[lv[r], lv[i]] += 1
    return m

def rds1(c, d, rows):
    k = c["levels"]; m = moves(c, rows); lv = np.array(c["level"])
    p = np.array([row / row.sum() if row.sum() else np.full(k, 1 / k) for row in m])
    a = np.vstack([np.eye(k) - p.T, np.ones((1, k))])
    if np.linalg.matrix_rank(np.eye(k) - p.T, tol=1e-9) < k - 1: return np.full(k, nan)
    q = np.linalg.lstsq(a, np.append(np.zeros(k), 1), rcond=None)[0]
    out = np.zeros(k)
    for g in range(k):
        own = rows & (lv == g)
        if q[g] < 1e-12: continue
        if not own.any(): return np.full(k, nan)
        out[g] = q[g] / (own.sum() / (1 / d[own]).sum())
    return share(out)

def ss(c, d, rows):
    k, n, lv = c["levels"], rows.sum(), np.array(c["level"])
    if n == 0: return np.full(k, nan)
    size, have = np.unique(d[rows], return_counts=True)
    N = c["population"]
    if n >= N: weight = dict((s, 1.0) for s in size)
    else:
        pi = size.astype(float)
        for _ in range(5000):
            there = N * (have / pi) / (have / pi).sum()
            low, high = 0.0, 1.0
            drawn = lambda t: (there * -np.expm1(-size * t)).sum()
            while drawn(high) < n: high *= 2
            for _ in range(80):
                mid = (low + high) / 2
                if drawn(mid) < n: low = mid
                else: high = mid
            new = -np.expm1(-size * low)
            if abs(new - pi).max() < 1e-10: pi = new; break
            pi = new
        weight = dict(zip(size, 1 / pi))
    return share([sum(weight[x] for x in d[rows & (lv == g)]) for g in range(k)])

def population_homophily(c, d, rows):
    lv = np.array(c["level"]); k = c["levels"]
    recruits = {}
    for i, r in enumerate(c["recruiter"]):
        if r >= 0 and rows[i] and rows[r]: recruits.setdefault(r, []).append(lv[i])
    asked = [r for r in recruits if min(recruits[r]) >= 0]
    out = []
    for g in range(k):
        own = [r for r in asked if lv[r] >= 0]
        w = np.array([1 / d[r] for r in own]); size = np.array([d[r] for r in own])
        inside = np.array([lv[r] == g for r in own], bool)
        other = np.array([np.mean([(x == g) != (lv[r] == g) for x in recruits[r]]) for r in own])
        if not inside.any() or inside.all(): out.append(nan); continue
        p = w[inside].sum() / w.sum()
        d1 = (w * size)[inside].sum() / w[inside].sum(); d0 = (w * size)[~inside].sum() / w[~inside].sum()
        mean = len(asked) / sum(1 / d[r] for r in asked)
        ties = (w * size * other).sum() / w.sum()
        out.append(2 * p * d0 * (1 - p) * d1 / (ties * mean) if ties > 0 else nan)
    return np.array(out)

def want(c):
    d, rows = counted(c, c["leave_out"]); lv, k = np.array(c["level"]), c["levels"]
    m = moves(c, rows)
    by = lambda w: share([w[rows & (lv == g)].sum() for g in range(k)])
    yield "naive", by(np.ones(len(d))), 1e-9
    yield "rds_ii", by(1 / d), 1e-9
    yield "rds_i", rds1(c, d, rows), 1e-9
    if not c["without"] and not c["leave_out"]: yield "ss", ss(c, d, rows), 2e-4
    t = m.sum()
    e = (m.sum(1) * m.sum(0)).sum() / t if t else 0
    yield "recruitment_homophily", np.array([np.trace(m) / e if e > 0 else nan]), 1e-9
    activity = []
    for g in range(k):
        a, b = rows & (lv == g), rows & (lv >= 0) & (lv != g)
        activity.append((a.sum() / (1 / d[a]).sum()) / (b.sum() / (1 / d[b]).sum()) if a.any() and b.any() else nan)
    yield "differential_activity", np.array(activity), 1e-9
    yield "population_homophily", population_homophily(c, d, rows), 1e-9

np.seterr(all="ignore")
cases = json.load(open(sys.argv[1])); compared = known = 0
for at, c in enumerate(cases):
    for name, w, within in want(c):
        got = given(c["got"][name])
        for g in range(len(w)):
            compared += 1
            known += not np.isnan(w[g])
            same = np.isnan(w[g]) and np.isnan(got[g]) or abs(w[g] - got[g]) <= within * max(1, abs(w[g]))
            if not same: print("case", at, c["kind"], name, g, "got", got[g], "want", w[g])
print("compared", compared, "known", known)
`

// judged is one table and what the estimators say of it.
type judged struct {
	Kind       string                `json:"kind"`
	Levels     int                   `json:"levels"`
	Recruiter  []int32               `json:"recruiter"`
	Degree     []int32               `json:"degree"`
	Level      []int32               `json:"level"`
	Seed       []bool                `json:"seed"`
	Population float64               `json:"population"`
	Without    bool                  `json:"without"`
	LeaveOut   bool                  `json:"leave_out"`
	Got        map[string][]*float64 `json:"got"`
}

// oddKinds are the tables that estimators are known to stumble over.
var oddKinds = []string{"plain", "one level", "empty level", "no cross ties", "all sizes missing", "seeds only", "many levels"}

func oddTable(kind string, random *rand.Rand) (*Sample, Options, judged) {
	n, levels := 1+random.IntN(60), 2
	switch kind {
	case "one level":
		levels = 1
	case "empty level", "many levels":
		levels = 3 + random.IntN(3)
	}
	s := &Sample{Outcomes: []Outcome{{Name: "v"}}}
	o := &s.Outcomes[0]
	for k := range levels {
		o.Levels = append(o.Levels, fmt.Sprint(k))
	}
	for i := range n {
		recruiter, wave := Unknown, int32(0)
		if i > 0 && kind != "seeds only" && random.IntN(8) > 0 {
			recruiter = int32(random.IntN(i))
			wave = s.Wave[recruiter] + 1
		}
		degree := 1 + random.Int32N(20)
		if random.IntN(7) == 0 || kind == "all sizes missing" {
			degree = random.Int32N(2) - 1
		}
		level := random.Int32N(int32(levels))
		switch {
		case kind == "empty level":
			level = 2 * (level / 2)
		case kind == "no cross ties" && recruiter != Unknown:
			level = o.Level[recruiter]
		case random.IntN(9) == 0:
			level = Unknown
		}
		s.IDs, s.Recruiter, s.Wave = append(s.IDs, fmt.Sprint(i)), append(s.Recruiter, recruiter), append(s.Wave, wave)
		s.Seed, s.Degree, s.Recruits = append(s.Seed, recruiter == Unknown), append(s.Degree, degree), append(s.Recruits, 0)
		s.Way, o.Level = append(s.Way, "coupon"), append(o.Level, level)
	}
	s.findRoots()
	opts := Options{Population: float64(n + random.IntN(3*n)), WithoutSeeds: random.IntN(3) == 0}
	if random.IntN(3) == 0 {
		opts.Sizes = LeaveOut
	}
	return s, opts, judged{
		Kind: kind, Levels: levels, Recruiter: s.Recruiter, Degree: s.Degree, Level: o.Level, Seed: s.Seed, Population: opts.Population,
		Without: opts.WithoutSeeds, LeaveOut: opts.Sizes == LeaveOut, Got: map[string][]*float64{},
	}
}

// TestNumpyEstimatesTheSame has random tables, odd ones among them, estimated a second time by another program.
func TestNumpyEstimatesTheSame(t *testing.T) {
	if testing.Short() {
		t.Skip("the judge takes seconds")
	}
	python := pythonWith(t, "numpy")
	random := rand.New(rand.NewPCG(41, 42))
	number := func(v float64) *float64 {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil
		}
		return &v
	}
	var all []judged
	for i := range 350 {
		s, opts, j := oddTable(oddKinds[i%len(oddKinds)], random)
		for _, m := range Methods() {
			e, err := s.Estimate(0, m, opts)
			if err != nil {
				t.Fatalf("%s: %v", j.Kind, err)
			}
			for _, l := range e.Levels {
				j.Got[m.Word()] = append(j.Got[m.Word()], number(l.Share))
			}
		}
		m, err := s.Mixing(0, opts)
		if err != nil {
			t.Fatal(err)
		}
		j.Got["recruitment_homophily"] = []*float64{number(m.RecruitmentHomophily)}
		for k := range j.Levels {
			j.Got["differential_activity"] = append(j.Got["differential_activity"], number(m.DifferentialActivity[k]))
			j.Got["population_homophily"] = append(j.Got["population_homophily"], number(m.PopulationHomophily[k]))
		}
		all = append(all, j)
	}
	path := filepath.Join(t.TempDir(), "cases.json")
	data, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), python, "-c", judge, path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	var compared, known int
	if n, err := fmt.Sscanf(lines[len(lines)-1], "compared %d known %d", &compared, &known); n != 2 || err != nil || compared < 4000 || known < 2500 {
		t.Errorf("little was compared: %s", lines[len(lines)-1])
	}
	for _, l := range lines[:min(len(lines)-1, 20)] {
		t.Error(l)
	}
	if len(lines) > 21 {
		t.Errorf("and %d more", len(lines)-21)
	}
}
