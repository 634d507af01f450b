package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

var downTests = map[string]func(*testing.T, Factory){
	"assignments":    testAssignments,
	"done once":      testDoneOnce,
	"reviews":        testStoredReviews,
	"rows":           testRows,
	"row pages":      testRowPages,
	"sums":           testRowSums,
	"scopes":         testBuckets,
	"owner":          testOwner,
	"rows reopened":  testRowsReopened,
	"withdrawn down": testWithdrawnDown,
	"erase reviews":  testEraseReviews,
}

const assignmentsKind = servicev1.BucketKind_BUCKET_KIND_ASSIGNMENTS

// parts makes a log that has n records in each of the parts 7 and 1<<63+1, so that a cursor may stand there.
func parts(t *testing.T, s store.Store, n int) {
	t.Helper()
	b := NewTablet(1)
	b.Push(t, s, append(b.Records(t, 7, n), b.Records(t, 1<<63+1, n)...)...)
}

// applyDown applies rows with the cursor at a counter of both parts.
func applyDown(t *testing.T, s store.Store, at uint64, c store.Changes) {
	t.Helper()
	c.Cursor = syncer.Cursor{Epoch: s.Epoch(), Parts: map[uint64]uint64{7: at, 1<<63 + 1: at}}
	if err := s.Apply(t.Context(), &c); err != nil {
		t.Fatal(err)
	}
}

func row(scope string, part uint64, key string, counter uint64, body string) store.Row {
	r := store.Row{Bucket: store.Bucket{Kind: assignmentsKind, Study: "guiyang-2016", Scope: scope}, Part: part, Key: key, Counter: counter}
	if body != "" {
		r.Body = []byte(body)
	}
	return r
}

// pull reads a bucket from a cursor to its end in pages, and says what came.
func pull(t *testing.T, s store.Store, b store.Bucket, from syncer.Cursor, limit int) (got []string, page store.RowPage) {
	t.Helper()
	for range 1000 {
		var err error
		if page, err = s.RowsAfter(t.Context(), b, from, limit); err != nil {
			t.Fatal(err)
		}
		for _, r := range page.Rows {
			got = append(got, fmt.Sprintf("%s@%d=%s", r.Key, r.Counter, r.Body))
			if r.Bucket != b {
				t.Errorf("row %s is of bucket %v, want %v", r.Key, r.Bucket, b)
			}
		}
		if !page.More {
			return got, page
		}
		if len(page.Rows) == 0 {
			t.Fatal("there is more, and nothing comes")
		}
		from = page.Cursor
	}
	t.Fatal("the pages do not end")
	return nil, page
}

func summary(id string, part uint64, change func(*servicev1.AssignmentSummary)) *servicev1.AssignmentSummary {
	a := &servicev1.AssignmentSummary{
		Assignment: &servicev1.Assignment{
			AssignmentId: proto.String(id), Study: proto.String("guiyang-2016"), SiteId: proto.String("花果园"), Part: proto.Uint64(part),
			Enumerator: proto.String("E1"), Interviews: proto.Uint32(1),
		},
		Holder: proto.String("E1"), State: servicev1.AssignmentState_ASSIGNMENT_STATE_OPEN.Enum(),
	}
	if change != nil {
		change(a)
	}
	return a
}

func testAssignments(t *testing.T, f Factory) {
	s := f.Open(t)
	apply := func(all ...*servicev1.AssignmentSummary) {
		t.Helper()
		if err := s.Apply(t.Context(), &store.Changes{Assignments: all}); err != nil {
			t.Fatal(err)
		}
	}
	apply(summary("b", 7, nil), summary("a", 7, nil), summary("B", 1<<63+1, func(a *servicev1.AssignmentSummary) { a.Next = proto.String("E2") }))
	apply(summary("c", 8, func(a *servicev1.AssignmentSummary) {
		a.Holder, a.Assignment.Study = proto.String("e1"), proto.String("other")
		a.Problems = []servicev1.AssignmentProblem{servicev1.AssignmentProblem_ASSIGNMENT_PROBLEM_STARTED_BY_OTHER}
	}), summary("a", 7, func(a *servicev1.AssignmentSummary) { a.Assignment.SiteId = proto.String("老城区") }))
	for _, tc := range []struct {
		f    store.AssignmentFilter
		want []string
	}{
		{store.AssignmentFilter{}, []string{"B", "a", "b", "c"}},
		{store.AssignmentFilter{Study: "guiyang-2016"}, []string{"B", "a", "b"}},
		{store.AssignmentFilter{Enumerator: "E1"}, []string{"B", "a", "b"}},
		{store.AssignmentFilter{Enumerator: "E2"}, []string{"B"}},
		{store.AssignmentFilter{SiteID: "老城区"}, []string{"a"}},
		{store.AssignmentFilter{ProblemsOnly: true}, []string{"c"}},
		{store.AssignmentFilter{After: "B", Limit: 2}, []string{"a", "b"}},
		{store.AssignmentFilter{Enumerator: "' OR 1=1 --"}, nil},
	} {
		all, err := s.Assignments(t.Context(), tc.f)
		var got []string
		for _, a := range all {
			got = append(got, a.GetAssignment().GetAssignmentId())
		}
		if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
			t.Errorf("Assignments(%+v) (-want +got), %v:\n%s", tc.f, err, diff)
		}
	}
	got, err := s.Assignment(t.Context(), "b")
	want := summary("b", 7, func(a *servicev1.AssignmentSummary) { a.Done = proto.Uint32(0) })
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" || err != nil {
		t.Errorf("Assignment (-want +got), %v:\n%s", err, diff)
	}
	if _, err := s.Assignment(t.Context(), "C"); fault.ReasonOf(err) != fault.NoSuchAssignment {
		t.Errorf("Assignment(C): %v, want %s", err, fault.NoSuchAssignment)
	}
}

// Two enumerators have done the same: both interviews stay, it counts once, and somebody is told.
func testDoneOnce(t *testing.T, f Factory) {
	s := f.Open(t)
	if err := s.Apply(t.Context(), &store.Changes{Assignments: []*servicev1.AssignmentSummary{summary("a", 7, nil), summary("b", 7, nil)}}); err != nil {
		t.Fatal(err)
	}
	of := func(assignment, enumerator string, state servicev1.ReviewState) func(*servicev1.InterviewSummary) {
		return func(s *servicev1.InterviewSummary) {
			s.AssignmentId, s.Enumerator, s.ReviewState = proto.String(assignment), proto.String(enumerator), state.Enum()
		}
	}
	const completed, progress = servicev1.ReviewState_REVIEW_STATE_COMPLETED, servicev1.ReviewState_REVIEW_STATE_IN_PROGRESS
	check := func(step string, done uint32, problems, interviews int) {
		t.Helper()
		a, err := s.Assignment(t.Context(), "a")
		if err != nil || a.GetDone() != done || len(a.GetProblems()) != problems || len(a.GetInterviews()) != interviews {
			t.Errorf("%s: %v, %v; want %d done, %d problems, %d interviews", step, a, err, done, problems, interviews)
		}
		list, err := s.Assignments(t.Context(), store.AssignmentFilter{ProblemsOnly: true})
		if (problems > 0) != (len(list) == 1) || err != nil {
			t.Errorf("%s: %d assignments with problems, %v", step, len(list), err)
		}
	}
	apply(t, s, interview("i1", 1, of("a", "E1", progress)))
	check("begun", 0, 0, 1)
	apply(t, s, interview("i1", 1, of("a", "E1", completed)))
	apply(t, s, interview("i1", 1, of("a", "E1", completed))) // another revision of the same
	check("done", 1, 0, 1)
	apply(t, s, interview("i2", 2, of("a", "E2", servicev1.ReviewState_REVIEW_STATE_REJECTED_BY_SUPERVISOR)))
	check("done twice", 1, 1, 2)
	apply(t, s, interview("i2", 2, of("b", "E2", completed)))
	check("moved to another", 1, 0, 1)
	apply(t, s, interview("i1", 1, nil))
	check("moved to none", 0, 0, 0)
}

func testStoredReviews(t *testing.T, f Factory) {
	s := f.Open(t)
	v := func(id, interview, study string, at int64) store.Reviewed {
		return store.Reviewed{Part: 7, Review: &servicev1.Review{ReviewId: proto.String(id), InterviewId: proto.String(interview), Study: proto.String(study), TimeMs: proto.Int64(at)}}
	}
	if err := s.Apply(t.Context(), &store.Changes{Reviews: []store.Reviewed{v("a", "i1", "s", 1), v("b", "i1", "s", 5), v("c", "i2", "s", 5), v("d", "i2", "t", 3)}}); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		interview, study, after string
		limit                   int
		want                    []string
	}{
		{"", "", "", 0, []string{"c", "b", "d", "a"}},
		{"i1", "", "", 0, []string{"b", "a"}},
		{"", "t", "", 0, []string{"d"}},
		{"", "", "b", 1, []string{"d"}},
		{"i1", "", "b", 9, []string{"a"}},
		{"i9", "", "", 0, nil},
	} {
		all, err := s.Reviews(t.Context(), tc.interview, tc.study, tc.after, tc.limit)
		var got []string
		for _, r := range all {
			got = append(got, r.GetReviewId())
		}
		if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
			t.Errorf("Reviews(%q, %q, %q, %d) (-want +got), %v:\n%s", tc.interview, tc.study, tc.after, tc.limit, err, diff)
		}
	}
	if _, err := s.Reviews(t.Context(), "", "", "nobody", 1); fault.ReasonOf(err) != fault.BadPageToken {
		t.Errorf("after nobody: %v, want %s", err, fault.BadPageToken)
	}
}

func testRows(t *testing.T, f Factory) {
	s := f.Open(t)
	parts(t, s, 9)
	b := row("E1", 7, "", 0, "").Bucket
	applyDown(t, s, 3, store.Changes{Rows: []store.Row{row("E1", 7, "x", 1, "eins"), row("E1", 7, "y", 2, "zwei"), row("E1", 1<<63+1, "z", 3, "drei"), row("E2", 7, "x", 1, "andere"), row("E1", 7, "never", 3, "")}})
	got, page := pull(t, s, b, syncer.Cursor{}, 10)
	slices.Sort(got) // the order of parts is the store's
	if diff := cmp.Diff([]string{"x@1=eins", "y@2=zwei", "z@3=drei"}, got); diff != "" {
		t.Errorf("from the beginning (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[uint64]uint64{7: 3, 1<<63 + 1: 3}, page.Cursor.Parts); diff != "" || page.Cursor.Epoch != s.Epoch() {
		t.Errorf("cursor (-want +got):\n%s", diff)
	}
	if again, _ := pull(t, s, b, page.Cursor, 10); len(again) > 0 {
		t.Errorf("nothing is new, but %v came", again)
	}
	// Replaced, gone, and gone to another.
	applyDown(t, s, 6, store.Changes{Rows: []store.Row{row("E1", 7, "x", 4, "neu"), row("E1", 7, "y", 5, ""), row("E2", 7, "y", 5, "zwei")}})
	got, page = pull(t, s, b, page.Cursor, 10)
	if diff := cmp.Diff([]string{"x@4=neu", "y@5="}, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if want := fingerprints("x", "neu") + fingerprints("z", "drei"); page.Sum != want {
		t.Errorf("sum = %x, want %x", page.Sum, want)
	}
	ahead, err := s.RowsAfter(t.Context(), b, syncer.Cursor{Epoch: s.Epoch(), Parts: map[uint64]uint64{7: 8}}, 10)
	if err != nil || !ahead.Behind || len(ahead.Rows) > 0 {
		t.Errorf("a cursor ahead of the projections: %+v, %v; want behind", ahead, err)
	}
}

func fingerprints(key, body string) uint64 {
	return syncer.RowFingerprint(assignmentsKind, key, []byte(body))
}

// Rows of one counter are never parted, and pages of any size make the whole.
func testRowPages(t *testing.T, f Factory) {
	s := f.Open(t)
	parts(t, s, 60)
	var rows []store.Row
	for i := range 50 {
		part := uint64(7)
		if i%3 == 0 {
			part = 1<<63 + 1
		}
		rows = append(rows, row("E1", part, fmt.Sprintf("k%02d", i), uint64(1+i/4), "b"))
	}
	applyDown(t, s, 60, store.Changes{Rows: rows})
	b := rows[0].Bucket
	whole, _ := pull(t, s, b, syncer.Cursor{}, 1000)
	if len(whole) != 50 {
		t.Fatalf("%d rows came, want 50", len(whole))
	}
	for _, limit := range []int{1, 2, 3, 7, 49, 50} {
		if paged, _ := pull(t, s, b, syncer.Cursor{}, limit); !slices.Equal(paged, whole) {
			t.Errorf("pages of %d: %v, want %v", limit, paged, whole)
		}
	}
}

// I7: what is held after a cursor and the changes behind it is what is held after reading from the beginning, whatever
// happened in between; and the sum is that of the rows held.
func testRowSums(t *testing.T, f Factory) {
	s := f.Open(t)
	parts(t, s, 200)
	rnd := rand.New(rand.NewPCG(1, 2))
	held := map[string]string{}
	read := func(into map[string]string, from syncer.Cursor, limit int) store.RowPage {
		t.Helper()
		var page store.RowPage
		for more := true; more; more = page.More {
			var err error
			if page, err = s.RowsAfter(t.Context(), row("E1", 7, "", 0, "").Bucket, from, limit); err != nil {
				t.Fatal(err)
			}
			for _, r := range page.Rows {
				if into[r.Key] = string(r.Body); r.Body == nil {
					delete(into, r.Key)
				}
			}
			from = page.Cursor
		}
		return page
	}
	var cursor syncer.Cursor
	for step := uint64(1); step <= 100; step++ {
		var rows []store.Row
		for range rnd.IntN(4) {
			key := fmt.Sprint(rnd.IntN(12))
			part := []uint64{7, 1<<63 + 1}[len(key)%2] // a subject keeps its part
			body := []string{"", "a", "b"}[rnd.IntN(3)]
			rows = append(rows, row("E1", part, key, step, body))
		}
		applyDown(t, s, step, store.Changes{Rows: rows})
		if rnd.IntN(3) > 0 {
			continue
		}
		page := read(held, cursor, 1+rnd.IntN(4))
		cursor = page.Cursor
		whole := map[string]string{}
		read(whole, syncer.Cursor{}, 1000)
		if diff := cmp.Diff(whole, held); diff != "" {
			t.Fatalf("step %d: by cursor and from the beginning differ (-whole +held):\n%s", step, diff)
		}
		sum := uint64(0)
		for k, v := range held {
			sum += fingerprints(k, v)
		}
		if sum != page.Sum {
			t.Fatalf("step %d: sum of the rows %x, of the bucket %x", step, sum, page.Sum)
		}
	}
	if len(held) < 3 {
		t.Errorf("only %d rows at the end: the test tests little", len(held))
	}
}

func testBuckets(t *testing.T, f Factory) {
	s := f.Open(t)
	parts(t, s, 9)
	hint := func(part uint64, key string, counter uint64, body string) store.Row {
		r := row("", part, key, counter, body)
		r.Bucket = store.RosterOf("guiyang-2016", part)
		return r
	}
	review := row("E1", 7, "r", 2, "said")
	review.Kind = servicev1.BucketKind_BUCKET_KIND_REVIEWS
	other := row("E1", 7, "x", 1, "of another study")
	other.Study = "other"
	applyDown(t, s, 5, store.Changes{Rows: []store.Row{row("E1", 7, "a", 1, "A"), row("E1", 1<<63+1, "b", 1, "B"), row("E2", 7, "c", 1, "C"), review, other,
		hint(7, "i", 1, "seven"), hint(1<<63+1, "j", 1, "high"), hint(9, "k", 0, "not asked for")}})
	scopes := func(enumerator string) []string {
		t.Helper()
		all, err := s.Buckets(t.Context(), "guiyang-2016", enumerator)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, b := range all {
			got = append(got, fmt.Sprintf("%d %s %d", b.Kind, b.Scope, b.Rows))
		}
		slices.Sort(got)
		return got
	}
	want := []string{"1 E1 2", "3 E1 1", "4 0000000000000007 1", "4 8000000000000001 1"}
	if diff := cmp.Diff(want, scopes("E1")); diff != "" {
		t.Errorf("buckets of E1 (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"1 E2 1", "4 0000000000000007 1"}, scopes("E2")); diff != "" {
		t.Errorf("buckets of E2 (-want +got):\n%s", diff)
	}
	if got := scopes("e1"); len(got) > 0 {
		t.Errorf("buckets of nobody: %v", got)
	}
	// The last assignment in a part is gone: so is its roster.
	applyDown(t, s, 6, store.Changes{Rows: []store.Row{row("E1", 1<<63+1, "b", 6, "")}})
	if diff := cmp.Diff([]string{"1 E1 1", "3 E1 1", "4 0000000000000007 1"}, scopes("E1")); diff != "" {
		t.Errorf("buckets of E1 afterwards (-want +got):\n%s", diff)
	}
}

func testOwner(t *testing.T, f Factory) {
	s := f.Open(t)
	b := NewTablet(1)
	if _, err := s.Owner(t.Context(), b.Lane.Device); fault.ReasonOf(err) != fault.DeviceUnknown {
		t.Errorf("Owner of an unknown device: %v, want %s", err, fault.DeviceUnknown)
	}
	if err := s.Greet(t.Context(), b.Greeting("t", 1)); err != nil {
		t.Fatal(err)
	}
	if o, err := s.Owner(t.Context(), b.Lane.Device); err != nil || o != (store.Owner{Enumerator: "enum-t"}) {
		t.Errorf("Owner = %+v, %v; want enum-t of no study", o, err)
	}
	for i, study := range []string{"first", "second"} {
		code := [32]byte{byte(i + 1)}
		e := store.Enrolment{Code: code, Study: study, Name: "t", Enumerator: "E" + study, CreatedMS: int64(1000 + i), ExpiresMS: 5000}
		if err := s.AddEnrolment(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Enrol(t.Context(), code, b.Lane.Device, b.Public(), 2000); err != nil {
			t.Fatal(err)
		}
		if o, err := s.Owner(t.Context(), b.Lane.Device); err != nil || o != (store.Owner{Enumerator: "E" + study, Study: study}) {
			t.Errorf("Owner = %+v, %v; want that of the enrolment for %s", o, err, study)
		}
	}
	// It stays known when its code is long over.
	if err := s.AddEnrolment(t.Context(), store.Enrolment{Code: [32]byte{9}, Study: "x", CreatedMS: 1 << 40, ExpiresMS: 1<<40 + 1}); err != nil {
		t.Fatal(err)
	}
	if o, err := s.Owner(t.Context(), b.Lane.Device); err != nil || o.Study != "second" {
		t.Errorf("Owner long after = %+v, %v; want study second", o, err)
	}
}

func testRowsReopened(t *testing.T, f Factory) {
	if f.Reopen == nil {
		t.Skip("this store cannot be opened again")
	}
	s := f.Open(t)
	parts(t, s, 5)
	applyDown(t, s, 2, store.Changes{Rows: []store.Row{row("E1", 7, "x", 1, "eins"), row("E1", 7, "y", 2, "zwei")}})
	b := row("E1", 7, "", 0, "").Bucket
	_, page := pull(t, s, b, syncer.Cursor{}, 10)
	s = f.Reopen(t, s)
	applyDown(t, s, 4, store.Changes{Rows: []store.Row{row("E1", 7, "x", 3, "neu")}})
	got, after := pull(t, s, b, page.Cursor, 10)
	if diff := cmp.Diff([]string{"x@3=neu"}, got); diff != "" {
		t.Errorf("after opening again (-want +got):\n%s", diff)
	}
	if want := fingerprints("x", "neu") + fingerprints("y", "zwei"); after.Sum != want {
		t.Errorf("sum = %x, want %x", after.Sum, want)
	}
}

// What was said of a withdrawn interview goes with it, and it belongs to no assignment.
func testWithdrawnDown(t *testing.T, f Factory) {
	s := f.Open(t)
	if err := s.Apply(t.Context(), &store.Changes{Assignments: []*servicev1.AssignmentSummary{summary("a", 7, nil)}}); err != nil {
		t.Fatal(err)
	}
	apply(t, s, interview("i1", 1, func(s *servicev1.InterviewSummary) { s.AssignmentId = proto.String("a") }))
	said := &servicev1.Review{ReviewId: proto.String("r"), InterviewId: proto.String("i1")}
	if err := s.Apply(t.Context(), &store.Changes{Reviews: []store.Reviewed{{Part: 7, Review: said}}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(t.Context(), &store.Changes{Withdrawn: []store.Withdrawal{{Part: 7, InterviewID: "i1", Tombstone: &servicev1.Tombstone{}}}}); err != nil {
		t.Fatal(err)
	}
	a, err := s.Assignment(t.Context(), "a")
	if err != nil || len(a.GetInterviews()) > 0 || a.GetDone() > 0 {
		t.Errorf("the assignment still counts it: %v, %v", a, err)
	}
	if all, err := s.Reviews(t.Context(), "", "", "", 0); len(all) > 0 || err != nil {
		t.Errorf("what was said is still there: %v, %v", all, err)
	}
}

// What was said of an interview is destroyed with it.
func testEraseReviews(t *testing.T, f Factory) {
	s, b := f.Open(t), NewTablet(1)
	subject := Subject(99)
	said := b.Record(t, 7, subject, func(r *servicev1.Record) { r.Kind = servicev1.RecordKind_RECORD_KIND_REVIEW.Enum() })
	answers, order := b.Record(t, 7, subject, nil), b.Record(t, 7, subject, func(r *servicev1.Record) { r.Kind = servicev1.RecordKind_RECORD_KIND_TOMBSTONE.Enum() })
	b.Push(t, s, said, answers, order)
	for range 2 {
		if got, err := s.Erase(t.Context(), 7, subject); err != nil || len(got.Digests) != 2 {
			t.Fatalf("Erase = %v, %v; want the interview and the review", got, err)
		}
	}
	for _, kind := range []servicev1.RecordKind{servicev1.RecordKind_RECORD_KIND_REVIEW, servicev1.RecordKind_RECORD_KIND_TOMBSTONE} {
		revs, err := s.Revisions(t.Context(), 7, kind, subject)
		if err != nil || len(revs) != 1 {
			t.Fatalf("%v: %d records, %v", kind, len(revs), err)
		}
		rec, err := syncer.Open(revs[0].Raw)
		if gone := rec.GetPayload() == nil; err != nil || gone != (kind == servicev1.RecordKind_RECORD_KIND_REVIEW) {
			t.Errorf("%v: %v, %v", kind, rec, err)
		}
	}
	check(t, s, 2)
}
