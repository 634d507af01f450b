package store

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"slices"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// Bucket names rows that travel to tablets together.
type Bucket struct {
	Kind  servicev1.BucketKind
	Study string
	// Scope is whose or of what they are; see servicev1.BucketKind.
	Scope string
}

// Row is the state of one row of a bucket after the record with this counter of the part.
type Row struct {
	Bucket
	Part    uint64
	Key     string
	Counter uint64
	// Body is nil where the row is gone.
	Body []byte
}

// BucketSum is what a bucket holds.
type BucketSum struct {
	Bucket
	// Sum is the sum of the fingerprints (syncer.RowFingerprint) of its rows, Rows their number.
	Sum  uint64
	Rows int64
}

// Reviewed is a review and the part of its interview.
type Reviewed struct {
	Part   uint64
	Review *servicev1.Review
}

// RowPage is what came into a bucket after a cursor.
type RowPage struct {
	Rows []Row
	// Cursor is that after the page: for every part in which the bucket ever had a row the counter up to which all is told.
	Cursor syncer.Cursor
	More   bool
	// Sum is what the bucket holds, in the state of the store that the page was read from.
	Sum uint64
	// Behind is true where the cursor asked from is ahead of the projections.
	Behind bool
}

// AssignmentFilter narrows Assignments; empty fields mean all.
type AssignmentFilter struct {
	Study string
	// Enumerator is who has it or waits for it.
	Enumerator   string
	SiteID       string
	ProblemsOnly bool
	// After continues behind the assignment with this id.
	After string
	// Limit is the most to return; 0: no limit.
	Limit int
}

// Downlink is what travels to tablets, and what people see of it. It is derived like all projections. Rows have the
// counters of the log's records, so that a cursor into a bucket holds for projections made again, and finds every row:
// those of one part become visible in the order of their counters, with the cursor of Projected.
type Downlink interface {
	// Assignment returns one, with the interviews that belong to it; fault.NotFound if there is none. An interview is done
	// once however many revisions it has; withdrawn interviews are left out.
	Assignment(ctx context.Context, id string) (*servicev1.AssignmentSummary, error)
	// Assignments returns those that match in order of their ids, each as Assignment does.
	Assignments(ctx context.Context, f AssignmentFilter) ([]*servicev1.AssignmentSummary, error)
	// Reviews returns what was said of an interview, or of all of a study (all studies if both are empty), the newest
	// first, ties in order of ids; at most limit (0: all) behind the one with the id after.
	Reviews(ctx context.Context, interviewID, study, after string, limit int) ([]*servicev1.Review, error)
	// Buckets returns the buckets that hold rows for an enumerator's tablet: assignments, reviews, and of every part where
	// the enumerator has an assignment the roster. Others of the study must not be read for it.
	Buckets(ctx context.Context, study, enumerator string) ([]BucketSum, error)
	// RowsAfter returns about limit rows of a bucket that changed after a cursor, in order of part and counter: those of one
	// counter are never parted. The work is in proportion to the rows returned, not to the bucket.
	RowsAfter(ctx context.Context, b Bucket, cursor syncer.Cursor, limit int) (RowPage, error)
}

// Belonging completes the summary of an assignment by the interviews that belong to it, in order of their ids. Done is
// counted once: at most what was ordered, whoever did it.
func Belonging(s *servicev1.AssignmentSummary, interviews []*servicev1.AssignmentInterview) {
	completed, by := uint32(0), map[string]bool{}
	for _, iv := range interviews {
		if iv.GetCompleted() {
			completed++
			by[iv.GetEnumerator()] = true
		}
	}
	ordered := s.GetAssignment().GetInterviews()
	s.Interviews, s.Done = interviews, proto.Uint32(min(completed, ordered))
	const twice = servicev1.AssignmentProblem_ASSIGNMENT_PROBLEM_DONE_TWICE
	if (completed > ordered || len(by) > 1) && !slices.Contains(s.GetProblems(), twice) {
		s.Problems = append(s.Problems, twice)
	}
}

// RosterOf is the bucket of the hints about people who were interviewed in a part.
func RosterOf(study string, part uint64) Bucket {
	return Bucket{Kind: servicev1.BucketKind_BUCKET_KIND_ROSTER, Study: study, Scope: partName(part)}
}

// partName is a part in hexadecimal digits.
func partName(part uint64) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], part)
	return hex.EncodeToString(b[:])
}
