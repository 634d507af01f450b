package server

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/dedup"
	"google.golang.org/protobuf/proto"
)

const (
	// maxRunPairs is how many pairs come with the summary of a run; ListPairs has the others.
	maxRunPairs = 500
	// maxReason is the longest reason of a decision, in bytes.
	maxReason = 4000
)

type linkageService struct {
	servicev1.UnimplementedLinkageServiceServer
	*Server
}

// RunLinkage learns the weights anew from everybody, searches, and returns the heaviest pairs with the summary.
func (s *linkageService) RunLinkage(ctx context.Context, req *servicev1.RunLinkageRequest) (*servicev1.RunLinkageResponse, error) {
	if err := s.linker.learnAnew(ctx, req.GetStudy()); err != nil {
		return nil, err
	}
	r, err := s.search(ctx, req.GetStudy())
	if err != nil {
		return nil, err
	}
	var clusters int64
	for _, c := range r.Clusters {
		if c.Subject == servicev1.LinkSubject_LINK_SUBJECT_PERSON {
			clusters++
		}
	}
	return &servicev1.RunLinkageResponse{
		People: proto.Int64(int64(r.People)), Households: proto.Int64(int64(r.Households)), Compared: proto.Int64(r.Compared),
		Possible: proto.Int64(r.Possible), Clusters: proto.Int64(clusters), Pairs: r.Pairs[:min(len(r.Pairs), maxRunPairs)],
	}, nil
}

// pairPosition is the place in a list of pairs that a page token names; without one the first.
func pairPosition(method string, req proto.Message, token string) (int, error) {
	position, err := pagePosition(method, req, token)
	if err != nil || position == "" {
		return 0, err
	}
	start, err := strconv.Atoi(position)
	if err != nil || start < 0 {
		return 0, fault.New(fault.Invalid, fault.BadPageToken, "the page token names no pair")
	}
	return start, nil
}

// ListPairs lists the pairs found, heaviest first.
func (s *linkageService) ListPairs(ctx context.Context, req *servicev1.ListPairsRequest) (*servicev1.ListPairsResponse, error) {
	const method = servicev1.LinkageService_ListPairs_FullMethodName
	start, err := pairPosition(method, req, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	r, err := s.search(ctx, req.GetStudy())
	if err != nil {
		return nil, err
	}
	resp := &servicev1.ListPairsResponse{}
	size := pageSize(req.GetPageSize())
	for i := min(start, len(r.Pairs)); i < len(r.Pairs); i++ {
		p := r.Pairs[i]
		if req.GetSubject() != servicev1.LinkSubject_LINK_SUBJECT_UNSPECIFIED && p.GetSubject() != req.GetSubject() ||
			req.GetUndecidedOnly() && p.GetDecision() != servicev1.DecisionKind_DECISION_KIND_UNSPECIFIED {
			continue
		}
		if len(resp.Pairs) == size {
			resp.NextPageToken = pageToken(method, req, strconv.Itoa(i))
			break
		}
		resp.Pairs = append(resp.Pairs, p)
	}
	return resp, nil
}

// sides are the records of the two that are compared or decided about.
type sides struct {
	a, b   string
	aa, bb []*servicev1.PersonRecord
	study  string
	known  bool
}

// find looks up two people or households. A person may also be named by the key of an interview: its respondent.
func (f *facts) find(subject servicev1.LinkSubject, a, b string) sides {
	if subject == servicev1.LinkSubject_LINK_SUBJECT_HOUSEHOLD {
		s := sides{a: a, b: b}
		var foundA, foundB bool
		for _, h := range f.households {
			foundA = foundA || h.GetHouseholdId() == a
			foundB = foundB || h.GetHouseholdId() == b
			if h.GetHouseholdId() == a {
				s.study = h.GetStudy()
			}
		}
		s.known = foundA && foundB
		for _, p := range f.people {
			switch p.GetHouseholdId() {
			case "":
			case a:
				s.aa = append(s.aa, p)
			case b:
				s.bb = append(s.bb, p)
			}
		}
		return s
	}
	s := sides{a: f.byKey(a), b: f.byKey(b)}
	for _, p := range f.people {
		if p.GetPersonId() == s.a {
			s.aa, s.study = append(s.aa, p), p.GetStudy()
		}
		if p.GetPersonId() == s.b {
			s.bb = append(s.bb, p)
		}
	}
	s.known = len(s.aa) > 0 && len(s.bb) > 0
	return s
}

// byKey turns the key of an interview into the id of its respondent; what is no key stays as it is.
func (f *facts) byKey(id string) string {
	if id == "" {
		return ""
	}
	for _, iv := range f.interviews {
		if iv.GetInterviewKey() == id && iv.GetRespondentId() != "" {
			return iv.GetRespondentId()
		}
	}
	return id
}

// ExplainPair compares two field by field, found or not.
func (s *linkageService) ExplainPair(ctx context.Context, req *servicev1.ExplainPairRequest) (*servicev1.ExplainPairResponse, error) {
	f, err := s.gather(ctx, "")
	if err != nil {
		return nil, err
	}
	two := f.find(req.GetSubject(), req.GetAId(), req.GetBId())
	if err := two.check(req.GetSubject(), req.GetAId(), req.GetBId()); err != nil {
		return nil, err
	}
	r, err := s.search(ctx, two.study)
	if err != nil {
		return nil, err
	}
	resp := &servicev1.ExplainPairResponse{A: two.aa, B: two.bb}
	for _, p := range r.Pairs {
		if p.GetAId() == two.a && p.GetBId() == two.b || p.GetAId() == two.b && p.GetBId() == two.a {
			resp.Pair = p
		}
	}
	switch {
	case resp.Pair != nil:
	case req.GetSubject() == servicev1.LinkSubject_LINK_SUBJECT_HOUSEHOLD:
		return nil, fault.New(fault.NotFound, fault.NoSuchPerson, "nothing speaks for households %.64s and %.64s being the same", two.a, two.b)
	default:
		if resp.Pair, err = s.linker.score(ctx, two.study, two.a, two.b); err != nil {
			return nil, err
		}
		if resp.Pair == nil {
			resp.Pair = dedup.Explain(two.aa, two.bb, r.Model)
		}
	}
	if resp.Pair.GetAId() == two.b {
		resp.A, resp.B = two.bb, two.aa
	}
	resp.Text = proto.String(dedup.Text(resp.Pair))
	return resp, nil
}

func (two sides) check(subject servicev1.LinkSubject, a, b string) error {
	what := "people"
	if subject == servicev1.LinkSubject_LINK_SUBJECT_HOUSEHOLD {
		what = "households"
	}
	switch {
	case a == "" || b == "" || two.a == two.b:
		return fault.New(fault.Invalid, fault.BadDecision, "two different %s must be named, not %.64q and %.64q", what, a, b)
	case !two.known:
		return fault.New(fault.NotFound, fault.NoSuchPerson, "%.64q or %.64q is not among the %s of the interviews here", a, b, what)
	}
	return nil
}

// Decide records a decision. The same decision sent again, by its id, changes nothing.
func (s *linkageService) Decide(ctx context.Context, req *servicev1.DecideRequest) (*servicev1.DecideResponse, error) {
	f, err := s.gather(ctx, "")
	if err != nil {
		return nil, err
	}
	d, err := f.complete(req.GetDecision())
	if err != nil {
		return nil, err
	}
	for _, old := range f.decisions {
		if old.GetDecisionId() != d.GetDecisionId() {
			continue
		}
		if old.GetKind() == d.GetKind() && old.GetAId() == d.GetAId() && old.GetBId() == d.GetBId() && old.GetUndoes() == d.GetUndoes() &&
			old.GetField() == d.GetField() && old.GetInterviewId() == d.GetInterviewId() {
			return &servicev1.DecideResponse{Decision: old}, nil
		}
		return nil, fault.New(fault.Exists, fault.BadDecision, "there is another decision with the id %s", d.GetDecisionId())
	}
	if d.TimeMs == nil {
		d.TimeMs = proto.Int64(s.nextTime(f.decisions))
	}
	w := draft{
		kind: servicev1.RecordKind_RECORD_KIND_LINK_DECISION, subject: d.GetDecisionId(), study: d.GetStudy(),
		author: d.GetDecidedBy(), payload: d,
	}
	if err := s.author.write(ctx, w); err != nil {
		return nil, err
	}
	return &servicev1.DecideResponse{Decision: d}, nil
}

// nextTime is now, or just after the latest decision where the clock stands behind it: a later decision must win.
func (s *Server) nextTime(decisions []*servicev1.LinkDecision) int64 {
	now := s.nowMS()
	for _, d := range decisions {
		if d.GetTimeMs() >= now && d.GetTimeMs() < now+365*24*60*60*1000 {
			now = d.GetTimeMs() + 1
		}
	}
	return now
}

// complete checks a decision and fills in what was left to the server.
func (f *facts) complete(given *servicev1.LinkDecision) (*servicev1.LinkDecision, error) {
	d, ok := proto.Clone(given).(*servicev1.LinkDecision)
	if !ok || given == nil {
		return nil, fault.New(fault.Invalid, fault.BadDecision, "the call holds no decision")
	}
	if len(d.GetReason()) > maxReason || !shortText(d.GetDecidedBy()) {
		return nil, fault.New(fault.Invalid, fault.BadDecision, "the reason has more than %d bytes, or the name of who decided more than %d", maxReason, maxNameBytes)
	}
	if d.GetSubject() == servicev1.LinkSubject_LINK_SUBJECT_UNSPECIFIED {
		d.Subject = servicev1.LinkSubject_LINK_SUBJECT_PERSON.Enum()
	}
	switch d.GetKind() {
	case servicev1.DecisionKind_DECISION_KIND_UNDO:
		at := slices.IndexFunc(f.decisions, func(old *servicev1.LinkDecision) bool {
			return old.GetDecisionId() == d.GetUndoes() && d.GetUndoes() != ""
		})
		if at < 0 {
			return nil, fault.New(fault.NotFound, fault.NoSuchDecision, "there is no decision %.64q to take back", d.GetUndoes())
		}
		old := f.decisions[at]
		d.Subject, d.AId, d.BId, d.Study = old.Subject, old.AId, old.BId, old.Study
	case servicev1.DecisionKind_DECISION_KIND_LINK, servicev1.DecisionKind_DECISION_KIND_CANNOT_LINK:
		if d.GetUndoes() != "" {
			return nil, fault.New(fault.Invalid, fault.BadDecision, "only a decision of kind undo takes another one back")
		}
		two := f.find(d.GetSubject(), d.GetAId(), d.GetBId())
		if err := two.check(d.GetSubject(), d.GetAId(), d.GetBId()); err != nil {
			return nil, err
		}
		d.AId, d.BId = proto.String(two.a), proto.String(two.b)
		d.Study = proto.String(cmp.Or(d.GetStudy(), two.study))
	case servicev1.DecisionKind_DECISION_KIND_CHOOSE:
		if err := f.completeChoice(d); err != nil {
			return nil, err
		}
	default:
		return nil, fault.New(fault.Invalid, fault.BadDecision, "a decision links, keeps apart, chooses or undoes; kind %d is none of these", d.GetKind())
	}
	if d.GetDecisionId() == "" {
		d.DecisionId = proto.String(uuid.NewString())
	} else if _, err := uuid.Parse(d.GetDecisionId()); err != nil || len(d.GetDecisionId()) != 36 {
		return nil, fault.New(fault.Invalid, fault.BadDecision, "the id of the decision, %.64q, is not a UUID", d.GetDecisionId())
	}
	if d.GetDecidedBy() == "" {
		d.DecidedBy = proto.String("headquarters")
	}
	return d, nil
}

// completeChoice checks a choice of a value. The interview may be named by its key.
func (f *facts) completeChoice(d *servicev1.LinkDecision) error {
	if d.GetUndoes() != "" || d.GetBId() != "" || d.GetSubject() != servicev1.LinkSubject_LINK_SUBJECT_PERSON {
		return fault.New(fault.Invalid, fault.BadDecision, "a choice names one person, a field and an interview, and nothing else")
	}
	if !dedup.SurvivorField(d.GetField()) {
		return fault.New(fault.Invalid, fault.BadDecision, "%.64q is no field of a person; there are %s", d.GetField(), strings.Join(dedup.SurvivorFields(), ", "))
	}
	ids := dedup.Canonical(f.people, f.decisions)
	id := f.byKey(d.GetAId())
	if ids[id] == "" {
		return fault.New(fault.NotFound, fault.NoSuchPerson, "%.64q is not among the people of the interviews here", d.GetAId())
	}
	for _, p := range f.people {
		if ids[p.GetPersonId()] == ids[id] && (p.GetInterviewId() == d.GetInterviewId() || p.GetInterviewKey() == d.GetInterviewId()) && d.GetInterviewId() != "" {
			d.AId, d.InterviewId, d.Study = proto.String(id), p.InterviewId, proto.String(cmp.Or(d.GetStudy(), p.GetStudy()))
			return nil
		}
	}
	return fault.New(fault.NotFound, fault.BadDecision, "the interview %.64q does not tell of %.64s", d.GetInterviewId(), id)
}

// ListDecisions lists the decisions, oldest first.
func (s *linkageService) ListDecisions(ctx context.Context, req *servicev1.ListDecisionsRequest) (*servicev1.ListDecisionsResponse, error) {
	if err := s.Project(ctx); err != nil {
		return nil, err
	}
	all, err := s.store.Decisions(ctx, req.GetStudy())
	if err != nil {
		return nil, err
	}
	return &servicev1.ListDecisionsResponse{Decisions: all}, nil
}
