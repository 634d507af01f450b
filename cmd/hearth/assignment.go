package main

import (
	"fmt"
	"strings"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/protobuf/proto"
)

// assignmentCmd gives interviews to enumerators.
type assignmentCmd struct {
	Create   assignmentCreateCmd   `cmd:"" help:"Give interviews to an enumerator; the tablet gets to know at its next sync."`
	List     assignmentListCmd     `cmd:"" help:"List assignments: who has them, how far they are."`
	Show     assignmentShowCmd     `cmd:"" help:"Show one assignment with its interviews, and what there is to decide."`
	Reassign assignmentReassignCmd `cmd:"" help:"Hand an assignment over; the new enumerator waits until the first has given it back."`
	Cancel   assignmentCancelCmd   `cmd:"" help:"Take an assignment away; what was done stays."`
	Release  assignmentReleaseCmd  `cmd:"" help:"End a hand-over without waiting for the first tablet; both may then do it."`
}

type assignmentCreateCmd struct {
	target
	Study         string `help:"Code of the study; not needed where there is one."`
	Enumerator    string `help:"Code of the enumerator." required:""`
	Site          string `help:"Code of the site or enumeration area."`
	Questionnaire string `help:"Which questionnaire: household, school, migration."`
	Round         uint32 `help:"Round of the study."`
	Interviews    uint32 `help:"How many interviews." default:"1"`
	Interview     string `help:"Id of the interview that is to be held again."`
	Household     string `help:"Id of the household to be visited."`
	Due           string `help:"Day by which they should be done: 2016-07-31."`
	Note          string `help:"What the enumerator should know."`
	By            string `help:"Who gives it." env:"USER" default:"supervisor"`
	ID            string `help:"UUID of the assignment, so that the same order twice is one; made if empty."`
	JSON          bool   `help:"Print JSON."`
}

// Run gives the order.
func (c *assignmentCreateCmd) Run(e *env) error {
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	a := &servicev1.Assignment{Enumerator: &c.Enumerator, Interviews: &c.Interviews}
	for _, f := range []struct {
		to   **string
		from *string
	}{
		{&a.AssignmentId, &c.ID}, {&a.Study, &c.Study}, {&a.SiteId, &c.Site}, {&a.Questionnaire, &c.Questionnaire}, {&a.InterviewId, &c.Interview},
		{&a.HouseholdId, &c.Household}, {&a.DueDate, &c.Due}, {&a.Note, &c.Note}, {&a.DecidedBy, &c.By},
	} {
		if *f.from != "" {
			*f.to = f.from
		}
	}
	if c.Round != 0 {
		a.Round = &c.Round
	}
	resp, err := servicev1.NewAssignmentServiceClient(cc).CreateAssignment(e.ctx, &servicev1.CreateAssignmentRequest{Assignment: a})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, resp.GetAssignment())
	}
	o := resp.GetAssignment().GetAssignment()
	return say(e, fmt.Sprintf("assignment %s: %s for %s%s", o.GetAssignmentId(), ordered(o), o.GetEnumerator(), due(o)))
}

// ordered says what an assignment is about: "3 household interviews at 花果园".
func ordered(a *servicev1.Assignment) string {
	what := "interview"
	if q := a.GetQuestionnaire(); q != "" {
		what = strings.ToLower(q[strings.LastIndexByte(q, '.')+1:]) + " interview"
	}
	if a.GetInterviews() != 1 {
		what += "s"
	}
	text := fmt.Sprintf("%d %s", a.GetInterviews(), what)
	if a.GetSiteId() != "" {
		text += " at " + a.GetSiteId()
	}
	return text
}

func due(a *servicev1.Assignment) string {
	if a.GetDueDate() == "" {
		return ""
	}
	return ", due " + a.GetDueDate()
}

// stateWords are the states of an assignment in words.
func stateWords(s servicev1.AssignmentState) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "ASSIGNMENT_STATE_"))
}

// problemWords say what there is to decide about an assignment.
func problemWords(a *servicev1.AssignmentSummary) []string {
	var out []string
	id := a.GetAssignment().GetAssignmentId()
	for _, p := range a.GetProblems() {
		switch p {
		case servicev1.AssignmentProblem_ASSIGNMENT_PROBLEM_STARTED_BEFORE_HANDOVER:
			out = append(out, fmt.Sprintf("%s had begun before the hand-over was known there, and keeps it: give it back with `hearth assignment reassign %.8s %s`, or let %s do it too with `hearth assignment release %.8s`",
				a.GetHolder(), id, a.GetHolder(), a.GetNext(), id))
		case servicev1.AssignmentProblem_ASSIGNMENT_PROBLEM_STARTED_BY_OTHER:
			out = append(out, fmt.Sprintf("begun by %s, though %s has it now: talk to both", strings.Join(a.GetStartedBy(), " and "), a.GetHolder()))
		case servicev1.AssignmentProblem_ASSIGNMENT_PROBLEM_DONE_TWICE:
			out = append(out, "done more often than ordered, or by several: all interviews are kept, it counts once; withdraw what is too much with `hearth review withdraw`")
		case servicev1.AssignmentProblem_ASSIGNMENT_PROBLEM_STARTED_THEN_CANCELLED:
			out = append(out, "begun although it is cancelled: what was done is kept")
		}
	}
	return out
}

type assignmentListCmd struct {
	target
	Study      string `help:"Only of this study."`
	Enumerator string `help:"Only those that this enumerator has or waits for."`
	Site       string `help:"Only at this site."`
	Problems   bool   `help:"Only those with something to decide."`
	JSON       bool   `help:"Print JSON lines."`
}

// Run prints one line per assignment.
func (c *assignmentListCmd) Run(e *env) error {
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	client := servicev1.NewAssignmentServiceClient(cc)
	req := &servicev1.ListAssignmentsRequest{Study: &c.Study, Enumerator: &c.Enumerator, SiteId: &c.Site, ProblemsOnly: &c.Problems, PageSize: proto.Uint32(500)}
	rows := [][]string{{"assignment", "what", "enumerator", "state", "done", "due", "to decide"}}
	for {
		resp, err := client.ListAssignments(e.ctx, req)
		if err != nil {
			return err
		}
		for _, a := range resp.GetAssignments() {
			if c.JSON {
				if err := jsonLine(e, a); err != nil {
					return err
				}
				continue
			}
			o := a.GetAssignment()
			who := a.GetHolder()
			if a.GetNext() != "" {
				who += " -> " + a.GetNext()
			}
			decide := ""
			if len(a.GetProblems()) > 0 {
				decide = "yes"
			}
			rows = append(rows, []string{o.GetAssignmentId()[:8], ordered(o), who, stateWords(a.GetState()), fmt.Sprintf("%d of %d", a.GetDone(), o.GetInterviews()), o.GetDueDate(), decide})
		}
		if resp.GetNextPageToken() == "" {
			break
		}
		req.PageToken = resp.NextPageToken
	}
	switch {
	case c.JSON:
		return nil
	case len(rows) == 1 && c.Problems:
		return say(e, "nothing is to decide about any assignment")
	case len(rows) == 1:
		return say(e, "there are no assignments; give one with: hearth assignment create --enumerator CODE --site CODE")
	}
	return table(e.stdout, rows)
}

type assignmentShowCmd struct {
	target
	Assignment string `arg:"" help:"Id of the assignment, or how it begins."`
	JSON       bool   `help:"Print JSON."`
}

// Run prints everything about one assignment.
func (c *assignmentShowCmd) Run(e *env) error {
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	resp, err := servicev1.NewAssignmentServiceClient(cc).GetAssignment(e.ctx, &servicev1.GetAssignmentRequest{AssignmentId: &c.Assignment})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, resp.GetAssignment())
	}
	return printAssignment(e, resp.GetAssignment())
}

func printAssignment(e *env, a *servicev1.AssignmentSummary) error {
	o := a.GetAssignment()
	rows := [][]string{
		{"assignment", o.GetAssignmentId()},
		{"what", ordered(o) + due(o)},
		{"who", a.GetHolder() + ": " + stateWords(a.GetState())},
	}
	if a.GetNext() != "" {
		rows = append(rows, []string{"next", a.GetNext() + ": waits until " + a.GetHolder() + " has given it back"})
	}
	if o.GetNote() != "" {
		rows = append(rows, []string{"note", o.GetNote()})
	}
	rows = append(rows, []string{"done", fmt.Sprintf("%d of %d", a.GetDone(), o.GetInterviews())})
	for _, iv := range a.GetInterviews() {
		state := "in progress"
		if iv.GetCompleted() {
			state = "completed"
		}
		rows = append(rows, []string{"interview", fmt.Sprintf("%s  %s  %s", orNone(iv.GetInterviewKey()), iv.GetEnumerator(), state)})
	}
	for _, p := range problemWords(a) {
		rows = append(rows, []string{"to decide", p})
	}
	return table(e.stdout, rows)
}

type assignmentReassignCmd struct {
	target
	Assignment string `arg:"" help:"Id of the assignment, or how it begins."`
	Enumerator string `arg:"" help:"Who is to do it."`
	decisionArgs
}

// Run hands the assignment over.
func (c *assignmentReassignCmd) Run(e *env) error {
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	resp, err := servicev1.NewAssignmentServiceClient(cc).ReassignAssignment(e.ctx, &servicev1.ReassignAssignmentRequest{
		AssignmentId: &c.Assignment, Enumerator: &c.Enumerator, DecidedBy: &c.By, Reason: &c.Why,
	})
	if err != nil {
		return err
	}
	return printAssignment(e, resp.GetAssignment())
}

type assignmentCancelCmd struct {
	target
	Assignment string `arg:"" help:"Id of the assignment, or how it begins."`
	decisionArgs
}

// Run cancels it.
func (c *assignmentCancelCmd) Run(e *env) error {
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	resp, err := servicev1.NewAssignmentServiceClient(cc).CancelAssignment(e.ctx, &servicev1.CancelAssignmentRequest{AssignmentId: &c.Assignment, DecidedBy: &c.By, Reason: &c.Why})
	if err != nil {
		return err
	}
	return printAssignment(e, resp.GetAssignment())
}

type assignmentReleaseCmd struct {
	target
	Assignment string `arg:"" help:"Id of the assignment, or how it begins."`
	Yes        bool   `help:"Yes, do not wait: the first enumerator may have begun it, and both may then do it."`
	decisionArgs
}

// Run ends the hand-over.
func (c *assignmentReleaseCmd) Run(e *env) error {
	if !c.Yes {
		return fmt.Errorf("%w: the first enumerator may have begun it without anybody knowing; if both may do it, say so with --yes", errUsage)
	}
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	resp, err := servicev1.NewAssignmentServiceClient(cc).ReleaseAssignment(e.ctx, &servicev1.ReleaseAssignmentRequest{AssignmentId: &c.Assignment, DecidedBy: &c.By, Reason: &c.Why})
	if err != nil {
		return err
	}
	return printAssignment(e, resp.GetAssignment())
}
