package referral

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// sharedData opens the folder with public reference data, which is not part of the repository.
func sharedData(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("HEARTH_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared")
	}
	dir = filepath.Join(dir, "data", "referral")
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("HEARTH_CI") != "" {
			t.Fatal(err)
		}
		t.Skip("skipped: ../shared/data is not here")
	}
	return dir
}

func readFacts(t testing.TB, name string, cols Columns) Facts {
	t.Helper()
	file, err := os.Open(filepath.Join(sharedData(t), name))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	f, problems, err := FromCSV(file, cols)
	if err != nil {
		t.Fatal(err)
	}
	if len(problems) > 0 {
		t.Fatalf("%s: %d problems, the first: %s", name, len(problems), problems[0])
	}
	return f
}

func readRows(t testing.TB, name string) []map[string]string {
	t.Helper()
	file, err := os.Open(filepath.Join(sharedData(t), name))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	all, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var rows []map[string]string
	for _, r := range all[1:] {
		m := map[string]string{}
		for i, c := range r {
			m[all[0][i]] = c
		}
		rows = append(rows, m)
	}
	if len(rows) == 0 {
		t.Fatalf("%s has no rows", name)
	}
	return rows
}

func readJSON(t testing.TB, name string, to any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(sharedData(t), name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, to); err != nil {
		t.Fatal(err)
	}
}

func nodesByID(g *servicev1.ReferralGraph) map[string]*servicev1.ReferralNode {
	m := map[string]*servicev1.ReferralNode{}
	for _, n := range g.GetNodes() {
		m[n.GetPersonId()] = n
	}
	return m
}

// waveMap is recruits per wave in the shape of the reference files.
func waveMap(perWave []int64) map[string]int64 {
	m := map[string]int64{}
	for i, n := range perWave {
		m[strconv.Itoa(i)] = n
	}
	return m
}

// referenceColumns are those of both reference tables.
var referenceColumns = map[string]Columns{
	"nyjazz": {ID: "id", Recruiter: "recruiter_id", Degree: "network_size"},
	"faux":   {ID: "id", Recruiter: "recruiter_id", Degree: "network_size", Seed: "is_seed"},
}

// TestReferenceRows compares every row with what the R package RDS computed for it.
func TestReferenceRows(t *testing.T) {
	for name, cols := range referenceColumns {
		t.Run(name, func(t *testing.T) {
			nodes := nodesByID(Build(readFacts(t, name+".csv", cols)))
			rows := readRows(t, name+".csv")
			if len(nodes) != len(rows) {
				t.Errorf("got %d nodes of %d rows", len(nodes), len(rows))
			}
			for _, r := range rows {
				n := nodes[r["id"]]
				size := ""
				if n.NetworkSize != nil {
					size = fmt.Sprint(n.GetNetworkSize())
				}
				got := []string{fmt.Sprint(n.GetWave()), n.GetRootId(), fmt.Sprint(n.GetRecruits()), size, fmt.Sprint(n.GetSeed())}
				want := []string{r["wave_expected"], r["seed_expected"], r["recruits_expected"], r["network_size"], fmt.Sprint(r["is_seed"] == "1")}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("id %s (-want +got):\n%s", r["id"], diff)
				}
			}
		})
	}
}

// TestReferenceChains compares the counts with those of the R package RDS.
func TestReferenceChains(t *testing.T) {
	var expected struct {
		Datasets map[string]struct {
			Chain struct {
				N          int64            `json:"n"`
				Seeds      int64            `json:"n_seeds"`
				Edges      int64            `json:"n_edges"`
				MaxWave    int64            `json:"max_wave"`
				PerWave    map[string]int64 `json:"recruits_per_wave"`
				Sterile    int64            `json:"sterile_seeds"`
				ByRecruits map[string]int64 `json:"recruits_per_subject_distribution"`
				TreeSize   map[string]int32 `json:"tree_size_by_seed"`
				TreeDepth  map[string]int32 `json:"tree_depth_by_seed"`
			} `json:"chain"`
		} `json:"datasets"`
	}
	readJSON(t, "expected.json", &expected)
	for name, cols := range referenceColumns {
		t.Run(name, func(t *testing.T) {
			want, ok := expected.Datasets[name]
			if !ok {
				t.Fatal("no reference values")
			}
			f := readFacts(t, name+".csv", cols)
			s := Stats(f, Build(f))
			got := want
			got.Chain.N, got.Chain.Seeds, got.Chain.Edges = s.GetPersons(), s.GetSeeds(), s.GetPrimaryEdges()
			got.Chain.MaxWave, got.Chain.Sterile = s.GetMaxWave(), s.GetSterileSeeds()
			got.Chain.PerWave = waveMap(s.GetRecruitsPerWave())
			got.Chain.ByRecruits = map[string]int64{}
			for i, n := range s.GetPersonsByRecruits() {
				if n > 0 {
					got.Chain.ByRecruits[strconv.Itoa(i)] = n
				}
			}
			got.Chain.TreeSize, got.Chain.TreeDepth = map[string]int32{}, map[string]int32{}
			for _, c := range s.GetChains() {
				got.Chain.TreeSize[c.GetPersonId()] = c.GetSize()
				got.Chain.TreeDepth[c.GetPersonId()] = c.GetMaxWave()
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("chains (-want +got):\n%s", diff)
			}
			if s.GetOtherRoots() != 0 {
				t.Errorf("got %d roots that are no seeds, want none", s.GetOtherRoots())
			}
		})
	}
}

// mergeCase is one fixture of merge_expected.json.
type mergeCase struct {
	Records    int64            `json:"records"`
	Persons    int64            `json:"persons"`
	Before     int64            `json:"edges_before"`
	Self       int64            `json:"self_referrals"`
	After      int64            `json:"edges_after_multi"`
	Several    int64            `json:"persons_with_2plus_distinct_referrers"`
	Seeds      int64            `json:"seeds_primary"`
	MaxWave    int64            `json:"max_wave_primary"`
	PerWave    map[string]int64 `json:"persons_per_wave_primary"`
	Components int              `json:"weak_components_primary"`
	Canonical  map[string]string
}

// TestReferenceMerges merges the pairs of the fixture and compares with the contracted graph networkx made.
func TestReferenceMerges(t *testing.T) {
	var expected map[string]mergeCase
	readJSON(t, "merge_expected.json", &expected)
	for name, cols := range referenceColumns {
		t.Run(name, func(t *testing.T) {
			want, ok := expected[name]
			if !ok {
				t.Fatal("no reference values")
			}
			f := readFacts(t, name+".csv", cols)
			rank(t, name, f)
			before := Build(f)
			f.Merged = map[string]string{}
			for _, r := range readRows(t, "merge_"+name+".csv") {
				f.Merged[r["record_a"]] = r["record_b"]
			}
			g := Build(f)
			s := Stats(f, g)
			got := mergeCase{
				Records: int64(len(before.GetNodes())), Persons: s.GetPersons(), Before: int64(len(before.GetEdges())),
				Self: s.GetSelfReferrals(), After: s.GetEdges() - s.GetSelfReferrals(), Several: s.GetSeveralRecruiters(),
				Seeds: s.GetSeeds(), MaxWave: s.GetMaxWave(), PerWave: waveMap(s.GetRecruitsPerWave()),
				Components: len(s.GetChains()), Canonical: map[string]string{},
			}
			for _, n := range g.GetNodes() {
				for _, m := range n.GetMergedIds() {
					got.Canonical[m] = n.GetPersonId()
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("merged graph (-want +got):\n%s", diff)
			}
			if n := s.GetEdgesByState()["cycle_broken"]; n != 0 {
				t.Errorf("got %d circles among primary edges, want none", n)
			}
			f.Merged = nil
			if !proto.Equal(before, Build(f)) {
				t.Error("taking the merges back does not restore the graph")
			}
		})
	}
}

// rank gives every record the time the fixtures assume: by wave, then by row.
func rank(t testing.TB, name string, f Facts) {
	t.Helper()
	const slot = 10_000
	for i, r := range readRows(t, name+".csv") {
		wave, err := strconv.Atoi(r["wave_expected"])
		if err != nil {
			t.Fatal(err)
		}
		if f.People[i].GetPersonId() != r["id"] {
			t.Fatalf("person %d is %s, want %s", i, f.People[i].GetPersonId(), r["id"])
		}
		f.People[i].InterviewTimeMs = proto.Int64(int64(wave*slot + i + 1))
	}
}
