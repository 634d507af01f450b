package server

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	offline "github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"
)

// rowsOf are all rows that there are, by bucket and key, without where they changed.
func (m *memory) rowsOf() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]string{}
	for k, r := range m.rows {
		if r.Body != nil {
			out[fmt.Sprintf("%v %s %s %016x %s", k.Kind, k.Study, k.Scope, k.part, k.key)] = string(r.Body)
		}
	}
	return out
}

// season is everything a season of fieldwork leaves in a log: orders, hand-overs, interviews, reviews, a withdrawal.
func season(t *testing.T) *memory {
	t.Helper()
	m := newMemory()
	tm := newTeam(t, m, "A", "B")
	reviews := servicev1.NewReviewServiceClient(tm.conn)
	say := func(iv *surveyv1.Interview, decision servicev1.ReviewDecision) {
		t.Helper()
		_, err := reviews.CreateReview(t.Context(), &servicev1.CreateReviewRequest{InterviewId: iv.InterviewId, Decision: decision.Enum(),
			Comments: []*servicev1.ReviewComment{{Text: proto.String("再问一次"), Path: proto.String("remarks")}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	give := func(id, e string) {
		t.Helper()
		if _, err := tm.assignments.ReassignAssignment(t.Context(), &servicev1.ReassignAssignmentRequest{AssignmentId: &id, Enumerator: &e}); err != nil {
			t.Fatal(err)
		}
	}
	add := func(e string, iv *surveyv1.Interview) {
		t.Helper()
		if _, _, err := tm.tablets[e].AddInterview(t.Context(), iv); err != nil {
			t.Fatal(err)
		}
	}
	named := func(assignment, site string) *surveyv1.Interview {
		iv := interviewFor(assignment, site)
		iv.Respondent = &surveyv1.Person{PersonId: proto.String(iv.GetInterviewId()), Sex: surveyv1.Sex_SEX_FEMALE.Enum(), Age: proto.Int32(30),
			Identity: &surveyv1.Identity{FullName: proto.String("王小红"), Phone: proto.String("13800001111")}}
		return iv
	}
	first, second, third := tm.assign(t, "A", "school-c"), tm.assign(t, "A", "school-d"), tm.assign(t, "B", "school-c")
	tm.sync(t, "A")
	one, two, three := named(first, "school-c"), named(third, "school-c"), named("", "school-e")
	add("A", one)
	give(second, "B")
	tm.sync(t, "A")
	tm.sync(t, "B")
	add("B", two)
	add("B", three)
	tm.sync(t, "B")
	say(one, servicev1.ReviewDecision_REVIEW_DECISION_REJECT)
	say(two, servicev1.ReviewDecision_REVIEW_DECISION_COMMENT)
	say(three, servicev1.ReviewDecision_REVIEW_DECISION_REJECT)
	tm.sync(t, "A")
	one.Remarks = proto.String("corrected")
	add("A", one)
	tm.sync(t, "A")
	say(one, servicev1.ReviewDecision_REVIEW_DECISION_APPROVE)
	give(third, "A")
	tm.sync(t, "B")
	tm.sync(t, "A")
	if _, err := reviews.WithdrawInterview(t.Context(), &servicev1.WithdrawInterviewRequest{InterviewId: three.InterviewId}); err != nil {
		t.Fatal(err)
	}
	return m
}

// In whatever order the records of a season are stored, and whenever projections are made between, rows, sums and states
// are the same; and so are they when all projections are made again.
func TestRowsInAnyOrder(t *testing.T) {
	from := season(t)
	set, err := builtin()
	if err != nil {
		t.Fatal(err)
	}
	var digests []syncer.Digest
	raws := map[syncer.Digest][]byte{}
	for _, r := range from.records {
		digests, raws[r.Digest] = append(digests, r.Digest), r.Raw
	}
	want := from.rowsOf()
	if len(want) < 8 || len(digests) < 15 {
		t.Fatalf("%d rows of %d records: the test tests little", len(want), len(digests))
	}
	summaries := func(m *memory) map[string]*servicev1.InterviewSummary {
		out := map[string]*servicev1.InterviewSummary{}
		for id, iv := range m.interviews {
			out[id] = iv.GetSummary()
		}
		return out
	}
	rapid.Check(t, func(rt *rapid.T) {
		ctx := context.Background()
		m := newMemory()
		srv, err := New(Config{Store: m, Key: newTablet("hq").key, Questionnaires: set})
		if err != nil {
			rt.Fatal(err)
		}
		for _, d := range rapid.Permutation(digests).Draw(rt, "order") {
			rec, err := syncer.Open(raws[d])
			if err != nil {
				rt.Fatal(err)
			}
			e := syncer.Entry{Digest: d, Raw: raws[d], Record: rec}
			if _, err := m.Append(ctx, &syncer.Checked{Lane: srv.author.lane, Entries: []syncer.Entry{e}}); err != nil {
				rt.Fatal(err)
			}
			if rapid.IntRange(0, 3).Draw(rt, "project") == 0 {
				if err := srv.Project(ctx); err != nil {
					rt.Fatal(err)
				}
			}
		}
		if err := srv.Project(ctx); err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(want, m.rowsOf()); diff != "" {
			rt.Errorf("rows (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(summaries(from), summaries(m), protocmp.Transform()); diff != "" {
			rt.Errorf("interviews (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(from.assignments, m.assignments, protocmp.Transform()); diff != "" {
			rt.Errorf("assignments (-want +got):\n%s", diff)
		}
		if len(from.reviews) != len(m.reviews) {
			rt.Errorf("%d reviews, want %d", len(m.reviews), len(from.reviews))
		}
		again := newMemory()
		if err := srv.Rebuild(ctx, m, func(c *store.Changes) error { return again.Apply(ctx, c) }); err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(m.rowsOf(), again.rowsOf()); diff != "" {
			rt.Errorf("rows made again (-kept +again):\n%s", diff)
		}
		for k, r := range again.rows {
			if r.Body != nil && r.Counter != m.rows[k].Counter {
				rt.Errorf("row %s changed at %d, made again at %d", k.key, m.rows[k].Counter, r.Counter)
			}
		}
	})
}

// A sync with nothing new is one call of few bytes.
func TestNothingNewIsOneCall(t *testing.T) {
	tm := newTeam(t, newMemory(), "A")
	if _, err := servicev1.NewStudyServiceClient(tm.conn).PutStudy(t.Context(), &servicev1.PutStudyRequest{Study: guiyang()}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		id := tm.assign(t, "E1", guiyang().GetSites()[0].GetSiteId())
		if _, err := tm.assignments.ReassignAssignment(t.Context(), &servicev1.ReassignAssignmentRequest{AssignmentId: &id, Enumerator: proto.String("E2")}); err != nil {
			t.Fatal(err)
		}
	}
	st, err := offline.Create(t.Context(), filepath.Join(t.TempDir(), "t.sqlite"), offline.CreateOptions{Name: "tablet-03", Enumerator: "E2", Study: "guiyang"})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	tm.tablets["E2"] = st
	if _, _, err := st.AddInterview(t.Context(), interviewFor("", "school-c")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		tm.sync(t, "E2")
	}
	counted := &lossy{ClientConnInterface: tm.conn}
	report, err := st.Sync(t.Context(), counted, onlyOnce())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int{"Hello": 1}, counted.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if total := report.BytesUp + report.BytesDown; total >= 600 {
		t.Errorf("%d bytes up and %d down, want less than 600", report.BytesUp, report.BytesDown)
	}
	t.Logf("%d bytes up, %d down", report.BytesUp, report.BytesDown)
}

// longList is a server on SQLite whose study has a list of so many assignments of one enumerator.
func longList(t testing.TB, n int) (*team, store.Store) {
	t.Helper()
	const counters = 500
	st := openSQLite(t, t.TempDir())
	tb := newTablet("filler")
	if err := st.Greet(t.Context(), store.Greeting{Device: tb.lane.Device, Key: tb.hello().GetPublicKey()}); err != nil {
		t.Fatal(err)
	}
	part := syncer.Part("guiyang", "school-c")
	checked := &syncer.Checked{Lane: tb.lane}
	for i := range counters { // of a kind that no projection knows
		raw := tb.record(t, interviewFor("", "school-c"), func(r *servicev1.Record) { r.Kind, r.Part = servicev1.RecordKind(99).Enum(), proto.Uint64(part) })
		rec, err := syncer.Open(raw)
		if err != nil {
			t.Fatal(err)
		}
		checked.Entries = append(checked.Entries, syncer.Entry{Seq: uint64(i + 1), Digest: syncer.DigestOf(raw), Raw: raw, Record: rec})
	}
	if _, err := st.Append(t.Context(), checked); err != nil {
		t.Fatal(err)
	}
	c := &store.Changes{Cursor: syncer.Cursor{Epoch: st.Epoch(), Parts: map[uint64]uint64{part: counters}}}
	for i := range n {
		row := &servicev1.AssignmentRow{State: servicev1.AssignmentState_ASSIGNMENT_STATE_OPEN.Enum(), Assignment: &servicev1.Assignment{
			AssignmentId: proto.String(fmt.Sprintf("%08d-0000-4000-8000-000000000000", i)), Study: proto.String("guiyang"), Enumerator: proto.String("A"), Part: proto.Uint64(part)}}
		body, err := proto.MarshalOptions{Deterministic: true}.Marshal(row)
		if err != nil {
			t.Fatal(err)
		}
		c.Rows = append(c.Rows, store.Row{
			Bucket: store.Bucket{Kind: servicev1.BucketKind_BUCKET_KIND_ASSIGNMENTS, Study: "guiyang", Scope: "A"}, Part: part,
			Key: row.GetAssignment().GetAssignmentId(), Counter: uint64(1 + i*counters/n), Body: body})
	}
	if err := st.Apply(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	set, err := builtin()
	if err != nil {
		t.Fatal(err)
	}
	srv, err := New(Config{Store: st, Key: newTablet("hq").key, Questionnaires: set})
	if err != nil {
		t.Fatal(err)
	}
	return &team{Server: srv, conn: srv.Local(), assignments: servicev1.NewAssignmentServiceClient(srv.Local()), tablets: map[string]*offline.Store{}}, st
}

// One changed row of a list of 100,000 costs less than 1 KB, and the server no more than one of a short list.
func TestOneChangedRowOfALongList(t *testing.T) {
	long, short := 100_000, 1_000
	if testing.Short() {
		long, short = 4_000, 200
	}
	took := map[int]time.Duration{}
	for _, n := range []int{short, long} {
		tm, st := longList(t, n)
		var err error
		tm.tablets["A"], err = offline.Create(t.Context(), filepath.Join(t.TempDir(), "t.sqlite"), offline.CreateOptions{Name: "tablet-03", Enumerator: "A", Study: "guiyang"})
		if err != nil {
			t.Fatal(err)
		}
		if r := tm.sync(t, "A"); r.Rows[servicev1.BucketKind_BUCKET_KIND_ASSIGNMENTS] != n {
			t.Fatalf("%d rows came at first, want %d", r.Rows[servicev1.BucketKind_BUCKET_KIND_ASSIGNMENTS], n)
		}
		before, err := st.Projected(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		id := tm.assign(t, "A", "school-c")
		report := tm.sync(t, "A")
		if total := report.BytesUp + report.BytesDown; total >= 1000 || report.Rows[servicev1.BucketKind_BUCKET_KIND_ASSIGNMENTS] != 1 {
			t.Errorf("of %d: %d rows, %d bytes up and %d down; want 1 row in less than 1,000 bytes", n, report.Rows[servicev1.BucketKind_BUCKET_KIND_ASSIGNMENTS], report.BytesUp, report.BytesDown)
		} else {
			t.Logf("of %d: %d bytes up, %d down", n, report.BytesUp, report.BytesDown)
		}
		if tm.holds(t, "A", id) != "OPEN" {
			t.Errorf("the new assignment is %q on the tablet", tm.holds(t, "A", id))
		}
		took[n] = time.Hour
		for range 40 { // the quickest of many: others use this machine too
			start := time.Now()
			page, err := st.RowsAfter(t.Context(), store.Bucket{Kind: servicev1.BucketKind_BUCKET_KIND_ASSIGNMENTS, Study: "guiyang", Scope: "A"}, before, 500)
			if err != nil || len(page.Rows) != 1 {
				t.Fatalf("%d rows, %v", len(page.Rows), err)
			}
			took[n] = min(took[n], time.Since(start))
		}
		_ = tm.tablets["A"].Close()
	}
	if took[long] > 8*took[short] {
		t.Errorf("the server takes %v for one change of %d rows, and %v of %d: it reads the whole bucket", took[long], long, took[short], short)
	}
}

// cutAt is a connection that is cut at the nth Pull, before or after the server has answered, and calls between before it.
type cutAt struct {
	grpc.ClientConnInterface
	n, pulls int
	answered bool
	between  func()
}

func (c *cutAt) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if !strings.HasSuffix(method, "/Pull") {
		return c.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
	}
	c.pulls++
	if c.pulls > 1 && c.between != nil {
		c.between()
	}
	if c.pulls == c.n && !c.answered {
		return fault.New(fault.Unavailable, fault.Unreachable, "cut")
	}
	err := c.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
	if c.pulls == c.n {
		return fault.New(fault.Unavailable, fault.Unreachable, "cut")
	}
	return err
}

// However a fetch is cut, and whatever changes at headquarters between its pages, the tablet holds what headquarters held
// at one moment; what has come is not fetched again.
func TestTabletHoldsOneMoment(t *testing.T) {
	m := newMemory()
	part := [2]uint64{syncer.Part("guiyang", "school-c"), syncer.Part("guiyang", "school-d")}
	at := uint64(0)
	change := func(tm *team, n, from int) {
		t.Helper()
		at++
		c := &store.Changes{Cursor: syncer.Cursor{Epoch: m.epoch, Parts: map[uint64]uint64{part[0]: at, part[1]: at}}}
		for i := from; i < from+n; i++ {
			id := fmt.Sprintf("%08d-0000-4000-8000-000000000000", i)
			row := &servicev1.AssignmentRow{State: servicev1.AssignmentState_ASSIGNMENT_STATE_OPEN.Enum(), Assignment: &servicev1.Assignment{
				AssignmentId: proto.String(id), Study: proto.String("guiyang"), Enumerator: proto.String("A"), Note: proto.String(fmt.Sprint(at))}}
			body, err := proto.MarshalOptions{Deterministic: true}.Marshal(row)
			if err != nil {
				t.Fatal(err)
			}
			if at > 5 && i%7 == 0 {
				body = nil
			}
			c.Rows = append(c.Rows, store.Row{Bucket: store.Bucket{Kind: servicev1.BucketKind_BUCKET_KIND_ASSIGNMENTS, Study: "guiyang", Scope: "A"},
				Part: part[i%2], Key: id, Counter: at, Body: body})
		}
		if err := m.Apply(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 4 {
		change(nil, 400, 400*i)
	}
	tm := newTeam(t, m, "A")
	moments := map[string]bool{"": true}
	moment := func() string { // what headquarters holds now, by key and change
		var text []string
		m.mu.Lock()
		defer m.mu.Unlock()
		for k, r := range m.rows {
			if r.Body != nil {
				row := &servicev1.AssignmentRow{}
				_ = proto.Unmarshal(r.Body, row)
				text = append(text, k.key[:8]+"="+row.GetAssignment().GetNote())
			}
		}
		return joinSorted(text)
	}
	seen := func() string {
		all, err := tm.tablets["A"].Assignments(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var text []string
		for _, a := range all {
			text = append(text, a.Order.GetAssignmentId()[:8]+"="+a.Order.GetNote())
		}
		return joinSorted(text)
	}
	moments[moment()] = true
	step := 0
	between := func() {
		step++
		change(tm, 5, (step*37)%1500)
		moments[moment()] = true
	}
	for i := 1; i <= 6; i++ {
		for _, answered := range []bool{false, true} {
			cut := &cutAt{ClientConnInterface: tm.conn, n: i % 4, answered: answered, between: between}
			_, err := tm.tablets["A"].Sync(t.Context(), cut, onlyOnce())
			if now := seen(); !moments[now] {
				t.Fatalf("after a cut at Pull %d (%v) the tablet holds what headquarters never held: %d rows", i, err, strings.Count(now, "="))
			}
			between()
		}
	}
	tm.sync(t, "A")
	if seen() != moment() {
		t.Error("in the end the tablet does not hold what headquarters holds")
	}
	if step < 10 {
		t.Errorf("only %d changes came between: the test tests little", step)
	}
}

func joinSorted(all []string) string {
	slices.Sort(all)
	return strings.Join(all, " ")
}

// peeking is a store that looks at a bucket after every step of the projections.
type peeking struct {
	store.Store
	bucket store.Bucket
	peeked func(store.RowPage, error)
}

func (p *peeking) Apply(ctx context.Context, c *store.Changes) error {
	err := p.Store.Apply(ctx, c)
	if err == nil {
		p.peeked(p.Store.RowsAfter(ctx, p.bucket, syncer.Cursor{}, 10))
	}
	return err
}

// A subject is read whole: its row may be made of a record that the projections have not come to. It does not stand ahead
// of them for that: a reader who went by it would miss what lies between.
func TestRowsAreNeverAheadOfTheCursor(t *testing.T) {
	inner := openSQLite(t, t.TempDir())
	tb := newTablet("filler")
	part := syncer.Part("guiyang", "school-c")
	if err := inner.Greet(t.Context(), store.Greeting{Device: tb.lane.Device, Key: tb.hello().GetPublicKey()}); err != nil {
		t.Fatal(err)
	}
	order := func(note string) []byte {
		a := &servicev1.Assignment{AssignmentId: proto.String("3b241101-e2bb-4255-8caf-4136c566a962"), Study: proto.String("guiyang"), Part: proto.Uint64(part),
			Enumerator: proto.String("A"), Action: servicev1.AssignmentAction_ASSIGNMENT_ACTION_ASSIGN.Enum(), Note: proto.String(note)}
		raw, err := proto.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		return tb.record(t, interviewFor("", "school-c"), func(r *servicev1.Record) {
			r.Kind, r.Subject, r.Part, r.Payload = servicev1.RecordKind_RECORD_KIND_ASSIGNMENT.Enum(), a.AssignmentId, proto.Uint64(part), raw
		})
	}
	checked := &syncer.Checked{Lane: tb.lane}
	add := func(raw []byte) {
		rec, err := syncer.Open(raw)
		if err != nil {
			t.Fatal(err)
		}
		checked.Entries = append(checked.Entries, syncer.Entry{Seq: uint64(len(checked.Entries) + 1), Digest: syncer.DigestOf(raw), Raw: raw, Record: rec})
	}
	add(order("first"))
	for range projectorBatch + projectorPage {
		add(tb.record(t, interviewFor("", "school-c"), func(r *servicev1.Record) { r.Kind, r.Part = servicev1.RecordKind(99).Enum(), proto.Uint64(part) }))
	}
	add(order("second"))
	if _, err := inner.Append(t.Context(), checked); err != nil {
		t.Fatal(err)
	}
	peeks := 0
	p := &peeking{Store: inner, bucket: store.Bucket{Kind: servicev1.BucketKind_BUCKET_KIND_ASSIGNMENTS, Study: "guiyang", Scope: "A"}}
	p.peeked = func(page store.RowPage, err error) {
		peeks++
		if err != nil || len(page.Rows) != 1 || page.Rows[0].Counter > page.Cursor.Parts[part] {
			t.Errorf("after step %d: %+v, %v; want one row not ahead of the cursor", peeks, page, err)
		}
	}
	set, err := builtin()
	if err != nil {
		t.Fatal(err)
	}
	srv, err := New(Config{Store: p, Key: newTablet("hq").key, Questionnaires: set})
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Project(t.Context()); err != nil {
		t.Fatal(err)
	}
	if peeks < 2 {
		t.Errorf("the projections were made in %d steps: the test tests nothing", peeks)
	}
	page, err := inner.RowsAfter(t.Context(), p.bucket, syncer.Cursor{}, 10)
	if err != nil || len(page.Rows) != 1 || page.Rows[0].Counter != uint64(len(checked.Entries)) {
		t.Errorf("in the end: %+v, %v; want the counter of the last record", page, err)
	}
}
