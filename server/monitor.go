package server

import (
	"context"
	"slices"
	"strconv"

	"github.com/hearth-survey/hearth/proto/fault"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/monitor"
	"github.com/hearth-survey/hearth/server/store"
	"google.golang.org/protobuf/proto"
)

// maxDimensions is how many columns a table of counts is made by.
const maxDimensions = 3

type monitorService struct {
	servicev1.UnimplementedMonitorServiceServer
	*Server
}

// notChecked is the flag of an interview whose checks could not be run.
func notChecked() []*servicev1.Flag {
	return []*servicev1.Flag{{
		Rule: proto.String("hearth/not_checked"), Severity: formv1.Severity_SEVERITY_SOFT.Enum(),
		Message: &formv1.Text{En: proto.String("The checks of this interview could not be run."), Zh: proto.String("无法对该访问执行核查。")},
	}}
}

// CountInterviews makes a table of counts.
func (s *monitorService) CountInterviews(ctx context.Context, req *servicev1.CountInterviewsRequest) (*servicev1.CountInterviewsResponse, error) {
	by := req.GetBy()
	if len(by) > maxDimensions {
		return nil, fault.New(fault.Invalid, fault.BadRequest, "counting by %d columns, the limit is %d", len(by), maxDimensions)
	}
	for i, d := range by {
		if d <= servicev1.Dimension_DIMENSION_UNSPECIFIED || d > servicev1.Dimension_DIMENSION_REVIEW_STATE || slices.Contains(by[:i], d) {
			return nil, fault.New(fault.Invalid, fault.BadRequest, "column %d to count by is not known or stands twice: %v", i+1, d)
		}
	}
	if err := s.Project(ctx); err != nil {
		return nil, err
	}
	study, err := s.perhapsStudy(ctx, req.GetStudy())
	if err != nil {
		return nil, err
	}
	code := req.GetStudy()
	if code == "" {
		code = study.GetStudy()
	}
	cells, err := s.store.CountCells(ctx, code)
	if err != nil {
		return nil, err
	}
	if study == nil && req.GetStudy() != "" && len(cells) == 0 {
		return nil, noSuchStudy(req.GetStudy())
	}
	return monitor.Tally(cells, by, study), nil
}

// perhapsStudy is findStudy for those who can do without a definition: then it is nil.
func (s *Server) perhapsStudy(ctx context.Context, code string) (*surveyv1.Study, error) {
	all, err := s.store.Studies(ctx)
	if err != nil {
		return nil, err
	}
	if code == "" && len(all) == 1 {
		return all[0], nil
	}
	for _, st := range all {
		if st.GetStudy() == code {
			return st, nil
		}
	}
	return nil, nil
}

// ListInterviews lists current interviews, newest first.
func (s *monitorService) ListInterviews(ctx context.Context, req *servicev1.ListInterviewsRequest) (*servicev1.ListInterviewsResponse, error) {
	const method = servicev1.MonitorService_ListInterviews_FullMethodName
	after, err := pagePlace(method, req, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	if err := s.Project(ctx); err != nil {
		return nil, err
	}
	size := pageSize(req.GetPageSize())
	f := store.Filter{
		Study: req.GetStudy(), Enumerator: req.GetEnumerator(), SiteID: req.GetSiteId(), Questionnaire: s.fullName(req.GetQuestionnaire()),
		ConflictsOnly: req.GetConflictsOnly(), Newest: true, After: after, Limit: size + 1,
	}
	resp := &servicev1.ListInterviewsResponse{}
	for iv, err := range s.store.Interviews(ctx, f) {
		if err != nil {
			return nil, err
		}
		if len(resp.Interviews) == size {
			resp.NextPageToken = placeToken(method, req, resp.Interviews[size-1])
			break
		}
		resp.Interviews = append(resp.Interviews, s.withMissing(iv.GetSummary()))
	}
	return resp, nil
}

// fullName makes "household" the full name of the questionnaire; names that are not known stay as they are.
func (s *Server) fullName(name string) string {
	if q, ok := s.known().Find(name); ok {
		return q.Name()
	}
	return name
}

// ListDevices lists the tablets.
func (s *monitorService) ListDevices(ctx context.Context, _ *servicev1.ListDevicesRequest) (*servicev1.ListDevicesResponse, error) {
	devices, err := s.store.ListDevices(ctx)
	if err != nil {
		return nil, err
	}
	return &servicev1.ListDevicesResponse{Devices: devices}, s.addHubs(ctx, devices)
}

// ListQuarantine lists what was kept and cannot be used, oldest first.
func (s *monitorService) ListQuarantine(ctx context.Context, req *servicev1.ListQuarantineRequest) (*servicev1.ListQuarantineResponse, error) {
	const method = servicev1.MonitorService_ListQuarantine_FullMethodName
	position, err := pagePosition(method, req, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	var after int64
	if position != "" {
		if after, err = strconv.ParseInt(position, 10, 64); err != nil {
			return nil, fault.New(fault.Invalid, fault.BadPageToken, "the page token names no item: %w", err)
		}
	}
	size := pageSize(req.GetPageSize())
	items, err := s.store.Quarantine(ctx, after, size+1)
	if err != nil {
		return nil, err
	}
	resp := &servicev1.ListQuarantineResponse{Items: items}
	if len(items) > size {
		resp.Items = items[:size]
		resp.NextPageToken = pageToken(method, req, strconv.FormatInt(items[size-1].GetId(), 10))
	}
	return resp, nil
}

// ListFlags lists failed checks interview by interview, newest first. A page ends with the last flag of an interview, so
// that it may hold some more than asked for.
func (s *monitorService) ListFlags(ctx context.Context, req *servicev1.ListFlagsRequest) (*servicev1.ListFlagsResponse, error) {
	const method = servicev1.MonitorService_ListFlags_FullMethodName
	after, err := pagePlace(method, req, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	if err := s.Project(ctx); err != nil {
		return nil, err
	}
	if id := req.GetInterviewId(); id != "" {
		iv, err := s.store.Interview(ctx, id)
		if err != nil {
			return nil, err
		}
		return &servicev1.ListFlagsResponse{Flags: iv.GetFlags()}, nil
	}
	resp := &servicev1.ListFlagsResponse{}
	size := pageSize(req.GetPageSize())
	for iv, err := range s.store.Interviews(ctx, store.Filter{Enumerator: req.GetEnumerator(), Newest: true, After: after}) {
		if err != nil {
			return nil, err
		}
		resp.Flags = append(resp.Flags, iv.GetFlags()...)
		if len(resp.Flags) >= size {
			resp.NextPageToken = placeToken(method, req, iv.GetSummary())
			break
		}
	}
	return resp, nil
}
