package main

import (
	"fmt"
	"strings"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// closing is what closing and reopening a study have in common.
type closing struct {
	target
	Study string  `help:"Code of the study, where the server holds several."`
	Round *uint32 `help:"Number of the round; without it the whole study, with all its rounds."`
	By    string  `help:"Who decided it." placeholder:"NAME"`
	JSON  bool    `help:"Print the definition as JSON."`
}

type studyCloseCmd struct{ closing }

type studyReopenCmd struct{ closing }

// Run closes.
func (c *studyCloseCmd) Run(e *env) error {
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	resp, err := servicev1.NewStudyServiceClient(cc).CloseStudy(e.ctx, &servicev1.CloseStudyRequest{Study: &c.Study, Round: c.Round, DecidedBy: &c.By})
	if err != nil {
		return err
	}
	return c.say(e, resp.GetStudy())
}

// Run opens.
func (c *studyReopenCmd) Run(e *env) error {
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	resp, err := servicev1.NewStudyServiceClient(cc).ReopenStudy(e.ctx, &servicev1.ReopenStudyRequest{Study: &c.Study, Round: c.Round, DecidedBy: &c.By})
	if err != nil {
		return err
	}
	return c.say(e, resp.GetStudy())
}

// say tells what is closed now.
func (c *closing) say(e *env, st *surveyv1.Study) error {
	if c.JSON {
		return printJSON(e.stdout, st)
	}
	state := "is open"
	var rounds []string
	for _, r := range st.GetClosedRounds() {
		rounds = append(rounds, fmt.Sprint(r))
	}
	switch {
	case st.GetClosed():
		state = "is closed: interviews that arrive now wait in quarantine as ROUND_CLOSED"
	case len(rounds) > 0:
		state = "is open but for rounds that are closed: " + strings.Join(rounds, ", ") + "; their interviews that arrive now wait in quarantine as ROUND_CLOSED"
	}
	return say(e, fmt.Sprintf("study %s %s", st.GetStudy(), state))
}
