package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/export"
	"google.golang.org/protobuf/proto"
)

// duplicates finds the people surveyed twice and merges the pair that is surest.
func (d *demo) duplicates() error {
	client := servicev1.NewLinkageServiceClient(d.cc)
	run, err := client.RunLinkage(d.ctx, &servicev1.RunLinkageRequest{})
	if err != nil {
		return err
	}
	d.say("Duplicates: %d people compared, %d pairs found", run.GetPeople(), len(run.GetPairs()))
	var merge *servicev1.MatchPair
	rows := [][]string{{"WHAT", "MET AS", "AND AS", "CLASS", "PROBABILITY"}}
	for _, p := range pairsBetween(run.GetPairs(), strongPair, 2) {
		rows = append(rows, []string{enumWord(p.GetSubject().String(), "LINK_SUBJECT_"), p.GetAKey(), p.GetBKey(), enumWord(p.GetMatchClass().String(), "MATCH_CLASS_"), fmt.Sprintf("%.4f", p.GetProbability())})
		if merge == nil && p.GetSubject() == servicev1.LinkSubject_LINK_SUBJECT_PERSON {
			merge = p
		}
	}
	if err := table(indented(d.stdout), rows); err != nil {
		return err
	}
	d.tell("and %d weaker pairs, most of them relatives", len(pairsBetween(run.GetPairs(), 0, strongPair)))
	if merge == nil {
		return errors.New("no pair of people was found in the bundled study")
	}
	explained, err := client.ExplainPair(d.ctx, &servicev1.ExplainPairRequest{Subject: merge.Subject, AId: merge.AId, BId: merge.BId})
	if err != nil {
		return err
	}
	fmt.Fprintln(d.stdout)
	fmt.Fprintln(indented(d.stdout), explained.GetText())
	_, err = client.Decide(d.ctx, &servicev1.DecideRequest{Decision: &servicev1.LinkDecision{
		Kind: servicev1.DecisionKind_DECISION_KIND_LINK.Enum(), Subject: merge.Subject, AId: merge.AId, BId: merge.BId,
		DecidedBy: proto.String("demo"), Reason: proto.String("the surest pair, merged by the demo"),
	}})
	if err != nil {
		return err
	}
	d.tell("merged %s and %s; both records stay, and the decision can be taken back", merge.GetAKey(), merge.GetBKey())
	again, err := client.ListPairs(d.ctx, &servicev1.ListPairsRequest{PageSize: proto.Uint32(1000)})
	d.report.Pairs = again.GetPairs()
	return err
}

// graph draws who referred whom.
func (d *demo) graph() error {
	client := servicev1.NewReferralServiceClient(d.cc)
	resp, err := client.GetReferralStats(d.ctx, &servicev1.GetReferralStatsRequest{})
	if err != nil {
		return err
	}
	d.report.Stats = resp.GetStats()
	d.say("The referral graph")
	if err := printStats(indented(d.stdout), resp.GetStats()); err != nil {
		return err
	}
	if err := os.MkdirAll(d.path("export", "referral"), 0o755); err != nil {
		return err
	}
	for name, format := range map[string]servicev1.GraphFormat{
		"referral.graphml": servicev1.GraphFormat_GRAPH_FORMAT_GRAPHML,
		"referral.svg":     servicev1.GraphFormat_GRAPH_FORMAT_SVG,
		"edges.csv":        servicev1.GraphFormat_GRAPH_FORMAT_EDGE_CSV,
	} {
		g, err := client.GetReferralGraph(d.ctx, &servicev1.GetReferralGraphRequest{Format: format.Enum()})
		if err != nil {
			return err
		}
		if format == servicev1.GraphFormat_GRAPH_FORMAT_SVG {
			d.report.SVG = g.GetContent()
		}
		if err := os.WriteFile(d.path("export", "referral", name), g.GetContent(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// export makes the data files.
func (d *demo) export() error {
	flags := exportMakeCmd{Format: []string{"csv", "parquet", "xlsx", "dta", "sav"}, Profile: "research", Lang: d.cmd.Lang, Weights: true}
	req, err := flags.request()
	if err != nil {
		return err
	}
	files, err := exportTo(d.env, d.cc, req, d.path("export"))
	if err != nil {
		return err
	}
	d.report.Files = files
	byKind := map[string]int{}
	for _, f := range files {
		if !strings.Contains(f, "questionnaires") { // whose XLSForms are no data
			byKind[extension(f)]++
		}
	}
	d.say("Exported %d files without direct identifiers to %s", len(files), d.path("export"))
	d.tell("%d CSV, %d Parquet, %d Excel, %d Stata, %d SPSS; codebook.html, manifest.json; referral/referral.svg, .graphml",
		byKind[".csv"], byKind[".parquet"], byKind[".xlsx"], byKind[".dta"], byKind[".sav"])
	raw, err := os.ReadFile(d.path("export", "manifest.json"))
	m := &export.Manifest{}
	if err == nil {
		err = json.Unmarshal(raw, m)
	}
	if err != nil || m.Analysis == nil {
		return errors.Join(errors.New("the manifest of the export does not say what the analysis set is"), err)
	}
	in, all := int64(0), int64(0)
	for name, n := range m.Analysis.Received {
		in, all = in+m.Analysis.Interviews[name], all+n
	}
	d.tell("analysis set: %d of %d interviews, the others marked with the reason (cleaning.csv); scripts/analysis.R, .py and .do load, merge and weigh", in, all)
	return nil
}

// checkAfter checks the store that is left, with the server stopped.
func (d *demo) checkAfter() error {
	d.say("hearth check --rebuild on what is left")
	report, err := checkFolder(d.env, d.path("hq"), true)
	if err != nil {
		return err
	}
	printReport(&env{stdout: indented(d.stdout)}, report)
	for _, f := range report.Findings {
		if f.Severity == "error" {
			return errFound
		}
	}
	return nil
}

// next says what to look at.
func (d *demo) next(took time.Duration) {
	hq := quoted(d.path("hq"))
	fmt.Fprintf(d.stdout, "\nDone in %.1f seconds. Look next at\n", took.Seconds())
	rows := [][]string{
		{d.path("report.html"), "in a browser: counts, duplicates, the referral graph"},
		{d.path("export", "codebook.html"), "what every variable means, in English and Chinese"},
		{"hearth interviews --data " + hq, fmt.Sprintf("the %d interviews", d.report.Total())},
		{"hearth flags --data " + hq, "answers that fail a check"},
		{"hearth dedup pairs --data " + hq + " --undecided", "pairs that wait for a decision"},
		{"hearth devices --data " + hq, "the tablet that was restored from a backup"},
		{"hearth serve --data " + hq, "the same, for tablets and browsers"},
	}
	_ = table(indented(d.stdout), rows) // the last words; nothing depends on them
}
