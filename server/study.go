package server

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/server/dedup"
	"google.golang.org/protobuf/proto"
)

type studyService struct {
	servicev1.UnimplementedStudyServiceServer
	*Server
}

// evaluate runs the checks of an interview's questionnaire. A defect in a check must not stop the projector: the
// interview is then flagged as not checked.
func (s *Server) evaluate(iv *surveyv1.Interview) []*servicev1.Flag {
	return s.evaluateBy(s.known())(iv)
}

// evaluateBy makes the checks of given questionnaires.
func (s *Server) evaluateBy(set *questionnaire.Set) func(*surveyv1.Interview) []*servicev1.Flag {
	return func(iv *surveyv1.Interview) (flags []*servicev1.Flag) {
		defer func() {
			if p := recover(); p != nil {
				s.log.Error("checks of an interview failed", "interview", iv.GetInterviewId(), "error", panicked(p))
				flags = notChecked()
			}
		}()
		return set.Evaluate(iv)
	}
}

// GetStudy returns the definition of a study, or of the only one.
func (s *studyService) GetStudy(ctx context.Context, req *servicev1.GetStudyRequest) (*servicev1.GetStudyResponse, error) {
	if err := s.Project(ctx); err != nil {
		return nil, err
	}
	st, err := s.findStudy(ctx, req.GetStudy())
	if err != nil {
		return nil, err
	}
	return &servicev1.GetStudyResponse{Study: st}, nil
}

// findStudy returns the study of that code; an empty code means the only one.
func (s *Server) findStudy(ctx context.Context, code string) (*surveyv1.Study, error) {
	all, err := s.store.Studies(ctx)
	if err != nil {
		return nil, err
	}
	if code == "" && len(all) == 1 {
		return all[0], nil
	}
	var codes []string
	for _, st := range all {
		if st.GetStudy() == code {
			return st, nil
		}
		codes = append(codes, st.GetStudy())
	}
	switch {
	case len(all) == 0:
		return nil, fault.New(fault.NotFound, fault.UnknownStudy, "this server has no definition of a study")
	case code == "":
		return nil, fault.New(fault.Invalid, fault.BadRequest, "this server holds several studies, name one of %s", strings.Join(codes, ", "))
	}
	return nil, fault.New(fault.NotFound, fault.UnknownStudy, "there is no study %.64q, only %s", code, strings.Join(codes, ", "))
}

// PutStudy writes a revision of the definition; the same definition again writes nothing. What is closed stays closed.
func (s *studyService) PutStudy(ctx context.Context, req *servicev1.PutStudyRequest) (*servicev1.PutStudyResponse, error) {
	if err := checkStudy(req.GetStudy()); err != nil {
		return nil, err
	}
	s.defining.Lock()
	defer s.defining.Unlock()
	if err := s.Project(ctx); err != nil {
		return nil, err
	}
	st := proto.CloneOf(req.GetStudy())
	st.Closed, st.ClosedRounds = nil, nil
	before, err := s.findStudy(ctx, st.GetStudy())
	switch {
	case err == nil:
		st.Closed, st.ClosedRounds = before.Closed, before.ClosedRounds
	case fault.KindOf(err) != fault.NotFound:
		return nil, err
	}
	return &servicev1.PutStudyResponse{}, s.define(ctx, st, headquarters)
}

var studyCode = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// checkStudy says what is wrong with a definition.
func checkStudy(st *surveyv1.Study) error {
	bad := func(format string, args ...any) error {
		return fault.New(fault.Invalid, fault.BadStudy, format, args...)
	}
	if !studyCode.MatchString(st.GetStudy()) {
		return bad("the code of the study, %.64q, must be 1 to 63 of a-z, 0-9 and -, and begin with a letter or digit", st.GetStudy())
	}
	if err := dedup.CheckSurvivors(st.GetSurvivors()); err != nil {
		return bad("which values stand in study %s: %w", st.GetStudy(), err)
	}
	sites, people, rounds := map[string]bool{}, map[string]bool{}, map[uint32]bool{}
	for i, x := range st.GetSites() {
		if x.GetSiteId() == "" || sites[x.GetSiteId()] {
			return bad("site %d of study %s has no code or one that stands twice: %.64q", i+1, st.GetStudy(), x.GetSiteId())
		}
		sites[x.GetSiteId()] = true
	}
	for i, x := range st.GetEnumerators() {
		if x.GetEnumerator() == "" || people[x.GetEnumerator()] {
			return bad("enumerator %d of study %s has no code or one that stands twice: %.64q", i+1, st.GetStudy(), x.GetEnumerator())
		}
		people[x.GetEnumerator()] = true
	}
	for _, x := range st.GetRounds() {
		if x.Round == nil || rounds[x.GetRound()] {
			return bad("a round of study %s has no number or one that stands twice: %d", st.GetStudy(), x.GetRound())
		}
		rounds[x.GetRound()] = true
	}
	for i, x := range st.GetTargets() {
		switch {
		case x.Interviews == nil || x.GetInterviews() < 0:
			return bad("target %d of study %s has no number of interviews", i+1, st.GetStudy())
		case x.GetSiteId() != "" && len(sites) > 0 && !sites[x.GetSiteId()]:
			return bad("target %d of study %s names site %.64q, which the study does not have", i+1, st.GetStudy(), x.GetSiteId())
		}
	}
	return nil
}

// ListQuestionnaires lists every version of every questionnaire.
func (s *studyService) ListQuestionnaires(context.Context, *servicev1.ListQuestionnairesRequest) (*servicev1.ListQuestionnairesResponse, error) {
	all := s.questionnaireVersions()
	newest := map[string]*servicev1.QuestionnaireVersion{}
	for _, v := range all {
		newest[v.GetQuestionnaire()] = v
	}
	for name, r := range s.rules.pending() {
		if v := newest[name]; v != nil {
			v.Reevaluated, v.ToReevaluate = proto.Int64(r.GetReevaluated()), proto.Int64(r.GetTotal())
		}
	}
	return &servicev1.ListQuestionnairesResponse{Questionnaires: all}, nil
}

// GetCodebook returns the codebook of a questionnaire as a page.
func (s *studyService) GetCodebook(_ context.Context, req *servicev1.GetCodebookRequest) (*servicev1.GetCodebookResponse, error) {
	q, ok := s.known().Find(req.GetQuestionnaire())
	if !ok {
		var names []string
		for _, q := range s.known().All() {
			names = append(names, q.Name())
		}
		return nil, fault.New(fault.NotFound, fault.UnknownQuestionnaire, "there is no questionnaire %.128q, only %s", req.GetQuestionnaire(), strings.Join(names, ", "))
	}
	var page strings.Builder
	if err := q.WriteCodebook(&page); err != nil {
		return nil, fmt.Errorf("write the codebook of %s: %w", q.Name(), err)
	}
	return &servicev1.GetCodebookResponse{Html: proto.String(page.String())}, nil
}

// noSuchStudy is the error where a study is asked for that has neither a definition nor an interview.
func noSuchStudy(code string) error {
	return fault.New(fault.NotFound, fault.UnknownStudy, "there is no study %.64q and no interview of it", code)
}
