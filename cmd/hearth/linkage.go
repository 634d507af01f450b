package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/dedup"
	"google.golang.org/protobuf/proto"
)

// dedupCmd finds people and households surveyed twice.
type dedupCmd struct {
	Run_    dedupRunCmd     `cmd:"" name:"run" help:"Learn the weights anew, compare everybody and sum up; pairs are kept up with what comes without it."`
	Pairs   dedupPairsCmd   `cmd:"" help:"List the pairs found, heaviest first."`
	Groups  dedupGroupsCmd  `cmd:"" help:"List the groups of people who are taken for one, the least sure first."`
	Review  dedupReviewCmd  `cmd:"" help:"Decide pair after pair, what gains most first."`
	Explain dedupExplainCmd `cmd:"" help:"Say field by field why two people may be the same."`
	Show    dedupShowCmd    `cmd:"" help:"Show one person as it counts: where it was met, and which value of each field stands."`
	Merge   dedupMergeCmd   `cmd:"" help:"Decide that two are the same."`
	Split   dedupSplitCmd   `cmd:"" help:"Decide that two are not the same."`
	Choose  dedupChooseCmd  `cmd:"" help:"Decide which of the values told of a person stands."`
	Undo    dedupUndoCmd    `cmd:"" help:"Take a decision back."`
	History dedupHistoryCmd `cmd:"" help:"List the decisions."`
	File    dedupFileCmd    `cmd:"" help:"Find duplicates in any table, without a server."`
}

type dedupRunCmd struct {
	target
	JSON bool `help:"Print JSON."`
}

// Run compares everybody.
func (c *dedupRunCmd) Run(e *env) error {
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	resp, err := servicev1.NewLinkageServiceClient(cc).RunLinkage(e.ctx, &servicev1.RunLinkageRequest{})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, resp)
	}
	by := map[servicev1.LinkSubject]int{}
	for _, p := range resp.GetPairs() {
		by[p.GetSubject()]++
	}
	return say(e, fmt.Sprintf("%d people and %d households; compared %d of %d possible pairs\nfound %d pairs of people and %d of households; %d groups count as one\nlook at them with: hearth dedup pairs",
		resp.GetPeople(), resp.GetHouseholds(), resp.GetCompared(), resp.GetPossible(),
		by[servicev1.LinkSubject_LINK_SUBJECT_PERSON], by[servicev1.LinkSubject_LINK_SUBJECT_HOUSEHOLD], resp.GetClusters()))
}

type dedupPairsCmd struct {
	target
	Undecided bool `help:"Only pairs nobody has decided."`
	Limit     int  `help:"At most this many." default:"50"`
	JSON      bool `help:"Print JSON."`
}

// Run lists the pairs.
func (c *dedupPairsCmd) Run(e *env) error {
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	resp, err := servicev1.NewLinkageServiceClient(cc).ListPairs(e.ctx, &servicev1.ListPairsRequest{
		UndecidedOnly: &c.Undecided, PageSize: proto.Uint32(uint32(max(c.Limit, 1))),
	})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, resp)
	}
	if len(resp.GetPairs()) == 0 {
		return say(e, "no pairs")
	}
	rows := [][]string{{"WHAT", "MET AS", "AND AS", "CLASS", "PROBABILITY", "WEIGHT", "DECIDED", "A", "B"}}
	for _, p := range resp.GetPairs() {
		rows = append(rows, []string{
			enumWord(p.GetSubject().String(), "LINK_SUBJECT_"), p.GetAKey(), p.GetBKey(), enumWord(p.GetMatchClass().String(), "MATCH_CLASS_"),
			fmt.Sprintf("%.4f", p.GetProbability()), fmt.Sprintf("%+.1f", p.GetWeight()), decided(p), p.GetAId(), p.GetBId(),
		})
	}
	if err := table(e.stdout, rows); err != nil {
		return err
	}
	if resp.GetNextPageToken() != "" {
		return say(e, "there are more: --limit")
	}
	return nil
}

type dedupGroupsCmd struct {
	target
	Limit int  `help:"At most this many." default:"50"`
	JSON  bool `help:"Print JSON."`
}

// Run lists the groups.
func (c *dedupGroupsCmd) Run(e *env) error {
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	resp, err := servicev1.NewLinkageServiceClient(cc).ListGroups(e.ctx, &servicev1.ListGroupsRequest{PageSize: proto.Uint32(uint32(max(c.Limit, 1)))})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, resp)
	}
	if len(resp.GetGroups()) == 0 {
		return say(e, "nobody is taken for somebody else")
	}
	rows := [][]string{{"CONFIDENCE", "DECIDED", "PEOPLE"}}
	for _, g := range resp.GetGroups() {
		rows = append(rows, []string{fmt.Sprintf("%.4f", g.GetConfidence()), yes(g.GetDecided()), strings.Join(g.GetPersonIds(), " ")})
	}
	if err := table(e.stdout, rows); err != nil {
		return err
	}
	if more := resp.GetTotal() - int64(len(resp.GetGroups())); more > 0 {
		return say(e, fmt.Sprintf("and %d more: --limit", more))
	}
	return nil
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

func decided(p *servicev1.MatchPair) string {
	if p.GetDecision() == servicev1.DecisionKind_DECISION_KIND_UNSPECIFIED {
		return ""
	}
	return enumWord(p.GetDecision().String(), "DECISION_KIND_")
}

// pairArgs name two people or households.
type pairArgs struct {
	A         string `arg:"" help:"Person id (or household id with --household)."`
	B         string `arg:"" help:"The other."`
	Household bool   `help:"The ids are of households."`
}

func (p pairArgs) subject() *servicev1.LinkSubject {
	if p.Household {
		return servicev1.LinkSubject_LINK_SUBJECT_HOUSEHOLD.Enum()
	}
	return servicev1.LinkSubject_LINK_SUBJECT_PERSON.Enum()
}

type dedupExplainCmd struct {
	target
	pairArgs
	Format string `help:"text, json, or svg, a picture of what each field adds." enum:"text,json,svg" default:"text"`
	Lang   string `help:"Language of the picture: en or zh." enum:"en,zh" default:"en" env:"HEARTH_LANG"`
	JSON   bool   `help:"Print JSON."`
}

// Run explains one pair.
func (c *dedupExplainCmd) Run(e *env) error {
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	resp, err := servicev1.NewLinkageServiceClient(cc).ExplainPair(e.ctx, &servicev1.ExplainPairRequest{Subject: c.subject(), AId: &c.A, BId: &c.B})
	if err != nil {
		return err
	}
	switch {
	case c.JSON || c.Format == "json":
		return printJSON(e.stdout, resp)
	case c.Format == "svg":
		_, err = e.stdout.Write(dedup.Waterfall(resp.GetPair(), c.Lang == "zh"))
		return err
	}
	return say(e, resp.GetText())
}

// decisionArgs say who decides and why.
type decisionArgs struct {
	Why string `help:"Why; kept with the decision."`
	By  string `help:"Who decides." env:"USER" default:"supervisor"`
}

func decide(e *env, t target, d *servicev1.LinkDecision) error {
	cc, err := t.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	resp, err := servicev1.NewLinkageServiceClient(cc).Decide(e.ctx, &servicev1.DecideRequest{Decision: d})
	if err != nil {
		return err
	}
	return say(e, fmt.Sprintf("decision %s: %s; take it back with: hearth dedup undo %[1]s", resp.GetDecision().GetDecisionId(), enumWord(resp.GetDecision().GetKind().String(), "DECISION_KIND_")))
}

type dedupMergeCmd struct {
	target
	pairArgs
	decisionArgs
}

// Run records that two are the same.
func (c *dedupMergeCmd) Run(e *env) error {
	return decide(e, c.target, &servicev1.LinkDecision{
		Kind: servicev1.DecisionKind_DECISION_KIND_LINK.Enum(), Subject: c.subject(), AId: &c.A, BId: &c.B, DecidedBy: &c.By, Reason: &c.Why,
	})
}

type dedupSplitCmd struct {
	target
	pairArgs
	decisionArgs
}

// Run records that two are not the same.
func (c *dedupSplitCmd) Run(e *env) error {
	return decide(e, c.target, &servicev1.LinkDecision{
		Kind: servicev1.DecisionKind_DECISION_KIND_CANNOT_LINK.Enum(), Subject: c.subject(), AId: &c.A, BId: &c.B, DecidedBy: &c.By, Reason: &c.Why,
	})
}

type dedupUndoCmd struct {
	target
	Decision string `arg:"" help:"Id of the decision."`
	decisionArgs
}

// Run takes a decision back.
func (c *dedupUndoCmd) Run(e *env) error {
	return decide(e, c.target, &servicev1.LinkDecision{
		Kind: servicev1.DecisionKind_DECISION_KIND_UNDO.Enum(), Undoes: &c.Decision, DecidedBy: &c.By, Reason: &c.Why,
	})
}

type dedupHistoryCmd struct {
	target
	JSON bool `help:"Print JSON."`
}

// Run lists the decisions.
func (c *dedupHistoryCmd) Run(e *env) error {
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	resp, err := servicev1.NewLinkageServiceClient(cc).ListDecisions(e.ctx, &servicev1.ListDecisionsRequest{})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, resp)
	}
	if len(resp.GetDecisions()) == 0 {
		return say(e, "no decisions yet")
	}
	rows := [][]string{{"WHEN", "BY", "WHAT", "A", "B", "DECISION", "WHY"}}
	for _, d := range resp.GetDecisions() {
		a, b := d.GetAId(), d.GetBId()
		switch {
		case d.GetUndoes() != "":
			a, b = d.GetUndoes(), ""
		case d.GetField() != "":
			b = d.GetField() + " of " + d.GetInterviewId()
		}
		rows = append(rows, []string{since(d.GetTimeMs()), d.GetDecidedBy(), enumWord(d.GetKind().String(), "DECISION_KIND_"), a, b, d.GetDecisionId(), d.GetReason()})
	}
	return table(e.stdout, rows)
}

func compact(raw []byte) []byte {
	var buf bytes.Buffer
	if err := json.Compact(&buf, raw); err != nil {
		return raw
	}
	return buf.Bytes()
}
