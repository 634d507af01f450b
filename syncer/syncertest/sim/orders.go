package sim

import (
	"database/sql"
	"fmt"

	"github.com/google/uuid"
	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/syncer/syncertest"
	"github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/protobuf/proto"
)

// enumerator is whose tablet the nth device is.
func enumerator(dev int) string { return fmt.Sprintf("E%d", dev+1) }

// somebody is the enumerator of one of the tablets.
func (w *world) somebody(n int) string { return enumerator(w.tablets[n%len(w.tablets)].dev) }

// order has headquarters give an assignment to an enumerator.
func (w *world) order(s Step) {
	id, err := uuid.NewRandomFromReader(w.random())
	w.must(err, "make an id")
	_, err = servicev1.NewAssignmentServiceClient(w.hq.conn).CreateAssignment(w.ctx, &servicev1.CreateAssignmentRequest{Assignment: &servicev1.Assignment{
		AssignmentId: proto.String(id.String()), Study: proto.String(study), Enumerator: proto.String(w.somebody(s.N)),
		SiteId: proto.String([]string{"school-a", "school-b"}[w.rand.IntN(2)]), Interviews: proto.Uint32(uint32(1 + w.rand.IntN(2))),
	}})
	if w.hq.do(err) {
		w.orders = append(w.orders, id.String())
	}
}

// givenTo sees that an assignment that was never handed over or taken back stays on its tablet for as long as
// headquarters has it.
func (t *tab) givenTo() {
	w := t.w
	if len(w.orders) == 0 || t.lied {
		return
	}
	all, err := t.store.Assignments(w.ctx)
	w.must(err, "list the assignments of %s", t.name)
	here := map[string]bool{}
	for _, a := range all {
		here[a.Order.GetAssignmentId()] = !a.Withdrawn
	}
	for id := range t.given {
		if here[id] || w.moved[id] {
			continue
		}
		_, err := servicev1.NewAssignmentServiceClient(w.hq.conn).GetAssignment(w.ctx, &servicev1.GetAssignmentRequest{AssignmentId: proto.String(id)})
		if w.hq.do(err, fault.NoSuchAssignment) {
			w.fail("LOST: assignment %s has gone from %s, and headquarters still has it for its enumerator", id, t.name)
		}
	}
	t.given = here
}

// handOver gives an assignment to another enumerator, who may begin when the first has given it back.
func (w *world) handOver(s Step) {
	if len(w.orders) == 0 {
		return
	}
	_, err := servicev1.NewAssignmentServiceClient(w.hq.conn).ReassignAssignment(w.ctx, &servicev1.ReassignAssignmentRequest{
		AssignmentId: proto.String(w.anOrder()), Enumerator: proto.String(w.somebody(s.N)), DecidedBy: proto.String("E9"), Reason: proto.String("nearer"),
	})
	w.hq.do(err, fault.BadAssignment, fault.NoSuchAssignment)
}

// anOrder is one of the assignments, which is then not sure to stay with who has it.
func (w *world) anOrder() string {
	id := w.orders[w.rand.IntN(len(w.orders))]
	w.moved[id] = true
	delete(w.forced, id)
	return id
}

// cancel takes an assignment back.
func (w *world) cancel(Step) {
	if len(w.orders) == 0 {
		return
	}
	_, err := servicev1.NewAssignmentServiceClient(w.hq.conn).CancelAssignment(w.ctx, &servicev1.CancelAssignmentRequest{
		AssignmentId: proto.String(w.anOrder()), DecidedBy: proto.String("E9"), Reason: proto.String("not needed"),
	})
	w.hq.do(err, fault.BadAssignment, fault.NoSuchAssignment)
}

// force ends a hand-over without waiting for the tablet that has the assignment: who was next has it then.
func (w *world) force(Step) {
	if len(w.orders) == 0 {
		return
	}
	id := w.anOrder()
	client := servicev1.NewAssignmentServiceClient(w.hq.conn)
	before, err := client.GetAssignment(w.ctx, &servicev1.GetAssignmentRequest{AssignmentId: proto.String(id)})
	if !w.hq.do(err, fault.NoSuchAssignment) {
		return
	}
	resp, err := client.ReleaseAssignment(w.ctx, &servicev1.ReleaseAssignmentRequest{AssignmentId: proto.String(id), DecidedBy: proto.String("E9"), Reason: proto.String("lost")})
	if !w.hq.do(err, fault.NoHandOver, fault.NoSuchAssignment) {
		return
	}
	if next := before.GetAssignment().GetNext(); resp.GetAssignment().GetHolder() != next {
		w.fail("LOST: assignment %s was to be %s's without waiting, and %q has it", id, next, resp.GetAssignment().GetHolder())
	}
	w.forced[id] = resp.GetAssignment().GetHolder()
	w.trace("       hq  gives an assignment to %s without waiting", w.forced[id])
}

// checkForced sees that who was given an assignment without waiting still has it, if nobody has decided otherwise since.
func (w *world) checkForced(id string, a *servicev1.AssignmentSummary) {
	if to := w.forced[id]; to != "" && (a.GetHolder() != to || a.GetNext() != "") {
		w.fail("LOST: assignment %s was given to %s without waiting, and now %q has it and %q waits", id, to, a.GetHolder(), a.GetNext())
	}
}

// assigned is one of the tablet's assignments, as the list says; nil if there is none for which want is true.
func (t *tab) assigned(want func(tablet.AssignmentStatus) bool) *tablet.AssignmentStatus {
	all, err := t.store.Assignments(t.w.ctx)
	if err != nil && t.lied {
		return nil
	}
	t.w.must(err, "list the assignments of %s", t.name)
	from := t.w.rand.IntN(max(len(all), 1))
	for i := range all {
		if a := &all[(from+i)%len(all)]; want(*a) {
			return a
		}
	}
	return nil
}

// start has an enumerator begin an assignment that is open.
func (w *world) start(s Step) {
	t := w.tablet(s)
	a := t.assigned(func(a tablet.AssignmentStatus) bool {
		return a.State == servicev1.AssignmentState_ASSIGNMENT_STATE_OPEN && !a.Released && !a.Withdrawn
	})
	if a == nil {
		return
	}
	w.touched[t] = true
	if _, err := t.store.StartAssignment(w.ctx, a.Order.GetAssignmentId()); err != nil && !t.lied {
		w.fail("STUCK: %s does not begin an assignment that it shows as open: %v", t.name, err)
	}
	w.trace("       %s  begins an assignment", t.name)
}

// interviewed has an enumerator do an interview for an assignment, whatever its state: nobody is kept from it.
func (w *world) interviewed(s Step) {
	t := w.tablet(s)
	a := t.assigned(func(tablet.AssignmentStatus) bool { return true })
	if a == nil {
		return
	}
	w.records++
	k := 1000 + w.records
	iv := syncertest.Interview("ordered", k, "done")
	iv.Study, iv.SiteId, iv.AssignmentId = proto.String(study), a.Order.SiteId, proto.String(a.Order.GetAssignmentId())
	iv.Enumerator, iv.Status = proto.String(enumerator(t.dev)), surveyv1.InterviewStatus_INTERVIEW_STATUS_COMPLETED.Enum()
	t.record(k, iv)
}

// settle lets the tablets hear of what headquarters makes of what they have sent, and answer, until nothing is left: an
// assignment that is handed over goes to and fro.
func (w *world) settle() {
	if len(w.orders) == 0 && w.reviews == 0 {
		return
	}
	for round := range 6 {
		w.must(w.hq.server.Project(w.ctx), "make the projections")
		sent := 0
		for _, t := range w.tablets {
			l := w.link(t, Step{})
			if err := t.sync(l); err != nil && !t.lied {
				w.fail("STUCK: the faults have ended, and a sync of %s fails: %v", t.name, err)
			}
			sent += l.batch
		}
		if sent == 0 && round > 0 {
			break
		}
		if round == 5 {
			w.fail("STUCK: assignments go to and fro without an end")
		}
	}
	w.check()
}

// bucket names a bucket as a tablet should hold it.
type bucket struct {
	kind  int64
	scope string
}

// checkRows sees that a tablet holds what headquarters has for it, by the sums of both.
func (w *world) checkRows(t *tab) {
	id, _ := identity(t.dev)
	if len(w.orders) == 0 && w.reviews == 0 || w.revoked[id] || t.lied {
		return
	}
	resp, err := servicev1.NewSyncServiceClient(w.hq.conn).Pull(w.ctx, &servicev1.PullRequest{Device: id[:], Study: proto.String(study), ListBuckets: proto.Bool(true)})
	w.must(err, "ask for the buckets of %s", t.name)
	want := map[bucket]uint64{}
	for _, b := range resp.GetBuckets() {
		if b.GetKind() != servicev1.BucketKind_BUCKET_KIND_RECORDS && b.GetSum() != 0 {
			want[bucket{int64(b.GetKind()), b.GetScope()}] = b.GetSum()
		}
	}
	db, err := sql.Open("sqlite", "file:"+t.disk.Path(storeFile)+"?mode=ro&vfs="+t.disk.VFS())
	w.must(err, "look into %s", t.name)
	defer db.Close()
	rows, err := db.QueryContext(w.ctx, "SELECT kind, scope, fingerprint FROM down_row")
	w.must(err, "look into %s", t.name)
	defer rows.Close()
	has := map[bucket]uint64{}
	for rows.Next() {
		var b bucket
		var fingerprint int64
		w.must(rows.Scan(&b.kind, &b.scope, &fingerprint), "look into %s", t.name)
		has[b] += uint64(fingerprint)
	}
	w.must(rows.Err(), "look into %s", t.name)
	for b, sum := range has {
		if want[b] != sum {
			w.fail("DIVERGED: %s has other rows in bucket %d %q than headquarters", t.name, b.kind, b.scope)
		}
	}
	for b := range want {
		if _, ok := has[b]; !ok {
			w.fail("LOST: headquarters' bucket %d %q never came to %s", b.kind, b.scope, t.name)
		}
	}
}

// checkOrders sees that no assignment counts as done more often than was ordered, and that all interviews that were done
// for one are shown with it.
func (w *world) checkOrders() {
	for _, id := range w.orders {
		resp, err := servicev1.NewAssignmentServiceClient(w.hq.conn).GetAssignment(w.ctx, &servicev1.GetAssignmentRequest{AssignmentId: proto.String(id)})
		if err != nil {
			w.hq.do(err, fault.NoSuchAssignment) // it was given after the backup from which headquarters came back
			continue
		}
		a := resp.GetAssignment()
		w.checkForced(id, a)
		if a.GetDone() > max(a.GetAssignment().GetInterviews(), 1) {
			w.fail("DOUBLED: assignment %s of %d interviews counts as done %d times", id, a.GetAssignment().GetInterviews(), a.GetDone())
		}
		if len(a.GetInterviews()) != len(w.done[id]) {
			w.fail("LOST: %d interviews are shown with assignment %s, the log has %d", len(a.GetInterviews()), id, len(w.done[id]))
		}
	}
}
