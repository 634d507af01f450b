package server

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// memoryDown is what a memory store keeps of what travels down. The zero value is ready.
type memoryDown struct {
	assignments map[string]*servicev1.AssignmentSummary
	reviews     map[string]store.Reviewed
	rows        map[rowKey]store.Row
}

type rowKey struct {
	store.Bucket
	part uint64
	key  string
}

// down applies what travels down. The lock is held.
func (m *memory) down(c *store.Changes) {
	if m.rows == nil {
		m.assignments, m.reviews, m.rows = map[string]*servicev1.AssignmentSummary{}, map[string]store.Reviewed{}, map[rowKey]store.Row{}
	}
	for _, a := range c.Assignments {
		m.assignments[a.GetAssignment().GetAssignmentId()] = proto.CloneOf(a)
	}
	for _, r := range c.Reviews {
		m.reviews[r.Review.GetReviewId()] = r
	}
	for _, r := range c.Rows {
		k := rowKey{r.Bucket, r.Part, r.Key}
		if _, was := m.rows[k]; was || r.Body != nil {
			m.rows[k] = r
		}
	}
	for _, w := range c.Withdrawn {
		maps.DeleteFunc(m.reviews, func(_ string, r store.Reviewed) bool {
			return r.Part == w.Part && r.Review.GetInterviewId() == w.InterviewID
		})
	}
}

func (m *memory) summary(a *servicev1.AssignmentSummary) *servicev1.AssignmentSummary {
	a = proto.CloneOf(a)
	var all []*servicev1.AssignmentInterview
	for _, id := range slices.Sorted(maps.Keys(m.interviews)) {
		s := m.interviews[id].GetSummary()
		if s.GetAssignmentId() == a.GetAssignment().GetAssignmentId() {
			all = append(all, &servicev1.AssignmentInterview{
				InterviewId: s.InterviewId, InterviewKey: proto.String(s.GetInterviewKey()), Enumerator: proto.String(s.GetEnumerator()),
				Completed: proto.Bool(s.GetReviewState() > servicev1.ReviewState_REVIEW_STATE_IN_PROGRESS),
			})
		}
	}
	store.Belonging(a, all)
	return a
}

func (m *memory) Assignment(_ context.Context, id string) (*servicev1.AssignmentSummary, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a, ok := m.assignments[id]; ok {
		return m.summary(a), nil
	}
	return nil, fault.New(fault.NotFound, fault.NoSuchAssignment, "there is no assignment %.64q", id)
}

func (m *memory) Assignments(_ context.Context, f store.AssignmentFilter) ([]*servicev1.AssignmentSummary, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []*servicev1.AssignmentSummary
	for _, id := range slices.Sorted(maps.Keys(m.assignments)) {
		a := m.summary(m.assignments[id])
		o := a.GetAssignment()
		if id <= f.After || f.Study != "" && o.GetStudy() != f.Study || f.SiteID != "" && o.GetSiteId() != f.SiteID ||
			f.Enumerator != "" && a.GetHolder() != f.Enumerator && a.GetNext() != f.Enumerator || f.ProblemsOnly && len(a.GetProblems()) == 0 {
			continue
		}
		if out = append(out, a); f.Limit > 0 && len(out) == f.Limit {
			break
		}
	}
	return out, nil
}

func (m *memory) Reviews(_ context.Context, interviewID, study, after string, limit int) ([]*servicev1.Review, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []*servicev1.Review
	for _, r := range m.reviews {
		all = append(all, r.Review)
	}
	slices.SortFunc(all, func(a, b *servicev1.Review) int {
		return cmp.Or(cmp.Compare(b.GetTimeMs(), a.GetTimeMs()), cmp.Compare(b.GetReviewId(), a.GetReviewId()))
	})
	if after != "" {
		i := slices.IndexFunc(all, func(r *servicev1.Review) bool { return r.GetReviewId() == after })
		if i < 0 {
			return nil, fault.New(fault.NotFound, fault.BadPageToken, "there is no review %.64q to continue after", after)
		}
		all = all[i+1:]
	}
	var out []*servicev1.Review
	for _, r := range all {
		if (interviewID == "" || r.GetInterviewId() == interviewID) && (study == "" || r.GetStudy() == study) && (limit == 0 || len(out) < limit) {
			out = append(out, r)
		}
	}
	return out, nil
}

func (m *memory) bucket(b store.Bucket) store.BucketSum {
	s := store.BucketSum{Bucket: b}
	for _, r := range m.rows {
		if r.Bucket == b && r.Body != nil {
			s.Rows++
			s.Sum += syncer.RowFingerprint(b.Kind, r.Key, r.Body)
		}
	}
	return s
}

func (m *memory) Buckets(_ context.Context, study, enumerator string) ([]store.BucketSum, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	parts := map[uint64]bool{}
	for _, r := range m.rows {
		if r.Kind == servicev1.BucketKind_BUCKET_KIND_ASSIGNMENTS && r.Study == study && r.Scope == enumerator && r.Body != nil {
			parts[r.Part] = true
		}
	}
	all := []store.Bucket{
		{Kind: servicev1.BucketKind_BUCKET_KIND_ASSIGNMENTS, Study: study, Scope: enumerator},
		{Kind: servicev1.BucketKind_BUCKET_KIND_REVIEWS, Study: study, Scope: enumerator},
	}
	for _, p := range slices.Sorted(maps.Keys(parts)) {
		all = append(all, store.RosterOf(study, p))
	}
	var out []store.BucketSum
	for _, b := range all {
		if s := m.bucket(b); s.Rows > 0 {
			out = append(out, s)
		}
	}
	return out, nil
}

func (m *memory) RowsAfter(_ context.Context, b store.Bucket, cursor syncer.Cursor, limit int) (store.RowPage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	page := store.RowPage{Cursor: syncer.Cursor{Epoch: m.epoch, Parts: map[uint64]uint64{}}, Sum: m.bucket(b).Sum}
	var fresh []store.Row
	for _, r := range m.rows {
		if r.Bucket != b {
			continue
		}
		page.Cursor.Parts[r.Part] = m.projected.Parts[r.Part]
		page.Behind = page.Behind || cursor.Parts[r.Part] > m.projected.Parts[r.Part]
		if r.Counter > cursor.Parts[r.Part] {
			fresh = append(fresh, r)
		}
	}
	if page.Behind {
		return page, nil
	}
	slices.SortFunc(fresh, func(a, b store.Row) int {
		return cmp.Or(cmp.Compare(a.Part, b.Part), cmp.Compare(a.Counter, b.Counter), cmp.Compare(a.Key, b.Key))
	})
	for i, r := range fresh {
		if i >= limit && (r.Part != fresh[i-1].Part || r.Counter != fresh[i-1].Counter) {
			for _, later := range fresh[i:] {
				page.Cursor.Parts[later.Part] = cursor.Parts[later.Part]
			}
			for _, there := range page.Rows {
				page.Cursor.Parts[there.Part] = max(page.Cursor.Parts[there.Part], there.Counter)
			}
			page.More = true
			break
		}
		page.Rows = append(page.Rows, r)
	}
	return page, nil
}
