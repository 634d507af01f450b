package referral

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// study makes facts in few words. The time of an interview is its number.
type study struct{ Facts }

// interviewed adds an interview of a person at a time; the recruitment comes without a mark.
func (s *study) interviewed(person string, at int64) *servicev1.RecruitmentRecord {
	id := fmt.Sprintf("interview-%s-%d", person, at)
	s.Interviews = append(s.Interviews, &servicev1.InterviewSummary{
		InterviewId: proto.String(id), InterviewKey: proto.String("GY-" + person), StartTimeMs: proto.Int64(at),
		RespondentId: proto.String(person), Result: surveyv1.ResultCode_RESULT_CODE_COMPLETE.Enum(),
	})
	s.People = append(s.People, &servicev1.PersonRecord{
		PersonId: proto.String(person), InterviewId: proto.String(id), InterviewKey: proto.String("GY-" + person),
		InterviewTimeMs: proto.Int64(at), Interviewed: proto.Bool(true), Role: surveyv1.PersonRole_PERSON_ROLE_PARENT.Enum(),
		Presence: surveyv1.PresenceRole_PRESENCE_ROLE_RESPONDENT.Enum(),
	})
	r := &servicev1.RecruitmentRecord{InterviewId: proto.String(id), PersonId: proto.String(person)}
	s.Recruitments = append(s.Recruitments, r)
	return r
}

// seed adds an interview of a seed.
func (s *study) seed(person string, at int64) *servicev1.RecruitmentRecord {
	r := s.interviewed(person, at)
	r.Seed = proto.Bool(true)
	return r
}

// told adds a referral that the recruit told in the interview held at a time.
func (s *study) told(id, from, to string, at int64) *servicev1.ReferralRecord {
	r := &servicev1.ReferralRecord{
		ReferralId: proto.String(id), InterviewId: proto.String(fmt.Sprintf("interview-%s-%d", to, at)),
		ToPersonId: proto.String(to), ToldByRecruit: proto.Bool(true),
	}
	if from != "" {
		r.FromPersonId = proto.String(from)
	}
	s.Referrals = append(s.Referrals, r)
	return r
}

// named adds a person who was only named.
func (s *study) named(person string) {
	s.People = append(s.People, &servicev1.PersonRecord{PersonId: proto.String(person), Interviewed: proto.Bool(false)})
}

// coupon makes a referral one by coupon.
func coupon(r *servicev1.ReferralRecord, code string) {
	r.CouponCode = proto.String(code)
	r.Mode = surveyv1.ReferralMode_REFERRAL_MODE_COUPON.Enum()
}

// edgeLines shows edges in few words: "r1 a>b resolved primary".
func edgeLines(g *servicev1.ReferralGraph) []string {
	var out []string
	for _, e := range g.GetEdges() {
		s := fmt.Sprintf("%s %s>%s %s", e.GetReferralId(), e.GetFromId(), e.GetToId(), StateName(e.GetState()))
		if e.GetPrimary() {
			s += " primary"
		}
		out = append(out, s)
	}
	return out
}

// nodeLines shows nodes in few words: "a seed wave 0".
func nodeLines(g *servicev1.ReferralGraph) []string {
	var out []string
	for _, n := range g.GetNodes() {
		s := n.GetPersonId()
		if n.GetSeed() {
			s += " seed"
		}
		if !n.GetInterviewed() {
			s += " not interviewed"
		}
		out = append(out, fmt.Sprintf("%s wave %d root %s", s, n.GetWave(), n.GetRootId()))
	}
	return out
}

// buildCases are what can be in the facts, and what becomes of it.
var buildCases = []struct {
	name  string
	facts func(s *study)
	nodes []string
	edges []string
}{
	{"nothing", func(*study) {}, nil, nil},
	{"nil records are passed over", func(s *study) {
		s.Facts = Facts{
			People: []*servicev1.PersonRecord{nil}, Interviews: []*servicev1.InterviewSummary{nil},
			Referrals: []*servicev1.ReferralRecord{nil}, Recruitments: []*servicev1.RecruitmentRecord{nil}, Sites: []*surveyv1.Site{nil},
		}
	}, nil, nil},
	{"who is neither marked nor referred is no seed", func(s *study) { s.interviewed("a", 1) }, []string{"a wave 0 root a"}, nil},
	{"a seed by mode of recruitment", func(s *study) {
		s.interviewed("a", 1).Mode = surveyv1.RecruitmentMode_RECRUITMENT_MODE_SEED.Enum()
	}, []string{"a seed wave 0 root a"}, nil},
	{"a recruiter never interviewed is a root but no seed", func(s *study) {
		s.named("x")
		s.interviewed("a", 1)
		s.told("r1", "x", "a", 1)
	}, []string{"a wave 1 root x", "x not interviewed wave 0 root x"}, []string{"r1 x>a resolved primary"}},
	{"a recruiter of whom no record has come", func(s *study) {
		s.interviewed("a", 1)
		s.told("r1", "x", "a", 1)
	}, []string{"a wave 1 root x", "x not interviewed wave 0 root x"}, []string{"r1 x>a unresolved primary"}},
	{"one who was named and not reached", func(s *study) {
		s.seed("a", 1)
		s.named("x")
		s.Referrals = append(s.Referrals, &servicev1.ReferralRecord{
			ReferralId: proto.String("r1"), InterviewId: proto.String("interview-a-1"), ToPersonId: proto.String("x"),
			FromPersonId: proto.String("a"), ToldByRecruit: proto.Bool(false),
		})
	}, []string{"a seed wave 0 root a", "x not interviewed wave 1 root a"}, []string{"r1 a>x resolved primary"}},
	{"a listed member of the household is no node", func(s *study) {
		s.seed("a", 1)
		s.People = append(s.People, &servicev1.PersonRecord{PersonId: proto.String("child"), InterviewId: proto.String("interview-a-1")})
	}, []string{"a seed wave 0 root a"}, nil},
	{"an introducer who was present did not refer", func(s *study) {
		s.seed("a", 1)
		s.People = append(s.People, &servicev1.PersonRecord{
			PersonId: proto.String("x"), InterviewId: proto.String("interview-a-1"), Interviewed: proto.Bool(false),
			Presence: surveyv1.PresenceRole_PRESENCE_ROLE_INTRODUCER.Enum(),
		})
	}, []string{"a seed wave 0 root a"}, nil},
	{"respondents of a group interview are nodes", func(s *study) {
		s.seed("a", 1)
		s.People = append(s.People, &servicev1.PersonRecord{
			PersonId: proto.String("b"), InterviewId: proto.String("interview-a-1"),
			Presence: surveyv1.PresenceRole_PRESENCE_ROLE_CO_RESPONDENT.Enum(),
		})
	}, []string{"a seed wave 0 root a", "b wave 0 root b"}, nil},
	{"an expert interviewed twice is one node of one wave", func(s *study) {
		s.seed("a", 1)
		s.interviewed("b", 2)
		s.told("r1", "a", "b", 2)
		s.interviewed("b", 9)
	}, []string{"a seed wave 0 root a", "b wave 1 root a"}, []string{"r1 a>b resolved primary"}},
	{"an institution that referred is a node", func(s *study) {
		s.Sites = []*surveyv1.Site{{SiteId: proto.String("school-c")}}
		s.interviewed("a", 1)
		s.told("r1", "", "a", 1).FromSiteId = proto.String("school-c")
	}, []string{"a wave 1 root site:school-c", "site:school-c not interviewed wave 0 root site:school-c"},
		[]string{"r1 site:school-c>a resolved primary"}},
	{"a refusal is no interview", func(s *study) {
		s.Interviews = []*servicev1.InterviewSummary{{
			InterviewId: proto.String("i"), RespondentId: proto.String("a"), Result: surveyv1.ResultCode_RESULT_CODE_REFUSAL.Enum(),
		}}
	}, []string{"a not interviewed wave 0 root a"}, nil},
	{"drawn at random, though somebody had named him", func(s *study) {
		s.seed("a", 1)
		s.interviewed("b", 2).Mode = surveyv1.RecruitmentMode_RECRUITMENT_MODE_RANDOM_AT_SITE.Enum()
		s.Referrals = append(s.Referrals, &servicev1.ReferralRecord{
			ReferralId: proto.String("r1"), InterviewId: proto.String("interview-a-1"), FromPersonId: proto.String("a"),
			ToPersonId: proto.String("b"),
		})
	}, []string{"a seed wave 0 root a", "b wave 0 root b"}, []string{"r1 a>b resolved"}},
	{"a referral that came twice is one edge", func(s *study) {
		s.seed("a", 1)
		s.interviewed("b", 2)
		s.told("r1", "a", "b", 2)
		s.told("r1", "a", "b", 2)
	}, []string{"a seed wave 0 root a", "b wave 1 root a"}, []string{"r1 a>b resolved primary"}},
	{"the ends default to the respondent", func(s *study) {
		s.seed("a", 1)
		s.interviewed("b", 2)
		s.told("r1", "a", "b", 2).ToPersonId = nil
	}, []string{"a seed wave 0 root a", "b wave 1 root a"}, []string{"r1 a>b resolved primary"}},
}

// TestBuild names what can be in the facts.
func TestBuild(t *testing.T) {
	for _, tc := range buildCases {
		t.Run(tc.name, func(t *testing.T) {
			var s study
			tc.facts(&s)
			g := Build(s.Facts)
			if diff := cmp.Diff(tc.nodes, nodeLines(g)); diff != "" {
				t.Errorf("nodes (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.edges, edgeLines(g)); diff != "" {
				t.Errorf("edges (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCoupons names every fate of a coupon. Seeds a and b are interviewed at 1 and 2, the recruits c and d at 5 and 6.
func TestCoupons(t *testing.T) {
	for _, tc := range []struct {
		name   string
		givenA []string
		givenB []string
		facts  func(s *study)
		want   []string
	}{
		{"given and handed in", []string{"K1"}, nil, func(s *study) { coupon(s.told("r1", "", "c", 5), " k1") },
			[]string{"r1 a>c resolved primary"}},
		{"never issued", nil, nil, func(s *study) { coupon(s.told("r1", "", "c", 5), "K1") }, []string{"r1 >c unresolved"}},
		{"never issued, but the recruiter is named", nil, nil, func(s *study) { coupon(s.told("r1", "b", "c", 5), "K1") },
			[]string{"r1 b>c unresolved primary"}},
		{"issued by two", []string{"K1"}, []string{"K1"}, func(s *study) { coupon(s.told("r1", "", "c", 5), "K1") },
			[]string{"r1 >c unresolved"}},
		{"issued by two, who are one", []string{"K1"}, []string{"K1"}, func(s *study) {
			coupon(s.told("r1", "", "c", 5), "K1")
			s.Merged = map[string]string{"b": "a"}
		}, []string{"r1 a>c resolved primary"}},
		{"issued by two, one of them named", []string{"K1"}, []string{"K1"}, func(s *study) { coupon(s.told("r1", "b", "c", 5), "K1") },
			[]string{"r1 b>c resolved primary"}},
		{"given to another than the one named", []string{"K1"}, nil, func(s *study) { coupon(s.told("r1", "b", "c", 5), "K1") },
			[]string{"r1 b>c unresolved"}},
		{"used twice", []string{"K1"}, nil, func(s *study) {
			coupon(s.told("r2", "", "c", 5), "K1")
			coupon(s.told("r1", "", "d", 6), "K1")
		}, []string{"r1 a>d reused", "r2 a>c resolved primary"}},
		{"used twice by one person", []string{"K1"}, nil, func(s *study) {
			coupon(s.told("r1", "", "c", 5), "K1")
			coupon(s.told("r2", "", "d", 6), "K1")
			s.Merged = map[string]string{"d": "c"}
		}, []string{"r1 a>c resolved primary", "r2 a>c resolved"}},
		{"never issued and used twice", nil, nil, func(s *study) {
			coupon(s.told("r1", "", "c", 5), "K1")
			coupon(s.told("r2", "", "d", 6), "K1")
		}, []string{"r1 >c unresolved", "r2 >d reused"}},
		{"his own", nil, nil, func(s *study) {
			s.Recruitments[2].CouponsGiven = []string{"K1"}
			coupon(s.told("r1", "", "c", 5), "K1")
		}, []string{"r1 c>c self"}},
		{"the recruiter told to whom he gave it", nil, nil, func(s *study) {
			r := s.told("r1", "a", "d", 1)
			r.InterviewId, r.ToldByRecruit = proto.String("interview-a-1"), proto.Bool(false)
			coupon(r, "K1")
			coupon(s.told("r2", "", "c", 5), "K1")
		}, []string{"r1 a>d resolved primary", "r2 a>c resolved primary"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var s study
			s.seed("a", 1).CouponsGiven = tc.givenA
			s.seed("b", 2).CouponsGiven = tc.givenB
			s.interviewed("c", 5)
			s.interviewed("d", 6)
			tc.facts(&s)
			g := Build(s.Facts)
			if diff := cmp.Diff(tc.want, edgeLines(g)); diff != "" {
				t.Errorf("edges (-want +got):\n%s", diff)
			}
			for _, n := range g.GetNodes() {
				if id := n.GetPersonId(); n.GetSeed() != (id == "a" || id == "b") {
					t.Errorf("%s: got seed %v", id, n.GetSeed())
				}
			}
		})
	}
}

// TestPrimary follows the order in which referrals of one person count. Seeds a and b are interviewed at 1 and 2, the
// recruit c at 5 and again at 8, both seeds know a coupon.
func TestPrimary(t *testing.T) {
	for _, tc := range []struct {
		name  string
		facts func(s *study)
		want  []string
	}{
		{"the main one", func(s *study) {
			coupon(s.told("r1", "a", "c", 5), "A")
			s.told("r2", "b", "c", 5).Main = proto.Bool(true)
		}, []string{"r1 a>c resolved", "r2 b>c resolved primary"}},
		{"else the coupon", func(s *study) {
			s.told("r1", "a", "c", 5).MadeTimeMs = proto.Int64(3)
			coupon(s.told("r2", "", "c", 5), "B")
		}, []string{"r1 a>c resolved", "r2 b>c resolved primary"}},
		{"else the one made first", func(s *study) {
			s.told("r1", "a", "c", 5).MadeTimeMs = proto.Int64(4)
			s.told("r2", "b", "c", 5).MadeTimeMs = proto.Int64(3)
		}, []string{"r1 a>c resolved", "r2 b>c resolved primary"}},
		{"else the smallest id", func(s *study) {
			s.told("r2", "a", "c", 5)
			s.told("r1", "b", "c", 5)
		}, []string{"r1 b>c resolved primary", "r2 a>c resolved"}},
		{"the earlier interview decides", func(s *study) {
			s.told("r1", "a", "c", 8).Main = proto.Bool(true)
			s.told("r2", "b", "c", 5)
		}, []string{"r1 a>c resolved", "r2 b>c resolved primary"}},
		{"made after the recruit was interviewed", func(s *study) {
			s.told("r1", "a", "c", 5).MadeTimeMs = proto.Int64(6)
			s.told("r2", "b", "c", 5)
		}, []string{"r1 a>c time_conflict", "r2 b>c resolved primary"}},
		{"made before the recruiter was interviewed", func(s *study) {
			s.told("r1", "b", "c", 5).MadeTimeMs = proto.Int64(1)
		}, []string{"r1 b>c time_conflict"}},
		{"made at the very time of both interviews", func(s *study) {
			s.told("r1", "a", "c", 5).MadeTimeMs = proto.Int64(5)
			s.told("r2", "b", "c", 5).MadeTimeMs = proto.Int64(2)
		}, []string{"r1 a>c resolved", "r2 b>c resolved primary"}},
		{"himself first: nobody", func(s *study) {
			s.told("r1", "c", "c", 5)
			s.told("r2", "b", "c", 8)
		}, []string{"r1 c>c self", "r2 b>c resolved"}},
		{"marked as a seed: nobody", func(s *study) {
			s.Recruitments[2].Seed = proto.Bool(true)
			s.told("r1", "a", "c", 5)
		}, []string{"r1 a>c resolved"}},
		{"marked as a seed later: too late", func(s *study) {
			s.Recruitments[3].Seed = proto.Bool(true)
			s.told("r1", "a", "c", 5)
		}, []string{"r1 a>c resolved primary"}},
		{"a circle is broken at the later one", func(s *study) {
			s.interviewed("d", 6)
			s.told("r1", "d", "c", 5)
			s.told("r2", "c", "d", 6)
		}, []string{"r1 d>c resolved primary", "r2 c>d cycle_broken"}},
		{"whom the broken circle left without a recruiter gets the next", func(s *study) {
			s.interviewed("d", 6)
			s.told("r1", "d", "c", 5)
			s.told("r2", "c", "d", 6)
			s.told("r3", "b", "d", 6)
		}, []string{"r1 d>c resolved primary", "r2 c>d cycle_broken", "r3 b>d resolved primary"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var s study
			s.seed("a", 1).CouponsGiven = []string{"A"}
			s.seed("b", 2).CouponsGiven = []string{"B"}
			s.interviewed("c", 5)
			s.interviewed("c", 8)
			tc.facts(&s)
			if diff := cmp.Diff(tc.want, edgeLines(Build(s.Facts))); diff != "" {
				t.Errorf("edges (-want +got):\n%s", diff)
			}
		})
	}
}

// TestMergedNode takes the id of the earliest record, and keeps what the first interview says.
func TestMergedNode(t *testing.T) {
	var s study
	s.interviewed("z", 3).NetworkSize = proto.Int32(0)
	s.interviewed("y", 2)
	s.interviewed("x", 7).NetworkSize = proto.Int32(9)
	s.Merged = map[string]string{"x": "q", "z": "q", "y": "x"}
	g := Build(s.Facts)
	want := []string{"y wave 0 root y"}
	if diff := cmp.Diff(want, nodeLines(g)); diff != "" {
		t.Fatalf("nodes (-want +got):\n%s", diff)
	}
	n := g.GetNodes()[0]
	if diff := cmp.Diff([]string{"x", "z"}, n.GetMergedIds()); diff != "" {
		t.Errorf("merged ids (-want +got):\n%s", diff)
	}
	if n.GetInterviewKey() != "GY-y" || n.NetworkSize == nil || n.GetNetworkSize() != 0 || n.GetRole() != "parent" {
		t.Errorf("got key %q, network size %v, role %q", n.GetInterviewKey(), n.NetworkSize, n.GetRole())
	}
}

// TestStats counts one small study.
func TestStats(t *testing.T) {
	s := villageStudy()
	got := Stats(s.Facts, Build(s.Facts))
	want := &servicev1.ReferralStats{
		Persons: proto.Int64(10), Interviewed: proto.Int64(9), Seeds: proto.Int64(2), SterileSeeds: proto.Int64(1),
		OtherRoots: proto.Int64(4), Edges: proto.Int64(9), PrimaryEdges: proto.Int64(5), MaxWave: proto.Int64(3),
		RecruitsPerWave: []int64{5, 3, 1, 1}, PersonsByRecruits: []int64{7, 2, 1},
		EdgesByState:  map[string]int64{"resolved": 6, "unresolved": 1, "reused": 1, "self": 1},
		EdgesByMode:   map[string]int64{"coupon": 1, "named": 2, "institution": 1, "unspecified": 1},
		SelfReferrals: proto.Int64(1), SeveralRecruiters: proto.Int64(1), WithIntroducerPresent: proto.Int64(1), GroupInterviews: proto.Int64(1),
	}
	got.Chains = nil
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("stats (-want +got):\n%s", diff)
	}
}

// villageStudy is a small study with one of everything.
func villageStudy() *study {
	var s study
	s.Sites = []*surveyv1.Site{{SiteId: proto.String("学校-C"), Kind: surveyv1.SiteKind_SITE_KIND_SCHOOL.Enum()}}
	s.seed("19", 1).CouponsGiven = []string{"K1", "K2"}
	s.seed("20", 2)
	s.interviewed("21", 5).NetworkSize = proto.Int32(12)
	coupon(s.told("r1", "", "21", 5), "K1")
	s.interviewed("22", 6)
	named(s.told("r2", "19", "22", 6), surveyv1.ReferralRelation_REFERRAL_RELATION_KIN)
	s.interviewed("23", 7)
	named(s.told("r3", "21", "23", 7), surveyv1.ReferralRelation_REFERRAL_RELATION_FELLOW_VILLAGER)
	s.told("r4", "22", "23", 7)
	s.interviewed("24", 8)
	s.told("r5", "", "24", 8).FromSiteId = proto.String("学校-C")
	s.Referrals[4].Mode = surveyv1.ReferralMode_REFERRAL_MODE_INSTITUTION.Enum()
	s.named("村长<&>")
	s.interviewed("25", 9)
	coupon(s.told("r6", "", "25", 9), "K9")
	s.interviewed("26", 10)
	coupon(s.told("r7", "", "26", 10), "K1")
	s.interviewed("27", 11)
	s.told("r8", "27", "27", 11)
	s.told("r9", "23", "村长<&>", 11).ToldByRecruit = nil
	s.Referrals[8].InterviewId = proto.String("interview-23-7")
	s.Interviews[0].IntroducerPresent = surveyv1.YesNo_YES_NO_YES.Enum()
	s.Interviews[1].Kind = surveyv1.InterviewKind_INTERVIEW_KIND_GROUP.Enum()
	return &s
}

func named(r *servicev1.ReferralRecord, relation surveyv1.ReferralRelation) {
	r.Mode = surveyv1.ReferralMode_REFERRAL_MODE_NAMED.Enum()
	r.Relation = relation.Enum()
}
