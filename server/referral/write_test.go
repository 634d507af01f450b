package referral

import (
	"bytes"
	"encoding/csv"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

var update = flag.Bool("update", false, "write the golden files anew")

// nasty are texts that break careless writers.
var nasty = []string{"王小明", "a<b&c>\"d'", "]]>", "line\nbreak\ttab", "nul\x00bell\x07", "bad\xffutf8", "=1+1", "", " ", "\ufffe", "é"}

// nastyStudy has an id, a key, a site and a name for each.
func nastyStudy() (Facts, map[string]string) {
	var s study
	names := map[string]string{}
	s.seed("root", 1)
	for i, id := range nasty {
		s.interviewed("p"+id, int64(i+2))
		s.told("r"+id, "root", "p"+id, int64(i+2))
		s.told("s"+id, "", "p"+id, int64(i+2)).FromSiteId = proto.String(id)
		names["p"+id] = id
	}
	return s.Facts, names
}

// checkXML reads a document to its end and counts its elements.
func checkXML(t testing.TB, doc []byte) map[string]int {
	t.Helper()
	count := map[string]int{}
	d := xml.NewDecoder(bytes.NewReader(doc))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return count
		}
		if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
		if e, ok := token.(xml.StartElement); ok {
			count[e.Name.Local]++
		}
	}
}

func graphMLOf(t testing.TB, g *servicev1.ReferralGraph, names map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WriteGraphML(&b, g, names); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func svgOf(t testing.TB, g *servicev1.ReferralGraph, opts SVGOptions) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WriteSVG(&b, g, opts); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestNastyTextsStayWellFormed(t *testing.T) {
	f, names := nastyStudy()
	g := Build(f)
	for _, given := range []map[string]string{nil, names} {
		if n := checkXML(t, graphMLOf(t, g, given))["edge"]; n != len(g.GetEdges()) {
			t.Errorf("GraphML has %d edges, want %d", n, len(g.GetEdges()))
		}
		for _, language := range []string{"", "en", "zh"} {
			checkXML(t, svgOf(t, g, SVGOptions{Names: given, Language: language, Title: nasty[1] + nasty[4]}))
		}
	}
}

// TestGolden compares the files made of a small study, which was looked at, with what they were.
func TestGolden(t *testing.T) {
	g := Build(villageStudy().Facts)
	var edges bytes.Buffer
	if err := WriteEdgeCSV(&edges, g); err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string][]byte{
		"village.svg":     svgOf(t, g, SVGOptions{}),
		"village.zh.svg":  svgOf(t, g, SVGOptions{Language: "zh-CN", Names: map[string]string{"19": "王小明"}, Title: "贵阳"}),
		"village.graphml": graphMLOf(t, g, nil),
		"village.csv":     edges.Bytes(),
	} {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatalf("%v: run the test with -update, then look at the file", err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestNamesOnlyWhenGiven(t *testing.T) {
	g := Build(villageStudy().Facts)
	names := map[string]string{"19": "王小明"}
	for name, doc := range map[string][]byte{"GraphML": graphMLOf(t, g, names), "SVG": svgOf(t, g, SVGOptions{Names: names})} {
		if !bytes.Contains(doc, []byte("王小明")) {
			t.Errorf("%s lacks the name it was given", name)
		}
	}
}

func TestEdgeCSV(t *testing.T) {
	f, _ := nastyStudy()
	g := Build(f)
	var b bytes.Buffer
	if err := WriteEdgeCSV(&b, g); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(g.GetEdges())+1 {
		t.Fatalf("got %d rows of %d edges", len(rows), len(g.GetEdges()))
	}
	for i, e := range g.GetEdges() {
		got := rows[i+1][2]
		if want := strings.ToValidUTF8(e.GetToId(), "\ufffd"); got != want {
			t.Errorf("row %d: got target %q, want %q", i+2, got, want)
		}
	}
}

// broken fails as a full disk does.
type broken struct{ left int }

func (b *broken) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errors.New("disk full")
	}
	return len(p), nil
}

func TestWritersReportErrors(t *testing.T) {
	g := Build(villageStudy().Facts)
	for name, write := range map[string]func(io.Writer) error{
		"GraphML": func(w io.Writer) error { return WriteGraphML(w, g, nil) },
		"SVG":     func(w io.Writer) error { return WriteSVG(w, g, SVGOptions{}) },
		"edges":   func(w io.Writer) error { return WriteEdgeCSV(w, g) },
	} {
		if err := write(&broken{left: 10}); err == nil {
			t.Errorf("%s: got no error from a full disk", name)
		}
	}
}

// TestForeignGraph draws graphs that Build never makes.
func TestForeignGraph(t *testing.T) {
	node := func(id string) *servicev1.ReferralNode { return &servicev1.ReferralNode{PersonId: proto.String(id)} }
	edge := func(from, to string) *servicev1.ReferralEdge {
		return &servicev1.ReferralEdge{FromId: proto.String(from), ToId: proto.String(to), Primary: proto.Bool(true)}
	}
	for name, g := range map[string]*servicev1.ReferralGraph{
		"nil":            nil,
		"empty":          {},
		"circle":         {Nodes: []*servicev1.ReferralNode{node("a"), node("b")}, Edges: []*servicev1.ReferralEdge{edge("a", "b"), edge("b", "a")}},
		"self":           {Nodes: []*servicev1.ReferralNode{node("a")}, Edges: []*servicev1.ReferralEdge{edge("a", "a")}},
		"missing node":   {Nodes: []*servicev1.ReferralNode{node("a")}, Edges: []*servicev1.ReferralEdge{edge("x", "a"), edge("a", "x"), edge("", "")}},
		"id twice":       {Nodes: []*servicev1.ReferralNode{node("a"), node("a")}, Edges: []*servicev1.ReferralEdge{edge("a", "a")}},
		"nothing filled": {Nodes: []*servicev1.ReferralNode{{}, nil}, Edges: []*servicev1.ReferralEdge{{}, nil}},
	} {
		t.Run(name, func(t *testing.T) {
			checkXML(t, svgOf(t, g, SVGOptions{}))
			checkXML(t, graphMLOf(t, g, nil))
			if err := WriteEdgeCSV(io.Discard, g); err != nil {
				t.Error(err)
			}
			Stats(Facts{}, g)
		})
	}
}

// TestNetworkxReadsGraphML reads the file back with networkx where it is installed.
func TestNetworkxReadsGraphML(t *testing.T) {
	python := pythonWith(t, "networkx")
	f, names := nastyStudy()
	g := Build(f)
	path := filepath.Join(t.TempDir(), "g.graphml")
	if err := os.WriteFile(path, graphMLOf(t, g, names), 0o600); err != nil {
		t.Fatal(err)
	}
	const script = `
import sys, networkx as nx
g = nx.read_graphml(sys.argv[1], force_multigraph=True)
p = [(a, b) for a, b, d in g.edges(data=True) if d["primary"]]
print(g.number_of_nodes(), g.number_of_edges(), nx.is_forest(nx.DiGraph(p)), sum(d.get("seed", False) for _, d in g.nodes(data=True)))`
	out, err := exec.Command(python, "-c", script, path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got, want := strings.TrimSpace(string(out)), "23 22 True 1"; got != want {
		t.Errorf("networkx reads %q, want %q", got, want)
	}
}
