package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/protobuf/encoding/protojson"
)

type tabletAssignmentsCmd struct {
	tabletFile
	JSON bool `help:"Print JSON lines."`
}

// Run lists what the enumerator has to do.
func (c *tabletAssignmentsCmd) Run(e *env) (err error) {
	st, err := c.open(e)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	all, err := st.Assignments(e.ctx)
	if err != nil {
		return err
	}
	rows := [][]string{{"assignment", "what", "state", "done", "due", "note"}}
	for _, a := range all {
		if c.JSON {
			if err := printAssignmentJSON(e, a); err != nil {
				return err
			}
			continue
		}
		rows = append(rows, []string{a.Order.GetAssignmentId()[:min(8, len(a.Order.GetAssignmentId()))], ordered(a.Order), tabletState(a),
			fmt.Sprintf("%d of %d", a.Completed, a.Order.GetInterviews()), a.Order.GetDueDate(), a.Order.GetNote()})
	}
	switch {
	case c.JSON:
		return nil
	case len(rows) == 1:
		return say(e, "this tablet has no assignments; what the supervisor gives comes with the next sync")
	}
	return table(e.stdout, rows)
}

// toDo counts the assignments that are to be begun or finished, and the interviews that were rejected and not corrected.
func toDo(e *env, st *tablet.Store) (open, rejected int, err error) {
	all, err := st.Assignments(e.ctx)
	if err != nil {
		return 0, 0, err
	}
	for _, a := range all {
		switch a.State {
		case servicev1.AssignmentState_ASSIGNMENT_STATE_OPEN, servicev1.AssignmentState_ASSIGNMENT_STATE_STARTED:
			open++
		}
	}
	reviews, err := st.Reviews(e.ctx)
	if err != nil {
		return 0, 0, err
	}
	interviews := map[string]bool{}
	for _, v := range reviews {
		if v.Open {
			interviews[v.Review.GetInterviewId()] = true
		}
	}
	return open, len(interviews), nil
}

func printAssignmentJSON(e *env, a tablet.AssignmentStatus) error {
	order, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(a.Order)
	if err != nil {
		return err
	}
	return anyJSONLine(e, map[string]any{
		"assignment": rawJSON(order), "state": stateWords(a.State), "released": a.Released, "withdrawn": a.Withdrawn, "begun": a.Begun, "completed": a.Completed,
	})
}

// tabletState says how an assignment stands, for the enumerator.
func tabletState(a tablet.AssignmentStatus) string {
	switch {
	case a.Withdrawn:
		return stateWords(a.State) + "; taken away meanwhile, nothing is lost: ask the supervisor"
	case a.Released:
		return "given back"
	case a.State == servicev1.AssignmentState_ASSIGNMENT_STATE_WAITING:
		return "waiting: somebody else may still be doing it"
	}
	return stateWords(a.State)
}

type tabletStartCmd struct {
	tabletFile
	Assignment string `arg:"" help:"Id of the assignment, or how it begins."`
	Complete   bool   `help:"Say that it is done, though with fewer interviews than ordered."`
}

// Run begins an assignment.
func (c *tabletStartCmd) Run(e *env) (err error) {
	st, err := c.open(e)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	all, err := st.Assignments(e.ctx)
	if err != nil {
		return err
	}
	var ids []string
	for _, a := range all {
		if strings.HasPrefix(a.Order.GetAssignmentId(), c.Assignment) {
			ids = append(ids, a.Order.GetAssignmentId())
		}
	}
	if len(ids) > 1 {
		return fmt.Errorf("%w: several assignments begin with %s: %s", errUsage, c.Assignment, strings.Join(ids, ", "))
	}
	id := c.Assignment
	if len(ids) == 1 {
		id = ids[0]
	}
	change := st.StartAssignment
	if c.Complete {
		change = st.CompleteAssignment
	}
	a, err := change(e.ctx, id)
	if err != nil {
		return err
	}
	return say(e, fmt.Sprintf("assignment %s is %s; its interviews carry \"assignment_id\": \"%s\"", id, stateWords(a.State), id))
}

type tabletReviewsCmd struct {
	tabletFile
	Open   bool   `help:"Only rejections that are not answered yet."`
	Reopen string `help:"Print this rejected interview, by key or id, as a line to correct and load."`
	JSON   bool   `help:"Print JSON lines."`
}

// Run lists what supervisors say of the enumerator's interviews.
func (c *tabletReviewsCmd) Run(e *env) (err error) {
	st, err := c.open(e)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	all, err := st.Reviews(e.ctx)
	if err != nil {
		return err
	}
	if c.Reopen != "" {
		return c.reopen(e, st, all)
	}
	n := 0
	for _, v := range all {
		if c.Open && !v.Open {
			continue
		}
		n++
		if c.JSON {
			raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(v.Review)
			if err == nil {
				err = anyJSONLine(e, map[string]any{"review": rawJSON(raw), "open": v.Open, "here": v.Here, "newer": v.Newer})
			}
			if err != nil {
				return err
			}
			continue
		}
		if err := printReview(e, v.Review, reviewNote(v)); err != nil {
			return err
		}
	}
	if n == 0 && !c.JSON {
		return say(e, "the supervisors have said nothing of this tablet's interviews")
	}
	return nil
}

// reviewNote says what is to be done about a review.
func reviewNote(v tablet.ReviewStatus) string {
	var notes []string
	if v.Open {
		notes = append(notes, "to be corrected")
	}
	if v.Newer {
		notes = append(notes, "the tablet has a newer revision than was looked at")
	}
	if !v.Here {
		notes = append(notes, "the interview is not on this tablet")
	}
	if len(notes) == 0 {
		return ""
	}
	return ": " + strings.Join(notes, "; ")
}

// reopen prints a rejected interview, in progress again. On the command line it is corrected in a file, so that no draft of
// it stays that was not there.
func (c *tabletReviewsCmd) reopen(e *env, st *tablet.Store, all []tablet.ReviewStatus) error {
	id := c.Reopen
	for _, v := range all {
		if v.Review.GetInterviewKey() == c.Reopen {
			id = v.Review.GetInterviewId()
		}
	}
	drafts, err := st.Drafts(e.ctx)
	if err != nil {
		return err
	}
	iv, err := st.ReopenForReview(e.ctx, id)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(drafts, func(d *surveyv1.Interview) bool { return d.GetInterviewId() == id }) {
		if err := st.DropDraft(e.ctx, id); err != nil {
			return err
		}
	}
	return jsonLine(e, iv)
}

type tabletDoorCmd struct {
	tabletFile
	FamilyName string `help:"Family name, in characters or pinyin."`
	GivenName  string `help:"Given name."`
	BirthYear  int    `help:"Year of birth."`
	Sex        string `help:"male or female." enum:"male,female," default:""`
	Phone      string `help:"Telephone number."`
	ResidentID string `name:"resident-id" help:"Resident identity number, or its last four characters."`
	JSON       bool   `help:"Print JSON."`
}

// Help says how far the warning goes.
func (tabletDoorCmd) Help() string {
	return `The tablet knows nobody's name, only keyed hashes of family name with year of birth and sex, of telephone numbers, and of the last four of
a resident number with the year. At a site where 200 people were interviewed nine in ten of those who come again are warned of, and about one in
twenty of those who do not: a warning is a reason to ask, not an answer.`
}

// Run looks whether somebody at the door may have been interviewed before. The exit code is 1 if so.
func (c *tabletDoorCmd) Run(e *env) (err error) {
	st, err := c.open(e)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	v := tablet.Visitor{FamilyName: c.FamilyName, GivenName: c.GivenName, BirthYear: c.BirthYear, Phone: c.Phone, ResidentID: c.ResidentID}
	switch c.Sex {
	case "male":
		v.Sex = surveyv1.Sex_SEX_MALE
	case "female":
		v.Sex = surveyv1.Sex_SEX_FEMALE
	}
	r, err := st.DoorCheck(e.ctx, v)
	if err != nil {
		return err
	}
	if c.JSON {
		keys := r.Keys
		if keys == nil {
			keys = []string{}
		}
		err = anyJSONLine(e, map[string]any{"keys": keys, "known": r.Known, "clues": r.Clues})
	} else {
		err = say(e, doorWords(r))
	}
	if err == nil && len(r.Keys) > 0 {
		return errFound
	}
	return err
}

func doorWords(r tablet.DoorReport) string {
	switch {
	case len(r.Keys) > 0:
		return fmt.Sprintf("may have been interviewed before: interview %s; ask, and ask the supervisor before you begin", strings.Join(r.Keys, ", "))
	case r.Known == 0:
		return "this tablet has no roster of its sites: it comes with a sync, for the sites where the enumerator has an assignment"
	case r.Clues == 0:
		return "too little to go by: it takes family name, year of birth and sex, or a telephone number, or an identity number and year of birth"
	}
	return fmt.Sprintf("nobody like that among %d interviews of these sites, as of the last sync", r.Known)
}
