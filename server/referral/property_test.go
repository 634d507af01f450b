package referral

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// junk draws facts without regard to sense: few ids, so that they collide, contradict and run in circles.
func junk(t *rapid.T) Facts {
	person := rapid.SampledFrom([]string{"", "a", "b", "c", "d", "e", "f", "g", "h", "site:s"})
	interview := rapid.SampledFrom([]string{"", "i1", "i2", "i3", "i4", "i5", "i6", "i7"})
	site := rapid.SampledFrom([]string{"", "", "", "s", "t"})
	code := rapid.SampledFrom([]string{"", "", "K1", "k1 ", "K2", "K3"})
	time := rapid.Int64Range(-1, 6)
	var f Facts
	for range rapid.IntRange(0, 8).Draw(t, "people") {
		f.People = append(f.People, &servicev1.PersonRecord{
			PersonId: proto.String(person.Draw(t, "person")), InterviewId: proto.String(interview.Draw(t, "interview")),
			InterviewTimeMs: proto.Int64(time.Draw(t, "time")), Interviewed: proto.Bool(rapid.Bool().Draw(t, "interviewed")),
			Presence: surveyv1.PresenceRole(rapid.Int32Range(0, 6).Draw(t, "presence")).Enum(), SiteId: proto.String(site.Draw(t, "site")),
			Role: surveyv1.PersonRole(rapid.Int32Range(0, 3).Draw(t, "role")).Enum(),
		})
	}
	for range rapid.IntRange(0, 8).Draw(t, "interviews") {
		f.Interviews = append(f.Interviews, &servicev1.InterviewSummary{
			InterviewId: proto.String(interview.Draw(t, "interview")), RespondentId: proto.String(person.Draw(t, "respondent")),
			InterviewKey: proto.String(person.Draw(t, "key")), StartTimeMs: proto.Int64(time.Draw(t, "time")),
			Result: surveyv1.ResultCode(rapid.Int32Range(0, 4).Draw(t, "result")).Enum(),
		})
	}
	for range rapid.IntRange(0, 8).Draw(t, "recruitments") {
		r := &servicev1.RecruitmentRecord{
			InterviewId: proto.String(interview.Draw(t, "interview")), PersonId: proto.String(person.Draw(t, "person")),
			Mode: surveyv1.RecruitmentMode(rapid.Int32Range(0, 6).Draw(t, "mode")).Enum(), CouponsGiven: []string{code.Draw(t, "given")},
		}
		if rapid.Bool().Draw(t, "marked") {
			r.Seed = proto.Bool(rapid.Bool().Draw(t, "seed"))
		}
		if rapid.Bool().Draw(t, "asked") {
			r.NetworkSize = proto.Int32(rapid.Int32Range(0, 3).Draw(t, "size"))
		}
		f.Recruitments = append(f.Recruitments, r)
	}
	for range rapid.IntRange(0, 16).Draw(t, "referrals") {
		r := &servicev1.ReferralRecord{
			ReferralId: proto.String(fmt.Sprint("r", rapid.IntRange(0, 20).Draw(t, "id"))), InterviewId: proto.String(interview.Draw(t, "interview")),
			FromPersonId: proto.String(person.Draw(t, "from")), ToPersonId: proto.String(person.Draw(t, "to")),
			FromSiteId: proto.String(site.Draw(t, "from site")), CouponCode: proto.String(code.Draw(t, "code")),
			MadeTimeMs: proto.Int64(time.Draw(t, "made")), Main: proto.Bool(rapid.Bool().Draw(t, "main")),
			Mode: surveyv1.ReferralMode(rapid.Int32Range(0, 5).Draw(t, "mode")).Enum(),
		}
		if rapid.Bool().Draw(t, "sided") {
			r.ToldByRecruit = proto.Bool(rapid.Bool().Draw(t, "told by recruit"))
		}
		f.Referrals = append(f.Referrals, r)
	}
	f.Merged = rapid.MapOfN(person, person, 0, 3).Draw(t, "merged")
	return f
}

// shuffled is the same facts in another order.
func shuffled(t *rapid.T, f Facts) Facts {
	out := f
	out.People = rapid.Permutation(f.People).Draw(t, "people in another order")
	out.Interviews = rapid.Permutation(f.Interviews).Draw(t, "interviews in another order")
	out.Recruitments = rapid.Permutation(f.Recruitments).Draw(t, "recruitments in another order")
	out.Referrals = rapid.Permutation(f.Referrals).Draw(t, "referrals in another order")
	return out
}

func TestOrderOfFactsDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := junk(t)
		want := Build(f)
		other := shuffled(t, f)
		got := Build(other)
		if !proto.Equal(want, got) {
			t.Fatalf("got another graph:\n%v\n%v", want, got)
		}
		if !proto.Equal(Stats(f, want), Stats(other, got)) {
			t.Fatal("got other counts")
		}
	})
}

// TestForestOfJunk checks the shape of the graph whatever the facts.
func TestForestOfJunk(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := junk(t)
		g := Build(f)
		checkForest(t, g)
		s := Stats(f, g)
		var size, waves, recruits, states int64
		for _, c := range s.GetChains() {
			size += int64(c.GetSize())
		}
		for _, n := range s.GetRecruitsPerWave() {
			waves += n
		}
		for _, n := range s.GetPersonsByRecruits() {
			recruits += n
		}
		for _, n := range s.GetEdgesByState() {
			states += n
		}
		if p := s.GetPersons(); size != p || waves != p || recruits != p {
			t.Fatalf("%d persons, but %d in chains, %d in waves, %d by recruits", p, size, waves, recruits)
		}
		if states != s.GetEdges() {
			t.Fatalf("%d edges, but %d by state", s.GetEdges(), states)
		}
	})
}

// checkForest fails where a primary edge does not lead one wave down, or a node is not under its root.
func checkForest(t *rapid.T, g *servicev1.ReferralGraph) {
	nodes := map[string]*servicev1.ReferralNode{}
	for _, n := range g.GetNodes() {
		if nodes[n.GetPersonId()] != nil || n.GetPersonId() == "" {
			t.Fatalf("id %q stands for two nodes or none", n.GetPersonId())
		}
		nodes[n.GetPersonId()] = n
	}
	parent := map[string]string{}
	recruits := map[string]int32{}
	for _, e := range g.GetEdges() {
		if e.GetState() == servicev1.EdgeState_EDGE_STATE_UNSPECIFIED {
			t.Fatalf("an edge without a state: %v", e)
		}
		if e.FromId != nil && nodes[e.GetFromId()] == nil || e.ToId != nil && nodes[e.GetToId()] == nil {
			t.Fatalf("an edge to nowhere: %v", e)
		}
		if !e.GetPrimary() {
			continue
		}
		if _, two := parent[e.GetToId()]; two {
			t.Fatalf("two primary edges to %s", e.GetToId())
		}
		parent[e.GetToId()] = e.GetFromId()
		recruits[e.GetFromId()]++
	}
	below := map[string]int32{}
	for id, n := range nodes {
		if n.GetRecruits() != recruits[id] {
			t.Fatalf("%s has %d recruits, the edges say %d", id, n.GetRecruits(), recruits[id])
		}
		up, ok := parent[id]
		if !ok {
			if n.GetWave() != 0 || n.GetRootId() != id {
				t.Fatalf("root %s has wave %d and root %s", id, n.GetWave(), n.GetRootId())
			}
			continue
		}
		if n.GetWave() != nodes[up].GetWave()+1 || n.GetRootId() != nodes[up].GetRootId() {
			t.Fatalf("%s is in wave %d under %s in wave %d", id, n.GetWave(), up, nodes[up].GetWave())
		}
		if n.GetSeed() {
			t.Fatalf("seed %s has a primary recruiter", id)
		}
		for steps := 0; ok; up, ok = parent[up] {
			below[up]++
			if steps++; steps > len(nodes) {
				t.Fatalf("a circle above %s", id)
			}
		}
	}
	for id, n := range nodes {
		if n.GetDescendants() != below[id] {
			t.Fatalf("%s has %d descendants, the edges say %d", id, n.GetDescendants(), below[id])
		}
	}
}

// TestNoImplicitSeeds checks that whoever no record marks is none.
func TestNoImplicitSeeds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := junk(t)
		for _, r := range f.Recruitments {
			r.Seed = proto.Bool(false)
		}
		for _, n := range Build(f).GetNodes() {
			if n.GetSeed() {
				t.Fatalf("%s became a seed", n.GetPersonId())
			}
		}
	})
}

func TestUndoOfMergeRestores(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := junk(t)
		before := maps.Clone(f.Merged)
		want := Build(f)
		a, b := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "a"), rapid.SampledFrom([]string{"d", "e", "f"}).Draw(t, "b")
		f.Merged = maps.Clone(before)
		if f.Merged == nil {
			f.Merged = map[string]string{}
		}
		f.Merged[a] = b
		for _, n := range Build(f).GetNodes() {
			if all := append(slices.Clone(n.GetMergedIds()), n.GetPersonId()); slices.Contains(all, a) != slices.Contains(all, b) &&
				known(want, a) && known(want, b) {
				t.Fatalf("%s and %s are not one node: %v", a, b, n)
			}
		}
		f.Merged = before
		if !proto.Equal(want, Build(f)) {
			t.Fatal("taking the merge back does not restore the graph")
		}
	})
}

func known(g *servicev1.ReferralGraph, id string) bool {
	return slices.ContainsFunc(g.GetNodes(), func(n *servicev1.ReferralNode) bool {
		return n.GetPersonId() == id || slices.Contains(n.GetMergedIds(), id)
	})
}

// TestMergedMapMayTakeAnyWay checks that only who belongs together counts, not by which ids that is said.
func TestMergedMapMayTakeAnyWay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := junk(t)
		f.Merged = map[string]string{"a": "b", "b": "c", "e": "d"}
		want := Build(f)
		f.Merged = map[string]string{"c": "a", "b": "a", "d": "e"}
		if !proto.Equal(want, Build(f)) {
			t.Fatal("got another graph")
		}
	})
}

// TestAnyGraphCanBeWritten writes and reads back whatever Build makes.
func TestAnyGraphCanBeWritten(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		g := Build(junk(r))
		if n := checkXML(t, graphMLOf(t, g, nil))["edge"]; n != len(g.GetEdges()) {
			r.Fatalf("GraphML has %d edges of %d", n, len(g.GetEdges()))
		}
		checkXML(t, svgOf(t, g, SVGOptions{Language: Chinese}))
	})
}

// TestTidyLayout checks that no two nodes of a level overlap and that parents stand above the middle of their children.
func TestTidyLayout(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 80).Draw(t, "nodes")
		parent := make([]int32, n)
		child := make([][]int32, n)
		for i := range parent {
			parent[i] = int32(rapid.IntRange(-1, i-1).Draw(t, "parent"))
			if p := parent[i]; p != none {
				child[p] = append(child[p], int32(i))
			}
		}
		lay := layTidy(parent, child)
		shelves, boxes := lay.pack(1)
		root := make([]int, n)
		for _, v := range topDown(parent) {
			root[v] = int(v)
			if p := parent[v]; p != none {
				root[v] = root[p]
			}
		}
		for i := range n {
			if c := child[i]; len(c) > 0 {
				if mid := (lay.x[c[0]] + lay.x[c[len(c)-1]]) / 2; mid-lay.x[i] > 1e-6 || lay.x[i]-mid > 1e-6 {
					t.Fatalf("node %d at %v is not above the middle %v", i, lay.x[i], mid)
				}
			}
			for j := range i {
				if d := lay.x[i] - lay.x[j]; root[i] == root[j] && lay.depth[i] == lay.depth[j] && d < 1-1e-6 && d > -1+1e-6 {
					t.Fatalf("nodes %d and %d are %v apart", i, j, d)
				}
			}
		}
		held := 0
		for _, s := range shelves {
			end := -1.0
			for _, b := range s.boxes {
				held += b.nodes
				if b.at < end || b.levels > s.levels {
					t.Fatalf("a tree overlaps its neighbour on the shelf: %+v", b)
				}
				end = b.at + b.width
			}
		}
		if held != n || len(boxes) == 0 {
			t.Fatalf("the shelves hold %d of %d nodes", held, n)
		}
	})
}
