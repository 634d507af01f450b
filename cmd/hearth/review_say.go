package main

import (
	"fmt"
	"strings"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/monitor"
	"google.golang.org/protobuf/proto"
)

// reviewArgs are what every review says.
type reviewArgs struct {
	Interview string   `arg:"" help:"Key or id of the interview."`
	At        []string `help:"PATH=TEXT: say it of this question, as in 'household.members[2].age=ask again'; may be repeated." sep:"none"`
	Text      string   `help:"Say it of the whole interview."`
	Level     string   `help:"For whom it is said: supervisor or headquarters." enum:"supervisor,headquarters" default:"supervisor"`
	By        string   `help:"Who says it." env:"USER" default:"supervisor"`
	JSON      bool     `help:"Print JSON."`
}

// send writes the review.
func (a *reviewArgs) send(e *env, t target, decision servicev1.ReviewDecision) (*servicev1.Review, error) {
	level := servicev1.ReviewLevel_REVIEW_LEVEL_SUPERVISOR
	if a.Level == "headquarters" {
		level = servicev1.ReviewLevel_REVIEW_LEVEL_HEADQUARTERS
	}
	req := &servicev1.CreateReviewRequest{InterviewId: &a.Interview, Decision: decision.Enum(), Level: level.Enum(), DecidedBy: &a.By}
	for _, at := range a.At {
		path, text, ok := cutPath(at)
		if !ok {
			return nil, fmt.Errorf("%w: --at %s: want PATH=TEXT", errUsage, at)
		}
		req.Comments = append(req.Comments, &servicev1.ReviewComment{Path: &path, Text: &text})
	}
	if a.Text != "" {
		req.Comments = append(req.Comments, &servicev1.ReviewComment{Text: &a.Text})
	}
	cc, err := t.dial(e.ctx)
	if err != nil {
		return nil, err
	}
	defer cc.Close()
	resp, err := servicev1.NewReviewServiceClient(cc).CreateReview(e.ctx, req)
	if err != nil {
		return nil, err
	}
	if a.JSON {
		return nil, printJSON(e.stdout, resp.GetReview())
	}
	return resp.GetReview(), nil
}

// cutPath divides PATH=TEXT at the first = that does not stand in brackets.
func cutPath(at string) (path, text string, ok bool) {
	depth := 0
	for i, r := range at {
		switch r {
		case '[':
			depth++
		case ']':
			depth--
		case '=':
			if depth <= 0 {
				return at[:i], at[i+1:], true
			}
		}
	}
	return "", "", false
}

type reviewCommentCmd struct {
	target
	reviewArgs
}

// Run says something of an interview.
func (c *reviewCommentCmd) Run(e *env) error {
	v, err := c.send(e, c.target, servicev1.ReviewDecision_REVIEW_DECISION_COMMENT)
	if err != nil || v == nil {
		return err
	}
	return say(e, fmt.Sprintf("said of interview %s; the tablet of %s gets to know at its next sync", c.Interview, v.GetEnumerator()))
}

type reviewRejectCmd struct {
	target
	reviewArgs
}

// Run rejects an interview.
func (c *reviewRejectCmd) Run(e *env) error {
	v, err := c.send(e, c.target, servicev1.ReviewDecision_REVIEW_DECISION_REJECT)
	if err != nil || v == nil {
		return err
	}
	return say(e, fmt.Sprintf("interview %s is rejected: after its next sync the tablet of %s has it to be corrected", c.Interview, v.GetEnumerator()))
}

type reviewApproveCmd struct {
	target
	reviewArgs
}

// Run approves an interview.
func (c *reviewApproveCmd) Run(e *env) error {
	v, err := c.send(e, c.target, servicev1.ReviewDecision_REVIEW_DECISION_APPROVE)
	if err != nil || v == nil {
		return err
	}
	return say(e, fmt.Sprintf("interview %s is approved in its revision %s; a later revision is to be looked at again", c.Interview, short(v.GetRevision())))
}

type reviewListCmd struct {
	target
	Interview string `arg:"" optional:"" help:"Only of this interview, by key or id."`
	Study     string `help:"Only of this study."`
	JSON      bool   `help:"Print JSON lines."`
}

// Run prints what was said, the newest first.
func (c *reviewListCmd) Run(e *env) error {
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	client := servicev1.NewReviewServiceClient(cc)
	req := &servicev1.ListReviewsRequest{InterviewId: &c.Interview, Study: &c.Study, PageSize: proto.Uint32(500)}
	n := 0
	for {
		resp, err := client.ListReviews(e.ctx, req)
		if err != nil {
			return err
		}
		for _, v := range resp.GetReviews() {
			n++
			if c.JSON {
				err = jsonLine(e, v)
			} else {
				err = printReview(e, v, "")
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
		return say(e, "nothing was said of any interview yet; begin with: hearth review comment, reject or approve")
	}
	return nil
}

// printReview prints who said what of which question, in the words of the questionnaire.
func printReview(e *env, v *servicev1.Review, note string) error {
	decision := strings.ToLower(strings.TrimPrefix(v.GetDecision().String(), "REVIEW_DECISION_"))
	level := strings.ToLower(strings.TrimPrefix(v.GetLevel().String(), "REVIEW_LEVEL_"))
	if _, err := fmt.Fprintf(e.stdout, "%s  %s by %s (%s), %s, of %s's revision %s%s\n", orNone(v.GetInterviewKey()), decision, v.GetDecidedBy(), level,
		since(v.GetTimeMs()), v.GetEnumerator(), short(v.GetRevision()), note); err != nil {
		return err
	}
	for _, c := range v.GetComments() {
		at := "the whole interview"
		if c.GetPath() != "" {
			at = c.GetPath()
		}
		if _, err := fmt.Fprintf(e.stdout, "  %s: %s\n", monitor.Printable(at), monitor.Printable(c.GetText())); err != nil {
			return err
		}
		if words := strings.TrimSpace(c.GetQuestionEn() + "  " + c.GetQuestionZh()); words != "" {
			if _, err := fmt.Fprintf(e.stdout, "    %s\n", monitor.Printable(words)); err != nil {
				return err
			}
		}
	}
	return nil
}
