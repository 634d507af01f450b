package study

import (
	"bytes"
	"strconv"
	"testing"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/dedup"
	"github.com/hearth-survey/hearth/server/projection"
	"github.com/hearth-survey/hearth/server/referral"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// facts are what the server would know of these interviews.
func facts(t *testing.T, interviews []*surveyv1.Interview) (referral.Facts, []*servicev1.HouseholdRecord) {
	t.Helper()
	var f referral.Facts
	var households []*servicev1.HouseholdRecord
	for _, iv := range interviews {
		var d syncer.Digest
		copy(d[:], iv.GetInterviewId())
		record := &servicev1.Record{Subject: proto.String(iv.GetInterviewId()), Study: iv.Study, Round: iv.Round}
		p, err := projection.Interview([]projection.Revision{{Digest: d, Record: record, Interview: iv}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		f.People = append(f.People, p.GetPeople()...)
		f.Interviews = append(f.Interviews, p.GetSummary())
		f.Referrals = append(f.Referrals, p.GetReferrals()...)
		if p.GetRecruitment() != nil {
			f.Recruitments = append(f.Recruitments, p.GetRecruitment())
		}
		households = append(households, p.GetHouseholds()...)
	}
	return f, households
}

// The graph drawn from the bundled interviews is whole: every referral leads somewhere, in at least four waves.
func TestGraphOfTheBundledStudy(t *testing.T) {
	all, _ := bundled(t)
	study, err := Definition()
	if err != nil {
		t.Fatal(err)
	}
	f, _ := facts(t, all)
	f.Sites = study.GetSites()
	g := referral.Build(f)
	seeds, deepest := 0, uint32(0)
	for _, n := range g.GetNodes() {
		if n.GetSeed() {
			seeds++
		}
		deepest = max(deepest, uint32(n.GetWave()))
	}
	for _, e := range g.GetEdges() {
		if e.GetState() != servicev1.EdgeState_EDGE_STATE_RESOLVED {
			t.Errorf("%s: %v", e.GetReferralId(), e.GetState())
		}
	}
	if seeds != 3 || deepest < 4 || len(g.GetEdges()) < 40 {
		t.Errorf("%d seeds, deepest wave %d, %d edges", seeds, deepest, len(g.GetEdges()))
	}
}

// Every true duplicate of the bundled study is proposed.
func TestPairsOfTheBundledStudyAreProposed(t *testing.T) {
	all, _ := bundled(t)
	pairs, err := Pairs()
	if err != nil {
		t.Fatal(err)
	}
	f, households := facts(t, all)
	probability := map[[2]string]float64{}
	for _, p := range dedup.Find(f.People, households, nil, dedup.Options{}).Pairs {
		probability[[2]string{p.GetAId(), p.GetBId()}] = p.GetProbability()
		probability[[2]string{p.GetBId(), p.GetAId()}] = p.GetProbability()
	}
	for _, p := range pairs {
		if probability[[2]string{p.A, p.B}] == 0 {
			t.Errorf("not proposed: %s", p.Note)
		}
	}
}

// The waves that the graph finds in a simulated study are the true ones.
func TestWavesOfASimulatedStudy(t *testing.T) {
	c := collect(t, SimulateOptions{Households: 1500, Tablets: 12, Seed: 8})
	f, _ := facts(t, c.interviews)
	wave := map[string]uint32{}
	for _, n := range referral.Build(f).GetNodes() {
		wave[n.GetPersonId()] = uint32(n.GetWave())
	}
	checked := 0
	for _, r := range table(t, func(b *bytes.Buffer) error { return c.truth.WriteReferrals(b) }) {
		if r[2] == "" {
			continue
		}
		checked++
		if want, _ := strconv.Atoi(r[2]); wave[r[0]] != uint32(want) {
			t.Fatalf("person %s is in wave %d of the graph and in wave %d in truth", r[0], wave[r[0]], want)
		}
	}
	if checked < 500 {
		t.Errorf("only %d people are in referral trees", checked)
	}
}

func FuzzTabletInterviews(f *testing.F) {
	f.Add([]byte("{}\n"))
	f.Add([]byte("{\"interview_id\":\"x\"}\n\n{\"interview_id\":\"y\""))
	f.Add([]byte{0xff, '\n', '{', '}'})
	f.Fuzz(func(t *testing.T, data []byte) {
		errs := 0
		for iv, err := range (Tablet{Name: "fuzz", Data: data}).Interviews() {
			if errs > 0 {
				t.Fatal("something came after an error")
			}
			if err != nil {
				errs++
			} else if iv == nil {
				t.Fatal("no interview and no error")
			}
		}
	})
}
