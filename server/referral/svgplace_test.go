package referral

import (
	"math"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

// TestWideTreesGoAside wants the waves of a wide tree from left to right, so that what is as wide as many pages can be read
// downwards, and those of narrow ones from above.
func TestWideTreesGoAside(t *testing.T) {
	bush := Table{Header: []string{"id", "by"}, Rows: [][]string{{"1", ""}}}
	for i := 2; i <= 400; i++ {
		bush.Rows = append(bush.Rows, []string{strconv.Itoa(i), strconv.Itoa(i / 2)})
	}
	f, _, err := FromTable(bush, Columns{ID: "id", Recruiter: "by"})
	if err != nil {
		t.Fatal(err)
	}
	wide := Build(f)
	p := newPicture(wide, SVGOptions{})
	if !p.aside || p.w > 700 || p.h < 2*p.w {
		t.Errorf("aside %v, %v by %v", p.aside, p.w, p.h)
	}
	checkXML(t, svgOf(t, wide, SVGOptions{Language: Chinese}))
	if p := newPicture(Build(largeStudy(30)), SVGOptions{}); p.aside {
		t.Errorf("a small tree goes aside: %v by %v", p.w, p.h)
	}
	if p := newPicture(Build(chainTable(300)), SVGOptions{}); p.aside {
		t.Errorf("a chain goes aside: %v by %v", p.w, p.h)
	}
}

// TestNodesHavePlace checks that no two nodes lie on each other, that all are on the picture, and that each is one wave further
// than its recruiter, whichever way the waves go.
func TestNodesHavePlace(t *testing.T) {
	both := map[bool]int{}
	rapid.Check(t, func(t *rapid.T) {
		g := Build(largeStudy(rapid.SampledFrom([]int{1, 5, 40, 130, 260}).Draw(t, "people")))
		p := newPicture(g, SVGOptions{})
		both[p.aside]++
		for i, d := range p.nodes {
			if d.x-p.width/2 < 0 || d.x+p.width/2 > p.w || d.y-nodeHeight/2 < 0 || d.y+nodeHeight/2 > p.h {
				t.Fatalf("%s at %v, %v is outside of %v by %v", d.label, d.x, d.y, p.w, p.h)
			}
			for _, e := range p.nodes[:i] {
				if math.Abs(d.x-e.x) < p.width && math.Abs(d.y-e.y) < nodeHeight {
					t.Fatalf("%s and %s lie on each other", d.label, e.label)
				}
			}
			if q := p.parent[i]; q != none {
				x, _ := p.place(&p.nodes[q])
				y, _ := p.place(&p.nodes[i])
				if math.Abs(y-x-p.level) > 1e-6 {
					t.Fatalf("%s is %v behind its recruiter, want %v", d.label, y-x, p.level)
				}
			}
		}
	})
	if len(both) < 2 {
		t.Errorf("only one way was drawn: %v", both)
	}
}
