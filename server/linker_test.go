package server

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/dedup"
	"github.com/hearth-survey/hearth/server/linkage"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

// pairsFound lists the pairs of people that are in the index now, without a search: for as long as it takes, until want says so.
func pairsFound(t *testing.T, d *desk, want func(pairs int) bool) []*servicev1.MatchPair {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		st, err := d.Server.linker.book.State(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var pairs []*servicev1.MatchPair
		if s := st.Studies["guiyang"]; s != nil {
			if pairs, err = d.Server.linker.book.Pairs(ctx, s); err != nil {
				t.Fatal(err)
			}
		}
		if want(len(pairs)) {
			return pairs
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain: there are %d pairs", len(pairs))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Nobody asks, and what came with a sync is compared all the same; what is withdrawn is compared no more.
func TestLinkageKeepsUp(t *testing.T) {
	eachStore(t, func(t *testing.T, d *desk) {
		tb := newTablet("keeps up")
		tb.greet(t, d)
		a, b := twice(7)
		raws := [][]byte{tb.record(t, a, nil)}
		for i := range 30 {
			raws = append(raws, tb.record(t, household(100+i), nil))
		}
		tb.push(t, d, raws...)
		pairsFound(t, d, func(n int) bool { return n == 0 })
		tb.push(t, d, tb.record(t, b, nil))
		pairsFound(t, d, func(n int) bool { return n > 0 })
		_, err := servicev1.NewReviewServiceClient(d.conn).WithdrawInterview(with(t.Context()), &servicev1.WithdrawInterviewRequest{
			InterviewId: b.InterviewId, Reason: proto.String("she does not want to"), DecidedBy: proto.String("S01"),
		})
		if err != nil {
			t.Fatal(err)
		}
		pairsFound(t, d, func(n int) bool { return n == 0 })
	})
}

// A model that another version of the engine has written is learnt again, though nothing has come since.
func TestLinkageOfAnotherEngine(t *testing.T) {
	eachStore(t, func(t *testing.T, d *desk) {
		tb := newTablet("another engine")
		tb.greet(t, d)
		a, b := twice(7)
		raws := [][]byte{tb.record(t, a, nil), tb.record(t, b, nil)}
		for i := range 20 {
			raws = append(raws, tb.record(t, household(100+i), nil))
		}
		tb.push(t, d, raws...)
		before := pairsFound(t, d, func(n int) bool { return n > 0 })
		l := d.Server.linker
		err := l.alone(t.Context(), func(ctx context.Context, _ *linkage.State, _ syncer.Cursor) error {
			entries, err := l.store.IndexScan(ctx, "\x01", "", 0)
			if err != nil {
				return err
			}
			for _, e := range entries {
				if len(e.Key) == 14 && e.Key[9] == 'z' {
					guard := e
					e.Value = []byte("{}")
					l.book = linkage.Open(l.store, dedup.Options{}) // which has not read the model yet
					return l.store.IndexApply(ctx, guard, []store.IndexEntry{e})
				}
			}
			t.Error("there is no model to be written over")
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		found, err := d.Server.search(t.Context(), "guiyang")
		if err != nil {
			t.Fatal(err)
		}
		if len(found.Pairs) < len(before) {
			t.Errorf("found %d pairs, want %d", len(found.Pairs), len(before))
		}
	})
}

// The queue, a person as it counts, and the value that stands.
func TestQueueAndChoice(t *testing.T) {
	eachStore(t, func(t *testing.T, d *desk) {
		ctx, link := with(t.Context()), servicev1.NewLinkageServiceClient(d.conn)
		empty, err := link.ListQueue(ctx, &servicev1.ListQueueRequest{})
		if err != nil || empty.GetTotal() != 0 || len(empty.GetItems()) != 0 {
			t.Fatalf("the queue of nothing: %v, %v", empty, err)
		}
		tb := newTablet("queue")
		tb.greet(t, d)
		a, b := twice(7)
		b.Respondent.Identity = proto.CloneOf(b.Respondent.Identity)
		b.GetHousehold().Members[0].Identity = b.Respondent.Identity
		b.Respondent.Identity.FullName = proto.String("欧阳建郭")
		b.StartTime.Seconds += 86400
		raws := [][]byte{tb.record(t, a, nil), tb.record(t, b, nil)}
		for i := range 30 {
			raws = append(raws, tb.record(t, household(100+i), nil))
		}
		tb.push(t, d, raws...)
		queue, err := link.ListQueue(ctx, &servicev1.ListQueueRequest{PageSize: proto.Uint32(1)})
		if err != nil || queue.GetTotal() == 0 || len(queue.GetItems()) != 1 {
			t.Fatalf("queue = %v, %v", queue, err)
		}
		if item := queue.GetItems()[0]; len(item.GetARoster()) == 0 || len(item.GetBRoster()) == 0 || item.GetGain() <= 0 {
			t.Errorf("item = %v", item)
		}
		all, err := link.ListQueue(ctx, &servicev1.ListQueueRequest{})
		if err != nil || int64(len(all.GetItems())) != all.GetTotal() {
			t.Fatalf("all %d of %d, %v", len(all.GetItems()), all.GetTotal(), err)
		}
		for i := 1; i < len(all.GetItems()); i++ {
			if all.GetItems()[i].GetGain() > all.GetItems()[i-1].GetGain() {
				t.Errorf("item %d gains more than the one before", i)
			}
		}
		before := person(t, d, a.GetInterviewKey())
		if len(before.GetPersonIds()) != 1 || len(before.GetLikelyIds()) != 1 || before.GetLikelyConfidence() < .5 {
			t.Errorf("before the decision: %v", before)
		}
		found := groupsOf(t, d)
		if len(found) != 1 || found[0].GetDecided() || found[0].GetConfidence() < .5 || found[0].GetConfidence() >= 1 || len(found[0].GetPersonIds()) != 2 {
			t.Errorf("groups before the decision: %v", found)
		}
		made, err := link.Decide(ctx, &servicev1.DecideRequest{Decision: &servicev1.LinkDecision{
			Kind: servicev1.DecisionKind_DECISION_KIND_LINK.Enum(), AId: a.InterviewKey, BId: b.InterviewKey,
		}})
		if err != nil {
			t.Fatal(err)
		}
		if one := person(t, d, b.GetInterviewKey()); len(one.GetPersonIds()) != 2 || len(one.GetLikelyIds()) != 0 || len(one.GetDecisions()) != 1 {
			t.Errorf("merged: %v", one)
		}
		if sure := groupsOf(t, d); len(sure) != 1 || !sure[0].GetDecided() || sure[0].GetConfidence() != 1 {
			t.Errorf("groups after the decision: %v", sure)
		}
		less, err := link.ListQueue(ctx, &servicev1.ListQueueRequest{})
		if err != nil || less.GetTotal() >= all.GetTotal() {
			t.Errorf("%d to be decided, were %d, %v", less.GetTotal(), all.GetTotal(), err)
		}
		for criterion, name := range map[surveyv1.SurvivorCriterion]string{
			surveyv1.SurvivorCriterion_SURVIVOR_CRITERION_TOLD_FIRST: "欧阳建国", surveyv1.SurvivorCriterion_SURVIVOR_CRITERION_TOLD_LAST: "欧阳建郭",
		} {
			st := guiyang()
			st.Survivors = []*surveyv1.SurvivorRule{{Field: proto.String("full_name"), Criteria: []surveyv1.SurvivorCriterion{criterion}}}
			if _, err := servicev1.NewStudyServiceClient(d.conn).PutStudy(ctx, &servicev1.PutStudyRequest{Study: st}); err != nil {
				t.Fatal(err)
			}
			if v := person(t, d, a.GetInterviewKey()).GetValues()[0]; v.GetValue() != name || len(v.GetOthers()) != 1 {
				t.Errorf("%s: %v", criterion, v)
			}
			st.Survivors[0].Field = proto.String("shoe_size")
			_, err := servicev1.NewStudyServiceClient(d.conn).PutStudy(ctx, &servicev1.PutStudyRequest{Study: st})
			wants(t, err, codes.InvalidArgument, fault.BadStudy)
		}
		if _, err := servicev1.NewStudyServiceClient(d.conn).PutStudy(ctx, &servicev1.PutStudyRequest{Study: guiyang()}); err != nil {
			t.Fatal(err)
		}
		for _, iv := range []*string{a.InterviewKey, b.InterviewKey} {
			name := map[string]string{a.GetInterviewKey(): "欧阳建国", b.GetInterviewKey(): "欧阳建郭"}[*iv]
			decideValue(t, d, &servicev1.LinkDecision{AId: b.InterviewKey, Field: proto.String("full_name"), InterviewId: iv, DecidedBy: proto.String("S01")})
			v := person(t, d, a.GetInterviewKey()).GetValues()[0]
			if v.GetValue() != name || v.GetRule() != "decided" || v.GetDecidedBy() != "S01" || len(v.GetOthers()) != 1 {
				t.Errorf("chosen %s: %v", name, v)
			}
		}
		if _, err = link.Decide(ctx, &servicev1.DecideRequest{Decision: &servicev1.LinkDecision{
			Kind: servicev1.DecisionKind_DECISION_KIND_UNDO.Enum(), Undoes: made.GetDecision().DecisionId,
		}}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(found, groupsOf(t, d), protocmp.Transform()); diff != "" {
			t.Errorf("groups, undone, are not as before:\n%s", diff)
		}
		if item, err := link.ListQueue(ctx, &servicev1.ListQueueRequest{}); err != nil || !cmp.Equal(all, item, protocmp.Transform()) {
			t.Errorf("the queue, undone, is not as before: %v", err)
		}
		after := person(t, d, a.GetInterviewKey())
		if diff := cmp.Diff(before, after, protocmp.Transform(), protocmp.IgnoreFields(&servicev1.GetPersonResponse{}, "decisions")); diff != "" {
			t.Errorf("undone is not as before:\n%s", diff)
		}
		for _, bad := range []*servicev1.LinkDecision{
			{AId: a.InterviewKey, Field: proto.String("shoe_size"), InterviewId: a.InterviewKey},
			{AId: a.InterviewKey, Field: proto.String("full_name"), InterviewId: proto.String("GY-404")},
			{AId: a.InterviewKey, Field: proto.String("full_name")},
			{AId: a.InterviewKey, BId: b.InterviewKey, Field: proto.String("full_name"), InterviewId: a.InterviewKey},
			{AId: proto.String("nobody"), Field: proto.String("full_name"), InterviewId: a.InterviewKey},
		} {
			bad.Kind = servicev1.DecisionKind_DECISION_KIND_CHOOSE.Enum()
			if _, err := link.Decide(ctx, &servicev1.DecideRequest{Decision: bad}); err == nil {
				t.Errorf("taken: %v", bad)
			}
		}
		_, err = link.GetPerson(ctx, &servicev1.GetPersonRequest{Id: proto.String("nobody")})
		wants(t, err, codes.NotFound, fault.NoSuchPerson)
		_, err = link.ListQueue(ctx, &servicev1.ListQueueRequest{PageToken: proto.String("x")})
		wants(t, err, codes.InvalidArgument, fault.BadPageToken)
	})
}

func groupsOf(t *testing.T, d *desk) []*servicev1.PersonGroup {
	t.Helper()
	resp, err := servicev1.NewLinkageServiceClient(d.conn).ListGroups(with(t.Context()), &servicev1.ListGroupsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(resp.GetGroups())) != resp.GetTotal() {
		t.Errorf("%d groups of %d", len(resp.GetGroups()), resp.GetTotal())
	}
	return resp.GetGroups()
}

func person(t *testing.T, d *desk, id string) *servicev1.GetPersonResponse {
	t.Helper()
	resp, err := servicev1.NewLinkageServiceClient(d.conn).GetPerson(with(t.Context()), &servicev1.GetPersonRequest{Id: &id})
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func decideValue(t *testing.T, d *desk, c *servicev1.LinkDecision) {
	t.Helper()
	c.Kind = servicev1.DecisionKind_DECISION_KIND_CHOOSE.Enum()
	if _, err := servicev1.NewLinkageServiceClient(d.conn).Decide(with(t.Context()), &servicev1.DecideRequest{Decision: c}); err != nil {
		t.Fatal(err)
	}
}
