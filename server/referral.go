package server

import (
	"bytes"
	"context"
	"fmt"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
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
	if err != nil {
		return referral.Facts{}, nil, err
	}
	if study == nil && code != "" && len(f.interviews) == 0 {
		return referral.Facts{}, nil, fault.New(fault.NotFound, fault.UnknownStudy, "there is no study %.64q and no interview of it", code)
	}
	return f.graph(study), f, nil
}

// GetReferralStats counts seeds, waves, chains and yields.
func (s *referralService) GetReferralStats(ctx context.Context, req *servicev1.GetReferralStatsRequest) (*servicev1.GetReferralStatsResponse, error) {
	facts, _, err := s.referralFacts(ctx, req.GetStudy())
	if err != nil {
		return nil, err
	}
	return &servicev1.GetReferralStatsResponse{Stats: referral.Stats(facts, referral.Build(facts))}, nil
}

// GetReferralGraph draws the graph in one format.
func (s *referralService) GetReferralGraph(ctx context.Context, req *servicev1.GetReferralGraphRequest) (*servicev1.GetReferralGraphResponse, error) {
	facts, all, err := s.referralFacts(ctx, req.GetStudy())
	if err != nil {
		return nil, err
	}
	var names map[string]string
	if req.GetWithNames() {
		names = all.names()
	}
	graph := referral.Build(facts)
	var out bytes.Buffer
	var media string
	switch req.GetFormat() {
	case servicev1.GraphFormat_GRAPH_FORMAT_GRAPHML:
		media, err = "application/graphml+xml", referral.WriteGraphML(&out, graph, names)
	case servicev1.GraphFormat_GRAPH_FORMAT_SVG:
		media, err = "image/svg+xml", referral.WriteSVG(&out, graph, referral.SVGOptions{Names: names})
	case servicev1.GraphFormat_GRAPH_FORMAT_EDGE_CSV:
		media, err = "text/csv; charset=utf-8", referral.WriteEdgeCSV(&out, graph)
	default:
		return nil, fault.New(fault.Invalid, fault.BadRequest, "a graph is GraphML, SVG or a table of edges; format %d is none of these", req.GetFormat())
	}
	if err != nil {
		return nil, fmt.Errorf("write the graph: %w", err)
	}
	if out.Len() > maxSend-1024 {
		return nil, fault.New(fault.TooLarge, fault.BadRequest, "the graph has %d bytes, and an answer of this server at most %d: ask for the edges as csv, which is the smallest, or take the table of referrals from an export", out.Len(), maxSend)
	}
	return &servicev1.GetReferralGraphResponse{MediaType: proto.String(media), Content: out.Bytes()}, nil
}
