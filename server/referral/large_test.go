package referral

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// largeStudy is a sample of n persons, one in a hundred a seed, by coupons, each recruited by somebody before.
func largeStudy(n int) Facts {
	random := rand.New(rand.NewPCG(1, 2))
	person := func(i int) *string {
		return proto.String(fmt.Sprintf("%08x-0000-4000-8000-%012x", uint32(i)*2654435761, i))
	}
	var f Facts
	for i := range n {
		id, interview, at := person(i), proto.String(fmt.Sprintf("interview-%d", i)), proto.Int64(int64(i)*1000+1)
		f.Interviews = append(f.Interviews, &servicev1.InterviewSummary{
			InterviewId: interview, InterviewKey: proto.String(fmt.Sprintf("GY-%d", i)), RespondentId: id, StartTimeMs: at,
			Result: surveyv1.ResultCode_RESULT_CODE_COMPLETE.Enum(),
		})
		f.People = append(f.People, &servicev1.PersonRecord{
			PersonId: id, InterviewId: interview, InterviewTimeMs: at, Interviewed: proto.Bool(true),
			Presence: surveyv1.PresenceRole_PRESENCE_ROLE_RESPONDENT.Enum(),
		})
		f.Recruitments = append(f.Recruitments, &servicev1.RecruitmentRecord{
			InterviewId: interview, PersonId: id, Seed: proto.Bool(i%100 == 0), CouponsGiven: []string{fmt.Sprint("K", i)},
		})
		if i%100 == 0 {
			continue
		}
		from := max(0, i-1-random.IntN(200))
		r := &servicev1.ReferralRecord{
			ReferralId: proto.String(fmt.Sprintf("referral-%d", i)), InterviewId: interview, ToPersonId: id, ToldByRecruit: proto.Bool(true),
			FromPersonId: person(from), Mode: surveyv1.ReferralMode_REFERRAL_MODE_NAMED.Enum(),
		}
		if i%2 == 0 {
			r.FromPersonId, r.CouponCode = nil, proto.String(fmt.Sprint("K", i-1))
		}
		f.Referrals = append(f.Referrals, r)
	}
	return f
}

// chainTable is a chain of n persons, and fanTable one recruiter of n others.
func chainTable(n int) Facts {
	t := Table{Header: []string{"id", "by"}, Rows: [][]string{{"1", ""}}}
	for i := 2; i <= n; i++ {
		t.Rows = append(t.Rows, []string{fmt.Sprint(i), fmt.Sprint(i - 1)})
	}
	f, _, _ := FromTable(t, Columns{ID: "id", Recruiter: "by"})
	return f
}

func fanTable(n int) Facts {
	t := Table{Header: []string{"id", "by"}, Rows: [][]string{{"0", ""}}}
	for i := range n {
		t.Rows = append(t.Rows, []string{fmt.Sprint(i + 1), "0"})
	}
	f, _, _ := FromTable(t, Columns{ID: "id", Recruiter: "by"})
	return f
}

// TestExtremeShapes builds and draws a chain of 10,000, a recruiter of 10,000 and a circle of 10,000.
func TestExtremeShapes(t *testing.T) {
	const n = 10_000
	circle := chainTable(n)
	circle.Recruitments[0].Seed = nil
	circle.Referrals = append(circle.Referrals, &servicev1.ReferralRecord{
		ReferralId: proto.String("row:closing"), FromPersonId: proto.String(fmt.Sprint(n)), ToPersonId: proto.String("1"), ToldByRecruit: proto.Bool(true),
	})
	for _, tc := range []struct {
		name                       string
		facts                      Facts
		persons, maxWave, recruits int64
	}{
		{"chain", chainTable(n), n, n - 1, 1},
		{"fan", fanTable(n), n + 1, 1, n},
		{"circle", circle, n, n - 1, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := Build(tc.facts)
			s := Stats(tc.facts, g)
			if s.GetPersons() != tc.persons || s.GetMaxWave() != tc.maxWave || int64(len(s.GetPersonsByRecruits())-1) != tc.recruits {
				t.Errorf("got %d persons, max wave %d, most recruits %d; want %d, %d, %d", s.GetPersons(), s.GetMaxWave(),
					len(s.GetPersonsByRecruits())-1, tc.persons, tc.maxWave, tc.recruits)
			}
			checkXML(t, svgOf(t, g, SVGOptions{}))
		})
	}
}

// TestFiveThousand draws a sample of 5,000 and wants every node in the picture.
func TestFiveThousand(t *testing.T) {
	const n = 5_000
	g := Build(largeStudy(n))
	svg := svgOf(t, g, SVGOptions{})
	checkXML(t, svg)
	if got := bytes.Count(svg, []byte("data-id=")); got != n {
		t.Errorf("the picture has %d nodes, want %d", got, n)
	}
	if strings.Contains(string(svg), "NaN") {
		t.Error("a node has no place")
	}
}

func BenchmarkBuild100k(b *testing.B) {
	f := largeStudy(100_000)
	b.ReportAllocs()
	for b.Loop() {
		Build(f)
	}
}

func BenchmarkStats100k(b *testing.B) {
	f := largeStudy(100_000)
	g := Build(f)
	for b.Loop() {
		Stats(f, g)
	}
}

func BenchmarkSVG5000(b *testing.B) {
	g := Build(largeStudy(5_000))
	for b.Loop() {
		if err := WriteSVG(io.Discard, g, SVGOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
