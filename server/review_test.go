package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/server/store/sqlite"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"
)

// branches pushes an interview from two tablets that loaded the same line, and what each made of it without the other.
func branches(t *testing.T, d *desk, iv *surveyv1.Interview, a, b func(*surveyv1.Interview)) (one, two *tablet) {
	t.Helper()
	one, two = newTablet("one "+iv.GetInterviewId()), newTablet("two "+iv.GetInterviewId())
	for tb, edit := range map[*tablet]func(*surveyv1.Interview){one: a, two: b} {
		tb.greet(t, d)
		first := tb.record(t, iv, nil)
		parent := syncer.DigestOf(first)
		next := proto.CloneOf(iv)
		edit(next)
		tb.push(t, d, first, tb.record(t, next, func(r *servicev1.Record) { r.Parents, r.Author = [][]byte{parent[:]}, proto.String(tb.name[:3]) }))
	}
	return one, two
}

// current returns the projection of an interview and what its head says.
func current(t *testing.T, d *desk, id string) (*servicev1.InterviewProjection, *surveyv1.Interview) {
	t.Helper()
	if err := d.Project(t.Context()); err != nil {
		t.Fatal(err)
	}
	p, err := d.store.Interview(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	iv, err := d.answers(t.Context(), p.GetSummary())
	if err != nil {
		t.Fatal(err)
	}
	return p, iv
}

// own are the records that headquarters wrote about an interview.
func own(t *testing.T, d *desk, at place) []*servicev1.Record {
	t.Helper()
	_, records, err := d.versions(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	var out []*servicev1.Record
	for _, r := range records {
		if bytes.Equal(r.GetDevice(), d.author.lane.Device[:]) {
			out = append(out, r)
		}
	}
	return out
}

func loud(iv *surveyv1.Interview)   { iv.Remarks = proto.String("loud") }
func quiet(iv *surveyv1.Interview)  { iv.Remarks = proto.String("quiet") }
func older(iv *surveyv1.Interview)  { iv.GetHousehold().GetMembers()[1].Age = proto.Int32(9) }
func nobody(iv *surveyv1.Interview) {}

func TestDisjointEditsMerge(t *testing.T) {
	eachStore(t, func(t *testing.T, d *desk) {
		iv := household(1)
		branches(t, d, iv, loud, older)
		want := proto.CloneOf(iv)
		loud(want)
		older(want)
		p, got := current(t, d, iv.GetInterviewId())
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" || len(p.GetSummary().GetHeads()) != 1 || p.GetSummary().GetRevisions() != 5 {
			t.Errorf("merged (-want +got):\n%s%v", diff, p.GetSummary())
		}
		at := place{p.GetSummary().GetPart(), iv.GetInterviewId()}
		merges := own(t, d, at)
		if len(merges) != 1 || merges[0].GetAuthor() != "headquarters" || len(merges[0].GetParents()) != 2 || merges[0].GetQuestionnaire() != "hearth.survey.v1.Household" {
			t.Errorf("headquarters wrote %v, want one merge with two parents", merges)
		}
		// The same merge is not written again, by a server that starts anew or makes the projections again.
		again := newDesk(t, d.store)
		for range 2 {
			if err := again.Project(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(own(t, d, at)); n != 1 {
			t.Errorf("%d merges after a restart, want 1", n)
		}
		if report, err := d.store.Check(t.Context(), store.CheckOptions{Rebuild: d.Rebuild}); err != nil || len(report.Findings) > 0 {
			t.Errorf("check = %+v, %v", report, err)
		}
		// Two that have changed nothing are one.
		same := household(2)
		branches(t, d, same, nobody, nobody)
		if p, got := current(t, d, same.GetInterviewId()); len(p.GetSummary().GetHeads()) != 1 || !proto.Equal(got, same) {
			t.Errorf("the same twice: %v", p.GetSummary())
		}
	})
}

func TestConflictIsResolved(t *testing.T) {
	eachStore(t, func(t *testing.T, d *desk) {
		ctx, review := with(t.Context()), servicev1.NewReviewServiceClient(d.conn)
		iv := household(1)
		one, _ := branches(t, d, iv, func(iv *surveyv1.Interview) { loud(iv); older(iv) }, quiet)
		p, _ := current(t, d, iv.GetInterviewId())
		if len(p.GetSummary().GetHeads()) != 2 || len(own(t, d, place{p.GetSummary().GetPart(), iv.GetInterviewId()})) > 0 {
			t.Fatalf("a conflict was merged: %v", p.GetSummary())
		}
		list, err := review.ListConflicts(ctx, &servicev1.ListConflictsRequest{})
		if err != nil || len(list.GetConflicts()) != 1 || len(list.GetConflicts()[0].GetFields()) != 1 {
			t.Fatalf("conflicts = %v, %v; want one field", list, err)
		}
		c := list.GetConflicts()[0]
		f := c.GetFields()[0]
		if f.GetPath() != "remarks" || f.GetBase() != "" || len(f.GetValues()) != 2 {
			t.Fatalf("field = %v", f)
		}
		values := map[string]*servicev1.FieldValue{}
		for _, v := range f.GetValues() {
			values[v.GetValue()] = v
		}
		if values[`"quiet"`].GetAuthor() != "two" || values[`"loud"`].GetAuthor() != "one" {
			t.Errorf("values = %v", f.GetValues())
		}
		byKey, err := review.ListConflicts(ctx, &servicev1.ListConflictsRequest{InterviewId: iv.InterviewKey})
		if err != nil || len(byKey.GetConflicts()) != 1 || !proto.Equal(byKey.GetConflicts()[0], c) {
			t.Errorf("by key: %v, %v", byKey, err)
		}
		choice := []*servicev1.FieldChoice{{Path: proto.String("remarks"), Revision: values[`"quiet"`].GetRevision()}}
		for name, bad := range map[string]struct {
			req    *servicev1.ResolveConflictRequest
			code   codes.Code
			reason fault.Reason
		}{
			"nothing decided":   {&servicev1.ResolveConflictRequest{InterviewId: iv.InterviewId, Heads: c.GetHeads()}, codes.InvalidArgument, fault.BadRequest},
			"one head":          {&servicev1.ResolveConflictRequest{InterviewId: iv.InterviewId, Heads: c.GetHeads()[:1], Choices: choice}, codes.FailedPrecondition, fault.ConflictChanged},
			"another head":      {&servicev1.ResolveConflictRequest{InterviewId: iv.InterviewId, Heads: append([][]byte{make([]byte, 32)}, c.GetHeads()...), Choices: choice}, codes.FailedPrecondition, fault.ConflictChanged},
			"both ways":         {&servicev1.ResolveConflictRequest{InterviewId: iv.InterviewId, Heads: c.GetHeads(), Choices: choice, TakeAll: c.GetHeads()[0]}, codes.InvalidArgument, fault.BadRequest},
			"another field":     {&servicev1.ResolveConflictRequest{InterviewId: iv.InterviewId, Heads: c.GetHeads(), Choices: []*servicev1.FieldChoice{{Path: proto.String("site_id"), Revision: c.GetHeads()[0]}}}, codes.InvalidArgument, fault.NoConflict},
			"no such interview": {&servicev1.ResolveConflictRequest{InterviewId: proto.String("nobody"), Heads: c.GetHeads(), Choices: choice}, codes.NotFound, fault.NoSuchInterview},
			"another revision":  {&servicev1.ResolveConflictRequest{InterviewId: iv.InterviewId, Heads: c.GetHeads(), TakeAll: make([]byte, 32)}, codes.InvalidArgument, fault.BadRequest},
			"a long reason":     {&servicev1.ResolveConflictRequest{InterviewId: iv.InterviewId, Heads: c.GetHeads(), Choices: choice, Reason: proto.String(strings.Repeat("x", maxReason+1))}, codes.InvalidArgument, fault.BadRequest},
		} {
			t.Run(name, func(t *testing.T) {
				_, err := review.ResolveConflict(ctx, bad.req)
				wants(t, err, bad.code, bad.reason)
			})
		}
		good := &servicev1.ResolveConflictRequest{InterviewId: iv.InterviewKey, Heads: c.GetHeads(), Choices: choice, DecidedBy: proto.String("督导"), Reason: proto.String("问过访问员")}
		done, err := review.ResolveConflict(ctx, good)
		if err != nil {
			t.Fatal(err)
		}
		want := proto.CloneOf(iv)
		quiet(want)
		older(want)
		p, got := current(t, d, iv.GetInterviewId())
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" || !bytes.Equal(p.GetSummary().GetHead(), done.GetRevision()) || len(p.GetSummary().GetHeads()) != 1 {
			t.Errorf("resolved (-want +got):\n%s%v", diff, p.GetSummary())
		}
		wrote := own(t, d, place{p.GetSummary().GetPart(), iv.GetInterviewId()})
		if len(wrote) != 1 || wrote[0].GetAuthor() != "督导" || wrote[0].GetReason() != "问过访问员" || len(wrote[0].GetParents()) != 2 {
			t.Errorf("the decision as recorded: %v", wrote)
		}
		_, err = review.ResolveConflict(ctx, good)
		wants(t, err, codes.FailedPrecondition, fault.NoConflict)
		// A revision that knows nothing of the decision opens a conflict again, and everything can be taken from it.
		late := proto.CloneOf(iv)
		late.Remarks = proto.String("later")
		parent := syncer.Digest(values[`"loud"`].GetRevision())
		one.push(t, d, one.record(t, late, func(r *servicev1.Record) { r.Parents = [][]byte{parent[:]} }))
		list, err = review.ListConflicts(ctx, &servicev1.ListConflictsRequest{})
		if err != nil || len(list.GetConflicts()) != 1 {
			t.Fatalf("conflicts = %v, %v", list, err)
		}
		head := p.GetSummary().GetHead()
		if _, err := review.ResolveConflict(ctx, &servicev1.ResolveConflictRequest{InterviewId: iv.InterviewId, Heads: list.GetConflicts()[0].GetHeads(), TakeAll: head}); err != nil {
			t.Fatal(err)
		}
		if p, got = current(t, d, iv.GetInterviewId()); !proto.Equal(got, want) || len(p.GetSummary().GetHeads()) != 1 {
			t.Errorf("all from one: %v", p.GetSummary())
		}
	})
}

// The merge is decided and not yet on the disk when the server ends, or the disk fails: the next one writes it, once.
func TestMergeAfterCrash(t *testing.T) {
	m := newMemory()
	d := newDesk(t, m)
	iv := household(1)
	d.stop() // nobody follows the log but the calls below
	d.ended <- <-d.ended
	d = &desk{Server: d.Server, store: m}
	at := place{syncer.Part("guiyang", "school-c"), iv.GetInterviewId()}
	feed := func(tb *tablet, raws ...[]byte) {
		t.Helper()
		if err := m.Greet(t.Context(), store.Greeting{Device: tb.lane.Device, Key: tb.hello().GetPublicKey()}); err != nil {
			t.Fatal(err)
		}
		if _, err := d.take(t.Context(), tb.batch(raws...)); err != nil {
			t.Fatal(err)
		}
	}
	one, two := newTablet("one"), newTablet("two")
	x, y := proto.CloneOf(iv), proto.CloneOf(iv)
	loud(x)
	older(y)
	root := one.record(t, iv, nil)
	parent := syncer.DigestOf(root)
	child := func(r *servicev1.Record) { r.Parents = [][]byte{parent[:]} }
	feed(one, root, one.record(t, x, child))
	feed(two, two.record(t, y, child))
	m.mu.Lock()
	m.failAppend = fault.New(fault.Unavailable, fault.DiskFull, "the disk is full")
	m.mu.Unlock()
	if err := d.Project(t.Context()); err != nil {
		t.Fatalf("projections fail because a merge cannot be written: %v", err)
	}
	if n := len(own(t, d, at)); n != 0 {
		t.Fatalf("%d merges on a full disk", n)
	}
	m.mu.Lock()
	m.failAppend = nil
	m.mu.Unlock()
	set, err := builtin()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // servers that know nothing but what is stored
		srv, err := New(Config{Store: m, Key: d.key, Questionnaires: set})
		if err != nil {
			t.Fatal(err)
		}
		if err := srv.Project(t.Context()); err != nil {
			t.Fatal(err)
		}
		if wrote := own(t, d, at); len(wrote) != 1 {
			t.Errorf("%d merges, want 1", len(wrote))
		}
	}
	// Another headquarters with the same key makes the same record of the same heads, byte for byte.
	copied := newMemory()
	other := &desk{store: copied}
	if other.Server, err = New(Config{Store: copied, Key: d.key, Questionnaires: set}); err != nil {
		t.Fatal(err)
	}
	for _, r := range m.records {
		rec, err := syncer.Open(r.Raw)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(rec.GetDevice(), d.author.lane.Device[:]) {
			copied.records, copied.held[r.Digest] = append(copied.records, r), true
			copied.counters[r.Part] = max(copied.counters[r.Part], r.Counter)
		}
	}
	if err := other.Project(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a, b := own(t, d, at), own(t, other, at); len(b) != 1 || !proto.Equal(a[0], b[0]) {
		t.Errorf("two merges of the same heads differ: %v, %v", a, b)
	}
}

func TestWithdrawAndErase(t *testing.T) {
	eachStore(t, func(t *testing.T, d *desk) {
		ctx, review := with(t.Context()), servicev1.NewReviewServiceClient(d.conn)
		iv, stays := household(1), household(2)
		one, _ := branches(t, d, iv, loud, quiet)
		branches(t, d, stays, loud, older)
		_, err := review.EraseInterview(ctx, &servicev1.EraseInterviewRequest{InterviewId: iv.InterviewId})
		wants(t, err, codes.FailedPrecondition, fault.NotWithdrawn)
		_, err = review.WithdrawInterview(ctx, &servicev1.WithdrawInterviewRequest{InterviewId: proto.String("nobody")})
		wants(t, err, codes.NotFound, fault.NoSuchInterview)
		req := &servicev1.WithdrawInterviewRequest{InterviewId: iv.InterviewId, DecidedBy: proto.String("督导"), Reason: proto.String("撤回同意")}
		first, err := review.WithdrawInterview(ctx, req)
		if err != nil || len(first.GetRevision()) != 32 {
			t.Fatalf("withdraw = %v, %v", first, err)
		}
		if again, err := review.WithdrawInterview(ctx, req); err != nil || !bytes.Equal(again.GetRevision(), first.GetRevision()) {
			t.Errorf("withdraw again = %v, %v; want the same record", again, err)
		}
		gone := func(when string) {
			t.Helper()
			if err := d.Project(t.Context()); err != nil {
				t.Fatal(err)
			}
			f, err := d.gather(t.Context(), "")
			if err != nil || len(f.interviews) != 1 {
				t.Errorf("%s: %d interviews, %v; want 1", when, len(f.interviews), err)
			}
			for _, p := range f.people {
				if p.GetInterviewId() == iv.GetInterviewId() {
					t.Errorf("%s: a person of the withdrawn interview is left", when)
				}
			}
			counts, err := servicev1.NewMonitorServiceClient(d.conn).CountInterviews(ctx, &servicev1.CountInterviewsRequest{})
			if err != nil || counts.GetTotal().GetInterviews() != 1 {
				t.Errorf("%s: counts = %v, %v; want 1 interview", when, counts.GetTotal(), err)
			}
			files, _ := exported(t, d, &servicev1.ExportRequest{Study: proto.String("guiyang"), Formats: []servicev1.ExportFormat{servicev1.ExportFormat_EXPORT_FORMAT_CSV}})
			for name, raw := range files {
				if bytes.Contains(raw, []byte(iv.GetInterviewId())) {
					t.Errorf("%s: the withdrawn interview is in %s", when, name)
				}
			}
			report, err := d.store.Check(t.Context(), store.CheckOptions{Rebuild: d.Rebuild})
			if err != nil || len(report.Findings) > 0 {
				t.Errorf("%s: check = %+v, %v", when, report, err)
			}
		}
		gone("withdrawn")
		late := proto.CloneOf(iv)
		late.Remarks = proto.String("late")
		ack := one.push(t, d, one.record(t, late, nil))
		if r := ack.GetResults(); len(r) != 1 || r[0].GetReason() != string(fault.InterviewWithdrawn) || ack.GetReceipt().GetSeq() != one.head.Seq {
			t.Errorf("a late revision = %v, want it in quarantine and receipted", ack)
		}
		gone("after a late revision")
		erase := &servicev1.EraseInterviewRequest{InterviewId: iv.InterviewId, DecidedBy: proto.String("督导"), Reason: proto.String("撤回同意")}
		done, err := review.EraseInterview(ctx, erase)
		if err != nil || done.GetRevisions() != 5 { // two roots, two branches, one in quarantine
			t.Errorf("erase = %v, %v; want 5", done, err)
		}
		gone("erased")
		if done, err = review.EraseInterview(ctx, erase); err != nil || done.GetRevisions() != 4 {
			t.Errorf("erase again = %v, %v; want the 4 in the log", done, err)
		}
		at := place{syncer.Part("guiyang", "school-c"), iv.GetInterviewId()}
		stones, err := d.store.Revisions(t.Context(), at.part, servicev1.RecordKind_RECORD_KIND_ERASURE, at.id)
		if err != nil || len(stones) != 1 {
			t.Errorf("%d records of the erasure, %v; want 1", len(stones), err)
		}
		versions, _, err := d.versions(t.Context(), at)
		if err != nil || len(versions) != 4 {
			t.Errorf("%d revisions are left, %v", len(versions), err)
		}
		for _, v := range versions {
			if len(v.Payload) > 0 {
				t.Error("a revision still says something")
			}
		}
		restarted := newDesk(t, d.store)
		if got := newTablet("third"); got.greet(t, restarted) != nil {
			if ack := got.push(t, restarted, got.record(t, late, nil)); ack.GetResults()[0].GetReason() != string(fault.InterviewWithdrawn) {
				t.Errorf("after a restart, a revision of the withdrawn interview = %v", ack)
			}
		}
	})
}

// No byte of the answers is in any file of the data folder after an erasure.
func TestErasedFilesHoldNothing(t *testing.T) {
	dir := t.TempDir()
	st := openSQLite(t, dir)
	d := newDesk(t, st)
	ctx, review := with(t.Context()), servicev1.NewReviewServiceClient(d.conn)
	const secret = "绝密备注"
	iv := household(1)
	for i := range 40 { // so that pages split
		branches(t, d, household(10+i), loud, older)
	}
	one, _ := branches(t, d, iv, func(iv *surveyv1.Interview) { iv.Remarks = proto.String(strings.Repeat(secret, 900)) }, func(iv *surveyv1.Interview) {
		iv.GetHousehold().GetMembers()[0].Identity.FullName = proto.String(secret)
	})
	current(t, d, iv.GetInterviewId())
	files := func() (found []string) {
		all, err := os.ReadDir(dir)
		if err != nil || len(all) < 3 {
			t.Fatalf("%d files, %v", len(all), err)
		}
		for _, f := range all {
			if raw, err := os.ReadFile(filepath.Join(dir, f.Name())); err != nil || bytes.Contains(raw, []byte(secret)) {
				found = append(found, f.Name())
			}
		}
		return found
	}
	if len(files()) < 2 {
		t.Fatalf("the secret is in %v only, so this test tests nothing", files())
	}
	if _, err := review.WithdrawInterview(ctx, &servicev1.WithdrawInterviewRequest{InterviewId: iv.InterviewId}); err != nil {
		t.Fatal(err)
	}
	late := proto.CloneOf(iv)
	late.Remarks = proto.String(secret)
	one.push(t, d, one.record(t, late, nil))
	if _, err := review.EraseInterview(ctx, &servicev1.EraseInterviewRequest{InterviewId: iv.InterviewId}); err != nil {
		t.Fatal(err)
	}
	if found := files(); len(found) > 0 {
		t.Errorf("the secret is still in %v", found)
	}
	d.stop()
	d.ended <- <-d.ended
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := sqlite.Open(t.Context(), dir, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	}()
	report, err := again.Check(t.Context(), store.CheckOptions{Rebuild: d.Rebuild})
	if err != nil || len(report.Findings) > 0 || report.Erased != 5 {
		t.Errorf("check = %+v, %v; want 5 erased", report, err)
	}
}

// Whatever the order in which the same records are read, headquarters' own among them, the projections are the same, byte
// for byte; and where every edit is in a place of its own, tablets' revisions come to the same answers in any order.
func TestArrivalOrder(t *testing.T) {
	set, err := builtin()
	if err != nil {
		t.Fatal(err)
	}
	places := []func(*surveyv1.Interview){loud, older, nobody, func(iv *surveyv1.Interview) { iv.SiteId = proto.String("school-d") },
		func(iv *surveyv1.Interview) { iv.GetHousehold().GetMembers()[0].Sex = nil }}
	rapid.Check(t, func(rt *rapid.T) {
		ctx := context.Background()
		iv := household(1)
		apart := rapid.Bool().Draw(rt, "every edit in its own place")
		edits := rapid.Permutation(places).Draw(rt, "edits")
		root := newTablet("root").record(t, iv, nil)
		raws, owners := [][]byte{root}, []*tablet{newTablet("root")}
		messages := []*surveyv1.Interview{iv}
		for i := range rapid.IntRange(1, 5).Draw(rt, "revisions") {
			tb := newTablet(fmt.Sprint("tablet ", i))
			from := rapid.IntRange(0, len(raws)-1).Draw(rt, "parent")
			next := proto.CloneOf(messages[from])
			if apart {
				edits[i](next)
			} else {
				rapid.SampledFrom(append(edits, quiet)).Draw(rt, "edit")(next)
			}
			parent := syncer.DigestOf(raws[from])
			raws = append(raws, tb.record(t, next, func(r *servicev1.Record) {
				r.Parents, r.Part = [][]byte{parent[:]}, proto.Uint64(syncer.Part("guiyang", "school-c"))
			}))
			owners, messages = append(owners, tb), append(messages, next)
		}
		// run feeds records in an order, with the projector between some of them, and returns the answers in the end.
		run := func(order []int) (*memory, *Server, *servicev1.InterviewProjection, *surveyv1.Interview) {
			m := newMemory()
			s, err := New(Config{Store: m, Key: newTablet("hq").key, Questionnaires: set})
			if err != nil {
				rt.Fatal(err)
			}
			for n, i := range order {
				tb := newTablet(owners[i].name)
				if err := m.Greet(ctx, store.Greeting{Device: tb.lane.Device, Key: tb.hello().GetPublicKey()}); err != nil {
					rt.Fatal(err)
				}
				if _, err := s.take(ctx, tb.batch(raws[i])); err != nil {
					rt.Fatal(err)
				}
				if n%2 == 1 {
					if err := s.Project(ctx); err != nil {
						rt.Fatal(err)
					}
				}
			}
			if err := s.Project(ctx); err != nil {
				rt.Fatal(err)
			}
			p, err := m.Interview(ctx, iv.GetInterviewId())
			if err != nil {
				rt.Fatal(err)
			}
			got, err := s.answers(ctx, p.GetSummary())
			if err != nil {
				rt.Fatal(err)
			}
			return m, s, p, got
		}
		order := make([]int, len(raws))
		for i := range order {
			order[i] = i
		}
		m, s, p, got := run(order)
		_, _, q, other := run(rapid.Permutation(order).Draw(rt, "order"))
		if apart && (len(p.GetSummary().GetHeads()) != 1 || len(q.GetSummary().GetHeads()) != 1 || !proto.Equal(got, other)) {
			rt.Fatalf("another order of arrival gives other answers: %v, %v\n%s", p.GetSummary(), q.GetSummary(), cmp.Diff(got, other, protocmp.Transform()))
		}
		// The finished log, its records in another order: the same projection, byte for byte.
		shuffled := newMemory()
		part := syncer.Part("guiyang", "school-c")
		for n, i := range rapid.Permutation(indexes(len(m.records))).Draw(rt, "order of the log") {
			r := m.records[i]
			r.Counter = uint64(n + 1)
			shuffled.records, shuffled.counters[part] = append(shuffled.records, r), r.Counter
		}
		if err := s.Rebuild(ctx, shuffled, func(c *store.Changes) error { return shuffled.Apply(ctx, c) }); err != nil {
			rt.Fatal(err)
		}
		again, err := shuffled.Interview(ctx, iv.GetInterviewId())
		if err != nil || !proto.Equal(again, p) {
			rt.Fatalf("the same log in another order: %v\n%s", err, cmp.Diff(p, again, protocmp.Transform()))
		}
	})
}

func indexes(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

func TestQuarantineReplay(t *testing.T) {
	eachStore(t, func(t *testing.T, d *desk) {
		ctx, monitor := with(t.Context()), servicev1.NewMonitorServiceClient(d.conn)
		tb := newTablet("replay")
		tb.greet(t, d)
		good := household(1)
		raw := tb.record(t, good, nil)
		spoiled := tb.record(t, household(2), func(r *servicev1.Record) { r.QuestionnaireVersion = proto.Uint32(99) })
		stranger := newTablet("stranger").record(t, household(3), nil)
		checked, err := syncer.Check(tb.batch(raw, spoiled, stranger, []byte{0xff}), tb.hello().GetPublicKey(), syncer.DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		// An older server did not know the questionnaires of the first two.
		checked.Entries[0].Reason, checked.Entries[0].Message = fault.UnknownQuestionnaire, "not known then"
		checked.Entries[1].Reason = fault.UnknownQuestionnaire
		if _, err := d.store.Append(t.Context(), checked); err != nil {
			t.Fatal(err)
		}
		list, err := monitor.ListQuarantine(ctx, &servicev1.ListQuarantineRequest{})
		if err != nil || len(list.GetItems()) != 4 {
			t.Fatalf("quarantine = %v, %v", list, err)
		}
		shown, err := monitor.ShowQuarantine(ctx, &servicev1.ShowQuarantineRequest{Id: list.GetItems()[0].Id})
		if err != nil || !bytes.Equal(shown.GetRaw(), raw) || shown.GetEnvelope().GetSubject() != good.GetInterviewId() || shown.GetEnvelope().Payload != nil || shown.GetAdvice() == "" {
			t.Errorf("shown = %v, %v", shown, err)
		}
		if shown, err := monitor.ShowQuarantine(ctx, &servicev1.ShowQuarantineRequest{Id: list.GetItems()[3].Id}); err != nil || shown.GetEnvelope() != nil || len(shown.GetRaw()) != 1 {
			t.Errorf("shown unreadable = %v, %v", shown, err)
		}
		_, err = monitor.ShowQuarantine(ctx, &servicev1.ShowQuarantineRequest{Id: proto.Int64(999)})
		wants(t, err, codes.NotFound, fault.NotInQuarantine)
		_, err = monitor.ReplayQuarantine(ctx, &servicev1.ReplayQuarantineRequest{Ids: []int64{1}, Reason: proto.String("X")})
		wants(t, err, codes.InvalidArgument, fault.BadRequest)
		none, err := monitor.ReplayQuarantine(ctx, &servicev1.ReplayQuarantineRequest{Reason: proto.String("NO_SUCH_REASON")})
		if err != nil || none.GetTried() != 0 {
			t.Errorf("replay of no reason = %v, %v", none, err)
		}
		for n, want := range []struct{ tried, released uint32 }{{4, 1}, {3, 0}} {
			got, err := monitor.ReplayQuarantine(ctx, &servicev1.ReplayQuarantineRequest{})
			if err != nil || got.GetTried() != want.tried || got.GetReleased() != want.released || len(got.GetRemaining()) != 3 {
				t.Fatalf("replay %d = %v, %v", n+1, got, err)
			}
			var reasons []string
			for _, item := range got.GetRemaining() {
				reasons = append(reasons, item.GetReason())
			}
			if diff := cmp.Diff([]string{"UNKNOWN_VERSION", "BAD_SIGNATURE", "RECORD_UNREADABLE"}, reasons); diff != "" {
				t.Errorf("reasons that hold now (-want +got):\n%s", diff)
			}
		}
		if _, err := d.store.Interview(t.Context(), good.GetInterviewId()); err != nil {
			t.Errorf("the released interview: %v", err)
		}
		tb.head = syncer.Head{}
		ack := tb.push(t, d, raw)
		if len(ack.GetResults()) != 1 || ack.GetResults()[0].GetOutcome() != servicev1.EntryOutcome_ENTRY_OUTCOME_DUPLICATE {
			t.Errorf("the released record again = %v", ack)
		}
		all, _, _, err := d.store.After(t.Context(), syncer.Cursor{}, 10)
		if err != nil || len(all) != 1 {
			t.Errorf("%d records in the log, %v; want 1", len(all), err)
		}
		if _, err := d.store.Replay(t.Context(), 1, &syncer.Entry{}); err == nil || errors.Is(err, context.Canceled) {
			t.Errorf("replay of what has left: %v", err)
		}
	})
}
