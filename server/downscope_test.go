package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	offline "github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/protobuf/proto"
)

// A tablet with a session gets what is for its own enumerator and study, whatever it asks for; a revoked one a notice.
func TestTabletAsksForItselfAlone(t *testing.T) {
	d := newDesk(t, newMemory())
	patient(d)
	desk := servicev1.NewAssignmentServiceClient(d.conn)
	sync := servicev1.NewSyncServiceClient(d.conn)
	give := func(study, enumerator string) {
		t.Helper()
		_, err := desk.CreateAssignment(with(t.Context()), &servicev1.CreateAssignmentRequest{Assignment: &servicev1.Assignment{
			Study: &study, Enumerator: &enumerator, SiteId: proto.String("school-c")}})
		if err != nil {
			t.Fatal(err)
		}
	}
	own := newTablet("own")
	own.enrol(t, d) // of E1, for the study guiyang
	enumerator := "E1"
	if o, err := d.store.Owner(t.Context(), own.lane.Device); err != nil || o.Study != "guiyang" {
		t.Fatalf("Owner = %+v, %v", o, err)
	} else {
		enumerator = o.Enumerator
	}
	give("guiyang", enumerator)
	give("guiyang", "E9")
	give("other", enumerator)
	session := own.session(t, d)
	hello := own.hello()
	hello.DownSum, hello.Study, hello.Enumerator = proto.Uint64(0), proto.String("other"), proto.String("E9")
	resp, err := sync.Hello(session, hello)
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, b := range resp.GetBuckets() {
		listed = append(listed, fmt.Sprintf("%d %s", b.GetKind(), b.GetScope()))
	}
	slices.Sort(listed)
	if want := []string{"1 " + enumerator, "2 ", "5 ", "6 "}; !slices.Equal(listed, want) {
		t.Errorf("the Hello lists %q, want %q", listed, want)
	}
	pull := func(ctx context.Context, tb *tablet, study string, kind servicev1.BucketKind, scope string) *servicev1.PullResponse {
		t.Helper()
		resp, err := sync.Pull(ctx, &servicev1.PullRequest{Device: tb.lane.Device[:], Study: &study, Buckets: []*servicev1.BucketCursor{{Kind: kind.Enum(), Scope: &scope}}})
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	const assignments = servicev1.BucketKind_BUCKET_KIND_ASSIGNMENTS
	page := pull(session, own, "other", assignments, enumerator).GetPages()[0]
	if len(page.GetRows()) != 1 || page.GetGone() {
		t.Fatalf("its own bucket: %v", page)
	}
	row := &servicev1.AssignmentRow{}
	if err := proto.Unmarshal(page.GetRows()[0].GetBody(), row); err != nil || row.GetAssignment().GetStudy() != "guiyang" {
		t.Errorf("its own bucket is of study %q, %v; want that of its enrolment", row.GetAssignment().GetStudy(), err)
	}
	part := fmt.Sprintf("%016x", syncer.Part("other", "school-c"))
	for _, tc := range []struct {
		kind  servicev1.BucketKind
		scope string
	}{{assignments, "E9"}, {assignments, ""}, {servicev1.BucketKind_BUCKET_KIND_REVIEWS, "E9"}, {servicev1.BucketKind_BUCKET_KIND_ROSTER, part}, {99, "x"}} {
		if page := pull(session, own, "guiyang", tc.kind, tc.scope).GetPages()[0]; !page.GetGone() || len(page.GetRows()) > 0 {
			t.Errorf("bucket %v of %q: %v; want none", tc.kind, tc.scope, page)
		}
	}
	for _, bad := range []*servicev1.PullRequest{
		{Device: own.lane.Device[:], Buckets: make([]*servicev1.BucketCursor, maxBuckets+1)},
		{Device: own.lane.Device[:], Buckets: []*servicev1.BucketCursor{{Kind: servicev1.BucketKind_BUCKET_KIND_RECORDS.Enum()}}},
	} {
		for i := range bad.Buckets {
			if bad.Buckets[i] == nil {
				bad.Buckets[i] = &servicev1.BucketCursor{}
			}
		}
		if _, err := sync.Pull(session, bad); fault.Reason(reasonOf(err)) != fault.BadRequest {
			t.Errorf("a request that cannot be answered: %v", err)
		}
	}
	d.revoke(t, own, "lost")
	session = own.session(t, d)
	if resp := pull(session, own, "guiyang", assignments, enumerator); resp.GetNotice().GetReason() != string(fault.DeviceRevoked) || len(resp.GetPages()) > 0 {
		t.Errorf("a revoked tablet gets %v", resp)
	}
	if resp, err := sync.Hello(session, hello); err != nil || resp.GetNotice() == nil || len(resp.GetBuckets()) > 0 || resp.DownSum != nil {
		t.Errorf("a revoked tablet's Hello is answered %v, %v", resp, err)
	}
}

// The server is restored from a backup: its log has another epoch, and has lost the newest. The tablet then holds what
// that server holds, nothing twice and nothing old; what has not changed is not fetched.
func TestServerRestoredFromBackup(t *testing.T) {
	m := newMemory()
	tm := newTeam(t, m, "A")
	kept := tm.assign(t, "A", "school-c")
	n := len(m.records)
	lost := tm.assign(t, "A", "school-c")
	tm.sync(t, "A")
	if tm.holds(t, "A", lost) != "OPEN" {
		t.Fatal("the tablet does not hold what is to be lost")
	}
	restore := func(records []store.Stored, epoch byte) *team {
		t.Helper()
		old := newMemory()
		old.epoch = syncer.ID{epoch}
		for _, r := range records {
			rec, err := syncer.Open(r.Raw)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := old.Append(t.Context(), &syncer.Checked{Lane: tm.author.lane, Entries: []syncer.Entry{{Digest: r.Digest, Raw: r.Raw, Record: rec}}}); err != nil {
				t.Fatal(err)
			}
		}
		again := newTeam(t, old)
		again.tablets = tm.tablets
		if err := again.Project(t.Context()); err != nil {
			t.Fatal(err)
		}
		return again
	}
	again := restore(m.records[:n], 9)
	again.sync(t, "A")
	if got := again.holds(t, "A", lost); got != "" {
		t.Errorf("the tablet still holds what the server has lost: %s", got)
	}
	if got := again.holds(t, "A", kept); got != "OPEN" {
		t.Errorf("the tablet holds what was kept as %q", got)
	}
	fresh := again.assign(t, "A", "school-c")
	if r := again.sync(t, "A"); r.Rows[servicev1.BucketKind_BUCKET_KIND_ASSIGNMENTS] != 1 || again.holds(t, "A", fresh) != "OPEN" {
		t.Errorf("a new assignment after the restore: %+v", r)
	}
	// Restored to the same state: the sums agree, and nothing is fetched.
	same := restore(again.store.records, 10)
	counted := &lossy{ClientConnInterface: same.conn}
	if _, err := tm.tablets["A"].Sync(t.Context(), counted, onlyOnce()); err != nil || counted.calls["Pull"] > 0 {
		t.Errorf("a server with another epoch and the same rows: %v, calls %v", err, counted.calls)
	}
}

// slowProjections is a store on which projections cannot be written yet.
type slowProjections struct {
	*memory
	fails bool
}

func (s *slowProjections) Apply(ctx context.Context, c *store.Changes) error {
	if s.fails {
		return errors.New("the projections are not there yet")
	}
	return s.memory.Apply(ctx, c)
}

// A server whose projections are made again says nothing of what there is until they are whole: the tablet keeps what it
// has, and what it lacks comes later.
func TestProjectionsMadeAgain(t *testing.T) {
	m := newMemory()
	tm := newTeam(t, m, "A")
	kept := tm.assign(t, "A", "school-c")
	tm.sync(t, "A")
	fresh := tm.assign(t, "A", "school-c")
	again := newMemory()
	again.epoch = syncer.ID{9}
	for _, r := range m.records {
		rec, err := syncer.Open(r.Raw)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := again.Append(t.Context(), &syncer.Checked{Lane: tm.author.lane, Entries: []syncer.Entry{{Digest: r.Digest, Raw: r.Raw, Record: rec}}}); err != nil {
			t.Fatal(err)
		}
	}
	slow := &slowProjections{memory: again, fails: true}
	set, err := builtin()
	if err != nil {
		t.Fatal(err)
	}
	srv, err := New(Config{Store: slow, Key: newTablet("hq").key, Questionnaires: set})
	if err != nil {
		t.Fatal(err)
	}
	sync := func() {
		t.Helper()
		if _, err := tm.tablets["A"].Sync(t.Context(), srv.Local(), onlyOnce()); err != nil {
			t.Fatal(err)
		}
	}
	sync()
	if got := tm.holds(t, "A", kept); got != "OPEN" {
		t.Errorf("while projections are made again the tablet holds its assignment as %q", got)
	}
	slow.fails = false
	sync()
	if got := tm.holds(t, "A", kept) + tm.holds(t, "A", fresh); got != "OPENOPEN" {
		t.Errorf("the tablet then holds its two assignments as %q", got)
	}
}

// A server that stands before the tablet's cursor, as a hub that has not heard from headquarters, does not set it back.
func TestOlderServerSetsNothingBack(t *testing.T) {
	m := newMemory()
	tm := newTeam(t, m, "A")
	tm.assign(t, "A", "school-c")
	older := newMemory() // the same log, as it was
	older.epoch = m.epoch
	rec, err := syncer.Open(m.records[0].Raw)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := older.Append(t.Context(), &syncer.Checked{Lane: tm.author.lane, Entries: []syncer.Entry{{Digest: m.records[0].Digest, Raw: m.records[0].Raw, Record: rec}}}); err != nil {
		t.Fatal(err)
	}
	second := tm.assign(t, "A", "school-c")
	tm.sync(t, "A")
	hub := newTeam(t, older)
	hub.tablets = tm.tablets
	if err := hub.Project(t.Context()); err != nil {
		t.Fatal(err)
	}
	hub.sync(t, "A")
	if got := tm.holds(t, "A", second); got != "OPEN" {
		t.Errorf("after a sync with an older server the tablet holds the newer assignment as %q", got)
	}
}

// A scope that is withdrawn takes its rows with it, and what holds for the study does not go.
func TestWithdrawnScope(t *testing.T) {
	tm := newTeam(t, newMemory(), "A", "B")
	for range 3 {
		iv := interviewFor("", "school-c")
		iv.Respondent = &surveyv1.Person{Sex: surveyv1.Sex_SEX_MALE.Enum(), BirthDate: &surveyv1.PartialDate{Year: proto.Int32(1980)},
			Identity: &surveyv1.Identity{FullName: proto.String("王小明")}}
		if _, _, err := tm.tablets["A"].AddInterview(t.Context(), iv); err != nil {
			t.Fatal(err)
		}
	}
	tm.sync(t, "A")
	id := tm.assign(t, "B", "school-c")
	door := func() offline.DoorReport {
		t.Helper()
		r, err := tm.tablets["B"].DoorCheck(t.Context(), offline.Visitor{FamilyName: "王", BirthYear: 1980, Sex: surveyv1.Sex_SEX_MALE})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := door(); r.Known != 0 {
		t.Errorf("before any sync the tablet knows %d interviews", r.Known)
	}
	tm.sync(t, "B")
	if r := door(); r.Known != 3 || len(r.Keys) != 1 {
		t.Errorf("with an assignment at the site: %+v, want a warning from 3 interviews", r)
	}
	if _, err := tm.assignments.CancelAssignment(t.Context(), &servicev1.CancelAssignmentRequest{AssignmentId: &id}); err != nil {
		t.Fatal(err)
	}
	tm.sync(t, "B")
	if r := door(); r.Known != 0 || len(r.Keys) > 0 {
		t.Errorf("without one: %+v, want nothing", r)
	}
	if r := tm.sync(t, "B"); len(r.Rows) > 0 {
		t.Errorf("another sync brings %v", r.Rows)
	}
}

// Only headquarters orders and reviews: what a tablet writes so is kept in quarantine, and changes nothing.
func TestTabletsGiveNoOrders(t *testing.T) {
	d := newDesk(t, newMemory())
	tb := newTablet("bold")
	tb.greet(t, d)
	a := &servicev1.Assignment{AssignmentId: proto.String("3b241101-e2bb-4255-8caf-4136c566a962"), Study: proto.String("guiyang"), Part: proto.Uint64(7), Enumerator: proto.String("E1")}
	of := func(kind servicev1.RecordKind, payload proto.Message) []byte {
		t.Helper()
		raw, err := proto.Marshal(payload)
		if err != nil {
			t.Fatal(err)
		}
		return tb.record(t, interviewFor("", "school-c"), func(r *servicev1.Record) {
			r.Kind, r.Subject, r.Study, r.Part, r.Payload = kind.Enum(), a.AssignmentId, a.Study, a.Part, raw
		})
	}
	with := func(change func(*servicev1.Assignment)) []byte {
		b := proto.CloneOf(a)
		change(b)
		return of(servicev1.RecordKind_RECORD_KIND_ASSIGNMENT, b)
	}
	for _, tc := range []struct {
		name   string
		raw    []byte
		reason fault.Reason
	}{
		{"an order", with(func(a *servicev1.Assignment) { a.Action = servicev1.AssignmentAction_ASSIGNMENT_ACTION_ASSIGN.Enum() }), fault.UnknownKind},
		{"force", with(func(a *servicev1.Assignment) { a.Action = servicev1.AssignmentAction_ASSIGNMENT_ACTION_FORCE.Enum() }), fault.UnknownKind},
		{"no action", with(func(*servicev1.Assignment) {}), fault.UnknownKind},
		{"of another assignment", with(func(a *servicev1.Assignment) { a.AssignmentId = proto.String("x") }), fault.PayloadUnreadable},
		{"of another part", with(func(a *servicev1.Assignment) { a.Part = proto.Uint64(8) }), fault.PayloadUnreadable},
		{"a review", of(servicev1.RecordKind_RECORD_KIND_REVIEW, &servicev1.Review{InterviewId: a.AssignmentId}), fault.UnknownKind},
		{"a start", with(func(a *servicev1.Assignment) { a.Action = servicev1.AssignmentAction_ASSIGNMENT_ACTION_START.Enum() }), ""},
	} {
		ack, err := d.take(t.Context(), tb.batch(tc.raw))
		if err != nil {
			t.Fatal(err)
		}
		got := fault.Reason("")
		if len(ack.GetResults()) > 0 {
			got = fault.Reason(ack.GetResults()[0].GetReason())
		}
		if got != tc.reason {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.reason)
		}
	}
	if err := d.Project(t.Context()); err != nil {
		t.Fatal(err)
	}
	if all, err := d.store.Assignments(t.Context(), store.AssignmentFilter{}); len(all) > 0 || err != nil {
		t.Errorf("a tablet has given orders: %v, %v", all, err)
	}
}
