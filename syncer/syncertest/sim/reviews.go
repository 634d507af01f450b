package sim

import (
	"bytes"
	"fmt"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// review has a reviewer decide about an interview, or only say something.
func (w *world) review(s Step, decision servicev1.ReviewDecision) {
	level := servicev1.ReviewLevel(1 + w.rand.IntN(2))
	_, err := servicev1.NewReviewServiceClient(w.hq.conn).CreateReview(w.ctx, &servicev1.CreateReviewRequest{
		InterviewId: proto.String(interviewID(s.N)), Decision: decision.Enum(), Level: level.Enum(), DecidedBy: proto.String("E9"),
		Comments: []*servicev1.ReviewComment{{Text: proto.String("ask again")}},
	})
	if w.hq.do(err) {
		w.reviews++
	}
}

func (w *world) reject(s Step)  { w.review(s, servicev1.ReviewDecision_REVIEW_DECISION_REJECT) }
func (w *world) approve(s Step) { w.review(s, servicev1.ReviewDecision_REVIEW_DECISION_APPROVE) }
func (w *world) remark(s Step)  { w.review(s, servicev1.ReviewDecision_REVIEW_DECISION_COMMENT) }

// rejections are those that the tablet shows of an interview which it holds, and that no revision of its own has answered.
func (t *tab) rejections(interview string) map[string]bool {
	out := map[string]bool{}
	if t.w.reviews == 0 || t.lied {
		return out
	}
	all, err := t.store.Reviews(t.w.ctx)
	if err != nil && (t.disk.Failed() > 0 || t.disk.Dead()) {
		return out
	}
	t.w.must(err, "list the reviews of %s", t.name)
	for _, r := range all {
		if r.Open && r.Here && r.Review.GetInterviewId() == interview {
			out[r.Review.GetReviewId()] = true
		}
	}
	return out
}

// answered sees that a revision has answered what the tablet showed as rejected.
func (t *tab) answered(interview string, before map[string]bool) {
	if len(before) == 0 {
		return
	}
	for id := range t.rejections(interview) {
		if before[id] {
			t.w.fail("LOST: %s showed a rejection of an interview and has recorded it again, and the rejection is still open there", t.name)
		}
	}
}

// ruled is what was said of one interview, in the order in which headquarters wrote it.
type ruled struct {
	digest  syncer.Digest
	verdict *servicev1.Review
}

// said notes a review of the log.
func (w *world) said(at string, digest syncer.Digest, rec *servicev1.Record) {
	v := &servicev1.Review{}
	w.must(proto.Unmarshal(rec.GetPayload(), v), "read a review")
	if v.GetDecision() != servicev1.ReviewDecision_REVIEW_DECISION_COMMENT {
		w.rulings[at] = append(w.rulings[at], ruled{digest, v})
	}
}

// checkReviewed reckons by itself where an interview stands: by what was decided last, as there is one headquarters, which
// always knows what it has decided before.
func (w *world) checkReviewed(at string, sum *servicev1.InterviewSummary, want shown) {
	state := servicev1.ReviewState_REVIEW_STATE_IN_PROGRESS
	if want.completed {
		state = servicev1.ReviewState_REVIEW_STATE_COMPLETED
	}
	if all := w.rulings[at]; len(all) > 0 {
		last := all[len(all)-1]
		byHQ := last.verdict.GetLevel() == servicev1.ReviewLevel_REVIEW_LEVEL_HEADQUARTERS
		switch reject := last.verdict.GetDecision() == servicev1.ReviewDecision_REVIEW_DECISION_REJECT; {
		case reject && w.answers[fmt.Sprint(at, last.digest)]:
		case reject && byHQ:
			state = servicev1.ReviewState_REVIEW_STATE_REJECTED_BY_HEADQUARTERS
		case reject:
			state = servicev1.ReviewState_REVIEW_STATE_REJECTED_BY_SUPERVISOR
		case len(want.heads) != 1 || !bytes.Equal(want.heads[0][:], last.verdict.GetRevision()):
		case byHQ:
			state = servicev1.ReviewState_REVIEW_STATE_APPROVED_BY_HEADQUARTERS
		default:
			state = servicev1.ReviewState_REVIEW_STATE_APPROVED_BY_SUPERVISOR
		}
	}
	if sum.GetReviewState() != state {
		w.fail("DIVERGED: interview %s is shown as %v, by the log it is %v", at, sum.GetReviewState(), state)
	}
}
