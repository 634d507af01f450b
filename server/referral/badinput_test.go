package referral

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/protobuf/proto"
)

// scheme makes a code of a device.
func scheme(t *testing.T, device, counter int) string {
	t.Helper()
	code, err := MakeCoupon(CouponCode{Device: device, Counter: counter})
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// given says that an interview gave out a coupon, in the log's words.
func given(interview, code string, at int64) *servicev1.CouponEvent {
	return &servicev1.CouponEvent{
		Code: &code, Kind: servicev1.CouponEventKind_COUPON_EVENT_KIND_ISSUED.Enum(), InterviewId: &interview, TimeMs: &at,
	}
}

// TestBadInputHasAState has a case for every kind of bad input that other programs repair, refuse or pass over in silence. Each
// gets a state that is named, and nobody becomes a seed by it.
func TestBadInputHasAState(t *testing.T) {
	for _, tc := range []struct {
		name  string
		facts func(*testing.T, *study)
		want  []string // edges
		seeds []string
	}{
		{"unknown coupon: its issuer may still come", func(t *testing.T, s *study) {
			s.interviewed("b", 2)
			coupon(s.told("r1", "", "b", 2), scheme(t, 3, 5))
		}, []string{"r1 >b unresolved"}, nil},
		{"coupon never issued", func(t *testing.T, s *study) {
			s.seed("a", 1)
			s.interviewed("b", 2)
			coupon(s.told("r1", "", "b", 2), scheme(t, 3, 1))
			s.Coupons = append(s.Coupons, given("interview-a-1", scheme(t, 3, 0), 1), given("interview-a-1", scheme(t, 3, 2), 1))
		}, []string{"r1 >b never_issued"}, []string{"a"}},
		{"coupon issued by A and B", func(t *testing.T, s *study) {
			s.seed("a", 1)
			s.seed("b", 2)
			s.interviewed("c", 3)
			coupon(s.told("r1", "", "c", 3), scheme(t, 3, 0))
			s.Coupons = append(s.Coupons, given("interview-b-2", scheme(t, 3, 0), 2), given("interview-a-1", scheme(t, 3, 0), 1))
		}, []string{"r1 >c unresolved"}, []string{"a", "b"}},
		{"coupon redeemed by two people", func(t *testing.T, s *study) {
			s.seed("a", 1).CouponsGiven = []string{scheme(t, 3, 0)}
			s.interviewed("b", 2)
			s.interviewed("c", 3)
			coupon(s.told("r2", "", "c", 3), scheme(t, 3, 0))
			coupon(s.told("r1", "", "b", 2), scheme(t, 3, 0))
		}, []string{"r1 a>b resolved primary", "r2 a>c reused"}, []string{"a"}},
		{"a seed and a two-cycle", func(_ *testing.T, s *study) {
			s.seed("s", 1)
			s.interviewed("a", 2)
			s.interviewed("b", 3)
			s.told("r1", "b", "a", 2)
			s.told("r2", "a", "b", 3)
		}, []string{"r1 b>a resolved primary", "r2 a>b cycle_broken"}, []string{"s"}},
		{"recruiter not interviewed", func(_ *testing.T, s *study) {
			s.named("x")
			s.interviewed("a", 1)
			s.told("r1", "x", "a", 1)
		}, []string{"r1 x>a resolved primary"}, nil},
		{"two referrers", func(_ *testing.T, s *study) {
			s.seed("a", 1)
			s.seed("b", 2)
			s.interviewed("c", 3)
			s.told("r1", "a", "c", 3).Main = proto.Bool(true)
			s.told("r2", "b", "c", 3)
		}, []string{"r1 a>c resolved primary", "r2 b>c resolved"}, []string{"a", "b"}},
		{"two seeds marked by two codes", func(_ *testing.T, s *study) {
			s.seed("a", 1)
			s.seed("b", 1)
		}, nil, []string{"a", "b"}},
		{"self recruit", func(_ *testing.T, s *study) {
			s.interviewed("a", 1)
			s.told("r1", "a", "a", 1)
		}, []string{"r1 a>a self"}, nil},
		{"missing recruiter", func(_ *testing.T, s *study) {
			s.interviewed("a", 1)
			s.told("r1", "", "a", 1)
		}, []string{"r1 >a unresolved"}, nil},
		{"recruit interviewed before the referral was made", func(_ *testing.T, s *study) {
			s.interviewed("b", 2)
			s.seed("a", 5)
			s.told("r1", "a", "b", 2).MadeTimeMs = proto.Int64(5)
		}, []string{"r1 a>b time_conflict"}, []string{"a"}},
		{"a recruiter of whom nothing has come", func(_ *testing.T, s *study) {
			s.interviewed("b", 2)
			s.told("r1", "gone", "b", 2)
		}, []string{"r1 gone>b unresolved primary"}, nil},
		{"degree 0 and missing stay what they are", func(_ *testing.T, s *study) {
			s.seed("a", 1).NetworkSize = proto.Int32(0)
			s.seed("b", 2)
		}, nil, []string{"a", "b"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var s study
			tc.facts(t, &s)
			g := Build(s.Facts)
			if diff := cmp.Diff(tc.want, edgeLines(g)); diff != "" {
				t.Errorf("edges (-want +got):\n%s", diff)
			}
			var seeds []string
			for _, n := range g.GetNodes() {
				if n.GetSeed() {
					seeds = append(seeds, n.GetPersonId())
				}
				switch n.GetPersonId() {
				case "a":
					if strings.HasPrefix(tc.name, "degree") && (n.NetworkSize == nil || n.GetNetworkSize() != 0) {
						t.Errorf("a size of 0 became %v", n.NetworkSize)
					}
				case "b":
					if n.NetworkSize != nil {
						t.Errorf("no size became %v", *n.NetworkSize)
					}
				}
			}
			if diff := cmp.Diff(tc.seeds, seeds); diff != "" {
				t.Errorf("seeds (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCouponAudit follows seven coupons of two tablets through everything that can become of them.
func TestCouponAudit(t *testing.T) {
	var s study
	s.seed("a", 1)
	s.seed("b", 2)
	s.Interviews[0].SiteId, s.Interviews[1].SiteId = proto.String("market"), proto.String("school")
	s.interviewed("c", 30)
	coupon(s.told("r1", "", "c", 30), scheme(t, 1, 0))
	coupon(s.told("r2", "", "c", 30), scheme(t, 2, 1)) // never given out: the next one was
	s.Interviews[2].Result = surveyv1.ResultCode_RESULT_CODE_COMPLETE.Enum()
	event := func(code string, kind servicev1.CouponEventKind, at int64) {
		s.Coupons = append(s.Coupons, &servicev1.CouponEvent{Code: &code, Kind: &kind, TimeMs: &at})
	}
	for counter, expires := range []int64{0, 0, 20, 40} {
		ev := given("interview-a-1", scheme(t, 1, counter), 1)
		if expires > 0 {
			ev.ExpiresTimeMs = &expires
		}
		s.Coupons = append(s.Coupons, ev)
	}
	s.Coupons = append(s.Coupons, given("interview-b-2", scheme(t, 2, 0), 2), given("interview-b-2", scheme(t, 2, 2), 2))
	event(scheme(t, 1, 0), servicev1.CouponEventKind_COUPON_EVENT_KIND_REDEEMED, 30)
	event(scheme(t, 1, 0), servicev1.CouponEventKind_COUPON_EVENT_KIND_PAID, 30)
	event(scheme(t, 1, 1), servicev1.CouponEventKind_COUPON_EVENT_KIND_VOIDED, 5)
	event("", servicev1.CouponEventKind_COUPON_EVENT_KIND_VOIDED, 5)
	first, second := CouponCounts{Issued: 4, Redeemed: 1, Voided: 1, Expired: 1, Outstanding: 1, Paid: 1}, CouponCounts{Issued: 2, Outstanding: 2}
	want := CouponMeasures{
		CouponCounts: CouponCounts{Issued: 6, Redeemed: 1, Voided: 1, Expired: 1, Outstanding: 3, Paid: 1}, Holders: 2, MostPerHolder: 4, IssuerUnknown: 1, NeverIssued: 1,
		Tablets: []CouponsOfTablet{{1, first}, {2, second}}, Sites: []CouponsOfSite{{"market", first}, {"school", second}},
	}
	if diff := cmp.Diff(want, Measure(s.Facts, Build(s.Facts), MeasureOptions{}).Coupons); diff != "" {
		t.Errorf("coupons (-want +got):\n%s", diff)
	}
}

// TestStatuses names what is known of people who were not interviewed.
func TestStatuses(t *testing.T) {
	var s study
	s.seed("a", 1)
	refused := func(person string, at int64, r surveyv1.ResultCode) {
		s.interviewed(person, at)
		s.Interviews[len(s.Interviews)-1].Result = r.Enum()
		s.People[len(s.People)-1].Interviewed = proto.Bool(false)
	}
	for i, o := range []surveyv1.ReferralOutcome{
		surveyv1.ReferralOutcome_REFERRAL_OUTCOME_UNSPECIFIED, surveyv1.ReferralOutcome_REFERRAL_OUTCOME_PENDING,
		surveyv1.ReferralOutcome_REFERRAL_OUTCOME_INTERVIEWED, surveyv1.ReferralOutcome_REFERRAL_OUTCOME_REFUSED,
		surveyv1.ReferralOutcome_REFERRAL_OUTCOME_NOT_REACHED, surveyv1.ReferralOutcome_REFERRAL_OUTCOME_INELIGIBLE,
	} {
		to := fmt.Sprintf("n%d", i)
		s.named(to)
		r := s.told(fmt.Sprintf("r%d", i), "a", to, 1)
		r.Outcome, r.ToldByRecruit = o.Enum(), proto.Bool(false)
	}
	refused("v1", 4, surveyv1.ResultCode_RESULT_CODE_LANGUAGE)
	refused("v2", 6, surveyv1.ResultCode_RESULT_CODE_REFUSAL)
	refused("v2", 5, surveyv1.ResultCode_RESULT_CODE_NO_ONE_HOME)
	for i, to := range []string{"v1", "v2"} {
		s.told(fmt.Sprintf("v%d", i), "a", to, 1).ToldByRecruit = proto.Bool(false)
	}
	g := Build(s.Facts)
	MarkStatuses(s.Facts, g)
	got := map[string]string{}
	for _, n := range g.GetNodes() {
		got[n.GetPersonId()] = n.GetStatus()
	}
	want := map[string]string{
		"a": StatusInterviewed, "n0": StatusNamed, "n1": StatusPending, "n2": StatusAwaited, "n3": StatusRefused, "n4": StatusNotReached,
		"n5": StatusIneligible, "v1": StatusUnable, "v2": StatusRefused,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
}

// TestByRound estimates two rounds in which the same people said different things.
func TestByRound(t *testing.T) {
	var s study
	for _, round := range []uint32{1, 2} {
		for i, person := range []string{"a", "b", "c", "d"} {
			if round == 2 && person == "d" {
				continue
			}
			at := int64(round)*100 + int64(i)
			s.interviewed(person, at).Seed = proto.Bool(person == "a")
			s.Interviews[len(s.Interviews)-1].Round = proto.Uint32(round)
			p := s.People[len(s.People)-1]
			p.Round, p.Sex = proto.Uint32(round), surveyv1.Sex_SEX_FEMALE.Enum()
			if round == 2 || person == "b" {
				p.Sex = surveyv1.Sex_SEX_MALE.Enum()
			}
			if person != "a" && round == 1 {
				s.told("r"+person, "a", person, at)
			}
		}
	}
	g := Build(s.Facts)
	rounds, err := ByRound(s.Facts, g, func(f Facts) ([]Values, error) { return Answers(f, []string{"sex"}) })
	if err != nil || len(rounds) != 2 {
		t.Fatalf("%d rounds, %v", len(rounds), err)
	}
	for i, want := range []struct {
		people int
		male   float64
	}{{4, 0.25}, {3, 1}} {
		estimates, err := rounds[i].Estimates(Options{})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(rounds[i].IDs); n != want.people || rounds[i].Recruiter[1] != 0 || rounds[i].Root[2] != 0 || !rounds[i].Seed[0] {
			t.Errorf("round %d: %d people, recruiters %v", rounds[i].Round, n, rounds[i].Recruiter)
		}
		for _, l := range estimates[0].Levels {
			if l.Level == "male" && l.Share != want.male || l.Level == "female" && l.Share != 1-want.male {
				t.Errorf("round %d: %s %v", rounds[i].Round, l.Level, l.Share)
			}
		}
		for _, m := range EstimateMessagesOf(rounds[i].Round, estimates) {
			if m.Round == nil || m.GetRound() != uint32(i+1) {
				t.Errorf("an estimate of round %v, want %d", m.Round, i+1)
			}
		}
	}
}
