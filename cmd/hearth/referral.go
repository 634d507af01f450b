package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// referralCmd draws and measures the referral graph.
type referralCmd struct {
	Stats referralStatsCmd `cmd:"" help:"Seeds, waves, chains, yields; the STROBE-RDS table; estimates."`
	Graph referralGraphCmd `cmd:"" help:"Write the graph, a plot of it, or the sample, in any format."`
	File  referralFileCmd  `cmd:"" help:"Draw and measure any table, without a server."`
}

// referralState says which graph is meant.
type referralState struct {
	Study    string `help:"Only this study."`
	Unmerged bool   `help:"As it is without the decisions about who is the same person." negatable:"merged"`
	AsOf     string `help:"As it was at a time (2026-07-01, 2026-07-01T18:00:00Z)." placeholder:"TIME"`
}

// time is the time that is meant, in milliseconds since 1970; nil: now. A day is meant to its end.
func (s referralState) time() (*int64, error) {
	if s.AsOf == "" {
		return nil, nil
	}
	if t, err := time.Parse(time.RFC3339, s.AsOf); err == nil {
		return proto.Int64(t.UnixMilli()), nil
	}
	t, err := time.ParseInLocation(time.DateOnly, s.AsOf, time.Local)
	if err != nil {
		return nil, fault.New(fault.Invalid, fault.BadRequest, "%q is no time: write 2026-07-01, or 2026-07-01T18:00:00Z", s.AsOf)
	}
	return proto.Int64(t.AddDate(0, 0, 1).UnixMilli() - 1), nil
}

type referralStatsCmd struct {
	target
	referralState
	Report       bool     `help:"Print all measures too."`
	Strobe       bool     `help:"Print the STROBE-RDS table only."`
	Outcome      []string `help:"Variables to estimate the shares of: sex, education, hukou_type, role, site, age_group."`
	Population   float64  `help:"Size of the population, for Gile's SS."`
	Draws        uint32   `help:"Bootstrap samples for confidence intervals; 0: none."`
	RandomSeed   uint64   `help:"The same seed gives the same intervals." default:"1"`
	WithoutSeeds bool     `help:"Estimate without the seeds."`
	ByRound      bool     `help:"Estimate each round of interviews by itself."`
	Lang         string   `help:"Language of the report: en or zh." enum:"en,zh" default:"en" env:"HEARTH_LANG"`
	JSON         bool     `help:"Print JSON."`
}

// Run prints the counts.
func (c *referralStatsCmd) Run(e *env) error {
	at, err := c.time()
	if err != nil {
		return err
	}
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	resp, err := servicev1.NewReferralServiceClient(cc).GetReferralStats(e.ctx, &servicev1.GetReferralStatsRequest{
		Study: &c.Study, Unmerged: &c.Unmerged, AsOfTimeMs: at, Outcomes: c.Outcome, Population: &c.Population, Draws: &c.Draws, RandomSeed: &c.RandomSeed,
		WithoutSeeds: &c.WithoutSeeds, CountsOnly: proto.Bool(!c.Report && !c.Strobe && (!c.JSON || len(c.Outcome) == 0)), ByRound: &c.ByRound,
	})
	switch {
	case err != nil:
		return err
	case c.JSON && !c.Report && !c.Strobe && len(c.Outcome) == 0:
		return printJSON(e.stdout, resp.GetStats())
	case c.JSON:
		return printJSON(e.stdout, resp)
	}
	if !c.Strobe {
		if err := printStats(e.stdout, resp.GetStats()); err != nil {
			return err
		}
	}
	if err := printMeasures(e.stdout, resp.GetReport(), c.Report, c.Strobe, c.Lang); err != nil {
		return err
	}
	return printEstimates(e.stdout, resp.GetEstimates(), c.Lang)
}

// printMeasures prints the measures and the STROBE-RDS table, or one of them.
func printMeasures(w io.Writer, report []*servicev1.ReportRow, measures, strobe bool, lang string) error {
	var rows [][]string
	for _, r := range report {
		if item, ok := strings.CutPrefix(r.GetSection(), "strobe "); ok && strobe || !ok && measures {
			value := inLanguage(r.GetValue(), lang)
			if r.GetOpen() {
				value = "[" + value + "]"
			}
			rows = append(rows, []string{item, inLanguage(r.GetName(), lang), value})
		}
	}
	if len(rows) == 0 {
		return nil
	}
	return table(w, rows)
}

func inLanguage(t *formv1.Text, lang string) string {
	if lang == "zh" && t.GetZh() != "" {
		return t.GetZh()
	}
	return t.GetEn()
}

func printStats(w io.Writer, s *servicev1.ReferralStats) error {
	waves := make([]string, len(s.GetRecruitsPerWave()))
	for i, n := range s.GetRecruitsPerWave() {
		waves[i] = fmt.Sprint(n)
	}
	rows := [][]string{
		{"persons", fmt.Sprint(s.GetPersons())},
		{"interviewed", fmt.Sprint(s.GetInterviewed())},
		{"seeds", fmt.Sprintf("%d, of which %d recruited nobody", s.GetSeeds(), s.GetSterileSeeds())},
		{"other roots", fmt.Sprintf("%d (nobody marked them as seeds)", s.GetOtherRoots())},
		{"referrals", fmt.Sprintf("%d, of which %d in the forest", s.GetEdges(), s.GetPrimaryEdges())},
		{"persons per wave", strings.Join(waves, " ")},
		{"longest chain", fmt.Sprintf("%d waves", s.GetMaxWave())},
		{"several recruiters", fmt.Sprint(s.GetSeveralRecruiters())},
		{"self-referrals", fmt.Sprint(s.GetSelfReferrals())},
		{"introducer present", fmt.Sprintf("%d interviews", s.GetWithIntroducerPresent())},
		{"group interviews", fmt.Sprint(s.GetGroupInterviews())},
	}
	for _, state := range slices.Sorted(maps.Keys(s.GetEdgesByState())) {
		rows = append(rows, []string{"referrals " + state, fmt.Sprint(s.GetEdgesByState()[state])})
	}
	for _, mode := range slices.Sorted(maps.Keys(s.GetEdgesByMode())) {
		rows = append(rows, []string{"forest by " + mode, fmt.Sprint(s.GetEdgesByMode()[mode])})
	}
	chains := slices.SortedStableFunc(slices.Values(s.GetChains()), func(a, b *servicev1.SeedStats) int {
		return cmp.Compare(b.GetSize(), a.GetSize())
	})
	for _, c := range chains[:min(5, len(chains))] {
		rows = append(rows, []string{"chain from " + cmp.Or(c.GetInterviewKey(), c.GetPersonId()), fmt.Sprintf("%d persons, %d waves", c.GetSize(), c.GetMaxWave())})
	}
	return table(w, rows)
}

// maxGraph is the largest drawing that is taken: more than any server sends, which says so itself.
const maxGraph = 65 << 20

type referralGraphCmd struct {
	target
	referralState
	Format     string   `help:"${formats}." enum:"${formatnames}" default:"graphml"`
	Names      bool     `help:"Label people by name instead of interview key."`
	Outcome    []string `help:"Variable of a plot of an estimate; variables of rdsat and r: sex, education, hukou_type, role, site, age_group."`
	Population float64  `help:"Size of the population."`
	Colour     string   `help:"What colours the nodes of an SVG: wave, seed, mode, or a variable as in --outcome." default:"wave"`
	Lang       string   `help:"Language of pictures: en or zh." enum:"en,zh" default:"en" env:"HEARTH_LANG"`
	Out        string   `short:"o" help:"File to write; standard output if empty." type:"path"`
}

// graphFormat is the format of a name.
func graphFormat(name string) servicev1.GraphFormat {
	word := map[string]string{"csv": "EDGE_CSV", "nodelink": "NODE_LINK", "copresence": "COPRESENCE_CSV", "sites": "SITES_CSV"}[name]
	if word == "" {
		word = strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
	}
	return servicev1.GraphFormat(servicev1.GraphFormat_value["GRAPH_FORMAT_"+word])
}

// Run writes the graph.
func (c *referralGraphCmd) Run(e *env) error {
	at, err := c.time()
	if err != nil {
		return err
	}
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	resp, err := servicev1.NewReferralServiceClient(cc).GetReferralGraph(e.ctx, &servicev1.GetReferralGraphRequest{
		Study: &c.Study, Format: graphFormat(c.Format).Enum(), WithNames: &c.Names, Unmerged: &c.Unmerged, AsOfTimeMs: at, Language: &c.Lang,
		Outcomes: c.Outcome, Population: &c.Population, Colour: &c.Colour,
	}, grpc.MaxCallRecvMsgSize(maxGraph))
	if err != nil {
		return err
	}
	if c.Out == "" {
		_, err = e.stdout.Write(resp.GetContent())
		return err
	}
	if err := os.WriteFile(c.Out, resp.GetContent(), 0o644); err != nil {
		return err
	}
	return say(e, fmt.Sprintf("wrote %s (%d bytes)", c.Out, len(resp.GetContent())))
}

// writeFile writes a whole file or none.
func writeFile(path string, write func(io.Writer) error) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".hearth-*")
	if err != nil {
		return err
	}
	err = errors.Join(write(tmp), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Chmod(tmp.Name(), 0o644)
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}
