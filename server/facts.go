package server

import (
	"context"
	"fmt"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/dedup"
	"github.com/hearth-survey/hearth/server/referral"
	"github.com/hearth-survey/hearth/server/store"
)

// facts are what the engines need of all current interviews of a study.
type facts struct {
	people       []*servicev1.PersonRecord
	households   []*servicev1.HouseholdRecord
	interviews   []*servicev1.InterviewSummary
	referrals    []*servicev1.ReferralRecord
	recruitments []*servicev1.RecruitmentRecord
	decisions    []*servicev1.LinkDecision
	coupons      []*servicev1.CouponEvent // for the referral graph alone: see gatherCoupons
}

// gather reads the projections of a study, which are up to date afterwards; an empty code means all studies.
func (s *Server) gather(ctx context.Context, study string) (*facts, error) {
	if err := s.Project(ctx); err != nil {
		return nil, err
	}
	f := &facts{}
	for iv, err := range s.store.Interviews(ctx, store.Filter{Study: study}) {
		if err != nil {
			return nil, fmt.Errorf("read the interviews: %w", err)
		}
		f.add(iv)
	}
	var err error
	if f.decisions, err = s.store.Decisions(ctx, study); err != nil {
		return nil, fmt.Errorf("read the decisions: %w", err)
	}
	return f, nil
}

// gatherCoupons adds what happened to the coupons of a study, or of all studies that have interviews.
func (s *Server) gatherCoupons(ctx context.Context, f *facts, study string) error {
	studies := map[string]bool{study: study != ""}
	for _, iv := range f.interviews {
		studies[iv.GetStudy()] = true
	}
	for code, named := range studies {
		if !named {
			continue
		}
		events, err := s.couponEvents(ctx, code, nil)
		if err != nil {
			return err
		}
		f.coupons = append(f.coupons, events...)
	}
	return nil
}

// add takes in one interview.
func (f *facts) add(iv *servicev1.InterviewProjection) {
	f.interviews = append(f.interviews, iv.GetSummary())
	f.people = append(f.people, iv.GetPeople()...)
	f.households = append(f.households, iv.GetHouseholds()...)
	f.referrals = append(f.referrals, iv.GetReferrals()...)
	if iv.GetRecruitment() != nil {
		f.recruitments = append(f.recruitments, iv.GetRecruitment())
	}
}

// canonical maps the ids of people and households to those that stand for them after the decisions.
func (f *facts) canonical() map[string]string {
	ids := dedup.Canonical(f.people, f.decisions)
	// A household has an id and a time as a person has, and decisions about it are followed in the same way.
	homes := make([]*servicev1.PersonRecord, len(f.households))
	for i, h := range f.households {
		homes[i] = &servicev1.PersonRecord{PersonId: h.HouseholdId, InterviewTimeMs: h.InterviewTimeMs}
	}
	for id, stands := range dedup.Canonical(homes, f.decisions) {
		if _, person := ids[id]; !person {
			ids[id] = stands
		}
	}
	return ids
}

// graph are the facts of the referral graph.
func (f *facts) graph(study *surveyv1.Study) referral.Facts {
	return referral.Facts{
		People: f.people, Interviews: f.interviews, Referrals: f.referrals, Recruitments: f.recruitments,
		Coupons: f.coupons, Sites: study.GetSites(), Merged: dedup.Canonical(f.people, f.decisions),
	}
}

// names leads from person ids to the names told first.
func (f *facts) names() map[string]string {
	out := map[string]string{}
	for _, p := range f.people {
		if n := p.GetIdentity().GetFullName(); n != "" && out[p.GetPersonId()] == "" {
			out[p.GetPersonId()] = n
		}
	}
	return out
}
