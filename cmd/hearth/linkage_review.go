package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/dedup"
	"github.com/hearth-survey/hearth/server/monitor"
	"google.golang.org/protobuf/proto"
)

type dedupReviewCmd struct {
	target
	decisionArgs
	List  bool `help:"Only list what is to be decided."`
	Limit int  `help:"List at most this many." default:"20"`
	JSON  bool `help:"List as JSON."`
}

// Run shows pair after pair and takes an answer to each from the terminal, or line by line from what is piped in.
func (c *dedupReviewCmd) Run(e *env) error {
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	link := servicev1.NewLinkageServiceClient(cc)
	if c.List || c.JSON {
		return c.list(e, link)
	}
	answers := bufio.NewScanner(e.stdin)
	var later [][2]string
	for decided := 0; ; {
		item, total, err := nextCase(e, link, later)
		if err != nil {
			return err
		}
		if item == nil {
			return say(e, fmt.Sprintf("nothing more to decide: %d decided, %d left for later", decided, len(later)))
		}
		p := item.GetPair()
		if err := say(e, fmt.Sprintf("%d to be decided\n\n%s", total-int64(len(later)), caseText(item))); err != nil {
			return err
		}
		kind, err := askDecision(e, answers)
		switch {
		case err != nil:
			return err
		case kind == servicev1.DecisionKind_DECISION_KIND_UNSPECIFIED:
			return say(e, fmt.Sprintf("stopped: %d decided, %d left for later", decided, len(later)))
		case kind == servicev1.DecisionKind_DECISION_KIND_UNDO: // later
			later = append(later, [2]string{p.GetAId(), p.GetBId()})
			continue
		}
		resp, err := link.Decide(e.ctx, &servicev1.DecideRequest{Decision: &servicev1.LinkDecision{
			Kind: kind.Enum(), Subject: p.Subject, AId: p.AId, BId: p.BId, DecidedBy: &c.By, Reason: &c.Why,
		}})
		if err != nil {
			return err
		}
		decided++
		if err := say(e, "take it back with: hearth dedup undo "+resp.GetDecision().GetDecisionId()+"\n"); err != nil {
			return err
		}
	}
}

// nextCase is the first of the queue that was not put off.
func nextCase(e *env, link servicev1.LinkageServiceClient, later [][2]string) (*servicev1.QueueItem, int64, error) {
	token := ""
	for {
		resp, err := link.ListQueue(e.ctx, &servicev1.ListQueueRequest{PageSize: proto.Uint32(uint32(min(len(later)+1, 100))), PageToken: &token})
		if err != nil {
			return nil, 0, err
		}
		for _, item := range resp.GetItems() {
			if !slices.Contains(later, [2]string{item.GetPair().GetAId(), item.GetPair().GetBId()}) {
				return item, resp.GetTotal(), nil
			}
		}
		if token = resp.GetNextPageToken(); token == "" {
			return nil, resp.GetTotal(), nil
		}
	}
}

// askDecision reads an answer: unspecified is an end, undo stands for later.
func askDecision(e *env, answers *bufio.Scanner) (servicev1.DecisionKind, error) {
	for {
		if _, err := io.WriteString(e.stdout, "same, different, later or quit? "); err != nil {
			return 0, err
		}
		if !answers.Scan() {
			if err := answers.Err(); err != nil {
				return 0, err
			}
			return servicev1.DecisionKind_DECISION_KIND_UNSPECIFIED, say(e, "")
		}
		switch strings.ToLower(strings.TrimSpace(answers.Text())) {
		case "same", "s", "是":
			return servicev1.DecisionKind_DECISION_KIND_LINK, nil
		case "different", "d", "否":
			return servicev1.DecisionKind_DECISION_KIND_CANNOT_LINK, nil
		case "later", "l", "":
			return servicev1.DecisionKind_DECISION_KIND_UNDO, nil
		case "quit", "q":
			return servicev1.DecisionKind_DECISION_KIND_UNSPECIFIED, nil
		}
	}
}

// caseText is everything that is needed to decide one pair.
func caseText(item *servicev1.QueueItem) string {
	p := item.GetPair()
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s and %s\n%s", enumWord(p.GetSubject().String(), "LINK_SUBJECT_"), p.GetAKey(), p.GetBKey(), dedup.Text(p))
	for i, r := range item.GetRivals() {
		if i == 0 {
			fmt.Fprintf(&b, "\nother partners (the next is %.1f bits lighter):\n", item.GetMargin())
		}
		fmt.Fprintf(&b, "  %s and %s%s  %+.1f bits\n", r.GetAKey(), r.GetBKey(), namesIn(r), r.GetWeight())
	}
	left, right := rosterLines(item.GetARoster()), rosterLines(item.GetBRoster())
	if len(left)+len(right) > 0 {
		b.WriteString("\nhouseholds:\n")
		width := 0
		for _, l := range left {
			width = max(width, monitor.TextWidth(l))
		}
		for i := range max(len(left), len(right)) {
			l, r := "", ""
			if i < len(left) {
				l = left[i]
			}
			if i < len(right) {
				r = right[i]
			}
			fmt.Fprintf(&b, "  %s%s | %s\n", l, strings.Repeat(" ", width-monitor.TextWidth(l)), r)
		}
	}
	return b.String()
}

// namesIn says who the two of a pair are called.
func namesIn(p *servicev1.MatchPair) string {
	for _, e := range p.GetEvidence() {
		if e.GetField() == dedup.NameField && e.GetValueA()+e.GetValueB() != "" {
			return monitor.Printable(": " + e.GetValueA() + ", " + e.GetValueB())
		}
	}
	return ""
}

// rosterLines is a household roster, a line a person.
func rosterLines(roster []*servicev1.PersonRecord) []string {
	var out []string
	roster = slices.Clone(roster)
	slices.SortStableFunc(roster, func(a, b *servicev1.PersonRecord) int {
		return cmp.Or(cmp.Compare(a.GetInterviewTimeMs(), b.GetInterviewTimeMs()), cmp.Compare(a.GetInterviewKey(), b.GetInterviewKey()),
			cmp.Compare(a.GetLineNumber(), b.GetLineNumber()))
	})
	for _, p := range roster {
		name := p.GetIdentity().GetFullName()
		if name == "" {
			name = p.GetIdentity().GetFamilyName() + p.GetIdentity().GetGivenName()
		}
		parts := []string{p.GetInterviewKey(), name}
		if p.GetSex() != surveyv1.Sex_SEX_UNSPECIFIED {
			parts = append(parts, enumWord(p.GetSex().String(), "SEX_"))
		}
		switch d := p.GetBirthDate(); {
		case d.GetYear() != 0 && d.GetMonth() != 0:
			parts = append(parts, fmt.Sprintf("%d-%02d", d.GetYear(), d.GetMonth()))
		case d.GetYear() != 0:
			parts = append(parts, fmt.Sprint(d.GetYear()))
		case p.Age != nil:
			parts = append(parts, fmt.Sprintf("%d years", p.GetAge()))
		}
		if line := monitor.Printable(strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " ")); !slices.Contains(out, line) {
			out = append(out, line)
		}
	}
	return out
}

// list shows the queue.
func (c *dedupReviewCmd) list(e *env, link servicev1.LinkageServiceClient) error {
	resp, err := link.ListQueue(e.ctx, &servicev1.ListQueueRequest{PageSize: proto.Uint32(uint32(max(c.Limit, 1)))})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, resp)
	}
	if len(resp.GetItems()) == 0 {
		return say(e, "nothing to decide")
	}
	rows := [][]string{{"GAIN", "WHAT", "MET AS", "AND AS", "PROBABILITY", "MARGIN", "A", "B"}}
	for _, item := range resp.GetItems() {
		p, margin := item.GetPair(), ""
		if item.Margin != nil {
			margin = fmt.Sprintf("%+.1f", item.GetMargin())
		}
		rows = append(rows, []string{
			fmt.Sprintf("%.2f", item.GetGain()), enumWord(p.GetSubject().String(), "LINK_SUBJECT_"), p.GetAKey(), p.GetBKey(),
			fmt.Sprintf("%.4f", p.GetProbability()), margin, p.GetAId(), p.GetBId(),
		})
	}
	if err := table(e.stdout, rows); err != nil {
		return err
	}
	return say(e, fmt.Sprintf("%d of %d", len(resp.GetItems()), resp.GetTotal()))
}

type dedupShowCmd struct {
	target
	Person string `arg:"" help:"Person id, or the key of an interview: its respondent."`
	JSON   bool   `help:"Print JSON."`
}

// Run shows a person.
func (c *dedupShowCmd) Run(e *env) error {
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	resp, err := servicev1.NewLinkageServiceClient(cc).GetPerson(e.ctx, &servicev1.GetPersonRequest{Id: &c.Person})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, resp)
	}
	var keys []string
	for _, a := range resp.GetAppearances() {
		if k := a.GetInterviewKey(); k != "" && !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	if err := say(e, fmt.Sprintf("person %s, met in %s", resp.GetEntityId(), strings.Join(keys, ", "))); err != nil {
		return err
	}
	for _, id := range resp.GetPersonIds() {
		if id != resp.GetEntityId() {
			if err := say(e, "counts as this person: "+id); err != nil {
				return err
			}
		}
	}
	if len(resp.GetLikelyIds()) > 0 {
		if err := say(e, fmt.Sprintf("likely this person too (%.3f), not decided: %s", resp.GetLikelyConfidence(), strings.Join(resp.GetLikelyIds(), ", "))); err != nil {
			return err
		}
	}
	rows := [][]string{{"FIELD", "STANDS", "WHY", "TOLD IN", "ALSO TOLD"}}
	for _, v := range resp.GetValues() {
		why := v.GetRule()
		if v.GetDecidedBy() != "" {
			why += " by " + v.GetDecidedBy()
		}
		rows = append(rows, []string{v.GetField(), v.GetValue(), why, v.GetInterviewKey(), strings.Join(v.GetOthers(), ", ")})
	}
	return table(e.stdout, rows)
}

type dedupChooseCmd struct {
	target
	Person    string `arg:"" help:"Person id, or the key of an interview: its respondent."`
	Field     string `arg:"" help:"Which field, as in dedup show."`
	Interview string `arg:"" help:"Key or id of the interview that told what is right."`
	decisionArgs
}

// Run records which value stands.
func (c *dedupChooseCmd) Run(e *env) error {
	return decide(e, c.target, &servicev1.LinkDecision{
		Kind: servicev1.DecisionKind_DECISION_KIND_CHOOSE.Enum(), AId: &c.Person, Field: &c.Field, InterviewId: &c.Interview, DecidedBy: &c.By, Reason: &c.Why,
	})
}
