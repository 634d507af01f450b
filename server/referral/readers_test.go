package referral

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// missingReader skips a test for want of an independent reader; where all are asked for it fails.
func missingReader(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("HEARTH_READERS") == "all" {
		t.Fatalf("%s is not installed, and HEARTH_READERS=all wants every reader", what)
	}
	t.Skipf("skipped: %s is not installed", what)
}

// pythonWith finds a Python that has a module.
func pythonWith(t testing.TB, module string) string {
	t.Helper()
	for _, name := range []string{"/usr/bin/python3", "python3"} {
		if python, err := exec.LookPath(name); err == nil && exec.Command(python, "-c", "import "+module).Run() == nil {
			return python
		}
	}
	missingReader(t, "python3-"+module)
	return ""
}

// readBack writes a file and runs a reader on it; it returns what the reader prints.
func readBack(t *testing.T, ext string, write func(io.Writer) error, name string, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "g."+ext)
	if err := os.WriteFile(path, written(t, write), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, a := range args {
		args[i] = strings.ReplaceAll(a, "FILE", path)
	}
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "PYTHONIOENCODING=utf-8", "LC_ALL=C.UTF-8")
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, problems.String())
	}
	return string(out)
}

// written is what a writer writes; twice, because it must be the same.
func written(t testing.TB, write func(io.Writer) error) []byte {
	t.Helper()
	var a, b bytes.Buffer
	if err := write(&a); err != nil {
		t.Fatal(err)
	}
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("the same graph was written in two ways")
	}
	return a.Bytes()
}

// graphLines is the graph in the words of all readers.
func graphLines(g *servicev1.ReferralGraph, names map[string]string) []string {
	f := flatten(g, names)
	var out []string
	for _, n := range f.nodes {
		out = append(out, fmt.Sprintf("node|%s|%s|%v|%d", n.id, n.label, n.node.GetSeed(), n.node.GetWave()))
	}
	for _, e := range f.edges {
		out = append(out, fmt.Sprintf("edge|%s|%s|%s|%v", f.nodes[e.from].id, f.nodes[e.to].id, StateName(e.edge.GetState()), e.edge.GetPrimary()))
	}
	return out
}

// wantLines compares without regard to order.
func wantLines(t *testing.T, got string, want []string) {
	t.Helper()
	left := map[string]int{}
	for _, w := range want {
		left[w]++
	}
	lines := strings.Split(strings.TrimRight(got, "\n"), "\n")
	for _, l := range lines {
		if left[l]--; left[l] < 0 {
			t.Errorf("the reader has %q, which was not written", l)
		}
	}
	for w, n := range left {
		if n > 0 {
			t.Errorf("the reader lacks %q", w)
		}
	}
	if len(want) == 0 {
		t.Error("nothing was compared")
	}
}

// showNetworkx prints a graph g of networkx.
const showNetworkx = `
yes = lambda v: str(v in (True, "true", "True")).lower()
for n, d in g.nodes(data=True):
    print("node|%s|%s|%s|%d" % (n, d.get("label", d.get("name")), yes(d.get("seed")), int(d.get("wave", 0))))
for a, b, d in g.edges(data=True):
    print("edge|%s|%s|%s|%s" % (a, b, d["state"], yes(d["primary"])))
`

// nodeLink reads node-link JSON, whose list of edges networkx calls "links" to 3.5 and "edges" since.
const nodeLink = `
import inspect
since = "edges" in inspect.signature(nx.node_link_graph).parameters
g = nx.node_link_graph(json.load(open(sys.argv[1], encoding="utf-8")), **({"edges": "links"} if since else {}))`

// TestNetworkxReads reads every format that networkx knows.
func TestNetworkxReads(t *testing.T) {
	python := pythonWith(t, "networkx")
	f, names := nastyStudy()
	g := Build(f)
	for _, tc := range []struct {
		name, ext, load string
		write           func(io.Writer) error
	}{
		{"GraphML", "graphml", `g = nx.read_graphml(sys.argv[1], force_multigraph=True)`, func(w io.Writer) error { return WriteGraphML(w, g, names) }},
		{"GEXF", "gexf", `g = nx.read_gexf(sys.argv[1])`, func(w io.Writer) error { return WriteGEXF(w, g, names) }},
		{"node-link", "json", nodeLink, func(w io.Writer) error { return WriteNodeLink(w, g, names) }},
		{"Cytoscape", "cyjs", `g = nx.cytoscape_graph(json.load(open(sys.argv[1], encoding="utf-8")))`, func(w io.Writer) error { return WriteCytoscape(w, g, names) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			show := showNetworkx
			if tc.name == "GraphML" {
				show = strings.Replace(strings.Replace(show, "node|%s|%s|", "node|%s|", 1), `(n, d.get("label", d.get("name")), `, "(n, ", 1)
			}
			got := readBack(t, tc.ext, tc.write, python, "-c", "import sys, json, networkx as nx\n"+tc.load+show, "FILE")
			want := graphLines(g, names)
			if tc.name == "GraphML" { // labels may hold blanks and line breaks there
				want = withoutLabels(want)
			}
			wantLines(t, got, want)
		})
	}
}

// withoutLabels leaves labels out.
func withoutLabels(lines []string) []string {
	var out []string
	for _, l := range lines {
		if p := strings.Split(l, "|"); p[0] == "node" {
			l = strings.Join([]string{p[0], p[1], p[3], p[4]}, "|")
		}
		out = append(out, l)
	}
	return out
}

// TestPajekIsRead reads vertices and arcs with networkx and igraph.
func TestPajekIsRead(t *testing.T) {
	f, names := nastyStudy()
	g := Build(f)
	write := func(w io.Writer) error { return WritePajek(w, g, names) }
	want := fmt.Sprintf("%d %d 王小明", len(flatten(g, nil).nodes), len(g.GetEdges()))
	t.Run("networkx", func(t *testing.T) {
		const script = `import sys, networkx as nx
g = nx.read_pajek(sys.argv[1])
print(g.number_of_nodes(), g.number_of_edges(), [n for n in g if "小" in n][0])`
		if got := strings.TrimSpace(readBack(t, "net", write, pythonWith(t, "networkx"), "-c", script, "FILE")); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
	t.Run("igraph", func(t *testing.T) {
		const script = `import sys, igraph
g = igraph.Graph.Read_Pajek(sys.argv[1])
print(g.vcount(), g.ecount(), [n for n in g.vs["id"] if "小" in n][0])`
		if got := strings.TrimSpace(readBack(t, "net", write, pythonWith(t, "igraph"), "-c", script, "FILE")); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// TestIgraphReads reads GraphML and compares the waves.
func TestIgraphReads(t *testing.T) {
	python := pythonWith(t, "igraph")
	f, names := nastyStudy()
	g := Build(f)
	const script = `import sys, html, igraph
g = igraph.Graph.Read_GraphML(sys.argv[1])
for v in g.vs: v["id"] = html.unescape(v["id"]) # this reader leaves an & in an id escaped
for v in g.vs: print("node|%s|%s|%d" % (v["id"], str(bool(v["seed"]) and v["seed"] == True).lower(), 0 if v["wave"] != v["wave"] else int(v["wave"])))
for e in g.es: print("edge|%s|%s|%s|%s" % (g.vs[e.source]["id"], g.vs[e.target]["id"], e["state"], str(bool(e["primary"])).lower()))`
	got := readBack(t, "graphml", func(w io.Writer) error { return WriteGraphML(w, g, names) }, python, "-c", script, "FILE")
	wantLines(t, got, withoutLabels(graphLines(g, names)))
}

// TestGraphvizReads reads DOT and gives it back as JSON.
func TestGraphvizReads(t *testing.T) {
	dot, err := exec.LookPath("dot")
	if err != nil {
		missingReader(t, "graphviz")
	}
	f, names := nastyStudy()
	g := Build(f)
	out := readBack(t, "dot", func(w io.Writer) error { return WriteDOT(w, g, names) }, dot, "-Tdot_json", "FILE")
	var read struct {
		Objects []struct {
			ID                int `json:"_gvid"`
			Name, Label, Wave string
			Seed              string
		}
		Edges []struct {
			Tail, Head     int
			State, Primary string
		}
	}
	if err := json.Unmarshal([]byte(out), &read); err != nil {
		t.Fatalf("%v: %.400s", err, out)
	}
	plain := func(s string) string { return strings.ReplaceAll(s, `\\`, `\`) }
	var got []string
	for _, o := range read.Objects {
		got = append(got, fmt.Sprintf("node|%s|%s|%v|%s", plain(o.Name), plain(o.Label), o.Seed == "true", firstOf(o.Wave, "0")))
	}
	for _, e := range read.Edges {
		got = append(got, fmt.Sprintf("edge|%s|%s|%s|%s", plain(read.Objects[e.Tail].Name), plain(read.Objects[e.Head].Name), e.State, e.Primary))
	}
	wantLines(t, strings.Join(got, "\n"), graphLines(g, names))
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// TestTablesAreRead reads the Gephi pair and the edge list with Python's csv.
func TestTablesAreRead(t *testing.T) {
	python := pythonWith(t, "networkx")
	f, names := nastyStudy()
	g := Build(f)
	for _, tc := range []struct {
		name  string
		rows  int
		head  string
		write func(io.Writer) error
	}{
		{"nodes", len(flatten(g, names).nodes), "Id,Label,kind", func(w io.Writer) error { return WriteGephiNodes(w, g, names) }},
		{"edges", len(g.GetEdges()), "Source,Target,Type", func(w io.Writer) error { return WriteGephiEdges(w, g) }},
		{"edge list", len(g.GetEdges()), "referral_id,source,target", func(w io.Writer) error { return WriteEdgeCSV(w, g) }},
	} {
		const script = `import sys, csv
rows = list(csv.reader(open(sys.argv[1], encoding="utf-8", newline="")))
assert all(len(r) == len(rows[0]) for r in rows)
print(len(rows) - 1, ",".join(rows[0][:3]))`
		if got, want := strings.TrimSpace(readBack(t, "csv", tc.write, python, "-c", script, "FILE")), fmt.Sprint(tc.rows, " ", tc.head); got != want {
			t.Errorf("%s: got %q, want %q", tc.name, got, want)
		}
	}
}

// TestRReadsScript runs the script, and compares the recruiters.
func TestRReadsScript(t *testing.T) {
	rscript, err := exec.LookPath("Rscript")
	if err != nil {
		missingReader(t, "r-base-core")
	}
	s := oddSample()
	got := readBack(t, "R", func(w io.Writer) error { return WriteRScript(w, s, RScriptOptions{Population: 900, MaxCoupons: 3}) }, rscript, "-e",
		`source("FILE"); cat(nrow(z), ncol(z), sum(z$is.seed), paste(z$recruiter.id, collapse="|"))`)
	if want := fmt.Sprintf("%d 9 %d %s", len(s.IDs), 1, strings.Join([]string{"seed", "seed", "乙 \"x\\", "735"}, "|")); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// oddSample has ids that break careless writers: a number, blanks, quotes, Chinese; b's recruiter was never interviewed.
func oddSample() *Sample {
	var s study
	nets := map[string]int32{"735": 4, "a": 0}
	for id, n := range nets {
		r := s.interviewed(id, 1)
		r.NetworkSize = proto.Int32(n)
		r.Seed = proto.Bool(id == "735")
	}
	s.named("unmet")
	s.told("ua", "unmet", "a", 1)
	s.interviewed("乙 \"x\\", 2)
	s.told("r1", "735", "乙 \"x\\", 2)
	s.interviewed("丙", 3)
	s.told("r2", "乙 \"x\\", "丙", 3)
	return SampleOf(s.Facts, Build(s.Facts), Values{Name: "职业 A", Of: map[string]string{"735": "-9", "a": "工 人", "丙": "x"}},
		Values{Name: "b", Of: map[string]string{"735": "1", "a": "2"}})
}

// TestRDSFormats compares the texts of a small sample.
func TestRDSFormats(t *testing.T) {
	s := oddSample()
	got := string(written(t, func(w io.Writer) error { return WriteRDSAT(w, s) }))
	want := `RDS
4 1 -99 职业_A b
p735 4 -99 c4 -9 1
a 0 c2 -99 工_人 2
丙 -99 c3 -99 x -99
乙__x\ -99 c4 c3 -99 -99
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	script := string(written(t, func(w io.Writer) error { return WriteRScript(w, s, RScriptOptions{Population: 900, MaxCoupons: 3}) }))
	for _, want := range []string{
		`"id" = c("735", "a", "\u{4e19}", "\u{4e59} \"x\\")`, `"recruiter.id" = c("seed", "seed", "\u{4e59} \"x\\", "735")`,
		`"is.seed" = c(TRUE, FALSE, FALSE, FALSE)`, `"network.size" = c(4L, 0L, NA, NA)`, `warning("1 respondents`, "population.size = 900", "max.coupons = 3",
	} {
		if !strings.Contains(script, want) {
			t.Errorf("the script lacks %s:\n%s", want, script)
		}
	}
	for _, b := range []byte(script) {
		if b > 126 {
			t.Fatal("the script is not ASCII")
		}
	}
}

// TestRDSATKeepsTheReferenceSample writes the real sample and reads it as its own file is laid out.
func TestRDSATKeepsTheReferenceSample(t *testing.T) {
	s := readSample(t, "nyjazz", referenceOutcomes["nyjazz"]...)
	lines := strings.Split(strings.TrimSpace(string(written(t, func(w io.Writer) error { return WriteRDSAT(w, s) }))), "\n")
	if lines[0] != "RDS" || !strings.HasPrefix(lines[1], "264 8 -9 ") || len(lines) != 266 {
		t.Fatalf("got %d lines, the second is %q", len(lines), lines[1])
	}
	owner := map[string]string{}
	for _, l := range lines[2:] {
		cells := strings.Fields(l)
		if len(cells) != 3+8+4 {
			t.Fatalf("%q has %d cells", l, len(cells))
		}
		for _, c := range cells[3:11] {
			if c != "-9" {
				owner[c] = cells[0]
			}
		}
	}
	recruiters := map[string]string{}
	for _, r := range readRows(t, "nyjazz.csv") {
		recruiters["p"+r["id"]] = r["recruiter_id"]
	}
	for _, l := range lines[2:] {
		cells := strings.Fields(l)
		if want := recruiters[cells[0]]; want != "" && owner[cells[2]] != "p"+want || want == "" && cells[2] != "-9" {
			t.Errorf("%s came by a coupon of %q, want %q", cells[0], owner[cells[2]], want)
		}
	}
}

// TestFormatsWithoutNames checks that no format knows a name it was not given, and that all report a full disk.
func TestFormatsWithoutNames(t *testing.T) {
	f, names := nastyStudy()
	g := Build(f)
	secret := map[string]string{}
	for id := range names {
		secret[id] = "SECRET" + id
	}
	s := oddSample()
	for what, write := range map[string]func(w io.Writer, names map[string]string) error{
		"GEXF": func(w io.Writer, n map[string]string) error { return WriteGEXF(w, g, n) }, "DOT": func(w io.Writer, n map[string]string) error { return WriteDOT(w, g, n) },
		"Pajek": func(w io.Writer, n map[string]string) error { return WritePajek(w, g, n) }, "node-link": func(w io.Writer, n map[string]string) error { return WriteNodeLink(w, g, n) },
		"Cytoscape": func(w io.Writer, n map[string]string) error { return WriteCytoscape(w, g, n) },
		"Gephi":     func(w io.Writer, n map[string]string) error { return WriteGephiNodes(w, g, n) },
	} {
		if doc := written(t, func(w io.Writer) error { return write(w, nil) }); bytes.Contains(doc, []byte("SECRET")) {
			t.Errorf("%s has a name", what)
		}
		if doc := written(t, func(w io.Writer) error { return write(w, secret) }); !bytes.Contains(doc, []byte("SECRET")) {
			t.Errorf("%s lacks the names it was given", what)
		}
		if write(&broken{left: 10}, nil) == nil {
			t.Errorf("%s: no error from a full disk", what)
		}
	}
	for what, err := range map[string]error{"RDSAT": WriteRDSAT(&broken{}, s), "R": WriteRScript(&broken{}, s, RScriptOptions{}), "Gephi": WriteGephiEdges(&broken{}, g)} {
		if err == nil {
			t.Errorf("%s: no error from a full disk", what)
		}
	}
}
