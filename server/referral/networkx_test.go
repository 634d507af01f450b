package referral

import (
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// networkxStats counts a table as Stats does: people, seeds, waves, the largest chain.
const networkxStats = `
import sys, csv, collections, networkx as nx
g = nx.DiGraph()
seeds = []
for r in csv.DictReader(open(sys.argv[1], encoding="utf-8")):
    g.add_node(r["id"])
    if r["by"]: g.add_edge(r["by"], r["id"])
    else: seeds.append(r["id"])
waves, largest = collections.Counter(), 0
for s in seeds:
    d = nx.single_source_shortest_path_length(g, s)
    waves.update(d.values())
    largest = max(largest, len(d))
assert nx.is_directed_acyclic_graph(g)
recruits = collections.Counter(d for _, d in g.out_degree())
print(g.number_of_nodes(), len(seeds), max(waves), largest, recruits[0], nx.number_weakly_connected_components(g))
`

// TestNetworkxCountsTheSame counts one large table in both ways, wants the same answer, and tells how long each took.
func TestNetworkxCountsTheSame(t *testing.T) {
	if os.Getenv("HEARTH_LARGE") == "" {
		t.Skip("skipped: set HEARTH_LARGE to compare with networkx")
	}
	python := pythonWith(t, "networkx")
	const n = 300_000
	random := rand.New(rand.NewPCG(21, 22))
	path := filepath.Join(t.TempDir(), "big.csv")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := csv.NewWriter(file)
	_ = w.Write([]string{"id", "by"})
	id := func(i int) string { return fmt.Sprintf("%08x-0000-4000-8000-%012x", uint32(i)*2654435761, i) }
	for i := range n {
		by := ""
		if i%300 != 0 {
			by = id(i - i%300 + random.IntN(i%300))
		}
		_ = w.Write([]string{id(i), by})
	}
	w.Flush()
	if err := w.Error(); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	out, err := exec.Command(python, "-c", networkxStats, path).Output()
	theirs := time.Since(begin)
	if err != nil {
		t.Fatal(err)
	}
	begin = time.Now()
	in, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	f, _, err := FromCSV(in, plain)
	if err != nil {
		t.Fatal(err)
	}
	p := Prepare(f)
	loaded := time.Since(begin)
	s := p.Stats(nil)
	ours := time.Since(begin)
	got := fmt.Sprint(s.GetPersons(), s.GetSeeds(), s.GetMaxWave(), s.GetChains()[0].GetSize(), s.GetPersonsByRecruits()[0], len(s.GetChains()))
	if want := strings.TrimSpace(string(out)); got != want {
		t.Errorf("got %s, networkx %s", got, want)
	}
	t.Logf("networkx %v, here %v (of which counting %v): %.1f times as fast", theirs, ours, ours-loaded, float64(theirs)/float64(ours))
}
