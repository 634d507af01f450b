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

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/grpc"
)

// referralCmd draws and measures the referral graph.
type referralCmd struct {
	Stats referralStatsCmd `cmd:"" help:"Seeds, waves, chains, yields."`
	Graph referralGraphCmd `cmd:"" help:"Write the graph as GraphML, SVG or an edge list."`
	File  referralFileCmd  `cmd:"" help:"Draw and measure any table, without a server."`
}

type referralStatsCmd struct {
	target
	Study string `help:"Only this study."`
	JSON  bool   `help:"Print JSON."`
}

// Run prints the counts.
func (c *referralStatsCmd) Run(e *env) error {
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	resp, err := servicev1.NewReferralServiceClient(cc).GetReferralStats(e.ctx, &servicev1.GetReferralStatsRequest{Study: &c.Study})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, resp.GetStats())
	}
	return printStats(e.stdout, resp.GetStats())
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
	Study  string `help:"Only this study."`
	Format string `help:"graphml, svg or csv (edge list)." enum:"graphml,svg,csv" default:"graphml"`
	Names  bool   `help:"Label people by name instead of interview key."`
	Out    string `short:"o" help:"File to write; standard output if empty." type:"path"`
}

// Run writes the graph.
func (c *referralGraphCmd) Run(e *env) error {
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	format := map[string]servicev1.GraphFormat{
		"graphml": servicev1.GraphFormat_GRAPH_FORMAT_GRAPHML,
		"svg":     servicev1.GraphFormat_GRAPH_FORMAT_SVG,
		"csv":     servicev1.GraphFormat_GRAPH_FORMAT_EDGE_CSV,
	}[c.Format]
	resp, err := servicev1.NewReferralServiceClient(cc).GetReferralGraph(e.ctx, &servicev1.GetReferralGraphRequest{Study: &c.Study, Format: &format, WithNames: &c.Names},
		grpc.MaxCallRecvMsgSize(maxGraph))
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
