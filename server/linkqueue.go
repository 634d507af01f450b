package server

import (
	"cmp"
	"context"
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
	r, err := s.search(ctx, req.GetStudy())
	if err != nil {
		return nil, err
	}
	f, err := s.gather(ctx, req.GetStudy())
	if err != nil {
		return nil, err
	}
	q := newQueue(r, f)
	resp := &servicev1.ListQueueResponse{Total: proto.Int64(int64(len(q.items)))}
	end := min(start+pageSize(req.GetPageSize()), len(q.items))
	if start < end {
		resp.Items = q.complete(q.items[start:end], f)
	}
	if end < len(q.items) {
		resp.NextPageToken = pageToken(method, req, strconv.Itoa(end))
	}
	return resp, nil
}

// queue is what is to be decided.
type queue struct {
	items   []*servicev1.QueueItem
	rivals  map[string][]*servicev1.MatchPair // undecided pairs by id, heaviest first
	records map[string][]*servicev1.PersonRecord
	rosters map[string][]*servicev1.PersonRecord
}

// newQueue orders the pairs that nobody has decided, and that decisions about others have not settled: two who count as one
// already, or of whom one counts as somebody who must not be the other.
func newQueue(r *dedup.Result, f *facts) *queue {
	q := &queue{rivals: map[string][]*servicev1.MatchPair{}}
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
		q.items = append(q.items, &servicev1.QueueItem{Pair: p, Gain: proto.Float64(p.GetProbability() * standTwice(p))})
	}
	slices.SortStableFunc(q.items, func(a, b *servicev1.QueueItem) int { return -cmp.Compare(a.GetGain(), b.GetGain()) })
	return q
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

// complete adds to some items what is needed to decide them.
func (q *queue) complete(items []*servicev1.QueueItem, f *facts) []*servicev1.QueueItem {
	q.records, q.rosters = map[string][]*servicev1.PersonRecord{}, map[string][]*servicev1.PersonRecord{}
	for _, p := range f.people {
		q.records[p.GetPersonId()] = append(q.records[p.GetPersonId()], p)
		if h := p.GetHouseholdId(); h != "" {
			q.rosters[h] = append(q.rosters[h], p)
		}
	}
	out := make([]*servicev1.QueueItem, len(items))
	for i, item := range items {
		p := item.GetPair()
		done := &servicev1.QueueItem{Pair: p, Gain: item.Gain}
		done.A, done.ARoster = q.side(p, p.GetAId())
		done.B, done.BRoster = q.side(p, p.GetBId())
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
		out[i] = done
	}
	return out
}

// side is everything told of one of two, and the rosters that they stand on.
func (q *queue) side(p *servicev1.MatchPair, id string) (records, roster []*servicev1.PersonRecord) {
	if p.GetSubject() == servicev1.LinkSubject_LINK_SUBJECT_HOUSEHOLD {
		return nil, q.rosters[id]
	}
	records = q.records[id]
	var homes []string
	for _, r := range records {
		if h := r.GetHouseholdId(); h != "" && !slices.Contains(homes, h) {
			homes = append(homes, h)
			roster = append(roster, q.rosters[h]...)
		}
	}
	return records, roster
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
	resp.Values = dedup.Survive(resp.Appearances, f.decisions)
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
