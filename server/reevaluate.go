package server

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer/failpoint"
	"google.golang.org/protobuf/proto"
)

// reevaluateBatch is how many interviews are evaluated again at a time. Whoever asks for projections waits for one batch at
// most; what tablets send does not wait at all.
const reevaluateBatch = 200

// reevaluations are by which rules the flags of each questionnaire were made. When the rules change, those of all interviews
// held before are made again, some at a time; where that has got to stands on the shelf.
type reevaluations struct {
	mu     sync.Mutex
	of     map[string]*servicev1.QuestionnaireRules
	loaded bool
}

// pending are those that are not done, by questionnaire.
func (r *reevaluations) pending() map[string]*servicev1.QuestionnaireRules {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string]*servicev1.QuestionnaireRules{}
	for name, one := range r.of {
		if !one.GetDone() {
			out[name] = one
		}
	}
	return out
}

// left counts the interviews that are still to be evaluated again.
func (r *reevaluations) left() int64 {
	n := int64(0)
	for _, one := range r.pending() {
		n += max(0, one.GetTotal()-one.GetReevaluated())
	}
	return n
}

func (r *reevaluations) get(name string) *servicev1.QuestionnaireRules {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.of[name]
}

func (r *reevaluations) set(name string, one *servicev1.QuestionnaireRules) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		r.of = map[string]*servicev1.QuestionnaireRules{}
	}
	r.of[name] = one
}

// loadRules reads the shelf, once.
func (s *Server) loadRules(ctx context.Context) error {
	s.rules.mu.Lock()
	loaded := s.rules.loaded
	s.rules.mu.Unlock()
	if loaded {
		return nil
	}
	err := store.Walk(ctx, s.store, store.ShelfRules, nil, func(it store.Item) (bool, error) {
		one := &servicev1.QuestionnaireRules{}
		if proto.Unmarshal(it.Value, one) == nil { // one that cannot be read is made anew
			s.rules.set(string(it.Key), one)
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("read by which rules flags were made: %w", err)
	}
	s.rules.mu.Lock()
	defer s.rules.mu.Unlock()
	s.rules.loaded = true
	return nil
}

// interviewsOf counts the current interviews of a questionnaire.
func (s *Server) interviewsOf(ctx context.Context, name string) (*int64, error) {
	if err := s.Project(ctx); err != nil {
		return nil, err
	}
	cells, err := s.store.CountCells(ctx, "")
	if err != nil {
		return nil, err
	}
	n := int64(0)
	for _, c := range cells {
		if c.GetQuestionnaire() == name {
			n += c.GetInterviews()
		}
	}
	return &n, nil
}

// Reevaluate makes the flags again of all interviews whose questionnaire has other rules now, and tells how far it is. It is
// for who opens a folder without serving it; a server does it by itself, a batch at a time.
func (s *Server) Reevaluate(ctx context.Context, progress func(done, total int)) error {
	for {
		more, err := s.reevaluate(ctx)
		if err != nil || !more {
			return err
		}
		for _, one := range s.rules.pending() {
			progress(int(one.GetReevaluated()), int(one.GetTotal()))
		}
	}
}

// reevaluateInTurn makes flags again until nothing is left, between what the projector has to do.
func (s *Server) reevaluateInTurn(ctx context.Context) {
	if s.hub != nil {
		return
	}
	for more := true; more && ctx.Err() == nil; {
		var err error
		start := time.Now()
		if more, err = s.reevaluate(ctx); err == nil && more {
			err = s.projector.stroll(ctx) // what tablets have sent meanwhile goes first
		}
		rest := time.NewTimer(min(time.Since(start), projectorRestMost))
		select {
		case <-rest.C:
		case <-ctx.Done():
			rest.Stop()
		}
		if err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "flags could not be made again", "error", err)
			return
		}
	}
}

// reevaluate does one batch and says whether there is more to do.
func (s *Server) reevaluate(ctx context.Context) (bool, error) {
	if s.hub != nil {
		return false, nil
	}
	if err := s.loadRules(ctx); err != nil {
		return false, err
	}
	rules := s.forms.state.Load().rules
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		one := s.rules.get(name)
		if bytes.Equal(one.GetSchema(), rules[name]) && one.GetDone() {
			continue
		}
		if !s.rules.begun(name, rules[name]) {
			total, err := s.interviewsOf(ctx, name)
			if err != nil {
				return false, err
			}
			one = &servicev1.QuestionnaireRules{Schema: rules[name], Total: total, Reevaluated: proto.Int64(0), Done: proto.Bool(*total == 0)}
		} else {
			var err error
			if one, err = s.reevaluateSome(ctx, name, one); err != nil {
				return false, err
			}
		}
		if err := store.PutMessage(ctx, s.store, store.ShelfRules, []byte(name), one); err != nil {
			if fault.KindOf(err) == fault.Permission { // a folder opened for reading shows the flags that are there
				return false, nil
			}
			return false, err
		}
		s.rules.set(name, one)
		return true, nil
	}
	return false, nil
}

// reevaluateSome evaluates the interviews that come next.
func (s *Server) reevaluateSome(ctx context.Context, name string, one *servicev1.QuestionnaireRules) (*servicev1.QuestionnaireRules, error) {
	var after *store.Position
	if one.AfterInterviewId != nil {
		after = &store.Position{StartMS: one.GetAfterStartMs(), InterviewID: one.GetAfterInterviewId(), Part: one.GetAfterPart()}
	}
	last, n, err := s.projector.again(ctx, store.Filter{Questionnaire: name, After: after, Limit: reevaluateBatch})
	if err != nil {
		return nil, err
	}
	failpoint.Hit("reevaluate.after-batch")
	one = proto.CloneOf(one)
	one.Reevaluated = proto.Int64(one.GetReevaluated() + int64(n))
	one.Total = proto.Int64(max(one.GetTotal(), one.GetReevaluated()))
	if n < reevaluateBatch {
		one.Done, one.AfterStartMs, one.AfterInterviewId, one.AfterPart = proto.Bool(true), nil, nil, nil
		return one, nil
	}
	one.AfterStartMs, one.AfterInterviewId, one.AfterPart = proto.Int64(last.StartMS), proto.String(last.InterviewID), proto.Uint64(last.Part)
	return one, nil
}

// again makes the projections of some interviews anew from the log, writes those that come out otherwise, and returns where
// the last stands.
func (p *projector) again(ctx context.Context, f store.Filter) (last *store.Position, n int, err error) {
	select {
	case <-p.running:
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
	defer func() { p.running <- struct{}{} }()
	cursor, err := p.store.Projected(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("find how far the projections are: %w", err)
	}
	r := &reader{log: p.store, builder: p.builder}
	c := &store.Changes{From: &cursor, Cursor: cursor}
	for iv, err := range p.store.Interviews(ctx, f) {
		if err != nil {
			return nil, 0, fmt.Errorf("read the interviews: %w", err)
		}
		n++
		last = store.PositionOf(iv.GetSummary())
		made, err := r.remade(ctx, iv.GetSummary())
		if err != nil {
			return nil, 0, err
		}
		if made != nil && !proto.Equal(made, iv) {
			c.Interviews = append(c.Interviews, made)
		}
	}
	if len(c.Interviews) == 0 {
		return last, n, nil
	}
	failpoint.Hit("reevaluate.before-apply")
	if err := p.store.Apply(ctx, c); err != nil {
		return nil, 0, fmt.Errorf("store flags made again: %w", err)
	}
	p.conflicts.note(c)
	return last, n, nil
}

// remade is the projection of an interview made from the log; nil where the log does not have it.
func (r *reader) remade(ctx context.Context, sum *servicev1.InterviewSummary) (*servicev1.InterviewProjection, error) {
	all, _, err := r.held(ctx, sum.GetPart(), servicev1.RecordKind_RECORD_KIND_INTERVIEW, sum.GetInterviewId())
	if err != nil || len(all) == 0 {
		return nil, err
	}
	reviews, _, err := r.held(ctx, sum.GetPart(), servicev1.RecordKind_RECORD_KIND_REVIEW, sum.GetInterviewId())
	if err != nil {
		return nil, err
	}
	made, err := r.builder.Reviewed(revisionsOf(all), revisionsOf(reviews))
	if err != nil {
		return nil, fmt.Errorf("project interview %s: %w", sum.GetInterviewId(), err)
	}
	return made, nil
}

// wake lets the projector look, also where nothing was appended.
func (p *projector) wake() {
	select {
	case p.woken <- struct{}{}:
	default:
	}
}

// followQuestionnaires is told by the projector that the log has publications, perhaps of another server over the same store.
func (s *Server) followQuestionnaires(ctx context.Context) {
	if s.hub != nil || !s.forms.mu.TryLock() {
		return // who publishes here reads them itself
	}
	defer s.forms.mu.Unlock()
	if _, err := s.readQuestionnaires(ctx); err != nil {
		s.log.ErrorContext(ctx, "published questionnaires cannot be read", "error", err)
	}
}

// begun says whether flags are being made again, or were, by the rules of a schema.
func (r *reevaluations) begun(name string, schema []byte) bool {
	return bytes.Equal(r.get(name).GetSchema(), schema)
}
