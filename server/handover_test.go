package server

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	offline "github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// team is headquarters in memory and tablets that are offline unless they sync.
type team struct {
	*Server
	store       *memory
	conn        grpc.ClientConnInterface
	assignments servicev1.AssignmentServiceClient
	tablets     map[string]*offline.Store
}

func newTeam(t testing.TB, m *memory, enumerators ...string) *team {
	t.Helper()
	set, err := builtin()
	if err != nil {
		t.Fatal(err)
	}
	srv, err := New(Config{Store: m, Key: newTablet("hq").key, Questionnaires: set})
	if err != nil {
		t.Fatal(err)
	}
	tm := &team{Server: srv, store: m, conn: srv.Local(), assignments: servicev1.NewAssignmentServiceClient(srv.Local()), tablets: map[string]*offline.Store{}}
	for _, e := range enumerators {
		st, err := offline.Create(t.Context(), filepath.Join(t.TempDir(), "t.sqlite"), offline.CreateOptions{Name: "tablet of " + e, Enumerator: e, Study: "guiyang"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = st.Close() })
		tm.tablets[e] = st
	}
	return tm
}

func onlyOnce() offline.SyncOptions {
	return offline.SyncOptions{MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond, Attempts: 1, CallTimeout: 20 * time.Second}
}

func (tm *team) sync(t testing.TB, e string) offline.SyncReport {
	t.Helper()
	report, err := tm.tablets[e].Sync(t.Context(), tm.conn, onlyOnce())
	if err != nil {
		t.Fatalf("sync of %s: %v", e, err)
	}
	if err := tm.Project(t.Context()); err != nil {
		t.Fatal(err)
	}
	return report
}

func (tm *team) assign(t testing.TB, e, site string) string {
	t.Helper()
	resp, err := tm.assignments.CreateAssignment(t.Context(), &servicev1.CreateAssignmentRequest{Assignment: &servicev1.Assignment{
		Study: proto.String("guiyang"), Enumerator: proto.String(e), SiteId: proto.String(site),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetAssignment().GetAssignment().GetAssignmentId()
}

// interviewFor is a completed interview that belongs to an assignment.
func interviewFor(assignment, site string) *surveyv1.Interview {
	return &surveyv1.Interview{
		InterviewId: proto.String(uuid.NewString()), InterviewKey: proto.String("GY-1"), Study: proto.String("guiyang"), SiteId: proto.String(site),
		AssignmentId: proto.String(assignment), QuestionnaireVersion: proto.Uint32(1), Status: surveyv1.InterviewStatus_INTERVIEW_STATUS_COMPLETED.Enum(),
		Answers: &surveyv1.Interview_Migration{Migration: &surveyv1.Migration{}},
	}
}

// holds is the state of an assignment on a tablet; empty where the tablet does not have it.
func (tm *team) holds(t testing.TB, e, id string) string {
	t.Helper()
	all, err := tm.tablets[e].Assignments(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if a.Order.GetAssignmentId() != id {
			continue
		}
		state := strings.TrimPrefix(a.State.String(), "ASSIGNMENT_STATE_")
		if a.Released {
			state += " released"
		}
		if a.Withdrawn {
			state += " withdrawn"
		}
		return state
	}
	return ""
}

// Both tablets are offline while the assignment changes hands; every step is what one of them, or the supervisor, does.
func TestHandOver(t *testing.T) {
	type want struct {
		holder, next, state string
		problems            int
		a, b                string
	}
	for _, tc := range []struct {
		name  string
		steps string // sA syncs A, bA begins A, dA does the interview; gB gives to B, force, cancel
		want  want
	}{
		{"begun, done", "sA bA dA sA sA", want{"A", "", "COMPLETED", 0, "COMPLETED", ""}},
		{"waits", "sA gB sB", want{"A", "B", "RECALLED", 0, "OPEN", "WAITING"}},
		{"given back by itself", "sA gB sA sB", want{"B", "", "OPEN", 0, "RECALLED released", "OPEN"}},
		{"given back, known, done by the other", "sA gB sA sB bB dB sB sA", want{"B", "", "COMPLETED", 0, "", "COMPLETED"}},
		{"begun before the hand-over was known", "sA bA gB sB sA", want{"A", "B", "STARTED", 1, "STARTED", "WAITING"}},
		{"done before the hand-over was known", "sA bA dA gB sB sA sB", want{"A", "B", "COMPLETED", 1, "COMPLETED", "WAITING"}},
		{"begun, and given back to A", "sA bA gB gA sA sB", want{"A", "", "STARTED", 0, "STARTED", ""}},
		{"forced, the first had not begun", "sA gB force sB bB dB sB sA", want{"B", "", "COMPLETED", 0, "", "COMPLETED"}},
		{"forced, both did it", "sA bA dA gB force sB bB dB sB sA", want{"B", "", "COMPLETED", 2, "COMPLETED withdrawn", "COMPLETED"}},
		{"cancelled before it was known", "sA cancel sA", want{"A", "", "CANCELLED", 0, "", ""}},
		{"cancelled, begun meanwhile", "sA bA dA cancel sA", want{"A", "", "CANCELLED", 1, "COMPLETED withdrawn", ""}},
		{"a release that a later order did not know", "sA gB sA- gA r sB sA", want{"A", "", "OPEN", 0, "OPEN", ""}},
		{"handed over twice", "sA gB gC sB sA sC", want{"C", "", "OPEN", 0, "RECALLED released", ""}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tm := newTeam(t, newMemory(), "A", "B", "C")
			id := tm.assign(t, "A", "school-c")
			held := &holding{ClientConnInterface: tm.conn}
			for _, step := range strings.Fields(tc.steps) {
				switch who := step[1:]; {
				case step == "force":
					if _, err := tm.assignments.ReleaseAssignment(t.Context(), &servicev1.ReleaseAssignmentRequest{AssignmentId: &id}); err != nil {
						t.Fatal(err)
					}
				case step == "cancel":
					if _, err := tm.assignments.CancelAssignment(t.Context(), &servicev1.CancelAssignmentRequest{AssignmentId: &id}); err != nil {
						t.Fatal(err)
					}
				case step == "sA-": // fetches the recall, but what is given back does not get through
					held.hold = true
					_, _ = tm.tablets["A"].Sync(t.Context(), held, onlyOnce())
				case step == "r":
					tm.sync(t, "A")
				case step[0] == 's':
					tm.sync(t, who)
				case step[0] == 'g':
					if _, err := tm.assignments.ReassignAssignment(t.Context(), &servicev1.ReassignAssignmentRequest{AssignmentId: &id, Enumerator: &who}); err != nil {
						t.Fatal(err)
					}
				case step[0] == 'b':
					if _, err := tm.tablets[who].StartAssignment(t.Context(), id); err != nil {
						t.Fatalf("%s: %v", step, err)
					}
				case step[0] == 'd':
					if _, _, err := tm.tablets[who].AddInterview(t.Context(), interviewFor(id, "school-c")); err != nil {
						t.Fatalf("%s: %v", step, err)
					}
				}
			}
			a, err := tm.store.Assignment(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			got := want{a.GetHolder(), a.GetNext(), strings.TrimPrefix(a.GetState().String(), "ASSIGNMENT_STATE_"), len(a.GetProblems()), tm.holds(t, "A", id), tm.holds(t, "B", id)}
			if got != tc.want {
				t.Errorf("%s: %+v (problems %v)\nwant %+v", tc.steps, got, a.GetProblems(), tc.want)
			}
			if a.GetDone() > 1 {
				t.Errorf("%d of 1 done", a.GetDone())
			}
		})
	}
}

// holding is a connection that lets nothing of a tablet's records through.
type holding struct {
	grpc.ClientConnInterface
	hold bool
}

func (h *holding) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if h.hold && strings.HasSuffix(method, "PushBatch") {
		return fault.New(fault.Unavailable, fault.Unreachable, "the connection was cut")
	}
	return h.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
}

// Whatever two tablets and a supervisor do without hearing of each other: no interview is lost, without force nobody does
// what another does, with force both stay and it counts once and is told, and in the end both hold what headquarters says.
func TestHandOversInAnyOrder(t *testing.T) {
	seeds := 25
	if testing.Short() {
		seeds = 6
	}
	begunByTwo := 0
	for seed := range seeds {
		tm := newTeam(t, newMemory(), "A", "B")
		rnd := rand.New(rand.NewPCG(uint64(seed), 7))
		who := func() string { return []string{"A", "B"}[rnd.IntN(2)] }
		id := tm.assign(t, "A", "school-c")
		forced := false
		begun := map[string]bool{}
		var interviews []string
		var story []string
		for range 20 {
			e := who()
			switch step := rnd.IntN(10); {
			case step < 4:
				story = append(story, "s"+e)
				tm.sync(t, e)
			case step < 6:
				if _, err := tm.tablets[e].StartAssignment(t.Context(), id); err == nil {
					story = append(story, "b"+e)
					begun[e] = true
				} else if fault.ReasonOf(err) == "" {
					t.Fatalf("seed %d: %v", seed, err)
				}
			case step == 6 && begun[e]:
				iv := interviewFor(id, "school-c")
				story = append(story, "d"+e)
				interviews = append(interviews, iv.GetInterviewId())
				if _, _, err := tm.tablets[e].AddInterview(t.Context(), iv); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			case step == 7:
				story = append(story, "g"+e)
				if _, err := tm.assignments.ReassignAssignment(t.Context(), &servicev1.ReassignAssignmentRequest{AssignmentId: &id, Enumerator: &e}); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			case step == 8 && rnd.IntN(3) == 0:
				story = append(story, "cancel")
				if _, err := tm.assignments.CancelAssignment(t.Context(), &servicev1.CancelAssignmentRequest{AssignmentId: &id}); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			case step == 9 && seed%2 == 0:
				_, err := tm.assignments.ReleaseAssignment(t.Context(), &servicev1.ReleaseAssignmentRequest{AssignmentId: &id})
				if forced = forced || err == nil; err == nil {
					story = append(story, "force")
				}
			}
		}
		for range 3 {
			tm.sync(t, "A")
			tm.sync(t, "B")
		}
		a, err := tm.store.Assignment(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		said := fmt.Sprintf("seed %d: %s: %v", seed, strings.Join(story, " "), a)
		for _, iv := range interviews {
			if _, err := tm.store.Interview(t.Context(), iv); err != nil {
				t.Errorf("%s: interview %s is lost: %v", said, iv, err)
			}
		}
		if len(a.GetInterviews()) != len(interviews) || a.GetDone() > 1 {
			t.Errorf("%s: %d interviews, %d done; %d were held", said, len(a.GetInterviews()), a.GetDone(), len(interviews))
		}
		if len(begun) > 1 {
			begunByTwo++
			if !forced {
				t.Errorf("%s: both have begun, and nobody has forced it", said)
			}
			if len(a.GetProblems()) == 0 {
				t.Errorf("%s: both have begun, and nobody is told", said)
			}
		}
		for _, e := range []string{"A", "B"} {
			if report := tm.sync(t, e); len(report.Rows) > 0 || len(report.Damaged) > 0 {
				t.Errorf("%s: %s still finds something new: %+v", said, e, report)
			}
		}
	}
	if begunByTwo == 0 && !testing.Short() {
		t.Error("no story in which both had begun: the test tests little")
	}
}

// A rejection opens an interview again; it is answered by the revision that knew it, and by no other.
func TestRejectionsMeetRevisions(t *testing.T) {
	tm := newTeam(t, newMemory(), "A")
	reviews := servicev1.NewReviewServiceClient(tm.conn)
	iv := interviewFor("", "school-c")
	iv.AssignmentId = nil
	add := func() {
		t.Helper()
		if _, added, err := tm.tablets["A"].AddInterview(t.Context(), iv); err != nil || !added {
			t.Fatalf("AddInterview: %v, %v", added, err)
		}
	}
	state := func() servicev1.ReviewState {
		t.Helper()
		p, err := tm.store.Interview(t.Context(), iv.GetInterviewId())
		if err != nil {
			t.Fatal(err)
		}
		return p.GetSummary().GetReviewState()
	}
	say := func(decision servicev1.ReviewDecision) {
		t.Helper()
		_, err := reviews.CreateReview(t.Context(), &servicev1.CreateReviewRequest{InterviewId: iv.InterviewId, Decision: decision.Enum(),
			Comments: []*servicev1.ReviewComment{{Text: proto.String("再问一次")}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	check := func(step string, want servicev1.ReviewState, open int) {
		t.Helper()
		all, err := tm.tablets["A"].Reviews(t.Context())
		n := 0
		for _, v := range all {
			if v.Open {
				n++
			}
		}
		if got := state(); got != want || err != nil || n != open {
			t.Errorf("%s: %v with %d open on the tablet, %v; want %v with %d", step, got, n, err, want, open)
		}
	}
	const (
		completed = servicev1.ReviewState_REVIEW_STATE_COMPLETED
		rejected  = servicev1.ReviewState_REVIEW_STATE_REJECTED_BY_SUPERVISOR
		reject    = servicev1.ReviewDecision_REVIEW_DECISION_REJECT
	)
	add()
	tm.sync(t, "A")
	check("sent", completed, 0)
	say(reject)
	check("rejected, not known", rejected, 0)
	iv.Remarks = proto.String("written before it was known")
	add()
	tm.sync(t, "A")
	check("a newer revision that did not know", rejected, 1)
	say(servicev1.ReviewDecision_REVIEW_DECISION_COMMENT)
	tm.sync(t, "A")
	check("a comment changes nothing", rejected, 1)
	draft, err := tm.tablets["A"].ReopenForReview(t.Context(), iv.GetInterviewId())
	if err != nil || draft.GetStatus() != surveyv1.InterviewStatus_INTERVIEW_STATUS_IN_PROGRESS || draft.GetRemarks() != iv.GetRemarks() {
		t.Fatalf("ReopenForReview = %v, %v", draft, err)
	}
	if _, err := tm.tablets["A"].Complete(t.Context(), iv.GetInterviewId()); err != nil { // the answers are right as they are
		t.Fatal(err)
	}
	check("answered, not sent", rejected, 0)
	tm.sync(t, "A")
	check("answered", completed, 0)
	say(reject)
	say(servicev1.ReviewDecision_REVIEW_DECISION_APPROVE)
	check("approved", servicev1.ReviewState_REVIEW_STATE_APPROVED_BY_SUPERVISOR, 0)
	if _, err := tm.tablets["A"].ReopenForReview(t.Context(), uuid.NewString()); fault.ReasonOf(err) != fault.AnswersNotHere {
		t.Errorf("an interview that was never here: %v", err)
	}
}
