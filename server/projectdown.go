package server

import (
	"context"
	"fmt"
	"slices"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/dedup"
	"github.com/hearth-survey/hearth/server/projection"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// held returns all records of a kind about a subject, and the greatest of their counters.
func (r *reader) held(ctx context.Context, part uint64, kind servicev1.RecordKind, id string) ([]found, uint64, error) {
	all, err := r.log.Revisions(ctx, part, kind, id)
	if err != nil {
		return nil, 0, fmt.Errorf("read the records of %s: %w", id, err)
	}
	out := make([]found, 0, len(all))
	last := uint64(0)
	for _, st := range all {
		if rec, err := syncer.Open(st.Raw); err == nil {
			out = append(out, found{st.Counter, projection.Revision{Digest: st.Digest, Record: rec}})
			last = max(last, st.Counter)
		}
	}
	return out, last, nil
}

func revisionsOf(all []found) []projection.Revision {
	out := make([]projection.Revision, len(all))
	for i, f := range all {
		out[i] = f.Revision
	}
	return out
}

// assignment makes the view of an assignment and the rows of all who have or had it.
func (r *reader) assignment(ctx context.Context, c *store.Changes, s subject) error {
	all, last, err := r.held(ctx, s.part, s.kind, s.id)
	if err != nil {
		return err
	}
	v := projection.Assignment(revisionsOf(all))
	if v == nil || v.Summary.GetAssignment().GetPart() != s.part {
		return nil // no order of headquarters, which may come yet
	}
	c.Assignments = append(c.Assignments, v.Summary)
	for who, row := range v.Rows {
		b := store.Bucket{Kind: servicev1.BucketKind_BUCKET_KIND_ASSIGNMENTS, Study: v.Summary.GetAssignment().GetStudy(), Scope: who}
		if err := addRow(c, b, s.part, s.id, last, row, row != nil); err != nil {
			return err
		}
	}
	return nil
}

// review adds what was said of an interview, and makes the projection of the interview again.
func (r *reader) review(ctx context.Context, c *store.Changes, s subject, fresh []found) error {
	for _, f := range fresh {
		v := projection.Review(f.Record)
		if v == nil {
			continue
		}
		c.Reviews = append(c.Reviews, store.Reviewed{Part: s.part, Review: v})
		row := &servicev1.ReviewRow{Review: v, Digest: f.Digest[:]}
		if err := addRow(c, reviewsOf(v), s.part, v.GetReviewId(), f.counter, row, true); err != nil {
			return err
		}
	}
	if _, err := r.seen(ctx, s.part, s.id); err != nil { // notes that there is something to look up when the interview comes
		return fmt.Errorf("look up interview %s: %w", s.id, err)
	}
	all, _, err := r.held(ctx, s.part, servicev1.RecordKind_RECORD_KIND_INTERVIEW, s.id)
	if err != nil || len(all) == 0 {
		return err
	}
	return r.interview(ctx, c, s.part, s.id, all, true)
}

// reviewsOf is the bucket that a review is in.
func reviewsOf(v *servicev1.Review) store.Bucket {
	return store.Bucket{Kind: servicev1.BucketKind_BUCKET_KIND_REVIEWS, Study: v.GetStudy(), Scope: v.GetEnumerator()}
}

// interview makes the projection of an interview from all its revisions, and its row of the roster.
func (r *reader) interview(ctx context.Context, c *store.Changes, part uint64, id string, all []found, reviewed bool) error {
	var reviews []found
	if reviewed {
		var err error
		if reviews, _, err = r.held(ctx, part, servicev1.RecordKind_RECORD_KIND_REVIEW, id); err != nil {
			return err
		}
	}
	counters := make([]uint64, len(all))
	for i, f := range all {
		counters[i] = f.counter
	}
	iv, err := r.builder.Reviewed(revisionsOf(all), revisionsOf(reviews))
	if err != nil {
		return fmt.Errorf("project interview %s: %w", id, err)
	}
	c.Interviews, c.Records = append(c.Interviews, iv), append(c.Records, counters)
	row := r.hints(iv)
	return addRow(c, store.RosterOf(iv.GetSummary().GetStudy(), part), part, id, slices.Max(counters), row, len(row.GetTokens()) > 0)
}

// hints is what tablets may know of an interview.
func (r *reader) hints(iv *servicev1.InterviewProjection) *servicev1.HintRow {
	row := &servicev1.HintRow{InterviewKey: iv.GetSummary().InterviewKey}
	if r.hintKey == nil {
		return row
	}
	hinter := r.hinterOf(iv.GetSummary().GetStudy())
	for _, p := range iv.GetPeople() {
		if !p.GetInterviewed() && p.GetRole() != surveyv1.PersonRole_PERSON_ROLE_HOUSEHOLD_MEMBER {
			continue // only named, perhaps in another place
		}
		row.Tokens = hinter.Append(row.Tokens, clueOf(p))
	}
	slices.Sort(row.Tokens)
	row.Tokens = slices.Compact(row.Tokens)
	return row
}

// hinterOf makes hints of a study; a run meets few studies.
func (r *reader) hinterOf(study string) *syncer.Hinter {
	if h, ok := r.hinters[study]; ok {
		return h
	}
	if r.hinters == nil || len(r.hinters) >= maxHinters {
		r.hinters = map[string]*syncer.Hinter{}
	}
	h := syncer.NewHinter(r.hintKey(study))
	r.hinters[study] = h
	return h
}

// maxHinters bounds how many are kept.
const maxHinters = 100

// clueOf is what is known of a person by which the same person may be found again.
func clueOf(p *servicev1.PersonRecord) syncer.Clue {
	id := p.GetIdentity()
	c := syncer.Clue{
		Surname: dedup.Surname(id.GetFullName(), id.GetFamilyName(), id.GetGivenName(), id.GetPinyin()),
		Phone:   id.GetPhone(), ResidentID: id.GetResidentId(),
	}
	if s := p.GetSex(); s == surveyv1.Sex_SEX_MALE || s == surveyv1.Sex_SEX_FEMALE {
		c.Sex = int(s)
	}
	if y := int(p.GetBirthDate().GetYear()); y > 0 {
		c.BirthYears = []int{y}
	} else if p.Age != nil && p.GetInterviewTimeMs() != 0 {
		c.BirthYears = syncer.BornInYears(p.GetInterviewTimeMs(), int(p.GetAge()))
	}
	return c
}

// addRow adds a row, or that it is gone.
func addRow(c *store.Changes, b store.Bucket, part uint64, key string, counter uint64, body proto.Message, there bool) error {
	row := store.Row{Bucket: b, Part: part, Key: key, Counter: counter}
	if b.Scope == "" {
		return nil
	}
	if there {
		var err error
		if row.Body, err = (proto.MarshalOptions{Deterministic: true}).Marshal(body); err != nil {
			return fmt.Errorf("write a row about %s: %w", key, err)
		}
	}
	c.Rows = append(c.Rows, row)
	return nil
}

// removeRows adds that the rows of a withdrawn interview are gone.
func (r *reader) removeRows(ctx context.Context, c *store.Changes, at place) error {
	study := ""
	reviews, last, err := r.held(ctx, at.part, servicev1.RecordKind_RECORD_KIND_REVIEW, at.id)
	if err != nil {
		return err
	}
	for _, kind := range []servicev1.RecordKind{servicev1.RecordKind_RECORD_KIND_INTERVIEW, servicev1.RecordKind_RECORD_KIND_TOMBSTONE} {
		all, n, err := r.held(ctx, at.part, kind, at.id)
		if err != nil {
			return err
		}
		last = max(last, n)
		for _, f := range all {
			study = f.Record.GetStudy()
		}
	}
	for _, f := range reviews {
		if v := projection.Review(f.Record); v != nil {
			if err := addRow(c, reviewsOf(v), at.part, v.GetReviewId(), last, nil, false); err != nil {
				return err
			}
		}
	}
	return addRow(c, store.RosterOf(study, at.part), at.part, at.id, last, nil, false)
}

// settleCounters holds rows back to where the cursor stands. A subject is read whole, so that a record behind the cursor
// may be in it already; it is read again when the cursor passes that record, and has its counter then.
func settleCounters(c *store.Changes) {
	for i := range c.Rows {
		c.Rows[i].Counter = min(c.Rows[i].Counter, c.Cursor.Parts[c.Rows[i].Part])
	}
}
