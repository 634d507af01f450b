package referral

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// bigGraph is a graph of n nodes as Build would make it, without the facts.
func bigGraph(n int) *servicev1.ReferralGraph {
	random := rand.New(rand.NewPCG(8, 9))
	g := &servicev1.ReferralGraph{}
	wave := make([]int32, n)
	root := 0
	for i := range n {
		if i == 0 || random.IntN(400) == 0 || i%1000 < 3 {
			root = i
		}
		id := fmt.Sprint(i)
		if i != root {
			from := root + random.IntN(i-root)
			wave[i] = wave[from] + 1
			g.Edges = append(g.Edges, &servicev1.ReferralEdge{FromId: g.Nodes[from].PersonId, ToId: &id, Primary: proto.Bool(true)})
		}
		if i%211 == 3 {
			g.Edges = append(g.Edges, &servicev1.ReferralEdge{FromId: g.Nodes[max(i-30, 0)].PersonId, ToId: &id, Primary: proto.Bool(false)})
		}
		g.Nodes = append(g.Nodes, &servicev1.ReferralNode{
			PersonId: &id, Seed: proto.Bool(i == root), Interviewed: proto.Bool(i%37 != 0), Wave: &wave[i],
		})
	}
	return g
}

// TestCrowd draws a hundred thousand people in less than 5 MB and a few dozen elements.
func TestCrowd(t *testing.T) {
	const n = 100_000
	g := bigGraph(n)
	svg := svgOf(t, g, SVGOptions{Language: Chinese})
	elements := 0
	for _, k := range checkXML(t, svg) {
		elements += k
	}
	if len(svg) > 5_000_000 || elements > 60 {
		t.Errorf("got %d bytes and %d elements", len(svg), elements)
	}
	if dots := bytes.Count(svg, []byte("h0")); dots < n {
		t.Errorf("got %d dots of %d people", dots, n)
	}
	t.Logf("%d bytes, %d elements", len(svg), elements)
	if path := os.Getenv("HEARTH_PICTURES"); path != "" {
		if err := os.WriteFile(path+"/crowd.svg", svg, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCrowdKeepsPlaces checks that in a crowd no two nodes of a level lie on each other.
func TestCrowdKeepsPlaces(t *testing.T) {
	c := newCrowd(bigGraph(20_000), SVGOptions{})
	seen := map[string]bool{}
	for i := range c.nodes {
		at := fmt.Sprint(c.x[i], " ", c.y[i])
		if seen[at] {
			t.Fatalf("two nodes at %s", at)
		}
		seen[at] = true
		if c.x[i] < 0 || int(c.x[i]) > c.w || c.y[i] < 0 || int(c.y[i]) > c.h {
			t.Fatalf("a node at %s is outside of %d by %d", at, c.w, c.h)
		}
	}
	if len(seen) != 20_000 {
		t.Fatalf("%d nodes", len(seen))
	}
}

// TestCrowdOfCircles draws what is no forest.
func TestCrowdOfCircles(t *testing.T) {
	g := bigGraph(MostDrawnNodes + 1)
	g.Edges = append(g.Edges, &servicev1.ReferralEdge{FromId: g.Nodes[4000].PersonId, ToId: g.Nodes[0].PersonId, Primary: proto.Bool(true)},
		&servicev1.ReferralEdge{FromId: g.Nodes[9].PersonId, ToId: g.Nodes[9].PersonId, Primary: proto.Bool(true)}, nil)
	g.Nodes = append(slices.Clone(g.Nodes), nil)
	if svg := string(svgOf(t, g, SVGOptions{Title: "<&>"})); strings.Contains(svg, "NaN") || strings.Contains(svg, "<&>") {
		t.Error("a badly drawn crowd")
	}
}

func BenchmarkLayForest100k(b *testing.B) {
	parent := slices.Clone(drawnSample(100_000).Recruiter)
	for i := 0; i < len(parent); i += 100 {
		parent[i] = none
	}
	reportCPU(b, func() { layForest(parent, crowdUnit, crowdLevel) })
}

func BenchmarkCrowdSVG100k(b *testing.B) {
	g := bigGraph(100_000)
	reportCPU(b, func() {
		if err := WriteSVG(&bytes.Buffer{}, g, SVGOptions{}); err != nil {
			b.Fatal(err)
		}
	})
}
