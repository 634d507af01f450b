package server

import (
	"strings"
	"testing"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// Every format comes from a running server, the graph without the decisions and as it was before them too, and estimates with
// what they take for granted.
func TestReferralOutput(t *testing.T) {
	eachStore(t, func(t *testing.T, d *desk) {
		ctx, client, link := with(t.Context()), servicev1.NewReferralServiceClient(d.conn), servicev1.NewLinkageServiceClient(d.conn)
		tb := newTablet("referral output")
		tb.greet(t, d)
		a, b := twice(7)
		for _, iv := range []*surveyv1.Interview{a, b} {
			iv.Recruitment = &surveyv1.Recruitment{Mode: surveyv1.RecruitmentMode_RECRUITMENT_MODE_SEED.Enum(), Seed: proto.Bool(true)}
			iv.Result = surveyv1.ResultCode_RESULT_CODE_COMPLETE.Enum()
		}
		tb.push(t, d, tb.record(t, a, nil), tb.record(t, b, nil))
		persons := func(req *servicev1.GetReferralStatsRequest) int64 {
			t.Helper()
			resp, err := client.GetReferralStats(ctx, req)
			if err != nil {
				t.Fatal(err)
			}
			return resp.GetStats().GetPersons()
		}
		before := persons(&servicev1.GetReferralStatsRequest{})
		time.Sleep(5 * time.Millisecond) // the times of records are whole milliseconds
		then := time.Now().UnixMilli()
		time.Sleep(5 * time.Millisecond)
		if _, err := link.Decide(ctx, &servicev1.DecideRequest{Decision: &servicev1.LinkDecision{
			Kind: servicev1.DecisionKind_DECISION_KIND_LINK.Enum(), AId: a.InterviewKey, BId: b.InterviewKey,
		}}); err != nil {
			t.Fatal(err)
		}
		now, unmerged := persons(&servicev1.GetReferralStatsRequest{}), persons(&servicev1.GetReferralStatsRequest{Unmerged: proto.Bool(true)})
		if now != before-1 || unmerged != before {
			t.Errorf("%d persons before the merge, %d after, %d unmerged", before, now, unmerged)
		}
		if _, ok := d.store.(*memory); !ok { // that one keeps no times of arrival
			if was := persons(&servicev1.GetReferralStatsRequest{AsOfTimeMs: &then}); was != before {
				t.Errorf("%d persons as it was, want %d", was, before)
			}
		}
		n := 0
		for number, name := range servicev1.GraphFormat_name {
			format := servicev1.GraphFormat(number)
			if format == servicev1.GraphFormat_GRAPH_FORMAT_UNSPECIFIED {
				continue
			}
			n++
			resp, err := client.GetReferralGraph(ctx, &servicev1.GetReferralGraphRequest{Format: &format, Outcomes: []string{"sex"}, Language: proto.String("zh")})
			if err != nil || resp.GetMediaType() == "" || len(resp.GetContent()) == 0 {
				t.Errorf("%s: %q, %v", name, resp.GetMediaType(), err)
			}
			if strings.Contains(string(resp.GetContent()), "欧阳建国") {
				t.Errorf("%s holds a name that was not asked for", name)
			}
		}
		if n < 20 {
			t.Errorf("only %d formats", n)
		}
		stats, err := client.GetReferralStats(ctx, &servicev1.GetReferralStatsRequest{Outcomes: []string{"sex"}, Population: proto.Float64(1000)})
		if err != nil || len(stats.GetReport()) == 0 || len(stats.GetEstimates()) != 4 || len(stats.GetEstimates()[0].GetAssumptions()) == 0 {
			t.Errorf("stats: %d rows, %d estimates, %v", len(stats.GetReport()), len(stats.GetEstimates()), err)
		}
		for _, req := range []*servicev1.GetReferralStatsRequest{
			{}, {Unmerged: proto.Bool(true)}, {Outcomes: []string{"sex", "age_group"}, Population: proto.Float64(1000)},
		} {
			whole, err := client.GetReferralStats(ctx, req)
			if err != nil {
				t.Fatal(err)
			}
			req.CountsOnly = proto.Bool(true)
			counts, err := client.GetReferralStats(ctx, req)
			whole.Report = nil
			if err != nil || !proto.Equal(whole, counts) {
				t.Errorf("counts only: %v, %v, want %v", counts, err, whole)
			}
		}
		for _, bad := range []*servicev1.GetReferralStatsRequest{
			{Study: proto.String("lhasa"), CountsOnly: proto.Bool(true)}, {Outcomes: []string{"shoe_size"}, CountsOnly: proto.Bool(true)},
		} {
			if _, err := client.GetReferralStats(ctx, bad); err == nil {
				t.Errorf("%v is answered", bad)
			}
		}
		for _, bad := range []*servicev1.GetReferralStatsRequest{
			{Outcomes: []string{"shoe_size"}}, {Draws: proto.Uint32(1 << 30)}, {Outcomes: []string{"sex"}, Population: proto.Float64(0.5)},
		} {
			_, err := client.GetReferralStats(ctx, bad)
			wants(t, err, codes.InvalidArgument, fault.BadRequest)
		}
	})
}
