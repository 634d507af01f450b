package server

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/protobuf/proto"
)

// Limits of a review.
const (
	maxComments     = 100
	maxCommentBytes = 2_000
	maxReviewBytes  = 16 << 10
)

// CreateReview writes what is thought of an interview, for the enumerator's tablet.
func (s *reviewService) CreateReview(ctx context.Context, req *servicev1.CreateReviewRequest) (*servicev1.CreateReviewResponse, error) {
	if err := checkDecision(req.GetDecidedBy(), ""); err != nil {
		return nil, err
	}
	comments, err := checkComments(req)
	if err != nil {
		return nil, err
	}
	if err := s.Project(ctx); err != nil {
		return nil, err
	}
	iv, err := s.find(ctx, req.GetInterviewId())
	if err != nil {
		return nil, err
	}
	looked := iv.GetHead()
	if given := req.GetRevision(); len(given) > 0 {
		if !slices.ContainsFunc(iv.GetHeads(), func(h []byte) bool { return bytes.Equal(h, given) }) {
			return nil, fault.New(fault.Conflict, fault.ConflictChanged, "revision %x is not current any more: %d others are", given[:min(4, len(given))], len(iv.GetHeads()))
		}
		looked = given
	}
	if err := s.wordComments(comments, iv.GetQuestionnaire()); err != nil {
		return nil, err
	}
	v := &servicev1.Review{
		ReviewId: proto.String(uuid.NewString()), InterviewId: iv.InterviewId, InterviewKey: iv.InterviewKey, Study: iv.Study, Enumerator: iv.Enumerator,
		Decision: req.Decision, Level: req.Level, Comments: comments, Revision: bytes.Clone(looked),
		DecidedBy: proto.String(cmp.Or(req.GetDecidedBy(), headquarters)), TimeMs: proto.Int64(s.nowMS()),
	}
	if v.GetLevel() == servicev1.ReviewLevel_REVIEW_LEVEL_UNSPECIFIED {
		v.Level = servicev1.ReviewLevel_REVIEW_LEVEL_SUPERVISOR.Enum()
	}
	if n := proto.Size(v); n > maxReviewBytes {
		return nil, fault.New(fault.TooLarge, fault.BadReview, "the review has %d bytes, the limit is %d: say it in several", n, maxReviewBytes)
	}
	if err := s.author.remark(ctx, iv.GetPart(), v); err != nil {
		return nil, err
	}
	return &servicev1.CreateReviewResponse{Review: v}, s.Project(ctx)
}

// wordComments adds the words of the questions that comments are about.
func (s *Server) wordComments(comments []*servicev1.ReviewComment, answered string) error {
	for _, c := range comments {
		if c.GetPath() == "" {
			continue
		}
		label, ok := s.known().QuestionAt(answered, c.GetPath())
		if !ok {
			return fault.New(fault.Invalid, fault.BadReview, "there is no question at %.200q", c.GetPath())
		}
		c.QuestionEn, c.QuestionZh = proto.String(label.GetEn()), proto.String(label.GetZh())
	}
	return nil
}

// checkComments looks at what is said.
func checkComments(req *servicev1.CreateReviewRequest) ([]*servicev1.ReviewComment, error) {
	bad := func(format string, args ...any) error {
		return fault.New(fault.Invalid, fault.BadReview, format, args...)
	}
	switch req.GetDecision() {
	case servicev1.ReviewDecision_REVIEW_DECISION_COMMENT, servicev1.ReviewDecision_REVIEW_DECISION_REJECT:
		if len(req.GetComments()) == 0 {
			return nil, bad("a comment and a rejection say why")
		}
	case servicev1.ReviewDecision_REVIEW_DECISION_APPROVE:
	default:
		return nil, bad("the review neither comments nor decides")
	}
	if len(req.GetComments()) > maxComments {
		return nil, bad("the review has %d comments, the limit is %d", len(req.GetComments()), maxComments)
	}
	var out []*servicev1.ReviewComment
	for _, asked := range req.GetComments() {
		c := proto.CloneOf(asked)
		if strings.TrimSpace(c.GetText()) == "" || len(c.GetText()) > maxCommentBytes {
			return nil, bad("a comment has between 1 and %d bytes", maxCommentBytes)
		}
		out = append(out, c)
	}
	return out, nil
}

// remark writes a review. Its parents are the revision that was looked at and what was said last, so that it is known
// everywhere which decision is the newer one.
func (a *author) remark(ctx context.Context, part uint64, v *servicev1.Review) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	const kind = servicev1.RecordKind_RECORD_KIND_REVIEW
	before, err := currentHeads(ctx, a.server.store, part, kind, v.GetInterviewId())
	if err != nil {
		return err
	}
	parents := [][]byte{v.GetRevision()}
	for _, h := range before {
		parents = append(parents, bytes.Clone(h.digest[:]))
	}
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(v)
	if err != nil {
		return fault.New(fault.Invalid, fault.BadReview, "write the review: %w", err)
	}
	_, err = a.seal(ctx, &servicev1.Record{
		Kind: kind.Enum(), Subject: v.InterviewId, Parents: parents, Study: v.Study, Part: proto.Uint64(part),
		Author: v.DecidedBy, WallTimeMs: v.TimeMs, Payload: payload,
	})
	return err
}

// ListReviews lists what was said, the newest first.
func (s *reviewService) ListReviews(ctx context.Context, req *servicev1.ListReviewsRequest) (*servicev1.ListReviewsResponse, error) {
	const method = servicev1.ReviewService_ListReviews_FullMethodName
	after, err := pagePosition(method, req, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	if err := s.Project(ctx); err != nil {
		return nil, err
	}
	id := ""
	if req.GetInterviewId() != "" {
		iv, err := s.find(ctx, req.GetInterviewId())
		if err != nil {
			return nil, err
		}
		id = iv.GetInterviewId()
	}
	size := pageSize(req.GetPageSize())
	all, err := s.store.Reviews(ctx, id, req.GetStudy(), after, size+1)
	if err != nil {
		return nil, err
	}
	resp := &servicev1.ListReviewsResponse{Reviews: all}
	if len(all) > size {
		resp.Reviews = all[:size]
		resp.NextPageToken = pageToken(method, req, all[size-1].GetReviewId())
	}
	return resp, nil
}
