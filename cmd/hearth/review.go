package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/protobuf/proto"
)

// reviewCmd says what supervisors think of interviews, settles those that two people changed, and withdraws interviews.
type reviewCmd struct {
	Comment   reviewCommentCmd   `cmd:"" help:"Say something of an interview or of one of its questions."`
	Reject    reviewRejectCmd    `cmd:"" help:"Reject an interview: it is to be corrected on its tablet."`
	Approve   reviewApproveCmd   `cmd:"" help:"Approve an interview as it is."`
	List      reviewListCmd      `cmd:"" help:"List what was said, the newest first."`
	Conflicts reviewConflictsCmd `cmd:"" help:"List interviews that two people changed differently, with both values."`
	Resolve   reviewResolveCmd   `cmd:"" help:"Decide which values are right; all of them stay in the log."`
	Withdraw  reviewWithdrawCmd  `cmd:"" help:"Take an interview out of counts, people, graph and exports."`
	Erase     reviewEraseCmd     `cmd:"" help:"Destroy the answers of a withdrawn interview, for ever."`
}

type reviewConflictsCmd struct {
	target
	Interview string `arg:"" optional:"" help:"Only this interview, by key or id."`
	JSON      bool   `help:"Print JSON lines."`
}

// Run prints every field in conflict with its values, and how to decide.
func (c *reviewConflictsCmd) Run(e *env) error {
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	req := &servicev1.ListConflictsRequest{InterviewId: &c.Interview, PageSize: proto.Uint32(100)}
	client := servicev1.NewReviewServiceClient(cc)
	n := 0
	for {
		resp, err := client.ListConflicts(e.ctx, req)
		if err != nil {
			return err
		}
		for _, one := range resp.GetConflicts() {
			n++
			if c.JSON {
				err = jsonLine(e, one)
			} else {
				err = printConflict(e, one)
			}
			if err != nil {
				return err
			}
		}
		if resp.GetNextPageToken() == "" {
			break
		}
		req.PageToken = resp.NextPageToken
	}
	if n == 0 && !c.JSON {
		return say(e, "no interview is in conflict")
	}
	return nil
}

// seen is a short name of the state of a conflict: of all its heads.
func seen(c *servicev1.InterviewConflict) string {
	h := sha256.New()
	for _, head := range c.GetHeads() {
		h.Write(head)
	}
	return hex.EncodeToString(h.Sum(nil)[:4])
}

func short(revision []byte) string { return hex.EncodeToString(revision[:min(4, len(revision))]) }

func printConflict(e *env, c *servicev1.InterviewConflict) error {
	w := e.stdout
	fmt.Fprintf(w, "%s  %s  seen %s\n", c.GetInterviewKey(), c.GetInterviewId(), seen(c))
	for _, f := range c.GetFields() {
		fmt.Fprintf(w, "  %s\n", f.GetPath())
		rows := [][]string{{"    before", "", "", orNone(f.GetBase())}}
		for _, v := range f.GetValues() {
			rows = append(rows, []string{"    " + short(v.GetRevision()), v.GetAuthor(), since(v.GetWallTimeMs()), orNone(v.GetValue())})
		}
		if err := table(w, rows); err != nil {
			return err
		}
	}
	if len(c.GetFields()) == 0 {
		fmt.Fprintf(w, "  revisions %s; not all of them can be read\n", strings.Join(shorts(c.GetHeads()), ", "))
	}
	_, err := fmt.Fprintf(w, "  decide: hearth review resolve %s --seen %s --choose 'FIELD=REVISION' ..., or --take REVISION\n", c.GetInterviewId(), seen(c))
	return err
}

func shorts(revisions [][]byte) []string {
	var out []string
	for _, r := range revisions {
		out = append(out, short(r))
	}
	return out
}

func orNone(value string) string {
	if value == "" {
		return "(none)"
	}
	return value
}

type reviewResolveCmd struct {
	target
	Interview string   `arg:"" help:"Key or id of the interview."`
	Seen      string   `help:"State of the conflict that was looked at, as printed by conflicts." required:""`
	Choose    []string `help:"FIELD=REVISION: the revision whose value of the field is right; once for each field." sep:"none"`
	Take      string   `help:"Take everything from this revision, instead of --choose."`
	decisionArgs
}

// Run records the decision.
func (c *reviewResolveCmd) Run(e *env) error {
	if (c.Take == "") == (len(c.Choose) == 0) {
		return fmt.Errorf("%w: decide with --choose FIELD=REVISION for each field, or with --take REVISION", errUsage)
	}
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	client := servicev1.NewReviewServiceClient(cc)
	list, err := client.ListConflicts(e.ctx, &servicev1.ListConflictsRequest{InterviewId: &c.Interview})
	if err != nil {
		return err
	}
	if len(list.GetConflicts()) == 0 {
		return fault.New(fault.Conflict, fault.NoConflict, "interview %s is not in conflict", c.Interview)
	}
	conflict := list.GetConflicts()[0]
	if seen(conflict) != c.Seen {
		return fault.New(fault.Conflict, fault.ConflictChanged, "interview %s is not in state %s any more, but in %s", c.Interview, c.Seen, seen(conflict))
	}
	req := &servicev1.ResolveConflictRequest{InterviewId: conflict.InterviewId, Heads: conflict.GetHeads(), DecidedBy: &c.By, Reason: &c.Why}
	if c.Take != "" {
		if req.TakeAll, err = headNamed(conflict, c.Take); err != nil {
			return err
		}
	}
	for _, choice := range c.Choose {
		at := strings.LastIndexByte(choice, '=')
		if at < 0 {
			return fmt.Errorf("%w: --choose %s: want FIELD=REVISION", errUsage, choice)
		}
		head, err := headNamed(conflict, choice[at+1:])
		if err != nil {
			return err
		}
		req.Choices = append(req.Choices, &servicev1.FieldChoice{Path: proto.String(choice[:at]), Revision: head})
	}
	resp, err := client.ResolveConflict(e.ctx, req)
	if err != nil {
		return err
	}
	return say(e, fmt.Sprintf("interview %s is settled by revision %s; what was not chosen stays in the log", c.Interview, short(resp.GetRevision())))
}

// headNamed is the current revision whose digest begins so.
func headNamed(c *servicev1.InterviewConflict, prefix string) ([]byte, error) {
	var found []byte
	for _, h := range c.GetHeads() {
		if len(prefix) >= 4 && strings.HasPrefix(hex.EncodeToString(h), prefix) && !bytes.Equal(found, h) {
			if found != nil {
				return nil, fmt.Errorf("%w: several revisions begin with %s", errUsage, prefix)
			}
			found = h
		}
	}
	if found == nil {
		return nil, fmt.Errorf("%w: %q is none of the current revisions %s", errUsage, prefix, strings.Join(shorts(c.GetHeads()), ", "))
	}
	return found, nil
}

type reviewWithdrawCmd struct {
	target
	Interview string `arg:"" help:"Key or id of the interview."`
	decisionArgs
}

// Run withdraws an interview.
func (c *reviewWithdrawCmd) Run(e *env) error {
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	id, err := interviewID(e, cc, c.Interview)
	if err != nil {
		return err
	}
	_, err = servicev1.NewReviewServiceClient(cc).WithdrawInterview(e.ctx, &servicev1.WithdrawInterviewRequest{InterviewId: &id, DecidedBy: &c.By, Reason: &c.Why})
	if err != nil {
		return err
	}
	return say(e, fmt.Sprintf("interview %s is withdrawn: it is in no count and no export; its revisions stay in the log\nwhere consent was withdrawn, destroy the answers with: hearth review erase %[1]s --yes", id))
}

// interviewID finds the id of an interview that is named by its key. What is no key stays as it is.
func interviewID(e *env, cc *conn, named string) (string, error) {
	req := &servicev1.ListInterviewsRequest{PageSize: proto.Uint32(1000)}
	client := servicev1.NewMonitorServiceClient(cc)
	var found []string
	for len(named) != 36 { // a UUID is nobody's key
		resp, err := client.ListInterviews(e.ctx, req)
		if err != nil {
			return "", err
		}
		for _, s := range resp.GetInterviews() {
			if s.GetInterviewKey() == named {
				found = append(found, s.GetInterviewId())
			}
		}
		if resp.GetNextPageToken() == "" {
			break
		}
		req.PageToken = resp.NextPageToken
	}
	switch len(found) {
	case 0:
		return named, nil
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("%w: several interviews have the key %s: %s", errUsage, named, strings.Join(found, ", "))
}

type reviewEraseCmd struct {
	target
	Interview string `arg:"" help:"Id of the withdrawn interview."`
	Yes       bool   `help:"Yes, destroy: nobody can bring the answers back."`
	decisionArgs
}

// Run destroys the answers.
func (c *reviewEraseCmd) Run(e *env) error {
	if !c.Yes {
		return fmt.Errorf("%w: erasing cannot be taken back; say so with --yes", errUsage)
	}
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	resp, err := servicev1.NewReviewServiceClient(cc).EraseInterview(e.ctx, &servicev1.EraseInterviewRequest{InterviewId: &c.Interview, DecidedBy: &c.By, Reason: &c.Why})
	if err != nil {
		return err
	}
	return say(e, fmt.Sprintf("%d revisions of interview %s are erased; tablets and backups may still hold it", resp.GetRevisions(), c.Interview))
}
