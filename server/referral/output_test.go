package referral

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"image/png"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// outputOf is a study of n with all that is written of it.
func outputOf(t *testing.T, n int) *Output {
	t.Helper()
	f := largeStudy(n)
	for i, p := range f.People {
		p.Sex = surveyv1.Sex(1 + i%2).Enum()
		p.Age = proto.Int32(int32(18 + i%50))
	}
	values, err := Answers(f, []string{"sex", "age_group"})
	if err != nil {
		t.Fatal(err)
	}
	o := &Output{Facts: f, Graph: Build(f)}
	o.Sample = SampleOf(f, o.Graph, values...)
	return o
}

// TestOutputWritesAll writes every format, in both languages, of a study, of an empty one, and of one person.
func TestOutputWritesAll(t *testing.T) {
	if len(Formats()) < 20 {
		t.Fatalf("only %d formats", len(Formats()))
	}
	for _, n := range []int{200, 1, 0} {
		o := outputOf(t, n)
		for _, name := range Formats() {
			for _, o.Language = range []string{"en", "zh"} {
				var out bytes.Buffer
				media, err := o.Write(&out, name)
				if err != nil || media == "" || out.Len() == 0 {
					t.Errorf("%s of %d people: %q, %d bytes, %v", name, n, media, out.Len(), err)
				}
			}
		}
	}
	if _, err := outputOf(t, 3).Write(&bytes.Buffer{}, "fax"); err == nil || !strings.Contains(err.Error(), "graphml") {
		t.Errorf("an unknown format: %v", err)
	}
	o := outputOf(t, 3)
	o.Sample.Outcomes = nil
	if _, err := o.Write(&bytes.Buffer{}, "convergence"); err == nil {
		t.Error("a plot of no variable was drawn")
	}
}

// TestBinary reads back what a viewer gets.
func TestBinary(t *testing.T) {
	o := outputOf(t, 500)
	nodes := o.Graph.GetNodes()
	o.Graph.Edges = append(o.Graph.Edges, &servicev1.ReferralEdge{FromId: nodes[7].PersonId, ToId: nodes[300].PersonId, State: servicev1.EdgeState_EDGE_STATE_RESOLVED.Enum()})
	var out bytes.Buffer
	if err := WriteBinary(&out, o.Graph); err != nil {
		t.Fatal(err)
	}
	b := out.Bytes()
	if string(b[:8]) != "HEARTHG1" {
		t.Fatalf("it begins with %q", b[:8])
	}
	n, m := int(binary.LittleEndian.Uint32(b[8:])), int(binary.LittleEndian.Uint32(b[12:]))
	if n != len(o.Graph.GetNodes()) || len(b) != 16+n*(4+4+4+2+1)+8*m {
		t.Fatalf("%d nodes, %d other referrals, %d bytes", n, m, len(b))
	}
	at := map[string]int{}
	for i, node := range o.Graph.GetNodes() {
		at[node.GetPersonId()] = i
	}
	primary := 0
	for _, e := range o.Graph.GetEdges() {
		if e.GetPrimary() {
			primary++
			child := at[e.GetToId()]
			if p := int32(binary.LittleEndian.Uint32(b[16+8*n+4*child:])); int(p) != at[e.GetFromId()] {
				t.Fatalf("the parent of node %d is %d, want %d", child, p, at[e.GetFromId()])
			}
		}
	}
	for i, node := range o.Graph.GetNodes() {
		if w := binary.LittleEndian.Uint16(b[16+12*n+2*i:]); int32(w) != node.GetWave() {
			t.Fatalf("the wave of node %d is %d, want %d", i, w, node.GetWave())
		}
	}
	if primary == 0 || m != 1 || binary.LittleEndian.Uint32(b[len(b)-8:]) != 7 || binary.LittleEndian.Uint32(b[len(b)-4:]) != 300 {
		t.Fatalf("%d primary referrals, %d others: nothing was tried", primary, m)
	}
}

// TestPNG decodes the picture, and finds points of every look in it.
func TestPNG(t *testing.T) {
	o := outputOf(t, 20_000)
	var out bytes.Buffer
	if err := WritePNG(&out, o.Graph); err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(&out)
	if err != nil {
		t.Fatal(err)
	}
	if b := img.Bounds(); b.Dx() > pngSide+20 || b.Dy() > pngSide+20 || b.Dx() < 100 {
		t.Errorf("it is %v", b)
	}
	seen := map[[4]uint32]bool{}
	for x := range img.Bounds().Dx() {
		for y := range img.Bounds().Dy() {
			r, g, b, a := img.At(x, y).RGBA()
			seen[[4]uint32{r, g, b, a}] = true
		}
	}
	for i, c := range pngPalette[:4] { // ground, lines, seeds, recruits
		r, g, b, a := c.RGBA()
		if !seen[[4]uint32{r, g, b, a}] {
			t.Errorf("colour %d is not in the picture", i)
		}
	}
}

// rowsOf reads a table that was written.
func rowsOf(t *testing.T, out *bytes.Buffer) []string {
	t.Helper()
	rows, err := csv.NewReader(out).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, r := range rows {
		lines = append(lines, strings.Join(r, " "))
	}
	return lines
}

// TestCopresence expects pairs of those who were there, merged people under one id, and nobody who was only named.
func TestCopresence(t *testing.T) {
	at := func(interview, id string, role surveyv1.PresenceRole) *servicev1.PersonRecord {
		return &servicev1.PersonRecord{PersonId: &id, InterviewId: &interview, InterviewKey: proto.String("K" + interview), Presence: role.Enum(), InterviewTimeMs: proto.Int64(1)}
	}
	f := Facts{Merged: map[string]string{"b2": "b"}, People: []*servicev1.PersonRecord{
		at("1", "a", surveyv1.PresenceRole_PRESENCE_ROLE_RESPONDENT), at("1", "b", surveyv1.PresenceRole_PRESENCE_ROLE_INTRODUCER),
		at("1", "c", surveyv1.PresenceRole_PRESENCE_ROLE_INTERPRETER), {PersonId: proto.String("named"), InterviewId: proto.String("1")},
		at("2", "b2", surveyv1.PresenceRole_PRESENCE_ROLE_RESPONDENT), at("2", "b", surveyv1.PresenceRole_PRESENCE_ROLE_BYSTANDER),
		at("2", "a", surveyv1.PresenceRole_PRESENCE_ROLE_BYSTANDER), at("3", "c", surveyv1.PresenceRole_PRESENCE_ROLE_RESPONDENT),
	}}
	var out bytes.Buffer
	if err := WriteCopresence(&out, f, &servicev1.ReferralGraph{Nodes: []*servicev1.ReferralNode{
		{PersonId: proto.String("a")}, {PersonId: proto.String("b"), MergedIds: []string{"b2"}},
	}}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"interview_key person_a role_a person_b role_b",
		"K1 a respondent b introducer", "K1 a respondent c interpreter", "K1 b introducer c interpreter",
		"K2 a bystander b bystander", "K2 a bystander b respondent",
	}
	if got := rowsOf(t, &out); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestSiteGraph counts referrals between sites, those of a site itself too, and none that are not resolved.
func TestSiteGraph(t *testing.T) {
	node := func(id, site, kind string) *servicev1.ReferralNode {
		return &servicev1.ReferralNode{PersonId: &id, SiteId: &site, Kind: &kind}
	}
	edge := func(from, to, mode string, state servicev1.EdgeState, primary bool) *servicev1.ReferralEdge {
		return &servicev1.ReferralEdge{FromId: &from, ToId: &to, Mode: &mode, State: state.Enum(), Primary: &primary}
	}
	const ok, not = servicev1.EdgeState_EDGE_STATE_RESOLVED, servicev1.EdgeState_EDGE_STATE_UNRESOLVED
	g := &servicev1.ReferralGraph{
		Nodes: []*servicev1.ReferralNode{node("school-c", "school-c", KindSite), node("a", "village", "person"), node("b", "village", "person"), node("c", "", "person")},
		Edges: []*servicev1.ReferralEdge{
			edge("school-c", "a", "institution", ok, true), edge("school-c", "b", "institution", ok, true), edge("a", "b", "named", ok, false),
			edge("a", "c", "named", ok, true), edge("b", "c", "named", not, false),
		},
	}
	var out bytes.Buffer
	if err := WriteSiteGraph(&out, g); err != nil {
		t.Fatal(err)
	}
	want := []string{"from_site to_site mode referrals primary", "school-c village institution 2 2", "village  named 1 1", "village village named 1 0"}
	if got := rowsOf(t, &out); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestReport expects every row in both languages, without a slip in its numbers.
func TestReport(t *testing.T) {
	for _, n := range []int{0, 1, 300} {
		o := outputOf(t, n)
		estimates, err := o.Sample.Estimates(Options{Population: 5000, Draws: 20})
		if err != nil {
			t.Fatal(err)
		}
		sections := map[string]int{}
		for _, r := range Report(o.Facts, o.Graph, o.Sample, estimates) {
			section, _, _ := strings.Cut(r.GetSection(), " ")
			sections[section]++
			for _, text := range []string{r.GetName().GetEn(), r.GetName().GetZh(), r.GetValue().GetEn(), r.GetValue().GetZh()} {
				if text == "" || strings.Contains(text, "%!") || strings.Contains(text, "NaN") {
					t.Errorf("of %d people, %s: %v: %v", n, r.GetSection(), r.GetName(), r.GetValue())
				}
			}
		}
		if n > 1 && (sections["seeds"] == 0 || sections["yield"] == 0 || sections["strobe"] < 15) {
			t.Errorf("sections %v", sections)
		}
		for _, e := range EstimateMessages(estimates) {
			if e.GetVariable() == "" || len(e.GetAssumptions()) == 0 {
				t.Errorf("estimate %v", e)
			}
		}
	}
	if _, err := Answers(Facts{}, []string{"shoe_size"}); err == nil || !strings.Contains(err.Error(), "hukou_type") {
		t.Errorf("an unknown variable: %v", err)
	}
}

// TestColour colours by a chain, by the way of referral and by a variable with more levels than there are colours, small and
// large; the legend names the levels, and a colour that is not there is told.
func TestColour(t *testing.T) {
	for _, n := range []int{300, MostDrawnNodes + 500} {
		o := outputOf(t, n)
		many := Values{Name: "village", Of: map[string]string{}}
		for i, node := range o.Graph.GetNodes() {
			if i%11 != 0 {
				many.Of[node.GetPersonId()] = "v" + string(rune('a'+i%13))
			}
		}
		for _, name := range []string{"seed", "mode", "village"} {
			colour, ok := ColourBy(name, o.Graph, []Values{many})
			if !ok || colour == nil {
				t.Fatalf("no colour for %s", name)
			}
			o.Colour = colour
			var out bytes.Buffer
			if _, err := o.Write(&out, "svg"); err != nil {
				t.Fatal(err)
			}
			svg := out.String()
			if name == "village" && (!strings.Contains(svg, "va") || !strings.Contains(svg, "6 others")) {
				t.Errorf("%d people: the legend does not name the villages", n)
			}
			first := lightened(0)
			if n > MostDrawnNodes {
				first = strong(0)
			}
			if !strings.Contains(svg, first) {
				t.Errorf("%d people by %s: the first colour is not there", n, name)
			}
		}
	}
	if v, ok := ColourBy("wave", nil, nil); v != nil || !ok {
		t.Error("waves are no variable")
	}
	if _, ok := ColourBy("shoe_size", nil, nil); ok {
		t.Error("there is a shoe size")
	}
}
