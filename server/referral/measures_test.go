package referral

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

const testDay = 86_400_000

// fieldStudy has two seeds, a later one, coupons, two tablets, two rounds, a refusal, a school that referred, and a person
// whom two referred.
func fieldStudy(t testing.TB) Facts {
	t.Helper()
	var s study
	code := func(n int) string { return mustMake(t, CouponCode{1, n}) }
	a := s.seed("a", 1*testDay)
	a.CouponsGiven = []string{code(0), code(1), code(2)}
	a.NetworkSize, a.NetworkWording = proto.Int32(10), proto.String("您认识多少人？")
	s.seed("lone", 2*testDay)
	s.interviewed("b", 3*testDay).CouponsGiven = []string{code(3), code(3)}
	r := s.told("r1", "a", "b", 3*testDay)
	coupon(r, code(0))
	r.MadeTimeMs = proto.Int64(1 * testDay)
	s.interviewed("c", 5*testDay)
	coupon(s.told("r2", "", "c", 5*testDay), code(3))
	s.told("r3", "late", "c", 5*testDay)
	s.seed("late", 4*testDay)
	s.interviewed("d", 6*testDay)
	s.told("r4", "", "d", 6*testDay).FromSiteId = proto.String("school")
	s.interviewed("e", 7*testDay)
	coupon(s.told("r5", "", "e", 7*testDay), "AAAA-1111")
	s.named("no")
	s.Referrals = append(s.Referrals, &servicev1.ReferralRecord{
		ReferralId: proto.String("r6"), FromPersonId: proto.String("a"), ToPersonId: proto.String("no"), InterviewId: proto.String("interview-a-86400000"),
		ToldByRecruit: proto.Bool(false), Mode: surveyv1.ReferralMode_REFERRAL_MODE_NAMED.Enum(), Outcome: surveyv1.ReferralOutcome_REFERRAL_OUTCOME_REFUSED.Enum(),
	})
	s.interviewed("a", 9*testDay) // again, in the second round
	s.Sites = append(s.Sites, &surveyv1.Site{SiteId: proto.String("school"), Kind: surveyv1.SiteKind_SITE_KIND_SCHOOL.Enum()})
	for i, iv := range s.Interviews {
		iv.Device = []byte{byte(i % 2)}
		iv.Enumerator = proto.String("e1")
		iv.Round = proto.Uint32(1)
		if iv.GetStartTimeMs() == 9*testDay {
			iv.Round = proto.Uint32(2)
		}
		if iv.GetRespondentId() == "b" {
			iv.IntroducerPresent = surveyv1.YesNo_YES_NO_YES.Enum()
			iv.Kind = surveyv1.InterviewKind_INTERVIEW_KIND_GROUP.Enum()
		}
	}
	return s.Facts
}

func TestMeasures(t *testing.T) {
	f := fieldStudy(t)
	m := Measure(f, Build(f), MeasureOptions{})
	if diff := cmp.Diff(SeedMeasures{Seeds: 3, Planned: 2, Added: 1, Productive: 1, Sterile: 2, OtherRoots: 2}, m.Seeds); diff != "" {
		t.Errorf("seeds (-want +got):\n%s", diff)
	}
	want := CouponMeasures{
		CouponCounts: CouponCounts{Issued: 4, Redeemed: 2, Outstanding: 2}, Holders: 2, MostPerHolder: 3, IssuerUnknown: 1, NotOfTheScheme: 1,
		Tablets: []CouponsOfTablet{{1, CouponCounts{Issued: 4, Redeemed: 2, Outstanding: 2}}},
		Sites:   []CouponsOfSite{{"", CouponCounts{Issued: 4, Redeemed: 2, Outstanding: 2}}},
	}
	if diff := cmp.Diff(want, m.Coupons); diff != "" {
		t.Errorf("coupons (-want +got):\n%s", diff)
	}
	if m.Coupons.ReturnRate() != 0.5 {
		t.Errorf("return rate %v", m.Coupons.ReturnRate())
	}
	yields := []Yield{
		{Mode: "coupon", Referrals: 3, Interviewed: 3}, {Mode: "named", Referrals: 1, Refused: 1}, {Mode: Unspecified, Referrals: 2, Interviewed: 2},
	}
	if diff := cmp.Diff(yields, m.ByMode); diff != "" {
		t.Errorf("yields (-want +got):\n%s", diff)
	}
	rounds := []RoundMeasure{
		{Round: 1, Interviews: 7, People: 7, New: 7, NewByWave: []int64{4, 2, 1}}, {Round: 2, Interviews: 1, People: 1},
	}
	if diff := cmp.Diff(rounds, m.ByRound); diff != "" {
		t.Errorf("rounds (-want +got):\n%s", diff)
	}
	if l := m.ReferralLag; l.Count != 1 || l.Median != 2 {
		t.Errorf("lag of referrals %+v", l)
	}
	if l := m.RecruitmentLag; l.Count != 2 || l.Least != 2 || l.Most != 2 {
		t.Errorf("lag of recruitment %+v", l)
	}
	crossing := Crossings{Tablet: 2, OfTablets: 3, OfEnumerators: 3, Seed: 1, OfSeeds: 4}
	if diff := cmp.Diff(crossing, m.Crossing); diff != "" {
		t.Errorf("crossings (-want +got):\n%s", diff)
	}
	if m.SeveralRecruiters != 1 || m.WithIntroducer != 1 || m.Interviews != 8 || len(m.GroupSizes) != 1 || m.GroupSizes[0] != 1 {
		t.Errorf("got %+v", m)
	}
	if m.BySite[1].SiteID != "school" || m.BySite[1].ReferredBySite != 1 {
		t.Errorf("sites %+v", m.BySite)
	}
	if m.Chains[0].RootID != "a" || m.Chains[0].People != 4 || m.Chains[0].Interviewed != 3 || m.Chains[0].First != 1*testDay || m.Chains[0].Last != 5*testDay {
		t.Errorf("chains %+v", m.Chains[0])
	}
	later := Measure(f, Build(f), MeasureOptions{SeedsPlannedUntil: 1 * testDay})
	if later.Seeds.Planned != 1 || later.Seeds.Added != 2 {
		t.Errorf("with a day given: %+v", later.Seeds)
	}
}

// TestMeasuresOfJunk checks sums, and that the order of the facts does not matter.
func TestMeasuresOfJunk(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := junk(t)
		g := Build(f)
		m := Measure(f, g, MeasureOptions{})
		other := shuffled(t, f)
		if diff := cmp.Diff(m, Measure(other, Build(other), MeasureOptions{})); diff != "" {
			t.Fatal(diff)
		}
		stats := Stats(f, g)
		people := 0
		for _, c := range m.Chains {
			people += c.People
		}
		if people != int(stats.GetPersons()) || m.Seeds.Seeds != int(stats.GetSeeds()) || m.Seeds.Sterile != int(stats.GetSterileSeeds()) ||
			m.Seeds.OtherRoots != int(stats.GetOtherRoots()) || m.SeveralRecruiters != int(stats.GetSeveralRecruiters()) {
			t.Fatalf("%+v\n%v", m, stats)
		}
		for _, y := range m.ByMode {
			if y.Referrals != y.Interviewed+y.Refused+y.NotReached+y.Ineligible+y.Pending+y.Other || y.Rate() > 1 {
				t.Fatalf("%+v", y)
			}
		}
		if c := m.Coupons; c.Outstanding+c.Redeemed != c.Issued || c.ReturnRate() > 1 {
			t.Fatalf("%+v", c)
		}
		s := SampleOf(f, g)
		if diff := cmp.Diff(s, SampleOf(other, Build(other))); diff != "" {
			t.Fatal(diff)
		}
		if len(s.IDs) != int(stats.GetInterviewed()) {
			t.Fatalf("%d in the sample, %d interviewed", len(s.IDs), stats.GetInterviewed())
		}
		if len(Strobe(f, g, s, m, nil)) < 10 {
			t.Fatal("the table lacks rows")
		}
	})
}

func TestStrobe(t *testing.T) {
	f := fieldStudy(t)
	g := Build(f)
	s := SampleOf(f, g, Values{Name: "work", Of: map[string]string{"a": "x", "b": "y", "c": "x", "late": "y"}})
	estimates, err := s.Estimates(Options{Draws: 20})
	if err != nil {
		t.Fatal(err)
	}
	rows := Strobe(f, g, s, Measure(f, g, MeasureOptions{}), estimates)
	var all []string
	for _, r := range rows {
		if r.Item == "" || r.Topic.GetEn() == "" || r.Topic.GetZh() == "" || r.Value.GetEn() == "" || r.Value.GetZh() == "" {
			t.Errorf("a row is not whole: %v", r)
		}
		if strings.Contains(r.Value.GetEn()+r.Value.GetZh(), "%!") {
			t.Errorf("a badly written row: %v", r)
		}
		all = append(all, r.Item+" "+r.Topic.GetEn()+": "+r.Value.GetEn())
	}
	text := strings.Join(all, "\n")
	for _, want := range []string{
		"6a Seeds at the start and added later: 3 seeds: 2 at the start, 1 added later", "6b Coupons per respondent: 4 coupons to 2 people, at most 3 each",
		"您认识多少人？ (1 answers)", "4 issued, 2 came back (50 %)", "6 referrals: 5 interviewed, 1 refused", "16 work, rds_ii: x ",
		"8 How the link between recruiter and recruit was known: referrals by mode: coupon 3, named 1, unspecified 2",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the table lacks %q:\n%s", want, text)
		}
	}
}
