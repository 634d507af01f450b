package server

import (
	"testing"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/protobuf/proto"
)

// Assignments come down through the hub while headquarters is away, under headquarters' cursors and sums: a tablet goes on
// at headquarters without fetching anything again, and a hub that knows less than the tablet takes nothing away from it.
func TestHubServesBuckets(t *testing.T) {
	f, ts := teamOf(t, 1, "a", "b")
	a, b, hub := ts[0], ts[1], f.hubs[0]
	_, err := servicev1.NewStudyServiceClient(f.hq.srv.Local()).PutStudy(with(t.Context()), &servicev1.PutStudyRequest{Study: &surveyv1.Study{
		Study: proto.String("guiyang"), Sites: []*surveyv1.Site{{SiteId: proto.String("s1")}}, Enumerators: []*surveyv1.Enumerator{{Enumerator: proto.String("E-a")}, {Enumerator: proto.String("E-b")}}}})
	if err != nil {
		t.Fatal(err)
	}
	desk := func() servicev1.AssignmentServiceClient {
		return servicev1.NewAssignmentServiceClient(f.hq.srv.Local())
	}
	assign := func(to string) string {
		t.Helper()
		resp, err := desk().CreateAssignment(with(t.Context()), &servicev1.CreateAssignmentRequest{Assignment: &servicev1.Assignment{
			Study: proto.String("guiyang"), Questionnaire: proto.String("household"), SiteId: proto.String("s1"), Enumerator: proto.String(to), Interviews: proto.Uint32(1), DecidedBy: proto.String("Zhang")}})
		if err != nil {
			t.Fatal(err)
		}
		return resp.GetAssignment().GetAssignment().GetAssignmentId()
	}
	has := func(w *walker, want int, when string) {
		t.Helper()
		all, err := w.Assignments(t.Context())
		if err != nil || len(all) != want {
			t.Errorf("%s %s: %d assignments, %v; want %d", w.name, when, len(all), err, want)
		}
	}
	first := assign("E-a")
	assign("E-b")
	a.sync(hub) // the hub has not asked about it yet
	b.sync(hub)
	f.once(hub)
	hub.up.away = true
	r := a.sync(hub)
	if has(a, 1, "through the hub"); r.Pulled != 1 || r.Rows[servicev1.BucketKind_BUCKET_KIND_ASSIGNMENTS] != 1 {
		t.Errorf("a through the hub: %+v", r)
	}
	b.sync(hub)
	has(b, 1, "through the hub")
	if r := a.sync(hub); r.Rows != nil || r.Pulled != 0 {
		t.Errorf("a again: %+v; want nothing new", r)
	}
	calls := &radio{to: f.hq}
	if r, err := a.Sync(t.Context(), calls, fastOptions()); err != nil || r.Rows != nil || r.Pulled != 0 || calls.n.Load() != 3 {
		t.Errorf("a at headquarters: %+v, %v in %d calls; want a session and a Hello", r, err, calls.n.Load())
	}
	// Headquarters goes on; the tablet hears of it there, the hub does not.
	assign("E-a")
	a.sync(f.hq)
	has(a, 2, "at headquarters")
	a.sync(hub)
	has(a, 2, "at a hub that is behind")
	// The hub hears of it, and of one that is recalled; it tells each tablet what it has not heard.
	hub.up.away = false
	if _, err := desk().CancelAssignment(with(t.Context()), &servicev1.CancelAssignmentRequest{AssignmentId: proto.String(first), DecidedBy: proto.String("Zhang"), Reason: proto.String("moved away")}); err != nil {
		t.Fatal(err)
	}
	f.once(hub)
	a.sync(hub)
	has(a, 1, "after one was cancelled, through the hub")
	st, err := a.Status(t.Context())
	if err != nil || st.Pending != 0 {
		t.Errorf("status: %+v, %v", st, err)
	}
	// The hub starts anew, and headquarters is another log.
	f.stop(hub)
	f.start(hub)
	f.hq.restored = true
	f.stop(f.hq)
	f.start(f.hq)
	f.once(hub)
	assign("E-b")
	f.once(hub)
	b.sync(hub)
	has(b, 2, "after headquarters was restored")
	a.sync(hub)
	has(a, 1, "after headquarters was restored")
	if r := b.sync(f.hq); r.Rows != nil {
		t.Errorf("b at headquarters: %+v; want nothing again", r)
	}
}

// A hub that has not heard of a tablet's first assignment does not take it away.
func TestOlderHubTakesNoBucketAway(t *testing.T) {
	f, ts := teamOf(t, 1, "a")
	a, hub := ts[0], f.hubs[0]
	_, err := servicev1.NewStudyServiceClient(f.hq.srv.Local()).PutStudy(with(t.Context()), &servicev1.PutStudyRequest{Study: &surveyv1.Study{Study: proto.String("guiyang")}})
	if err != nil {
		t.Fatal(err)
	}
	a.sync(hub)
	f.once(hub)
	if r := a.sync(hub); r.Pulled != 1 {
		t.Fatalf("the hub does not mirror: %+v", r)
	}
	hub.up.away = true
	_, err = servicev1.NewAssignmentServiceClient(f.hq.srv.Local()).CreateAssignment(with(t.Context()), &servicev1.CreateAssignmentRequest{
		Assignment: &servicev1.Assignment{Study: proto.String("guiyang"), Enumerator: proto.String("E-a")}})
	if err != nil {
		t.Fatal(err)
	}
	for i, to := range []*station{f.hq, hub, hub} {
		a.sync(to)
		if all, err := a.Assignments(t.Context()); err != nil || len(all) != 1 {
			t.Errorf("after sync %d: %d assignments, %v; want 1", i+1, len(all), err)
		}
	}
}

// A bucket that is larger than a hub keeps does not stand in the way of the others. Its tablet gets it at headquarters, and
// the hub takes nothing of it away.
func TestHubPassesOverALargeBucket(t *testing.T) {
	f, ts := teamOf(t, 1, "a", "b", "c")
	hub := f.hubs[0]
	f.stop(hub)
	hub.most = 4000
	f.start(hub)
	_, err := servicev1.NewStudyServiceClient(f.hq.srv.Local()).PutStudy(with(t.Context()), &servicev1.PutStudyRequest{Study: &surveyv1.Study{Study: proto.String("guiyang")}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"a": 60, "b": 1, "c": 1}
	for name, n := range want {
		for range n {
			if _, err := servicev1.NewAssignmentServiceClient(f.hq.srv.Local()).CreateAssignment(with(t.Context()), &servicev1.CreateAssignmentRequest{
				Assignment: &servicev1.Assignment{Study: proto.String("guiyang"), Enumerator: proto.String("E-" + name)}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	have := func(w *walker, n int, when string) {
		t.Helper()
		if all, err := w.Assignments(t.Context()); err != nil || len(all) != n {
			t.Errorf("%s %s: %d assignments, %v; want %d", w.name, when, len(all), err, n)
		}
	}
	for _, w := range ts {
		w.write(1)
		w.sync(hub)
	}
	f.once(hub)
	f.once(hub)
	for _, w := range ts {
		r := w.sync(hub)
		if n := want[w.name]; n < 60 {
			have(w, n, "through the hub")
		} else {
			have(w, 0, "through the hub")
		}
		if r.Pending != 0 {
			t.Errorf("%s: %+v", w.name, r)
		}
	}
	ts[0].sync(f.hq)
	have(ts[0], 60, "at headquarters")
	ts[0].sync(hub)
	have(ts[0], 60, "at the hub again")
}
