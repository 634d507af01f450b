package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
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
	estimates, err := sample.Estimates(referral.Options{
		Population: c.Population, WithoutSeeds: c.WithoutSeeds, Draws: c.Draws, RandomSeed: c.RandomSeed,
	})
	if err != nil {
		return err
	}
	report := referral.Report(facts, g, sample, estimates)
	if c.JSON {
		out := fileStats(stats)
		out["estimates"] = estimatesJSON(estimates)
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
	return printEstimates(e.stdout, referral.EstimateMessages(estimates), c.Lang)
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
	facts, problems, err := referral.FromTable(rows, referral.Columns{ID: c.ID, Recruiter: c.Recruiter, Degree: c.Degree, Time: c.Time})
	for _, p := range problems {
		fmt.Fprintf(e.stderr, "%v\n", p)
	}
	return rows, facts, err
}

// printEstimates prints a row per level and method, and under each variable what the estimates take for granted.
func printEstimates(w io.Writer, all []*servicev1.ReferralEstimate, lang string) error {
	if len(all) == 0 {
		return nil
	}
	rows := [][]string{{"VARIABLE", "METHOD", "LEVEL", "RESPONDENTS", "SHARE", "STANDARD ERROR", "INTERVAL"}}
	for _, e := range all {
		for _, l := range e.GetLevels() {
			interval := ""
			if l.Low != nil {
				interval = fmt.Sprintf("%.4f to %.4f", l.GetLow(), l.GetHigh())
			}
			rows = append(rows, []string{e.GetVariable(), e.GetMethod(), l.GetLevel(), fmt.Sprint(l.GetRespondents()), decimal(l.Share), decimal(l.StandardError), interval})
		}
	}
	fmt.Fprintln(w)
	if err := table(w, rows); err != nil {
		return err
	}
	last := all[len(all)-1]
	fmt.Fprintf(w, "\n%s takes for granted:\n", last.GetMethod())
	for _, a := range last.GetAssumptions() {
		said := "the data cannot tell"
		if a.Broken != nil {
			said = fmt.Sprintf("%d respondents (%.0f %%) break it", a.GetBroken(), 100*a.GetShare())
		}
		fmt.Fprintf(w, "  %s: %s\n", strings.TrimRight(inLanguage(a.GetText(), lang), ".。"), said)
	}
	for _, e := range all {
		for _, n := range e.GetNotes() {
			fmt.Fprintf(w, "  note on %s, %s: %s\n", e.GetVariable(), e.GetMethod(), inLanguage(n, lang))
		}
	}
	return nil
}

func decimal(v *float64) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf("%.4f", *v)
}

func estimatesJSON(all []*referral.Estimate) []map[string]any {
	out := []map[string]any{}
	for _, e := range all {
		for _, l := range e.Levels {
			row := map[string]any{"variable": e.Outcome, "method": e.Method.Word(), "level": l.Level, "respondents": l.Count}
			for name, v := range map[string]float64{"share": l.Share, "se": l.SE, "low": l.Low, "high": l.High} {
				if !math.IsNaN(v) {
					row[name] = v
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
