package main

import (
	"fmt"
	"strings"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/protobuf/proto"
)

// count prints how many flags there are by some columns, most first.
func (c *flagsCmd) count(e *env) error {
	if c.Interview != "" {
		return fmt.Errorf("%w: flags of one interview are listed, not counted: leave out --by", errUsage)
	}
	req := &servicev1.CountFlagsRequest{Study: &c.Study, Enumerator: &c.Enumerator, Questionnaire: proto.String(c.Questionnaire)}
	head := []string{}
	for _, name := range c.By {
		n, ok := servicev1.FlagDimension_value["FLAG_DIMENSION_"+strings.ToUpper(name)]
		if !ok || n == 0 {
			return fmt.Errorf("%w: --by %s: the columns are questionnaire, enumerator, site, question, rule, severity", errUsage, name)
		}
		req.By = append(req.By, servicev1.FlagDimension(n))
		head = append(head, strings.ToUpper(name))
	}
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	resp, err := servicev1.NewMonitorServiceClient(cc).CountFlags(e.ctx, req)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, resp)
	}
	if len(resp.GetRows()) == 0 {
		return say(e, "no answer fails a check")
	}
	rows := [][]string{append(head, "FLAGS", "HARD", "INTERVIEWS", "OF")}
	for _, r := range resp.GetRows() {
		row := make([]string, 0, len(r.GetKeys())+4)
		for i, k := range r.GetKeys() {
			switch req.GetBy()[i] {
			case servicev1.FlagDimension_FLAG_DIMENSION_QUESTIONNAIRE:
				k = lastWord(k)
			case servicev1.FlagDimension_FLAG_DIMENSION_RULE:
				k = k[strings.LastIndexByte(k, '/')+1:]
			case servicev1.FlagDimension_FLAG_DIMENSION_SEVERITY:
				k = strings.ToLower(k)
			}
			row = append(row, k)
		}
		rows = append(rows, append(row, fmt.Sprint(r.GetFlags()), fmt.Sprint(r.GetHard()), fmt.Sprint(r.GetInterviews()), fmt.Sprint(r.GetOfInterviews())))
	}
	if err := table(e.stdout, rows); err != nil {
		return err
	}
	if n := resp.GetToReevaluate(); n > 0 {
		return say(e, fmt.Sprintf("the flags of %d interviews are still to be made again by the newest rules", n))
	}
	return nil
}
