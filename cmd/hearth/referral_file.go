package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/referral"
)

// referralFileCmd draws, measures and estimates from any table.
type referralFileCmd struct {
	File         string   `arg:"" help:"CSV file with a header." type:"existingfile"`
	ID           string   `help:"Column that names the respondent." required:""`
	Recruiter    string   `help:"Column with the recruiter's id; empty for seeds." required:""`
	Degree       string   `help:"Column with the network size."`
	Time         string   `help:"Column with the time of the interview."`
	Round        string   `help:"Column with the number of the round of interviews: each is estimated by itself."`
	Outcome      []string `help:"Columns to estimate the shares of: naive, RDS-I, RDS-II, and Gile's SS where --population is given."`
	Population   float64  `help:"Size of the population, for Gile's SS."`
	Draws        int      `help:"Bootstrap samples for confidence intervals; 0: none." default:"0"`
	RandomSeed   uint64   `help:"The same seed gives the same intervals." default:"1"`
	WithoutSeeds bool     `help:"Estimate without the seeds."`
	Format       string   `help:"Format of --out: ${formats}." enum:"${formatnames}" default:"svg"`
	Out          string   `short:"o" help:"Write the graph here, in --format." type:"path"`
	SVG          string   `help:"Write the picture here." type:"path"`
	Colour       string   `help:"What colours the nodes of an SVG: wave, seed, mode, or a column." default:"wave"`
	GraphML      string   `help:"Write GraphML here." name:"graphml" type:"path"`
	Report       bool     `help:"Print all measures too."`
	Strobe       bool     `help:"Print the STROBE-RDS table only."`
	Lang         string   `help:"Language of the report and of pictures: en or zh." enum:"en,zh" default:"en" env:"HEARTH_LANG"`
	JSON         bool     `help:"Print JSON."`
}

const referralFormats = "graphml; svg (picture); csv (edge list); gexf; dot; pajek; nodelink, cytoscape (JSON); gephi-nodes, gephi-edges (CSV); " +
	"rdsat; r (a script for the R package RDS); png; binary (for a viewer); waves, time, convergence, bottleneck (plots); " +
	"copresence (who was there together), sites (CSV)"

// Run measures the table and writes the files asked for.
func (c *referralFileCmd) Run(e *env) error {
	rows, facts, err := c.read(e)
	if err != nil {
		return err
	}
	g := referral.Build(facts)
	referral.MarkStatuses(facts, g)
	stats := referral.Stats(facts, g)
	outcomes, err := referral.ReadOutcomes(rows, c.ID, c.Outcome...)
	if err != nil {
		return err
	}
	sample := referral.SampleOf(facts, g, outcomes...)
	colour, err := c.colour(g, rows)
	if err != nil {
		return err
	}
	for _, f := range []struct{ path, format string }{{c.Out, c.Format}, {c.SVG, "svg"}, {c.GraphML, "graphml"}} {
		if f.path == "" {
			continue
		}
		if err := writeFile(f.path, func(w io.Writer) error {
			o := &referral.Output{Facts: facts, Graph: g, Sample: sample, Language: c.Lang, Population: c.Population, Colour: colour}
			_, err := o.Write(w, f.format)
			return err
		}); err != nil {
			return err
		}
	}
	opts := referral.Options{Population: c.Population, WithoutSeeds: c.WithoutSeeds, Draws: c.Draws, RandomSeed: c.RandomSeed}
	estimates, err := sample.Estimates(opts)
	if err != nil {
		return err
	}
	report, told := referral.Report(facts, g, sample, estimates), referral.EstimateMessages(estimates)
	if c.Round != "" {
		if told, err = c.byRound(facts, g, outcomes, opts); err != nil {
			return err
		}
	}
	if c.JSON {
		out := fileStats(stats)
		out["estimates"] = estimatesJSON(told)
		if c.Report || c.Strobe {
			out["report"] = reportJSON(report)
		}
		return printAnyJSON(e.stdout, out)
	}
	if !c.Strobe {
		if err := printStats(e.stdout, stats); err != nil {
			return err
		}
	}
	if err := printMeasures(e.stdout, report, c.Report, c.Strobe, c.Lang); err != nil {
		return err
	}
	return printEstimates(e.stdout, told, c.Lang)
}

// byRound estimates each round by itself.
func (c *referralFileCmd) byRound(facts referral.Facts, g *servicev1.ReferralGraph, outcomes []referral.Values, opts referral.Options) ([]*servicev1.ReferralEstimate, error) {
	rounds, err := referral.ByRound(facts, g, func(referral.Facts) ([]referral.Values, error) { return outcomes, nil })
	if err != nil {
		return nil, err
	}
	var all []*servicev1.ReferralEstimate
	for _, r := range rounds {
		estimates, err := r.Estimates(opts)
		if err != nil {
			return nil, fmt.Errorf("round %d: %w", r.Round, err)
		}
		all = append(all, referral.EstimateMessagesOf(r.Round, estimates)...)
	}
	return all, nil
}

func reportJSON(report []*servicev1.ReportRow) []map[string]any {
	var out []map[string]any
	for _, r := range report {
		out = append(out, map[string]any{
			"section": r.GetSection(), "name": r.GetName().GetEn(), "value": r.GetValue().GetEn(), "name_zh": r.GetName().GetZh(), "value_zh": r.GetValue().GetZh(), "open": r.GetOpen(),
		})
	}
	return out
}

// colour reads what colours the nodes.
func (c *referralFileCmd) colour(g *servicev1.ReferralGraph, rows referral.Table) (*referral.Values, error) {
	if v, ok := referral.ColourBy(c.Colour, g, nil); ok {
		return v, nil
	}
	values, err := referral.ReadOutcomes(rows, c.ID, c.Colour)
	if err != nil {
		return nil, err
	}
	return &values[0], nil
}

func (c *referralFileCmd) read(e *env) (referral.Table, referral.Facts, error) {
	f, err := os.Open(c.File)
	if err != nil {
		return referral.Table{}, referral.Facts{}, fault.New(fault.NotFound, fault.BadTable, "%w", err)
	}
	rows, err := referral.ReadTable(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return rows, referral.Facts{}, err
	}
	facts, problems, err := referral.FromTable(rows, referral.Columns{ID: c.ID, Recruiter: c.Recruiter, Degree: c.Degree, Time: c.Time, Round: c.Round})
	for _, p := range problems {
		fmt.Fprintf(e.stderr, "%v\n", p)
	}
	return rows, facts, err
}

// printEstimates prints a row per level and method, and under them what the estimates take for granted, of each round.
func printEstimates(w io.Writer, all []*servicev1.ReferralEstimate, lang string) error {
	if len(all) == 0 {
		return nil
	}
	rows := [][]string{{"VARIABLE", "METHOD", "LEVEL", "RESPONDENTS", "SHARE", "STANDARD ERROR", "INTERVAL"}}
	byRound := all[0].Round != nil
	if byRound {
		rows[0] = append([]string{"ROUND"}, rows[0]...)
	}
	for _, e := range all {
		for _, l := range e.GetLevels() {
			interval := ""
			if l.Low != nil {
				interval = fmt.Sprintf("%.4f to %.4f", l.GetLow(), l.GetHigh())
			}
			row := []string{e.GetVariable(), e.GetMethod(), l.GetLevel(), fmt.Sprint(l.GetRespondents()), decimal(l.Share), decimal(l.StandardError), interval}
			if byRound {
				row = append([]string{fmt.Sprint(e.GetRound())}, row...)
			}
			rows = append(rows, row)
		}
	}
	fmt.Fprintln(w)
	if err := table(w, rows); err != nil {
		return err
	}
	for i, e := range all {
		if i == len(all)-1 || all[i+1].GetRound() != e.GetRound() {
			printAssumptions(w, e, lang)
		}
	}
	for _, e := range all {
		for _, n := range e.GetNotes() {
			fmt.Fprintf(w, "  note on %s, %s%s: %s\n", e.GetVariable(), e.GetMethod(), ofRound(e), inLanguage(n, lang))
		}
	}
	return nil
}

func ofRound(e *servicev1.ReferralEstimate) string {
	if e.Round == nil {
		return ""
	}
	return fmt.Sprintf(" of round %d", e.GetRound())
}

// printAssumptions says what an estimate takes for granted, and how many break it.
func printAssumptions(w io.Writer, e *servicev1.ReferralEstimate, lang string) {
	fmt.Fprintf(w, "\n%s%s takes for granted:\n", e.GetMethod(), ofRound(e))
	for _, a := range e.GetAssumptions() {
		said := "the data cannot tell"
		if a.Broken != nil {
			said = fmt.Sprintf("%d respondents (%.0f %%) break it", a.GetBroken(), 100*a.GetShare())
		}
		fmt.Fprintf(w, "  %s: %s\n", strings.TrimRight(inLanguage(a.GetText(), lang), ".。"), said)
	}
}

func decimal(v *float64) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf("%.4f", *v)
}

// estimatesJSON has a row per level and method, each with what the estimate takes for granted.
func estimatesJSON(all []*servicev1.ReferralEstimate) []map[string]any {
	out := []map[string]any{}
	for _, e := range all {
		assumptions := []map[string]any{}
		for _, a := range e.GetAssumptions() {
			said := map[string]any{"text": a.GetText().GetEn()}
			if a.Broken != nil {
				said["broken"], said["share"] = a.GetBroken(), a.GetShare()
			}
			assumptions = append(assumptions, said)
		}
		for _, l := range e.GetLevels() {
			row := map[string]any{"variable": e.GetVariable(), "method": e.GetMethod(), "level": l.GetLevel(), "respondents": l.GetRespondents(), "assumptions": assumptions}
			if e.Round != nil {
				row["round"] = e.GetRound()
			}
			for name, v := range map[string]*float64{"share": l.Share, "se": l.StandardError, "low": l.Low, "high": l.High} {
				if v != nil {
					row[name] = *v
				}
			}
			out = append(out, row)
		}
	}
	return out
}

// fileStats is the statistics as JSON whose numbers are numbers: protobuf's JSON writes int64 as text.
func fileStats(s *servicev1.ReferralStats) map[string]any {
	return map[string]any{
		"persons": s.GetPersons(), "seeds": s.GetSeeds(), "sterile_seeds": s.GetSterileSeeds(), "other_roots": s.GetOtherRoots(),
		"edges": s.GetEdges(), "max_wave": s.GetMaxWave(), "recruits_per_wave": s.GetRecruitsPerWave(),
		"persons_by_recruits": s.GetPersonsByRecruits(), "edges_by_state": s.GetEdgesByState(), "chains": json.RawMessage(chainsJSON(s)),
	}
}

func chainsJSON(s *servicev1.ReferralStats) []byte {
	type chain struct {
		Root    string `json:"root"`
		Seed    bool   `json:"seed"`
		Size    int32  `json:"size"`
		MaxWave int32  `json:"max_wave"`
	}
	list := make([]chain, 0, len(s.GetChains()))
	for _, c := range s.GetChains() {
		list = append(list, chain{cmp.Or(c.GetInterviewKey(), c.GetPersonId()), c.GetSeed(), c.GetSize(), c.GetMaxWave()})
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return []byte("[]")
	}
	return raw
}
