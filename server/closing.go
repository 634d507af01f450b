package server

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// closures are the studies and rounds that are over. Every interview that arrives is looked up.
type closures struct {
	mu     sync.RWMutex
	of     map[string]closure
	loaded bool
	// changes counts how often definitions have changed.
	changes int
}

// closure is what is over of one study.
type closure struct {
	all    bool
	rounds []uint32
}

func closureOf(st *surveyv1.Study) closure { return closure{st.GetClosed(), st.GetClosedRounds()} }

func (c closure) has(round uint32) bool { return c.all || slices.Contains(c.rounds, round) }

// changed makes the next look ask the store again.
func (c *closures) changed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.loaded = false
	c.changes++
}

// closed says whether a round of a study is over, and whether the whole study is.
func (c *closures) closed(study string, round uint32) (over, all bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	of := c.of[study]
	return of.has(round), of.all
}

func (c *closures) state() (loaded bool, changes int) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.loaded, c.changes
}

// load asks the store, if anything has changed since the last time. The definitions are read from the log, for the
// projections may be behind it.
func (c *closures) load(ctx context.Context, st store.Store) error {
	loaded, changes := c.state()
	if loaded {
		return nil
	}
	studies, err := st.Studies(ctx)
	if err != nil {
		return fmt.Errorf("find which studies are closed: %w", err)
	}
	of := map[string]closure{}
	for _, known := range studies {
		code := known.GetStudy()
		heads, err := currentHeads(ctx, st, syncer.Part(code, ""), servicev1.RecordKind_RECORD_KIND_STUDY, code)
		if err != nil {
			return err
		}
		def := &surveyv1.Study{}
		if len(heads) == 0 || proto.Unmarshal(heads[0].payload, def) != nil {
			def = known
		}
		of[code] = closureOf(def)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of, c.loaded = of, c.changes == changes
	return nil
}

// refuses says why an interview of a round comes too late; nil if it does not.
func (c *closures) refuses(study string, round uint32) *fault.Error {
	over, all := c.closed(study, round)
	switch {
	case all:
		return fault.New(fault.Conflict, fault.RoundClosed, "study %.64q is closed", study)
	case over:
		return fault.New(fault.Conflict, fault.RoundClosed, "round %d of study %.64q is closed", round, study)
	}
	return nil
}

// CloseStudy ends data collection of a study or of one of its rounds.
func (s *studyService) CloseStudy(ctx context.Context, req *servicev1.CloseStudyRequest) (*servicev1.CloseStudyResponse, error) {
	st, err := s.changeClosure(ctx, req.GetStudy(), req.Round, req.GetDecidedBy(), func(st *surveyv1.Study) {
		switch {
		case req.Round == nil:
			st.Closed = proto.Bool(true)
		case !slices.Contains(st.GetClosedRounds(), req.GetRound()):
			st.ClosedRounds = append(st.ClosedRounds, req.GetRound())
			slices.Sort(st.ClosedRounds)
		}
	})
	return &servicev1.CloseStudyResponse{Study: st}, err
}

// ReopenStudy opens a study with all its rounds, or one of its rounds.
func (s *studyService) ReopenStudy(ctx context.Context, req *servicev1.ReopenStudyRequest) (*servicev1.ReopenStudyResponse, error) {
	st, err := s.changeClosure(ctx, req.GetStudy(), req.Round, req.GetDecidedBy(), func(st *surveyv1.Study) {
		if req.Round == nil {
			st.Closed, st.ClosedRounds = nil, nil
			return
		}
		st.ClosedRounds = slices.DeleteFunc(st.ClosedRounds, func(r uint32) bool { return r == req.GetRound() })
	})
	return &servicev1.ReopenStudyResponse{Study: st}, err
}

// changeClosure writes a revision of a study in which only that differs what is over.
func (s *studyService) changeClosure(ctx context.Context, code string, round *uint32, by string, change func(*surveyv1.Study)) (*surveyv1.Study, error) {
	if !shortText(by) {
		return nil, fault.New(fault.Invalid, fault.BadRequest, "the name of who decided has more than %d bytes", maxNameBytes)
	}
	s.defining.Lock()
	defer s.defining.Unlock()
	if err := s.Project(ctx); err != nil {
		return nil, err
	}
	st, err := s.findStudy(ctx, code)
	if err != nil {
		return nil, err
	}
	if round != nil && !slices.ContainsFunc(st.GetRounds(), func(r *surveyv1.Round) bool { return r.GetRound() == *round }) {
		return nil, fault.New(fault.NotFound, fault.NoSuchRound, "study %s has no round %d", st.GetStudy(), *round)
	}
	st = proto.CloneOf(st)
	change(st)
	if round != nil && st.GetClosed() {
		return nil, fault.New(fault.Conflict, fault.RoundClosed, "study %s is closed as a whole: open it first, then close the rounds that are over", st.GetStudy())
	}
	return st, s.define(ctx, st, cmp.Or(by, headquarters))
}

// define writes a definition of a study and returns when everything goes by it.
func (s *studyService) define(ctx context.Context, st *surveyv1.Study, by string) error {
	err := s.author.write(ctx, draft{
		kind: servicev1.RecordKind_RECORD_KIND_STUDY, subject: st.GetStudy(), study: st.GetStudy(), author: by, payload: st, revises: true,
	})
	if err != nil {
		return err
	}
	s.closed.changed()
	return s.Project(ctx) // the next Hello of a tablet tells of it
}
