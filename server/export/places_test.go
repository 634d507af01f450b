package export

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/export/gpkg"
	"google.golang.org/protobuf/proto"
)

const (
	asJSON    = servicev1.ExportFormat_EXPORT_FORMAT_JSONL
	asGeoJSON = servicev1.ExportFormat_EXPORT_FORMAT_GEOJSON
	asGPKG    = servicev1.ExportFormat_EXPORT_FORMAT_GPKG
	asGraph   = servicev1.ExportFormat_EXPORT_FORMAT_GRAPHML
)

// locatedInterviews are interviews at places, some of which are none.
func locatedInterviews() Source {
	at := func(id string, lat, lon *float64) *surveyv1.Interview {
		return &surveyv1.Interview{InterviewId: proto.String(id), SiteId: proto.String(`三桥 "A"`), Point: &surveyv1.GeoPoint{Latitude: lat, Longitude: lon}}
	}
	all := []*surveyv1.Interview{
		at("here", proto.Float64(26.647), proto.Float64(106.63)), at("half", proto.Float64(26), nil), at("nowhere", nil, nil),
		at("beyond", proto.Float64(126), proto.Float64(106)), at("south", proto.Float64(-33.5), proto.Float64(-70.25)),
	}
	// haven loses the last byte of some texts, where they fill the widest variable of a file; of 32,000 bytes, Han from beyond the first plane.
	all[1].Visits = []*surveyv1.Visit{{Remarks: proto.String(strings.Repeat("abcd", 7_372/4))}}
	all[4].ProxyRelation = proto.String(strings.Repeat("𠮷", 8_000))
	all[0].Kind = surveyv1.InterviewKind_INTERVIEW_KIND_COUPLE.Enum()
	return source(all, make([]*servicev1.InterviewSummary, len(all)))
}

// TestPlaces writes what is on the globe, and counts what is not.
func TestPlaces(t *testing.T) {
	files, m := export(t, locatedInterviews(), Options{Profile: identified, Formats: []servicev1.ExportFormat{asGeoJSON, asGPKG}})
	var got struct {
		Type     string
		Features []struct {
			Geometry struct {
				Type        string
				Coordinates []float64
			}
			Properties map[string]any
		}
	}
	if err := json.Unmarshal(files.files["geojson/interview_point.geojson"], &got); err != nil {
		t.Fatal(err)
	}
	said := got.Type
	for _, f := range got.Features {
		said += fmt.Sprint(" ", f.Geometry.Type, f.Geometry.Coordinates, f.Properties["interview_id"], f.Properties["site_id"], f.Properties["kind"])
	}
	if want := `FeatureCollection Point[106.63 26.647]here三桥 "A"3 Point[-70.25 -33.5]south三桥 "A"<nil>`; said != want {
		t.Errorf("got %s, want %s", said, want)
	}
	for _, format := range []string{"geojson", "gpkg"} {
		if w := strings.Join(m.Warnings, "\n"); !strings.Contains(w, format+": 2 values of interview.point are not on the globe") {
			t.Errorf("warnings: %s", w)
		}
	}
	for path := range files.files {
		if strings.HasPrefix(path, "geojson/") && len(files.files[path]) == 0 {
			t.Errorf("%s is empty", path)
		}
	}
	// Coordinates are direct identifiers: a research export has no place, and says so to who asks for places.
	files, m = export(t, locatedInterviews(), Options{Formats: []servicev1.ExportFormat{asGeoJSON, asGPKG}})
	for path := range files.files {
		if strings.HasPrefix(path, "g") {
			t.Errorf("research export has %s", path)
		}
	}
	if len(m.Warnings) != 2 || !strings.Contains(m.Warnings[0], "no coordinates") {
		t.Errorf("warnings: %q", m.Warnings)
	}
}

// TestDrawnPlaces reads lines and areas as ODK writes them.
func TestDrawnPlaces(t *testing.T) {
	r := &row{cells: make([]cell, 1)}
	for _, tt := range []struct {
		shape int
		text  string
		want  string
	}{
		{2, "26.5 106.5 0 0; 26.6 106.6 0 0;", `{"type":"LineString","coordinates":[[106.5,26.5],[106.6,26.6]]}`},
		{3, "0 0;0 1;1 1", `{"type":"Polygon","coordinates":[[[0,0],[1,0],[1,1],[0,0]]]}`},
		{3, "0 0;1 1;0 1;0 0", `{"type":"Polygon","coordinates":[[[0,0],[1,0],[1,1],[0,0]]]}`},
		{2, "26.5 106.5", ""}, {2, "", ""}, {2, ";;", ""}, {3, "1 1;2 2", ""}, {2, "91 0;0 0", ""}, {2, "a b;1 2", ""}, {2, "NaN 1;1 1", ""},
	} {
		r.cells[0] = textCell(tt.text)
		p := position{shape: gpkg.Shape(tt.shape), lon: -1, lat: -1}
		at, told := p.of(r)
		got := ""
		if at != nil {
			got = string(appendGeometry(nil, p.shape, at))
		}
		if got != tt.want || told != (tt.text != "") {
			t.Errorf("%q: got %s (told: %v), want %s", tt.text, got, told, tt.want)
		}
	}
}

// TestOGRReads lets GDAL read every layer of the random exports.
func TestOGRReads(t *testing.T) {
	need(t, "gdal-bin", "ogrinfo", "--version")
	dir, exports, _ := readable(t, "geojson", "gpkg")
	layers, features := 0, 0
	for name, files := range exports {
		if _, there := files.files[geoPackagePath]; !there {
			t.Fatalf("%s has no GeoPackage", name)
		}
		packed := string(outputOf(t, dir, "ogrinfo", "-ro", "-al", "-so", name+"-places.gpkg"))
		for path := range files.files {
			layer, ok := strings.CutSuffix(strings.TrimPrefix(path, "geojson/"), ".geojson")
			if !ok {
				continue
			}
			cmd := exec.Command("ogrinfo", "-ro", "-al", "-so", name+"-"+layer+".geojson")
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			_, count, found := strings.Cut(string(out), "Feature Count: ")
			count, _, _ = strings.Cut(count, "\n")
			if err != nil || !found || strings.Contains(string(out), "ERROR") || strings.Contains(strings.ReplaceAll(string(out), "Warning 1: Integer values probably", ""), "Warning") {
				t.Errorf("%s %s: %v\n%.800s", name, layer, err, out)
			}
			layers++
			if count != "0" {
				features++
			}
			_, at, ok := strings.Cut(packed, "Layer name: "+layer+"\n")
			if _, n, _ := strings.Cut(at, "Feature Count: "); !ok || !strings.HasPrefix(n, count+"\n") {
				t.Errorf("%s %s: the GeoPackage has not %s features: %.60s", name, layer, count, n)
			}
		}
		if strings.Contains(packed, "ERROR") || strings.Contains(packed, "Warning") {
			t.Errorf("%s: %.800s", name, packed)
		}
	}
	if layers < 6 || features < 1 {
		t.Errorf("only %d layers, %d with features", layers, features)
	}
}

// kinship is a family of three generations, the mother of which also stands in her parents' roster.
func kinship() Source {
	member := func(id string, line, mother, father, spouse int32, sex surveyv1.Sex) *surveyv1.HouseholdMember {
		m := &surveyv1.HouseholdMember{PersonId: proto.String(id), LineNumber: proto.Int32(line), Sex: sex.Enum()}
		for of, to := range map[**int32]int32{&m.MotherLine: mother, &m.FatherLine: father, &m.SpouseLine: spouse} {
			if to > 0 {
				*of = proto.Int32(to)
			}
		}
		return m
	}
	home := func(id string, members ...*surveyv1.HouseholdMember) *surveyv1.Interview {
		return &surveyv1.Interview{InterviewId: proto.String(id), Answers: &surveyv1.Interview_Household{Household: &surveyv1.Household{HouseholdId: proto.String("h" + id), Members: members}}}
	}
	src := source([]*surveyv1.Interview{
		home("1", member("child", 1, 3, 2, 0, 1), member("father", 2, 0, 0, 3, 1), member("mother", 3, 0, 0, 2, 2), member("lost", 4, 9, 0, 0, 0)),
		home("2", member("granny", 1, 0, 0, 0, 2), member("mother-again", 2, 1, 0, 0, 2)),
	}, make([]*servicev1.InterviewSummary, 2))
	src.Canonical = map[string]string{"mother-again": "mother"}
	src.Graph = &servicev1.ReferralGraph{
		Nodes: []*servicev1.ReferralNode{
			{PersonId: proto.String("seed"), Seed: proto.Bool(true), Wave: proto.Int32(0), NetworkSize: proto.Int32(12), Recruits: proto.Int32(1)},
			{PersonId: proto.String("school-a"), Kind: proto.String("site")},
			{PersonId: proto.String("first"), Wave: proto.Int32(1), NetworkSize: proto.Int32(5), RootId: proto.String("seed")},
		},
		Edges: []*servicev1.ReferralEdge{
			{FromId: proto.String("seed"), ToId: proto.String("first"), Primary: proto.Bool(true), State: servicev1.EdgeState_EDGE_STATE_RESOLVED.Enum()},
			{FromId: proto.String("other"), ToId: proto.String("first"), Primary: proto.Bool(false)}, {ToId: proto.String("first")},
		},
	}
	return src
}

func TestGraphs(t *testing.T) {
	files, _ := export(t, kinship(), Options{Formats: []servicev1.ExportFormat{asGraph}})
	for path, want := range map[string]string{
		"graph/kin_edges.csv":      "from,to,kind\nmother,child,mother\nfather,child,father\nfather,mother,spouse\ngranny,mother,mother\n",
		"graph/referral_edges.csv": "seed,first,,",
		"graph/rds.csv":            "id,recruiter_id,wave,degree,seed,root_id,recruits,interviewed\nseed,,0,12,1,,1,\nfirst,seed,1,5,,seed,,\n",
	} {
		got := strings.ReplaceAll(strings.TrimPrefix(string(files.files[path]), "\ufeff"), "\r\n", "\n")
		if path == "graph/referral_edges.csv" {
			if strings.Count(got, "\n") != 3 || !strings.Contains(got, "\nseed,first,") {
				t.Errorf("%s: got\n%s", path, got)
			}
			continue
		}
		if got != want {
			t.Errorf("%s: got\n%swant\n%s", path, got, want)
		}
	}
}

// TestGraphsOfLevels makes the graphs whose tables are asked for, and says where there are none.
func TestGraphsOfLevels(t *testing.T) {
	for level, want := range map[string]string{
		"person": "graph/kin.graphml graph/kin_edges.csv ", "household": "", "referral_node": "",
	} {
		files, m := export(t, kinship(), Options{Formats: []servicev1.ExportFormat{asGraph}, Levels: []string{level}})
		got := ""
		for _, f := range m.Files {
			if strings.HasPrefix(f.Path, "graph/") {
				got += f.Path + " "
			}
		}
		if got != want || (want == "") != strings.Contains(strings.Join(m.Warnings, " "), "no graphs") || len(files.files) < 3 {
			t.Errorf("%s: got %q, warnings %q", level, got, m.Warnings)
		}
	}
}

const networkxScript = `
import json, sys, networkx
out = {}
for f in sys.argv[1:]:
    g = networkx.read_graphml(f, force_multigraph=True)
    out[f] = {"nodes": sorted(g.nodes()), "edges": sorted([a, b, d.get("kind", "")] for a, b, d in g.edges(data=True)), "data": {n: d for n, d in g.nodes(data=True)}}
print(json.dumps(out))`

const igraphScript = `
import json, sys, igraph
out = {}
for f in sys.argv[1:]:
    g = igraph.Graph.Read_GraphML(f)
    out[f] = {"nodes": sorted(v["id"] for v in g.vs), "edges": sorted([g.vs[e.source]["id"], g.vs[e.target]["id"], e["kind"] if "kind" in e.attributes() else ""] for e in g.es), "data": {}}
print(json.dumps(out))`

// TestGraphsAreRead lets networkx and igraph read both graphs.
func TestGraphsAreRead(t *testing.T) {
	need(t, "python3-networkx", "/usr/bin/python3", "-c", "import networkx")
	need(t, "python3-igraph", "/usr/bin/python3", "-c", "import igraph")
	dir := t.TempDir()
	files, _ := export(t, kinship(), Options{Formats: []servicev1.ExportFormat{asGraph}})
	for _, name := range []string{"kin", "referral"} {
		if err := os.WriteFile(filepath.Join(dir, name), files.files["graph/"+name+".graphml"], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for program, script := range map[string]string{"networkx": networkxScript, "igraph": igraphScript} {
		var got map[string]struct {
			Nodes []string
			Edges [][3]string
			Data  map[string]map[string]any
		}
		if err := json.Unmarshal(outputOf(t, dir, "/usr/bin/python3", "-c", script, "kin", "referral"), &got); err != nil {
			t.Fatal(err)
		}
		if s := fmt.Sprint(got["kin"].Nodes, got["kin"].Edges); s != "[child father granny lost mother] [[father child father] [father mother spouse] [granny mother mother] [mother child mother]]" {
			t.Errorf("%s: kin: got %s", program, s)
		}
		if s := fmt.Sprint(got["referral"].Nodes, got["referral"].Edges); s != "[first other school-a seed] [[other first ] [seed first ]]" {
			t.Errorf("%s: referral: got %s", program, s)
		}
		if d := got["kin"].Data["mother"]; d != nil && (d["sex"] != 2.0 || d["sex_label"] != "female" || d["household_id"] != "h1") {
			t.Errorf("%s: mother: got %v", program, d)
		}
	}
}
