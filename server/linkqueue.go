package server

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/dedup"
	"google.golang.org/protobuf/proto"
)

// maxRivals is how many other partners come with a pair to be decided.
const maxRivals = 4

// ListQueue lists what is to be decided, what gains most first.
func (s *linkageService) ListQueue(ctx context.Context, req *servicev1.ListQueueRequest) (*servicev1.ListQueueResponse, error) {
	const method = servicev1.LinkageService_ListQueue_FullMethodName
	start, err := pairPosition(method, req, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	found, err := s.searchQueue(ctx, req.GetStudy())
	if err != nil {
		return nil, err
	}
	q := found.queue
	resp := &servicev1.ListQueueResponse{Total: proto.Int64(int64(len(q.items)))}
	end := min(start+pageSize(req.GetPageSize()), len(q.items))
	for i := start; i < end; i++ {
		item, err := s.completeItem(ctx, q, q.items[i])
		if err != nil {
			return nil, err
		}
		resp.Items = append(resp.Items, item)
	}
	if end < len(q.items) {
		resp.NextPageToken = pageToken(method, req, strconv.Itoa(end))
	}
	return resp, nil
}

// queue is what is to be decided. It is kept between calls, so that a page costs what stands on it.
type queue struct {
	items  []queued
	rivals map[string][]*servicev1.MatchPair // undecided pairs by id, heaviest first
	met    map[string][]string               // the interviews where people of the pairs and their households were met
}

// queued is a pair to be decided, and what a decision gains.
type queued struct {
	pair *servicev1.MatchPair
	gain float64
}

// compareQueued puts what gains most first.
func compareQueued(a, b queued) int { return -cmp.Compare(a.gain, b.gain) }

// joinQueues makes one queue of those of several studies.
func joinQueues(all []*queue) *queue {
	q := &queue{rivals: map[string][]*servicev1.MatchPair{}, met: map[string][]string{}}
	for _, one := range all {
		q.items = append(q.items, one.items...)
		for id, pairs := range one.rivals {
			q.rivals[id] = append(q.rivals[id], pairs...)
		}
		for id, interviews := range one.met {
			q.met[id] = append(q.met[id], interviews...)
		}
	}
	slices.SortStableFunc(q.items, compareQueued)
	return q
}

// newQueue orders the pairs that nobody has decided, and that decisions about others have not settled: two who count as one
// already, or of whom one counts as somebody who must not be the other.
func newQueue(r *dedup.Result, f *facts) *queue {
	q := &queue{rivals: map[string][]*servicev1.MatchPair{}, met: map[string][]string{}}
	ids := f.canonical()
	standsFor := func(id string) string { return cmp.Or(ids[id], id) }
	_, cannot := dedup.Decided(f.decisions)
	apart := map[[2]string]bool{}
	for p := range cannot {
		apart[[2]string{standsFor(p[0]), standsFor(p[1])}] = true
		apart[[2]string{standsFor(p[1]), standsFor(p[0])}] = true
	}
	for _, p := range r.Pairs {
		a, b := standsFor(p.GetAId()), standsFor(p.GetBId())
		if p.GetDecision() != servicev1.DecisionKind_DECISION_KIND_UNSPECIFIED || a == b || apart[[2]string{a, b}] {
			continue
		}
		q.rivals[p.GetAId()] = append(q.rivals[p.GetAId()], p)
		q.rivals[p.GetBId()] = append(q.rivals[p.GetBId()], p)
		q.items = append(q.items, queued{p, p.GetProbability() * standTwice(p)})
	}
	slices.SortStableFunc(q.items, compareQueued)
	q.meet(f.people)
	return q
}

// meet notes where the people and the households of the pairs were met.
func (q *queue) meet(people []*servicev1.PersonRecord) {
	homes := map[string]bool{}
	for _, p := range people {
		if q.rivals[p.GetPersonId()] != nil {
			homes[p.GetHouseholdId()] = true
		}
	}
	note := func(id, interview string) {
		if !slices.Contains(q.met[id], interview) {
			q.met[id] = append(q.met[id], interview)
		}
	}
	for _, p := range people {
		if q.rivals[p.GetPersonId()] != nil {
			note(p.GetPersonId(), p.GetInterviewId())
		}
		if h := p.GetHouseholdId(); h != "" && (homes[h] || q.rivals[h] != nil) {
			note(h, p.GetInterviewId())
		}
	}
}

// standTwice is how many people stand twice in the data if a pair is one: of households those who were met again.
func standTwice(p *servicev1.MatchPair) float64 {
	if p.GetSubject() != servicev1.LinkSubject_LINK_SUBJECT_HOUSEHOLD {
		return 1
	}
	n := 0
	for _, e := range p.GetEvidence() {
		if e.GetField() == dedup.MemberField {
			n++
		}
	}
	return float64(max(n, 1))
}

// completeItem adds to a pair what is needed to decide it.
func (s *linkageService) completeItem(ctx context.Context, q *queue, item queued) (*servicev1.QueueItem, error) {
	p := item.pair
	done := &servicev1.QueueItem{Pair: p, Gain: proto.Float64(item.gain)}
	for _, id := range []string{p.GetAId(), p.GetBId()} {
		for _, r := range q.rivals[id] {
			if r != p && !slices.Contains(done.Rivals, r) {
				done.Rivals = append(done.Rivals, r)
			}
		}
	}
	slices.SortStableFunc(done.Rivals, func(a, b *servicev1.MatchPair) int { return -cmp.Compare(a.GetWeight(), b.GetWeight()) })
	done.Rivals = done.Rivals[:min(len(done.Rivals), maxRivals)]
	if len(done.Rivals) > 0 {
		done.Margin = proto.Float64(p.GetWeight() - done.Rivals[0].GetWeight())
	}
	var err error
	if done.A, done.ARoster, err = s.side(ctx, q, p, p.GetAId()); err != nil {
		return nil, err
	}
	done.B, done.BRoster, err = s.side(ctx, q, p, p.GetBId())
	return done, err
}

// side is everything told of one of two, and the rosters that they stand on.
func (s *linkageService) side(ctx context.Context, q *queue, p *servicev1.MatchPair, id string) (records, roster []*servicev1.PersonRecord, err error) {
	if p.GetSubject() == servicev1.LinkSubject_LINK_SUBJECT_HOUSEHOLD {
		roster, err = s.peopleOf(ctx, q.met[id], func(r *servicev1.PersonRecord) bool { return r.GetHouseholdId() == id })
		return nil, roster, err
	}
	records, err = s.peopleOf(ctx, q.met[id], func(r *servicev1.PersonRecord) bool { return r.GetPersonId() == id })
	if err != nil {
		return nil, nil, err
	}
	var homes []string
	for _, r := range records {
		h := r.GetHouseholdId()
		if h == "" || slices.Contains(homes, h) {
			continue
		}
		homes = append(homes, h)
		members, err := s.peopleOf(ctx, q.met[h], func(r *servicev1.PersonRecord) bool { return r.GetHouseholdId() == h })
		if err != nil {
			return nil, nil, err
		}
		roster = append(roster, members...)
	}
	return records, roster, nil
}

// peopleOf reads some interviews and those of their people who are asked for.
func (s *linkageService) peopleOf(ctx context.Context, interviews []string, wanted func(*servicev1.PersonRecord) bool) ([]*servicev1.PersonRecord, error) {
	var out []*servicev1.PersonRecord
	for _, id := range interviews {
		iv, err := s.store.Interview(ctx, id)
		switch {
		case fault.KindOf(err) == fault.NotFound: // withdrawn just now
			continue
		case err != nil:
			return nil, fmt.Errorf("read the interview %s: %w", id, err)
		}
		for _, r := range iv.GetPeople() {
			if wanted(r) {
				out = append(out, r)
			}
		}
	}
	return out, nil
}

// GetPerson shows one person as it counts.
func (s *linkageService) GetPerson(ctx context.Context, req *servicev1.GetPersonRequest) (*servicev1.GetPersonResponse, error) {
	f, err := s.gather(ctx, "")
	if err != nil {
		return nil, err
	}
	ids := dedup.Canonical(f.people, f.decisions)
	id, ok := ids[f.byKey(req.GetId())]
	if !ok {
		return nil, fault.New(fault.NotFound, fault.NoSuchPerson, "%.64q is not among the people of the interviews here", req.GetId())
	}
	resp := &servicev1.GetPersonResponse{EntityId: proto.String(id)}
	var study string
	for _, p := range f.people {
		if ids[p.GetPersonId()] != id {
			continue
		}
		resp.Appearances = append(resp.Appearances, p)
		study = cmp.Or(study, p.GetStudy())
		if !slices.Contains(resp.PersonIds, p.GetPersonId()) {
			resp.PersonIds = append(resp.PersonIds, p.GetPersonId())
		}
	}
	slices.Sort(resp.PersonIds)
	slices.SortStableFunc(resp.Appearances, func(a, b *servicev1.PersonRecord) int {
		return cmp.Or(cmp.Compare(a.GetInterviewTimeMs(), b.GetInterviewTimeMs()), cmp.Compare(a.GetInterviewKey(), b.GetInterviewKey()))
	})
	st, err := s.findStudy(ctx, study)
	if err != nil && fault.KindOf(err) != fault.NotFound { // interviews may come before their study
		return nil, err
	}
	resp.Values = dedup.Survive(resp.Appearances, f.decisions, st.GetSurvivors())
	resp.Decisions = dedup.InForce(f.decisions, resp.PersonIds)
	r, err := s.search(ctx, study)
	if err != nil {
		return nil, err
	}
	for _, g := range dedup.Groups(personLinks(r), f.decisions, 0) {
		if !slices.Contains(g.IDs, id) {
			continue
		}
		for _, other := range g.IDs {
			if !slices.Contains(resp.PersonIds, other) {
				resp.LikelyIds = append(resp.LikelyIds, other)
				resp.LikelyConfidence = proto.Float64(g.Confidence)
			}
		}
	}
	return resp, nil
}

// ListGroups lists the people who are taken for one.
func (s *linkageService) ListGroups(ctx context.Context, req *servicev1.ListGroupsRequest) (*servicev1.ListGroupsResponse, error) {
	const method = servicev1.LinkageService_ListGroups_FullMethodName
	start, err := pairPosition(method, req, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	r, err := s.search(ctx, req.GetStudy())
	if err != nil {
		return nil, err
	}
	decisions, err := s.store.Decisions(ctx, req.GetStudy())
	if err != nil {
		return nil, fmt.Errorf("read the decisions: %w", err)
	}
	links := personLinks(r)
	known := map[string]bool{} // decisions are of all studies, and of households too
	for _, c := range r.Clusters {
		if c.Subject == servicev1.LinkSubject_LINK_SUBJECT_PERSON {
			for _, id := range c.IDs {
				known[id] = true
			}
		}
	}
	for _, l := range links {
		known[l.A], known[l.B] = true, true
	}
	groups := dedup.Groups(links, decisions, 0)
	groups = slices.DeleteFunc(groups, func(g dedup.Group) bool { return !known[g.IDs[0]] })
	slices.SortStableFunc(groups, func(a, b dedup.Group) int { return cmp.Compare(a.Confidence, b.Confidence) })
	one := dedup.Groups(nil, decisions, 0)
	resp := &servicev1.ListGroupsResponse{Total: proto.Int64(int64(len(groups)))}
	end := min(start+pageSize(req.GetPageSize()), len(groups))
	for i := start; i < end; i++ {
		g := groups[i]
		whole := slices.ContainsFunc(one, func(d dedup.Group) bool { return slices.Equal(d.IDs, g.IDs) })
		resp.Groups = append(resp.Groups, &servicev1.PersonGroup{PersonIds: g.IDs, Confidence: proto.Float64(g.Confidence), Decided: proto.Bool(whole)})
	}
	if end < len(groups) {
		resp.NextPageToken = pageToken(method, req, strconv.Itoa(end))
	}
	return resp, nil
}

// personLinks are the pairs of people that were found, as links.
func personLinks(r *dedup.Result) []dedup.Link {
	var out []dedup.Link
	for _, p := range r.Pairs {
		if p.GetSubject() == servicev1.LinkSubject_LINK_SUBJECT_PERSON {
			out = append(out, dedup.Link{A: p.GetAId(), B: p.GetBId(), Weight: p.GetWeight()})
		}
	}
	return out
}
