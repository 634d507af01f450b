package server

import (
	"cmp"
	"context"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// Limits of an assignment.
const (
	maxOrdered   = 10_000
	maxNoteBytes = 2_000
)

type assignmentService struct {
	servicev1.UnimplementedAssignmentServiceServer
	*Server
}

// usableAssignment says why a record about an assignment cannot be used. Only headquarters gives orders; a tablet says
// what it has done.
func usableAssignment(r *servicev1.Record, headquarters bool) *fault.Error {
	a := &servicev1.Assignment{}
	if err := proto.Unmarshal(r.GetPayload(), a); err != nil {
		return fault.New(fault.Invalid, fault.PayloadUnreadable, "the payload is not an assignment: %w", err)
	}
	switch {
	case a.GetAssignmentId() != r.GetSubject() || a.GetStudy() != r.GetStudy() || a.GetPart() != r.GetPart():
		return fault.New(fault.Invalid, fault.PayloadUnreadable, "the assignment inside is not the one that the record is about")
	case headquarters:
		return nil
	}
	switch a.GetAction() {
	case servicev1.AssignmentAction_ASSIGNMENT_ACTION_START, servicev1.AssignmentAction_ASSIGNMENT_ACTION_COMPLETE,
		servicev1.AssignmentAction_ASSIGNMENT_ACTION_RELEASE:
		return nil
	}
	return fault.New(fault.Permission, fault.UnknownKind, "a tablet begins, completes and gives back assignments; it does not order them (%v)", a.GetAction())
}

// CreateAssignment gives interviews to an enumerator. The same order with the same id again changes nothing.
func (s *assignmentService) CreateAssignment(ctx context.Context, req *servicev1.CreateAssignmentRequest) (*servicev1.CreateAssignmentResponse, error) {
	if err := s.Project(ctx); err != nil {
		return nil, err
	}
	a, err := s.order(ctx, req.GetAssignment())
	if err != nil {
		return nil, err
	}
	known, err := s.store.Assignment(ctx, a.GetAssignmentId())
	switch {
	case err == nil && sameOrder(known.GetAssignment(), a):
		return &servicev1.CreateAssignmentResponse{Assignment: known}, nil
	case err == nil:
		return nil, fault.New(fault.Exists, fault.BadAssignment, "there is an assignment %s already, and it says something else", a.GetAssignmentId())
	case fault.KindOf(err) != fault.NotFound:
		return nil, err
	}
	out, err := s.give(ctx, a)
	return &servicev1.CreateAssignmentResponse{Assignment: out}, err
}

// sameOrder says whether two orders differ in nothing but when they were given.
func sameOrder(a, b *servicev1.Assignment) bool {
	a, b = proto.CloneOf(a), proto.CloneOf(b)
	a.TimeMs, b.TimeMs = nil, nil
	return proto.Equal(a, b)
}

// give writes a revision of an assignment and returns how it stands then.
func (s *Server) give(ctx context.Context, a *servicev1.Assignment) (*servicev1.AssignmentSummary, error) {
	err := s.author.write(ctx, draft{
		kind: servicev1.RecordKind_RECORD_KIND_ASSIGNMENT, subject: a.GetAssignmentId(), study: a.GetStudy(), part: a.GetPart(),
		author: cmp.Or(a.GetDecidedBy(), headquarters), payload: a, revises: true,
	})
	if err != nil {
		return nil, err
	}
	if err := s.Project(ctx); err != nil {
		return nil, err
	}
	return s.store.Assignment(ctx, a.GetAssignmentId())
}

var dayForm = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}$`)

// order checks an order and completes it.
func (s *Server) order(ctx context.Context, asked *servicev1.Assignment) (*servicev1.Assignment, error) {
	bad := func(format string, args ...any) error {
		return fault.New(fault.Invalid, fault.BadAssignment, format, args...)
	}
	a := proto.CloneOf(asked)
	if a == nil {
		return nil, bad("no assignment is given")
	}
	study, err := s.studyToJoin(ctx, a.GetStudy())
	if err != nil {
		return nil, err
	}
	a.Study, a.Action, a.TimeMs = proto.String(study), servicev1.AssignmentAction_ASSIGNMENT_ACTION_ASSIGN.Enum(), proto.Int64(s.nowMS())
	if err := s.checkPlace(ctx, a); err != nil {
		return nil, err
	}
	if a.GetAssignmentId() == "" {
		a.AssignmentId = proto.String(uuid.NewString())
	}
	for _, id := range []string{a.GetAssignmentId(), cmp.Or(a.GetInterviewId(), a.GetAssignmentId()), cmp.Or(a.GetHouseholdId(), a.GetAssignmentId())} {
		if u, err := uuid.Parse(id); err != nil || u.Version() != 4 || u.String() != id {
			return nil, bad("%.64q is not a UUID of version 4 in lower case", id)
		}
	}
	if a.GetInterviews() == 0 {
		a.Interviews = proto.Uint32(1)
	}
	if name := a.GetQuestionnaire(); name != "" {
		q, ok := s.known().Find(name)
		if !ok {
			return nil, bad("there is no questionnaire %.128q", name)
		}
		a.Questionnaire = proto.String(q.Name())
	}
	_, day := time.Parse(time.DateOnly, a.GetDueDate())
	switch {
	case a.GetInterviews() > maxOrdered:
		return nil, bad("%d interviews are ordered at once, the limit is %d", a.GetInterviews(), maxOrdered)
	case a.GetDueDate() != "" && (day != nil || !dayForm.MatchString(a.GetDueDate())):
		return nil, bad("the day %.20q is not written as 2016-07-31", a.GetDueDate())
	case len(a.GetNote()) > maxNoteBytes:
		return nil, bad("the note has more than %d bytes", maxNoteBytes)
	}
	a.Part = proto.Uint64(syncer.Part(a.GetStudy(), a.GetSiteId()))
	if a.GetInterviewId() != "" {
		iv, err := s.find(ctx, a.GetInterviewId())
		if err != nil {
			return nil, err
		}
		a.Part = proto.Uint64(iv.GetPart())
	}
	return a, checkDecision(a.GetDecidedBy(), a.GetReason())
}

// checkPlace looks whether the study knows the enumerator and the site, where it lists any.
func (s *Server) checkPlace(ctx context.Context, a *servicev1.Assignment) error {
	if !plainText(a.GetEnumerator(), maxNameBytes) || a.GetSiteId() != "" && !plainText(a.GetSiteId(), maxNameBytes) {
		return fault.New(fault.Invalid, fault.BadAssignment, "an assignment needs an enumerator, and its site is the code of one: each in one line of at most %d bytes", maxNameBytes)
	}
	st, err := s.findStudy(ctx, a.GetStudy())
	if fault.ReasonOf(err) == fault.UnknownStudy {
		return nil // nobody has defined it yet
	}
	if err != nil {
		return err
	}
	people := st.GetEnumerators()
	if len(people) > 0 && !slices.ContainsFunc(people, func(x *surveyv1.Enumerator) bool { return x.GetEnumerator() == a.GetEnumerator() }) {
		return fault.New(fault.Invalid, fault.BadAssignment, "study %s has no enumerator %.64q", a.GetStudy(), a.GetEnumerator())
	}
	sites := st.GetSites()
	if a.GetSiteId() != "" && len(sites) > 0 && !slices.ContainsFunc(sites, func(x *surveyv1.Site) bool { return x.GetSiteId() == a.GetSiteId() }) {
		return fault.New(fault.Invalid, fault.BadAssignment, "study %s has no site %.64q", a.GetStudy(), a.GetSiteId())
	}
	return nil
}

// leastPrefix is how much of an id must be given.
const leastPrefix = 4

// findAssignment returns the assignment with this id, or the only one whose id begins so.
func (s *Server) findAssignment(ctx context.Context, named string) (*servicev1.AssignmentSummary, error) {
	if err := s.Project(ctx); err != nil {
		return nil, err
	}
	if len(named) >= 36 {
		return s.store.Assignment(ctx, named)
	}
	if len(named) < leastPrefix {
		return nil, fault.New(fault.Invalid, fault.NoSuchAssignment, "%.64q is too short to name an assignment: give at least %d characters of its id", named, leastPrefix)
	}
	all, err := s.store.Assignments(ctx, store.AssignmentFilter{After: named, Limit: 2})
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(a *servicev1.AssignmentSummary) bool {
		return !strings.HasPrefix(a.GetAssignment().GetAssignmentId(), named)
	})
	switch len(all) {
	case 0:
		return nil, fault.New(fault.NotFound, fault.NoSuchAssignment, "no assignment's id begins with %.64q", named)
	case 1:
		return all[0], nil
	}
	return nil, fault.New(fault.Invalid, fault.NoSuchAssignment, "the ids of several assignments begin with %.64q", named)
}

// next is the order that follows on the newest one of an assignment.
func (s *Server) nextOrder(now *servicev1.AssignmentSummary, action servicev1.AssignmentAction, by, reason string) *servicev1.Assignment {
	a := proto.CloneOf(now.GetAssignment())
	a.Action, a.TimeMs, a.DecidedBy, a.Reason = action.Enum(), proto.Int64(s.nowMS()), nil, nil
	if by != "" {
		a.DecidedBy = proto.String(by)
	}
	if reason != "" {
		a.Reason = proto.String(reason)
	}
	return a
}

// ReassignAssignment hands an assignment over.
func (s *assignmentService) ReassignAssignment(ctx context.Context, req *servicev1.ReassignAssignmentRequest) (*servicev1.ReassignAssignmentResponse, error) {
	if err := checkDecision(req.GetDecidedBy(), req.GetReason()); err != nil {
		return nil, err
	}
	now, err := s.findAssignment(ctx, req.GetAssignmentId())
	if err != nil {
		return nil, err
	}
	a := s.nextOrder(now, servicev1.AssignmentAction_ASSIGNMENT_ACTION_ASSIGN, req.GetDecidedBy(), req.GetReason())
	a.Enumerator = proto.String(req.GetEnumerator())
	if err := s.checkPlace(ctx, a); err != nil {
		return nil, err
	}
	already := cmp.Or(now.GetNext(), now.GetHolder()) == req.GetEnumerator()
	if already && now.GetState() != servicev1.AssignmentState_ASSIGNMENT_STATE_CANCELLED {
		return &servicev1.ReassignAssignmentResponse{Assignment: now}, nil
	}
	out, err := s.give(ctx, a)
	return &servicev1.ReassignAssignmentResponse{Assignment: out}, err
}

// CancelAssignment takes an assignment away. Cancelling again changes nothing.
func (s *assignmentService) CancelAssignment(ctx context.Context, req *servicev1.CancelAssignmentRequest) (*servicev1.CancelAssignmentResponse, error) {
	if err := checkDecision(req.GetDecidedBy(), req.GetReason()); err != nil {
		return nil, err
	}
	now, err := s.findAssignment(ctx, req.GetAssignmentId())
	if err != nil {
		return nil, err
	}
	if now.GetState() == servicev1.AssignmentState_ASSIGNMENT_STATE_CANCELLED {
		return &servicev1.CancelAssignmentResponse{Assignment: now}, nil
	}
	out, err := s.give(ctx, s.nextOrder(now, servicev1.AssignmentAction_ASSIGNMENT_ACTION_CANCEL, req.GetDecidedBy(), req.GetReason()))
	return &servicev1.CancelAssignmentResponse{Assignment: out}, err
}

// ReleaseAssignment ends a hand-over without waiting for the first tablet.
func (s *assignmentService) ReleaseAssignment(ctx context.Context, req *servicev1.ReleaseAssignmentRequest) (*servicev1.ReleaseAssignmentResponse, error) {
	if err := checkDecision(req.GetDecidedBy(), req.GetReason()); err != nil {
		return nil, err
	}
	now, err := s.findAssignment(ctx, req.GetAssignmentId())
	if err != nil {
		return nil, err
	}
	if now.GetNext() == "" || now.GetState() == servicev1.AssignmentState_ASSIGNMENT_STATE_CANCELLED {
		return nil, fault.New(fault.Conflict, fault.NoHandOver, "nobody waits for assignment %s: %s has it", now.GetAssignment().GetAssignmentId(), now.GetHolder())
	}
	out, err := s.give(ctx, s.nextOrder(now, servicev1.AssignmentAction_ASSIGNMENT_ACTION_FORCE, req.GetDecidedBy(), req.GetReason()))
	return &servicev1.ReleaseAssignmentResponse{Assignment: out}, err
}

// GetAssignment returns one.
func (s *assignmentService) GetAssignment(ctx context.Context, req *servicev1.GetAssignmentRequest) (*servicev1.GetAssignmentResponse, error) {
	a, err := s.findAssignment(ctx, req.GetAssignmentId())
	if err != nil {
		return nil, err
	}
	return &servicev1.GetAssignmentResponse{Assignment: a}, nil
}

// ListAssignments lists those that match.
func (s *assignmentService) ListAssignments(ctx context.Context, req *servicev1.ListAssignmentsRequest) (*servicev1.ListAssignmentsResponse, error) {
	const method = servicev1.AssignmentService_ListAssignments_FullMethodName
	after, err := pagePosition(method, req, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	if err := s.Project(ctx); err != nil {
		return nil, err
	}
	size := pageSize(req.GetPageSize())
	all, err := s.store.Assignments(ctx, store.AssignmentFilter{
		Study: req.GetStudy(), Enumerator: req.GetEnumerator(), SiteID: req.GetSiteId(), ProblemsOnly: req.GetProblemsOnly(), After: after, Limit: size + 1,
	})
	if err != nil {
		return nil, err
	}
	resp := &servicev1.ListAssignmentsResponse{Assignments: all}
	if len(all) > size {
		resp.Assignments = all[:size]
		resp.NextPageToken = pageToken(method, req, all[size-1].GetAssignment().GetAssignmentId())
	}
	return resp, nil
}
