package server

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/server/store/sqlite"
	"google.golang.org/protobuf/proto"
)

// referralTeam makes the interviews of a snowball sample as the projector leaves them: one in a thousand a seed, everybody else
// referred by name or by a coupon by somebody interviewed before, and one in nine by a second person.
type referralTeam struct {
	random *rand.Rand
	ids    [][16]byte
	used   []int // coupons of each, of three that every second one gets
}

func (t *referralTeam) uuid() string {
	var id uuid.UUID
	for i := range id {
		id[i] = byte(t.random.Uint32())
	}
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id.String()
}

func (t *referralTeam) interview(i int) *servicev1.InterviewProjection {
	digest := make([]byte, 32)
	for k := range digest {
		digest[k] = byte(t.random.Uint32())
	}
	id := uuid.MustParse(t.uuid())
	t.ids, t.used = append(t.ids, id), append(t.used, 0)
	person, site := proto.String(id.String()), proto.String(fmt.Sprintf("site-%d", i/5000))
	s := &servicev1.InterviewSummary{
		InterviewId: proto.String(t.uuid()), InterviewKey: proto.String(fmt.Sprintf("GY-%d", i)), Study: proto.String("guiyang-2016"), Round: proto.Uint32(1),
		Part: proto.Uint64(uint64(i/5000) * 0x9e3779b97f4a7c15), Questionnaire: proto.String("hearth.survey.v1.MigrationHistory"), QuestionnaireVersion: proto.Uint32(3),
		Enumerator: proto.String(fmt.Sprintf("e%02d", i%40)), SiteId: site, Day: proto.String("2016-07-01"), Result: surveyv1.ResultCode_RESULT_CODE_COMPLETE.Enum(),
		ReviewState: servicev1.ReviewState_REVIEW_STATE_COMPLETED.Enum(), Kind: surveyv1.InterviewKind_INTERVIEW_KIND_INDIVIDUAL.Enum(),
		StartTimeMs: proto.Int64(1_467_000_000_000 + int64(i)*1000), DurationSeconds: proto.Int64(2400), Device: digest[:16], RespondentId: person,
		Head: digest, Heads: [][]byte{digest}, Revisions: proto.Uint32(1), IntroducerPresent: surveyv1.YesNo_YES_NO_NO.Enum(),
	}
	iv := &servicev1.InterviewProjection{Summary: s}
	iv.People = []*servicev1.PersonRecord{{
		PersonId: person, InterviewId: s.InterviewId, InterviewKey: s.InterviewKey, Study: s.Study, Round: s.Round, Part: s.Part, SiteId: s.SiteId,
		Enumerator: s.Enumerator, InterviewTimeMs: s.StartTimeMs, Questionnaire: s.Questionnaire, Role: surveyv1.PersonRole(1).Enum(),
		Presence: surveyv1.PresenceRole_PRESENCE_ROLE_RESPONDENT.Enum(), Sex: surveyv1.Sex(1 + t.random.IntN(2)).Enum(), Interviewed: proto.Bool(true),
		BirthDate: &surveyv1.PartialDate{Year: proto.Int32(1950 + t.random.Int32N(50))}, Identity: &surveyv1.Identity{FullName: proto.String("张" + strconv.Itoa(i))},
	}}
	reached := &servicev1.RecruitmentRecord{
		InterviewId: s.InterviewId, Study: s.Study, Part: s.Part, PersonId: person, Mode: surveyv1.RecruitmentMode_RECRUITMENT_MODE_REFERRED.Enum(),
		NetworkSize: proto.Int32(1 + t.random.Int32N(60)),
	}
	if i%2 == 0 {
		reached.CouponsGiven = []string{fmt.Sprint("K", i, "A"), fmt.Sprint("K", i, "B"), fmt.Sprint("K", i, "C")}
	}
	iv.Recruitment = reached
	if i%1000 == 0 {
		reached.Mode, reached.Seed = surveyv1.RecruitmentMode_RECRUITMENT_MODE_SEED.Enum(), proto.Bool(true)
		return iv
	}
	refer := func(from int) {
		r := &servicev1.ReferralRecord{
			ReferralId: proto.String(t.uuid()), InterviewId: s.InterviewId, Study: s.Study, Part: s.Part, ToPersonId: person, ToldByRecruit: proto.Bool(true),
			Mode: surveyv1.ReferralMode_REFERRAL_MODE_NAMED.Enum(), Main: proto.Bool(len(iv.Referrals) == 0), MadeTimeMs: proto.Int64(s.GetStartTimeMs() - 1),
		}
		if from%2 == 0 && t.used[from] < 3 {
			r.CouponCode, r.Mode = proto.String(fmt.Sprint("K", from, string("ABC"[t.used[from]]))), surveyv1.ReferralMode_REFERRAL_MODE_COUPON.Enum()
			t.used[from]++
		} else {
			r.FromPersonId = proto.String(uuid.UUID(t.ids[from]).String())
		}
		iv.Referrals = append(iv.Referrals, r)
	}
	refer(max(i-i%1000, i-1-t.random.IntN(min(i%1000, 300))))
	if i%9 == 0 {
		refer(t.random.IntN(i))
	}
	return iv
}

// fillReferrals puts the interviews of n people into a store.
func fillReferrals(tb testing.TB, s store.Store, n int) {
	team := &referralTeam{random: rand.New(rand.NewPCG(31, 32))}
	for i := 0; i < n; {
		c := &store.Changes{}
		for ; i < n && len(c.Interviews) < 2000; i++ {
			c.Interviews = append(c.Interviews, team.interview(i))
		}
		if err := s.Apply(tb.Context(), c); err != nil {
			tb.Fatal(err)
		}
	}
}

func processorTime() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// peakMB is the most memory that the process has held, since the mark was taken back, in MB; 0 where the system does not say.
func peakMB() float64 {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmHWM:" {
			kb, _ := strconv.ParseFloat(f[1], 64)
			return kb * 1024 / 1e6
		}
	}
	return 0
}

// BenchmarkReferralsFromStore counts the graph of a store and estimates a variable, from the bytes in SQLite to the end. A million
// people take two minutes to be put there and must be asked for with HEARTH_LARGE.
func BenchmarkReferralsFromStore(b *testing.B) {
	n := 20_000
	if os.Getenv("HEARTH_LARGE") != "" {
		n = 1_000_000
	}
	s, err := sqlite.Open(b.Context(), b.TempDir(), sqlite.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	fillReferrals(b, s, n)
	srv := &Server{store: s}
	runtime.GC()
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
	before, times := processorTime(), 0
	for b.Loop() {
		times++
		countStored(b, srv, n)
	}
	b.ReportMetric(float64((processorTime()-before).Milliseconds())/float64(times), "cpu-ms/op")
	b.ReportMetric(peakMB(), "peak-MB")
}

func countStored(tb testing.TB, srv *Server, n int) {
	got, err := srv.countReferrals(tb.Context(), &servicev1.GetReferralStatsRequest{Study: proto.String("guiyang-2016"), Outcomes: []string{"sex"}})
	if err != nil {
		tb.Fatal(err)
	}
	s := got.GetStats()
	if s.GetPersons() != int64(n) || s.GetSeeds() != int64(n+999)/1000 || s.GetOtherRoots() != 0 || len(got.GetEstimates()) != 3 {
		tb.Fatalf("%d people, %d seeds, %d other roots, %d estimates", s.GetPersons(), s.GetSeeds(), s.GetOtherRoots(), len(got.GetEstimates()))
	}
}
