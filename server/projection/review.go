package projection

import (
	"bytes"
	"slices"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/plant"
	"google.golang.org/protobuf/proto"
)

// Review reads the payload of a review; nil where it cannot be read or is of another interview.
func Review(rec *servicev1.Record) *servicev1.Review {
	v := &servicev1.Review{}
	if len(rec.GetPayload()) == 0 || proto.Unmarshal(rec.GetPayload(), v) != nil || v.GetInterviewId() != rec.GetSubject() || v.GetReviewId() == "" {
		return nil
	}
	return v
}

// ruling is the review that decides about an interview, and the digest of its record.
func ruling(reviews []Revision) (syncer.Digest, *servicev1.Review) {
	var graph []syncer.Revision
	decisions := map[syncer.Digest]*servicev1.Review{}
	replaces := map[syncer.Digest][]syncer.Digest{}
	for _, r := range reviews {
		v := Review(r.Record)
		if v == nil {
			continue
		}
		decisions[r.Digest] = v
		for _, p := range r.Record.GetParents() {
			if d, err := syncer.ParseDigest(p); err == nil {
				replaces[r.Digest] = append(replaces[r.Digest], d)
			}
		}
	}
	for d, v := range decisions { // comments decide nothing: what they replace stands
		if v.GetDecision() == servicev1.ReviewDecision_REVIEW_DECISION_COMMENT {
			continue
		}
		graph = append(graph, syncer.Revision{Digest: d, Parents: through(replaces[d], decisions, replaces)})
	}
	heads := syncer.Heads(graph)
	if len(heads) == 0 {
		return syncer.Digest{}, nil
	}
	return heads[0], decisions[heads[0]]
}

// through are parents, with the parents of comments in the place of comments.
func through(parents []syncer.Digest, decisions map[syncer.Digest]*servicev1.Review, replaces map[syncer.Digest][]syncer.Digest) []syncer.Digest {
	var out []syncer.Digest
	seen := map[syncer.Digest]bool{}
	for todo := slices.Clone(parents); len(todo) > 0; {
		d := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[d] {
			continue
		}
		seen[d] = true
		if decisions[d].GetDecision() == servicev1.ReviewDecision_REVIEW_DECISION_COMMENT {
			todo = append(todo, replaces[d]...)
			continue
		}
		out = append(out, d)
	}
	return out
}

// reviewState is where an interview stands, given its revisions, the one shown, and what was said of it. A rejection
// holds until a revision answers it, whatever else has arrived meanwhile; an approval holds for the revision approved.
func reviewState(revs []Revision, shown Revision, heads int, reviews []Revision) servicev1.ReviewState {
	state := told(shown.Interview)
	digest, v := ruling(reviews)
	if v == nil {
		return state
	}
	hq := v.GetLevel() == servicev1.ReviewLevel_REVIEW_LEVEL_HEADQUARTERS
	switch {
	case v.GetDecision() == servicev1.ReviewDecision_REVIEW_DECISION_REJECT && !answered(revs, digest) && (!plant.In(plant.RejectionEnds) || bytes.Equal(v.GetRevision(), shown.Digest[:])):
		state = servicev1.ReviewState_REVIEW_STATE_REJECTED_BY_SUPERVISOR
		if hq {
			state = servicev1.ReviewState_REVIEW_STATE_REJECTED_BY_HEADQUARTERS
		}
	case v.GetDecision() == servicev1.ReviewDecision_REVIEW_DECISION_APPROVE && heads == 1 && bytes.Equal(v.GetRevision(), shown.Digest[:]):
		state = servicev1.ReviewState_REVIEW_STATE_APPROVED_BY_SUPERVISOR
		if hq {
			state = servicev1.ReviewState_REVIEW_STATE_APPROVED_BY_HEADQUARTERS
		}
	}
	return state
}

// answered says whether a revision was written by somebody who knew the review.
func answered(revs []Revision, review syncer.Digest) bool {
	for _, r := range revs {
		for _, d := range r.Record.GetReviews() {
			if bytes.Equal(d, review[:]) {
				return true
			}
		}
	}
	return false
}
