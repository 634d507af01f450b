package server

import (
	"bytes"
	"context"
	"fmt"
	"runtime/debug"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/dedup"
	"github.com/hearth-survey/hearth/server/referral"
	"google.golang.org/protobuf/proto"
)

type referralService struct {
	servicev1.UnimplementedReferralServiceServer
	*Server
}

// referralFacts are the facts of a study's graph; an empty code means the only study, or all where there is no definition.
func (s *Server) referralFacts(ctx context.Context, code string) (referral.Facts, *facts, error) {
	if err := s.Project(ctx); err != nil {
		return referral.Facts{}, nil, err
	}
	study, err := s.perhapsStudy(ctx, code)
	if err != nil {
		return referral.Facts{}, nil, err
	}
	if code == "" {
		code = study.GetStudy()
	}
	f, err := s.gather(ctx, code)
	if err == nil {
		err = s.gatherCoupons(ctx, f, code)
	}
	if err != nil {
		return referral.Facts{}, nil, err
	}
	if study == nil && code != "" && len(f.interviews) == 0 {
		return referral.Facts{}, nil, noSuchStudy(code)
	}
	return f.graph(study), f, nil
}

// referralAt are the facts of now, or of an earlier state, with the decisions about who is the same person or without.
func (s *Server) referralAt(ctx context.Context, code string, asOf *servicev1.Cursor, timeMS *int64, unmerged bool) (f referral.Facts, names map[string]string, err error) {
	var all *facts
	if asOf == nil && timeMS == nil {
		f, all, err = s.referralFacts(ctx, code)
	} else {
		f, all, err = s.referralThen(ctx, code, &servicev1.ExportRequest{AsOf: asOf, AsOfTimeMs: timeMS})
	}
	if err != nil {
		return f, nil, err
	}
	if unmerged {
		f.Merged = nil
	}
	return f, all.names(), nil
}

// referralThen are the facts as they were at the cursor or the time of a request.
func (s *Server) referralThen(ctx context.Context, code string, at *servicev1.ExportRequest) (referral.Facts, *facts, error) {
	if err := s.Project(ctx); err != nil {
		return referral.Facts{}, nil, err
	}
	code, err := s.studyCode(ctx, code)
	if err != nil {
		return referral.Facts{}, nil, err
	}
	until, err := s.asOf(ctx, at)
	if err != nil {
		return referral.Facts{}, nil, err
	}
	n, err := newSnapshot(keeps(nil), heldOrder)
	if err != nil {
		return referral.Facts{}, nil, err
	}
	defer n.close()
	if err = s.snapshotAt(ctx, code, *until, n); err == nil {
		err = n.settle()
	}
	if err != nil {
		return referral.Facts{}, nil, err
	}
	f := &facts{decisions: n.decisions}
	if f.coupons, err = s.couponEvents(ctx, code, until); err != nil {
		return referral.Facts{}, nil, err
	}
	err = n.each(true, func(p *servicev1.InterviewProjection) error {
		f.add(p)
		return ctx.Err()
	})
	return f.graph(n.study), f, err
}

// GetReferralStats counts seeds, waves, chains and yields, and estimates what is asked for.
func (s *referralService) GetReferralStats(ctx context.Context, req *servicev1.GetReferralStatsRequest) (*servicev1.GetReferralStatsResponse, error) {
	if req.GetDraws() > maxDraws {
		return nil, fault.New(fault.Invalid, fault.BadRequest, "%d bootstrap samples are more than the %d that are drawn at most", req.GetDraws(), maxDraws)
	}
	if req.GetCountsOnly() && !req.GetByRound() && req.GetAsOf() == nil && req.AsOfTimeMs == nil {
		if err := s.Project(ctx); err != nil {
			return nil, err
		}
		return s.countReferrals(ctx, req)
	}
	f, _, err := s.referralAt(ctx, req.GetStudy(), req.GetAsOf(), req.AsOfTimeMs, req.GetUnmerged())
	if err != nil {
		return nil, err
	}
	values, err := referral.Answers(f, req.GetOutcomes())
	if err != nil {
		return nil, err
	}
	g := referral.Build(f)
	sample := referral.SampleOf(f, g, values...)
	opts := estimateOptions(req)
	estimates, err := sample.Estimates(opts)
	if err != nil {
		return nil, err
	}
	resp := &servicev1.GetReferralStatsResponse{Stats: referral.Stats(f, g), Estimates: referral.EstimateMessages(estimates)}
	if !req.GetCountsOnly() {
		resp.Report = referral.Report(f, g, sample, estimates)
	}
	if !req.GetByRound() {
		return resp, nil
	}
	rounds, err := referral.ByRound(f, g, func(then referral.Facts) ([]referral.Values, error) { return referral.Answers(then, req.GetOutcomes()) })
	if err != nil {
		return nil, err
	}
	resp.Estimates = nil
	for _, r := range rounds {
		estimates, err := r.Estimates(opts)
		if err != nil {
			return nil, err
		}
		resp.Estimates = append(resp.Estimates, referral.EstimateMessagesOf(r.Round, estimates)...)
	}
	return resp, nil
}

func estimateOptions(req *servicev1.GetReferralStatsRequest) referral.Options {
	return referral.Options{
		Population: req.GetPopulation(), WithoutSeeds: req.GetWithoutSeeds(), Draws: int(req.GetDraws()), RandomSeed: req.GetRandomSeed(),
	}
}

// countReferrals counts and estimates without making messages of what the store holds, one call after the other: what is kept
// has few pointers, so that memory can be gone through often at little cost, and a million people leave room for others.
func (s *Server) countReferrals(ctx context.Context, req *servicev1.GetReferralStatsRequest) (*servicev1.GetReferralStatsResponse, error) {
	s.counting.Lock()
	defer s.counting.Unlock()
	defer debug.SetGCPercent(debug.SetGCPercent(countingGC))
	p, merged, err := s.prepareReferrals(ctx, req.GetStudy(), req.GetOutcomes())
	if err != nil {
		return nil, err
	}
	if req.GetUnmerged() {
		merged = nil
	}
	out := &servicev1.GetReferralStatsResponse{}
	if len(req.GetOutcomes()) == 0 {
		out.Stats = p.Stats(merged)
		return out, nil
	}
	stats, sample := p.Sample(merged)
	estimates, err := sample.Estimates(estimateOptions(req))
	if err != nil {
		return nil, err
	}
	out.Stats, out.Estimates = stats, referral.EstimateMessages(estimates)
	return out, nil
}

// countingGC is by how many hundredths memory may grow before it is used again.
const countingGC = 15

// prepareReferrals reads the graph of a study in numbers from the bytes of the store, and who is the same person.
func (s *Server) prepareReferrals(ctx context.Context, code string, variables []string) (*referral.Prepared, map[string]string, error) {
	study, err := s.perhapsStudy(ctx, code)
	if err != nil {
		return nil, nil, err
	}
	if code == "" {
		code = study.GetStudy()
	}
	cells, err := s.store.CountCells(ctx, code)
	if err != nil {
		return nil, nil, err
	}
	n, studies := 0, map[string]bool{}
	for _, c := range cells {
		n += int(c.GetInterviews())
		studies[c.GetStudy()] = true
	}
	if study == nil && code != "" && n == 0 {
		return nil, nil, noSuchStudy(code)
	}
	in, err := s.takeInReferrals(ctx, code, n, variables)
	if err != nil {
		return nil, nil, err
	}
	in.Add(referral.Facts{Sites: study.GetSites()})
	for code := range studies {
		events, err := s.couponEvents(ctx, code, nil)
		if err != nil {
			return nil, nil, err
		}
		in.Add(referral.Facts{Coupons: events})
	}
	decisions, err := s.store.Decisions(ctx, code)
	if err != nil {
		return nil, nil, fmt.Errorf("read the decisions: %w", err)
	}
	return in.Prepare(), mergedBy(decisions), nil
}

// takeInReferrals reads the n interviews of a study from the store.
func (s *Server) takeInReferrals(ctx context.Context, code string, n int, variables []string) (*referral.Intake, error) {
	in, err := referral.NewIntake(n, variables...)
	if err != nil {
		return nil, err
	}
	for body, err := range s.store.Bodies(ctx, code) {
		if err == nil {
			err = in.AddInterview(body.Bytes, body.Lean)
		}
		if err != nil {
			return nil, fmt.Errorf("read the interviews: %w", err)
		}
	}
	return in, nil
}

// mergedBy tells who is the same person after decisions, of the people that they name.
func mergedBy(decisions []*servicev1.LinkDecision) map[string]string {
	named := map[string]bool{}
	var people []*servicev1.PersonRecord
	for _, d := range decisions {
		for _, id := range []string{d.GetAId(), d.GetBId()} {
			if !named[id] {
				named[id] = true
				people = append(people, &servicev1.PersonRecord{PersonId: proto.String(id)})
			}
		}
	}
	return dedup.Canonical(people, decisions)
}

// maxDraws bounds the bootstrap samples of one call.
const maxDraws = 10_000

// graphFormats are the names of formats in package referral.
var graphFormats = map[servicev1.GraphFormat]string{
	servicev1.GraphFormat_GRAPH_FORMAT_GRAPHML: "graphml", servicev1.GraphFormat_GRAPH_FORMAT_SVG: "svg", servicev1.GraphFormat_GRAPH_FORMAT_EDGE_CSV: "csv",
	servicev1.GraphFormat_GRAPH_FORMAT_GEXF: "gexf", servicev1.GraphFormat_GRAPH_FORMAT_DOT: "dot", servicev1.GraphFormat_GRAPH_FORMAT_PAJEK: "pajek",
	servicev1.GraphFormat_GRAPH_FORMAT_NODE_LINK: "nodelink", servicev1.GraphFormat_GRAPH_FORMAT_CYTOSCAPE: "cytoscape",
	servicev1.GraphFormat_GRAPH_FORMAT_GEPHI_NODES: "gephi-nodes", servicev1.GraphFormat_GRAPH_FORMAT_GEPHI_EDGES: "gephi-edges",
	servicev1.GraphFormat_GRAPH_FORMAT_RDSAT: "rdsat", servicev1.GraphFormat_GRAPH_FORMAT_R: "r", servicev1.GraphFormat_GRAPH_FORMAT_PNG: "png",
	servicev1.GraphFormat_GRAPH_FORMAT_BINARY: "binary", servicev1.GraphFormat_GRAPH_FORMAT_WAVES: "waves", servicev1.GraphFormat_GRAPH_FORMAT_TIME: "time",
	servicev1.GraphFormat_GRAPH_FORMAT_CONVERGENCE: "convergence", servicev1.GraphFormat_GRAPH_FORMAT_BOTTLENECK: "bottleneck",
	servicev1.GraphFormat_GRAPH_FORMAT_COPRESENCE_CSV: "copresence", servicev1.GraphFormat_GRAPH_FORMAT_SITES_CSV: "sites",
}

// GetReferralGraph draws the graph in one format.
func (s *referralService) GetReferralGraph(ctx context.Context, req *servicev1.GetReferralGraphRequest) (*servicev1.GetReferralGraphResponse, error) {
	f, names, err := s.referralAt(ctx, req.GetStudy(), req.GetAsOf(), req.AsOfTimeMs, req.GetUnmerged())
	if err != nil {
		return nil, err
	}
	values, err := referral.Answers(f, req.GetOutcomes())
	if err != nil {
		return nil, err
	}
	g := referral.Build(f)
	referral.MarkStatuses(f, g)
	o := &referral.Output{Facts: f, Graph: g, Language: req.GetLanguage(), Population: req.GetPopulation()}
	if req.GetWithNames() {
		o.Names = names
	}
	colours, ok := referral.ColourBy(req.GetColour(), o.Graph, values)
	if !ok {
		more, err := referral.Answers(f, []string{req.GetColour()})
		if err != nil {
			return nil, err
		}
		colours = &more[0]
	}
	o.Colour = colours
	o.Sample = referral.SampleOf(f, o.Graph, values...)
	var out bytes.Buffer
	media, err := o.Write(&out, graphFormats[req.GetFormat()])
	if err != nil {
		return nil, fmt.Errorf("write the graph: %w", err)
	}
	if out.Len() > maxSend-1024 {
		return nil, fault.New(fault.TooLarge, fault.BadRequest, "the graph has %d bytes, and an answer of this server at most %d: ask for the edges as csv, which is the smallest, or take the table of referrals from an export", out.Len(), maxSend)
	}
	return &servicev1.GetReferralGraphResponse{MediaType: proto.String(media), Content: out.Bytes()}, nil
}
